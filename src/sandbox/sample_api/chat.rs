//! The sample API's chat: words from a fixed answer, one server-sent event each, and at the end the
//! usage that its price is computed from.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::json;
use tokio_stream::StreamExt;

/// Between two words, as a model would take.
const PACE: Duration = Duration::from_millis(20);

const ANSWER: &str = "A toll house stood where a road began and asked each traveller for a coin. This one asks \
    each request for a few satoshi, keeps none of your secrets, and opens the gate before you can say so.";

/// What is asked.
#[derive(Deserialize)]
pub(super) struct Asked {
    prompt: String,
    #[serde(default = "usual")]
    max_tokens: usize,
}

fn usual() -> usize {
    64
}

/// `POST /v1/chat`.
pub(super) async fn chat(Json(asked): Json<Asked>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = events(&asked).into_iter().map(|data| Ok(Event::default().data(data)));
    Sse::new(tokio_stream::iter(events).throttle(PACE))
}

/// One word an event, then the usage, then the end as chat interfaces mark it.
fn events(asked: &Asked) -> Vec<String> {
    let words: Vec<&str> = ANSWER.split(' ').take(asked.max_tokens).collect();
    let (prompt, completion) = (asked.prompt.split_whitespace().count(), words.len());
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
    });
    let pieces = words.into_iter().map(|word| json!({ "delta": format!("{word} ") }));
    let end = [json!({ "usage": usage }).to_string(), "[DONE]".to_owned()];
    pieces.map(|piece| piece.to_string()).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_comes_last_and_counts_words() {
        let told = events(&Asked { prompt: "tell me more".to_owned(), max_tokens: 5 });
        assert_eq!(told.len(), 7);
        assert_eq!(told[0], r#"{"delta":"A "}"#);
        let usage: serde_json::Value = serde_json::from_str(&told[5]).unwrap();
        assert_eq!(usage["usage"]["total_tokens"], 8);
        assert_eq!(told[6], "[DONE]");
    }
}
