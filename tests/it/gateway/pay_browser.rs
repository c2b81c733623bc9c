//! The pay page in a real browser.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollhouse::catalog::{About, BrowserUnlock, Offer, Offering, Service, Terms};
use tollhouse::ledger::MAX_RESTORES;
use tollhouse::types::{Msat, PaymentHash};

use super::upstream::{Origin, Step};
use super::{TestGate, patient, sat, service};
use crate::chromium::{Chromium, LEGIBLE, Tab};

/// The shop of these tests: packs to choose from, and things of every sort.
fn shop(origin: &Origin) -> Service {
    for (path, media, body) in [
        ("/report.json", "application/json", "{\"rate\":64000,\"of\":[1,2]}"),
        ("/note.txt", "text/plain; charset=utf-8", "Twelve geese flew over the toll bridge.\n"),
        ("/page.html", "text/html", "<h1>An article</h1><p>It is long.</p><script>top.hacked = 1</script>"),
        ("/data.bin", "application/octet-stream", "bits"),
        (
            "/picture.svg",
            "image/svg+xml",
            "<svg xmlns='http://www.w3.org/2000/svg' width='320' height='160'><circle cx='80' cy='80' r='60'/></svg>",
        ),
    ] {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n", body.len());
        origin.script(path, vec![Step::say(format!("{head}{body}"))]);
    }
    let about = About {
        title: Some("Exchange rates".to_owned()),
        description: Some("Cross rates of 31 currencies, every minute.".to_owned()),
        openapi: None,
    };
    let offer = |name: &str, what| Offer { name: name.parse().expect("a name"), what };
    let offers = vec![
        offer("request", Offering::Request),
        offer("pack-100", Offering::Pack { requests: 100, price: None }),
    ];
    let terms = Terms { offers, ..sat(10) };
    Service { about, terms: Arc::new(terms), ..service(origin) }
}

/// A browser before a shop.
struct World {
    origin: Origin,
    gate: TestGate,
    browser: Chromium,
}

impl World {
    async fn start() -> World {
        let origin = Origin::start().await;
        let gate = TestGate::with(vec![shop(&origin)], patient()).await;
        World { origin, gate, browser: Chromium::start() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gate.address)
    }

    /// The preimage of the invoice on the page, as the wallet that paid it has it.
    async fn pay(&self, tab: &Tab<'_>) -> String {
        let hash = tab.value("document.querySelector('main').dataset.hash").await;
        let hash: PaymentHash = hash.as_str().expect("a hash").parse().expect("a hash");
        self.gate.minter.preimage(&hash).to_hex()
    }

    /// Pastes what a wallet shows, and asks for the thing.
    async fn paste(&self, tab: &Tab<'_>, preimage: &str) {
        tab.click("#preimage").await;
        tab.types(preimage).await;
        tab.press("Enter").await;
    }

    /// The page asked nobody but the gate, and broke none of its own rules.
    fn clean(&self, tab: &Tab<'_>) {
        let ours = format!(":{}/", self.gate.address.port());
        for url in tab.asked() {
            let local = ["data:", "blob:", "about:"].iter().any(|scheme| url.starts_with(scheme));
            assert!(local || url.contains(&ours), "{url}");
        }
        assert_eq!(tab.complaints(), Vec::<String>::new());
    }
}

