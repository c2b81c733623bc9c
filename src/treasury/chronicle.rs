//! The channels' records: what the node tells of them is noted while it still knows it.

use super::{Treasury, TreasuryError};
use crate::ports::{CoinsView, NodeFault, NodeView};
use crate::store::{ChannelRow, ChannelSeen, ChannelsSeen, ClaimSeen, SweepRow};

/// Closed channels whose closing transaction is looked for, the newest.
const LOOKED_FOR: u32 = 20;

/// What was noted last.
#[derive(Default)]
pub(super) struct Noted {
    seen: Option<ChannelsSeen>,
    height: u32,
    events: i64,
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
        let (height, seen) = (view.block_height, seen(&view, parts.coins.coins().await?));
        let (same, block) = {
            let noted = self.noted();
            let same = noted.seen.as_ref() == Some(&seen) && noted.height == height && noted.events == events;
            (same, noted.height != height || noted.seen.as_ref() != Some(&seen))
        };
        if same {
            return Ok(());
        }
        parts.ledger.note_channels(seen.clone(), height).await?;
        if block {
            self.look_for_closings().await?;
        }
        *self.noted() = Noted { seen: Some(seen), height, events };
        Ok(())
    }

    pub(super) fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Which transactions closed the channels that are gone: the library does not say.
    async fn look_for_closings(&self) -> Result<(), TreasuryError> {
        let parts = &self.0.parts;
        let unknown =
            |row: &ChannelRow| row.closing_txid.is_none() && row.cause.as_deref() != Some("never_opened");
        let rows = parts.ledger.closed_channels(LOOKED_FOR).await?;
        for row in rows.into_iter().filter(unknown) {
            let Some(closed) = row.closed_height else { continue };
            // It may have been in a block for a while before the node heard of it.
            match self.closing_of(&row, closed.saturating_sub(6)).await {
                Ok(Some(txid)) => parts.ledger.note_closing(&row.local_id, txid).await?,
                Ok(None) => {}
                Err(fault) => tracing::debug!(%fault, "a closing transaction could not be looked for"),
            }
        }
        Ok(())
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

    /// The closed channels, the last one first.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn closed_channels(&self, limit: u32) -> Result<Vec<ChannelRow>, TreasuryError> {
        Ok(self.0.parts.ledger.closed_channels(limit).await?)
    }
}

fn seen(view: &NodeView, coins: CoinsView) -> ChannelsSeen {
    let open = view.channels.iter().map(|channel| ChannelSeen {
        local_id: channel.local_id.clone(),
        channel_id: channel.channel_id.clone(),
        peer: channel.peer.clone(),
        funding: channel.funding.clone(),
        capacity_sat: channel.capacity_sat,
        outbound: channel.outbound,
        announced: channel.announced,
        ready: channel.ready,
    });
    // What open channels owe changes with every payment, and is nobody's record.
    let is_open = |id: &str| view.channels.iter().any(|channel| channel.channel_id == id);
    let claims =
        coins.claims.into_iter().filter(|claim| !is_open(&claim.channel_id)).map(|claim| ClaimSeen {
            channel_id: claim.channel_id,
            amount_sat: claim.amount_sat,
            until_height: claim.until_height,
        });
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
    ChannelsSeen { open: open.collect(), claims: claims.collect(), sweeps: together }
}
