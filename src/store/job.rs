//! What the writer can be given to do.

use tokio::sync::oneshot;

use super::StoreError;
use super::page::Page;

/// Something to write, and somebody to answer.
pub(super) trait Job: Send {
    /// Writes; what it did is undone when it fails.
    fn write(&mut self, page: &mut Page<'_>) -> Result<(), StoreError>;

    /// Tells the outcome: `Ok` only when the write is on disk.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// Something to write that nobody waits for.
pub(super) trait Owed: Send {
    /// Writes it; may be called again when the transaction came to nothing.
    fn write(&self, page: &mut Page<'_>) -> Result<(), StoreError>;
}

/// A closure as a job.
pub(super) struct Call<T, F> {
    work: Option<F>,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Call<T, F> {
    /// Does `work` and tells `reply` what came of it.
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Call<T, F> {
        Call { work: Some(work), done: None, reply }
    }
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut Page<'_>) -> Result<T, StoreError> + Send,
{
    fn write(&mut self, page: &mut Page<'_>) -> Result<(), StoreError> {
        let work = self.work.take().ok_or(StoreError::Closed)?;
        self.done = Some(work(page)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Call { done, reply, .. } = *self;
        // Whoever stopped waiting does not want to know.
        let _ = reply.send(outcome.and_then(|()| done.ok_or(StoreError::Closed)));
    }
}
