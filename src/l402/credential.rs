//! The forgiving reader of credentials in request headers (PROTOCOLS §1, acceptance).
//!
//! `Authorization: L402|LSAT <b64>[,<b64>…]:<hex preimage>`, `Macaroon: <hex>` and
//! `Grpc-Metadata-Macaroon: <hex>`. It forgives spelling and nothing else; what it reads is not
//! believed until [`super::verify`]. An `Authorization` of another scheme is not ours.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use super::base64;
use crate::types::Preimage;

/// The longest header value that is looked into, in bytes.
const MAX_VALUE_BYTES: usize = 16_384;

/// The most credentials that one request may carry: each costs a chain of HMACs.
const MAX_CREDENTIALS: usize = 8;

/// Headers that hold a macaroon in hexadecimal, with the preimage as a caveat.
const MACAROON_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("macaroon"), HeaderName::from_static("grpc-metadata-macaroon")];

/// A credential as a client presented it; not believed yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    pub(super) macaroon: Vec<u8>,
    pub(super) preimage: Option<Preimage>,
}

impl Presented {
    /// A credential that came by another way than a header: a macaroon in binary and, unless it is
    /// a caveat, the preimage.
    pub fn new(macaroon: Vec<u8>, preimage: Option<Preimage>) -> Presented {
        Presented { macaroon, preimage }
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(redacted)")
    }
}

/// A header that means to be a credential and cannot be read: answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Longer than 16 KiB.
    #[error("the credential is too long")]
    TooLong,
    /// Control characters, or beyond ASCII.
    #[error("the credential has characters that no credential has")]
    Characters,
    /// A scheme without anything after it, or a preimage without a macaroon.
    #[error("the credential has no macaroon")]
    Empty,
    /// The macaroon is not base64.
    #[error("the macaroon is not base64")]
    NotBase64,
    /// The macaroon is not hexadecimal, in a header where it has to be.
    #[error("the macaroon is not hexadecimal")]
    NotHex,
    /// The preimage is not 64 hexadecimal digits.
    #[error("the preimage is not 64 hexadecimal digits")]
    NotPreimage,
    /// More than 8.
    #[error("the request has too many credentials")]
    TooMany,
}

impl Malformed {
    /// The stable code that the answer's body carries.
    pub const fn code(self) -> &'static str {
        match self {
            Malformed::TooLong => "credential_too_long",
            Malformed::Characters | Malformed::Empty => "credential_malformed",
            Malformed::NotBase64 => "macaroon_not_base64",
            Malformed::NotHex => "macaroon_not_hex",
            Malformed::NotPreimage => "preimage_not_hex",
            Malformed::TooMany => "too_many_credentials",
        }
    }
}

/// The credentials of a request, in their order and each once; none when it has no L402 credential
/// at all. The first that verifies decides.
///
/// # Errors
/// When a header that means to be an L402 credential cannot be read.
pub fn presented(headers: &HeaderMap) -> Result<Vec<Presented>, Malformed> {
    let mut found = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        if let Some(credentials) = after_scheme(value.as_bytes()) {
            read_authorization(text(value, credentials)?, &mut found)?;
        }
    }
    for value in MACAROON_HEADERS.iter().flat_map(|name| headers.get_all(name)) {
        let macaroon = hex::decode(text(value, value.as_bytes())?).map_err(|_| Malformed::NotHex)?;
        keep(Presented { macaroon, preimage: None }, &mut found)?;
    }
    Ok(found)
}

/// Whether this header is one that [`presented`] reads: it must not reach an upstream (THREATS 10).
pub fn carries_credential(name: &HeaderName, value: &HeaderValue) -> bool {
    (name == AUTHORIZATION && after_scheme(value.as_bytes()).is_some()) || MACAROON_HEADERS.contains(name)
}

/// What follows the scheme, if the scheme is ours: once or repeated, in any case.
pub(super) fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    let mut rest = without_scheme(value)?;
    while let Some(again) = without_scheme(rest) {
        rest = again;
    }
    Some(rest)
}

fn without_scheme(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let ours = scheme.eq_ignore_ascii_case(b"L402") || scheme.eq_ignore_ascii_case(b"LSAT");
    ours.then(|| rest.trim_ascii())
}

/// `part` of `value` as text, when it is printable ASCII and not over-long.
fn text<'a>(value: &HeaderValue, part: &'a [u8]) -> Result<&'a str, Malformed> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Malformed::TooLong);
    }
    let text = std::str::from_utf8(part).map_err(|_| Malformed::Characters)?.trim();
    if text.is_empty() {
        return Err(Malformed::Empty);
    }
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) { Ok(text) } else { Err(Malformed::Characters) }
}

