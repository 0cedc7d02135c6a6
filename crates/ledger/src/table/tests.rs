#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::os::unix::fs::FileExt;

use super::*;

/// The key of the coin at a place: SplitMix64, so that no two are the same.
fn key(place: Place) -> Key {
    let mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    Key(mixed ^ mixed >> 31)
}

fn at(table: &Table, key: Key) -> Spot<'_> {
    table.spot(key)
}

fn is_there(table: &Table, place: Place) -> bool {
    table.find(at(table, key(place)), |slot| Ok(slot.place() == Some(place))).unwrap()
}

fn insert(table: &Table, place: Place) {
    // Both ways in turn; of the keys none is another's.
    let is_in = match place % 2 {
        0 => table.insert_new(at(table, key(place)), place, |_| Ok(false)),
        _ => table.insert(at(table, key(place)), Slot::at(place, false), |_| Ok(false)),
    };
    assert!(is_in.unwrap(), "{place}");
}

fn places(table: &Table) -> Vec<Place> {
    let mut places = Vec::new();
    let stands = |slot: Slot| Ok(slot.place().unwrap());
    table.for_each(|| (), stands, |(), place, _| places.push(place)).unwrap();
    places.sort_unstable();
    places
}

/// Enough for all groups to be full, and to be split, some of them twice.
const MANY: Place = 1_400_000;

#[test]
fn a_reader_misses_no_coin_while_groups_fill_up_and_are_split() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::new(1 << 30, folder.path().into(), None).unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looked = 0_u64;
            loop {
                let done = done.load(Acquire);
                if done == MANY {
                    return looked;
                }
                if 0 < done {
                    looked += 1;
                    let place = 1 + key(looked).0 % done;
                    assert!(is_there(&table, place), "{place} of {done}");
                }
            }
        });
        for place in 1..=MANY {
            insert(&table, place);
            done.store(place, Release);
        }
        assert!(1_000 < reader.join().unwrap(), "the reader looked at coins meanwhile");
    });
    assert_eq!(table.live(), MANY);
    assert!(places(&table).into_iter().eq(1..=MANY), "each stands there once");
    // 11 to 12 bytes a coin, whatever their number is.
    let bytes = (table.groups() * GROUP_BYTES) as u64;
    assert!((MANY * 11..MANY * 25 / 2).contains(&bytes), "{bytes} bytes");

    for place in (1..=MANY).step_by(3) {
        assert!(table.remove(at(&table, key(place)), Slot::at(place, false)).unwrap());
        assert!(!table.remove(at(&table, key(place)), Slot::at(place, false)).unwrap());
    }
    assert!((1..=MANY).all(|place| is_there(&table, place) == (place % 3 != 1)));
    assert_eq!(table.live(), MANY - MANY.div_ceil(3));
}

/// Keys of one place of the table: the bits between a key's bucket and its tag stand nowhere in it.
fn alike(place: Place) -> Key {
    Key(0x1234_5678_0000_0321 | place << 10)
}

/// A table with coins of such keys.
fn crowded(coins: Place) -> (tempfile::TempDir, Table) {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::new(1 << 30, folder.path().into(), None).unwrap();
    for place in 1..=coins {
        assert!(alike(place).is_alike(alike(1)));
        let is_in = table.insert(at(&table, alike(place)), Slot::at(place, false), |_| Ok(false));
        assert!(is_in.unwrap(), "both buckets have room for {place}");
    }
    (folder, table)
}

#[test]
fn coins_whose_keys_are_alike_are_told_apart() {
    let (_folder, table) = crowded(16);
    let is_there = |place| {
        table.find(at(&table, alike(place)), |slot| Ok(slot.place() == Some(place))).unwrap()
    };
    assert!((1..=16).all(is_there) && !is_there(17));
}

#[test]
fn what_is_said_of_a_slot_that_changes_meanwhile_counts_for_nothing() {
    let (_folder, table) = crowded(1);
    let (key, [before, after]) = (alike(1), [false, true].map(|is_spent| Slot::at(1, is_spent)));
    let answers: [fn() -> Result<bool, Error>; 3] =
        [|| Ok(true), || Ok(false), || Err(Error::TableFull)];
    for answer in answers {
        let mut seen = Vec::new();
        let found = table.find(at(&table, key), |slot| {
            seen.push(slot);
            match seen.len() {
                1 => table.replace(at(&table, key), before, after).and_then(|_| answer()),
                _ => Ok(true),
            }
        });
        assert!(found.unwrap());
        assert_eq!(seen, [before, after]);
        assert!(table.replace(at(&table, key), after, before).unwrap());
    }

    // Nor does the place of a coin whose spender takes it back while it is copied.
    let spent = Slot::spent_by(3, 0);
    assert!(table.replace(at(&table, key), before, spent).unwrap());
    let mut words = vec![0; GROUP_SLOTS];
    let stale = |_| table.replace(at(&table, key), spent, before).map(|_| 77);
    table.copy(table.number(key), &mut words, stale).unwrap();
    words.retain(|&word| word != 0);
    assert_eq!(words, [before.word(key.tag())]);
}

