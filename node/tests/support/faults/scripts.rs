use caesure_consensus::Reject;
use caesure_hash::{hash160, sha256};
// Bare names keep the tables to a line a case.
use caesure_script::ScriptError::{self, *};
use caesure_script::opcode::*;
use caesure_script::{
    Leaf, TAPSCRIPT_LEAF_VERSION, TxContext, legacy_sighash, push_slice, tap_leaf_hash,
    tap_tweak_hash,
};
use caesure_wire::{OutputView, Transaction, Tx};
use secp256k1::{Keypair, Message, Parity, Scalar, SecretKey, ecdsa, schnorr};

/// What unlocks a coin: script and witness.
pub(super) type Unlock = (Vec<u8>, Vec<Vec<u8>>);

/// A coin and what its spender does.
pub(super) struct Case {
    /// Begins with the error's name; with "valid" when the chain spends the coin, and with "spare"
    /// when blocks with other faults may.
    pub(super) name: String,
    pub(super) script_pubkey: Vec<u8>,
    /// Changes the transaction before it is signed.
    pub(super) edit: fn(&mut Transaction),
    pub(super) unlock: Box<dyn Fn(&Signer<'_>) -> Unlock>,
    pub(super) reject: Option<Reject>,
}

/// Signs the only input of a transaction.
pub(super) struct Signer<'a> {
    pub(super) tx: Transaction,
    pub(super) value: i64,
    pub(super) script_pubkey: &'a [u8],
}

/// Script, what unlocks it, and the error; the name follows the error's.
type Row<T> = (Option<ScriptError>, &'static str, &'static [u8], T);

