//! Transactions that the library could not hand to its chain source.
//!
//! The library tries once. When the source does not answer in that moment, it forgets a transaction that it makes
//! only once: an agreed close (BOLT 2, `closing_signed`), a channel's funding, what the wallet sends. The bytes stand
//! in its log, and only there; so they are taken from it, kept on the disk, and handed over by us (`handover`).
//!
//! Invariants: what is here was made and signed by the library to be published now, and the library counts on it.
//! Each stays until a block has it, or has another one that spends what it spends; until it is withdrawn; or for two
//! weeks. What a source says is no reason: it may be behind, out of order, or have its mempool still to load, and one
//! that took a transaction may lose it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize, deserialize_hex, serialize};
use bitcoin::{OutPoint, Transaction, Txid};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::ports::{KeyValue, KvKey, UnsentView};
use crate::types::Timestamp;

/// How the library's record with a transaction's bytes begins, and where it comes from (`chain/*.rs`, three places).
const TOLD: &str = "Failed broadcast transaction bytes: ";
const TELLER: &str = "ldk_node::chain";

/// Our own namespace beside the library's.
const NAMESPACE: &str = "tollhouse_unsent";

/// So many are kept at most: a claim has a new transaction for each higher fee.
const MOST: usize = 200;

/// What no source took for so long will not be taken.
const HOPELESS: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Set in the kept height of one that a source had: no height has that bit.
const HAD: u32 = 1 << 31;

/// What became of it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// No source was reached with it yet; why.
    Away(String),
    /// A source was reached, and does not take it now; its words.
    Refused(String),
    /// Another one that spends the same waits for a block, by fee or by the other side's choice.
    Outbid,
    /// A source has it. Until a block has it, too, it may be lost again.
    Taken,
}

/// One that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) transaction: Transaction,
    pub(super) stands: Stands,
    /// When it is handed over next, unless all are.
    pub(super) due: Timestamp,
    /// Up to which height it was looked for what spent its inputs; at first the height at which it came.
    pub(super) looked: u32,
    since: Timestamp,
}

impl Waiting {
    pub(super) fn txid(&self) -> Txid {
        self.transaction.compute_txid()
    }

    pub(super) fn spends(&self) -> impl Iterator<Item = OutPoint> + '_ {
        self.transaction.input.iter().map(|input| input.previous_output)
    }

    /// Whether a source was seen to have it.
    fn is_taken(&self) -> bool {
        self.stands == Stands::Taken
    }

    /// When it came, up to where it was looked and whether a source had it then, and its bytes.
    fn bytes(&self) -> Vec<u8> {
        let since = self.since.millis().to_be_bytes();
        let looked = self.looked | if self.is_taken() { HAD } else { 0 };
        [&since[..], &looked.to_be_bytes(), &serialize(&self.transaction)].concat()
    }

    fn read(bytes: &[u8]) -> Option<Waiting> {
        let (since, rest) = bytes.split_first_chunk::<8>()?;
        let (looked, rest) = rest.split_first_chunk::<4>()?;
        let since = Timestamp::from_millis(u64::from_be_bytes(*since));
        let looked = u32::from_be_bytes(*looked);
        let stands = match looked & HAD {
            0 => Stands::Away("it was not tried since the start".to_owned()),
            // No source lost it but for a reason, and it is asked again at once.
            _ => Stands::Taken,
        };
        Some(Waiting {
            transaction: deserialize(rest).ok()?,
            stands,
            due: since,
            looked: looked & !HAD,
            since,
        })
    }
}

/// The transactions that wait, and where they are kept.
#[derive(Default)]
pub(super) struct Unsent {
    kept: Option<(Arc<dyn KeyValue>, Arc<dyn Clock>)>,
    waiting: Mutex<BTreeMap<Txid, Waiting>>,
    /// Those that can never be in a block, so that nothing that spends them can: seen in this run.
    dead: Mutex<BTreeSet<Txid>>,
    came: Notify,
}

