//! Rules on blocks without their coins: `CheckBlock`, `ContextualCheckBlock`, `IsBlockMutated`.

mod common;

use caesure_consensus::{
    COIN, Network, Params, Reject, RejectClass, check_block, is_block_mutated, signet_spend,
};
use caesure_script::opcode::{OP_CHECKSIG, OP_EQUAL, OP_SHA256};
use caesure_script::push_slice;
use caesure_wire::{Block, Transaction, TxOut, encode_block, push_compact_size};

use common::{Chain, Draft, OP_TRUE, broken, coinbase, outpoint, refused, tx};

fn check(chain: &Chain, draft: Draft) -> Result<(), Reject> {
    check_block(&draft.seal(&chain.params), &chain.params).map(|_| ())
}

/// Asserts that a body is refused as not the one that the header commits to.
#[track_caller]
fn mutated(chain: &Chain, block: &Block<Vec<u8>>, reject: Reject, text: &str) {
    refused(chain.clone().judge(block), reject, text, RejectClass::Mutated);
    assert!(is_block_mutated(block, true));
}

#[test]
fn a_good_block_gives_its_transaction_ids() {
    let chain = Chain::regtest(101);
    let spend = tx(&[chain.coinbase_at(1)], &[1]);
    let draft = chain.draft(vec![spend.clone()]);
    let txids = check_block(&draft.clone().seal(&chain.params), &chain.params).unwrap();
    assert_eq!(txids, [draft.txs[0].txid(), spend.txid()]);
    assert!(!is_block_mutated(&draft.clone().seal(&chain.params), true));
    assert_eq!(chain.judge_draft(draft).unwrap().fees, COIN - 1);
}

#[test]
fn transactions_that_do_not_hash_to_the_merkle_root_are_refused() {
    let chain = Chain::regtest(1);
    let block = chain.draft(vec![]).mine(&chain.params);
    mutated(&chain, &block, Reject::BadTxnmrklroot, "bad-txnmrklroot");
}

#[test]
fn cve_2012_2459_repeated_transactions_are_refused_as_mutated() {
    let chain = Chain::regtest(101);
    let spend = tx(&[chain.coinbase_at(1)], &[1]);
    let other = tx(&[chain.coinbase_at(2)], &[1]);
    let draft = chain.draft(vec![spend, other]);
    let mut repeated = draft.clone().seal(&chain.params);
    let txs: Vec<Vec<u8>> = repeated.txs().map(|tx| tx.bytes().to_vec()).collect();
    let good = repeated.clone();
    repeated = Block::parse(encode_block(good.header(), &[&txs[..], &txs[2..]].concat())).unwrap();
    mutated(&chain, &repeated, Reject::BadTxnsDuplicate, "bad-txns-duplicate");
    // The header was not blamed: the true body is still accepted.
    assert!(chain.clone().judge(&good).is_ok());
}

#[test]
fn a_block_without_transactions_is_refused() {
    let chain = Chain::regtest(1);
    let draft = Draft { txs: vec![], ..chain.draft(vec![]) };
    broken(check(&chain, draft.clone()), Reject::BadBlkLength, "bad-blk-length");
    assert!(!is_block_mutated(&draft.seal(&chain.params), true));
}

#[test]
fn libbitcoin_1829_an_empty_block_with_a_wrong_root_is_mutated_first() {
    let chain = Chain::regtest(1);
    let mut draft = Draft { txs: vec![], ..chain.draft(vec![]) };
    draft.header.merkle_root.0 = [1; 32];
    let block = draft.mine(&chain.params);
    mutated(&chain, &block, Reject::BadTxnmrklroot, "bad-txnmrklroot");
}

#[test]
fn a_block_over_a_million_bytes_without_witnesses_is_refused() {
    let chain = Chain::regtest(1);
    let with_script = |size: usize| {
        let mut draft = chain.draft(vec![]);
        draft.txs[0].outputs[0].script_pubkey = vec![0; size];
        draft
    };
    let rest = with_script(100_000).seal(&chain.params).bytes().len() - 100_000;
    let most = 1_000_000 - rest;
    assert_eq!(check(&chain, with_script(most)), Ok(()));
    broken(check(&chain, with_script(most + 1)), Reject::BadBlkLength, "bad-blk-length");
}

