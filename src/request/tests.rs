//! What is let in, and in which spelling.

use std::net::Ipv4Addr;

use http::Request;

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn ask(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<CanonicalRequest, Inadmissible> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    admit(&request.body(()).expect("a request").into_parts().0, PEER)
}

fn code(result: Result<CanonicalRequest, Inadmissible>) -> (u16, &'static str) {
    let refused = result.expect_err("refused");
    (refused.status.as_u16(), refused.code)
}

#[test]
fn a_plain_request_is_canonical() {
    let request = ask("GET", "/%70aid?q=a%2Fb", &[("host", "API.example.:8402"), ("accept", "*/*")])
        .expect("a good request");
    assert_eq!(request.path(), "/paid");
    assert_eq!(request.query(), Some("q=a%2Fb"));
    assert_eq!(request.host(), "api.example");
    assert_eq!(request.peer(), PEER);
    assert_eq!(request.headers().len(), 1);
}

#[test]
fn one_host_or_none() {
    for headers in [
        &[][..],
        &[("host", "a"), ("host", "a")],
        &[("host", "a"), ("host", "b")],
        &[("host", "")],
        &[("host", "u@a")],
        &[("host", "a b")],
        &[("host", "a/b")],
    ] {
        assert_eq!(code(ask("GET", "/", headers)), (400, "bad_host"), "{headers:?}");
    }
    assert_eq!(code(ask("GET", "http://a/x", &[("host", "b")])), (400, "bad_host"));
    assert_eq!(code(ask("GET", "http://u@a/x", &[("host", "u@a")])), (400, "bad_host"));
    assert_eq!(ask("GET", "http://a/x", &[("host", "A")]).expect("the same").path(), "/x");
}

#[test]
fn methods_and_targets_that_no_gateway_forwards() {
    for method in ["CONNECT", "TRACE", "get", "Get", "PROPFIND"] {
        let uri = if method == "CONNECT" { "a:1" } else { "/" };
        assert_eq!(code(ask(method, uri, &[("host", "a")])), (405, "method_not_allowed"), "{method}");
    }
    assert_eq!(code(ask("OPTIONS", "*", &[("host", "a")])), (400, "bad_path"));
    let long = format!("/?{}", "a".repeat(17 * 1024));
    assert_eq!(code(ask("GET", &long, &[("host", "a")])), (414, "query_too_long"));
    let long = format!("/{}", "a".repeat(9 * 1024));
    assert_eq!(code(ask("GET", &long, &[("host", "a")])), (414, "path_too_long"));
}

#[test]
fn a_body_has_one_end() {
    let post = |headers: &[(&str, &str)]| {
        let all: Vec<_> = [("host", "a")].iter().chain(headers).copied().collect();
        ask("POST", "/", &all)
    };
    assert_eq!(
        code(post(&[("content-length", "3"), ("transfer-encoding", "chunked")])),
        (400, "bad_framing")
    );
    for bad in ["+3", "3, 3", "", "0x3", "-1"] {
        assert_eq!(code(post(&[("content-length", bad)])), (400, "bad_framing"), "{bad}");
    }
    assert_eq!(code(post(&[("content-length", "3"), ("content-length", "3")])), (400, "bad_framing"));
    for bad in ["gzip, chunked", "identity", "chunked, chunked", "x"] {
        assert_eq!(code(post(&[("transfer-encoding", bad)])), (501, "transfer_encoding"), "{bad}");
    }
    assert!(post(&[("transfer-encoding", "Chunked")]).is_ok());
    assert!(post(&[("content-length", "3")]).is_ok());
}

#[test]
fn claims_and_hops_do_not_pass() {
    let request = ask(
        "GET",
        "/",
        &[
            ("host", "a"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic x"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-anything", "1"),
            ("x-real-ip", "1.2.3.4"),
            ("x-original-url", "/free"),
            ("x-rewrite-url", "/free"),
            ("x-http-method-override", "DELETE"),
            ("x_real_ip", "1.2.3.4"),
            ("x-tollhouse-unit", "spent"),
            ("macaroon", "00"),
            ("grpc-metadata-macaroon", "00"),
            ("expect", "100-continue"),
            ("accept", "text/plain"),
            ("cookie", "a=b"),
        ],
    )
    .expect("let in");
    let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "cookie"]);
}

#[test]
fn connection_cannot_take_what_matters() {
    for name in ["Host", "authorization", "Cookie", "Content-Length", "macaroon"] {
        let headers = [("host", "a"), ("connection", name)];
        assert_eq!(code(ask("GET", "/", &headers)), (400, "bad_connection"), "{name}");
    }
}

#[test]
fn only_foreign_credentials_pass() {
    for (value, passes) in [
        ("Bearer x", true),
        ("Basic eDp5", true),
        ("L402 abc:def", false),
        ("l402 abc:def", false),
        ("LSAT abc:def", false),
        ("L402", false),
        ("L402\tabc:def", false),
        (" L402 abc:def", false),
        ("Payment abc", false),
        ("Bearer x, L402 abc:def", false),
        ("PaymentX abc", true),
    ] {
        let request = ask("GET", "/", &[("host", "a"), ("authorization", value)]).expect("let in");
        assert_eq!(request.headers().contains_key("authorization"), passes, "{value}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let request = ask("GET", "/x?key=s3cret", &[("host", "a"), ("cookie", "s3cret")]).expect("let in");
    assert!(!format!("{request:?}").contains("s3cret"));
}
