use std::collections::{BTreeSet, VecDeque};

use caesure_consensus::HeaderId;

const STORED: u8 = 1;
const LINKED: u8 = 2;

/// Which blocks are stored, and which of them with all their ancestors down to what the ledger has.
/// Core: `BLOCK_HAVE_DATA`, `m_chain_tx_count`, `m_blocks_unlinked`.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By header, a byte each.
    flags: Vec<u8>,
    /// Stored blocks that are not linked, by parent: 8 bytes each, and as many as are stored.
    waiting: BTreeSet<(HeaderId, HeaderId)>,
}

impl Links {
    pub(super) fn is_stored(&self, id: HeaderId) -> bool {
        self.flag(id) & STORED != 0
    }

    pub(super) fn is_linked(&self, id: HeaderId) -> bool {
        self.flag(id) & LINKED != 0
    }

    /// Takes in a block that is stored. Returns the blocks that waited for it, if it is linked, and
    /// those that waited for them, parents first.
    pub(super) fn store(
        &mut self,
        id: HeaderId,
        parent: HeaderId,
        parent_is_linked: bool,
    ) -> Vec<HeaderId> {
        self.set(id, STORED);
        if !parent_is_linked {
            self.waiting.insert((parent, id));
            return Vec::new();
        }
        self.set(id, LINKED);
        let mut linked = Vec::new();
        let mut open = VecDeque::from([id]);
        while let Some(parent) = open.pop_front() {
            let children = (parent, HeaderId(0))..=(parent, HeaderId(u32::MAX));
            let children: Vec<_> = self.waiting.range(children).copied().collect();
            for pair in children {
                self.waiting.remove(&pair);
                self.set(pair.1, LINKED);
                open.push_back(pair.1);
                linked.push(pair.1);
            }
        }
        linked
    }

    fn flag(&self, id: HeaderId) -> u8 {
        self.flags.get(id.0 as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, id: HeaderId, flag: u8) {
        let at = id.0 as usize;
        if self.flags.len() <= at {
            self.flags.resize(at + 1, 0);
        }
        self.flags[at] |= flag;
    }
}
