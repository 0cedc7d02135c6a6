use crate::opcode::*;
use crate::script::{MAX_MULTISIG_KEYS, is_key_size};
use crate::{Instruction, Instructions, decode_number, is_push_only, p2sh_hash, witness_program};

/// What kind of script locks an output. Core: `Solver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScriptType<'a> {
    /// A public key of 33 or 65 bytes.
    Pubkey(&'a [u8]),
    /// The hash of a public key.
    PubkeyHash(&'a [u8; 20]),
    /// The hash of a redeem script. Spec: BIP-0016.
    ScriptHash(&'a [u8; 20]),
    /// Bare keys, of which some must sign.
    Multisig {
        /// How many signatures it takes, 1 to 20.
        required: usize,
        /// How many keys there are, up to 20; [`multisig_keys`] gives them.
        keys: usize,
    },
    /// `OP_RETURN` and pushes: cannot be spent.
    NullData,
    /// `OP_1 0x4e73`, which anyone may spend.
    Anchor,
    /// The hash of a compressed public key. Spec: BIP-0141.
    WitnessV0KeyHash(&'a [u8; 20]),
    /// The hash of a witness script. Spec: BIP-0141.
    WitnessV0ScriptHash(&'a [u8; 32]),
    /// A taproot output key. Spec: BIP-0341.
    WitnessV1Taproot(&'a [u8; 32]),
    /// A witness program with no meaning yet.
    WitnessUnknown {
        /// 1 to 16.
        version: u8,
        /// 2 to 40 bytes.
        program: &'a [u8],
    },
    /// Anything else.
    Nonstandard,
}

impl ScriptType<'_> {
    /// Returns the name that Core's RPC prints.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pubkey(_) => "pubkey",
            Self::PubkeyHash(_) => "pubkeyhash",
            Self::ScriptHash(_) => "scripthash",
            Self::Multisig { .. } => "multisig",
            Self::NullData => "nulldata",
            Self::Anchor => "anchor",
            Self::WitnessV0KeyHash(_) => "witness_v0_keyhash",
            Self::WitnessV0ScriptHash(_) => "witness_v0_scripthash",
            Self::WitnessV1Taproot(_) => "witness_v1_taproot",
            Self::WitnessUnknown { .. } => "witness_unknown",
            Self::Nonstandard => "nonstandard",
        }
    }
}

/// Tells what kind of script locks an output. Core: `Solver`.
#[must_use]
pub fn classify(script_pubkey: &[u8]) -> ScriptType<'_> {
    if let Some(hash) = p2sh_hash(script_pubkey) {
        return ScriptType::ScriptHash(hash);
    }
    if let Some((version, program)) = witness_program(script_pubkey) {
        return classify_program(version, program);
    }
    if let [OP_DUP, OP_HASH160, 20, hash @ .., OP_EQUALVERIFY, OP_CHECKSIG] = script_pubkey
        && let Ok(hash) = hash.try_into()
    {
        return ScriptType::PubkeyHash(hash);
    }
    match script_pubkey {
        [OP_RETURN, data @ ..] if is_push_only(data) => ScriptType::NullData,
        [size @ (33 | 65), key @ .., OP_CHECKSIG]
            if key.len() == usize::from(*size) && is_key_size(key) =>
        {
            ScriptType::Pubkey(key)
        }
        _ => multisig(script_pubkey).unwrap_or(ScriptType::Nonstandard),
    }
}

/// Returns the public keys of a bare multisig in their order; none of any other script.
///
/// ```
/// use caesure_script::{assemble, multisig_keys};
///
/// let key = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
/// let script = assemble(&format!("1 {key} {key} 2 OP_CHECKMULTISIG"))?;
/// assert!(multisig_keys(&script).all(|it| *it == script[2..35]));
/// assert_eq!(multisig_keys(&script).count(), 2);
/// # Ok::<(), caesure_script::AssembleError>(())
/// ```
pub fn multisig_keys(script_pubkey: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = match classify(script_pubkey) {
        ScriptType::Multisig { keys, .. } => keys,
        _ => 0,
    };
    Instructions::new(script_pubkey).flatten().skip(1).take(count).map(|item| item.data)
}

/// Tells what kind of witness program it is.
pub(crate) fn classify_program(version: u8, program: &[u8]) -> ScriptType<'_> {
    match (version, program.try_into(), program.try_into()) {
        (0, Ok(hash), _) => ScriptType::WitnessV0KeyHash(hash),
        (0, _, Ok(hash)) => ScriptType::WitnessV0ScriptHash(hash),
        (0, _, _) => ScriptType::Nonstandard,
        (1, _, Ok(key)) => ScriptType::WitnessV1Taproot(key),
        (1, _, _) if program == [0x4e, 0x73] => ScriptType::Anchor,
        _ => ScriptType::WitnessUnknown { version, program },
    }
}

