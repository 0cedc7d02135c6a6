use super::{Interpreter, truth};
use crate::ScriptError;
use crate::opcode::*;

/// Operands have at most four bytes, so no result comes near the ends of `i64`.
impl Interpreter<'_, '_, '_> {
    pub(super) fn compute_one(&mut self, opcode: u8) -> Result<(), ScriptError> {
        let number = self.number(1)?;
        self.stack.pop();
        self.push_number(match opcode {
            OP_1ADD => number + 1,
            OP_1SUB => number - 1,
            OP_NEGATE => -number,
            OP_ABS => number.abs(),
            OP_NOT => (number == 0).into(),
            _ => (number != 0).into(),
        });
        Ok(())
    }

    pub(super) fn compute_two(&mut self, opcode: u8) -> Result<(), ScriptError> {
        self.need(2)?;
        let (a, b) = (self.number(2)?, self.number(1)?);
        self.stack.truncate(self.stack.len() - 2);
        self.push_number(match opcode {
            OP_ADD => a + b,
            OP_SUB => a - b,
            OP_BOOLAND => (a != 0 && b != 0).into(),
            OP_BOOLOR => (a != 0 || b != 0).into(),
            OP_NUMEQUAL | OP_NUMEQUALVERIFY => (a == b).into(),
            OP_NUMNOTEQUAL => (a != b).into(),
            OP_LESSTHAN => (a < b).into(),
            OP_GREATERTHAN => (a > b).into(),
            OP_LESSTHANOREQUAL => (a <= b).into(),
            OP_GREATERTHANOREQUAL => (a >= b).into(),
            OP_MIN => a.min(b),
            _ => a.max(b),
        });
        Ok(())
    }

    pub(super) fn within(&mut self) -> Result<(), ScriptError> {
        self.need(3)?;
        let (number, least, end) = (self.number(3)?, self.number(2)?, self.number(1)?);
        self.stack.truncate(self.stack.len() - 3);
        self.stack.push(truth((least..end).contains(&number)));
        Ok(())
    }
}
