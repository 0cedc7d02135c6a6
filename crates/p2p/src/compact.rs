use std::sync::Arc;

use caesure_consensus::{MAX_BLOCK_WEIGHT, is_block_mutated};
use caesure_hash::{Sha256, siphash24};
use caesure_wire::{Block, CompactBlock, Header, Tx, Wtxid, encode_block};

/// The least weight of a transaction that can be written. Core:
/// `MIN_SERIALIZABLE_TRANSACTION_WEIGHT`.
const MIN_TX_WEIGHT: usize = 40;

/// The bits of a short id. Core: `SHORTTXIDS_LENGTH`.
const SHORT_ID_MASK: u64 = (1 << 48) - 1;

/// Why no block came of a compact one. Core: `ReadStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// The peer broke the protocol.
    #[error("invalid compact block or transactions of it")]
    Invalid,
    /// It may be nobody's fault, as when short ids collide: the whole block is to be asked for.
    #[error("the compact block cannot be put together")]
    Failed,
}

/// Makes the short ids of a compact block. Spec: BIP-0152.
#[derive(Clone, Copy, Debug)]
pub struct ShortIds {
    k0: u64,
    k1: u64,
}

impl ShortIds {
    /// Takes the salt from a compact block's header and nonce.
    #[expect(clippy::missing_panics_doc, reason = "a hash has 32 bytes")]
    #[must_use]
    pub fn new(header: &Header, nonce: u64) -> Self {
        let hash = Sha256::new().chain(&header.to_bytes()).chain(&nonce.to_le_bytes()).finish();
        let part = |at: usize| u64::from_le_bytes(hash[at..at + 8].try_into().expect("8 bytes"));
        Self { k0: part(0), k1: part(8) }
    }

    /// Returns the short id of a transaction: 48 bits.
    #[must_use]
    pub fn id(self, wtxid: &Wtxid) -> u64 {
        siphash24(self.k0, self.k1, &wtxid.0) & SHORT_ID_MASK
    }
}

/// Makes a block compact, with the coinbase alone sent whole.
///
/// Core: `CBlockHeaderAndShortTxIDs`. Spec: BIP-0152.
#[must_use]
pub fn compact_block<B: AsRef<[u8]>>(block: &Block<B>, nonce: u64) -> CompactBlock {
    let header = *block.header();
    let ids = ShortIds::new(&header, nonce);
    let short_ids = block.wtxids().iter().skip(1).map(|wtxid| ids.id(wtxid)).collect();
    let coinbase = block.txs().next().map(|tx| (0, Arc::new(tx.bytes().to_vec())));
    CompactBlock { header, nonce, short_ids, prefilled: coinbase.into_iter().collect() }
}

/// A block of which some transactions may still be missing. Core: `PartiallyDownloadedBlock`.
///
/// It never holds more transactions than a block can have, all of them shared with whom they came from.
#[derive(Clone, Debug)]
pub struct PartialBlock {
    header: Header,
    /// None once it was put together, or tried to be.
    txs: Option<Vec<Option<Arc<Vec<u8>>>>>,
}

impl PartialBlock {
    /// Begins with what a compact block has, and what of it is found among `known`: the mempool's
    /// transactions, then others that were seen lately. `known` is not read to its end when all is
    /// found.
    ///
    /// # Errors
    /// [`CompactError::Invalid`] when no honest node makes such a compact block,
    /// [`CompactError::Failed`] when two short ids are the same.
    pub fn new<'a>(
        compact: &CompactBlock,
        known: impl IntoIterator<Item = (Wtxid, &'a Arc<Vec<u8>>)>,
    ) -> Result<Self, CompactError> {
        let ids = ShortIds::new(&compact.header, compact.nonce);
        Self::find(compact, known.into_iter().map(|(wtxid, tx)| (ids.id(&wtxid), wtxid, tx)))
    }

    /// Returns the header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the indices of the transactions that are missing, ascending.
    #[must_use]
    pub fn missing(&self) -> Vec<u16> {
        let txs = self.txs.iter().flatten();
        (0..=u16::MAX).zip(txs).filter_map(|(index, tx)| tx.is_none().then_some(index)).collect()
    }

