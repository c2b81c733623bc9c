//! An appliance for real money that has no seed: it is made on a page, by who has the one-time link, and used once its
//! words were proved. The real program.

use reqwest::header::{HOST, ORIGIN};
use serde_json::{Value, json};

use super::words;
use crate::admin_app::PASSWORD;
use crate::appliance::{Appliance, Process, bitcoind_section};
use crate::bitcoind::{client, free_port};
use crate::chromium::{Chromium, LEGIBLE};

const PASSPHRASE: &str = "twelve or more letters";

fn shop() -> Appliance {
    Appliance::written(&bitcoind_section(free_port()), "")
}

/// Starts on mainnet with nothing made; gives the link that it prints.
async fn without_a_seed(shop: &Appliance) -> (Process, String) {
    started(shop, "bitcoin", &["--network", "mainnet", "--i-know"]).await
}

async fn started(shop: &Appliance, network: &str, args: &[&str]) -> (Process, String) {
    let mut running = Process::spawn(shop.command(args));
    let line = running.says("no seed ").await;
    let link = line.split_whitespace().find(|word| word.starts_with("http")).expect("a link").to_owned();
    let file = std::fs::read_to_string(shop.data_dir().join(network).join("claim")).expect("the link's file");
    assert_eq!(file.trim(), link);
    (running, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_for_real_money_is_made_on_a_page_and_its_words_proved() {
    let shop = shop();
    let (running, link) = without_a_seed(&shop).await;
    let seed_file = shop.data_dir().join("bitcoin/seed");
    let browser = Chromium::start();
    let tab = browser.tab().await;
    tab.looks(1440, 900, "light").await;

    // Who has no link sees how to come by it, and can do nothing.
    tab.open(&shop.admin).await;
    assert_eq!(tab.text("h1").await, "No seed yet");
    assert_eq!(tab.value("document.querySelectorAll('form').length").await, 0);
    let http = client();
    let form = [("token", "guess"), ("passphrase", PASSPHRASE), ("again", PASSPHRASE)];
    let post = |path: &str| http.post(format!("{}{path}", shop.admin)).header(ORIGIN, &shop.admin);
    let guessed = post("/seed/new").form(&form).send().await.expect("an answer");
    assert_eq!(guessed.status(), 403);
    let body = json!({ "token": "guess", "passphrase": PASSPHRASE });
    let asked = http.post(format!("{}/api/v1/seed/new", shop.admin)).header(ORIGIN, &shop.admin).json(&body);
    let guessed = asked.send().await.expect("an answer");
    assert_eq!((guessed.status().as_u16(), code(guessed).await), (403, "bad_token".to_owned()));
    let token = link.split_once("token=").expect("a token").1.to_owned();
    let form = [("token", token.as_str()), ("passphrase", PASSPHRASE), ("again", PASSPHRASE)];
    let foreign = http.post(format!("{}/seed/new", shop.admin)).header(ORIGIN, "http://evil.example");
    assert_eq!(foreign.form(&form).send().await.expect("an answer").status(), 403);
    let rebound = post("/seed/new").header(HOST, "evil.example").form(&form).send().await.expect("an answer");
    assert_eq!(rebound.status(), 421);
    let unlocked = http.post(format!("{}/api/v1/unlock", shop.admin)).header(ORIGIN, &shop.admin);
    let unlocked = unlocked.json(&json!({ "passphrase": PASSPHRASE })).send().await.expect("an answer");
    assert_eq!((unlocked.status().as_u16(), code(unlocked).await), (409, "no_seed".to_owned()));
    assert!(!seed_file.exists(), "nothing was made");

    // Who has it chooses a passphrase, sees the words, and proves to have them.
    for (width, height) in [(360, 740), (768, 1024), (1440, 900)] {
        for scheme in ["light", "dark"] {
            tab.looks(width, height, scheme).await;
            tab.open(&link).await;
            tab.picture(&format!("seed-{width}-{scheme}")).await;
            assert_eq!(tab.value(LEGIBLE).await, json!([]), "{width} {scheme}");
        }
    }
    assert_eq!(tab.accessible().await, json!([]));
    tab.looks(1440, 900, "light").await;
    tab.open(&link).await;
    tab.click("#passphrase").await;
    tab.types(PASSPHRASE).await;
    tab.click("#again").await;
    tab.types("another than before").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('.refusal')?.textContent.includes('not the same')").await;
    assert!(!seed_file.exists());
    tab.click("#passphrase").await;
    tab.types(PASSPHRASE).await;
    tab.click("#again").await;
    tab.types(PASSPHRASE).await;
    tab.press("Enter").await;
    let own = words::shown(&tab).await;
    tab.picture("seed-words-1440-light").await;
    tab.click("form[action='/seed/ask'] button").await;
    words::give_back(&tab, &words::wrong()).await;
    tab.until("document.querySelector('.refusal')").await;
    tab.picture("seed-check-1440-light").await;
    assert_eq!(tab.value(LEGIBLE).await, json!([]));
    words::give_back(&tab, &own).await;

    // It starts by itself, and the same link's token claims it.
    tab.until("location.pathname === '/claim' && document.querySelector('#password')").await;
    tab.click("#password").await;
    tab.types(PASSWORD).await;
    tab.click("#again").await;
    tab.types(PASSWORD).await;
    tab.press("Enter").await;
    tab.until("location.pathname === '/start' && document.readyState === 'complete'").await;
    let done =
        tab.value("[...document.querySelectorAll('.steps .done .name')].map((it) => it.textContent)").await;
    assert!(done.to_string().contains("words on paper"), "{done}");
    assert_eq!(tab.complaints(), Vec::<String>::new());
    let (status, said) = running.end("TERM").await;
    assert_eq!(status.code(), Some(0), "{said}");
    // A single word may be one that a log uses anyway.
    let together = own.windows(3).map(|three| three.join(" "));
    assert!(
        together.clone().count() > 9 && together.into_iter().all(|three| !said.contains(&three)),
        "in a log"
    );

    // From now on it has a seed, which its passphrase opens.
    let mut again = Process::spawn(shop.command(&["--network", "mainnet", "--i-know"]));
    again.says("locked ").await;
    again.end("TERM").await;

    // Where one is made by itself, who has words says so beforehand, and finds the same page.
    let (mut running, link) = started(&shop, "regtest", &["--network", "regtest", "--choose-seed"]).await;
    let seed_file = shop.data_dir().join("regtest/seed");
    tab.open(&link).await;
    tab.click("summary").await;
    let restore = async |words: &str| {
        tab.until("document.querySelector('details')?.open || document.querySelector('summary')?.click()")
            .await;
        for (id, text) in
            [("words", words), ("restore-passphrase", PASSPHRASE), ("restore-again", PASSPHRASE)]
        {
            tab.click(&format!("#{id}")).await;
            tab.types(text).await;
        }
        tab.press("Enter").await;
    };
    restore("abandon about").await;
    tab.until("document.querySelector('.refusal')?.textContent.includes('not 12 or 24 seed words')").await;
    assert!(!seed_file.exists() && !tab.text("main").await.contains("abandon about"));
    tab.picture("seed-restore-1440-light").await;
    assert_eq!(tab.value(LEGIBLE).await, json!([]));
    restore(&format!("{} about", "abandon ".repeat(11).trim())).await;
    tab.until("location.pathname === '/claim' && document.querySelector('#password')").await;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    let node = running.says("node      ").await;
    let (_, said) = running.end("TERM").await;
    assert!(!said.contains("abandon"), "{said}");

    // The words are what counts: the flag of the next start changes nothing, and the node is the same.
    let mut again = Process::spawn(shop.command(&["--network", "regtest", "--choose-seed"]));
    again.says("There is a seed already").await;
    assert!(node.split_whitespace().nth(1).is_some_and(|id| id.len() == 66), "{node}");
    again.end("TERM").await;
}

async fn code(answer: reqwest::Response) -> String {
    let body: Value = answer.json().await.expect("JSON");
    body["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_is_brought_back_by_a_program_with_the_link() {
    let shop = shop();
    let (mut running, link) = without_a_seed(&shop).await;
    let token = link.split_once("token=").expect("a token").1;
    let http = client();
    let words = format!("{} about", "abandon ".repeat(11).trim());
    let restore = async |words: &str| {
        let body = json!({ "token": token, "words": words, "passphrase": PASSPHRASE });
        let asked =
            http.post(format!("{}/api/v1/seed/restore", shop.admin)).header(ORIGIN, &shop.admin).json(&body);
        asked.send().await.expect("an answer")
    };
    let refused = restore("abandon about").await;
    assert_eq!((refused.status().as_u16(), code(refused).await), (422, "not_words".to_owned()));
    assert_eq!(restore(&words).await.status(), 200);
    running.says("operator").await;
    let claim = running.says("claim it").await;
    assert!(claim.contains(token), "the link that was followed claims it: {claim}");
    let (status, said) = running.end("TERM").await;
    assert_eq!(status.code(), Some(0), "{said}");
}
