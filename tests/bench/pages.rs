//! Every page of the operator's, over a ledger with ten million spends and two million events.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, redirect};
use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollhouse::sandbox::world::{World, WorldAsk};
use tollhouse::types::Timestamp;

use super::history::{self, PACK, PACKS};

/// Each page is asked so often.
const TIMES: usize = 20;
/// What a page's median may take at most.
const MOST_MS: f64 = 100.0;
/// Events of customers, and one in so many of others.
const EVENTS: i64 = 2_000_000;
const RARE: i64 = 1_000;
const PASSWORD: &str = "correct horse battery staple";

/// One page's times.
#[derive(Serialize)]
struct Page {
    path: String,
    bytes: usize,
    median_ms: f64,
    worst_ms: f64,
}

/// The whole part.
#[derive(Serialize)]
pub(crate) struct Pages {
    spends: i64,
    pages: Vec<Page>,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Pages over {} spends, ms, on a socket", self.spends)?;
        write!(f, "                                              bytes    median     worst")?;
        for Page { path, bytes, median_ms, worst_ms } in &self.pages {
            let over = if *median_ms < MOST_MS { "" } else { "   over 100 ms" };
            let path: String = path.chars().take(40).collect();
            write!(f, "\n  {path:<41}{bytes:>8}   {median_ms:>7.2}   {worst_ms:>7.2}{over}")?;
        }
        Ok(())
    }
}

impl Pages {
    /// The pages that are slower than they may be.
    pub(crate) fn slow(&self) -> Vec<String> {
        let slow = self.pages.iter().filter(|page| page.median_ms >= MOST_MS);
        slow.map(|page| format!("{} ({:.0} ms)", page.path, page.median_ms)).collect()
    }
}

/// Builds and measures.
pub(crate) async fn measure(folder: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<Pages> {
    std::fs::create_dir_all(folder)?;
    start(folder, progress).await?.stop().await;
    progress("filling its ledger with ten million spends: some minutes");
    let path = folder.join("shop/regtest/ledger.db");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let end = Timestamp::from_secs(now.as_secs());
    tokio::task::spawn_blocking(move || history::fill(&path, end).and_then(|()| happen(&path, end)))
        .await??;
    progress("asking for pages");
    let world = start(folder, progress).await?;
    let measured = ask(&world).await;
    world.stop().await;
    measured
}

async fn start(folder: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<World> {
    let ask = WorldAsk {
        dir: folder,
        gateway: TcpListener::bind("127.0.0.1:0").await?,
        admin: TcpListener::bind("127.0.0.1:0").await?,
        progress,
    };
    World::start(ask).await
}

/// Fills the log: customers' payments, and between them a little of everything else.
fn happen(path: &Path, end: Timestamp) -> Result<()> {
    let file = Connection::open(path)?;
    file.pragma_update(None, "synchronous", "OFF")?;
    let end = i64::try_from(end.millis())?;
    file.execute_batch(&format!(
        "BEGIN;
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {EVENTS})
         INSERT INTO events (at, body) SELECT {end} - ({EVENTS} - i) * 1000, CASE
             WHEN i % {RARE} = 0 AND i / {RARE} % 2 = 0 THEN json_object('kind', 'seed_verified')
             WHEN i % {RARE} = 0 THEN json_object('kind', 'service_changed', 'service', 'service-1', 'before', NULL,
                                                  'after', NULL)
             WHEN i % 2 = 0 THEN json_object('kind', 'payment_received', 'payment_hash', lower(hex(randomblob(32))),
                 'amount_msat', 50000, 'service', 'service-1', 'route', 'route-9')
             ELSE json_object('kind', 'sale_attributed', 'payment_hash', lower(hex(randomblob(32))),
                 'service', 'service-1', 'route', 'route-9', 'offer', 'request', 'units', 1, 'amount_msat', 50000) END
             FROM n;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);",
    ))?;
    file.close().map_err(|(_, error)| error)?;
    Ok(())
}

