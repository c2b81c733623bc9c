//! Customers: they buy, use, use again, and try again what a kill left open.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lightning_invoice::Bolt11Invoice;
use reqwest::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::l402::{authorization, parse_challenge};
use tollhouse::types::{Kind, PaymentHash};

use super::child::{self, GOODS, KINDS, STREAM, price_of};
use super::gate::Gate;
use super::origin::HOWS;
use super::{CROWD, PATIENCE};
use crate::chance::Chance;
use crate::l402_world::narrowed;

/// A paid token and what its buyer saw of it.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) hash: PaymentHash,
    pub(super) kind: Kind,
    header: String,
    /// Whole 200s with the goods.
    pub(super) complete: AtomicU64,
    /// Bytes of whole metered streams.
    pub(super) streamed: AtomicU64,
    /// It was answered with a 402 that said that not enough is left.
    pub(super) spent: AtomicBool,
    /// Copies that its buyer gave to others; none of a single request.
    pub(super) copies: Vec<LimitedCopy>,
}

/// A copy of a token that may be used so often, and what its holder saw of it.
#[derive(Debug)]
pub(super) struct LimitedCopy {
    pub(super) name: &'static str,
    header: String,
    /// Whole answers.
    pub(super) complete: AtomicU64,
}

/// How often a limited copy may be used.
pub(super) const USES: u64 = 2;

impl Token {
    /// It brought something.
    pub(super) fn used(&self) -> bool {
        self.complete.load(Ordering::SeqCst) + self.streamed.load(Ordering::SeqCst) > 0
    }
}

/// What came of presenting a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Complete,
    Spent,
    /// What its holder may use of it was used.
    Limited,
    InFlight,
    UpstreamFailed,
    /// The gate died under it.
    Unknown,
}

/// Everyone's tokens.
#[derive(Debug, Default)]
pub(super) struct Customers {
    tokens: Mutex<Vec<Arc<Token>>>,
    /// Requests with a token, replays among them.
    pub(super) presented: AtomicU64,
    /// Answers that the gate owes an explanation for.
    pub(super) faults: Mutex<Vec<String>>,
}

impl Customers {
    pub(super) fn tokens(&self) -> Vec<Arc<Token>> {
        self.tokens.lock().expect("no test panics here").clone()
    }

    /// Traffic from many customers until `stop`; what is under way then runs out.
    pub(super) async fn throng(
        self: &Arc<Self>,
        at_once: usize,
        gate: &Arc<Gate>,
        chance: &mut Chance,
        stop: CancellationToken,
    ) {
        let (crowd, client) = (TaskTracker::new(), client());
        for _ in 0..at_once {
            let (all, gate, client) = (Arc::clone(self), Arc::clone(gate), client.clone());
            let (mut chance, stop) = (chance.fork(), stop.clone());
            crowd.spawn(async move {
                while !stop.is_cancelled() {
                    all.visit(&gate, &client, &mut chance).await;
                }
            });
        }
        drop(client);
        crowd.close();
        crowd.wait().await;
    }

    async fn visit(&self, gate: &Gate, client: &Client, chance: &mut Chance) {
        let how = *chance.pick(&HOWS).expect("a way");
        let errand = chance.below(10);
        let old = match errand {
            0..=3 => None,
            // Tokens whose end is not known.
            4..=6 => self.one(chance, |token| !token.spent.load(Ordering::SeqCst)),
            // Replays.
            7 => self.one(chance, |token| token.used()),
            _ => self.one(chance, |_| true),
        };
        let token = match old {
            Some(token) => token,
            None => match self.buy(gate, client, *chance.pick(&KINDS).expect("a kind")).await {
                Some(token) => token,
                None => return,
            },
        };
        let path = if token.kind == Kind::Balance && chance.below(2) == 0 { STREAM } else { GOODS };
        let copy = chance.pick(&token.copies).filter(|_| errand % 2 == 1);
        if errand == 9 {
            let (one, other) = (
                self.present(gate.address, client, &token, copy, path, how),
                self.present(gate.address, client, &token, copy, GOODS, "slow"),
            );
            tokio::join!(one, other);
        } else {
            self.present(gate.address, client, &token, copy, path, how).await;
        }
    }

    /// One of the newest tokens that are so.
    fn one(&self, chance: &mut Chance, wanted: impl Fn(&Token) -> bool) -> Option<Arc<Token>> {
        let tokens = self.tokens.lock().expect("no test panics here");
        let some: Vec<_> = tokens.iter().rev().filter(|token| wanted(token)).take(40).cloned().collect();
        chance.pick(&some).cloned()
    }

