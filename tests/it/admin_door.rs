//! The admin page's door, as its operator and its attackers see it (THREATS 16, 17, 22).

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE};
use tollhouse::web;

use crate::admin_app::{AdminApp, PASSWORD, cookie};

async fn code(response: reqwest::Response) -> (StatusCode, String) {
    let status = response.status();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    let body: serde_json::Value = response.json().await.expect("a problem");
    (status, body["code"].as_str().expect("a code").to_owned())
}

#[tokio::test]
async fn the_claim_link_sets_the_password_once() {
    let app = AdminApp::start().await;
    let login = app.get("/login").send().await.expect("an answer").text().await.expect("a page");
    assert!(login.contains("Not claimed yet") && !login.contains("<form"));

    let token = app.claim_token().await;
    let file = app.claim_file();
    let mode = file.metadata().expect("the claim file exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let link = std::fs::read_to_string(&file).expect("readable by its owner");
    assert_eq!(link, format!("{}/claim?token={token}\n", app.origin));

    let looked = app.get(&format!("/claim?token={token}")).send().await.expect("an answer");
    assert_eq!(looked.status(), StatusCode::OK, "looking does not use the link up");
    assert_eq!(app.claim("wrong", PASSWORD, PASSWORD).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.claim(&token, "short", "short").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.claim(&token, PASSWORD, "different!!!").await.status(), StatusCode::UNPROCESSABLE_ENTITY);

    let (one, two) = tokio::join!(
        app.claim(&token, PASSWORD, PASSWORD),
        app.claim(&token, "another password", "another password")
    );
    let mut statuses = [one.status(), two.status()];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::SEE_OTHER, StatusCode::FORBIDDEN], "one of two takes it");
    let winner = if one.status() == StatusCode::SEE_OTHER { PASSWORD } else { "another password" };

    assert!(!file.exists(), "the used link is gone from the disk");
    assert_eq!(app.claim(&token, PASSWORD, PASSWORD).await.status(), StatusCode::FORBIDDEN);
    let again = app.get(&format!("/claim?token={token}")).send().await.expect("an answer");
    assert_eq!(again.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.login(winner).await.status(), StatusCode::SEE_OTHER);
    let next_start = web::claim::ensure(&app.op, app.dir.path()).await.expect("read");
    assert!(next_start.is_none() && !file.exists(), "a claimed appliance offers no link");
}

