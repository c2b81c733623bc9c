//! A paywall and a wallet that count, and that stop at a chosen moment so that a client can be killed
//! in it; and the real binary as their client.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use futures_util::StreamExt;
use http::StatusCode;
use lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, CountingEntropy, Entropy, SystemClock, SystemEntropy};
use tollhouse::l402::{Identifier, MasterKeys, Sold, Token, presented};
use tollhouse::types::{Kind, Msat, PaymentHash, Preimage, Timestamp};

pub(crate) const KEY: &str = "a-key-that-may-pay";

/// Where the world stops, once, until its client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// The 402 is about to be sent.
    BeforeChallenge,
    /// The wallet has heard nothing that it noted.
    BeforePayment,
    /// The wallet has sent the payment; it has no end yet.
    DuringPayment,
    /// The payment succeeded; the answer is not sent.
    AfterPayment,
    /// The proof has arrived, and nothing was done with it.
    BeforeService,
    /// The service was rendered; nothing of the answer is sent.
    AfterService,
    /// Half the body is sent.
    MidBody,
}

/// What the paywall does other than it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trick {
    #[default]
    None,
    /// The JSON beside the challenge says one satoshi.
    CheapBody,
    /// The macaroon belongs to another payment.
    OtherMacaroon,
    /// The invoice ended an hour ago.
    Expired,
}