    /// Asks, and pays what the challenge asks for; `None` when the gate died.
    async fn buy(&self, gate: &Gate, client: &Client, kind: Kind) -> Option<Arc<Token>> {
        let ask = client.get(format!("http://{}{GOODS}", gate.address));
        let ask = ask.header("prefer", format!("l402-offer={}", kind.as_str()));
        let reply = ask.send().await.ok()?;
        if reply.status() != 402 {
            self.fault(format!("an unpaid request got {}", reply.status()));
            return None;
        }
        let line = reply.headers().get("www-authenticate").and_then(|line| line.to_str().ok());
        let challenge = parse_challenge(line.expect("a challenge")).expect("readable");
        let invoice: Bolt11Invoice = challenge.invoice.parse().expect("an invoice");
        let preimage = child::preimage(&invoice.payment_secret().0);
        let hash = preimage.payment_hash();
        let header = authorization(&challenge.macaroon_b64, &preimage);
        let price = price_of(kind);
        let copies = copies(kind, price.msat(), &header);
        if invoice.amount_milli_satoshis() != Some(price.msat()) {
            self.fault(format!("{kind} is sold for {:?} msat", invoice.amount_milli_satoshis()));
            return None;
        }
        let (complete, streamed, spent) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let token = Arc::new(Token { hash, kind, header, complete, streamed, spent, copies });
        gate.paid(&hash, price);
        self.tokens.lock().expect("no test panics here").push(Arc::clone(&token));
        Some(token)
    }

    async fn present(
        &self,
        at: SocketAddr,
        client: &Client,
        token: &Token,
        copy: Option<&LimitedCopy>,
        path: &str,
        how: &str,
    ) -> Answer {
        self.presented.fetch_add(1, Ordering::SeqCst);
        let (name, header) = copy
            .map_or((String::new(), &token.header), |copy| (format!("&copy={}", copy.name), &copy.header));
        let url = format!("http://{at}{path}?token={}&how={how}{name}", token.hash);
        let asked = client.get(url).header("authorization", header).send().await;
        let Ok(reply) = asked else { return Answer::Unknown };
        let status = reply.status().as_u16();
        // A body that breaks off is an error, with a length or in chunks.
        let Ok(body) = reply.bytes().await else { return Answer::Unknown };
        let code = serde_json::from_slice(&body).unwrap_or(Value::Null)["code"].as_str().map(str::to_owned);
        if let (200, Some(copy)) = (status, copy) {
            copy.complete.fetch_add(1, Ordering::SeqCst);
        }
        match (status, code.as_deref()) {
            (200, _) if path == STREAM => {
                token.streamed.fetch_add(u64::try_from(body.len()).expect("it fits"), Ordering::SeqCst);
                Answer::Complete
            }
            (200, _) => {
                token.complete.fetch_add(1, Ordering::SeqCst);
                Answer::Complete
            }
            // A stream may be paid from less than the goods cost.
            (402, Some("balance_too_small")) if path == STREAM => Answer::Spent,
            (402, Some("spent" | "balance_too_small")) => {
                token.spent.store(true, Ordering::SeqCst);
                Answer::Spent
            }
            (402, Some("uses_exhausted" | "budget_exhausted")) if copy.is_some() => Answer::Limited,
            (409, Some("in_flight")) => Answer::InFlight,
            (500, None) => Answer::UpstreamFailed,
            (status, code) => {
                self.fault(format!("{} {} got {status} {code:?} at {path}", token.kind, token.hash));
                Answer::Unknown
            }
        }
    }

    /// Uses up every token: what is usable is served, then refused. A pass is only used.
    pub(super) async fn use_up(self: &Arc<Self>, gate: &Arc<Gate>) {
        let (crowd, client) = (TaskTracker::new(), client());
        let tokens = Arc::new(Mutex::new(self.tokens()));
        for _ in 0..CROWD {
            let (all, gate, client, tokens) =
                (Arc::clone(self), Arc::clone(gate), client.clone(), Arc::clone(&tokens));
            crowd.spawn(async move {
                while let Some(token) = next(&tokens) {
                    all.use_one_up(&gate, &client, &token).await;
                }
            });
        }
        crowd.close();
        crowd.wait().await;
    }

    async fn use_one_up(&self, gate: &Gate, client: &Client, token: &Token) {
        loop {
            match self.present(gate.address, client, token, None, GOODS, "fast").await {
                Answer::Spent => return,
                Answer::Complete if token.kind == Kind::Pass => return,
                Answer::Complete => {}
                // Its end is written soon after the answer, so the next request may still see it held.
                Answer::InFlight => tokio::time::sleep(Duration::from_millis(5)).await,
                answer => {
                    return self.fault(format!("{} {} was not used up: {answer:?}", token.kind, token.hash));
                }
            }
        }
    }

    fn fault(&self, what: String) {
        self.faults.lock().expect("no test panics here").push(what);
    }
}

/// Two that are limited in different ways, the second twice.
fn copies(kind: Kind, price: u64, header: &str) -> Vec<LimitedCopy> {
    // A pass is spent whole.
    let half = if kind == Kind::Pass { price } else { price / 2 };
    let (uses, spend) = (format!("max_uses={USES}"), format!("max_spend_msat={half}"));
    let limited = |name: &'static str, limits: &[&str]| {
        let header = narrowed(header, &[&[&*format!("budget_id={name}")], limits].concat());
        LimitedCopy { name, header, complete: AtomicU64::new(0) }
    };
    if kind == Kind::Request {
        return Vec::new();
    }
    vec![limited("one", &[&uses]), limited("other", &[&spend, &uses])]
}

fn next(tokens: &Mutex<Vec<Arc<Token>>>) -> Option<Arc<Token>> {
    tokens.lock().expect("no test panics here").pop()
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
}