/// Scripts without P2SH and witness, and the script that unlocks them.
const BARE: &[Row<&[u8]>] = &[
    (Some(EvalFalse), "zero", &[OP_0], &[]),
    (Some(EvalFalse), "negative zero", &[], &[1, 0x80]),
    (Some(EvalFalse), "empty stack", &[OP_NOP], &[]),
    (Some(OpReturn), "after a number", &[OP_1, OP_RETURN], &[]),
    (Some(Scriptnum), "operand of five bytes", &[OP_1ADD], &[5, 1, 1, 1, 1, 1]),
    (Some(Scriptnum), "lock time of six bytes", &[OP_CHECKLOCKTIMEVERIFY], &[6, 1, 1, 1, 1, 1, 1]),
    (Some(SigCount), "more than keys", &[OP_0, OP_2, OP_1, OP_1, OP_CHECKMULTISIG], &[]),
    (Some(SigCount), "below zero", &[OP_0, OP_1NEGATE, OP_1, OP_1, OP_CHECKMULTISIG], &[]),
    (Some(PubkeyCount), "of 21", &[OP_0, OP_0, 1, 21, OP_CHECKMULTISIG], &[]),
    (Some(PubkeyCount), "below zero", &[OP_0, OP_0, OP_1NEGATE, OP_CHECKMULTISIG], &[]),
    (Some(Verify), "zero", &[OP_0, OP_VERIFY], &[]),
    (Some(Equalverify), "two numbers", &[OP_1, OP_2, OP_EQUALVERIFY], &[]),
    (
        Some(Checkmultisigverify),
        "without a signature",
        &[OP_0, OP_0, OP_1, OP_1, OP_1, OP_CHECKMULTISIGVERIFY],
        &[],
    ),
    (Some(Checksigverify), "without a signature", &[OP_0, OP_1, OP_CHECKSIGVERIFY], &[]),
    (Some(Numequalverify), "two numbers", &[OP_1, OP_2, OP_NUMEQUALVERIFY], &[]),
    (Some(BadOpcode), "0xff", &[OP_1, 0xff], &[]),
    (Some(BadOpcode), "CHECKSIGADD before taproot", &[OP_0, OP_0, OP_1, OP_CHECKSIGADD], &[]),
    (Some(BadOpcode), "RESERVED", &[OP_1, OP_RESERVED], &[]),
    (Some(BadOpcode), "VER", &[OP_1, OP_VER], &[]),
    (Some(BadOpcode), "VERIF not taken", &[OP_0, OP_IF, OP_VERIF, OP_ENDIF, OP_1], &[]),
    (Some(BadOpcode), "push past the end", &[OP_1, 5, 1], &[]),
    (Some(BadOpcode), "push past the end of the unlocking script", &[OP_1], &[OP_1, OP_PUSHDATA1]),
    (Some(DisabledOpcode), "CAT not taken", &[OP_0, OP_IF, OP_CAT, OP_ENDIF, OP_1], &[]),
    (Some(DisabledOpcode), "MUL", &[OP_1, OP_1, OP_MUL], &[]),
    (Some(InvalidStackOperation), "ADD", &[OP_1, OP_ADD], &[]),
    (Some(InvalidStackOperation), "PICK below zero", &[OP_1, OP_1NEGATE, OP_PICK], &[]),
    (Some(InvalidAltstackOperation), "FROMALTSTACK", &[OP_FROMALTSTACK], &[OP_1]),
    (Some(InvalidAltstackOperation), "not kept", &[OP_FROMALTSTACK], &[OP_1, OP_TOALTSTACK]),
    (Some(UnbalancedConditional), "open IF", &[OP_1, OP_IF, OP_1], &[]),
    (Some(UnbalancedConditional), "ENDIF", &[OP_1, OP_ENDIF], &[]),
    (Some(UnbalancedConditional), "ELSE", &[OP_1, OP_ELSE], &[]),
    (Some(InvalidStackOperation), "IF on nothing", &[OP_IF, OP_ENDIF, OP_1], &[]),
    (Some(UnbalancedConditional), "over two scripts", &[OP_1, OP_ENDIF], &[OP_1, OP_IF]),
    (Some(NegativeLocktime), "CLTV", &[OP_1NEGATE, OP_CHECKLOCKTIMEVERIFY], &[]),
    (Some(NegativeLocktime), "CSV", &[OP_1NEGATE, OP_CHECKSEQUENCEVERIFY], &[]),
    (Some(SigDer), "of one byte", &[OP_1, OP_CHECKSIG, OP_NOT], &[1, 1]),
    (Some(SigNulldummy), "one", &[OP_1, OP_0, OP_0, OP_CHECKMULTISIG], &[]),
    (
        None,
        "valid: long push, unlocking NOP, reserved NOP",
        &[OP_DROP, OP_NOP10, OP_2],
        &[OP_NOP, 1, 1],
    ),
    (None, "valid: IF of two", &[OP_IF, OP_1, OP_ENDIF], &[OP_2]),
    (None, "valid: no key, no signature", &[OP_0, OP_0, OP_0, OP_CHECKMULTISIG], &[]),
    (None, "valid: empty signature", &[OP_0, OP_1, OP_CHECKSIG, OP_NOT], &[]),
    (None, "valid: reserved, not taken", &[OP_0, OP_IF, OP_RESERVED, 0xff, OP_ENDIF, OP_1], &[]),
];

/// Coins whose spends are wrong in their lock times, and how.
type Locked = (&'static str, &'static [u8], fn(&mut Transaction));

const LOCKED: &[Locked] = &[
    ("lock time above the transaction's", &[2, 200, 0, OP_CHECKLOCKTIMEVERIFY], |tx| {
        tx.inputs[0].sequence = 0;
    }),
    ("height against time", &[4, 0, 0x65, 0xcd, 0x1d, OP_CHECKLOCKTIMEVERIFY], |tx| {
        (tx.lock_time, tx.inputs[0].sequence) = (1, 0);
    }),
    ("final input", &[OP_1, OP_CHECKLOCKTIMEVERIFY], |tx| tx.lock_time = 1),
    ("sequence disabled", &[OP_1, OP_CHECKSEQUENCEVERIFY], |_| {}),
    ("sequence below", &[OP_2, OP_CHECKSEQUENCEVERIFY], |tx| tx.inputs[0].sequence = 1),
    ("version 1", &[OP_1, OP_CHECKSEQUENCEVERIFY], |tx| {
        (tx.version, tx.inputs[0].sequence) = (1, 1);
    }),
    ("blocks against seconds", &[OP_1, OP_CHECKSEQUENCEVERIFY], |tx| {
        tx.inputs[0].sequence = 1 << 22 | 1;
    }),
];

const EMPTY: &[u8] = &[];