#[tokio::test]
async fn a_new_start_of_an_unclaimed_appliance_makes_the_old_link_worthless() {
    let app = AdminApp::start().await;
    let (old, new) = (app.claim_token().await, app.claim_token().await);
    assert_eq!(app.claim(&old, PASSWORD, PASSWORD).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.claim(&new, PASSWORD, PASSWORD).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_opens_with_a_new_id_and_ends_at_logout() {
    let app = AdminApp::start().await;
    let first = app.claimed().await;
    let home = |cookie: &str| app.get("/").header("cookie", cookie).send();
    assert_eq!(home(&first).await.expect("an answer").status(), StatusCode::OK);

    let login = app.post("/login").header("cookie", &first).form(&[("password", PASSWORD)]);
    let login = login.send().await.expect("an answer");
    assert_eq!(login.headers()[LOCATION], "/");
    let line = login.headers()[SET_COOKIE].to_str().expect("readable").to_owned();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let second = cookie(login.headers());
    assert_ne!(first, second);
    let old = home(&first).await.expect("an answer");
    assert_eq!(
        (old.status(), &old.headers()[LOCATION]),
        (StatusCode::SEE_OTHER, &"/login".parse().expect("a value"))
    );

    let planted = format!("{}={}", second.split('=').next().expect("a name"), "A".repeat(43));
    assert_eq!(home(&planted).await.expect("an answer").status(), StatusCode::SEE_OTHER);

    let out = app.post("/logout").header("cookie", &second).send().await.expect("an answer");
    assert!(out.headers()[SET_COOKIE].to_str().expect("readable").contains("Max-Age=0"));
    assert_eq!(home(&second).await.expect("an answer").status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn wrong_passwords_make_the_next_try_wait() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    for _ in 0..4 {
        assert_eq!(app.login("not the password").await.status(), StatusCode::FORBIDDEN);
    }
    let held = app.login(PASSWORD).await;
    assert_eq!(held.status(), StatusCode::TOO_MANY_REQUESTS, "even the right one");
    assert_eq!(held.headers()[RETRY_AFTER], "1");
    assert!(held.headers().get(SET_COOKIE).is_none());
    let home = app.get("/").header("cookie", session).send().await.expect("an answer");
    assert_eq!(home.status(), StatusCode::OK, "an open session is not held up");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.login(PASSWORD).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn strangers_who_guess_do_not_keep_the_operator_from_acting() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    app.clock.advance(web::session::STEP_UP);
    for _ in 0..4 {
        assert_eq!(app.login("not the password").await.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(app.login(PASSWORD).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let give = async |password: &str, key: &str| {
        let form = [("label", "till"), ("read", "on"), ("lasts", "30"), ("key", key), ("password", password)];
        let asked = app.post("/integrations/keys").header("cookie", &session).form(&form);
        asked.send().await.expect("an answer").status()
    };
    assert_eq!(give(PASSWORD, "one").await, StatusCode::OK);
    let made = app.read("/api/v1/keys", &app.key(&[web::keys::Scope::Admin]).await).await;
    assert!(made.text().await.expect("a list").contains("till"), "it was done, not asked again");
    // A thief at an unattended browser has the same few guesses.
    app.clock.advance(web::session::STEP_UP);
    for _ in 0..4 {
        assert_eq!(give("not the password", "two").await, StatusCode::FORBIDDEN);
    }
    assert_eq!(give(PASSWORD, "two").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(app.login(PASSWORD).await.status(), StatusCode::SEE_OTHER, "the login has a count of its own");
}

#[tokio::test]
async fn what_a_program_sends_is_not_judged_by_a_cookie() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    for (name, value) in [("authorization", "Bearer th_x"), ("macaroon", "00")] {
        let form = [("label", "till"), ("admin", "on"), ("lasts", "30"), ("key", "one")];
        let asked = app.post("/integrations/keys").header("cookie", &session).header(name, value).form(&form);
        let answer = asked.send().await.expect("an answer");
        assert_eq!(
            (answer.status(), &answer.headers()[LOCATION]),
            (StatusCode::SEE_OTHER, &"/login?to=%2Fintegrations%2Fkeys&undone=yes".parse().expect("a value"))
        );
    }
}

/// Where an answer leads.
fn leads(answer: &reqwest::Response) -> &str {
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()[LOCATION].to_str().expect("readable")
}

#[tokio::test]
async fn after_the_password_one_is_on_the_page_that_was_asked_for() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let gets = async |path: &str, cookie: &str| {
        let asked = app.get(path).header("cookie", cookie).header("accept", "text/html");
        asked.send().await.expect("an answer")
    };
    let page = "/tokens?state=live&search=a%20b";
    let login = "/login?to=%2Ftokens%3Fstate%3Dlive%26search%3Da%2520b";
    assert_eq!(leads(&gets(page, "").await), login);
    // A session that was not used for too long is none.
    app.clock.advance(web::session::IDLE_LIFE + Duration::from_secs(1));
    assert_eq!(leads(&gets(page, &session).await), login);
    let asked = gets(login, "").await.text().await.expect("a page");
    assert!(asked.contains("name=\"to\" value=\"/tokens?state=live&#38;search=a%20b\""), "{asked}");
    assert!(!asked.contains("nothing was done"), "{asked}");

    // A wrong password keeps where one wants to go.
    let says = async |password: &str, to: &str| {
        let form = [("password", password), ("to", to)];
        app.post("/login").form(&form).send().await.expect("an answer")
    };
    let wrong = says("not the password", page).await;
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
    assert!(wrong.text().await.expect("a page").contains("value=\"/tokens?state=live"));
    let right = says(PASSWORD, page).await;
    assert_eq!(leads(&right), page);
    assert_eq!(gets(page, &cookie(right.headers())).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_login_leads_to_no_strangers_page() {
    let app = AdminApp::start().await;
    app.claimed().await;
    for stranger in [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "%2f%2fevil.example",
        "/%2fevil.example",
        "/%5cevil.example",
        "/\t/evil.example",
        "/\r\nset-cookie: a=b",
        "/..//evil.example",
        "javascript:alert(1)",
        "/logout",
        "/api/v1/status",
    ] {
        let form = [("password", PASSWORD), ("to", stranger)];
        let answer = app.post("/login").form(&form).send().await.expect("an answer");
        assert_eq!(leads(&answer), "/", "{stranger:?}");
        let query = [("to", stranger)];
        let page = app.get("/login").query(&query).send().await.expect("an answer");
        let page = page.text().await.expect("a page");
        assert!(page.contains("name=\"password\"") && !page.contains("name=\"to\""), "{stranger:?}: {page}");
    }
}

#[tokio::test]
async fn a_form_that_came_without_a_session_did_nothing_and_leads_to_its_page() {
    let app = AdminApp::start().await;
    let key = {
        app.claimed().await;
        app.key(&[web::keys::Scope::Admin]).await
    };
    let form = [("label", "till"), ("read", "on"), ("lasts", "30"), ("key", "one")];
    let sent = app.post("/integrations/keys").form(&form).send().await.expect("an answer");
    let login = leads(&sent).to_owned();
    assert_eq!(login, "/login?to=%2Fintegrations%2Fkeys&undone=yes");
    let asked = app.get(&login).send().await.expect("an answer").text().await.expect("a page");
    assert!(asked.contains("nothing was done"), "{asked}");
    let form = [("password", PASSWORD), ("to", "/integrations/keys")];
    let answer = app.post("/login").form(&form).send().await.expect("an answer");
    assert_eq!(leads(&answer), "/integrations/keys");
    // That address takes a form alone: its page is shown.
    let landed = app.get("/integrations/keys").header("accept", "text/html");
    let landed = landed.header("cookie", cookie(answer.headers())).send().await.expect("an answer");
    assert_eq!(leads(&landed), "/integrations");
    let keys = app.read("/api/v1/keys", &key).await.text().await.expect("a list");
    assert!(!keys.contains("till"), "{keys}");
}

#[tokio::test]
async fn a_flood_of_logins_hashes_one_at_a_time() {
    let app = AdminApp::start().await;
    app.claimed().await;
    let tries = (0..12).map(|_| app.login(PASSWORD));
    let statuses: Vec<StatusCode> =
        futures_util::future::join_all(tries).await.iter().map(|r| r.status()).collect();
    assert!(statuses.contains(&StatusCode::SEE_OTHER));
    let expected = [StatusCode::SEE_OTHER, StatusCode::TOO_MANY_REQUESTS];
    assert!(statuses.iter().all(|status| expected.contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn a_foreign_page_changes_nothing() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let url = format!("{}/logout", app.origin);
    let foreign: [&[(&str, &str)]; 7] = [
        &[],
        // What a browser adds by itself behind a proxy that asks for a name and a password.
        &[("authorization", "Basic b3A6c2VjcmV0"), ("origin", "http://evil.example")],
        &[("authorization", "Negotiate YII="), ("sec-fetch-site", "same-site")],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")],
        &[("sec-fetch-site", "same-site")],
    ];
    for headers in foreign {
        let mut request = app.client.post(&url).header("cookie", &session);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(code(answer).await, (StatusCode::FORBIDDEN, "cross_site".to_owned()), "{headers:?}");
    }
    let address =
        app.client.post(format!("{}/api/v1/onchain/address", app.origin)).header("cookie", &session);
    let address = address.header("origin", "http://evil.example").send().await.expect("an answer");
    assert_eq!(code(address).await.1, "cross_site");
    let home = app.get("/").header("cookie", &session).send().await.expect("an answer");
    assert_eq!(home.status(), StatusCode::OK, "the session is still open");
}

#[tokio::test]
async fn a_rebound_name_is_not_answered() {
    let app = AdminApp::start().await;
    for host in ["evil.example", "evil.example:8403", "127.0.0.1.evil.example", "169.254.169.254"] {
        let answer = app.get("/login").header("host", host).send().await.expect("an answer");
        assert_eq!(
            code(answer).await,
            (StatusCode::MISDIRECTED_REQUEST, "unknown_host".to_owned()),
            "{host}"
        );
    }
    for host in ["localhost:8403", "127.0.0.1", "[::1]:1", "tollhouse.example", "TOLLHOUSE.example."] {
        let answer = app.get("/login").header("host", host).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn every_answer_is_armoured_and_every_nonce_is_new() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let mut nonces = std::collections::BTreeSet::new();
    for path in ["/", "/login", "/nothing", "/api/v1/status", "/static/live.js"] {
        let answer = app.get(path).header("cookie", &session).send().await.expect("an answer");
        let headers = answer.headers().clone();
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("readable").to_owned();
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
        assert!(nonces.insert(nonce.to_owned()), "a nonce came twice");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "same-origin", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        let caching = if path.starts_with("/static") { "no-cache" } else { "no-store" };
        assert_eq!(headers["cache-control"], caching, "{path}");
        if path == "/" {
            let page = answer.text().await.expect("a page");
            let scripts = page.matches("<script").count();
            assert!(scripts > 0 && page.matches(&format!("nonce=\"{nonce}\"")).count() == scripts, "{page}");
            assert!(!page.contains(" style=") && !page.contains(" onclick="));
        }
    }
}

#[tokio::test]
async fn a_static_file_is_not_sent_twice() {
    let app = AdminApp::start().await;
    let first = app.get("/static/tollhouse.css").send().await.expect("an answer");
    assert_eq!(first.headers()[CONTENT_TYPE], "text/css");
    let tag = first.headers()["etag"].clone();
    let second =
        app.get("/static/tollhouse.css").header("if-none-match", &tag).send().await.expect("an answer");
    assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
    let outside = app.get("/static/..%2fCargo.toml").send().await.expect("an answer");
    assert_eq!(outside.status(), StatusCode::NOT_FOUND);
}
