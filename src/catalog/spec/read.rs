//! The shape of a spec: which settings there are, and of which type. All faults at once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, not_a};
use super::words::{Wrong, one_of};
use super::{
    FreeSpec, HeaderSpec, OfferSpec, PriceSpec, RouteSpec, SampleSpec, Spec, SpecFault, TermsSpec, TierSpec,
    TimeoutsSpec, UpTo,
};

const OFFERS: &str = "Write offers = [\"request\", { pack = 100, price = \"4000 sat\" }, { pass = \"1 day\", price = \"0.50 USD\" }, { balance = \"10000 sat\" }].";
const TIERS: &str = "Write tiers = [{ up_to = 100, price = \"2 sat\" }, { price = \"1 sat\" }].";
const HEADERS: &str =
    "Write upstream_headers = { Authorization = { env = \"UPSTREAM_KEY\" }, X-Plan = \"gold\" }.";
const PLAIN_HEADERS: &str = "Write a table of strings, such as { Accept = \"text/plain\" }.";
const DIALECTS: &str = "Write dialects = [\"l402\", \"payment\"].";
const FREE: &str = "Write free = { requests = 20, per = \"day\", by = \"ip\" }.";
const TIMEOUTS: &str = "Write timeouts = { connect = \"5s\", header = \"2m\", idle = \"30s\" }.";
const PRICE: &str = "Write a string, such as \"50 sat\", or { formula = \"1000 + request.size_bytes\", ceiling = \"100 sat\" }.";

impl Spec {
    /// Reads the shape of `value`: what could be read, and everything that could not.
    pub fn read(value: &Value) -> (Spec, Vec<SpecFault>) {
        let mut faults = Vec::new();
        let help = "A service is a table of settings.";
        let spec = Fields::of(String::new(), value, help, &mut faults).map(|mut fields| {
            let spec = service(&mut fields);
            fields.finish();
            spec
        });
        (spec.unwrap_or_default(), faults)
    }
}

fn service(fields: &mut Fields<'_, '_>) -> Spec {
    Spec {
        name: fields.text("name").unwrap_or_default(),
        title: fields.text("title"),
        description: fields.text("description"),
        mode: fields.text("mode"),
        host: fields.text("host"),
        path: fields.text("path"),
        upstream: fields.text("upstream"),
        strip_prefix: fields.text("strip_prefix"),
        upstream_host: fields.text("upstream_host"),
        upstream_headers: upstream_headers(fields),
        timeouts: fields.table("timeouts", TIMEOUTS, |waits| TimeoutsSpec {
            connect: waits.text("connect"),
            header: waits.text("header"),
            idle: waits.text("idle"),
        }),
        openapi: fields.text("openapi"),
        dialects: dialects(fields),
        browser_unlock: fields.flag("browser_unlock"),
        terms: terms(fields),
        samples: fields
            .tables("samples", "Write samples = [{ path = \"/v1/chat\", body = '{\"n\":3}' }].", sample)
            .unwrap_or_default(),
        route: fields.tables("route", "Begin each with a line [[service.route]].", route).unwrap_or_default(),
    }
}

fn dialects(fields: &mut Fields<'_, '_>) -> Option<Vec<String>> {
    let list = fields.list("dialects", DIALECTS)?;
    let words = list.iter().enumerate();
    Some(words.filter_map(|(index, word)| fields.text_of(&format!("dialects[{index}]"), word)).collect())
}

fn route(fields: &mut Fields<'_, '_>) -> RouteSpec {
    RouteSpec {
        name: fields.text("name"),
        description: fields.text("description"),
        method: fields.text("method"),
        path: fields.text("path"),
        terms: terms(fields),
    }
}

fn terms(fields: &mut Fields<'_, '_>) -> TermsSpec {
    TermsSpec {
        price: price(fields),
        tiers: fields.tables("tiers", TIERS, tier).map(|tiers| tiers.into_iter().flatten().collect()),
        per: fields.text("per"),
        ceiling: fields.text("ceiling"),
        fallback: fields.text("fallback"),
        offers: offers(fields),
        free: fields
            .table("free", FREE, |free| {
                let (requests, per, by) = (free.count("requests"), free.text("per"), free.text("by"));
                requests.map(|requests| FreeSpec { requests, per, by })
            })
            .flatten(),
        restore_on: restore_on(fields),
        invoice_expiry: fields.text("invoice_expiry"),
        token_life: fields.text("token_life"),
    }
}

fn price(fields: &mut Fields<'_, '_>) -> Option<PriceSpec> {
    match fields.value("price")? {
        Value::String(text) => Some(PriceSpec::Text(text.clone())),
        table @ Value::Object(_) => fields
            .inside("price", table, PRICE, |price| {
                let formula = price.text("formula");
                let (ceiling, fallback, zero) =
                    (price.text("ceiling"), price.text("fallback"), price.text("zero"));
                price.lacks("formula", PRICE);
                formula.map(|formula| PriceSpec::Formula { formula, ceiling, fallback, zero })
            })
            .flatten(),
        other @ Value::Number(_) => {
            fields.complain("price", not_a("a string", "Put it in quotes, with its unit: \"5 sat\".", other));
            None
        }
        other => {
            fields.complain("price", not_a("a string or a table", PRICE, other));
            None
        }
    }
}

