//! How the services' upstreams answered last: for the operator's eyes alone, nothing is decided by it.
//!
//! Bounded: one look for each service that is in the catalogue.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;

use crate::types::{Name, Timestamp};

/// How an upstream answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLook {
    /// When.
    pub at: Timestamp,
    /// With what status; or the stable code of why there was no answer, such as `upstream_unreachable`.
    pub answer: Result<StatusCode, &'static str>,
}

impl UpstreamLook {
    /// Whether it is well: it answered, and not with a failure of its own.
    pub fn well(&self) -> bool {
        self.answer.is_ok_and(|status| !status.is_server_error())
    }
}

/// The last look at each upstream, since the start.
#[derive(Debug, Default)]
pub struct Upstreams(Mutex<HashMap<Name, UpstreamLook>>);

/// More services than any catalogue has: names that were taken away go then.
const MOST: usize = 4_096;

impl Upstreams {
    /// Notes how `service`'s upstream answered.
    pub fn note(&self, service: &Name, look: UpstreamLook) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = looks.get_mut(service) {
            *last = look;
            return;
        }
        if looks.len() >= MOST {
            looks.clear();
        }
        looks.insert(service.clone(), look);
    }

    /// Forgets a failure of `service`'s upstream: somebody answers there now.
    pub fn forget_failure(&self, service: &Name) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.get(service).is_some_and(|look| look.answer.is_err()) {
            looks.remove(service);
        }
    }

    /// How it answered last; `None` when it was not asked since the start.
    pub fn last(&self, service: &Name) -> Option<UpstreamLook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(service).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_look_counts() {
        let (upstreams, name) = (Upstreams::default(), "rates".parse().expect("a name"));
        assert_eq!(upstreams.last(&name), None);
        let look = |answer| UpstreamLook { at: Timestamp::from_secs(1), answer };
        upstreams.note(&name, look(Ok(StatusCode::NOT_FOUND)));
        assert!(upstreams.last(&name).expect("noted").well(), "a 404 is an answer");
        upstreams.note(&name, look(Ok(StatusCode::BAD_GATEWAY)));
        assert!(!upstreams.last(&name).expect("noted").well());
        upstreams.forget_failure(&name);
        upstreams.note(&name, look(Err("upstream_unreachable")));
        assert!(!upstreams.last(&name).expect("an answer stays").well());
        upstreams.forget_failure(&name);
        assert_eq!(upstreams.last(&name), None);
    }
}
