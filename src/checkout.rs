//! One call for whoever serves a request: verify and reserve, or quote and mint.
//!
//! Invariants: the challenge stores nothing (money rule 1): it is an invoice that the node makes
//! by computation, a token whose key is derived, and one place in a bounded map. Nothing is sold
//! that cannot be paid or delivered (money rule 5).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Matched, Mode, RouteTable};
use crate::clock::{Clock, Entropy};
use crate::gate::{Decision, Gate, Permit, Priced, Wanted, Why};
use crate::inbound::Openings;
use crate::l402::{self, Keyring, Malformed, MasterKeys, UnknownCaveats, carries_credential};
use crate::ledger::{RecentChallenges, ReserveRefused};
use crate::metering::{Bill, Hold, KeptAnswer, ReplayKey, ReplayLimits, Replays, Shadowed};
use crate::payment_auth;
use crate::ports::{CannotReceive, Minter};
use crate::pricing::{Exchange, RequestFacts, Unpriced};
use crate::request::CanonicalRequest;
use crate::store::{Ledger, ReserveError, StoreError};
use crate::tally::Tally;
use crate::throttle::{Limits, Throttle, TooMany};
use crate::types::{Kind, Timestamp, TokenCopy};

mod allowance;
mod application;
mod counter;
mod gift;
mod inspection;
mod mint;
mod offered;
mod prefer;
mod price_tag;
mod pricing;
mod unlock;
mod upstreams;
mod ware;

pub use application::{Described, NamedPrice, NotDescribed, NotHeld};
pub use gift::{Gift, GiftAsk, NotGiven};
pub use inspection::{Inspection, NotInspected};
pub use offered::{Errand, Offered};
pub use prefer::L402_OFFER;
pub use price_tag::PriceTag;
pub use pricing::BodySeen;
pub use unlock::{NotUnlocked, Unlock};
pub use upstreams::{UpstreamLook, Upstreams};
pub use ware::{NotSold, Ware};

use allowance::Allowances;
use counter::Counter;
use pricing::{Pricing, facts};

/// How things are sold.
#[derive(Clone, Debug, Default)]
pub struct CheckoutConfig {
    /// What to do with a caveat that we do not know.
    pub unknown_caveats: UnknownCaveats,
    /// How many answers are kept for clients that lost theirs.
    pub replays: ReplayLimits,
    /// How often one may ask without paying.
    pub limits: Limits,
}

/// What the checkout works with.
#[derive(Clone)]
pub struct CheckoutParts {
    /// What is for sale.
    pub catalog: Arc<Catalog>,
    /// The tokens' master keys.
    pub keys: Arc<Keyring>,
    /// Where units are reserved.
    pub ledger: Ledger,
    /// Who makes invoices.
    pub minter: Arc<dyn Minter>,
    /// What bitcoin costs in other currencies.
    pub exchange: Arc<dyn Exchange>,
    /// What was offered lately, so that a payment's purpose is known at once.
    pub recent: Arc<RecentChallenges>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for tokens that are given away.
    pub entropy: Arc<dyn Entropy>,
    /// Cancelled when open connections are broken off at shutdown.
    pub cut: CancellationToken,
}

/// Verifies, reserves, quotes and mints.
#[derive(Clone)]
pub struct Checkout {
    parts: CheckoutParts,
    gate: Gate,
    replays: Arc<Replays>,
    allowances: Arc<Allowances>,
    throttle: Arc<Throttle>,
    openings: Option<Arc<Openings>>,
    tally: Arc<Tally>,
    upstreams: Arc<Upstreams>,
}

impl std::fmt::Debug for Checkout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkout").field("gate", &self.gate).finish_non_exhaustive()
    }
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Outcome {
    /// It costs nothing, or nothing more: forward it.
    Open(Matched),
    /// It costs nothing, for its service is on trial: forward it, and count what it would have cost.
    Shadowed(Box<Shadowed>),
    /// It is paid for and what it costs is held: forward it, and end the hold.
    Admitted(Matched, Hold),
    /// It was paid for and answered before, and the client asks for that answer again.
    Replayed(KeptAnswer),
    /// It has to be paid for.
    Challenge(Box<Offered>),
    /// It can be neither served nor sold now.
    Refused(Refused),
}

