//! Puts together what keeps the shop able to be paid.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ground::Ground;
use super::outside::Outside;
use crate::catalog::Catalog;
use crate::egress::Reach;
use crate::node::LightningNode;
use crate::payments::Outbox;
use crate::ports::{NodeWatch, OfferPayer};
use crate::upkeep::{FileRules, PayoutsParts, Splicer, Upkeep, UpkeepParts};

/// What the parts have to know.
pub(super) struct Plan {
    pub(super) node: Arc<LightningNode>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) splicer: Arc<dyn Splicer>,
    pub(super) reach: Reach,
    pub(super) rules: FileRules,
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

pub(super) fn of(ground: &Ground, outside: &Outside, plan: Plan) -> Upkeep {
    let (offers, node): (Arc<dyn OfferPayer>, Arc<dyn NodeWatch>) = (plan.node.clone(), plan.node.clone());
    let payouts = PayoutsParts {
        ledger: ground.ledger.clone(),
        outbox: plan.outbox,
        offers,
        node: Arc::clone(&node),
        egress: Arc::clone(&outside.egress),
        reach: plan.reach,
        network: plan.node.network(),
        clock: Arc::clone(&ground.clock),
        entropy: ground.entropy.clone(),
        tracker: plan.tracker,
        stop: plan.stop,
    };
    let parts = UpkeepParts {
        ledger: ground.ledger.clone(),
        node,
        catalog: plan.catalog,
        exchange: outside.rates.clone(),
        clock: Arc::clone(&ground.clock),
        splicer: plan.splicer,
        rules: plan.rules,
    };
    Upkeep::new(parts, payouts)
}
