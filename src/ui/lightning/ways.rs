//! The ways out of "You cannot receive", each with what it costs.

use std::time::Duration;

use crate::ports::NodeView;
use crate::treasury::OpenChannel;
use crate::ui::figures::{grouped, sats_exact};
use crate::ui::room;
use crate::ui::shell::Desk;

/// A chain source that does not say by then what a transaction pays is not waited for.
const PATIENCE: Duration = Duration::from_millis(800);
/// About the size of a channel's funding transaction.
const FUNDING_VBYTES: u64 = 221;

/// The ways out.
pub(super) struct Ways {
    /// What has to end by itself first.
    pub(super) wait: Option<String>,
    /// What was earned can be paid out.
    pub(super) pay_out: Option<String>,
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
    pub(super) async fn of(desk: &Desk, node: &NodeView, standing: &[OpenChannel]) -> Ways {
        let parts = &desk.op.parts;
        let rates = tokio::time::timeout(PATIENCE, parts.coins.fee_rates()).await.ok().and_then(Result::ok);
        let fee = rates.map(|rates| rates.slow_sat_per_kvb.fee_sat(FUNDING_VBYTES));
        Ways {
            wait: room::wait(node, standing),
            pay_out: room::pay_out(node),
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
            opens: room::opening(&desk.op).is_some(),
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
