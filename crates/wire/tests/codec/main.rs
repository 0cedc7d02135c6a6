//! Round trips, messages and addresses, real blocks, and the crate `bitcoin` over the same bytes, sound and corrupted.
#![allow(clippy::print_stdout, reason = "each test tells how many cases it ran")]

mod addresses;
mod differential;
mod messages;

use std::path::PathBuf;

use caesure_hash::{merkle_root, sha256d};
use caesure_wire::{
    Block, BlockHash, DecodeError, Header, InputView, MerkleRoot, OutPoint, OutputView, Part,
    Reader, Transaction, Tx, TxIn, TxOut, Txid, encode_block, push_compact_size, visit_block,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = [u8; 32]> {
    prop_oneof![any::<[u8; 32]>(), Just([0; 32])]
}

/// A script or a witness item: short, or around the border of a longer CompactSize.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 250..258)]
}

fn outpoint() -> impl Strategy<Value = OutPoint> {
    (hash(), any::<u32>()).prop_map(|(txid, vout)| OutPoint { txid: Txid(txid), vout })
}

/// A transaction with an input at least: without inputs and witnesses no serialization has outputs.
fn transaction() -> impl Strategy<Value = Transaction> {
    let witness = prop_oneof![Just(Vec::new()), vec(bytes(), 0..4)];
    let input = (outpoint(), bytes(), any::<u32>(), witness).prop_map(
        |(prevout, script_sig, sequence, witness)| TxIn { prevout, script_sig, sequence, witness },
    );
    let output =
        (any::<i64>(), bytes()).prop_map(|(value, script_pubkey)| TxOut { value, script_pubkey });
    (any::<u32>(), vec(input, 1..5), vec(output, 0..5), any::<u32>(), any::<bool>()).prop_map(
        |(version, mut inputs, outputs, lock_time, has_witness)| {
            inputs.iter_mut().filter(|_| !has_witness).for_each(|input| input.witness.clear());
            Transaction { version, inputs, outputs, lock_time }
        },
    )
}

fn header() -> impl Strategy<Value = Header> {
    (any::<i32>(), hash(), hash(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(version, prev_block, merkle_root, time, bits, nonce)| Header {
            version,
            prev_block: BlockHash(prev_block),
            merkle_root: MerkleRoot(merkle_root),
            time,
            bits,
            nonce,
        },
    )
}

/// Checks that all ways to look at a block agree with what it is made of.
fn check_block(bytes: &[u8], header: &Header, txs: &[Transaction]) {
    let block = Block::parse(bytes).unwrap();
    assert_eq!((block.header(), block.bytes()), (header, bytes));
    assert!(block.txs().map(|tx| tx.to_owned()).eq(txs.iter().cloned()));
    assert_eq!(block.input_count(), txs.iter().map(|tx| tx.inputs.len()).sum::<usize>());
    assert_eq!(block.output_count(), txs.iter().map(|tx| tx.outputs.len()).sum::<usize>());

    let txids: Vec<Txid> = txs.iter().map(Transaction::txid).collect();
    assert_eq!(block.txids(), txids);
    let leaves: Vec<[u8; 32]> = txids.iter().map(|txid| txid.0).collect();
    let (root, is_mutated) = merkle_root(leaves);
    assert_eq!(block.merkle_root(), (MerkleRoot(root), is_mutated));
    let mut wtxids: Vec<[u8; 32]> = txs.iter().map(|tx| tx.wtxid().0).collect();
    assert!(block.wtxids().iter().map(|wtxid| wtxid.0).eq(wtxids.iter().copied()));
    wtxids.iter_mut().take(1).for_each(|coinbase| *coinbase = [0; 32]);
    assert_eq!(block.witness_merkle_root().0, merkle_root(wtxids).0);

    let mut seen = Vec::new();
    let mut tx = Transaction::default();
    let mut witness_count = 0;
    let visit = |part: Part<'_>| match part {
        Part::Input(input) => tx.inputs.push(input.to_owned()),
        Part::Output(output) => tx.outputs.push(output.to_owned()),
        Part::Witness(witness) => {
            tx.inputs[witness_count].witness = witness.map(<[u8]>::to_vec).collect();
            witness_count += 1;
        }
        Part::Tx(bytes) => {
            assert_eq!(bytes, tx_bytes(&tx, bytes));
            witness_count = 0;
            seen.push(std::mem::take(&mut tx));
        }
    };
    assert_eq!(visit_block(bytes, visit).as_ref(), Ok(header));
    assert!(seen.iter().map(parts).eq(txs.iter().map(parts)));
}

