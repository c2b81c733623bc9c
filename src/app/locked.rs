//! What an appliance does while its seed is locked: the gate answers 503, and the operator's listener is a
//! door. The sockets stay the same when it opens, so that nobody who connects is turned away.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::blueprint::Blueprint;
use super::listener::{self, Ending, Front, Versions};
use super::{ADMIN_CONNECTIONS, ASKING_CONNECTIONS, Introductions, LAST_GRACE};
use crate::clock::{Clock, SystemClock, SystemEntropy};
use crate::proxy::Shown;
use crate::secrets::{Secrets, SeedPlace, Unlock};
use crate::types::Timestamp;
use crate::web::first_seed::{FirstSeed, FirstSeedParts};
use crate::web::locked::{self, Behind, Door, DoorParts};
use crate::{api, ui};

impl Blueprint {
    /// Serves the door until somebody opens it, or `told` says to stop, which gives `None`. Says `waits` what it
    /// waits for, with the link that makes a seed where there is none yet, as `unlock` then has it open.
    ///
    /// # Errors
    /// When a listener cannot serve, or the seed cannot be read.
    pub async fn unlocked(
        self,
        unlock: Unlock,
        waits: impl FnOnce(Waits),
        told: impl Future<Output = ()>,
    ) -> Result<Option<(Blueprint, Secrets)>> {
        let tracker = TaskTracker::new();
        let ending = Ending::default();
        let behind = self.behind(unlock, &tracker)?;
        let claim = match &behind {
            Behind::NoSeed(first) => {
                waits(Waits::ForSeed(first.link()));
                Some(first.token().clone())
            }
            Behind::Seed(_) => {
                waits(Waits::ForPassphrase(self.admin_url()?));
                None
            }
        };
        let (door, opened) = Door::new(self.door(behind, &tracker)?);
        let handlers = api::locked_router().merge(ui::locked_router());
        let admin = Front::new(self.admin, locked::finish(handlers, door), ADMIN_CONNECTIONS, Versions::One);
        let limit = listener::connection_limit();
        let gateway = Front::new(self.gateway, locked::closed(), limit, Versions::OneAndTwo);
        let tls = self.tls.clone().map(Shown::new).map(|shown| shown.server()).transpose();
        let introductions =
            Introductions { protocol: self.entrance.proxy_protocol, proxies: self.entrance.proxies.clone() };
        let gateway = Front { tls: tls.context("no TLS for the gateway")?, introductions, ..gateway };
        let asking =
            self.forward_auth.map(|tcp| Front::new(tcp, locked::closed(), ASKING_CONNECTIONS, Versions::One));
        let serve = |front| tracker.spawn(listener::serve(front, ending.clone(), tracker.clone()));
        let (gateway, admin, asking) = (serve(gateway), serve(admin), asking.map(serve));

        let secrets = tokio::select! {
            () = told => None,
            secrets = opened => Some(secrets.context("the door was lost")?),
        };
        ending.drain.cancel();
        tracker.close();
        if tokio::time::timeout(LAST_GRACE, tracker.wait()).await.is_err() {
            ending.cut.cancel();
            tracker.wait().await;
        }
        let (gateway, admin) = (back(gateway).await?, back(admin).await?);
        let forward_auth = match asking {
            Some(asking) => Some(back(asking).await?),
            None => None,
        };
        let blueprint = Blueprint { gateway, admin, forward_auth, claim, ..self };
        Ok(secrets.map(|secrets| (blueprint, secrets)))
    }

    /// Where the operator's listener is, as reached from this machine.
    ///
    /// # Errors
    /// When the socket does not know its address.
    pub fn admin_url(&self) -> Result<String> {
        Ok(super::reachable("http", self.admin.local_addr()?))
    }

    fn behind(&self, unlock: Unlock, tracker: &TaskTracker) -> Result<Behind> {
        let (dir, network) = (self.data_dir.join(self.node.network.to_string()), self.node.network);
        match SeedPlace::look(&dir)? {
            SeedPlace::Sealed(opens_with) => Ok(Behind::Seed(opens_with)),
            SeedPlace::Plain => anyhow::bail!("there is no encrypted seed to unlock"),
            SeedPlace::Empty => {
                let parts = FirstSeedParts {
                    dir,
                    network,
                    unlock,
                    origin: self.admin_url()?,
                    clock: SystemClock::new(Timestamp::default()),
                    entropy: SystemEntropy::new(),
                    tracker: tracker.clone(),
                };
                Ok(Behind::NoSeed(FirstSeed::offer(parts).context("the claim file cannot be written")?))
            }
        }
    }

    fn door(&self, behind: Behind, tracker: &TaskTracker) -> Result<DoorParts> {
        let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
        Ok(DoorParts {
            listen: self.admin.local_addr()?,
            hosts: self.allowed_hosts.clone(),
            dir: self.data_dir.join(self.node.network.to_string()),
            network: self.node.network,
            behind,
            clock,
            entropy: SystemEntropy::new(),
            tracker: tracker.clone(),
        })
    }
}

/// What a door waits for.
#[derive(Debug)]
pub enum Waits {
    /// The seed's passphrase, at this address.
    ForPassphrase(String),
    /// A seed: the one-time link that makes it.
    ForSeed(String),
}

/// The socket of a listener that has ended.
async fn back(serving: JoinHandle<TcpListener>) -> Result<TcpListener> {
    serving.await.context("a listener failed")
}
