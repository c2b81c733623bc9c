//! What a request costs: amounts in any unit, rules, formulas over a request and its answer, volume
//! tiers, and the arithmetic of exchange rates. Pure: rates come in through [`Exchange`].
//!
//! Invariants: money is never a float; what cannot be computed, is negative, overflows or is zero
//! without leave is never free: it is the fallback price or [`Unpriced`] (THREATS 18, 19). A price is
//! rounded up to the millisatoshi. A formula's time and memory are bounded by its text and by fuel,
//! whatever it is shown.

mod amount;
mod facts;
mod failure;
mod formula;
mod meter;
mod quote;
mod rate;
mod rule;
mod sample;
mod size;
mod tiers;

pub use amount::{Amount, Currency, Fiat, NotAnAmount};
pub use facts::{Reads, RequestFacts, ResponseFacts, Used};
pub use failure::Failure;
pub use formula::{FORMULA_GUIDE, Formula, FormulaFault, Zero};
pub use meter::{Charge, Meter};
pub use quote::{Ask, Metering, Quote, Unpriced};
pub use rate::{Exchange, LockedRate, NoExchange, Rate, RateFault, Worth};
pub use rule::Rule;
pub use sample::{Sample, SampleOutcome};
pub use size::{NotASize, Size};
pub use tiers::{Tier, Tiers, TiersFault, Volume};
