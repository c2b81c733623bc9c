//! What compiles, what is refused and where, and that nothing secret is shown.

use serde_json::json;

use super::*;
use crate::catalog::{BrowserUnlock, Mode, Offering, Terms};
use crate::pricing::Rule;

fn env(name: &str) -> Option<String> {
    (name == "UPSTREAM_KEY").then(|| "sesame".to_owned())
}

fn compiled(value: Value) -> Result<crate::catalog::Service, Vec<SpecFault>> {
    let (spec, shape) = Spec::read(&value);
    spec.compile_after(shape, &env)
}

/// A whole service with `more` in it.
fn with(more: Value) -> Value {
    let mut value =
        json!({ "name": "llm", "path": "/llm", "upstream": "http://127.0.0.1:9000", "price": "50 sat" });
    for (key, setting) in more.as_object().expect("a table") {
        value[key] = setting.clone();
    }
    value
}

const METERED: &str = "1000 + response.bytes / 1024 * 10";

/// Asserts that `more` is refused for `field` alone, with words that hold `says`.
#[track_caller]
fn refused(more: Value, field: &str, says: &str) {
    let faults = compiled(with(more.clone())).expect_err("it is wrong");
    let [fault] = faults.as_slice() else { panic!("not one fault: {faults:?}\nin {more}") };
    assert_eq!(fault.field, field, "{fault}\nin {more}");
    assert!(fault.to_string().contains(says), "{fault}: does not say {says:?}");
}

#[test]
fn everything_that_can_be_said_compiles_and_reads_back() {
    let value = with(json!({
        "title": "A model", "description": "Answers", "mode": "shadow", "host": "api.example",
        "strip_prefix": "/llm", "upstream_host": "inner:81", "openapi": "/openapi.json",
        "dialects": ["lsat", "l402"],
        "browser_unlock": true,
        "upstream_headers": { "Authorization": { "env": "UPSTREAM_KEY", "prefix": "Bearer " }, "X-Plan": "gold" },
        "timeouts": { "connect": "5s", "header": "2m", "idle": "30s" },
        "price": "0.002 USD", "fallback": "60 sat",
        "offers": ["request", { "pack": 100, "price": "4000 sat", "name": "hundred" },
            { "pass": "1 day", "price": "0.50 USD" }, { "balance": "10000 sat" }],
        "free": { "requests": 20, "per": "day", "by": "ip" },
        "restore_on": ["5xx", 404], "invoice_expiry": "15m", "token_life": "24h",
        "route": [
            { "path": "/llm/tiers", "tiers": [{ "up_to": 100, "price": "2 sat" }, { "price": "1 sat" }],
              "offers": [{ "pack": 10 }] },
            { "path": "/llm/files/{id}/*", "method": "GET", "name": "files", "description": "Files",
              "tiers": [{ "up_to": "10 MB", "price": "5 sat" }, { "price": "1 sat" }], "per": "1 MB",
              "ceiling": "500 sat", "offers": [{ "balance": "1000 sat" }] },
            { "path": "/llm/health", "price": "free" },
            { "path": "/llm/same" },
        ],
    }));
    let service = compiled(value.clone()).expect("in order");
    assert_eq!((service.mode, service.unlock), (Mode::Shadow, BrowserUnlock::On));
    assert_eq!(service.dialects.words(), ["lsat", "l402"]);
    assert_eq!(compiled(with(json!({}))).expect("in order").dialects.words(), ["l402", "payment"]);
    let [connect, header, idle] = [5, 120, 30].map(|seconds| Some(std::time::Duration::from_secs(seconds)));
    assert_eq!(service.upstream.timeouts, crate::catalog::Timeouts { connect, header, idle });
    let offers: Vec<&str> = service.terms.offers.iter().map(|offer| offer.name.as_str()).collect();
    assert_eq!(offers, ["request", "hundred", "pass-1-day", "balance-10000-sat"]);
    assert_eq!(service.terms.restore.to_string(), "5xx, 404");
    assert_eq!(service.terms.free.expect("an allowance").per.as_secs(), 86_400);
    let [tiers, files, health, same] = service.routes.as_slice() else { panic!("four routes") };
    assert!(matches!(tiers.terms.rule, Rule::Tiers(_)) && tiers.terms.fallback.is_none());
    assert_eq!(tiers.terms.scope.as_str(), "llm-tiers", "offers of its own are a scope of its own");
    assert!(matches!(files.terms.offers[0].what, Offering::Balance { .. }));
    assert!(health.terms.rule.is_free() && health.terms.offers.is_empty());
    assert_eq!(same.terms.rule.to_string(), "0.002 USD");
    assert_eq!((same.terms.fallback, same.terms.scope.as_str()), (service.terms.fallback, "default"));

    let (spec, _) = Spec::read(&value);
    let again: Spec = serde_json::from_value(spec.to_json()).expect("it reads back");
    assert_eq!(again, spec);
    let file: toml::Value = toml::from_str(&spec.to_toml()).expect("it is TOML");
    let written = serde_json::to_value(&file["service"][0]).expect("JSON");
    assert_eq!(Spec::read(&written), (spec, Vec::new()), "{file}");
}

