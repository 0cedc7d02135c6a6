use alloc::string::String;
use alloc::vec::Vec;

use caesure_hash::hash160;
use caesure_text::{TextError, base58, bech32};

use crate::opcode::*;
use crate::{AddressError, ScriptType, classify, push_slice, witness_program};

/// What a network writes before the parts of an address. Core: `CChainParams::Base58Prefix`,
/// `Bech32HRP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPrefixes {
    /// The byte before the hash of a key, in Base58Check.
    pub p2pkh: u8,
    /// The byte before the hash of a script, in Base58Check.
    pub p2sh: u8,
    /// The human-readable part, in Bech32; in lower case.
    pub hrp: &'static str,
}

impl AddressPrefixes {
    /// The main network: `1`, `3` and `bc1`.
    pub const MAIN: Self = Self { p2pkh: 0, p2sh: 5, hrp: "bc" };
    /// Testnet3, testnet4 and signet, which addresses do not tell apart: `m` or `n`, `2` and `tb1`.
    pub const TEST: Self = Self { p2pkh: 111, p2sh: 196, hrp: "tb" };
    /// Regtest: as [`TEST`](Self::TEST) in Base58Check, but `bcrt1`.
    pub const REGTEST: Self = Self { hrp: "bcrt", ..Self::TEST };
    /// Those of all networks, which are these three.
    pub const ALL: [Self; 3] = [Self::MAIN, Self::TEST, Self::REGTEST];
}

/// Writes the address of a script that has one.
///
/// A bare public key has that of its hash, which block explorers print, and Core does not; it leads
/// to another script. All others lead back by [`parse_address`]. Core: `EncodeDestination`.
#[must_use]
pub fn address(script_pubkey: &[u8], prefixes: &AddressPrefixes) -> Option<String> {
    let base58 = |prefix: u8, hash: &[u8; 20]| {
        let mut payload = [prefix; 21];
        payload[1..].copy_from_slice(hash);
        Some(base58::encode_check(&payload))
    };
    if let Some((version, program)) = witness_program(script_pubkey) {
        return bech32::encode_segwit(prefixes.hrp, version, program).ok();
    }
    match classify(script_pubkey) {
        ScriptType::Pubkey(key) => base58(prefixes.p2pkh, &hash160(key)),
        ScriptType::PubkeyHash(hash) => base58(prefixes.p2pkh, hash),
        ScriptType::ScriptHash(hash) => base58(prefixes.p2sh, hash),
        _ => None,
    }
}

/// Reads an address of the network with these prefixes and returns its scriptPubKey.
///
/// Accepts what Core accepts: the hash of a key or of a script in Base58Check, white space around it
/// allowed, or a witness program of version 0 to 16 in Bech32 or Bech32m. Core:
/// `DecodeDestination`.
///
/// ```
/// use caesure_script::{AddressError, AddressPrefixes, disassemble, parse_address};
///
/// let text = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn";
/// let script = parse_address(text, &AddressPrefixes::TEST)?;
/// let hash = "243f1394f44554f4ce3fd68649c19adc483ce924";
/// assert_eq!(disassemble(&script), format!("OP_DUP OP_HASH160 {hash} OP_EQUALVERIFY OP_CHECKSIG"));
///
/// // Its networks: here the test networks and regtest, but not main.
/// let is_of = AddressPrefixes::ALL.map(|prefixes| parse_address(text, &prefixes).is_ok());
/// assert_eq!(is_of, [false, true, true]);
/// # Ok::<(), AddressError>(())
/// ```
///
/// # Errors
/// When the text is damaged, with the character where one tells, and when it is sound but not an
/// address, or of another network.
pub fn parse_address(text: &str, prefixes: &AddressPrefixes) -> Result<Vec<u8>, AddressError> {
    let start = text.as_bytes().get(..prefixes.hrp.len());
    if start.is_some_and(|start| start.eq_ignore_ascii_case(prefixes.hrp.as_bytes())) {
        let decoded = bech32::decode_segwit(prefixes.hrp, text);
        let (version, program) = decoded.map_err(|error| match error {
            TextError::WrongHrp => AddressError::OtherNetwork,
            error => error.into(),
        })?;
        let mut script = Vec::from([if version == 0 { OP_0 } else { OP_1 - 1 + version }]);
        push_slice(&mut script, &program);
        return Ok(script);
    }
    let payload = base58::decode_check(text).map_err(|error| match bech32::decode(text) {
        Ok(_) => AddressError::OtherNetwork,
        // All but the checksum is right: this was meant, and not Base58.
        Err(TextError::Checksum) => TextError::Checksum.into(),
        Err(_) => error.into(),
    })?;
    match &payload[..] {
        [prefix, hash @ ..] if hash.len() == 20 && *prefix == prefixes.p2pkh => {
            Ok([&[OP_DUP, OP_HASH160, 20], hash, &[OP_EQUALVERIFY, OP_CHECKSIG]].concat())
        }
        [prefix, hash @ ..] if hash.len() == 20 && *prefix == prefixes.p2sh => {
            Ok([&[OP_HASH160, 20], hash, &[OP_EQUAL]].concat())
        }
        [_, hash @ ..] if hash.len() == 20 => Err(AddressError::OtherNetwork),
        _ => Err(AddressError::Length { length: payload.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: &str = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
    const BIP173: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    #[test]
    fn a_wrong_address_says_what_is_wrong() {
        let error = |text: &str, prefixes: &_| parse_address(text, prefixes).unwrap_err();
        let main = |text: &str| error(text, &AddressPrefixes::MAIN);
        assert_eq!(
            main(&GENESIS.replacen('D', "O", 1)),
            TextError::InvalidCharacter { at: 15, character: 'O' }.into()
        );
        assert_eq!(main(&GENESIS.replacen('D', "E", 1)), TextError::Checksum.into());
        assert_eq!(
            main(&BIP173.replacen('x', "X", 1)),
            TextError::MixedCase { at: 13, character: 'X' }.into()
        );
        assert_eq!(
            main(&BIP173.replacen('x', "b", 1)),
            TextError::InvalidCharacter { at: 13, character: 'b' }.into()
        );
        assert_eq!(
            main("bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx"),
            TextError::WrongVariant { version: 1 }.into()
        );
        // A private key.
        assert_eq!(
            main("5Kd3NBUAdUnhyzenEwVLy9pBKxSwXvE9FMPyR4UKZvpe6E3AgLr"),
            AddressError::Length { length: 33 }
        );
        assert_eq!(main(""), TextError::TooShort.into());
        for prefixes in [AddressPrefixes::TEST, AddressPrefixes::REGTEST] {
            assert_eq!(error(GENESIS, &prefixes), AddressError::OtherNetwork);
            assert_eq!(error(BIP173, &prefixes), AddressError::OtherNetwork);
            assert_eq!(error(&BIP173.replacen('x', "y", 1), &prefixes), TextError::Checksum.into());
        }
    }

    #[test]
    fn white_space_around_base58_is_skipped_and_around_bech32_not() {
        let is_address = |text: &str| parse_address(text, &AddressPrefixes::MAIN).is_ok();
        assert!(is_address(&alloc::format!(" {GENESIS}\n")));
        assert!(!is_address(&alloc::format!(" {BIP173}")));
        assert!(!is_address(&alloc::format!("{BIP173}\n")));
        assert!(is_address(&BIP173.to_ascii_uppercase()));
    }
}