fn multisig(script: &[u8]) -> Option<ScriptType<'_>> {
    let (&OP_CHECKMULTISIG, script) = script.split_last()? else { return None };
    let mut instructions = Instructions::new(script).map_while(Result::ok);
    let required = small_number(&instructions.next()?)?;
    let mut keys = 0;
    let last = instructions.find(|item| {
        keys += usize::from(is_key_size(item.data));
        !is_key_size(item.data)
    })?;
    let is_multisig = 1 <= required
        && required <= keys
        && small_number(&last) == Some(keys)
        && last.position + 1 + last.data.len() == script.len();
    is_multisig.then_some(ScriptType::Multisig { required, keys })
}

/// A count of multisig, written as an opcode or as a minimal push.
fn small_number(item: &Instruction<'_>) -> Option<usize> {
    let data = item.pushed().filter(|_| item.is_minimal_push())?;
    let number = usize::try_from(decode_number(data, true, 4).ok()?).ok()?;
    (number <= MAX_MULTISIG_KEYS).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AddressPrefixes, address};
    use alloc::vec::Vec;
    use caesure_text::hex;

    fn check(script: &str, name: &str, expected: Option<&str>) {
        let script = hex::decode(script).unwrap();
        assert_eq!(classify(&script).name(), name);
        assert_eq!(address(&script, &AddressPrefixes::MAIN).as_deref(), expected);
    }

    #[test]
    fn each_kind_and_its_address() {
        let key = "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f";
        let hash = "751e76e8199196d454941c45d1b3a323f1433bd6";
        let long = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let genesis = Some("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa");
        check(&alloc::format!("41{key}ac"), "pubkey", genesis);
        check("76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac", "pubkeyhash", genesis);
        let p2sh = Some("3CNHUhP3uyB9EUtRLsmvFUmvGdjGdkTxJw");
        check(&alloc::format!("a914{hash}87"), "scripthash", p2sh);
        let p2wpkh = Some("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
        check(&alloc::format!("0014{hash}"), "witness_v0_keyhash", p2wpkh);
        let taproot = Some("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0");
        check(&alloc::format!("5120{long}"), "witness_v1_taproot", taproot);
        check("51024e73", "anchor", Some("bc1pfeessrawgf"));
        check("6a0548656c6c6f", "nulldata", None);
        check("6a054865", "nonstandard", None);
    }

    #[test]
    fn multisig_counts_may_be_pushed_but_only_minimally() {
        let key = [&[33, 2][..], &[7; 32]].concat();
        let script = |start: &[u8], keys: usize, end: &[u8]| {
            let keys = core::iter::repeat_n(&key[..], keys).collect::<Vec<_>>().concat();
            [start, &keys, end].concat()
        };
        let check = |script: &[u8], expected| {
            let expected = match expected {
                Some((required, keys)) => ScriptType::Multisig { required, keys },
                None => ScriptType::Nonstandard,
            };
            assert_eq!(classify(script), expected);
        };
        check(&script(&[0x51], 2, &[0x52, 0xae]), Some((1, 2)));
        check(&script(&[1, 17], 20, &[1, 20, 0xae]), Some((17, 20)));
        check(&script(&[1, 2], 3, &[0x53, 0xae]), None);
        check(&script(&[0x51], 21, &[1, 21, 0xae]), None);
        check(&script(&[0x53], 2, &[0x52, 0xae]), None);
        check(&script(&[0x51], 2, &[0x53, 0xae]), None);
        check(&script(&[0x00], 1, &[0x51, 0xae]), None);
        check(&script(&[0x51], 1, &[0x51, 0x61, 0xae]), None);
        check(&script(&[0x51], 1, &[0x51, 0xaf]), None);
        check(&[0xae], None);
    }
}
