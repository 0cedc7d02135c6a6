use caesure_script::{Form, ParsedScript, parse_script, pprint_script, push_kind};
use caesure_text::hex;
use caesure_wire::{Block, TxView};

/// Writes satoshi as bitcoins with eight decimals.
#[must_use]
pub fn btc(satoshi: i128) -> String {
    let sign = if satoshi < 0 { "-" } else { "" };
    let amount = satoshi.unsigned_abs();
    format!("{sign}{}.{:08}", amount / 100_000_000, amount % 100_000_000)
}

/// Writes a script as a list of pushes and opcodes, or in hexadecimal when it has no structure.
#[must_use]
pub fn script_text(script: &[u8]) -> String {
    parse_script(script)
        .map_or_else(|_| format!("'{}'", hex::encode(script)), |parsed| pprint_script(&parsed))
}

/// Writes a transaction line by line. The hash is in the order in which people read hashes, which
/// the original got wrong here; witnesses, which it did not know, come last if there are any.
#[must_use]
pub fn dump_tx(tx: TxView<'_>) -> String {
    let mut text = format!("hash: {}\ninputs: {}\n", tx.txid(), tx.input_count());
    let mut line = |arguments: std::fmt::Arguments<'_>| text.push_str(&arguments.to_string());
    for (index, input) in tx.inputs().enumerate() {
        let script = script_text(input.script_sig);
        line(format_args!("{index:3} {} {script} {}\n", input.prevout, input.sequence));
    }
    line(format_args!("outputs: {}\n", tx.output_count()));
    for (index, output) in tx.outputs().enumerate() {
        let (value, script) = (btc(output.value.into()), script_text(output.script_pubkey));
        line(format_args!("{index:3} {value} {script}\n"));
    }
    line(format_args!("lock_time: {}\n", tx.lock_time()));
    if tx.has_witness() {
        line(format_args!("witnesses: {}\n", tx.input_count()));
        for index in 0..tx.input_count() {
            let items: Vec<_> = tx.witness(index).map(push_text).collect();
            line(format_args!("{index:3} [{}]\n", items.join(", ")));
        }
    }
    text
}

/// Writes a block: its header, and each transaction in braces.
#[must_use]
pub fn dump_block<B: AsRef<[u8]>>(block: &Block<B>) -> String {
    let header = block.header();
    let mut text = format!(
        "version:{}\nprev_block:{}\nmerkle_root:{}\ntimestamp:{}\nbits:{:08x}\nnonce:{}\n",
        header.version,
        header.prev_block,
        header.merkle_root,
        header.time,
        header.bits,
        header.nonce
    );
    for (index, tx) in block.txs().enumerate() {
        let dump = dump_tx(tx);
        text.push_str(&format!("tx {index} {{\n{dump}}}\n"));
    }
    text
}

/// Writes a parsed script as the original's nested tuples: `(0, data, kind)` is a push, `(1, sense,
/// branches…)` a conditional, `(2, opcode)` an operation, `(3, opcode, code)` a check of signatures
/// over that code, `(4,)` a code separator. Data and code are in hexadecimal.
#[must_use]
pub fn form_list(parsed: &ParsedScript<'_>) -> String {
    let body = |index: usize| parsed.bodies().get(index).map_or(&[][..], Vec::as_slice).iter();
    let mut text = String::from("[");
    // Of each list that is being written: the forms to come, and the branches after it.
    let mut open = vec![(body(0), &[][..])];
    while let Some((forms, branches)) = open.last_mut() {
        match (forms.next(), *branches) {
            (Some(form), _) => {
                if !text.ends_with('[') {
                    text.push_str(", ");
                }
                match form {
                    Form::Push(data, opcode) => {
                        text.push_str(&format!(
                            "(0, '{}', {})",
                            hex::encode(data),
                            push_kind(*opcode)
                        ));
                    }
                    Form::Op(opcode) => text.push_str(&format!("(2, {opcode})")),
                    Form::CheckSig(opcode, code) => {
                        text.push_str(&format!("(3, {opcode}, '{}')", hex::encode(code)));
                    }
                    Form::CodeSeparator => text.push_str("(4,)"),
                    Form::Conditional(sense, inner) => {
                        text.push_str(if *sense { "(1, True, [" } else { "(1, False, [" });
                        if let [first, rest @ ..] = &inner[..] {
                            open.push((body(*first), rest));
                        }
                    }
                }
            }
            (None, [next, rest @ ..]) => {
                text.push_str("], [");
                (*forms, *branches) = (body(*next), rest);
            }
            (None, []) => {
                open.pop();
                text.push_str(if open.is_empty() { "]" } else { "])" });
            }
        }
    }
    text
}

fn push_text(data: &[u8]) -> String {
    if data.is_empty() { "''".into() } else { format!("'0x{}'", hex::encode(data)) }
}

#[cfg(test)]
mod tests {
    use caesure_consensus::{Network, Params};

    use super::*;

    #[test]
    fn genesis_dumps_as_the_original_printed_it_but_for_the_order_of_its_hash() {
        let block = Block::parse(Params::new(Network::Main).genesis_block()).unwrap();
        let message =
            hex::encode(b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks");
        let key = "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6\
                   49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f";
        let root = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b";
        let tx = format!(
            "hash: {root}\ninputs: 1\n  0 {}:4294967295 ['0xffff001d', '0x04', '0x{message}'] \
             4294967295\noutputs: 1\n  0 50.00000000 ['0x{key}', 'OP_CHECKSIG']\nlock_time: 0\n",
            "0".repeat(64)
        );
        assert_eq!(dump_tx(block.tx(0)), tx);
        let header = format!(
            "version:1\nprev_block:{}\nmerkle_root:{root}\ntimestamp:1231006505\nbits:1d00ffff\n\
             nonce:2083236893\n",
            "0".repeat(64)
        );
        assert_eq!(dump_block(&block), format!("{header}tx 0 {{\n{tx}}}\n"));
    }

    #[test]
    fn amounts_have_eight_decimals() {
        for (satoshi, text) in [
            (0, "0.00000000"),
            (1, "0.00000001"),
            (5_000_000_000, "50.00000000"),
            (-150_000_000, "-1.50000000"),
        ] {
            assert_eq!(btc(satoshi), text);
        }
    }

    #[test]
    fn forms_are_the_original_s_tuples() {
        let check = |script: &[u8], expected: &str| {
            assert_eq!(form_list(&parse_script(script).unwrap()), expected);
        };
        check(&[], "[]");
        check(
            &[0, 0x51, 1, 7, 0x4c, 1, 7],
            "[(0, '', 0), (0, '01', 0), (0, '07', 1), (0, '07', 2)]",
        );
        check(&[0x76, 0xab, 0x52, 0xac], "[(2, 118), (4,), (0, '02', 0), (3, 172, '52ac')]");
        check(
            &[0x63, 0x64, 0x68, 0x67, 0x61, 0x67, 0x68, 0x61],
            "[(1, True, [(1, False, [])], [(2, 97)], []), (2, 97)]",
        );
    }

    #[test]
    fn a_script_without_structure_is_shown_in_hexadecimal() {
        assert_eq!(script_text(&[0x63]), "'63'");
        assert_eq!(script_text(&[5, 1]), "'0501'");
        assert_eq!(script_text(&[0x51]), "['0x01']");
    }
}
