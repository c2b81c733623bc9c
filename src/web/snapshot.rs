//! The channels' recovery snapshot, for whoever takes a copy of it elsewhere.

use std::path::PathBuf;

use http::StatusCode;

use super::{Operator, Problem};

impl Operator {
    /// The newest snapshot that is in place, and the name that a copy of it gets.
    ///
    /// # Errors
    /// When none was written yet.
    pub async fn newest_snapshot(&self) -> Result<(PathBuf, String), Problem> {
        let copies = self.parts.snapshot.borrow().copies.clone();
        let written = copies.into_iter().filter_map(|copy| Some((copy.written_at?, copy.file)));
        let Some((at, file)) = written.max_by_key(|(at, _)| *at) else {
            let detail = "No snapshot of the channels was written yet: there is none to fetch.";
            return Err(Problem::new(StatusCode::NOT_FOUND, "no_snapshot", detail));
        };
        let network = self.parts.node.view().await.network;
        Ok((file, format!("tollhouse-{network}-{}.snapshot", at.secs())))
    }
}
