//! Closed channels, from their close to the wallet.

use super::*;
use crate::store::tests::{World, events};
use crate::store::{ChannelSeen, ClaimSeen, SweepRow};

fn open(ready: bool) -> ChannelSeen {
    ChannelSeen {
        local_id: "7".to_owned(),
        channel_id: "c7".to_owned(),
        peer: "02aa".to_owned(),
        funding: Some("f:0".to_owned()),
        capacity_sat: 50_000,
        outbound: true,
        announced: false,
        ready,
        ours_sat: Some(49_000),
        side_msat: Some(50_000_400),
    }
}

fn end(cause: &str) -> ChannelEnd {
    ChannelEnd {
        local_id: "7".to_owned(),
        channel_id: "c7".to_owned(),
        peer: "02aa".to_owned(),
        reason: "because".to_owned(),
        cause: cause.to_owned(),
    }
}

fn claim(until_height: Option<u32>) -> ChannelsSeen {
    let claim = ClaimSeen { channel_id: "c7".to_owned(), amount_sat: 49_000, until_height, came: false };
    ChannelsSeen { claims: vec![claim], ..ChannelsSeen::default() }
}

fn came(amount_sat: u64, height: u32) -> Brought {
    Brought { amount_sat, height }
}

fn sweep(txid: &str, confirmed_height: Option<u32>) -> ChannelsSeen {
    let sweep = SweepRow {
        channel_id: "c7".to_owned(),
        txid: txid.to_owned(),
        amount_sat: 49_000,
        sent_height: Some(250),
        confirmed_height,
    };
    ChannelsSeen { sweeps: vec![sweep], ..ChannelsSeen::default() }
}

#[tokio::test]
async fn what_was_recovered_is_on_record_once() {
    let world = World::new();
    let (ledger, _) = world.open();
    let seen = ChannelsSeen { open: vec![open(true)], ..ChannelsSeen::default() };
    ledger.note_channels(seen, 106).await.unwrap();
    let recovered = |channel_id: &str| RecoveredChannel {
        channel_id: channel_id.to_owned(),
        peer: "02aa".to_owned(),
        funding: "f:0".to_owned(),
    };
    for _ in 0..2 {
        ledger.end_recovered(vec![recovered("c7"), recovered("c8")]).await.unwrap();
    }
    let rows = ledger.closed_channels(9).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (&*row.local_id, row.cause.as_deref(), row.last_sat)).collect();
    assert_eq!(told, [("c8", Some("recovered"), None), ("7", Some("recovered"), Some(49_000))]);
    let closed = |event: &Event| matches!(event, Event::ChannelClosed { cause, .. } if cause == "recovered");
    assert_eq!(events(&ledger).await.iter().filter(|event| closed(event)).count(), 2);
    // What is still to come of it is followed as of any other.
    ledger.note_channels(claim(Some(250)), 110).await.unwrap();
    assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().owed_sat, Some(49_000));
    ledger.note_channels(sweep("s", Some(251)), 251).await.unwrap();
    assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, Some(251));
}

