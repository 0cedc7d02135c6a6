//! The block file: an append-only `blocks.bin`, its index `blocks.idx`, and foreign block files.
//!
//! A record is an 8-byte prefix and a raw block in consensus serialization. [`BlockStore`] is the one
//! writer, [`BlockReader`] reads the same folder from any process, and [`RecordReader`] reads
//! `bootstrap.dat`, Bitcoin Core's `blk*.dat` and streams. [`convert`] rewrites a `bootstrap.dat` to
//! the prefixes of the original. This crate knows bytes and headers; it has no rule of consensus but
//! that a header meets the target it claims, and no notion of height or of the best chain.
//!
//! ```
//! use caesure_blockstore::BlockStore;
//! use caesure_wire::{Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, encode_block};
//!
//! let coinbase = Transaction {
//!     version: 1,
//!     inputs: vec![TxIn { prevout: OutPoint::NULL, script_sig: vec![0, 0], ..TxIn::default() }],
//!     outputs: vec![TxOut { value: 5_000_000_000, script_pubkey: vec![0x51] }],
//!     lock_time: 0,
//! };
//! let merkle_root = MerkleRoot(coinbase.txid().0);
//! let header = Header { bits: 0x207f_ffff, merkle_root, ..Header::default() };
//! let raw = encode_block(&header, &[coinbase.encode()]);
//!
//! let dir = tempfile::tempdir()?;
//! let regtest = [0xfa, 0xbf, 0xb5, 0xda];
//! let (mut store, _report) = BlockStore::open(dir.path(), regtest)?;
//! store.append(&raw, &header.hash())?;
//! let mut reader = BlockStore::open_read_only(dir.path(), regtest)?;
//! assert!(!reader.contains(&header.hash()), "not before it is durable");
//! store.sync()?;
//! reader.refresh()?;
//! assert_eq!(reader.read(&header.hash())?, raw);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The order of writing is the design: block bytes, then a sync, then the index entry, then a sync.
//! So an entry on disk vouches for its record, the end of the last entry's record is the committed
//! length, and no field is ever changed in place. What lies behind the committed length is scanned
//! when the writer opens: whole records are taken up, the rest is cut. The index is thus a cache;
//! without it the scan begins at byte 0, which is also how a foreign file moved to `blocks.bin` is
//! adopted without a copy.
//!
//! The store reads blocks with plain reads and maps only what is read once from end to end, so that
//! a failing disk is an error that names the file, not a signal. The formats are in
//! `docs/block-file.md`. Sources: the original's block database; Core's `LoadExternalBlockFile`.

mod convert;
mod error;
mod index;
mod input;
mod mapping;
mod reader;
mod record;
mod store;
mod window;

pub use convert::{Converted, convert};
pub use error::{Error, Fault, Magic};
pub use index::Entry;
pub use input::{Counts, Record, RecordReader};
pub use reader::BlockReader;
pub use store::{BlockStore, Cut, DamagedRecord, OpenReport};
pub use window::RecordBytes;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