/// Witness scripts of version 0, and the items before them.
const WITNESS: &[Row<&[&[u8]]>] = &[
    (Some(EvalFalse), "in a witness", &[OP_0], &[]),
    (Some(Cleanstack), "two items left in a witness", &[OP_1, OP_1], &[]),
    (Some(Cleanstack), "no item left in a witness", &[OP_NOP], &[]),
    (Some(PushSize), "witness item of 521 bytes", &[OP_DROP, OP_1], &[&[0; 521]]),
    (Some(BadOpcode), "in a witness", &[OP_1, 0xff], &[]),
    (Some(OpReturn), "in a witness", &[OP_RETURN], &[]),
    (Some(StackSize), "of a witness", &[OP_NOP, OP_1], &[EMPTY; 1_001]),
    (None, "valid: IF of two in a witness", &[OP_IF, OP_1, OP_ENDIF], &[&[2]]),
    (None, "valid: item of 520 bytes", &[OP_DROP, OP_1], &[&[0; 520]]),
];

/// Tapscripts, and the items before them.
const TAPSCRIPT: &[Row<&[&[u8]]>] = &[
    (Some(EvalFalse), "in tapscript", &[OP_0], &[]),
    (Some(Cleanstack), "two items left in tapscript", &[OP_1, OP_1], &[]),
    (Some(PushSize), "item of 521 bytes in tapscript", &[OP_DROP, OP_1], &[&[0; 521]]),
    (Some(StackSize), "items of tapscript", &[OP_1], &[EMPTY; 1_001]),
    (Some(BadOpcode), "push past the end of tapscript", &[OP_1, 5], &[]),
    (Some(OpReturn), "in tapscript", &[OP_RETURN], &[]),
    (Some(TapscriptCheckmultisig), "", &[OP_0, OP_0, OP_0, OP_CHECKMULTISIG], &[]),
    (Some(TapscriptMinimalif), "two", &[OP_IF, OP_1, OP_ELSE, OP_1, OP_ENDIF], &[&[2]]),
    (Some(TapscriptMinimalif), "zero byte", &[OP_NOTIF, OP_1, OP_ENDIF], &[&[0]]),
    (Some(TapscriptEmptyPubkey), "", &[OP_0, OP_0, OP_CHECKSIG], &[]),
    (None, "valid: SUCCESS before a fault", &[OP_RESERVED, OP_RETURN, 0xff], &[]),
    (None, "valid: SUCCESS and an item of 521 bytes", &[OP_CAT], &[&[0; 521]]),
    (None, "valid: key of no known type", &[OP_1, OP_CHECKSIG], &[&[1]]),
    (None, "valid: no signature", &[OP_0, OP_1, OP_CHECKSIG, OP_NOT], &[]),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(
        BARE.iter().map(|(error, name, script, unlock)| plain(*error, name, *script, *unlock, &[])),
    );
    cases.extend(LOCKED.iter().map(|(name, script, edit)| {
        let case = plain(UnsatisfiedLocktime, name, *script, [], &[]);
        Case { edit: *edit, ..case }
    }));
    cases.extend(
        WITNESS.iter().map(|(error, name, script, items)| witness(*error, name, script, items)),
    );
    cases.extend(
        TAPSCRIPT.iter().map(|(error, name, script, items)| tapscript(*error, name, script, items)),
    );
    for more in
        [large, unspendable, p2sh, programs, control_blocks, ecdsa_signatures, schnorr_signatures]
    {
        cases.extend(more());
    }
    cases
}

fn plain(
    error: impl Into<Option<ScriptError>>,
    name: &str,
    script_pubkey: impl Into<Vec<u8>>,
    script_sig: impl Into<Vec<u8>>,
    witness: &[&[u8]],
) -> Case {
    let witness: Vec<Vec<u8>> = witness.iter().map(|item| item.to_vec()).collect();
    let unlock = (script_sig.into(), witness);
    signed(error, name, script_pubkey.into(), move |_| unlock.clone())
}

