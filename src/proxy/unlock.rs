//! Where the pay page asks whether its invoice was paid: `GET /.well-known/l402/unlock`, with the token of
//! the challenge and the cookie that came beside it. Answered where a service of the host lets a browser in
//! that way, and nowhere else.
//!
//! Invariants: the answer is for this site's own pages alone, so it has no CORS headers; the cookie goes to
//! this path only, so no upstream sees it; nothing is held, minted or written.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, RETRY_AFTER};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::ProxyState;
use super::answer::Problem;
use crate::catalog::{BrowserUnlock, Mode};
use crate::checkout::{NotUnlocked, Offered, Unlock};
use crate::request::CanonicalRequest;
use crate::types::PaymentHash;

/// The path.
pub(super) const PATH: &str = "/.well-known/l402/unlock";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How long after its invoice's expiry a payment may still arrive, in seconds: the page may ask until then.
const LATE_SECS: u64 = 2 * 3_600;

/// The cookie that comes beside `offered`, if it lets a browser in: no script reads it, and no other site
/// has it sent. Only over TLS, where the customer came that way as far as we are told.
pub(super) fn cookie(offered: &Offered) -> Option<HeaderValue> {
    let (key, name) = (offered.browser_key()?, name(&offered.challenge().payment_hash));
    let age = offered.ware().invoice_expiry.as_secs().saturating_add(LATE_SECS);
    let https = offered.errand().scheme.as_ref() == Some(&Scheme::HTTPS);
    let secure = if https { "; Secure" } else { "" };
    let text =
        format!("{name}={}; Path={PATH}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}", key.to_hex());
    let mut value = HeaderValue::try_from(text).expect("hexadecimal and a fixed text are visible ASCII");
    value.set_sensitive(true);
    Some(value)
}

/// Challenges side by side, in several tabs, have their own.
fn name(payment_hash: &PaymentHash) -> String {
    format!("l402_{}", &payment_hash.to_hex()[..16])
}

fn shown(headers: &HeaderMap, payment_hash: &PaymentHash) -> Option<String> {
    let wanted = name(payment_hash);
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

/// Answers when the request is for the path and somebody on this host is let in that way.
pub(super) async fn answer(
    state: &ProxyState,
    request: &CanonicalRequest,
    headers: &HeaderMap,
) -> Option<Response> {
    if request.path() != PATH || *request.method() != Method::GET {
        return None;
    }
    let table = state.checkout.price_list();
    let here = |host: &Option<String>| host.as_deref().is_none_or(|own| own == request.host());
    let mut services = table.services().iter().filter(|own| own.mode == Mode::On && here(&own.host));
    services.find(|own| own.unlock == BrowserUnlock::On)?;
    let foreign = headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none");
    if foreign {
        let detail = "Only this site's own pages may ask.";
        return Some(Problem::new(StatusCode::FORBIDDEN, "cross_site", detail).render());
    }
    Some(match state.checkout.unlock(request.peer(), headers, |hash| shown(headers, hash)).await {
        Ok(unlock) => told(&unlock),
        Err(why) => refused(&why),
    })
}

fn told(unlock: &Unlock) -> Response {
    let body = match unlock {
        Unlock::Waiting => json!({ "state": "waiting" }),
        Unlock::Paid(proof) => json!({ "state": "paid", "proof": proof.to_hex() }),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(unlock, Unlock::Waiting) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

fn refused(why: &NotUnlocked) -> Response {
    let status = match why {
        NotUnlocked::Malformed(_) | NotUnlocked::NoToken => StatusCode::BAD_REQUEST,
        NotUnlocked::Refused(_) | NotUnlocked::Off | NotUnlocked::OtherBrowser => StatusCode::FORBIDDEN,
        NotUnlocked::TooMany(many) => {
            let problem =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, why.code(), format!("There were {many}."));
            return Problem { retry_after: Some(many.retry_after()), ..problem }.render();
        }
        NotUnlocked::Ledger(error) => {
            tracing::error!(%error, "it could not be looked up whether a payment arrived");
            let detail = "The ledger cannot be read. Ask again.";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.code(), detail);
            return Problem { retry_after: Some(5), ..problem }.render();
        }
    };
    Problem::new(status, why.code(), format!("{why}.")).render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let hash = PaymentHash::from_bytes([0xab; 32]);
        let read = |line: &'static str| {
            shown(&HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(line))]), &hash)
        };
        assert_eq!(read("a=b; l402_abababababababab=cd;x"), Some("cd".to_owned()));
        assert_eq!(read("l402_ababababababababab=cd; xl402_abababababababab=cd"), None);
        assert_eq!(read("l402_abababababababab"), None);
    }
}
