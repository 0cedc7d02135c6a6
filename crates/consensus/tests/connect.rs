//! Rules on what a block spends: `ConnectBlock`, `CheckTxInputs`, BIP-0030, BIP-0068, scripts.

mod common;

use caesure_consensus::{
    BlockContext, BlockTotals, COIN, Coin, HeaderTree, MAX_MONEY, Network, Params, Reject,
    check_inputs, connect_block, is_bip30_unspendable, is_sequence_final, sigop_cost, subsidy,
    verify_tx_scripts,
};
use caesure_hash::{hash160, sha256};
use caesure_script::opcode::{OP_CHECKSIG, OP_EQUAL, OP_HASH160, OP_RETURN};
use caesure_script::{Flags, ScriptError, push_slice};
use caesure_wire::{OutPoint, Transaction, Tx, TxOut};

use common::{Chain, Draft, OP_TRUE, broken, coin, outpoint, tx};

const ALL_FLAGS: Flags = Flags(Flags::P2SH.0 | Flags::WITNESS.0 | Flags::TAPROOT.0);

/// Connects a block with given coins to a chain of one block.
fn connect(
    txs: Vec<Transaction>,
    prevouts: &[Option<Coin>],
    overwrites: bool,
) -> Result<BlockTotals, Reject> {
    connect_draft(&Chain::regtest(1), |_| (), txs, prevouts, overwrites)
}

fn connect_draft(
    chain: &Chain,
    change: impl FnOnce(&mut Draft),
    txs: Vec<Transaction>,
    prevouts: &[Option<Coin>],
    overwrites: bool,
) -> Result<BlockTotals, Reject> {
    let mut draft = chain.draft(txs);
    change(&mut draft);
    let block = draft.seal(&chain.params);
    let mut tree = chain.tree.clone();
    let id = tree.accept(block.header(), chain.now).unwrap();
    let context = BlockContext::new(&chain.params, &tree, id);
    connect_block(&block, &context, &chain.params, &tree, prevouts, overwrites)
}

#[test]
fn totals_add_up() {
    let spends = vec![tx(&[outpoint(1), outpoint(2)], &[5]), tx(&[outpoint(3)], &[1, 1])];
    let coins = [Some(coin(4, 1)), Some(coin(3, 1)), Some(coin(9, 0))];
    let expected = BlockTotals { fees: 9, subsidy: 50 * COIN, coinbase_value: COIN, sigop_cost: 0 };
    assert_eq!(connect(spends, &coins, false), Ok(expected));
}

#[test]
fn the_outputs_of_block_0_are_never_made() {
    for network in Network::ALL {
        let mut chain = Chain::new(Params::new(network));
        let genesis = caesure_wire::Block::parse(chain.params.genesis_block()).unwrap();
        let totals = chain.judge(&genesis).unwrap();
        assert_eq!(totals, BlockTotals { subsidy: 50 * COIN, ..BlockTotals::default() });
        assert!(chain.coins.is_empty());
    }
    let chain = Chain::regtest(101);
    let genesis = caesure_wire::Block::parse(chain.params.genesis_block()).unwrap();
    let prevout = OutPoint { txid: genesis.tx(0).txid(), vout: 0 };
    let result = chain.judge_draft(chain.draft(vec![tx(&[prevout], &[1])]));
    broken(result, Reject::BadTxnsInputsMissingorspent, "bad-txns-inputs-missingorspent");
}

#[test]
fn cve_2012_1909_a_transaction_that_overwrites_an_unspent_one_is_refused() {
    let mut chain = Chain::new(Params {
        activation_heights: [1000, 1, 1, 1, 0],
        ..Params::new(Network::Regtest)
    });
    // Without BIP-0034 two coinbases can be one transaction.
    let same = |chain: &Chain| {
        let mut draft = chain.draft(vec![]);
        draft.txs[0].inputs[0].script_sig = vec![1, 9];
        draft
    };
    let block = same(&chain).seal(&chain.params);
    chain.judge(&block).unwrap();
    broken(chain.judge_draft(same(&chain)), Reject::BadTxnsBip30, "bad-txns-BIP30");
    // Once it is spent it may come again.
    chain.coins.clear();
    assert!(chain.judge_draft(same(&chain)).is_ok());
}

