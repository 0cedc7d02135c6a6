use alloc::vec::Vec;

use crate::ParseError;
use crate::number::encode_number;
use crate::opcode::*;

/// One instruction of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction<'a> {
    /// Where it begins, in bytes from the start of the script.
    pub position: usize,
    /// The opcode.
    pub opcode: u8,
    /// What the opcodes up to `OP_PUSHDATA4` push; empty for the others.
    pub data: &'a [u8],
}

/// What the opcodes from `OP_1NEGATE` to `OP_16` push; `OP_RESERVED`, which is among them, does not.
const NUMBERS: [u8; 18] = [0x81, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

impl<'a> Instruction<'a> {
    /// Returns what it pushes, be it data or a number that is an opcode.
    #[must_use]
    pub fn pushed(&self) -> Option<&'a [u8]> {
        match self.opcode {
            ..=OP_PUSHDATA4 => Some(self.data),
            OP_RESERVED => None,
            opcode => NUMBERS.get(usize::from(opcode - OP_1NEGATE)).map(core::slice::from_ref),
        }
    }

    /// Returns whether it pushes [`data`](Self::data).
    #[must_use]
    pub const fn is_data_push(&self) -> bool {
        self.opcode <= OP_PUSHDATA4
    }

    /// Returns whether its data could not be pushed in fewer bytes; true for what is no data push.
    /// Core: `CheckMinimalPush`.
    #[must_use]
    pub fn is_minimal_push(&self) -> bool {
        match (self.data.len(), self.data) {
            _ if !self.is_data_push() => true,
            (_, [1..=16 | 0x81]) => false,
            (size @ 0..0x4c, _) => usize::from(self.opcode) == size,
            (0x4c..=0xff, _) => self.opcode == OP_PUSHDATA1,
            (0x100..=0xffff, _) => self.opcode == OP_PUSHDATA2,
            _ => true,
        }
    }
}

/// The instructions of a script. Any bytes give instructions and at most one error, at the end.
#[derive(Clone, Debug)]
pub struct Instructions<'a> {
    script: &'a [u8],
    position: usize,
}

impl<'a> Instructions<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(script: &'a [u8]) -> Self {
        Self { script, position: 0 }
    }

    /// Returns where the next instruction begins, in bytes. After an error, the place up to which
    /// Core reads: behind the opcode and the length, if the length is whole.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.script[self.position..].get(..count)?;
        self.position += count;
        Some(taken)
    }

    fn read(&mut self, opcode: u8) -> Option<&'a [u8]> {
        let size = match opcode {
            OP_PUSHDATA1 => self.take(1)?,
            OP_PUSHDATA2 => self.take(2)?,
            OP_PUSHDATA4 => self.take(4)?,
            0..OP_PUSHDATA1 => return self.take(opcode.into()),
            _ => return Some(&[]),
        };
        let size = size.iter().rev().fold(0, |size, &byte| size << 8 | usize::from(byte));
        self.take(size)
    }
}

impl<'a> Iterator for Instructions<'a> {
    type Item = Result<Instruction<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let position = self.position;
        let opcode = *self.script.get(position)?;
        self.position += 1;
        if let Some(data) = self.read(opcode) {
            return Some(Ok(Instruction { position, opcode, data }));
        }
        self.script = &self.script[..self.position];
        Some(Err(ParseError::TruncatedPush { at: position }))
    }
}

/// Appends the push of `data`, with the shortest length prefix: an empty slice is `OP_0`, but one
/// byte stays one byte. Core: `CScript::operator<<`.
pub fn push_slice(script: &mut Vec<u8>, data: &[u8]) {
    let [a, b, c, d, ..] = (data.len() as u64).to_le_bytes();
    match data.len() {
        0..0x4c => script.push(a),
        0x4c..=0xff => script.extend([OP_PUSHDATA1, a]),
        0x100..=0xffff => script.extend([OP_PUSHDATA2, a, b]),
        _ => script.extend([OP_PUSHDATA4, a, b, c, d]),
    }
    script.extend_from_slice(data);
}

/// Appends the shortest instruction that pushes the number. Core: `CScript::push_int64`.
pub fn push_int(script: &mut Vec<u8>, number: i64) {
    match u8::try_from(number) {
        Ok(0) => script.push(OP_0),
        Ok(small @ 1..=16) => script.push(OP_1 - 1 + small),
        _ if number == -1 => script.push(OP_1NEGATE),
        _ => push_slice(script, &encode_number(number)),
    }
}

/// Appends the push of `data` by an opcode up to `OP_PUSHDATA4`, if it can push so many bytes.
pub(crate) fn push_as(script: &mut Vec<u8>, opcode: u8, data: &[u8]) -> Option<()> {
    let width = opcode.checked_sub(OP_PUSHDATA1).map_or(0, |kind| 1 << kind);
    let size = (data.len() as u64).to_le_bytes();
    let fits = match width {
        0 => data.len() == usize::from(opcode),
        _ => size[width..].iter().all(|byte| *byte == 0),
    };
    fits.then(|| {
        script.push(opcode);
        script.extend_from_slice(&size[..width]);
        script.extend_from_slice(data);
    })
}

/// Returns whether the script is whole and only pushes; `OP_RESERVED` counts as a push.
/// Core: `CScript::IsPushOnly`.
#[must_use]
pub fn is_push_only(script: &[u8]) -> bool {
    Instructions::new(script).all(|item| item.is_ok_and(|item| item.opcode <= OP_16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_total_and_name_the_byte() {
        let read = |script| Instructions::new(script).collect::<Vec<_>>();
        let item = |position, opcode, data| Ok(Instruction { position, opcode, data });
        assert_eq!(read(&[]), []);
        assert_eq!(
            read(&[0, 1, 9, 0x4d, 1, 0, 8, 0xff]),
            [item(0, 0, &[]), item(1, 1, &[9]), item(3, 0x4d, &[8]), item(7, 0xff, &[])]
        );
        for script in [
            &[0x51, 2, 1][..],
            &[0x51, 0x4c],
            &[0x51, 0x4d, 1],
            &[0x51, 0x4e, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(
                read(script),
                [item(0, 0x51, &[]), Err(ParseError::TruncatedPush { at: 1 })]
            );
        }
    }

    #[test]
    fn gocoin_3234dfcf_a_long_push_keeps_all_four_bytes_of_its_length() {
        let mut script = Vec::from([OP_PUSHDATA4, 1, 0, 1, 0]);
        script.extend([5; 0x1_0001]);
        let item = Instructions::new(&script).next().unwrap().unwrap();
        assert_eq!(item.data.len(), 0x1_0001);
    }
}
