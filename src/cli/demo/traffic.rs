//! `tollhouse demo traffic`: customers for the running demo.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::run::{in_runtime, told_to_stop};
use super::super::{say, warn};
use crate::sandbox::place::DemoPlace;
use crate::sandbox::traffic::{self, Tally};

#[derive(Debug, clap::Args)]
pub(super) struct TrafficArgs {
    /// Purchases a second, such as 2 or 0.5
    #[arg(long, value_name = "N", default_value = "1", value_parser = interval)]
    rate: Duration,
    /// End after this many purchases
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// The pause between two purchases at so many a second.
fn interval(text: &str) -> Result<Duration, String> {
    let rate: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if !(0.001..=100.0).contains(&rate) {
        return Err("between 0.001 and 100 a second".to_owned());
    }
    Duration::try_from_secs_f64(rate.recip()).map_err(|error| error.to_string())
}

pub(super) fn run(args: &TrafficArgs, file: &Path) -> Result<()> {
    let place = DemoPlace::read(file).with_context(|| {
        format!("no demo runs (its file {} cannot be read): start `tollhouse demo` first", file.display())
    })?;
    in_runtime(buy(args, place))
}

async fn buy(args: &TrafficArgs, place: DemoPlace) -> Result<()> {
    let told = told_to_stop()?;
    let (stop, tally) = (CancellationToken::new(), Arc::new(Tally::default()));
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    let (shown, counted) = (bar.clone(), Arc::clone(&tally));
    // A hidden bar prints nothing, and a failure must be seen.
    let told_of = Arc::new(move |text: &str| shown.suspend(|| warn(format!("failed: {text}"))));
    let buying = traffic::run(&place, args.rate, args.count, Arc::clone(&tally), told_of, stop.clone());
    tokio::pin!(buying);
    tokio::pin!(told);
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            done = &mut buying => { done?; break }
            () = &mut told, if !stop.is_cancelled() => stop.cancel(),
            _ = every.tick() => bar.set_message(summary(&counted)),
        }
    }
    bar.finish_and_clear();
    if args.json {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (bought, failed, late) = (number(&tally.bought), number(&tally.failed), number(&tally.late));
        say(json!({ "bought": bought, "failed": failed, "left_out": late }))?;
    } else {
        say(summary(&tally))?;
    }
    if tally.failed.load(Ordering::Relaxed) > 0 {
        bail!("some purchases failed");
    }
    Ok(())
}

fn summary(tally: &Tally) -> String {
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let (bought, failed, late) = (count(&tally.bought), count(&tally.failed), count(&tally.late));
    format!("{bought} bought, {failed} failed, {late} left out because too many were under way")
}
