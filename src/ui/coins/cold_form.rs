//! Setting the vault, and setting it aside: each behind a question.
//!
//! Invariant: what looks like a private key is not sent back to the browser.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::ABOVE;
use super::cold::{form, refused};
use crate::ui::figures::{grouped, quoted};
use crate::ui::form::Fields;
use crate::ui::html;
use crate::ui::question::Question;
use crate::ui::shell::{Desk, Section, Shell};
use crate::vault::{USUAL_GAP, Vault, VaultAsk, VaultFault, VaultSketch, looks_private};
use crate::web::{Problem, vault_problem};

const FIELDS: [&str; 4] = ["keys", "form", "gap", "birthday"];

/// What was typed.
#[derive(Default)]
struct Typed {
    keys: String,
    form: String,
    gap: String,
    birthday: String,
}

#[derive(Template)]
#[template(path = "vault_set.html")]
struct Page {
    shell: Shell,
    above: (&'static str, &'static str),
    refusal: Option<String>,
    typed: Typed,
    forms: [(&'static str, String); 5],
    /// A vault is set already.
    replaces: bool,
    from_block: FromBlock,
}

/// Whether it has to be said from which block on the chain is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FromBlock {
    /// The chain is read block by block now.
    Needed,
    /// Another source is in use, which needs none, and stands in for one that does.
    Advised,
    /// A server is asked for addresses alone.
    Unasked,
}

impl FromBlock {
    fn of(vault: &Vault) -> FromBlock {
        match (vault.reads_blocks(), vault.may_read_blocks()) {
            (true, _) => FromBlock::Needed,
            (false, true) => FromBlock::Advised,
            (false, false) => FromBlock::Unasked,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            FromBlock::Needed => "Your chain source is bitcoind, which is read block by block.",
            _ => "One of your chain sources is bitcoind, which is read block by block when it is in use.",
        }
    }
}

/// The forms, with how their addresses begin on this network.
fn forms(network: &str) -> [(&'static str, String); 5] {
    let (segwit, script, oldest) = match network {
        "bitcoin" | "mainnet" => ("bc", "3", "1"),
        "regtest" => ("bcrt", "2", "m or n"),
        _ => ("tb", "2", "m or n"),
    };
    [
        ("", "As the key says (ypub, zpub or a descriptor)".to_owned()),
        ("bip84", format!("Native segwit, {segwit}1q… (BIP 84)")),
        ("bip86", format!("Taproot, {segwit}1p… (BIP 86)")),
        ("bip49", format!("Segwit inside script hash, {script}… (BIP 49)")),
        ("bip44", format!("The oldest, {oldest}… (BIP 44)")),
    ]
}

/// `GET /coins/vault/set`: the form, empty.
pub(in crate::ui) async fn page(desk: Desk) -> Response {
    // Keys that were made for this are new.
    let birthday = match FromBlock::of(&desk.op.parts.vault) {
        FromBlock::Needed | FromBlock::Advised => "now".to_owned(),
        FromBlock::Unasked => String::new(),
    };
    let typed = Typed { gap: USUAL_GAP.to_string(), birthday, ..Typed::default() };
    shown(&desk, StatusCode::OK, typed, None).await
}

async fn shown(desk: &Desk, status: StatusCode, typed: Typed, refusal: Option<String>) -> Response {
    let replaces = desk.op.parts.vault.view().is_some();
    let above = if replaces { ("/coins/vault", "Vault") } else { ABOVE };
    let shell = desk.shell(Section::Coins).await;
    let forms = forms(&shell.network);
    let from_block = FromBlock::of(&desk.op.parts.vault);
    let refusal = refusal.map(|text| quoted(&text));
    html(status, &Page { shell, above, refusal, typed, forms, replaces, from_block })
}

/// `POST /coins/vault/set`: asks, then watches these keys.
pub(in crate::ui) async fn set(desk: Desk, fields: Fields) -> Response {
    let asked = match ask(&desk, &fields).await {
        Ok(ask) => desk.op.parts.vault.sketch(&ask).map(|sketch| (ask, sketch)).map_err(vault_problem),
        Err(problem) => Err(problem),
    };
    let (ask, sketch) = match asked {
        Ok(asked) => asked,
        Err(problem) => return again(&desk, &fields, problem).await,
    };
    if let Err(response) = question(&desk, &fields, &sketch, ask.birthday).answered(&desk, &fields).await {
        return response;
    }
    match desk.op.parts.vault.set(ask).await {
        Ok(_) => Redirect::to("/coins/vault?said=set").into_response(),
        Err(fault) => again(&desk, &fields, vault_problem(fault)).await,
    }
}

async fn ask(desk: &Desk, fields: &Fields) -> Result<VaultAsk, Problem> {
    let unfit = |text: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_field", text);
    let key = fields.text("keys").to_owned();
    if key.is_empty() {
        return Err(unfit("The key is missing.".to_owned()));
    }
    if looks_private(&key) {
        return Err(vault_problem(VaultFault::Key(crate::vault::KeyFault::Private)));
    }
    let form = fields.optional("form").map(str::parse).transpose();
    let form = form.map_err(|fault| vault_problem(VaultFault::Key(fault)))?;
    let gap = fields.optional_number("gap", "The gap limit").map_err(unfit)?;
    let gap = gap.map_or(Ok(USUAL_GAP), u32::try_from).map_err(|_| vault_problem(VaultFault::Gap))?;
    let birthday: String = fields.text("birthday").chars().filter(|c| *c != ',').collect();
    let birthday = desk.op.birthday(Some(birthday.as_str()).filter(|text| !text.is_empty())).await?;
    Ok(VaultAsk { key, form, gap, birthday })
}

async fn again(desk: &Desk, fields: &Fields, problem: Problem) -> Response {
    let keys = fields.text("keys");
    let typed = Typed {
        keys: if looks_private(keys) { String::new() } else { keys.to_owned() },
        form: fields.text("form").to_owned(),
        gap: fields.text("gap").to_owned(),
        birthday: fields.text("birthday").to_owned(),
    };
    shown(desk, problem.status, typed, Some(problem.detail)).await
}

fn question(desk: &Desk, fields: &Fields, sketch: &VaultSketch, birthday: Option<u32>) -> Question {
    let mut lines = vec![
        format!("Its first address is {}. Compare it with the first one in your own wallet.", sketch.first_address),
        format!("The form is {}.", form(&sketch.form, &sketch.first_address)),
        "Deposits go to addresses of these keys from now on. Whoever holds their private keys can spend them; \
         Tollhouse cannot."
            .to_owned(),
    ];
    if let Some(height) = birthday.filter(|height| *height > 0 && desk.op.parts.vault.reads_blocks()) {
        lines.push(format!(
            "bitcoind is read from block {} on. What these keys received before it is not seen, and addresses that were \
             paid before it may be handed out again.",
            grouped(height.into())
        ));
    }
    let old = desk.op.parts.vault.view();
    if let Some(old) = &old {
        lines.push(format!(
            "The vault that is watched now, with {} sat, is watched no more. Its coins stay where they are.",
            grouped(old.balance.confirmed_sat.saturating_add(old.balance.pending_sat))
        ));
    }
    let warning = "If the address differs, go back: what is sent to addresses that your wallet does not know is lost to you.";
    Question {
        section: Section::Coins,
        above: ("/coins/vault/set".to_owned(), "Set a vault".to_owned()),
        title: if old.is_some() { "Watch this vault instead?" } else { "Watch this vault?" }.to_owned(),
        lines,
        warning: Some(warning.to_owned()),
        action: "/coins/vault/set".to_owned(),
        fields: fields.again(&FIELDS),
        yes: Some("It is mine: watch it"),
        refusal: None,
    }
}

/// `POST /coins/vault/remove`: asks, then watches nothing any more.
pub(in crate::ui) async fn remove(desk: Desk, fields: Fields) -> Response {
    let Some(view) = desk.op.parts.vault.view() else {
        return Redirect::to("/coins").into_response();
    };
    let held = grouped(view.balance.confirmed_sat.saturating_add(view.balance.pending_sat));
    let question = Question {
        section: Section::Coins,
        above: ("/coins/vault".to_owned(), "Vault".to_owned()),
        title: "Remove this vault?".to_owned(),
        lines: vec![
            format!("It is watched no more. It holds {held} sat: they stay where they are, in your own wallet’s hands."),
            "Rules and forms that send to the vault stop until another is set.".to_owned(),
            "The addresses that were handed out stay in the record; set again, the same keys go on behind them."
                .to_owned(),
        ],
        warning: None,
        action: "/coins/vault/remove".to_owned(),
        fields: Vec::new(),
        yes: Some("Remove"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match desk.op.parts.vault.remove().await {
        Ok(_) => Redirect::to("/coins?said=vault-removed").into_response(),
        Err(fault) => refused(&desk, vault_problem(fault)).await,
    }
}
