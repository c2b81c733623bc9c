//! A token taken back, behind a question.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};

use crate::types::PaymentHash;
use crate::ui::form::Fields;
use crate::ui::payment::amount;
use crate::ui::question::Question;
use crate::ui::shell::{Desk, Section};
use crate::ui::{entry, fault};

/// `POST /payments/{payment_hash}/revoke`: the token opens nothing any more, used before or not.
pub(super) async fn revoke(desk: Desk, Path(hash): Path<String>, fields: Fields) -> Response {
    let Ok(hash) = hash.parse::<PaymentHash>() else { return entry::incomplete() };
    let ledger = &desk.op.parts.ledger;
    ledger.barrier().await;
    let (grant, payment) = match (ledger.grant(hash).await, ledger.payment(hash).await) {
        (Ok(grant), Ok(payment)) => (grant, payment),
        (Err(error), _) | (_, Err(error)) => return fault(&error),
    };
    if grant.is_none() && payment.is_none() {
        return entry::unknown("No payment with that hash arrived, and no token was granted under it.");
    }
    let here = format!("/payments/{}", hash.to_hex());
    let rest = grant
        .as_ref()
        .map(|row| format!("What is left of it, {}, is gone.", amount(row.grant.kind, row.grant.left)));
    let paid = match &payment {
        Some(row) => format!(
            "{} sat were paid for it; they stay here. Whoever paid has only your word for anything in return.",
            crate::ui::figures::sats_exact(row.amount.msat())
        ),
        None => "It was given away: nobody paid for it.".to_owned(),
    };
    let question = Question {
        section: Section::Tokens,
        above: (here.clone(), "The token".to_owned()),
        title: "Revoke this token?".to_owned(),
        lines: [
            Some("It opens nothing any more, and an answer that is metered for it ends.".to_owned()),
            rest,
            Some(paid),
        ]
        .into_iter()
        .flatten()
        .collect(),
        warning: Some("This cannot be undone.".to_owned()),
        action: format!("{here}/revoke"),
        fields: Vec::new(),
        yes: Some("Revoke it"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match ledger.revoke(hash).await {
        Ok(_) => Redirect::to(&format!("{here}?said=revoked")).into_response(),
        Err(error) => fault(&error),
    }
}
