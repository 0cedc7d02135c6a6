use caesure_consensus::{MAX_BLOCK_WEIGHT, MAX_MONEY, Reject, Target};
use caesure_script::ScriptError;
use caesure_wire::{BlockHash, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, Txid};

use super::{
    Draft, FAN_OUT, Fault, HEIGHT, IMMATURE, Maker, SPACING, anyone_can_spend, spend, time,
};
use caesure_generate::{coinbase, solve};

/// The median time of the blocks before the faulty one.
const MEDIAN_TIME_HEIGHT: u32 = HEIGHT - 6;
/// The bit of a sequence number that makes it count 512 seconds. Spec: BIP-0068.
const SEQUENCE_TIME: u32 = 1 << 22;
/// A coin that anyone can spend, with any witness.
const FUTURE: &str = "spare: witness of a version to come";
/// Coins whose spends have a signature operation in a witness and in a redeem script.
const WITNESS_SIGOP: &str = "spare: one key hash in a witness";
const P2SH_SIGOP: &str = "spare: sigop in P2SH";
/// Coins whose spends fail, the first two with legacy scripts.
const FALSE: &str = "EVAL_FALSE: zero";
const RETURN: &str = "OP_RETURN: after a number";

/// An output of no transaction.
const UNKNOWN: OutPoint = OutPoint { txid: Txid([0x22; 32]), vout: 0 };

const SCRIPT_FALSE: Reject = Reject::BlockScriptVerifyFlagFailed(ScriptError::EvalFalse);
const SCRIPT_RETURN: Reject = Reject::BlockScriptVerifyFlagFailed(ScriptError::OpReturn);

impl Maker {
    pub(super) fn add_header_faults(&mut self, now: u32) {
        let bits = |bits| move |_: &Self, draft: &mut Draft| draft.header.bits = bits;
        self.add("target one step lower", Reject::BadDiffbits, bits(0x207f_fffe));
        self.add("target 256 times lower", Reject::BadDiffbits, bits(0x1f7f_ffff));
        let unsolved = |bits| {
            move |_: &Self, draft: &mut Draft| {
                draft.seal();
                draft.header.bits = bits;
            }
        };
        self.add("target above the limit", Reject::HighHash, unsolved(0x2100_ffff));
        self.add("target of zero", Reject::HighHash, unsolved(0x2000_0000));
        self.add("target below zero", Reject::HighHash, unsolved(0x20ff_ffff));
        self.add("target of over 256 bits", Reject::HighHash, unsolved(0xff7f_ffff));
        self.add("no work", Reject::HighHash, |_, draft| {
            draft.seal();
            let target = Target::from_compact(draft.header.bits).expect("regtest's target");
            while target.is_met_by(&draft.header.hash()) {
                draft.header.nonce += 1;
            }
        });
        self.add("time of the median", Reject::TimeTooOld, |_, draft| {
            draft.header.time = time(MEDIAN_TIME_HEIGHT);
        });
        // Ten minutes more than two hours, since the clock goes on.
        self.add("time ahead", Reject::TimeTooNew, |_, draft| draft.header.time = now + 7_800);
        for version in [3, 2, 1, 0, -1, i32::MIN] {
            let name = format!("version {version}");
            self.add(&name, Reject::BadVersion(version), |_, draft| draft.header.version = version);
        }
        self.add("parent unknown", Reject::PrevBlkNotFound, |_, draft| {
            draft.header.prev_block = BlockHash([0x11; 32]);
        });
        self.add_remembered();
    }

    /// Blocks that are faulty because of a block before them.
    fn add_remembered(&mut self) {
        let mut first = self.draft();
        first.coinbase().outputs[0].value += 1;
        first.seal();
        let mut child = self.draft_on(first.header.hash(), HEIGHT + 1);
        child.seal();
        let faults = [
            ("the same block once more", first.encode(), Reject::DuplicateInvalid),
            ("parent invalid", child.encode(), Reject::BadPrevblk),
        ];
        self.catalogue.faults.extend(faults.map(|(name, block, reject)| {
            let before = vec![first.encode()];
            Fault { name: name.to_owned(), before, block, reject, in_order: reject }
        }));
    }

