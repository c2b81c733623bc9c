//! Keeping the shop able to be paid: paying out over Lightning, the operator's rules, the forecast.
//!
//! Paying out is what frees receivable; a splice-out takes earned coins on-chain and leaves receivable as it
//! was. Invariants (MONEY rule 14): a payout is one recorded operation, noted before anything is asked of
//! the node or of a server; what a crash left open is looked up, and never repeated by itself; a rule has
//! one operation on its way at most, and never pays more than there is or than its day allows.

mod destination;
mod forecast;
mod keeper;
mod lnurl;
mod payout;
mod rule;
mod rulebook;
#[cfg(test)]
mod stage;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::ports::NodeWatch;
use crate::pricing::Exchange;
use crate::store::{Ledger, RULE_KEYS, SalesFilter, Step, StoreError};
use crate::types::Msat;

pub use destination::{Destination, DestinationFault};
pub use forecast::{Forecast, Outlook, RouteNeeds};
pub use keeper::{Keeper, KeeperParts, RuleView};
pub use lnurl::LnurlFault;
pub use payout::{PAY_OUT, Payee, PayoutAsk, PayoutError, PayoutPlan, Payouts, PayoutsParts, drawn};
pub use rule::{Decision, Lately, PayOutRule, Situation, SpliceOutRule};
pub use rulebook::{FileRules, PAY_OUT_RULE, Rule, RuleRefused, SPLICE_OUT_RULE, Splicer, Unspliced};

/// The rule that begins an operation under this key.
fn rule_of(key: &str) -> Option<&str> {
    key.strip_prefix(RULE_KEYS)?.split('/').next()
}

/// What all of it works with.
pub struct UpkeepParts {
    /// The ledger.
    pub ledger: Ledger,
    /// Tells what the node has.
    pub node: Arc<dyn NodeWatch>,
    /// What is sold.
    pub catalog: Arc<Catalog>,
    /// What bitcoin costs in other currencies.
    pub exchange: Arc<dyn Exchange>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Splices out.
    pub splicer: Arc<dyn Splicer>,
    /// The rules that files set.
    pub rules: FileRules,
}

/// The first pause before payouts are looked up again whose ledger failed; it doubles up to [`LOOK`].
const AGAIN: Duration = Duration::from_millis(500);
/// The longest such pause.
const LOOK: Duration = Duration::from_secs(60);

/// All of it together. Clones share everything.
#[derive(Clone)]
pub struct Upkeep {
    parts: Arc<UpkeepParts>,
    payouts: Payouts,
    keeper: Keeper,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("keeper", &self.keeper).finish_non_exhaustive()
    }
}

impl Upkeep {
    /// At rest: nothing is paid before somebody asks, or [`Upkeep::run`].
    pub fn new(parts: UpkeepParts, payouts: PayoutsParts) -> Upkeep {
        let payouts = Payouts::new(payouts);
        let keeper = Keeper::new(KeeperParts {
            ledger: parts.ledger.clone(),
            payouts: payouts.clone(),
            splicer: Arc::clone(&parts.splicer),
            node: Arc::clone(&parts.node),
            clock: Arc::clone(&parts.clock),
            rules: parts.rules.clone(),
        });
        Upkeep { parts: Arc::new(parts), payouts, keeper }
    }

    /// Pays out.
    pub fn payouts(&self) -> &Payouts {
        &self.payouts
    }

    /// Applies the rules.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Looks up what an earlier run left open, then applies the rules until `stop`. Begin when the node
    /// runs, beside the outbox's own looking up.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = AGAIN;
        while let Err(error) = self.payouts.resume().await {
            tracing::error!(%error, "payouts of an earlier run could not be looked up; no rule runs meanwhile");
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = pause.saturating_mul(2).min(LOOK);
        }
        self.keeper.run(stop).await;
    }

    /// When receivable runs out, and what cannot be sold first.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn forecast(&self) -> Result<Forecast, StoreError> {
        let UpkeepParts { ledger, node, catalog, exchange, clock, .. } = &*self.parts;
        let now = clock.now();
        let from = now.minus(forecast::WINDOW);
        let hours = ledger.revenue_series(from, now, Step::Hour, SalesFilter::default()).await?;
        let earned_by = ledger.revenue_by_route(from, now, Step::Hour, SalesFilter::default()).await?;
        let view = node.view().await;
        let [receivable, largest] = [view.receivable_msat, view.largest_receivable_msat]
            .map(|msat| Msat::new(msat).unwrap_or(Msat::MAX));
        let prices = forecast::prices(catalog.current().services(), exchange.as_ref(), now);
        Ok(forecast::forecast(now, (receivable, largest), &hours, &earned_by, prices))
    }
}
