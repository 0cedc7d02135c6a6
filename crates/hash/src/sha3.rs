/// The bytes of the state that take input: 1,600 bits less twice 256.
const RATE: usize = 136;

/// SHA3-256, which only the checksum of a Tor v3 address needs. Spec: FIPS 202.
#[must_use]
pub fn sha3_256(bytes: &[u8]) -> [u8; 32] {
    let mut lanes = [0; 25];
    let (blocks, rest) = bytes.as_chunks::<RATE>();
    for block in blocks {
        absorb(&mut lanes, block);
    }
    let mut last = [0; RATE];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0b110;
    last[RATE - 1] |= 0x80;
    absorb(&mut lanes, &last);
    let mut hash = [0; 32];
    for (bytes, lane) in hash.as_chunks_mut().0.iter_mut().zip(lanes) {
        *bytes = lane.to_le_bytes();
    }
    hash
}

fn absorb(lanes: &mut [u64; 25], block: &[u8; RATE]) {
    for (lane, bytes) in lanes.iter_mut().zip(block.as_chunks().0) {
        *lane ^= u64::from_le_bytes(*bytes);
    }
    let mut register = 1;
    for _ in 0..24 {
        round(lanes, &mut register);
    }
}

/// One round of Keccak-f; the lane at column `x` and row `y` is number `x + 5 * y`. The round
/// constants come from a shift register.
fn round(lanes: &mut [u64; 25], register: &mut u8) {
    let parity: [u64; 5] =
        core::array::from_fn(|x| (0..5).fold(0, |sum, y| sum ^ lanes[x + 5 * y]));
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane ^= parity[(i + 4) % 5] ^ parity[(i + 1) % 5].rotate_left(1);
    }
    let (mut x, mut y, mut moved, mut shift) = (1, 0, lanes[1], 0);
    for step in 1..=24 {
        shift += step;
        (x, y) = (y, (2 * x + 3 * y) % 5);
        moved = core::mem::replace(&mut lanes[x + 5 * y], moved.rotate_left(shift));
    }
    for row in lanes.as_chunks_mut::<5>().0 {
        *row = core::array::from_fn(|x| row[x] ^ (!row[(x + 1) % 5] & row[(x + 2) % 5]));
    }
    for exponent in 0..7 {
        lanes[0] ^= u64::from(*register & 1) << ((1 << exponent) - 1);
        *register = (*register << 1) ^ (0x71 * (*register >> 7));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_sha3_256() {
        assert_eq!(sha3_256(b"")[..4], [0xa7, 0xff, 0xc6, 0xf8]);
        assert_eq!(sha3_256(b"abc")[..4], [0x3a, 0x98, 0x5d, 0xa7]);
        // One byte less than a block, a block, and two.
        assert_eq!(sha3_256(&[0xa3; 135])[..4], [0xd5, 0x19, 0x27, 0x26]);
        assert_eq!(sha3_256(&[0xa3; 136])[..4], [0x0a, 0xdf, 0x6b, 0xfb]);
        assert_eq!(sha3_256(&[0xa3; 200])[..4], [0x79, 0xf3, 0x8a, 0xde]);
    }
}
