//! Where the events of an event stream end, read as it passes (HTML, "Server-sent events").
//!
//! Pure. Invariant: how the stream is cut into frames changes nothing; memory is bounded whatever
//! comes, for of an event only its data is kept, and only when it is asked for and short enough.

/// Longest data of one event that is kept, in bytes.
pub(super) const MAX_DATA_BYTES: usize = 1 << 20;

const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];
const DATA: [u8; 4] = *b"data";

/// Reads an event stream, byte for byte as it passes.
#[derive(Debug, Default)]
pub(super) struct EventScanner {
    /// How much of a byte order mark was read; three when it is over.
    mark: usize,
    line: Line,
    /// The last byte was a CR: an LF after it is no line of its own.
    after_cr: bool,
    /// The event has data, so that its end hands it to whoever listens.
    has_data: bool,
    data: Data,
}

/// The line that is being read, as far as it matters.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// So many bytes, all of them those of `data`.
    Name(usize),
    /// `data:` and nothing yet.
    Colon,
    /// In the value of `data`.
    Value,
    /// Another field, or a comment.
    Other,
}

impl Default for Line {
    fn default() -> Line {
        Line::Name(0)
    }
}

/// The data of the event that is being read.
#[derive(Debug, Default)]
enum Data {
    /// Nobody wants it.
    #[default]
    Unwanted,
    /// As far as it came.
    Kept(Vec<u8>),
    /// More than is kept.
    TooLong,
}

impl Data {
    fn push(&mut self, more: &[u8]) {
        if let Data::Kept(kept) = self {
            if kept.len().saturating_add(more.len()) > MAX_DATA_BYTES {
                *self = Data::TooLong;
            } else {
                kept.extend_from_slice(more);
            }
        }
    }
}

/// An event that ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing that anybody hears of: only comments and fields without data.
    Silent,
    /// One with data, which is not kept.
    Heard,
    /// One with this data; its lines end with LF.
    Data(Vec<u8>),
    /// One with more data than is kept.
    TooLong,
}

impl EventScanner {
    /// A scanner that counts events.
    pub(super) fn counting() -> EventScanner {
        EventScanner::default()
    }

    /// A scanner that keeps each event's data until it ended.
    pub(super) fn keeping() -> EventScanner {
        EventScanner { data: Data::Kept(Vec::new()), ..EventScanner::default() }
    }

