//! JSON that everybody reads alike.
//!
//! Invariant: what is read here, every other reader reads as the same (THREATS 8: who sends
//! `{"n":1,"n":1000}` must not pay for the one and get the other).

use std::fmt;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The longest body that a price rule is shown, in bytes.
pub const MAX_JSON_BYTES: usize = 64 * 1024;

/// Whether a body with these headers is JSON to whoever reads it as anything: it says so, or nothing, and
/// it is neither encoded nor in another charset. A form may have a JSON document's text, and be read as a
/// form; `+AG4-` is an `n` in UTF-7.
pub fn may_be_json(headers: &HeaderMap) -> bool {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let typed = match (types.next().map(HeaderValue::to_str), types.next()) {
        (None, _) => true,
        (Some(Ok(text)), None) => is_json_type(text),
        _ => false,
    };
    typed && headers.get_all(CONTENT_ENCODING).iter().all(plain)
}

fn is_json_type(text: &str) -> bool {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let kind = parts.next().unwrap_or_default();
    let json = matches!(kind.as_str(), "application/json" | "text/json")
        || (kind.starts_with("application/") && kind.ends_with("+json"));
    let utf8 = |parameter: String| match parameter.split_once('=') {
        Some((name, value)) => {
            name.trim() != "charset"
                || matches!(value.trim().trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
        }
        None => parameter.is_empty(),
    };
    json && parts.all(utf8) && !text.contains(',')
}

/// The document that `text` is, when it is no longer than [`MAX_JSON_BYTES`] and no object in it has a
/// key twice.
pub fn plain_json(text: &[u8]) -> Option<Value> {
    if text.len() > MAX_JSON_BYTES {
        return None;
    }
    serde_json::from_slice::<Strict>(text).ok().map(|strict| strict.0)
}

/// A JSON value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a key that comes twice")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no JSON number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            if values.insert(key, value).is_some() {
                return Err(A::Error::custom("a key comes twice"));
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(parts: &[&str]) -> Option<Value> {
        plain_json(parts.concat().as_bytes())
    }

    #[test]
    fn only_what_every_reader_reads_alike_is_json() {
        assert_eq!(read(&["{\"n\"", ":3}"]), Some(serde_json::json!({ "n": 3 })));
        assert_eq!(
            read(&["[1, 2.5, -1, \"a\", null, {\"b\": [true]}]"]).map(|v| v[5]["b"][0].clone()),
            Some(true.into())
        );
        for bad in [
            "",
            "{",
            "{\"n\":1}x",
            "\u{feff}{\"n\":1}",
            "{\"n\":1,\"n\":1000}",
            "{\"a\":{\"n\":1,\"n\":1000}}",
            "{\"n\":1,\"\\u006e\":1000}",
            "{\"n\":1e999}",
            "{n:1}",
            "{\"n\":01}",
            "NaN",
        ] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&[&"[".repeat(100_000)]), None, "deep");
    }

    #[test]
    fn only_a_body_that_nobody_reads_as_something_else_may_be_json() {
        let may = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            may_be_json(&headers)
        };
        assert!(may(&[]) && may(&[("content-encoding", "Identity")]));
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json; charset=\"utf-8\"; x=y;",
            "application/vnd.api+json",
            "text/json",
        ] {
            assert!(may(&[("content-type", good)]), "{good}");
        }
        for bad in [
            "",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-7",
            "application/json; charset=utf-16le",
            "application/json; charset=utf-8; charset=utf-7",
            "application/json, application/x-www-form-urlencoded",
            "application/json; charset",
            "text/plain",
            "x+json",
        ] {
            assert!(!may(&[("content-type", bad)]), "{bad}");
        }
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert!(!may(&[("content-type", "application/json"), form]));
        assert!(!may(&[("content-encoding", "gzip")]));
        assert!(!may(&[("content-encoding", "identity"), ("content-encoding", "br")]));
    }

    proptest! {
        #[test]
        fn what_serde_reads_without_doubt_is_read_alike(text in "\\PC{0,40}", near in "[\\[\\]{}\"a:,0-9e.-]{0,40}") {
            for text in [text, near] {
                if let Some(value) = read(&[&text]) {
                    prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
                }
            }
        }
    }
}
