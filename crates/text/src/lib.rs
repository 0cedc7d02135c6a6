//! Hexadecimal, Base58Check, Bech32 and Bech32m: addresses and private keys as Bitcoin writes them.
//!
//! Ways to write bytes as text, one module each, and one error for all of them:
//!
//! - [`hex`]: two digits a byte, either case read, lower case written.
//! - [`base58`]: the number that the bytes are, in 58 digits; with four bytes of double SHA-256 as a
//!   checksum it is the form of older addresses, private keys and extended keys.
//! - [`bech32`]: five bits a character after a human-readable part, with a checksum that finds any
//!   four wrong characters; the form of addresses that pay to a witness program.
//! - [`wif`]: private keys, in Base58 with a checksum.
//!
//! ```
//! use caesure_text::{TextError, base58, bech32, hex, wif};
//!
//! let hash = hex::decode("62e907b15cbf27d5425399ebf6f0fb50ebb88f18")?;
//! let payload = [&[0][..], &hash].concat();
//! assert_eq!(base58::encode_check(&payload), "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa");
//!
//! let address = bech32::encode_segwit("bc", 0, &hash)?;
//! assert_eq!(bech32::decode_segwit("bc", &address)?, (0, hash));
//!
//! let mut key = [0; 32];
//! hex::decode_to_slice(&"01".repeat(32), &mut key)?;
//! let text = wif::encode(wif::MAIN_PREFIX, &key, true)?;
//! assert_eq!(wif::decode(wif::MAIN_PREFIX, &text)?, (key, true));
//! assert_eq!(wif::decode(wif::TEST_PREFIX, &text), Err(TextError::WrongPrefix { prefix: 128 }));
//!
//! let error = hex::decode("00zz").unwrap_err();
//! assert_eq!(error, TextError::InvalidCharacter { at: 2, character: 'z' });
//! assert_eq!(error.to_string(), "unexpected character 'z' at position 2");
//! # Ok::<(), TextError>(())
//! ```
//!
//! What the bytes mean is not known here: version bytes and human-readable parts of the networks are
//! the caller's. Every decoder is total, accepts what Core accepts, and takes time in proportion to the
//! text, but for Base58, whose time grows with the square of the length: it reads up to
//! [`base58::MAX_LENGTH`] characters. Positions count bytes from the start of the text.
//!
//! Base58 is computed on whole words: ten digits at a time when reading, five when writing. Bech32's
//! checksum takes six values at a time from a table of 768 bytes. Hexadecimal is `const-hex`, which has
//! vector instructions; what is accepted, and what errors say, is decided here.
//!
//! Sources: BIP-0173, BIP-0350, BIP-0141; Core's `base58.cpp`, `bech32.cpp`, `key_io.cpp`.

#![no_std]

extern crate alloc;

mod alphabet;
pub mod base58;
pub mod bech32;
mod error;
pub mod hex;
pub mod wif;

pub use error::TextError;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
