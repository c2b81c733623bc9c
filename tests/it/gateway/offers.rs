//! What a buyer may choose, and what each choice opens: requests, packs, passes and balances.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tollhouse::catalog::{Offer, Offering, PathPattern, Route, Service, Terms, Upstream};
use tollhouse::checkout::CheckoutConfig;
use tollhouse::clock::FixedClock;
use tollhouse::pricing::{Rule, Tier, Tiers, Volume};
use tollhouse::types::Timestamp;

use super::client::Reply;
use super::upstream::Origin;
use super::{Credential, TestGate, patient, quick, sat};

fn offer(name: &str, what: Offering) -> Offer {
    Offer { name: name.parse().expect("a name"), what }
}

pub(super) fn amount<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is an amount"))
}

/// A request at 10 sat, 5 of them for 40, an hour for 100 sat, and 35 sat to draw from.
fn four() -> Terms {
    let pack = Offering::Pack { requests: 5, price: Some(amount("40 sat")) };
    let pass = Offering::Pass { lasts: Duration::from_secs(3_600), price: amount("100 sat") };
    let balance = Offering::Balance { value: amount("35 sat"), price: Some(amount("30 sat")) };
    Terms {
        offers: vec![
            offer("request", Offering::Request),
            offer("pack-5", pack),
            offer("hour", pass),
            offer("purse", balance),
        ],
        ..sat(10)
    }
}

/// Everything on those terms; but `/dear` costs 30 sat, with the same offers, and `/own` is 10 sat with
/// offers of its own.
pub(super) fn shop(origin: &Origin) -> Service {
    let upstream = Upstream::at(format!("http://{}/", origin.address).parse().expect("a URL"));
    let route = |name: &str, terms| {
        let path = PathPattern::Under(format!("/{name}"));
        Route::new(name.parse().expect("a name"), None, path, terms)
    };
    let own = Terms { scope: "own".parse().expect("a name"), ..four() };
    let dear = Terms { rule: sat(30).rule, ..four() };
    Service {
        routes: vec![route("dear", dear), route("own", own)],
        ..Service::new("api".parse().expect("a name"), "/", four(), upstream)
    }
}

fn offered(reply: &Reply) -> Vec<String> {
    let offers = reply.json()["offers"].as_array().expect("offers").clone();
    offers.iter().map(|o| format!("{} {} {}", o["offer"], o["units"], o["amountMsat"])).collect()
}

#[tokio::test]
async fn the_402_says_what_may_be_bought() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let reply = gate.get("/ok", "").await;
    let body = reply.json();
    assert_eq!(
        offered(&reply),
        [r#""request" 1 10000"#, r#""pack-5" 5 40000"#, r#""hour" 3600 100000"#, r#""purse" 35000 30000"#]
    );
    assert_eq!((body["offer"].as_str(), body["kind"].as_str()), (Some("request"), Some("request")));
    assert_eq!((body["units"].as_u64(), body["amountMsat"].as_u64()), (Some(1), Some(10_000)));
    assert_eq!(body["request"]["mostMsat"], 10_000);
    assert!(body["restore_on"].as_str().is_some_and(|text| text.contains("5xx")), "{body}");
    assert_eq!(
        body["lifetimes"],
        "The invoice can be paid for 15 minutes; the token is good for 1 day after that, and 2 hours more for a payment that arrives late."
    );
    assert_eq!(reply.header("preference-applied"), None);

    for (prefer, offer, reusable) in [
        ("l402-offer=pack-5", "pack-5", true),
        ("respond-async, L402-Offer=\"hour\"; x=1", "hour", true),
        ("l402-offer=purse", "purse", true),
        ("l402-offer=request", "request", false),
    ] {
        let reply = gate.get("/ok", &format!("Prefer: {prefer}\r\n")).await;
        assert_eq!((reply.status, reply.json()["offer"].as_str()), (402, Some(offer)), "{prefer}");
        assert_eq!(reply.json()["reusable"], reusable, "{prefer}");
        assert_eq!(reply.header("preference-applied"), Some(&*format!("l402-offer={offer}")), "{prefer}");
    }
    let long = format!("l402-offer={}", "a".repeat(5_000));
    for junk in ["l402-offer=nothing", "l402-offer", "l402-offer=\"", ";;,=,\"", "l402-offer=\u{e9}", &long] {
        let reply = gate.get("/ok", &format!("Prefer: {junk}\r\n")).await;
        assert_eq!((reply.status, reply.json()["offer"].as_str()), (402, Some("request")), "{junk}");
        assert_eq!(reply.header("preference-applied"), None, "{junk}");
    }
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn a_pack_opens_as_many_requests_as_it_has() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let pack = gate.buy_offer("/ok", "pack-5").await;
    // Dearer than a unit of it: never.
    let dear = gate.get("/dear/ok", &pack.line()).await;
    assert_eq!((dear.status, dear.code().as_str()), (402, "price_changed"));
    assert_eq!(origin.hits(), 0);
    // What costs as much opens, wherever in the service it lies.
    for round in 0..5 {
        let path = if round % 2 == 0 { "/ok" } else { "/own/ok" };
        assert_eq!(gate.get(path, &pack.line()).await.status, 200, "{round}");
    }
    let over = gate.get("/ok", &pack.line()).await;
    assert_eq!((over.status, over.code().as_str()), (402, "spent"));
    assert_eq!((gate.settled(&pack).await, origin.hits()), ((0, 0, 5), 5));
    gate.audited().await;
}

