//! Lightning: can I be paid, by whom, and what keeps it so.

mod channel;
mod decimal;
mod inbound;
mod moves;
mod open;
mod order;
mod payouts;
mod peers;
mod place;
mod rules;
mod story;
mod ways;
pub(in crate::ui) mod words;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;

use super::channel_line::ChannelLine;
use super::figures::{grouped, grouped_in, iso, sats_exact, sats_whole, shortened, utc};
use super::shell::{Desk, Section, Shell};
use super::{fault, html, live, outlook, room};
use crate::ports::NodeView;
use crate::store::{ChannelRow, StoreError};
use crate::upkeep::{Forecast, PAY_OUT_RULE, RuleView};
use crate::web::Operator;
use ways::Ways;

/// Closed channels shown.
const CLOSED_SHOWN: u32 = 50;

/// The addresses of these pages.
pub(super) fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/lightning", get(page))
        .route("/lightning/open", get(open::page).post(open::open))
        .route("/lightning/inbound", get(inbound::page).post(inbound::quote))
        .route("/lightning/inbound/orders/{id}", get(order::page))
        .route("/lightning/inbound/orders/{id}/pay", post(order::pay))
        .route("/lightning/inbound/orders/{id}/close", post(order::close))
        .route("/lightning/payouts", get(payouts::page).post(payouts::pay))
        .route("/lightning/rules", get(rules::page))
        .route("/lightning/rules/{name}", post(rules::set))
        .route("/lightning/rules/{name}/off", post(rules::off))
        .route("/lightning/peers", get(peers::page).post(peers::connect))
        .route("/lightning/peers/forget", post(peers::forget))
        .route("/lightning/channels/{id}", get(channel::page))
        .route("/lightning/channels/{id}/fees", post(moves::fees))
        .route("/lightning/channels/{id}/splice-in", post(moves::splice_in))
        .route("/lightning/channels/{id}/splice-out", post(moves::splice_out))
        .route("/lightning/channels/{id}/close", post(moves::close))
        .route("/lightning/channels/{id}/force-close", get(moves::before_force).post(moves::force))
}

/// Which of the pages one is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Channels,
    Inbound,
    PayOut,
    Rules,
    Peers,
}

impl Tab {
    /// All of them: address, name, whether one is there.
    fn choices(self) -> [(&'static str, &'static str, bool); 5] {
        [
            ("/lightning", "Channels", Tab::Channels),
            ("/lightning/inbound", "Room to receive", Tab::Inbound),
            ("/lightning/payouts", "Pay out", Tab::PayOut),
            ("/lightning/rules", "Rules", Tab::Rules),
            ("/lightning/peers", "Peers", Tab::Peers),
        ]
        .map(|(path, name, tab)| (path, name, tab == self))
    }
}

/// What a change that went well left in the address.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    said: String,
}

/// A route that cannot be sold for want of receivable.
struct Unsold {
    name: String,
    price: String,
}

/// A closed channel as one line.
struct ClosedLine {
    id: String,
    peer: String,
    peer_short: String,
    /// What tells it from another one with the same node.
    name: String,
    at: String,
    at_iso: String,
    why: &'static str,
    size: String,
    coins: String,
    home: bool,
}

#[derive(Template)]
#[template(path = "lightning.html")]
struct Page {
    shell: Shell,
    tab: Tab,
    /// Why the node does not run.
    away: Option<String>,
    receivable: String,
    /// Whether there is room.
    title: String,
    /// There is more when other nodes are back.
    more: Option<String>,
    nothing: bool,
    largest: String,
    spendable: String,
    reserved: String,
    /// What each channel takes of the wallet.
    keeps: String,
    forecast: String,
    unsold: Vec<Unsold>,
    ways: Option<Ways>,
    channels: Vec<ChannelLine>,
    rules: Vec<String>,
    closed: Vec<ClosedLine>,
}

/// `GET /lightning`.
async fn page(desk: Desk) -> Response {
    match read(&desk).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(error) => fault(&error),
    }
}

