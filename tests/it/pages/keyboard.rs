//! An operator without a mouse: what has the focus shows it, in the order of the page, and every errand can be run.

use std::time::Duration;

use serde_json::json;

use super::clean;
use super::sell::sell;
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

/// A window of that width, in which nothing glides.
async fn window(tab: &Tab<'_>, width: u32) {
    tab.looks(width, 740, "light").await;
    let features = json!([{ "name": "prefers-reduced-motion", "value": "reduce" }]);
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
    window(&tab, 360).await;
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
    for width in [360, 1440] {
        window(&tab, width).await;
        tab.open(&format!("{}/services/rates/edit", app.origin)).await;
        to(&tab, "main form.form button.button").await;
        tab.press("Enter").await;
        tab.until("document.querySelector('.said')").await;
    }
    clean(&app, &tab);
}
