//! The allow-list: from CEL's syntax tree to a [`Node`], or what is wrong with it.
//!
//! Invariants: nothing repeats, nothing builds text or lists, nothing matches patterns; the tree has
//! a bounded number of nodes and a bounded depth; what is certain to have the wrong kind is refused
//! here, so that the operator hears of it and not the customer.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, SourceInfo};

use super::FormulaFault;
use super::number::{Number, of_float};
use super::tree::{Fact, Node};
use crate::pricing::Currency;

mod calls;
mod operators;

/// Most nodes of a tree.
pub(super) const MOST_NODES: usize = 200;
/// Most nodes one below the other.
const MOST_DEPTH: usize = 48;

/// What is known of a value before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Truth,
    Null,
    /// Anything that JSON has.
    Json,
    Query,
    Headers,
}

impl Kind {
    const fn words(self) -> &'static str {
        match self {
            Kind::Number => "a number",
            Kind::Text => "text",
            Kind::Truth => "true or false",
            Kind::Null => "null",
            Kind::Json => "JSON",
            Kind::Query => "the whole query",
            Kind::Headers => "all headers",
        }
    }

    fn may_be(self, wanted: Kind) -> bool {
        self == wanted || (self == Kind::Json && !matches!(wanted, Kind::Query | Kind::Headers))
    }

    const fn is_single(self) -> bool {
        !matches!(self, Kind::Query | Kind::Headers)
    }
}

/// A node whose kind is known.
type Known = (Node, Kind);

/// What a formula can call, for those who mistype it.
const CALLS: [&str; 16] = [
    "sat",
    "fiat",
    "min",
    "max",
    "size",
    "get",
    "has",
    "int",
    "double",
    "ceil",
    "floor",
    "contains",
    "startsWith",
    "endsWith",
    "request",
    "response",
];

/// Compiles the syntax tree `root`.
pub(super) fn compile(root: &IdedExpr, source: &SourceInfo) -> Result<Node, FormulaFault> {
    let mut compiler = Compiler { source, nodes: 0, currency: None };
    compiler.wanted(root, Kind::Number, 0)
}

struct Compiler<'a> {
    source: &'a SourceInfo,
    nodes: usize,
    currency: Option<Currency>,
}

