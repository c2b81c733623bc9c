//! Reports over a long history: a ledger with ten million spends is built, and the reports are timed
//! beside one full scan of the spends. And what a million sales take on the disk.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rusqlite::Connection;
use serde::Serialize;
use tollhouse::clock::{FixedClock, SystemClock};
use tollhouse::ledger::{Draw, Ending, Sale};
use tollhouse::store::{GrantFilter, Ledger, SalesFilter, Step};
use tollhouse::types::{Kind, Msat, Name, PaymentHash, Timestamp, TokenId};

/// Packs, and requests in each: ten million spends.
pub(crate) const PACKS: i64 = 100_000;
pub(crate) const PACK: i64 = 100;
const PRICE_MSAT: i64 = 50_000;
const DAYS: u64 = 365;
/// The last hour of the history.
const END: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: u64 = 86_400;
/// Each report is asked so often.
const TIMES: usize = 20;
/// Sales of single requests through the ledger itself, and how many at once.
const SALES: u64 = 50_000;
const AT_ONCE: u64 = 256;

/// One report's times.
#[derive(Serialize)]
struct Report {
    name: &'static str,
    median_ms: f64,
    worst_ms: f64,
}

/// The whole part.
#[derive(Serialize)]
pub(crate) struct History {
    spends: i64,
    reports: Vec<Report>,
    full_scan_ms: f64,
    /// How much longer the scan takes than the slowest report's median.
    ratio: f64,
    audit_s: f64,
    megabytes_a_million_spends: f64,
    megabytes_a_million_sales: f64,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Reports over {} spends in {DAYS} days, 40 routes, ms", self.spends)?;
        writeln!(f, "                                            median     worst")?;
        for Report { name, median_ms, worst_ms } in &self.reports {
            let over = if *median_ms < 50.0 { "" } else { "   over 50 ms" };
            writeln!(f, "  {name:<41}{median_ms:>7.2}   {worst_ms:>7.2}{over}")?;
        }
        writeln!(f, "  one full scan of the spends              {:>8.0}", self.full_scan_ms)?;
        writeln!(f, "  the slowest report is {:.0} times faster than the scan", self.ratio)?;
        writeln!(f, "  the audit of all of it takes {:.1} s", self.audit_s)?;
        writeln!(f, "Disk, MB")?;
        writeln!(
            f,
            "  a million requests from packs of {PACK}      {:>8.0}",
            self.megabytes_a_million_spends
        )?;
        write!(f, "  a million single requests sold           {:>8.0}", self.megabytes_a_million_sales)
    }
}

/// Builds and measures.
pub(crate) async fn measure(folder: &Path, progress: &dyn Fn(&str)) -> Result<History> {
    progress("building a ledger with ten million spends: some minutes");
    let path = folder.join("history.db");
    let size = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || build(&path)).await??
    };
    progress("asking for reports");
    let (ledger, _) = Ledger::open(&path, FixedClock::at(END))?;
    let reports = reports(&ledger).await?;
    let full_scan_ms = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || full_scan(&path)).await??
    };
    let begun = Instant::now();
    let audit = ledger.audit().await?;
    let audit_s = begun.elapsed().as_secs_f64();
    ensure!(audit.ok, "the history that was built does not add up: {:?}", audit.mismatches);
    ledger.close().await?;
    progress("selling single requests");
    let per_sale = sell(&folder.join("sales.db")).await?;
    let slowest = reports.iter().map(|report| report.median_ms).fold(0.0, f64::max);
    Ok(History {
        spends: PACKS * PACK,
        ratio: full_scan_ms / slowest,
        reports,
        full_scan_ms,
        audit_s,
        megabytes_a_million_spends: megabytes(size)? * 1e6 / f64::from(u32::try_from(PACKS * PACK)?),
        megabytes_a_million_sales: per_sale,
    })
}

