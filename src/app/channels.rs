//! The channel state, opened so that an old copy of it is found before any peer is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use bitcoin::Network;

use super::ground::Ground;
use crate::clock::{Clock, Entropy};
use crate::node::{self, NodeSeed};
use crate::rescue::{self, Opened, Place};
use crate::store::Ledger;

/// Writes into the ledger which channels were recovered since the last start. What cannot be read is said, and
/// stays for the next start.
pub(super) async fn note_recovered(dir: &Path, ledger: &Ledger) -> Result<()> {
    let recovered = match rescue::recovered(dir) {
        Ok(recovered) => recovered,
        Err(error) => {
            tracing::error!(%error, "which channels were recovered cannot be read");
            return Ok(());
        }
    };
    if !recovered.is_empty() {
        ledger.end_recovered(recovered).await?;
        rescue::forget_recovered(dir)?;
    }
    Ok(())
}

/// Opens it in the network's directory; `second` is where a copy of the recovery snapshot goes.
pub(super) async fn open(
    dir: &Path,
    second: Option<PathBuf>,
    network: Network,
    ground: &Ground,
) -> Result<Opened> {
    let node_id = node::node_id(&NodeSeed::new(ground.secrets.seed()), network)?;
    let key = ground.secrets.derive(Place::KEY);
    let place = Place { dir: dir.to_owned(), second, network, node_id, key };
    let clock: Arc<dyn Clock> = Arc::clone(&ground.clock);
    let entropy: Arc<dyn Entropy> = ground.entropy.clone();
    Ok(tokio::task::spawn_blocking(move || rescue::open(place, clock, entropy)).await??)
}
