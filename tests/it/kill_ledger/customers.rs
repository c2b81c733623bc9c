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
use tollhouse::types::PaymentHash;

use super::gate::Gate;
use super::origin::HOWS;
use super::{PATIENCE, child};
use crate::chance::Chance;

/// Customers at once.
const AT_ONCE: usize = 12;

/// A paid token and what its buyer saw of it.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) hash: PaymentHash,
    header: String,
    /// Whole 200s.
    pub(super) complete: AtomicU64,
    /// It was answered with a 402 that called it spent.
    pub(super) spent: AtomicBool,
}

/// What came of presenting a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Complete,
    Spent,
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
        gate: &Arc<Gate>,
        chance: &mut Chance,
        stop: CancellationToken,
    ) {
        let (crowd, client) = (TaskTracker::new(), client());
        for _ in 0..AT_ONCE {
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
            4..=6 => self.one(chance, |token| token.complete.load(Ordering::SeqCst) == 0),
            // Replays.
            7 => self.one(chance, |token| token.complete.load(Ordering::SeqCst) > 0),
            _ => self.one(chance, |_| true),
        };
        let token = match old {
            Some(token) => token,
            None => match self.buy(gate, client).await {
                Some(token) => token,
                None => return,
            },
        };
        if errand == 9 {
            let (one, other) = (
                self.present(gate.address, client, &token, how),
                self.present(gate.address, client, &token, "slow"),
            );
            tokio::join!(one, other);
        } else {
            self.present(gate.address, client, &token, how).await;
        }
    }

    /// One of the newest tokens that are so.
    fn one(&self, chance: &mut Chance, wanted: impl Fn(&Token) -> bool) -> Option<Arc<Token>> {
        let tokens = self.tokens.lock().expect("no test panics here");
        let some: Vec<_> = tokens.iter().rev().filter(|token| wanted(token)).take(40).cloned().collect();
        chance.pick(&some).cloned()
    }

    /// Asks, and pays what the challenge asks for; `None` when the gate died.
    async fn buy(&self, gate: &Gate, client: &Client) -> Option<Arc<Token>> {
        let reply = client.get(format!("http://{}/goods", gate.address)).send().await.ok()?;
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
        let token = Token { hash, header, complete: AtomicU64::new(0), spent: AtomicBool::new(false) };
        let token = Arc::new(token);
        gate.paid(&hash);
        self.tokens.lock().expect("no test panics here").push(Arc::clone(&token));
        Some(token)
    }

    pub(super) async fn present(&self, at: SocketAddr, client: &Client, token: &Token, how: &str) -> Answer {
        self.presented.fetch_add(1, Ordering::SeqCst);
        let url = format!("http://{at}/goods?token={}&how={how}", token.hash);
        let asked = client.get(url).header("authorization", &token.header).send().await;
        let Ok(reply) = asked else { return Answer::Unknown };
        let status = reply.status().as_u16();
        // A body that breaks off is an error, with a length or in chunks.
        let Ok(body) = reply.bytes().await else { return Answer::Unknown };
        let code = serde_json::from_slice(&body).unwrap_or(Value::Null)["code"].as_str().map(str::to_owned);
        match (status, code.as_deref()) {
            (200, _) => {
                token.complete.fetch_add(1, Ordering::SeqCst);
                Answer::Complete
            }
            (402, Some("spent")) => {
                token.spent.store(true, Ordering::SeqCst);
                Answer::Spent
            }
            (409, Some("in_flight")) => Answer::InFlight,
            (500, None) => Answer::UpstreamFailed,
            (status, code) => {
                self.fault(format!("token {} got {status} {code:?}", token.hash));
                Answer::Unknown
            }
        }
    }

    /// Uses up every token: what is usable is served, then refused.
    pub(super) async fn use_up(self: &Arc<Self>, gate: &Arc<Gate>) {
        let (crowd, client) = (TaskTracker::new(), client());
        let tokens = Arc::new(Mutex::new(self.tokens()));
        for _ in 0..AT_ONCE {
            let (all, gate, client, tokens) =
                (Arc::clone(self), Arc::clone(gate), client.clone(), Arc::clone(&tokens));
            crowd.spawn(async move {
                while let Some(token) = next(&tokens) {
                    let first = all.present(gate.address, &client, &token, "fast").await;
                    let second = match first {
                        Answer::Complete => all.present(gate.address, &client, &token, "fast").await,
                        first => first,
                    };
                    // Its end is written soon after the answer, so the next request may still see it held.
                    let mut last = second;
                    while last == Answer::InFlight {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        last = all.present(gate.address, &client, &token, "fast").await;
                    }
                    if last != Answer::Spent {
                        all.fault(format!("token {} was not used up: {first:?}, {last:?}", token.hash));
                    }
                }
            });
        }
        crowd.close();
        crowd.wait().await;
    }

    fn fault(&self, what: String) {
        self.faults.lock().expect("no test panics here").push(what);
    }
}

fn next(tokens: &Mutex<Vec<Arc<Token>>>) -> Option<Arc<Token>> {
    tokens.lock().expect("no test panics here").pop()
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
}
