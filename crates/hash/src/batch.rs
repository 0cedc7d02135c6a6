use alloc::vec::Vec;

use crate::lanes::{Backends, Compress, START, Work, digest};

/// Computes the double SHA-256 of many messages at once, faster than one after the other.
///
/// `message` gives the parts of each, which are hashed as if they were joined: a transaction's id, for
/// one, is the hash of three parts of its bytes. It is asked once for each index, in order. `hashes`
/// takes as many results as there are messages. The lengths may differ: when a message ends, the next
/// one takes its lane. See [the crate's page](crate#many-messages-at-once) for what it runs on.
///
/// ```
/// let messages = [&b"a message"[..], b"another, longer than the first"];
/// let mut hashes = [[0; 32]; 2];
/// caesure_hash::sha256d_many(&mut hashes, |i| [messages[i], b" in", b" parts"]);
/// assert_eq!(hashes[0], caesure_hash::sha256d(b"a message in parts"));
/// ```
pub fn sha256d_many<'a>(hashes: &mut [[u8; 32]], message: impl Fn(usize) -> [&'a [u8]; 3]) {
    many(Backends::best(), hashes, message);
}

fn many<'a>(backends: Backends, hashes: &mut [[u8; 32]], message: impl Fn(usize) -> [&'a [u8]; 3]) {
    backends.run(&mut Messages { hashes, next: 0, message, begun: Vec::new() });
    sha256_each(backends, hashes);
}

/// Replaces each hash by its own hash.
pub(crate) fn sha256_each(backends: Backends, hashes: &mut [[u8; 32]]) {
    backends.run(&mut Hashes(hashes));
}

/// The hashes that are still to be hashed.
struct Hashes<'h>(&'h mut [[u8; 32]]);

impl Work for Hashes<'_> {
    fn run<const N: usize>(&mut self, compress: Compress<N>, least: usize) {
        let mut blocks = [[0; 64]; N];
        for block in &mut blocks {
            block[32] = 0x80;
            block[62..].copy_from_slice(&256_u16.to_be_bytes());
        }
        while least <= self.0.len() {
            let count = N.min(self.0.len());
            let (hashes, rest) = core::mem::take(&mut self.0).split_at_mut(count);
            for (block, hash) in blocks.iter_mut().zip(&*hashes) {
                block[..32].copy_from_slice(hash);
            }
            let mut state = START.map(|word| [word; N]);
            compress(&mut state, &blocks.each_ref());
            for (lane, hash) in hashes.iter_mut().enumerate() {
                *hash = digest(&state, lane);
            }
            self.0 = rest;
        }
    }
}

/// Messages of any length, hashed once.
struct Messages<'a, 'h, F> {
    hashes: &'h mut [[u8; 32]],
    /// The index of the first message that is not begun.
    next: usize,
    message: F,
    /// What a backend with more lanes began and left, with the states.
    begun: Vec<(Message<'a>, [u32; 8])>,
}

impl<'a, F: Fn(usize) -> [&'a [u8]; 3]> Messages<'a, '_, F> {
    /// Puts a message into a lane, if there is one.
    fn start<const N: usize>(
        &mut self,
        lane: usize,
        state: &mut [[u32; N]; 8],
    ) -> Option<Message<'a>> {
        let (message, start) = match self.begun.pop() {
            Some(begun) => begun,
            None if self.next < self.hashes.len() => {
                self.next += 1;
                (Message::new(self.next - 1, (self.message)(self.next - 1)), START)
            }
            None => return None,
        };
        for (row, word) in state.iter_mut().zip(start) {
            row[lane] = word;
        }
        Some(message)
    }
}

impl<'a, F: Fn(usize) -> [&'a [u8]; 3]> Work for Messages<'a, '_, F> {
    fn run<const N: usize>(&mut self, compress: Compress<N>, least: usize) {
        let mut count = N.min(self.begun.len() + self.hashes.len() - self.next);
        if count < least {
            return;
        }
        let mut state = [[0; N]; 8];
        let mut buffers = [[0; 64]; N];
        let mut lanes: [_; N] = core::array::from_fn(|lane| self.start(lane, &mut state));
        while least <= count {
            let mut direct = [None; N];
            for ((direct, buffer), lane) in direct.iter_mut().zip(&mut buffers).zip(&mut lanes) {
                *direct = lane.as_mut().and_then(|message| message.next_block(buffer));
            }
            let blocks = core::array::from_fn(|lane| direct[lane].unwrap_or(&buffers[lane]));
            compress(&mut state, &blocks);
            for (lane, slot) in lanes.iter_mut().enumerate() {
                if let Some(message) = slot
                    && message.blocks_left == 0
                {
                    self.hashes[message.index] = digest(&state, lane);
                    *slot = self.start(lane, &mut state);
                    count -= usize::from(slot.is_none());
                }
            }
        }
        for (lane, slot) in lanes.into_iter().enumerate() {
            self.begun.extend(slot.map(|message| (message, state.map(|row| row[lane]))));
        }
    }
}

/// What is left of a message.
struct Message<'a> {
    index: usize,
    parts: [&'a [u8]; 3],
    /// The length of the whole message in bytes.
    size: u64,
    /// How many blocks are left, padding included.
    blocks_left: u64,
}

