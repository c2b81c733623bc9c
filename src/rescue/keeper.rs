//! Writes the recovery snapshot and the mirror while the appliance runs.
//!
//! At once when a channel comes or goes; else at most every few seconds while payments change channels. What
//! fails is logged when it begins to fail, shown in [`Standing`], and tried again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::mirror::Mirrored;
use super::place::Place;
use super::watched::Changes;
use super::{RescueError, snapshot};
use crate::clock::{Clock, Entropy};
use crate::node::belongs_in_snapshot;
use crate::store::{NodeStore, Reach};
use crate::types::Timestamp;

/// Between two snapshots while no channel comes or goes, and between two mirrorings.
const PAUSE: Duration = Duration::from_secs(5);

/// A snapshot that is in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SnapshotCopy {
    /// The file.
    pub file: PathBuf,
    /// When it was written last.
    pub written_at: Option<Timestamp>,
    /// Its size.
    pub bytes: u64,
    /// Why the newest could not be written, if so.
    pub error: Option<String>,
}

/// How the way back stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Standing {
    /// Why the node does not start on its channel state, if so.
    pub barred: Option<String>,
    /// Channels in the newest snapshot; those that closed lately are among them.
    pub channels: usize,
    /// The channel state's count of writes at the newest snapshot.
    pub generation: u64,
    /// A channel changed and no snapshot tells of it since this time.
    pub behind_since: Option<Timestamp>,
    /// The snapshot, and its copy in the second directory if there is one.
    pub copies: Vec<SnapshotCopy>,
}

impl Standing {
    /// Whose state the newest snapshot has, in words. The library keeps a channel's for weeks after its close.
    pub fn kept(&self) -> String {
        match self.channels {
            0 => "of no channel".to_owned(),
            1 => "of 1 channel, open or closed lately".to_owned(),
            several => format!("of {several} channels, open or closed lately"),
        }
    }
}

/// Keeps the way back.
pub struct Keeper {
    place: Place,
    work: Option<Work>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    standing: watch::Sender<Standing>,
}

struct Work {
    store: Arc<NodeStore>,
    changes: watch::Receiver<Changes>,
    mirrored: Mutex<(Mirrored, Changes)>,
    came_up: AtomicBool,
}

impl Keeper {
    pub(super) fn new(
        place: Place,
        store: Arc<NodeStore>,
        changes: watch::Receiver<Changes>,
        mirrored: Mirrored,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Keeper {
        let mirrored = Mutex::new((mirrored, Changes::default()));
        let work = Work { store, changes, mirrored, came_up: AtomicBool::new(false) };
        let standing = watch::Sender::new(Standing { copies: copies(&place), ..Standing::default() });
        Keeper { place, work: Some(work), clock, entropy, standing }
    }

    /// For a store that is not used: nothing is written, which would hide what is wrong.
    pub(super) fn barred(
        place: Place,
        why: String,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Keeper {
        let standing = Standing { barred: Some(why), copies: copies(&place), ..Standing::default() };
        let standing = watch::Sender::new(standing);
        Keeper { place, work: None, clock, entropy, standing }
    }

    /// How it stands, now and as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The node came up with this state: an orderly stop proves from now on that it is the newest.
    pub fn came_up(&self) {
        if let Some(work) = &self.work {
            work.came_up.store(true, Ordering::Release);
        }
    }

    /// Writes as channels change, until `stop`. Call [`Keeper::last`] when the node has ended.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let Some(work) = &self.work else { return };
        let mut changes = work.changes.clone();
        // The first of this run: a snapshot may be old, or there is none yet.
        let mut done = Changes { any: u64::MAX, set: u64::MAX };
        let keep = async {
            loop {
                let now = *changes.borrow_and_update();
                if now != done && self.clone().snapshot().await {
                    done = now;
                }
                self.clone().mirror(true).await;
                let pause = tokio::time::sleep(PAUSE);
                tokio::pin!(pause);
                // While channels only change, the pause is kept; a channel that comes or goes ends it.
                loop {
                    tokio::select! {
                        () = &mut pause => break,
                        changed = changes.changed() => {
                            if changed.is_err() || changes.borrow_and_update().set != now.set { break }
                            self.note_behind();
                        }
                    }
                }
            }
        };
        stop.run_until_cancelled(keep).await;
    }

    /// The last snapshot and mirroring, after the node's last write.
    pub async fn last(self: Arc<Self>) {
        self.clone().snapshot().await;
        self.mirror(false).await;
    }

    fn note_behind(&self) {
        let now = self.clock.now();
        self.standing.send_modify(|standing| {
            standing.behind_since.get_or_insert(now);
        });
    }

    async fn snapshot(self: Arc<Self>) -> bool {
        let this = Arc::clone(&self);
        tokio::task::spawn_blocking(move || this.write_snapshot()).await.unwrap_or(false)
    }

    async fn mirror(self: Arc<Self>, running: bool) {
        let this = Arc::clone(&self);
        let written = tokio::task::spawn_blocking(move || this.write_mirror(running)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "how far the channel state got could not be noted");
        }
    }

