use alloc::vec::Vec;

use caesure_wire::{OutPoint, TxView};

use crate::{MAX_MONEY, Reject, is_money};

/// The most weight that a block may have. Spec: BIP-0141. Core: `MAX_BLOCK_WEIGHT`.
pub const MAX_BLOCK_WEIGHT: usize = 4_000_000;

/// How many weight units a byte outside witnesses counts. Spec: BIP-0141.
pub const WITNESS_SCALE_FACTOR: usize = 4;

type Rule = fn(TxView<'_>) -> Result<(), Reject>;

/// Core: `CheckTransaction`. The order decides which reason is reported.
const TRANSACTION_RULES: [Rule; 6] = [
    has_inputs,
    has_outputs,
    fits_into_a_block,
    has_outputs_in_range,
    spends_each_output_once,
    has_prevouts_of_its_kind,
];

/// Checks a transaction by itself. Core: `CheckTransaction`.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_transaction(tx: TxView<'_>) -> Result<(), Reject> {
    TRANSACTION_RULES.iter().try_for_each(|rule| rule(tx))
}

/// Gives `Ok` when a rule's condition holds, and the rule's reason otherwise.
pub(crate) const fn ensure(holds: bool, reject: Reject) -> Result<(), Reject> {
    if holds { Ok(()) } else { Err(reject) }
}

/// A transaction MUST have an input.
fn has_inputs(tx: TxView<'_>) -> Result<(), Reject> {
    ensure(tx.input_count() != 0, Reject::BadTxnsVinEmpty)
}

/// A transaction MUST have an output.
fn has_outputs(tx: TxView<'_>) -> Result<(), Reject> {
    ensure(tx.output_count() != 0, Reject::BadTxnsVoutEmpty)
}

/// A transaction without its witnesses MUST fit into a block.
fn fits_into_a_block(tx: TxView<'_>) -> Result<(), Reject> {
    let weight = tx.stripped_size() * WITNESS_SCALE_FACTOR;
    ensure(weight <= MAX_BLOCK_WEIGHT, Reject::BadTxnsOversize)
}

/// An output's value MUST NOT be negative or over [`MAX_MONEY`], nor MUST the sum up to it be over
/// it (CVE-2010-5139). Each output is judged before the next.
fn has_outputs_in_range(tx: TxView<'_>) -> Result<(), Reject> {
    let mut total: i64 = 0;
    for output in tx.outputs() {
        // An output that saturates the sum is refused by its own value first.
        total = total.saturating_add(output.value);
        ensure(0 <= output.value, Reject::BadTxnsVoutNegative)?;
        ensure(output.value <= MAX_MONEY, Reject::BadTxnsVoutToolarge)?;
        ensure(is_money(total), Reject::BadTxnsTxouttotalToolarge)?;
    }
    Ok(())
}

/// A transaction MUST NOT spend an output twice (CVE-2018-17144).
fn spends_each_output_once(tx: TxView<'_>) -> Result<(), Reject> {
    let mut prevouts: Vec<OutPoint> = tx.inputs().map(|input| input.prevout).collect();
    prevouts.sort_unstable();
    let repeats = prevouts.windows(2).any(|pair| pair[0] == pair[1]);
    ensure(!repeats, Reject::BadTxnsInputsDuplicate)
}

/// A coinbase's input script MUST be of 2 to 100 bytes; any other transaction MUST NOT have an
/// input with a null prevout.
fn has_prevouts_of_its_kind(tx: TxView<'_>) -> Result<(), Reject> {
    if tx.is_coinbase() {
        let size = tx.input(0).script_sig.len();
        return ensure((2..=100).contains(&size), Reject::BadCbLength);
    }
    let has_null = tx.inputs().any(|input| input.prevout == OutPoint::NULL);
    ensure(!has_null, Reject::BadTxnsPrevoutNull)
}
