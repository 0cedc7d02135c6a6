//! Bitcoin's hash functions over plain byte slices, and the same for many messages at once.
//!
//! Every hash is returned as bytes in the order in which it was computed ("internal order"); the
//! reversed hexadecimal that people read is made by the types of `caesure-wire`.
//!
//! ```
//! use caesure_hash::{Sha256, merkle_root, sha256d};
//!
//! let digest = sha256d(b"hello");
//! assert_eq!(digest[..4], [0x95, 0x95, 0xc9, 0xdf]);
//! // The same from parts, without joining them.
//! assert_eq!(Sha256::new().chain(b"hel").chain(b"lo").finish_double(), digest);
//!
//! let (root, is_mutated) = merkle_root(vec![digest, digest]);
//! assert_eq!(root, sha256d(&[digest, digest].concat()));
//! assert!(is_mutated);
//! ```
//!
//! What is here: SHA-256 with a midstate that can be cloned ([`Sha256`]), double SHA-256
//! ([`sha256d`]), HASH160, RIPEMD-160, SHA-1, SHA3-256, BIP-0340 tagged hashes ([`Sha256::tagged`]),
//! [`hmac_sha256`], the merkle root with detection of duplicated nodes ([`merkle_root`]), the set hash
//! [`MuHash3072`], and [`siphash24`]. No I/O, no state, `no_std` with `alloc`.
//!
//! # One message
//!
//! The compression functions are those of the RustCrypto crates, which choose CPU instructions at run
//! time: for SHA-256 the extensions of x86 and of aarch64, where the CPU has them.
//!
//! # Many messages at once
//!
//! [`sha256d_many`] and [`merkle_root`] hash messages side by side, one in each lane of a register,
//! on x86-64. Which instructions are used is found out when they are called, and [`sha256_backend`]
//! names them:
//!
//! - AVX-512: 16 lanes. Fewer than eight messages are left to the SHA extensions, where the CPU has
//!   these too, since sixteen lanes take the time of about seven blocks.
//! - The SHA extensions: 2 messages in turn, so that one works while the other waits.
//! - AVX2: 8 lanes, only on CPUs without the SHA extensions, which are faster.
//! - The portable code, one message after the other, on all others and for what is left over.
//!
//! Measured on a Zen 5, for a block of 64 bytes: `sha2` 38 ns, the SHA extensions by two 27, AVX2 36,
//! AVX-512 10.5. These functions are the only `unsafe` code of the crate, in one module. Every
//! backend that a CPU has is checked against `sha2` by the tests.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod batch;
mod lanes;
mod merkle;
mod muhash;
mod sha3;
mod siphash;

pub use batch::sha256d_many;
pub use lanes::sha256_backend;
pub use merkle::merkle_root;
pub use muhash::MuHash3072;
pub use sha3::sha3_256;
pub use siphash::siphash24;

use sha2::Digest;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// A SHA-256 computation in progress; cloning it saves a midstate.
#[derive(Clone, Debug, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Begins a hash.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a tagged hash: the state after `SHA256(tag) || SHA256(tag)`. Spec: BIP-0340.
    #[must_use]
    pub fn tagged(tag: &str) -> Self {
        let tag = sha256(tag.as_bytes());
        Self::new().chain(&tag).chain(&tag)
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Appends bytes and returns the state.
    #[must_use]
    pub fn chain(mut self, bytes: &[u8]) -> Self {
        self.update(bytes);
        self
    }

    /// Returns the hash of all that was appended.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// Returns the hash of the hash of all that was appended.
    #[must_use]
    pub fn finish_double(self) -> [u8; 32] {
        sha256(&self.finish())
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// SHA-256 of SHA-256, the hash of headers, transactions and merkle nodes.
#[must_use]
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    sha256(&sha256(bytes))
}

/// RIPEMD-160.
#[must_use]
pub fn ripemd160(bytes: &[u8]) -> [u8; 20] {
    ripemd::Ripemd160::digest(bytes).into()
}

/// RIPEMD-160 of SHA-256, the hash of public keys and redeem scripts.
#[must_use]
pub fn hash160(bytes: &[u8]) -> [u8; 20] {
    ripemd160(&sha256(bytes))
}

/// HMAC-SHA256. Spec: RFC 2104.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let hashed = sha256(key);
    let key = if key.len() <= 64 { key } else { &hashed };
    let padded = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        Sha256::new().chain(&block)
    };
    padded(0x5c).chain(&padded(0x36).chain(message).finish()).finish()
}

/// SHA-1, which only the opcode `OP_SHA1` still needs.
#[must_use]
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(sha256(b"")[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(sha1(b"abc")[..4], [0xa9, 0x99, 0x3e, 0x36]);
        assert_eq!(ripemd160(b"abc")[..4], [0x8e, 0xb2, 0x08, 0xf7]);
        assert_eq!(hash160(b"")[..4], [0xb4, 0x72, 0xa2, 0x66]);
    }

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let case_2 = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(case_2[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
        let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let case_6 = hmac_sha256(&[0xaa; 131], message);
        assert_eq!(case_6[..8], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
    }

    #[test]
    fn a_midstate_continues_where_it_was_cloned() {
        let mid = Sha256::new().chain(b"ab");
        assert_eq!(mid.clone().chain(b"c").finish(), sha256(b"abc"));
        assert_eq!(mid.chain(b"c").finish_double(), sha256d(b"abc"));
        let tag = sha256(b"TapLeaf");
        assert_eq!(
            Sha256::tagged("TapLeaf").finish(),
            Sha256::new().chain(&tag).chain(&tag).finish()
        );
    }
}
