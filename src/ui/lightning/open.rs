//! `/lightning/open`: a channel to another node, with coins of the on-chain wallet.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::place::Place;
use crate::treasury::{Deed, of_each_channel};
use crate::types::Msat;
use crate::ui::figures::{grouped, grouped_in, quoted, typeset};
use crate::ui::form::Fields;
use crate::ui::question::Errand;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{html, live};

const PATH: &str = "/lightning/open";
const FIELDS: &[&str] = &["node", "amount_sat", "push_sat", "announce"];

#[derive(Template)]
#[template(path = "lightning/open.html")]
struct Page {
    shell: Shell,
    refusal: Option<String>,
    /// Why the node does not run.
    away: Option<String>,
    /// The most that can go into a channel now, and why it is no more; `None` while nobody can tell.
    most: Option<String>,
    /// What may be spent, what is kept back for the channels that there are, and what each one takes.
    spendable: String,
    reserved: String,
    keeps: String,
    nothing: bool,
    node: String,
    /// The sandbox's payer, which takes channels.
    payer: Option<String>,
    amount_sat: String,
    push_sat: String,
    announce: bool,
}

/// Whose address is filled in already.
#[derive(Debug, Default, Deserialize)]
pub(super) struct To {
    #[serde(default)]
    to: String,
}

/// `GET /lightning/open`; with `?to=payer` to the sandbox's payer.
pub(super) async fn page(desk: Desk, Query(To { to }): Query<To>) -> Response {
    let payer = if to == "payer" { place_of_payer(&desk) } else { None };
    let page = draw(&desk, None, &Fields::default()).await;
    html(StatusCode::OK, &Page { node: payer.unwrap_or_default(), ..page })
}

fn place_of_payer(desk: &Desk) -> Option<String> {
    desk.op.customer().and_then(|customer| customer.place())
}

/// `POST /lightning/open`: asks, then opens.
pub(super) async fn open(desk: Desk, fields: Fields) -> Response {
    let (deed, amount_sat) = match read(&fields) {
        Ok(read) => read,
        Err(refusal) => return shown(&desk, StatusCode::BAD_REQUEST, Some(refusal), &fields).await,
    };
    let errand = Errand {
        section: Section::Lightning,
        above: (PATH.to_owned(), "Open a channel".to_owned()),
        title: format!("Open a channel of {} sat?", grouped(amount_sat)),
        yes: "Open the channel",
        action: PATH.to_owned(),
        fields: fields.again(FIELDS),
        deed,
    };
    match errand.run(&desk, &fields).await {
        Ok(response) => response,
        Err(problem) => shown(&desk, problem.status, Some(problem.detail), &fields).await,
    }
}

fn read(fields: &Fields) -> Result<(Deed, u64), String> {
    let Place { peer, address } = Place::read(fields.text("node"))?;
    let amount_sat = fields.number("amount_sat", "The amount")?;
    let push_sat = fields.optional_number("push_sat", "The gift")?.unwrap_or(0);
    let push_msat = Msat::from_sat(push_sat).map_err(|_| "The gift is more than there is.".to_owned())?;
    let announce = fields.ticked("announce");
    Ok((Deed::OpenChannel { peer, address, amount_sat, push_msat, announce }, amount_sat))
}

async fn shown(desk: &Desk, status: StatusCode, refusal: Option<String>, fields: &Fields) -> Response {
    html(status, &draw(desk, refusal, fields).await)
}

async fn draw(desk: &Desk, refusal: Option<String>, fields: &Fields) -> Page {
    let view = desk.op.parts.node.view().await;
    let spendable = view.onchain_spendable_sat;
    let reserved = desk.op.parts.coins.coins().await.map_or(0, |coins| coins.reserved_sat);
    let away = if view.running { None } else { Some(live::away(&desk.op).await) };
    let most = match &away {
        Some(_) => None,
        None => desk.op.parts.treasury.most_opened().await.ok(),
    };
    Page {
        shell: desk.shell(Section::Lightning).await,
        refusal: refusal.map(|text| quoted(&text)),
        away,
        most: most.map(|most| typeset(&grouped_in(&most.sentence()))),
        spendable: grouped(spendable),
        reserved: grouped(reserved),
        keeps: grouped_in(&of_each_channel()),
        nothing: spendable == 0,
        node: fields.text("node").to_owned(),
        payer: place_of_payer(desk),
        amount_sat: fields.text("amount_sat").to_owned(),
        push_sat: fields.text("push_sat").to_owned(),
        announce: fields.ticked("announce"),
    }
}
