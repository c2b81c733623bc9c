//! Applies the operator's rules: looks when something happened, does what a rule says, and says why.
//!
//! Invariants: one look at a time; an operation's key is its rule, its day and its number on that day, so
//! that a crash between deciding and doing leaves one operation; what it draws from the day is read from
//! the operations and from nowhere else. A reason to rest is logged when it becomes another.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::payout::{PayoutAsk, PayoutError, Payouts, drawn};
use super::rule::{Decision, Lately, Situation};
use super::rulebook::{FileRules, PAY_OUT_RULE, Rule, RuleRefused, SPLICE_OUT_RULE, Splicer};
use crate::clock::Clock;
use crate::event::Event;
use crate::ports::NodeWatch;
use crate::store::{Ledger, OperationRow, OperationState, RULE_KEYS, RuleRun, StoreError};
use crate::types::{Msat, Timestamp};

/// How often it looks when nothing happens, and how long it waits for more when something does.
const LOOK: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(1);
const SECS_A_DAY: u64 = 24 * 3_600;

/// What the keeper works with.
pub struct KeeperParts {
    /// Where operations, rules and events are.
    pub ledger: Ledger,
    /// Pays out.
    pub payouts: Payouts,
    /// Splices out.
    pub splicer: Arc<dyn Splicer>,
    /// Tells what the node has.
    pub node: Arc<dyn NodeWatch>,
    /// The time: days begin at midnight UTC.
    pub clock: Arc<dyn Clock>,
    /// What files say.
    pub rules: FileRules,
}

/// Applies the rules. Clones share everything.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    parts: KeeperParts,
    turn: tokio::sync::Mutex<()>,
    /// What was said last of each rule, and the refusals that left no operation.
    told: Mutex<HashMap<&'static str, Told>>,
}

#[derive(Clone, Debug, Default)]
struct Told {
    code: &'static str,
    /// Why it was refused before there was an operation that could tell.
    cause: Option<String>,
    refusals: u32,
    refused_at: Option<Timestamp>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("rules", &self.0.parts.rules).finish_non_exhaustive()
    }
}

/// How a rule stands, for the operator.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// Its name.
    pub name: &'static str,
    /// Its terms; `None` when it is off.
    pub terms: Option<Value>,
    /// Whether a file sets it.
    pub in_file: bool,
    /// What it would do now, or did last: a code and the reason in numbers.
    pub said: Option<(&'static str, String)>,
    /// Drawn from today's budget, fees too: those that are not known yet as what one costs now, or at most.
    pub drawn: Msat,
    /// Its last operation of today or yesterday.
    pub last: Option<OperationRow>,
}

impl Keeper {
    /// Nothing is done before [`Keeper::run`] or [`Keeper::look`].
    pub fn new(parts: KeeperParts) -> Keeper {
        Keeper(Arc::new(Inner { parts, turn: tokio::sync::Mutex::default(), told: Mutex::default() }))
    }

