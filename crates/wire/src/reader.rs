use core::hint::black_box;

use byteorder::{ByteOrder, LittleEndian};

use crate::{DecodeError, MAX_SIZE};

/// A position in a slice, from which little-endian fields are read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// Starts at `position`, which may be the end.
    pub(crate) const fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    /// Returns how many bytes were read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Returns whether all bytes were read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when fewer are left.
    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.position.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(DecodeError::UnexpectedEnd { at: self.bytes.len() })?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    /// Takes an array.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when too few bytes are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// Takes a byte.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when none is left.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.bytes(1)?[0])
    }

    /// Takes a `u32`.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when fewer than four bytes are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.bytes(4).map(LittleEndian::read_u32)
    }

    /// Takes an `i64`.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when fewer than eight bytes are left.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.bytes(8).map(LittleEndian::read_i64)
    }

    /// Takes a `u64`.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when fewer than eight bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.bytes(8).map(LittleEndian::read_u64)
    }

    /// Takes a CompactSize: a byte below 0xfd, or 0xfd, 0xfe, 0xff and two, four, eight bytes.
    /// Core: `ReadCompactSize`.
    ///
    /// # Errors
    /// When it is not in its shortest form, is over [`MAX_SIZE`], or the bytes end.
    #[inline]
    pub fn compact_size(&mut self) -> Result<usize, DecodeError> {
        let (size, width) = match self.bytes.get(self.position) {
            Some(&byte) if byte < 0xfd => (usize::from(byte), 1),
            _ => Reader::at(self.bytes, self.position).long_compact_size()?,
        };
        self.position += width;
        Ok(size)
    }

    /// The size and how many bytes it takes. Out of the way of the many sizes of one byte, and with
    /// a reader of its own, so that theirs can stay in registers.
    #[cold]
    fn long_compact_size(mut self) -> Result<(usize, usize), DecodeError> {
        let at = self.position;
        let size = self.compact_u64()?;
        match usize::try_from(size) {
            Ok(size) if size <= MAX_SIZE => Ok((size, self.position - at)),
            _ => Err(DecodeError::OversizedSize { at, size }),
        }
    }

    /// Takes a number in the form of a CompactSize, which is no length and has no limit.
    ///
    /// # Errors
    /// When it is not in its shortest form, or the bytes end.
    pub fn compact_u64(&mut self) -> Result<u64, DecodeError> {
        let at = self.position;
        let (number, least) = match self.u8()? {
            0xfd => (self.bytes(2).map(LittleEndian::read_u16)?.into(), 0xfd),
            0xfe => (self.u32()?.into(), 0x1_0000),
            0xff => (self.u64()?, 0x1_0000_0000),
            byte => (u64::from(byte), 0),
        };
        if number < least { Err(DecodeError::NonCanonicalSize { at }) } else { Ok(number) }
    }

    /// Takes a CompactSize that counts things of at least `least` bytes each, which must fit into
    /// the bytes that are left.
    #[inline]
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let count = self.compact_size()?;
        if (self.bytes.len() - self.position) / least < count {
            return Err(DecodeError::UnexpectedEnd { at: self.bytes.len() });
        }
        Ok(count)
    }

    /// The position as a view keeps it, right where the end of what is walked fits into a `u32`.
    ///
    /// It looks at the byte there, for no other reason than the CPU's prefetcher: a walk looks at few
    /// bytes else, and the more it sees of them the earlier it fetches (a tenth of the time).
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the walk checks where it ends")]
    pub(crate) fn mark(&self) -> u32 {
        black_box(self.bytes.get(self.position).copied());
        self.position as u32
    }

    /// Takes a CompactSize and as many bytes.
    ///
    /// # Errors
    /// As [`compact_size`](Self::compact_size) and [`bytes`](Self::bytes).
    #[inline]
    pub fn sized_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let size = self.compact_size()?;
        self.bytes(size)
    }

    /// Checks that all bytes were read.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] otherwise.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes { at: self.position }) }
    }
}
