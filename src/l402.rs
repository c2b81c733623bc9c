//! The L402 protocol: what a token says, how it is minted, read back and verified, and the
//! challenge that offers it. Pure: no I/O, no storage, time and randomness come in as arguments.
//!
//! Invariants:
//! - Nothing is stored per challenge: a token's root key is derived from a master key and the
//!   token's identifier, and what was sold stands in its first caveats.
//! - Only a chain of signatures under our root key is believed, compared in constant time, and
//!   only together with the preimage of the identifier's payment hash.
//! - The minted caveats are known by their place, before anything that a holder can append; a
//!   holder's caveat narrows the token or kills it, and never widens it.
//! - No macaroon, preimage or key shows itself in `Debug`, and nothing here logs.
//!
//! The `macaroon` crate, which mints and parses, logs whole macaroons with their signatures
//! through `log` at level DEBUG under the targets `macaroon` and below. Whoever bridges `log` into
//! a subscriber must turn that target off. Verification does not go through the crate: a chain that
//! it recomputed would put the signature of a forged token's *right* version in that log.

mod base64;
mod challenge;
mod credential;
mod identifier;
mod keys;
mod narrowing;
mod received;
mod refusal;
mod sold;
mod token;
mod verify;
mod wire;

pub use challenge::Challenge;
pub use credential::{Malformed, Presented, carries_credential, presented};
pub use identifier::{Identifier, NotAnIdentifier};
pub use keys::{MasterKeyFault, MasterKeys};
pub use narrowing::{UnknownCaveats, Use};
pub use received::{NoChallenge, ReceivedChallenge, authorization, parse_challenge};
pub use refusal::Refusal;
pub use sold::{Offer, Sold};
pub use token::{NoMasterKey, Token};
pub use verify::{Verified, verify};
pub use wire::{MAX_CAVEATS, MAX_MACAROON_BYTES};
