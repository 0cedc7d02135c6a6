//! How a ledger is made again from its files: the last checkpoint, and what the log says since.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use caesure_consensus::Params;
use caesure_wire::{BlockHash, Reader};

use crate::checkpoint::{self, Trailer};
use crate::disk::Disk;
use crate::log::{BlockHead, FILE_HEAD, Kind, Log, NO_RECORD, Record, read_info};
use crate::shared::{Extras, Shared};
use crate::table::{Key, Place, Source};
use crate::window::Entry;
use crate::{BATCH, BlockInfo, Error, IsStored, Ledger, Options, secret};

/// What [`Ledger::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Whether it began with a checkpoint, not with the log alone.
    pub had_checkpoint: bool,
    /// Blocks that were redone from the log.
    pub replayed: u64,
    /// Bytes at the log's end that are no whole record, or of an unfinished snapshot.
    pub torn_bytes: u64,
    /// Whether blocks of the ledger are not stored any more, so that it stepped back.
    pub stepped_back: bool,
    /// A damaged file and the place of the damage, if what it said was made anew from the log.
    pub damaged: Option<(PathBuf, u64)>,
}

/// The ledger's files in a folder: the log, and the checkpoint.
pub(crate) fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("ledger.log"), folder.join("ledger.table"))
}

impl Ledger {
    /// Opens the ledger of a folder: takes the checkpoint and redoes what the log says since.
    ///
    /// A writer (`is_writer`) makes missing files and cuts a torn tail; a reader changes nothing.
    ///
    /// # Errors
    /// When a file cannot be read, is damaged beyond what can be made anew, or belongs to another
    /// network or version.
    ///
    /// # Panics
    /// When another process takes the files away meanwhile.
    pub fn open(
        folder: &Path,
        params: &Params,
        genesis: BlockInfo,
        options: Options,
        is_writer: bool,
        is_stored: IsStored<'_>,
    ) -> Result<(Self, OpenReport), Error> {
        let (log_path, table_path) = paths(folder);
        let disk = Disk(options.watch.clone());
        let mut report = OpenReport::default();
        // The table first: a writer may replace it meanwhile by one that needs a longer log.
        let saved = match checkpoint::read(&table_path, params.magic) {
            Err(Error::Damaged { path, offset }) => {
                report.damaged = Some((path, offset));
                None
            }
            saved => saved?,
        };
        let log = match Log::open(log_path, params.magic, secret(), disk.clone(), is_writer) {
            Err(Error::Damaged { path, offset }) if is_writer => {
                // Its head is damaged: nothing in it can be told. All is validated again.
                disk.remove(&path)?;
                report.damaged = Some((path.clone(), offset));
                Log::open(path, params.magic, secret(), disk.clone(), true)?
            }
            opened => opened?,
        };
        let Some(log) = log else {
            return Ok((Self::in_memory(genesis, options.horizon), report));
        };
        let saved = saved.filter(|(trailer, _)| belongs(trailer, &log));
        // A reader leaves the folder alone, for files without a name too.
        let folder = if is_writer { folder } else { &std::env::temp_dir() };
        let had_checkpoint = saved.is_some();
        let redone = Self::redo(log, folder, params, genesis, &options, saved, &mut report);
        let (mut ledger, end) = match redone {
            Err(Error::Damaged { path, offset }) if had_checkpoint && is_writer => {
                // What the checkpoint stands on is damaged. All is made anew from the log, as far as it
                // is whole.
                report = OpenReport { damaged: Some((path, offset)), ..OpenReport::default() };
                disk.remove(&table_path)?;
                let (log_path, _) = paths(folder);
                let log = Log::open(log_path, params.magic, secret(), disk, true)?;
                let log = log.expect("it was there");
                Self::redo(log, folder, params, genesis, &options, None, &mut report)?
            }
            redone => redone?,
        };
        let shared = &ledger.shared;
        report.torn_bytes = shared.log.bytes_behind(end)?;
        match is_writer && end < shared.log.len() {
            true => shared.log.truncate(end)?,
            false => shared.log.end_at(end),
        }
        ledger.drop_uncommitted()?;
        ledger.trim()?;
        ledger.shared.raise_floor();
        ledger.table_path = is_writer.then_some(table_path);
        ledger.step_back(is_stored, &mut report)?;
        Ok((ledger, report))
    }

    /// Makes a ledger from a checkpoint, or none, and the log. Returns where its last whole record ends.
    #[expect(clippy::too_many_arguments, reason = "what opening knows, taken apart")]
    fn redo(
        log: Log,
        folder: &Path,
        params: &Params,
        genesis: BlockInfo,
        options: &Options,
        saved: Option<(Trailer, Source)>,
        report: &mut OpenReport,
    ) -> Result<(Self, u64), Error> {
        let log = log.chunks_from(options.chunks_from);
        let (trailer, source) = saved.unzip();
        let base = trailer.as_ref().map_or(genesis, |trailer| trailer.base);
        let mut ledger = Self::with(log, folder.to_owned(), base, options.clone(), source)?;
        ledger.network = params.magic;
        let mut redo = Redo { from: FILE_HEAD, later_roots: Vec::new(), snapshot: None };
        report.had_checkpoint = trailer.is_some();
        if let Some(trailer) = trailer {
            ledger.restore(&trailer, &mut redo)?;
        }
        let end = redo.run(&mut ledger, report)?;
        Ok((ledger, end))
    }

