//! Headers and blocks of the public networks, from the folder that `CAESURE_TEST_DATA` names.
#![allow(clippy::print_stdout, reason = "each prints how many cases it ran")]

mod common;

use caesure_consensus::{
    BlockContext, COIN, Coin, Deployment, HeaderId, HeaderTree, MAX_BLOCK_SIGOPS_COST, Network,
    Params, Reject, RejectClass, Target, check_block, check_block_context, connect_block,
    is_block_mutated, is_permitted_transition, legacy_sigop_count, retarget, subsidy,
    verify_tx_scripts,
};
use caesure_script::Flags;
use caesure_wire::{
    Block, BlockHash, Header, OutPoint, Reader, Transaction, TxIn, TxOut, Txid, encode_block,
};
use serde_json::Value;

use common::data::{hex, outside, outside_json};
use common::{Chain, refused};

const LATER: u32 = 1_800_000_000;

fn headers(bytes: &[u8]) -> Vec<Header> {
    bytes.as_chunks().0.iter().map(Header::from_bytes).collect()
}

/// Takes headers in and returns the tree and the last.
fn accept_all(params: &Params, headers: &[Header]) -> (HeaderTree, HeaderId) {
    let mut tree = HeaderTree::new(params);
    let mut last = HeaderTree::GENESIS;
    for header in headers {
        last = tree.accept(header, LATER).unwrap();
    }
    (tree, last)
}

#[test]
fn the_first_10237_headers_of_mainnet() {
    let Some(bytes) = outside("headers/mainnet-0-10236.zst", "10237 headers") else { return };
    let (tree, last) = accept_all(&Params::new(Network::Main), &headers(&bytes));
    assert_eq!(tree.height(last), 10_236);
    let hash = "000000004f74d42205b9d7ae1cb5c1591e723894a71358fce73b7e0919628161";
    assert_eq!(tree.hash(last).to_string(), hash);
    let work = format!("{:064x}", 10_237 * 0x1_0001_0001_u64);
    assert_eq!(tree.chain_work(last).to_string(), work);
    println!("{} headers", tree.len());
}

#[test]
fn the_first_2016_headers_of_signet() {
    let Some(bytes) = outside("headers/signet-0-2015.zst", "2016 headers") else { return };
    let (tree, last) = accept_all(&Params::new(Network::Signet), &headers(&bytes));
    assert_eq!(tree.height(last), 2015);
    // The retarget that follows: the first period was fast, so it changes.
    let last_time = tree.header(last).time;
    let bits = tree.required_bits(last, last_time + 600);
    let expected = retarget(0x1e03_77ae, 1_598_918_400, last_time, &Params::new(Network::Signet));
    assert_eq!(bits, expected);
    println!("{} headers", tree.len());
}

#[test]
fn a_retarget_of_mainnet_in_2019() {
    let Some(bytes) = outside("headers/mainnet-586657-589289.csv", "2633 headers") else { return };
    let text = String::from_utf8(bytes).unwrap();
    let rows: Vec<Header> = text
        .lines()
        .skip(1)
        .map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            let number = |i: usize| u32::from_str_radix(fields[i], 16).unwrap();
            Header {
                version: number(0).cast_signed(),
                prev_block: fields[1].parse().unwrap(),
                merkle_root: fields[2].parse().unwrap(),
                time: number(3),
                bits: number(4),
                nonce: number(5),
            }
        })
        .collect();
    assert_eq!(rows.len(), 2633);
    // A tree that begins with block 586,656, of which only hash and target are known. One second
    // within the hour before its child explains the retarget at 588,672.
    let mut params = Params::new(Network::Main);
    params.genesis_hash = rows[0].prev_block;
    let times: Vec<u32> = (rows[0].time - 3600..rows[0].time)
        .filter(|time| retarget(rows[0].bits, *time, rows[2014].time, &params) == rows[2015].bits)
        .collect();
    assert_eq!(times.len(), 1, "{times:?}");
    params.genesis = Header { bits: rows[0].bits, time: times[0], ..params.genesis };
    let (tree, last) = accept_all(&params, &rows);
    assert_eq!(tree.height(last), 2633);
    assert_ne!(rows[2014].bits, rows[2015].bits);
    let changed = Header { bits: rows[2014].bits, ..rows[2015] };
    let mut tree = HeaderTree::new(&params);
    for header in &rows[..2015] {
        tree.accept(header, LATER).unwrap();
    }
    assert_eq!(tree.required_bits(HeaderId(2015), changed.time), rows[2015].bits);
    let main = Params::new(Network::Main);
    for (height, [last, next]) in (586_658..).zip(rows.array_windows()) {
        assert!(is_permitted_transition(height, last.bits, next.bits, &main), "{height}");
        let is_first = height % 2016 == 0;
        assert_eq!(is_permitted_transition(height, last.bits, last.bits - 1, &main), is_first);
    }
    println!("{} headers", rows.len());
}

