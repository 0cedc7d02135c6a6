use alloc::vec;
use alloc::vec::Vec;

use caesure_hash::{merkle_root, sha256d, sha256d_many};
use caesure_wire::{Block, Header, Txid, Wtxid};

use crate::input_rules::legacy_sigop_count;
use crate::signet::has_signet_solution;
use crate::transaction_rules::ensure;
use crate::{
    MAX_BLOCK_WEIGHT, Params, Reject, WITNESS_SCALE_FACTOR, check_header, check_transaction,
};

/// The most that a block's signature operations may cost. Spec: BIP-0141.
/// Core: `MAX_BLOCK_SIGOPS_COST`.
pub const MAX_BLOCK_SIGOPS_COST: usize = 80_000;

/// How a commitment's script begins: `OP_RETURN`, a push of 36 bytes, four fixed bytes.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

type Rule<B> = fn(&Block<B>) -> Result<(), Reject>;

/// Checks a block by itself, and returns the ids of its transactions. Core: `CheckBlock`.
///
/// # Errors
/// The first rule that it breaks. All that may be due to a mutated body comes before the rules on
/// transactions.
pub fn check_block<B: AsRef<[u8]>>(block: &Block<B>, params: &Params) -> Result<Vec<Txid>, Reject> {
    check_header(block.header(), params)?;
    has_signet_solution(block, params)?;
    let txids = block.txids();
    has_the_merkle_root(block.header(), &txids)?;
    // The order decides which reason is reported.
    let rules: [Rule<B>; 5] = [
        fits_into_the_limit,
        begins_with_a_coinbase,
        has_no_other_coinbase,
        has_valid_transactions,
        has_few_sigops,
    ];
    rules.iter().try_for_each(|rule| rule(block))?;
    Ok(txids)
}

/// Returns whether the body of a block is surely not the one that its header commits to, so that
/// it says nothing about the header. The witnesses are only looked at when `check_witness_root`, as
/// it should be where segwit is active. Core: `IsBlockMutated`.
#[must_use]
pub fn is_block_mutated<B: AsRef<[u8]>>(block: &Block<B>, check_witness_root: bool) -> bool {
    let txids = block.txids();
    if has_the_merkle_root(block.header(), &txids).is_err() {
        return true;
    }
    if begins_with_a_coinbase(block).is_err() {
        // 64 bytes may be two hashes, an inner node of the tree (CVE-2017-12842).
        return block.txs().any(|tx| tx.stripped_size() == 64);
    }
    check_witnesses(block, &txids, check_witness_root).is_err()
}

/// A block's transactions MUST hash to its merkle root, and MUST NOT be repeated in a way that keeps
/// it (CVE-2012-2459). Core: `CheckMerkleRoot`.
fn has_the_merkle_root(header: &Header, txids: &[Txid]) -> Result<(), Reject> {
    let (root, has_repeats) = merkle_root(txids.iter().map(|txid| txid.0).collect());
    ensure(root == header.merkle_root.0, Reject::BadTxnmrklroot)?;
    ensure(!has_repeats, Reject::BadTxnsDuplicate)
}

/// A block MUST have a transaction, and MUST NOT be over 1,000,000 bytes without witnesses.
fn fits_into_the_limit<B: AsRef<[u8]>>(block: &Block<B>) -> Result<(), Reject> {
    let count = block.tx_count();
    let fits = count != 0
        && count * WITNESS_SCALE_FACTOR <= MAX_BLOCK_WEIGHT
        && block.stripped_size() * WITNESS_SCALE_FACTOR <= MAX_BLOCK_WEIGHT;
    ensure(fits, Reject::BadBlkLength)
}

/// A block's first transaction MUST be a coinbase.
fn begins_with_a_coinbase<B: AsRef<[u8]>>(block: &Block<B>) -> Result<(), Reject> {
    let is_coinbase = block.txs().next().is_some_and(|tx| tx.is_coinbase());
    ensure(is_coinbase, Reject::BadCbMissing)
}