impl Compiler<'_> {
    fn fault(&self, at: &IdedExpr, message: impl Into<String>, help: impl Into<String>) -> FormulaFault {
        let start = self.source.offset_for(at.id).and_then(|(start, _)| usize::try_from(start).ok());
        FormulaFault { message: message.into(), help: help.into(), column: start.map(|start| start + 1) }
    }

    /// Compiles what has to be a `wanted`.
    fn wanted(&mut self, at: &IdedExpr, wanted: Kind, depth: usize) -> Result<Node, FormulaFault> {
        let (node, kind) = self.node(at, depth)?;
        if kind.may_be(wanted) {
            return Ok(node);
        }
        let help = match (wanted, kind) {
            (Kind::Number, Kind::Text) => "make a number of text with int(…)",
            (Kind::Number, Kind::Truth) => "choose between numbers: condition ? 2000 : 1000",
            (_, Kind::Query) => "read one parameter: request.query.name or request.query[\"name\"]",
            (_, Kind::Headers) => "read one header: request.headers[\"x-name\"]",
            _ => "a price is made of numbers; text and truth only help to choose",
        };
        Err(self.fault(at, format!("this is {}, and {} is needed here", kind.words(), wanted.words()), help))
    }

    fn boxed(&mut self, at: &IdedExpr, wanted: Kind, depth: usize) -> Result<Box<Node>, FormulaFault> {
        self.wanted(at, wanted, depth).map(Box::new)
    }

    fn node(&mut self, at: &IdedExpr, depth: usize) -> Result<Known, FormulaFault> {
        self.nodes += 1;
        // Two more than the limit may be counted where there is no way back: a key and a `has`.
        if self.nodes + 2 > MOST_NODES || depth > MOST_DEPTH {
            let help = "make it shorter, or let the service set a header to price by";
            return Err(self.fault(at, "the formula does too much", help));
        }
        let depth = depth + 1;
        match &at.expr {
            Expr::Literal(literal) => self.literal(at, literal),
            Expr::Ident(name) => Err(self.unknown(at, name)),
            Expr::Select(select) => {
                let part = Part::Field(&select.field);
                self.nodes += usize::from(select.test);
                let (node, kind) = self.part(at, &select.operand, &part, depth)?;
                match (select.test, &node) {
                    (false, _) => Ok((node, kind)),
                    (true, Node::At(..)) => Ok((Node::Has(Box::new(node)), Kind::Truth)),
                    (true, _) => {
                        let help = "ask for a parameter or a field: has(request.json.n)";
                        Err(self.fault(at, "this is always there", help))
                    }
                }
            }
            Expr::Call(call) => self.call(at, call, depth),
            Expr::Comprehension(_) => Err(self.fault(
                at,
                "map, filter, all and exists are not for prices",
                "read single values; let the service count and say the sum in a header",
            )),
            Expr::List(_) => {
                Err(self.fault(at, "a list stands only after `in`", "write: value in [\"a\", \"b\"]"))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.fault(at, "maps and messages are not for prices", "choose with: condition ? a : b"))
            }
        }
    }

    fn literal(&self, at: &IdedExpr, literal: &LiteralValue) -> Result<Known, FormulaFault> {
        let too_large = || self.fault(at, "this number is too large", "a price is below 2^63 millisatoshi");
        Ok(match literal {
            LiteralValue::Int(int) => (Node::Number(Number::Int(*int.inner())), Kind::Number),
            LiteralValue::UInt(uint) => {
                let int = i64::try_from(*uint.inner()).map_err(|_| too_large())?;
                (Node::Number(Number::Int(int)), Kind::Number)
            }
            LiteralValue::Double(float) => {
                (Node::Number(of_float(*float.inner()).ok_or_else(too_large)?), Kind::Number)
            }
            LiteralValue::String(text) => (Node::Text(text.inner().into()), Kind::Text),
            LiteralValue::Boolean(truth) => (Node::Truth(*truth.inner()), Kind::Truth),
            LiteralValue::Null => (Node::Null, Kind::Null),
            LiteralValue::Bytes(_) => {
                return Err(self.fault(at, "bytes are not for prices", "write text without the b"));
            }
        })
    }

    fn unknown(&self, at: &IdedExpr, name: &str) -> FormulaFault {
        if matches!(name, "request" | "response") {
            return self.fault(at, format!("`{name}` is not one value"), help_facts());
        }
        let close = |known: &&&str| strsim::damerau_levenshtein(known, name) <= 2;
        match CALLS.iter().find(close) {
            Some(known) => {
                self.fault(at, format!("`{name}` is not known"), format!("did you mean `{known}`?"))
            }
            None => self.fault(at, format!("`{name}` is not known"), help_facts()),
        }
    }

    /// A part of `base`: a fact, or what is under a key of one.
    fn part(
        &mut self,
        at: &IdedExpr,
        base: &IdedExpr,
        part: &Part<'_>,
        depth: usize,
    ) -> Result<Known, FormulaFault> {
        if let Expr::Ident(root) = &base.expr
            && matches!(root.as_str(), "request" | "response")
        {
            let Part::Field(field) = part else {
                return Err(self.fault(at, format!("`{root}` has no keys"), help_facts()));
            };
            let name = format!("{root}.{field}");
            let Some(fact) = Fact::ALL.into_iter().find(|fact| fact.name() == name) else {
                let near = |fact: &Fact| strsim::damerau_levenshtein(fact.name(), &name) <= 2;
                let help = Fact::ALL.into_iter().find(near);
                let help = help.map_or_else(help_facts, |fact| format!("did you mean `{}`?", fact.name()));
                return Err(self.fault(at, format!("`{name}` is not known"), help));
            };
            return Ok((Node::Fact(fact), kind_of(fact)));
        }
        let (base_node, base_kind) = self.node(base, depth)?;
        let kind = match base_kind {
            Kind::Query | Kind::Headers => Kind::Text,
            Kind::Json => Kind::Json,
            Kind::Number | Kind::Text | Kind::Truth | Kind::Null => {
                let message = format!("this is {}, which has no parts", base_kind.words());
                return Err(self.fault(at, message, "only the query, headers and JSON have parts"));
            }
        };
        let key = match part {
            Part::Field(field) => {
                self.nodes += 1;
                Node::Text((*field).into())
            }
            Part::Key(key) => {
                let (node, key_kind) = self.node(key, depth)?;
                let fits =
                    key_kind.may_be(Kind::Text) || (base_kind == Kind::Json && key_kind.may_be(Kind::Number));
                if !fits {
                    let help = "a key is text, such as [\"x-name\"]; a place in a JSON list is a number";
                    return Err(self.fault(key, format!("{} is no key here", key_kind.words()), help));
                }
                node
            }
        };
        if let (Kind::Headers, Node::Text(name)) = (base_kind, &key)
            && http::HeaderName::from_bytes(name.as_bytes()).is_err()
        {
            return Err(self.fault(at, format!("`{name}` is not a header's name"), "write \"x-name\""));
        }
        Ok((Node::At(Box::new(base_node), Box::new(key)), kind))
    }
}

/// How a part is named.
enum Part<'a> {
    Field(&'a str),
    Key(&'a IdedExpr),
}

const fn kind_of(fact: Fact) -> Kind {
    match fact {
        Fact::Method | Fact::Path => Kind::Text,
        Fact::Query => Kind::Query,
        Fact::Headers | Fact::ResponseHeaders => Kind::Headers,
        Fact::SizeBytes | Fact::Status | Fact::Bytes | Fact::Ms | Fact::Chunks => Kind::Number,
        Fact::RequestJson | Fact::ResponseJson => Kind::Json,
    }
}

fn help_facts() -> String {
    "there are request.method, path, query, headers, size_bytes and json, and response.status, headers, bytes, ms, \
     chunks and json"
        .to_owned()
}
