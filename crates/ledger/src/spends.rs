//! Which blocks of the window have spent which coins: words in tables with open addressing, read
//! without a lock while one thread writes.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::mapping::{Words, prefetch};
use crate::table::Place;

const SHARDS: usize = 16;
const EMPTY: u64 = 0;
/// A word that was taken out; the search goes on behind it.
const GONE: u64 = 1;
const TAKEN: u64 = 1 << 63;
const NUMBER_SHIFT: u32 = 40;

/// A set of pairs of a coin's place and the number of a block. A word has the place, and the number
/// above it.
#[derive(Debug)]
pub(crate) struct Spends {
    shards: Box<[ArcSwap<Words>]>,
    own: Mutex<Box<[Own]>>,
}

/// What the writer knows of a shard.
#[derive(Debug)]
struct Own {
    words: Arc<Words>,
    /// How many words are taken, and how many are not empty.
    live: usize,
    used: usize,
}

/// The writer's side.
pub(crate) struct Writer<'a> {
    shards: &'a [ArcSwap<Words>],
    own: MutexGuard<'a, Box<[Own]>>,
}

fn empty(len: usize) -> Arc<Words> {
    Arc::new(Words::anonymous(len).expect("the system has address space"))
}

fn mix(place: Place) -> (usize, usize) {
    let mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((mixed >> 60) as usize, (mixed >> 20) as usize)
}

fn word(place: Place, number: u16) -> u64 {
    TAKEN | u64::from(number) << NUMBER_SHIFT | place
}

impl Spends {
    pub(crate) fn new() -> Self {
        let own: Box<[Own]> =
            (0..SHARDS).map(|_| Own { words: empty(16), live: 0, used: 0 }).collect();
        let shards = own.iter().map(|own| ArcSwap::new(Arc::clone(&own.words))).collect();
        Self { shards, own: Mutex::new(own) }
    }

    /// Whether a block for which `is_one` holds has spent the coin.
    pub(crate) fn any(&self, place: Place, is_one: impl Fn(u16) -> bool) -> bool {
        let (shard, at) = mix(place);
        let words = self.shards[shard].load();
        let of_place = |word: u64| word & !(0xffff << NUMBER_SHIFT) == TAKEN | place;
        probe(words.as_slice(), at)
            .map(|slot| slot.load(Acquire))
            .take_while(|&word| word != EMPTY)
            .any(|word| of_place(word) && is_one((word >> NUMBER_SHIFT & 0x3ff) as u16))
    }

    pub(crate) fn writer(&self) -> Writer<'_> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        Writer { shards: &self.shards, own }
    }
}

fn prefetch_word(words: &Words, at: usize) {
    let words = words.as_slice();
    prefetch(&words[at & (words.len() - 1)]);
}

impl Writer<'_> {
    pub(crate) fn prefetch(&self, place: Place) {
        let (shard, at) = mix(place);
        prefetch_word(&self.own[shard].words, at);
    }

    pub(crate) fn insert(&mut self, place: Place, number: u16) {
        let (shard, at) = mix(place);
        let own = &mut self.own[shard];
        if own.words.as_slice().len() * 5 / 8 <= own.used {
            own.rebuild();
            // Readers of the old words miss nothing: what comes later concerns no world that they hold.
            self.shards[shard].store(Arc::clone(&own.words));
        }
        let free = probe(own.words.as_slice(), at).find(|slot| slot.load(Relaxed) <= GONE);
        let free = free.expect("a shard is never full");
        own.used += usize::from(free.load(Relaxed) == EMPTY);
        own.live += 1;
        free.store(word(place, number), Release);
    }

    pub(crate) fn remove(&mut self, place: Place, number: u16) {
        let (shard, at) = mix(place);
        let own = &mut self.own[shard];
        let mut slots =
            probe(own.words.as_slice(), at).take_while(|slot| slot.load(Relaxed) != EMPTY);
        if let Some(slot) = slots.find(|slot| slot.load(Relaxed) == word(place, number)) {
            slot.store(GONE, Release);
            own.live -= 1;
        }
    }
}

