use std::io::{self, BufRead, Read};

use caesure_wire::Reader;

/// Why a file of coins is refused, and where.
#[derive(Debug, thiserror::Error)]
#[error("{fault}, at offset {offset}")]
pub struct FormatError {
    /// Bytes from the start of the file to the field that is wrong.
    pub offset: u64,
    /// What is wrong.
    pub fault: FormatFault,
}

/// What can be wrong with a file of coins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatFault {
    /// The operating system says so.
    #[error("the file cannot be read: {0}")]
    Io(io::Error),
    /// The file ends inside this field, or before it.
    #[error("the file ends too early")]
    UnexpectedEnd,
    /// The first bytes are of no format that is known.
    #[error("this is no file of coins")]
    UnknownFormat,
    /// The format is known, and this version of it is not.
    #[error("version {0} of this format is not known")]
    UnknownVersion(i64),
    /// A number is over its limit, or not in its shortest form.
    #[error("a number is too large, or not in its shortest form")]
    BadNumber,
    /// Another kind or size of field must stand here.
    #[error("another field must stand here")]
    UnexpectedField,
    /// A coin or transaction is not behind the one before it in the order of keys.
    #[error("coins come twice or out of order")]
    OutOfOrder,
    /// The header names another number of coins.
    #[error("the number of coins is not that of the header")]
    WrongCount,
    /// A coin was made after the block whose set the file holds.
    #[error("a coin of height {0} is younger than the block of this set")]
    TooYoung(u32),
    /// An amount is negative or over the limit.
    #[error("an amount is out of range")]
    BadAmount,
    /// The file goes on after its end.
    #[error("bytes follow the last coin")]
    TrailingBytes,
}

/// A stream that counts its bytes, for the errors.
#[derive(Debug)]
pub(crate) struct Source<R> {
    input: R,
    /// Bytes that were taken.
    pub(crate) offset: u64,
}

impl<R: BufRead> Source<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self { input, offset: 0 }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    /// Takes `count` bytes, in steps, since the count is but a claim.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<Vec<u8>, FormatError> {
        const STEP: usize = 1 << 16;
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let start = bytes.len();
            bytes.resize(start + STEP.min(count - start), 0);
            self.fill(&mut bytes[start..])?;
        }
        Ok(bytes)
    }

    /// Passes over `count` bytes.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), FormatError> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == count => self.offset += count,
            Ok(_) => return Err(FormatFault::UnexpectedEnd.at(self.offset)),
            Err(error) => return Err(FormatFault::Io(error).at(self.offset)),
        }
        Ok(())
    }

    /// Takes a CompactSize. Core: `ReadCompactSize`.
    pub(crate) fn compact_size(&mut self) -> Result<u32, FormatError> {
        let at = self.offset;
        let [first] = self.array()?;
        let mut bytes = [first; 9];
        let size = match first {
            0xfd => 3,
            0xfe => 5,
            0xff => 9,
            _ => 1,
        };
        self.fill(&mut bytes[1..size])?;
        let read = Reader::new(&bytes[..size]).compact_size().ok();
        read.and_then(|size| size.try_into().ok()).ok_or_else(|| FormatFault::BadNumber.at(at))
    }

    /// Checks that all bytes were taken.
    pub(crate) fn finish(&mut self) -> Result<(), FormatError> {
        let at = self.offset;
        match self.array::<1>() {
            Ok(_) => Err(FormatFault::TrailingBytes.at(at)),
            Err(FormatError { fault: FormatFault::UnexpectedEnd, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FormatError> {
        let offset = self.offset;
        self.input.read_exact(bytes).map_err(|error| {
            let fault = match error.kind() {
                io::ErrorKind::UnexpectedEof => FormatFault::UnexpectedEnd,
                _ => FormatFault::Io(error),
            };
            fault.at(offset)
        })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

impl FormatFault {
    /// Says where.
    pub(crate) const fn at(self, offset: u64) -> FormatError {
        FormatError { offset, fault: self }
    }
}
