//! What the appliance says to the world outside by itself, and asks of it: webhooks, exchange rates.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::{Offering, Service, Terms};
use crate::clock::{Clock, Entropy};
use crate::egress::{Egress, SystemResolver};
use crate::pricing::{Amount, Currency};
use crate::rates::{Rates, RatesConfig};
use crate::store::Ledger;
use crate::webhooks::{Webhooks, WebhooksConfig, WebhooksParts};

/// The parts that call out, all through one guarded door.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) rates: Arc<Rates>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) egress: Arc<Egress>,
}

impl Outside {
    /// The parts, at rest; nobody is called yet.
    pub(super) fn new(
        rates: RatesConfig,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Outside> {
        let egress = Egress::new(Arc::new(SystemResolver)).context("no client for outgoing calls")?;
        let egress = Arc::new(egress);
        let rates = Rates::new(rates, Arc::clone(&egress), Arc::clone(&clock));
        let webhooks = Webhooks::new(
            WebhooksParts { ledger, egress: Arc::clone(&egress), clock, entropy },
            WebhooksConfig::default(),
        );
        Ok(Outside { rates: Arc::new(rates), webhooks: Arc::new(webhooks), egress })
    }

    /// Sets both going until `stop`.
    pub(super) fn start(self, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(self.rates.run(stop.clone()));
        tasks.spawn(self.webhooks.run(stop.clone()));
    }

    /// Has the rates that these services need fetched at once, not at the first buyer's request.
    pub(super) fn serve<'s>(&self, services: impl IntoIterator<Item = &'s Service>) {
        for service in services {
            let routes = service.routes.iter().map(|route| &route.terms);
            routes
                .chain([&service.terms])
                .flat_map(|terms| currencies(terms))
                .for_each(|c| self.rates.want(c));
        }
    }
}

/// The currencies that a price of these terms is written in.
fn currencies(terms: &Terms) -> impl Iterator<Item = Currency> {
    let offers = terms.offers.iter().flat_map(|offer| match &offer.what {
        Offering::Request => [None, None],
        Offering::Pack { price, .. } => [*price, None],
        Offering::Pass { price, .. } => [Some(*price), None],
        Offering::Balance { value, price } => [Some(*value), *price],
    });
    let offered = offers.flatten().filter_map(|amount| match amount {
        Amount::Fiat(fiat) => Some(fiat.currency),
        Amount::Msat(_) => None,
    });
    terms.rule.reads().rate.into_iter().chain(offered)
}
