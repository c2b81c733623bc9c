//! The operator's password after the first day: changed by who says it, found again by who owns the disk, and asked
//! for anew in a browser that was left alone (THREATS 16).

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode};
use serde_json::json;
use tollhouse::web;
use tollhouse::web::keys::Scope;
use tollhouse::web::session::IDLE_LIFE;

use crate::admin_app::{AdminApp, PASSWORD, cookie, problem};

const OTHER: &str = "another password than before";

/// Whether the session still opens pages.
async fn opens(app: &AdminApp, session: &str) -> bool {
    let home = app.get("/").header("cookie", session).send().await.expect("an answer");
    home.status() == StatusCode::OK
}

async fn change(app: &AdminApp, session: &str, current: &str, new: &str) -> Response {
    let body = json!({ "current": current, "new": new });
    app.post("/api/v1/password").header("cookie", session).json(&body).send().await.expect("an answer")
}

#[tokio::test]
async fn who_says_the_password_sets_another_and_everybody_else_is_out() {
    let app = AdminApp::start().await;
    let own = app.claimed().await;
    let other = cookie(app.login(PASSWORD).await.headers());
    let refused = async |current: &str, new: &str| problem(change(&app, &own, current, new).await).await;
    let unfit = (StatusCode::UNPROCESSABLE_ENTITY, "unfit_password".to_owned());
    assert_eq!(refused(PASSWORD, "short").await, unfit);
    assert_eq!(refused(PASSWORD, PASSWORD).await, unfit, "the same");
    for _ in 0..4 {
        assert_eq!(
            refused("not this one", OTHER).await,
            (StatusCode::FORBIDDEN, "wrong_password".to_owned())
        );
    }
    let held = (StatusCode::TOO_MANY_REQUESTS, "too_many_tries".to_owned());
    assert_eq!(refused(PASSWORD, OTHER).await, held, "guesses cost time");
    assert!(opens(&app, &other).await && app.login(OTHER).await.status() == StatusCode::FORBIDDEN);
    app.clock.advance(Duration::from_secs(2));

    assert_eq!(change(&app, &own, PASSWORD, OTHER).await.status(), StatusCode::NO_CONTENT);
    assert!(opens(&app, &own).await && !opens(&app, &other).await);
    assert_eq!(app.login(PASSWORD).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.login(OTHER).await.status(), StatusCode::SEE_OTHER);

    // On the page the password is asked for, however lately it was said; a stranger's page cannot send it.
    let form = [("password", ""), ("new", PASSWORD), ("again", PASSWORD)];
    let page = async |form: &[(&str, &str)], origin: &str| {
        let post = app.client.post(format!("{}/system/password", app.origin)).header("origin", origin);
        post.header("cookie", &own).form(form).send().await.expect("an answer")
    };
    assert_eq!(page(&form, &app.origin).await.status(), StatusCode::FORBIDDEN);
    let form = [("password", OTHER), ("new", PASSWORD), ("again", "another one again")];
    assert_eq!(page(&form, &app.origin).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let form = [("password", OTHER), ("new", PASSWORD), ("again", PASSWORD)];
    assert_eq!(page(&form, "http://evil.example").await.status(), StatusCode::FORBIDDEN);
    let set = page(&form, &app.origin).await;
    assert_eq!(set.headers()[LOCATION], "/system?said=password");

    // A program's key is no proof of it either, and ends nobody's session but by it.
    let key = app.key(&[Scope::Admin]).await;
    let guessed =
        app.change("/api/v1/password", &key, json!({ "current": OTHER, "new": "whatever it is" })).await;
    assert_eq!(problem(guessed).await, (StatusCode::FORBIDDEN, "wrong_password".to_owned()));
    assert!(opens(&app, &own).await);
    let set = app.change("/api/v1/password", &key, json!({ "current": PASSWORD, "new": OTHER })).await;
    assert_eq!(set.status(), StatusCode::NO_CONTENT);
    assert!(!opens(&app, &own).await);
    let told = app.read("/api/v1/activity?about=system", &key).await.text().await.expect("text");
    assert_eq!(told.matches("password_changed").count(), 3, "{told}");
    assert!(!told.contains(OTHER));
}

#[tokio::test]
async fn a_lost_password_is_forgotten_by_who_owns_the_disk_and_the_next_start_gives_a_link() {
    let app = AdminApp::start().await;
    app.claimed().await;
    let file = web::claim::forget_at_start(app.dir.path()).expect("written");
    assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(app.login(PASSWORD).await.status(), StatusCode::SEE_OTHER, "until the next start");

    let token = app.claim_token().await;
    assert!(!file.exists(), "it counts once");
    assert_eq!(app.login(PASSWORD).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.claim(&token, OTHER, OTHER).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(app.login(OTHER).await.status(), StatusCode::SEE_OTHER);
    assert!(web::claim::ensure(&app.op, app.dir.path()).await.expect("read").is_none());
}

#[tokio::test]
async fn a_browser_that_stands_open_is_logged_out_as_one_that_was_left() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    // What the page's own script asks for, as a browser marks it.
    let live = async || {
        let asked = app.get("/live").header("cookie", &session).header("sec-fetch-dest", "empty");
        asked.send().await.expect("an answer").status()
    };
    for _ in 0..11 {
        app.clock.advance(Duration::from_secs(3_600));
        assert_eq!(live().await, StatusCode::OK);
    }
    assert!(opens(&app, &session).await, "a person came back");
    app.clock.advance(IDLE_LIFE - Duration::from_secs(1));
    assert_eq!(live().await, StatusCode::OK);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(live().await, StatusCode::SEE_OTHER, "nobody did");
    assert!(!opens(&app, &session).await);
}
