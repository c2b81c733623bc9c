//! What is said when no answer comes, or another one than was asked for.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Something at the appliance's address that answers each request with `bytes`, and hangs up.
async fn stand_in(desk: &Desk, bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    desk.app.op.parts.tracker.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    origin
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_asked_for_again_under_its_key() {
    let desk = Desk::open().await;
    let origin = stand_in(&desk, b"").await;
    let env = [("TOLLHOUSE_ADMIN_URL", origin.as_str()), ("TOLLHOUSE_ADMIN_KEY", desk.key.as_str())];
    let home = desk.app.dir.path();
    let send = ["wallet", "send", "bcrt1q", "--amount-sat", "5000", "--yes"];
    let pay = ["pay-out", "me@example.org", "--amount-sat", "50", "--yes"];
    for asked in [&send[..], &pay[..]] {
        let told = run(home, &[asked, &["--json"]].concat(), &env).await;
        let (exit, told) = (told.exit, told.json());
        let key = told["key"].as_str().unwrap_or_else(|| panic!("a key: {told}"));
        assert!(exit == 4 && key.starts_with("cli-"), "{told}");
        let text = told["error"].as_str().expect("a text");
        assert!(text.contains(&format!("--key {key}")) && text.contains("tollhouse operations"), "{text}");
        let named = run(home, &[asked, &["--key", "rent"]].concat(), &env).await;
        assert!(named.exit == 4 && named.err.contains("--key rent,"), "{}", named.err);
    }
    // Where the request went nowhere, nothing can have been done.
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let env = [("TOLLHOUSE_ADMIN_URL", nowhere.as_str()), ("TOLLHOUSE_ADMIN_KEY", desk.key.as_str())];
    let told = run(home, &[&pay[..], &["--json"]].concat(), &env).await;
    assert!(told.exit == 4 && told.json().get("key").is_none(), "{}", told.out);
}

#[tokio::test]
async fn a_file_has_its_name_once_it_is_whole() {
    let desk = Desk::open().await;
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nsome bytes";
    let origin = stand_in(&desk, half).await;
    let env = [("TOLLHOUSE_ADMIN_URL", origin.as_str()), ("TOLLHOUSE_ADMIN_KEY", desk.key.as_str())];
    let into = desk.app.dir.path().join("kept");
    std::fs::create_dir(&into).expect("a folder");
    let to = into.join("channels").display().to_string();
    let told = run(desk.app.dir.path(), &["backup", "snapshot", "--to", &to], &env).await;
    assert!(told.exit == 1 && told.err.contains("nothing was kept"), "{}", told.err);
    assert_eq!(std::fs::read_dir(&into).expect("it is there").count(), 0);
}

#[tokio::test]
async fn a_refused_key_is_no_dead_appliance_and_a_peer_is_no_path() {
    let desk = Desk::open().await;
    let away = desk.run(&["peers", "forget", "../keys/1", "--json"]).await;
    assert_eq!((away.exit, &away.json()["code"]), (2, &json!("bad_arguments")), "{}", away.out);
    assert_eq!(desk.run(&["keys", "list"]).await.exit, 0, "the key lives");

    let url = desk.app.origin.as_str();
    let env = [("TOLLHOUSE_ADMIN_URL", url), ("TOLLHOUSE_ADMIN_KEY", "tollhouse_gone")];
    let report = run(desk.app.dir.path(), &["doctor", "--json"], &env).await;
    let (exit, report) = (report.exit, report.json());
    assert_eq!((exit, &report["running"]), (1, &json!(true)), "{report}");
    let codes: Vec<_> = report["findings"].as_array().into_iter().flatten().map(|f| &f["code"]).collect();
    assert!(codes.contains(&&json!("key_refused")) && !codes.contains(&&json!("no_answer")), "{report}");
}
