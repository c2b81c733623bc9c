//! Coins on the chain and channels as the operator moves them: what there is, and what may be asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoxFuture, NodeFault, SendFault};

/// What a transaction pays for its place in a block, in satoshi for 1,000 virtual bytes; 1,000 is "1 sat/vB".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FeeRate(u64);

impl FeeRate {
    /// The least that nodes of the network relay: 1 sat/vB.
    pub const FLOOR: FeeRate = FeeRate(1_000);
    /// More is taken for a slip of the keyboard: 2,000 sat/vB.
    pub const CEILING: FeeRate = FeeRate(2_000_000);

    /// So many satoshi for 1,000 virtual bytes; `None` outside of [`FeeRate::FLOOR`] to [`FeeRate::CEILING`].
    pub fn of_sat_per_kvb(rate: u64) -> Option<FeeRate> {
        (FeeRate::FLOOR.0..=FeeRate::CEILING.0).contains(&rate).then_some(FeeRate(rate))
    }

    /// A rate as people write it, in sat/vB with at most three decimals: `2.5`. `None` when it is no number,
    /// or outside of the limits.
    pub fn of_sat_per_vbyte(text: &str) -> Option<FeeRate> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = digits(whole) && digits(part) && part.len() <= 3 && !whole.is_empty();
        fits.then(|| format!("{whole}{part:0<3}").parse().ok()).flatten().and_then(FeeRate::of_sat_per_kvb)
    }

    /// The nearest one that is allowed.
    pub fn nearest(sat_per_kvb: u64) -> FeeRate {
        FeeRate(sat_per_kvb.clamp(FeeRate::FLOOR.0, FeeRate::CEILING.0))
    }

    /// Satoshi for 1,000 virtual bytes.
    pub const fn sat_per_kvb(self) -> u64 {
        self.0
    }

    /// Satoshi for 1,000 units of weight, rounded up.
    pub const fn sat_per_kwu(self) -> u64 {
        self.0.div_ceil(4)
    }

    /// What `vbytes` virtual bytes cost, satoshi, rounded up.
    pub const fn fee_sat(self, vbytes: u64) -> u64 {
        self.0.saturating_mul(vbytes).div_ceil(1_000)
    }
}

impl std::fmt::Display for FeeRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 1_000, self.0 % 1_000) {
            (whole, 0) => write!(f, "{whole} sat/vB"),
            (whole, rest) => write!(f, "{whole}.{} sat/vB", format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

/// What the chain source believes a transaction must pay now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FeeRates {
    /// For one of the next two blocks.
    pub fast_sat_per_kvb: FeeRate,
    /// Within an hour or so.
    pub normal_sat_per_kvb: FeeRate,
    /// Within a day.
    pub slow_sat_per_kvb: FeeRate,
    /// The chain source has an estimate; without one these are guesses of ours.
    pub estimated: bool,
}

/// The coins of the node at one moment, satoshi.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CoinsView {
    /// Height of the best block that the node knows.
    pub height: u32,
    /// Everything in the on-chain wallet, unconfirmed coins too, less `unseen_sat`.
    pub total_sat: u64,
    /// What may be sent, less `unseen_sat`.
    pub spendable_sat: u64,
    /// Kept back for closing anchor channels, of the coins that are there.
    pub reserved_sat: u64,
    /// What is to be kept back for them: more than `reserved_sat` where coins are missing.
    pub reserve_wanted_sat: u64,
    /// What is ours in channels that are open or closing, less the fees of closing.
    pub lightning_sat: u64,
    /// What splices took from the wallet, in no block yet: `total_sat` has it no more, `claims` not yet.
    pub splicing_sat: u64,
    /// What splices take out of channels, in no block yet, with their fees as far as they are known: `claims` have it still,
    /// and `total_sat` may have it already, where it goes to the wallet.
    pub leaving_sat: u64,
    /// What of ours in open channels closing them now would take: the fee and the anchors where we pay for them, and what is
    /// too little for an output. `claims` are without it; what can be sent and what is reserved is with it. Of channels with
    /// payments or a splice under way it is not known, and not in it.
    pub closing_sat: u64,
    /// What was just sent, without its fee: the wallet does not see its transaction yet, which takes seconds. It is
    /// taken from the sums already.
    pub unseen_sat: u64,
    /// What is ours in each channel's contract, as the chain would give it out.
    pub claims: Vec<Claim>,
    /// Coins of closed channels on their way to the wallet.
    pub sweeps: Vec<Sweep>,
}

