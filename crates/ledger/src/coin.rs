//! How coins stand in the log: grouped by transaction, each with a checksum of its own.

use caesure_consensus::Coin;
use caesure_wire::{OutPoint, Txid, push_compact_size};
use smallvec::SmallVec;

/// The length of a transaction's head: txid 32, height times two plus coinbase flag 4, and the number
/// of coins times 1,024 plus the block's number in the window 4.
pub(crate) const HEAD: usize = 40;
/// A coin's numbers and checksum take at most so many bytes, and its script is at most 10,000 long.
pub(crate) const COIN_MAX: usize = 4 + 4 * 10 + 10_000;

/// A coin as it stands in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoinView<'a> {
    pub(crate) txid: &'a [u8; 32],
    pub(crate) vout: u32,
    pub(crate) value: i64,
    /// Height times two, plus one for a coinbase.
    pub(crate) code: u32,
    /// The number that its block had in the window.
    pub(crate) number: u16,
    /// What stands in the log from the script on, and how much of that is the script.
    from_script: &'a [u8],
    script_len: usize,
    /// How many bytes it takes.
    pub(crate) len: usize,
}

impl CoinView<'_> {
    pub(crate) fn outpoint(&self) -> OutPoint {
        OutPoint { txid: Txid(*self.txid), vout: self.vout }
    }

    pub(crate) fn coin(&self) -> Coin {
        Coin {
            value: self.value,
            height: self.code >> 1,
            is_coinbase: self.code & 1 == 1,
            script_pubkey: match self.from_script.first_chunk::<36>() {
                // Copies of one length, and never of bytes just written by others, are the fastest.
                Some(bytes) if self.script_len <= 36 => {
                    SmallVec::from_buf_and_len(*bytes, self.script_len)
                }
                _ => SmallVec::from_slice(self.script()),
            },
        }
    }

    pub(crate) fn script(&self) -> &[u8] {
        &self.from_script[..self.script_len]
    }
}

pub(crate) fn code_of(height: u32, is_coinbase: bool) -> u32 {
    height << 1 | u32::from(is_coinbase)
}

/// Appends a transaction's head.
pub(crate) fn push_head(out: &mut Vec<u8>, txid: &Txid, code: u32, coins: usize, number: u16) {
    let coins = u32::try_from(coins).expect("a transaction has fewer than four million outputs");
    out.extend_from_slice(&txid.0);
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(coins << 10 | u32::from(number)).to_le_bytes());
}

/// Appends a coin behind its transaction's head, which begins at `head` in `out`, and zeros up to a
/// multiple of four bytes.
pub(crate) fn push_coin(out: &mut Vec<u8>, head: usize, vout: u32, value: i64, script: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    push_varint(out, (start - head) as u64 / 4);
    push_varint(out, vout.into());
    push_varint(out, value.cast_unsigned());
    push_varint(out, script.len() as u64);
    out.extend_from_slice(script);
    let len = out.len() - start - 4;
    out.resize(out.len().next_multiple_of(4), 0);
    let head = out[head..].first_chunk().expect("a coin stands behind its head");
    let check = checksum(head, len, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&check.to_le_bytes());
}

/// Reads the coin at `at`, with its head before it; none if they are damaged.
#[inline(always)]
pub(crate) fn read_coin(bytes: &[u8], at: usize) -> Option<CoinView<'_>> {
    let mut rest = bytes.get(at + 4..)?;
    let back = usize::try_from(read_varint(&mut rest)?).ok()?.checked_mul(4)?;
    let vout = u32::try_from(read_varint(&mut rest)?).ok()?;
    let value = read_varint(&mut rest)?.cast_signed();
    let (script_len, from_script) = (usize::try_from(read_varint(&mut rest)?).ok()?, rest);
    let end = bytes.len() - rest.get(script_len..)?.len();
    let padded = bytes.get(at + 4..at + (end - at).next_multiple_of(4))?;
    let head = bytes.get(at.checked_sub(back)?..)?.first_chunk::<HEAD>()?;
    let check = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    if checksum(head, end - at - 4, padded) != check {
        return None;
    }
    let (txid, code, number) = split_head(head);
    let number = (number & 0x3ff) as u16;
    let len = (end - at).next_multiple_of(4);
    Some(CoinView { txid, vout, value, code, number, from_script, script_len, len })
}