#[test]
fn rustoshi_bip34_spares_bip30_only_behind_the_known_block() {
    let context = |params: &Params, height: u32| {
        let mut chain = Chain::new(params.clone());
        for _ in 0..height {
            let block = chain.draft(vec![]).seal(&chain.params);
            chain.judge(&block).unwrap();
        }
        let mut params = params.clone();
        params.bip34_hash = if params.bip34_hash.0 == [1; 32] {
            chain.tree.hash(chain.tree.ancestor(chain.tip, 3.min(height)).unwrap())
        } else {
            params.bip34_hash
        };
        BlockContext::new(&params, &chain.tree, chain.tip).checks_bip30
    };
    let mut params =
        Params { activation_heights: [3, 1, 1, 1, 0], ..Params::new(Network::Regtest) };
    // Another block at the height: always checked.
    assert!(context(&params, 5));
    params.bip34_hash.0 = [1; 32];
    // The known one: checked up to it, and not from its child on.
    assert!(context(&params, 2));
    assert!(context(&params, 3));
    assert!(!context(&params, 4));
    assert!(!context(&params, 5));
    // Where it is not checked, an overwrite is let pass.
    let chain = Chain::regtest(1);
    let block = chain.draft(vec![]).seal(&chain.params);
    let mut tree = chain.tree.clone();
    let id = tree.accept(block.header(), chain.now).unwrap();
    let mut facts = BlockContext::new(&chain.params, &tree, id);
    let connect = |facts: &BlockContext| {
        connect_block(&block, facts, &chain.params, &tree, &[], true).map(|totals| totals.fees)
    };
    broken(connect(&facts), Reject::BadTxnsBip30, "bad-txns-BIP30");
    facts.checks_bip30 = false;
    assert_eq!(connect(&facts), Ok(0));
}

#[test]
fn bitcoin_rs_bip30_unspendable_coinbases_are_told_by_height_and_hash() {
    let hash = "00000000000271a2dc26e7667f8419f2e15416dc6955e5a6c6cdf3f2574dd08e";
    let hash = hash.parse().unwrap();
    assert!(is_bip30_unspendable(91_722, &hash));
    assert!(!is_bip30_unspendable(91_812, &hash));
    let hash = "00000000000af0aed4792b1acee3d966af36cf5def14935db8de83d6f9306f2f";
    let hash = hash.parse().unwrap();
    assert!(is_bip30_unspendable(91_812, &hash));
    assert!(!is_bip30_unspendable(91_842, &hash));
}

#[test]
fn an_input_without_a_coin_is_refused() {
    let (reject, text) = (Reject::BadTxnsInputsMissingorspent, "bad-txns-inputs-missingorspent");
    let spends = || vec![tx(&[outpoint(1), outpoint(2)], &[1])];
    broken(connect(spends(), &[Some(coin(4, 1)), None], false), reject, text);
    let chain = Chain::regtest(101);
    let twice = vec![tx(&[chain.coinbase_at(1)], &[1]), tx(&[chain.coinbase_at(1)], &[2])];
    broken(chain.judge_draft(chain.draft(twice)), reject, text);
    // A coin that a later transaction of the block makes does not exist yet.
    let first = tx(&[chain.coinbase_at(1)], &[7]);
    let second = tx(&[OutPoint { txid: first.txid(), vout: 0 }], &[6]);
    assert!(chain.judge_draft(chain.draft(vec![first.clone(), second.clone()])).is_ok());
    broken(chain.judge_draft(chain.draft(vec![second, first])), reject, text);
    // What can never be spent makes no coin.
    let mut first = tx(&[chain.coinbase_at(1)], &[7]);
    first.outputs[0].script_pubkey = vec![OP_RETURN];
    let second = tx(&[OutPoint { txid: first.txid(), vout: 0 }], &[6]);
    broken(chain.judge_draft(chain.draft(vec![first, second])), reject, text);
}

