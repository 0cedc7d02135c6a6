use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use caesure_text::hex;

use crate::instruction::push_as;
use crate::opcode::*;
use crate::{Instruction, Instructions, ParseError, decode_number, push_int, push_slice};

/// A part of a script as people look at it: conditionals hold their branches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// Pushes data. The opcode tells how: by itself (`OP_0`, `OP_1NEGATE`, `OP_1` to `OP_16`), as the
    /// length (1 to 75), or before a length of 1, 2 or 4 bytes.
    Push(&'a [u8], u8),
    /// `OP_IF` (true) or `OP_NOTIF`, and the branches that `OP_ELSE` separates, as places in
    /// [`bodies`](ParsedScript::bodies).
    Conditional(bool, Vec<usize>),
    /// An opcode without more to it.
    Op(u8),
    /// An opcode that checks signatures, and the script from the last `OP_CODESEPARATOR` before it
    /// on. Which separator really is the last depends on the branches that run.
    CheckSig(u8, &'a [u8]),
    /// `OP_CODESEPARATOR`.
    CodeSeparator,
}

/// Returns the original's number for how an opcode pushes data: 0 by itself, 1 as the length, 2, 3 and 4
/// before a length of 1, 2 and 4 bytes.
#[must_use]
pub const fn push_kind(opcode: u8) -> u8 {
    match opcode {
        1..=75 => 1,
        OP_PUSHDATA1 => 2,
        OP_PUSHDATA2 => 3,
        OP_PUSHDATA4 => 4,
        _ => 0,
    }
}

/// A script as nested forms. The nesting is by number, so that no depth exhausts the call stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedScript<'a> {
    bodies: Vec<Vec<Form<'a>>>,
}

impl<'a> ParsedScript<'a> {
    /// Returns the script itself, and after it the branches of conditionals.
    #[must_use]
    pub fn bodies(&self) -> &[Vec<Form<'a>>] {
        &self.bodies
    }
}

/// Reads a script into nested forms.
///
/// # Errors
/// When a push runs past the end or conditionals are not balanced.
pub fn parse_script(script: &[u8]) -> Result<ParsedScript<'_>, ParseError> {
    let mut bodies = Vec::from([Vec::new()]);
    // For each open conditional its sense and branches; the last branch is being filled.
    let mut open: Vec<(bool, Vec<usize>)> = Vec::new();
    let mut code_start = 0;
    for instruction in Instructions::new(script) {
        let instruction = instruction?;
        let Instruction { position: at, opcode, .. } = instruction;
        let unbalanced = ParseError::UnbalancedConditional { at };
        let form = match opcode {
            OP_IF | OP_NOTIF | OP_ELSE => {
                if opcode == OP_ELSE {
                    open.last_mut().ok_or(unbalanced)?.1.push(bodies.len());
                } else {
                    open.push((opcode == OP_IF, Vec::from([bodies.len()])));
                }
                bodies.push(Vec::new());
                continue;
            }
            OP_ENDIF => {
                let (sense, branches) = open.pop().ok_or(unbalanced)?;
                Form::Conditional(sense, branches)
            }
            OP_VERIF | OP_VERNOTIF => return Err(unbalanced),
            OP_CODESEPARATOR => {
                code_start = at + 1;
                Form::CodeSeparator
            }
            OP_CHECKSIG..=OP_CHECKMULTISIGVERIFY => Form::CheckSig(opcode, &script[code_start..]),
            _ => instruction.pushed().map_or(Form::Op(opcode), |data| Form::Push(data, opcode)),
        };
        let body = open.last().and_then(|(_, branches)| branches.last()).copied().unwrap_or(0);
        bodies[body].push(form);
    }
    if open.is_empty() {
        Ok(ParsedScript { bodies })
    } else {
        Err(ParseError::UnbalancedConditional { at: script.len() })
    }
}

