use std::sync::Arc;

use caesure_consensus::Coin;
use caesure_hash::{MuHash3072, Sha256};
use caesure_wire::{BlockHash, OutPoint};

use crate::coin::push_entry;
use crate::window::Window;
use crate::{BlockInfo, Error, Shared};

/// The complete UTXO set at one block, which never changes.
///
/// Holding a world costs the writer nothing. When its block falls out of the window, or its fork is
/// dropped, it is refused by name ([`Error::NotHeld`]) and never answers from another block.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) info: BlockInfo,
}

/// What [`World::summary`] counts in one pass over the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many unspent outputs there are.
    pub txouts: u64,
    /// How many transactions have one.
    pub transactions: u64,
    /// Their sum in satoshi.
    pub total_amount: i64,
    /// Core's measure of a set's size: 50 bytes an output and its script.
    pub bogosize: u64,
    /// Core's `hash_serialized_3`, in internal order.
    pub hash_serialized_3: [u8; 32],
    /// Core's `muhash`, in internal order.
    pub muhash: [u8; 32],
}

/// The coins that one world has and another has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Coins of the first world only, or with another height there.
    pub removed: Vec<(OutPoint, Coin)>,
    /// Coins of the second world only, or with another height there.
    pub added: Vec<(OutPoint, Coin)>,
}

impl World {
    /// Returns what is known of the block.
    #[must_use]
    pub const fn info(&self) -> &BlockInfo {
        &self.info
    }

    /// Looks a coin up.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the block has left the window.
    pub fn get(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Error> {
        self.read(|window, slot| window.get(slot, outpoint))
    }

    /// Returns all outpoints in key order: by txid in internal order, then by index.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the block has left the window.
    pub fn outpoints(&self) -> Result<Vec<OutPoint>, Error> {
        self.read(|window, slot| window.outpoints(slot))
    }

    /// Visits all coins in key order.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the block leaves the window before the end.
    ///
    /// # Panics
    /// Never, since a coin of an immutable set cannot be gone on the second look.
    pub fn for_each(&self, mut visit: impl FnMut(&OutPoint, &Coin)) -> Result<(), Error> {
        // The lock is taken for a batch at a time, so that the writer can go on in between.
        for batch in self.outpoints()?.chunks(4096) {
            let get = |window: &Window, slot| -> Vec<Option<Coin>> {
                batch.iter().map(|outpoint| window.get(slot, outpoint)).collect()
            };
            for (outpoint, coin) in batch.iter().zip(self.read(get)?) {
                visit(outpoint, &coin.expect("an immutable set keeps its coins"));
            }
        }
        Ok(())
    }

    /// Counts and hashes the set. Core: `GetUTXOStats`.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the block leaves the window before the end.
    pub fn summary(&self) -> Result<Summary, Error> {
        let (mut txouts, mut transactions, mut total_amount, mut bogosize) = (0, 0, 0, 0);
        let mut last = None;
        let mut hash = Sha256::new();
        let mut muhash = MuHash3072::new();
        let mut bytes = Vec::new();
        self.for_each(|outpoint, coin| {
            bytes.clear();
            push_entry(&mut bytes, outpoint, coin);
            hash.update(&bytes);
            muhash.insert(&bytes);
            txouts += 1;
            transactions += u64::from(last.replace(outpoint.txid) != Some(outpoint.txid));
            total_amount += coin.value;
            bogosize += 50 + coin.script_pubkey.len() as u64;
        })?;
        Ok(Summary {
            txouts,
            transactions,
            total_amount,
            bogosize,
            hash_serialized_3: hash.finish_double(),
            muhash: muhash.finish(),
        })
    }

    /// Compares two worlds of one ledger, in time proportional to the blocks between them.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when a block has left the window.
    pub fn diff(&self, other: &Self) -> Result<Difference, Error> {
        let window = self.shared.read();
        let (from, to) = (find(&window, &self.info.hash)?, find(&window, &other.info.hash)?);
        let mut touched: Vec<OutPoint> = window
            .slots()
            .filter(|&(number, _)| {
                let is_in = |slot: u16| window.slot(slot).branch.contains(number);
                is_in(from) != is_in(to)
            })
            .flat_map(|(_, slot)| slot.touched().copied())
            .collect();
        touched.sort_unstable();
        touched.dedup();
        let mut difference = Difference::default();
        for outpoint in touched {
            let (before, after) = (window.get(from, &outpoint), window.get(to, &outpoint));
            if before != after {
                difference.removed.extend(before.map(|coin| (outpoint, coin)));
                difference.added.extend(after.map(|coin| (outpoint, coin)));
            }
        }
        Ok(difference)
    }

    fn read<T>(&self, look: impl FnOnce(&Window, u16) -> T) -> Result<T, Error> {
        let window = self.shared.read();
        let slot = find(&window, &self.info.hash)?;
        Ok(look(&window, slot))
    }
}

/// The slot of a block, or an error that names the oldest world.
pub(crate) fn find(window: &Window, hash: &BlockHash) -> Result<u16, Error> {
    let root = window.slot(window.root).info;
    window.find(hash).ok_or(Error::NotHeld { hash: *hash, root: root.hash, height: root.height })
}