#[test]
fn a_coinbase_spent_before_100_blocks_is_refused() {
    let chain = Chain::regtest(100);
    assert!(chain.judge_draft(chain.draft(vec![tx(&[chain.coinbase_at(1)], &[1])])).is_ok());
    let result = chain.judge_draft(chain.draft(vec![tx(&[chain.coinbase_at(2)], &[1])]));
    let text = "bad-txns-premature-spend-of-coinbase";
    broken(result, Reject::BadTxnsPrematureSpendOfCoinbase, text);
    // Nor in its own block.
    let mut draft = chain.draft(vec![]);
    draft.txs.push(tx(&[OutPoint { txid: draft.txs[0].txid(), vout: 0 }], &[1]));
    broken(chain.judge_draft(draft), Reject::BadTxnsPrematureSpendOfCoinbase, text);
}

#[test]
fn inputs_over_all_money_are_refused() {
    let (reject, text) = (Reject::BadTxnsInputvaluesOutofrange, "bad-txns-inputvalues-outofrange");
    let spend = |values: [i64; 2]| {
        let spends = vec![tx(&[outpoint(1), outpoint(2)], &[1])];
        connect(spends, &values.map(|value| Some(coin(value, 1))), false)
    };
    assert!(spend([MAX_MONEY, 0]).is_ok());
    broken(spend([MAX_MONEY, 1]), reject, text);
    broken(spend([MAX_MONEY + 1, 0]), reject, text);
    broken(spend([-1, 5]), reject, text);
    broken(spend([5, -1]), reject, text);
    broken(spend([i64::MAX, i64::MAX]), reject, text);
}

#[test]
fn original_fault_an_inflating_transaction_is_refused() {
    let chain = Chain::regtest(101);
    let result = chain.judge_draft(chain.draft(vec![tx(&[chain.coinbase_at(1)], &[COIN + 1])]));
    broken(result, Reject::BadTxnsInBelowout, "bad-txns-in-belowout");
    let result = chain.judge_draft(chain.draft(vec![tx(&[chain.coinbase_at(1)], &[COIN])]));
    assert_eq!(result.unwrap().fees, 0);
}

#[test]
fn kotoba_a_sum_of_fees_over_all_money_is_refused() {
    let spends = |fee: i64| {
        let spends = vec![tx(&[outpoint(1)], &[0]), tx(&[outpoint(2)], &[0])];
        connect(spends, &[Some(coin(MAX_MONEY, 1)), Some(coin(fee, 1))], false)
    };
    assert_eq!(spends(0).unwrap().fees, MAX_MONEY);
    let text = "bad-txns-accumulated-fee-outofrange";
    broken(spends(1), Reject::BadTxnsAccumulatedFeeOutofrange, text);
}

/// Returns whether a transaction with a version and a sequence is final on a chain, for a coin.
fn is_sequence_reached(chain: &Chain, version: u32, sequence: u32, height: u32) -> bool {
    let mut spend = tx(&[outpoint(1)], &[1]);
    (spend.version, spend.inputs[0].sequence) = (version, sequence);
    let result = connect_draft(chain, |_| (), vec![spend.clone()], &[Some(coin(2, height))], false);
    let spend = Tx::parse(spend.encode()).unwrap();
    let is_final =
        is_sequence_final(spend.view(), &[Some(coin(2, height))], &chain.tree, chain.tip);
    match result {
        Ok(_) => assert!(is_final),
        Err(_) => {
            assert!(!is_final);
            broken(result, Reject::BadTxnsNonfinal, "bad-txns-nonfinal");
        }
    }
    is_final
}

