//! Services saved, wherever that is done: what would stop earning is asked about, whose own API is silent is warned
//! of, a price is read alike; and what is bought on a page is bought once, however often it is loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::web::keys::Scope;

use super::sell::{sell, upstream};
use crate::admin_app::AdminApp;

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

/// A person at the pages, without a browser.
pub(super) struct Person<'a> {
    app: &'a AdminApp,
    session: String,
}

/// What a form was answered with.
pub(super) struct Told {
    pub(super) status: u16,
    /// Where it leads; empty where it leads nowhere.
    pub(super) to: String,
    pub(super) page: String,
}

impl<'a> Person<'a> {
    pub(super) async fn at(app: &'a AdminApp) -> Person<'a> {
        Person { app, session: app.claimed().await }
    }

    pub(super) async fn posts(&self, path: &str, form: &[(&str, &str)]) -> Told {
        let answer = self.app.post(path).header("cookie", &self.session).form(form).send().await;
        let answer = answer.expect("an answer");
        let to = answer.headers().get("location").map(|to| to.to_str().expect("text").to_owned());
        let status = answer.status().as_u16();
        Told { status, to: to.unwrap_or_default(), page: answer.text().await.expect("a page") }
    }

    pub(super) async fn reads(&self, path: &str) -> String {
        let answer = self.app.get(path).header("cookie", &self.session).send().await.expect("an answer");
        answer.text().await.expect("a page")
    }

    /// Says yes to the question that was asked instead of doing it.
    pub(super) async fn says_yes(&self, path: &str, asked: &Told) -> Told {
        assert_eq!(asked.status, 200, "{}", asked.page);
        let fields = hidden(&asked.page);
        assert!(fields.iter().any(|(name, _)| name == "key"), "it is no question: {}", asked.page);
        let form: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.posts(path, &form).await
    }

    pub(super) fn seen(&self) -> String {
        self.app.op.parts.storefront.stock()[0].changed_at.millis().to_string()
    }

    fn mode(&self) -> String {
        let stock = self.app.op.parts.storefront.stock();
        stock[0].spec.mode.clone().unwrap_or_else(|| "on".to_owned())
    }
}

/// The hidden fields of a page's forms.
pub(super) fn hidden(page: &str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        let marks = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
        marks.iter().fold(text.to_owned(), |text, (mark, letter)| text.replace(mark, letter))
    };
    let fields = page.split("<input type=\"hidden\" name=\"").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("\" value=\"")?;
        Some((plain(name), plain(rest.split_once('"')?.0)))
    });
    fields.collect()
}

/// The form of a service at `upstream`, as it is sent when `changes` are typed into it.
fn form<'t>(upstream: &'t str, changes: &[(&'t str, &'t str)]) -> Vec<(&'t str, &'t str)> {
    let usual = [
        ("name", "rates"),
        ("upstream", upstream),
        ("path", "/v1"),
        ("pricing", "fixed"),
        ("amount", "5 sat"),
        ("offer0_what", "request"),
        ("mode", "on"),
        ("dialect_l402", "yes"),
        ("dialect_payment", "yes"),
    ];
    let kept = usual.into_iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
    kept.chain(changes.iter().copied()).collect()
}

