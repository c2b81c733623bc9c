//! What came to the on-chain wallet and what left it.

use crate::ports::UnsentView;
use crate::treasury::WalletTx;
use crate::types::Timestamp;
use crate::ui::figures::{grouped, iso, shortened, utc};

/// Transactions on one page.
const SHOWN: usize = 25;

/// One transaction of the wallet.
pub(super) struct Moved {
    /// When, for programs and in words; where anybody knows.
    pub(super) at: Option<(String, String)>,
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
    pub(super) fn of(all: Vec<WalletTx>, after: Option<&str>, unsent: &[UnsentView]) -> History {
        let from = after
            .and_then(|txid| all.iter().position(|one| one.tx.txid == txid))
            .map_or(0, |place| place + 1);
        let mut page = all.into_iter().skip(from);
        let shown: Vec<WalletTx> = page.by_ref().take(SHOWN).collect();
        let more = page.next().is_some();
        let older = shown.last().filter(|_| more).map(|one| format!("/coins?after={}#history", one.tx.txid));
        History { lines: shown.iter().map(|one| Moved::of(one, unsent)).collect(), older }
    }
}

impl Moved {
    fn of(WalletTx { tx, label, operation, channel_id, .. }: &WalletTx, unsent: &[UnsentView]) -> Moved {
        let taken = !unsent.iter().any(|one| one.txid == tx.txid);
        let channel = || channel_id.as_ref().map(|id| format!("/lightning/channels/{id}"));
        Moved {
            at: (tx.at_secs > 0).then(|| {
                let at = Timestamp::from_secs(tx.at_secs);
                (iso(at), utc(at))
            }),
            outgoing: tx.outgoing,
            amount: grouped(tx.amount_sat),
            fee: tx.fee_sat.filter(|fee| tx.outgoing && *fee > 0).map(grouped),
            state: match tx.confirmed_height {
                Some(height) => format!("Block {}", grouped(height.into())),
                None if taken => "Waits for a block".to_owned(),
                None => "Signed; no chain source took it yet".to_owned(),
            },
            waits: tx.confirmed_height.is_none(),
            txid_short: shortened(&tx.txid),
            label,
            href: operation.map(|id| format!("/operations/{id}")).or_else(channel),
            txid: tx.txid.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ChainTx;
    use crate::treasury::Purpose;

    #[test]
    fn what_no_source_took_does_not_wait_for_a_block() {
        let tx = ChainTx {
            txid: "ab".to_owned(),
            outgoing: true,
            amount_sat: 5,
            fee_sat: None,
            confirmed_height: None,
            settled: false,
            at_secs: 0,
        };
        let one = WalletTx { tx, purpose: Purpose::Sent, label: "Sent", operation: None, channel_id: None };
        let state = |unsent: &[UnsentView]| Moved::of(&one, unsent).state;
        assert_eq!(state(&[]), "Waits for a block");
        let since = Timestamp::from_secs(0);
        let unsent = UnsentView { txid: "ab".to_owned(), spends: Vec::new(), why: "away".to_owned(), since };
        assert_eq!(state(&[unsent]), "Signed; no chain source took it yet");
    }
}
