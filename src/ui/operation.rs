//! One move of coins: what was asked, how it stands, and what to do when nobody knows.

use std::time::Duration;

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::figures::{grouped, grouped_in, iso, sats_exact, shortened, typeset, utc};
use super::form::Fields;
use super::operation_line::{OperationLine, amount};
use super::question::{Question, notice};
use super::reasons::unpaid;
use super::shell::{Desk, Section, Shell};
use super::{entry, fault, html};
use crate::ports::UnsentView;
use crate::store::{OperationRow, OperationState};
use crate::treasury::{Treasury, TreasuryError, Verdict, transaction};
use crate::types::Timestamp;
use crate::web::treasury_problem;

/// How long another node's answer is waited for before the page asks a person what became of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// A name and what is said of it.
struct Fact {
    name: &'static str,
    value: String,
    /// Where more about it is.
    href: Option<String>,
}

#[derive(Template)]
#[template(path = "operation.html")]
struct Page {
    shell: Shell,
    above: (&'static str, &'static str),
    line: OperationLine,
    /// What that means.
    meaning: String,
    reason: Option<String>,
    advice: Option<&'static str>,
    facts: Vec<Fact>,
    ended: Option<(String, String)>,
    settles: bool,
    moves: bool,
    key: String,
}

/// `GET /operations/{id}`.
pub(super) async fn page(desk: Desk, Path(id): Path<String>) -> Response {
    let Some(row) = (match find(&desk, &id).await {
        Ok(row) => row,
        Err(response) => return response,
    }) else {
        return entry::unknown("No move of coins has that number.");
    };
    html(StatusCode::OK, &shown(&desk, &row).await)
}

async fn find(desk: &Desk, id: &str) -> Result<Option<OperationRow>, Response> {
    let Ok(id) = id.parse::<i64>() else { return Ok(None) };
    match desk.op.parts.treasury.operation(id).await {
        Ok(row) => Ok(Some(row)),
        Err(TreasuryError::Unknown(_)) => Ok(None),
        Err(TreasuryError::Store(error)) => Err(fault(&error)),
        Err(error) => {
            tracing::error!(%error, "a move of coins could not be looked up");
            Err(entry::failure())
        }
    }
}

async fn shown(desk: &Desk, row: &OperationRow) -> Page {
    let section = section(row);
    let now = desk.op.parts.clock.now();
    let settles = Treasury::may_settle(row, now) && wondered_at(row, now);
    Page {
        shell: desk.shell(section).await,
        above: above(section),
        line: OperationLine::of(row),
        meaning: unsent(desk, row).unwrap_or_else(|| meaning(row)),
        reason: row.outcome["reason"].as_str().map(|reason| sentence(&unpaid(reason))),
        advice: settles.then(|| advice(row)),
        facts: facts(row),
        ended: row.ended_at.map(|at| (iso(at), utc(at))),
        settles,
        moves: !row.state.is_final() && row.state != OperationState::Unclear,
        key: row.key.clone(),
    }
}

/// Whether one may wonder by now what became of it: most moves have their answer within seconds.
fn wondered_at(row: &OperationRow, now: Timestamp) -> bool {
    row.state == OperationState::Unclear || row.begun_at.plus(PATIENCE) <= now
}

/// The page that an operation belongs to.
fn section(row: &OperationRow) -> Section {
    match row.kind.as_str() {
        "send" | "send_all" => Section::Coins,
        _ => Section::Lightning,
    }
}

fn above(section: Section) -> (&'static str, &'static str) {
    match section {
        Section::Coins => ("/coins", "On-chain & vault"),
        _ => ("/lightning", "Lightning"),
    }
}

/// That its transaction is signed and on no way yet.
fn unsent(desk: &Desk, row: &OperationRow) -> Option<String> {
    let txid = transaction(row).filter(|_| row.state == OperationState::Sent);
    // A channel is closed from when its closing transaction is signed.
    let spends = row.outcome["spends"].as_str().filter(|_| row.state == OperationState::Done);
    let is_it = |one: &UnsentView| {
        Some(one.txid.as_str()) == txid || one.spends.iter().any(|spent| Some(spent.as_str()) == spends)
    };
    let waits = desk.op.parts.chain.chain().unsent.into_iter().find(is_it)?;
    Some(format!(
        "The transaction is signed, and no chain source took it yet: {}. It is handed over again and again: do not send the \
         same again.",
        waits.why
    ))
}

