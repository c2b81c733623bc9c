//! Every rule at its limit: one step before it nothing, at it the alarm.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::ports::{
    Alarm, ChainView, ChannelView, ComingHome, NodePulse, NodeStage, NodeView, SourceTime, SourceView,
    UnsentView,
};
use crate::types::Severity::{Critical, Info, Warning};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn ago(seconds: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(seconds))
}

/// An appliance that is well.
fn well() -> Vitals {
    Vitals {
        now: NOW,
        begun: ago(86_400),
        view: NodeView {
            network: "signet".to_owned(),
            running: true,
            synced_at: Some(ago(2).secs()),
            receivable_msat: 1_000_000_000,
            peers_connected: 2,
            ..NodeView::default()
        },
        beat: NodePulse {
            stage: NodeStage::Running,
            fee_rates_at: Some(ago(300)),
            onchain_synced_at: Some(ago(2)),
            peers_known: 2,
            reserve_wanted_sat: 25_000,
            onchain_total_sat: 100_000,
            coming_home: Vec::new(),
        },
        chain: ChainView {
            sources: vec![source("one", true)],
            unheard_s: 2,
            stale: false,
            unsent: Vec::new(),
        },
        since: Since::default(),
        prices: Prices {
            smallest: Some(Msat::from_sat(10).unwrap()),
            highest: Some((Msat::from_sat(1_000).unwrap(), "api/default".to_owned())),
        },
        unpayable: None,
        dearest_unpayable: false,
        disk: Some(DiskSpace { free: 100 << 30, total: 200 << 30 }),
        unclear_operations: 0,
        sent_operations: vec![ago(3_600)],
        open_orders: vec![(6, ago(3_600))],
        said_refunded: Vec::new(),
    }
}

fn source(name: &str, in_use: bool) -> SourceView {
    SourceView { kind: "esplora", name: name.to_owned(), in_use, answers: Some(true) }
}

fn alarms_of(vitals: &Vitals, standing: &[&str]) -> Vec<Alarm> {
    let standing: BTreeSet<String> = standing.iter().map(|code| (*code).to_owned()).collect();
    judge(vitals, &AlarmLimits::default(), &standing).into_iter().flat_map(|check| check.alarms).collect()
}

fn found(change: impl FnOnce(&mut Vitals)) -> Vec<(String, Severity)> {
    let mut vitals = well();
    change(&mut vitals);
    alarms_of(&vitals, &[]).into_iter().map(|alarm| (alarm.code, alarm.severity)).collect()
}

fn one(code: &str, severity: Severity) -> Vec<(String, Severity)> {
    vec![(code.to_owned(), severity)]
}

#[test]
fn nothing_is_wrong_with_what_is_well() {
    assert_eq!(found(|_| {}), []);
    let checks = judge(&well(), &AlarmLimits::default(), &BTreeSet::new());
    assert_eq!(checks.len(), 13);
    assert!(checks.iter().all(|check| check.worst().is_none() && !check.detail.is_empty()));
}

#[test]
fn a_transaction_that_no_source_took() {
    let unsent = |n: u8| UnsentView {
        txid: format!("{n:02x}").repeat(32),
        spends: Vec::new(),
        why: "the chain source does not answer".to_owned(),
        since: ago(3_599),
    };
    assert_eq!(found(|v| v.chain.unsent = vec![unsent(1)]), one("transactions_unsent", Warning));
    let late = UnsentView { since: ago(3_600), ..unsent(1) };
    assert_eq!(found(|v| v.chain.unsent = vec![late]), one("transactions_unsent", Critical));
    let mut vitals = well();
    (vitals.chain.unsent, vitals.beat.stage) =
        (vec![unsent(1), unsent(2)], NodeStage::Starting("why".to_owned()));
    let checks = judge(&vitals, &AlarmLimits::default(), &BTreeSet::new());
    let told =
        checks.iter().find(|check| check.name == "unsent").expect("it is told of a node that is away, too");
    assert!(told.alarms[0].text.contains(&unsent(1).txid), "{told:?}");
    assert!(told.alarms[0].text.starts_with("2 transactions"), "{told:?}");
}

