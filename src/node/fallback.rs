//! Which chain source to be on, decided from what was seen of each, turn by turn. Pure.
//!
//! Invariants: a source is left only for another one that answers; a preferred one is returned to only
//! after it has answered for a while without a gap, and the longer the more often it failed after a
//! return, so that two sources are not swapped to and fro.

use std::time::Duration;

use crate::chain::ChainConfig;

const SHORTEST_TURN: Duration = Duration::from_millis(250);
const LONGEST_TURN: Duration = Duration::from_secs(10);
/// The wait before a return is at most this.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// A source that answers while the node hears nothing of the chain for so long: the node is built anew,
/// whatever it says of itself. Doubled each time, for a first sync may be long.
const STUCK: Duration = Duration::from_secs(10 * 60);

/// What one turn saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Of each source in the list's order: whether it answers; nothing when it was not asked.
    pub(super) answers: Vec<Option<bool>>,
    /// When the node synced last, as it says.
    pub(super) synced_at: Option<u64>,
    /// The source in use has another login than the one that the node has: a bitcoind writes its cookie anew at
    /// each of its starts.
    pub(super) login_changed: bool,
}

/// Why the node moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The source in use does not answer.
    Silent,
    /// It answers, but the node does not hear of the chain.
    Stuck,
    /// It answers, but not to the node, whose login is old.
    Login,
    /// A preferred one is back.
    Back,
}

/// Where to be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// The position in the list.
    pub(super) to: usize,
    /// Why.
    pub(super) why: Why,
}

/// What is remembered between turns.
#[derive(Debug)]
pub(super) struct Fallback {
    give_up_after: Duration,
    return_after: Duration,
    current: usize,
    silent_for: Duration,
    unheard_for: Duration,
    synced_at: Option<u64>,
    stuck_after: Duration,
    on_current_for: Duration,
    /// Of each source: how long it has answered without a gap, and how long it must before a return.
    well_for: Vec<Duration>,
    wanted: Vec<Duration>,
}

impl Fallback {
    pub(super) fn new(config: &ChainConfig) -> Fallback {
        let sources = config.sources.len();
        Fallback {
            give_up_after: config.give_up_after,
            return_after: config.return_after,
            current: 0,
            silent_for: Duration::ZERO,
            unheard_for: Duration::ZERO,
            synced_at: None,
            stuck_after: STUCK,
            on_current_for: Duration::ZERO,
            well_for: vec![Duration::ZERO; sources],
            wanted: vec![config.return_after; sources],
        }
    }

    /// How long one turn takes.
    pub(super) fn turn(&self) -> Duration {
        (self.give_up_after / 6).clamp(SHORTEST_TURN, LONGEST_TURN)
    }

    /// Which sources to ask this turn: the one in use, those before it, and all while it is silent.
    pub(super) fn asks(&self, position: usize) -> bool {
        position <= self.current || self.silent_for > Duration::ZERO || self.unheard_for >= self.stuck_after
    }

    /// How long the node has not heard of the chain.
    pub(super) fn unheard_for(&self) -> Duration {
        self.unheard_for
    }

    /// The node runs on the source at `position` now.
    pub(super) fn is_on(&mut self, position: usize) {
        if position > self.current && self.on_current_for < self.return_after * 2 {
            // It was returned to, or started on, and failed soon after.
            if let Some(wanted) = self.wanted.get_mut(self.current) {
                *wanted = (*wanted * 2).min(LONGEST_WAIT);
            }
        }
        self.current = position;
        self.silent_for = Duration::ZERO;
        self.unheard_for = Duration::ZERO;
        self.on_current_for = Duration::ZERO;
        self.well_for.fill(Duration::ZERO);
    }

