//! Blocks that break rules: one for each reason for which a regtest block can be refused.
//!
//! [`catalogue`] makes a short valid chain, and on its tip blocks each of which would be valid but
//! for one fault, or two where the order in which they are found matters. They test that a node
//! refuses what it must, and for the right reason.
//!
//! Five reasons are not here, since no regtest block can have them: a transaction that is too large
//! (`bad-txns-oversize`) makes its block so; there is too little money for `bad-txns-inputvalues-
//! outofrange` and `bad-txns-accumulated-fee-outofrange`; `bad-signet-blksig` and
//! `time-timewarp-attack` belong to other networks.

mod blocks;
mod scripts;

use caesure_consensus::{Network, Params, Reject, WITNESS_SCALE_FACTOR, subsidy};
use caesure_hash::{merkle_root, sha256d};
use caesure_script::opcode::{OP_1, OP_CHECKSIG, OP_RETURN};
use caesure_wire::{
    BlockHash, Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, Txid, encode_block,
};

use caesure_generate::{BITS, coinbase, solve};
use scripts::{Case, Signer, cases};

/// The height of the faulty blocks.
const HEIGHT: u32 = 113;
/// The first coinbase that they cannot spend yet.
const IMMATURE: u32 = 14;
/// The block that makes the coins with scripts, and the one that spends the odd but valid ones.
const FAN_OUT: u32 = 101;
const ODDITIES: u32 = 102;
/// The block that has as many signature operations as there may be.
const MANY_SIGOPS: u32 = 103;
/// The value of those coins, in satoshi.
const COIN_VALUE: i64 = 10_000_000;
/// The time of the first block, 2020-01-01, and the seconds between two.
const START_TIME: u32 = 1_577_836_800;
const SPACING: u32 = 600;

/// A valid chain, and faulty blocks on its tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Catalogue {
    /// The blocks of the chain, genesis first. Scripts that are odd but valid are in it, and a block
    /// with as many signature operations as there may be.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The faulty blocks.
    pub(crate) faults: Vec<Fault>,
}

/// A block that must be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong with it. No two have the same name.
    pub(crate) name: String,
    /// Blocks to be given first, that make it faulty: they are refused themselves.
    pub(crate) before: Vec<Vec<u8>>,
    /// The block, whole.
    pub(crate) block: Vec<u8>,
    /// Why it is refused, where the scripts come after all other rules.
    pub(crate) reject: Reject,
    /// Why it is refused where the scripts of each transaction run before the next transaction is
    /// looked at, as Core does it with `-par=1`.
    pub(crate) in_order: Reject,
}

/// Makes the catalogue. It is the same for the same `now`, the present time in seconds since 1970,
/// which one block is over two hours ahead of.
#[must_use]
pub(crate) fn catalogue(now: u32) -> Catalogue {
    let mut maker = Maker::new();
    maker.build_chain();
    maker.add_header_faults(now);
    maker.add_body_faults();
    maker.add_transaction_faults();
    maker.add_witness_faults();
    maker.add_size_faults();
    maker.add_coin_faults();
    maker.add_script_faults();
    maker.add_pairs();
    maker.catalogue
}

struct Maker {
    params: Params,
    catalogue: Catalogue,
    tip: BlockHash,
    /// The ids of the coinbases, by height.
    coinbases: Vec<Txid>,
    fan_out: Transaction,
    cases: Vec<Case>,
}

/// A block in the making. The coinbase is the first transaction.
#[derive(Clone)]
struct Draft {
    header: Header,
    txs: Vec<Transaction>,
    is_sealed: bool,
}

impl Maker {
    fn new() -> Self {
        let params = Params::new(Network::Regtest);
        let genesis = params.genesis_block();
        let header =
            Header::from_bytes(genesis.first_chunk().expect("a block begins with 80 bytes"));
        Self {
            params,
            catalogue: Catalogue { chain: vec![genesis], faults: Vec::new() },
            tip: header.hash(),
            coinbases: vec![Txid(header.merkle_root.0)],
            fan_out: Transaction::default(),
            cases: cases(),
        }
    }

