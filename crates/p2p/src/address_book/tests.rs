use std::collections::BTreeSet;

use caesure_hash::sha256d;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_700_000_000;
/// Core's default of `CAddress::nTime`.
const LONG_AGO: u64 = 100_000_000;

/// Core's key of a deterministic `AddrMan`.
fn deterministic() -> AddressBook {
    let mut key = [0; 32];
    key[0] = 1;
    AddressBook::new(key)
}

fn random() -> Random {
    Random::new([7; 32])
}

fn ip(a: usize, b: usize, c: usize, d: usize) -> NetAddress {
    NetAddress::Ipv4([a, b, c, d].map(|part| u8::try_from(part % 256).unwrap()))
}

fn seen(address: NetAddress, port: u16, time: u64) -> TimedAddress {
    let endpoint = Endpoint { address, port };
    TimedAddress { time: u32::try_from(time).unwrap(), services: 0, endpoint }
}

/// The conditions of Core's `CheckAddrman`, and those of this form.
fn check(book: &AddressBook) {
    let mut counts: BTreeMap<NetworkKind, (usize, usize)> = BTreeMap::new();
    let mut places = 0;
    assert_eq!(book.by_endpoint.len(), book.len());
    for (index, entry) in book.entries.iter().enumerate() {
        let endpoint = &entry.address.endpoint;
        let index = u32::try_from(index).unwrap();
        assert_eq!(book.by_endpoint.get(endpoint), Some(&index));
        places += entry.slots.len();
        let (new, tried) = counts.entry(kind(entry)).or_default();
        if entry.is_tried {
            *tried += 1;
            assert_eq!(entry.slots, [slot_number(book.tried_slot(endpoint))]);
            assert_eq!(book.tried[usize::from(entry.slots[0])], index);
        } else {
            *new += 1;
            assert!((1..=MAX_REFERENCES).contains(&entry.slots.len()));
            for slot in entry.slots.iter().map(|&slot| usize::from(slot)) {
                assert_eq!(slot, book.new_slot(endpoint, slot / BUCKET_SIZE));
                assert_eq!(book.new[slot], index);
            }
        }
    }
    let taken = book.new.iter().chain(&book.tried).filter(|&&index| index != EMPTY).count();
    assert_eq!(taken, places);
    let kept = book.counts.clone().into_iter().filter(|(_, count)| *count != (0, 0));
    assert_eq!(kept.collect::<BTreeMap<_, _>>(), counts);
    assert!(book.collisions.len() <= MAX_COLLISIONS);
    assert!(book.collisions.iter().all(|endpoint| book.get(endpoint).is_some()));
    assert_eq!((book.new.len(), book.tried.len()), (65_536, 16_384));
}

#[test]
fn buckets_are_those_of_core_under_the_same_key() {
    let [key1, key2] = [1_u32, 2].map(|number| sha256d(&number.to_le_bytes()));
    let [book, other] = [key1, key2].map(AddressBook::new);
    let endpoint = |address, port| Endpoint { address, port };
    let first = endpoint(ip(250, 1, 1, 1), 8333);
    let tried = |book: &AddressBook, e: &Endpoint| book.tried_slot(e) / BUCKET_SIZE;
    assert_eq!(tried(&book, &first), 40);
    assert_ne!(tried(&other, &first), 40);
    assert_ne!(tried(&book, &endpoint(ip(250, 1, 1, 1), 9999)), 40);
    let source = ip(250, 1, 2, 1);
    assert_eq!(book.new_bucket(&source, &source), 786);
    assert_ne!(other.new_bucket(&source, &source), 786);

    let count = |buckets: &mut dyn Iterator<Item = usize>| buckets.collect::<BTreeSet<_>>().len();
    let one_group = &mut (0..255).map(|i| tried(&book, &endpoint(ip(250, 1, 1, i), 0)));
    assert_eq!(count(one_group), 8);
    let groups = &mut (0..255).map(|i| tried(&book, &endpoint(ip(250, i, 1, 1), 0)));
    assert_eq!(count(groups), 160);
    let one_group = &mut (0..255).map(|i| book.new_bucket(&ip(250, 1, 1, i), &ip(250, 1, 1, i)));
    assert_eq!(count(one_group), 1);
    let source = ip(251, 4, 1, 1);
    let groups = &mut (0..4 * 255).map(|i| book.new_bucket(&ip(250 + i / 255, i, 1, 1), &source));
    assert!(count(groups) <= 64);
    let sources = &mut (0..255).map(|i| book.new_bucket(&ip(250, 1, 1, 1), &ip(250, i, 1, 1)));
    assert!(count(sources) > 64);
}

