//! The description of the API: it has every route that there is, and says what each is asked and answers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok};

const VERBS: [&str; 4] = ["get", "post", "put", "delete"];

/// Every operation: method and path.
fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let each = |(path, verbs): (&String, &Value)| {
        let verbs = verbs.as_object().expect("operations");
        verbs
            .iter()
            .map(|(verb, operation)| {
                let method = verb.to_ascii_uppercase().parse().expect("a method");
                (method, path.clone(), operation.clone())
            })
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(each).collect()
}

/// The texts of all sources below `folder`.
fn sources(folder: &str) -> Vec<String> {
    fn read(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the sources") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, found);
            } else {
                found.push(std::fs::read_to_string(path).expect("a source"));
            }
        }
    }
    let mut sources = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut sources);
    sources
}

/// Every text of the sources that looks like an address of the API, where it is routed.
fn routed() -> BTreeSet<String> {
    let mut routed = BTreeSet::new();
    for source in sources("src") {
        for (at, _) in source.match_indices(".route(") {
            let rest = source[at + ".route(".len()..].trim_start();
            let path = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            routed.extend(path.filter(|path| path.starts_with("/api/")).map(str::to_owned));
        }
    }
    routed
}

#[tokio::test]
async fn the_description_has_every_route() {
    let app = AdminApp::start().await;
    let document = ok(app.get("/api/v1/openapi.json").send().await.expect("an answer")).await;
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert!(operations.len() > 90, "{}", operations.len());

    // A route of the API enters the router with its description. Those that do not are of a locked appliance,
    // which answers at some of the same addresses.
    let paths: BTreeSet<String> = operations.iter().map(|(_, path, _)| path.clone()).collect();
    let undescribed: Vec<String> = routed().into_iter().filter(|path| !paths.contains(path)).collect();
    assert!(undescribed.is_empty(), "described nowhere: {undescribed:?}");

    // And from outside: what is described answers, and with no other method than is said.
    let key = app.key(&[Scope::ForwardAuth]).await;
    for path in &paths {
        let filled = path
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for verb in VERBS {
            let method: Method = verb.to_ascii_uppercase().parse().expect("a method");
            let described = document["paths"][path].get(verb);
            let url = format!("{}{filled}", app.origin);
            let answer = app.client.request(method, url).bearer_auth(&key).send().await.expect("an answer");
            let status = answer.status();
            match described {
                None => assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{verb} {path}"),
                // This key may do nothing here: nothing was done, and nobody who may not got in.
                Some(operation) if operation["security"][0].is_object() => {
                    assert_eq!(status, StatusCode::FORBIDDEN, "{verb} {path}");
                }
                Some(_) => assert_ne!(status, StatusCode::NOT_FOUND, "{verb} {path}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_described_can_be_read() {
    let app = AdminApp::start().await;
    let document = ok(app.get("/api/v1/openapi.json").send().await.expect("an answer")).await;
    let mut links = BTreeSet::new();
    fn collect(value: &Value, links: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                links.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| collect(value, links));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, links)),
            _ => {}
        }
    }
    collect(&document, &mut links);
    assert!(links.len() > 20, "{links:?}");
    for link in &links {
        let pointer = link.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{link} leads nowhere");
    }
    for (method, path, operation) in operations(&document) {
        let what = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{what}");
        let answers = operation["responses"].as_object().expect("answers");
        assert!(answers.contains_key("500") && answers.contains_key("421"), "{what}");
        let open = path.matches('{').count();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let places = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(open, places, "{what}");
        if operation["security"][0].is_object() {
            assert!(answers.contains_key("401") && answers.contains_key("403"), "{what}");
        }
    }
    // A locked appliance says less at the same address, and takes what opens it.
    let of = |path: &str, verb: &str| document["paths"][path][verb].clone();
    let standing = of("/api/v1/status", "get")["responses"].clone();
    let forms = &standing["200"]["content"]["application/json"]["schema"]["anyOf"];
    assert_eq!(forms.as_array().map(Vec::len), Some(2), "{standing}");
    for (path, field) in [("unlock", "passphrase"), ("seed/new", "token"), ("seed/restore", "words")] {
        let operation = of(&format!("/api/v1/{path}"), "post");
        let fields = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
        assert!(fields[field].is_object() && operation["security"] == json!([]), "{operation}");
    }
    let locked = |path: &str| of(path, "get")["responses"]["503"].to_string().contains("locked");
    assert!(locked("/api/v1/channels") && !locked("/api/v1/status"));
    // A person's login is a way in where `password_needed` may be the answer.
    for (method, path, operation) in operations(&document) {
        let person = operation["security"][1]["session"].is_array();
        let told = operation["responses"]["403"].to_string().contains("password_needed");
        assert!(person || !told, "{method} {path}");
    }
    assert_eq!(document["components"]["securitySchemes"]["session"]["in"], "cookie");
    // Money is whole numbers.
    let token = &document["components"]["schemas"]["Payment"]["properties"]["amount_msat"];
    assert!(token["type"] == "integer" || token["$ref"].is_string(), "{token}");
}