/// Writes forms as a nested list: pushes in hexadecimal, an empty one as nothing, opcodes by name,
/// a conditional as a list that begins with `IF` or `NOTIF`, with `ELSE` between its branches.
#[must_use]
pub fn pprint_script(parsed: &ParsedScript<'_>) -> String {
    let mut text = String::from("[");
    let mut separator = "";
    walk(parsed, |form| {
        let _ = match form {
            Form::Op(OP_IF) => write!(text, "{separator}['IF'"),
            Form::Op(OP_NOTIF) => write!(text, "{separator}['NOTIF'"),
            Form::Op(OP_ELSE) => write!(text, "{separator}'ELSE'"),
            Form::Op(OP_ENDIF) => write!(text, "]"),
            Form::Push([], _) => write!(text, "{separator}''"),
            Form::Push(data, _) => write!(text, "{separator}'0x{}'", hex::encode(data)),
            form => match opcode_of(form) {
                opcode if name(opcode) == "OP_UNKNOWN" => {
                    write!(text, "{separator}'OP_INVALID_{opcode:02x}'")
                }
                opcode => write!(text, "{separator}'{}'", name(opcode)),
            },
        };
        separator = ", ";
    });
    text.push(']');
    text
}

/// Writes the bytes of forms: exactly those that were read, or with each push in its shortest form.
#[must_use]
pub fn unparse_script(parsed: &ParsedScript<'_>, minimal: bool) -> Vec<u8> {
    let mut script = Vec::new();
    walk(parsed, |form| match form {
        Form::Push(data, _) if minimal => match decode_number(data, true, 1) {
            Ok(number) => push_int(&mut script, number),
            Err(_) => push_slice(&mut script, data),
        },
        Form::Push(data, opcode @ ..=OP_PUSHDATA4) => {
            let _ = push_as(&mut script, *opcode, data);
        }
        form => script.push(opcode_of(form)),
    });
    script
}

const fn opcode_of(form: &Form<'_>) -> u8 {
    match form {
        Form::Op(opcode) | Form::CheckSig(opcode, _) | Form::Push(_, opcode) => *opcode,
        Form::CodeSeparator => OP_CODESEPARATOR,
        Form::Conditional(true, _) => OP_IF,
        Form::Conditional(false, _) => OP_NOTIF,
    }
}

