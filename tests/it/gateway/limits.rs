//! How often one may ask without paying, and who that one is (THREATS 6, issue 4).

use std::time::Duration;

use tollhouse::checkout::CheckoutConfig;
use tollhouse::clock::FixedClock;
use tollhouse::proxy::ProxyConfig;
use tollhouse::request::{ForwardedBy, Proxies};
use tollhouse::throttle::Limits;
use tollhouse::types::Timestamp;

use super::upstream::Origin;
use super::{TestGate, head, quick, service};

/// Behind a proxy on this machine, so that a test may come from anywhere.
fn behind_a_proxy(by: ForwardedBy) -> ProxyConfig {
    let trusted = vec!["127.0.0.0/8".parse().expect("a network"), "10.0.0.0/8".parse().expect("a network")];
    ProxyConfig { proxies: Proxies { trusted, by }, ..quick() }
}

fn limits(challenges: &str, failures: &str) -> CheckoutConfig {
    let rate = |text: &str| (!text.is_empty()).then(|| text.parse().expect("a rate"));
    let limits = Limits { challenges: rate(challenges), failures: rate(failures), ..Limits::default() };
    CheckoutConfig { limits, ..CheckoutConfig::default() }
}

fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[tokio::test]
async fn past_the_bucket_no_invoice_is_made_and_it_is_said_how_long() {
    let origin = Origin::start().await;
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let config = behind_a_proxy(ForwardedBy::XForwarded);
    let gate = TestGate::at(clock.clone(), vec![service(&origin)], config, limits("3 per minute", "")).await;
    let mine = from("192.0.2.7");
    for _ in 0..3 {
        assert_eq!(gate.get("/ok", &mine).await.status, 402);
    }
    for client in ["192.0.2.7", "192.0.2.200", "6.6.6.6, 192.0.2.9", "192.0.2.1, 10.0.0.1"] {
        let reply = gate.get("/ok", &from(client)).await;
        assert_eq!((reply.status, reply.code().as_str()), (429, "too_many_challenges"), "{client}");
        assert_eq!(reply.header("retry-after"), Some("20"), "{client}");
        assert_eq!(
            (reply.header("www-authenticate"), reply.header("cache-control")),
            (None, Some("no-store"))
        );
    }
    assert_eq!(gate.minter.minted(), 3, "a refused one cost no invoice");
    assert_eq!(gate.get("/ok", &from("192.0.3.7")).await.status, 402, "another network");
    assert_eq!(gate.get("/free/ok", &mine).await.status, 200, "what is free stays free");
    clock.advance(Duration::from_secs(20));
    assert_eq!(gate.get("/ok", &mine).await.status, 402, "one came back");
    assert_eq!(gate.get("/ok", &mine).await.status, 429);
    gate.audited().await;
}

#[tokio::test]
async fn who_pays_is_never_refused() {
    let origin = Origin::start().await;
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let config = behind_a_proxy(ForwardedBy::XForwarded);
    let gate = TestGate::at(clock, vec![service(&origin)], config, limits("2 per hour", "1 per hour")).await;
    let mine = from("192.0.2.7");
    for _ in 0..10 {
        // Each challenge that was paid comes back.
        let reply = gate.get("/ok", &mine).await;
        assert_eq!(reply.status, 402, "{reply:?}");
        let line = gate.pay(&reply).line();
        assert_eq!(gate.get("/ok", &format!("{mine}{line}")).await.status, 200);
    }
    let bought = gate.pay(&gate.get("/ok", &mine).await);
    // A neighbour uses up whatever there is.
    let forged = bought.header.split(':').next().expect("a macaroon").to_owned() + ":" + &"7".repeat(64);
    let forged = format!("{mine}Authorization: {forged}\r\n");
    assert_eq!(gate.get("/ok", &forged).await.code(), "preimage_mismatch");
    for _ in 0..5 {
        let refused = gate.get("/ok", &forged).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_failures"));
        assert_eq!(refused.header("retry-after"), Some("3600"));
    }
    assert_eq!(gate.get("/ok", &mine).await.code(), "too_many_challenges");
    let minted = gate.minter.minted();
    assert_eq!(gate.get("/ok", &format!("{mine}{}", bought.line())).await.status, 200, "it is paid for");
    let spent = gate.get("/ok", &format!("{mine}{}", bought.line())).await;
    assert_eq!((spent.status, spent.code().as_str()), (429, "too_many_failures"), "a spent one is not");
    assert_eq!((gate.minter.minted(), origin.hits()), (minted, 11));
    gate.audited().await;
}

