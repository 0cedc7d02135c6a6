use std::io::Read;

use caesure_eventlog::{
    Error, Event, MAGIC, MAX_SKIPPED, Record, RecordReader, Shape, Value, text,
};
use proptest::prelude::*;

use crate::{GOLDEN, TIME, connect, log_of, unhex};

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

fn records(bytes: &[u8]) -> (Vec<Record>, u64) {
    let mut reader = RecordReader::new(bytes);
    let mut found = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        found.push(record);
    }
    (found, reader.skipped())
}

#[test]
fn the_originals_record_is_written_byte_for_byte() {
    let mut out = Vec::new();
    connect().encode(TIME, &mut out);
    assert_eq!(out, unhex(GOLDEN));
    let (found, skipped) = records(&out);
    assert_eq!((found.len(), skipped), (1, 0));
    assert_eq!(found[0].to_bytes(), out);
    assert_eq!((found[0].time, found[0].facility(), found[0].text(1)), (TIME, "server", "connect"));
    assert_eq!(Shape::of(&found[0]), Some(connect().shape()));
}

#[test]
fn numbers_are_written_as_the_original_wrote_them() {
    let cases: [(i128, &str); 12] = [
        (0, "020100"),
        (1, "020101"),
        (-1, "0201ff"),
        (127, "02017f"),
        (128, "02020080"),
        (-128, "020180"),
        (-129, "0202ff7f"),
        (255, "020200ff"),
        (256, "02020100"),
        (u64::MAX.into(), "020900ffffffffffffffff"),
        (i128::MAX, "02107fffffffffffffffffffffffffffffff"),
        (i128::MIN, "021080000000000000000000000000000000"),
    ];
    for (number, bytes) in cases {
        assert_eq!(encoded(&Value::Integer(number)), unhex(bytes), "{number}");
        assert_eq!(Value::decode(&mut &unhex(bytes)[..]).unwrap(), Value::Integer(number));
    }
}

#[test]
fn each_kind_of_value_has_its_tag() {
    let pair = vec![Value::text("a"), Value::Bool(false)];
    let cases = [
        (Value::None, "0500"),
        (Value::Bool(true), "0101ff"),
        (Value::Bool(false), "010100"),
        (Value::text("abc"), "0403616263"),
        (Value::Text("\u{e9}".to_owned()), "0c02c3a9"),
        (Value::List(pair.clone()), "3006040161010100"),
        (Value::Tuple(pair.clone()), "a006040161010100"),
        (Value::Set(pair.clone()), "a206040161010100"),
        (Value::Dict(vec![(pair[0].clone(), pair[1].clone())]), "a108a006040161010100"),
        (Value::Float(1.5), "83083ff8000000000000"),
        (
            Value::BigInteger([&[0][..], &[0xff; 16]].concat()),
            "021100ffffffffffffffffffffffffffffffff",
        ),
    ];
    for (value, bytes) in cases {
        assert_eq!(encoded(&value), unhex(bytes), "{value:?}");
        assert_eq!(Value::decode(&mut &unhex(bytes)[..]).unwrap(), value);
    }
}

#[test]
fn lengths_are_as_short_as_may_be_at_every_border() {
    for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 24] {
        let value = Value::Tuple(vec![Value::Bytes(vec![7; length])]);
        let bytes = encoded(&value);
        let head = |length: usize| match length {
            0..128 => 2,
            128..256 => 3,
            256..65_536 => 4,
            65_536..0x100_0000 => 5,
            _ => 6,
        };
        let inner = head(length) + length;
        assert_eq!(bytes.len(), head(inner) + inner, "{length}");
        assert_eq!(Value::decode(&mut &bytes[..]).unwrap(), value);
    }
}