/// The number of coins behind a head.
pub(crate) fn coins_of(head: &[u8; HEAD]) -> u32 {
    split_head(head).2 >> 10
}

fn split_head(head: &[u8; HEAD]) -> (&[u8; 32], u32, u32) {
    let (txid, rest) = head.split_first_chunk().expect("a head is 40 bytes");
    let (words, _) = rest.as_chunks();
    (txid, u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1]))
}

/// A sum over the head and a coin's bytes, which are `len` and zeros up to a multiple of four: the
/// words, the last one filled up with zeros, go to two sums in turn, which are rotated left by five
/// bits, XORed with the word, and multiplied. The upper half of both together counts.
#[inline(always)]
fn checksum(head: &[u8; HEAD], len: usize, padded: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (mut a, mut b) = (len as u64, 0);
    let (head, _) = head.as_chunks();
    let (words, _) = padded[..len].as_chunks();
    let rest = &padded[len / 8 * 8..];
    let half = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes).into();
    let last = rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let last = last.unwrap_or_else(|| rest.first_chunk().map_or(0, half));
    for (words, last) in [(head, 0), (words, last)] {
        let (pairs, single) = words.as_chunks();
        for [first, second] in pairs {
            a = step(a, u64::from_le_bytes(*first));
            b = step(b, u64::from_le_bytes(*second));
        }
        if let [word] = single {
            a = step(a, u64::from_le_bytes(*word));
        }
        b = step(b, last);
    }
    ((a ^ b.wrapping_mul(FACTOR)) >> 32) as u32
}

/// Appends a number, seven bits a byte, the low ones first; the top bit says that more follow.
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while 0x80 <= value {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[inline(always)]
fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(first.into());
    }
    // How many bytes an amount has cannot be foretold, and a wrong guess costs more than all of this.
    if let Some(word) = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
        && let ends @ 1.. = !word & 0x8080_8080_8080_8080
    {
        let sevens = word & (ends ^ (ends - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
        let pairs = sevens & 0x007f_007f_007f_007f | sevens >> 1 & 0x3f80_3f80_3f80_3f80;
        let fours = pairs & 0x0000_3fff_0000_3fff | pairs >> 2 & 0x0fff_c000_0fff_c000;
        *bytes = &bytes[ends.trailing_zeros() as usize / 8 + 1..];
        return Some(fours & 0x0fff_ffff | fours >> 4 & 0x00ff_ffff_f000_0000);
    }
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends what Core hashes for a coin (`TxOutSer`): outpoint, height times two plus coinbase flag 4,
/// value 8, script with its length.
pub(crate) fn push_entry(out: &mut Vec<u8>, outpoint: &OutPoint, coin: &Coin) {
    out.extend_from_slice(&outpoint.to_bytes());
    out.extend_from_slice(&code_of(coin.height, coin.is_coinbase).to_le_bytes());
    out.extend_from_slice(&coin.value.to_le_bytes());
    push_compact_size(out, coin.script_pubkey.len());
    out.extend_from_slice(&coin.script_pubkey);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_of_any_length_is_read_whatever_follows(
            value in any::<u64>(),
            bits in 0_u32..64,
            rest in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value >> bits);
            for cut in 0..bytes.len() {
                prop_assert_eq!(read_varint(&mut bytes.get(..cut).unwrap()), None);
            }
            bytes.extend_from_slice(&rest);
            let mut left = bytes.as_slice();
            prop_assert_eq!(read_varint(&mut left), Some(value >> bits));
            prop_assert_eq!(left, rest);
        }
    }
}
