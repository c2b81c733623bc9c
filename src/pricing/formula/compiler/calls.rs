//! The functions of formulas.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};

use super::{CALLS, Compiler, Kind, Known};
use crate::pricing::Amount;
use crate::pricing::formula::FormulaFault;
use crate::pricing::formula::tree::{Call, Find, Node};

impl Compiler<'_> {
    pub(super) fn call(
        &mut self,
        at: &IdedExpr,
        call: &CallExpr,
        depth: usize,
    ) -> Result<Known, FormulaFault> {
        let mut all: Vec<&IdedExpr> = call.target.iter().map(AsRef::as_ref).collect();
        all.extend(&call.args);
        let name = call.func_name.as_str();
        if let Some(known) = self.operator(at, name, &all, depth)? {
            return Ok(known);
        }
        let number = |node| (node, Kind::Number);
        match (name, all.as_slice(), call.target.is_some()) {
            ("contains" | "startsWith" | "endsWith", [text, part], true) => {
                let find = match name {
                    "contains" => Find::Anywhere,
                    "startsWith" => Find::AtStart,
                    _ => Find::AtEnd,
                };
                let text = self.boxed(text, Kind::Text, depth)?;
                Ok((Node::Find(find, text, self.boxed(part, Kind::Text, depth)?), Kind::Truth))
            }
            ("size", [one], _) => {
                let (node, kind) = self.node(one, depth)?;
                if !matches!(kind, Kind::Text | Kind::Json) {
                    let help = "text, JSON lists and JSON objects have a size";
                    return Err(self.fault(at, format!("{} has no size", kind.words()), help));
                }
                Ok(number(Node::Call(Call::Size, Box::new(node))))
            }
            ("int" | "double", [one], false) => {
                let (node, kind) = self.node(one, depth)?;
                if !kind.may_be(Kind::Number) && !kind.may_be(Kind::Text) {
                    let help = "numbers and text can be read as numbers";
                    return Err(self.fault(at, format!("{} is no number", kind.words()), help));
                }
                let call = if name == "int" { Call::Int } else { Call::Double };
                Ok(number(Node::Call(call, Box::new(node))))
            }
            ("sat" | "ceil" | "floor", [one], false) => {
                let call = match name {
                    "sat" => Call::Sat,
                    "ceil" => Call::Ceil,
                    _ => Call::Floor,
                };
                Ok(number(Node::Call(call, self.boxed(one, Kind::Number, depth)?)))
            }
            ("min" | "max", [_, _, ..], false) => {
                let mut numbers = Vec::with_capacity(all.len());
                for one in all {
                    numbers.push(self.wanted(one, Kind::Number, depth)?);
                }
                Ok(number(if name == "min" { Node::Least(numbers) } else { Node::Most(numbers) }))
            }
            ("fiat", [one], false) => self.fiat(one).map(number),
            ("get", [place, default], false) => self.get(place, default, depth),
            _ => Err(self.no_such_call(at, name)),
        }
    }

    fn fiat(&mut self, at: &IdedExpr) -> Result<Node, FormulaFault> {
        self.nodes += 1;
        let example = "write fiat(\"0.002 USD\")";
        let Expr::Literal(LiteralValue::String(text)) = &at.expr else {
            return Err(self.fault(at, "fiat takes an amount in quotes", example));
        };
        match text.inner().parse() {
            Ok(Amount::Fiat(fiat)) => {
                if let Some(other) = self.currency.replace(fiat.currency).filter(|c| *c != fiat.currency) {
                    let message = format!("the formula is in {other} and {}", fiat.currency);
                    return Err(self.fault(at, message, "use one currency"));
                }
                Ok(Node::Fiat(fiat))
            }
            Ok(Amount::Msat(_)) => {
                Err(self.fault(at, "this amount is in bitcoin", "write sat(…), or the millisatoshi"))
            }
            Err(error) => Err(self.fault(at, error.to_string(), example)),
        }
    }

    fn get(&mut self, place: &IdedExpr, default: &IdedExpr, depth: usize) -> Result<Known, FormulaFault> {
        let (node, kind) = self.node(place, depth)?;
        if !matches!(node, Node::At(..)) {
            let help = "write get(request.json.n, 1)";
            return Err(self.fault(place, "get reads a parameter, a header or a JSON field", help));
        }
        let (default_node, default_kind) = self.node(default, depth)?;
        if !default_kind.is_single() || !(kind.may_be(default_kind) || default_kind.may_be(kind)) {
            let message = format!("this is {}, where {} may be missing", default_kind.words(), kind.words());
            let help = "write the default as what is missing: int(get(request.query.n, \"1\"))";
            return Err(self.fault(default, message, help));
        }
        Ok((Node::Get(Box::new(node), Box::new(default_node)), kind))
    }

    fn no_such_call(&self, at: &IdedExpr, name: &str) -> FormulaFault {
        if name == "matches" {
            let help = "use startsWith, endsWith, contains or `in`";
            return self.fault(at, "patterns are not for prices", help);
        }
        if CALLS.contains(&name) {
            let help = "sat(n), fiat(\"0.002 USD\"), min(a, b), max(a, b), size(x), int(x), double(x), ceil(x), \
                        floor(x), get(place, default), has(place), text.contains(part), text.startsWith(part), \
                        text.endsWith(part)";
            return self.fault(at, format!("`{name}` is not called like this"), help);
        }
        self.unknown(at, name)
    }
}
