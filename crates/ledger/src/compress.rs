//! The short forms of numbers, amounts and scripts in Core's files. Core: `compressor.h`,
//! `serialize.h`.

use std::io::BufRead;

use secp256k1::PublicKey;

use crate::format::{FormatError, FormatFault, Source};

/// Scripts over this size cannot be spent. Core: `MAX_SCRIPT_SIZE`.
const MAX_SCRIPT_SIZE: usize = 10_000;

/// How many kinds of script have a form of their own. Core: `nSpecialScripts`.
const SPECIAL_SCRIPTS: u64 = 6;

/// Appends a number in groups of seven bits, the highest first; each but the last has its top bit
/// set and counts from one. Core: `WriteVarInt`.
pub(crate) fn push_varint(out: &mut Vec<u8>, number: u64) {
    let start = out.len();
    let mut rest = number;
    let mut mark = 0;
    loop {
        out.push(rest.to_le_bytes()[0] & 0x7f | mark);
        if rest < 0x80 {
            break;
        }
        rest = (rest >> 7) - 1;
        mark = 0x80;
    }
    out[start..].reverse();
}

/// Takes what [`push_varint`] wrote, up to `max`, which is one less than a power of two.
/// Core: `ReadVarInt`.
pub(crate) fn read_varint<R: BufRead>(
    source: &mut Source<R>,
    max: u64,
) -> Result<u64, FormatError> {
    let at = source.offset;
    let mut number = 0;
    loop {
        let [byte] = source.array()?;
        if max >> 7 < number {
            return Err(FormatFault::BadNumber.at(at));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Ok(number);
        }
        if number == max {
            return Err(FormatFault::BadNumber.at(at));
        }
        number += 1;
    }
}

/// Takes the zeros off an amount: 50 bitcoins are 50. Core: `CompressAmount`.
pub(crate) const fn compress_amount(amount: u64) -> u64 {
    if amount == 0 {
        return 0;
    }
    let (mut rest, mut zeros) = (amount, 0);
    while rest.is_multiple_of(10) && zeros < 9 {
        rest /= 10;
        zeros += 1;
    }
    let digits = match zeros {
        9 => rest - 1,
        // The last digit is not zero, so nine values are enough for it.
        _ => (rest / 10 * 9).wrapping_add(rest % 10 - 1),
    };
    digits.wrapping_mul(10).wrapping_add(zeros + 1)
}

/// Puts the zeros back on; what is too large wraps, as in Core. Core: `DecompressAmount`.
pub(crate) fn decompress_amount(short: u64) -> u64 {
    let Some(short) = short.checked_sub(1) else { return 0 };
    let (digits, zeros) = (short / 10, short % 10);
    let amount = if zeros == 9 { digits + 1 } else { digits / 9 * 10 + digits % 9 + 1 };
    (0..zeros).fold(amount, |amount, _| amount.wrapping_mul(10))
}

/// Appends a script: one of six forms, or its size plus six and its bytes.
/// Core: `ScriptCompression::Ser`, `CompressScript`.
pub(crate) fn push_script(out: &mut Vec<u8>, script: &[u8]) {
    let (form, data) = match script {
        [0x76, 0xa9, 20, hash @ .., 0x88, 0xac] if hash.len() == 20 => (0, hash),
        [0xa9, 20, hash @ .., 0x87] if hash.len() == 20 => (1, hash),
        [33, parity @ (2 | 3), x @ .., 0xac] if x.len() == 32 => (*parity, x),
        // A point that is not on the curve could not be found again from its half.
        [65, key @ .., 0xac]
            if key.len() == 65 && key[0] == 4 && PublicKey::from_slice(key).is_ok() =>
        {
            (4 | key[64] & 1, &key[1..33])
        }
        _ => {
            push_varint(out, script.len() as u64 + SPECIAL_SCRIPTS);
            return out.extend_from_slice(script);
        }
    };
    out.push(form);
    out.extend_from_slice(data);
}

