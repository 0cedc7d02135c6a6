use alloc::borrow::Cow;

use super::{Interpreter, Item};
use crate::error::ensure;
use crate::opcode::*;
use crate::{Flags, ScriptError, decode_number, encode_number, is_true};

const NOTHING: &[u8] = &[];

impl<'s> Interpreter<'s, '_, '_> {
    /// Fails unless there are `count` items.
    pub(super) fn need(&self, count: usize) -> Result<(), ScriptError> {
        ensure(count <= self.stack.len(), ScriptError::InvalidStackOperation)
    }

    /// Takes the top items, the topmost last.
    pub(super) fn pop_array<const N: usize>(&mut self) -> Result<[Item<'s>; N], ScriptError> {
        self.need(N)?;
        let mut items = [const { Cow::Borrowed(NOTHING) }; N];
        for item in items.iter_mut().rev() {
            *item = self.stack.pop().expect("the items were counted");
        }
        Ok(items)
    }

    /// Reads an item as a number; the topmost is 1.
    pub(super) fn number(&self, from_top: usize) -> Result<i64, ScriptError> {
        self.need(from_top)?;
        let item = &self.stack[self.stack.len() - from_top];
        decode_number(item, self.verifier.has(Flags::MINIMALDATA), 4)
    }

    pub(super) fn push_number(&mut self, number: i64) {
        self.stack.push(Cow::Owned(encode_number(number)));
    }

    /// Copies `count` items of which the lowest is `from_top` deep onto the top.
    fn copy(&mut self, from_top: usize, count: usize) -> Result<(), ScriptError> {
        self.need(from_top)?;
        let start = self.stack.len() - from_top;
        self.stack.extend_from_within(start..start + count);
        Ok(())
    }

    /// Rotates the top `size` items so that the lowest `count` of them come to the top.
    fn rotate(&mut self, size: usize, count: usize) -> Result<(), ScriptError> {
        self.need(size)?;
        let start = self.stack.len() - size;
        self.stack[start..].rotate_left(count);
        Ok(())
    }

    /// Runs an opcode that moves items about.
    pub(super) fn rearrange(&mut self, opcode: u8) -> Result<(), ScriptError> {
        match opcode {
            OP_TOALTSTACK => {
                let [item] = self.pop_array()?;
                self.alt_stack.push(item);
            }
            OP_FROMALTSTACK => {
                let item = self.alt_stack.pop().ok_or(ScriptError::InvalidAltstackOperation)?;
                self.stack.push(item);
            }
            OP_2DROP => drop(self.pop_array::<2>()?),
            OP_2DUP => self.copy(2, 2)?,
            OP_3DUP => self.copy(3, 3)?,
            OP_2OVER => self.copy(4, 2)?,
            OP_2ROT => self.rotate(6, 2)?,
            OP_2SWAP => self.rotate(4, 2)?,
            OP_IFDUP => {
                self.need(1)?;
                if self.stack.last().is_some_and(|item| is_true(item)) {
                    self.copy(1, 1)?;
                }
            }
            OP_DEPTH => self.push_size(self.stack.len()),
            OP_DROP => drop(self.pop_array::<1>()?),
            OP_DUP => self.copy(1, 1)?,
            OP_NIP => {
                self.rotate(2, 1)?;
                self.stack.pop();
            }
            OP_OVER => self.copy(2, 1)?,
            OP_PICK | OP_ROLL => self.pick_or_roll(opcode)?,
            OP_ROT => self.rotate(3, 1)?,
            OP_SWAP => self.rotate(2, 1)?,
            OP_TUCK => {
                self.rotate(2, 1)?;
                self.copy(2, 1)?;
            }
            _ => {
                self.need(1)?;
                self.push_size(self.stack[self.stack.len() - 1].len());
            }
        }
        Ok(())
    }

    fn pick_or_roll(&mut self, opcode: u8) -> Result<(), ScriptError> {
        self.need(2)?;
        let depth = self.number(1)?;
        self.stack.pop();
        let depth = usize::try_from(depth).ok().filter(|&depth| depth < self.stack.len());
        let depth = depth.ok_or(ScriptError::InvalidStackOperation)?;
        if opcode == OP_PICK { self.copy(depth + 1, 1) } else { self.rotate(depth + 1, 1) }
    }

    fn push_size(&mut self, size: usize) {
        self.push_number(i64::try_from(size).expect("sizes of slices fit 63 bits"));
    }
}
