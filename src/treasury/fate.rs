//! What became of an operation: found in what the node knows now, never by asking for it again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Deed, Finding, Mark, Treasury, TreasuryError};
use crate::ports::{ChainTx, ChannelView, NodeFault, NodeView};
use crate::store::{OperationRow, OperationState};

impl Treasury {
    /// What can be said of `row` now; `None` when that is nothing new.
    pub(super) async fn fate(&self, row: &OperationRow) -> Result<Option<Finding>, TreasuryError> {
        let Some(deed) = Deed::of_record(&row.kind, &row.ask) else { return Ok(None) };
        let view = self.0.parts.node.view().await;
        if !view.running {
            return Err(NodeFault("it is not running".to_owned()).into());
        }
        let mark = Mark::of(&row.outcome);
        let found = match &deed {
            Deed::Send { amount_sat, .. } => self.sent(row, &mark, &view, Some(*amount_sat)).await?,
            Deed::SendAll { .. } => self.sent(row, &mark, &view, None).await?,
            Deed::OpenChannel { peer, amount_sat, .. } => {
                self.opened(row, &mark, &view, (peer, *amount_sat)).await?
            }
            Deed::CloseChannel { .. } | Deed::ForceCloseChannel { .. } => closed(&mark, &view),
            Deed::SpliceIn { .. } | Deed::SpliceOut { .. } => {
                let transactions = self.0.parts.coins.transactions().await?;
                let fee_sat = match row.state {
                    OperationState::Sent => self.waiting_fee(row, &view.channels).await?,
                    _ => None,
                };
                spliced(row, &deed, (&mark, &view), &transactions, fee_sat)
            }
        };
        Ok(found.or_else(|| {
            // Begun in a run that is over, and nothing to be seen: nobody knows.
            let hidden = row.state == OperationState::Intended;
            let why = "the appliance ended before the node's answer was noted";
            hidden.then(|| Finding::new(OperationState::Unclear, json!({ "reason": why })))
        }))
    }

    /// A transaction of the wallet: its id is known, or exactly one fits that no other operation sent.
    async fn sent(
        &self,
        row: &OperationRow,
        mark: &Mark,
        view: &NodeView,
        amount_sat: Option<u64>,
    ) -> Result<Option<Finding>, TreasuryError> {
        let transactions = self.0.parts.coins.transactions().await?;
        let known = row.outcome["txid"].as_str();
        let mine = match known {
            Some(txid) => transactions.iter().find(|tx| tx.txid == txid),
            None => {
                let taken = self.taken(row.id, view).await?;
                let fits = |tx: &&ChainTx| {
                    tx.outgoing
                        && amount_sat.is_none_or(|amount| amount == tx.amount_sat)
                        && tx.confirmed_height.is_none_or(|height| height > mark.height)
                        && !mark.pending.contains(&tx.txid)
                        && !taken.contains(&tx.txid)
                };
                let mut fitting = transactions.iter().filter(fits);
                match (fitting.next(), fitting.next()) {
                    (Some(one), None) => Some(one),
                    _ => None,
                }
            }
        };
        Ok(mine.map(|tx| {
            let state = if tx.settled { OperationState::Done } else { OperationState::Sent };
            Finding::new(
                state,
                json!({
                    "txid": tx.txid,
                    "sent_sat": tx.amount_sat,
                    "fee_sat": tx.fee_sat,
                    "confirmed_height": tx.confirmed_height,
                }),
            )
        }))
    }

    /// Transactions that are something else's: another operation's, or a channel's.
    async fn taken(&self, own: i64, view: &NodeView) -> Result<BTreeSet<String>, TreasuryError> {
        let ledger = &self.0.parts.ledger;
        let rows = ledger.operations(i64::MAX, RECENT).await?;
        let others = rows.iter().filter(|row| row.id != own);
        let told = |row: &OperationRow| {
            ["txid", "funding", "spliced_to"].map(|fact| row.outcome[fact].as_str().map(str::to_owned))
        };
        let mut all: Vec<String> = others.flat_map(told).flatten().collect();
        all.extend(view.channels.iter().filter_map(|channel| channel.funding.clone()));
        // Those of channels that are gone, and of open ones before they were spliced.
        let mut records = ledger.closed_channels(RECENT).await?;
        let open: Vec<&str> = view.channels.iter().map(|channel| channel.local_id.as_str()).collect();
        records.extend(ledger.channel_records(&open).await?);
        for record in records {
            all.extend([record.funding, record.spliced_to, record.closing_txid].into_iter().flatten());
            all.extend(record.fundings.into_iter().map(|one| one.funding));
        }
        // An output is `txid:vout`.
        Ok(all.iter().filter_map(|one| one.split(':').next().map(str::to_owned)).collect())
    }

