use std::sync::Arc;

use caesure_consensus::{HeaderId, HeaderTree, check_block, witness_commitment};
use caesure_wire::{Block, BlockHash, Header, Transaction, encode_block};

use super::blocks::Arrival;
use super::{Submitted, Sync, SyncError};
use crate::{Now, PeerId};

impl Sync {
    /// Takes a block of a user, wherever it stands. A coinbase without the witness that its
    /// commitment needs gets it. Core: `submitblock`, `UpdateUncommittedBlockStructures`.
    ///
    /// # Errors
    /// When the bytes are no block, or the block is refused by what can be told at once.
    pub fn submit_block(&mut self, bytes: Arc<Vec<u8>>, now: Now) -> Result<Submitted, SyncError> {
        self.now = now;
        let block = Block::parse(bytes.as_slice())?;
        let header = *block.header();
        let bytes = self.with_witness(&block)?.map_or_else(|| Arc::clone(&bytes), Arc::new);
        check_block(&Block::parse(bytes.as_slice())?, &self.options.params)?;
        let arrival = Arrival { source: None, is_requested: true, is_work_enough: true };
        Ok(match self.take_block(bytes, &header, arrival, now)? {
            true => Submitted::Taken,
            false => Submitted::Duplicate,
        })
    }

    /// The block with the witness that is wanting, if one is.
    fn with_witness(&self, block: &Block<&[u8]>) -> Result<Option<Vec<u8>>, SyncError> {
        let parent = self.chain.tree.find(&block.header().prev_block);
        let has_segwit = parent.is_some_and(|parent| self.chain.has_segwit_after(parent));
        let is_wanting = |block: &Block<&[u8]>| {
            witness_commitment(block).is_some() && !block.tx(0).has_witness()
        };
        if !has_segwit || block.tx_count() == 0 || !is_wanting(block) {
            return Ok(None);
        }
        let mut txs: Vec<_> = block.txs().map(|tx| tx.bytes().to_vec()).collect();
        let mut coinbase = Transaction::decode(&txs[0])?;
        if let Some(input) = coinbase.inputs.first_mut() {
            input.witness = vec![vec![0; 32]];
        }
        txs[0] = coinbase.encode();
        Ok(Some(encode_block(block.header(), &txs)))
    }

    /// Takes a header of a user. Core: `submitheader`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn submit_header(&mut self, header: &Header, now: Now) -> Result<HeaderId, SyncError> {
        self.now = now;
        if self.chain.tree.find(&header.prev_block).is_none() {
            return Err(SyncError::NoParent(header.prev_block));
        }
        Ok(self.accept_header(header, now)?.0)
    }

    /// Asks one peer for a block, and no other any more. Core: `getblockfrompeer`, `FetchBlock`.
    ///
    /// # Errors
    /// When the block is there or its header is not, or the peer cannot give it.
    pub fn get_block_from_peer(
        &mut self,
        hash: &BlockHash,
        peer: PeerId,
        now: Now,
    ) -> Result<(), SyncError> {
        self.now = now;
        let id = self.chain.tree.find(hash).ok_or(SyncError::NoHeader)?;
        if self.options.pruned && self.chain.height() < self.chain.tree.height(id) {
            return Err(SyncError::Pruned);
        }
        if self.chain.has_body(id) || id == HeaderTree::GENESIS {
            return Err(SyncError::HaveBlock);
        }
        let state = self.peers.get(&peer).filter(|state| !state.is_dropped);
        if !state.ok_or(SyncError::NoPeer)?.serves_witnesses() {
            return Err(SyncError::NoWitnesses);
        }
        self.downloads.stored(id, now.mono);
        self.downloads.request(peer, id, now.mono);
        self.send_getdata(peer, &[id]);
        Ok(())
    }
}
