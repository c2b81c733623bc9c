//! What is asked for, and the name under which its state is kept.

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, Method};
use ring::digest::{Context, SHA256};
use url::Url;

use crate::checkout::L402_OFFER;

/// A request.
#[derive(Clone)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// The address, `http` or `https`.
    pub url: Url,
    /// Headers beside those that HTTP itself needs.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// Clients and gateways agree by it which requests are one.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Which offer a client wants, and which it got (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

impl Ask {
    /// Whether an offer is asked for by name.
    pub(super) fn names_offer(&self) -> bool {
        self.preference().is_some()
    }

    fn preference(&self) -> Option<&str> {
        let asked = self.headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        asked.map(str::trim).find(|text| text.starts_with(&format!("{L402_OFFER}=")))
    }

    /// The offer that is asked for by name, unless an answer with `headers` says that it is the one.
    pub(super) fn missed_offer(&self, headers: &HeaderMap) -> Option<&str> {
        let named = |value: &http::HeaderValue| Some(value.to_str().ok()?.trim().to_owned());
        let text = self.preference()?;
        let applied = headers.get_all(PREFERENCE_APPLIED).iter().filter_map(named).any(|one| one == text);
        if applied { None } else { text.split_once('=').map(|(_, offer)| offer) }
    }

    /// Tells requests apart: SHA-256 over all that is asked and who pays, in hexadecimal.
    pub(super) fn fingerprint(&self, wallet: Option<&str>) -> String {
        let mut hash = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            // With its length, so that no two lists of parts run together alike.
            hash.update(&bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        part(b"tollhouse/fetch/v1");
        part(self.method.as_str().as_bytes());
        part(self.url.as_str().as_bytes());
        part(&self.headers.len().to_be_bytes());
        for (name, value) in &self.headers {
            part(name.as_str().as_bytes());
            part(value.as_bytes());
        }
        part(if self.body.is_some() { b"body" } else { b"none" });
        part(self.body.as_deref().unwrap_or_default());
        part(wallet.unwrap_or_default().as_bytes());
        hex::encode(hash.finish())
    }

    /// As it goes out; with `proof`, the credential takes `Authorization`.
    pub(super) fn request(&self, http: &reqwest::Client, proof: Option<Sent<'_>>) -> reqwest::RequestBuilder {
        let mut headers = self.headers.clone();
        if let Some(sent) = proof {
            headers.insert(AUTHORIZATION, sent.credential.clone());
            // The caller's own key stands for the same wish.
            headers.entry(IDEMPOTENCY_KEY).or_insert_with(|| sent.key.clone());
        }
        let request = http.request(self.method.clone(), self.url.clone()).headers(headers);
        match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }
}

/// What goes with a request that was paid for.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) credential: &'a http::HeaderValue,
    pub(super) key: &'a http::HeaderValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(url: &str) -> Ask {
        Ask { method: Method::GET, url: url.parse().unwrap(), headers: HeaderMap::new(), body: None }
    }

    #[test]
    fn each_part_of_a_request_tells_it_apart() {
        let plain = ask("http://a/x");
        let mut header = plain.clone();
        header.headers.insert("x-a", "b".parse().unwrap());
        let post = Ask { method: Method::POST, ..plain.clone() };
        let empty = Ask { body: Some(Vec::new()), ..plain.clone() };
        let full = Ask { body: Some(b"b".to_vec()), ..plain.clone() };
        let all = [&plain, &ask("http://a/y"), &header, &post, &empty, &full];
        let mut names: Vec<String> = all.iter().map(|ask| ask.fingerprint(Some("http://w"))).collect();
        names.push(plain.fingerprint(Some("http://v")));
        names.push(plain.fingerprint(None));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(plain.fingerprint(None), ask("http://a/x").fingerprint(None));
    }
}
