use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use caesure_wire::{BlockHash, DecodeError};

/// What can go wrong with block files. The texts name the file and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. After a failed append the file is as it was before.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process writes to the store in this folder.
    #[error("the folder {0} is in use by another running process")]
    Locked(PathBuf),
    /// The file holds another network's blocks.
    #[error("{path} is a file of {found}, not of {expected}: choose that network or another file")]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The network that was asked for.
        expected: Magic,
        /// The network of the file.
        found: Magic,
    },
    /// No record was found in this file, which is not empty.
    #[error(
        "{0} holds no block: it is no bootstrap.dat, blk*.dat or blocks.bin (unpack a compressed \
         file; import a file of Bitcoin Core from its own folder, beside xor.dat)"
    )]
    NotABlockFile(PathBuf),
    /// This folder was given and it holds no block files.
    #[error("the folder {0} holds no blk*.dat and no blocks.bin: name the file itself")]
    NoBlockFiles(PathBuf),
    /// Bitcoin Core's obfuscation key, in this file, is not 8 bytes.
    #[error("{0} is not a key of 8 bytes: restore it from the folder of Bitcoin Core")]
    BadXorKey(PathBuf),
    /// This place of a stream was to be read again, or read by a scan, which reads in any order.
    #[error("a stream cannot be read again at byte {0}: name a file")]
    NotSeekable(u64),
    /// The store does not have this block.
    #[error("block {0} is not stored")]
    Unknown(BlockHash),
    /// The block was stored, and its body released since.
    #[error("the body of block {0} is no longer stored: it was pruned")]
    Pruned(BlockHash),
    /// A record is not what was stored there.
    #[error("{path} at byte {position}: {fault}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        position: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The block given to be stored is not one by its size, or has another hash.
    #[error("{size} bytes were given as block {hash}: {fault}")]
    NotStorable {
        /// The hash that was given.
        hash: BlockHash,
        /// The number of bytes given.
        size: usize,
        /// What is wrong.
        fault: Fault,
    },
    /// No record begins at this place.
    #[error("{path}: no record begins at byte {position}")]
    NoRecordAt {
        /// The file.
        path: PathBuf,
        /// The place.
        position: u64,
    },
    /// The sizes do not lead from record to record up to the end, so nothing was converted.
    #[error(
        "{path} was not changed: no record that ends inside the file begins at byte {position} \
         (import reads the file without conversion)"
    )]
    NotConvertible {
        /// The file.
        path: PathBuf,
        /// Where the chain of records breaks.
        position: u64,
    },
}

impl Error {
    /// Returns a function that adds the path to an error of the operating system.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends inside the record.
    #[error("the file ends inside the record")]
    Short,
    /// The eight bytes before the block are neither form of a prefix of its size.
    #[error("the record's prefix is damaged")]
    Prefix,
    /// The size is outside of what a block can have.
    #[error("no block has this size")]
    Size,
    /// The block's bytes are not those that were stored.
    #[error("the checksum of the block's bytes differs")]
    Checksum,
    /// The header's hash is not the block's.
    #[error("the header has another hash")]
    Hash,
    /// The header's hash is over the target that it claims.
    #[error("the header does not meet the target it claims")]
    Target,
    /// The bytes cannot be decoded.
    #[error("the block cannot be decoded: {0}")]
    Decode(DecodeError),
    /// The transactions do not give the header's merkle root, or a pair of them is doubled.
    #[error("the merkle root differs")]
    MerkleRoot,
}

/// The four bytes that begin a record and name its network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Magic(pub [u8; 4]);

impl Magic {
    /// The networks of Bitcoin Core. A signet of its own has its own magic, made from its challenge.
    const KNOWN: [(Self, &'static str); 5] = [
        (Self([0xf9, 0xbe, 0xb4, 0xd9]), "main"),
        (Self([0x0b, 0x11, 0x09, 0x07]), "testnet3"),
        (Self([0x1c, 0x16, 0x3f, 0x28]), "testnet4"),
        (Self([0x0a, 0x03, 0xcf, 0x40]), "signet"),
        (Self([0xfa, 0xbf, 0xb5, 0xda]), "regtest"),
    ];

    /// Returns the network's name, if it is one of Bitcoin Core's.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::KNOWN.iter().find(|known| known.0 == self).map(|known| known.1)
    }
}

impl fmt::Display for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "the network {name}"),
            None => write!(f, "the network with magic {self:?}"),
        }
    }
}

impl fmt::Debug for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_core_is_named_by_its_magic() {
        for (magic, name) in [
            (0xf9be_b4d9_u32, "main"),
            (0x0b11_0907, "testnet3"),
            (0x1c16_3f28, "testnet4"),
            (0x0a03_cf40, "signet"),
            (0xfabf_b5da, "regtest"),
        ] {
            assert_eq!(Magic(magic.to_be_bytes()).name(), Some(name));
        }
        assert_eq!(Magic([1, 2, 3, 4]).to_string(), "the network with magic 01020304");
    }
}
