//! The flows that the secrets go through.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tollhouse::sandbox::buyer::Wanted;

use super::{FIRST, PASSWORD, SECOND, Stage, WRONG, loud};
use crate::appliance::{Appliance, challenged, paid, tollhouse, until};
use crate::bitcoind::client;
use crate::e2e_run::{fund, open_channel};

/// The pages that a person may open, those that are there.
const PAGES: [&str; 20] = [
    "/",
    "/live",
    "/start",
    "/start/seed",
    "/start/seed/check",
    "/coins/receive",
    "/coins/send",
    "/revenue",
    "/services",
    "/services/new",
    "/tokens",
    "/lightning",
    "/lightning/open",
    "/lightning/inbound",
    "/coins",
    "/activity",
    "/operations/1",
    "/integrations",
    "/backup",
    "/system",
];

/// Forms that take something secret. What is sent is refused by each, and told to nobody.
const FORMS: [&str; 4] = ["/start/seed/words", "/start/seed/check", "/start/seed/passphrase", "/login"];

impl Stage {
    /// Locked, and unlocked on the second try.
    pub(super) async fn unlocks(&mut self, passphrase: &str) {
        let wrong = self.file("wrong", WRONG);
        self.shop.start_as(loud(self.shop.command(&[])));
        self.shop.process().says("locked    ").await;
        self.command(&["unlock", "--passphrase-file", &wrong], 1).await;
        let body = format!("{{\"passphrase\": \"{FIRST}\", \"nonsense\": \"{WRONG}\"}}");
        let unlock = format!("{}/api/v1/unlock", self.shop.admin);
        let garbled = client().post(&unlock).header("origin", &self.shop.admin);
        let garbled = garbled.header("content-type", "application/json").body(body);
        assert_eq!(garbled.send().await.expect("an answer").status().as_u16(), 400);
        self.command(&["unlock", "--passphrase-file", passphrase], 0).await;
    }

    /// The operator claims the page, fails to log in, logs in, and makes keys and a webhook. Gives the session.
    pub(super) async fn operates(&mut self) -> String {
        let Stage { shop, canaries, .. } = self;
        let claim = shop.process().says("claim it").await;
        let link = claim.split_whitespace().find(|word| word.starts_with("http")).expect("a link").to_owned();
        let token = link.rsplit('=').next().expect("a token").to_owned();
        let stays =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let form = async |path: &str, fields: &[(&str, &str)]| {
            let request = stays.post(format!("{}{path}", shop.admin)).header("origin", &shop.admin);
            request.form(fields).send().await.expect("an answer")
        };
        let cookie = |answer: &reqwest::Response| {
            let line = answer.headers()["set-cookie"].to_str().expect("text");
            line.split(';').next().expect("a pair").to_owned()
        };
        let value = |pair: &str| pair.split_once('=').expect("a value").1.to_owned();
        let claimed = form("/claim", &[("token", &token), ("password", PASSWORD), ("again", PASSWORD)]).await;
        canaries.text("session", &value(&cookie(&claimed)));
        form("/login", &[("password", WRONG)]).await;
        let session = cookie(&form("/login", &[("password", PASSWORD)]).await);
        canaries.text("session", &value(&session));

        let key = shop.post("/api/v1/keys", json!({ "label": "canary", "scopes": ["read"] })).await;
        canaries.text("API key", key["key"].as_str().expect("a key"));
        let wallet = json!({ "label": "wallet", "scopes": ["wallet"], "per_day_msat": 1_000_000 });
        let wallet = shop.post("/api/v1/keys", wallet).await["key"].as_str().expect("a key").to_owned();
        canaries.text("wallet key", &wallet);
        let balance = client().get(format!("{}/v1/balance/channels", shop.admin));
        balance.header("grpc-metadata-macaroon", hex::encode(&wallet)).send().await.expect("an answer");
        let hook = format!("http://{}/hook", self.upstream.address);
        let hook = json!({ "url": hook, "label": "canary", "allow_private": true });
        let made = shop.post("/api/v1/webhooks", hook).await;
        canaries.text("webhook secret", made["secret"].as_str().expect("a secret"));
        let id = made["id"].as_str().map_or_else(|| made["id"].to_string(), str::to_owned);
        shop.post(&format!("/api/v1/webhooks/{id}/test"), json!({})).await;
        canaries.text("admin key", &shop.key().expect("a key"));
        session
    }

