//! Every message: from its bytes and back, cut off everywhere, at its limits, and as the crate
//! `bitcoin` reads it.

use std::sync::Arc;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::p2p::message::{NetworkMessage, RawNetworkMessage};
use caesure_wire::{
    BlockHash, BlockTxn, BlockTxnRequest, CompactBlock, DecodeError, Endpoint, FrameHeader, Header,
    Inventory, Locator, Message, NetAddress, TimedAddress, Transaction, Version, encode_block,
    push_compact_size,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::addresses::address;
use super::{hash, header, transaction};

fn v1_endpoint() -> impl Strategy<Value = Endpoint> {
    (any::<[u8; 16]>(), any::<bool>(), any::<u16>()).prop_map(|(bytes, is_v4, port)| {
        let address = NetAddress::from_v1(bytes);
        let v4 = NetAddress::Ipv4(*bytes.first_chunk().unwrap());
        Endpoint { address: if is_v4 { v4 } else { address }, port }
    })
}

fn version() -> impl Strategy<Value = Version> {
    let numbers = (any::<i32>(), any::<u64>(), any::<i64>(), any::<u64>(), any::<i32>());
    let sides = ((any::<u64>(), v1_endpoint()), (any::<u64>(), v1_endpoint()));
    (numbers, sides, "[ -~]{0,256}", any::<bool>()).prop_map(
        |((version, services, time, nonce, height), (receiver, sender), user_agent, relay)| {
            let user_agent = user_agent.into_bytes();
            Version { version, services, time, receiver, sender, nonce, user_agent, height, relay }
        },
    )
}

fn timed(endpoint: impl Strategy<Value = Endpoint>) -> impl Strategy<Value = Vec<TimedAddress>> {
    let entry = (any::<u32>(), any::<u64>(), 0..64_u32, endpoint).prop_map(
        |(time, services, shift, endpoint)| TimedAddress {
            time,
            services: services >> shift,
            endpoint,
        },
    );
    vec(entry, 0..5)
}

fn inventory() -> impl Strategy<Value = Vec<Inventory>> {
    vec((any::<u32>(), hash()).prop_map(|(kind, hash)| Inventory { kind, hash }), 0..5)
}

fn locator() -> impl Strategy<Value = Locator> {
    (any::<u32>(), vec(hash().prop_map(BlockHash), 0..5), hash())
        .prop_map(|(version, hashes, stop)| Locator { version, hashes, stop: BlockHash(stop) })
}

fn tx() -> impl Strategy<Value = Arc<Vec<u8>>> {
    transaction().prop_map(|tx| Arc::new(tx.encode()))
}

fn compact_block() -> impl Strategy<Value = CompactBlock> {
    let short_ids = vec(any::<u64>().prop_map(|id| id >> 16), 0..5);
    let indices = btree_set(any::<u16>(), 0..4);
    (header(), any::<u64>(), short_ids, indices, tx()).prop_map(
        |(header, nonce, short_ids, indices, tx)| {
            let prefilled = indices.into_iter().map(|index| (index, tx.clone())).collect();
            CompactBlock { header, nonce, short_ids, prefilled }
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let block = (header(), vec(transaction(), 0..4)).prop_map(|(header, txs)| {
        let txs: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        Arc::new(encode_block(&header, &txs))
    });
    let nothing = prop::sample::select(vec![
        Message::Verack,
        Message::WtxidRelay,
        Message::SendAddrV2,
        Message::SendHeaders,
        Message::GetAddr,
        Message::Bloom("mempool"),
        Message::Bloom("filterload"),
        Message::Bloom("filteradd"),
        Message::Bloom("filterclear"),
        Message::Unknown("sendtxrcncl".into()),
        Message::Unknown("".into()),
        Message::Ping(None),
    ]);
    let endpoint = (address(), any::<u16>()).prop_map(|(address, port)| Endpoint { address, port });
    prop_oneof![
        version().prop_map(Message::Version),
        nothing,
        (any::<bool>(), any::<u64>())
            .prop_map(|(announce, version)| Message::SendCmpct { announce, version }),
        (vec(any::<u8>(), 4..=80), vec(any::<u8>(), 0..=512))
            .prop_map(|(id, data)| Message::Feature { id, data }),
        any::<i64>().prop_map(Message::FeeFilter),
        timed(v1_endpoint()).prop_map(Message::Addr),
        timed(endpoint).prop_map(Message::AddrV2),
        inventory().prop_map(Message::Inv),
        inventory().prop_map(Message::GetData),
        inventory().prop_map(Message::NotFound),
        locator().prop_map(Message::GetBlocks),
        locator().prop_map(Message::GetHeaders),
        vec(header(), 0..4).prop_map(Message::Headers),
        block.prop_map(Message::Block),
        tx().prop_map(Message::Tx),
        compact_block().prop_map(Message::CmpctBlock),
        (hash(), btree_set(any::<u16>(), 0..5)).prop_map(|(hash, indices)| {
            let indices = indices.into_iter().collect();
            Message::GetBlockTxn(BlockTxnRequest { hash: BlockHash(hash), indices })
        }),
        (hash(), vec(tx(), 0..4))
            .prop_map(|(hash, txs)| { Message::BlockTxn(BlockTxn { hash: BlockHash(hash), txs }) }),
        any::<u64>().prop_map(|nonce| Message::Ping(Some(nonce))),
        vec(any::<u8>(), 0..=8).prop_map(Message::Pong),
    ]
}

fn payload(message: &Message) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode_payload(&mut payload);
    payload
}

/// The lengths below the whole at which a payload is a message all the same.
fn shorter_forms(message: &Message, size: usize) -> Vec<usize> {
    match message {
        Message::Version(version) => {
            let agent_end = 80 + size - 85;
            assert!(version.user_agent.len() < agent_end);
            vec![46, 80, agent_end, agent_end + 4]
        }
        Message::Ping(Some(_)) => vec![0],
        Message::Pong(_) => (0..size).collect(),
        _ => Vec::new(),
    }
}

/// Compares with what `bitcoin` makes of the same frame.
fn check_bitcoin(message: &Message, payload: &[u8]) {
    let magic = [0xf9, 0xbe, 0xb4, 0xd9];
    let frame =
        [&FrameHeader::new(magic, message.command(), payload).to_bytes()[..], payload].concat();
    let raw: RawNetworkMessage = deserialize(&frame).unwrap();
    assert_eq!(raw.command().to_string(), message.command());
    assert_eq!(serialize(&raw), frame, "{message:?}");
    let is_unknown = matches!(raw.payload(), NetworkMessage::Unknown { .. });
    assert_eq!(is_unknown, matches!(message, Message::Unknown(_) | Message::Feature { .. }));
    match (raw.payload(), message) {
        (NetworkMessage::Version(theirs), Message::Version(ours)) => {
            assert_eq!(theirs.version.cast_signed(), ours.version);
            assert_eq!((theirs.services.to_u64(), theirs.timestamp), (ours.services, ours.time));
            assert_eq!(theirs.receiver.services.to_u64(), ours.receiver.0);
            assert_eq!(theirs.sender.port, ours.sender.1.port);
            assert_eq!((theirs.nonce, theirs.start_height), (ours.nonce, ours.height));
            assert_eq!(
                (theirs.user_agent.as_bytes(), theirs.relay),
                (&ours.user_agent[..], ours.relay)
            );
        }
        (NetworkMessage::Addr(theirs), Message::Addr(ours)) => {
            for ((time, theirs), ours) in theirs.iter().zip(ours) {
                assert_eq!((*time, theirs.services.to_u64()), (ours.time, ours.services));
                assert_eq!(
                    Endpoint::from(
                        theirs.socket_addr().unwrap_or_else(|_| "[::]:0".parse().unwrap())
                    )
                    .address,
                    ours.endpoint.address
                );
            }
        }
        (NetworkMessage::AddrV2(theirs), Message::AddrV2(ours)) => {
            for (theirs, ours) in theirs.iter().zip(ours) {
                assert_eq!((theirs.time, theirs.services.to_u64()), (ours.time, ours.services));
                let socket = theirs.socket_addr().ok();
                let is_ip = !matches!(ours.endpoint.address, NetAddress::Cjdns(_));
                assert_eq!(socket, ours.endpoint.socket_address().filter(|_| is_ip));
            }
        }
        (NetworkMessage::CmpctBlock(theirs), Message::CmpctBlock(ours)) => {
            let theirs = &theirs.compact_block;
            assert_eq!((theirs.nonce, theirs.short_ids.len()), (ours.nonce, ours.short_ids.len()));
            for (theirs, ours) in theirs.short_ids.iter().zip(&ours.short_ids) {
                assert_eq!(theirs.as_ref() as &[u8], &ours.to_le_bytes()[..6]);
            }
        }
        (NetworkMessage::GetBlockTxn(theirs), Message::GetBlockTxn(ours)) => {
            assert!(
                theirs
                    .txs_request
                    .indexes
                    .iter()
                    .copied()
                    .eq(ours.indices.iter().map(|&index| index.into()))
            );
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn a_message_comes_back_from_its_payload(message in message()) {
        let payload = payload(&message);
        prop_assert_eq!(Message::decode(message.command(), &payload), Ok(message.clone()));
        // What follows is dropped.
        let longer = [&payload[..], &[0; 9]].concat();
        let again = Message::decode(message.command(), &longer);
        match message {
            Message::Feature { .. } => {
                prop_assert_eq!(again, Err(DecodeError::TrailingBytes { at: payload.len() }));
            }
            Message::Ping(None) => prop_assert_eq!(again, Ok(Message::Ping(Some(0)))),
            Message::Pong(bytes) => {
                let bytes = [&bytes[..], &[0; 8]].concat()[..8].to_vec();
                prop_assert_eq!(again, Ok(Message::Pong(bytes)));
            }
            message => prop_assert_eq!(again, Ok(message)),
        }
    }

    #[test]
    fn a_payload_that_is_cut_off_anywhere_is_refused(message in message()) {
        let payload = payload(&message);
        let shorter = shorter_forms(&message, payload.len());
        for end in 0..payload.len() {
            let result = Message::decode(message.command(), &payload[..end]);
            prop_assert_eq!(result.is_ok(), shorter.contains(&end), "{} at {}", message.command(), end);
        }
    }

    #[test]
    fn the_crate_bitcoin_reads_and_writes_the_same(message in message()) {
        let readable = match &message {
            Message::Ping(nonce) => nonce.is_some(),
            Message::Pong(bytes) => bytes.len() == 8,
            // Core decodes any, and passes over those that are no amount.
            Message::FeeFilter(rate) => (0..=2_100_000_000_000_000).contains(rate),
            // Those want a payload there, and Core none.
            Message::Bloom(command) => *command != "filterload" && *command != "filteradd",
            _ => true,
        };
        if readable {
            check_bitcoin(&message, &payload(&message));
        }
    }

    #[test]
    fn any_payload_is_a_message_or_refused(message in message(), bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(read) = Message::decode(message.command(), &bytes) {
            let payload = payload(&read);
            let again = Message::decode(message.command(), &payload);
            prop_assert_eq!(again, Ok(read));
        }
    }
}

#[test]
fn a_version_without_its_later_fields_has_cores_defaults() {
    let bytes = [0; 46];
    let Ok(Message::Version(version)) = Message::decode("version", &bytes) else { panic!("none") };
    let none = Endpoint { address: NetAddress::NONE, port: 0 };
    let expected = Version {
        version: 0,
        services: 0,
        time: 0,
        receiver: (0, none.clone()),
        sender: (0, none),
        nonce: 1,
        user_agent: Vec::new(),
        height: -1,
        relay: true,
    };
    assert_eq!(version, expected);
}

/// A payload of a count and as many entries of `size` zeros, between other bytes.
fn list(before: usize, count: usize, size: usize, after: usize) -> Vec<u8> {
    let mut payload = vec![0; before];
    push_compact_size(&mut payload, count);
    payload.resize(payload.len() + count * size + after, 0);
    payload
}

#[test]
fn lists_over_their_limit_decode_and_are_too_many() {
    for (command, limit, before, size, after) in [
        ("inv", 50_000, 0, 36, 0),
        ("getdata", 50_000, 0, 36, 0),
        ("addr", 1_000, 0, 30, 0),
        ("headers", 2_000, 0, 81, 0),
        ("getblocks", 101, 4, 32, 32),
        ("getheaders", 101, 4, 32, 32),
    ] {
        let at_limit = list(before, limit, size, after);
        assert!(Message::decode(command, &at_limit).is_ok(), "{command}");
        let over = list(before, limit + 1, size, after);
        let error = DecodeError::TooMany { count: limit + 1, limit };
        assert_eq!(Message::decode(command, &over), Err(error), "{command}");
        // Core judges the number of headers before it reads them, all others afterwards.
        let cut = Message::decode(command, &over[..over.len() - 1]).unwrap_err();
        let expected = DecodeError::UnexpectedEnd { at: over.len() - 1 };
        assert_eq!(cut, if command == "headers" { error } else { expected }, "{command}");
    }
    let addrv2 = |count| {
        let entry = TimedAddress {
            time: 0,
            services: 0,
            endpoint: Endpoint { address: NetAddress::TorV3([0; 32]), port: 0 },
        };
        Message::decode("addrv2", &payload(&Message::AddrV2(vec![entry; count])))
    };
    assert!(addrv2(1_000).is_ok());
    assert_eq!(addrv2(1_001), Err(DecodeError::TooMany { count: 1_001, limit: 1_000 }));
    // What was not found is only ignored.
    let not_found = |count| Message::decode("notfound", &list(0, count, 36, 0));
    assert!(matches!(not_found(5_016), Ok(Message::NotFound(list)) if list.len() == 5_016));
    assert_eq!(not_found(5_017), Ok(Message::NotFound(Vec::new())));
}

#[test]
fn lengths_of_texts_have_limits() {
    let mut bytes = vec![0; 80];
    push_compact_size(&mut bytes, 257);
    bytes.resize(bytes.len() + 257, b'a');
    let error = DecodeError::BadLength { at: 80, size: 257 };
    assert_eq!(Message::decode("version", &bytes), Err(error));
    let feature = |id: usize, data: usize| {
        let mut bytes = list(0, id, 1, 0);
        bytes.extend(list(0, data, 1, 0));
        Message::decode("feature", &bytes).err()
    };
    assert_eq!((feature(4, 0), feature(80, 512)), (None, None));
    for (id, data, at, size) in [(3, 0, 0, 3), (81, 0, 0, 81), (4, 513, 5, 513)] {
        assert_eq!(feature(id, data), Some(DecodeError::BadLength { at, size }));
    }
}

#[test]
fn sendcmpct_announces_or_not_and_nothing_else() {
    let read = |byte| Message::decode("sendcmpct", &[byte, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read(0), Ok(Message::SendCmpct { announce: false, version: 2 }));
    assert_eq!(read(1), Ok(Message::SendCmpct { announce: true, version: 2 }));
    assert_eq!(read(2), Err(DecodeError::BadAnnounce { value: 2 }));
    assert!(matches!(Message::decode("sendcmpct", &[2]), Err(DecodeError::UnexpectedEnd { .. })));
}

/// A transaction without inputs and outputs.
const EMPTY_TX: [u8; 10] = [0; 10];

#[test]
fn indices_of_a_request_end_at_65535() {
    let read = |differences: &[&[u8]]| {
        let mut bytes = vec![0; 32];
        push_compact_size(&mut bytes, differences.len());
        bytes.extend(differences.concat());
        match Message::decode("getblocktxn", &bytes) {
            Ok(Message::GetBlockTxn(request)) => Ok(request.indices),
            result => Err(result.unwrap_err()),
        }
    };
    assert_eq!(read(&[&[0], &[0], &[5]]), Ok(vec![0, 1, 7]));
    assert_eq!(read(&[&[0xfd, 0xfe, 0xff], &[0]]), Ok(vec![65_534, 65_535]));
    let error = |at| Err(DecodeError::OversizedIndex { at });
    assert_eq!(read(&[&[0xfd, 0xff, 0xff], &[0]]), error(37));
    assert_eq!(read(&[&[0xfe, 0, 0, 1, 0]]), error(38));
}

#[test]
fn indices_of_a_compact_block_beyond_65535_stay_beyond_its_end() {
    let read = |id_count: usize, differences: &[&[u8]]| {
        let mut bytes = vec![0; 88];
        bytes.extend(list(0, id_count, 6, 0));
        push_compact_size(&mut bytes, differences.len());
        differences.iter().for_each(|bits| bytes.extend([bits, &EMPTY_TX[..]].concat()));
        match Message::decode("cmpctblock", &bytes) {
            Ok(Message::CmpctBlock(block)) => {
                let again = payload(&Message::CmpctBlock(block.clone()));
                assert!(Message::decode("cmpctblock", &again).is_ok());
                Ok(block.prefilled.into_iter().map(|(index, _)| index).collect::<Vec<u16>>())
            }
            result => Err(result.unwrap_err()),
        }
    };
    assert_eq!(read(2, &[&[0], &[1]]), Ok(vec![0, 2]));
    let most: &[u8] = &[0xfd, 0xff, 0xff];
    assert_eq!(read(0, &[most, &[0], &[3]]), Ok(vec![65_535; 3]));
    assert_eq!(read(0, &[&[3], most, most]), Ok(vec![3, 65_535, 65_535]));
    // A difference that no 16 bits hold does not decode.
    assert_eq!(read(0, &[&[0xfe, 0, 0, 1, 0]]), Err(DecodeError::OversizedIndex { at: 95 }));
    // Nor do more transactions than 65,535.
    assert_eq!(read(65_534, &[&[0]]), Ok(vec![0]));
    assert!(matches!(read(65_535, &[&[0]]), Err(DecodeError::OversizedIndex { .. })));
}

#[test]
fn headers_pass_over_the_number_of_transactions() {
    let header = Header { nonce: 7, ..Header::default() };
    let read = |count: &[u8]| {
        let bytes = [&[1][..], &header.to_bytes(), count].concat();
        Message::decode("headers", &bytes)
    };
    for count in [&[0][..], &[9], &[0xfe, 0, 0, 0, 2]] {
        assert_eq!(read(count), Ok(Message::Headers(vec![header])));
    }
    assert_eq!(read(&[0xfd, 1, 0]), Err(DecodeError::NonCanonicalSize { at: 81 }));
    assert!(matches!(read(&[0xfe, 1, 0, 0, 2]), Err(DecodeError::OversizedSize { .. })));
}

#[test]
fn services_of_addrv2_are_a_number_in_its_shortest_form_without_a_limit() {
    let read = |services: &[u8]| {
        let bytes = [&[1, 0, 0, 0, 0], services, &[1, 4, 1, 2, 3, 4, 0, 5]].concat();
        match Message::decode("addrv2", &bytes) {
            Ok(Message::AddrV2(list)) => Ok((list[0].services, list[0].endpoint.to_string())),
            result => Err(result.unwrap_err()),
        }
    };
    assert_eq!(read(&[0xff; 9]), Ok((u64::MAX, "1.2.3.4:5".into())));
    assert_eq!(read(&[0xfd, 1, 0]), Err(DecodeError::NonCanonicalSize { at: 5 }));
}

#[test]
fn the_frame_of_a_verack_is_the_known_one() {
    let header = FrameHeader::new([0xf9, 0xbe, 0xb4, 0xd9], "verack", &[]);
    let bytes = *b"\xf9\xbe\xb4\xd9verack\0\0\0\0\0\0\0\0\0\0\x5d\xf6\xe0\xe2";
    assert_eq!(header.to_bytes(), bytes);
    assert_eq!(FrameHeader::from_bytes(&bytes), header);
    assert_eq!(
        (header.command(), header.matches(&[]), header.matches(&[0])),
        (Some("verack"), true, false)
    );
    let command = |bytes: &[u8; 12]| {
        let command = *bytes;
        FrameHeader { command, ..header }.command().map(String::from)
    };
    assert_eq!(command(b"twelve bytes").as_deref(), Some("twelve bytes"));
    assert_eq!(command(&[0; 12]).as_deref(), Some(""));
    for bytes in [
        b"ping\0\0\0\0\0\0\0x",
        b"pi\x7fg\0\0\0\0\0\0\0\0",
        b"pi\x80g\0\0\0\0\0\0\0\0",
        b"\tping\0\0\0\0\0\0\0",
    ] {
        assert_eq!(command(bytes), None);
    }
    let cut = FrameHeader::new([0; 4], "more than twelve bytes", &[]);
    assert_eq!(cut.command(), Some("more than tw"));
}

#[test]
fn a_real_compact_block_decodes_and_encodes() {
    let Some(data) = std::env::var_os("CAESURE_TEST_DATA") else {
        return println!("the real compact block left out, CAESURE_TEST_DATA is not set");
    };
    let path = std::path::Path::new(&data).join("bip152/compact426884.raw");
    let bytes = std::fs::read(path).unwrap();
    let message = Message::decode("cmpctblock", &bytes).unwrap();
    assert_eq!(payload(&message), bytes);
    let Message::CmpctBlock(block) = message else { panic!("another message") };
    assert_eq!((block.short_ids.len(), block.prefilled.len()), (408, 1));
    assert_eq!(block.prefilled[0].0, 0);
}
