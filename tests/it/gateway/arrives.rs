//! What arrives upstream of requests that a library might repair on the way: bytes in, bytes out. The
//! head of `src/request.rs` names these tests.

use super::client::{Reply, exchange};
use super::upstream::Origin;
use super::{TestGate, head, service};
use tollhouse::catalog::Terms;

/// A gate whose upstream is free, so that whatever is let in arrives.
async fn free(origin: &Origin) -> TestGate {
    let mut open = service(origin);
    open.terms = Terms::free().into();
    open.routes.clear();
    TestGate::with(vec![open], super::quick()).await
}

/// Sends `bytes` and gives the statuses of all answers.
async fn statuses(gate: &TestGate, bytes: &[u8]) -> Vec<u16> {
    let answer = exchange(gate.address, bytes).await;
    let text = String::from_utf8_lossy(&answer);
    let starts = text.match_indices("HTTP/1.1 ").map(|(at, start)| at + start.len());
    starts.map(|at| text[at..at + 3].parse().expect("a status")).collect()
}

/// One request with these header lines and body behind a `Host`.
async fn one(gate: &TestGate, lines: &[u8], body: &[u8]) -> Vec<u16> {
    let start = b"POST /x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n";
    statuses(gate, &[start, lines, b"\r\n", body].concat()).await
}

/// A line that goes on in the next one (RFC 9112 §5.2), a name with a space behind it, and one without a
/// colon: servers read each in their own way.
#[tokio::test]
async fn a_header_line_that_is_folded_or_has_no_clear_name_is_refused() {
    let origin = Origin::start().await;
    let gate = free(&origin).await;
    for lines in [
        &b"X-A: one\r\n two\r\n"[..],
        b"X-A: one\r\n\ttwo\r\n",
        b" X-A: one\r\n",
        b"X-A : one\r\n",
        b"X-A\t: one\r\n",
        b"X-A\r\n",
        b": one\r\n",
        b"X A: one\r\n",
        b"X-\xc3\xa4: one\r\n",
        b"X-A: one\rX-B: two\r\n",
        b"X-A: one\0two\r\n",
        b"X-A: one\nX-B: two\r\n",
        b"X-A: \x01\r\n",
    ] {
        assert_eq!(one(&gate, lines, b"").await, [400], "{:?}", String::from_utf8_lossy(lines));
    }
    assert_eq!(origin.hits(), 0, "{:?}", origin.seen(|seen| seen.hits.clone()));
}

#[tokio::test]
async fn a_request_line_that_is_not_one_is_refused() {
    let origin = Origin::start().await;
    let gate = free(&origin).await;
    for line in [
        &b"GET  /x HTTP/1.1"[..],
        b"GET /x  HTTP/1.1",
        b"GET\t/x HTTP/1.1",
        b"GET /x y HTTP/1.1",
        b"GET /x",
        b"GET /x HTTP/1.2",
        b"GET /x HTTP/2.0",
        b"GET /x http/1.1",
        b"GET /x HTTP/1.1 ",
        b" GET /x HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /x\x00 HTTP/1.1",
        b"G(T /x HTTP/1.1",
        b"get /x HTTP/1.1",
        b"Get /x HTTP/1.1",
        b"TRACE /x HTTP/1.1",
        b"PROPFIND /x HTTP/1.1",
        b"CONNECT a:80 HTTP/1.1",
    ] {
        let bytes = [line, b"\r\nHost: api.example\r\nConnection: close\r\n\r\n"].concat();
        let answered = statuses(&gate, &bytes).await;
        let refused = answered.iter().all(|status| matches!(status, 400 | 405 | 505));
        assert!(refused && answered.len() <= 1, "{:?}: {answered:?}", String::from_utf8_lossy(line));
    }
    assert_eq!(origin.hits(), 0, "{:?}", origin.seen(|seen| seen.hits.clone()));
}

/// What hyper cuts off a target, and what it keeps: neither makes another path of it.
#[tokio::test]
async fn a_fragment_does_not_arrive_and_the_rest_of_the_target_does() {
    let origin = Origin::start().await;
    let gate = free(&origin).await;
    for (target, sent) in [
        ("/x#/../y", "/x"),
        ("/x?a=b#c", "/x?a=b"),
        ("/x?a=b?c", "/x?a=b?c"),
        ("/x?", "/x?"),
        ("http://api.example/x?a", "/x?a"),
        ("HTTP://API.EXAMPLE/x", "/x"),
        ("/x?%2e%2e%2f", "/x?%2e%2e%2f"),
    ] {
        let reply = gate.get(target, "").await;
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        assert_eq!(origin.last().line(), format!("GET {sent} HTTP/1.1"), "{target}");
    }
    for target in ["#", "x#y", "http://api.example:80:80/x", "https:/x", "ftp//x"] {
        assert_eq!(gate.get(target, "").await.status, 400, "{target}");
    }
}

