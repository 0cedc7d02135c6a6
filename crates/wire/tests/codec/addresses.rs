//! Addresses as text and on the wire.

use std::net::SocketAddr;

use caesure_wire::{DecodeError, Endpoint, Message, NetAddress, Reader};
use proptest::collection::vec;
use proptest::prelude::*;

const ONION: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
const I2P: &str = "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p";

/// Any address that is not inside another's range.
pub(crate) fn address() -> impl Strategy<Value = NetAddress> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(NetAddress::Ipv4),
        any::<[u8; 16]>().prop_map(NetAddress::from_v1),
        any::<[u8; 32]>().prop_map(NetAddress::TorV3),
        any::<[u8; 32]>().prop_map(NetAddress::I2p),
        any::<[u8; 15]>().prop_map(|rest| {
            let mut bytes = [0xfc; 16];
            bytes[1..].copy_from_slice(&rest);
            NetAddress::Cjdns(bytes)
        }),
        (7..=255_u8, vec(any::<u8>(), 0..40))
            .prop_map(|(network, bytes)| NetAddress::Unknown { network, bytes: bytes.into() }),
    ]
}

fn read_v2(bytes: &[u8]) -> Result<NetAddress, DecodeError> {
    NetAddress::read_v2(&mut Reader::new(bytes))
}

/// The number, the length and so many bytes.
fn v2(network: u8, size: u8) -> Vec<u8> {
    let mut bytes = vec![network, size];
    bytes.resize(2 + usize::from(size), 9);
    bytes
}

/// An IPv6 address that begins so, after its number and length.
fn ipv6(start: &[u8]) -> [u8; 18] {
    let mut bytes = [7; 18];
    bytes[..2].copy_from_slice(&[2, 16]);
    bytes[2..2 + start.len()].copy_from_slice(start);
    bytes
}

const MAPPED: [&[u8]; 3] = [
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
    &[0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43],
    &[0xfd, 0x6b, 0x88, 0xc0, 0x87, 0x24],
];

#[test]
fn bip155_lengths_are_those_of_the_networks() {
    for (network, size) in [(1, 4), (2, 16), (4, 32), (5, 32), (6, 16)] {
        assert!(read_v2(&v2(network, size)).is_ok(), "{network}");
        for wrong in [0, size - 1, size + 1] {
            let error = DecodeError::BadLength { at: 1, size: wrong.into() };
            assert_eq!(read_v2(&v2(network, wrong)), Err(error), "{network}");
        }
    }
    // Tor v2 is as little known as a network of the future.
    for network in [0, 3, 7, 255] {
        let expected = NetAddress::Unknown { network, bytes: vec![9; 10].into() };
        assert_eq!(read_v2(&v2(network, 10)), Ok(expected));
    }
    let long = |size: u16| {
        let mut bytes = vec![9, 0xfd];
        bytes.extend(size.to_le_bytes());
        bytes.resize(4 + usize::from(size), 0);
        read_v2(&bytes)
    };
    assert!(long(512).is_ok());
    assert_eq!(long(513), Err(DecodeError::BadLength { at: 1, size: 513 }));
}

#[test]
fn what_is_mapped_into_ipv6_is_no_address_of_addrv2() {
    for start in MAPPED {
        assert_eq!(read_v2(&ipv6(start)), Ok(NetAddress::NONE));
    }
    assert!(matches!(read_v2(&ipv6(&[0xfd, 0x87])), Ok(NetAddress::Ipv6([0xfd, 0x87, ..]))));
}

#[test]
fn v1_maps_ipv4_and_drops_what_else_is_mapped() {
    let from_v1 = |start: &[u8]| NetAddress::from_v1(*ipv6(start).last_chunk().unwrap());
    assert_eq!(from_v1(MAPPED[0]), NetAddress::Ipv4([7; 4]));
    assert_eq!(from_v1(MAPPED[0]).to_v1()[..12], *MAPPED[0]);
    assert_eq!([from_v1(MAPPED[1]), from_v1(MAPPED[2])], [NetAddress::NONE, NetAddress::NONE]);
    assert_eq!(from_v1(&[0x20]).to_v1()[..2], [0x20, 7]);
    for text in [ONION, I2P] {
        assert_eq!(text.parse::<NetAddress>().unwrap().to_v1(), [0; 16]);
    }
    assert_eq!(NetAddress::Cjdns([0xfc; 16]).to_v1(), [0; 16]);
}

