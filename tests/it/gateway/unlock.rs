//! Letting a browser in once its payment arrived: only that browser, only where the service says so
//! (THREATS 5).

use tollhouse::catalog::{BrowserUnlock, Service};
use tollhouse::ledger::Bought;
use tollhouse::types::{Msat, PaymentHash};

use super::client::Reply;
use super::pay_page::BROWSER;
use super::upstream::Origin;
use super::{TestGate, quick, service};

const PATH: &str = "/.well-known/l402/unlock";

impl TestGate {
    /// What the node tells when a payment reached it.
    pub(super) async fn arrives(&self, hash: PaymentHash, amount: Msat) {
        let bought: Option<Bought> = self.recent.get(&hash);
        self.ledger.receive(hash, amount, bought).await.expect("the ledger writes");
    }

    async fn asks(&self, lines: &str) -> Reply {
        self.get(PATH, lines).await
    }
}

fn ten() -> Msat {
    Msat::from_sat(10).expect("in range")
}

/// A gate whose service lets browsers in.
async fn open(origin: &Origin) -> TestGate {
    TestGate::with(vec![Service { unlock: BrowserUnlock::On, ..service(origin) }], quick()).await
}

/// The token, the payment and the cookie of a page.
struct Page {
    token: String,
    hash: PaymentHash,
    cookie: String,
}

impl Page {
    async fn of(gate: &TestGate) -> Page {
        let page = gate.get("/ok", BROWSER).await;
        let line = page.header("www-authenticate").expect("a challenge");
        let token = line.split('"').nth(1).expect("a macaroon").to_owned();
        let set = page.header("set-cookie").expect("a cookie");
        assert!(
            set.contains("; HttpOnly; SameSite=Strict") && set.contains(&format!("; Path={PATH};")),
            "{set}"
        );
        let cookie = set.split(';').next().expect("a pair").to_owned();
        let text = page.text();
        let hash = text.split("data-hash=\"").nth(1).and_then(|rest| rest.get(..64)).expect("a hash");
        assert!(!text.contains(cookie.split('=').nth(1).expect("a value")), "no script reads it");
        Page { token, hash: hash.parse().expect("a hash"), cookie }
    }

    fn lines(&self) -> String {
        format!("Authorization: L402 {}\r\nCookie: a=b; {}\r\n", self.token, self.cookie)
    }
}

