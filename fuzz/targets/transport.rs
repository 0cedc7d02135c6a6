#![cfg_attr(fuzzing, no_main)]
//! Any bytes in any chunks, into either end of a connection; and two ends that speak with each other,
//! where every message arrives however the bytes are cut.

use caesure_p2p::{Random, Transport};
use libfuzzer_sys::fuzz_target;

const MAGIC: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

fuzz_target!(|data: &[u8]| {
    let Some((&[flags, seed], data)) = data.split_first_chunk() else { return };
    let mut random = Random::new([seed; 32]);
    let v2 = flags & 1 != 0;
    let mut initiator = Transport::initiator(MAGIC, v2, &mut random);
    let mut responder = Transport::responder(MAGIC, flags & 2 != 0 || v2, &mut random);
    if flags & 4 != 0 {
        talk(&mut initiator, &mut responder, data);
    }
    for transport in [&mut initiator, &mut responder] {
        take_any(transport, data);
    }
});

/// Each byte is the length of a message and of the chunks that it goes in.
fn talk(one: &mut Transport, other: &mut Transport, data: &[u8]) {
    one.send_raw("version", &[]);
    let mut sent = vec![String::from("version")];
    let mut came = Vec::new();
    for byte in data {
        let command = ["ping", "wtxidrelay", "inv", "~ any"][usize::from(byte % 4)];
        one.send_raw(command, &vec![*byte; usize::from(*byte)]);
        sent.push(command.into());
        carry(one, other, usize::from(byte % 64) + 1, &mut came);
        carry(other, one, usize::from(byte / 4) + 1, &mut came);
    }
    // Key and terminator may still be on their way.
    for _ in 0..2 {
        carry(other, one, 5_000, &mut came);
        carry(one, other, 5_000, &mut came);
    }
    assert_eq!(came, sent);
    assert_eq!((one.buffered(), other.buffered(), other.rejected_bytes()), (0, 0, 0));
}

fn carry(from: &mut Transport, to: &mut Transport, size: usize, came: &mut Vec<String>) {
    for chunk in from.take_output().chunks(size) {
        to.receive(chunk).unwrap();
        while let Some(frame) = to.next().unwrap() {
            assert!(frame.payload.iter().all(|byte| usize::from(*byte) == frame.payload.len()));
            came.push(frame.command);
        }
    }
}

fn take_any(transport: &mut Transport, mut data: &[u8]) {
    while let Some((&size, rest)) = data.split_first() {
        let (chunk, rest) = rest.split_at(rest.len().min(size.into()));
        data = rest;
        let before = transport.buffered();
        if transport.receive(chunk).is_err() {
            return;
        }
        loop {
            match transport.next() {
                Ok(Some(frame)) => assert!(frame.payload.len() < frame.size),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(transport.buffered() <= before + chunk.len());
        _ = transport.take_output();
    }
}

#[cfg(not(fuzzing))]
fn main() {}
