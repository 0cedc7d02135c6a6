use alloc::vec;
use alloc::vec::Vec;

use caesure_hash::{merkle_root, sha256d_many};

use crate::tx::Arena;
use crate::walk::MIN_TX_SIZE;
use crate::{
    BlockHash, DecodeError, Header, MerkleRoot, Reader, TxView, Txid, Wtxid, push_compact_size,
};

/// A block over its bytes: header 80, CompactSize, transactions.
#[derive(Clone, Debug)]
pub struct Block<B> {
    bytes: B,
    header: Header,
    arena: Arena,
}

impl<B: AsRef<[u8]>> Block<B> {
    /// Reads a block that fills `bytes`.
    ///
    /// # Errors
    /// When the bytes are not exactly one block.
    pub fn parse(bytes: B) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes.as_ref());
        let (header, arena) = read(&mut reader)?;
        reader.finish()?;
        Ok(Self { bytes, header, arena })
    }

    /// Returns the header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Computes the block's hash.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }

    /// Returns the whole serialization.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Returns how many transactions there are.
    pub const fn tx_count(&self) -> usize {
        self.arena.txs.len()
    }

    /// Returns how many inputs there are in all transactions.
    pub fn input_count(&self) -> usize {
        self.txs().map(|tx| tx.input_count()).sum()
    }

    /// Returns how many outputs there are in all transactions.
    pub fn output_count(&self) -> usize {
        self.txs().map(|tx| tx.output_count()).sum()
    }

    /// Returns a transaction.
    ///
    /// # Panics
    /// When `index` is not below [`tx_count`](Self::tx_count).
    #[must_use]
    #[inline]
    pub fn tx(&self, index: usize) -> TxView<'_> {
        self.arena.view(self.bytes.as_ref(), &self.arena.txs[index])
    }

    /// Iterates over the transactions.
    pub fn txs(&self) -> impl DoubleEndedIterator<Item = TxView<'_>> + ExactSizeIterator {
        self.arena.txs.iter().map(|span| self.arena.view(self.bytes.as_ref(), span))
    }

    /// Computes the hashes of all transactions without their witnesses, faster than one by one.
    #[must_use]
    pub fn txids(&self) -> Vec<Txid> {
        self.hashes(TxView::stripped_parts).into_iter().map(Txid).collect()
    }

    /// Computes the hashes of all whole transactions, faster than one by one.
    #[must_use]
    pub fn wtxids(&self) -> Vec<Wtxid> {
        self.hashes(|tx| [tx.bytes(), &[], &[]]).into_iter().map(Wtxid).collect()
    }

    /// Computes the merkle root of the txids, and whether transactions are repeated in a way that
    /// keeps it (CVE-2012-2459). Core: `BlockMerkleRoot`.
    #[must_use]
    pub fn merkle_root(&self) -> (MerkleRoot, bool) {
        let (root, is_mutated) = merkle_root(self.hashes(TxView::stripped_parts));
        (MerkleRoot(root), is_mutated)
    }

    /// Computes the merkle root of the wtxids, with zero for the first, the coinbase's. Spec:
    /// BIP-0141. Core: `BlockWitnessMerkleRoot`.
    #[must_use]
    pub fn witness_merkle_root(&self) -> MerkleRoot {
        let mut hashes = self.hashes(|tx| [tx.bytes(), &[], &[]]);
        if let Some(coinbase) = hashes.first_mut() {
            *coinbase = [0; 32];
        }
        MerkleRoot(merkle_root(hashes).0)
    }

    fn hashes<'a>(&'a self, parts: impl Fn(&TxView<'a>) -> [&'a [u8]; 3]) -> Vec<[u8; 32]> {
        let mut hashes = vec![[0; 32]; self.tx_count()];
        sha256d_many(&mut hashes, |index| parts(&self.tx(index)));
        hashes
    }

    /// Returns the length in bytes without witnesses.
    #[must_use]
    pub fn stripped_size(&self) -> usize {
        let witness: usize = self.txs().map(|tx| tx.total_size() - tx.stripped_size()).sum();
        self.bytes().len() - witness
    }

    /// Returns three times the stripped size plus the total size. Spec: BIP-0141.
    #[must_use]
    pub fn weight(&self) -> usize {
        3 * self.stripped_size() + self.bytes().len()
    }
}

impl<'a> Block<&'a [u8]> {
    /// Reads a block from the start of `bytes` and returns it with the bytes that follow it.
    ///
    /// # Errors
    /// When the bytes do not begin with a block.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut reader = Reader::new(bytes);
        let (header, arena) = read(&mut reader)?;
        let (block, rest) = bytes.split_at(reader.position());
        Ok((Self { bytes: block, header, arena }, rest))
    }
}

fn read(reader: &mut Reader<'_>) -> Result<(Header, Arena), DecodeError> {
    let header = Header::read(reader)?;
    let count = reader.count(MIN_TX_SIZE)?;
    let mut arena = Arena::with_capacity(count);
    for _ in 0..count {
        arena.read_tx(reader)?;
    }
    Ok((header, arena))
}

/// Returns the serialization of a block from its header and its serialized transactions.
#[must_use]
pub fn encode_block<T: AsRef<[u8]>>(header: &Header, txs: &[T]) -> Vec<u8> {
    let mut out = Vec::from(header.to_bytes());
    push_compact_size(&mut out, txs.len());
    for tx in txs {
        out.extend_from_slice(tx.as_ref());
    }
    out
}
