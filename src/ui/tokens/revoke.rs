//! A token taken back, behind a question.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};

use crate::ledger::Grant;
use crate::types::{PaymentHash, Timestamp};
use crate::ui::figures::utc;
use crate::ui::form::Fields;
use crate::ui::payment::amount;
use crate::ui::question::Question;
use crate::ui::shell::{Desk, Section};
use crate::ui::{entry, fault};

/// What its holder loses.
fn rest(grant: &Grant, now: Timestamp) -> String {
    let open = grant.opens_until.filter(|until| *until > now);
    match (grant.left, open, grant.budget) {
        (0, Some(until), _) => format!("It is open until {}, and closes now.", utc(until)),
        (0, None, Some(_)) => "Its budget is used up for now, and is not filled up again.".to_owned(),
        (0, None, None) => "Nothing is left of it.".to_owned(),
        (left, _, Some(_)) => {
            format!(
                "What is left of it now, {}, is gone, and its budget is not filled up again.",
                amount(grant.kind, left)
            )
        }
        (left, _, None) => format!("What is left of it, {}, is gone.", amount(grant.kind, left)),
    }
}

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
    let now = desk.op.parts.clock.now();
    let rest = grant.as_ref().map(|row| rest(&row.grant.seen_at(now), now));
    let paid = match &payment {
        Some(row) => format!(
            "{} sat were paid for it; they stay here. Whoever paid has only your word for anything in return.",
            crate::ui::figures::sats_exact(row.amount.msat())
        ),
        None => "It was given away: nobody paid for it, and nothing is owed for it.".to_owned(),
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
        yes: Some("Revoke"),
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
