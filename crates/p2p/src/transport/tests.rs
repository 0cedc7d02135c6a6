use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MAGIC: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

fn random(seed: u8) -> Random {
    Random::new([seed; 32])
}

/// What comes out of `to` when all output of `from` goes into it, in chunks of `size`.
fn carry(from: &mut Transport, to: &mut Transport, size: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for chunk in from.take_output().chunks(size) {
        to.receive(chunk).unwrap();
        frames.extend(std::iter::from_fn(|| to.next().unwrap()));
    }
    frames
}

/// Two ends that have found out which transport they speak.
fn greeted(v2: bool) -> [Transport; 2] {
    let [mut one, mut other] = pair(1, v2);
    one.send_raw("version", &[]);
    for _ in 0..3 {
        carry(&mut one, &mut other, 1_000);
        carry(&mut other, &mut one, 1_000);
    }
    [one, other]
}

/// Carries output to and fro until there is none.
fn settle(one: &mut Transport, other: &mut Transport, size: usize) {
    for _ in 0..4 {
        assert_eq!(carry(one, other, size), []);
        assert_eq!(carry(other, one, size), []);
    }
}

fn pair(seed: u8, v2: bool) -> [Transport; 2] {
    let one = Transport::initiator(MAGIC, v2, &mut random(seed));
    [one, Transport::responder(MAGIC, true, &mut random(seed + 1))]
}

fn v1_frame(command: &str, payload: &[u8]) -> Vec<u8> {
    FrameHeader::frame(MAGIC, command, payload)
}

/// A responder that speaks v1, after the header of a message that took its magic.
fn v1_responder() -> Transport {
    let mut transport = Transport::responder(MAGIC, true, &mut random(1));
    transport.receive(&v1_frame("version", &[1])).unwrap();
    assert_eq!(transport.next().unwrap().unwrap().size, 25);
    transport
}

#[test]
fn both_sides_agree_on_v2_for_every_length_of_chunks() {
    for (seed, size) in [(1, 1), (3, 3), (5, 16), (7, 64), (9, 1_000), (11, 100_000)] {
        let [mut one, mut other] = pair(seed, true);
        assert_eq!(
            (one.kind(), other.kind()),
            (TransportKind::Detecting, TransportKind::Detecting)
        );
        settle(&mut one, &mut other, size);
        assert_eq!((one.kind(), other.kind()), (TransportKind::V2, TransportKind::V2));
        assert!(one.session_id().is_some());
        assert_eq!(one.session_id(), other.session_id());
        // A short command, a long one, and over a change of keys.
        for number in 0..500_u16 {
            let (command, size) = if number % 2 == 0 { ("inv", 23) } else { ("wtxidrelay", 35) };
            assert_eq!(one.send_raw(command, &number.to_le_bytes()), size);
            let payload = number.to_le_bytes().to_vec();
            let frame = Frame { command: command.into(), payload, size };
            assert_eq!(carry(&mut one, &mut other, 7), std::slice::from_ref(&frame));
            other.send_raw(&frame.command, &frame.payload);
            assert_eq!(carry(&mut other, &mut one, 1_000), [frame]);
        }
        assert_eq!((one.buffered(), other.buffered()), (0, 0));
    }
}

#[test]
fn what_is_sent_before_the_keys_waits_for_them() {
    let [mut one, mut other] = pair(1, true);
    let size = one.send(&Message::SendHeaders);
    assert_eq!(size, 33);
    assert_eq!(carry(&mut one, &mut other, 50), []);
    assert_eq!(carry(&mut other, &mut one, 50), []);
    let frames = carry(&mut one, &mut other, 50);
    assert_eq!(frames, [Frame { command: "sendheaders".into(), payload: Vec::new(), size }]);
    // To a peer that turns out to speak v1, the same as v1.
    let mut other = Transport::responder(MAGIC, true, &mut random(1));
    other.send(&Message::Verack);
    other.receive(&v1_frame("version", &[])[..15]).unwrap();
    assert_eq!((other.kind(), other.take_output()), (TransportKind::Detecting, Vec::new()));
    other.receive(&[0]).unwrap();
    assert_eq!((other.kind(), other.take_output()), (TransportKind::V1, v1_frame("verack", &[])));
}

