//! Who opens channels to us: builds and starts what [`crate::inbound`] has.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ground::Ground;
use crate::inbound::{Inbound, Openings, Orders, OrdersParts};
use crate::node::LightningNode;
use crate::node::config::Liquidity;
use crate::payments::Outbox;
use crate::ports::{ChannelOrders, CoinSender, OpeningNode};

/// As far as the settings name providers.
pub(super) fn of(
    liquidity: Liquidity,
    ground: &Ground,
    node: &Arc<LightningNode>,
    outbox: &Arc<Outbox>,
    coins: Arc<dyn CoinSender>,
) -> Inbound {
    let opening: Arc<dyn OpeningNode> = node.clone();
    let clock = || Arc::clone(&ground.clock);
    let openings = liquidity.just_in_time.map(|policy| Openings::new(opening, policy, clock()));
    let desk: Arc<dyn ChannelOrders> = node.clone();
    let orders = liquidity.orders.map(|lsp| {
        Orders::new(OrdersParts {
            lsp,
            desk,
            node: node.clone(),
            ledger: ground.ledger.clone(),
            outbox: Arc::clone(outbox),
            coins,
            clock: clock(),
        })
    });
    Inbound { openings, orders }
}

/// Keeps terms fresh and follows orders, until `stop`.
pub(super) fn start(
    inbound: Inbound,
    node: &Arc<LightningNode>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    if let Some(openings) = inbound.openings {
        tasks.spawn(openings.watch(stop.clone()));
    }
    if let Some(orders) = inbound.orders {
        let (node, stop) = (Arc::clone(node), stop.clone());
        tasks.spawn(async move {
            if node.ready().await.is_ok() {
                orders.watch(stop).await;
            }
        });
    }
}