    /// Takes in what a turn saw; says where to move, if anywhere.
    pub(super) fn turned(&mut self, turn: Duration, seen: &Seen) -> Option<Move> {
        self.on_current_for += turn;
        if self.on_current_for >= self.return_after * 2
            && let Some(wanted) = self.wanted.get_mut(self.current)
        {
            *wanted = self.return_after;
        }
        let answers = |position: usize| seen.answers.get(position).copied().flatten();
        for (position, well) in self.well_for.iter_mut().enumerate() {
            *well = if answers(position) == Some(true) { *well + turn } else { Duration::ZERO };
        }
        self.silent_for = match answers(self.current) {
            Some(false) => self.silent_for + turn,
            _ => Duration::ZERO,
        };
        if seen.synced_at == self.synced_at {
            self.unheard_for += turn;
        } else {
            (self.synced_at, self.unheard_for, self.stuck_after) = (seen.synced_at, Duration::ZERO, STUCK);
        }
        let other = (0..seen.answers.len())
            .find(|position| *position != self.current && answers(*position) == Some(true));
        if self.silent_for >= self.give_up_after {
            return other.map(|to| Move { to, why: Why::Silent });
        }
        if seen.login_changed && answers(self.current) == Some(true) {
            return Some(Move { to: self.current, why: Why::Login });
        }
        if self.silent_for == Duration::ZERO && self.unheard_for >= self.stuck_after {
            self.stuck_after *= 2;
            return Some(Move { to: other.unwrap_or(self.current), why: Why::Stuck });
        }
        let back = (0..self.current).find(|position| self.well_for[*position] >= self.wanted[*position]);
        back.map(|to| Move { to, why: Why::Back })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::ChainSource;

    const TURN: Duration = Duration::from_secs(10);

    fn fallback(sources: usize) -> Fallback {
        let source = ChainSource::Esplora { url: "http://x".to_owned() };
        Fallback::new(&ChainConfig::of(vec![source; sources]))
    }

    /// Turns with these answers, the node in step with the chain, until it moves.
    fn turns(fallback: &mut Fallback, most: u64, answers: &[bool]) -> Option<(u64, Move)> {
        (1..=most).find_map(|turn| {
            let asked = |(position, answer): (usize, &bool)| fallback.asks(position).then_some(*answer);
            let answers = answers.iter().enumerate().map(asked).collect();
            let synced_at = Some(fallback.synced_at.unwrap_or(0) + 1);
            fallback.turned(TURN, &Seen { answers, synced_at, ..Seen::default() }).map(|found| (turn, found))
        })
    }

    #[test]
    fn a_silent_source_is_left_after_its_time_and_only_for_one_that_answers() {
        let mut one = fallback(1);
        assert_eq!(turns(&mut one, 1_000, &[false]), None);
        let mut two = fallback(2);
        assert_eq!(two.turn(), TURN);
        assert_eq!(turns(&mut two, 1_000, &[false, false]), None);
        let mut two = fallback(2);
        assert_eq!(turns(&mut two, 11, &[false, true]), None);
        assert_eq!(turns(&mut two, 1, &[true, true]), None);
        let moved = turns(&mut two, 100, &[false, true]);
        assert_eq!(moved, Some((12, Move { to: 1, why: Why::Silent })), "an answer begins it anew");
    }

    #[test]
    fn a_preferred_source_is_returned_to_later_each_time_it_fails_again() {
        let mut two = fallback(2);
        let mut waits = Vec::new();
        for _ in 0..9 {
            two.is_on(1);
            let (turn, moved) = turns(&mut two, 100_000, &[true, true]).unwrap();
            assert_eq!(moved, Move { to: 0, why: Why::Back });
            waits.push(turn / 6);
            two.is_on(0);
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1440, 1440, 1440], "minutes");
        assert_eq!(turns(&mut two, 180, &[true, true]), None, "half an hour on it");
        two.is_on(1);
        assert_eq!(turns(&mut two, 1_000, &[true, true]).unwrap().0, 90, "is forgiven");
        two.is_on(1);
        assert_eq!(turns(&mut two, 89, &[true, true]), None);
        assert_eq!(turns(&mut two, 1, &[false, true]), None);
        assert_eq!(turns(&mut two, 89, &[true, true]), None, "a gap begins it anew");
    }

    #[test]
    fn a_bitcoind_with_a_new_cookie_has_the_node_built_anew_once_it_answers() {
        let mut one = fallback(1);
        let seen =
            |answer, login_changed| Seen { answers: vec![Some(answer)], synced_at: Some(7), login_changed };
        assert_eq!(one.turned(TURN, &seen(false, true)), None, "it is not up yet");
        assert_eq!(one.turned(TURN, &seen(true, true)), Some(Move { to: 0, why: Why::Login }));
        one.is_on(0);
        assert_eq!(one.turned(TURN, &seen(true, false)), None);
    }

    #[test]
    fn a_node_that_hears_nothing_from_a_source_that_answers_is_built_anew() {
        let mut one = fallback(1);
        let seen = Seen { answers: vec![Some(true)], synced_at: Some(7), ..Seen::default() };
        let mut moves = Vec::new();
        for turn in 0..200 {
            if let Some(found) = one.turned(TURN, &seen) {
                assert_eq!(found, Move { to: 0, why: Why::Stuck });
                moves.push(turn);
                one.is_on(0);
            }
        }
        assert_eq!(moves, [60, 180], "ten minutes, then twenty");
        let silent = Seen { answers: vec![Some(false)], ..seen };
        assert!((0..1_000).all(|_| one.turned(TURN, &silent).is_none()), "not while it is away");
        assert!(one.unheard_for() > Duration::from_secs(9_000));
    }
}
