//! The price of each way in which an answer can end.

use super::super::client::exchange;
use super::*;

const BALANCE: u64 = 100_000;

/// As OpenAI-style servers stream it.
const CHAT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n\
                    data: {\"choices\":[],\"usage\":{\"total_tokens\":12}}\n\n\
                    data: [DONE]\n\n";

#[tokio::test]
async fn an_answer_costs_what_it_says() {
    let hundred = "x".repeat(100);
    let json = "{\"usage\": {\"total_tokens\": 12}}";
    let gzip = "200 OK\r\ncontent-encoding: gzip";
    let long = format!("{json}{}", " ".repeat(1 << 20));
    let (chat, cut) = CHAT.split_at(90);
    let (front, back) = json.split_at(11);
    let cases: Vec<(&str, &str, Vec<Step>, u64)> = vec![
        ("a fixed price", "/plain/a", sized("200 OK", "ok"), 5_000),
        ("a 404", "/plain/b", sized("404 No", "no"), 5_000),
        ("announced bytes", "/bytes/a", sized("200 OK", &hundred), 1_000),
        ("bytes in chunks", "/bytes/b", chunked("200 OK", &[&hundred, "x", &hundred]), 2_010),
        ("no bytes", "/bytes/c", sized("200 OK", ""), 1),
        ("no content", "/bytes/d", vec![Step::say("HTTP/1.1 204 None\r\n\r\n")], 1),
        ("not modified", "/bytes/e", vec![Step::say("HTTP/1.1 304 Same\r\n\r\n")], 1),
        ("a refusal of the upstream's", "/bytes/f", sized("404 No", &hundred), 1_000),
        ("events", "/events/a", chunked(STREAM, &["data: 1\n\n: ping\n\nda", "ta: 2\n\ndata: 3\n\n"]), 3_000),
        ("an event that did not end", "/events/b", chunked(STREAM, &["data: 1\n\ndata: 2\n"]), 1_000),
        ("frames", "/events/c", chunked("200 OK", &["one", "two"]), 2_000),
        ("a document's own account", "/usage/a", sized("200 OK", json), 1_200),
        ("in pieces", "/usage/b", chunked("200 OK", &[front, back]), 1_200),
        ("a stream's own account", "/usage/c", chunked(STREAM, &[chat, cut]), 1_200),
        ("no account", "/usage/d", sized("200 OK", "<html>"), 30_000),
        ("an account that is too high", "/usage/e", sized("200 OK", &json.replace("12", "1200")), 30_000),
        ("an account below zero", "/usage/f", sized("200 OK", &json.replace("12", "-1")), 30_000),
        ("an account of nothing", "/usage/g", sized("200 OK", &json.replace("12", "0")), 30_000),
        ("an account of a fraction", "/usage/h", sized("200 OK", &json.replace("12", "1.25")), 125),
        ("an account that is too long to read", "/usage/i", sized("200 OK", &long), 30_000),
        ("a compressed account", "/usage/j", sized(gzip, json), 30_000),
        ("no account, and that is forgiven", "/forgiven/a", sized("200 OK", "{}"), 1_000),
        ("no account, and a price for that", "/sure/a", sized("200 OK", "<html>"), 7_000),
        ("a compressed one", "/sure/b", sized(gzip, json), 30_000),
    ];
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    for (what, path, steps, cost) in cases {
        origin.script(path, steps);
        let credential = gate.buy(path).await;
        let lines = format!("{}Accept-Encoding: gzip, br\r\nTE: trailers\r\n", credential.line());
        let reply = gate.get(path, &lines).await;
        assert!(reply.complete, "{what}: {reply:?}");
        assert_ne!(reply.status, 402, "{what}: {reply:?}");
        assert_books(&gate, &credential, (BALANCE - cost, 0, cost), what).await;
        // Chunked answers tell their price at the end.
        if reply.header("trailer").is_some() {
            assert_eq!(reply.trailer("x-tollhouse-cost-msat"), Some(&*cost.to_string()), "{what}");
            let left = (BALANCE - cost).to_string();
            assert_eq!(reply.trailer("x-tollhouse-left"), Some(&*left), "{what}");
            assert_eq!(reply.trailer("x-tollhouse-end"), Some("complete"), "{what}");
        }
        // What is read on its way comes as it is.
        let reads = ["/usage", "/sure", "/forgiven"].iter().any(|front| path.starts_with(front));
        let coding = if reads { "identity" } else { "gzip, br" };
        assert_eq!(origin.last().header("accept-encoding"), [coding], "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_costs_what_was_delivered() {
    let chunks = ["x".repeat(30), "x".repeat(20)];
    let whole = || chunked("200 OK", &[&chunks[0], &chunks[1]]);
    let events = || chunked(STREAM, &["data: 1\n\n", "data: 2\n\nda", "ta: 3\n\n"]);
    let short = vec![Step::say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")];
    let usage = || chunked("200 OK", &["{\"usage\"", ": {\"total_tokens\": 12}}"]);
    let cases: Vec<(&str, &str, Vec<Step>, u64)> = vec![
        ("a 500", "/bytes/a", sized("500 Oops", "oops"), 0),
        ("a 404 on terms that give it back", "/given/a", sized("404 No", "no"), 0),
        ("a reset before the head", "/bytes/b", vec![Step::Reset], 0),
        ("silence before the head", "/bytes/c", vec![Step::Hang], 0),
        ("a reset after the head", "/bytes/d", broken(whole(), 3, Step::Close), 0),
        ("a close in the body", "/bytes/e", broken(whole(), 2, Step::Close), 300),
        ("a close before the last chunk", "/bytes/f", broken(whole(), 1, Step::Close), 500),
        ("silence in the body", "/bytes/g", broken(whole(), 2, Step::Hang), 300),
        ("a truncated body", "/bytes/h", [short.clone(), vec![Step::Close]].concat(), 50),
        ("a stalled body", "/bytes/i", [short.clone(), vec![Step::Hang]].concat(), 50),
        ("a truncated fixed price", "/plain/b", [short, vec![Step::Close]].concat(), 0),
        ("half an event", "/events/a", broken(events(), 2, Step::Close), 2_000),
        ("half an account", "/usage/a", broken(usage(), 2, Step::Close), 0),
        ("half an account with a fallback", "/sure/a", broken(usage(), 2, Step::Close), 0),
        ("an account without an end", "/usage/b", broken(usage(), 1, Step::Close), 1_200),
        ("a 402", "/usage/c", sized("402 Pay me", "no"), 0),
    ];
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, BALANCE)], quick()).await;
    for (what, path, steps, cost) in cases {
        origin.script(path, steps);
        let credential = gate.buy(path).await;
        let bytes = exchange(gate.address, head("GET", path, &credential.line()).as_bytes()).await;
        assert_books(&gate, &credential, (BALANCE - cost, 0, cost), what).await;
        // A connection that breaks with the first frame may break before its head.
        if bytes.is_empty() {
            assert_eq!(cost, 0, "{what}");
            continue;
        }
        let reply = Reply::read(&bytes, false);
        let told = reply.header("x-tollhouse-unit").unwrap_or_else(|| panic!("{what}: {reply:?}"));
        assert!(told != "restored" || cost == 0, "{what}");
        assert!(told != "held" || !reply.complete, "{what}: broken, not whole");
    }
}

#[tokio::test]
async fn a_head_says_what_is_held_and_left() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    let credential = gate.buy("/bytes/ok").await;
    for (request, told) in [
        (head("GET", "/bytes/ok", &credential.line()), ["held", "50000", "50000"]),
        (head("GET", "/plain/ok", &credential.line()), ["held", "5000", "94980"]),
        (head("GET", "/given/404", &credential.line()), ["restored", "0", "94980"]),
        (head("GET", "/bytes/204", &credential.line()), ["spent", "1", "94979"]),
    ] {
        let reply = gate.ask(&request).await;
        let names = ["x-tollhouse-unit", "x-tollhouse-amount-msat", "x-tollhouse-left"];
        assert_eq!(names.map(|name| reply.header(name).unwrap_or_default()), told, "{request}");
        gate.settled(&credential).await;
    }
    // A HEAD has no body, and is metered as none.
    let request = head("HEAD", "/bytes/ok", &credential.line());
    let bytes = exchange(gate.address, request.as_bytes()).await;
    let reply = Reply::read(&bytes, true);
    assert_eq!((reply.status, reply.header("x-tollhouse-amount-msat")), (200, Some("1")));
    assert_books(&gate, &credential, (94_978, 0, 5_022), "HEAD").await;
}

