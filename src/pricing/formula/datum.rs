//! Values of an evaluation, borrowed from what is looked at, and why there is none.

use std::borrow::Cow;

use http::HeaderMap;
use serde_json::{Map, Value};

use super::number::{self, NoNumber, Number};
use super::tree::Node;
use crate::pricing::{Failure, Unpriced};

/// A value, or why there is none.
pub(super) type Outcome<'a, T> = Result<T, Stop<'a>>;

/// Why there is no value.
pub(super) enum Stop<'a> {
    /// A place holds nothing; `get` and `has` forgive that and nothing else.
    Missing(&'a Node),
    Unpriced(Unpriced),
}

impl From<Failure> for Stop<'_> {
    fn from(failure: Failure) -> Self {
        Stop::Unpriced(failure.into())
    }
}

impl From<NoNumber> for Stop<'_> {
    fn from(why: NoNumber) -> Self {
        Stop::Unpriced(match why {
            NoNumber::Overflow => Unpriced::Overflow,
            NoNumber::ByZero => Failure::ByZero.into(),
        })
    }
}

/// A value.
pub(super) enum Datum<'a> {
    Number(Number),
    Text(Cow<'a, str>),
    Truth(bool),
    Null,
    List(&'a [Value]),
    Map(&'a Map<String, Value>),
    Query(&'a str),
    Headers(&'a HeaderMap),
}

impl<'a> Datum<'a> {
    /// What `json` is; `place` says where it stands.
    pub(super) fn of(json: &'a Value, place: &Node) -> Outcome<'a, Datum<'a>> {
        Ok(match json {
            Value::Null => Datum::Null,
            Value::Bool(truth) => Datum::Truth(*truth),
            Value::Number(number) => Datum::Number(
                number::of_json(number).ok_or_else(|| not(place, "a number of 28 digits at most"))?,
            ),
            Value::String(text) => Datum::Text(Cow::Borrowed(text)),
            Value::Array(list) => Datum::List(list),
            Value::Object(map) => Datum::Map(map),
        })
    }
}

pub(super) fn not<'a>(place: &Node, wanted: &'static str) -> Stop<'a> {
    Failure::Kind { place: shown(place), wanted }.into()
}

/// How a message names `place`.
pub(super) fn shown(place: &Node) -> String {
    match place {
        Node::Fact(_) | Node::At(..) => place.to_string().chars().take(100).collect(),
        Node::Get(place, _) | Node::Call(_, place) | Node::Negative(place) => shown(place),
        _ => "a value".to_owned(),
    }
}
