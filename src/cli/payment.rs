//! `tollhouse payments HASH`: one payment in full: what arrived, what was sold for it, what became of it.

use serde_json::Value;

use super::amounts::sats;
use super::operator::{Admin, Failure, Shown};
use super::times::moment;
use super::tokens::{hash_beginning, several, state_in_words, token_text};

/// Payments that are looked through for a beginning.
const LOOKED_THROUGH: u32 = 500;

/// The payment whose hash begins so.
pub(super) async fn opened(admin: &Admin, beginning: &str) -> Result<Shown, Failure> {
    let hash = whole(admin, beginning).await?;
    let told = admin.get(&format!("/api/v1/payments/{hash}")).await?;
    let text = text(&told);
    Ok(Shown::new(told, text))
}

/// What a payment bought, as a list names it.
pub(super) fn bought(row: &Value) -> String {
    match (row["service"].as_str(), row["route"].as_str()) {
        (Some(service), Some(route)) if service != route => format!("{service}/{route}"),
        (Some(service), _) => service.to_owned(),
        (None, _) => "not yet used".to_owned(),
    }
}

/// The whole hash: of a token, or of a payment whose token was not used yet.
async fn whole(admin: &Admin, beginning: &str) -> Result<String, Failure> {
    let clean = hash_beginning(beginning)?;
    if clean.len() == 64 {
        return Ok(clean);
    }
    let tokens = admin.get(&format!("/api/v1/tokens?search={clean}&limit={LOOKED_THROUGH}")).await?;
    let payments = admin.get(&format!("/api/v1/payments?limit={LOOKED_THROUGH}")).await?;
    let listed = [&tokens["tokens"], &payments["payments"]].into_iter().filter_map(Value::as_array).flatten();
    let mut fitting: Vec<&str> = listed
        .filter_map(|row| row["payment_hash"].as_str())
        .filter(|hash| hash.starts_with(&clean))
        .collect();
    fitting.sort_unstable();
    fitting.dedup();
    match fitting.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Failure::arguments(format!(
            "no token's payment hash begins with {clean}, and none of the newest {LOOKED_THROUGH} payments': say all of it"
        ))),
        _ => Err(several(&clean)),
    }
}

fn text(told: &Value) -> String {
    let mut lines = Vec::new();
    let payment = &told["payment"];
    if payment.is_null() {
        lines.push("given     nothing was paid: this token was given away".to_owned());
    } else {
        lines.push(format!(
            "received  {} at {}",
            sats(&payment["amount_msat"]),
            moment(&payment["received_at"])
        ));
        lines.push(format!(
            "for       {}, {}",
            bought(payment),
            state_in_words(payment["state"].as_str().unwrap_or_default()).to_lowercase()
        ));
        let rest = [
            ("opening_fee_msat", "kept by a provider for a channel"),
            ("surplus_msat", "perhaps paid twice"),
            ("over_msat", "beyond what the invoice asked for"),
        ];
        for (field, what) in rest {
            if payment[field].as_u64().unwrap_or_default() > 0 {
                lines.push(format!("of it     {} {what}", sats(&payment[field])));
            }
        }
        if payment["perhaps_delivered"] == true {
            let text = "perhaps of before the ledger was brought back: not known whether it was delivered";
            lines.push(format!("restore   {text}"));
        }
        if payment["late"] == true {
            lines.push("late      its invoice had expired".to_owned());
        }
        if let Some(quote) = payment["quote"].as_str() {
            lines.push(format!("quoted    {quote}"));
        }
    }
    if told["token"].is_null() {
        lines.push(format!("payment   {}", told["payment_hash"].as_str().unwrap_or_default()));
        lines.push("token     it was not used yet".to_owned());
    } else {
        lines.push(token_text(&told["token"]));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payment_says_what_was_paid_beyond_its_price() {
        let payment = json!({
            "payment_hash": "ab".repeat(32), "amount_msat": 21_500, "opening_fee_msat": 0, "surplus_msat": 500,
            "over_msat": 0, "late": true, "kind": null, "quote": "0.32 USD at 64000",
            "received_at": 1_760_000_000_000_u64, "service": null, "route": null, "state": "unredeemed",
        });
        let told = json!({ "payment_hash": "ab".repeat(32), "payment": payment, "token": null });
        let text = text(&told);
        for line in [
            "received  21.5 sat at 2025-10-09 08:53:20Z",
            "for       not yet used, paid",
            "of it     0.5 sat perhaps paid twice",
            "late      its invoice",
            "quoted    0.32 USD at 64000",
            "token     it was not used yet",
        ] {
            assert!(text.contains(line), "{line}\nin\n{text}");
        }
        assert!(!text.contains("restore"), "{text}");
        let mut told = told;
        told["payment"]["perhaps_delivered"] = true.into();
        assert!(
            super::text(&told).contains("restore   perhaps of before the ledger was brought back: not known")
        );
        assert!(!text.contains("opening") && !text.contains("beyond"), "{text}");
    }
}
