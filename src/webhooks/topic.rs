//! What an endpoint can choose to get: the public names of the log's events.

/// Every kind of event that is sent, as the log calls it, and its public name. What is not here is not
/// sent: what one request spent is told by the reports.
const TOPICS: &[(&str, &str)] = &[
    ("payment_received", "payment.received"),
    ("possible_surplus", "payment.surplus"),
    ("sale_attributed", "sale.attributed"),
    ("unit_restored", "unit.restored"),
    ("crash_restored", "unit.crash_restored"),
    ("units_expired", "grant.expired"),
    ("grant_exhausted", "grant.exhausted"),
    ("token_granted", "token.granted"),
    ("token_revoked", "token.revoked"),
    ("epoch_begun", "epoch.begun"),
    ("epoch_retired", "epoch.retired"),
    ("generation_begun", "ledger.restored"),
    ("token_doubted", "token.doubted"),
    ("token_honoured", "token.honoured"),
    ("all_tokens_honoured", "token.all_honoured"),
    ("payouts_released", "payouts.released"),
    ("backup_made", "backup.made"),
    ("backup_failed", "backup.failed"),
    ("seed_words_shown", "seed.words_shown"),
    ("seed_verified", "seed.verified"),
    ("passphrase_changed", "seed.passphrase_changed"),
    ("password_set", "operator.password_set"),
    ("password_changed", "operator.password_changed"),
    ("key_made", "key.made"),
    ("key_revoked", "key.revoked"),
    ("webhook_added", "webhook.added"),
    ("webhook_removed", "webhook.removed"),
    ("service_changed", "service.changed"),
    ("payment_sent", "payment.sent"),
    ("payment_failed", "payment.failed"),
    ("unknown_payment_sent", "payment.unknown_sent"),
    ("rule_ran", "rule.ran"),
    ("rule_rested", "rule.rested"),
    ("vault_set", "vault.set"),
    ("vault_removed", "vault.removed"),
    ("vault_address_given", "vault.address_given"),
    ("vault_moved", "vault.moved"),
    ("chain_source_changed", "chain.source_changed"),
    ("channel_order_changed", "channel.order_changed"),
    ("channel_pending", "channel.pending"),
    ("channel_ready", "channel.ready"),
    ("channel_closed", "channel.closed"),
    ("channel_coins_home", "channel.coins_home"),
    ("close_fee_paid", "channel.close_fee_paid"),
    ("coins_arrived", "coins.arrived"),
    ("splice_pending", "channel.splice_pending"),
    ("splice_failed", "channel.splice_failed"),
    ("operation_begun", "operation.begun"),
    ("operation_changed", "operation.changed"),
    ("alarm_raised", "alarm.raised"),
    ("alarm_changed", "alarm.changed"),
    ("alarm_cleared", "alarm.cleared"),
    ("books_audited", "books.audited"),
    ("started", "appliance.started"),
    ("stopped", "appliance.stopped"),
];

/// Kinds that are kept to ourselves on purpose.
#[cfg(test)]
const QUIET: &[&str] = &[];

/// Every public name, in the order of the list.
pub fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|(_, topic)| *topic)
}

/// Under which name an endpoint that chose `topics` (with spaces between; empty is all) gets an event of
/// this kind, if it does.
pub(super) fn choose(topics: &str, kind: &str) -> Option<&'static str> {
    let (_, topic) = TOPICS.iter().find(|(known, _)| *known == kind)?;
    (topics.is_empty() || topics.split(' ').any(|chosen| chosen == *topic)).then_some(*topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_sent_under_its_public_name() {
        assert_eq!(choose("", "payment_received"), Some("payment.received"));
        assert_eq!(choose("token.revoked payment.received", "payment_received"), Some("payment.received"));
        assert_eq!(choose("token.revoked", "payment_received"), None);
        assert_eq!(choose("", "unit_spent"), None);
        assert_eq!(choose("", "something_new"), None);
    }

    /// Whoever adds an event decides whether the outside hears of it.
    #[test]
    fn every_event_has_a_public_name_or_is_quiet_on_purpose() {
        let text = include_str!("../event.rs");
        let events = text.split("pub enum Event {").nth(1).expect("the enum is there");
        let variants = events.lines().take_while(|line| *line != "}").filter_map(|line| {
            let name = line.strip_prefix("    ")?.trim_end_matches([' ', '{', ',']);
            name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| snake(name))
        });
        let mut seen = 0;
        for kind in variants {
            seen += 1;
            let known = TOPICS.iter().any(|(known, _)| *known == kind) || QUIET.contains(&kind.as_str());
            assert!(known, "`{kind}` is neither in TOPICS nor in QUIET");
        }
        assert!(seen > 10, "the list was read");
    }

    fn snake(name: &str) -> String {
        let mut text = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.push(c.to_ascii_lowercase());
        }
        text
    }
}