/// The serialization of what was visited, with the version and the lock time from `bytes`.
fn tx_bytes(tx: &Transaction, bytes: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    Transaction { version: word(0), lock_time: word(bytes.len() - 4), ..tx.clone() }.encode()
}

fn parts(tx: &Transaction) -> (&[TxIn], &[TxOut]) {
    (&tx.inputs, &tx.outputs)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_transaction_comes_back_from_its_bytes(tx in transaction()) {
        let bytes = tx.encode();
        prop_assert_eq!(Transaction::decode(&bytes), Ok(tx.clone()));
        let stripped = Transaction::decode(&tx.encode_stripped()).unwrap();
        prop_assert!(stripped.inputs.iter().all(|input| input.witness.is_empty()));
        prop_assert_eq!((stripped.txid(), &stripped.outputs), (tx.txid(), &tx.outputs));

        let parsed = Tx::parse(&bytes).unwrap();
        let view = parsed.view();
        prop_assert_eq!(view.bytes(), &bytes);
        prop_assert_eq!((view.txid(), view.wtxid()), (tx.txid(), tx.wtxid()));
        prop_assert_eq!((view.weight(), view.vsize()), (tx.weight(), tx.weight().div_ceil(4)));
        prop_assert_eq!(view.has_witness(), bytes.len() != tx.encode_stripped().len());
        prop_assert_eq!((view.version(), view.lock_time()), (tx.version, tx.lock_time));
        for (index, output) in tx.outputs.iter().enumerate() {
            let mut bytes = Vec::new();
            output.encode_to(&mut bytes);
            prop_assert_eq!(view.output_bytes(index), &bytes);
            prop_assert_eq!(&OutputView::read(&mut Reader::new(&bytes)).unwrap().to_owned(), output);
        }
        for (index, input) in tx.inputs.iter().enumerate() {
            let mut bytes = Vec::new();
            input.encode_to(&mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(InputView::read(&mut reader).unwrap(), view.input(index));
            prop_assert!(reader.is_empty());
            prop_assert!(view.witness(index).eq(input.witness.iter().map(|item| &item[..])));
        }
    }

    #[test]
    fn a_block_comes_back_from_its_bytes(header in header(), txs in vec(transaction(), 0..6)) {
        let encoded: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        let bytes = encode_block(&header, &encoded);
        check_block(&bytes, &header, &txs);
        let longer = [&bytes[..], &[7, 7]].concat();
        let (block, rest) = Block::parse_prefix(&longer).unwrap();
        prop_assert_eq!((block.bytes(), rest), (&bytes[..], &[7, 7][..]));
        let error = DecodeError::TrailingBytes { at: bytes.len() };
        prop_assert_eq!(Block::parse(&longer).unwrap_err(), error);
        prop_assert_eq!(visit_block(&longer, |_| ()).unwrap_err(), error);
        for end in [bytes.len() - 1, bytes.len() / 2, 80, 79, 0] {
            let error = DecodeError::UnexpectedEnd { at: end };
            prop_assert_eq!(Block::parse(&bytes[..end]).unwrap_err(), error);
            prop_assert_eq!(visit_block(&bytes[..end], |_| ()).unwrap_err(), error);
        }
    }

    #[test]
    fn headers_and_outpoints_come_back_from_bytes_and_text(header in header(), outpoint in outpoint()) {
        prop_assert_eq!(Header::from_bytes(&header.to_bytes()), header);
        prop_assert_eq!(header.hash().0, sha256d(&header.to_bytes()));
        prop_assert_eq!(header.hash().to_string().parse(), Ok(header.hash()));
        prop_assert_eq!(OutPoint::from_bytes(&outpoint.to_bytes()), outpoint);
        prop_assert_eq!(outpoint.to_string().parse(), Ok(outpoint));
    }

    #[test]
    fn compact_sizes_come_back_up_to_the_limit(size in any::<u64>(), shift in 0..64u32) {
        let size = usize::try_from(size >> shift).unwrap();
        let mut bytes = Vec::new();
        push_compact_size(&mut bytes, size);
        let mut reader = Reader::new(&bytes);
        if size <= caesure_wire::MAX_SIZE {
            prop_assert_eq!(reader.compact_size(), Ok(size));
            prop_assert!(reader.is_empty());
        } else {
            let error = DecodeError::OversizedSize { at: 0, size: size as u64 };
            prop_assert_eq!(reader.compact_size(), Err(error));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), count in any::<usize>()) {
        prop_assert_eq!(Block::parse(&bytes).is_ok(), visit_block(&bytes, |_| ()).is_ok());
        prop_assert_eq!(Tx::parse(&bytes).is_ok(), Transaction::decode(&bytes).is_ok());
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.bytes(count).is_ok(), count <= bytes.len());
    }
}

