//! When receivable runs out at the rate of earning, and what cannot be sold first. Pure.
//!
//! It assumes that the next days earn as the last ones did and that nothing is paid out, and says nothing
//! where it knows too little.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::{Offering, Service, Terms};
use crate::pricing::{Amount, Ask, Exchange, RequestFacts};
use crate::store::{RevenuePoint, RouteRevenue};
use crate::types::{Msat, Name, Timestamp, counted};

/// The days that are looked at.
pub(super) const WINDOW: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Fewer hours, or fewer paid requests, say nothing of the next days.
const LEAST_HOURS: u64 = 24;
const LEAST_CALLS: u64 = 10;
const MS_AN_HOUR: u64 = 3_600_000;
/// Further away than this is no forecast.
const FAR: Duration = Duration::from_secs(3 * 365 * 24 * 3_600);

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// Something cannot be received now.
    RanOut,
    /// It runs out.
    RunsOut,
    /// Nothing was earned, or so little that it lasts for years.
    Lasts,
    /// Too little is known.
    TooLittleData,
}

/// What a route needs to be sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RouteNeeds {
    /// The service.
    pub service: Name,
    /// The route; `default` is what no route covers.
    pub route: Name,
    /// What its first offer costs now, where that is known before a request is there.
    pub price_msat: Option<Msat>,
    /// Whether that can be received now.
    pub sellable: Option<bool>,
    /// When it can be received no more.
    pub until: Option<Timestamp>,
    /// What the route earned in the days that were looked at.
    pub earned_msat: Msat,
}

/// The forecast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Forecast {
    /// How it looks.
    pub outlook: Outlook,
    /// That in words.
    pub detail: String,
    /// Lightning: what can be received now.
    pub receivable_msat: Msat,
    /// Hours that were looked at, the first sale's among them.
    pub hours: u64,
    /// Paid requests in them.
    pub calls: u64,
    /// What they earned.
    pub earned_msat: Msat,
    /// That for a day.
    pub per_day_msat: Msat,
    /// When nothing can be received any more.
    pub runs_out_at: Option<Timestamp>,
    /// The routes, those that cannot be sold first in front: the dearest.
    pub routes: Vec<RouteNeeds>,
}

/// A forecast at `now` from the hours that earned (oldest first), the routes' parts in them, and the prices.
pub(super) fn forecast(
    now: Timestamp,
    (receivable, largest): (Msat, Msat),
    hours: &[RevenuePoint],
    earned_by: &[RouteRevenue],
    prices: Vec<(Name, Name, Option<Msat>)>,
) -> Forecast {
    let from = hours.first().map_or(now, |first| first.at);
    let span = now.millis().saturating_sub(from.millis()).div_ceil(MS_AN_HOUR);
    let calls = hours.iter().map(|hour| hour.sums.calls).fold(0, u64::saturating_add);
    let earned = hours
        .iter()
        .fold(Msat::ZERO, |sum, hour| sum.checked_add(hour.sums.earned_msat).unwrap_or(Msat::MAX));
    let known = span >= LEAST_HOURS && calls >= LEAST_CALLS;
    let lasts = |what: Msat| known.then(|| time_to_earn(what, earned, span)).flatten();
    let routes = needs(now, (receivable, largest), earned_by, prices, lasts);
    let runs_out = lasts(receivable).map(|time| now.plus(time));
    let stuck = routes.iter().filter(|route| route.sellable == Some(false)).count();
    let per_day = u128::from(earned.msat()) * 24 / u128::from(span.max(1));
    let per_day = u64::try_from(per_day).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::MAX);
    let (outlook, detail) = if stuck > 0 || receivable == Msat::ZERO {
        let what = match stuck {
            0 => "nothing can be sold now".to_owned(),
            1 => "1 route costs more than that and cannot be sold now".to_owned(),
            several => format!("{several} routes cost more than that and cannot be sold now"),
        };
        let at_once = match largest < receivable {
            true => format!(", {} of it in one payment", largest.in_sat()),
            false => String::new(),
        };
        (Outlook::RanOut, format!("receivable is {}{at_once}: {what}", receivable.in_sat()))
    } else if calls == 0 {
        (Outlook::Lasts, "nothing was earned lately, so receivable stays as it is".to_owned())
    } else if !known {
        let what = format!(
            "too early to tell: {} in {} so far; a forecast needs {LEAST_HOURS} hours and {LEAST_CALLS} paid requests",
            counted(calls, "paid request"),
            counted(span, "hour")
        );
        (Outlook::TooLittleData, what)
    } else if runs_out.is_none() {
        (Outlook::Lasts, format!("at {} a day receivable lasts for years", per_day.in_sat()))
    } else {
        let what = format!(
            "at {} a day, as in the last {span} hours, receivable of {} is used up if nothing is paid out",
            per_day.in_sat(),
            receivable.in_sat()
        );
        (Outlook::RunsOut, what)
    };
    Forecast {
        outlook,
        detail,
        receivable_msat: receivable,
        hours: span,
        calls,
        earned_msat: earned,
        per_day_msat: if known { per_day } else { Msat::ZERO },
        runs_out_at: runs_out,
        routes,
    }
}

