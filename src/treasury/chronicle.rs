//! The channels' records: what the node tells of them is noted while it still knows it.

use std::collections::{BTreeMap, BTreeSet};

use super::held::{side_msat, too_little_in};
use super::{Treasury, TreasuryError};
use crate::ports::{ChainTx, ChannelView, CoinsView, NodeFault, NodeView, Waits};
use crate::store::{Brought, ChannelRow, ChannelSeen, ChannelsSeen, ClaimSeen, OperationRow, SweepRow};

/// Closed channels whose transactions are looked for at once, the newest.
const LOOKED_FOR: u32 = 20;

/// So many blocks after everything of a channel was given out, the wallet has what it ever will of it.
const TOLD_AFTER: u32 = 6;

/// So many blocks after that, a homecoming of which the transaction was not found is still told: a week of them.
const NEWS_FOR: u32 = 1_008;

/// The fee of an agreed close may take less than this whole, satoshi.
const LITTLE_SAT: u64 = 25_000;

/// Operations that are looked through for those of one channel, the newest.
const LOOKED_THROUGH: u32 = 500;

/// A channel as far as it is known: the node has the open ones, the ledger keeps a record of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownChannel {
    /// As the node has it, while it is open.
    pub open: Option<ChannelView>,
    /// Its record.
    pub record: Option<ChannelRow>,
}

impl KnownChannel {
    /// Its own id, and ours of it.
    pub fn ids(&self) -> (&str, &str) {
        match (&self.open, &self.record) {
            (Some(open), _) => (&open.channel_id, &open.local_id),
            (None, Some(record)) => (&record.channel_id, &record.local_id),
            (None, None) => ("", ""),
        }
    }
}

/// What was noted last.
#[derive(Default)]
pub(super) struct Noted {
    seen: Option<ChannelsSeen>,
    height: u32,
    events: i64,
    /// The ledger knows from which height on deposits are told.
    pub(super) deposits_began: bool,
    /// Our own ids of channels whose coins were told without the transaction that brought them.
    unfound: BTreeSet<String>,
    /// Transactions whose coins were told, or were no deposit.
    pub(super) deposits: BTreeSet<String>,
    /// Transactions that the ledger was asked of and that wait for a closing transaction.
    pub(super) waiting: BTreeSet<String>,
    /// What transactions of the wallet spend that may have paid for a close.
    pub(super) spends: BTreeMap<String, Vec<String>>,
    /// The height, and the events, up to which what closes cost was looked for.
    pub(super) close_fees_at: Option<(u32, i64)>,
}

impl Treasury {
    /// Notes what the node knows of channels, when it is not what was noted last.
    ///
    /// # Errors
    /// When the ledger fails, or the node cannot be asked.
    pub async fn note_channels(&self) -> Result<(), TreasuryError> {
        let parts = &self.0.parts;
        // A close is told as an event: its record waits for what the contract owes.
        let events = *parts.ledger.watch().borrow();
        let view = parts.node.view().await;
        if !view.running {
            return Ok(());
        }
        let (height, seen) = (view.block_height, seen(&view, self.coins_before_fees().await?.coins));
        let (same, moved) = {
            let noted = self.noted();
            let same = noted.seen.as_ref() == Some(&seen) && noted.height == height && noted.events == events;
            (same, noted.height != height || noted.seen.as_ref().map(unpaid) != Some(unpaid(&seen)))
        };
        if same {
            return Ok(());
        }
        if moved {
            self.withdraw_fundings().await?;
            self.look_for_closings(height).await?;
        }
        let brought = self.brought(&seen).await?;
        parts.ledger.note_channels(ChannelsSeen { brought, ..seen.clone() }, height).await?;
        if moved {
            self.look_for_homecomings(height).await?;
        }
        let mut noted = self.noted();
        (noted.seen, noted.height, noted.events) = (Some(seen), height, events);
        Ok(())
    }

