//! The vault: what cold storage holds, where the next deposit goes, and what came.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::ABOVE;
use super::receive::Deposit;
use crate::store::{StoreError, VaultAddressRow};
use crate::types::Timestamp;
use crate::ui::figures::{grouped, iso, shortened, utc};
use crate::ui::operation_line::OperationLine;
use crate::ui::question::notice;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{entry, fault, html};
use crate::vault::{VaultEntry, VaultView};
use crate::web::{Problem, no_address, vault_problem};

/// Addresses and transactions on the page; programs read all.
const SHOWN: u32 = 50;
/// What addresses that a person asked for are called.
const BY_HAND: &str = "by hand ";

/// The vault, as the pages show it.
pub(super) struct Cold {
    pub(super) balance: String,
    pub(super) pending: Option<String>,
    pub(super) trouble: Option<String>,
    form: String,
    first_address: String,
    external: String,
    internal: Option<String>,
    birthday: Option<String>,
    /// When the chain was looked at last, and how far.
    looked_at: Option<(String, String)>,
    looked: String,
    unpaid: String,
    known: bool,
}

impl Cold {
    /// In short.
    pub(super) fn of(view: &VaultView) -> Cold {
        Cold {
            balance: grouped(view.balance.confirmed_sat),
            pending: (view.balance.pending_sat > 0).then(|| grouped(view.balance.pending_sat)),
            trouble: view.trouble.clone(),
            form: form(&view.form, &view.first_address),
            first_address: view.first_address.clone(),
            external: view.external.clone(),
            internal: view.internal.clone(),
            birthday: view.birthday.map(|height| grouped(height.into())),
            looked_at: view.synced_at.filter(|_| view.searching.is_none()).map(|at| (iso(at), utc(at))),
            looked: match (view.searching, view.synced_at) {
                (Some((at, last)), _) => {
                    format!("Searching: block {} of {}", grouped(at.into()), grouped(last.into()))
                }
                (None, Some(_)) => format!("up to block {}", grouped(view.height.into())),
                (None, None) => "Not yet since the start".to_owned(),
            },
            unpaid: format!("{} of at most {}", grouped(view.unpaid.into()), grouped(view.gap.into())),
            known: view.scanned_at.is_some(),
        }
    }
}

/// What a form is called, by the first of its addresses: how they begin is the network's.
pub(super) fn form(word: &str, first_address: &str) -> String {
    // The human-readable part of a segwit address, its separator and its version; of others, one letter.
    let begin = match (word, first_address.find('1')) {
        ("bip84" | "bip86", Some(separator)) => first_address.get(..separator + 2),
        _ => first_address.get(..1),
    };
    match word.strip_prefix("bip") {
        Some(number) => format!("BIP {number}, addresses that begin with {}", begin.unwrap_or_default()),
        None => "as the descriptor says".to_owned(),
    }
}

/// An address that was handed out.
struct Given {
    number: String,
    address: String,
    /// What for, and where more about it is.
    deposit: String,
    href: Option<String>,
    at: String,
    at_iso: String,
    /// Whether it was paid, and how that looks.
    state: (&'static str, &'static str),
}

/// A transaction of the vault.
struct Moved {
    at: Option<(String, String)>,
    txid: String,
    txid_short: String,
    received: Option<String>,
    sent: Option<String>,
    state: String,
    waits: bool,
}

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct Asked {
    said: Option<String>,
}

#[derive(Template)]
#[template(path = "vault.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    cold: Cold,
    given: Vec<Given>,
    more_given: bool,
    history: Vec<Moved>,
    more_history: bool,
}

#[derive(Template)]
#[template(path = "vault_address.html")]
struct AddressPage {
    shell: Shell,
    number: String,
    deposit: Deposit,
}

/// `GET /coins/vault`; without one, the form that sets it.
pub(in crate::ui) async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    let vault = &desk.op.parts.vault;
    let Some(view) = vault.view() else { return Redirect::to("/coins/vault/set").into_response() };
    let (history, given) = match (vault.history(), vault.addresses(SHOWN + 1).await) {
        (Ok(history), Ok(given)) => (history, given),
        // It was removed between the two questions.
        (Err(error), _) | (_, Err(error)) => return refused(&desk, vault_problem(error)).await,
    };
    let shown = usize::try_from(SHOWN).unwrap_or(usize::MAX);
    // Whether what pays an address is in a block yet, by its number.
    let mut paid: BTreeMap<u32, bool> = BTreeMap::new();
    for entry in &history {
        entry.pays.iter().for_each(|number| *paid.entry(*number).or_default() |= entry.height.is_some());
    }
    let mut lines = Vec::new();
    for row in given.iter().take(shown) {
        match handed_out(&desk, row, &paid).await {
            Ok(line) => lines.push(line),
            Err(error) => return fault(&error),
        }
    }
    let page = Page {
        shell: desk.shell(Section::Coins).await,
        said: asked.said.as_deref().and_then(said),
        cold: Cold::of(&view),
        more_given: given.len() > shown,
        given: lines,
        more_history: history.len() > shown,
        history: history.iter().take(shown).map(moved).collect(),
    };
    html(StatusCode::OK, &page)
}

