//! What a move of coins would do, said before it is done: which sats go where, what it costs, what is left,
//! whether it can be undone: that is said once, by whoever shows it.
//!
//! Fees are about: which coins the wallet takes is known only when it makes the transaction.

mod closing;
mod splicing;
mod wallet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use closing::{nothing_back, too_little};

use super::confirmed::waiting;
use super::held::Held;
use super::most::{self, Most, SPLICE_VBYTES};
use super::{Deed, FeeChoice, PendingSplice, Treasury, TreasuryError, reserve_missing};
use crate::ports::{ChannelView, CoinsView, FeeRate, FeeRates, NodeFault};
use crate::store::{OperationRow, OperationState, StoreError};

/// Each side's reserve is a hundredth of the channel.
const RESERVED_PART: u64 = 100;
/// What we have the other side of a new channel reserve at the least, satoshi (the library's).
const LEAST_RESERVED_SAT: u64 = 1_000;
/// A reserve after a splice is no less than the dust limit, satoshi.
const DUST_SAT: u64 = 354;

/// What each side reserves of a channel that was spliced to that size (BOLT 2).
fn reserved_after(capacity_sat: u64) -> u64 {
    (capacity_sat / RESERVED_PART).max(DUST_SAT)
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Preview {
    /// The deed's kind.
    pub kind: &'static str,
    /// There is enough for it, as far as can be told.
    pub enough: bool,
    /// It can be taken back, or undone at the cost of another transaction.
    pub undoable: bool,
    /// In plain words: what would happen; where there is not enough, only the most that there is, and why.
    pub lines: Vec<String>,
    /// The same in numbers.
    pub figures: Value,
}

struct Sight {
    coins: CoinsView,
    /// What of them is spendable and not confirmed, where that matters.
    change_sat: u64,
    /// What a transaction must pay, or why nobody says that now.
    rates: Result<FeeRates, NodeFault>,
    /// Of the channel that it is about.
    splice: Option<PendingSplice>,
    /// What neither side of that channel can use.
    held: Held,
}

impl Treasury {
    /// Says what `deed` would do; nothing is recorded and nothing done.
    ///
    /// # Errors
    /// When it makes no sense, the node cannot be asked, or nobody can say what its transaction would pay: of a close what
    /// is known is told all the same.
    pub async fn preview(&self, deed: &Deed) -> Result<Preview, TreasuryError> {
        // Such an address comes when it is done; what else there is to refuse is refused now.
        if deed.awaits_address() {
            Treasury::check_rest(deed)?;
        } else {
            self.check(deed)?;
        }
        if self.0.parts.ledger.generation().await?.payouts_parked {
            return Err(StoreError::Parked.into());
        }
        if let (Deed::SpliceIn { .. } | Deed::SpliceOut { .. }, Some(channel_id)) = (deed, deed.channel()) {
            let channels = self.0.parts.node.view().await.channels;
            self.check_unspliced(&super::mark::find(channels, channel_id)?).await?;
        }
        self.weigh(deed).await
    }

    /// What `deed` would do, and whether there is enough for it.
    pub(super) async fn weigh(&self, deed: &Deed) -> Result<Preview, TreasuryError> {
        let parts = &self.0.parts;
        let (coins, rates) = (self.coins().await?, parts.coins.fee_rates().await);
        let channel = match deed.channel() {
            Some(channel_id) => Some(super::mark::find(parts.node.view().await.channels, channel_id)?),
            None => None,
        };
        let standing = self.standing(channel.as_slice()).await?.into_iter().next();
        let (held, splice) = standing.map(|standing| (standing.held, standing.splice)).unwrap_or_default();
        let mut sight = Sight { coins, change_sat: 0, rates, splice, held };
        if let Deed::SpliceIn { amount_sat, .. } = deed {
            let needed = amount_sat.saturating_add(sight.rate(FeeChoice::Slow)?.fee_sat(SPLICE_VBYTES));
            sight.change_sat = self.change().await?;
            let most = most::spliced_in(&sight.coins, sight.rates()?, sight.change_sat);
            Treasury::check_confirmed(&sight.coins, sight.change_sat, needed, &most)?;
        }
        let most = sight.most(deed, channel.as_ref())?;
        let told = sight.told(deed, channel.as_ref())?.within(most.as_ref(), deed).or_why_not(most);
        Ok(if sight.rates.is_err() { told.unheard() } else { told })
    }
}

impl Preview {
    /// No chain source answers: what is done now is on no way before one does.
    fn unheard(mut self) -> Preview {
        if self.enough {
            let says = "The chain source does not answer now: the transaction waits until one does.";
            self.lines.push(says.to_owned());
        }
        self
    }

    /// There is enough for what is no more than the most that is told.
    fn within(self, most: Option<&Most>, deed: &Deed) -> Preview {
        let asked = match deed {
            Deed::Send { amount_sat, .. }
            | Deed::OpenChannel { amount_sat, .. }
            | Deed::SpliceIn { amount_sat, .. }
            | Deed::SpliceOut { amount_sat, .. } => Some(*amount_sat),
            Deed::SendAll { .. } | Deed::CloseChannel { .. } | Deed::ForceCloseChannel { .. } => None,
        };
        let enough = asked.zip(most).map(|(asked, most)| asked <= most.sat);
        Preview { enough: enough.unwrap_or(self.enough), ..self }
    }

    /// Where there is not enough, what would happen is not told, for it will not.
    fn or_why_not(mut self, most: Option<Most>) -> Preview {
        if let (Some(most), Some(figures)) = (&most, self.figures.as_object_mut()) {
            figures.insert("most_sat_about".to_owned(), most.sat.into());
        }
        if let (false, Some(most)) = (self.enough, most) {
            let later = self.lines.into_iter().filter(|line| line.ends_with(Sight::LATER));
            self.lines = std::iter::once(most.sentence()).chain(later).collect();
        }
        self
    }
}

impl Treasury {
    /// Refuses a splice while another one of the channel is under way: the node would, but only after an
    /// address of the vault was handed out for it.
    async fn check_unspliced(&self, channel: &ChannelView) -> Result<(), TreasuryError> {
        let ledger = &self.0.parts.ledger;
        let refused = |which: &str| TreasuryError::Senseless {
            code: "splice_under_way",
            text: format!(
                "another splice of this channel is under way{which}; nothing was done, and this one can be asked for \
                 when that one is confirmed"
            ),
        };
        let splices = |row: &OperationRow| {
            matches!(row.kind.as_str(), "splice_in" | "splice_out")
                && matches!(row.state, OperationState::Intended | OperationState::Sent)
                && row.ask["channel_id"] == channel.channel_id.as_str()
        };
        if let Some(row) = ledger.open_operations().await?.iter().find(|row| splices(row)) {
            return Err(refused(&format!(" (operation {})", row.id)));
        }
        let record = ledger.channel_record(&channel.local_id).await?;
        match record.and_then(|row| row.spliced_to) {
            Some(to) if channel.funding.as_deref() != Some(&to) => Err(refused("")),
            _ => Ok(()),
        }
    }
}

fn destination(address: &str) -> String {
    match address {
        Deed::VAULT => "a fresh address of the vault, which is handed out when this is confirmed".to_owned(),
        Deed::WALLET => "a fresh address of this node's own wallet".to_owned(),
        _ => address.to_owned(),
    }
}

/// A warning, where the fee is more than a tenth of what it moves.
fn dear(fee: u64, amount: u64) -> Option<String> {
    let percent = fee.saturating_mul(100).checked_div(amount)?;
    (fee > amount / 10).then(|| {
        format!(
            "Careful: the fee is {percent} % of what it moves. A lower fee rate, or a later day, costs less."
        )
    })
}

/// What becomes of a splice whose other node is away: the library keeps it, and cannot be told to forget it.
fn waits(channel: &ChannelView) -> Option<String> {
    (!channel.usable).then(|| {
        "The other node is away now: it is asked when it is back, and this cannot be called off meanwhile.".to_owned()
    })
}

impl Sight {
    /// What transactions must pay; there is no other way to one than that somebody says it.
    fn rates(&self) -> Result<&FeeRates, TreasuryError> {
        self.rates.as_ref().map_err(|fault| TreasuryError::NoFeeRates(fault.clone()))
    }

    fn rate(&self, choice: FeeChoice) -> Result<FeeRate, TreasuryError> {
        match choice {
            FeeChoice::SatPerKvb(rate) => Ok(rate),
            choice => Ok(choice.of(self.rates()?)),
        }
    }

    fn pays(&self, choice: FeeChoice, rate: FeeRate, fee: u64) -> String {
        let guess = match (choice, &self.rates) {
            (FeeChoice::SatPerKvb(_), _) => "",
            (_, Ok(rates)) if rates.estimated => "",
            _ => " (a guess: the chain source has no estimate now)",
        };
        format!("The transaction pays {rate}{guess}: about {fee} sat, more if it takes many small coins.")
    }

    fn kept_back_while_open(&self) -> String {
        let needed = self.coins.reserved_sat > 0;
        let why = if needed { " Channels that are open need them." } else { "" };
        format!("{}{why}", self.kept_back())
    }

    fn kept_back(&self) -> String {
        let missing = reserve_missing(self.coins.reserved_sat, self.coins.reserve_wanted_sat);
        let missing = missing.map(|missing| format!(" {missing}.")).unwrap_or_default();
        format!("{} sat stay back for closing channels by force.{missing}", self.coins.reserved_sat)
    }

    /// That there would be enough later, where there is not now.
    fn later(&self, needed: u64) -> Option<String> {
        let waits = waiting(&self.coins);
        (needed > self.coins.spendable_sat && waits > 0)
            .then(|| format!("{waits} sat more are in the wallet and not confirmed yet{}", Sight::LATER))
    }

    /// How what will be enough later ends.
    const LATER: &str = ": they can be used once they are in a block.";

    /// What `deed` would do, told as if there were enough for it.
    fn told(&self, deed: &Deed, channel: Option<&ChannelView>) -> Result<Preview, TreasuryError> {
        match (deed, channel) {
            (Deed::Send { address, amount_sat, fee }, _) => self.send(deed, address, *amount_sat, *fee),
            (Deed::SendAll { address, fee, reserve_too }, _) => {
                self.send_all(deed, address, *fee, *reserve_too)
            }
            (Deed::OpenChannel { amount_sat, push_msat, announce, peer, .. }, _) => {
                self.open(deed, (peer, *amount_sat), push_msat.msat(), *announce)
            }
            (Deed::CloseChannel { .. }, Some(channel)) => Ok(self.close(deed, channel)),
            (Deed::ForceCloseChannel { .. }, Some(channel)) => Ok(self.force(deed, channel)),
            (Deed::SpliceIn { amount_sat, .. }, Some(channel)) => self.splice_in(deed, channel, *amount_sat),
            (Deed::SpliceOut { amount_sat, address, .. }, Some(channel)) => {
                self.splice_out(deed, channel, address, *amount_sat)
            }
            (_, None) => Err(super::mark::unknown("")),
        }
    }

    /// The most that such a deed can move; `None` of one that is not limited so.
    fn most(&self, deed: &Deed, channel: Option<&ChannelView>) -> Result<Option<Most>, TreasuryError> {
        Ok(match deed {
            Deed::Send { fee, .. } => Some(most::sent(&self.coins, self.rate(*fee)?)),
            Deed::OpenChannel { .. } => Some(most::opened(&self.coins, self.rates()?)),
            Deed::SpliceIn { .. } => Some(most::spliced_in(&self.coins, self.rates()?, self.change_sat)),
            Deed::SpliceOut { .. } => match channel {
                Some(channel) => Some(most::spliced_out(channel, self.rates()?)),
                None => None,
            },
            Deed::SendAll { .. } | Deed::CloseChannel { .. } | Deed::ForceCloseChannel { .. } => None,
        })
    }

    /// What is ours in a channel, as the chain would give it out; `None` where the node does not say.
    fn ours(&self, channel: &ChannelView) -> Option<u64> {
        if let Some(after) = self.splice.as_ref().and_then(|splice| splice.after_sat_about) {
            return Some(after);
        }
        let claims = self.coins.claims.iter().filter(|claim| claim.channel_id == channel.channel_id);
        claims.map(|claim| claim.amount_sat).reduce(u64::saturating_add)
    }
}
