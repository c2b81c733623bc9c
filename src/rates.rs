//! Exchange rates: what one bitcoin costs in the currencies that prices are written in.
//!
//! Sources are HTTP addresses that answer with JSON, asked through [`crate::egress`]. What is believed of
//! their answers is `book`'s doing (THREATS 18): the median of those who agree, never after a jump that
//! did not last, never when it is old. A currency's sources are asked only once something needs its rate;
//! an appliance that sells in sats alone calls nobody, unless a currency to
//! display is set. A currency may have a fixed rate instead, which
//! asks nobody and never grows old (for regtest).

mod book;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::egress::{Call, Egress, Take};
use crate::pricing::{Currency, Exchange, Rate, RateFault};
use crate::types::Timestamp;

use book::{Book, CONFIRMATIONS, Policy, Verdict};
pub use source::{RateSource, SourceFault};

/// The most that a source may answer.
const LARGEST_ANSWER_BYTES: usize = 256 * 1_024;
/// How long a source may take, and never longer than half the time between two polls.
const PATIENCE: Duration = Duration::from_secs(10);

/// How rates are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatesConfig {
    /// Who is asked.
    pub sources: Vec<RateSource>,
    /// Rates that are simply so, in units of the currency for one bitcoin.
    pub fixed: BTreeMap<Currency, Decimal>,
    /// The currency whose rate is noted with each payment, whatever prices are written in.
    pub display: Option<Currency>,
    /// How old a rate may be that is sold at.
    pub max_age: Duration,
    /// How far apart the sources may be, and how far a rate may move from one poll to the next without
    /// being confirmed by more, in percent.
    pub max_step_percent: u32,
    /// How often the sources are asked.
    pub refresh: Duration,
}

impl Default for RatesConfig {
    /// Three exchanges for US dollars each minute; 15 minutes; five percent.
    fn default() -> RatesConfig {
        RatesConfig {
            sources: RateSource::usual(),
            fixed: BTreeMap::new(),
            display: None,
            max_age: Duration::from_secs(15 * 60),
            max_step_percent: 5,
            refresh: Duration::from_secs(60),
        }
    }
}

impl RatesConfig {
    /// One fixed rate and no source: a box that calls nobody.
    pub fn fixed(currency: Currency, per_btc: Decimal) -> RatesConfig {
        RatesConfig {
            sources: Vec::new(),
            fixed: BTreeMap::from([(currency, per_btc)]),
            ..RatesConfig::default()
        }
    }
}

/// A number as a rate may be written: plain digits, within reason.
///
/// # Errors
/// When it is not.
pub fn parse_rate(text: &str) -> Result<Decimal, SourceFault> {
    source::rate(text)
}

/// Knows the rates.
pub struct Rates {
    config: RatesConfig,
    policy: Policy,
    egress: Arc<Egress>,
    clock: Arc<dyn Clock>,
    desk: Mutex<Desk>,
    wanted: Notify,
}

/// What is known so far. Locked for moments only.
#[derive(Default)]
struct Desk {
    books: BTreeMap<Currency, Book>,
    wanted: BTreeSet<Currency>,
    /// When each source was asked last, and what went wrong then.
    asked: BTreeMap<usize, (Timestamp, Option<SourceFault>)>,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Exchange for Rates {
    fn rate(&self, currency: Currency, now: Timestamp) -> Result<Rate, RateFault> {
        if let Some(per_btc) = self.config.fixed.get(&currency) {
            return Ok(Rate { currency, per_btc: *per_btc, at: now });
        }
        if !self.config.sources.iter().any(|source| source.currency == currency) {
            return Err(RateFault::Unknown(currency));
        }
        let mut desk = self.desk();
        if desk.wanted.insert(currency) {
            self.wanted.notify_one();
        }
        let book = desk.books.get(&currency);
        book.map_or(Err(RateFault::Stale(currency)), |book| book.rate(&self.policy, now))
    }

    /// That of the currency to display; when none is set, one that is known anyway, for a price needs it or it is
    /// fixed. Nobody is asked for it but for the currency to display.
    fn noted(&self) -> Option<Rate> {
        let now = self.clock.now();
        if let Some(display) = self.config.display {
            return self.rate(display, now).ok();
        }
        let desk = self.desk();
        let mut fresh =
            desk.wanted.iter().filter_map(|own| desk.books.get(own)?.rate(&self.policy, now).ok());
        let fixed = self.config.fixed.iter().next();
        fresh.next().or(fixed.map(|(currency, per_btc)| Rate {
            currency: *currency,
            per_btc: *per_btc,
            at: now,
        }))
    }
}

impl Rates {
    /// Rates by `config`; nobody is asked before [`Rates::run`] or [`Rates::poll`].
    pub fn new(config: RatesConfig, egress: Arc<Egress>, clock: Arc<dyn Clock>) -> Rates {
        let policy = Policy {
            max_age: config.max_age,
            max_step: Decimal::new(i64::from(config.max_step_percent), 2),
            spacing: config.refresh / 2,
        };
        let rates = Rates { config, policy, egress, clock, desk: Mutex::default(), wanted: Notify::new() };
        // Its sources are asked from the start, so that the first payment finds a rate.
        rates.config.display.into_iter().for_each(|display| rates.want(display));
        rates
    }

