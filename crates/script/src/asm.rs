use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use caesure_text::hex;

use crate::instruction::push_as;
use crate::opcode::*;
use crate::signature::check_signature_encoding;
use crate::{
    AssembleError, Flags, Instruction, Instructions, decode_number, is_unspendable, push_int,
    push_slice,
};

/// The types of signatures that Core writes by name.
const SIGHASH_NAMES: [(&str, u8); 6] = [
    ("ALL", 0x01),
    ("ALL|ANYONECANPAY", 0x81),
    ("NONE", 0x02),
    ("NONE|ANYONECANPAY", 0x82),
    ("SINGLE", 0x03),
    ("SINGLE|ANYONECANPAY", 0x83),
];

/// An instruction as a word of assembly: pushes of up to four bytes as numbers, longer ones as
/// hexadecimal digits, the rest by name.
pub(crate) struct Word<'a>(pub(crate) &'a Instruction<'a>);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.is_data_push(), decode_number(self.0.data, false, 4)) {
            (true, Ok(number)) => write!(f, "{number}"),
            (true, Err(_)) => f.write_str(&hex::encode(self.0.data)),
            (false, _) => f.write_str(name(self.0.opcode)),
        }
    }
}

/// Writes a script as Core's RPC does, in words with spaces between: pushes of up to four bytes as
/// numbers, longer ones as hexadecimal digits, opcodes by name.
///
/// This loses how a push is written, whether a number is padded, and unknown opcodes
/// (`OP_UNKNOWN`); a push past the end is `[error]`. [`disassemble_exact`] writes the same words
/// where these say all, and others where not. Core: `ScriptToAsmStr`.
#[must_use]
pub fn disassemble(script: &[u8]) -> String {
    join(script, |instruction, _| match instruction {
        Some(instruction) => Word(instruction).to_string(),
        None => "[error]".into(),
    })
}

/// The same for a scriptSig: what looks like an ECDSA signature ends with its type, as `[ALL]`.
/// Core: `ScriptToAsmStr` with `fAttemptSighashDecode`.
#[must_use]
pub fn disassemble_signatures(script: &[u8]) -> String {
    let is_unspendable = is_unspendable(script);
    join(script, |instruction, _| match instruction {
        Some(Instruction { data, .. })
            if 4 < data.len()
                && !is_unspendable
                && check_signature_encoding(data, Flags::STRICTENC).is_ok()
                && let Some((sighash_type, der)) = data.split_last()
                && let Some((name, _)) =
                    SIGHASH_NAMES.iter().find(|(_, value)| value == sighash_type) =>
        {
            format!("{}[{name}]", hex::encode(der))
        }
        Some(instruction) => Word(instruction).to_string(),
        None => "[error]".into(),
    })
}

/// Writes any bytes so that [`assemble`] gives them back.
///
/// The words are those of [`disassemble`] where they come back. For a push that they do not tell
/// exactly comes its opcode, then its data, as `OP_PUSHBYTES_1 05` or `OP_PUSHDATA1 ''`; unknown
/// opcodes and a push past the end come as raw bytes, as `0xbb`. So the two functions write the
/// same exactly when the script comes back from the text of [`disassemble`]. That is when
///
/// - the script is whole, and all its opcodes are known;
/// - each push is the shortest ([`Instruction::is_minimal_push`]);
/// - pushes of up to four bytes are numbers without padding ([`decode_number`]);
/// - no push of five bytes reads as a number from 1000000000 to 4294967295.
///
/// ```
/// use caesure_script::{assemble, disassemble, disassemble_exact};
///
/// let script = [0x76, 0x4c, 2, 0xab, 0xcd, 0x01, 0x05, 0xbb, 0x03, 0xff];
/// assert_eq!(disassemble(&script), "OP_DUP -19883 5 OP_UNKNOWN [error]");
/// let text = disassemble_exact(&script);
/// assert_eq!(text, "OP_DUP OP_PUSHDATA1 abcd OP_PUSHBYTES_1 05 0xbb 0x03ff");
/// assert_eq!(assemble(&text).unwrap(), script);
/// ```
#[must_use]
pub fn disassemble_exact(script: &[u8]) -> String {
    join(script, |instruction, bytes| {
        let raw = || format!("0x{}", hex::encode(bytes));
        let Some(instruction) = instruction else { return raw() };
        let word = Word(instruction).to_string();
        let comes_back = assemble(&word).is_ok_and(|again| again == bytes);
        match instruction.opcode {
            _ if comes_back => word,
            opcode @ 1..OP_PUSHDATA1 => {
                format!("OP_PUSHBYTES_{opcode} {}", hex::encode(instruction.data))
            }
            OP_PUSHDATA1..=OP_PUSHDATA4 if instruction.data.is_empty() => {
                format!("{} ''", name(instruction.opcode))
            }
            OP_PUSHDATA1..=OP_PUSHDATA4 => {
                format!("{} {}", name(instruction.opcode), hex::encode(instruction.data))
            }
            _ => raw(),
        }
    })
}

