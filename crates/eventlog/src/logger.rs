use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::event::Class;
use crate::rotation::RotatingFile;
use crate::{Event, Record, Tail, text};

/// How often the writer looks for events. A caller never has to wake it, which would cost more than
/// all else.
const TURN: Duration = Duration::from_millis(50);
/// How long [`Logger::flush`] waits at most.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is said that events were suppressed, microseconds.
const REPORT_INTERVAL: i64 = 1_000_000;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The binary log's file, appended to. Without one, text goes where [`Logger::new`] is told.
    pub file: Option<PathBuf>,
    /// When the file has so many bytes it becomes `FILE.1`, and that `FILE.2`.
    pub rotate_at: u64,
    /// How many old files are kept.
    pub kept: usize,
    /// Whether events that are frequent are shown as text, too.
    pub is_verbose: bool,
    /// How many bytes of records the [`Tail`] holds.
    pub tail_bytes: usize,
    /// How many bytes of events wait for the writer at most; what comes then is counted, not kept.
    pub queue_bytes: usize,
    /// Tells microseconds since 1970.
    pub clock: fn() -> i64,
}

impl LogOptions {
    /// Returns the options of a log of text, with a clock.
    #[must_use]
    pub const fn new(clock: fn() -> i64) -> Self {
        Self {
            file: None,
            rotate_at: 256 << 20,
            kept: 4,
            is_verbose: false,
            tail_bytes: 4 << 20,
            queue_bytes: 32 << 20,
            clock,
        }
    }
}

/// Where events are told. Clones tell the same log.
#[derive(Clone, Debug)]
pub struct Logger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// The writer is wanted at once.
    wake: Condvar,
    /// The writer wrote all that it found.
    written: Condvar,
    tail: Tail,
    /// How many events are in no file.
    dropped: AtomicU64,
    queue_bytes: usize,
    clock: fn() -> i64,
}

#[derive(Debug, Default)]
struct Queue {
    events: Vec<(i64, Event)>,
    bytes: usize,
    dropped: u64,
    limits: Vec<Limit>,
    is_closed: bool,
    /// How often a flush was asked for, and done.
    flushes: u64,
    flushed: u64,
}

/// Says how often a kind of event may still be.
#[derive(Clone, Debug, Default)]
struct Limit {
    /// When the next event is due if all came evenly, microseconds.
    due: i64,
    suppressed: u64,
    reported: i64,
}

impl Limit {
    fn allows(&mut self, class: Class, now: i64) -> bool {
        let (interval, burst) = match class {
            Class::Peer => (50_000, 200),
            Class::Often => (10_000, 1_000),
            Class::Rare | Class::Told | Class::Trace => return true,
        };
        // A clock that was set back keeps nothing out.
        let ahead = interval * burst;
        let due = self.due.clamp(now, now.saturating_add(ahead));
        let is_allowed = due < now.saturating_add(ahead);
        self.due = if is_allowed { due + interval } else { due };
        self.suppressed += u64::from(!is_allowed);
        is_allowed
    }
}

impl Default for Logger {
    /// A log that keeps nothing.
    fn default() -> Self {
        let (logger, _) = open(&LogOptions { queue_bytes: 0, ..LogOptions::new(|| 0) });
        logger
    }
}

fn open(options: &LogOptions) -> (Logger, Tail) {
    let tail = Tail::new(options.tail_bytes);
    let queue = Queue { limits: vec![Limit::default(); Event::SHAPES.len()], ..Queue::default() };
    let shared = Shared {
        queue: Mutex::new(queue),
        wake: Condvar::new(),
        written: Condvar::new(),
        tail: tail.clone(),
        dropped: AtomicU64::new(0),
        queue_bytes: options.queue_bytes,
        clock: options.clock,
    };
    (Logger(Arc::new(shared)), tail)
}

