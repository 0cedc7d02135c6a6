//! What generated chains are made of, seen from their bytes.

use std::collections::{BTreeMap, BTreeSet};

use caesure_generate::{BITS, Error, Options, Profile, coinbase, generate, mine_block, solve};
use caesure_hash::sha256d;
use caesure_script::opcode::{
    OP_1, OP_16, OP_CHECKLOCKTIMEVERIFY, OP_CHECKMULTISIG, OP_CHECKSEQUENCEVERIFY, OP_CHECKSIGADD,
};
use caesure_script::{Flags, Instructions, TxContext, decode_number};
use caesure_wire::{Block, BlockHash, Header, OutPoint, OutputView, Tx, TxOut, TxView, Txid};

/// A chain with the outputs and heights of all its blocks, whatever their branch.
struct Chain {
    blocks: Vec<Block<Vec<u8>>>,
    heights: BTreeMap<BlockHash, u32>,
    outputs: BTreeMap<OutPoint, TxOut>,
}

impl Chain {
    fn new(options: &Options) -> Self {
        let mut blocks = Vec::new();
        let mut heights = BTreeMap::from([(BlockHash::ZERO, u32::MAX)]);
        let mut outputs = BTreeMap::new();
        let summary = generate(options, &mut |bytes| {
            let block = Block::parse(bytes.to_vec()).unwrap();
            let height = heights[&block.header().prev_block].wrapping_add(1);
            heights.insert(block.hash(), height);
            for tx in block.txs() {
                let txid = tx.txid();
                let made = (0..).zip(tx.outputs());
                outputs.extend(
                    made.map(|(vout, output)| (OutPoint { txid, vout }, output.to_owned())),
                );
            }
            blocks.push(block);
            Ok(())
        })
        .unwrap();
        assert_eq!(blocks.len() as u64, summary.blocks);
        Self { blocks, heights, outputs }
    }

    fn height(&self, block: &Block<Vec<u8>>) -> u32 {
        self.heights[&block.hash()]
    }

    /// All transactions but coinbases, each with the outputs it spends.
    fn spends(&self) -> impl Iterator<Item = (TxView<'_>, Vec<OutputView<'_>>)> {
        let spent = |tx: TxView<'_>| {
            let outputs = tx.inputs().map(|input| &self.outputs[&input.prevout]);
            outputs
                .map(|output| OutputView {
                    value: output.value,
                    script_pubkey: &output.script_pubkey,
                })
                .collect()
        };
        self.blocks.iter().flat_map(|block| block.txs().skip(1)).map(move |tx| (tx, spent(tx)))
    }
}

fn options(profile: Profile, txs: u32, forks: u32) -> Options {
    Options { blocks: 170, txs, pool: 400, profile, forks, seed: 7 }
}

fn digest(options: &Options) -> [u8; 32] {
    let mut hash = caesure_hash::Sha256::new();
    generate(options, &mut |block| {
        hash.update(block);
        Ok(())
    })
    .unwrap();
    hash.finish()
}

/// The number before an opcode, if the script has the opcode.
fn number_before(script: &[u8], opcode: u8) -> Option<i64> {
    let mut number = 0;
    for instruction in Instructions::new(script).flatten() {
        match instruction.opcode {
            code if code == opcode => return Some(number),
            small @ OP_1..=OP_16 => number = i64::from(small - OP_1 + 1),
            _ => number = decode_number(instruction.data, true, 5).unwrap_or(0),
        }
    }
    None
}

fn inner_name(script: &[u8]) -> &'static str {
    match number_before(script, OP_CHECKLOCKTIMEVERIFY) {
        Some(500_000_000..) => return "cltv time",
        Some(_) => return "cltv height",
        None => {}
    }
    match number_before(script, OP_CHECKSEQUENCEVERIFY) {
        Some(number) if number & 1 << 22 != 0 => return "csv time",
        Some(_) => return "csv height",
        None => {}
    }
    let has = |code| number_before(script, code).is_some();
    if has(OP_CHECKMULTISIG) || has(OP_CHECKSIGADD) { "multisig" } else { "checksig" }
}

