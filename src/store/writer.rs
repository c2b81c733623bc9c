//! The one connection that writes, on a thread of its own, with group commit.
//!
//! Whoever wants something written sends a job. The thread takes all jobs that are waiting, runs each
//! in a savepoint, commits them together (one fsync), and only then answers each. A job that fails
//! undoes itself and nothing else; a commit that fails fails every job in it and leaves the thread as
//! it was. What is owed (the end of a hold, which nobody waits for) comes through a channel of its own,
//! so that open holds never take the jobs' places, and is tried again until it is on disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::hours::{Hour, Sums};
use super::job::{Call, Job, Owed};
use super::page::{Filled, Page, Step, Unfilled, With};
use super::rows::name_id;
use super::shadow::Shadow;
use super::totals::{Totals, count};
use super::{Flaw, StoreError, schema};
use crate::clock::Clock;
use crate::moment::Moment;
use crate::tally::{CommitTimes, Demands};
use crate::types::{Name, Timestamp};

/// Jobs that may wait; beyond it senders wait, so memory is bounded.
const QUEUE: usize = 1_024;
/// Holds that may be open at once; beyond it a reserve is refused as busy.
const PLACES: usize = 65_536;
/// Jobs that share one commit at most.
const BATCH: usize = 512;
/// Between two tries to write what is owed while the disk refuses.
const RETRY: Duration = Duration::from_millis(250);
/// So often the high-water time is written, work or none, and what is due is swept.
const TICK: Duration = Duration::from_secs(60);
/// Between two sweeps while more is due than one of them takes.
const SWEEPING: Duration = Duration::from_secs(1);
/// Counts that nobody waits for are written after so long at most.
const COUNTING: Duration = Duration::from_secs(2);
/// How long a close waits for holds that are still open.
const PATIENCE: Duration = Duration::from_secs(5);

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<Result<(), StoreError>>),
    #[cfg(test)]
    Crash,
}

/// A place in the channel of what is owed: sending through it can neither fail nor wait.
pub(super) type Place = mpsc::OwnedPermit<Box<dyn Owed>>;

/// The handle on the thread.
pub(super) struct Writer {
    jobs: mpsc::Sender<Message>,
    owed: mpsc::Sender<Box<dyn Owed>>,
    commits: Arc<AtomicU64>,
    times: CommitTimes,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread needs to begin.
pub(super) struct Start {
    pub(super) connection: Connection,
    pub(super) clock: Arc<dyn Clock>,
    /// Told the number of the newest event after each commit.
    pub(super) newest: watch::Sender<i64>,
    /// The node's run.
    pub(super) run: i64,
    /// What to do in the transaction of an idle moment.
    pub(super) sweep: fn(&mut Page<'_>) -> Result<bool, StoreError>,
    /// Counts that wait for a transaction.
    pub(super) shadow: Arc<Shadow>,
    /// Counts that wait for a transaction that is made anyway.
    pub(super) demands: Demands,
    /// A fault that a test wants.
    pub(super) flaw: Flaw,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(start: Start) -> Result<Writer, StoreError> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let (owed, owed_inbox) = mpsc::channel(PLACES);
        let commits = Arc::new(AtomicU64::new(0));
        let fault = |error: std::io::Error| StoreError::Disk(error.to_string().into());
        let ticked = start.clock.now();
        let times = CommitTimes::default();
        let pen = Pen {
            start,
            commits: Arc::clone(&commits),
            times: times.clone(),
            owed: Vec::new(),
            counted: HashMap::new(),
            ticked,
            pause: TICK,
        };
        // A runtime of its own: this thread waits on two channels and a timer, and blocks on the disk.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(fault)?;
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || runtime.block_on(pen.run(inbox, owed_inbox)))
            .map_err(fault)?;
        Ok(Writer { jobs, owed, commits, times, thread: Mutex::new(Some(thread)) })
    }

    /// Sends a job.
    pub(super) async fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.jobs.send(Message::Job(job)).await.map_err(|_| StoreError::Closed)
    }

    /// Does `work` in a transaction and gives its result when it is on disk.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Page<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(Call::new(work, reply))).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// A place for what one hold will owe.
    pub(super) fn place(&self) -> Result<Place, StoreError> {
        self.owed.clone().try_reserve_owned().map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }

    /// Writes what is on its way, waits a little for open holds, and ends the thread.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Message::Close(reply)).await.is_err() {
            return Ok(());
        }
        let done = answer.await.map_err(|_| StoreError::Closed)?;
        self.join().await;
        done
    }

    /// Ends the thread as a kill would: nothing more is written.
    #[cfg(test)]
    pub(super) async fn crash(&self) {
        let _ = self.jobs.send(Message::Crash).await;
        self.join().await;
    }

    /// Transactions committed since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// How long they took.
    pub(super) fn commit_times(&self) -> &CommitTimes {
        &self.times
    }

    async fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has said its last word, so it ends now; a panic was reported by its own hook.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// The thread's side.
