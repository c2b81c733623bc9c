//! What each kind of value in a spec must look like. Pure: no file, no network, no environment.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

use crate::catalog::{DEFAULT_ROUTE, PathPattern, Speaks};
use crate::clock::in_words;
use crate::pricing::{Amount, NotAnAmount, Size};
use crate::request::METHODS;
use crate::types::host::canonical_host;
use crate::types::path::canonical_path;
use crate::types::{Msat, Name};

/// What is wrong with a value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl Wrong {
    /// Both.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Wrong {
        Wrong { what: what.into(), help: help.into() }
    }
}

/// The known word that was probably meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = if word.chars().count() <= 4 { 1 } else { 3 };
    let ranked = known.into_iter().map(|k| (strsim::damerau_levenshtein(word, k), k));
    ranked.filter(|(distance, _)| *distance <= allowed).min().map(|(_, k)| k)
}

/// `text` is not a word of a closed list.
pub fn one_of(text: &str, noun: &str, known: &[&str]) -> Wrong {
    let quoted: Vec<String> = known.iter().map(|k| format!("\"{k}\"")).collect();
    let help = match nearest(text, known.iter().copied()) {
        Some(meant) => format!("Did you mean \"{meant}\"?"),
        None => format!("Use one of {}.", quoted.join(", ")),
    };
    Wrong::new(format!("\"{text}\" is not {noun}"), help)
}

/// A TCP port.
///
/// # Errors
/// When it is none.
pub fn port(text: &str) -> Result<u16, Wrong> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(Wrong::new(format!("{text} is not a port"), "Use a number from 1 to 65535.")),
    }
}

/// Text that may not be empty.
///
/// # Errors
/// When it is.
pub fn filled(text: &str) -> Result<String, Wrong> {
    if text.trim().is_empty() {
        return Err(Wrong::new("it is empty", "Write a value, or leave the line out."));
    }
    Ok(text.to_owned())
}

/// A web address that paths are put behind: no query, fragment, or login in it.
///
/// # Errors
/// When it is another thing.
pub fn base_url(text: &str) -> Result<Url, Wrong> {
    let help = "Write something like \"http://127.0.0.1:9000\" or \"https://api.example.com/base\".";
    let url = Url::parse(text).map_err(|e| Wrong::new(format!("\"{text}\" is not a URL: {e}"), help))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Wrong::new(format!("\"{text}\" is not an http or https URL"), help));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new("a URL must not hold a user or password", "Put them into upstream_headers."));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new(
            format!("\"{text}\" has a query or a fragment"),
            "Leave out what follows the path.",
        ));
    }
    Ok(url)
}

/// Where a service's requests go: as [`base_url`], or `h2c://` for HTTP/2 without TLS.
///
/// # Errors
/// When it is no such address.
pub fn upstream(text: &str) -> Result<(Url, Speaks), Wrong> {
    match text.strip_prefix("h2c://") {
        Some(rest) => base_url(&format!("http://{rest}")).map(|url| (url, Speaks::Two)),
        None => base_url(text).map(|url| (url, Speaks::One)),
    }
}

/// A host name or address as a request's `Host` has it, lower-cased, without a port.
///
/// # Errors
/// When no request can name it.
pub fn host(text: &str) -> Result<String, Wrong> {
    let bad = |why: &str| {
        Wrong::new(format!("\"{text}\" is not a host name: {why}"), "Write one such as \"api.example.com\".")
    };
    let host = text.to_ascii_lowercase();
    if host.contains("://") || host.contains('/') {
        return Err(bad("leave out the scheme and the path"));
    }
    if host.starts_with('[') != host.ends_with(']') || (host.contains(':') && !host.starts_with('[')) {
        return Err(bad("leave out the port; an IPv6 address stands in brackets"));
    }
    if host.ends_with('.') {
        return Err(bad("leave out the dot at its end"));
    }
    if host.contains('*') {
        return Err(bad("a wildcard is not possible; leave `host` out to answer to any"));
    }
    canonical_host(&host)
        .map_err(|_| bad("use letters, digits, `-`, `_` and `.`, and punycode for anything else"))
}

