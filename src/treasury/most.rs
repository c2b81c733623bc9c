//! The most that a move can move now: told where more is asked for, and beside a form before one asks.
//!
//! It is about, and rather too little than too much: which coins the wallet takes, and what the library pays, is known
//! only when the transaction is made.

use std::time::Duration;

use super::act::{DUST_SAT, SMALLEST_CHANNEL_SAT};
use super::{FeeChoice, RESERVE_SAT, Treasury, TreasuryError};
use crate::ports::{ChannelView, CoinsView, FeeRate, FeeRates, NodeFault};

/// A transaction of two coins to an address, with change.
pub(super) const SEND_VBYTES: u64 = 209;
/// The same to a channel's funding output.
pub(super) const FUNDING_VBYTES: u64 = 221;
/// A splice, with the old funding output as an input.
pub(super) const SPLICE_VBYTES: u64 = 300;
/// A page does not wait longer for a chain source to say what a transaction pays.
const PATIENCE: Duration = Duration::from_millis(800);
/// What who opened a channel must still be able to pay for: its commitment with one payment in it.
const COMMITMENT_VBYTES: u64 = 324;

/// The most that can go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Most {
    /// About how much, satoshi; 0 where nothing can.
    pub sat: u64,
    /// The same within a sentence, and why it is no more.
    pub why: String,
}

impl Most {
    /// Of `have_sat`, less what `needs_sat`, where less than `least_sat` cannot go at all.
    fn of(what: &str, (have_sat, needs_sat, least_sat): (u64, u64, u64), why: String) -> Most {
        let sat = have_sat.saturating_sub(needs_sat);
        if sat < least_sat.max(1) {
            return Most { sat: 0, why: format!("nothing can {what} now: {why}") };
        }
        Most { sat, why: format!("at most about {sat} sat can {what} now: {why}") }
    }

    /// As a sentence of its own.
    pub fn sentence(&self) -> String {
        let mut letters = self.why.chars();
        let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{}.", letters.as_str())
    }
}

/// That some of the wallet stays where it is.
fn stays(coins: &CoinsView) -> String {
    match coins.reserved_sat {
        0 => String::new(),
        sat => format!("; {sat} sat more stay back for closing channels by force"),
    }
}

/// Out of the wallet to an address, at this rate.
pub(super) fn sent(coins: &CoinsView, rate: FeeRate) -> Most {
    let (have, fee) = (coins.spendable_sat, rate.fee_sat(SEND_VBYTES));
    let why = format!(
        "of the {have} sat that may be sent about {fee} sat are needed for the transaction’s fee{}",
        stays(coins)
    );
    Most::of("be sent", (have, fee, DUST_SAT), why)
}

/// Out of the wallet into a new channel.
pub(super) fn opened(coins: &CoinsView, rates: &FeeRates) -> Most {
    let (have, fee) = (coins.spendable_sat, likely(rates).fee_sat(FUNDING_VBYTES));
    let why = format!(
        "of the {have} sat that may be sent on-chain about {fee} sat are needed for the transaction’s fee, and \
         {RESERVE_SAT} sat stay back for closing the channel by force"
    );
    Most::of("go into a channel", (have, fee.saturating_add(RESERVE_SAT), SMALLEST_CHANNEL_SAT), why)
}

/// Out of the wallet into a channel that there is; `change_sat` of the wallet is spendable and not confirmed.
pub(super) fn spliced_in(coins: &CoinsView, rates: &FeeRates, change_sat: u64) -> Most {
    let fee = likely(rates).fee_sat(SPLICE_VBYTES);
    let confirmed = coins.spendable_sat.saturating_add(coins.reserved_sat).saturating_sub(change_sat);
    let have = coins.spendable_sat.min(confirmed);
    let kind = if have < coins.spendable_sat { "confirmed sat" } else { "sat" };
    let why = format!(
        "of the {have} {kind} that may be sent on-chain about {fee} sat are needed for the transaction’s fee{}",
        stays(coins)
    );
    Most::of("go into the channel", (have, fee, 1), why)
}

/// Out of our side of a channel.
pub(super) fn spliced_out(channel: &ChannelView, rates: &FeeRates) -> Most {
    let have = channel.spendable_msat / 1_000;
    let closes = if channel.outbound { least(rates).fee_sat(COMMITMENT_VBYTES) } else { 0 };
    let fees = likely(rates).fee_sat(SPLICE_VBYTES).saturating_add(closes);
    let keeps = match channel.reserved_sat {
        0 => String::new(),
        sat => format!(", and your side keeps {sat} sat more reserved"),
    };
    let why = format!("of the {have} sat that can be spent about {fees} sat are needed for fees{keeps}");
    Most::of("leave the channel", (have, fees, DUST_SAT), why)
}

/// The library chooses the rate, between slow and normal.
const fn likely(rates: &FeeRates) -> FeeRate {
    FeeChoice::Normal.of(rates)
}

const fn least(rates: &FeeRates) -> FeeRate {
    FeeChoice::Slow.of(rates)
}

impl Treasury {
    /// The most that can go into that channel, and the most that can leave it.
    ///
    /// # Errors
    /// When the node cannot be asked, nobody says what a transaction pays, or the ledger fails.
    pub async fn most_spliced(&self, channel: &ChannelView) -> Result<(Most, Most), TreasuryError> {
        let (coins, rates) = (self.coins().await?, self.rates_soon().await?);
        // Whoever looks at a page does not wait for a chain source that hangs.
        let change = tokio::time::timeout(PATIENCE, self.change()).await;
        let change = change.map_err(|_| NodeFault("the chain source is slow".to_owned()))??;
        Ok((spliced_in(&coins, &rates, change), spliced_out(channel, &rates)))
    }