/// Makes the rows that ten million requests from packs leave; gives the file's size in bytes.
fn build(path: &Path) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (ledger, _) = Ledger::open(path, FixedClock::at(END))?;
        ledger.close().await
    })?;
    fill(path, END)?;
    Ok(std::fs::metadata(path)?.len())
}

/// Puts ten million requests from packs, until `end`, into a ledger that is not open and has no sales.
pub(crate) fn fill(path: &Path, end: Timestamp) -> Result<()> {
    let file = Connection::open(path)?;
    // It is only a benchmark's: nobody waits for the disk.
    file.pragma_update(None, "synchronous", "OFF")?;
    file.pragma_update(None, "cache_size", -500_000)?;
    let (end, span) = (i64::try_from(end.millis())?, i64::try_from(DAYS * DAY * 1_000)?);
    file.execute_batch(&format!(
        "BEGIN;
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 13)
         INSERT INTO names (id, name) SELECT 1000 + i, iif(i <= 8, 'service-', 'route-') || i FROM n;
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PACKS})
         INSERT INTO grants (id, payment_hash, token_id, service, route, kind, price_msat, sold, left_, held, spent,
                             expired, revoked, calls, open, bytes, restored, crash_restored, returned, loaded,
                             crash_returned, redeemed_at, valid_until, exhausted_at, over_at, due)
             SELECT i, randomblob(32), randomblob(32), 1001 + i % 8, 1009 + i / 8 % 5, 'pack', {PACK} * {PRICE_MSAT},
                    {PACK}, 0, 0, {PACK}, 0, 0, {PACK}, 0, 0, 0, 0, 0, 0, 0, {end} - {span}, {end}, {end}, {end},
                    {end} + 1000000000
             FROM n;
         INSERT INTO payments (payment_hash, amount_msat, received_at, service, route, kind, asked_msat, run)
             SELECT payment_hash, price_msat, redeemed_at, service, route, kind, price_msat, 1 FROM grants;
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PACK})
         INSERT INTO spends (grant_id, number, at, route, units, earned_msat, bytes, how)
             SELECT id, i, {end} - {span} + (id * {PACK} + i) * 1299709 % {span}, route, 1, {PRICE_MSAT}, 0, 0
             FROM grants CROSS JOIN n ORDER BY id, i;
         INSERT INTO revenue_hourly (hour, service, route, calls, earned_msat)
             SELECT s.at / 3600000 AS hour, g.service, s.route, COUNT(*), SUM(s.earned_msat)
             FROM spends s JOIN grants g ON g.id = s.grant_id GROUP BY hour, g.service, s.route;
         INSERT INTO revenue_daily (day, service, route, calls, earned_msat)
             SELECT hour / 24 AS day, service, route, SUM(calls), SUM(earned_msat) FROM revenue_hourly
             GROUP BY day, service, route;
         UPDATE totals SET grants = {PACKS}, units_sold = {PACKS} * {PACK}, units_spent = {PACKS} * {PACK},
             calls = {PACKS} * {PACK}, earned_msat = {PACKS} * {PACK} * {PRICE_MSAT}, payments = {PACKS},
             received_msat = {PACKS} * {PACK} * {PRICE_MSAT};
         COMMIT;",
    ))?;
    file.close().map_err(|(_, error)| error)?;
    Ok(())
}

