//! The forgiving reader of `Authorization: Payment <base64url JSON>` (the core draft, "Credentials"). What
//! it reads is not believed until [`super::verify`].

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::base64url;
use super::key::Bound;
use super::refusal::Refusal;
use crate::types::Preimage;

/// The longest header value that is looked into, in bytes; the core draft asks for 4 KiB at least.
const MAX_VALUE_BYTES: usize = 16_384;

/// The most credentials of one request that are looked at: each costs an HMAC for every epoch.
const MAX_CREDENTIALS: usize = 8;

/// A credential as a client presented it; not believed yet.
#[derive(Clone, PartialEq)]
pub struct Presented {
    challenge: Echo,
    payload: Value,
}

#[derive(Deserialize)]
struct Wire {
    challenge: Echo,
    payload: Value,
}

/// The challenge as the client gives it back. What it may leave out, or we never emit, is not asked for.
#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Echo {
    id: String,
    realm: String,
    method: String,
    intent: String,
    request: String,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    digest: Option<Value>,
    #[serde(default)]
    opaque: Option<Value>,
}

impl Presented {
    /// Reads what follows the scheme.
    fn read(token: &str) -> Result<Presented, Refusal> {
        let json = base64url::decode(token.trim()).ok_or(Refusal::Malformed)?;
        let Wire { challenge, payload } = serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)?;
        Ok(Presented { challenge, payload })
    }

    pub(super) fn id(&self) -> &str {
        &self.challenge.id
    }

    pub(super) fn bound(&self) -> Bound<'_> {
        let Echo { realm, method, intent, request, expires, digest, opaque, .. } = &self.challenge;
        Bound {
            realm,
            method,
            intent,
            request,
            expires: expires.as_deref().unwrap_or_default(),
            digest: slot(digest.as_ref()),
            opaque: slot(opaque.as_ref()),
        }
    }

    pub(super) fn preimage(&self) -> Result<Preimage, Refusal> {
        let hex = self.payload.get("preimage").and_then(Value::as_str);
        hex.and_then(|hex| Preimage::presented(hex).ok()).ok_or(Refusal::NotPreimage)
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(redacted)")
    }
}

/// A slot that we leave empty: null and the empty text are that, too. Anything else is not ours.
fn slot(value: Option<&Value>) -> &str {
    match value {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => "?",
    }
}

/// The `Payment` credentials of a request in their order, each once, and those that cannot be read; none
/// when it has none at all. The first that verifies decides.
pub fn presented(headers: &HeaderMap) -> Vec<Result<Presented, Refusal>> {
    let mut found: Vec<Result<Presented, Refusal>> = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        for token in tokens(value) {
            let long = value.len() > MAX_VALUE_BYTES;
            let read = match std::str::from_utf8(token) {
                Ok(token) if !long => Presented::read(token),
                _ => Err(Refusal::Malformed),
            };
            if found.len() < MAX_CREDENTIALS && !found.contains(&read) {
                found.push(read);
            }
        }
    }
    found
}

/// Whether this header is one that [`presented`] reads.
pub fn carries_credential(name: &HeaderName, value: &HeaderValue) -> bool {
    name == AUTHORIZATION && tokens(value).next().is_some()
}

/// What follows each `Payment` in a header, alone or in a list that a proxy joined with commas.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').filter_map(|part| {
        let part = part.trim_ascii();
        let end = part.iter().position(u8::is_ascii_whitespace).unwrap_or(part.len());
        let (scheme, rest) = part.split_at(end);
        scheme.eq_ignore_ascii_case(b"payment").then(|| rest.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Vec<Result<Presented, Refusal>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        presented(&headers)
    }

    fn credential(id: &str) -> String {
        let json = format!(
            r#"{{"source":"did:key:x","payload":{{"preimage":"{}"}},"challenge":{{"id":"{id}","realm":"r","method":"m","intent":"i","request":"q","description":"words","digest":null,"opaque":""}}}}"#,
            "ab".repeat(32)
        );
        base64url::encode(json.as_bytes())
    }

    #[test]
    fn credentials_are_found_in_any_spelling_and_company() {
        let (one, two) = (credential("one"), credential("two"));
        let standard = one.replace('-', "+").replace('_', "/");
        let padded = format!("{one}{}", "=".repeat((4 - one.len() % 4) % 4));
        let ids = |lines: &[&str]| -> Vec<String> {
            read(lines)
                .into_iter()
                .map(|p| p.map_or_else(|r| r.code().to_owned(), |p| p.id().to_owned()))
                .collect()
        };
        for line in [
            format!("Payment {one}"),
            format!("payment   {one} "),
            format!("PAYMENT {padded}"),
            format!("Payment {standard}"),
            format!("L402 AAAA:00, Payment {one}"),
            format!("Payment {one},Payment {one}"),
        ] {
            assert_eq!(ids(&[&line]), ["one"], "{line}");
        }
        assert_eq!(ids(&[&format!("Payment {two}"), &format!("Payment {one}")]), ["two", "one"]);
        assert_eq!(ids(&["Bearer x", "Paymentx y", "L402 a:b", ""]), [""; 0]);
        assert_eq!(read(&[&format!("Payment {one}")])[0].as_ref().unwrap().bound().digest, "");
        for bad in ["Payment", "Payment !!!", "Payment e30", "Payment bnVsbA", "Payment é"] {
            assert_eq!(ids(&[bad]), ["credential_malformed"], "{bad}");
        }
        assert_eq!(ids(&[&format!("Payment {}", "A".repeat(17_000))]), ["credential_malformed"]);
        assert_eq!(format!("{:?}", read(&[&format!("Payment {one}")])), "[Ok(Presented(redacted))]");
    }

    #[test]
    fn no_more_than_eight_are_looked_at() {
        let many: Vec<String> = (0..20).map(|n| format!("Payment {}", credential(&n.to_string()))).collect();
        assert_eq!(read(&many.iter().map(String::as_str).collect::<Vec<_>>()).len(), MAX_CREDENTIALS);
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "[ -~]{0,80}", json in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            let _ = read(&[&text, &format!("Payment {text}"), &format!("Payment {}", base64url::encode(json.as_bytes()))]);
        }
    }
}
