//! Webhooks: the log's events, sent to the operator's endpoints in the form of Standard Webhooks.
//!
//! Invariants: an event is delivered only after its commit, from the log; what an endpoint chose is owed to
//! it until it took it, over kills and restarts, or until a day of tries is over, when it is parked and kept.
//! A message may come twice (its `webhook-id` is then the same), never not at all. Every call goes through
//! the guard of [`crate::egress`], follows no redirect, and tells the operator no more of an answer than its
//! status. A slow endpoint delays no other.

mod courier;
mod message;
mod schedule;
mod secret;
mod topic;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;
use tokio::sync::Notify;
use url::Url;

use crate::clock::{Clock, Entropy};
use crate::egress::{Egress, EgressFault, Reach};
use crate::store::{Ledger, NewWebhook, StoreError, TestSent};
use courier::refused;
use message::Message;

pub use message::sample;
pub use schedule::Schedule;
pub use secret::WebhookSecret;
pub use topic::topics;

/// More endpoints than this are refused.
pub const MOST_WEBHOOKS: u32 = 50;

/// How deliveries are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhooksConfig {
    /// The pauses between tries.
    pub schedule: Schedule,
    /// How long an endpoint may take to answer.
    pub patience: Duration,
}

impl Default for WebhooksConfig {
    /// Over a day; 15 seconds.
    fn default() -> WebhooksConfig {
        WebhooksConfig { schedule: Schedule::default(), patience: Duration::from_secs(15) }
    }
}

/// What it works with.
#[derive(Clone)]
pub struct WebhooksParts {
    /// The log, and what is owed.
    pub ledger: Ledger,
    /// The way out.
    pub egress: Arc<Egress>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for secrets.
    pub entropy: Arc<dyn Entropy>,
}

/// Sends events to endpoints.
pub struct Webhooks {
    parts: WebhooksParts,
    config: WebhooksConfig,
    poke: Notify,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("config", &self.config).finish_non_exhaustive()
    }
}

/// An endpoint that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookAsk {
    /// Where it is.
    pub url: String,
    /// What it gets, by public names; none is all.
    pub topics: Vec<String>,
    /// What the operator calls it.
    pub label: String,
    /// How far the calls may go.
    pub reach: Reach,
}

/// Why something was not done.
#[derive(Clone, Debug, Error)]
pub enum WebhookError {
    /// Not a URL.
    #[error("`{0}` is not a URL")]
    NotAUrl(String),
    /// It may not be called, or cannot be as things stand.
    #[error(transparent)]
    Egress(#[from] EgressFault),
    /// Not a name of something that happens.
    #[error("`{0}` is not something that an endpoint can get")]
    UnknownTopic(String),
    /// There are too many.
    #[error("there are {MOST_WEBHOOKS} endpoints already")]
    TooMany,
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    Unknown,
    /// There is no such delivery.
    #[error("there is no such delivery")]
    UnknownDelivery,
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of a test message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// What the endpoint answered, if it did.
    pub status: Option<StatusCode>,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Webhooks {
    /// Nothing is sent before [`Webhooks::run`].
    pub fn new(parts: WebhooksParts, config: WebhooksConfig) -> Webhooks {
        Webhooks { parts, config, poke: Notify::new() }
    }

    /// Makes an endpoint; it gets what happens from now on. The secret is told here and nowhere else.
    ///
    /// # Errors
    /// When it may not be called, or asks for what there is not.
    pub async fn add(&self, ask: WebhookAsk) -> Result<(i64, WebhookSecret), WebhookError> {
        let url: Url = ask.url.parse().map_err(|_| WebhookError::NotAUrl(ask.url.clone()))?;
        if let Some(unknown) = ask.topics.iter().find(|topic| !topics().any(|known| known == topic.as_str()))
        {
            return Err(WebhookError::UnknownTopic(unknown.clone()));
        }
        self.parts.egress.check(&url, ask.reach).await?;
        let secret = WebhookSecret::new(self.parts.entropy.as_ref());
        let new = NewWebhook {
            url: url.into(),
            secret: secret.bytes().to_vec(),
            label: ask.label,
            topics: ask.topics.join(" "),
            allow_private: ask.reach == Reach::Private,
        };
        let id = self.parts.ledger.add_webhook(new, MOST_WEBHOOKS).await?.ok_or(WebhookError::TooMany)?;
        self.poke.notify_one();
        Ok((id, secret))
    }

    /// Lets an endpoint get what happens from now on, and what still waits for it.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub async fn enable(&self, id: i64) -> Result<(), WebhookError> {
        self.switch(id, None).await
    }

    /// Sends an endpoint nothing any more. What happens meanwhile is not kept for it.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub async fn disable(&self, id: i64) -> Result<(), WebhookError> {
        self.switch(id, Some("by the operator")).await
    }

    async fn switch(&self, id: i64, off: Option<&str>) -> Result<(), WebhookError> {
        if !self.parts.ledger.switch_webhook(id, off).await? {
            return Err(WebhookError::Unknown);
        }
        self.poke.notify_one();
        Ok(())
    }

    /// Removes an endpoint, its secret and its delivery log.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub async fn remove(&self, id: i64) -> Result<(), WebhookError> {
        if self.parts.ledger.remove_webhook(id).await? { Ok(()) } else { Err(WebhookError::Unknown) }
    }

    /// Has a delivery made again at once, whatever became of it.
    ///
    /// # Errors
    /// When there is no such delivery.
    pub async fn redeliver(&self, delivery: i64) -> Result<(), WebhookError> {
        if !self.parts.ledger.redeliver(delivery).await? {
            return Err(WebhookError::UnknownDelivery);
        }
        self.poke.notify_one();
        Ok(())
    }

    /// Sends a test message now, also to an endpoint that is disabled; it is not in the delivery log.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub async fn test(&self, id: i64) -> Result<Tested, WebhookError> {
        let hooks = self.parts.ledger.webhooks().await?;
        let hook = hooks.into_iter().find(|hook| hook.id == id).ok_or(WebhookError::Unknown)?;
        let secret = self.parts.ledger.webhook_secret(id).await?.ok_or(WebhookError::Unknown)?;
        let mut nonce = [0; 12];
        self.parts.entropy.fill(&mut nonce);
        let message = Message::test(id, self.parts.clock.now(), &nonce);
        let reach = Reach::allowing(hook.allow_private);
        let began = self.parts.clock.steady();
        let sent = self.send(&message, &hook.url, reach, &WebhookSecret::from_bytes(secret)).await;
        let took = self.parts.clock.steady().saturating_sub(began);
        let tested = match sent {
            Ok(answer) => {
                let error = (!answer.status.is_success()).then(|| refused(answer.status));
                Tested { status: Some(answer.status), error, took }
            }
            Err(fault) => Tested { status: None, error: Some(fault.to_string()), took },
        };
        let (status, error) = (tested.status.map(|status| status.as_u16()), tested.error.clone());
        let noted = TestSent { webhook: id, topic: message::TEST, status, error };
        if let Err(error) = self.parts.ledger.note_test(noted).await {
            tracing::warn!(%error, "a test message was sent, and could not be put into the delivery log");
        }
        Ok(tested)
    }
}
