//! The password again (THREATS 16): what moves coins, hands out a secret or turns earning away is not done for a
//! session that said the password more than five minutes ago, on a page or through the API. Each address that
//! changes something stands in one of two lists here, so that a new one cannot be forgotten.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bitcoin::Network;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, PASSWORD, ok, usable_channel};

/// Calls of the API that ask for it.
const ASKING: &[&str] = &[
    // They move coins, end channels, or say what became of a move.
    "POST /api/v1/onchain/send",
    "POST /api/v1/operations/{id}/settle",
    "POST /api/v1/channels",
    "DELETE /api/v1/channels/{channel_id}",
    "POST /api/v1/channels/{channel_id}/splice-in",
    "POST /api/v1/channels/{channel_id}/splice-out",
    "POST /api/v1/payments/send",
    "POST /api/v1/payouts",
    "POST /api/v1/payouts/release",
    "POST /api/v1/inbound/orders/{id}/pay",
    "POST /api/v1/inbound/orders/{id}/close",
    "PUT /api/v1/rules/{name}",
    "DELETE /api/v1/rules/{name}",
    "PUT /api/v1/vault",
    "DELETE /api/v1/vault",
    // They hand out a secret, or change what one opens.
    "POST /api/v1/keys",
    "DELETE /api/v1/keys/{id}",
    "POST /api/v1/seed/words",
    "POST /api/v1/seed/passphrase",
    "GET /api/v1/backups/{file}",
    "GET /api/v1/snapshot",
    // They turn earning away: other prices, another upstream (which gets the headers that are secret), requests
    // for nothing, tokens that open nothing any more, somebody else who hears of everything.
    "PUT /api/v1/services/{name}",
    "DELETE /api/v1/services/{name}",
    "POST /api/v1/services/apply",
    "POST /api/v1/tokens/grant",
    "DELETE /api/v1/tokens/{payment_hash}",
    "POST /api/v1/tokens/honour",
    "POST /api/v1/epochs",
    "DELETE /api/v1/epochs/{epoch}",
    "POST /api/v1/webhooks",
    "DELETE /api/v1/webhooks/{id}",
    "POST /api/v1/webhooks/{id}/enable",
    "POST /api/v1/webhooks/{id}/disable",
];

/// Calls that change something and do not ask: nothing leaves by them, and what they change can be changed back.
const TRUSTING: &[&str] = &[
    "PUT /api/v1/checklist",
    // Of a locked appliance, or one without a seed: here nothing is done.
    "POST /api/v1/unlock",
    "POST /api/v1/seed/new",
    "POST /api/v1/seed/restore",
    // It takes the password itself.
    "POST /api/v1/password",
    "POST /api/v1/price",
    "POST /api/v1/rates/refresh",
    "POST /api/v1/chain/test",
    // Paid by the sandbox's customer, and by nobody elsewhere.
    "POST /api/v1/trials",
    // The demo's customer asks for a payment; nothing is paid.
    "POST /api/v1/trials/invoice",
    // For keys alone.
    "POST /api/v1/integration/challenges",
    "POST /api/v1/integration/verify",
    "POST /api/v1/integration/holds/{id}/settle",
    "POST /api/v1/integration/holds/{id}/release",
    // Addresses of our own.
    "POST /api/v1/onchain/address",
    "POST /api/v1/vault/address",
    "POST /api/v1/vault/look",
    "PUT /api/v1/channels/{channel_id}/fees",
    "POST /api/v1/peers",
    "DELETE /api/v1/peers/{peer}",
    // A price; paying it asks.
    "POST /api/v1/inbound/orders",
    "POST /api/v1/seed/questions",
    "POST /api/v1/seed/verify",
    // They stay on this machine.
    "POST /api/v1/backups",
    "POST /api/v1/backups/{file}/verify",
    // To endpoints that somebody who said the password added.
    "POST /api/v1/webhooks/{id}/test",
    "POST /api/v1/deliveries/{id}/redeliver",
];

