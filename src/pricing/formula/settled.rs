//! A formula whose request is known: what remains of it is told from the answer alone.
//!
//! It is asked again with every piece of an answer, so that whatever only looks at the request is
//! worked out once, and the request, whose body may be large, is let go when nothing needs it any more.

use std::borrow::Cow;

use super::Zero;
use super::datum::Datum;
use super::evaluation::{Evaluation, Facts};
use super::tree::Node;
use crate::pricing::{Rate, RequestFacts, ResponseFacts, Unpriced};
use crate::types::Msat;

/// Longest text that is copied out of a request, in bytes.
const MOST_TEXT: usize = 256;

/// A formula for one request.
#[derive(Clone, Debug)]
pub(in crate::pricing) struct Settled {
    root: Node,
    zero: Zero,
    /// Empty when nothing that remains looks at it.
    request: Box<RequestFacts>,
    rate: Option<Rate>,
}

impl Settled {
    pub(super) fn new(root: &Node, zero: Zero, request: RequestFacts, rate: Option<Rate>) -> Settled {
        let mut settled = root.clone();
        let nothing = ResponseFacts::default();
        let facts = Facts { request: &request, answer: &nothing, rate: rate.as_ref() };
        settle(&mut Evaluation::new(facts), root, &mut settled);
        let mut looks = false;
        settled.visit(&mut |node| looks |= matches!(node, Node::Fact(fact) if !fact.is_of_answer()));
        let request = Box::new(if looks { request } else { RequestFacts::default() });
        Settled { root: settled, zero, request, rate }
    }

    /// The price of the request with this answer.
    pub(in crate::pricing) fn price(&self, answer: &ResponseFacts) -> Result<Msat, Unpriced> {
        let facts = Facts { request: &self.request, answer, rate: self.rate.as_ref() };
        super::price(&self.root, facts, self.zero)
    }
}

/// Puts values where `node`, of which `settled` is a copy, does not look at the answer. What has no
/// value stays, and says why when it is asked for.
fn settle<'a>(evaluation: &mut Evaluation<'a>, node: &'a Node, settled: &mut Node) {
    let mut awaits = false;
    node.visit(&mut |part| awaits |= matches!(part, Node::Fact(fact) if fact.is_of_answer()));
    if awaits {
        for (child, settled) in node.children().into_iter().zip(settled.children_mut()) {
            settle(evaluation, child, settled);
        }
        return;
    }
    match evaluation.datum(node) {
        Ok(Datum::Number(number)) => *settled = Node::Number(number),
        Ok(Datum::Truth(truth)) => *settled = Node::Truth(truth),
        Ok(Datum::Text(Cow::Borrowed(text))) if text.len() <= MOST_TEXT => *settled = Node::Text(text.into()),
        Ok(_) | Err(_) => {}
    }
}
