//! THREATS 3: a token that the operator takes back opens nothing from then on, whatever it was and
//! wherever it is in use.

use tokio::io::AsyncWriteExt;

use super::metered::{open, read_rest, read_until};
use super::offers::shop;
use super::upstream::{Origin, Step};
use super::{TestGate, head, patient};

const OFFERS: [&str; 4] = ["request", "pack-5", "hour", "purse"];

#[tokio::test]
async fn an_open_answer_of_every_kind_ends() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], patient()).await;
    let begun = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{begun}content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    let sized = format!("{begun}content-length: 100\r\n\r\n0123456789");
    origin.script("/chunked", vec![Step::say(chunked), Step::chunk("0123456789"), Step::Hang]);
    origin.script("/sized", vec![Step::say(sized), Step::Hang]);
    for offer in OFFERS {
        for path in ["/chunked", "/sized"] {
            let credential = gate.buy_offer(path, offer).await;
            let broken = origin.seen(|seen| seen.broken);
            let mut stream = open(&gate, &head("GET", path, &credential.line())).await;
            let before = read_until(&mut stream, "0123456789").await;
            gate.ledger.revoke(credential.hash).await.expect("revoked");
            let reply = read_rest(&mut stream, before).await;
            assert!(!reply.complete, "{offer} {path}: a part must not pass for the whole");
            origin.until(|seen| seen.broken > broken).await;
            let (left, held, _) = gate.settled(&credential).await;
            assert_eq!((left, held), (0, 0), "{offer} {path}");
            let again = gate.get("/ok", &credential.line()).await;
            assert_eq!((again.status, again.code().as_str()), (402, "revoked"), "{offer} {path}");
        }
    }
    gate.audited().await;
}

#[tokio::test]
async fn the_next_request_on_a_kept_connection_is_refused() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], patient()).await;
    for offer in &OFFERS[1..] {
        let credential = gate.buy_offer("/ok", offer).await;
        let kept = head("GET", "/ok", &credential.line()).replace("Connection: close\r\n", "");
        let mut stream = open(&gate, &kept).await;
        // Its body comes right behind its head, in one write or two.
        let first = read_until(&mut stream, "\r\n\r\n").await;
        assert!(first.starts_with(b"HTTP/1.1 200 "), "{offer}");
        gate.settled(&credential).await;
        let hits = origin.hits();
        gate.ledger.revoke(credential.hash).await.expect("revoked");
        stream.write_all(head("GET", "/ok", &credential.line()).as_bytes()).await.expect("sent");
        let rest = read_until(&mut stream, "\r\n\r\n").await;
        let text = String::from_utf8_lossy(&rest);
        assert!(text.contains("HTTP/1.1 402 "), "{offer}: {text}");
        assert_eq!(origin.hits(), hits, "{offer}");
    }
    gate.audited().await;
}

/// Somebody waits for the upstream's head, or is still sending.
#[tokio::test]
async fn who_waits_for_an_answer_is_told_at_once() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], patient()).await;
    for offer in OFFERS {
        let credential = gate.buy_offer("/ok", offer).await;
        let (hits, minted) = (origin.hits(), gate.minter.minted());
        let mut waiting = open(&gate, &head("GET", "/gated", &credential.line())).await;
        origin.until(|seen| seen.hits.len() > hits).await;
        gate.ledger.revoke(credential.hash).await.expect("revoked");
        let reply = read_rest(&mut waiting, Vec::new()).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, "revoked"), "{offer}");
        assert!(reply.header("www-authenticate").is_some() && gate.minter.minted() > minted, "a fresh offer");
        let (left, held, spent) = gate.settled(&credential).await;
        assert_eq!((left, held, spent), (0, 0, 0), "{offer}");
    }
    // In the middle of its own body.
    let credential = gate.buy("/ok").await;
    let hits = origin.hits();
    let upload = head("POST", "/ok", &format!("Content-Length: 1000\r\n{}", credential.line()));
    let mut sending = open(&gate, &format!("{upload}0123456789")).await;
    origin.until(|seen| seen.hits.len() > hits).await;
    gate.ledger.revoke(credential.hash).await.expect("revoked");
    let reply = read_rest(&mut sending, Vec::new()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "revoked"));
    gate.audited().await;
}
