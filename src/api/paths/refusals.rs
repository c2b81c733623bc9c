//! Refusals that several calls share, by what they come from.

use crate::api::document::{ANY, Refusal};

/// What the node may say.
pub(super) const NODE: Refusal = (422, "node_refused");
/// After a restore nothing is sent until the operator says so.
pub(super) const PARKED: Refusal = (409, "payouts_parked");
/// Of every call that moves coins.
pub(super) const MOVES: &[Refusal] = &[
    NODE,
    PARKED,
    (400, "bad_idempotency_key"),
    (422, "idempotency_key_reused"),
    (400, "bad_address"),
    (400, "bad_amount"),
    (400, "bad_fee"),
    (503, "no_fee_rates"),
    (400, "splice_under_way"),
    (409, "coins_busy"),
    (400, "unknown_channel"),
    (409, "no_vault"),
    (409, "vault_not_synced"),
    (409, "vault_gap"),
    (409, "vault_failed"),
    (503, "stopping"),
];
/// Of every question to the seed.
pub(super) const SEED: &[Refusal] = &[
    (409, "words_verified"),
    (409, "words_were_shown"),
    (409, "not_asked"),
    (403, "wrong_passphrase"),
    (403, "wrong_words"),
    (422, "unfit_passphrase"),
    (429, "too_many_tries"),
    (429, "busy"),
    (500, "seed_not_changed"),
];
/// Of who opens an appliance that started locked.
pub(super) const UNLOCK: &[Refusal] = &[
    (409, "not_locked"),
    (409, "no_seed"),
    (403, "wrong_passphrase"),
    (429, "too_many_tries"),
    (429, "busy"),
    (500, "seed_unreadable"),
];
/// Of who makes the first seed.
pub(super) const FIRST_SEED: &[Refusal] = &[
    (409, "seed_exists"),
    (409, "not_asked"),
    (403, "bad_token"),
    (403, "wrong_words"),
    (400, "bad_words"),
    (422, "unfit_passphrase"),
    (422, "not_words"),
    (429, "busy"),
];
/// Of who sets another password.
pub(super) const PASSWORD: &[Refusal] = &[
    (403, "wrong_password"),
    (409, "not_claimed"),
    (422, "unfit_password"),
    (429, "too_many_tries"),
    (429, "busy"),
];
/// Of whatever a description of a request may be refused for, as the gateway would.
pub(super) const AS_THE_GATEWAY: &[Refusal] =
    &[(400, ANY), (404, ANY), (405, ANY), (413, ANY), (414, ANY), (431, ANY)];
pub(super) const NO_TOKEN: Refusal = (404, "unknown_token");
pub(super) const BAD_HASH: Refusal = (400, "bad_payment_hash");
pub(super) const NO_HOLD: Refusal = (404, "unknown_hold");
pub(super) const KEY_REQUIRED: Refusal = (403, "key_required");
pub(super) const ENDED: &[Refusal] = &[
    NO_HOLD,
    KEY_REQUIRED,
    (409, "hold_settled"),
    (409, "hold_released"),
    (409, "hold_expired"),
    (422, "more_than_held"),
];
pub(super) const SERVICE: &[Refusal] = &[
    (400, "bad_name"),
    (404, "no_such_service"),
    (409, "owned_by_file"),
    (409, "services_clash"),
    (422, "bad_service"),
];
pub(super) const ORDER: &[Refusal] = &[
    PARKED,
    (404, "unknown_order"),
    (422, "no_provider"),
    (422, "provider_refused"),
    (422, "out_of_limits"),
    (422, "way_not_taken"),
    (422, "other_way"),
    (422, "order_expired"),
    (422, "order_over"),
    (422, "too_expensive"),
    (422, "bad_invoice"),
    (422, "not_paid"),
];
pub(super) const BACKUP: &[Refusal] = &[
    (409, "no_backup_dir"),
    (404, "unknown_backup"),
    (422, "bad_backup"),
    (422, "foreign_backup"),
    (422, "books_wrong"),
    (500, "ledger_unavailable"),
    (500, "keys_not_changed"),
    (500, "backup_file"),
    (500, "broken_off"),
];
pub(super) const VAULT: &[Refusal] = &[
    (400, "bad_birthday"),
    (422, "private_key"),
    (422, "wrong_network"),
    (422, "form_needed"),
    (422, "bad_key"),
    (422, "bad_gap"),
    (422, "birthday_needed"),
    (503, "node_not_ready"),
];
pub(super) const NO_VAULT: &[Refusal] =
    &[(404, "no_vault"), (503, "vault_not_synced"), (422, "vault_gap"), (422, "vault_failed")];
pub(super) const ENDPOINT: &[Refusal] = &[(404, "unknown_webhook")];
pub(super) const EPOCH: &[Refusal] = &[
    (404, "unknown_epoch"),
    (409, "epoch_mints"),
    (409, "no_higher_epoch"),
    (409, "confirm_unearned"),
    (500, "keys_not_changed"),
];
