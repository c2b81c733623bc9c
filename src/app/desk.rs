//! The operator's desk: everything that the admin listener's pages and API work with.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ground::Ground;
use super::outside::Outside;
use crate::backup::Backups;
use crate::checkout::Checkout;
use crate::custody::Custody;
use crate::inbound::Inbound;
use crate::node::LightningNode;
use crate::payments::Outbox;
use crate::ports::{ChainWatch, Coins, Customer, NodeControl, NodeWatch, Peers};
use crate::rescue::Standing;
use crate::storefront::Storefront;
use crate::treasury::Treasury;
use crate::upkeep::Upkeep;
use crate::vault::Vault;
use crate::watchman::Watchman;
use crate::web::claim::ClaimToken;
use crate::web::{self, LogTail, Operator, OperatorParts, WebConfig, claim, keys};
use crate::{api, ui, wallet_face};

/// What the operator's side has of the business.
pub(super) struct Shop {
    pub(super) watchman: Arc<Watchman>,
    pub(super) node: Arc<LightningNode>,
    pub(super) upkeep: Upkeep,
    pub(super) vault: Arc<Vault>,
    pub(super) treasury: Treasury,
    pub(super) outbox: Arc<Outbox>,
    pub(super) checkout: Checkout,
    pub(super) outside: Outside,
    pub(super) custody: Arc<Custody>,
    pub(super) storefront: Arc<Storefront>,
    pub(super) backups: Arc<Backups>,
    pub(super) inbound: Inbound,
    pub(super) snapshot: watch::Receiver<Standing>,
    pub(super) customer: Option<Arc<dyn Customer>>,
    pub(super) log: LogTail,
}

/// The admin listener's router, and the one-time link while nobody has set a password.
pub(super) async fn router(
    web: WebConfig,
    dir: &Path,
    ground: &Ground,
    shop: Shop,
    followed: Option<ClaimToken>,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) -> Result<(axum::Router, Option<String>)> {
    let chain: Arc<dyn ChainWatch> = shop.node.clone();
    let (watch, control): (Arc<dyn NodeWatch>, Arc<dyn NodeControl>) = (shop.node.clone(), shop.node.clone());
    let (coins, peers): (Arc<dyn Coins>, Arc<dyn Peers>) = (shop.node.clone(), shop.node);
    let operator = Operator::new(OperatorParts {
        ledger: ground.ledger.clone(),
        node: watch,
        control,
        chain,
        vault: shop.vault,
        coins,
        peers,
        treasury: shop.treasury,
        checkout: shop.checkout,
        custody: shop.custody,
        outbox: shop.outbox,
        upkeep: shop.upkeep,
        rates: shop.outside.rates,
        webhooks: shop.outside.webhooks,
        egress: shop.outside.egress,
        customer: shop.customer,
        watchman: shop.watchman,
        storefront: shop.storefront,
        backups: shop.backups,
        inbound: shop.inbound,
        snapshot: shop.snapshot,
        epochs: Arc::clone(&ground.epochs),
        seed: Arc::clone(ground.secrets.custody()),
        clock: Arc::clone(&ground.clock),
        entropy: ground.entropy.clone(),
        tracker: tracker.clone(),
        stop: stop.clone(),
        log: shop.log,
        config: web,
    });
    keys::ensure_admin_key(&ground.ledger, ground.entropy.as_ref(), ground.clock.now(), dir).await?;
    let link = match followed {
        Some(token) => claim::ensure_with(&operator, dir, token).await?,
        None => claim::ensure(&operator, dir).await?,
    };
    let router = web::finish(api::router().merge(ui::router()).merge(wallet_face::router()), operator);
    Ok((router, link.map(|link| link.url().to_owned())))
}