#[tokio::test]
async fn a_forced_close_is_followed_until_its_sweep_is_in_a_block() {
    let world = World::new();
    let (ledger, _) = world.open();
    for (ready, height) in [(false, 100), (true, 106), (true, 107)] {
        let seen = ChannelsSeen { open: vec![open(ready)], ..ChannelsSeen::default() };
        ledger.note_channels(seen, height).await.unwrap();
    }
    assert_eq!(Ledger::has_open_channel(&world.path()).unwrap(), Some(true));
    ledger.end_channel(end("forced_by_us")).await.unwrap();
    ledger.end_channel(end("restart")).await.unwrap();
    assert_eq!(Ledger::has_open_channel(&world.path()).unwrap(), Some(false));
    ledger.note_channels(claim(None), 108).await.unwrap();
    ledger.note_channels(claim(Some(252)), 109).await.unwrap();
    ledger.note_closing("7", "closing".to_owned()).await.unwrap();
    // The contract gave it out, and the sweep is not known yet.
    ledger.note_channels(ChannelsSeen::default(), 252).await.unwrap();
    let row = ledger.channel_record("7").await.unwrap().unwrap();
    assert_eq!((row.opened_height, row.closed_height, row.claim_height), (Some(106), Some(108), Some(252)));
    assert_eq!((row.owed_sat, row.claim_sat, row.returned_height), (Some(49_000), 0, None));
    assert_eq!(row.cause.as_deref(), Some("forced_by_us"), "the first telling stands");
    ledger.note_channels(sweep("cheap", None), 252).await.unwrap();
    ledger.note_channels(sweep("dearer", None), 253).await.unwrap();
    assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, None);
    ledger.note_channels(sweep("dearer", Some(254)), 255).await.unwrap();
    ledger.note_channels(ChannelsSeen::default(), 900).await.unwrap();
    let rows = ledger.closed_channels(10).await.unwrap();
    assert_eq!((rows.len(), rows[0].returned_height), (1, Some(254)));
    assert_eq!(rows[0].closing_txid.as_deref(), Some("closing"));
    let home = |event: &Event| matches!(event, Event::ChannelCoinsHome { amount_sat: 49_000, .. });
    assert_eq!(
        events(&ledger).await.iter().filter(|event| home(event)).count(),
        1,
        "told once, when it was in"
    );
    let txids: Vec<&str> = rows[0].sweeps.iter().map(|sweep| sweep.txid.as_str()).collect();
    assert_eq!(txids, ["dearer"]);
    // What closing it cost is what was ours less what came, once that is known.
    assert_eq!((rows[0].side_msat, rows[0].closing_cost_msat), (Some(50_000_400), None));
    ledger.note_came("7", came(48_774, 254)).await.unwrap();
    assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().closing_cost_msat, Some(1_226_400));
    let told = events(&ledger).await;
    assert!(
        told.iter()
            .any(|event| matches!(event, Event::ChannelClosed { cause, .. } if cause == "forced_by_us"))
    );
}

#[tokio::test]
async fn a_channel_is_not_back_while_an_output_of_it_waits_for_its_sweep() {
    let world = World::new();
    let (ledger, _) = world.open();
    let swept = |sweeps: &[(&str, u64, Option<u32>)], unsent: bool| {
        let sweep = |&(txid, amount_sat, confirmed_height): &(&str, u64, Option<u32>)| SweepRow {
            amount_sat,
            ..sweep(txid, confirmed_height).sweeps.remove(0)
        };
        let unsent = unsent.then(|| "c7".to_owned()).into_iter().collect();
        ChannelsSeen { sweeps: sweeps.iter().map(sweep).collect(), unsent, ..ChannelsSeen::default() }
    };
    let home = async || {
        let told = events(&ledger).await.into_iter().filter_map(|event| match event {
            Event::ChannelCoinsHome { amount_sat, .. } => Some(amount_sat),
            _ => None,
        });
        told.collect::<Vec<u64>>()
    };
    ledger.end_channel(end("forced_by_us")).await.unwrap();
    let first = ("first", 20_000, Some(253));
    ledger.note_channels(swept(&[first], true), 253).await.unwrap();
    let row = ledger.channel_record("7").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.returned_height), (None, None));
    assert_eq!(home().await, Vec::<u64>::new());
    ledger.note_channels(swept(&[first, ("second", 29_000, None)], false), 254).await.unwrap();
    // One more output goes with the second in one transaction, which takes the place of its own.
    ledger.note_channels(swept(&[first, ("both", 30_000, None)], false), 255).await.unwrap();
    ledger.note_channels(swept(&[first, ("both", 30_000, Some(256))], false), 256).await.unwrap();
    let row = ledger.channel_record("7").await.unwrap().unwrap();
    assert_eq!(row.returned_height, Some(256));
    let txids: Vec<&str> = row.sweeps.iter().map(|sweep| sweep.txid.as_str()).collect();
    assert_eq!(txids, ["first", "both"]);
    assert_eq!(home().await.len(), 1);
}

