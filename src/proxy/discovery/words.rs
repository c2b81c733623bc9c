//! `/llms.txt`: what is sold, in words, with one worked example.

use std::fmt::Write;

use http::Method;

use super::endpoint::{Endpoint, endpoints, told};
use crate::catalog::{PathPattern, Service};
use crate::clock::in_words;

/// The document.
pub(super) fn document<S: AsRef<Service>>(sold: &[S], base: &str) -> String {
    let mut text = format!(
        "# Paid API at {base}\n\n\
         > Requests are paid over Lightning by the L402 protocol: no account, no API key. A request \
         without payment gets 402 with an invoice and a token; paid, the same request is answered.\n\n\
         ## What is sold\n\n"
    );
    let mut example = None;
    for service in sold {
        let service = service.as_ref();
        let title = service.about.title.as_deref().unwrap_or(service.name.as_str());
        let _ = writeln!(text, "### {}\n", one_line(title));
        if let Some(description) = &service.about.description {
            let _ = writeln!(text, "{}\n", one_line(description));
        }
        for endpoint in endpoints(service) {
            line(&mut text, &endpoint);
            let priced = !endpoint.terms.rule.is_free();
            let plain = matches!(endpoint.path, PathPattern::Exact(_));
            if priced && (example.is_none() || plain) {
                example.get_or_insert((endpoint.method.cloned(), endpoint.path.front().to_owned()));
            }
        }
        text.push('\n');
    }
    if let Some((method, path)) = example {
        let method = method.unwrap_or(Method::GET);
        let _ = write!(
            text,
            "## A worked example\n\n\
             1. Ask:\n\n    curl -i -X {method} '{base}{path}'\n\n\
             2. The answer is 402. Its header `WWW-Authenticate: L402 version=\"0\", token=\"<token>\", \
             macaroon=\"<token>\", invoice=\"<invoice>\"` has both parts, and its JSON body the price, \
             the offers and what they sell. Nothing was charged, and nothing is stored.\n\
             3. Pay the invoice with any Lightning wallet. The payment's preimage is the receipt: 64 \
             hexadecimal digits.\n\
             4. Ask again with both, and get what was paid for:\n\n    \
             curl -X {method} -H 'Authorization: L402 <token>:<preimage>' '{base}{path}'\n\n\
             To choose another offer than the first, send `Prefer: l402-offer=<offer>` with the first \
             request. A token that is not used up is good for more requests: the answer's \
             `X-Tollhouse-Left` says for how many. Name a paid request with an `Idempotency-Key` to be \
             able to fetch its answer again after a broken connection.\n\n"
        );
    }
    if sold.iter().any(|service| service.as_ref().dialects.payment) {
        text.push_str(
            "Where one request is sold for whole satoshi, the 402 has a second header, \
             `WWW-Authenticate: Payment method=\"lightning\", intent=\"charge\", request=\"...\"`, over the same \
             invoice, for clients of the Machine Payments Protocol.\n\n",
        );
    }
    let _ = write!(
        text,
        "## For programs\n\n- {base}/.well-known/l402-services: every endpoint, price and offer in JSON\n\
         - {base}/openapi.json: OpenAPI, with a price for each operation\n"
    );
    text
}

fn line(text: &mut String, endpoint: &Endpoint<'_>) {
    let method = endpoint.method.map_or("any method", Method::as_str);
    let rule = endpoint.terms.rule.describe();
    let _ = write!(text, "- {method} {}: {}", endpoint.path, one_line(&rule));
    let offers: Vec<String> = endpoint
        .terms
        .offers
        .iter()
        .map(|offer| {
            let told = told(offer, &endpoint.terms.rule);
            told["price"]
                .as_str()
                .map_or_else(|| offer.name.to_string(), |price| format!("{} ({price})", offer.name))
        })
        .collect();
    if !offers.is_empty() {
        let _ = write!(text, "; offers: {}", offers.join(", "));
    }
    if let Some(free) = endpoint.terms.free {
        let span = in_words(free.per);
        let _ = write!(text, "; {} in {span} are free", free.requests);
    }
    if let Some(description) = endpoint.description {
        let _ = write!(text, ". {}", one_line(description));
    }
    text.push('\n');
}

/// An operator's words cannot begin a section of ours.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