    /// What the wallet paid for the transaction that funds a channel of ours, satoshi, as soon as it lists that.
    async fn funding_fee(&self, channel: &ChannelView) -> Result<Option<u64>, TreasuryError> {
        let Some((txid, _)) = channel.funding.as_deref().and_then(|funding| funding.split_once(':')) else {
            return Ok(None);
        };
        let transactions = self.0.parts.coins.transactions().await?;
        Ok(transactions.into_iter().find(|tx| tx.outgoing && tx.txid == txid).and_then(|tx| tx.fee_sat))
    }

    /// A channel: its own id is known, or exactly one fits that was not there before.
    async fn opened(
        &self,
        row: &OperationRow,
        mark: &Mark,
        view: &NodeView,
        (peer, amount_sat): (&str, u64),
    ) -> Result<Option<Finding>, TreasuryError> {
        let known = row.outcome["local_id"].as_str();
        let fits = |channel: &&ChannelView| match known {
            Some(local_id) => channel.local_id == local_id,
            None => {
                channel.outbound
                    && channel.peer == peer
                    && channel.capacity_sat == amount_sat
                    && !mark.channels.contains(&channel.local_id)
            }
        };
        if let Some(channel) = view.channels.iter().find(fits) {
            if let Some(void) = self.voided(row, mark, channel, view.block_height).await? {
                return Ok(Some(void));
            }
            let state = if channel.ready { OperationState::Done } else { OperationState::Sent };
            let mut facts = channel_facts(channel);
            if let Some(funded) = self.funded_by(mark, channel).await {
                facts["before"] = funded.value()["before"].take();
            }
            if let Some(fee_sat) = self.funding_fee(channel).await? {
                facts["fee_sat"] = fee_sat.into();
            }
            return Ok(Some(Finding::new(state, facts)));
        }
        // A contract with the peer that no open channel explains: coins may be on their way back from it.
        let coins = self.0.parts.coins.coins().await?;
        let explained: BTreeSet<&str> =
            view.channels.iter().map(|channel| channel.channel_id.as_str()).collect();
        let contract = coins
            .claims
            .iter()
            .any(|claim| claim.peer == peer && !explained.contains(claim.channel_id.as_str()));
        let told = match known {
            Some(local_id) => self.0.parts.ledger.channel_record(local_id).await?.and_then(|row| row.reason),
            None => None,
        };
        // The library keeps a contract on disk before it sends the funding transaction: without one, no coins
        // were committed.
        Ok((!contract).then(|| {
            let why = "the channel did not come to be; no coins were committed";
            Finding::failed(told.as_deref().or(row.outcome["reason"].as_str()).unwrap_or(why))
        }))
    }
}

/// Transactions of the newest so many operations and closed channels are never taken for another's.
const RECENT: u32 = 1_000;

fn channel_facts(channel: &ChannelView) -> Value {
    json!({
        "local_id": channel.local_id,
        // Before it is funded it has an id that changes: our own is told then.
        "channel_id": channel.funding.as_ref().map(|_| channel.channel_id.as_str()),
        "funding": channel.funding,
        "capacity_sat": channel.capacity_sat,
    })
}

/// A channel that is no longer there.
fn closed(mark: &Mark, view: &NodeView) -> Option<Finding> {
    let gone = !view.channels.iter().any(|channel| Some(&channel.local_id) == mark.local_id.as_ref());
    gone.then(|| Finding::new(OperationState::Done, json!({})))
}