    fn build_chain(&mut self) {
        for height in 1..HEIGHT {
            let mut draft = self.draft();
            if height == FAN_OUT {
                let output = |case: &Case| TxOut {
                    value: COIN_VALUE,
                    script_pubkey: case.script_pubkey.clone(),
                };
                self.fan_out = self.spend_coinbase(1);
                self.fan_out.outputs = self.cases.iter().map(output).collect();
                draft.txs.push(self.fan_out.clone());
            }
            if height == ODDITIES {
                let valid = self.cases.iter().filter(|case| case.name.starts_with("valid"));
                draft.txs.extend(valid.map(|case| self.spend(&case.name)));
            }
            if height == MANY_SIGOPS {
                draft.add_sigops(20_000);
            }
            draft.seal();
            self.coinbases.push(draft.txs[0].txid());
            self.tip = draft.header.hash();
            self.catalogue.chain.push(draft.encode());
        }
    }

    /// An empty valid block on the tip.
    fn draft(&self) -> Draft {
        let height = u32::try_from(self.coinbases.len()).expect("the chain is short");
        self.draft_on(self.tip, height)
    }

    fn draft_on(&self, prev_block: BlockHash, height: u32) -> Draft {
        let header = Header {
            version: 0x2000_0000,
            prev_block,
            merkle_root: MerkleRoot::ZERO,
            time: time(height),
            bits: BITS,
            nonce: 0,
        };
        let value = subsidy(height, &self.params);
        let coinbase = coinbase(height, 0, vec![anyone_can_spend(value)]);
        Draft { header, txs: vec![coinbase], is_sealed: false }
    }

    /// Adds the block that `edit` makes of a valid one.
    fn add(&mut self, name: &str, reject: Reject, edit: impl FnOnce(&Self, &mut Draft)) {
        self.add_pair(name, reject, reject, edit);
    }

    fn add_pair(
        &mut self,
        name: &str,
        reject: Reject,
        in_order: Reject,
        edit: impl FnOnce(&Self, &mut Draft),
    ) {
        let mut draft = self.draft();
        // No two blocks have the same hash, so that what is remembered of one says nothing of others.
        let tag = u16::try_from(self.catalogue.faults.len()).expect("there are few faults");
        draft.coinbase().inputs[0].script_sig.extend(tag.to_le_bytes());
        edit(self, &mut draft);
        if !draft.is_sealed {
            draft.seal();
        }
        let (name, block, before) = (name.to_owned(), draft.encode(), Vec::new());
        self.catalogue.faults.push(Fault { name, before, block, reject, in_order });
    }

    /// A valid transaction that spends the coinbase of a height.
    fn spend_coinbase(&self, height: u32) -> Transaction {
        let txid = self.coinbases[usize::try_from(height).expect("the chain is short")];
        spend(OutPoint { txid, vout: 0 }, subsidy(height, &self.params))
    }

    /// The transaction that spends the coin of a case.
    fn spend(&self, name: &str) -> Transaction {
        let index = self.cases.iter().position(|case| case.name == name);
        let index = index.unwrap_or_else(|| panic!("there is a case of the name {name}"));
        let vout = u32::try_from(index).expect("there are few cases");
        let case = &self.cases[index];
        let mut tx = spend(OutPoint { txid: self.fan_out.txid(), vout }, COIN_VALUE);
        (case.edit)(&mut tx);
        let signer =
            Signer { tx: tx.clone(), value: COIN_VALUE, script_pubkey: &case.script_pubkey };
        (tx.inputs[0].script_sig, tx.inputs[0].witness) = (case.unlock)(&signer);
        tx
    }
}

impl Draft {
    fn coinbase(&mut self) -> &mut Transaction {
        &mut self.txs[0]
    }

    /// Puts signature operations into an output of the coinbase.
    fn add_sigops(&mut self, count: usize) {
        let script_pubkey = vec![OP_CHECKSIG; count];
        self.coinbase().outputs.push(TxOut { value: 0, script_pubkey });
    }

    /// Commits to the witnesses, if there are any, and makes the header fit.
    fn seal(&mut self) {
        if self.txs.iter().any(has_witness) {
            self.commit();
        }
        self.seal_as_it_is();
    }

    /// Makes the header fit.
    fn seal_as_it_is(&mut self) {
        let txids = self.txs.iter().map(|tx| tx.txid().0).collect();
        self.header.merkle_root = MerkleRoot(merkle_root(txids).0);
        solve(&mut self.header);
        self.is_sealed = true;
    }

    /// Spec: BIP-0141.
    fn commit(&mut self) {
        let wtxids = self.txs.iter().skip(1).map(|tx| sha256d(&tx.encode()));
        let (root, _) = merkle_root([[0; 32]].into_iter().chain(wtxids).collect());
        let mut script_pubkey = vec![OP_RETURN, 36, 0xaa, 0x21, 0xa9, 0xed];
        script_pubkey.extend(sha256d([root, [0; 32]].as_flattened()));
        self.coinbase().outputs.push(TxOut { value: 0, script_pubkey });
        self.coinbase().inputs[0].witness = vec![vec![0; 32]];
    }

