//! Durable debits a second: ours, whose commits are shared, beside one transaction for each debit on the
//! same disk. Both wait for the disk before a client goes on.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde::Serialize;
use tollhouse::clock::SystemClock;
use tollhouse::ledger::{Draw, Ending, Sale};
use tollhouse::store::Ledger;
use tollhouse::types::{Kind, Msat, PaymentHash, Timestamp, TokenId};

const CLIENTS: [u8; 3] = [1, 16, 64];
const SPAN: Duration = Duration::from_secs(5);
const UNITS: u64 = 1_000_000_000;

/// With so many clients.
#[derive(Serialize)]
struct Row {
    clients: u8,
    ours: f64,
    debits_a_commit: f64,
    one_by_one: f64,
    ratio: f64,
}

/// All of them.
#[derive(Serialize)]
pub(crate) struct Debits(Vec<Row>);

impl fmt::Display for Debits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Durable debits a second, on this disk")?;
        write!(f, "  clients       ours   a commit   one transaction each")?;
        for Row { clients, ours, debits_a_commit, one_by_one, ratio } in &self.0 {
            write!(f, "\n  {clients:>7}   {ours:>8.0}   {debits_a_commit:>8.1}   {one_by_one:>20.0}")?;
            write!(f, "   ours is {ratio:.1} times faster")?;
        }
        Ok(())
    }
}

/// Measures both for each number of clients, one after the other.
pub(crate) async fn measure(folder: &Path) -> Result<Debits> {
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let (ours, debits_a_commit) = shared(&folder.join(format!("shared-{clients}.db")), clients).await?;
        let path = folder.join(format!("single-{clients}.db"));
        let one_by_one = tokio::task::spawn_blocking(move || single(&path, clients)).await??;
        rows.push(Row { clients, ours, debits_a_commit, one_by_one, ratio: ours / one_by_one });
    }
    Ok(Debits(rows))
}

/// The ledger itself: each debit is a reserve and its end, as a request makes them.
async fn shared(path: &Path, clients: u8) -> Result<(f64, f64)> {
    let (ledger, _) = Ledger::open(path, SystemClock::new(Timestamp::default()))?;
    let (mut tasks, before, begun) = (tokio::task::JoinSet::new(), ledger.commits(), Instant::now());
    for client in 0..clients {
        let (ledger, sale) = (ledger.clone(), pack(client)?);
        tasks.spawn(async move {
            let mut debits = 0_u32;
            while begun.elapsed() < SPAN {
                let draw = Draw::one(sale.route.clone());
                let mut held = ledger.reserve(sale.clone(), draw).await?;
                held.dispatched();
                held.end(Ending::Delivered);
                debits += 1;
            }
            anyhow::Ok(debits)
        });
    }
    let mut debits = 0;
    while let Some(done) = tasks.join_next().await {
        debits += done??;
    }
    let (span, commits) = (begun.elapsed(), u32::try_from(ledger.commits() - before)?);
    ledger.barrier().await;
    let audit = ledger.audit().await?;
    ensure!(audit.ok && audit.sums.units_spent == i64::from(debits), "the books are wrong: {audit:?}");
    ledger.close().await?;
    Ok((f64::from(debits) / span.as_secs_f64(), f64::from(debits) / f64::from(commits.max(1))))
}

fn pack(client: u8) -> Result<Sale> {
    Ok(Sale {
        payment_hash: PaymentHash::from_bytes([client; 32]),
        token_id: TokenId::from_bytes([client; 32]),
        service: "api".parse()?,
        route: "goods".parse()?,
        kind: Kind::Pack,
        units: UNITS,
        lasts: None,
        sold: Msat::new(UNITS * 100)?,
        covers: Msat::ZERO,
        quote: None,
        valid_until: Timestamp::from_secs(30_000_000_000),
    })
}

/// The reference: the least that a debit can be, one update and one row, in a transaction of its own on
/// a connection that the clients share, with the same settings.
fn single(path: &Path, clients: u8) -> Result<f64> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE grants (id INTEGER PRIMARY KEY, left_ INTEGER NOT NULL CHECK (left_ >= 0),
                              spent INTEGER NOT NULL) STRICT;
         CREATE TABLE spends (id INTEGER PRIMARY KEY, grant_id INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;",
    )?;
    for client in 0..clients {
        connection.execute("INSERT INTO grants VALUES (?1, ?2, 0)", (client, i64::try_from(UNITS)?))?;
    }
    let (connection, begun) = (Arc::new(Mutex::new(connection)), Instant::now());
    let clients: Vec<_> = (0..clients)
        .map(|client| {
            let connection = Arc::clone(&connection);
            std::thread::spawn(move || one_after_the_other(&connection, client, begun))
        })
        .collect();
    let mut debits = 0;
    for client in clients {
        debits += client.join().ok().context("a client panicked")??;
    }
    Ok(f64::from(debits) / begun.elapsed().as_secs_f64())
}

fn one_after_the_other(connection: &Mutex<Connection>, client: u8, begun: Instant) -> Result<u32> {
    let mut debits = 0;
    while begun.elapsed() < SPAN {
        let mut connection = connection.lock().ok().context("a client panicked")?;
        let debit = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut update = debit.prepare_cached(
            "UPDATE grants SET left_ = left_ - 1, spent = spent + 1 WHERE id = ?1 AND left_ > 0",
        )?;
        ensure!(update.execute([client])? == 1, "no unit is left");
        debit
            .prepare_cached("INSERT INTO spends (grant_id, at) VALUES (?1, ?2)")?
            .execute((client, debits))?;
        drop(update);
        debit.commit()?;
        debits += 1;
    }
    Ok(debits)
}
