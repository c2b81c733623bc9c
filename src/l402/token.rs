//! A token that we minted.

use std::fmt;

use macaroon::{Macaroon, MacaroonKey};

use super::base64;
use super::identifier::Identifier;
use super::keys::MasterKeys;
use super::sold::Sold;
use super::wire;

/// The longest location that is minted, in bytes: a DNS name's.
const MAX_LOCATION_BYTES: usize = 255;

/// A minted macaroon, version 2, binary. Worth nothing without the invoice's preimage.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

/// No master key has the epoch of the token that should be minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no master key has the token's epoch")]
pub struct NoMasterKey;

impl Token {
    /// Mints the token that `sold` says, bound to the payment that `identifier` says.
    ///
    /// `location` is a hint for the reader (our host): nobody signs it and we never look at it. A
    /// location over 255 bytes is left out. Pure computation: a few HMACs, nothing stored.
    ///
    /// # Errors
    /// When `keys` has no master for the identifier's epoch; an id of [`MasterKeys::new_token_id`]
    /// always has one.
    pub fn mint(
        keys: &MasterKeys,
        location: &str,
        identifier: &Identifier,
        sold: &Sold,
    ) -> Result<Token, NoMasterKey> {
        let root_key = keys.root_key(identifier).ok_or(NoMasterKey)?;
        let key = MacaroonKey::generate(root_key.as_slice());
        let location = (location.len() <= MAX_LOCATION_BYTES).then(|| location.to_owned());
        let mut macaroon = Macaroon::create(location, &key, identifier.to_bytes().as_slice().into())
            .expect("the identifier, which is 66 bytes, is not empty: nothing else fails");
        for caveat in sold.caveats() {
            macaroon.add_first_party_caveat(caveat.into());
        }
        Ok(Token(wire::written(&macaroon)))
    }

    /// As the challenge shows it: standard base64, padded.
    pub fn base64(&self) -> String {
        base64::encode(&self.0)
    }

    /// As the `Macaroon` header carries it, before hexadecimal.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}