/// What a `Host` header may say: a host, and a port where one is needed.
///
/// # Errors
/// When it is another thing.
pub fn host_and_port(text: &str) -> Result<HeaderValue, Wrong> {
    let bare = match text.rsplit_once(':') {
        Some((bare, digits)) if !digits.ends_with(']') => {
            port(digits)?;
            bare
        }
        _ => text,
    };
    host(bare)?;
    HeaderValue::from_str(text).map_err(|_| Wrong::new("it cannot stand in a header", "Write a host name."))
}

/// A path in the one spelling that admission gives to requests.
///
/// # Errors
/// When no request can have it.
pub fn path(text: &str) -> Result<String, Wrong> {
    if text.contains('*') {
        let what = format!("\"{text}\" is not a path: `*` may only stand at the end of a route's path");
        return Err(Wrong::new(what, "Write \"/v1/files/*\" for everything below /v1/files."));
    }
    if text.contains(['{', '}']) {
        let what = format!("\"{text}\" is not a path: `{{…}}` may only be a whole segment of a route's path");
        return Err(Wrong::new(what, "Write a route such as \"/v1/users/{id}/posts\"."));
    }
    canonical_path(text).map_err(|fault| {
        Wrong::new(format!("\"{text}\" is not a path: {fault}"), "Write one such as \"/v1/files\".")
    })
}

/// A path prefix, matched at segment borders; a slash at its end says nothing more.
///
/// # Errors
/// When no request can have it.
pub fn prefix(text: &str) -> Result<String, Wrong> {
    let path = path(text)?;
    Ok(if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path })
}

/// The paths of a route: `/v1/health`, `/v1/files/*` for all under it, or `/v1/users/{id}/posts`
/// where `{id}` is any one segment.
///
/// # Errors
/// When no request can have such a path.
pub fn pattern(text: &str) -> Result<PathPattern, Wrong> {
    let (body, open) = match text.strip_suffix("/*") {
        Some(body) => (body, true),
        None => (text, false),
    };
    if !body.contains(['{', '}']) {
        return match (open, body) {
            (true, "") => Ok(PathPattern::Under("/".to_owned())),
            (true, under) => prefix(under).map(PathPattern::Under),
            (false, exact) => path(exact).map(PathPattern::Exact),
        };
    }
    // Each segment is checked by itself: braces around a plain word, or a path's segment.
    let word = |segment: &str| {
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))?;
        let plain =
            !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        plain.then(|| segment.to_owned())
    };
    let bad = |why: &str| {
        Wrong::new(format!("\"{text}\" is not a path: {why}"), "Write one such as \"/v1/users/{id}/posts\".")
    };
    let rest = body.strip_prefix('/').ok_or_else(|| bad("the path does not start with `/`"))?;
    let mut canonical = String::new();
    for segment in rest.split('/') {
        canonical.push('/');
        match word(segment) {
            Some(word) => canonical.push_str(&word),
            None => canonical.push_str(&path(&format!("/{segment}"))?[1..]),
        }
    }
    if canonical.contains("//") || (open && canonical.ends_with('/')) {
        return Err(bad("the path has an empty segment"));
    }
    canonical.push_str(if open { "/*" } else { "" });
    Ok(PathPattern::Template(canonical))
}