/// One part of a channel's contract that is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Claim {
    /// The channel's id, hexadecimal.
    pub channel_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// How much, satoshi.
    pub amount_sat: u64,
    /// What it waits for.
    pub waits: Waits,
    /// The height at which that is over, where it is known.
    pub until_height: Option<u32>,
    /// The wallet has it already, and counts it: it is named here until its transaction is deep enough to stay.
    pub in_wallet: bool,
    /// The channel is open: nothing of it is on its way to the wallet.
    pub open: bool,
}

/// What a [`Claim`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// The channel is open, or its closing transaction is in no block yet.
    Closing,
    /// The closing transaction's confirmations, or the delay of a forced one.
    Confirmations,
    /// A payment that was under way: our proof is on its way to the chain.
    Proof,
    /// A payment that was under way: it is ours when the other side gives no proof in time.
    Timeout,
    /// A payment that was under way: it is ours only if the proof still comes.
    OthersProof,
    /// The other side closed with an old state: everything is ours once the claim is confirmed.
    Penalty,
    /// Nothing: another transaction spent what was to fund the channel, so that nothing is in it, ever.
    Never,
}

/// Coins of a closed channel on their way to the wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sweep {
    /// The channel's id, hexadecimal, where it is known.
    pub channel_id: Option<String>,
    /// How much, satoshi, before the transaction's fee.
    pub amount_sat: u64,
    /// The transaction that brings them, once it was sent.
    pub txid: Option<String>,
    /// The height at which it was sent for the last time.
    pub sent_height: Option<u32>,
    /// The height of its block.
    pub confirmed_height: Option<u32>,
    /// The wallet has it already, and counts it.
    pub in_wallet: bool,
}

/// One transaction of the on-chain wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChainTx {
    /// Its id, hexadecimal.
    pub txid: String,
    /// It takes coins out of the wallet.
    pub outgoing: bool,
    /// How much came, or went without the fee, satoshi.
    pub amount_sat: u64,
    /// The fee, satoshi, where it was ours to pay.
    pub fee_sat: Option<u64>,
    /// The height of its block.
    pub confirmed_height: Option<u32>,
    /// Deep enough below the tip that it will stay.
    pub settled: bool,
    /// Unix seconds of the block, or of the last change that was seen; 0 where nobody knows.
    pub at_secs: u64,
}

/// What a transaction spends and pays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxContents {
    /// The outputs that it spends, `txid:vout` each.
    pub inputs: Vec<String>,
    /// What its outputs have together, satoshi.
    pub pays_sat: u64,
}

/// What is sent from the on-chain wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Much {
    /// So many satoshi; what is kept back for channels stays.
    Exactly(u64),
    /// All that may be sent; what is kept back for channels stays.
    AllButReserve,
    /// All, also what is kept back for channels: a forced close may then lack coins for its fee.
    All,
}

/// How a channel's size is changed while it stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Splice {
    /// Coins of the on-chain wallet go into the channel.
    In {
        /// How much, satoshi.
        amount_sat: u64,
    },
    /// Coins of the channel go to an address.
    Out {
        /// How much, satoshi.
        amount_sat: u64,
        /// Where to.
        address: String,
    },
}

/// Sees and moves coins.
pub trait Coins: Send + Sync {
    /// What there is, as the node says it; [`Claim::in_wallet`], [`Claim::open`] and [`Sweep::in_wallet`] are not told here.
    fn coins(&self) -> BoxFuture<'_, Result<CoinsView, NodeFault>>;

    /// The on-chain wallet's transactions, in no order. One that was just sent may be missing until the
    /// next block.
    fn transactions(&self) -> BoxFuture<'_, Result<Vec<ChainTx>, NodeFault>>;

    /// What a transaction must pay now; asks the chain source.
    fn fee_rates(&self) -> BoxFuture<'_, Result<FeeRates, NodeFault>>;

    /// The transaction that spends an output, `txid:vout`, hexadecimal; looked for from the block at `height`
    /// on. Asks the chain source.
    fn spender(&self, outpoint: &str, height: u32) -> BoxFuture<'_, Result<Option<String>, NodeFault>>;

    /// Whether a transaction is on its way that is in no block and that the wallet does not list: the chain source knows
    /// it, or no source was reached with it yet.
    fn waits(&self, txid: &str) -> BoxFuture<'_, Result<bool, NodeFault>>;

    /// A transaction of ours shall not be published any more, where no chain source has it yet, nor what hangs on it.
    fn withdraw(&self, txid: &str) -> BoxFuture<'_, ()>;

    /// Whether `address` is known as one of the wallet's own; one that it gave out after very many others is not.
    fn is_own(&self, address: &str) -> BoxFuture<'_, bool>;

    /// What a transaction spends and pays; `None` where the chain source does not know it. A bitcoind knows what
    /// waits for a block, and what is in the one at `height`.
    fn contents(
        &self,
        txid: &str,
        height: Option<u32>,
    ) -> BoxFuture<'_, Result<Option<TxContents>, NodeFault>>;

