//! Revenue: what sells, when, and for how much; and one payment opened in full.

use std::time::Duration;

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::chart::{Chart, Step as Bar};
use super::figures::{beside, conversion, counted, day, fiat, grouped, hour, permille, sats_exact};
use super::operation::sentence;
use super::payment_line::PaymentLine;
use super::sale::Sale;
use super::shell::{Desk, Section, Shell};
use super::{entry, fault, html};
use crate::store::{
    Account, HourSums, ReceivedSum, Revenue, RevenuePoint, RouteRevenue, SalesFilter, Step, StoreError,
};
use crate::types::{Msat, Name, Timestamp};

/// Payments on one page.
const SHOWN: u32 = 20;

/// A time that can be looked at, up to now.
struct Range {
    word: &'static str,
    name: &'static str,
    before: &'static str,
    step: Step,
    steps: u32,
}

const RANGES: [Range; 5] = [
    Range { word: "24h", name: "24 hours", before: "the 24 hours before", step: Step::Hour, steps: 24 },
    Range { word: "7d", name: "7 days", before: "the 7 days before", step: Step::Day, steps: 7 },
    Range { word: "30d", name: "30 days", before: "the 30 days before", step: Step::Day, steps: 30 },
    Range { word: "90d", name: "90 days", before: "the 90 days before", step: Step::Day, steps: 90 },
    Range { word: "1y", name: "A year", before: "the year before", step: Step::Day, steps: 365 },
];
const USUAL: &str = "30d";

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    range: Option<String>,
    service: Option<Name>,
    route: Option<Name>,
    before: Option<i64>,
}

/// What is shown: a time, and of what.
#[derive(Clone, Copy)]
struct View<'a> {
    range: &'a str,
    service: Option<&'a Name>,
    route: Option<&'a Name>,
}

/// One choice of a row of choices.
struct Choice {
    name: String,
    href: String,
    chosen: bool,
}

/// One line of the table.
struct Line {
    service: String,
    route: String,
    /// That route alone.
    href: String,
    /// Paid ones, so that the row multiplies out.
    calls: String,
    /// Those of granted tokens.
    given: Option<String>,
    earned: String,
    each: String,
    /// The part of the 402s that was paid, and how many they were.
    converted: Option<(String, String)>,
    share: u64,
}

/// What came in the time.
struct Came {
    figure: String,
    payments: String,
    /// What it was worth in other currencies as it came.
    worth: Vec<String>,
}

impl Came {
    fn of(sums: &[ReceivedSum]) -> Came {
        let msat = sums.iter().fold(0u64, |all, sum| all.saturating_add(sum.received_msat.msat()));
        let all = sums.iter().map(|sum| sum.payments).sum();
        let worth = |sum: &ReceivedSum| {
            let told = fiat(sum.worth?);
            Some(match sum.payments == all {
                true => format!("{told} when it came"),
                false => format!("{told} when it came, for {} of them", grouped(sum.payments)),
            })
        };
        Came {
            figure: sats_exact(msat),
            payments: counted(all, "payment"),
            worth: sums.iter().filter_map(worth).collect(),
        }
    }
}

/// The account is of Lightning alone.
const ON_CHAIN: &str =
    "Fees of channels and of coins on-chain are not counted here: On-chain & vault tells them.";

/// What became of all that came.
struct Left {
    received: String,
    /// What of it was for what, in satoshi: with what nobody knows the use of yet it is all of it.
    parts: Vec<(&'static str, String)>,
    /// What is left of it, in a sentence.
    left: String,
}

impl Left {
    fn of(account: &Account, all: &Revenue) -> Option<Left> {
        let sats = |msat: i64| sats_exact(msat.unsigned_abs());
        let received = account.received_msat.saturating_add(account.surplus_msat);
        if received == 0 && account.balance_msat == 0 {
            return None;
        }
        let went = sats(received.saturating_sub(account.balance_msat));
        let left = match account.balance_msat {
            balance if balance == received => {
                format!("Nothing of it was paid out over Lightning yet. {ON_CHAIN}")
            }
            balance if balance < 0 => format!(
                "{went} sat were paid over Lightning or kept for channels opened by a payment: {} sat more than came. \
                 {ON_CHAIN}",
                sats(balance)
            ),
            balance => format!(
                "{went} sat were paid over Lightning or kept for channels opened by a payment: {} sat are left of it. \
                 {ON_CHAIN}",
                sats(balance)
            ),
        };
        let parts = [
            ("Earned", all.total),
            ("Paid ahead", all.unearned),
            ("Ran out unused, or taken back", all.lapsed),
            ("Paid above the price", all.overpaid),
            ("Perhaps paid twice", all.surplus),
        ];
        let part = |(name, msat): (&'static str, Msat)| {
            (msat > Msat::ZERO || name == "Earned").then(|| (name, sats_exact(msat.msat())))
        };
        Some(Left { received: sats(received), parts: parts.into_iter().filter_map(part).collect(), left })
    }
}

#[derive(Template)]
#[template(path = "revenue.html")]
struct Page {
    shell: Shell,
    ranges: Vec<Choice>,
    services: Vec<Choice>,
    routes: Vec<Choice>,
    what: String,
    earned: String,
    compared: String,
    calls: String,
    each: String,
    granted: String,
    restored: String,
    converted: Option<(String, String)>,
    shadow: Option<String>,
    received: Option<Came>,
    /// What became of all that came; nothing before the first payment.
    account: Option<Left>,
    chart: Chart,
    lines: Vec<Line>,
    payments: Vec<PaymentLine>,
    older: Option<String>,
    newer: Option<String>,
    /// The money of this time alone.
    table: String,
    sale: Sale,
}

/// `GET /revenue?range&service&route&before`.
pub(super) async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    match read(&desk, &asked).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(error) => fault(&error),
    }
}

