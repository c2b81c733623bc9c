//! What is written with signs in formulas.

use cel::common::ast::{Expr, IdedExpr, operators};

use super::{Compiler, Kind, Known, Part};
use crate::pricing::formula::FormulaFault;
use crate::pricing::formula::number::Sum;
use crate::pricing::formula::tree::{Compare, Node};

impl Compiler<'_> {
    /// What is written with signs.
    pub(super) fn operator(
        &mut self,
        at: &IdedExpr,
        name: &str,
        all: &[&IdedExpr],
        depth: usize,
    ) -> Result<Option<Known>, FormulaFault> {
        if let (Some(sum), [one, two]) = (sum_of(name), all) {
            let one = self.boxed(one, Kind::Number, depth)?;
            let two = self.boxed(two, Kind::Number, depth)?;
            return Ok(Some((Node::Sum(sum, one, two), Kind::Number)));
        }
        if let (Some(compare), [one, two]) = (compare_of(name), all) {
            return self.compare(at, compare, one, two, depth).map(Some);
        }
        Ok(Some(match (name, all) {
            (operators::INDEX, [base, key]) => self.part(at, base, &Part::Key(key), depth)?,
            (operators::NEGATE, [one]) => {
                (Node::Negative(self.boxed(one, Kind::Number, depth)?), Kind::Number)
            }
            (operators::LOGICAL_NOT, [one]) => (Node::Not(self.boxed(one, Kind::Truth, depth)?), Kind::Truth),
            (operators::LOGICAL_AND, [one, two]) => {
                let one = self.boxed(one, Kind::Truth, depth)?;
                (Node::And(one, self.boxed(two, Kind::Truth, depth)?), Kind::Truth)
            }
            (operators::LOGICAL_OR, [one, two]) => {
                let one = self.boxed(one, Kind::Truth, depth)?;
                (Node::Or(one, self.boxed(two, Kind::Truth, depth)?), Kind::Truth)
            }
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let condition = self.wanted(condition, Kind::Truth, depth)?;
                let (yes, kind) = self.node(yes, depth)?;
                let (no_node, other) = self.node(no, depth)?;
                let kind = match (kind, other) {
                    (one, two) if one == two => one,
                    (one, two) if one.is_single() && two.is_single() => match (one, two) {
                        (Kind::Json | Kind::Null, _) | (_, Kind::Json | Kind::Null) => Kind::Json,
                        _ => return Err(self.differ(no, one, two)),
                    },
                    (one, two) => return Err(self.differ(no, one, two)),
                };
                (Node::If(Box::new([condition, yes, no_node])), kind)
            }
            (operators::IN, [one, many]) => self.is_in(one, many, depth)?,
            _ => return Ok(None),
        }))
    }

    fn differ(&self, at: &IdedExpr, one: Kind, two: Kind) -> FormulaFault {
        let message = format!("one branch is {} and the other {}", one.words(), two.words());
        self.fault(at, message, "both branches of `? :` give the same kind of value")
    }

    fn compare(
        &mut self,
        at: &IdedExpr,
        compare: Compare,
        one: &IdedExpr,
        two: &IdedExpr,
        depth: usize,
    ) -> Result<Known, FormulaFault> {
        let (one, left) = self.node(one, depth)?;
        let (two, right) = self.node(two, depth)?;
        let alike = left == right || [left, right].contains(&Kind::Json);
        let ordered = |kind| matches!(kind, Kind::Number | Kind::Text | Kind::Json);
        let orders = !matches!(compare, Compare::Equal | Compare::NotEqual);
        if !(left.is_single() && right.is_single() && alike) || (orders && !(ordered(left) && ordered(right)))
        {
            let message = format!("{} cannot be compared with {} so", left.words(), right.words());
            return Err(self.fault(at, message, "make a number of text with int(…)"));
        }
        Ok((Node::Compare(compare, Box::new(one), Box::new(two)), Kind::Truth))
    }

    fn is_in(&mut self, one: &IdedExpr, many: &IdedExpr, depth: usize) -> Result<Known, FormulaFault> {
        let (needle, kind) = self.node(one, depth)?;
        if !kind.is_single() {
            return Err(self.fault(one, format!("{} is in nothing", kind.words()), "name one value"));
        }
        if let Expr::List(list) = &many.expr {
            let mut values = Vec::with_capacity(list.elements.len());
            for element in &list.elements {
                let (value, other) = self.node(element, depth)?;
                if !other.is_single() || !(kind.may_be(other) || other.may_be(kind)) {
                    let message = format!("{} is never {}", kind.words(), other.words());
                    return Err(self.fault(element, message, "list values of one kind"));
                }
                values.push(value);
            }
            return Ok((Node::OneOf(Box::new(needle), values), Kind::Truth));
        }
        let (place, place_kind) = self.node(many, depth)?;
        let fits = match place_kind {
            Kind::Query | Kind::Headers => kind.may_be(Kind::Text),
            Kind::Json => true,
            _ => false,
        };
        if !fits {
            let message = format!("{} is never in {}", kind.words(), place_kind.words());
            return Err(self.fault(
                many,
                message,
                "write: \"x-name\" in request.headers, or in [\"a\", \"b\"]",
            ));
        }
        Ok((Node::In(Box::new(needle), Box::new(place)), Kind::Truth))
    }
}

fn sum_of(name: &str) -> Option<Sum> {
    match name {
        operators::ADD => Some(Sum::Add),
        operators::SUBSTRACT => Some(Sum::Subtract),
        operators::MULTIPLY => Some(Sum::Multiply),
        operators::DIVIDE => Some(Sum::Divide),
        operators::MODULO => Some(Sum::Remainder),
        _ => None,
    }
}

fn compare_of(name: &str) -> Option<Compare> {
    match name {
        operators::EQUALS => Some(Compare::Equal),
        operators::NOT_EQUALS => Some(Compare::NotEqual),
        operators::LESS => Some(Compare::Less),
        operators::LESS_EQUALS => Some(Compare::LessOrEqual),
        operators::GREATER => Some(Compare::Greater),
        operators::GREATER_EQUALS => Some(Compare::GreaterOrEqual),
        _ => None,
    }
}
