//! What the table must find, and what it must not let in.

use std::time::Duration;

use super::*;
use crate::catalog::{Allowance, AllowanceBy, Upstream};
use crate::types::Msat;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn sat(amount: u64) -> Terms {
    Terms::fixed(Msat::from_sat(amount).expect("in range"))
}

fn service(own: &str, host: Option<&str>, path: &str) -> Service {
    let upstream = Upstream::at("http://127.0.0.1:1/".parse().expect("a URL"));
    Service { host: host.map(str::to_owned), ..Service::new(name(own), path, sat(10), upstream) }
}

fn route(own: &str, method: Option<Method>, path: PathPattern, terms: Terms) -> Route {
    Route::new(name(own), method, path, terms)
}

fn exact(path: &str) -> PathPattern {
    PathPattern::Exact(path.to_owned())
}

fn under(path: &str) -> PathPattern {
    PathPattern::Under(path.to_owned())
}

fn found(table: &RouteTable, host: &str, path: &str) -> Option<String> {
    table.lookup(&Method::GET, host, path).map(|m| m.service.name.to_string())
}

#[test]
fn the_most_specific_service_wins_in_any_order() {
    let mut services = vec![
        service("any", None, "/"),
        service("any-long", None, "/v1/deep"),
        service("named", Some("API.example."), "/v1/"),
        service("named-long", Some("api.example"), "/v1/x"),
    ];
    for _ in 0..services.len() {
        services.rotate_left(1);
        let table = RouteTable::new(services.clone()).expect("no overlap");
        assert_eq!(found(&table, "api.example", "/v1/x/y").as_deref(), Some("named-long"));
        assert_eq!(found(&table, "api.example", "/v1/xy").as_deref(), Some("named"));
        assert_eq!(found(&table, "api.example", "/v1/deep").as_deref(), Some("named"));
        assert_eq!(found(&table, "api.example", "/other").as_deref(), Some("any"));
        assert_eq!(found(&table, "other", "/v1/deep/x").as_deref(), Some("any-long"));
    }
    let table = RouteTable::new(vec![service("only", Some("h"), "/v1")]).expect("one");
    assert_eq!(found(&table, "h", "/v2"), None);
    assert_eq!(found(&table, "g", "/v1"), None);
}

#[test]
fn overlaps_are_found() {
    let overlap = RouteTable::new(vec![service("a", None, "/v1/"), service("b", None, "/v1")]);
    assert_eq!(overlap.unwrap_err(), CatalogError::Overlap { first: name("a"), second: name("b") });
    let hosts = RouteTable::new(vec![service("a", Some("H."), "/"), service("b", Some("h"), "/")]);
    assert!(matches!(hosts.unwrap_err(), CatalogError::Overlap { .. }));
    let twins = RouteTable::new(vec![service("a", None, "/v1"), service("a", None, "/v2")]);
    assert_eq!(twins.unwrap_err(), CatalogError::DuplicateService { name: name("a") });
}

#[test]
fn what_can_match_nothing_is_an_error() {
    assert!(matches!(RouteTable::new(vec![service("a", None, "/a/../b")]), Err(CatalogError::Path { .. })));
    assert!(matches!(RouteTable::new(vec![service("a", Some("h:80"), "/")]), Err(CatalogError::Host { .. })));
    let with = |routes: Vec<Route>| {
        let mut one = service("a", None, "/v1");
        one.routes = routes;
        RouteTable::new(vec![one]).map(|_| ())
    };
    assert!(matches!(
        with(vec![route("r", None, exact("/v2"), sat(1))]),
        Err(CatalogError::RouteOutside { .. })
    ));
    assert!(matches!(
        with(vec![route("default", None, exact("/v1/x"), sat(1))]),
        Err(CatalogError::DuplicateRoute { .. })
    ));
    assert!(matches!(
        with(vec![route("r", None, under("/v1/x"), sat(1)), route("s", None, under("/v1/x/"), sat(2))]),
        Err(CatalogError::RouteOverlap { .. })
    ));
    assert!(matches!(
        with(vec![route("r", None, exact("/v1/x"), Terms::fixed(Msat::ZERO))]),
        Err(CatalogError::ZeroPrice { .. })
    ));
}

