#![cfg_attr(fuzzing, no_main)]
//! Any bytes are a block file: records come in order, lie inside it, and all bytes are accounted for.

use std::io::Cursor;
use std::path::Path;

use caesure_blockstore::RecordReader;
use libfuzzer_sys::fuzz_target;

const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

fuzz_target!(|data: &[u8]| {
    let mut reader = RecordReader::stream(Path::new("fuzz"), REGTEST, Cursor::new(data.to_vec()));
    let (mut end, mut count, mut bytes) = (0, 0, 0);
    for record in reader.by_ref() {
        let record = record.expect("memory can be read");
        let start = usize::try_from(record.position).expect("a position in memory");
        assert!(end <= start);
        assert!(data[start + 8..].starts_with(record.bytes.as_ref()));
        end = start + 8 + record.bytes.as_ref().len();
        count += 1;
        bytes += end - start;
    }
    let counts = reader.counts();
    assert_eq!(counts.records, count);
    let outside = counts.torn_bytes + counts.zero_bytes + counts.skipped_bytes;
    if counts.foreign == 0 {
        assert_eq!(outside + bytes as u64, data.len() as u64);
    }
    assert_eq!(reader.finish().is_ok(), 0 < count);
});

#[cfg(not(fuzzing))]
fn main() {}
