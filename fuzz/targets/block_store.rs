#![cfg_attr(fuzzing, no_main)]
//! A folder whose files are written, damaged and cut in any way opens or is refused. A reader changes
//! nothing, the writer only cuts, and a block that is appended then is read again.

use std::fs;
use std::path::Path;

use caesure_blockstore::{BlockStore, convert};
use caesure_fuzz::new_block;
use caesure_wire::{Block, DecodeError, Reader};
use libfuzzer_sys::fuzz_target;

const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];
const MAIN: [u8; 4] = [0xf9, 0xbe, 0xb4, 0xd9];

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let mut steps = Reader::new(data);
    // Each step touches the disk: a few dozen show what many would.
    for _ in 0..32 {
        if step(dir.path(), &mut steps).is_err() {
            break;
        }
    }
    write_and_read(dir.path());
});

/// Does to the files what a byte says.
fn step(dir: &Path, steps: &mut Reader<'_>) -> Result<(), DecodeError> {
    let (blocks, index) = (dir.join("blocks.bin"), dir.join("blocks.idx"));
    let mut bytes = fs::read(&blocks).unwrap_or_default();
    let record = |magic: [u8; 4], number: u8| {
        let (raw, _) = new_block(number);
        let size = u32::try_from(raw.len()).expect("a small block").to_le_bytes();
        [&magic[..], &size, &raw].concat()
    };
    match steps.u8()? % 10 {
        0 => bytes.extend(record(REGTEST, steps.u8()?)),
        1 => bytes.extend(record(MAIN, steps.u8()?)),
        2 => {
            let part = record(REGTEST, steps.u8()?);
            bytes.extend(&part[..usize::from(steps.u8()?).min(part.len())]);
        }
        3 => bytes.extend(steps.sized_bytes()?),
        4 => bytes.resize(bytes.len() + usize::from(steps.u8()?), 0),
        5 => damage(&mut bytes, steps)?,
        6 => {
            let mut bytes = fs::read(&index).unwrap_or_default();
            damage(&mut bytes, steps)?;
            fs::write(&index, bytes).expect("the disk takes it");
        }
        7 => {
            drop(convert(&blocks));
            return Ok(());
        }
        8 => read(dir),
        _ => {
            drop(BlockStore::open(dir, REGTEST));
            return Ok(());
        }
    }
    fs::write(&blocks, bytes).expect("the disk takes it");
    Ok(())
}

/// Changes a byte, or cuts there.
fn damage(bytes: &mut Vec<u8>, steps: &mut Reader<'_>) -> Result<(), DecodeError> {
    let place = usize::from(u16::from_le_bytes(steps.array()?));
    match (steps.u8()?, bytes.get_mut(place)) {
        (0, _) => bytes.truncate(place),
        (change, Some(byte)) => *byte ^= change,
        (_, None) => {}
    }
    Ok(())
}

/// Reads all that a reader sees.
fn read(dir: &Path) {
    let files = || [fs::read(dir.join("blocks.bin")).ok(), fs::read(dir.join("blocks.idx")).ok()];
    let before = files();
    if let Ok(mut reader) = BlockStore::open_read_only(dir, REGTEST) {
        for entry in reader.entries().flatten() {
            if let Ok(bytes) = reader.read(&entry.hash) {
                assert!(bytes.starts_with(&entry.header.to_bytes()));
            }
        }
        let _ = reader.refresh();
    }
    assert_eq!(files(), before);
}

/// Opens as the writer, appends a block, and opens again.
fn write_and_read(dir: &Path) {
    read(dir);
    let path = dir.join("blocks.bin");
    let blocks = fs::read(&path).unwrap_or_default();
    let Ok((mut store, _)) = BlockStore::open(dir, REGTEST) else {
        assert_eq!(fs::read(&path).unwrap_or_default(), blocks);
        return;
    };
    assert!(blocks.starts_with(&fs::read(&path).expect("the writer makes it")));
    let count = store.len();
    for entry in store.entries() {
        let entry = entry.expect("an index that the writer opened");
        if let Ok(bytes) = store.verify(&entry.hash) {
            assert!(Block::parse(&bytes).is_ok());
        }
    }
    let (raw, header) = new_block(255);
    if store.contains(&header.hash()) {
        return;
    }
    store.append(&raw, &header.hash()).expect("a sound block");
    store.sync().expect("the disk takes it");
    drop(store);
    let (store, report) = BlockStore::open(dir, REGTEST).expect("the writer left it");
    assert_eq!((store.len(), report.cut), (count + 1, None));
    assert_eq!(store.read(&header.hash()).expect("it was appended"), raw);
}

#[cfg(not(fuzzing))]
fn main() {}
