//! What the gateway counts for Prometheus: demands, refusals, and how the upstreams fare.
//!
//! Counts of a process: they begin at nothing with each start, as Prometheus expects, and nothing is decided
//! by them. Label sets are bounded: a service and a route are named as the catalog names them, and codes are
//! the gateway's own words. A path, an address or a user agent is no label.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::types::Name;

/// Upper bounds of the time until an upstream's head, in seconds.
const UPSTREAM_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Upper bounds of the time that a commit takes, in seconds.
const COMMIT_SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// A name of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Named(Name);

impl EncodeLabelValue for Named {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.0.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Place {
    service: Named,
    route: Named,
}

impl Place {
    fn of(service: &Name, route: &Name) -> Place {
        Place { service: Named(service.clone()), route: Named(route.clone()) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Coded {
    code: &'static str,
}

/// What an upstream answered with; its status by its class alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    service: Named,
    route: Named,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    service: Named,
    route: Named,
    code: &'static str,
}

/// Makes the histogram of one upstream.
#[derive(Clone, Copy, Debug)]
struct OfUpstream;

impl MetricConstructor<Histogram> for OfUpstream {
    fn new_metric(&self) -> Histogram {
        Histogram::new(UPSTREAM_SECONDS)
    }
}

/// Payments that were demanded, by service and route, since the start. A clone counts in the same.
///
/// Counting takes one shared look into a map, and nothing is written: the ledger folds what was counted into its
/// sums by hour now and then (see `store`).
#[derive(Clone, Debug, Default)]
pub struct Demands {
    counts: Family<Place, Counter>,
    /// What the map has, for it cannot be walked. Touched by the first demand of a route only, and by the fold.
    places: Arc<Mutex<BTreeSet<Place>>>,
}

impl Demands {
    /// A payment was demanded for this.
    pub fn count(&self, service: &Name, route: &Name) {
        let place = Place::of(service, route);
        if let Some(counter) = self.counts.get(&place) {
            counter.inc();
            return;
        }
        self.counts.get_or_create(&place).inc();
        self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
    }

    /// How many there were so far: service, route, count.
    pub fn so_far(&self) -> Vec<(Name, Name, u64)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counted = |place: Place| {
            let count = self.counts.get(&place).map_or(0, |counter| counter.get());
            (place.service.0, place.route.0, count)
        };
        places.into_iter().map(counted).collect()
    }
}

/// The gateway's counts.
#[derive(Debug)]
pub struct Tally {
    demands: Demands,
    refusals: Family<Coded, Counter>,
    upstream: Family<Answered, Histogram, OfUpstream>,
    failures: Family<Failed, Counter>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::over(Demands::default())
    }
}

impl Tally {
    /// One that counts demands in `demands`.
    pub fn over(demands: Demands) -> Tally {
        Tally {
            demands,
            refusals: Family::default(),
            upstream: Family::new_with_constructor(OfUpstream),
            failures: Family::default(),
        }
    }

    /// A payment was demanded for this.
    pub fn demanded(&self, service: &Name, route: &Name) {
        self.demands.count(service, route);
    }

    /// A request was refused with one of the gateway's codes.
    pub fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&Coded { code }).inc();
    }

    /// An upstream sent the head of its answer, with this status, after so long.
    pub fn answered(&self, service: &Name, route: &Name, status: u16, took: Duration) {
        let Place { service, route } = Place::of(service, route);
        let status = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        self.upstream.get_or_create(&Answered { service, route, status }).observe(took.as_secs_f64());
    }

    /// An upstream gave no answer that could be handed down.
    pub fn failed(&self, service: &Name, route: &Name, code: &'static str) {
        let Place { service, route } = Place::of(service, route);
        self.failures.get_or_create(&Failed { service, route, code }).inc();
    }

    /// Puts the counts under their names.
    pub fn enter(&self, registry: &mut Registry) {
        registry.register(
            "challenges",
            "Payments that were demanded, with a 402 and an invoice",
            self.demands.counts.clone(),
        );
        registry.register(
            "refusals",
            "Requests that the gateway answered itself, by its code; payment_required is the plain demand",
            self.refusals.clone(),
        );
        registry.register_with_unit(
            "upstream_answer",
            "Time until the head of an upstream's answer, by the class of its status",
            Unit::Seconds,
            self.upstream.clone(),
        );
        registry.register(
            "upstream_failures",
            "Requests that an upstream did not answer in a way that could be handed down, by code",
            self.failures.clone(),
        );
    }
}

/// How long the ledger's commits take.
#[derive(Clone, Debug)]
pub struct CommitTimes(Histogram);

impl Default for CommitTimes {
    fn default() -> CommitTimes {
        CommitTimes(Histogram::new(COMMIT_SECONDS))
    }
}

impl CommitTimes {
    /// A transaction was on disk after so long.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }

    /// Puts the times under their name.
    pub fn enter(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "ledger_commit",
            "Time that the ledger's transactions take until they are on disk",
            Unit::Seconds,
            self.0.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_with_names_of_the_catalog_alone() {
        let (tally, commits) = (Tally::default(), CommitTimes::default());
        let (service, route) = ("rates".parse().expect("a name"), "latest".parse().expect("a name"));
        tally.demanded(&service, &route);
        tally.demanded(&service, &route);
        tally.refused("head_too_large");
        tally.answered(&service, &route, 200, Duration::from_millis(30));
        tally.answered(&service, &route, 503, Duration::from_millis(3));
        tally.failed(&service, &route, "upstream_timeout");
        commits.took(Duration::from_micros(700));
        assert_eq!(tally.demands.so_far(), [(service, route, 2)]);
        let mut registry = Registry::with_prefix("tollhouse");
        tally.enter(&mut registry);
        commits.enter(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("written");
        for line in [
            "tollhouse_challenges_total{service=\"rates\",route=\"latest\"} 2",
            "tollhouse_refusals_total{code=\"head_too_large\"} 1",
            "tollhouse_upstream_answer_seconds_bucket{le=\"0.05\",service=\"rates\",route=\"latest\",status=\"2xx\"} 1",
            "tollhouse_upstream_answer_seconds_count{service=\"rates\",route=\"latest\",status=\"5xx\"} 1",
            "tollhouse_upstream_failures_total{service=\"rates\",route=\"latest\",code=\"upstream_timeout\"} 1",
            "tollhouse_ledger_commit_seconds_bucket{le=\"0.0005\"} 0",
            "tollhouse_ledger_commit_seconds_bucket{le=\"0.001\"} 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }
}
