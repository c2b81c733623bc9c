//! Against an LSP that says what a test wants, and counts what it is asked.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::clock::FixedClock;
use crate::node::config::Lsp;
use crate::ports::{BoxFuture, MintedInvoice, NodeFault};
use crate::types::PaymentHash;

fn sat(sat: u64) -> Msat {
    Msat::from_sat(sat).unwrap()
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct FakeLsp {
    answers: Mutex<Result<Vec<OpeningTerms>, String>>,
    sleeps: Mutex<bool>,
    asked: AtomicU32,
    unpaid: Mutex<Vec<UnpaidOpening>>,
}

impl OpeningNode for FakeLsp {
    fn opening_terms(&self) -> BoxFuture<'_, Result<Vec<OpeningTerms>, NodeFault>> {
        let answer = self.answers.lock().unwrap().clone().map_err(NodeFault);
        Box::pin(async move { answer })
    }

    fn opening_invoice(
        &self,
        ask: InvoiceAsk,
        most_fee: Msat,
    ) -> BoxFuture<'_, Result<OpeningInvoice, NodeFault>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.lock().unwrap().clone().map_err(NodeFault).map(|_| {
            let payment_hash = PaymentHash::from_bytes([u8::try_from(number).unwrap_or(255); 32]);
            let made = UnpaidOpening { payment_hash, made_at: NOW };
            self.unpaid.lock().unwrap().push(made);
            let expires_at = NOW.plus(ask.expiry);
            let invoice = MintedInvoice { bolt11: "lnbcrt1".to_owned(), payment_hash, expires_at };
            OpeningInvoice { invoice, fee: most_fee }
        });
        Box::pin(async move { answer })
    }

    fn sleeps(&self, _amount: Msat) -> BoxFuture<'_, bool> {
        let sleeps = *self.sleeps.lock().unwrap();
        Box::pin(async move { sleeps })
    }

    fn unpaid_openings(&self) -> BoxFuture<'_, Result<Vec<UnpaidOpening>, NodeFault>> {
        let unpaid = self.unpaid.lock().unwrap().clone();
        Box::pin(async move { Ok(unpaid) })
    }

    fn forget_opening(&self, payment_hash: PaymentHash) -> BoxFuture<'_, Result<(), NodeFault>> {
        self.unpaid.lock().unwrap().retain(|opening| opening.payment_hash != payment_hash);
        Box::pin(async move { Ok(()) })
    }
}

struct World {
    lsp: Arc<FakeLsp>,
    clock: Arc<FixedClock>,
    openings: Arc<Openings>,
}

/// An LSP that keeps 2,500 sat of a payment of 5,000 sat or more; 10 % and 6 invoices in an hour are ours.
fn world() -> World {
    let terms = OpeningTerms {
        min_fee_msat: sat(2_500),
        proportional_ppm: 10_000,
        smallest_msat: sat(5_000),
        largest_msat: sat(1_000_000),
        valid_until: NOW.plus(HOUR * 10),
    };
    let lsp = Arc::new(FakeLsp {
        answers: Mutex::new(Ok(vec![terms])),
        sleeps: Mutex::new(false),
        asked: AtomicU32::new(0),
        unpaid: Mutex::default(),
    });
    let clock = FixedClock::at(NOW);
    let openings = Openings::new(lsp.clone(), policy(), clock.clone());
    World { lsp, clock, openings }
}

fn policy() -> JustInTime {
    let lsp = Lsp { node: "02".to_owned(), address: "127.0.0.1:1".to_owned(), token: None };
    JustInTime { lsp, max_fee: sat(5_000), max_fee_percent: 10, max_per_hour: 6 }
}

fn ask(amount: u64) -> InvoiceAsk {
    let expiry = Duration::from_secs(86_400);
    InvoiceAsk { amount: sat(amount), description: String::new(), expiry }
}

fn from(network: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, network, 7))
}

#[tokio::test]
async fn nothing_is_made_before_the_fee_is_known() {
    let World { lsp, openings, .. } = world();
    assert!(matches!(openings.invoice(ask(30_000), from(1)).await, Err(NotOpened::Away(_))));
    assert_eq!(lsp.asked.load(Ordering::SeqCst), 0);
    assert!(openings.ask().await);
    let opening = openings.invoice(ask(30_000), from(1)).await.unwrap();
    assert_eq!(opening.invoice.expires_at, NOW.plus(OPENING_EXPIRY));
    assert_eq!(openings.view().made_last_hour, 1);
}