fn signed(
    error: impl Into<Option<ScriptError>>,
    name: &str,
    script_pubkey: Vec<u8>,
    unlock: impl Fn(&Signer<'_>) -> Unlock + 'static,
) -> Case {
    let error: Option<ScriptError> = error.into();
    let name = error.map_or_else(|| name.to_owned(), |error| format!("{}: {name}", error.name()));
    let reject = error.map(Reject::BlockScriptVerifyFlagFailed);
    Case { name, script_pubkey, edit: |_| {}, unlock: Box::new(unlock), reject }
}

fn witness(
    error: impl Into<Option<ScriptError>>,
    name: &str,
    script: &[u8],
    items: &[&[u8]],
) -> Case {
    plain(error, name, program(OP_0, &sha256(script)), [], &[items, &[script]].concat())
}

fn tapscript(
    error: impl Into<Option<ScriptError>>,
    name: &str,
    script: &[u8],
    items: &[&[u8]],
) -> Case {
    let (key, control) = commit(TAPSCRIPT_LEAF_VERSION, script);
    plain(error, name, program(OP_1, &x_only(&key)), [], &[items, &[script, &control]].concat())
}

/// At the limits and over them.
fn large() -> Vec<Case> {
    let big_push = push(&[1; 521]);
    let drop = [big_push.clone(), vec![OP_DROP, OP_1]].concat();
    let nops = |count| [vec![OP_1], vec![OP_NOP; count]].concat();
    let keys = |nops| {
        let keys = [vec![OP_0; 22], push(&[20]), vec![OP_CHECKMULTISIG]];
        [vec![OP_NOP; nops], keys.concat()].concat()
    };
    let ones = |count| vec![OP_1; count];
    // Ten signatures, which a witness of this size does not pay for.
    let checks = [[OP_DUP, OP_1, OP_CHECKSIGVERIFY].repeat(10), vec![OP_DROP, OP_1]].concat();
    vec![
        plain(ScriptSize, "10,001 bytes to unlock", ones(1), vec![OP_NOP; 10_001], &[]),
        witness(ScriptSize, "10,001 bytes of a witness", &nops(10_000), &[]),
        witness(None, "spare: 80,001 sigops in a witness", &[OP_CHECKSIG; 80_001], &[]),
        plain(PushSize, "521 bytes", drop, [], &[]),
        plain(PushSize, "521 bytes to unlock", ones(1), big_push, &[]),
        plain(OpCount, "202", nops(202), [], &[]),
        plain(OpCount, "181 and 21 with keys", keys(181), [], &[]),
        plain(None, "valid: 201 operations", nops(201), [], &[]),
        plain(None, "valid: 201 operations with keys", keys(180), [], &[]),
        plain(StackSize, "1,001 items", ones(1), ones(1_001), &[]),
        plain(StackSize, "1,001 items over two scripts", ones(1), ones(1_000), &[]),
        plain(None, "valid: 1,000 items", ones(1), ones(999), &[]),
        tapscript(TapscriptValidationWeight, "keys of no known type", &checks, &[&[1]]),
        tapscript(None, "valid: 202 operations in tapscript", &nops(202), &[]),
        tapscript(None, "valid: 10,001 bytes of tapscript", &nops(10_000), &[]),
    ]
}

/// Outputs that are no coins.
fn unspendable() -> Vec<Case> {
    let long = [vec![OP_1], vec![OP_NOP; 10_000]].concat();
    let scripts = [("OP_RETURN first", vec![OP_RETURN]), ("output script of 10,001 bytes", long)];
    let case = |(name, script)| Case {
        reject: Some(Reject::BadTxnsInputsMissingorspent),
        ..plain(None, name, script, [], &[])
    };
    scripts.map(case).into_iter().collect()
}

fn p2sh() -> Vec<Case> {
    let with_nop = [vec![OP_NOP], push(&[OP_1])].concat();
    let sigop = [OP_0, OP_IF, OP_CHECKSIG, OP_ENDIF, OP_1];
    let key_hash = program(OP_0, &hash160(&public(&key(0))));
    let taproot = program(OP_1, &[2; 32]);
    let twice = [vec![OP_1], push(&key_hash)].concat();
    vec![
        plain(EvalFalse, "another redeem script", pay_to(&[OP_1]), push(&[OP_2]), &[]),
        plain(EvalFalse, "redeem script", pay_to(&[OP_0]), push(&[OP_0]), &[]),
        plain(SigPushonly, "before a redeem script", pay_to(&[OP_1]), with_nop, &[]),
        plain(WitnessMalleatedP2sh, "a push more", pay_to(&key_hash), twice, &[]),
        plain(WitnessUnexpected, "for a redeem script", pay_to(&[OP_1]), push(&[OP_1]), &[&[1]]),
        plain(None, "spare: sigop in P2SH", pay_to(&sigop), push(&sigop), &[]),
        plain(None, "valid: taproot in P2SH", pay_to(&taproot), push(&taproot), &[]),
    ]
}

fn programs() -> Vec<Case> {
    let one: &[&[u8]] = &[&[1]];
    let hash = |script: &[u8]| program(OP_0, &sha256(script));
    let key_hash = program(OP_0, &hash160(&public(&key(0))));
    let taproot = program(OP_1, &x_only(&tweak(&key(0), None)));
    vec![
        plain(WitnessProgramWrongLength, "5", program(OP_0, &[1; 5]), [], one),
        plain(WitnessProgramWrongLength, "33", program(OP_0, &[1; 33]), [], &[]),
        plain(WitnessProgramWitnessEmpty, "script hash", hash(&[OP_1]), [], &[]),
        plain(WitnessProgramWitnessEmpty, "taproot", taproot.clone(), [], &[]),
        plain(WitnessProgramMismatch, "no key", key_hash.clone(), [], &[]),
        plain(WitnessProgramMismatch, "one item", key_hash.clone(), [], one),
        plain(WitnessProgramMismatch, "another script", hash(&[OP_1]), [], one),
        plain(WitnessMalleated, "key hash", key_hash.clone(), vec![OP_1], &[]),
        plain(WitnessMalleated, "taproot", taproot, vec![OP_NOP], &[]),
        plain(WitnessUnexpected, "for a bare script", vec![OP_1], [], one),
        plain(WitnessUnexpected, "for a program of one byte", vec![OP_1, 1, 1], [], one),
        plain(Equalverify, "another key", key_hash, [], &[&[], &[2; 33]]),
        plain(None, "valid: program of a version to come", program(OP_16, &[1; 40]), [], one),
        plain(None, "spare: witness of a version to come", program(OP_2, &[1; 2]), [], one),
        plain(None, "valid: anchor", program(OP_1, &[0x4e, 0x73]), [], &[]),
    ]
}

fn control_blocks() -> Vec<Case> {
    let script = [OP_1];
    let (key, control) = commit(TAPSCRIPT_LEAF_VERSION, &script);
    let case = |error, name, edit: fn(&mut Vec<u8>)| {
        let mut control = control.clone();
        edit(&mut control);
        plain(error, name, program(OP_1, &x_only(&key)), [], &[&script, &control])
    };
    let (other_key, other_control) = commit(0xc2, &[OP_RETURN]);
    let other: &[&[u8]] = &[&[OP_RETURN], &other_control];
    vec![
        case(TaprootWrongControlSize, "32 bytes", |control| control.truncate(32)),
        case(TaprootWrongControlSize, "34 bytes", |control| control.push(0)),
        case(TaprootWrongControlSize, "empty", Vec::clear),
        case(TaprootWrongControlSize, "129 steps", |control| control.resize(33 + 129 * 32, 0)),
        case(WitnessProgramMismatch, "128 steps too many", |control| {
            control.resize(33 + 128 * 32, 0);
        }),
        case(WitnessProgramMismatch, "parity of the key", |control| control[0] ^= 1),
        case(WitnessProgramMismatch, "leaf version", |control| control[0] ^= 2),
        case(WitnessProgramMismatch, "internal key not on the curve", |control| {
            control[1..].fill(0)
        }),
        plain(None, "valid: leaf version to come", program(OP_1, &x_only(&other_key)), [], other),
    ]
}

fn ecdsa_signatures() -> Vec<Case> {
    let pay = || [push(&public(&key(0))), vec![OP_CHECKSIG]].concat();
    let key_hash = program(OP_0, &hash160(&public(&key(0))));
    let two =
        [vec![OP_2], push(&public(&key(0))), push(&public(&key(1))), vec![OP_2, OP_CHECKMULTISIG]];
    let two = two.concat();
    let two_script = two.clone();
    let bare = |edit: fn(&mut Vec<u8>)| {
        move |signer: &Signer<'_>| {
            let mut signature = signer.ecdsa(&key(0), signer.script_pubkey, 1);
            edit(&mut signature);
            (push(&signature), Vec::new())
        }
    };
    let in_witness = |edit: fn(&mut Vec<u8>)| {
        move |signer: &Signer<'_>| {
            let mut signature = signer.segwit_ecdsa(&key(0), 1);
            edit(&mut signature);
            (Vec::new(), vec![signature, public(&key(0))])
        }
    };
    let multisig = |order: [u8; 2]| {
        move |signer: &Signer<'_>| {
            let sign = |index| push(&signer.ecdsa(&key(index), signer.script_pubkey, 1));
            ([vec![OP_0], sign(order[0]), sign(order[1])].concat(), Vec::new())
        }
    };
    let other_type = |signature: &mut Vec<u8>| *signature.last_mut().expect("a type") = 3;
    let not = [pay(), vec![OP_NOT]].concat();
    vec![
        signed(EvalFalse, "signature of another type", pay(), bare(other_type)),
        signed(EvalFalse, "signatures in another order", two, multisig([1, 0])),
        signed(None, "valid: two signatures", two_script, multisig([0, 1])),
        signed(EvalFalse, "signature in a witness", key_hash.clone(), in_witness(other_type)),
        signed(SigDer, "without a type", pay(), bare(|it| it.truncate(it.len() - 1))),
        signed(SigDer, "padded", pay(), bare(|it| it.insert(it.len() - 1, 0))),
        signed(SigDer, "in a witness", key_hash.clone(), in_witness(|it| it[0] = 0x31)),
        signed(None, "spare: one key hash in a witness", key_hash, in_witness(|_| {})),
        signed(None, "valid: high S", pay(), bare(|it| *it = with_high_s(it))),
        signed(None, "valid: signature that fails is not empty", not, bare(other_type)),
    ]
}

