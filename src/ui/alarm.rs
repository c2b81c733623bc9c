//! An alarm as a page says it: what is the matter, what to do, and where.

use super::figures::{Span, grouped_in, iso, shortened, spans, typeset, utc};
use crate::store::AlarmRow;
use crate::types::Severity;

/// So many hexadecimal digits in a row are a hash or a key.
const LONG: usize = 64;

/// What is the matter in a sentence, with ids cut short: in full they are a wall on a small screen.
pub(super) struct Told {
    pub(super) text: String,
    /// The ids that it names, in full.
    pub(super) ids: Vec<String>,
}

impl Told {
    /// A sentence of the program's.
    pub(super) fn of(sentence: &str) -> Told {
        let (text, ids) = with_short_ids(&typeset(&grouped_in(sentence)));
        Told { text, ids }
    }
}

/// One alarm.
pub(super) struct AlarmLine {
    pub(super) class: &'static str,
    pub(super) severity: &'static str,
    pub(super) told: Told,
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
            told: Told::of(&row.alarm.text),
            fix: spans(&row.alarm.fix),
            since: utc(row.raised_at),
            since_iso: iso(row.raised_at),
        }
    }
}

/// The sentence with what is hexadecimal and as long as a hash or a key by how it begins and ends, and all of it.
fn with_short_ids(sentence: &str) -> (String, Vec<String>) {
    let mut ids: Vec<String> = Vec::new();
    let words = sentence.split(|char: char| !char.is_ascii_alphanumeric());
    for word in words.filter(|word| word.len() >= LONG && word.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        if !ids.iter().any(|id| id == word) {
            ids.push(word.to_owned());
        }
    }
    let text = ids.iter().fold(sentence.to_owned(), |text, id| text.replace(id, &shortened(id)));
    (text, ids)
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
    fn an_alarm_names_long_ids_by_their_ends_and_has_them_in_full() {
        let id = "ab".repeat(32);
        let (text, ids) = with_short_ids(&format!("It waits ({id}: away), {id}."));
        assert_eq!((text.as_str(), ids), ("It waits (abababab…ababab: away), abababab…ababab.", vec![id]));
        let short = "Of 20,000 sat at 1a2b3c4d.";
        assert_eq!(with_short_ids(short), (short.to_owned(), Vec::new()));
    }

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
