use caesure_eventlog::Event;
use caesure_wire::BlockHash;

use crate::Error;
use crate::chain::{Chain, Store};

/// So many blocks below the tip are always kept. Core: `MIN_BLOCKS_TO_KEEP`.
const KEPT_BLOCKS: u32 = 288;

/// The height of the highest block whose body was released, if any was.
pub(crate) fn pruned_height(chain: &Chain) -> Option<u32> {
    let reader = chain.store.reader();
    if !reader.has_released() {
        return None;
    }
    let hashes = chain.ids().map(|id| (chain.tree.height(id), chain.tree.hash(id)));
    let released = hashes.filter(|(_, hash)| reader.is_released(hash));
    released.map(|(height, _)| height).max()
}

/// Says which blocks the ledger needs again though their bodies were released: it was made anew from what
/// was whole of its log. Peers are asked for them, as for any other.
pub(crate) fn tell_missing(chain: &Chain) {
    let reader = chain.store.reader();
    let path = std::iter::successors(Some(chain.tree.best()), |id| chain.tree.parent(*id));
    let missing = path.take_while(|id| !chain.is_over(*id));
    let missing = missing.filter(|id| reader.is_released(&chain.tree.hash(*id)));
    let heights: Vec<u32> = missing.map(|id| chain.tree.height(id)).collect();
    if let Some(first) = heights.last() {
        eprintln!(
            "the ledger needs {} blocks, the first at height {first}, that were released since (--prune): peers \
             are asked for them again",
            heights.len()
        );
        chain.logger.log(Event::BlocksWanted { count: heights.len() as u64, height: *first });
    }
}

