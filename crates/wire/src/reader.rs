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

    /// Takes a CompactSize: a byte below 0xfd, or 0xfd, 0xfe, 0xff and two, four, eight bytes.
    /// Core: `ReadCompactSize`.
    ///
    /// # Errors
    /// When it is not in its shortest form, is over [`MAX_SIZE`], or the bytes end.
    #[inline]
    pub fn compact_size(&mut self) -> Result<usize, DecodeError> {
        let at = self.position;
        let (size, least) = match self.u8()? {
            0xfd => (self.bytes(2).map(LittleEndian::read_u16)?.into(), 0xfd),
            0xfe => (self.u32()?.into(), 0x1_0000),
            0xff => (self.bytes(8).map(LittleEndian::read_u64)?, 0x1_0000_0000),
            byte => (u64::from(byte), 0),
        };
        if size < least {
            return Err(DecodeError::NonCanonicalSize { at });
        }
        usize::try_from(size)
            .ok()
            .filter(|&size| size <= MAX_SIZE)
            .ok_or(DecodeError::OversizedSize { at, size })
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
