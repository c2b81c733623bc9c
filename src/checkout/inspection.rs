//! What a credential is good for, told to whoever holds it.
//!
//! Invariants: it costs nothing, holds nothing and writes nothing; what it says of a token is what the
//! ledger would say to its next request, by the ledger's own arithmetic; whoever has no proof of payment
//! learns nothing about the use of a token, and whoever has no token of ours nothing at all.

use std::net::IpAddr;

use http::HeaderMap;
use serde_json::{Value, json};
use thiserror::Error;

use super::Checkout;
use crate::catalog::{DEFAULT_ROUTE, PathPattern, Service, Terms, Today, Unit};
use crate::gate::sale_of;
use crate::l402::{Examined, Malformed, Refusal, Sold, presented};
use crate::ledger::{Counter, Draw, Grant, ReserveRefused, Room, Sale, Weight};
use crate::payment_auth;
use crate::pricing::{Amount, Exchange, Rule};
use crate::store::{Standing, StoreError};
use crate::storefront::TooDear;
use crate::throttle::TooMany;
use crate::types::{Bound, Kind, Timestamp};

/// Why nothing can be told.
#[derive(Debug, Error)]
pub enum NotInspected {
    /// The credential cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Whoever asks does so too often.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// There is none.
    #[error("there is no credential: send the token as `Authorization: L402 …`")]
    NoCredential,
    /// The ledger fails.
    #[error(transparent)]
    Ledger(#[from] StoreError),
}

/// What a credential is good for.
#[derive(Debug)]
pub struct Inspection {
    verdict: Verdict,
    token: Option<Box<Token>>,
}

/// In one word, and why.
#[derive(Debug)]
struct Verdict {
    state: &'static str,
    code: &'static str,
    detail: String,
}

/// A token of ours.
#[derive(Debug)]
struct Token {
    seen: Examined,
    standing: Standing,
    /// As its next request would find it.
    grant: Grant,
    limits: Vec<Counter>,
    opens: Vec<Value>,
    now: Timestamp,
}

impl Checkout {
    /// What the credential in `headers` is good for: of several, the first that is a token of ours.
    ///
    /// # Errors
    /// When there is none that can be read, or the ledger fails.
    pub async fn inspect(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Inspection, NotInspected> {
        let credentials = presented(headers)?;
        let mut refused = None;
        // It is work that nobody pays for, as making a challenge is.
        self.throttle.challenge(peer)?;
        for credential in &credentials {
            match self.gate.examine(credential) {
                Ok(seen) => return Ok(self.look_up(seen).await?),
                Err(refusal) => refused = refused.or(Some((refusal.code(), refusal.to_string()))),
            }
        }
        let (table, now) = (self.price_list(), self.now());
        for credential in payment_auth::presented(headers) {
            let services = table.services().iter().map(AsRef::as_ref);
            let seen = credential.and_then(|charge| self.gate.examine_charge(&charge, services, now));
            match seen {
                Ok(seen) => return Ok(self.look_up(seen).await?),
                Err(refusal) => refused = refused.or(Some((refusal.code(), refusal.to_string()))),
            }
        }
        let (code, why) = refused.ok_or(NotInspected::NoCredential)?;
        self.throttle.failure(peer)?;
        Ok(Inspection::refused(code, &why))
    }

    async fn look_up(&self, seen: Examined) -> Result<Inspection, StoreError> {
        let ledger = &self.parts.ledger;
        // What is on its way to the disk is told, too.
        ledger.barrier().await;
        let sale = sale_of(&seen.identifier, &seen.sold);
        let standing = ledger.standing(sale.clone()).await?;
        let now = self.now();
        let table = self.price_list();
        let service = table.services().iter().find(|service| service.name == seen.sold.service);
        let market = (self.parts.exchange.as_ref(), now);
        let opens = service.map_or_else(Vec::new, |service| opened(service, &seen.sold, market));
        let limits: Vec<Counter> = seen
            .limits
            .iter()
            .map(|limit| {
                let found = standing.counters.iter().find(|row| row.id == limit.counter);
                found.map_or_else(|| Counter::of(limit.bound), |row| row.counter)
            })
            .collect();
        let verdict = match verdict(&seen, &sale, &standing, &limits, now) {
            good if good.state != "open" || !opens.is_empty() => good,
            good => match service.and_then(|own| TooDear::of(own, &Unit::of(&seen.sold), market.0, now)) {
                Some(why) => Verdict { state: "refused", code: "price_changed", detail: format!("{why}.") },
                None => good,
            },
        };
        let grant = standing.grant.seen_at(now);
        Ok(Inspection { verdict, token: Some(Box::new(Token { seen, standing, grant, limits, opens, now })) })
    }
}

impl Inspection {
    fn refused(code: &'static str, why: &str) -> Inspection {
        let verdict = Verdict { state: "refused", code, detail: format!("{why}.") };
        Inspection { verdict, token: None }
    }

    /// Whether the credential is a token of ours, good or not.
    pub fn is_known(&self) -> bool {
        self.token.is_some()
    }

