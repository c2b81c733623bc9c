//! Keeps what is in memory there: no core dumps, and no other process of the same user reads it (THREATS 17, 22).

use rustix::process::{Resource, Rlimit, setrlimit};

use super::warn;

/// Takes away what would write this process's memory somewhere. A system that refuses is told about.
pub(super) fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn(format!("warning: core dumps could not be turned off: {error}"));
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        warn(format!("warning: this process's memory could not be closed to others: {error}"));
    }
}