/// Seen in Bitcoin Core 31.99 with `-test=addrman`, by `addpeeraddress` and `getrawaddrman`: table,
/// bucket, position, address, port, network; each address told of itself.
#[test]
fn places_on_every_network_are_those_that_core_shows() {
    let lines = include_str!("places_of_core.txt").lines();
    let mut count = 0;
    for line in lines {
        let [table, bucket, position, address, port, network] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let address = match (address.parse().unwrap(), network) {
            (NetAddress::Ipv6(ip), "cjdns") => NetAddress::Cjdns(ip),
            (address, _) => address,
        };
        assert_eq!(NetworkKind::class_of(&address).name(), network);
        let mut book = deterministic();
        let address = seen(address, port.parse().unwrap(), NOW);
        let source = &address.endpoint.address;
        assert_eq!(book.add(core::slice::from_ref(&address), source, 0, NOW), 1);
        if table == "tried" {
            assert!(book.good(&address.endpoint, NOW));
        }
        let place = book.table(table == "tried").next().unwrap();
        let expected = (bucket.parse().unwrap(), position.parse().unwrap());
        assert_eq!((place.0, place.1), expected, "{line}");
        count += 1;
    }
    assert_eq!(count, 50);
}

#[test]
fn one_netgroup_reaches_at_most_64_new_and_8_tried_buckets() {
    let mut book = deterministic();
    let source = ip(250, 9, 0, 1);
    for i in 0..20_000 {
        let address = seen(ip(11 + i % 200, i / 200, 3, 4), 8333, NOW);
        book.add(&[address], &source, 0, NOW);
    }
    let buckets = book.table(false).map(|(bucket, ..)| bucket).collect::<BTreeSet<_>>();
    assert!(buckets.len() <= 64 && buckets.len() > 50, "{}", buckets.len());
    assert!(book.len() <= 64 * BUCKET_SIZE);
    let mut book = deterministic();
    for i in 0..20_000 {
        let address = seen(ip(250, 9, i / 256, i), 8333, NOW);
        book.add(core::slice::from_ref(&address), &ip(11 + i % 200, i, 3, 4), 0, NOW);
        book.good(&address.endpoint, NOW);
    }
    let buckets = book.table(true).map(|(bucket, ..)| bucket).collect::<BTreeSet<_>>();
    assert_eq!(buckets.len(), 8);
    assert!(book.count(NetworkKind::Ipv4).1 <= 8 * BUCKET_SIZE);
    check(&book);
}

#[test]
fn an_address_is_kept_once_and_ports_are_apart() {
    let mut book = deterministic();
    let source = ip(252, 2, 2, 2);
    assert_eq!(book.select(false, &[], &mut random(), NOW), None);
    let first = seen(ip(250, 1, 1, 1), 8333, LONG_AGO);
    assert_eq!(book.add(core::slice::from_ref(&first), &source, 0, NOW), 1);
    assert_eq!(book.add(core::slice::from_ref(&first), &source, 0, NOW), 0);
    let chosen = book.select(false, &[], &mut random(), NOW);
    assert_eq!(chosen, Some((first.endpoint.clone(), 0)));
    let second = seen(ip(250, 1, 1, 1), 8334, LONG_AGO);
    assert_eq!(book.add(core::slice::from_ref(&second), &source, 0, NOW), 1);
    assert!(book.good(&second.endpoint, NOW));
    assert!(!book.good(&second.endpoint, NOW));
    assert_eq!(book.count(NetworkKind::Ipv4), (1, 1));
    assert_eq!(book.select(true, &[], &mut random(), NOW).unwrap().0, first.endpoint);
    assert!(book.good(&first.endpoint, NOW));
    assert_eq!(book.select(true, &[], &mut random(), NOW), None);
}

