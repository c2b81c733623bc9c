//! What is told of a move before it is made, and of a close after it.

use serde_json::json;

use super::{channel, claim, tx, world};
use crate::ports::{ChainTx, ChannelView};
use crate::store::OperationState;
use crate::treasury::Deed;
use crate::types::Msat;

/// A channel of ours in which each side has filled its reserve.
fn both_sides() -> ChannelView {
    ChannelView {
        capacity_sat: 1_000_000,
        spendable_msat: 679_340_000,
        receivable_msat: 300_000_000,
        reserved_sat: 10_000,
        their_reserved_sat: 10_000,
        ..channel("7", "f1")
    }
}

#[tokio::test]
async fn what_can_be_received_is_told_after_the_other_sides_reserve() {
    let world = world();
    *world.node.total.lock().unwrap() = 3_000_000;
    world.node.channels.lock().unwrap().push(both_sides());
    let open = |push_sat: u64| Deed::OpenChannel {
        peer: "02".to_owned(),
        address: "host:9735".to_owned(),
        amount_sat: 1_000_000,
        push_msat: Msat::from_sat(push_sat).unwrap(),
        announce: false,
    };
    let told = async |deed: Deed, words: &str| {
        let plan = world.treasury.preview(&deed).await.unwrap();
        assert!(plan.lines.iter().any(|line| line.contains(words)), "{words}: {plan:?}");
        plan.figures
    };
    let figures = told(open(300_000), "at first that is about 290000 sat").await;
    assert_eq!(figures["receivable_first_sat_about"], 290_000);
    told(open(0), "at first that is 0 sat.").await;
    told(open(4_000), "at first that is 0 sat, for the other side must reserve 10000 sat").await;
    // A larger channel reserves more, on either side; a smaller one less.
    let more = Deed::SpliceIn { channel_id: "c7".to_owned(), amount_sat: 200_000 };
    let figures = told(more.clone(), "becomes about 298000 sat: the other side's reserve grows").await;
    assert_eq!(figures["receivable_after_sat_about"], 298_000);
    told(more, "You can send about 198000 sat more").await;
    let (channel_id, address) = ("c7".to_owned(), "bcrt1q".to_owned());
    let less = Deed::SpliceOut { channel_id, address, amount_sat: 199_700 };
    told(less, "is then about 302000 sat").await;
}

#[tokio::test]
async fn what_is_kept_back_for_a_channel_ends_with_its_close() {
    let world = world();
    let force = Deed::ForceCloseChannel { channel_id: "c7".to_owned() };
    world.node.channels.lock().unwrap().push(both_sides());
    *world.node.total.lock().unwrap() = 30_000;
    let plan = world.treasury.preview(&force).await.unwrap();
    assert!(plan.lines.iter().any(|line| line.contains("leave coins in the wallet until")), "{plan:?}");
    // One without anchors pays for itself, also when the wallet is empty.
    *world.node.channels.lock().unwrap() = vec![ChannelView { without_anchors: true, ..both_sides() }];
    *world.node.total.lock().unwrap() = 0;
    let plan = world.treasury.preview(&force).await.unwrap();
    assert!(
        plan.enough && plan.lines.iter().any(|line| line.ends_with("paid from what comes back.")),
        "{plan:?}"
    );
}

#[tokio::test]
async fn a_close_that_is_done_tells_its_transaction_and_its_cost_once_they_are_known() {
    let world = world();
    world.node.channels.lock().unwrap().push(both_sides());
    world.node.claims.lock().unwrap().push(claim("c7", 688_000));
    let close = Deed::CloseChannel { channel_id: "c7".to_owned() };
    let row = world.treasury.run("close", close).await.unwrap();
    world.node.channels.lock().unwrap().clear();
    world.closed("7", "agreed_by_us").await;
    assert_eq!(world.look(row.id).await.0, OperationState::Done);
    let told = async || {
        let row = world.treasury.operations(i64::MAX, 1).await.unwrap().remove(0);
        ["channel_id", "closing_txid", "came_sat", "closing_cost_msat"].map(|fact| row.outcome[fact].clone())
    };
    assert_eq!(told().await, [json!("c7"), json!(null), json!(null), json!(null)]);
    let got = ChainTx { outgoing: false, ..tx("closing", 688_830, Some(102)) };
    world.node.transactions.lock().unwrap().push(got);
    world.node.spent.lock().unwrap().push(("f1:0", "closing"));
    *world.node.height.lock().unwrap() = 102;
    world.treasury.note_channels().await.unwrap();
    // 679,340 sat to send, 10,000 reserved and 660 for anchors were ours.
    assert_eq!(told().await, [json!("c7"), json!("closing"), json!(688_830), json!(1_170_000)]);
}

#[tokio::test]
async fn a_channel_is_found_by_what_it_was_called_before_it_was_funded() {
    let world = world();
    let unfunded = ChannelView { channel_id: "7".to_owned(), funding: None, ..channel("7", "f1") };
    world.node.channels.lock().unwrap().push(unfunded);
    world.treasury.note_channels().await.unwrap();
    *world.node.channels.lock().unwrap() = vec![channel("7", "f1")];
    world.treasury.note_channels().await.unwrap();
    for id in ["7", "c7"] {
        assert_eq!(world.treasury.channel_id(id.to_owned()).await.unwrap(), "c7", "{id}");
    }
    assert_eq!(world.treasury.channel_id("c9".to_owned()).await.unwrap(), "c9");
}
