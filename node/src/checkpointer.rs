use std::thread::{self, JoinHandle};
use std::time::Instant;

use caesure_ledger::{Checkpoint, Checkpointed, Error};

use crate::clock;

/// Writes checkpoints on a thread of its own, one at a time, while blocks go on.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    thread: Option<JoinHandle<Result<Checkpointed, Error>>>,
    began: Option<Instant>,
}

impl Checkpointer {
    pub(crate) fn start(&mut self, checkpoint: Checkpoint) {
        #[expect(clippy::disallowed_methods, reason = "a disk may take its time")]
        let thread = thread::spawn(move || checkpoint.write());
        (self.thread, self.began) = (Some(thread), Some(clock::instant()));
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// How long ago the last one was begun.
    pub(crate) fn millis(&self) -> u64 {
        self.began.map_or(0, clock::millis_since)
    }

    /// Takes a checkpoint that is written.
    pub(crate) fn take(&mut self) -> Option<Result<Checkpointed, Error>> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { self.wait() } else { None }
    }

    /// Waits for the checkpoint that is being written.
    pub(crate) fn wait(&mut self) -> Option<Result<Checkpointed, Error>> {
        let written = self.thread.take()?.join();
        Some(written.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}
