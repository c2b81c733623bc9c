//! One transaction of the writer while it is being filled: what every step that writes is given.

use rusqlite::{Connection, params};

use super::hours::{Hour, Sums};
use super::rows::Stored;
use super::totals::Totals;
use super::{StoreError, hours, rows};
use crate::event::Event;
use crate::types::Timestamp;

/// The open transaction. Steps write through it; the writer commits it.
pub(super) struct Page<'a> {
    /// The writer's connection.
    pub(super) connection: &'a Connection,
    /// The one instant of everything in this transaction.
    pub(super) now: Timestamp,
    /// The node's run that payments are being told in.
    pub(super) run: i64,
    /// What to add to the running sums before the commit.
    pub(super) totals: Totals,
    /// What to add to the sums by hour before the commit.
    pub(super) hours: Vec<(Hour, Sums)>,
    /// What was demanded since the last time is to be counted in this transaction.
    pub(super) counts_demands: bool,
    /// Why something that is owed from before is not on this page.
    pub(super) waiting: Option<StoreError>,
}

/// How one step of a page went.
pub(super) enum Step {
    /// It is part of the page.
    Done,
    /// It left no trace; the page stands.
    Undone(StoreError),
    /// The transaction itself is gone: so is everything on the page.
    Lost(StoreError),
}

impl<'a> Page<'a> {
    pub(super) fn new(connection: &'a Connection, now: Timestamp, run: i64) -> Page<'a> {
        Page {
            connection,
            now,
            run,
            totals: Totals::default(),
            hours: Vec::new(),
            counts_demands: false,
            waiting: None,
        }
    }

    /// Runs one step so that its failure undoes itself and nothing else.
    pub(super) fn step(&mut self, work: impl FnOnce(&mut Page<'a>) -> Result<(), StoreError>) -> Step {
        let (totals, run, hours) = (self.totals, self.run, self.hours.len());
        if let Err(error) = self.run_sql("SAVEPOINT step") {
            return Step::Lost(error);
        }
        let Err(error) = work(self) else {
            return match self.run_sql("RELEASE step") {
                Ok(()) => Step::Done,
                Err(error) => Step::Lost(error),
            };
        };
        (self.totals, self.run) = (totals, run);
        self.hours.truncate(hours);
        let undone = self.run_sql("ROLLBACK TO step").and_then(|()| self.run_sql("RELEASE step"));
        // A full or failing disk can make SQLite roll the whole transaction back by itself.
        match undone {
            Ok(()) if !self.connection.is_autocommit() => Step::Undone(error),
            _ => Step::Lost(error),
        }
    }

    /// Adds what the steps added up to to the stored sums, and notes the time: the last thing before the
    /// commit.
    pub(super) fn add_up(&self) -> Result<(), StoreError> {
        hours::add(self.connection, &self.hours)?;
        self.totals.store(self.connection, self.now)
    }

    /// Appends to the log and gives the event's number.
    pub(super) fn log(&self, event: &Event) -> Result<i64, StoreError> {
        let body = rows::event_body(event)?;
        let mut insert = self.connection.prepare_cached("INSERT INTO events (at, body) VALUES (?1, ?2)")?;
        insert.execute(params![Stored(self.now), body])?;
        Ok(self.connection.last_insert_rowid())
    }

    fn run_sql(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// What became of a transaction's steps.
pub(super) struct Filled {
    /// Of each job.
    pub(super) outcomes: Vec<Result<(), StoreError>>,
    /// The node's run from here on.
    pub(super) run: i64,
    /// Whether the running sums moved.
    pub(super) moved: bool,
    /// How much of what is owed is written.
    pub(super) written: usize,
}

/// What to do about what is owed.
pub(super) enum With {
    Owed,
    /// Nothing: it was refused because of this.
    Waiting(StoreError),
}

/// Why there is nothing to commit.
pub(super) enum Unfilled<L> {
    /// The disk refused what is owed, before any job ran.
    Owed(StoreError, L),
    Lost(StoreError),
}

impl<L> Unfilled<L> {
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Unfilled::Owed(error, _) | Unfilled::Lost(error) => error,
        }
    }
}

impl<L, E: Into<StoreError>> From<E> for Unfilled<L> {
    fn from(error: E) -> Unfilled<L> {
        Unfilled::Lost(error.into())
    }
}
