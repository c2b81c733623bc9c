//! Puts together what keeps the shop able to be paid.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ground::Ground;
use super::outside::Outside;
use crate::egress::Reach;
use crate::node::LightningNode;
use crate::payments::Outbox;
use crate::ports::{NodeWatch, OfferPayer};
use crate::upkeep::{PayoutsParts, Upkeep};

pub(super) fn of(
    ground: &Ground,
    node: &Arc<LightningNode>,
    outbox: &Arc<Outbox>,
    outside: &Outside,
    reach: Reach,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Upkeep {
    let (offers, watch): (Arc<dyn OfferPayer>, Arc<dyn NodeWatch>) = (node.clone(), node.clone());
    Upkeep::new(PayoutsParts {
        ledger: ground.ledger.clone(),
        outbox: Arc::clone(outbox),
        offers,
        node: watch,
        egress: Arc::clone(&outside.egress),
        reach,
        network: node.network(),
        clock: Arc::clone(&ground.clock),
        entropy: ground.entropy.clone(),
        tracker: tracker.clone(),
        stop: stop.clone(),
    })
}
