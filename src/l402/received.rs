//! The client's side: reading a challenge that somebody sent us, and writing the credential.
//!
//! A challenge comes from a stranger's server: it is bounded, and nothing in it can smuggle a
//! header. Any parameter order, `macaroon` or `token`, L402 or LSAT, other schemes beside it.

use std::fmt;

use thiserror::Error;

use super::base64;
use super::identifier::Identifier;
use super::sold::Sold;
use super::wire::Unverified;
use crate::types::Preimage;

/// The longest header value that is looked into, in bytes.
const MAX_VALUE_BYTES: usize = 32_768;

/// A challenge as a server sent it.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedChallenge {
    /// The macaroon in the server's own base64: sent back as it came.
    pub macaroon_b64: String,
    /// The invoice: letters and digits, not checked further.
    pub invoice: String,
}

impl ReceivedChallenge {
    /// What the macaroon's identifier says, where it is a version 2 macaroon with an L402
    /// identifier: its payment hash should be the invoice's, or the proof will not be taken.
    pub fn identifier(&self) -> Option<Identifier> {
        let macaroon = Unverified::read(&base64::decode(&self.macaroon_b64)?).ok()?;
        Identifier::parse(&macaroon.identifier).ok()
    }

    /// What the macaroon says that it sells, where it is one of a Tollhouse. The seller's word, which a
    /// buyer cannot check.
    pub fn sold(&self) -> Option<Sold> {
        let macaroon = Unverified::read(&base64::decode(&self.macaroon_b64)?).ok()?;
        Sold::read(&macaroon.caveats).map(|(sold, _)| sold)
    }
}

impl fmt::Debug for ReceivedChallenge {
    /// Leaves the macaroon out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedChallenge").field("invoice", &self.invoice).finish_non_exhaustive()
    }
}

/// Why a header is not a challenge that can be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoChallenge {
    /// Longer than 32 KiB.
    #[error("the challenge is too long")]
    TooLong,
    /// Neither `L402` nor `LSAT`.
    #[error("the server does not ask for an L402 payment")]
    OtherScheme,
    /// No macaroon, or none in base64.
    #[error("the L402 challenge has no readable macaroon")]
    Macaroon,
    /// No invoice, or one with other characters than letters and digits.
    #[error("the L402 challenge has no readable invoice")]
    Invoice,
    /// A parameter comes twice with different values.
    #[error("the L402 challenge contradicts itself")]
    Ambiguous,
}

/// Reads one `WWW-Authenticate` value; the first L402 or LSAT challenge in it counts.
///
/// # Errors
/// When there is none, or it cannot be paid.
pub fn parse_challenge(value: &str) -> Result<ReceivedChallenge, NoChallenge> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(NoChallenge::TooLong);
    }
    let mut parameters = split_list(value)
        .into_iter()
        .map(item)
        .skip_while(|(scheme, _)| !scheme.is_some_and(is_ours))
        .enumerate()
        .take_while(|(place, (scheme, _))| *place == 0 || scheme.is_none())
        .map(|(_, (_, parameter))| parameter)
        .peekable();
    parameters.peek().ok_or(NoChallenge::OtherScheme)?;
    let (mut macaroon, mut token, mut invoice) = (None, None, None);
    for (name, value) in parameters.flatten() {
        let slot = match name.to_ascii_lowercase().as_str() {
            "macaroon" => &mut macaroon,
            "token" => &mut token,
            "invoice" => &mut invoice,
            _ => continue,
        };
        if slot.replace(value.clone()).is_some_and(|before| before != value) {
            return Err(NoChallenge::Ambiguous);
        }
    }
    let macaroon_b64 = macaroon.or(token).filter(|text| base64::decode(text).is_some());
    Ok(ReceivedChallenge {
        macaroon_b64: macaroon_b64.ok_or(NoChallenge::Macaroon)?,
        invoice: invoice.and_then(|text| bare_invoice(&text)).ok_or(NoChallenge::Invoice)?,
    })
}

/// The value of `Authorization` for a paid challenge. A secret: mark the header as sensitive.
pub fn authorization(macaroon_b64: &str, preimage: &Preimage) -> String {
    format!("L402 {macaroon_b64}:{}", preimage.to_hex())
}

fn is_ours(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("L402") || scheme.eq_ignore_ascii_case("LSAT")
}

/// The items between commas, those in quotes apart.
fn split_list(value: &str) -> Vec<&str> {
    let (mut items, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                items.push(value[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    items.push(value[start..].trim());
    items
}

/// An item's scheme and parameter: `Scheme`, `Scheme name=value` or `name=value`.
fn item(item: &str) -> (Option<&str>, Option<(&str, String)>) {
    let word_end = item.find([' ', '\t', '=']).unwrap_or(item.len());
    let (word, rest) = item.split_at(word_end);
    let after = rest.trim_start();
    if after.starts_with('=') {
        return (None, parameter(item));
    }
    (Some(word), parameter(after))
}

fn parameter(text: &str) -> Option<(&str, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim(), unquoted(value.trim())?))
}

/// A token as it stands, or a quoted string without its quotes; `None` when the quotes do not close.
fn unquoted(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(text),
            '\\' => text.push(chars.next()?),
            char => text.push(char),
        }
    }
}

