use alloc::vec::Vec;

/// The largest CompactSize that a decoder takes. Core: `MAX_SIZE`.
pub const MAX_SIZE: usize = 0x0200_0000;

/// Appends `size` as a CompactSize, in its shortest form.
pub fn push_compact_size(out: &mut Vec<u8>, size: usize) {
    push_compact_u64(out, size as u64);
}

/// Appends a number in the form of a CompactSize.
pub(crate) fn push_compact_u64(out: &mut Vec<u8>, size: u64) {
    let bytes = size.to_le_bytes();
    match size {
        0..=0xfc => out.push(bytes[0]),
        0xfd..=0xffff => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xfe);
            out.extend_from_slice(&bytes[..4]);
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, Reader};

    fn check(size: usize, expected: &[u8]) {
        let mut out = Vec::new();
        push_compact_size(&mut out, size);
        assert_eq!(out, expected);
        assert_eq!(Reader::new(&out).compact_size(), Ok(size));
    }

    #[test]
    fn shortest_forms_at_the_borders() {
        check(0, &[0]);
        check(0xfc, &[0xfc]);
        check(0xfd, &[0xfd, 0xfd, 0]);
        check(0xffff, &[0xfd, 0xff, 0xff]);
        check(0x1_0000, &[0xfe, 0, 0, 1, 0]);
        check(MAX_SIZE, &[0xfe, 0, 0, 0, 2]);
    }

    #[test]
    fn libbitcoin_1860_non_canonical_sizes_are_refused() {
        let read = |bytes: &[u8]| Reader::new(bytes).compact_size();
        let error = Err(DecodeError::NonCanonicalSize { at: 0 });
        assert_eq!(read(&[0xfd, 0xfc, 0]), error);
        assert_eq!(read(&[0xfe, 0xff, 0xff, 0, 0]), error);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), error);
    }

    #[test]
    fn rust_bitcoin_5697_sizes_over_the_limit_are_refused() {
        let error = DecodeError::OversizedSize { at: 0, size: 0x0200_0001 };
        assert_eq!(Reader::new(&[0xfe, 1, 0, 0, 2]).compact_size(), Err(error));
        let error = DecodeError::OversizedSize { at: 0, size: u64::MAX };
        assert_eq!(Reader::new(&[0xff; 9]).compact_size(), Err(error));
    }
}
