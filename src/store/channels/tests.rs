//! Channels as they are noted and read.

use rusqlite::Connection;

use super::record::SWEEPS;
use super::*;
use crate::store::ChannelEnd;
use crate::store::tests::World;

#[tokio::test]
async fn channels_that_another_node_opens_and_drops_crowd_out_none_with_coins() {
    let world = World::new();
    let (ledger, _) = world.open();
    let seen = |n: u32, funding: Option<String>, ours_sat: u64| ChannelSeen {
        local_id: n.to_string(),
        channel_id: format!("c{n}"),
        peer: "02aa".to_owned(),
        funding,
        capacity_sat: 50_000,
        outbound: n == 0,
        announced: false,
        ready: n == 0,
        ours_sat: Some(ours_sat),
        side_msat: None,
    };
    let mut open = vec![seen(0, Some("f0:0".to_owned()), 49_000)];
    open.extend((1..=5).map(|n| seen(n, None, 0)));
    open.extend((6..=9).map(|n| seen(n, Some(format!("f{n}:0")), 0)));
    ledger.note_channels(ChannelsSeen { open, ..ChannelsSeen::default() }, 100).await.unwrap();
    for n in 0..=9 {
        world.clock.advance(std::time::Duration::from_secs(1));
        let end = ChannelEnd {
            local_id: n.to_string(),
            channel_id: format!("c{n}"),
            peer: "02aa".to_owned(),
            reason: "because".to_owned(),
            cause: "forced_by_peer".to_owned(),
        };
        ledger.end_channel(end).await.unwrap();
    }
    let found = ledger.channels_to_follow(3).await.unwrap();
    let found: Vec<&str> = found.iter().map(|row| row.local_id.as_str()).collect();
    assert_eq!(found, ["0", "9", "8"]);
}

#[tokio::test]
async fn no_stranger_takes_the_id_of_a_channel() {
    let world = World::new();
    let (ledger, _) = world.open();
    let ours = ChannelSeen {
        local_id: "7".to_owned(),
        channel_id: "c7".to_owned(),
        peer: "02aa".to_owned(),
        funding: Some("f7:0".to_owned()),
        capacity_sat: 50_000,
        outbound: true,
        announced: true,
        ready: true,
        ours_sat: Some(9_500),
        side_msat: None,
    };
    let seen = ChannelsSeen { open: vec![ours], ..ChannelsSeen::default() };
    ledger.note_channels(seen, 100).await.unwrap();
    world.clock.advance(std::time::Duration::from_secs(1));
    // Until a channel is funded, its id is what the node that opens it says.
    let end = |local_id: &str, channel_id: &str| ChannelEnd {
        local_id: local_id.to_owned(),
        channel_id: channel_id.to_owned(),
        peer: "02ee".to_owned(),
        reason: "because".to_owned(),
        cause: "never_opened".to_owned(),
    };
    ledger.end_channel(end("8", "c7")).await.unwrap();
    ledger.end_channel(end("9", "c9")).await.unwrap();
    let called = async |id: &str| ledger.channel_called(id).await.unwrap().unwrap().local_id;
    assert_eq!((called("c7").await.as_str(), called("c9").await.as_str()), ("7", "9"));
    assert_eq!(ledger.channel_called("8").await.unwrap().unwrap().channel_id, "8");
}

#[tokio::test]
async fn many_records_are_read_at_once_each_with_what_is_its_own() {
    let world = World::new();
    let (ledger, _) = world.open();
    let seen = |n: u32| ChannelSeen {
        local_id: n.to_string(),
        channel_id: format!("c{n}"),
        peer: "02aa".to_owned(),
        funding: Some(format!("f{n}:0")),
        capacity_sat: 50_000,
        outbound: true,
        announced: false,
        ready: true,
        ours_sat: Some(9_500),
        side_msat: None,
    };
    let open = || (1..=3).map(seen).collect();
    ledger.note_channels(ChannelsSeen { open: open(), ..ChannelsSeen::default() }, 100).await.unwrap();
    ledger.splice_agreed("c2".to_owned(), "g2:0".to_owned()).await.unwrap();
    let sweep = |n: u32, txid: &str| SweepRow {
        channel_id: format!("c{n}"),
        txid: txid.to_owned(),
        amount_sat: u64::from(n) * 1_000 + u64::try_from(txid.len()).unwrap(),
        sent_height: None,
        confirmed_height: Some(120),
    };
    let sweeps = vec![sweep(3, "late"), sweep(1, "s"), sweep(3, "z")];
    let now = ChannelsSeen { open: open(), sweeps, ..ChannelsSeen::default() };
    ledger.note_channels(now, 121).await.unwrap();
    let rows = ledger.channel_records(&["3", "1", "2", "9"]).await.unwrap();
    let mut told: Vec<(String, Vec<String>, Vec<String>)> = rows
        .into_iter()
        .map(|row| {
            assert!(row.sweeps.iter().all(|sweep| sweep.channel_id == row.channel_id));
            let sweeps = row.sweeps.into_iter().map(|sweep| sweep.txid).collect();
            (row.local_id, row.fundings.into_iter().map(|one| one.funding).collect(), sweeps)
        })
        .collect();
    told.sort();
    let row = |id: &str, fundings: &[&str], sweeps: &[&str]| {
        let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        (id.to_owned(), all(fundings), all(sweeps))
    };
    let expected =
        [row("1", &["f1:0"], &["s"]), row("2", &["f2:0", "g2:0"], &[]), row("3", &["f3:0"], &["late", "z"])];
    assert_eq!(told, expected);
    // Neither question walks a table.
    let walked = |connection: &Connection| {
        Ok([SWEEPS, fundings::OF].map(|sql| crate::store::plan::walks(connection, sql)))
    };
    let walked = ledger.0.readers.read(walked).await.unwrap();
    assert!(
        walked.iter().flatten().all(|step| step.contains("json_each") || step.contains("names")),
        "{walked:?}"
    );
}
