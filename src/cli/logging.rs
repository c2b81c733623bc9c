//! The log: to stderr, and its end into memory for the operator's page; filtered, with the targets that would
//! tell secrets turned off.

use std::io::IsTerminal;

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};

use crate::l402::SECRET_LOG_TARGET;
use crate::web::LogTail;

/// What the kept end of the log shows when stderr shows less.
const KEPT: &str = "info";

/// Starts the log. `wanted` is a level or a filter as `EnvFilter` reads it; it cannot turn on what
/// would tell secrets. A second call changes nothing.
pub(super) fn start(wanted: &str) {
    begin(stderr(wanted));
}

/// The same, with its end kept: what stderr shows, and at least what happens in the ordinary course.
pub(super) fn start_kept(wanted: &str) -> LogTail {
    let tail = LogTail::default();
    let kept = if matches!(wanted, "off" | "error" | "warn") { KEPT } else { wanted };
    let log = fmt::layer().with_ansi(false).with_writer(tail.clone()).log_internal_errors(false);
    begin(stderr(wanted).and_then(log.with_filter(filter(kept))));
    tail
}

fn begin(layers: impl Layer<registry::Registry> + Send + Sync) {
    if registry().with(layers).try_init().is_err() {
        tracing::debug!("the log was started before");
    }
}

fn stderr<S>(wanted: &str) -> impl Layer<S> + Send + Sync + use<S>
where
    S: tracing::Subscriber + for<'span> registry::LookupSpan<'span>,
{
    // A reader of stderr that has gone is no reason to panic, which complaining about it there would be.
    let log = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    // A file or a journal wants no colours; on a terminal NO_COLOR decides.
    let log = if std::io::stderr().is_terminal() { log } else { log.with_ansi(false) };
    log.with_filter(filter(wanted))
}

fn filter(wanted: &str) -> EnvFilter {
    let quiet = ["ldk=warn", "hyper=warn", "h2=warn", "rustls=warn"];
    let plain_level = !wanted.contains(['=', ',']);
    let mut filter = EnvFilter::builder().parse_lossy(wanted);
    if plain_level && !matches!(wanted, "debug" | "trace") {
        for directive in quiet.iter().filter_map(|text| text.parse().ok()) {
            filter = filter.add_directive(directive);
        }
    }
    if let Ok(off) = format!("{SECRET_LOG_TARGET}=off").parse() {
        filter = filter.add_directive(off);
    }
    filter
}
