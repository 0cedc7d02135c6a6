//! Hexadecimal, Base58Check, Bech32 and Bech32m as Bitcoin uses them.
//!
//! Three ways to write bytes as text, one module each, and one error for all of them:
//!
//! - [`hex`]: two digits a byte, either case read, lower case written.
//! - [`base58`]: the number that the bytes are, in 58 digits; with four bytes of double SHA-256 as a
//!   checksum it is the form of older addresses, private keys and extended keys.
//! - [`bech32`]: five bits a character after a human-readable part, with a checksum that finds any
//!   four wrong characters; the form of addresses that pay to a witness program.
//!
//! ```
//! use caesure_text::{TextError, base58, bech32, hex};
//!
//! let hash = hex::decode("62e907b15cbf27d5425399ebf6f0fb50ebb88f18")?;
//! let payload = [&[0][..], &hash].concat();
//! assert_eq!(base58::encode_check(&payload), "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa");
//!
//! let address = bech32::encode_segwit("bc", 0, &hash)?;
//! assert_eq!(bech32::decode_segwit("bc", &address)?, (0, hash));
//!
//! let error = hex::decode("00zz").unwrap_err();
//! assert_eq!(error, TextError::InvalidCharacter { at: 2, character: 'z' });
//! assert_eq!(error.to_string(), "unexpected character 'z' at position 2");
//! # Ok::<(), TextError>(())
//! ```
//!
//! What the bytes mean is not known here: version bytes and human-readable parts of the networks are
//! the caller's. Every decoder is total, takes time bounded by a stated limit on the length of the
//! text, and accepts what Core accepts. Positions count bytes from the start of the text.
//!
//! Sources: BIP-0173, BIP-0350, BIP-0141; Core's `base58.cpp`, `bech32.cpp`, `key_io.cpp`.

#![no_std]

extern crate alloc;

pub mod base58;
pub mod bech32;
mod error;
pub mod hex;

pub use error::TextError;