#[test]
fn a_block_that_does_not_begin_with_a_coinbase_is_refused() {
    let chain = Chain::regtest(1);
    let draft = Draft { txs: vec![tx(&[outpoint(1)], &[1])], ..chain.draft(vec![]) };
    broken(check(&chain, draft), Reject::BadCbMissing, "bad-cb-missing");
}

#[test]
fn a_block_with_two_coinbases_is_refused() {
    let chain = Chain::regtest(1);
    let draft = chain.draft(vec![coinbase(2, 1)]);
    broken(check(&chain, draft), Reject::BadCbMultiple, "bad-cb-multiple");
}

#[test]
fn a_block_with_a_bad_transaction_is_refused_for_it() {
    let chain = Chain::regtest(1);
    let draft = chain.draft(vec![tx(&[outpoint(1)], &[1]), tx(&[outpoint(1)], &[-1])]);
    broken(check(&chain, draft), Reject::BadTxnsVoutNegative, "bad-txns-vout-negative");
}

#[test]
fn cve_2010_5138_a_block_with_over_20000_own_sigops_is_refused() {
    let chain = Chain::regtest(1);
    let with_sigops = |output: usize, input: usize| {
        let mut draft = chain.draft(vec![tx(&[outpoint(1)], &[1])]);
        draft.txs[0].outputs[0].script_pubkey = vec![OP_CHECKSIG; output];
        draft.txs[1].inputs[0].script_sig = vec![OP_CHECKSIG; input];
        check(&chain, draft)
    };
    assert_eq!(with_sigops(19_999, 1), Ok(()));
    broken(with_sigops(20_000, 1), Reject::BadBlkSigops, "bad-blk-sigops");
}

#[test]
fn satd_581_every_transaction_and_the_coinbase_must_be_final() {
    let chain = Chain::regtest(101);
    let median = chain.tree.median_time_past(chain.tip);
    let coinbase_locked = |lock_time: u32| {
        let mut draft = chain.draft(vec![]);
        draft.txs[0].lock_time = lock_time;
        draft.txs[0].inputs[0].sequence = 0;
        chain.judge_draft(draft)
    };
    let text = "bad-txns-nonfinal";
    assert!(coinbase_locked(101).is_ok());
    broken(coinbase_locked(102), Reject::BadTxnsNonfinal, text);
    // Times are compared to the median time of the parent, strictly, not to the block's own.
    assert!(coinbase_locked(median - 1).is_ok());
    broken(coinbase_locked(median), Reject::BadTxnsNonfinal, text);
    let mut draft = chain.draft(vec![tx(&[chain.coinbase_at(1)], &[1])]);
    (draft.txs[1].lock_time, draft.txs[1].inputs[0].sequence) = (102, 0);
    broken(chain.judge_draft(draft), Reject::BadTxnsNonfinal, text);
}

#[test]
fn before_bip113_lock_times_are_compared_to_the_blocks_own_time() {
    let mut chain = Chain::new(Params {
        activation_heights: [1, 1, 1, 1000, 1000],
        ..Params::new(Network::Regtest)
    });
    let block = chain.draft(vec![]).seal(&chain.params);
    chain.judge(&block).unwrap();
    let mut draft = chain.draft(vec![]);
    draft.txs[0].inputs[0].sequence = 0;
    draft.txs[0].lock_time = draft.header.time - 1;
    assert!(chain.judge_draft(draft.clone()).is_ok());
    draft.txs[0].lock_time += 1;
    broken(chain.judge_draft(draft), Reject::BadTxnsNonfinal, "bad-txns-nonfinal");
}