/// An amount that is not nothing.
///
/// # Errors
/// When it is no amount, too large, or zero.
pub fn amount(text: &str) -> Result<Amount, Wrong> {
    let help = "Write \"50 sat\", \"250 msat\" or \"0.002 USD\".";
    match text.parse::<Amount>() {
        Ok(amount) if amount.is_zero() => {
            Err(Wrong::new("a price of zero", "Write \"free\" when nothing is to be paid."))
        }
        Ok(amount) => Ok(amount),
        Err(NotAnAmount::TooLarge(_)) => {
            Err(Wrong::new(format!("\"{text}\" is more than 21 million bitcoin"), help))
        }
        Err(NotAnAmount::Unit(_)) => Err(Wrong::new(
            format!("\"{text}\" is not in a unit of money"),
            "Use sat, msat or a currency's three capital letters: \"50 sat\", \"250 msat\", \"0.002 USD\" or \"free\".",
        )),
        Err(NotAnAmount::Syntax(_)) if is_number(text.trim()) => {
            Err(Wrong::new(format!("\"{text}\" has no unit"), format!("Write \"{} sat\".", text.trim())))
        }
        Err(NotAnAmount::Syntax(_)) => Err(Wrong::new(
            format!("\"{text}\" is not a price"),
            "Write \"50 sat\", \"250 msat\", \"0.002 USD\" or \"free\".",
        )),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// An amount of bitcoin that is not nothing: one that needs no rate.
///
/// # Errors
/// When it is another thing.
pub fn msat(text: &str) -> Result<Msat, Wrong> {
    match amount(text)? {
        Amount::Msat(msat) => Ok(msat),
        Amount::Fiat(_) => Err(Wrong::new(
            format!("\"{text}\" needs an exchange rate"),
            "Write it in sat or msat: it must be there when there is no rate.",
        )),
    }
}

/// A span of time, such as `15m` or `1 day`, of whole seconds from `least` to `most`.
///
/// # Errors
/// When it is none, or outside.
pub fn span(text: &str, least: Duration, most: Duration) -> Result<Duration, Wrong> {
    let help = "Write it such as \"90s\", \"15m\", \"24h\", \"1 day\" or \"30 days\".";
    // `per = "day"` is one day.
    let counted = if text.trim().starts_with(|c: char| c.is_ascii_alphabetic()) {
        format!("1 {}", text.trim())
    } else {
        text.to_owned()
    };
    let span = humantime::parse_duration(&counted)
        .map_err(|_| Wrong::new(format!("\"{text}\" is not a span of time"), help))?;
    if span.subsec_nanos() != 0 {
        return Err(Wrong::new(format!("\"{text}\" is not in whole seconds"), help));
    }
    if span < least || span > most {
        let (least, most) = (in_words(least), in_words(most));
        return Err(Wrong::new(format!("\"{text}\" is not between {least} and {most}"), help));
    }
    Ok(span)
}

/// An amount of bytes, such as `10 MB`.
///
/// # Errors
/// When it is none, or nothing.
pub fn size(text: &str) -> Result<Size, Wrong> {
    match text.parse::<Size>() {
        Ok(size) if size.bytes() > 0 => Ok(size),
        _ => Err(Wrong::new(
            format!("\"{text}\" is not an amount of bytes"),
            "Write a whole number and a unit, such as \"500 kB\", \"10 MB\" or \"1 GiB\".",
        )),
    }
}

/// A status or statuses: `404`, `5xx` or `400-499`.
///
/// # Errors
/// When it is none.
pub fn statuses(text: &str) -> Result<(u16, u16), Wrong> {
    let bad = || Wrong::new(format!("\"{text}\" is not a status"), "Write \"404\", \"5xx\" or \"400-499\".");
    let one = |text: &str| text.parse::<u16>().ok().filter(|status| (200..=599).contains(status));
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => {
            class.parse::<u16>().ok().filter(|c| (2..=5).contains(c)).map(|c| (c * 100, c * 100 + 99))
        }
        (None, Some((from, to))) => one(from.trim()).zip(one(to.trim())).filter(|(from, to)| from <= to),
        (None, None) => one(text).map(|status| (status, status)),
    };
    let range = range.ok_or_else(bad)?;
    if (range.0..=range.1).contains(&200) {
        let what = format!("\"{text}\" has 200 in it: the usual answer would cost nothing, again and again");
        return Err(Wrong::new(
            what,
            "Name failures, such as \"404\"; what is to cost nothing has price = \"free\".",
        ));
    }
    Ok(range)
}

/// A method that a route can have.
///
/// # Errors
/// When it is none that passes.
pub fn method(text: &str) -> Result<Method, Wrong> {
    if let Some(method) = METHODS.iter().find(|m| m.as_str() == text) {
        return Ok(method.clone());
    }
    let known: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
    let upper = text.to_ascii_uppercase();
    Err(match known.iter().find(|k| **k == upper) {
        Some(meant) => {
            Wrong::new(format!("\"{text}\" is not a method"), format!("Did you mean \"{meant}\"?"))
        }
        None => one_of(text, "a method", &known),
    })
}

/// A service's, route's or offer's name.
///
/// # Errors
/// When it is none.
pub fn name(text: &str) -> Result<Name, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(
            format!("\"{text}\" is not a name"),
            "Use 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter.",
        )
    })
}

