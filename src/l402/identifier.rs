//! The macaroon's identifier: 66 bytes that bind a token to a payment (PROTOCOLS §1).
//!
//! `u16 big-endian version = 0 ‖ payment_hash[32] ‖ token_id[32]`.

use thiserror::Error;

use crate::types::{PaymentHash, TokenId};

/// What a token's identifier says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identifier {
    /// The hash of the invoice that the token was offered with.
    pub payment_hash: PaymentHash,
    /// The token, and in its first four bytes the epoch of its master key.
    pub token_id: TokenId,
}

/// Bytes that are not an identifier of version 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an L402 identifier of version 0")]
pub struct NotAnIdentifier;

impl Identifier {
    /// Its length, in bytes.
    pub const LEN: usize = 66;

    /// The identifier as it stands in the macaroon.
    pub fn to_bytes(&self) -> [u8; Identifier::LEN] {
        let mut bytes = [0u8; Identifier::LEN];
        bytes[2..34].copy_from_slice(self.payment_hash.as_bytes());
        bytes[34..].copy_from_slice(self.token_id.as_bytes());
        bytes
    }

    /// Reads an identifier.
    ///
    /// # Errors
    /// When the length is not 66 or the version is not 0.
    pub fn parse(bytes: &[u8]) -> Result<Identifier, NotAnIdentifier> {
        let Some((&[0, 0], rest)) = bytes.split_first_chunk::<2>() else {
            return Err(NotAnIdentifier);
        };
        let Some((payment_hash, rest)) = rest.split_first_chunk::<32>() else {
            return Err(NotAnIdentifier);
        };
        let token_id: &[u8; 32] = rest.try_into().map_err(|_| NotAnIdentifier)?;
        Ok(Identifier {
            payment_hash: PaymentHash::from_bytes(*payment_hash),
            token_id: TokenId::from_bytes(*token_id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(hash in any::<[u8; 32]>(), id in any::<[u8; 32]>()) {
            let identifier = Identifier {
                payment_hash: PaymentHash::from_bytes(hash),
                token_id: TokenId::from_bytes(id),
            };
            prop_assert_eq!(Identifier::parse(&identifier.to_bytes()), Ok(identifier));
        }

        #[test]
        fn what_is_read_is_written_alike(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            if let Ok(identifier) = Identifier::parse(&bytes) {
                prop_assert_eq!(identifier.to_bytes().to_vec(), bytes);
            }
        }

        #[test]
        fn only_version_0_of_66_bytes_is_read(version in 1u16.., len in 0usize..140) {
            prop_assert_eq!(Identifier::parse(&vec![0; len]).is_ok(), len == Identifier::LEN);
            let mut other = [7u8; Identifier::LEN];
            other[..2].copy_from_slice(&version.to_be_bytes());
            prop_assert_eq!(Identifier::parse(&other), Err(NotAnIdentifier));
        }
    }
}