fn schnorr_signatures() -> Vec<Case> {
    let taproot = || program(OP_1, &x_only(&tweak(&key(0), None)));
    let by_key = |sighash_type: u8, edit: fn(&mut Vec<u8>)| {
        move |signer: &Signer<'_>| {
            let mut signature = signer.schnorr(&tweak(&key(0), None), sighash_type, None);
            edit(&mut signature);
            (Vec::new(), vec![signature])
        }
    };
    let script = [push(&x_only(&key(1))), vec![OP_CHECKSIG]].concat();
    let (output_key, control) = commit(TAPSCRIPT_LEAF_VERSION, &script);
    let by_script = |edit: fn(&mut Vec<u8>)| {
        let (script, control) = (script.clone(), control.clone());
        move |signer: &Signer<'_>| {
            let mut signature = signer.schnorr(&key(1), 0, Some(&script));
            edit(&mut signature);
            (Vec::new(), vec![signature, script.clone(), control.clone()])
        }
    };
    let tap = || program(OP_1, &x_only(&output_key));
    vec![
        signed(SchnorrSig, "by key", taproot(), by_key(0, |it| it[63] ^= 1)),
        signed(SchnorrSig, "of another type", taproot(), by_key(1, |it| it[64] = 2)),
        signed(SchnorrSigSize, "63", taproot(), by_key(0, |it| it.truncate(63))),
        signed(SchnorrSigSize, "empty", taproot(), by_key(0, Vec::clear)),
        signed(SchnorrSigSize, "66", taproot(), by_key(1, |it| it.push(0))),
        signed(SchnorrSigHashtype, "default, named", taproot(), by_key(1, |it| it[64] = 0)),
        signed(SchnorrSigHashtype, "4", taproot(), by_key(1, |it| it[64] = 4)),
        signed(None, "spare: SINGLE by key", taproot(), by_key(3, |_| {})),
        signed(SchnorrSig, "by script", tap(), by_script(|it| it[0] ^= 1)),
        signed(SchnorrSigSize, "65 by script", tap(), by_script(|it| it.extend([0; 2]))),
        signed(EvalFalse, "no signature in tapscript", tap(), by_script(Vec::clear)),
        signed(None, "valid: by script", tap(), by_script(|_| {})),
        signed(None, "valid: by key", taproot(), by_key(0x83, |_| {})),
    ]
}

