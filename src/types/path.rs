//! The one spelling of a path, so that what is priced is what is forwarded (THREATS 8).
//!
//! Two spellings that any server might take for the same resource either become the same canonical
//! text here or are refused. Every octet has exactly one spelling: what may stand in a path stands
//! raw, everything else is `%XX` with upper-case digits.

use std::fmt::Write;

use thiserror::Error;

/// Longest path that is looked at, in bytes.
pub const MAX_PATH_BYTES: usize = 8 * 1024;

/// Why a path is refused: each names a trick by which two servers read one path differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathFault {
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than 8 KiB")]
    TooLong,
    /// No leading `/`.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// `.` or `..` as a segment, or an encoded dot anywhere.
    #[error("the path has a dot segment or an encoded dot")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// An encoded `/`.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// A backslash, raw or encoded.
    #[error("the path has a backslash")]
    Backslash,
    /// `;`, raw or encoded: some servers cut a segment there.
    #[error("the path has a semicolon")]
    Semicolon,
    /// A control character, raw or encoded.
    #[error("the path has a control character")]
    Control,
    /// `%` without two hexadecimal digits.
    #[error("the path has a broken percent escape")]
    BadEscape,
    /// An escape of an escape: a server that decodes twice would see another path.
    #[error("the path is percent-encoded twice")]
    DoubleEscape,
    /// The decoded octets are not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// `?` or `#`: not part of a path.
    #[error("the path has a query or a fragment")]
    NotAPath,
}

/// The canonical spelling of `path`; canonical text comes back as it was.
///
/// # Errors
/// When servers could read the path in more than one way.
pub fn canonical_path(path: &str) -> Result<String, PathFault> {
    if path.len() > MAX_PATH_BYTES {
        return Err(PathFault::TooLong);
    }
    let decoded = decode(path.as_bytes())?;
    if decoded.first() != Some(&b'/') {
        return Err(PathFault::NotAbsolute);
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(PathFault::NotUtf8);
    }
    let segments: Vec<&[u8]> = decoded[1..].split(|b| *b == b'/').collect();
    let last = segments.len() - 1;
    for (index, segment) in segments.into_iter().enumerate() {
        match segment {
            b"." | b".." => return Err(PathFault::DotSegment),
            b"" if index != last => return Err(PathFault::EmptySegment),
            _ => {}
        }
    }
    let path = encode(&decoded);
    // Raw octets beyond ASCII have grown threefold.
    if path.len() > MAX_PATH_BYTES { Err(PathFault::TooLong) } else { Ok(path) }
}

/// Decodes every escape, and refuses those that hide a separator.
fn decode(path: &[u8]) -> Result<Vec<u8>, PathFault> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let byte = match first {
            b'%' => {
                let byte = escaped(tail).ok_or(PathFault::BadEscape)?;
                match byte {
                    b'/' => return Err(PathFault::EncodedSlash),
                    b'.' => return Err(PathFault::DotSegment),
                    _ => {}
                }
                rest = &tail[2..];
                byte
            }
            b'?' | b'#' => return Err(PathFault::NotAPath),
            raw => {
                rest = tail;
                raw
            }
        };
        match byte {
            b'\\' => return Err(PathFault::Backslash),
            b';' => return Err(PathFault::Semicolon),
            0..=0x1f | 0x7f => return Err(PathFault::Control),
            _ => decoded.push(byte),
        }
    }
    // Of what was decoded, for the digits may have been escaped as well: `%25%32%65`.
    if decoded.windows(3).any(|octets| octets[0] == b'%' && escaped(&octets[1..]).is_some()) {
        return Err(PathFault::DoubleEscape);
    }
    Ok(decoded)
}

/// The octet of two hexadecimal digits at the front of `digits`.
fn escaped(digits: &[u8]) -> Option<u8> {
    let pair = digits.get(..2)?;
    let mut octet = [0u8; 1];
    hex::decode_to_slice(pair, &mut octet).ok()?;
    Some(octet[0])
}