    /// Says that the files of a folder are not to be believed: the next start makes all of the ledger
    /// anew from what is whole of its log, and the blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn distrust(folder: &Path) -> Result<(), Error> {
        Disk::default().remove(&paths(folder).1)
    }

    /// Takes over a checkpoint's window.
    fn restore(&mut self, trailer: &Trailer, redo: &mut Redo) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        self.snapshot = trailer.snapshot;
        shared.set_verified_fees(trailer.verified_fees);
        self.checkpoint_at = trailer.log_len;
        self.checkpoint_len = shared.table.groups() as u64 * crate::table::GROUP_BYTES as u64;
        redo.from = trailer.log_len;
        if trailer.root != NO_RECORD {
            let (head, _) = shared.log.block(trailer.root)?;
            let root = Entry::new(head.info, head.prev_block, 0, trailer.root, None);
            shared.write().reset(root);
        }
        let mut at = trailer.later_root;
        while at != trailer.root && at != NO_RECORD {
            redo.later_roots.push(at);
            at = shared.log.block(at)?.0.parent_record;
        }
        let mut extras = Extras::default();
        for &(key, place) in &trailer.extras {
            extras.entry(key).or_default().push(place);
        }
        shared.extras.store(extras);
        // By record, so that a parent comes before its children.
        let mut by_sequence = Vec::new();
        for &(at, sequence) in &trailer.window {
            let (head, record) = shared.log.block(at)?;
            if trailer.dropped.contains(&at) {
                shared.forget_created(&record)?;
            } else if let Some(entry) = self.enter(&head, at)? {
                let spent: Vec<(Key, Place)> = shared.log.spent(&record)?.collect();
                let mut spends = shared.spends.writer();
                for batch in spent.chunks(BATCH) {
                    batch.iter().for_each(|&(_, place)| spends.prefetch(place));
                    batch.iter().for_each(|&(_, place)| spends.insert(place, entry.number));
                }
                drop(spends);
                by_sequence.push((sequence, entry));
            } else {
                shared.forget_created(&record)?;
            }
        }
        by_sequence.sort_by_key(|(sequence, _)| *sequence);
        for (_, entry) in by_sequence.iter().filter(|(sequence, _)| *sequence != u64::MAX) {
            shared.write().commit(entry);
        }
        shared.floor.store(trailer.log_len.min(shared.log.len()), Release);
        shared.raise_floor();
        self.fold_later_roots(redo)
    }

    /// Folds what was folded while the checkpoint was written.
    fn fold_later_roots(&self, redo: &mut Redo) -> Result<(), Error> {
        while let Some(&at) = redo.later_roots.last() {
            let window = self.shared.read();
            let entry = window.entries().find(|entry| entry.record == at).cloned();
            drop(window);
            let Some(entry) = entry.filter(|entry| entry.is_committed()) else { break };
            self.fold_onto(&entry)?;
            redo.later_roots.pop();
        }
        Ok(())
    }

    /// Puts a block's entry into the window; none if its parent is not there.
    fn enter(&self, head: &BlockHead, at: u64) -> Result<Option<Arc<Entry>>, Error> {
        // The block was not held when the record was written: an earlier one of it had been dropped.
        let earlier = self.shared.read().find(&head.info.hash).cloned();
        if let Some(earlier) =
            earlier.filter(|entry| entry.record != self.shared.read().root.record)
        {
            self.drop_subtree(&earlier)?;
        }
        let Ok(parent) = self.shared.find(&head.prev_block) else { return Ok(None) };
        if self.holds(&head.info.hash) {
            return Ok(None);
        }
        // The number was free when the record was written: its holder, if there is one, had been
        // folded or dropped.
        let holder = self.shared.read().holder(head.number);
        if let Some(holder) = holder {
            if parent.is_on(holder.number) {
                self.fold_up_to(&holder)?;
            } else {
                self.drop_subtree(&holder)?;
            }
        }
        let number = self.shared.write().take_number(Some(head.number)).ok_or(Error::WindowFull)?;
        debug_assert_eq!(number, head.number, "it was asked for");
        Ok(Some(self.shared.enter(head, at, &parent)))
    }

    /// Makes a block and all its ancestors part of the root.
    fn fold_up_to(&self, entry: &Arc<Entry>) -> Result<(), Error> {
        let window = self.shared.read();
        let is_below =
            |other: &&Arc<Entry>| other.record != window.root.record && entry.is_on(other.number);
        let mut path: Vec<Arc<Entry>> = window.entries().filter(is_below).cloned().collect();
        drop(window);
        path.sort_by_key(|entry| entry.info.height);
        path.iter().try_for_each(|entry| self.fold_onto(entry))
    }

    fn drop_uncommitted(&self) -> Result<(), Error> {
        let window = self.shared.read();
        let mut pending: Vec<Arc<Entry>> =
            window.entries().filter(|entry| !entry.is_committed()).cloned().collect();
        drop(window);
        pending.sort_by_key(|entry| std::cmp::Reverse(entry.info.height));
        pending.iter().try_for_each(|entry| self.drop_subtree(entry))
    }

    /// Drops blocks that are not stored any more, and goes back to a root that is.
    fn step_back(&mut self, is_stored: IsStored<'_>, report: &mut OpenReport) -> Result<(), Error> {
        let (mut root, mut blocks) = {
            let window = self.shared.read();
            let root = Arc::clone(&window.root);
            let above = window.entries().filter(|entry| entry.record != root.record);
            let blocks: Vec<Arc<Entry>> = above.cloned().collect();
            (root.info.hash, blocks)
        };
        blocks.sort_by_key(|entry| entry.info.height);
        for entry in blocks {
            if self.holds(&entry.info.hash) && !is_stored(&entry.info.hash)? {
                report.stepped_back = true;
                self.drop_subtree(&entry)?;
            }
        }
        let mut at = self.shared.read().root.record;
        while at != NO_RECORD && !is_stored(&root)? {
            let (head, _) = self.shared.log.block(at)?;
            (root, at) = (head.prev_block, head.parent_record);
        }
        if root != self.root().hash {
            report.stepped_back = true;
            self.rewind_to(&root)?;
        }
        Ok(())
    }
}

