//! The file `ledger.log`: what every block did, append-only, and so every coin there ever was.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use caesure_consensus::Work;
use caesure_wire::{BlockHash, DecodeError, OutPoint, Reader};

use crate::coin::{COIN_MAX, CoinView, HEAD, coins_of, read_coin};
use crate::disk::Disk;
use crate::hasher::Hasher;
use crate::mapping::{Part, map_part, prefetch};
use crate::table::{Key, PLACE, Place};
use crate::{BlockInfo, Error};

const MAGIC: [u8; 8] = *b"CAESULG2";
/// The file's head: magic 8, network magic 4, secret 16, CRC-32 of these 4.
pub(crate) const FILE_HEAD: u64 = 32;
const HEAD_LEN: usize = 32;
/// A record's prefix: length of the payload 4, kind 4, CRC-32 of kind and payload 4.
pub(crate) const PREFIX: usize = 12;
/// The file is mapped in parts of this size, which overlap by [`OVERLAP`].
const PART: u64 = 1 << 28;
const OVERLAP: usize = 64 << 20;
/// No record is longer: a block of four million bytes makes one of less than eight.
const RECORD_MAX: usize = 32 << 20;
/// How much of a long log is made at once: a large page.
const CHUNK: usize = 2 << 20;
/// Room for all places that a slot can have.
const PARTS: usize = 1 << 12;
/// The payload of a block's record before its coins.
const BLOCK_HEAD: usize = 152;
/// Where a record says that there is none.
pub(crate) const NO_RECORD: u64 = u64::MAX;
/// How many bytes an entry of what a block spent takes: key 8, place 8.
const SPENT: usize = 16;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a block made and spent.
    Block,
    /// A block's record counts: payload is its place, u64.
    Commit,
    /// Coins of a snapshot.
    Coins,
    /// The block of a snapshot, whose coins stand before, and the hash of the set.
    Base,
    /// The snapshot was validated: payload is the fees up to its block, i64.
    Verified,
}

const KINDS: [(Kind, [u8; 4]); 5] = [
    (Kind::Block, *b"BLCK"),
    (Kind::Commit, *b"CMMT"),
    (Kind::Coins, *b"COIN"),
    (Kind::Base, *b"BASE"),
    (Kind::Verified, *b"VRFD"),
];

/// A record whose checksum holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) at: u64,
    pub(crate) payload: &'a [u8],
    /// Where the next one begins.
    pub(crate) end: u64,
}

/// The head of a block's record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockHead {
    pub(crate) parent_record: u64,
    pub(crate) prev_block: BlockHash,
    pub(crate) info: BlockInfo,
    pub(crate) number: u16,
    pub(crate) created: u32,
    pub(crate) spent: u32,
    pub(crate) coins_len: u32,
}

/// Appends hash 32, height 4, work 32 (big-endian), total 8, fees 8, issued 8.
pub(crate) fn push_info(out: &mut Vec<u8>, info: &BlockInfo) {
    out.extend_from_slice(&info.hash.0);
    out.extend_from_slice(&info.height.to_le_bytes());
    out.extend_from_slice(&info.chain_work.to_be_bytes());
    for amount in [info.total, info.fees, info.issued] {
        out.extend_from_slice(&amount.to_le_bytes());
    }
}

/// Takes what [`push_info`] wrote.
pub(crate) fn read_info(reader: &mut Reader<'_>) -> Result<BlockInfo, DecodeError> {
    Ok(BlockInfo {
        hash: BlockHash(reader.array()?),
        height: reader.u32()?,
        chain_work: Work::from_be_bytes(reader.array()?),
        total: reader.i64()?,
        fees: reader.i64()?,
        issued: reader.i64()?,
    })
}

impl BlockHead {
    /// How many bytes the record takes.
    pub(crate) const fn record_len(&self) -> u64 {
        /// The key and the place of a coin that is spent.
        const SPENT: u64 = 16;
        let len = (PREFIX + BLOCK_HEAD) as u64 + self.coins_len as u64 + self.spent as u64 * SPENT;
        len.next_multiple_of(4)
    }

    /// Where in the log stands what the block spent, whose record begins at `at`.
    pub(crate) const fn spent_list(&self, at: u64) -> u64 {
        at + (PREFIX + BLOCK_HEAD) as u64 + self.coins_len as u64
    }

