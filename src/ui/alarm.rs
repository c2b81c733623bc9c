//! An alarm as a page says it: what is the matter, what to do, and where.

use super::figures::{Span, iso, spans, typeset, utc};
use crate::store::AlarmRow;
use crate::types::Severity;

/// One alarm.
pub(super) struct AlarmLine {
    pub(super) class: &'static str,
    pub(super) severity: &'static str,
    pub(super) text: String,
    pub(super) fix: Vec<Span>,
    /// Where it is mended: address and name.
    pub(super) way: (&'static str, &'static str),
    pub(super) since: String,
    pub(super) since_iso: String,
}

impl AlarmLine {
    /// The worst in front, the oldest of the same first.
    pub(super) fn all(mut rows: Vec<AlarmRow>) -> Vec<AlarmLine> {
        rows.sort_by_key(|row| (std::cmp::Reverse(row.alarm.severity), row.raised_at));
        rows.into_iter().map(AlarmLine::of).collect()
    }

    fn of(row: AlarmRow) -> AlarmLine {
        let (class, severity) = match row.alarm.severity {
            Severity::Critical => ("critical", "Act now"),
            Severity::Warning => ("warning", "Act soon"),
            Severity::Info => ("info", "Good to know"),
        };
        AlarmLine {
            class,
            severity,
            way: way(&row.alarm.code),
            text: typeset(&row.alarm.text),
            fix: spans(&row.alarm.fix),
            since: utc(row.raised_at),
            since_iso: iso(row.raised_at),
        }
    }
}

/// The page on which an alarm is mended.
fn way(code: &str) -> (&'static str, &'static str) {
    match code {
        "chain_stale" | "chain_fallback" | "fees_stale" | "no_blocks" | "transactions_unsent" => {
            ("/start/chain", "Test the chain source")
        }
        "cannot_receive" => ("/start/receive", "Ways to receive"),
        "receivable_low" => ("/lightning/inbound", "Make room to receive"),
        "peers_offline" | "monitor_large" | "channel_closed_by_restart" => {
            ("/lightning", "Look at Lightning")
        }
        "reserve_low" | "closing_pending" => ("/coins", "Look at the coins"),
        "seed_not_verified" => ("/start/seed", "Check the words"),
        "backup_missing"
        | "backup_failed"
        | "backup_old"
        | "snapshot_failed"
        | "snapshot_old"
        | "possible_stale_restore" => ("/backup", "Look at backup & recovery"),
        "order_overdue" | "order_refund_unseen" => ("/lightning/inbound", "Look at the orders"),
        "operation_unclear" | "operation_overdue" => ("/activity", "Look at what happened"),
        "possible_surplus" => ("/revenue", "Look at the payments"),
        _ => ("/system", "Look at the system"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Alarm;
    use crate::types::Timestamp;

    #[test]
    fn the_worst_and_oldest_comes_first_with_its_way() {
        let row = |code: &str, severity, secs| AlarmRow {
            alarm: Alarm::new(code, severity, code, "do it"),
            raised_at: Timestamp::from_secs(secs),
            changed_at: Timestamp::from_secs(secs),
            holds_until: None,
        };
        let lines = AlarmLine::all(vec![
            row("reserve_low", Severity::Warning, 3),
            row("backup_old", Severity::Warning, 2),
            row("cannot_receive", Severity::Critical, 9),
            row("of a later version", Severity::Info, 1),
        ]);
        let seen: Vec<_> = lines.iter().map(|line| (line.class, line.way.0)).collect();
        assert_eq!(
            seen,
            [
                ("critical", "/start/receive"),
                ("warning", "/backup"),
                ("warning", "/coins"),
                ("info", "/system")
            ]
        );
    }
}
