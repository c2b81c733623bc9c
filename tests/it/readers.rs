//! Programs that nobody here wrote, reading what Tollhouse tells programs: Schemathesis and a validator the
//! description of the API, Prometheus' parser the metrics. All of it is asked of a whole shop on regtest.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tollhouse::sandbox::world::{World, WorldAsk};

use crate::appliance::{TURN, buy};
use crate::bitcoind::client;
use crate::clients::python;

/// The folder that scripts/readers fills; it does nothing when that was done.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/readers");
        let done = Command::new(script).stderr(Stdio::inherit()).output().expect("scripts/readers runs");
        assert!(done.status.success(), "scripts/readers could not install what this test needs");
        PathBuf::from(String::from_utf8(done.stdout).expect("a path").trim())
    })
}

/// Runs Python with what is installed and nothing else of this machine's environment; gives what it said.
async fn run(home: &Path, args: &[&str], input: String) -> (bool, String) {
    let mut command = Command::new(python());
    command.env_clear().env("PATH", std::env::var_os("PATH").expect("a PATH")).env("HOME", home);
    command.env("PYTHONPATH", installed().join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(args).current_dir(home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("Python runs");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    });
    let done = running.await.expect("not cancelled");
    let said = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    (done.status.success(), said.concat())
}

async fn world(home: &Path) -> World {
    let any = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let dir = home.join("world");
    let ask = WorldAsk { dir: &dir, gateway: any().await, admin: any().await, progress: &|_| {} };
    World::start(ask).await.expect("a world")
}

fn admin_key(appliance: &tollhouse::app::Appliance) -> String {
    std::fs::read_to_string(appliance.admin_key_file()).expect("a key").trim().to_owned()
}

/// What a hostile or careless program may send: nothing answers with a 5xx, nor with a status, a form or a
/// code that the description does not have, and nothing is done for who has no key.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_is_described() {
    let _turn = TURN.lock().await;
    let home = tempfile::tempdir().expect("a folder");
    let world = world(home.path()).await;
    let (url, key) = (world.shop.admin_url(), admin_key(&world.shop));
    // Something to be found: a payment, a token, an operation's page.
    buyer_buys(&world).await;

    let document = client().get(format!("{url}/api/v1/openapi.json")).send().await.expect("an answer");
    let document = document.text().await.expect("a text");
    std::fs::write(home.path().join("openapi.json"), &document).expect("written");
    let (valid, said) =
        run(home.path(), &["-m", "openapi_spec_validator", "openapi.json"], String::new()).await;
    assert!(valid, "{said}");

    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_schema_conformance,ignored_auth,unsupported_method";
    let bearer = format!("Authorization: Bearer {key}");
    let mut args = vec!["-m", "schemathesis.cli", "run", "openapi.json", "--url", &url, "-H", &bearer];
    args.extend(["--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", "25"]);
    args.extend(["--request-timeout", "30", "--no-color", "--warnings", "off", "--generation-deterministic"]);
    // An event stream has no end; the key that asks must live; and with another passphrase nothing opens.
    for path in ["/api/v1/events", "/api/v1/keys/{id}", "/api/v1/seed/passphrase"] {
        args.extend(["--exclude-path", path]);
    }
    let (passed, said) = run(home.path(), &args, String::new()).await;
    assert!(passed, "{said}");
    let alive =
        client().get(format!("{url}/api/v1/audit")).bearer_auth(&key).send().await.expect("an answer");
    assert_eq!(alive.status(), StatusCode::OK, "it still answers, and to the same key");
    let audit: Value = alive.json().await.expect("JSON");
    assert_eq!(audit["ok"], true, "the books are whole: {audit}");
    world.stop().await;
}

async fn buyer_buys(world: &World) {
    let customer = tollhouse::sandbox::buyer::Buyer::new(&world.payer.admin_url(), &admin_key(&world.payer))
        .expect("a client");
    let url = format!("{}/v1/exchange-rates?base=USD&quote=EUR", world.shop.gateway_url());
    buy(&customer, &url).await;
}

/// One sample's value: the sum over all that have these labels.
fn value(samples: &Value, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |sample: &&Value| {
        sample["name"] == name && labels.iter().all(|(label, text)| sample["labels"][label] == *text)
    };
    let found: Vec<f64> = samples
        .as_array()
        .expect("samples")
        .iter()
        .filter(fits)
        .filter_map(|one| one["value"].as_f64())
        .collect();
    (!found.is_empty()).then(|| found.iter().sum())
}

