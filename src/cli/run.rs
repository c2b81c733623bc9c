//! `tollhouse run`: the appliance, until it is told to stop.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::checklist::{self, Start};
use super::{logging, next, tell, unlocking, warn};
use crate::app::{Appliance, Blueprint, Waits, take_dir};
use crate::config::{Environment, Flags, Settings};
use crate::node::NodeState;
use crate::secrets::Secrets;
use crate::store::DirLock;
use crate::web::LogTail;

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    flags: Flags,
    /// On mainnet: start although points of the list are open (never the seed and its words)
    #[arg(long)]
    i_know: bool,
    /// Without a seed: open a page where one is made or brought back from its words, as mainnet does
    #[arg(long)]
    choose_seed: bool,
}

/// Runs until SIGINT or SIGTERM.
pub(super) fn run(args: &RunArgs, env: &Environment) -> ExitCode {
    let settings = match Settings::load(&args.flags, env) {
        Ok(settings) => settings,
        Err(problems) => {
            warn(problems);
            return ExitCode::from(2);
        }
    };
    let log = logging::start_kept(&settings.log);
    for doubtful in &settings.warnings {
        tracing::warn!("{doubtful}");
    }
    match opened(&settings, args)
        .and_then(|(lock, secrets)| in_runtime(serve((settings, log), lock, secrets, &args.flags, env)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The right to the directory, then what it keeps secret, unless that stays locked. A prompt comes before
/// anything runs that a signal would have to stop.
fn opened(settings: &Settings, args: &RunArgs) -> Result<(DirLock, Option<Secrets>)> {
    let lock = take_dir(&settings.data_dir)?;
    match checklist::check(settings, args.i_know, args.choose_seed)? {
        Start::Now => {
            let (unlock, dir) = (&settings.unlock, settings.network_dir());
            if let Some(before) = next::before_first_start(&dir, &args.flags)? {
                warn(before);
            }
            Ok((lock, unlocking::open_now(unlock, &dir, settings.node.network)?))
        }
        Start::SeedFirst => Ok((lock, None)),
    }
}

/// Runs a command's work on a runtime of its own.
pub(super) fn in_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the runtime did not start")?.block_on(work)
}

async fn serve(
    (settings, log): (Settings, LogTail),
    lock: DirLock,
    secrets: Option<Secrets>,
    flags: &Flags,
    env: &Environment,
) -> Result<()> {
    // Installed first: a signal during the start is not lost.
    let told = told_to_stop()?;
    tokio::pin!(told);
    let mut reread = signal(SignalKind::hangup()).context("SIGHUP cannot be heard")?;
    let unlock = settings.unlock.clone();
    let blueprint = Blueprint::of(settings, lock, log).await?;
    let (blueprint, secrets) = match secrets {
        Some(secrets) => (blueprint, secrets),
        None => {
            let waits = |waits| match waits {
                Waits::ForPassphrase(url) => tell(format!(
                    "locked    {url}   say the seed's passphrase there, or to `tollhouse unlock`"
                )),
                Waits::ForSeed(link) => {
                    tell(format!("no seed   {link}   (makes one, or brings yours back from its words)"))
                }
            };
            match blueprint.unlocked(unlock, waits, &mut told).await? {
                Some(opened) => opened,
                None => {
                    tell("stopped");
                    return Ok(());
                }
            }
        }
    };
    let appliance = Appliance::start(blueprint, secrets).await?;
    let gateway = appliance.gateway_url();
    let services = appliance.storefront().stock().len();
    tell(format!("gateway   {gateway}   ({services} service{})", if services == 1 { "" } else { "s" }));
    tell(format!(
        "operator  {}   (key for scripts: {})",
        appliance.admin_url(),
        appliance.admin_key_file().display()
    ));
    if let Some(link) = appliance.claim_link() {
        tell(format!("claim it  {link}   (once; sets the password)"));
    }
    tell(format!("node      {}   starting; nothing is sold until it is up", appliance.node().node_id()));
    let mut state = appliance.node_state();
    loop {
        tokio::select! {
            () = &mut told => break,
            Some(()) = reread.recv() => sell_again(&appliance, flags, env).await,
            changed = state.changed() => {
                if changed.is_err() { break }
                let now = state.borrow_and_update().clone();
                match now {
                    NodeState::Running => tell("node      up"),
                    // The log says each time what it waits for.
                    NodeState::Starting(_) => {}
                    NodeState::Failed(why) => warn(format!("node      down: {why}. The gate answers 503 meanwhile.")),
                    NodeState::Stopped => {}
                }
            }
        }
    }
    tell("stopping: requests in flight run out first");
    appliance.stop().await;
    tell("stopped");
    Ok(())
}

/// Reads the files again, and sells what they say. What is broken changes nothing.
async fn sell_again(appliance: &Appliance, flags: &Flags, env: &Environment) {
    let kept = "What is in force stays in force.";
    let settings = match Settings::load(flags, env) {
        Ok(settings) => settings,
        Err(problems) => {
            tracing::error!(%problems, "SIGHUP: the files are not in order; what is in force stays");
            return warn(format!("SIGHUP: {problems}\n{kept}"));
        }
    };
    if !appliance.show(settings.gateway.tls.as_ref().map(|files| files.certificate.clone())) {
        warn("SIGHUP: whether the gateway speaks TLS changes at the next start.");
    }
    match appliance.storefront().own(settings.owned_services()).await {
        Ok(plan) if plan.changes.is_empty() => tell("SIGHUP: what is sold is what the files say already"),
        Ok(plan) => {
            for change in &plan.changes {
                tell(format!("SIGHUP: the service {} was {}", change.service, change.what));
            }
        }
        Err(refused) => {
            tracing::error!(%refused, "SIGHUP: the services cannot be sold; what is in force stays");
            warn(format!("SIGHUP: {refused}\n{kept}"));
        }
    }
}

/// Ends when the process is asked to stop.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