#[test]
fn a_v1_peer_is_known_by_its_first_sixteen_bytes() {
    for size in [1, 5, 16, 24, 1_000] {
        let [mut one, mut other] = pair(1, false);
        one.send_raw("version", &[7; 100]);
        one.send(&Message::Ping(Some(1)));
        let frames = carry(&mut one, &mut other, size);
        assert_eq!((frames[0].command.as_str(), frames[0].size), ("version", 124));
        assert_eq!(
            (frames[1].command.as_str(), &frames[1].payload[..]),
            ("ping", &[1, 0, 0, 0, 0, 0, 0, 0][..])
        );
        assert_eq!((frames.len(), other.kind(), other.session_id()), (2, TransportKind::V1, None));
        other.send(&Message::Verack);
        assert_eq!(carry(&mut other, &mut one, size).len(), 1);
    }
}

#[test]
fn a_v1_peer_of_another_network_is_told_apart_from_a_key() {
    let mut transport = Transport::responder([1, 2, 3, 4], true, &mut random(1));
    let error = transport.receive(&v1_frame("version", &[])).unwrap_err();
    assert_eq!(error, TransportError::WrongMagic(MAGIC));
    // Without v2 it is the header that is wrong.
    let mut transport = Transport::responder([1, 2, 3, 4], false, &mut random(1));
    transport.receive(&v1_frame("version", &[])).unwrap();
    assert_eq!(transport.next().unwrap_err(), TransportError::WrongMagic(MAGIC));
}

#[test]
fn messages_with_a_wrong_checksum_or_name_are_passed_over_and_counted() {
    let mut transport = v1_responder();
    let mut bytes = v1_frame("ping", &[1; 8]);
    bytes[31] = 2;
    for name in [&b"pi\x7fg\0\0\0\0\0\0\0\0"[..], b"ping\0\0\0\0\0\0\0x"] {
        let mut frame = v1_frame("ping", &[]);
        frame[4..16].copy_from_slice(name);
        bytes.extend(frame);
    }
    bytes.extend(v1_frame("twelve bytes", &[]));
    transport.receive(&bytes).unwrap();
    assert_eq!(transport.next().unwrap().unwrap().command, "twelve bytes");
    assert_eq!((transport.rejected_bytes(), transport.buffered()), (32 + 24 + 24, 0));
}

#[test]
fn v2_contents_without_a_known_command_are_passed_over_and_counted() {
    let [mut one, mut other] = pair(1, true);
    settle(&mut one, &mut other, 1_000);
    let contents =
        [&[][..], &[38], &[0; 12], b"\0pi\x80g\0\0\0\0\0\0\0\0", b"\0ping\0\0\0\0\0\0\0x"];
    for contents in contents {
        let mut packet = [&[0; PREFIX_SIZE][..], contents].concat();
        let State::V2(v2) = &mut one.state else { panic!("no keys") };
        v2.cipher.encrypt(&mut packet, 0, &[], false);
        one.output.extend(packet);
    }
    one.send_raw("a\x7f", &[]);
    let frames = carry(&mut one, &mut other, 1_000);
    assert_eq!((frames.len(), frames[0].command.as_str()), (1, "a\x7f"));
    assert_eq!(other.rejected_bytes(), 5 * 20 + 1 + 12 + 13 + 13);
}

#[test]
fn short_commands_have_the_numbers_of_bip_0324() {
    let number = |command| {
        let mut bytes = Vec::new();
        push_command(&mut bytes, command);
        assert_eq!(split_contents(&bytes), Some((command, &[][..])));
        bytes[0]
    };
    let commands = ["addr", "block", "headers", "inv", "tx", "cfcheckpt", "addrv2", "feature"];
    assert_eq!(commands.map(number), [1, 2, 13, 14, 21, 27, 28, 37]);
    assert_eq!(["version", "addrv", "merkle block"].map(number), [0; 3]);
    assert!((29..37).all(|id| split_contents(&[id]) == Some(("", &[]))));
    assert_eq!(split_contents(&[38]), None);
}

