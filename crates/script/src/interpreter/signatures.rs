use alloc::borrow::Cow;

use super::{Interpreter, ScriptSource, truth};
use crate::error::ensure;
use crate::script::MAX_MULTISIG_KEYS;
use crate::signature::find_and_delete;
use crate::{Flags, ScriptError};

/// What a signature that is there costs in a tapscript, in weight units. Spec: BIP-0342.
const WEIGHT_PER_SIGNATURE: i64 = 50;

impl<'s> Interpreter<'s, '_, '_> {
    pub(super) fn check_sig(&mut self) -> Result<(), ScriptError> {
        let [signature, key] = self.pop_array()?;
        let is_valid = self.is_signature(&signature, &key)?;
        self.stack.push(truth(is_valid));
        Ok(())
    }

    pub(super) fn check_sig_add(&mut self) -> Result<(), ScriptError> {
        ensure(self.source == ScriptSource::Tapscript, ScriptError::BadOpcode)?;
        self.need(3)?;
        let number = self.number(2)?;
        let [signature, _, key] = self.pop_array()?;
        let is_valid = self.is_signature(&signature, &key)?;
        self.push_number(number + i64::from(is_valid));
        Ok(())
    }

    /// Core: `EvalChecksig`.
    fn is_signature(&mut self, signature: &[u8], key: &[u8]) -> Result<bool, ScriptError> {
        if self.source == ScriptSource::Tapscript {
            return self.is_tapscript_signature(signature, key);
        }
        let mut code = self.script_code();
        self.delete_signature(&mut code, signature)?;
        let is_valid = self.verifier.check_ecdsa(signature, key, &code, self.source)?;
        let may_fail = signature.is_empty() || !self.verifier.has(Flags::NULLFAIL);
        ensure(is_valid || may_fail, ScriptError::SigNullfail)?;
        Ok(is_valid)
    }

    /// An empty signature is false; any other must be valid. Keys that are not of 32 bytes are left
    /// to later rules, and then every signature is valid. Core: `EvalChecksigTapscript`.
    fn is_tapscript_signature(
        &mut self,
        signature: &[u8],
        key: &[u8],
    ) -> Result<bool, ScriptError> {
        let is_there = !signature.is_empty();
        if is_there {
            self.verifier.weight_left -= WEIGHT_PER_SIGNATURE;
            let is_paid = 0 <= self.verifier.weight_left;
            ensure(is_paid, ScriptError::TapscriptValidationWeight)?;
        }
        ensure(!key.is_empty(), ScriptError::TapscriptEmptyPubkey)?;
        if let Ok(key) = key.try_into() {
            if is_there {
                self.verifier.check_schnorr(signature, key, Some(self.code_separator))?;
            }
        } else {
            let is_discouraged = self.verifier.has(Flags::DISCOURAGE_UPGRADABLE_PUBKEYTYPE);
            ensure(!is_discouraged, ScriptError::DiscourageUpgradablePubkeytype)?;
        }
        Ok(is_there)
    }

    /// The stack has, from the bottom: a dummy, the signatures, their count, the keys, their count.
    /// Both lists are tried from the top, and a key that was passed over is not tried again.
    pub(super) fn check_multisig(&mut self) -> Result<(), ScriptError> {
        let is_tapscript = self.source == ScriptSource::Tapscript;
        ensure(!is_tapscript, ScriptError::TapscriptCheckmultisig)?;
        let key_count = self.count(1, MAX_MULTISIG_KEYS, ScriptError::PubkeyCount)?;
        self.count_ops(key_count)?;
        let sig_count = self.count(key_count + 2, key_count, ScriptError::SigCount)?;
        let size = key_count + sig_count + 3;
        self.need(size)?;
        let items = self.stack.split_off(self.stack.len() - size);
        let (dummy, signatures) = (&items[0], &items[1..=sig_count]);
        let keys = &items[sig_count + 2..size - 1];
        let mut code = self.script_code();
        for signature in signatures.iter().rev() {
            self.delete_signature(&mut code, signature)?;
        }
        let mut keys = keys.iter().rev();
        let mut left = signatures;
        while let [rest @ .., signature] = left
            && left.len() <= keys.len()
            && let Some(key) = keys.next()
        {
            if self.verifier.check_ecdsa(signature, key, &code, self.source)? {
                left = rest;
            }
        }
        let is_valid = left.is_empty();
        let may_fail =
            !self.verifier.has(Flags::NULLFAIL) || signatures.iter().all(|it| it.is_empty());
        ensure(is_valid || may_fail, ScriptError::SigNullfail)?;
        let may_be_any = !self.verifier.has(Flags::NULLDUMMY);
        ensure(may_be_any || dummy.is_empty(), ScriptError::SigNulldummy)?;
        self.stack.push(truth(is_valid));
        Ok(())
    }

    /// Reads a count of at most `most` from the stack; the topmost item is 1.
    fn count(
        &self,
        from_top: usize,
        most: usize,
        error: ScriptError,
    ) -> Result<usize, ScriptError> {
        let count = usize::try_from(self.number(from_top)?).map_err(|_| error)?;
        ensure(count <= most, error)?;
        Ok(count)
    }

    fn script_code(&self) -> Cow<'s, [u8]> {
        Cow::Borrowed(&self.script[self.code_start..])
    }

    /// Before segwit, a signature cannot commit to itself: it is taken out of the script.
    fn delete_signature(
        &self,
        code: &mut Cow<'s, [u8]>,
        signature: &[u8],
    ) -> Result<(), ScriptError> {
        if self.source.is_legacy()
            && let Some(rest) = find_and_delete(code, signature)
        {
            *code = Cow::Owned(rest);
            ensure(!self.verifier.has(Flags::CONST_SCRIPTCODE), ScriptError::SigFindanddelete)?;
        }
        Ok(())
    }
}