    /// Puts the block together with the missing transactions and returns its serialization. What is
    /// held is used up: a second call fails.
    ///
    /// `check_witnesses`: whether segwit is active at the block.
    ///
    /// # Errors
    /// [`CompactError::Invalid`] when these are not as many transactions as were missing, or it was
    /// called before; [`CompactError::Failed`] when the block is not the one that the header commits
    /// to, or is larger than a block may be.
    pub fn fill(
        &mut self,
        txs: &[Arc<Vec<u8>>],
        check_witnesses: bool,
    ) -> Result<Vec<u8>, CompactError> {
        let held = self.txs.take().ok_or(CompactError::Invalid)?;
        let mut missing = txs.iter();
        let whole: Option<Vec<&[u8]>> = held
            .iter()
            .map(|tx| tx.as_ref().or_else(|| missing.next()).map(|tx| tx.as_slice()))
            .collect();
        let whole = whole.filter(|_| missing.next().is_none()).ok_or(CompactError::Invalid)?;
        // CVE-2025-46597: what is put together may be far larger than any message.
        let size: u64 = whole.iter().map(|tx| tx.len() as u64).sum();
        if MAX_BLOCK_WEIGHT as u64 <= size {
            return Err(CompactError::Failed);
        }
        let bytes = encode_block(&self.header, &whole);
        let block = Block::parse(bytes.as_slice()).map_err(|_| CompactError::Invalid)?;
        if is_block_mutated(&block, check_witnesses) {
            return Err(CompactError::Failed);
        }
        Ok(bytes)
    }

    fn find<'a>(
        compact: &CompactBlock,
        known: impl Iterator<Item = (u64, Wtxid, &'a Arc<Vec<u8>>)>,
    ) -> Result<Self, CompactError> {
        let mut txs = prefilled(compact)?;
        let free = (0..txs.len()).filter(|&index| txs[index].is_none());
        let mut places: Vec<(u64, usize)> = compact.short_ids.iter().copied().zip(free).collect();
        // Sorted, not hashed, so that ids which a peer chose cannot make it slow.
        places.sort_unstable();
        if places.array_windows().any(|[a, b]| a.0 == b.0) {
            return Err(CompactError::Failed);
        }
        let mut found: Vec<Option<Wtxid>> = vec![None; txs.len()];
        let mut count = 0;
        for (id, wtxid, tx) in known {
            if count == places.len() {
                break;
            }
            let Ok(place) = places.binary_search_by_key(&id, |place| place.0) else { continue };
            let index = places[place].1;
            match found[index] {
                None => {
                    txs[index] = Some(Arc::clone(tx));
                    found[index] = Some(wtxid);
                    count += 1;
                }
                // Two that fit: neither is taken, as to ask for it costs less than to fail.
                Some(other) if other != wtxid && txs[index].take().is_some() => count -= 1,
                Some(_) => {}
            }
        }
        Ok(Self { header: compact.header, txs: Some(txs) })
    }
}