/// A route's name, which is not the name of what no route covers.
///
/// # Errors
/// When it is none.
pub fn route_name(text: &str) -> Result<Name, Wrong> {
    if text == DEFAULT_ROUTE {
        let what = format!("`{DEFAULT_ROUTE}` is the name of what no route covers");
        return Err(Wrong::new(what, "Choose another name."));
    }
    name(text)
}

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

/// A header that an operator may set for the upstream.
///
/// # Errors
/// When it is none, or not the operator's to set.
pub fn header_name(text: &str) -> Result<HeaderName, Wrong> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Wrong::new(format!("\"{text}\" is not a header's name"), "Use letters, digits and `-`.")
    })?;
    if name == http::header::HOST {
        return Err(Wrong::new("the host has its own setting", "Use upstream_host."));
    }
    if FRAMING.contains(&name.as_str()) {
        return Err(Wrong::new("this header belongs to the connection, not to you", "Leave it out."));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_cased_and_bare() {
        assert_eq!(host("API.Example.com"), Ok("api.example.com".into()));
        assert_eq!(host("[::1]"), Ok("[::1]".into()));
        assert_eq!(host("127.0.0.1"), Ok("127.0.0.1".into()));
        for bad in ["", "a:80", "a.", "a..b", "-a", "a-", "http://a", "a/b", "*.a", "é", "[::x]"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_can_be_read_one_way_only() {
        assert_eq!(prefix("/v1/"), Ok("/v1".into()));
        assert_eq!(prefix("/"), Ok("/".into()));
        assert_eq!(pattern("/v1/files/*"), Ok(PathPattern::Under("/v1/files".into())));
        assert_eq!(pattern("/*"), Ok(PathPattern::Under("/".into())));
        assert_eq!(pattern("/v1/health"), Ok(PathPattern::Exact("/v1/health".into())));
        assert_eq!(pattern("/é"), Ok(PathPattern::Exact("/%C3%A9".into())), "as requests spell it");
        for bad in [
            "", "v1", "/a/../b", "/./a", "//a", "/a//b", "/a?b", "/a#b", "/a\\b", "/%2e/a", "/a%2fb",
            "/a/*/b", "/a*",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_are_never_zero_by_accident() {
        for bad in
            ["0 sat", "0 msat", "0.00 USD", "", "5", "-1 sat", "free", "1.5 sat", "2100000000000001 sat"]
        {
            assert!(amount(bad).is_err(), "{bad}");
        }
        assert!(msat("5 sat").is_ok() && msat("5 USD").is_err());
        assert_eq!(msat("5 sats"), msat("5 sat"));
        // Five of what, sats or cents? Only the operator knows.
        assert_eq!(amount(" 5 ").unwrap_err().help, "Write \"5 sat\".");
    }

    #[test]
    fn times_sizes_and_statuses_are_as_people_write_them() {
        let (second, year) = (Duration::from_secs(1), Duration::from_secs(366 * 86_400));
        for (text, secs) in
            [("day", 86_400), ("1 day", 86_400), ("15m", 900), ("1h 30m", 5_400), ("30 days", 2_592_000)]
        {
            assert_eq!(span(text, second, year).map(|span| span.as_secs()), Ok(secs), "{text}");
        }
        for bad in ["", "5", "soon", "0s", "1500ms", "2 years", "-1h"] {
            assert!(span(bad, second, year).is_err(), "{bad}");
        }
        assert_eq!(
            (statuses("404"), statuses("5xx"), statuses("400-499")),
            (Ok((404, 404)), Ok((500, 599)), Ok((400, 499)))
        );
        for bad in ["", "6xx", "99", "1xx", "499-400", "4x4"] {
            assert!(statuses(bad).is_err(), "{bad}");
        }
    }
}
