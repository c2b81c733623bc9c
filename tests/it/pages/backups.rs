//! Could money be lost: copies of the ledger made, proved and fetched on the page, the seed's words, and what waits after a
//! restore.

use serde_json::json;
use tollhouse::web::keys::Scope;

use super::house::{fill, until};
use super::{HOUR, clean, logged_in};
use crate::admin_app::{AdminApp, PASSWORD, ok};
use crate::chromium::Chromium;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_proved_and_fetched_on_the_page_and_it_is_red_until_then() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/backup", app.origin)).await;
    assert!(tab.text("#title").await.contains("would cost you money"));
    assert_eq!(
        tab.value("document.querySelectorAll('.guards .dot.bad').length").await,
        2,
        "words and ledger"
    );
    tab.click("form[action='/backup/now'] button").await;
    until(&tab, "document.querySelector('.said')?.textContent.includes('books are right')").await;
    let beside = "the words, and that the copies lie beside the data";
    assert_eq!(tab.value("document.querySelectorAll('.guards .dot.bad').length").await, 2, "{beside}");
    let guards = tab.text(".guards").await;
    assert!(guards.contains("on the same disk as the data: a dead disk takes both"), "{guards}");
    assert!(guards.contains("backup.dir in tollhouse.toml"), "{guards}");
    // The first steps say of it what the page does: a place, and half of what it is for.
    for (path, said) in [
        ("/", "Done, but on the data’s own disk: a dead disk takes both."),
        ("/start", "A place on another disk is left to do."),
    ] {
        let page = app.get(path).header("cookie", &session).send().await.expect("an answer");
        let page = page.text().await.expect("a page");
        assert!(page.contains(said), "{path}: {page}");
    }
    tab.click("form[action='/backup/verify'] button").await;
    until(&tab, "!!document.querySelector('#proof')").await;
    assert!(tab.text("#proof").await.contains("right"));
    let file = tab.value("document.querySelector(\"form[action='/backup/fetch'] input\").value").await;
    let form = [("file", file.as_str().expect("a name"))];
    let fetch = app.post("/backup/fetch").header("cookie", &session).form(&form).send().await;
    let led = fetch.expect("an answer").headers()["location"].to_str().expect("readable").to_owned();
    let fetched = app.get(&led).header("cookie", &session).send().await.expect("an answer");
    assert_eq!(fetched.headers()["content-type"], "application/octet-stream");
    assert!(fetched.bytes().await.expect("the file").len() > 1_000);

    // The channels' snapshot, too, once there is one.
    assert_eq!(tab.value("document.querySelector(\"form[action='/backup/snapshot']\")").await, json!(null));
    app.written_snapshot(b"sealed bytes");
    tab.open(&format!("{}/backup", app.origin)).await;
    assert!(tab.value("!!document.querySelector(\"form[action='/backup/snapshot'] button\")").await == true);
    let fetch = app.post("/backup/snapshot").header("cookie", &session).form(&[("", ""); 0]);
    let fetch = fetch.send().await.expect("an answer");
    assert_eq!(fetch.headers()["location"], "/api/v1/snapshot");
    let fetched = app.get("/api/v1/snapshot").header("cookie", &session).send().await.expect("an answer");
    let named = fetched.headers()["content-disposition"].to_str().expect("readable").to_owned();
    assert!(named.contains("tollhouse-regtest-") && named.ends_with(".snapshot\""), "{named}");
    assert_eq!(fetched.bytes().await.expect("the file").as_ref(), b"sealed bytes");

    // A copy that somebody damaged is not good, and the page says so.
    let dir = app.dir.path().join("backups");
    let file = std::fs::read_dir(dir).expect("a folder").next().expect("a file").expect("an entry").path();
    let mut bytes = std::fs::read(&file).expect("it reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("it writes");
    tab.click("form[action='/backup/verify'] button").await;
    until(&tab, "!!document.querySelector('.refusal')").await;
    assert_eq!(tab.value("!!document.querySelector('#proof')").await, false);

    // The words count once somebody proved to have them.
    let seed = app.op.seed.seed();
    let numbers = seed.ask(app.op.parts.entropy.as_ref());
    let words: Vec<&str> = seed.words().split(' ').collect();
    let right: Vec<String> = numbers.iter().map(|number| words[number - 1].to_owned()).collect();
    app.op.verify_seed(right).await.expect("right");
    app.clock.advance(HOUR);
    app.op.parts.backups.make().await.expect("made");
    tab.open(&format!("{}/backup", app.origin)).await;
    let said = tab.text("#title").await;
    assert_eq!(said, "A dead disk would take the copies on it, too", "{}", tab.text("main").await);
    let listed = ok(app.read("/api/v1/backups", &app.key(&[Scope::Read]).await).await).await;
    assert_eq!(listed["apart"], false, "{listed}");
    app.clock.advance(HOUR * 24 * 30);
    let later = AdminApp::login(&app, PASSWORD).await;
    let later = crate::admin_app::cookie(later.headers());
    let tab = logged_in(&app, &browser, &later).await;
    tab.open(&format!("{}/backup", app.origin)).await;
    assert!(tab.text("#title").await.contains("would cost you money"), "it grew old");

    // The words are checked again, and another password set.
    let words = tab.text(".guards li").await;
    assert!(words.contains("Last checked 30 days ago"), "{words}");
    tab.click("a[href='/start/seed']").await;
    until(&tab, "!!document.querySelector(\"a[href='/start/seed/check']\")").await;
    tab.click("a[href='/start/seed/check']").await;
    until(&tab, "!!document.querySelector('#third')").await;
    let seed = app.op.seed.seed();
    let words: Vec<&str> = seed.words().split(' ').collect();
    for id in ["first", "second", "third"] {
        let label = tab.text(&format!("label[for={id}]")).await;
        let number: usize = label.trim_start_matches("Word ").parse().expect("a number");
        fill(&tab, &format!("#{id}"), words[number - 1]).await;
    }
    tab.press("Enter").await;
    until(&tab, "location.search === '?said=checked'").await;
    assert_eq!(seed.status().verified_at, Some(app.op.parts.clock.now()), "its date is today's");
    tab.open(&format!("{}/system", app.origin)).await;
    tab.click("a[href='/system/password']").await;
    until(&tab, "!!document.querySelector('#again')").await;
    for (id, text) in [("password", PASSWORD), ("new", "another password"), ("again", "another password")] {
        fill(&tab, &format!("#{id}"), text).await;
    }
    tab.press("Enter").await;
    until(&tab, "!!document.querySelector('.said')").await;
    assert_eq!(app.login("another password").await.status(), 303);
    clean(&app, &tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_the_page_says_what_waits_and_lets_coins_go_behind_the_password() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let question = app.post("/backup/release").header("cookie", &session).form(&[("none", "")]).send().await;
    let question = question.expect("an answer");
    assert_eq!(question.status(), 200);
    assert!(question.text().await.expect("a page").contains("Let coins be sent again?"));
    let foreign = app.client.post(format!("{}/backup/now", app.origin)).header("cookie", &session);
    let foreign = foreign.header("origin", "https://evil.test").send().await.expect("an answer");
    assert_eq!(foreign.status(), 403, "a foreign page makes nothing");
    let stranger = app.get("/system/diagnostics").send().await.expect("an answer");
    assert_eq!(stranger.status(), 303);
}