#[test]
fn bip68_heights_are_counted_from_the_coins_own() {
    let chain = Chain::regtest(30);
    // The block is at height 31.
    assert!(is_sequence_reached(&chain, 2, 11, 20));
    assert!(!is_sequence_reached(&chain, 2, 12, 20));
    assert!(is_sequence_reached(&chain, 2, 0, 31));
    assert!(!is_sequence_reached(&chain, 2, 1, 31));
    // Bits that mean nothing are left out, and the highest switches the rule off.
    assert!(is_sequence_reached(&chain, 2, 0x7fbf_0000 | 11, 20));
    assert!(!is_sequence_reached(&chain, 2, 0x7fbf_0000 | 12, 20));
    assert!(is_sequence_reached(&chain, 2, 1 << 31 | 0xffff, 20));
    assert!(!is_sequence_reached(&chain, 2, 0xffff, 20));
    let mut spend = tx(&[outpoint(1)], &[1]);
    spend.inputs[0].sequence = 12;
    let result = connect_draft(&chain, |_| (), vec![spend], &[Some(coin(2, 20))], false);
    broken(result, Reject::BadTxnsNonfinal, "bad-txns-nonfinal");
    // Version 1 is free of it.
    assert!(is_sequence_reached(&chain, 1, 0xffff, 20));
    assert!(is_sequence_reached(&chain, 0, 0xffff, 20));
}

#[test]
fn rustoshi_time_based_bip68_counts_from_the_block_before_the_coin() {
    let chain = Chain::regtest(40);
    let mtp = |height| chain.tree.median_time_past(chain.tree.ancestor(chain.tip, height).unwrap());
    // Blocks are 600 s apart, units 512 s: a coin of height 20 is unlocked by the block at 41 when
    // the medians of 19 and 40 are so many units apart.
    assert_eq!(mtp(40) - mtp(19), 21 * 600);
    let units = 21 * 600 / 512;
    assert!(is_sequence_reached(&chain, 2, 1 << 22 | units, 20));
    assert!(!is_sequence_reached(&chain, 2, 1 << 22 | (units + 1), 20));
    // The unlocked moment itself is enough: 64 blocks are 75 units to the second.
    let chain = Chain::regtest(90);
    assert!(is_sequence_reached(&chain, 2, 1 << 22 | 75, 27));
    assert!(!is_sequence_reached(&chain, 2, 1 << 22 | 76, 27));
    // A coin of the block itself counts from the parent.
    assert!(is_sequence_reached(&chain, 2, 1 << 22, 91));
    assert!(!is_sequence_reached(&chain, 2, 1 << 22 | 1, 91));
    // Height 0 has no block before it.
    assert!(is_sequence_reached(&chain, 2, 1 << 22 | 1, 0));
}

#[test]
fn blvm_the_longest_sequence_lock_does_not_overflow() {
    let chain = Chain::regtest(1);
    assert!(!is_sequence_reached(&chain, u32::MAX, 1 << 22 | 0xffff, 1));
    assert!(!is_sequence_reached(&chain, u32::MAX, 0xffff, 1));
}

#[test]
fn btcd_cve_2024_34478_version_minus_one_obeys_bip68() {
    let chain = Chain::regtest(30);
    assert!(!is_sequence_reached(&chain, u32::MAX, 12, 20));
    assert!(!is_sequence_reached(&chain, 1 << 31, 12, 20));
}

#[test]
fn before_csv_sequence_numbers_lock_nothing() {
    let chain =
        Chain::new(Params { activation_heights: [1, 1, 1, 9, 9], ..Params::new(Network::Regtest) });
    let mut spend = tx(&[outpoint(1)], &[1]);
    spend.inputs[0].sequence = 0xffff;
    let result = connect_draft(&chain, |_| (), vec![spend], &[Some(coin(2, 0))], false);
    assert!(result.is_ok());
}

/// An input that spends a script hash, with its coin: its redeem script checks `sigops` signatures.
fn p2sh(sigops: usize) -> (Vec<u8>, Coin) {
    let redeem = vec![OP_CHECKSIG; sigops];
    let mut script_sig = Vec::new();
    push_slice(&mut script_sig, &redeem);
    let mut script_pubkey = vec![OP_HASH160];
    push_slice(&mut script_pubkey, &hash160(&redeem));
    script_pubkey.push(OP_EQUAL);
    (script_sig, Coin { script_pubkey: script_pubkey.into(), ..coin(9, 1) })
}

