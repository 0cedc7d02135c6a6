//! Foreign block files.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use caesure_blockstore::{Error, RecordReader};

use crate::support::*;

/// Gives its bytes in pieces of a few bytes, as a slow pipe does.
struct Pipe(Vec<u8>, usize);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = buffer.len().min(self.0.len()).min(1 + self.1 % 97);
        self.1 = self.1.wrapping_mul(31) + 7;
        buffer[..size].copy_from_slice(&self.0[..size]);
        self.0.drain(..size);
        Ok(size)
    }
}

/// What a stream and a mapped file of the same bytes give: the same.
fn check(bytes: &[u8], blocks: &[TestBlock], torn: usize, zeros: usize, skipped: usize) {
    let (read, mapped) = read_all(bytes, REGTEST);
    assert_eq!(read, raws(blocks));
    let mut stream = RecordReader::stream(Path::new("-"), REGTEST, Pipe(bytes.to_vec(), 1));
    let read = stream.by_ref().map(|record| record.unwrap().bytes.as_ref().to_vec());
    assert_eq!(read.collect::<Vec<_>>(), raws(blocks));
    for counts in [mapped.counts(), stream.counts()] {
        assert_eq!(counts.records, blocks.len() as u64);
        assert_eq!(
            (counts.torn_bytes, counts.zero_bytes, counts.skipped_bytes),
            (torn as u64, zeros as u64, skipped as u64)
        );
    }
    assert_eq!(
        (mapped.bytes_read(), mapped.total_bytes()),
        (bytes.len() as u64, bytes.len() as u64)
    );
}

#[test]
fn a_whole_file_is_read_in_its_order() {
    let mut blocks = chain(9);
    blocks.reverse();
    check(&file_of(&blocks, REGTEST), &blocks, 0, 0, 0);
    let native = blocks.iter().flat_map(TestBlock::native_record).collect::<Vec<_>>();
    check(&native, &blocks, 0, 0, 0);
}

#[test]
fn a_torn_tail_is_counted_whatever_its_length() {
    let blocks = chain(3);
    let (whole, last) = (file_of(&blocks[..2], REGTEST), blocks[2].record(REGTEST));
    for size in 1..last.len() {
        check(&[&whole[..], &last[..size]].concat(), &blocks[..2], size, 0, 0);
    }
}

#[test]
fn preallocated_zeros_are_no_block() {
    let blocks = chain(3);
    for zeros in [1, 7, 8, 9, 87, 88, 100_000] {
        check(&[file_of(&blocks, REGTEST), vec![0; zeros]].concat(), &blocks, 0, zeros, 0);
    }
}

#[test]
fn garbage_between_records_is_passed_over_to_the_next_header_that_meets_its_target() {
    let blocks = chain(4);
    for garbage in [
        &b"x"[..],
        b"garbage",
        &[0xfa; 300],
        &REGTEST,
        &[0xfa, 0xbf, 0xb5, 0xda, 99, 0, 0, 0],
        &[0; 3],
    ] {
        for native in [false, true] {
            let record = |block: &TestBlock| match native {
                true => block.native_record(),
                false => block.record(REGTEST),
            };
            let mut bytes = Vec::new();
            for block in &blocks {
                bytes.extend([garbage, &record(block)].concat());
            }
            check(&bytes, &blocks, 0, 0, 4 * garbage.len());
        }
    }
    // As long as several steps of the search, so that a record lies across two of them.
    for size in (65_536 - 100..65_536 + 100).chain([200_000]) {
        let bytes = [vec![0xab; size], file_of(&blocks[..1], REGTEST)].concat();
        check(&bytes, &blocks[..1], 0, 0, size);
    }
}

#[test]
fn a_native_size_that_begins_with_zeros_is_found_after_zeros() {
    let mut block = TestBlock::mine(Default::default(), 1, 1);
    for padding in 65_536 - 200..65_536 {
        block = TestBlock::mine(block.hash, 1, padding);
        if block.raw.len() == 65_536 {
            break;
        }
    }
    assert_eq!(block.native_record()[..2], [0, 0]);
    for zeros in [8, 9, 65_530, 65_536, 65_540, 131_072] {
        let bytes = [vec![0; zeros], block.native_record()].concat();
        check(&bytes, std::slice::from_ref(&block), 0, 0, zeros);
    }
}

