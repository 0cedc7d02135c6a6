use core::mem;
use std::collections::BTreeMap;

use caesure_hash::Sha256;
use caesure_wire::{Endpoint, NetAddress, TimedAddress};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::saved::{self, PEERS};
use crate::{NetworkKind, Random, SavedError, is_routable, net_group};

const NEW_BUCKETS: usize = 1024;
const TRIED_BUCKETS: usize = 256;
const BUCKET_SIZE: usize = 64;
/// In how many buckets of a table addresses of one group, or from one source's group, can be.
const TRIED_BUCKETS_PER_GROUP: u64 = 8;
const NEW_BUCKETS_PER_SOURCE_GROUP: u64 = 64;
/// In how many places of the new table an address can be.
const MAX_REFERENCES: usize = 8;
const MAX_COLLISIONS: usize = 10;
/// A place of a table that is not taken.
const EMPTY: u32 = u32::MAX;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// An address and what is known of it. Core: `AddrInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookEntry {
    /// The address, its services, and when it was last seen.
    pub address: TimedAddress,
    /// Who told of it first.
    pub source: NetAddress,
    /// When it was last dialled, in seconds since 1970; 0 if not since the start.
    pub last_try: u64,
    /// When a failure to reach it was last counted; 0 if not since the start.
    pub last_count: u64,
    /// When it was last reached; 0 if never.
    pub last_success: u64,
    /// How often it was dialled in vain since.
    pub attempts: u32,
    /// Whether it is in the tried table.
    pub is_tried: bool,
    /// Its places in its table: one to eight of the new, one of the tried.
    slots: Vec<u16>,
}

impl BookEntry {
    fn new(address: TimedAddress, source: NetAddress) -> Self {
        Self { address, source, ..Self::default() }
    }

    /// Returns whether there is so little hope of it that it makes place for any other. Core:
    /// `AddrInfo::IsTerrible`.
    #[must_use]
    pub fn is_terrible(&self, now: u64) -> bool {
        let time = u64::from(self.address.time);
        if now.saturating_sub(self.last_try) <= MINUTE {
            return false;
        }
        time > now.saturating_add(10 * MINUTE)
            || now.saturating_sub(time) > 30 * DAY
            || (self.last_success == 0 && self.attempts >= 3)
            || (now.saturating_sub(self.last_success) > 7 * DAY && self.attempts >= 10)
    }

    /// Returns in how many places of its table it is.
    #[must_use]
    pub const fn references(&self) -> usize {
        self.slots.len()
    }

    /// Returns the chance of being dialled when met, against that of one never tried.
    fn chance(&self, now: u64) -> f64 {
        let recent = if now.saturating_sub(self.last_try) < 10 * MINUTE { 0.01 } else { 1.0 };
        recent * 0.66_f64.powi(self.attempts.min(8).cast_signed())
    }
}

/// The addresses of nodes that we know, in two tables of buckets of 64 places, whose size nobody can
/// change: 1,024 buckets of new ones, that others told of, and 256 of tried ones, that we reached. A
/// secret key, the group of the address and that of its source decide on its bucket, so that one
/// group reaches at most 64 buckets of the new and 8 of the tried. Core: `AddrMan`.
#[derive(Clone, Debug)]
pub struct AddressBook {
    key: [u8; 32],
    /// All entries, in no order; by number in the tables and in the map.
    entries: Vec<BookEntry>,
    by_endpoint: HashMap<Endpoint, u32, FixedState>,
    new: Vec<u32>,
    tried: Vec<u32>,
    /// Entries of the new table that were reached, but whose place in the tried table is taken.
    collisions: Vec<Endpoint>,
    /// When any endpoint was last reached.
    last_good: u64,
    /// How many are new and tried.
    counts: BTreeMap<NetworkKind, (usize, usize)>,
}