impl Unsent {
    /// Kept in `store`.
    pub(super) fn kept_in(store: Arc<dyn KeyValue>, clock: Arc<dyn Clock>) -> Unsent {
        Unsent { kept: Some((store, clock)), ..Unsent::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Txid, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead(&self) -> MutexGuard<'_, BTreeSet<Txid>> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, waiting: &Waiting) {
        let Some((store, _)) = &self.kept else { return };
        let key = waiting.txid().to_string();
        let at = KvKey { primary: NAMESPACE, secondary: "", key: &key };
        if let Err(error) = store.write(&at, &waiting.bytes()) {
            tracing::error!(%error, txid = key, "a transaction that waits could not be kept: it is tried until the stop");
        }
    }

    /// Reads what an earlier run left.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn load(&self) -> io::Result<()> {
        let Some((store, _)) = &self.kept else { return Ok(()) };
        for key in store.list(NAMESPACE, "")? {
            let at = KvKey { primary: NAMESPACE, secondary: "", key: &key };
            let Some(bytes) = store.read(&at)? else { continue };
            match Waiting::read(&bytes) {
                Some(one) => {
                    self.waiting().entry(one.txid()).or_insert(one);
                }
                None => tracing::error!(txid = key, "a transaction that waits cannot be read"),
            }
        }
        Ok(())
    }

    /// Whether a record of the library's may tell of one.
    pub(super) fn may_tell(&self, module: &str) -> bool {
        self.kept.is_some() && module.starts_with(TELLER)
    }

    /// Takes in a record of the library's log.
    pub(super) fn told(&self, text: &str) {
        let Some((hex, (_, clock))) = text.strip_prefix(TOLD).zip(self.kept.as_ref()) else { return };
        let Ok(transaction) = deserialize_hex::<Transaction>(hex.trim()) else {
            tracing::error!("the library told of a transaction that it could not publish, in unknown words");
            return;
        };
        let (txid, now) = (transaction.compute_txid(), clock.now());
        if self.waiting().contains_key(&txid) {
            return;
        }
        {
            let mut dead = self.dead();
            if transaction.input.iter().any(|input| dead.contains(&input.previous_output.txid)) {
                // What pays a higher fee for a close that another one came before.
                remember(&mut dead, txid);
                return;
            }
        }
        let stands = Stands::Away("the library could not hand it over".to_owned());
        let one = Waiting { transaction, stands, due: now, looked: 0, since: now };
        self.write(&one);
        self.waiting().insert(txid, one);
        for txid in self.too_many() {
            tracing::warn!(%txid, "too many transactions wait for the chain source: one of them is let go");
            self.forget(txid);
        }
        self.came.notify_one();
    }

    /// What goes when there are more than there may be: first what a source has, or what was outbid; then the oldest
    /// that hang on another one, for these are made anew with each higher fee; then the oldest.
    fn too_many(&self) -> Vec<Txid> {
        let waiting = self.waiting();
        let more = waiting.len().saturating_sub(MOST);
        let mut all: Vec<(bool, bool, Timestamp, Txid)> = waiting
            .iter()
            .map(|(txid, one)| {
                let settled = matches!(one.stands, Stands::Taken | Stands::Outbid);
                let hangs = one.spends().any(|spent| waiting.contains_key(&spent.txid));
                (!settled, !hangs, one.since, *txid)
            })
            .collect();
        all.sort_unstable();
        all.into_iter().take(more).map(|(.., txid)| txid).collect()
    }

    /// All that wait, in the order in which they came: a parent before what hangs on it.
    pub(super) fn in_order(&self) -> Vec<Waiting> {
        let mut all: Vec<Waiting> = self.waiting().values().cloned().collect();
        all.sort_by_key(|one| (one.since, one.txid()));
        all
    }

    /// Waits until there is one.
    pub(super) async fn some(&self) {
        while self.waiting().is_empty() {
            self.came.notified().await;
        }
    }

    /// Waits until another one comes.
    pub(super) async fn another(&self) {
        self.came.notified().await;
    }

    /// Notes how it stands, and when it is tried again; and up to where it was looked for what spent its inputs.
    pub(super) fn stands(&self, txid: Txid, stands: Stands, due: Timestamp, looked: Option<u32>) {
        let mut all = self.waiting();
        let Some(one) = all.get_mut(&txid) else { return };
        let had = one.is_taken();
        (one.stands, one.due) = (stands, due);
        let changed = looked.filter(|height| *height > one.looked);
        one.looked = changed.unwrap_or(one.looked);
        let noted = (changed.is_some() || had != one.is_taken()).then(|| one.clone());
        drop(all);
        if let Some(one) = noted {
            self.write(&one);
        }
    }

    /// Drops it, for good.
    pub(super) fn forget(&self, txid: Txid) {
        self.waiting().remove(&txid);
        let Some((store, _)) = &self.kept else { return };
        let key = txid.to_string();
        if let Err(error) = store.remove(&KvKey { primary: NAMESPACE, secondary: "", key: &key }) {
            // It is asked about once more after the next start, and the chain tells what became of it.
            tracing::warn!(%error, txid = key, "a transaction that waits no more could not be taken off the disk");
        }
    }