/// Addresses that no command asks, each with the reason.
const WITHOUT_A_COMMAND: &[(&str, &str)] = &[
    ("/livez", "whatever supervises the process asks it"),
    ("/readyz", "likewise"),
    ("/metrics", "Prometheus asks it"),
    ("/api/v1/events", "for programs that listen; `tollhouse activity` and `log --follow` show what happens"),
    ("/api/v1/integration/challenges", "for the application that serves its own requests"),
    ("/api/v1/integration/verify", "likewise"),
    ("/api/v1/integration/holds/{}", "likewise"),
    ("/api/v1/integration/holds/{}/settle", "likewise"),
    ("/api/v1/integration/holds/{}/release", "likewise"),
    ("/api/v1/payments/send", "for programs with a key of the scope `pay`; people have `tollhouse pay-out`"),
    ("/api/v1/payments/sent/{}", "likewise"),
    ("/api/v1/payouts/{}", "`tollhouse operations` shows payouts among all moves"),
    // Put together of pieces.
    ("/api/v1/channels/{}/fees", "tollhouse channels fees"),
    ("/api/v1/channels/{}/splice-in", "tollhouse channels splice-in"),
    ("/api/v1/channels/{}/splice-out", "tollhouse channels splice-out"),
    ("/api/v1/epochs/{}", "tollhouse tokens retire"),
    ("/api/v1/inbound/orders/{}/pay", "tollhouse inbound buy"),
    ("/api/v1/rules/{}", "tollhouse rules"),
    ("/api/v1/seed/new", "`tollhouse seed new` makes one without the door"),
    ("/api/v1/seed/restore", "`tollhouse seed restore` likewise"),
];

/// What the API does, the commands do through it: each address stands in a command, or on the list above.
#[tokio::test]
async fn every_address_has_a_command() {
    let mut asked = BTreeSet::new();
    for source in sources("src/cli") {
        for (at, _) in source.match_indices("/api/v1/") {
            let rest = &source[at..];
            let end = rest.find(['"', '?', ' ', '`', '\n']).unwrap_or(rest.len());
            asked.insert(without_names(&rest[..end]));
        }
    }
    let document = tollhouse::api::description();
    let described: BTreeSet<String> =
        operations(&document).iter().map(|(_, path, _)| without_names(path)).collect();
    let excused: BTreeSet<String> = WITHOUT_A_COMMAND.iter().map(|(path, _)| (*path).to_owned()).collect();
    let lacking: Vec<_> =
        described.iter().filter(|path| !asked.contains(*path) && !excused.contains(*path)).collect();
    assert!(lacking.is_empty(), "no command asks: {lacking:?}");
    let stale: Vec<_> =
        excused.iter().filter(|path| asked.contains(*path) || !described.contains(*path)).collect();
    assert!(stale.is_empty(), "they need no excuse: {stale:?}");
}

/// An address with its open places unnamed.
fn without_names(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}
