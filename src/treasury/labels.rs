//! What a transaction of the on-chain wallet was for, as far as Tollhouse knows: from the moves of coins that it did and
//! from the channels' records. One wording for page, API and command line.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::{ChannelFees, Treasury, TreasuryError};
use crate::ports::ChainTx;
use crate::store::{ChannelRow, ORDER_KEYS, OperationRow};

/// So many of the newest operations and closed channels are looked through.
const RECENT: u32 = 1_000;

/// What a transaction was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Coins left; Tollhouse knows no more.
    Sent,
    /// Coins came; Tollhouse knows no more.
    Received,
    /// A channel was opened with them.
    ChannelOpened,
    /// They came back from a closed channel.
    ChannelClosed,
    /// They paid for a closing transaction to get into a block.
    CloseFee,
    /// They went into a channel that was open.
    SpliceIn,
    /// They came out of a channel that stays open.
    SpliceOut,
    /// They went to the vault.
    ToVault,
    /// They came from the vault.
    FromVault,
    /// They paid for an ordered channel.
    OrderPaid,
}

impl Purpose {
    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Purpose::Sent => "Sent",
            Purpose::Received => "Received",
            Purpose::ChannelOpened => "Channel opened",
            Purpose::ChannelClosed => "Back from a closed channel",
            Purpose::CloseFee => "Fee to close a channel by force",
            Purpose::SpliceIn => "Put into a channel",
            Purpose::SpliceOut => "Taken out of a channel",
            Purpose::ToVault => "Sent to the vault",
            Purpose::FromVault => "Came from the vault",
            Purpose::OrderPaid => "Paid for an ordered channel",
        }
    }
}

/// One transaction of the on-chain wallet, and what it was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WalletTx {
    /// The transaction.
    #[serde(flatten)]
    pub tx: ChainTx,
    /// What it was for, a stable word.
    pub purpose: Purpose,
    /// The same in words.
    pub label: &'static str,
    /// The operation that made it.
    pub operation: Option<i64>,
    /// The channel that it belongs to, where it was not made by an operation alone: its id, hexadecimal.
    pub channel_id: Option<String>,
}

/// The transaction that an operation made, as far as the node said it: a channel's is in its funding output.
pub fn transaction(row: &OperationRow) -> Option<&str> {
    let funding = || row.outcome["funding"].as_str()?.split(':').next();
    row.outcome["txid"].as_str().or_else(|| funding().filter(|_| row.kind == "open_channel"))
}

/// What is known of transactions, by their ids.
pub(super) struct Labels {
    /// The newest operation that made a transaction: its number, and what it was for.
    operations: BTreeMap<String, (i64, Purpose)>,
    /// Which channel a transaction opened, changed or closed.
    channels: BTreeMap<String, (Purpose, String)>,
    from_vault: BTreeSet<String>,
    /// What splices and closes cost.
    pub(super) fees: ChannelFees,
}

impl Treasury {
    /// Reads what is known. `from_vault` are transactions by which the vault paid.
    pub(super) async fn labels(&self, from_vault: BTreeSet<String>) -> Result<Labels, TreasuryError> {
        let parts = &self.0.parts;
        let recent = parts.ledger.operations(i64::MAX, RECENT).await?;
        let mut records = parts.ledger.closed_channels(RECENT).await?;
        let open = parts.node.view().await.channels;
        let open: Vec<&str> = open.iter().map(|channel| channel.local_id.as_str()).collect();
        records.extend(parts.ledger.channel_records(&open).await?);
        let addresses = parts.ledger.all_vault_addresses().await?;
        let vault = addresses.into_iter().map(|(_, address)| address).collect();
        let mut channels: BTreeMap<_, _> = records.iter().flat_map(of_channel).collect();
        let close_fees = parts.ledger.close_fees().await?;
        let fees = ChannelFees::of(&recent, &records).with(close_fees.iter().map(|paid| paid.fee_sat));
        let paid = close_fees.into_iter().map(|paid| (paid.txid, (Purpose::CloseFee, paid.channel_id)));
        channels.extend(paid);
        Ok(Labels { operations: by_transaction(&recent, &vault), channels, from_vault, fees })
    }
}

/// What was done by each transaction, once for all of them: a long history is labelled in one pass. `rows` are the
/// newest first; `vault` are the vault's addresses.
fn by_transaction(rows: &[OperationRow], vault: &BTreeSet<String>) -> BTreeMap<String, (i64, Purpose)> {
    let oldest_first = rows.iter().rev();
    let known =
        oldest_first.filter_map(|row| Some((transaction(row)?.to_owned(), (row.id, done_by(row, vault)))));
    known.collect()
}