impl Signer<'_> {
    /// Signs for a script before segwit.
    fn ecdsa(&self, key: &Keypair, script: &[u8], sighash_type: u8) -> Vec<u8> {
        let tx = Tx::parse(self.tx.encode()).expect("a built transaction can be read");
        let hash = legacy_sighash(tx.view(), 0, script, sighash_type.into());
        with_type(&ecdsa::sign(Message::from_digest(hash), &key.secret_key()), sighash_type)
    }

    /// Signs for a witness program of a key's hash.
    fn segwit_ecdsa(&self, key: &Keypair, sighash_type: u8) -> Vec<u8> {
        let hash = hash160(&public(key));
        let script = [&[OP_DUP, OP_HASH160], &push(&hash)[..], &[OP_EQUALVERIFY, OP_CHECKSIG]];
        let hash = self.with_context(|context| {
            context.segwit_v0_sighash(0, &script.concat(), sighash_type.into())
        });
        with_type(&ecdsa::sign(Message::from_digest(hash), &key.secret_key()), sighash_type)
    }

    fn schnorr(&self, key: &Keypair, sighash_type: u8, script: Option<&[u8]>) -> Vec<u8> {
        let leaf = script.map(|script| {
            let hash = tap_leaf_hash(TAPSCRIPT_LEAF_VERSION, script);
            Leaf { hash, code_separator: u32::MAX }
        });
        let hash =
            self.with_context(|context| context.taproot_sighash(0, sighash_type, None, leaf));
        let hash = hash.expect("the type is known, and the output is there");
        let mut bytes = schnorr::sign_no_aux_rand(&hash, key).to_byte_array().to_vec();
        if sighash_type != 0 {
            bytes.push(sighash_type);
        }
        bytes
    }

    fn with_context<T>(&self, sighash: impl FnOnce(&TxContext<'_>) -> T) -> T {
        let mut tx = self.tx.clone();
        // A witness in the making tells the context which hashes will be wanted.
        tx.inputs[0].witness = vec![Vec::new()];
        let tx = Tx::parse(tx.encode()).expect("a built transaction can be read");
        let spent = [OutputView { value: self.value, script_pubkey: self.script_pubkey }];
        sighash(&TxContext::new(tx.view(), &spent))
    }
}

