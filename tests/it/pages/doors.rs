//! Pages on which nothing is shown: the doors, what is asked before something is done, what is shown once, what is
//! refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{FixedClock, SystemEntropy};
use tollhouse::secrets::OpensWith;
use tollhouse::ui;
use tollhouse::web::locked::{self, Behind, Door, DoorParts};

use super::sell::{fill, sell};
use super::{logged_in, look_at, looked_at};
use crate::admin_app::{AdminApp, START};
use crate::chromium::{Chromium, Tab};

const SERVICE: &str = "[[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"http://127.0.0.1:9000\"\nprice = \"5 sat\"\n";

/// The door of an appliance whose seed waits for its passphrase; where it is.
async fn locked(app: &AdminApp, tasks: &TaskTracker) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let listen = listener.local_addr().expect("bound");
    let (door, _) = Door::new(DoorParts {
        listen,
        hosts: Vec::new(),
        dir: app.dir.path().join("locked"),
        network: bitcoin::Network::Regtest,
        behind: Behind::Seed(OpensWith { passphrase: true, key_file: false }),
        clock: FixedClock::at(START),
        entropy: SystemEntropy::new(),
        tracker: tasks.clone(),
    });
    let router = locked::finish(ui::locked_router(), Arc::clone(&door));
    tasks.spawn(async move { axum::serve(listener, router).await });
    format!("http://{listen}")
}

/// Somebody whom no page knows yet.
async fn stranger(browser: &Chromium) -> Tab<'_> {
    let tab = browser.tab().await;
    tab.keeps_nothing().await;
    tab.looks(1440, 900, "light").await;
    tab
}

#[tokio::test(flavor = "multi_thread")]
async fn doors_questions_secrets_and_refusals_are_legible() {
    let app = AdminApp::start().await;
    let (browser, tasks, origin) = (Chromium::start(), TaskTracker::new(), &app.origin);

    let tab = stranger(&browser).await;
    tab.open(&format!("{origin}/claim?token={}", app.claim_token().await)).await;
    looked_at(origin, &tab, "claim").await;
    let session = app.claimed().await;
    tab.open(&format!("{origin}/login?to=%2Ftokens&undone=yes")).await;
    looked_at(origin, &tab, "login-undone").await;
    tab.open(&format!("{origin}/login")).await;
    looked_at(origin, &tab, "login").await;
    tab.types("wrong horse battery").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('.refusal')").await;
    looked_at(origin, &tab, "login-refused").await;
    let door = locked(&app, &tasks).await;
    let tab = stranger(&browser).await;
    tab.open(&door).await;
    assert_eq!(tab.text("h1").await, "Locked");
    looked_at(&door, &tab, "locked").await;

    sell(&app, SERVICE).await;
    let pages = [
        ("start-service", "/start/service"),
        ("service-route-new", "/services/rates/routes/new"),
        ("services-text-new", "/services/new/text"),
        ("notice", "/services/none"),
        ("nowhere", "/none"),
    ];
    look_at(&app, &session, &pages).await;

    // A question, and the secret that its answer shows once.
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{origin}/integrations/keys/new")).await;
    fill(&tab, "label", "dashboard").await;
    tab.click("input[name=read]").await;
    tab.click("main form button[type=submit]").await;
    tab.until("document.querySelector('input[name=key]')").await;
    looked_at(origin, &tab, "key-question").await;
    tab.click("main form button[type=submit]").await;
    tab.until("document.querySelector('#secret')").await;
    looked_at(origin, &tab, "key-secret").await;

    // Later the password is wanted again: by a question, and by a form that asks nothing else.
    app.clock.advance(Duration::from_secs(600));
    tab.open(&format!("{origin}/coins/send")).await;
    fill(&tab, "to", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080").await;
    fill(&tab, "amount", "20,000").await;
    tab.click("main form button[type=submit]").await;
    tab.until("document.querySelector('input[name=key]') && document.querySelector('#password')").await;
    looked_at(origin, &tab, "coins-question").await;
    tab.open(&format!("{origin}/start/service")).await;
    for (id, text) in [("name", "days"), ("upstream", "http://127.0.0.1:9000"), ("price", "5 sat")] {
        fill(&tab, id, text).await;
    }
    tab.click("main form button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent === 'Your password, once more'").await;
    looked_at(origin, &tab, "password-again").await;
    assert_eq!(app.op.parts.storefront.stock().len(), 1, "it was not put on sale yet");
}
