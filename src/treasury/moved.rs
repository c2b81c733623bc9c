//! What an operation moved: what left for good, and what only changed its place.

use serde_json::Value;

/// The sums of a move, satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// What left for good: what was sent away, what was given, and the fee as far as it is known.
    pub gone_sat: Option<u64>,
    /// What only went from the wallet into a channel.
    pub kept_sat: Option<u64>,
    /// The fee, where it is known.
    pub fee_sat: Option<u64>,
}

impl Moved {
    /// Of an operation of `kind` that asked for `ask` and of which `outcome` is known. What is paid over Lightning has a
    /// line of its own, and what a close brings, too.
    pub fn of(kind: &str, ask: &Value, outcome: &Value) -> Moved {
        let fee_sat = outcome["fee_sat"].as_u64();
        let amount = [&ask["amount_sat"], &outcome["sent_sat"]].into_iter().find_map(Value::as_u64);
        match kind {
            "send" | "send_all" | "splice_out" => {
                let gone_sat = amount.map(|amount| amount.saturating_add(fee_sat.unwrap_or(0)));
                Moved { gone_sat, kept_sat: None, fee_sat }
            }
            "splice_in" | "open_channel" => {
                let given = ask["push_msat"].as_u64().unwrap_or(0).div_ceil(1_000);
                let gone = given.saturating_add(fee_sat.unwrap_or(0));
                let kept_sat = amount.map(|amount| amount.saturating_sub(given));
                Moved { gone_sat: Some(gone).filter(|gone| *gone > 0), kept_sat, fee_sat }
            }
            _ => Moved::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_left_for_good_is_told_apart_from_what_stays_ours() {
        let of = |kind: &str, ask, outcome| {
            let moved = Moved::of(kind, &ask, &outcome);
            (moved.gone_sat, moved.kept_sat)
        };
        let asked = || json!({ "amount_sat": 100_000, "push_msat": 5_000_000 });
        let fee = || json!({ "fee_sat": 183 });
        assert_eq!(of("splice_out", asked(), fee()), (Some(100_183), None));
        assert_eq!(of("send_all", json!({}), json!({ "sent_sat": 7, "fee_sat": 1 })), (Some(8), None));
        assert_eq!(of("splice_in", json!({ "amount_sat": 100_000 }), fee()), (Some(183), Some(100_000)));
        assert_eq!(of("open_channel", asked(), json!({})), (Some(5_000), Some(95_000)));
        assert_eq!(of("close_channel", json!({}), json!({})), (None, None));
    }
}