#[test]
fn collisions_happen_where_core_has_them() {
    let mut book = deterministic();
    let source = ip(252, 2, 2, 2);
    let number = |i| seen(ip(250, 1, 1, i), 0, LONG_AGO);
    // 250.1.1.23 takes the place of one before it, all being hopeless.
    for (i, len) in (1..=22).zip(1..).chain([(23, 22), (24, 23)]) {
        assert_eq!(book.add(&[number(i)], &source, 0, NOW), 1);
        assert_eq!(book.len(), len);
    }
    let mut book = deterministic();
    for i in 1..=37 {
        assert_eq!(book.add(&[number(i)], &source, 0, NOW), 1);
        assert_eq!(book.good(&number(i).endpoint, NOW), i != 36, "{i}");
    }
    check(&book);
}

#[test]
fn a_quarter_of_many_addresses_is_told() {
    let mut book = deterministic();
    let first = [(250, 250, 2, 1), (251, 252, 2, 3), (252, 254, 4, 5)];
    let second = [(250, 251, 2, 2), (252, 253, 3, 4)];
    let seen_now = |(a, b, c, d)| seen(ip(a, b, c, d), if b == 251 { 9999 } else { 8333 }, NOW);
    assert_eq!(book.add(&first.map(seen_now), &ip(250, 1, 2, 1), 0, NOW), 3);
    assert_eq!(book.add(&second.map(seen_now), &ip(250, 2, 3, 3), 0, NOW), 2);
    assert!(book.good(&seen_now(first[0]).endpoint, NOW));
    assert!(book.good(&seen_now(second[0]).endpoint, NOW));
    assert_eq!(book.addresses(0, 0, None, &mut random(), NOW).len(), 5);
    assert_eq!(book.addresses(2500, 23, None, &mut random(), NOW).len(), 1);
    for i in 1..8 * 256 {
        let address = seen(ip(i, i >> 8, 1, 23), 0, NOW);
        book.add(core::slice::from_ref(&address), &address.endpoint.address, 0, NOW);
        if i % 8 == 0 {
            book.good(&address.endpoint, NOW);
        }
    }
    assert_eq!(book.len(), 2006);
    let told = book.addresses(2500, 23, None, &mut random(), NOW);
    assert_eq!(told.len(), 461);
    let different: BTreeSet<_> = told.iter().map(|address| &address.endpoint).collect();
    assert_eq!(different.len(), 461);
    assert_eq!(book.addresses(100, 23, None, &mut random(), NOW).len(), 100);
    assert_eq!(book.addresses(0, 0, None, &mut random(), NOW).len(), 2006);
    assert!(book.addresses(0, 0, Some(NetworkKind::Onion), &mut random(), NOW).is_empty());
}

#[test]
fn hopeless_addresses_are_not_told() {
    let mut book = deterministic();
    let source = ip(250, 1, 2, 1);
    let good = seen(ip(250, 250, 2, 1), 8333, NOW);
    let old = seen(ip(250, 251, 2, 2), 9999, LONG_AGO);
    let failed = seen(ip(250, 251, 2, 3), 9998, NOW);
    let future = seen(ip(250, 252, 2, 4), 9997, NOW + 11 * MINUTE);
    let all = [good.clone(), old, failed.clone(), future];
    assert_eq!(book.add(&all, &source, 0, NOW), 4);
    for _ in 0..3 {
        // Another was reached since, so each failure counts.
        book.last_good = u64::MAX;
        book.attempt(&failed.endpoint, true, NOW - 61);
    }
    assert_eq!(book.get(&failed.endpoint).unwrap().attempts, 3);
    assert_eq!(book.addresses(0, 0, None, &mut random(), NOW), [good]);
}

