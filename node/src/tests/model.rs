//! What every node should hold: one ordered map of coins a block, cloned for the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use caesure_hash::sha256d;
use caesure_wire::{Block, BlockHash, OutPoint, push_compact_size};

/// A block that was made.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) parent: BlockHash,
    pub(super) height: u32,
    pub(super) is_valid: bool,
    pub(super) bytes: Arc<Vec<u8>>,
    coins: Arc<BTreeMap<OutPoint, Vec<u8>>>,
    /// Computed when somebody asks.
    hash: Option<[u8; 32]>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    blocks: BTreeMap<BlockHash, Known>,
}

impl Model {
    pub(super) fn new(genesis: BlockHash) -> Self {
        let known = Known {
            parent: BlockHash::ZERO,
            height: 0,
            is_valid: true,
            bytes: Arc::default(),
            coins: Arc::default(),
            hash: None,
        };
        Self { blocks: BTreeMap::from([(genesis, known)]) }
    }

    pub(super) fn get(&self, hash: &BlockHash) -> Option<&Known> {
        self.blocks.get(hash)
    }

    /// Whether a block and all below it are valid.
    pub(super) fn is_valid(&self, hash: &BlockHash) -> bool {
        self.get(hash).is_some_and(|known| known.is_valid)
    }

    /// The outputs of coinbases that are `depth` deep or more under a block, and not spent.
    pub(super) fn mature(&self, tip: &BlockHash, depth: u32) -> Vec<OutPoint> {
        let tip = &self.blocks[tip];
        let is_mature = |code: u32| code & 1 == 1 && (code >> 1) + depth <= tip.height + 1;
        let coins = tip.coins.iter();
        let codes = coins.map(|(outpoint, coin)| {
            let code = coin.first_chunk().expect("a coin begins with its height");
            (*outpoint, u32::from_le_bytes(*code))
        });
        codes.filter(|(_, code)| is_mature(*code)).map(|(outpoint, _)| outpoint).collect()
    }

    /// Takes a block on a block that is there.
    pub(super) fn add(&mut self, bytes: Vec<u8>, is_sound: bool) -> BlockHash {
        let block = Block::parse(&bytes[..]).expect("the simulation makes whole blocks");
        let hash = block.hash();
        let parent = &self.blocks[&block.header().prev_block];
        let height = parent.height + 1;
        let is_valid = is_sound && parent.is_valid;
        let mut coins = BTreeMap::clone(&parent.coins);
        for (index, tx) in block.txs().enumerate() {
            if 0 < index {
                for input in tx.inputs() {
                    coins.remove(&input.prevout);
                }
            }
            let txid = tx.txid();
            for (vout, output) in (0_u32..).zip(tx.outputs()) {
                let code = height * 2 + u32::from(index == 0);
                let mut coin = code.to_le_bytes().to_vec();
                coin.extend(output.value.to_le_bytes());
                push_compact_size(&mut coin, output.script_pubkey.len());
                coin.extend(output.script_pubkey);
                if output.script_pubkey.first() != Some(&0x6a) {
                    coins.insert(OutPoint { txid, vout }, coin);
                }
            }
        }
        let parent = block.header().prev_block;
        let (bytes, coins) = (Arc::new(bytes), Arc::new(coins));
        let known = Known { parent, height, is_valid, bytes, coins, hash: None };
        self.blocks.insert(hash, known);
        hash
    }

    /// Core's `hash_serialized_3` of the set after a block.
    pub(super) fn hash_serialized_3(&mut self, block: &BlockHash) -> [u8; 32] {
        let known = self.blocks.get_mut(block).expect("the block was made here");
        *known.hash.get_or_insert_with(|| {
            let mut all = Vec::new();
            for (outpoint, coin) in known.coins.iter() {
                all.extend(outpoint.to_bytes());
                all.extend(coin);
            }
            sha256d(&all)
        })
    }
}
