//! JSON that everybody reads alike.
//!
//! Invariant: what is read here, every other reader reads as the same (THREATS 8: who sends
//! `{"n":1,"n":1000}` must not pay for the one and get the other).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The longest body that a price rule is shown, in bytes.
pub const MAX_JSON_BYTES: usize = 64 * 1024;

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