/// Forms of pages that ask, each at an address that is there and with what makes it sensible.
const FORMS: &[(&str, &str, &str)] = &[
    ("/coins/send", "/coins/send", "to=bcrt1qaway&amount=20000&fee=normal"),
    ("/coins/vault/set", "/coins/vault/set", "keys=VAULT&form=bip84&birthday=1"),
    ("/coins/vault/remove", "/coins/vault/remove", ""),
    ("/operations/{id}/settle", "/operations/1/settle", "outcome=failed"),
    ("/lightning/open", "/lightning/open", "node=PEER%40127.0.0.1:9735&amount_sat=50000"),
    (
        "/lightning/inbound/orders/{id}/pay",
        "/lightning/inbound/orders/1/pay",
        "way=onchain&max_total_sat=9999",
    ),
    ("/lightning/inbound/orders/{id}/close", "/lightning/inbound/orders/1/close", ""),
    ("/lightning/payouts", "/lightning/payouts", "to=lno1any&amount_sat=500"),
    (
        "/lightning/rules/{name}",
        "/lightning/rules/splice_out",
        "to=vault&above_sat=900000&keep_sat=100000&per_day_sat=500000",
    ),
    ("/lightning/rules/{name}/off", "/lightning/rules/splice_out/off", ""),
    ("/lightning/channels/{id}/splice-in", "/lightning/channels/CHANNEL/splice-in", "in_sat=20000"),
    (
        "/lightning/channels/{id}/splice-out",
        "/lightning/channels/CHANNEL/splice-out",
        "out_sat=20000&address=bcrt1qaway",
    ),
    ("/lightning/channels/{id}/close", "/lightning/channels/CHANNEL/close", ""),
    ("/lightning/channels/{id}/force-close", "/lightning/channels/CHANNEL/force-close", "sure=yes"),
    ("/start/seed/words", "/start/seed/words", ""),
    ("/start/seed/passphrase", "/start/seed/passphrase", "new=a-long-passphrase&again=a-long-passphrase"),
    ("/start/service", "/start/service", "name=new&upstream=http://127.0.0.1:9&price=1+sat"),
    ("/services/new", "/services/new", "name=new&upstream=http://127.0.0.1:9&price=1+sat"),
    ("/services/new/text", "/services/new/text", "toml=nonsense"),
    ("/services/{name}/edit", "/services/api/edit", "price=1+sat"),
    ("/services/{name}/text", "/services/api/text", "toml=nonsense"),
    ("/services/{name}/mode", "/services/api/mode", "mode=on"),
    ("/services/{name}/mode", "/services/api/mode", "mode=shadow"),
    ("/services/{name}/delete", "/services/api/delete", ""),
    ("/services/{name}/routes/new", "/services/api/routes/new", "path=/api/new"),
    ("/services/{name}/routes/{at}", "/services/api/routes/0", "path=/api/new"),
    ("/services/{name}/routes/{at}/delete", "/services/api/routes/0/delete", "seen=SEEN"),
    ("/tokens/grant", "/tokens/grant", "service=api&budget=100+sat&expires=1+day&label=friend"),
    ("/tokens/doubtful", "/tokens/doubtful", ""),
    ("/payments/{payment_hash}/revoke", "/payments/HASH/revoke", ""),
    ("/integrations/keys", "/integrations/keys", "label=mine&admin=on"),
    ("/integrations/keys/{id}/revoke", "/integrations/keys/1/revoke", ""),
    (
        "/integrations/webhooks",
        "/integrations/webhooks",
        "label=mine&url=http://127.0.0.1:9&allow_private=on",
    ),
    ("/integrations/webhooks/{id}/enable", "/integrations/webhooks/1/enable", ""),
    ("/integrations/webhooks/{id}/disable", "/integrations/webhooks/1/disable", ""),
    ("/integrations/webhooks/{id}/remove", "/integrations/webhooks/1/remove", ""),
    ("/backup/fetch", "/backup/fetch", "file=any"),
    ("/backup/snapshot", "/backup/snapshot", ""),
    ("/system/password", "/system/password", "new=a-password-of-mine&again=a-password-of-mine"),
    ("/backup/release", "/backup/release", ""),
];

/// Forms of pages that do not ask, as the calls of the API do not that are the same.
const PLAIN_FORMS: &[&str] = &[
    "/login",
    "/logout",
    "/claim",
    "/start/hide",
    "/start/chain",
    "/start/seed/check",
    "/start/payment",
    "/coins/receive",
    "/coins/vault/address",
    "/coins/vault/look",
    "/lightning/inbound",
    "/lightning/peers",
    "/lightning/peers/forget",
    "/lightning/channels/{id}/fees",
    "/services/{name}/try",
    "/integrations/webhooks/{id}/test",
    "/integrations/deliveries/{id}/redeliver",
    "/backup/now",
    "/backup/verify",
    // Of a locked appliance, and of one without a seed: there are no sessions.
    "/unlock",
    "/seed/new",
    "/seed/words",
    "/seed/ask",
    "/seed/check",
    "/seed/restore",
];