/// A channel with another funding output than before, and of the size that was asked for. That a splice is
/// agreed or given up is told as an event; see `store::splices`. `fee_sat` is its fee, where that can be seen while it
/// waits.
fn spliced(
    row: &OperationRow,
    deed: &Deed,
    (mark, view): (&Mark, &NodeView),
    transactions: &[ChainTx],
    fee_sat: Option<u64>,
) -> Option<Finding> {
    let same = |channel: &&ChannelView| Some(&channel.local_id) == mark.local_id.as_ref();
    let unclear = |reason: &str| Some(Finding::new(OperationState::Unclear, json!({ "reason": reason })));
    let Some(channel) = view.channels.iter().find(same) else {
        return unclear("the channel was closed before its new size was seen");
    };
    let to_own_sat = to_own(row, deed, (mark, channel), transactions);
    if channel.funding == mark.funding {
        let facts = [("to_own_sat", to_own_sat), ("fee_sat", fee_sat)];
        let facts = facts.into_iter().filter_map(|(name, sat)| Some((name.to_owned(), sat?.into())));
        let facts: serde_json::Map<String, Value> = facts.collect();
        let told = row.state == OperationState::Sent && !facts.is_empty();
        return told.then(|| Finding::new(OperationState::Sent, facts.into()));
    }
    let told = row.outcome["spliced_to"].as_str();
    if told.is_some_and(|told| channel.funding.as_deref() != Some(told)) || !resized(deed, mark, channel) {
        return unclear("the channel has another size now, and it is not the one that was asked for");
    }
    let mut facts = channel_facts(channel);
    facts["fee_sat"] = splice_fee(deed, mark, channel, transactions).into();
    facts["to_own_sat"] = to_own_sat.into();
    Some(Finding::new(OperationState::Done, facts))
}

/// What a splice out of a channel brings to the wallet itself, satoshi, from when it has a transaction: its address was
/// known as one of the wallet's own, or the wallet lists the transaction as one that came in. The transaction that the
/// channel hung on before is another one's.
fn to_own(
    row: &OperationRow,
    deed: &Deed,
    (mark, channel): (&Mark, &ChannelView),
    transactions: &[ChainTx],
) -> Option<u64> {
    let Deed::SpliceOut { amount_sat, .. } = deed else { return None };
    let new = channel.funding.as_deref().filter(|_| channel.funding != mark.funding);
    let txid = row.outcome["spliced_to"].as_str().or(new)?.split(':').next()?;
    let came = transactions.iter().find(|tx| !tx.outgoing && tx.txid == txid);
    came.map(|came| came.amount_sat.min(*amount_sat)).or(mark.to_own.then_some(*amount_sat))
}

/// What a splice cost: coins that left the wallet and did not come into the channel, or left the channel and did
/// not come out.
fn splice_fee(deed: &Deed, mark: &Mark, channel: &ChannelView, transactions: &[ChainTx]) -> Option<u64> {
    match deed {
        Deed::SpliceIn { amount_sat, .. } => {
            let txid = channel.funding.as_deref()?.split(':').next()?;
            let tx = transactions.iter().find(|tx| tx.outgoing && tx.txid == txid)?;
            tx.amount_sat.checked_add(tx.fee_sat.unwrap_or(0))?.checked_sub(*amount_sat)
        }
        Deed::SpliceOut { amount_sat, .. } => {
            mark.capacity_sat?.checked_sub(channel.capacity_sat)?.checked_sub(*amount_sat)
        }
        _ => None,
    }
    .filter(|fee| *fee > 0)
}

/// Whether the channel grew by what was asked for, or shrank by it and the fee. The other side may splice
/// the same channel.
fn resized(deed: &Deed, mark: &Mark, channel: &ChannelView) -> bool {
    let Some(before) = mark.capacity_sat else { return true };
    match deed {
        Deed::SpliceIn { amount_sat, .. } => {
            before.checked_add(*amount_sat).is_some_and(|least| channel.capacity_sat >= least)
        }
        Deed::SpliceOut { amount_sat, .. } => {
            before.checked_sub(*amount_sat).is_some_and(|most| channel.capacity_sat < most)
        }
        _ => true,
    }
}
