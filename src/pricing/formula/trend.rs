//! Whether a formula can only rise while an answer flows: only then may it be charged as it flows.
//!
//! Cautious: what is not plainly rising is metered at the end.

use super::number::{Number, Sum};
use super::tree::{Call, Fact, Node};

/// How a value goes on while the answer grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trend {
    /// It stays.
    Steady,
    /// It stays or rises.
    Rising,
    /// It stays or falls.
    Falling,
    /// Nobody knows.
    Wild,
}

impl Trend {
    /// Of a sum of two values.
    fn with(self, other: Trend) -> Trend {
        match (self, other) {
            (Trend::Steady, trend) | (trend, Trend::Steady) => trend,
            (one, two) if one == two => one,
            _ => Trend::Wild,
        }
    }

    fn turned(self) -> Trend {
        match self {
            Trend::Rising => Trend::Falling,
            Trend::Falling => Trend::Rising,
            same => same,
        }
    }
}

/// The trend of `node`, and whether it is certain to be zero or more.
pub(super) fn trend(node: &Node) -> (Trend, bool) {
    let steady = |positive| (Trend::Steady, positive);
    match node {
        Node::Number(number) => steady(!number.is_negative()),
        Node::Fact(Fact::Bytes | Fact::Ms | Fact::Chunks) => (Trend::Rising, true),
        Node::Fact(Fact::SizeBytes | Fact::Status) | Node::Fiat(_) => steady(true),
        // The answer's JSON is there when all else has ended.
        Node::Text(_) | Node::Truth(_) | Node::Null | Node::Fact(_) => steady(false),
        Node::Negative(one) => (trend(one).0.turned(), false),
        Node::Sum(sum, one, two) => of_sum(*sum, trend(one), trend(two), two),
        Node::Least(all) => all
            .iter()
            .map(trend)
            .fold((Trend::Steady, true), |(t, p), (trend, positive)| (t.with(trend), p && positive)),
        Node::Most(all) => all
            .iter()
            .map(trend)
            .fold((Trend::Steady, false), |(t, p), (trend, positive)| (t.with(trend), p || positive)),
        Node::Call(Call::Size, one) => match trend(one).0 {
            Trend::Steady => steady(true),
            _ => (Trend::Wild, true),
        },
        Node::Call(_, one) => trend(one),
        Node::If(three) => {
            let [condition, yes, no] = three.as_ref();
            let ((one, positive), (two, also)) = (trend(yes), trend(no));
            let trend = if trend(condition).0 == Trend::Steady { one.with(two) } else { Trend::Wild };
            (trend, positive && also)
        }
        Node::At(..)
        | Node::Has(_)
        | Node::Get(..)
        | Node::Not(_)
        | Node::And(..)
        | Node::Or(..)
        | Node::Compare(..)
        | Node::OneOf(..)
        | Node::In(..)
        | Node::Find(..) => {
            let moves = node.children().into_iter().any(|child| trend(child).0 != Trend::Steady);
            (if moves { Trend::Wild } else { Trend::Steady }, false)
        }
    }
}

fn of_sum(sum: Sum, one: (Trend, bool), two: (Trend, bool), second: &Node) -> (Trend, bool) {
    use Trend::{Falling, Rising, Steady, Wild};
    let both = one.1 && two.1;
    match sum {
        Sum::Add => (one.0.with(two.0), both),
        Sum::Subtract => (one.0.with(two.0.turned()), false),
        Sum::Multiply => {
            let trend = match (one, two) {
                ((Steady, _), (Steady, _)) => Steady,
                ((Steady, true), (trend, _)) | ((trend, _), (Steady, true)) => trend,
                ((Rising, true), (Rising, true)) => Rising,
                _ => Wild,
            };
            (trend, both)
        }
        Sum::Divide => {
            let trend = match (one, two) {
                ((Steady, _), (Steady, _)) => Steady,
                ((trend, _), (Steady, true)) => trend,
                ((Steady, true), (Rising, true)) => Falling,
                _ => Wild,
            };
            (trend, both)
        }
        Sum::Remainder => {
            let by_steady = matches!(second, Node::Number(Number::Int(_)));
            match (one.0, two.0) {
                (Steady, Steady) => (Steady, one.1 && by_steady),
                _ => (Wild, one.1 && by_steady),
            }
        }
    }
}
