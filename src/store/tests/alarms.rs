//! Alarms over restarts: raised once, changed when they are worse, cleared when they are over.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::ports::Alarm;
use crate::store::Findings;
use crate::types::Severity;

fn stale(severity: Severity, text: &str) -> Alarm {
    Alarm::new("chain_stale", severity, text, "look at it")
}

async fn told(ledger: &Ledger) -> Vec<String> {
    let events = ledger.events_after(0, 100).await.unwrap();
    events
        .into_iter()
        .filter_map(|logged| match logged.event {
            Event::AlarmRaised { code, severity, .. } => Some(format!("raised {code} {severity}")),
            Event::AlarmChanged { code, was, severity, .. } => {
                Some(format!("changed {code} {was} {severity}"))
            }
            Event::AlarmCleared { code, .. } => Some(format!("cleared {code}")),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_told_when_it_changes_and_not_when_it_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let standing = |alarm: Alarm| Findings { standing: vec![alarm], ..Findings::default() };
    {
        let (ledger, _) = Ledger::open(&path, clock.clone()).unwrap();
        ledger.note_alarms(standing(stale(Severity::Warning, "for 10 minutes"))).await.unwrap();
        let rows = ledger.note_alarms(standing(stale(Severity::Warning, "for 11 minutes"))).await.unwrap();
        assert_eq!(rows.len(), 1);
        ledger.close().await.unwrap();
    }
    let (ledger, _) = Ledger::open(&path, clock.clone()).unwrap();
    let commits = ledger.commits();
    ledger.note_alarms(standing(stale(Severity::Warning, "for 12 minutes"))).await.unwrap();
    assert_eq!(ledger.commits(), commits, "what is known already is not written");
    clock.advance(Duration::from_secs(60));
    let rows = ledger.note_alarms(standing(stale(Severity::Critical, "for 2 hours"))).await.unwrap();
    assert_eq!(rows[0].alarm.text, "for 2 hours");
    assert!(rows[0].changed_at > rows[0].raised_at);
    assert!(ledger.note_alarms(Findings::default()).await.unwrap().is_empty());
    let expected =
        ["raised chain_stale warning", "changed chain_stale warning critical", "cleared chain_stale"];
    assert_eq!(told(&ledger).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_raised_stands_until_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let (ledger, _) = Ledger::open(&folder.path().join("ledger.db"), clock.clone()).unwrap();
    let notice = Alarm::new("channel_closed_by_restart", Severity::Warning, "it closed", "").about("aa");
    let until = clock.now().plus(Duration::from_secs(3_600));
    let found = Findings { notices: vec![(notice, until)], watched: 7, ..Findings::default() };
    ledger.note_alarms(found).await.unwrap();
    assert_eq!(ledger.watched().await.unwrap(), 7);
    clock.advance(Duration::from_secs(3_599));
    let rows = ledger.note_alarms(Findings::default()).await.unwrap();
    assert_eq!(rows[0].alarm.subject.as_deref(), Some("aa"));
    clock.advance(Duration::from_secs(1));
    assert!(ledger.note_alarms(Findings::default()).await.unwrap().is_empty());
    assert_eq!(told(&ledger).await.len(), 2);
}