/// A client that leaves pays for what it took, and for what it asked for when the price is fixed.
#[tokio::test]
async fn a_client_that_leaves_pays_for_what_it_took() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    let hang = |steps| broken(steps, 1, Step::Hang);
    for (path, steps, mark, cost) in [
        ("/events/a", hang(chunked(STREAM, &["data: 1\n\n", "data: 2\n\n"])), "data: 2\n\n\r\n", 2_000),
        ("/bytes/a", hang(chunked("200 OK", &["one", "two"])), "two\r\n", 60),
        ("/plain/a", hang(chunked("200 OK", &["one"])), "one\r\n", 5_000),
        // Nobody can tell any more: otherwise leaving before the account would be free.
        ("/usage/a", hang(chunked("200 OK", &["{\"usage\""])), "\"usage\"\r\n", 30_000),
        ("/sure/a", hang(chunked("200 OK", &["{\"usage\""])), "\"usage\"\r\n", 7_000),
        ("/sure/b", hang(chunked(STREAM, &["data: {\"x\":1}\n\n"])), "1}\n\n\r\n", 7_000),
        // Not even where the rule forgives an answer without one.
        ("/forgiven/a", hang(chunked(STREAM, &["data: {\"usage\":null}\n\n"])), "null}\n\n\r\n", 30_000),
        ("/forgiven/b", hang(chunked(STREAM, &[": hello\n\n"])), "hello\n\n\r\n", 30_000),
        (
            "/forgiven/c",
            hang(chunked(STREAM, &["data: {\"usage\":{\"total_tokens\":12}}\n\n"])),
            "}}\n\n\r\n",
            2_200,
        ),
        ("/forgiven/d", hang(chunked("200 OK", &["{\"usage\":"])), "\"usage\":\r\n", 30_000),
    ] {
        origin.script(path, steps);
        let credential = gate.buy(path).await;
        let broken = origin.seen(|seen| seen.broken);
        let mut stream = open(&gate, &head("GET", path, &credential.line())).await;
        read_until(&mut stream, mark).await;
        drop(stream);
        origin.until(|seen| seen.broken > broken).await;
        assert_books(&gate, &credential, (BALANCE - cost, 0, cost), path).await;
    }
}