#[test]
fn cve_2010_5138_sigops_over_80000_of_all_kinds_are_refused() {
    let text = "bad-blk-sigops";
    let spend_hashes = |count: u8, rest: usize| {
        let prevouts: Vec<OutPoint> = (0..=count).map(outpoint).collect();
        let mut spend = tx(&prevouts, &[1]);
        let mut coins = Vec::new();
        for (i, input) in spend.inputs.iter_mut().enumerate() {
            let (script_sig, coin) = p2sh(if i == usize::from(count) { rest } else { 500 });
            input.script_sig = script_sig;
            coins.push(Some(coin));
        }
        (spend, coins)
    };
    let (spend, coins) = spend_hashes(39, 500);
    assert_eq!(connect(vec![spend], &coins, false).unwrap().sigop_cost, 80_000);
    let (spend, coins) = spend_hashes(40, 1);
    broken(connect(vec![spend.clone()], &coins, false), Reject::BadBlkSigops, text);
    // Without P2SH no redeem script is counted.
    let parsed = Tx::parse(spend.encode()).unwrap();
    assert_eq!(sigop_cost(parsed.view(), &coins, ALL_FLAGS), 80_004);
    assert_eq!(sigop_cost(parsed.view(), &coins, Flags::NONE), 0);
    // In a witness each counts one.
    let witnessed = |sigops: usize| {
        let script = vec![OP_CHECKSIG; sigops];
        let mut spend = tx(&[outpoint(1)], &[1]);
        let script_pubkey = [&[0, 32][..], &sha256(&script)].concat().into();
        spend.inputs[0].witness = vec![script];
        (spend, [Some(Coin { script_pubkey, ..coin(9, 1) })])
    };
    let (spend, coins) = witnessed(80_000);
    assert_eq!(connect(vec![spend], &coins, false).unwrap().sigop_cost, 80_000);
    let (spend, coins) = witnessed(80_001);
    let parsed = Tx::parse(spend.encode()).unwrap();
    assert_eq!(sigop_cost(parsed.view(), &coins, Flags::P2SH), 0);
    broken(connect(vec![spend], &coins, false), Reject::BadBlkSigops, text);
    // The coinbase counts too.
    let (spend, coins) = witnessed(79_997);
    let checks = |draft: &mut Draft| draft.txs[0].outputs[0].script_pubkey = vec![OP_CHECKSIG];
    let result = connect_draft(&Chain::regtest(1), checks, vec![spend], &coins, false);
    broken(result, Reject::BadBlkSigops, text);
}

#[test]
fn original_fault_an_over_paying_coinbase_is_refused() {
    let chain = Chain::regtest(101);
    let claim = |value: i64| {
        let mut draft = chain.draft(vec![tx(&[chain.coinbase_at(1)], &[COIN - 7])]);
        draft.txs[0].outputs[0].value = value;
        chain.judge_draft(draft)
    };
    assert_eq!(claim(50 * COIN + 7).unwrap().coinbase_value, 50 * COIN + 7);
    broken(claim(50 * COIN + 8), Reject::BadCbAmount, "bad-cb-amount");
    let mut draft = chain.draft(vec![]);
    draft.txs[0].outputs = vec![TxOut { value: 25 * COIN, script_pubkey: vec![OP_TRUE] }; 2];
    assert!(chain.judge_draft(draft.clone()).is_ok());
    draft.txs[0].outputs.push(TxOut { value: 1, script_pubkey: vec![OP_RETURN] });
    broken(chain.judge_draft(draft), Reject::BadCbAmount, "bad-cb-amount");
}

#[test]
fn a_script_that_fails_is_refused_with_its_error() {
    let mut chain = Chain::regtest(101);
    let mut fund = tx(&[chain.coinbase_at(1)], &[5, 5]);
    fund.outputs[0].script_pubkey = vec![0];
    fund.outputs[1].script_pubkey = vec![OP_RETURN, OP_TRUE];
    fund.outputs[1].script_pubkey.insert(0, OP_TRUE);
    let at = |vout| OutPoint { txid: fund.txid(), vout };
    let block = chain.draft(vec![fund.clone()]).seal(&chain.params);
    chain.judge(&block).unwrap();
    let result = chain.judge_draft(chain.draft(vec![tx(&[at(0), at(1)], &[1])]));
    let reject = Reject::BlockScriptVerifyFlagFailed(ScriptError::EvalFalse);
    let text = "block-script-verify-flag-failed (Script evaluated without error but finished with \
                a false/empty top stack element)";
    broken(result, reject, text);
    let result = chain.judge_draft(chain.draft(vec![tx(&[at(1), at(0)], &[1])]));
    let reject = Reject::BlockScriptVerifyFlagFailed(ScriptError::OpReturn);
    broken(result, reject, "block-script-verify-flag-failed (OP_RETURN was encountered)");
}