/// All words from a place on, once round.
fn probe(words: &[AtomicU64], at: usize) -> impl Iterator<Item = &AtomicU64> {
    let mask = words.len() - 1;
    (0..words.len()).map(move |step| &words[(at + step) & mask])
}

impl Own {
    /// Copies what is taken into words of the right number.
    fn rebuild(&mut self) {
        let new = empty((self.live * 5 / 2).next_power_of_two().max(16));
        for slot in self.words.as_slice() {
            let word = slot.load(Relaxed);
            if GONE < word {
                let (_, at) = mix(word & ((1 << NUMBER_SHIFT) - 1));
                let free = probe(new.as_slice(), at).find(|slot| slot.load(Relaxed) == EMPTY);
                free.expect("the new words are more").store(word, Relaxed);
            }
        }
        self.used = self.live;
        self.words = new;
    }
}

#[cfg(test)]
mod tests {
    use caesure_consensus::{HeaderTree, Network, Params, Work};
    use caesure_wire::{
        Block, BlockHash, Header, OutPoint, Transaction, TxIn, TxOut, Txid, encode_block,
    };

    use crate::{Ledger, Sums, genesis_info};

    /// Connects a block, whose work is its number, that spends an outpoint and makes a coin.
    fn connect(
        ledger: &mut Ledger,
        prev_block: BlockHash,
        number: u32,
        prevout: OutPoint,
    ) -> (BlockHash, OutPoint) {
        let header = Header { prev_block, nonce: number, ..Header::default() };
        let tx = |prevout, outputs| Transaction {
            version: 1,
            inputs: vec![TxIn { prevout, sequence: number, ..TxIn::default() }],
            outputs,
            lock_time: 0,
        };
        let coin = TxOut { value: 1, script_pubkey: vec![0x51] };
        let mut txs = vec![tx(OutPoint::NULL, vec![coin])];
        txs.extend((prevout != OutPoint::NULL).then(|| tx(prevout, Vec::new())));
        let encoded: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        let block = Block::parse(encode_block(&header, &encoded)).unwrap();
        let txids: Vec<Txid> = txs.iter().map(Transaction::txid).collect();
        let mut chain_work = [0; 32];
        chain_work[28..].copy_from_slice(&number.to_be_bytes());
        let sums = Sums { chain_work: Work::from_be_bytes(chain_work), fees: 0, subsidy: 1 };
        let resolved = ledger.resolve(&block, &txids, false).unwrap().unwrap();
        ledger.extend(&block, &txids, &resolved, sums).unwrap();
        ledger.commit(&block.hash()).unwrap();
        (block.hash(), OutPoint { txid: txids[0], vout: 0 })
    }

    #[test]
    fn nothing_is_left_of_a_coin_that_two_forks_spent_once_it_is_gone_everywhere() {
        let params = Params::new(Network::Regtest);
        let genesis = genesis_info(&params, &HeaderTree::new(&params));
        let mut ledger = Ledger::in_memory(genesis, 2);
        let live = |ledger: &Ledger| -> usize {
            ledger.shared.spends.writer().own.iter().map(|own| own.live).sum()
        };
        let (first, coin) = connect(&mut ledger, genesis.hash, 1, OutPoint::NULL);
        let (one, _) = connect(&mut ledger, first, 2, coin);
        assert_eq!(live(&ledger), 0, "its slot says who has spent it");
        let (two, _) = connect(&mut ledger, first, 3, coin);
        assert_eq!(live(&ledger), 2);
        let (mut tip, mut number) = (two, 4);
        while ledger.root().height < 2 {
            tip = connect(&mut ledger, tip, number, OutPoint::NULL).0;
            number += 1;
        }
        assert_eq!((ledger.holds(&one), live(&ledger)), (false, 0));
    }
}
