//! Faults that a test puts into a ledger on purpose, to show that its harness would find them.
//!
//! [`Ledger::open_flawed`](super::Ledger::open_flawed) is the only way in and no command takes it; a
//! build without debug assertions is without flaw whatever it is asked.

/// A fault of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// As it should be.
    #[default]
    None,
    /// A commit does not wait for the disk.
    NeverSyncs,
    /// Callers are answered before their commit, which comes with the next batch.
    AnswersFirst,
    /// A start leaves the holds of a crash as they are.
    ForgetsHolds,
    /// A delivered request is charged twice when the token has enough left.
    ChargesTwice,
    /// Limits that holders put into their tokens are not counted.
    CountsNoLimits,
}

impl Flaw {
    /// All of them, [`Flaw::None`] first.
    pub const ALL: [Flaw; 6] = [
        Flaw::None,
        Flaw::NeverSyncs,
        Flaw::AnswersFirst,
        Flaw::ForgetsHolds,
        Flaw::ChargesTwice,
        Flaw::CountsNoLimits,
    ];

    /// A name to hand to another process.
    pub const fn code(self) -> &'static str {
        match self {
            Flaw::None => "none",
            Flaw::NeverSyncs => "never_syncs",
            Flaw::AnswersFirst => "answers_first",
            Flaw::ForgetsHolds => "forgets_holds",
            Flaw::ChargesTwice => "charges_twice",
            Flaw::CountsNoLimits => "counts_no_limits",
        }
    }

    /// The flaw of this name.
    pub fn of(code: &str) -> Option<Flaw> {
        Flaw::ALL.into_iter().find(|flaw| flaw.code() == code)
    }

    /// Whether the ledger has `this` flaw.
    pub(super) fn is(self, this: Flaw) -> bool {
        cfg!(debug_assertions) && self == this
    }
}

#[cfg(test)]
impl super::Ledger {
    /// From now on, or no more, the disk refuses what sets a row of a table as `when` says: `(table, when)`.
    pub(crate) async fn fail_where(&self, what: Option<(&str, &str)>) {
        // What changes no row is not committed.
        let drop = "UPDATE mark SET value = value; DROP TRIGGER IF EXISTS fails;".to_owned();
        let sql = what.map_or(drop.clone(), |(table, when)| {
            format!(
                "{drop} CREATE TRIGGER fails BEFORE UPDATE ON {table} WHEN {when}
                 BEGIN SELECT RAISE(ABORT, 'no disk'); END;"
            )
        });
        let work = move |page: &mut super::page::Page<'_>| Ok(page.connection.execute_batch(&sql)?);
        self.0.writer.call(work).await.expect("the trigger is made");
    }
}
