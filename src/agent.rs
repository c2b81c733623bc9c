//! The paying client: asks, reads the 402, pays once, redeems the proof, hands over the answer.
//!
//! Invariants: the price is the invoice's, compared with the limit before anything is paid; what an
//! earlier run left is settled before anything new is bought; at most one payment is made in a run, and
//! none for a request whose last payment has no known end (MONEY rule 14). Each step is on disk before
//! the next is taken, so that a kill anywhere costs nothing but a second run.
//!
//! It must not: print, believe the 402's body about money, or send a proof anywhere but to the URL.

mod ask;
mod desk;
mod fault;
mod offer;
mod purse;
mod record;
mod redeem;
mod wallet;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::AUTHORIZATION;

pub use ask::Ask;
pub use desk::Bought;
pub use fault::{Fault, Paid};
pub use offer::{Choice, Offer};
pub use wallet::Wallet;

use crate::clock::{Clock, Entropy};
use crate::l402::Sold;
use crate::types::Msat;
use desk::Desk;
use purse::Purse;
use record::{Proof, Record, State};
use redeem::{Redeemed, Shop};
use wallet::{Payment, Sent};

/// How long a payment on its way is waited for.
const PAYMENT_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a payment on its way.
const PAYMENT_PAUSE: Duration = Duration::from_millis(500);

/// What may be spent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The highest price, routing not counted.
    pub price: Msat,
    /// The most that routing may cost; the wallet's own limit when not said.
    pub fee: Option<Msat>,
    /// When the server does not take a proof that was paid for in an earlier run: buy another.
    pub pay_again: bool,
}

/// A client that pays.
pub struct Agent {
    /// Where it keeps what it must not forget.
    pub state_dir: PathBuf,
    /// Who pays. None is needed for what is free.
    pub wallet: Option<Wallet>,
    /// The time, for expiries.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for idempotency keys.
    pub entropy: Arc<dyn Entropy>,
}

/// What a request costs.
pub enum Quoted {
    /// It is for sale.
    Price(Box<Offer>),
    /// It was answered without a payment, with this status.
    Answered(StatusCode),
}

/// What a request brought.
pub enum Fetched {
    /// An answer without a payment, as it arrives.
    Open(reqwest::Response),
    /// An answer that was paid for, whole and on disk.
    Bought(Bought),
}

/// How a payment that an earlier run left stands.
enum Left {
    Paid(Proof),
    /// No money left, and none will: a fresh challenge may be paid.
    Unpaid,
}

impl Agent {
    /// Asks without paying, and keeps nothing.
    ///
    /// # Errors
    /// When there is no answer, or its challenge is not one that may be paid.
    pub async fn quote(&self, ask: &Ask) -> Result<Quoted, Fault> {
        let mut response = Shop::for_url(&ask.url)?.ask(ask).await?;
        match Offer::of(&response, self.clock.now())? {
            Some(offer) => {
                as_asked(ask, &mut response).await?;
                let body = redeem::start_of(&mut response).await.unwrap_or_default();
                Ok(Quoted::Price(Box::new(offer.with_choices(&body))))
            }
            None => Ok(Quoted::Answered(response.status())),
        }
    }

    /// Asks, and pays when it must. A second process with the same request waits for the first.
    ///
    /// # Errors
    /// See [`Fault`]. What was paid for is kept, and the next call with the same request uses it.
    pub async fn fetch(&self, ask: &Ask, limits: &Limits) -> Result<Fetched, Fault> {
        let fingerprint = ask.fingerprint(self.wallet.as_ref().map(Wallet::url));
        let desk = Desk::open(&self.state_dir, fingerprint)?;
        let shop = Shop::for_url(&ask.url)?;
        if let Some(mut record) = desk.load()? {
            if record.state == State::Challenged {
                match self.settle_left(&record, limits).await? {
                    Left::Paid(proof) => desk.advance(&mut record, State::Paid { proof })?,
                    Left::Unpaid => return self.buy(ask, limits, &shop, desk).await,
                }
            }
            return match self.redeem(ask, &shop, &desk, &mut record).await? {
                Redeemed::Complete => Ok(Fetched::Bought(desk.bought(record)?)),
                // Nothing was paid for this request yet, or whoever asks says to pay twice.
                Redeemed::Refused { .. } if record.paid_before || limits.pay_again => {
                    self.buy(ask, limits, &shop, desk).await
                }
                Redeemed::Refused { code } => Err(refused(code, &record)),
            };
        }
        self.buy(ask, limits, &shop, desk).await
    }

