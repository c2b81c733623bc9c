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

use crate::catalog::{Catalog, Matched};
use crate::clock::{Clock, Entropy};
use crate::gate::{Decision, Gate, Permit, Why};
use crate::l402::{Challenge, Identifier, Malformed, MasterKeys, Sold, Token, UnknownCaveats};
use crate::ledger::{Bought, Draw, RecentChallenges, ReserveRefused, Sale, TOKEN_LIFE_AFTER_INVOICE};
use crate::metering::{Hold, KeptAnswer, ReplayKey, ReplayLimits, Replays};
use crate::ports::{CannotReceive, InvoiceAsk, MintedInvoice, Minter};
use crate::pricing::{Ask, Exchange, Quote, RequestFacts, Unpriced};
use crate::request::CanonicalRequest;
use crate::store::{Ledger, ReserveError, StoreError};
use crate::types::{Kind, Msat};

/// How things are sold.
#[derive(Clone, Debug)]
pub struct CheckoutConfig {
    /// How long an invoice may be paid.
    pub invoice_expiry: Duration,
    /// What to do with a caveat that we do not know.
    pub unknown_caveats: UnknownCaveats,
    /// How many answers are kept for clients that lost theirs.
    pub replays: ReplayLimits,
}

impl Default for CheckoutConfig {
    /// 15 minutes, unknown caveats are refused, and the usual limits of replays.
    fn default() -> CheckoutConfig {
        CheckoutConfig {
            invoice_expiry: Duration::from_secs(15 * 60),
            unknown_caveats: UnknownCaveats::default(),
            replays: ReplayLimits::default(),
        }
    }
}

/// What the checkout works with.
#[derive(Clone)]
pub struct CheckoutParts {
    /// What is for sale.
    pub catalog: Arc<Catalog>,
    /// The tokens' master keys.
    pub keys: Arc<MasterKeys>,
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
    /// Randomness for token ids.
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
    config: CheckoutConfig,
}

impl std::fmt::Debug for Checkout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkout").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing is sold there.
    NoRoute,
    /// It is free: forward it.
    Open(Matched),
    /// It is paid for and a unit is held: forward it, and end the hold.
    Admitted(Matched, Hold),
    /// It was paid for and answered before, and the client asks for that answer again.
    Replayed(KeptAnswer),
    /// It has to be paid for.
    Challenge(Box<Offered>),
    /// It can be neither served nor sold now.
    Refused(Refused),
}

/// A ready offer: the data of a 402.
#[derive(Debug)]
pub struct Offered {
    token: Token,
    invoice: MintedInvoice,
    sold: Sold,
    code: &'static str,
    detail: String,
}

impl Offered {
    /// The offer as the protocol shows it.
    pub fn challenge(&self) -> Challenge<'_> {
        Challenge {
            token: &self.token,
            bolt11: &self.invoice.bolt11,
            payment_hash: self.invoice.payment_hash,
            amount: self.sold.sold,
            expires_at: self.invoice.expires_at,
            valid_until: self.sold.valid_until,
            kind: self.sold.kind,
            units: self.sold.units,
        }
    }

    /// Stable code of the reason.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The reason in words.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Why a request is neither served nor sold.
#[derive(Debug, Error)]
pub enum Refused {
    /// The credential cannot be read: 400.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The token's unit is held by a request that is under way: 409, and again in a second.
    #[error("this token is in use by another request that is still under way")]
    InFlight,
    /// Nobody can say what the request costs: 503, never for nothing.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// Nobody could pay an invoice now: 503.
    #[error(transparent)]
    CannotReceive(#[from] CannotReceive),
    /// The ledger fails: 503. Nothing was taken.
    #[error(transparent)]
    Ledger(StoreError),
}

impl Checkout {
    /// A checkout over `parts`.
    pub fn new(parts: CheckoutParts, config: CheckoutConfig) -> Checkout {
        let gate = Gate::new(Arc::clone(&parts.keys), config.unknown_caveats);
        let replays = Replays::new(config.replays, Arc::clone(&parts.clock));
        Checkout { parts, gate, replays, config }
    }

    /// Whether anything is served at the request's host and path, whatever the method.
    pub fn knows(&self, request: &CanonicalRequest) -> bool {
        self.matched(request).is_some()
    }

    /// Decides about `request`, which came with the headers `credentials`.
    ///
    /// May be dropped at any point: a unit that was reserved for it goes back to its buyer.
    pub async fn check(&self, request: &CanonicalRequest, credentials: &HeaderMap) -> Outcome {
        let Some(matched) = self.matched(request) else {
            return Outcome::NoRoute;
        };
        if matched.terms.rule.is_free() {
            return Outcome::Open(matched);
        }
        let quote = match self.quote(&matched, request) {
            Ok(quote) => quote,
            Err(unpriced) => return Outcome::Refused(unpriced.into()),
        };
        match self.gate.decide(&matched, &quote, request, credentials, self.parts.clock.now()) {
            Decision::Admit(permit) => self.reserve(matched, &quote, permit, request).await,
            Decision::Challenge(why) => {
                // What was answered at the old price stays answered.
                if let Why::PriceChanged { payment_hash, .. } = &why
                    && let Some(kept) = self.kept(ReplayKey::of(payment_hash, request))
                {
                    return Outcome::Replayed(kept);
                }
                self.offer(&matched, &quote, request, why.code(), why.to_string())
            }
            Decision::Malformed(malformed) => Outcome::Refused(malformed.into()),
        }
    }

