//! Where scripts fail, what the debugger shows, and whole transactions.

mod data;

use std::ops::ControlFlow;

use caesure_script::{
    Failure, Flags, ScriptError as E, ScriptSource as S, Step, TxContext, opcode::*, verify_batch,
};
use caesure_wire::{OutPoint, OutputView, Transaction, Tx, TxIn, TxOut, Txid};
use data::{Random, Spend, assemble};

const NONE: Flags = Flags::NONE;

fn with_witness() -> Flags {
    Flags::P2SH | Flags::WITNESS
}

fn fail(error: E, source: Option<S>, instruction: Option<(usize, u8)>) -> Failure {
    Failure { input: 0, error, source, instruction }
}

/// A spend of a hash of `script`, in a witness of version 0 if `is_witness`, with no arguments.
fn hashed(script: &[u8], is_witness: bool) -> Spend {
    if is_witness {
        let lock = [&[OP_0, 32][..], &caesure_hash::sha256(script)].concat();
        return Spend::of(vec![], lock, vec![script.to_vec()], 1);
    }
    let lock = [&[OP_HASH160, 20][..], &caesure_hash::hash160(script), &[OP_EQUAL]].concat();
    let mut script_sig = vec![];
    caesure_script::push_slice(&mut script_sig, script);
    Spend::of(script_sig, lock, vec![], 1)
}

/// A spend of a tree of one leaf, with no arguments.
fn tapscript(script: Vec<u8>) -> Spend {
    let (control, key) = data::one_leaf(&script);
    let lock = [&[OP_1, 32][..], &key].concat();
    Spend::of(vec![], lock, vec![script, control], 1)
}

/// Checks where the first input fails, and how the text about it begins.
fn check(spend: &Spend, flags: Flags, expected: Failure, text: &str) {
    spend.with(|context| {
        let failure = context.verify_input_located(0, flags).unwrap_err();
        assert_eq!(failure, expected);
        assert!(failure.to_string().starts_with(text), "{failure}");
        assert_eq!(context.verify_input(0, flags), Err(failure.error));
    });
}

#[test]
fn a_failure_names_the_script_the_byte_and_the_opcode() {
    let bare =
        |script_sig: &str, lock: &str| Spend::of(assemble(script_sig), assemble(lock), vec![], 1);
    let lock = Some(S::ScriptPubkey);
    check(
        &bare("1 2", "0x03 0x010203 DROP EQUALVERIFY 1"),
        NONE,
        fail(E::Equalverify, lock, Some((5, OP_EQUALVERIFY))),
        "input 0: EQUALVERIFY at byte 5 (OP_EQUALVERIFY) of the scriptPubKey: Script failed",
    );
    check(
        &bare("1 DUP ADD", "1"),
        Flags::SIGPUSHONLY,
        fail(E::SigPushonly, Some(S::ScriptSig), Some((1, OP_DUP))),
        "input 0: SIG_PUSHONLY at byte 1 (OP_DUP) of the scriptSig: Only push",
    );
    check(
        &bare("", "0"),
        NONE,
        fail(E::EvalFalse, lock, None),
        "input 0: EVAL_FALSE at no instruction of the scriptPubKey: Script evaluated",
    );
    check(&bare("", "1 IF"), NONE, fail(E::UnbalancedConditional, lock, None), "input 0: UNB");
    check(
        &bare("1 1", "1"),
        with_witness() | Flags::CLEANSTACK,
        fail(E::Cleanstack, lock, None),
        "",
    );
    check(
        &bare("0x01", "1"),
        NONE,
        fail(E::BadOpcode, Some(S::ScriptSig), Some((0, 1))),
        "input 0: BAD_OPCODE at byte 0 (a push of 1 bytes) of the scriptSig",
    );
    let long = Spend::of(vec![], vec![OP_NOP; 10_001], vec![], 1);
    check(&long, NONE, fail(E::ScriptSize, lock, None), "");
}

