//! An address to put coins on, with its code for a camera.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::ABOVE;
use crate::qr::{self, Drawn};
use crate::ui::html;
use crate::ui::question::notice;
use crate::ui::shell::{Desk, Section, Shell};

/// An address that is shown.
pub(super) struct Deposit {
    pub(super) address: String,
    pub(super) qr: Option<Drawn>,
}

impl Deposit {
    /// Drawn for a camera.
    pub(super) fn of(address: &str) -> Deposit {
        // Bech32 says the same in capitals; the older forms do not.
        let lowers = address.bytes().all(|byte| !byte.is_ascii_uppercase());
        let qr = match lowers {
            true => qr::in_capitals("bitcoin", address),
            false => qr::drawn(&format!("bitcoin:{address}")),
        };
        Deposit { address: address.to_owned(), qr }
    }
}

#[derive(Template)]
#[template(path = "coins_receive.html")]
struct Page {
    shell: Shell,
    deposit: Deposit,
}

/// `GET /coins/receive`.
pub(in crate::ui) async fn page(desk: Desk) -> Response {
    match desk.op.deposit_address().await {
        Ok(address) => {
            let page = Page { shell: desk.shell(Section::Coins).await, deposit: Deposit::of(&address) };
            html(StatusCode::OK, &page)
        }
        Err(fault) => away(&desk, &fault).await,
    }
}

/// `POST /coins/receive`: another address.
pub(in crate::ui) async fn another(desk: Desk) -> Response {
    match desk.op.another_deposit_address().await {
        Ok(_) => Redirect::to("/coins/receive").into_response(),
        Err(fault) => away(&desk, &fault).await,
    }
}

async fn away(desk: &Desk, fault: &crate::ports::NodeFault) -> Response {
    tracing::warn!(%fault, "no address for a deposit");
    let said = (
        "No address now",
        "The node cannot be asked now, so there is no address to show. Nothing moved. Try again in a minute.",
    );
    let above = (ABOVE.0.to_owned(), ABOVE.1.to_owned());
    notice(desk, Section::Coins, above, StatusCode::SERVICE_UNAVAILABLE, said).await
}