/// Reads `<b64>[,<b64>…]:<hex>`, and several of those where a proxy joined headers with commas: a
/// preimage belongs to every macaroon since the preimage before it.
fn read_authorization(credentials: &str, found: &mut Vec<Presented>) -> Result<(), Malformed> {
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    for piece in credentials.split(',').filter(|piece| !is_of_the_payment_scheme(piece)) {
        let piece = after_scheme(piece.as_bytes())
            .map_or(piece, |rest| std::str::from_utf8(rest).expect("cut from text at ASCII characters"));
        let (macaroon, preimage) = match piece.split_once(':') {
            Some((macaroon, preimage)) => (macaroon.trim(), Some(preimage.trim())),
            None => (piece.trim(), None),
        };
        if macaroon.is_empty() {
            return Err(Malformed::Empty);
        }
        waiting.push(base64::decode(macaroon).ok_or(Malformed::NotBase64)?);
        if waiting.len() > MAX_CREDENTIALS {
            return Err(Malformed::TooMany);
        }
        if let Some(preimage) = preimage {
            // `<b64>:` is a client that has not paid yet.
            let preimage = match preimage {
                "" => None,
                hex => Some(Preimage::presented(hex).map_err(|_| Malformed::NotPreimage)?),
            };
            for macaroon in waiting.drain(..) {
                keep(Presented { macaroon, preimage }, found)?;
            }
        }
    }
    for macaroon in waiting {
        keep(Presented { macaroon, preimage: None }, found)?;
    }
    Ok(())
}

/// Whether a proxy joined a credential of `payment_auth` to ours.
fn is_of_the_payment_scheme(piece: &str) -> bool {
    let scheme = piece.split_ascii_whitespace().next().unwrap_or_default();
    piece.contains(' ') && scheme.eq_ignore_ascii_case("payment")
}