#[tokio::test]
async fn an_agreed_close_pays_the_wallet_and_an_opening_that_failed_owes_nothing() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.end_channel(end("agreed_by_peer")).await.unwrap();
    ledger.note_channels(claim(Some(114)), 108).await.unwrap();
    assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, None);
    ledger.note_channels(ChannelsSeen::default(), 114).await.unwrap();
    assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, Some(114));
    // What the wallet has is not due, however long the library goes on naming it.
    ledger
        .end_channel(ChannelEnd {
            local_id: "6".to_owned(),
            channel_id: "c6".to_owned(),
            ..end("agreed_by_us")
        })
        .await
        .unwrap();
    let mut came = claim(Some(119));
    came.claims[0].channel_id = "c6".to_owned();
    ledger.note_channels(came.clone(), 114).await.unwrap();
    assert_eq!(ledger.channel_record("6").await.unwrap().unwrap().claim_sat, 49_000);
    came.claims[0].came = true;
    ledger.note_channels(came, 115).await.unwrap();
    let row = ledger.channel_record("6").await.unwrap().unwrap();
    assert_eq!((row.claim_sat, row.owed_sat, row.returned_height), (0, Some(49_000), Some(115)));
    let unborn = ChannelEnd { local_id: "8".to_owned(), channel_id: "c8".to_owned(), ..end("never_opened") };
    ledger.end_channel(unborn).await.unwrap();
    ledger.note_channels(ChannelsSeen::default(), 115).await.unwrap();
    let row = ledger.channel_record("8").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.returned_height), (Some(0), Some(115)));
}

#[tokio::test]
async fn what_nobody_saw_come_home_is_not_called_nothing() {
    let world = World::new();
    let (ledger, _) = world.open();
    let seen = ChannelsSeen { open: vec![open(true)], ..ChannelsSeen::default() };
    ledger.note_channels(seen.clone(), 100).await.unwrap();
    ledger.end_channel(end("agreed_by_us")).await.unwrap();
    // A look that began before the close says nothing of what is owed.
    ledger.note_channels(seen, 101).await.unwrap();
    let row = ledger.channel_record("7").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.returned_height), (None, None));
    ledger.note_channels(ChannelsSeen::default(), 120).await.unwrap();
    let row = ledger.channel_record("7").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.returned_height), (None, Some(120)));
    assert_eq!((row.last_sat, row.last_height), (Some(49_000), Some(100)));
    // The wallet has the transaction.
    ledger.note_came("7", came(48_500, 119)).await.unwrap();
    ledger.note_came("7", came(1, 119)).await.unwrap();
    let row = ledger.channel_record("7").await.unwrap().unwrap();
    assert_eq!(
        (row.owed_sat, row.came_sat, row.back_sat()),
        (Some(48_500), Some(48_500), Some((48_500, true)))
    );

    // By force, with the contract gone before anybody looked: the sweep tells.
    world.clock.advance(std::time::Duration::from_secs(1));
    let again = || ChannelSeen { local_id: "8".to_owned(), ..open(true) };
    let seen = ChannelsSeen { open: vec![again()], ..ChannelsSeen::default() };
    ledger.note_channels(seen, 200).await.unwrap();
    ledger.end_channel(ChannelEnd { local_id: "8".to_owned(), ..end("forced_by_peer") }).await.unwrap();
    ledger.note_channels(ChannelsSeen::default(), 201).await.unwrap();
    let row = ledger.channel_record("8").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.returned_height), (None, None), "the sweep may be to come");
    ledger.note_channels(sweep("late", Some(203)), 204).await.unwrap();
    ledger.note_channels(ChannelsSeen::default(), 205).await.unwrap();
    let row = ledger.channel_record("8").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.returned_height), (Some(49_000), Some(203)));
    assert_eq!(row.back_sat(), Some((49_000, false)), "the sweep has a fee");
    ledger.note_came("8", came(48_600, 203)).await.unwrap();
    let row = ledger.channel_record("8").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.back_sat()), (Some(49_000), Some((48_600, true))));

    // Nothing was ever in it.
    let empty = ChannelSeen { local_id: "9".to_owned(), ours_sat: Some(0), ..open(true) };
    let seen = ChannelsSeen { open: vec![empty], ..ChannelsSeen::default() };
    ledger.note_channels(seen, 300).await.unwrap();
    ledger.end_channel(ChannelEnd { local_id: "9".to_owned(), ..end("forced_by_peer") }).await.unwrap();
    ledger.note_channels(ChannelsSeen::default(), 301).await.unwrap();
    let row = ledger.channel_record("9").await.unwrap().unwrap();
    assert_eq!((row.owed_sat, row.returned_height), (Some(0), Some(301)));
}