struct Pen {
    start: Start,
    commits: Arc<AtomicU64>,
    times: CommitTimes,
    /// Not on disk yet.
    owed: Vec<Box<dyn Owed>>,
    /// How much of what was demanded is in the sums.
    counted: HashMap<(Name, Name), u64>,
    /// When the time was noted last.
    ticked: Timestamp,
    /// How long after that it is noted again.
    pause: Duration,
}

/// Why the thread stops taking jobs.
enum Stop {
    Close(oneshot::Sender<Result<(), StoreError>>),
    #[cfg(test)]
    Crash,
}

impl Pen {
    async fn run(mut self, mut jobs: mpsc::Receiver<Message>, mut owed: mpsc::Receiver<Box<dyn Owed>>) {
        let mut first = Vec::new();
        loop {
            let retrying = !self.owed.is_empty();
            let pause = if retrying { RETRY } else { self.pause.min(COUNTING) };
            // Jobs first: what is owed is collected after them below, so a barrier covers all that was
            // sent before it.
            tokio::select! {
                biased;
                message = jobs.recv() => match message {
                    Some(message) => first.push(message),
                    // Every handle is gone without a close: only holds are left.
                    None => return self.wait_for_holds(&mut owed).await,
                },
                Some(end) = owed.recv() => self.owed.push(end),
                () = tokio::time::sleep(pause) => {}
            }
            let mut batch = Vec::new();
            let mut stop = None;
            for message in first.drain(..).chain(std::iter::from_fn(|| jobs.try_recv().ok())) {
                match message {
                    Message::Job(job) => batch.push(job),
                    Message::Close(reply) => stop = Some(Stop::Close(reply)),
                    #[cfg(test)]
                    Message::Crash => stop = Some(Stop::Crash),
                }
                if stop.is_some() || batch.len() >= BATCH {
                    break;
                }
            }
            #[cfg(test)]
            if matches!(stop, Some(Stop::Crash)) {
                return;
            }
            self.collect(&mut owed);
            self.write(batch);
            self.tick();
            if let Some(Stop::Close(reply)) = stop {
                return self.close(jobs, owed, reply).await;
            }
        }
    }

    fn collect(&mut self, owed: &mut mpsc::Receiver<Box<dyn Owed>>) {
        while let Ok(end) = owed.try_recv() {
            self.owed.push(end);
        }
    }

    async fn wait_for_holds(&mut self, owed: &mut mpsc::Receiver<Box<dyn Owed>>) {
        owed.close();
        while let Some(end) = owed.recv().await {
            self.owed.push(end);
            self.collect(owed);
            self.write(Vec::new());
        }
        if !self.owed.is_empty() {
            tracing::error!(holds = self.owed.len(), "the disk refused the ends of holds to the last");
        }
    }

    async fn close(
        mut self,
        mut jobs: mpsc::Receiver<Message>,
        mut owed: mpsc::Receiver<Box<dyn Owed>>,
        reply: oneshot::Sender<Result<(), StoreError>>,
    ) {
        // What was sent before the close is written; later senders are told that it is closed.
        jobs.close();
        let mut rest = Vec::new();
        while let Some(message) = jobs.recv().await {
            if let Message::Job(job) = message {
                rest.push(job);
            }
        }
        self.write(rest);
        if tokio::time::timeout(PATIENCE, self.wait_for_holds(&mut owed)).await.is_err() {
            tracing::warn!("requests were still open: the next start resolves their holds");
        }
        self.collect(&mut owed);
        let mut done = Ok(());
        // With it go the last counts.
        let last = self.transact(&mut [], |page| {
            page.counts_demands = true;
            schema::set_clean_mark(page.connection)
        });
        if let Err(error) = last {
            tracing::error!(%error, "the ledger's last commit failed");
            done = Err(error);
        }
        // The connection is closed before the answer, so that the file may be opened again at once.
        drop(self);
        // The closer may have given up waiting.
        let _ = reply.send(done);
    }

