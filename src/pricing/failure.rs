//! Why a formula gives no number.

use thiserror::Error;

/// Why a formula gives no number for a request. Says what is amiss and shows no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Something that it reads is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// Something that it reads is there more than once, or in another spelling.
    #[error("{0} is there more than once, or with other letter case")]
    Twice(String),
    /// A body is too large, or not JSON, or ambiguous.
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    /// Something is not what it has to be.
    #[error("{place} is not {wanted}")]
    Kind {
        /// What.
        place: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// Something is divided by zero.
    #[error("a division by zero")]
    ByZero,
    /// The result has a fraction.
    #[error("the result is not a whole number of millisatoshi")]
    NotWhole,
    /// There is too much to look at.
    #[error("there is too much text to look at")]
    TooMuch,
}