    /// As `GET /.well-known/l402/token` shows it. Times are Unix seconds, as in the 402.
    pub fn json(&self) -> Value {
        let Verdict { state, code, detail } = &self.verdict;
        let mut told = json!({ "state": state, "code": code, "detail": detail });
        let Some(token) = &self.token else { return told };
        let Sold { service, route, kind, sold, valid_until, quote, .. } = &token.seen.sold;
        let more = json!({
            "paymentHash": token.seen.identifier.payment_hash,
            "settled": token.standing.received || *kind == Kind::Granted,
            "service": service,
            "route": route,
            "opens": token.opens,
            "kind": kind,
            "reusable": kind.reusable(),
            "amountMsat": sold,
            "quote": quote.as_ref().map(ToString::to_string),
            "unit": unit(*kind),
            "units": token.seen.sold.units,
            "validUntil": valid_until.secs(),
            "expiresAt": token.seen.expires_at.secs(),
            "scope": token.seen.scope,
            "methods": token.seen.methods,
        });
        merge(&mut told, more);
        // How far a token was used is for those who show that they paid for it.
        if token.seen.paid {
            merge(&mut told, token.used());
        }
        told
    }
}

impl Token {
    fn used(&self) -> Value {
        let Token { grant, limits, now, .. } = self;
        let limits: Vec<Value> = limits
            .iter()
            .map(|counter| {
                let counts = match counter.bound {
                    Bound::Uses(_) => "max_uses",
                    Bound::Spend(_) => "max_spend_msat",
                };
                let (most, left) = (counter.bound.most(), counter.rest());
                json!({ "limit": counts, "most": most, "used": counter.used, "held": counter.held, "left": left })
            })
            .collect();
        let whole = match (grant.kind, grant.opens_until) {
            (Kind::Pass, Some(until)) => until.secs().saturating_sub(now.secs()),
            (Kind::Pass, None) if grant.left > 0 => grant.lasts.map_or(0, |lasts| lasts.as_secs()),
            _ => grant.left,
        };
        let room = Room::of(&self.limits);
        json!({
            "left": room.left(Weight::of(grant), whole, 0, Some(0)),
            "leftInAll": whole,
            "held": if grant.kind == Kind::Pass { 0 } else { grant.held },
            "calls": grant.calls,
            "open": grant.open,
            "opensUntil": grant.opens_until.map(Timestamp::secs),
            "budget": grant.budget.map(|budget| json!({
                "units": budget.units, "perSeconds": budget.per.as_secs(),
            })),
            "limits": limits,
        })
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

const fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Request | Kind::Pack => "request",
        Kind::Pass => "second",
        Kind::Balance | Kind::Granted => "msat",
    }
}

/// What the ledger would say to one more request, the cheapest there is.
fn verdict(seen: &Examined, sale: &Sale, standing: &Standing, limits: &[Counter], now: Timestamp) -> Verdict {
    let of = |state, code, detail: &dyn ToString| Verdict { state, code, detail: detail.to_string() };
    let is = |refused: ReserveRefused| {
        let state = match refused {
            ReserveRefused::InFlight => "in_use",
            ReserveRefused::Spent | ReserveRefused::TooSmall { .. } => "spent",
            ReserveRefused::UsesExhausted | ReserveRefused::BudgetExhausted { .. } => "spent",
            ReserveRefused::Revoked => "revoked",
            ReserveRefused::Expired => "expired",
            _ => "refused",
        };
        of(state, refused.code(), &format!("{refused}."))
    };
    if standing.grant.barred {
        return is(ReserveRefused::Revoked);
    }
    if now >= seen.expires_at {
        return is(ReserveRefused::Expired);
    }
    if !seen.paid {
        return of("unpaid", Refusal::PreimageMissing.code(), &format!("{}.", Refusal::PreimageMissing));
    }
    if standing.stranger {
        let granted = sale.kind == Kind::Granted;
        return is(if granted { ReserveRefused::NotGranted } else { ReserveRefused::TermsDiffer });
    }
    let route = sale.route.clone();
    let draw = match sale.kind {
        Kind::Request | Kind::Pack => Draw::one(route),
        Kind::Pass => Draw::pass(route),
        // A price of one millisatoshi; what is dearer may be refused for it.
        Kind::Balance | Kind::Granted => Draw { most: 1, ..Draw::one(route) },
    };
    let mut grant = standing.grant;
    let least = grant.least(&draw);
    if let Err(refused) = Room::admit(limits, Weight::of(&grant), least) {
        return is(refused);
    }
    match grant.hold(&draw, now) {
        Ok(_) if standing.doubtful => is(ReserveRefused::Restored),
        Ok(_) => of("open", "open", &"The token is good."),
        Err(refused) => is(refused),
    }
}

/// What of the service a token opens, as far as it can be told beforehand: the routes of a pass's scope;
/// those that a balance pays for; the token's own route unless it became dearer, and those whose price is fixed
/// and covered.
fn opened(service: &Service, sold: &Sold, (exchange, now): (&dyn Exchange, Timestamp)) -> Vec<Value> {
    let unit = Unit::of(sold);
    let by_unit = |terms: &Terms| Today::of(service, terms, exchange, now).opened_by(&unit);
    let opens = |name: &str, terms: &Terms| match (sold.kind, &terms.rule) {
        (_, Rule::Free) => false,
        (Kind::Pass, _) => terms.scope == sold.route,
        (Kind::Balance | Kind::Granted, _) => true,
        (Kind::Request | Kind::Pack, _) if name == sold.route.as_str() => by_unit(terms) != Some(false),
        (Kind::Request | Kind::Pack, Rule::Fixed(Amount::Msat(_))) => by_unit(terms) == Some(true),
        (Kind::Request | Kind::Pack, _) => false,
    };
    let told = |name: &str, method: Option<&http::Method>, path: &PathPattern| json!({ "route": name, "method": method.map_or("ANY", http::Method::as_str), "path": path.to_string() });
    let routes = service.routes.iter().filter(|route| opens(route.name.as_str(), &route.terms));
    let mut all: Vec<Value> =
        routes.map(|route| told(route.name.as_str(), route.method.as_ref(), &route.path)).collect();
    if opens(DEFAULT_ROUTE, &service.terms) {
        all.push(told(DEFAULT_ROUTE, None, &PathPattern::Under(service.path.clone())));
    }
    all
}
