//! Each noun of the appliance from the command line: what there is without a subcommand, and what the pages show.

use tollhouse::ledger::{Draw, Ending, Sale};
use tollhouse::types::{Kind, Msat, TokenId};

use super::*;
use crate::admin_app::PASSWORD;

/// Sells `path` of something that answers `here it is`, for 15 sat.
async fn sold(desk: &Desk) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", listener.local_addr().expect("bound"));
    let router = Router::new().fallback(async || "here it is");
    desk.app.op.parts.tracker.spawn(async move { axum::serve(listener, router).await });
    let file = desk.app.dir.path().join("shop.toml");
    let text = format!(
        "[[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"{upstream}\"\nprice = \"15 sat\"\n"
    );
    std::fs::write(&file, text).expect("written");
    let applied = desk.run(&["services", "apply", file.to_str().expect("plain")]).await;
    assert_eq!(applied.exit, 0, "{}", applied.err);
}

#[tokio::test]
async fn a_noun_alone_shows_what_there_is() {
    let desk = Desk::open().await;
    // Nothing is on sale: that is no success.
    let (status, doctor) = (desk.run(&["status"]).await, desk.run(&["doctor", "--json"]).await);
    assert!(status.exit == 1 && status.out.contains("nothing is on sale"), "{}{}", status.out, status.err);
    assert!(doctor.out.contains("\"nothing_on_sale\""), "{}", doctor.out);
    sold(&desk).await;
    let status = desk.run(&["status"]).await;
    assert!(!status.out.contains("nothing is on sale"), "{}{}", status.out, status.err);
    for (noun, shown) in [
        ("services", "list"),
        ("tokens", "list"),
        ("keys", "list"),
        ("webhooks", "list"),
        ("vault", "show"),
        ("wallet", "balance"),
        ("channels", "list"),
        ("peers", "list"),
        ("operations", "list"),
        ("rules", "list"),
        ("backup", "list"),
    ] {
        let (alone, said) = (desk.run(&[noun]).await, desk.run(&[noun, shown]).await);
        assert_eq!((alone.exit, alone.out.as_str()), (0, said.out.as_str()), "{noun}: {}", alone.err);
        assert!(desk.run(&[noun, "--json"]).await.json().is_object(), "{noun}");
    }
}

