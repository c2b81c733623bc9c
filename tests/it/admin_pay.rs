//! Paying through the admin API: once for each payment hash, however often it is asked (MONEY rule 14).

use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tollhouse::store::OutgoingState;
use tollhouse::types::{Msat, Preimage};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, START, ok};

pub(crate) fn invoice(currency: Currency, preimage: Preimage, msat: u64) -> String {
    let hash = sha256::Hash::from_byte_array(*preimage.payment_hash().as_bytes());
    let key = SecretKey::from_slice(&[42; 32]).expect("a key");
    InvoiceBuilder::new(currency)
        .description("a call".to_owned())
        .payment_hash(hash)
        .payment_secret(PaymentSecret([7; 32]))
        .duration_since_epoch(Duration::from_secs(START.secs()))
        .min_final_cltv_expiry_delta(42)
        .amount_milli_satoshis(msat)
        .build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key))
        .expect("an invoice")
        .to_string()
}

impl AdminApp {
    async fn pay(&self, key: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/api/v1/payments/send", self.origin);
        let answer = self.client.post(url).bearer_auth(key).json(&body).send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    fn sent(&self) -> usize {
        self.node.sends.lock().expect("not poisoned").len()
    }
}

#[tokio::test]
async fn an_invoice_is_paid_once_however_often_it_is_asked() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Pay]).await;
    let preimage = Preimage::from_bytes([5; 32]);
    let hash = preimage.payment_hash();
    let ask = json!({ "invoice": invoice(Currency::Regtest, preimage, 15_000), "wait_ms": 0 });
    let asked = (0..8).map(|_| app.pay(&key, ask.clone()));
    for (status, body) in futures_util::future::join_all(asked).await {
        assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("pending")), "{body}");
        assert_eq!(body["payment_hash"], hash.to_hex());
        assert_eq!(body["amount_msat"], 15_000);
        assert!(body.get("preimage").is_none());
    }
    assert_eq!(app.sent(), 1, "eight asked, one was sent");

    let waiting = app.pay(&key, json!({ "invoice": ask["invoice"], "wait_ms": 20_000 }));
    let fee = Msat::new(1_500).expect("in range");
    let arrived = app.ledger.settle_outgoing(hash, OutgoingState::Succeeded { preimage, fee });
    let ((status, body), arrived) = tokio::join!(waiting, arrived);
    arrived.expect("stored");
    assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("succeeded")), "{body}");
    assert_eq!(body["preimage"], preimage.to_hex());
    assert_eq!(body["fee_msat"], 1_500);
    assert_eq!(app.pay(&key, ask).await.1, body, "asked again, the same answer");
    assert_eq!(app.sent(), 1);

    let look = app.get(&format!("/api/v1/payments/sent/{hash}")).bearer_auth(&key).send().await;
    assert_eq!(look.expect("an answer").json::<Value>().await.expect("JSON"), body);
}

#[tokio::test]
async fn a_send_is_an_operation_that_its_key_names() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Pay, Scope::Read]).await;
    let send = async |seed: u8, name: &str| {
        let bolt11 = invoice(Currency::Regtest, Preimage::from_bytes([seed; 32]), 15_000);
        let request = app.client.post(format!("{}/api/v1/payments/send", app.origin)).bearer_auth(&key);
        let request = request.header("idempotency-key", name);
        let answer =
            request.json(&json!({ "invoice": bolt11, "wait_ms": 0 })).send().await.expect("an answer");
        (answer.status(), answer.json::<Value>().await.expect("JSON"))
    };
    assert_eq!(send(5, "mine").await.1["status"], "pending");
    let hash = Preimage::from_bytes([5; 32]).payment_hash();
    let newest = async || ok(app.read("/api/v1/operations", &key).await).await["operations"][0].clone();
    let row = newest().await;
    assert_eq!((&row["key"], &row["kind"]), (&json!("mine"), &json!("pay_invoice")));
    assert_eq!(row["ask"]["payment_hash"], hash.to_hex());
    // It fails, and the same call again does not pay anew; the key is of no use for another invoice.
    let failed = OutgoingState::Failed { reason: "no route".to_owned() };
    app.ledger.settle_outgoing(hash, failed).await.expect("stored");
    assert_eq!(newest().await["state"], "failed");
    let again = send(5, "mine").await;
    assert_eq!((again.0, &again.1["status"]), (StatusCode::OK, &json!("failed")));
    let (status, other) = send(6, "mine").await;
    assert_eq!(
        (status, &other["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused"))
    );
    let (status, bad) = send(6, "rule/pay_out/1/1").await;
    assert_eq!((status, &bad["code"]), (StatusCode::BAD_REQUEST, &json!("bad_idempotency_key")));
    assert_eq!(app.sent(), 1);
    assert_eq!(send(5, "another").await.1["status"], "pending");
    assert_eq!(app.sent(), 2);
}

#[tokio::test]
async fn what_may_not_be_paid_is_refused_before_anything_is_sent() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Pay]).await;
    let good = invoice(Currency::Regtest, Preimage::from_bytes([1; 32]), 15_000);
    let dear = json!({ "invoice": good, "max_amount_msat": 14_999 });
    let foreign = json!({ "invoice": invoice(Currency::Bitcoin, Preimage::from_bytes([2; 32]), 1_000) });
    for (ask, code) in [
        (dear, "too_expensive"),
        (foreign, "wrong_network"),
        (json!({ "invoice": "lnbcrt1nonsense" }), "not_an_invoice"),
    ] {
        let (status, body) = app.pay(&key, ask).await;
        assert_eq!((status, &body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(code)));
        assert!(body["detail"].as_str().expect("words").starts_with("Nothing was paid: "));
    }
    for ask in
        [json!({}), json!({ "invoice": good, "max_amount": 5 }), json!({ "invoice": good, "wait_ms": -1 })]
    {
        let (status, body) = app.pay(&key, ask).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("bad_body")));
    }
    app.clock.advance(Duration::from_secs(7_200));
    assert_eq!(app.pay(&key, json!({ "invoice": good })).await.1["code"], "invoice_expired");
    assert_eq!(app.sent(), 0);
}