#[test]
fn the_most_specific_route_wins() {
    let mut one = service("a", None, "/v1");
    one.routes = vec![
        route("files", None, under("/v1/files"), sat(20)),
        route("deep", None, under("/v1/files/deep"), sat(30)),
        route("one", None, exact("/v1/files/deep/one"), sat(40)),
        route("post", Some(Method::POST), exact("/v1/files/deep/one"), sat(50)),
        route("health", Some(Method::GET), exact("/v1/health"), Terms::free()),
        route("cheap", None, exact("/v1/cheap"), sat(1)),
    ];
    let table = RouteTable::new(vec![one]).expect("no overlap");
    for (method, path, route, price) in [
        (Method::GET, "/v1/files", "files", sat(20)),
        (Method::GET, "/v1/filesystem", "default", sat(10)),
        (Method::GET, "/v1/files/deep/two", "deep", sat(30)),
        (Method::GET, "/v1/files/deep/one", "one", sat(40)),
        (Method::POST, "/v1/files/deep/one", "post", sat(50)),
        (Method::GET, "/v1/health", "health", Terms::free()),
        (Method::HEAD, "/v1/health", "health", Terms::free()),
        (Method::POST, "/v1/health", "default", sat(10)),
        // A free path is free in its one spelling.
        (Method::GET, "/v1/Health", "default", sat(10)),
        (Method::GET, "/v1/health/", "default", sat(10)),
        (Method::GET, "/v1/health/x", "default", sat(10)),
        (Method::GET, "/v1/CHEAP", "default", sat(10)),
        (Method::GET, "/v1/cheap", "cheap", sat(1)),
    ] {
        let matched = table.lookup(&method, "h", path).expect("the service covers it");
        assert_eq!((matched.route.as_str(), &*matched.terms), (route, &price), "{method} {path}");
    }
}

#[test]
fn another_spelling_of_a_priced_path_is_not_cheaper() {
    let mut one = service("a", None, "/");
    one.terms = Terms::free().into();
    one.routes = vec![
        route("paid", Some(Method::GET), exact("/paid"), sat(40)),
        route("area", None, under("/Area"), sat(50)),
        route("cheap", None, under("/PAI"), sat(1)),
    ];
    let table = RouteTable::new(vec![one]).expect("no overlap");
    for (path, price) in [
        ("/paid", sat(40)),
        ("/paid/", sat(40)),
        ("/PAID", sat(40)),
        ("/Paid/", sat(40)),
        ("/area/x", sat(50)),
        ("/AREA", sat(50)),
        ("/pai/x", sat(1)),
        ("/free", Terms::free()),
        ("/paid/x", Terms::free()),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let found = table.lookup(&method, "h", path).map(|m| (*m.terms).clone());
            assert_eq!(found.as_ref(), Some(&price), "{method} {path}");
        }
    }
}

/// Nor has it a free allowance, or a fallback, that its own spelling has not.
#[test]
fn another_spelling_of_a_priced_path_has_no_gifts() {
    let free = Some(Allowance { requests: 9, per: Duration::from_secs(60), by: AllowanceBy::Ip });
    let cheap = Some(Msat::from_sat(1).unwrap());
    for gift in [Terms { free, ..sat(10) }, Terms { fallback: cheap, ..sat(10) }] {
        let mut one = service("a", None, "/");
        one.routes = vec![
            route("given", None, under("/v1"), gift.clone()),
            route("sold", None, exact("/v1/sold"), sat(10)),
            route("both", None, exact("/v1/both"), gift),
        ];
        let table = RouteTable::new(vec![one]).expect("no overlap");
        for (path, route) in [
            ("/v1/sold", "sold"),
            ("/v1/SOLD", "sold"),
            ("/v1/sold/", "sold"),
            ("/v1/other", "given"),
            ("/v1/BOTH", "given"),
        ] {
            let found = table.lookup(&Method::GET, "h", path).expect("the service covers it");
            assert_eq!(found.route.as_str(), route, "{path}");
        }
    }
}

#[test]
fn a_new_price_has_a_new_revision_and_a_swap_keeps_the_old_table_alive() {
    let catalog = Catalog::new(RouteTable::new(vec![service("a", None, "/")]).expect("one"));
    let before = catalog.current();
    let mut dearer = service("a", None, "/");
    dearer.terms = sat(11).into();
    catalog.swap(RouteTable::new(vec![dearer]).expect("one"));
    let revision = |t: &RouteTable| t.lookup(&Method::GET, "h", "/").map(|m| m.revision);
    assert_ne!(revision(&before), revision(&catalog.current()));
    assert_eq!(revision(&before), revision(&before.clone()));
}