#[test]
fn a_coinbase_that_does_not_begin_with_the_height_is_refused() {
    let chain = Chain::regtest(129);
    let begins = |script_sig: &[u8]| {
        let mut draft = chain.draft(vec![]);
        draft.txs[0].inputs[0].script_sig = script_sig.to_vec();
        chain.judge_draft(draft)
    };
    assert!(begins(&[2, 130, 0, 1]).is_ok());
    let text = "bad-cb-height";
    broken(begins(&[2, 131, 0, 1]), Reject::BadCbHeight, text);
    // Not in its shortest form, or pushed in another way.
    broken(begins(&[3, 130, 0, 0]), Reject::BadCbHeight, text);
    broken(begins(&[0x4c, 2, 130, 0]), Reject::BadCbHeight, text);
    broken(begins(&[2, 130]), Reject::BadCbHeight, text);
    // Small heights are opcodes.
    let chain = Chain::regtest(15);
    let begins = |script_sig: &[u8]| {
        let mut draft = chain.draft(vec![]);
        draft.txs[0].inputs[0].script_sig = script_sig.to_vec();
        chain.judge_draft(draft)
    };
    assert!(begins(&[0x60, 0]).is_ok());
    broken(begins(&[1, 16]), Reject::BadCbHeight, text);
    // Before BIP-0034 anything goes.
    let chain =
        Chain::new(Params { activation_heights: [9, 9, 9, 9, 9], ..Params::new(Network::Regtest) });
    let mut draft = chain.draft(vec![]);
    draft.txs[0].inputs[0].script_sig = vec![0; 2];
    assert!(chain.judge_draft(draft).is_ok());
}

/// A chain, and a block on it whose second transaction has a witness.
fn witnessed() -> (Chain, Draft) {
    let mut chain = Chain::regtest(101);
    // A witness program of an unknown version, which anyone can spend, with any witness.
    let output = TxOut { value: COIN, script_pubkey: vec![0x60, 2, 1, 1] };
    let mut fund = tx(&[chain.coinbase_at(1)], &[]);
    fund.outputs.push(output);
    let prevout = caesure_wire::OutPoint { txid: fund.txid(), vout: 0 };
    let block = chain.draft(vec![fund]).seal(&chain.params);
    chain.judge(&block).unwrap();
    let mut spend = tx(&[prevout], &[1]);
    spend.inputs[0].witness = vec![vec![1, 2, 3]];
    let draft = chain.draft(vec![spend]);
    (chain, draft)
}

#[test]
fn satd_541_a_coinbase_witness_that_is_not_one_item_of_32_bytes_is_refused() {
    let (chain, mut draft) = witnessed();
    draft.commit();
    assert!(chain.judge_draft(draft.clone()).is_ok());
    let text = "bad-witness-nonce-size";
    let witnesses: [&[&[u8]]; 4] = [&[], &[&[7; 31]], &[&[7; 33]], &[&[7; 32], &[]]];
    for witness in witnesses {
        draft.txs[0].inputs[0].witness = witness.iter().map(|item| item.to_vec()).collect();
        let block = draft.clone().seal(&chain.params);
        mutated(&chain, &block, Reject::BadWitnessNonceSize, text);
        // Where no witness is expected to be committed to, it is another fault.
        assert!(is_block_mutated(&block, false));
    }
}

#[test]
fn satd_541_witnesses_that_do_not_hash_to_the_commitment_are_refused() {
    let (chain, mut draft) = witnessed();
    draft.commit();
    let good = draft.clone().seal(&chain.params);
    let text = "bad-witness-merkle-match";
    // Another witness keeps the merkle root and the hash.
    draft.txs[1].inputs[0].witness[0][0] ^= 1;
    let block = draft.clone().seal(&chain.params);
    assert_eq!(block.hash(), good.hash());
    mutated(&chain, &block, Reject::BadWitnessMerkleMatch, text);
    // And so does another nonce.
    draft.txs[1].inputs[0].witness[0][0] ^= 1;
    draft.txs[0].inputs[0].witness[0][0] ^= 1;
    let block = draft.seal(&chain.params);
    mutated(&chain, &block, Reject::BadWitnessMerkleMatch, text);
    assert!(chain.clone().judge(&good).is_ok());
    // The commitment is checked also where no transaction has a witness.
    let mut draft = chain.draft(vec![]);
    draft.commit();
    draft.txs[0].outputs[1].script_pubkey[10] ^= 1;
    let block = draft.seal(&chain.params);
    mutated(&chain, &block, Reject::BadWitnessMerkleMatch, text);
}

