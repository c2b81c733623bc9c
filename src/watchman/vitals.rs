//! What the rules look at: one moment of the appliance, in figures.

use crate::ports::{ChainView, NodePulse, NodeView, SourceTime};
use crate::types::Timestamp;

use super::{DiskSpace, Prices};

/// One moment of the appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// The moment.
    pub now: Timestamp,
    /// When the appliance came up.
    pub begun: Timestamp,
    /// The node as its operator sees it.
    pub view: NodeView,
    /// Its pulse.
    pub beat: NodePulse,
    /// The chain sources.
    pub chain: ChainView,
    /// What is known from earlier looks.
    pub since: Since,
    /// The price list's ends.
    pub prices: Prices,
    /// Why the smallest price cannot be received, if it cannot.
    pub unpayable: Option<String>,
    /// The dearest thing cannot be paid at once, and no channel is opened for it.
    pub dearest_unpayable: bool,
    /// The room on the disk.
    pub disk: Option<DiskSpace>,
    /// Operations whose outcome nobody knows.
    pub unclear_operations: usize,
    /// When the operations began that are on their way.
    pub sent_operations: Vec<Timestamp>,
    /// Orders of channels that are being paid, or are paid: their numbers, and since when they stand so.
    pub open_orders: Vec<(i64, Timestamp)>,
    /// Those of them whose money is back, if their provider is right.
    pub said_refunded: Vec<i64>,
}

/// What earlier looks found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// Since when no peer is connected, while there are channels.
    pub alone: Option<Timestamp>,
    /// Since when channels are ready, somebody is connected, and none of the channels can be used: for some seconds after a
    /// connection the two nodes still tell each other where they stand.
    pub resuming: Option<Timestamp>,
    /// What the chain source said of the time, and when by our clock.
    pub source_time: Option<(Timestamp, SourceTime)>,
    /// The largest monitor's size, bytes.
    pub largest_monitor_bytes: u64,
}

impl Since {
    /// Notes whether somebody is connected who should be.
    pub(super) fn connected(&mut self, now: Timestamp, connected: bool) {
        self.alone = if connected { None } else { Some(self.alone.unwrap_or(now)) };
    }

    /// Notes whether there are channels that wait for their peers to go on with them.
    pub(super) fn resumes(&mut self, now: Timestamp, view: &NodeView) {
        let ready = view.channels.iter().any(|channel| channel.ready);
        let waits = ready && view.peers_connected > 0 && !view.channels.iter().any(|channel| channel.usable);
        self.resuming = if waits { Some(self.resuming.unwrap_or(now)) } else { None };
    }
}

/// Whether something can be sold.
pub type Readiness = Result<(), Unready>;

/// Why nothing can be sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// The node does not run.
    NodeDown,
    /// It is not in step with the chain.
    NotSynced,
    /// No channel can take the smallest price.
    CannotReceive,
}

impl Unready {
    /// Stable word.
    pub const fn code(self) -> &'static str {
        match self {
            Unready::NodeDown => "node_down",
            Unready::NotSynced => "not_synced",
            Unready::CannotReceive => "cannot_receive",
        }
    }
}