fn done_by(row: &OperationRow, vault: &BTreeSet<String>) -> Purpose {
    match row.kind.as_str() {
        "open_channel" => Purpose::ChannelOpened,
        "splice_in" => Purpose::SpliceIn,
        "splice_out" => Purpose::SpliceOut,
        _ if row.key.starts_with(ORDER_KEYS) => Purpose::OrderPaid,
        _ if row.ask["address"].as_str().is_some_and(|to| vault.contains(to)) => Purpose::ToVault,
        _ => Purpose::Sent,
    }
}

/// The transactions of a channel, each with what it is to the wallet.
fn of_channel(row: &ChannelRow) -> Vec<(String, (Purpose, String))> {
    let txid = |output: &str| output.split(':').next().unwrap_or_default().to_owned();
    let spliced = row.spliced_to.as_deref();
    let first = row.fundings.first().filter(|first| Some(first.funding.as_str()) != spliced);
    let later = row.fundings.iter().skip(usize::from(first.is_some()));
    let splices = later.map(|one| one.funding.as_str()).chain(spliced);
    let closings = row.closing_txid.iter().chain(row.sweeps.iter().map(|sweep| &sweep.txid));
    let all = first
        .map(|first| (txid(&first.funding), Purpose::ChannelOpened))
        .into_iter()
        .chain(splices.map(|splice| (txid(splice), Purpose::SpliceIn)))
        .chain(closings.map(|closing| (closing.clone(), Purpose::ChannelClosed)));
    all.map(|(txid, purpose)| (txid, (purpose, row.channel_id.clone()))).collect()
}

