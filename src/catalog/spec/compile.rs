//! From a spec to the service that is sold, or to everything that is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::fields::join;
use super::samples::tried;
use super::terms::{Built, optional, terms};
use super::words::{self, Wrong};
use super::{HeaderSpec, RouteSpec, Spec, SpecFault};
use crate::catalog::{
    About, BrowserUnlock, DEFAULT_ROUTE, Dialects, Mode, PathPattern, Route, RouteTable, Service, Speaks,
    Terms, Timeouts, Upstream,
};
use crate::types::Name;
use crate::types::path::lies_under;

/// A connection that takes longer, in seconds, is none.
const LONGEST_CONNECT: u64 = 10;

/// Nobody waits longer for an answer, in seconds.
const LONGEST_WAIT: u64 = 3_600;

/// Looks a variable of the environment up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why two services cannot both be: the setting of the later one, and what is wrong.
pub fn clash(earlier: &Service, later: &Service) -> Option<(&'static str, String)> {
    let name = &earlier.name;
    if later.name == *name {
        return Some(("name", format!("another service has the name `{name}`")));
    }
    (earlier.host == later.host && earlier.path == later.path)
        .then(|| ("path", format!("service `{name}` matches the same requests")))
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
        let upstream =
            needed(self.upstream.as_deref().unwrap_or_default(), "upstream", words::upstream, faults);
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
        if upstream_host.is_some() && upstream.as_ref().is_some_and(|(_, speaks)| *speaks == Speaks::Two) {
            let wrong = Wrong::new(
                "over HTTP/2 the host is the upstream's own",
                "Leave it out, or write http:// for HTTP/1.1.",
            );
            faults.push(SpecFault::new("upstream_host", wrong));
        }
        let openapi = optional(self.openapi.as_deref(), "openapi", words::path, faults);
        let dialects = self.dialects(faults);
        let headers = self.headers(env, faults);
        let timeouts = self.timeouts(faults);

        let default = words::name(DEFAULT_ROUTE).expect("the default route's name is a name");
        let built = terms(&self.terms, None, "", &default, faults);
        let routes = self.routes(&path, built.as_ref(), faults);
        let (base, speaks) = upstream?;
        let upstream = Upstream {
            base,
            speaks,
            strip_prefix: strip_prefix.filter(|strip| strip != "/"),
            host: upstream_host,
            headers,
            timeouts,
        };
        Some(Service {
            name: name?,
            host,
            path,
            mode: mode?,
            unlock: match self.browser_unlock {
                Some(true) => BrowserUnlock::On,
                Some(false) | None => BrowserUnlock::Off,
            },
            about: About { title: self.title.clone(), description: self.description.clone(), openapi },
            dialects,
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

    fn dialects(&self, faults: &mut Vec<SpecFault>) -> Dialects {
        let Some(wanted) = &self.dialects else { return Dialects::default() };
        for (index, word) in wanted.iter().enumerate().filter(|(_, w)| !Dialects::WORDS.contains(&w.as_str()))
        {
            let bad = words::one_of(word, "a dialect", &Dialects::WORDS);
            faults.push(SpecFault::new(format!("dialects[{index}]"), bad));
        }
        if wanted.is_empty() {
            let help = "Leave the line out for [\"l402\", \"payment\"].";
            faults.push(SpecFault::new("dialects", Wrong::new("a 402 that says no price", help)));
        }
        Dialects::of(wanted.iter().map(String::as_str))
    }

    fn timeouts(&self, faults: &mut Vec<SpecFault>) -> Timeouts {
        let said = self.timeouts.clone().unwrap_or_default();
        let mut one = |text: Option<String>, key: &str, most: u64| {
            let span = |text: &str| words::span(text, Duration::from_secs(1), Duration::from_secs(most));
            optional(text.as_deref(), &join("timeouts", key), span, faults)
        };
        Timeouts {
            connect: one(said.connect, "connect", LONGEST_CONNECT),
            header: one(said.header, "header", LONGEST_WAIT),
            idle: one(said.idle, "idle", LONGEST_WAIT),
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
