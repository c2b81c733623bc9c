//! From a spec to the service that is sold, or to everything that is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::fields::join;
use super::offers::{misfit, offers};
use super::price::{Faulty, Priced, priced};
use super::samples::tried;
use super::words::{self, Wrong};
use super::{HeaderSpec, RouteSpec, Spec, SpecFault, TermsSpec};
use crate::catalog::{
    About, Allowance, AllowanceBy, DEFAULT_ROUTE, INVOICE_EXPIRY, Mode, Offer, Offering, PathPattern,
    RestorePolicy, Route, RouteTable, Service, Terms, Upstream,
};
use crate::pricing::{Metering, Rule};
use crate::types::Name;
use crate::types::path::lies_under;

/// Looks a variable of the environment up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Why two services cannot both be: the setting of the later one, and what is wrong.
pub fn clash(earlier: &Service, later: &Service) -> Option<(&'static str, String)> {
    let name = &earlier.name;
    if later.name == *name {
        return Some(("name", format!("another service has the name `{name}`")));
    }
    (earlier.host == later.host && earlier.path == later.path)
        .then(|| ("path", format!("service `{name}` matches the same requests")))
}

/// Terms, and the offers that routes may have from them even where the rule itself is free.
struct Built {
    terms: Terms,
    offers: Option<Vec<Offer>>,
}

impl Spec {
    /// The service that this describes; `env` gives the variables that its headers name.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(&self, env: Lookup<'_>) -> Result<Service, Vec<SpecFault>> {
        let mut faults = Vec::new();
        let service = self.service(env, &mut faults);
        match service {
            Some(service) if faults.is_empty() => {
                // The table has the last word; what it refuses should have been found above.
                if let Err(refused) = RouteTable::new(vec![service.clone()]) {
                    return Err(vec![SpecFault::new("", Wrong::new(refused.to_string(), ""))]);
                }
                let tried = tried(&self.samples, &service);
                if tried.is_empty() { Ok(service) } else { Err(tried) }
            }
            _ => Err(faults),
        }
    }

    /// Like [`Spec::compile`] of what [`Spec::read`] gave: without the faults that those of its shape
    /// cause.
    ///
    /// # Errors
    /// Everything that is wrong with it, `shape` first.
    pub fn compile_after(&self, shape: Vec<SpecFault>, env: Lookup<'_>) -> Result<Service, Vec<SpecFault>> {
        let compiled = self.compile(env);
        if shape.is_empty() {
            return compiled;
        }
        let related = |a: &str, b: &str| {
            let inside = |outer: &str, inner: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            inside(a, b) || inside(b, a)
        };
        let caused = |fault: &SpecFault| shape.iter().any(|known| related(&known.field, &fault.field));
        let mut faults = shape.clone();
        faults.extend(compiled.err().into_iter().flatten().filter(|fault| !caused(fault)));
        Err(faults)
    }

    /// What stands in for a service that cannot be sold any more: where it was is nothing, and nothing
    /// broader is sold in its place. `None` when not even its place can be read.
    pub fn closed(&self) -> Option<Service> {
        let host = self.host.as_deref().map(words::host).transpose().ok()?;
        let path = words::prefix(self.path.as_deref().unwrap_or("/")).ok()?;
        let upstream = Upstream::at(words::base_url("http://127.0.0.1:9/").ok()?);
        let closed = Service::new(words::name(&self.name).ok()?, &path, Terms::free(), upstream);
        Some(Service { host, mode: Mode::Off, ..closed })
    }

    fn service(&self, env: Lookup<'_>, faults: &mut Vec<SpecFault>) -> Option<Service> {
        let name = needed(&self.name, "name", words::name, faults);
        let mode = self.mode(faults);
        let host = optional(self.host.as_deref(), "host", words::host, faults);
        let path =
            optional(self.path.as_deref(), "path", words::prefix, faults).unwrap_or_else(|| "/".to_owned());
        let base = needed(self.upstream.as_deref().unwrap_or_default(), "upstream", words::base_url, faults);
        let strip = |text: &str| {
            let strip = words::prefix(text)?;
            if lies_under(&path, &strip) {
                return Ok(strip);
            }
            Err(Wrong::new(
                format!("not every request of this service begins with \"{strip}\""),
                format!("Use a prefix of the service's path, \"{path}\"."),
            ))
        };
        let strip_prefix = optional(self.strip_prefix.as_deref(), "strip_prefix", strip, faults);
        let upstream_host =
            optional(self.upstream_host.as_deref(), "upstream_host", words::host_and_port, faults);
        let openapi = optional(self.openapi.as_deref(), "openapi", words::path, faults);
        let headers = self.headers(env, faults);

        let default = words::name(DEFAULT_ROUTE).expect("the default route's name is a name");
        let built = terms(&self.terms, None, "", &default, faults);
        let routes = self.routes(&path, built.as_ref(), faults);
        let upstream = Upstream {
            base: base?,
            strip_prefix: strip_prefix.filter(|strip| strip != "/"),
            host: upstream_host,
            headers,
        };
        Some(Service {
            name: name?,
            host,
            path,
            mode: mode?,
            about: About { title: self.title.clone(), description: self.description.clone(), openapi },
            terms: Arc::new(built?.terms),
            routes,
            upstream,
        })
    }

    fn mode(&self, faults: &mut Vec<SpecFault>) -> Option<Mode> {
        match self.mode.as_deref() {
            None | Some("on") => Some(Mode::On),
            Some("off") => Some(Mode::Off),
            Some("shadow") => Some(Mode::Shadow),
            Some(other) => {
                faults.push(SpecFault::new("mode", words::one_of(other, "a mode", &["on", "off", "shadow"])));
                None
            }
        }
    }

    fn headers(&self, env: Lookup<'_>, faults: &mut Vec<SpecFault>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (key, value) in &self.upstream_headers {
            match header(key, value, env) {
                Ok(header) => headers.push(header),
                Err((inner, bad)) => {
                    let field = join(&format!("upstream_headers.{key}"), inner);
                    faults.push(SpecFault::new(field, bad));
                }
            }
        }
        headers
    }

    fn routes(&self, service_path: &str, parent: Option<&Built>, faults: &mut Vec<SpecFault>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for (index, spec) in self.route.iter().enumerate() {
            let at = format!("route[{index}]");
            let Some(route) = route(spec, service_path, parent, &at, faults) else { continue };
            match routes.iter().find_map(|earlier| route_clash(earlier, &route)) {
                None => routes.push(route),
                Some((key, what)) => {
                    let bad = Wrong::new(what, "Give each its own name, and its own method or path.");
                    faults.push(SpecFault::new(join(&at, key), bad));
                }
            }
        }
        routes
    }
}