async fn reports(ledger: &Ledger) -> Result<Vec<Report>> {
    let days = |days: u64| Timestamp::from_secs(END.secs() - days * DAY);
    let to = END.plus(Duration::from_secs(3_600));
    let service: Name = "service-3".parse()?;
    let all = SalesFilter::default;
    let one = SalesFilter { service: Some(service.clone()), route: None };
    let newest = ledger.payments(1, None).await?;
    let hash = newest.first().map(|row| row.payment_hash).ok_or_else(|| anyhow::anyhow!("no payment"))?;
    let text = |text: &str| GrantFilter { text: Some(text.to_owned()), ..GrantFilter::default() };
    let beginning = hash.to_hex().chars().take(8).collect::<String>();
    let of_one = GrantFilter { service: Some(service), ..GrantFilter::default() };
    Ok(vec![
        time("today, the week, all the time", || ledger.revenue(END)).await?,
        time("the running sums", || ledger.totals()).await?,
        time("30 days, by day", || ledger.revenue_series(days(30), to, Step::Day, all())).await?,
        time("a year, by day", || ledger.revenue_series(days(365), to, Step::Day, all())).await?,
        time("30 days, by hour, one service", || {
            ledger.revenue_series(days(30), to, Step::Hour, one.clone())
        })
        .await?,
        time("30 days, by route", || ledger.revenue_by_route(days(30), to, Step::Day, all())).await?,
        time("a year, by route", || ledger.revenue_by_route(days(365), to, Step::Day, all())).await?,
        time("a page of payments", || ledger.payments(50, None)).await?,
        time("a page of one service's tokens", || ledger.grants(of_one.clone(), 50, None)).await?,
        time("a token by its hash's beginning", || ledger.grants(text(&beginning), 50, None)).await?,
        time("a token by its label", || ledger.grants(text("partner"), 50, None)).await?,
        time("what one token was used for", || ledger.spends(hash, 50, None)).await?,
    ])
}

async fn time<T, E, F>(name: &'static str, ask: impl Fn() -> F) -> Result<Report>
where
    F: Future<Output = Result<T, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut spans = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        ask().await?;
        spans.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    spans.sort_by(f64::total_cmp);
    Ok(Report { name, median_ms: spans[TIMES / 2], worst_ms: spans[TIMES - 1] })
}

/// What a report that walks the spends would take.
fn full_scan(path: &Path) -> Result<f64> {
    let file = Connection::open(path)?;
    let begun = Instant::now();
    let all: (i64, i64) = file.query_row("SELECT COUNT(*), SUM(earned_msat) FROM spends", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    ensure!(all == (PACKS * PACK, PACKS * PACK * PRICE_MSAT), "the spends add up to {all:?}");
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}

/// Sells single requests as the gateway does; gives the megabytes of a million of them.
async fn sell(path: &Path) -> Result<f64> {
    let (ledger, _) = Ledger::open(path, SystemClock::new(Timestamp::default()))?;
    let (mut clients, next) = (tokio::task::JoinSet::new(), Arc::new(std::sync::atomic::AtomicU64::new(0)));
    for _ in 0..AT_ONCE {
        let (ledger, next) = (ledger.clone(), Arc::clone(&next));
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if number >= SALES {
                    return anyhow::Ok(());
                }
                let sale = single(number)?;
                ledger.receive(sale.payment_hash, sale.sold, None).await?;
                let draw = Draw::one(sale.route.clone());
                ledger.reserve(sale, draw).await?.end(Ending::Delivered);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    ledger.barrier().await;
    let audit = ledger.audit().await?;
    ensure!(audit.ok && audit.sums.calls == i64::try_from(SALES)?, "the books are wrong: {audit:?}");
    ledger.close().await?;
    Ok(megabytes(std::fs::metadata(path)?.len())? * 1e6 / f64::from(u32::try_from(SALES)?))
}

fn single(number: u64) -> Result<Sale> {
    use bitcoin::hashes::{Hash, sha256};
    let scattered = sha256::Hash::hash(&number.to_be_bytes()).to_byte_array();
    Ok(Sale {
        payment_hash: PaymentHash::from_bytes(scattered),
        token_id: TokenId::from_bytes(scattered),
        service: "rates".parse()?,
        route: "latest".parse()?,
        kind: Kind::Request,
        units: 1,
        lasts: None,
        sold: Msat::new(50_000)?,
        covers: Msat::ZERO,
        quote: None,
        valid_until: Timestamp::from_secs(30_000_000_000),
    })
}

fn megabytes(bytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes / 1_000)?) / 1_000.0)
}
