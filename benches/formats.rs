//! Blocks, merkle roots and texts, beside the crates that others use for them.
//!
//! With `CAESURE_TEST_DATA` naming the folder of outside data, mainnet's block 413,567 is measured too.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::path::Path;

use bech32::Hrp;
use caesure_benches::chain;
use caesure_generate::{Options, Profile};
use caesure_hash::merkle_root;
use caesure_text::{base58, bech32 as own_bech32, hex};
use caesure_wire::Block;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A generated block of some size, and a real one where it is at hand.
fn blocks() -> Vec<(&'static str, Vec<u8>)> {
    let options = Options {
        blocks: 102,
        txs: 2_000,
        pool: 1_000,
        profile: Profile::Sig,
        forks: 0,
        ..Options::default()
    };
    let last = chain(&options).pop().expect("a chain has blocks");
    let mut blocks = vec![("generated", last.bytes().to_vec())];
    if let Some(data) = std::env::var_os("CAESURE_TEST_DATA") {
        let path = Path::new(&data).join("blocks/mainnet/413567.raw");
        blocks.push(("413567", std::fs::read(path).expect("the folder has the block")));
    }
    blocks
}

fn decode_blocks(criterion: &mut Criterion) {
    for (name, bytes) in blocks() {
        let mut group = criterion.benchmark_group(format!("parse and txids, block {name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("caesure", |bencher| {
            bencher.iter(|| {
                let block = Block::parse(&bytes[..]).expect("it is a block");
                block.txs().fold(0, |sum, tx| sum ^ tx.txid().0[0])
            });
        });
        group.bench_function("caesure, parse alone", |bencher| {
            bencher.iter(|| Block::parse(&bytes[..]).expect("it is a block").tx_count());
        });
        group.bench_function("bitcoin", |bencher| {
            bencher.iter(|| {
                let block: bitcoin::Block =
                    bitcoin::consensus::deserialize(&bytes).expect("it is a block");
                let first = |tx: &bitcoin::Transaction| {
                    AsRef::<[u8]>::as_ref(&tx.compute_txid().to_raw_hash())[0]
                };
                block.txdata.iter().fold(0, |sum, tx| sum ^ first(tx))
            });
        });
        group.finish();
    }
}

fn merkle(criterion: &mut Criterion) {
    let leaves: Vec<[u8; 32]> =
        (0..2_000_u32).map(|n| caesure_hash::sha256(&n.to_le_bytes())).collect();
    criterion.bench_function("merkle root of 2,000", |bencher| {
        bencher.iter(|| merkle_root(black_box(&leaves).clone()));
    });
}

fn texts(criterion: &mut Criterion) {
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let digits = hex::encode(&bytes);
    let mut group = criterion.benchmark_group("hex, 1 MiB");
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("caesure, encode", |bencher| bencher.iter(|| hex::encode(&bytes)));
    group.bench_function("const-hex, encode", |bencher| bencher.iter(|| const_hex::encode(&bytes)));
    group.bench_function("caesure, decode", |bencher| bencher.iter(|| hex::decode(&digits)));
    group.bench_function("const-hex, decode", |bencher| {
        bencher.iter(|| const_hex::decode(&digits));
    });
    group.finish();

    let payload: [u8; 21] = std::array::from_fn(|i| bytes[i + 7]);
    let address = base58::encode_check(&payload);
    let mut group = criterion.benchmark_group("base58check, an address");
    group.bench_function("caesure, encode", |bencher| {
        bencher.iter(|| base58::encode_check(black_box(&payload)));
    });
    group.bench_function("bs58, encode", |bencher| {
        bencher.iter(|| bs58::encode(black_box(&payload)).with_check().into_string());
    });
    group.bench_function("caesure, decode", |bencher| {
        bencher.iter(|| base58::decode_check(black_box(&address)));
    });
    group.bench_function("bs58, decode", |bencher| {
        bencher.iter(|| bs58::decode(black_box(&address)).with_check(None).into_vec());
    });
    group.finish();

    let program: [u8; 32] = std::array::from_fn(|i| bytes[i + 9]);
    let address = own_bech32::encode_segwit("bc", 1, &program).expect("a program");
    let hrp = Hrp::parse("bc").expect("a human-readable part");
    let mut group = criterion.benchmark_group("bech32m, an address");
    group.bench_function("caesure, encode", |bencher| {
        bencher.iter(|| own_bech32::encode_segwit("bc", 1, black_box(&program)));
    });
    group.bench_function("bech32, encode", |bencher| {
        bencher.iter(|| bech32::segwit::encode_v1(hrp, black_box(&program)));
    });
    group.bench_function("caesure, decode", |bencher| {
        bencher.iter(|| own_bech32::decode_segwit("bc", black_box(&address)));
    });
    group.bench_function("bech32, decode", |bencher| {
        bencher.iter(|| bech32::segwit::decode(black_box(&address)));
    });
    group.finish();
}

criterion_group!(benches, decode_blocks, merkle, texts);
criterion_main!(benches);