#[test]
fn what_the_format_does_not_have_is_an_error() {
    let deep = [&b"\x30\x80"[..], &[0; 9]].concat();
    for bytes in
        [deep, unhex("3085"), unhex("04850000000001"), unhex("0484ffffffff"), unhex("0901ff")]
    {
        let result = Value::decode(&mut &bytes[..]);
        assert!(matches!(result, Err(Error::Malformed | Error::Cut)), "{bytes:x?}: {result:?}");
    }
    for bytes in ["0200", "050100", "01020000", "0c01ff", "830400000000", "a1020500"] {
        assert!(matches!(Value::decode(&mut &unhex(bytes)[..]), Err(Error::Malformed)), "{bytes}");
    }
    let mut nested = vec![5, 0];
    for _ in 0..40 {
        nested = [&[0x30, u8::try_from(nested.len()).unwrap()], &nested[..]].concat();
    }
    assert!(matches!(Value::decode(&mut &nested[..]), Err(Error::TooDeep)));
}

/// A length that only the file claims takes no memory: the record's own item must say the same.
#[test]
fn a_record_is_not_waited_for_because_of_its_length_alone() {
    let mut log = log_of(3, 1);
    log.splice(..0, [&MAGIC[..], &0x00ff_ffff_u32.to_be_bytes(), b"\xa0\x05garbage"].concat());
    let (found, skipped) = records(&log);
    assert_eq!((found.len(), skipped), (3, 17));
}

#[test]
fn reading_begins_anywhere_and_goes_on_after_damage() {
    let log = log_of(50, 1);
    let size = log.len() / 50;
    let (found, skipped) = records(&log[size / 2..]);
    assert_eq!((found.len(), skipped), (49, (size - size / 2) as u64));
    for place in 0..size {
        let mut damaged = log.clone();
        damaged[10 * size + place] ^= 0x55;
        let (found, skipped) = records(&damaged);
        // Damage in the data of a record is no concern of the format.
        assert!(
            found.len() == 50 && skipped == 0 || found.len() == 49 && skipped == size as u64,
            "{place}"
        );
    }
    let holes = [&log[..5 * size], b"noise", &log[..3 * size], &log[..size - 1]].concat();
    let (found, skipped) = records(&holes);
    assert_eq!((found.len(), skipped), (8, 5));
}

#[test]
fn a_reader_gives_up_after_ten_thousand_bytes_and_says_so() {
    let noise = vec![0x25; 10_100];
    let mut reader = RecordReader::new(&noise[..]);
    let error = reader.next_record().unwrap_err();
    assert!(matches!(error, Error::NoRecords { skipped } if skipped > MAX_SKIPPED), "{error}");
    let short = [&noise[..10_000], &log_of(1, 1)].concat();
    assert_eq!(records(&short).0.len(), 1);
    let long = [&noise[..], &log_of(1, 1)].concat();
    assert!(RecordReader::new(&long[..]).from_anywhere().next_record().unwrap().is_some());
}

#[test]
fn a_record_that_grows_is_read_when_it_is_whole() {
    struct Slow(Vec<u8>, usize);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            // Every other time there is nothing yet.
            self.1 += 1;
            let count = if self.1.is_multiple_of(2) { 0 } else { 1.min(self.0.len()) };
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }
    let log = log_of(2, 1);
    let mut reader = RecordReader::new(Slow(log.clone(), 0));
    let calls = 2 * log.len();
    let found = (0..calls).filter(|_| reader.next_record().unwrap().is_some()).count();
    assert_eq!((found, reader.skipped(), reader.position()), (2, 0, log.len() as u64));
}

#[test]
fn names_are_shown_in_conventional_order_and_texts_as_they_are() {
    let mut name = [0; 32];
    name[0] = 0x6f;
    name[31] = 0xab;
    let items = [
        Value::text("server"),
        Value::Bytes(name.to_vec()),
        Value::text("two words"),
        Value::text(""),
        Value::Bytes(vec![0, 1, 255]),
        Value::Bytes(vec![0; 600]),
        Value::Text("x".repeat(1_000)),
        Value::Tuple(vec![Value::text("::1"), Value::Integer(8_333)]),
        Value::List(vec![Value::None, Value::Bool(true), Value::Float(0.5)]),
        Value::text("esc\x1b[2J"),
        Value::text("line\nfeed"),
    ];
    let expected = format!(
        "server ab{}6f \"two words\" \"\" 0001ff <large: 600 bytes> <large: 1000 bytes> (::1, 8333) \
         [none, true, 0.5] 6573631b5b324a \"line\\nfeed\"",
        "00".repeat(30)
    );
    assert_eq!(text::items(&items, false), expected);
    assert!(text::items(&items, true).contains(&"00".repeat(600)));
}

