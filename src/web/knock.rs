//! The services' own APIs asked once after a change: one that is dead is better heard of before customers pay.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, Method};
use url::Url;

use super::Operator;
use crate::checkout::UpstreamLook;
use crate::egress::{Call, EgressFault, Reach, Take};
use crate::storefront::Plan;
use crate::types::Name;

/// A change is not held up longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// More addresses than this are not asked for one change.
const MOST: usize = 32;

impl Operator {
    /// The services that `plan` added or changed, that requests pass to, and whose own API does not answer.
    pub async fn silent(&self, plan: &Plan) -> Vec<Name> {
        let stock = self.parts.storefront.stock();
        let asked: Vec<(&Name, Url)> = stock
            .iter()
            .filter(|own| plan.changes.iter().any(|change| change.service == own.name))
            .filter(|own| own.spec.mode.as_deref() != Some("off"))
            .filter_map(|own| Some((&own.name, address(own.spec.upstream.as_deref()?)?)))
            .collect();
        let addresses: BTreeSet<Url> = asked.iter().map(|(_, url)| url.clone()).take(MOST).collect();
        let knock = async |url: &Url| self.nobody_at(url).await.then(|| url.clone());
        let dead: Vec<Url> = join_all(addresses.iter().map(knock)).await.into_iter().flatten().collect();
        let upstreams = self.parts.checkout.upstreams();
        let (at, answer) = (self.parts.checkout.now(), Err("upstream_unreachable"));
        let mut silent = Vec::new();
        for (name, url) in asked.into_iter().filter(|(_, url)| addresses.contains(url)) {
            if dead.contains(&url) {
                upstreams.note(name, UpstreamLook { at, answer });
                silent.push(name.clone());
            } else {
                upstreams.forget_failure(name);
            }
        }
        silent
    }

    async fn nobody_at(&self, url: &Url) -> bool {
        let call = Call {
            method: Method::HEAD,
            url: url.clone(),
            reach: Reach::Private,
            headers: HeaderMap::new(),
            body: Vec::new(),
            take: Take::Status,
            patience: PATIENCE,
        };
        let fault = self.parts.egress.call(call).await.err();
        matches!(fault, Some(EgressFault::Unreachable(_) | EgressFault::TimedOut | EgressFault::NoAddress))
    }
}

/// Where an upstream is asked. One that cannot be asked this way is not called silent: HTTP/2 without TLS is another
/// protocol, and a connection alone would say too little.
fn address(upstream: &str) -> Option<Url> {
    upstream.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}