/// Judges a chain from block 0 by every rule, scripts too.
fn judge_all(params: Params, blocks: &[Vec<u8>]) -> Chain {
    let mut chain = Chain::new(params);
    chain.now = LATER;
    for bytes in blocks {
        let block = Block::parse(&bytes[..]).unwrap();
        let id = chain.tree.find(&block.header().prev_block);
        assert!(id.is_none_or(|id| id == chain.tip));
        chain.judge(&block).unwrap_or_else(|reject| panic!("{}: {reject}", block.hash()));
    }
    chain
}

fn total(chain: &Chain) -> i64 {
    chain.coins.values().map(|coin| coin.value).sum()
}

#[test]
fn the_first_2201_blocks_of_mainnet() {
    let Some(bytes) = outside("chains/mainnet-0-2200.blk.xz", "2201 blocks") else { return };
    let mut reader = Reader::new(&bytes);
    let mut blocks = Vec::new();
    while !reader.is_empty() {
        reader.bytes(4).unwrap();
        let size = reader.u32().unwrap();
        blocks.push(reader.bytes(size as usize).unwrap().to_vec());
    }
    let chain = judge_all(Params::new(Network::Main), &blocks);
    assert_eq!(chain.height(), 2200);
    assert_eq!((chain.coins.len(), total(&chain)), (2130, 11_000_000_000_000));
    println!("{} blocks", blocks.len());
}

#[test]
fn the_first_2017_blocks_of_testnet3() {
    let Some(json) = outside_json("chains/testnet3-0-2016.json.xz", "2017 blocks") else { return };
    let blocks: Vec<Vec<u8>> =
        json.as_array().unwrap().iter().map(|block| hex(block.as_str().unwrap())).collect();
    let chain = judge_all(Params::new(Network::Testnet3), &blocks);
    assert_eq!(chain.height(), 2016);
    assert_eq!((chain.coins.len(), total(&chain)), (2213, 10_080_000_000_000));
    println!("{} blocks", blocks.len());
}

#[test]
fn the_first_61_blocks_of_signet_are_signed() {
    let Some(json) = outside_json("chains/signet-0-60.json", "61 blocks") else { return };
    let blocks: Vec<Vec<u8>> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|block| hex(block["block"].as_str().unwrap()))
        .collect();
    let params = Params::new(Network::Signet);
    let chain = judge_all(params.clone(), &blocks);
    assert_eq!(chain.height(), 60);
    // Under another challenge the same blocks are not signed.
    let mut challenge = params.signet_challenge.clone().unwrap();
    challenge[5] ^= 1;
    let other = Params { signet_challenge: Some(challenge), ..params.clone() };
    for bytes in &blocks[1..] {
        let block = Block::parse(&bytes[..]).unwrap();
        let result = check_block(&block, &other);
        let class = RejectClass::Consensus;
        refused(result, Reject::BadSignetBlksig, "bad-signet-blksig", class);
        // Nor is a block whose signed bytes were changed.
        let mut changed = *block.header();
        changed.time += 1;
        let easy = Params { pow_limit: Params::new(Network::Regtest).pow_limit, ..params.clone() };
        changed.bits = 0x207f_ffff;
        common::mine(&mut changed, &easy);
        let txs: Vec<Vec<u8>> = block.txs().map(|tx| tx.bytes().to_vec()).collect();
        let block = Block::parse(encode_block(&changed, &txs)).unwrap();
        let result = check_block(&block, &easy);
        refused(result, Reject::BadSignetBlksig, "bad-signet-blksig", class);
    }
    println!("{} blocks", blocks.len());
}