/// A price that was made for the cheap requests does not buy the dear ones.
#[tokio::test]
async fn a_packs_own_price_holds_where_it_was_made() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let reply = gate.get("/dear/ok", "Prefer: l402-offer=pack-5\r\n").await;
    assert_eq!(offered(&reply), [r#""request" 1 30000"#, r#""hour" 3600 100000"#, r#""purse" 35000 30000"#]);
    assert_eq!((reply.json()["offer"].as_str(), reply.header("preference-applied")), (Some("request"), None));
}

#[tokio::test]
async fn a_pass_opens_its_scope_and_nothing_else() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let pass = gate.buy_offer("/ok", "hour").await;
    let elsewhere = gate.get("/own/ok", &pass.line()).await;
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (402, "wrong_route"));
    assert_eq!(origin.hits(), 0);
    for path in ["/ok", "/dear/ok", "/ok", "/404"] {
        assert!(gate.get(path, &pass.line()).await.status < 500, "{path}");
    }
    assert_eq!(origin.hits(), 4);
    let own = gate.buy_offer("/own/ok", "hour").await;
    assert_eq!(gate.get("/ok", &own.line()).await.code(), "wrong_route");
    assert_eq!(gate.get("/own/ok", &own.line()).await.status, 200);
    gate.audited().await;
}

/// A pass may be begun until its time to begin is over, and then lasts its whole time.
#[tokio::test]
async fn a_pass_has_its_whole_time_from_its_first_use() {
    let origin = Origin::start().await;
    let mut shop = shop(&origin);
    shop.routes.clear();
    shop.terms = Arc::new(Terms { token_life: Some(Duration::from_secs(86_400)), ..four() });
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let gate = TestGate::at(clock.clone(), vec![shop], quick(), CheckoutConfig::default()).await;
    let early = gate.buy_offer("/ok", "hour").await;
    let late = gate.buy_offer("/ok", "hour").await;
    // 15 minutes for the invoice, two hours in which a payment may still arrive, and the day.
    clock.advance(Duration::from_secs(900 + 7_200 + 86_400 - 1));
    assert_eq!(gate.get("/ok", &early.line()).await.status, 200);
    clock.advance(Duration::from_secs(2));
    let over = gate.get("/ok", &late.line()).await;
    assert_eq!((over.status, over.code().as_str()), (402, "expired"));
    clock.advance(Duration::from_secs(3_500));
    assert_eq!(gate.get("/ok", &early.line()).await.status, 200, "its hour is not over");
    clock.advance(Duration::from_secs(200));
    let over = gate.get("/ok", &early.line()).await;
    assert_eq!((over.status, over.code().as_str()), (402, "expired"));
    assert_eq!(origin.hits(), 2);
    gate.audited().await;
}

#[tokio::test]
async fn a_balance_pays_each_price() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let purse = gate.buy_offer("/ok", "purse").await;
    assert_eq!(gate.get("/dear/ok", &purse.line()).await.status, 200);
    let (left, _, spent) = gate.settled(&purse).await;
    assert_eq!((left, spent), (5_000, 30_000));
    let short = gate.get("/ok", &purse.line()).await;
    assert_eq!((short.status, short.code().as_str()), (402, "balance_too_small"));
    assert!(short.header("www-authenticate").is_some());
    assert_eq!(gate.settled(&purse).await, (5_000, 0, 30_000));
    // It comes back whole when nothing was delivered.
    let other = gate.buy_offer("/ok", "purse").await;
    assert_eq!(gate.get("/500", &other.line()).await.status, 500);
    assert_eq!(gate.settled(&other).await, (35_000, 0, 0));
    gate.audited().await;
}

