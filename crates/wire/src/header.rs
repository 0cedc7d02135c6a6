use byteorder::{ByteOrder, LittleEndian};
use caesure_hash::sha256d;

use crate::{BlockHash, DecodeError, MerkleRoot, Reader};

/// A block header, 80 bytes: version 4, previous block 32, merkle root 32, time 4, bits 4, nonce 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The block version, signed as in Core.
    pub version: i32,
    /// The parent's hash.
    pub prev_block: BlockHash,
    /// The merkle root of the transactions.
    pub merkle_root: MerkleRoot,
    /// Seconds since 1970, as the miner claims.
    pub time: u32,
    /// The target in compact form.
    pub bits: u32,
    /// The number that was searched.
    pub nonce: u32,
}

impl Header {
    /// The length of a header in bytes.
    pub const SIZE: usize = 80;

    /// Reads a header from 80 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let (mut prev_block, mut merkle_root) = ([0; 32], [0; 32]);
        prev_block.copy_from_slice(&bytes[4..36]);
        merkle_root.copy_from_slice(&bytes[36..68]);
        Self {
            version: LittleEndian::read_i32(&bytes[0..]),
            prev_block: BlockHash(prev_block),
            merkle_root: MerkleRoot(merkle_root),
            time: LittleEndian::read_u32(&bytes[68..]),
            bits: LittleEndian::read_u32(&bytes[72..]),
            nonce: LittleEndian::read_u32(&bytes[76..]),
        }
    }

    /// Takes a header from a reader.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when fewer than 80 bytes are left.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::from_bytes(&reader.array()?))
    }

    /// Returns the 80 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        LittleEndian::write_i32(&mut bytes[0..], self.version);
        bytes[4..36].copy_from_slice(&self.prev_block.0);
        bytes[36..68].copy_from_slice(&self.merkle_root.0);
        LittleEndian::write_u32(&mut bytes[68..], self.time);
        LittleEndian::write_u32(&mut bytes[72..], self.bits);
        LittleEndian::write_u32(&mut bytes[76..], self.nonce);
        bytes
    }

    /// Returns the block's hash.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        BlockHash(sha256d(&self.to_bytes()))
    }
}
