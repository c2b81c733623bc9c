//! Every address of the API: what it does, and the refusals that are its own. What each takes and gives is
//! read off its handler ([`super::document`]).

use http::Method;

use super::document::{ANY, Paths};
use super::{
    account, activity, backups, books, channels, checklist, coins, epochs, events, first_seed, health,
    inbound, integration, keys, metrics, operations, password, payments, payouts, peers, price, rates, rules,
    seed, send, services, snapshot, status, system, tokens, trials, unlock, vault, webhooks,
};
use refusals::{
    AS_THE_GATEWAY, BACKUP, BAD_HASH, ENDED, ENDPOINT, EPOCH, FIRST_SEED, KEY_REQUIRED, MOVES, NO_TOKEN,
    NO_VAULT, NODE, ORDER, PARKED, PASSWORD, SEED, SERVICE, UNLOCK, VAULT,
};

mod refusals;

/// All of them.
pub(super) fn all() -> Paths {
    let paths = Paths::new();
    let paths = standing(paths);
    let paths = door(paths);
    let paths = sales(paths);
    let paths = tokens(paths);
    let paths = coins(paths);
    let paths = lightning(paths);
    let paths = keeping(paths);
    connected(paths)
}

fn standing(paths: Paths) -> Paths {
    paths
        .about("Standing", "How the appliance fares.")
        .both(
            (&Method::GET, "/api/v1/status"),
            (unlock::status, status::read),
            "Revenue, the ledger's sums, the node; of a locked one, that it is locked.",
            &[],
        )
        .get("/metrics", metrics::read, "What Prometheus scrapes, in OpenMetrics text.", &[])
        .get("/api/v1/health", health::read, "Everything that is looked at, and the alarms that stand.", &[])
        .get("/api/v1/system", system::read, "Versions, sync, disk, memory, chain sources, alarms.", &[])
        .get("/api/v1/config", system::config, "The settings in force, each with where it was said.", &[])
        .get("/api/v1/log", system::log, "The newest lines of the log, the oldest of them first.", &[])
        .get("/api/v1/diagnostics", system::diagnostics, "Text to hand to somebody who helps.", &[])
        .get("/api/v1/checklist", checklist::read, "What a new operator has to see to.", &[])
        .put("/api/v1/checklist", checklist::put, "Puts the list away, or brings it back.", &[])
        .both((&Method::GET, "/livez"), (health::alive, health::alive), "This process answers.", &[])
        .get("/readyz", health::ready, "A request can be sold.", &[])
        .get(
            "/api/v1/events",
            events::stream,
            "The log as server-sent events, from Last-Event-ID on.",
            &[(400, "bad_event_id"), (503, "too_many_streams")],
        )
}

fn door(paths: Paths) -> Paths {
    let paths = paths.about(
        "Door",
        "An appliance that is locked or has no seed yet: nobody has a key; what opens it is its proof.",
    );
    let paths = paths.both(
        (&Method::POST, "/api/v1/unlock"),
        (unlock::unlock, unlock::unlocked),
        "Opens the seed of an appliance that started locked.",
        UNLOCK,
    );
    let paths = paths.both(
        (&Method::POST, "/api/v1/seed/new"),
        (first_seed::make, first_seed::exists),
        "Makes a seed, and shows its words; it is used when three of them were proved.",
        FIRST_SEED,
    );
    paths.both(
        (&Method::POST, "/api/v1/seed/restore"),
        (first_seed::restore, first_seed::exists),
        "Brings a seed back from its words; then everything starts.",
        FIRST_SEED,
    )
}

