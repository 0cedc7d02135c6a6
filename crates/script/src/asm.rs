use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::signature::check_signature_encoding;
use crate::{Flags, Instruction, Instructions, decode_number, is_unspendable, opcode};

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An instruction as a word of assembly: pushes of up to four bytes as numbers, longer ones as
/// hexadecimal digits, the rest by name.
pub(crate) struct Word<'a>(pub(crate) &'a Instruction<'a>);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.is_data_push(), decode_number(self.0.data, false, 4)) {
            (true, Ok(number)) => write!(f, "{number}"),
            (true, Err(_)) => Hex(self.0.data).fmt(f),
            (false, _) => f.write_str(opcode::name(self.0.opcode)),
        }
    }
}

/// Writes a script as words with spaces between; a push past the end is `[error]`.
/// Core: `ScriptToAsmStr`.
#[must_use]
pub fn disassemble(script: &[u8]) -> String {
    join(script, |instruction| Word(instruction).to_string())
}

/// The same for a scriptSig: what looks like an ECDSA signature ends with its type, as `[ALL]`.
/// Core: `ScriptToAsmStr` with `fAttemptSighashDecode`.
#[must_use]
pub fn disassemble_signatures(script: &[u8]) -> String {
    let is_unspendable = is_unspendable(script);
    join(script, |instruction| match instruction.data.split_last() {
        Some((sighash_type, der))
            if 4 < instruction.data.len()
                && !is_unspendable
                && check_signature_encoding(instruction.data, Flags::STRICTENC).is_ok() =>
        {
            let outputs = ["ALL", "NONE", "SINGLE"][usize::from((sighash_type & 3) - 1)];
            let anyone = if *sighash_type < 0x80 { "" } else { "|ANYONECANPAY" };
            format!("{}[{outputs}{anyone}]", Hex(der))
        }
        _ => Word(instruction).to_string(),
    })
}

fn join(script: &[u8], word: impl Fn(&Instruction<'_>) -> String) -> String {
    let mut text = String::new();
    for instruction in Instructions::new(script) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&instruction.map_or("[error]".into(), |instruction| word(&instruction)));
    }
    text
}