    pub(super) fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A channel that ended before it was ready is not to be funded any more, where no chain source has that yet.
    async fn withdraw_fundings(&self) -> Result<(), TreasuryError> {
        let parts = &self.0.parts;
        for row in parts.ledger.closed_channels(LOOKED_FOR).await? {
            let unready = row.outbound && row.opened_height.is_none();
            if let Some((txid, _)) =
                row.funding.as_deref().filter(|_| unready).and_then(|it| it.split_once(':'))
            {
                parts.coins.withdraw(txid).await;
            }
        }
        Ok(())
    }

    /// Which transactions closed the channels that are gone, which the library does not say.
    async fn look_for_closings(&self, height: u32) -> Result<(), TreasuryError> {
        let parts = &self.0.parts;
        let mut rows = parts.ledger.channels_to_follow(LOOKED_FOR).await?;
        rows.retain(|row| row.closing_txid.is_none());
        for row in rows {
            match self.closing_since(&row, row.closed_height.unwrap_or(height)).await {
                Ok(Some(txid)) => parts.ledger.note_closing(&row.local_id, txid).await?,
                Ok(None) => {}
                Err(fault) => tracing::debug!(%fault, "a closing transaction could not be looked for"),
            }
        }
        Ok(())
    }

    /// What transactions of channels whose coins may be on their way have brought to the wallet.
    async fn brought(&self, seen: &ChannelsSeen) -> Result<BTreeMap<String, Brought>, TreasuryError> {
        let parts = &self.0.parts;
        let rows = parts.ledger.channels_to_follow(LOOKED_FOR).await?;
        let closing =
            rows.iter().filter(|row| row.came_sat.is_none()).filter_map(|row| row.closing_txid.as_deref());
        let sweeps =
            rows.iter().flat_map(|row| &row.sweeps).chain(&seen.sweeps).map(|sweep| sweep.txid.as_str());
        let wanted: BTreeSet<&str> = closing.chain(sweeps).collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut transactions = parts.coins.transactions().await?;
        transactions.retain(|tx| wanted.contains(tx.txid.as_str()));
        Ok(transactions.iter().filter_map(|tx| Some((tx.txid.clone(), brought_by(tx)?))).collect())
    }

