//! The opcodes, as `u8` constants under the names that Core prints.
//!
//! `OP_CODESEPARATOR` is 0xab, and so on; bytes 0x01 to 0x4b push as many bytes and have no name.
//! [`name`] and [`from_name`] lead from one to the other.
#![allow(missing_docs, reason = "an opcode's name is its meaning; the interpreter is their text")]

macro_rules! opcodes {
    ($($name:ident = $value:literal,)*) => {
        $(pub const $name: u8 = $value;)*

        /// Returns the opcode's name as Core prints it: numbers as such, `OP_UNKNOWN` for the rest.
        /// Core: `GetOpName`.
        #[must_use]
        pub const fn name(opcode: u8) -> &'static str {
            match opcode {
                OP_0 => return "0",
                OP_1NEGATE => return "-1",
                OP_1..=OP_16 => return NUMBERS[(opcode - OP_1) as usize],
                _ => {}
            }
            match opcode {
                OP_INVALIDOPCODE => "OP_INVALIDOPCODE",
                $($value => stringify!($name),)*
                _ => "OP_UNKNOWN",
            }
        }

        /// Opcodes by name, the other names for some at the end.
        const NAMES: &[(&str, u8)] = &[
            $((stringify!($name), $value),)*
            ("OP_FALSE", OP_FALSE),
            ("OP_TRUE", OP_TRUE),
            ("OP_PUSHNUM_NEG1", OP_1NEGATE),
            ("OP_NOP2", OP_NOP2),
            ("OP_NOP3", OP_NOP3),
            ("OP_CLTV", OP_CHECKLOCKTIMEVERIFY),
            ("OP_CSV", OP_CHECKSEQUENCEVERIFY),
            ("OP_INVALIDOPCODE", OP_INVALIDOPCODE),
        ];
    };
}

const NUMBERS: [&str; 16] =
    ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

opcodes! {
    OP_0 = 0x00, OP_PUSHDATA1 = 0x4c, OP_PUSHDATA2 = 0x4d, OP_PUSHDATA4 = 0x4e, OP_1NEGATE = 0x4f,
    OP_RESERVED = 0x50, OP_1 = 0x51, OP_2 = 0x52, OP_3 = 0x53, OP_4 = 0x54, OP_5 = 0x55,
    OP_6 = 0x56, OP_7 = 0x57, OP_8 = 0x58, OP_9 = 0x59, OP_10 = 0x5a, OP_11 = 0x5b, OP_12 = 0x5c,
    OP_13 = 0x5d, OP_14 = 0x5e, OP_15 = 0x5f, OP_16 = 0x60, OP_NOP = 0x61, OP_VER = 0x62,
    OP_IF = 0x63, OP_NOTIF = 0x64, OP_VERIF = 0x65, OP_VERNOTIF = 0x66, OP_ELSE = 0x67,
    OP_ENDIF = 0x68, OP_VERIFY = 0x69, OP_RETURN = 0x6a, OP_TOALTSTACK = 0x6b,
    OP_FROMALTSTACK = 0x6c, OP_2DROP = 0x6d, OP_2DUP = 0x6e, OP_3DUP = 0x6f, OP_2OVER = 0x70,
    OP_2ROT = 0x71, OP_2SWAP = 0x72, OP_IFDUP = 0x73, OP_DEPTH = 0x74, OP_DROP = 0x75,
    OP_DUP = 0x76, OP_NIP = 0x77, OP_OVER = 0x78, OP_PICK = 0x79, OP_ROLL = 0x7a, OP_ROT = 0x7b,
    OP_SWAP = 0x7c, OP_TUCK = 0x7d, OP_CAT = 0x7e, OP_SUBSTR = 0x7f, OP_LEFT = 0x80,
    OP_RIGHT = 0x81, OP_SIZE = 0x82, OP_INVERT = 0x83, OP_AND = 0x84, OP_OR = 0x85, OP_XOR = 0x86,
    OP_EQUAL = 0x87, OP_EQUALVERIFY = 0x88, OP_RESERVED1 = 0x89, OP_RESERVED2 = 0x8a,
    OP_1ADD = 0x8b, OP_1SUB = 0x8c, OP_2MUL = 0x8d, OP_2DIV = 0x8e, OP_NEGATE = 0x8f,
    OP_ABS = 0x90, OP_NOT = 0x91, OP_0NOTEQUAL = 0x92, OP_ADD = 0x93, OP_SUB = 0x94,
    OP_MUL = 0x95, OP_DIV = 0x96, OP_MOD = 0x97, OP_LSHIFT = 0x98, OP_RSHIFT = 0x99,
    OP_BOOLAND = 0x9a, OP_BOOLOR = 0x9b, OP_NUMEQUAL = 0x9c, OP_NUMEQUALVERIFY = 0x9d,
    OP_NUMNOTEQUAL = 0x9e, OP_LESSTHAN = 0x9f, OP_GREATERTHAN = 0xa0, OP_LESSTHANOREQUAL = 0xa1,
    OP_GREATERTHANOREQUAL = 0xa2, OP_MIN = 0xa3, OP_MAX = 0xa4, OP_WITHIN = 0xa5,
    OP_RIPEMD160 = 0xa6, OP_SHA1 = 0xa7, OP_SHA256 = 0xa8, OP_HASH160 = 0xa9, OP_HASH256 = 0xaa,
    OP_CODESEPARATOR = 0xab, OP_CHECKSIG = 0xac, OP_CHECKSIGVERIFY = 0xad,
    OP_CHECKMULTISIG = 0xae, OP_CHECKMULTISIGVERIFY = 0xaf, OP_NOP1 = 0xb0,
    OP_CHECKLOCKTIMEVERIFY = 0xb1, OP_CHECKSEQUENCEVERIFY = 0xb2, OP_NOP4 = 0xb3, OP_NOP5 = 0xb4,
    OP_NOP6 = 0xb5, OP_NOP7 = 0xb6, OP_NOP8 = 0xb7, OP_NOP9 = 0xb8, OP_NOP10 = 0xb9,
    OP_CHECKSIGADD = 0xba,
}