#[test]
fn ten_failures_in_a_week_are_hopeless() {
    let mut book = deterministic();
    let address = seen(ip(250, 250, 2, 1), 8333, NOW);
    book.add(core::slice::from_ref(&address), &ip(250, 1, 2, 1), 0, NOW);
    book.good(&address.endpoint, NOW);
    let later = NOW + 8 * DAY;
    for _ in 0..10 {
        assert!(!book.get(&address.endpoint).unwrap().is_terrible(later));
        book.last_good = u64::MAX;
        book.attempt(&address.endpoint, true, later - 61);
    }
    assert!(book.get(&address.endpoint).unwrap().is_terrible(later));
    assert!(!book.get(&address.endpoint).unwrap().is_terrible(later - 1));
}

#[test]
fn failures_count_once_until_another_is_reached() {
    let mut book = deterministic();
    let addresses = [1, 2].map(|i| seen(ip(250, i, 2, 1), 8333, NOW));
    book.add(&addresses, &ip(250, 1, 2, 1), 0, NOW);
    let [first, second] = addresses.map(|address| address.endpoint);
    book.good(&second, NOW);
    for now in NOW + 1..NOW + 5 {
        book.attempt(&first, true, now);
    }
    assert_eq!(book.get(&first).unwrap().attempts, 1);
    book.good(&second, NOW + 10);
    book.attempt(&first, false, NOW + 11);
    assert_eq!(book.get(&first).unwrap().attempts, 1);
    book.attempt(&first, true, NOW + 12);
    assert_eq!(book.get(&first).unwrap().attempts, 2);
}

#[test]
fn a_penalty_spares_those_who_tell_of_themselves() {
    let mut book = deterministic();
    let [first, second] = [1, 2].map(|i| seen(ip(250, 1, 1, i), 8333, NOW - 10_000));
    book.add(core::slice::from_ref(&first), &ip(250, 1, 1, 1), HOUR, NOW);
    book.add(core::slice::from_ref(&second), &ip(250, 1, 1, 3), HOUR, NOW);
    let time =
        |address: &TimedAddress| u64::from(book.get(&address.endpoint).unwrap().address.time);
    assert_eq!(time(&first), NOW - 10_000);
    assert_eq!(time(&second), NOW - 10_000 - HOUR);
}

#[test]
fn times_and_services_are_brought_up_to_date() {
    let mut book = deterministic();
    let source = ip(252, 2, 2, 2);
    let mut address = seen(ip(250, 1, 1, 1), 8333, NOW - 2 * DAY);
    address.services = 1;
    book.add(core::slice::from_ref(&address), &source, 0, NOW);
    let endpoint = address.endpoint.clone();
    book.connected(&endpoint, NOW - 2 * DAY + 20 * MINUTE);
    assert_eq!(u64::from(book.get(&endpoint).unwrap().address.time), NOW - 2 * DAY);
    book.connected(&endpoint, NOW - DAY);
    assert_eq!(u64::from(book.get(&endpoint).unwrap().address.time), NOW - DAY);
    // Seen in the last day: an hour more counts, less does not.
    address.services = 8;
    address.time = u32::try_from(NOW - DAY + HOUR).unwrap();
    book.add(core::slice::from_ref(&address), &source, 0, NOW);
    assert_eq!(u64::from(book.get(&endpoint).unwrap().address.time), NOW - DAY);
    address.time += 1;
    book.add(core::slice::from_ref(&address), &source, 0, NOW);
    assert_eq!(book.get(&endpoint).unwrap().address.time, address.time);
    assert_eq!(book.get(&endpoint).unwrap().address.services, 9);
    book.set_services(&endpoint, 1024);
    assert_eq!(book.get(&endpoint).unwrap().address.services, 1024);
}

