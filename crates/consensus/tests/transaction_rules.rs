//! Rules on a transaction by itself: `CheckTransaction`, `IsFinalTx`.
#![allow(clippy::print_stdout, reason = "each prints how many cases it ran")]

mod common;

use caesure_consensus::{MAX_MONEY, Reject, check_transaction, is_final};
use caesure_wire::{OutPoint, Transaction, Tx};

use common::{broken, coinbase, data, outpoint, tx};

fn check(tx: &Transaction) -> Result<(), Reject> {
    check_transaction(Tx::parse(tx.encode()).unwrap().view())
}

/// A good transaction after a change.
fn changed(change: impl FnOnce(&mut Transaction)) -> Result<(), Reject> {
    let mut tx = tx(&[outpoint(1), outpoint(2)], &[1, 2]);
    change(&mut tx);
    check(&tx)
}

fn pays(values: &[i64]) -> Result<(), Reject> {
    check(&tx(&[outpoint(1)], values))
}

#[test]
fn a_transaction_without_inputs_is_refused() {
    // Without inputs and outputs, the form of a transaction with witnesses cannot be meant.
    let result = changed(|tx| (tx.inputs, tx.outputs) = (vec![], vec![]));
    broken(result, Reject::BadTxnsVinEmpty, "bad-txns-vin-empty");
}

#[test]
fn a_transaction_without_outputs_is_refused() {
    let result = changed(|tx| tx.outputs.clear());
    broken(result, Reject::BadTxnsVoutEmpty, "bad-txns-vout-empty");
}

#[test]
fn a_transaction_larger_than_a_block_is_refused() {
    let size = tx(&[outpoint(1), outpoint(2)], &[1, 2]).encode().len();
    let with_script = |size: usize| changed(|tx| tx.inputs[0].script_sig = vec![0; size]);
    // The longer script takes a length prefix of five bytes instead of one.
    let most = 1_000_000 - size - 4;
    assert_eq!(with_script(most), Ok(()));
    broken(with_script(most + 1), Reject::BadTxnsOversize, "bad-txns-oversize");
    // The witness does not count.
    assert_eq!(changed(|tx| tx.inputs[0].witness = vec![vec![0; 2_000_000]]), Ok(()));
}

#[test]
fn a_negative_output_is_refused() {
    broken(pays(&[1, -1]), Reject::BadTxnsVoutNegative, "bad-txns-vout-negative");
    broken(pays(&[i64::MIN]), Reject::BadTxnsVoutNegative, "bad-txns-vout-negative");
}

#[test]
fn an_output_over_all_money_is_refused() {
    assert_eq!(pays(&[MAX_MONEY]), Ok(()));
    broken(pays(&[MAX_MONEY + 1]), Reject::BadTxnsVoutToolarge, "bad-txns-vout-toolarge");
    broken(pays(&[1, i64::MAX]), Reject::BadTxnsVoutToolarge, "bad-txns-vout-toolarge");
}

#[test]
fn cve_2010_5139_a_sum_of_outputs_over_all_money_is_refused() {
    let (reject, text) = (Reject::BadTxnsTxouttotalToolarge, "bad-txns-txouttotal-toolarge");
    assert_eq!(pays(&[MAX_MONEY, 0]), Ok(()));
    broken(pays(&[MAX_MONEY, 1]), reject, text);
    // The running sum counts, even though the faults that follow are of another kind.
    broken(pays(&[MAX_MONEY, 1, -1]), reject, text);
    // The values of the transaction in block 74,638: their sum wraps to less than zero.
    let value = 9_223_372_036_854_277_039;
    broken(pays(&[value, value]), Reject::BadTxnsVoutToolarge, "bad-txns-vout-toolarge");
}

#[test]
fn cve_2018_17144_an_output_spent_twice_by_one_transaction_is_refused() {
    let result = changed(|tx| tx.inputs[1].prevout = tx.inputs[0].prevout);
    broken(result, Reject::BadTxnsInputsDuplicate, "bad-txns-inputs-duplicate");
    // Another output of the same transaction is another.
    assert_eq!(changed(|tx| tx.inputs[1].prevout = OutPoint { vout: 1, ..outpoint(1) }), Ok(()));
    // Also when others stand between them, in any order.
    let prevouts = [outpoint(3), outpoint(1), outpoint(2), outpoint(3)];
    let result = check(&tx(&prevouts, &[1]));
    broken(result, Reject::BadTxnsInputsDuplicate, "bad-txns-inputs-duplicate");
}

