//! What a rule may read of an answer's JSON: the document, or the object at the end of a stream.
//!
//! Pure. Invariant: at most [`MAX_JSON_BYTES`] are kept of an answer, and what is longer is never
//! taken for something shorter: it is [`Captured::TooLong`].

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::sse::{Event, EventScanner, MAX_DATA_BYTES};

/// Longest JSON document that a rule may read, in bytes; of a stream, the longest event.
pub(super) const MAX_JSON_BYTES: usize = MAX_DATA_BYTES;

/// Whether the answer is a stream of events that can be read.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"text/event-stream") && !is_encoded(headers)
}

/// Whether the answer is compressed, so that nothing can be read in it.
fn is_encoded(headers: &HeaderMap) -> bool {
    let all = headers.get_all(CONTENT_ENCODING);
    all.iter().flat_map(|value| value.as_bytes().split(|b| *b == b',')).any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// An answer's JSON on its way.
#[derive(Debug)]
pub(super) enum Capture {
    /// A document, as far as it came.
    Document(Vec<u8>),
    /// A stream, and what was the last object in it.
    Stream(EventScanner, Last),
    /// Longer than is kept.
    TooLong,
    /// Compressed.
    Encoded,
}

/// The last JSON object of a stream so far.
#[derive(Debug, Default)]
pub(super) struct Last {
    object: Captured<Vec<u8>>,
    /// It says what was used.
    usage: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Captured<T> {
    /// No JSON, or of a stream no object.
    #[default]
    None,
    /// The JSON.
    Json(T),
    /// Longer than is kept.
    TooLong,
    /// Compressed, although that was not asked for.
    Encoded,
}

/// What is to be known about an event's object.
#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    usage: Option<IgnoredAny>,
}

impl Last {
    /// Streams end in an object that says what was used, or in one that only says that it is over.
    fn take(&mut self, event: Event) {
        match event {
            Event::Silent | Event::Heard => {}
            Event::TooLong => *self = Last { object: Captured::TooLong, usage: false },
            Event::Data(data) if data.trim_ascii_start().first() == Some(&b'{') => {
                if let Ok(Shape { usage }) = serde_json::from_slice(&data)
                    && (usage.is_some() || !self.usage)
                {
                    *self = Last { object: Captured::Json(data), usage: usage.is_some() };
                }
            }
            Event::Data(_) => {}
        }
    }
}

impl Capture {
    /// Begins with the answer's headers.
    pub(super) fn of(headers: &HeaderMap) -> Capture {
        if is_encoded(headers) {
            Capture::Encoded
        } else if is_event_stream(headers) {
            Capture::Stream(EventScanner::keeping(), Last::default())
        } else {
            Capture::Document(Vec::new())
        }
    }

    /// More of the body.
    pub(super) fn read(&mut self, data: &[u8]) {
        match self {
            Capture::Document(kept) if kept.len().saturating_add(data.len()) > MAX_JSON_BYTES => {
                *self = Capture::TooLong;
            }
            Capture::Document(kept) => kept.extend_from_slice(data),
            Capture::Stream(scanner, last) => {
                let mut rest = data;
                while let Some((length, event)) = scanner.next(rest) {
                    rest = &rest[length..];
                    last.take(event);
                }
            }
            Capture::TooLong | Capture::Encoded => {}
        }
    }

    /// Whether what was read so far does not say what the whole comes to: who leaves before that is said has
    /// not paid by what came before it.
    pub(super) fn is_unsaid(&self) -> bool {
        match self {
            Capture::Document(_) => self.json() == Captured::None,
            Capture::Stream(_, last) => !last.usage && last.object != Captured::TooLong,
            Capture::TooLong | Capture::Encoded => false,
        }
    }

    /// The JSON of what was read. An event that did not end is none.
    pub(super) fn json(&self) -> Captured<Value> {
        let parsed =
            |text: &[u8]| serde_json::from_slice(text).map_or(Captured::None, Captured::<Value>::Json);
        match self {
            Capture::Document(text) => parsed(text),
            Capture::Stream(_, Last { object, .. }) => match object {
                Captured::Json(text) => parsed(text),
                Captured::TooLong => Captured::TooLong,
                Captured::None | Captured::Encoded => Captured::None,
            },
            Capture::TooLong => Captured::TooLong,
            Capture::Encoded => Captured::Encoded,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn stream() -> HeaderMap {
        headers(&[("content-type", "Text/Event-Stream; charset=utf-8")])
    }

    fn read(headers: &HeaderMap, frames: &[&[u8]]) -> Captured<Value> {
        let mut capture = Capture::of(headers);
        frames.iter().for_each(|frame| capture.read(frame));
        capture.json()
    }

    /// As OpenAI-style servers send it.
    const CHAT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n\
                        data: {\"choices\":[],\"usage\":{\"total_tokens\":12}}\n\n\
                        data: [DONE]\n\n";

    proptest! {
        #[test]
        fn the_same_is_read_however_it_is_cut(place in 0usize..CHAT.len(), other in 0usize..CHAT.len()) {
            let (first, second) = (place.min(other), place.max(other));
            let bytes = CHAT.as_bytes();
            let frames = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let Captured::Json(json) = read(&stream(), &frames) else { panic!("no object") };
            prop_assert_eq!(&json["usage"]["total_tokens"], 12);
            let document = br#"{"usage": {"total_tokens": 9}, "choices": [{"text": "ok"}]}"#;
            let place = first % document.len();
            let whole = read(&HeaderMap::new(), &[&document[..place], &document[place..]]);
            prop_assert_eq!(whole, Captured::Json(serde_json::from_slice(document).unwrap()));
        }
    }

    #[test]
    fn what_was_used_is_kept_when_the_end_is_only_said() {
        let text = b"event: message_delta\ndata: {\"usage\":{\"output_tokens\":7}}\n\n\
                     event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        assert_eq!(read(&stream(), &[text]), Captured::Json(json!({ "usage": { "output_tokens": 7 } })));
        let text = b"data: {\"n\":1}\n\ndata: {\"n\":2}\n\ndata: {broken\n\ndata: [3]\n\ndata: {\"n\":4}\n";
        assert_eq!(read(&stream(), &[text]), Captured::Json(json!({ "n": 2 })));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let long = vec![b' '; MAX_JSON_BYTES];
        assert_eq!(read(&HeaderMap::new(), &[b"{}", &long]), Captured::TooLong);
        assert_eq!(read(&HeaderMap::new(), &[&long[2..], b"{}"]), Captured::Json(json!({})));
        assert_eq!(read(&HeaderMap::new(), &[b"<html>"]), Captured::None);
        let event = [b"data: {\"n\":\"", long.as_slice(), b"\"}\n\n"].concat();
        assert_eq!(read(&stream(), &[&event]), Captured::TooLong);
        assert_eq!(read(&stream(), &[&event, b"data: {\"n\":1}\n\n"]), Captured::Json(json!({ "n": 1 })));
        for coding in ["gzip", "identity, br"] {
            assert_eq!(read(&headers(&[("content-encoding", coding)]), &[b"{}"]), Captured::Encoded);
        }
        let plain = headers(&[("content-encoding", "identity")]);
        assert_eq!(read(&plain, &[b"{}"]), Captured::Json(json!({})));
    }
}