#[test]
fn a_failure_in_what_a_hash_locks_names_that_script_or_none() {
    let redeem = assemble("1 RETURN");
    check(
        &hashed(&redeem, false),
        Flags::P2SH,
        fail(E::OpReturn, Some(S::RedeemScript), Some((1, OP_RETURN))),
        "input 0: OP_RETURN at byte 1 (OP_RETURN) of the redeem script",
    );
    check(
        &hashed(&redeem, true),
        with_witness(),
        fail(E::OpReturn, Some(S::WitnessScript), Some((1, OP_RETURN))),
        "input 0: OP_RETURN at byte 1 (OP_RETURN) of the witness script",
    );
    let mut other = hashed(&redeem, true);
    other.tx.inputs[0].witness = vec![vec![OP_1]];
    check(
        &other,
        with_witness(),
        fail(E::WitnessProgramMismatch, None, None),
        "input 0: WITNESS_PROGRAM_MISMATCH at no instruction: Witness program",
    );
    other.spent[0].script_pubkey = vec![OP_1];
    check(&other, with_witness(), fail(E::WitnessUnexpected, None, None), "");
    let taproot = with_witness() | Flags::TAPROOT | Flags::DISCOURAGE_OP_SUCCESS;
    let leaf = Some(S::Tapscript);
    check(&tapscript(assemble("NOP 0")), taproot, fail(E::EvalFalse, leaf, None), "");
    let success = fail(E::DiscourageOpSuccess, leaf, Some((2, OP_CAT)));
    check(&tapscript(assemble("NOP 0 CAT 1")), taproot, success, "");
    let cut = fail(E::BadOpcode, leaf, Some((1, 2)));
    check(&tapscript(vec![OP_NOP, 2, 1]), taproot, cut, "");
}

/// The error and the place are the same with every way to ask for them, and the place is the last
/// instruction that the debugger shows, if one runs at all.
#[test]
fn any_scripts_fail_at_the_instruction_that_the_debugger_shows_last() {
    let mut random = Random(11);
    let mut located = 0;
    for _ in 0..30_000 {
        let script = |random: &mut Random| -> Vec<u8> {
            let size = random.below(12);
            let byte = |random: &mut Random| match random.below(3) {
                0 => random.bytes(1)[0],
                1 => OP_1 + u8::try_from(random.below(4)).unwrap(),
                _ => [OP_IF, OP_ELSE, OP_ENDIF, OP_DUP, OP_0, OP_CODESEPARATOR][random.below(6)],
            };
            (0..size).map(|_| byte(random)).collect()
        };
        let spend = match random.below(3) {
            0 => Spend::of(script(&mut random), script(&mut random), vec![], 1),
            place => hashed(&script(&mut random), place == 1),
        };
        let mut flags = Flags(u32::try_from(random.next() >> 43).unwrap());
        if flags.intersects(Flags::WITNESS | Flags::CLEANSTACK) {
            flags = flags | with_witness();
        }
        spend.with(|context| {
            let mut last = None;
            let traced = context.trace_input(0, flags, &mut |step: &Step<'_>| {
                let instruction = (step.instruction.position, step.instruction.opcode);
                last = Some((Some(step.source), Some(instruction)));
                ControlFlow::Continue(())
            });
            let result = context.verify_input_located(0, flags);
            assert_eq!(traced, ControlFlow::Continue(result));
            assert_eq!(context.verify_input(0, flags), result.map_err(|failure| failure.error));
            let Err(failure) = result else { return };
            let place = (failure.source, failure.instruction);
            // A push past the end is no step, and pushes only are asked for where nothing runs.
            let is_step = !matches!(failure.error, E::BadOpcode | E::SigPushonly);
            if is_step && failure.instruction.is_some() {
                assert_eq!(last, Some(place), "{failure}");
                located += 1;
            }
        });
    }
    assert!(5_000 < located, "{located}");
}