#[test]
fn keys_are_shown_to_nobody_and_kept_by_who_writes_back() {
    let headers = json!({ "X-Key": "hunter2", "Authorization": { "env": "UPSTREAM_KEY" } });
    let (stored, _) = Spec::read(&with(json!({ "upstream_headers": headers })));
    let shown = stored.redacted();
    assert!(!shown.to_json().to_string().contains("hunter2") && !format!("{stored:?}").contains("hunter2"));
    assert!(shown.to_json().to_string().contains("UPSTREAM_KEY"));
    let (back, faults) = Spec::read(&shown.to_json());
    assert_eq!((back.with_secrets_of(Some(&stored)), faults), (stored.clone(), Vec::new()));
    let (alone, _) = Spec::read(&shown.to_json());
    let faults = alone.with_secrets_of(None).compile(&env).expect_err("there is nothing to keep");
    assert_eq!(faults[0].field, "upstream_headers.X-Key");
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    refused(json!({ "pirce": 5 }), "pirce", "Did you mean `price`?");
    refused(json!({ "price": 5 }), "price", "Put it in quotes");
    refused(json!({ "price": "0 sat" }), "price", "Write \"free\"");
    refused(json!({ "price": null }), "price", "it is missing");
    refused(json!({ "browser_unlock": "yes" }), "browser_unlock", "expected true or false");
    refused(json!({ "mode": "of" }), "mode", "Did you mean \"off\"?");
    refused(json!({ "dialects": ["l402", "paymet"] }), "dialects[1]", "Did you mean \"payment\"?");
    refused(json!({ "dialects": [] }), "dialects", "says no price");
    refused(json!({ "fallback": "1 USD" }), "fallback", "needs an exchange rate");
    refused(json!({ "per": "1 MB" }), "per", "belongs to tiers");
    refused(json!({ "offers": [] }), "offers", "nothing is offered");
    refused(json!({ "offers": ["reqest"] }), "offers[0]", "not an offer by itself");
    refused(json!({ "offers": [{ "pack": 1 }] }), "offers[0].pack", "2 to");
    refused(json!({ "offers": [{ "pass": "1 day" }] }), "offers[0].price", "it is missing");
    refused(json!({ "offers": [{ "pass": "soon", "price": "1 sat" }] }), "offers[0].pass", "not a span");
    refused(
        json!({ "offers": [{ "pack": 2, "pass": "1h", "price": "1 sat" }] }),
        "offers[0]",
        "several things",
    );
    refused(json!({ "offers": ["request", { "pack": 2, "name": "request" }] }), "offers[1].name", "the name");
    refused(json!({ "offers": [{ "balance": "49 sat" }] }), "offers[0]", "opens no request");
    refused(json!({ "free": { "requests": 5 } }), "free.per", "it is missing");
    refused(json!({ "free": { "requests": 5, "per": "day", "by": "you" } }), "free.by", "everyone");
    refused(json!({ "restore_on": ["6xx"] }), "restore_on[0]", "not a status");
    refused(json!({ "token_life": "1m" }), "token_life", "not between");
    refused(json!({ "invoice_expiry": "30s" }), "invoice_expiry", "not between 1 minute and 7 days");
    refused(json!({ "price": { "formula": "1 +" } }), "price.formula", "");
    refused(json!({ "price": { "formula": "1000", "zero": "maybe" } }), "price.zero", "allow");
    refused(json!({ "price": { "formla": "1000" } }), "price.formla", "Did you mean `formula`?");
    refused(
        json!({ "route": [{ "path": "/llm/{a}/x" }, { "path": "/llm/{b}/x" }] }),
        "route[1].path",
        "the same requests",
    );
    refused(
        json!({ "route": [{ "path": "/llm/x" , "fallback": "1 sat", "price": "1 USD", "restore_on": [404] }, { "path": "/v" }] }),
        "route[1].path",
        "outside",
    );
    let tiers = json!([{ "up_to": 100, "price": "2 sat" }, { "price": "1 sat" }]);
    refused(json!({ "price": null, "tiers": tiers }), "offers", "single requests cannot be sold");
    refused(json!({ "price": null, "tiers": tiers, "offers": ["request"] }), "offers[0]", "earlier use");
    refused(json!({ "tiers": tiers }), "tiers", "there is a price too");
    refused(
        json!({ "price": null, "tiers": [{ "up_to": "1 MB", "price": "2 sat" }, { "price": "1 sat" }], "per": "1 MB", "offers": [{ "balance": "10 sat" }] }),
        "ceiling",
        "it is missing",
    );
    refused(
        json!({ "offers": ["request"], "route": [{ "path": "/llm/x", "tiers": tiers }] }),
        "route[0].offers",
        "`request` does not fit",
    );
}

