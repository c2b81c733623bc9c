//! Whether what is left of a token is refused today for its price: what the gate would say to its next request.
//!
//! Pure but for the rates. It is asked at the route that the token was bought on; elsewhere it may open what is cheaper.

use std::fmt;

use super::Storefront;
use crate::catalog::{DEFAULT_ROUTE, Mode, Service, Today, Unit};
use crate::pricing::Exchange;
use crate::store::{GrantRow, PaymentState};
use crate::types::{Kind, Msat, Timestamp};

/// A request of the token's route costs more today than what the token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDear {
    /// The dearest request that it opens.
    pub opens: Msat,
    /// What a request costs today.
    pub price: Msat,
    /// Of a pack: so many requests were sold together for this, and are not any more.
    pub pack: Option<(u64, Msat)>,
}

impl fmt::Display for TooDear {
    /// `a request costs 20 sat now, and this token opens what costs 10 sat at most`; of a pack, what makes it good again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (price, opens) = (self.price.in_sat(), self.opens.in_sat());
        write!(f, "a request costs {price} now, and this token opens what costs {opens} at most")?;
        match self.pack {
            Some((units, sold)) => {
                write!(f, "; it is good again when {units} together are sold for {} or less", sold.in_sat())
            }
            None => Ok(()),
        }
    }
}

impl Storefront {
    /// Why the gate refuses what is left of a token of requests; `None` where it opens its route, has nothing left, or
    /// nobody can say it before the request.
    pub fn refuses(&self, row: &GrantRow) -> Option<TooDear> {
        if !matches!(row.state(), PaymentState::Left | PaymentState::Held) || row.grant.left == 0 {
            return None;
        }
        let table = self.catalog.current();
        let service = table.services().iter().find(|own| own.name == row.service)?;
        let unit = Unit {
            kind: row.grant.kind,
            route: &row.route,
            covers: row.covers,
            sold: row.grant.price,
            units: row.grant.sold,
            quote: row.quote.as_deref(),
        };
        TooDear::of(service, &unit, self.market.exchange.as_ref(), self.market.clock.now())
    }
}

impl TooDear {
    /// What is said of `unit` at its own route of `service`.
    pub fn of(
        service: &Service,
        unit: &Unit<'_>,
        exchange: &dyn Exchange,
        now: Timestamp,
    ) -> Option<TooDear> {
        let route = service.routes.iter().find(|own| own.name == *unit.route);
        let terms = match route {
            _ if service.mode != Mode::On || !matches!(unit.kind, Kind::Request | Kind::Pack) => return None,
            Some(route) => &route.terms,
            None if unit.route.as_str() == DEFAULT_ROUTE => &service.terms,
            None => return None,
        };
        let today = Today::of(service, terms, exchange, now);
        match (today.opened_by(unit), today.quote()) {
            (Some(false), Some(quote)) => {
                let pack = (unit.kind == Kind::Pack).then_some((unit.units, unit.sold));
                Some(TooDear { opens: unit.covers(service, terms, quote), price: quote.most, pack })
            }
            _ => None,
        }
    }
}