/// Where the stored bodies have more than `target` bytes, releases the oldest until they have a little
/// less, but none of the last 288 blocks or of the ledger's horizon. Returns the height of the highest one
/// that was released, if any was. Core: `FindFilesToPrune`, on blocks in place of files.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn prune(chain: &mut Chain, target: u64) -> Result<Option<u32>, Error> {
    let reader = chain.store.reader();
    let mut stored = reader.body_bytes();
    if stored <= target {
        return Ok(None);
    }
    // Somewhat more at once, so that not each block forces files to the disk.
    let target = target - target / 32;
    let root = chain.ledger.root().height;
    let last = chain.tip_height().saturating_sub(KEPT_BLOCKS).min(root);
    let height = |hash: &BlockHash| chain.tree.find(hash).map(|id| chain.tree.height(id));
    // Genesis stays: it has next to no body, and a base is told by it.
    let is_old = |height: &u32| (1..=last).contains(height);
    let bodies = reader.bodies().filter_map(|(hash, size)| Some((height(&hash)?, size, hash)));
    let mut old: Vec<(u32, u32, BlockHash)> =
        bodies.filter(|(height, ..)| is_old(height)).collect();
    old.sort_unstable();
    let mut released = Vec::new();
    let mut highest = None;
    for (height, size, hash) in old {
        if stored <= target {
            break;
        }
        stored -= u64::from(size);
        highest = Some(height);
        released.push(hash);
    }
    let Store::Writer(store) = &mut chain.store else { return Ok(None) };
    if !released.is_empty() {
        // What is released must never be needed for the ledger again.
        chain.ledger.sync()?;
        store.release(&released)?;
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use caesure_consensus::{Network, Params};
    use caesure_generate::{coinbase, mine_block};
    use caesure_wire::{Header, TxOut};

    use super::*;
    use crate::chain::{Offer, Origin};
    use crate::memory::Memory;
    use crate::opening::{Access, Settings, open_chain};

    const BLOCKS: u32 = 400;
    const NOW: u32 = u32::MAX - (1 << 20);

    fn open(folder: &Path, horizon: u32) -> Chain {
        let memory = Memory::of(64);
        let settings = Settings { threads: 1, horizon, memory, assumed_valid: BlockHash::ZERO };
        open_chain(folder, Params::new(Network::Regtest), Access::Write, &settings).unwrap()
    }

    /// Blocks of 10 kB, one on the other, and one beside each tenth.
    fn make() -> Vec<(u32, Vec<u8>)> {
        let mut parent = Params::new(Network::Regtest).genesis;
        let mut blocks = Vec::new();
        for height in 1..=BLOCKS {
            let mut script = vec![0x6a];
            script.resize(9900, 1);
            let before = parent;
            for tag in 0..=u32::from(height % 10 == 0) {
                let output = TxOut { value: 0, script_pubkey: script.clone() };
                let first = coinbase(height, tag, vec![output]);
                let bytes = mine_block(before.hash(), before.time + 60, first, &[]);
                if tag == 0 {
                    parent = Header::from_bytes(bytes.first_chunk().unwrap());
                }
                blocks.push((height, bytes));
            }
        }
        blocks
    }

    #[test]
    fn the_oldest_bodies_are_released_but_none_of_the_last_288_or_of_the_horizon() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = make();
        let hash = |bytes: &[u8]| Header::from_bytes(bytes.first_chunk().unwrap()).hash();
        let mut chain = open(folder.path(), 20);
        for (_, bytes) in &blocks {
            assert_eq!(chain.offer(bytes, Origin::default(), NOW).unwrap(), Offer::Taken);
        }
        chain.finish().unwrap();
        let stored = |chain: &Chain| chain.store.reader().body_bytes();
        let all = stored(&chain);
        assert_eq!(prune(&mut chain, all).unwrap(), None);
        let target = all - 300_000;
        assert_eq!(prune(&mut chain, target).unwrap(), Some(40));
        let range = target - target / 32 - 20_000..=target - target / 32;
        assert!(range.contains(&stored(&chain)), "{}", stored(&chain));
        assert_eq!(prune(&mut chain, target).unwrap(), None);
        assert_eq!(prune(&mut chain, 550 << 20).unwrap(), None);
        // However little is asked for, what a reorganisation may need stays.
        assert_eq!(prune(&mut chain, 0).unwrap(), Some(BLOCKS - 288));
        assert_eq!(prune(&mut chain, 0).unwrap(), None);
        let set = chain.ledger.tip().summary().unwrap();
        drop(chain);
        let mut chain = open(folder.path(), 20);
        assert_eq!(chain.tip_height(), BLOCKS);
        assert_eq!(chain.ledger.tip().summary().unwrap(), set);
        assert_eq!(pruned_height(&chain), Some(BLOCKS - 288));
        for (height, bytes) in &blocks {
            let reader = chain.store.reader();
            assert_eq!(reader.contains(&hash(bytes)), BLOCKS - 288 < *height, "{height}");
            let was_connected = *height <= BLOCKS - 288 && !is_beside(&chain, bytes);
            assert_eq!(chain.has_released(&hash(bytes)), was_connected);
        }
        chain.finish().unwrap();
        assert_eq!(chain.tip_height(), BLOCKS);
        drop(chain);
        // A ledger that is made anew has its log.
        caesure_ledger::Ledger::distrust(folder.path()).unwrap();
        let chain = open(folder.path(), 350);
        assert_eq!(chain.ledger.tip().summary().unwrap(), set);
    }

    fn is_beside(chain: &Chain, bytes: &[u8]) -> bool {
        let id = chain.tree.find(&Header::from_bytes(bytes.first_chunk().unwrap()).hash()).unwrap();
        let tip = chain.tree.find(&chain.ledger.tip().info().hash).unwrap();
        chain.tree.ancestor(tip, chain.tree.height(id)) != Some(id)
    }

    #[test]
    fn a_longer_horizon_keeps_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(folder.path(), 355);
        for (_, bytes) in &make() {
            chain.offer(bytes, Origin::default(), NOW).unwrap();
        }
        chain.finish().unwrap();
        assert_eq!(prune(&mut chain, 0).unwrap(), Some(BLOCKS - 355));
    }
}