#[tokio::test]
async fn the_browser_that_was_asked_is_let_in_once_the_payment_arrived() {
    let origin = Origin::start().await;
    let gate = open(&origin).await;
    let page = Page::of(&gate).await;
    let rows = gate.rows().await;
    let waiting = gate.asks(&page.lines()).await;
    assert_eq!((waiting.status, waiting.json()["state"].as_str()), (200, Some("waiting")));
    assert_eq!(waiting.header("access-control-allow-origin"), None, "no other site reads it");
    assert_eq!(waiting.header("cache-control"), Some("no-store"));
    assert_eq!(gate.rows().await, rows, "asking writes nothing");

    gate.arrives(page.hash, ten()).await;
    let paid = gate.asks(&page.lines()).await;
    let proof = paid.json()["proof"].as_str().expect("a proof").to_owned();
    assert_ne!(proof, gate.minter.preimage(&page.hash).to_hex(), "preimages are the payer's");
    let line = format!("Authorization: L402 {}:{proof}\r\n", page.token);
    let reply = gate.get("/ok", &line).await;
    assert_eq!((reply.status, reply.header("x-tollhouse-unit")), (200, Some("held")));
    // It is one unit, however it was proved.
    let preimage = gate.minter.preimage(&page.hash).to_hex();
    for proof in [proof, preimage] {
        let again = gate.get("/ok", &format!("Authorization: L402 {}:{proof}\r\n", page.token)).await;
        assert_eq!((again.status, again.code().as_str()), (402, "spent"));
    }
    assert_eq!(origin.hits(), 1);
    assert!(!origin.last().head.to_ascii_lowercase().contains("l402"), "{}", origin.last().head);
    gate.audited().await;
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let origin = Origin::start().await;
    let gate = open(&origin).await;
    let (page, other) = (Page::of(&gate).await, Page::of(&gate).await);
    for paid in [false, true] {
        if paid {
            gate.arrives(page.hash, ten()).await;
        }
        let token = format!("Authorization: L402 {}\r\n", page.token);
        let value = page.cookie.split('=').nth(1).expect("a value");
        let name = page.cookie.split('=').next().expect("a name");
        let other_value = other.cookie.split('=').nth(1).expect("a value");
        for (lines, status, code) in [
            // The token alone, as whoever saw the page's source has it; the cookie alone; another's cookie.
            (token.clone(), 403, "other_browser"),
            (format!("Cookie: {}\r\n", page.cookie), 400, "token_missing"),
            (format!("{token}Cookie: {}\r\n", other.cookie), 403, "other_browser"),
            (format!("{token}Cookie: {name}={other_value}\r\n"), 403, "other_browser"),
            (format!("{token}Cookie: {name}={}\r\n", &value[..62]), 403, "other_browser"),
            (format!("{token}Cookie: {name}=\r\n"), 403, "other_browser"),
            // Another site's page that has its visitor's browser ask.
            (format!("{}Sec-Fetch-Site: cross-site\r\n", page.lines()), 403, "cross_site"),
            (format!("Authorization: L402 AAAA\r\nCookie: {}\r\n", page.cookie), 403, "macaroon_undecodable"),
            (format!("Authorization: L402 !\r\nCookie: {}\r\n", page.cookie), 400, "macaroon_not_base64"),
        ] {
            let reply = gate.asks(&lines).await;
            assert_eq!((reply.status, reply.code().as_str()), (status, code), "{lines}");
            assert!(!reply.text().contains("proof"), "{}", reply.text());
        }
        // Settled or not, the gate itself wants the proof: hash, token and cookie are none.
        for line in [
            page.lines(),
            format!("Authorization: L402 {}:{}\r\n", page.token, page.hash.to_hex()),
            format!("Authorization: L402 {}:{value}\r\n", page.token),
        ] {
            assert_eq!(gate.get("/ok", &line).await.status, 402, "{line}");
        }
    }
    let waiting = gate.asks(&other.lines()).await;
    assert_eq!(waiting.json()["state"], "waiting", "the other page was not paid for");
    assert_eq!(origin.hits(), 0);

    // Less than the price opens nothing either.
    gate.arrives(other.hash, Msat::new(9_999).expect("in range")).await;
    assert_eq!(gate.asks(&other.lines()).await.json()["state"], "waiting");

    // Switched off, it is as if it had never been, for whoever was given a page before too.
    gate.sell(vec![service(&origin)]);
    assert_eq!(gate.asks(&page.lines()).await.status, 402, "the path is one of the service's");
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn a_service_that_does_not_say_so_lets_nobody_in() {
    let origin = Origin::start().await;
    let lenient = Service {
        name: "lenient".parse().expect("a name"),
        path: "/lenient".to_owned(),
        unlock: BrowserUnlock::On,
        routes: Vec::new(),
        ..service(&origin)
    };
    let gate = TestGate::with(vec![service(&origin), lenient], quick()).await;
    let page = gate.get("/ok", BROWSER).await;
    assert_eq!((page.status, page.header("set-cookie")), (402, None));
    assert!(page.text().contains("data-unlock=\"false\""));
    let credential = gate.pay(&gate.get("/ok", "").await);
    gate.arrives(credential.hash, ten()).await;
    let (token, _) = credential.header.split_once(':').expect("both");
    let reply = gate.asks(&format!("Authorization: {token}\r\n")).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "unlock_off"));
    assert_eq!(gate.get("/ok", &format!("Authorization: {token}\r\n")).await.status, 402);
    // A program that is asked to pay by a service that lets browsers in gets no cookie.
    let program = gate.get("/lenient/ok", "").await;
    assert_eq!((program.status, program.header("set-cookie")), (402, None));
    assert_eq!(origin.hits(), 0);
}
