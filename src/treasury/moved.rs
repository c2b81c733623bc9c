//! What an operation moved: what left for good, and what only changed its place.

use serde_json::Value;

use super::mark::Mark;

/// The sums of a move, satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// What left for good: what was sent away, what was given, and the fee as far as it is known.
    pub gone_sat: Option<u64>,
    /// What only changed its place: it went from the wallet into a channel, or to an address of the wallet's own.
    pub kept_sat: Option<u64>,
    /// It went to an address of the wallet's own.
    pub to_own: bool,
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
                let fee = fee_sat.unwrap_or(0);
                let gone = |amount: u64| amount.saturating_add(fee);
                match came_back(kind, ask, outcome) {
                    Some(own) => {
                        let rest = amount.unwrap_or(own).saturating_sub(own);
                        let gone_sat = Some(gone(rest)).filter(|gone| *gone > 0);
                        Moved { gone_sat, kept_sat: Some(own), to_own: true, fee_sat }
                    }
                    None => Moved { gone_sat: amount.map(gone), fee_sat, ..Moved::default() },
                }
            }
            "splice_in" | "open_channel" => {
                let given = ask["push_msat"].as_u64().unwrap_or(0).div_ceil(1_000);
                let gone = given.saturating_add(fee_sat.unwrap_or(0));
                let kept_sat = amount.map(|amount| amount.saturating_sub(given));
                Moved { gone_sat: Some(gone).filter(|gone| *gone > 0), kept_sat, fee_sat, ..Moved::default() }
            }
            _ => Moved::default(),
        }
    }
}

/// What came to the wallet itself of a move to an address, satoshi. Of a send the wallet counts as sent what left it alone.
/// Before the wallet has seen it, all of it does where the address was known as one of the wallet's own.
fn came_back(kind: &str, ask: &Value, outcome: &Value) -> Option<u64> {
    let asked = || ask["amount_sat"].as_u64();
    let seen = match kind {
        "splice_out" => outcome["to_own_sat"].as_u64(),
        _ => asked().zip(outcome["sent_sat"].as_u64()).and_then(|(asked, sent)| asked.checked_sub(sent)),
    };
    seen.or_else(|| asked().filter(|_| Mark::of(outcome).to_own)).filter(|own| *own > 0)
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
        let own = || json!({ "fee_sat": 183, "to_own_sat": 100_000 });
        assert_eq!(of("splice_out", asked(), own()), (Some(183), Some(100_000)));
        // It is known from the start where it goes.
        let own = || json!({ "before": { "height": 7, "to_own": true } });
        assert_eq!(of("splice_out", asked(), own()), (None, Some(100_000)));
        assert_eq!(of("send", asked(), own()), (None, Some(100_000)));
        let sent = |sent_sat: u64| json!({ "fee_sat": 183, "sent_sat": sent_sat });
        assert_eq!(of("send", asked(), sent(100_000)), (Some(100_183), None));
        assert_eq!(of("send", asked(), sent(0)), (Some(183), Some(100_000)));
        assert_eq!(of("send_all", json!({}), json!({ "sent_sat": 7, "fee_sat": 1 })), (Some(8), None));
        assert_eq!(of("splice_in", json!({ "amount_sat": 100_000 }), fee()), (Some(183), Some(100_000)));
        assert_eq!(of("open_channel", asked(), json!({})), (Some(5_000), Some(95_000)));
        assert_eq!(of("close_channel", json!({}), json!({})), (None, None));
    }
}