    /// The most that can go into a new channel.
    ///
    /// # Errors
    /// When the node cannot be asked, nobody says what a transaction pays, or the ledger fails.
    pub async fn most_opened(&self) -> Result<Most, TreasuryError> {
        let (coins, rates) = (self.coins().await?, self.rates_soon().await?);
        Ok(opened(&coins, &rates))
    }

    async fn rates_soon(&self) -> Result<FeeRates, TreasuryError> {
        let asked = tokio::time::timeout(PATIENCE, self.0.parts.coins.fee_rates()).await;
        let slow = |_| NodeFault("the chain source is slow".to_owned());
        asked.map_err(slow).flatten().map_err(TreasuryError::NoFeeRates)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Deed;
    use super::super::tests::{channel, rates, world};
    use super::*;
    use crate::ports::SendFault;
    use crate::types::Msat;

    fn wallet(spendable_sat: u64, reserved_sat: u64) -> CoinsView {
        CoinsView { spendable_sat, reserved_sat, ..CoinsView::default() }
    }

    #[test]
    fn what_can_go_and_what_stays_add_up() {
        let floor = rates(FeeRate::FLOOR);
        let view = ChannelView { spendable_msat: 90_000_500, reserved_sat: 1_000, ..ChannelView::default() };
        let out = spliced_out(&view, &floor);
        assert_eq!(out.sat, 90_000 - 300);
        assert_eq!(
            out.sentence(),
            "At most about 89700 sat can leave the channel now: of the 90000 sat that can be spent about 300 sat are \
             needed for fees, and your side keeps 1000 sat more reserved."
        );
        // Who opened it pays for its closing, too.
        assert_eq!(spliced_out(&ChannelView { outbound: true, ..view.clone() }, &floor).sat, 90_000 - 624);
        let little = spliced_out(&ChannelView { spendable_msat: 800_000, ..view }, &floor);
        assert!(little.sat == 0 && little.why.starts_with("nothing can leave the channel now"), "{little:?}");
        let into = spliced_in(&wallet(50_000, 25_000), &floor, 0);
        assert!(
            into.sat == 49_700
                && into.why.ends_with("25000 sat more stay back for closing channels by force")
        );
        // Change that waits for a block is spendable, and no channel takes it.
        assert_eq!(spliced_in(&wallet(50_000, 0), &floor, 20_000).sat, 29_700);
        assert_eq!(opened(&wallet(100_000, 0), &floor).sat, 100_000 - 25_000 - 221);
        assert_eq!(opened(&wallet(45_000, 0), &floor).sat, 0, "less than a channel must have");
        assert_eq!(sent(&wallet(10_000, 0), FeeRate::FLOOR).sat, 10_000 - 209);
    }

    #[tokio::test]
    async fn who_asks_for_too_much_is_told_the_most_and_nothing_else() {
        let world = world();
        world
            .node
            .channels
            .lock()
            .unwrap()
            .push(ChannelView { spendable_msat: 60_000_000, ..channel("6", "f1") });
        *world.node.total.lock().unwrap() = 80_000;
        let (channel_id, address) = ("c6".to_owned(), "bcrt1q".to_owned());
        let deeds = [
            (
                Deed::SpliceIn { channel_id: channel_id.clone(), amount_sat: 90_000 },
                "At most about 79700 sat can go into",
            ),
            (
                Deed::SpliceOut { channel_id, address: address.clone(), amount_sat: 60_000 },
                "At most about 59376 sat can leave the channel now",
            ),
            (
                Deed::Send { address, amount_sat: 80_000, fee: FeeChoice::Slow },
                "At most about 79791 sat can be sent now",
            ),
            (
                Deed::OpenChannel {
                    peer: "02".to_owned(),
                    address: "host:9735".to_owned(),
                    amount_sat: 60_000,
                    push_msat: Msat::ZERO,
                    announce: false,
                },
                "At most about 54779 sat can go into a channel now",
            ),
        ];
        // The node says less of it.
        *world.node.fault.lock().unwrap() =
            Some(SendFault::Refused("The available funds are insufficient".to_owned()));
        for (deed, says) in deeds {
            let plan = world.treasury.preview(&deed).await.unwrap();
            assert!(!plan.enough && plan.lines.len() == 1 && plan.lines[0].starts_with(says), "{plan:?}");
            let most = plan.figures["most_sat_about"].as_u64().unwrap();
            assert!(most > 50_000, "{plan:?}");
            // A dry run takes what was told, and not one more.
            let mut ask = deed.ask();
            for (amount, enough) in [(most, true), (most + 1, false)] {
                ask["amount_sat"] = amount.into();
                let other = Deed::of_record(deed.kind(), &ask).expect("a deed");
                let plan = world.treasury.preview(&other).await.unwrap();
                assert_eq!(plan.enough, enough, "{amount}: {plan:?}");
            }
            // Who did not ask before is told the same in the end.
            let done = world.treasury.run(deed.kind(), deed).await.unwrap();
            let reason = done.outcome["reason"].as_str().unwrap();
            assert_eq!(format!("{reason}."), plan.lines[0].replacen('A', "a", 1));
        }
    }
}