async fn read(desk: &Desk, asked: &Asked) -> Result<Page, StoreError> {
    let ledger = &desk.op.parts.ledger;
    ledger.barrier().await;
    let word = asked.range.as_deref().unwrap_or(USUAL);
    let range = RANGES.iter().find(|range| range.word == word).unwrap_or(&RANGES[2]);
    let span = match range.step {
        Step::Hour => Duration::from_secs(3_600),
        Step::Day => Duration::from_secs(86_400),
    };
    let end = next(desk.op.parts.clock.now(), span);
    let from = end.minus(span * range.steps);
    let view = View { range: range.word, service: asked.service.as_ref(), route: asked.route.as_ref() };
    let only = SalesFilter { service: asked.service.clone(), route: asked.route.clone() };
    let of = |from, to| ledger.revenue_series(from, to, range.step, only.clone());
    let points = of(from, end).await?;
    let earlier = summed(&of(from.minus(span * range.steps), from).await?);
    let sums = summed(&points);
    let routes = ledger.revenue_by_route(from, end, range.step, SalesFilter::default()).await?;
    let all = ledger.revenue(desk.op.parts.clock.now()).await?;
    let mut rows = ledger.payments(SHOWN + 1, asked.before).await?;
    let more = rows.len() > usize::try_from(SHOWN).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(SHOWN).unwrap_or(usize::MAX));
    let older = more.then(|| rows.last().map(|row| view.link(Some(row.id))));
    Ok(Page {
        ranges: ranges(view),
        services: services(&routes, view),
        routes: routes_of(&routes, view),
        what: view.earned(),
        earned: sats_exact(sums.earned_msat.msat()),
        compared: compared(sums.earned_msat, earlier.earned_msat, range.before),
        calls: grouped(sums.calls),
        each: each(&sums),
        granted: grouped(sums.granted_calls),
        restored: grouped(sums.restored),
        converted: converted(&sums),
        shadow: (sums.shadow_calls > 0).then(|| {
            let would = sats_exact(sums.shadow_msat.msat());
            format!("{} in shadow mode would have earned {would} sat.", counted(sums.shadow_calls, "call"))
        }),
        received: match (view.service, view.route) {
            (None, None) => Some(Came::of(&ledger.received_between(from, end).await?)),
            _ => None,
        },
        account: Left::of(&ledger.account().await?, &all),
        chart: chart(&points, range, from, span),
        lines: lines(&routes, view),
        payments: rows.iter().map(PaymentLine::of).collect(),
        older: older.flatten(),
        newer: asked.before.map(|_| view.link(None)),
        table: format!("/api/v1/revenue.csv?from={}&to={}", from.millis(), end.millis()),
        sale: Sale::of(&desk.op),
        shell: desk.shell(Section::Revenue).await,
    })
}

/// When the step that runs ends.
fn next(now: Timestamp, span: Duration) -> Timestamp {
    let whole = now.secs() / span.as_secs();
    Timestamp::from_secs(whole.saturating_add(1).saturating_mul(span.as_secs()))
}

fn summed(points: &[RevenuePoint]) -> HourSums {
    points.iter().fold(HourSums::default(), |sum, point| sum.plus(&point.sums))
}

/// The part of the 402s that was paid, and of how many.
fn converted(sums: &HourSums) -> Option<(String, String)> {
    let part = conversion(sums.sales, sums.demands)?;
    Some((part, format!("{} of {}", grouped(sums.sales), grouped(sums.demands))))
}

/// What a call earned on the average, rounded to a thousandth of a satoshi.
fn each(sums: &HourSums) -> String {
    let half = sums.calls / 2;
    sums.earned_msat
        .msat()
        .saturating_add(half)
        .checked_div(sums.calls)
        .map_or_else(|| "–".to_owned(), sats_exact)
}

fn compared(now: Msat, earlier: Msat, name: &str) -> String {
    let (now, earlier) = (now.msat(), earlier.msat());
    match beside(now, earlier, name) {
        None if now == 0 => format!("As in {name}: nothing."),
        None => format!("Nothing in {name}."),
        Some(beside) if beside.starts_with("as ") => sentence(&beside),
        Some(beside) => sentence(&format!("{beside}, which had {} sat", sats_exact(earlier))),
    }
}

