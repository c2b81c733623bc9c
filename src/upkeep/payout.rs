//! Paying out over Lightning: one recorded operation for each key, whatever dies in between.

mod carry;
mod refusal;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::Network;
use bitcoin::hashes::Hash;
use lightning_invoice::Bolt11Invoice;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::destination::Destination;
use super::lnurl::{self, PayRequest};
use super::rule_of;
use crate::clock::{Clock, Entropy};
use crate::egress::{Egress, Reach};
use crate::payments::Outbox;
use crate::ports::{NodeWatch, OfferPayer};
use crate::store::{BegunOperation, Ledger, OperationRow, RuleRun, StoreError};
use crate::types::{Msat, PaymentHash};

pub use carry::drawn;
pub use refusal::PayoutError;

/// What the operations of this module are called.
pub const PAY_OUT: &str = "pay_out";

/// What routing may cost when nobody says: one part in a hundred, and never less than this.
const USUAL_FEE_PARTS: u64 = 100;
const LEAST_FEE: Msat = match Msat::from_sat(10) {
    Ok(fee) => fee,
    Err(_) => Msat::ZERO,
};

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutAsk {
    /// Who: an offer, a Lightning address, an LNURL, an invoice.
    pub to: String,
    /// How much; where the payee names an amount, it may be left out.
    pub amount: Option<Msat>,
    /// The most that routing may cost; one percent when it is left out.
    pub max_fee: Option<Msat>,
    /// Why, where a rule asks: it stands in the record from the start.
    pub why: Option<String>,
}

impl PayoutAsk {
    fn as_json(&self) -> Value {
        let mut ask =
            json!({ "to": self.to.trim(), "amount_msat": self.amount, "max_fee_msat": self.max_fee });
        if let Some(why) = &self.why {
            ask["why"] = json!(why);
        }
        ask
    }
}

/// How somebody is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payee {
    /// By an invoice (BOLT 11).
    Invoice(String),
    /// By an offer (BOLT 12).
    Offer(String),
    /// By a server that gives invoices.
    Server(Box<Server>),
}

/// A server that gives invoices, with its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    request: PayRequest,
}

impl Payee {
    /// A stable word: `bolt11`, `bolt12` or `lnurl`.
    pub const fn word(&self) -> &'static str {
        match self {
            Payee::Invoice(_) => "bolt11",
            Payee::Offer(_) => "bolt12",
            Payee::Server(_) => "lnurl",
        }
    }
}

/// How long a payee's server is waited for while somebody sets a rule.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What a payout would do, said before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutPlan {
    /// Who is paid, and how.
    pub payee: Payee,
    /// What the payee says it is for.
    pub description: Option<String>,
    /// What arrives.
    pub amount: Msat,
    /// The most that routing costs beside it.
    pub max_fee: Msat,
    /// Lightning: what can be spent before.
    pub spendable: Msat,
}

/// What pays out.
pub struct PayoutsParts {
    /// Where operations and payments are noted.
    pub ledger: Ledger,
    /// Pays invoices.
    pub outbox: Arc<Outbox>,
    /// Pays offers.
    pub offers: Arc<dyn OfferPayer>,
    /// Tells what can be spent.
    pub node: Arc<dyn NodeWatch>,
    /// The door to payees' servers.
    pub egress: Arc<Egress>,
    /// How far that door goes: to this machine only when the operator says so.
    pub reach: Reach,
    /// The node's network.
    pub network: Network,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes notes that nobody else has.
    pub entropy: Arc<dyn Entropy>,
    /// What has begun is finished here, though its caller be gone.
    pub tracker: TaskTracker,
    /// Ends the waiting for payments that are on their way; they are looked up at the next start.
    pub stop: CancellationToken,
}

/// Pays out.
///
/// Clones share everything.
#[derive(Clone)]
pub struct Payouts {
    parts: Arc<PayoutsParts>,
    /// Operations that a task of this process carries.
    carried: Arc<Mutex<HashSet<i64>>>,
    /// Of two calls for one invoice, one begins.
    beginning: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for Payouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payouts").field("reach", &self.parts.reach).finish_non_exhaustive()
    }
}

impl Payouts {
    /// Pays out with these parts.
    pub fn new(parts: PayoutsParts) -> Payouts {
        Payouts { parts: Arc::new(parts), carried: Arc::default(), beginning: Arc::default() }
    }