impl AddressBook {
    /// Makes an empty book. The key is secret and random.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let seed = u64::from_le_bytes(core::array::from_fn(|i| key[i]));
        Self {
            key,
            entries: Vec::new(),
            by_endpoint: HashMap::with_hasher(FixedState::with_seed(seed)),
            new: vec![EMPTY; NEW_BUCKETS * BUCKET_SIZE],
            tried: vec![EMPTY; TRIED_BUCKETS * BUCKET_SIZE],
            collisions: Vec::new(),
            last_good: 1,
            counts: BTreeMap::new(),
        }
    }

    /// Takes addresses that `source` told of, the time of each put back by `penalty` seconds; returns
    /// how many were put into the table. Core: `Add`.
    pub fn add(
        &mut self,
        addresses: &[TimedAddress],
        source: &NetAddress,
        penalty: u64,
        now: u64,
    ) -> usize {
        addresses.iter().filter(|address| self.add_one(address, source, penalty, now)).count()
    }

    /// The endpoint was reached, and a node is there: moves it to the tried table, unless another
    /// has its place, which is tested first. Returns whether it was moved. Core: `Good`.
    pub fn good(&mut self, endpoint: &Endpoint, now: u64) -> bool {
        self.make_good(endpoint, true, now)
    }

    /// The endpoint is being dialled; a failure counts when `counts_failure`, once until another is
    /// reached. Core: `Attempt`.
    pub fn attempt(&mut self, endpoint: &Endpoint, counts_failure: bool, now: u64) {
        let last_good = self.last_good;
        if let Some(entry) = self.entry(endpoint) {
            entry.last_try = now;
            if counts_failure && entry.last_count < last_good {
                entry.last_count = now;
                entry.attempts = entry.attempts.saturating_add(1);
            }
        }
    }

    /// A connection to the endpoint ended that worked: it was seen now. Core: `Connected`.
    pub fn connected(&mut self, endpoint: &Endpoint, now: u64) {
        if let Some(entry) = self.entry(endpoint)
            && now.saturating_sub(entry.address.time.into()) > 20 * MINUTE
        {
            entry.address.time = u32::try_from(now).unwrap_or(u32::MAX);
        }
    }

    /// Sets what the node offers. Core: `SetServices`.
    pub fn set_services(&mut self, endpoint: &Endpoint, services: u64) {
        if let Some(entry) = self.entry(endpoint) {
            entry.address.services = services;
        }
    }

    /// Chooses an endpoint to dial, of any of the networks, or of all if none is named: from either
    /// table, those tried lately or often in vain more rarely. Returns it and when it was last
    /// dialled. Core: `Select`.
    #[must_use]
    pub fn select(
        &self,
        new_only: bool,
        networks: &[NetworkKind],
        random: &mut Random,
        now: u64,
    ) -> Option<(Endpoint, u64)> {
        let is_wanted = |kind: &NetworkKind| networks.is_empty() || networks.contains(kind);
        let counts = self.counts.iter().filter(|(kind, _)| is_wanted(kind));
        let (new, tried) = counts.fold((0, 0), |sum, (_, add)| (sum.0 + add.0, sum.1 + add.1));
        let table = match (new, tried) {
            (0, 0) => return None,
            (0, _) if new_only => return None,
            (0, _) => &self.tried,
            (_, 0) => &self.new,
            _ if new_only || random.below(2) == 0 => &self.new,
            _ => &self.tried,
        };
        // Core draws from all buckets until one is not empty, which is slow in a small book.
        let (buckets, _) = table.as_chunks::<BUCKET_SIZE>();
        let is_filled = |bucket: &&[u32; BUCKET_SIZE]| bucket.iter().copied().min() < Some(EMPTY);
        let buckets: Vec<_> = buckets.iter().filter(is_filled).collect();
        let mut factor = 1.0;
        loop {
            let bucket = buckets[random.index(buckets.len())];
            let (before, from) = bucket.split_at(random.index(BUCKET_SIZE));
            let mut found = from.iter().chain(before).filter_map(|&i| self.entries.get(i as usize));
            let Some(entry) = found.find(|entry| is_wanted(&kind(entry))) else { continue };
            let draw = f64::from(u32::from_le_bytes(random.bytes())) / 2_f64.powi(32);
            if draw < factor * entry.chance(now) {
                return Some((entry.address.endpoint.clone(), entry.last_try));
            }
            factor *= 1.2;
        }
    }

    /// Chooses a tried endpoint whose place another wants, to be tested. Returns it and when it was
    /// last dialled. Core: `SelectTriedCollision`.
    #[must_use]
    pub fn select_tried_collision(&self, random: &mut Random) -> Option<(Endpoint, u64)> {
        if self.collisions.is_empty() {
            return None;
        }
        let endpoint = &self.collisions[random.index(self.collisions.len())];
        let old = self.entries.get(self.tried[self.tried_slot(endpoint)] as usize)?;
        Some((old.address.endpoint.clone(), old.last_try))
    }

    /// Ends the tests that are over: those not reached make place. Core: `ResolveCollisions`.
    pub fn resolve_collisions(&mut self, now: u64) {
        for endpoint in self.collisions.clone() {
            let Some(new) = self.get(&endpoint) else { continue };
            let since = |time| now.saturating_sub(time);
            let old = self.entries.get(self.tried[self.tried_slot(&endpoint)] as usize);
            let is_kept = old.is_some_and(|old| since(old.last_success) < 4 * HOUR);
            let is_replaced = old.is_none_or(|old| match since(old.last_try) {
                // It has a minute to answer.
                tried if tried < 4 * HOUR => tried > MINUTE,
                // It could not be tested.
                _ => since(new.last_success) > 40 * MINUTE,
            });
            if is_kept || is_replaced {
                self.collisions.retain(|collision| *collision != endpoint);
            }
            if is_replaced && !is_kept {
                self.make_good(&endpoint, false, now);
            }
        }
    }

    /// Returns addresses at random that are not hopeless: at most `max` (0: any number) and
    /// `max_percent` of all (0: all), of one network if named. Core: `GetAddr`.
    #[must_use]
    pub fn addresses(
        &self,
        max: usize,
        max_percent: usize,
        network: Option<NetworkKind>,
        random: &mut Random,
        now: u64,
    ) -> Vec<TimedAddress> {
        let or_all = |limit, none| if limit == 0 { none } else { limit };
        let share = or_all(max_percent.min(100), 100) * self.entries.len() / 100;
        let limit = share.min(or_all(max, usize::MAX));
        let mut order: Vec<&BookEntry> = self.entries.iter().collect();
        let mut addresses = Vec::new();
        for i in 0..order.len() {
            if addresses.len() >= limit {
                break;
            }
            let chosen = i + random.index(order.len() - i);
            order.swap(i, chosen);
            let entry = order[i];
            let class = NetworkKind::class_of(&entry.address.endpoint.address);
            if network.is_none_or(|network| network == class) && !entry.is_terrible(now) {
                addresses.push(entry.address.clone());
            }
        }
        addresses
    }

    /// Returns how many addresses there are; at most 81,920.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many addresses of a network are new and tried.
    #[must_use]
    pub fn count(&self, network: NetworkKind) -> (usize, usize) {
        self.counts.get(&network).copied().unwrap_or_default()
    }

    /// Returns what is known of an endpoint.
    #[must_use]
    pub fn get(&self, endpoint: &Endpoint) -> Option<&BookEntry> {
        self.by_endpoint.get(endpoint).map(|&index| &self.entries[index as usize])
    }

    /// Returns the places of a table that are taken, in order: bucket, position, entry. Core:
    /// `GetEntries`.
    pub fn table(&self, tried: bool) -> impl Iterator<Item = (usize, usize, &BookEntry)> {
        let table = if tried { &self.tried } else { &self.new };
        table.iter().enumerate().filter_map(|(slot, &index)| {
            let entry = self.entries.get(index as usize)?;
            Some((slot / BUCKET_SIZE, slot % BUCKET_SIZE, entry))
        })
    }

    /// Writes `peers.bin`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = saved::begin(PEERS);
        file.extend(self.key);
        for entry in &self.entries {
            let TimedAddress { time, services, endpoint } = &entry.address;
            endpoint.address.encode_v2_to(&mut file);
            file.extend(endpoint.port.to_le_bytes());
            file.extend(time.to_le_bytes());
            file.extend(services.to_le_bytes());
            entry.source.encode_v2_to(&mut file);
            file.extend(entry.last_success.to_le_bytes());
            file.extend(entry.attempts.to_le_bytes());
            let buckets = if entry.is_tried { &[][..] } else { &entry.slots };
            file.push(buckets.len().to_le_bytes()[0]);
            for &slot in buckets {
                file.extend((slot / 64).to_le_bytes());
            }
        }
        saved::seal(file)
    }

    /// Reads `peers.bin`. Entries that have no place in their table are left out.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SavedError> {
        let mut reader = saved::open(PEERS, bytes)?;
        let mut book = Self::new(reader.array()?);
        while !reader.is_empty() {
            let address = NetAddress::read_v2(&mut reader)?;
            let endpoint = Endpoint { address, port: u16::from_le_bytes(reader.array()?) };
            let time = reader.u32()?;
            let services = u64::from_le_bytes(reader.array()?);
            let address = TimedAddress { time, services, endpoint };
            let mut entry = BookEntry::new(address, NetAddress::read_v2(&mut reader)?);
            entry.last_success = u64::from_le_bytes(reader.array()?);
            entry.attempts = reader.u32()?;
            let endpoint = &entry.address.endpoint;
            let references = usize::from(reader.u8()?);
            if references == 0 {
                entry.is_tried = true;
                entry.slots.push(slot_number(book.tried_slot(endpoint)));
            }
            for _ in 0..references {
                let bucket = usize::from(u16::from_le_bytes(reader.array()?));
                if bucket >= NEW_BUCKETS || entry.slots.len() == MAX_REFERENCES {
                    return Err(SavedError::Malformed);
                }
                entry.slots.push(slot_number(book.new_slot(endpoint, bucket)));
            }
            book.restore(entry);
        }
        Ok(book)
    }

    /// Puts a saved entry into those of its places that are free.
    fn restore(&mut self, mut entry: BookEntry) {
        let endpoint = &entry.address.endpoint;
        if !is_routable(&endpoint.address) || self.by_endpoint.contains_key(endpoint) {
            return;
        }
        let index = self.next_index();
        let table = if entry.is_tried { &mut self.tried } else { &mut self.new };
        entry.slots.retain(|&slot| {
            let place = &mut table[usize::from(slot)];
            let is_free = *place == EMPTY;
            if is_free {
                *place = index;
            }
            is_free
        });
        if !entry.slots.is_empty() {
            self.push(entry);
        }
    }

    fn add_one(
        &mut self,
        address: &TimedAddress,
        source: &NetAddress,
        penalty: u64,
        now: u64,
    ) -> bool {
        let endpoint = &address.endpoint;
        if !is_routable(&endpoint.address) {
            return false;
        }
        let told = u64::from(address.time);
        let penalty = if endpoint.address == *source { 0 } else { penalty.min(told) };
        let time = u32::try_from(told - penalty).expect("it is not above a u32");
        let bucket = self.new_bucket(&endpoint.address, source);
        // Each further place is half as likely as the one before; without the key nobody can tell.
        let draw =
            self.hash(&[b"S", &endpoint_key(endpoint), &bucket.to_le_bytes(), &now.to_le_bytes()]);
        let mut references = 0;
        if let Some(entry) = self.entry(endpoint) {
            let interval = if now < told + DAY { HOUR } else { DAY };
            if u64::from(entry.address.time) + interval + penalty < told {
                entry.address.time = time;
            }
            entry.address.services |= address.services;
            references = entry.slots.len();
            if address.time <= entry.address.time
                || entry.is_tried
                || references == MAX_REFERENCES
                || !draw.is_multiple_of(1 << references)
            {
                return false;
            }
        }
        let slot = self.new_slot(endpoint, bucket);
        if let Some(existing) = self.entries.get(self.new[slot] as usize) {
            let yields = existing.address.endpoint != *endpoint
                && (existing.is_terrible(now) || (existing.slots.len() > 1 && references == 0));
            if !yields {
                return false;
            }
            self.clear_new(slot);
        }
        if references == 0 {
            let address = TimedAddress { time, ..address.clone() };
            self.push(BookEntry::new(address, source.clone()));
        }
        let index = self.by_endpoint[endpoint];
        self.place_new(slot, index);
        true
    }

    fn make_good(&mut self, endpoint: &Endpoint, test_before_evict: bool, now: u64) -> bool {
        self.last_good = now;
        let Some(entry) = self.entry(endpoint) else { return false };
        entry.last_success = now;
        entry.last_try = now;
        entry.attempts = 0;
        if entry.is_tried {
            return false;
        }
        let slot = self.tried_slot(endpoint);
        if test_before_evict && self.tried[slot] != EMPTY {
            if self.collisions.len() < MAX_COLLISIONS && !self.collisions.contains(endpoint) {
                self.collisions.push(endpoint.clone());
            }
            return false;
        }
        let places = self.entry(endpoint).map(|entry| mem::take(&mut entry.slots));
        for place in places.into_iter().flatten() {
            self.new[usize::from(place)] = EMPTY;
        }
        // Who has the place moves back to the new table.
        if let Some(old) = self.entries.get(self.tried[slot] as usize) {
            let bucket = self.new_bucket(&old.address.endpoint.address, &old.source);
            let place = self.new_slot(&old.address.endpoint, bucket);
            // This may give other entries new numbers.
            self.clear_new(place);
            let index = self.tried[slot];
            self.tried[slot] = EMPTY;
            self.set_tried(index, false);
            self.entries[index as usize].slots.clear();
            self.place_new(place, index);
        }
        let index = self.by_endpoint[endpoint];
        self.set_tried(index, true);
        self.tried[slot] = index;
        self.entries[index as usize].slots.push(slot_number(slot));
        true
    }

    fn set_tried(&mut self, index: u32, is_tried: bool) {
        let entry = &mut self.entries[index as usize];
        entry.is_tried = is_tried;
        let (new, tried) = self.counts.entry(kind(entry)).or_default();
        let (from, to) = if is_tried { (new, tried) } else { (tried, new) };
        *from -= 1;
        *to += 1;
    }

    fn place_new(&mut self, slot: usize, index: u32) {
        self.new[slot] = index;
        self.entries[index as usize].slots.push(slot_number(slot));
    }

    /// Frees a place of the new table. Who has no other is forgotten.
    fn clear_new(&mut self, slot: usize) {
        let index = mem::replace(&mut self.new[slot], EMPTY);
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        entry.slots.retain(|&other| usize::from(other) != slot);
        if entry.slots.is_empty() {
            self.remove(index);
        }
    }

    /// Takes an entry out that is in no place. The last one gets its number.
    fn remove(&mut self, index: u32) {
        let entry = self.entries.swap_remove(index as usize);
        self.by_endpoint.remove(&entry.address.endpoint);
        self.collisions.retain(|endpoint| *endpoint != entry.address.endpoint);
        self.counts.entry(kind(&entry)).or_default().0 -= 1;
        if let Some(moved) = self.entries.get(index as usize) {
            let table = if moved.is_tried { &mut self.tried } else { &mut self.new };
            for &slot in &moved.slots {
                table[usize::from(slot)] = index;
            }
            self.by_endpoint.insert(moved.address.endpoint.clone(), index);
        }
    }

    fn push(&mut self, entry: BookEntry) {
        let (new, tried) = self.counts.entry(kind(&entry)).or_default();
        *if entry.is_tried { tried } else { new } += 1;
        self.by_endpoint.insert(entry.address.endpoint.clone(), self.next_index());
        self.entries.push(entry);
    }

    fn next_index(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("there are fewer than places")
    }

    fn entry(&mut self, endpoint: &Endpoint) -> Option<&mut BookEntry> {
        self.by_endpoint.get(endpoint).map(|&index| &mut self.entries[index as usize])
    }

    /// Core: `GetTriedBucket`, `GetBucketPosition`.
    fn tried_slot(&self, endpoint: &Endpoint) -> usize {
        let key = endpoint_key(endpoint);
        let group = group_key(&endpoint.address);
        let spread = self.hash(&[&key]) % TRIED_BUCKETS_PER_GROUP;
        let bucket = below(self.hash(&[&group, &spread.to_le_bytes()]), TRIED_BUCKETS);
        self.slot(b"K", bucket, &key)
    }

    /// Core: `GetNewBucket`.
    fn new_bucket(&self, address: &NetAddress, source: &NetAddress) -> usize {
        let source = group_key(source);
        let spread = self.hash(&[&group_key(address), &source]) % NEW_BUCKETS_PER_SOURCE_GROUP;
        below(self.hash(&[&source, &spread.to_le_bytes()]), NEW_BUCKETS)
    }

    fn new_slot(&self, endpoint: &Endpoint, bucket: usize) -> usize {
        self.slot(b"N", bucket, &endpoint_key(endpoint))
    }

    fn slot(&self, table: &[u8; 1], bucket: usize, key: &[u8]) -> usize {
        let number = u32::try_from(bucket).expect("there are 1,024").to_le_bytes();
        bucket * BUCKET_SIZE + below(self.hash(&[table, &number, key]), BUCKET_SIZE)
    }

    /// Core: `GetCheapHash` of what is behind the key.
    fn hash(&self, parts: &[&[u8]]) -> u64 {
        let start = Sha256::new().chain(&self.key);
        let digest = parts.iter().fold(start, |hash, part| hash.chain(part)).finish_double();
        u64::from_le_bytes(*digest.first_chunk().expect("it has 32 bytes"))
    }
}

fn kind(entry: &BookEntry) -> NetworkKind {
    NetworkKind::of(&entry.address.endpoint.address)
}

fn below(hash: u64, end: usize) -> usize {
    usize::try_from(hash % end as u64).expect("it is below a usize")
}

fn slot_number(slot: usize) -> u16 {
    u16::try_from(slot).expect("a table has at most 65,536 places")
}

/// Core: `CService::GetKey`, with its length before it.
fn endpoint_key(endpoint: &Endpoint) -> Vec<u8> {
    let mut key = match &endpoint.address {
        NetAddress::TorV3(key) | NetAddress::I2p(key) => key.to_vec(),
        NetAddress::Cjdns(ip) => ip.to_vec(),
        other => other.to_v1().to_vec(),
    };
    key.extend(endpoint.port.to_be_bytes());
    with_len(key)
}

fn group_key(address: &NetAddress) -> Vec<u8> {
    with_len(net_group(address))
}

fn with_len(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.insert(0, u8::try_from(bytes.len()).expect("it is short"));
    bytes
}

#[cfg(test)]
mod tests;
