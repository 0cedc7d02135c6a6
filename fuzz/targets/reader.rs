#![cfg_attr(fuzzing, no_main)]
//! The reader of fields: every CompactSize has one form, and a header is its 80 bytes.

use caesure_wire::{Header, InputView, MAX_SIZE, OutPoint, OutputView, Reader, push_compact_size};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    while !reader.is_empty() {
        let start = reader.position();
        let Ok(size) = reader.compact_size() else { break };
        assert!(size <= MAX_SIZE);
        let mut again = Vec::new();
        push_compact_size(&mut again, size);
        assert_eq!(again, data[start..reader.position()]);
        match size % 8 {
            0 => drop(reader.bytes(size)),
            1 => drop(reader.u32()),
            2 => drop(reader.i64()),
            3 => {
                if let Ok(header) = Header::read(&mut reader) {
                    assert_eq!(Header::from_bytes(&header.to_bytes()), header);
                    assert!(data[..reader.position()].ends_with(&header.to_bytes()));
                }
            }
            4 => {
                if let Ok(bytes) = reader.array::<36>() {
                    assert_eq!(OutPoint::from_bytes(&bytes).to_bytes(), bytes);
                }
            }
            5 => {
                let start = reader.position();
                if let Ok(input) = InputView::read(&mut reader) {
                    let mut bytes = Vec::new();
                    input.to_owned().encode_to(&mut bytes);
                    assert_eq!(bytes, data[start..reader.position()]);
                }
            }
            6 => {
                let start = reader.position();
                if let Ok(output) = OutputView::read(&mut reader) {
                    let mut bytes = Vec::new();
                    output.to_owned().encode_to(&mut bytes);
                    assert_eq!(bytes, data[start..reader.position()]);
                }
            }
            _ => drop(reader.sized_bytes()),
        }
        assert!(start < reader.position() && reader.position() <= data.len());
    }
});

#[cfg(not(fuzzing))]
fn main() {}
