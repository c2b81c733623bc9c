//! How holds end, and why none can be had.

use thiserror::Error;

use crate::types::Msat;

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer was handed over: all that is held is charged.
    Delivered,
    /// The answer cost so many units: these are charged, at most what is held, and the rest is released.
    /// That is no restore: it is the price.
    Charged(u64),
    /// The client left after the upstream had been asked: as [`Ending::Delivered`], unless the cost so
    /// far was told ([`crate::store::Reservation::cost_so_far`]).
    Cancelled,
    /// The buyer gets back what was held.
    Restored(RestoreReason),
}

/// Why a unit goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreReason {
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream answered 5xx, or broke off before its body.
    UpstreamError,
    /// The upstream gave an answer that the route's terms give back.
    Policy,
    /// The answer would have cost more than was held, and nothing of it was handed down.
    TooDear(Msat),
    /// The request never left.
    NotDispatched,
    /// The application that held it gave it back.
    Released,
    /// The token was taken back while its answer was on its way.
    Revoked,
    /// Nobody settled the hold in time.
    Unsettled,
    /// A fault of our own.
    Internal,
}

impl RestoreReason {
    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            RestoreReason::UpstreamUnreachable => "upstream_unreachable",
            RestoreReason::UpstreamTimeout => "upstream_timeout",
            RestoreReason::UpstreamError => "upstream_error",
            RestoreReason::Policy => "policy",
            RestoreReason::TooDear(_) => "too_dear",
            RestoreReason::NotDispatched => "not_dispatched",
            RestoreReason::Released => "released",
            RestoreReason::Revoked => "revoked",
            RestoreReason::Unsettled => "unsettled",
            RestoreReason::Internal => "internal",
        }
    }

    /// Whether the upstream did work for it, so that it counts against [`super::MAX_RESTORES`].
    pub const fn loads_upstream(self) -> bool {
        matches!(
            self,
            RestoreReason::UpstreamTimeout
                | RestoreReason::UpstreamError
                | RestoreReason::Policy
                | RestoreReason::TooDear(_)
                | RestoreReason::Released
        )
    }
}

/// Why nothing can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReserveRefused {
    /// What is left is on its way: ask again soon (MONEY rule 5).
    #[error("the token's request is on its way")]
    InFlight,
    /// Everything is spent.
    #[error("the token is spent")]
    Spent,
    /// What is left does not pay for this request.
    #[error("{} are left of the token, and the request needs {}", sat(*.left), sat(*.needed))]
    TooSmall {
        /// Units left.
        left: u64,
        /// Units that the request needs at least.
        needed: u64,
    },
    /// The operator took it back.
    #[error("the token was revoked")]
    Revoked,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its requests failed too often at the upstream's expense ([`super::MAX_RESTORES`]).
    #[error("the token's requests failed too often")]
    RestoresExhausted,
    /// Another token with this payment hash, sold on other terms, was here before.
    #[error("another token was redeemed for this payment")]
    TermsDiffer,
    /// A granted token that the ledger does not know.
    #[error(
        "the seller's ledger does not know that this token was given away; perhaps it was restored from an older \
         copy: ask the seller for another one"
    )]
    NotGranted,
    /// The ledger was restored from a copy that cannot tell what was used of the token since (MONEY rule 10).
    #[error(
        "the seller's ledger was restored from a copy that cannot tell what was used of this token since: ask \
         the seller to honour it"
    )]
    Restored,
    /// A holder limited the requests of this copy of the token, and they were made.
    #[error("the token was limited by a holder to so many uses, and they were made")]
    UsesExhausted,
    /// A holder limited what this copy of the token may spend, and what is left does not pay for this
    /// request.
    #[error(
        "the token was limited by a holder: {} of that are left, and the request needs {}",
        sat(*.left),
        sat(*.needed)
    )]
    BudgetExhausted {
        /// Millisatoshi left below the limit.
        left: u64,
        /// Millisatoshi that the request needs at least.
        needed: u64,
    },
    /// More limits were put into copies of the token than are counted ([`super::MAX_COUNTERS`],
    /// [`super::MAX_COUNTERS_BELOW`]).
    #[error("too many copies of the token with limits of their own are in use")]
    TooManyBudgets,
}

/// Millisatoshi as people read them.
fn sat(msat: u64) -> String {
    Msat::new(msat).map_or_else(|_| format!("{msat} msat"), |amount| amount.in_sat().to_string())
}

impl ReserveRefused {
    /// Whether only the seller can mend it.
    pub const fn is_sellers(self) -> bool {
        matches!(self, ReserveRefused::Restored | ReserveRefused::NotGranted)
    }

    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            ReserveRefused::InFlight => "in_flight",
            ReserveRefused::Spent => "spent",
            ReserveRefused::TooSmall { .. } => "balance_too_small",
            ReserveRefused::Revoked => "revoked",
            ReserveRefused::Expired => "expired",
            ReserveRefused::RestoresExhausted => "restores_exhausted",
            ReserveRefused::TermsDiffer => "terms_differ",
            ReserveRefused::NotGranted => "not_granted",
            ReserveRefused::Restored => "restored_ledger",
            ReserveRefused::UsesExhausted => "uses_exhausted",
            ReserveRefused::BudgetExhausted { .. } => "budget_exhausted",
            ReserveRefused::TooManyBudgets => "too_many_budgets",
        }
    }
}
