//! Asking the node: each deed is one call.

use serde_json::json;

use super::{Deed, FeeChoice, Finding, Treasury, TreasuryError};
use crate::ports::{CloseHow, FeeRate, Much, OpenAsk, SendFault, Splice, plain};
use crate::store::OperationState;
use crate::types::Msat;

/// Less is not relayed: the library's own limit.
pub(super) const DUST_SAT: u64 = 546;
/// A smaller channel cannot pay for its own closing, and other nodes refuse it.
pub(super) const SMALLEST_CHANNEL_SAT: u64 = 20_000;

impl Treasury {
    /// Refuses what makes no sense, before anything is recorded.
    pub(super) fn check(&self, deed: &Deed) -> Result<(), TreasuryError> {
        if let Some(address) = deed.address() {
            self.check_address(deed, address)?;
        }
        Treasury::check_rest(deed)
    }

    /// The same without the address.
    pub(super) fn check_rest(deed: &Deed) -> Result<(), TreasuryError> {
        let bad_amount = |text: String| Err(TreasuryError::Senseless { code: "bad_amount", text });
        Treasury::check_fee(deed)?;
        match deed {
            Deed::Send { amount_sat, .. } | Deed::SpliceOut { amount_sat, .. } => {
                if Msat::from_sat(*amount_sat).is_err() {
                    return bad_amount("amount_sat is more than there is".to_owned());
                }
                if *amount_sat < DUST_SAT {
                    return bad_amount(format!(
                        "the amount must be at least {DUST_SAT} sat: less is not relayed"
                    ));
                }
            }
            Deed::OpenChannel { amount_sat, push_msat, .. } => {
                let Ok(value) = Msat::from_sat(*amount_sat) else {
                    return bad_amount("amount_sat is more than there is".to_owned());
                };
                if *amount_sat < SMALLEST_CHANNEL_SAT {
                    return bad_amount(format!(
                        "amount_sat must be at least {SMALLEST_CHANNEL_SAT}: a smaller channel does not pay for its \
                         own closing"
                    ));
                }
                if *push_msat >= value {
                    return bad_amount("push_msat must be less than the channel's value".to_owned());
                }
            }
            Deed::SpliceIn { amount_sat, .. } if *amount_sat == 0 => {
                return bad_amount("amount_sat must be more than 0".to_owned());
            }
            Deed::SendAll { .. }
            | Deed::SpliceIn { .. }
            | Deed::CloseChannel { .. }
            | Deed::ForceCloseChannel { .. } => {}
        }
        Ok(())
    }

    /// Refuses a fee rate that is a slip of the keyboard.
    fn check_fee(deed: &Deed) -> Result<(), TreasuryError> {
        match deed {
            Deed::Send { fee: FeeChoice::SatPerKvb(rate), .. }
            | Deed::SendAll { fee: FeeChoice::SatPerKvb(rate), .. }
                if FeeRate::of_sat_per_kvb(rate.sat_per_kvb()).is_none() =>
            {
                Err(TreasuryError::Senseless {
                    code: "bad_fee",
                    text: format!("the fee rate must be {} to {}", FeeRate::FLOOR, FeeRate::CEILING),
                })
            }
            _ => Ok(()),
        }
    }

    fn check_address(&self, deed: &Deed, address: &str) -> Result<(), TreasuryError> {
        let coins = &self.0.parts.coins;
        let checked = match deed {
            Deed::SpliceOut { .. } => coins.check_splice_address(address),
            _ => coins.check_address(address),
        };
        checked.map_err(|fault| TreasuryError::Senseless { code: "bad_address", text: fault.0 })
    }

    /// The fee rate that `deed` pays, where it has a choice. Where the library chooses one, there must be some to choose
    /// from; but no close waits for a chain source.
    pub(super) async fn rate(&self, deed: &Deed) -> Result<Option<FeeRate>, TreasuryError> {
        let rates = async || self.0.parts.coins.fee_rates().await.map_err(TreasuryError::NoFeeRates);
        match deed {
            Deed::Send { fee: FeeChoice::SatPerKvb(rate), .. }
            | Deed::SendAll { fee: FeeChoice::SatPerKvb(rate), .. } => Ok(Some(*rate)),
            Deed::Send { fee, .. } | Deed::SendAll { fee, .. } => Ok(Some(fee.of(&rates().await?))),
            Deed::OpenChannel { .. } | Deed::SpliceIn { .. } | Deed::SpliceOut { .. } => {
                rates().await.map(|_| None)
            }
            Deed::CloseChannel { .. } | Deed::ForceCloseChannel { .. } => Ok(None),
        }
    }

    /// Why the node refused, where it is that there is not enough: it does not say how much would be.
    async fn why_refused(&self, deed: &Deed) -> Option<String> {
        match self.weigh(deed).await {
            Ok(plan) if !plan.enough => Some(clause(&plan.lines.join(" "))),
            Err(TreasuryError::Senseless { code: "coins_unconfirmed", text }) => Some(text),
            _ => None,
        }
    }

    /// Asks the node, once.
    pub(super) async fn act(&self, deed: &Deed, rate: Option<FeeRate>) -> Finding {
        let (control, coins) = (&self.0.parts.control, &self.0.parts.coins);
        let rate = rate.unwrap_or(FeeRate::FLOOR);
        let sent = |facts| Finding::new(OperationState::Sent, facts);
        let asked = match deed {
            Deed::Send { address, amount_sat, .. } => coins
                .send_coins(address, Much::Exactly(*amount_sat), rate)
                .await
                .map(|txid| json!({ "txid": txid, "fee_rate_sat_per_kvb": rate })),
            Deed::SendAll { address, reserve_too, .. } => {
                let much = if *reserve_too { Much::All } else { Much::AllButReserve };
                let txid = coins.send_coins(address, much, rate).await;
                txid.map(|txid| json!({ "txid": txid, "fee_rate_sat_per_kvb": rate }))
            }
            Deed::OpenChannel { peer, address, amount_sat, push_msat, announce } => control
                .open_channel(OpenAsk {
                    peer: peer.clone(),
                    address: address.clone(),
                    amount_sat: *amount_sat,
                    push: *push_msat,
                    announce: *announce,
                })
                .await
                .map(|local_id| json!({ "local_id": local_id })),
            Deed::CloseChannel { channel_id } => {
                control.close_channel(channel_id, CloseHow::Cooperative).await.map(|()| json!({}))
            }
            Deed::ForceCloseChannel { channel_id } => {
                control.close_channel(channel_id, CloseHow::Force).await.map(|()| json!({}))
            }
            Deed::SpliceIn { channel_id, amount_sat } => {
                coins.splice(channel_id, Splice::In { amount_sat: *amount_sat }).await.map(|()| json!({}))
            }
            Deed::SpliceOut { channel_id, address, amount_sat } => {
                let splice = Splice::Out { amount_sat: *amount_sat, address: address.clone() };
                coins.splice(channel_id, splice).await.map(|()| json!({}))
            }
        };
        match asked {
            Ok(facts) => sent(facts),
            Err(SendFault::Away(why)) => Finding::failed(plain(&why)),
            Err(SendFault::Refused(why)) => match self.why_refused(deed).await {
                Some(why) => Finding::failed(why),
                None => Finding::failed(plain(&why)),
            },
            Err(SendFault::Uncertain(why)) => Finding::new(OperationState::Unclear, json!({ "reason": why })),
        }
    }
}

/// A sentence within another one.
fn clause(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}
