use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;

use caesure_wire::{BlockHash, Header};
use rustix::fs::{FallocateFlags, fallocate};

use crate::index::{Index, Slot};
use crate::reader::{BlockReader, entry_of};
use crate::record::{HEAD_SIZE, PREFIX_SIZE, Prefix, RELEASED, RELEASED_SIZE, tx_count};
use crate::{Entry, Error, Fault, Record, RecordReader};

/// How many records a scan indexes before it writes their entries.
const SCAN_BATCH: u64 = 4096;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// How many bytes of `blocks.bin` had no entry and were scanned.
    pub scanned_bytes: u64,
    /// How many blocks the scan added to the index.
    pub indexed: u64,
    /// How many records repeat a block that stands earlier in the file.
    pub duplicates: u64,
    /// The torn tail, if there was one.
    pub cut: Option<Cut>,
    /// Records in the middle of the file that are damaged. Their blocks are to be fetched again.
    pub damaged: Vec<DamagedRecord>,
    /// Bytes outside of records that the scan passed over.
    pub skipped_bytes: u64,
    /// Whole records of other networks that the scan passed over.
    pub foreign: u64,
}

/// What was cut from the end of `blocks.bin`, because no whole record follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The byte at which the tail began; the file's length since.
    pub position: u64,
    /// How many bytes it had.
    pub bytes: u64,
    /// What was wrong with its beginning.
    pub fault: Fault,
}

/// A record that was found damaged, and is not indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRecord {
    /// The byte of `blocks.bin` at which it begins.
    pub position: u64,
    /// The hash of its header as it stands: the block's, unless the header is what is damaged.
    pub hash: BlockHash,
    /// What is wrong.
    pub fault: Fault,
}

/// The store's one writer.
///
/// An appended block is there for this process at once; after [`sync`](Self::sync) it survives a
/// power cut and is seen by readers in other processes. Without it the block is found again by the
/// scan of the tail at the next opening, if it reached the disk whole.
#[derive(Debug)]
pub struct BlockStore {
    reader: BlockReader,
    blocks: File,
    index_file: File,
    /// The length in bytes of `blocks.bin`, at which the next record begins.
    end: u64,
    _lock: File,
}

impl BlockStore {
    /// Opens the store in a folder for writing, makes both where they are missing, scans what the
    /// index does not know and cuts a torn tail.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::OtherNetwork`], [`Error::NotABlockFile`], or when a file cannot be
    /// read or written. A file that is refused is left as it is.
    pub fn open(dir: &Path, magic: [u8; 4]) -> Result<(Self, OpenReport), Error> {
        Self::open_with(dir, magic, |_, _| {})
    }

