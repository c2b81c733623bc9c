//! What the Lightning pages have to show: channels of every kind, payouts, a rule, an order, peers.

use serde_json::json;
use tollhouse::ports::{ChannelView, Claim, ForwardingFees, OrderAsk, PeerView, Waits};
use tollhouse::store::{
    BegunOperation, ChannelEnd, ChannelSeen, ChannelsSeen, ClaimSeen, OperationState, SweepRow,
};

use crate::admin_app::AdminApp;

/// What an outsider would write to have it run on the operator's page.
pub(super) const CANARY: &str = "\"><script>throw 1</script><img src=x onerror=\"throw 1\">";

pub(super) fn seen(n: u8, ready: bool) -> ChannelSeen {
    ChannelSeen {
        local_id: n.to_string(),
        channel_id: format!("{n:02x}").repeat(32),
        peer: format!("03{}", format!("{n:02x}").repeat(32)),
        funding: Some(format!("{}:1", format!("{n:02x}").repeat(32))),
        capacity_sat: 500_000,
        outbound: n.is_multiple_of(2),
        announced: false,
        ready,
        ours_sat: Some(120_000),
        side_msat: None,
    }
}

/// Channels of every kind: open, opening, away, closed and home, closed by force and on the way.
pub(super) async fn channels(app: &AdminApp) {
    let view = |n: u8, ready: bool, usable: bool| ChannelView {
        channel_id: seen(n, ready).channel_id,
        local_id: n.to_string(),
        peer: seen(n, ready).peer,
        funding: seen(n, ready).funding,
        capacity_sat: 500_000,
        // Of the third one, a splice takes 30,000 sat out, at a fee of 310 sat.
        spendable_msat: match (n, ready) {
            (3, true) => 9_030_000,
            (_, true) => 40_000_000,
            _ => 0,
        },
        receivable_msat: if ready { 450_000_000 } else { 0 },
        reserved_sat: 5_000,
        their_reserved_sat: 5_000,
        confirmations: Some(if ready { 12 } else { 1 }),
        confirmations_required: Some(3),
        ready,
        usable,
        fees: ForwardingFees { base_msat: 1_000, ppm: 250 },
        force_close_blocks: Some(144),
        ..ChannelView::default()
    };
    app.node.channels.lock().expect("no panic").extend([view(3, true, false), view(4, false, false)]);
    let open = vec![seen(3, true), seen(4, false), seen(5, true), seen(6, true), seen(7, true)];
    app.ledger.note_channels(ChannelsSeen { open, ..ChannelsSeen::default() }, 200).await.expect("noted");
    // Of the last one nobody saw what it owed: its coins came home before the node looked.
    for (n, cause, reason) in [
        (5, "agreed_by_peer", "said goodbye"),
        (6, "forced_by_us", CANARY),
        (7, "agreed_by_us", "said goodbye"),
    ] {
        let row = seen(n, true);
        let end = ChannelEnd {
            local_id: row.local_id,
            channel_id: row.channel_id,
            peer: row.peer,
            reason: reason.to_owned(),
            cause: cause.to_owned(),
        };
        app.ledger.end_channel(end).await.expect("noted");
    }
    let claim = |n: u8, amount_sat| ClaimSeen {
        channel_id: seen(n, true).channel_id,
        amount_sat,
        until_height: Some(370),
        came: false,
    };
    let claims = vec![claim(5, 120_000), claim(6, 88_000)];
    let still = vec![seen(3, true), seen(4, false)];
    let now = ChannelsSeen { open: still.clone(), claims, ..ChannelsSeen::default() };
    app.ledger.note_channels(now, 226).await.expect("noted");
    let sweep = SweepRow {
        channel_id: seen(6, true).channel_id,
        txid: "9a".repeat(32),
        amount_sat: 87_000,
        sent_height: Some(371),
        confirmed_height: None,
    };
    let now = ChannelsSeen {
        open: still,
        claims: vec![claim(6, 1_000)],
        sweeps: vec![sweep],
        ..ChannelsSeen::default()
    };
    app.ledger.note_channels(now, 372).await.expect("noted");
    app.ledger.note_closing("5", "7c".repeat(32)).await.expect("noted");
    let (third, out) = (seen(3, true).channel_id, "2e".repeat(32));
    let ask = json!({ "channel_id": third, "address": "bcrt1qaway", "amount_sat": 30_000 });
    let before = json!({ "before": { "height": 372, "local_id": "3" } });
    let begun = app.ledger.begin_marked_operation("smaller", "splice_out", ask, before, None).await;
    assert!(matches!(begun, Ok(BegunOperation::New(_))), "it is new");
    app.ledger.splice_agreed(third.clone(), format!("{out}:0")).await.expect("noted");
    let claim = |channel_id: String, amount_sat| Claim {
        channel_id,
        peer: seen(3, true).peer,
        amount_sat,
        waits: Waits::Closing,
        until_height: None,
        in_wallet: false,
        open: false,
    };
    let mut wallet = app.node.wallet.lock().expect("no panic");
    wallet.coins.claims = vec![claim(third, 44_340)];
    wallet.coins.lightning_sat = 44_340 - 30_310;
}

/// Payouts, a rule, an order, peers: each with what an outsider may have written.
pub(super) async fn moves(app: &AdminApp) {
    for (n, to, end) in
        [(1, "me@wallet.example", Some(OperationState::Done)), (2, CANARY, Some(OperationState::Failed))]
    {
        let ask = json!({ "to": to, "amount_msat": 250_000_000_u64, "max_fee_msat": 2_500_000 });
        let begun = app.ledger.begin_operation(&format!("out-{n}"), "pay_out", ask).await.expect("noted");
        let BegunOperation::New(id) = begun else { panic!("it is new") };
        let outcome = match end {
            Some(OperationState::Done) => json!({ "amount_msat": 250_000_000_u64, "fee_msat": 12_000 }),
            _ => json!({ "reason": CANARY }),
        };
        app.ledger.note_operation(id, end.expect("an end"), outcome).await.expect("noted");
    }
    let terms = json!({ "to": "me@wallet.example", "below_sat": 2_000_000, "until_sat": 3_000_000,
                        "per_day_sat": 100_000, "max_fee_ppm": 2_500 });
    app.ledger.set_rule("pay_out", Some(terms)).await.expect("set");
    let orders = app.op.parts.inbound.orders.as_ref().expect("a provider");
    let ask = OrderAsk { receivable_sat: 1_000_000, blocks: 26_000, announce: false };
    orders.quote(ask).await.expect("a price");
    let peer = |n: u8, address: &str, connected| PeerView {
        peer: format!("03{}", format!("{n:02x}").repeat(32)),
        address: address.to_owned(),
        connected,
        kept: true,
    };
    let met =
        [peer(3, "203.0.113.7:9735", false), peer(9, CANARY, true), peer(8, "[2001:db8::8]:9735", false)];
    app.node.peers.lock().expect("no panic").extend(met);
}

/// Where the page of one of them is.
pub(super) fn page(n: u8) -> String {
    format!("/lightning/channels/{}", seen(n, true).channel_id)
}
