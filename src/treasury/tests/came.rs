//! What came back of closed channels.

use super::super::chronicle::came;
use super::{World, channel, claim, tx, world};
use crate::event::Event;
use crate::ports::{ChainTx, ChannelView, Claim, Waits};
use crate::store::{ChannelRow, SweepRow};

#[tokio::test]
async fn what_came_back_is_what_the_wallet_got_after_all_fees() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    world.treasury.note_channels().await.unwrap();
    world.closed("7", "forced_by_us").await;
    let row = world.ledger.channel_record("7").await.unwrap().unwrap();
    let sweep = |txid: &str| SweepRow {
        channel_id: "c7".to_owned(),
        txid: txid.to_owned(),
        amount_sat: 20_000,
        sent_height: None,
        confirmed_height: Some(90),
    };
    let got = |txid: &str, amount_sat| ChainTx { outgoing: false, ..tx(txid, amount_sat, Some(90)) };
    let transactions = [got("closing", 39_056), got("s1", 19_700), got("s2", 19_600)];
    let agreed = ChannelRow { owed_sat: Some(39_282), ..row.clone() };
    let came = |row: &ChannelRow, closing: &str, all: &[ChainTx], others: &[&SweepRow]| {
        came(row, closing, all, others).map(|came| came.amount_sat)
    };
    assert_eq!(came(&agreed, "closing", &transactions, &[]), Some(39_056));
    assert_eq!(came(&agreed, "unseen", &transactions, &[]), None);
    let swept = ChannelRow { sweeps: vec![sweep("s1"), sweep("s2")], ..row.clone() };
    assert_eq!(came(&swept, "closing", &transactions, &[]), Some(39_300));
    let shared = sweep("s2");
    assert_eq!(came(&swept, "closing", &transactions, &[&shared]), None, "it swept another channel, too");
    let unseen = ChannelRow { sweeps: vec![sweep("s1"), sweep("s3")], ..row };
    assert_eq!(came(&unseen, "closing", &transactions, &[]), None);
}

/// An agreed close tells what the wallet got, and its block, as soon as that block is there.
#[tokio::test]
async fn an_agreed_close_is_one_sum_and_one_block() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    world.node.claims.lock().unwrap().push(claim("c7", 39_282));
    world.treasury.note_channels().await.unwrap();
    world.node.channels.lock().unwrap().clear();
    world.closed("7", "agreed_by_us").await;
    let look = async |height| {
        *world.node.height.lock().unwrap() = height;
        world.treasury.note_channels().await.unwrap();
        world.ledger.channel_record("7").await.unwrap().unwrap()
    };
    let row = look(101).await;
    assert_eq!((row.owed_sat, row.came_sat, row.returned_height), (Some(39_282), None, None));
    // In a block, and six blocks are there at once: the library names nothing of it any more.
    let got = ChainTx { outgoing: false, ..tx("closing", 39_056, Some(102)) };
    world.node.transactions.lock().unwrap().push(got);
    world.node.claims.lock().unwrap()[0] =
        Claim { waits: Waits::Confirmations, until_height: Some(107), ..claim("c7", 39_282) };
    world.node.spent.lock().unwrap().push(("f1:0", "closing"));
    let row = look(107).await;
    assert_eq!((row.came_sat, row.returned_height, row.claim_sat), (Some(39_056), Some(102), 0));
    // The claim that the library goes on naming has the same sum.
    let coins = world.treasury.coins().await.unwrap();
    assert_eq!((coins.claims[0].in_wallet, coins.claims[0].amount_sat), (true, 39_056));
    world.node.claims.lock().unwrap().clear();
    for height in [108, 120] {
        assert_eq!(look(height).await.came_sat, Some(39_056));
    }
    assert_eq!(homes(&world).await, [(39_056, true)]);
}

/// What is told as home of closed channels, and whether it is exact.
async fn homes(world: &World) -> Vec<(u64, bool)> {
    let rows = world.ledger.activity(None, None, 50).await.unwrap();
    let told = rows.into_iter().filter_map(|row| match row.event {
        Event::ChannelCoinsHome { amount_sat, exactly, .. } => Some((amount_sat, exactly)),
        _ => None,
    });
    told.collect()
}

/// Which transaction closed it, nobody found: its coins are told all the same, as about what was owed.
#[tokio::test]
async fn coins_whose_transaction_is_not_found_are_told_as_about() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    world.node.claims.lock().unwrap().push(claim("c7", 39_282));
    world.treasury.note_channels().await.unwrap();
    world.node.channels.lock().unwrap().clear();
    world.closed("7", "agreed_by_peer").await;
    for height in 101..109 {
        *world.node.height.lock().unwrap() = height;
        if height == 102 {
            world.node.claims.lock().unwrap().clear();
        }
        let told = if height < 108 { 0 } else { 1 };
        world.treasury.note_channels().await.unwrap();
        assert_eq!(homes(&world).await.len(), told, "{height}");
    }
    assert_eq!(homes(&world).await, [(39_282, false)]);
}

/// What is too little for an output is on record with its sum, and is no homecoming.
#[tokio::test]
async fn what_is_too_little_for_an_output_is_lost_with_its_sum() {
    let world = world();
    let theirs = ChannelView {
        outbound: false,
        receivable_msat: (50_000 - 660 - 500 - 37) * 1_000,
        reserved_sat: 500,
        their_reserved_sat: 500,
        ..channel("7", "f1")
    };
    world.node.channels.lock().unwrap().extend([theirs, channel("8", "g1")]);
    // The contract gives no output to the first; the second is not rich enough for the fee of an agreed close.
    world.node.claims.lock().unwrap().extend([claim("c7", 0), claim("c8", 556)]);
    world.treasury.note_channels().await.unwrap();
    world.node.channels.lock().unwrap().clear();
    world.node.claims.lock().unwrap().clear();
    *world.node.spent.lock().unwrap() = vec![("f1:0", "x7"), ("g1:0", "x8")];
    world.closed("7", "agreed_by_peer").await;
    world.closed("8", "agreed_by_us").await;
    for height in [101, 102, 110] {
        *world.node.height.lock().unwrap() = height;
        world.treasury.note_channels().await.unwrap();
    }
    let told = async |id: &str| {
        let row = world.ledger.channel_record(id).await.unwrap().unwrap();
        (row.back_sat(), row.lost_sat)
    };
    assert_eq!(told("7").await, (Some((0, true)), Some(37)));
    assert_eq!(told("8").await, (Some((0, true)), Some(556)));
    assert_eq!(homes(&world).await, []);
}
