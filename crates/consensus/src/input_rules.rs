use alloc::vec::Vec;

use caesure_script::{
    Flags, ScriptError, TxContext, p2sh_sigop_count, sigop_count, witness_sigop_count,
};
use caesure_wire::{OutputView, TxView};

use crate::transaction_rules::{WITNESS_SCALE_FACTOR, ensure};
use crate::{Coin, HeaderId, HeaderTree, Reject, is_money};

/// How many blocks after its own a coinbase can be spent. Core: `COINBASE_MATURITY`.
pub const COINBASE_MATURITY: u32 = 100;

/// Lock times below this are heights, others seconds since 1970. Core: `LOCKTIME_THRESHOLD`.
pub const LOCKTIME_THRESHOLD: u32 = 500_000_000;

const SEQUENCE_FINAL: u32 = u32::MAX;

// Spec: BIP-0068.
const SEQUENCE_DISABLE_FLAG: u32 = 1 << 31;
const SEQUENCE_TYPE_FLAG: u32 = 1 << 22;
const SEQUENCE_MASK: u32 = 0xffff;
const SEQUENCE_GRANULARITY: u32 = 9;

/// Returns whether a transaction may stand in a block at `height`, where times are compared to
/// `cutoff`. Core: `IsFinalTx`.
#[must_use]
pub fn is_final(tx: TxView<'_>, height: u32, cutoff: u32) -> bool {
    let lock_time = tx.lock_time();
    let now = if lock_time < LOCKTIME_THRESHOLD { height } else { cutoff };
    lock_time == 0 || lock_time < now || tx.inputs().all(|input| input.sequence == SEQUENCE_FINAL)
}

/// Checks what a transaction spends, for a block at `height`, and returns its fee in satoshi.
/// `prevouts` has an item for each input, none for an output that is missing or spent.
/// Core: `CheckTxInputs`.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_inputs(tx: TxView<'_>, prevouts: &[Option<Coin>], height: u32) -> Result<i64, Reject> {
    ensure(prevouts.iter().all(Option::is_some), Reject::BadTxnsInputsMissingorspent)?;
    let mut total: i64 = 0;
    for coin in prevouts.iter().flatten() {
        is_mature(coin, height)?;
        total = total.saturating_add(coin.value);
        has_inputs_of_money(coin.value, total)?;
    }
    let paid = value_out(tx);
    pays_no_more_than_it_spends(total, paid)?;
    Ok(total - paid)
}

/// Returns what a transaction pays. Core: `GetValueOut`.
pub(crate) fn value_out(tx: TxView<'_>) -> i64 {
    // No sum saturates once `check_transaction` passed.
    tx.outputs().fold(0, |total: i64, output| total.saturating_add(output.value))
}

/// A coinbase MUST NOT be spent before 100 blocks were built on it.
fn is_mature(coin: &Coin, height: u32) -> Result<(), Reject> {
    let is_young = height.saturating_sub(coin.height) < COINBASE_MATURITY;
    ensure(!(coin.is_coinbase && is_young), Reject::BadTxnsPrematureSpendOfCoinbase)
}

/// The value of each output that is spent, and the sum up to it, MUST be in range.
const fn has_inputs_of_money(value: i64, total: i64) -> Result<(), Reject> {
    ensure(is_money(value) && is_money(total), Reject::BadTxnsInputvaluesOutofrange)
}

/// A transaction MUST NOT pay more than it spends. That its fee then is in range needs no rule.
const fn pays_no_more_than_it_spends(total: i64, paid: i64) -> Result<(), Reject> {
    ensure(paid <= total, Reject::BadTxnsInBelowout)
}

/// Returns whether the relative lock times of a transaction are reached in a child of `parent`.
/// Spec: BIP-0068. Core: `SequenceLocks`.
///
/// # Panics
/// When a prevout is missing, or is of a block above the child.
#[must_use]
pub fn is_sequence_final(
    tx: TxView<'_>,
    prevouts: &[Option<Coin>],
    tree: &HeaderTree,
    parent: HeaderId,
) -> bool {
    if tx.version() < 2 {
        return true;
    }
    tx.inputs().zip(prevouts).all(|(input, coin)| {
        if input.sequence & SEQUENCE_DISABLE_FLAG != 0 {
            return true;
        }
        let coin = coin.as_ref().expect("missing inputs are found before");
        let span = input.sequence & SEQUENCE_MASK;
        if input.sequence & SEQUENCE_TYPE_FLAG == 0 {
            // One more than the last height at which it is locked, as all numbers here.
            return u64::from(coin.height) + u64::from(span) <= u64::from(tree.height(parent)) + 1;
        }
        // The time runs from the block before the one that made the coin.
        let before = tree.ancestor(parent, coin.height.saturating_sub(1));
        let since = tree.median_time_past(before.expect("a coin is of a block on this chain"));
        let unlocked = u64::from(since) + (u64::from(span) << SEQUENCE_GRANULARITY);
        unlocked <= tree.median_time_past(parent).into()
    })
}

/// Returns the signature operations in a transaction's own scripts. Core: `GetLegacySigOpCount`.
#[must_use]
pub fn legacy_sigop_count(tx: TxView<'_>) -> usize {
    let inputs = tx.inputs().map(|input| sigop_count(input.script_sig, false));
    let outputs = tx.outputs().map(|output| sigop_count(output.script_pubkey, false));
    inputs.chain(outputs).sum()
}

/// Returns the cost of a transaction's signature operations: one in a witness costs 1, another 4.
/// `prevouts` is empty for a coinbase. Spec: BIP-0141. Core: `GetTransactionSigOpCost`.
#[must_use]
pub fn sigop_cost(tx: TxView<'_>, prevouts: &[Option<Coin>], flags: Flags) -> usize {
    let mut cost = legacy_sigop_count(tx) * WITNESS_SCALE_FACTOR;
    for (index, coin) in prevouts.iter().enumerate() {
        let Some(coin) = coin else { continue };
        let script_sig = tx.input(index).script_sig;
        if flags.contains(Flags::P2SH) {
            cost += p2sh_sigop_count(script_sig, &coin.script_pubkey) * WITNESS_SCALE_FACTOR;
        }
        if flags.contains(Flags::WITNESS) {
            cost += witness_sigop_count(script_sig, &coin.script_pubkey, tx.witness(index));
        }
    }
    cost
}

/// Runs the scripts of each input of a transaction and returns how many signatures were checked.
/// Needs nothing but its arguments, so that the transactions of a block can be given to many
/// threads. Core: `CheckInputScripts`.
///
/// # Errors
/// The first input that fails, and why.
///
/// # Panics
/// When a prevout is missing.
pub fn verify_tx_scripts(
    tx: TxView<'_>,
    prevouts: &[Option<Coin>],
    flags: Flags,
) -> Result<u64, (usize, ScriptError)> {
    let spent: Vec<OutputView<'_>> = prevouts
        .iter()
        .map(|coin| coin.as_ref().expect("missing inputs are found before").output())
        .collect();
    let context = TxContext::new(tx, &spent);
    let mut signatures = 0;
    for index in 0..tx.input_count() {
        let result = context.verify_input_counting(index, flags, &mut signatures);
        result.map_err(|error| (index, error))?;
    }
    Ok(signatures)
}