    /// Reads `data` up to where the next event ends in it: how many bytes that are, and the event.
    /// `None` when none does; then all of `data` was read.
    pub(super) fn next(&mut self, data: &[u8]) -> Option<(usize, Event)> {
        let mut at = 0;
        while let Some(byte) = data.get(at).copied() {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                at += 1;
                continue;
            }
            if matches!(byte, b'\n' | b'\r') {
                at += 1;
                self.after_cr = byte == b'\r';
                if let Some(event) = self.end_line() {
                    // The LF of a CRLF belongs to what it ends, when it is here already.
                    if self.after_cr && data.get(at) == Some(&b'\n') {
                        self.after_cr = false;
                        at += 1;
                    }
                    return Some((at, event));
                }
                continue;
            }
            at += self.within_line(&data[at..]);
        }
        None
    }

    /// Reads some of a line, at least a byte and no end of a line; gives how much.
    fn within_line(&mut self, data: &[u8]) -> usize {
        let byte = data[0];
        if self.mark < BOM.len() {
            if byte == BOM[self.mark] {
                self.mark += 1;
                return 1;
            }
            // A mark that is none stands in a name that nobody knows.
            self.line = if self.mark == 0 { self.line } else { Line::Other };
            self.mark = BOM.len();
        }
        match self.line {
            Line::Name(length) if DATA.get(length) == Some(&byte) => self.line = Line::Name(length + 1),
            Line::Name(length) => {
                let colon = length == DATA.len() && byte == b':';
                self.line = if colon { Line::Colon } else { Line::Other };
            }
            Line::Colon => {
                self.line = Line::Value;
                if byte != b' ' {
                    self.data.push(&[byte]);
                }
            }
            Line::Value | Line::Other => {
                let end = data.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(data.len());
                if matches!(self.line, Line::Value) {
                    self.data.push(&data[..end]);
                }
                return end;
            }
        }
        1
    }

    fn end_line(&mut self) -> Option<Event> {
        self.mark = BOM.len();
        match std::mem::take(&mut self.line) {
            Line::Name(0) => return Some(self.end_event()),
            Line::Name(length) if length < DATA.len() => {}
            Line::Other => {}
            Line::Name(_) | Line::Colon | Line::Value => {
                self.has_data = true;
                self.data.push(b"\n");
            }
        }
        None
    }

    fn end_event(&mut self) -> Event {
        let heard = std::mem::take(&mut self.has_data);
        match &mut self.data {
            _ if !heard => Event::Silent,
            Data::Unwanted => Event::Heard,
            Data::Kept(kept) => Event::Data(std::mem::take(kept)),
            Data::TooLong => {
                self.data = Data::Kept(Vec::new());
                Event::TooLong
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The data of a whole stream's events, as the standard reads it; what did not end is none.
    fn naive(stream: &[u8]) -> Vec<Vec<u8>> {
        let stream = stream.strip_prefix(&BOM).unwrap_or(stream);
        let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
        let mut lines: Vec<&str> = text.split('\n').collect();
        // The last line did not end.
        lines.pop();
        let (mut events, mut data) = (Vec::new(), None::<String>);
        for line in lines {
            if line.is_empty() {
                events.extend(data.take().map(String::into_bytes));
            } else if let (field, value) = line.split_once(':').unwrap_or((line, ""))
                && field == "data"
            {
                let data = data.get_or_insert_default();
                data.push_str(value.strip_prefix(' ').unwrap_or(value));
                data.push('\n');
            }
        }
        events
    }

    fn scanned(frames: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut scanner, mut events) = (EventScanner::keeping(), Vec::new());
        for frame in frames {
            let mut rest = *frame;
            while let Some((length, event)) = scanner.next(rest) {
                rest = &rest[length..];
                match event {
                    Event::Data(data) => events.push(data),
                    Event::Silent => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        events
    }

    fn stream() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("data"),
            Just("data:"),
            Just("data: "),
            Just("dat"),
            Just("id: 1"),
            Just(":"),
            Just(" "),
            Just("\n"),
            Just("\r"),
            Just("\r\n"),
            Just("\n\n"),
            Just("{\"a\":1}"),
            Just("[DONE]"),
            Just("é"),
        ];
        (any::<bool>(), proptest::collection::vec(piece, 0..40))
            .prop_map(|(mark, pieces)| if mark { "\u{feff}" } else { "" }.to_owned() + &pieces.concat())
    }

    proptest! {
        #[test]
        fn events_are_the_standard_s_however_they_are_cut(
            stream in stream(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = stream.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let frames: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(scanned(&frames), naive(bytes));
        }

        #[test]
        fn a_cut_at_an_event_s_end_leaves_whole_events(stream in stream()) {
            let (mut scanner, mut at) = (EventScanner::counting(), 0);
            let mut heard = 0;
            while let Some((length, event)) = scanner.next(&stream.as_bytes()[at..]) {
                at += length;
                heard += usize::from(event == Event::Heard);
                prop_assert!(length > 0);
                prop_assert_eq!(naive(&stream.as_bytes()[..at]).len(), heard);
            }
            prop_assert_eq!(naive(stream.as_bytes()).len(), heard);
        }
    }

    #[test]
    fn an_event_that_is_too_long_is_told() {
        let mut scanner = EventScanner::keeping();
        assert_eq!(scanner.next(b"data: "), None);
        for _ in 0..=MAX_DATA_BYTES / 1_000 {
            assert_eq!(scanner.next(&[b'x'; 1_000]), None);
        }
        assert_eq!(scanner.next(b"\n\n"), Some((2, Event::TooLong)));
        assert_eq!(scanner.next(b"data: 1\r\n\r\nd"), Some((11, Event::Data(b"1\n".to_vec()))));
    }
}
