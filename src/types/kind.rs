//! The kinds of thing that a token sells, and what its units are.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a token sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One request; the token is single-use.
    Request,
    /// Several requests; a unit is one of them.
    Pack,
    /// Every request for a time that begins at the first use; its one unit is that time.
    Pass,
    /// Money from which each request's price is drawn; a unit is a millisatoshi.
    Balance,
    /// A balance that the operator gave away: nobody paid for it, and it earns nothing.
    Granted,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::Request, Kind::Pack, Kind::Pass, Kind::Balance, Kind::Granted];

    /// Its word in tokens, in the ledger and in the 402's body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Pack => "pack",
            Kind::Pass => "pass",
            Kind::Balance => "balance",
            Kind::Granted => "granted",
        }
    }

    /// Whether each request draws its own price, in millisatoshi.
    pub const fn draws_money(self) -> bool {
        matches!(self, Kind::Balance | Kind::Granted)
    }

    /// Whether the token is good for more than one request.
    pub const fn reusable(self) -> bool {
        !matches!(self, Kind::Request)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of offer: use request, pack, pass, balance or granted")]
pub struct NoSuchKind;

impl FromStr for Kind {
    type Err = NoSuchKind;

    fn from_str(word: &str) -> Result<Kind, NoSuchKind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(NoSuchKind)
    }
}
