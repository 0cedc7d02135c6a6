use byteorder::{ByteOrder, LittleEndian};
use caesure_hash::sha256d;
use caesure_wire::{Block, Header, Reader};

use crate::{Fault, Magic};

/// The length in bytes of what stands before a block.
pub(crate) const PREFIX_SIZE: usize = 8;
/// A prefix and a header.
pub(crate) const HEAD_SIZE: usize = PREFIX_SIZE + Header::SIZE;
/// A header and the count of no transactions.
pub(crate) const MIN_BLOCK_SIZE: usize = Header::SIZE + 1;
/// The weight limit, were every byte a witness byte. Core: `MAX_BLOCK_SERIALIZED_SIZE`.
pub(crate) const MAX_BLOCK_SIZE: usize = 4_000_000;

/// What stands after the header of a block whose body was released: no block begins with no
/// transactions, and neither does one that a crash left as zeros begin so. Four bytes say how many
/// transactions there were; zeros follow.
pub(crate) const RELEASED: [u8; 12] = *b"\0\0\0\0released";
/// A header, the mark and the count.
pub(crate) const RELEASED_SIZE: usize = Header::SIZE + RELEASED.len() + 4;

/// Returns how many transactions a block says that it has, or said before it was released; none where
/// that is not known. Its first [`RELEASED_SIZE`] bytes are enough.
pub(crate) fn tx_count(block: &[u8]) -> Option<u32> {
    let body = block.get(Header::SIZE..)?;
    match body.strip_prefix(&RELEASED) {
        Some(rest) => Some(u32::from_le_bytes(*rest.first_chunk()?)).filter(|count| *count != 0),
        None => u32::try_from(Reader::new(body).compact_size().ok()?).ok(),
    }
}

/// Whether these are the header, which meets its own target, and what is left of a block whose body
/// was released.
pub(crate) fn is_released(block: &[u8]) -> bool {
    block.get(Header::SIZE..).is_some_and(|body| body.starts_with(&RELEASED))
        && meets_claimed_target(block)
}

/// Whose record a prefix begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Our network's magic and a `u32` size.
    Magic,
    /// A `u64` size, the original's form.
    Native,
    /// Another network's magic and a `u32` size.
    Foreign(Magic),
}

/// What stands after the bytes that a prefix announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The end of the file, or a prefix.
    Boundary,
    /// Zeros, or too few bytes for a prefix.
    Blank,
    /// Anything else.
    Unknown,
}

/// The eight bytes before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) form: Form,
    /// The block's length in bytes.
    pub(crate) size: usize,
}

impl Prefix {
    /// Makes out a prefix at the start of `head`, which is a prefix and a header or, at the end of a
    /// file, less. What has no known magic must have a header that meets its own target.
    pub(crate) fn read(head: &[u8], ours: Magic) -> Option<Self> {
        let (first, second) = words(head)?;
        let magic = Magic(first.to_le_bytes());
        let is_proven = || head.get(PREFIX_SIZE..HEAD_SIZE).is_none_or(meets_claimed_target);
        if second == 0 {
            let size = block_size(first)?;
            return is_proven().then_some(Self { form: Form::Native, size });
        }
        let size = block_size(second)?;
        if magic == ours {
            return Some(Self { form: Form::Magic, size });
        }
        let is_foreign = magic.name().is_some() || HEAD_SIZE <= head.len() && is_proven();
        is_foreign.then_some(Self { form: Form::Foreign(magic), size })
    }

    /// Returns whether a search after garbage may stop at these [`HEAD_SIZE`] bytes.
    pub(crate) fn is_resync_point(head: &[u8], ours: Magic) -> bool {
        Self::read(head, ours).is_some_and(Self::is_known)
            && meets_claimed_target(&head[PREFIX_SIZE..HEAD_SIZE])
    }

    fn is_known(self) -> bool {
        !matches!(self.form, Form::Foreign(magic) if magic.name().is_none())
    }

    /// Returns whether what the prefix announces is taken for a block by its header and by what
    /// stands after it. Where that is neither a record nor the end, the size may be wrong or the
    /// block cut short and followed by another record, and only its merkle root tells.
    pub(crate) fn fits(self, header: &[u8], next: Next) -> bool {
        let is_likely = next == Next::Blank && meets_claimed_target(header);
        self.is_known() && (next == Next::Boundary || is_likely)
    }

    /// Returns the eight bytes of our written form.
    ///
    /// # Errors
    /// When no block has this size.
    pub(crate) fn written(ours: Magic, size: usize) -> Result<[u8; PREFIX_SIZE], Fault> {
        let size = u32::try_from(size).ok().filter(|&size| block_size(size).is_some());
        let mut prefix = [0; PREFIX_SIZE];
        prefix[..4].copy_from_slice(&ours.0);
        prefix[4..].copy_from_slice(&size.ok_or(Fault::Size)?.to_le_bytes());
        Ok(prefix)
    }

