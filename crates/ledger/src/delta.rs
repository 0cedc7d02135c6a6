use caesure_consensus::Coin;
use caesure_wire::{Block, OutPoint, Txid};

use crate::Map;

/// What a block does to a set of coins, less the coins that it both makes and spends.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    pub(crate) created: Vec<(OutPoint, Coin)>,
    pub(crate) spent: Vec<OutPoint>,
}

/// A block's transactions by id, to find outputs that are spent in the block that makes them. Of two
/// with one id, which only an invalid block has, the first counts.
pub(crate) fn index_txids(txids: &[Txid]) -> Map<Txid, usize> {
    txids.iter().enumerate().rev().map(|(index, txid)| (*txid, index)).collect()
}

/// Returns the coin that a block's own output makes, unless it is missing or provably unspendable.
pub(crate) fn own_coin<B: AsRef<[u8]>>(
    block: &Block<B>,
    height: u32,
    tx_index: usize,
    vout: u32,
) -> Option<Coin> {
    let tx = block.tx(tx_index);
    let vout = usize::try_from(vout).ok().filter(|&vout| vout < tx.output_count())?;
    Coin::from_output(&tx.output(vout), height, tx_index == 0)
}

impl Delta {
    /// Works out the delta of a block whose spends are known to be sound.
    pub(crate) fn of<B: AsRef<[u8]>>(block: &Block<B>, txids: &[Txid], height: u32) -> Self {
        let own = index_txids(txids);
        let mut delta = Self::default();
        let mut spent_here = Map::<OutPoint, ()>::default();
        for tx in block.txs().skip(1) {
            for prevout in tx.inputs().map(|input| input.prevout) {
                if own.contains_key(&prevout.txid) {
                    spent_here.insert(prevout, ());
                } else {
                    delta.spent.push(prevout);
                }
            }
        }
        for (tx_index, (tx, txid)) in block.txs().zip(txids).enumerate() {
            for vout in (0..).take(tx.output_count()) {
                let outpoint = OutPoint { txid: *txid, vout };
                if !spent_here.contains_key(&outpoint)
                    && let Some(coin) = own_coin(block, height, tx_index, vout)
                {
                    delta.created.push((outpoint, coin));
                }
            }
        }
        delta
    }
}
