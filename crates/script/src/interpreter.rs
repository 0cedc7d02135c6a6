//! The stack machine: one script, one instruction at a time. Core: `EvalScript`.

mod arithmetic;
mod signatures;
mod stack;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::ops::ControlFlow;

use caesure_text::hex;

use crate::error::ensure;
use crate::opcode::*;
use crate::script::{MAX_ITEM_SIZE, MAX_OPS, MAX_SCRIPT_SIZE, MAX_STACK_ITEMS};
use crate::verify::Verifier;
use crate::{Flags, Instruction, Instructions, ScriptError, decode_number, is_true};

/// A stack item: a slice of the transaction where it was pushed, owned where it was computed.
pub(crate) type Item<'s> = Cow<'s, [u8]>;

/// What is called before each instruction, for a step debugger; it may stop the run.
pub(crate) type Trace<'t> = Option<&'t mut dyn FnMut(&Step<'_>) -> ControlFlow<()>>;

/// Which of an input's scripts runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptSource {
    /// The input's own.
    ScriptSig,
    /// The spent output's.
    ScriptPubkey,
    /// The last item that scriptSig pushed. Spec: BIP-0016.
    RedeemScript,
    /// The last item of the witness, or what a key hash stands for. Spec: BIP-0141.
    WitnessScript,
    /// A leaf of the script tree. Spec: BIP-0342.
    Tapscript,
}

impl fmt::Display for ScriptSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScriptSig => "scriptSig",
            Self::ScriptPubkey => "scriptPubKey",
            Self::RedeemScript => "redeem script",
            Self::WitnessScript => "witness script",
            Self::Tapscript => "tapscript",
        })
    }
}

/// The machine before an instruction. `Display` is a few lines for people.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Which script runs.
    pub source: ScriptSource,
    /// The whole script.
    pub script: &'a [u8],
    /// The instruction that comes.
    pub instruction: Instruction<'a>,
    /// The stack, bottom first.
    pub stack: &'a [Cow<'a, [u8]>],
    /// The other stack, bottom first.
    pub alt_stack: &'a [Cow<'a, [u8]>],
    /// For each open conditional, outermost first, whether the branch is the chosen one. The
    /// instruction [is skipped](Self::is_skipped) unless all are.
    pub conditions: &'a [bool],
    /// How many instructions count towards [`MAX_OPS`] so far; 0 in tapscript.
    pub op_count: usize,
    /// Where what signatures commit to begins, in bytes: behind the last `OP_CODESEPARATOR` that ran.
    pub code_start: usize,
    /// The same as signatures in tapscript commit to it: how many instructions stand before that
    /// `OP_CODESEPARATOR`; `u32::MAX` when none ran. Spec: BIP-0342.
    pub code_separator: u32,
}

impl Step<'_> {
    /// Returns how many more instructions of those that count may run; none in tapscript, where no
    /// number of them is too high.
    #[must_use]
    pub fn ops_left(&self) -> Option<usize> {
        (self.source != ScriptSource::Tapscript).then(|| MAX_OPS.saturating_sub(self.op_count))
    }

    /// Returns whether the instruction stands in a branch that is not taken. Conditionals are never
    /// skipped; of the others, the rules on sizes, counts and disabled opcodes hold all the same.
    #[must_use]
    pub fn is_skipped(&self) -> bool {
        self.conditions.contains(&false) && !matches!(self.instruction.opcode, OP_IF..=OP_ENDIF)
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, instruction, conditions, code_start, .. } = self;
        for (name, items) in [("stack", self.stack), ("alt", self.alt_stack)] {
            write!(f, "  {name:5} [")?;
            for (place, item) in items.iter().enumerate() {
                let space = if place == 0 { "" } else { " " };
                write!(f, "{space}0x{}", hex::encode(item))?;
            }
            writeln!(f, "]")?;
        }
        let position = instruction.position;
        write!(f, "  if {conditions:?}, ")?;
        if let Some(left) = self.ops_left() {
            write!(f, "{left} ops left, ")?;
        }
        writeln!(f, "code from byte {code_start}")?;
        write!(f, "{source} {position}: {}", crate::asm::Word(instruction))?;
        f.write_str(if self.is_skipped() { " (skipped)" } else { "" })
    }
}