#[test]
fn what_is_metered_by_its_answer_is_sold_as_balance_or_pass() {
    let price = json!({ "formula": METERED, "ceiling": "100 sat" });
    refused(json!({ "price": price, "offers": ["request"] }), "offers[0]", "depends on the answer");
    refused(json!({ "price": price, "offers": [{ "pack": 5 }] }), "offers[0]", "depends on the answer");
    refused(json!({ "price": price }), "offers", "single requests cannot be sold");
    let offers = json!([{ "balance": "1000 sat" }, { "pass": "1h", "price": "500 sat" }]);
    assert!(compiled(with(json!({ "price": price, "offers": offers }))).is_ok());
}

#[test]
fn a_packs_price_is_sold_beside_the_price_that_it_was_made_for() {
    let formula = json!({ "formula": "1000 + request.size_bytes" });
    let packs = json!([{ "pack": 100, "price": "400 sat" }]);
    refused(json!({ "price": formula, "offers": packs }), "offers[0]", "a price of its own");
    assert!(compiled(with(json!({ "price": formula, "offers": [{ "pack": 100 }] }))).is_ok());
    // A route at another price has the service's other offers, and not this one.
    let route = json!([{ "path": "/llm/dear", "price": "500 sat" }, { "path": "/llm/same" }]);
    let offers = json!(["request", { "pack": 100, "price": "400 sat" }, { "balance": "1000 sat" }]);
    let service = compiled(with(json!({ "offers": offers, "route": route }))).expect("in order");
    let names =
        |terms: &Terms| terms.offers.iter().map(|o| o.what.kind().as_str()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&service.routes[0].terms), "request balance");
    assert_eq!(names(&service.routes[1].terms), "request pack balance");
    let route = json!([{ "path": "/llm/dear", "price": "500 sat" }]);
    refused(json!({ "offers": packs, "route": route }), "route[0].offers", "for its own price");
}

