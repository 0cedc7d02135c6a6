#![cfg_attr(fuzzing, no_main)]
//! Any payload under any command is a message that encodes to a payload of the same message, or an
//! error; any text is an endpoint that prints as a text of the same, or an error.

use caesure_p2p::commands;
use caesure_wire::{Endpoint, FrameHeader, Message, NetAddress, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&number, payload)) = data.split_first() else { return };
    if let Some(command) = commands().nth(number.into()) {
        check(command, payload);
    }
    if let Some((header, payload)) = data.split_first_chunk() {
        let header = FrameHeader::from_bytes(header);
        assert_eq!(header.to_bytes(), data[..FrameHeader::SIZE]);
        if let Some(command) = header.command() {
            check(command, payload);
            let again = FrameHeader::new(header.magic, command, payload);
            assert_eq!((again.command, again.matches(payload)), (header.command, true));
        }
    }
    if let Ok(text) = str::from_utf8(payload)
        && let Ok(endpoint) = text.parse::<Endpoint>()
    {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
    let mut reader = Reader::new(payload);
    if let Ok(address) = NetAddress::read_v2(&mut reader) {
        let mut bytes = Vec::new();
        address.encode_v2_to(&mut bytes);
        assert!(address == NetAddress::NONE || bytes == payload[..reader.position()]);
        _ = address.to_string();
    }
});

fn check(command: &str, payload: &[u8]) {
    if let Ok(message) = Message::decode(command, payload) {
        assert_eq!(message.command(), command);
        // Of what is only refused, nothing is kept.
        if matches!(message, Message::Bloom(_)) {
            return;
        }
        let mut again = Vec::new();
        message.encode_payload(&mut again);
        assert_eq!(Message::decode(command, &again), Ok(message));
    }
}

#[cfg(not(fuzzing))]
fn main() {}
