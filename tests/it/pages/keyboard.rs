//! An operator without a mouse: what has the focus shows it, in the order of the page, and every errand can be run.

use std::time::Duration;

use serde_json::json;
use tollhouse::ports::Alarm;
use tollhouse::store::Findings;
use tollhouse::types::{Kind, Severity};

use super::sell::sell;
use super::{business, clean, logged_in};
use crate::admin_app::{AdminApp, PASSWORD};
use crate::chromium::{Chromium, Tab};

/// What is wrong with how the focus shows, and with where it went.
const FOCUS: &str = r"(() => {
  const it = document.activeElement, before = window.focused, wrong = [];
  if (!it || it === document.body) return ['nothing has the focus'];
  window.focused = it;
  const named = it.outerHTML.slice(0, 90), style = getComputedStyle(it);
  if (before && !(before.compareDocumentPosition(it) & Node.DOCUMENT_POSITION_FOLLOWING)) wrong.push('out of order: ' + named);
  if (!it.matches(':focus-visible') || style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2) wrong.push('unmarked: ' + named);
  const light = (color) => { const [r, g, b] = color.match(/[\d.]+/g).map(Number).map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const [more, less] = [style.outlineColor, getComputedStyle(document.body).backgroundColor].map(light).sort((a, b) => b - a);
  if ((more + 0.05) / (less + 0.05) < 3) wrong.push('faint: ' + named + ' ' + style.outlineColor);
  const box = it.getClientRects()[0];
  const middle = (from, to, end) => (Math.max(from, 0) + Math.min(to, end)) / 2;
  const top = document.elementFromPoint(middle(box.left, box.right, innerWidth), middle(box.top, box.bottom, innerHeight));
  if (box.bottom < 0 || box.top > innerHeight || !it.contains(top)) wrong.push('unseen: ' + named + ' under ' + top?.outerHTML.slice(0, 90));
  return wrong;
})()";

/// More than any page has that can have the focus.
const STOPS: usize = 120;

/// Goes on to the next that can have the focus.
async fn next(tab: &Tab<'_>) {
    tab.press("Tab").await;
    assert_eq!(tab.value(FOCUS).await, json!([]));
}

/// Whether what has the focus is what `selector` finds.
async fn at(tab: &Tab<'_>, selector: &str) -> bool {
    tab.value(&format!("document.activeElement.matches({})", json!(selector))).await == json!(true)
}

/// Goes on until what `selector` finds has the focus.
async fn to(tab: &Tab<'_>, selector: &str) {
    for _ in 0..STOPS {
        next(tab).await;
        if at(tab, selector).await {
            return;
        }
    }
    panic!("{selector} is never reached");
}

