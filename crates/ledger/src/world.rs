use std::sync::Arc;

use caesure_consensus::Coin;
use caesure_wire::OutPoint;

use crate::shared::{Shared, not_held};
use crate::window::Entry;
use crate::{BlockInfo, Error, Tally};

/// The complete UTXO set at one block, which never changes.
///
/// Holding a world costs the writer nothing, and reading it takes no lock. When its block falls out of
/// the window, or its fork is dropped, it is refused by name ([`Error::NotHeld`]) and never answers
/// from another block.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entry: Arc<Entry>,
    info: BlockInfo,
    is_verified: bool,
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

/// The coins that one world has and another has not, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Coins of the first world only, or with another height there.
    pub removed: Vec<(OutPoint, Coin)>,
    /// Coins of the second world only, or with another height there.
    pub added: Vec<(OutPoint, Coin)>,
}

impl World {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        entry: Arc<Entry>,
        info: BlockInfo,
        is_verified: bool,
    ) -> Self {
        Self { shared: Arc::clone(shared), entry, info, is_verified }
    }

    /// Returns what is known of the block.
    #[must_use]
    pub const fn info(&self) -> &BlockInfo {
        &self.info
    }

    /// Returns whether all of the set was validated from the genesis block on; false above a
    /// snapshot that validation has not yet reached.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Looks a coin up.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the block has left the window; other errors when a coin cannot be
    /// read, which says nothing of whether it is there.
    pub fn get(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Error> {
        let key = self.shared.log.key(outpoint);
        let found = self.shared.look(&self.entry, key, outpoint);
        self.check_held()?;
        Ok(found?.map(|found| found.view.coin()))
    }

    /// Looks coins up, faster than one by one; in the order of the outpoints.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, Error> {
        let mut coins = Vec::with_capacity(outpoints.len());
        let keys = self.shared.keys(outpoints);
        let looked = self.shared.look_many(&self.entry, outpoints, &keys, |_, found| {
            coins.push(found.map(|found| found.view.coin()));
        });
        self.check_held()?;
        looked.map(|()| coins)
    }

    /// Looked at after everything else: whether what was found is of this world for certain.
    pub(crate) fn check_held(&self) -> Result<(), Error> {
        if self.entry.is_held() {
            return Ok(());
        }
        Err(not_held(&self.entry.info.hash, &self.shared.read()))
    }

    /// Counts and hashes the set. Core: `GetUTXOStats`.
    ///
    /// # Errors
    /// As [`for_each`](Self::for_each).
    pub fn summary(&self) -> Result<Summary, Error> {
        self.tally(Tally::default())
    }

    /// Returns Core's `hash_serialized_3` alone, in internal order, which takes a small part of the
    /// other hash's time.
    ///
    /// # Errors
    /// As [`for_each`](Self::for_each).
    pub fn hash_serialized_3(&self) -> Result<[u8; 32], Error> {
        Ok(self.tally(Tally::without_muhash())?.hash_serialized_3)
    }

    fn tally(&self, mut tally: Tally) -> Result<Summary, Error> {
        self.for_each(|outpoint, coin| tally.push(outpoint, coin))?;
        Ok(tally.finish())
    }

    /// Compares two worlds of one ledger, in time proportional to the blocks between them.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when a block has left the window.
    pub fn diff(&self, other: &Self) -> Result<Difference, Error> {
        let between: Vec<Arc<Entry>> = {
            let window = self.shared.read();
            let is_between = |entry: &&Arc<Entry>| {
                entry.record != window.root.record
                    && self.entry.is_on(entry.number) != other.entry.is_on(entry.number)
            };
            window.entries().filter(is_between).cloned().collect()
        };
        let mut touched = Vec::new();
        for entry in between {
            let (_, record) = self.shared.log.block(entry.record)?;
            self.shared.log.created(&record, |_, coin| {
                touched.push(coin.outpoint());
                Ok(())
            })?;
            for (_, place) in self.shared.log.spent(&record)? {
                touched.push(self.shared.log.coin(place)?.outpoint());
            }
        }
        touched.sort_unstable();
        touched.dedup();
        let (before, after) = (self.get_many(&touched)?, other.get_many(&touched)?);
        self.check_held()?;
        let mut difference = Difference::default();
        for (outpoint, (before, after)) in touched.into_iter().zip(before.into_iter().zip(after)) {
            if before != after {
                difference.removed.extend(before.map(|coin| (outpoint, coin)));
                difference.added.extend(after.map(|coin| (outpoint, coin)));
            }
        }
        Ok(difference)
    }
}