    /// Asks without a proof, pays what is asked, and redeems it. It takes the place of whatever record
    /// there was, once a new challenge is to be paid.
    async fn buy(&self, ask: &Ask, limits: &Limits, shop: &Shop, desk: Desk) -> Result<Fetched, Fault> {
        let mut response = shop.ask(ask).await?;
        let Some(offer) = Offer::of(&response, self.clock.now())? else {
            // A seller that nobody can pay now has no invoice, and takes what was bought before all the same.
            let closed = response.status() == StatusCode::SERVICE_UNAVAILABLE;
            if closed
                && !ask.headers.contains_key(AUTHORIZATION)
                && let Some(record) = self.use_kept(ask, None, limits, shop, &desk).await?
            {
                return Ok(Fetched::Bought(desk.bought(record)?));
            }
            return Ok(Fetched::Open(response));
        };
        as_asked(ask, &mut response).await?;
        drop(response);
        if ask.headers.contains_key(AUTHORIZATION) {
            return Err(Fault::AuthorizationTaken);
        }
        if let Some(sold) = &offer.sold
            && let Some(record) = self.use_kept(ask, Some(sold), limits, shop, &desk).await?
        {
            return Ok(Fetched::Bought(desk.bought(record)?));
        }
        affordable(offer.price, limits)?;
        let wallet = self.wallet.as_ref().ok_or(Fault::NoWallet)?;
        let mut record = Record::challenged(offer, self.nonce());
        // Before the payment: whoever runs next asks the wallet what became of this hash.
        desk.save(&record)?;
        let proof = self.pay(wallet, &record, limits).await?;
        desk.advance(&mut record, State::Paid { proof })?;
        match self.redeem(ask, shop, &desk, &mut record).await? {
            Redeemed::Complete => Ok(Fetched::Bought(desk.bought(record)?)),
            Redeemed::Refused { code } => Err(refused(code, &record)),
        }
    }

    /// Tries the tokens of earlier purchases that the seller may take for this request, for which `like` is for sale where
    /// that is known; gives the purchase when one was taken. Where an offer was asked for by name, tokens of others are
    /// left alone. One that has something left and is refused is not paid for again unasked.
    async fn use_kept(
        &self,
        ask: &Ask,
        like: Option<&Sold>,
        limits: &Limits,
        shop: &Shop,
        desk: &Desk,
    ) -> Result<Option<Record>, Fault> {
        let purse = Purse::open(&self.state_dir)?;
        let mut tickets = purse.find(&ask.url, like, self.clock.now())?;
        if let Some(like) = like.filter(|_| ask.names_offer()) {
            let same = |sold: Sold| (sold.kind, sold.units) == (like.kind, like.units);
            tickets.retain(|ticket| ticket.sold().is_some_and(same));
        }
        if tickets.is_empty() {
            return Ok(None);
        }
        let mut disputed = None;
        for ticket in tickets {
            let of_route = |sold: Sold| like.is_none_or(|like| sold.route == like.route);
            let for_this = ticket.sold().is_none_or(of_route);
            let mut record = Record::with(ticket, self.nonce());
            desk.save(&record)?;
            match self.redeem(ask, shop, desk, &mut record).await? {
                Redeemed::Complete => return Ok(Some(record)),
                Redeemed::Refused { code } => {
                    tracing::debug!(payment_hash = %record.payment_hash, code, "a kept token was not taken");
                    if code == RESTORED || (code == PRICE_CHANGED && for_this) {
                        disputed.get_or_insert_with(|| refused(code, &record));
                    }
                }
            }
        }
        desk.clear()?;
        disputed.filter(|_| !limits.pay_again).map_or(Ok(None), Err)
    }

