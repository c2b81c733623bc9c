//! What every page of the operator's has around it: where one is, and where one can go.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;

use super::figures::network_word;
use crate::web::session::{SessionId, Visit};
use crate::web::{Caller, LoggedIn, Nonce, Operator, cookie};

/// A page that the navigation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Home,
    Revenue,
    Services,
    Tokens,
    Lightning,
    Coins,
    Activity,
    Integrations,
    Backup,
    System,
}

impl Section {
    /// The one that an address belongs to; Home, where none claims it.
    pub(super) fn of(path: &str) -> Section {
        if path == "/start/service" {
            return Section::Services;
        }
        let within = |entry: &&Entry| {
            path.strip_prefix(entry.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        ENTRIES
            .iter()
            .filter(|entry| entry.path != "/")
            .find(within)
            .map_or(Section::Home, |entry| entry.section)
    }
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
    Entry {
        section: Section::Services,
        path: "/services",
        name: "Services",
        drawn: "M5 5h14v6H5zM5 15h14v4H5z",
        first: true,
    },
    Entry {
        section: Section::Lightning,
        path: "/lightning",
        name: "Lightning",
        drawn: "M13 3 5 14h6l-1 7 8-11h-6z",
        first: true,
    },
    Entry {
        section: Section::Tokens,
        path: "/tokens",
        name: "Tokens",
        drawn: "M4 7h16v4a1.5 1.5 0 0 0 0 3v3H4v-3a1.5 1.5 0 0 0 0-3zM14 7v10",
        first: false,
    },
    Entry {
        section: Section::Coins,
        path: "/coins",
        name: "On-chain & vault",
        drawn: "M5 8h14v11H5zM8 8V6a4 4 0 0 1 8 0v2M12 12v3",
        first: false,
    },
    Entry {
        section: Section::Activity,
        path: "/activity",
        name: "Activity",
        drawn: "M4 12h4l3-7 3 14 3-7h3",
        first: false,
    },
    Entry {
        section: Section::Integrations,
        path: "/integrations",
        name: "Integrations",
        drawn: "M9 4v5M15 4v5M6 9h12v3a6 6 0 0 1-12 0zM12 18v3",
        first: false,
    },
    Entry {
        section: Section::Backup,
        path: "/backup",
        name: "Backup & recovery",
        drawn: "M12 3l7 3v6c0 4-3 7-7 9-4-2-7-5-7-9V6z",
        first: false,
    },
    Entry {
        section: Section::System,
        path: "/system",
        name: "System",
        drawn: "M4 5h16v11H4zM9 20h6M12 16v4",
        first: false,
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

    /// Whether this page is behind "More" on a phone.
    pub(super) fn is_behind(&self) -> bool {
        ENTRIES.iter().any(|entry| !entry.first && self.is_here(entry))
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
    pub(super) visit: Visit,
    session: Option<SessionId>,
}

impl Desk {
    /// Whether the password was said lately enough to move coins and make keys.
    pub(super) fn proven(&self) -> bool {
        self.visit.proven
    }

    /// Who asks.
    pub(super) fn caller(&self) -> Caller {
        Caller::Session(self.visit.clone())
    }

    /// The session that asks.
    pub(super) fn own_session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    /// The password was said just now.
    pub(super) fn say_proven(&self) {
        if let Some(session) = &self.session {
            self.op.sessions.prove(session);
        }
    }

    /// The frame for a page of `here`.
    pub(super) async fn shell(&self, here: Section) -> Shell {
        Shell {
            here,
            network: network_word(&self.op.parts.node.view().await.network).to_owned(),
            nonce: self.nonce.clone(),
            gateway: self.op.parts.config.gateway.clone(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl FromRequestParts<Arc<Operator>> for Desk {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<Desk, Response> {
        let LoggedIn(visit) = LoggedIn::from_request_parts(parts, op).await?;
        let session = cookie::presented(&op.parts.config, &parts.headers);
        let nonce = parts.extensions.get::<Nonce>().cloned().ok_or_else(super::entry::failure)?;
        Ok(Desk { op: Arc::clone(op), nonce, visit, session })
    }
}