/// Keeps a credential unless it was there already: the same one is never charged twice.
fn keep(credential: Presented, found: &mut Vec<Presented>) -> Result<(), Malformed> {
    if found.contains(&credential) {
        return Ok(());
    }
    if found.len() == MAX_CREDENTIALS {
        return Err(Malformed::TooMany);
    }
    found.push(credential);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[(&'static str, &[u8])]) -> Result<Vec<Presented>, Malformed> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        presented(&headers)
    }

    fn authorization(value: &str) -> Result<Vec<Presented>, Malformed> {
        read(&[("authorization", value.as_bytes())])
    }

    fn credential(macaroon: &[u8], preimage: u8) -> Presented {
        Presented::new(macaroon.to_vec(), Some(Preimage::from_bytes([preimage; 32])))
    }

    #[test]
    fn every_spelling_is_read() {
        let (lower, upper) = ("ab".repeat(32), "AB".repeat(32));
        let one = Ok(vec![credential(&[0xfb, 0xff], 0xab)]);
        for value in [
            format!("L402 +/8=:{lower}"),
            format!("l402 +/8:{upper}"),
            format!("LSAT -_8=:{lower}"),
            format!("lsat -_8:{lower}"),
            format!("L402 L402 +/8=:{lower}"),
            format!("L402 LSAT l402  +/8=:{lower}"),
            format!("L402   +/8= : {lower} "),
            format!("L402 +/8=:{lower}, Payment e30"),
            format!("L402\t+/8=:{lower}"),
            format!("L402 +/8=:{lower}, L402 -_8:{upper}"),
            format!("L402 +/8=,+/8=:{lower}"),
            // As a client sends it that took the hexadecimal digits for base64.
            format!("L402 +/8=:{}", "69b".repeat(32)),
        ] {
            assert_eq!(authorization(&value), one, "{value}");
        }
        let two = [credential(b"\0\0\0", 0xab), credential(b"\x04\x10A", 0xab)];
        assert_eq!(authorization(&format!("L402 AAAA, BBBB:{lower}")), Ok(two.to_vec()));
        let apart = [credential(b"\0\0\0", 0xab), credential(b"\x04\x10A", 0xcd)];
        let joined = format!("L402 AAAA:{lower}, LSAT BBBB:{}", "cd".repeat(32));
        assert_eq!(authorization(&joined), Ok(apart.to_vec()));
        let unpaid = Presented::new(vec![0; 3], None);
        assert_eq!(authorization("L402 AAAA"), Ok(vec![unpaid.clone()]));
        assert_eq!(authorization("L402 AAAA:"), Ok(vec![unpaid.clone()]));
        let order: [(&str, &[u8]); 4] = [
            ("grpc-metadata-macaroon", b"04"),
            ("macaroon", b"0a0B"),
            ("macaroon", b"0A0b"),
            ("authorization", b"L402 AAAA"),
        ];
        let hex = |bytes: &[u8]| Presented::new(bytes.to_vec(), None);
        assert_eq!(read(&order), Ok(vec![unpaid, hex(&[10, 11]), hex(&[4])]));
    }

    #[test]
    fn other_schemes_are_not_ours() {
        assert_eq!(read(&[]), Ok(vec![]));
        for value in ["Bearer L402", "Basic AAAA:BBBB", "", "L402x AAAA", "L402:AAAA", "L4 02"] {
            assert_eq!(authorization(value), Ok(vec![]), "{value}");
        }
        assert_eq!(read(&[("authorization", b"Basic \xff\xfe")]), Ok(vec![]));
    }

    #[test]
    fn malformed_credentials_are_told_apart() {
        let preimage = "ab".repeat(32);
        let table = [
            ("L402".to_owned(), Malformed::Empty),
            ("L402 lsat ".to_owned(), Malformed::Empty),
            (format!("L402 :{preimage}"), Malformed::Empty),
            (format!("L402 AAAA,:{preimage}"), Malformed::Empty),
            ("L402 AAAA,".to_owned(), Malformed::Empty),
            ("L402 A".to_owned(), Malformed::NotBase64),
            ("L402 {\"v\":2}".to_owned(), Malformed::NotBase64),
            ("L402 AAAA:00".to_owned(), Malformed::NotPreimage),
            (format!("L402 AAAA:{preimage}:{preimage}"), Malformed::NotPreimage),
            (format!("L402 AAAA:{preimage}0"), Malformed::NotPreimage),
            ("L402 AA\tAA".to_owned(), Malformed::Characters),
            (format!("L402 {}", "A".repeat(MAX_VALUE_BYTES)), Malformed::TooLong),
            (format!("L402 {}AAAA", "AAAA,".repeat(8)), Malformed::TooMany),
        ];
        for (value, expected) in table {
            assert_eq!(authorization(&value), Err(expected), "{value}");
        }
        assert_eq!(read(&[("authorization", b"L402 \xc3\xa9")]), Err(Malformed::Characters));
        assert_eq!(read(&[("authorization", b"L402 \xff")]), Err(Malformed::Characters));
        assert_eq!(read(&[("macaroon", b"0g")]), Err(Malformed::NotHex));
        assert_eq!(read(&[("macaroon", b"")]), Err(Malformed::Empty));
        let nine: Vec<_> = (b'0'..=b'8').map(|digit| [b'0', digit]).collect();
        let lines: Vec<(&str, &[u8])> = nine.iter().map(|hex| ("macaroon", hex.as_slice())).collect();
        assert_eq!(read(&lines[..8]).map(|found| found.len()), Ok(8));
        assert_eq!(read(&lines), Err(Malformed::TooMany));
    }

    #[test]
    fn what_is_read_is_kept_from_upstreams() {
        let carries = |name: &'static str, value: &'static str| {
            carries_credential(&HeaderName::from_static(name), &HeaderValue::from_static(value))
        };
        assert!(carries("authorization", " lsat x"));
        assert!(carries("macaroon", "00"));
        assert!(carries("grpc-metadata-macaroon", "not even hexadecimal"));
        assert!(!carries("authorization", "Bearer L402"));
        assert!(!carries("x-macaroon", "00"));
    }

    #[test]
    fn a_credential_hides_itself() {
        assert_eq!(format!("{:?}", credential(b"abc", 7)), "Presented(redacted)");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(macaroon in proptest::collection::vec(any::<u8>(), 1..300), preimage in any::<[u8; 32]>()) {
            let preimage = Preimage::from_bytes(preimage);
            let value = crate::l402::authorization(&base64::encode(&macaroon), &preimage);
            prop_assert_eq!(authorization(&value), Ok(vec![Presented::new(macaroon, Some(preimage))]));
        }

        #[test]
        fn no_header_panics(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            ours in "(L402 |lsat L402 |)[A-Za-z0-9+/=_:, -]{0,200}",
        ) {
            for value in [value.as_slice(), &[b"L402 ", value.as_slice()].concat(), ours.as_bytes()] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    for name in ["authorization", "macaroon", "grpc-metadata-macaroon"] {
                        let name = HeaderName::from_static(name);
                        let read = presented(&HeaderMap::from_iter([(name.clone(), value.clone())]));
                        // Whatever was taken for a credential, in whatever state, is kept back.
                        prop_assert!(read == Ok(vec![]) || carries_credential(&name, &value));
                    }
                }
            }
        }
    }
}