#[test]
fn a_chain_that_stands_still() {
    assert_eq!(found(|v| v.view.synced_at = Some(ago(599).secs())), []);
    assert_eq!(found(|v| v.view.synced_at = Some(ago(600).secs())), one("chain_stale", Warning));
    assert_eq!(found(|v| v.view.synced_at = Some(ago(3_600).secs())), one("chain_stale", Critical));
    // Never in step: counted from the start.
    assert_eq!(found(|v| (v.view.synced_at, v.begun) = (None, ago(599))), []);
    assert_eq!(found(|v| (v.view.synced_at, v.begun) = (None, ago(600))), one("chain_stale", Warning));
    // It believes that it is in step, and nobody answers it.
    assert_eq!(found(|v| v.chain.unheard_s = 600), one("chain_stale", Warning));
    // So long that nothing is sold: one cause, one alarm, whatever else follows from it.
    let dead = found(|v| {
        (v.chain.stale, v.chain.unheard_s, v.unpayable) =
            (true, 63, Some("the node is not ready".to_owned()));
    });
    assert_eq!(dead, one("chain_stale", Critical));
    let fallback = found(|v| v.chain.sources = vec![source("one", false), source("two", true)]);
    assert_eq!(fallback, one("chain_fallback", Info));
    // A source that was not reached just now alarms nobody yet, and is not fine.
    let mut vitals = well();
    vitals.chain.sources[0].answers = Some(false);
    assert_eq!(alarms_of(&vitals, &[]), []);
    let checks = judge(&vitals, &AlarmLimits::default(), &BTreeSet::new());
    for name in ["chain", "fees"] {
        let check = checks.iter().find(|check| check.name == name).expect("it is looked at");
        assert!(check.worst() == Some(Warning) && check.detail.contains("one d"), "{check:?}");
    }
    assert_eq!(found(|v| v.beat.fee_rates_at = Some(ago(7_199))), []);
    assert_eq!(found(|v| v.beat.fee_rates_at = Some(ago(7_200))), one("fees_stale", Warning));
}

#[test]
fn a_node_that_is_not_there_is_the_only_alarm_about_it() {
    let starting = || NodeStage::Starting("the chain source does not answer".to_owned());
    assert_eq!(found(|v| (v.beat.stage, v.begun) = (starting(), ago(119))), []);
    assert_eq!(
        found(|v| {
            (v.beat.stage, v.begun, v.view.synced_at) = (starting(), ago(120), None);
            v.unpayable = Some("the Lightning node is not ready".to_owned());
        }),
        one("node_down", Critical)
    );
    let failed = |why: &str| NodeStage::Failed(why.to_owned());
    assert_eq!(found(|v| v.beat.stage = failed("wrong network")), one("node_down", Critical));
    let unreadable = "the stored channel state could not be read in 5 tries";
    assert_eq!(found(|v| v.beat.stage = failed(unreadable)), one("node_unreadable", Critical));
}

#[test]
fn what_cannot_be_known_is_not_over() {
    let row = |code: &str, subject: Option<&str>| {
        let alarm = Alarm::new(code, Info, "It is so.", "Wait.");
        let alarm = match subject {
            Some(subject) => alarm.about(subject.to_owned()),
            None => alarm,
        };
        AlarmRow { alarm, raised_at: ago(900), changed_at: ago(900), holds_until: None }
    };
    let known = [
        row("closing_pending", Some("aa")),
        row("closing_pending", Some("bb")),
        row("cannot_receive", None),
        row("disk_low", None),
        row("chain_fallback", None),
    ];
    let stand = |vitals: &Vitals| {
        let stand = unknown(vitals, &AlarmLimits::default(), &known).into_iter();
        stand.map(|alarm| format!("{}{}", alarm.code, alarm.subject.unwrap_or_default())).collect::<Vec<_>>()
    };
    let mut vitals = well();
    for stage in [NodeStage::Starting("x".to_owned()), NodeStage::Failed("x".to_owned()), NodeStage::Stopped]
    {
        vitals.beat.stage = stage;
        assert_eq!(stand(&vitals), ["closing_pendingaa", "closing_pendingbb", "cannot_receive"]);
    }
    // It is up, and nobody is connected yet.
    vitals.beat.stage = NodeStage::Running;
    (vitals.unpayable, vitals.since.alone) = (Some("no usable channel".to_owned()), Some(NOW));
    assert_eq!(stand(&vitals), ["cannot_receive"]);
    (vitals.since.alone, vitals.since.resuming) = (None, Some(ago(2)));
    assert_eq!(stand(&vitals), ["cannot_receive"], "a peer has just come");
    vitals.since.resuming = None;
    vitals.since.alone = Some(ago(180));
    assert!(stand(&vitals).is_empty(), "that has its own alarm now");
    assert!(stand(&well()).is_empty());
}

