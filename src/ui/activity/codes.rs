//! Stable codes of events as words of a person: no code with an underscore in it reaches the page.

use crate::ui::lightning::words::cause;
pub(super) use crate::ui::reasons::plain;

/// Why a request was given back.
pub(super) fn given_back(code: &str) -> String {
    let words = match code {
        "upstream_unreachable" => "your API could not be reached",
        "upstream_timeout" => "your API did not answer in time",
        "upstream_error" => "your API failed",
        "policy" => "your API’s answer is one that costs nothing",
        "too_dear" => "the answer came to more than was held for it",
        "not_dispatched" => "it was not passed on",
        "released" => "the application let it go",
        "revoked" => "its token was revoked meanwhile",
        "unsettled" => "nobody said in time how it ended",
        "internal" => "a fault of Tollhouse’s own",
        other => return plain(other),
    };
    words.to_owned()
}

/// Why the ledger has another life.
pub(super) fn another_life(why: &str) -> String {
    let words = match why {
        "first" => "it is the first one",
        "restored" => "a backup was put in place",
        "old_copy" => "an older copy of the file was found",
        "new_ledger" => "the ledger was gone and began anew",
        "unwitnessed" => "the note of how far it was is gone",
        other => return plain(other),
    };
    words.to_owned()
}

/// How an ordered channel stands.
pub(super) fn order(state: &str) -> String {
    let words = match state {
        "quoted" => "waits for payment",
        "paying" => "being paid",
        "paid" => "paid, the channel is to come",
        "opened" => "the channel is opened",
        "refunded" => "the provider says that the money is back",
        "expired" => "ran out unpaid",
        "failed" => "not paid, nothing moved",
        other => return plain(other),
    };
    words.to_owned()
}

/// What a rule is called.
pub(super) fn rule(name: &str) -> String {
    match name {
        "pay_out" => "Pay out".to_owned(),
        "splice_out" => "Move to the vault or an address".to_owned(),
        other => plain(other),
    }
}

/// Why a channel is gone, in the words of its own page.
pub(super) fn closed(code: &str) -> String {
    let text = cause(Some(code));
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// What an alarm was about, when it is over.
pub(super) fn alarm(code: &str) -> String {
    let words = match code {
        "node_down" => "the Lightning node was down",
        "node_unreadable" => "the node could not read its channels",
        "cannot_receive" => "nothing could be received",
        "receivable_low" => "little could be received",
        "peers_offline" => "no peer was connected",
        "chain_stale" => "the node was out of step with the chain",
        "chain_fallback" => "another chain source was in use",
        "fees_stale" => "fee rates were old",
        "transactions_unsent" => "a transaction waited for the chain source",
        "no_blocks" => "no new block was seen",
        "clock_skew" => "the clock was wrong",
        "reserve_low" => "too few coins were kept for closing channels",
        "closing_pending" => "coins of a closed channel were on their way",
        "channel_closed_by_restart" => "a channel was closed after a kill",
        "monitor_large" => "a channel’s stored state was large",
        "operation_unclear" => "a move of coins was unclear",
        "operation_overdue" => "a move of coins was overdue",
        "order_overdue" => "an ordered channel was overdue",
        "order_refund_unseen" => "a refund of a provider was to be looked for",
        "books_wrong" => "the books were wrong",
        "possible_surplus" => "a payment may have come twice",
        "disk_low" => "the disk was nearly full",
        "seed_not_verified" => "the seed’s words were not checked",
        "possible_stale_restore" => "the channels’ state may have been an old copy",
        "snapshot_failed" => "the channels’ snapshot could not be written",
        "snapshot_old" => "the channels’ snapshot was behind",
        "backup_missing" => "the ledger was not backed up",
        "backup_failed" => "a backup failed",
        "backup_old" => "the newest backup was old",
        "payouts_parked" => "nothing was sent after a restore",
        "tokens_doubtful" => "tokens were in doubt after a restore",
        other => return plain(other),
    };
    words.to_owned()
}

/// What a key may do.
pub(super) fn scopes(words: &str) -> String {
    words.split(' ').map(plain).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::RestoreReason;
    use crate::watchman::CODES;

    #[test]
    fn every_alarm_has_words_of_its_own() {
        for known in CODES {
            assert_ne!(alarm(known.code), plain(known.code), "{} is told as its code", known.code);
        }
    }

    #[test]
    fn every_reason_of_a_unit_that_went_back_has_words() {
        let reasons = [
            RestoreReason::UpstreamUnreachable,
            RestoreReason::UpstreamTimeout,
            RestoreReason::UpstreamError,
            RestoreReason::Policy,
            RestoreReason::NotDispatched,
            RestoreReason::Released,
            RestoreReason::Revoked,
            RestoreReason::Unsettled,
            RestoreReason::Internal,
        ];
        for reason in reasons {
            assert_ne!(given_back(reason.code()), plain(reason.code()), "{reason:?}");
        }
        assert_ne!(given_back("too_dear"), "too dear");
    }
}
