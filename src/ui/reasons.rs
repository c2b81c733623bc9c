//! Why something is not as it was asked for, in words of a person: no code reaches a page.

use crate::store::CUT_OFF;

/// Why a payment of ours is not paid: a word of LDK (`PaymentFailureReason`) or of ours, or a sentence.
pub(super) fn unpaid(reason: &str) -> String {
    let words = match reason {
        "RouteNotFound" => "no route was found that can carry it",
        "RetriesExhausted" => "every route that was tried failed",
        "RecipientRejected" | "InvoiceRequestRejected" => "the payee refused it",
        "PaymentExpired" | "InvoiceRequestExpired" => "it could not be paid in time",
        "UserAbandoned" => "it was called off",
        "UnexpectedError" | "UnknownRequiredFeatures" | "BlindedPathCreationFailed" => {
            "the node could not make it"
        }
        "never_sent" => "the node was not there, and was never asked",
        CUT_OFF => "a stop came before the node told whether it took it",
        "settled_by_operator" => "you said so",
        other => return plain(other),
    };
    words.to_owned()
}

/// A text in which each code, lower-case words joined by underscores, is told with spaces. Names of files and
/// settings, which have a dot or a slash beside them, stay.
pub(super) fn plain(text: &str) -> String {
    text.split_inclusive(' ').map(word).collect()
}

fn word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let lower = core.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let parts = core.split('_').all(|part| !part.is_empty());
    if lower && parts && core.contains('_') { word.replace('_', " ") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_words_are_told_as_sentences() {
        // As `lightning::events::PaymentFailureReason` of 0.2 names them.
        let all = [
            "RecipientRejected",
            "UserAbandoned",
            "RetriesExhausted",
            "PaymentExpired",
            "RouteNotFound",
            "UnexpectedError",
            "UnknownRequiredFeatures",
            "InvoiceRequestExpired",
            "InvoiceRequestRejected",
            "BlindedPathCreationFailed",
        ];
        for why in all {
            assert_ne!(unpaid(why), why);
        }
        assert_eq!(unpaid("the peer is too_new"), "the peer is too new");
    }

    #[test]
    fn what_nobody_gave_words_loses_its_underscores_and_names_keep_theirs() {
        assert_eq!(plain("it was too_new (never_seen)"), "it was too new (never seen)");
        assert_eq!(plain("see alarms.disk_free and /a_b/c_d.txt"), "see alarms.disk_free and /a_b/c_d.txt");
    }
}