/// A window of that width and light, in which nothing glides.
async fn window(tab: &Tab<'_>, width: u32, scheme: &str) {
    tab.looks(width, 740, scheme).await;
    let features = json!([
        { "name": "prefers-reduced-motion", "value": "reduce" },
        { "name": "prefers-color-scheme", "value": scheme },
    ]);
    tab.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_errand_can_be_run_by_keys_alone() {
    let app = AdminApp::start().await;
    app.claimed().await;
    for name in ["first", "rates"] {
        sell(&app, &format!("[[service]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"http://127.0.0.1:1\"\nprice = \"5 sat\"\n"))
            .await;
    }
    let browser = Chromium::start();
    let tab = browser.tab().await;
    window(&tab, 360, "light").await;
    tab.open(&format!("{}/login", app.origin)).await;
    assert_eq!(tab.value(FOCUS).await, json!([]), "the one field has the focus");
    tab.types(PASSWORD).await;
    tab.press("Enter").await;
    tab.until("document.querySelector('.rail')").await;

    // Past the navigation, to the page.
    next(&tab).await;
    assert!(at(&tab, ".skip").await, "the first thing is the way past the navigation");
    tab.press("Enter").await;
    tab.until("document.activeElement.matches('main')").await;
    next(&tab).await;
    assert!(at(&tab, "main *").await, "what comes next is on the page");

    // The rest of the navigation, on a phone: opened, closed, opened again and followed.
    tab.open(&format!("{}/revenue", app.origin)).await;
    to(&tab, ".more button").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('#more:popover-open')").await;
    next(&tab).await;
    assert!(at(&tab, "#more li:first-child a").await, "what was opened comes next");
    tab.press("Escape").await;
    tab.until("!document.querySelector('#more:popover-open')").await;
    assert!(at(&tab, ".more button").await, "the focus is back where it was opened");
    tab.press("Enter").await;
    tab.until("document.querySelector('#more:popover-open')").await;
    tab.value("window.focused = document.activeElement; 1").await;
    to(&tab, "#more a[href='/tokens']").await;
    tab.press("Enter").await;
    tab.until("location.pathname === '/tokens' && document.querySelector('h1')").await;

    // A form filled in and sent, and its question answered, which wants the password by now.
    app.clock.advance(Duration::from_secs(600));
    to(&tab, "a[href='/tokens/grant']").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('#label')").await;
    to(&tab, "#label").await;
    tab.types("Ann").await;
    next(&tab).await;
    tab.press("ArrowDown").await;
    tab.until("document.querySelector('#service').value === 'rates'").await;
    next(&tab).await;
    tab.types("20 sat").await;
    to(&tab, "main button[type=submit]").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('input[name=key]') && document.querySelector('#password')").await;
    assert_eq!(tab.value(FOCUS).await, json!([]), "the answer is where the focus is");
    tab.types(PASSWORD).await;
    next(&tab).await;
    assert!(at(&tab, "button.button").await, "the button follows the field");
    tab.press("Enter").await;
    tab.until("document.querySelector('#authorization')").await;

    // The longest form, on a phone and on a desk: from its first field to its button.
    for (width, scheme) in [(360, "light"), (1440, "dark")] {
        window(&tab, width, scheme).await;
        tab.open(&format!("{}/services/rates/edit", app.origin)).await;
        to(&tab, "main form.form button.button").await;
        tab.press("Enter").await;
        tab.until("document.querySelector('.said')").await;
    }
    clean(&app, &tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_that_moves_or_sets_something_is_reached_by_keys() {
    let app = business().await;
    let session = app.claimed().await;
    let channel = format!("/lightning/channels/{}", "ab".repeat(32));
    let browser = Chromium::start();
    let forms = [
        ("/coins/send", "form[action='/coins/send'] .button"),
        ("/coins/vault/set", "form[action='/coins/vault/set'] .button"),
        ("/lightning/open", "form[action='/lightning/open'] .button"),
        (&channel, "form[action$='/close'] .plain"),
        ("/lightning/payouts", "form[action='/lightning/payouts'] .button"),
        ("/lightning/peers", "form[action='/lightning/peers'] .button"),
        ("/lightning/inbound", "form[action='/lightning/inbound'] .button"),
        ("/integrations/keys/new", "form[action='/integrations/keys'] .button"),
        ("/integrations/webhooks/new", "form[action='/integrations/webhooks'] .button"),
        ("/backup", "form[action='/backup/now'] .button"),
        ("/system/password", "form[action='/system/password'] .button"),
    ];
    for (width, scheme) in [(360, "dark"), (1440, "light")] {
        let tab = logged_in(&app, &browser, &session).await;
        window(&tab, width, scheme).await;
        for (path, button) in forms {
            tab.open(&format!("{}{path}", app.origin)).await;
            to(&tab, button).await;
        }
        // A rule's form is folded away, and opens by a key.
        tab.open(&format!("{}/lightning/rules", app.origin)).await;
        to(&tab, "section[aria-labelledby=pay_out] summary").await;
        tab.press("Enter").await;
        tab.until("document.querySelector('section[aria-labelledby=pay_out] details').open").await;
        to(&tab, "form[action$=pay_out] .button").await;
        clean(&app, &tab);
    }
}

/// The live part of Home is said anew at each payment. What somebody has in hand there stays in hand.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_takes_nothing_out_of_the_hands_of_who_reads() {
    let app = business().await;
    let session = app.claimed().await;
    let id = |byte: &str| byte.repeat(32);
    let text = |byte| format!("A transaction of this node waits: {}.", id(byte));
    let standing = ["4f", "c3"].map(|byte| {
        Alarm::new("transactions_unsent", Severity::Warning, text(byte), "Look at the chain source.")
            .about(byte)
    });
    let found = Findings { standing: standing.to_vec(), notices: Vec::new(), watched: 0 };
    app.ledger.note_alarms(found).await.expect("noted");
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    window(&tab, 1440, "light").await;
    tab.open(&format!("{}/", app.origin)).await;
    tab.until("document.querySelector('#feed').textContent === 'Live'").await;
    // Each time the old part is marked, so that one knows the new one.
    let sale = async |n: u8| {
        tab.value("document.querySelector('#revenue').dataset.old = 'yes'").await;
        super::sell(&app, n, "chat", Kind::Request, 1, 40, 1).await;
    };
    let said_anew = "document.querySelector('#revenue') && !document.querySelector('#revenue').dataset.old";

    // An alarm that is opened stays open, and the key that opened it closes it.
    let second = format!("details[data-key='{}']", id("c3"));
    to(&tab, &format!("{second} summary")).await;
    tab.press("Enter").await;
    tab.until(&format!("document.querySelector(\"{second}\").open")).await;
    sale(201).await;
    tab.until(said_anew).await;
    let opened = "[...document.querySelectorAll('#live details[open]')].map((it) => it.dataset.key)";
    assert_eq!(tab.value(opened).await, json!([id("c3")]));
    assert!(at(&tab, &format!("{second} summary")).await, "the focus is where it was");
    assert_eq!(tab.value("window.focused = null, 1").await, 1);
    assert_eq!(tab.value(FOCUS).await, json!([]), "and shows");
    tab.press("Enter").await;
    tab.until(&format!("!document.querySelector(\"{second}\").open")).await;

    // A link keeps the focus, too, and leads on.
    to(&tab, "a[href='/lightning'], #channels a, .channels a").await;
    let link = tab.value("document.activeElement.getAttribute('href')").await;
    sale(202).await;
    tab.until(said_anew).await;
    assert_eq!(tab.value("document.activeElement.getAttribute('href')").await, link);

    // What is selected stays selected until whoever selected it is done; then the page catches up.
    let select = "getSelection().selectAllChildren(document.querySelector('.alarms .what')), getSelection().toString()";
    let selected = tab.value(select).await;
    assert!(selected.as_str().is_some_and(|text| text.contains("waits")), "{selected}");
    sale(203).await;
    app.ledger.barrier().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(tab.value("getSelection().toString()").await, selected);
    assert_eq!(tab.value(said_anew).await, false);
    tab.value("getSelection().removeAllRanges()").await;
    tab.until(said_anew).await;
    clean(&app, &tab);
}