#[test]
fn the_debugger_shows_stacks_branches_what_is_left_and_code_separators() {
    let lock = assemble("5 TOALTSTACK CODESEPARATOR 0 IF 2 ADD ELSE 7 ENDIF CODESEPARATOR 1");
    let seen = |spend: &Spend, flags| {
        let mut seen = Vec::new();
        let result = spend.with(|context| {
            context.trace_input(0, flags, &mut |step| {
                seen.push((
                    opcode_name(step),
                    (step.stack.len(), step.alt_stack.len(), step.conditions.to_vec()),
                    step.is_skipped(),
                    step.ops_left(),
                    (step.code_start, step.code_separator),
                ));
                ControlFlow::Continue(())
            })
        });
        assert_eq!(result, ControlFlow::Continue(Ok(())));
        seen
    };
    let steps = seen(&Spend::of(vec![], lock.clone(), vec![], 1), NONE);
    let step = |name, stacks: (usize, usize), conditions: &[bool], is_skipped, left, code| {
        (name, (stacks.0, stacks.1, conditions.to_vec()), is_skipped, Some(left), code)
    };
    let none = (0, u32::MAX);
    assert_eq!(
        steps,
        [
            step("5", (0, 0), &[], false, 201, none),
            step("OP_TOALTSTACK", (1, 0), &[], false, 201, none),
            step("OP_CODESEPARATOR", (0, 1), &[], false, 200, none),
            step("0", (0, 1), &[], false, 199, (3, 2)),
            step("OP_IF", (1, 1), &[], false, 199, (3, 2)),
            step("2", (0, 1), &[false], true, 198, (3, 2)),
            step("OP_ADD", (0, 1), &[false], true, 198, (3, 2)),
            step("OP_ELSE", (0, 1), &[false], false, 197, (3, 2)),
            step("7", (0, 1), &[true], false, 196, (3, 2)),
            step("OP_ENDIF", (1, 1), &[true], false, 196, (3, 2)),
            step("OP_CODESEPARATOR", (1, 1), &[], false, 195, (3, 2)),
            step("1", (1, 1), &[], false, 194, (11, 10)),
        ]
    );
    let script = [&lock[..], &[OP_NIP]].concat();
    let spend = tapscript(script);
    // Two instructions of the witness program come first.
    let steps = &seen(&spend, with_witness() | Flags::TAPROOT)[2..];
    assert!(steps.iter().all(|step| step.3.is_none()), "tapscript has no limit of operations");
    assert_eq!(steps[12].4, (11, 10));
}

#[test]
fn a_traced_run_returns_both_stacks_as_the_last_instruction_left_them() {
    let end = |spend: &Spend, flags| {
        spend.with(|context| {
            let trace = &mut |_: &Step<'_>| ControlFlow::Continue(());
            let (flow, end) = context.trace_input_to_end(0, flags, trace);
            let result = flow.continue_value().unwrap().map_err(|failure| failure.error);
            (result, end.map(|it| (it.source, it.stack, it.alt_stack)))
        })
    };
    let bare =
        |sig: &str, lock: &str| end(&Spend::of(assemble(sig), assemble(lock), vec![], 1), NONE);
    let left = |source, stack: &[&[u8]], alt: &[&[u8]]| {
        let owned = |items: &[&[u8]]| items.iter().map(|item| item.to_vec()).collect::<Vec<_>>();
        Some((source, owned(stack), owned(alt)))
    };
    let both = left(S::ScriptPubkey, &[&[4]], &[&[5]]);
    assert_eq!(bare("2", "5 TOALTSTACK DUP ADD"), (Ok(()), both));
    let failed = left(S::ScriptPubkey, &[&[1], &[7]], &[]);
    assert_eq!(bare("1", "7 2 3 EQUALVERIFY 1"), (Err(E::Equalverify), failed));
    let first = left(S::ScriptSig, &[&[1]], &[]);
    assert_eq!(bare("1 RETURN", "1"), (Err(E::OpReturn), first), "the second never runs");
    let witness = left(S::WitnessScript, &[&[6]], &[]);
    assert_eq!(end(&hashed(&assemble("6"), true), with_witness()), (Ok(()), witness));
    assert_eq!(bare("", ""), (Err(E::EvalFalse), left(S::ScriptPubkey, &[], &[])));
}

