//! The ground that everything stands on: the data directory's secrets and its ledger, opened and resolved.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::backup;
use crate::clock::{Clock, SystemClock, SystemEntropy};
use crate::event::Event;
use crate::node::LightningNode;
use crate::secrets::{Epochs, Secrets};
use crate::store::Ledger;

/// What the parts share.
pub(super) struct Ground {
    pub(super) ledger: Ledger,
    pub(super) secrets: Secrets,
    pub(super) epochs: Arc<Epochs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<SystemEntropy>,
    pub(super) clean: bool,
}

impl Ground {
    /// Opens the data directory, which is ours: its ledger, beside the secrets that are open already.
    pub(super) fn open(
        data_dir: &Path,
        network: bitcoin::Network,
        secrets: Secrets,
    ) -> Result<(PathBuf, Ground)> {
        let dir = data_dir.join(network.to_string());
        backup::refuse_if_moved(&dir)?;
        backup::clear_leftovers(&dir);
        let entropy = SystemEntropy::new();
        let epochs = Arc::new(secrets.epochs()?);
        let ledger_path = dir.join("ledger.db");
        let clock: Arc<dyn Clock> = SystemClock::new(Ledger::high_water(&ledger_path)?);
        let (ledger, opened) = backup::open_ledger(&dir, &epochs, Arc::clone(&clock), entropy.as_ref())?;
        if !opened.clean {
            tracing::warn!(
                given_back = opened.crash_restored,
                charged = opened.crash_charged,
                "the last stop was not orderly; requests whose end it hid were resolved"
            );
        } else if opened.crash_restored + opened.crash_charged > 0 {
            tracing::warn!(
                given_back = opened.crash_restored,
                charged = opened.crash_charged,
                "requests that were under way when the backup was made were resolved"
            );
        }
        Ok((dir, Ground { ledger, secrets, epochs, clock, entropy, clean: opened.clean }))
    }
}

/// Notes each move of the node to another chain source.
pub(super) async fn log_sources(ledger: Ledger, node: Arc<LightningNode>, stop: CancellationToken) {
    let mut position = node.sources().watch();
    while let Some(Ok(())) = stop.run_until_cancelled(position.changed()).await {
        let position = *position.borrow_and_update();
        let source = node.sources().config().sources[position].to_string();
        if let Err(error) = ledger.log(Event::ChainSourceChanged { source, position }).await {
            tracing::warn!(%error, "the move to another chain source could not be logged");
        }
    }
}

/// Proves the books after a stop that was not orderly, while the appliance runs already.
pub(super) async fn audit_after_crash(ledger: Ledger) {
    let report = match ledger.audit().await {
        Ok(report) => report,
        Err(error) => return tracing::error!(%error, "the books could not be audited"),
    };
    if report.ok {
        tracing::info!("the books are right after a stop that was not orderly");
    } else {
        tracing::error!(mismatches = ?report.mismatches, "the books are wrong");
    }
    if let Err(error) = ledger.log(Event::BooksAudited { ok: report.ok, mismatches: report.mismatches }).await
    {
        tracing::warn!(%error, "the audit could not be logged");
    }
}