fn needed<T>(
    text: &str,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
    faults: &mut Vec<SpecFault>,
) -> Option<T> {
    if text.is_empty() {
        let example = match key {
            "name" => "name = \"rates\"",
            _ => "upstream = \"http://127.0.0.1:9000\"",
        };
        let bad = Wrong::new("it is missing", format!("Add a line such as {example}."));
        faults.push(SpecFault::new(key, bad));
        return None;
    }
    optional(Some(text), key, parse, faults)
}

fn optional<T>(
    text: Option<&str>,
    field: &str,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
    faults: &mut Vec<SpecFault>,
) -> Option<T> {
    match parse(text?) {
        Ok(value) => Some(value),
        Err(bad) => {
            faults.push(SpecFault::new(field, bad));
            None
        }
    }
}

fn header(
    key: &str,
    value: &HeaderSpec,
    env: Lookup<'_>,
) -> Result<(HeaderName, HeaderValue), (&'static str, Wrong)> {
    let name = words::header_name(key).map_err(|bad| ("", bad))?;
    let text = match value {
        HeaderSpec::Literal(text) => text.clone(),
        HeaderSpec::Env { env: variable, prefix } => {
            let secret = env(variable).ok_or_else(|| {
                let what = format!("the environment variable {variable} is not set");
                ("env", Wrong::new(what, "Set it where tollhouse starts, or write the value itself."))
            })?;
            format!("{}{secret}", prefix.as_deref().unwrap_or_default())
        }
        HeaderSpec::Redacted { .. } => {
            let help = "Write the value, or { env = \"UPSTREAM_KEY\" }.";
            return Err(("", Wrong::new("its value was left out, and none is stored here", help)));
        }
    };
    let mut held = HeaderValue::from_str(&text)
        .map_err(|_| ("", Wrong::new("its value cannot stand in a header", "Use visible ASCII.")))?;
    held.set_sensitive(true);
    Ok((name, held))
}

