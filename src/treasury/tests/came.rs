//! What came back of closed channels.

use super::super::chronicle::came;
use super::{channel, tx, world};
use crate::ports::ChainTx;
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
    assert_eq!(came(&agreed, "closing", &transactions, &[]), Some(39_056));
    assert_eq!(came(&agreed, "unseen", &transactions, &[]), None);
    let swept = ChannelRow { sweeps: vec![sweep("s1"), sweep("s2")], ..row.clone() };
    assert_eq!(came(&swept, "closing", &transactions, &[]), Some(39_300));
    let shared = sweep("s2");
    assert_eq!(came(&swept, "closing", &transactions, &[&shared]), None, "it swept another channel, too");
    let unseen = ChannelRow { sweeps: vec![sweep("s1"), sweep("s3")], ..row };
    assert_eq!(came(&unseen, "closing", &transactions, &[]), None);
}
