//! What the log tells that a person should know for a while: a channel that a restart closed, books that are
//! wrong, payments that may have been made twice.

use std::time::Duration;

use crate::event::{Event, LoggedEvent};
use crate::ports::Alarm;
use crate::store::{Ledger, StoreError};
use crate::types::Severity::{Critical, Info, Warning};
use crate::types::Timestamp;

/// Rows read at once.
const BATCH: u32 = 500;
/// How long what the log told stands.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// LDK's words for a channel that it closed because the last end of the process came between two writes.
const CLOSED_BY_RESTART: &str = "stale compared to ChannelMonitor";

/// Reads the log after event number `watched`; gives what it tells, each until when it stands, and the number
/// of the last event.
pub(super) async fn read(
    ledger: &Ledger,
    mut watched: i64,
) -> Result<(Vec<(Alarm, Timestamp)>, i64), StoreError> {
    let mut notices = Vec::new();
    loop {
        let events = ledger.events_after(watched, BATCH).await?;
        let Some(last) = events.last() else { return Ok((notices, watched)) };
        watched = last.id;
        notices.extend(events.iter().filter_map(notice));
    }
}

fn notice(logged: &LoggedEvent) -> Option<(Alarm, Timestamp)> {
    match &logged.event {
        Event::ChannelClosed { channel_id, reason, .. } if reason.contains(CLOSED_BY_RESTART) => {
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
            let fix = "Keep a copy of ledger.db, and see tollhouse audit.";
            Some((Alarm::new("books_wrong", Critical, text, fix), logged.at.plus(WEEK)))
        }
        Event::PossibleSurplus { .. } => {
            let text = "A payment was told twice within a run: somebody may have paid one invoice twice. It is \
                        shown with the payment, and is nobody's revenue.";
            let fix = "tollhouse audit shows the sum; give it back if the buyer asks.";
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
        let closed = |reason: &str| LoggedEvent {
            id: 1,
            generation: 1,
            at: Timestamp::from_secs(1_000),
            event: Event::ChannelClosed {
                channel_id: "aa".into(),
                peer: "02".into(),
                reason: reason.to_owned(),
                cause: String::new(),
                local_id: String::new(),
            },
        };
        // As lightning 0.2.7 says it.
        let by_restart = "Channel closed because the ChannelManager read from disk was stale compared to ChannelMonitor(s)";
        let (alarm, until) = notice(&closed(by_restart)).unwrap();
        assert_eq!(
            (alarm.code.as_str(), alarm.subject.as_deref()),
            ("channel_closed_by_restart", Some("aa"))
        );
        assert!(alarm.text.contains(by_restart));
        assert_eq!(until, Timestamp::from_secs(1_000).plus(WEEK));
        assert_eq!(
            notice(&closed("Channel closed because the channel was cooperatively closed by us")),
            None
        );
    }
}
