//! `GET /metrics`: what Prometheus scrapes, in OpenMetrics text.
//!
//! It has a scope of its own, for a scraper's key lies in a file of another machine: with it nothing but
//! these sums can be read. Figures that live in the ledger and the node are read anew for each scrape.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::document::signature::Answers;
use super::document::told::Told;
use super::ledger_fault;
use crate::store::{SalesFilter, Step};
use crate::types::Timestamp;
use crate::web::{MayMeter, Operator, Problem};

/// Counts by service and route.
type ByPlace = Family<Place, Counter>;

const TYPE: &str = "application/openmetrics-text";

/// Everything that is counted, as text.
pub(super) struct Exposition(String);

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], self.0)
            .into_response()
    }
}

impl Answers for Exposition {
    fn answer(told: &mut Told<'_>) {
        told.gives_of(StatusCode::OK, TYPE, None);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Looked {
    check: &'static str,
}

/// A service and a route, as the ledger names them: only what the catalog had is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    service: String,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Graded {
    severity: &'static str,
}

/// `GET /metrics`.
pub(super) async fn read(_: MayMeter, State(op): State<Arc<Operator>>) -> Result<Exposition, Problem> {
    let ledger = &op.parts.ledger;
    ledger.barrier().await;
    let sums = ledger.totals().await.map_err(ledger_fault)?;
    let ever = (Timestamp::default(), op.parts.clock.now().plus(Duration::from_secs(86_400)));
    let routes = ledger.revenue_by_route(ever.0, ever.1, Step::Day, SalesFilter::default()).await;
    let routes = routes.map_err(ledger_fault)?;
    let health = op.parts.watchman.look().await.map_err(ledger_fault)?;
    let ready = op.parts.watchman.ready().await.is_ok();
    let node = op.parts.node.view().await;

    let mut registry = Registry::with_prefix("tollhouse");
    op.parts.checkout.tally().enter(&mut registry);
    ledger.commit_times().enter(&mut registry);
    let version =
        Info::new([("version", env!("CARGO_PKG_VERSION").to_owned()), ("network", node.network.clone())]);
    registry.register("build", "What runs here", version);

    for (name, what, value) in [
        ("payments", "Payments that arrived", sums.payments),
        ("received_msat", "What they brought, in millisatoshi", sums.received_msat),
        ("paid_requests", "Requests that were charged", sums.calls),
        ("earned_msat", "What was delivered or charged, in millisatoshi", sums.earned_msat),
        ("restored_units", "Requests whose failed delivery gave back what they held", sums.restored),
        (
            "crash_restored_units",
            "Requests that a crash left unknown, kept by the buyer",
            sums.crash_restored,
        ),
    ] {
        let counter = Counter::<u64, AtomicU64>::default();
        counter.inc_by(u64::try_from(value).unwrap_or(0));
        registry.register(name, what, counter);
    }
    let (sales, charged, back): (ByPlace, ByPlace, ByPlace) = Default::default();
    for line in &routes {
        let place = Place { service: line.service.to_string(), route: line.route.to_string() };
        sales.get_or_create(&place).inc_by(line.sums.sales);
        charged.get_or_create(&place).inc_by(line.sums.calls);
        back.get_or_create(&place).inc_by(line.sums.restored);
    }
    let what = "Payments that arrived, by what they were for: beside challenges, the part that is paid";
    registry.register("sales", what, sales);
    registry.register("route_paid_requests", "Requests that were paid for, by service and route", charged);
    registry.register("route_restored_units", "Requests whose unit went back, by service and route", back);
    let sat = |sat: u64| i64::try_from(sat).unwrap_or(i64::MAX);
    let spendable = sat(node.onchain_spendable_sat.saturating_mul(1_000));
    for (name, what, value) in [
        ("receivable_msat", "What buyers can pay now, in millisatoshi", sat(node.receivable_msat)),
        ("spendable_msat", "What can be paid from channels, in millisatoshi", sat(node.spendable_msat)),
        ("onchain_spendable_msat", "What is spendable on the chain, in millisatoshi", spendable),
        ("owed_msat", "What buyers paid for and may still use, in millisatoshi", sums.owed_msat),
        ("holds_open", "Requests on their way", sums.holds_open),
        ("channels", "Channels", i64::try_from(node.channels.len()).unwrap_or(i64::MAX)),
        (
            "peers_connected",
            "Peers that are connected",
            sat(u64::try_from(node.peers_connected).unwrap_or(0)),
        ),
        ("block_height", "The best block that the node knows", i64::from(node.block_height)),
        ("ready", "1 when a request can be sold", i64::from(ready)),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, what, gauge);
    }

    let ages: Family<Looked, Gauge> = Family::default();
    for check in &health.checks {
        if let Some(age) = check.age {
            ages.get_or_create(&Looked { check: check.name }).set(sat(age.as_secs()));
        }
    }
    let what = "Age of what a check speaks of: the node's sync, the chain source's answer, the newest backup";
    registry.register_with_unit("age", what, Unit::Seconds, ages);
    let alarms: Family<Graded, Gauge> = Family::default();
    for row in &health.alarms {
        alarms.get_or_create(&Graded { severity: row.alarm.severity.as_str() }).inc();
    }
    registry.register("alarms", "Alarms that stand", alarms);

    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        tracing::error!(%error, "the metrics could not be written");
        Problem::internal()
    })?;
    Ok(Exposition(text))
}