#[tokio::test]
async fn what_the_pages_show_is_shown_here_too() {
    let desk = Desk::open().await;
    sold(&desk).await;

    // The built-in customer: what it would cost, and then paid.
    let asked = desk.run(&["try", "get", "/v1/x", "-H", "x-name: me"]).await;
    assert!(
        asked.exit == 0 && asked.out.starts_with("402: it costs 15 sat. Nothing"),
        "{}{}",
        asked.out,
        asked.err
    );
    let paid = desk.run(&["try", "GET", "/v1/x", "--pay"]).await;
    assert!(paid.out.contains("that was paid.\nanswer   200\n\nhere it is"), "{}{}", paid.out, paid.err);
    let wrong = desk.run(&["try", "GET", "/v1/x", "-H", "no colon"]).await;
    assert!(wrong.exit == 2 && wrong.err.contains("a colon"), "{}", wrong.err);
    let earned = desk.run(&["revenue"]).await;
    assert!(
        earned.exit == 0 && earned.out.contains("15 sat") && earned.out.contains("rates/"),
        "{}",
        earned.out
    );
    let none = desk.run(&["revenue", "--by", "hour", "--last", "5m", "--service", "other", "--json"]).await;
    assert_eq!(none.json()["points"], json!([]));

    let payee = desk.app.change("/api/v1/trials/invoice", &desk.key, json!({ "amount_sat": 50 })).await;
    let payee: Value = payee.json().await.expect("JSON");
    assert!(payee["invoice"].as_str().is_some_and(|invoice| invoice.starts_with("lnbcrt500n")), "{payee}");
    let nothing = desk.app.change("/api/v1/trials/invoice", &desk.key, json!({ "amount_sat": 0 })).await;
    assert_eq!(nothing.status(), StatusCode::BAD_REQUEST);

    // One payment in full: of a token that was used, and of one that was not.
    let hash = PaymentHash::from_bytes([0xab; 32]);
    let sat = Msat::from_sat(30).expect("in range");
    desk.app.ledger.receive(hash, sat, None).await.expect("received");
    let unused = desk.run(&["payments", "abab"]).await;
    assert!(unused.out.contains("received  30 sat") && unused.out.contains("not used yet"), "{}", unused.out);
    let sale = Sale {
        payment_hash: hash,
        token_id: TokenId::from_bytes([1; 32]),
        service: "rates".parse().expect("a name"),
        route: "default".parse().expect("a name"),
        kind: Kind::Pack,
        units: 3,
        lasts: None,
        sold: sat,
        covers: Msat::ZERO,
        quote: None,
        valid_until: desk.app.clock.now().plus(std::time::Duration::from_secs(60)),
    };
    let held = desk.app.ledger.reserve(sale.clone(), Draw::one(sale.route.clone())).await.expect("held");
    held.end(Ending::Delivered);
    let used = desk.run(&["payments", &hash.to_hex()]).await;
    assert!(used.out.contains("2 left, 1 used, of 3 sold"), "{}{}", used.out, used.err);
    let told = desk.run(&["payments", "abab", "--json"]).await.json();
    assert_eq!(
        (&told["payment"]["amount_msat"], &told["token"]["spends"][0]["number"]),
        (&json!(30_000), &json!(1))
    );
    let unknown = desk.run(&["payments", &"00".repeat(32), "--json"]).await;
    assert_eq!((unknown.exit, &unknown.json()["code"]), (1, &json!("unknown_payment")));
    assert_eq!(desk.run(&["payments", "0000"]).await.exit, 2, "none begins so");

    // The chain's price, the vault, the settings.
    let fees = desk.run(&["wallet", "fees"]).await;
    assert!(
        fees.exit == 0 && fees.out.contains("fast") && fees.out.contains("SAT/VB"),
        "{}{}",
        fees.out,
        fees.err
    );
    let look = desk.run(&["vault", "look", "--json"]).await;
    assert_eq!((look.exit, &look.json()["code"]), (1, &json!("no_vault")));
    let addresses = desk.run(&["vault", "addresses", "--json"]).await;
    assert_eq!((addresses.exit, &addresses.json()["code"]), (1, &json!("no_vault")));
    let settings = desk.run(&["config"]).await;
    assert!(
        settings.exit == 0 && settings.out.contains("without a configuration, as the demo is"),
        "{}{}",
        settings.out,
        settings.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_changed_and_a_lost_one_forgotten() {
    let desk = Desk::open().await;
    let session = desk.app.claimed().await;
    let dir = desk.app.dir.path();
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        tollhouse::secrets::write_private(&path, format!("{text}\n")).expect("written");
        path.display().to_string()
    };
    let (now, new) = (file("now", PASSWORD), file("new", "another password than before"));
    let change = async |now: &str, new: &str| {
        desk.run(&["password", "--current-password-file", now, "--new-password-file", new, "--json"]).await
    };
    let wrong = change(&new, &new).await;
    assert_eq!((wrong.exit, &wrong.json()["code"]), (1, &json!("wrong_password")));
    let changed = change(&now, &new).await;
    assert_eq!((changed.exit, changed.json()), (0, json!({ "changed": true })), "{}", changed.err);
    assert!(!changed.out.contains(PASSWORD));
    let home = desk.app.get("/").header("cookie", session).send().await.expect("an answer");
    assert_eq!(home.status(), StatusCode::SEE_OTHER, "logged out");

    // It works on the files of the machine, and not from afar.
    let far = desk.run(&["password", "forget"]).await;
    assert!(far.exit == 2 && far.err.contains("which appliance's"), "{}", far.err);
    let data = dir.join("data");
    let ask = ["password", "forget", "--data-dir", data.to_str().expect("plain"), "--network", "regtest"];
    let nothing = run(dir, &ask, &[]).await;
    assert!(nothing.exit == 1 && nothing.err.contains("nothing ran in"), "{}", nothing.err);
    std::fs::create_dir_all(data.join("regtest")).expect("a folder");
    let said = run(dir, &ask, &[]).await;
    assert!(said.exit == 0 && data.join("regtest/forget-password").exists(), "{}{}", said.out, said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brings_money_back_is_fetched_and_the_words_are_shown() {
    let desk = Desk::open().await;
    let dir = desk.app.dir.path();
    let to = |name: &str| dir.join(name).display().to_string();
    let made = desk.run(&["backup", "now", "--json"]).await.json();
    let name = made["file"].as_str().expect("a name").to_owned();
    let kept = desk.run(&["backup", "download", &name, "--to", &to("copy")]).await;
    assert!(kept.exit == 0 && kept.out.contains("sealed"), "{}{}", kept.out, kept.err);
    let original = dir.join("backups").join(&name);
    assert_eq!(
        std::fs::read(dir.join("copy")).expect("it is there"),
        std::fs::read(original).expect("it is")
    );
    let again = desk.run(&["backup", "download", &name, "--to", &to("copy"), "--json"]).await;
    assert_eq!((again.exit, &again.json()["code"]), (1, &json!("file_exists")), "nothing is written over");

    let none = desk.run(&["backup", "snapshot", "--to", &to("none"), "--json"]).await;
    assert_eq!((none.exit, &none.json()["code"]), (1, &json!("no_snapshot")));
    assert!(!dir.join("none").exists());
    desk.app.written_snapshot(b"sealed bytes");
    let kept = desk.run(&["backup", "snapshot", "--to", &to("channels"), "--json"]).await;
    assert_eq!((kept.exit, &kept.json()["bytes"]), (0, &json!(12)), "{}", kept.err);
    assert_eq!(std::fs::read(dir.join("channels")).expect("it is there"), b"sealed bytes");

    // No terminal: nobody would see the words.
    let config = dir.join("t.toml");
    let data = dir.join("data");
    std::fs::create_dir_all(data.join("regtest")).expect("a folder");
    let listen = desk.app.origin.trim_start_matches("http://");
    let text = format!("network = \"regtest\"\ndata_dir = \"data\"\n[admin]\nlisten = \"{listen}\"\n");
    std::fs::write(&config, text).expect("written");
    std::fs::write(data.join("regtest/admin.key"), format!("{}\n", desk.key)).expect("written");
    let lock = tollhouse::store::DirLock::take(&data).expect("as the appliance that runs there does");
    let config = config.display().to_string();
    let words = async |more: &[&str]| {
        let args = [&["seed", "words", "--config", &config, "--json"], more].concat();
        run(dir, &args, &[]).await
    };
    let unseen = words(&[]).await;
    assert_eq!((unseen.exit, &unseen.json()["code"]), (1, &json!("no_terminal")));
    let shown = words(&["--yes-print"]).await.json();
    let seed = desk.app.op.seed.seed();
    let right: Vec<&str> = seed.words().split(' ').collect();
    assert_eq!(shown["words"], json!(right));
    let once = words(&["--yes-print"]).await;
    assert_eq!((once.exit, &once.json()["code"]), (1, &json!("words_were_shown")));
    assert_eq!(words(&["--yes-print", "--again"]).await.json()["words"], json!(right));
    drop(lock);
}