#[test]
fn no_text_of_a_peer_steers_a_terminal() {
    for c in (0..=0x2fff).filter_map(char::from_u32) {
        let shown = text::items(&[Value::Bytes(c.to_string().into_bytes())], true);
        let is_bad = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!shown.contains(is_bad), "{c:?} is shown as {shown:?}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Integer),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<String>().prop_map(Value::Text),
        (-1e9..1e9).prop_map(Value::Float),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let some = || proptest::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            some().prop_map(Value::List),
            some().prop_map(Value::Tuple),
            some().prop_map(Value::Set),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(time: i64, items in proptest::collection::vec(values(), 0..6)) {
        let record = Record { time, items };
        let bytes = record.to_bytes();
        let (found, skipped) = records(&bytes);
        prop_assert_eq!(&found, &[record]);
        prop_assert_eq!(skipped, 0);
        for end in 0..bytes.len() {
            prop_assert_eq!(records(&bytes[..end]).0.len(), 0);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, place: usize) {
        let mut log = log_of(3, 1);
        let place = place % log.len();
        log.splice(place..place, bytes.iter().copied());
        let found = records(&log).0;
        prop_assert!((2..=4).contains(&found.len()));
        for record in found {
            let _ = text::line(&record, true);
            prop_assert!(Record::decode(&record.to_bytes()[8..]).is_ok());
        }
        let _ = Value::decode(&mut &bytes[..]);
    }
}

#[test]
fn every_event_becomes_a_record_of_its_shape() {
    let events = [
        Event::Starting { version: "1".into(), network: "main".into(), options: vec!["-v".into()] },
        Event::PacketSent {
            remote: crate::address("[::1]:1"),
            command: "tx".into(),
            payload: [1, 2].into(),
        },
        Event::Stderr { text: (*b"oh").into() },
        Event::NoSeeding {},
    ];
    let shown: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "server starting 1 main [-v]",
            "send (::1, 1) tx 0102",
            "stderr oh",
            "addrcache \"enough peers\"",
        ]
    );
    for event in events {
        let record = event.record(5);
        assert_eq!((record.time, Shape::of(&record)), (5, Some(event.shape())));
    }
}

#[test]
fn a_name_is_written_in_internal_order() {
    let mut name = [0; 32];
    name.iter_mut().zip(1..).for_each(|(byte, at)| *byte = at);
    let mut out = Vec::new();
    Event::BlockConnected { name, height: 7 }.encode(TIME, &mut out);
    assert!(out.ends_with(&[&[4, 32][..], &name, &[2, 1, 7]].concat()));
}

#[test]
fn what_only_looks_like_a_record_hides_none() {
    let one = log_of(1, 1);
    let noise = [0x31; 6_000];
    let gaps = [&noise[..], &one, &noise, &one].concat();
    assert_eq!(records(&gaps).0.len(), 2, "each gap counts by itself");
    let length = |it: usize| u32::try_from(it).unwrap().to_be_bytes();
    let outer =
        [&MAGIC[..], &length(2 + one.len()), &[0xa0, u8::try_from(one.len()).unwrap()], &one];
    assert_eq!(records(&outer.concat()).0.len(), 1, "a record within a malformed one");
    let long = [&MAGIC[..], &length(20 << 20), &[0xa0, 0x84], &length((20 << 20) - 6), &one];
    assert_eq!(records(&long.concat()).0.len(), 1, "none is so long");
}
