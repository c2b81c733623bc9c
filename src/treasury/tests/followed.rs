//! Channels and coins under way are followed until the chain says what became of them.

use super::*;

#[tokio::test]
async fn channels_are_followed_to_what_became_of_them() {
    let world = world();
    let open = Deed::OpenChannel {
        peer: "02aa".to_owned(),
        address: "host:1".to_owned(),
        amount_sat: 50_000,
        push_msat: Msat::ZERO,
        announce: false,
    };
    let opened = world.treasury.run("open", open.clone()).await.unwrap();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    assert_eq!(world.look(opened.id).await.0, OperationState::Sent);
    world.node.channels.lock().unwrap()[0].ready = true;
    world.node.transactions.lock().unwrap().push(tx("f1", 50_000, Some(101)));
    let (state, outcome) = world.look(opened.id).await;
    assert_eq!((state, &outcome["channel_id"]), (OperationState::Done, &json!("c7")));
    assert_eq!(outcome["fee_sat"], 200, "what its transaction cost");
    world.node.transactions.lock().unwrap().clear();

    // One that a crash hid, and whose channel is there; another, whose channel is not; a third whose
    // contract has coins in it although no channel is open.
    let hidden = world.interrupted("hidden", &open).await;
    world.node.channels.lock().unwrap().push(channel("8", "f2"));
    assert_eq!(world.look(hidden).await.0, OperationState::Sent);
    let lost = world.interrupted("lost", &open).await;
    assert_eq!(world.look(lost).await.0, OperationState::Failed);
    let stuck = world.interrupted("stuck", &open).await;
    world.node.claims.lock().unwrap().push(claim("c9", 50_000));
    assert_eq!(world.look(stuck).await.0, OperationState::Unclear);

    let out =
        Deed::SpliceOut { channel_id: "c7".to_owned(), address: "bcrt1q".to_owned(), amount_sat: 9_000 };
    let spliced = world.treasury.run("splice", out).await.unwrap();
    assert_eq!(world.look(spliced.id).await.0, OperationState::Sent);
    world.ledger.splice_agreed("c7".to_owned(), "f3:1".to_owned()).await.unwrap();
    let (state, outcome) = world.look(spliced.id).await;
    assert_eq!((state, &outcome["txid"]), (OperationState::Sent, &json!("f3")));
    assert!(outcome["to_own_sat"].is_null(), "{outcome}");
    // Its address is one of the wallet's own: the wallet lists what came.
    let came = ChainTx { outgoing: false, ..tx("f3", 9_000, Some(101)) };
    world.node.transactions.lock().unwrap().push(came);
    assert_eq!(world.look(spliced.id).await.1["to_own_sat"], 9_000);
    let refused = world.treasury.settle(spliced.id, Verdict::Failed).await.unwrap_err();
    assert!(matches!(refused, TreasuryError::NotUnclear(_)), "the chain tells its end");
    {
        let mut channels = world.node.channels.lock().unwrap();
        (channels[0].funding, channels[0].capacity_sat) = (Some("f3:1".to_owned()), 40_800);
    }
    let (state, outcome) = world.look(spliced.id).await;
    assert_eq!((state, &outcome["funding"]), (OperationState::Done, &json!("f3:1")));
    let moved = crate::treasury::Moved::of("splice_out", &json!({ "amount_sat": 9_000 }), &outcome);
    assert_eq!((moved.gone_sat, moved.kept_sat, moved.to_own), (Some(200), Some(9_000), true));

    // The next one goes to somebody else. That the wallet has the one before says nothing of it.
    let deed = |amount_sat| Deed::SpliceOut {
        channel_id: "c7".to_owned(),
        address: "bcrt1qelse".to_owned(),
        amount_sat,
    };
    let away = world.treasury.run("away", deed(9_000)).await.unwrap();
    let (state, outcome) = world.look(away.id).await;
    assert_eq!((state, outcome["to_own_sat"].is_null()), (OperationState::Sent, true), "{outcome}");
    // What was once found wrongly of it does not stay.
    let (sent, wrong) = (OperationState::Sent, json!({ "to_own_sat": 9_000 }));
    world.ledger.note_facts(away.id, sent, sent, wrong).await.unwrap();
    world.ledger.splice_agreed("c7".to_owned(), "f4:0".to_owned()).await.unwrap();
    {
        let mut channels = world.node.channels.lock().unwrap();
        (channels[0].funding, channels[0].capacity_sat) = (Some("f4:0".to_owned()), 31_600);
    }
    let (state, outcome) = world.look(away.id).await;
    assert_eq!((state, outcome["to_own_sat"].is_null()), (OperationState::Done, true), "{outcome}");

    let close =
        world.treasury.run("close", Deed::CloseChannel { channel_id: "c7".to_owned() }).await.unwrap();
    assert_eq!(world.look(close.id).await.0, OperationState::Sent);
    world.node.channels.lock().unwrap().remove(0);
    assert_eq!(world.look(close.id).await.0, OperationState::Done);
}

