use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caesure_consensus::HeaderTree;
use caesure_ledger::World;
use caesure_wire::BlockHash;
use rhai::{Dynamic, EvalAltResult};

use crate::help::plain;
use crate::values::Name;
use crate::{Limits, Source};

/// What a function of the prompt returns.
pub(crate) type Res<T> = Result<T, Box<EvalAltResult>>;

/// An error of the prompt, from anything that can be said.
pub(crate) fn fail<T>(why: impl fmt::Display) -> Res<T> {
    Err(why.to_string().into())
}

/// Turns any error into one of the prompt.
pub(crate) fn told(why: impl fmt::Display) -> Box<EvalAltResult> {
    why.to_string().into()
}

/// What all functions of a session share.
pub(crate) struct Context {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) limits: Limits,
    pub(crate) interrupt: Arc<AtomicBool>,
    /// The world that the line reads, and whether it stays for the next.
    pin: Mutex<(World, bool)>,
    /// What was done outside the interpreter, in operations.
    native: AtomicU64,
    /// How often variables were used.
    pub(crate) accesses: AtomicU64,
    /// When the line ends at the latest, in milliseconds of the source's clock.
    deadline: AtomicU64,
    /// The bytes that values hold.
    held: Arc<AtomicUsize>,
    output: Mutex<String>,
}

/// Bytes that a value holds, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Relaxed);
    }
}

impl Context {
    pub(crate) fn new(source: Arc<dyn Source>, limits: Limits, interrupt: Arc<AtomicBool>) -> Self {
        let pin = Mutex::new((source.worlds().tip(), false));
        Self {
            source,
            limits,
            interrupt,
            pin,
            native: AtomicU64::new(0),
            accesses: AtomicU64::new(0),
            deadline: AtomicU64::new(u64::MAX),
            held: Arc::default(),
            output: Mutex::default(),
        }
    }

    /// Begins a line: the tip of now is read, unless another world was asked for.
    pub(crate) fn begin(&self) {
        let mut pin = lock(&self.pin);
        if !pin.1 {
            pin.0 = self.source.worlds().tip();
        }
        self.native.store(0, Relaxed);
        self.deadline.store(millis(self.source.now().mono + self.limits.time), Relaxed);
    }

    /// The world that the line reads.
    pub(crate) fn world(&self) -> World {
        lock(&self.pin).0.clone()
    }

    pub(crate) fn is_pinned(&self) -> bool {
        lock(&self.pin).1
    }

    /// Has this line and the next read a world, or the tip again.
    pub(crate) fn pin(&self, world: Option<World>) {
        let is_fixed = world.is_some();
        *lock(&self.pin) = (world.unwrap_or_else(|| self.source.worlds().tip()), is_fixed);
    }

    /// Counts what was done outside the interpreter.
    pub(crate) fn work(&self, operations: u64) -> Res<()> {
        let done = self.native.fetch_add(operations, Relaxed) + operations;
        match self.over(done, true) {
            Some(why) => Err(EvalAltResult::ErrorTerminated(why, rhai::Position::NONE).into()),
            None => Ok(()),
        }
    }

    /// Why the line must end, if it must. Seldom enough, the clock is asked too.
    pub(crate) fn over(&self, operations: u64, asks_clock: bool) -> Option<Dynamic> {
        let why = if self.interrupt.load(Relaxed) {
            "interrupted".to_owned()
        } else if self.limits.operations < operations {
            format!("more than {} operations; ask for less at a time", self.limits.operations)
        } else if self.limits.output < lock(&self.output).len() {
            format!("more than {} bytes printed", self.limits.output)
        } else if asks_clock && self.deadline.load(Relaxed) < millis(self.source.now().mono) {
            format!("longer than {} s; ask for less at a time", self.limits.time.as_secs())
        } else {
            return None;
        };
        Some(why.into())
    }

    /// Counts bytes that a value is to hold.
    pub(crate) fn charge(&self, bytes: usize) -> Res<Charge> {
        let held = Arc::clone(&self.held);
        let all = held.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let charge = Charge { held, bytes };
        if self.limits.blocks < all {
            let limit = self.limits.blocks;
            return fail(format!(
                "blocks and transactions of over {limit} bytes are held; keep fewer"
            ));
        }
        Ok(charge)
    }

    pub(crate) fn print(&self, line: impl fmt::Display) {
        let mut output = lock(&self.output);
        if output.len() <= self.limits.output {
            let _ = writeln!(output, "{line}");
        }
    }

    pub(crate) fn take_output(&self) -> String {
        std::mem::take(&mut *lock(&self.output))
    }

    /// Looks into the tree of headers.
    pub(crate) fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&HeaderTree) -> T + Send + 'static,
    ) -> Res<T> {
        self.source.look(look).map_err(told)
    }

    /// Finds a block as people name it: by hash, by height on the branch that the line reads, as
    /// `tip-N`, or by a value that has one.
    pub(crate) fn find(&self, named: &Dynamic) -> Res<(BlockHash, u32)> {
        let text = match named.clone().try_cast::<Name>() {
            Some(name) => name.to_hex(),
            None if named.is_int() || named.is_string() => named.to_string(),
            None => match crate::values::block_of(named) {
                Some(hash) => hash.to_string(),
                None => {
                    return fail(format!(
                        "a block is named by height, hash or tip-N, not by ({})",
                        plain(named.type_name())
                    ));
                }
            },
        };
        let hash = self.world().info().hash;
        let (name, text) = (text.trim().to_owned(), text.clone());
        let found = self.look(move |tree| {
            let id = tree.find(&hash).and_then(|tip| tree.find_named(&name, tip))?;
            Some((tree.hash(id), tree.height(id)))
        })?;
        let tip = self.world().info().height;
        found.ok_or_else(|| {
            told(format!("there is no block {text}; the tip read is at height {tip}"))
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
