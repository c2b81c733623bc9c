//! Alarms: each is one row from when it is raised until it is over, so that a restart neither repeats nor
//! forgets one.
//!
//! Invariants: raising, changing and clearing are events of the same transaction; an alarm that only says
//! the same with other figures is no event.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::page::Page;
use super::rows::{Stored, column, column_or_none};
use super::{Ledger, StoreError, optional};
use crate::event::Event;
use crate::ports::Alarm;
use crate::types::{Severity, Timestamp};

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmRow {
    /// What it says; the figures are those of when it was raised or became worse.
    pub alarm: Alarm,
    /// Since when.
    pub raised_at: Timestamp,
    /// When its severity changed last.
    pub changed_at: Timestamp,
    /// A single event raised it: it stands until then, whatever is found later.
    pub holds_until: Option<Timestamp>,
}

/// What was found, for [`Ledger::note_alarms`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is the matter now: what is not in here any more is over.
    pub standing: Vec<Alarm>,
    /// What single events say, each until when it stands.
    pub notices: Vec<(Alarm, Timestamp)>,
    /// The number of the newest event that was looked at.
    pub watched: i64,
}

/// Events that were looked at and told nothing are noted this many at a time.
const WATCHED_STEP: i64 = 1_000;

impl Ledger {
    /// The alarms that stand, in the order of their codes.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn alarms(&self) -> Result<Vec<AlarmRow>, StoreError> {
        self.0.readers.read(all).await
    }

    /// The number of the newest event that was looked at for alarms.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn watched(&self) -> Result<i64, StoreError> {
        self.0.readers.read(watched).await
    }

    /// Brings the alarms in line with what was found, and logs what changed. Gives those that stand.
    ///
    /// # Errors
    /// When the disk fails; nothing changed then.
    pub async fn note_alarms(&self, found: Findings) -> Result<Vec<AlarmRow>, StoreError> {
        self.0.writer.call(move |page| note(page, found)).await
    }
}

fn all(connection: &Connection) -> Result<Vec<AlarmRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM alarms ORDER BY code, subject")?;
    query.query_map([], read)?.map(|row| row?).collect()
}

fn watched(connection: &Connection) -> Result<i64, StoreError> {
    let mut query = connection.prepare_cached("SELECT value FROM mark WHERE name = 'watched'")?;
    Ok(optional(query.query_row([], |row| row.get(0)))?.unwrap_or(0))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<AlarmRow, StoreError>> {
    let subject: String = row.get("subject")?;
    let Ok(severity) = row.get::<_, String>("severity")?.parse::<Severity>() else {
        return Ok(Err(StoreError::Corrupt("an alarm of an unknown severity")));
    };
    let alarm = Alarm {
        code: row.get("code")?,
        subject: Some(subject).filter(|subject| !subject.is_empty()),
        severity,
        text: row.get("text")?,
        fix: row.get("fix")?,
    };
    Ok(Ok(AlarmRow {
        alarm,
        raised_at: column(row, "raised_at")?,
        changed_at: column(row, "changed_at")?,
        holds_until: column_or_none(row, "holds_until")?,
    }))
}

fn name(alarm: &Alarm) -> (String, String) {
    (alarm.code.clone(), alarm.subject.clone().unwrap_or_default())
}

fn note(page: &mut Page<'_>, found: Findings) -> Result<Vec<AlarmRow>, StoreError> {
    let before = all(page.connection)?;
    let known: BTreeMap<_, _> = before.iter().map(|row| (name(&row.alarm), row)).collect();
    let mut now: BTreeMap<_, (Alarm, Option<Timestamp>)> = BTreeMap::new();
    // What an event raised stands until its time is over.
    for row in before.iter().filter(|row| row.holds_until.is_some_and(|until| until > page.now)) {
        now.insert(name(&row.alarm), (row.alarm.clone(), row.holds_until));
    }
    for (alarm, until) in found.notices.into_iter().filter(|(_, until)| *until > page.now) {
        now.insert(name(&alarm), (alarm, Some(until)));
    }
    for alarm in found.standing {
        let until = now.get(&name(&alarm)).and_then(|(_, until)| *until);
        now.insert(name(&alarm), (alarm, until));
    }
    for (name, row) in known.iter().filter(|(name, _)| !now.contains_key(*name)) {
        clear(page, name, row)?;
    }
    for (name, (alarm, until)) in &now {
        match known.get(name) {
            None => raise(page, alarm, *until)?,
            Some(row) if row.alarm.severity != alarm.severity => change(page, row, alarm, *until)?,
            Some(_) => {}
        }
    }
    let watched_before = watched(page.connection)?;
    if found.watched >= watched_before.saturating_add(WATCHED_STEP)
        || (found.watched > watched_before && now.values().any(|(_, until)| until.is_some()))
    {
        let sql = "INSERT INTO mark VALUES ('watched', ?1) ON CONFLICT DO UPDATE SET value = excluded.value";
        page.connection.prepare_cached(sql)?.execute([found.watched])?;
    }
    all(page.connection)
}

fn raise(page: &Page<'_>, alarm: &Alarm, until: Option<Timestamp>) -> Result<(), StoreError> {
    let (code, subject) = name(alarm);
    let mut insert =
        page.connection.prepare_cached("INSERT INTO alarms VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)")?;
    let severity = alarm.severity.as_str();
    insert.execute(params![
        code,
        subject,
        severity,
        alarm.text,
        alarm.fix,
        Stored(page.now),
        until.map(Stored)
    ])?;
    let Alarm { code, subject, severity, text, fix } = alarm.clone();
    page.log(&Event::AlarmRaised { code, subject, severity, text, fix })?;
    Ok(())
}

fn change(
    page: &Page<'_>,
    before: &AlarmRow,
    alarm: &Alarm,
    until: Option<Timestamp>,
) -> Result<(), StoreError> {
    let (code, subject) = name(alarm);
    let mut update = page.connection.prepare_cached(
        "UPDATE alarms SET severity = ?3, text = ?4, fix = ?5, changed_at = ?6, holds_until = ?7
         WHERE code = ?1 AND subject = ?2",
    )?;
    let severity = alarm.severity.as_str();
    update.execute(params![
        code,
        subject,
        severity,
        alarm.text,
        alarm.fix,
        Stored(page.now),
        until.map(Stored)
    ])?;
    let Alarm { code, subject, severity, text, fix } = alarm.clone();
    page.log(&Event::AlarmChanged { code, subject, was: before.alarm.severity, severity, text, fix })?;
    Ok(())
}

fn clear(page: &Page<'_>, (code, subject): &(String, String), row: &AlarmRow) -> Result<(), StoreError> {
    let mut delete = page.connection.prepare_cached("DELETE FROM alarms WHERE code = ?1 AND subject = ?2")?;
    delete.execute(params![code, subject])?;
    let (code, subject) = (code.clone(), row.alarm.subject.clone());
    page.log(&Event::AlarmCleared { code, subject, raised_at: row.raised_at })?;
    Ok(())
}