const HASH: PaymentHash = PaymentHash::from_bytes([9; 32]);

/// A shop with one of everything, and a session that said the password too long ago.
async fn stale() -> (AdminApp, String) {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Admin]).await;
    let channel = usable_channel(200_000, 100_000);
    app.node.channels.lock().expect("not poisoned").push(channel);
    let route = json!([{ "path": "/api/one", "price": "2 sat" }]);
    let spec = json!({ "name": "api", "path": "/api", "price": "1 sat", "upstream": "http://127.0.0.1:9", "route": route });
    let put = app.client.put(format!("{}/api/v1/services/api", app.origin)).bearer_auth(&key).json(&spec);
    ok(put.send().await.expect("an answer")).await;
    let vault = json!({ "key": vault_key(), "form": "bip84", "birthday": 1 });
    let put = app.client.put(format!("{}/api/v1/vault", app.origin)).bearer_auth(&key).json(&vault);
    assert_eq!(put.send().await.expect("an answer").status(), StatusCode::OK);
    for (path, body) in [
        (
            "/api/v1/webhooks",
            json!({ "label": "a", "url": "http://127.0.0.1:9", "allow_private": true, "topics": ["sale.attributed"] }),
        ),
        ("/api/v1/inbound/orders", json!({ "receivable_sat": 500_000 })),
    ] {
        assert_eq!(app.change(path, &key, body).await.status(), StatusCode::CREATED, "{path}");
    }
    app.ledger.begin_operation("one", "send", json!({ "amount_sat": 5 })).await.expect("noted");
    app.ledger.receive(HASH, Msat::from_sat(5).expect("small"), None).await.expect("received");
    let session = app.claimed().await;
    app.clock.advance(Duration::from_secs(301));
    (app, session)
}

fn vault_key() -> String {
    crate::vault::account(Network::Regtest).1.to_string()
}

/// What the ledger and the node say of everything that a form or a call could have done.
async fn world(app: &AdminApp) -> Vec<String> {
    let key = app.key(&[Scope::Read, Scope::Admin]).await;
    let mut seen = Vec::new();
    for path in [
        "/api/v1/services",
        "/api/v1/webhooks",
        "/api/v1/operations",
        "/api/v1/rules",
        "/api/v1/vault",
        "/api/v1/tokens",
        "/api/v1/epochs",
        "/api/v1/payouts",
        "/api/v1/seed",
        "/api/v1/inbound/orders",
    ] {
        seen.push(app.read(path, &key).await.text().await.expect("text"));
    }
    let node = &app.node;
    let locked = "not poisoned";
    seen.push(format!(
        "{:?} {:?} {:?} {:?} {:?}",
        node.sent.lock().expect(locked),
        node.sends.lock().expect(locked),
        node.offers.lock().expect(locked),
        node.opened.lock().expect(locked),
        node.closed.lock().expect(locked),
    ));
    let first: Value = ok(app.read("/api/v1/keys", &key).await).await["keys"][0].clone();
    seen.push(first.to_string());
    seen
}

#[tokio::test]
async fn an_old_session_is_asked_again_before_every_call_that_matters() {
    let (app, session) = stale().await;
    let before = world(&app).await;
    let document = ok(app.get("/api/v1/openapi.json").send().await.expect("an answer")).await;
    let mut met = BTreeSet::new();
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in verbs.as_object().expect("operations") {
            let method: Method = verb.to_ascii_uppercase().parse().expect("a method");
            let name = format!("{method} {path}");
            let asks = ASKING.contains(&name.as_str());
            if method != Method::GET {
                assert_ne!(asks, TRUSTING.contains(&name.as_str()), "{name}: in one of the lists");
            }
            // Whatever takes an Idempotency-Key, or is parked after a restore, moves coins.
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let keyed = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
            let parked = operation["responses"].to_string().contains("payouts_parked");
            let quote = method == Method::GET || name == "POST /api/v1/inbound/orders";
            assert!(asks || quote || !(keyed || parked), "{name} moves coins");
            let told = operation["responses"]["403"].to_string().contains("password_needed");
            assert_eq!(told, asks, "{name}: the description");

            let filled = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
            let url = format!("{}{}", app.origin, filled.collect::<Vec<_>>().join("/"));
            if !asks && method == Method::GET {
                continue;
            }
            met.insert(name.clone());
            let request = app.client.request(method, url).header("cookie", &session);
            let answer = request.header("origin", &app.origin).send().await.expect("an answer");
            let status = answer.status();
            let code = answer.json::<Value>().await.ok().map(|body| body["code"].clone()).unwrap_or_default();
            let asked = status == StatusCode::FORBIDDEN && code == "password_needed";
            assert_eq!(asked, asks, "{name}: {status} {code}");
        }
    }
    let listed: BTreeSet<String> = ASKING.iter().chain(TRUSTING).map(|name| (*name).to_owned()).collect();
    assert_eq!(listed.difference(&met).collect::<Vec<_>>(), Vec::<&String>::new(), "no such call");
    // An address of the vault was handed out, as it may be.
    let own = |world: Vec<String>| {
        world.into_iter().filter(|text| !text.contains("first_address")).collect::<Vec<_>>()
    };
    assert_eq!(own(before), own(world(&app).await), "nothing was done");
}

