//! What every page of the operator's has around it: where one is, and where one can go.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;

use crate::web::{LoggedIn, Nonce, Operator};

/// A page that the navigation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Home,
    Revenue,
}

/// One entry of the navigation.
pub(super) struct Entry {
    section: Section,
    /// Its address.
    pub(super) path: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// How it is drawn: the `d` of an SVG path in a square of 24.
    pub(super) drawn: &'static str,
    /// A phone shows it at once; the others are behind "More".
    pub(super) first: bool,
}

const ENTRIES: &[Entry] = &[
    Entry {
        section: Section::Home,
        path: "/",
        name: "Home",
        drawn: "M4 11.5 12 5l8 6.5M6.5 9.5V19h11V9.5",
        first: true,
    },
    Entry {
        section: Section::Revenue,
        path: "/revenue",
        name: "Revenue",
        drawn: "M4 20h16M7 16v-4M12 16V5M17 16V9",
        first: true,
    },
];

/// The frame of one page.
pub(super) struct Shell {
    here: Section,
    /// The network, `mainnet` too.
    pub(super) network: String,
    /// Lets the page's own script run.
    pub(super) nonce: Nonce,
    /// Where customers' requests arrive.
    pub(super) gateway: String,
    /// The program's version.
    pub(super) version: &'static str,
}

impl Shell {
    /// Everything that the navigation names.
    pub(super) fn entries(&self) -> &'static [Entry] {
        ENTRIES
    }

    /// Whether `entry` is this page, or one above it.
    pub(super) fn is_here(&self, entry: &Entry) -> bool {
        entry.section == self.here
    }
}

/// A person who is logged in asks for a page.
pub(super) struct Desk {
    /// The admin side.
    pub(super) op: Arc<Operator>,
    nonce: Nonce,
}

impl Desk {
    /// The frame for a page of `here`.
    pub(super) async fn shell(&self, here: Section) -> Shell {
        Shell {
            here,
            network: self.op.parts.node.view().await.network,
            nonce: self.nonce.clone(),
            gateway: self.op.parts.config.gateway.clone(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl FromRequestParts<Arc<Operator>> for Desk {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<Desk, Response> {
        LoggedIn::from_request_parts(parts, op).await?;
        let nonce = parts.extensions.get::<Nonce>().cloned().ok_or_else(super::entry::failure)?;
        Ok(Desk { op: Arc::clone(op), nonce })
    }
}