fn needs(
    now: Timestamp,
    (receivable, largest): (Msat, Msat),
    earned_by: &[RouteRevenue],
    prices: Vec<(Name, Name, Option<Msat>)>,
    lasts: impl Fn(Msat) -> Option<Duration>,
) -> Vec<RouteNeeds> {
    let need = |(service, route, price): (Name, Name, Option<Msat>)| {
        let mut parts = earned_by.iter().filter(|part| part.service == service && part.route == route);
        let earned_msat = parts.next().map_or(Msat::ZERO, |part| part.sums.earned_msat);
        // One payment comes over one channel.
        let left = price.map(|price| receivable.checked_sub(price).ok().filter(|_| price <= largest));
        let until = left.flatten().and_then(&lasts).map(|time| now.plus(time));
        RouteNeeds {
            service,
            route,
            price_msat: price,
            sellable: left.map(|left| left.is_some()),
            until,
            earned_msat,
        }
    };
    let mut routes: Vec<RouteNeeds> = prices.into_iter().map(need).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.price_msat));
    routes
}

/// How long it takes to earn `what`, when `span` hours earned `earned`; `None` when that is too far away.
fn time_to_earn(what: Msat, earned: Msat, span: u64) -> Option<Duration> {
    let ms = u128::from(what.msat()) * u128::from(span) * u128::from(MS_AN_HOUR);
    let ms = ms.checked_div(u128::from(earned.msat()))?;
    let time = Duration::from_millis(u64::try_from(ms).ok()?);
    (time <= FAR).then_some(time)
}

/// What the first offer of each route costs now; free routes are left out.
pub(super) fn prices(
    services: impl IntoIterator<Item = impl AsRef<Service>>,
    exchange: &dyn Exchange,
    now: Timestamp,
) -> Vec<(Name, Name, Option<Msat>)> {
    let mut prices = Vec::new();
    for service in services {
        let service = service.as_ref();
        let default = crate::catalog::DEFAULT_ROUTE.parse::<Name>().ok().map(|name| (name, &service.terms));
        let routes = service.routes.iter().map(|route| (route.name.clone(), &route.terms));
        let priced = routes.chain(default).filter(|(_, terms)| !terms.rule.is_free());
        prices
            .extend(priced.map(|(route, terms)| (service.name.clone(), route, price(terms, exchange, now))));
    }
    prices
}

