//! What a request costs: amounts in any unit, rules, formulas over a request and its answer, volume
//! tiers, and the arithmetic of exchange rates. Pure: rates come in through [`Exchange`].
//!
//! Invariants: money is never a float; what cannot be computed, is negative, overflows or is zero
//! without leave is never free: it is the fallback price or [`Unpriced`] (THREATS 18, 19). A price is
//! rounded up to the millisatoshi.

mod amount;
mod facts;
mod rate;
mod rule;

pub use amount::{Amount, Currency, Fiat, NotAnAmount};
pub use facts::{RequestFacts, ResponseFacts, Used};
pub use rate::{Exchange, NoExchange, Rate, RateFault, Worth};
pub use rule::{Ask, Metering, Quote, Reads, Rule, Unpriced};
