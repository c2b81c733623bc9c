//! The API that the sandbox sells: exchange rates from a fixed table, a phrasebook translator, and a chat
//! that streams.
//!
//! It stands in for the operator's own API, so it knows nothing of payments.

use std::collections::BTreeMap;

use axum::extract::{Json, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json as AsJson, Router};
use serde::Deserialize;
use serde_json::{Value, json};

mod chat;

/// Millionths of a US dollar that one unit is worth: a fixed sample, good for no trade.
const MICRO_USD: &[(&str, u64)] = &[
    ("USD", 1_000_000),
    ("EUR", 1_083_400),
    ("GBP", 1_267_800),
    ("CHF", 1_121_500),
    ("JPY", 6_540),
    ("CAD", 728_900),
    ("AUD", 651_200),
    ("SEK", 94_700),
];

const PHRASES: &[(&str, [&str; 3])] = &[
    ("good morning", ["buenos días", "bonjour", "guten Morgen"]),
    ("thank you", ["gracias", "merci", "danke"]),
    ("hello", ["hola", "bonjour", "hallo"]),
    ("world", ["mundo", "monde", "Welt"]),
    ("money", ["dinero", "argent", "Geld"]),
    ("lightning", ["relámpago", "éclair", "Blitz"]),
    ("please", ["por favor", "s'il vous plaît", "bitte"]),
    ("and", ["y", "et", "und"]),
    ("good", ["bueno", "bon", "gut"]),
    ("machine", ["máquina", "machine", "Maschine"]),
];

const LANGUAGES: [&str; 3] = ["es", "fr", "de"];

/// The sample API.
pub fn router() -> Router {
    Router::new()
        .route("/v1/health", get(|| async { AsJson(json!({"status": "ok"})) }))
        .route("/v1/exchange-rates", get(exchange_rates))
        .route("/v1/translate", post(translate))
        .route("/v1/chat", post(chat::chat))
}

#[derive(Deserialize)]
struct RatesAsk {
    #[serde(default = "usd")]
    base: String,
    #[serde(default = "everything")]
    quote: String,
}

fn usd() -> String {
    "USD".to_owned()
}

fn everything() -> String {
    MICRO_USD.iter().map(|(code, _)| *code).collect::<Vec<_>>().join(",")
}

async fn exchange_rates(Query(ask): Query<RatesAsk>) -> Response {
    match rates(&ask.base, &ask.quote) {
        Ok(rates) => {
            AsJson(json!({"base": ask.base, "rates": rates, "source": "sample table"})).into_response()
        }
        Err(code) => refuse(format!("`{code}` is not a currency of the sample table")),
    }
}

fn worth(code: &str) -> Option<u64> {
    MICRO_USD.iter().find(|(known, _)| *known == code).map(|(_, worth)| *worth)
}

/// Cross rates with six decimals, or the code that is not in the table.
fn rates(base: &str, quotes: &str) -> Result<BTreeMap<String, String>, String> {
    let of_base = worth(base).ok_or_else(|| base.to_owned())?;
    quotes
        .split(',')
        .map(|code| {
            let of_quote = worth(code).ok_or_else(|| code.to_owned())?;
            let millionths = of_base * 1_000_000 / of_quote;
            Ok((code.to_owned(), format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)))
        })
        .collect()
}

#[derive(Deserialize)]
struct TranslateAsk {
    text: String,
    to: String,
}

async fn translate(Json(ask): Json<TranslateAsk>) -> Response {
    let Some(language) = LANGUAGES.iter().position(|known| *known == ask.to) else {
        return refuse(format!("`to` must be one of {}", LANGUAGES.join(", ")));
    };
    let mut text = ask.text.to_lowercase();
    for (phrase, translations) in PHRASES {
        text = text.replace(phrase, translations[language]);
    }
    let answer: Value = json!({"text": text, "from": "en", "to": ask.to});
    AsJson(answer).into_response()
}

fn refuse(why: String) -> Response {
    (StatusCode::BAD_REQUEST, AsJson(json!({"error": why}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_cross_over_the_dollar() {
        let found = rates("USD", "EUR,JPY").unwrap();
        assert_eq!(found["EUR"], "0.923020");
        assert_eq!(found["JPY"], "152.905198");
        assert_eq!(rates("EUR", "EUR").unwrap()["EUR"], "1.000000");
        assert_eq!(rates("USD", "XXX"), Err("XXX".to_owned()));
    }
}
