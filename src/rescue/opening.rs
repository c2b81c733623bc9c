//! Opens the channel state, unless it is an old copy or gone.

use std::path::PathBuf;
use std::sync::Arc;

use super::RescueError;
use super::keeper::{Keeper, mirrored_at};
use super::mirror::{self, Mirrored};
use super::place::Place;
use super::recovery::JUMP;
use super::watched::{Untouched, Watched};
use crate::clock::{Clock, Entropy};
use crate::ports::KeyValue;
use crate::store::{NodeStore, Reach, StoreError};

/// The channel state for the node, and who keeps the way back.
pub struct Opened {
    /// The node's bytes.
    pub store: Arc<dyn KeyValue>,
    /// Keeps the way back.
    pub keeper: Arc<Keeper>,
    /// Which memory the node has ([`NodeStore::memory`]); `None` when it must not start on it.
    pub memory: Option<i64>,
    /// Why the node must not start, and what to do; the store is not touched then.
    pub barred: Option<String>,
}

/// Opens the channel state, or says why the node must not start on it.
///
/// # Errors
/// When a file cannot be used.
pub fn open(place: Place, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Opened, RescueError> {
    let newest = match mirror::newest(&place) {
        Ok(newest) => newest,
        // Nothing tells then whether it is an old copy. A process that ends would only be started again.
        Err(error) => return Ok(bar(place.clone(), unknown(&place, &error), clock, entropy)),
    };
    let path = place.store();
    let there = path.try_exists().map_err(RescueError::file(&path))?;
    if let (false, Some((_, says))) = (there, &newest) {
        let why = format!(
            "{} is gone, but {} tells of it: {}",
            path.display(),
            says.display(),
            "a node that begins anew would not know its channels. Put back no old copy; run `tollhouse recover`"
        );
        return Ok(bar(place, why, clock, entropy));
    }
    let opened =
        NodeStore::open(&path).and_then(|store| Ok((store.generation()?, store.memory()?, Arc::new(store))));
    let (generation, memory, store) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(bar(place, unreadable(&path, &error), clock, entropy)),
    };
    if let Some(why) = why_old(&generation, newest.as_ref()) {
        return Ok(bar(place, why, clock, entropy));
    }
    let mirrored = mirrored_at(generation, Mirrored::read(&place)?);
    mirrored.write(&place)?;
    let watched = Arc::new(Watched::new(Arc::clone(&store)).map_err(RescueError::file(&path))?);
    let keeper = Keeper::new(place, store, watched.changes(), mirrored, clock, entropy);
    Ok(Opened { store: watched, keeper: Arc::new(keeper), memory: Some(memory), barred: None })
}

