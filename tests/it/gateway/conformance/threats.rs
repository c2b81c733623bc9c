//! What attackers of the gate try.

use super::super::head;
use super::{Here, Row, Tests, row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "T1",
            "one credit, many requests at once: one is served",
            Tests(&[
                "tests/it/gateway/money.rs sixty_four_at_once_are_served_once",
                "tests/it/gateway/offers.rs sixty_four_at_once_draw_no_more_than_there_is",
                "tests/it/gateway/charges.rs sixty_four_at_once_in_both_dialects_are_served_once",
                "tests/it/gateway/delegation.rs sixty_four_at_once_on_one_use_are_served_once",
            ]),
        ),
        row(
            "T2",
            "a crash between reserve and settle: every hold is resolved once",
            Tests(&[
                "tests/it/kill_ledger.rs kills_lose_no_unit_and_spend_none_twice",
                "src/store/tests/limits.rs a_crash_is_forgiven_once_under_a_limit_too",
            ]),
        ),
        row(
            "T3",
            "a token for another service, and a revoked one, open nothing and end what is open",
            Tests(&[
                "tests/it/gateway/credentials.rs a_token_for_one_service_does_not_open_another",
                "tests/it/gateway/charges.rs a_revoked_payment_opens_nothing_in_either_dialect",
                "tests/it/gateway/metered/cut.rs a_revoked_token_ends_its_open_answers",
                "tests/it/gateway/revocations.rs an_open_answer_of_every_kind_ends",
                "tests/it/gateway/revocations.rs the_next_request_on_a_kept_connection_is_refused",
            ]),
        ),
        row(
            "T4",
            "no caveat widens, and what cannot be judged is refused",
            Tests(&[
                "tests/it/gateway/hostile_tokens.rs no_kind_of_token_is_widened_and_each_refusal_is_a_fresh_402",
                "tests/it/l402_attacks.rs no_holder_widens_a_token",
                "tests/it/l402_attacks.rs a_narrowed_token_cannot_be_widened_again",
                "tests/it/l402_attacks.rs third_party_caveats_are_refused",
                "tests/it/l402_attacks.rs size_and_count_are_bounded",
                "tests/it/fuzz.rs around_the_corpora_it_holds_at_random",
            ]),
        ),
        row(
            "T5",
            "hash and preimage, which routing nodes know, open nothing without the macaroon",
            Here(|world| {
                Box::pin(async {
                    let bought = world.gate.buy("/ok").await;
                    let preimage = bought.header.rsplit(':').next().expect("a preimage").to_owned();
                    let hits = world.origin.hits();
                    for lines in [
                        format!("Authorization: L402 :{preimage}\r\n"),
                        format!("Authorization: L402 {preimage}\r\n"),
                        format!("Authorization: L402 {}:{preimage}\r\n", bought.hash),
                        format!("Macaroon: {}\r\n", bought.hash),
                        format!("X-Payment-Hash: {}\r\nX-Preimage: {preimage}\r\n", bought.hash),
                    ] {
                        let reply = world.get(&lines).await;
                        assert!(matches!(reply.status, 400 | 402), "{lines}: {reply:?}");
                    }
                    assert_eq!(world.origin.hits(), hits);
                    world.opens(&bought.line()).await;
                })
            }),
        ),
        row(
            "T5a",
            "settlement alone opens nothing, but for the browser that was asked where a service says so",
            Tests(&[
                "tests/it/gateway/unlock.rs a_service_that_does_not_say_so_lets_nobody_in",
                "tests/it/gateway/unlock.rs nobody_else_is_let_in",
            ]),
        ),
        row(
            "T6",
            "a flood of invoices costs no row and no memory, and is slowed",
            Tests(&[
                "tests/it/gateway/flood.rs a_hundred_thousand_challenges_cost_no_row_and_no_memory",
                "tests/it/gateway/limits.rs past_the_bucket_no_invoice_is_made_and_it_is_said_how_long",
            ]),
        ),
        row(
            "T7",
            "an upstream that fails gives the unit back, a 4xx does not",
            Tests(&[
                "tests/it/gateway/money.rs what_was_not_delivered_is_given_back",
                "tests/it/gateway/money.rs an_upstream_that_cannot_be_reached_costs_nothing",
                "tests/it/gateway/metered/ends.rs an_answer_that_breaks_off_costs_what_was_delivered",
            ]),
        ),
        row(
            "T8",
            "no spelling of a path is priced as another",
            Tests(&[
                "tests/it/gateway/abuse.rs no_spelling_of_a_paid_path_is_free",
                "tests/it/fuzz.rs the_corpora_hold_what_has_to_hold",
            ]),
        ),
        row(
            "T9",
            "exactly one host",
            Tests(&["tests/it/gateway/abuse.rs one_host_is_served_by_its_one_name"]),
        ),
        row(
            "T10",
            "claims are dropped, and ours are set",
            Tests(&["tests/it/gateway/abuse.rs the_upstream_sees_only_our_claims"]),
        ),
        row(
            "T11",
            "no request is smuggled",
            Tests(&[
                "tests/it/gateway/abuse.rs no_request_is_smuggled_in_anothers_body",
                "tests/it/gateway/smuggling.rs no_generated_request_reaches_an_upstream_unpaid",
                "tests/it/gateway/streams.rs connections_are_kept_after_whole_bodies_only",
            ]),
        ),
        row(
            "T11a",
            "what the HTTP library hides or repairs is known, and shown by what arrives upstream",
            Tests(&[
                "tests/it/gateway/arrives.rs a_header_line_that_is_folded_or_has_no_clear_name_is_refused",
                "tests/it/gateway/arrives.rs a_request_line_that_is_not_one_is_refused",
                "tests/it/gateway/arrives.rs chunks_arrive_as_a_body_and_nothing_more",
                "tests/it/gateway/arrives.rs a_fragment_does_not_arrive_and_the_rest_of_the_target_does",
            ]),
        ),
        row(
            "T12",
            "hop-by-hop is stripped, what matters cannot be nominated, methods are known ones",
            Here(|world| {
                Box::pin(async {
                    for name in ["Host", "Authorization", "Content-Length", "Macaroon"] {
                        let reply = world.get(&format!("Connection: {name}\r\n")).await;
                        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_connection"), "{name}");
                    }
                    for method in ["TRACE", "PROPFIND", "get"] {
                        let reply = world.gate.ask(&head(method, "/ok", "")).await;
                        assert_eq!(
                            (reply.status, reply.code().as_str()),
                            (405, "method_not_allowed"),
                            "{method}"
                        );
                    }
                    let bought = world.gate.buy("/ok").await;
                    world
                        .opens(&format!("{}Connection: x-hop\r\nX-Hop: 1\r\nTE: gzip\r\n", bought.line()))
                        .await;
                    assert!(world.origin.last().header("x-hop").is_empty());
                })
            }),
        ),
        row(
            "T13",
            "what was paid for is private, and nothing of it is for caches",
            Here(|world| {
                Box::pin(async {
                    let bought = world.gate.buy("/steering").await;
                    let reply = world.gate.get("/steering", &bought.line()).await;
                    assert_eq!(reply.all("cache-control").collect::<Vec<_>>(), ["private, no-store"]);
                    assert!(reply.all("vary").any(|names| names.contains("Authorization")));
                    assert_eq!(world.get("").await.header("cache-control"), Some("no-store"));
                })
            }),
        ),
        row(
            "T13a",
            "a cache in front never serves what was paid for",
            Tests(&["tests/it/gateway/cached.rs a_cache_in_front_never_serves_what_was_paid_for"]),
        ),
        row(
            "T14",
            "an upstream's challenges, steering and endless heads do not pass",
            Here(|world| {
                Box::pin(async {
                    for (path, status) in
                        [("/402", 502), ("/big-head", 502), ("/drip", 504), ("/garbage", 502)]
                    {
                        let bought = world.gate.buy(path).await;
                        let reply = world.gate.get(path, &bought.line()).await;
                        assert_eq!(reply.status, status, "{path}: {reply:?}");
                        assert!(reply.header("www-authenticate").is_none(), "{path}");
                        assert_eq!(reply.header("x-tollhouse-unit"), Some("restored"), "{path}");
                        assert_eq!(world.gate.settled(&bought).await, (1, 0, 0), "{path}");
                    }
                })
            }),
        ),
        row(
            "T14a",
            "who drips, up or down, is left",
            Tests(&[
                "tests/it/gateway/waits.rs a_service_says_how_long_its_upstream_is_waited_for",
                "tests/it/gateway/waits.rs an_upstreams_head_has_bounds",
                "tests/it/gateway/waits.rs who_drips_an_upload_is_left",
            ]),
        ),
        row(
            "T17",
            "secrets are encrypted at rest, and in no log",
            Tests(&[
                "src/secrets/tests.rs what_opens_a_seed_is_looked_for_in_order_and_nothing_weaker_is_tried",
                "tests/it/canary.rs nothing_secret_is_on_disk_in_plain_or_in_any_log",
                "tests/it/locked.rs a_locked_appliance_sells_nothing_and_opens_with_its_passphrase_alone",
            ]),
        ),
        row(
            "T19",
            "no amount beyond what there is, and no invoice below its quote",
            Tests(&[
                "src/types.rs amounts_never_wrap",
                "src/pricing/formula/tests.rs what_gives_no_price_says_so_with_its_own_code",
                "tests/it/gateway/headers.rs the_402_says_what_clients_look_for",
            ]),
        ),
        row(
            "T22",
            "nothing secret on a command line or in what the kernel shows of the process",
            Tests(&["tests/it/canary.rs nothing_secret_is_on_disk_in_plain_or_in_any_log"]),
        ),
    ]
}
