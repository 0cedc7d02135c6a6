//! A process of a test: it ends with the test, however that ends, and is not waited for without end.
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, ExitStatus, Output};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits until something is so, [`LONG`] at most.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let step = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while !is_so() {
        assert!(waited < LONG, "waited in vain: {what}");
        thread::sleep(step);
        waited += step;
    }
}

/// A process that is killed when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Waits until it has ended by itself.
    pub(crate) fn status(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until it has ended by itself, and returns what it has written to pipes.
    pub(crate) fn output(mut self) -> Output {
        drop(self.stdin.take());
        let [stdout, stderr] = [read(self.stdout.take()), read(self.stderr.take())];
        let status = self.status();
        Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
    }
}

/// Reads a pipe on a thread of its own: who writes to two waits for neither.
#[expect(clippy::disallowed_methods, reason = "it ends with the pipe")]
fn read(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.map(|mut pipe| pipe.read_to_end(&mut bytes).unwrap());
        bytes
    })
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
