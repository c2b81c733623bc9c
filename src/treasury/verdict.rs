//! What the operator says became of an operation that nobody else will tell the end of.
//!
//! Invariant: what is in a block is the chain's to tell, and it is asked before the operator's word counts.

use std::time::Duration;

use super::{Treasury, TreasuryError, TreasuryParts};
use crate::store::{OperationRow, OperationState};
use crate::types::Timestamp;

/// A transaction that is in no block after this long has left most mempools: Bitcoin Core keeps one for 14
/// days.
const DROPPED: Duration = Duration::from_secs(15 * 24 * 3_600);

/// What the operator found out about an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// It was not done.
    Failed,
}

impl Treasury {
    /// The operator says what became of an operation that is unclear, or that waits for another node's answer
    /// or for a block which may never come. One that is in a block cannot be settled: the chain tells its end,
    /// and is asked for a send before the operator's word counts.
    ///
    /// # Errors
    /// When there is no such operation, or it has an end, or will have one by itself; of a send, when the chain
    /// cannot be asked.
    pub async fn settle(&self, id: i64, done: Verdict) -> Result<OperationRow, TreasuryError> {
        let TreasuryParts { ledger, control, clock, .. } = &self.0.parts;
        let row = ledger.operation(id).await?.ok_or(TreasuryError::Unknown(id))?;
        if !Treasury::may_settle(&row, clock.now()) {
            return Err(TreasuryError::NotUnclear(Box::new(row)));
        }
        let sends = matches!(row.kind.as_str(), "send" | "send_all");
        if sends {
            // After a long stop the wallet knows nothing of the blocks since. It may take long: others' turn
            // does not wait for it.
            control.sync().await.map_err(TreasuryError::OutOfStep)?;
        }
        let _turn = self.0.turn.acquire().await.map_err(|_| TreasuryError::Stopping)?;
        // It may have moved on meanwhile.
        let mut row = ledger.operation(id).await?.ok_or(TreasuryError::Unknown(id))?;
        if sends
            && !row.state.is_final()
            && let Some(found) = self.fate(&row).await?
        {
            row = self.note(id, row.state, found).await?;
        }
        if !Treasury::may_settle(&row, clock.now()) {
            return Err(TreasuryError::NotUnclear(Box::new(row)));
        }
        let state = match done {
            Verdict::Done => OperationState::Done,
            Verdict::Failed => OperationState::Failed,
        };
        let settled = ledger.settle_operation(id, row.state, state).await?;
        if let (Verdict::Failed, Some(txid)) = (done, settled.outcome["txid"].as_str()) {
            // It could go out yet.
            self.0.parts.coins.withdraw(txid).await;
        }
        Ok(settled)
    }

    /// Whether the operator may say how it ended: it is unclear, or the node took it and it hangs on another
    /// node's answer, or its transaction is in no block after days: the library goes on listing one that the
    /// mempool dropped, and says nothing of it. Coins in a block are the chain's to tell.
    pub fn may_settle(row: &OperationRow, now: Timestamp) -> bool {
        let hangs = match row.kind.as_str() {
            "close_channel" | "splice_in" | "splice_out" => row.outcome["txid"].is_null(),
            "send" | "send_all" => {
                row.outcome["confirmed_height"].is_null() && row.begun_at.plus(DROPPED) <= now
            }
            _ => false,
        };
        match row.state {
            OperationState::Unclear => true,
            OperationState::Sent => hangs,
            OperationState::Intended | OperationState::Done | OperationState::Failed => false,
        }
    }
}
