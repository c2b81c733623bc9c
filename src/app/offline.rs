//! The node without the gate: for recovery, while the appliance is stopped.
//!
//! Nothing is sold and no event is taken from the node's queue: what it tells is left for the next run.

mod unproved;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::config::Settings;
use crate::node::config::NodeConfig;
use crate::node::{
    self, Birthday, Homecoming, LightningNode, MonitoredChannel, NodeSeed, NodeState, Search, Waits,
};
use crate::ports::{NodeControl, NodeWatch};
use crate::rescue::{self, Place, Recovery};
use crate::secrets::Secrets;
use crate::store::{DirLock, NodeStore, RecoveredChannel};
use crate::types::Timestamp;
use unproved::Unproved;
pub use unproved::{NotProved, UnknownSpend};

/// How often the balances are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Looks in a row at which nothing was on the way: between a close and its sweep nothing shows for a moment.
const QUIET_LOOKS: u32 = 3;

/// Synchronisations before it is believed: with a server the first asks for the wallet's first addresses only.
const SYNCS: u32 = 2;

/// A stopped appliance's node.
pub struct Offline {
    place: Place,
    config: NodeConfig,
    seed: NodeSeed,
    clock: Arc<dyn Clock>,
    entropy: Arc<SystemEntropy>,
    _lock: DirLock,
}

/// What the wait for the coins tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The node is not up yet.
    Waiting(String),
    /// A peer that was named cannot be reached yet.
    PeerAway(String),
    /// The coins moved.
    Coins(Homecoming),
    /// A channel was spent by what its state does not know.
    Unknown(UnknownSpend),
    /// A channel's funding was never in a block: nothing is in it.
    Void(NotProved),
    /// The chain source cannot say yet what spent a channel.
    Untold(NotProved),
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Where the coins are, of what the state knows.
    pub home: Homecoming,
    /// What it does not know.
    pub unknown: Vec<UnknownSpend>,
    /// Channels of which the chain source did not say what spent them.
    pub untold: Vec<NotProved>,
}

impl Offline {
    /// Prepares it; `lock` is the right to the data directory, which a running appliance has.
    ///
    /// # Errors
    /// When the seed cannot be used.
    pub fn new(lock: DirLock, settings: Settings, secrets: &Secrets) -> Result<Offline> {
        let (dir, network) = (settings.network_dir(), settings.node.network);
        let seed = NodeSeed::new(secrets.seed());
        let node_id = node::node_id(&seed, network)?;
        let key = secrets.derive(Place::KEY);
        let place = Place { dir, second: settings.snapshot_dir, network, node_id, key };
        let clock = SystemClock::new(Timestamp::default());
        Ok(Offline { place, config: settings.node, seed, clock, entropy: SystemEntropy::new(), _lock: lock })
    }

    /// Whose files these are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Looks for what there is to recover from, and changes nothing.
    ///
    /// # Errors
    /// When the snapshot that is named, or a channel's monitor, cannot be used.
    pub fn look(&self, given: Option<&std::path::Path>) -> Result<(Recovery, Vec<MonitoredChannel>)> {
        let recovery = Recovery::look(self.place.clone(), given)?;
        let channels = recovery.channels(&self.seed)?;
        Ok((recovery, channels))
    }

    /// Where the on-chain wallet of the seed alone begins, and how far its addresses were used.
    ///
    /// # Errors
    /// When no chain source can tell.
    pub async fn birthday(&self, search: Search) -> Result<Option<Birthday>> {
        Ok(node::find_birthday(&self.config, &self.seed, search).await?)
    }