/// A block's other transactions MUST NOT be coinbases.
fn has_no_other_coinbase<B: AsRef<[u8]>>(block: &Block<B>) -> Result<(), Reject> {
    let has_another = block.txs().skip(1).any(|tx| tx.is_coinbase());
    ensure(!has_another, Reject::BadCbMultiple)
}

/// A block's transactions MUST be valid by themselves.
fn has_valid_transactions<B: AsRef<[u8]>>(block: &Block<B>) -> Result<(), Reject> {
    block.txs().try_for_each(check_transaction)
}

/// A block's own scripts MUST NOT have over 20,000 signature operations.
fn has_few_sigops<B: AsRef<[u8]>>(block: &Block<B>) -> Result<(), Reject> {
    let count: usize = block.txs().map(legacy_sigop_count).sum();
    ensure(count * WITNESS_SCALE_FACTOR <= MAX_BLOCK_SIGOPS_COST, Reject::BadBlkSigops)
}

/// Where a commitment is expected and there is one, the coinbase's witness MUST be one item of 32
/// bytes, and item and witnesses MUST hash to the commitment; else there MUST be no witness.
/// Returns the hashes with witnesses. Spec: BIP-0141. Core: `CheckWitnessMalleation`.
pub(crate) fn check_witnesses<B: AsRef<[u8]>>(
    block: &Block<B>,
    txids: &[Txid],
    expects_commitment: bool,
) -> Result<Vec<Wtxid>, Reject> {
    let commitment = witness_commitment(block).filter(|_| expects_commitment);
    let Some(index) = commitment else {
        let has_witness = block.txs().any(|tx| tx.has_witness());
        ensure(!has_witness, Reject::UnexpectedWitness)?;
        return Ok(txids.iter().map(|txid| Wtxid(txid.0)).collect());
    };
    let coinbase = block.tx(0);
    let mut items = (0..coinbase.input_count().min(1)).flat_map(|index| coinbase.witness(index));
    let (Some(Ok(nonce)), None) = (items.next().map(<[u8; 32]>::try_from), items.next()) else {
        return Err(Reject::BadWitnessNonceSize);
    };
    let wtxids = wtxids(block, txids);
    let leaves = [[0; 32]].into_iter().chain(wtxids[1..].iter().map(|wtxid| wtxid.0));
    let hash = sha256d([merkle_root(leaves.collect()).0, nonce].as_flattened());
    let committed = &coinbase.output(index).script_pubkey[COMMITMENT_PREFIX.len()..][..32];
    ensure(hash == *committed, Reject::BadWitnessMerkleMatch)?;
    Ok(wtxids)
}

/// The hashes with witnesses; of transactions that have none they are the txids.
fn wtxids<B: AsRef<[u8]>>(block: &Block<B>, txids: &[Txid]) -> Vec<Wtxid> {
    let mut wtxids: Vec<Wtxid> = txids.iter().map(|txid| Wtxid(txid.0)).collect();
    let places: Vec<usize> =
        (0..block.tx_count()).filter(|&index| block.tx(index).has_witness()).collect();
    let mut hashes = vec![[0; 32]; places.len()];
    sha256d_many(&mut hashes, |index| [block.tx(places[index]).bytes(), &[], &[]]);
    for (place, hash) in places.into_iter().zip(hashes) {
        wtxids[place] = Wtxid(hash);
    }
    wtxids
}

/// Returns which output of the coinbase is the witness commitment: the last that looks like one.
/// Spec: BIP-0141. Core: `GetWitnessCommitmentIndex`.
#[must_use]
pub fn witness_commitment<B: AsRef<[u8]>>(block: &Block<B>) -> Option<usize> {
    let coinbase = block.txs().next()?;
    (0..coinbase.output_count()).rev().find(|index| {
        let script = coinbase.output(*index).script_pubkey;
        COMMITMENT_PREFIX.len() + 32 <= script.len() && script.starts_with(&COMMITMENT_PREFIX)
    })
}