    /// A customer buys, and comes back with a token that is spent and one that is broken; then `fetch` buys.
    pub(super) async fn sells(&mut self) {
        self.shop.up().await;
        self.payer.up().await;
        fund(&self.bitcoind, &self.shop, &self.payer).await;
        open_channel(&self.bitcoind, &self.shop, &self.payer).await;
        let customer = self.payer.customer();
        let wanted = Wanted { url: format!("{}/v1/rates", self.shop.gateway), body: None };
        let unpaid = challenged(&customer, &wanted, None).await;
        let credential = paid(&customer, &unpaid).await;
        self.canaries.credential("sold", &credential);
        let sold = customer.ask(&wanted, Some(&credential)).await.expect("an answer");
        assert_eq!(sold.status, 200, "{}", sold.body);
        assert_eq!(challenged(&customer, &wanted, Some(&credential)).await.status, 402);
        let broken = format!("{credential}00");
        customer.ask(&wanted, Some(&broken)).await.expect("an answer");

        self.canaries.text("admin key", &self.payer.key().expect("a key"));
        let key = self.payer.data_dir().join("regtest/admin.key");
        let url = format!("{}/v1/fetched", self.shop.gateway);
        until("the fetch", async || {
            let mut fetch =
                loud(tollhouse(self.away.path(), &["fetch", &url, "--wallet", &self.payer.admin]));
            fetch.arg("--wallet-key-file").arg(&key);
            let done = tokio::task::spawn_blocking(move || fetch.output()).await.expect("no panic");
            let done = done.expect("the program runs");
            self.said.push_str(&String::from_utf8_lossy(&done.stdout));
            self.said.push_str(&String::from_utf8_lossy(&done.stderr));
            // The same again goes on with the same purchase.
            done.status.success().then_some(())
        })
        .await;
    }

    /// Coins are sent, an invoice is paid out, and a splice is asked for.
    pub(super) async fn moves_coins(&mut self) {
        let to = self.payer.post("/api/v1/onchain/address", json!({})).await["address"].clone();
        let to = to.as_str().expect("an address").to_owned();
        self.command(&["wallet", "send", &to, "--amount-sat", "20000", "--yes"], 0).await;
        self.bitcoind.mine(6).await;

        let customer = self.payer.customer();
        let wanted = Wanted { url: format!("{}/v1/paid-out", self.shop.gateway), body: None };
        let unpaid = challenged(&customer, &wanted, None).await;
        let hash = crate::appliance::asked_for(&unpaid);
        let invoice = unpaid.challenge().expect("a challenge").invoice;
        let paid_out = json!({ "to": invoice, "wait_ms": 30_000 });
        let url = format!("{}/api/v1/payouts", self.payer.admin);
        let request = client().post(url).bearer_auth(self.payer.key().expect("a key"));
        let answer = request.header("idempotency-key", "out").json(&paid_out).send().await;
        assert!(answer.expect("an answer").status().is_success());
        let preimage = until("the payout", async || {
            let sent = self.payer.get(&format!("/api/v1/payments/sent/{hash}")).await;
            sent["preimage"].as_str().map(str::to_owned)
        })
        .await;
        self.canaries.bytes("preimage", &hex::decode(preimage).expect("hexadecimal"));
        let channel = self.payer.up().await["channels"][0]["channel_id"].as_str().expect("an id").to_owned();
        let splice = json!({ "address": to, "amount_sat": 10_000 });
        self.payer.tell(&format!("/api/v1/channels/{channel}/splice-out"), splice).await;
    }

    /// The webhook's endpoint hears of the payments.
    pub(super) async fn delivers(&mut self) {
        until("a delivery", async || {
            let page = self.shop.get("/api/v1/deliveries").await;
            let rows = page["deliveries"].as_array().expect("a list").clone();
            rows.iter().any(|row| row["state"] == "delivered").then_some(())
        })
        .await;
    }

    /// A person opens every page that there is, and types secrets into forms.
    pub(super) async fn turns_every_page(&mut self, session: &str) {
        let typed = [
            ("password", PASSWORD),
            ("passphrase", WRONG),
            ("again", WRONG),
            ("new", SECOND),
            ("first", "legal"),
            ("second", "winner"),
            ("third", "zoo"),
        ];
        for page in PAGES {
            let request = client().get(format!("{}{page}", self.shop.admin)).header("cookie", session);
            let answer = request.send().await.expect("an answer");
            assert!(!answer.status().is_server_error(), "{page}: {}", answer.status());
            assert_ne!(answer.url().path(), "/login", "{page}: the session is over");
        }
        // The last of them begins another session, and ends this one.
        for form in FORMS {
            let request = client().post(format!("{}{form}", self.shop.admin)).header("cookie", session);
            let request = request.header("origin", &self.shop.admin).form(&typed);
            let answer = request.send().await.expect("an answer");
            assert!(!answer.status().is_server_error(), "{form}: {}", answer.status());
        }
    }

