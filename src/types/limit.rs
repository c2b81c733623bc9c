//! Limits that a holder of a token puts on whoever gets it next.

use schemars::JsonSchema;
use serde::Serialize;

use super::{CounterId, Msat, PaymentHash};

/// How much of a token may be used, all uses of it by whoever has the limited copy taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// So many requests that were charged.
    #[serde(rename = "max_uses")]
    Uses(u64),
    /// So much money, in millisatoshi.
    #[serde(rename = "max_spend_msat")]
    Spend(Msat),
}

impl Bound {
    /// The number: requests or millisatoshi.
    pub const fn most(self) -> u64 {
        match self {
            Bound::Uses(uses) => uses,
            Bound::Spend(spend) => spend.msat(),
        }
    }

    /// Whether both count the same thing.
    pub const fn is_like(self, other: Bound) -> bool {
        matches!((self, other), (Bound::Uses(_), Bound::Uses(_)) | (Bound::Spend(_), Bound::Spend(_)))
    }
}

/// One limit of a token, and the counter that it has in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Limit {
    /// Names the counter.
    pub counter: CounterId,
    /// How much.
    #[serde(flatten)]
    pub bound: Bound,
}

/// A token in the hands of one holder: of whoever bought it, or of whoever got a narrower copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCopy {
    /// The payment that it was sold for.
    pub payment_hash: PaymentHash,
    /// Names the last caveat that a holder added, as a limit there would be counted; none when nobody did.
    pub narrowed: Option<CounterId>,
}
