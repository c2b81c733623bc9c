//! What can be asked of the treasury.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::{FeeRate, FeeRates};
use crate::types::Msat;

/// One move of coins. Its name and its fields are what the record of an operation holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Deed {
    /// Coins to an address.
    Send {
        /// Where to.
        address: String,
        /// How much arrives, satoshi.
        amount_sat: u64,
        /// What the transaction pays.
        #[serde(default)]
        fee: FeeChoice,
    },
    /// All coins to an address.
    SendAll {
        /// Where to.
        address: String,
        /// What the transaction pays.
        #[serde(default)]
        fee: FeeChoice,
        /// Also what is kept back for closing channels.
        #[serde(default)]
        reserve_too: bool,
    },
    /// A channel to a node.
    OpenChannel {
        /// Its public key, hexadecimal.
        peer: String,
        /// Its address, `host:port`.
        address: String,
        /// The channel's value, satoshi.
        amount_sat: u64,
        /// What the other side gets at the start: a gift.
        #[serde(default)]
        push_msat: Msat,
        /// Tell the public network.
        #[serde(default)]
        announce: bool,
    },
    /// The end of a channel, by agreement.
    CloseChannel {
        /// Which.
        channel_id: String,
    },
    /// The end of a channel, by force.
    ForceCloseChannel {
        /// Which.
        channel_id: String,
    },
    /// Coins of the wallet into a channel.
    SpliceIn {
        /// Which.
        channel_id: String,
        /// How much, satoshi.
        amount_sat: u64,
    },
    /// Coins of a channel to an address.
    SpliceOut {
        /// Which.
        channel_id: String,
        /// Where to.
        address: String,
        /// How much arrives, satoshi.
        amount_sat: u64,
    },
}

impl Deed {
    /// Its name in the record.
    pub const fn kind(&self) -> &'static str {
        match self {
            Deed::Send { .. } => "send",
            Deed::SendAll { .. } => "send_all",
            Deed::OpenChannel { .. } => "open_channel",
            Deed::CloseChannel { .. } => "close_channel",
            Deed::ForceCloseChannel { .. } => "force_close_channel",
            Deed::SpliceIn { .. } => "splice_in",
            Deed::SpliceOut { .. } => "splice_out",
        }
    }

    /// What is asked for, as it is recorded.
    pub fn ask(&self) -> Value {
        let mut ask = serde_json::to_value(self).expect("a deed is made of text and numbers");
        if let Some(fields) = ask.as_object_mut() {
            fields.remove("kind");
        }
        ask
    }

    /// What a record asked for; `None` of a kind that this program does not know.
    pub fn of_record(kind: &str, ask: &Value) -> Option<Deed> {
        let mut ask = ask.clone();
        ask.as_object_mut()?.insert("kind".to_owned(), kind.into());
        serde_json::from_value(ask).ok()
    }

    /// The address that stands for a fresh one of the operator's vault; whoever asks the treasury puts the
    /// real one in its place.
    pub const VAULT: &str = "vault";

    /// The address that stands for a fresh one of this node's own wallet, for what leaves a channel; likewise.
    pub const WALLET: &str = "wallet";

    /// Whether its address stands for one that is handed out when it is done.
    pub(super) fn awaits_address(&self) -> bool {
        match self.address() {
            Some(Deed::VAULT) => true,
            Some(Deed::WALLET) => matches!(self, Deed::SpliceOut { .. }),
            _ => false,
        }
    }

    /// The address that coins go to.
    pub fn address(&self) -> Option<&str> {
        match self {
            Deed::Send { address, .. } | Deed::SendAll { address, .. } | Deed::SpliceOut { address, .. } => {
                Some(address)
            }
            _ => None,
        }
    }

    /// The same, to another address.
    #[must_use]
    pub fn to(mut self, to: String) -> Deed {
        if let Deed::Send { address, .. } | Deed::SendAll { address, .. } | Deed::SpliceOut { address, .. } =
            &mut self
        {
            *address = to;
        }
        self
    }

    /// The channel that it is about.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Deed::CloseChannel { channel_id }
            | Deed::ForceCloseChannel { channel_id }
            | Deed::SpliceIn { channel_id, .. }
            | Deed::SpliceOut { channel_id, .. } => Some(channel_id),
            Deed::Send { .. } | Deed::SendAll { .. } | Deed::OpenChannel { .. } => None,
        }
    }
}

/// What a transaction pays: `fast`, `normal`, `slow`, or an exact rate in sat/kvB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeeChoice {
    /// For one of the next two blocks.
    Fast,
    /// Within an hour or so.
    #[default]
    Normal,
    /// Within a day.
    Slow,
    /// So much.
    SatPerKvb(FeeRate),
}

impl FeeChoice {
    /// The rate, with what the chain source says.
    pub const fn of(self, rates: &FeeRates) -> FeeRate {
        match self {
            FeeChoice::Fast => rates.fast_sat_per_kvb,
            FeeChoice::Normal => rates.normal_sat_per_kvb,
            FeeChoice::Slow => rates.slow_sat_per_kvb,
            FeeChoice::SatPerKvb(rate) => rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_the_deed_back() {
        let rate = FeeRate::of_sat_per_kvb(2_500).unwrap();
        let (address, channel_id) = ("bcrt1q".to_owned(), "aa".to_owned());
        let deeds = [
            Deed::Send { address: address.clone(), amount_sat: 5, fee: FeeChoice::SatPerKvb(rate) },
            Deed::SendAll { address: address.clone(), fee: FeeChoice::Slow, reserve_too: true },
            Deed::OpenChannel {
                peer: "02".to_owned(),
                address: "host:9735".to_owned(),
                amount_sat: 100_000,
                push_msat: Msat::ZERO,
                announce: true,
            },
            Deed::CloseChannel { channel_id: channel_id.clone() },
            Deed::ForceCloseChannel { channel_id: channel_id.clone() },
            Deed::SpliceIn { channel_id: channel_id.clone(), amount_sat: 7 },
            Deed::SpliceOut { channel_id, address, amount_sat: 8 },
        ];
        for deed in deeds {
            assert!(deed.ask().get("kind").is_none());
            assert_eq!(Deed::of_record(deed.kind(), &deed.ask()), Some(deed));
        }
        assert_eq!(Deed::of_record("teleport", &serde_json::json!({})), None);
        let ask = serde_json::json!({ "address": "bcrt1q", "amount_sat": 5 });
        let Some(Deed::Send { fee, .. }) = Deed::of_record("send", &ask) else { panic!("a send") };
        assert_eq!(fee, FeeChoice::Normal);
    }
}
