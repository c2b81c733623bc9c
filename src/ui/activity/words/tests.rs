//! Each kind of event as a person reads it.

use super::*;
use crate::event::{Subject, UNLISTED};

/// An event of `kind` in which every text is a code, and `word` where there is one of a few.
fn coded(kind: &str, word: &str) -> Event {
    let all = r#"{
        "payment_hash": "HASH", "amount_msat": 5000, "over_msat": 1000, "opening_fee_msat": 1000, "late": true,
        "service": "llm", "route": "chat", "offer": "pack", "units": 7, "quote": "a_b", "left": 3, "label": "a key",
        "budget_msat": 1000, "per_secs": null, "valid_until": 1760000000000, "reason": "WORD", "restored": false,
        "epoch": 2, "tokens": 3, "unearned_msat": 5, "why": "WORD", "doubtful_below_epoch": 2, "below_epoch": 2,
        "file": "a.backup", "bytes": 9, "fee_msat": 1, "operation": 7, "what": "a_b", "ask": {}, "state": "WORD",
        "outcome": { "reason": "WORD" }, "rule": "WORD", "code": "WORD", "vault": 1, "form": "a_b", "index": 4,
        "address": "bc1q", "deposit": "a_b", "txid": "HASH", "received_sat": 9, "sent_sat": 1, "height": 100,
        "source": "esplora https://a/", "position": 1, "order": 3, "lsp": "HASH", "receivable_sat": 9,
        "funding": "f:0", "channel_id": "HASH", "peer": "HASH", "cause": "WORD", "local_id": "7", "amount_sat": 9,
        "fee_sat": 1,
        "subject": null, "severity": "warning", "text": "a_b", "fix": "a_b", "was": "info",
        "raised_at": 1760000000000, "before": { "price": "5 sat" }, "after": { "price": "6 sat" }, "ok": false,
        "mismatches": ["a_b"], "version": "1", "clean": false, "key": 4, "scopes": "read forward_auth",
        "expires_at": null, "webhook": 2, "host": "a.example"
    }"#;
    let all = all.replace("HASH", &"07".repeat(32)).replace("WORD", word);
    let mut all: Value = serde_json::from_str(&all).expect("JSON");
    all["kind"] = kind.into();
    serde_json::from_value(all).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// A word such as `cannot_receive` is for programs.
#[test]
fn no_code_is_shown_to_a_person() {
    let alarms = crate::watchman::CODES.iter().map(|known| known.code);
    let words = alarms.chain([
        "never_seen_code",
        "upstream_error",
        "not_dispatched",
        "agreed_by_peer",
        "seen_on_chain",
        "old_copy",
        "pay_out",
        "splice_out",
        "not_needed",
        "daily_limit",
        "quoted",
        "never_sent",
    ]);
    let kinds = || Subject::ALL.iter().flat_map(|about| about.kinds()).chain([&UNLISTED]);
    for word in words {
        for kind in kinds() {
            let told = Told::of(&coded(kind, word));
            let text = format!("{} {}", told.what, told.more.unwrap_or_default());
            let code = |at: usize| {
                let near = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).copied();
                let letter = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase());
                letter(near(at.checked_sub(1))) && letter(near(Some(at + 1)))
            };
            assert!(!text.match_indices('_').any(|(at, _)| code(at)), "{kind} of {word}: {text}");
            assert!(!text.contains("no words for"), "{kind}");
        }
    }
}

#[test]
fn what_others_sent_and_what_the_operator_did_is_told() {
    let told = |kind: &str| {
        let told = Told::of(&coded(kind, "x"));
        format!("{} {}{}", told.what, told.more.unwrap_or_default(), told.amount.unwrap_or_default())
    };
    assert!(told("coins_arrived").ends_with("block 100+9"), "{}", told("coins_arrived"));
    assert!(told("channel_coins_home").starts_with("Coins of a closed channel came home about 9 sat, with"));
    assert!(told("close_fee_paid").ends_with("block 100−1"), "{}", told("close_fee_paid"));
    assert_eq!(told("key_made"), "Key made “a key”, for read, forward auth");
    assert_eq!(told("webhook_removed"), "Webhook removed “a key”, a.example");
    assert_eq!(told("service_changed"), "Service changed llm: price from 5 sat to 6 sat");
    assert_eq!(
        Told::of(&Event::AlarmCleared {
            code: "cannot_receive".to_owned(),
            subject: None,
            raised_at: Timestamp::default(),
        })
        .more
        .as_deref(),
        Some("nothing could be received")
    );
}

#[test]
fn what_came_and_went_has_its_sign() {
    let sat = |sat| Msat::from_sat(sat).unwrap();
    let payment_hash = PaymentHash::from_bytes([7; 32]);
    let sent = Told::of(&Event::PaymentSent { payment_hash, amount_msat: sat(10), fee_msat: sat(2) });
    assert_eq!(sent.amount.as_deref(), Some("−12"));
    let moved = |received_sat, sent_sat| {
        Told::of(&Event::VaultMoved { txid: "ab".repeat(32), received_sat, sent_sat, height: Some(7) }).amount
    };
    assert_eq!(
        (moved(50_000, 0).as_deref(), moved(10, 60_010).as_deref()),
        (Some("+50,000"), Some("−60,000"))
    );
    assert_eq!(Told::of(&Event::Stopped).what, "Tollhouse stopped");
    let returning = |back| Told::new("Channel closed").more("you asked").returning(back).more;
    assert_eq!(returning(Some((238_830, true))).as_deref(), Some("you asked; 238,830 sat of it came back"));
    assert!(returning(Some((239_056, false))).is_some_and(|more| more.contains("about 239,056 sat of it")));
    assert_eq!(returning(Some((0, true))).as_deref(), Some("you asked"));
    let told = |what: &str, state: &str, outcome| {
        let (what, state) = (what.to_owned(), state.to_owned());
        let event = Event::OperationChanged { operation: 7, what, state, outcome };
        Told::of_move(&event, &serde_json::json!({ "amount_sat": 50_000 }))
    };
    let sent = told("send", "sent", serde_json::json!({ "txid": "ab", "fee_sat": 209 }));
    assert_eq!((sent.what.as_str(), sent.amount.as_deref()), ("Send 50,000 sat", Some("−50,209")));
    // What went into a channel is ours still: it has no sign, and its fee stands beside it.
    let put = told("splice_in", "done", serde_json::json!({ "fee_sat": 1_210 }));
    assert_eq!(
        (put.amount.as_deref(), put.more.as_deref()),
        (Some("50,000"), Some("done; its fee was 1,210 sat"))
    );
    let own = serde_json::json!({ "txid": "ab", "fee_sat": 183, "to_own_sat": 50_000 });
    let own = told("splice_out", "done", own);
    let said = "done, to an address of your own wallet; its fee was 183 sat";
    assert_eq!((own.amount.as_deref(), own.more.as_deref()), (Some("50,000"), Some(said)));
    for (what, state) in [("send", "failed"), ("send", "sent"), ("close_channel", "done")] {
        assert_eq!(told(what, state, serde_json::json!({})).amount, None, "{what} {state}");
    }
}
