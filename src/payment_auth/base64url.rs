//! Base64 as the scheme writes it (URL-safe, not padded) and as clients send it back (either alphabet,
//! padded or not).

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, FORGIVING);

/// The one spelling that we emit.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads either alphabet, padded or not.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let standard = text.contains(['+', '/']);
    if standard { &STANDARD } else { &URL_SAFE }.decode(text).ok()
}
