//! Evaluation: what a formula is for one request and its answer.
//!
//! Invariants: each node is visited at most once; whatever depends on the size of what is looked at
//! takes fuel for it, so that no request makes a formula slow; what is looked at is borrowed and not
//! copied, but for a parameter's decoded text. A value that is there twice is no value: the upstream
//! might take the other (THREATS 9).

use std::borrow::Cow;
use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::datum::{Datum, Outcome, Stop, not, shown};
use super::number::{self, NoNumber, Number, Sum};
use super::query;
use super::tree::{Call, Compare, Fact, Find, Node};
use crate::pricing::{Failure, Rate, RateFault, RequestFacts, ResponseFacts, Unpriced};

/// What one evaluation may look at: about as many bytes.
pub(super) const FUEL: usize = 128 * 1_024;

/// What is looked at.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) request: &'a RequestFacts,
    pub(super) answer: &'a ResponseFacts,
    pub(super) rate: Option<&'a Rate>,
}

/// What `root` is, and how many nodes and how much fuel that took.
pub(super) fn evaluate(root: &Node, facts: Facts<'_>) -> (Result<Number, Unpriced>, Effort) {
    let mut evaluation = Evaluation::new(facts);
    let result = evaluation.number(root).map_err(|stop| match stop {
        Stop::Missing(place) => Failure::Missing(shown(place)).into(),
        Stop::Unpriced(why) => why,
    });
    (result, evaluation.effort)
}

/// What an evaluation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effort {
    pub(super) nodes: usize,
    pub(super) fuel: usize,
}

/// An evaluation under way.
pub(super) struct Evaluation<'a> {
    facts: Facts<'a>,
    effort: Effort,
}

impl<'a> Evaluation<'a> {
    /// One that has used no fuel.
    pub(super) fn new(facts: Facts<'a>) -> Evaluation<'a> {
        Evaluation { facts, effort: Effort::default() }
    }

    /// Takes fuel for looking at `bytes`.
    fn look(&mut self, bytes: usize) -> Outcome<'a, ()> {
        self.effort.fuel = self.effort.fuel.saturating_add(bytes);
        if self.effort.fuel > FUEL { Err(Failure::TooMuch.into()) } else { Ok(()) }
    }

    /// What `node` is.
    pub(super) fn datum(&mut self, node: &'a Node) -> Outcome<'a, Datum<'a>> {
        self.effort.nodes += 1;
        Ok(match node {
            Node::Number(number) => Datum::Number(*number),
            Node::Text(text) => Datum::Text(Cow::Borrowed(text)),
            Node::Truth(truth) => Datum::Truth(*truth),
            Node::Null => Datum::Null,
            Node::Fact(fact) => self.fact(*fact, node)?,
            Node::At(base, key) => self.at(node, base, key)?,
            Node::Has(place) => match self.datum(place) {
                Ok(_) => Datum::Truth(true),
                Err(Stop::Missing(_)) => Datum::Truth(false),
                Err(stop) => return Err(stop),
            },
            Node::Get(place, default) => match self.datum(place) {
                Ok(Datum::Null) | Err(Stop::Missing(_)) => self.datum(default)?,
                other => other?,
            },
            Node::Not(one) => Datum::Truth(!self.truth(one)?),
            Node::And(one, two) => Datum::Truth(self.logic(one, two, false)?),
            Node::Or(one, two) => Datum::Truth(self.logic(one, two, true)?),
            Node::If(three) => {
                let [condition, yes, no] = three.as_ref();
                if self.truth(condition)? { self.datum(yes)? } else { self.datum(no)? }
            }
            Node::Negative(one) => Datum::Number(self.number(one)?.negative()?),
            Node::Sum(sum, one, two) => Datum::Number(self.number(one)?.sum(*sum, self.number(two)?)?),
            Node::Compare(compare, one, two) => {
                let (left, right) = (self.datum(one)?, self.datum(two)?);
                Datum::Truth(self.compare(*compare, one, &left, &right)?)
            }
            Node::OneOf(one, values) => {
                let needle = self.datum(one)?;
                let mut found = false;
                for value in values {
                    let value = self.datum(value)?;
                    found |= self.equal(one, &needle, &value)?;
                }
                Datum::Truth(found)
            }
            Node::In(one, place) => Datum::Truth(self.is_in(one, place)?),
            Node::Least(all) => Datum::Number(self.extreme(all, Ordering::Less)?),
            Node::Most(all) => Datum::Number(self.extreme(all, Ordering::Greater)?),
            Node::Fiat(fiat) => {
                let unknown = RateFault::Unknown(fiat.currency);
                let rate = self.facts.rate.ok_or(Stop::Unpriced(unknown.into()))?;
                let msat = rate.worth(*fiat).map(|msat| i64::try_from(msat.msat()));
                let Some(Ok(msat)) = msat else {
                    return Err(Stop::Unpriced(Unpriced::Overflow));
                };
                Datum::Number(Number::Int(msat))
            }
            Node::Call(call, one) => Datum::Number(self.call(*call, one)?),
            Node::Find(find, text, part) => {
                let (text, part) = (self.text(text)?, self.text(part)?);
                let look = if *find == Find::Anywhere { text.len() + part.len() } else { part.len() / 16 };
                self.look(look)?;
                Datum::Truth(match find {
                    Find::Anywhere => text.contains(part.as_ref()),
                    Find::AtStart => text.starts_with(part.as_ref()),
                    Find::AtEnd => text.ends_with(part.as_ref()),
                })
            }
        })
    }

