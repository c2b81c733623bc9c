//! A move of coins in words: what was asked, and how it stands.

use super::figures::{grouped, iso, sats_exact, utc};
use crate::store::{OperationRow, OperationState};

/// One operation, as a line of a list.
pub(super) struct OperationLine {
    /// Its number.
    pub(super) id: i64,
    /// What was asked: `Send 20,000 sat`.
    pub(super) title: String,
    /// How it stands, in a word or two.
    pub(super) state: &'static str,
    /// `good`, `bad` or nothing, for its dot.
    pub(super) dot: &'static str,
    pub(super) at: String,
    pub(super) at_iso: String,
}

impl OperationLine {
    /// The line of `row`.
    pub(super) fn of(row: &OperationRow) -> OperationLine {
        let (state, dot) = match row.state {
            OperationState::Intended => ("Being done", ""),
            OperationState::Sent => ("On its way", ""),
            OperationState::Done => ("Done", "good"),
            OperationState::Failed => ("Not done", "bad"),
            OperationState::Unclear => ("Unclear", "bad"),
        };
        OperationLine {
            id: row.id,
            title: title(row),
            state,
            dot,
            at: utc(row.begun_at),
            at_iso: iso(row.begun_at),
        }
    }
}

/// The amount that is asked for, in satoshi with its unit, where one is known.
pub(super) fn amount(row: &OperationRow) -> Option<String> {
    let msat = [&row.outcome["amount_msat"], &row.ask["amount_msat"]];
    let sat = [&row.ask["amount_sat"], &row.outcome["sent_sat"]];
    let sat = || sat.into_iter().find_map(serde_json::Value::as_u64).map(grouped);
    let exact = msat.into_iter().find_map(serde_json::Value::as_u64).map(sats_exact);
    exact.or_else(sat).map(|figure| format!("{figure} sat"))
}

fn title(row: &OperationRow) -> String {
    let amount = amount(row);
    let some = |before: &str, after: &str| match &amount {
        Some(amount) => format!("{before} {amount}{after}"),
        None => format!("{before} coins{after}"),
    };
    match row.kind.as_str() {
        "send" => some("Send", ""),
        "send_all" => "Send all coins".to_owned(),
        "open_channel" => match &amount {
            Some(amount) => format!("Open a channel of {amount}"),
            None => "Open a channel".to_owned(),
        },
        "close_channel" => "Close a channel".to_owned(),
        "force_close_channel" => "Close a channel by force".to_owned(),
        "splice_in" => some("Move", " into a channel"),
        "splice_out" => some("Move", " out of a channel"),
        "pay_out" => some("Pay out", ""),
        "pay_invoice" => match &amount {
            Some(amount) => format!("Pay an invoice of {amount}"),
            None => "Pay an invoice".to_owned(),
        },
        "buy_inbound" => "Buy room to receive".to_owned(),
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn operations_are_told_in_words() {
        let row = |kind: &str, ask, outcome| OperationRow {
            id: 7,
            key: "k".to_owned(),
            kind: kind.to_owned(),
            ask,
            state: OperationState::Sent,
            outcome,
            begun_at: Timestamp::from_secs(1_700_000_000),
            ended_at: None,
        };
        let told = |kind, ask, outcome| OperationLine::of(&row(kind, ask, outcome)).title;
        assert_eq!(told("send", json!({ "amount_sat": 20_000 }), json!({})), "Send 20,000 sat");
        assert_eq!(
            told("splice_out", json!({ "amount_sat": 5_000 }), json!({})),
            "Move 5,000 sat out of a channel"
        );
        assert_eq!(
            told("pay_out", json!({ "amount_msat": null }), json!({ "amount_msat": 1_500 })),
            "Pay out 1.5 sat"
        );
        assert_eq!(told("pay_out", json!({}), json!(null)), "Pay out coins");
        assert_eq!(told("some_thing", json!({}), json!({})), "some thing");
    }
}