#[test]
fn the_first_input_that_fails_is_named() {
    let coins: Vec<Option<Coin>> = [OP_TRUE, 0, OP_RETURN]
        .map(|opcode| Some(Coin { script_pubkey: [opcode][..].into(), ..coin(1, 1) }))
        .into();
    let spend = tx(&[outpoint(1), outpoint(2), outpoint(3)], &[1]);
    let spend = Tx::parse(spend.encode()).unwrap();
    let result = verify_tx_scripts(spend.view(), &coins, Flags::NONE);
    assert_eq!(result, Err((1, ScriptError::EvalFalse)));
}

#[test]
fn of_two_faults_of_what_a_block_spends_the_first_of_core_is_named() {
    let reason = |txs, coins: &[Option<Coin>], overwrites| {
        connect(txs, coins, overwrites).unwrap_err().reason()
    };
    let spend = |n: u8, value: i64| tx(&[outpoint(n)], &[value]);
    // BIP-0030 comes before all; then transaction by transaction.
    assert_eq!(reason(vec![spend(1, 1)], &[None], true), "bad-txns-BIP30");
    let coins = [Some(coin(1, 1)), None];
    assert_eq!(reason(vec![spend(1, 2), spend(2, 1)], &coins, false), "bad-txns-in-belowout");
    // Within one, a missing input comes before a fault of another.
    let young = Some(Coin { is_coinbase: true, ..coin(MAX_MONEY + 1, 1) });
    let both = vec![tx(&[outpoint(1), outpoint(2)], &[1])];
    let coins = [young.clone(), None];
    assert_eq!(reason(both, &coins, false), "bad-txns-inputs-missingorspent");
    // Input by input: maturity, then value.
    let text = "bad-txns-premature-spend-of-coinbase";
    assert_eq!(reason(vec![spend(1, 1)], std::slice::from_ref(&young), false), text);
    let both = vec![tx(&[outpoint(1), outpoint(2)], &[1])];
    let coins = [Some(coin(-1, 1)), young];
    assert_eq!(reason(both, &coins, false), "bad-txns-inputvalues-outofrange");
    // Fees, then sequence locks, then sigops, then the coinbase.
    let mut locked = spend(2, 0);
    locked.inputs[0].sequence = 9;
    let coins = [Some(coin(MAX_MONEY, 1)), Some(coin(1, 1))];
    let text = "bad-txns-accumulated-fee-outofrange";
    assert_eq!(reason(vec![spend(1, 0), locked.clone()], &coins, false), text);
    locked.inputs[0].script_sig = vec![OP_CHECKSIG; 20_001];
    let coins = [Some(coin(1, 1))];
    assert_eq!(reason(vec![locked.clone()], &coins, false), "bad-txns-nonfinal");
    locked.inputs[0].sequence = 0;
    let greedy = |draft: &mut Draft| draft.txs[0].outputs[0].value = MAX_MONEY;
    let result = connect_draft(&Chain::regtest(1), greedy, vec![locked], &coins, false);
    assert_eq!(result.unwrap_err().reason(), "bad-blk-sigops");
    // Scripts come last: an earlier script's fault is not named before the coinbase's.
    let mut chain = Chain::regtest(101);
    let mut fund = tx(&[chain.coinbase_at(1)], &[5]);
    fund.outputs[0].script_pubkey = vec![0];
    let block = chain.draft(vec![fund.clone()]).seal(&chain.params);
    chain.judge(&block).unwrap();
    let mut draft = chain.draft(vec![tx(&[OutPoint { txid: fund.txid(), vout: 0 }], &[1])]);
    draft.txs[0].outputs[0].value = MAX_MONEY;
    assert_eq!(chain.judge_draft(draft).unwrap_err().reason(), "bad-cb-amount");
}