#[test]
fn a_clock_that_is_wrong() {
    let told = |time: SourceTime| found(|v| v.since.source_time = Some((NOW, time)));
    let date = |date: Timestamp| told(SourceTime { date: Some(date), ..SourceTime::default() });
    assert_eq!(date(ago(119)), []);
    assert_eq!(date(ago(120)), one("clock_skew", Warning));
    assert_eq!(date(NOW.plus(Duration::from_secs(120))), one("clock_skew", Warning));
    assert_eq!(date(ago(600)), one("clock_skew", Critical));
    let median = |median: Timestamp| told(SourceTime { median: Some(median), ..SourceTime::default() });
    assert_eq!(median(NOW.plus(Duration::from_secs(120))), []);
    assert_eq!(median(NOW.plus(Duration::from_secs(121))), one("clock_skew", Critical));
    let tip = |tip: Timestamp| told(SourceTime { tip: Some(tip), ..SourceTime::default() });
    assert_eq!(tip(ago(4 * 3_600 - 1)), []);
    assert_eq!(tip(ago(4 * 3_600)), one("no_blocks", Warning));
    let regtest = found(|v| {
        v.view.network = "regtest".to_owned();
        v.since.source_time = Some((NOW, SourceTime { tip: Some(ago(86_400)), ..SourceTime::default() }));
    });
    assert_eq!(regtest, [], "nobody mines there by the clock");
}

#[test]
fn nobody_to_receive_from() {
    assert_eq!(found(|v| v.since.alone = Some(ago(179))), []);
    assert_eq!(found(|v| v.since.alone = Some(ago(180))), one("peers_offline", Critical));
    let mut since = Since::default();
    since.connected(ago(10), false);
    since.connected(NOW, false);
    assert_eq!(since.alone, Some(ago(10)), "since the first look that found nobody");
    since.connected(NOW, true);
    assert_eq!(since.alone, None);
    let unpayable = || Some("no usable channel".to_owned());
    assert_eq!(found(|v| v.unpayable = unpayable()), one("cannot_receive", Critical));
    // After a start a peer comes first, and its channel can be used some seconds later.
    let resuming = |seconds| found(|v| (v.unpayable, v.since.resuming) = (unpayable(), Some(ago(seconds))));
    assert_eq!((resuming(29), resuming(30)), (Vec::new(), one("cannot_receive", Critical)));
    let channel = |usable| ChannelView { ready: true, usable, ..ChannelView::default() };
    let view = |channels, peers_connected| NodeView { channels, peers_connected, ..NodeView::default() };
    let mut since = Since::default();
    for at in [ago(9), NOW] {
        since.resumes(at, &view(vec![channel(false)], 1));
    }
    assert_eq!(since.resuming, Some(ago(9)));
    for other in
        [view(vec![channel(false), channel(true)], 2), view(vec![channel(false)], 0), view(vec![], 1)]
    {
        since.resumes(NOW, &other);
        assert_eq!(since.resuming.take(), None);
        since.resuming = Some(NOW);
    }
    let alone = found(|v| (v.unpayable, v.since.alone) = (unpayable(), Some(ago(180))));
    assert_eq!(alone, one("peers_offline", Critical), "one cause, one alarm");
}

#[test]
fn receivable_is_measured_by_the_highest_price_and_does_not_waver() {
    let receivable = |msat: u64, standing: &[&str]| {
        let mut vitals = well();
        vitals.view.receivable_msat = msat;
        alarms_of(&vitals, standing).into_iter().map(|alarm| alarm.code).collect::<Vec<_>>()
    };
    assert!(receivable(10_000_000, &[]).is_empty());
    assert_eq!(receivable(9_999_999, &[]), ["receivable_low"]);
    assert_eq!(receivable(10_999_999, &["receivable_low"]), ["receivable_low"]);
    assert!(receivable(11_000_000, &["receivable_low"]).is_empty());
    assert_eq!(found(|v| (v.view.receivable_msat, v.prices) = (0, Prices::default())), []);
    let text = |msat: u64| {
        let mut vitals = well();
        vitals.view.receivable_msat = msat;
        alarms_of(&vitals, &[])[0].text.clone()
    };
    assert!(
        text(1_500_000)
            .contains("1500 sat can be received: 1 more sale at the highest price, 1000 sat (api/default)")
    );
}

#[test]
fn what_costs_more_than_one_payment_can_bring_is_not_counted_as_a_sale() {
    let mut vitals = well();
    (vitals.dearest_unpayable, vitals.view.largest_receivable_msat) = (true, 900_000);
    let alarms = alarms_of(&vitals, &[]);
    assert_eq!(alarms.iter().map(|alarm| alarm.code.as_str()).collect::<Vec<_>>(), ["receivable_low"]);
    let text = "api/default costs 1000 sat and cannot be sold now: one payment brings 900 sat at most, over one channel.";
    assert_eq!(alarms[0].text, text);
    // It ends once one payment brings clearly more, and begins only when the channels had time to come back.
    (vitals.dearest_unpayable, vitals.view.largest_receivable_msat) = (false, 1_050_000);
    let still = alarms_of(&vitals, &["receivable_low"]);
    assert!(
        still[0].text.contains("about all that one payment can bring: 1050 sat at most"),
        "{}",
        still[0].text
    );
    assert!(alarms_of(&vitals, &[]).is_empty());
    vitals.view.largest_receivable_msat = 1_100_000;
    assert!(alarms_of(&vitals, &["receivable_low"]).is_empty());
    (vitals.dearest_unpayable, vitals.view.largest_receivable_msat) = (true, 900_000);
    vitals.begun = vitals.now;
    assert!(alarms_of(&vitals, &[]).is_empty());
    assert_eq!(alarms_of(&vitals, &["receivable_low"]).len(), 1);
}