impl Labels {
    /// What `tx` was for.
    pub(super) fn of(&self, tx: ChainTx) -> WalletTx {
        let operation = self.operations.get(&tx.txid);
        let channel = self.channels.get(&tx.txid);
        let purpose = match (operation.map(|(_, purpose)| *purpose), channel) {
            (Some(Purpose::Sent) | None, Some((purpose, _))) => *purpose,
            (Some(purpose), _) => purpose,
            (None, None) if !tx.outgoing && self.from_vault.contains(&tx.txid) => Purpose::FromVault,
            (None, None) => Purpose::Sent,
        };
        // A splice that takes coins out may pay our own wallet, and what left it did not come in.
        let purpose = match (purpose, tx.outgoing) {
            (Purpose::SpliceIn, false) => Purpose::SpliceOut,
            (Purpose::Sent, false) => Purpose::Received,
            (purpose, _) => purpose,
        };
        WalletTx {
            purpose,
            label: purpose.label(),
            operation: operation.map(|(id, _)| *id),
            channel_id: channel.map(|(_, id)| id.clone()),
            tx,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Deed;
    use super::super::tests::{channel, send, tx, world};
    use super::*;
    use crate::store::{ChannelSeen, ChannelsSeen, OperationState, SweepRow};

    #[tokio::test]
    async fn what_tollhouse_did_or_saw_is_told_by_its_purpose() {
        let world = world();
        let came = |txid: &str| ChainTx { outgoing: false, ..tx(txid, 9_000, Some(101)) };
        let sent = |txid: &str| tx(txid, 9_000, Some(101));
        // Opened by us, spliced, closed by force and swept; and one whose agreed close paid the wallet.
        let seen = |local_id: &str, funding: &str| ChannelSeen {
            local_id: local_id.to_owned(),
            channel_id: format!("c{local_id}"),
            peer: "02aa".to_owned(),
            funding: Some(format!("{funding}:0")),
            capacity_sat: 50_000,
            outbound: true,
            announced: false,
            ready: true,
            ours_sat: Some(9_500),
            side_msat: None,
        };
        let open = |open| ChannelsSeen { open, ..ChannelsSeen::default() };
        world.ledger.note_channels(open(vec![seen("7", "f1"), seen("8", "g1")]), 100).await.unwrap();
        world.ledger.splice_agreed("c7".to_owned(), "f2:1".to_owned()).await.unwrap();
        for (local_id, cause) in [("7", "forced_by_us"), ("8", "agreed_by_us")] {
            world.closed(local_id, cause).await;
        }
        world.ledger.note_closing("8", "g9".to_owned()).await.unwrap();
        let sweep = SweepRow {
            channel_id: "c7".to_owned(),
            txid: "s7".to_owned(),
            amount_sat: 9_200,
            sent_height: Some(250),
            confirmed_height: Some(251),
        };
        let swept = ChannelsSeen { sweeps: vec![sweep], ..ChannelsSeen::default() };
        world.ledger.note_channels(swept, 251).await.unwrap();
        // One that is open.
        world.node.channels.lock().unwrap().push(channel("6", "e1"));
        world.treasury.note_channels().await.unwrap();

        *world.node.sends.lock().unwrap() = "to-vault";
        let given = world.ledger.all_vault_addresses().await.unwrap();
        assert!(given.is_empty());
        world.treasury.run("rent", send(5_000)).await.unwrap();
        let order = world.interrupted("inbound-order-2", &send(3_000)).await;
        world.ledger.note_operation(order, OperationState::Sent, json!({ "txid": "order" })).await.unwrap();
        let out =
            Deed::SpliceOut { channel_id: "c6".to_owned(), address: "bcrt1q".to_owned(), amount_sat: 9_000 };
        let out = world.interrupted("out", &out).await;
        world.ledger.note_operation(out, OperationState::Sent, json!({ "txid": "own" })).await.unwrap();

        // A splice that is done, a sweep of which it is known what it brought, and an opening of ours.
        let spliced = world.interrupted("smaller", &send(1)).await;
        world.ledger.note_operation(spliced, OperationState::Done, json!({ "fee_sat": 999 })).await.unwrap();
        let brought = crate::store::Brought { amount_sat: 9_060, height: 251 };
        world.ledger.note_came("7", brought).await.unwrap();
        let labels = world.treasury.labels(BTreeSet::from(["cold".to_owned()])).await.unwrap();
        let swept = ChannelFees { fee_sat: 140, transactions: 1 };
        assert_eq!(labels.fees, swept, "a send is no splice");
        let opened = labels.fees.with([200].into_iter());
        assert_eq!(opened, ChannelFees { fee_sat: 340, transactions: 2 });
        let says =
            "Fees paid for channels, to open, resize and close them: at least 340 sat, over 2 transactions.";
        assert!(opened.says().is_some_and(|told| told.starts_with(says)));
        assert_eq!(ChannelFees::default().says(), None);
        let mut rows = world.ledger.operations(i64::MAX, RECENT).await.unwrap();
        rows.iter_mut().for_each(|row| row.kind = "splice_out".to_owned());
        let splices = ChannelFees::of(&rows, &[]);
        assert_eq!((splices.fee_sat, splices.transactions), (999, 1), "what is not done may cost nothing");
        let told = |labels: &Labels, tx: ChainTx| {
            let told = labels.of(tx);
            (told.purpose, told.channel_id)
        };
        let of = |id: &str| Some(id.to_owned());
        assert_eq!(told(&labels, sent("f1")), (Purpose::ChannelOpened, of("c7")));
        assert_eq!(told(&labels, sent("f2")), (Purpose::SpliceIn, of("c7")));
        assert_eq!(told(&labels, came("f2")), (Purpose::SpliceOut, of("c7")));
        assert_eq!(told(&labels, came("s7")), (Purpose::ChannelClosed, of("c7")));
        assert_eq!(told(&labels, came("g9")), (Purpose::ChannelClosed, of("c8")));
        assert_eq!(told(&labels, sent("e1")), (Purpose::ChannelOpened, of("c6")));
        assert_eq!(told(&labels, sent("order")), (Purpose::OrderPaid, None));
        assert_eq!(told(&labels, came("own")), (Purpose::SpliceOut, None));
        assert_eq!(told(&labels, came("cold")), (Purpose::FromVault, None));
        assert_eq!(told(&labels, came("deposit")), (Purpose::Received, None));
        let rent = labels.of(sent("to-vault"));
        assert_eq!((rent.purpose, rent.label, rent.operation), (Purpose::Sent, "Sent", Some(1)));
        // The newest operation counts where two say the same transaction.
        let mut rows = world.ledger.operations(i64::MAX, RECENT).await.unwrap();
        let first = rows.iter().find(|row| row.id == 1).unwrap().clone();
        rows.insert(0, OperationRow { id: 9, ..first });
        let vault = BTreeSet::from(["bcrt1q".to_owned()]);
        assert_eq!(by_transaction(&rows, &vault)["to-vault"], (9, Purpose::ToVault));
    }
}
