//! Addresses that name no page: what nobody knows, and what only takes the answers of a form.

use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};

use super::entry;
use crate::web::Problem;

/// An unknown address: a page for a browser, a problem for a program.
pub(super) async fn nowhere(uri: Uri, headers: HeaderMap) -> Response {
    if !uri.path().starts_with("/api/") && wants_page(&headers) {
        return entry::unknown("No page of this Tollhouse has this address. Nothing was done.");
    }
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.").into_response()
}

/// An address that takes a form only, opened or reloaded as a page: the page that the form is on.
pub(super) async fn half_way(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method == Method::GET && wants_page(&headers) {
        return Redirect::to(&page_above(uri.path())).into_response();
    }
    let detail = "This address does not answer to that method.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).into_response()
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")))
}

/// The page that has the form of `path`, an address of ours. It is never `path` itself.
fn page_above(path: &str) -> String {
    let mut names: Vec<&str> = path.split('/').skip(1).collect();
    names.pop();
    match names.as_slice() {
        ["integrations", "webhooks", id] => format!("/integrations/webhooks/{id}"),
        ["integrations", ..] => "/integrations".to_owned(),
        ["lightning", "rules", ..] => "/lightning/rules".to_owned(),
        names => format!("/{}", names.join("/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forms_address_leads_to_its_page() {
        for (path, page) in [
            ("/logout", "/"),
            ("/backup/now", "/backup"),
            ("/payments/00ff/revoke", "/payments/00ff"),
            ("/integrations/keys", "/integrations"),
            ("/integrations/keys/7/revoke", "/integrations"),
            ("/integrations/webhooks/7/test", "/integrations/webhooks/7"),
            ("/integrations/deliveries/7/redeliver", "/integrations"),
            ("/lightning/rules/refill/off", "/lightning/rules"),
            ("/lightning/channels/ab/close", "/lightning/channels/ab"),
            ("/start/seed/words", "/start/seed"),
        ] {
            assert_eq!(page_above(path), page, "{path}");
        }
    }
}
