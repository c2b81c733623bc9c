//! A move of coins is done once, refused where it makes no sense, and found again where a crash hid it.

use super::*;

#[tokio::test]
async fn a_key_is_done_once_and_for_one_thing() {
    let world = world();
    let first = world.treasury.run("k", send(5_000)).await.unwrap();
    assert_eq!((first.state, &first.outcome["txid"]), (OperationState::Sent, &json!("tx1")));
    assert_eq!(world.treasury.run("k", send(5_000)).await.unwrap(), first);
    assert_eq!(*world.node.asked.lock().unwrap(), 1, "the node was asked once");
    let other = world.treasury.run("k", send(6_000)).await.unwrap_err();
    assert!(matches!(other, TreasuryError::KeyTaken(row) if *row == first));
    for key in ["", "a b", &"x".repeat(256)] {
        assert!(matches!(world.treasury.run(key, send(5_000)).await, Err(TreasuryError::BadKey)));
    }

    let (state, _) = world.look(first.id).await;
    assert_eq!(state, OperationState::Sent, "in no block yet");
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, Some(101)));
    let (state, outcome) = world.look(first.id).await;
    assert_eq!((state, &outcome["confirmed_height"]), (OperationState::Done, &json!(101)));
}

#[tokio::test]
async fn what_makes_no_sense_or_cannot_be_known_leaves_no_record() {
    let world = world();
    let nowhere = Deed::Send { address: "nowhere".to_owned(), amount_sat: 5_000, fee: FeeChoice::Normal };
    let dust = send(545);
    let unpriced = Deed::SendAll { address: "bcrt1q".to_owned(), fee: FeeChoice::Fast, reserve_too: false };
    let missing = Deed::CloseChannel { channel_id: "c9".to_owned() };
    let legacy =
        Deed::SpliceOut { channel_id: "c7".to_owned(), address: "2Legacy".to_owned(), amount_sat: 9_000 };
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    *world.node.rate.lock().unwrap() = None;
    for deed in [nowhere, dust, unpriced, missing, legacy] {
        assert!(world.treasury.run("k", deed).await.is_err());
    }
    assert!(world.treasury.operations(i64::MAX, 9).await.unwrap().is_empty());
    assert_eq!(*world.node.asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_refusal_is_a_failure_and_a_doubt_is_none() {
    let world = world();
    for (key, fault, state) in [
        ("a", SendFault::Away("down".to_owned()), OperationState::Failed),
        ("b", SendFault::Refused("too few".to_owned()), OperationState::Failed),
        ("c", SendFault::Uncertain("the disk".to_owned()), OperationState::Unclear),
    ] {
        *world.node.fault.lock().unwrap() = Some(fault);
        assert_eq!(world.treasury.run(key, send(5_000)).await.unwrap().state, state, "{key}");
    }
    let unclear = world.treasury.run("c", send(5_000)).await.unwrap();
    assert_eq!(*world.node.asked.lock().unwrap(), 3, "the doubtful one is not repeated");
    let settled = world.treasury.settle(unclear.id, Verdict::Failed).await.unwrap();
    assert_eq!((settled.state, &settled.outcome["settled_by"]), (OperationState::Failed, &json!("operator")));
    let again = world.treasury.settle(unclear.id, Verdict::Done).await.unwrap_err();
    assert!(matches!(again, TreasuryError::NotUnclear(_)));
    assert!(matches!(world.treasury.settle(99, Verdict::Done).await, Err(TreasuryError::Unknown(99))));
}

#[tokio::test]
async fn a_send_that_a_crash_hid_is_found_by_what_is_new_in_the_wallet() {
    let world = world();
    *world.node.transactions.lock().unwrap() = vec![tx("old", 5_000, None), tx("older", 5_000, Some(99))];
    let id = world.interrupted("k", &send(5_000)).await;
    let (state, _) = world.look(id).await;
    assert_eq!(state, OperationState::Unclear, "what was there before is not it");
    assert_eq!(world.treasury.run("k", send(5_000)).await.unwrap().state, OperationState::Unclear);
    // Another operation's transaction of the same amount is not it either.
    world.treasury.run("other", send(5_000)).await.unwrap();
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, None));
    assert_eq!(world.look(id).await.0, OperationState::Unclear);
    world.node.transactions.lock().unwrap().push(tx("tx2", 5_000, Some(101)));
    let (state, outcome) = world.look(id).await;
    assert_eq!((state, &outcome["txid"]), (OperationState::Done, &json!("tx2")));
    assert_eq!(*world.node.asked.lock().unwrap(), 1, "only the other one was asked for");
}