    /// Commits a batch together with all that is owed, and answers.
    fn write(&mut self, mut batch: Vec<Box<dyn Job>>) {
        if batch.is_empty() && self.owed.is_empty() && self.start.shadow.is_empty() {
            return;
        }
        Moment::Gathered.reached();
        match self.transact(&mut batch, |_| Ok(())) {
            Ok(outcomes) => {
                for (job, outcome) in batch.into_iter().zip(outcomes) {
                    job.answer(outcome);
                }
                Moment::Answered.reached();
            }
            Err(error) => {
                tracing::error!(%error, jobs = batch.len(), owed = self.owed.len(), "a ledger commit failed");
                for job in batch {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Once a minute, and sooner while there is much to do: notes the time and sweeps what is due.
    fn tick(&mut self) {
        let now = self.start.clock.now();
        if now < self.ticked.plus(self.pause) {
            return;
        }
        self.ticked = now;
        let (sweep, mut more) = (self.start.sweep, false);
        let swept = self.transact(&mut [], |page| {
            more = sweep(page)?;
            page.counts_demands = true;
            Ok(())
        });
        if let Err(error) = swept {
            tracing::warn!(%error, "the ledger could not note the time");
        }
        self.pause = if more { SWEEPING } else { TICK };
    }

    /// One transaction, from beginning to commit: what is owed, the jobs, then `last`. The outcomes
    /// are those of the jobs. On an error nothing at all happened.
    fn transact(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        last: impl FnOnce(&mut Page<'_>) -> Result<(), StoreError>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut done = self.fill(With::Owed, jobs, last);
        // A disk that refuses what is owed may still take less, or nothing but a barrier.
        if let Err(Unfilled::Owed(error, last)) = done {
            self.roll_back();
            tracing::error!(%error, owed = self.owed.len(), "ends of holds wait for the disk");
            done = self.fill(With::Waiting(error), jobs, last);
        }
        if done.is_err() {
            self.roll_back();
        }
        let connection = &self.start.connection;
        let Filled { outcomes, run, written, moved } = done.map_err(Unfilled::into_error)?;
        self.start.run = run;
        self.owed.drain(..written);
        // Readers are woken before callers, so that a caller finds what it caused: by a new event, and by
        // sums that moved without one.
        match schema::newest_event(connection) {
            Ok(newest) => {
                self.start
                    .newest
                    .send_if_modified(|known| std::mem::replace(known, newest) != newest || moved);
            }
            Err(error) => tracing::warn!(%error, "the newest event could not be read"),
        }
        Ok(outcomes)
    }

    fn roll_back(&self) {
        let connection = &self.start.connection;
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a ledger transaction could not be rolled back");
        }
    }

    fn fill<L: FnOnce(&mut Page<'_>) -> Result<(), StoreError>>(
        &mut self,
        with: With,
        jobs: &mut [Box<dyn Job>],
        last: L,
    ) -> Result<Filled, Unfilled<L>> {
        let connection = &self.start.connection;
        let answers_first = self.start.flaw.is(Flaw::AnswersFirst);
        if answers_first && !connection.is_autocommit() {
            connection.execute_batch("COMMIT")?;
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let before = changes(connection)?;
        let mut page = Page::new(connection, self.start.clock.now(), self.start.run);
        let owed: &[Box<dyn Owed>] = match with {
            With::Owed => &self.owed,
            With::Waiting(error) => {
                page.waiting = Some(error);
                &[]
            }
        };
        for end in owed {
            match page.step(|page| end.write(page)) {
                Step::Done => {}
                Step::Undone(error) | Step::Lost(error) if error.may_pass() => {
                    return Err(Unfilled::Owed(error, last));
                }
                // Trying for ever would help nobody; the audit tells what is missing.
                Step::Undone(error) => tracing::error!(%error, "the end of a hold makes no sense"),
                Step::Lost(error) => return Err(error.into()),
            }
        }
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            match page.step(|page| job.write(page)) {
                Step::Done => outcomes.push(Ok(())),
                Step::Undone(error) => outcomes.push(Err(error)),
                Step::Lost(error) => return Err(error.into()),
            }
        }
        let ticking = outcomes.is_empty() && self.owed.is_empty();
        last(&mut page)?;
        let (run, written) = (page.run, owed.len());
        self.start.shadow.count(&mut page)?;
        let mut counted = HashMap::new();
        for (service, route, so_far) in
            if page.counts_demands { self.start.demands.so_far() } else { Vec::new() }
        {
            let key = (service, route);
            let new = so_far.saturating_sub(self.counted.get(&key).copied().unwrap_or(0));
            if new > 0 {
                let (service, route) = (name_id(connection, &key.0)?, name_id(connection, &key.1)?);
                let sums = Sums { demands: count(new), ..Sums::default() };
                page.hours.push((Hour::at(page.now, service, route), sums));
                counted.insert(key, so_far);
            }
        }
        if changes(connection)? == before && page.hours.is_empty() && !ticking {
            // Nothing was written: a barrier or a refusal needs no fsync.
            connection.execute_batch("ROLLBACK")?;
            return Ok(Filled { outcomes, run, written, moved: false });
        }
        page.add_up()?;
        Moment::Filled.reached();
        if !answers_first {
            let begun = self.start.clock.steady();
            connection.execute_batch("COMMIT")?;
            self.times.took(self.start.clock.steady().saturating_sub(begun));
        }
        Moment::Committed.reached();
        self.commits.fetch_add(1, Ordering::AcqRel);
        self.counted.extend(counted);
        Ok(Filled { outcomes, run, written, moved: page.totals != Totals::default() })
    }
}

/// Rows changed since the connection was opened.
fn changes(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("SELECT total_changes()")?.query_row([], |row| row.get(0))?)
}