/// A credential of the `Payment` scheme that is not good counts as one of ours.
#[tokio::test]
async fn bad_credentials_of_either_scheme_fill_one_bucket() {
    let origin = Origin::start().await;
    let gate = TestGate::selling(vec![service(&origin)], quick(), limits("", "2 per hour")).await;
    let payment = "Authorization: Payment eyJjaGFsbGVuZ2UiOnsiaWQiOiJ4IiwicmVhbG0iOiJhcGkuZXhhbXBsZSIsIm1ldGhvZCI6\
                   ImxpZ2h0bmluZyIsImludGVudCI6ImNoYXJnZSIsInJlcXVlc3QiOiJlMzAifSwicGF5bG9hZCI6eyJwcmVpbWFnZSI6\
                   IjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAifX0\r\n";
    let unpaid = gate.get("/ok", "").await;
    let macaroon = unpaid.json()["macaroon"].as_str().expect("text").to_owned();
    let ours = format!("Authorization: L402 {macaroon}:{}\r\n", "7".repeat(64));
    assert_eq!(gate.get("/ok", payment).await.status, 402);
    assert_eq!(gate.get("/ok", &ours).await.status, 402);
    for lines in [payment, &ours] {
        let refused = gate.get("/ok", lines).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_failures"), "{lines}");
    }
    assert_eq!(gate.get("/ok", "").await.status, 402, "who shows none is not held up");
}

/// Whoever is not a trusted proxy speaks for nobody.
#[tokio::test]
async fn a_header_from_elsewhere_moves_nobody() {
    let origin = Origin::start().await;
    for (lines, seen) in [
        (from("192.0.2.7"), "127.0.0.1"),
        ("Forwarded: for=192.0.2.7;host=paid.example;proto=https\r\n".to_owned(), "127.0.0.1"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Host: other.example\r\n".to_owned(), "127.0.0.1"),
    ] {
        let gate = TestGate::selling(vec![service(&origin)], quick(), limits("1 per hour", "")).await;
        assert_eq!(gate.get("/free/ok", &lines).await.status, 200);
        let hit = origin.last();
        assert_eq!(hit.header("x-forwarded-for"), [seen], "{lines}");
        assert_eq!(
            (hit.header("x-forwarded-proto"), hit.header("x-real-ip")),
            (vec!["http".to_owned()], vec![seen.to_owned()])
        );
        assert_eq!(
            (hit.header("x-forwarded-host"), hit.header("forwarded")),
            (vec!["api.example".to_owned()], vec![])
        );
        assert_eq!(gate.get("/ok", &lines).await.status, 402);
        assert_eq!(gate.get("/ok", &from("203.0.113.9")).await.status, 429, "the connection counts");
    }
}

/// What a trusted proxy says is what upstreams read, and what a service is found by.
#[tokio::test]
async fn a_trusted_proxy_says_who_asks_and_how() {
    let origin = Origin::start().await;
    let mut other = service(&origin);
    other.name = "other".parse().expect("a name");
    other.host = Some("other.example".to_owned());
    let services = || vec![service(&origin), other.clone()];
    let gate = TestGate::with(services(), behind_a_proxy(ForwardedBy::XForwarded)).await;
    let lines = "X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.9.9.9\r\nX-Forwarded-Proto: https\r\n\
                 X-Forwarded-Host: Other.example:443\r\nForwarded: for=6.6.6.6\r\n";
    assert_eq!(gate.get("/free/ok", lines).await.status, 200);
    let hit = origin.last();
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-real-ip", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "other.example"),
        ("x-tollhouse-service", "other"),
    ] {
        assert_eq!(hit.header(name), [value], "{name}");
    }
    assert!(hit.header("forwarded").is_empty());
    for (lines, code) in [
        ("X-Forwarded-Host: a\r\nX-Forwarded-Host: b\r\n", "bad_forwarded_header"),
        ("X-Forwarded-Host: a, b\r\n", "bad_host"),
        ("X-Forwarded-Host: u@a\r\n", "bad_host"),
        ("X-Forwarded-Proto: gopher\r\n", "bad_forwarded_header"),
    ] {
        let reply = gate.get("/free/ok", lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{lines}");
    }
    let gate = TestGate::with(services(), behind_a_proxy(ForwardedBy::Forwarded)).await;
    let lines = "Forwarded: for=6.6.6.6, for=\"192.0.2.8:1\";proto=https;host=other.example\r\n\
                 X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: api.example\r\n";
    assert_eq!(gate.ask(&head("GET", "/free/ok", lines)).await.status, 200);
    let hit = origin.last();
    assert_eq!(hit.header("x-forwarded-for"), ["192.0.2.8"]);
    assert_eq!(hit.header("x-tollhouse-service"), ["other"]);
}