fn route(
    spec: &RouteSpec,
    service_path: &str,
    parent: Option<&Built>,
    at: &str,
    faults: &mut Vec<SpecFault>,
) -> Option<Route> {
    let before = faults.len();
    let method = optional(spec.method.as_deref(), &join(at, "method"), words::method, faults);
    let inside = |text: &str| {
        let pattern = words::pattern(text)?;
        if lies_under(pattern.front(), service_path) {
            return Ok(pattern);
        }
        Err(Wrong::new(
            format!("\"{text}\" is outside the service's path, \"{service_path}\""),
            "Write the path as the client sends it, before any prefix is stripped.",
        ))
    };
    let path = optional(spec.path.as_deref(), &join(at, "path"), inside, faults);
    if spec.path.is_none() {
        let bad = Wrong::new("it is missing", "Add a line such as path = \"/v1/files/*\".");
        faults.push(SpecFault::new(join(at, "path"), bad));
    }
    let name = match &spec.name {
        Some(name) => optional(Some(name), &join(at, "name"), words::route_name, faults),
        None => path.as_ref().and_then(|path| {
            let derived = derived_name(method.as_ref(), path);
            if derived.is_none() {
                let bad =
                    Wrong::new("no name can be made from the path", "Add a line such as name = \"files\".");
                faults.push(SpecFault::new(join(at, "name"), bad));
            }
            derived
        }),
    };
    // Faults of the terms are told even when the route has no name: any will do.
    let scope = name.clone().unwrap_or_else(|| "unnamed".parse().expect("a word is a name"));
    let built = parent.map(|parent| terms(&spec.terms, Some(parent), at, &scope, faults));
    let (name, path, built) = (name?, path?, built??);
    (faults.len() == before).then(|| Route {
        name,
        method,
        path,
        terms: Arc::new(built.terms),
        description: spec.description.clone(),
    })
}

fn route_clash(earlier: &Route, later: &Route) -> Option<(&'static str, String)> {
    if earlier.name == later.name {
        return Some(("name", format!("another route of this service has the name `{}`", later.name)));
    }
    (earlier.method == later.method && earlier.path.same_paths(&later.path))
        .then(|| ("path", format!("route `{}` matches the same requests", earlier.name)))
}

/// A name that stays the same as long as the method and the path do: `GET /v1/files/*` is
/// `get-v1-files-all`.
pub(super) fn derived_name(method: Option<&Method>, path: &PathPattern) -> Option<Name> {
    let text = path.to_string();
    let (path, end) = text.strip_suffix("/*").map_or((text.as_str(), None), |path| (path, Some("all")));
    let lower = path.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let start = method.map(|m| m.as_str().to_ascii_lowercase());
    let parts: Vec<&str> = start.as_deref().into_iter().chain(words).chain(end).collect();
    let joined = if parts.is_empty() { "root".to_owned() } else { parts.join("-") };
    let joined = if joined == DEFAULT_ROUTE || joined.starts_with(|c: char| c.is_ascii_digit()) {
        format!("p-{joined}")
    } else {
        joined
    };
    joined.parse().ok()
}

/// The terms at `at`: what is said there, and the rest from `parent`.
fn terms(
    own: &TermsSpec,
    parent: Option<&Built>,
    at: &str,
    name: &Name,
    faults: &mut Vec<SpecFault>,
) -> Option<Built> {
    let before = faults.len();
    let priced = price(own, parent, at, faults);
    let own_offers = own.offers.as_ref().map(|list| offers(list, at, faults));
    let free = allowance(own, at, faults);
    let restore = own.restore_on.as_ref().map(|list| restored(list, at, faults));
    let span = |text: &Option<String>, key: &str, least, most, faults: &mut Vec<SpecFault>| {
        optional(text.as_deref(), &join(at, key), |text| words::span(text, least, most), faults)
    };
    let expiry = span(&own.invoice_expiry, "invoice_expiry", MINUTE, 7 * DAY, faults);
    // A payment may still arrive two hours after its invoice has run out (MONEY rule 9).
    let life = span(&own.token_life, "token_life", 3 * HOUR, 3_650 * DAY, faults);

    let Priced { rule, fallback } = priced?;
    let said = match own_offers {
        Some(said) => Some(said?),
        None => parent.and_then(|parent| parent.offers.clone()),
    };
    let scope = match (own.offers.is_some(), parent) {
        (false, Some(parent)) => parent.terms.scope.clone(),
        _ => name.clone(),
    };
    let for_sale =
        if rule.is_free() { Vec::new() } else { for_sale(&rule, said.as_deref(), own, at, faults) };
    if faults.len() > before {
        return None;
    }
    let inherited = parent.map(|parent| &parent.terms);
    let terms = Terms {
        rule,
        fallback,
        offers: for_sale,
        free: free.unwrap_or_else(|| inherited.and_then(|terms| terms.free)),
        restore: restore.or_else(|| inherited.map(|terms| terms.restore.clone())).unwrap_or_default(),
        invoice_expiry: expiry.or(inherited.map(|terms| terms.invoice_expiry)).unwrap_or(INVOICE_EXPIRY),
        token_life: life.or_else(|| inherited.and_then(|terms| terms.token_life)),
        scope,
    };
    Some(Built { terms, offers: said })
}