#[test]
fn texts_are_those_of_core() {
    let check = |text: &str, address: NetAddress| {
        assert_eq!(text.parse(), Ok(address.clone()));
        assert_eq!(address.to_string(), text);
    };
    check("1.2.3.4", NetAddress::Ipv4([1, 2, 3, 4]));
    check("::", NetAddress::NONE);
    let mut bytes = [0; 16];
    (bytes[0], bytes[1], bytes[15]) = (0x20, 1, 0xff);
    check("2001::ff", NetAddress::Ipv6(bytes));
    let NetAddress::TorV3(key) = ONION.parse().unwrap() else { panic!("a Tor v3 address") };
    assert_eq!(key[..4], [0x79, 0xbc, 0xc6, 0x25]);
    check(ONION, NetAddress::TorV3(key));
    let NetAddress::I2p(hash) = I2P.parse().unwrap() else { panic!("an I2P address") };
    assert_eq!(hash[..4], [0xa2, 0x89, 0x4d, 0xab]);
    check(I2P, NetAddress::I2p(hash));
    assert_eq!("[::ffff:1.2.3.4]".parse(), Ok(NetAddress::Ipv4([1, 2, 3, 4])));
    assert_eq!("FD87:D87E:EB43::1".parse(), Ok(NetAddress::NONE));
    assert_eq!(I2P.to_uppercase().parse(), Ok(NetAddress::I2p(hash)));
    let letters = ONION.strip_suffix(".onion").unwrap().to_uppercase();
    assert_eq!(format!("{letters}.onion").parse(), Ok(NetAddress::TorV3(key)));
    let unknown = NetAddress::Unknown { network: 9, bytes: vec![1, 0xab].into() };
    assert_eq!(unknown.to_string(), "network-9:01ab");
}

#[test]
fn texts_that_are_no_address_are_refused() {
    let last = |text: &str, at: usize, with: &str| {
        let mut text = String::from(text);
        text.replace_range(at..=at, with);
        text
    };
    let refused = [
        String::new(),
        String::from("localhost"),
        String::from("1.2.3"),
        String::from("1.2.3.256"),
        String::from("1.2.3.4\0"),
        String::from("[1.2.3.4"),
        String::from(".onion"),
        String::from(".b32.i2p"),
        format!("{ONION}\0"),
        format!("a{ONION}"),
        // A letter of the key, of the checksum, and of the version.
        last(ONION, 3, "x"),
        last(ONION, 53, "x"),
        last(ONION, 55, "e"),
        ONION.to_uppercase(),
        last(ONION, 3, "1"),
        last(ONION, 3, "é"),
        // The four bits that are left over are not zero.
        last(I2P, 51, "r"),
        last(I2P, 51, "é"),
        format!("a{I2P}"),
        String::from(&I2P[1..]),
    ];
    for text in refused {
        assert!(text.parse::<NetAddress>().is_err(), "{text}");
        assert!(text.parse::<Endpoint>().is_err(), "{text}");
    }
}

#[test]
fn endpoints_take_a_port_as_core_splits_it() {
    let check = |text: &str, expected: Option<&str>| {
        let parsed = Endpoint::parse(text, 8333).ok().map(|endpoint| endpoint.to_string());
        assert_eq!(parsed.as_deref(), expected, "{text}");
    };
    check("1.2.3.4", Some("1.2.3.4:8333"));
    check("1.2.3.4:5", Some("1.2.3.4:5"));
    check("1.2.3.4:0", Some("1.2.3.4:0"));
    check("[1.2.3.4]:5", Some("1.2.3.4:5"));
    check("::1", Some("[::1]:8333"));
    check("::1:5", Some("[::1:5]:8333"));
    check("[::1]", Some("[::1]:8333"));
    check("[::1]:5", Some("[::1]:5"));
    check(I2P, Some(&format!("{I2P}:8333")));
    check(&format!("{ONION}:65535"), Some(&format!("{ONION}:65535")));
    for text in [
        "1.2.3.4:",
        "1.2.3.4:+5",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4:5 ",
        ":5",
        "[::1]5",
        "::1]:5",
    ] {
        check(text, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn addresses_come_back_from_bytes_and_text(address in address(), port in any::<u16>()) {
        let mut bytes = Vec::new();
        address.encode_v2_to(&mut bytes);
        prop_assert_eq!(read_v2(&bytes), Ok(address.clone()));
        for end in 0..bytes.len() {
            prop_assert!(read_v2(&bytes[..end]).is_err());
        }
        let endpoint = Endpoint { address: address.clone(), port };
        let parsed = endpoint.to_string().parse::<Endpoint>();
        match &address {
            NetAddress::Unknown { .. } => {}
            NetAddress::Cjdns(bytes) => {
                let address = NetAddress::Ipv6(*bytes);
                prop_assert_eq!(parsed, Ok(Endpoint { address, port }));
            }
            _ => prop_assert_eq!(parsed.as_ref(), Ok(&endpoint)),
        }
        if let Some(socket) = endpoint.socket_address() {
            prop_assert_eq!(socket.to_string(), endpoint.to_string());
            prop_assert_eq!(Endpoint::from(socket).address.to_string(), address.to_string());
            prop_assert_eq!(socket.to_string().parse::<SocketAddr>(), Ok(socket));
        }
    }

    #[test]
    fn any_text_is_an_address_or_none(text in ".{0,70}", command in "[a-z2]{0,12}", bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }
        let letters = format!("{command}.onion");
        prop_assert!(letters.parse::<NetAddress>().is_err());
        let _ = Message::decode(&command, &bytes);
    }
}