    /// Drops it and what hangs on it: another one that spends the same is in a block.
    pub(super) fn superseded(&self, txid: Txid) {
        let mut gone = vec![txid];
        while let Some(txid) = gone.pop() {
            remember(&mut self.dead(), txid);
            gone.extend(self.hanging_on(txid));
            self.forget(txid);
        }
    }

    fn hanging_on(&self, txid: Txid) -> Vec<Txid> {
        let hangs = |one: &Waiting| one.spends().any(|spent| spent.txid == txid);
        self.waiting().iter().filter(|(_, one)| hangs(one)).map(|(txid, _)| *txid).collect()
    }

    /// Drops what was tried for two weeks.
    pub(super) fn drop_hopeless(&self) {
        let Some((_, clock)) = &self.kept else { return };
        let now = clock.now();
        for one in self.in_order().into_iter().filter(|one| one.since.plus(HOPELESS) <= now) {
            tracing::error!(txid = %one.txid(), stands = ?one.stands, "a transaction was in no block for two weeks: it is handed over no more");
            self.forget(one.txid());
        }
    }

    /// It shall not be published any more, nor what hangs on it, unless a source has it already.
    pub(super) fn withdraw(&self, txid: Txid) {
        let mut gone = vec![txid];
        while let Some(txid) = gone.pop() {
            let known = self.waiting().get(&txid).map(|one| one.stands.clone());
            if !matches!(known, Some(Stands::Away(_) | Stands::Refused(_))) {
                continue;
            }
            tracing::info!(%txid, "a transaction that no chain source took is withdrawn");
            gone.extend(self.hanging_on(txid));
            self.forget(txid);
        }
    }

    /// How another one stands that waits, too, and that `one` spends of, where no source has that.
    pub(super) fn parent(&self, one: &Waiting) -> Option<Stands> {
        let waiting = self.waiting();
        let stands =
            one.spends().filter_map(|spent| waiting.get(&spent.txid)).map(|parent| parent.stands.clone());
        let open: Vec<Stands> = stands.filter(|stands| *stands != Stands::Taken).collect();
        open.iter().find(|stands| **stands == Stands::Outbid).or(open.first()).cloned()
    }

    /// Whether no source was reached with it yet, so that its coins are not free.
    pub(super) fn is_untold(&self, txid: Txid) -> bool {
        self.waiting().get(&txid).is_some_and(|one| matches!(one.stands, Stands::Away(_)))
    }

    /// For whoever looks: those that no source has.
    pub(super) fn view(&self) -> Vec<UnsentView> {
        let view = |one: Waiting| {
            let why = match &one.stands {
                Stands::Away(why) => why.clone(),
                Stands::Refused(words) => format!("the chain source says: {words}"),
                Stands::Outbid | Stands::Taken => return None,
            };
            let spends = one.spends().map(|spent| spent.to_string()).collect();
            Some(UnsentView { txid: one.txid().to_string(), spends, why, since: one.since })
        };
        self.in_order().into_iter().filter_map(view).collect()
    }
}

/// Notes one that can never be in a block. So many are more than hang on what may be told at all.
fn remember(dead: &mut BTreeSet<Txid>, txid: Txid) {
    if dead.len() >= 10 * MOST {
        dead.clear();
    }
    dead.insert(txid);
}

#[cfg(test)]
mod tests {
    use bitcoin::TxIn;
    use bitcoin::consensus::encode::serialize_hex;

    use super::*;
    use crate::clock::FixedClock;
    use crate::store::NodeStore;

