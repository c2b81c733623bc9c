//! `scripts/bench`: what a challenge costs beside one that is stored, and how long a sale takes.
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
mod load;
mod sales;
mod storing;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::net::TcpListener;
use tollhouse::sandbox::world::{World, WorldAsk};

fn main() -> Result<()> {
    // `cargo test --benches` passes --test: there is nothing to check then.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let progress = |text: &str| eprintln!("bench: {text}");
    let ask = WorldAsk {
        dir: folder.path(),
        gateway: TcpListener::bind("127.0.0.1:0").await?,
        admin: TcpListener::bind("127.0.0.1:0").await?,
        progress: &progress,
    };
    let world = World::start(ask).await?;
    progress("challenges a second: ours, and stored ones");
    let challenges = challenges::measure(&world, folder.path()).await?;
    progress("whole sales, one after the other");
    let sales = sales::measure(&world).await?;
    world.stop().await;

    println!("{challenges}\n\n{sales}");
    let report = json!({"challenges": challenges, "sales": sales});
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&target)?;
    let file = target.join("bench.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&report)?).context("the report could not be written")?;
    println!("\nwritten to {}", file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&file).display());
    Ok(())
}
