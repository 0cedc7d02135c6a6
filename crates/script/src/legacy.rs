use alloc::vec::Vec;

use caesure_hash::Sha256;
use caesure_wire::{TxView, push_compact_size};

use crate::opcode::OP_CODESEPARATOR;
use crate::sighash::{finish, selection, update_compact_size};
use crate::{Instructions, SIGHASH_ALL, SIGHASH_NONE, SIGHASH_SINGLE};

/// An input with an empty script: 36 bytes of prevout, the length, four bytes of sequence.
const BLANK_SIZE: usize = 41;
const PREVOUT_SIZE: usize = 36;
/// How many bytes lie between saved states: whole blocks of SHA-256, and few against a signature.
const STRIDE: usize = 1024;

/// Computes the hash that a signature outside witnesses commits to. `script_code` is the running
/// script from its last `OP_CODESEPARATOR` on, without the signature. For one output that is not
/// there, the hash is the number one, little-endian. Core: `SignatureHash`, `SigVersion::BASE`.
///
/// It writes the whole transaction anew: see [`TxContext::legacy_sighash`] for many inputs.
///
/// # Panics
/// When there is no such input.
///
/// [`TxContext::legacy_sighash`]: crate::TxContext::legacy_sighash
#[must_use]
pub fn legacy_sighash(
    tx: TxView<'_>,
    index: usize,
    script_code: &[u8],
    sighash_type: u32,
) -> [u8; 32] {
    finish(legacy_midstate(tx, index, script_code, sighash_type), sighash_type)
}

/// The state before the hash type; none when the output to sign is missing.
pub(crate) fn legacy_midstate(
    tx: TxView<'_>,
    index: usize,
    code: &[u8],
    sighash_type: u32,
) -> Option<Sha256> {
    assert!(index < tx.input_count(), "there is such an input");
    let (selected, anyone_can_pay) = selection(sighash_type);
    if selected == SIGHASH_SINGLE && tx.output_count() <= index {
        return None;
    }
    let place = if anyone_can_pay { 0 } else { index };
    Some(Blanked::new(tx, index, sighash_type).midstate(place, code))
}

/// A transaction as legacy signatures see it, with every script empty: what is left to do for an
/// input is to put its script in.
#[derive(Clone, Debug)]
pub(crate) struct Blanked {
    bytes: Vec<u8>,
    /// Where the first input begins.
    inputs: usize,
    /// The states after one [`STRIDE`] of bytes, after two, and so on.
    states: Vec<Sha256>,
}

impl Blanked {
    /// What every signature of type ALL sees, whatever its input.
    pub(crate) fn for_all(tx: TxView<'_>) -> Self {
        let mut blanked = Self::new(tx, 0, SIGHASH_ALL.into());
        let inputs_end = blanked.inputs + BLANK_SIZE * tx.input_count();
        let mut hash = Sha256::new();
        for part in blanked.bytes[..inputs_end].chunks_exact(STRIDE) {
            hash.update(part);
            blanked.states.push(hash.clone());
        }
        blanked
    }

    /// What a signature for the input `index` sees.
    fn new(tx: TxView<'_>, index: usize, sighash_type: u32) -> Self {
        let (selected, anyone_can_pay) = selection(sighash_type);
        let signed = if anyone_can_pay { index..index + 1 } else { 0..tx.input_count() };
        let outputs = match selected {
            SIGHASH_NONE => 0..0,
            SIGHASH_SINGLE => index..index + 1,
            _ => 0..tx.output_count(),
        };
        let mut bytes = tx.version().to_le_bytes().to_vec();
        push_compact_size(&mut bytes, signed.len());
        let inputs = bytes.len();
        bytes.reserve(BLANK_SIZE * signed.len() + 16);
        for place in signed {
            let input = tx.input(place);
            let is_kept = selected == SIGHASH_ALL || place == index;
            bytes.extend_from_slice(&input.prevout.to_bytes());
            bytes.push(0);
            bytes.extend_from_slice(&if is_kept { input.sequence } else { 0 }.to_le_bytes());
        }
        // The outputs before a single one are blank: value -1, empty script.
        let blank_count = if selected == SIGHASH_SINGLE { index } else { 0 };
        push_compact_size(&mut bytes, blank_count + outputs.len());
        for _ in 0..blank_count {
            bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
        }
        outputs.for_each(|place| bytes.extend_from_slice(tx.output_bytes(place)));
        bytes.extend_from_slice(&tx.lock_time().to_le_bytes());
        Self { bytes, inputs, states: Vec::new() }
    }

    /// The state before the hash type, with `code` as the script of the input at `place`.
    pub(crate) fn midstate(&self, place: usize, code: &[u8]) -> Sha256 {
        let script = self.inputs + BLANK_SIZE * place + PREVOUT_SIZE;
        let saved = (script / STRIDE).min(self.states.len());
        let mut hash = self.states[..saved].last().cloned().unwrap_or_default();
        hash.update(&self.bytes[saved * STRIDE..script]);
        update_script_code(&mut hash, code);
        hash.chain(&self.bytes[script + 1..])
    }
}

/// Hashes a script without its code separators. What follows a push that runs past the end is
/// announced in the length and left out, as Core does it: such a script fails later anyway.
fn update_script_code(hash: &mut Sha256, script: &[u8]) {
    let mut instructions = Instructions::new(script);
    let whole = instructions.by_ref().flatten();
    let separators = whole.filter(|item| item.opcode == OP_CODESEPARATOR);
    let separators: Vec<usize> = separators.map(|item| item.position).collect();
    update_compact_size(hash, script.len() - separators.len());
    let mut start = 0;
    for separator in separators {
        hash.update(&script[start..separator]);
        start = separator + 1;
    }
    hash.update(&script[start..instructions.position()]);
}