/// How a state of the page looks on a phone and on a desk: nothing sticks out, and everything can be read.
async fn drawn(tab: &Tab<'_>, name: &str) {
    for (width, height, scheme) in [(360, 740, "light"), (1440, 900, "dark")] {
        tab.looks(width, height, scheme).await;
        tab.picture(&format!("{name}-{width}-{scheme}")).await;
        let fits = tab.value("document.documentElement.scrollWidth <= innerWidth").await;
        assert_eq!(fits, true, "{name}: wider than a window of {width}");
        assert_eq!(tab.value(LEGIBLE).await, json!([]), "{name} {width} {scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_pays_and_reads() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    tab.open(&world.url("/report.json")).await;
    assert_eq!(tab.text("h1:not(#got)").await, "Exchange rates");
    tab.until("/14:5\\d left/.test(document.getElementById('time').textContent)").await;
    let invoice = tab.value("document.getElementById('wallet').href").await;
    assert!(invoice.as_str().is_some_and(|href| href.starts_with("lightning:lnbcrt")), "{invoice}");
    assert_eq!(tab.value("here.hidden").await, true, "there is no wallet in this browser");

    // What is no preimage, and what is another's, costs nothing and asks nobody.
    let before = tab.asked().len();
    world.paste(&tab, "lnbcrt10u1p").await;
    tab.until("/an invoice/.test(said.textContent)").await;
    tab.value("preimage.value = ''").await;
    world.paste(&tab, &"ab".repeat(32)).await;
    tab.until("/not the preimage/.test(said.textContent)").await;
    drawn(&tab, "no-preimage").await;
    assert_eq!((tab.asked().len(), world.origin.hits()), (before, 0));

    tab.value("preimage.value = ''").await;
    let preimage = world.pay(&tab).await;
    world.paste(&tab, &format!("  {}\n", preimage.to_uppercase())).await;
    tab.until("got.textContent === 'Here it is'").await;
    let shown: Value = serde_json::from_str(&tab.text("#shown pre").await).expect("JSON");
    assert_eq!(shown, json!({ "rate": 64_000, "of": [1, 2] }));
    assert_eq!(tab.value("document.activeElement.id").await, "got");
    assert_eq!(world.origin.hits(), 1);
    let sent = world.origin.last().head.to_ascii_lowercase();
    assert!(!sent.contains("l402") && !sent.contains(&preimage), "{sent}");
    world.clean(&tab);
    world.gate.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn things_are_shown_or_saved_by_what_they_are() {
    let world = World::start().await;
    for (path, seen) in [
        ("/note.txt", "/^Twelve geese/.test(shown.querySelector('pre')?.textContent)"),
        ("/picture.svg", "shown.querySelector('img')?.naturalWidth === 320"),
        (
            "/page.html",
            "/An article/.test(shown.querySelector('iframe[sandbox=\"\"]')?.srcdoc) && !window.hacked",
        ),
        ("/data.bin", "after.querySelector('a[download=\"data.bin\"]')?.href.startsWith('blob:')"),
    ] {
        let tab = world.browser.tab().await;
        tab.open(&world.url(path)).await;
        let preimage = world.pay(&tab).await;
        world.paste(&tab, &preimage).await;
        tab.until("got.textContent === 'Here it is'").await;
        tab.until(seen).await;
        // A page that was bought cannot run in ours; that it tried is what the browser says.
        let complaints = tab.complaints();
        assert!(complaints.iter().all(|one| one.contains("sandboxed")), "{path}: {complaints:?}");
        drawn(&tab, &format!("shown-{}", path.trim_start_matches('/').replace('.', "-"))).await;
    }
    assert_eq!(world.origin.hits(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_in_the_browser_pays_a_pack_that_is_kept() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    // The wallet asks the test for the preimage.
    tab.before_each(
        "window.webln = { enable: async () => {}, sendPayment: async (invoice) => {
           window.toPay = invoice;
           return { preimage: await new Promise((paid) => { window.paid = paid; }) };
         } };",
    )
    .await;
    tab.open(&world.url("/note.txt")).await;
    tab.click("[value=pack-100]").await;
    tab.until("/1,000/.test(document.querySelector('.figure').textContent)").await;
    assert_eq!(
        tab.value("document.activeElement.value").await,
        "pack-100",
        "the keyboard stays where it was"
    );
    tab.click("#here").await;
    tab.until("window.toPay === document.querySelector('main').dataset.invoice").await;
    let preimage = world.pay(&tab).await;
    tab.value(&format!("window.paid('{preimage}')")).await;
    tab.until("got.textContent === 'Here it is'").await;
    assert!(tab.text("#kept").await.starts_with("99 more requests"), "{}", tab.text("#kept").await);
    drawn(&tab, "kept-pack").await;
    tab.until("[...after.querySelectorAll('button')].some((one) => one.textContent === 'Ask again')").await;
    // On another page of the same service it is offered before anything is paid.
    tab.open(&world.url("/report.json")).await;
    tab.looks(360, 740, "light").await;
    tab.until("/100 requests, 99 left/.test(mine.textContent)").await;
    assert_eq!(tab.value("document.documentElement.scrollWidth").await, 360, "nothing is cut");
    tab.picture("kept-offered").await;
    tab.click("#mine button").await;
    tab.until("got.textContent === 'Here it is'").await;
    assert!(tab.text("#kept").await.starts_with("98 more requests"));
    assert_eq!(world.origin.hits(), 2);
    world.clean(&tab);
    world.gate.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_and_reloads_loses_nothing() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    tab.open(&world.url("/note.txt")).await;
    let (first, preimage) =
        (tab.value("document.querySelector('main').dataset.hash").await, world.pay(&tab).await);
    tab.open(&world.url("/note.txt")).await;
    assert_ne!(tab.value("document.querySelector('main').dataset.hash").await, first, "another invoice");
    world.paste(&tab, &preimage).await;
    tab.until("got.textContent === 'Here it is'").await;
    assert_eq!(world.origin.hits(), 1);
    // It was for one request: the next visit is asked to pay, and is not told a tale.
    tab.open(&world.url("/note.txt")).await;
    assert_eq!(tab.value("mine.hidden").await, true);
    world.clean(&tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secure_context_the_server_checks_the_preimage() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    tab.open(&format!("http://shop.test:{}/note.txt", world.gate.address.port())).await;
    assert_eq!(tab.value("window.isSecureContext").await, false);
    world.paste(&tab, &"ab".repeat(32)).await;
    tab.until("/not the preimage/.test(said.textContent)").await;
    assert_eq!(world.origin.hits(), 0);
    tab.value("preimage.value = ''").await;
    let preimage = world.pay(&tab).await;
    world.paste(&tab, &preimage).await;
    tab.until("got.textContent === 'Here it is'").await;
    world.clean(&tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_leaves_the_payment_good() {
    let world = World::start().await;
    world.origin.script("/moody", vec![Step::say("HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops")]);
    let tab = world.browser.tab().await;
    tab.open(&world.url("/moody")).await;
    let preimage = world.pay(&tab).await;
    world.paste(&tab, &preimage).await;
    tab.until("/not lost/.test(said.textContent)").await;
    drawn(&tab, "upstream-failed").await;
    let shown = "[...document.querySelectorAll('.qr, #wallet, #copy, #time, .offers')].some(one => one.checkVisibility())";
    assert_eq!(tab.value(shown).await, false, "nobody is asked to pay a second time");
    let well = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nwell";
    world.origin.script("/moody", vec![Step::say(well)]);
    tab.click("#said button").await;
    tab.until("got.textContent === 'Here it is'").await;
    assert_eq!((tab.text("#shown pre").await.as_str(), world.origin.hits()), ("well", 2));
    world.clean(&tab);
    world.gate.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_opens_by_itself_where_the_service_says_so() {
    let world = World::start().await;
    world.gate.sell(vec![Service { unlock: BrowserUnlock::On, ..shop(&world.origin) }]);
    let tab = world.browser.tab().await;
    tab.looks(360, 740, "light").await;
    tab.open(&world.url("/note.txt")).await;
    tab.until("!document.getElementById('wait').hidden").await;
    drawn(&tab, "waiting").await;
    assert_eq!(tab.value("document.cookie").await, "", "no script reads the cookie");
    let hash = tab.value("document.querySelector('main').dataset.hash").await;
    let hash: PaymentHash = hash.as_str().expect("a hash").parse().expect("a hash");
    // The phone's browser forgets the page while the wallet pays.
    tab.open(&world.url("/note.txt")).await;
    let price = Msat::from_sat(10).expect("in range");
    world.gate.arrives(hash, price).await;
    tab.until("got.textContent === 'Here it is'").await;
    assert!(tab.text("#shown pre").await.starts_with("Twelve geese"));
    assert_eq!(world.origin.hits(), 1);
    // Another browser, with the same page, is not let in by anybody's payment.
    let other = world.browser.tab().await;
    other.open(&world.url("/note.txt")).await;
    other.until("!document.getElementById('wait').hidden").await;
    assert_eq!(other.value("document.getElementById('result').hidden").await, true);
    assert_eq!(world.origin.hits(), 1);
    world.clean(&tab);
    world.gate.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_is_over_makes_room_for_another() {
    let world = World::start().await;
    let shop = shop(&world.origin);
    let terms = Terms { invoice_expiry: Duration::from_secs(2), ..Terms::clone(&shop.terms) };
    world.gate.sell(vec![Service { terms: Arc::new(terms), ..shop }]);
    let tab = world.browser.tab().await;
    tab.looks(360, 740, "dark").await;
    tab.open(&world.url("/note.txt")).await;
    let preimage = world.pay(&tab).await;
    tab.until("/is over/.test(time.textContent)").await;
    assert_eq!(
        tab.value("document.querySelector('.qr, #wallet, #copy, #text')").await,
        Value::Null,
        "nobody pays it now"
    );
    drawn(&tab, "over").await;
    tab.click("#time button").await;
    tab.until("document.querySelector('.qr') && / [0-9:]+ left/.test(time.textContent)").await;
    // Who paid the one before, at the last moment, still gets what it was for.
    world.paste(&tab, &preimage).await;
    tab.until("got.textContent === 'Here it is'").await;
    assert_eq!(world.origin.hits(), 1);
    world.clean(&tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_used_elsewhere_is_answered_with_a_reason_and_an_invoice() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    tab.open(&world.url("/note.txt")).await;
    let preimage = world.pay(&tab).await;
    let token = tab.value("document.querySelector('main').dataset.macaroon").await;
    let line = format!("Authorization: L402 {}:{preimage}\r\n", token.as_str().expect("a token"));
    assert_eq!(world.gate.get("/note.txt", &line).await.status, 200);
    let first = tab.value("document.querySelector('main').dataset.hash").await;
    world.paste(&tab, &preimage).await;
    tab.until("document.querySelector('.refusal')").await;
    drawn(&tab, "used-up").await;
    assert_eq!(tab.text(".refusal").await, "Your one request was made already. Buy another below.");
    assert_ne!(tab.value("document.querySelector('main').dataset.hash").await, first);
    assert_eq!((tab.value("mine.hidden").await, world.origin.hits()), (json!(true), 1));
    world.clean(&tab);
    world.gate.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_here_and_good_elsewhere_stays_in_the_browser() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    tab.open(&world.url("/note.txt")).await;
    tab.click("[value=pack-100]").await;
    tab.until("/1,000/.test(document.querySelector('.figure').textContent)").await;
    let preimage = world.pay(&tab).await;
    world.paste(&tab, &preimage).await;
    tab.until("got.textContent === 'Here it is'").await;
    // A request costs more now than when the pack was sold, and so does a pack.
    let well = shop(&world.origin);
    let offers = vec![
        Offer { name: "request".parse().expect("a name"), what: Offering::Request },
        Offer {
            name: "pack-100".parse().expect("a name"),
            what: Offering::Pack { requests: 100, price: None },
        },
    ];
    let dear = Service { terms: Arc::new(Terms { offers, ..sat(20) }), ..shop(&world.origin) };
    world.gate.sell(vec![dear]);
    tab.open(&world.url("/report.json")).await;
    tab.until("/100 requests/.test(mine.textContent)").await;
    tab.click("#mine button").await;
    tab.until("document.querySelector('.refusal')").await;
    tab.picture("kept-and-refused").await;
    let said = tab.text(".refusal").await;
    assert!(said.contains("10 sat") && said.ends_with("What you bought stays in this browser."), "{said}");
    assert_eq!(tab.value("mine.hidden").await, true, "it is not offered twice for what it does not open");
    // The price is as it was.
    world.gate.sell(vec![well]);
    tab.open(&world.url("/report.json")).await;
    tab.until("/100 requests/.test(mine.textContent)").await;
    tab.click("#mine button").await;
    tab.until("got.textContent === 'Here it is'").await;
    assert!(tab.text("#kept").await.starts_with("98 more requests"), "{}", tab.text("#kept").await);
    assert_eq!(world.origin.hits(), 2);
    world.clean(&tab);
    world.gate.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_requests_failed_too_often_is_not_called_good() {
    let world = World::start().await;
    world.origin.script("/moody", vec![Step::say("HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops")]);
    let tab = world.browser.tab().await;
    tab.open(&world.url("/moody")).await;
    let preimage = world.pay(&tab).await;
    let token = tab.value("document.querySelector('main').dataset.macaroon").await;
    let line = format!("Authorization: L402 {}:{preimage}\r\n", token.as_str().expect("a token"));
    for _ in 1..MAX_RESTORES {
        assert_eq!(world.gate.get("/moody", &line).await.header("x-tollhouse-unit"), Some("restored"));
    }
    world.paste(&tab, &preimage).await;
    tab.until("/not accepted any more/.test(said.textContent)").await;
    tab.picture("failed-too-often").await;
    let said = tab.text("#said").await;
    assert!(!said.contains("not lost") && !said.contains("Try again"), "{said}");
    tab.open(&world.url("/moody")).await;
    assert_eq!(tab.value("mine.hidden").await, true);
    world.clean(&tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_not_sent_again_by_the_page() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    // Some page of the shop's, with a form to a thing that costs.
    let form =
        "<form method=post action=/note.txt><input name=a value=b><button id=send>Send</button></form>";
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", form.len());
    world.origin.script("/free/form", vec![Step::say(format!("{head}{form}"))]);
    tab.open(&world.url("/free/form")).await;
    tab.click("#send").await;
    tab.until(
        "document.querySelector('main')?.dataset.method === 'POST' && document.readyState === 'complete'",
    )
    .await;
    let preimage = world.pay(&tab).await;
    world.paste(&tab, &preimage).await;
    tab.until("/cannot send your request again/.test(said.textContent)").await;
    let shown =
        "[...document.querySelectorAll('.qr, #wallet, #copy, #time')].some(one => one.checkVisibility())";
    assert_eq!(tab.value(shown).await, false, "nobody is asked to pay a second time");
    assert_eq!(tab.value("document.getElementById('line').checkVisibility()").await, true);
    drawn(&tab, "posted").await;
    assert!(tab.text("#line").await.ends_with(&format!(":{preimage}")), "the token is complete");
    assert_eq!(world.origin.hits(), 1, "the form's own page");
    world.clean(&tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_legible_in_every_size_and_light() {
    let world = World::start().await;
    for (width, height) in [(360, 740), (768, 1024), (1440, 900)] {
        for scheme in ["light", "dark"] {
            let tab = world.browser.tab().await;
            tab.looks(width, height, scheme).await;
            tab.open(&world.url("/report.json")).await;
            tab.picture(&format!("pay-{width}-{scheme}")).await;
            assert_eq!(tab.value(LEGIBLE).await, json!([]), "{width} {scheme}");
            let preimage = world.pay(&tab).await;
            world.paste(&tab, &preimage).await;
            tab.until("got.textContent === 'Here it is'").await;
            tab.picture(&format!("got-{width}-{scheme}")).await;
            assert_eq!(tab.value(LEGIBLE).await, json!([]), "{width} {scheme}, shown");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_by_keyboard_and_says_what_it_can_without_script() {
    let world = World::start().await;
    let tab = world.browser.tab().await;
    tab.open(&world.url("/note.txt")).await;
    let mut met = Vec::new();
    for _ in 0..12 {
        tab.press("Tab").await;
        let name =
            "document.activeElement.id || document.activeElement.name || document.activeElement.localName";
        met.push(tab.value(name).await.as_str().unwrap_or_default().to_owned());
    }
    for name in ["offer", "wallet", "copy", "preimage", "summary"] {
        assert!(met.iter().any(|one| one == name), "{name} in {met:?}");
    }
    let plain = world.browser.tab().await;
    plain.call("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    plain.looks(360, 740, "light").await;
    plain.open(&world.url("/note.txt")).await;
    drawn(&plain, "no-script").await;
    let text = plain.text("body").await;
    assert!(text.contains("10 sat") && text.contains("only with JavaScript"), "{text}");
    assert!(text.contains("Authorization: L402 "), "what the text points to stands open: {text}");
    assert_eq!(
        plain.value("getComputedStyle(proof).display").await,
        "none",
        "a form that does nothing is not shown"
    );
}
