//! What a wallet may pay: bounded in every order of events, and across a crash.

use std::time::Duration;

use proptest::prelude::*;

use super::{World, hash};
use crate::store::{
    CUT_OFF, Intended, Intent, Ledger, NewApiKey, OutgoingState, OverBudget, WalletLimits, WalletPages,
    WalletRow,
};
use crate::types::{Msat, Preimage};

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

const KEY: [u8; 32] = [9; 32];

async fn wallet(ledger: &Ledger, hash: [u8; 32], per_day: u64, per_payment: u64) -> i64 {
    let limits = WalletLimits { per_day: msat(per_day), per_payment: msat(per_payment) };
    let key = NewApiKey { label: "agent".to_owned(), hash, scopes: "wallet".to_owned(), expires_at: None };
    ledger.add_wallet_key(key, limits).await.unwrap()
}

fn intent(seed: u8, amount: u64, max_fee: u64, wallet: i64) -> Intent {
    let (amount, max_fee) = (msat(amount), msat(max_fee));
    Intent {
        payment_hash: hash(seed),
        bolt11: format!("lnbcrt{seed}"),
        amount,
        max_fee,
        wallet: Some(wallet),
    }
}

fn arrived(seed: u8, fee: u64) -> OutgoingState {
    OutgoingState::Succeeded { preimage: Preimage::from_bytes([seed; 32]), fee: msat(fee) }
}

fn failed() -> OutgoingState {
    OutgoingState::Failed { reason: "RouteNotFound".to_owned() }
}

async fn today(ledger: &Ledger, world: &World) -> (u64, u64, u64) {
    use crate::clock::Clock;
    let row: WalletRow = ledger.wallet(KEY, world.clock.now()).await.unwrap().unwrap();
    (row.spent.msat(), row.reserved.msat(), row.left().msat())
}

#[tokio::test]
async fn a_payment_draws_the_most_it_may_cost_until_its_end_is_known() {
    let world = World::new();
    let (ledger, _) = world.open();
    let key = wallet(&ledger, KEY, 10_000, 6_000).await;
    let new = |max_fee| Intended::New { max_fee: msat(max_fee) };
    assert_eq!(ledger.intend(intent(1, 5_000, 300, key)).await.unwrap(), new(300));
    assert_eq!(today(&ledger, &world).await, (0, 5_300, 4_700));
    // The fee is what the day leaves; the amount is not cut.
    assert_eq!(ledger.intend(intent(2, 4_000, 2_000, key)).await.unwrap(), new(700));
    assert_eq!(today(&ledger, &world).await, (0, 10_000, 0));
    let over = |left| Intended::OverBudget(OverBudget::Day { left: msat(left) });
    assert_eq!(ledger.intend(intent(3, 1, 0, key)).await.unwrap(), over(0));
    assert_eq!(ledger.outgoing(hash(3)).await.unwrap(), None, "nothing was noted");

    ledger.settle_outgoing(hash(1), arrived(1, 10)).await.unwrap();
    assert_eq!(today(&ledger, &world).await, (5_010, 4_700, 290));
    ledger.settle_outgoing(hash(2), failed()).await.unwrap();
    assert_eq!(today(&ledger, &world).await, (5_010, 0, 4_990));
    let dear = Intended::OverBudget(OverBudget::Payment { limit: msat(6_000) });
    assert_eq!(ledger.intend(intent(3, 6_001, 0, key)).await.unwrap(), dear);
    // Tried anew it draws anew, once; told late that the first try arrived, it is charged.
    assert_eq!(ledger.intend(intent(2, 4_000, 500, key)).await.unwrap(), new(500));
    assert_eq!(today(&ledger, &world).await, (5_010, 4_500, 490));
    ledger.settle_outgoing(hash(2), failed()).await.unwrap();
    ledger.settle_outgoing(hash(2), arrived(2, 0)).await.unwrap();
    assert_eq!(today(&ledger, &world).await, (9_010, 0, 990));

    // One that a stop cut off may have left: it stays drawn, but for its own second try.
    assert_eq!(ledger.intend(intent(4, 900, 0, key)).await.unwrap(), new(0));
    let cut_off = OutgoingState::Failed { reason: CUT_OFF.to_owned() };
    ledger.settle_outgoing(hash(4), cut_off.clone()).await.unwrap();
    assert_eq!(today(&ledger, &world).await, (9_010, 900, 90));
    assert_eq!(ledger.intend(intent(5, 91, 0, key)).await.unwrap(), over(90));
    assert_eq!(ledger.intend(intent(4, 900, 50, key)).await.unwrap(), new(50));
    ledger.settle_outgoing(hash(4), cut_off).await.unwrap();
    ledger.settle_outgoing(hash(4), failed()).await.unwrap();
    assert_eq!(today(&ledger, &world).await, (9_010, 0, 990));

    // A new day is a new budget; what was begun before counts for the day it began on.
    world.clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(today(&ledger, &world).await, (0, 0, 10_000));
    let ids = |payments: Vec<crate::store::WalletPayment>| -> Vec<String> {
        payments.into_iter().map(|payment| payment.bolt11).collect()
    };
    let page = async |pages, incomplete, limit| ledger.wallet_payments(key, pages, incomplete, limit).await;
    assert_eq!(ids(page(WalletPages::After(0), true, 9).await.unwrap()), ["lnbcrt1", "lnbcrt2", "lnbcrt4"]);
    assert_eq!(ids(page(WalletPages::Before(i64::MAX), false, 1).await.unwrap()), ["lnbcrt2"]);
    assert_eq!(ids(page(WalletPages::After(0), false, 1).await.unwrap()), ["lnbcrt1"]);
}