    /// What channels brought whose coins were gone from the contracts before their transactions were known.
    async fn look_for_homecomings(&self, height: u32) -> Result<(), TreasuryError> {
        let parts = &self.0.parts;
        let rows = parts.ledger.channels_to_follow(LOOKED_FOR).await?;
        let waits =
            |row: &&ChannelRow| row.came_sat.is_none() && row.cause.as_deref() != Some("never_opened");
        for row in rows.iter().filter(waits) {
            let Some(returned) = row.returned_height else { continue };
            let transactions = parts.coins.transactions().await?;
            let others = rows.iter().filter(|other| other.local_id != row.local_id);
            let others: Vec<&SweepRow> = others.flat_map(|other| &other.sweeps).collect();
            let closing = row.closing_txid.as_deref();
            if let Some(came) = closing.and_then(|closing| came(row, closing, &transactions, &others)) {
                parts.ledger.note_came(&row.local_id, came).await?;
            } else if height >= returned.saturating_add(TOLD_AFTER) {
                match closing {
                    Some(closing) if gave_nothing(row, closing, &transactions) => {
                        parts
                            .ledger
                            .note_came(&row.local_id, Brought { amount_sat: 0, height: returned })
                            .await?;
                    }
                    // Once in a run: it may have been told in one before. What is long past is no news.
                    _ if height <= returned.saturating_add(NEWS_FOR)
                        && self.noted().unfound.insert(row.local_id.clone()) =>
                    {
                        parts.ledger.note_unfound(&row.local_id).await?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The transaction that closed a channel, which was seen at height `closed`: it was in a block for a while then,
    /// or came while the appliance was off.
    async fn closing_since(&self, row: &ChannelRow, closed: u32) -> Result<Option<String>, NodeFault> {
        let lately = closed.saturating_sub(6);
        let found = self.closing_of(row, lately).await?;
        match row.last_height.map(|height| height.saturating_add(1)).filter(|since| *since < lately) {
            Some(since) if found.is_none() => self.closing_of(row, since).await,
            _ => Ok(found),
        }
    }

    /// The transaction that closed a channel. Its last splice may have come too late to be seen as the
    /// channel's funding, or be in no block: what spends the funding before it may then be the splice.
    async fn closing_of(&self, row: &ChannelRow, height: u32) -> Result<Option<String>, NodeFault> {
        let coins = &self.0.parts.coins;
        if let Some(spliced_to) = &row.spliced_to
            && let Some(txid) = coins.spender(spliced_to, height).await?
        {
            return Ok(Some(txid));
        }
        let Some(funding) = &row.funding else { return Ok(None) };
        let spender = coins.spender(funding, height).await?;
        let splice = row.spliced_to.as_ref().and_then(|output| output.split(':').next());
        Ok(spender.filter(|txid| Some(txid.as_str()) != splice))
    }

    /// The id by which a deed names the channel that is called `id`; `id` itself where no channel is called so.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn channel_id(&self, id: String) -> Result<String, TreasuryError> {
        let known = self.channel(&id).await?;
        Ok(known.map_or(id, |known| known.ids().0.to_owned()))
    }

    /// The channel that is called `id`: its own id, or ours of it.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn channel(&self, id: &str) -> Result<Option<KnownChannel>, TreasuryError> {
        let parts = &self.0.parts;
        let channels = parts.node.view().await.channels;
        let open = channels.into_iter().find(|view| view.channel_id == id || view.local_id == id);
        let record = match &open {
            Some(view) => parts.ledger.channel_record(&view.local_id).await?,
            None => parts.ledger.channel_called(id).await?,
        };
        Ok((open.is_some() || record.is_some()).then_some(KnownChannel { open, record }))
    }

    /// The moves of coins that asked for a channel or made it, newest first, as far as they are among the
    /// newest of all.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn operations_of_channel(
        &self,
        known: &KnownChannel,
    ) -> Result<Vec<OperationRow>, TreasuryError> {
        let mut rows = self.0.parts.ledger.operations(i64::MAX, LOOKED_THROUGH).await?;
        let (channel_id, local_id) = known.ids();
        rows.retain(|row| {
            row.ask["channel_id"] == channel_id
                || row.outcome["channel_id"] == channel_id
                || row.outcome["local_id"] == local_id
        });
        Ok(rows)
    }

    /// The closed channels, the last one first.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn closed_channels(&self, limit: u32) -> Result<Vec<ChannelRow>, TreasuryError> {
        Ok(self.0.parts.ledger.closed_channels(limit).await?)
    }
}

/// What a transaction in a block brought to the wallet.
fn brought_by(tx: &ChainTx) -> Option<Brought> {
    let height = tx.confirmed_height.filter(|_| !tx.outgoing)?;
    Some(Brought { amount_sat: tx.amount_sat, height })
}

/// What a closed channel brought, as the wallet's own history has it: its closing transaction, where that paid the
/// wallet itself, or its sweeps. What swept `others`, too, cannot be told apart.
pub(super) fn came(
    row: &ChannelRow,
    closing: &str,
    transactions: &[ChainTx],
    others: &[&SweepRow],
) -> Option<Brought> {
    let came = |txid: &str| transactions.iter().filter(|tx| tx.txid == txid).find_map(brought_by);
    if row.sweeps.is_empty() {
        return came(closing);
    }
    let alone = |sweep: &SweepRow| others.iter().all(|other| other.txid != sweep.txid);
    let mut all = Brought { amount_sat: 0, height: 0 };
    for sweep in &row.sweeps {
        let one = came(&sweep.txid).filter(|_| alone(sweep))?;
        all.amount_sat = all.amount_sat.saturating_add(one.amount_sat);
        all.height = all.height.max(one.height);
    }
    Some(all)
}

/// Whether an agreed close paid us nothing: the wallet does not have its transaction, long after it, and what was owed
/// may have been too little for an output after the fee.
fn gave_nothing(row: &ChannelRow, closing: &str, transactions: &[ChainTx]) -> bool {
    let agreed = row.cause.as_deref().is_some_and(|cause| cause.starts_with("agreed"));
    let little = row.owed_sat.or(row.last_sat).is_some_and(|sat| sat < LITTLE_SAT);
    agreed && little && row.sweeps.is_empty() && transactions.iter().all(|tx| tx.txid != closing)
}

/// The same without what payments change.
fn unpaid(seen: &ChannelsSeen) -> ChannelsSeen {
    let open = seen.open.iter().map(|open| ChannelSeen { ours_sat: None, side_msat: None, ..open.clone() });
    ChannelsSeen { open: open.collect(), ..seen.clone() }
}

fn seen(view: &NodeView, coins: CoinsView) -> ChannelsSeen {
    let ours = |channel: &ChannelView| {
        let own = coins.claims.iter().filter(|claim| claim.channel_id == channel.channel_id);
        let sat = own.map(|claim| claim.amount_sat).reduce(u64::saturating_add)?;
        // What a close would not give is on record, too: it is lost then.
        if sat == 0 { too_little_in(channel).or(Some(0)) } else { Some(sat) }
    };
    // A payment under way is a part of its own.
    let plain = |channel: &ChannelView| {
        let mut own = coins.claims.iter().filter(|claim| claim.channel_id == channel.channel_id);
        own.all(|claim| claim.waits == Waits::Closing)
    };
    let open = view.channels.iter().map(|channel| ChannelSeen {
        local_id: channel.local_id.clone(),
        channel_id: channel.channel_id.clone(),
        peer: channel.peer.clone(),
        funding: channel.funding.clone(),
        capacity_sat: channel.capacity_sat,
        outbound: channel.outbound,
        announced: channel.announced,
        ready: channel.ready,
        ours_sat: ours(channel),
        side_msat: side_msat(channel).filter(|_| plain(channel)),
    });
    let open = open.collect();
    // What open channels owe is still theirs to owe.
    let is_open = |id: &str| view.channels.iter().any(|channel| channel.channel_id == id);
    let claims =
        coins.claims.into_iter().filter(|claim| !is_open(&claim.channel_id)).map(|claim| ClaimSeen {
            channel_id: claim.channel_id,
            amount_sat: claim.amount_sat,
            until_height: claim.until_height,
            came: claim.in_wallet && claim.waits != Waits::Closing,
        });
    // With the sweeper, which makes its transaction in a moment.
    let unsent = coins.sweeps.iter().filter(|sweep| sweep.txid.is_none());
    let unsent = unsent.filter_map(|sweep| sweep.channel_id.clone()).collect();
    let sweeps = coins.sweeps.into_iter().filter_map(|sweep| {
        Some(SweepRow {
            channel_id: sweep.channel_id?,
            txid: sweep.txid?,
            amount_sat: sweep.amount_sat,
            sent_height: sweep.sent_height,
            confirmed_height: sweep.confirmed_height,
        })
    });
    // Several outputs of one channel may go in one transaction.
    let mut together: Vec<SweepRow> = Vec::new();
    for sweep in sweeps {
        let same = |other: &&mut SweepRow| other.txid == sweep.txid && other.channel_id == sweep.channel_id;
        match together.iter_mut().find(same) {
            Some(other) => other.amount_sat = other.amount_sat.saturating_add(sweep.amount_sat),
            None => together.push(sweep),
        }
    }
    let brought = BTreeMap::new();
    ChannelsSeen { open, claims: claims.collect(), sweeps: together, unsent, brought }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Sweep;

    #[test]
    fn an_output_without_its_sweep_is_seen() {
        let sweep = |channel_id: &str, txid: Option<&str>| Sweep {
            channel_id: Some(channel_id.to_owned()),
            amount_sat: 20_000,
            txid: txid.map(str::to_owned),
            sent_height: None,
            confirmed_height: None,
            in_wallet: false,
        };
        let sweeps = vec![sweep("c7", Some("s")), sweep("c7", None), sweep("c8", Some("s"))];
        let seen = seen(&NodeView::default(), CoinsView { sweeps, ..CoinsView::default() });
        assert_eq!((seen.sweeps.len(), seen.unsent), (2, BTreeSet::from(["c7".to_owned()])));
    }
}
