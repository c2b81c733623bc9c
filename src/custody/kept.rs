//! A hold as its application sees it: its name, what it holds, how it stands.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::types::{Kind, Timestamp};

/// Names a hold to its application: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId([u8; 16]);

/// A text that names no hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a hold's id is 32 hexadecimal digits")]
pub struct NotAHoldId;

impl HoldId {
    /// From the raw bytes.
    pub(super) const fn from_bytes(bytes: [u8; 16]) -> HoldId {
        HoldId(bytes)
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for HoldId {
    type Err = NotAHoldId;

    fn from_str(text: &str) -> Result<HoldId, NotAHoldId> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotAHoldId)?;
        Ok(HoldId(bytes))
    }
}

/// A hold as its application may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub id: HoldId,
    /// What is held: millisatoshi of a balance, requests of a request or pack, nothing of a pass.
    pub units: u64,
    /// What is left of the token beside it, when all that is due is charged: requests or millisatoshi;
    /// of a pass, the seconds that it stays open.
    pub left: u64,
    /// What kind of token they are of.
    pub kind: Kind,
    /// When it is released if nobody ends it.
    pub expires_at: Timestamp,
    /// How it stands.
    pub state: State,
}

/// How a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits to be ended.
    Open,
    /// So many units of it were charged.
    Settled(u64),
    /// All of it went back, as the application said.
    Released,
    /// All of it went back, for nobody ended it in time.
    Expired,
}

impl State {
    /// Stable word.
    pub const fn code(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Settled(_) => "settled",
            State::Released => "released",
            State::Expired => "expired",
        }
    }
}
