//! Lets an answer through as far as it is paid for, and cuts it there.
//!
//! Pure. Invariants: what passes is a beginning of what came, in its order; nothing passes that was
//! not afforded; of an event stream whole events pass, so that a client never takes half an event for
//! one. What is held back for that is bounded: an event that is longer passes as it comes.

use bytes::{Bytes, BytesMut};

use super::sse::{Event, EventScanner};

/// How much of an unfinished event is held back, in bytes.
const MAX_HELD_BACK: usize = 64 * 1024;

/// An answer on its way through.
#[derive(Debug)]
pub(super) enum Flow {
    /// Bytes.
    Bytes,
    /// Events.
    Events(Events),
}

/// An event stream on its way through.
#[derive(Debug)]
pub(super) struct Events {
    scanner: EventScanner,
    /// The beginning of an event.
    back: BytesMut,
    /// Some of the event that is under way has passed.
    torn: bool,
}

/// What may pass of what came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// The bytes.
    pub(super) data: Bytes,
    /// How many events end in them; of other answers, one for each frame.
    pub(super) chunks: u64,
    /// More was not afforded: nothing may pass any more.
    pub(super) cut: bool,
}

impl Flow {
    /// An event stream.
    pub(super) fn of_events() -> Flow {
        Flow::Events(Events { scanner: EventScanner::counting(), back: BytesMut::new(), torn: false })
    }

    /// Takes a frame. `affords` says whether so many bytes and chunks more than before are paid for.
    pub(super) fn pass(&mut self, frame: Bytes, affords: impl FnMut(u64, u64) -> bool) -> Passed {
        match self {
            Flow::Bytes => cut_bytes(frame, 1, affords),
            Flow::Events(events) => events.pass(&frame, affords),
        }
    }

    /// The answer ended: what was held back passes.
    pub(super) fn finish(&mut self, mut affords: impl FnMut(u64, u64) -> bool) -> Passed {
        match self {
            Flow::Bytes => Passed::default(),
            Flow::Events(events) => {
                let data = std::mem::take(&mut events.back).freeze();
                // No client takes a part of what never became an event.
                let cut = !data.is_empty() && !affords(size(data.len()), 0);
                Passed { data: if cut { Bytes::new() } else { data }, chunks: 0, cut }
            }
        }
    }

    /// Whether an event of our own may follow what has passed.
    pub(super) fn takes_event(&self) -> bool {
        matches!(self, Flow::Events(events) if !events.torn)
    }
}

impl Events {
    fn pass(&mut self, frame: &[u8], mut affords: impl FnMut(u64, u64) -> bool) -> Passed {
        let mut read = self.back.len();
        self.back.extend_from_slice(frame);
        let (mut whole, mut chunks) = (0, 0);
        while let Some((length, event)) = self.scanner.next(&self.back[read..]) {
            read += length;
            let heard = u64::from(event != Event::Silent);
            if !affords(size(read), chunks + heard) {
                return Passed { data: self.back.split_to(whole).freeze(), chunks, cut: true };
            }
            (whole, chunks, self.torn) = (read, chunks + heard, false);
        }
        let mut data = self.back.split_to(whole);
        if self.back.len() <= MAX_HELD_BACK {
            return Passed { data: data.freeze(), chunks, cut: false };
        }
        let before = size(data.len());
        let begun = cut_bytes(self.back.split().freeze(), 0, |bytes, _| affords(before + bytes, chunks));
        self.torn |= !begun.data.is_empty();
        data.extend_from_slice(&begun.data);
        Passed { data: data.freeze(), chunks, cut: begun.cut }
    }
}

