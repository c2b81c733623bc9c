//! What became of the unit that a request came with, as clients are told.

use http::HeaderName;

/// One of [`Unit::as_str`].
pub(super) const X_TOLLHOUSE_UNIT: HeaderName = HeaderName::from_static("x-tollhouse-unit");

/// What became of the unit that a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Spent when the body is complete.
    Held,
    /// Used up.
    Spent,
    /// Given back: the token is as good as before.
    Restored,
    /// Given back, but the token's requests failed too often: it is refused from now on.
    Exhausted,
}

impl Unit {
    /// Its word in `X-Tollhouse-Unit` and in the `unit` of a problem.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Unit::Held => "held",
            Unit::Spent => "spent",
            Unit::Restored => "restored",
            Unit::Exhausted => "exhausted",
        }
    }

    /// What a buyer is told.
    pub(super) const fn told(self) -> &'static str {
        match self {
            Unit::Held | Unit::Spent => "",
            Unit::Restored => {
                " Nothing was charged: the credential is still unspent, repeat the request with it."
            }
            Unit::Exhausted => {
                " Nothing was charged, but the requests of this credential failed too often: it is not \
                 accepted any more. Ask the operator."
            }
        }
    }
}
