//! Where a person lands once the password was said: on the page that was asked for.
//!
//! Invariant (an open redirect would lend this address to a stranger's page): what comes out is the path of a page
//! of ours, as it stands in an address. It begins with one slash, holds nothing that a browser drops or reads as
//! another host's beginning, and names no door, no API and no file.

use http::request::Parts;
use http::{Method, Uri};
use url::form_urlencoded;

/// The longest address that is kept, in bytes.
const LONGEST: usize = 1_024;
/// What no page's address begins with: the doors themselves, programs' addresses, files.
const NO_PAGES: [&str; 7] = ["login", "logout", "claim", "unlock", "seed", "api", "static"];

/// A page of ours to land on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing(String);

impl Landing {
    /// Reads what a stranger may have written; `None` of what is no page of ours.
    pub fn read(text: &str) -> Option<Landing> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let first = path.strip_prefix('/')?.split('/').next()?;
        let whole = text.len() <= LONGEST
            && path.bytes().all(in_path)
            && query.bytes().all(|byte| in_path(byte) || matches!(byte, b'/' | b'?'))
            && escapes(path)?.chars().all(|char| !char.is_control() && !matches!(char, '/' | '\\'))
            && escapes(query)?.chars().all(|char| !char.is_control())
            && segments_are_plain(path)
            && !NO_PAGES.contains(&first);
        whole.then(|| Landing(text.to_owned()))
    }

    /// The address, as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes that a path may hold as they are.
const fn in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'-' | b'.' | b'_' | b'~' | b'%' | b'+' | b'=' | b'&' | b':' | b',' | b'@' | b'*'
        )
}

/// What is written in escapes, all of it together; `None` where one is broken or they are no text.
fn escapes(text: &str) -> Option<String> {
    let bytes = text.split('%').skip(1).map(|rest| {
        let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u8::from_str_radix(digits, 16).ok()
    });
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

/// Whether no segment is empty, but for what follows a last slash, and none leads up.
fn segments_are_plain(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    segments.iter().enumerate().all(|(at, segment)| {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        (at == last || !segment.is_empty()) && !matches!(dots.as_str(), "." | "..")
    })
}

/// The address of the login page for who sent this request without a session: it leads to the page that was asked
/// for, and of a form to its address, where there is a page or the way to one.
pub(super) fn login(parts: &Parts) -> String {
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    // What a page's script asks for is a part of a page.
    let by_a_script = parts.headers.get("sec-fetch-dest").is_some_and(|dest| dest == "empty");
    let asked = if reads { path_and_query(&parts.uri) } else { parts.uri.path() };
    let landing = Landing::read(asked).filter(|landing| !by_a_script && landing.as_str() != "/");
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(landing) = &landing {
        query.append_pair("to", landing.as_str());
    }
    if !reads {
        query.append_pair("undone", "yes");
    }
    match query.finish() {
        empty if empty.is_empty() => "/login".to_owned(),
        query => format!("/login?{query}"),
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_ours_are_landed_on() {
        for page in [
            "/",
            "/tokens",
            "/tokens?search=a%20b&state=live",
            "/payments/00ff",
            "/services/%6eew",
            "/services/new/",
            "/lightning/channels/ab/close",
            "/revenue?from=2026-01-01T00:00:00Z",
            "/tokens?search=caf%C3%A9*",
        ] {
            assert_eq!(Landing::read(page).as_ref().map(Landing::as_str), Some(page), "{page}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for stranger in [
            "",
            "tokens",
            "evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\\/evil.example",
            "https://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "%2f%2fevil.example",
            "/%2fevil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/%5Cevil.example",
            "/tokens//evil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/%2e%2e/evil",
            "/%2E./evil",
            "/./tokens",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nset-cookie: a=b",
            "/%0d%0aset-cookie:%20a=b",
            "/tokens?search=%0a",
            "/\0",
            "/%00",
            "/%09/evil.example",
            "/\u{7f}",
            " /tokens",
            "/tokens ",
            "/\u{2028}/evil.example",
            "/tokens#<script>",
            "/tokens?a=<script>",
            "/tokens?a=\"",
            "/100%",
            "/%zz",
            "/%ff",
            "/login",
            "/login?to=/",
            "/logout",
            "/claim?token=x",
            "/api/v1/status",
            "/static/live.js",
        ] {
            assert_eq!(Landing::read(stranger), None, "{stranger:?}");
        }
        assert_eq!(Landing::read(&format!("/{}", "a".repeat(LONGEST))), None);
    }

    #[test]
    fn a_login_leads_back_to_what_was_asked_for() {
        let login = |method: &str, uri: &str, dest: &str| {
            let request = http::Request::builder().method(method).uri(uri).header("sec-fetch-dest", dest);
            login(&request.body(()).expect("a request").into_parts().0)
        };
        for (method, uri, to) in [
            ("GET", "/", "/login"),
            ("GET", "/tokens?state=live", "/login?to=%2Ftokens%3Fstate%3Dlive"),
            ("GET", "//evil.example", "/login"),
            ("POST", "/coins/send?x=1", "/login?to=%2Fcoins%2Fsend&undone=yes"),
            ("POST", "/services/a/mode", "/login?to=%2Fservices%2Fa%2Fmode&undone=yes"),
        ] {
            assert_eq!(login(method, uri, "document"), to, "{method} {uri}");
        }
        assert_eq!(login("GET", "/live", "empty"), "/login", "a part of a page is none");
    }
}