#[test]
fn coins_that_are_short_or_on_their_way() {
    assert_eq!(found(|v| v.beat.onchain_total_sat = 25_000), []);
    assert_eq!(found(|v| v.beat.onchain_total_sat = 24_999), one("reserve_low", Warning));
    assert_eq!(found(|v| (v.beat.onchain_total_sat, v.beat.reserve_wanted_sat) = (0, 0)), []);
    let coins = |channel: &str, amount_sat| ComingHome {
        channel_id: Some(channel.to_owned()),
        amount_sat,
        state: "waits for its delay",
        claimable_height: Some(144),
    };
    let mut vitals = well();
    vitals.beat.coming_home = vec![coins("aa", 5), coins("bb", 7), coins("aa", 10)];
    let alarms = alarms_of(&vitals, &[]);
    assert_eq!(alarms.len(), 2);
    assert_eq!((alarms[0].subject.as_deref(), alarms[0].severity), (Some("aa"), Info));
    assert!(
        alarms[0].text.contains("15 sat") && alarms[0].text.contains("from block 144"),
        "{}",
        alarms[0].text
    );
}

#[test]
fn a_disk_that_fills_up_and_a_state_that_grows() {
    let disk = |free: u64| found(|v| v.disk = Some(DiskSpace { free, total: 200 << 30 }));
    assert_eq!(disk(1 << 30), []);
    assert_eq!(disk((1 << 30) - 1), one("disk_low", Warning));
    assert_eq!(disk((1 << 30) / 10 - 1), one("disk_low", Critical));
    assert_eq!(found(|v| v.disk = None), []);
    assert_eq!(found(|v| v.since.largest_monitor_bytes = (8 << 20) - 1), []);
    assert_eq!(found(|v| v.since.largest_monitor_bytes = 8 << 20), one("monitor_large", Warning));
    assert_eq!(found(|v| v.unclear_operations = 1), one("operation_unclear", Warning));
}

#[test]
fn what_should_have_ended_by_now() {
    let sent = |seconds| found(|v| v.sent_operations = vec![ago(60), ago(seconds)]);
    assert_eq!(sent(3 * 86_400 - 1), []);
    assert_eq!(sent(3 * 86_400), one("operation_overdue", Warning));
    let order = |seconds| found(|v| v.open_orders = vec![(6, ago(60)), (7, ago(seconds))]);
    assert_eq!(order(86_399), []);
    assert_eq!(order(86_400), one("order_overdue", Warning));
    assert_eq!(order(60 * 86_400), [], "it will never come");
    let mut vitals = well();
    vitals.open_orders = vec![(7, ago(86_400)), (8, ago(86_400))];
    let about: Vec<_> = alarms_of(&vitals, &[]).into_iter().filter_map(|alarm| alarm.subject).collect();
    assert_eq!(about, ["7", "8"], "each is told by itself");
    // What the provider says of the money is told at once, and in place of that.
    vitals.said_refunded = vec![8];
    let told = alarms_of(&vitals, &[]).into_iter().map(|alarm| (alarm.code, alarm.subject));
    let told: Vec<_> =
        told.filter(|(_, about)| about.as_deref() == Some("8")).map(|(code, _)| code).collect();
    assert_eq!(told, ["order_refund_unseen"]);
}

#[test]
fn every_alarm_says_what_to_do() {
    let mut vitals = well();
    vitals.view.synced_at = None;
    vitals.view.receivable_msat = 0;
    vitals.since.largest_monitor_bytes = 1 << 30;
    vitals.disk = Some(DiskSpace { free: 0, total: 1 });
    vitals.unclear_operations = 2;
    vitals.sent_operations = vec![ago(30 * 86_400)];
    vitals.open_orders = vec![(7, ago(2 * 86_400))];
    vitals.beat.onchain_total_sat = 0;
    for alarm in alarms_of(&vitals, &[]) {
        assert!(alarm.text.ends_with('.') && alarm.fix.ends_with('.'), "{alarm:?}");
    }
}
