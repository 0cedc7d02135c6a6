/// Computes SipHash-2-4 of `bytes` under the key of two words, little-endian.
///
/// A short keyed hash that those who do not know the key cannot steer. Spec: BIP-0152 (short ids of
/// transactions), BIP-0158. Core: `CSipHasher`.
#[must_use]
pub fn siphash24(k0: u64, k1: u64, bytes: &[u8]) -> u64 {
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks();
    // The last word has the rest of the bytes and, on top, the low byte of the length.
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len().to_le_bytes()[0];
    for word in words.iter().chain([&last]) {
        let word = u64::from_le_bytes(*word);
        state[3] ^= word;
        rounds(&mut state, 2);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    rounds(&mut state, 4);
    state.into_iter().fold(0, |sum, word| sum ^ word)
}

fn rounds([a, b, c, d]: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        *a = a.wrapping_add(*b);
        *c = c.wrapping_add(*d);
        *b = b.rotate_left(13) ^ *a;
        *d = d.rotate_left(16) ^ *c;
        *a = a.rotate_left(32).wrapping_add(*d);
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *d = d.rotate_left(21) ^ *a;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sha256d;

    /// The vectors of SipHash's authors, in Core's `hash_tests` too: bytes 0, 1, 2 and so on.
    #[test]
    fn the_authors_vectors() {
        let bytes: [u8; 64] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        for (size, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (16, 0x3f2a_cc7f_57c2_9bdb),
            (63, 0x958a_324c_eb06_4572),
        ] {
            let hash = siphash24(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, &bytes[..size]);
            assert_eq!(hash, expected, "{size}");
        }
    }

    /// Core: `hash_tests`, the id of a transaction of version 1 without inputs and outputs.
    #[test]
    fn core_hash_of_a_txid() {
        let txid = sha256d(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(siphash24(1, 2, &txid), 0x7975_1e98_0c2a_0a35);
    }
}
