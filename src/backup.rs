//! The ledger's safety: copies of it that can be proved, and what must not follow from bringing one back.
//!
//! Invariants: a copy is whole and was opened again before it takes its name, and only then does the oldest
//! one go; it can be read with the seed alone; channel state is never in it. A restored ledger never un-spends
//! (MONEY rule 10): beside the ledger lies a witness that says how far it was, and where it is behind
//! that, a new generation begins. A whole directory that was rolled back cannot be told from an honest one.

mod whole;
mod witness;

pub use witness::{OpenFault, Witness, open_ledger};

/// The ledger's file in a network's directory.
pub const LEDGER_FILE: &str = "ledger.db";