/// Why a request is neither served nor sold.
#[derive(Debug, Error)]
pub enum Refused {
    /// The credential cannot be read: 400.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Whoever asks does so too often: 429.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// What is left of the token is held by requests that are under way: 409, and again in a second.
    #[error("this token is in use by another request that is still under way")]
    InFlight,
    /// Nobody can say what the request costs: 503, never for nothing.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// Nothing that is on offer pays for this request: 403.
    #[error("no offer pays for this request: {0}")]
    NotForSale(NotSold),
    /// Nobody could pay an invoice now: 503.
    #[error(transparent)]
    CannotReceive(#[from] CannotReceive),
    /// The token is refused for what only the seller can mend, and nothing can be sold in its place: 503.
    #[error("{0}")]
    Doubted(ReserveRefused),
    /// The ledger fails: 503. Nothing was taken.
    #[error(transparent)]
    Ledger(StoreError),
}

impl Checkout {
    /// A checkout over `parts`.
    pub fn new(parts: CheckoutParts, config: CheckoutConfig) -> Checkout {
        let gate = Gate::new(Arc::clone(&parts.keys), config.unknown_caveats);
        let replays = Replays::new(config.replays, Arc::clone(&parts.clock));
        let throttle = Arc::new(Throttle::new(&config.limits, Arc::clone(&parts.clock)));
        let tally = Arc::new(Tally::over(parts.ledger.demands().clone()));
        Checkout {
            parts,
            gate,
            replays,
            allowances: Arc::default(),
            throttle,
            openings: None,
            tally,
            upstreams: Arc::default(),
        }
    }

    /// The same, which has a channel opened for a payment that no channel can carry.
    #[must_use]
    pub fn opening(mut self, openings: Arc<Openings>) -> Checkout {
        self.openings = Some(openings);
        self
    }

    /// Cancelled when open connections are broken off at shutdown.
    pub fn cut(&self) -> &CancellationToken {
        &self.parts.cut
    }

    /// What the gateway counts.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A steady count of time, for measuring spans.
    pub fn steady(&self) -> Duration {
        self.parts.clock.steady()
    }

    /// How the upstreams answered last.
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Counts who asks how often, for other faces that cost nothing.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The price list in force.
    pub fn price_list(&self) -> Arc<RouteTable> {
        self.parts.catalog.current()
    }

    /// What the request is for; `None` when nothing is served there.
    pub fn find(&self, request: &CanonicalRequest) -> Option<Matched> {
        let table = self.parts.catalog.current();
        table.lookup(request.method(), request.host(), request.path()).filter(|m| m.service.mode != Mode::Off)
    }

    /// Decides about `request`, which is for `matched`, came with the headers `headers` and has the
    /// body `body`.
    ///
    /// May be dropped at any point: what was reserved for it goes back to its buyer.
    pub async fn check(
        &self,
        matched: Matched,
        request: &CanonicalRequest,
        headers: &HeaderMap,
        body: BodySeen,
    ) -> Outcome {
        let (terms, now) = (Arc::clone(&matched.terms), self.parts.clock.now());
        if terms.rule.is_free() {
            return Outcome::Open(matched);
        }
        let facts = facts(request, body, &terms.rule.reads());
        if matched.service.mode == Mode::Shadow {
            return self.shadow(matched, facts, now);
        }
        let paying = headers.iter().any(|(name, value)| {
            carries_credential(name, value) || payment_auth::carries_credential(name, value)
        });
        if !paying && self.allowances.take(&matched, request.peer(), now) {
            return Outcome::Open(matched);
        }
        let pricing = Pricing::new(&terms, &facts, self.parts.exchange.as_ref(), now);
        if pricing.today().is_ok_and(|quote| quote.is_free()) {
            return Outcome::Open(matched);
        }
        let counter = Counter { parts: &self.parts, matched: &matched, pricing: &pricing, request, headers };
        let wanted = Wanted {
            service: &matched.service,
            route: &matched.route,
            terms: &terms,
            method: request.method().as_str(),
            path: request.path(),
            price: &pricing,
        };
        let (throttle, peer, openings) = (&self.throttle, request.peer(), self.openings.as_deref());
        // Who failed too often is not looked into again, unless it has the look of being paid for.
        if paying
            && let Err(refused) = throttle.failing(peer)
            && !looks_paid(&self.parts.keys.keys(), headers)
        {
            return Outcome::Refused(refused.into());
        }
        let challenge = || throttle.challenge(peer);
        let failed = || throttle.failure(peer).and_then(|()| throttle.challenge(peer));
        match self.gate.decide(&wanted, headers, now) {
            Decision::Malformed(malformed) => Outcome::Refused(malformed.into()),
            Decision::Admit(permit) => {
                let bill = Bill {
                    terms: Arc::clone(&terms),
                    request: facts.clone(),
                    quote: permit.quote().cloned(),
                };
                match self.reserve(*permit, bill, request).await {
                    Ok(hold) => {
                        if hold.sale().kind == Kind::Request {
                            throttle.paid(peer);
                        }
                        Outcome::Admitted(matched, hold)
                    }
                    Err(Unreserved::Kept(kept)) => Outcome::Replayed(kept),
                    Err(Unreserved::Ledger(error)) => Outcome::Refused(Refused::Ledger(error)),
                    Err(Unreserved::Refused(ReserveRefused::InFlight)) => Outcome::Refused(Refused::InFlight),
                    Err(Unreserved::Refused(why)) => match failed() {
                        Ok(()) => {
                            match counter.offer_or_open(openings, (why.code(), why.to_string())).await {
                                // Its holder is to ask the seller, and not to wait until it can be bought again.
                                Outcome::Refused(Refused::CannotReceive(_)) if why.is_sellers() => {
                                    Outcome::Refused(Refused::Doubted(why))
                                }
                                outcome => outcome,
                            }
                        }
                        Err(refused) => Outcome::Refused(refused.into()),
                    },
                }
            }
            Decision::Unpriced { why, copy } => match self.kept(&copy, request).await {
                Some(kept) => Outcome::Replayed(kept),
                None => Outcome::Refused(why.into()),
            },
            // What was answered at the old price stays answered.
            Decision::Challenge(why) => {
                if let Some(copy) = why.copy()
                    && let Some(kept) = self.kept(copy, request).await
                {
                    return Outcome::Replayed(kept);
                }
                let over = self.over(&why).await;
                let turn = if over.is_some() || matches!(why, Why::Refused(_) | Why::ChargeRefused(_)) {
                    failed()
                } else {
                    challenge()
                };
                let reason = over.unwrap_or_else(|| counter.reason(&why));
                match turn {
                    Ok(()) => counter.offer_or_open(openings, reason).await,
                    Err(refused) => Outcome::Refused(refused.into()),
                }
            }
        }
    }

