//! What waits for a block: every transaction here could be in the next one.
//!
//! That stays so by itself: heights and median times only grow, blocks come only from this mempool, and a
//! transaction leaves by replacement only together with its descendants. Order of arrival is parents first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bitcoin::constants::COINBASE_MATURITY;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf, Transaction, Txid, Weight};

use super::best::BestChain;
use super::coins::{Coin, Coins};
use super::locks;
use super::rejection::{Rejection, check_form, fee, relay_fee};

const MAX_TRANSACTIONS: usize = 10_000;
const MAX_ANCESTORS: usize = 25;
const MAX_REPLACED: usize = 100;
const MAX_SIGOPS: usize = 16_000;
/// A transaction that waits, and what is known of it.
#[derive(Clone, Debug)]
pub struct MempoolEntry {
    /// The transaction.
    pub tx: Transaction,
    /// Inputs less outputs.
    pub fee: Amount,
    /// Its weight.
    pub weight: Weight,
    /// Seconds since the Unix epoch when it came.
    pub time_secs: u64,
    /// The tip's height when it came.
    pub height: u32,
    /// The transactions here that it spends from.
    pub parents: Vec<Txid>,
    /// The transactions here that spend from it.
    pub children: Vec<Txid>,
    /// It and all that it depends on here.
    pub ancestors: Family,
    /// It and all that depends on it here.
    pub descendants: Family,
}

/// A transaction together with its relatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// How many, itself included.
    pub count: usize,
    /// Their virtual bytes.
    pub vbytes: u64,
    /// Their fees.
    pub fees: Amount,
}

#[derive(Debug)]
struct Waiting {
    tx: Transaction,
    fee: Amount,
    weight: Weight,
    sigops: usize,
    time_secs: u64,
    height: u32,
    arrival: u64,
}

#[derive(Debug, Default)]
pub(super) struct Mempool {
    waiting: HashMap<Txid, Waiting>,
    arrivals: BTreeMap<u64, Txid>,
    spenders: HashMap<OutPoint, Txid>,
    next_arrival: u64,
}

/// Whether the block at `next_height` may spend it.
pub(super) fn is_mature(coin: &Coin, next_height: u32) -> bool {
    !coin.is_coinbase || coin.height + COINBASE_MATURITY <= next_height
}

impl Mempool {
    /// Takes a transaction in; false when it was here.
    pub(super) fn submit(
        &mut self,
        tx: Transaction,
        best: &BestChain,
        coins: &Coins,
        now_secs: u64,
    ) -> Result<bool, Rejection> {
        let txid = tx.compute_txid();
        if self.waiting.contains_key(&txid) {
            return Ok(false);
        }
        if (0u32..).zip(&tx.output).any(|(vout, _)| coins.get(&OutPoint { txid, vout }).is_some()) {
            return Err(Rejection::AlreadyConfirmed);
        }
        check_form(&tx)?;
        if !locks::is_final(&tx, best) {
            return Err(Rejection::NotFinal);
        }
        let spent = self.spent_coins(&tx, best, coins)?;
        if !locks::ages_suffice(&tx, &spent, best) {
            return Err(Rejection::TooYoung);
        }
        if spent.iter().any(|coin| !is_mature(coin, best.height() + 1)) {
            return Err(Rejection::Immature);
        }
        let fee = fee(&tx, &spent)?;
        let weight = tx.weight();
        let needed = relay_fee(weight);
        if fee < needed {
            return Err(Rejection::FeeTooLow { paid: fee.to_sat(), needed: needed.to_sat() });
        }
        let outputs: HashMap<_, _> =
            tx.input.iter().zip(&spent).map(|(i, coin)| (i.previous_output, coin.output.clone())).collect();
        let sigops = tx.total_sigop_cost(|outpoint| outputs.get(outpoint).cloned());
        if sigops > MAX_SIGOPS {
            return Err(Rejection::TooLarge("bad-txns-too-many-sigops"));
        }
        let replaced = self.replaced_by(&tx, fee, weight)?;
        if self.ancestors(&tx).len() + 1 > MAX_ANCESTORS {
            return Err(Rejection::TooManyAncestors);
        }
        if self.waiting.len() - replaced.len() >= MAX_TRANSACTIONS {
            return Err(Rejection::Full);
        }
        replaced.iter().for_each(|txid| self.remove(txid));

        let arrival = self.next_arrival;
        self.next_arrival += 1;
        self.arrivals.insert(arrival, txid);
        self.spenders.extend(tx.input.iter().map(|input| (input.previous_output, txid)));
        let waiting =
            Waiting { tx, fee, weight, sigops, time_secs: now_secs, height: best.height(), arrival };
        self.waiting.insert(txid, waiting);
        Ok(true)
    }