/// HTTP/1.0 knows neither chunks nor kept connections: it is served once, and closed.
#[tokio::test]
async fn http_1_0_is_served_once_and_only_without_chunks() {
    let origin = Origin::start().await;
    let gate = free(&origin).await;
    let plain = b"GET /x HTTP/1.0\r\nHost: api.example\r\n\r\nGET /y HTTP/1.0\r\nHost: api.example\r\n\r\n";
    assert_eq!(exchange(gate.address, plain).await.windows(4).filter(|w| w == b"HTTP").count(), 1);
    assert_eq!(origin.last().line(), "GET /x HTTP/1.1");
    let hits = origin.hits();
    let without_host = exchange(gate.address, b"GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!(Reply::read(&without_host, false).status, 400);
    let chunked = b"POST /x HTTP/1.0\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let chunked = exchange(gate.address, chunked).await;
    assert!(
        matches!(Reply::read(&chunked, false).status, 400 | 501),
        "{:?}",
        String::from_utf8_lossy(&chunked)
    );
    assert_eq!(origin.hits(), hits);
}

/// Chunk extensions and trailers are the hop's own: the body arrives, they do not.
#[tokio::test]
async fn chunks_arrive_as_a_body_and_nothing_more() {
    let origin = Origin::start().await;
    let gate = free(&origin).await;
    let body = b"5;name=\"a\"\r\nhello\r\n6;x\r\n world\r\n0;y\r\n\r\n";
    assert_eq!(one(&gate, b"Transfer-Encoding: chunked\r\n", body).await, [200]);
    assert_eq!(origin.seen(|seen| seen.bodies.last().cloned()).as_deref(), Some(&b"hello world"[..]));
    assert_eq!(origin.last().header("transfer-encoding"), ["chunked"]);
    assert!(origin.last().header("content-length").is_empty());
    // Trailers are headers that nobody looked at: a claim in them is dropped like any other.
    let claims = b"5\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Tollhouse-Unit: spent\r\nAuthorization: L402 a:b\r\n\r\n";
    let hits = origin.hits();
    for lines in [
        &b"Transfer-Encoding: chunked\r\n"[..],
        b"Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-For\r\n",
    ] {
        assert_eq!(one(&gate, lines, claims).await, [200]);
        assert!(!origin.last().head.contains("6.6.6.6") && origin.last().header("trailer").is_empty());
    }
    assert_eq!(gate.get("/x", "").await.status, 200, "nothing is left on the connection");
    assert_eq!(origin.hits() - hits, 3);
    let bodies = origin.seen(|seen| seen.bodies.len());
    for (body, what) in [
        (&b"5\nhello\r\n0\r\n\r\n"[..], "a bare line feed behind the size"),
        (b"5\r\nhello0\r\n\r\n", "no line end behind the data"),
        (b"5\r\nhello\n0\r\n\r\n", "a bare line feed behind the data"),
        (b"0x5\r\nhello\r\n0\r\n\r\n", "a size in another spelling"),
        (b"+5\r\nhello\r\n0\r\n\r\n", "a signed size"),
        (b"5 \r\nhello\r\n0\r\n\r\n \r\n", "more behind the end"),
        (b"fffffffffffffffff\r\n", "a size that overflows"),
        (b"-1\r\n", "a negative size"),
    ] {
        one(&gate, b"Transfer-Encoding: chunked\r\n", body).await;
        let arrived = origin.seen(|seen| seen.bodies[bodies..].to_vec());
        assert!(arrived.iter().all(|body| body == b"hello"), "{what}: {arrived:?}");
    }
}

/// A body on a method that has none, and one that is shorter or longer than it says.
#[tokio::test]
async fn a_body_is_as_long_as_it_says_on_every_method() {
    let origin = Origin::start().await;
    let gate = free(&origin).await;
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        let request = head(method, "/x", "Content-Length: 5\r\n") + "hello";
        assert_eq!(gate.ask(&request).await.status, 200, "{method}");
        assert_eq!(origin.last().header("content-length"), ["5"], "{method}");
        assert_eq!(
            origin.seen(|seen| seen.bodies.last().cloned()).as_deref(),
            Some(&b"hello"[..]),
            "{method}"
        );
    }
    // What comes behind is another request, and judged as one.
    let bytes = b"POST /x HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\nhelloGET /y HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&gate, bytes).await, [200, 200]);
    assert_eq!(origin.last().line(), "GET /y HTTP/1.1");
    let bytes =
        b"POST /x HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\nhello, GET //y HTTP/1.1\r\n\r\n";
    assert_eq!(statuses(&gate, bytes).await, [200, 400]);
}

/// Many lines and long ones: refused with a status, and nothing of it arrives.
#[tokio::test]
async fn a_head_has_bounds() {
    let origin = Origin::start().await;
    let gate = free(&origin).await;
    let many = "X-A: b\r\n".repeat(101);
    assert_eq!(one(&gate, many.as_bytes(), b"").await, [431]);
    let long = format!("X-A: {}\r\n", "b".repeat(70 * 1024));
    assert_eq!(one(&gate, long.as_bytes(), b"").await, [431]);
    let target = format!("/{}", "a".repeat(9 * 1024));
    assert_eq!(gate.get(&target, "").await.status, 414);
    assert_eq!(origin.hits(), 0);
    assert_eq!(one(&gate, "X-A: b\r\n".repeat(90).as_bytes(), b"").await, [200]);
}