/// The type of a spend, and the hash types of its signatures.
fn describe(tx: TxView<'_>, index: usize, spent: &[u8]) -> (String, Vec<u8>) {
    let pushes: Vec<&[u8]> = Instructions::new(tx.input(index).script_sig)
        .map(|instruction| instruction.unwrap().data)
        .collect();
    let witness: Vec<&[u8]> = tx.witness(index).collect();
    let is_taproot = spent.len() == 34 && spent[0] == OP_1;
    let signatures = if is_taproot {
        let items = witness.len().checked_sub(2).filter(|&items| 0 < items).unwrap_or(1);
        let hash_type = |item: &&[u8]| if item.len() == 64 { 0 } else { item[64] };
        witness[..items].iter().filter(|item| !item.is_empty()).map(hash_type).collect()
    } else {
        let items = pushes.iter().chain(&witness);
        let is_der = |item: &&&[u8]| item.first() == Some(&0x30);
        items.filter(is_der).map(|item| *item.last().unwrap()).collect()
    };
    let last = |items: &[&[u8]]| items.last().map_or(Vec::new(), |item| item.to_vec());
    let name = match (spent, last(&pushes).len(), &witness[..]) {
        ([33, ..], ..) => "p2pk".to_owned(),
        ([65, ..], ..) => "p2pk uncompressed".to_owned(),
        ([0x76, ..], 33, _) => "p2pkh".to_owned(),
        ([0x76, ..], ..) => "p2pkh uncompressed".to_owned(),
        ([0xa9, ..], _, []) => format!("p2sh {}", inner_name(&last(&pushes))),
        ([0xa9, ..], 22, _) => "p2sh-p2wpkh".to_owned(),
        ([0xa9, ..], _, witness) => format!("p2sh-p2wsh {}", inner_name(&last(witness))),
        ([0, 20, ..], ..) => "p2wpkh".to_owned(),
        ([0, 32, ..], _, witness) => format!("p2wsh {}", inner_name(&last(witness))),
        ([_, 32, ..], _, [_]) => "taproot key".to_owned(),
        ([_, 32, ..], _, [.., script, _]) => format!("taproot {}", inner_name(script)),
        ([_, 2, ..], ..) => "anchor".to_owned(),
        _ => inner_name(spent).to_owned(),
    };
    (name, signatures)
}

#[test]
fn the_same_options_give_the_same_bytes_everywhere_and_others_do_not() {
    let first = options(Profile::Mixed, 300, 2);
    let second = Options { seed: 8, ..first.clone() };
    assert_eq!(digest(&first), digest(&first));
    assert_eq!(digest(&first)[..4], [74, 89, 228, 232], "other chains than they were");
    assert_ne!(digest(&first), digest(&second));
}

#[test]
fn every_spend_type_and_hash_type_is_there_and_each_input_verifies() {
    let chain = Chain::new(&options(Profile::Mixed, 1500, 4));
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut ecdsa_types = BTreeSet::new();
    let mut taproot_types = BTreeSet::new();
    for (tx, spent) in chain.spends() {
        let context = TxContext::new(tx, &spent);
        for (index, output) in spent.iter().enumerate() {
            assert_eq!(context.verify_input(index, all_flags()), Ok(()), "{} {index}", tx.txid());
            let (name, types) = describe(tx, index, output.script_pubkey);
            let is_taproot = name.starts_with("taproot");
            *names.entry(name).or_default() += 1;
            if is_taproot { taproot_types.extend(types) } else { ecdsa_types.extend(types) }
        }
    }
    let expected = "anchor, multisig, p2pk, p2pk uncompressed, p2pkh, p2pkh uncompressed, \
        p2sh cltv height, p2sh cltv time, p2sh csv height, p2sh csv time, p2sh multisig, \
        p2sh-p2wpkh, p2sh-p2wsh cltv height, p2sh-p2wsh cltv time, p2sh-p2wsh csv height, \
        p2sh-p2wsh csv time, p2sh-p2wsh multisig, p2wpkh, p2wsh cltv height, p2wsh cltv time, \
        p2wsh csv height, p2wsh csv time, p2wsh multisig, taproot checksig, taproot csv height, \
        taproot key, taproot multisig";
    assert_eq!(names.keys().map(String::as_str).collect::<Vec<_>>().join(", "), expected);
    assert!(names.values().all(|&count| 10 <= count), "{names:?}");
    assert_eq!(Vec::from_iter(ecdsa_types), [1, 2, 3, 0x81, 0x82, 0x83]);
    assert_eq!(Vec::from_iter(taproot_types), [0, 1, 2, 3, 0x81, 0x82, 0x83]);
}

fn all_flags() -> Flags {
    let names = "P2SH,STRICTENC,DERSIG,LOW_S,NULLDUMMY,MINIMALDATA,CLEANSTACK,NULLFAIL,WITNESS,\
        CHECKLOCKTIMEVERIFY,CHECKSEQUENCEVERIFY,MINIMALIF,WITNESS_PUBKEYTYPE,CONST_SCRIPTCODE,TAPROOT";
    Flags::from_names(names).unwrap()
}