    /// Something needs this currency's rate: from now on its sources are asked. Asking for the rate says so
    /// too; saying it early spares the first buyer the wait.
    pub fn want(&self, currency: Currency) {
        // What the rate is now does not matter.
        let _ = self.rate(currency, self.clock.now());
    }

    /// Asks the sources of every wanted currency, again and again, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let idle = self.desk().wanted.is_empty();
            if !idle {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.poll() => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(self.config.refresh), if !idle => {}
            }
        }
    }

    /// Asks the sources of every wanted currency once, all at the same time.
    pub async fn poll(&self) {
        let wanted = self.desk().wanted.clone();
        self.poll_for(&wanted).await;
    }

    /// Asks every source once, whether something needs its rate or not.
    pub async fn poll_all(&self) {
        let all = self.config.sources.iter().map(|source| source.currency);
        let sourced = all.filter(|currency| !self.config.fixed.contains_key(currency)).collect();
        self.poll_for(&sourced).await;
    }

    async fn poll_for(&self, wanted: &BTreeSet<Currency>) {
        let sources = self.config.sources.iter().enumerate();
        let asked = sources.filter(|(_, source)| wanted.contains(&source.currency));
        let answers =
            join_all(asked.map(async |(index, source)| (index, source, self.ask(source).await))).await;
        let now = self.clock.now();
        let mut desk = self.desk();
        let mut said: BTreeMap<Currency, Vec<(usize, Decimal)>> = BTreeMap::new();
        for (index, source, answer) in answers {
            let said = said.entry(source.currency).or_default();
            let before = desk.asked.get(&index).and_then(|(_, fault)| fault.clone());
            let fault = match answer {
                Ok(rate) => {
                    said.push((index, rate));
                    None
                }
                Err(fault) => {
                    // Once when it begins, not each minute.
                    if before.as_ref() != Some(&fault) {
                        tracing::warn!(source = source.name, %fault, "a source gives no rate");
                    }
                    Some(fault)
                }
            };
            desk.asked.insert(index, (now, fault));
        }
        for (currency, answers) in said {
            let book = desk.books.entry(currency).or_insert_with(|| Book::new(currency));
            let before = book.verdict;
            let verdict = book.poll(&answers, &self.policy, now);
            if before != Some(verdict) {
                tell(currency, verdict, book.rate(&self.policy, now).is_ok());
            }
        }
    }

    async fn ask(&self, source: &RateSource) -> Result<Decimal, SourceFault> {
        let json = HeaderValue::from_static("application/json");
        let call = Call {
            method: Method::GET,
            url: source.url.clone(),
            reach: source.reach,
            headers: HeaderMap::from_iter([(header::ACCEPT, json)]),
            body: Vec::new(),
            take: Take::Body(LARGEST_ANSWER_BYTES),
            patience: PATIENCE.min(self.config.refresh / 2),
        };
        let reply = self.egress.call(call).await?;
        if reply.status != StatusCode::OK {
            return Err(SourceFault::Status(reply.status.as_u16()));
        }
        source::read(&reply.body, &source.pointer)
    }

    /// What is known, for the operator.
    pub fn view(&self) -> RatesView {
        let now = self.clock.now();
        let desk = self.desk();
        let fixed = self.config.fixed.keys().copied();
        let sourced = self.config.sources.iter().map(|source| source.currency);
        let currencies: BTreeSet<Currency> = fixed.chain(sourced).collect();
        RatesView {
            max_age_ms: u64::try_from(self.config.max_age.as_millis()).unwrap_or(u64::MAX),
            max_step_percent: self.config.max_step_percent,
            refresh_ms: u64::try_from(self.config.refresh.as_millis()).unwrap_or(u64::MAX),
            currencies: currencies
                .into_iter()
                .map(|currency| self.currency_view(&desk, currency, now))
                .collect(),
            sources: self
                .config
                .sources
                .iter()
                .enumerate()
                .map(|(index, source)| source_view(&desk, index, source))
                .collect(),
        }
    }

    fn currency_view(&self, desk: &Desk, currency: Currency, now: Timestamp) -> CurrencyView {
        let view = |rate: Option<Rate>, state, note| CurrencyView {
            currency: currency.to_string(),
            per_btc: rate.map(|rate| rate.per_btc.to_string()),
            at: rate.map(|rate| rate.at),
            state,
            note,
        };
        if let Some(per_btc) = self.config.fixed.get(&currency) {
            let rate = Rate { currency, per_btc: *per_btc, at: now };
            return view(Some(rate), RateState::Fixed, None);
        }
        let Some(book) = desk.books.get(&currency) else {
            let asking = desk.wanted.contains(&currency);
            let note =
                if asking { "its sources are being asked" } else { "nothing needs it, so nobody is asked" };
            return view(
                None,
                if asking { RateState::Stale } else { RateState::Idle },
                Some(note.to_owned()),
            );
        };
        let note = match book.verdict {
            Some(Verdict::TooFew) => Some("fewer than two sources give a fresh rate".to_owned()),
            Some(Verdict::Disagreement) => Some("the sources do not agree".to_owned()),
            Some(Verdict::Jump { to, seen }) => {
                Some(format!("it jumped to {to}: seen by {seen} of the {CONFIRMATIONS} polls that it takes"))
            }
            Some(Verdict::Believed) | None => None,
        };
        let state = if book.rate(&self.policy, now).is_ok() { RateState::Fresh } else { RateState::Stale };
        view(book.believed(), state, note)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line when things change.
fn tell(currency: Currency, verdict: Verdict, sold_at: bool) {
    match verdict {
        Verdict::Believed => tracing::info!(%currency, "the sources agree on a rate"),
        _ if sold_at => tracing::warn!(%currency, ?verdict, "the last rate is sold at while it is fresh"),
        _ => tracing::warn!(%currency, ?verdict, "there is no rate to sell at"),
    }
}

/// The rates as the operator sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RatesView {
    /// How old a rate may be that is sold at.
    pub max_age_ms: u64,
    /// How far a rate may move without being confirmed.
    pub max_step_percent: u32,
    /// How often the sources are asked.
    pub refresh_ms: u64,
    /// Each currency that has a source or a fixed rate.
    pub currencies: Vec<CurrencyView>,
    /// Each source.
    pub sources: Vec<SourceView>,
}