    fn spent_coins(&self, tx: &Transaction, best: &BestChain, coins: &Coins) -> Result<Vec<Coin>, Rejection> {
        let coin_of = |outpoint: &OutPoint| {
            coins.get(outpoint).cloned().or_else(|| self.made_here(outpoint, best.height()))
        };
        let found: Option<Vec<Coin>> = tx.input.iter().map(|input| coin_of(&input.previous_output)).collect();
        found.ok_or(Rejection::MissingInputs)
    }

    /// What must go for `tx` to come: the transactions that spend the same coins, and their descendants (BIP125).
    fn replaced_by(
        &self,
        tx: &Transaction,
        fee: Amount,
        weight: Weight,
    ) -> Result<BTreeSet<Txid>, Rejection> {
        let direct: BTreeSet<Txid> =
            tx.input.iter().filter_map(|input| self.spenders.get(&input.previous_output).copied()).collect();
        let mut replaced = direct.clone();
        for txid in &direct {
            replaced.extend(self.descendants(txid));
        }
        if replaced.is_empty() {
            return Ok(replaced);
        }
        if replaced.len() > MAX_REPLACED {
            return Err(Rejection::NotReplacing("too many potential replacements"));
        }
        if tx.input.iter().any(|input| replaced.contains(&input.previous_output.txid)) {
            return Err(Rejection::NotReplacing("bad-txns-spends-conflicting-tx"));
        }
        let out_fees: Amount = replaced.iter().map(|txid| self.waiting[txid].fee).sum();
        let beats = |other: &Waiting| {
            // fee / weight, compared crosswise in integers
            u128::from(fee.to_sat()) * u128::from(other.weight.to_wu())
                > u128::from(other.fee.to_sat()) * u128::from(weight.to_wu())
        };
        let pays_its_way = out_fees.checked_add(relay_fee(weight)).is_some_and(|needed| fee >= needed);
        if !pays_its_way || !direct.iter().all(|txid| beats(&self.waiting[txid])) {
            return Err(Rejection::NotReplacing("insufficient fee"));
        }
        Ok(replaced)
    }