#[test]
fn an_address_from_many_sources_gets_eight_places_and_more_only_if_seen_later() {
    let mut book = deterministic();
    let mut address = seen(ip(253, 3, 3, 3), 8333, NOW);
    let source = |i| ip(i, i >> 8, 1, 1);
    for i in 1..20 {
        book.add(core::slice::from_ref(&address), &source(i), 0, NOW);
    }
    assert_eq!(book.get(&address.endpoint).unwrap().references(), 1);
    let mut tries = 0;
    while book.get(&address.endpoint).unwrap().references() < 8 {
        tries += 1;
        address.time += 1;
        book.add(core::slice::from_ref(&address), &source(tries), 0, NOW);
        check(&book);
        assert!(tries < 5000);
    }
    // Each reference makes the next half as likely: about 2 + 4 + .. + 128 tries.
    assert!(tries > 60, "{tries}");
    for i in 0..3000 {
        address.time += 1;
        book.add(core::slice::from_ref(&address), &source(tries + i), 0, NOW + i as u64);
    }
    assert_eq!(book.get(&address.endpoint).unwrap().references(), 8);
    assert_eq!(book.len(), 1);
}

/// Two endpoints of one group that have the same place in the tried table.
fn rivals(book: &AddressBook) -> [TimedAddress; 2] {
    let mut places = BTreeMap::new();
    for i in 1.. {
        let address = seen(ip(250, 1, i >> 8, i), 8333, NOW);
        if let Some(other) = places.insert(book.tried_slot(&address.endpoint), address.clone()) {
            return [other, address];
        }
    }
    unreachable!()
}

fn contest() -> (AddressBook, Endpoint, Endpoint) {
    let mut book = deterministic();
    let rivals = rivals(&book);
    assert_eq!(book.add(&rivals, &ip(252, 2, 2, 2), 0, NOW), 2);
    let [old, new] = rivals.map(|address| address.endpoint);
    assert_eq!(book.select_tried_collision(&mut random()), None);
    assert!(book.good(&old, NOW));
    assert!(!book.good(&new, NOW + 1));
    assert!(!book.good(&new, NOW + 1));
    assert_eq!(book.select_tried_collision(&mut random()), Some((old.clone(), NOW)));
    assert!(!book.get(&new).unwrap().is_tried);
    (book, old, new)
}

#[test]
fn a_tried_address_that_was_reached_lately_keeps_its_place() {
    let (mut book, old, new) = contest();
    book.resolve_collisions(NOW + 4 * HOUR - 1);
    assert!(book.get(&old).unwrap().is_tried && !book.get(&new).unwrap().is_tried);
    assert_eq!(book.select_tried_collision(&mut random()), None);
}

#[test]
fn a_tried_address_that_fails_its_test_makes_place_after_a_minute() {
    let (mut book, old, new) = contest();
    let test = NOW + 5 * HOUR;
    book.good(&new, test - 30 * MINUTE);
    // Neither tested nor long enough untestable.
    book.resolve_collisions(test - 1);
    assert_eq!(book.collisions.len(), 1);
    book.attempt(&old, true, test);
    book.resolve_collisions(test + 60);
    assert_eq!(book.collisions.len(), 1);
    book.resolve_collisions(test + 61);
    assert!(!book.get(&old).unwrap().is_tried && book.get(&new).unwrap().is_tried);
    assert_eq!(book.get(&old).unwrap().references(), 1);
    assert!(book.collisions.is_empty());
    check(&book);
}

#[test]
fn a_tried_address_that_cannot_be_tested_makes_place() {
    let (mut book, old, new) = contest();
    book.resolve_collisions(NOW + 5 * HOUR);
    assert!(!book.get(&old).unwrap().is_tried && book.get(&new).unwrap().is_tried);
    check(&book);
}

