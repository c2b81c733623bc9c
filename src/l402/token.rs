//! A token that we minted.

use std::fmt;

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
    /// `location` is a hint for the reader (our host): nobody signs it and we never look at it. One
    /// over 255 bytes is left out, so that a token never outgrows what [`super::verify`] takes.
    /// Pure computation: a dozen HMACs, nothing stored, nothing logged.
    ///
    /// # Errors
    /// When `keys` has no master for the identifier's epoch; an id that `keys` made
    /// always has one.
    pub fn mint(
        keys: &MasterKeys,
        location: &str,
        identifier: &Identifier,
        sold: &Sold,
    ) -> Result<Token, NoMasterKey> {
        let root_key = keys.root_key(identifier).ok_or(NoMasterKey)?;
        let location = Some(location).filter(|location| location.len() <= MAX_LOCATION_BYTES);
        let caveats = sold.caveats().map(String::into_bytes);
        Ok(Token(wire::mint(&root_key, location, &identifier.to_bytes(), &caveats)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::CountingEntropy;
    use crate::types::{Kind, Msat, PaymentHash, Timestamp};

    #[test]
    fn the_largest_token_leaves_its_holders_three_quarters_of_the_limit() {
        let keys = MasterKeys::new(1, [(1, [1; 32])]).unwrap();
        let token_id = keys.new_token_id(&CountingEntropy::default());
        let identifier = Identifier { payment_hash: PaymentHash::from_bytes([2; 32]), token_id };
        let sold = Sold {
            service: "s".repeat(64).parse().unwrap(),
            route: "r".repeat(64).parse().unwrap(),
            kind: Kind::Request,
            units: u64::MAX,
            sold: Msat::MAX,
            revision: u32::MAX,
            covers: Msat::MAX,
            quote: Some("9".repeat(64).parse().unwrap()),
            valid_until: Timestamp::from_millis(u64::MAX),
        };
        let mint = |location: &str| Token::mint(&keys, location, &identifier, &sold).unwrap();
        let largest = mint(&"h".repeat(255));
        assert!(largest.bytes().len() < crate::l402::MAX_MACAROON_BYTES / 4, "{}", largest.bytes().len());
        assert!(mint(&"h".repeat(256)).bytes().len() < largest.bytes().len() - 255);
        assert_eq!(format!("{largest:?}"), "Token(redacted)");
        let other = Identifier { token_id: crate::types::TokenId::from_bytes([9; 32]), ..identifier };
        assert_eq!(Token::mint(&keys, "", &other, &sold), Err(NoMasterKey));
    }
}
