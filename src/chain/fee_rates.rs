//! What a transaction must pay now, asked of the chain source: the library keeps its own answer to itself.

use std::collections::HashMap;
use std::time::Duration;

use bitcoin::Network;
use electrum_client::ElectrumApi;
use serde_json::{Number, Value, json};

use super::check::fetch_text;
use super::electrum;
use super::http::client;
use super::rpc::{Bitcoind, RpcFault};
use super::source::ChainSource;
use crate::ports::{FeeRate, FeeRates};

const PATIENCE: Duration = Duration::from_secs(10);

/// Blocks that each choice may wait: fast, normal, slow.
const TARGETS: [u32; 3] = [2, 6, 144];

/// What is guessed for each, sat/kvB, when the source has no estimate: a quiet chain's usual rates, and on a
/// chain of no value the least.
const GUESSES: [u64; 3] = [20_000, 10_000, 2_000];

/// Asks the chain source.
///
/// # Errors
/// When it does not answer; the text says why.
pub async fn fee_rates(source: &ChainSource, network: Network) -> Result<FeeRates, String> {
    let mut told = [None; 3];
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE).map_err(|fault| fault.to_string())?;
            for (rate, blocks) in told.iter_mut().zip(TARGETS) {
                // Without an estimate it answers with an error, or without a rate.
                let answer: Result<Value, _> = bitcoind.call("estimatesmartfee", json!([blocks])).await;
                match answer {
                    Ok(answer) => *rate = answer["feerate"].as_number().and_then(|rate| scaled(rate, 8)),
                    Err(RpcFault::Refused { .. }) => {}
                    Err(fault @ RpcFault::Away(_)) => return Err(fault.to_string()),
                }
            }
        }
        ChainSource::Esplora { url } => {
            let url = format!("{}/fee-estimates", url.trim_end_matches('/'));
            let text = fetch_text(client(PATIENCE).get(url)).await?;
            let answer: HashMap<String, Number> =
                serde_json::from_str(&text).map_err(|_| "it did not answer in JSON".to_owned())?;
            for (rate, blocks) in told.iter_mut().zip(TARGETS) {
                *rate = answer.get(&blocks.to_string()).and_then(|rate| scaled(rate, 3));
            }
        }
        ChainSource::Electrum { url } => {
            let url = url.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let client = electrum::connect(&url, PATIENCE)?;
                TARGETS
                    .map(usize::try_from)
                    .into_iter()
                    .flatten()
                    .map(|blocks| {
                        client.raw_call("blockchain.estimatefee", [electrum_client::Param::Usize(blocks)])
                    })
                    .collect::<Result<Vec<_>, _>>()
            });
            let answers =
                asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            for (rate, answer) in told.iter_mut().zip(answers) {
                // -1 is "I do not know", which is not a rate.
                *rate = answer.as_number().and_then(|rate| scaled(rate, 8));
            }
        }
    }
    Ok(rates(told, network))
}

fn rates(told: [Option<u64>; 3], network: Network) -> FeeRates {
    let estimated = told.iter().all(Option::is_some);
    let mut rates = [FeeRate::FLOOR; 3];
    for (at, rate) in rates.iter_mut().enumerate() {
        // Where blocks are not a market, nobody has an estimate, and the least does.
        let guess = if network == Network::Regtest { 1_000 } else { GUESSES[at] };
        *rate = FeeRate::nearest(told[at].unwrap_or(guess));
    }
    let [fast, normal, slow] = rates;
    let (normal, slow) = (normal.min(fast), slow.min(normal).min(fast));
    FeeRates { fast_sat_per_kvb: fast, normal_sat_per_kvb: normal, slow_sat_per_kvb: slow, estimated }
}

/// A decimal number times a power of ten, rounded up; from its digits, for money is never a float.
fn scaled(number: &Number, power: u32) -> Option<u64> {
    let text = number.to_string().to_ascii_lowercase();
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text.as_str(), 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u128 = format!("{whole}{part}").parse().ok()?;
    let shift = exponent + i32::try_from(power).ok()? - i32::try_from(part.len()).ok()?;
    let step = 10_u128.checked_pow(shift.unsigned_abs())?;
    let value = if shift < 0 { digits.div_ceil(step) } else { digits.checked_mul(step)? };
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_rates_are_read_to_the_digit() {
        for (text, power, wanted) in [
            ("0.00010001", 8, Some(10_001)),
            ("1e-5", 8, Some(1_000)),
            ("1.2345", 3, Some(1_235)),
            ("20", 3, Some(20_000)),
            ("-1", 3, None),
        ] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(scaled(&number, power), wanted, "{text}");
        }
    }

    #[test]
    fn a_patient_sender_never_pays_more_and_a_guess_is_called_one() {
        let all = |rates: FeeRates| {
            [rates.fast_sat_per_kvb, rates.normal_sat_per_kvb, rates.slow_sat_per_kvb]
                .map(FeeRate::sat_per_kvb)
        };
        let told = rates([Some(5_000), Some(9_000), Some(7_000)], Network::Bitcoin);
        assert_eq!((all(told), told.estimated), ([5_000, 5_000, 5_000], true));
        let told = rates([Some(30_000), None, Some(1)], Network::Bitcoin);
        assert_eq!((all(told), told.estimated), ([30_000, 10_000, 1_000], false));
        assert_eq!(all(rates([None; 3], Network::Regtest)), [1_000; 3]);
    }
}