    fn fact(&mut self, fact: Fact, node: &'a Node) -> Outcome<'a, Datum<'a>> {
        let Facts { request, answer, .. } = self.facts;
        let count = |count: u64| {
            i64::try_from(count)
                .map(|int| Datum::Number(Number::Int(int)))
                .map_err(|_| NoNumber::Overflow.into())
        };
        // A body that is there and cannot be read is not an empty one.
        let body = |json: &'a Option<Value>, empty: bool| match json {
            Some(json) => Datum::of(json, node),
            None if empty => Err(Stop::Missing(node)),
            None => Err(Failure::Unreadable(fact.name()).into()),
        };
        match fact {
            Fact::Method => Ok(Datum::Text(Cow::Borrowed(&request.method))),
            Fact::Path => Ok(Datum::Text(Cow::Borrowed(&request.path))),
            Fact::Query => Ok(Datum::Query(request.query.as_deref().unwrap_or_default())),
            Fact::Headers => Ok(Datum::Headers(&request.headers)),
            Fact::SizeBytes => count(request.size_bytes.ok_or(Stop::Missing(node))?),
            Fact::RequestJson => body(&request.json, request.size_bytes == Some(0)),
            Fact::Status => count(answer.status.into()),
            Fact::ResponseHeaders => Ok(Datum::Headers(&answer.headers)),
            Fact::Bytes => count(answer.bytes),
            Fact::Ms => count(answer.ms),
            Fact::Chunks => count(answer.chunks),
            Fact::ResponseJson => body(&answer.json, answer.bytes == 0),
        }
    }

    fn at(&mut self, node: &'a Node, base: &'a Node, key: &'a Node) -> Outcome<'a, Datum<'a>> {
        let (place, key) = (self.datum(base)?, self.datum(key)?);
        match (place, key) {
            (Datum::Null, _) => Err(Stop::Missing(node)),
            (Datum::Query(query), Datum::Text(key)) => {
                let value = self.parameter(node, query, &key)?;
                value.map(Datum::Text).ok_or(Stop::Missing(node))
            }
            (Datum::Headers(headers), Datum::Text(key)) => {
                self.look(key.len())?;
                let mut values = headers.get_all(key.as_ref()).iter();
                match (values.next(), values.next()) {
                    (None, _) => Err(Stop::Missing(node)),
                    (Some(_), Some(_)) => Err(Failure::Twice(shown(node)).into()),
                    (Some(value), None) => match value.to_str() {
                        Ok(text) => Ok(Datum::Text(Cow::Borrowed(text))),
                        Err(_) => Err(not(node, "text")),
                    },
                }
            }
            (Datum::Map(map), Datum::Text(key)) => {
                Datum::of(self.field(node, map, &key)?.ok_or(Stop::Missing(node))?, node)
            }
            (Datum::List(list), Datum::Number(number)) => {
                let place = number.whole().ok_or_else(|| not(node, "a place in a list"))??;
                let value = usize::try_from(place).ok().and_then(|place| list.get(place));
                Datum::of(value.ok_or(Stop::Missing(node))?, node)
            }
            (Datum::Map(_), _) => Err(not(node, "a field of a JSON object")),
            (Datum::List(_), _) => Err(not(node, "a place in a list")),
            _ => Err(not(base, "a JSON object or list")),
        }
    }

    /// The parameter `key` of `query`, decoded as servers decode forms.
    fn parameter(&mut self, node: &Node, query: &'a str, key: &str) -> Outcome<'a, Option<Cow<'a, str>>> {
        self.look(2 * query.len() + key.len())?;
        let mut found = query::parameters(query, key);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((name, value)), None) if name == key => Ok(Some(value)),
            _ => Err(Failure::Twice(shown(node)).into()),
        }
    }

    /// The field `key` of `map`. In what a client sent, a field that differs from it in letter case
    /// only makes both doubtful: there are servers that read either.
    fn field(
        &mut self,
        node: &Node,
        map: &'a Map<String, Value>,
        key: &str,
    ) -> Outcome<'a, Option<&'a Value>> {
        self.look(key.len())?;
        if node.is_of_request() {
            self.look(map.len().saturating_mul(4))?;
            for name in map.keys() {
                let alike = if name.is_ascii() {
                    name.eq_ignore_ascii_case(key)
                } else {
                    self.look(name.len())?;
                    folded(name).eq(folded(key))
                };
                if alike && name != key {
                    return Err(Failure::Twice(shown(node)).into());
                }
            }
        }
        Ok(map.get(key))
    }

    fn is_in(&mut self, one: &'a Node, place: &'a Node) -> Outcome<'a, bool> {
        let needle = self.datum(one)?;
        match (self.datum(place)?, &needle) {
            (Datum::List(list), _) => {
                for value in list {
                    // A fraction is read from its digits, which takes longer than any other value.
                    self.look(if value.is_f64() { 512 } else { 32 })?;
                    let value = Datum::of(value, place)?;
                    let single = !matches!(value, Datum::List(_) | Datum::Map(_));
                    if single && self.equal(one, &needle, &value)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Datum::Map(map), Datum::Text(key)) => Ok(self.field(place, map, key)?.is_some()),
            (Datum::Headers(headers), Datum::Text(key)) => {
                self.look(key.len())?;
                Ok(headers.contains_key(key.as_ref()))
            }
            (Datum::Query(query), Datum::Text(key)) => {
                self.look(2 * query.len() + key.len())?;
                Ok(query::parameters(query, key).next().is_some())
            }
            (Datum::Map(_) | Datum::Headers(_) | Datum::Query(_), _) => Err(not(one, "text")),
            _ => Err(not(place, "a JSON object or list")),
        }
    }

    /// `and` (`wins` is false) and `or` (`wins` is true). As in CEL, a side that decides does so
    /// whatever becomes of the other.
    fn logic(&mut self, one: &'a Node, two: &'a Node, wins: bool) -> Outcome<'a, bool> {
        let first = self.truth(one);
        if matches!(first, Ok(truth) if truth == wins) {
            return Ok(wins);
        }
        match self.truth(two) {
            Ok(truth) if truth == wins => Ok(wins),
            second => first.and(second),
        }
    }

    fn extreme(&mut self, all: &'a [Node], wanted: Ordering) -> Outcome<'a, Number> {
        let mut extreme: Option<Number> = None;
        for node in all {
            let number = self.number(node)?;
            if extreme.is_none_or(|so_far| number.order(so_far) == wanted) {
                extreme = Some(number);
            }
        }
        extreme.ok_or_else(|| NoNumber::Overflow.into())
    }

    fn call(&mut self, call: Call, one: &'a Node) -> Outcome<'a, Number> {
        Ok(match call {
            Call::Sat => self.number(one)?.sum(Sum::Multiply, Number::Int(1_000))?,
            Call::Ceil => self.number(one)?.rounded(Decimal::ceil)?,
            Call::Floor => self.number(one)?.rounded(Decimal::floor)?,
            Call::Int => match self.datum(one)? {
                Datum::Number(number) => number.rounded(Decimal::trunc)?,
                Datum::Text(text) => number::whole(&text).ok_or_else(|| not(one, "a whole number"))?,
                _ => return Err(not(one, "a number")),
            },
            Call::Double => match self.datum(one)? {
                Datum::Number(number) => number.fractional(),
                Datum::Text(text) => number::decimal(&text).ok_or_else(|| not(one, "a number"))?,
                _ => return Err(not(one, "a number")),
            },
            Call::Size => {
                let size = match self.datum(one)? {
                    Datum::Text(text) => {
                        self.look(text.len() / 16)?;
                        text.chars().count()
                    }
                    Datum::List(list) => list.len(),
                    Datum::Map(map) => map.len(),
                    _ => return Err(not(one, "text, a list or an object")),
                };
                Number::Int(i64::try_from(size).map_err(|_| NoNumber::Overflow)?)
            }
        })
    }

    fn compare(
        &mut self,
        compare: Compare,
        place: &Node,
        left: &Datum<'_>,
        right: &Datum<'_>,
    ) -> Outcome<'a, bool> {
        let ordering = match (compare, left, right) {
            (Compare::Equal, ..) => return self.equal(place, left, right),
            (Compare::NotEqual, ..) => return self.equal(place, left, right).map(|equal| !equal),
            (_, Datum::Number(one), Datum::Number(two)) => one.order(*two),
            (_, Datum::Text(one), Datum::Text(two)) => {
                self.look(one.len().min(two.len()) / 16)?;
                one.cmp(two)
            }
            _ => return Err(not(place, "of the kind that it is compared with")),
        };
        Ok(match compare {
            Compare::Less => ordering.is_lt(),
            Compare::LessOrEqual => ordering.is_le(),
            Compare::Greater => ordering.is_gt(),
            Compare::GreaterOrEqual => ordering.is_ge(),
            Compare::Equal | Compare::NotEqual => ordering.is_eq(),
        })
    }

    /// Values of different kinds are not equal. Lists and objects are not compared: that has no bound.
    fn equal(&mut self, place: &Node, left: &Datum<'_>, right: &Datum<'_>) -> Outcome<'a, bool> {
        Ok(match (left, right) {
            (Datum::Number(one), Datum::Number(two)) => one.order(*two).is_eq(),
            (Datum::Text(one), Datum::Text(two)) => {
                self.look(if one.len() == two.len() { one.len() / 16 } else { 0 })?;
                one == two
            }
            (Datum::Truth(one), Datum::Truth(two)) => one == two,
            (Datum::Null, Datum::Null) => true,
            (Datum::List(_) | Datum::Map(_), Datum::List(_) | Datum::Map(_)) => {
                return Err(not(place, "a single value"));
            }
            _ => false,
        })
    }

    fn number(&mut self, node: &'a Node) -> Outcome<'a, Number> {
        match self.datum(node)? {
            Datum::Number(number) => Ok(number),
            _ => Err(not(node, "a number")),
        }
    }

    fn truth(&mut self, node: &'a Node) -> Outcome<'a, bool> {
        match self.datum(node)? {
            Datum::Truth(truth) => Ok(truth),
            _ => Err(not(node, "true or false")),
        }
    }

    fn text(&mut self, node: &'a Node) -> Outcome<'a, Cow<'a, str>> {
        match self.datum(node)? {
            Datum::Text(text) => Ok(text),
            _ => Err(not(node, "text")),
        }
    }
}

/// In no letter case. The long s and the Kelvin sign are letters of ASCII to some (Go's `encoding/json`).
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|char| if char == 'ſ' { 's' } else { char }).flat_map(char::to_lowercase)
}