#[test]
fn a_damaged_size_costs_one_block_and_no_other() {
    let blocks = chain(6);
    let whole = file_of(&blocks, REGTEST);
    let at = blocks[0].raw.len() + blocks[1].raw.len() + 16;
    for bit in 0..32 {
        let mut bytes = whole.clone();
        bytes[at + 4 + bit / 8] ^= 1 << (bit % 8);
        let (read, reader) = read_all(&bytes, REGTEST);
        let left = [&blocks[..2], &blocks[3..]].concat();
        assert_eq!(read, raws(&left), "bit {bit}");
        assert_eq!(reader.counts().skipped_bytes, 8 + blocks[2].raw.len() as u64);
    }
}

#[test]
fn a_record_in_its_place_is_given_out_whatever_its_header() {
    let mut blocks = chain(3);
    blocks[1].raw[72..76].copy_from_slice(&[0xff, 0xff, 0, 0x1d]);
    check(&file_of(&blocks, REGTEST), &blocks, 0, 0, 0);
}

#[test]
fn single_foreign_records_are_counted() {
    let blocks = chain(4);
    let mixed = [
        blocks[0].record(REGTEST),
        blocks[1].record(TESTNET3),
        blocks[2].record([9, 9, 9, 9]),
        blocks[3].record(REGTEST),
    ];
    let (read, reader) = read_all(&mixed.concat(), REGTEST);
    assert_eq!(read, [blocks[0].raw.clone(), blocks[3].raw.clone()]);
    let counts = reader.finish().unwrap();
    assert_eq!((counts.records, counts.foreign, counts.skipped_bytes), (2, 2, 0));
}

#[test]
fn a_file_of_another_network_is_named() {
    let blocks = chain(3);
    let (read, reader) = read_all(&file_of(&blocks, TESTNET3), MAIN);
    assert!(read.is_empty());
    let error = reader.finish().unwrap_err();
    assert!(
        error.to_string().contains("of the network testnet3, not of the network main"),
        "{error}"
    );
    let (_, reader) = read_all(&file_of(&blocks, [1, 2, 3, 4]), MAIN);
    assert!(reader.finish().unwrap_err().to_string().contains("magic 01020304"));
}

#[test]
fn no_block_file_is_named_and_says_what_to_do() {
    for bytes in
        [&b""[..], b"hello", &[0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7], &[0; 100], &[0x55; 70_000]]
    {
        let (read, reader) = read_all(bytes, MAIN);
        assert!(read.is_empty());
        let error = reader.finish().unwrap_err();
        assert!(matches!(error, Error::NotABlockFile { .. }));
        assert!(error.to_string().contains("bootstrap.dat holds no block"), "{error}");
    }
    let dir = new_dir();
    assert!(matches!(RecordReader::open(dir.path(), MAIN), Err(Error::NoBlockFiles { .. })));
    let missing = RecordReader::open(&dir.path().join("none"), MAIN).err().unwrap();
    assert!(missing.to_string().contains("none: No such file"), "{missing}");
}

/// Bitcoin Core's folder: files in the order of their numbers, blocks in any order, zero tails.
fn core_folder(key: [u8; 8]) -> (tempfile::TempDir, Vec<TestBlock>) {
    let dir = new_dir();
    fs::create_dir(dir.path().join("blocks")).unwrap();
    let blocks = chain(12);
    for (name, range) in [("blk00000.dat", 0..5), ("blk00001.dat", 5..6), ("blk100000.dat", 6..12)]
    {
        let mut bytes = file_of(&blocks[range], REGTEST);
        bytes.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        bytes.resize(bytes.len() + 1000, 0);
        fs::write(dir.path().join("blocks").join(name), bytes).unwrap();
    }
    fs::write(dir.path().join("blocks/rev00000.dat"), b"undo").unwrap();
    (dir, blocks)
}