fn sales(paths: Paths) -> Paths {
    paths
        .about("Sales", "What is sold, and what it earned.")
        .get("/api/v1/services", services::list, "All that is sold.", &[])
        .at(
            &Method::GET,
            "/api/v1/services/{name}",
            services::show,
            "One service.",
            &[(404, "no_such_service")],
        )
        .wrapped(
            &Method::PUT,
            "/api/v1/services/{name}",
            services::put,
            "Adds a service, or makes it this.",
            SERVICE,
            |route| route.layer(services::large_bodies()),
        )
        .delete("/api/v1/services/{name}", services::remove, "Sells it no more.", SERVICE)
        .wrapped(
            &Method::POST,
            "/api/v1/services/apply",
            services::apply,
            "Adds or changes all of these, or none.",
            SERVICE,
            |route| route.layer(services::large_bodies()),
        )
        .post(
            "/api/v1/price",
            price::ask,
            "What a request would cost, and why.",
            &[AS_THE_GATEWAY, &[(400, "bad_url"), (400, "bad_method")]].concat(),
        )
        .post(
            "/api/v1/trials",
            trials::make,
            "Asks the gateway as a customer would.",
            &[
                (400, "bad_target"),
                (400, "bad_header"),
                (400, "bad_method"),
                (409, "no_customer"),
                (422, "not_paid"),
                (422, "payment_failed"),
                (422, "payment_pending"),
                (502, "gateway_unanswered"),
            ],
        )
        .post(
            "/api/v1/trials/invoice",
            trials::invoice,
            "In the sandbox: an invoice of the customer's, to pay out to.",
            &[(400, "bad_amount"), (409, "no_customer"), (422, "cannot_receive")],
        )
        .get("/api/v1/revenue", books::revenue, "What was earned, in hours or days, and by route.", &[])
        .get(
            "/api/v1/revenue.csv",
            account::table,
            "Every payment that came or went, each with its sign: `amount_msat` sums to the account's balance.",
            &[],
        )
        .get("/api/v1/account", account::read, "What came and went over Lightning, and what is left.", &[])
        .get("/api/v1/activity", activity::list, "What happened, newest first, or about one subject.", &[])
        .get("/api/v1/activity.csv", activity::table, "All of it, as a table for spreadsheets.", &[])
        .get("/api/v1/audit", books::audit, "Proves the books from every row; takes a while.", &[])
        .get("/api/v1/payments", payments::list, "What arrived, newest first.", &[])
        .get(
            "/api/v1/payments/{payment_hash}",
            payments::look,
            "One payment in full: what was sold for it, and what became of it.",
            &[BAD_HASH, (404, "unknown_payment")],
        )
        .get("/api/v1/rates", rates::read, "What bitcoin costs in other currencies, and who says so.", &[])
        .post("/api/v1/rates/refresh", rates::refresh, "Asks every source of rates now.", &[])
        .about("Integration", "For an application that serves its own requests and asks in between.")
        .post(
            "/api/v1/integration/challenges",
            integration::challenge,
            "A 402 for what is described.",
            &[
                AS_THE_GATEWAY,
                &[
                    KEY_REQUIRED,
                    (422, "not_charged"),
                    (422, "no_such_offer"),
                    (422, "not_for_sale"),
                    (503, "cannot_receive"),
                    (503, ANY),
                ],
            ]
            .concat(),
        )
        .post(
            "/api/v1/integration/verify",
            integration::verify,
            "Verifies a customer's credential into a hold.",
            &[
                AS_THE_GATEWAY,
                &[
                    KEY_REQUIRED,
                    (402, ANY),
                    (409, "in_flight"),
                    (422, "not_charged"),
                    (429, "too_many_holds"),
                    (503, ANY),
                ],
            ]
            .concat(),
        )
        .get("/api/v1/integration/holds/{id}", integration::look, "How a hold stands.", ENDED)
        .post("/api/v1/integration/holds/{id}/settle", integration::settle, "Charges what it cost.", ENDED)
        .post("/api/v1/integration/holds/{id}/release", integration::release, "Gives the units back.", ENDED)
}

fn tokens(paths: Paths) -> Paths {
    paths
        .about("Tokens", "Who holds what.")
        .get("/api/v1/tokens", tokens::list, "Tokens that were used or granted, newest first.", &[])
        .post(
            "/api/v1/tokens/grant",
            tokens::give,
            "Gives a token away; it is shown once.",
            &[
                (400, "bad_budget"),
                (400, "bad_per"),
                (400, "bad_expires"),
                (400, "bad_label"),
                (404, "unknown_service"),
            ],
        )
        .get(
            "/api/v1/tokens/{payment_hash}",
            tokens::look,
            "One token, and what was charged to it.",
            &[NO_TOKEN, BAD_HASH],
        )
        .delete("/api/v1/tokens/{payment_hash}", tokens::revoke, "Takes it back.", &[BAD_HASH])
        .get("/api/v1/tokens/doubtful", backups::doubtful, "Those that a restored ledger cannot prove.", &[])
        .post("/api/v1/tokens/honour", backups::honour, "Honours one of them, or all.", &[])
        .get("/api/v1/epochs", epochs::list, "The tokens' master keys, the newest first.", &[])
        .post("/api/v1/epochs", epochs::rotate, "Begins a new one; tokens of the others stay good.", EPOCH)
        .delete("/api/v1/epochs/{epoch}", epochs::retire, "Destroys one: its tokens open nothing.", EPOCH)
}

