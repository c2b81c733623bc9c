//! Tries a service's rules on its samples, so that a formula that fails is found when it is saved.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use rust_decimal::Decimal;
use serde_json::Value;

use super::words::{self, Wrong};
use super::{SampleSpec, SpecFault};
use crate::catalog::{Mode, RouteTable, Service};
use crate::pricing::{Currency, Exchange, Rate, RateFault, RequestFacts, ResponseFacts, Sample};
use crate::types::Timestamp;
use crate::types::path::canonical_path;

/// A rate for every currency: samples prove that a rule gives a price, not which.
struct SomeRate;

impl Exchange for SomeRate {
    fn rate(&self, currency: Currency, now: Timestamp) -> Result<Rate, RateFault> {
        Ok(Rate { currency, per_btc: Decimal::from(100_000u32), at: now })
    }
}

/// What is wrong with `samples`, or with the rules that they are tried on.
pub(super) fn tried(samples: &[SampleSpec], service: &Service) -> Vec<SpecFault> {
    let open = Service { mode: Mode::On, ..service.clone() };
    let host = open.host.clone().unwrap_or_else(|| "localhost".to_owned());
    let Ok(table) = RouteTable::new(vec![open]) else { return Vec::new() };
    let try_one = |(index, spec): (usize, &SampleSpec)| {
        let number = index + 1;
        let at = |key: &str| format!("samples[{index}]{key}");
        let method = spec.method.as_deref().map_or(Ok(http::Method::GET), words::method);
        let method = match method {
            Ok(method) => method,
            Err(bad) => return Some(SpecFault::new(at(".method"), bad)),
        };
        let (path, query) = match spec.path.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (spec.path.as_str(), None),
        };
        let path = match canonical_path(path) {
            Ok(path) => path,
            Err(fault) => {
                let bad = Wrong::new(fault.to_string(), "Write the path as a client sends it.");
                return Some(SpecFault::new(at(".path"), bad));
            }
        };
        let Some(matched) = table.lookup(&method, &host, &path) else {
            let what = format!("sample {number} is for a path that this service does not answer to");
            return Some(SpecFault::new(
                at(".path"),
                Wrong::new(what, "Write a path under the service's own."),
            ));
        };
        let sample = match sample(spec, method.as_str(), path, query) {
            Ok(sample) => sample,
            Err((key, bad)) => return Some(SpecFault::new(at(key), bad)),
        };
        let outcome = matched.terms.rule.try_samples(&[sample], &SomeRate, Timestamp::default());
        let why = outcome.into_iter().find_map(|outcome| outcome.price.err())?;
        let what = format!(
            "sample {number} ({method} {}) has no price by route `{}`: {why}",
            spec.path, matched.route
        );
        Some(SpecFault::new(at(""), Wrong::new(what, "Mend the formula, or the sample.")))
    };
    samples.iter().enumerate().filter_map(try_one).collect()
}

fn sample(
    spec: &SampleSpec,
    method: &str,
    path: String,
    query: Option<String>,
) -> Result<Sample, (&'static str, Wrong)> {
    let size =
        |text: &Option<String>| text.as_ref().map_or(0, |text| u64::try_from(text.len()).unwrap_or(u64::MAX));
    let request = RequestFacts {
        method: method.to_owned(),
        path,
        query,
        headers: headers(&spec.headers).map_err(|bad| (".headers", bad))?,
        size_bytes: Some(size(&spec.body)),
        json: spec.body.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    };
    let text = spec.answer.as_deref().unwrap_or_default();
    let events: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    let json = match serde_json::from_str(text) {
        Ok(json) => Some(json),
        Err(_) => events
            .iter()
            .rev()
            .find_map(|data| serde_json::from_str::<Value>(data.trim()).ok().filter(Value::is_object)),
    };
    let answer = ResponseFacts {
        status: spec.status.unwrap_or(200),
        headers: headers(&spec.answer_headers).map_err(|bad| (".answer_headers", bad))?,
        bytes: size(&spec.answer),
        ms: spec.ms.unwrap_or(100),
        chunks: u64::try_from(events.len().max(usize::from(!text.is_empty()))).unwrap_or(u64::MAX),
        json,
    };
    Ok(Sample { request, answer })
}

fn headers(spec: &BTreeMap<String, String>) -> Result<HeaderMap, Wrong> {
    let mut headers = HeaderMap::new();
    for (name, text) in spec {
        let bad = |_| Wrong::new(format!("`{name}` and its value make no header"), "Use visible ASCII.");
        let value = HeaderValue::from_str(text).map_err(|error| bad(error.to_string()))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(error.to_string()))?;
        headers.append(name, value);
    }
    Ok(headers)
}