/// The facts about a block in the middle of a chain.
fn facts(params: &Params, block: &Header, height: u32, median_time_past: u32) -> BlockContext {
    let is_active = |deployment| params.is_active(deployment, height);
    let flags = [
        (Deployment::DerSig, Flags::DERSIG),
        (Deployment::Cltv, Flags::CHECKLOCKTIMEVERIFY),
        (Deployment::Csv, Flags::CHECKSEQUENCEVERIFY),
        (Deployment::Segwit, Flags::NULLDUMMY),
    ];
    let active = flags.into_iter().filter(|(deployment, _)| is_active(*deployment));
    let always = Flags::P2SH | Flags::WITNESS | Flags::TAPROOT;
    let has_csv = is_active(Deployment::Csv);
    BlockContext {
        id: HeaderTree::GENESIS,
        parent: Some(HeaderTree::GENESIS),
        height,
        hash: block.hash(),
        median_time_past,
        lock_time_cutoff: if has_csv { median_time_past } else { block.time },
        flags: active.fold(always, |flags, (_, flag)| flags | flag),
        has_height_in_coinbase: is_active(Deployment::HeightInCoinbase),
        has_csv,
        has_segwit: is_active(Deployment::Segwit),
        checks_bip30: false,
    }
}

#[test]
fn single_blocks_pass_all_rules_that_need_no_coins() {
    let Some(folder) = common::data::folder("18 single blocks") else { return };
    let mut count = 0;
    for (network, name) in [
        (Network::Main, "mainnet"),
        (Network::Testnet3, "testnet3"),
        (Network::Testnet4, "testnet4"),
    ] {
        let params = Params::new(network);
        for entry in std::fs::read_dir(folder.join("blocks").join(name)).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            if stem.ends_with("-undo") || stem.ends_with("-stripped") {
                continue;
            }
            let block = Block::parse(std::fs::read(&path).unwrap()).unwrap();
            let txids = check_block(&block, &params).expect(stem);
            let sigops: usize = block.txs().map(legacy_sigop_count).sum();
            assert!(sigops * 4 <= MAX_BLOCK_SIGOPS_COST);
            // One block is without a height.
            if let Ok(height) = stem.parse() {
                // The real median time is some hours before the block's own.
                let context = facts(&params, block.header(), height, block.header().time);
                let wtxids = check_block_context(&block, &context, &txids).expect(stem);
                assert_eq!(wtxids, block.wtxids(), "{stem}");
                assert!(!is_block_mutated(&block, context.has_segwit));
                let wrong = BlockContext { height: height + 1, ..context };
                let result = check_block_context(&block, &wrong, &txids).unwrap_err();
                assert_eq!(result.reason(), "bad-cb-height", "{stem}");
            }
            count += 1;
        }
    }
    println!("{count} blocks");
    assert_eq!(count, 18);
}

#[test]
fn the_first_segwit_block_without_its_witnesses_is_mutated() {
    let Some(bytes) = outside("blocks/mainnet/481824-stripped.raw", "1 block") else { return };
    let params = Params::new(Network::Main);
    let block = Block::parse(bytes).unwrap();
    let txids = check_block(&block, &params).unwrap();
    let context = facts(&params, block.header(), 481_824, block.header().time);
    let result = check_block_context(&block, &context, &txids);
    let (reject, text) = (Reject::BadWitnessNonceSize, "bad-witness-nonce-size");
    refused(result, reject, text, RejectClass::Mutated);
    assert!(is_block_mutated(&block, true));
    assert!(!is_block_mutated(&block, false));
}

/// Connects a block to its coins and runs its scripts; returns fees and cost of sigops.
fn connect(params: &Params, block: &Block<Vec<u8>>, height: u32, coins: &[Coin]) -> (i64, usize) {
    let prevouts: Vec<Option<Coin>> = coins.iter().cloned().map(Some).collect();
    let tree = HeaderTree::new(params);
    // Where relative lock times hold, the tree would have to be complete.
    let context = BlockContext { has_csv: false, ..facts(params, block.header(), height, 0) };
    let totals = connect_block(block, &context, params, &tree, &prevouts, false).unwrap();
    let mut rest = &prevouts[..];
    for tx in block.txs().skip(1) {
        let (spent, next) = rest.split_at(tx.input_count());
        rest = next;
        let result = verify_tx_scripts(tx, spent, context.flags);
        assert_eq!(result.map(drop), Ok(()), "{}", tx.txid());
    }
    assert!(rest.is_empty());
    assert_eq!(totals.subsidy, subsidy(height, params));
    (totals.coinbase_value - totals.subsidy - totals.fees, totals.sigop_cost)
}

