use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use caesure_wire::{BlockHash, Header};

use crate::index::{Index, Slot, Unwritten};
use crate::record::{
    Form, HEAD_SIZE, PREFIX_SIZE, Prefix, RELEASED_SIZE, check_block, is_released, tx_count,
};
use crate::{Entry, Error, Fault, Magic, RecordReader};

/// Reads a store, also while another process writes to it. Writes nothing and creates nothing.
///
/// It touches only bytes below the committed length, which the writer never cuts without lowering
/// it first; what was appended since is seen after [`refresh`](Self::refresh).
#[derive(Debug)]
pub struct BlockReader {
    dir: PathBuf,
    pub(crate) magic: Magic,
    pub(crate) blocks_path: PathBuf,
    pub(crate) index_path: PathBuf,
    pub(crate) blocks: Option<File>,
    pub(crate) index_file: Option<File>,
    pub(crate) index: Index,
    /// What the writer in the same process has besides.
    unwritten: Unwritten,
}

impl BlockReader {
    /// Opens the store in a folder. Where there is none, it is empty. Without a sound index the
    /// block file is scanned into memory.
    ///
    /// # Errors
    /// When the files cannot be read or are another network's.
    pub(crate) fn open(dir: &Path, magic: [u8; 4]) -> Result<Self, Error> {
        let mut reader = Self::without_index(dir, magic);
        reader.blocks = open_existing(&reader.blocks_path)?;
        let Some(blocks) = &reader.blocks else { return Ok(reader) };
        reader.refuse_other_network()?;
        reader.index_file = open_existing(&reader.index_path)?;
        if let Some(file) = &reader.index_file
            && reader
                .index
                .load(file, reader.magic)
                .map_err(Error::io(&reader.index_path))?
                .is_some()
        {
            let len = blocks.metadata().map_err(Error::io(&reader.blocks_path))?.len();
            if reader.index.slots().is_empty() || 0 < reader.usable_entries(len)? {
                return Ok(reader);
            }
            reader.index = Index::default();
        }
        reader.index_file = None;
        reader.scan_into_memory()?;
        Ok(reader)
    }

    /// A reader of nothing, which knows where its files would be.
    pub(crate) fn without_index(dir: &Path, magic: [u8; 4]) -> Self {
        Self {
            dir: dir.to_owned(),
            magic: Magic(magic),
            blocks_path: dir.join("blocks.bin"),
            index_path: dir.join("blocks.idx"),
            blocks: None,
            index_file: None,
            index: Index::default(),
            unwritten: Unwritten::default(),
        }
    }