/// The machine behind the last instruction that ran, be it good or the one that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Which script ran last.
    pub source: ScriptSource,
    /// The stack, bottom first.
    pub stack: Vec<Vec<u8>>,
    /// The other stack, bottom first.
    pub alt_stack: Vec<Vec<u8>>,
}

impl ScriptSource {
    /// Whether the rules before segwit hold.
    pub(crate) const fn is_legacy(self) -> bool {
        !matches!(self, Self::WitnessScript | Self::Tapscript)
    }
}

/// A script that runs.
struct Interpreter<'s, 'r, 'c> {
    script: &'s [u8],
    source: ScriptSource,
    stack: Vec<Item<'s>>,
    alt_stack: Vec<Item<'s>>,
    conditions: Vec<bool>,
    false_conditions: usize,
    op_count: usize,
    code_start: usize,
    /// How many instructions stand before the next one.
    index: u32,
    /// The index of the last `OP_CODESEPARATOR` that ran.
    code_separator: u32,
    verifier: &'r mut Verifier<'c>,
}

impl Verifier<'_> {
    /// Runs a script and returns the stack that it leaves.
    pub(crate) fn run<'s>(
        &mut self,
        source: ScriptSource,
        script: &'s [u8],
        stack: Vec<Item<'s>>,
    ) -> Result<Vec<Item<'s>>, ScriptError> {
        let may_be_long = source == ScriptSource::Tapscript;
        self.source = Some(source);
        ensure(may_be_long || script.len() <= MAX_SCRIPT_SIZE, ScriptError::ScriptSize)?;
        let mut machine = Interpreter {
            script,
            source,
            stack,
            alt_stack: Vec::new(),
            conditions: Vec::new(),
            false_conditions: 0,
            op_count: 0,
            code_start: 0,
            index: 0,
            code_separator: u32::MAX,
            verifier: self,
        };
        let mut instructions = Instructions::new(script);
        let mut position = 0;
        let mut result = Ok(());
        while let Some(instruction) = instructions.next() {
            let next = instructions.position();
            let instruction = instruction.map_err(|_| ScriptError::BadOpcode);
            result = instruction.and_then(|instruction| machine.step(instruction, next));
            if result.is_err() {
                machine.verifier.instruction = Some((position, script[position]));
                break;
            }
            position = next;
        }
        if machine.verifier.trace.is_some() {
            let owned = |items: &[Item<'_>]| items.iter().map(|item| item.to_vec()).collect();
            let (stack, alt_stack) = (owned(&machine.stack), owned(&machine.alt_stack));
            machine.verifier.end = Some(End { source, stack, alt_stack });
        }
        result?;
        ensure(machine.conditions.is_empty(), ScriptError::UnbalancedConditional)?;
        Ok(machine.stack)
    }
}

impl<'s> Interpreter<'s, '_, '_> {
    #[cold]
    fn trace(&mut self, instruction: Instruction<'s>) -> Result<(), ScriptError> {
        let Some(trace) = &mut self.verifier.trace else { return Ok(()) };
        let flow = trace(&Step {
            source: self.source,
            script: self.script,
            instruction,
            stack: &self.stack,
            alt_stack: &self.alt_stack,
            conditions: &self.conditions,
            op_count: self.op_count,
            code_start: self.code_start,
            code_separator: self.code_separator,
        });
        self.verifier.is_stopped = flow.is_break();
        // What error ends a run that is stopped, no one sees.
        ensure(flow.is_continue(), ScriptError::EvalFalse)
    }