/// One currency as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CurrencyView {
    /// Its code.
    pub currency: String,
    /// Units of it for one bitcoin, exact, as last believed; it may be too old to sell at.
    pub per_btc: Option<String>,
    /// When that was true.
    pub at: Option<Timestamp>,
    /// Whether it may be sold at.
    pub state: RateState,
    /// What is to be said about it.
    pub note: Option<String>,
}

/// Whether a currency's rate may be sold at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateState {
    /// It is fixed by the configuration.
    Fixed,
    /// It is fresh.
    Fresh,
    /// There is none, or it is too old.
    Stale,
    /// Nothing needs it, so nobody was asked.
    Idle,
}

/// One source as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SourceView {
    /// What the operator calls it.
    pub name: String,
    /// Whose rate it gives.
    pub currency: String,
    /// Where it is, without its query.
    pub url: String,
    /// What it said last.
    pub per_btc: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// When it was asked last.
    pub asked_at: Option<Timestamp>,
    /// Stable code of what went wrong then.
    pub fault: Option<&'static str>,
    /// That in words.
    pub detail: Option<String>,
}

fn source_view(desk: &Desk, index: usize, source: &RateSource) -> SourceView {
    let said = desk.books.get(&source.currency).and_then(|book| book.said(index));
    let (asked_at, fault) = desk.asked.get(&index).cloned().unzip();
    let fault = fault.flatten();
    SourceView {
        name: source.name.clone(),
        currency: source.currency.to_string(),
        url: source.place(),
        per_btc: said.map(|(rate, _)| rate.to_string()),
        at: said.map(|(_, at)| at),
        asked_at,
        fault: fault.as_ref().map(SourceFault::code),
        detail: fault.map(|fault| fault.to_string()),
    }
}