#[tokio::test]
async fn two_that_fit_are_nobodys() {
    let world = world();
    let id = world.interrupted("k", &send(5_000)).await;
    *world.node.transactions.lock().unwrap() = vec![tx("a", 5_000, None), tx("b", 5_000, None)];
    assert_eq!(world.look(id).await.0, OperationState::Unclear);
}

/// A channel's funding leaves the wallet as a send does, also once the channel is spliced or gone.

#[tokio::test]
async fn what_opened_or_changed_a_channel_is_no_send() {
    let world = world();
    world.node.channels.lock().unwrap().extend([channel("7", "f1"), channel("8", "g1")]);
    let id = world.interrupted("k", &send(5_000)).await;
    world.treasury.note_channels().await.unwrap();
    for (channel, splice) in [("c7", "f2:1"), ("c8", "g2:0")] {
        world.ledger.splice_agreed(channel.to_owned(), splice.to_owned()).await.unwrap();
    }
    *world.node.channels.lock().unwrap() = vec![channel("8", "g2")];
    world.closed("7", "agreed").await;
    for txid in ["f1", "f2", "g1", "g2"] {
        *world.node.transactions.lock().unwrap() = vec![tx(txid, 5_000, Some(101))];
        assert_eq!(world.look(id).await.0, OperationState::Unclear, "{txid}");
    }
    // What another operation says that it made is its own, whatever the records say.
    for (key, fact) in [("l", "funding"), ("m", "spliced_to")] {
        let other = world.interrupted(key, &send(9_000)).await;
        world
            .ledger
            .note_operation(other, OperationState::Done, json!({ fact: format!("{key}1:0") }))
            .await
            .unwrap();
        *world.node.transactions.lock().unwrap() = vec![tx(&format!("{key}1"), 5_000, Some(101))];
        assert_eq!(world.look(id).await.0, OperationState::Unclear, "{fact}");
    }
    *world.node.transactions.lock().unwrap() = vec![tx("mine", 5_000, Some(101))];
    assert_eq!(world.look(id).await.1["txid"], "mine");
}

