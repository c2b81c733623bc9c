//! Forms that are sent back as they came change nothing.

use super::*;

fn read(text: &str) -> Spec {
    let value: serde_json::Value = toml::from_str(text).expect("TOML");
    let (spec, faults) = Spec::read(&value["service"][0]);
    assert_eq!(faults, []);
    spec
}

/// Every setting that there is, in ways that differ from the usual.
const ALL: &str = r#"
[[service]]
name = "all"
title = "All"
description = "First line.\nSecond line."
mode = "shadow"
host = "api.example.com"
path = "/v1"
upstream = "http://127.0.0.1:9000/base"
strip_prefix = "/v1"
upstream_host = "inner.example.com"
upstream_headers = { Authorization = { env = "UPSTREAM_KEY", prefix = "Bearer " }, X-Plan = { redacted = true } }
timeouts = { header = "2m" }
openapi = "/openapi.json"
dialects = ["payment", "l402", "lsat"]
browser_unlock = false
price = { formula = "sat(1) + response.size_bytes", ceiling = "20 sat", zero = "refuse" }
fallback = "3 sat"
offers = [{ balance = "200 sat" }, { pass = "1 day", price = "1.00 USD", name = "day" }]
free = { requests = 20, per = "day", by = "everyone" }
restore_on = ["5xx", "404"]
invoice_expiry = "10m"
token_life = "30 days"
samples = [{ path = "/v1/a", body = "{}" }]

[[service.route]]
name = "tiers"
method = "GET"
path = "/v1/tiers/*"
tiers = [{ up_to = 100, price = "2 sat" }, { price = "1 sat" }]
offers = [{ pack = 100 }]

[[service.route]]
path = "/v1/bytes/{id}"
description = "By size"
tiers = [{ up_to = "10 MB", price = "2 sat" }, { price = "1 sat" }]
per = "1 MB"
ceiling = "500 sat"
offers = ["request", { balance = "1000 sat", price = "900 sat" }]
free = { requests = 0 }

[[service.route]]
path = "/v1/formula"
price = { formula = "sat(2)", fallback = "10 sat", zero = "allow" }

[[service.route]]
path = "/v1/health"
price = "free"
"#;

#[test]
fn a_form_that_comes_back_unchanged_changes_nothing() {
    let sample = include_str!("../../../../templates/sample_service.toml");
    let plain = "[[service]]\nname = \"a\"\nupstream = \"http://127.0.0.1:1\"\nprice = \"0.002 USD\"\n";
    for text in [ALL, sample, plain] {
        let spec = read(text);
        assert_eq!(Draft::of(&spec).spec(&spec), (spec.clone(), Vec::new()));
        for route in &spec.route {
            assert_eq!(RouteDraft::of(route).route(route), (route.clone(), Vec::new()));
        }
    }
}

#[test]
fn what_a_form_cannot_say_is_left_to_the_text() {
    let odd = [
        "price = \"1 sat\"\ntiers = [{ price = \"1 sat\" }]",
        "price = \"1 sat\"\noffers = [{ pack = 5, pass = \"1 day\" }]",
        "price = \"1 sat\"\nrestore_on = []",
        "price = \"free\"\nfallback = \"1 sat\"",
    ];
    for line in odd {
        let spec = read(&format!("[[service]]\nname = \"a\"\n{line}\n"));
        assert!(!Draft::holds(&spec), "{line}");
    }
}

#[test]
fn what_is_not_a_number_is_said_by_its_field() {
    let spec = read(ALL);
    let mut draft = RouteDraft::of(&spec.route[0]);
    draft.terms.tiers[0].up_to = "many".to_owned();
    draft.terms.offers[0].much = "1,000".to_owned();
    let (route, faults) = draft.route(&spec.route[0]);
    assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["tiers[0].up_to"]);
    let pack = serde_json::to_value(&route).expect("JSON")["offers"][0]["pack"].clone();
    assert_eq!(pack, 1_000, "as people write it");
    draft.terms.offers[0].what = String::new();
    assert!(draft.route(&spec.route[0]).1.iter().any(|fault| fault.field == "offers[0].what"));
}

#[test]
fn a_key_is_never_shown_and_stays_unless_another_is_typed() {
    let mut spec = read(ALL);
    spec.upstream_headers.insert("X-Key".to_owned(), HeaderSpec::Literal("sesame".to_owned()));
    let mut draft = Draft::of(&spec);
    assert!(!format!("{draft:?}").contains("sesame"));
    let kept = draft.spec(&spec.redacted()).0.with_secrets_of(Some(&spec));
    assert_eq!(kept.upstream_headers, {
        let mut known = spec.upstream_headers.clone();
        known.insert("X-Plan".to_owned(), HeaderSpec::Redacted { redacted: true });
        known
    });
    draft.headers.iter_mut().find(|row| row.name == "X-Key").expect("there").value = "open".to_owned();
    let typed = draft.spec(&spec.redacted()).0;
    assert_eq!(typed.upstream_headers["X-Key"], HeaderSpec::Literal("open".to_owned()));
}