    /// Whether every copy is in place.
    fn write_snapshot(&self) -> bool {
        let Some(work) = &self.work else { return true };
        let (generation, rows) = match work.store.view(belongs_in_snapshot) {
            Ok(view) => view,
            Err(error) => {
                tracing::warn!(%error, "the channel state could not be read for a snapshot");
                return false;
            }
        };
        let now = self.clock.now();
        let label = snapshot::label_for(&self.place, generation, &rows, now);
        let written: Vec<_> =
            self.place
                .snapshots()
                .map(|path| {
                    let done = self.place.ready_for(&path).and_then(|()| {
                        snapshot::write(&self.place, &path, &label, &rows, self.entropy.as_ref())
                    });
                    (path, done)
                })
                .collect();
        let all = written.iter().all(|(_, done)| done.is_ok());
        self.standing.send_modify(|standing| {
            standing.channels = label.channels.len();
            standing.generation = label.generation.number;
            if all {
                standing.behind_since = None;
            } else {
                standing.behind_since.get_or_insert(now);
            }
            for (copy, (path, done)) in standing.copies.iter_mut().zip(written) {
                note(copy, done, &path, now);
            }
        });
        all
    }

    fn write_mirror(&self, running: bool) -> Result<(), RescueError> {
        let Some(work) = &self.work else { return Ok(()) };
        // Read before the count: a change in between is told the next time as well.
        let changes = *work.changes.borrow();
        let generation = work.store.generation()?;
        let mut last = work.mirrored.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0.generation == generation && last.0.running == running {
            return Ok(());
        }
        let channels_at = if last.1.any == changes.any { last.0.channels_at } else { generation.number };
        // A stop of a run in which the node did not come up proves nothing of what was found.
        let doubt = last.0.doubt && (running || !work.came_up.load(Ordering::Acquire));
        let mirrored = Mirrored { generation, channels_at, running, doubt };
        mirrored.write(&self.place)?;
        *last = (mirrored, changes);
        Ok(())
    }
}

fn note(copy: &mut SnapshotCopy, done: Result<u64, RescueError>, path: &std::path::Path, now: Timestamp) {
    match done {
        Ok(bytes) => {
            if copy.error.take().is_some() {
                tracing::info!(path = %path.display(), "the recovery snapshot is written again");
            }
            (copy.written_at, copy.bytes) = (Some(now), bytes);
        }
        Err(error) => {
            if copy.error.is_none() {
                tracing::error!(%error, "the recovery snapshot could not be written");
            }
            copy.error = Some(error.to_string());
        }
    }
}

/// What is in place already.
fn copies(place: &Place) -> Vec<SnapshotCopy> {
    let copy = |file: PathBuf| {
        let written_at = snapshot::label(place, &file).ok().flatten().map(|label| label.written_at);
        let bytes = std::fs::metadata(&file).map(|found| found.len()).unwrap_or_default();
        SnapshotCopy { file, written_at, bytes, error: None }
    };
    place.snapshots().map(copy).collect()
}

/// The generation that a store stands at when it is opened to run on, with what the mirror said.
pub(super) fn mirrored_at(generation: Reach, before: Option<Mirrored>) -> Mirrored {
    let doubt = before.as_ref().is_none_or(|before| before.running || before.doubt);
    let before = before.filter(|before| before.generation == generation);
    // Where the last stop was not orderly, any write may have been a channel's.
    let channels_at = before.map_or(generation.number, |before| before.channels_at);
    Mirrored { generation, channels_at, running: true, doubt }
}