/// Writes what RFC 3986 lets stand in a path raw, and the rest as `%XX`.
fn encode(decoded: &[u8]) -> String {
    let mut path = String::with_capacity(decoded.len());
    for &byte in decoded {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => path.push(char::from(byte)),
            b'/' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => path.push(char::from(byte)),
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' => {
                path.push(char::from(byte));
            }
            _ => write!(path, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    path
}

/// Whether `path` is `prefix` or lies under it, at a segment border; both canonical.
pub fn lies_under(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tricks_are_refused() {
        for (path, fault) in [
            ("", PathFault::NotAbsolute),
            ("*", PathFault::NotAbsolute),
            ("paid", PathFault::NotAbsolute),
            ("/free/../paid", PathFault::DotSegment),
            ("/free/..", PathFault::DotSegment),
            ("/./paid", PathFault::DotSegment),
            ("/%2e%2e/paid", PathFault::DotSegment),
            ("/%2E/paid", PathFault::DotSegment),
            ("/a.%2e/paid", PathFault::DotSegment),
            ("//paid", PathFault::EmptySegment),
            ("/free//paid", PathFault::EmptySegment),
            ("/free%2fpaid", PathFault::EncodedSlash),
            ("/free%2Fpaid", PathFault::EncodedSlash),
            ("/free\\paid", PathFault::Backslash),
            ("/free%5cpaid", PathFault::Backslash),
            ("/paid;x", PathFault::Semicolon),
            ("/free/..;/paid", PathFault::Semicolon),
            ("/paid%3bx", PathFault::Semicolon),
            ("/paid%00", PathFault::Control),
            ("/paid%0d%0aX:%20y", PathFault::Control),
            ("/paid%7f", PathFault::Control),
            ("/paid%", PathFault::BadEscape),
            ("/paid%2", PathFault::BadEscape),
            ("/paid%zz", PathFault::BadEscape),
            ("/free/%252e%252e/paid", PathFault::DoubleEscape),
            ("/free/%25%32%65%25%32%65/paid", PathFault::DoubleEscape),
            ("/free/%252%65/paid", PathFault::DoubleEscape),
            ("/%c0%ae", PathFault::NotUtf8),
            ("/%ff", PathFault::NotUtf8),
            ("/a?b", PathFault::NotAPath),
            ("/a#b", PathFault::NotAPath),
        ] {
            assert_eq!(canonical_path(path), Err(fault), "{path}");
        }
        assert_eq!(canonical_path(&format!("/{}", "a".repeat(MAX_PATH_BYTES))), Err(PathFault::TooLong));
        assert_eq!(canonical_path(&format!("/{}", "\u{e9}".repeat(2_000))), Err(PathFault::TooLong));
    }

    #[test]
    fn one_resource_has_one_spelling() {
        for (path, canonical) in [
            ("/", "/"),
            ("/v1/", "/v1/"),
            ("/%70aid", "/paid"),
            ("/p%61id%21", "/paid!"),
            ("/a%20b", "/a%20b"),
            ("/a%c3%a9", "/a%C3%A9"),
            ("/aé", "/a%C3%A9"),
            ("/a%25", "/a%25"),
            ("/a%7Eb", "/a~b"),
            ("/file.json", "/file.json"),
            ("/...", "/..."),
        ] {
            assert_eq!(canonical_path(path).as_deref(), Ok(canonical), "{path}");
        }
    }

    #[test]
    fn prefixes_end_at_segments() {
        assert!(lies_under("/v1/x", "/v1"));
        assert!(lies_under("/v1", "/v1"));
        assert!(lies_under("/v1/", "/v1/"));
        assert!(lies_under("/anything", "/"));
        assert!(!lies_under("/v10", "/v1"));
        assert!(!lies_under("/v", "/v1"));
    }

    proptest! {
        #[test]
        fn canonical_text_stays(path in "/\\PC{0,40}") {
            if let Ok(canonical) = canonical_path(&path) {
                prop_assert_eq!(canonical_path(&canonical), Ok(canonical.clone()));
                prop_assert!(canonical.is_ascii());
                prop_assert!(!canonical.contains("//") && !canonical.contains("/../"));
            }
        }

        #[test]
        fn escaping_changes_nothing(path in "/[a-z0-9~!$&'()*+,=:@_-]{1,20}", at in 1usize..20) {
            let at = at.min(path.len() - 1);
            let spelled = format!("{}%{:02x}{}", &path[..at], path.as_bytes()[at], &path[at + 1..]);
            prop_assert_eq!(canonical_path(&spelled), canonical_path(&path));
        }
    }
}
