//! Who may change what, and that a change is whole or not at all.

use http::Method;
use serde_json::json;

use super::*;
use crate::clock::FixedClock;

struct Shop {
    _dir: tempfile::TempDir,
    ledger: Ledger,
    front: Arc<Storefront>,
}

fn variables(key: &'static str) -> Variables {
    Box::new(move |name| (name == "KEY" && !key.is_empty()).then(|| key.to_owned()))
}

fn market() -> Market {
    let clock = FixedClock::at(Timestamp::from_secs(1_760_000_000));
    Market { exchange: Arc::new(crate::pricing::NoExchange), clock }
}

async fn shop() -> Shop {
    let dir = tempfile::tempdir().unwrap();
    let clock = FixedClock::at(Timestamp::from_secs(1_760_000_000));
    let (ledger, _) = Ledger::open(&dir.path().join("ledger.db"), clock).unwrap();
    let front =
        Storefront::open(ledger.clone(), market(), variables("sesame"), Box::new(|_| {})).await.unwrap();
    Shop { _dir: dir, ledger, front }
}

fn spec(name: &str, path: &str, price: &str) -> Spec {
    let value = json!({ "name": name, "path": path, "price": price, "upstream": "http://127.0.0.1:9000" });
    serde_json::from_value(value).unwrap()
}

fn given(spec: Spec) -> Vec<(Spec, Vec<SpecFault>)> {
    vec![(spec, Vec::new())]
}

fn file(name: &str, specs: Vec<Spec>) -> OwnedServices {
    OwnedServices { file: name.into(), specs }
}

impl Shop {
    fn price(&self, path: &str) -> Option<String> {
        let table = self.front.catalog().current();
        table.lookup(&Method::GET, "any", path).map(|matched| matched.terms.rule.to_string())
    }

    async fn events(&self) -> Vec<Event> {
        self.ledger.events_after(0, 100).await.unwrap().into_iter().map(|logged| logged.event).collect()
    }
}