#[test]
fn decoys_are_nothing_before_the_version_and_after() {
    let [mut one, mut other] = pair(1, true);
    carry(&mut one, &mut other, 1_000);
    carry(&mut other, &mut one, 1_000);
    // The first packet, which authenticates the garbage, was the version; behind it comes a decoy.
    let State::V2(v2) = &mut one.state else { panic!("no keys") };
    let mut packet = vec![0; PREFIX_SIZE + 500];
    v2.cipher.encrypt(&mut packet, 0, &[], true);
    one.output.extend(packet);
    one.send(&Message::Verack);
    let frames = carry(&mut one, &mut other, 9);
    assert_eq!((frames.len(), frames[0].command.as_str()), (1, "verack"));

    // A decoy that comes first is what authenticates the garbage.
    let mut one = Transport::responder(MAGIC, true, &mut random(9));
    let mut other = Transport::initiator(MAGIC, true, &mut random(10));
    one.receive(&other.take_output()).unwrap();
    let mut answer = one.take_output();
    let State::V2(v2) = &mut one.state else { panic!("no keys") };
    let version_at = answer.len() - PREFIX_SIZE - TAG_SIZE;
    let terminator_at = version_at - TERMINATOR_SIZE;
    assert_eq!(answer[terminator_at..version_at], v2.cipher.send_terminator);
    let garbage = answer[KEY_SIZE..terminator_at].to_vec();
    // Its cipher is behind the version already: begin anew with the same key.
    let State::Key(handshake) = &other.state else { panic!("a key came") };
    let theirs = handshake.public_key;
    let seed = random(9).bytes();
    let mut again = Transport::responder(MAGIC, true, &mut random(9));
    again.send_key(&mut Random::new(seed));
    let State::Key(handshake) = &again.state else { panic!("a key came") };
    let keys = [handshake.public_key, theirs];
    let mut cipher = Cipher::new(handshake.secret_key, keys, false, MAGIC);
    answer.truncate(version_at);
    for (aad, is_decoy) in [(&garbage[..], true), (&[], true), (&[], false)] {
        let start = answer.len();
        answer.extend([0; PREFIX_SIZE + 30]);
        cipher.encrypt(&mut answer, start, aad, is_decoy);
    }
    other.receive(&answer).unwrap();
    assert_eq!((other.next(), other.kind()), (Ok(None), TransportKind::V2));
}

#[test]
fn garbage_that_was_changed_closes() {
    let [mut one, mut other] = pair(1, true);
    let mut bytes = one.take_output();
    assert!(KEY_SIZE < bytes.len(), "there is garbage");
    bytes[KEY_SIZE] ^= 1;
    other.receive(&bytes).unwrap();
    one.receive(&other.take_output()).unwrap();
    let error = other.receive(&one.take_output()).unwrap_err();
    assert_eq!(error, TransportError::BadPacket(0));
}

#[test]
fn a_packet_that_was_changed_closes() {
    let [mut one, mut other] = pair(1, true);
    settle(&mut one, &mut other, 1_000);
    one.send(&Message::Ping(Some(3)));
    let mut bytes = one.take_output();
    *bytes.last_mut().unwrap() ^= 1;
    other.receive(&bytes).unwrap();
    assert_eq!(other.next().unwrap_err(), TransportError::BadPacket(9));
}

#[test]
fn garbage_without_end_closes_after_4111_bytes() {
    let [mut one, mut other] = pair(1, true);
    other.receive(&one.take_output()[..KEY_SIZE]).unwrap();
    for _ in 0..4_110 {
        other.receive(&[0]).unwrap();
    }
    assert_eq!(other.receive(&[0]).unwrap_err(), TransportError::MissingTerminator);
}

#[test]
fn the_longest_garbage_and_none_are_found() {
    for seed in 0..=255 {
        let mut one = Transport::initiator(MAGIC, true, &mut random(seed));
        let State::Key(handshake) = &mut one.state else { panic!("no v2") };
        handshake.garbage = vec![seed; if seed % 2 == 0 { MAX_GARBAGE_SIZE } else { 0 }];
        one.output.truncate(KEY_SIZE);
        one.output.extend(&handshake.garbage);
        let mut other = Transport::responder(MAGIC, true, &mut random(1));
        settle(&mut one, &mut other, 5_000);
        assert_eq!((one.kind(), other.kind()), (TransportKind::V2, TransportKind::V2));
        if seed == 3 {
            break;
        }
    }
}

