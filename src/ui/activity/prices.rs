//! What a change of a service did to its prices, from the service as it was and as it is.
//!
//! Invariant: its price is told to be as it was only where none of its terms, nor of a route's, changed.

use serde_json::Value;

/// What is priced by: these come together from a route or from its service, but for the fallback.
const PRICING: [&str; 5] = ["price", "tiers", "per", "ceiling", "fallback"];

/// Terms that are told by no more than that they changed.
const OTHERS: [&str; 3] = ["restore_on", "invoice_expiry", "token_life"];

/// What changed, in words: the old price and the new one, of the service and of each route; else what else did.
pub(super) fn changed(before: &Value, after: &Value) -> String {
    let mut lines = differences("", &Terms::of_service(before), &Terms::of_service(after));
    for route in routes(after) {
        let (name, terms) = (name(route), Terms { own: route, service: after });
        let Some(earlier) = earlier(route, before, after) else {
            lines.push(format!("{name} added, {}", terms.price()));
            continue;
        };
        if place(earlier) != place(route) {
            lines.push(format!("{name} is {}, was {}", place(route), place(earlier)));
        }
        lines.extend(differences(&name, &Terms { own: earlier, service: before }, &terms));
    }
    let kept: Vec<&Value> = routes(after).filter_map(|route| earlier(route, before, after)).collect();
    let gone = routes(before).filter(|old| !kept.iter().any(|kept| std::ptr::eq(*kept, *old)));
    lines.extend(gone.map(|old| format!("{} removed", name(old))));
    if before["mode"] != after["mode"] {
        lines.push(format!("now {}", mode(after["mode"].as_str().unwrap_or("on"))));
    }
    if lines.is_empty() { "its price is as it was".to_owned() } else { lines.join("; ") }
}

/// What a service costs at first.
pub(super) fn at_first(after: &Value) -> Option<String> {
    let terms = Terms::of_service(after);
    terms.priced().then(|| terms.price())
}

fn mode(word: &str) -> &str {
    match word {
        "off" => "off",
        "shadow" => "in shadow: everything passes",
        _ => "on",
    }
}

/// The terms of a service, or of a route: its own, and for the rest its service's.
struct Terms<'a> {
    own: &'a Value,
    service: &'a Value,
}

impl<'a> Terms<'a> {
    fn of_service(service: &'a Value) -> Terms<'a> {
        Terms { own: service, service }
    }

    fn priced(&self) -> bool {
        !(self.own["price"].is_null() && self.own["tiers"].is_null())
    }

    fn get(&self, key: &str) -> &'a Value {
        let together = PRICING.contains(&key) && self.priced();
        if together || !self.own[key].is_null() { &self.own[key] } else { &self.service[key] }
    }

    /// The price in words: all of it that words can tell shortly.
    fn price(&self) -> String {
        let (price, tiers) = (self.get("price"), self.get("tiers"));
        let mut said = match (price, tiers) {
            (Value::String(text), _) => text.clone(),
            (Value::Object(rule), _) => {
                format!("“{}”", rule.get("formula").and_then(Value::as_str).unwrap_or_default())
            }
            (_, Value::Array(tiers)) => {
                let prices: Vec<&str> = tiers.iter().filter_map(|tier| tier["price"].as_str()).collect();
                format!("tiers ({})", prices.join(", "))
            }
            _ => "none".to_owned(),
        };
        for (key, word) in [("per", " per"), ("ceiling", ", at most"), ("fallback", ", else")] {
            // A formula's stand in its own table.
            if let Some(text) = price[key].as_str().or_else(|| self.get(key).as_str()) {
                said.push_str(&format!("{word} {text}"));
            }
        }
        said
    }
}

/// What differs between the terms `old` and `new` of the route `whose`, or of the service where it is empty. What a
/// route has from its service both times is told there.
fn differences(whose: &str, old: &Terms<'_>, new: &Terms<'_>) -> Vec<String> {
    let differs = |keys: &[&str]| {
        let follows = keys.iter().all(|key| old.own[key].is_null() && new.own[key].is_null());
        !follows && keys.iter().any(|key| old.get(key) != new.get(key))
    };
    let of = if whose.is_empty() { String::new() } else { format!(" of {whose}") };
    let (was, is) = (old.price(), new.price());
    let repriced = differs(&PRICING);
    let mut lines = Vec::new();
    if repriced && was != is {
        lines.push(format!("price{of} from {was} to {is}"));
    }
    if differs(&["offers"]) {
        lines.push(format!("packs, passes and balances{of} changed"));
    }
    if differs(&["free"]) {
        lines.push(format!("free requests{of} changed"));
    }
    if (repriced && was == is) || OTHERS.iter().any(|key| differs(&[key])) {
        lines.push(if whose.is_empty() {
            "its terms changed".to_owned()
        } else {
            format!("terms{of} changed")
        });
    }
    lines
}

fn routes(service: &Value) -> impl Iterator<Item = &Value> {
    service["route"].as_array().into_iter().flatten()
}

/// What `route` was before: the route of its method and path; else the one of its name, where it moved.
fn earlier<'a>(route: &Value, before: &'a Value, after: &Value) -> Option<&'a Value> {
    let moved = |old: &&Value| {
        let stays = routes(after).any(|route| place(route) == place(old));
        !stays && route["name"].is_string() && old["name"] == route["name"]
    };
    routes(before).find(|old| place(old) == place(route)).or_else(|| routes(before).find(moved))
}

/// Its method, where it has one, and its path: no two routes of a service have both the same.
fn place(route: &Value) -> String {
    let words = [&route["method"], &route["path"]].into_iter().filter_map(Value::as_str);
    words.collect::<Vec<_>>().join(" ")
}