/// The answer to a request that its client named is kept, and costs once.
#[tokio::test]
async fn a_named_request_is_metered_once() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    origin.script("/bytes/a", chunked("200 OK", &["one", "two"]));
    let credential = gate.buy("/bytes/a").await;
    let lines = format!("{}Idempotency-Key: one\r\n", credential.line());
    let first = gate.get("/bytes/a", &lines).await;
    assert_eq!((first.status, first.text().as_str()), (200, "onetwo"));
    assert_books(&gate, &credential, (BALANCE - 60, 0, 60), "once").await;
    let again = gate.get("/bytes/a", &lines).await;
    assert_eq!((again.status, again.text().as_str()), (200, "onetwo"));
    assert_eq!(again.header("x-tollhouse-replayed"), Some("true"));
    assert_eq!(origin.hits(), 1);
    assert_books(&gate, &credential, (BALANCE - 60, 0, 60), "again").await;
}

/// Its client may leave: the answer is paid for whole, and is there when it comes back.
#[tokio::test]
async fn a_named_request_is_finished_without_its_client() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    let whole = [chunked("200 OK", &["one"]), vec![]].concat();
    let mut steps = broken(whole, 1, Step::Wait);
    steps.extend([Step::chunk("two"), Step::say("0\r\n\r\n")]);
    origin.script("/bytes/a", steps);
    let credential = gate.buy("/bytes/a").await;
    let lines = format!("{}Idempotency-Key: one\r\n", credential.line());
    let mut stream = open(&gate, &head("GET", "/bytes/a", &lines)).await;
    read_until(&mut stream, "one\r\n").await;
    drop(stream);
    origin.shared.gate.notify_one();
    assert_books(&gate, &credential, (BALANCE - 60, 0, 60), "finished").await;
    let again = gate.get("/bytes/a", &lines).await;
    assert_eq!((again.status, again.text().as_str()), (200, "onetwo"));
    assert_eq!(origin.hits(), 1);
}

/// What could not be paid for whole is not kept as if it were the answer.
#[tokio::test]
async fn an_answer_that_was_cut_is_not_kept() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, 3_000)], patient()).await;
    origin.script("/events/a", chunked(STREAM, &["data: 1\n\n", "data: 2\n\n"]));
    let credential = gate.buy("/events/a").await;
    let lines = format!("{}Idempotency-Key: one\r\n", credential.line());
    for (spent, replayed) in [(2_000, None), (2_000, Some("true"))] {
        let reply = gate.get("/events/a", &lines).await;
        assert_eq!(reply.header("x-tollhouse-replayed"), replayed);
        assert_books(&gate, &credential, (3_000 - spent, 0, spent), "whole").await;
    }
    let lines = format!("{}Idempotency-Key: two\r\n", credential.line());
    let cut = gate.get("/events/a", &lines).await;
    assert!(cut.text().contains("balance_exhausted"), "{cut:?}");
    assert_books(&gate, &credential, (0, 0, 3_000), "cut").await;
    let again = gate.get("/events/a", &lines).await;
    assert_eq!((again.status, again.code().as_str()), (402, "spent"));
}

/// What the gate itself breaks off at shutdown costs what was delivered.
#[tokio::test]
async fn an_answer_that_shutdown_cuts_off_costs_what_was_delivered() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    origin.script("/bytes/a", broken(chunked("200 OK", &["0123456789"]), 1, Step::Hang));
    origin.script("/usage/a", broken(chunked("200 OK", &["0123456789"]), 1, Step::Hang));
    let mut streams = Vec::new();
    for path in ["/bytes/a", "/usage/a"] {
        let credential = gate.buy(path).await;
        let mut stream = open(&gate, &head("GET", path, &credential.line())).await;
        read_until(&mut stream, "0123456789").await;
        streams.push((stream, credential));
    }
    gate.cut.cancel();
    for ((_, credential), cost) in streams.iter().zip([100, 0]) {
        assert_books(&gate, credential, (BALANCE - cost, 0, cost), "cut off").await;
    }
}
