//! What an event is about, for a person who looks for one among many.

use schemars::JsonSchema;
use serde::Deserialize;

/// What events are about. Each kind is about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Money that customers paid.
    Payments,
    /// What they bought with it: tokens, units given back, units that ran out.
    Tokens,
    /// Money that the operator paid out, and the rules that do.
    Payouts,
    /// Moves of coins, and the vault.
    Coins,
    /// Channels.
    Channels,
    /// What is sold, and for how much.
    Services,
    /// Keys, backups, the seed, alarms, the program itself.
    System,
}

impl Subject {
    /// Every subject, in the order of a menu.
    pub const ALL: [Subject; 7] = [
        Subject::Payments,
        Subject::Tokens,
        Subject::Payouts,
        Subject::Coins,
        Subject::Channels,
        Subject::Services,
        Subject::System,
    ];

    /// Its stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Subject::Payments => "payments",
            Subject::Tokens => "tokens",
            Subject::Payouts => "payouts",
            Subject::Coins => "coins",
            Subject::Channels => "channels",
            Subject::Services => "services",
            Subject::System => "system",
        }
    }

    /// The subject of that word.
    pub fn of_word(word: &str) -> Option<Subject> {
        Subject::ALL.into_iter().find(|subject| subject.word() == word)
    }

    /// The kinds of events that are about it, as the log says them. [`UNLISTED`] is about none: the payment says
    /// the same.
    pub const fn kinds(self) -> &'static [&'static str] {
        match self {
            Subject::Payments => &["payment_received", "possible_surplus"],
            Subject::Tokens => &[
                "grant_exhausted",
                "token_granted",
                "unit_restored",
                "crash_restored",
                "units_expired",
                "token_revoked",
                "token_doubted",
                "token_honoured",
                "all_tokens_honoured",
            ],
            Subject::Payouts => &[
                "payment_sent",
                "unknown_payment_sent",
                "payment_failed",
                "rule_ran",
                "rule_rested",
                "payouts_released",
            ],
            Subject::Coins => &[
                "operation_begun",
                "operation_changed",
                "coins_arrived",
                "vault_set",
                "vault_removed",
                "vault_address_given",
                "vault_moved",
            ],
            Subject::Channels => &[
                "channel_order_changed",
                "channel_pending",
                "channel_ready",
                "channel_closed",
                "channel_coins_home",
                "close_fee_paid",
                "splice_pending",
                "splice_failed",
            ],
            Subject::Services => &["service_changed"],
            Subject::System => &[
                "epoch_begun",
                "epoch_retired",
                "generation_begun",
                "backup_made",
                "backup_failed",
                "chain_source_changed",
                "alarm_raised",
                "alarm_changed",
                "alarm_cleared",
                "books_audited",
                "seed_words_shown",
                "seed_verified",
                "passphrase_changed",
                "password_set",
                "password_changed",
                "key_made",
                "key_revoked",
                "webhook_added",
                "webhook_removed",
                "started",
                "stopped",
            ],
        }
    }
}

/// The kind that no list shows: the payment that it is about is listed, and says what was sold.
pub const UNLISTED: &str = "sale_attributed";

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of the log, from the words of the code itself: there is no other list of them.
    fn kinds() -> Vec<String> {
        let code = include_str!("../event.rs");
        let list = code.split_once("pub enum Event {").expect("the enum is there").1;
        let list = list.split_once("\n}\n").expect("it ends").0;
        let lines = list.lines().filter_map(|line| line.strip_prefix("    "));
        let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        names
            .map(|line| {
                let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
                let mut kind = String::new();
                for c in name.chars() {
                    if c.is_ascii_uppercase() && !kind.is_empty() {
                        kind.push('_');
                    }
                    kind.push(c.to_ascii_lowercase());
                }
                kind
            })
            .collect()
    }

    #[test]
    fn every_kind_is_about_one_thing() {
        let mut told: Vec<&str> = Subject::ALL.iter().flat_map(|subject| subject.kinds()).copied().collect();
        told.push(UNLISTED);
        told.sort_unstable();
        let mut known = kinds();
        known.sort_unstable();
        assert!(known.len() > 40, "{known:?}");
        assert_eq!(told, known);
        for subject in Subject::ALL {
            assert_eq!(Subject::of_word(subject.word()), Some(subject));
            let read: Subject = serde_json::from_value(subject.word().into()).expect("the same word");
            assert_eq!(read, subject);
        }
    }
}
