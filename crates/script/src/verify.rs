use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use caesure_hash::{Sha256, sha256};
use caesure_wire::{OutputView, TxView, push_compact_size};

use crate::classify::classify_program;
use crate::error::ensure;
use crate::interpreter::{End, Item, Trace};
use crate::opcode::{OP_16, OP_CHECKSIG, OP_DUP, OP_EQUALVERIFY, OP_HASH160, is_success};
use crate::script::{MAX_ITEM_SIZE, MAX_STACK_ITEMS};
use crate::sighash::annex_hash;
use crate::signature::is_tweaked;
use crate::{
    Failure, Flags, Instructions, ScriptError, ScriptSource, ScriptType, Step,
    TAPSCRIPT_LEAF_VERSION, TxContext, is_true, p2sh_hash, push_slice, tap_branch_hash,
    tap_leaf_hash, witness_program,
};

/// The first byte of an annex. Spec: BIP-0341.
const ANNEX_TAG: u8 = 0x50;
/// How much more weight than the witness's size a tapscript's signatures may take. Spec: BIP-0342.
const WEIGHT_OFFSET: usize = 50;

/// Verifies transactions, each given with the outputs that its inputs spend and the flags of its
/// block, and gives one result for each, in their order. A coinbase has nothing to verify, whatever
/// is given for it.
///
/// The work is done as results are taken: `find_map(Result::err)` stops at the first failure, and
/// `enumerate` tells which transaction it is in. Nothing is shared between transactions, so that many
/// threads can each take a part of them.
///
/// # Panics
/// When a transaction, but a coinbase, has not one spent output for each input.
pub fn verify_batch<'a>(
    txs: impl IntoIterator<Item = (TxView<'a>, &'a [OutputView<'a>], Flags)>,
) -> impl Iterator<Item = Result<(), Failure>> {
    txs.into_iter().map(|(tx, spent, flags)| match tx.is_coinbase() {
        true => Ok(()),
        false => TxContext::new(tx, spent).verify(flags),
    })
}

impl TxContext<'_> {
    /// Runs the scripts of all inputs. A coinbase has nothing to verify.
    ///
    /// # Errors
    /// The first input that fails: where, and the first rule that is broken.
    pub fn verify(&self, flags: Flags) -> Result<(), Failure> {
        let count = if self.tx.is_coinbase() { 0 } else { self.tx.input_count() };
        (0..count).try_for_each(|index| self.verify_input_located(index, flags))
    }

    /// Runs the scripts of an input. Core: `VerifyScript`.
    ///
    /// # Errors
    /// The first rule that is broken.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn verify_input(&self, index: usize, flags: Flags) -> Result<(), ScriptError> {
        self.verify_input_counting(index, flags, &mut 0)
    }

    /// The same, adding to `signatures` how many were checked.
    ///
    /// # Errors
    /// The first rule that is broken.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn verify_input_counting(
        &self,
        index: usize,
        flags: Flags,
        signatures: &mut u64,
    ) -> Result<(), ScriptError> {
        let mut verifier = self.verifier(index, flags, None);
        let result = verifier.verify();
        *signatures += verifier.signatures;
        result
    }

    /// The same as [`verify_input`](Self::verify_input), at the same cost, and says which instruction
    /// of which script failed.
    ///
    /// # Errors
    /// The first rule that is broken, and where.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn verify_input_located(&self, index: usize, flags: Flags) -> Result<(), Failure> {
        self.verifier(index, flags, None).verify_located()
    }

    /// The same, calling `trace` before each instruction, those in branches that are not taken
    /// included. When `trace` breaks, the run ends there without a result.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn trace_input(
        &self,
        index: usize,
        flags: Flags,
        trace: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<(), Result<(), Failure>> {
        self.trace_input_to_end(index, flags, trace).0
    }

    /// The same, and returns what the last script that ran has left; none where none ran.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn trace_input_to_end(
        &self,
        index: usize,
        flags: Flags,
        trace: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> (ControlFlow<(), Result<(), Failure>>, Option<End>) {
        let mut verifier = self.verifier(index, flags, Some(trace));
        let result = verifier.verify_located();
        let is_stopped = verifier.is_stopped;
        let flow = if is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(result) };
        (flow, verifier.end)
    }

    const fn verifier<'c>(&'c self, index: usize, flags: Flags, trace: Trace<'c>) -> Verifier<'c> {
        Verifier {
            context: self,
            index,
            flags,
            trace,
            is_stopped: false,
            end: None,
            source: None,
            instruction: None,
            midstates: [const { None }; 6],
            annex_hash: None,
            output_hash: None,
            leaf_hash: [0; 32],
            weight_left: 0,
            signatures: 0,
        }
    }
}