    /// Opens the store as [`open`](Self::open) does, and tells how far a scan is: bytes of the file,
    /// and its length.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        dir: &Path,
        magic: [u8; 4],
        progress: impl FnMut(u64, u64),
    ) -> Result<(Self, OpenReport), Error> {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let lock = lock_dir(dir)?;
        let mut reader = BlockReader::without_index(dir, magic);
        let blocks = open_for_writing(&reader.blocks_path)?;
        let end = blocks.metadata().map_err(Error::io(&reader.blocks_path))?.len();
        reader.blocks = Some(blocks.try_clone().map_err(Error::io(&reader.blocks_path))?);
        reader.refuse_other_network()?;
        let index_path = &reader.index_path;
        let index_file = open_for_writing(index_path)?;
        if reader.index.load(&index_file, reader.magic).map_err(Error::io(index_path))?.is_none() {
            Index::reset(&index_file, reader.magic).map_err(Error::io(index_path))?;
        }
        reader.index_file = Some(index_file.try_clone().map_err(Error::io(index_path))?);
        // A new file's name has to be as durable as what is written to it.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))?;
        let mut store = Self { reader, blocks, index_file, end, _lock: lock };
        store.cut_index()?;
        let report = store.scan_tail(progress)?;
        Ok((store, report))
    }

    /// Opens the store in a folder for reading only. Where there is none, it is empty.
    ///
    /// # Errors
    /// When the files cannot be read or are another network's.
    pub fn open_read_only(dir: &Path, magic: [u8; 4]) -> Result<BlockReader, Error> {
        BlockReader::open(dir, magic)
    }

    /// Appends a raw block and returns where its record begins. A block that is stored already and
    /// can still be read is left as it is.
    ///
    /// # Errors
    /// [`Error::NotStorable`] when the bytes are not of that block, or when writing fails; the file
    /// is then cut back to its former length.
    pub fn append(&mut self, raw: &[u8], hash: &BlockHash) -> Result<u64, Error> {
        match self.position(hash) {
            Some(position) if self.read(hash).is_ok() => Ok(position),
            _ => self.replace(raw, hash),
        }
    }

    /// Appends a raw block, whether or not one of this hash is stored, and answers with it from now
    /// on: for a stored body that turned out to be damaged or mutated.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn replace(&mut self, raw: &[u8], hash: &BlockHash) -> Result<u64, Error> {
        let not_storable = |fault| Error::NotStorable { hash: *hash, size: raw.len(), fault };
        let prefix = Prefix::written(self.reader.magic, raw.len()).map_err(not_storable)?;
        let header = raw.first_chunk().map(Header::from_bytes).ok_or(not_storable(Fault::Short))?;
        if header.hash() != *hash {
            return Err(not_storable(Fault::Hash));
        }
        let position = self.end;
        let written = self
            .blocks
            .write_all_at(&prefix, position)
            .and_then(|()| self.blocks.write_all_at(raw, position + PREFIX_SIZE as u64));
        if let Err(source) = written {
            // The tail is cut at the next opening too, should this fail as well.
            let _ = self.blocks.set_len(position);
            return Err(Error::Io { path: self.reader.blocks_path.clone(), source });
        }
        let size = u32::try_from(raw.len()).map_err(|_| not_storable(Fault::Size))?;
        let checksum = crc32fast::hash(raw);
        let entry = Entry { header, hash: *hash, position, size, is_released: false, checksum };
        self.end = entry.end();
        self.reader.index.push(&entry);
        Ok(position)
    }

    /// Makes all that was appended durable, and then visible to readers in other processes.
    ///
    /// # Errors
    /// When the disk refuses; then nothing more is visible than before.
    pub fn sync(&mut self) -> Result<(), Error> {
        if !self.reader.index.is_flushed() {
            self.blocks.sync_data().map_err(Error::io(&self.reader.blocks_path))?;
        }
        self.flush_index()
    }

    /// Gives the disk back what the bodies of some blocks take: they are stored no longer, but their
    /// headers and the places of all records are. Returns how many bytes the bodies had. Those that
    /// are not stored, or released already, count for nothing, and so do the few that are too short.
    ///
    /// First a mark is written behind each header and forced to the disk, then the rest becomes a hole,
    /// then the index says so: after a crash on the way the blocks are released or can be so again.
    /// A page of the file remains for each.
    ///
    /// # Errors
    /// When the disk refuses, or its file system has no holes.
    pub fn release(&mut self, hashes: &[BlockHash]) -> Result<u64, Error> {
        self.sync()?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Behind the end, where it changes nothing: nothing is marked where there can be no holes.
        let punch = |from, len| {
            let punched = fallocate(&self.blocks, flags, from, len);
            punched.map_err(|error| Error::io(&self.reader.blocks_path)(error.into()))
        };
        punch(self.end, 1)?;
        let (path, marked) = (&self.reader.blocks_path, RELEASED_SIZE as u64);
        let is_stored = |hash: &&BlockHash| self.contains(hash);
        let slots = hashes.iter().filter(is_stored).filter_map(|hash| self.reader.index.find(hash));
        let slots: Vec<Slot> = slots.filter(|slot| marked <= slot.size().into()).copied().collect();
        for slot in &slots {
            let at = slot.position + HEAD_SIZE as u64;
            let count = tx_count(&self.read_start(slot)?).unwrap_or(0).to_le_bytes();
            let mark = [&RELEASED[..], &count].concat();
            self.blocks.write_all_at(&mark, at).map_err(Error::io(path))?;
        }
        self.blocks.sync_data().map_err(Error::io(path))?;
        let mut bytes = 0;
        for slot in &slots {
            let from = slot.position + PREFIX_SIZE as u64 + marked;
            if from < slot.end() {
                punch(from, slot.end() - from)?;
            }
            bytes += u64::from(slot.size());
        }
        self.blocks.sync_data().map_err(Error::io(path))?;
        let released: Vec<BlockHash> = slots.iter().map(|slot| slot.hash).collect();
        let BlockReader { index, index_path, .. } = &mut self.reader;
        index.release(&self.index_file, &released).map_err(Error::io(index_path))?;
        Ok(bytes)
    }

    /// Drops the record that begins at `position` and all behind it.
    ///
    /// The index is cut first: readers then know nothing of what is cut next, and a power cut in
    /// between undoes the whole, since the next opening scans the records in again.
    ///
    /// # Errors
    /// [`Error::NoRecordAt`] when no record begins there, or when writing fails.
    pub fn truncate_to(&mut self, position: u64) -> Result<(), Error> {
        self.sync()?;
        let slots = self.reader.index.slots();
        let count = slots.partition_point(|slot| slot.position < position);
        if slots.get(count).map_or(self.end, |slot| slot.position) != position {
            return Err(Error::NoRecordAt { path: self.reader.blocks_path.clone(), position });
        }
        self.keep_entries(count)?;
        self.cut_blocks(position)
    }

    /// Drops entries at the end of the index that the block file does not bear out: it was cut or
    /// exchanged, or a disk that lied about a sync lost the last records.
    fn cut_index(&mut self) -> Result<(), Error> {
        let mut count = self.reader.usable_entries(self.end)?;
        while let Some(last) = count.checked_sub(1) {
            match self.reader.verify_slot(&self.reader.index.slots()[last]) {
                Ok(_) | Err(Error::Pruned(_)) => break,
                Err(Error::Damaged { .. }) => count = last,
                Err(error) => return Err(error),
            }
        }
        self.keep_entries(count)
    }

    /// Drops all entries but the first `count`.
    fn keep_entries(&mut self, count: usize) -> Result<(), Error> {
        let BlockReader { index, index_path, magic, .. } = &mut self.reader;
        index.cut(&self.index_file, *magic, count).map_err(Error::io(index_path))
    }

    /// Writes the entries that the index file does not have yet.
    fn flush_index(&mut self) -> Result<(), Error> {
        let BlockReader { index, index_path, .. } = &mut self.reader;
        index.flush(&self.index_file).map_err(Error::io(index_path))
    }

    /// Indexes the records behind the last indexed one, and cuts what follows the last sound one.
    fn scan_tail(&mut self, progress: impl FnMut(u64, u64)) -> Result<OpenReport, Error> {
        let from = self.reader.index.end();
        let mut report = OpenReport { scanned_bytes: self.end - from, ..OpenReport::default() };
        if self.end == from {
            return Ok(report);
        }
        self.blocks.sync_data().map_err(Error::io(&self.reader.blocks_path))?;
        let mut records =
            RecordReader::file_at(&self.reader.blocks_path, self.end, self.reader.magic, from);
        let sound_end = self.index_records(&mut records, &mut report, progress)?;
        let counts = records.counts();
        report.foreign = counts.foreign;
        if sound_end == self.end {
            report.skipped_bytes = counts.skipped_bytes;
            return Ok(report);
        }
        if sound_end == 0 && !self.is_torn_first_record(counts.zero_bytes)? {
            return Err(Error::NotABlockFile(self.reader.blocks_path.clone()));
        }
        let tail = report.damaged.partition_point(|record| record.position < sound_end);
        let fault = match report.damaged.drain(tail..).next() {
            Some(record) if record.position == sound_end => record.fault,
            _ if 0 < counts.torn_bytes => Fault::Short,
            _ => Fault::Prefix,
        };
        report.cut = Some(Cut { position: sound_end, bytes: self.end - sound_end, fault });
        self.cut_blocks(sound_end)?;
        Ok(report)
    }

    /// Indexes all sound records, and returns where the last of them or of another network ends.
    fn index_records(
        &mut self,
        records: &mut RecordReader,
        report: &mut OpenReport,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<u64, Error> {
        let mut sound_end = self.reader.index.end();
        while let Some(Record { position, bytes, .. }) = records.next_record()? {
            match entry_of(position, bytes.as_ref()) {
                Ok(entry) => {
                    sound_end = entry.end();
                    // A body that was stored again is behind the one that was released.
                    let is_known = match entry.is_released {
                        true => self.position(&entry.hash).is_some(),
                        false => self.contains(&entry.hash),
                    };
                    if is_known {
                        report.duplicates += 1;
                    } else {
                        report.indexed += 1;
                        self.reader.index.push(&entry);
                    }
                    if report.indexed.is_multiple_of(SCAN_BATCH) {
                        self.flush_index()?;
                    }
                }
                Err(fault) => {
                    let header = bytes.as_ref().first_chunk().map(Header::from_bytes);
                    let hash = header.unwrap_or_default().hash();
                    report.damaged.push(DamagedRecord { position, hash, fault });
                }
            }
            progress(records.bytes_read(), self.end);
        }
        self.flush_index()?;
        Ok(sound_end.max(records.foreign_end()))
    }

    /// Whether a file without any record is the beginning of one of ours, and not something else.
    fn is_torn_first_record(&self, zero_bytes: u64) -> Result<bool, Error> {
        let mut head = [0; 4];
        let head = &mut head[..usize::try_from(self.end).map_or(4, |end| end.min(4))];
        self.reader.read_exact(head, 0)?;
        Ok(self.reader.magic.0.starts_with(head) || zero_bytes == self.end)
    }

    /// Cuts the block file.
    fn cut_blocks(&mut self, position: u64) -> Result<(), Error> {
        let path = &self.reader.blocks_path;
        self.blocks.set_len(position).map_err(Error::io(path))?;
        self.blocks.sync_data().map_err(Error::io(path))?;
        self.end = position;
        Ok(())
    }
}

/// The writer reads as every reader does, and sees unsynced blocks too.
impl Deref for BlockStore {
    type Target = BlockReader;

    fn deref(&self) -> &BlockReader {
        &self.reader
    }
}

/// Opens a file that may be new.
fn open_for_writing(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(Error::io(path))
}

/// Takes the writer's lock of a folder, which the operating system gives back when the process ends.
pub(crate) fn lock_dir(dir: &Path) -> Result<File, Error> {
    let path = dir.join("blocks.lock");
    let lock = open_for_writing(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}