#[test]
fn the_last_output_that_looks_like_a_commitment_is_it() {
    let (chain, mut draft) = witnessed();
    let decoy = |size: usize| TxOut {
        value: 0,
        script_pubkey: [vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], vec![0; size]].concat(),
    };
    draft.txs[0].outputs.push(decoy(32));
    draft.commit();
    // A byte short of a commitment is none.
    draft.txs[0].outputs.push(decoy(31));
    assert!(chain.judge_draft(draft.clone()).is_ok());
    // More bytes after the hash are.
    draft.txs[0].outputs[2].script_pubkey.push(9);
    assert!(chain.judge_draft(draft.clone()).is_ok());
    draft.txs[0].outputs.push(decoy(32));
    let block = draft.seal(&chain.params);
    mutated(&chain, &block, Reject::BadWitnessMerkleMatch, "bad-witness-merkle-match");
}

#[test]
fn satd_541_a_witness_that_nothing_commits_to_is_refused_in_the_coinbase_too() {
    let (chain, draft) = witnessed();
    let block = draft.seal(&chain.params);
    mutated(&chain, &block, Reject::UnexpectedWitness, "unexpected-witness");
    let mut draft = chain.draft(vec![]);
    draft.txs[0].inputs[0].witness = vec![vec![7; 32]];
    let block = draft.seal(&chain.params);
    mutated(&chain, &block, Reject::UnexpectedWitness, "unexpected-witness");
}

#[test]
fn satd_552_mutation_looks_at_witnesses_by_the_rules_of_the_height() {
    let chain =
        Chain::new(Params { activation_heights: [1, 1, 1, 1, 9], ..Params::new(Network::Regtest) });
    let mut draft = chain.draft(vec![]);
    draft.commit();
    let block = draft.clone().seal(&chain.params);
    refused(
        chain.clone().judge(&block),
        Reject::UnexpectedWitness,
        "unexpected-witness",
        RejectClass::Mutated,
    );
    assert!(is_block_mutated(&block, false));
    assert!(!is_block_mutated(&block, true));
    draft.txs[0].inputs[0].witness.clear();
    assert!(chain.judge_draft(draft).is_ok());
}

#[test]
fn a_block_over_four_million_weight_is_refused_after_its_witnesses_are_proven() {
    let (chain, draft) = witnessed();
    let weigh = |size: usize| {
        let mut draft = draft.clone();
        draft.txs[1].inputs[0].witness = vec![vec![0; size]];
        draft.commit();
        draft
    };
    let rest = weigh(3_900_000).seal(&chain.params).weight() - 3_900_000;
    let most = 4_000_000 - rest;
    assert_eq!(weigh(most).seal(&chain.params).weight(), 4_000_000);
    assert!(chain.judge_draft(weigh(most)).is_ok());
    broken(chain.judge_draft(weigh(most + 1)), Reject::BadBlkWeight, "bad-blk-weight");
    // A coinbase witness that is too heavy is a mutation, not a fault of the header.
    let mut heavy = weigh(most);
    heavy.txs[0].inputs[0].witness.push(vec![0; 9]);
    let block = heavy.seal(&chain.params);
    mutated(&chain, &block, Reject::BadWitnessNonceSize, "bad-witness-nonce-size");
}

