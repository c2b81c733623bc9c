//! What a change of a service did to its prices, from the service as it was and as it is.

use serde_json::Value;

/// What changed, in words: the old price and the new one, of the service and of each route; else what else did.
pub(super) fn changed(before: &Value, after: &Value) -> String {
    let mut lines = Vec::new();
    if let Some(line) = between("", &before["price"], &after["price"]) {
        lines.push(line);
    }
    for route in routes(after) {
        let name = name(route);
        match routes(before).find(|earlier| self::name(earlier) == name) {
            Some(earlier) => {
                // A route without a price has its service's.
                let own = |route: &Value, service: &Value| match &route["price"] {
                    Value::Null => service["price"].clone(),
                    price => price.clone(),
                };
                let follows = earlier["price"].is_null() && route["price"].is_null();
                let line = between(&name, &own(earlier, before), &own(route, after));
                lines.extend(line.filter(|_| !follows));
            }
            None => lines.push(format!("{name} added, {}", said(route, after))),
        }
    }
    let gone = routes(before).map(name).filter(|old| !routes(after).any(|route| name(route) == *old));
    lines.extend(gone.map(|name| format!("{name} removed")));
    let differs = |key: &str| before[key] != after[key];
    if differs("offers") || routes_differ(before, after, "offers") {
        lines.push("packs, passes and balances changed".to_owned());
    }
    if differs("mode") {
        lines.push(format!("now {}", mode(after["mode"].as_str().unwrap_or("on"))));
    }
    if lines.is_empty() { "its price is as it was".to_owned() } else { lines.join("; ") }
}

/// What a service costs at first.
pub(super) fn at_first(after: &Value) -> Option<String> {
    (!after["price"].is_null()).then(|| told(&after["price"]))
}

fn mode(word: &str) -> &str {
    match word {
        "off" => "off",
        "shadow" => "in shadow: everything passes",
        _ => "on",
    }
}

fn between(whose: &str, old: &Value, new: &Value) -> Option<String> {
    if old == new {
        return None;
    }
    let whose = if whose.is_empty() { "price".to_owned() } else { format!("price of {whose}") };
    let (was, is) = (told(old), told(new));
    Some(if was == is {
        format!("{whose}: {is}, of other terms")
    } else {
        format!("{whose} from {was} to {is}")
    })
}

fn said(route: &Value, service: &Value) -> String {
    told(if route["price"].is_null() { &service["price"] } else { &route["price"] })
}

fn told(price: &Value) -> String {
    match price {
        Value::String(text) => text.clone(),
        Value::Object(terms) => match (terms.get("formula").and_then(Value::as_str), terms.get("ceiling")) {
            (Some(formula), Some(Value::String(most))) => format!("“{formula}”, at most {most}"),
            (Some(formula), _) => format!("“{formula}”"),
            _ => "tiers".to_owned(),
        },
        Value::Array(_) => "tiers".to_owned(),
        _ => "none of its own".to_owned(),
    }
}

fn routes(service: &Value) -> impl Iterator<Item = &Value> {
    service["route"].as_array().into_iter().flatten()
}

fn routes_differ(before: &Value, after: &Value, key: &str) -> bool {
    routes(after).any(|route| {
        let earlier = routes(before).find(|earlier| name(earlier) == name(route));
        earlier.is_some_and(|earlier| earlier[key] != route[key])
    })
}

/// A route's name, or its path where it has none.
fn name(route: &Value) -> String {
    let words = [&route["name"], &route["path"]];
    words.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_price_is_told_as_it_was_and_as_it_is() {
        let service = |price: &str, chat: Value| json!({ "price": price, "route": [{ "name": "chat", "price": chat }, { "path": "/v1/health" }] });
        let old = service("5 sat", json!("7 sat"));
        assert_eq!(changed(&old, &service("6 sat", json!("7 sat"))), "price from 5 sat to 6 sat");
        let formula = json!({ "formula": "sat(1) + request.size_bytes", "ceiling": "20 sat" });
        assert_eq!(
            changed(&old, &service("5 sat", formula)),
            "price of chat from 7 sat to “sat(1) + request.size_bytes”, at most 20 sat"
        );
        assert_eq!(changed(&old, &old), "its price is as it was");
        let one = json!({ "price": "5 sat", "mode": "off", "route": [{ "name": "new", "price": "1 sat" }] });
        assert_eq!(changed(&old, &one), "new added, 1 sat; chat removed; /v1/health removed; now off");
        assert_eq!(at_first(&old).as_deref(), Some("5 sat"));
        assert_eq!(at_first(&json!({})), None);
    }
}
