//! The ways out of "You cannot receive yet", each with what it costs.

use std::time::Duration;

use crate::ports::NodeView;
use crate::ui::figures::{grouped, sats_exact};
use crate::ui::shell::Desk;

/// A chain source that does not say by then what a transaction pays is not waited for.
const PATIENCE: Duration = Duration::from_millis(800);
/// About the size of a channel's funding transaction.
const FUNDING_VBYTES: u64 = 221;

/// The ways out.
pub(super) struct Ways {
    /// A channel that is opening, or whose other side is away.
    pub(super) wait: Option<&'static str>,
    /// A provider opens one for the first payment; what it wants, where it said so.
    pub(super) just_in_time: Option<String>,
    /// It does now.
    pub(super) opens: bool,
    /// A provider sells them.
    pub(super) orders: bool,
    /// What opening one costs.
    pub(super) opening: String,
    /// `KEY@HOST:PORT` of this node.
    pub(super) node: String,
}

impl Ways {
    /// The ways out for a node that looks like this.
    pub(super) async fn of(desk: &Desk, node: &NodeView) -> Ways {
        let parts = &desk.op.parts;
        let wait = if node.channels.iter().any(|channel| !channel.ready) {
            Some("A channel is opening; it is listed below with the confirmations that it still needs.")
        } else if node.channels.iter().any(|channel| !channel.usable) {
            Some("A channel is open, but the other node is away. Payments pass again when it is back.")
        } else {
            None
        };
        let rates = tokio::time::timeout(PATIENCE, parts.coins.fee_rates()).await.ok().and_then(Result::ok);
        let fee = rates.map(|rates| rates.slow_sat_per_kvb.fee_sat(FUNDING_VBYTES));
        Ways {
            wait,
            just_in_time: parts.inbound.openings.as_ref().map(|openings| {
                let view = openings.view();
                match (view.least_msat, view.least_fee_msat) {
                    (Some(least), Some(fee)) => format!(
                        "A price of {} sat or more opens a channel when it is paid; the provider keeps {} sat of it.",
                        sats_exact(least.msat()),
                        sats_exact(fee.msat())
                    ),
                    _ => "The provider has not said what it wants, so no channel is opened now.".to_owned(),
                }
            }),
            opens: crate::ui::live::opening(&desk.op).is_some(),
            orders: parts.inbound.orders.is_some(),
            opening: match fee {
                Some(fee) => format!("It costs about {} sat for its transaction", grouped(fee)),
                None => "It costs one on-chain fee".to_owned(),
            },
            node: address(node),
        }
    }
}

/// What others need to reach the node.
pub(super) fn address(node: &NodeView) -> String {
    match node.listening.first() {
        Some(address) => format!("{}@{address}", node.node_id),
        None => node.node_id.clone(),
    }
}
