//! Shoppers: each sale is pushed on from where the last kill left it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::l402::{ReceivedChallenge, authorization, parse_challenge};
use tollhouse::types::{PaymentHash, Preimage};

use super::demo::Demo;
use crate::chance::Chance;

const AT_ONCE: usize = 8;
const PATH: &str = "/v1/exchange-rates?base=USD&quote=EUR";

/// How far a sale's payment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not paid, or nobody knows yet.
    Open,
    /// The credential.
    Paid(String),
    /// The node says that it will not arrive.
    Failed(String),
}

/// One challenge that somebody wants to pay.
#[derive(Debug)]
pub(super) struct Sale {
    pub(super) hash: PaymentHash,
    challenge: ReceivedChallenge,
    stage: Mutex<Stage>,
    /// Whole 200s.
    pub(super) complete: AtomicU64,
    spent: AtomicBool,
}

impl Sale {
    pub(super) fn stage(&self) -> Stage {
        self.stage.lock().expect("no test panics here").clone()
    }
}

/// Everyone's sales.
#[derive(Debug, Default)]
pub(super) struct Shoppers {
    sales: Mutex<Vec<Arc<Sale>>>,
    faults: Mutex<Vec<String>>,
    /// Whole 200s of all.
    pub(super) complete: AtomicU64,
}

impl Shoppers {
    pub(super) fn sales(&self) -> Vec<Arc<Sale>> {
        self.sales.lock().expect("no test panics here").clone()
    }

    pub(super) fn no_faults(&self, when: &str) {
        let faults = self.faults.lock().expect("no test panics here");
        assert!(faults.is_empty(), "{when}: {faults:?}");
    }

    fn fault(&self, what: String) {
        self.faults.lock().expect("no test panics here").push(what);
    }

    /// Many at once until `stop`; the kill ends what is under way.
    pub(super) async fn throng(
        self: &Arc<Self>,
        demo: &Arc<Demo>,
        chance: &mut Chance,
        stop: CancellationToken,
    ) {
        let crowd = TaskTracker::new();
        for _ in 0..AT_ONCE {
            let (all, demo, stop, mut chance) =
                (Arc::clone(self), Arc::clone(demo), stop.clone(), chance.fork());
            crowd.spawn(async move {
                while !stop.is_cancelled() {
                    let errand = chance.below(10);
                    let old = if errand < 4 { all.unfinished(&mut chance) } else { None };
                    let sale = match old {
                        Some(sale) => Some(sale),
                        None => all.begin(&demo).await,
                    };
                    if let Some(sale) = sale {
                        let twice = errand % 3 == 0;
                        all.push_on(&demo, &sale, twice, 5_000).await;
                    }
                }
            });
        }
        crowd.close();
        crowd.wait().await;
    }

    fn unfinished(&self, chance: &mut Chance) -> Option<Arc<Sale>> {
        let mut sales = self.sales();
        sales.retain(|sale| !sale.spent.load(Ordering::SeqCst) && !matches!(sale.stage(), Stage::Failed(_)));
        chance.pick(&sales).cloned()
    }

