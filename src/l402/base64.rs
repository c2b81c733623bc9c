//! Base64 as the protocol writes it (standard, padded) and as clients send it back (either
//! alphabet, padded or not).

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const EITHER_PADDING: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, FORGIVING);
const EITHER_PADDING_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);

/// The one spelling that we emit.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads either alphabet, padded or not; `None` when it is neither, or empty.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let url_safe = text.contains(['-', '_']);
    let engine = if url_safe { &EITHER_PADDING_URL_SAFE } else { &EITHER_PADDING };
    engine.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_spelling_reads_alike(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let standard = encode(&bytes);
            let url_safe = standard.replace('+', "-").replace('/', "_");
            for text in [&standard, &url_safe] {
                prop_assert_eq!(decode(text), Some(bytes.clone()));
                prop_assert_eq!(decode(text.trim_end_matches('=')), Some(bytes.clone()));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = decode(&text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "=", "A", "A===", "AA=A", "+-+-", "a b=", "é", "AAAA\n"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