#[test]
fn forks_win_and_lose_and_move_and_respend() {
    let options = options(Profile::Mixed, 1000, 6);
    let mut best = (0, BlockHash::ZERO);
    let mut wins = 0;
    let mut parents = BTreeSet::new();
    let mut summary_tips = BTreeSet::new();
    let chain = Chain::new(&options);
    for block in &chain.blocks {
        let height = chain.height(block);
        parents.insert(block.header().prev_block);
        if best.1 == BlockHash::ZERO || best.0 < height {
            wins += usize::from(block.header().prev_block != best.1);
            best = (height, block.hash());
        }
    }
    let summary = generate(&options, &mut |_| Ok(())).unwrap();
    summary_tips.extend(&summary.lost_tips);
    summary_tips.insert(&summary.tip);
    assert_eq!(best, (170, summary.tip));
    assert_eq!(wins, 3);
    let leaves = chain.heights.keys().filter(|hash| !parents.contains(*hash));
    assert_eq!(leaves.collect::<BTreeSet<_>>(), summary_tips);
    let mut tx_heights: BTreeMap<Txid, BTreeSet<u32>> = BTreeMap::new();
    let mut spenders: BTreeMap<OutPoint, BTreeSet<Txid>> = BTreeMap::new();
    for block in &chain.blocks {
        for tx in block.txs().skip(1) {
            tx_heights.entry(tx.txid()).or_default().insert(chain.height(block));
            for input in tx.inputs() {
                spenders.entry(input.prevout).or_default().insert(tx.txid());
            }
        }
    }
    assert!(tx_heights.values().any(|heights| heights.len() == 2), "a transaction at two heights");
    assert!(spenders.values().any(|txids| txids.len() == 2), "a coin spent in two ways");
}

#[test]
fn coins_of_all_ages_are_spent() {
    let chain = Chain::new(&options(Profile::Mixed, 1000, 0));
    let mut made = BTreeMap::new();
    let mut ages = BTreeSet::new();
    for block in &chain.blocks {
        let height = chain.height(block);
        for tx in block.txs() {
            ages.extend(
                tx.inputs().filter_map(|input| made.get(&input.prevout.txid)).map(|at| height - at),
            );
            made.insert(tx.txid(), height);
        }
    }
    assert!((0..40).all(|age| ages.contains(&age)), "{ages:?}");
    assert!(ages.contains(&100) && ages.last() <= Some(&170));
}

#[test]
fn options_that_cannot_be_met_are_refused() {
    let refused = |blocks, txs, forks| {
        let options = Options { blocks, txs, forks, ..Options::default() };
        match generate(&options, &mut |_| Ok(())) {
            Err(Error::TooFewBlocks { needed, .. }) => Some(needed),
            _ => None,
        }
    };
    assert_eq!(refused(100, 1, 0), Some(101));
    assert_eq!(refused(101, 1, 0), None);
    assert_eq!(refused(0, 0, 0), None);
    assert_eq!(refused(111, 0, 2), Some(112));
    assert_eq!(refused(112, 0, 2), None);
    assert_eq!(refused(5, 5, u32::MAX), Some(u32::MAX));
    let error = generate(&Options::default(), &mut |_| Err(std::io::ErrorKind::StorageFull.into()));
    assert!(matches!(error, Err(Error::Io(_))));
}

#[test]
fn a_block_made_by_hand_commits_to_its_transactions() {
    let prev = BlockHash([1; 32]);
    let outputs = vec![TxOut { value: 5, script_pubkey: vec![OP_1] }];
    let plain = mine_block(prev, 1_600_000_000, coinbase(17, 0, outputs.clone()), &[]);
    let plain = Block::parse(plain).unwrap();
    assert_eq!(plain.header().merkle_root.0, plain.tx(0).txid().0);
    assert_eq!((plain.header().prev_block, plain.header().bits), (prev, BITS));
    assert_eq!(plain.tx(0).output_count(), 1);
    assert_eq!(plain.tx(0).input(0).script_sig, [1, 17, 4, 0, 0, 0, 0]);

    let mut spend = coinbase(1, 0, outputs.clone());
    spend.inputs[0].witness = vec![vec![7]];
    let block = mine_block(prev, 1_600_000_000, coinbase(17, 0, outputs), &[spend.encode()]);
    let block = Block::parse(block).unwrap();
    let wtxid = Tx::parse(spend.encode()).unwrap().view().wtxid();
    let root = sha256d([[0; 32], wtxid.0].as_flattened());
    let commitment = sha256d([root, [0; 32]].as_flattened());
    assert_eq!(block.tx(0).output(1).script_pubkey[..6], [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    assert_eq!(block.tx(0).output(1).script_pubkey[6..], commitment);
    assert_eq!(block.tx(0).witness(0).next(), Some(&[0; 32][..]));

    let mut header = Header { nonce: 0, ..*block.header() };
    solve(&mut header);
    assert_eq!(header, *block.header());
}