    /// Opens another reader of the store, for a thread beside the writer: what that appends is there at
    /// once, and after a [`refresh`](Self::refresh) in [`len`](Self::len) and lists.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn beside(&self) -> Result<Self, Error> {
        let unwritten = self.index.unwritten();
        Ok(Self { unwritten, ..Self::open(&self.dir, self.magic.0)? })
    }

    fn find(&self, hash: &BlockHash) -> Result<Slot, Error> {
        let slot = self.unwritten.find(hash).or_else(|| self.index.find(hash).copied());
        slot.ok_or(Error::Unknown(*hash))
    }

    /// Takes up what the writer committed since, or cut, and returns whether anything changed.
    ///
    /// # Errors
    /// As opening.
    pub fn refresh(&mut self) -> Result<bool, Error> {
        let path = &self.index_path;
        if self.index_file.is_some()
            && let Some(file) = open_existing(path)?
            && let Some(count) = self.index.load(&file, self.magic).map_err(Error::io(path))?
        {
            self.index_file = Some(file);
            return Ok(count != 0);
        }
        let (len, end) = (self.len(), self.index.end());
        let unwritten = self.unwritten.clone();
        *self = Self { unwritten, ..Self::open(&self.dir, self.magic.0)? };
        Ok((len, end) != (self.len(), self.index.end()))
    }

    /// Returns how many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether a block is stored, and its body not released. A reader learns of a release
    /// when it opens the store or reads the block.
    #[must_use]
    pub fn contains(&self, hash: &BlockHash) -> bool {
        self.find(hash).is_ok_and(|slot| !slot.is_released())
    }

    /// Returns whether a block was stored, and its body [released](crate::BlockStore::release) since.
    #[must_use]
    pub fn is_released(&self, hash: &BlockHash) -> bool {
        self.index.find(hash).is_some_and(Slot::is_released)
    }

    /// Returns whether the body of any block was released.
    #[must_use]
    pub fn has_released(&self) -> bool {
        self.index.has_released()
    }

    /// Iterates over the blocks whose bodies are stored, with their lengths in bytes, in the order of
    /// the file.
    pub fn bodies(&self) -> impl Iterator<Item = (BlockHash, u32)> {
        let slots = self.index.slots().iter();
        let stored = slots.filter(|slot| slot.size() != 0 && !slot.is_released());
        stored.map(|slot| (slot.hash, slot.size()))
    }

    /// Returns the hashes of the blocks from a number on, at most `count`, in the order in which they
    /// were stored; the first ever stored has number 0.
    #[must_use]
    pub fn stored(&self, from: usize, count: usize) -> Vec<BlockHash> {
        let slots = self.index.slots().get(from..).unwrap_or_default();
        slots.iter().take(count).map(|slot| slot.hash).collect()
    }

    /// Returns the byte of `blocks.bin` at which a block's record begins.
    #[must_use]
    pub fn position(&self, hash: &BlockHash) -> Option<u64> {
        self.index.find(hash).map(|slot| slot.position)
    }

    /// Returns the length in bytes of the part of `blocks.bin` that ends with the last indexed
    /// record. Readers in other processes see what the writer has synced of it.
    #[must_use]
    pub fn committed_len(&self) -> u64 {
        self.index.written_end()
    }

    /// Returns how many bytes the blocks have whose bodies are stored.
    #[must_use]
    pub const fn body_bytes(&self) -> u64 {
        self.index.body_bytes()
    }

    /// Iterates over the blocks in the order of the file, those with released bodies too.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, Error>> {
        let entries = self.index.entries(self.index_file.as_ref());
        entries.map(|entry| entry.map_err(Error::io(&self.index_path)))
    }

    /// Reads a raw block, and checks that it is what was stored.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Pruned`], [`Error::Damaged`], or when the file cannot be read.
    pub fn read(&self, hash: &BlockHash) -> Result<Vec<u8>, Error> {
        self.read_slot(&self.find(hash)?)
    }

    /// Reads a raw block and checks besides that it meets its own target, can be decoded and gives
    /// its merkle root.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn verify(&self, hash: &BlockHash) -> Result<Vec<u8>, Error> {
        self.verify_slot(&self.find(hash)?)
    }

    fn read_slot(&self, slot: &Slot) -> Result<Vec<u8>, Error> {
        if slot.is_released() {
            return Err(Error::Pruned(slot.hash));
        }
        self.check_head(slot)?;
        let mut bytes = vec![0; slot.size() as usize];
        self.read_exact(&mut bytes, slot.position + PREFIX_SIZE as u64)?;
        if crc32fast::hash(&bytes) == slot.checksum {
            return Ok(bytes);
        }
        // The writer may have released the body since the index was read, or at this moment: it
        // writes the mark before it takes anything away.
        match self.is_marked(slot)? {
            true => Err(Error::Pruned(slot.hash)),
            false => Err(self.damaged(slot.position, Fault::Checksum)),
        }
    }

    fn is_marked(&self, slot: &Slot) -> Result<bool, Error> {
        Ok(is_released(&self.read_start(slot)?))
    }

    pub(crate) fn read_start(&self, slot: &Slot) -> Result<Vec<u8>, Error> {
        let mut block = vec![0; RELEASED_SIZE.min(slot.size() as usize)];
        self.read_exact(&mut block, slot.position + PREFIX_SIZE as u64)?;
        Ok(block)
    }

    /// Returns how many transactions a block has, also when its body was released; none for one that
    /// was released by a version that did not write it down. Reads 96 bytes, and checks the header alone.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Damaged`], or when the file cannot be read.
    pub fn tx_count(&self, hash: &BlockHash) -> Result<Option<u32>, Error> {
        let slot = self.find(hash)?;
        self.check_head(&slot)?;
        Ok(tx_count(&self.read_start(&slot)?))
    }

    pub(crate) fn verify_slot(&self, slot: &Slot) -> Result<Vec<u8>, Error> {
        let bytes = self.read_slot(slot)?;
        check_block(&bytes).map_err(|fault| self.damaged(slot.position, fault))?;
        Ok(bytes)
    }

    fn damaged(&self, position: u64, fault: Fault) -> Error {
        Error::Damaged { path: self.blocks_path.clone(), position, fault }
    }

    pub(crate) fn read_exact(&self, bytes: &mut [u8], position: u64) -> Result<(), Error> {
        let blocks = self.blocks.as_ref().ok_or(io::ErrorKind::NotFound.into());
        let result = blocks.and_then(|blocks| blocks.read_exact_at(bytes, position));
        result.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(position, Fault::Short),
            _ => Error::io(&self.blocks_path)(error),
        })
    }

    /// Refuses a file whose first record is another network's.
    pub(crate) fn refuse_other_network(&self) -> Result<(), Error> {
        let mut head = [0; HEAD_SIZE];
        match self.read_exact(&mut head, 0) {
            Err(Error::Damaged { .. }) => return Ok(()),
            other => other?,
        }
        let (path, expected) = (self.blocks_path.clone(), self.magic);
        match Prefix::read(&head, expected).map(|prefix| prefix.form) {
            Some(Form::Foreign(found)) => Err(Error::OtherNetwork { path, expected, found }),
            _ => Ok(()),
        }
    }

    /// Returns how many of the index's entries, from the first on, belong to a block file of `len`
    /// bytes: none if the file is not the one that was indexed, judged by a few headers.
    pub(crate) fn usable_entries(&self, len: u64) -> Result<usize, Error> {
        let slots = self.index.slots();
        let count = slots.partition_point(|slot| slot.position < len);
        let count = count - usize::from(count != 0 && len < slots[count - 1].end());
        let samples = (0..count).step_by(count.div_ceil(8).max(1)).chain(count.checked_sub(1));
        for slot in samples.map(|i| &slots[i]).filter(|slot| slot.size() != 0) {
            match self.check_head(slot) {
                Err(Error::Damaged { .. }) => return Ok(0),
                other => other?,
            }
        }
        Ok(count)
    }

    /// Checks that prefix and header are where the index says.
    fn check_head(&self, slot: &Slot) -> Result<(), Error> {
        let mut head = [0; HEAD_SIZE];
        self.read_exact(&mut head, slot.position)?;
        let (prefix, header) = head.split_at(PREFIX_SIZE);
        if !Prefix::announces(prefix, self.magic, slot.size()) {
            return Err(self.damaged(slot.position, Fault::Prefix));
        }
        let header = Header::from_bytes(header.first_chunk().expect("a head holds a header"));
        match header.hash() == slot.hash {
            true => Ok(()),
            false => Err(self.damaged(slot.position, Fault::Hash)),
        }
    }

    /// Indexes the block file in memory. It is read as a stream: a writer may cut its tail meanwhile.
    fn scan_into_memory(&mut self) -> Result<(), Error> {
        let Some(file) = open_existing(&self.blocks_path)? else { return Ok(()) };
        let mut records = RecordReader::stream(&self.blocks_path, self.magic.0, file);
        while let Some(record) = records.next_record()? {
            if let Ok(entry) = entry_of(record.position, record.bytes.as_ref())
                && !self.contains(&entry.hash)
                && !(entry.is_released && self.is_released(&entry.hash))
            {
                self.index.push(&entry);
            }
        }
        Ok(())
    }
}

/// Checks a record's block, or what is left of it, and makes its entry.
pub(crate) fn entry_of(position: u64, bytes: &[u8]) -> Result<Entry, Fault> {
    let is_released = is_released(bytes);
    let header = match bytes.first_chunk() {
        Some(header) if is_released => Header::from_bytes(header),
        _ => check_block(bytes)?,
    };
    let size = u32::try_from(bytes.len()).map_err(|_| Fault::Size)?;
    let checksum = crc32fast::hash(bytes);
    Ok(Entry { header, hash: header.hash(), position, size, is_released, checksum })
}

/// Opens a file for reading, if there is one.
fn open_existing(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.to_owned(), source }),
    }
}
