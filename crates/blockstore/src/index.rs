use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError, RwLock};

use byteorder::{ByteOrder, LittleEndian};
use caesure_wire::{BlockHash, Header};
use hashbrown::HashTable;

use crate::Magic;
use crate::record::{PREFIX_SIZE, block_size};
use crate::window::read_up_to;

/// The layout is in `docs/block-file.md`: these eight bytes, version, network magic, checksum.
const FILE_MAGIC: [u8; 8] = *b"caes.idx";
const VERSION: u32 = 1;
const HEADER_SIZE: usize = 20;
/// Header 80, hash 32, position 8, size 4, checksum of the block 4, checksum of the entry 4.
const ENTRY_SIZE: usize = 132;
/// Set in the size of an entry whose block's body was released.
const RELEASED: u32 = 1 << 31;
/// How many entries are read at a time.
const BATCH: usize = 4096;
/// For how many entries memory is taken at once, should a damaged file claim more.
const MAX_RESERVED: usize = 1 << 22;

/// One stored block, as it stands in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block's header.
    pub header: Header,
    /// The header's hash.
    pub hash: BlockHash,
    /// The byte of `blocks.bin` at which the record's prefix begins.
    pub position: u64,
    /// The block's length in bytes, without the prefix.
    pub size: u32,
    /// Whether the body was released, so that nothing but the header is left.
    pub is_released: bool,
    /// The CRC-32 of the block's bytes.
    pub(crate) checksum: u32,
}

impl Entry {
    /// The byte of `blocks.bin` at which the record ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position + PREFIX_SIZE as u64 + u64::from(self.size)
    }

    fn to_bytes(self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        bytes[..80].copy_from_slice(&self.header.to_bytes());
        bytes[80..112].copy_from_slice(&self.hash.0);
        LittleEndian::write_u64(&mut bytes[112..], self.position);
        let released = if self.is_released { RELEASED } else { 0 };
        LittleEndian::write_u32(&mut bytes[120..], self.size | released);
        LittleEndian::write_u32(&mut bytes[124..], self.checksum);
        let checksum = crc32fast::hash(&bytes[..128]);
        LittleEndian::write_u32(&mut bytes[128..], checksum);
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY_SIZE]) -> Option<Self> {
        let word = LittleEndian::read_u32(&bytes[120..]);
        let (size, is_released) = (word & !RELEASED, word & RELEASED != 0);
        let position = LittleEndian::read_u64(&bytes[112..]);
        let is_sound = crc32fast::hash(&bytes[..128]) == LittleEndian::read_u32(&bytes[128..])
            && block_size(size).is_some()
            && position < 1 << 62;
        is_sound.then(|| Self {
            header: Header::from_bytes(bytes.first_chunk().expect("an entry begins with a header")),
            hash: BlockHash(*bytes[80..].first_chunk().expect("a hash follows the header")),
            position,
            size,
            is_released,
            checksum: LittleEndian::read_u32(&bytes[124..]),
        })
    }
}

/// What is kept in memory of an entry, 48 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) hash: BlockHash,
    pub(crate) position: u64,
    /// As in the entry. 0: a later record took its place.
    word: u32,
    pub(crate) checksum: u32,
}

/// The entries in the order of the file, and the table from hash to entry.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: Vec<Slot>,
    table: HashTable<u32>,
    /// How many bytes the stored bodies have.
    body_bytes: u64,
    /// The bytes of the last of them, which the file does not have yet.
    pending: Vec<u8>,
    unwritten: Unwritten,
}

/// The entries that the writer's file does not have yet, which readers in its process look up too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unwritten(Arc<RwLock<Vec<Slot>>>);

