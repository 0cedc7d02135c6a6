use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Record, text};

/// A record that takes more than this is in the file alone.
const MAX_ENTRY: usize = 16 << 10;

/// The newest records, in memory. Clones show the same.
#[derive(Clone, Debug)]
pub struct Tail(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    grown: Condvar,
}

#[derive(Debug)]
struct Ring {
    /// Records without magic and length, the oldest first.
    records: VecDeque<Box<[u8]>>,
    bytes: usize,
    max_bytes: usize,
    /// The number of the record that comes next.
    next: u64,
}

/// A record of the [`Tail`].
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number: they are counted from 0 since the program began.
    pub sequence: u64,
    /// The record.
    pub record: Record,
}

/// What came since a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// The records, the oldest first.
    pub entries: Vec<Entry>,
    /// How many are no longer held, of those that came before the entries.
    pub lost: u64,
    /// What to ask with the next time.
    pub next: u64,
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of these facilities, all where this is empty.
    pub facilities: Vec<String>,
    /// Those whose text has this in it, all where this is empty.
    pub contains: String,
}

impl Filter {
    /// Returns whether a record is wanted.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        let is_of = self.facilities.is_empty()
            || self.facilities.iter().any(|facility| facility == record.facility());
        is_of
            && (self.contains.is_empty()
                || text::items(&record.items, true).contains(&self.contains))
    }
}

impl Tail {
    /// Makes an empty one that holds up to so many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let ring = Ring { records: VecDeque::new(), bytes: 0, max_bytes, next: 0 };
        Self(Arc::new(Shared { ring: Mutex::new(ring), grown: Condvar::new() }))
    }

    /// Returns the newest records that are wanted, at most `count`, the oldest first.
    #[must_use]
    pub fn last(&self, count: usize, filter: &Filter) -> Vec<Entry> {
        let ring = self.ring();
        let mut entries: Vec<Entry> = (0..ring.records.len())
            .rev()
            .filter_map(|i| ring.entry(i, filter))
            .take(count)
            .collect();
        entries.reverse();
        entries
    }

    /// Returns the records from a number on that are wanted, at most `count`.
    #[must_use]
    pub fn since(&self, sequence: u64, count: usize, filter: &Filter) -> News {
        let ring = self.ring();
        let oldest = ring.oldest();
        let first = sequence.clamp(oldest, ring.next);
        let mut news =
            News { lost: oldest.saturating_sub(sequence), next: first, ..News::default() };
        let begin = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        for i in begin..ring.records.len() {
            if news.entries.len() >= count {
                break;
            }
            news.entries.extend(ring.entry(i, filter));
            news.next += 1;
        }
        news
    }

    /// Returns the number of the record that comes next.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.ring().next
    }

    /// Waits until there is a record of that number, or for so long; returns whether there is.
    #[must_use]
    pub fn wait(&self, sequence: u64, timeout: Duration) -> bool {
        let is_missing = |ring: &mut Ring| ring.next <= sequence;
        let waited = self.0.grown.wait_timeout_while(self.ring(), timeout, is_missing);
        waited.unwrap_or_else(PoisonError::into_inner).0.next > sequence
    }

    /// Takes a record without magic and length.
    pub(crate) fn push(&self, record: &[u8]) {
        if record.len() > MAX_ENTRY {
            return;
        }
        let mut ring = self.ring();
        ring.bytes += cost(record);
        ring.records.push_back(record.into());
        ring.next += 1;
        while ring.max_bytes < ring.bytes
            && let Some(oldest) = ring.records.pop_front()
        {
            ring.bytes -= cost(&oldest);
        }
    }

    /// Wakes those who wait.
    pub(crate) fn notify(&self) {
        self.0.grown.notify_all();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn oldest(&self) -> u64 {
        self.next - self.records.len() as u64
    }

    fn entry(&self, i: usize, filter: &Filter) -> Option<Entry> {
        let record = Record::decode(&self.records[i]).ok()?;
        let sequence = self.oldest() + i as u64;
        filter.matches(&record).then_some(Entry { sequence, record })
    }
}

const fn cost(record: &[u8]) -> usize {
    record.len() + size_of::<Box<[u8]>>()
}
