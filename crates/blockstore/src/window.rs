use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::mapping::{self, Mapped};
use crate::record::{HEAD_SIZE, MAX_BLOCK_SIZE, PREFIX_SIZE};

/// A mapped file's pages are given back in pieces of this many bytes, so that memory does not grow
/// with the file.
const RELEASE_SIZE: usize = 1 << 20;

/// The length in bytes of Bitcoin Core's obfuscation key.
pub(crate) const KEY_SIZE: usize = 8;
/// With how many zero bytes the size of a block can begin in native form, which is below 2^24.
pub(crate) const BLANKS_IN_SIZE: usize = 2;
/// How much a search looks at in one step.
const STEP: usize = 1 << 16;
/// How much is read at least: a page, in which there is a head, or many small blocks.
const READ_SIZE: usize = 4096;

/// The bytes of one file or stream, in which a reader moves forward.
pub(crate) struct Window {
    source: Source,
    key: [u8; KEY_SIZE],
}

enum Source {
    Map(Arc<Mapped>),
    File { file: File, size: u64, buffer: Vec<u8>, start: u64 },
    Stream { stream: Box<dyn Read + Send>, buffer: Vec<u8>, start: u64 },
}

impl Window {
    /// Looks at a mapped file.
    pub(crate) fn map(file: &File, path: &Path) -> io::Result<Self> {
        Ok(Self { source: Source::Map(Arc::new(mapping::map(file, path)?)), key: [0; KEY_SIZE] })
    }

    /// Looks by plain reads at the first `size` bytes of a file, which are combined with `key`,
    /// repeated from the file's start.
    pub(crate) const fn file(file: File, size: u64, key: [u8; KEY_SIZE]) -> Self {
        Self { source: Source::File { file, size, buffer: Vec::new(), start: 0 }, key }
    }

    /// Looks at a stream, which need not end and is read once.
    pub(crate) fn stream(stream: impl Read + Send + 'static) -> Self {
        let stream = Box::new(BufReader::with_capacity(STEP, stream));
        let source = Source::Stream { stream, buffer: Vec::new(), start: 0 };
        Self { source, key: [0; KEY_SIZE] }
    }

    /// Returns up to `count` bytes from `at` on, fewer only at the end. A stream forgets all before
    /// `at`, and holds no more than `count` bytes and as many again.
    pub(crate) fn get(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        match &mut self.source {
            Source::Map(map) => {
                let start = usize::try_from(at).map_or(map.len(), |at| at.min(map.len()));
                Ok(&map[start..start.saturating_add(count).min(map.len())])
            }
            Source::File { file, size, buffer, start } => {
                let is_there = *start <= at && at + count as u64 <= *start + buffer.len() as u64;
                if !is_there {
                    let left = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
                    buffer.resize(count.max(READ_SIZE).min(left), 0);
                    let size = read_up_to(file, buffer, at)?;
                    buffer.truncate(size);
                    combine(buffer, &self.key, at);
                    *start = at;
                }
                let from = usize::try_from(at - *start).map_err(io::Error::other)?;
                Ok(&buffer[from..(from + count).min(buffer.len())])
            }
            Source::Stream { stream, buffer, start } => {
                let mut skipped = usize::try_from(at - *start).map_err(io::Error::other)?;
                if buffer.len() <= 2 * skipped {
                    assert!(skipped <= buffer.len(), "a reader moves over what it saw");
                    buffer.drain(..skipped);
                    *start = at;
                    skipped = 0;
                }
                let missing = (skipped + count).saturating_sub(buffer.len());
                stream.take(missing as u64).read_to_end(buffer)?;
                Ok(&buffer[skipped.min(buffer.len())..(skipped + count).min(buffer.len())])
            }
        }
    }

    /// Returns up to [`HEAD_SIZE`] bytes behind the `size` bytes at `at`; nothing when those are not
    /// all there. A file is not read in between.
    pub(crate) fn behind(&mut self, at: u64, size: usize) -> io::Result<Option<&[u8]>> {
        if let Source::Stream { .. } = self.source {
            return Ok(self.get(at, size + HEAD_SIZE)?.get(size..));
        }
        Ok(self.get(at + size as u64 - 1, 1 + HEAD_SIZE)?.get(1..))
    }