/// The rule and its fallback; together from one place, so that no route is sold at the fallback of
/// another price.
fn price(own: &TermsSpec, parent: Option<&Built>, at: &str, faults: &mut Vec<SpecFault>) -> Option<Priced> {
    let said = match priced(own, at, faults) {
        Ok(said) => said,
        Err(Faulty) => return None,
    };
    match (said, parent) {
        (Some(priced), _) => Some(priced),
        (None, Some(parent)) => {
            let fallback = own.fallback.as_deref().and_then(|text| words::msat(text).ok());
            Some(Priced { rule: parent.terms.rule.clone(), fallback: fallback.or(parent.terms.fallback) })
        }
        (None, None) => {
            let bad = Wrong::new("it is missing", "Add a line such as price = \"50 sat\".");
            faults.push(SpecFault::new(join(at, "price"), bad));
            None
        }
    }
}

/// What is on offer where `rule` prices: what was `said`, or single requests.
fn for_sale(
    rule: &Rule,
    said: Option<&[Offer]>,
    own: &TermsSpec,
    at: &str,
    faults: &mut Vec<SpecFault>,
) -> Vec<Offer> {
    let Some(said) = said else {
        if rule.metering() != Metering::Exact {
            let why = misfit(rule, &Offering::Request);
            let help = why.map(|bad| bad.help).unwrap_or_default();
            let what = "it is missing: single requests cannot be sold at this price";
            faults.push(SpecFault::new(join(at, "offers"), Wrong::new(what, help)));
        }
        return Terms::fixed(crate::types::Msat::ZERO).offers;
    };
    for (index, offer) in said.iter().enumerate() {
        let Some(bad) = misfit(rule, &offer.what) else { continue };
        let fault = if own.offers.is_some() {
            SpecFault::new(join(at, &format!("offers[{index}]")), bad)
        } else {
            let what = format!("the service's offer `{}` does not fit this price: {}", offer.name, bad.what);
            SpecFault::new(join(at, "offers"), Wrong::new(what, "Give the route offers of its own."))
        };
        faults.push(fault);
    }
    said.to_vec()
}

/// What is free; the outer `None` when nothing is said of it.
fn allowance(own: &TermsSpec, at: &str, faults: &mut Vec<SpecFault>) -> Option<Option<Allowance>> {
    let free = own.free.as_ref()?;
    let at = |key: &str| join(at, &format!("free.{key}"));
    if free.requests == 0 {
        return Some(None);
    }
    let by = match free.by.as_deref() {
        None | Some("ip") => AllowanceBy::Ip,
        Some("everyone") => AllowanceBy::Everyone,
        Some(other) => {
            let bad = words::one_of(other, "who can share an allowance", &["ip", "everyone"]);
            faults.push(SpecFault::new(at("by"), bad));
            return None;
        }
    };
    let Ok(requests) = u32::try_from(free.requests) else {
        faults.push(SpecFault::new(at("requests"), Wrong::new("it is too many", "Write price = \"free\".")));
        return None;
    };
    let Some(per) = &free.per else {
        let help = "Write free = { requests = 20, per = \"day\" }.";
        faults.push(SpecFault::new(at("per"), Wrong::new("it is missing", help)));
        return None;
    };
    let per =
        optional(Some(per), &at("per"), |text| words::span(text, Duration::from_secs(1), 366 * DAY), faults)?;
    Some(Some(Allowance { requests, per, by }))
}

fn restored(list: &[String], at: &str, faults: &mut Vec<SpecFault>) -> RestorePolicy {
    let mut ranges = Vec::new();
    for (index, text) in list.iter().enumerate() {
        ranges.extend(optional(
            Some(text),
            &join(at, &format!("restore_on[{index}]")),
            words::statuses,
            faults,
        ));
    }
    RestorePolicy::new(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_method_and_path() {
        let name = |method: Option<Method>, path: &str| {
            derived_name(method.as_ref(), &words::pattern(path).expect("a pattern")).map(|n| n.to_string())
        };
        assert_eq!(name(None, "/v1/health"), Some("v1-health".into()));
        assert_eq!(name(Some(Method::GET), "/v1/files/*"), Some("get-v1-files-all".into()));
        assert_eq!(name(None, "/v1/users/{id}/posts"), Some("v1-users-id-posts".into()));
        assert_eq!(name(None, "/"), Some("root".into()));
        assert_eq!(name(None, "/2fa"), Some("p-2fa".into()));
        assert_eq!(name(None, &format!("/{}", "a".repeat(80))), None);
    }
}
