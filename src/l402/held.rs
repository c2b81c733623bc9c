//! A token in its holder's hands, ours or another server's: read and narrowed without its key.
//!
//! Invariants: what a holder narrows keeps every byte that was there, so that a token of any server stays
//! whole; neither the preimage nor the signature shows itself; what would be refused for widening is not
//! written, as far as that can be told without the server.

use std::fmt;

use thiserror::Error;

use super::base64;
use super::credential::after_scheme;
use super::identifier::Identifier;
use super::received::{authorization, parse_challenge};
use super::seal::Seal;
use super::sold::Sold;
use super::wire::{MAX_CAVEATS, MAX_MACAROON_BYTES, write_field};
use crate::types::Preimage;

mod narrow;
mod packet;

pub use narrow::Conditions;

use narrow::widens;
use packet::Packet;

/// The longest text that is looked into, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1_024;

/// A token in its holder's hands.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    bytes: Vec<u8>,
    packet: Packet,
    preimage: Option<Preimage>,
}

/// A caveat as a token has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// A condition that the server itself checks.
    First(Vec<u8>),
    /// A condition that another party has to confirm, and where that is said to be.
    Third(Option<String>),
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotHeld {
    /// Longer than 64 KiB.
    #[error("it is longer than 64 KiB")]
    TooLong,
    /// Neither base64 nor hexadecimal.
    #[error("it is neither base64 nor hexadecimal")]
    Spelling,
    /// More than one macaroon.
    #[error("it holds several macaroons: give one")]
    Several,
    /// What follows the colon.
    #[error("what follows the colon is not a preimage of 64 hexadecimal digits")]
    Preimage,
    /// A challenge without a macaroon.
    #[error("the challenge has no readable macaroon")]
    Challenge,
    /// Version 1 or JSON, which no L402 server sends.
    #[error("it is not a binary macaroon of version 2")]
    Version,
    /// It breaks off, or something follows it.
    #[error("the macaroon cannot be decoded")]
    Undecodable,
}

/// Why a token is not narrowed so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotNarrowed {
    /// No condition was given.
    #[error("there is nothing to narrow it to")]
    Nothing,
    /// The token says less already.
    #[error("`{0}` would widen the token: what it says already is narrower")]
    Widens(String),
    /// It is not `name=value`, or its value does not read.
    #[error("`{0}` cannot be read")]
    Unreadable(String),
    /// It would have more than 32.
    #[error("a token has at most 32 caveats")]
    TooMany,
    /// It would be over 4 KiB.
    #[error("a token has at most 4 KiB")]
    TooLarge,
}

