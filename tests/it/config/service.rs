//! Services as a file writes them: every mistake by its line, and what is read of a right one.

use super::*;

#[test]
fn every_mistake_in_a_service_names_its_line() {
    // Lines 1 to 4 are HEAD, the service begins on line 5.
    let with = |lines: &str| format!("{HEAD}{SERVICE}{lines}\n");
    wrong(&with("pirce = 5"), 9, "service.a.pirce", "Did you mean `price`?");
    wrong(&with("host = \"a:80\""), 9, "service.a.host", "leave out the port");
    wrong(&with("host = 5"), 9, "service.a.host", "expected a string, found an integer");
    wrong(&with("path = \"v1\""), 9, "service.a.path", "does not start with `/`");
    wrong(&with("path = \"/a/../b\""), 9, "service.a.path", "dot segment");
    wrong(&with("path = \"/a/*\""), 9, "service.a.path", "end of a route's path");
    wrong(&with("strip_prefix = \"/v1\""), 9, "service.a.strip_prefix", "not every request");
    wrong(&with("upstream_host = \"a b\""), 9, "service.a.upstream_host", "not a host name");
    let headers = "service.a.upstream_headers";
    wrong(&with("upstream_headers = 5"), 9, headers, "expected a table");
    let key = format!("{headers}.Authorization");
    wrong(
        &with("upstream_headers = { Authorization = { env = \"NOPE\" } }"),
        9,
        &format!("{key}.env"),
        "variable NOPE is not set",
    );
    wrong(
        &with("[service.upstream_headers]\n\nAuthorization = { evn = \"A\" }"),
        11,
        &format!("{key}.evn"),
        "Did you mean `env`?",
    );
    wrong(
        &with("upstream_headers = { Authorization = { prefix = \"A\" } }"),
        9,
        &format!("{key}.env"),
        "it is missing",
    );
    wrong(&with("upstream_headers = { Host = \"a\" }"), 9, &format!("{headers}.Host"), "Use upstream_host");
    wrong(
        &with("upstream_headers = { TE = \"a\" }"),
        9,
        &format!("{headers}.TE"),
        "belongs to the connection",
    );
    wrong(
        &with("upstream_headers = { \"a b\" = \"a\" }"),
        9,
        &format!("{headers}.a b"),
        "not a header's name",
    );
    wrong(
        &with("upstream_headers = { a = \"x\\ny\" }"),
        9,
        &format!("{headers}.a"),
        "cannot stand in a header",
    );

    let changed = |from: &str, to: &str| format!("{HEAD}{}", SERVICE.replacen(from, to, 1));
    wrong(&changed("5 sat", "0 sat"), 7, "service.a.price", "Write \"free\"");
    wrong(&changed("5 sat", "5 btc"), 7, "service.a.price", "Use sat, msat or a currency");
    wrong(&changed("\"5 sat\"", "5"), 7, "service.a.price", "Put it in quotes");
    wrong(&changed("\"a\"", "\"A\""), 6, "service[0].name", "a-z, 0-9");
    wrong(&changed("http://", "ftp://"), 8, "service.a.upstream", "not an http or https URL");
    wrong(&changed("9000", "9000/?a=b"), 8, "service.a.upstream", "a query or a fragment");
    wrong(&changed("name = \"a\"\n", ""), 5, "service[0].name", "it is missing");
    wrong(&changed("price = \"5 sat\"\n", ""), 5, "service.a.price", "it is missing");
    wrong(&changed("upstream = \"http://127.0.0.1:9000\"\n", ""), 5, "service.a.upstream", "it is missing");

    let route = |lines: &str| with(&format!("path = \"/v1\"\n[[service.route]]\n{lines}"));
    wrong(&route("price = \"free\""), 10, "service.a.route[0].path", "it is missing");
    assert!(read(&route("path = \"/v1/x\"")).is_ok(), "a route has its service's price");
    wrong(&route("path = \"/v1/x{id}\""), 11, "service.a.route[0].path", "a whole segment");
    wrong(
        &with("offers = [\n\"request\",\n{ pack = 1 },\n]"),
        11,
        "service.a.offers[1].pack",
        "a pack has 2",
    );
    wrong(&with("free = { requests = 5, per = \"dya\" }"), 9, "service.a.free.per", "not a span of time");
    wrong(
        &route("price = \"free\"\npath = \"/v2\""),
        12,
        "service.a.route[0].path",
        "outside the service's path",
    );
    wrong(&route("price = \"free\"\npath = \"/v1/./x\""), 12, "service.a.route[0].path", "dot segment");
    wrong(&route("price = \"0 msat\"\npath = \"/v1/x\""), 11, "service.a.route[0].price", "a price of zero");
    wrong(
        &route("price = \"free\"\npath = \"/v1/x\"\nmethod = \"get\""),
        13,
        "service.a.route[0].method",
        "\"GET\"",
    );
    wrong(
        &route("price = \"free\"\npath = \"/v1/x\"\nmehtod = \"GET\""),
        13,
        "service.a.route[0].mehtod",
        "`method`",
    );
}