/// Visits all forms in the script's order, without recursion. Instead of a conditional come the
/// opcodes that begin it, separate its branches and end it.
fn walk(parsed: &ParsedScript<'_>, mut visit: impl FnMut(&Form<'_>)) {
    let body = |index: usize| parsed.bodies.get(index).map_or(&[][..], Vec::as_slice).iter();
    // Forms still to visit of each open body, and the branches after it.
    let mut open = Vec::from([(body(0), &[][..])]);
    while let Some((forms, branches)) = open.last_mut() {
        match (forms.next(), *branches) {
            (Some(form @ Form::Conditional(_, inner)), _) => {
                visit(&Form::Op(opcode_of(form)));
                if let [first, rest @ ..] = &inner[..] {
                    open.push((body(*first), rest));
                }
            }
            (Some(form), _) => visit(form),
            (None, [next, rest @ ..]) => {
                visit(&Form::Op(OP_ELSE));
                (*forms, *branches) = (body(*next), rest);
            }
            (None, []) => {
                open.pop();
                if !open.is_empty() {
                    visit(&Form::Op(OP_ENDIF));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn check(script: &[u8], expected: &str) {
        let parsed = parse_script(script).unwrap();
        assert_eq!(pprint_script(&parsed), expected);
        assert_eq!(unparse_script(&parsed, false), script);
    }

    #[test]
    fn a_push_has_the_originals_number() {
        let kinds = [0, 1, 75, 76, 77, 78, 79, 0x51, 0x60].map(push_kind);
        assert_eq!(kinds, [0, 1, 1, 2, 3, 4, 0, 0, 0]);
    }

    #[test]
    fn forms_print_as_the_original_printed_them() {
        check(&[], "[]");
        check(
            &[0x51, 0x63, 0x52, 0x67, 0x51, 0x67, 0x61, 0x68, 0x53, 0x61],
            "['0x01', ['IF', '0x02', 'ELSE', '0x01', 'ELSE', 'OP_NOP'], '0x03', 'OP_NOP']",
        );
        check(
            &[0, 0x4f, 0x64, 0x68, 0xff, 0xbb],
            "['', '0x81', ['NOTIF'], 'OP_INVALIDOPCODE', 'OP_INVALID_bb']",
        );
        check(
            &[0xab, 0xac, 2, 0xab, 0xac, 0xae],
            "['OP_CODESEPARATOR', 'OP_CHECKSIG', '0xabac', 'OP_CHECKMULTISIG']",
        );
    }

    #[test]
    fn a_signature_check_holds_the_script_from_the_last_separator_on() {
        let parsed = parse_script(&[0x51, 0xab, 0x52, 0x63, 0xac, 0xab, 0x67, 0xad, 0x68]).unwrap();
        let checks: Vec<_> = parsed.bodies()[1..].iter().map(|body| body[0].clone()).collect();
        assert_eq!(
            checks,
            [
                Form::CheckSig(0xac, &[0x52, 0x63, 0xac, 0xab, 0x67, 0xad, 0x68]),
                Form::CheckSig(0xad, &[0x67, 0xad, 0x68]),
            ]
        );
    }

    #[test]
    fn fault_3_unbalanced_conditionals_are_errors() {
        let error = |script: &[u8]| parse_script(script).unwrap_err();
        let unbalanced = |at| ParseError::UnbalancedConditional { at };
        assert_eq!(error(&[0x51, 0x63, 0x68, 0x51, 0x63, 0x51]), unbalanced(6));
        assert_eq!(error(&[0x51, 0x67]), unbalanced(1));
        assert_eq!(error(&[0x68]), unbalanced(0));
        assert_eq!(error(&[0x63, 0x65, 0x68]), unbalanced(1));
        assert_eq!(error(&[0x66]), unbalanced(0));
        assert_eq!(error(&[0x51, 0x4c, 2, 1]), ParseError::TruncatedPush { at: 1 });
        assert_eq!(error(&[0x4d, 1]), ParseError::TruncatedPush { at: 0 });
    }

    #[test]
    fn fault_7_every_kind_of_push_comes_back_exactly() {
        for (prefix, sizes) in [
            (&[][..], &[1, 75][..]),
            (&[0x4c], &[0, 1, 2, 75, 76, 255]),
            (&[0x4d], &[0, 1, 75, 255, 256, 65_535]),
            (&[0x4e], &[0, 1, 255, 65_535, 65_536]),
        ] {
            for &size in sizes {
                let length: &[u8] = &u32::try_from(size).unwrap().to_le_bytes();
                let width =
                    [1, 1, 2, 4][prefix.first().map_or(0, |byte| usize::from(*byte - 0x4b))];
                let script = [prefix, &length[..width], &vec![7; size], &[0xac]].concat();
                let parsed = parse_script(&script).unwrap();
                assert_eq!(unparse_script(&parsed, false), script, "{prefix:?} {size}");
            }
        }
    }

    #[test]
    fn fault_14_minimal_pushes_have_core_s_borders() {
        let check = |data: &[u8], start: &[u8]| {
            let script =
                [&[0x4e][..], &u32::try_from(data.len()).unwrap().to_le_bytes(), data].concat();
            let minimal = unparse_script(&parse_script(&script).unwrap(), true);
            assert_eq!(minimal[..start.len()], *start, "{} bytes", data.len());
            assert_eq!(
                minimal.len(),
                start.len() + if start.len() == 1 && start[0] > 0x4e { 0 } else { data.len() }
            );
            let item = Instructions::new(&minimal).next().unwrap().unwrap();
            assert!(item.is_minimal_push());
        };
        check(&[], &[0]);
        check(&[1], &[0x51]);
        check(&[16], &[0x60]);
        check(&[17], &[1]);
        check(&[0x81], &[0x4f]);
        check(&[0], &[1]);
        check(&[7; 75], &[75]);
        check(&[7; 76], &[0x4c, 76]);
        check(&[7; 255], &[0x4c, 255]);
        check(&[7; 256], &[0x4d, 0, 1]);
        check(&[7; 65_535], &[0x4d, 0xff, 0xff]);
        check(&vec![7; 65_536], &[0x4e, 0, 0, 1, 0]);
    }

    #[test]
    fn fault_13_conditionals_nested_without_end_take_no_call_stack() {
        let depth = 1_000_000;
        let script = [vec![0x63; depth], vec![0x68; depth]].concat();
        let parsed = parse_script(&script).unwrap();
        assert_eq!(unparse_script(&parsed.clone(), false), script);
        assert_eq!(pprint_script(&parsed).len(), 2 + depth * 6 + (depth - 1) * 2);
    }
}