async fn ask(world: &World) -> Result<Pages> {
    let client =
        Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(60)).build()?;
    let admin = world.shop.admin_url();
    let link = world.shop.claim_link().context("it is claimed already")?;
    let token = link.split_once("token=").context("the claim link has a token")?.1;
    let form = [("token", token), ("password", PASSWORD), ("again", PASSWORD)];
    let claimed = client.post(format!("{admin}/claim")).header("origin", &admin).form(&form).send().await?;
    ensure!(claimed.status() == 303, "the claim: {}", claimed.status());
    let cookie = claimed.headers().get("set-cookie").context("a session")?.to_str()?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let newest = world.shop.ledger().payments(1, None).await?;
    let hash = newest.first().context("a payment")?.payment_hash.to_hex();
    let beginning: String = hash.chars().take(8).collect();
    let mut paths: Vec<String> = [
        "/",
        "/live",
        "/start",
        "/start/seed",
        "/start/chain",
        "/start/receive",
        "/start/service",
        "/start/payment",
        "/revenue",
        "/revenue?range=24h",
        "/revenue?range=1y",
        "/revenue?range=1y&service=service-3",
        "/revenue?range=1y&service=service-3&route=route-9",
        "/revenue?before=50000",
        "/services",
        "/services/new",
        "/services/new/text",
        "/tokens",
        "/tokens/grant",
        "/tokens/doubtful",
        "/tokens?state=live&service=service-3",
        "/lightning",
        "/lightning/open",
        "/lightning/inbound",
        "/lightning/payouts",
        "/lightning/rules",
        "/lightning/peers",
        "/coins",
        "/coins/send",
        "/coins/receive",
        "/coins/vault",
        "/coins/vault/set",
        "/activity",
        "/activity?before=1000000",
        "/activity?about=payments",
        "/activity?about=tokens",
        "/activity?about=coins",
        "/activity?about=channels",
        "/activity?about=services",
        "/activity?about=system&before=1000000",
        "/integrations",
        "/integrations/keys/new",
        "/integrations/webhooks/new",
        "/integrations/webhooks/1",
        "/backup",
        "/system",
        "/system/log",
        "/api/v1/activity.csv",
        "/api/v1/revenue.csv",
        "/metrics",
        "/api/v1/status",
        "/api/v1/account",
        "/api/v1/payments",
        "/api/v1/tokens",
        "/api/v1/activity",
        "/api/v1/revenue?by=hour",
        "/api/v1/health",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push(format!("/payments/{hash}"));
    let read = async |path: &str| {
        let asked = client.get(format!("{admin}{path}")).header("cookie", &cookie).send().await?;
        Ok::<Value, anyhow::Error>(serde_json::from_str(&asked.text().await?)?)
    };
    let channels = read("/api/v1/channels").await?;
    let channel = channels["channels"][0]["channel_id"].as_str().context("a channel")?.to_owned();
    for below in ["", "/force-close"] {
        paths.push(format!("/lightning/channels/{channel}{below}"));
    }
    let services = read("/api/v1/services").await?;
    let service = services["services"][0]["name"].as_str().context("a service")?.to_owned();
    for below in ["", "/edit", "/text", "/try", "/routes/new"] {
        paths.push(format!("/services/{service}{below}"));
    }
    let hook = json!({ "label": "nobody", "url": "http://127.0.0.1:9/", "allow_private": true, "topics": ["alarm.cleared"] });
    let key = world.shop.admin_key_file();
    let key = std::fs::read_to_string(key)?;
    let made = client.post(format!("{admin}/api/v1/webhooks")).bearer_auth(key.trim());
    let made = made.header("content-type", "application/json").body(hook.to_string()).send().await?;
    ensure!(made.status() == 201, "an endpoint: {}", made.text().await?);
    paths.push(format!("/tokens?search={beginning}"));
    paths.push(format!("/api/v1/tokens?search={beginning}"));
    let mut pages = Vec::new();
    for path in paths {
        let (mut spans, mut bytes) = (Vec::with_capacity(TIMES), 0);
        for _ in 0..TIMES {
            let begun = Instant::now();
            let asked = client.get(format!("{admin}{path}"));
            let asked = if path == "/metrics" {
                asked.bearer_auth(key.trim())
            } else {
                asked.header("cookie", &cookie)
            };
            let mut answer = asked.send().await?;
            // A page that leads on has answered too.
            let status = answer.status();
            ensure!(status.is_success() || status.is_redirection(), "{path}: {status}");
            // A table is no page: it is sent as it is read, and what counts is when it begins.
            bytes = match path.contains(".csv") {
                true => answer.chunk().await?.context("a table has a head")?.len(),
                false => answer.bytes().await?.len(),
            };
            spans.push(begun.elapsed().as_secs_f64() * 1_000.0);
        }
        spans.sort_by(f64::total_cmp);
        pages.push(Page { path, bytes, median_ms: spans[TIMES / 2], worst_ms: spans[TIMES - 1] });
    }
    Ok(Pages { spends: PACKS * PACK, pages })
}