#[test]
fn blocks_of_testnet3_connect_to_their_coins() {
    for height in [1_087_400, 928_816, 928_828] {
        let path = format!("blocks/testnet3/{height}");
        let Some(block) = outside(&format!("{path}.raw"), "3 blocks") else { return };
        let undo = outside(&format!("{path}-undo.raw"), "3 blocks").unwrap();
        let block = Block::parse(block).unwrap();
        let mut reader = Reader::new(&undo);
        let mut coins = Vec::new();
        while !reader.is_empty() {
            let value = reader.i64().unwrap();
            let script_pubkey = reader.sized_bytes().unwrap().into();
            coins.push(Coin { value, height: 1, is_coinbase: false, script_pubkey });
        }
        let (over, cost) = connect(&Params::new(Network::Testnet3), &block, height, &coins);
        assert!(over <= 0);
        println!("{height}: {} inputs, sigops cost {cost}", coins.len());
        assert!(0 < cost && cost <= MAX_BLOCK_SIGOPS_COST);
    }
}

#[test]
fn block_866342_claims_its_fees_to_the_satoshi() {
    let path = "prevouts/866342-spent_utxos.json.zst";
    let Some(json) = outside_json(path, "1 block") else { return };
    let block = outside("blocks/mainnet/866342.raw", "1 block").unwrap();
    let block = Block::parse(block).unwrap();
    let coins: Vec<Coin> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|coin| Coin {
            value: coin["txout"]["value"].as_i64().unwrap(),
            height: u32::try_from(coin["creation_height"].as_u64().unwrap()).unwrap(),
            is_coinbase: coin["is_coinbase"].as_bool().unwrap(),
            script_pubkey: hex(coin["txout"]["script_pubkey"].as_str().unwrap()).into(),
        })
        .collect();
    let (over, cost) = connect(&Params::new(Network::Main), &block, 866_342, &coins);
    assert_eq!(over, 0);
    assert!(cost <= MAX_BLOCK_SIGOPS_COST);
    println!("{} inputs, sigops cost {cost}", coins.len());
}