#[tokio::test]
async fn the_chain_is_asked_before_a_send_is_called_failed() {
    let world = world();
    let sent = world.treasury.run("k", send(5_000)).await.unwrap();
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, None));
    *world.node.fault.lock().unwrap() = Some(SendFault::Uncertain("the disk".to_owned()));
    let unclear = world.treasury.run("l", send(7_000)).await.unwrap();
    world.clock.advance(Duration::from_secs(15 * 24 * 3_600));
    *world.node.cut_off.lock().unwrap() = true;
    for id in [sent.id, unclear.id] {
        let refused = world.treasury.settle(id, Verdict::Failed).await.unwrap_err();
        assert!(matches!(refused, TreasuryError::OutOfStep(_)), "{refused}");
        assert!(!world.treasury.operation(id).await.unwrap().state.is_final());
    }
    *world.node.cut_off.lock().unwrap() = false;
    let learnt = vec![tx("tx1", 5_000, Some(111)), tx("tx2", 7_000, Some(112))];
    for (id, height) in [(sent.id, 111), (unclear.id, 112)] {
        *world.node.chain.lock().unwrap() = Some(learnt.clone());
        let refused = world.treasury.settle(id, Verdict::Failed).await.unwrap_err();
        assert!(matches!(refused, TreasuryError::NotUnclear(_)), "{refused}");
        let row = world.treasury.operation(id).await.unwrap();
        assert_eq!((row.state, &row.outcome["confirmed_height"]), (OperationState::Sent, &json!(height)));
    }
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_move_itself_would_be_refused() {
    let world = world();
    let refused = async |deed: &Deed| match world.treasury.preview(deed).await {
        Err(TreasuryError::Senseless { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let rate = |sat_per_kvb: u64| serde_json::from_value(json!(sat_per_kvb)).unwrap();
    let to = |address: &str, amount_sat, fee| Deed::Send { address: address.to_owned(), amount_sat, fee };
    for slip in [999, 2_000_001] {
        assert_eq!(refused(&to("bcrt1q", 5_000, FeeChoice::SatPerKvb(rate(slip)))).await, "bad_fee");
        assert_eq!(refused(&to(Deed::VAULT, 5_000, FeeChoice::SatPerKvb(rate(slip)))).await, "bad_fee");
    }
    assert_eq!(refused(&to(Deed::VAULT, 1, FeeChoice::Slow)).await, "bad_amount");
    assert_eq!(refused(&to("nowhere", 5_000, FeeChoice::Slow)).await, "bad_address");
    let open = |amount_sat| Deed::OpenChannel {
        peer: "02".to_owned(),
        address: "host:9735".to_owned(),
        amount_sat,
        push_msat: Msat::ZERO,
        announce: false,
    };
    assert_eq!(refused(&open(19_999)).await, "bad_amount");
    assert!(!world.treasury.preview(&open(20_000)).await.unwrap().enough, "there is nothing");
    *world.node.total.lock().unwrap() = 100_000;
    let dear = world.treasury.preview(&to("bcrt1q", 1_000, FeeChoice::SatPerKvb(rate(1_000)))).await.unwrap();
    assert!(dear.lines.iter().any(|line| line.contains("20 % of what it moves")), "{:?}", dear.lines);
    let fair =
        world.treasury.preview(&to("bcrt1q", 50_000, FeeChoice::SatPerKvb(rate(1_000)))).await.unwrap();
    assert!(!fair.lines.iter().any(|line| line.contains("Careful")), "{:?}", fair.lines);
}

#[tokio::test]
async fn a_close_says_what_can_be_received_without_the_channel() {
    let world = world();
    *world.node.rate.lock().unwrap() = None;
    let force = Deed::ForceCloseChannel { channel_id: "c7".to_owned() };
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    let empty = world.treasury.preview(&force).await.unwrap();
    assert!(!empty.enough && empty.lines.len() == 1, "nobody pays for it: {empty:?}");
    *world.node.total.lock().unwrap() = 10_000;
    let said = async |receivable_msat| {
        *world.node.channels.lock().unwrap() = vec![ChannelView { receivable_msat, ..channel("7", "f1") }];
        let close = Deed::CloseChannel { channel_id: "c7".to_owned() };
        let force = Deed::ForceCloseChannel { channel_id: "c7".to_owned() };
        let [close, force] =
            [world.treasury.preview(&close).await.unwrap(), world.treasury.preview(&force).await.unwrap()];
        let waits = "The chain source does not answer now: the transaction waits until one does.";
        assert_eq!(close.lines.last().map(String::as_str), Some(waits));
        let line = close.lines.into_iter().find(|line| line.contains("receive")).unwrap();
        assert!(force.lines.contains(&line), "{line}: {:?}", force.lines);
        line
    };
    assert_eq!(said(9_000_000).await, "You can receive 9000 sat less.");
    assert_eq!(said(999).await, "Nothing can be received over it now, so no room to receive is lost.");
}

#[tokio::test]
async fn where_nobody_says_what_a_transaction_pays_none_is_made_but_a_close() {
    let world = world();
    world
        .node
        .channels
        .lock()
        .unwrap()
        .push(ChannelView { spendable_msat: 90_000_000, ..channel("7", "f1") });
    *world.node.total.lock().unwrap() = 300_000;
    *world.node.rate.lock().unwrap() = None;
    let (in_it, to) = (|| "c7".to_owned(), || "bcrt1q".to_owned());
    let refused = [
        Deed::Send { address: to(), amount_sat: 5_000, fee: FeeChoice::Normal },
        Deed::SendAll { address: to(), fee: FeeChoice::Fast, reserve_too: false },
        Deed::SpliceIn { channel_id: in_it(), amount_sat: 5_000 },
        Deed::SpliceOut { channel_id: in_it(), address: to(), amount_sat: 5_000 },
        Deed::OpenChannel {
            peer: "02".to_owned(),
            address: "host:9735".to_owned(),
            amount_sat: 50_000,
            push_msat: Msat::ZERO,
            announce: false,
        },
    ];
    for deed in refused {
        let said = world.treasury.preview(&deed).await.unwrap_err();
        assert!(matches!(said, TreasuryError::NoFeeRates(_)), "{said}");
        let done = world.treasury.run(deed.kind(), deed).await.unwrap_err();
        assert!(matches!(done, TreasuryError::NoFeeRates(_)), "{done}");
    }
    assert_eq!(*world.node.asked.lock().unwrap(), 0);
    assert!(world.ledger.operations(i64::MAX, 9).await.unwrap().is_empty());
    assert!(world.treasury.preview(&send(5_000)).await.unwrap().enough, "at a rate of one's own");
    for deed in [Deed::CloseChannel { channel_id: in_it() }, Deed::ForceCloseChannel { channel_id: in_it() }]
    {
        assert!(world.treasury.preview(&deed).await.unwrap().enough, "a close waits for nobody");
    }
}