    /// The transaction in a block that spends an output, `txid:vout`, and its height; looked for from the block at
    /// `height` on, in a bitcoind in some hundred blocks at most. Asks the chain source.
    fn spent_in_block(
        &self,
        outpoint: &str,
        height: u32,
    ) -> BoxFuture<'_, Result<Option<(String, u32)>, NodeFault>>;

    /// Whether the node could pay to that address.
    fn check_address(&self, address: &str) -> Result<(), NodeFault>;

    /// Whether a channel could be spliced out to that address: the other side takes segwit outputs alone.
    fn check_splice_address(&self, address: &str) -> Result<(), NodeFault>;

    /// Sends coins, and gives the transaction's id, hexadecimal. It has no memory: called twice, it sends
    /// twice.
    fn send_coins(
        &self,
        address: &str,
        much: Much,
        rate: FeeRate,
    ) -> BoxFuture<'_, Result<String, SendFault>>;

    /// Starts changing a channel's size; the result comes as events.
    fn splice(&self, channel_id: &str, splice: Splice) -> BoxFuture<'_, Result<(), SendFault>>;
}

/// What forwarding a payment through a channel of ours costs others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForwardingFees {
    /// For each payment, millisatoshi.
    pub base_msat: u32,
    /// Of what is forwarded, millionths.
    pub ppm: u32,
}

/// One node that we know how to reach or are connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PeerView {
    /// Its public key, hexadecimal.
    pub peer: String,
    /// Where it is, `host:port`.
    pub address: String,
    /// Connected now.
    pub connected: bool,
    /// Called again whenever the connection is lost.
    pub kept: bool,
}

/// Other nodes, and the terms of our channels with them.
pub trait Peers: Send + Sync {
    /// The peers.
    fn peers(&self) -> BoxFuture<'_, Result<Vec<PeerView>, NodeFault>>;

    /// Ends the connection and forgets the address.
    fn forget(&self, peer: &str) -> BoxFuture<'_, Result<(), NodeFault>>;

    /// Sets what forwarding through a channel costs.
    fn set_fees(&self, channel_id: &str, fees: ForwardingFees) -> BoxFuture<'_, Result<(), NodeFault>>;
}

/// Why a channel is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// Agreed; we asked.
    AgreedByUs,
    /// Agreed; the other side asked.
    AgreedByPeer,
    /// Agreed.
    Agreed,
    /// By force, ours.
    ForcedByUs,
    /// By force, the other side's.
    ForcedByPeer,
    /// A closing transaction was seen on the chain: the other side's, or an older one of ours.
    SeenOnChain,
    /// Our channel state was older than the channel's own record, as after a kill: closed to be safe.
    Restart,
    /// It never came to be: no coins were committed, or they never confirmed.
    NeverOpened,
    /// A payment under way ran out of time, so that only the chain could settle it.
    PaymentTimedOut,
    /// The other side broke the protocol, or would not pay enough for a closing transaction.
    Fault,
    /// The library gave no reason.
    Unknown,
}

impl CloseCause {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            CloseCause::AgreedByUs => "agreed_by_us",
            CloseCause::AgreedByPeer => "agreed_by_peer",
            CloseCause::Agreed => "agreed",
            CloseCause::ForcedByUs => "forced_by_us",
            CloseCause::ForcedByPeer => "forced_by_peer",
            CloseCause::SeenOnChain => "seen_on_chain",
            CloseCause::Restart => "restart",
            CloseCause::NeverOpened => "never_opened",
            CloseCause::PaymentTimedOut => "payment_timed_out",
            CloseCause::Fault => "fault",
            CloseCause::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_as_people_tell_it_and_rounds_up() {
        for (rate, text) in [(1_000, "1 sat/vB"), (1_250, "1.25 sat/vB"), (20_005, "20.005 sat/vB")] {
            assert_eq!(FeeRate::of_sat_per_kvb(rate).unwrap().to_string(), text);
        }
        assert_eq!(FeeRate::of_sat_per_vbyte("2.25"), FeeRate::of_sat_per_kvb(2_250));
        for bad in ["", "cheap", "-1", "1.2345", ".5", "1e3", "0.9", "2001"] {
            assert_eq!(FeeRate::of_sat_per_vbyte(bad), None, "{bad}");
        }
        assert_eq!(FeeRate::of_sat_per_kvb(999), None);
        assert_eq!(FeeRate::of_sat_per_kvb(2_000_001), None);
        assert_eq!(FeeRate::nearest(0), FeeRate::FLOOR);
        let rate = FeeRate::of_sat_per_kvb(1_001).unwrap();
        assert_eq!((rate.sat_per_kwu(), rate.fee_sat(141)), (251, 142));
    }
}