    /// A fresh offer for a request that was admitted and turned out dearer than what is left of its
    /// token, as the answer's head says. `code` and `detail` say why.
    pub fn offer_again(
        &self,
        matched: &Matched,
        request: &CanonicalRequest,
        headers: &HeaderMap,
        facts: &RequestFacts,
        (code, detail): (&'static str, String),
    ) -> Outcome {
        let now = self.parts.clock.now();
        let pricing = Pricing::new(&matched.terms, facts, self.parts.exchange.as_ref(), now);
        let counter = Counter { parts: &self.parts, matched, pricing: &pricing, request, headers };
        counter.offer(code, detail)
    }

    /// Lets everything through, and has what it would have cost counted, when that can be told.
    fn shadow(&self, matched: Matched, facts: RequestFacts, now: Timestamp) -> Outcome {
        let CheckoutParts { ledger, clock, exchange, .. } = &self.parts;
        match Pricing::new(&matched.terms, &facts, exchange.as_ref(), now).today() {
            Ok(quote) => {
                let shadowed = Shadowed::new(ledger.clone(), Arc::clone(clock), matched, facts, &quote);
                Outcome::Shadowed(Box::new(shadowed))
            }
            Err(why) => {
                let Matched { service, route, .. } = &matched;
                tracing::debug!(service = %service.name, %route, code = why.code(), %why, "no price in shadow mode");
                Outcome::Open(matched)
            }
        }
    }

    async fn reserve(
        &self,
        permit: Permit,
        bill: Bill,
        request: &CanonicalRequest,
    ) -> Result<Hold, Unreserved> {
        // Asked first: whoever comes again for an answer that was paid for must not pay for another, nor
        // for one that is on its way. Whoever may record sees what was kept before.
        let key = ReplayKey::of(&permit.copy(), request);
        let recording = key.map(|key| self.replays.record(key));
        if let Some(kept) = self.kept(&permit.copy(), request).await {
            return Err(Unreserved::Kept(kept));
        }
        let recording = match recording {
            Some(None) => return Err(Unreserved::Refused(ReserveRefused::InFlight)),
            Some(recording) => recording,
            None => None,
        };
        let CheckoutParts { ledger, clock, cut, .. } = &self.parts;
        match Hold::reserve(ledger, permit, bill, clock, cut.clone()).await {
            Ok(mut hold) => {
                if let Some(recording) = recording {
                    hold.record(recording);
                }
                Ok(hold)
            }
            Err(ReserveError::Refused(refused)) => Err(Unreserved::Refused(refused)),
            Err(ReserveError::Store(error)) => Err(Unreserved::Ledger(error)),
        }
    }

    /// What is told instead of `why`, when that is about a token that opens nothing at any price. Where nobody knows,
    /// `why` is true too.
    async fn over(&self, why: &Why) -> Option<(&'static str, String)> {
        let over = self.parts.ledger.over(why.copy()?.payment_hash, self.now()).await;
        over.ok().flatten().map(|refused| (refused.code(), refused.to_string()))
    }

    /// What was kept for this request of a token that was not taken back.
    async fn kept(&self, copy: &TokenCopy, request: &CanonicalRequest) -> Option<KeptAnswer> {
        let kept = self.replays.get(&ReplayKey::of(copy, request)?)?;
        let row = self.parts.ledger.grant(copy.payment_hash).await.ok().flatten();
        // Where nobody knows, nothing is given: the ledger's own refusal says why.
        row.filter(|row| !row.grant.barred).map(|_| kept)
    }
}

/// Why a good token holds nothing.
enum Unreserved {
    Kept(KeptAnswer),
    Refused(ReserveRefused),
    Ledger(StoreError),
}

/// Whether a credential of either dialect has the look of being paid for.
fn looks_paid(keys: &MasterKeys, headers: &HeaderMap) -> bool {
    let l402 = headers.iter().any(|(name, value)| carries_credential(name, value));
    (l402 && l402::looks_paid(keys, headers)) || payment_auth::looks_paid(headers)
}
