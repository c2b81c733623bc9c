//! What came to the on-chain wallet and what left it.

use crate::treasury::WalletTx;
use crate::types::Timestamp;
use crate::ui::figures::{grouped, iso, shortened, utc};

/// Transactions on one page.
const SHOWN: usize = 25;

/// One transaction of the wallet.
pub(super) struct Moved {
    pub(super) at: String,
    pub(super) at_iso: String,
    pub(super) outgoing: bool,
    pub(super) amount: String,
    pub(super) fee: Option<String>,
    pub(super) state: String,
    pub(super) waits: bool,
    pub(super) txid: String,
    pub(super) txid_short: String,
    /// What it was for.
    pub(super) label: &'static str,
    /// Where more about it is: the operation that made it, or the channel.
    pub(super) href: Option<String>,
}

/// One page of them.
pub(super) struct History {
    pub(super) lines: Vec<Moved>,
    /// The address of the next page.
    pub(super) older: Option<String>,
}

impl History {
    /// Those of `all`, in their order, after the transaction `after`.
    pub(super) fn of(all: Vec<WalletTx>, after: Option<&str>) -> History {
        let from = after
            .and_then(|txid| all.iter().position(|one| one.tx.txid == txid))
            .map_or(0, |place| place + 1);
        let mut page = all.into_iter().skip(from);
        let shown: Vec<WalletTx> = page.by_ref().take(SHOWN).collect();
        let more = page.next().is_some();
        let older = shown.last().filter(|_| more).map(|one| format!("/coins?after={}#history", one.tx.txid));
        History { lines: shown.iter().map(Moved::of).collect(), older }
    }
}

impl Moved {
    fn of(WalletTx { tx, label, operation, channel_id, .. }: &WalletTx) -> Moved {
        let channel = || channel_id.as_ref().map(|id| format!("/lightning/channels/{id}"));
        Moved {
            at: utc(Timestamp::from_secs(tx.at_secs)),
            at_iso: iso(Timestamp::from_secs(tx.at_secs)),
            outgoing: tx.outgoing,
            amount: grouped(tx.amount_sat),
            fee: tx.fee_sat.filter(|fee| tx.outgoing && *fee > 0).map(grouped),
            state: tx.confirmed_height.map_or_else(
                || "Waits for a block".to_owned(),
                |height| format!("Block {}", grouped(height.into())),
            ),
            waits: tx.confirmed_height.is_none(),
            txid_short: shortened(&tx.txid),
            label,
            href: operation.map(|id| format!("/operations/{id}")).or_else(channel),
            txid: tx.txid.clone(),
        }
    }
}