/// Verifies one input.
pub(crate) struct Verifier<'c> {
    pub(crate) context: &'c TxContext<'c>,
    pub(crate) index: usize,
    pub(crate) flags: Flags,
    pub(crate) trace: Trace<'c>,
    /// Whether `trace` stopped the run.
    pub(crate) is_stopped: bool,
    /// What the last script has left, where somebody traces.
    pub(crate) end: Option<End>,
    /// The script that runs, or ran last; none where rules on other things are checked.
    pub(crate) source: Option<ScriptSource>,
    /// The instruction that failed.
    pub(crate) instruction: Option<(usize, u8)>,
    /// For each class of hash types the last script code and the state before the type: many
    /// signatures of one input then cost one pass over the transaction. Core: `SigHashCache`.
    pub(crate) midstates: [Option<(Vec<u8>, Option<Sha256>)>; 6],
    pub(crate) annex_hash: Option<[u8; 32]>,
    pub(crate) output_hash: Option<[u8; 32]>,
    pub(crate) leaf_hash: [u8; 32],
    /// What is left for signatures in a tapscript, in weight units. Spec: BIP-0342.
    pub(crate) weight_left: i64,
    /// How many signatures were put to the curve so far.
    pub(crate) signatures: u64,
}

impl Verifier<'_> {
    pub(crate) const fn has(&self, flag: Flags) -> bool {
        self.flags.contains(flag)
    }

    fn verify_located(&mut self) -> Result<(), Failure> {
        let result = self.verify();
        let Self { index: input, source, instruction, .. } = *self;
        result.map_err(|error| Failure { input, error, source, instruction })
    }

    fn verify(&mut self) -> Result<(), ScriptError> {
        let Self { context, index, .. } = *self;
        let script_sig = context.tx.input(index).script_sig;
        let script_pubkey = context.spent[index].script_pubkey;
        if self.has(Flags::SIGPUSHONLY) {
            self.check_push_only(script_sig)?;
        }
        // The two scripts run one after the other and are never joined (CVE-2010-5141).
        let stack = self.run(ScriptSource::ScriptSig, script_sig, Vec::new())?;
        let is_p2sh = self.has(Flags::P2SH) && p2sh_hash(script_pubkey).is_some();
        let mut pushed = if is_p2sh { stack.clone() } else { Vec::new() };
        let stack = self.run(ScriptSource::ScriptPubkey, script_pubkey, stack)?;
        check_top(&stack)?;
        let (mut script, mut depth) = (Cow::Borrowed(script_pubkey), stack.len());
        if is_p2sh {
            self.check_push_only(script_sig)?;
            script = pushed.pop().expect("its hash was compared");
            let stack = self.run(ScriptSource::RedeemScript, &script, pushed)?;
            check_top(&stack)?;
            depth = stack.len();
        }
        if self.has(Flags::WITNESS)
            && let Some((version, program)) = witness_program(&script)
        {
            self.source = None;
            let mut expected = Vec::new();
            let mut error = ScriptError::WitnessMalleated;
            if is_p2sh {
                push_slice(&mut expected, &script);
                error = ScriptError::WitnessMalleatedP2sh;
            }
            ensure(script_sig == expected, error)?;
            return self.verify_program(version, program, is_p2sh);
        }
        ensure(!self.has(Flags::CLEANSTACK) || depth == 1, ScriptError::Cleanstack)?;
        self.source = None;
        let has_witness = context.tx.witness(index).len() != 0;
        ensure(!self.has(Flags::WITNESS) || !has_witness, ScriptError::WitnessUnexpected)
    }

    /// Core: `CScript::IsPushOnly`.
    fn check_push_only(&mut self, script_sig: &[u8]) -> Result<(), ScriptError> {
        self.source = Some(ScriptSource::ScriptSig);
        let mut instructions = Instructions::new(script_sig);
        let mut position = 0;
        while let Some(item) = instructions.next() {
            if item.map_or(true, |item| OP_16 < item.opcode) {
                self.instruction = Some((position, script_sig[position]));
                return Err(ScriptError::SigPushonly);
            }
            position = instructions.position();
        }
        Ok(())
    }

    /// Core: `VerifyWitnessProgram`.
    fn verify_program(
        &mut self,
        version: u8,
        program: &[u8],
        is_p2sh: bool,
    ) -> Result<(), ScriptError> {
        let witness: Vec<&[u8]> = self.context.tx.witness(self.index).collect();
        match classify_program(version, program) {
            ScriptType::WitnessV0ScriptHash(hash) => {
                let (script, stack) =
                    witness.split_last().ok_or(ScriptError::WitnessProgramWitnessEmpty)?;
                ensure(sha256(script) == *hash, ScriptError::WitnessProgramMismatch)?;
                self.run_witness(ScriptSource::WitnessScript, script, stack)
            }
            ScriptType::WitnessV0KeyHash(hash) => {
                ensure(witness.len() == 2, ScriptError::WitnessProgramMismatch)?;
                let (start, end) = ([OP_DUP, OP_HASH160, 20], [OP_EQUALVERIFY, OP_CHECKSIG]);
                let script = [&start[..], hash, &end].concat();
                self.run_witness(ScriptSource::WitnessScript, &script, &witness)
            }
            ScriptType::Nonstandard => Err(ScriptError::WitnessProgramWrongLength),
            ScriptType::WitnessV1Taproot(key) if !is_p2sh && self.has(Flags::TAPROOT) => {
                self.verify_taproot(key, &witness)
            }
            ScriptType::WitnessV1Taproot(_) | ScriptType::Anchor if !is_p2sh => Ok(()),
            _ => ensure(
                !self.has(Flags::DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM),
                ScriptError::DiscourageUpgradableWitnessProgram,
            ),
        }
    }

    /// Spec: BIP-0341, BIP-0342.
    fn verify_taproot(&mut self, key: &[u8; 32], witness: &[&[u8]]) -> Result<(), ScriptError> {
        let stack = match witness {
            [stack @ .., annex] if !stack.is_empty() && annex.first() == Some(&ANNEX_TAG) => {
                self.annex_hash = Some(annex_hash(annex));
                stack
            }
            _ => witness,
        };
        let (script, control, stack) = match stack {
            [] => return Err(ScriptError::WitnessProgramWitnessEmpty),
            [signature] => return self.check_schnorr(signature, key, None),
            [stack @ .., script, control] => (*script, *control, stack),
        };
        let wrong_size = ScriptError::TaprootWrongControlSize;
        let (first, nodes) = control.split_first().ok_or(wrong_size)?;
        let ([internal_key, path @ ..], []) = nodes.as_chunks::<32>() else {
            return Err(wrong_size);
        };
        ensure(path.len() <= 128, wrong_size)?;
        let leaf_version = first & 0xfe;
        let leaf = tap_leaf_hash(leaf_version, script);
        let root = path.iter().fold(leaf, |node, other| tap_branch_hash(node, *other));
        let is_committed = is_tweaked(key, first & 1 == 1, *internal_key, root);
        ensure(is_committed, ScriptError::WitnessProgramMismatch)?;
        if leaf_version != TAPSCRIPT_LEAF_VERSION {
            let is_discouraged = self.has(Flags::DISCOURAGE_UPGRADABLE_TAPROOT_VERSION);
            return ensure(!is_discouraged, ScriptError::DiscourageUpgradableTaprootVersion);
        }
        self.leaf_hash = leaf;
        let weight = stack_size(witness) + WEIGHT_OFFSET;
        self.weight_left = i64::try_from(weight).expect("a witness is in memory");
        self.source = Some(ScriptSource::Tapscript);
        let mut instructions = Instructions::new(script);
        let mut position = 0;
        while let Some(instruction) = instructions.next() {
            self.instruction = Some((position, script[position]));
            if is_success(instruction.map_err(|_| ScriptError::BadOpcode)?.opcode) {
                let is_discouraged = self.has(Flags::DISCOURAGE_OP_SUCCESS);
                return ensure(!is_discouraged, ScriptError::DiscourageOpSuccess);
            }
            position = instructions.position();
        }
        self.instruction = None;
        ensure(stack.len() <= MAX_STACK_ITEMS, ScriptError::StackSize)?;
        self.run_witness(ScriptSource::Tapscript, script, stack)
    }

    /// Core: `ExecuteWitnessScript`.
    fn run_witness(
        &mut self,
        source: ScriptSource,
        script: &[u8],
        stack: &[&[u8]],
    ) -> Result<(), ScriptError> {
        let are_small = stack.iter().all(|item| item.len() <= MAX_ITEM_SIZE);
        ensure(are_small, ScriptError::PushSize)?;
        let stack = stack.iter().map(|item| Cow::Borrowed(*item)).collect();
        let stack = self.run(source, script, stack)?;
        ensure(stack.len() == 1, ScriptError::Cleanstack)?;
        check_top(&stack)
    }
}

fn check_top(stack: &[Item<'_>]) -> Result<(), ScriptError> {
    ensure(stack.last().is_some_and(|top| is_true(top)), ScriptError::EvalFalse)
}

/// The size of a witness stack as it is serialized.
fn stack_size(witness: &[&[u8]]) -> usize {
    let mut prefixes = Vec::new();
    push_compact_size(&mut prefixes, witness.len());
    witness.iter().for_each(|item| push_compact_size(&mut prefixes, item.len()));
    prefixes.len() + witness.iter().map(|item| item.len()).sum::<usize>()
}
