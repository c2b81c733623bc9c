//! What came to the on-chain wallet and what left it.

use std::collections::BTreeMap;

use crate::ports::ChainTx;
use crate::store::StoreError;
use crate::treasury::transaction;
use crate::types::Timestamp;
use crate::ui::figures::{grouped, iso, shortened, utc};
use crate::ui::shell::Desk;

/// Transactions on one page.
const SHOWN: usize = 25;
/// So many of the newest operations are looked through for the one that sent a transaction.
const RECENT: u32 = 500;

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
    /// The operation that sent it.
    pub(super) operation: Option<i64>,
}

/// One page of them.
pub(super) struct History {
    pub(super) lines: Vec<Moved>,
    /// The address of the next page.
    pub(super) older: Option<String>,
}

impl History {
    /// Those of `all`, in their order, after the transaction `after`.
    pub(super) async fn read(
        desk: &Desk,
        all: Vec<ChainTx>,
        after: Option<&str>,
    ) -> Result<History, StoreError> {
        let from =
            after.and_then(|txid| all.iter().position(|tx| tx.txid == txid)).map_or(0, |place| place + 1);
        let mut page = all.into_iter().skip(from);
        let shown: Vec<ChainTx> = page.by_ref().take(SHOWN).collect();
        let more = page.next().is_some();
        let older = shown.last().filter(|_| more).map(|tx| format!("/coins?after={}#history", tx.txid));
        let operations = desk.op.parts.ledger.operations(i64::MAX, RECENT).await?;
        let sent_by: BTreeMap<&str, i64> =
            operations.iter().filter_map(|row| Some((transaction(row)?, row.id))).collect();
        let lines = shown.iter().map(|tx| Moved {
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
            operation: sent_by.get(tx.txid.as_str()).copied(),
            txid: tx.txid.clone(),
        });
        Ok(History { lines: lines.collect(), older })
    }
}
