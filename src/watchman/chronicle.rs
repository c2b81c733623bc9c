//! What the log tells that a person should know for a while: a channel that a restart closed, books that are
//! wrong, payments that may have been made twice.

use std::time::Duration;

use crate::event::{Event, LoggedEvent};
use crate::ports::{Alarm, CloseCause};
use crate::store::{Ledger, StoreError};
use crate::types::Severity::{Critical, Info, Warning};
use crate::types::Timestamp;

/// The kinds of events that tell something. Sales are not among them: however many there are, and however long
/// nobody looked, they are not read.
const TELLING: &[&str] = &["channel_closed", "books_audited", "possible_surplus"];
/// More than this of one kind since the last look say nothing new.
const MOST: u32 = 500;
/// How long what the log told stands.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// Looks through the log after event number `watched`; gives what it tells, each until when it stands, and the
/// number of the last event.
pub(super) async fn read(
    ledger: &Ledger,
    watched: i64,
) -> Result<(Vec<(Alarm, Timestamp)>, i64), StoreError> {
    let (events, newest) = ledger.rare_events(TELLING, watched, MOST).await?;
    Ok((events.iter().filter_map(notice).collect(), newest.max(watched)))
}

fn notice(logged: &LoggedEvent) -> Option<(Alarm, Timestamp)> {
    match &logged.event {
        Event::ChannelClosed { channel_id, reason, cause, .. } if cause == CloseCause::Restart.word() => {
            let text = format!(
                "LDK closed a channel at a restart, because the process had ended in the middle of a payment. No \
                 coins are lost; fees and some days are. Its words: {reason}"
            );
            let fix = "End the appliance in order (SIGTERM, and time to drain). Its coins come home by themselves; \
                       open a new channel, or buy inbound.";
            let alarm = Alarm::new("channel_closed_by_restart", Warning, text, fix);
            Some((alarm.about(channel_id), logged.at.plus(WEEK)))
        }
        Event::BooksAudited { ok: false, mismatches } => {
            let text = format!("The books are wrong: {}", mismatches.join("; "));
            let fix = "Keep a copy of `ledger.db`, and see `tollhouse audit`.";
            Some((Alarm::new("books_wrong", Critical, text, fix), logged.at.plus(WEEK)))
        }
        Event::PossibleSurplus { .. } => {
            let text = "A payment was told twice within a run: somebody may have paid one invoice twice. It is \
                        shown with the payment, and is nobody's revenue.";
            let fix = "`tollhouse audit` shows the sum; give it back if the buyer asks.";
            Some((Alarm::new("possible_surplus", Info, text, fix), logged.at.plus(DAY)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_close_that_a_restart_caused_is_blamed_on_it() {
        let closed = |cause: CloseCause, reason: &str| LoggedEvent {
            id: 1,
            generation: 1,
            at: Timestamp::from_secs(1_000),
            event: Event::ChannelClosed {
                channel_id: "aa".into(),
                peer: "02".into(),
                reason: reason.to_owned(),
                cause: cause.word().to_owned(),
                local_id: String::new(),
            },
        };
        // As lightning 0.2.7 says it.
        let by_restart = "Channel closed because the ChannelManager read from disk was stale compared to ChannelMonitor(s)";
        let (alarm, until) = notice(&closed(CloseCause::Restart, by_restart)).unwrap();
        assert_eq!(
            (alarm.code.as_str(), alarm.subject.as_deref()),
            ("channel_closed_by_restart", Some("aa"))
        );
        assert!(alarm.text.contains(by_restart));
        let surplus = Event::PossibleSurplus {
            payment_hash: crate::types::PaymentHash::from_bytes([1; 32]),
            amount_msat: crate::types::Msat::ZERO,
        };
        let told = [
            closed(CloseCause::Restart, by_restart).event,
            Event::BooksAudited { ok: false, mismatches: vec!["a sum".to_owned()] },
            surplus,
        ];
        for event in told {
            let kind = serde_json::to_value(&event).unwrap()["kind"].clone();
            assert!(TELLING.iter().any(|known| kind == *known), "{kind} would not be found");
            assert!(notice(&LoggedEvent { event, ..closed(CloseCause::Restart, "") }).is_some(), "{kind}");
        }
        assert_eq!(until, Timestamp::from_secs(1_000).plus(WEEK));
        assert_eq!(
            notice(&closed(CloseCause::AgreedByPeer, by_restart)),
            None,
            "a peer's words are not believed"
        );
    }
}