    /// Writes the head into the space that was left for it.
    pub(crate) fn write(&self, out: &mut [u8]) {
        let mut bytes = Vec::with_capacity(BLOCK_HEAD);
        bytes.extend_from_slice(&self.parent_record.to_le_bytes());
        bytes.extend_from_slice(&self.prev_block.0);
        push_info(&mut bytes, &self.info);
        for number in [self.number.into(), 0, self.created, self.spent, self.coins_len] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        out[PREFIX..PREFIX + BLOCK_HEAD].copy_from_slice(&bytes);
    }

    fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let parent_record = u64::from_le_bytes(reader.array()?);
        let prev_block = BlockHash(reader.array()?);
        let info = read_info(&mut reader)?;
        let number = u16::try_from(reader.u32()?).unwrap_or(u16::MAX);
        let (_, created, spent) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let coins_len = reader.u32()?;
        Ok(Self { parent_record, prev_block, info, number, created, spent, coins_len })
    }
}

/// A record with room for its prefix and, if it is a block's, its head.
pub(crate) fn new_record(kind: Kind) -> Vec<u8> {
    vec![0; if kind == Kind::Block { PREFIX + BLOCK_HEAD } else { PREFIX }]
}

/// The log. One thread appends; any number read what lies below the length.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    disk: Disk,
    secret: [u64; 2],
    hasher: Hasher,
    len: AtomicU64,
    /// The length of the writer's file: chunks end with zeros.
    made: AtomicU64,
    /// From which length on chunks are.
    chunks_from: u64,
    parts: Box<[OnceLock<Part>]>,
}

