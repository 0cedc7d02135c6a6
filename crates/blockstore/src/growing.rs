//! Files that grow while they are read: those to which another program appends, or a store's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use caesure_wire::{BlockHash, Header};

use crate::input::{Access, InputFile, Located, Place, block_files, xor_key};
use crate::record::{PREFIX_SIZE, check_block, is_released};
use crate::{BlockReader, BlockStore, Error, Fault, RecordReader};

/// What a step found.
pub(crate) enum Found {
    /// Nothing more for now.
    Nothing,
    /// A block that is known, perhaps at another place.
    Known(BlockHash, Place),
    /// A record of which only the header is left.
    Released(Header, Place),
    /// A record whose block is not sound.
    Damaged(BlockHash),
    /// A sound block.
    New(Header, Place, Vec<u8>),
}

/// One file or a folder of them.
pub(crate) struct Files {
    path: PathBuf,
    magic: [u8; 4],
    tails: Vec<Tail>,
    sweep: Option<RecordReader>,
    /// What was seen last behind bytes that are no record, or damaged: its place and its hash.
    odd: Option<(usize, u64, BlockHash)>,
    has_record: bool,
    /// What knows how much of a store's file is durable.
    store: Option<BlockReader>,
}

/// A file, whose records were taken up to `from`.
struct Tail {
    file: InputFile,
    /// The last of them, and the checksum of its block.
    last: Option<(Place, u32)>,
}

impl Files {
    pub(crate) fn open(path: &Path, magic: [u8; 4]) -> Result<Self, Error> {
        let is_dir = fs::metadata(path).map_err(Error::io(path))?.is_dir();
        let is_store = is_dir && block_files(path)?[0].ends_with("blocks.bin");
        let store = is_store.then(|| BlockStore::open_read_only(path, magic)).transpose()?;
        let (path, tails) = (path.to_owned(), Vec::new());
        Ok(Self { path, magic, tails, sweep: None, odd: None, has_record: false, store })
    }

    /// The files, and up to where their records were taken.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.tails.iter().map(|tail| (tail.file.path.as_path(), tail.file.from))
    }

    /// Takes one more record.
    pub(crate) fn next(&mut self, is_known: &dyn Fn(&BlockHash) -> bool) -> Result<Found, Error> {
        let mut reader = match self.sweep.take() {
            Some(reader) => reader,
            None => self.begin_sweep()?,
        };
        while let Some(located) = reader.locate()? {
            let Located { place, header, is_last } = located;
            let hash = header.hash();
            let is_known = is_known(&hash);
            let (mut found, mut last) = (Found::Known(hash, place), None);
            if is_last || !is_known {
                let bytes = reader.take_block(place)?;
                let bytes = bytes.as_ref();
                last = Some((place, crc32fast::hash(bytes)));
                if !is_known {
                    found = match check_block(bytes) {
                        _ if is_released(bytes) => Found::Released(header, place),
                        Ok(_) => Found::New(header, place, bytes.to_vec()),
                        Err(_) if is_last => {
                            // It may be half written.
                            reader.leave_file();
                            continue;
                        }
                        Err(_) => Found::Damaged(hash),
                    };
                }
            }
            let tail = &mut self.tails[place.file];
            let is_odd = tail.file.from != place.position || matches!(found, Found::Damaged(_));
            let odd = is_odd.then_some((place.file, place.position, hash));
            if is_odd && self.odd != odd {
                // A page that was read before it was written may stand before one that was read after:
                // what is passed over counts only when it is so twice.
                self.odd = odd;
                reader = self.begin_sweep()?;
                continue;
            }
            tail.file.from = place.position + (PREFIX_SIZE + place.size) as u64;
            tail.last = last;
            self.has_record = true;
            self.sweep = Some(reader);
            return Ok(found);
        }
        if !self.has_record && reader.counts().foreign != 0 {
            reader.finish()?;
        }
        Ok(Found::Nothing)
    }

    /// Looks for files, and behind the records that were taken of each.
    fn begin_sweep(&mut self) -> Result<RecordReader, Error> {
        let is_dir = self.path.is_dir();
        let paths = if is_dir { block_files(&self.path)? } else { vec![self.path.clone()] };
        let known: BTreeSet<&Path> = self.ends().map(|(path, _)| path).collect();
        let new = paths.into_iter().filter(|path| !known.contains(path.as_path()));
        for path in new.collect::<Vec<_>>() {
            self.tails.push(Tail { file: InputFile::new(path, 0)?, last: None });
        }
        if let Some(store) = &mut self.store {
            store.refresh()?;
        }
        let count = self.tails.len();
        for (number, tail) in (1..).zip(&mut self.tails) {
            let Tail { file, last } = tail;
            // A file may be deleted when all was read of it.
            file.size = fs::metadata(&file.path).map_or(file.from, |meta| meta.len());
            if let Some(store) = &self.store {
                file.size = file.size.min(store.index.end());
            }
            let may_differ = file.size != file.from || number == count;
            if file.size < file.from || may_differ && !has_block(file, *last)? {
                file.from = 0;
            }
        }
        let files = self.tails.iter().map(|tail| tail.file.clone()).collect();
        Ok(RecordReader::new(files, self.magic, Access::Follow))
    }

    /// Goes on behind these ends, and shows the headers of the records before them.
    pub(crate) fn take_up(
        &mut self,
        ends: &[(PathBuf, u64)],
        visit: &mut dyn FnMut(Header, Place),
    ) -> Result<(), Error> {
        let mut files = Vec::new();
        for (path, end) in ends {
            let size = fs::metadata(path).map_or(0, |meta| meta.len().min(*end));
            let (path, key) = (path.clone(), xor_key(path)?);
            let file = InputFile { path, from: 0, size, key };
            self.tails.push(Tail { file: InputFile { from: *end, ..file.clone() }, last: None });
            files.push(file);
        }
        let mut reader = RecordReader::new(files, self.magic, Access::Read);
        while let Some(Located { place, header, .. }) = reader.locate()? {
            self.has_record = true;
            visit(header, place);
        }
        Ok(())
    }

    /// Reads a block again.
    pub(crate) fn read(&self, place: Place, hash: &BlockHash) -> Result<Vec<u8>, Error> {
        let file = &self.tails[place.file].file;
        let bytes = read_block(file, place)?;
        let fault = match check_block(&bytes) {
            Ok(header) if header.hash() == *hash => return Ok(bytes),
            Ok(_) => Fault::Hash,
            Err(_) if is_released(&bytes) => return Err(Error::Pruned(*hash)),
            Err(fault) => fault,
        };
        Err(Error::Damaged { path: file.path.clone(), position: place.position, fault })
    }
}

/// Reads a block, or as much of it as there is.
fn read_block(file: &InputFile, place: Place) -> Result<Vec<u8>, Error> {
    let mut window = file.open_unmapped()?;
    let bytes = window.get(place.position + PREFIX_SIZE as u64, place.size);
    bytes.map(<[u8]>::to_vec).map_err(Error::io(&file.path))
}

/// Whether the block is still there, if there is one.
fn has_block(file: &InputFile, last: Option<(Place, u32)>) -> Result<bool, Error> {
    let Some((place, checksum)) = last else { return Ok(true) };
    Ok(crc32fast::hash(&read_block(file, place)?) == checksum)
}