    const BEGIN: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn spending(outpoint: OutPoint) -> Transaction {
        Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![TxIn { previous_output: outpoint, ..TxIn::default() }],
            output: vec![bitcoin::TxOut::minimal_non_dust(bitcoin::ScriptBuf::new())],
        }
    }

    fn told(unsent: &Unsent, transaction: &Transaction) -> Txid {
        unsent.told(&format!("{TOLD}{}", serialize_hex(transaction)));
        transaction.compute_txid()
    }

    struct World {
        folder: tempfile::TempDir,
        clock: Arc<FixedClock>,
    }

    impl World {
        fn new() -> World {
            World { folder: tempfile::tempdir().expect("a directory"), clock: FixedClock::at(BEGIN) }
        }

        /// As after a start.
        fn open(&self) -> Unsent {
            let store = NodeStore::open(&self.folder.path().join("channels.db")).expect("a store");
            let unsent = Unsent::kept_in(Arc::new(store), self.clock.clone());
            unsent.load().expect("it is read");
            unsent
        }
    }

    fn waiting(unsent: &Unsent) -> Vec<Txid> {
        unsent.in_order().iter().map(Waiting::txid).collect()
    }

    #[test]
    fn one_waits_over_a_restart_in_its_order_until_it_is_forgotten() {
        let world = World::new();
        let parent = spending(OutPoint::null());
        let child = spending(OutPoint::new(parent.compute_txid(), 0));
        let unsent = world.open();
        assert!(unsent.may_tell("ldk_node::chain::bitcoind") && !unsent.may_tell("lightning::ln::channel"));
        unsent.told("Successfully broadcast transaction 00");
        unsent.told(&format!("{TOLD}zz"));
        let first = told(&unsent, &parent);
        world.clock.advance(Duration::from_secs(1));
        let ids = [first, told(&unsent, &child)];
        told(&unsent, &parent);
        assert_eq!(waiting(&unsent), ids, "each once, in the order in which they came");
        assert_eq!(unsent.view()[1].spends, [format!("{first}:0")]);
        unsent.stands(first, Stands::Taken, BEGIN, Some(700));
        assert_eq!(unsent.view().len(), 1, "a source has the first");
        assert!(!unsent.is_untold(first) && unsent.is_untold(ids[1]));
        drop(unsent);

        let unsent = world.open();
        assert_eq!(waiting(&unsent), ids, "over a restart: the source may have lost it since");
        let heights: Vec<u32> = unsent.in_order().iter().map(|one| one.looked).collect();
        assert_eq!(heights, [700, 0]);
        unsent.forget(first);
        drop(unsent);
        let unsent = world.open();
        assert_eq!(waiting(&unsent), ids[1..]);
        world.clock.advance(HOPELESS);
        unsent.drop_hopeless();
        assert!(waiting(&unsent).is_empty() && waiting(&world.open()).is_empty());
    }

    #[test]
    fn one_is_withdrawn_with_what_hangs_on_it_unless_a_source_has_it() {
        let world = World::new();
        let unsent = world.open();
        let parent = spending(OutPoint::null());
        let id = told(&unsent, &parent);
        told(&unsent, &spending(OutPoint::new(id, 0)));
        let other = told(&unsent, &spending(OutPoint { vout: 9, ..OutPoint::null() }));
        unsent.stands(other, Stands::Taken, BEGIN, None);
        unsent.withdraw(other);
        unsent.withdraw(id);
        assert_eq!(waiting(&unsent), [other]);
        assert_eq!(waiting(&world.open()), [other], "on the disk, too");
    }

    #[test]
    fn what_hangs_on_a_close_that_another_one_came_before_goes_with_it() {
        let world = World::new();
        let unsent = world.open();
        let close = told(&unsent, &spending(OutPoint::null()));
        let other = told(&unsent, &spending(OutPoint { vout: 9, ..OutPoint::null() }));
        let child = spending(OutPoint::new(close, 0));
        told(&unsent, &child);
        let child =
            unsent.in_order().into_iter().find(|one| one.txid() == child.compute_txid()).expect("it waits");
        unsent.stands(close, Stands::Outbid, BEGIN, None);
        assert_eq!(unsent.parent(&child), Some(Stands::Outbid));
        unsent.superseded(close);
        assert_eq!(waiting(&unsent), [other]);
        // A later try to pay more for it, and what spends that.
        let again = told(&unsent, &spending(OutPoint::new(close, 1)));
        told(&unsent, &spending(OutPoint::new(again, 0)));
        assert_eq!(waiting(&unsent), [other]);
        assert_eq!(waiting(&world.open()), [other], "on the disk, too");
    }

    #[test]
    fn what_is_made_only_once_stays_longest_when_there_are_too_many() {
        let world = World::new();
        let unsent = world.open();
        let once = told(&unsent, &spending(OutPoint::null()));
        for vout in 0..=u32::try_from(MOST).expect("small") {
            world.clock.advance(Duration::from_secs(30));
            told(&unsent, &spending(OutPoint::new(once, vout)));
        }
        let kept = waiting(&unsent);
        assert_eq!(kept.len(), MOST);
        assert_eq!(kept[0], once, "the oldest claim went, not what they all hang on");
    }
}