fn chart(points: &[RevenuePoint], range: &Range, from: Timestamp, span: Duration) -> Chart {
    let steps = (0..range.steps).map(|place| {
        let at = from.plus(span * place);
        let msat =
            points.iter().find(|point| point.at == at).map_or(0, |point| point.sums.earned_msat.msat());
        let name = match range.step {
            Step::Hour => hour(at),
            Step::Day => day(at),
        };
        Bar { name, msat }
    });
    Chart::draw(&steps.collect::<Vec<_>>())
}

fn ranges(view: View<'_>) -> Vec<Choice> {
    let choice = |range: &Range| Choice {
        name: range.name.to_owned(),
        href: View { range: range.word, ..view }.link(None),
        chosen: range.word == view.range,
    };
    RANGES.iter().map(choice).collect()
}

/// A choice of all and of each, when there are several.
fn choices<'a>(
    all: &str,
    names: impl Iterator<Item = &'a Name>,
    chosen: Option<&'a Name>,
    link: impl Fn(Option<&Name>) -> String,
) -> Vec<Choice> {
    let mut names: Vec<&Name> = names.chain(chosen).collect();
    names.sort();
    names.dedup();
    if names.len() < 2 {
        return Vec::new();
    }
    let all = Choice { name: all.to_owned(), href: link(None), chosen: chosen.is_none() };
    let one =
        |name: &Name| Choice { name: name.to_string(), href: link(Some(name)), chosen: chosen == Some(name) };
    std::iter::once(all).chain(names.into_iter().map(one)).collect()
}

fn services(routes: &[RouteRevenue], view: View<'_>) -> Vec<Choice> {
    let names = routes.iter().map(|line| &line.service);
    choices("All services", names, view.service, |name| {
        View { service: name, route: None, ..view }.link(None)
    })
}

/// The routes of the service that is chosen.
fn routes_of(routes: &[RouteRevenue], view: View<'_>) -> Vec<Choice> {
    let Some(service) = view.service else { return Vec::new() };
    let names = routes.iter().filter(|line| line.service == *service).map(|line| &line.route);
    choices("All routes", names, view.route, |name| View { route: name, ..view }.link(None))
}

fn lines(routes: &[RouteRevenue], view: View<'_>) -> Vec<Line> {
    let shown = || {
        let of = routes.iter().filter(|line| view.service.is_none_or(|name| line.service == *name));
        of.filter(|line| view.route.is_none_or(|name| line.route == *name))
    };
    let most = shown().map(|line| line.sums.earned_msat.msat()).max().unwrap_or(0);
    shown()
        .map(|line| Line {
            service: line.service.to_string(),
            route: line.route.to_string(),
            href: View { service: Some(&line.service), route: Some(&line.route), ..view }.link(None),
            calls: grouped(line.sums.calls),
            given: (line.sums.granted_calls > 0).then(|| grouped(line.sums.granted_calls)),
            earned: sats_exact(line.sums.earned_msat.msat()),
            each: each(&line.sums),
            converted: converted(&line.sums),
            share: permille(line.sums.earned_msat.msat(), most),
        })
        .collect()
}

impl View<'_> {
    fn link(&self, before: Option<i64>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("range", self.range);
        for (key, name) in [("service", self.service), ("route", self.route)] {
            if let Some(name) = name {
                query.append_pair(key, name.as_str());
            }
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        let place = if before.is_some() { "#payments" } else { "" };
        format!("/revenue?{}{place}", query.finish())
    }

    fn earned(&self) -> String {
        match (self.service, self.route) {
            (Some(service), Some(route)) => format!("{service} / {route} earned"),
            (Some(name), None) | (None, Some(name)) => format!("{name} earned"),
            (None, None) => "Earned".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sat(sat: u64) -> Msat {
        Msat::from_sat(sat).expect("small")
    }

    #[test]
    fn periods_are_compared_in_words() {
        let say = |now, earlier| compared(sat(now), sat(earlier), "the week before");
        assert_eq!(say(0, 0), "As in the week before: nothing.");
        assert_eq!(say(5, 0), "Nothing in the week before.");
        assert_eq!(say(150, 100), "50 % more than in the week before, which had 100 sat.");
        assert_eq!(say(25, 100), "75 % less than in the week before, which had 100 sat.");
        assert_eq!(say(1_000, 999), "As much as in the week before.");
        assert!(compared(Msat::MAX, sat(1), "then").contains(" times as much as in then, which had 1 sat"));
    }

    #[test]
    fn a_running_step_is_whole() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(next(Timestamp::from_secs(7_200), hour), Timestamp::from_secs(10_800));
        assert_eq!(next(Timestamp::from_secs(7_199), hour), Timestamp::from_secs(7_200));
    }
}