#[test]
fn cve_2017_12842_a_block_of_64_byte_transactions_without_a_coinbase_is_mutated() {
    let chain = Chain::regtest(1);
    let of_size = |prevout, size: usize| {
        let mut tx = tx(&[prevout], &[1]);
        let rest = tx.encode().len();
        tx.inputs[0].script_sig = vec![0; size - rest];
        assert_eq!(tx.encode().len(), size);
        tx
    };
    let block = |txs: Vec<Transaction>| Draft { txs, ..chain.draft(vec![]) }.seal(&chain.params);
    let txs = vec![of_size(outpoint(1), 65), of_size(outpoint(2), 64)];
    assert!(is_block_mutated(&block(txs), false));
    let txs = vec![of_size(outpoint(1), 65), of_size(outpoint(2), 63)];
    assert!(!is_block_mutated(&block(txs), false));
    // The size is that without witnesses.
    let mut witnessed = of_size(outpoint(1), 64);
    witnessed.inputs[0].witness = vec![vec![1]];
    assert!(is_block_mutated(&block(vec![witnessed]), true));
    // With a coinbase they are valid.
    let txs = vec![coinbase(2, 1), of_size(outpoint(2), 64)];
    assert!(!is_block_mutated(&block(txs.clone()), true));
    assert!(check_block(&block(txs), &chain.params).is_ok());
}

#[test]
fn of_two_faults_of_a_block_the_first_of_core_is_named() {
    let chain = Chain::regtest(101);
    let reason = |draft: Draft| chain.judge_draft(draft).unwrap_err().reason();
    let negative = tx(&[outpoint(1)], &[-1]);
    let many_sigops = |mut draft: Draft| {
        draft.txs[0].outputs[0].script_pubkey = vec![OP_CHECKSIG; 20_001];
        draft
    };
    // No coinbase, and then two.
    let txs = vec![tx(&[outpoint(1)], &[1]), coinbase(102, 1), coinbase(102, 2)];
    assert_eq!(reason(Draft { txs, ..chain.draft(vec![]) }), "bad-cb-missing");
    assert_eq!(reason(chain.draft(vec![negative.clone(), coinbase(9, 1)])), "bad-cb-multiple");
    assert_eq!(reason(many_sigops(chain.draft(vec![negative]))), "bad-txns-vout-negative");
    // Sigops come before what only the place in the chain shows.
    let mut draft = many_sigops(chain.draft(vec![]));
    draft.txs[0].inputs[0].script_sig = vec![0; 2];
    assert_eq!(reason(draft), "bad-blk-sigops");
    let mut draft = chain.draft(vec![]);
    (draft.txs[0].lock_time, draft.txs[0].inputs[0].sequence) = (500, 0);
    draft.txs[0].inputs[0].script_sig = vec![0; 2];
    assert_eq!(reason(draft), "bad-txns-nonfinal");
    let (chain, mut draft) = witnessed();
    draft.txs[0].inputs[0].script_sig = vec![0; 2];
    assert_eq!(chain.judge_draft(draft).unwrap_err().reason(), "bad-cb-height");
    // A wrong merkle root hides all faults of the body.
    let mut draft = Draft { txs: vec![tx(&[], &[])], ..chain.draft(vec![]) };
    draft.header.merkle_root.0 = [1; 32];
    let block = draft.mine(&chain.params);
    mutated(&chain, &block, Reject::BadTxnmrklroot, "bad-txnmrklroot");
}

#[test]
fn cve_2025_46597_sizes_of_a_huge_block_do_not_overflow() {
    let chain = Chain::regtest(1);
    let mut draft = chain.draft(vec![]);
    draft.txs[0].inputs[0].witness = vec![vec![0; 30_000_000]; 3];
    let block = draft.seal(&chain.params);
    assert!(90_000_000 < block.weight());
    assert!(check_block(&block, &chain.params).is_ok());
    mutated(&chain, &block, Reject::UnexpectedWitness, "unexpected-witness");
}

/// A signet on which a block takes two hashes.
fn signet(challenge: &[u8]) -> Params {
    Params { pow_limit: Params::new(Network::Regtest).pow_limit, ..Params::signet(challenge) }
}

/// A committed block with a push of bytes after the commitment.
fn solved(section: &[u8]) -> Draft {
    let mut draft = Chain::regtest(1).draft(vec![]);
    draft.commit();
    push_slice(&mut draft.txs[0].outputs[1].script_pubkey, section);
    draft
}