#[tokio::test]
async fn a_splice_to_the_wallet_itself_is_no_loss_from_its_start() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    // The channel was made smaller before, and that went to the wallet.
    let before = ChainTx { outgoing: false, ..tx("f1", 30_000, Some(90)) };
    world.node.transactions.lock().unwrap().push(before);
    let out = |address: &str| Deed::SpliceOut {
        channel_id: "c7".to_owned(),
        address: address.to_owned(),
        amount_sat: 9_000,
    };
    let moved = |outcome: &serde_json::Value| {
        let moved = crate::treasury::Moved::of("splice_out", &json!({ "amount_sat": 9_000 }), outcome);
        (moved.gone_sat, moved.kept_sat, moved.to_own)
    };
    let away = world.treasury.run("away", out("bcrt1q")).await.unwrap();
    let (_, outcome) = world.look(away.id).await;
    assert_eq!(moved(&outcome), (Some(9_000), None, false), "{outcome}");
    world.ledger.splice_given_up("c7".to_owned()).await.unwrap();

    let own = world.treasury.run("own", out("bcrt1own")).await.unwrap();
    assert_eq!(moved(&own.outcome), (None, Some(9_000), true), "{}", own.outcome);
    assert!(world.look(own.id).await.1["to_own_sat"].is_null(), "it has no transaction");
    world.ledger.splice_agreed("c7".to_owned(), "f2:1".to_owned()).await.unwrap();
    let (_, outcome) = world.look(own.id).await;
    assert_eq!(outcome["to_own_sat"], 9_000, "the wallet has not seen it, {outcome}");
    assert_eq!(moved(&outcome), (None, Some(9_000), true));
}

#[tokio::test]
async fn a_splice_ends_as_the_node_tells_or_as_the_operator_says() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    let grow = |key: &'static str| {
        let deed = Deed::SpliceIn { channel_id: "c7".to_owned(), amount_sat: 10_000 };
        async { world.treasury.run(key, deed).await.unwrap() }
    };
    let refused = grow("refused").await;
    assert_eq!(refused.state, OperationState::Sent);
    world.ledger.splice_given_up("c7".to_owned()).await.unwrap();
    let (state, outcome) = world.look(refused.id).await;
    assert_eq!(state, OperationState::Failed);
    assert!(outcome["reason"].as_str().unwrap().contains("no coins moved"), "{outcome}");

    // The other side never answers, and nothing was signed: the operator need not wait for ever.
    let waits = grow("waits").await;
    let settled = world.treasury.settle(waits.id, Verdict::Failed).await.unwrap();
    assert_eq!((settled.state, &settled.outcome["settled_by"]), (OperationState::Failed, &json!("operator")));

    // The other side splices the same channel meanwhile.
    let ours = grow("ours").await;
    {
        let mut channels = world.node.channels.lock().unwrap();
        (channels[0].funding, channels[0].capacity_sat) = (Some("f2:0".to_owned()), 50_500);
    }
    let (state, outcome) = world.look(ours.id).await;
    assert_eq!(state, OperationState::Unclear, "{outcome}");
}

