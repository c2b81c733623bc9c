//! A formula as it is evaluated: a small tree of the few things that a price may be made of.
//!
//! Invariant: nothing in it repeats, so that an evaluation visits each node at most once.

use std::fmt;

use crate::pricing::Fiat;

use super::number::{Number, Sum};

/// Something that has a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Number(Number),
    Text(Box<str>),
    Truth(bool),
    Null,
    /// Something that is known of the request or its answer.
    Fact(Fact),
    /// What stands in a query, in headers or in JSON under a key or at a place.
    At(Box<Node>, Box<Node>),
    /// Whether an [`Node::At`] is there.
    Has(Box<Node>),
    /// The first, or the second where the first is not there.
    Get(Box<Node>, Box<Node>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    If(Box<[Node; 3]>),
    Negative(Box<Node>),
    Sum(Sum, Box<Node>, Box<Node>),
    Compare(Compare, Box<Node>, Box<Node>),
    /// Whether the first is one of the others.
    OneOf(Box<Node>, Vec<Node>),
    /// Whether the first is in the list, or a key of the map, that the second is.
    In(Box<Node>, Box<Node>),
    Least(Vec<Node>),
    Most(Vec<Node>),
    /// An amount in a currency, in millisatoshi.
    Fiat(Fiat),
    Call(Call, Box<Node>),
    Find(Find, Box<Node>, Box<Node>),
}

/// What is known of a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Method,
    Path,
    Query,
    Headers,
    SizeBytes,
    RequestJson,
    Status,
    ResponseHeaders,
    Bytes,
    Ms,
    Chunks,
    ResponseJson,
}

impl Fact {
    pub(super) const ALL: [Fact; 12] = [
        Fact::Method,
        Fact::Path,
        Fact::Query,
        Fact::Headers,
        Fact::SizeBytes,
        Fact::RequestJson,
        Fact::Status,
        Fact::ResponseHeaders,
        Fact::Bytes,
        Fact::Ms,
        Fact::Chunks,
        Fact::ResponseJson,
    ];

    /// Whether it is the answer's.
    pub(super) const fn is_of_answer(self) -> bool {
        match self {
            Fact::Method | Fact::Path | Fact::Query | Fact::Headers | Fact::SizeBytes | Fact::RequestJson => {
                false
            }
            Fact::Status
            | Fact::ResponseHeaders
            | Fact::Bytes
            | Fact::Ms
            | Fact::Chunks
            | Fact::ResponseJson => true,
        }
    }

    /// Its name in a formula.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Fact::Method => "request.method",
            Fact::Path => "request.path",
            Fact::Query => "request.query",
            Fact::Headers => "request.headers",
            Fact::SizeBytes => "request.size_bytes",
            Fact::RequestJson => "request.json",
            Fact::Status => "response.status",
            Fact::ResponseHeaders => "response.headers",
            Fact::Bytes => "response.bytes",
            Fact::Ms => "response.ms",
            Fact::Chunks => "response.chunks",
            Fact::ResponseJson => "response.json",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A function of one value that gives a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A thousand times as much.
    Sat,
    /// How many characters, entries or elements.
    Size,
    /// Whole, towards zero; also reads digits.
    Int,
    /// With a fraction; also reads digits with a point.
    Double,
    Ceil,
    Floor,
}

/// Where one text is looked for in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    Anywhere,
    AtStart,
    AtEnd,
}

impl Node {
    /// Everything right below it.
    pub(super) fn children(&self) -> Vec<&Node> {
        match self {
            Node::Number(_) | Node::Text(_) | Node::Truth(_) | Node::Null => Vec::new(),
            Node::Fact(_) | Node::Fiat(_) => Vec::new(),
            Node::Has(one) | Node::Not(one) | Node::Negative(one) | Node::Call(_, one) => vec![one],
            Node::At(one, two)
            | Node::Get(one, two)
            | Node::And(one, two)
            | Node::Or(one, two)
            | Node::Sum(_, one, two)
            | Node::Compare(_, one, two)
            | Node::In(one, two)
            | Node::Find(_, one, two) => vec![one, two],
            Node::If(three) => three.iter().collect(),
            Node::Least(all) | Node::Most(all) => all.iter().collect(),
            Node::OneOf(one, all) => std::iter::once(one.as_ref()).chain(all).collect(),
        }
    }

    /// The same, in the same order, to be changed.
    pub(super) fn children_mut(&mut self) -> Vec<&mut Node> {
        match self {
            Node::Number(_) | Node::Text(_) | Node::Truth(_) | Node::Null => Vec::new(),
            Node::Fact(_) | Node::Fiat(_) => Vec::new(),
            Node::Has(one) | Node::Not(one) | Node::Negative(one) | Node::Call(_, one) => vec![one],
            Node::At(one, two)
            | Node::Get(one, two)
            | Node::And(one, two)
            | Node::Or(one, two)
            | Node::Sum(_, one, two)
            | Node::Compare(_, one, two)
            | Node::In(one, two)
            | Node::Find(_, one, two) => vec![one, two],
            Node::If(three) => three.iter_mut().collect(),
            Node::Least(all) | Node::Most(all) => all.iter_mut().collect(),
            Node::OneOf(one, all) => std::iter::once(one.as_mut()).chain(all).collect(),
        }
    }

    /// Whether it is a place in what the client sent.
    pub(super) fn is_of_request(&self) -> bool {
        match self {
            Node::At(base, _) => base.is_of_request(),
            Node::Fact(fact) => !fact.is_of_answer(),
            _ => true,
        }
    }

    /// Shows `see` this node and all below it.
    pub(super) fn visit(&self, see: &mut impl FnMut(&Node)) {
        see(self);
        for child in self.children() {
            child.visit(see);
        }
    }
}

impl fmt::Display for Node {
    /// A place in the facts as a formula names it, for messages; anything else is `…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Fact(fact) => f.write_str(fact.name()),
            Node::At(base, key) => match key.as_ref() {
                Node::Text(name) if plain(name) => write!(f, "{base}.{name}"),
                Node::Text(name) => write!(f, "{base}[{name:?}]"),
                Node::Number(Number::Int(place)) => write!(f, "{base}[{place}]"),
                _ => write!(f, "{base}[…]"),
            },
            _ => f.write_str("…"),
        }
    }
}

/// Whether `name` may follow a point.
fn plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| !c.is_ascii_digit())
}