pub(super) fn text(upstream: &str, lines: &str) -> String {
    format!("[[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"{upstream}\"\n{lines}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_earning_is_asked_about_wherever_it_is_saved() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let api = upstream().await;
    sell(&app, &text(&api, "price = \"5 sat\"")).await;
    let edits = async |changes: &[(&str, &str)]| {
        let seen = person.seen();
        person.posts("/services/rates/edit", &form(&api, &[changes, &[("seen", &seen)]].concat())).await
    };

    // Another title or price is saved at once.
    assert_eq!(edits(&[("title", "Rates")]).await.to, "/services/rates?said=saved");
    assert_eq!(edits(&[("amount", "1 sat")]).await.to, "/services/rates?said=saved");

    // The form: in shadow, off, for nothing. Asking is not doing, and the answer does what was typed, all of it.
    let asked = edits(&[("mode", "shadow"), ("description", "\"All\" of\r\nthem & <more>")]).await;
    assert!(asked.page.contains("Let everybody use “rates” for nothing?"), "{}", asked.page);
    assert!(asked.page.contains("Whatever else you changed is saved with it."), "{}", asked.page);
    assert_eq!(person.mode(), "on");
    let done = person.says_yes("/services/rates/edit", &asked).await;
    assert_eq!((done.status, done.to.as_str()), (303, "/services/rates?said=shadow"));
    let spec = app.op.parts.storefront.stock()[0].spec.clone();
    assert_eq!(spec.description.as_deref(), Some("\"All\" of\nthem & <more>"));
    assert_eq!(spec.mode.as_deref(), Some("shadow"));
    assert_eq!(edits(&[]).await.to, "/services/rates?said=on", "to sell again asks nothing");
    assert!(edits(&[("mode", "off")]).await.page.contains("Turn “rates” off?"));
    let free = edits(&[("pricing", "free"), ("amount", ""), ("offer0_what", "")]).await;
    assert!(free.page.contains("Let everybody use “rates” for nothing?"), "{}", free.page);

    // A route with no price, and one that is given one.
    let route = async |path: &str, pricing: &str| {
        let seen = person.seen();
        let form = [("path", "/v1/day"), ("pricing", pricing), ("amount", "2 sat"), ("seen", &seen)];
        person.posts(path, &form).await
    };
    assert_eq!(route("/services/rates/routes/new", "fixed").await.to, "/services/rates?said=saved");
    let asked = route("/services/rates/routes/0", "free").await;
    assert!(asked.page.contains("Let everybody ask /v1/day for nothing?"), "{}", asked.page);
    let done = person.says_yes("/services/rates/routes/0", &asked).await;
    assert_eq!(done.to, "/services/rates?said=saved");
    assert_eq!(route("/services/rates/routes/0", "fixed").await.status, 303);

    // The text of one, and of several; an old question is no answer to what was changed since.
    let off = text(&api, "price = \"5 sat\"\nmode = \"off\"");
    let seen = person.seen();
    let asked = person.posts("/services/rates/text", &[("toml", &off), ("seen", &seen)]).await;
    assert!(asked.page.contains("Turn “rates” off?"), "{}", asked.page);
    app.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(edits(&[("title", "Other")]).await.status, 303);
    assert_eq!(person.says_yes("/services/rates/text", &asked).await.status, 409);
    assert_eq!(person.mode(), "on");
    let second = text(&api, "price = \"free\"").replace("rates", "days").replace("/v1", "/days");
    sell(&app, &second.replace("free", "3 sat")).await;
    let both = format!("{off}{second}");
    let asked = person.posts("/services/new/text", &[("toml", &both)]).await;
    assert!(asked.page.contains("Stop earning with “rates”, “days”?"), "{}", asked.page);
    let done = person.says_yes("/services/new/text", &asked).await;
    assert_eq!((done.to.as_str(), person.mode().as_str()), ("/services?said=applied", "off"));

    // Programs are told, before and after.
    let key = app.key(&[Scope::Admin]).await;
    let apply = async |mode: &str| {
        let service =
            json!({ "name": "rates", "path": "/v1", "upstream": api, "price": "5 sat", "mode": mode });
        let body = json!({ "services": [service], "dry_run": mode != "on" });
        let told: Value = app.change("/api/v1/services/apply", &key, body).await.json().await.expect("JSON");
        told["stops"].clone()
    };
    assert_eq!(apply("on").await, json!([]));
    assert_eq!(apply("off").await, json!([{ "service": "rates", "how": "off", "requests": [] }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_say_what_an_api_is_asked_for() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let new = person.reads("/services/new").await;
    let asked = format!("<code>{}/weather/today</code>", app.op.parts.config.gateway);
    for said in [
        asked.as_str(),
        "<code>http://127.0.0.1:9000/weather/today</code>",
        "<code>http://127.0.0.1:9000/today</code>",
    ] {
        assert!(new.contains(said), "{said}: {new}");
    }
    assert!(person.reads("/start/service").await.contains("It is taken off before your API is asked"));
    sell(&app, &text("http://127.0.0.1:9000", "price = \"5 sat\"\nstrip_prefix = \"/v1\"")).await;
    let page = person.reads("/services/rates").await;
    assert!(page.contains("goes to <code>http://127.0.0.1:9000/…</code>"), "{page}");
    sell(&app, &text("http://127.0.0.1:9000", "price = \"5 sat\"")).await;
    let page = person.reads("/services/rates").await;
    assert!(page.contains("goes to <code>http://127.0.0.1:9000/v1/…</code>"), "{page}");
}

/// An API that answers, and counts how often it is asked.
async fn counting() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let answer = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "here" }
    };
    TaskTracker::new().spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    (format!("http://{address}"), asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_silent_is_warned_of_wherever_a_service_is_saved() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let (there, asked) = counting().await;
    let times = || asked.swap(0, Ordering::SeqCst);
    let warned =
        |page: &str| page.contains("did not answer") && page.contains("#upstream\">your API’s address");

    // A new one by its form, and changed there.
    assert_eq!(person.posts("/services/new", &form(&there, &[])).await.to, "/services/rates?said=added");
    assert_eq!(times(), 1, "it is asked once");
    assert!(!warned(&person.reads("/services/rates?said=added").await));
    let edits = async |upstream: &str, changes: &[(&str, &str)]| {
        let seen = person.seen();
        person.posts("/services/rates/edit", &form(upstream, &[changes, &[("seen", &seen)]].concat())).await
    };
    assert_eq!(edits(&there, &[]).await.to, "/services/rates?said=same");
    assert_eq!(times(), 0, "nothing changed");
    let moved = edits(NOBODY, &[]).await;
    assert_eq!(moved.to, "/services/rates?said=saved&silent=rates");
    let page = person.reads(&moved.to).await;
    assert!(warned(&page) && page.contains(NOBODY), "{page}");
    assert!(!warned(&person.reads("/services/rates?silent=%3Cscript%3E").await), "it names no service");

    // Its routes, its text, its buttons.
    let seen = person.seen();
    let route = [("path", "/v1/day"), ("pricing", "fixed"), ("amount", "2 sat"), ("seen", &seen)];
    let saved = person.posts("/services/rates/routes/new", &route).await;
    assert_eq!(saved.to, "/services/rates?said=saved&silent=rates");
    let (seen, shorter) = (person.seen(), text(NOBODY, "price = \"4 sat\""));
    let saved = person.posts("/services/rates/text", &[("toml", &shorter), ("seen", &seen)]).await;
    assert_eq!(saved.to, "/services/rates?said=saved&silent=rates");
    let asked_first = person.posts("/services/rates/mode", &[("mode", "off")]).await;
    let off = person.says_yes("/services/rates/mode", &asked_first).await;
    assert_eq!(off.to, "/services/rates?said=off", "nothing passes to it");
    let on = person.posts("/services/rates/mode", &[("mode", "on")]).await;
    assert_eq!(on.to, "/services/rates?said=on&silent=rates");

    // Several as text: each is named, one address is asked once.
    times();
    let other = |name: &str, upstream: &str| {
        text(upstream, "price = \"4 sat\"").replace("rates", name).replace("/v1", &format!("/{name}"))
    };
    let list = [other("one", &there), other("two", NOBODY), other("three", &there)].concat();
    let saved = person.posts("/services/new/text", &[("toml", &list)]).await;
    assert_eq!((saved.to.as_str(), times()), ("/services?said=applied&silent=two", 1));
    let page = person.reads(&saved.to).await;
    assert!(warned(&page) && page.contains("/services/two/edit#upstream"), "{page}");

    // The first steps.
    let first = async |name: &str, upstream: &str| {
        let form = [("name", name), ("upstream", upstream), ("price", "5 sat")];
        person.posts("/start/service", &form).await.to
    };
    assert_eq!(first("four", &there).await, "/start/payment?service=four&said=on_sale");
    let to = first("five", NOBODY).await;
    assert_eq!(to, "/start/payment?service=five&said=on_sale&silent=five");
    assert!(warned(&person.reads(&to).await));

    // Programs are told, too; in a dry run nobody is asked.
    let key = app.key(&[Scope::Admin]).await;
    let apply = async |name: &str, upstream: &str, dry: bool| {
        let service =
            json!({ "name": name, "path": format!("/{name}"), "upstream": upstream, "price": "5 sat" });
        let body = json!({ "services": [service], "dry_run": dry });
        let told: Value = app.change("/api/v1/services/apply", &key, body).await.json().await.expect("JSON");
        told["silent"].clone()
    };
    times();
    assert_eq!(
        (apply("six", NOBODY, true).await, apply("six", NOBODY, false).await),
        (json!([]), json!(["six"]))
    );
    assert_eq!((apply("seven", &there, false).await, times()), (json!([]), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_read_alike_in_every_form_text_and_program() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let key = app.key(&[Scope::Admin]).await;
    for (n, price) in ["7 sat", "7 sats", "7000 msat", "7", "7 satoshi"].into_iter().enumerate() {
        let (name, path) = (format!("a{n}"), format!("/a{n}"));
        let changes = [("name", name.as_str()), ("path", &path), ("amount", price)];
        let by_form = person.posts("/services/new", &form(NOBODY, &changes)).await;
        let (name, path) = (format!("b{n}"), format!("/b{n}"));
        let typed = [("name", name.as_str()), ("path", &path), ("upstream", NOBODY), ("price", price)];
        let by_steps = person.posts("/start/service", &typed).await;
        let toml = text(NOBODY, &format!("price = \"{price}\""))
            .replace("rates", &format!("c{n}"))
            .replace("/v1", &format!("/c{n}"));
        let by_text = person.posts("/services/new/text", &[("toml", &toml)]).await;
        let service =
            json!({ "name": format!("d{n}"), "path": format!("/d{n}"), "upstream": NOBODY, "price": price });
        let body = json!({ "services": [service] });
        let by_program = app.change("/api/v1/services/apply", &key, body).await;
        let by_program = (by_program.status().as_u16(), by_program.text().await.expect("JSON"));

        if matches!(price, "7" | "7 satoshi") {
            // What to write is said, with the number that was typed where only its unit is missing.
            let help = if price == "7" { "Write \"7 sat\"." } else { "\"50 sat\"" };
            for told in [&by_form, &by_steps, &by_text] {
                assert_eq!(told.status, 422, "{price}");
                assert!(told.page.replace("&#34;", "\"").contains(help), "{price}: {}", told.page);
            }
            assert_eq!(by_program.0, 422);
            assert!(by_program.1.replace("\\\"", "\"").contains(help), "{}", by_program.1);
        } else {
            for told in [by_form, by_steps, by_text] {
                assert_eq!(told.status, 303, "{price}: {}", told.page);
            }
            assert_eq!(by_program.0, 200, "{}", by_program.1);
            for which in ["a", "b", "c", "d"] {
                let url = format!("{}/{which}{n}", app.gateway);
                let answer = app.client.get(url).send().await.expect("an answer");
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!(body["amountMsat"], 7_000, "{price} by {which}");
            }
        }
    }
}

async fn earned(app: &AdminApp) -> u64 {
    app.ledger.barrier().await;
    app.ledger.revenue(app.op.parts.clock.now()).await.expect("sums").total.msat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_loaded_again_buys_nothing_more() {
    let app = AdminApp::start().await;
    let person = Person::at(&app).await;
    let api = upstream().await;
    sell(&app, &text(&api, "price = \"5 sat\"\noffers = [\"request\", { pack = 10, price = \"40 sat\" }]"))
        .await;

    // The first steps: its form is sent a second time as it was the first.
    let page = person.reads("/start/payment").await;
    let fields = hidden(&page);
    let form: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let bought = person.posts("/start/payment", &form).await;
    assert!(bought.page.contains("The first payment is made") && bought.page.contains("Paid 5 sat"));
    assert_eq!(earned(&app).await, 5_000);
    let again = person.posts("/start/payment", &form).await;
    assert_eq!(again.status, 200);
    assert!(
        again.page.contains("loaded again") && again.page.contains("nothing more was paid"),
        "{}",
        again.page
    );
    assert!(!again.page.contains("402 Payment Required"), "it looks like lost money: {}", again.page);
    assert_eq!(earned(&app).await, 5_000);
    // The page has a key of its own for whoever means to buy again.
    let fields = hidden(&again.page);
    let form: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(person.posts("/start/payment", &form).await.page.contains("Paid 5 sat"));
    assert_eq!(earned(&app).await, 10_000);

    // The trial: a request that is used up by its first answer, and a pack that is not.
    for (offer, price, earns) in [("request", "5", 5_000), ("pack-10", "40", 4_000)] {
        let before = earned(&app).await;
        let ask = [("method", "GET"), ("target", "/v1/x"), ("offer", offer), ("do", "ask")];
        let due = person.posts("/services/rates/try", &ask).await;
        assert!(due.page.contains("402 Payment Required"), "{}", due.page);
        let mut fields = hidden(&due.page);
        fields.push(("do".to_owned(), "pay".to_owned()));
        let pay: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let paid = person.posts("/services/rates/try", &pay).await;
        assert!(paid.page.contains(&format!("Paid {price} sat with the demo’s wallet")), "{}", paid.page);
        assert_eq!(earned(&app).await - before, earns);
        let again = person.posts("/services/rates/try", &pay).await;
        assert!(again.page.contains("Nothing more was paid"), "{}", again.page);
        assert!(
            !again.page.contains("Pay it with the demo’s wallet"),
            "it asks for money again: {}",
            again.page
        );
        let over = offer == "request";
        assert_eq!(again.page.contains("The credential opens nothing any more"), over, "{}", again.page);
        assert_eq!(again.page.contains("Start over"), over);
        // The second request of a pack was paid for with it.
        assert_eq!(earned(&app).await - before, if over { earns } else { 2 * earns });
    }
}
