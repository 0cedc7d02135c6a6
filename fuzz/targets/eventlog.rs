#![cfg_attr(fuzzing, no_main)]
//! The event log: any bytes are read to their end, and what is read is written again.

use caesure_eventlog::{Error, Record, RecordReader, Shape, Value, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = RecordReader::new(data);
    loop {
        match reader.next_record() {
            Ok(Some(record)) => check(&record),
            Ok(None) => break,
            Err(error) => assert!(matches!(error, Error::NoRecords { .. })),
        }
    }
    assert_eq!(reader.position() + reader.pending() as u64, data.len() as u64);
    let mut rest = data;
    if let Ok(value) = Value::decode(&mut rest) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        // It may have been written in a longer way, as NaN may be in many.
        let again = Value::decode(&mut &bytes[..]).expect("it was encoded");
        assert_eq!(format!("{again:?}"), format!("{value:?}"));
    }
});

fn check(record: &Record) {
    let line = text::line(record, true);
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    let _ = Shape::of(record);
    let again = Record::decode(&record.to_bytes()[8..]).expect("it was encoded");
    assert_eq!(format!("{again:?}"), format!("{record:?}"));
}

#[cfg(not(fuzzing))]
fn main() {}