/// The invoice without a `lightning:` before it; `None` when it cannot be one.
fn bare_invoice(text: &str) -> Option<String> {
    let has_prefix = text.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("lightning:"));
    let bare = if has_prefix { &text[10..] } else { text };
    (!bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(value: &str) -> Result<(String, String), NoChallenge> {
        parse_challenge(value).map(|read| (read.macaroon_b64, read.invoice))
    }

    #[test]
    fn every_servers_spelling_is_read() {
        for value in [
            r#"L402 macaroon="AgE=", invoice="lnbcrt1x""#,
            r#"LSAT macaroon="AgE=", invoice="lnbcrt1x""#,
            r#"l402 invoice="lnbcrt1x", macaroon="AgE=""#,
            r#"L402 version="0", token="AgE=", invoice="lnbcrt1x""#,
            r#"L402 token="other", macaroon="AgE=", invoice="lnbcrt1x""#,
            r#"L402 macaroon=AgE=,invoice=lnbcrt1x"#,
            r#"L402  Macaroon = "AgE=" , Invoice = "lightning:lnbcrt1x" "#,
            r#"L402 macaroon="A\gE=", invoice="lnbcrt1x", macaroon="AgE=""#,
            r#"L402, macaroon="AgE=", invoice="lnbcrt1x""#,
            r#"Basic realm="a, L402 macaroon=x", L402 macaroon="AgE=", invoice="lnbcrt1x""#,
            r#"L402 macaroon="AgE=", invoice="lnbcrt1x", Payment id="1", invoice="lnbcrt1y""#,
            r#"Negotiate abc==, L402 macaroon="AgE=", invoice="lnbcrt1x", Bearer"#,
        ] {
            assert_eq!(parse(value), Ok(("AgE=".to_owned(), "lnbcrt1x".to_owned())), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_paid_is_said() {
        let table = [
            ("", NoChallenge::OtherScheme),
            ("Basic realm=\"L402\"", NoChallenge::OtherScheme),
            ("macaroon=\"AgE=\", invoice=\"lnbc\"", NoChallenge::OtherScheme),
            ("L402", NoChallenge::Macaroon),
            ("L402 invoice=\"lnbc1\"", NoChallenge::Macaroon),
            ("L402 macaroon=\"A\", invoice=\"lnbc1\"", NoChallenge::Macaroon),
            ("L402 macaroon=\"AgE=\r\nX: y\", invoice=\"lnbc1\"", NoChallenge::Macaroon),
            ("L402 macaroon=\"AgE=, invoice=lnbc1", NoChallenge::Macaroon),
            ("L402 macaroon=\"AgE=\"", NoChallenge::Invoice),
            ("L402 macaroon=\"AgE=\", invoice=\"\"", NoChallenge::Invoice),
            ("L402 macaroon=\"AgE=\", invoice=\"lnbc 1\"", NoChallenge::Invoice),
            ("L402 macaroon=\"AgE=\", invoice=\"a\", invoice=\"b\"", NoChallenge::Ambiguous),
        ];
        for (value, expected) in table {
            assert_eq!(parse(value), Err(expected), "{value}");
        }
        assert_eq!(parse(&"x".repeat(MAX_VALUE_BYTES + 1)), Err(NoChallenge::TooLong));
    }

    #[test]
    fn a_received_macaroon_hides_itself() {
        let read = parse_challenge(r#"L402 macaroon="AgE=", invoice="lnbc1""#).unwrap();
        assert_eq!(format!("{read:?}"), "ReceivedChallenge { invoice: \"lnbc1\", .. }");
        assert_eq!(read.identifier(), None);
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "\\PC{0,120}", near in "(L402|LSAT|Basic)?[ ,]?([a-z]{0,8} ?=? ?\"?[a-zé\\\\\"=,:]{0,12}\"?,? ?){0,6}") {
            let _ = parse_challenge(&text);
            let _ = parse_challenge(&near);
        }

        #[test]
        fn what_is_read_fits_a_header(value in "L402 macaroon=\"?\\PC{0,20}\"?, invoice=\\PC{0,20}") {
            if let Ok(read) = parse_challenge(&value) {
                let credential = authorization(&read.macaroon_b64, &Preimage::from_bytes([1; 32]));
                prop_assert!(http::HeaderValue::try_from(credential).is_ok());
                let _ = read.identifier();
            }
        }
    }
}