    /// Reads a destination as payouts do.
    ///
    /// # Errors
    /// When nobody can be paid there.
    pub fn destination(&self, to: &str) -> Result<Destination, PayoutError> {
        Ok(Destination::read(to, self.parts.reach)?)
    }

    /// Whether somebody can be paid there, as far as the text alone tells: an offer says for how long, and on which
    /// network.
    ///
    /// # Errors
    /// When nobody can.
    pub fn readable(&self, to: &Destination) -> Result<(), PayoutError> {
        let Destination::Offer(offer) = to else { return Ok(()) };
        let terms = self.parts.offers.offer_terms(offer).map_err(PayoutError::Offer)?;
        match terms.expires_at {
            Some(at) if at <= self.parts.clock.now() => Err(PayoutError::Expired),
            _ => Ok(()),
        }
    }

    /// Asks the server of a Lightning address once whether somebody can be paid there. One that gives no clear answer
    /// may later: what is the matter comes back then.
    ///
    /// # Errors
    /// When it says that nobody can, or may not be called.
    pub async fn answers(&self, to: &Destination) -> Result<Option<String>, PayoutError> {
        let Destination::Lnurl(url) = to else { return Ok(None) };
        let asked = lnurl::terms(&self.parts.egress, url, self.parts.reach);
        match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(fault)) if fault.is_a_no() => Err(fault.into()),
            Ok(Err(fault)) => Ok(Some(fault.to_string())),
            Err(_) => Ok(Some("the payee's server: it did not answer in time".to_owned())),
        }
    }

    /// What paying `ask` would do; nothing is paid and nothing is noted. A payee's server is asked for its
    /// terms.
    ///
    /// # Errors
    /// When it cannot be paid.
    pub async fn plan(&self, ask: &PayoutAsk) -> Result<PayoutPlan, PayoutError> {
        if self.parts.ledger.generation().await?.payouts_parked {
            return Err(StoreError::Parked.into());
        }
        let (payee, named, description) = self.payee(&ask.to).await?;
        let amount = match (ask.amount, &payee, named) {
            (None, _, None) => return Err(PayoutError::NoAmount),
            (None, _, Some(named)) => named,
            (Some(asked), Payee::Invoice(_), Some(named)) if asked != named => {
                return Err(PayoutError::OtherAmount { asked, named });
            }
            (Some(asked), Payee::Offer(_), Some(named)) if asked < named => {
                return Err(PayoutError::OtherAmount { asked, named });
            }
            (Some(asked), _, _) => asked,
        };
        if amount == Msat::ZERO {
            return Err(PayoutError::NoAmount);
        }
        if let Payee::Server(server) = &payee {
            server.request.takes(amount)?;
        }
        let max_fee = ask.max_fee.unwrap_or_else(|| usual_fee(amount));
        let view = self.parts.node.view().await;
        if !view.running {
            return Err(PayoutError::NodeAway);
        }
        let spendable = Msat::new(view.spendable_msat).unwrap_or(Msat::MAX);
        let most = amount.checked_add(max_fee).map_err(PayoutError::Amount)?;
        if most > spendable {
            return Err(PayoutError::TooLittle { needed: most, spendable });
        }
        Ok(PayoutPlan { payee, description, amount, max_fee, spendable })
    }

    async fn payee(&self, to: &str) -> Result<(Payee, Option<Msat>, Option<String>), PayoutError> {
        let parts = &self.parts;
        Ok(match self.destination(to)? {
            Destination::Invoice(bolt11) => {
                let invoice = Bolt11Invoice::from_str(&bolt11).map_err(|_| PayoutError::NotAnInvoice)?;
                if invoice.network() != parts.network {
                    return Err(PayoutError::WrongNetwork { theirs: invoice.network(), ours: parts.network });
                }
                if invoice.would_expire(Duration::from_millis(parts.clock.now().millis())) {
                    return Err(PayoutError::Expired);
                }
                let amount = invoice.amount_milli_satoshis().ok_or(PayoutError::OpenInvoice)?;
                let amount = Msat::new(amount).map_err(PayoutError::Amount)?;
                (Payee::Invoice(bolt11), Some(amount), Some(invoice.description().to_string()))
            }
            Destination::Offer(offer) => {
                let terms = parts.offers.offer_terms(&offer).map_err(PayoutError::Offer)?;
                if terms.expires_at.is_some_and(|at| at <= parts.clock.now()) {
                    return Err(PayoutError::Expired);
                }
                (Payee::Offer(offer), terms.amount, terms.description)
            }
            Destination::Lnurl(url) => {
                let request = lnurl::terms(&parts.egress, &url, parts.reach).await?;
                let description = request.description.clone();
                (Payee::Server(Box::new(Server { request })), None, description)
            }
        })
    }

    /// The payout of the same invoice that did not fail: an invoice is paid once, whatever key asks for it.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn twin(&self, to: &str) -> Result<Option<OperationRow>, StoreError> {
        match self.invoice_hash(to) {
            Some(hash) => self.parts.ledger.payout_of(PAY_OUT, hash).await,
            None => Ok(None),
        }
    }

    /// The hash of the invoice that `to` is.
    fn invoice_hash(&self, to: &str) -> Option<PaymentHash> {
        let Ok(Destination::Invoice(bolt11)) = self.destination(to) else { return None };
        let invoice: Bolt11Invoice = bolt11.parse().ok()?;
        Some(PaymentHash::from_bytes(invoice.payment_hash().to_byte_array()))
    }

    /// Pays `ask` under `key`, once however often it is called, and waits for the end for at most `wait`.
    /// What comes back may still be on its way; of an invoice that is paid already it is the payout that pays
    /// it. The call may be dropped at any moment.
    ///
    /// # Errors
    /// When it cannot be paid, or the key names something else; nothing was paid then.
    pub async fn pay(&self, key: &str, ask: &PayoutAsk, wait: Duration) -> Result<OperationRow, PayoutError> {
        let ledger = &self.parts.ledger;
        let news = ledger.watch();
        let wanted = ask.as_json();
        let id = match ledger.operation_of_key(key).await? {
            Some(known) if known.kind == PAY_OUT && known.ask == wanted => known.id,
            Some(another) => return Err(PayoutError::KeyTaken(another.id)),
            None => self.begin(key, ask, wanted).await?,
        };
        Ok(self.await_end(id, news, wait).await?)
    }

    async fn begin(&self, key: &str, ask: &PayoutAsk, wanted: Value) -> Result<i64, PayoutError> {
        let ledger = &self.parts.ledger;
        let hash = self.invoice_hash(&ask.to);
        // Only invoices wait for each other: a payee's server may be slow.
        let _turn = match hash {
            Some(_) => Some(self.beginning.lock().await),
            None => None,
        };
        if let Some(twin) = self.twin(&ask.to).await? {
            return Ok(twin.id);
        }
        let plan = self.plan(ask).await?;
        let known = hash.map_or(Value::Null, |hash| json!({ "payment_hash": hash }));
        let rule = ask.why.clone().zip(rule_of(key));
        let run = rule.map(|(why, rule)| RuleRun { rule: rule.to_owned(), why });
        match ledger.begin_marked_operation(key, PAY_OUT, wanted, known, run).await? {
            BegunOperation::New(id) => {
                self.set_going(id, plan);
                Ok(id)
            }
            BegunOperation::Known(row) => Ok(row.id),
            BegunOperation::Another(row) => Err(PayoutError::KeyTaken(row.id)),
        }
    }

    async fn await_end(
        &self,
        id: i64,
        mut news: watch::Receiver<i64>,
        wait: Duration,
    ) -> Result<OperationRow, StoreError> {
        let ledger = &self.parts.ledger;
        let missing = StoreError::Corrupt("an operation that was begun is missing");
        let ended = async {
            loop {
                news.borrow_and_update();
                match ledger.operation(id).await? {
                    Some(row) if row.state.is_final() => return Ok::<(), StoreError>(()),
                    _ => news.changed().await.map_err(|_| StoreError::Closed)?,
                }
            }
        };
        if let Ok(ended) = tokio::time::timeout(wait, ended).await {
            ended?;
        }
        ledger.operation(id).await?.ok_or(missing)
    }

    /// Marks an operation as carried by this process; false when it is already.
    fn carry(&self, id: i64) -> bool {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    fn put_down(&self, id: i64) {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// What routing may cost when nobody says.
pub(super) fn usual_fee(amount: Msat) -> Msat {
    Msat::new(amount.msat() / USUAL_FEE_PARTS).unwrap_or(Msat::ZERO).max(LEAST_FEE)
}

#[cfg(test)]
mod tests;
