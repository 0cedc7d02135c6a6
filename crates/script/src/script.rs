use caesure_wire::Witness;

use crate::opcode::*;
use crate::{Instruction, Instructions, is_push_only};

/// The most bytes that a stack item may have.
pub const MAX_ITEM_SIZE: usize = 520;
/// The most bytes of a script before tapscript.
pub const MAX_SCRIPT_SIZE: usize = 10_000;
/// The most instructions of a script before tapscript that do not push.
pub const MAX_OPS: usize = 201;
/// The most items on both stacks together.
pub const MAX_STACK_ITEMS: usize = 1_000;
/// The most public keys of an `OP_CHECKMULTISIG`.
pub const MAX_MULTISIG_KEYS: usize = 20;

/// Returns whether no input can ever unlock the script, so that its output is not kept: it begins
/// with `OP_RETURN` or is too long. Core: `CScript::IsUnspendable`.
#[must_use]
pub fn is_unspendable(script: &[u8]) -> bool {
    script.first() == Some(&OP_RETURN) || MAX_SCRIPT_SIZE < script.len()
}

/// Returns the hash if the script pays to a script hash. Spec: BIP-0016.
#[must_use]
pub fn p2sh_hash(script: &[u8]) -> Option<&[u8; 20]> {
    let (hash, rest) = script.strip_prefix(&[OP_HASH160, 20])?.split_first_chunk()?;
    (rest == [OP_EQUAL]).then_some(hash)
}

/// Returns version and program if the script is a witness program. Spec: BIP-0141.
#[must_use]
pub fn witness_program(script: &[u8]) -> Option<(u8, &[u8])> {
    let [opcode @ (OP_0 | OP_1..=OP_16), size @ 2..=40, program @ ..] = script else { return None };
    let version = opcode.saturating_sub(OP_1 - 1);
    (usize::from(*size) == program.len()).then_some((version, program))
}

/// Returns whether a public key has the size that its first byte asks for. Core: `ValidSize`.
pub(crate) const fn is_key_size(key: &[u8]) -> bool {
    match key {
        [2 | 3, ..] => key.len() == 33,
        [4 | 6 | 7, ..] => key.len() == 65,
        _ => false,
    }
}

/// Counts signature checks. `OP_CHECKMULTISIG` counts as 20, or when `accurate` as the number just
/// before it. A push past the end ends the count. Core: `CScript::GetSigOpCount(bool)`.
#[must_use]
pub fn sigop_count(script: &[u8], accurate: bool) -> usize {
    let mut count = 0;
    let mut before = 0xff;
    for Instruction { opcode, .. } in Instructions::new(script).map_while(Result::ok) {
        count += match (opcode, before) {
            (OP_CHECKSIG | OP_CHECKSIGVERIFY, _) => 1,
            (OP_CHECKMULTISIG..=OP_CHECKMULTISIGVERIFY, OP_1..=OP_16) if accurate => {
                usize::from(before - OP_1 + 1)
            }
            (OP_CHECKMULTISIG..=OP_CHECKMULTISIGVERIFY, _) => MAX_MULTISIG_KEYS,
            _ => 0,
        };
        before = opcode;
    }
    count
}

/// Counts the signature checks of the redeem script; 0 unless `script_pubkey` pays to a script hash.
/// Spec: BIP-0016. Core: `GetP2SHSigOpCount`.
#[must_use]
pub fn p2sh_sigop_count(script_sig: &[u8], script_pubkey: &[u8]) -> usize {
    if p2sh_hash(script_pubkey).is_none() {
        return 0;
    }
    last_push(script_sig).map_or(0, |redeem| sigop_count(redeem, true))
}

/// Counts the signature checks of a witness program, bare or in a script hash: 1 of a key hash, those
/// of the witness script of a script hash, 0 of other versions. Spec: BIP-0141.
/// Core: `CountWitnessSigOps`.
#[must_use]
pub fn witness_sigop_count(script_sig: &[u8], script_pubkey: &[u8], witness: Witness<'_>) -> usize {
    let program = witness_program(script_pubkey).or_else(|| {
        p2sh_hash(script_pubkey)?;
        witness_program(last_push(script_sig)?)
    });
    match program {
        Some((0, program)) if program.len() == 20 => 1,
        Some((0, program)) if program.len() == 32 => {
            witness.last().map_or(0, |script| sigop_count(script, true))
        }
        _ => 0,
    }
}

/// What the last instruction of a script that only pushes pushes; as in Core, nothing for `OP_1` and
/// other numbers. None when it is not such a script.
fn last_push(script: &[u8]) -> Option<&[u8]> {
    let last = Instructions::new(script).last();
    is_push_only(script).then(|| last.and_then(Result::ok).map_or(&[][..], |item| item.data))
}
