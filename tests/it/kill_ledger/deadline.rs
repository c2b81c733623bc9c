//! Ends the child at a named moment, as a kill would: nothing is flushed, nothing is undone.

use std::sync::atomic::{AtomicU64, Ordering};

use tollhouse::moment::{Moment, TARGET};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The so-manieth time that a moment comes, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) moment: Moment,
    pub(crate) time: u64,
}

impl Deadline {
    /// As text for another process.
    pub(crate) fn told(self) -> String {
        format!("{}:{}", self.moment.name(), self.time)
    }

    /// Reads that.
    fn read(text: &str) -> Option<Deadline> {
        let (name, time) = text.split_once(':')?;
        let moment = Moment::ALL.iter().copied().find(|moment| moment.name() == name)?;
        Some(Deadline { moment, time: time.parse().ok()? })
    }

    /// From here on this process dies at the deadline that `text` tells.
    pub(crate) fn set(text: &str) {
        let Deadline { moment, time } = Deadline::read(text).expect("a deadline");
        let listener = Listener { name: moment.name(), left: AtomicU64::new(time) };
        tracing::subscriber::set_global_default(listener).expect("nobody else listens in the child");
    }
}

struct Listener {
    name: &'static str,
    left: AtomicU64,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        let mut heard = Heard { name: self.name, now: false };
        event.record(&mut heard);
        if heard.now && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Heard {
    name: &'static str,
    now: bool,
}

impl Visit for Heard {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, _: &Field, value: &str) {
        self.now = value == self.name;
    }
}
