//! Private keys as wallets show them ("wallet import format").

use alloc::string::String;

use crate::{TextError, base58};

/// The prefix byte of main.
pub const MAIN_PREFIX: u8 = 128;
/// The prefix byte of all test networks: testnet3, testnet4, signet and regtest.
pub const TEST_PREFIX: u8 = 239;

/// The order of the group of secp256k1. Spec: SEC 2, 2.4.1.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// Writes a private key; with `is_compressed`, its addresses are those of the compressed public key.
/// Core: `EncodeSecret`.
///
/// The text in memory, like that which [`decode`] reads, is the caller's to protect.
///
/// # Errors
/// When the key is zero or not below the order of the curve.
pub fn encode(prefix: u8, key: &[u8; 32], is_compressed: bool) -> Result<String, TextError> {
    check_range(key)?;
    let mut payload = [1; 34];
    payload[0] = prefix;
    payload[1..33].copy_from_slice(key);
    Ok(base58::encode_check(&payload[..33 + usize::from(is_compressed)]))
}

/// Reads what [`encode`] writes: the private key, and whether its public key is compressed.
/// Core: `DecodeSecret`.
///
/// # Errors
/// As [`base58::decode_check`], when the prefix byte is not `prefix`, and when what follows is no key.
pub fn decode(prefix: u8, text: &str) -> Result<([u8; 32], bool), TextError> {
    let payload = base58::decode_check(text)?;
    let (&found, payload) = payload.split_first().ok_or(TextError::KeyForm)?;
    if found != prefix {
        return Err(TextError::WrongPrefix { prefix: found });
    }
    let (key, rest) = payload.split_first_chunk::<32>().ok_or(TextError::KeyForm)?;
    if !matches!(rest, [] | [1]) {
        return Err(TextError::KeyForm);
    }
    check_range(key)?;
    Ok((*key, !rest.is_empty()))
}

fn check_range(key: &[u8; 32]) -> Result<(), TextError> {
    if *key != [0; 32] && *key < ORDER { Ok(()) } else { Err(TextError::KeyRange) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_payload(payload: &[&[u8]]) -> Result<([u8; 32], bool), TextError> {
        decode(MAIN_PREFIX, &base58::encode_check(&payload.concat()))
    }

    #[test]
    fn a_key_has_32_bytes_and_at_most_a_one_after_them() {
        assert_eq!(of_payload(&[&[128], &[7; 32]]), Ok(([7; 32], false)));
        assert_eq!(of_payload(&[&[128], &[7; 32], &[1]]), Ok(([7; 32], true)));
        let others: [&[&[u8]]; 6] = [
            &[],
            &[&[128]],
            &[&[128], &[7; 31]],
            &[&[128], &[7; 32], &[0]],
            &[&[128], &[7; 32], &[2]],
            &[&[128], &[7; 32], &[1, 1]],
        ];
        for payload in others {
            assert_eq!(of_payload(payload), Err(TextError::KeyForm), "{payload:?}");
        }
        let error = Err(TextError::WrongPrefix { prefix: 239 });
        assert_eq!(of_payload(&[&[239], &[7; 32]]), error);
    }

    #[test]
    fn a_key_is_above_zero_and_below_the_order() {
        let mut one = [0; 32];
        one[31] = 1;
        let mut last = ORDER;
        last[31] -= 1;
        for key in [one, last] {
            for is_compressed in [false, true] {
                let text = encode(TEST_PREFIX, &key, is_compressed).unwrap();
                assert_eq!(decode(TEST_PREFIX, &text), Ok((key, is_compressed)));
            }
        }
        for key in [[0; 32], ORDER, [0xff; 32]] {
            assert_eq!(encode(MAIN_PREFIX, &key, true), Err(TextError::KeyRange));
            assert_eq!(of_payload(&[&[128], &key]), Err(TextError::KeyRange));
        }
    }
}
