//! Keeping the shop able to be paid: paying out over Lightning, the operator's rules, the forecast.
//!
//! Paying out is what frees receivable; a splice-out takes earned coins on-chain and leaves receivable as it
//! was. Invariants (MONEY rule 14): a payout is one recorded operation, noted before anything is asked of
//! the node or of a server; what a crash left open is looked up, and never repeated by itself; a rule has
//! one operation on its way at most, and never pays more than there is or than its day allows.

mod destination;
mod lnurl;
mod payout;
#[cfg(test)]
mod stage;

pub use destination::{Destination, DestinationFault};
pub use lnurl::LnurlFault;
pub use payout::{PAY_OUT, Payee, PayoutAsk, PayoutError, PayoutPlan, Payouts, PayoutsParts, drawn};

/// The keys of operations that rules begin start with this; nobody else's may.
pub const RULE_KEYS: &str = "rule/";

/// All of it together.
#[derive(Clone, Debug)]
pub struct Upkeep {
    payouts: Payouts,
}

impl Upkeep {
    /// At rest: nothing is paid before somebody asks.
    pub fn new(payouts: PayoutsParts) -> Upkeep {
        Upkeep { payouts: Payouts::new(payouts) }
    }

    /// Pays out.
    pub fn payouts(&self) -> &Payouts {
        &self.payouts
    }
}
