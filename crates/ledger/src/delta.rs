use caesure_consensus::Coin;
use caesure_wire::{Block, Txid};
use hashbrown::HashTable;

use crate::coin::{code_of, push_coin, push_head};
use crate::hasher::Hasher;
use crate::log::{BlockHead, Kind, Log, PREFIX, new_record};
use crate::table::{Key, Place};
use crate::{BlockInfo, Resolved, Sums};

/// What a block does to a set of coins, less the coins that it both makes and spends, and the record
/// that says so.
pub(crate) struct Delta {
    /// The record, whose head is still to be written.
    pub(crate) record: Vec<u8>,
    pub(crate) head: BlockHead,
    /// The key of each coin, and where it begins in the record.
    pub(crate) created: Vec<(Key, usize)>,
}

/// A block's transactions by id, to find outputs that are spent in the block that makes them. Of two
/// with one id, which only an invalid block has, the first counts.
pub(crate) struct ById<'a> {
    txids: &'a [Txid],
    indices: HashTable<u32>,
}

impl<'a> ById<'a> {
    pub(crate) fn new(txids: &'a [Txid], hasher: &Hasher) -> Self {
        let mut indices = HashTable::with_capacity(txids.len());
        for (index, txid) in (0..).zip(txids) {
            let is_same = |&other: &u32| txids[other as usize] == *txid;
            let hash = |&other: &u32| hasher.of_txid(&txids[other as usize])[0];
            indices.entry(hasher.of_txid(txid)[0], is_same, hash).or_insert(index);
        }
        Self { txids, indices }
    }

    /// The number of the transaction with an id, of which the caller knows the hash.
    #[inline]
    pub(crate) fn get(&self, txid: &Txid, [hash, _]: [u64; 2]) -> Option<usize> {
        let found = self.indices.find(hash, |&index| self.txids[index as usize] == *txid);
        found.map(|&index| index as usize)
    }
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
    #[expect(clippy::too_many_arguments, reason = "one caller")]
    pub(crate) fn new<B: AsRef<[u8]>>(
        log: &Log,
        block: &Block<B>,
        txids: &[Txid],
        resolved: &Resolved,
        before: &BlockInfo,
        sums: Sums,
        number: u16,
    ) -> Self {
        let mut record = new_record(Kind::Block);
        let coins_start = record.len();
        record.reserve(block.bytes().len());
        let mut created = Vec::with_capacity(block.output_count());
        let mut made = 0;
        let mut kept: Vec<u32> = Vec::new();
        let mut spent_here = resolved.spent_here.iter().peekable();
        for (tx_index, (tx, txid)) in block.txs().zip(txids).enumerate() {
            kept.clear();
            kept.extend((0..).zip(tx.outputs()).filter_map(|(vout, output)| {
                let is_this = |spent: &&(usize, u32, usize)| (spent.0, spent.1) == (tx_index, vout);
                let is_kept = spent_here.next_if(is_this).is_none()
                    && !caesure_consensus::is_unspendable(output.script_pubkey);
                is_kept.then_some(vout)
            }));
            if kept.is_empty() {
                continue;
            }
            let head = record.len();
            let code = code_of(resolved.height, tx_index == 0);
            push_head(&mut record, txid, code, kept.len(), number);
            let hash = log.hasher().of_txid(txid);
            for &vout in &kept {
                let output = tx.output(vout as usize);
                made += output.value;
                created.push((log.hasher().key_of(hash, vout), record.len()));
                push_coin(&mut record, head, vout, output.value, output.script_pubkey);
            }
        }
        let coins_len = record.len() - coins_start;
        for (key, place) in &resolved.gone {
            record.extend_from_slice(&key.0.to_le_bytes());
            record.extend_from_slice(&place.to_le_bytes());
        }
        let count = |len: usize| u32::try_from(len).expect("a record is under 64 MiB");
        let info = BlockInfo {
            hash: resolved.hash,
            height: resolved.height,
            chain_work: sums.chain_work,
            total: before.total + made - resolved.gone_value,
            fees: before.fees + sums.fees,
            issued: before.issued + sums.subsidy,
        };
        let head = BlockHead {
            parent_record: crate::log::NO_RECORD,
            prev_block: resolved.prev_block,
            info,
            number,
            created: count(created.len()),
            spent: count(resolved.gone.len()),
            coins_len: count(coins_len),
        };
        Self { record, head, created }
    }

    /// The places of the coins, once the record is in the log at `at`.
    pub(crate) fn places(&self, at: u64) -> impl Iterator<Item = (Key, Place)> + '_ {
        self.created.iter().map(move |&(key, offset)| (key, (at + offset as u64) / 4))
    }
}

const _: () = assert!(PREFIX.is_multiple_of(4), "coins begin at multiples of four");
