use std::io::{ErrorKind, Read};

use crate::value::{put_integer, put_tuple};
use crate::{Error, Value};

/// What every record begins with.
pub const MAGIC: [u8; 4] = [0x25, 0xf1, 0xbf, 0x42];
/// A reader that met no magic for so many bytes gives up, as the original's did.
pub const MAX_SKIPPED: u64 = 10_000;
/// A record that says it is longer is none. The longest that is written holds a message of 4 MB.
pub(crate) const MAX_LENGTH: usize = 16 << 20;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When, microseconds since 1970.
    pub time: i64,
    /// What: the facility first, then what happened there, then its data.
    pub items: Vec<Value>,
}

impl Record {
    /// Returns the record as it stands in a file, magic and length included.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_record(&mut out, self.time, |out| {
            self.items.iter().for_each(|item| item.encode(out));
        });
        out
    }

    /// Reads the BER part of a record, without magic and length.
    ///
    /// # Errors
    /// When it is anything else than a time and a tuple of items.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, Error> {
        let value = Value::decode(&mut bytes)?;
        let Value::Tuple(parts) = value else { return Err(Error::Malformed) };
        let Ok([Value::Integer(time), Value::Tuple(items)]) = <[Value; 2]>::try_from(parts) else {
            return Err(Error::Malformed);
        };
        let time = i64::try_from(time).map_err(|_| Error::Malformed)?;
        if bytes.is_empty() { Ok(Self { time, items }) } else { Err(Error::Malformed) }
    }

    /// Returns the part of the program that speaks: the first item, where that is text.
    #[must_use]
    pub fn facility(&self) -> &str {
        self.text(0)
    }

    /// Returns an item that is text, else nothing.
    #[must_use]
    pub fn text(&self, item: usize) -> &str {
        match self.items.get(item) {
            Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).unwrap_or_default(),
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }
}

/// Appends a record whose items are put by a function.
pub(crate) fn put_record(out: &mut Vec<u8>, time: i64, put: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    put_tuple(out, |out| {
        put_integer(out, time.into());
        put_tuple(out, put);
    });
    let length = u32::try_from(out.len() - begin - 8).unwrap_or(u32::MAX);
    out[begin + 4..begin + 8].copy_from_slice(&length.to_be_bytes());
}

/// Reads records from a file or a pipe, from any place in it. What is damaged is passed over: reading
/// goes on at the next magic that a whole record follows.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    buffer: Vec<u8>,
    begin: usize,
    /// Bytes that were passed over since the last record.
    gap: u64,
    skipped: u64,
    position: u64,
    max_gap: u64,
}

impl<R: Read> RecordReader<R> {
    /// Begins to read.
    #[must_use]
    pub const fn new(input: R) -> Self {
        let buffer = Vec::new();
        Self { input, buffer, begin: 0, gap: 0, skipped: 0, position: 0, max_gap: MAX_SKIPPED }
    }

    /// Has it never give up, since it begins in the middle of a record of any length.
    #[must_use]
    pub fn from_anywhere(self) -> Self {
        Self { max_gap: u64::MAX, ..self }
    }

    /// Reads more; returns whether there was any.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn has_more(&mut self) -> Result<bool, Error> {
        self.fill()
    }

    /// Returns the next whole record, none at the end of the input. A record that is not whole
    /// yet stays for the next call, so that a file can be followed.
    ///
    /// # Errors
    /// When the input cannot be read, and after 10,000 bytes without a record.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let record = self.next_read()?;
            if record.is_some() || !self.fill()? {
                return Ok(record);
            }
        }
    }

    /// Returns the next whole record of what was read so far, so that nothing is waited for;
    /// [`has_more`](Self::has_more) reads on.
    ///
    /// # Errors
    /// After 10,000 bytes without a record.
    pub fn next_read(&mut self) -> Result<Option<Record>, Error> {
        loop {
            match self.parse() {
                Parsed::Record(record, length) => {
                    self.advance(length);
                    self.gap = 0;
                    return Ok(Some(record));
                }
                Parsed::Garbage(length) => {
                    self.advance(length);
                    self.gap += length as u64;
                    self.skipped += length as u64;
                    if self.gap > self.max_gap {
                        let skipped = std::mem::take(&mut self.gap);
                        return Err(Error::NoRecords { skipped });
                    }
                }
                Parsed::Wanting => return Ok(None),
            }
        }
    }

    /// Returns how many bytes belong to no record: those passed over so far.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns how many bytes wait for more, at the end of an input the rest of a cut record.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// Returns how many bytes were read and passed over since the beginning.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    fn advance(&mut self, length: usize) {
        self.begin += length;
        self.position += length as u64;
    }

    fn parse(&self) -> Parsed {
        let bytes = &self.buffer[self.begin..];
        let wanted = &MAGIC[..bytes.len().min(MAGIC.len())];
        if !bytes.starts_with(wanted) {
            let next = bytes[1..].iter().position(|&byte| byte == MAGIC[0]);
            return Parsed::Garbage(next.map_or(bytes.len(), |next| next + 1));
        }
        let Some((head, rest)) = bytes.split_first_chunk::<8>() else { return Parsed::Wanting };
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // The item that follows says its length again: a damaged one is not waited for.
        let is_sane = length <= MAX_LENGTH && agrees(rest, length);
        match rest.get(..length).map(Record::decode) {
            _ if !is_sane => Parsed::Garbage(1),
            None => Parsed::Wanting,
            Some(Ok(record)) => Parsed::Record(record, 8 + length),
            Some(Err(_)) => Parsed::Garbage(1),
        }
    }

    /// Reads more; false at the end of the input.
    fn fill(&mut self) -> Result<bool, Error> {
        self.buffer.drain(..self.begin);
        self.begin = 0;
        let mut chunk = [0; 1 << 16];
        loop {
            match self.input.read(&mut chunk) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

enum Parsed {
    Record(Record, usize),
    Garbage(usize),
    Wanting,
}

/// Whether the outermost item, as far as it is there, has a tuple's tag and the record's length.
fn agrees(body: &[u8], length: usize) -> bool {
    let Some((&tag, rest)) = body.split_first() else { return true };
    let Some((&first, rest)) = rest.split_first() else { return tag == 0xa0 };
    let count = usize::from(first & 0x7f);
    if tag != 0xa0 || (first >= 0x80 && !(1..=4).contains(&count)) {
        return false;
    }
    if first < 0x80 {
        return length == 2 + usize::from(first);
    }
    let Some(bytes) = rest.get(..count) else { return true };
    let own = bytes.iter().fold(0usize, |own, &byte| own << 8 | usize::from(byte));
    length == 2 + count + own
}
