//! Answers that end because what is held is used up, or because the token was taken back.

use super::*;

/// `count` events.
fn events(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("data: {n}\n\n")).collect()
}

fn of(chunks: &[String]) -> Vec<&str> {
    chunks.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_stream_ends_at_the_event_that_is_not_paid_for() {
    let origin = Origin::start().await;
    let all = events(40);
    // However the upstream cuts it.
    origin.script("/events/each", chunked(STREAM, &of(&all)));
    origin.script("/events/once", chunked(STREAM, &[&all.concat()]));
    let torn: Vec<String> =
        all.concat().as_bytes().chunks(4).map(|b| String::from_utf8_lossy(b).into()).collect();
    origin.script("/events/torn", chunked(STREAM, &of(&torn)));
    for (balance, passed, code) in [(3_500, 3, "balance_exhausted"), (90_000, 20, "ceiling_reached")] {
        let gate = TestGate::with(vec![service(&origin, balance)], patient()).await;
        for path in ["/events/each", "/events/once", "/events/torn"] {
            let credential = gate.buy(path).await;
            let reply = gate.get(path, &format!("{}TE: trailers\r\n", credential.line())).await;
            assert!(reply.complete, "{path}: {reply:?}");
            let text = reply.text();
            let (sold, told) = text.split_once("event: tollhouse\ndata: ").expect("a reason");
            assert_eq!(sold, all[..passed].concat(), "{path}");
            let told: serde_json::Value = serde_json::from_str(told.trim_end()).expect("JSON");
            let cost = u64::try_from(passed).expect("few") * 1_000;
            assert_eq!(told["code"], code, "{path}");
            assert_eq!(
                (&told["costMsat"], &told["left"]),
                (&cost.into(), &(balance - cost).into()),
                "{path}"
            );
            assert_eq!(reply.trailer("x-tollhouse-end"), Some(code), "{path}");
            assert_books(&gate, &credential, (balance - cost, 0, cost), path).await;
        }
    }
}

#[tokio::test]
async fn bytes_end_at_the_byte_that_is_not_paid_for() {
    let origin = Origin::start().await;
    let chunks = vec!["x".repeat(400); 20];
    origin.script("/bytes/many", chunked("200 OK", &of(&chunks)));
    for (balance, passed, code) in [(10_005, 1_000, "balance_exhausted"), (80_000, 5_000, "ceiling_reached")]
    {
        let gate = TestGate::with(vec![service(&origin, balance)], patient()).await;
        for lines in ["TE: trailers\r\n", ""] {
            let credential = gate.buy("/bytes/many").await;
            let reply = gate.get("/bytes/many", &format!("{}{lines}", credential.line())).await;
            assert_eq!((reply.body.len(), reply.complete), (passed, true));
            let end = reply.trailer("x-tollhouse-end");
            assert_eq!(end, Some(code).filter(|_| !lines.is_empty()));
            let cost = u64::try_from(passed).expect("few") * 10;
            assert_books(&gate, &credential, (balance - cost, 0, cost), code).await;
        }
    }
}

/// What announces its length is refused whole: nobody pays for half a file.
#[tokio::test]
async fn an_answer_that_is_too_dear_is_refused_before_its_body() {
    let origin = Origin::start().await;
    origin.script("/bytes/file", sized("200 OK", &"x".repeat(2_000)));
    origin.script("/bytes/huge", sized("200 OK", &"x".repeat(6_000)));
    let gate = TestGate::with(vec![service(&origin, 10_000)], patient()).await;
    let credential = gate.buy("/bytes/file").await;
    let reply = gate.get("/bytes/file", &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "balance_too_small"));
    assert_eq!(reply.header("x-tollhouse-unit"), Some("restored"));
    assert_ne!(gate.pay(&reply).hash, credential.hash, "a fresh offer");
    assert_books(&gate, &credential, (10_000, 0, 0), "a small balance").await;
    // It is as good as before.
    origin.script("/bytes/file", sized("200 OK", &"x".repeat(1_000)));
    assert_eq!(gate.get("/bytes/file", &credential.line()).await.body.len(), 1_000);
    assert_books(&gate, &credential, (0, 0, 10_000), "all of it").await;

    let gate = TestGate::with(vec![service(&origin, 90_000)], patient()).await;
    let credential = gate.buy("/bytes/huge").await;
    let reply = gate.get("/bytes/huge", &credential.line()).await;
    // To pay more would not help.
    assert_eq!((reply.status, reply.code().as_str()), (403, "ceiling_reached"));
    assert_books(&gate, &credential, (90_000, 0, 0), "the ceiling").await;
}

