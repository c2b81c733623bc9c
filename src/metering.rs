//! From a permit to a [`Hold`] to how it ended: reserve, then settle or release.
//!
//! Invariants: a `Hold` exists only when the debit of its unit is on disk; it ends exactly once,
//! and when it is dropped it ends as what it then is. The reservation inside owns its place in the
//! ledger's queue, so that ending it needs neither waiting nor luck (MONEY rule 8). There is no
//! `.await` between the ledger's answer and the `Hold`: a request that is dropped before has no
//! answer, and then the ledger releases.
//!
//! What is drawn from a balance may be metered: the most that a request can cost is held before it,
//! what its answer turns out to cost is charged after it, and the rest is released. A [`MeteredBody`]
//! looks at the cost before anything passes, so that no more is handed down than what is held pays
//! for.
//!
//! An answer that its client may ask for again is kept by [`Replays`].

mod body;
mod capture;
mod due;
mod fare;
mod flow;
mod grpc;
mod hold;
mod replay;
mod shadow;
mod sse;
mod tally;

pub use body::{Behind, MeteredBody, StreamFault, TRAILERS, X_TOLLHOUSE_LEFT};
pub use due::Bill;
pub use fare::{Closing, Fare, Through};
pub use grpc::{GRPC_STATUS, grpc_failure};
pub use hold::{Hold, Receipt};
pub use replay::{KeptAnswer, Recording, RecordingLight, ReplayKey, ReplayLimits, Replays};
pub use shadow::{ShadowBody, Shadowed};
pub use tally::TooDear;
