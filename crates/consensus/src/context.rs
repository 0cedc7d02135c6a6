use alloc::vec::Vec;

use caesure_script::{Flags, push_int};
use caesure_wire::{Block, BlockHash, Txid, Wtxid};

use crate::block_rules::check_witnesses;
use crate::input_rules::is_final;
use crate::params::hash;
use crate::transaction_rules::ensure;
use crate::{Deployment, HeaderId, HeaderTree, MAX_BLOCK_WEIGHT, Params, Reject};

/// The two blocks whose coinbases overwrote unspent ones. Core: `IsBIP30Repeat`.
const BIP30_REPEATS: [(u32, BlockHash); 2] = [
    (91_842, hash(b"a4d0a398161ffc163c503763b1f4360639393e0e4c8e300e0caec")),
    (91_880, hash(b"743f190a18c5577a3c2d2a1f610ae9601ac046a38084ccb7cd721")),
];

/// The two blocks whose coinbases were overwritten. Core: `IsBIP30Unspendable`.
const BIP30_UNSPENDABLE: [(u32, BlockHash); 2] = [
    (91_722, hash(b"271a2dc26e7667f8419f2e15416dc6955e5a6c6cdf3f2574dd08e")),
    (91_812, hash(b"af0aed4792b1acee3d966af36cf5def14935db8de83d6f9306f2f")),
];

/// The first height that a coinbase from before BIP-0034 may have announced, besides two that did no
/// harm. Core: `BIP34_IMPLIES_BIP30_LIMIT`.
const BIP34_IMPLIES_BIP30_LIMIT: u32 = 1_983_702;

/// The script flags that a deployment adds.
const FLAGS: [(Deployment, Flags); 4] = [
    (Deployment::DerSig, Flags::DERSIG),
    (Deployment::Cltv, Flags::CHECKLOCKTIMEVERIFY),
    (Deployment::Csv, Flags::CHECKSEQUENCEVERIFY),
    (Deployment::Segwit, Flags::NULLDUMMY),
];

/// The facts by which a block is judged, besides itself and the coins that it spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// The block's place in the header tree.
    pub id: HeaderId,
    /// The parent's place, none for block 0.
    pub parent: Option<HeaderId>,
    /// The block's height.
    pub height: u32,
    /// The block's hash.
    pub hash: BlockHash,
    /// The median time of the eleven headers before, in seconds since 1970; 0 for block 0.
    pub median_time_past: u32,
    /// The time that lock times are compared to: the median time where BIP-0113 holds, else the
    /// block's own.
    pub lock_time_cutoff: u32,
    /// The rules that scripts are held to.
    pub flags: Flags,
    /// Whether the coinbase begins with the height. Spec: BIP-0034.
    pub has_height_in_coinbase: bool,
    /// Whether relative lock times hold. Spec: BIP-0068.
    pub has_csv: bool,
    /// Whether a witness commitment is expected. Spec: BIP-0141.
    pub has_segwit: bool,
    /// Whether transactions must not overwrite unspent ones. Spec: BIP-0030.
    pub checks_bip30: bool,
}

impl BlockContext {
    /// Gathers the facts about a block whose header is in the tree.
    #[must_use]
    pub fn new(params: &Params, tree: &HeaderTree, id: HeaderId) -> Self {
        let (height, hash, time) = (tree.height(id), tree.hash(id), tree.header(id).time);
        Self::at(params, tree, (id, tree.parent(id)), (height, hash, time))
    }

    /// Gathers the facts about a block on `parent` whose header need not be in the tree; as
    /// [`id`](Self::id) it has the parent's. `time` is the header's, in seconds since 1970.
    #[must_use]
    pub fn child(
        params: &Params,
        tree: &HeaderTree,
        parent: HeaderId,
        hash: BlockHash,
        time: u32,
    ) -> Self {
        Self::at(params, tree, (parent, Some(parent)), (tree.height(parent) + 1, hash, time))
    }

    fn at(
        params: &Params,
        tree: &HeaderTree,
        (id, parent): (HeaderId, Option<HeaderId>),
        (height, hash, time): (u32, BlockHash, u32),
    ) -> Self {
        let median_time_past = parent.map_or(0, |parent| tree.median_time_past(parent));
        let has_csv = params.is_active(Deployment::Csv, height);
        let is_searched = parent.is_some_and(|parent| is_behind_bip34(params, tree, parent));
        Self {
            id,
            parent,
            height,
            hash,
            median_time_past,
            lock_time_cutoff: if has_csv { median_time_past } else { time },
            flags: script_flags(params, height, &hash),
            has_height_in_coinbase: params.is_active(Deployment::HeightInCoinbase, height),
            has_csv,
            has_segwit: params.is_active(Deployment::Segwit, height),
            checks_bip30: checks_bip30(height, &hash, is_searched),
        }
    }
}

