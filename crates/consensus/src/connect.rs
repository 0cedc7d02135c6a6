use caesure_wire::Block;

use crate::input_rules::{check_inputs, is_sequence_final, sigop_cost, value_out};
use crate::transaction_rules::ensure;
use crate::{
    BlockContext, COIN, Coin, HeaderTree, MAX_BLOCK_SIGOPS_COST, Params, Reject, is_money,
};

/// What a block adds up to, in satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockTotals {
    /// What the transactions spend less what they pay, without the coinbase.
    pub fees: i64,
    /// The new money that the coinbase may claim.
    pub subsidy: i64,
    /// What the coinbase pays, at most `fees + subsidy`. Zero for block 0, whose outputs are never
    /// made.
    pub coinbase_value: i64,
    /// The cost of the signature operations.
    pub sigop_cost: usize,
}

/// Checks what a block spends: all of Core's `ConnectBlock` but the scripts, which
/// [`verify_tx_scripts`](crate::verify_tx_scripts) runs and whose faults come after these.
///
/// [`check_block`](crate::check_block) and [`check_block_context`](crate::check_block_context) must
/// have passed. `prevouts` has an item for each input but the coinbase's, in the order of the block:
/// the coin, made before or by an earlier transaction of the block, or none when there is no such
/// coin or an earlier input spends it. `overwrites` says whether an output of the block exists
/// unspent before it; it only matters where [`BlockContext::checks_bip30`] is set.
///
/// # Errors
/// The first rule that it breaks.
///
/// # Panics
/// When there are too few `prevouts`.
pub fn connect_block<B: AsRef<[u8]>>(
    block: &Block<B>,
    context: &BlockContext,
    params: &Params,
    tree: &HeaderTree,
    prevouts: &[Option<Coin>],
    overwrites: bool,
) -> Result<BlockTotals, Reject> {
    let subsidy = subsidy(context.height, params);
    let mut totals = BlockTotals { subsidy, ..BlockTotals::default() };
    // The coins of block 0 are not made, and none of its rules are checked.
    let Some(parent) = context.parent else { return Ok(totals) };
    overwrites_nothing(context, overwrites)?;
    let mut rest = prevouts;
    for tx in block.txs() {
        let mut spent = &rest[..0];
        if !tx.is_coinbase() {
            (spent, rest) = rest.split_at(tx.input_count());
            totals.fees = totals.fees.saturating_add(check_inputs(tx, spent, context.height)?);
            has_fees_of_money(totals.fees)?;
            let is_final = !context.has_csv || is_sequence_final(tx, spent, tree, parent);
            ensure(is_final, Reject::BadTxnsNonfinal)?;
        }
        totals.sigop_cost += sigop_cost(tx, spent, context.flags);
        has_cheap_sigops(totals.sigop_cost)?;
    }
    totals.coinbase_value = value_out(block.tx(0));
    claims_no_more_than_its_due(&totals)?;
    Ok(totals)
}

/// Returns the new money of a block at `height`, in satoshi. Core: `GetBlockSubsidy`.
#[must_use]
pub const fn subsidy(height: u32, params: &Params) -> i64 {
    let halvings = height / params.subsidy_halving_interval;
    if halvings < 64 { (50 * COIN) >> halvings } else { 0 }
}

/// A transaction MUST NOT overwrite one that has unspent outputs. Spec: BIP-0030.
fn overwrites_nothing(context: &BlockContext, overwrites: bool) -> Result<(), Reject> {
    ensure(!(context.checks_bip30 && overwrites), Reject::BadTxnsBip30)
}

/// The sum of the fees MUST be in range.
const fn has_fees_of_money(fees: i64) -> Result<(), Reject> {
    ensure(is_money(fees), Reject::BadTxnsAccumulatedFeeOutofrange)
}

/// A block's signature operations MUST NOT cost over 80,000.
const fn has_cheap_sigops(cost: usize) -> Result<(), Reject> {
    ensure(cost <= MAX_BLOCK_SIGOPS_COST, Reject::BadBlkSigops)
}

/// A coinbase MUST NOT pay more than subsidy and fees.
const fn claims_no_more_than_its_due(totals: &BlockTotals) -> Result<(), Reject> {
    ensure(totals.coinbase_value <= totals.subsidy + totals.fees, Reject::BadCbAmount)
}