#[tokio::test]
async fn the_price_must_bear_the_fee() {
    let World { openings, .. } = world();
    openings.ask().await;
    // 2,500 sat are a tenth of 25,000 sat.
    let least = sat(25_000);
    assert_eq!(openings.fee(sat(10)), Err(NotOpened::TooSmall { least }));
    assert_eq!(openings.fee(sat(24_999)), Err(NotOpened::TooSmall { least }));
    assert_eq!(openings.fee(least), Ok(sat(2_500)));
    // One hundredth of the payment, where that is more; above 5,000 sat it is too dear.
    assert_eq!(openings.fee(sat(400_000)), Ok(sat(4_000)));
    assert_eq!(openings.fee(sat(600_000)), Err(NotOpened::TooDear { fee: sat(6_000), most: sat(5_000) }));
    assert_eq!(openings.fee(sat(1_000_001)), Err(NotOpened::TooLarge { most: sat(1_000_000) }));
    let view = openings.view();
    assert_eq!((view.least_msat, view.least_fee_msat), (Some(least), Some(sat(2_500))));
}

#[tokio::test]
async fn a_flood_asks_the_lsp_no_more_than_the_limit() {
    let World { lsp, clock, openings } = world();
    openings.ask().await;
    // A third of the six is for one network.
    for _ in 0..100 {
        let _ = openings.invoice(ask(30_000), from(1)).await;
    }
    assert_eq!(lsp.asked.load(Ordering::SeqCst), 2);
    assert_eq!(openings.invoice(ask(30_000), from(1)).await, Err(NotOpened::Unpaid));
    for network in 0..=255 {
        let _ = openings.invoice(ask(30_000), from(network)).await;
    }
    assert_eq!(lsp.asked.load(Ordering::SeqCst), 6);
    let refused = openings.invoice(ask(30_000), from(77)).await;
    assert_eq!(refused, Err(NotOpened::LimitReached { in_an_hour: 6 }));
    assert_eq!(openings.state().made.len(), 6);
    clock.advance(HOUR);
    assert!(openings.invoice(ask(30_000), from(1)).await.is_ok());
}

#[tokio::test]
async fn a_restart_is_no_new_hour() {
    let World { lsp, clock, openings } = world();
    openings.ask().await;
    for network in 0..6 {
        openings.invoice(ask(30_000), from(network)).await.unwrap();
    }
    let again = Openings::new(lsp.clone(), policy(), clock.clone());
    let unpaid = again.tidy().await.unwrap();
    again.recall(&unpaid);
    again.ask().await;
    let refused = again.invoice(ask(30_000), from(77)).await;
    assert_eq!(refused, Err(NotOpened::LimitReached { in_an_hour: 6 }));
}

#[tokio::test]
async fn an_lsp_that_fails_is_left_alone_until_it_tells_its_fees() {
    let World { lsp, openings, .. } = world();
    openings.ask().await;
    let terms = std::mem::replace(&mut *lsp.answers.lock().unwrap(), Err("gone".to_owned()));
    for network in 0..100 {
        let refused = openings.invoice(ask(30_000), from(network)).await;
        assert_eq!(refused, Err(NotOpened::Away("gone".to_owned())));
    }
    assert_eq!(lsp.asked.load(Ordering::SeqCst), 1);
    assert!(!openings.ask().await);
    *lsp.answers.lock().unwrap() = terms;
    assert!(openings.ask().await);
    assert!(openings.invoice(ask(30_000), from(3)).await.is_ok());
}

#[tokio::test]
async fn a_peer_that_went_a_moment_ago_is_waited_for() {
    let World { lsp, clock, openings } = world();
    openings.ask().await;
    *lsp.sleeps.lock().unwrap() = true;
    assert_eq!(openings.invoice(ask(30_000), from(1)).await, Err(NotOpened::PeerExpected));
    clock.advance(PEER_GRACE);
    assert!(openings.invoice(ask(30_000), from(1)).await.is_ok());
}

#[tokio::test]
async fn what_nobody_paid_is_forgotten() {
    let World { lsp, clock, openings } = world();
    openings.ask().await;
    openings.invoice(ask(30_000), from(1)).await.unwrap();
    clock.advance(OPENING_EXPIRY + KEPT_AFTER_EXPIRY - Duration::from_secs(1));
    assert_eq!(openings.tidy().await.unwrap().len(), 1);
    clock.advance(Duration::from_secs(1));
    assert!(openings.tidy().await.unwrap().is_empty());
    assert!(lsp.unpaid.lock().unwrap().is_empty());
}
