//! A seed that is made, shown, proved, put under a key file, and moved to another machine: none of it stays
//! where it does not belong.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Canaries, FIRST, PASSWORD, SECOND, WRONG, files, loud};
use crate::appliance::{Appliance, Process, bitcoind_section, tollhouse, until};
use crate::bitcoind::{client, free_port};
use crate::locked::passphrase_file;

/// An appliance whose node never comes up, and what was said around it.
struct House {
    shop: Appliance,
    canaries: Canaries,
    /// What was printed that nobody asked to see.
    said: String,
}

impl House {
    /// Runs a command with a loud log; gives its stdout, which may be meant to show something.
    async fn shows(&mut self, args: &[&str]) -> String {
        let mut command = loud(tollhouse(self.shop.home(), args));
        command.arg("--config").arg(self.shop.config_file());
        let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let done = done.expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        assert_eq!(done.status.code(), Some(0), "{args:?}: {out}{err}");
        self.said.push_str(&err);
        out
    }

    async fn does(&mut self, args: &[&str]) {
        let out = self.shows(args).await;
        self.said.push_str(&out);
    }

    /// Starts it, and waits until it is open.
    async fn starts(&mut self, more: &[&str]) {
        self.shop.start_as(loud(self.shop.command(more)));
        let url = format!("{}/api/v1/status", self.shop.admin);
        let shop = &self.shop;
        until("the appliance to be open", async || {
            let answer = client().get(&url).bearer_auth(shop.key()?).send().await.ok()?;
            let status: Value = answer.json().await.ok()?;
            status["node"].is_object().then_some(())
        })
        .await;
    }

    async fn stops(&mut self) {
        let said = self.shop.stopped().await;
        assert!(said.contains("TRACE"), "the log is loud");
        // The claim's link is printed for the operator.
        self.said.push_str(&said);
    }

    fn words(&mut self, name: &str, words: &[String]) {
        self.canaries.text(name, &words.join(" "));
        self.canaries.text(name, &words[..3].join(" "));
        self.canaries.text(name, &format!("\"{}\",\"{}\",\"{}\"", words[0], words[1], words[2]));
    }
}

/// A page of the claimed appliance.
struct Page<'a> {
    shop: &'a Appliance,
    session: String,
}

impl Page<'_> {
    async fn sends(&self, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let stays =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let request = stays.post(format!("{}{path}", self.shop.admin)).header("origin", &self.shop.admin);
        let answer = request.header("cookie", &self.session).form(fields).send().await.expect("an answer");
        let place = answer.headers().get("location").and_then(|to| to.to_str().ok()).map(str::to_owned);
        (answer.status().as_u16(), place.unwrap_or(answer.text().await.expect("a page")))
    }
}