    /// Runs one instruction; `next` is where the following one begins.
    #[inline]
    fn step(&mut self, instruction: Instruction<'s>, next: usize) -> Result<(), ScriptError> {
        let Instruction { opcode, data, .. } = instruction;
        if self.verifier.trace.is_some() {
            self.trace(instruction)?;
        }
        let is_running = self.false_conditions == 0;
        ensure(data.len() <= MAX_ITEM_SIZE, ScriptError::PushSize)?;
        if self.source != ScriptSource::Tapscript && OP_16 < opcode {
            self.count_ops(1)?;
        }
        ensure(!is_disabled(opcode), ScriptError::DisabledOpcode)?;
        if opcode == OP_CODESEPARATOR && self.source.is_legacy() {
            ensure(!self.verifier.has(Flags::CONST_SCRIPTCODE), ScriptError::OpCodeseparator)?;
        }
        if let Some(data) = instruction.pushed() {
            if is_running {
                let may_be_padded = !self.verifier.has(Flags::MINIMALDATA);
                ensure(may_be_padded || instruction.is_minimal_push(), ScriptError::Minimaldata)?;
                self.stack.push(Cow::Borrowed(data));
            }
        } else if matches!(opcode, OP_IF..=OP_ENDIF) {
            self.conditional(opcode, is_running)?;
        } else if is_running {
            self.operate(opcode, next)?;
        }
        self.index += 1;
        let item_count = self.stack.len() + self.alt_stack.len();
        ensure(item_count <= MAX_STACK_ITEMS, ScriptError::StackSize)
    }

    fn count_ops(&mut self, count: usize) -> Result<(), ScriptError> {
        self.op_count += count;
        ensure(self.op_count <= MAX_OPS, ScriptError::OpCount)
    }

    #[inline]
    fn operate(&mut self, opcode: u8, next: usize) -> Result<(), ScriptError> {
        match opcode {
            OP_NOP | OP_VERIFY => {}
            OP_CHECKLOCKTIMEVERIFY => self.check_lock_time()?,
            OP_CHECKSEQUENCEVERIFY => self.check_sequence()?,
            OP_NOP1..=OP_NOP10 => {
                let is_discouraged = self.verifier.has(Flags::DISCOURAGE_UPGRADABLE_NOPS);
                ensure(!is_discouraged, ScriptError::DiscourageUpgradableNops)?;
            }
            OP_RETURN => return Err(ScriptError::OpReturn),
            OP_TOALTSTACK..=OP_TUCK | OP_SIZE => self.rearrange(opcode)?,
            OP_EQUAL | OP_EQUALVERIFY => {
                let [a, b] = self.pop_array()?;
                self.stack.push(truth(a == b));
            }
            OP_1ADD | OP_1SUB | OP_NEGATE..=OP_0NOTEQUAL => self.compute_one(opcode)?,
            OP_ADD | OP_SUB | OP_BOOLAND..=OP_MAX => self.compute_two(opcode)?,
            OP_WITHIN => self.within()?,
            OP_RIPEMD160..=OP_HASH256 => {
                let [item] = self.pop_array()?;
                self.stack.push(Cow::Owned(hash(opcode, &item)));
            }
            OP_CODESEPARATOR => {
                self.code_start = next;
                self.code_separator = self.index;
            }
            OP_CHECKSIG | OP_CHECKSIGVERIFY => self.check_sig()?,
            OP_CHECKMULTISIG | OP_CHECKMULTISIGVERIFY => self.check_multisig()?,
            OP_CHECKSIGADD => self.check_sig_add()?,
            _ => return Err(ScriptError::BadOpcode),
        }
        let error = match opcode {
            OP_VERIFY => ScriptError::Verify,
            OP_EQUALVERIFY => ScriptError::Equalverify,
            OP_NUMEQUALVERIFY => ScriptError::Numequalverify,
            OP_CHECKSIGVERIFY => ScriptError::Checksigverify,
            OP_CHECKMULTISIGVERIFY => ScriptError::Checkmultisigverify,
            _ => return Ok(()),
        };
        let [item] = self.pop_array()?;
        ensure(is_true(&item), error)
    }