#[test]
fn cores_folder_is_read_in_order_with_and_without_xor_dat() {
    let (dir, blocks) = core_folder([0; 8]);
    for path in [dir.path().join("blocks"), dir.path().to_owned()] {
        let (read, reader) = read_path(&path, REGTEST);
        assert_eq!(read, raws(&blocks));
        assert_eq!((reader.files().len(), reader.counts().zero_bytes), (3, 3000));
    }
    let key = [3, 1, 4, 1, 5, 9, 2, 6];
    let (dir, blocks) = core_folder(key);
    fs::write(dir.path().join("blocks/xor.dat"), key).unwrap();
    let mut reader = RecordReader::open(dir.path(), REGTEST).unwrap();
    let records = reader.by_ref().map(Result::unwrap).collect::<Vec<_>>();
    for (record, block) in records.iter().zip(&blocks) {
        assert_eq!(record.bytes.as_ref(), block.raw);
        assert_eq!(reader.read_at(record.file, record.position).unwrap().as_ref(), block.raw);
    }
    let counts = reader.finish().unwrap();
    assert_eq!((counts.records, counts.zero_bytes, counts.skipped_bytes), (12, 3000, 0));
    let one = dir.path().join("blocks/blk00001.dat");
    assert_eq!(read_path(&one, REGTEST).0, raws(&blocks[5..6]));
    fs::write(dir.path().join("blocks/xor.dat"), b"short").unwrap();
    let error = RecordReader::open(&one, REGTEST).err().unwrap();
    assert!(matches!(error, Error::BadXorKey { .. }), "{error}");
}

#[test]
fn an_obfuscated_file_without_its_key_is_no_block_file() {
    let (dir, _) = core_folder([3, 1, 4, 1, 5, 9, 2, 6]);
    let (read, reader) = read_path(dir.path(), REGTEST);
    assert!(read.is_empty());
    assert!(reader.finish().unwrap_err().to_string().contains("xor.dat"));
}

#[test]
fn damage_in_an_obfuscated_file_is_passed_over() {
    let key = [7, 0, 0, 1, 200, 9, 2, 6];
    let blocks = chain(4);
    let mut bytes =
        [file_of(&blocks[..2], REGTEST), b"noise".to_vec(), file_of(&blocks[2..], REGTEST)]
            .concat();
    bytes.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    let dir = new_dir();
    fs::write(dir.path().join("blk00000.dat"), bytes).unwrap();
    fs::write(dir.path().join("xor.dat"), key).unwrap();
    let (read, reader) = read_path(dir.path(), REGTEST);
    assert_eq!(read, raws(&blocks));
    assert_eq!(reader.counts().skipped_bytes, 5);
}

#[test]
fn a_record_is_read_again_at_its_place_and_nowhere_else() {
    let blocks = chain(4);
    let dir = dir_with(&file_of(&blocks, REGTEST));
    let mut reader = RecordReader::open(dir.path(), REGTEST).unwrap();
    let records = reader.by_ref().map(Result::unwrap).collect::<Vec<_>>();
    let kept = reader.read_at(0, records[2].position).unwrap();
    assert!(matches!(reader.read_at(0, 1), Err(Error::NoRecordAt { .. })));
    assert!(matches!(reader.read_at(0, 1 << 40), Err(Error::NoRecordAt { .. })));
    drop((reader, records));
    assert_eq!(kept.as_ref(), blocks[2].raw, "the bytes outlive the reader");
    let bytes = file_of(&blocks, REGTEST);
    let mut reader = RecordReader::stream(Path::new("-"), REGTEST, io::Cursor::new(bytes));
    assert_eq!(reader.by_ref().count(), 4);
    assert!(matches!(reader.read_at(0, 0), Err(Error::NotSeekable { .. })));
}

#[test]
fn an_error_of_a_stream_ends_it() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let stream = io::Cursor::new(chain(1)[0].record(REGTEST)).chain(Broken);
    let mut reader = RecordReader::stream(Path::new("pipe"), REGTEST, stream);
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "pipe: unplugged");
    assert!(reader.next().is_none());
}