pub const OP_FALSE: u8 = OP_0;
pub const OP_TRUE: u8 = OP_1;
pub const OP_NOP2: u8 = OP_CHECKLOCKTIMEVERIFY;
pub const OP_NOP3: u8 = OP_CHECKSEQUENCEVERIFY;
pub const OP_INVALIDOPCODE: u8 = 0xff;

/// Returns the opcode with a name in capitals, with or without `OP_`.
///
/// Knows the constants here, `OP_CLTV` and `OP_CSV`, and names by number: `OP_SUCCESS80` of
/// BIP-0342, and `OP_PUSHBYTES_20`, `OP_PUSHNUM_1` and `OP_RETURN_187` of rust-bitcoin and block
/// explorers.
#[must_use]
pub fn from_name(name: &str) -> Option<u8> {
    let name = name.strip_prefix("OP_").unwrap_or(name);
    let number = |start: &str| {
        let digits = name.strip_prefix(start).filter(|digits| !digits.starts_with('+'))?;
        digits.parse::<u8>().ok()
    };
    let known = NAMES.iter().find(|(known, _)| known["OP_".len()..] == *name);
    let push = || number("PUSHBYTES_").filter(|size| (1..OP_PUSHDATA1).contains(size));
    let small = || number("PUSHNUM_").filter(|number| (1..=16).contains(number));
    let success = || number("SUCCESS").or_else(|| number("RETURN_"));
    known
        .map(|(_, opcode)| *opcode)
        .or_else(push)
        .or_else(|| small().map(|number| OP_1 - 1 + number))
        .or_else(|| success().filter(|opcode| is_success(*opcode)))
}

/// Returns whether the opcode makes a tapscript that holds it succeed. Spec: BIP-0342.
#[must_use]
pub const fn is_success(opcode: u8) -> bool {
    matches!(opcode, 80 | 98 | 126..=129 | 131..=134 | 137 | 138 | 141 | 142 | 149..=153 | 187..=254)
}

/// Returns whether the opcode fails any script before tapscript, run or not (CVE-2010-5137).
pub(crate) const fn is_disabled(opcode: u8) -> bool {
    matches!(
        opcode,
        OP_CAT..=OP_RIGHT | OP_INVERT..=OP_XOR | OP_2MUL | OP_2DIV | OP_MUL..=OP_RSHIFT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_opcodes() {
        for opcode in 0..=255 {
            let name = name(opcode);
            if opcode == OP_0 || (OP_1NEGATE..=OP_16).contains(&opcode) && opcode != OP_RESERVED {
                assert!(name.parse::<i8>().is_ok(), "{name}");
            } else if name != "OP_UNKNOWN" {
                assert_eq!(from_name(name), Some(opcode), "{name}");
                assert_eq!(from_name(&name[3..]), Some(opcode), "{name}");
            }
        }
        for (name, opcode) in [
            ("OP_0", 0),
            ("OP_1NEGATE", 0x4f),
            ("OP_16", 0x60),
            ("TRUE", 0x51),
            ("NOP3", 0xb2),
            ("OP_PUSHBYTES_75", 75),
            ("OP_PUSHNUM_16", 0x60),
            ("OP_SUCCESS80", 80),
            ("OP_RETURN_254", 254),
        ] {
            assert_eq!(from_name(name), Some(opcode), "{name}");
        }
        let unknown = "op_dup OP_OP_DUP OP_ OP_UNKNOWN OP_PUSHBYTES_0 OP_PUSHBYTES_76 \
            OP_PUSHBYTES_+5 OP_PUSHNUM_17 OP_SUCCESS81 OP_RETURN_255 OP_RETURN_999 OP_RETURN_";
        for name in unknown.split(' ').chain([""]) {
            assert_eq!(from_name(name), None, "{name}");
        }
    }
}