fn tier(fields: &mut Fields<'_, '_>) -> Option<TierSpec> {
    let up_to = match fields.value("up_to") {
        None => None,
        Some(Value::String(text)) => Some(UpTo::Bytes(text.clone())),
        Some(value) => match value.as_u64() {
            Some(requests) => Some(UpTo::Requests(requests)),
            None => {
                let help = "Write a number of requests, or an amount of bytes such as \"10 MB\".";
                fields.complain("up_to", not_a("a whole number or a string", help, value));
                None
            }
        },
    };
    let price = fields.text("price");
    fields.lacks("price", TIERS);
    price.map(|price| TierSpec { up_to, price })
}

fn offers(fields: &mut Fields<'_, '_>) -> Option<Vec<OfferSpec>> {
    let list = fields.list("offers", OFFERS)?;
    let mut offers = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let key = format!("offers[{index}]");
        match item {
            Value::String(word) if word == "request" => offers.push(OfferSpec::Word(word.clone())),
            Value::String(word) => {
                let mut wrong = one_of(word, "an offer by itself", &["request"]);
                wrong.help = OFFERS.to_owned();
                fields.complain(&key, wrong);
            }
            table @ Value::Object(_) => {
                offers.extend(fields.inside(&key, table, OFFERS, |offer| OfferSpec::Sold {
                    pack: offer.count("pack"),
                    pass: offer.text("pass"),
                    balance: offer.text("balance"),
                    price: offer.text("price"),
                    name: offer.text("name"),
                }))
            }
            other => fields.complain(&key, not_a("a string or a table", OFFERS, other)),
        }
    }
    Some(offers)
}

fn restore_on(fields: &mut Fields<'_, '_>) -> Option<Vec<String>> {
    let help = "Write restore_on = [\"5xx\", \"404\"].";
    let list = fields.list("restore_on", help)?;
    let mut statuses = Vec::new();
    for (index, item) in list.iter().enumerate() {
        match item {
            Value::String(text) => statuses.push(text.clone()),
            // 404 without quotes means the same.
            Value::Number(number) if number.is_u64() => statuses.push(number.to_string()),
            other => fields.complain(&format!("restore_on[{index}]"), not_a("a string", help, other)),
        }
    }
    Some(statuses)
}

fn upstream_headers(fields: &mut Fields<'_, '_>) -> BTreeMap<String, HeaderSpec> {
    let help = "Write a string, or { env = \"UPSTREAM_KEY\", prefix = \"Bearer \" }.";
    let mut headers = BTreeMap::new();
    for (name, value) in fields.entries("upstream_headers", HEADERS) {
        let key = format!("upstream_headers.{name}");
        let header = match value {
            Value::String(text) => Some(HeaderSpec::Literal(text.clone())),
            table @ Value::Object(inner) if inner.contains_key("redacted") => fields
                .inside(&key, table, help, |header| header.value("redacted") == Some(&Value::Bool(true)))
                .map(|redacted| HeaderSpec::Redacted { redacted }),
            table @ Value::Object(_) => fields
                .inside(&key, table, help, |header| {
                    let (env, prefix) = (header.text("env"), header.text("prefix"));
                    header.lacks("env", help);
                    env.map(|env| HeaderSpec::Env { env, prefix })
                })
                .flatten(),
            other => {
                fields.complain(&key, not_a("a string or a table", help, other));
                None
            }
        };
        headers.extend(header.map(|header| (name.clone(), header)));
    }
    headers
}

fn sample(fields: &mut Fields<'_, '_>) -> SampleSpec {
    let status = fields.count("status").and_then(|status| {
        let status = u16::try_from(status).ok().filter(|status| (100..=599).contains(status));
        if status.is_none() {
            fields.complain("status", Wrong::new("it is not a status", "Write a number from 100 to 599."));
        }
        status
    });
    let path = fields.text("path");
    let sample = SampleSpec {
        method: fields.text("method"),
        path: path.unwrap_or_default(),
        headers: plain_headers(fields, "headers"),
        body: fields.text("body"),
        status,
        answer_headers: plain_headers(fields, "answer_headers"),
        answer: fields.text("answer"),
        ms: fields.count("ms"),
    };
    fields.lacks("path", "Write the path that is asked, such as \"/v1/chat\".");
    sample
}

fn plain_headers(fields: &mut Fields<'_, '_>, key: &'static str) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in fields.entries(key, PLAIN_HEADERS) {
        let text = fields.text_of(&format!("{key}.{name}"), value);
        headers.extend(text.map(|text| (name.clone(), text)));
    }
    headers
}