/// What Prometheus reads after a purchase, a refusal and an upstream that is away.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::float_arithmetic, reason = "Prometheus knows only floats")]
async fn a_scrape_tells_what_happened() {
    let _turn = TURN.lock().await;
    let home = tempfile::tempdir().expect("a folder");
    let world = world(home.path()).await;
    let (url, admin) = (world.shop.admin_url(), admin_key(&world.shop));
    let api = |path: &str| format!("{url}/api/v1/{path}");
    let ask = json!({ "label": "prometheus", "scopes": ["metrics"] });
    let made = client().post(api("keys")).bearer_auth(&admin).json(&ask).send().await.expect("an answer");
    let made: Value = made.json().await.expect("JSON");
    let key = made["key"].as_str().expect("a key").to_owned();
    let scrape = async |key: &str| {
        client().get(format!("{url}/metrics")).bearer_auth(key).send().await.expect("an answer")
    };

    // The key reads the metrics, and nothing else; a key that reads all else does not read them.
    assert_eq!(scrape("tollhouse_no").await.status(), StatusCode::UNAUTHORIZED);
    let status = client().get(api("status")).bearer_auth(&key).send().await.expect("an answer");
    assert_eq!(status.status(), StatusCode::FORBIDDEN);

    buyer_buys(&world).await;
    // What nobody serves, under a name that must be no label.
    let nowhere = format!("{}/nobody-serves-this", world.shop.gateway_url());
    assert_eq!(client().get(&nowhere).send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
    let away = json!({ "upstream": "http://127.0.0.1:9", "path": "/away", "price": "free" });
    let put =
        client().put(api("services/away")).bearer_auth(&admin).json(&away).send().await.expect("an answer");
    assert_eq!(put.status(), StatusCode::OK, "{:?}", put.text().await);
    let gone = client().get(format!("{}/away/x", world.shop.gateway_url())).send().await.expect("an answer");
    assert_eq!(gone.status(), StatusCode::BAD_GATEWAY);

    let answer = scrape(&key).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let form = answer.headers()[CONTENT_TYPE].to_str().expect("text").to_owned();
    assert!(form.starts_with("application/openmetrics-text; version=1.0.0"), "{form}");
    let text = answer.text().await.expect("a text");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/metrics.py");
    let (parsed, said) = run(home.path(), &[script.to_str().expect("a path")], text.clone()).await;
    assert!(parsed, "{said}");
    let samples: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let value = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);

    // Asked without a token, bought, and asked again with the token that was spent by then.
    assert_eq!(value("tollhouse_challenges_total", &[("service", "sample")]), Some(2.0), "{text}");
    assert_eq!(value("tollhouse_refusals_total", &[("code", "payment_required")]), Some(1.0), "{text}");
    assert_eq!(value("tollhouse_refusals_total", &[("code", "spent")]), Some(1.0), "{text}");
    assert_eq!(value("tollhouse_refusals_total", &[("code", "no_such_route")]), Some(1.0), "{text}");
    assert_eq!(value("tollhouse_payments_total", &[]), Some(1.0), "{text}");
    assert_eq!(value("tollhouse_paid_requests_total", &[]), Some(1.0), "{text}");
    assert_eq!(value("tollhouse_earned_msat_total", &[]), Some(5_000.0), "{text}");
    assert_eq!(
        value("tollhouse_upstream_answer_seconds_count", &[("service", "sample"), ("status", "2xx")]),
        Some(1.0),
        "{text}"
    );
    // Of what was demanded, one was paid: that is the conversion.
    for name in ["tollhouse_sales_total", "tollhouse_route_paid_requests_total"] {
        assert_eq!(value(name, &[("service", "sample")]), Some(1.0), "{name}: {text}");
    }
    let away = [("service", "away"), ("code", "upstream_unreachable")];
    assert_eq!(value("tollhouse_upstream_failures_total", &away), Some(1.0), "{text}");
    assert_eq!(value("tollhouse_restored_units_total", &[]), Some(0.0), "{text}");
    assert_eq!(value("tollhouse_ready", &[]), Some(1.0), "{text}");
    assert!(value("tollhouse_receivable_msat", &[]).is_some_and(|msat| msat > 0.0), "{text}");
    assert!(value("tollhouse_ledger_commit_seconds_count", &[]).is_some_and(|count| count > 0.0), "{text}");
    assert!(value("tollhouse_age_seconds", &[]).is_some(), "{text}");

    // Labels come from the catalog and from our own words: nothing that a stranger sent.
    let names: BTreeSet<&str> = samples
        .as_array()
        .expect("samples")
        .iter()
        .flat_map(|sample| sample["labels"].as_object().expect("labels").keys().map(String::as_str))
        .collect();
    let known = ["service", "route", "status", "code", "le", "check", "severity", "version", "network"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(!text.contains("nobody-serves-this") && !text.contains("127.0.0.1"), "{text}");
    world.stop().await;
}
