//! `tollhouse demo`: the world in one process; `demo --once` runs its loop once; `demo traffic` buys
//! from a running one.

mod invoice;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::TcpListener;

use super::run::{in_runtime, told_to_stop};
use super::{logging, say, tell, warn};
use crate::clock::{Clock, SystemClock};
use crate::config::{Environment, state_dir};
use crate::sandbox::once;
use crate::sandbox::place::{Announced, DemoPlace};
use crate::sandbox::world::{World, WorldAsk};
use crate::types::Timestamp;
use crate::web::LogTail;

const GATEWAY_PORT: u16 = 8402;
const ADMIN_PORT: u16 = 8403;

/// Ports that are tried after a taken one.
const NEXT_PORTS: u16 = 50;

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    /// Run the loop once, check every step and end
    #[arg(long)]
    once: bool,
    /// With --once: print one JSON object
    #[arg(long, requires = "once")]
    json: bool,
    /// Keep the world in this folder for the next start
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What the log shows on stderr
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
}

#[derive(Debug, clap::Subcommand)]
enum DemoCommand {
    /// Buy from the running demo at a steady rate, until Ctrl-C
    Traffic(traffic::TrafficArgs),
    /// An invoice of the running demo's payer: somebody to pay out to
    Invoice(invoice::InvoiceArgs),
}

/// Runs the demo.
pub(super) fn run(args: &DemoArgs, env: &Environment) -> ExitCode {
    if let Some(DemoCommand::Invoice(args)) = &args.command {
        return invoice::run(args, env);
    }
    let log = logging::start_kept(&args.log);
    let done = match &args.command {
        Some(DemoCommand::Invoice(_)) => Ok(()),
        Some(DemoCommand::Traffic(traffic)) => place_file(env).and_then(|file| traffic::run(traffic, &file)),
        None => in_runtime(demo(args, env, log)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &DemoArgs, env: &Environment, log: LogTail) -> Result<()> {
    let told = told_to_stop()?;
    tokio::pin!(told);
    let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
    let begun = clock.steady();
    let temporary;
    let dir = match &args.data_dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("--data-dir {}", dir.display()))?;
            std::path::absolute(dir)?
        }
        None => {
            temporary = tempfile::Builder::new().prefix("tollhouse-demo-").tempdir()?;
            temporary.path().to_owned()
        }
    };
    let file = place_file(env)?;
    let (gateway, admin) = if args.once {
        (any().await?, any().await?)
    } else {
        (from(GATEWAY_PORT, "gateway").await?, from(ADMIN_PORT, "admin").await?)
    };
    let steps = Steps::new(args.json);
    let progress = |text: &str| steps.next(text);
    let ask = WorldAsk { dir: &dir, gateway, admin, progress: &progress };
    let starting = World::start_logged(ask, log);
    tokio::pin!(starting);
    let world = tokio::select! {
        started = &mut starting => started?,
        () = &mut told => {
            // Nodes that have begun to start are stopped in order, not dropped.
            steps.next("stopping, once the nodes are up");
            starting.await?.stop().await;
            bail!("stopped before the world was ready");
        }
    };
    let ready = clock.steady().saturating_sub(begun);
    steps.done(ready);
    let place = place_of(&world)?;
    let outcome = if args.once {
        once(args, &place, &clock, ready).await
    } else {
        stay(&world, &file, &place, args.data_dir.as_deref(), told).await
    };
    world.stop().await;
    outcome
}

async fn once(args: &DemoArgs, place: &DemoPlace, clock: &Arc<dyn Clock>, ready: Duration) -> Result<()> {
    let report = once::run(place, clock, ready).await?;
    if args.json {
        say(serde_json::to_string(&report)?)?;
    } else {
        say(format!(
            "402 in {} ms · paid {} msat in {} ms · {} in {} ms · replay refused with {} · revenue {} msat",
            report.challenge_ms,
            report.amount_msat,
            report.payment_ms,
            report.status_paid,
            report.paid_request_ms,
            report.status_replay,
            report.revenue_msat,
        ))?;
    }
    Ok(())
}

async fn stay(
    world: &World,
    file: &Path,
    place: &DemoPlace,
    kept: Option<&Path>,
    told: impl Future<Output = ()>,
) -> Result<()> {
    let _announced =
        Announced::write(file, place).with_context(|| format!("the demo file {}", file.display()))?;
    tell(banner(world, place, kept));
    told.await;
    tell("\nstopping: the nodes close their books first");
    Ok(())
}