#[test]
fn a_coinbase_script_of_a_wrong_length_is_refused() {
    let with_script = |size: usize| {
        let mut coinbase = coinbase(1, 1);
        coinbase.inputs[0].script_sig = vec![0; size];
        check(&coinbase)
    };
    broken(with_script(1), Reject::BadCbLength, "bad-cb-length");
    assert_eq!(with_script(2), Ok(()));
    assert_eq!(with_script(100), Ok(()));
    broken(with_script(101), Reject::BadCbLength, "bad-cb-length");
}

#[test]
fn a_null_prevout_among_others_is_refused() {
    let result = changed(|tx| tx.inputs[1].prevout = OutPoint::NULL);
    broken(result, Reject::BadTxnsPrevoutNull, "bad-txns-prevout-null");
    // Half of a null prevout is an ordinary one.
    assert_eq!(changed(|tx| tx.inputs[1].prevout.txid = OutPoint::NULL.txid), Ok(()));
    assert_eq!(changed(|tx| tx.inputs[1].prevout.vout = u32::MAX), Ok(()));
}

#[test]
fn of_two_faults_of_a_transaction_the_first_of_core_is_named() {
    let reason = |result: Result<(), Reject>| result.unwrap_err().reason();
    let twice = [outpoint(1), outpoint(1)];
    assert_eq!(reason(check(&tx(&twice, &[]))), "bad-txns-vout-empty");
    assert_eq!(reason(check(&tx(&twice, &[-1]))), "bad-txns-vout-negative");
    assert_eq!(reason(pays(&[MAX_MONEY + 1, -1])), "bad-txns-vout-toolarge");
    assert_eq!(reason(pays(&[-1, MAX_MONEY + 1])), "bad-txns-vout-negative");
    assert_eq!(reason(check(&tx(&[OutPoint::NULL; 2], &[1]))), "bad-txns-inputs-duplicate");
}

#[test]
fn a_lock_time_is_reached_when_it_is_below() {
    let check = |lock_time: u32, sequence: u32, height: u32, time: u32| {
        let mut tx = tx(&[outpoint(1)], &[1]);
        (tx.lock_time, tx.inputs[0].sequence) = (lock_time, sequence);
        is_final(Tx::parse(tx.encode()).unwrap().view(), height, time)
    };
    assert!(check(0, 0, 0, 0));
    assert!(!check(7, 0, 7, u32::MAX));
    assert!(check(7, 0, 8, 0));
    assert!(!check(499_999_999, 0, 499_999_999, u32::MAX));
    assert!(!check(500_000_000, 0, u32::MAX, 500_000_000));
    assert!(check(500_000_000, 0, 0, 500_000_001));
    assert!(check(u32::MAX, u32::MAX, 0, 0));
    assert!(!check(u32::MAX, u32::MAX - 1, u32::MAX, u32::MAX));
}

#[test]
fn transactions_that_core_calls_bad_are_refused() {
    let vectors = data::core_json("tx_invalid.json");
    let mut count = 0;
    for vector in vectors.as_array().unwrap().iter().filter_map(|vector| vector.as_array()) {
        if vector.len() == 3 && vector[2] == "BADTX" {
            let bytes = data::hex(vector[1].as_str().unwrap());
            // Core's reader takes a transaction without inputs for one with witnesses.
            if let Ok(tx) = Tx::parse(&bytes) {
                assert!(check_transaction(tx.view()).is_err(), "{vector:?}");
                count += 1;
            }
        }
    }
    println!("{count} of Core's bad transactions");
    assert_eq!(count, 9);
}

#[test]
fn transactions_that_core_calls_good_are_accepted() {
    let mut count = 0;
    for name in ["tx_valid.json", "tx_invalid.json"] {
        let vectors = data::core_json(name);
        for vector in vectors.as_array().unwrap().iter().filter_map(|vector| vector.as_array()) {
            if vector.len() == 3 && vector[2] != "BADTX" {
                let bytes = data::hex(vector[1].as_str().unwrap());
                let tx = Tx::parse(&bytes).unwrap();
                assert_eq!(check_transaction(tx.view()), Ok(()), "{vector:?}");
                count += 1;
            }
        }
    }
    println!("{count} of Core's other transactions");
    assert!(200 < count);
}