/// What the first offer costs when the request says nothing.
fn price(terms: &Terms, exchange: &dyn Exchange, now: Timestamp) -> Option<Msat> {
    let nothing = RequestFacts::default();
    let ask = Ask { request: &nothing, exchange, now, fallback: terms.fallback };
    let worth = |amount: &Amount| amount.worth(exchange, now).ok().flatten().map(|worth| worth.msat);
    match &terms.offers.first()?.what {
        Offering::Pack { price: Some(price), .. } | Offering::Pass { price, .. } => worth(price),
        Offering::Balance { value, price } => worth(price.as_ref().unwrap_or(value)),
        Offering::Pack { requests, price: None } => {
            terms.rule.pack_price(*requests, &ask).ok().map(|worth| worth.msat)
        }
        Offering::Request => terms.rule.quote(&ask).ok().map(|quote| quote.most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HourSums;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn sat(sat: u64) -> Msat {
        Msat::from_sat(sat).unwrap()
    }

    fn hour(ago: u64, calls: u64, earned: u64) -> RevenuePoint {
        let sums = HourSums { calls, earned_msat: sat(earned), ..HourSums::default() };
        RevenuePoint { at: NOW.minus(Duration::from_secs(ago * 3_600)), sums }
    }

    fn prices() -> Vec<(Name, Name, Option<Msat>)> {
        let name = |text: &str| text.parse::<Name>().unwrap();
        vec![
            (name("api"), name("cheap"), Some(sat(10))),
            (name("api"), name("dear"), Some(sat(2_000))),
            (name("api"), name("odd"), None),
        ]
    }

    #[test]
    fn it_tells_when_receivable_is_used_up_and_what_goes_first() {
        // 2,400 sat in 48 hours: 1,200 a day.
        let hours = [hour(48, 5, 1_200), hour(1, 5, 1_200)];
        let told = forecast(NOW, (sat(6_000), sat(6_000)), &hours, &[], prices());
        assert_eq!((told.outlook, told.per_day_msat), (Outlook::RunsOut, sat(1_200)));
        let day = Duration::from_secs(24 * 3_600);
        assert_eq!(told.runs_out_at, Some(NOW.plus(day * 5)));
        let names: Vec<_> = told.routes.iter().map(|route| route.route.as_str()).collect();
        assert_eq!(names, ["dear", "cheap", "odd"]);
        assert_eq!(told.routes[0].until, Some(NOW.plus(day * 4_000 / 1_200)));
        assert_eq!(told.routes[2].until, None);
    }

    #[test]
    fn it_says_so_when_it_knows_too_little() {
        let few = forecast(NOW, (sat(6_000), sat(6_000)), &[hour(48, 9, 1_000)], &[], prices());
        assert_eq!((few.outlook, few.runs_out_at), (Outlook::TooLittleData, None));
        assert!(few.routes.iter().all(|route| route.until.is_none()));
        let young = forecast(NOW, (sat(6_000), sat(6_000)), &[hour(3, 900, 1_000)], &[], prices());
        assert_eq!((young.outlook, young.per_day_msat), (Outlook::TooLittleData, Msat::ZERO));
        let first = forecast(NOW, (sat(6_000), sat(6_000)), &[hour(1, 1, 15)], &[], prices());
        assert!(
            first.detail.starts_with("too early to tell: 1 paid request in 1 hour so far;"),
            "{}",
            first.detail
        );
        assert_eq!(forecast(NOW, (sat(6_000), sat(6_000)), &[], &[], prices()).outlook, Outlook::Lasts);
        let slow = [hour(48, 10, 1)];
        assert_eq!(
            forecast(NOW, (sat(9_000_000), sat(9_000_000)), &slow, &[], prices()).outlook,
            Outlook::Lasts
        );
    }

    #[test]
    fn what_cannot_be_sold_now_needs_no_forecast() {
        let told = forecast(NOW, (sat(1_999), sat(1_999)), &[], &[], prices());
        assert_eq!(told.outlook, Outlook::RanOut);
        assert_eq!(
            told.detail,
            "receivable is 1999 sat: 1 route costs more than that and cannot be sold now"
        );
        // There is room for many, and not in one payment.
        let large = forecast(NOW, (sat(9_000), sat(1_999)), &[], &[], prices());
        assert_eq!(large.routes[0].sellable, Some(false));
        assert_eq!(
            large.detail,
            "receivable is 9000 sat, 1999 sat of it in one payment: 1 route costs more than that and cannot be sold now"
        );
        let none = forecast(NOW, (Msat::ZERO, Msat::ZERO), &[], &[], Vec::new());
        assert_eq!(none.detail, "receivable is 0 sat: nothing can be sold now");
        assert_eq!(told.routes[0].sellable, Some(false));
        assert_eq!(told.routes[1].sellable, Some(true));
        assert_eq!(forecast(NOW, (Msat::ZERO, Msat::ZERO), &[], &[], Vec::new()).outlook, Outlook::RanOut);
    }
}
