#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod data;

use std::collections::BTreeMap;
use std::fmt::Debug;

use caesure_consensus::{
    BlockContext, BlockTotals, COIN, Coin, HeaderId, HeaderTree, Network, Params, Reject,
    RejectClass, check_block, check_block_context, check_header, connect_block, verify_tx_scripts,
};
use caesure_hash::{merkle_root, sha256d};
use caesure_script::{is_unspendable, push_int};
use caesure_wire::{
    Block, Header, MerkleRoot, OutPoint, Transaction, Tx, TxIn, TxOut, Txid, encode_block,
};

/// A clock far after all blocks that the tests make.
pub(crate) const NOW: u32 = 1_400_000_000;

pub(crate) const OP_TRUE: u8 = 0x51;

/// Asserts that a check refused, with which variant, Core's text and Core's result class.
#[track_caller]
pub(crate) fn refused<T: Debug>(
    result: Result<T, Reject>,
    reject: Reject,
    text: &str,
    class: RejectClass,
) {
    assert_eq!(result.map_err(|reject| reject.to_string()).unwrap_err(), text);
    assert_eq!(reject.to_string(), text);
    assert!(text.starts_with(reject.reason()));
    assert_eq!(reject.class(), class);
}

/// As [`refused`], of the class that most have.
#[track_caller]
pub(crate) fn broken<T: Debug>(result: Result<T, Reject>, reject: Reject, text: &str) {
    refused(result, reject, text, RejectClass::Consensus);
}

/// A block in the making.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) txs: Vec<Transaction>,
}

impl Draft {
    /// Sets the merkle root and finds a nonce.
    pub(crate) fn seal(mut self, params: &Params) -> Block<Vec<u8>> {
        let leaves = self.txs.iter().map(|tx| tx.txid().0).collect();
        self.header.merkle_root = MerkleRoot(merkle_root(leaves).0);
        self.mine(params)
    }

    /// Finds a nonce for the header as it is.
    pub(crate) fn mine(mut self, params: &Params) -> Block<Vec<u8>> {
        mine(&mut self.header, params);
        let txs: Vec<Vec<u8>> = self.txs.iter().map(Transaction::encode).collect();
        Block::parse(encode_block(&self.header, &txs)).unwrap()
    }

    /// Appends the witness commitment to the coinbase, and its nonce.
    pub(crate) fn commit(&mut self) {
        self.txs[0].inputs[0].witness = vec![vec![7; 32]];
        let script_pubkey = commitment(&self.txs);
        self.txs[0].outputs.push(TxOut { value: 0, script_pubkey });
    }
}

pub(crate) fn commitment(txs: &[Transaction]) -> Vec<u8> {
    let ids = txs.iter().enumerate().map(|(i, tx)| match i {
        0 => [0; 32],
        _ => Tx::parse(tx.encode()).unwrap().view().wtxid().0,
    });
    let root = merkle_root(ids.collect()).0;
    let hash = sha256d([root, [7; 32]].as_flattened());
    [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &hash].concat()
}

pub(crate) fn mine(header: &mut Header, params: &Params) {
    while check_header(header, params).is_err() {
        header.nonce += 1;
    }
}

pub(crate) fn tx(prevouts: &[OutPoint], values: &[i64]) -> Transaction {
    let input =
        |prevout: &OutPoint| TxIn { prevout: *prevout, sequence: u32::MAX, ..TxIn::default() };
    let output = |value: &i64| TxOut { value: *value, script_pubkey: vec![OP_TRUE] };
    Transaction {
        version: 2,
        inputs: prevouts.iter().map(input).collect(),
        outputs: values.iter().map(output).collect(),
        lock_time: 0,
    }
}

pub(crate) fn coinbase(height: u32, value: i64) -> Transaction {
    let mut coinbase = tx(&[OutPoint::NULL], &[value]);
    push_int(&mut coinbase.inputs[0].script_sig, height.into());
    coinbase.inputs[0].script_sig.push(0);
    coinbase
}

pub(crate) fn outpoint(n: u8) -> OutPoint {
    OutPoint { txid: Txid([n; 32]), vout: 0 }
}

pub(crate) fn coin(value: i64, height: u32) -> Coin {
    Coin { value, height, is_coinbase: false, script_pubkey: [OP_TRUE][..].into() }
}

