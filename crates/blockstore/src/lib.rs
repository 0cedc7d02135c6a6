//! Block files: scans of any of them, followers of those that grow, and the node's own store.
//!
//! A record is an 8-byte prefix and a raw block in consensus serialization. [`RecordReader`] finds
//! the records of `bootstrap.dat`, Bitcoin Core's `blk*.dat` and streams, one after the other.
//! [`scan`] works on their blocks on several threads, and [`Follow`] waits for those to come.
//! [`BlockStore`] is the one writer of an append-only `blocks.bin` with its index, [`BlockReader`]
//! reads the same folder from any process, and [`convert`] rewrites a `bootstrap.dat` to the prefixes
//! of the original. This crate knows bytes and headers. It has no rule of consensus but that a header
//! meets the target it claims: its best chain is the one whose headers claim the most work.
//!
//! ```
//! use std::ops::ControlFlow;
//! use caesure_blockstore::{BlockStore, Order, RecordReader, ScanOptions, scan};
//! # use caesure_wire::{Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, encode_block};
//! # let inputs = vec![TxIn { prevout: OutPoint::NULL, script_sig: vec![0; 2], ..TxIn::default() }];
//! # let outputs = vec![TxOut { value: 5_000_000_000, script_pubkey: vec![0x51] }];
//! # let coinbase = Transaction { version: 1, inputs, outputs, lock_time: 0 };
//! # let merkle_root = MerkleRoot(coinbase.txid().0);
//! # let mut header = Header { bits: 0x207f_ffff, merkle_root, ..Header::default() };
//! # while 0x7f <= header.hash().0[31] {
//! #     header.nonce += 1;
//! # }
//! # let raw = encode_block(&header, &[coinbase.encode()]);
//! # let dir = tempfile::tempdir()?;
//! let regtest = [0xfa, 0xbf, 0xb5, 0xda];
//! let (mut store, _report) = BlockStore::open(dir.path(), regtest)?;
//! store.append(&raw, &header.hash())?;
//! let mut reader = BlockStore::open_read_only(dir.path(), regtest)?;
//! assert!(!reader.contains(&header.hash()), "not before it is durable");
//! store.sync()?;
//! reader.refresh()?;
//! assert_eq!(reader.read(&header.hash())?, raw);
//!
//! let input = RecordReader::open(dir.path(), regtest)?;
//! let options = ScanOptions { heights: Some(0..=99), order: Order::Height, ..Default::default() };
//! let mut lines = Vec::new();
//! scan(input, &options, |block| (block.height, block.bytes.len()), |line| {
//!     lines.push(line);
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(lines, [(Some(0), raw.len())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The store's order of writing is its design: block bytes, then a sync, then the index entry, then a
//! sync. So an entry on disk vouches for its record, the end of the last entry's record is the
//! committed length, and no field is ever changed in place. What lies behind the committed length is
//! scanned when the writer opens: whole records are taken up, the rest is cut. The index is thus a
//! cache; without it the scan begins at byte 0, which is also how a foreign file moved to
//! `blocks.bin` is adopted without a copy.
//!
//! Scans, followers and the store use plain reads, so that a failing disk or a file that is cut is an
//! error that names the file, not a signal; into a buffer that stays in the cache they cost what the
//! page faults of a mapping cost. [`RecordReader`] maps its files, for its records are handed to
//! other threads without a copy. The formats are in `docs/block-file.md`. Unix only. Sources: the
//! original's block database; Core's `LoadExternalBlockFile`, `BlockManager`.

/// The crate whose headers and hashes this one gives, to take the blocks apart with.
pub use caesure_wire;

mod convert;
mod error;
mod follow;
mod growing;
mod index;
mod input;
mod links;
mod mapping;
mod reader;
mod record;
mod scan;
mod store;
mod window;

pub use convert::{Converted, convert};
pub use error::{Error, Fault, Magic};
pub use follow::{Follow, FollowOptions, FollowPosition, FollowedBlock};
pub use index::Entry;
pub use input::{Counts, Record, RecordReader};
pub use links::Change;
pub use mapping::{MappingName, name_bus_errors};
pub use reader::BlockReader;
pub use scan::{Order, Progress, ScanControl, ScanOptions, ScanReport, ScannedBlock, scan};
pub use store::{BlockStore, Cut, DamagedRecord, OpenReport};
pub use window::RecordBytes;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