#[test]
fn a_coin_that_moves_to_a_bucket_which_was_looked_at_already_is_found() {
    let (_folder, table) = crowded(9);
    let (first, last) = (alike(1), alike(9));
    let [_, second] = last.buckets();
    let mut seen = Vec::new();
    let found = table.find(at(&table, last), |slot| {
        seen.push(slot.place().unwrap());
        if seen.len() == 8 {
            assert!(table.remove(at(&table, first), Slot::at(1, false)).unwrap());
            assert!(make_room(at(&table, last).group, second).is_some());
        }
        Ok(slot.place() == Some(9))
    });
    assert!(found.unwrap(), "the first bucket is looked at again");
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn coins_that_come_by_the_batch_are_found_though_their_group_was_split_meanwhile() {
    let params = caesure_consensus::Params::new(caesure_consensus::Network::Regtest);
    let genesis = crate::genesis_info(&params, &caesure_consensus::HeaderTree::new(&params));
    let ledger = crate::Ledger::in_memory(genesis, 9);
    let coins: Vec<(Key, Place)> = (1..=MANY).map(|place| (key(place), place)).collect();
    assert!(ledger.insert_all(&coins, true).unwrap().is_empty());
    let table = &ledger.shared.table;
    assert!(64 < table.groups() && (1..=MANY).all(|place| is_there(table, place)));
}

#[test]
fn a_table_that_was_saved_while_it_grew_has_what_it_had_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::new(1 << 30, folder.path().into(), None).unwrap();
    let first = MANY / 8;
    (1..=first).for_each(|place| insert(&table, place));
    let (path, mut last, mut groups) = (folder.path().join("saved"), first, Vec::new());
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let (mut words, mut bytes) = (vec![0; GROUP_SLOTS], vec![0; GROUP_BYTES]);
    while groups.len() < table.groups() {
        let stands = |slot: Slot| Ok(slot.place().unwrap());
        let (first, splits) = table.copy(groups.len(), &mut words, stands).unwrap();
        let live = group_bytes(&words, &mut bytes);
        groups.push(SavedGroup { first, splits, live, crc: crc32fast::hash(&bytes) });
        file.write_all_at(&bytes, (groups.len() * GROUP_BYTES) as u64).unwrap();
        // Groups that are saved, and others that are not, are split meanwhile.
        let more = if groups.len() < 64 { 8_000 } else { 0 };
        (last + 1..=last + more).for_each(|place| insert(&table, place));
        last += more;
    }
    assert!(groups.iter().any(|group| group.splits == 0), "some were saved before they were split");
    assert!(64 < groups.len(), "and some after");
    assert!(groups.iter().all(SavedGroup::is_sound));

    // Coins that come first to a group that nobody has looked at do not take the places of its own.
    let (again, same) = (file.try_clone().unwrap(), path.clone());
    let source = Source { file: again, path: same, groups: groups.clone() };
    let saved = Table::new(1 << 30, folder.path().into(), Some(source)).unwrap();
    (last + 1..=last + 20_000).for_each(|place| insert(&saved, place));
    assert!((1..=first).chain(last + 1..=last + 20_000).all(|place| is_there(&saved, place)));

    let source = Source { file, path, groups };
    let saved = Table::new(1 << 30, folder.path().into(), Some(source)).unwrap();
    assert!((1..=first).all(|place| is_there(&saved, place)));
    // It goes on as the other one would.
    (last + 1..=MANY).for_each(|place| insert(&saved, place));
    assert!((1..=first).chain(last + 1..=MANY).all(|place| is_there(&saved, place)));
    let all = places(&saved);
    assert!(all.is_sorted_by(|a, b| a < b), "none stands there twice");
    assert!(all.contains(&first) && all.contains(&MANY));
}

#[test]
fn a_slot_without_a_coin_is_nobodys_though_its_bits_are_those_of_a_key() {
    let (_folder, table) = crowded(0);
    let zero = Key(0x1000_0000_0000_0321);
    assert_eq!(zero.tag(), 0);
    assert!(
        !table.find(at(&table, zero), |_| Ok(true)).unwrap() && at(&table, zero).peek().is_none()
    );
    assert!(table.insert_new(at(&table, zero), 7, |_| Ok(true)).unwrap());
    assert_eq!(at(&table, zero).peek().and_then(Slot::place), Some(7));
}
