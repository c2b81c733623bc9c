//! The first steps as pages show them: Home as long as one is open, and the way through them.

use crate::web::{Checklist, Step};

/// One step.
pub(super) struct StepLine {
    pub(super) step: Step,
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    pub(super) done: bool,
    /// It is done, but for this.
    pub(super) but: Option<&'static str>,
    /// Nothing that is sold needs it.
    pub(super) optional: bool,
    pub(super) href: &'static str,
    /// Where it can be looked at and changed once it is done.
    pub(super) seen_at: &'static str,
    /// What pressing it does, a verb.
    pub(super) verb: &'static str,
    /// The first that is open.
    pub(super) next: bool,
}

impl StepLine {
    /// Every step of the list, in its order.
    pub(super) fn all(list: &Checklist) -> Vec<StepLine> {
        let mut open = list.points.iter().filter(|point| !point.done);
        // Once all that is needed is done, what could wait is next.
        let next = open
            .find(|point| point.needed || list.done && list.left.contains(&point.step))
            .map(|point| point.step);
        let line = |point: &crate::web::Point| {
            let (name, why, href, verb) = match point.step {
                Step::Service if list.example => THE_EXAMPLE,
                Step::Words if !point.needed => UNNEEDED_WORDS,
                step => words(step),
            };
            StepLine {
                step: point.step,
                name,
                why,
                href,
                seen_at: seen_at(point.step),
                verb,
                done: point.done,
                but: list.but(point.step),
                optional: !point.needed,
                next: next == Some(point.step),
            }
        };
        list.points.iter().map(line).collect()
    }
}

/// The step of the words where the network's coins are worth nothing.
const UNNEEDED_WORDS: (&str, &str, &str, &str) = (
    "The seed’s words on paper",
    "With them the coins outlive this machine. Here no coins are worth anything; where they are, this comes first.",
    "/start/seed",
    "Show and check",
);

/// The step of a price list in which there is but the example.
const THE_EXAMPLE: (&str, &str, &str, &str) = (
    "Something to sell",
    "The service “example” is on sale, and nothing answered behind it yet: put your API's address there, or start it and \
     try it once.",
    "/start/service",
    "Set its address",
);

const fn seen_at(step: Step) -> &'static str {
    match step {
        Step::Password => "/system/password",
        Step::Words => "/start/seed",
        Step::Chain => "/start/chain",
        Step::Receive => "/lightning",
        Step::Service => "/services",
        Step::Payment => "/activity?about=payments",
        Step::Backup => "/backup",
    }
}

fn words(step: Step) -> (&'static str, &'static str, &'static str, &'static str) {
    match step {
        Step::Password => ("A password", "It opens these pages, for one operator.", "/start", "Look"),
        Step::Words => (
            "The seed’s words on paper",
            "With them the coins outlive this machine; without them a dead disk is lost money.",
            "/start/seed",
            "Show and check",
        ),
        Step::Chain => (
            "In step with the chain",
            "The node reads blocks from somewhere, and must see when something happens to its channels.",
            "/start/chain",
            "Test",
        ),
        Step::Receive => (
            "A way to receive",
            "A payment arrives through a channel that has sats on the other side.",
            "/start/receive",
            "Choose a way",
        ),
        Step::Service => (
            "Something to sell",
            "An API of yours, and what a call of it costs.",
            "/start/service",
            "Set a price",
        ),
        Step::Payment => (
            "A first payment",
            "Ask for it like a customer, see the 402, pay, and get the answer.",
            "/start/payment",
            "Try it",
        ),
        Step::Backup => (
            "A place for backups",
            "What buyers have paid for and not used is in the ledger: keep a copy on another disk.",
            "/backup",
            "Look",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Point;

    #[test]
    fn the_next_step_is_the_first_that_is_open_and_needed() {
        let point = |step, done, needed| Point { step, done, needed };
        let points = vec![
            point(Step::Password, true, true),
            point(Step::Words, false, false),
            point(Step::Chain, false, true),
            point(Step::Receive, false, true),
        ];
        let list = Checklist {
            points,
            done: false,
            left: vec![Step::Words, Step::Chain, Step::Receive],
            same_disk: false,
            hidden: false,
            example: true,
        };
        let next = |list: &Checklist| {
            let lines = StepLine::all(list);
            lines.iter().map(|line| (line.next, line.optional)).collect::<Vec<_>>()
        };
        assert_eq!(next(&list), [(false, false), (false, true), (true, false), (false, false)]);
        // Nothing is called lost that can wait.
        assert!(StepLine::all(&list)[1].why.contains("Here no coins are worth anything"));
        let beside = Checklist {
            points: vec![point(Step::Words, true, true), point(Step::Backup, true, true)],
            same_disk: true,
            ..list.clone()
        };
        let but: Vec<bool> = StepLine::all(&beside).iter().map(|line| line.but.is_some()).collect();
        assert_eq!(but, [false, true], "copies beside the data are half of it");
        let mut selling = Checklist { done: true, left: vec![Step::Words], ..list };
        selling.points.truncate(2);
        assert_eq!(next(&selling), [(false, false), (true, true)], "what could wait is next then");
    }
}