#[test]
fn a_signet_block_must_solve_the_challenge() {
    let mut challenge = vec![OP_SHA256];
    push_slice(&mut challenge, &caesure_hash::sha256(b"secret"));
    challenge.push(OP_EQUAL);
    let params = signet(&challenge);
    let section = |secret: &[u8], rest: &[u8]| {
        let mut script = Vec::new();
        push_slice(&mut script, secret);
        let mut section = vec![0xec, 0xc7, 0xda, 0xa2];
        push_compact_size(&mut section, script.len());
        [section, script, rest.to_vec()].concat()
    };
    let check = |draft: Draft| check_block(&draft.seal(&params), &params).map(|_| ());
    let text = "bad-signet-blksig";
    assert_eq!(check(solved(&section(b"secret", &[0]))), Ok(()));
    broken(check(solved(&section(b"wrong", &[0]))), Reject::BadSignetBlksig, text);
    // A witness stack that is cut short, or bytes after it.
    broken(check(solved(&section(b"secret", &[]))), Reject::BadSignetBlksig, text);
    broken(check(solved(&section(b"secret", &[1]))), Reject::BadSignetBlksig, text);
    broken(check(solved(&section(b"secret", &[0, 0]))), Reject::BadSignetBlksig, text);
    // No solution, no commitment, no transaction.
    broken(check(solved(b"nothing")), Reject::BadSignetBlksig, text);
    let plain = Chain::regtest(1).draft(vec![]);
    broken(check(plain.clone()), Reject::BadSignetBlksig, text);
    let empty = Draft { txs: vec![], ..plain.clone() };
    broken(check(empty), Reject::BadSignetBlksig, text);
    // Only the first section counts.
    let mut twice = solved(&section(b"wrong", &[0]));
    push_slice(&mut twice.txs[0].outputs[1].script_pubkey, &section(b"secret", &[0]));
    broken(check(twice), Reject::BadSignetBlksig, text);
    // The signature is judged before the merkle root.
    let block = plain.mine(&params);
    broken(check_block(&block, &params), Reject::BadSignetBlksig, text);
}

#[test]
fn a_signet_that_anyone_solves_needs_a_commitment_only() {
    let params = signet(&[OP_TRUE]);
    let check = |draft: Draft| check_block(&draft.seal(&params), &params).map(|_| ());
    assert_eq!(check(solved(b"nothing")), Ok(()));
    // A header alone is no solution, and the genesis block needs none.
    assert_eq!(check(solved(&[0xec, 0xc7, 0xda, 0xa2])), Ok(()));
    broken(check(Chain::regtest(1).draft(vec![])), Reject::BadSignetBlksig, "bad-signet-blksig");
    let params = Params::new(Network::Signet);
    let genesis = Block::parse(params.genesis_block()).unwrap();
    assert!(check_block(&genesis, &params).is_ok());
}

#[test]
fn the_signed_message_of_a_signet_leaves_out_the_solution_alone() {
    let spend = |section: &[u8]| {
        let draft = solved(section);
        signet_spend(&draft.seal(&signet(&[OP_TRUE])), &[OP_TRUE]).unwrap()
    };
    let header = [0xec, 0xc7, 0xda, 0xa2];
    let with = |rest: &[u8]| [&header[..], rest].concat();
    let one = spend(&with(&[1, 0x51, 0]));
    let two = spend(&with(&[2, 0x51, 0x51, 1, 1, 9]));
    assert_eq!(one.inputs[0].prevout, two.inputs[0].prevout);
    assert_eq!(one.inputs[0].script_sig, [0x51]);
    assert_eq!(two.inputs[0].witness, [[9]]);
    assert_eq!((one.version, one.lock_time, one.inputs[0].sequence), (0, 0, 0));
    assert_eq!(one.outputs, [TxOut { value: 0, script_pubkey: vec![0x6a] }]);
    // What is no solution is signed.
    assert_ne!(spend(b"nothing").inputs[0].prevout, spend(b"another").inputs[0].prevout);
}