impl<'a> Message<'a> {
    fn new(index: usize, parts: [&'a [u8]; 3]) -> Self {
        let size = parts.iter().map(|part| part.len() as u64).sum();
        Self { index, parts, size, blocks_left: (size + 8) / 64 + 1 }
    }

    /// Takes the next block: a slice of a part, or else what is written into `buffer`.
    #[inline]
    fn next_block(&mut self, buffer: &mut [u8; 64]) -> Option<&'a [u8; 64]> {
        self.blocks_left -= 1;
        let Some((block, rest)) = self.parts[0].split_first_chunk() else {
            self.join(buffer);
            return None;
        };
        self.parts[0] = rest;
        Some(block)
    }

    /// Writes a block from several parts, or with padding.
    fn join(&mut self, buffer: &mut [u8; 64]) {
        let mut filled = 0;
        for part in &mut self.parts {
            let count = part.len().min(64 - filled);
            buffer[filled..filled + count].copy_from_slice(&part[..count]);
            *part = &part[count..];
            filled += count;
        }
        if self.parts[0].is_empty() {
            self.parts.rotate_left(1);
        }
        if filled == 64 {
            return;
        }
        buffer[filled..].fill(0);
        // A block of padding alone has the end mark only where the block before had no room for it.
        if filled != 0 || self.size.is_multiple_of(64) {
            buffer[filled] = 0x80;
        }
        if self.blocks_left == 0 {
            buffer[56..].copy_from_slice(&(8 * self.size).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest;

    use super::*;

    /// Bytes without a pattern that a block of 64 would repeat.
    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i * i / 7 + i / 251).to_le_bytes()[0]).collect()
    }

    fn check(backends: (&str, Backends), messages: &[[&[u8]; 3]]) {
        let expected: Vec<[u8; 32]> = messages
            .iter()
            .map(|parts| sha2::Sha256::digest(sha2::Sha256::digest(parts.concat())).into())
            .collect();
        let mut hashes = alloc::vec![[0xee; 32]; messages.len()];
        many(backends.1, &mut hashes, |i| messages[i]);
        let sizes = || messages.iter().map(|parts| parts.map(<[u8]>::len)).collect::<Vec<_>>();
        assert!(hashes == expected, "{} on {:?}", backends.0, sizes());
    }

    #[test]
    fn every_backend_agrees_with_sha2_on_lengths_from_0_to_300_and_long_ones() {
        let bytes = bytes(100_003);
        let mut sizes: Vec<usize> = (0..=300).collect();
        sizes.extend([100_003, 1_000, 4_095, 4_096, 4_097, 65_536, 99_999, 20_000]);
        for backends in Backends::each() {
            // All lanes alike, then mixed: long ones first, last, and scattered.
            for &size in &sizes[..=300] {
                check(backends, &[[&bytes[..size], &[], &[]]; 19]);
            }
            let mut messages: Vec<[&[u8]; 3]> = sizes
                .iter()
                .map(|&size| [&bytes[..size / 3], &bytes[size / 3..size], &[]])
                .collect();
            check(backends, &messages);
            messages.reverse();
            check(backends, &messages);
            messages.sort_by_key(|parts| parts[1].len() * 7919 % 101);
            check(backends, &messages);
        }
    }

    #[test]
    fn every_backend_agrees_with_sha2_on_batches_from_0_to_40() {
        let bytes = bytes(700);
        for backends in Backends::each() {
            for count in 0..=40 {
                let size = |i: usize| i * 97 % 640;
                let messages: Vec<[&[u8]; 3]> =
                    (0..count).map(|i| [&bytes[i..i + size(i)], &[], &[]]).collect();
                check(backends, &messages);
            }
        }
    }

    #[test]
    fn every_backend_agrees_with_sha2_wherever_the_parts_are_split() {
        let bytes = bytes(200);
        for backends in Backends::each() {
            for size in [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 129, 200] {
                let splits =
                    (0..=size).flat_map(|first| (first..=size).map(move |next| (first, next)));
                let messages: Vec<[&[u8]; 3]> =
                    splits.map(|(a, b)| [&bytes[..a], &bytes[a..b], &bytes[b..size]]).collect();
                check(backends, &messages);
            }
        }
    }

    #[test]
    fn each_message_is_asked_for_once_and_in_order() {
        let next = core::cell::Cell::new(0);
        let mut hashes = [[0; 32]; 50];
        sha256d_many(&mut hashes, |i| {
            assert_eq!(next.replace(i + 1), i);
            [&[1; 300][..i], &[], &[]]
        });
        assert_eq!(next.get(), 50);
    }

    proptest! {
        #[test]
        fn any_messages_in_any_parts_are_hashed_as_by_sha2(
            parts in prop::collection::vec(prop::array::uniform3(0..400_usize), 0..60),
            long in prop::array::uniform3(0..5_000_usize),
            place in any::<prop::sample::Index>(),
        ) {
            let bytes = bytes(5_000);
            let mut messages: Vec<[&[u8]; 3]> =
                parts.iter().map(|sizes| sizes.map(|size| &bytes[size / 2..size])).collect();
            messages.insert(place.index(messages.len() + 1), long.map(|size| &bytes[..size]));
            for backends in Backends::each() {
                check(backends, &messages);
            }
        }
    }
}