async fn read(desk: &Desk) -> Result<Page, StoreError> {
    let parts = &desk.op.parts;
    parts.ledger.barrier().await;
    let node = parts.node.view().await;
    let standing = parts.treasury.standing(&node.channels).await?;
    let forecast = parts.upkeep.forecast().await?;
    let rules = parts.upkeep.keeper().view().await?;
    let closed = parts.ledger.closed_channels(CLOSED_SHOWN).await?;
    let nothing = node.receivable_msat < 1_000;
    let away = if node.running { None } else { Some(live::away(&desk.op).await) };
    Ok(Page {
        tab: Tab::Channels,
        away,
        receivable: sats_whole(node.receivable_msat),
        nothing,
        title: if nothing {
            room::title(&node, room::opening(&desk.op).as_ref().map(|(least, _)| least.as_str()))
        } else {
            "You can receive".to_owned()
        },
        more: room::away(&node).filter(|_| !nothing),
        largest: sats_whole(node.largest_receivable_msat),
        spendable: sats_whole(node.spendable_msat),
        reserved: grouped(standing.iter().map(|channel| channel.held.ours_sat).sum()),
        keeps: grouped_in(&crate::treasury::of_each_channel()),
        unsold: if node.running { unsold(&forecast) } else { Vec::new() },
        forecast: outlook::sentence(&forecast),
        ways: if nothing && node.running { Some(Ways::of(desk, &node, &standing).await) } else { None },
        channels: ChannelLine::all(&standing, &parts.ledger.open_operations().await?),
        rules: rules.iter().filter_map(|view| rule(view, &node)).collect(),
        closed: closed.iter().map(closed_line).collect(),
        shell: desk.shell(Section::Lightning).await,
    })
}

fn unsold(forecast: &Forecast) -> Vec<Unsold> {
    let stuck = forecast.routes.iter().filter(|route| route.sellable == Some(false));
    let line = |route: &crate::upkeep::RouteNeeds| {
        Some(Unsold {
            name: format!("{} / {}", route.service, route.route),
            price: sats_exact(route.price_msat?.msat()),
        })
    };
    stuck.filter_map(line).collect()
}

/// A rule that is on, and what it would do now.
fn rule(view: &RuleView, node: &NodeView) -> Option<String> {
    let says = words::rule_terms(view.name, view.terms.as_ref()?);
    let too = words::counted_too(node).filter(|_| view.name == PAY_OUT_RULE).unwrap_or_default();
    let now = view.said.as_ref().map(|(_, why)| format!(" Now: {}{too}", words::sentence(why)));
    Some(format!("{says}{}", now.unwrap_or_default()))
}

fn closed_line(row: &ChannelRow) -> ClosedLine {
    let at = row.closed_at.unwrap_or(row.seen_at);
    let nothing = words::nothing_of(row);
    let (coins, home) = match (row.returned_height, row.owed_sat) {
        _ if nothing.is_some() => (nothing.unwrap_or_default(), true),
        (Some(_), Some(_)) => (format!("{} are back", words::back(row)), true),
        (Some(_), None) if row.cause.as_deref().is_some_and(|cause| cause.starts_with("agreed")) => {
            ("back; amount not seen".to_owned(), true)
        }
        (Some(_), None) => ("not seen whether any came back".to_owned(), true),
        (None, Some(_)) => match row.claim_height {
            Some(height) => {
                let (back, height) = (words::back(row), grouped(height.into()));
                (format!("{back} on their way, the last from block {height}"), false)
            }
            None => (format!("{} are on their way", words::back(row)), false),
        },
        (None, None) => ("looked for on the chain".to_owned(), false),
    };
    ClosedLine {
        id: row.channel_id.clone(),
        peer_short: shortened(&row.peer),
        name: shortened(&row.channel_id),
        peer: row.peer.clone(),
        at: utc(at),
        at_iso: iso(at),
        why: words::cause(row.cause.as_deref()),
        size: grouped(row.capacity_sat),
        coins,
        home,
    }
}
