//! The generator's chains, and its catalogue of faulty blocks, judged by Core and by us.
#![allow(clippy::print_stdout, reason = "each test tells how many blocks it compared")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../../../node/tests/support/faults/mod.rs"]
mod faults;

use bitcoinkernel::notifications::types::BlockValidationResult;
use caesure_consensus::{Network, Params, Reject, RejectClass, check_block};
use caesure_generate::{Options, Profile, generate};
use caesure_kernel_oracle::{Core, compare};
use caesure_wire::Block;
use faults::catalogue;

use common::Chain;

/// Judges a block by our rules, and remembers what must be remembered.
fn ours(chain: &mut Chain, bytes: &[u8]) -> Option<Reject> {
    let block = Block::parse(bytes).unwrap();
    // A whole block goes through the checks that need no context before its header is looked up.
    let result = check_block(&block, &chain.params).and_then(|_| {
        let totals = chain.judge(&block);
        totals.map(drop)
    });
    let reject = result.err()?;
    let is_lasting = reject.class() == RejectClass::Consensus;
    if let Some(id) = chain.tree.find(&block.hash()).filter(|_| is_lasting) {
        chain.tree.mark_invalid(id);
    }
    Some(reject)
}

fn is_race(name: &str, core: Option<&(BlockValidationResult, String)>) -> bool {
    // Which of two script faults is named depends on which thread is first.
    let class = core.map(|(class, _)| *class);
    name.starts_with("two scripts") && class == Some(BlockValidationResult::Consensus)
}

#[test]
fn generated_chains_and_faulty_blocks_are_judged_as_by_core() {
    let now = u32::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let catalogue = catalogue(now);
    let mut wrong = Vec::new();
    {
        let core = Core::new(2);
        let mut chain = Chain::new(Params::new(Network::Regtest));
        chain.now = now;
        for (height, block) in catalogue.chain.iter().enumerate().skip(1) {
            compare(core.judge(block).as_ref(), ours(&mut chain, block))
                .unwrap_or_else(|text| panic!("block {height}: {text}"));
        }
        for fault in &catalogue.faults {
            for block in &fault.before {
                compare(core.judge(block).as_ref(), ours(&mut chain, block)).unwrap();
            }
            let reject = ours(&mut chain, &fault.block);
            if reject != Some(fault.reject) {
                wrong.push(format!("{}: {} expected, we: {reject:?}", fault.name, fault.reject));
            }
            let theirs = core.judge(&fault.block);
            if let Err(text) = compare(theirs.as_ref(), reject)
                && !is_race(&fault.name, theirs.as_ref())
            {
                wrong.push(format!("{}: {text}", fault.name));
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
        println!("{} faulty blocks are judged as by Core", catalogue.faults.len());
    }
    let mut count = 0;
    for (profile, txs) in
        [(Profile::Mixed, 900), (Profile::Utxo, 60), (Profile::Sig, 400), (Profile::Legacy, 60)]
    {
        let core = Core::new(2);
        let mut chain = Chain::new(Params::new(Network::Regtest));
        chain.now = now;
        let genesis = chain.tree.hash(chain.tip);
        let options = Options { blocks: 160, txs, pool: 400, profile, forks: 0, seed: 11 };
        let summary = generate(&options, &mut |block| {
            let is_genesis = Block::parse(block).unwrap().hash() == genesis;
            if !is_genesis {
                compare(core.judge(block).as_ref(), ours(&mut chain, block)).unwrap();
                count += 1;
            }
            Ok(())
        });
        assert_eq!(summary.unwrap().height, chain.height(), "{profile:?}");
    }
    println!("{count} blocks of generated chains are valid for both");
}