/// THREATS 1, for a balance.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_draw_no_more_than_there_is() {
    let origin = Origin::start().await;
    let mut shop = shop(&origin);
    let purse = Offering::Balance { value: amount("100 sat"), price: None };
    shop.terms = Arc::new(Terms { offers: vec![offer("purse", purse)], ..sat(10) });
    shop.routes.clear();
    let gate = Arc::new(TestGate::with(vec![shop], patient()).await);
    let purse = gate.buy("/ok").await;
    let replies = join_all((0..64).map(|_| {
        let (gate, line) = (Arc::clone(&gate), purse.line());
        async move { gate.get("/ok", &line).await }
    }))
    .await;
    let count = |status| replies.iter().filter(|r| r.status == status).count();
    assert_eq!((count(200), origin.hits()), (10, 10));
    assert_eq!(count(402) + count(409), 54);
    assert_eq!(gate.settled(&purse).await, (0, 0, 100_000));
    gate.audited().await;
}

/// What a holder appends changes nothing of what was sold.
#[tokio::test]
async fn what_was_sold_cannot_be_said_otherwise() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let request = gate.buy("/ok").await;
    for caveat in [
        "offer=pass",
        "offer=balance",
        "units=3600",
        "units=18446744073709551615",
        "covers_msat=30000",
        "sold_msat=30000",
        "quote=1 USD@1",
        "route=dear",
        "services=api:1",
    ] {
        let forged = narrowed(&request, caveat);
        let reply = gate.get("/dear/ok", &forged.line()).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, "caveat_widens"), "{caveat}");
    }
    // The minted ones overwritten in place break the chain.
    let token = request.header.strip_prefix("L402 ").and_then(|rest| rest.split_once(':')).expect("a token");
    let bytes = decoded(token.0);
    let from = b"offer=request".as_slice();
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the caveat");
    let mut forged = bytes.clone();
    forged[at..at + from.len()].copy_from_slice(b"offer=balance");
    let header = format!("Authorization: L402 {}:{}\r\n", encoded(&forged), token.1);
    assert_eq!(gate.get("/dear/ok", &header).await.code(), "bad_signature");
    assert_eq!(origin.hits(), 0);
    assert_eq!(gate.get("/ok", &request.line()).await.status, 200);
}

/// The token with one caveat more, as its holder may make it.
fn narrowed(credential: &Credential, caveat: &str) -> Credential {
    let token = credential.header.strip_prefix("L402 ").expect("our scheme");
    let (token, preimage) = token.split_once(':').expect("a preimage");
    let bytes = decoded(token);
    // Version 2: the signature is the last field, 2 bytes of tag and length and 32 of its own.
    let (body, signature) = bytes.split_at(bytes.len() - 34);
    let (caveats, end) = body.split_at(body.len() - 1);
    let length = u8::try_from(caveat.len()).expect("short");
    let mac =
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &signature[2..]), caveat.as_bytes());
    let longer =
        [caveats, &[2, length], caveat.as_bytes(), &[0], end, &signature[..2], mac.as_ref()].concat();
    Credential { header: format!("L402 {}:{preimage}", encoded(&longer)), hash: credential.hash }
}

