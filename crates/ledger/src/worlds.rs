use std::sync::Arc;

use caesure_consensus::Coin;
use caesure_wire::{Block, BlockHash, OutPoint, Txid};
use hashbrown::{HashTable, hash_table};
use smallvec::SmallVec;

use crate::delta::{ById, own_coin};
use crate::hasher::Hasher;
use crate::log::NO_RECORD;
use crate::shared::Shared;
use crate::table::{Key, Place};
use crate::window::Entry;
use crate::{BlockInfo, Error, Resolved, World};

/// What a world is made of, for those who look at the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldSize {
    /// What is known of the block.
    pub info: BlockInfo,
    /// The block's parent.
    pub prev_block: BlockHash,
    /// How many coins the world has.
    pub coins: u64,
    /// How many coins the block made, those left out that it spends itself; 0 for a root that a
    /// snapshot made.
    pub created: u32,
    /// How many coins of earlier blocks the block spent; 0 for a root that a snapshot made.
    pub spent: u32,
    /// How many bytes the block's record takes in the log: all that its world costs on disk.
    pub bytes: u64,
}

/// What the inputs of a block spend.
struct Inputs {
    /// For each input the coin, if the block itself makes it.
    prevouts: Vec<Option<Coin>>,
    /// As in [`Resolved`].
    spent_here: Vec<(usize, u32, usize)>,
    /// What is to be looked up, its keys, and for which input.
    wanted: Vec<OutPoint>,
    keys: Vec<Key>,
    indices: Vec<usize>,
}

impl Inputs {
    fn new<B: AsRef<[u8]>>(block: &Block<B>, txids: &[Txid], hasher: &Hasher, height: u32) -> Self {
        let own = ById::new(txids, hasher);
        let mut prevouts: Vec<Option<Coin>> = Vec::with_capacity(block.input_count());
        let mut spent_here = Vec::new();
        let mut wanted: Vec<OutPoint> = Vec::with_capacity(block.input_count());
        let mut keys: Vec<Key> = Vec::with_capacity(block.input_count());
        let mut indices = Vec::with_capacity(block.input_count());
        // The numbers of what is wanted, by their keys.
        let mut seen = HashTable::with_capacity(block.input_count());
        for (tx_index, tx) in block.txs().enumerate().skip(1) {
            for outpoint in tx.inputs().map(|input| input.prevout) {
                let hash = hasher.of_txid(&outpoint.txid);
                if let Some(index) = own.get(&outpoint.txid, hash).filter(|&index| index < tx_index)
                {
                    spent_here.push((index, outpoint.vout, prevouts.len()));
                    prevouts.push(own_coin(block, height, index, outpoint.vout));
                    continue;
                }
                let key = hasher.key_of(hash, outpoint.vout);
                let is_same = |&at: &usize| wanted[at] == outpoint;
                if let hash_table::Entry::Vacant(place) =
                    seen.entry(key.0, is_same, |&at| keys[at].0)
                {
                    place.insert(wanted.len());
                    indices.push(prevouts.len());
                    wanted.push(outpoint);
                    keys.push(key);
                }
                prevouts.push(None);
            }
        }
        spent_here.sort_unstable();
        spent_here.dedup_by(|(index, vout, input), first| {
            let is_again = (*index, *vout) == (first.0, first.1);
            if is_again {
                prevouts[*input] = None;
            }
            is_again
        });
        Self { prevouts, spent_here, wanted, keys, indices }
    }
}

/// The readers' side of a [`Ledger`](crate::Ledger): what other threads ask while one connects blocks.
///
/// A clone costs one count of owners. While the ledger is stepped back below its root, the tip is of
/// a world that answers [`Error::NotHeld`](crate::Error::NotHeld).
#[derive(Clone, Debug)]
pub struct Worlds(pub(crate) Arc<Shared>);

impl Worlds {
    /// Returns the tip's world: the most work, and of two the one that was complete first, unless
    /// another was [chosen](crate::Ledger::choose).
    #[must_use]
    pub fn tip(&self) -> World {
        let tip = Arc::clone(&self.0.read().tip);
        self.world_of(tip)
    }

