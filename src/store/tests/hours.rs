//! The sums by hour: what was demanded, sold and given back, and a time beside the one before it.

use std::time::Duration;

use super::{World, books_are_right, draw, hash, price};
use crate::clock::Clock;
use crate::ledger::{Bought, Draw, Ending, RestoreReason, Sale};
use crate::store::{Ledger, Reservation, SalesFilter, Step};
use crate::types::{Msat, Name};

async fn held(ledger: &Ledger, sale: &Sale, draw: Draw) -> Reservation {
    ledger.reserve(sale.clone(), draw).await.unwrap()
}

/// What was demanded, in memory: by a challenge nothing is written, by a payment, a minute's tick and the close it is.
#[tokio::test]
async fn demands_sales_and_what_went_back_are_counted_by_the_hour() {
    let world = World::new();
    let (ledger, _) = world.open();
    let (rates, latest): (Name, Name) = ("rates".parse().unwrap(), "latest".parse().unwrap());
    let start = world.clock.now();
    let sums = async |ledger: &Ledger| {
        let to = world.clock.now().plus(Duration::from_secs(3_600));
        let routes = ledger.revenue_by_route(start, to, Step::Hour, SalesFilter::default()).await.unwrap();
        let days = ledger.revenue_by_route(start, to, Step::Day, SalesFilter::default()).await.unwrap();
        assert_eq!(routes, days);
        routes.iter().map(|line| (line.sums.demands, line.sums.sales, line.sums.restored)).collect::<Vec<_>>()
    };
    let commits = ledger.commits();
    for _ in 0..10_000 {
        ledger.demands().count(&rates, &latest);
    }
    ledger.barrier().await;
    assert_eq!((ledger.commits(), sums(&ledger).await), (commits, vec![]), "a demand writes nothing");

    // A payment of which nobody knows what it is for is counted when its token comes, once.
    ledger.receive(hash(1), price(), None).await.unwrap();
    assert_eq!(sums(&ledger).await, []);
    let restored = Ending::Restored(RestoreReason::UpstreamError);
    held(&ledger, &world.sale(1, 2), draw()).await.end(restored);
    held(&ledger, &world.sale(1, 2), draw()).await.end(Ending::Delivered);
    ledger.barrier().await;
    assert_eq!(sums(&ledger).await, [(10_000, 1, 1)]);
    // One that is known as it comes; told again it is not counted again.
    let bought =
        Bought::request(rates.clone(), latest.clone(), price(), start.plus(Duration::from_secs(600)));
    ledger.receive(hash(2), price(), Some(bought)).await.unwrap();
    ledger.receive(hash(2), price(), None).await.unwrap();
    held(&ledger, &world.sale(2, 1), draw()).await.end(Ending::Delivered);
    // And one whose token comes before its event.
    held(&ledger, &world.sale(3, 1), draw()).await.end(Ending::Delivered);
    ledger.receive(hash(3), price(), None).await.unwrap();
    ledger.barrier().await;
    assert_eq!(sums(&ledger).await, [(10_000, 3, 1)]);

    ledger.demands().count(&rates, &latest);
    world.clock.advance(Duration::from_secs(61));
    let told = async {
        while sums(&ledger).await != [(10_001, 3, 1)] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told)
        .await
        .expect("the minute's transaction takes it along");
    ledger.demands().count(&rates, &latest);
    ledger.close().await.unwrap();
    let (ledger, _) = world.open();
    assert_eq!(sums(&ledger).await, [(10_002, 3, 1)], "the close took the last");
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.demands_month, revenue.sales_month, revenue.restored_month), (10_002, 3, 1));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_month_stands_beside_the_one_before_it() {
    let world = World::new();
    let (ledger, _) = world.open();
    let day = Duration::from_secs(86_400);
    // One sale a day for sixty days, and nothing today.
    for seed in 0..60u8 {
        held(&ledger, &world.sale(seed + 1, 1), draw()).await.end(Ending::Delivered);
        ledger.barrier().await;
        world.clock.advance(day);
    }
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    let sales = |msat: Msat| msat.msat() / price().msat();
    assert_eq!([revenue.today, revenue.week, revenue.month].map(sales), [0, 6, 29]);
    assert_eq!((revenue.before.map(sales), revenue.calls_month), ([1, 7, 30], 29));
}
