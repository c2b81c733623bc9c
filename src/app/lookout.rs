//! What the watchman looks at, and who tells it of what it cannot see.

use std::path::Path;
use std::sync::Arc;

use bitcoin::Network;
use tokio::sync::watch;

use super::ground::Ground;
use super::informants::{BackupInformant, RestoreInformant, SeedInformant, SnapshotInformant};
use super::outside::Outside;
use crate::backup::Backups;
use crate::catalog::Catalog;
use crate::clock::Past;
use crate::inbound::Inbound;
use crate::node::LightningNode;
use crate::rescue::Standing;
use crate::watchman::{AlarmLimits, Watchman, WatchmanParts};

/// Where alarms come from.
pub(super) struct Lookout<'a> {
    pub(super) ground: &'a Ground,
    pub(super) dir: &'a Path,
    pub(super) network: Network,
    pub(super) node: &'a Arc<LightningNode>,
    pub(super) outside: &'a Outside,
    pub(super) catalog: &'a Arc<Catalog>,
    pub(super) inbound: &'a Inbound,
    pub(super) snapshot: watch::Receiver<Standing>,
    pub(super) backups: &'a Arc<Backups>,
    /// In the sandbox, where nothing is worth keeping.
    pub(super) worthless: bool,
}

impl Lookout<'_> {
    /// A watchman who looks at all of it.
    pub(super) fn watchman(self, alarms: AlarmLimits) -> Arc<Watchman> {
        let openings = self.inbound.openings.clone();
        let opens_for = move |amount| openings.as_ref().is_some_and(|openings| openings.fee(amount).is_ok());
        let clock = || Arc::clone(&self.ground.clock);
        let parts = WatchmanParts {
            chain: self.node.clone(),
            opens_for: Arc::new(opens_for),
            ledger: self.ground.ledger.clone(),
            node: self.node.clone(),
            pulse: self.node.clone(),
            minter: self.node.clone(),
            catalog: Arc::clone(self.catalog),
            exchange: self.outside.rates.clone(),
            clock: clock(),
            dir: self.dir.to_owned(),
        };
        let (snapshot_age, backup_age) = (alarms.snapshot_age, alarms.backup_age);
        let watchman = Watchman::new(parts, alarms);
        let (seed, network, worthless) =
            (Arc::clone(self.ground.secrets.custody()), self.network, self.worthless);
        watchman.hear(Arc::new(SeedInformant { seed, network, worthless }));
        watchman.hear(Arc::new(RestoreInformant { ledger: self.ground.ledger.clone() }));
        watchman.hear(Arc::new(SnapshotInformant {
            standing: self.snapshot.clone(),
            clock: clock(),
            oldest: snapshot_age,
        }));
        watchman.hear(Arc::new(BackupInformant {
            backups: Arc::clone(self.backups),
            clock: clock(),
            oldest: backup_age,
            begun: Past::new(self.ground.clock.now(), &*self.ground.clock),
            network,
            worthless,
        }));
        watchman
    }
}