    fn encode(&self) -> Vec<u8> {
        let txs: Vec<Vec<u8>> = self.txs.iter().map(Transaction::encode).collect();
        encode_block(&self.header, &txs)
    }

    /// The block's weight once it is sealed, if a commitment needs no more room.
    fn weight(&self) -> usize {
        let witness: usize =
            self.txs.iter().map(|tx| tx.encode().len() - tx.encode_stripped().len()).sum();
        WITNESS_SCALE_FACTOR * (self.encode().len() - witness) + witness
    }
}

fn has_witness(tx: &Transaction) -> bool {
    tx.inputs.iter().any(|input| !input.witness.is_empty())
}

fn time(height: u32) -> u32 {
    START_TIME + SPACING * height
}

fn anyone_can_spend(value: i64) -> TxOut {
    TxOut { value, script_pubkey: vec![OP_1] }
}

/// A transaction with one input, without scripts, and one output that leaves a small fee.
fn spend(prevout: OutPoint, value: i64) -> Transaction {
    let input = TxIn { prevout, sequence: u32::MAX, ..TxIn::default() };
    let outputs = vec![anyone_can_spend(value - 1_000)];
    Transaction { version: 2, inputs: vec![input], outputs, lock_time: 0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use caesure_script::ScriptError;

    use super::*;

    #[test]
    fn every_fault_has_a_name_and_a_block_of_its_own() {
        let faults = catalogue(1_800_000_000).faults;
        let names: BTreeSet<_> = faults.iter().map(|fault| &fault.name).collect();
        let blocks: BTreeSet<_> =
            faults.iter().map(|fault| &fault.block[..80.min(fault.block.len())]).collect();
        assert_eq!((names.len(), blocks.len()), (faults.len(), faults.len()));
    }

    #[test]
    fn every_script_error_that_consensus_knows_has_a_fault() {
        use ScriptError::*;
        let policy = [
            SigHashtype,
            Minimaldata,
            SigHighS,
            Pubkeytype,
            Minimalif,
            SigNullfail,
            DiscourageUpgradableNops,
            DiscourageUpgradableWitnessProgram,
            DiscourageUpgradableTaprootVersion,
            DiscourageOpSuccess,
            DiscourageUpgradablePubkeytype,
            WitnessPubkeytype,
            OpCodeseparator,
            SigFindanddelete,
        ];
        let faults = catalogue(1_800_000_000).faults;
        for error in ScriptError::ALL {
            let reject = Reject::BlockScriptVerifyFlagFailed(*error);
            let has_fault = faults.iter().any(|fault| fault.reject == reject);
            assert_ne!(has_fault, policy.contains(error), "{}", error.name());
        }
    }

    #[test]
    fn every_reason_that_a_regtest_block_can_be_refused_for_has_a_fault() {
        let reasons = [
            "duplicate-invalid",
            "prev-blk-not-found",
            "bad-prevblk",
            "high-hash",
            "bad-diffbits",
            "time-too-old",
            "time-too-new",
            "bad-version",
            "bad-txnmrklroot",
            "bad-txns-duplicate",
            "bad-blk-length",
            "bad-cb-missing",
            "bad-cb-multiple",
            "bad-blk-sigops",
            "bad-txns-vin-empty",
            "bad-txns-vout-empty",
            "bad-txns-vout-negative",
            "bad-txns-vout-toolarge",
            "bad-txns-txouttotal-toolarge",
            "bad-txns-inputs-duplicate",
            "bad-cb-length",
            "bad-txns-prevout-null",
            "bad-txns-nonfinal",
            "bad-cb-height",
            "bad-witness-nonce-size",
            "bad-witness-merkle-match",
            "unexpected-witness",
            "bad-blk-weight",
            "bad-txns-BIP30",
            "bad-txns-inputs-missingorspent",
            "bad-txns-premature-spend-of-coinbase",
            "bad-txns-in-belowout",
            "bad-cb-amount",
            "block-script-verify-flag-failed",
        ];
        let faults = catalogue(1_800_000_000).faults;
        let found: BTreeSet<_> = faults.iter().map(|fault| fault.reject.reason()).collect();
        assert_eq!(found, BTreeSet::from(reasons));
    }
}