fn opcode_name(step: &Step<'_>) -> &'static str {
    name(step.instruction.opcode)
}

#[test]
fn a_run_stops_where_the_debugger_says() {
    let spend = Spend::of(vec![OP_1], assemble("2 3 RETURN"), vec![], 1);
    let mut count = 0;
    let mut stop_at = |script: S, position| {
        spend.with(|context| {
            context.trace_input(0, NONE, &mut |step| {
                count += 1;
                match (step.source, step.instruction.position) == (script, position) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })
        })
    };
    assert_eq!(stop_at(S::ScriptPubkey, 1), ControlFlow::Break(()));
    assert_eq!(stop_at(S::ScriptSig, 0), ControlFlow::Break(()));
    let failure = fail(E::OpReturn, Some(S::ScriptPubkey), Some((2, OP_RETURN)));
    assert_eq!(stop_at(S::Tapscript, 0), ControlFlow::Continue(Err(failure)));
    assert_eq!(count, 3 + 1 + 4);
}

/// A transaction of inputs that spend the scripts given.
fn spend_of(locks: &[&[u8]]) -> Spend {
    let input = |vout| TxIn { prevout: OutPoint { txid: Txid([1; 32]), vout }, ..TxIn::default() };
    let count = u32::try_from(locks.len()).unwrap();
    let inputs = (0..count).map(input).collect();
    let output = |lock: &&[u8]| TxOut { value: 1, script_pubkey: lock.to_vec() };
    let outputs = vec![output(&&[OP_1][..])];
    let tx = Transaction { version: 1, inputs, outputs, lock_time: 0 };
    Spend { tx, spent: locks.iter().map(output).collect() }
}

fn view(output: &TxOut) -> OutputView<'_> {
    OutputView { value: output.value, script_pubkey: &output.script_pubkey }
}

#[test]
fn a_transaction_fails_at_its_first_bad_input_and_a_batch_says_which() {
    let good = spend_of(&[&[OP_1], &[OP_1]]);
    let bad = spend_of(&[&[OP_1], &[OP_1, OP_NOP, OP_RETURN], &[OP_0]]);
    let failure = Failure {
        input: 1,
        error: E::OpReturn,
        source: Some(S::ScriptPubkey),
        instruction: Some((2, OP_RETURN)),
    };
    assert_eq!(good.with(|context| context.verify(NONE)), Ok(()));
    assert_eq!(bad.with(|context| context.verify(NONE)), Err(failure));

    let coinbase = Transaction {
        version: 1,
        inputs: vec![TxIn { prevout: OutPoint::NULL, ..TxIn::default() }],
        outputs: vec![],
        lock_time: 0,
    };
    let nothing = [OutputView { value: 0, script_pubkey: &[] }];
    let coinbase = Tx::parse(coinbase.encode()).unwrap();
    assert_eq!(TxContext::new(coinbase.view(), &nothing).verify(NONE), Ok(()));

    let [good, bad] = [good, bad].map(|spend| (Tx::parse(spend.tx.encode()).unwrap(), spend.spent));
    let [good_spent, bad_spent] =
        [&good, &bad].map(|(_, spent)| spent.iter().map(view).collect::<Vec<_>>());
    let batch = [
        (coinbase.view(), &[][..], NONE),
        (good.0.view(), &good_spent[..], NONE),
        (bad.0.view(), &bad_spent[..], NONE),
        (good.0.view(), &good_spent[..], with_witness()),
    ];
    let results: Vec<_> = verify_batch(batch).collect();
    assert_eq!(results, [Ok(()), Ok(()), Err(failure), Ok(())]);
    let mut taken = 0;
    let counted = batch.into_iter().inspect(|_| taken += 1);
    assert_eq!(verify_batch(counted).find_map(Result::err), Some(failure));
    assert_eq!(taken, 3, "nothing is verified after the first failure");
}
