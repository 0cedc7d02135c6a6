//! Bitcoin's consensus serialization and the messages between its nodes: bytes, not rules.
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
//! `primitives/block.h`.
//!
//! [`Message`] is each message between peers, read from a command and a payload, and [`FrameHeader`]
//! what stands before a payload on a v1 connection; connections are in `caesure-p2p`. [`NetAddress`]
//! and [`Endpoint`] are addresses of every network, on the wire and as Core prints them. Sources:
//! BIP-0130, BIP-0133, BIP-0152, BIP-0155, BIP-0339, BIP-0434; Core's `protocol.h`, `netaddress.h`,
//! `blockencodings.h`, `net_processing.cpp`.
//!
//! ```
//! use caesure_wire::{Endpoint, FrameHeader, Message};
//!
//! let mut payload = Vec::new();
//! Message::Ping(Some(7)).encode_payload(&mut payload);
//! let header = FrameHeader::new([0xf9, 0xbe, 0xb4, 0xd9], "ping", &payload);
//! assert_eq!((header.command(), header.length), (Some("ping"), 8));
//! assert_eq!(Message::decode("ping", &payload), Ok(Message::Ping(Some(7))));
//!
//! let endpoint = Endpoint::parse("2001:db8::1", 8333)?;
//! assert_eq!(endpoint.to_string(), "[2001:db8::1]:8333");
//! # Ok::<(), caesure_wire::ParseAddressError>(())
//! ```

#![no_std]

extern crate alloc;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod address;
mod block;
mod compact_size;
mod error;
mod frame;
mod hashes;
mod header;
mod message;
mod message_codec;
mod reader;
mod transaction;
mod tx;
mod walk;

pub use address::{Endpoint, NetAddress, ParseAddressError, TimedAddress};
pub use block::{Block, encode_block};
pub use compact_size::{MAX_SIZE, push_compact_size};
pub use error::DecodeError;
pub use frame::{FrameHeader, MAX_PAYLOAD, pad_command, unpad_command};
pub use hashes::{BlockHash, MerkleRoot, ParseHashError, Txid, Wtxid};
pub use header::Header;
pub use message::{BlockTxn, BlockTxnRequest, CompactBlock, Inventory, Locator, Message, Version};
pub use reader::Reader;
pub use transaction::{OutPoint, ParseOutPointError, Transaction, TxIn, TxOut};
pub use tx::{InputView, OutputView, Tx, TxView, Witness};
pub use walk::{Part, visit_block};
