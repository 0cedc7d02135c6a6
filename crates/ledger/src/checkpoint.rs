//! The file `ledger.table`: the table, and what the window was when it was written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caesure_wire::{DecodeError, Reader};

use crate::disk::Disk;
use crate::log::{push_info, read_info};
use crate::shared::Shared;
use crate::table::{GROUP_BYTES, GROUP_SLOTS, Place, SavedGroup, Source, group_bytes};
use crate::{BlockInfo, CHECKPOINT_INTERVAL, Error, Ledger};

const MAGIC: [u8; 8] = *b"CAESUTB2";
/// The file's head: magic 8, network magic 4, length of the trailer 4, its offset 8, its CRC-32 4, and
/// the CRC-32 of these 4.
const HEAD: usize = 32;

/// What a checkpoint says besides the groups, at the file's end.
#[derive(Clone, Debug)]
pub(crate) struct Trailer {
    /// The log's secret, by which the two files know each other.
    pub(crate) secret: [u8; 16],
    /// The log's length when the checkpoint began: all records below are in the table.
    pub(crate) log_len: u64,
    pub(crate) base: BlockInfo,
    /// The hash of the base's set, if that was a snapshot; else zeros.
    pub(crate) snapshot: Option<[u8; 32]>,
    /// Minus one for a snapshot that is not verified.
    pub(crate) verified_fees: Option<i64>,
    /// The root's record when the checkpoint began, and when the groups were written: what the root
    /// spent in between may be in the table or not.
    pub(crate) root: u64,
    pub(crate) later_root: u64,
    /// The records and sequences of the window's blocks when the checkpoint began.
    pub(crate) window: Vec<(u64, u64)>,
    /// The records of those that were dropped since.
    pub(crate) dropped: Vec<u64>,
    /// Keys and places of the coins beside the table.
    pub(crate) extras: Vec<(u64, Place)>,
    groups: Vec<SavedGroup>,
}

impl Trailer {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::from(self.secret);
        let fees = self.verified_fees.unwrap_or(-1).cast_unsigned();
        for word in [self.log_len, self.root, self.later_root, fees] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        push_info(&mut out, &self.base);
        out.extend_from_slice(&self.snapshot.unwrap_or_default());
        let count = |out: &mut Vec<u8>, len: usize| {
            out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        };
        for pairs in [&self.window, &self.extras] {
            count(&mut out, pairs.len());
            for (a, b) in pairs {
                out.extend_from_slice(&a.to_le_bytes());
                out.extend_from_slice(&b.to_le_bytes());
            }
        }
        count(&mut out, self.dropped.len());
        self.dropped.iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
        count(&mut out, self.groups.len());
        for SavedGroup { first, splits, live, crc } in &self.groups {
            for number in [first, splits, live, crc] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let secret = reader.array()?;
        let word =
            |reader: &mut Reader<'_>| Ok::<_, DecodeError>(u64::from_le_bytes(reader.array()?));
        let (log_len, root) = (word(&mut reader)?, word(&mut reader)?);
        let (later_root, fees) = (word(&mut reader)?, word(&mut reader)?.cast_signed());
        let base = read_info(&mut reader)?;
        let snapshot = Some(reader.array()?).filter(|hash| *hash != [0; 32]);
        let pairs = |reader: &mut Reader<'_>| {
            let count = reader.u32()?;
            (0..count).map(|_| Ok((word(reader)?, word(reader)?))).collect::<Result<_, _>>()
        };
        let (window, extras) = (pairs(&mut reader)?, pairs(&mut reader)?);
        let count = reader.u32()?;
        let dropped = (0..count).map(|_| word(&mut reader)).collect::<Result<_, _>>()?;
        let count = reader.u32()?;
        let group = |reader: &mut Reader<'_>| {
            let [first, splits] = [reader.u32()?, reader.u32()?];
            Ok(SavedGroup { first, splits, live: reader.u32()?, crc: reader.u32()? })
        };
        let groups = (0..count).map(|_| group(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        let verified_fees = (0 <= fees).then_some(fees);
        Ok(Self {
            secret,
            log_len,
            base,
            snapshot,
            verified_fees,
            root,
            later_root,
            window,
            dropped,
            extras,
            groups,
        })
    }
}

/// A checkpoint that has begun: what is left is to write the table down, on any thread.
#[derive(Debug)]
pub struct Checkpoint {
    shared: Arc<Shared>,
    disk: Disk,
    network: [u8; 4],
    path: PathBuf,
    trailer: Trailer,
    turn: u64,
}

/// A checkpoint that is written and waits to replace the last one.
#[derive(Debug)]
pub struct Checkpointed {
    path: PathBuf,
    temporary: PathBuf,
    log_len: u64,
    len: u64,
    turn: u64,
}

