//! The node library's log, handed to `tracing`.
//!
//! The library's own file logger never rotates and panics on a full disk. Below INFO the library writes
//! preimages and whole messages: those records end here, whatever the filter says; but for the one that tells of a
//! transaction which could not be published (`unsent`).

use std::sync::Arc;

use ldk_node::bitcoin::Network;
use ldk_node::logger::{LogLevel, LogRecord, LogWriter};

use super::unsent::Unsent;

/// What LDK says of every payment that we minted without storing; true and of no concern.
const EXPECTED_OF_MINTED: &str = "couldn't be found in store";

/// How each record begins with which the library tells that a regtest chain, where nobody pays fees, estimates
/// none: at every start one for each of its targets.
const EXPECTED_OF_REGTEST: &str = "Failed to retrieve fee rate estimates";

/// Forwards records under the target `ldk`.
pub(super) struct TracingLog {
    network: Network,
    unsent: Arc<Unsent>,
}

impl TracingLog {
    /// The log of a node on `network`; what it cannot publish is noted in `unsent`.
    pub(super) fn new(network: Network, unsent: Arc<Unsent>) -> TracingLog {
        TracingLog { network, unsent }
    }
}

impl LogWriter for TracingLog {
    fn log<'a>(&self, record: LogRecord<'a>) {
        let LogRecord { level, args, module_path, line } = record;
        match level {
            LogLevel::Trace if self.unsent.may_tell(module_path) => self.unsent.told(&args.to_string()),
            LogLevel::Gossip | LogLevel::Trace | LogLevel::Debug => {}
            LogLevel::Info => tracing::info!(target: "ldk", module_path, line, "{args}"),
            LogLevel::Warn => tracing::warn!(target: "ldk", module_path, line, "{args}"),
            LogLevel::Error => {
                let text = args.to_string();
                if text.contains(EXPECTED_OF_MINTED) {
                    tracing::trace!(target: "ldk", module_path, line, "{text}");
                } else if self.network == Network::Regtest && text.starts_with(EXPECTED_OF_REGTEST) {
                    tracing::debug!(target: "ldk", module_path, line, "{text}");
                } else {
                    tracing::error!(target: "ldk", module_path, line, "{text}");
                }
            }
        }
    }
}