/// As much of `data` as is afforded. Dearer is taken to be what is longer.
fn cut_bytes(mut data: Bytes, chunks: u64, mut affords: impl FnMut(u64, u64) -> bool) -> Passed {
    if data.is_empty() || affords(size(data.len()), chunks) {
        let chunks = if data.is_empty() { 0 } else { chunks };
        return Passed { data, chunks, cut: false };
    }
    let (mut paid, mut dear) = (0, data.len());
    while dear - paid > 1 {
        let middle = paid + (dear - paid) / 2;
        if affords(size(middle), chunks) {
            paid = middle;
        } else {
            dear = middle;
        }
    }
    data.truncate(paid);
    Passed { data, chunks: if paid == 0 { 0 } else { chunks }, cut: true }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs `frames` through; gives what passed, how many chunks, and whether it was cut.
    fn run(
        mut flow: Flow,
        frames: &[Vec<u8>],
        price: impl Fn(u64, u64) -> u64,
        held: u64,
    ) -> (Vec<u8>, u64, bool, bool) {
        let (mut all, mut bytes, mut chunks) = (Vec::new(), 0, 0);
        let mut step = |flow: &mut Flow, frame: Option<&Vec<u8>>| {
            let affords = |b, c| price(bytes + b, chunks + c) <= held;
            let passed = match frame {
                Some(frame) => flow.pass(Bytes::copy_from_slice(frame), affords),
                None => flow.finish(affords),
            };
            bytes += size(passed.data.len());
            chunks += passed.chunks;
            all.extend_from_slice(&passed.data);
            passed.cut
        };
        let mut cut = frames.iter().any(|frame| step(&mut flow, Some(frame)));
        let takes = flow.takes_event();
        cut = cut || step(&mut flow, None);
        (all, chunks, cut, takes)
    }

    fn events() -> impl Strategy<Value = Vec<String>> {
        let event = prop_oneof![
            4 => "data: [a-z]{0,40}\n\n",
            1 => Just(": ping\n\n".to_owned()),
            1 => "event: x\r\ndata: [a-z]{0,9}\r\ndata: [a-z]{0,9}\r\n\r\n",
        ];
        proptest::collection::vec(event, 0..20)
    }

    fn frames_of(stream: &str, cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        places.windows(2).map(|pair| stream.as_bytes()[pair[0]..pair[1]].to_vec()).collect()
    }

    proptest! {
        #[test]
        fn no_more_passes_than_is_paid_for(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12),
            per_byte in 1u64..5,
            base in 0u64..50,
            held in 50u64..2_000,
        ) {
            let whole = frames.concat();
            let price = |bytes, _| base + bytes * per_byte;
            let (passed, _, cut, _) = run(Flow::Bytes, &frames, price, held);
            prop_assert!(whole.starts_with(&passed));
            prop_assert!(price(size(passed.len()), 0) <= held);
            prop_assert_eq!(cut, passed.len() < whole.len());
            // To the byte: one more would not have been paid for.
            prop_assert!(!cut || price(size(passed.len()) + 1, 0) > held);
        }

        #[test]
        fn whole_events_pass_and_as_many_as_are_paid_for(
            events in events(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
            per_event in 1u64..5,
            held in 0u64..40,
        ) {
            let stream = events.concat();
            let price = |_, chunks| chunks * per_event;
            let (passed, chunks, cut, takes) = run(Flow::of_events(), &frames_of(&stream, &cuts), price, held);
            prop_assert!(stream.as_bytes().starts_with(&passed) && takes);
            // An event that ends in CRLF may have ended for its reader before the LF came.
            let ends = |text: &str| text.as_bytes() == passed || text.strip_suffix('\n').is_some_and(|cr| cr.as_bytes() == passed);
            let whole = (0..=events.len()).map(|n| events[..n].concat()).find(|text| ends(text));
            prop_assert!(whole.is_some(), "not at an event's end");
            prop_assert!(chunks * per_event <= held);
            prop_assert_eq!(cut, passed.len() < stream.len());
            prop_assert!(!cut || (chunks + 1) * per_event > held);
        }

        #[test]
        fn what_is_paid_for_passes_unchanged(
            events in events(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
            tail in "data: [a-z]{0,9}",
        ) {
            let stream = events.concat() + &tail;
            let frames = frames_of(&stream, &cuts);
            for flow in [Flow::of_events(), Flow::Bytes] {
                let (passed, _, cut, _) = run(flow, &frames, |_, _| 0, 0);
                prop_assert_eq!(&passed, stream.as_bytes());
                prop_assert!(!cut);
            }
        }
    }

    #[test]
    fn an_event_that_is_too_long_to_hold_back_passes_by_the_byte() {
        let long = [b"data: 1\n\ndata: ".to_vec(), vec![b'x'; MAX_HELD_BACK * 2]];
        let held = size(MAX_HELD_BACK);
        let (passed, chunks, cut, takes) = run(Flow::of_events(), &long, |bytes, _| bytes, held);
        assert_eq!((size(passed.len()), chunks, cut), (held, 1, true));
        assert!(!takes, "an event of ours would be taken for its end");
        let whole = [long.concat(), b"\n\ndata: 2\n\n".to_vec()];
        let (passed, chunks, cut, takes) = run(Flow::of_events(), &whole, |_, chunks| chunks, 2);
        assert_eq!((passed.len(), chunks, cut, takes), (whole.concat().len() - 9, 2, true, true));
    }
}
