use std::thread::{self, JoinHandle};

use caesure_ledger::{Checkpoint, Checkpointed, Error};

/// Writes checkpoints on a thread of its own, one at a time, while blocks go on.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer(Option<JoinHandle<Result<Checkpointed, Error>>>);

impl Checkpointer {
    pub(crate) fn start(&mut self, checkpoint: Checkpoint) {
        #[expect(clippy::disallowed_methods, reason = "a disk may take its time")]
        let thread = thread::spawn(move || checkpoint.write());
        self.0 = Some(thread);
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Takes a checkpoint that is written.
    pub(crate) fn take(&mut self) -> Option<Result<Checkpointed, Error>> {
        if self.0.as_ref().is_some_and(JoinHandle::is_finished) { self.wait() } else { None }
    }

    /// Waits for the checkpoint that is being written.
    pub(crate) fn wait(&mut self) -> Option<Result<Checkpointed, Error>> {
        let written = self.0.take()?.join();
        Some(written.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}
