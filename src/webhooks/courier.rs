//! The courier: turns the log into deliveries, makes them, and notes how each went.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::message::Message;
use super::secret::WebhookSecret;
use super::{Webhooks, schedule, topic};
use crate::egress::{EgressFault, Reach};
use crate::ports::BoxFuture;
use crate::store::{DeliveryState, StoreError, Tried, WaitingDelivery};
use crate::types::Timestamp;

/// Messages on their way to one endpoint at once.
const AT_ONCE: usize = 4;
/// Events that are looked at in one transaction.
const BATCH: u32 = 512;
/// The log is looked at again after this long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So long news are gathered, so that a busy log is not read once for each event.
const GATHER: Duration = Duration::from_millis(20);
/// Between two tries to use a ledger that fails.
const RETRY: Duration = Duration::from_secs(5);
/// At the stop, what is on its way has this long to be heard of; the rest is sent again at the next start.
const LAST_GRACE: Duration = Duration::from_secs(3);
/// The delivery log is kept this long.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3_600);
/// And looked through this often.
const PRUNE: Duration = Duration::from_secs(3_600);
/// What is said of an endpoint that answers 410.
const GONE: &str = "the endpoint answered 410 Gone";

impl Webhooks {
    /// Turns the log into deliveries and makes them, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut news = self.parts.ledger.watch();
        let mut flying: FuturesUnordered<BoxFuture<'_, i64>> = FuturesUnordered::new();
        // Deliveries on their way, and to whom.
        let mut aloft: BTreeMap<i64, i64> = BTreeMap::new();
        let mut pruned = Timestamp::default();
        loop {
            news.borrow_and_update();
            let next = match self.due(&aloft).await {
                Ok(Due { start, next }) => {
                    for (webhook, delivery) in start {
                        aloft.insert(delivery.id, webhook);
                        flying.push(Box::pin(self.deliver(delivery)));
                    }
                    next
                }
                Err(StoreError::Closed) => break,
                Err(error) => {
                    tracing::warn!(%error, "webhook deliveries wait for the ledger");
                    Next::In(RETRY)
                }
            };
            let now = self.parts.clock.now();
            if now >= pruned.plus(PRUNE) {
                pruned = now;
                self.prune(now).await;
            }
            let (listening, pause) = match next {
                Next::Nobody => (false, LONGEST_PAUSE),
                Next::In(pause) => (true, pause),
            };
            let heard = async {
                let open = news.changed().await.is_ok();
                tokio::time::sleep(GATHER).await;
                open
            };
            tokio::select! {
                () = stop.cancelled() => break,
                open = heard, if listening => if !open { break },
                () = self.poke.notified() => {}
                Some(landed) = flying.next() => { aloft.remove(&landed); }
                () = tokio::time::sleep(pause) => {}
            }
        }
        let landing = async { while flying.next().await.is_some() {} };
        if tokio::time::timeout(LAST_GRACE, landing).await.is_err() {
            tracing::info!(
                open = aloft.len(),
                "webhook messages on their way are sent again at the next start"
            );
        }
    }

    /// What is to be sent now, beside what is on its way.
    async fn due(&self, aloft: &BTreeMap<i64, i64>) -> Result<Due, StoreError> {
        let ledger = &self.parts.ledger;
        let endpoints = ledger.enabled_webhooks().await?;
        if endpoints.is_empty() {
            return Ok(Due { start: Vec::new(), next: Next::Nobody });
        }
        while ledger.queue_deliveries(topic::choose, BATCH).await? {}
        let now = self.parts.clock.now();
        let (mut start, mut pause) = (Vec::new(), LONGEST_PAUSE);
        for webhook in endpoints {
            let mut room = AT_ONCE.saturating_sub(aloft.values().filter(|to| **to == webhook).count());
            for delivery in ledger.waiting_deliveries(webhook, 2 * AT_ONCE).await? {
                if aloft.contains_key(&delivery.id) {
                    continue;
                }
                if delivery.next_at > now {
                    let ms = delivery.next_at.millis().saturating_sub(now.millis());
                    pause = pause.min(Duration::from_millis(ms));
                    break;
                }
                // When there is no room, one that lands makes some and is heard of.
                let Some(left) = room.checked_sub(1) else { break };
                room = left;
                start.push((webhook, delivery));
            }
        }
        Ok(Due { start, next: Next::In(pause) })
    }

    /// Tries one delivery and notes how it went; gives its number.
    async fn deliver(&self, delivery: WaitingDelivery) -> i64 {
        let id = delivery.id;
        let number = (delivery.generation, delivery.event);
        let message = Message::of_event(number, delivery.at, &delivery.topic, &delivery.body);
        let reach = Reach::allowing(delivery.allow_private);
        let secret = WebhookSecret::from_bytes(delivery.secret);
        let sent = self.send(&message, &delivery.url, reach, &secret).await;
        let tried = self.judge(sent, delivery.attempts.saturating_add(1));
        if tried.state == DeliveryState::Parked {
            tracing::warn!(
                delivery = id,
                error = tried.error,
                "a webhook message was not taken and is parked"
            );
        }
        // What cannot be noted is sent again: the receiver knows it by its id.
        while let Err(error) = self.parts.ledger.note_delivery(id, tried.clone()).await {
            tracing::warn!(%error, delivery = id, "a webhook delivery could not be noted");
            if !error.may_pass() {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        id
    }

    pub(super) async fn send(
        &self,
        message: &Message,
        url: &str,
        reach: Reach,
        secret: &WebhookSecret,
    ) -> Result<Answer, EgressFault> {
        let url: Url = url.parse().map_err(|_| EgressFault::BadUrl("it is not a URL"))?;
        let call = message.call(url, reach, secret, self.parts.clock.now(), self.config.patience);
        let reply = self.parts.egress.call(call).await?;
        Ok(Answer { status: reply.status, asked: schedule::asked(&reply.headers) })
    }

    fn judge(&self, sent: Result<Answer, EgressFault>, attempts: u32) -> Tried {
        let now = self.parts.clock.now();
        let parked = |status, error, disable| Tried {
            state: DeliveryState::Parked,
            next_at: now,
            status,
            error: Some(error),
            disable,
        };
        let (status, error, asked) = match sent {
            Ok(Answer { status, .. }) if status.is_success() => {
                let status = Some(status.as_u16());
                let state = DeliveryState::Delivered;
                return Tried { state, next_at: now, status, error: None, disable: None };
            }
            Ok(Answer { status: StatusCode::GONE, .. }) => {
                return parked(Some(StatusCode::GONE.as_u16()), refused(StatusCode::GONE), Some(GONE));
            }
            Ok(Answer { status, asked }) => (Some(status.as_u16()), refused(status), asked),
            Err(fault) => {
                let status = match &fault {
                    EgressFault::Redirected(status) => Some(status.as_u16()),
                    _ => None,
                };
                (status, fault.to_string(), None)
            }
        };
        let mut chance = [0];
        self.parts.entropy.fill(&mut chance);
        match self.config.schedule.pause(attempts, chance[0], asked) {
            Some(pause) => Tried {
                state: DeliveryState::Waiting,
                next_at: now.plus(pause),
                status,
                error: Some(error),
                disable: None,
            },
            None => parked(status, error, None),
        }
    }

    async fn prune(&self, now: Timestamp) {
        loop {
            match self.parts.ledger.prune_deliveries(now.minus(KEEP)).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return tracing::warn!(%error, "the delivery log could not be pruned"),
            }
        }
    }
}

/// What an endpoint answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The time that it wants to be left alone.
    asked: Option<Duration>,
}

/// What is said of an answer that is no success.
pub(super) fn refused(status: StatusCode) -> String {
    format!("it answers {}", status.as_u16())
}

/// What there is to do.
struct Due {
    /// Endpoint and delivery.
    start: Vec<(i64, WaitingDelivery)>,
    next: Next,
}

/// When to look again.
enum Next {
    /// When there is an endpoint.
    Nobody,
    /// After this, or when there is news.
    In(Duration),
}
