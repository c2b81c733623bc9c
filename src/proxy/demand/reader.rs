//! Who reads a 402, as the request's `Accept` says it (RFC 9110 §12.5.1).
//!
//! Invariant: only who names HTML, and does not want JSON as much, gets a page: `*/*` is a program.

use http::HeaderMap;
use http::header::ACCEPT;

/// The longest header value that is looked into, in bytes.
const MAX_VALUE_BYTES: usize = 1_024;

/// Who reads the 402.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Reader {
    /// A program: problem details.
    Program,
    /// A person: the pay page.
    Browser,
}

impl Reader {
    /// Whoever sent `headers`.
    pub(in crate::proxy) fn of(headers: &HeaderMap) -> Reader {
        let (mut html, mut json, mut any) = (0, 0, 0);
        let lines = headers.get_all(ACCEPT).into_iter().filter(|line| line.len() <= MAX_VALUE_BYTES);
        for range in lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
            let (media, weight) = weighed(range);
            let place = match media.as_str() {
                "text/html" | "application/xhtml+xml" => &mut html,
                "application/json" | "application/problem+json" => &mut json,
                "*/*" | "application/*" => &mut any,
                _ => continue,
            };
            *place = weight.max(*place);
        }
        // Who would take anything, and HTML as well as anything, named HTML for a reason.
        if html > 0 && html > json && html >= any { Reader::Browser } else { Reader::Program }
    }
}

/// A media range in small letters, and its weight in thousandths.
fn weighed(range: &str) -> (String, u16) {
    let mut parts = range.split(';');
    let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    (media, weight.unwrap_or(1_000))
}

/// A `qvalue` in thousandths; nothing for what is none.
fn thousandths(value: &str) -> u16 {
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let part = match part.len() {
        0..=3 if part.bytes().all(|digit| digit.is_ascii_digit()) => format!("{part:0<3}"),
        _ => return 0,
    };
    match (whole, part.parse()) {
        ("1", Ok(0)) => 1_000,
        ("0", Ok(part)) => part,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(lines: &[&str]) -> Reader {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_str(line).unwrap());
        }
        Reader::of(&headers)
    }

    #[test]
    fn browsers_get_the_page_and_programs_the_problem() {
        let long = format!("text/html,{}", "a".repeat(1_024));
        for (lines, expected) in [
            // Firefox, Chromium, Safari; an old Internet Explorer; lynx.
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"] as &[_], Reader::Browser),
            (
                &[
                    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                ],
                Reader::Browser,
            ),
            (&["text/html, application/xhtml+xml, */*"], Reader::Browser),
            (&["text/html, text/plain, text/sgml, text/css, */*;q=0.01"], Reader::Browser),
            (&["TEXT/HTML ; Q = 0.9 , application/json;q=0.8"], Reader::Browser),
            (&["application/json;q=0.5", "text/html"], Reader::Browser),
            // curl, fetch, axios, requests; none at all.
            (&["*/*"], Reader::Program),
            (&["application/json, text/plain, */*"], Reader::Program),
            (&[], Reader::Program),
            (&["text/event-stream"], Reader::Program),
            // Whoever wants both as much is a program that also reads HTML.
            (&["text/html, application/json"], Reader::Program),
            (&["text/html;q=0.5, application/problem+json"], Reader::Program),
            (&["text/html;q=0.8, */*"], Reader::Program),
            (&["text/html;q=0"], Reader::Program),
            (&["text/html;q=x"], Reader::Program),
            (&["text/html;q=2"], Reader::Program),
            (&["text/html;q=1.001"], Reader::Program),
            (&[&long], Reader::Program),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "[ -~]{0,80}", near in "(text/html|\\*/\\*)[;,q=0-9. ]{0,30}") {
            of(&[&text, &near]);
        }
    }
}
