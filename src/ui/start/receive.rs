//! The ways to be paid: each with what it costs and what it needs.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::Onward;
use crate::ports::ChannelView;
use crate::ui::figures::{grouped, grouped_in, sats_exact};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html, room};
use crate::web::Step;

/// Somebody opens a channel for the first payment that needs one.
struct JustInTime {
    says: String,
    works: bool,
}

#[derive(Template)]
#[template(path = "start/receive.html")]
struct Page {
    shell: Shell,
    onward: Onward,
    title: String,
    opening: bool,
    /// What was earned can be paid out.
    pay_out: Option<String>,
    just_in_time: Option<JustInTime>,
    sells: bool,
    onchain: String,
    /// What each channel takes of the wallet.
    keeps: String,
    node_address: String,
}

/// `GET /start/receive`.
pub(in crate::ui) async fn page(desk: Desk) -> Response {
    let onward = match Onward::from(&desk, Step::Receive).await {
        Ok(onward) => onward,
        Err(error) => return fault(&error),
    };
    let parts = &desk.op.parts;
    let node = parts.node.view().await;
    let just_in_time = parts.inbound.openings.as_ref().map(|openings| {
        let view = openings.view();
        match (view.least_msat, view.least_fee_msat, view.problem) {
            (Some(least), Some(fee), _) => JustInTime {
                says: format!(
                    "Ready: a payment of {} sat or more opens a channel by itself, which costs at least {} sat of it.",
                    sats_exact(least.msat()),
                    sats_exact(fee.msat())
                ),
                works: true,
            },
            (_, _, Some(why)) => {
                JustInTime { says: format!("The provider cannot be used now: {why}."), works: false }
            }
            _ => JustInTime {
                says: "The provider sells nothing within the limits that the configuration sets.".to_owned(),
                works: false,
            },
        }
    });
    let page = Page {
        onward,
        title: room::title(&node, room::opening(&desk.op).as_ref().map(|(least, _)| least.as_str())),
        pay_out: room::pay_out(&node),
        opening: node.channels.iter().any(ChannelView::is_opening),
        just_in_time,
        sells: parts.inbound.orders.is_some(),
        keeps: grouped_in(&crate::treasury::of_each_channel()),
        onchain: grouped(node.onchain_spendable_sat),
        node_address: match node.listening.first() {
            Some(address) => format!("{}@{address}", node.node_id),
            None => node.node_id.clone(),
        },
        shell: desk.shell(Section::Home).await,
    };
    html(StatusCode::OK, &page)
}
