#![cfg_attr(fuzzing, no_main)]
//! Any bytes are a file of coins, of Core or of the original, or an error that names a place in them;
//! what was read is read again from what is written of it, and so is any set.

use std::collections::BTreeMap;
use std::io::Cursor;

use caesure_consensus::Coin;
use caesure_ledger::original::{self, CoinsHeader, CoinsWriter, Entry, Header};
use caesure_ledger::snapshot::{MAGIC, Reader, VERSION, Writer};
use caesure_ledger::{FormatError, Tally};
use caesure_wire::{BlockHash, OutPoint, Txid};
use libfuzzer_sys::fuzz_target;

type Coins = Vec<(OutPoint, Coin)>;

fuzz_target!(|data: &[u8]| {
    check_snapshot(data);
    check_original(data);
    // With a header, the fuzzer need not find one.
    let count = u64::from(data.first().copied().unwrap_or(0) % 8).to_le_bytes();
    let head: [&[u8]; 5] = [&MAGIC, &VERSION.to_le_bytes(), &[1; 4], &[2; 32], &count];
    check_snapshot(&[&head.concat(), data].concat());
    let head = [&[0x30, 0x38, 2, 1, 3, 2, 1, 0, 4, 32][..], &[2; 32]].concat();
    let sums = [&[2, 5, 1, 0x2a, 5, 0xf2, 0][..], &[2, 1, 0, 2, 1, 0, 2, 1, count[0]]].concat();
    check_original(&[&head, &sums, data].concat());
    check_set(data);
});

fn read_snapshot(data: &[u8]) -> Result<Coins, FormatError> {
    let reader = Reader::new(data)?;
    let count = reader.header().coins;
    let coins = reader.collect::<Result<Coins, _>>()?;
    assert_eq!(coins.len() as u64, count);
    Ok(coins)
}

fn write_snapshot(coins: &Coins) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), [1; 4], BlockHash([2; 32])).unwrap();
    for (outpoint, coin) in coins {
        writer.push(outpoint, coin).unwrap();
    }
    writer.finish().unwrap().1.into_inner()
}

fn check_snapshot(data: &[u8]) {
    match read_snapshot(data) {
        Ok(coins) => {
            let mut tally = Tally::default();
            coins.iter().for_each(|(outpoint, coin)| tally.push(outpoint, coin));
            assert_eq!(tally.finish().txouts, coins.len() as u64);
            assert_eq!(read_snapshot(&write_snapshot(&coins)).unwrap(), coins);
        }
        Err(error) => assert!(error.offset <= data.len() as u64, "{error}"),
    }
}

fn read_original(data: &[u8]) -> Result<(Header, Vec<Entry>), FormatError> {
    let mut entries = Vec::new();
    let header = original::read(data, |entry| entries.push(entry))?;
    Ok((header, entries))
}

fn write_original(header: &CoinsHeader, entries: &[Entry]) -> Vec<u8> {
    let mut writer = CoinsWriter::new(Vec::new(), header).unwrap();
    for entry in entries {
        let Entry::Coin(entry) = entry else { panic!("a block among coins") };
        let mut txid = Txid::ZERO;
        txid.0[..16].copy_from_slice(&entry.txid);
        let script_pubkey = entry.script_pubkey.to_vec().into();
        let coin = Coin { value: entry.value, height: 0, is_coinbase: false, script_pubkey };
        writer.push(&OutPoint { txid, vout: entry.vout.into() }, &coin).unwrap();
    }
    writer.finish().unwrap()
}

fn check_original(data: &[u8]) {
    match read_original(data) {
        Ok((Header::Metadata(blocks), entries)) => assert_eq!(entries.len() as u64, blocks),
        Ok((Header::Coins(header), entries)) => {
            let again = read_original(&write_original(&header, &entries)).unwrap();
            assert_eq!(again, (Header::Coins(header), entries));
        }
        Err(error) => assert!(error.offset <= data.len() as u64, "{error}"),
    }
}

/// Makes a set of the bytes, with scripts that have a form of their own.
fn check_set(data: &[u8]) {
    let mut set = BTreeMap::new();
    for part in data.chunks(40) {
        let (Some((head, tail)), Some(hash)) = (part.split_first_chunk::<8>(), part.get(8..28))
        else {
            break;
        };
        let script = match head[0] % 4 {
            0 => [&[0x76, 0xa9, 20][..], hash, &[0x88, 0xac]].concat(),
            1 => [&[0xa9, 20][..], hash, &[0x87]].concat(),
            2 => [&[33, 2 | head[0] >> 7][..], &tail[..tail.len().min(32)], &[0xac]].concat(),
            _ => tail.to_vec(),
        };
        let [_, txid, low, high, a, b, c, d] = *head;
        let outpoint =
            OutPoint { txid: Txid([txid % 4; 32]), vout: u16::from_le_bytes([low, high]).into() };
        let coin = Coin {
            value: i64::from(u32::from_le_bytes([a, b, c, d])) * 400_000,
            height: u32::from_le_bytes([d, c, b, a]) >> 1,
            is_coinbase: a & 1 == 1,
            script_pubkey: script.into(),
        };
        set.insert(outpoint, coin);
    }
    let coins: Coins = set.into_iter().collect();
    assert_eq!(read_snapshot(&write_snapshot(&coins)).unwrap(), coins);
}

#[cfg(not(fuzzing))]
fn main() {}