impl Checkpoint {
    /// Writes the table to a file beside the last checkpoint, and forces it and the log to the disk.
    /// Blocks can be connected meanwhile.
    ///
    /// # Errors
    /// When the disk refuses, or a part of the table cannot be read.
    pub fn write(mut self) -> Result<Checkpointed, Error> {
        let temporary = self.path.with_extension("table.tmp");
        let file = self.disk.open(&temporary, true)?;
        let mut words = vec![0; GROUP_SLOTS];
        let mut bytes = vec![0; GROUP_BYTES];
        let mut offset = GROUP_BYTES as u64;
        // Groups that are made meanwhile come last, and are written too.
        while self.trailer.groups.len() < self.shared.table.groups() {
            let (table, place) = (&self.shared.table, |slot| self.shared.place(slot));
            let (first, splits) = table.copy(self.trailer.groups.len(), &mut words, place)?;
            let live = group_bytes(&words, &mut bytes);
            let crc = crc32fast::hash(&bytes);
            self.trailer.groups.push(SavedGroup { first, splits, live, crc });
            // What is not written is zeros.
            if 0 < live {
                self.disk.write(&file, &temporary, offset, &bytes)?;
            }
            offset += GROUP_BYTES as u64;
        }
        self.trailer.later_root = self.shared.read().root.record;
        self.trailer.dropped = self.shared.dropped().clone().unwrap_or_default();
        let trailer = self.trailer.encode();
        self.disk.write(&file, &temporary, offset, &trailer)?;
        let mut head = Vec::from(MAGIC);
        head.extend_from_slice(&self.network);
        head.extend_from_slice(&u32::try_from(trailer.len()).unwrap_or(u32::MAX).to_le_bytes());
        head.extend_from_slice(&offset.to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&trailer).to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        self.disk.write(&file, &temporary, 0, &head)?;
        self.disk.sync(&file, &temporary)?;
        self.shared.log.sync()?;
        Ok(Checkpointed {
            path: self.path,
            temporary,
            log_len: self.trailer.log_len,
            len: offset + trailer.len() as u64,
            turn: self.turn,
        })
    }
}

impl Ledger {
    /// Returns whether the log has grown so much that a checkpoint pays.
    #[must_use]
    pub fn is_checkpoint_due(&self) -> bool {
        let grown = self.shared.log.len() - self.checkpoint_at;
        self.table_path.is_some() && CHECKPOINT_INTERVAL.max(self.checkpoint_len / 2) < grown
    }

    /// Begins a checkpoint; none for a ledger without a folder. One at a time.
    ///
    /// # Errors
    /// When the ledger has failed before.
    pub fn begin_checkpoint(&mut self) -> Result<Option<Checkpoint>, Error> {
        self.check()?;
        let Some(path) = self.table_path.clone() else { return Ok(None) };
        let shared = Arc::clone(&self.shared);
        *shared.dropped() = Some(Vec::new());
        self.checkpoint_turn += 1;
        // Counted from here, so that no second one begins before this one ends.
        self.checkpoint_at = shared.log.len();
        let (root, window) = {
            let window = shared.read();
            let root = window.root.record;
            let mut entries: Vec<(u64, u64)> = window
                .entries()
                .filter(|entry| entry.record != root)
                .map(|entry| (entry.record, entry.sequence()))
                .collect();
            entries.sort_unstable();
            (root, entries)
        };
        let extras = shared.extras.load();
        let pairs =
            extras.iter().flat_map(|(&key, places)| places.iter().map(move |&at| (key, at)));
        let trailer = Trailer {
            secret: shared.log.secret(),
            log_len: self.checkpoint_at,
            base: self.base,
            snapshot: self.snapshot,
            verified_fees: shared.verified_fees(),
            root,
            later_root: root,
            window,
            dropped: Vec::new(),
            extras: pairs.collect(),
            groups: Vec::new(),
        };
        drop(extras);
        let (disk, network, turn) = (self.disk.clone(), self.network, self.checkpoint_turn);
        Ok(Some(Checkpoint { shared, disk, network, path, trailer, turn }))
    }

    /// Puts a checkpoint into the place of the last one, unless the ledger was rewound since it began.
    ///
    /// # Errors
    /// When the disk refuses; the last one then stays.
    pub fn end_checkpoint(&mut self, written: Checkpointed) -> Result<(), Error> {
        if written.turn == self.checkpoint_turn {
            self.disk.replace(&written.temporary, &written.path)?;
            self.checkpoint_len = written.len;
            self.checkpoint_at = written.log_len;
        }
        Ok(())
    }

    /// Writes a checkpoint now, so that the next start redoes next to nothing.
    ///
    /// # Errors
    /// When the disk refuses; the last checkpoint stays.
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        let Some(checkpoint) = self.begin_checkpoint()? else { return Ok(()) };
        let written = checkpoint.write()?;
        self.end_checkpoint(written)
    }
}

/// Reads a checkpoint, if there is one; the groups when they are looked at.
pub(crate) fn read(path: &Path, network: [u8; 4]) -> Result<Option<(Trailer, Source)>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    let damaged = |offset| Error::Damaged { path: path.to_owned(), offset };
    let mut head = [0; HEAD];
    let file_len = file.metadata().map_err(Error::io(path))?.len();
    if file_len < HEAD as u64 {
        return Err(damaged(0));
    }
    file.read_exact_at(&mut head, 0).map_err(Error::io(path))?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let offset = u64::from(word(16)) | u64::from(word(20)) << 32;
    let is_whole = crc32fast::hash(&head[..28]) == word(28)
        && offset.checked_add(word(12).into()) == Some(file_len);
    let is_newer = head[..7] == MAGIC[..7] && head[7] != MAGIC[7];
    if is_newer || (is_whole && (head[..8] != MAGIC || head[8..12] != network)) {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    if !is_whole {
        return Err(damaged(0));
    }
    let mut trailer = vec![0; usize::try_from(word(12)).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut trailer, offset).map_err(Error::io(path))?;
    if crc32fast::hash(&trailer) != word(24) {
        return Err(damaged(offset));
    }
    let trailer = Trailer::decode(&trailer).map_err(|_| damaged(offset))?;
    let groups = trailer.groups.clone();
    if !groups.iter().all(SavedGroup::is_sound) {
        return Err(damaged(offset));
    }
    Ok(Some((trailer, Source { file, path: path.to_owned(), groups })))
}