    /// Returns whether bytes that stand at `at` are zero in the file itself.
    pub(crate) fn is_blank(key: &[u8; KEY_SIZE], at: u64, bytes: &[u8]) -> bool {
        bytes.iter().zip(key_at(key, at).into_iter().cycle()).all(|(byte, key)| *byte == key)
    }

    /// Returns where the zeros that begin at `at` end, and whether the file does.
    pub(crate) fn blank_end(&mut self, mut at: u64) -> io::Result<(u64, bool)> {
        let key = self.key;
        loop {
            let chunk = self.get(at, STEP)?;
            let mut keyed = chunk.iter().zip(key_at(&key, at).into_iter().cycle());
            if let Some(i) = keyed.position(|(byte, key)| *byte != key) {
                return Ok((at + i as u64, false));
            }
            if chunk.len() < STEP {
                return Ok((at + chunk.len() as u64, true));
            }
            // A stream keeps the zeros with which a size in native form may begin.
            at += (STEP - BLANKS_IN_SIZE) as u64;
        }
    }

    /// Returns the first place from `at` on whose `size` bytes are accepted, or the end.
    pub(crate) fn search(
        &mut self,
        mut at: u64,
        size: usize,
        is_accepted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<(u64, bool)> {
        loop {
            let chunk = self.get(at, STEP + size)?;
            if chunk.len() < size {
                return Ok((at + chunk.len() as u64, true));
            }
            if let Some(i) = chunk.windows(size).position(&is_accepted) {
                return Ok((at + i as u64, false));
            }
            at += (chunk.len() - size + 1) as u64;
        }
    }

    /// Takes the bytes of one record, without a copy where the file is mapped. The pages of records
    /// far behind are given back.
    pub(crate) fn take(&mut self, at: u64, size: usize) -> io::Result<RecordBytes> {
        let start = usize::try_from(at).map_err(io::Error::other)?;
        let Source::Map(map) = &self.source else {
            return Ok(RecordBytes(Bytes::Owned(self.get(at, size)?.to_vec())));
        };
        if start / RELEASE_SIZE != (start + size) / RELEASE_SIZE {
            // The last record but one may begin so far before the piece.
            let from = start.saturating_sub(RELEASE_SIZE + PREFIX_SIZE + MAX_BLOCK_SIZE);
            mapping::release(map, from, start)?;
        }
        Ok(RecordBytes(Bytes::Mapped { map: map.clone(), start, end: start + size }))
    }

    /// Returns a second window on the same mapped bytes, if they are that.
    pub(crate) fn again(&self) -> Option<Self> {
        let Source::Map(map) = &self.source else { return None };
        Some(Self { source: Source::Map(map.clone()), key: self.key })
    }

    /// Whether what is behind cannot be read again.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self.source, Source::Stream { .. })
    }
}

/// Reads until `bytes` are full or the file ends.
pub(crate) fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut size = 0;
    while size < bytes.len() {
        match file.read_at(&mut bytes[size..], at + size as u64) {
            Ok(0) => break,
            Ok(count) => size += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}

/// Combines bytes that stand at `at` in the file with the key. Core: `Obfuscation`.
pub(crate) fn combine(bytes: &mut [u8], key: &[u8; KEY_SIZE], at: u64) {
    if *key == [0; KEY_SIZE] {
        return;
    }
    let key = key_at(key, at);
    let (chunks, rest) = bytes.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u64::from_le_bytes(*chunk) ^ u64::from_le_bytes(key)).to_le_bytes();
    }
    rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
}

/// The key as it stands at the file's byte `at`.
fn key_at(key: &[u8; KEY_SIZE], at: u64) -> [u8; KEY_SIZE] {
    let mut key = *key;
    key.rotate_left(usize::try_from(at % KEY_SIZE as u64).expect("a remainder of 8"));
    key
}

/// The bytes of one raw block: a part of a mapped file, or a copy. Cloning a mapped part is cheap,
/// and it stays readable when the reader is gone.
#[derive(Clone, Debug)]
pub struct RecordBytes(Bytes);

#[derive(Clone, Debug)]
enum Bytes {
    Mapped { map: Arc<Mapped>, start: usize, end: usize },
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for RecordBytes {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped { map, start, end } => &map[*start..*end],
            Bytes::Owned(bytes) => bytes,
        }
    }
}