/// A chain of blocks and its coins, judged by all rules in Core's order.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) params: Params,
    pub(crate) tree: HeaderTree,
    pub(crate) tip: HeaderId,
    pub(crate) coins: BTreeMap<OutPoint, Coin>,
    pub(crate) now: u32,
}

impl Chain {
    pub(crate) fn new(params: Params) -> Self {
        let tree = HeaderTree::new(&params);
        Self { params, tree, tip: HeaderTree::GENESIS, coins: BTreeMap::new(), now: NOW }
    }

    /// A regtest chain of `height` blocks, each with 50 bitcoins or less that anyone may spend.
    pub(crate) fn regtest(height: u32) -> Self {
        let mut chain = Self::new(Params::new(Network::Regtest));
        for _ in 0..height {
            let block = chain.draft(vec![]).seal(&chain.params);
            chain.judge(&block).unwrap();
        }
        chain
    }

    pub(crate) fn height(&self) -> u32 {
        self.tree.height(self.tip)
    }

    /// A header on the tip.
    pub(crate) fn header(&self) -> Header {
        let tip = self.tree.header(self.tip);
        Header {
            version: 4,
            prev_block: tip.hash(),
            merkle_root: MerkleRoot::default(),
            time: tip.time + 600,
            bits: self.tree.required_bits(self.tip, tip.time + 600),
            nonce: 0,
        }
    }

    /// A block on the tip with a coinbase that claims one bitcoin, and transactions.
    pub(crate) fn draft(&self, txs: Vec<Transaction>) -> Draft {
        let coinbase = coinbase(self.height() + 1, COIN);
        Draft { header: self.header(), txs: [vec![coinbase], txs].concat() }
    }

    /// The output of the coinbase at a height.
    pub(crate) fn coinbase_at(&self, height: u32) -> OutPoint {
        let is_it = |coin: &Coin| coin.is_coinbase && coin.height == height;
        *self.coins.iter().find(|(_, coin)| is_it(coin)).unwrap().0
    }

    pub(crate) fn judge_draft(&self, draft: Draft) -> Result<BlockTotals, Reject> {
        self.clone().judge(&draft.seal(&self.params))
    }

    /// Judges a block and, when it is valid, moves the tip to it.
    pub(crate) fn judge<B: AsRef<[u8]>>(
        &mut self,
        block: &Block<B>,
    ) -> Result<BlockTotals, Reject> {
        let id = self.tree.accept(block.header(), self.now)?;
        let txids = check_block(block, &self.params)?;
        let context = BlockContext::new(&self.params, &self.tree, id);
        assert_eq!(check_block_context(block, &context, &txids)?, block.wtxids());
        let mut coins = self.coins.clone();
        let mut prevouts = Vec::new();
        for (tx, txid) in block.txs().zip(&txids) {
            if !tx.is_coinbase() {
                prevouts.extend(tx.inputs().map(|input| coins.remove(&input.prevout)));
            }
            for (vout, output) in (0..).zip(tx.outputs()) {
                let coin = Coin {
                    value: output.value,
                    height: context.height,
                    is_coinbase: tx.is_coinbase(),
                    script_pubkey: output.script_pubkey.into(),
                };
                if !is_unspendable(output.script_pubkey) && context.parent.is_some() {
                    coins.insert(OutPoint { txid: *txid, vout }, coin);
                }
            }
        }
        let exists = |(tx, txid): (caesure_wire::TxView<'_>, &Txid)| {
            let count = u32::try_from(tx.output_count()).unwrap();
            (0..count).any(|vout| self.coins.contains_key(&OutPoint { txid: *txid, vout }))
        };
        let overwrites = block.txs().zip(&txids).any(exists);
        let totals =
            connect_block(block, &context, &self.params, &self.tree, &prevouts, overwrites)?;
        let mut rest = &prevouts[..];
        for tx in block.txs().skip(1) {
            let (spent, next) = rest.split_at(tx.input_count());
            rest = next;
            verify_tx_scripts(tx, spent, context.flags)
                .map_err(|(_, error)| Reject::BlockScriptVerifyFlagFailed(error))?;
        }
        self.coins = coins;
        self.tip = id;
        Ok(totals)
    }
}
