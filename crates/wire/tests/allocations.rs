//! What decoding takes of memory: a few arenas, and nothing for a length that is only claimed.

use allocation_counter::measure;
use caesure_wire::{
    Block, DecodeError, Header, MAX_PAYLOAD, Message, Part, Transaction, Tx, TxIn, TxOut,
    encode_block, push_compact_size,
};

fn transaction(input_count: usize) -> Transaction {
    let input = TxIn { script_sig: vec![1; 70], witness: vec![vec![2; 30]; 3], ..TxIn::default() };
    let output = TxOut { value: 7, script_pubkey: vec![3; 25] };
    Transaction {
        version: 2,
        inputs: vec![input; input_count],
        outputs: vec![output; 2],
        lock_time: 0,
    }
}

fn block(tx_count: usize, input_count: usize) -> Vec<u8> {
    encode_block(&Header::default(), &vec![transaction(input_count).encode(); tx_count])
}

#[test]
fn a_block_is_two_allocations_however_many_transactions_it_has() {
    for tx_count in [1, 10, 1_000, 10_000] {
        let bytes = block(tx_count, 2);
        let info = measure(|| assert_eq!(Block::parse(&bytes).unwrap().tx_count(), tx_count));
        assert_eq!(info.count_total, 2, "{tx_count} transactions");
        assert!(info.bytes_total <= 64 * tx_count as u64, "{} bytes", info.bytes_total);
    }
}

#[test]
fn the_arena_doubles_when_transactions_are_many_or_large() {
    for (tx_count, input_count) in [(40_000, 1), (1, 40_000), (100, 400)] {
        let bytes = block(tx_count, input_count);
        let info = measure(|| assert_eq!(Block::parse(&bytes).unwrap().tx_count(), tx_count));
        assert!(info.count_total <= 2 + 16, "{} allocations", info.count_total);
    }
}

#[test]
fn a_visit_and_the_views_allocate_nothing() {
    let bytes = block(100, 2);
    let parsed = Block::parse(&bytes).unwrap();
    let info = measure(|| {
        let mut counts = [0; 4];
        let visit = |part: Part<'_>| match part {
            Part::Input(_) => counts[0] += 1,
            Part::Output(_) => counts[1] += 1,
            Part::Witness(witness) => counts[2] += witness.len(),
            Part::Tx(_) => counts[3] += 1,
        };
        caesure_wire::visit_block(&bytes, visit).unwrap();
        assert_eq!(counts, [200, 200, 600, 100]);
        for tx in parsed.txs() {
            assert_eq!(tx.inputs().map(|input| input.script_sig.len()).sum::<usize>(), 140);
            assert_eq!(tx.outputs().map(|output| output.value).sum::<i64>(), 14);
            assert_eq!(tx.witness(1).map(<[u8]>::len).sum::<usize>(), 90);
            assert_ne!(tx.txid().0, tx.wtxid().0);
        }
    });
    assert_eq!(info.count_total, 0);
}

/// Each claim is the largest that there is, 2^25, and a few bytes follow it.
#[test]
fn claimed_lengths_reserve_nothing() {
    let claim = [0xfe, 0, 0, 0, 2];
    let header = [0; Header::SIZE];
    let tx = transaction(1).encode();
    let input_at = 7;
    let claims: [Vec<u8>; 6] = [
        [&header[..], &claim, &tx].concat(),
        [&header[..], &[1], &tx[..4], &claim, &[0; 64]].concat(),
        [&header[..], &[1], &tx[..6], &claim, &[0; 64]].concat(),
        [&header[..], &[1], &tx[..input_at + 36], &claim, &[0; 64]].concat(),
        [&header[..], &[1], &tx[..input_at + 36], &[0, 0, 0, 0, 0], &claim, &[0; 64]].concat(),
        [&header[..], &[1], &tx[..input_at + 36], &[0; 5], &[0], &claim, &[0; 64]].concat(),
    ];
    for bytes in &claims {
        let end = DecodeError::UnexpectedEnd { at: bytes.len() };
        let info = measure(|| {
            assert_eq!(Block::parse(bytes).unwrap_err(), end);
            assert!(Tx::parse(&bytes[Header::SIZE + 1..]).is_err());
            assert_eq!(caesure_wire::visit_block(bytes, |_| ()).unwrap_err(), end);
        });
        assert!(info.bytes_max <= 1_000, "{} bytes", info.bytes_max);
    }
}

#[test]
fn a_claim_that_the_bytes_could_hold_reserves_under_a_megabyte() {
    let bytes = [&[0; Header::SIZE][..], &[0xfe, 0, 0, 0x10, 0], &vec![0xff; 10 << 20]].concat();
    let info = measure(|| assert!(Block::parse(&bytes).is_err()));
    assert!(info.bytes_max < 1_000_000, "{} bytes", info.bytes_max);
}

#[test]
fn rustoshi_a_message_reserves_nothing_for_a_count_that_is_only_claimed() {
    for (command, before) in [
        ("addr", 0),
        ("addrv2", 0),
        ("inv", 0),
        ("getdata", 0),
        ("notfound", 0),
        ("headers", 0),
        ("getblocks", 4),
        ("getheaders", 4),
        ("block", 80),
        ("cmpctblock", 88),
        ("getblocktxn", 32),
        ("blocktxn", 32),
        ("feature", 0),
        ("version", 80),
    ] {
        let payload = [&vec![0; before][..], &[0xfe, 0, 0, 0, 2, 0]].concat();
        let info = measure(|| assert!(Message::decode(command, &payload).is_err()));
        assert_eq!(info.bytes_total, 0, "{command}");
    }
}

#[test]
fn a_message_takes_a_bounded_multiple_of_its_payload() {
    let decode = |command: &str, before: usize, entry: &[u8], is_ok: bool| {
        let count = (MAX_PAYLOAD - before - 5) / entry.len();
        let mut payload = vec![0; before];
        push_compact_size(&mut payload, count);
        payload.extend(entry.repeat(count));
        let info = measure(|| assert_eq!(Message::decode(command, &payload).is_ok(), is_ok));
        info.bytes_max
    };
    // Transactions of ten bytes are the worst: each is kept by itself.
    assert!(decode("blocktxn", 32, &[0; 10], true) < 7 * MAX_PAYLOAD as u64);
    assert!(decode("getblocktxn", 32, &[0], false) < 3 * MAX_PAYLOAD as u64);
    assert!(decode("block", 80, &[0; 10], true) < 2 * MAX_PAYLOAD as u64);
    // Lists over their limit are read and not kept.
    for (command, entry) in [("inv", 36), ("addr", 30), ("headers", 81)] {
        assert_eq!(decode(command, 0, &vec![0; entry], false), 0, "{command}");
    }
    assert_eq!(decode("addrv2", 0, &[0, 0, 0, 0, 0, 1, 4, 9, 9, 9, 9, 0, 0], false), 0);
}