/// Puts a script together from words with white space between. The reverse of
/// [`disassemble_exact`]; also reads what Core prints, what Core's test vectors and `bitcoin-tx`
/// hold (`ParseScript`), and what rust-bitcoin and block explorers print.
///
/// Each word stands for bytes of its own, so that texts join as scripts do. It is, in this order:
///
/// | word | bytes |
/// |---|---|
/// | `0x4c05ab` | these bytes, raw |
/// | `-1`, `17` | the shortest push of this number, from -4294967295 to 4294967295 |
/// | `OP_DUP`, `DUP` | the opcode of this name, by [`from_name`](crate::opcode::from_name) |
/// | `02abcd`, also `1234567890ab` | the shortest push of this data, in hexadecimal |
/// | `3006020101020101[ALL]` | a push of a signature with its type, in Core's six names for them |
/// | `'text'` | a push of the characters between the quotes, which hold no white space |
///
/// After `OP_PUSHBYTES_1` to `OP_PUSHBYTES_75`, `OP_PUSHDATA1`, `OP_PUSHDATA2` and `OP_PUSHDATA4`
/// the next word is data (one of the last three rows), pushed in this way and no other; `''` is
/// no data.
///
/// A word of decimal digits is a number when it has fewer than ten digits, or ten and is from
/// 1000000000 to 4294967295; else it is data, since Core prints data so. (`ParseScript` reads
/// longer numbers only if zeros lead.)
///
/// # Errors
/// At the first word that is none of these, and where a push has no data or not its size of data.
pub fn assemble(text: &str) -> Result<Vec<u8>, AssembleError> {
    let mut script = Vec::new();
    let mut push = None;
    let mut next = 0;
    for word in text.split(|c: char| c.is_ascii_whitespace()) {
        let at = next;
        next += word.len() + 1;
        if word.is_empty() {
        } else if let Some((opcode, start)) = push.take() {
            let data = data_of(word).ok_or(AssembleError::MissingData { at: start })?;
            push_as(&mut script, opcode, &data).ok_or(AssembleError::DataSize { at })?;
        } else if let Some(raw) = word.strip_prefix("0x").filter(|raw| !raw.is_empty()) {
            script.extend(hex::decode(raw).map_err(|_| AssembleError::UnknownWord { at })?);
        } else if let Some(number) = number_of(word) {
            push_int(&mut script, number);
        } else if let Some(opcode) = from_name(word) {
            match opcode {
                1..=OP_PUSHDATA4 => push = Some((opcode, at)),
                _ => script.push(opcode),
            }
        } else {
            push_slice(&mut script, &data_of(word).ok_or(AssembleError::UnknownWord { at })?);
        }
    }
    match push {
        Some((_, at)) => Err(AssembleError::MissingData { at }),
        None => Ok(script),
    }
}

