//! `tollhouse fetch` from outside: what it pays, what it refuses to pay, and what it ends with.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::fetch_world::{KEY, Point, Trick, World, locked};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_free_passes_and_what_is_sold_is_paid_once() {
    let world = World::start().await;
    let free = world.run("/free", &[]).await;
    assert_eq!((free.exit, free.text().as_str(), free.stderr.as_str()), (Some(0), "free as air", ""));
    let teapot = world.run("/teapot", &[]).await;
    assert_eq!((teapot.exit, teapot.text().as_str()), (Some(1), "short and stout"));
    assert!(teapot.stderr.contains("418"), "{}", teapot.stderr);
    assert_eq!(world.paid(), 0);

    let bought = world.run("/paid", &[]).await;
    assert_eq!(bought.exit, Some(0), "{}", bought.stderr);
    assert_eq!(bought.stdout, world.body());
    assert!(bought.stderr.contains("paid 5 sat"), "{}", bought.stderr);
    assert_eq!((world.paid(), world.served()), (1, 1));
    assert!(world.left().is_empty(), "{:?}", world.left());

    // A second purchase is a second purchase.
    assert_eq!(world.run("/paid", &[]).await.exit, Some(0));
    assert_eq!((world.paid(), world.served()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_tells_all_and_a_file_appears_whole() {
    let world = World::start().await;
    *locked(&world.inside.body) = b"{\"a\":1}".to_vec();
    let bought = world.run("/paid", &["--json"]).await.json();
    assert_eq!(bought["body"], "{\"a\":1}");
    assert_eq!(
        (&bought["status"], &bought["paid"], &bought["amount_msat"], &bought["fee_msat"]),
        (&json!(200), &json!(true), &json!(5_000), &json!(7))
    );
    assert_eq!(bought["payment_hash"].as_str().map(str::len), Some(64));

    *locked(&world.inside.body) = vec![0xff, 0x00];
    assert_eq!(world.run("/paid", &["--json"]).await.json()["body_base64"], "/wA=");

    let file = world.home.path().join("out");
    let name = file.to_str().expect("a name");
    let told = world.run("/paid", &["--json", "-o", name, "-d", "x=1"]).await.json();
    assert_eq!(told["body_file"], name);
    assert!(told.get("body").is_none());
    assert_eq!(std::fs::read(&file).expect("the file"), [0xff, 0x00]);

    let free = world.run("/free", &["--json"]).await.json();
    assert_eq!((&free["paid"], &free["body"]), (&json!(false), &json!("free as air")));

    // What cannot be a file is seen before anything is paid.
    let paid = world.paid();
    for nowhere in [world.home.path().join("no/out"), world.home.path().to_owned()] {
        let refused = world.run("/paid", &["-X", "PUT", "-o", nowhere.to_str().expect("a name")]).await;
        assert_eq!(refused.exit, Some(2), "{}", refused.stderr);
    }
    assert_eq!(world.paid(), paid);

    // What turns out to be full: paid, and the next run hands it over.
    let failed = world.run("/paid", &["-X", "PUT", "-o", "/dev/full"]).await;
    assert_eq!(failed.exit, Some(1), "{}", failed.stderr);
    assert_eq!(world.paid(), paid + 1);
    let paid = world.paid();
    assert_eq!(world.run("/paid", &["-X", "PUT"]).await.stdout, [0xff, 0x00]);
    assert_eq!(world.paid(), paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_and_a_price_over_the_limit_cost_nothing() {
    let world = World::start().await;
    let quote = world.run("/paid", &["--quote"]).await;
    assert_eq!((quote.exit, quote.text().as_str()), (Some(0), "5 sat\n"));
    let quote = world.run("/paid", &["--quote", "--json"]).await.json();
    assert_eq!((&quote["amount_msat"], &quote["network"]), (&json!(5_000), &json!("regtest")));
    assert_eq!(world.run("/free", &["--quote"]).await.text(), "free\n");

    let dear = world.run("/paid", &["--max-sat", "4"]).await;
    assert_eq!((dear.exit, dear.text().as_str()), (Some(2), ""), "{}", dear.stderr);
    let dear = world.run("/paid", &["--max-sats", "4", "--json"]).await;
    assert_eq!(dear.exit, Some(2));
    assert_eq!((&dear.json()["code"], &dear.json()["exit"]), (&json!("too_expensive"), &json!(2)));
    // A thousandth over is over.
    world.inside.price_msat.store(100_001, Ordering::SeqCst);
    assert_eq!(world.run("/paid", &[]).await.exit, Some(2));
    assert_eq!(world.paid(), 0);
    assert!(world.left().is_empty(), "{:?}", world.left());
    world.inside.price_msat.store(100_000, Ordering::SeqCst);
    assert_eq!(world.run("/paid", &[]).await.exit, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_is_not_paid() {
    let world = World::start().await;
    world.inside.price_msat.store(500_000, Ordering::SeqCst);
    *locked(&world.inside.trick) = Trick::CheapBody;
    assert_eq!(world.run("/paid", &[]).await.exit, Some(2), "the invoice's price counts, not the body's");
    world.inside.price_msat.store(5_000, Ordering::SeqCst);
    for (trick, says) in [(Trick::OtherMacaroon, "another invoice"), (Trick::Expired, "expired")] {
        *locked(&world.inside.trick) = trick;
        let refused = world.run("/paid", &[]).await;
        assert_eq!(refused.exit, Some(1));
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    assert_eq!(world.paid(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_failure_has_its_exit_code() {
    let world = World::start().await;
    let exit = async |path: &str, args: &[&str]| world.run(path, args).await.exit;
    assert_eq!(exit("/paid", &["--nonsense"]).await, Some(2));
    assert_eq!(exit("/paid", &["-H", "no colon"]).await, Some(2));
    assert_eq!(exit("/paid", &["-H", "Authorization: Bearer x"]).await, Some(2));
    assert_eq!(exit("/paid", &["--wallet", "nowhere"]).await, Some(2));
    // The key in the environment is for the wallet in the environment.
    assert_eq!(exit("/paid", &["--wallet", "http://127.0.0.1:1"]).await, Some(2));
    let key = world.home.path().join("key");
    std::fs::write(&key, "another key").expect("written");
    let key = key.to_str().expect("a name");
    let elsewhere = ["--wallet", "http://127.0.0.1:1", "--wallet-key-file", key];
    assert_eq!(exit("/paid", &elsewhere).await, Some(4));

    let mut no_wallet = world.fetch("/paid", &["--json"]);
    no_wallet.env_remove("TOLLHOUSE_WALLET_URL").env_remove("TOLLHOUSE_WALLET_KEY");
    let told = crate::fetch_world::finish(no_wallet.spawn().expect("starts")).await;
    assert_eq!((told.exit, &told.json()["code"]), (Some(2), &json!("no_wallet")));

    let gone = std::process::Command::new(env!("CARGO_BIN_EXE_tollhouse"))
        .args(["fetch", "http://127.0.0.1:1/", "--json"])
        .env("TOLLHOUSE_STATE_DIR", world.home.path())
        .output()
        .expect("it runs");
    assert_eq!(gone.status.code(), Some(4));
    let told: serde_json::Value = serde_json::from_slice(&gone.stdout).expect("JSON");
    assert_eq!((&told["code"], &told["exit"]), (&json!("network"), &json!(4)));
    assert_eq!(world.paid(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_payment_is_final_and_the_next_run_buys_anew() {
    let world = World::start().await;
    *locked(&world.inside.wallet_says) = Some("no_route");
    let failed = world.run("/paid", &["--json"]).await;
    assert_eq!((failed.exit, &failed.json()["code"]), (Some(3), &json!("payment_failed")));
    assert!(failed.json()["error"].as_str().is_some_and(|text| text.contains("no_route")));
    *locked(&world.inside.wallet_says) = Some("ledger_unavailable");
    assert_eq!(world.run("/paid", &[]).await.exit, Some(3));
    // The first failed for good: the second run had a fresh challenge, which was never sent.
    assert_eq!((world.paid(), world.inside.challenges.load(Ordering::SeqCst)), (0, 2));
    *locked(&world.inside.wallet_says) = Some("never_sent");
    assert_eq!(world.run("/paid", &[]).await.exit, Some(3));
    *locked(&world.inside.wallet_says) = None;
    let bought = world.run("/paid", &[]).await;
    assert_eq!((bought.exit, bought.stdout), (Some(0), world.body()));
    // What did not reach the node is sent with the same invoice, never beside another.
    assert_eq!((world.paid(), world.inside.challenges.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_ended_unpaid_gives_way_to_a_fresh_one() {
    let mut world = World::start().await;
    world.kill_at(Point::BeforePayment, &[]).await;
    assert_eq!(world.run("/paid", &["--max-sats", "4"]).await.exit, Some(2), "today's limit holds");
    assert_eq!(world.paid(), 0);
    // The old invoice has ended, as the wallet says; its answer to the fresh one is the same here.
    *locked(&world.inside.wallet_says) = Some("invoice_expired");
    assert_eq!(world.run("/paid", &[]).await.exit, Some(3));
    assert_eq!(world.inside.challenges.load(Ordering::SeqCst), 2);
    *locked(&world.inside.wallet_says) = None;
    assert_eq!(world.run("/paid", &[]).await.stdout, world.body());
    assert_eq!((world.paid(), world.served()), (1, 1));
}

/// A stop of the wallet came before it knew whether its node took the payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_cut_off_gives_way_to_another_only_when_a_person_says_so() {
    let world = World::start().await;
    *locked(&world.inside.wallet_says) = Some("cut_off");
    assert_eq!(world.run("/paid", &[]).await.exit, Some(3));
    // Its invoice is sent again as long as it can be paid; then nobody knows.
    *locked(&world.inside.wallet_says) = Some("invoice_expired");
    for _ in 0..2 {
        let unsure = world.run("/paid", &["--json"]).await;
        assert_eq!((unsure.exit, &unsure.json()["code"]), (Some(3), &json!("payment_cut_off")));
        assert!(unsure.json()["error"].as_str().is_some_and(|text| text.contains("--pay-again")));
    }
    assert_eq!(world.inside.challenges.load(Ordering::SeqCst), 1, "no other one was asked for");
    assert_eq!(world.run("/paid", &["--pay-again"]).await.exit, Some(3));
    assert_eq!(world.inside.challenges.load(Ordering::SeqCst), 2);
    *locked(&world.inside.wallet_says) = None;
    assert_eq!(world.run("/paid", &["--pay-again"]).await.stdout, world.body());
    assert_eq!((world.paid(), world.served()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_outlives_a_server_that_fails() {
    let world = World::start().await;
    for status in [502, 503, 500, 409] {
        let paid = world.paid();
        world.inside.failing_with.store(status, Ordering::SeqCst);
        world.inside.failing.store(2, Ordering::SeqCst);
        let bought = world.run("/paid", &[]).await;
        assert_eq!((bought.exit, bought.stdout), (Some(0), world.body()), "{status}: {}", bought.stderr);
        assert_eq!(world.paid(), paid + 1, "{status}");
    }
    let (paid, served) = (world.paid(), world.served());
    world.inside.failing_with.store(502, Ordering::SeqCst);
    world.inside.failing.store(1_000, Ordering::SeqCst);
    let proofs = world.inside.proofs.load(Ordering::SeqCst);
    let kept = world.run("/paid", &["--json"]).await;
    assert_eq!((kept.exit, &kept.json()["code"]), (Some(4), &json!("unserved")));
    // What was paid is said, and that it is kept; whether the unit came back only when the server says so.
    let (said, told) = (kept.json()["error"].to_string(), kept.json()["paid"].clone());
    assert!(
        said.contains("paid 5 sat") && said.contains("the paid unit back, and the token is kept"),
        "{said}"
    );
    assert!(said.contains("502") && said.contains("run the same command again"), "{said}");
    assert_eq!((&told["amount_msat"], &told["restored"]), (&json!(5_000), &json!(true)));
    let tries = world.inside.proofs.load(Ordering::SeqCst) - proofs;
    assert!((2..10).contains(&tries), "bounded: {tries}");
    world.inside.failing.store(0, Ordering::SeqCst);
    let bought = world.run("/paid", &[]).await;
    assert_eq!((bought.exit, bought.stdout), (Some(0), world.body()));
    assert_eq!((world.paid(), world.served()), (paid + 1, served + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_proof_is_not_paid_again_in_silence() {
    let mut world = World::start().await;
    *locked(&world.inside.forgets_answers) = true;
    world.kill_at(Point::AfterService, &[]).await;
    for _ in 0..2 {
        let refused = world.run("/paid", &[]).await;
        assert_eq!((refused.exit, refused.text().as_str()), (Some(1), ""));
        assert!(refused.stderr.contains("spent") && refused.stderr.contains("--pay-again"), "{refused:?}");
    }
    assert_eq!(world.paid(), 1);
    // The limit holds for the second purchase too.
    assert_eq!(world.run("/paid", &["--pay-again", "--max-sats", "1"]).await.exit, Some(2));
    assert_eq!(world.paid(), 1);
    let bought = world.run("/paid", &["--pay-again"]).await;
    assert_eq!((bought.exit, bought.stdout), (Some(0), world.body()));
    assert_eq!((world.paid(), world.served()), (2, 2));
    assert!(world.left().is_empty(), "{:?}", world.left());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_two_purchases_and_no_confusion() {
    let world = World::start().await;
    let (one, two) = tokio::join!(world.run("/paid", &[]), world.run("/paid", &[]));
    for ran in [one, two] {
        assert_eq!((ran.exit, ran.stdout), (Some(0), world.body()), "{}", ran.stderr);
    }
    assert_eq!((world.paid(), world.served()), (2, 2));
    assert!(world.left().is_empty(), "{:?}", world.left());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_private_and_what_is_shown_is_no_secret() {
    let mut world = World::start().await;
    let killed = world.kill_at(Point::AfterService, &[]).await;
    let left = world.left();
    let record = left.iter().find(|path| path.extension().is_some_and(|end| end == "json"));
    let record = std::fs::read_to_string(record.expect("a record")).expect("it can be read");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    for path in left.iter().chain([&world.home.path().join("state"), &world.home.path().join("state/fetch")])
    {
        let mode = std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    world.inside.failing.store(1_000, Ordering::SeqCst);
    let failed = world.run("/paid", &[]).await;
    let shown = format!("{}{}{}{}", killed.text(), killed.stderr, failed.text(), failed.stderr);
    let secrets = [
        KEY,
        record["macaroon"].as_str().expect("one"),
        record["state"]["proof"]["preimage"].as_str().expect("one"),
    ];
    for secret in secrets {
        assert!(secret.len() > 10 && !shown.contains(secret), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_no_licence_to_pay() {
    let mut world = World::start().await;
    world.kill_at(Point::AfterPayment, &[]).await;
    let record = world.left().into_iter().find(|path| path.extension().is_some_and(|end| end == "json"));
    let record = record.expect("a record");
    std::fs::write(&record, "{\"nonce\":").expect("it can be written");
    let refused = world.run("/paid", &[]).await;
    assert_eq!(refused.exit, Some(1));
    assert!(refused.stderr.contains(record.to_str().expect("a name")), "{}", refused.stderr);
    assert_eq!(world.paid(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_several_requests_is_kept_and_used_up() {
    let world = World::start().await;
    world.inside.units.store(3, Ordering::SeqCst);
    let quote = world.run("/paid", &["--quote"]).await.text();
    let shown =
        "5 sat\n\n OFFER    PRICE   WHAT\n request  5 sat   One request\n pack-3   12 sat  3 requests\n";
    assert_eq!(quote, shown);
    // Nothing else is bought than what was asked for.
    let other = world.run("/paid", &["--offer", "pack-4"]).await;
    let told = "the seller does not offer `pack-4` here, but request, pack-3: nothing was paid";
    assert!(other.exit == Some(2) && other.stderr.contains(told), "{}", other.stderr);
    assert!(world.left().is_empty() && world.paid() == 0);
    locked(&world.inside.prefers).clear();
    let first = world.run("/paid", &["--offer", "pack-3"]).await;
    assert_eq!(first.exit, Some(0), "{}", first.stderr);
    assert_eq!((world.paid(), world.served()), (1, 1));
    assert_eq!(locked(&world.inside.prefers).as_slice(), ["l402-offer=pack-3"]);
    // Any other request to the same seller uses it, and no limit is asked: nothing is paid.
    let second = world.run("/paid", &["--max-sats", "0", "-X", "PUT"]).await;
    assert_eq!((second.exit, second.stdout), (Some(0), world.body()), "{}", second.stderr);
    assert!(second.stderr.contains("paid nothing"), "{}", second.stderr);
    let third = world.run("/paid", &["--json"]).await.json();
    assert_eq!((&third["paid_before"], &third["amount_msat"]), (&json!(true), &json!(0)), "{third}");
    assert_eq!((world.paid(), world.served()), (1, 3));
    // It is spent: the next is bought, and the dead one is thrown away.
    let fourth = world.run("/paid", &["--json"]).await.json();
    assert_eq!((&fourth["paid_before"], &fourth["amount_msat"]), (&json!(false), &json!(5_000)), "{fourth}");
    assert_eq!((world.paid(), world.served()), (2, 4));
    let kept = std::fs::read_dir(world.home.path().join("state/tokens")).expect("the purse").count();
    assert_eq!(kept, 1);
    let mode = std::fs::metadata(world.home.path().join("state/tokens")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(world.left().is_empty(), "{:?}", world.left());
    // Whoever sells elsewhere does not see it.
    let other = World::start().await;
    other.inside.units.store(3, Ordering::SeqCst);
    let mut elsewhere = other.fetch("/paid", &[]);
    elsewhere.env("TOLLHOUSE_STATE_DIR", world.home.path().join("state"));
    let bought = crate::fetch_world::finish(elsewhere.spawn().expect("starts")).await;
    assert_eq!(bought.exit, Some(0), "{}", bought.stderr);
    assert_eq!((other.paid(), other.inside.proofs.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_pack_is_not_paid_for_again_in_silence() {
    let world = World::start().await;
    world.inside.units.store(3, Ordering::SeqCst);
    assert_eq!(world.run("/paid", &["--offer", "pack-3"]).await.exit, Some(0));
    *locked(&world.inside.refusing) = Some("price_changed");
    for _ in 0..2 {
        let refused = world.run("/paid", &[]).await;
        assert_eq!((refused.exit, refused.text().as_str()), (Some(1), ""));
        assert!(
            refused.stderr.contains("price_changed") && refused.stderr.contains("--pay-again"),
            "{refused:?}"
        );
    }
    assert_eq!((world.paid(), world.served()), (1, 1));
    assert!(world.left().is_empty(), "{:?}", world.left());
    // It is good again when the price fell.
    *locked(&world.inside.refusing) = None;
    assert_eq!(world.run("/paid", &["--json"]).await.json()["paid_before"], json!(true));
    // What another offer left is not used where one is asked for by name.
    world.inside.units.store(2, Ordering::SeqCst);
    let proofs = world.inside.proofs.load(Ordering::SeqCst);
    assert_eq!(
        world.run("/paid", &["--offer", "pack-3", "--json"]).await.json()["paid_before"],
        json!(false)
    );
    assert_eq!((world.paid(), world.inside.proofs.load(Ordering::SeqCst)), (2, proofs + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_token_is_good_where_nobody_can_be_paid() {
    let world = World::start().await;
    world.inside.units.store(3, Ordering::SeqCst);
    let first = world.run("/paid", &[]).await;
    assert_eq!(first.exit, Some(0), "{}", first.stderr);
    world.inside.closed.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let kept = world.run("/paid", &[]).await;
        assert_eq!((kept.exit, kept.stdout), (Some(0), world.body()), "{}", kept.stderr);
        assert!(kept.stderr.contains("paid nothing"), "{}", kept.stderr);
    }
    // It is used up, which a seller without an invoice cannot say: it stays, and the answer is the seller's.
    let proofs = world.inside.proofs.load(Ordering::SeqCst);
    let closed = world.run("/paid", &[]).await;
    assert_eq!(closed.exit, Some(1));
    let said = "the server answers 503 (Cannot be paid now): nothing was paid";
    assert!(closed.stderr.contains(said), "{}", closed.stderr);
    assert_eq!(world.inside.proofs.load(Ordering::SeqCst), proofs + 1, "asked once");
    assert_eq!((world.paid(), world.served()), (1, 3));
    assert!(world.left().is_empty(), "{:?}", world.left());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_success_says_what_became_of_the_money() {
    let world = World::start().await;
    world.inside.failing_with.store(404, Ordering::SeqCst);
    world.inside.failing.store(2, Ordering::SeqCst);
    let missing = world.run("/paid", &[]).await;
    assert_eq!(missing.exit, Some(1));
    let said = "the server answers 404 (No such [31m city): the server gave the paid unit back";
    assert!(missing.stderr.contains("paid 5 sat") && missing.stderr.contains(said), "{}", missing.stderr);
    assert_eq!(world.run("/paid", &["--json"]).await.json()["restored"], true);
    let free = world.run("/teapot", &[]).await;
    assert!(free.stderr.contains("the server answers 418: nothing was paid"), "{}", free.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_the_payment_keeps_the_rest_of_a_pack() {
    for point in [Point::AfterPayment, Point::BeforeService, Point::AfterService, Point::MidBody] {
        let mut world = World::start().await;
        world.inside.units.store(2, Ordering::SeqCst);
        world.kill_at(point, &[]).await;
        for request in 0..2 {
            let bought = world.run("/paid", &[]).await;
            assert_eq!(
                (bought.exit, bought.stdout),
                (Some(0), world.body()),
                "{point:?} {request}: {}",
                bought.stderr
            );
        }
        assert_eq!((world.paid(), world.served()), (1, 2), "{point:?}");
    }
}
