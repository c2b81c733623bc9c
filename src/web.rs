//! The admin listener's walls: who may call, how they prove it, and what every answer carries.
//!
//! Invariants (THREATS 16, 17): a request for a foreign host or from a foreign page never reaches a
//! handler; passwords, session ids, keys and claim links are stored as hashes and redact themselves;
//! every response has the security headers. `api` and `ui` bring the handlers, `app` the socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use http::StatusCode;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backup::Backups;
use crate::checkout::Checkout;
use crate::clock::{Clock, Entropy};
use crate::custody::Custody;
use crate::egress::Egress;
use crate::inbound::Inbound;
use crate::payments::Outbox;
use crate::ports::{ChainWatch, Coins, Customer, NodeControl, NodeWatch, Peers};
use crate::rates::Rates;
use crate::rescue::Standing;
use crate::secrets::{Epochs, Seed};
use crate::store::Ledger;
use crate::storefront::Storefront;
use crate::treasury::Treasury;
use crate::upkeep::Upkeep;
use crate::vault::Vault;
use crate::watchman::Watchman;
use crate::webhooks::Webhooks;

mod armour;
mod backoff;
mod caller;
mod checklist;
pub mod claim;
mod cold;
mod configuration;
pub mod cookie;
mod deposits;
mod diagnostics;
mod errands;
mod files;
pub mod first_seed;
mod gifts;
mod hosts;
mod key_ask;
pub mod keys;
mod knock;
mod landing;
pub mod locked;
mod log_tail;
mod new_password;
mod page;
pub mod password;
mod price_question;
mod private_file;
mod problem;
mod refusals;
mod sample;
mod scope;
mod seed_desk;
pub mod session;
pub mod sheet;
mod snapshot;
mod system;
mod trial;

pub use armour::Nonce;
pub use caller::{Caller, LoggedIn, MayAdmin, MayIntegrate, MayMeter, MayPay, MayRead, MaySend, MaySpend};
pub use checklist::{Checklist, EXAMPLE, Point, Step};
pub use cold::{no_address, vault_problem};
pub use configuration::{Configuration, SettingLine};
pub use deposits::Deposits;
pub use errands::{ledger_fault, node_fault, treasury_problem};
pub use gifts::{GiftWords, USUAL_LIFE, label};
pub use key_ask::{KeyAsk, KeyWish};
pub use landing::Landing;
pub use log_tail::{LogLine, LogTail};
pub use page::Rows;
pub use price_question::{PriceAsk, PriceTold};
pub use problem::Problem;
pub use refusals::{backup_problem, seed_problem, webhook_problem};
pub use sample::Sample;
pub use seed_desk::{NoAnswer, SeedDesk};
pub use system::{AlarmView, CheckView, FileView, Library, SystemView};
pub use trial::{Answered, TrialAsk};

/// No request to the admin listener needs a larger body.
const LARGEST_BODY_BYTES: usize = 64 * 1_024;
/// More open event streams than this are refused.
const MOST_STREAMS: usize = 64;

/// What the admin listener needs to know of the settings.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Where the admin listener is bound, with the real port.
    pub listen: SocketAddr,
    /// How the operator reaches it, without a slash at the end: `http://127.0.0.1:8403`.
    pub origin: String,
    /// Further host names by which it may be called.
    pub hosts: Vec<String>,
    /// How buyers reach the gateway: `http://127.0.0.1:8402`.
    pub gateway: String,
    /// What the appliance was started with, for a reader.
    pub configuration: Configuration,
}

/// What the admin side works with.
#[derive(Clone)]
pub struct OperatorParts {
    /// The ledger.
    pub ledger: Ledger,
    /// Tells the node's state.
    pub node: Arc<dyn NodeWatch>,
    /// Tells of the chain sources.
    pub chain: Arc<dyn ChainWatch>,
    /// The cold storage that is watched.
    pub vault: Arc<Vault>,
    /// Gives addresses and connects to peers.
    pub control: Arc<dyn NodeControl>,
    /// Sees coins.
    pub coins: Arc<dyn Coins>,
    /// Sees other nodes.
    pub peers: Arc<dyn Peers>,
    /// Moves coins, each time as one recorded operation.
    pub treasury: Treasury,
    /// Quotes, mints, verifies and reserves, for applications that ask.
    pub checkout: Checkout,
    /// Holds that applications took.
    pub custody: Arc<Custody>,
    /// Pays.
    pub outbox: Arc<Outbox>,
    /// Pays out, and keeps the shop able to be paid.
    pub upkeep: Upkeep,
    /// Knows what bitcoin costs in other currencies.
    pub rates: Arc<Rates>,
    /// What is sold.
    pub storefront: Arc<Storefront>,
    /// Copies of the ledger.
    pub backups: Arc<Backups>,
    /// Who opens channels to us.
    pub inbound: Inbound,
    /// How the way back to the channels' coins stands.
    pub snapshot: watch::Receiver<Standing>,
    /// The tokens' master keys.
    pub epochs: Arc<Epochs>,
    /// Knows what is the matter.
    pub watchman: Arc<Watchman>,
    /// The seed, opened.
    pub seed: Arc<Seed>,
    /// Sends events to the operator's endpoints.
    pub webhooks: Arc<Webhooks>,
    /// Asks the gateway as a customer would.
    pub egress: Arc<Egress>,
    /// A wallet that pays for whoever tries the shop out: in the sandbox only.
    pub customer: Option<Arc<dyn Customer>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where tasks are counted.
    pub tracker: TaskTracker,
    /// Ends the event streams.
    pub stop: CancellationToken,
    /// The end of the log.
    pub log: LogTail,
    /// The settings.
    pub config: WebConfig,
}

/// The admin side's state: its parts, the open sessions and the door.
pub struct Operator {
    /// What it works with.
    pub parts: OperatorParts,
    /// Who is logged in.
    pub sessions: session::Sessions,
    /// Checks passwords.
    pub passwords: password::Passwords,
    /// Asks about the seed.
    pub seed: SeedDesk,
    /// Which address is shown for deposits.
    pub deposits: Deposits,
    /// One permit for each open event stream.
    pub streams: Arc<Semaphore>,
    hosts: hosts::HostList,
    claim_file: Mutex<Option<PathBuf>>,
    /// Keys of questions that were answered, the newest last.
    answered: Mutex<VecDeque<String>>,
}

impl Operator {
    /// The state with nobody logged in.
    pub fn new(parts: OperatorParts) -> Arc<Operator> {
        Arc::new(Operator {
            sessions: session::Sessions::new(parts.clock.clone()),
            passwords: password::Passwords::new(parts.clock.clone(), parts.tracker.clone()),
            seed: SeedDesk::new(parts.seed.clone(), parts.clock.clone(), parts.tracker.clone()),
            deposits: Deposits::default(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            hosts: hosts::HostList::new(parts.config.listen, &parts.config.hosts),
            claim_file: Mutex::default(),
            answered: Mutex::default(),
            parts,
        })
    }

    fn set_claim_file(&self, path: PathBuf) {
        *self.claim_file.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }

    fn claim_file(&self) -> Option<PathBuf> {
        self.claim_file.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator")
            .field("config", &self.parts.config)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

/// Puts the walls around `handlers` (the merged routers of `api` and `ui`) and adds the static
/// files; the result is what the admin listener serves.
pub fn finish(handlers: Router<Arc<Operator>>, op: Arc<Operator>) -> Router {
    handlers
        .merge(files::router())
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This address does not answer to that method.",
            )
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .layer(middleware::from_fn_with_state(op.clone(), armour::guard))
        .with_state(op)
}