    /// Applies the rules whenever something happened, until `stop`. Begin when the node runs.
    pub async fn run(self, stop: CancellationToken) {
        let mut news = self.0.parts.ledger.watch();
        loop {
            news.borrow_and_update();
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the rules could not be applied; they are looked at again later");
            }
            let settled = async {
                let _ = tokio::time::timeout(LOOK, news.changed()).await;
                tokio::time::sleep(SETTLE).await;
            };
            if stop.run_until_cancelled(settled).await.is_none() {
                return;
            }
        }
    }

    /// Looks once at every rule, and does what it says.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn look(&self) -> Result<(), StoreError> {
        let _mine = self.0.turn.lock().await;
        for name in [PAY_OUT_RULE, SPLICE_OUT_RULE] {
            if let Some((rule, _)) = self.rule(name).await? {
                self.apply(&rule).await?;
            }
        }
        Ok(())
    }

    async fn apply(&self, rule: &Rule) -> Result<(), StoreError> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let (decision, count, _) = self.decide(rule, now).await?;
        let key = format!("{}{:06}", day_keys(rule.name(), now), count + 1);
        match (decision, rule) {
            (Decision::PayOut { amount, max_fee, why }, Rule::PayOut(terms)) => {
                let (amount, max_fee) = (Some(amount), Some(max_fee));
                let ask = PayoutAsk { to: terms.to.clone(), amount, max_fee, why: Some(why) };
                match parts.payouts.pay(&key, &ask, Duration::ZERO).await {
                    Ok(_) => self.ran(rule.name()),
                    Err(PayoutError::Store(error @ StoreError::Parked)) => {
                        self.rested(rule.name(), "payouts_parked", error.to_string()).await
                    }
                    Err(PayoutError::Store(error)) => Err(error),
                    Err(refusal) => self.refused(rule.name(), refusal.code(), refusal.to_string()).await,
                }
            }
            (Decision::SpliceOut { channel_id, amount, why }, Rule::SpliceOut(terms)) => {
                let run = RuleRun { rule: rule.name().to_owned(), why };
                match parts.splicer.splice_out(key, channel_id, terms.to.clone(), amount, run).await {
                    Ok(_) => self.ran(rule.name()),
                    Err(refusal) => self.refused(rule.name(), refusal.code, refusal.why).await,
                }
            }
            (Decision::Rest { code, why }, _) => self.rested(rule.name(), code, why).await,
            _ => Ok(()),
        }
    }

    /// What the rule would do at `now`, how many operations it began today, and what they drew with their fees.
    async fn decide(&self, rule: &Rule, now: Timestamp) -> Result<(Decision, usize, Msat), StoreError> {
        let (mut lately, rows) = self.lately(rule.name(), now).await?;
        let of_today = rows.iter().filter(|row| row.key.starts_with(&day_keys(rule.name(), now)));
        let unknown_fee =
            |row: &&OperationRow| row.state != OperationState::Failed && row.outcome["fee_sat"].is_null();
        let unknown_fees = u64::try_from(of_today.clone().filter(unknown_fee).count()).unwrap_or(u64::MAX);
        let today = of_today.count();
        let mut situation = self.situation().await;
        let decision = match rule {
            Rule::PayOut(rule) => rule.decide(&situation, &lately, now),
            Rule::SpliceOut(rule) => {
                let Some(fee) = self.0.parts.splicer.fee().await else {
                    let why = "nobody says what a transaction must pay now".to_owned();
                    return Ok((Decision::Rest { code: "no_fee_rate", why }, today, lately.drawn));
                };
                situation.splice_fee = fee;
                // What each that does not say it yet pays for its transaction is about what one costs now.
                let fees = fee.checked_mul(unknown_fees).unwrap_or(Msat::MAX);
                lately.drawn = lately.drawn.checked_add(fees).unwrap_or(Msat::MAX);
                rule.decide(&situation, &lately, now)
            }
        };
        Ok((decision, today, lately.drawn))
    }

    async fn lately(
        &self,
        name: &'static str,
        now: Timestamp,
    ) -> Result<(Lately, Vec<OperationRow>), StoreError> {
        let ledger = &self.0.parts.ledger;
        let yesterday = now.minus(Duration::from_secs(SECS_A_DAY));
        let mut rows = ledger.operations_keyed(&day_keys(name, yesterday)).await?;
        let today = ledger.operations_keyed(&day_keys(name, now)).await?;
        let draws = today.iter().map(drawn);
        let sum = draws.fold(Msat::ZERO, |sum, one| sum.checked_add(one).unwrap_or(Msat::MAX));
        rows.extend(today);
        let keys = format!("{RULE_KEYS}{name}/");
        let open = ledger.open_operations().await?.into_iter().find(|row| row.key.starts_with(&keys));
        let failed: Vec<_> =
            rows.iter().rev().take_while(|row| row.state == OperationState::Failed).collect();
        let told = self.told(name);
        let failures = u32::try_from(failed.len()).unwrap_or(u32::MAX).saturating_add(told.refusals);
        let failed_at = failed.first().and_then(|row| row.ended_at).max(told.refused_at);
        Ok((Lately { drawn: sum, open: open.map(|row| row.id), failures, failed_at }, rows))
    }

    async fn situation(&self) -> Situation {
        let view = self.0.parts.node.view().await;
        let msat = |msat| Msat::new(msat).unwrap_or(Msat::MAX);
        let ready = view.channels.iter().filter(|channel| channel.ready);
        let receivable = ready.map(|channel| channel.receivable_msat).fold(0, u64::saturating_add);
        let usable = view.channels.iter().filter(|channel| channel.usable);
        let fullest = usable.max_by_key(|channel| channel.spendable_msat);
        Situation {
            running: view.running,
            spendable: msat(view.spendable_msat),
            receivable: msat(receivable),
            fullest: fullest.map(|channel| (channel.channel_id.clone(), msat(channel.spendable_msat))),
            splice_fee: Msat::ZERO,
        }
    }

    /// The rule of that name, and whether a file sets it.
    async fn rule(&self, name: &'static str) -> Result<Option<(Rule, bool)>, StoreError> {
        let files = &self.0.parts.rules;
        let in_file = match name {
            PAY_OUT_RULE => files.pay_out.clone().map(Rule::PayOut),
            _ => files.splice_out.clone().map(Rule::SpliceOut),
        };
        if let Some(rule) = in_file {
            return Ok(Some((rule, true)));
        }
        let Some(terms) = self.0.parts.ledger.rule(name).await? else { return Ok(None) };
        let rule = Rule::read(name, terms).map_err(|_| StoreError::Corrupt("a rule that is none"))?;
        Ok(Some((rule, false)))
    }

    /// It was told with its operation: a crash leaves both or none.
    fn ran(&self, name: &'static str) -> Result<(), StoreError> {
        self.tell(name, Told { code: "ran", ..Told::default() });
        Ok(())
    }

    /// What was refused before there was an operation counts as a failure until something works.
    async fn refused(&self, name: &'static str, code: &'static str, why: String) -> Result<(), StoreError> {
        let before = self.told(name);
        let told = Told {
            refusals: before.refusals.saturating_add(1),
            refused_at: Some(self.0.parts.clock.now()),
            cause: Some(why.clone()),
            ..before
        };
        self.tell(name, told);
        self.rested(name, code, why).await
    }

    async fn rested(&self, name: &'static str, code: &'static str, why: String) -> Result<(), StoreError> {
        let before = self.told(name);
        self.tell(name, Told { code, ..before.clone() });
        if before.code == code {
            return Ok(());
        }
        let event = Event::RuleRested { rule: name.to_owned(), code: code.to_owned(), why };
        self.0.parts.ledger.log(event).await.map(drop)
    }

    fn told(&self, name: &'static str) -> Told {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(name).cloned().unwrap_or_default()
    }

    fn tell(&self, name: &'static str, what: Told) {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner).insert(name, what);
    }

    /// Every rule as it stands; those that are on with what they would do now.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn view(&self) -> Result<Vec<RuleView>, StoreError> {
        let now = self.0.parts.clock.now();
        let mut views = Vec::new();
        for name in [PAY_OUT_RULE, SPLICE_OUT_RULE] {
            let known = self.rule(name).await?;
            let (lately, mut rows) = self.lately(name, now).await?;
            let decided = match &known {
                None => None,
                Some((rule, _)) => Some(self.decide(rule, now).await?),
            };
            let drawn = decided.as_ref().map_or(lately.drawn, |(_, _, drawn)| *drawn);
            let said = decided.map(|(decision, ..)| match decision {
                Decision::PayOut { why, .. } | Decision::SpliceOut { why, .. } => ("runs", why),
                // An operation that failed says itself why; what was refused before says it here.
                Decision::Rest { code: "backing_off", why } => match self.told(name).cause {
                    Some(cause) => ("backing_off", format!("{why}; refused: {cause}")),
                    None => ("backing_off", why),
                },
                Decision::Rest { code, why } => (code, why),
            });
            let (terms, in_file) = known.map_or((None, false), |(rule, file)| (Some(rule.terms()), file));
            views.push(RuleView { name, terms, in_file, said, drawn, last: rows.pop() });
        }
        Ok(views)
    }

    /// Whether a rule's terms make sense here.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self, rule: &Rule) -> Result<(), RuleRefused> {
        let senseless = |why: String| RuleRefused::Senseless(why);
        match rule {
            Rule::PayOut(terms) => {
                terms.check().map_err(|why| senseless(why.to_owned()))?;
                let unpayable = |error: PayoutError| senseless(format!("to: {error}"));
                let to = self.0.parts.payouts.destination(&terms.to).map_err(unpayable)?;
                if !to.is_reusable() {
                    return Err(senseless("to: an invoice is paid once: give an offer".to_owned()));
                }
                self.0.parts.payouts.readable(&to).map_err(unpayable)?;
            }
            Rule::SpliceOut(terms) => {
                terms.check().map_err(|why| senseless(why.to_owned()))?;
                self.0.parts.splicer.check(&terms.to).map_err(|why| senseless(format!("to: {why}")))?;
            }
        }
        Ok(())
    }

    /// Asks the payee of a rule, where it is a Lightning address, whether it is there. What comes back is said beside
    /// the rule: its server gave no clear answer, and may later.
    ///
    /// # Errors
    /// When it says that nobody is paid there.
    pub async fn ask_payee(&self, rule: &Rule) -> Result<Option<String>, RuleRefused> {
        let Rule::PayOut(terms) = rule else { return Ok(None) };
        let payouts = &self.0.parts.payouts;
        // What else is wrong with it is said when it is set.
        let Ok(to) = payouts.destination(&terms.to) else { return Ok(None) };
        let refused = |error: PayoutError| RuleRefused::Senseless(format!("to: {error}"));
        let warning = payouts.answers(&to).await.map_err(refused)?;
        Ok(warning.map(|why| format!("whether {} can be paid is not known: {why}", terms.to)))
    }

    /// Sets a rule, or with `None` switches the one of that name off.
    ///
    /// # Errors
    /// When a file sets it, its terms make no sense, or the ledger fails.
    pub async fn set(&self, name: &'static str, rule: Option<Rule>) -> Result<(), RuleRefused> {
        if self.rule(name).await?.is_some_and(|(_, in_file)| in_file) {
            return Err(RuleRefused::InFile);
        }
        if let Some(rule) = &rule {
            self.check(rule)?;
        }
        self.0.parts.ledger.set_rule(name, rule.map(|rule| rule.terms())).await?;
        self.tell(name, Told::default());
        Ok(())
    }
}

/// What the keys of a rule's operations of one day begin with.
fn day_keys(name: &str, at: Timestamp) -> String {
    format!("{RULE_KEYS}{name}/{}/", at.secs() / SECS_A_DAY)
}

#[cfg(test)]
mod tests;