    /// Redeems, with the token safe for later when it is good for more, and thrown away when it is dead.
    async fn redeem(
        &self,
        ask: &Ask,
        shop: &Shop,
        desk: &Desk,
        record: &mut Record,
    ) -> Result<Redeemed, Fault> {
        let purse = Purse::open(&self.state_dir)?;
        purse.keep(&ask.url, record)?;
        let redeemed = shop.redeem(ask, desk, record).await?;
        if let Redeemed::Refused { code } = &redeemed {
            purse.refused(record.payment_hash, code)?;
        }
        Ok(redeemed)
    }

    fn nonce(&self) -> String {
        hex::encode(&self.entropy.bytes32()[..16])
    }

    /// Finds out what became of a payment that an earlier run may have begun. One that the wallet never
    /// sent is sent now, if it is still payable: that is safe however late the first word arrives, since
    /// the wallet pays a hash once.
    async fn settle_left(&self, record: &Record, limits: &Limits) -> Result<Left, Fault> {
        let wallet = self.wallet.as_ref().ok_or(Fault::NoWallet)?;
        match wallet.look(record).await? {
            Payment::Succeeded(proof) => return Ok(Left::Paid(proof)),
            Payment::Failed { sent: Sent::Returned, .. } => return Ok(Left::Unpaid),
            Payment::Pending => {}
            Payment::Unknown | Payment::Failed { .. } => affordable(record.price()?, limits)?,
        }
        match self.pay(wallet, record, limits).await {
            Ok(proof) => Ok(Left::Paid(proof)),
            // The wallet's word, by its own clock: nothing is paid by this call.
            Err(Fault::PaymentRefused { code, .. }) if code == "invoice_expired" => {
                self.lapsed(wallet, record, limits).await
            }
            Err(fault) => Err(fault),
        }
    }

    /// What became of a payment whose invoice can be paid no more: the wallet may have found out while it was asked
    /// to pay.
    async fn lapsed(&self, wallet: &Wallet, record: &Record, limits: &Limits) -> Result<Left, Fault> {
        match wallet.look(record).await? {
            Payment::Succeeded(proof) => Ok(Left::Paid(proof)),
            Payment::Pending => Err(Fault::PaymentPending),
            Payment::Failed { sent: Sent::Perhaps, .. } if !limits.pay_again => {
                Err(Fault::CutOff(record.payment_hash))
            }
            Payment::Unknown | Payment::Failed { .. } => Ok(Left::Unpaid),
        }
    }

    async fn pay(&self, wallet: &Wallet, record: &Record, limits: &Limits) -> Result<Proof, Fault> {
        let begun = self.clock.steady();
        loop {
            match wallet.send(record, limits.fee).await? {
                Payment::Succeeded(proof) => return Ok(proof),
                Payment::Failed { reason, .. } => return Err(Fault::PaymentFailed { reason }),
                Payment::Pending | Payment::Unknown => {}
            }
            if self.clock.steady().saturating_sub(begun) > PAYMENT_PATIENCE {
                return Err(Fault::PaymentPending);
            }
            tokio::time::sleep(PAYMENT_PAUSE).await;
        }
    }
}

/// A seller whose ledger was put back from a copy says so of every older token until it honours it.
const RESTORED: &str = "restored_ledger";

/// A seller says so of a token that covers less than this request costs by now.
const PRICE_CHANGED: &str = "price_changed";

/// Pays for nothing else than what was asked for by name.
async fn as_asked(ask: &Ask, response: &mut reqwest::Response) -> Result<(), Fault> {
    let Some(missed) = ask.missed_offer(response.headers()) else { return Ok(()) };
    let body = redeem::start_of(response).await.unwrap_or_default();
    let choices = offer::choices(&body).into_iter().map(|choice| choice.offer).collect();
    Err(Fault::NoSuchOffer { offer: missed.to_owned(), choices })
}

fn affordable(price: Msat, limits: &Limits) -> Result<(), Fault> {
    if price > limits.price {
        return Err(Fault::TooExpensive { price, limit: limits.price });
    }
    Ok(())
}

fn refused(code: String, record: &Record) -> Fault {
    Fault::Refused { code, payment_hash: record.payment_hash }
}