/// Whether a checkpoint is one of this log, and the log as long as it was then.
fn belongs(trailer: &Trailer, log: &Log) -> bool {
    trailer.secret == log.secret() && trailer.log_len <= log.len()
}

/// What is redone of a log.
struct Redo {
    from: u64,
    /// The records that the root moved to while the checkpoint was written, the last one first.
    later_roots: Vec<u64>,
    /// Where a snapshot's coins begin, until its block is met.
    snapshot: Option<u64>,
}

impl Redo {
    /// Redoes all records. Returns where the last whole one ends.
    fn run(&mut self, ledger: &mut Ledger, report: &mut OpenReport) -> Result<u64, Error> {
        let shared = Arc::clone(&ledger.shared);
        let mut at = self.from;
        while let Some(record) = shared.log.record(at)? {
            match record.kind {
                Kind::Block => Self::block(ledger, &shared, &record)?,
                Kind::Commit => self.commit(ledger, &shared, &record, report)?,
                Kind::Coins => {
                    self.snapshot.get_or_insert(at);
                }
                Kind::Base => self.base(ledger, &shared, &record)?,
                Kind::Verified => {
                    let fees = Reader::new(record.payload).i64();
                    shared.set_verified_fees(Some(fees.map_err(|_| shared.log.damaged(at))?));
                }
            }
            at = record.end;
        }
        // Coins whose block never came count for nothing.
        Ok(self.snapshot.unwrap_or(at))
    }

    fn block(ledger: &mut Ledger, shared: &Shared, record: &Record<'_>) -> Result<(), Error> {
        let head = shared.log.head(record)?;
        let Some(entry) = ledger.enter(&head, record.at)? else {
            // Part of it may have reached the checkpoint.
            return shared.forget_created(record);
        };
        let spent: Vec<(Key, Place)> = shared.log.spent(record)?.collect();
        ledger.insert_coins(&entry, false, &shared.log.created_keys(record)?, &spent)
    }

    fn commit(
        &mut self,
        ledger: &Ledger,
        shared: &Shared,
        record: &Record<'_>,
        report: &mut OpenReport,
    ) -> Result<(), Error> {
        let at = record.payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let window = shared.read();
        let entry = window.entries().find(|entry| Some(entry.record) == at).cloned();
        drop(window);
        let Some(entry) = entry.filter(|entry| !entry.is_committed()) else { return Ok(()) };
        shared.write().commit(&entry);
        report.replayed += 1;
        // Nothing is trimmed before the end: what is behind the horizon now may win with a later block.
        ledger.fold_later_roots(self)
    }

    /// All coins of a snapshot are there, and its block: the set begins with it.
    fn base(
        &mut self,
        ledger: &mut Ledger,
        shared: &Shared,
        record: &Record<'_>,
    ) -> Result<(), Error> {
        let mut reader = Reader::new(record.payload);
        let read = read_info(&mut reader).and_then(|info| Ok((info, reader.array()?)));
        let (info, hash) = read.map_err(|_| shared.log.damaged(record.at))?;
        let mut at = self.snapshot.take().unwrap_or(record.at);
        while at < record.at {
            let coins = shared.log.record(at)?.ok_or_else(|| shared.log.damaged(at))?;
            let beside = ledger.insert_all(&shared.log.created_keys(&coins)?, true)?;
            debug_assert!(beside.is_empty(), "a set has one coin an outpoint");
            at = coins.end;
        }
        (ledger.base, ledger.snapshot) = (info, Some(hash));
        shared.set_verified_fees(None);
        shared.write().reset(Entry::new(info, BlockHash::ZERO, 0, NO_RECORD, None));
        shared.floor.store(record.end, Release);
        Ok(())
    }
}