fn coins(paths: Paths) -> Paths {
    paths
        .about("Coins", "On the chain, and in the vault.")
        .get("/api/v1/onchain", coins::look, "Balances, what closed channels owe, and sweeps.", &[NODE])
        .post("/api/v1/onchain/address", coins::new_address, "A fresh address of the wallet.", &[NODE])
        .get(
            "/api/v1/onchain/transactions",
            coins::transactions,
            "Unconfirmed first, then the newest.",
            &[NODE],
        )
        .get("/api/v1/onchain/fees", coins::fees, "What fast, normal and slow mean now.", &[NODE])
        .post("/api/v1/onchain/send", coins::send, "Sends an amount, or all.", MOVES)
        .get("/api/v1/operations", operations::list, "Moves of coins that were asked for, newest first.", &[])
        .get("/api/v1/operations/{id}", operations::look, "One of them.", &[(404, "unknown_operation")])
        .post(
            "/api/v1/operations/{id}/settle",
            operations::settle,
            "Says what became of one that is unclear.",
            &[NODE, (404, "unknown_operation"), (409, "not_unclear"), (503, "chain_out_of_step")],
        )
        .get("/api/v1/chain", vault::chain, "The chain sources.", &[])
        .post("/api/v1/chain/test", vault::test_chain, "Asks every chain source now.", &[])
        .about("Vault", "Cold storage that is watched.")
        .get("/api/v1/vault", vault::show, "The vault; null when none is set.", &[])
        .put("/api/v1/vault", vault::set, "Watches this one.", VAULT)
        .delete("/api/v1/vault", vault::remove, "Watches none.", &[])
        .post(
            "/api/v1/vault/address",
            vault::address,
            "A fresh address, or the same for a deposit.",
            NO_VAULT,
        )
        .get("/api/v1/vault/addresses", vault::addresses, "Those that were handed out.", &[(404, "no_vault")])
        .get("/api/v1/vault/history", vault::history, "What happened in it.", &[(404, "no_vault")])
        .post("/api/v1/vault/look", vault::look, "Looks at the chain now.", &[])
}

fn lightning(paths: Paths) -> Paths {
    paths
        .about("Lightning", "Channels, peers and payments.")
        .get("/api/v1/channels", channels::list, "The channels.", &[(503, "node_not_ready")])
        .post("/api/v1/channels", channels::open, "Opens one.", MOVES)
        .get("/api/v1/channels/closed", channels::closed, "Records of closed ones, the last first.", &[])
        .get(
            "/api/v1/channels/{channel_id}",
            channels::look,
            "One, open or closed, with its record.",
            &[(404, "unknown_channel")],
        )
        .delete(
            "/api/v1/channels/{channel_id}",
            channels::close,
            "Closes one, by agreement or by force.",
            MOVES,
        )
        .put(
            "/api/v1/channels/{channel_id}/fees",
            channels::set_fees,
            "What forwarding costs others.",
            &[NODE],
        )
        .post("/api/v1/channels/{channel_id}/splice-in", channels::splice_in, "Puts coins into one.", MOVES)
        .post(
            "/api/v1/channels/{channel_id}/splice-out",
            channels::splice_out,
            "Takes coins out of one.",
            MOVES,
        )
        .get("/api/v1/peers", peers::list, "The nodes that there is to do with.", &[NODE])
        .post("/api/v1/peers", peers::connect, "Connects, and keeps calling.", &[NODE])
        .delete(
            "/api/v1/peers/{peer}",
            peers::forget,
            "Disconnects and forgets.",
            &[NODE, (409, "peer_has_channel")],
        )
        .post(
            "/api/v1/payments/send",
            send::pay,
            "Pays an invoice, once for each payment hash and each Idempotency-Key.",
            &[
                PARKED,
                (400, "bad_idempotency_key"),
                (422, "idempotency_key_reused"),
                (422, "not_an_invoice"),
                (422, "wrong_network"),
                (422, "no_amount"),
                (422, "bad_amount"),
                (422, "invoice_expired"),
                (422, "too_expensive"),
                (422, "already_paid"),
            ],
        )
        .get(
            "/api/v1/payments/sent/{payment_hash}",
            send::look,
            "How a payment that was asked for stands.",
            &[BAD_HASH, (404, "unknown_payment")],
        )
        .get("/api/v1/payouts", payouts::list, "Payouts, newest first.", &[])
        .post(
            "/api/v1/payouts",
            payouts::pay,
            "Pays out, once for each Idempotency-Key.",
            &[
                PARKED,
                (400, "bad_idempotency_key"),
                (400, "bad_amount"),
                (422, "idempotency_key_reused"),
                (422, "bad_destination"),
                (422, "wrong_amount"),
                (422, "payee_refused"),
                (422, "bad_offer"),
                (422, "bad_invoice"),
                (422, "no_amount"),
                (422, "wrong_network"),
                (422, "expired"),
                (422, "bad_amount"),
                (422, "too_little_spendable"),
                (422, ANY),
                (503, "node_not_ready"),
            ],
        )
        .get("/api/v1/payouts/{id}", payouts::look, "One payout.", &[(404, "unknown_payout")])
        .post("/api/v1/payouts/release", backups::release, "Coins may be sent again after a restore.", &[])
        .get("/api/v1/rules", rules::list, "What the appliance keeps up by itself.", &[])
        .put(
            "/api/v1/rules/{name}",
            rules::put,
            "Sets a rule, which is in force at once.",
            &[(400, "bad_rule"), (404, "unknown_rule"), (409, "rule_in_file"), (422, "bad_rule")],
        )
        .delete(
            "/api/v1/rules/{name}",
            rules::remove,
            "Switches a rule off.",
            &[(404, "unknown_rule"), (409, "rule_in_file")],
        )
        .get("/api/v1/forecast", rules::forecast, "When receivable runs out.", &[])
        .about("Inbound", "Channels that others open to us.")
        .get("/api/v1/inbound", inbound::read, "Who opens channels to us, and on what terms.", &[])
        .get("/api/v1/inbound/limits", inbound::limits, "What may be ordered.", ORDER)
        .get("/api/v1/inbound/orders", inbound::list, "What was ordered.", &[])
        .post("/api/v1/inbound/orders", inbound::quote, "Asks for a price. Nothing is paid.", ORDER)
        .get("/api/v1/inbound/orders/{id}", inbound::look, "How an order stands.", ORDER)
        .post("/api/v1/inbound/orders/{id}/pay", inbound::pay, "Pays an order, once.", ORDER)
        .post(
            "/api/v1/inbound/orders/{id}/close",
            inbound::close,
            "Ends an order whose money came back.",
            ORDER,
        )
}