fn with_type(signature: &ecdsa::Signature, sighash_type: u8) -> Vec<u8> {
    let mut bytes = signature.serialize_der().to_vec();
    bytes.push(sighash_type);
    bytes
}

/// The other signature of the same message, which is as valid.
fn with_high_s(bytes: &[u8]) -> Vec<u8> {
    let (sighash_type, der) = bytes.split_last().expect("a signature has a type");
    let signature = ecdsa::Signature::from_der(der).expect("the signature was just made");
    let mut compact = signature.serialize_compact();
    let (_, s) = compact.split_last_chunk_mut::<32>().expect("64 bytes");
    *s = SecretKey::from_secret_bytes(*s).expect("s is below the order").negate().to_secret_bytes();
    let high = ecdsa::Signature::from_compact(&compact).expect("both halves are below the order");
    with_type(&high, *sighash_type)
}

fn key(index: u8) -> Keypair {
    Keypair::from_secret_bytes(sha256(&[index])).expect("a hash below the order")
}

fn public(key: &Keypair) -> Vec<u8> {
    key.public_key().serialize().to_vec()
}

fn x_only(key: &Keypair) -> [u8; 32] {
    key.x_only_public_key().0.to_byte_array()
}

/// The key of a taproot output. Spec: BIP-0341.
fn tweak(internal: &Keypair, root: Option<[u8; 32]>) -> Keypair {
    let tweak = Scalar::from_be_bytes(tap_tweak_hash(x_only(internal), root));
    let tweak = tweak.expect("a hash below the order");
    internal.add_xonly_tweak(&tweak).expect("a hash that is no negated key")
}

/// The key of a taproot output with one leaf, and the leaf's control block.
fn commit(version: u8, script: &[u8]) -> (Keypair, Vec<u8>) {
    let output = tweak(&key(0), Some(tap_leaf_hash(version, script)));
    let is_odd = output.x_only_public_key().1 == Parity::Odd;
    let control = [&[version | u8::from(is_odd)], &x_only(&key(0))[..]].concat();
    (output, control)
}

fn push(data: &[u8]) -> Vec<u8> {
    let mut script = Vec::new();
    push_slice(&mut script, data);
    script
}

fn program(version: u8, program: &[u8]) -> Vec<u8> {
    [vec![version], push(program)].concat()
}

/// The output script that a redeem script unlocks.
fn pay_to(redeem_script: &[u8]) -> Vec<u8> {
    [vec![OP_HASH160], push(&hash160(redeem_script)), vec![OP_EQUAL]].concat()
}
