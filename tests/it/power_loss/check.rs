//! Whether the ledger in an image is whole and has everything that was acknowledged.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tollhouse::clock::{Clock, FixedClock};
use tollhouse::ports::KeyValue;
use tollhouse::store::{Ledger, NodeStore};
use tollhouse::types::{PaymentHash, Timestamp};

use super::workload::{Parts, Word, key, price, state};

/// What was begun and what was acknowledged for one payment; payments are counted, the rest is units.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    pays: i64,
    paid: i64,
    asks: u64,
    reserved: u64,
    ends: Parts,
    ended: Parts,
    granted: bool,
    revoked: bool,
}

fn facts<'a>(said: impl Iterator<Item = &'a str>) -> HashMap<PaymentHash, Facts> {
    let mut all: HashMap<PaymentHash, Facts> = HashMap::new();
    for line in said {
        let word: Word = serde_json::from_str(line).expect("the workload's own words");
        let mut of = |who: PaymentHash, note: &dyn Fn(&mut Facts)| note(all.entry(who).or_default());
        match word {
            Word::Pays { who } => of(who, &|facts| facts.pays += 1),
            Word::Paid { who } => of(who, &|facts| facts.paid += 1),
            Word::Granted { who } => of(who, &|facts| facts.granted = true),
            Word::Asks { who, units } => of(who, &|facts| facts.asks += units),
            Word::Reserved { who, units } => of(who, &|facts| facts.reserved += units),
            Word::Ends { who, parts } => of(who, &|facts| facts.ends += parts),
            Word::Ended { who, parts } => of(who, &|facts| facts.ended += parts),
            Word::Revoked { who } => of(who, &|facts| facts.revoked = true),
            Word::Stores { .. } | Word::Stored { .. } | Word::Closed { .. } => {}
        }
    }
    all
}

/// For each channel, the last version that was acknowledged and the last that was begun.
fn versions<'a>(said: impl Iterator<Item = &'a str>) -> HashMap<u8, (u64, u64)> {
    let mut all: HashMap<u8, (u64, u64)> = HashMap::new();
    for line in said {
        match serde_json::from_str(line).expect("the workload's own words") {
            Word::Stores { channel, version } => all.entry(channel).or_default().1 = version,
            Word::Stored { channel, version } => all.entry(channel).or_default().0 = version,
            _ => {}
        }
    }
    all
}

/// Opens the image and compares; what is wrong, in words.
pub(super) async fn image<'a>(
    folder: &Path,
    said: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), String> {
    channels(&folder.join("channels.db"), &versions(said.clone()))?;
    ledger(folder, &facts(said)).await
}

/// The node's states: each is of the last version that was acknowledged, or of one begun after it.
fn channels(path: &Path, versions: &HashMap<u8, (u64, u64)>) -> Result<(), String> {
    if versions.values().all(|(stored, _)| *stored == 0) {
        return Ok(());
    }
    whole(path)?;
    let store = NodeStore::open(path).map_err(|error| format!("the channels do not open: {error}"))?;
    for (channel, (stored, begun)) in versions {
        let read = store.read(&key(&channel.to_string())).map_err(|error| error.to_string())?;
        let possible = (*stored..=*begun).any(|version| match &read {
            Some(found) => *found == state(version),
            None => version == 0,
        });
        if !possible {
            return Err(format!("channel {channel} is not in state {stored}, which was acknowledged"));
        }
    }
    Ok(())
}

async fn ledger(folder: &Path, facts: &HashMap<PaymentHash, Facts>) -> Result<(), String> {
    let path = folder.join("ledger.db");
    if !path.exists() {
        let owed = facts.values().any(|facts| facts.paid > 0 || facts.reserved > 0);
        return if owed { Err("the ledger is gone".to_owned()) } else { Ok(()) };
    }
    whole(&path)?;
    let clock: Arc<dyn Clock> = FixedClock::at(Timestamp::default());
    let (ledger, _) = Ledger::open(&path, clock).map_err(|error| format!("it does not open: {error}"))?;
    let compared = compare(&ledger, facts).await;
    ledger.close().await.map_err(|error| format!("it does not close: {error}"))?;
    compared?;
    whole(&path)
}

/// SQLite's own word, before the ledger has touched anything and after.
fn whole(path: &Path) -> Result<(), String> {
    let words = || -> rusqlite::Result<(String, bool)> {
        let file = rusqlite::Connection::open(path)?;
        let word = file.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        Ok((word, file.prepare("PRAGMA foreign_key_check")?.exists([])?))
    };
    match words() {
        Ok((word, false)) if word == "ok" => Ok(()),
        Ok((word, astray)) => Err(format!("integrity_check: {word}; rows without their parents: {astray}")),
        Err(error) => Err(format!("the file cannot be read: {error}")),
    }
}

async fn compare(ledger: &Ledger, facts: &HashMap<PaymentHash, Facts>) -> Result<(), String> {
    let audit = ledger.audit().await.map_err(|error| error.to_string())?;
    if !audit.ok || audit.sums.units_held != 0 {
        return Err(format!("the audit: {audit:?}"));
    }
    let sum = |of: fn(&Facts) -> i64| facts.values().map(of).sum::<i64>();
    between("payments", sum(|facts| facts.paid), audit.sums.payments, sum(|facts| facts.pays))?;
    let payments = ledger.payments(u32::MAX, None).await.map_err(|error| error.to_string())?;
    let credited: HashMap<_, _> = payments.iter().map(|row| (row.payment_hash, row.amount)).collect();
    for (who, facts) in facts {
        if facts.paid > 0 && credited.get(who) != Some(&price()) {
            return Err(format!("a payment that was acknowledged is not credited: {who}"));
        }
        let row = ledger.grant(*who).await.map_err(|error| error.to_string())?;
        let Some(grant) = row.map(|row| row.grant) else {
            if facts.reserved > 0 || facts.granted {
                return Err(format!("a grant that was acknowledged is lost: {who}, {facts:?}"));
            }
            continue;
        };
        let seen = |what: &str| format!("{what} of {who} ({facts:?}, {grant:?})");
        between(&seen("spent"), facts.ended.spent, grant.spent, facts.ends.spent)?;
        between(&seen("restored"), facts.ended.restored, grant.returned, facts.ends.restored)?;
        let resolved = grant.spent + grant.returned + grant.crash_returned;
        between(&seen("holds"), facts.reserved - facts.ends.released, resolved, facts.asks)?;
        if facts.revoked && grant.left > 0 {
            return Err(seen("a token that was taken back is good again"));
        }
    }
    Ok(())
}

fn between<T: PartialOrd + std::fmt::Debug>(what: &str, least: T, found: T, most: T) -> Result<(), String> {
    if least <= found && found <= most {
        Ok(())
    } else {
        Err(format!(
            "{what}: {found:?} where at least {least:?} were acknowledged and at most {most:?} begun"
        ))
    }
}