#[test]
fn addresses_tried_lately_or_often_in_vain_are_selected_more_rarely() {
    let mut book = deterministic();
    let addresses = [1, 2, 3].map(|i| seen(ip(250 - i, 1, 1, 1), 8333, NOW));
    book.add(&addresses, &ip(252, 2, 2, 2), 0, NOW);
    let buckets: BTreeSet<_> = book.table(false).map(|(bucket, ..)| bucket).collect();
    assert_eq!(buckets.len(), 3);
    let [fresh, failed, recent] = addresses.map(|address| address.endpoint);
    book.entry(&failed).unwrap().attempts = 2;
    book.attempt(&recent, false, NOW - 599);
    let mut random = random();
    let mut counts: BTreeMap<Endpoint, u32> = BTreeMap::new();
    for _ in 0..10_000 {
        let (endpoint, tried_at) = book.select(false, &[], &mut random, NOW).unwrap();
        assert_eq!(tried_at, if endpoint == recent { NOW - 599 } else { 0 });
        *counts.entry(endpoint).or_default() += 1;
    }
    // Chances 1, 0.66 ^ 2 and 0.01 for each draw out of three buckets, growing with each miss.
    assert!((6200..6800).contains(&counts[&fresh]), "{counts:?}");
    assert!((2900..3600).contains(&counts[&failed]), "{counts:?}");
    assert!((50..250).contains(&counts[&recent]), "{counts:?}");
    // Ten minutes later it is as good as any.
    let mut later = 0;
    for _ in 0..1000 {
        later += u32::from(book.select(false, &[], &mut random, NOW + 1).unwrap().0 == recent);
    }
    assert!(later > 300, "{later}");
}

#[test]
fn networks_are_selected_from_both_tables() {
    let mut book = deterministic();
    let source = ip(252, 2, 2, 2);
    let first = seen(ip(250, 1, 1, 1), 8333, LONG_AGO);
    let [i2p, other] = [1, 2].map(|key| seen(NetAddress::I2p([key; 32]), 0, LONG_AGO));
    book.add(&[first.clone(), i2p.clone()], &source, 0, NOW);
    book.good(&i2p.endpoint, NOW);
    let mut random = random();
    let select = |book: &AddressBook, new_only, networks: &[NetworkKind], random: &mut Random| {
        book.select(new_only, networks, random, NOW).map(|(endpoint, _)| endpoint)
    };
    let ipv4 = [NetworkKind::Ipv4];
    assert_eq!(select(&book, false, &ipv4, &mut random), Some(first.endpoint));
    assert_eq!(select(&book, true, &[NetworkKind::I2p], &mut random), None);
    let empty = [NetworkKind::Ipv6, NetworkKind::Onion, NetworkKind::Cjdns];
    assert_eq!(select(&book, false, &empty, &mut random), None);
    book.add(core::slice::from_ref(&other), &source, 0, NOW);
    let chosen: BTreeSet<_> =
        (0..64).filter_map(|_| select(&book, false, &[NetworkKind::I2p], &mut random)).collect();
    assert_eq!(chosen, BTreeSet::from([i2p.endpoint, other.endpoint]));
}

#[test]
fn addresses_that_nobody_can_reach_are_not_kept() {
    let mut book = deterministic();
    let unknown = NetAddress::Unknown { network: 9, bytes: Box::new([1; 8]) };
    let addresses = [ip(127, 0, 0, 1), ip(192, 168, 1, 1), NetAddress::Ipv6([0; 16]), unknown];
    let addresses = addresses.map(|address| seen(address, 8333, NOW));
    assert_eq!(book.add(&addresses, &ip(250, 1, 1, 1), 0, NOW), 0);
    assert!(book.is_empty());
}