#[test]
fn what_matches_the_same_requests_is_an_error_on_the_later_one() {
    let two = |first: &str, second: &str| {
        format!("{HEAD}{SERVICE}{first}\n{}{second}\n", SERVICE.replacen("\"a\"", "\"b\"", 1))
    };
    // The second service begins on line 10.
    wrong(&two("", ""), 10, "service.b.path", "service `a` matches the same requests (on line 5)");
    wrong(&two("path = \"/v1/\"", "path = \"/v1\""), 14, "service.b.path", "service `a` matches the same");
    wrong(&two("host = \"A.example\"", "host = \"a.example\""), 10, "service.b.path", "the same requests");
    assert!(read(&two("path = \"/v1\"", "path = \"/v1/x\"")).is_ok(), "the longer path is its own");
    assert!(read(&two("host = \"a.example\"", "")).is_ok(), "a host of its own");

    let same_name = format!("{HEAD}{SERVICE}\n{SERVICE}path = \"/b\"\n");
    wrong(&same_name, 11, "service.a.name", "another service has the name `a` (on line 5)");

    let routes = |second: &str| {
        let first = "[[service.route]]\npath = \"/x\"\nprice = \"free\"\n";
        format!("{HEAD}{SERVICE}{first}[[service.route]]\n{second}\nprice = \"free\"\n")
    };
    wrong(
        &routes("name = \"other\"\npath = \"/x\""),
        14,
        "service.a.route[1].path",
        "`x` matches the same requests",
    );
    wrong(
        &routes("name = \"x\"\npath = \"/y\""),
        13,
        "service.a.route[1].name",
        "another route of this service",
    );
    assert!(read(&routes("method = \"GET\"\npath = \"/x\"")).is_ok(), "a method of its own");
}

#[test]
fn a_service_is_read_as_it_is_written() {
    let text = format!(
        "{HEAD}{SERVICE}host = \"API.Example.com\"\npath = \"/v1/\"\nstrip_prefix = \"/v1\"\n\
         upstream_host = \"inner.example:81\"\n\
         upstream_headers = {{ Authorization = {{ env = \"UPSTREAM_KEY\", prefix = \"Bearer \" }}, X-Plan = \"gold\" }}\n\
         [[service.route]]\nmethod = \"GET\"\npath = \"/v1/files/*\"\nprice = \"250 msat\"\n\
         [[service.route]]\nname = \"alive\"\npath = \"/v1/health\"\nprice = \"free\"\n"
    );
    let settings = read(&text).expect("in order");
    let [service] = settings.services.as_slice() else { panic!("one service") };
    assert_eq!(service.host.as_deref(), Some("api.example.com"));
    assert_eq!(service.path, "/v1");
    assert_eq!(service.upstream.strip_prefix.as_deref(), Some("/v1"));
    assert_eq!(service.upstream.host.as_ref().map(|h| h.as_bytes()), Some(b"inner.example:81".as_slice()));
    let headers: Vec<(&str, &[u8])> =
        service.upstream.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    assert_eq!(headers, [("authorization", b"Bearer sesame".as_slice()), ("x-plan", b"gold")]);
    assert!(!format!("{settings:?}").contains("sesame"), "a key is never in a debug print");
    let [files, alive] = service.routes.as_slice() else { panic!("two routes") };
    assert_eq!(files.name.as_str(), "get-v1-files-all");
    assert_eq!(files.path, PathPattern::Under("/v1/files".into()));
    assert_eq!(files.terms.rule.to_string(), "250 msat");
    assert_eq!(alive.name.as_str(), "alive");
    assert_eq!(
        (alive.path.clone(), alive.terms.rule.is_free()),
        (PathPattern::Exact("/v1/health".into()), true)
    );
}