/// Joins a word for each instruction, given with its bytes; those of a push past the end come last,
/// without an instruction.
fn join(script: &[u8], word: impl Fn(Option<&Instruction<'_>>, &[u8]) -> String) -> String {
    let mut text = String::new();
    let mut instructions = Instructions::new(script);
    let mut start = 0;
    while let Some(instruction) = instructions.next() {
        if start != 0 {
            text.push(' ');
        }
        let instruction = instruction.as_ref().ok();
        let end = instruction.map_or(script.len(), |_| instructions.position());
        text.push_str(&word(instruction, &script[start..end]));
        start = end;
    }
    text
}

/// The number that a word is, unless Core would print it for data.
fn number_of(word: &str) -> Option<i64> {
    let is_data = word.starts_with('+') || 10 <= word.len() && word.starts_with('0');
    let number: i64 = word.parse().ok().filter(|_| !is_data)?;
    (number.unsigned_abs() <= u32::MAX.into()).then_some(number)
}

fn data_of(word: &str) -> Option<Vec<u8>> {
    if let Some(quoted) = word.strip_prefix('\'') {
        return quoted.strip_suffix('\'').map(Into::into);
    }
    let Some((der, name)) = word.strip_suffix(']').and_then(|word| word.split_once('[')) else {
        return hex::decode(word).ok();
    };
    let (_, sighash_type) = SIGHASH_NAMES.iter().find(|(known, _)| *known == name)?;
    let mut data = hex::decode(der).ok()?;
    data.push(*sighash_type);
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_word() {
        let check = |text, expected: &[u8]| assert_eq!(assemble(text).as_deref(), Ok(expected));
        check("", &[]);
        check(" \t\r\n", &[]);
        check("0x4c05ab", &[0x4c, 5, 0xab]);
        check("0 -0 00 -1 16 17 -17", &[0, 0, 0, 0x4f, 0x60, 1, 17, 1, 0x91]);
        check("DUP OP_DUP\nOP_1 1NEGATE", &[0x76, 0x76, 0x51, 0x4f]);
        check("ab 02AB ADD", &[1, 0xab, 2, 2, 0xab, 0x93]);
        check("'a' '' '''", &[1, b'a', 0, 1, b'\'']);
        check("0102[ALL|ANYONECANPAY] [NONE]", &[3, 1, 2, 0x81, 1, 2]);
    }

    #[test]
    fn numbers_end_where_data_begins() {
        let check = |text, expected: &[u8]| assert_eq!(assemble(text).as_deref(), Ok(expected));
        check("000000001", &[0x51]);
        check("0000000001", &[5, 0, 0, 0, 0, 1]);
        check("4294967295", &[5, 0xff, 0xff, 0xff, 0xff, 0]);
        check("4294967296", &[5, 0x42, 0x94, 0x96, 0x72, 0x96]);
        check("-4294967295", &[5, 0xff, 0xff, 0xff, 0xff, 0x80]);
        check("-0000000001", &[0x4f]);
        check("OP_PUSHBYTES_2 0201", &[2, 2, 1]);
    }

    #[test]
    fn errors_name_the_byte_of_the_word() {
        let error = |text: &str| assemble(text).unwrap_err();
        let unknown = |at| AssembleError::UnknownWord { at };
        for word in
            ["OP_FOO", "abc", "0x", "0XAB", "0x1", "0xgg", "-4294967296", "+5", "'", "'a", "a'"]
        {
            assert_eq!(error(&format!("1 \t{word} 2")), unknown(3), "{word}");
        }
        for word in ["12[ALL", "12[all]", "1[ALL]", "[error]", "OP_UNKNOWN", "é", "dup", "-", "]"]
        {
            assert_eq!(error(&format!("é {word}")), unknown(0), "{word}");
            assert_eq!(error(&format!("'é' {word}")), unknown(5), "{word}");
        }
        for word in ["", "DUP", "0x05", "+", "OP_PUSHDATA1"] {
            let missing = AssembleError::MissingData { at: 2 };
            assert_eq!(error(&format!("1 OP_PUSHDATA4 {word}")), missing, "{word}");
        }
        for word in ["OP_PUSHBYTES_2 05", "OP_PUSHBYTES_2 010203", "OP_PUSHBYTES_1 ''"] {
            assert_eq!(error(word), AssembleError::DataSize { at: 15 }, "{word}");
        }
        let long = format!("PUSHDATA1 {}", "ab".repeat(256));
        assert_eq!(error(&long), AssembleError::DataSize { at: 10 });
    }
}
