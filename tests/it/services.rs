//! What is sold, seen and changed as an operator does: through the API, the commands and the files.

use std::process::Output;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollhouse::web::keys::Scope;

use crate::admin_app::AdminApp;
use crate::appliance::{Appliance, TURN, bitcoind_section, tollhouse};
use crate::bitcoind::free_port;

fn spec(name: &str, price: &str) -> Value {
    json!({ "name": name, "path": format!("/{name}"), "price": price, "upstream": "http://127.0.0.1:9",
        "upstream_headers": { "X-Key": "hunter2", "X-Env": { "env": "UPSTREAM_KEY" } } })
}

/// Asks with a key; the status and the body.
async fn ask(app: &AdminApp, key: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = app.client.request(method, format!("{}{path}", app.origin)).bearer_auth(key);
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn services_live_in_the_ledger_and_change_through_the_api() {
    let app = AdminApp::start().await;
    let (admin, reader) = (app.key(&[Scope::Admin]).await, app.key(&[Scope::Read]).await);
    let (status, done) =
        ask(&app, &admin, Method::PUT, "/api/v1/services/rates", spec("rates", "5 sat")).await;
    assert_eq!(
        (status, &done["changes"][0]["what"], &done["applied"]),
        (StatusCode::OK, &json!("added"), &json!(true))
    );
    let (_, listed) = ask(&app, &reader, Method::GET, "/api/v1/services", Value::Null).await;
    assert_eq!(listed["services"][0]["spec"]["price"], "5 sat");
    assert!(!listed.to_string().contains("hunter2"), "a key is shown to nobody");
    assert!(listed.to_string().contains("UPSTREAM_KEY"));

    // What was read is written back, with one change.
    let (_, mut shown) = ask(&app, &admin, Method::GET, "/api/v1/services/rates", Value::Null).await;
    shown["spec"]["price"] = json!("6 sat");
    let (_, done) = ask(&app, &admin, Method::PUT, "/api/v1/services/rates", shown["spec"].take()).await;
    assert_eq!(
        done["changes"][0]["differences"],
        json!([{ "field": "price", "before": "5 sat", "after": "6 sat" }])
    );
    let table = app.op.parts.storefront.catalog().current();
    let sent = &table.services()[0].upstream.headers;
    assert!(
        sent.iter().any(|(_, value)| value == "hunter2") && sent.iter().any(|(_, value)| value == "sesame")
    );

    let (status, refused) = ask(&app, &reader, Method::DELETE, "/api/v1/services/rates", Value::Null).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("missing_scope")));
    let (status, wrong) =
        ask(&app, &admin, Method::PUT, "/api/v1/services/other", spec("rates", "5 sat")).await;
    assert_eq!((status, &wrong["code"]), (StatusCode::BAD_REQUEST, &json!("bad_name")));
    let (status, _) = ask(&app, &admin, Method::DELETE, "/api/v1/services/rates", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let (status, gone) = ask(&app, &admin, Method::GET, "/api/v1/services/rates", Value::Null).await;
    assert_eq!((status, &gone["code"]), (StatusCode::NOT_FOUND, &json!("no_such_service")));

    let events = app.ledger.events_after(0, 100).await.expect("events");
    let told = serde_json::to_string(&events).expect("JSON");
    assert_eq!(told.matches("service_changed").count(), 3);
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn all_of_a_list_is_applied_or_none_and_every_fault_is_told() {
    let app = AdminApp::start().await;
    let admin = app.key(&[Scope::Admin]).await;
    let apply = |services: Value, dry: bool| {
        let body = json!({ "services": services, "dry_run": dry });
        ask(&app, &admin, Method::POST, "/api/v1/services/apply", body)
    };
    let mut formula = spec("c", "5 sat");
    formula["price"] = json!({ "formula": "1000 * request.json.n" });
    formula["samples"] =
        json!([{ "path": "/c", "body": "{\"n\":1}" }, { "path": "/c", "body": "{\"n\":-1}" }]);
    let (status, wrong) = apply(json!([spec("a", "5 sat"), spec("b", "0 sat"), formula]), false).await;
    assert_eq!((status, &wrong["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("bad_service")));
    let places: Vec<(&Value, &Value)> =
        wrong["errors"].as_array().expect("a list").iter().map(|e| (&e["index"], &e["field"])).collect();
    assert_eq!(places, [(&json!(1), &json!("price")), (&json!(2), &json!("samples[1]"))]);
    assert!(wrong["errors"][1]["what"].as_str().expect("words").contains("sample 2"));
    let (_, listed) = ask(&app, &admin, Method::GET, "/api/v1/services", Value::Null).await;
    assert_eq!(listed["services"], json!([]));

    let (_, dry) = apply(json!([spec("a", "5 sat"), spec("b", "6 sat")]), true).await;
    assert_eq!((dry["changes"].as_array().map(Vec::len), &dry["applied"]), (Some(2), &json!(false)));
    let (_, real) = apply(json!([spec("a", "5 sat"), spec("b", "6 sat")]), false).await;
    assert_eq!(
        (&real["changes"], &real["applied"]),
        (&dry["changes"], &json!(true)),
        "what was shown is done"
    );
    let mut same = spec("d", "5 sat");
    same["path"] = json!("/a");
    let (_, clash) = apply(json!([same]), false).await;
    assert!(
        clash["detail"].as_str().expect("words").contains("service `a` matches the same requests"),
        "{clash}"
    );
}

#[tokio::test]
async fn a_price_is_told_with_the_reason_why_that_route() {
    let app = AdminApp::start().await;
    let (admin, reader) = (app.key(&[Scope::Admin]).await, app.key(&[Scope::Read]).await);
    let service = json!({ "name": "api", "path": "/", "price": "10 sat", "upstream": "http://127.0.0.1:9", "route": [
        { "name": "post", "method": "POST", "path": "/v1/{id}", "price": { "formula": "sat(request.json.n)" } },
        { "name": "files", "path": "/v1/*", "price": "7 sat" },
    ] });
    let (status, done) = ask(&app, &admin, Method::PUT, "/api/v1/services/api", service).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    let price = |body: Value| ask(&app, &reader, Method::POST, "/api/v1/price", body);
    let asked = json!({ "method": "POST", "url": "https://h.example/v1/7?x=1", "body": "{\"n\":3}" });
    let (_, told) = price(asked).await;
    assert_eq!((&told["route"], &told["price"]["mostMsat"]), (&json!("post"), &json!(3_000)), "{told}");
    let fates: Vec<(&str, &str)> = told["candidates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| (c["route"].as_str().expect("a name"), c["why"].as_str().expect("words")))
        .collect();
    assert_eq!(
        fates,
        [
            ("post", "it is the most specific"),
            ("files", "behind api/post: its path is the more specific"),
            ("default", "behind api/post: a route goes before its service's default"),
        ]
    );
    let (_, told) = price(json!({ "url": "/V1/x" })).await;
    assert_eq!(told["route"], "default");
    let (status, told) = price(json!({ "url": "http://h/a/../b" })).await;
    assert_eq!(
        (status, &told["code"]),
        (StatusCode::BAD_REQUEST, &json!("bad_path")),
        "as the gateway would"
    );
    let (_, unpriced) = price(json!({ "method": "POST", "url": "http://h/v1/7", "body": "no" })).await;
    assert_eq!(unpriced["price"]["code"], "formula_failed", "{unpriced}");
}

/// An appliance whose node waits for a chain that is not there: what is sold can be seen and changed.
struct Shop {
    appliance: Appliance,
    home: std::path::PathBuf,
}

impl Shop {
    async fn start(services: &str) -> Shop {
        let appliance = Appliance::start(&bitcoind_section(free_port()), services);
        let home = appliance.data_dir().parent().expect("a home").to_owned();
        let mut shop = Shop { appliance, home };
        shop.appliance.process().says("node ").await;
        shop
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    fn run(&self, args: &[&str]) -> Output {
        let config = self.home.join("tollhouse.toml");
        let mut command = tollhouse(&self.home, args);
        command.arg("--config").arg(config).output().expect("it runs")
    }

    /// What a command that succeeds says.
    fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a command that is refused says.
    fn refuses(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).expect("text")
    }

    async fn hang_up(&mut self, says: &str) {
        let id = self.appliance.process().id();
        let told = std::process::Command::new("sh").args(["-c", &format!("kill -HUP {id}")]).status();
        assert!(told.expect("a shell").success());
        self.appliance.process().says(says).await;
    }

    async fn price(&self, path: &str) -> Value {
        self.appliance.post("/api/v1/price", json!({ "url": path })).await["rule"].clone()
    }
}

fn block(name: &str, price: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\npath = \"/{name}\"\nprice = \"{price}\"\nupstream = \"http://127.0.0.1:9\"\n"
    )
}

#[tokio::test]
async fn files_own_what_they_name_and_are_read_again_on_sighup() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let owned = folder.path().join("services.toml");
    let write = |text: &str| std::fs::write(&owned, text).expect("written");
    write(&block("owned", "5 sat"));
    // A top-level setting stands before the first table, so here it is a flag.
    let mut shop = {
        let mut appliance = Appliance::start(&bitcoind_section(free_port()), &block("inline", "9 sat"));
        appliance.process().says("node ").await;
        appliance.stop().await;
        let mut command = appliance.command(&["--services-file"]);
        command.arg(&owned);
        appliance.start_as(command);
        let home = appliance.data_dir().parent().expect("a home").to_owned();
        Shop { appliance, home }
    };
    shop.appliance.process().says("(2 services)").await;
    assert_eq!(shop.price("/owned/x").await, "5 sat");

    let listed = shop.says(&["services", "list"]);
    assert!(listed.contains("services.toml") && listed.contains("tollhouse.toml"), "{listed}");
    let said = shop.refuses(&["services", "remove", "owned", "--yes"]);
    assert!(said.contains("belongs to the file") && said.contains("services.toml"), "{said}");
    let mine = shop.file("mine.toml", &block("owned", "1 sat"));
    assert!(shop.refuses(&["services", "apply", &mine]).contains("services.toml"));

    write(&block("owned", "6 sat"));
    shop.hang_up("the service owned was changed").await;
    assert_eq!(shop.price("/owned/x").await, "6 sat");
    write(&format!("# one line more\n{}", block("owned", "0 sat")));
    shop.hang_up("services.toml:5: service.owned.price: a price of zero").await;
    assert_eq!(shop.price("/owned/x").await, "6 sat", "a broken file keeps what is in force");
    write(&block("fresh", "7 sat"));
    shop.hang_up("the service owned was removed").await;
    assert_eq!((shop.price("/owned/x").await, shop.price("/fresh").await), (Value::Null, json!("7 sat")));
    shop.appliance.stop().await;
}

#[tokio::test]
async fn the_commands_show_a_difference_before_they_make_it() {
    let _turn = TURN.lock().await;
    let mut shop = Shop::start("").await;
    let list = shop.says(&["services", "list"]);
    assert!(list.contains("nothing is sold"), "{list}");
    let file = shop
        .file("s.toml", &format!("{}upstream_headers = {{ X-Key = \"hunter2\" }}\n", block("a", "5 sat")));
    let dry = shop.says(&["services", "apply", &file, "--dry-run"]);
    assert!(dry.contains("+ a") && dry.contains("dry run: nothing was changed"), "{dry}");
    assert_eq!(shop.price("/a").await, Value::Null);
    shop.says(&["services", "apply", &file]);
    assert_eq!(shop.price("/a").await, "5 sat");

    let exported = shop.says(&["services", "export"]);
    assert!(exported.contains("name = \"a\"") && !exported.contains("hunter2"), "{exported}");
    let back = shop.file("back.toml", &exported);
    assert!(shop.says(&["services", "apply", &back]).contains("no difference"));
    let dearer = shop.file("back.toml", &exported.replace("5 sat", "0.002 USD"));
    let said = shop.says(&["services", "apply", &dearer]);
    assert!(said.contains("~ a\n    price: \"5 sat\" -> \"0.002 USD\"\napplied"), "{said}");

    // Nobody is there to be asked: what takes something from customers is not done unsaid.
    let off = shop.file("off.toml", &exported.replace("5 sat", "free"));
    let dry = shop.says(&["services", "apply", &off, "--dry-run"]);
    assert!(dry.contains("! a costs nothing any more") && dry.contains("dry run"), "{dry}");
    let said = shop.refuses(&["services", "apply", &off]);
    assert!(said.contains("! a costs nothing any more") && said.contains("say --yes to do it"), "{said}");
    assert_eq!(shop.price("/a").await, "0.002 USD");
    assert!(shop.says(&["services", "apply", &off, "--yes"]).contains("applied"));
    shop.says(&["services", "apply", &dearer]);
    let wrong = shop.file("wrong.toml", &format!("\n\n{}mode = \"of\"\n", block("a", "5 sat")));
    let said = shop.refuses(&["services", "apply", &wrong]);
    assert!(said.contains("wrong.toml:8: service.a.mode: \"of\" is not a mode"), "{said}");
    let said = shop.refuses(&[
        "services",
        "apply",
        &shop.file("w.toml", &format!("{}pirce = 1\n", block("a", "5 sat"))),
    ]);
    assert!(said.contains("w.toml:6: service.a.pirce") && said.contains("Did you mean `price`?"), "{said}");

    let shown = shop.says(&["services", "show", "a", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("one JSON object");
    assert_eq!(shown["spec"]["price"], "0.002 USD");
    let price = shop.says(&["price", "GET", "http://h/a/b"]);
    assert!(
        price.contains("service a, route default") && price.contains("it is the most specific"),
        "{price}"
    );
    shop.says(&["services", "remove", "a", "--yes"]);
    assert!(shop.refuses(&["services", "show", "a"]).contains("no service called `a`"));

    // What was changed by hand is there after a restart.
    shop.says(&["services", "apply", &file]);
    shop.appliance.stop().await;
    shop.appliance.start_again();
    shop.appliance.process().says("(1 service)").await;
    assert_eq!(shop.price("/a").await, "5 sat");
    shop.appliance.stop().await;
}
