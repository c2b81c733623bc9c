//! The `Payment` scheme with lightning's charge. Its session intent and its place in MCP are not spoken.

use super::{Row, Tests, row};

const CHARGED: &str = "tests/it/gateway/charges.rs a_charge_is_offered_paid_and_receipted";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "P1",
            "the line: id, realm, method, intent, request, expires",
            Tests(&[CHARGED, "tests/it/payment_vectors.rs challenges_are_said_as_mppx_says_them"]),
        ),
        row(
            "P2",
            "the id is the MAC of seven slots, with nothing stored",
            Tests(&[
                "tests/it/payment_vectors.rs ids_are_those_of_mppx",
                "src/payment_auth/verify/tests.rs nothing_of_a_challenge_can_be_changed",
            ]),
        ),
        row(
            "P3",
            "nothing depends on an echoed opaque, digest or description",
            Tests(&["src/payment_auth/verify/tests.rs what_clients_drop_or_add_is_forgiven"]),
        ),
        row(
            "P4",
            "the request is canonical JSON of whole satoshi, invoice, network and hash",
            Tests(&[CHARGED]),
        ),
        row(
            "P5",
            "a credential is good once",
            Tests(&[
                "tests/it/gateway/charges.rs a_payment_is_used_up_once_whichever_dialect_shows_it",
                "tests/it/payment_vectors.rs what_mppx_sends_is_read",
            ]),
        ),
        row(
            "P6",
            "a receipt on success, private",
            Tests(&[CHARGED, "tests/it/payment_vectors.rs receipts_are_those_of_mppx"]),
        ),
        row(
            "P7",
            "errors are a 402 with a fresh challenge and a problem's type",
            Tests(&[
                "tests/it/gateway/charges.rs what_is_not_good_gets_a_fresh_402_that_says_why",
                "tests/it/payment_vectors.rs problem_types_are_those_of_mppx",
            ]),
        ),
        row(
            "P8",
            "left out where the price is not whole satoshi, or the offer no single request",
            Tests(&["tests/it/gateway/charges.rs only_single_requests_for_whole_satoshi_are_charged_so"]),
        ),
        row(
            "P9",
            "one invoice for both lines, one consumption record for both dialects",
            Tests(&[
                CHARGED,
                "tests/it/gateway/charges.rs a_payment_is_used_up_once_whichever_dialect_shows_it",
                "tests/it/gateway/charges.rs sixty_four_at_once_in_both_dialects_are_served_once",
            ]),
        ),
        row(
            "P10",
            "a service chooses its dialects",
            Tests(&["tests/it/gateway/charges.rs a_service_chooses_its_dialects"]),
        ),
        row(
            "P11",
            "expires is the invoice's end, and who paid in time may come late",
            Tests(&["tests/it/gateway/charges.rs a_late_comer_is_served_and_not_for_ever"]),
        ),
    ]
}