/// The transactions that were sent whole, in their places.
fn prefilled(compact: &CompactBlock) -> Result<Vec<Option<Arc<Vec<u8>>>>, CompactError> {
    let count = compact.short_ids.len().saturating_add(compact.prefilled.len());
    // Indices have 16 bits.
    if compact.header.bits == 0
        || !(1..=MAX_BLOCK_WEIGHT / MIN_TX_WEIGHT).contains(&count)
        || usize::from(u16::MAX) < count
    {
        return Err(CompactError::Invalid);
    }
    let mut txs = vec![None; count];
    let mut next = 0;
    for (i, (index, tx)) in compact.prefilled.iter().enumerate() {
        let index = usize::from(*index);
        // Beyond that, there are indices before it with neither a short id nor a transaction.
        let is_in_place = next <= index && index <= compact.short_ids.len() + i;
        let is_tx = |tx: Tx<&[u8]>| tx.view().input_count() != 0 || tx.view().output_count() != 0;
        if !is_in_place || !Tx::parse(tx.as_slice()).is_ok_and(is_tx) {
            return Err(CompactError::Invalid);
        }
        next = index + 1;
        txs[index] = Some(Arc::clone(tx));
    }
    Ok(txs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use caesure_wire::{BlockHash, MerkleRoot, OutPoint, Transaction, TxIn, TxOut};
    use proptest::prelude::*;

    type Shared = Arc<Vec<u8>>;

    fn tx(mark: u32, script_len: usize) -> Shared {
        let prevout = match mark {
            0 => OutPoint::NULL,
            _ => OutPoint { txid: caesure_wire::Txid([9; 32]), vout: mark },
        };
        let input = TxIn { prevout, script_sig: vec![0; 4], sequence: 0, witness: Vec::new() };
        let output = TxOut { value: 0, script_pubkey: vec![0; script_len] };
        let tx =
            Transaction { version: 1, inputs: vec![input], outputs: vec![output], lock_time: 0 };
        Arc::new(tx.encode())
    }

    fn wtxid(tx: &Shared) -> Wtxid {
        Tx::parse(tx.as_slice()).unwrap().view().wtxid()
    }

    /// A block of a coinbase and `count` more, whose header commits to them.
    fn block(count: u32, script_len: usize) -> (Block<Vec<u8>>, Vec<Shared>) {
        let txs: Vec<Shared> = (0..=count).map(|mark| tx(mark, script_len)).collect();
        let ids = txs.iter().map(|tx| wtxid(tx).0).collect();
        let slices: Vec<&[u8]> = txs.iter().map(|tx| tx.as_slice()).collect();
        let header = Header {
            version: 4,
            prev_block: BlockHash::ZERO,
            merkle_root: MerkleRoot(caesure_hash::merkle_root(ids).0),
            time: 1,
            bits: 0x207f_ffff,
            nonce: 2,
        };
        (Block::parse(encode_block(&header, &slices)).unwrap(), txs)
    }

    fn with_ids(txs: &[Shared]) -> impl Iterator<Item = (Wtxid, &Shared)> {
        txs.iter().map(|tx| (wtxid(tx), tx))
    }

    #[test]
    fn short_ids_are_those_of_bip152() {
        let header = Header {
            version: 0x2000_0000,
            prev_block: BlockHash([1; 32]),
            merkle_root: MerkleRoot([2; 32]),
            time: 1_700_000_000,
            bits: 0x207f_ffff,
            nonce: 3,
        };
        let wtxid = Wtxid(core::array::from_fn(|i| u8::try_from(i).unwrap()));
        // Computed from the text of the BIP in another language.
        assert_eq!(ShortIds::new(&header, 0x0123_4567_89ab_cdef).id(&wtxid), 0x8975_5804_0249);
    }

    proptest! {
        #[test]
        fn a_compact_block_and_what_was_missing_make_the_block(
            count in 0_u32..40,
            known: u64,
            strangers in 0_u32..5,
            nonce: u64,
        ) {
            let (block, txs) = block(count, 5);
            let compact = compact_block(&block, nonce);
            prop_assert_eq!(compact.prefilled.len(), 1);
            prop_assert_eq!(compact.short_ids.len(), count as usize);
            let is_known = |index: usize| known >> index & 1 == 1 || index == 0;
            let mut pool: Vec<Shared> = (0..strangers).map(|mark| tx(1_000 + mark, 0)).collect();
            pool.extend(txs[1..].iter().enumerate().filter(|(i, _)| is_known(i + 1)).map(|(_, tx)| tx.clone()));
            let mut partial = PartialBlock::new(&compact, with_ids(&pool)).unwrap();
            let missing = partial.missing();
            let expected: Vec<u16> =
                (0..=count as usize).filter(|i| !is_known(*i)).map(|i| u16::try_from(i).unwrap()).collect();
            prop_assert_eq!(&missing, &expected);
            let sent: Vec<Shared> = missing.iter().map(|i| txs[usize::from(*i)].clone()).collect();
            prop_assert_eq!(partial.fill(&sent, true), Ok(block.bytes().to_vec()));
        }

        /// Any compact block gives a value, and never more places than it has transactions.
        #[test]
        fn no_compact_block_makes_it_panic(
            ids in proptest::collection::vec(0_u64..9, 0..9),
            prefilled in proptest::collection::vec((0_u16..12, 0_u32..3), 0..6),
            more in 0_usize..4,
        ) {
            let (block, txs) = block(3, 5);
            let prefilled: Vec<(u16, Shared)> =
                prefilled.into_iter().map(|(index, mark)| (index, tx(mark, 1))).collect();
            let compact = CompactBlock { header: *block.header(), nonce: 0, short_ids: ids, prefilled };
            if let Ok(mut partial) = PartialBlock::new(&compact, with_ids(&txs)) {
                let count = partial.missing().len();
                prop_assert!(count <= compact.short_ids.len());
                let sent = vec![tx(7, 0); count + more];
                prop_assert!(partial.fill(&sent, true).is_err());
                prop_assert_eq!(partial.fill(&sent[..count], true), Err(CompactError::Invalid));
                prop_assert!(partial.missing().is_empty());
            }
        }
    }

    /// CVE-2024-35202: transactions that come twice, are too few or too many, or do not fit, must
    /// lead to the whole block or to the end of the connection.
    #[test]
    fn cve_2024_35202_a_second_blocktxn_is_an_error_and_no_assertion() {
        let (block, txs) = block(3, 5);
        let compact = compact_block(&block, 5);
        let begin = || PartialBlock::new(&compact, with_ids(&txs[2..3])).unwrap();
        let right = [txs[1].clone(), txs[3].clone()];

        let mut partial = begin();
        assert_eq!(partial.missing(), [1, 3]);
        let wrong = [txs[3].clone(), txs[1].clone()];
        assert_eq!(partial.fill(&wrong, true), Err(CompactError::Failed), "not the header's");
        assert_eq!(partial.fill(&right, true), Err(CompactError::Invalid), "a second time");

        for count in [0, 1, 3] {
            let some: Vec<Shared> = right.iter().cycle().take(count).cloned().collect();
            assert_eq!(begin().fill(&some, true), Err(CompactError::Invalid), "{count}");
        }
        let garbage = [right[0].clone(), Arc::new(vec![1, 2, 3])];
        assert_eq!(begin().fill(&garbage, true), Err(CompactError::Invalid));
        assert_eq!(begin().fill(&right, true), Ok(block.bytes().to_vec()));
    }

    #[test]
    fn colliding_short_ids_ask_for_the_whole_block_or_for_the_transaction() {
        let (block, txs) = block(3, 5);
        let mut compact = compact_block(&block, 5);
        // Two of one block.
        compact.short_ids[2] = compact.short_ids[0];
        let result = PartialBlock::new(&compact, with_ids(&txs));
        assert_eq!(result.unwrap_err(), CompactError::Failed);

        // Two that are known fit one place, and the third finds it spoilt.
        let compact = compact_block(&block, 5);
        let id = compact.short_ids[0];
        let known = [(id, &txs[1]), (id, &txs[2]), (id, &txs[1]), (compact.short_ids[1], &txs[2])];
        let find = |known: &[(u64, &Shared)]| {
            let known = known.iter().map(|(id, tx)| (*id, wtxid(tx), *tx));
            PartialBlock::find(&compact, known).unwrap().missing()
        };
        assert_eq!(find(&known), [1, 3]);
        assert_eq!(find(&[known[0], known[0], known[3]]), [3], "the same twice is one");
    }

    #[test]
    fn impossible_compact_blocks_are_invalid() {
        let (block, txs) = block(3, 5);
        let invalid = |change: &dyn Fn(&mut CompactBlock)| {
            let mut compact = compact_block(&block, 5);
            change(&mut compact);
            let result = PartialBlock::new(&compact, with_ids(&txs));
            assert_eq!(result.unwrap_err(), CompactError::Invalid);
        };
        let empty = || Arc::new([&1_u32.to_le_bytes()[..], &[0, 0], &[0; 4]].concat());
        invalid(&|compact| compact.header.bits = 0);
        invalid(&|compact| (compact.short_ids, compact.prefilled) = (Vec::new(), Vec::new()));
        invalid(&|compact| compact.short_ids = (0..65_535).collect());
        invalid(&|compact| compact.short_ids = (0..100_001).collect());
        invalid(&|compact| compact.prefilled[0].0 = 4);
        invalid(&|compact| compact.prefilled.push((0, txs[1].clone())));
        invalid(&|compact| compact.prefilled.push((5, txs[1].clone())));
        invalid(&|compact| compact.prefilled[0].1 = empty());
        invalid(&|compact| compact.prefilled[0].1 = Arc::new(Vec::new()));
        let mut compact = compact_block(&block, 5);
        compact.short_ids = (0..65_534).collect();
        assert_eq!(PartialBlock::new(&compact, []).unwrap().missing().len(), 65_534);
    }

    /// CVE-2025-46597: sizes are counted in 64 bits, and nothing is made that no block can be.
    #[test]
    fn cve_2025_46597_a_block_over_the_limit_is_not_put_together() {
        let large = |script_len| {
            let (block, txs) = block(4, script_len);
            let compact = compact_block(&block, 5);
            PartialBlock::new(&compact, []).unwrap().fill(&txs[1..], true)
        };
        assert!(
            large(790_000).is_ok(),
            "whatever else is wrong with it, it is what the header says"
        );
        assert_eq!(large(800_000), Err(CompactError::Failed));
    }
}