#[test]
fn a_damaged_file_is_an_error() {
    let mut book = deterministic();
    book.add(&[seen(ip(250, 1, 1, 1), 8333, NOW)], &ip(250, 1, 1, 1), 0, NOW);
    let file = book.to_bytes();
    assert_eq!(AddressBook::from_bytes(&file).unwrap().len(), 1);
    for end in 0..file.len() {
        assert!(AddressBook::from_bytes(&file[..end]).is_err());
        let mut damaged = file.clone();
        damaged[end] ^= 1;
        assert!(AddressBook::from_bytes(&damaged).is_err());
    }
    let body = [PEERS.as_bytes(), &2_u32.to_le_bytes()].concat();
    assert_eq!(AddressBook::from_bytes(&saved::seal(body)).unwrap_err(), SavedError::Format(2));
    let long = saved::seal([&file[..file.len() - 32], &[1]].concat());
    assert_eq!(AddressBook::from_bytes(&long).unwrap_err(), SavedError::Malformed);
}

#[test]
fn the_file_is_as_documented() {
    let mut book = deterministic();
    let mut address = seen(ip(250, 1, 1, 1), 8333, NOW);
    address.services = 9;
    book.add(core::slice::from_ref(&address), &NetAddress::TorV3([5; 32]), 0, NOW);
    let (bucket, ..) = book.table(false).next().unwrap();
    let key = book.key;
    let entry = |end: &[u8]| {
        let mut file = b"caesure peers\n\x01\0\0\0".to_vec();
        file.extend(key);
        file.extend([1, 4, 250, 1, 1, 1]);
        file.extend(8333_u16.to_le_bytes());
        file.extend(address.time.to_le_bytes());
        file.extend(9_u64.to_le_bytes());
        file.extend([&[4, 32], &[5; 32][..], end].concat());
        let checksum = sha256d(&file);
        [&file[..], &checksum].concat()
    };
    let bucket = u16::try_from(bucket).unwrap().to_le_bytes();
    assert_eq!(book.to_bytes(), entry(&[&[0; 12][..], &[1], &bucket].concat()));
    book.good(&address.endpoint, NOW);
    assert_eq!(book.to_bytes(), entry(&[&NOW.to_le_bytes()[..], &[0; 5]].concat()));
}

#[derive(Clone, Debug)]
enum Step {
    Add(TimedAddress, NetAddress, u64),
    Good(usize),
    Attempt(usize, bool),
    Connected(usize),
    Resolve,
    Select(bool),
    Save,
    Wait(u64),
}