#[tokio::test]
async fn what_is_on_its_way_is_reserved_after_a_crash_too() {
    let world = World::new();
    let (ledger, _) = world.open();
    let key = wallet(&ledger, KEY, 10_000, 10_000).await;
    ledger.intend(intent(1, 5_000, 1_000, key)).await.unwrap();
    ledger.intend(intent(2, 1_000, 0, key)).await.unwrap();
    ledger.settle_outgoing(hash(2), OutgoingState::Sent).await.unwrap();
    ledger.crash().await;
    let (ledger, _) = world.open();
    assert_eq!(today(&ledger, &world).await, (0, 7_000, 3_000));
    ledger.settle_outgoing(hash(1), arrived(1, 4)).await.unwrap();
    assert_eq!(today(&ledger, &world).await, (5_004, 1_000, 3_996));
}

#[tokio::test]
async fn wallets_are_apart_and_end_with_their_keys() {
    let world = World::new();
    let (ledger, _) = world.open();
    let (one, two) = (wallet(&ledger, KEY, 9_000, 9_000).await, wallet(&ledger, [8; 32], 9_000, 9_000).await);
    ledger.intend(intent(1, 5_000, 0, one)).await.unwrap();
    assert!(ledger.wallet_payment(one, hash(1)).await.unwrap().is_some());
    assert_eq!(ledger.wallet_payment(two, hash(1)).await.unwrap(), None);
    assert!(matches!(ledger.intend(intent(1, 5_000, 0, two)).await.unwrap(), Intended::Existing(_)));
    ledger.settle_outgoing(hash(1), failed()).await.unwrap();
    // Who tries anew what failed pays for it.
    assert!(matches!(ledger.intend(intent(1, 5_000, 0, two)).await.unwrap(), Intended::New { .. }));
    assert_eq!(today(&ledger, &world).await, (0, 0, 9_000));
    ledger.settle_outgoing(hash(1), failed()).await.unwrap();
    assert!(matches!(
        ledger.intend(Intent { wallet: None, ..intent(1, 5_000, 0, two) }).await.unwrap(),
        Intended::New { .. }
    ));
    assert_eq!(ledger.wallet_payment(two, hash(1)).await.unwrap(), None, "it is the operator's now");

    assert!(ledger.revoke_api_key(one).await.unwrap());
    assert_eq!(ledger.wallet(KEY, Default::default()).await.unwrap(), None);
    let closed = Intended::OverBudget(OverBudget::Closed);
    assert_eq!(ledger.intend(intent(4, 1, 0, one)).await.unwrap(), closed);
    assert_eq!(ledger.wallets(Default::default()).await.unwrap().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is asked and told in whatever order: what a day's payments cost, and may still cost, is
    /// never more than the limit, and never other than the sum over the payments.
    #[test]
    fn no_order_of_events_overdraws_a_day(steps in proptest::collection::vec((0u8..6, 0u8..4, 1u64..4_000, 0u64..900), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let (mut ledger, _) = world.open();
            let key = wallet(&ledger, KEY, 10_000, 3_500).await;
            // What is owed for each hash: amount, highest fee, state; the naive way.
            let mut books: [Option<(u64, u64, bool)>; 6] = [None; 6];
            for (seed, what, amount, fee) in steps {
                let book = &mut books[usize::from(seed)];
                match what {
                    0 | 1 => {
                        let known = ledger.outgoing(hash(seed)).await.unwrap();
                        let busy = known.is_some_and(|row| !matches!(row.state, OutgoingState::Failed { .. }));
                        match ledger.intend(intent(seed, amount, fee, key)).await.unwrap() {
                            Intended::New { max_fee } => {
                                prop_assert!(!busy && amount + max_fee.msat() <= 3_500 && max_fee.msat() <= fee);
                                *book = Some((amount, max_fee.msat(), false));
                            }
                            Intended::Existing(_) => prop_assert!(busy),
                            Intended::OverBudget(_) => prop_assert!(!busy),
                            Intended::Named(_) => prop_assert!(false, "it has no key"),
                        }
                    }
                    2 => {
                        if let Some((_, highest, done)) = book && !*done {
                            let fee = fee.min(*highest);
                            ledger.settle_outgoing(hash(seed), arrived(seed, fee)).await.unwrap();
                            (*highest, *done) = (fee, true);
                        }
                    }
                    _ => {
                        if book.is_some_and(|(_, _, done)| !done) {
                            ledger.settle_outgoing(hash(seed), failed()).await.unwrap();
                            *book = None;
                        }
                        if seed == 0 {
                            ledger.crash().await;
                            ledger = world.open().0;
                        }
                    }
                }
                let drawn: u64 = books.iter().flatten().map(|(amount, fee, _)| amount + fee).sum();
                let (spent, reserved, left) = today(&ledger, &world).await;
                prop_assert_eq!(spent + reserved, drawn);
                prop_assert!(drawn <= 10_000 && left == 10_000 - drawn);
            }
            Ok(())
        })?;
    }
}