/// The blocks of the outside data, with their names.
fn real_blocks() -> Vec<(String, Vec<u8>)> {
    let Some(data) = std::env::var_os("CAESURE_TEST_DATA") else {
        println!("all real blocks left out, CAESURE_TEST_DATA is not set");
        return Vec::new();
    };
    let mut blocks = Vec::new();
    for network in ["mainnet", "testnet3", "testnet4"] {
        let folder = PathBuf::from(&data).join("blocks").join(network);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".raw") && !name.ends_with("-undo.raw") {
                blocks.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    assert!(10 < blocks.len());
    println!("{} real blocks", blocks.len());
    blocks
}

#[test]
fn real_blocks_have_the_roots_that_they_commit_to() {
    for (name, bytes) in real_blocks() {
        let block = Block::parse(&bytes[..]).unwrap();
        assert_eq!(block.merkle_root(), (block.header().merkle_root, false), "{name}");
        let txs: Vec<Transaction> = block.txs().map(|tx| tx.to_owned()).collect();
        check_block(&bytes, block.header(), &txs);
        if block.txs().skip(1).any(|tx| tx.has_witness()) {
            let coinbase = block.tx(0);
            let nonce = coinbase.witness(0).next().unwrap();
            let mut scripts = coinbase.outputs().map(|output| output.script_pubkey);
            let prefix = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
            let script = scripts.rfind(|script| script.starts_with(&prefix)).unwrap();
            let committed = sha256d(&[&block.witness_merkle_root().0[..], nonce].concat());
            assert_eq!(committed, script[6..38], "{name}");
        }
    }
}

#[test]
fn outpoints_are_read_in_one_form_only() {
    let txid = "1f".repeat(32);
    let parse = |vout: &str| format!("{txid}:{vout}").parse::<OutPoint>().map(|it| it.vout);
    assert_eq!(parse("0"), Ok(0));
    assert_eq!(parse("4294967295"), Ok(u32::MAX));
    for vout in ["", "00", "01", "+1", "-1", "4294967296", "1 ", " 1", "1:1", "x"] {
        assert!(parse(vout).is_err(), "{vout}");
    }
    for text in ["", ":", "0", &txid, &format!("{}:0", &txid[1..]), &format!("0{txid}:0")] {
        assert!(text.parse::<OutPoint>().is_err(), "{text}");
    }
}
