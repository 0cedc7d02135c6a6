use alloc::vec;

use super::*;

fn sample(witness: Vec<Vec<u8>>) -> Transaction {
    let input = |n: u8, witness| TxIn {
        prevout: OutPoint { txid: Txid([n; 32]), vout: n.into() },
        script_sig: vec![n; n.into()],
        sequence: u32::MAX - u32::from(n),
        witness,
    };
    Transaction {
        version: u32::MAX,
        inputs: vec![input(1, vec![]), input(2, witness)],
        outputs: vec![
            TxOut { value: -1, script_pubkey: vec![] },
            TxOut { value: 7, script_pubkey: vec![0x6a; 300] },
        ],
        lock_time: 9,
    }
}

fn check(tx: &Transaction) {
    let bytes = tx.encode();
    let parsed = Tx::parse(&bytes).unwrap();
    let view = parsed.view();
    assert_eq!(view.to_owned(), *tx);
    assert_eq!(view.txid(), tx.txid());
    assert_eq!(view.wtxid().0, sha256d(&bytes));
    assert_eq!(view.total_size(), bytes.len());
    assert_eq!(view.stripped_size(), tx.encode_stripped().len());
    assert_eq!(view.bytes(), bytes);
    for end in 0..bytes.len() {
        assert_eq!(
            Tx::parse(&bytes[..end]).unwrap_err(),
            DecodeError::UnexpectedEnd { at: end },
            "a prefix of {end} bytes"
        );
    }
    assert_eq!(
        Tx::parse([&bytes[..], &[0]].concat()).unwrap_err(),
        DecodeError::TrailingBytes { at: bytes.len() }
    );
}

#[test]
fn views_and_owned_types_agree() {
    check(&sample(vec![]));
    check(&sample(vec![vec![], vec![3; 600]]));
}

#[test]
fn a_marked_transaction_without_witness_is_refused() {
    let mut bytes = sample(vec![vec![]]).encode();
    let end = bytes.len();
    assert_eq!(bytes[end - 6..end - 4], [1, 0]);
    bytes.splice(end - 6..end - 4, [0]);
    let error = DecodeError::SuperfluousWitness { at: end - 5 };
    assert_eq!(Tx::parse(&bytes).unwrap_err(), error);
    bytes[5] = 3;
    assert_eq!(Tx::parse(&bytes).unwrap_err(), error, "Core looks at the witnesses first");
    let mut bytes = sample(vec![vec![]]).encode();
    bytes[5] = 3;
    assert_eq!(Tx::parse(&bytes).unwrap_err(), DecodeError::UnknownFlag { at: 5, flag: 3 });
}

#[test]
fn a_transaction_without_inputs_has_no_outputs_either() {
    let bytes = [1, 0, 0, 0, 0, 0, 5, 0, 0, 0];
    let tx = Tx::parse(bytes).unwrap();
    assert_eq!((tx.view().input_count(), tx.view().output_count()), (0, 0));
    assert_eq!((tx.view().lock_time(), tx.view().stripped_size()), (5, 10));
}

/// CVE-2022-39389 and CVE-2022-44797, and keep-core #4219: nothing at the wire limits a witness but
/// the bytes that are there, and a claimed length reserves nothing.
#[test]
fn btcd_cve_2022_39389_and_44797_no_limits_on_witness_items() {
    check_witness_of(500_000);
    let mut bytes = sample(vec![vec![]]).encode();
    bytes.truncate(bytes.len() - 6);
    bytes.extend_from_slice(&[0xfe, 0, 0, 0, 2]);
    let error = DecodeError::UnexpectedEnd { at: bytes.len() };
    assert_eq!(Tx::parse(&bytes).unwrap_err(), error);
}

fn check_witness_of(count: usize) {
    let tx = Tx::parse(sample(vec![vec![]; count]).encode()).unwrap();
    assert_eq!(tx.view().witness(1).len(), count);
    assert_eq!(tx.view().witness(1).filter(|item| item.is_empty()).count(), count);
}
