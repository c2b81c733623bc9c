//! Which offer a client asks for: `Prefer: l402-offer=NAME` (RFC 7240).

use http::{HeaderMap, HeaderName};

use crate::types::Name;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The preference's name.
pub const L402_OFFER: &str = "l402-offer";

/// The longest header value that is looked into, in bytes.
const MAX_VALUE_BYTES: usize = 1_024;

/// The offer that a client prefers. Of several preferences of that name the first counts (§2); what does
/// not read is no preference.
pub(super) fn preferred(headers: &HeaderMap) -> Option<Name> {
    let lines = headers.get_all(PREFER);
    let texts = lines.iter().filter(|line| line.len() <= MAX_VALUE_BYTES).filter_map(|l| l.to_str().ok());
    texts.flat_map(|text| split(text, ',')).find_map(offer_in)?
}

/// What a preference says, when it is ours; `Some(None)` when it is ours and names no offer.
fn offer_in(preference: &str) -> Option<Option<Name>> {
    let word = split(preference, ';').into_iter().next().unwrap_or_default();
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    name.trim().eq_ignore_ascii_case(L402_OFFER).then(|| unquoted(value.trim()).parse().ok())
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// The parts between separators, those in quotes apart.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if char == separator && !quoted => {
                parts.push(&text[start..place]);
                start = place + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_str(line).unwrap());
        }
        preferred(&headers).map(|name| name.to_string())
    }

    #[test]
    fn the_first_preference_of_that_name_counts() {
        let long = format!("l402-offer={}", "a".repeat(2_000));
        for (lines, expected) in [
            (&["l402-offer=pack-100"] as &[_], Some("pack-100")),
            (&["L402-Offer = \"pack-100\""], Some("pack-100")),
            (&["respond-async, wait=10, l402-offer=day; x=y, l402-offer=week"], Some("day")),
            (&["return=minimal", "l402-offer=day", "l402-offer=week"], Some("day")),
            (&["x=\"a, l402-offer=week\", l402-offer=day"], Some("day")),
            (&["x; l402-offer=day"], None),
            (&["l402-offer"], None),
            (&["l402-offer=", "l402-offer=day"], None),
            (&["l402-offer=Pack 100"], None),
            (&["l402-offers=day"], None),
            (&["\"l402-offer=day"], None),
            (&[&long], None),
            (&["", ",,;;==\"\\"], None),
            (&[], None),
        ] {
            assert_eq!(read(lines).as_deref(), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "[ -~]{0,60}", near in "(l402-offer|wait)?[=;, \"\\\\a-z]{0,30}") {
            read(&[&text, &near]);
        }
    }
}