    /// Runs an opcode from `OP_IF` to `OP_ENDIF`, which also count where the branch is not chosen.
    fn conditional(&mut self, opcode: u8, is_running: bool) -> Result<(), ScriptError> {
        match opcode {
            OP_IF | OP_NOTIF => {
                let mut is_chosen = false;
                if is_running {
                    let [item] = self.pop_array()?;
                    let is_minimal = matches!(*item, [] | [1]);
                    let may_be_padded = !self.verifier.has(Flags::MINIMALIF);
                    match self.source {
                        ScriptSource::Tapscript => {
                            ensure(is_minimal, ScriptError::TapscriptMinimalif)?;
                        }
                        ScriptSource::WitnessScript => {
                            ensure(is_minimal || may_be_padded, ScriptError::Minimalif)?;
                        }
                        _ => {}
                    }
                    is_chosen = is_true(&item) == (opcode == OP_IF);
                }
                self.conditions.push(is_chosen);
                self.false_conditions += usize::from(!is_chosen);
            }
            OP_ELSE | OP_ENDIF => {
                let was_chosen = self.conditions.pop().ok_or(ScriptError::UnbalancedConditional)?;
                self.false_conditions -= usize::from(!was_chosen);
                if opcode == OP_ELSE {
                    self.conditions.push(!was_chosen);
                    self.false_conditions += usize::from(was_chosen);
                }
            }
            _ => return Err(ScriptError::BadOpcode),
        }
        Ok(())
    }

    /// Spec: BIP-0065. Core: `CheckLockTime`.
    fn check_lock_time(&self) -> Result<(), ScriptError> {
        if !self.verifier.has(Flags::CHECKLOCKTIMEVERIFY) {
            return Ok(());
        }
        /// From here on a lock time is a time and not a height.
        const THRESHOLD: i64 = 500_000_000;
        let wanted = self.peek_lock_time()?;
        let tx = self.verifier.context.tx;
        let lock_time = i64::from(tx.lock_time());
        let is_same_kind = (wanted < THRESHOLD) == (lock_time < THRESHOLD);
        let is_final = tx.input(self.verifier.index).sequence == u32::MAX;
        ensure(is_same_kind && wanted <= lock_time && !is_final, ScriptError::UnsatisfiedLocktime)
    }

    /// Spec: BIP-0112. Core: `CheckSequence`.
    fn check_sequence(&self) -> Result<(), ScriptError> {
        if !self.verifier.has(Flags::CHECKSEQUENCEVERIFY) {
            return Ok(());
        }
        const DISABLED: i64 = 1 << 31;
        const IS_TIME: i64 = 1 << 22;
        const MASK: i64 = IS_TIME | 0xffff;
        let wanted = self.peek_lock_time()?;
        if wanted & DISABLED != 0 {
            return Ok(());
        }
        let tx = self.verifier.context.tx;
        let sequence = i64::from(tx.input(self.verifier.index).sequence);
        let is_on = 2 <= tx.version() && sequence & DISABLED == 0;
        let is_same_kind = wanted & IS_TIME == sequence & IS_TIME;
        let is_past = wanted & MASK <= sequence & MASK;
        ensure(is_on && is_same_kind && is_past, ScriptError::UnsatisfiedLocktime)
    }

    /// A lock time may have five bytes, so that times after 2038 can be written.
    fn peek_lock_time(&self) -> Result<i64, ScriptError> {
        let item = self.stack.last().ok_or(ScriptError::InvalidStackOperation)?;
        let wanted = decode_number(item, self.verifier.has(Flags::MINIMALDATA), 5)?;
        ensure(0 <= wanted, ScriptError::NegativeLocktime)?;
        Ok(wanted)
    }
}

/// What an opcode pushes for true and false.
const fn truth<'s>(is_true: bool) -> Item<'s> {
    Cow::Borrowed(if is_true { &[1] } else { &[] })
}

fn hash(opcode: u8, item: &[u8]) -> Vec<u8> {
    match opcode {
        OP_RIPEMD160 => caesure_hash::ripemd160(item).into(),
        OP_SHA1 => caesure_hash::sha1(item).into(),
        OP_SHA256 => caesure_hash::sha256(item).into(),
        OP_HASH160 => caesure_hash::hash160(item).into(),
        _ => caesure_hash::sha256d(item).into(),
    }
}