#[tokio::test]
async fn coins_under_way_are_the_chains_to_tell() {
    let world = world();
    let sent = world.treasury.run("k", send(5_000)).await.unwrap();
    for verdict in [Verdict::Done, Verdict::Failed] {
        let refused = world.treasury.settle(sent.id, verdict).await.unwrap_err();
        assert!(matches!(refused, TreasuryError::NotUnclear(_)));
    }
    // The mempool dropped it: the library lists it all the same, and will for ever.
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, None));
    world.clock.advance(Duration::from_secs(15 * 24 * 3_600 - 1));
    assert_eq!(world.look(sent.id).await.0, OperationState::Sent);
    assert!(world.treasury.settle(sent.id, Verdict::Failed).await.is_err());
    world.clock.advance(Duration::from_secs(1));
    let settled = world.treasury.settle(sent.id, Verdict::Failed).await.unwrap();
    assert_eq!((settled.state, &settled.outcome["txid"]), (OperationState::Failed, &json!("tx1")));
    assert_eq!(*world.node.withdrawn.lock().unwrap(), ["tx1"], "it does not go out after all");
    // One in a block is not the operator's to judge, however old.
    let mined = world.treasury.run("k2", send(6_000)).await.unwrap();
    *world.node.transactions.lock().unwrap() = vec![tx("tx1", 6_000, Some(111))];
    world.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    assert_eq!(world.look(mined.id).await.0, OperationState::Sent);
    assert!(world.treasury.settle(mined.id, Verdict::Failed).await.is_err());
}

/// Tollhouse was off for weeks; the transaction came into a block in that time.

#[tokio::test]
async fn a_splice_is_not_taken_for_the_close_of_its_channel() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    world.treasury.note_channels().await.unwrap();
    // Agreed and closed between two looks.
    world.ledger.splice_agreed("c7".to_owned(), "f2:1".to_owned()).await.unwrap();
    *world.node.spent.lock().unwrap() = vec![("f1:0", "f2")];
    world.node.channels.lock().unwrap().clear();
    world.closed("7", "agreed").await;
    let closing = async || {
        *world.treasury.noted() = Noted::default();
        world.treasury.note_channels().await.unwrap();
        world.ledger.channel_record("7").await.unwrap().unwrap().closing_txid
    };
    assert_eq!(closing().await, None);
    world.node.spent.lock().unwrap().push(("f2:1", "closing"));
    assert_eq!(closing().await.as_deref(), Some("closing"));
}

#[tokio::test]
async fn coins_that_came_home_unseen_are_found_in_the_wallet() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    let claim = Claim {
        channel_id: "c7".to_owned(),
        peer: "02aa".to_owned(),
        amount_sat: 40_000,
        waits: Waits::Closing,
        until_height: None,
        in_wallet: false,
        open: false,
    };
    world.node.claims.lock().unwrap().push(claim);
    world.treasury.note_channels().await.unwrap();
    // Closed, buried and paid out between two looks.
    world.node.channels.lock().unwrap().clear();
    world.node.claims.lock().unwrap().clear();
    world.closed("7", "agreed_by_us").await;
    let look = async || {
        *world.treasury.noted() = Noted::default();
        world.treasury.note_channels().await.unwrap();
        world.ledger.channel_record("7").await.unwrap().unwrap()
    };
    let row = look().await;
    assert_eq!((row.owed_sat, row.last_sat, row.returned_height), (None, Some(40_000), Some(100)));
    *world.node.spent.lock().unwrap() = vec![("f1:0", "closing")];
    assert_eq!(look().await.owed_sat, None, "the wallet has not seen it yet");
    let came = |outgoing| ChainTx {
        txid: "closing".to_owned(),
        outgoing,
        amount_sat: 39_700,
        fee_sat: None,
        confirmed_height: Some(99),
        settled: true,
        at_secs: 1_000,
    };
    world.node.transactions.lock().unwrap().push(came(true));
    assert_eq!(look().await.owed_sat, None, "what left the wallet did not come home");
    world.node.transactions.lock().unwrap().push(came(false));
    let row = look().await;
    assert_eq!((row.owed_sat, row.came_sat), (Some(39_700), Some(39_700)));
}