impl Held {
    /// Reads a token in any spelling that one is met in: base64 of either alphabet or hexadecimal, alone, with
    /// its preimage behind a colon, as an `Authorization` or as a `WWW-Authenticate` header.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<Held, NotHeld> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(NotHeld::TooLong);
        }
        let text = without_name(text.trim());
        let (macaroon, preimage) = if text.contains('"') {
            let challenge = parse_challenge(text).map_err(|_| NotHeld::Challenge)?;
            (challenge.macaroon_b64, None)
        } else {
            let rest = after_scheme(text.as_bytes()).and_then(|rest| std::str::from_utf8(rest).ok());
            let (macaroon, preimage) =
                rest.unwrap_or(text).split_once(':').unwrap_or((rest.unwrap_or(text), ""));
            let preimage = match preimage.trim() {
                "" => None,
                hex => Some(hex.parse().map_err(|_| NotHeld::Preimage)?),
            };
            (macaroon.trim().to_owned(), preimage)
        };
        if macaroon.contains(',') {
            return Err(NotHeld::Several);
        }
        let bytes = decoded(&macaroon)?;
        let packet = Packet::read(&bytes)?;
        Ok(Held { bytes, packet, preimage })
    }

    /// What its identifier says, when it is one of L402.
    pub fn identifier(&self) -> Option<Identifier> {
        Identifier::parse(&self.packet.identifier).ok()
    }

    /// The identifier as it stands.
    pub fn identifier_bytes(&self) -> &[u8] {
        &self.packet.identifier
    }

    /// The server that minted it says that it is there; nobody signed it.
    pub fn location(&self) -> Option<&str> {
        self.packet.location.as_deref()
    }

    /// Its caveats, in their order.
    pub fn caveats(&self) -> &[Caveat] {
        &self.packet.caveats
    }

    /// The proof of payment that came with it.
    pub fn preimage(&self) -> Option<&Preimage> {
        self.preimage.as_ref()
    }

    /// What it sells, and how many of its caveats say so, when it is minted as a Tollhouse mints. Nobody but
    /// that Tollhouse can tell whether it did.
    pub fn sold(&self) -> Option<(Sold, usize)> {
        let first = self.packet.first_party();
        self.identifier()?;
        Sold::read(&first).map(|(sold, _)| (sold, Sold::CAVEATS))
    }

    /// The conditions that it stands under by its caveats, as far as they are known to us.
    pub fn conditions(&self) -> Conditions {
        Conditions::of(&self.packet.first_party())
    }

    /// Whether a Tollhouse that refuses what it does not know would take `caveat`.
    pub fn is_known(caveat: &str, sold: Option<&Sold>) -> bool {
        narrow::is_known(caveat, sold)
    }

    /// The same token, good for less: `caveats` are added in their order. Its preimage stays with it.
    ///
    /// # Errors
    /// When one of them would widen it, as far as that can be told here, or cannot be read; or when the token
    /// would outgrow what a Tollhouse takes.
    pub fn narrowed(&self, caveats: &[String]) -> Result<Held, NotNarrowed> {
        if caveats.is_empty() {
            return Err(NotNarrowed::Nothing);
        }
        let mut all = self.packet.first_party();
        let mut body = self.bytes[..self.packet.end].to_vec();
        let mut seal = self.packet.seal;
        for caveat in caveats {
            widens(self.sold().map(|(sold, _)| sold).as_ref(), &all, caveat)?;
            write_field(packet::IDENTIFIER, caveat.as_bytes(), &mut body);
            body.push(packet::END);
            seal = seal.next(caveat.as_bytes());
            all.push(caveat.as_bytes().to_vec());
        }
        body.push(packet::END);
        write_field(packet::SIGNATURE, seal.as_bytes(), &mut body);
        if self.packet.caveats.len().saturating_add(caveats.len()) > MAX_CAVEATS {
            return Err(NotNarrowed::TooMany);
        }
        if body.len() > MAX_MACAROON_BYTES {
            return Err(NotNarrowed::TooLarge);
        }
        let packet = Packet::read(&body).map_err(|_| NotNarrowed::TooLarge)?;
        Ok(Held { bytes: body, packet, preimage: self.preimage })
    }

    /// The macaroon in base64. A secret where it was paid for.
    pub fn base64(&self) -> String {
        base64::encode(&self.bytes)
    }

    /// The macaroon in binary. A secret, likewise.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The credential as `Authorization` carries it, when the preimage is there. A secret.
    pub fn authorization(&self) -> Option<String> {
        self.preimage.as_ref().map(|preimage| authorization(&self.base64(), preimage))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(redacted)")
    }
}

/// The header's value, when its name stands before it.
fn without_name(text: &str) -> &str {
    let names = ["authorization", "www-authenticate", "macaroon", "grpc-metadata-macaroon"];
    match text.split_once(':') {
        Some((name, value)) if names.iter().any(|known| name.trim().eq_ignore_ascii_case(known)) => {
            value.trim()
        }
        _ => text,
    }
}

/// The bytes of a macaroon in hexadecimal or base64. A hexadecimal text is base64 as well: what decodes to a
/// macaroon's first byte is meant.
fn decoded(text: &str) -> Result<Vec<u8>, NotHeld> {
    let hex = hex::decode(text).ok().filter(|bytes| bytes.first() == Some(&packet::VERSION_2));
    hex.or_else(|| base64::decode(text)).ok_or(NotHeld::Spelling)
}

/// The signature that a macaroon ends with; whoever knows it can go on with the chain.
type LastSeal = Seal;

#[cfg(test)]
mod tests;