    /// Returns whether `prefix` announces `size` bytes in either form.
    pub(crate) fn announces(prefix: &[u8], ours: Magic, size: u32) -> bool {
        words(prefix).is_some_and(|(first, second)| {
            first.to_le_bytes() == ours.0 && second == size || first == size && second == 0
        })
    }
}

/// The two words of a prefix.
pub(crate) fn words(prefix: &[u8]) -> Option<(u32, u32)> {
    let words = prefix.first_chunk::<PREFIX_SIZE>()?;
    Some((LittleEndian::read_u32(words), LittleEndian::read_u32(&words[4..])))
}

/// The size as a length in memory, if a block can have it.
pub(crate) fn block_size(size: u32) -> Option<usize> {
    usize::try_from(size).ok().filter(|size| (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(size))
}

/// Returns whether the hash of a header is not over the target that its `bits` claim. Whether they
/// may claim it is a question of consensus. Core: `CheckProofOfWork`, `arith_uint256::SetCompact`.
pub(crate) fn meets_claimed_target(header: &[u8]) -> bool {
    let bits = LittleEndian::read_u32(&header[72..]);
    let exponent = (bits >> 24) as usize;
    let mantissa = bits & 0x00ff_ffff;
    if mantissa == 0 || 0x0080_0000 <= mantissa {
        return false;
    }
    let mut target = [0; 32];
    for (i, byte) in mantissa.to_le_bytes()[..3].iter().enumerate().filter(|(_, byte)| **byte != 0)
    {
        // Bytes below the first are shifted out; one above the last makes the target overflow.
        match (exponent + i).checked_sub(3) {
            Some(at) if at < target.len() => target[at] = *byte,
            Some(_) => return false,
            None => {}
        }
    }
    sha256d(&header[..Header::SIZE]).iter().rev().le(target.iter().rev())
}

/// Checks all that can be known of a block without its chain: target, decoding, merkle root.
///
/// # Errors
/// The first fault found.
pub(crate) fn check_block(bytes: &[u8]) -> Result<Header, Fault> {
    if !bytes.get(..Header::SIZE).ok_or(Fault::Short).map(meets_claimed_target)? {
        return Err(Fault::Target);
    }
    let block = Block::parse(bytes).map_err(Fault::Decode)?;
    let (root, is_mutated) = block.merkle_root();
    if root != block.header().merkle_root || is_mutated {
        return Err(Fault::MerkleRoot);
    }
    Ok(*block.header())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bits: u32) -> [u8; Header::SIZE] {
        Header { bits, ..Header::default() }.to_bytes()
    }

    /// Core: `bignum_SetCompact` in `arith_uint256_tests`, by which of these claim a target at all.
    #[test]
    fn claims_of_no_negative_or_overflowing_target_are_met() {
        for bits in [0x207f_ffff, 0x2100_ffff, 0x2200_00ff] {
            let met = (0..64u32).any(|nonce| {
                meets_claimed_target(&Header { bits, nonce, ..Header::default() }.to_bytes())
            });
            assert!(met, "{bits:08x}");
        }
        for bits in [
            0,
            0x2080_0000,
            0x20ff_ffff,
            0x2101_0000,
            0x2200_0100,
            0x2300_0001,
            0xff12_3456,
            0x0100_3456,
            0x0312_3456,
        ] {
            assert!(!meets_claimed_target(&header(bits)), "{bits:08x}");
        }
    }

    #[test]
    fn a_size_is_written_only_when_a_block_can_have_it() {
        let ours = Magic([1, 2, 3, 4]);
        assert_eq!(Prefix::written(ours, 81), Ok([1, 2, 3, 4, 81, 0, 0, 0]));
        assert!(Prefix::written(ours, 4_000_000).is_ok());
        assert_eq!(Prefix::written(ours, 80), Err(Fault::Size));
        assert_eq!(Prefix::written(ours, 4_000_001), Err(Fault::Size));
    }

    #[test]
    fn both_forms_announce_a_size_and_nothing_else_does() {
        let ours = Magic([1, 2, 3, 4]);
        assert!(Prefix::announces(&[1, 2, 3, 4, 99, 0, 0, 0], ours, 99));
        assert!(Prefix::announces(&[99, 0, 0, 0, 0, 0, 0, 0], ours, 99));
        assert!(!Prefix::announces(&[1, 2, 3, 5, 99, 0, 0, 0], ours, 99));
        assert!(!Prefix::announces(&[99, 0, 0, 0, 99, 0, 0, 0], ours, 99));
    }
}
