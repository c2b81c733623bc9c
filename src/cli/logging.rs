//! The log: to stderr, filtered, with the targets that would tell secrets turned off.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::l402::SECRET_LOG_TARGET;

/// Starts the log. `wanted` is a level or a filter as `EnvFilter` reads it; it cannot turn on what
/// would tell secrets. A second call changes nothing.
pub(super) fn start(wanted: &str) {
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
    // A reader of stderr that has gone is no reason to panic, which complaining about it there would be.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    // A file or a journal wants no colours; on a terminal NO_COLOR decides.
    let started =
        if std::io::stderr().is_terminal() { log.try_init() } else { log.with_ansi(false).try_init() };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}
