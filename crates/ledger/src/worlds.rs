use std::sync::Arc;

use caesure_consensus::Coin;
use caesure_wire::BlockHash;

use crate::log::NO_RECORD;
use crate::shared::Shared;
use crate::window::Entry;
use crate::{BlockInfo, Error, World};

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

fn by_height(mut blocks: Vec<BlockInfo>) -> Vec<BlockInfo> {
    blocks.sort_by_key(|info| (info.height, info.hash));
    blocks
}