/// Time costs even when nothing comes.
#[tokio::test]
async fn a_silent_answer_ends_when_its_time_is_used_up() {
    let origin = Origin::start().await;
    origin.script("/time/a", broken(chunked(STREAM, &["data: 1\n\n"]), 1, Step::Hang));
    origin.script("/time/b", broken(chunked("200 OK", &["one"]), 1, Step::Hang));
    let gate = TestGate::with(vec![service(&origin, 90_000)], patient()).await;
    for (path, text) in [("/time/a", "data: 1\n\n"), ("/time/b", "one")] {
        let credential = gate.buy(path).await;
        let reply = gate.get(path, &format!("{}TE: trailers\r\n", credential.line())).await;
        assert!(reply.complete && reply.text().starts_with(text), "{reply:?}");
        assert_eq!(reply.trailer("x-tollhouse-end"), Some("ceiling_reached"));
        assert_books(&gate, &credential, (70_000, 0, 20_000), path).await;
    }
}

/// THREATS 3: a token that is taken back ends what it opened.
#[tokio::test]
async fn a_revoked_token_ends_its_open_answers() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, 90_000)], patient()).await;
    let sized = vec![Step::say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789")];
    for (path, steps, mark, cost, told) in [
        ("/events/a", chunked(STREAM, &["data: 1\n\n"]), "data: 1\n\n", 1_000, true),
        ("/bytes/a", chunked("200 OK", &["0123456789"]), "0123456789", 100, false),
        ("/bytes/b", [sized, vec![Step::Hang, Step::Close]].concat(), "0123456789", 100, false),
        ("/plain/a", chunked("200 OK", &["0123456789"]), "0123456789", 0, false),
        ("/usage/a", chunked("200 OK", &["0123456789"]), "0123456789", 0, false),
    ] {
        origin.script(path, broken(steps, 1, Step::Hang));
        let credential = gate.buy(path).await;
        let seen = origin.seen(|seen| seen.broken);
        let mut stream = open(&gate, &head("GET", path, &credential.line())).await;
        let before = read_until(&mut stream, mark).await;
        gate.ledger.revoke(credential.hash).await.expect("revoked");
        let reply = read_rest(&mut stream, before).await;
        assert_eq!(reply.complete, told, "{path}");
        assert_eq!(reply.text().contains("\"code\":\"revoked\""), told, "{path}");
        // The upstream is left too.
        origin.until(|now| now.broken > seen).await;
        assert_books(&gate, &credential, (0, 0, cost), path).await;
        let again = gate.get(path, &credential.line()).await;
        assert_eq!((again.status, again.code().as_str()), (402, "revoked"), "{path}");
    }
}

/// Another token's answers go on.
#[tokio::test]
async fn a_revocation_ends_nothing_else() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin, 90_000)], patient()).await;
    let steps = [chunked(STREAM, &["data: 1\n\n"]), vec![]].concat();
    origin.script("/events/gated", broken(steps.clone(), 1, Step::Wait));
    let mut script = broken(steps, 1, Step::Wait);
    script.extend([Step::chunk("data: 2\n\n"), Step::say("0\r\n\r\n")]);
    origin.script("/events/gated", script);
    let (kept, other) = (gate.buy("/events/gated").await, gate.buy("/events/gated").await);
    let mut stream = open(&gate, &head("GET", "/events/gated", &kept.line())).await;
    let before = read_until(&mut stream, "data: 1\n\n").await;
    gate.ledger.revoke(other.hash).await.expect("revoked");
    origin.shared.gate.notify_one();
    let reply = read_rest(&mut stream, before).await;
    assert!(reply.complete && reply.text().ends_with("data: 2\n\n"), "{reply:?}");
    assert_books(&gate, &kept, (88_000, 0, 2_000), "kept").await;
}