fn bar(place: Place, why: String, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Opened {
    let keeper = Arc::new(Keeper::barred(place, why.clone(), clock, entropy));
    Opened { store: Arc::new(Untouched), keeper, memory: None, barred: Some(why) }
}

fn unknown(place: &Place, error: &RescueError) -> String {
    format!(
        "{error}, so it cannot be told whether {} is an old copy. No peer is contacted: on old channel state one \
         could take a channel's coins. If it is the file that this node ran with last, move {} away and start \
         again; else run `tollhouse recover`",
        place.store().display(),
        place.mirror().display()
    )
}

fn unreadable(path: &std::path::Path, error: &StoreError) -> String {
    format!(
        "{} cannot be opened: {error}. Nothing was changed. If the disk was full or the file was in use, start \
         again; else run `tollhouse recover`, which uses the recovery snapshot",
        path.display()
    )
}

/// Says so when a store is not the newest that was seen.
fn why_old(store: &Reach, newest: Option<&(Reach, PathBuf)>) -> Option<String> {
    let (newest, says) = newest?;
    let what = if store.lineage != newest.lineage {
        "channels.db is another one than this node ran with last".to_owned()
    } else if store.number < newest.number {
        match newest.number - store.number {
            // No count of writes.
            JUMP.. => "channels.db is an old copy: it is from before a recovery".to_owned(),
            missing => {
                format!("channels.db is an old copy: the newest writes are not in it, {missing} in number")
            }
        }
    } else {
        return None;
    };
    Some(format!(
        "{what} (says {}). On old channel state a peer could take a channel's coins, so no peer is contacted. Put \
         the newest channels.db back if you have it, else run `tollhouse recover`",
        says.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bitcoin::Network;
    use tokio_util::task::TaskTracker;
    use zeroize::Zeroizing;

    use super::*;
    use crate::clock::{CountingEntropy, FixedClock};
    use crate::ports::KvKey;
    use crate::types::Timestamp;

    fn place(dir: &Path) -> Place {
        let key = Zeroizing::new([1; 32]);
        let second = Some(dir.join("elsewhere"));
        Place { dir: dir.to_owned(), second, network: Network::Regtest, node_id: "02ab".to_owned(), key }
    }

    fn opened(dir: &Path) -> Opened {
        open(place(dir), FixedClock::at(Timestamp::default()), Arc::new(CountingEntropy::default())).unwrap()
    }

    const MONITOR: KvKey<'_> = KvKey { primary: "monitors", secondary: "", key: "aa_0" };

    #[tokio::test]
    async fn an_old_copy_is_barred_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let first = opened(dir);
        assert_eq!(first.barred, None);
        first.store.write(&MONITOR, b"one").unwrap();
        first.keeper.clone().last().await;
        let copy = first.store.keep_copy().unwrap();
        first.store.write(&MONITOR, b"two").unwrap();
        first.keeper.last().await;
        drop(first.store);

        let again = opened(dir);
        assert_eq!(again.barred, None);
        assert_eq!(again.store.read(&MONITOR).unwrap().as_deref(), Some(&b"two"[..]));
        again.keeper.last().await;
        drop(again.store);

        std::fs::copy(&copy, dir.join("channels.db")).unwrap();
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.join(format!("channels.db{end}")));
        }
        for (gone, says) in [
            ("", "channels.generation"),
            ("channels.generation", "snapshot"),
            ("channels.snapshot", ".snapshot"),
        ] {
            let _ = std::fs::remove_file(dir.join(gone));
            let old = opened(dir);
            let why = old.barred.unwrap();
            assert!(
                why.contains("an old copy: the newest writes are not in it, 1 in number")
                    && why.contains(says),
                "{why}"
            );
            assert!(old.store.write(&MONITOR, b"three").is_err());
            old.keeper.clone().last().await;
            assert_eq!(old.keeper.standing().borrow().barred, Some(why));
        }
        std::fs::write(dir.join("channels.generation"), b"{\"lineage\":").unwrap();
        let damaged = opened(dir).barred.unwrap();
        assert!(
            damaged.contains("damaged") && damaged.contains("move") && damaged.contains("tollhouse recover"),
            "{damaged}"
        );
        std::fs::remove_file(dir.join("channels.generation")).unwrap();
        std::fs::write(dir.join("channels.db"), b"no database").unwrap();
        let unreadable = opened(dir).barred.unwrap();
        assert!(unreadable.contains("cannot be opened"), "{unreadable}");
        std::fs::remove_file(dir.join("channels.db")).unwrap();
        let gone = opened(dir).barred.unwrap();
        assert!(gone.contains("is gone") && !dir.join("channels.db").exists(), "{gone}");
    }

    #[tokio::test]
    async fn a_stop_proves_the_state_only_where_the_node_came_up() {
        let folder = tempfile::tempdir().unwrap();
        // Each run: whether the node comes up, whether it stops in order; and what the mirror says then.
        let runs = [
            (false, true, (false, true)),
            (true, true, (false, false)),
            (false, true, (false, false)),
            (true, false, (true, false)),
            (false, true, (false, true)),
            (false, true, (false, true)),
            (true, true, (false, false)),
        ];
        for (number, (up, in_order, said)) in runs.into_iter().enumerate() {
            let run = opened(folder.path());
            if up {
                run.keeper.came_up();
                run.store.write(&MONITOR, b"more").unwrap();
            }
            if in_order {
                run.keeper.last().await;
            }
            let mirrored = Mirrored::read(&place(folder.path())).unwrap().unwrap();
            assert_eq!((mirrored.running, mirrored.doubt), said, "run {number}");
        }
    }

    #[tokio::test]
    async fn a_snapshot_follows_the_channels() {
        let folder = tempfile::tempdir().unwrap();
        let opened = opened(folder.path());
        let stop = tokio_util::sync::CancellationToken::new();
        let run = TaskTracker::new().spawn(opened.keeper.clone().run(stop.clone()));
        opened.store.write(&MONITOR, b"one").unwrap();
        let seen = async {
            while opened.keeper.standing().borrow().channels < 1 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(4), seen).await.expect("at once");
        stop.cancel();
        run.await.unwrap();
        let standing = opened.keeper.standing().borrow().clone();
        assert_eq!(standing.copies.len(), 2);
        assert!(standing.copies.iter().all(|copy| copy.bytes > 0 && copy.error.is_none()), "{standing:?}");
    }
}