    /// Puts the recovered channel state in place; gives what the old one is called now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn rebuild(&self, recovery: Recovery, birthday: Option<&Birthday>) -> Result<Option<PathBuf>> {
        let channels = recovery.channels(&self.seed)?;
        let rows = match birthday {
            Some(birthday) => node::wallet_rows(&self.config, &self.seed, birthday)?,
            None => Vec::new(),
        };
        let aside = recovery.rebuild(&self.seed, rows, self.clock.now())?;
        // Those that had ended already are on record; what is still to come of one may not be.
        let recovered = channels.into_iter().filter(|channel| !channel.closed || channel.ours_sat > 0);
        let recovered = recovered.map(|channel| RecoveredChannel {
            channel_id: channel.channel_id,
            peer: channel.peer,
            funding: channel.funding,
        });
        rescue::note_recovered(&self.place.dir, recovered.collect())?;
        Ok(aside)
    }

    /// Runs the node until no coins are on their way any more, or `stop`; tells of each change. `peers` are
    /// called besides those that the node knows: a key and an address each.
    ///
    /// # Errors
    /// When the node will not come up.
    pub async fn bring_home(
        &self,
        peers: &[(String, String)],
        told: &mut (dyn FnMut(Told) + Send),
        stop: impl Future<Output = ()>,
    ) -> Result<Brought> {
        let entropy: Arc<dyn Entropy> = self.entropy.clone();
        let channels = rescue::open(self.place.clone(), Arc::clone(&self.clock), entropy)?;
        if let Some(why) = channels.barred {
            bail!(why);
        }
        let mut unproved = Unproved::new(self.unproved()?);
        let (clock, entropy) = (Arc::clone(&self.clock), self.entropy.clone());
        let node =
            LightningNode::new(self.config.clone(), self.seed.clone(), channels.store, clock, entropy)?;
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(Arc::clone(&channels.keeper).run(end.clone()));
        tasks.spawn(Arc::clone(&node).run(end.clone()));
        let (keeper, waiting, ended) = (Arc::clone(&channels.keeper), Arc::clone(&node), end.clone());
        tasks.spawn(async move {
            if let Some(Ok(())) = ended.run_until_cancelled(waiting.ready()).await {
                keeper.came_up();
            }
        });
        let ended = tokio::select! {
            home = wait(&node, peers, &mut unproved, told) => Some(home),
            () = stop => None,
        };
        let waited = match ended {
            Some(home) => home,
            None => look(&node, &unproved).await.map_err(|_| anyhow!("stopped before the node was up")),
        };
        end.cancel();
        tasks.close();
        tasks.wait().await;
        channels.keeper.last().await;
        Ok(Brought { home: waited?, untold: unproved.untold(), unknown: unproved.unknown })
    }

    /// The open channels of which we may have an old state: what is ours in them shows when the peers close.
    fn unproved(&self) -> Result<Vec<MonitoredChannel>> {
        let (_, rows) = NodeStore::open(&self.place.store())?.view(node::belongs_in_snapshot)?;
        let channels = node::monitored_channels(&rows, &self.seed, self.place.network)?;
        Ok(channels.into_iter().filter(|channel| !channel.closed && !channel.closes_alone).collect())
    }
}

/// Where the coins are.
async fn look(node: &LightningNode, unproved: &Unproved) -> Result<Homecoming> {
    let mut home = node.homecoming().await?;
    home.on_the_way.retain(|coins| unproved.are_on_the_way(coins));
    Ok(home)
}

async fn wait(
    node: &LightningNode,
    peers: &[(String, String)],
    unproved: &mut Unproved,
    told: &mut (dyn FnMut(Told) + Send),
) -> Result<Homecoming> {
    let mut state = node.state();
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            NodeState::Running => break,
            NodeState::Starting(why) => told(Told::Waiting(why)),
            NodeState::Failed(why) => bail!(why),
            NodeState::Stopped => bail!("the node was stopped"),
        }
        state.changed().await.context("the node ended")?;
    }
    let mut waiting: Vec<_> = peers.to_vec();
    let (mut last, mut quiet, mut syncs) = (None, 0, 0);
    loop {
        let mut away = Vec::new();
        for (peer, address) in waiting {
            if let Err(fault) = node.connect(&peer, &address).await {
                told(Told::PeerAway(format!("{peer}@{address}: {fault}")));
                away.push((peer, address));
            }
        }
        waiting = away;
        if syncs < SYNCS && node.sync().await.is_ok() {
            syncs += 1;
        }
        let synced = syncs == SYNCS && node.view().await.synced_at.is_some();
        let mut home = look(node, unproved).await?;
        if synced {
            for question in unproved.questions(home.height) {
                let answer = node.funding_spent(&question.funding, question.from).await;
                unproved.heard(question.channel, answer, &home, told);
            }
            home.on_the_way.retain(|coins| unproved.are_on_the_way(coins));
        }
        if last.as_ref() != Some(&home) {
            told(Told::Coins(home.clone()));
        }
        let done = synced && home.on_the_way.is_empty() && unproved.has_ended(home.height);
        quiet = if done { quiet + 1 } else { 0 };
        if quiet == QUIET_LOOKS {
            return Ok(home);
        }
        last = Some(home);
        tokio::time::sleep(LOOK).await;
    }
}

/// What the coins wait for, for a person.
pub fn in_words(waits: Waits) -> String {
    match waits {
        Waits::Peer => "until the peer closes the channel".to_owned(),
        Waits::Height { height } => format!("until block {height}"),
        Waits::Payment { height } => {
            format!("for a payment that was under way, until about block {height}")
        }
        Waits::Sweep => "until their transaction to the wallet confirms".to_owned(),
    }
}
