//! A preimage as clients write it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{NotHex32, Preimage};

impl Preimage {
    /// Reads 64 hexadecimal digits, or 96 by which a client meant 64. LND's REST interface has a payment's
    /// preimage in hexadecimal; `l402-requests` 0.9 takes those digits for base64 and writes the 48 bytes
    /// that come of it in hexadecimal. Nothing is lost on the way, so the way back is sure.
    ///
    /// # Errors
    /// When it is neither.
    pub fn presented(text: &str) -> Result<Preimage, NotHex32> {
        if let Ok(preimage) = text.parse() {
            return Ok(preimage);
        }
        let mut misread = [0u8; 48];
        hex::decode_to_slice(text, &mut misread).map_err(|_| NotHex32)?;
        BASE64_STANDARD.encode(misread).parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_spelling_is_the_same_preimage(bytes: [u8; 32]) {
            let preimage = Preimage::from_bytes(bytes);
            let misread = hex::encode(BASE64_STANDARD.decode(preimage.to_hex()).unwrap());
            for text in [preimage.to_hex(), preimage.to_hex().to_uppercase(), misread.clone(), misread.to_uppercase()] {
                prop_assert_eq!(Preimage::presented(&text), Ok(preimage));
            }
        }

        #[test]
        fn nothing_else_is_one(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = hex::encode(&bytes);
            let odd = bytes.len() != 32 && BASE64_STANDARD.encode(&bytes).len() != 64;
            prop_assert!(!odd || Preimage::presented(&text).is_err());
        }
    }
}
