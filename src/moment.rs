//! The moments of a sale, and of a move of coins, at which a crash would matter most, told to whoever listens.
//!
//! Each is a `tracing` event of the lowest level with a target of its own. Nobody listens in an
//! appliance, and then it costs one load and a branch. The crash campaigns listen, and end the process
//! on the spot.

/// The target of the events; the field `moment` is the name.
pub const TARGET: &str = "tollhouse::moment";

macro_rules! moments {
    ($($(#[$doc:meta])* $moment:ident => $name:literal,)*) => {
        /// A moment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Moment { $($(#[$doc])* $moment,)* }

        impl Moment {
            /// All of them.
            pub const ALL: &[Moment] = &[$(Moment::$moment,)*];

            /// Its name in the event.
            pub const fn name(self) -> &'static str {
                match self { $(Moment::$moment => $name,)* }
            }
        }
    };
}

moments! {
    /// The ledger opens: the holds of the last run are resolved, and that is not on disk.
    Resolved => "resolved",
    /// The writer took a batch; nothing of it is written.
    Gathered => "gathered",
    /// The batch is written, and not committed.
    Filled => "filled",
    /// The batch is on disk, and nobody was told.
    Committed => "committed",
    /// Everybody in the batch was told.
    Answered => "answered",
    /// A request's units are reserved; it has not left.
    Reserved => "reserved",
    /// A request is about to leave for the upstream.
    Dispatched => "dispatched",
    /// It is known how a request ended; the ledger was not told.
    Ended => "ended",
    /// The ledger was told how a request ended; that is not on disk.
    Settled => "settled",
    /// A payment is on disk, and the node does not know that.
    Recorded => "recorded",
    /// An operation is on disk; the node was not asked.
    Intended => "intended",
    /// The node answered; what it said is not on disk.
    Asked => "asked",
}

impl Moment {
    /// Whether it belongs to a sale, and not to a move of coins.
    pub const fn is_of_a_sale(self) -> bool {
        !matches!(self, Moment::Intended | Moment::Asked)
    }

    /// Says that it is now.
    pub fn reached(self) {
        tracing::trace!(target: TARGET, moment = self.name());
    }
}