/// Claims it; gives the session.
async fn claimed(shop: &mut Appliance) -> String {
    let claim = shop.process().says("claim it").await;
    let link = claim.split_whitespace().find(|word| word.starts_with("http")).expect("a link").to_owned();
    let token = link.rsplit('=').next().expect("a token");
    let form = [("token", token), ("password", PASSWORD), ("again", PASSWORD)];
    let request = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let request = request.expect("a client").post(format!("{}/claim", shop.admin));
    let answer = request.header("origin", &shop.admin).form(&form).send().await.expect("an answer");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    cookie.split(';').next().expect("a pair").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_is_made_and_moves_leaves_no_trace() {
    let shop = Appliance::written(&bitcoind_section(free_port()), "");
    let file = |name: &str, text: &str| passphrase_file(shop.home(), name, text).display().to_string();
    let (first, second) = (file("first", FIRST), file("second", SECOND));
    let mut house = House { shop, canaries: Canaries::default(), said: String::new() };
    for passphrase in [FIRST, SECOND, WRONG] {
        house.canaries.text("passphrase", passphrase);
    }
    house.canaries.text("password", PASSWORD);

    // Its words are shown to who makes it, and to nobody else.
    let shown = house.shows(&["seed", "new", "--passphrase-file", &first, "--yes-print", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let words: Vec<String> = serde_json::from_value(shown["words"].clone()).expect("words");
    assert_eq!(words.len(), 24);
    house.words("seed words", &words);

    // The page shows them once more to who says the passphrase, has them proved, and changes the passphrase.
    house.starts(&["--passphrase-file", &first]).await;
    let session = claimed(&mut house.shop).await;
    house.canaries.text("session", session.split_once('=').expect("a value").1);
    let page = Page { shop: &house.shop, session };
    let again = [("password", PASSWORD), ("again", "on"), ("passphrase", FIRST)];
    let (status, text) = page.sends("/start/seed/words", &again).await;
    assert!(status == 200 && words.iter().all(|word| text.contains(&format!(">{word}<"))), "{status}");
    let asked = house.shop.post("/api/v1/seed/questions", json!({})).await;
    let numbers: Vec<usize> = serde_json::from_value(asked["numbers"].clone()).expect("numbers");
    let fields: Vec<_> = ["first", "second", "third"]
        .into_iter()
        .zip(&numbers)
        .map(|(field, number)| (field, words[number - 1].as_str()))
        .collect();
    assert_eq!(page.sends("/start/seed/check", &fields).await, (303, "/start/seed?said=checked".to_owned()));
    let change = [("password", PASSWORD), ("passphrase", FIRST), ("new", SECOND), ("again", SECOND)];
    let changed = page.sends("/start/seed/passphrase", &change).await;
    assert_eq!(changed, (303, "/start/seed?said=passphrase".to_owned()));
    house.stops().await;

    // A key file opens it with nobody there.
    let key = house.shop.home().join("stick.key").display().to_string();
    house.does(&["seed", "key-file", &key, "--passphrase-file", &second]).await;
    let text = fs::read_to_string(&key).expect("the key file");
    house.canaries.text("key file", text.trim());
    if let Ok(bytes) = hex::decode(text.trim()) {
        house.canaries.bytes("key file", &bytes);
    }
    house.starts(&["--unlock-key-file", &key]).await;
    house.stops().await;

    // It moves, under a code of twelve words.
    let (moved, code) = (house.shop.home().join("shop.move"), house.shop.home().join("code"));
    let (moved_as, code) = (moved.display().to_string(), code.display().to_string());
    house.does(&["migrate", "export", &moved_as, "--code-file", &code, "--yes"]).await;
    let of_move = fs::read_to_string(&code).expect("the code");
    let of_move: Vec<String> = of_move.split_whitespace().map(str::to_owned).collect();
    assert_eq!(of_move.len(), 12);
    house.words("move code", &of_move);
    let sealed = fs::read(&moved).expect("the sealed file");
    let new_home = TempDir::new().expect("a folder");
    let new_dir = new_home.path().join("data").display().to_string();
    let import = ["migrate", "import", &moved_as, "--code-file", &code, "--yes", "--network", "regtest"];
    let mut import = loud(tollhouse(house.shop.home(), &import));
    import.args(["--data-dir", &new_dir]);
    let (status, said) = Process::spawn(import).ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    house.said.push_str(&said);

    // What only the opened files say.
    let opener = tollhouse::secrets::Opener::Passphrase(tollhouse::secrets::Passphrase::new(SECOND));
    let dir = new_home.path().join("data/regtest");
    let entropy = tollhouse::clock::SystemEntropy::new();
    let network = bitcoin::Network::Regtest;
    let opened = tollhouse::secrets::Secrets::open_or_create(&dir, network, &opener, &*entropy);
    let secrets = opened.expect("the passphrase that was set on the page opens it there");
    assert_eq!(secrets.words(), words.join(" "));
    house.canaries.bytes("seed", secrets.seed());

    let House { canaries, said, shop } = house;
    assert_eq!(canaries.said_in(said.as_bytes()), [""; 0], "in a log, or in what commands print");
    assert_eq!(canaries.said_in(&sealed), [""; 0], "in the sealed file");
    let mut found = Vec::new();
    files(&shop.data_dir(), &mut found);
    let before = found.len();
    files(new_home.path(), &mut found);
    assert!(before >= 5 && found.len() >= before + 5, "{found:?}");
    for path in found {
        let bytes = fs::read(&path).expect("a file");
        assert_eq!(canaries.said_in(&bytes), [""; 0], "in {}", path.display());
    }
    assert_eq!(canaries.said_in(fs::read(&code).expect("the code").as_slice()), ["move code"], "it finds");
}