#[test]
fn fees_of_a_transaction_alone() {
    let spend = Tx::parse(tx(&[outpoint(1)], &[3]).encode()).unwrap();
    assert_eq!(check_inputs(spend.view(), &[Some(coin(10, 0))], 1), Ok(7));
    let result = check_inputs(spend.view(), &[None], 1);
    let text = "bad-txns-inputs-missingorspent";
    broken(result, Reject::BadTxnsInputsMissingorspent, text);
}

#[test]
fn original_fault_subsidies_end_and_never_crash() {
    let main = Params::new(Network::Main);
    let check = |height: u32, expected: i64| assert_eq!(subsidy(height, &main), expected);
    check(0, 5_000_000_000);
    check(209_999, 5_000_000_000);
    check(210_000, 2_500_000_000);
    check(840_000, 312_500_000);
    check(3_149_999, 305_175);
    check(3_150_000, 152_587);
    check(6_929_999, 1);
    check(6_930_000, 0);
    check(13_440_000, 0);
    check(u32::MAX, 0);
    let regtest = Params::new(Network::Regtest);
    assert_eq!(subsidy(149, &regtest), 5_000_000_000);
    assert_eq!(subsidy(150, &regtest), 2_500_000_000);
    let total: i64 = (0..33).map(|halving| subsidy(halving * 210_000, &main) * 210_000).sum();
    assert_eq!(total, 2_099_999_997_690_000);
}

#[test]
fn script_flags_follow_heights() {
    let mut chain =
        Chain::new(Params { activation_heights: [1, 2, 3, 4, 5], ..Params::new(Network::Regtest) });
    let mut expected = ALL_FLAGS;
    let added = [
        Flags::NONE,
        Flags::DERSIG,
        Flags::CHECKLOCKTIMEVERIFY,
        Flags::CHECKSEQUENCEVERIFY,
        Flags::NULLDUMMY,
        Flags::NONE,
    ];
    for flags in added {
        let block = chain.draft(vec![]).seal(&chain.params);
        chain.judge(&block).unwrap();
        expected = expected | flags;
        let context = BlockContext::new(&chain.params, &chain.tree, chain.tip);
        assert_eq!(context.flags, expected);
    }
}

#[test]
fn bitcoin_rs_the_blocks_that_broke_a_soft_fork_are_excepted_by_hash() {
    let check = |network, hash: &str, flags| {
        let hash = hash.parse().unwrap();
        let exceptions = Params::new(network).script_flag_exceptions;
        assert!(exceptions.contains(&(hash, flags)));
    };
    check(
        Network::Main,
        "00000000000002dc756eebf4f49723ed8d30cc28a5f108eb94b1ba88ac4f9c22",
        Flags::NONE,
    );
    check(
        Network::Main,
        "0000000000000000000f14c35b2d841e986ab5441de8c585d5ffe55ea1e395ad",
        Flags::P2SH | Flags::WITNESS,
    );
    check(
        Network::Testnet3,
        "00000000dd30457c001f4095d208cc1296b0eed002427aa599874af7a432b105",
        Flags::NONE,
    );
    // The exception is taken instead of the flags that always hold; deployments still add theirs.
    let params = Params {
        script_flag_exceptions: Box::leak(Box::new([(
            Params::new(Network::Regtest).genesis_hash,
            Flags::P2SH,
        )])),
        ..Params::new(Network::Regtest)
    };
    let tree = HeaderTree::new(&params);
    let context = BlockContext::new(&params, &tree, HeaderTree::GENESIS);
    assert_eq!(context.flags, Flags::P2SH | Flags::NULLDUMMY);
}

#[test]
fn cve_2013_3220_a_block_that_touches_over_100000_outpoints_connects() {
    let mut chain = Chain::regtest(101);
    let mut fund = tx(&[chain.coinbase_at(1)], &[0; 100_000]);
    for output in &mut fund.outputs {
        output.script_pubkey.clear();
    }
    let block = chain.draft(vec![fund]).seal(&chain.params);
    assert_eq!(chain.judge(&block).unwrap().fees, COIN);
    assert_eq!(chain.coins.len(), 101 + 1 - 1 + 100_000);
}