/// Takes a script. As in Core, one over the limit becomes `OP_RETURN`, and a key that is not on the
/// curve an empty script. Core: `ScriptCompression::Unser`, `DecompressScript`.
pub(crate) fn read_script<R: BufRead>(source: &mut Source<R>) -> Result<Box<[u8]>, FormatError> {
    let form = read_varint(source, u32::MAX.into())?;
    let script = match form {
        0 => {
            let hash = source.array::<20>()?;
            [&[0x76, 0xa9, 20][..], &hash, &[0x88, 0xac]].concat()
        }
        1 => [&[0xa9, 20][..], &source.array::<20>()?, &[0x87]].concat(),
        2..6 => {
            let parity = if form % 2 == 0 { 2 } else { 3 };
            let key = [&[parity][..], &source.array::<32>()?].concat();
            if form < 4 {
                return Ok([&[33][..], &key, &[0xac]].concat().into());
            }
            let whole =
                |key: PublicKey| [&[65][..], &key.serialize_uncompressed(), &[0xac]].concat();
            PublicKey::from_slice(&key).map_or_else(|_| Vec::new(), whole)
        }
        _ => {
            let size = form - SPECIAL_SCRIPTS;
            match usize::try_from(size) {
                Ok(size) if size <= MAX_SCRIPT_SIZE => source.bytes(size)?,
                _ => source.skip(size).map(|()| vec![0x6a])?,
            }
        }
    };
    Ok(script.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use caesure_consensus::COIN;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    fn script_of(bytes: &[u8]) -> Result<Box<[u8]>, FormatError> {
        let mut source = Source::new(bytes);
        let script = read_script(&mut source)?;
        source.finish().map(|()| script)
    }

    fn check_script(script: &str, short: &str) {
        let (script, short) = (unhex(script), unhex(short));
        let mut out = Vec::new();
        push_script(&mut out, &script);
        assert_eq!(out, short);
        assert_eq!(*script_of(&short).unwrap(), script);
    }

    const X: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const Y: &str = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
    const NEGATED_Y: &str = "b7c52588d95c3b9aa25b0403f1eef75702e84bb7597aabe663b82f6f04ef2777";

    #[test]
    fn numbers_have_the_forms_that_core_documents_and_tests() {
        let forms: [(u64, &str); 17] = [
            (0, "00"),
            (1, "01"),
            (0x7f, "7f"),
            (0x80, "8000"),
            (0xff, "807f"),
            (0x100, "8100"),
            (0x1234, "a334"),
            (16_383, "fe7f"),
            (16_384, "ff00"),
            (16_511, "ff7f"),
            (0xffff, "82fe7f"),
            (0x12_3456, "c7e756"),
            (0x8012_3456, "86ffc7e756"),
            (0xffff_ffff, "8efefefe7f"),
            (1 << 32, "8efefeff00"),
            (0x7fff_ffff_ffff_ffff, "fefefefefefefefe7f"),
            (u64::MAX, "80fefefefefefefefe7f"),
        ];
        for (number, form) in forms {
            let mut out = Vec::new();
            push_varint(&mut out, number);
            assert_eq!(out, unhex(form), "{number}");
            assert_eq!(read_varint(&mut Source::new(&out[..]), u64::MAX).unwrap(), number);
            let is_u32 = read_varint(&mut Source::new(&out[..]), u32::MAX.into()).is_ok();
            assert_eq!(is_u32, u32::try_from(number).is_ok(), "{number}");
        }
        for bytes in ["80fefefefefefefeff00", "80fefefefefefefefeff00", "80", ""].map(unhex) {
            assert!(read_varint(&mut Source::new(&bytes[..]), u64::MAX).is_err());
        }
    }

    #[test]
    fn amounts_have_the_forms_that_core_tests() {
        let forms = [
            (0, 0),
            (1, 1),
            (1_000_000, 7),
            (100_000_000, 9),
            (50 * 100_000_000, 0x32),
            (21_000_000 * 100_000_000, 0x0140_6f40),
        ];
        for (amount, short) in forms {
            assert_eq!(compress_amount(amount), short);
            assert_eq!(decompress_amount(short), amount);
        }
    }

    #[test]
    fn each_form_of_script() {
        let hash = "751e76e8199196d454941c45d1b3a323f1433bd6";
        check_script(&format!("76a914{hash}88ac"), &format!("00{hash}"));
        check_script(&format!("a914{hash}87"), &format!("01{hash}"));
        check_script(&format!("2102{X}ac"), &format!("02{X}"));
        check_script(&format!("2103{X}ac"), &format!("03{X}"));
        check_script(&format!("4104{X}{Y}ac"), &format!("04{X}"));
        check_script(&format!("4104{X}{NEGATED_Y}ac"), &format!("05{X}"));
        check_script("", "06");
        check_script("51", "0751");
        check_script(&format!("0014{hash}"), &format!("1c0014{hash}"));
        check_script(&"51".repeat(122), &format!("8000{}", "51".repeat(122)));
        check_script(&"51".repeat(10_000), &format!("cd16{}", "51".repeat(10_000)));
    }

    #[test]
    fn what_is_nearly_a_special_script_is_kept_whole() {
        let zero = "00".repeat(32);
        for script in [
            format!("4104{X}{zero}ac"),
            format!("4106{X}{Y}ac"),
            format!("2104{X}ac"),
            format!("2102{X}ad"),
            format!("4104{X}{Y}ad"),
            format!("76a914{}88ac", "00".repeat(19)),
            format!("a914{}87", "00".repeat(21)),
        ] {
            let size = script.len() / 2 + 6;
            check_script(&script, &format!("{size:02x}{script}"));
        }
    }

    #[test]
    fn core_drops_the_bytes_of_a_script_over_the_limit() {
        let long = [unhex("cd17"), vec![0x51; 10_001]].concat();
        assert_eq!(*script_of(&long).unwrap(), [0x6a]);
        let error = script_of(&long[..10_002]).unwrap_err();
        assert!(matches!(error.fault, FormatFault::UnexpectedEnd), "{error}");
        // A size of 4 GiB costs neither memory nor time.
        assert!(script_of(&unhex("8efefefe7f51")).is_err());
    }

    #[test]
    fn core_gives_a_key_that_is_not_on_the_curve_an_empty_script() {
        assert!(script_of(&unhex(&format!("04{}", "00".repeat(32)))).unwrap().is_empty());
        assert!(script_of(&unhex(&format!("05{}", "ff".repeat(32)))).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_amount_of_money_comes_back(amount in 0..=21_000_000 * COIN.unsigned_abs()) {
            prop_assert_eq!(decompress_amount(compress_amount(amount)), amount);
        }

        #[test]
        fn any_number_comes_back_and_nothing_else_is_read_as_it(number: u64, shift in 0..64_u32) {
            let number = number >> shift;
            let mut out = Vec::new();
            push_varint(&mut out, number);
            let mut source = Source::new(&out[..]);
            prop_assert_eq!(read_varint(&mut source, u64::MAX).unwrap(), number);
            prop_assert!(source.finish().is_ok());
        }

        #[test]
        fn any_compressed_amount_is_total(short: u64) {
            let amount = decompress_amount(short);
            compress_amount(amount);
        }
    }
}