fn any_address() -> impl Strategy<Value = NetAddress> {
    // Few enough that they meet.
    prop_oneof![
        8 => (0..3_usize, 0..4_usize, 0..6_usize).prop_map(|(a, b, c)| ip(9 + a, b, 1, c)),
        2 => (0..4_u8, 0..4_u8).prop_map(|(a, b)| NetAddress::Ipv6([0x20 + a, b, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, b])),
        1 => (0..8_u8).prop_map(|a| NetAddress::TorV3([a; 32])),
        1 => (0..8_u8).prop_map(|a| NetAddress::I2p([a; 32])),
        1 => (0..8_u8).prop_map(|a| NetAddress::Cjdns([0xfc - (a & 1), a, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])),
        1 => (8..12_u8).prop_map(|network| NetAddress::Unknown { network, bytes: Box::new([]) }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![Just(0), Just(u32::MAX), 1_699_000_000_u32..1_701_000_000];
    let address = (any_address(), 8333..8335_u16, time, any::<u64>()).prop_map(
        |(address, port, time, services)| TimedAddress {
            time,
            services,
            endpoint: Endpoint { address, port },
        },
    );
    let penalty = prop_oneof![Just(0), Just(7200), any::<u64>()];
    prop_oneof![
        12 => (address, any_address(), penalty).prop_map(|(a, source, p)| Step::Add(a, source, p)),
        6 => any::<usize>().prop_map(Step::Good),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(i, counts)| Step::Attempt(i, counts)),
        1 => any::<usize>().prop_map(Step::Connected),
        1 => Just(Step::Resolve),
        1 => any::<bool>().prop_map(Step::Select),
        1 => Just(Step::Save),
        2 => (0..40_000_u64).prop_map(Step::Wait),
    ]
}

/// Takes memory-only facts out of what is compared.
fn saved_facts(book: &AddressBook) -> BTreeMap<Endpoint, BookEntry> {
    let entries = book.entries.iter().cloned().map(|mut entry| {
        (entry.last_try, entry.last_count) = (0, 0);
        entry.slots.sort_unstable();
        (entry.address.endpoint.clone(), entry)
    });
    entries.collect()
}

fn crowded(step_count: usize, seed: [u8; 32]) -> AddressBook {
    let mut random = Random::new(seed);
    let mut book = AddressBook::new(seed);
    let mut now = NOW;
    for _ in 0..step_count {
        // One group and few of sources, so that collisions are the rule.
        let address = ip(9, 1, random.index(256), random.index(256));
        let address = seen(address, 8333, now - random.below(40 * DAY));
        book.add(core::slice::from_ref(&address), &ip(9, random.index(64), 1, 1), 0, now);
        match random.below(8) {
            0..=3 => drop(book.good(&address.endpoint, now)),
            4 => book.resolve_collisions(now),
            5 => book.attempt(&address.endpoint, true, now),
            _ => now += random.below(HOUR),
        }
    }
    book
}

#[test]
fn crowded_tables_stay_consistent_and_roundtrip() {
    for seed in 0..4 {
        let book = crowded(6000, [seed; 32]);
        check(&book);
        assert!(book.tried.iter().filter(|&&index| index != EMPTY).count() > 300);
        let again = AddressBook::from_bytes(&book.to_bytes()).unwrap();
        check(&again);
        assert_eq!(saved_facts(&again), saved_facts(&book));
        assert_eq!((&again.new, &again.tried), (&book.new, &book.tried));
    }
}

proptest! {
    #[test]
    fn any_sequence_of_operations_leaves_consistent_tables(
        steps in prop::collection::vec(any_step(), 0..120),
        key: [u8; 32],
    ) {
        let mut book = AddressBook::new(key);
        let mut random = random();
        let mut now = NOW;
        for step in steps {
            let pick = |i: usize| match book.len() {
                0 => Endpoint { address: ip(9, 1, 1, 1), port: 8333 },
                len => book.entries[i % len].address.endpoint.clone(),
            };
            match step {
                Step::Add(address, source, penalty) => drop(book.add(&[address], &source, penalty, now)),
                Step::Good(i) => drop(book.good(&pick(i), now)),
                Step::Attempt(i, counts) => book.attempt(&pick(i), counts, now),
                Step::Connected(i) => book.connected(&pick(i), now),
                Step::Resolve => {
                    let _ = book.select_tried_collision(&mut random);
                    book.resolve_collisions(now);
                }
                Step::Select(new_only) => {
                    let (new, tried) = book.counts.values().fold((0, 0), |sum, add| (sum.0 + add.0, sum.1 + add.1));
                    let chosen = book.select(new_only, &[], &mut random, now);
                    prop_assert_eq!(chosen.is_some(), new > 0 || (!new_only && tried > 0));
                }
                Step::Save => {
                    let again = AddressBook::from_bytes(&book.to_bytes()).unwrap();
                    prop_assert_eq!(saved_facts(&again), saved_facts(&book));
                    check(&again);
                }
                Step::Wait(seconds) => now += seconds,
            }
            check(&book);
        }
    }

    #[test]
    fn any_bytes_with_a_right_checksum_are_read_without_a_panic(
        body in prop::collection::vec(prop_oneof![0..8_u8, any::<u8>()], 0..400),
    ) {
        let file = saved::seal([saved::begin(PEERS), body].concat());
        if let Ok(book) = AddressBook::from_bytes(&file) {
            check(&book);
        }
    }
}