    pub(super) fn add_body_faults(&mut self) {
        self.add("another merkle root", Reject::BadTxnmrklroot, |_, draft| {
            draft.seal();
            draft.header.merkle_root.0[0] ^= 1;
            solve(&mut draft.header);
        });
        self.add("transactions in another order", Reject::BadTxnmrklroot, |maker, draft| {
            draft.txs.extend([maker.spend_coinbase(2), maker.spend_coinbase(3)]);
            draft.seal();
            draft.txs.swap(1, 2);
        });
        self.add("last transaction twice", Reject::BadTxnsDuplicate, |maker, draft| {
            draft.txs.extend([maker.spend_coinbase(2), maker.spend_coinbase(3)]);
            draft.seal();
            draft.txs.push(draft.txs[2].clone());
        });
        self.add("last two transactions twice", Reject::BadTxnsDuplicate, |maker, draft| {
            draft.txs.extend((2..=6).map(|height| maker.spend_coinbase(height)));
            draft.seal();
            draft.txs.extend_from_within(4..);
        });
        self.add("no transaction", Reject::BadBlkLength, |_, draft| {
            draft.txs.clear();
            draft.header.merkle_root = MerkleRoot::ZERO;
            solve(&mut draft.header);
            draft.is_sealed = true;
        });
        self.add("no coinbase", Reject::BadCbMissing, |maker, draft| {
            draft.txs = vec![maker.spend_coinbase(2)];
        });
        self.add("coinbase second", Reject::BadCbMissing, |maker, draft| {
            draft.txs.insert(0, maker.spend_coinbase(2));
        });
        self.add("two coinbases", Reject::BadCbMultiple, |_, draft| {
            draft.txs.push(coinbase(HEIGHT, 1, vec![anyone_can_spend(0)]));
        });
        self.add("coinbase of the next height", Reject::BadCbHeight, |_, draft| {
            draft.coinbase().inputs[0].script_sig = vec![1, 114, 0];
        });
        self.add("height pushed otherwise", Reject::BadCbHeight, |_, draft| {
            draft.coinbase().inputs[0].script_sig = vec![2, 113, 0];
        });
        self.add("coinbase pays one satoshi too much", Reject::BadCbAmount, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(2));
            draft.coinbase().outputs[0].value += 1_001;
        });
    }

    pub(super) fn add_transaction_faults(&mut self) {
        type Edit = fn(&mut Transaction);
        let edits: [(&str, Reject, Edit); 11] = [
            ("no input", Reject::BadTxnsVinEmpty, |tx| {
                (tx.inputs, tx.outputs) = (Vec::new(), Vec::new());
            }),
            ("no output", Reject::BadTxnsVoutEmpty, |tx| tx.outputs.clear()),
            ("output of -1", Reject::BadTxnsVoutNegative, |tx| tx.outputs[0].value = -1),
            ("output of the least number", Reject::BadTxnsVoutNegative, |tx| {
                tx.outputs[0].value = i64::MIN;
            }),
            ("output over all money", Reject::BadTxnsVoutToolarge, |tx| {
                tx.outputs[0].value = MAX_MONEY + 1;
            }),
            ("outputs over all money", Reject::BadTxnsTxouttotalToolarge, |tx| {
                tx.outputs = vec![anyone_can_spend(MAX_MONEY), anyone_can_spend(1)];
            }),
            ("input twice", Reject::BadTxnsInputsDuplicate, |tx| {
                tx.inputs.extend_from_within(..);
            }),
            ("null input", Reject::BadTxnsPrevoutNull, |tx| {
                tx.inputs.push(TxIn { prevout: OutPoint::NULL, ..TxIn::default() });
            }),
            ("pays one satoshi too much", Reject::BadTxnsInBelowout, |tx| {
                tx.outputs[0].value += 1_001;
            }),
            ("locked at this height", Reject::BadTxnsNonfinal, |tx| {
                (tx.lock_time, tx.inputs[0].sequence) = (HEIGHT, 0);
            }),
            ("locked at the median time", Reject::BadTxnsNonfinal, |tx| {
                (tx.lock_time, tx.inputs[0].sequence) = (time(MEDIAN_TIME_HEIGHT), 0);
            }),
        ];
        for (name, reject, edit) in edits {
            self.add(name, reject, |maker, draft| {
                draft.txs.push(maker.spend_coinbase(2));
                edit(&mut draft.txs[1]);
            });
        }
        for size in [1, 101] {
            let name = format!("coinbase script of {size} bytes");
            self.add(&name, Reject::BadCbLength, |_, draft| {
                draft.coinbase().inputs[0].script_sig.resize(size, 0);
            });
        }
        self.add("coinbase locked at this height", Reject::BadTxnsNonfinal, |_, draft| {
            let coinbase = draft.coinbase();
            (coinbase.lock_time, coinbase.inputs[0].sequence) = (HEIGHT, 0);
        });
    }

    pub(super) fn add_witness_faults(&mut self) {
        self.add("witness without a commitment", Reject::UnexpectedWitness, |maker, draft| {
            draft.txs.push(maker.spend(FUTURE));
            draft.seal_as_it_is();
        });
        self.add("coinbase witness without a commitment", Reject::UnexpectedWitness, |_, draft| {
            draft.coinbase().inputs[0].witness = vec![vec![0; 32]];
            draft.seal_as_it_is();
        });
        let nonces: [(&str, Reject, Vec<Vec<u8>>); 5] = [
            ("no witness nonce", Reject::BadWitnessNonceSize, Vec::new()),
            ("witness nonce of 31 bytes", Reject::BadWitnessNonceSize, vec![vec![0; 31]]),
            ("witness nonce of 33 bytes", Reject::BadWitnessNonceSize, vec![vec![0; 33]]),
            ("two witness nonces", Reject::BadWitnessNonceSize, vec![vec![0; 32]; 2]),
            ("another witness nonce", Reject::BadWitnessMerkleMatch, vec![vec![1; 32]]),
        ];
        for (name, reject, nonce) in nonces {
            self.add(name, reject, |maker, draft| {
                draft.txs.push(maker.spend(FUTURE));
                draft.seal();
                draft.coinbase().inputs[0].witness = nonce;
            });
        }
        self.add("another witness", Reject::BadWitnessMerkleMatch, |maker, draft| {
            draft.txs.push(maker.spend(FUTURE));
            draft.seal();
            draft.txs[1].inputs[0].witness = vec![vec![9]];
        });
        self.add("the last commitment counts", Reject::BadWitnessMerkleMatch, |maker, draft| {
            draft.txs.push(maker.spend(FUTURE));
            draft.commit();
            let mut other = draft.coinbase().outputs[1].clone();
            other.script_pubkey[6] ^= 1;
            draft.coinbase().outputs.push(other);
            draft.seal_as_it_is();
        });
    }

    pub(super) fn add_size_faults(&mut self) {
        self.add("1,000,001 bytes", Reject::BadBlkLength, |_, draft| pad_to(draft, 4_000_004));
        self.add("weight of 4,000,001", Reject::BadBlkWeight, |maker, draft| {
            overweight(maker, draft);
        });
        self.add("20,001 signature operations", Reject::BadBlkSigops, |_, draft| {
            draft.add_sigops(20_001);
        });
        for name in [WITNESS_SIGOP, P2SH_SIGOP] {
            let title = format!("signature operations over the limit with {name}");
            self.add(&title, Reject::BadBlkSigops, |maker, draft| {
                draft.add_sigops(20_000);
                draft.txs.push(maker.spend(name));
            });
        }
    }

    pub(super) fn add_coin_faults(&mut self) {
        let missing = Reject::BadTxnsInputsMissingorspent;
        self.add("input unknown", missing, |_, draft| draft.txs.push(spend(UNKNOWN, 5_000)));
        self.add("input of an output that is not", missing, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(2));
            draft.txs[1].inputs[0].prevout.vout = 1;
        });
        self.add("input spent before", missing, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(1));
        });
        self.add("input spent in the block", missing, |maker, draft| {
            draft.txs.extend([maker.spend_coinbase(2), maker.spend_coinbase(2)]);
            draft.txs[2].outputs[0].value -= 1;
        });
        self.add("input made later in the block", missing, |maker, draft| {
            let first = maker.spend_coinbase(2);
            let next = spend(OutPoint { txid: first.txid(), vout: 0 }, first.outputs[0].value);
            draft.txs.extend([next, first]);
        });
        self.add("output of block 0", missing, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(0));
        });
        let premature = Reject::BadTxnsPrematureSpendOfCoinbase;
        self.add("coinbase with 98 blocks on it", premature, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(IMMATURE));
        });
        self.add("coinbase of the block itself", premature, |_, draft| {
            let txid = draft.txs[0].txid();
            draft.txs.push(spend(OutPoint { txid, vout: 0 }, 5_000));
        });
        self.add("transaction repeated while unspent", Reject::BadTxnsBip30, |maker, draft| {
            draft.txs.push(maker.fan_out.clone());
        });
        let locks = [
            ("blocks", HEIGHT - 2 + 1),
            // From the median time before the coin's block, and rounded up.
            ("seconds", SEQUENCE_TIME | ((MEDIAN_TIME_HEIGHT - 1) * SPACING).div_ceil(512)),
            ("blocks, at most", 0xffff),
            ("seconds, at most", SEQUENCE_TIME | 0xffff),
        ];
        for (unit, sequence) in locks {
            let name = format!("relative lock in {unit}");
            self.add(&name, Reject::BadTxnsNonfinal, |maker, draft| {
                draft.txs.push(maker.spend_coinbase(2));
                draft.txs[1].inputs[0].sequence = sequence;
            });
        }
    }

    pub(super) fn add_script_faults(&mut self) {
        let faulty = self.cases.iter().filter_map(|case| Some((case.name.clone(), case.reject?)));
        for (name, reject) in faulty.collect::<Vec<_>>() {
            self.add(&name, reject, |maker, draft| draft.txs.push(maker.spend(&name)));
        }
        let reject = Reject::BlockScriptVerifyFlagFailed(ScriptError::SchnorrSigHashtype);
        self.add("SINGLE without an output", reject, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(2));
            draft.txs[1].inputs.extend(maker.spend("spare: SINGLE by key").inputs);
        });
    }

    /// Blocks with two faults.
    pub(super) fn add_pairs(&mut self) {
        self.add_pairs_of_headers();
        self.add_pairs_of_bodies();
        self.add_pairs_with_scripts();
    }

    fn add_pairs_of_headers(&mut self) {
        self.add("target and time", Reject::BadDiffbits, |_, draft| {
            (draft.header.bits, draft.header.time) = (0x207f_fffe, 1);
        });
        self.add("time and version", Reject::TimeTooOld, |_, draft| {
            (draft.header.time, draft.header.version) = (1, 1);
        });
        self.add("time far ahead and version", Reject::TimeTooNew, |_, draft| {
            (draft.header.time, draft.header.version) = (u32::MAX, 1);
        });
        self.add("work and merkle root", Reject::HighHash, |_, draft| {
            draft.seal();
            draft.header.merkle_root = MerkleRoot::ZERO;
            draft.header.bits = 0x2000_0000;
        });
    }

    fn add_pairs_of_bodies(&mut self) {
        self.add("merkle root and size", Reject::BadTxnmrklroot, |_, draft| {
            pad_to(draft, 4_000_004);
            draft.seal();
            draft.header.merkle_root.0[0] ^= 1;
            solve(&mut draft.header);
        });
        self.add("repeats and an invalid transaction", Reject::BadTxnsDuplicate, |maker, draft| {
            draft.txs.extend([maker.spend_coinbase(2), maker.spend_coinbase(3)]);
            draft.txs[2].outputs.clear();
            draft.seal();
            draft.txs.push(draft.txs[2].clone());
        });
        self.add("size and no coinbase", Reject::BadBlkLength, |maker, draft| {
            pad_to(draft, 4_001_004);
            draft.txs[0].inputs = maker.spend_coinbase(2).inputs;
        });
        self.add("coinbases and no output", Reject::BadCbMultiple, |maker, draft| {
            draft.txs.extend([maker.spend_coinbase(2), coinbase(HEIGHT, 1, Vec::new())]);
            draft.txs[1].outputs.clear();
        });
        self.add("two invalid transactions", Reject::BadTxnsInputsDuplicate, |maker, draft| {
            draft.txs.extend([maker.spend_coinbase(2), maker.spend_coinbase(3)]);
            draft.txs[1].inputs.extend_from_within(..);
            draft.txs[2].outputs[0].value = -1;
        });
        self.add("value and sum of outputs", Reject::BadTxnsVoutNegative, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(2));
            draft.txs[1].outputs =
                [MAX_MONEY, -1, MAX_MONEY].map(anyone_can_spend).into_iter().collect();
        });
        self.add("sigops and a locked transaction", Reject::BadBlkSigops, |maker, draft| {
            draft.add_sigops(20_001);
            draft.txs.push(maker.spend_coinbase(2));
            (draft.txs[1].lock_time, draft.txs[1].inputs[0].sequence) = (HEIGHT, 0);
        });
        self.add("locked and height", Reject::BadTxnsNonfinal, |_, draft| {
            let coinbase = draft.coinbase();
            coinbase.inputs[0].script_sig = vec![1, 114, 0];
            (coinbase.lock_time, coinbase.inputs[0].sequence) = (HEIGHT, 0);
        });
        self.add("height and witness", Reject::BadCbHeight, |maker, draft| {
            draft.coinbase().inputs[0].script_sig = vec![1, 114, 0];
            draft.txs.push(maker.spend(FUTURE));
            draft.seal_as_it_is();
        });
        self.add("witness and weight", Reject::BadWitnessMerkleMatch, |maker, draft| {
            overweight(maker, draft);
            draft.coinbase().inputs[0].witness = vec![vec![1; 32]];
        });
        self.add("weight and a missing input", Reject::BadBlkWeight, |maker, draft| {
            overweight(maker, draft);
            draft.txs[0].outputs.pop();
            draft.txs.push(spend(UNKNOWN, 5_000));
            draft.seal();
        });
    }

    fn add_pairs_with_scripts(&mut self) {
        let missing = Reject::BadTxnsInputsMissingorspent;
        let premature = Reject::BadTxnsPrematureSpendOfCoinbase;
        self.add_pair("script, then amount", Reject::BadCbAmount, SCRIPT_FALSE, |maker, draft| {
            draft.txs.push(maker.spend(FALSE));
            draft.coinbase().outputs[0].value *= 2;
        });
        self.add_pair("script, then premature", premature, SCRIPT_FALSE, |maker, draft| {
            draft.txs.extend([maker.spend(FALSE), maker.spend_coinbase(IMMATURE)]);
        });
        self.add("premature, then script", premature, |maker, draft| {
            draft.txs.extend([maker.spend_coinbase(IMMATURE), maker.spend(FALSE)]);
        });
        self.add_pair("script, then missing", missing, SCRIPT_RETURN, |maker, draft| {
            draft.txs.extend([maker.spend(RETURN), spend(UNKNOWN, 5_000)]);
        });
        self.add("missing and script in one transaction", missing, |maker, draft| {
            draft.txs.push(maker.spend(FALSE));
            draft.txs[1].inputs.extend(spend(UNKNOWN, 5_000).inputs);
        });
        self.add("premature and missing in one transaction", missing, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(IMMATURE));
            draft.txs[1].inputs.extend(spend(UNKNOWN, 5_000).inputs);
        });
        let sigops = Reject::BadBlkSigops;
        self.add("sigops, then missing", sigops, |maker, draft| {
            draft.add_sigops(20_000);
            draft.txs.push(maker.spend(P2SH_SIGOP));
            draft.txs.push(spend(UNKNOWN, 5_000));
        });
        self.add("missing, then sigops", missing, |maker, draft| {
            draft.add_sigops(20_000);
            draft.txs.push(spend(UNKNOWN, 5_000));
            draft.txs.push(maker.spend(P2SH_SIGOP));
        });
        self.add("relative lock and sigops", Reject::BadTxnsNonfinal, |maker, draft| {
            draft.add_sigops(20_000);
            draft.txs.push(maker.spend(P2SH_SIGOP));
            draft.txs[1].inputs[0].sequence = HEIGHT - FAN_OUT + 1;
        });
        self.add("sigops and script", sigops, |maker, draft| {
            draft.txs.push(maker.spend("spare: 80,001 sigops in a witness"));
        });
        self.add("repeated while unspent and amount", Reject::BadTxnsBip30, |maker, draft| {
            draft.txs.push(maker.fan_out.clone());
            draft.coinbase().outputs[0].value *= 2;
        });
        self.add("pays too much, and amount", Reject::BadTxnsInBelowout, |maker, draft| {
            draft.txs.push(maker.spend_coinbase(2));
            draft.txs[1].outputs[0].value = MAX_MONEY;
            draft.coinbase().outputs[0].value *= 2;
        });
        self.add("two scripts in two transactions", SCRIPT_FALSE, |maker, draft| {
            draft.txs.extend([maker.spend(FALSE), maker.spend(RETURN)]);
        });
        self.add("two scripts in one transaction", SCRIPT_RETURN, |maker, draft| {
            draft.txs.push(maker.spend(RETURN));
            draft.txs[1].inputs.extend(maker.spend(FALSE).inputs);
        });
    }
}

/// Adds data until a block without witnesses has a weight.
fn pad_to(draft: &mut Draft, weight: usize) {
    let script_pubkey = vec![caesure_script::opcode::OP_RETURN; 900_000];
    draft.coinbase().outputs.push(TxOut { value: 0, script_pubkey });
    let lacking = (weight - draft.weight()) / 4;
    draft.coinbase().outputs[1].script_pubkey.resize(900_000 + lacking, 0);
}

/// Adds a witness with which the weight is one over the limit, and seals.
fn overweight(maker: &Maker, draft: &mut Draft) {
    let with = |size| {
        let mut draft = draft.clone();
        draft.txs.push(maker.spend(FUTURE));
        draft.txs[1].inputs[0].witness = vec![vec![0; size]];
        draft.seal();
        draft
    };
    let lacking = MAX_BLOCK_WEIGHT + 1 - with(3_900_000).weight();
    *draft = with(3_900_000 + lacking);
}