impl Log {
    /// Opens a log, or makes it with the secret that the caller drew. None for a reader who finds none.
    pub(crate) fn open(
        path: PathBuf,
        network: [u8; 4],
        secret: [u8; 16],
        disk: Disk,
        is_writer: bool,
    ) -> Result<Option<Self>, Error> {
        let file = match is_writer {
            true => disk.open(&path, false)?,
            false => match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(Error::Io { path, source }),
            },
        };
        let len = file.metadata().map_err(Error::io(&path))?.len();
        if len < FILE_HEAD {
            if !is_writer {
                return Ok(None);
            }
            Self::write_head(&file, &path, network, secret, &disk)?;
        }
        Self::of_file(file, path, network, disk).map(Some)
    }

    /// A log without a name, which is gone with its last owner.
    pub(crate) fn unnamed(file: File, network: [u8; 4], secret: [u8; 16]) -> Result<Self, Error> {
        let path = PathBuf::from("(a ledger without a folder)");
        let disk = Disk::default();
        Self::write_head(&file, &path, network, secret, &disk)?;
        Self::of_file(file, path, network, disk)
    }

    fn write_head(
        file: &File,
        path: &Path,
        network: [u8; 4],
        secret: [u8; 16],
        disk: &Disk,
    ) -> Result<(), Error> {
        let mut head = Vec::from(MAGIC);
        head.extend_from_slice(&network);
        head.extend_from_slice(&secret);
        head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        disk.write(file, path, 0, &head)?;
        if path.exists() { disk.sync_folder(path) } else { Ok(()) }
    }

    fn of_file(file: File, path: PathBuf, network: [u8; 4], disk: Disk) -> Result<Self, Error> {
        let len = file.metadata().map_err(Error::io(&path))?.len();
        let mut head = [0; HEAD_LEN];
        file.read_exact_at(&mut head, 0).map_err(Error::io(&path))?;
        let is_whole = crc32fast::hash(&head[..28]).to_le_bytes() == head[28..];
        let is_newer = head[..7] == MAGIC[..7] && head[7] != MAGIC[7];
        if is_newer || (is_whole && (head[..8] != MAGIC || head[8..12] != network)) {
            return Err(Error::Foreign { path });
        }
        if !is_whole {
            return Err(Error::Damaged { path, offset: 0 });
        }
        let (words, _) = head[12..28].as_chunks();
        let secret = [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])];
        let parts = (0..PARTS).map(|_| OnceLock::new()).collect();
        let (len, made) = (AtomicU64::new(len), AtomicU64::new(len));
        let hasher = Hasher::new(secret);
        Ok(Self { file, path, disk, secret, hasher, len, made, chunks_from: u64::MAX, parts })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len.load(Acquire)
    }

    pub(crate) fn secret(&self) -> [u8; 16] {
        let [a, b] = self.secret.map(u64::to_le_bytes);
        std::array::from_fn(|at| if at < 8 { a[at] } else { b[at - 8] })
    }

    pub(crate) const fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    #[inline]
    pub(crate) fn key(&self, outpoint: &OutPoint) -> Key {
        self.hasher.key(outpoint)
    }

    #[cold]
    pub(crate) fn damaged(&self, offset: u64) -> Error {
        Error::Damaged { path: self.path.clone(), offset }
    }

    /// Appends a record, which [`new_record`] began, and returns where it begins.
    pub(crate) fn append(&self, kind: Kind, mut record: Vec<u8>) -> Result<u64, Error> {
        record.resize(record.len().next_multiple_of(4), 0);
        let at = self.len();
        if RECORD_MAX < record.len() || PART * PARTS as u64 <= at + record.len() as u64 {
            return Err(Error::LogFull { path: self.path.clone() });
        }
        let (_, name) = KINDS.iter().find(|(one, _)| *one == kind).expect("each kind has a name");
        let size = u32::try_from(record.len() - PREFIX).expect("a record is under 64 MiB");
        record[..4].copy_from_slice(&size.to_le_bytes());
        record[4..8].copy_from_slice(name);
        let crc = checksum(&record[4..8], &record[PREFIX..]);
        record[8..PREFIX].copy_from_slice(&crc.to_le_bytes());
        let end = at + record.len() as u64;
        match self.write(at, record) {
            Ok(made) => {
                self.made.store(made, Relaxed);
                self.len.store(end, Release);
                Ok(at)
            }
            Err(error) => {
                // Half a record would be cut at the next start; better now, if the disk lets us.
                let _ = self.disk.set_len(&self.file, &self.path, at);
                self.made.store(at, Relaxed);
                Err(error)
            }
        }
    }

    /// Writes a record, and returns how long the file then is: a long log grows by chunks, each written
    /// at once, zeros behind its end, so that the system takes a large page for it and maps it as one.
    /// With pages of 4 KiB, address translation takes most of a look-up in a log of gigabytes.
    fn write(&self, at: u64, mut record: Vec<u8>) -> Result<u64, Error> {
        let (size, made) = (record.len(), self.made.load(Relaxed).max(at));
        let end = at + size as u64;
        let mut chunk = made.next_multiple_of(CHUNK as u64);
        let write = |at, bytes: &[u8]| self.disk.write(&self.file, &self.path, at, bytes);
        if end <= self.chunks_from || end <= chunk {
            write(at, &record)?;
            return Ok(made.max(end));
        }
        let before = usize::try_from(chunk - at).unwrap_or(size);
        record.resize(before + (size - before).next_multiple_of(CHUNK), 0);
        let made = at + record.len() as u64;
        let (first, chunks) = record.split_at(before);
        let mut written = write(at, first);
        for bytes in chunks.chunks(CHUNK) {
            written = written.and_then(|()| write(chunk, bytes));
            chunk += CHUNK as u64;
        }
        written.map(|()| made)
    }

    /// Cuts the zeros behind the last record, once the writer is done. Not when the log is dropped:
    /// readers keep it longer, and another writer may have begun meanwhile. The next start does it if
    /// this fails.
    pub(crate) fn cut_zeros(&self) {
        let (len, made) = (self.len(), self.made.load(Relaxed));
        if len < made && self.file.metadata().is_ok_and(|metadata| metadata.len() == made) {
            let _ = self.truncate(len);
        }
    }

    /// Makes chunks ahead from some length on.
    pub(crate) const fn chunks_from(mut self, len: u64) -> Self {
        self.chunks_from = len;
        self
    }

    /// Bytes from `at` on, `max` of them or up to the end.
    #[inline]
    fn bytes(&self, at: u64, max: usize) -> Result<&[u8], Error> {
        let left = self.len().checked_sub(at).ok_or_else(|| self.damaged(at))?;
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        let index = usize::try_from(at / PART).unwrap_or(usize::MAX);
        let place = self.parts.get(index).ok_or_else(|| self.damaged(at))?;
        let part = match place.get() {
            Some(part) => part,
            None => self.map(place, at)?,
        };
        let start = usize::try_from(at % PART).expect("a part is 256 MiB");
        Ok(&part[start..start + max])
    }

    #[cold]
    fn map<'a>(&self, place: &'a OnceLock<Part>, at: u64) -> Result<&'a Part, Error> {
        let len = usize::try_from(PART).unwrap_or(usize::MAX) + OVERLAP;
        let part = map_part(&self.file, &self.path, at / PART * PART, len);
        let part = part.map_err(Error::io(&self.path))?;
        Ok(place.get_or_init(|| part))
    }

    /// Lets go of the pages that were looked at so far.
    pub(crate) fn release(&self) -> Result<(), Error> {
        let mut mapped = self.parts.iter().filter_map(OnceLock::get);
        mapped.try_for_each(Part::release).map_err(Error::io(&self.path))
    }

    /// Asks for the first line of a coin.
    pub(crate) fn prefetch(&self, place: Place) {
        if let Ok([first, ..]) = self.bytes(place * 4, 1) {
            prefetch(first);
        }
    }

    /// Asks for the other lines that reading a coin needs, once the first is there: the end of the coin,
    /// which is as long as a head mostly, and its head.
    pub(crate) fn prefetch_rest(&self, place: Place) {
        let at = place * 4;
        let Ok(bytes @ &[_, _, _, _, back, ..]) = self.bytes(at, HEAD) else { return };
        if let Ok(head) = self.bytes(at.saturating_sub(4 * u64::from(back)), HEAD) {
            [bytes.last(), head.first(), head.last()].into_iter().flatten().for_each(prefetch);
        }
    }

    /// Reads a coin; an error if it is damaged.
    #[inline(always)]
    pub(crate) fn coin(&self, place: Place) -> Result<CoinView<'_>, Error> {
        let at = place * 4;
        // The head lies before the coin, at most a record's length away, and mostly very near.
        for before in [1 << 10, RECORD_MAX] {
            let start = at.saturating_sub(before as u64);
            let offset = usize::try_from(at - start).unwrap_or(before);
            let bytes = self.bytes(start, offset + COIN_MAX)?;
            // Lines that may be needed next, before the first one says so.
            let near = [offset.saturating_sub(HEAD), offset + HEAD];
            near.iter().filter_map(|&at| bytes.get(at)).for_each(prefetch);
            if let Some(coin) = read_coin(bytes, offset) {
                return Ok(coin);
            }
        }
        Err(self.damaged(at))
    }

    /// Reads the record at `at`; none if it is torn or damaged, or at the end.
    pub(crate) fn record(&self, at: u64) -> Result<Option<Record<'_>>, Error> {
        if self.len().saturating_sub(at) < PREFIX as u64 {
            return Ok(None);
        }
        let prefix = self.bytes(at, PREFIX)?;
        let (words, _) = prefix.as_chunks();
        let size = usize::try_from(u32::from_le_bytes(words[0])).unwrap_or(usize::MAX);
        let kind = KINDS.iter().find(|(_, name)| *name == words[1]);
        let Some((kind, name)) = kind.filter(|_| size <= RECORD_MAX - PREFIX) else {
            return Ok(None);
        };
        let payload = &self.bytes(at, PREFIX + size)?[PREFIX..];
        if payload.len() < size || checksum(name, payload) != u32::from_le_bytes(words[2]) {
            return Ok(None);
        }
        let end = at + (PREFIX + size) as u64;
        Ok(Some(Record { kind: *kind, at, payload, end }))
    }

    /// Reads a block's record, which is known to be there.
    pub(crate) fn block(&self, at: u64) -> Result<(BlockHead, Record<'_>), Error> {
        let record = self.record(at)?.filter(|record| record.kind == Kind::Block);
        let record = record.ok_or_else(|| self.damaged(at))?;
        Ok((self.head(&record)?, record))
    }

    /// Reads the head of a block's record.
    pub(crate) fn head(&self, record: &Record<'_>) -> Result<BlockHead, Error> {
        BlockHead::read(record.payload).map_err(|_| self.damaged(record.at))
    }

    /// Reads the head alone of a block's record, which is known to be there. No checksum is looked
    /// at, so that a walk over many touches little of the file.
    pub(crate) fn head_at(&self, at: u64) -> Result<BlockHead, Error> {
        let bytes = self.bytes(at, PREFIX + BLOCK_HEAD)?;
        let name = KINDS.iter().find(|(kind, _)| *kind == Kind::Block).map(|(_, name)| name);
        let is_block = bytes.get(4..8) == name.map(|name| &name[..]);
        let payload = bytes.get(PREFIX..).filter(|_| is_block).ok_or_else(|| self.damaged(at))?;
        BlockHead::read(payload).map_err(|_| self.damaged(at))
    }

    /// Visits the coins that a record made, in the order of its transactions.
    pub(crate) fn created(
        &self,
        record: &Record<'_>,
        mut visit: impl FnMut(Place, &CoinView<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (start, len) = match record.kind {
            Kind::Block => {
                let head = self.head(record)?;
                (BLOCK_HEAD, usize::try_from(head.coins_len).unwrap_or(usize::MAX))
            }
            _ => (0, record.payload.len()),
        };
        let coins = record.payload.get(start..).and_then(|rest| rest.get(..len));
        let coins = coins.ok_or_else(|| self.damaged(record.at))?;
        let base = record.at + (PREFIX + start) as u64;
        let mut at = 0;
        while let Some(head) = coins[at..].first_chunk::<HEAD>() {
            at += HEAD;
            for _ in 0..coins_of(head) {
                let place = base + at as u64;
                let coin = read_coin(coins, at).ok_or_else(|| self.damaged(place))?;
                visit(place / 4, &coin)?;
                at += coin.len;
            }
        }
        Ok(())
    }

    /// Returns the keys and places of the coins that a record made.
    pub(crate) fn created_keys(&self, record: &Record<'_>) -> Result<Vec<(Key, Place)>, Error> {
        let mut created = Vec::new();
        self.created(record, |place, coin| {
            created.push((self.key(&coin.outpoint()), place));
            Ok(())
        })?;
        Ok(created)
    }

    /// Whether the coins at two places have the same outpoint.
    pub(crate) fn have_one_outpoint(&self, a: Place, b: Place) -> Result<bool, Error> {
        Ok(self.coin(a)?.outpoint() == self.coin(b)?.outpoint())
    }

    /// Returns the keys and places of the coins that a block spent of earlier blocks, or overwrote.
    pub(crate) fn spent(
        &self,
        record: &Record<'_>,
    ) -> Result<impl ExactSizeIterator<Item = (Key, Place)> + use<'_>, Error> {
        let damaged = || self.damaged(record.at);
        let head = self.head(record)?;
        let start = BLOCK_HEAD + usize::try_from(head.coins_len).unwrap_or(usize::MAX);
        let len = usize::try_from(head.spent).unwrap_or(usize::MAX).saturating_mul(SPENT);
        // Sliced anew, since what it gives lives as long as the log.
        let payload = &self.bytes(record.at, PREFIX + record.payload.len())?[PREFIX..];
        let bytes = payload.get(start..).and_then(|rest| rest.get(..len)).ok_or_else(damaged)?;
        Ok(bytes.as_chunks::<SPENT>().0.iter().map(|entry| {
            let (words, _) = entry.as_chunks();
            (Key(u64::from_le_bytes(words[0])), u64::from_le_bytes(words[1]))
        }))
    }

    /// Returns the place of a coin in a list of what a block spent.
    pub(crate) fn spent_place(&self, list: u64, index: u64) -> Result<Place, Error> {
        let at = list + index * SPENT as u64 + 8;
        let place = self.bytes(at, 8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        place.filter(|place| *place <= PLACE).ok_or_else(|| self.damaged(at))
    }

    /// Cuts what lies behind `len`, before anybody has looked at it.
    pub(crate) fn truncate(&self, len: u64) -> Result<(), Error> {
        self.disk.set_len(&self.file, &self.path, len)?;
        self.end_at(len);
        Ok(())
    }

    /// Stops at `len`, without a change to the file.
    pub(crate) fn end_at(&self, len: u64) {
        self.made.store(len, Relaxed);
        self.len.store(len, Release);
    }

    /// How many bytes there are from `end` on before the zeros that end the file. They are not looked at
    /// through the map: the writer may cut them meanwhile.
    pub(crate) fn bytes_behind(&self, end: u64) -> Result<u64, Error> {
        let (mut bytes, mut at, mut last) = (vec![0; 1 << 16], end, end);
        loop {
            let count = self.file.read_at(&mut bytes, at).map_err(Error::io(&self.path))?;
            if count == 0 {
                return Ok(last - end);
            }
            if let Some(nonzero) = bytes[..count].iter().rposition(|byte| *byte != 0) {
                last = at + nonzero as u64 + 1;
            }
            at += count as u64;
        }
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.disk.sync(&self.file, &self.path)
    }
}

fn checksum(kind: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(kind);
    crc.update(payload);
    crc.finalize()
}
