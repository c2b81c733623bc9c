//! What opens the gate, and what is told to those that do not.

use tollhouse::catalog::RouteTable;

use super::upstream::Origin;
use super::{TestGate, quick, service};

#[tokio::test]
async fn a_token_for_one_service_does_not_open_another() {
    let origin = Origin::start().await;
    let mut other = service(&origin);
    other.name = "other".parse().expect("a name");
    other.path = "/other".to_owned();
    other.routes.clear();
    let gate = TestGate::with(vec![service(&origin), other], quick()).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/other/ok", &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "wrong_service"));
    assert_eq!(origin.hits(), 0);
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200, "nothing was debited");
}

#[tokio::test]
async fn what_does_not_verify_gets_a_fresh_402() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let other = gate.buy("/ok").await;
    let (macaroon, preimage) = credential.header.split_once(':').expect("both");
    let (_, wrong) = other.header.split_once(':').expect("both");
    let mut forged = macaroon.to_owned();
    forged.replace_range(forged.len() - 12..forged.len() - 8, "AAAA");
    for (header, code) in [
        (format!("{macaroon}:{wrong}"), "preimage_mismatch"),
        (format!("{macaroon}:{}", "00".repeat(32)), "preimage_mismatch"),
        (macaroon.to_owned(), "preimage_missing"),
        (format!("{macaroon}:"), "preimage_missing"),
        (format!("{forged}:{preimage}"), "bad_signature"),
        (format!("L402 AAAA:{preimage}"), "macaroon_undecodable"),
        // Knowing hash and preimage, as every routing node does, opens nothing (THREATS 5).
        (format!("Bearer {preimage}"), "payment_required"),
    ] {
        let reply = gate.get("/ok", &format!("Authorization: {header}\r\n")).await;
        assert_eq!((reply.status, reply.code()), (402, code.to_owned()), "{header}");
        assert!(reply.header("www-authenticate").is_some());
    }
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_bad_request() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let minted = gate.minter.minted();
    for line in [
        "Authorization: L402\r\n".to_owned(),
        "Authorization: L402 !!!:00\r\n".to_owned(),
        "Authorization: LSAT AAAA:xyz\r\n".to_owned(),
        "Macaroon: not-hex\r\n".to_owned(),
        format!("Authorization: L402 {}:00\r\n", "A".repeat(17_000)),
    ] {
        let reply = gate.get("/ok", &line).await;
        assert_eq!(reply.status, 400, "{line:.60}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert!(reply.header("www-authenticate").is_none());
    }
    assert_eq!((gate.minter.minted(), origin.hits()), (minted, 0));
}

/// The first that verifies decides, and one is charged.
#[tokio::test]
async fn several_credentials_cost_one_unit() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let (one, two) = (gate.buy("/ok").await, gate.buy("/ok").await);
    let (macaroon, _) = one.header.split_once(':').expect("both");
    let bad = format!("Authorization: {macaroon}:{}\r\n", "11".repeat(32));
    let lines = format!("{bad}{}{}", one.line(), two.line());
    let reply = gate.get("/ok", &lines).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(gate.settled(&one).await, (0, 0, 1));
    assert_eq!(gate.get("/ok", &two.line()).await.status, 200, "the second was not touched");
    let twice = gate.get("/ok", &format!("{}{}", one.line(), one.line())).await;
    assert_eq!((twice.status, twice.code().as_str()), (402, "spent"));
}

#[tokio::test]
async fn a_free_path_asks_for_nothing_and_takes_nothing() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/free/ok", &credential.line()).await;
    assert_eq!((reply.status, reply.header("x-tollhouse-unit")), (200, None));
    assert!(origin.last().header("authorization").is_empty(), "the token stays here all the same");
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200, "it was not spent");
    // A free path with a broken upstream promises no unit.
    let reply = gate.get("/free/rst", "").await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_failed"));
    assert!(!reply.text().contains("unspent"));
}

#[tokio::test]
async fn a_service_that_is_gone_sells_nothing() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    gate.catalog.swap(RouteTable::default());
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 404);
    assert_eq!(origin.hits(), 0);
}