fn keeping(paths: Paths) -> Paths {
    paths
        .about("Keeping", "The seed, and copies of the ledger.")
        .get("/api/v1/seed", seed::status, "How the seed is kept.", &[])
        .post("/api/v1/seed/words", seed::words, "The words, once.", SEED)
        .both(
            (&Method::POST, "/api/v1/seed/questions"),
            (first_seed::ask, seed::questions),
            "Which words to say.",
            FIRST_SEED,
        )
        .both(
            (&Method::POST, "/api/v1/seed/verify"),
            (first_seed::prove, seed::verify),
            "The words that were asked for.",
            &[SEED, FIRST_SEED].concat(),
        )
        .post("/api/v1/seed/passphrase", seed::passphrase, "What opens the seed from now on.", SEED)
        .get("/api/v1/backups", backups::list, "The copies, the newest first.", BACKUP)
        .post("/api/v1/backups", backups::make, "One more, now.", BACKUP)
        .get("/api/v1/backups/{file}", backups::fetch, "The file, sealed: only the seed opens it.", BACKUP)
        .post("/api/v1/backups/{file}/verify", backups::verify, "Opens it, and audits what is in it.", BACKUP)
        .get(
            "/api/v1/snapshot",
            snapshot::fetch,
            "The channels' recovery snapshot, sealed: only the seed opens it.",
            &[(404, "no_snapshot")],
        )
        .get(
            "/api/v1/generations",
            backups::generations,
            "The ledger's lives: one more with each restore.",
            &[],
        )
}

fn connected(paths: Paths) -> Paths {
    paths
        .about("Keys", "What programs may do.")
        .get("/api/v1/keys", keys::list, "All keys that were ever made.", &[])
        .post(
            "/api/v1/keys",
            keys::add,
            "Makes a key; it is shown once.",
            &[(400, "bad_label"), (400, "bad_scope"), (400, "bad_limits"), (400, "bad_expiry")],
        )
        .delete("/api/v1/keys/{id}", keys::revoke, "The key opens nothing any more.", &[(404, "unknown_key")])
        .post(
            "/api/v1/password",
            password::change,
            "Another password for the operator's pages; every other session ends.",
            PASSWORD,
        )
        .about("Webhooks", "Endpoints that hear of what happens.")
        .get("/api/v1/webhooks", webhooks::list, "The endpoints, and all that they may hear of.", &[])
        .post(
            "/api/v1/webhooks",
            webhooks::add,
            "Adds an endpoint; its secret is shown once.",
            &[
                (400, "bad_url"),
                (400, "bad_topic"),
                (400, "bad_label"),
                (422, "bad_url"),
                (422, "forbidden_address"),
                (422, "no_address"),
                (422, "unreachable"),
                (422, "timed_out"),
                (422, "too_many_webhooks"),
            ],
        )
        .delete("/api/v1/webhooks/{id}", webhooks::remove, "Forgets it.", ENDPOINT)
        .post("/api/v1/webhooks/{id}/enable", webhooks::enable, "Sends to it again.", ENDPOINT)
        .post("/api/v1/webhooks/{id}/disable", webhooks::disable, "Sends nothing to it.", ENDPOINT)
        .post("/api/v1/webhooks/{id}/test", webhooks::test, "Sends a test, and says how it went.", ENDPOINT)
        .get("/api/v1/deliveries", webhooks::deliveries, "The delivery log, newest first.", &[])
        .post(
            "/api/v1/deliveries/{id}/redeliver",
            webhooks::redeliver,
            "Sends it again.",
            &[(404, "unknown_delivery")],
        )
}
