//! What a request would cost, and why: which route it is for, and why no other. Nothing is sold by asking.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method, Request, Uri, header};

use super::{Operator, Problem};
use crate::catalog::Candidate;
use crate::checkout::{BodySeen, PriceTag};
use crate::request::{CanonicalRequest, admit, may_be_json, plain_json};

/// A request as a customer would send it.
#[derive(Clone, Debug, Default)]
pub struct PriceAsk {
    /// The method.
    pub method: Method,
    /// Whole, or a path for the gateway's own host.
    pub url: String,
    /// The headers; `Host` is taken from the address.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What it would cost.
#[derive(Debug)]
pub struct PriceTold {
    /// The request as the gateway would let it in.
    pub request: CanonicalRequest,
    /// The price; `None` where nothing is sold.
    pub tag: Option<PriceTag>,
    /// Every place that it might have been for, the deciding one first.
    pub candidates: Vec<Candidate>,
}

impl Operator {
    /// What `ask` would cost at this moment, and why.
    ///
    /// # Errors
    /// When the gateway would not let it in.
    pub fn price_of(&self, ask: &PriceAsk) -> Result<PriceTold, Problem> {
        let (request, headers) = request(ask, &self.parts.config.gateway)?;
        let table = self.parts.storefront.catalog().current();
        let explained = table.explain(request.method(), request.host(), request.path());
        let json = if may_be_json(&headers) { plain_json(ask.body.as_bytes()) } else { None };
        let seen = BodySeen { size_bytes: u64::try_from(ask.body.len()).ok(), json };
        let tag = self.parts.checkout.price(&request, &headers, seen);
        Ok(PriceTold { request, tag, candidates: explained.candidates })
    }
}

/// The request as the gateway would let it in.
fn request(ask: &PriceAsk, gateway: &str) -> Result<(CanonicalRequest, HeaderMap), Problem> {
    let bad = |code: &'static str, detail: String| Problem::bad_request(code, detail);
    let whole = if ask.url.starts_with('/') { format!("{gateway}{}", ask.url) } else { ask.url.clone() };
    let uri: Uri = whole.parse().map_err(|error| bad("bad_url", format!("url: {error}.")))?;
    let Some(authority) = uri.authority().filter(|_| uri.scheme().is_some()).cloned() else {
        return Err(bad(
            "bad_url",
            "url: write it whole, such as https://api.example.com/v1/rates.".to_owned(),
        ));
    };
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::builder().method(ask.method.clone()).uri(target);
    for (name, value) in &ask.headers {
        if !name.eq_ignore_ascii_case(header::HOST.as_str()) {
            request = request.header(name, value);
        }
    }
    let request = request.header(header::HOST, authority.as_str()).body(());
    let (parts, ()) = request.map_err(|error| bad("bad_request", format!("headers: {error}.")))?.into_parts();
    let admitted = admit(&parts, IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(|refused| {
        let detail = format!("The gateway would refuse it: {}.", refused.detail);
        Problem::new(refused.status, refused.code, detail)
    })?;
    Ok((admitted, parts.headers))
}
