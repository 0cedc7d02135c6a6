use alloc::vec::Vec;

use secp256k1::{Message, Parity, PublicKey, Scalar, XOnlyPublicKey, ecdsa, schnorr};

use crate::error::ensure;
use crate::script::is_key_size;
use crate::sighash::{Leaf, finish, selection};
use crate::verify::Verifier;
use crate::{
    Flags, Instructions, SIGHASH_ANYONECANPAY, ScriptError, ScriptSource, push_slice,
    tap_tweak_hash,
};

impl Verifier<'_> {
    /// Checks the encodings that the flags ask for, and then the signature itself.
    /// Core: `CheckECDSASignature`.
    pub(crate) fn check_ecdsa(
        &mut self,
        signature: &[u8],
        key: &[u8],
        script_code: &[u8],
        source: ScriptSource,
    ) -> Result<bool, ScriptError> {
        check_signature_encoding(signature, self.flags)?;
        check_key_encoding(key, self.flags, source)?;
        let Some((&sighash_type, der)) = signature.split_last() else { return Ok(false) };
        let has_negative_value = self.context.spent[self.index].value < 0;
        if !is_key_size(key) || !source.is_legacy() && has_negative_value {
            return Ok(false);
        }
        let hash = self.sighash(sighash_type.into(), script_code, source);
        self.signatures += 1;
        Ok(verify_ecdsa(key, der, hash))
    }

    fn sighash(&mut self, sighash_type: u32, code: &[u8], source: ScriptSource) -> [u8; 32] {
        let (context, index) = (self.context, self.index);
        let (outputs, anyone_can_pay) = selection(sighash_type);
        let place = usize::from(outputs - 1) + if anyone_can_pay { 3 } else { 0 };
        let start = match &mut self.midstates[place] {
            Some((cached, start)) if cached == code => start,
            cached => {
                let start = if source.is_legacy() {
                    context.legacy_midstate(index, code, sighash_type)
                } else {
                    Some(context.segwit_v0_midstate(index, code, sighash_type))
                };
                &mut cached.insert((code.to_vec(), start)).1
            }
        };
        finish(start.clone(), sighash_type)
    }

    /// Core: `CheckSchnorrSignature`.
    pub(crate) fn check_schnorr(
        &mut self,
        signature: &[u8],
        key: &[u8; 32],
        code_separator: Option<u32>,
    ) -> Result<(), ScriptError> {
        let (bytes, sighash_type) = match signature.split_first_chunk::<64>() {
            Some((bytes, [])) => (bytes, 0),
            Some((_, [0])) => return Err(ScriptError::SchnorrSigHashtype),
            Some((bytes, [sighash_type])) => (bytes, *sighash_type),
            _ => return Err(ScriptError::SchnorrSigSize),
        };
        let hash = self.leaf_hash;
        let leaf = code_separator.map(|code_separator| Leaf { hash, code_separator });
        let (annex, output) = (self.annex_hash, &mut self.output_hash);
        let hash = self.context.taproot_sighash_with(self.index, sighash_type, annex, leaf, output);
        let hash = hash.ok_or(ScriptError::SchnorrSigHashtype)?;
        self.signatures += 1;
        ensure(verify_schnorr(key, bytes, &hash), ScriptError::SchnorrSig)
    }
}

/// Verifies an ECDSA signature in the encodings that the network took before BIP-0066: any DER that
/// can be guessed at, S high or low. Core: `CPubKey::Verify`.
fn verify_ecdsa(key: &[u8], der: &[u8], hash: [u8; 32]) -> bool {
    let Ok(key) = PublicKey::from_slice(key) else { return false };
    let Ok(mut signature) = ecdsa::Signature::from_der_lax(der) else { return false };
    signature.normalize_s();
    signature.verify(Message::from_digest(hash), &key).is_ok()
}

