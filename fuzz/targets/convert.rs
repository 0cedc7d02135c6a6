#![cfg_attr(fuzzing, no_main)]
//! Any file is converted as a whole or left as it is, changes only in prefixes, and is converted the
//! second time without a change.

use std::fs;

use caesure_blockstore::convert;
use caesure_fuzz::new_block;
use libfuzzer_sys::fuzz_target;

/// Makes records out of bytes: each a block in either form or cut, or a byte as it is.
fn records(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for pair in data.chunks(2) {
        let (raw, _) = new_block(*pair.last().expect("a chunk is not empty"));
        let size = u32::try_from(raw.len()).expect("a small block").to_le_bytes();
        match pair[0] % 8 {
            0..4 => bytes.extend([&[0xf9, 0xbe, 0xb4, 0xd9], &size[..], &raw].concat()),
            4 | 5 => bytes.extend([&size[..], &[0; 4], &raw].concat()),
            6 => bytes.extend([&size[..], &size, &raw].concat()),
            _ => bytes.extend(pair),
        }
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let made = records(data);
    let data = if data.first().is_some_and(|byte| *byte < 128) { &made[..] } else { data };
    let dir = tempfile::tempdir().expect("a folder for the test");
    let path = dir.path().join("bootstrap.dat");
    fs::write(&path, data).expect("the disk takes it");
    let result = convert(&path);
    let bytes = fs::read(&path).expect("it was written");
    let Ok(converted) = result else {
        assert_eq!(bytes, data);
        return;
    };
    assert_eq!(bytes.len(), data.len());
    let mut position = 0;
    for _ in 0..converted.records {
        let (prefix, rest) = bytes[position..].split_first_chunk::<8>().expect("a prefix");
        let size = usize::try_from(u64::from_le_bytes(*prefix)).expect("a size in memory");
        assert_eq!(rest[..size], data[position + 8..][..size]);
        position += 8 + size;
    }
    assert_eq!(position, bytes.len());
    let again = convert(&path).expect("it was converted before");
    assert_eq!((again.records, again.rewritten), (converted.records, 0));
    assert_eq!(fs::read(&path).expect("it was written"), bytes);
});

#[cfg(not(fuzzing))]
fn main() {}