#[test]
fn cve_2015_3641_a_message_over_the_limit_is_refused_by_its_header() {
    for size in [4_000_001, 0x0200_0000, u32::MAX] {
        let mut transport = v1_responder();
        let mut header = v1_frame("block", &[]);
        header[16..20].copy_from_slice(&size.to_le_bytes());
        transport.receive(&header).unwrap();
        assert_eq!(transport.next(), Err(TransportError::TooLong(size as usize)));
        assert!(transport.input.capacity() < 100, "{}", transport.input.capacity());
    }
    // One that is just within the limit reserves nothing before it comes.
    let mut transport = v1_responder();
    let mut header = v1_frame("block", &[]);
    header[16..20].copy_from_slice(&4_000_000_u32.to_le_bytes());
    transport.receive(&header).unwrap();
    assert_eq!(transport.next(), Ok(None));
    assert!(transport.input.capacity() < 100, "{}", transport.input.capacity());

    // The same on v2, where the length is 13 bytes more than that of the payload.
    for (size, expected) in
        [(4_000_013, Ok(None)), (4_000_014, Err(TransportError::TooLong(4_000_014)))]
    {
        let [mut one, mut other] = pair(1, true);
        settle(&mut one, &mut other, 1_000);
        let mut packet = vec![0; PREFIX_SIZE + size];
        let State::V2(v2) = &mut one.state else { panic!("no keys") };
        v2.cipher.encrypt(&mut packet, 0, &[], false);
        other.receive(&packet[..LENGTH_SIZE]).unwrap();
        assert_eq!(other.next(), expected);
        assert!(other.input.capacity() < 100, "{}", other.input.capacity());
    }
}

#[test]
fn a_long_message_takes_little_more_than_what_came_of_it() {
    let mut transport = v1_responder();
    for chunk in v1_frame("block", &vec![1; MAX_PAYLOAD])[..3_000_000].chunks(60_000) {
        transport.receive(chunk).unwrap();
        assert_eq!(transport.next(), Ok(None));
        let more = transport.input.capacity() - transport.buffered();
        assert!(more <= RESERVE_AHEAD, "{more}");
    }
    for v2 in [false, true] {
        let [mut one, mut other] = pair(1, v2);
        settle(&mut one, &mut other, 5_000);
        let size = one.send_raw("block", &vec![1; 3_000_000]);
        assert!(one.output.capacity() < size + 64, "{}", one.output.capacity());
    }
}

#[test]
fn the_longest_message_comes_through() {
    for v2 in [false, true] {
        let [mut one, mut other] = greeted(v2);
        let size = one.send_raw("twelve bytes", &vec![1; MAX_PAYLOAD]);
        let frames = carry(&mut one, &mut other, 100_000);
        assert_eq!((frames[0].payload.len(), frames[0].size), (MAX_PAYLOAD, size));
    }
}

#[test]
fn only_our_own_v2_connections_without_an_answer_fall_back() {
    let [mut one, mut other] = pair(1, true);
    assert!(!one.should_fall_back_to_v1());
    let bytes = one.take_output();
    assert!(one.should_fall_back_to_v1());
    other.receive(&bytes).unwrap();
    let answer = other.take_output();
    assert!(!other.should_fall_back_to_v1());
    one.receive(&answer[..1]).unwrap();
    assert!(!one.should_fall_back_to_v1());
    let [mut one, _] = pair(1, false);
    one.send(&Message::Verack);
    one.take_output();
    assert!(!one.should_fall_back_to_v1());
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    for v2 in [false, true] {
        for transport in greeted(v2) {
            let capacities = [&transport.input, &transport.output].map(Vec::capacity);
            assert_eq!((capacities, transport.waiting.capacity()), ([0, 0], 0));
        }
    }
    let size = size_of::<Transport>() + size_of::<Secured>();
    assert!(size <= 1_024, "{size}");
}

#[test]
fn many_small_messages_are_taken_without_moving_the_rest_each_time() {
    let mut transport = v1_responder();
    let count = 40_000;
    transport.receive(&v1_frame("verack", &[]).repeat(count)).unwrap();
    let mut moves = 0;
    for taken in 1..=count {
        assert!(transport.next().unwrap().is_some());
        assert_eq!(transport.buffered(), (count - taken) * FrameHeader::SIZE);
        moves += usize::from(transport.used == 0);
    }
    assert!(moves < 20, "{moves}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken_or_refused(
        bytes in vec(any::<u8>(), 0..6_000),
        chunk in 1_usize..700,
        is_v1 in any::<bool>(),
        is_initiator in any::<bool>(),
        v2 in any::<bool>(),
    ) {
        let mut transport = if is_initiator {
            Transport::initiator(MAGIC, v2, &mut random(1))
        } else {
            Transport::responder(MAGIC, v2, &mut random(1))
        };
        let start = if is_v1 { v1_frame("version", &[1, 2]) } else { Vec::new() };
        for chunk in [start, bytes].concat().chunks(chunk) {
            if transport.receive(chunk).is_err() {
                break;
            }
            while let Ok(Some(frame)) = transport.next() {
                prop_assert!(frame.payload.len() < frame.size);
            }
        }
    }
}