/// Checks a block in its place in the chain, and returns the hashes of its transactions with their
/// witnesses. `txids` are what [`check_block`](crate::check_block) returned for it.
/// Core: `ContextualCheckBlock`.
///
/// # Errors
/// The first rule that it breaks.
///
/// # Panics
/// When there are fewer `txids` than transactions.
pub fn check_block_context<B: AsRef<[u8]>>(
    block: &Block<B>,
    context: &BlockContext,
    txids: &[Txid],
) -> Result<Vec<Wtxid>, Reject> {
    // The order decides which reason is reported.
    has_final_transactions(block, context)?;
    begins_with_the_height(block, context)?;
    let wtxids = check_witnesses(block, txids, context.has_segwit)?;
    has_weight(block)?;
    Ok(wtxids)
}

/// A block's transactions, the coinbase too, MUST be final.
fn has_final_transactions<B: AsRef<[u8]>>(
    block: &Block<B>,
    context: &BlockContext,
) -> Result<(), Reject> {
    let are_final = block.txs().all(|tx| is_final(tx, context.height, context.lock_time_cutoff));
    ensure(are_final, Reject::BadTxnsNonfinal)
}

/// Where BIP-0034 holds, the coinbase's input script MUST begin with the push of the height.
fn begins_with_the_height<B: AsRef<[u8]>>(
    block: &Block<B>,
    context: &BlockContext,
) -> Result<(), Reject> {
    let mut height = Vec::new();
    push_int(&mut height, context.height.into());
    let input = block.txs().next().and_then(|coinbase| coinbase.inputs().next());
    let has_height = input.is_some_and(|input| input.script_sig.starts_with(&height));
    ensure(has_height || !context.has_height_in_coinbase, Reject::BadCbHeight)
}

/// A block's weight MUST NOT be over 4,000,000. Comes last: what a mutated witness weighs says
/// nothing about the header.
fn has_weight<B: AsRef<[u8]>>(block: &Block<B>) -> Result<(), Reject> {
    ensure(block.weight() <= MAX_BLOCK_WEIGHT, Reject::BadBlkWeight)
}

/// Returns whether a block's coinbase can never be spent, since a later block overwrote it.
/// Core: `IsBIP30Unspendable`.
#[must_use]
pub fn is_bip30_unspendable(height: u32, hash: &BlockHash) -> bool {
    BIP30_UNSPENDABLE.contains(&(height, *hash))
}

/// Core: `GetBlockScriptFlags`.
fn script_flags(params: &Params, height: u32, hash: &BlockHash) -> Flags {
    let exception = params.script_flag_exceptions.iter().find(|(block, _)| block == hash);
    let always = exception.map_or(Flags::P2SH | Flags::WITNESS | Flags::TAPROOT, |(_, it)| *it);
    let active = FLAGS.iter().filter(|(deployment, _)| params.is_active(*deployment, height));
    active.fold(always, |flags, (_, flag)| flags | *flag)
}

/// Whether a block stands on the block of BIP-0034's height that was searched for coinbases which
/// could come again.
fn is_behind_bip34(params: &Params, tree: &HeaderTree, parent: HeaderId) -> bool {
    let height = params.activation_heights[Deployment::HeightInCoinbase as usize];
    let block = tree.ancestor(parent, height);
    block.is_some_and(|block| tree.hash(block) == params.bip34_hash)
}

/// Where coinbases hold their height, none can repeat; so it is enough to check where the chain is
/// not the one that was searched for those that came before. Core: `ConnectBlock`.
fn checks_bip30(height: u32, hash: &BlockHash, is_behind_bip34: bool) -> bool {
    let is_repeat = BIP30_REPEATS.contains(&(height, *hash));
    BIP34_IMPLIES_BIP30_LIMIT <= height || (!is_repeat && !is_behind_bip34)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2012_1909_bip30_is_checked_but_for_two_blocks_and_again_from_1983702() {
        let other = BlockHash([1; 32]);
        for (height, block) in BIP30_REPEATS {
            assert!(!checks_bip30(height, &block, false));
            assert!(checks_bip30(height, &other, false));
            assert!(checks_bip30(height + 1, &block, false));
        }
        assert!(!checks_bip30(91_843, &other, true));
        assert!(!checks_bip30(1_983_701, &other, true));
        assert!(checks_bip30(1_983_702, &other, true));
        let hashes = BIP30_REPEATS.map(|(_, block)| alloc::string::ToString::to_string(&block));
        assert_eq!(
            hashes,
            [
                "00000000000a4d0a398161ffc163c503763b1f4360639393e0e4c8e300e0caec",
                "00000000000743f190a18c5577a3c2d2a1f610ae9601ac046a38084ccb7cd721",
            ]
        );
    }
}