#[tokio::test]
async fn a_change_is_in_force_and_in_the_log_and_survives() {
    let shop = shop().await;
    let dry = shop.front.put(given(spec("a", "/a", "5 sat")), Run::Dry).await.unwrap();
    assert_eq!((dry.changes[0].what, shop.price("/a")), ("added", None));
    shop.front.put(given(spec("a", "/a", "5 sat")), Run::Real).await.unwrap();
    let plan = shop.front.put(given(spec("a", "/a", "6 sat")), Run::Real).await.unwrap();
    let [difference] = plan.changes[0].differences.as_slice() else { panic!("one: {plan:?}") };
    assert_eq!((difference.field.as_str(), &difference.after), ("price", &Some(json!("6 sat"))));
    assert_eq!(shop.price("/a").as_deref(), Some("6 sat"));
    let again = shop.front.put(given(spec("a", "/a", "6 sat")), Run::Real).await.unwrap();
    assert!(again.changes.is_empty());

    let reopened =
        Storefront::open(shop.ledger.clone(), market(), variables("sesame"), Box::new(|_| {})).await.unwrap();
    assert_eq!(reopened.stock()[0].spec, spec("a", "/a", "6 sat"));
    shop.front.remove("a", Run::Real).await.unwrap();
    assert_eq!(shop.price("/a"), None);
    assert!(matches!(shop.front.remove("a", Run::Real).await, Err(Refusal::Unknown(_))));
    let told: Vec<(bool, bool)> = shop
        .events()
        .await
        .into_iter()
        .map(|event| match event {
            Event::ServiceChanged { before, after, .. } => (before.is_some(), after.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(false, true), (true, true), (true, false)]);
}

#[tokio::test]
async fn a_bad_change_changes_nothing() {
    let shop = shop().await;
    shop.front.put(given(spec("a", "/a", "5 sat")), Run::Real).await.unwrap();
    let both = vec![(spec("b", "/b", "1 sat"), Vec::new()), (spec("c", "/c", "0 sat"), Vec::new())];
    let Err(Refusal::Faults(faults)) = shop.front.put(both, Run::Real).await else { panic!("refused") };
    assert_eq!(
        (faults[0].index, faults[0].service.as_str(), faults[0].fault.field.as_str()),
        (1, "c", "price")
    );
    let same = given(spec("d", "/a", "5 sat"));
    let Err(Refusal::Faults(faults)) = shop.front.put(same, Run::Real).await else { panic!("refused") };
    assert!(faults[0].fault.what.contains("service `a` matches the same requests"), "{faults:?}");
    assert_eq!((shop.price("/b"), shop.front.stock().len(), shop.events().await.len()), (None, 1, 1));
}

#[tokio::test]
async fn of_two_services_with_one_name_neither_is_taken() {
    let shop = shop().await;
    let both = vec![(spec("a", "/a", "5 sat"), Vec::new()), (spec("a", "/b", "6 sat"), Vec::new())];
    let Err(Refusal::Faults(faults)) = shop.front.put(both, Run::Real).await else { panic!("it was taken") };
    assert_eq!((faults.len(), faults[0].index, faults[0].fault.field.as_str()), (1, 1, "name"));
    assert_eq!((shop.price("/a"), shop.price("/b")), (None, None));
}

#[tokio::test]
async fn what_a_file_names_is_the_files() {
    let shop = shop().await;
    shop.front.put(given(spec("hand", "/hand", "5 sat")), Run::Real).await.unwrap();
    shop.front.put(given(spec("both", "/both", "5 sat")), Run::Real).await.unwrap();
    let first = vec![spec("both", "/both", "7 sat"), spec("own", "/own", "8 sat")];
    shop.front.own(vec![file("/etc/s.toml", first.clone())]).await.unwrap();
    assert_eq!(shop.price("/both").as_deref(), Some("7 sat"));
    for refused in [
        shop.front.put(given(spec("both", "/both", "1 sat")), Run::Real).await,
        shop.front.remove("own", Run::Dry).await,
    ] {
        assert!(refused.unwrap_err().to_string().contains("/etc/s.toml"));
    }
    let broken = vec![spec("own", "/own", "0 sat")];
    assert!(shop.front.own(vec![file("/etc/s.toml", broken)]).await.is_err());
    assert_eq!(shop.price("/own").as_deref(), Some("8 sat"), "a broken file keeps what is in force");

    let plan = shop.front.own(vec![file("/etc/s.toml", first[..1].to_vec())]).await.unwrap();
    assert_eq!((plan.changes.len(), plan.changes[0].what), (1, "removed"));
    assert_eq!((shop.price("/own"), shop.price("/hand").as_deref()), (None, Some("5 sat")));
    let twice = vec![file("/a", first.clone()), file("/b", first)];
    assert!(shop.front.own(twice).await.unwrap_err().to_string().contains("the file /a has a service"));

    // A file that the configuration names no more owns nothing.
    shop.front.own(vec![]).await.unwrap();
    assert!(shop.front.put(given(spec("both", "/both", "1 sat")), Run::Real).await.is_ok());
}

#[tokio::test]
async fn what_can_be_sold_no_more_is_closed_and_nothing_broader_takes_its_place() {
    let shop = shop().await;
    let mut keyed = spec("keyed", "/keyed", "5 sat");
    let header = json!({ "X-Key": { "env": "KEY" } });
    keyed.upstream_headers = Spec::read(&json!({ "upstream_headers": header })).0.upstream_headers;
    let free = (spec("free", "/", "free"), Vec::new());
    shop.front.put(vec![(keyed, Vec::new()), free], Run::Real).await.unwrap();
    let front =
        Storefront::open(shop.ledger.clone(), market(), variables(""), Box::new(|_| {})).await.unwrap();
    let table = front.catalog().current();
    assert!(table.lookup(&Method::GET, "any", "/keyed/x").is_none());
    assert!(table.lookup(&Method::GET, "any", "/KEYED/x").is_none(), "in no spelling");
    assert!(table.lookup(&Method::GET, "any", "/other").is_some());
    assert_eq!(front.stock()[0].faults[0].field, "upstream_headers.X-Key.env");
}

#[tokio::test]
async fn a_key_is_kept_but_never_told() {
    let shop = shop().await;
    let keyed = |value: serde_json::Value| {
        let header = json!({ "upstream_headers": { "X-Key": value } });
        let headers = Spec::read(&header).0.upstream_headers;
        given(Spec { upstream_headers: headers, ..spec("a", "/a", "5 sat") })
    };
    shop.front.put(keyed(json!("hunter2")), Run::Real).await.unwrap();
    let shown = shop.front.stock()[0].spec.redacted();
    let plan = shop.front.put(given(shown), Run::Real).await.unwrap();
    assert!(plan.changes.is_empty(), "who writes back what was shown keeps the key");
    let plan = shop.front.put(keyed(json!("hunter3")), Run::Real).await.unwrap();
    let told = format!("{plan:?}{:?}{:?}", shop.events().await, shop.front.stock());
    assert!(plan.changes.len() == 1 && !told.contains("hunter"), "{told}");
}
