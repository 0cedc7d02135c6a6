#![cfg_attr(fuzzing, no_main)]
//! Any scripts and witness under any flags give a verdict, the same with a trace as without, and one
//! that more flags can only turn from valid to invalid; a failure names an instruction that is there.

use std::ops::ControlFlow;

use caesure_fuzz::flags;
use caesure_script::{Flags, ScriptSource, TxContext};
use caesure_wire::{OutPoint, OutputView, Reader, Transaction, Tx, TxIn, TxOut, Txid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // What is too short to be a case is no case.
    let _ = run(data);
});

/// Reads flags, flags to leave out, version, lock time, sequence, and then scripts and witness items.
fn run(data: &[u8]) -> Result<(), caesure_wire::DecodeError> {
    let mut reader = Reader::new(data);
    let (some, fewer) = (reader.u32()?, reader.u32()?);
    let (version, lock_time, sequence) = (reader.u8()?, reader.u32()?, reader.u32()?);
    let script_sig = reader.sized_bytes()?.to_vec();
    let script_pubkey = reader.sized_bytes()?;
    let mut witness = Vec::new();
    while !reader.is_empty() {
        witness.push(reader.sized_bytes()?.to_vec());
    }
    let prevout = OutPoint { txid: Txid([7; 32]), vout: 1 };
    let other = TxIn { prevout, ..TxIn::default() };
    let tx = Transaction {
        version: version.into(),
        inputs: vec![TxIn { prevout, script_sig, sequence, witness }, other],
        outputs: vec![TxOut { value: 1, script_pubkey: vec![0x51] }],
        lock_time,
    };
    let tx = Tx::parse(tx.encode())?;
    let spent = [OutputView { value: 2, script_pubkey }, OutputView { value: 3, script_pubkey }];
    let context = TxContext::new(tx.view(), &spent);
    let all = flags(some);
    let verdict = context.verify_input(0, all);
    let mut steps = 0;
    let traced = context.trace_input(0, all, &mut |step| {
        steps += 1;
        assert!(step.stack.len() + step.alt_stack.len() <= 1_000, "{step}");
        assert!(step.stack.iter().all(|item| item.len() <= 520));
        if steps == 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let located = context.verify_input_located(0, all);
    assert_eq!(verdict, located.map_err(|failure| failure.error));
    match traced {
        ControlFlow::Continue(result) => assert_eq!(result, located),
        ControlFlow::Break(()) => assert_eq!(steps, 100),
    }
    if let Err(failure) = located {
        assert!(!failure.to_string().is_empty());
        let script = match failure.source {
            Some(ScriptSource::ScriptSig) => tx.view().input(0).script_sig,
            Some(ScriptSource::ScriptPubkey) => script_pubkey,
            _ => return Ok(()),
        };
        let is_there = |(at, opcode): (usize, u8)| script.get(at) == Some(&opcode);
        assert!(failure.instruction.is_none_or(is_there), "{failure}");
    }
    let fewer = flags((all.without(Flags(fewer))).0);
    if verdict.is_ok() && all.contains(fewer) {
        assert_eq!(context.verify_input(0, fewer), Ok(()), "{all} against {fewer}");
    }
    Ok(())
}

#[cfg(not(fuzzing))]
fn main() {}
