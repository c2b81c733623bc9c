//! `scripts/bench`: what a debit costs beside a transaction of its own, reports over ten million spends
//! beside a scan of them, what a challenge costs beside one that is stored, the processor's time of a
//! challenge and of a proof, what a quote costs, how long a sale takes, and the operator's pages over ten million
//! spends. `scripts/bench debits` (or any of their names) measures one.
//!
//! Machines are noisy, ratios hold: every figure stands beside a reference of the same run. Printed for
//! people, and as JSON under `target/bench/`.

#![allow(
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a benchmark measures real time and prints"
)]

mod challenges;
mod cost;
mod debits;
mod history;
mod load;
mod pages;
mod prices;
mod sales;
mod storing;

use std::fmt::Display;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tollhouse::sandbox::world::{World, WorldAsk};

fn main() -> Result<()> {
    // `cargo test --benches` passes --test: there is nothing to check then.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    // Cargo adds `--bench`.
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&parts))
}

async fn run(parts: &[String]) -> Result<()> {
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&target)?;
    // Not the folder for temporary files, which may be memory.
    let folder = tempfile::tempdir_in(&target)?;
    let progress = |text: &str| eprintln!("bench: {text}");
    let (mut report, mut slow) = (Map::new(), Vec::new());
    if wanted("debits") {
        progress("durable debits a second: ours, and one transaction each");
        tell(&mut report, "debits", debits::measure(folder.path()).await?)?;
    }
    if wanted("prices") {
        progress("quotes: fixed, tiers, formulas");
        tell(&mut report, "prices", prices::measure()?)?;
    }
    if wanted("history") {
        tell(&mut report, "history", history::measure(folder.path(), &progress).await?)?;
    }
    if wanted("pages") {
        let measured = pages::measure(&folder.path().join("pages"), &progress).await?;
        slow = measured.slow();
        tell(&mut report, "pages", measured)?;
    }
    if wanted("challenges") || wanted("cost") || wanted("sales") {
        let ask = WorldAsk {
            dir: folder.path(),
            gateway: TcpListener::bind("127.0.0.1:0").await?,
            admin: TcpListener::bind("127.0.0.1:0").await?,
            progress: &progress,
        };
        let world = World::start(ask).await?;
        if wanted("challenges") {
            progress("challenges a second: ours, and stored ones");
            tell(&mut report, "challenges", challenges::measure(&world, folder.path()).await?)?;
        }
        if wanted("cost") {
            progress("a challenge and a proof, in the processor's time");
            let (shop, file) = (world.shop.node().clone(), folder.path().join("cost.db"));
            let measured = tokio::task::spawn_blocking(move || cost::measure(shop, &file)).await?;
            tell(&mut report, "cost", measured?)?;
        }
        if wanted("sales") {
            progress("whole sales, one after the other");
            tell(&mut report, "sales", sales::measure(&world).await?)?;
        }
        world.stop().await;
    }
    ensure!(!report.is_empty(), "there is no such part: {}", parts.join(" "));
    let file = target.join("bench.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&report)?).context("the report could not be written")?;
    println!("written to {}", file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&file).display());
    ensure!(slow.is_empty(), "pages over 100 ms: {}", slow.join(", "));
    Ok(())
}

/// Prints a part and keeps it for the report.
fn tell<T: Display + Serialize>(report: &mut Map<String, Value>, name: &str, part: T) -> Result<()> {
    println!("{part}\n");
    report.insert(name.to_owned(), serde_json::to_value(&part)?);
    Ok(())
}