#[derive(Clone, Debug)]
enum Payment {
    Pending,
    Failed(&'static str),
    Succeeded,
}

pub(crate) struct Inside {
    clock: Arc<SystemClock>,
    keys: MasterKeys,
    preimages: Mutex<HashMap<PaymentHash, Preimage>>,
    payments: Mutex<HashMap<PaymentHash, Payment>>,
    /// Who was served: the hash and the idempotency keys, each once.
    served: Mutex<HashMap<PaymentHash, Vec<String>>>,
    /// How many requests the tokens that are sold are good for.
    pub(crate) units: AtomicU64,
    stop_at: Mutex<Option<Point>>,
    stopped: mpsc::UnboundedSender<Point>,
    pub(crate) trick: Mutex<Trick>,
    pub(crate) price_msat: AtomicU64,
    /// Payments that left the wallet.
    pub(crate) paid: AtomicUsize,
    /// Requests that reached the service behind the paywall.
    pub(crate) served_count: AtomicUsize,
    /// Requests that brought a proof.
    pub(crate) proofs: AtomicUsize,
    pub(crate) challenges: AtomicUsize,
    /// How many of the next proofs are answered with this status.
    pub(crate) failing: AtomicUsize,
    pub(crate) failing_with: AtomicU16,
    /// What the wallet answers to the next payments: a refusal's code, or `failed`.
    pub(crate) wallet_says: Mutex<Option<&'static str>>,
    pub(crate) forgets_answers: Mutex<bool>,
    /// Why no proof is taken.
    pub(crate) refusing: Mutex<Option<&'static str>>,
    /// Nobody can pay it: where a challenge would be, there is none.
    pub(crate) closed: AtomicBool,
    pub(crate) idempotency_keys: Mutex<HashSet<String>>,
    /// What clients preferred.
    pub(crate) prefers: Mutex<Vec<String>>,
    pub(crate) body: Mutex<Vec<u8>>,
}

impl Inside {
    async fn reach(&self, point: Point) {
        let here = locked(&self.stop_at).take_if(|at| *at == point).is_some();
        if here {
            self.stopped.send(point).expect("the test listens");
            // The handler is dropped with its connection.
            std::future::pending::<()>().await;
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("not poisoned")
}

/// The world and the client's state directory.
pub(crate) struct World {
    pub(crate) inside: Arc<Inside>,
    pub(crate) gateway: String,
    pub(crate) wallet: String,
    pub(crate) home: tempfile::TempDir,
    stopped: mpsc::UnboundedReceiver<Point>,
}

impl World {
    pub(crate) async fn start() -> World {
        let (sender, stopped) = mpsc::unbounded_channel();
        let inside = Arc::new(Inside {
            clock: SystemClock::new(Timestamp::default()),
            keys: MasterKeys::new(1, [(1, [1; 32])]).expect("one key"),
            preimages: Mutex::default(),
            payments: Mutex::default(),
            served: Mutex::default(),
            units: AtomicU64::new(1),
            stop_at: Mutex::default(),
            stopped: sender,
            trick: Mutex::default(),
            price_msat: AtomicU64::new(5_000),
            paid: AtomicUsize::default(),
            served_count: AtomicUsize::default(),
            proofs: AtomicUsize::default(),
            challenges: AtomicUsize::default(),
            failing: AtomicUsize::default(),
            failing_with: AtomicU16::new(502),
            wallet_says: Mutex::default(),
            forgets_answers: Mutex::default(),
            refusing: Mutex::default(),
            closed: AtomicBool::default(),
            idempotency_keys: Mutex::default(),
            prefers: Mutex::default(),
            // More than a pipe holds.
            body: Mutex::new((0..40_000).flat_map(|n: u32| format!("{n:06} ").into_bytes()).collect()),
        });
        let paywall = Router::new()
            .route("/free", any(|| async { "free as air" }))
            .route("/teapot", any(|| async { (StatusCode::IM_A_TEAPOT, "short and stout") }))
            .route("/paid", any(paywall))
            .with_state(Arc::clone(&inside));
        let wallet = Router::new()
            .route("/api/v1/payments/send", post(send))
            .route("/api/v1/payments/sent/{hash}", get(look))
            .with_state(Arc::clone(&inside));
        let home = tempfile::tempdir().expect("a directory");
        World { gateway: serve(paywall).await, wallet: serve(wallet).await, inside, home, stopped }
    }

    /// The binary, which knows nothing but this world.
    pub(crate) fn fetch(&self, path: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollhouse"));
        command
            .env_clear()
            .env("TOLLHOUSE_STATE_DIR", self.home.path().join("state"))
            .env("TOLLHOUSE_WALLET_URL", &self.wallet)
            .env("TOLLHOUSE_WALLET_KEY", KEY)
            .arg("fetch")
            .arg(format!("{}{path}", self.gateway))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, path: &str, args: &[&str]) -> Ran {
        finish(self.fetch(path, args).spawn().expect("the binary starts")).await
    }

    /// Starts the client, and kills it when the world is at `point`.
    pub(crate) async fn kill_at(&mut self, point: Point, args: &[&str]) -> Ran {
        *locked(&self.inside.stop_at) = Some(point);
        let mut child = self.fetch("/paid", args).spawn().expect("the binary starts");
        let reached = tokio::time::timeout(Duration::from_secs(60), self.stopped.recv()).await;
        child.kill().expect("it runs");
        let ran = finish(child).await;
        assert_eq!(reached.ok().flatten(), Some(point), "not reached: {ran:?}");
        ran
    }

    /// The payment that is on its way arrives.
    pub(crate) fn payments_arrive(&self) {
        for payment in locked(&self.inside.payments).values_mut() {
            if matches!(payment, Payment::Pending) {
                *payment = Payment::Succeeded;
            }
        }
    }

    pub(crate) fn paid(&self) -> usize {
        self.inside.paid.load(Ordering::SeqCst)
    }

    pub(crate) fn served(&self) -> usize {
        self.inside.served_count.load(Ordering::SeqCst)
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        locked(&self.inside.body).clone()
    }

    /// What the client left in its state directory.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let dir = self.home.path().join("state/fetch");
        let entries = std::fs::read_dir(dir).map(|all| all.map(|entry| entry.expect("an entry").path()));
        entries.map(Iterator::collect).unwrap_or_default()
    }
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` when it was killed.
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Reads what a child prints until it ends.
pub(crate) async fn finish(child: Child) -> Ran {
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
    let Output { status, stdout, stderr } = ended.expect("no panic").expect("it ends");
    Ran { exit: status.code(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    TaskTracker::new().spawn(axum::serve(listener, router).into_future());
    format!("http://{address}")
}

async fn paywall(State(world): State<Arc<Inside>>, request: Request) -> Response {
    let proof = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let Some(proof) = proof.filter(|value| value.starts_with("L402 ")) else {
        if let Some(prefer) = request.headers().get("prefer") {
            locked(&world.prefers).push(prefer.to_str().expect("text").to_owned());
        }
        return challenge(&world, "payment_required").await;
    };
    assert!(presented(request.headers()).is_ok_and(|all| all.len() == 1), "the gateway can read it");
    let (_, preimage) = proof.rsplit_once(':').expect("a preimage");
    let preimage: Preimage = preimage.parse().expect("a preimage");
    world.proofs.fetch_add(1, Ordering::SeqCst);
    let hash = preimage.payment_hash();
    assert!(locked(&world.preimages).contains_key(&hash), "a proof of no payment of ours");
    let key = request.headers()["idempotency-key"].to_str().expect("text").to_owned();
    locked(&world.idempotency_keys).insert(key.clone());
    if world.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return failing(&world);
    }
    let refusing = *locked(&world.refusing);
    if let Some(code) = refusing {
        return challenge(&world, code).await;
    }
    world.reach(Point::BeforeService).await;
    let before = locked(&world.served).get(&hash).cloned().unwrap_or_default();
    let units = usize::try_from(world.units.load(Ordering::SeqCst)).expect("few");
    match before.len() {
        _ if before.contains(&key) && !*locked(&world.forgets_answers) => {}
        served if served >= units => return challenge(&world, "spent").await,
        _ => {
            locked(&world.served).entry(hash).or_default().push(key);
            world.served_count.fetch_add(1, Ordering::SeqCst);
            world.reach(Point::AfterService).await;
        }
    }
    let body = locked(&world.body).clone();
    let length = body.len();
    let (head, tail) = body.split_at(length / 2);
    let (head, tail) = (Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail));
    let stream = futures_util::stream::iter([head]).chain(futures_util::stream::once(async move {
        world.reach(Point::MidBody).await;
        tail
    }));
    Response::builder()
        .header("content-length", length)
        .body(Body::from_stream(stream.map(Ok::<_, std::io::Error>)))
        .expect("a response")
}

fn failing(world: &Inside) -> Response {
    let status = StatusCode::from_u16(world.failing_with.load(Ordering::SeqCst)).expect("a status");
    let problem = json!({ "code": if status == 409 { "in_flight" } else { "upstream_error" },
        "title": "No such\u{1b}[31m city" })
    .to_string();
    let mut response = (status, [("content-type", "application/problem+json")], problem).into_response();
    if status == StatusCode::CONFLICT {
        response.headers_mut().insert("retry-after", 1.into());
    } else if status != StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert("x-tollhouse-unit", "restored".parse().expect("a value"));
    }
    response
}

async fn challenge(world: &Inside, code: &str) -> Response {
    if world.closed.load(Ordering::SeqCst) {
        let problem = json!({ "code": "cannot_receive", "title": "Cannot be paid now" }).to_string();
        let kind = [("content-type", "application/problem+json")];
        return (StatusCode::SERVICE_UNAVAILABLE, kind, problem).into_response();
    }
    world.challenges.fetch_add(1, Ordering::SeqCst);
    let trick = *locked(&world.trick);
    let preimage = Preimage::from_bytes(fresh());
    let hash = preimage.payment_hash();
    locked(&world.preimages).insert(hash, preimage);
    let price = world.price_msat.load(Ordering::SeqCst);
    let ago = if trick == Trick::Expired { 7_200 } else { 0 };
    let invoice = invoice(hash, price, world.clock.now().secs() - ago);
    let named = if trick == Trick::OtherMacaroon { PaymentHash::from_bytes([9; 32]) } else { hash };
    let token_id = world.keys.new_token_id(&CountingEntropy::default());
    let sold = Sold::request(
        "api".parse().expect("a name"),
        "paid".parse().expect("a name"),
        Msat::new(price).expect("in range"),
        1,
        Timestamp::from_secs(4_000_000_000),
    );
    let units = world.units.load(Ordering::SeqCst);
    let kind = if units == 1 { Kind::Request } else { Kind::Pack };
    let sold = Sold { kind, units, ..sold };
    let identifier = Identifier { payment_hash: named, token_id };
    let token = Token::mint(&world.keys, "here", &identifier, &sold).expect("a key").base64();
    let said = if trick == Trick::CheapBody { 1 } else { price.div_ceil(1_000) };
    let body = json!({
        "code": code, "amountSats": said, "priceSats": said, "amountMsat": said * 1_000,
        "invoice": invoice, "macaroon": token,
        "offers": (units > 1).then(|| json!([
            { "offer": "request", "amount": "5 sat", "description": "One request" },
            { "offer": "pack-3", "amount": "12 sat", "description": "3 requests" },
            { "offer": "evil", "amount": "\u{1b}[2J", "description": "clears the screen" },
        ])),
    });
    world.reach(Point::BeforeChallenge).await;
    let line = format!(r#"L402 macaroon="{token}", invoice="{invoice}", version="0", token="{token}""#);
    // A challenge of another scheme comes first.
    let headers = [
        ("www-authenticate", "Basic realm=\"x\"".to_owned()),
        ("content-type", "application/problem+json".to_owned()),
    ];
    let mut response = (StatusCode::PAYMENT_REQUIRED, headers, body.to_string()).into_response();
    response.headers_mut().append("www-authenticate", line.parse().expect("a header"));
    let named = locked(&world.prefers).last().filter(|named| *named == "l402-offer=pack-3").cloned();
    if let Some(named) = named.filter(|_| units > 1) {
        response.headers_mut().append("preference-applied", named.parse().expect("a header"));
    }
    response
}

fn fresh() -> [u8; 32] {
    let entropy: Arc<dyn Entropy> = SystemEntropy::new();
    entropy.bytes32()
}

fn invoice(hash: PaymentHash, msat: u64, made_at_secs: u64) -> String {
    let key = SecretKey::from_slice(&[42; 32]).expect("a key");
    InvoiceBuilder::new(Currency::Regtest)
        .description("a call".to_owned())
        .payment_hash(sha256::Hash::from_byte_array(*hash.as_bytes()))
        .payment_secret(PaymentSecret([7; 32]))
        .duration_since_epoch(Duration::from_secs(made_at_secs))
        .min_final_cltv_expiry_delta(42)
        .amount_milli_satoshis(msat)
        .build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key))
        .expect("an invoice")
        .to_string()
}

fn authorised(request: &http::HeaderMap) -> bool {
    request.get("authorization").is_some_and(|value| value == format!("Bearer {KEY}").as_str())
}

async fn send(State(world): State<Arc<Inside>>, headers: http::HeaderMap, body: Bytes) -> Response {
    assert!(authorised(&headers), "the key is sent");
    let ask: Value = serde_json::from_slice(&body).expect("JSON");
    let invoice: Bolt11Invoice = ask["invoice"].as_str().expect("an invoice").parse().expect("BOLT 11");
    let hash: &[u8; 32] = invoice.payment_hash().as_ref();
    let hash = PaymentHash::from_bytes(*hash);
    assert_eq!(
        ask["max_amount_msat"].as_u64(),
        invoice.amount_milli_satoshis(),
        "the wallet has the limit too"
    );
    world.reach(Point::BeforePayment).await;
    let before = locked(&world.payments).get(&hash).cloned();
    if matches!(before, None | Some(Payment::Failed(_))) {
        let says = *locked(&world.wallet_says);
        match says {
            Some(reason @ ("no_route" | "never_sent" | "cut_off")) => {
                locked(&world.payments).insert(hash, Payment::Failed(reason));
                return shown(&world, hash);
            }
            Some(code) => {
                let problem = json!({ "code": code, "detail": "Nothing was paid." }).to_string();
                return (StatusCode::UNPROCESSABLE_ENTITY, problem).into_response();
            }
            None => {}
        }
        world.paid.fetch_add(1, Ordering::SeqCst);
        locked(&world.payments).insert(hash, Payment::Pending);
        world.reach(Point::DuringPayment).await;
        locked(&world.payments).insert(hash, Payment::Succeeded);
        world.reach(Point::AfterPayment).await;
    }
    shown(&world, hash)
}

async fn look(
    State(world): State<Arc<Inside>>,
    Path(hash): Path<String>,
    headers: http::HeaderMap,
) -> Response {
    assert!(authorised(&headers), "the key is sent");
    shown(&world, hash.parse().expect("a hash"))
}

fn shown(world: &Inside, hash: PaymentHash) -> Response {
    let payment = locked(&world.payments).get(&hash).cloned();
    let answer = match payment {
        None => {
            let problem = json!({ "code": "unknown_payment", "detail": "Never asked for." }).to_string();
            return (StatusCode::NOT_FOUND, problem).into_response();
        }
        Some(Payment::Pending) => json!({ "payment_hash": hash, "status": "pending" }),
        Some(Payment::Failed(reason)) => {
            json!({ "payment_hash": hash, "status": "failed", "reason": reason })
        }
        Some(Payment::Succeeded) => {
            let preimage = locked(&world.preimages)[&hash].to_hex();
            json!({ "payment_hash": hash, "status": "succeeded", "fee_msat": 7, "preimage": preimage })
        }
    };
    answer.to_string().into_response()
}
