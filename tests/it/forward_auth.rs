//! The listener that other proxies ask: who is believed, what is decided, what it costs.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::{
    Allowance, AllowanceBy, BrowserUnlock, Mode, Offer, Offering, PathPattern, Route, Service, Terms,
    Upstream,
};
use tollhouse::forward_auth::{ForwardAuth, VERDICT, router};
use tollhouse::l402::{authorization, parse_challenge};
use tollhouse::pricing::{Rule, Tier, Tiers, Volume};
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, problem};
use crate::charge_client;

pub(crate) mod caddy;
pub(crate) mod proxied;

/// What this proxy's customers ask for, unless a test says otherwise.
const HOST: &str = "api.example";

/// An appliance with a forward-auth listener, and the key of the proxy that it is for.
pub(crate) struct Asked {
    pub(crate) app: AdminApp,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    stop: CancellationToken,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Everything costs 10 sat, but `/free` nothing and `/dear` 50 sat; `/metered` by what is handed down.
pub(crate) fn service() -> Service {
    let route = |name: &str, path: &str, terms| {
        Route::new(name.parse().expect("a name"), None, PathPattern::Under(path.to_owned()), terms)
    };
    let sat = |amount| Terms::fixed(Msat::from_sat(amount).expect("in range"));
    let ceiling = "50 sat".parse().expect("an amount");
    let volume = Volume::Bytes { per: "1 MB".parse().expect("a size"), ceiling };
    let tier = Tier { up_to: None, price: "1 sat".parse().expect("an amount") };
    let by_bytes = Tiers::new(volume, vec![tier]).expect("tiers");
    let metered = Terms { rule: Rule::Tiers(by_bytes), offers: Vec::new(), ..sat(1) };
    let upstream = Upstream::at("http://127.0.0.1:9/".parse().expect("a URL"));
    Service {
        routes: vec![
            route("free", "/free", Terms::free()),
            route("dear", "/dear", sat(50)),
            route("metered", "/metered", metered),
        ],
        ..Service::new("api".parse().expect("a name"), "/", sat(10), upstream)
    }
}

impl Asked {
    pub(crate) async fn start() -> Asked {
        Asked::selling(service()).await
    }

    async fn selling(service: Service) -> Asked {
        let app = AdminApp::selling(vec![service]).await;
        let state = ForwardAuth { checkout: app.op.parts.checkout.clone(), ledger: app.ledger.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let serving = crate::gateway::serve(listener, router(state), tracker.clone(), stop.clone());
        let stopped = stop.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = stopped.cancelled() => {}
            }
        });
        let key = app.key(&[Scope::ForwardAuth]).await;
        Asked { app, address, key, stop }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// As Caddy asks for a customer, with the key.
    fn ask(&self, method: &str, uri: &str) -> RequestBuilder {
        self.unkeyed(method, uri).header("x-tollhouse-key", &self.key)
    }

    fn unkeyed(&self, method: &str, uri: &str) -> RequestBuilder {
        let asking = self.app.client.get(self.url("/forward-auth"));
        let asking = asking.header("x-forwarded-method", method).header("x-forwarded-uri", uri);
        asking.header("x-forwarded-host", HOST).header("x-forwarded-for", "192.0.2.1")
    }

    /// Pays the invoice of a 402.
    async fn pay(&self, unpaid: Response) -> (String, PaymentHash) {
        assert_eq!(unpaid.status(), StatusCode::PAYMENT_REQUIRED);
        let line = unpaid.headers()["www-authenticate"].to_str().expect("text").to_owned();
        let challenge = parse_challenge(&line).expect("a challenge");
        let body: Value = unpaid.json().await.expect("JSON");
        let hash = body["paymentHash"].as_str().expect("a hash").parse().expect("a hash");
        (authorization(&challenge.macaroon_b64, &self.app.minter.preimage(&hash)), hash)
    }

    async fn buy(&self, uri: &str) -> (String, PaymentHash) {
        self.pay(send(self.ask("GET", uri)).await).await
    }

