//! A dearer price, and what customers have bought before it: asked about on the page, told to programs and in the
//! terminal, with how many tokens and how much of them it touches.

use std::time::Duration;

use serde_json::{Value, json};
use tollhouse::clock::Clock;
use tollhouse::ledger::Bought;
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::web::keys::Scope;

use super::sell::{sell, upstream};
use super::sell_saved::{Person, hidden, text};
use crate::admin_app::{AdminApp, ok};

#[tokio::test(flavor = "multi_thread")]
async fn a_dearer_price_is_asked_about_when_customers_hold_tokens() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let api = upstream().await;
    let offers = "price = \"5 sat\"\noffers = [\"request\", { pack = 10 }]";
    sell(&app, &text(&api, offers)).await;
    let edits = async |price: &str| {
        let (seen, toml) = (person.seen(), text(&api, &offers.replace("5 sat", price)));
        // What was changed in one second has one mark: the next form must not look like an old one.
        app.clock.advance(Duration::from_secs(1));
        person.posts("/services/rates/text", &[("toml", &toml), ("seen", &seen)]).await
    };
    assert_eq!(edits("6 sat").await.to, "/services/rates?said=saved", "nobody has bought anything");
    assert_eq!(edits("5 sat").await.to, "/services/rates?said=saved");

    // A pack, of which one request is used; and a token with a budget.
    let ask = [("method", "GET"), ("target", "/v1/x"), ("offer", "pack-10"), ("do", "ask")];
    let due = person.posts("/services/rates/try", &ask).await;
    let mut fields = hidden(&due.page);
    fields.push(("do".to_owned(), "pay".to_owned()));
    let pay: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let paid = person.posts("/services/rates/try", &pay).await;
    assert!(paid.page.contains("Paid 50 sat"), "{}", paid.page);
    app.ledger.barrier().await;
    let key = app.key(&[Scope::Admin]).await;
    let gift = json!({ "service": "rates", "label": "a friend", "budget": "700 sat" });
    let given = app.change("/api/v1/tokens/grant", &key, gift).await;
    assert_eq!(given.status(), 201, "{}", given.text().await.expect("a text"));

    assert_eq!(edits("4 sat").await.to, "/services/rates?said=saved", "a lower price takes nothing away");
    assert_eq!(edits("5 sat").await.status, 200, "the balance buys less again");
    let apply = async |price: &str, dry: bool| {
        let service = json!({ "name": "rates", "path": "/v1", "upstream": api, "price": price,
            "offers": ["request", { "pack": 10 }] });
        let body = json!({ "services": [service], "dry_run": dry });
        let told: Value = ok(app.change("/api/v1/services/apply", &key, body).await).await;
        told["rises"].clone()
    };
    let touched = |price: &str, tokens: u64, left: u64| {
        json!([{ "service": "rates", "requests": [], "certain": true,
            "prices": [{ "requests": ["/v1/*"], "before": "4 sat", "after": price, "certain": true }], "refused_tokens": tokens,
            "refused_requests": left, "balance_tokens": 0, "balance_left_msat": 0, "given_tokens": 1,
            "given_left_msat": 700_000 }])
    };
    let covered = touched("5 sat", 0, 0);
    assert_eq!(apply("5 sat", true).await, covered, "the pack covers it: it was sold at that price");
    assert_eq!(apply("9 sat", true).await, touched("9 sat", 1, 9));
    assert_eq!(apply("5 sat", false).await, covered);

    // Asking is not doing; yes is.
    let asked = edits("9 sat").await;
    for said in [
        "Change the price of “rates”?",
        "Every request of rates costs 9 sat instead of 5 sat.",
        "1 sold token with 9 paid requests left: sold for less",
        "1 given token with 700 sat left in all, which nobody paid for",
        ">Change the price</button>",
        "Whatever else you changed is saved with it.",
    ] {
        assert!(asked.page.contains(said), "{said}: {}", asked.page);
    }
    assert!(!asked.page.contains("balance"), "none was sold: {}", asked.page);
    let price = || app.op.parts.storefront.stock()[0].spec.to_json()["price"].clone();
    assert_eq!(price(), "5 sat");
    assert_eq!(person.says_yes("/services/rates/text", &asked).await.to, "/services/rates?said=saved");
    assert_eq!(price(), "9 sat");
    // What was bought is refused, with an offer: it was said so.
    let again = person.posts("/services/rates/try", &pay).await;
    assert!(!again.page.contains("Paid 90 sat"), "{}", again.page);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_still_on_offer_stays_good_and_every_face_says_so() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let api = upstream().await;
    let offers = |one: &str, pack: &str| {
        format!("price = \"{one}\"\noffers = [\"request\", {{ pack = 10, price = \"{pack}\" }}]")
    };
    sell(&app, &text(&api, &offers("10 sat", "90 sat"))).await;
    let edits = async |one: &str, pack: &str| {
        let (seen, toml) = (person.seen(), text(&api, &offers(one, pack)));
        app.clock.advance(Duration::from_secs(1));
        person.posts("/services/rates/text", &[("toml", &toml), ("seen", &seen)]).await
    };
    let ask = [("method", "GET"), ("target", "/v1/x"), ("offer", "pack-10"), ("do", "ask")];
    let due = person.posts("/services/rates/try", &ask).await;
    let mut fields = hidden(&due.page);
    fields.push(("do".to_owned(), "pay".to_owned()));
    let pay: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(person.posts("/services/rates/try", &pay).await.page.contains("Paid 90 sat"));
    app.ledger.barrier().await;
    let key = app.key(&[Scope::Admin]).await;
    let listed = async || {
        let told: Value = ok(app.read("/api/v1/tokens", &key).await).await;
        (told["tokens"][0]["state"].clone(), told["tokens"][0]["price_refused"].clone())
    };
    let page = async || person.reads("/tokens").await;

    // One request costs twice as much. Nobody who holds the pack is touched: nothing is asked.
    assert_eq!(edits("20 sat", "90 sat").await.to, "/services/rates?said=saved");
    assert_eq!(listed().await, (json!("left"), Value::Null));
    assert!(page().await.contains(">Live</span>"));

    // The pack itself becomes dearer: that is asked about, as what it is.
    let asked = edits("20 sat", "210 sat").await;
    for said in [
        "10 requests of rates together cost 210 sat instead of 90 sat.",
        "Mind: 10 requests cost 210 sat as a pack, and 200 sat one by one: nobody gains by the pack.",
        "1 sold token with 9 paid requests left: sold for less",
        "A pack stays good while as many requests are sold together for what it cost, or for less.",
    ] {
        assert!(asked.page.contains(said), "{said}: {}", asked.page);
    }
    assert_eq!(person.says_yes("/services/rates/text", &asked).await.to, "/services/rates?said=saved");
    let refused =
        json!({ "opens_msat": 10_000, "price_msat": 20_000, "pack_requests": 10, "pack_msat": 90_000 });
    assert_eq!(listed().await, (json!("left"), refused));
    let page = page().await;
    let why = "a request costs 20 sat now, and this token opens what costs 10 sat at most; it is good again when 10 \
               together are sold for 90 sat or less";
    assert!(page.contains("Refused now") && page.contains(why) && !page.contains(">Live</span>"), "{page}");
    let service = person.reads("/services/rates").await;
    assert!(service.contains("210 sat as a pack, and 200 sat one by one"), "{service}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_for_and_did_not_come_yet_is_asked_about() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let api = upstream().await;
    sell(&app, &text(&api, "price = \"5 sat\"")).await;
    let (sat, until) = (Msat::from_sat(5).expect("small"), app.clock.now().plus(Duration::from_secs(900)));
    let name = |name: &str| name.parse().expect("a name");
    let bought = Bought::request(name("rates"), name("default"), sat, until);
    app.ledger.receive(PaymentHash::from_bytes([7; 32]), sat, Some(bought)).await.expect("received");
    let (seen, toml) = (person.seen(), text(&api, "price = \"6 sat\""));
    let asked = person.posts("/services/rates/text", &[("toml", &toml), ("seen", &seen)]).await;
    assert!(asked.page.contains("1 sold token with 1 paid request left: sold for less"), "{}", asked.page);
    // A day and two hours after its invoice it is good for nothing.
    let key = app.key(&[Scope::Admin]).await;
    app.clock.advance(Duration::from_secs(28 * 3_600));
    let service = json!({ "name": "rates", "path": "/v1", "upstream": api, "price": "6 sat" });
    let body = json!({ "services": [service], "dry_run": true });
    let told: Value = ok(app.change("/api/v1/services/apply", &key, body).await).await;
    assert_eq!(told["rises"], json!([]));
}