    fn matched(&self, request: &CanonicalRequest) -> Option<Matched> {
        self.parts.catalog.current().lookup(request.method(), request.host(), request.path())
    }

    fn quote(&self, matched: &Matched, request: &CanonicalRequest) -> Result<Quote, Unpriced> {
        let facts = RequestFacts {
            method: request.method().to_string(),
            path: request.path().to_owned(),
            query: request.query().map(str::to_owned),
            ..RequestFacts::default()
        };
        let terms = &matched.terms;
        terms.rule.quote(&Ask {
            request: &facts,
            exchange: self.parts.exchange.as_ref(),
            now: self.parts.clock.now(),
            fallback: terms.fallback,
        })
    }

    async fn reserve(
        &self,
        matched: Matched,
        quote: &Quote,
        permit: Permit,
        request: &CanonicalRequest,
    ) -> Outcome {
        let sale = permit.sale();
        let key = replay_key(&sale, request);
        let route = matched.route.clone();
        let draw = match sale.kind {
            Kind::Request | Kind::Pack => Draw::one(route),
            Kind::Pass => Draw::pass(route),
            Kind::Balance | Kind::Granted => Draw::money(quote.least, quote.most, route),
        };
        match Hold::reserve(&self.parts.ledger, permit, draw, self.parts.cut.clone()).await {
            Ok(mut hold) => {
                if let Some(key) = key {
                    hold.record(self.replays.record(key));
                }
                Outcome::Admitted(matched, hold)
            }
            Err(ReserveError::Refused(ReserveRefused::InFlight)) => Outcome::Refused(Refused::InFlight),
            Err(ReserveError::Refused(refused)) => {
                let key = key.filter(|_| refused == ReserveRefused::Spent);
                self.kept(key).map_or_else(
                    || self.offer(&matched, quote, request, refused.code(), refused.to_string()),
                    Outcome::Replayed,
                )
            }
            Err(ReserveError::Store(error)) => Outcome::Refused(Refused::Ledger(error)),
        }
    }

    fn kept(&self, key: Option<ReplayKey>) -> Option<KeptAnswer> {
        self.replays.get(&key?)
    }

    /// Makes an offer. Stores nothing.
    fn offer(
        &self,
        matched: &Matched,
        quote: &Quote,
        request: &CanonicalRequest,
        code: &'static str,
        detail: String,
    ) -> Outcome {
        match self.mint(matched, quote.most, request.host()) {
            Ok((token, invoice, sold)) => {
                Outcome::Challenge(Box::new(Offered { token, invoice, sold, code, detail }))
            }
            Err(error) => Outcome::Refused(error.into()),
        }
    }

    fn mint(
        &self,
        matched: &Matched,
        price: Msat,
        host: &str,
    ) -> Result<(Token, MintedInvoice, Sold), CannotReceive> {
        let parts = &self.parts;
        let service = &matched.service.name;
        let invoice = parts.minter.mint(&InvoiceAsk {
            amount: price,
            description: format!("One request to {service}/{} at {host}", matched.route),
            expiry: self.config.invoice_expiry,
        })?;
        let until = invoice.expires_at.plus(TOKEN_LIFE_AFTER_INVOICE);
        let sold = Sold::request(service.clone(), matched.route.clone(), price, matched.revision, until);
        let token_id = parts.keys.new_token_id(parts.entropy.as_ref());
        let identifier = Identifier { payment_hash: invoice.payment_hash, token_id };
        let token = Token::mint(&parts.keys, host, &identifier, &sold)
            .expect("the keys have a master for the epoch that they just gave");
        parts.recent.insert(
            invoice.payment_hash,
            Bought {
                service: service.clone(),
                route: matched.route.clone(),
                kind: sold.kind,
                units: sold.units,
                amount: price,
                quote: sold.quote.as_ref().map(ToString::to_string),
                expires_at: invoice.expires_at,
            },
        );
        Ok((token, invoice, sold))
    }
}

/// Where the answer to `request` is kept, if its client wants that. A token for several requests is
/// never wholly spent by one, so that only a single one's answer can be asked for again.
fn replay_key(sale: &Sale, request: &CanonicalRequest) -> Option<ReplayKey> {
    (sale.kind == Kind::Request).then(|| ReplayKey::of(&sale.payment_hash, request)).flatten()
}