    /// Left, held and spent of a token, once everything is written.
    async fn units(&self, hash: PaymentHash) -> (u64, u64, u64) {
        self.app.ledger.barrier().await;
        let row = self.app.ledger.grant(hash).await.expect("the ledger reads");
        row.map_or((0, 0, 0), |row| (row.grant.left, row.grant.held, row.grant.spent))
    }

    async fn books_balance(&self) {
        self.app.ledger.barrier().await;
        let audit = self.app.ledger.audit().await.expect("an audit");
        assert!(audit.ok, "{audit:?}");
    }
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

async fn code(request: RequestBuilder) -> (u16, String) {
    let (status, code) = problem(send(request).await).await;
    (status.as_u16(), code)
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// What a 2xx says, in the order of [`VERDICT`].
fn verdict(response: &Response) -> Vec<String> {
    assert_eq!(response.status(), StatusCode::OK, "{response:?}");
    VERDICT.iter().map(|name| response.headers()[name].to_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn a_decision_is_a_debit() {
    let asked = Asked::start().await;
    let (token, hash) = asked.buy("/a").await;
    assert_eq!(asked.units(hash).await, (0, 0, 0), "a challenge is no row");

    let yes = send(asked.ask("GET", "/a?b=c").header("authorization", &token)).await;
    assert_eq!(verdict(&yes), ["spent", &hash.to_hex(), "10000", "0", "api", "default"]);
    assert_eq!(yes.headers()["cache-control"], "no-store");
    assert_eq!(asked.units(hash).await, (0, 0, 1), "the unit counts as delivered on the decision");

    let again = send(asked.ask("GET", "/a?b=c").header("authorization", &token)).await;
    assert_eq!(problem_code(again).await, is(402, "spent"));
    // A name for the request changes nothing: there is no answer to give again.
    let named = asked.ask("GET", "/a?b=c").header("authorization", &token).header("idempotency-key", "k");
    assert_eq!(problem_code(send(named).await).await, is(402, "spent"));

    let free = send(asked.ask("GET", "/free/x")).await;
    assert_eq!(verdict(&free), ["none", "none", "none", "none", "api", "free"]);
    asked.books_balance().await;
}

/// The other dialect is one more proof of the same payment.
#[tokio::test]
async fn a_charge_opens_what_its_token_would_and_has_a_receipt() {
    let asked = Asked::start().await;
    let unpaid = send(asked.ask("GET", "/a")).await;
    let lines = unpaid.headers().get_all("www-authenticate");
    let challenge = lines.iter().filter_map(|l| charge_client::parameters(l.to_str().ok()?)).next();
    let challenge = challenge.expect("a charge");
    let shown = charge_client::answer(&challenge, |hash| asked.app.minter.preimage(hash));
    let (token, hash) = asked.pay(unpaid).await;
    let yes =
        send(asked.ask("GET", "/a").header("authorization", charge_client::authorization(&shown))).await;
    assert_eq!(verdict(&yes), ["spent", &hash.to_hex(), "10000", "0", "api", "default"]);
    let receipt = charge_client::unpacked(yes.headers()["payment-receipt"].to_str().expect("text"));
    assert_eq!(
        (&receipt["challengeId"], receipt["reference"].as_str()),
        (&challenge["id"], Some(&*hash.to_hex()))
    );
    for spent in [token, charge_client::authorization(&shown)] {
        let again = send(asked.ask("GET", "/a").header("authorization", spent)).await;
        assert_eq!(problem_code(again).await, is(402, "spent"));
    }
    assert_eq!(asked.units(hash).await, (0, 0, 1));
    asked.books_balance().await;
}

async fn problem_code(response: Response) -> (u16, String) {
    let (status, code) = problem(response).await;
    (status.as_u16(), code)
}

#[tokio::test]
async fn one_unit_opens_one_of_many_at_once() {
    let asked = Asked::start().await;
    let (token, hash) = asked.buy("/a").await;
    let asking = (0..64).map(|_| send(asked.ask("GET", "/a").header("authorization", &token)));
    let answers = futures_util::future::join_all(asking).await;
    let yes = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    let no = answers.iter().filter(|answer| matches!(answer.status().as_u16(), 402 | 409)).count();
    assert_eq!((yes, no), (1, 63));
    assert_eq!(asked.units(hash).await, (0, 0, 1));
    asked.books_balance().await;
}

#[tokio::test]
async fn only_the_proxy_is_believed() {
    let asked = Asked::start().await;
    let (token, hash) = asked.buy("/a").await;
    let minted = asked.app.minter.minted();
    let no = is(403, "unknown_proxy");
    let paid = |request: RequestBuilder| request.header("authorization", &token);
    assert_eq!(code(paid(asked.unkeyed("GET", "/a"))).await, no);
    assert_eq!(code(paid(asked.unkeyed("GET", "/free"))).await, no);
    for scope in [Scope::Read, Scope::Pay, Scope::Integrate] {
        let key = asked.app.key(&[scope]).await;
        assert_eq!(code(paid(asked.unkeyed("GET", "/a")).header("x-tollhouse-key", key)).await, no);
    }
    for guess in ["", "tollhouse_guess", "Bearer x"] {
        assert_eq!(code(paid(asked.unkeyed("GET", "/a")).header("x-tollhouse-key", guess)).await, no);
    }
    // A customer's own header beside the proxy's: a proxy that adds in place of setting is not believed.
    let twice = paid(asked.ask("GET", "/a")).header("x-tollhouse-key", &asked.key);
    assert_eq!(code(twice).await, no);
    // The key is no credential for anything else.
    let bearer = asked.app.read("/api/v1/status", &asked.key).await;
    assert_eq!(problem_code(bearer).await, is(403, "missing_scope"));

    let listed = asked.app.ledger.list_api_keys().await.expect("keys");
    asked.app.ledger.revoke_api_key(listed[0].id).await.expect("revoked");
    assert_eq!(code(paid(asked.ask("GET", "/a"))).await, no);
    assert_eq!(asked.app.minter.minted(), minted, "nothing was minted for strangers");
    assert_eq!(asked.units(hash).await, (0, 0, 0), "nor debited");
}

#[tokio::test]
async fn a_customer_cannot_speak_for_the_proxy() {
    let asked = Asked::start().await;
    let (cheap, hash) = asked.buy("/a").await;
    let minted = asked.app.minter.minted();
    let paid = |request: RequestBuilder| request.header("authorization", &cheap);
    for (name, value) in
        [("x-forwarded-uri", "/free"), ("x-forwarded-method", "GET"), ("x-forwarded-host", HOST)]
    {
        let twice = paid(asked.ask("GET", "/dear")).header(name, value);
        assert_eq!(code(twice).await, is(400, "bad_forwarded_header"), "{name}");
    }
    for name in ["x-original-url", "x-rewrite-url", "x-http-method-override", "x_original_url"] {
        let renamed = paid(asked.ask("GET", "/a")).header(name, "/dear");
        assert_eq!(code(renamed).await, is(400, "override_header"), "{name}");
    }
    for uri in ["/free/../dear", "/free/%2e%2e/dear", "//dear", "/free\\dear", "/free%2f..", "/a#b", "/a;x"] {
        assert_eq!(code(paid(asked.ask("GET", uri))).await, is(400, "bad_path"), "{uri}");
    }
    let odd = [("GET", "http://evil/free"), ("GET", "free"), ("GET", ""), ("GET", "*")];
    for (method, uri) in odd {
        assert_eq!(code(paid(asked.ask(method, uri))).await.0, 400, "{method} {uri}");
    }
    for method in ["CONNECT", "TRACE", "BREW", "get"] {
        assert_eq!(code(paid(asked.ask(method, "/a"))).await, is(405, "method_not_allowed"), "{method}");
    }
    assert_eq!(asked.app.minter.minted(), minted, "what is not clean is not sold");
    assert_eq!(asked.units(hash).await, (0, 0, 0), "and not charged");
    // An encoded letter is the letter: priced as what the service behind reads.
    assert_eq!(code(paid(asked.ask("GET", "/%64ear"))).await, is(402, "price_changed"));
    // What the gateway itself is told it believes no more than before.
    assert_eq!(asked.units(hash).await, (0, 0, 0));
}

#[tokio::test]
async fn envoy_is_taken_at_its_request_and_not_at_the_headers_in_it() {
    let asked = Asked::start().await;
    let ask = |path: &str| {
        let request = asked.app.client.get(asked.url(path)).header("x-tollhouse-key", &asked.key);
        request.header("host", HOST).header("x-forwarded-host", "free.example")
    };
    let spoofed =
        |path: &str| ask(path).header("x-forwarded-uri", "/free").header("x-forwarded-method", "GET");
    let (token, hash) = asked.pay(send(spoofed("/ext-authz/a")).await).await;
    let (_, dear) = asked.pay(send(spoofed("/ext-authz/dear")).await).await;
    assert_ne!(hash, dear);
    let at_dear = spoofed("/ext-authz/dear").header("authorization", &token);
    assert_eq!(code(at_dear).await, is(402, "price_changed"));
    let yes = send(spoofed("/ext-authz/a?b=c").header("authorization", &token)).await;
    assert_eq!(verdict(&yes)[..2], ["spent", &hash.to_hex()]);
    assert_eq!(verdict(&send(ask("/ext-authz/free")).await)[0], "none");
    let unkeyed = asked.app.client.get(asked.url("/ext-authz/free")).header("host", HOST);
    assert_eq!(code(unkeyed).await, is(403, "unknown_proxy"));
    assert_eq!(code(ask("/ext-authzfree")).await, is(404, "not_found"));
    asked.books_balance().await;
}

#[tokio::test]
async fn a_token_for_more_is_drawn_from_and_what_is_left_is_told() {
    let amount = |text: &str| text.parse().expect("an amount");
    let offer = |name: &str, what| Offer { name: name.parse().expect("a name"), what };
    let offers = vec![
        offer("credit", Offering::Balance { value: amount("25 sat"), price: None }),
        offer("pack", Offering::Pack { requests: 2, price: None }),
    ];
    let own = service();
    let terms = Terms { offers, ..(*own.terms).clone() };
    let asked = Asked::selling(Service { terms: terms.into(), ..own }).await;
    let (credit, hash) = asked.buy("/a").await;
    for left in ["15000", "5000"] {
        let yes = verdict(&send(asked.ask("GET", "/a").header("authorization", &credit)).await);
        assert_eq!((&yes[2][..], &yes[3][..]), ("10000", left), "{yes:?}");
    }
    assert_eq!(
        code(asked.ask("GET", "/a").header("authorization", &credit)).await,
        is(402, "balance_too_small")
    );
    // A balance pays what is dearer, too, and is held for it whole.
    assert_eq!(
        code(asked.ask("GET", "/dear").header("authorization", &credit)).await,
        is(402, "balance_too_small")
    );
    assert_eq!(asked.units(hash).await, (5_000, 0, 20_000));
    let (pack, _) = asked.pay(send(asked.ask("GET", "/a").header("prefer", "l402-offer=pack")).await).await;
    for left in ["1", "0"] {
        let yes = verdict(&send(asked.ask("GET", "/a").header("authorization", &pack)).await);
        assert_eq!(yes[3], left);
    }
    assert_eq!(code(asked.ask("GET", "/a").header("authorization", &pack)).await, is(402, "spent"));
    asked.books_balance().await;
}

#[tokio::test]
async fn what_is_free_is_counted_by_the_address_that_the_proxy_saw() {
    let own = service();
    let free = Allowance { requests: 1, per: Duration::from_secs(86_400), by: AllowanceBy::Ip };
    let terms = Terms { free: Some(free), ..(*own.terms).clone() };
    let asked = Asked::selling(Service { terms: terms.into(), ..own }).await;
    let from = |addresses: &str| {
        let request = asked.app.client.get(asked.url("/forward-auth")).header("x-tollhouse-key", &asked.key);
        let request = request.header("x-forwarded-method", "GET").header("x-forwarded-uri", "/a");
        request.header("x-forwarded-host", HOST).header("x-forwarded-for", addresses)
    };
    assert_eq!(verdict(&send(from("192.0.2.1")).await)[0], "none");
    // What stands before the proxy's own word is the customer's.
    for spoofed in ["192.0.2.1", "198.51.100.7, 192.0.2.1", "203.0.113.9,192.0.2.1"] {
        assert_eq!(code(from(spoofed)).await, is(402, "payment_required"), "{spoofed}");
    }
    assert_eq!(verdict(&send(from("192.0.2.2")).await)[0], "none");
    // Envoy tells no address that its customers could not: they share the one of the Envoy.
    let envoy = |claimed: &str| {
        let request = asked.app.client.get(asked.url("/ext-authz/a")).header("x-tollhouse-key", &asked.key);
        request.header("host", HOST).header("x-forwarded-for", claimed)
    };
    assert_eq!(verdict(&send(envoy("192.0.2.3")).await)[0], "none");
    assert_eq!(code(envoy("192.0.2.4")).await, is(402, "payment_required"));
}

#[tokio::test]
async fn a_service_that_is_off_is_closed_and_one_in_shadow_is_open() {
    let closed = Asked::selling(Service { mode: Mode::Off, ..service() }).await;
    assert_eq!(code(closed.ask("GET", "/a")).await, is(404, "no_such_route"));
    assert_eq!(code(closed.ask("GET", "/free")).await, is(404, "no_such_route"));
    let shadow = Asked::selling(Service { mode: Mode::Shadow, ..service() }).await;
    for path in ["/a", "/dear", "/metered/x", "/free"] {
        assert_eq!(verdict(&send(shadow.ask("GET", path)).await)[0], "none", "{path}");
    }
    assert_eq!(shadow.app.minter.minted(), 0);
}

#[tokio::test]
async fn it_refuses_as_the_gate_does_and_never_says_yes_for_nothing() {
    use std::sync::atomic::Ordering;
    let asked = Asked::start().await;
    let malformed = asked.ask("GET", "/a").header("authorization", "L402 not base64!");
    assert_eq!(code(malformed).await.0, 400);
    let forged = asked.ask("GET", "/a").header("authorization", "L402 AAAA:00");
    assert_eq!(code(forged).await.0, 400);
    // What the answer costs is not seen here.
    assert_eq!(code(asked.ask("GET", "/metered/x")).await, is(503, "metered_by_answer"));
    asked.app.minter.can_receive.store(false, Ordering::SeqCst);
    assert_eq!(code(asked.ask("GET", "/a")).await, is(503, "cannot_receive"));
    assert_eq!(verdict(&send(asked.ask("GET", "/free")).await)[0], "none");
    let elsewhere = asked.app.client.get(asked.url("/")).header("x-tollhouse-key", &asked.key);
    assert_eq!(code(elsewhere).await, is(404, "not_found"));
}

/// The whole answer to a `GET` whose path is sent as it stands.
async fn raw(address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_browser_behind_the_proxy_gets_the_page_and_no_way_in_without_the_preimage() {
    let asked = Asked::selling(Service { unlock: BrowserUnlock::On, ..service() }).await;
    let html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = send(asked.ask("GET", "/v1/rates").header("accept", html)).await;
    assert_eq!(page.status(), StatusCode::PAYMENT_REQUIRED);
    let headers = page.headers().clone();
    assert!(headers.contains_key("www-authenticate") && headers.contains_key("content-security-policy"));
    // That proxy does not bring the question to us whether it was paid.
    assert!(!headers.contains_key("set-cookie"), "{headers:?}");
    let text = page.text().await.expect("text");
    assert!(text.contains("data-unlock=\"false\"") && text.contains("GET /v1/rates"), "{text}");
}

/// THREATS 3: taken back through the operator's API, a token opens nothing here from then on.
#[tokio::test]
async fn a_token_that_was_taken_back_opens_nothing() {
    let asked = Asked::start().await;
    let (token, hash) = asked.buy("/a").await;
    let admin = asked.app.key(&[Scope::Admin]).await;
    let revoked = asked.app.delete(&format!("/api/v1/tokens/{hash}"), &admin).await;
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(code(asked.ask("GET", "/a").header("authorization", &token)).await, is(402, "revoked"));
    assert_eq!(asked.units(hash).await.2, 0);
    asked.books_balance().await;
}