    /// A person has a key, a token and an endpoint made on pages, and sends coins.
    pub(super) async fn fills_forms(&mut self, session: &str) {
        let Stage { shop, canaries, .. } = self;
        let post = async |path: &str, fields: &[(&str, &str)]| {
            let request = client().post(format!("{}{path}", shop.admin)).header("cookie", session);
            let answer = request.header("origin", &shop.admin).form(fields).send().await.expect("an answer");
            let status = answer.status();
            let page = answer.text().await.expect("a page");
            assert!(status.is_success(), "{path}: {status} {page}");
            page
        };
        // The form, and the answer to the question that it asks.
        let answer = async |path: &str, fields: &[(&str, &str)]| {
            let asked = post(path, &[fields, &[("password", PASSWORD)]].concat()).await;
            match asked.split_once("name=\"key\" value=\"") {
                Some((_, rest)) if !asked.contains("id=\"secret\"") => {
                    let key = rest.split('"').next().expect("it ends");
                    post(path, &[fields, &[("key", key), ("password", PASSWORD)]].concat()).await
                }
                _ => asked,
            }
        };
        let shown = |page: &str, id: &str| {
            let rest = page.split_once(&format!("<code id=\"{id}\"")).unwrap_or_else(|| panic!("{page}")).1;
            let text = rest.split_once('>').expect("the tag ends").1;
            text.split('<').next().expect("it ends").to_owned()
        };
        let key = answer("/integrations/keys", &[("label", "page"), ("read", "on")]).await;
        let key = shown(&key, "secret");
        assert!(key.starts_with("tollhouse_"), "{key}");
        canaries.text("page key", &key);

        let gift = [("service", "rates"), ("budget", "100 sat"), ("expires", "1 day"), ("label", "friend")];
        let given = shown(&answer("/tokens/grant", &gift).await, "authorization");
        canaries.credential("given", &given);

        let hook = format!("http://{}/page-hook", self.upstream.address);
        let hook = [("label", "page"), ("url", hook.as_str()), ("allow_private", "on")];
        let secret = shown(&answer("/integrations/webhooks", &hook).await, "secret");
        canaries.text("page webhook secret", &secret);
        let bytes = BASE64_STANDARD.decode(secret.trim_start_matches("whsec_")).expect("base64");
        canaries.bytes("page webhook secret", &bytes);
        answer("/integrations/webhooks/2/test", &[]).await;

        let to = self.payer.post("/api/v1/onchain/address", json!({})).await["address"].clone();
        let to = to.as_str().expect("an address");
        let sent = answer("/coins/send", &[("to", to), ("amount", "20000"), ("fee", "normal")]).await;
        assert!(sent.contains("Send 20,000 sat") && !sent.contains("name=\"key\""), "{sent}");
    }

    /// Shows that the words were written down, badly.
    pub(super) async fn proves_the_words(&mut self) {
        let Stage { shop, .. } = self;
        let again = shop.refused("/api/v1/seed/words", json!({ "again": true, "passphrase": FIRST })).await;
        assert_eq!(again, (409, "words_verified".to_owned()), "they were typed in");
        let asked = shop.post("/api/v1/seed/questions", json!({})).await;
        assert_eq!(asked["numbers"].as_array().map(Vec::len), Some(3));
        let wrong = shop.refused("/api/v1/seed/verify", json!({ "words": ["zoo", "zoo", "zoo"] })).await;
        assert_eq!(wrong.0, 403);
    }

    /// Makes a backup and has it proved; gives its file.
    pub(super) async fn backs_up(&mut self) -> String {
        let made = self.shop.post("/api/v1/backups", json!({})).await;
        let name = made["file"].as_str().expect("a name").to_owned();
        self.command(&["backup", "list"], 0).await;
        self.command(&["backup", "verify", &name], 0).await;
        self.backups.path().join(name).display().to_string()
    }

    /// Proves the backup and puts it in the ledger's place, while the shop is stopped.
    pub(super) async fn restores(&mut self, backup: &str, passphrase: &str) {
        let wrong = self.file("wrong", WRONG);
        let open = |file| ["--passphrase-file", file];
        self.command(&[["backup", "verify", backup].as_slice(), &open(&wrong)].concat(), 1).await;
        self.command(&[["backup", "verify", backup].as_slice(), &open(passphrase)].concat(), 0).await;
        let restore = [["backup", "restore", backup, "--yes"].as_slice(), &open(passphrase)].concat();
        self.command(&restore, 0).await;
    }

    /// Brings the coins home until it is interrupted; gives the log.
    pub(super) async fn recovers(&mut self, passphrase: &str) -> String {
        self.command(&["recover", "--dry-run", "--passphrase-file", passphrase], 0).await;
        let Stage { shop, .. } = self;
        shop.start_as(loud(recover(shop, passphrase)));
        shop.process().says("is kept as").await;
        shop.process().says("are in the on-chain wallet").await;
        let mut log = shop.kill().await;
        // The other side of a channel whose state was set up anew closes it: nothing is sold over it again.
        shop.start_as(loud(shop.command(&["--passphrase-file", passphrase])));
        shop.process().says("node      ").await;
        log.push_str(&shop.stopped().await);
        log
    }
}

fn recover(shop: &Appliance, passphrase: &str) -> std::process::Command {
    shop.tool("recover", &["--yes", "--passphrase-file", passphrase])
}