/// Verifies a signature over `message` by an x-only public key. Spec: BIP-0340.
#[must_use]
pub fn verify_schnorr(key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> bool {
    let signature = schnorr::Signature::from_byte_array(*signature);
    XOnlyPublicKey::from_byte_array(*key).is_ok_and(|key| signature.verify(message, &key).is_ok())
}

/// Returns whether `output_key` is the internal key tweaked by the root of a script tree.
/// Core: `CheckTapTweak`.
pub(crate) fn is_tweaked(
    output_key: &[u8; 32],
    is_odd: bool,
    internal_key: [u8; 32],
    root: [u8; 32],
) -> bool {
    let Ok(tweak) = Scalar::from_be_bytes(tap_tweak_hash(internal_key, Some(root))) else {
        return false;
    };
    // The output key is compared as bytes, since to parse it would take a square root.
    let tweaked =
        XOnlyPublicKey::from_byte_array(internal_key).and_then(|key| key.add_tweak(&tweak));
    tweaked.is_ok_and(|(key, parity)| {
        key.to_byte_array() == *output_key && (parity == Parity::Odd) == is_odd
    })
}

/// Checks what flags ask of an ECDSA signature; an empty one passes. Core: `CheckSignatureEncoding`.
pub(crate) fn check_signature_encoding(signature: &[u8], flags: Flags) -> Result<(), ScriptError> {
    let Some((&sighash_type, der)) = signature.split_last() else { return Ok(()) };
    let has_any_form = !flags.intersects(Flags::DERSIG | Flags::LOW_S | Flags::STRICTENC);
    ensure(has_any_form || is_strict_der(signature), ScriptError::SigDer)?;
    ensure(!flags.contains(Flags::LOW_S) || is_low_s(der), ScriptError::SigHighS)?;
    let is_defined = matches!(sighash_type & !SIGHASH_ANYONECANPAY, 1..=3);
    ensure(!flags.contains(Flags::STRICTENC) || is_defined, ScriptError::SigHashtype)
}

/// Checks what flags ask of a public key. Core: `CheckPubKeyEncoding`.
fn check_key_encoding(key: &[u8], flags: Flags, source: ScriptSource) -> Result<(), ScriptError> {
    let is_compressed = matches!(key, [2 | 3, ..]) && key.len() == 33;
    let is_uncompressed = matches!(key, [4, ..]) && key.len() == 65;
    let is_any = !flags.contains(Flags::STRICTENC);
    ensure(is_any || is_compressed || is_uncompressed, ScriptError::Pubkeytype)?;
    let may_be_long = source.is_legacy() || !flags.contains(Flags::WITNESS_PUBKEYTYPE);
    ensure(may_be_long || is_compressed, ScriptError::WitnessPubkeytype)
}

/// Returns whether bytes are a DER signature as BIP-0066 has it, and a byte for the hash type:
/// 0x30, length, 0x02, length, R, 0x02, length, S, where R and S are positive and not padded.
/// Core: `IsValidSignatureEncoding`.
fn is_strict_der(signature: &[u8]) -> bool {
    let is_positive = |number: &[u8]| match number {
        [] => false,
        [0, next, ..] => 0x80 <= *next,
        [first, ..] => *first < 0x80,
    };
    let parts = || {
        let [0x30, total, 0x02, r_size, rest @ ..] = signature else { return None };
        let (r, rest) = rest.split_at_checked((*r_size).into())?;
        let [0x02, s_size, rest @ ..] = rest else { return None };
        let (s, rest) = rest.split_at_checked((*s_size).into())?;
        (rest.len() == 1 && usize::from(*total) + 3 == signature.len()).then_some((r, s))
    };
    signature.len() <= 73 && parts().is_some_and(|(r, s)| is_positive(r) && is_positive(s))
}

/// Core: `CheckLowS`.
fn is_low_s(der: &[u8]) -> bool {
    ecdsa::Signature::from_der_lax(der).is_ok_and(|signature| {
        let mut low = signature;
        low.normalize_s();
        low == signature
    })
}

/// Takes the push of `data` out of a script wherever an instruction begins. None when there is no
/// such push. Core: `FindAndDelete`.
pub(crate) fn find_and_delete(script: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let mut push = Vec::with_capacity(data.len() + 5);
    push_slice(&mut push, data);
    let mut rest = Vec::new();
    let mut kept = 0;
    for instruction in Instructions::new(script).map_while(Result::ok) {
        let start = instruction.position;
        if script[start..].starts_with(&push) {
            rest.extend_from_slice(&script[kept..start]);
            kept = start + push.len();
        }
    }
    if kept == 0 {
        return None;
    }
    rest.extend_from_slice(&script[kept..]);
    Some(rest)
}