fn unsigned(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

/// A transaction from JSON, with the coins that it spends.
fn transaction(json: &Value) -> (Transaction, Vec<Coin>) {
    let mut coins = Vec::new();
    let mut inputs = Vec::new();
    for input in json["inputs"].as_array().unwrap() {
        let prevout = &input["previous_output"];
        let data = &prevout["data"];
        let txid: Txid = prevout["txid"].as_str().unwrap().parse().unwrap();
        let witness = input["witness"].as_array().unwrap().iter();
        inputs.push(TxIn {
            prevout: OutPoint { txid, vout: unsigned(&prevout["vout"]) },
            script_sig: hex(input["script"].as_str().unwrap()),
            sequence: unsigned(&input["sequence"]),
            witness: witness.map(|item| hex(item.as_str().unwrap())).collect(),
        });
        coins.push(Coin {
            value: data["value"].as_i64().unwrap(),
            height: unsigned(&prevout["block_height"]),
            is_coinbase: prevout["is_coinbase"].as_bool().unwrap(),
            script_pubkey: hex(data["pk_script"].as_str().unwrap()).into(),
        });
    }
    let is_segwit = json["is_segwit"].as_bool().unwrap();
    if !is_segwit {
        inputs.iter_mut().for_each(|input| input.witness.clear());
    }
    let outputs = json["outputs"].as_array().unwrap().iter();
    let output = |output: &Value| TxOut {
        value: output["value"].as_i64().unwrap(),
        script_pubkey: hex(output["pk_script"].as_str().unwrap()),
    };
    let tx = Transaction {
        version: unsigned(&json["version"]),
        inputs,
        outputs: outputs.map(output).collect(),
        lock_time: unsigned(&json["lock_time"]),
    };
    (tx, coins)
}

#[test]
fn blocks_of_mainnet_from_2009_to_2022_connect_to_their_coins() {
    let params = Params::new(Network::Main);
    for name in
        ["169.json", "2015.json", "57042.json", "150012.json", "209999.json.xz", "757738.json"]
    {
        let Some(json) = outside_json(&format!("prevouts/raito-full_{name}"), "6 blocks") else {
            return;
        };
        let (state, block) = (&json["chain_state"], &json["blocks"][0]);
        let txs: Vec<(Transaction, Vec<Coin>)> =
            block["data"]["transactions"].as_array().unwrap().iter().map(transaction).collect();
        let height = unsigned(&state["block_height"]) + 1;
        let prev_block: BlockHash = state["best_block_hash"].as_str().unwrap().parse().unwrap();
        let leaves = txs.iter().map(|(tx, _)| tx.txid().0).collect();
        let header = Header {
            version: i32::try_from(block["header"]["version"].as_i64().unwrap()).unwrap(),
            prev_block,
            merkle_root: caesure_wire::MerkleRoot(caesure_hash::merkle_root(leaves).0),
            time: unsigned(&block["header"]["time"]),
            bits: unsigned(&block["header"]["bits"]),
            nonce: unsigned(&block["header"]["nonce"]),
        };
        let expected = json["expected"]["best_block_hash"].as_str().unwrap();
        assert_eq!(header.hash().to_string(), expected);
        let bytes: Vec<Vec<u8>> = txs.iter().map(|(tx, _)| tx.encode()).collect();
        let block = Block::parse(encode_block(&header, &bytes)).unwrap();
        let txids = check_block(&block, &params).unwrap();
        let times = state["prev_timestamps"].as_array().unwrap();
        let mut times: Vec<u32> = times.iter().map(unsigned).collect();
        if height.is_multiple_of(2016) {
            let first = unsigned(&state["epoch_start_time"]);
            let last = *times.last().unwrap();
            assert_eq!(retarget(0x1d00_ffff, first, last, &params), header.bits);
        }
        times.sort_unstable();
        let context = facts(&params, &header, height, times[times.len() / 2]);
        assert_eq!(check_block_context(&block, &context, &txids), Ok(block.wtxids()));
        let coins: Vec<Coin> = txs.into_iter().skip(1).flat_map(|(_, coins)| coins).collect();
        let (over, cost) = connect(&params, &block, height, &coins);
        assert!(over <= 0);
        assert!(0 < subsidy(height, &params) && subsidy(height, &params) <= 50 * COIN);
        // The work of the block is what the chain's grew by.
        let work = |state: &Value| state["total_work"].as_str().unwrap().parse::<u128>().unwrap();
        let grown = work(&json["expected"]) - work(state);
        let target = Target::from_compact(header.bits).unwrap();
        assert_eq!(target.work().to_string(), format!("{grown:064x}"));
        println!("{height}: {} inputs, sigops cost {cost}, unclaimed {}", coins.len(), -over);
    }
}

#[test]
fn header_chains_of_bip54_with_real_work_are_accepted() {
    let path = "bips/bip-0054-test_vectors-timestamps.json.xz";
    let Some(json) = outside_json(path, "header chains") else { return };
    let parse = |value: &Value| -> Vec<Header> {
        let texts = value.as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        texts.map(|text| Header::from_bytes(&hex(text).try_into().unwrap())).collect()
    };
    let object = json.as_object().unwrap();
    let mut counts = Vec::new();
    let base = object.values().find(|value| value[0].is_string()).unwrap();
    let (tree, last) = accept_all(&Params::new(Network::Main), &parse(base));
    counts.push(tree.height(last));
    let cases = object.values().find(|value| value[0].is_object()).unwrap();
    for case in cases.as_array().unwrap() {
        // BIP-0054 is a draft: headers that it would forbid are valid.
        let mut tree = tree.clone();
        for header in parse(&case["block_headers"]) {
            let id = tree.accept(&header, u32::MAX).unwrap_or_else(|reject| {
                panic!("{}: {reject}", case["comment"]);
            });
            counts.push(tree.height(id));
        }
    }
    println!("{} headers", counts.len());
    assert!(10 < counts.len());
}
