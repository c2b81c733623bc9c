//! The pay page: a 402 for a person.
//!
//! Invariants: one document that asks nobody for anything but the page's own address; its style and its
//! script are the same in every page and are let in by their hashes, so that nothing else can run; what
//! varies is text and attributes, escaped. What it shows is what the headers beside it say.

use std::sync::LazyLock;

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};
use ring::digest;

use super::super::unlock;
use crate::checkout::{Offered, Ware};
use crate::l402::Quoted;
use crate::qr::{self, Drawn};
use crate::types::Msat;

const STYLE: &str = include_str!("../../../templates/pay/style.css");
const SCRIPT: &str = include_str!("../../../templates/pay/script.js");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What the browser may do with the page: run our script, and ask the page's own origin. Pictures, sound
/// and documents that were paid for are shown from memory.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    HeaderValue::try_from(policy).expect("base64 and a fixed text are visible ASCII")
});

/// An amount apart from its unit.
struct Figure {
    number: String,
    unit: &'static str,
}

impl Figure {
    fn of(amount: Msat) -> Figure {
        // People think in satoshi, also where a price in another currency comes to parts of one.
        let text = amount.in_sat().to_string();
        let number = text.trim_end_matches(" sat");
        let number = match number.split_once('.') {
            Some((_, parts)) => format!("{}.{parts}", grouped(amount.sats_floor())),
            None => grouped(amount.sats_floor()),
        };
        Figure { number, unit: "sat" }
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One thing to choose.
struct Choice<'a> {
    name: &'a str,
    words: String,
    price: Figure,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "pay/page.html")]
struct Page<'a> {
    style: &'static str,
    script: &'static str,
    title: &'a str,
    about: Option<&'a str>,
    service: &'a str,
    host: &'a str,
    method: &'a str,
    path: &'a str,
    /// The chain of the invoice, unless its coins are worth something.
    network: Option<&'static str>,
    price: Figure,
    fiat: Option<&'a str>,
    words: String,
    choices: Vec<Choice<'a>>,
    code: &'static str,
    /// Why a credential that came was not enough.
    notice: Option<String>,
    bolt11: String,
    qr: Option<Drawn>,
    macaroon: String,
    hash: String,
    kind: &'static str,
    /// The browser can ask for it again by itself.
    again: bool,
    /// The page may ask whether it was paid.
    unlock: bool,
    expiry_secs: u64,
    valid_until: u64,
    lifetimes: String,
    restores: String,
}

/// The page of `offered`, without the headers of a 402.
pub(super) fn page(offered: &Offered) -> Response {
    let page = of(offered);
    let text = match page.render() {
        Ok(text) => text,
        Err(error) => {
            // Then it is a 402 without words; its headers say everything.
            tracing::error!(%error, "the pay page could not be rendered");
            String::new()
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HTML);
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(cookie) = unlock::cookie(offered) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

fn of(offered: &Offered) -> Page<'_> {
    let (challenge, matched, errand) = (offered.challenge(), offered.matched(), offered.errand());
    let (ware, service) = (offered.ware(), &matched.service);
    let route = service.routes.iter().find(|route| route.name == matched.route);
    let about = route.and_then(|route| route.description.as_deref());
    let bolt11 = challenge.invoice();
    Page {
        style: STYLE,
        script: SCRIPT,
        title: service.about.title.as_deref().unwrap_or(service.name.as_str()),
        about: about.or(service.about.description.as_deref()),
        service: service.name.as_str(),
        host: &errand.host,
        method: errand.method.as_str(),
        path: &errand.path,
        network: network(&bolt11),
        price: Figure::of(ware.price),
        fiat: ware.quote.as_ref().and_then(fiat),
        words: ware.words(),
        choices: choices(ware, offered.wares()),
        code: offered.code(),
        notice: match offered.code() {
            "payment_required" => None,
            "spent" => Some("What this token was for is used up. Buy more below.".to_owned()),
            _ => Some(sentence(offered.detail())),
        },
        qr: qr::in_capitals("lightning", &bolt11),
        macaroon: challenge.token.base64(),
        hash: challenge.payment_hash.to_hex(),
        kind: ware.kind.as_str(),
        unlock: offered.browser_key().is_some(),
        again: matches!(errand.method, Method::GET | Method::HEAD),
        expiry_secs: ware.invoice_expiry.as_secs(),
        valid_until: challenge.valid_until.secs(),
        lifetimes: ware.lifetimes(),
        restores: offered.restores(),
        bolt11,
    }
}

/// What else may be had; nothing when there is no choice.
fn choices<'a>(chosen: &Ware, wares: &'a [Ware]) -> Vec<Choice<'a>> {
    if wares.len() < 2 {
        return Vec::new();
    }
    let one = |ware: &'a Ware| Choice {
        name: ware.name.as_str(),
        words: ware.words(),
        price: Figure::of(ware.price),
        chosen: ware.name == chosen.name,
    };
    wares.iter().map(one).collect()
}

/// What was asked for in another currency: `0.002 USD` of `0.002 USD@64000`.
fn fiat(quote: &Quoted) -> Option<&str> {
    quote.as_str().split_once('@').map(|(amount, _)| amount)
}

/// The prefixes of BOLT 11; the longer ones first.
fn network(bolt11: &str) -> Option<&'static str> {
    let known = [("lnbcrt", "regtest"), ("lntbs", "signet"), ("lntb", "testnet")];
    known.into_iter().find(|(prefix, _)| bolt11.starts_with(prefix)).map(|(_, name)| name)
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!((grouped(0), grouped(999), grouped(1_000)), ("0".into(), "999".into(), "1,000".into()));
        let figure = Figure::of(Msat::new(1_500).unwrap());
        assert_eq!((figure.number.as_str(), figure.unit), ("1.5", "sat"));
        assert_eq!(sentence("the pack is used up"), "The pack is used up.");
        assert_eq!((sentence(""), sentence("Ok.")), (".".into(), "Ok.".into()));
        assert_eq!(
            [network("lnbcrt1x"), network("lntbs1x"), network("lnbc1x")],
            [Some("regtest"), Some("signet"), None]
        );
        assert_eq!(fiat(&"0.002 USD@64000.12".parse().unwrap()), Some("0.002 USD"));
    }

    #[test]
    fn the_style_and_the_script_end_only_where_they_do() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
        // What a parser makes of a carriage return is not what was hashed.
        assert!(!STYLE.contains('\r') && !SCRIPT.contains('\r'));
    }
}
