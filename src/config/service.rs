//! Reads `[[service]]` and `[[service.route]]` into the catalogue's types.
//!
//! An upstream's API key may stand in the environment; it goes into a header's value and nowhere else.

use std::ops::Range;

use http::{HeaderName, HeaderValue, Method};
use toml::Spanned;
use toml::de::DeValue;

use super::document::{Section, not_a};
use super::layer::Environment;
use super::problem::{Bad, Problem};
use super::value;
use crate::catalog::{DEFAULT_ROUTE, PathPattern, Route, Service, Upstream};
use crate::types::Name;
use crate::types::path::lies_under;

/// Headers that say how one connection frames one message: the proxy sets them itself.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What two services must not have in common, and the line that this one begins on.
struct Claim {
    name: Option<Name>,
    /// Host and path; `None` when either is wrong.
    requests: Option<(Option<String>, String)>,
    span: Range<usize>,
}

/// Reads every service; those without a problem are returned.
pub(crate) fn read_all(
    top: &mut Section<'_, '_>,
    env: &Environment,
    problems: &mut Vec<Problem>,
) -> Vec<Service> {
    let mut services = Vec::new();
    let mut claims: Vec<Claim> = Vec::new();
    for mut section in top.sections("service") {
        let (claim, service) = read_one(&mut section, env, problems);
        for earlier in &claims {
            if let Some((key, what)) = clash(earlier, &claim) {
                let at = section.value(key).map(Spanned::span);
                let what = format!("{what} (on {})", section.source_of(&earlier.span));
                let help = "Give each service its own name, and its own host or path.";
                section.complain(key, at, Bad::new(what, help));
                break;
            }
        }
        claims.push(claim);
        services.extend(service);
        problems.extend(section.finish());
    }
    services
}

/// Why two services cannot both be.
fn clash(earlier: &Claim, later: &Claim) -> Option<(&'static str, String)> {
    let name = earlier.name.as_ref()?;
    if later.name.as_ref() == Some(name) {
        return Some(("name", format!("another service has the name `{name}`")));
    }
    (earlier.requests.is_some() && earlier.requests == later.requests)
        .then(|| ("path", format!("service `{name}` matches the same requests")))
}

fn read_one(
    section: &mut Section<'_, '_>,
    env: &Environment,
    problems: &mut Vec<Problem>,
) -> (Claim, Option<Service>) {
    let name = required(section, "name", value::name);
    if let Some(name) = &name {
        section.rename(format!("service.{name}"));
    }
    let before = section.problem_count();
    let host = section.parsed("host", value::host).map(|(host, _)| host);
    let path = section.parsed("path", value::prefix).map(|(path, _)| path);
    // When the path is wrong, what depends on it is read as if all paths were meant.
    let path = path.unwrap_or_else(|| "/".to_owned());
    let requests = (section.problem_count() == before).then(|| (host.clone(), path.clone()));
    let claim = Claim { name: name.clone(), requests, span: section.span() };

    let price = required(section, "price", value::price);
    let base = required(section, "upstream", value::base_url);
    let strip_prefix = section.parsed("strip_prefix", |text| {
        let strip = value::prefix(text)?;
        if lies_under(&path, &strip) {
            return Ok(strip);
        }
        Err(Bad::new(
            format!("not every request of this service begins with \"{strip}\""),
            format!("Use a prefix of the service's path, \"{path}\"."),
        ))
    });
    let upstream_host = section.parsed("upstream_host", value::host_and_port).map(|(host, _)| host);
    let headers = read_headers(section, env);
    let routes = read_routes(section, &path, problems);
    let service = match (name, price, base) {
        (Some(name), Some(price), Some(base)) => {
            let upstream = Upstream {
                base,
                strip_prefix: strip_prefix.map(|(strip, _)| strip).filter(|strip| strip != "/"),
                host: upstream_host,
                headers,
            };
            Some(Service { host, routes, ..Service::new(name, &path, price, upstream) })
        }
        _ => None,
    };
    (claim, service)
}

fn required<T>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, Bad>,
) -> Option<T> {
    if section.value(key).is_none() {
        let example = match key {
            "name" => "name = \"rates\"",
            "price" => "price = \"50 sat\"",
            "upstream" => "upstream = \"http://127.0.0.1:9000\"",
            _ => "path = \"/v1/files/*\"",
        };
        section.complain(key, None, Bad::new("it is missing", format!("Add a line such as {example}.")));
    }
    section.parsed(key, parse).map(|(value, _)| value)
}

fn read_headers(section: &mut Section<'_, '_>, env: &Environment) -> Vec<(HeaderName, HeaderValue)> {
    let Some(whole) = section.value("upstream_headers") else { return Vec::new() };
    let help = "Write upstream_headers = { Authorization = { env = \"UPSTREAM_KEY\" }, X-Plan = \"gold\" }.";
    let Some(table) = whole.get_ref().as_table() else {
        section.complain("upstream_headers", Some(whole.span()), not_a("a table", help, whole.get_ref()));
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (key, value) in table {
        match header_name(key.get_ref()).map_err(|bad| (bad, key.span())).and_then(|name| {
            let text = header_text(value, env)?;
            let mut held = HeaderValue::from_str(&text).map_err(|_| {
                (Bad::new("its value cannot stand in a header", "Use visible ASCII."), value.span())
            })?;
            held.set_sensitive(true);
            Ok((name, held))
        }) {
            Ok(header) => headers.push(header),
            Err((bad, span)) => {
                section.complain(&format!("upstream_headers.{}", key.get_ref()), Some(span), bad);
            }
        }
    }
    headers
}

fn header_name(text: &str) -> Result<HeaderName, Bad> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Bad::new(format!("\"{text}\" is not a header's name"), "Use letters, digits and `-`.")
    })?;
    if name == http::header::HOST {
        return Err(Bad::new("the host has its own setting", "Use upstream_host."));
    }
    if FRAMING.contains(&name.as_str()) {
        return Err(Bad::new("this header belongs to the connection, not to you", "Leave it out."));
    }
    Ok(name)
}

