//! What each event that an endpoint can choose means, in one line for people.

/// The line of a topic; empty for one that is not known here.
pub(super) fn meaning(topic: &str) -> &'static str {
    MEANINGS.iter().find(|(known, _)| *known == topic).map_or("", |(_, line)| line)
}

const MEANINGS: &[(&str, &str)] = &[
    ("payment.received", "A payment arrived."),
    ("payment.surplus", "A payment may have brought more than was asked for."),
    ("sale.attributed", "It is known what a payment was for."),
    ("unit.restored", "A request was given back to its buyer, because it was not answered."),
    ("unit.crash_restored", "The same, after a crash."),
    ("grant.expired", "What was left of a token expired."),
    ("grant.exhausted", "A token is used up."),
    ("token.granted", "A token was given away."),
    ("token.revoked", "A token was revoked."),
    ("epoch.begun", "New tokens are made with a new key."),
    ("epoch.retired", "Tokens of an old key are taken no more."),
    ("ledger.restored", "The ledger was brought back from a copy."),
    ("token.doubted", "A token from before a restore was refused."),
    ("token.honoured", "A token in doubt was honoured."),
    ("token.all_honoured", "All tokens in doubt were honoured."),
    ("payouts.released", "After a restore, coins may be sent again."),
    ("backup.made", "A copy of the ledger was made."),
    ("backup.failed", "A copy of the ledger could not be made."),
    ("seed.words_shown", "The seed’s words were shown."),
    ("seed.verified", "Somebody proved to have the seed’s words."),
    ("seed.passphrase_changed", "The seed’s passphrase was changed."),
    ("operator.password_set", "The password of these pages was set for the first time, or anew."),
    ("operator.password_changed", "The password of these pages was changed."),
    ("key.made", "A key for a program was made."),
    ("key.revoked", "A key was revoked."),
    ("webhook.added", "An endpoint was added."),
    ("webhook.removed", "An endpoint was removed."),
    ("service.changed", "What is sold, or its price, was changed."),
    ("payment.sent", "A payment of yours arrived."),
    ("payment.failed", "A payment of yours was not made."),
    ("payment.unknown_sent", "The node sent a payment that the ledger did not ask for."),
    ("rule.ran", "A rule did something."),
    ("rule.rested", "A rule did nothing, and why."),
    ("vault.set", "A vault is watched."),
    ("vault.removed", "A vault is watched no more."),
    ("vault.address_given", "An address of the vault was handed out."),
    ("vault.moved", "Coins came to the vault or left it."),
    ("chain.source_changed", "Another source of the chain is asked."),
    ("channel.order_changed", "An order for a channel went on."),
    ("channel.pending", "A channel waits for its block."),
    ("channel.ready", "A channel can be used."),
    ("channel.closed", "A channel was closed."),
    ("channel.coins_home", "The coins of a closed channel are back."),
    ("channel.close_fee_paid", "The on-chain wallet paid a fee to close a channel by force."),
    ("coins.arrived", "Coins arrived on-chain."),
    ("channel.splice_pending", "A change of a channel’s size waits for its block."),
    ("channel.splice_failed", "A change of a channel’s size was not made."),
    ("operation.begun", "A move of coins was begun."),
    ("operation.changed", "A move of coins ended, or went on."),
    ("alarm.raised", "Something needs a person."),
    ("alarm.changed", "An alarm got worse or better."),
    ("alarm.cleared", "An alarm is over."),
    ("books.audited", "The books were proved."),
    ("appliance.started", "Tollhouse started."),
    ("appliance.stopped", "Tollhouse stopped."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::topics;

    /// Whoever gives an event a public name says what it means.
    #[test]
    fn every_topic_has_a_meaning() {
        for topic in topics() {
            assert!(!meaning(topic).is_empty(), "{topic}");
        }
        assert_eq!(MEANINGS.len(), topics().count(), "and nothing else has one");
    }
}