fn banner(world: &World, place: &DemoPlace, kept: Option<&Path>) -> String {
    let exe =
        std::env::current_exe().map_or_else(|_| "tollhouse".to_owned(), |path| path.display().to_string());
    let url = format!("'{}/v1/exchange-rates?base=USD&quote=EUR,JPY,GBP'", place.gateway);
    let login = match world.shop.claim_link() {
        Some(link) => format!("{link}\n            (once: it sets the password)"),
        None => format!("{}/login", place.admin),
    };
    let kept = kept.map_or_else(
        || "temporary: it is gone when the demo ends (--data-dir DIR keeps it)".to_owned(),
        |dir| format!("kept in {}", dir.display()),
    );
    format!(
        "
Tollhouse demo: a shop, a payer with a channel to it, and a regtest chain, in one process.

  gateway   {gateway}
  operator  {admin}
  log in    {login}
  world     {kept}

From another terminal:

  curl -i {url}
  {exe} fetch {url}
  {exe} demo traffic --rate 2      (customers, so that the page has something to show)
  {exe} pay-out $({exe} demo invoice --amount-sat 50) --demo      (what was earned, back to the payer)

Another client pays from the payer's wallet if it can pay through an LND (100,000 sat a day, l402-requests, bolthub, l402sdk …):

  export LND_REST_HOST={payer} LND_MACAROON_HEX={macaroon}

and open {admin} in a browser. Exchange rates cost 5 sat a call, or a pack of 100 or a day's pass
(`fetch --offer pack-100 --max-sat 400`); POST /v1/translate costs by its size, POST /v1/chat by its answer, /v1/health nothing.
Ctrl-C ends it.",
        gateway = place.gateway,
        admin = place.admin,
        payer = place.payer,
        macaroon = place.wallet_macaroon,
    )
}

fn place_of(world: &World) -> Result<DemoPlace> {
    let key = |file: &Path| -> Result<String> {
        let text = std::fs::read_to_string(file).with_context(|| format!("the key in {}", file.display()))?;
        Ok(text.trim().to_owned())
    };
    Ok(DemoPlace {
        gateway: world.shop.gateway_url(),
        admin: world.shop.admin_url(),
        admin_key: key(world.shop.admin_key_file())?,
        payer: world.payer.admin_url(),
        payer_key: key(world.payer.admin_key_file())?,
        wallet_macaroon: world.wallet_macaroon.clone(),
        pid: std::process::id(),
    })
}

/// `$TOLLHOUSE_DEMO_FILE`, or `demo.json` in the state directory.
pub(super) fn place_file(env: &Environment) -> Result<PathBuf> {
    if let Some(file) = env.get("TOLLHOUSE_DEMO_FILE") {
        return Ok(PathBuf::from(file));
    }
    let dir = state_dir(env).context("there is no home directory: set TOLLHOUSE_DEMO_FILE")?;
    Ok(dir.join("demo.json"))
}

/// The wanted port of 127.0.0.1, or the next free one, and says so.
async fn from(port: u16, what: &str) -> Result<TcpListener> {
    for candidate in port..port.saturating_add(NEXT_PORTS) {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", candidate)).await {
            if candidate != port {
                warn(format!("port {port} is taken: the {what} is on {candidate}"));
            }
            return Ok(listener);
        }
    }
    bail!("none of the ports {port} to {} is free for the {what}", port.saturating_add(NEXT_PORTS - 1))
}

async fn any() -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on 127.0.0.1")
}

/// What is being done, on stderr: a spinner on a terminal, plain lines elsewhere, nothing for machines.
struct Steps {
    bar: ProgressBar,
    plain: bool,
}

impl Steps {
    fn new(silent: bool) -> Steps {
        let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        let plain = !silent && bar.is_hidden();
        bar.enable_steady_tick(Duration::from_millis(120));
        Steps { bar, plain }
    }

    fn next(&self, text: &str) {
        if self.plain {
            warn(format!("… {text}"));
        }
        self.bar.set_message(text.to_owned());
    }

    fn done(&self, span: Duration) {
        self.bar.finish_and_clear();
        if self.plain {
            warn(format!("ready after {}.{} s", span.as_secs(), span.subsec_millis() / 100));
        }
    }
}
