//! What requests in shadow mode would have been charged: counted in memory, written with the next
//! transaction or a little later. A crash may lose the last counts; nobody is owed anything for them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hours::{Hour, Sums};
use super::page::Page;
use super::rows::name_id;
use super::totals::count;
use super::{Ledger, StoreError};
use crate::types::{Msat, Name};

/// Routes that are counted between two writes; more than anybody has.
const ROUTES: usize = 4_096;

/// Counts that wait to be written.
#[derive(Default)]
pub(super) struct Shadow {
    waiting: Mutex<HashMap<(Name, Name), (u64, u64)>>,
}

impl Shadow {
    fn waiting(&self) -> MutexGuard<'_, HashMap<(Name, Name), (u64, u64)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Moves what waits to the page's sums; it is gone when the page comes to nothing.
    pub(super) fn count(&self, page: &mut Page<'_>) -> Result<(), StoreError> {
        let counts = std::mem::take(&mut *self.waiting());
        for ((service, route), (calls, would_be)) in counts {
            let (service, route) = (name_id(page.connection, &service)?, name_id(page.connection, &route)?);
            let sums = Sums { shadow_calls: count(calls), shadow_msat: count(would_be), ..Sums::default() };
            page.hours.push((Hour::at(page.now, service, route), sums));
        }
        Ok(())
    }
}

impl Ledger {
    /// Counts a request that passed in shadow mode, and what it would have been charged. Returns at
    /// once; the count is in the reports soon, or lost by a crash.
    pub fn count_shadow(&self, service: &Name, route: &Name, would_be: Msat) {
        let mut waiting = self.0.shadow.waiting();
        let key = (service.clone(), route.clone());
        if waiting.len() >= ROUTES && !waiting.contains_key(&key) {
            return;
        }
        let (calls, sum) = waiting.entry(key).or_default();
        *calls = calls.saturating_add(1);
        *sum = sum.saturating_add(would_be.msat());
    }
}
