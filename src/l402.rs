//! The L402 protocol: what a token says, how it is minted, read back and verified, and the
//! challenge that offers it. Pure: no I/O, no storage, time and randomness come in as arguments.
//!
//! Invariants:
//! - Nothing is stored per challenge: a token's root key is derived from a master key and the
//!   token's identifier, and what was sold stands in its first caveats.
//! - Only a chain of signatures under our root key is believed, compared in constant time, and
//!   only together with the preimage of the identifier's payment hash, or with the word in its place
//!   that only our master gives ([`MasterKeys::settled_word`]).
//! - The minted caveats are known by their place, before anything that a holder can append; a
//!   holder's caveat narrows the token or kills it, and never widens it.
//! - No macaroon, preimage or key shows itself in `Debug`, and nothing here logs.
//!
//! The `macaroon` crate logs whole macaroons with their signatures, through `log` at level DEBUG
//! under the target `macaroon`, when one is built or narrowed with it. We only parse with it, which
//! logs nothing, and `.clippy.toml` bans the rest; whoever bridges `log` into a subscriber turns the
//! target off all the same ([`SECRET_LOG_TARGET`]).

mod base64;
mod challenge;
mod credential;
mod examine;
mod held;
mod identifier;
mod keyring;
mod keys;
mod minted;
mod narrowing;
mod received;
mod refusal;
mod seal;
mod sold;
mod token;
mod verify;
mod wire;

pub use challenge::Challenge;
pub use credential::{Malformed, Presented, carries_credential, presented};
pub use examine::{Examined, examine};
pub use held::{Caveat, Conditions, Held, NotHeld, NotNarrowed};
pub use identifier::{Identifier, NotAnIdentifier};
pub use keyring::Keyring;
pub use keys::{BrowserKey, MasterKeyFault, MasterKeys};
pub use minted::minted;
pub use narrowing::{UnknownCaveats, Use};
pub use received::{NoChallenge, ReceivedChallenge, authorization, parse_challenge};
pub use refusal::Refusal;
pub use sold::{NotQuotable, Quoted, Sold};
pub use token::{NoMasterKey, Token};
pub use verify::{Verified, looks_paid, verify};
pub use wire::{MAX_CAVEATS, MAX_MACAROON_BYTES};

/// A target of `log` that may carry signatures: a subscriber has to turn it off at every level.
pub const SECRET_LOG_TARGET: &str = "macaroon";