/// A route's name, or its method and path where it has none.
fn name(route: &Value) -> String {
    route["name"].as_str().map_or_else(|| place(route), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_price_is_told_as_it_was_and_as_it_is() {
        let service = |price: &str, chat: Value| {
            json!({ "price": price, "route": [
                { "name": "chat", "path": "/v1/chat", "price": chat }, { "path": "/v1/health" }
            ] })
        };
        let old = service("5 sat", json!("7 sat"));
        assert_eq!(changed(&old, &service("6 sat", json!("7 sat"))), "price from 5 sat to 6 sat");
        let formula = json!({ "formula": "sat(1) + request.size_bytes", "ceiling": "20 sat" });
        assert_eq!(
            changed(&old, &service("5 sat", formula)),
            "price of chat from 7 sat to “sat(1) + request.size_bytes”, at most 20 sat"
        );
        assert_eq!(changed(&old, &old), "its price is as it was");
        let one = json!({ "price": "5 sat", "mode": "off", "route": [{ "name": "new", "path": "/n", "price": "1 sat" }] });
        assert_eq!(changed(&old, &one), "new added, 1 sat; chat removed; /v1/health removed; now off");
        assert_eq!(at_first(&old).as_deref(), Some("5 sat"));
        assert_eq!(at_first(&json!({})), None);
    }

    #[test]
    fn no_change_of_the_terms_is_told_as_none() {
        let tiers =
            |first: &str, up_to: u64| json!([{ "up_to": up_to, "price": first }, { "price": "1 sat" }]);
        let old = json!({ "price": "5 sat" });
        let tiered = json!({ "tiers": tiers("2 sat", 100), "ceiling": "9 sat" });
        let told = changed(&old, &tiered);
        assert_eq!(told, "price from 5 sat to tiers (2 sat, 1 sat), at most 9 sat");
        assert_eq!(at_first(&tiered).as_deref(), Some("tiers (2 sat, 1 sat), at most 9 sat"));
        let bytes =
            json!({ "tiers": tiers("2 sat", 100), "per": "1 MB", "ceiling": "9 sat", "fallback": "3 sat" });
        assert_eq!(
            at_first(&bytes).as_deref(),
            Some("tiers (2 sat, 1 sat) per 1 MB, at most 9 sat, else 3 sat")
        );
        let longer = json!({ "tiers": tiers("2 sat", 200), "ceiling": "9 sat" });
        assert_eq!(changed(&tiered, &longer), "its terms changed");
        let formula =
            |zero: &str| json!({ "price": { "formula": "sat(1)", "fallback": "2 sat", "zero": zero } });
        assert_eq!(changed(&formula("refuse"), &formula("allow")), "its terms changed");
        assert_eq!(at_first(&formula("allow")).as_deref(), Some("“sat(1)”, else 2 sat"));
        for key in PRICING.into_iter().chain(OTHERS).chain(["offers", "free"]) {
            for value in [json!("8 sat"), json!([{ "price": "8 sat" }]), json!({ "requests": 7 })] {
                let with = |mut on: Value| {
                    on[key] = value.clone();
                    on
                };
                let told = changed(&old, &with(old.clone()));
                assert!(told.contains("changed") || told.starts_with("price from"), "{key}: {told}");
                let route = json!({ "path": "/v1" });
                let routed = |route: Value| json!({ "price": "5 sat", "route": [route] });
                let told = changed(&routed(route.clone()), &routed(with(route)));
                assert!(told.contains("of /v1 "), "{key}: {told}");
            }
        }
        let free = json!({ "price": "5 sat", "free": { "requests": 3 } });
        assert_eq!(changed(&old, &free), "free requests changed");
    }

    #[test]
    fn routes_are_told_apart_by_method_and_have_their_own_terms() {
        let route = |method: &str, price: &str| json!({ "method": method, "path": "/v1", "price": price });
        let with = |routes: Value| json!({ "price": "5 sat", "route": routes });
        let old = with(json!([route("GET", "1 sat"), route("POST", "2 sat")]));
        let dearer = with(json!([route("GET", "1 sat"), route("POST", "3 sat")]));
        assert_eq!(changed(&old, &dearer), "price of POST /v1 from 2 sat to 3 sat");
        assert_eq!(changed(&old, &with(json!([route("GET", "1 sat")]))), "POST /v1 removed");
        assert_eq!(changed(&with(json!([route("GET", "1 sat")])), &old), "POST /v1 added, 2 sat");
        // Tiers of a route are its price, not its service's.
        let tiered = with(json!([{ "path": "/v1", "tiers": [{ "price": "2 sat" }] }]));
        let own = with(json!([{ "path": "/v1", "price": "2 sat" }]));
        assert_eq!(changed(&own, &tiered), "price of /v1 from 2 sat to tiers (2 sat)");
        assert_eq!(changed(&with(json!([])), &tiered), "/v1 added, tiers (2 sat)");
        // What it has from its service is told there alone, and once it has its own it is told of it.
        let follows = |price: &str| json!({ "price": price, "route": [{ "path": "/v1" }] });
        assert_eq!(changed(&follows("5 sat"), &follows("6 sat")), "price from 5 sat to 6 sat");
        assert_eq!(changed(&follows("5 sat"), &own), "price of /v1 from 5 sat to 2 sat");
        let chat = |path: &str| with(json!([{ "name": "chat", "path": path }]));
        assert_eq!(changed(&chat("/v1"), &chat("/v2")), "chat is /v2, was /v1");
    }
}
