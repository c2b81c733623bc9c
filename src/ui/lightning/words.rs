//! What the Lightning pages say in sentences: why a channel is gone, what a rule does, what comes next.

use serde_json::Value;

use crate::ports::NodeView;
use crate::store::ChannelRow;
use crate::ui::figures::{grouped, grouped_in, sats_whole, shortened};
use crate::ui::operation;
use crate::upkeep::PAY_OUT_RULE;

/// A reason of the program's as a sentence, its numbers in groups.
pub(super) fn sentence(text: &str) -> String {
    operation::sentence(&grouped_in(text))
}

/// Why a channel is gone, by the record's stable word.
pub(in crate::ui) fn cause(word: Option<&str>) -> &'static str {
    match word.unwrap_or_default() {
        "agreed_by_us" => "Closed by agreement; you asked",
        "agreed_by_peer" => "Closed by agreement; the other side asked",
        "agreed" => "Closed by agreement",
        "forced_by_us" => "Closed by force, by you",
        "forced_by_peer" => "Closed by force, by the other side",
        "seen_on_chain" => "Closed by a transaction that was seen on the chain",
        "restart" => "Closed to be safe: this node’s copy of the channel was older than the channel",
        "recovered" => "Its state was recovered, and the other side was asked to close it",
        "never_opened" => "It never came to be; no coins were committed",
        "payment_timed_out" => "Closed because a payment under way ran out of time",
        "fault" => "Closed because the other side broke the protocol",
        _ => "Closed; the node did not say why",
    }
}

/// What of a closed channel came back or comes: exactly, once the wallet has it.
pub(super) fn back(row: &ChannelRow) -> String {
    crate::ui::figures::back(row.back_sat().unwrap_or_default())
}

/// Why nothing comes back of a closed channel, where that is so.
pub(super) fn nothing_of(row: &ChannelRow) -> Option<String> {
    let nothing = row.back_sat() == Some((0, true));
    nothing.then(|| grouped_in(&crate::treasury::nothing_back(row.lost_sat, row.cause.as_deref())))
}

/// Where what was ours in a closed channel is, as far as anybody saw.
pub(super) fn coins_of(row: &ChannelRow) -> String {
    if let Some(nothing) = nothing_of(row) {
        return format!("Nothing comes back of it: {nothing}.");
    }
    let agreed = row.cause.as_deref().is_some_and(|cause| cause.starts_with("agreed"));
    let text = match (row.returned_height, row.owed_sat) {
        (Some(_), Some(_)) => "What was yours in it is in the on-chain wallet.",
        (None, Some(_)) => "What was yours in it is on its way to the on-chain wallet.",
        (None, None) => "What was yours in it is looked for on the chain.",
        (Some(_), None) if agreed => {
            "Its closing transaction is deep in the chain, and paid what was yours to the on-chain wallet; how much \
             that was, the node did not see. The history of On-chain & vault shows what arrived."
        }
        (Some(_), None) => {
            "The node did not see whether anything of it came back. The history of On-chain & vault shows what \
             arrived."
        }
    };
    text.to_owned()
}

/// A payee as a person can compare it: whole, unless it is an offer or an invoice of hundreds of letters.
pub(super) fn payee(to: &str) -> String {
    if to.chars().count() <= 64 { to.to_owned() } else { shortened(to) }
}

/// What a rule is called, and what it is for.
pub(super) fn rule_name(name: &str) -> &'static str {
    if name == PAY_OUT_RULE { "Pay out when receivable is low" } else { "Splice out when spendable is high" }
}

/// What a rule with these terms does.
pub(super) fn rule_terms(name: &str, terms: &Value) -> String {
    let sat = |key: &str| grouped(terms[key].as_u64().unwrap_or_default());
    let to = payee(terms["to"].as_str().unwrap_or_default());
    if name == PAY_OUT_RULE {
        return format!(
            "When less than {} sat can be received, pay out to {to} until {} sat can be, at most {} sat a day; routing \
             costs at most {} of each payment.",
            sat("below_sat"),
            sat("until_sat"),
            sat("per_day_sat"),
            percent(terms["max_fee_ppm"].as_u64().unwrap_or_default()),
        );
    }
    let to = if to == crate::treasury::Deed::VAULT { "the vault" } else { to.as_str() };
    format!(
        "When more than {} sat are spendable, move what is above {} sat to {to}, at most {} sat a day.",
        sat("above_sat"),
        sat("keep_sat"),
        sat("per_day_sat"),
    )
}

/// What the rules count beside what can be received now: channels whose other node is away.
pub(super) fn counted_too(node: &NodeView) -> Option<String> {
    let away = node.channels.iter().filter(|channel| channel.ready && !channel.usable);
    let msat: u64 = away.map(|channel| channel.receivable_msat).sum();
    (msat >= 1_000).then(|| {
        format!(
            " Rules count {} sat more than can be received now: the other node is away.",
            sats_whole(msat)
        )
    })
}

/// Millionths as a percentage: `10000` is `1 %`.
pub(super) fn percent(ppm: u64) -> String {
    let parts = format!("{:04}", ppm % 10_000);
    match parts.trim_end_matches('0') {
        "" => format!("{} %", grouped(ppm / 10_000)),
        rest => format!("{}.{rest} %", grouped(ppm / 10_000)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_become_sentences() {
        assert_eq!([10_000, 2_500, 1, 1_000_000].map(percent), ["1 %", "0.25 %", "0.0001 %", "100 %"]);
        let terms =
            json!({ "to": "vault", "above_sat": 500_000, "keep_sat": 100_000, "per_day_sat": 1_000_000 });
        assert_eq!(
            rule_terms("splice_out", &terms),
            "When more than 500,000 sat are spendable, move what is above 100,000 sat to the vault, at most 1,000,000 \
             sat a day."
        );
    }
}
