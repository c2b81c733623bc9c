//! Volume tiers: what a token was used for before decides what the next request costs.

use tollhouse::pricing::{Size, Tier, Tiers, Volume};

use super::*;

/// Sells balances of `balance` for what costs by these tiers: up to where, and how many millisatoshi.
async fn gate(origin: &Origin, volume: Volume, tiers: [(Option<u64>, u64); 2], balance: u64) -> TestGate {
    let tiers = tiers.map(|(up_to, price)| Tier { up_to, price: Amount::Msat(msat(price)) });
    let rule = Rule::Tiers(Tiers::new(volume, tiers.to_vec()).expect("tiers"));
    let upstream = Upstream::at(format!("http://{}/", origin.address).parse().expect("a URL"));
    let terms = Terms { rule, ..drawn(balance) };
    let service = Service::new("api".parse().expect("a name"), "/", terms, upstream);
    TestGate::with(vec![service], patient()).await
}

#[tokio::test]
async fn the_first_requests_cost_more() {
    let origin = Origin::start().await;
    let gate = gate(&origin, Volume::Requests, [(Some(2), 2_000), (None, 1_000)], 6_000).await;
    let credential = gate.buy("/ok").await;
    for (path, amount, spent) in
        [("/ok", "2000", 2_000), ("/500", "0", 2_000), ("/ok", "2000", 4_000), ("/ok", "1000", 5_000)]
    {
        let reply = gate.get(path, &credential.line()).await;
        assert_eq!(reply.header("x-tollhouse-amount-msat"), Some(amount), "{path}");
        assert_books(&gate, &credential, (6_000 - spent, 0, spent), path).await;
    }
}

/// What is there pays for the cheapest tier, and the request is in the dearest.
#[tokio::test]
async fn a_request_that_turns_out_dearer_is_not_sent() {
    let origin = Origin::start().await;
    let gate = gate(&origin, Volume::Requests, [(Some(2), 2_000), (None, 1_000)], 3_000).await;
    let credential = gate.buy("/ok").await;
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    let reply = gate.get("/ok", &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "balance_too_small"));
    assert_eq!(origin.hits(), 1);
    assert_books(&gate, &credential, (1_000, 0, 2_000), "released").await;
}

#[tokio::test]
async fn bytes_are_counted_over_all_answers() {
    let origin = Origin::start().await;
    let volume = Volume::Bytes { per: Size::new(1), ceiling: msat(50_000) };
    let gate = gate(&origin, volume, [(Some(100), 10), (None, 1)], 90_000).await;
    let sixty = "x".repeat(60);
    origin.script("/sixty", sized("200 OK", &sixty));
    origin.script("/broken", broken(chunked("200 OK", &[&sixty, "more"]), 2, Step::Close));
    let credential = gate.buy("/sixty").await;
    for (path, spent) in [("/sixty", 600), ("/broken", 1_020), ("/sixty", 1_080)] {
        gate.get(path, &credential.line()).await;
        assert_books(&gate, &credential, (90_000 - spent, 0, spent), path).await;
    }
}
