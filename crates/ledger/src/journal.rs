use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use byteorder::{ByteOrder, LittleEndian};
use caesure_consensus::{Coin, Work};
use caesure_wire::{BlockHash, DecodeError, OutPoint, Reader, push_compact_size};

use crate::coin::{push_coin, push_entry, read_coin, read_entry};
use crate::{BlockInfo, Error};

/// The length of a record's prefix: u32 size, u32 CRC-32 of what follows.
const PREFIX: usize = 8;
/// No record is longer: a block spends fewer than 100,000 coins of at most 10,000 bytes, and the
/// limit only keeps a damaged length from being believed.
const MAX_RECORD: usize = 1 << 30;
/// Where a record says that its parent has none.
const NO_RECORD: u64 = u64::MAX;

/// What a committed block did: enough to redo it with the block's bytes, and to undo it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) info: BlockInfo,
    pub(crate) prev_block: BlockHash,
    pub(crate) parent_record: Option<u64>,
    /// The coins that the block spent of earlier blocks, in the order of its inputs.
    pub(crate) spent: Vec<Coin>,
    /// The coins that its coinbase overwrote. Spec: BIP-0030.
    pub(crate) overwritten: Vec<(OutPoint, Coin)>,
}

/// Appends height 4, work 32, total 8, fees 8, issued 8, after a hash of 32.
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

impl Record {
    /// The payload, with a hole of [`PREFIX`] bytes before it. The parent's place comes first.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; PREFIX];
        out.extend_from_slice(&self.parent_record.unwrap_or(NO_RECORD).to_le_bytes());
        out.extend_from_slice(&self.prev_block.0);
        push_info(&mut out, &self.info);
        push_compact_size(&mut out, self.overwritten.len());
        for (outpoint, coin) in &self.overwritten {
            push_entry(&mut out, outpoint, coin);
        }
        push_compact_size(&mut out, self.spent.len());
        for coin in &self.spent {
            push_coin(&mut out, coin);
        }
        out
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let parent_record = u64::from_le_bytes(reader.array()?);
        let prev_block = BlockHash(reader.array()?);
        let info = read_info(&mut reader)?;
        let count = reader.compact_size()?;
        let overwritten = (0..count).map(|_| read_entry(&mut reader)).collect::<Result<_, _>>()?;
        let count = reader.compact_size()?;
        let spent = (0..count).map(|_| read_coin(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        let parent_record = (parent_record != NO_RECORD).then_some(parent_record);
        Ok(Self { info, prev_block, parent_record, spent, overwritten })
    }
}

/// The file `ledger.journal`: a record for each block, in the order of commitment, all forks.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Journal {
    /// Opens the journal; only a writer makes one that is missing.
    pub(crate) fn open(path: PathBuf, is_writer: bool) -> Result<Option<Self>, Error> {
        if !is_writer && !path.exists() {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(is_writer).create(is_writer).truncate(false);
        let file = options.open(&path).map_err(Error::io(&path))?;
        let len = file.metadata().map_err(Error::io(&path))?.len();
        Ok(Some(Self { file, path, len }))
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record, which [`Record::encode`] made, and returns its place.
    pub(crate) fn append(&mut self, record: &mut [u8]) -> Result<u64, Error> {
        let (prefix, payload) = record.split_at_mut(PREFIX);
        let size = u32::try_from(payload.len()).expect("a record is under 1 GiB");
        LittleEndian::write_u32(prefix, size);
        LittleEndian::write_u32(&mut prefix[4..], crc32fast::hash(payload));
        let at = self.len;
        if let Err(source) = self.file.write_all_at(record, at) {
            // Half a record would be cut at the next start; better now, if the disk lets us.
            let _ = self.file.set_len(at);
            return Err(Error::Io { path: self.path.clone(), source });
        }
        self.len += record.len() as u64;
        Ok(at)
    }

    /// Reads the record at `at` and where the next one begins; none at a torn or damaged one.
    pub(crate) fn read(&self, at: u64) -> Result<Option<(Record, u64)>, Error> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        if left < PREFIX {
            return Ok(None);
        }
        let mut prefix = [0; PREFIX];
        self.file.read_exact_at(&mut prefix, at).map_err(Error::io(&self.path))?;
        let size = usize::try_from(LittleEndian::read_u32(&prefix)).unwrap_or(usize::MAX);
        if MAX_RECORD.min(left - PREFIX) < size {
            return Ok(None);
        }
        let mut payload = vec![0; size];
        let start = at + PREFIX as u64;
        self.file.read_exact_at(&mut payload, start).map_err(Error::io(&self.path))?;
        if crc32fast::hash(&payload) != LittleEndian::read_u32(&prefix[4..]) {
            return Ok(None);
        }
        Ok(Record::decode(&payload).ok().map(|record| (record, start + size as u64)))
    }

    /// Cuts a torn tail.
    pub(crate) fn truncate(&mut self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(Error::io(&self.path))?;
        self.len = len;
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}