#[test]
fn a_formula_is_tried_on_the_samples() {
    let price = json!({ "formula": "1000 * request.json.n" });
    let sample = |body: &str| {
        json!([
            { "method": "POST", "path": "/llm/chat", "body": "{\"n\":3}" },
            { "method": "POST", "path": "/llm/chat?x=1", "body": body },
        ])
    };
    assert!(compiled(with(json!({ "price": price, "samples": sample("{\"n\":1}") }))).is_ok());
    refused(
        json!({ "price": price, "samples": sample("{}") }),
        "samples[1]",
        "sample 2 (POST /llm/chat?x=1) has no price",
    );
    refused(json!({ "price": price, "samples": sample("{\"n\":-1}") }), "samples[1]", "below zero");
    refused(json!({ "price": price, "samples": sample("{\"n\":0}") }), "samples[1]", "zero");
    refused(json!({ "samples": [{ "path": "/elsewhere" }] }), "samples[0].path", "sample 1 is for a path");
}

#[test]
fn one_fault_is_told_once_and_all_are_told() {
    let faults =
        compiled(json!({ "name": "A", "price": 5, "upstrem": "x", "route": [{ "price": "1 sat" }] }));
    let fields: Vec<String> = faults.expect_err("it is wrong").into_iter().map(|fault| fault.field).collect();
    assert_eq!(fields, ["price", "upstrem", "name", "upstream", "route[0].path"]);
}

#[test]
fn a_pack_that_costs_more_than_its_requests_one_by_one_is_doubtful() {
    let doubts = |more: Value| {
        let (spec, faults) = Spec::read(&with(more));
        assert_eq!(faults, []);
        spec.doubts().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let pack = |price: &str| json!(["request", { "pack": 10, "price": price }]);
    assert_eq!(
        doubts(json!({ "price": "8 sat", "offers": pack("90 sat") })),
        [
            "offers[1].price: 10 requests cost 90 sat as a pack, and 80 sat one by one: nobody gains by the pack (Ask less \
          than 80 sat for it, or more for one request.)"
        ]
    );
    for fine in ["9 sat", "10 sat", "0.01 USD"] {
        assert!(doubts(json!({ "price": fine, "offers": pack("90 sat") })).is_empty(), "{fine}");
    }
    let dollars = doubts(json!({ "price": "0.01 USD", "offers": pack("0.11 USD") }));
    assert!(dollars[0].contains("0.11 USD as a pack, and 0.1 USD one by one"), "{dollars:?}");
    let alone = json!({ "price": "8 sat", "offers": [{ "pack": 10, "price": "90 sat" }] });
    assert!(doubts(alone).is_empty(), "one alone is not sold");
    let route = json!({ "price": "20 sat", "offers": pack("190 sat"),
                        "route": [{ "path": "/v1/a", "price": "2 sat" },
                                  { "path": "/v1/b", "price": "2 sat", "offers": pack("21 sat") }] });
    let told = doubts(route);
    assert!(
        told.len() == 1 && told[0].starts_with("route[1].offers[1].price: 10 requests cost 21 sat"),
        "{told:?}"
    );
}

#[test]
fn a_risk_is_told_where_it_is_switched_on() {
    let doubts = |more: Value| Spec::read(&with(more)).0.doubts();
    let [doubt] = doubts(json!({ "browser_unlock": true })).try_into().expect("one doubt");
    assert_eq!(doubt.field, "browser_unlock");
    assert!(doubt.to_string().contains("tricked into paying"), "{doubt}");
    assert_eq!(doubts(json!({ "browser_unlock": false })), []);
    let off = compiled(with(json!({}))).expect("in order");
    assert_eq!(off.unlock, BrowserUnlock::Off);
}