/// Every address of a page that takes a form, as the sources route it.
fn forms() -> BTreeSet<String> {
    fn read(folder: &Path, found: &mut String) {
        for entry in std::fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, found);
            } else {
                found.push_str(&std::fs::read_to_string(path).expect("a source"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut text = std::fs::read_to_string(root.join("ui.rs")).expect("a source");
    read(&root.join("ui"), &mut text);
    let routes = text.split(".route(").skip(1).map(|rest| rest.trim_start());
    let posted = routes.filter_map(|rest| {
        let path = rest.strip_prefix('"')?.split('"').next()?;
        let line = rest.split(".route(").next()?.split('\n').take(2).collect::<String>();
        line.contains("post(").then(|| path.to_owned())
    });
    posted.collect()
}

#[tokio::test]
async fn an_old_session_is_asked_again_by_every_form_that_matters() {
    let (app, session) = stale().await;
    let forms = forms();
    assert!(forms.len() > 50, "{forms:?}");
    for path in &forms {
        let asks = FORMS.iter().any(|(form, ..)| form == path);
        assert_ne!(asks, PLAIN_FORMS.contains(&path.as_str()), "{path}: in one of the lists");
    }
    for path in FORMS.iter().map(|(form, ..)| form).chain(PLAIN_FORMS) {
        assert!(forms.contains(*path), "{path}: no such form");
    }
    let stock = app.op.parts.storefront.stock();
    let own = stock.iter().find(|own| own.name.as_str() == "api").expect("it is sold");
    let seen = own.changed_at.millis().to_string();
    let before = world(&app).await;
    for (_, path, form) in FORMS {
        let filled = |text: &str| {
            text.replace("HASH", &HASH.to_hex())
                .replace("CHANNEL", &"11".repeat(32))
                .replace("VAULT", &vault_key())
                .replace("PEER", &"03".repeat(33))
                .replace("SEEN", &seen)
        };
        for said in ["", "&password=not+this+one+either"] {
            // As the answer to the question that such a form asks.
            let body = format!("{}&key=00{said}", filled(form));
            let post = app.post(&filled(path)).header("cookie", &session).body(body);
            let post = post.header("content-type", "application/x-www-form-urlencoded");
            let answer = post.send().await.expect("an answer");
            let status = answer.status();
            let page = answer.text().await.expect("text");
            let asked = [StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
            assert!(asked.contains(&status), "{path} {said}: {status} {page}");
            assert!(page.contains("name=\"password\""), "{path}: {page}");
            assert!(!page.contains("not this one either"), "{path}");
        }
    }
    assert_eq!(before, world(&app).await, "nothing was done");

    // With the password what was filled in is taken, and for a while it is not asked for again.
    app.clock.advance(Duration::from_secs(3_600));
    let send = |path: &'static str, form: String| {
        let post = app.post(path).header("cookie", &session).body(form);
        post.header("content-type", "application/x-www-form-urlencoded").send()
    };
    let said = PASSWORD.replace(' ', "+");
    let form = format!("name=other&path=/other&upstream=http://127.0.0.1:9&price=1+sat&password={said}");
    let answer = send("/start/service", form).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert!(app.op.parts.storefront.stock().iter().any(|own| own.name.as_str() == "other"));
    let answer = send("/integrations/webhooks/1/disable", String::new()).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}
