//! Bitcoin's consensus serialization: bytes, not rules.
//!
//! [`Block`] and [`Tx`] are views: they walk complete bytes once, remember where each part begins in
//! one arena, and hand out slices. They take any `B: AsRef<[u8]>`, so a mapped file is read without
//! a copy and a worker can own its block. A block of any number of transactions is two allocations,
//! which grow by doubling where its transactions are large. [`visit_block`] walks without an arena,
//! for a scan that looks at each part once. [`Block::txids`] and the other hashes of a whole block
//! are computed many at a time.
//!
//! [`Transaction`] is the owned type, to build and to change a transaction; [`Transaction::encode`]
//! gives the bytes that a view reads, and `to_owned` of a view leads back. Parts by themselves are
//! written by `encode_to` or `to_bytes`, and read by `read` from a [`Reader`] or by `from_bytes`.
//!
//! ```
//! use caesure_wire::{OutPoint, Transaction, Tx, TxIn, TxOut};
//!
//! let tx = Transaction {
//!     version: 2,
//!     inputs: vec![TxIn { prevout: OutPoint::NULL, script_sig: vec![0x51, 0x51], ..TxIn::default() }],
//!     outputs: vec![TxOut { value: 5_000_000_000, script_pubkey: vec![0x51] }],
//!     lock_time: 0,
//! };
//! let parsed = Tx::parse(tx.encode())?;
//! assert!(parsed.view().is_coinbase());
//! assert_eq!(parsed.view().output(0).value, 5_000_000_000);
//! assert_eq!(Tx::parse(&[2, 0, 0, 0][..]).unwrap_err().to_string(), "data ends at byte 4, inside a field");
//! # Ok::<(), caesure_wire::DecodeError>(())
//! ```
//!
//! Decoding is total: any bytes give a value or a [`DecodeError`] that names the byte, and no memory
//! is reserved for a length that is only claimed. What Core's decoder accepts is accepted, so a
//! decoded transaction can still break every rule; the rules are in `caesure-consensus`.
//!
//! Hashes are kept in internal order; their `Display` and `FromStr` are the reversed hexadecimal
//! that people use. Sources: BIP-0144; Core's `serialize.h`, `primitives/transaction.h`,
//! `primitives/block.h`. The P2P messages are not here yet.

#![no_std]

extern crate alloc;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod block;
mod compact_size;
mod error;
mod hashes;
mod header;
mod reader;
mod transaction;
mod tx;
mod walk;

pub use block::{Block, encode_block};
pub use compact_size::{MAX_SIZE, push_compact_size};
pub use error::DecodeError;
pub use hashes::{BlockHash, MerkleRoot, ParseHashError, Txid, Wtxid};
pub use header::Header;
pub use reader::Reader;
pub use transaction::{OutPoint, ParseOutPointError, Transaction, TxIn, TxOut};
pub use tx::{InputView, OutputView, Tx, TxView, Witness};
pub use walk::{Part, visit_block};