    /// Asks for a challenge; `None` when the gate died or cannot sell.
    async fn begin(&self, demo: &Demo) -> Option<Arc<Sale>> {
        let reply = demo.http.get(format!("{}{PATH}", demo.place.gateway)).send().await.ok()?;
        match reply.status().as_u16() {
            402 => {}
            // A channel is gone, or full of payments under way: nothing is sold, and it says so.
            503 => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return None;
            }
            other => {
                self.fault(format!("an unpaid request got {other}"));
                return None;
            }
        }
        let line = reply.headers().get("www-authenticate").and_then(|line| line.to_str().ok());
        let challenge = parse_challenge(line.expect("a challenge")).expect("readable");
        let hash = challenge.identifier().expect("an identifier").payment_hash;
        let sale = Arc::new(Sale {
            hash,
            challenge,
            stage: Mutex::new(Stage::Open),
            complete: AtomicU64::new(0),
            spent: AtomicBool::new(false),
        });
        self.sales.lock().expect("no test panics here").push(Arc::clone(&sale));
        Some(sale)
    }

    /// Pays if it is not paid, `twice` at once perhaps, and presents the token until it is spent.
    async fn push_on(&self, demo: &Demo, sale: &Sale, twice: bool, wait_ms: u64) {
        if sale.stage() == Stage::Open {
            if twice {
                tokio::join!(self.pay(demo, sale, wait_ms), self.pay(demo, sale, wait_ms));
            } else {
                self.pay(demo, sale, wait_ms).await;
            }
        } else if twice {
            // Once more, though it was paid: nothing is sent, the same proof comes back.
            self.pay(demo, sale, wait_ms).await;
        }
        let Stage::Paid(credential) = sale.stage() else { return };
        for _ in 0..3 {
            if !self.present(demo, sale, &credential).await || sale.spent.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    async fn pay(&self, demo: &Demo, sale: &Sale, wait_ms: u64) {
        let ask = json!({"invoice": sale.challenge.invoice, "wait_ms": wait_ms});
        let url = format!("{}/api/v1/payments/send", demo.place.payer);
        let Ok(reply) = demo.http.post(url).bearer_auth(&demo.place.payer_key).json(&ask).send().await else {
            return;
        };
        let Ok(said) = reply.json::<Value>().await else { return };
        let stage = match (said["status"].as_str(), said["code"].as_str()) {
            (Some("succeeded"), _) => {
                let preimage: Preimage =
                    said["preimage"].as_str().and_then(|p| p.parse().ok()).expect("a preimage");
                if preimage.payment_hash() != sale.hash {
                    self.fault(format!("{}: the proof of another payment", sale.hash));
                }
                Stage::Paid(authorization(&sale.challenge.macaroon_b64, &preimage))
            }
            (Some("failed"), _) => Stage::Failed(said["reason"].to_string()),
            (Some("pending"), _) => return,
            (None, Some("invoice_expired")) => Stage::Failed("it expired".to_owned()),
            _ => return self.fault(format!("{}: the payer said {said}", sale.hash)),
        };
        let mut now = sale.stage.lock().expect("no test panics here");
        match (&*now, stage) {
            (Stage::Paid(before), Stage::Paid(credential)) if *before != credential => {
                drop(now);
                self.fault(format!("{}: two different proofs", sale.hash));
            }
            // Paid is paid; a second try may only say that there is nothing to do.
            (Stage::Paid(_), _) => {}
            (_, stage) => *now = stage,
        }
    }

    /// Presents the token; false when the gate died.
    async fn present(&self, demo: &Demo, sale: &Sale, credential: &str) -> bool {
        let url = format!("{}{PATH}", demo.place.gateway);
        let asked = demo.http.get(url).header("authorization", credential).send().await;
        let Ok(reply) = asked else { return false };
        let status = reply.status().as_u16();
        let Ok(body) = reply.bytes().await else { return false };
        let code = serde_json::from_slice(&body).unwrap_or(Value::Null)["code"].as_str().map(str::to_owned);
        match (status, code.as_deref()) {
            (200, _) => {
                sale.complete.fetch_add(1, Ordering::SeqCst);
                self.complete.fetch_add(1, Ordering::SeqCst);
            }
            (402, Some("spent")) => sale.spent.store(true, Ordering::SeqCst),
            // Spent, and a new offer cannot be made now.
            (503, Some("cannot_receive")) => return false,
            (409, Some("in_flight")) => tokio::time::sleep(Duration::from_millis(5)).await,
            (status, code) => self.fault(format!("{}: the token got {status} {code:?}", sale.hash)),
        }
        true
    }

    /// After the last start: what is paid is used up; what may still be under way gets some time.
    pub(super) async fn finish(self: &Arc<Self>, demo: &Demo) {
        for sale in self.sales() {
            if sale.spent.load(Ordering::SeqCst) || matches!(sale.stage(), Stage::Failed(_)) {
                continue;
            }
            for _ in 0..5 {
                self.push_on(demo, &sale, false, 2_000).await;
                if sale.spent.load(Ordering::SeqCst) || matches!(sale.stage(), Stage::Failed(_)) {
                    break;
                }
            }
            if matches!(sale.stage(), Stage::Paid(_)) && !sale.spent.load(Ordering::SeqCst) {
                self.fault(format!("{}: paid, and neither served nor refused as spent", sale.hash));
            }
        }
    }
}