    /// Returns the world of a block, if it is held. Extended blocks have none before they are
    /// committed.
    #[must_use]
    pub fn world(&self, hash: &BlockHash) -> Option<World> {
        let entry = self.0.read().find(hash).filter(|entry| entry.is_committed()).cloned()?;
        Some(self.world_of(entry))
    }

    fn world_of(&self, entry: Arc<Entry>) -> World {
        let info = self.seen(entry.info);
        World::new(&self.0, entry, info, self.0.verified_fees().is_some())
    }

    /// What is said of a block: with the fees up to the base, if they are known.
    fn seen(&self, info: BlockInfo) -> BlockInfo {
        BlockInfo { fees: info.fees + self.0.verified_fees().unwrap_or(0), ..info }
    }

    /// Returns all blocks whose worlds are held, by height.
    #[must_use]
    pub fn worlds(&self) -> Vec<BlockInfo> {
        let window = self.0.read();
        let shown = window.entries().filter(|entry| entry.is_committed());
        by_height(shown.map(|entry| self.seen(entry.info)).collect())
    }

    /// Returns the coins of earlier blocks that a block spends, in the order of its inputs; those
    /// that it makes itself are left out. The block may be below the oldest world, for what every
    /// block did is kept; the walk to it touches 164 bytes a block. None when the block was never
    /// connected here, is below a snapshot, or on a branch that was dropped.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn spent(&self, hash: &BlockHash, height: u32) -> Result<Option<Vec<Coin>>, Error> {
        let log = &self.0.log;
        let (held, root) = {
            let window = self.0.read();
            (window.find(hash).map(|entry| entry.record), window.root.record)
        };
        let mut at = held.unwrap_or(root);
        loop {
            if at == NO_RECORD {
                return Ok(None);
            }
            let head = log.head_at(at)?;
            if head.info.hash == *hash {
                break;
            }
            if head.info.height <= height {
                return Ok(None);
            }
            at = head.parent_record;
        }
        let (_, record) = log.block(at)?;
        let spent = log.spent(&record)?;
        spent.map(|(_, place)| Ok(log.coin(place)?.coin())).collect::<Result<_, _>>().map(Some)
    }

    /// Finds the coins that a block spends; none when its parent's world is not held.
    ///
    /// Only where BIP-0030 is enforced, `looks_for_overwrites` pays for its look-ups.
    ///
    /// # Errors
    /// When a coin cannot be read, or is not what was written: that says nothing of the block.
    pub fn resolve<B: AsRef<[u8]>>(
        &self,
        block: &Block<B>,
        txids: &[Txid],
        looks_for_overwrites: bool,
    ) -> Result<Option<Resolved>, Error> {
        let prev_block = block.header().prev_block;
        let Ok(parent) = self.0.find(&prev_block) else { return Ok(None) };
        let height = parent.info.height + 1;
        let hasher = self.0.log.hasher();
        let Inputs { mut prevouts, spent_here, wanted, keys, indices } =
            Inputs::new(block, txids, hasher, height);
        let (mut gone, mut gone_value) = (Vec::with_capacity(wanted.len()), 0);
        self.0.look_many(&parent, &wanted, &keys, |at, found| {
            if let Some(found) = found {
                gone.push((found.key, found.place));
                gone_value += found.view.value;
                prevouts[indices[at]] = Some(found.view.coin());
            }
        })?;
        let outpoints = |index: usize| {
            let count = block.tx(index).output_count();
            (0..).take(count).map(move |vout| OutPoint { txid: txids[index], vout })
        };
        // The coinbase of two blocks of 2010 repeats an earlier one, whose coin is then gone.
        let first: Vec<OutPoint> = (0..block.tx_count().min(1)).flat_map(outpoints).collect();
        let mut overwrites = false;
        self.0.look_many(&parent, &first, &self.0.keys(&first), |_, found| {
            if let Some(found) = found {
                overwrites = looks_for_overwrites;
                gone.push((found.key, found.place));
                gone_value += found.view.value;
            }
        })?;
        if looks_for_overwrites {
            let others: Vec<OutPoint> = (1..block.tx_count()).flat_map(outpoints).collect();
            let keys = self.0.keys(&others);
            let note = |_, found: Option<_>| overwrites |= found.is_some();
            self.0.look_many(&parent, &others, &keys, note)?;
        }
        let prevouts = prevouts.into();
        let hash = block.hash();
        Ok(Some(Resolved {
            prevouts,
            overwrites,
            hash,
            prev_block,
            height,
            gone,
            gone_value,
            spent_here,
        }))
    }

    /// Returns the coins that each transaction of a block spends, those that the block makes itself
    /// too; none for the first, which spends nothing. None as a whole as [`spent`](Self::spent).
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn spent_lists<B: AsRef<[u8]>>(
        &self,
        block: &Block<B>,
        height: u32,
    ) -> Result<Option<Vec<Vec<Coin>>>, Error> {
        let Some(coins) = self.spent(&block.hash(), height)? else { return Ok(None) };
        let mut coins = coins.into_iter();
        let txids = block.txids();
        let hasher = self.0.log.hasher();
        let own = ById::new(&txids, hasher);
        let mut lists = vec![Vec::new()];
        for (index, tx) in block.txs().enumerate().skip(1) {
            let coin = |outpoint: OutPoint| {
                let made = own.get(&outpoint.txid, hasher.of_txid(&outpoint.txid));
                let made = made.filter(|made| *made < index);
                let own = made.and_then(|made| own_coin(block, height, made, outpoint.vout));
                own.or_else(|| coins.next())
            };
            let list: Option<Vec<Coin>> =
                tx.inputs().map(|input| input.prevout).map(coin).collect();
            let Some(list) = list else { return Ok(None) };
            lists.push(list);
        }
        Ok(Some(lists))
    }

    /// Returns all blocks whose worlds are held, by height, with their sizes. While a block is
    /// connected, or leaves the window, the coins may be off by what it makes or spends.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn sizes(&self) -> Result<Vec<WorldSize>, Error> {
        let (entries, root): (Vec<Arc<Entry>>, _) = {
            let window = self.0.read();
            (window.entries().cloned().collect(), Arc::clone(&window.root))
        };
        let in_table = self.0.table.live() + self.0.extras.load().values().map(count).sum::<u64>();
        let (mut sizes, mut changes, mut at_root) = (Vec::new(), Vec::new(), in_table);
        for entry in &entries {
            let head = match entry.record {
                NO_RECORD => None,
                at => Some(self.0.log.head_at(at)?),
            };
            let [created, spent] = head.map_or([0; 2], |head| [head.created, head.spent]);
            if entry.record != root.record {
                at_root = at_root.saturating_sub(created.into());
                changes.push((entry.number, i64::from(created) - i64::from(spent)));
            }
            if entry.is_committed() {
                let (info, prev_block) = (self.seen(entry.info), entry.prev_block);
                let bytes = head.map_or(0, |head| head.record_len());
                sizes
                    .push((entry, WorldSize { info, prev_block, coins: 0, created, spent, bytes }));
            }
        }
        for (entry, size) in &mut sizes {
            let own = changes.iter().filter(|(number, _)| entry.is_on(*number));
            size.coins = at_root.saturating_add_signed(own.map(|(_, change)| change).sum());
        }
        let mut sizes: Vec<WorldSize> = sizes.into_iter().map(|(_, size)| size).collect();
        sizes.sort_by_key(|size| (size.info.height, size.info.hash));
        Ok(sizes)
    }

    /// Returns the bytes of the log, of which nothing is ever taken away.
    #[must_use]
    pub fn log_len(&self) -> u64 {
        self.0.log.len()
    }

    /// Returns the oldest block whose world is held, the ancestor of all others.
    #[must_use]
    pub fn root(&self) -> BlockInfo {
        self.seen(self.0.read().root.info)
    }

    /// Returns the tips of all forks that are held, by height.
    #[must_use]
    pub fn leaves(&self) -> Vec<BlockInfo> {
        let leaves = self.0.read().leaves();
        by_height(leaves.into_iter().map(|leaf| self.seen(leaf.info)).collect())
    }
}

fn count(places: &SmallVec<[Place; 1]>) -> u64 {
    u64::try_from(places.len()).unwrap_or(u64::MAX)
}

fn by_height(mut blocks: Vec<BlockInfo>) -> Vec<BlockInfo> {
    blocks.sort_by_key(|info| (info.height, info.hash));
    blocks
}
