//! Sending coins: to an address or to the vault, so many or all, at a fee that one chooses.

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use crate::ports::{FeeRate, FeeRates};
use crate::treasury::{Deed, FeeChoice};
use crate::ui::figures::{grouped, quoted};
use crate::ui::form::{Fields, Refused};
use crate::ui::question::Errand;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{entry, html};

const FIELDS: [&str; 6] = ["to", "amount", "all", "reserve_too", "fee", "rate"];

/// What may be filled in beforehand.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct Asked {
    to: Option<String>,
}

/// One choice of a fee.
struct FeeLine {
    word: &'static str,
    name: &'static str,
    hint: String,
}

/// What was typed.
struct Typed {
    to: String,
    amount: String,
    all: bool,
    reserve_too: bool,
    fee: String,
    rate: String,
}

#[derive(Template)]
#[template(path = "coins_send.html")]
struct Page {
    shell: Shell,
    refusal: Option<String>,
    typed: Typed,
    /// A vault is set.
    vault: bool,
    spendable: Option<String>,
    reserved: Option<String>,
    fees: Vec<FeeLine>,
    guessed: bool,
    /// Nobody can be asked what a fee must be: only an own rate can be chosen.
    unknown: bool,
}

/// `GET /coins/send?to=…`.
pub(in crate::ui) async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    // Only the vault is filled in: a link from elsewhere must not choose where coins go.
    let to = asked.to.filter(|to| to == Deed::VAULT).unwrap_or_default();
    let typed = Typed {
        to,
        amount: String::new(),
        all: false,
        reserve_too: false,
        fee: "normal".to_owned(),
        rate: String::new(),
    };
    form(&desk, StatusCode::OK, typed, None).await
}

/// `POST /coins/send`: asks, then sends once.
pub(in crate::ui) async fn send(desk: Desk, fields: Fields) -> Response {
    let (status, refusal) = match deed(&fields) {
        Err(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, refusal),
        Ok(Deed::Send { .. } | Deed::SendAll { .. }) if no_vault(&desk, &fields) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "No vault is set, so there is no address of it to send to.".to_owned(),
        ),
        Ok(deed) => match errand(deed, &fields).run(&desk, &fields).await {
            Ok(response) => return response,
            Err(problem) => (problem.status, problem.detail),
        },
    };
    let typed = Typed {
        to: fields.text("to").to_owned(),
        amount: fields.text("amount").to_owned(),
        all: fields.ticked("all"),
        reserve_too: fields.ticked("reserve_too"),
        fee: fields.text("fee").to_owned(),
        rate: fields.text("rate").to_owned(),
    };
    form(&desk, status, typed, Some(refusal)).await
}

fn no_vault(desk: &Desk, fields: &Fields) -> bool {
    fields.text("to") == Deed::VAULT && desk.op.parts.vault.view().is_none()
}

fn errand(deed: Deed, fields: &Fields) -> Errand {
    let title = match &deed {
        Deed::Send { amount_sat, .. } => format!("Send {} sat?", grouped(*amount_sat)),
        _ => "Send all coins?".to_owned(),
    };
    Errand {
        section: Section::Coins,
        above: ("/coins/send".to_owned(), "Send coins".to_owned()),
        title,
        yes: "Send",
        action: "/coins/send".to_owned(),
        fields: fields.again(&FIELDS),
        deed,
    }
}

fn deed(fields: &Fields) -> Result<Deed, Refused> {
    let address = fields.text("to").to_owned();
    if address.is_empty() {
        return Err("The address is missing.".to_owned());
    }
    let fee = match fields.text("fee") {
        "fast" => FeeChoice::Fast,
        "slow" => FeeChoice::Slow,
        "own" => {
            let rate = FeeRate::of_sat_per_vbyte(fields.text("rate"));
            FeeChoice::SatPerKvb(rate.ok_or_else(|| {
                format!(
                    "Your own rate must be {} to {}, with at most three decimals.",
                    FeeRate::FLOOR,
                    FeeRate::CEILING
                )
            })?)
        }
        _ => FeeChoice::Normal,
    };
    match (fields.ticked("all"), fields.optional("amount"), fields.ticked("reserve_too")) {
        (true, None, reserve_too) => Ok(Deed::SendAll { address, fee, reserve_too }),
        (true, Some(_), _) => {
            Err("Say an amount, or tick that all is sent; not both. Nothing was sent.".to_owned())
        }
        (false, _, true) => Err("The reserve goes only when all is sent. Nothing was sent.".to_owned()),
        (false, _, false) => {
            Ok(Deed::Send { address, amount_sat: fields.number("amount", "The amount")?, fee })
        }
    }
}

async fn form(desk: &Desk, status: StatusCode, typed: Typed, refusal: Option<String>) -> Response {
    let parts = &desk.op.parts;
    let running = parts.node.view().await.running;
    let coins = parts.treasury.coins().await.ok().filter(|_| running);
    let rates = parts.coins.fee_rates().await.ok();
    let unknown = rates.is_none();
    let fee = if unknown { "own".to_owned() } else { typed.fee };
    let page = Page {
        shell: desk.shell(Section::Coins).await,
        refusal: refusal.map(|text| quoted(&text)),
        typed: Typed { fee, ..typed },
        unknown,
        vault: parts.vault.view().is_some(),
        spendable: coins.as_ref().map(|coins| grouped(coins.spendable_sat)),
        reserved: coins.filter(|coins| coins.reserved_sat > 0).map(|coins| grouped(coins.reserved_sat)),
        guessed: rates.is_some_and(|rates| !rates.estimated),
        fees: fees(rates.as_ref()),
    };
    html(status, &page)
}

fn fees(rates: Option<&FeeRates>) -> Vec<FeeLine> {
    let line = |word, name, when: &str, choice: FeeChoice| FeeLine {
        word,
        name,
        hint: match rates {
            Some(rates) => format!("{}, {when}", choice.of(rates)),
            None => when.to_owned(),
        },
    };
    vec![
        line("fast", "Fast", "in one of the next two blocks", FeeChoice::Fast),
        line("normal", "Normal", "within an hour or so", FeeChoice::Normal),
        line("slow", "Slow", "within a day", FeeChoice::Slow),
    ]
}
