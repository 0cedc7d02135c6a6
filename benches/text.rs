//! Hexadecimal, Base58 and Bech32, beside the crates that others use.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use bech32::{Fe32, Hrp};
use caesure_benches::compare;
use caesure_text::{base58, bech32 as ours, hex};
use criterion::{Criterion, criterion_group, criterion_main};

/// Bytes without a pattern, the same for the same size, the first not zero.
fn bytes(size: usize) -> Vec<u8> {
    (1..=size).map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()[3] | u8::from(n == 1)).collect()
}

fn hexadecimal(criterion: &mut Criterion) {
    for (name, size) in [("32 bytes", 32), ("1 MiB", 1 << 20)] {
        let bytes = bytes(size);
        let text = hex::encode(&bytes);
        assert_eq!(text, const_hex::encode(&bytes));
        assert_eq!(hex::decode(&text).ok(), const_hex::decode(&text).ok());

        let ours = || hex::encode(black_box(&bytes));
        let theirs = || const_hex::encode(black_box(&bytes));
        compare(criterion, &format!("hex encode, {name}"), 0.95, ours, ("const-hex", theirs));
        let ours = || hex::decode(black_box(&text));
        let theirs = || const_hex::decode(black_box(&text));
        compare(criterion, &format!("hex decode, {name}"), 0.95, ours, ("const-hex", theirs));

        let (mut buffer, mut other) = (vec![0; 2 * size], vec![0; 2 * size]);
        let ours = || hex::encode_to_slice(black_box(&bytes), &mut buffer);
        let theirs = || const_hex::encode_to_slice(black_box(&bytes), &mut other);
        let name_to_slice = format!("hex encode to a slice, {name}");
        compare(criterion, &name_to_slice, 0.95, ours, ("const-hex", theirs));
        let (mut buffer, mut other) = (vec![0; size], vec![0; size]);
        let ours = || hex::decode_to_slice(black_box(&text), &mut buffer);
        let theirs = || const_hex::decode_to_slice(black_box(&text), &mut other);
        let name_to_slice = format!("hex decode to a slice, {name}");
        compare(criterion, &name_to_slice, 0.95, ours, ("const-hex", theirs));
    }
}

fn base58(criterion: &mut Criterion) {
    for size in [25, 32] {
        let bytes = bytes(size);
        let text = base58::encode(&bytes);
        assert_eq!(text, bs58::encode(&bytes).into_string());
        assert_eq!(base58::decode(&text).ok(), bs58::decode(&text).into_vec().ok());

        let ours = || base58::encode(black_box(&bytes));
        let theirs = || bs58::encode(black_box(&bytes)).into_string();
        compare(criterion, &format!("Base58 encode, {size} bytes"), 6.0, ours, ("bs58", theirs));
        let ours = || base58::decode(black_box(&text));
        let theirs = || bs58::decode(black_box(&text)).into_vec();
        compare(criterion, &format!("Base58 decode, {size} bytes"), 3.0, ours, ("bs58", theirs));
    }
    // With the checksum these are the 25 bytes of an address and the 38 of a private key.
    for size in [21, 34] {
        let bytes = bytes(size);
        let text = base58::encode_check(&bytes);
        assert_eq!(text, bs58::encode(&bytes).with_check().into_string());
        assert_eq!(
            base58::decode_check(&text).ok(),
            bs58::decode(&text).with_check(None).into_vec().ok()
        );

        let ours = || base58::encode_check(black_box(&bytes));
        let theirs = || bs58::encode(black_box(&bytes)).with_check().into_string();
        let name = format!("Base58Check encode, {size} + 4 bytes");
        compare(criterion, &name, 2.5, ours, ("bs58", theirs));
        let ours = || base58::decode_check(black_box(&text));
        let theirs = || bs58::decode(black_box(&text)).with_check(None).into_vec();
        let name = format!("Base58Check decode, {size} + 4 bytes");
        compare(criterion, &name, 1.5, ours, ("bs58", theirs));
    }
}

fn segwit(criterion: &mut Criterion) {
    let hrp = Hrp::parse("bc").expect("it is one");
    for (version, size) in [(0, 20), (0, 32), (1, 32)] {
        let program = bytes(size);
        let their_version = Fe32::try_from(version).expect("it is under 32");
        let text = ours::encode_segwit("bc", version, &program).expect("it is a program");
        assert_eq!(Ok(&text), bech32::segwit::encode(hrp, their_version, &program).as_ref());
        let theirs = bech32::segwit::decode(&text).expect("they wrote it");
        assert_eq!(ours::decode_segwit("bc", &text), Ok((theirs.1.to_u8(), theirs.2)));

        let ours_encode = || ours::encode_segwit("bc", version, black_box(&program));
        let theirs = || bech32::segwit::encode(hrp, their_version, black_box(&program));
        let name = format!("Bech32 encode, version {version}, {size} bytes");
        compare(criterion, &name, 2.0, ours_encode, ("bech32", theirs));
        let ours_decode = || ours::decode_segwit("bc", black_box(&text));
        let theirs = || bech32::segwit::decode(black_box(&text));
        let name = format!("Bech32 decode, version {version}, {size} bytes");
        compare(criterion, &name, 2.0, ours_decode, ("bech32", theirs));
    }
}

criterion_group!(benches, hexadecimal, base58, segwit);
criterion_main!(benches);