impl Unwritten {
    pub(crate) fn find(&self, hash: &BlockHash) -> Option<Slot> {
        let slots = self.0.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().rfind(|slot| slot.hash == *hash).copied()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Slot>)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Index {
    /// Makes `file` an index without entries.
    pub(crate) fn reset(file: &File, magic: Magic) -> io::Result<()> {
        file.set_len(0)?;
        file.write_all_at(&Self::header(magic), 0)
    }

    fn header(magic: Magic) -> [u8; HEADER_SIZE] {
        let mut header = [0; HEADER_SIZE];
        header[..8].copy_from_slice(&FILE_MAGIC);
        LittleEndian::write_u32(&mut header[8..], VERSION);
        header[12..16].copy_from_slice(&magic.0);
        let checksum = crc32fast::hash(&header[..16]);
        LittleEndian::write_u32(&mut header[16..], checksum);
        header
    }

    /// Takes up the entries of the file that follow those already known, up to the first that is not
    /// sound or does not lie behind the one before it. Returns how many; none when the file is no
    /// index of this network, or no longer has the last entry that was read from it.
    pub(crate) fn load(&mut self, file: &File, magic: Magic) -> io::Result<Option<usize>> {
        assert!(self.pending.is_empty(), "only a reader without entries of its own loads");
        let mut header = [0; HEADER_SIZE];
        read_up_to(file, &mut header, 0)?;
        if header != Self::header(magic) || !self.agrees_with(file)? {
            return Ok(None);
        }
        let first = self.slots.len();
        let found = (file.metadata()?.len() / ENTRY_SIZE as u64).saturating_sub(first as u64);
        let found = usize::try_from(found).map_err(io::Error::other)?.min(MAX_RESERVED);
        self.slots.reserve(found);
        self.table.reserve(found, |&i| key(&self.slots[i as usize].hash));
        let mut batch = vec![0; BATCH * ENTRY_SIZE];
        let mut has_more = true;
        while has_more {
            let size = read_up_to(file, &mut batch, file_offset(self.slots.len()))?;
            let are_sound = batch[..size].as_chunks().0.iter().all(|bytes| {
                let entry = Entry::from_bytes(bytes).filter(|entry| self.end() <= entry.position);
                entry.map(|entry| self.insert(&entry)).is_some()
            });
            has_more = are_sound && size == batch.len();
        }
        Ok(Some(self.slots.len() - first))
    }

    /// Returns whether the file still has the last entry that was read from it.
    fn agrees_with(&self, file: &File) -> io::Result<bool> {
        let Some(last) = self.slots.last() else { return Ok(true) };
        let mut bytes = [0; ENTRY_SIZE];
        read_up_to(file, &mut bytes, file_offset(self.slots.len() - 1))?;
        Ok(Entry::from_bytes(&bytes)
            .is_some_and(|entry| (entry.hash, entry.position) == (last.hash, last.position)))
    }

    /// Adds an entry that the file does not have yet.
    pub(crate) fn push(&mut self, entry: &Entry) {
        self.pending.extend_from_slice(&entry.to_bytes());
        self.insert(entry);
        self.unwritten.change(|slots| slots.extend(self.slots.last()));
    }

    pub(crate) fn unwritten(&self) -> Unwritten {
        self.unwritten.clone()
    }

    fn insert(&mut self, entry: &Entry) {
        let Entry { hash, position, size, is_released, checksum, .. } = *entry;
        let word = if is_released { size | RELEASED } else { size };
        let number = u32::try_from(self.slots.len()).expect("fewer blocks than 2^32");
        self.slots.push(Slot { hash, position, word, checksum });
        self.body_bytes += if is_released { 0 } else { u64::from(size) };
        let slots = &mut self.slots;
        match self.table.find_mut(key(&hash), |&i| slots[i as usize].hash == hash) {
            Some(found) => {
                let replaced = &mut slots[*found as usize];
                self.body_bytes -= replaced.body_size();
                replaced.word = 0;
                *found = number;
            }
            None => {
                self.table.insert_unique(key(&hash), number, |&i| key(&slots[i as usize].hash));
            }
        }
    }

    /// Writes the pending entries. They must be true on disk before.
    pub(crate) fn flush(&mut self, file: &File) -> io::Result<()> {
        if !self.is_flushed() {
            file.write_all_at(&self.pending, file_offset(self.written()))?;
            file.sync_data()?;
            self.pending.clear();
            // A reader that does not find them here any more finds them in the file.
            self.unwritten.change(Vec::clear);
        }
        Ok(())
    }

    /// Whether the file has all entries.
    pub(crate) const fn is_flushed(&self) -> bool {
        self.pending.is_empty()
    }

    /// Forgets all entries from number `count` on, here and in the file.
    pub(crate) fn cut(&mut self, file: &File, magic: Magic, count: usize) -> io::Result<()> {
        if file_offset(count) != file.metadata()?.len() {
            file.set_len(file_offset(count))?;
            file.sync_data()?;
        }
        if count < self.slots.len() {
            self.unwritten.change(Vec::clear);
            *self = Self { unwritten: self.unwritten(), ..Self::default() };
            self.load(file, magic)?;
        }
        Ok(())
    }

    /// Marks the entries of some blocks as those of released bodies. The file must have them.
    pub(crate) fn release(&mut self, file: &File, hashes: &[BlockHash]) -> io::Result<()> {
        for hash in hashes {
            let Some(number) = self.number(hash) else { continue };
            let mut bytes = [0; ENTRY_SIZE];
            file.read_exact_at(&mut bytes, file_offset(number))?;
            let entry = Entry::from_bytes(&bytes).filter(|entry| entry.hash == *hash);
            let entry = Entry { is_released: true, ..entry.ok_or_else(damaged)? };
            file.write_all_at(&entry.to_bytes(), file_offset(number))?;
            self.body_bytes -= self.slots[number].body_size();
            self.slots[number].word |= RELEASED;
        }
        file.sync_data()
    }

    fn number(&self, hash: &BlockHash) -> Option<usize> {
        let number = self.table.find(key(hash), |&i| self.slots[i as usize].hash == *hash)?;
        Some(*number as usize)
    }

    pub(crate) fn has_released(&self) -> bool {
        self.slots.iter().any(Slot::is_released)
    }

    /// Finds a block.
    pub(crate) fn find(&self, hash: &BlockHash) -> Option<&Slot> {
        self.number(hash).map(|number| &self.slots[number])
    }

    /// All entries, those too that a later one replaced.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// How many bytes the stored bodies have.
    pub(crate) const fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Where the last record ends.
    pub(crate) fn end(&self) -> u64 {
        self.slots.last().map_or(0, Slot::end)
    }

    /// How many of the entries are in the file.
    fn written(&self) -> usize {
        self.slots.len() - self.pending.len() / ENTRY_SIZE
    }

    /// Where the last record ends that the file knows.
    pub(crate) fn written_end(&self) -> u64 {
        self.slots[..self.written()].last().map_or(0, Slot::end)
    }

    /// Iterates over the entries in the order of the file, but for those that were replaced.
    pub(crate) fn entries(&self, file: Option<&File>) -> impl Iterator<Item = io::Result<Entry>> {
        let batches = (0..self.slots.len()).step_by(BATCH);
        batches.flat_map(move |first| {
            self.read_batch(file, first).unwrap_or_else(|error| vec![Err(error)])
        })
    }

    fn read_batch(&self, file: Option<&File>, first: usize) -> io::Result<Vec<io::Result<Entry>>> {
        let slots = &self.slots[first..self.slots.len().min(first + BATCH)];
        let mut bytes = vec![0; slots.len() * ENTRY_SIZE];
        let written = self.written().saturating_sub(first).min(slots.len());
        let (in_file, others) = bytes.split_at_mut(written * ENTRY_SIZE);
        if let Some(file) = file {
            file.read_exact_at(in_file, file_offset(first))?;
        }
        let from = (first + written).saturating_sub(self.written()) * ENTRY_SIZE;
        others.copy_from_slice(&self.pending[from..][..others.len()]);
        let entries = slots.iter().zip(bytes.as_chunks().0).filter(|(slot, _)| slot.size() != 0);
        let entries = entries.map(|(slot, bytes)| {
            let entry = Entry::from_bytes(bytes).filter(|entry| entry.hash == slot.hash);
            entry.ok_or_else(damaged)
        });
        Ok(entries.collect())
    }
}

impl Slot {
    /// The block's length in bytes; 0 if a later record took its place.
    pub(crate) const fn size(&self) -> u32 {
        self.word & !RELEASED
    }

    /// Whether the body was released.
    pub(crate) const fn is_released(&self) -> bool {
        self.word & RELEASED != 0
    }

    /// The length of the body that is stored; 0 if there is none any more.
    fn body_size(&self) -> u64 {
        if self.is_released() { 0 } else { self.size().into() }
    }

    /// Where the record ends.
    pub(crate) fn end(&self) -> u64 {
        self.position + PREFIX_SIZE as u64 + u64::from(self.size())
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the index is damaged: delete it, the next start rebuilds it",
    )
}

/// A hash is random where it is not ground: its first bytes are those without proof of work.
fn key(hash: &BlockHash) -> u64 {
    LittleEndian::read_u64(&hash.0)
}

fn file_offset(entry: usize) -> u64 {
    (HEADER_SIZE + entry * ENTRY_SIZE) as u64
}
