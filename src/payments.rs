//! Money in and money out, between the node and the ledger.
//!
//! [`consume`] is the only consumer of the node's events: one event, one transaction, and only then the
//! acknowledgement. [`Outbox`] pays an invoice once for each payment hash, whatever dies in between.

mod outbox;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::ledger::RecentChallenges;
use crate::moment::Moment;
use crate::ports::{NodeEvent, NodeEvents, Outgoing, Payer};
use crate::pricing::Exchange;
use crate::store::{Arrival, ChannelEnd, Credit, Ledger, OfferEnd, OutgoingState, StoreError};

pub use outbox::{Outbox, PayAsk, PayError, Reconciled};

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Brings the node's events into the ledger until `stop`. Run it once for each node: what the node
/// repeats after it began, each time that it is built, is a replay the first time, and a possible surplus the
/// second (MONEY rule 4). The rate
/// that `exchange` knows when a payment arrives is kept with it.
pub async fn consume(
    events: Arc<dyn NodeEvents>,
    payer: Arc<dyn Payer>,
    ledger: Ledger,
    recent: Arc<RecentChallenges>,
    exchange: Arc<dyn Exchange>,
    stop: CancellationToken,
) {
    let work = async {
        loop {
            let event = events.next_event().await;
            if !is_of_an_earlier_try(&*payer, &event).await {
                until_done("a node event", || record(&ledger, &recent, &*exchange, &event)).await;
            }
            Moment::Recorded.reached();
            // Only the acknowledgement is repeated: the event must not be told to the ledger again.
            until_done("an acknowledgement", || events.acknowledge()).await;
        }
    };
    // Dropped between the commit and the acknowledgement, the event comes again: a replay.
    let _ = stop.run_until_cancelled(work).await;
}

/// Tries until it works; the node waits meanwhile, nothing is lost.
async fn until_done<T, E, F>(what: &str, mut attempt: impl FnMut() -> F) -> T
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut pause = PAUSE;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => tracing::error!(%error, "{what} could not be recorded; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// A failure that is told again after a restart may meet a newer try of the same hash, which is on its
/// way: that one's end is still to come.
async fn is_of_an_earlier_try(payer: &dyn Payer, event: &NodeEvent) -> bool {
    match event {
        NodeEvent::SendFailed { payment_hash, .. } => {
            payer.outgoing(*payment_hash).await == Outgoing::Pending
        }
        _ => false,
    }
}

/// One event, one transaction.
async fn record(
    ledger: &Ledger,
    recent: &RecentChallenges,
    exchange: &dyn Exchange,
    event: &NodeEvent,
) -> Result<(), StoreError> {
    let channel_event = match event.clone() {
        NodeEvent::Began => return ledger.begin_run().await,
        NodeEvent::Received { payment_hash, amount, opening_fee } => {
            let bought = recent.get(&payment_hash);
            let arrival = Arrival { amount, kept: opening_fee, rate: exchange.noted() };
            let credit = ledger.receive_as(payment_hash, arrival, bought).await?;
            if credit == Credit::PossibleSurplus {
                tracing::warn!(%payment_hash, %amount, "a payment was told twice: perhaps it was paid twice");
            }
            return Ok(());
        }
        NodeEvent::Sent { payment_hash, preimage, fee } => {
            return ledger.settle_outgoing(payment_hash, OutgoingState::Succeeded { preimage, fee }).await;
        }
        NodeEvent::SendFailed { payment_hash, reason } => {
            return ledger.settle_outgoing(payment_hash, OutgoingState::Failed { reason }).await;
        }
        NodeEvent::OfferSent { note, payment_hash, preimage, amount, fee } => {
            let end = OfferEnd::Arrived { payment_hash, preimage, amount, fee };
            return ledger.settle_offer(note, end).await;
        }
        NodeEvent::OfferFailed { note, reason } => {
            return ledger.settle_offer(note, OfferEnd::Failed { reason }).await;
        }
        NodeEvent::ChannelPending { channel_id, peer, .. } => Event::ChannelPending { channel_id, peer },
        NodeEvent::ChannelReady { channel_id, peer, .. } => Event::ChannelReady { channel_id, peer },
        NodeEvent::ChannelClosed { channel_id, peer, reason, cause, local_id } => {
            tracing::warn!(%channel_id, %reason, "a channel is closed");
            let cause = cause.word().to_owned();
            return ledger.end_channel(ChannelEnd { channel_id, peer, reason, cause, local_id }).await;
        }
        NodeEvent::SplicePending { channel_id, funding } => {
            return ledger.splice_agreed(channel_id, funding).await;
        }
        NodeEvent::SpliceFailed { channel_id } => {
            tracing::warn!(%channel_id, "a splice is given up; the channel stays as it was");
            return ledger.splice_given_up(channel_id).await;
        }
        NodeEvent::Other(what) => {
            tracing::debug!(what, "a node event without a row");
            return Ok(());
        }
    };
    ledger.log(channel_event).await?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
