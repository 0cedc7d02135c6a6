use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use caesure_consensus::Coin;
use caesure_wire::{DecodeError, OutPoint, Reader};

use crate::coin::{push_entry, read_entry};
use crate::journal::{push_info, read_info};
use crate::{BlockInfo, Error, Map};

const MAGIC: [u8; 8] = *b"CAESUTX1";
/// How much is read at once, in bytes: more than the longest entry.
const CHUNK: u64 = 1 << 20;

/// The file `ledger.coins`: the base, and where the journal goes on from it.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) info: BlockInfo,
    /// The root's own record, which undoing it needs.
    pub(crate) record: Option<u64>,
    /// The first record that is not yet in the base.
    pub(crate) replay_from: u64,
}

/// Writes the file beside the old one and replaces that at once. Returns its length.
pub(crate) fn write(
    path: &Path,
    checkpoint: &Checkpoint,
    network: [u8; 4],
    coins: &Map<OutPoint, Coin>,
) -> Result<u64, Error> {
    let temporary = path.with_extension("coins.tmp");
    let len = write_to(&temporary, checkpoint, network, coins).map_err(Error::io(&temporary))?;
    fs::rename(&temporary, path).map_err(Error::io(path))?;
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))?;
    }
    Ok(len)
}

fn write_to(
    path: &Path,
    checkpoint: &Checkpoint,
    network: [u8; 4],
    coins: &Map<OutPoint, Coin>,
) -> io::Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = Vec::from(MAGIC);
    buffer.extend_from_slice(&network);
    push_info(&mut buffer, &checkpoint.info);
    buffer.extend_from_slice(&checkpoint.record.unwrap_or(u64::MAX).to_le_bytes());
    buffer.extend_from_slice(&checkpoint.replay_from.to_le_bytes());
    buffer.extend_from_slice(&(coins.len() as u64).to_le_bytes());
    let mut len = 0;
    let mut write = |buffer: &mut Vec<u8>| {
        crc.update(buffer);
        len += buffer.len() as u64;
        file.write_all(buffer)?;
        buffer.clear();
        io::Result::Ok(())
    };
    for (outpoint, coin) in coins {
        push_entry(&mut buffer, outpoint, coin);
        if 1 << 16 <= buffer.len() {
            write(&mut buffer)?;
        }
    }
    write(&mut buffer)?;
    file.write_all(&crc.finalize().to_le_bytes())?;
    file.into_inner()?.sync_all()?;
    Ok(len + 4)
}

type Loaded = (Checkpoint, Map<OutPoint, Coin>);

/// Reads the file, if there is one, a buffer at a time.
pub(crate) fn read(path: &Path, network: [u8; 4]) -> Result<Option<Loaded>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    let file_len = file.metadata().map_err(Error::io(path))?.len();
    let damaged = |offset| Error::Damaged { path: path.to_owned(), offset };
    let body_len = file_len.checked_sub(4).ok_or_else(|| damaged(0))?;
    let mut body = Body { file, left: body_len, buffer: Vec::new(), crc: crc32fast::Hasher::new() };
    body.fill().map_err(Error::io(path))?;
    if body.buffer.get(..8) != Some(&MAGIC) || body.buffer.get(8..12) != Some(&network) {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let mut reader = Reader::new(&body.buffer[12..]);
    let header = read_header(&mut reader);
    let (checkpoint, count) = header.map_err(|_| damaged(12))?;
    let mut used = 12 + reader.position();
    let mut coins = Map::default();
    loop {
        let mut reader = Reader::new(&body.buffer[used..]);
        let mut whole = 0;
        while let Ok((outpoint, coin)) = read_entry(&mut reader) {
            coins.insert(outpoint, coin);
            whole = reader.position();
        }
        body.buffer.drain(..used + whole);
        used = 0;
        if body.left == 0 {
            break;
        }
        body.fill().map_err(Error::io(path))?;
    }
    let mut crc = [0; 4];
    body.file.read_exact(&mut crc).map_err(Error::io(path))?;
    let is_whole = body.buffer.is_empty() && coins.len() as u64 == count;
    if !is_whole || body.crc.finalize().to_le_bytes() != crc {
        return Err(damaged(body_len));
    }
    Ok(Some((checkpoint, coins)))
}

fn read_header(reader: &mut Reader<'_>) -> Result<(Checkpoint, u64), DecodeError> {
    let info = read_info(reader)?;
    let record = u64::from_le_bytes(reader.array()?);
    let replay_from = u64::from_le_bytes(reader.array()?);
    let count = u64::from_le_bytes(reader.array()?);
    let record = (record != u64::MAX).then_some(record);
    Ok((Checkpoint { info, record, replay_from }, count))
}

/// The file without its trailer.
struct Body {
    file: File,
    left: u64,
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl Body {
    /// Appends up to [`CHUNK`] bytes to what is left in the buffer.
    fn fill(&mut self) -> io::Result<()> {
        let start = self.buffer.len();
        let size = self.left.min(CHUNK);
        Read::take(&mut self.file, size).read_to_end(&mut self.buffer)?;
        let read = &self.buffer[start..];
        self.crc.update(read);
        self.left -= read.len() as u64;
        if (read.len() as u64) < size { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