fn decoded(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A price below a satoshi is sold: singly where the channels carry it, else as the next offer.
#[tokio::test]
async fn less_than_a_satoshi_is_a_price() {
    let origin = Origin::start().await;
    let mut cheap = shop(&origin);
    cheap.routes.clear();
    cheap.terms = Arc::new(Terms {
        offers: vec![
            offer("request", Offering::Request),
            offer("pack", Offering::Pack { requests: 100, price: None }),
        ],
        ..Terms::fixed(amount("250 msat"))
    });
    let gate = TestGate::with(vec![cheap], quick()).await;
    let single = gate.get("/ok", "").await;
    assert_eq!(
        (single.json()["amountMsat"].as_u64(), single.json()["amountSats"].as_u64()),
        (Some(250), Some(1))
    );
    assert_eq!(single.json()["amount"], "0.25 sat");
    assert_eq!(gate.get("/ok", &gate.pay(&single).line()).await.status, 200);

    // The channels take nothing below a satoshi: the pack is sold, and said to be.
    *gate.minter.smallest.lock().expect("no test panics here") = Some(amount("1 sat"));
    let reply = gate.get("/ok", "Prefer: l402-offer=request\r\n").await;
    assert_eq!(
        (reply.json()["offer"].as_str(), reply.json()["amountMsat"].as_u64()),
        (Some("pack"), Some(25_000))
    );
    assert_eq!(reply.header("preference-applied"), None);
    let pack = gate.pay(&reply);
    assert_eq!(gate.get("/ok", &pack.line()).await.status, 200);
    assert_eq!(gate.settled(&pack).await, (99, 0, 1));
    gate.audited().await;
}

/// Tiers by requests: a pack costs their sum, and each request of a balance what is its turn.
#[tokio::test]
async fn tiers_count_what_the_token_was_used_for() {
    let origin = Origin::start().await;
    let tier = |up_to, price: &str| Tier { up_to, price: amount(price) };
    let tiers =
        Tiers::new(Volume::Requests, vec![tier(Some(2), "5 sat"), tier(None, "1 sat")]).expect("tiers");
    let mut tiered = shop(&origin);
    tiered.routes.clear();
    tiered.terms = Arc::new(Terms {
        rule: Rule::Tiers(tiers),
        offers: vec![
            offer("purse", Offering::Balance { value: amount("13 sat"), price: None }),
            offer("pack", Offering::Pack { requests: 4, price: None }),
        ],
        ..sat(1)
    });
    let gate = TestGate::with(vec![tiered], quick()).await;
    let reply = gate.get("/ok", "").await;
    assert_eq!(offered(&reply), [r#""purse" 13000 13000"#, r#""pack" 4 12000"#]);
    let purse = gate.pay(&reply);
    for spent in [5_000, 10_000, 11_000, 12_000, 13_000] {
        assert_eq!(gate.get("/ok", &purse.line()).await.status, 200, "{spent}");
        assert_eq!(gate.settled(&purse).await, (13_000 - spent, 0, spent));
    }
    assert_eq!(gate.get("/ok", &purse.line()).await.status, 402);

    let pack = gate.buy_offer("/ok", "pack").await;
    for _ in 0..4 {
        assert_eq!(gate.get("/ok", &pack.line()).await.status, 200);
    }
    assert_eq!(gate.get("/ok", &pack.line()).await.code(), "spent");
    gate.audited().await;
}

/// MONEY 2: what was sold with a pack is so many requests together. While they are sold together for no more, a unit is
/// good, whatever one request costs by now; and not one moment longer, nor anywhere else.
#[tokio::test]
async fn a_pack_stays_good_while_it_is_on_sale_for_what_was_paid() {
    let origin = Origin::start().await;
    let with = |one: u64, pack: Option<(u64, &str)>| {
        let pack = pack.map(|(requests, price)| Offering::Pack { requests, price: Some(amount(price)) });
        let offers =
            [Some(offer("request", Offering::Request)), pack.map(|pack| offer("pack", pack))].into_iter();
        let base = shop(&origin);
        let terms = Terms { offers: offers.flatten().collect(), ..sat(one) };
        Service { terms: Arc::new(terms), ..base }
    };
    let told = async |gate: &TestGate, credential: &Credential| {
        let told = gate.get("/.well-known/l402/token", &credential.line()).await.json();
        (told["state"].as_str().map(str::to_owned), told["code"].as_str().map(str::to_owned))
    };
    let says = |state: &str, code: &str| (Some(state.to_owned()), Some(code.to_owned()));
    let gate = TestGate::with(vec![with(10, Some((5, "40 sat")))], quick()).await;
    let (pack, single) = (gate.buy_offer("/ok", "pack").await, gate.buy("/ok").await);

    // One request costs twice as much; five together what they did.
    gate.sell(vec![with(20, Some((5, "40 sat")))]);
    assert_eq!(gate.get("/ok", &pack.line()).await.status, 200);
    assert_eq!(told(&gate, &pack).await, says("open", "open"));
    assert_eq!(
        gate.get("/ok", &single.line()).await.code(),
        "price_changed",
        "one was sold, and it is dearer"
    );
    // What is dearer than that, and was not sold with it, is not opened by it: the pack is not priced for it.
    assert_eq!(gate.get("/dear/ok", &pack.line()).await.code(), "price_changed");
    gate.sell(vec![with(20, Some((7, "39 sat")))]);
    assert_eq!(gate.get("/ok", &pack.line()).await.status, 200, "more for less");
    // As the pack itself becomes dearer, smaller or goes, it is as any that was sold for less.
    for pack_now in [Some((5, "40001 msat")), Some((4, "30 sat")), None] {
        let mut now = with(20, pack_now);
        now.routes.clear();
        gate.sell(vec![now]);
        assert_eq!(gate.get("/ok", &pack.line()).await.code(), "price_changed", "{pack_now:?}");
        assert_eq!(told(&gate, &pack).await, says("refused", "price_changed"), "{pack_now:?}");
    }
    gate.sell(vec![with(20, Some((5, "40 sat")))]);
    for _ in 0..3 {
        assert_eq!(gate.get("/ok", &pack.line()).await.status, 200, "good again, and nothing was lost");
    }
    assert_eq!(gate.get("/ok", &pack.line()).await.code(), "spent");
    assert_eq!(gate.settled(&pack).await, (0, 0, 5));
    // What is used up is used up at any price: nobody has anything of it to lose.
    gate.sell(vec![with(20, None)]);
    assert_eq!(gate.get("/ok", &pack.line()).await.code(), "spent");
    assert_eq!(origin.hits(), 5);
    gate.audited().await;
}

/// A pack that was priced in dollars is on sale for what was paid as long as it costs as many dollars.
#[tokio::test]
async fn a_pack_in_dollars_stays_what_it_was_in_dollars() {
    let origin = Origin::start().await;
    let with = |one: &str, pack: &str| {
        let pack = Offering::Pack { requests: 5, price: Some(amount(pack)) };
        let rule = Rule::Fixed(amount(one));
        let base = shop(&origin);
        let terms = Terms { rule, offers: vec![offer("pack", pack)], ..sat(1) };
        Service { terms: Arc::new(terms), routes: Vec::new(), ..base }
    };
    let gate = TestGate::with(vec![with("0.01 USD", "0.04 USD")], quick()).await;
    gate.market.set_usd(Some("50000"));
    let pack = gate.buy("/ok").await;
    // Bitcoin halves, and one request costs twice as many dollars.
    gate.market.set_usd(Some("25000"));
    gate.sell(vec![with("0.02 USD", "0.04 USD")]);
    assert_eq!(gate.get("/ok", &pack.line()).await.status, 200);
    gate.market.set_usd(None);
    assert_eq!(
        gate.get("/ok", &pack.line()).await.status,
        200,
        "nobody knows the rate: what was sold is delivered"
    );
    gate.market.set_usd(Some("25000"));
    gate.sell(vec![with("0.02 USD", "0.041 USD")]);
    assert_eq!(gate.get("/ok", &pack.line()).await.code(), "price_changed");
    gate.audited().await;
}

/// A pack by tiers costs less than as many of its dearest requests, so what it opens elsewhere is what was
/// paid for a unit.
#[tokio::test]
async fn a_pack_by_tiers_does_not_open_a_dearer_route_for_less() {
    let origin = Origin::start().await;
    let tier = |up_to, price: &str| Tier { up_to, price: amount(price) };
    let tiers = Tiers::new(Volume::Requests, vec![tier(Some(1), "30 sat"), tier(None, "1 sat")]);
    let mut tiered = shop(&origin);
    tiered.terms = Arc::new(Terms {
        rule: Rule::Tiers(tiers.expect("tiers")),
        offers: vec![
            offer("few", Offering::Balance { value: amount("29 sat"), price: None }),
            offer("pack", Offering::Pack { requests: 10, price: None }),
        ],
        ..sat(1)
    });
    let gate = TestGate::with(vec![tiered], quick()).await;
    let reply = gate.get("/ok", "").await;
    assert_eq!(offered(&reply), [r#""pack" 10 39000"#], "no balance that pays for no first request");
    let pack = gate.pay(&reply);
    for path in ["/dear/ok", "/own/ok"] {
        let refused = gate.get(path, &pack.line()).await;
        assert_eq!((refused.status, refused.code().as_str()), (402, "price_changed"), "{path}");
    }
    assert_eq!(origin.hits(), 0);
    for _ in 0..10 {
        assert_eq!(gate.get("/ok", &pack.line()).await.status, 200);
    }
    gate.audited().await;
}

/// While the rate is unknown a request costs the fallback, and the pack's own price was not made for it.
#[tokio::test]
async fn a_pack_at_its_own_price_is_not_sold_by_the_fallback() {
    let origin = Origin::start().await;
    let mut fiat = shop(&origin);
    fiat.terms = Arc::new(Terms {
        rule: Rule::Fixed(amount("0.001 XYZ")),
        fallback: Some(amount("30 sat")),
        offers: vec![
            offer("pack", Offering::Pack { requests: 10, price: Some(amount("20 sat")) }),
            offer("request", Offering::Request),
        ],
        ..sat(1)
    });
    let gate = TestGate::with(vec![fiat], quick()).await;
    let reply = gate.get("/ok", "Prefer: l402-offer=pack\r\n").await;
    assert_eq!(offered(&reply), [r#""request" 1 30000"#]);
}
