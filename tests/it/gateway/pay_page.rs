//! The 402 as a person's browser gets it: the page, what guards it, and what is the same for programs.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tollhouse::catalog::{About, Service};

use super::client::Reply;
use super::upstream::Origin;
use super::{TestGate, head, quick, service};

/// What Chromium sends with a navigation.
pub(super) const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,\
                                  image/webp,*/*;q=0.8\r\n";

const SAME: [&str; 5] =
    ["cache-control", "access-control-allow-origin", "access-control-expose-headers", "vary", "date"];

/// The scheme's parameters, with what differs from invoice to invoice left out.
fn challenge(reply: &Reply) -> Vec<String> {
    let line = reply.header("www-authenticate").expect("a challenge");
    line.split(", ").map(|part| part.split('=').next().unwrap_or_default().to_owned()).collect()
}

/// What stands between the only tags of that name.
fn inside<'a>(page: &'a str, tag: &str) -> &'a str {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    assert_eq!((page.matches(&open).count(), page.matches(&close).count()), (1, 1), "{tag}");
    page.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).expect("both are there").0
}

#[tokio::test]
async fn a_browser_gets_a_page_with_the_same_challenge() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let program = gate.get("/ok", "Accept: application/json\r\n").await;
    let page = gate.get("/ok", BROWSER).await;
    assert_eq!((program.status, page.status), (402, 402));
    assert_eq!(challenge(&program), challenge(&page));
    assert_eq!(challenge(&page), ["L402 macaroon", "invoice", "version", "token"]);
    for name in SAME {
        assert_eq!(program.all(name).count(), page.all(name).count(), "{name}");
        assert!(name == "date" || program.header(name) == page.header(name), "{name}");
    }
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(program.header("content-type"), Some("application/problem+json"));

    let text = page.text();
    let (challenge, html) = (page.header("www-authenticate").expect("one").to_owned(), &text);
    for part in challenge.split('"').filter(|part| part.len() > 40) {
        assert!(html.contains(&part.replace('+', "&#43;")) || html.contains(part), "{part}");
    }
    assert!(html.contains("10 <span class=\"unit\">sat</span>") && html.contains("One request"), "{html}");
    assert!(html.contains("GET /ok"));
    assert_eq!(origin.hits(), 0);

    // A browser that came with a spent token reads why, and HEAD and POST are asked for the same.
    let paid = gate.buy("/ok").await;
    assert_eq!(gate.get("/ok", &paid.line()).await.status, 200);
    let spent = gate.get("/ok", &format!("{BROWSER}{}", paid.line())).await;
    assert_eq!(spent.status, 402);
    assert!(spent.text().contains("class=\"refusal\""), "{}", spent.text());
    let asked = gate.ask(&head("HEAD", "/ok", BROWSER)).await;
    assert_eq!((asked.status, asked.body.len(), asked.complete), (402, 0, true));
    let names = |reply: &Reply| reply.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&asked), names(&page));
    let posted = gate.ask(&head("POST", "/ok", &format!("{BROWSER}Content-Length: 0\r\n"))).await;
    assert_eq!((posted.status, posted.header("content-type")), (402, Some("text/html; charset=utf-8")));
    assert!(posted.text().contains("data-again=\"false\""), "a form's body is not known to the page");
}

#[tokio::test]
async fn nothing_runs_in_the_page_but_its_own_script() {
    let origin = Origin::start().await;
    let hostile = "</style><script>alert(1)</script>\"'<img src=x onerror=alert(1)>";
    let about =
        About { title: Some(hostile.to_owned()), description: Some(hostile.to_owned()), openapi: None };
    let named = Service { about, ..service(&origin) };
    let gate = TestGate::with(vec![named], quick()).await;
    let page = gate.get("/ok'onclick='alert(1)?q=%3Cscript%3E", BROWSER).await;
    let text = page.text();
    assert_eq!(page.status, 402, "{text}");
    let policy = page.header("content-security-policy").expect("a policy");
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let digest = ring::digest::digest(&ring::digest::SHA256, inside(&text, tag).as_bytes());
        let source = format!("{directive} 'sha256-{}';", BASE64_STANDARD.encode(digest));
        assert!(policy.contains(&source), "{source} in {policy}");
    }
    assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(text.matches("<script").count(), 1);
    assert!(!text.contains("<img") && !text.contains("'onclick"), "{text}");
    // Nothing of another host, and nothing in the page that its policy would stop.
    assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("src=\""), "{text}");
    for attribute in [" style=", " onclick=", " onload=", " onsubmit="] {
        assert!(!text.replace(inside(&text, "script"), "").contains(attribute), "{attribute}");
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
}

#[tokio::test]
async fn a_page_costs_as_little_to_keep_as_any_402() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let before = gate.rows().await;
    let mut longest = 0;
    for _ in 0..50 {
        let page = gate.get("/ok", BROWSER).await;
        assert_eq!(page.status, 402);
        longest = longest.max(page.body.len());
    }
    assert_eq!(gate.rows().await, before, "a page writes nothing");
    assert!(longest < 64 * 1024, "{longest} bytes");
}

#[tokio::test]
async fn a_preflight_and_an_answer_tell_other_sites_all_that_they_need() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let ask = "Origin: https://shop.example\r\nAccess-Control-Request-Method: GET\r\n\
               Access-Control-Request-Headers: authorization,prefer,idempotency-key\r\n";
    let preflight = gate.ask(&head("OPTIONS", "/ok", ask)).await;
    assert_eq!((preflight.status, gate.minter.minted(), origin.hits()), (204, 0, 0));
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("authorization,prefer,idempotency-key")
    );
    assert!(
        preflight.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PATCH"))
    );
    let paid = gate.buy("/ok").await;
    let there = "Origin: https://shop.example\r\n";
    let unpaid = gate.get("/ok", there).await;
    let answer = gate.get("/ok", &format!("{there}{}", paid.line())).await;
    for (reply, status) in [(unpaid, 402), (answer, 200)] {
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (status, Some("*")));
        let told = reply.header("access-control-expose-headers").expect("a list").to_ascii_lowercase();
        for name in [
            "www-authenticate",
            "payment-receipt",
            "retry-after",
            "x-tollhouse-left",
            "x-tollhouse-payment-hash",
        ] {
            assert!(told.split(", ").any(|one| one == name), "{name} in {told}");
        }
    }
}
