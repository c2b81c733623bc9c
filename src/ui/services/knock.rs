//! A service's own API asked once after a change: one that is dead is better heard of before customers pay.

use std::time::Duration;

use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method};

use super::{address, back};
use crate::egress::{Call, EgressFault, Reach, Take};
use crate::ui::shell::Desk;

/// The page is not kept longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The page of a service after a change that put it on sale or keeps it there, with a warning where its API is
/// silent.
pub(super) async fn back_after(desk: &Desk, name: &str, word: &str) -> Response {
    if matches!(word, "added" | "saved" | "on") && silent(desk, name).await {
        return Redirect::to(&format!("{}?said={word}&api=silent", address(name))).into_response();
    }
    back(name, word)
}

/// Whether nobody answers at the service's upstream. What cannot be asked this way is not called silent.
async fn silent(desk: &Desk, name: &str) -> bool {
    let stock = desk.op.parts.storefront.stock();
    let own = stock.iter().find(|own| own.name.as_str() == name);
    let Some(upstream) = own.and_then(|own| own.spec.upstream.as_deref()) else { return false };
    // HTTP/2 without TLS is another protocol; a TCP connection alone would say too little.
    let Ok(url) = upstream.parse::<url::Url>() else { return false };
    if !matches!(url.scheme(), "http" | "https") {
        return false;
    }
    let call = Call {
        method: Method::HEAD,
        url,
        reach: Reach::Private,
        headers: HeaderMap::new(),
        body: Vec::new(),
        take: Take::Status,
        patience: PATIENCE,
    };
    let fault = desk.op.parts.egress.call(call).await.err();
    matches!(fault, Some(EgressFault::Unreachable(_) | EgressFault::TimedOut | EgressFault::NoAddress))
}