/// What the state means, in a sentence or two.
fn meaning(row: &OperationRow) -> String {
    let on_chain = matches!(row.kind.as_str(), "send" | "send_all");
    let text = match (row.state, row.kind.as_str()) {
        (OperationState::Intended, _) => "It is noted, and the node is being asked.",
        (OperationState::Sent, _) if on_chain => {
            return match row.outcome["confirmed_height"].as_u64() {
                Some(height) => format!(
                    "The transaction is in block {}. It counts as done when enough blocks lie on top of it.",
                    grouped(height)
                ),
                None => "The transaction was sent and waits for a block.".to_owned(),
            };
        }
        (OperationState::Sent, "open_channel") => {
            "The transaction that funds the channel is on its way. The channel opens when it has its confirmations."
        }
        (OperationState::Sent, "close_channel") => {
            "The other side was asked to close. It must be connected, and payments under way end first."
        }
        (OperationState::Sent, "force_close_channel") => {
            "The closing transaction is on its way. The coins come back after the channel’s delay: On-chain & vault \
             shows them."
        }
        (OperationState::Sent, "splice_in" | "splice_out") if row.outcome["txid"].is_null() => {
            "The other side is asked for it as soon as it is connected, and must agree. No coins have moved yet, and the \
             channel works as before."
        }
        (OperationState::Sent, "splice_in" | "splice_out") => {
            "Both sides agreed. The channel works; its new size waits for confirmations."
        }
        (OperationState::Sent, _) => "The payment is on its way.",
        (OperationState::Done, "open_channel") => "The channel is open.",
        (OperationState::Done, "close_channel" | "force_close_channel") => {
            "The channel is closed. On-chain & vault shows when the coins are back."
        }
        (OperationState::Done, _) => "It is done.",
        (OperationState::Failed, _) => "It was not done, and nothing was moved.",
        (OperationState::Unclear, _) => {
            "Whether it was done is not known, so it is not tried again by itself."
        }
    };
    text.to_owned()
}

/// How a person finds out what nobody else will tell.
fn advice(row: &OperationRow) -> &'static str {
    match row.kind.as_str() {
        "send" | "send_all" if row.state == OperationState::Sent => {
            "As long as any block explorer shows the transaction, it is on its way and may come into a block: wait. \
             If none has shown it for days, it was dropped: say that it failed, and only then send again. Whoever \
             kept a copy could still publish it, and then both would pay."
        }
        "send" | "send_all" => {
            "Look whether the address received it, in the history of the on-chain wallet or in a block explorer. If \
             it did, it was done. If nothing is seen an hour after the node came back, it failed: say so, and only \
             then send again, for a second send before that may pay twice."
        }
        "open_channel" => {
            "Look whether the channel is in the list of channels, here or at the other node, and whether coins left \
             the on-chain wallet. If neither, it failed."
        }
        "close_channel" => {
            "The other side’s answer may never come. If the channel is still as it was and the other side knows \
             nothing of this, it failed; it can be asked for again then. No coins are lost either way."
        }
        "splice_in" | "splice_out" => {
            "The other side’s answer may never come. The node asks again whenever that side is connected and cannot be \
             told to stop, so as long as the channel is open it may still be done, whatever you say here: the \
             channel’s page shows it then. No coins are lost either way."
        }
        "force_close_channel" => {
            "Look whether the channel is still in the list. If it is gone, it was done; if it still works, it failed."
        }
        _ => {
            "Ask the payee whether it arrived. If it did, it was done. If they are sure that it did not, it failed: say \
             so, and only then pay again, for a second payment before that may pay twice."
        }
    }
}

