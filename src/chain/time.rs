//! Asks the chain source what time it is: by its own clock, and by its newest blocks.

use electrum_client::ElectrumApi;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::check::PATIENCE;
use super::electrum;
use super::http::{client, innermost};
use super::source::ChainSource;
use crate::ports::SourceTime;
use crate::types::Timestamp;

/// Asks once.
///
/// # Errors
/// When it does not answer; the text says why.
pub async fn source_time(source: &ChainSource) -> Result<SourceTime, String> {
    let fault = innermost;
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let (user, password) = auth.credentials().map_err(|error| error.to_string())?;
            let ask =
                json!({"jsonrpc": "1.0", "id": "tollhouse", "method": "getblockchaininfo", "params": []});
            let request = client(PATIENCE)
                .post(format!("http://{host}:{port}/"))
                .basic_auth(user, Some(password))
                .json(&ask);
            let answer = request.send().await.map_err(fault)?;
            let date = date_of(&answer);
            let told: Value = answer.json().await.map_err(fault)?;
            let second = |name: &str| told["result"][name].as_u64().map(Timestamp::from_secs);
            Ok(SourceTime { date, tip: second("time"), median: second("mediantime") })
        }
        ChainSource::Esplora { url } => {
            let base = url.trim_end_matches('/');
            let answer =
                client(PATIENCE).get(format!("{base}/blocks/tip/hash")).send().await.map_err(fault)?;
            let date = date_of(&answer);
            let hash = answer.text().await.map_err(fault)?;
            let hash = hash.trim();
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Ok(SourceTime { date, ..SourceTime::default() });
            }
            let answer = client(PATIENCE).get(format!("{base}/block/{hash}")).send().await.map_err(fault)?;
            // Not every server tells of a block; its clock alone is worth something.
            let told: Value = answer.json().await.unwrap_or_default();
            let second = |name: &str| told[name].as_u64().map(Timestamp::from_secs);
            Ok(SourceTime { date, tip: second("timestamp"), median: second("mediantime") })
        }
        ChainSource::Electrum { url } => {
            let at = url.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let client = electrum::connect(&at, PATIENCE)?;
                client.block_headers_subscribe()
            });
            let newest =
                tokio::time::timeout(PATIENCE, asked).await.map_err(|_| "it took too long".to_owned())?;
            let newest = newest.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            let tip = Some(Timestamp::from_secs(newest.header.time.into()));
            Ok(SourceTime { date: None, tip, median: None })
        }
    }
}

fn date_of(answer: &reqwest::Response) -> Option<Timestamp> {
    read_date(answer.headers().get(http::header::DATE)?.to_str().ok()?)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
fn read_date(text: &str) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    u64::try_from(at.unix_timestamp()).ok().map(Timestamp::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_is_read() {
        assert_eq!(read_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp::from_secs(784_111_777)));
        assert_eq!(read_date("yesterday"), None);
    }
}