/// A literal, or `{ env = "NAME", prefix = "Bearer " }`.
fn header_text(value: &Spanned<DeValue<'_>>, env: &Environment) -> Result<String, (Bad, Range<usize>)> {
    let help = "Write a string, or { env = \"UPSTREAM_KEY\", prefix = \"Bearer \" }.";
    if let Some(text) = value.get_ref().as_str() {
        return Ok(text.to_owned());
    }
    let wrong = || (not_a("a string or a table", help, value.get_ref()), value.span());
    let table = value.get_ref().as_table().ok_or_else(wrong)?;
    if let Some((key, _)) = table.iter().find(|(key, _)| !matches!(key.get_ref().as_ref(), "env" | "prefix"))
    {
        return Err((Bad::new(format!("`{}` is not known here", key.get_ref()), help), key.span()));
    }
    let text_of = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(item) => match item.get_ref().as_str() {
            Some(text) => Ok(Some((text, item.span()))),
            None => Err((not_a("a string", help, item.get_ref()), item.span())),
        },
    };
    let prefix = text_of("prefix")?.map_or("", |(text, _)| text);
    let (variable, span) =
        text_of("env")?.ok_or_else(|| (Bad::new("`env` is missing", help), value.span()))?;
    let secret = env.get(variable).ok_or_else(|| {
        let what = format!("the environment variable {variable} is not set");
        (Bad::new(what, "Set it where tollhouse starts, or write the value itself."), span)
    })?;
    Ok(format!("{prefix}{secret}"))
}

fn read_routes(section: &mut Section<'_, '_>, service_path: &str, problems: &mut Vec<Problem>) -> Vec<Route> {
    let mut routes: Vec<(Route, Range<usize>)> = Vec::new();
    for mut section in section.sections("route") {
        let line_span = section.span();
        let method = section.parsed("method", value::method).map(|(method, _)| method);
        let path = required(&mut section, "path", |text| {
            let pattern = value::pattern(text)?;
            let (PathPattern::Exact(at) | PathPattern::Under(at)) = &pattern;
            if lies_under(at, service_path) {
                return Ok(pattern);
            }
            Err(Bad::new(
                format!("\"{text}\" is outside the service's path, \"{service_path}\""),
                "Write the path as the client sends it, before any prefix is stripped.",
            ))
        });
        let price = required(&mut section, "price", value::price);
        let name = match section.value("name") {
            Some(_) => section.parsed("name", value::route_name).map(|(name, _)| name),
            None => path.as_ref().and_then(|path| {
                let derived = derived_name(method.as_ref(), path);
                if derived.is_none() {
                    let help = "Add a line such as name = \"files\".";
                    section.complain("name", None, Bad::new("no name can be made from the path", help));
                }
                derived
            }),
        };
        if let (Some(name), Some(path), Some(price)) = (name, path, price) {
            let route = Route::new(name, method, path, price);
            match routes.iter().find_map(|(r, at)| route_clash(r, &route).map(|(k, w)| (k, w, at.clone()))) {
                Some((key, what, earlier)) => {
                    let at = section.value(key).map(Spanned::span);
                    let what = format!("{what} (on {})", section.source_of(&earlier));
                    section.complain(
                        key,
                        at,
                        Bad::new(what, "Give each its own name, and its own method or path."),
                    );
                }
                None => routes.push((route, line_span)),
            }
        }
        problems.extend(section.finish());
    }
    routes.into_iter().map(|(route, _)| route).collect()
}

fn route_clash(earlier: &Route, later: &Route) -> Option<(&'static str, String)> {
    if earlier.name == later.name {
        return Some(("name", format!("another route of this service has the name `{}`", later.name)));
    }
    (earlier.method == later.method && earlier.path == later.path)
        .then(|| ("path", format!("route `{}` matches the same requests", earlier.name)))
}

/// A name that stays the same as long as the method and the path do: `GET /v1/files/*` is
/// `get-v1-files-all`.
fn derived_name(method: Option<&Method>, path: &PathPattern) -> Option<Name> {
    let (path, end) = match path {
        PathPattern::Exact(path) => (path, None),
        PathPattern::Under(path) => (path, Some("all")),
    };
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
            derived_name(method.as_ref(), &value::pattern(path).expect("a pattern")).map(|n| n.to_string())
        };
        assert_eq!(name(None, "/v1/health"), Some("v1-health".into()));
        assert_eq!(name(Some(Method::GET), "/v1/files/*"), Some("get-v1-files-all".into()));
        assert_eq!(name(None, "/"), Some("root".into()));
        assert_eq!(name(None, "/2fa"), Some("p-2fa".into()));
        assert_eq!(name(None, &format!("/{}", "a".repeat(80))), None);
    }
}