fn facts(row: &OperationRow) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut say = |name, value: Option<String>, href: Option<String>| {
        if let Some(value) = value {
            facts.push(Fact { name, value, href });
        }
    };
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let sat = |value: &serde_json::Value| value.as_u64().map(|sat| format!("{} sat", grouped(sat)));
    let channel = text(&row.outcome["channel_id"]).or_else(|| text(&row.ask["channel_id"]));
    say("Amount", amount(row), None);
    say("Fee", sat(&row.outcome["fee_sat"]), None);
    say("Fee", row.outcome["fee_msat"].as_u64().map(|fee| format!("{} sat", sats_exact(fee))), None);
    say("Of it to your own wallet", sat(&row.outcome["to_own_sat"]), None);
    say("To", text(&row.ask["address"]).or_else(|| text(&row.ask["to"])), None);
    say("With", text(&row.ask["peer"]).map(|peer| shortened(&peer)), None);
    say("Channel", channel.as_deref().map(shortened), channel.map(|id| format!("/lightning/channels/{id}")));
    say("Transaction", text(&row.outcome["txid"]), None);
    say("Closing transaction", text(&row.outcome["closing_txid"]), None);
    say("Came back", sat(&row.outcome["came_sat"]), None);
    let cost = row.outcome["closing_cost_msat"].as_u64();
    say("Cost of closing", cost.map(|msat| format!("{} sat", sats_exact(msat))), None);
    say("Block", row.outcome["confirmed_height"].as_u64().map(grouped), None);
    say("Funding", text(&row.outcome["funding"]), None);
    say("Payment hash", text(&row.outcome["payment_hash"]), None);
    say("Told by", text(&row.outcome["settled_by"]).map(|_| "you".to_owned()), None);
    facts
}

/// `what failed` as `What failed.`
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    typeset(&grouped_in(&format!("{first}{}.", chars.as_str())))
}

/// `POST /operations/{id}/settle`: the operator found out what became of it.
pub(super) async fn settle(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let row = match find(&desk, &id).await {
        Ok(Some(row)) => row,
        Ok(None) => return entry::unknown("No move of coins has that number."),
        Err(response) => return response,
    };
    let (verdict, title, warning) = match fields.text("outcome") {
        "done" => (Verdict::Done, "It was done?", "If it was not, the record says that these coins moved."),
        "failed" => (
            Verdict::Failed,
            "It failed?",
            "If it was done after all, doing it again moves the coins a second time.",
        ),
        _ => return entry::incomplete(),
    };
    let (line, section) = (OperationLine::of(&row), section(&row));
    let here = format!("/operations/{}", row.id);
    let question = Question {
        section,
        above: (here.clone(), line.title.clone()),
        title: title.to_owned(),
        lines: vec![
            format!("{}, asked for {}.", line.title, line.at),
            "The record of this move ends with what you say. No coins move because of it.".to_owned(),
        ],
        warning: Some(warning.to_owned()),
        action: format!("{here}/settle"),
        fields: fields.again(&["outcome"]),
        yes: Some(match verdict {
            Verdict::Done => "It was done",
            Verdict::Failed => "It failed",
        }),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match desk.op.parts.treasury.settle(row.id, verdict).await {
        // Somebody else told its end meanwhile: the page shows it.
        Ok(_) | Err(TreasuryError::NotUnclear(_)) => Redirect::to(&here).into_response(),
        Err(error) => {
            let problem = treasury_problem(error);
            let said = ("That could not be noted", problem.detail.as_str());
            notice(&desk, section, (here, line.title), problem.status, said).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: OperationState) -> OperationRow {
        OperationRow {
            id: 7,
            key: "k".to_owned(),
            kind: "close_channel".to_owned(),
            ask: serde_json::json!({}),
            state,
            outcome: serde_json::json!({}),
            begun_at: Timestamp::from_secs(1_700_000_000),
            ended_at: None,
        }
    }

    #[test]
    fn a_send_that_an_explorer_shows_is_on_its_way() {
        let send = |state| OperationRow { kind: "send".to_owned(), ..row(state) };
        assert!(
            advice(&send(OperationState::Sent)).contains("explorer shows the transaction, it is on its way")
        );
        assert!(advice(&send(OperationState::Unclear)).contains("Look whether the address received it"));
    }

    #[test]
    fn a_person_is_asked_only_when_nobody_knows_or_it_takes_long() {
        let after = |secs: u64| Timestamp::from_secs(1_700_000_000 + secs);
        assert!(wondered_at(&row(OperationState::Unclear), after(0)));
        let sent = row(OperationState::Sent);
        assert_eq!([2, 599, 600].map(|secs| wondered_at(&sent, after(secs))), [false, false, true]);
    }

    #[test]
    fn reasons_become_sentences() {
        assert_eq!(sentence("the peer is away"), "The peer is away.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }
}
