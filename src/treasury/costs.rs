//! What channels cost in fees of the chain, as far as it is known: what opened them, what changed their size, and what
//! brought their coins home.
//!
//! Invariant: only what this node paid is counted. A transaction that the other side pays for is not among the wallet's;
//! of a splice the operation that asked for it knows the fee, and of a close the record knows what was ours and what came.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{ChannelRow, OperationRow, OperationState};
use crate::types::counted;

/// The fees that are known of channels' transactions. It is the least that they cost: where nobody saw what was ours just
/// before a close, what the contract itself kept back for it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelFees {
    /// Together, satoshi.
    pub fee_sat: u64,
    /// Of so many transactions.
    pub transactions: u32,
}

impl ChannelFees {
    /// In words; `None` where there were none.
    pub fn says(self) -> Option<String> {
        let of = counted(self.transactions, "transaction");
        (self.transactions > 0).then(|| {
            format!(
                "Fees paid for channels, to open, resize and close them: at least {} sat, over {of}. Where it was not seen \
                 what was yours just before a close, what the contract had kept back for it is not counted.",
                self.fee_sat
            )
        })
    }

    fn and(self, fee_sat: u64, transactions: usize) -> ChannelFees {
        if fee_sat == 0 {
            return self;
        }
        ChannelFees {
            fee_sat: self.fee_sat.saturating_add(fee_sat),
            transactions: self.transactions.saturating_add(u32::try_from(transactions).unwrap_or(u32::MAX)),
        }
    }

    /// Of splices that are done, and of closed channels.
    pub(super) fn of(operations: &[OperationRow], channels: &[ChannelRow]) -> ChannelFees {
        let splices = operations.iter().filter(|row| {
            matches!(row.kind.as_str(), "splice_in" | "splice_out") && row.state == OperationState::Done
        });
        let splices = splices.filter_map(|row| row.outcome["fee_sat"].as_u64());
        let fees = splices.fold(ChannelFees::default(), |fees, fee| fees.and(fee, 1));
        let closes = channels.iter().filter(|row| row.closed_at.is_some()).filter_map(closing);
        closes.fold(fees, |fees, (fee, transactions)| fees.and(fee, transactions))
    }

    /// With the fees of other transactions: of openings, and of those that only paid for another one.
    pub(super) fn with(self, fees: impl Iterator<Item = u64>) -> ChannelFees {
        fees.fold(self, |fees, fee| fees.and(fee, 1))
    }
}

/// What bringing a closed channel's coins home took of them, and over how many transactions.
fn closing(row: &ChannelRow) -> Option<(u64, usize)> {
    if let Some(cost) = row.closing_cost_msat {
        return Some((cost / 1_000, row.sweeps.len().saturating_add(1)));
    }
    if let Some(lost) = row.lost_sat {
        return Some((lost, 1));
    }
    let came = row.came_sat?;
    // By force, a payment that was under way may have been owed and not have come.
    let had = match row.sweeps.as_slice() {
        [] => row.owed_sat?,
        sweeps => sweeps.iter().map(|sweep| sweep.amount_sat).fold(0, u64::saturating_add),
    };
    Some((had.checked_sub(came)?, row.sweeps.len().max(1)))
}