fn said(word: &str) -> Option<&'static str> {
    match word {
        "set" => Some("The vault is watched. Compare its first address with your own wallet."),
        "looking" => Some("The chain is being looked at now."),
        _ => None,
    }
}

async fn handed_out(
    desk: &Desk,
    row: &VaultAddressRow,
    paid: &BTreeMap<u32, bool>,
) -> Result<Given, StoreError> {
    // The name of a deposit is our own, the key of a move of coins, or what a program calls it.
    let (deposit, href) = match row.deposit.starts_with(BY_HAND) {
        true => ("shown on this page".to_owned(), None),
        false => match desk.op.parts.ledger.operation_of_key(&row.deposit).await? {
            Some(row) => (OperationLine::of(&row).title, Some(format!("/operations/{}", row.id))),
            None if hex::decode(&row.deposit).is_ok() => ("a move that was not made".to_owned(), None),
            None => (row.deposit.clone(), None),
        },
    };
    Ok(Given {
        number: grouped(row.index.into()),
        address: row.address.clone(),
        deposit,
        href,
        at: utc(row.given_at),
        at_iso: iso(row.given_at),
        state: match paid.get(&row.index) {
            Some(true) => ("Paid", "good"),
            Some(false) => ("On its way, in no block yet", "waits"),
            None => ("Not yet", ""),
        },
    })
}

fn moved(entry: &VaultEntry) -> Moved {
    Moved {
        at: entry.time.map(|secs| {
            let at = Timestamp::from_secs(secs);
            (iso(at), utc(at))
        }),
        txid: entry.txid.clone(),
        txid_short: shortened(&entry.txid),
        received: (entry.received_sat > 0).then(|| grouped(entry.received_sat)),
        sent: (entry.sent_sat > 0).then(|| grouped(entry.sent_sat)),
        state: entry.height.map_or_else(
            || "Waits for a block".to_owned(),
            |height| format!("Block {}", grouped(height.into())),
        ),
        waits: entry.height.is_none(),
    }
}

/// `GET /coins/vault/address`: the newest that a person asked for.
pub(in crate::ui) async fn address(desk: Desk) -> Response {
    let rows = match desk.op.parts.vault.addresses(SHOWN).await {
        Ok(rows) => rows,
        Err(error) => return refused(&desk, vault_problem(error)).await,
    };
    let Some(row) = rows.into_iter().find(|row| row.deposit.starts_with(BY_HAND)) else {
        return Redirect::to("/coins/vault").into_response();
    };
    let page = AddressPage {
        shell: desk.shell(Section::Coins).await,
        number: grouped(row.index.into()),
        deposit: Deposit::of(&row.address),
    };
    html(StatusCode::OK, &page)
}

/// `POST /coins/vault/address`: a fresh one.
pub(in crate::ui) async fn fresh_address(desk: Desk) -> Response {
    let deposit = format!("{BY_HAND}{}", desk.op.fresh_key());
    match desk.op.parts.vault.next_address(&deposit).await {
        Ok(_) => Redirect::to("/coins/vault/address").into_response(),
        Err(none) => refused(&desk, no_address(none)).await,
    }
}

/// `POST /coins/vault/look`.
pub(in crate::ui) async fn look(desk: Desk) -> Response {
    desk.op.parts.vault.look_now();
    Redirect::to("/coins/vault?said=looking").into_response()
}

/// What the vault would not do; nothing moved.
pub(super) async fn refused(desk: &Desk, problem: Problem) -> Response {
    let above = match desk.op.parts.vault.view() {
        Some(_) => ("/coins/vault".to_owned(), "Vault".to_owned()),
        None => (ABOVE.0.to_owned(), ABOVE.1.to_owned()),
    };
    let text = format!("{} Nothing moved.", problem.detail);
    notice(desk, Section::Coins, above, problem.status, ("That did not work", &text)).await
}