    fn ancestors(&self, tx: &Transaction) -> BTreeSet<Txid> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&Transaction> = vec![tx];
        while let Some(tx) = open.pop() {
            for input in &tx.input {
                let parent = input.previous_output.txid;
                if let Some(waiting) = self.waiting.get(&parent)
                    && found.insert(parent)
                {
                    open.push(&waiting.tx);
                }
            }
        }
        found
    }

    fn descendants(&self, txid: &Txid) -> BTreeSet<Txid> {
        let mut found = BTreeSet::new();
        let mut open = vec![*txid];
        while let Some(txid) = open.pop() {
            open.extend(self.children(&txid).into_iter().filter(|child| found.insert(*child)));
        }
        found
    }

    fn children(&self, txid: &Txid) -> Vec<Txid> {
        let outputs = self.waiting.get(txid).map_or(0, |waiting| waiting.tx.output.len());
        let mut children: Vec<Txid> = (0u32..)
            .take(outputs)
            .filter_map(|vout| self.spenders.get(&OutPoint { txid: *txid, vout }).copied())
            .collect();
        children.sort_unstable();
        children.dedup();
        children
    }

    fn remove(&mut self, txid: &Txid) {
        if let Some(gone) = self.waiting.remove(txid) {
            self.arrivals.remove(&gone.arrival);
            for input in &gone.tx.input {
                self.spenders.remove(&input.previous_output);
            }
        }
    }

    /// Forgets what a block confirmed.
    pub(super) fn confirmed(&mut self, block: &Block) {
        for tx in &block.txdata {
            self.remove(&tx.compute_txid());
        }
    }

    /// Transactions for a block within its limits, parents first, and the sum of their fees.
    pub(super) fn select(&self, room: Weight, sigops_room: usize) -> (Vec<Transaction>, Amount) {
        let (mut weight, mut sigops, mut fees) = (Weight::ZERO, 0, Amount::ZERO);
        let mut chosen = Vec::new();
        let mut left_out = BTreeSet::new();
        for txid in self.arrivals.values() {
            let candidate = &self.waiting[txid];
            let orphaned = candidate.tx.input.iter().any(|i| left_out.contains(&i.previous_output.txid));
            if orphaned || weight + candidate.weight > room || sigops + candidate.sigops > sigops_room {
                left_out.insert(*txid);
                continue;
            }
            weight += candidate.weight;
            sigops += candidate.sigops;
            fees += candidate.fee;
            chosen.push(candidate.tx.clone());
        }
        (chosen, fees)
    }

    pub(super) fn spends(&self, outpoint: &OutPoint) -> bool {
        self.spenders.contains_key(outpoint)
    }

    /// Outputs made here that pay `script` and that nothing here spends, oldest first.
    pub(super) fn unspent_of(&self, script: &ScriptBuf) -> Vec<(OutPoint, Amount)> {
        let of = |txid: &Txid| {
            let txid = *txid;
            (0u32..)
                .zip(&self.waiting[&txid].tx.output)
                .map(move |(vout, output)| (OutPoint { txid, vout }, output))
        };
        self.arrivals
            .values()
            .flat_map(of)
            .filter(|(outpoint, output)| output.script_pubkey == *script && !self.spends(outpoint))
            .map(|(outpoint, output)| (outpoint, output.value))
            .collect()
    }

    fn made_here(&self, outpoint: &OutPoint, tip_height: u32) -> Option<Coin> {
        let waiting = self.waiting.get(&outpoint.txid)?;
        let output = waiting.tx.output.get(usize::try_from(outpoint.vout).ok()?)?;
        Some(Coin { output: output.clone(), height: tip_height + 1, is_coinbase: false })
    }

    /// An output as it will be after the next block.
    pub(super) fn coin(&self, outpoint: &OutPoint, coins: &Coins, tip_height: u32) -> Option<Coin> {
        if self.spends(outpoint) {
            return None;
        }
        coins.get(outpoint).cloned().or_else(|| self.made_here(outpoint, tip_height))
    }

    pub(super) fn txids(&self) -> Vec<Txid> {
        self.arrivals.values().copied().collect()
    }

    pub(super) fn entry(&self, txid: &Txid) -> Option<MempoolEntry> {
        let waiting = self.waiting.get(txid)?;
        let mut parents: Vec<Txid> = waiting
            .tx
            .input
            .iter()
            .map(|input| input.previous_output.txid)
            .filter(|parent| self.waiting.contains_key(parent))
            .collect();
        parents.sort_unstable();
        parents.dedup();
        Some(MempoolEntry {
            tx: waiting.tx.clone(),
            fee: waiting.fee,
            weight: waiting.weight,
            time_secs: waiting.time_secs,
            height: waiting.height,
            parents,
            children: self.children(txid),
            ancestors: self.family(waiting, &self.ancestors(&waiting.tx)),
            descendants: self.family(waiting, &self.descendants(txid)),
        })
    }

    fn family(&self, one: &Waiting, relatives: &BTreeSet<Txid>) -> Family {
        let mut family = Family { count: 0, vbytes: 0, fees: Amount::ZERO };
        for member in relatives.iter().map(|txid| &self.waiting[txid]).chain([one]) {
            family.count += 1;
            family.vbytes += member.weight.to_vbytes_ceil();
            family.fees += member.fee;
        }
        family
    }
}