impl Logger {
    /// Opens a log: its writer is to be run on a thread of its own. Text goes to `terminal`, where
    /// there is no file.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn new(
        options: LogOptions,
        terminal: Box<dyn Write + Send>,
    ) -> io::Result<(Self, LogWriter)> {
        let (logger, tail) = open(&options);
        let sink = match options.file {
            Some(path) => Sink::File(RotatingFile::open(path, options.rotate_at, options.kept)?),
            None => Sink::Text { out: terminal, is_verbose: options.is_verbose },
        };
        let writer = LogWriter { shared: Arc::clone(&logger.0), sink, tail, out: Vec::new() };
        Ok((logger, writer))
    }

    /// Tells an event. It costs what it takes to put it into a list.
    pub fn log(&self, event: Event) {
        let now = (self.0.clock)();
        let class = event.shape().class;
        let mut queue = self.queue();
        if !queue.limits[event.kind()].allows(class, now) {
            return;
        }
        let size = event.size();
        if self.0.queue_bytes < queue.bytes + size {
            queue.dropped += 1;
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += size;
        queue.events.push((now, event));
    }

    /// Returns how many events could not be written, of all that were told.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Returns the microseconds since 1970, as the log has them.
    #[must_use]
    pub fn now(&self) -> i64 {
        (self.0.clock)()
    }

    /// Returns the newest records.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.0.tail.clone()
    }

    /// Waits until all that was told is written, two seconds at most.
    pub fn flush(&self) {
        let mut queue = self.queue();
        queue.flushes += 1;
        let wanted = queue.flushes;
        self.0.wake.notify_all();
        let is_waiting = |queue: &mut Queue| queue.flushed < wanted;
        // Who is too late is too late.
        let _ = self.0.written.wait_timeout_while(queue, FLUSH_TIMEOUT, is_waiting);
    }

    /// Has the writer end when all is written.
    pub fn close(&self) {
        self.queue().is_closed = true;
        self.0.wake.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end of a [`Logger`].
pub struct LogWriter {
    shared: Arc<Shared>,
    sink: Sink,
    tail: Tail,
    out: Vec<u8>,
}

enum Sink {
    File(RotatingFile),
    Text { out: Box<dyn Write + Send>, is_verbose: bool },
}

impl LogWriter {
    /// Writes what is told until the log is closed. While the file cannot be written, records are
    /// lost, and their number is told when it can be again.
    ///
    /// # Errors
    /// The last one, if the file could not be written at the end.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::new();
        let mut lost = 0;
        loop {
            let (dropped, is_closed, flushes) = self.take(&mut events);
            let now = (self.shared.clock)();
            if lost + dropped > 0 {
                events.push((now, Event::Dropped { count: lost + dropped }));
            }
            let result = self.write(&events);
            if result.is_err() {
                self.shared.dropped.fetch_add(events.len() as u64, Ordering::Relaxed);
            }
            lost = if result.is_ok() { 0 } else { lost + dropped + events.len() as u64 };
            events.clear();
            let logger = Logger(Arc::clone(&self.shared));
            logger.queue().flushed = flushes;
            self.shared.written.notify_all();
            if is_closed {
                return result;
            }
        }
    }

    /// Waits for a turn, and takes all that was told meanwhile.
    fn take(&self, events: &mut Vec<(i64, Event)>) -> (u64, bool, u64) {
        let logger = Logger(Arc::clone(&self.shared));
        let queue = logger.queue();
        let is_idle = |queue: &mut Queue| !queue.is_closed && queue.flushes == queue.flushed;
        let waited = self.shared.wake.wait_timeout_while(queue, TURN, is_idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut queue.events, events);
        queue.bytes = 0;
        let now = (self.shared.clock)();
        let is_closed = queue.is_closed;
        for (limit, shape) in queue.limits.iter_mut().zip(Event::SHAPES) {
            let is_due =
                is_closed || now < limit.reported || limit.reported + REPORT_INTERVAL < now;
            if limit.suppressed > 0 && is_due {
                limit.reported = now;
                let count = std::mem::take(&mut limit.suppressed);
                let (facility, name) = (shape.facility, shape.name);
                events.push((now, Event::Suppressed { facility, name, count }));
            }
        }
        (std::mem::take(&mut queue.dropped), queue.is_closed, queue.flushes)
    }

    fn write(&mut self, events: &[(i64, Event)]) -> io::Result<()> {
        let mut result = Ok(());
        for (time, event) in events {
            self.out.clear();
            event.encode(*time, &mut self.out);
            self.tail.push(&self.out[8..]);
            result = result.and(match &mut self.sink {
                Sink::File(file) => file.write(&self.out),
                Sink::Text { is_verbose, .. }
                    if match event.shape().class {
                        Class::Told => true,
                        class => class == Class::Often && !*is_verbose,
                    } =>
                {
                    Ok(())
                }
                Sink::Text { out, .. } => match Record::decode(&self.out[8..]) {
                    Ok(record) => writeln!(out, "{}", text::line(&record, false)),
                    Err(_) => Ok(()),
                },
            });
        }
        if !events.is_empty() {
            self.tail.notify();
        }
        result.and(match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::Text { out, .. } => out.flush(),
        })
    }
}
