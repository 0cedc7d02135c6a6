//! Blocks for a ledger alone: no scripts that run, no merkle roots, no transaction that hashes to its
//! id, but as many coins as memory for one bit each allows.
//!
//! Coins are numbered. Three transactions make seven of them (2, 2 and 3), so that a number gives the
//! transaction's number and the output's index, and the transaction's number its id, its values and
//! its scripts (28 bytes on average): nothing of a coin is kept but whether it is unspent.

use caesure_consensus::{Target, Work};
use caesure_generate::BITS;
use caesure_ledger::{BlockInfo, Ledger, Sums};
use caesure_script::opcode::{OP_RETURN, OP_TRUE};
use caesure_wire::{
    Block, BlockHash, Header, MerkleRoot, OutPoint, Txid, encode_block, push_compact_size,
};

/// Coins that an ordinary block makes and spends: 13,000 operations.
pub const MADE: u32 = 7_000;
/// See [`MADE`].
pub const SPENT: u32 = 6_000;
/// Outputs of a block that fills the set; three sevenths of them are spent in the block itself.
const FILLING: u32 = 20_006;
const DAY: u64 = 144;
const MONTH: u64 = 30 * DAY;

/// How old the coins are that a block spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ages {
    /// 80 % under a day, 15 % under a month, the rest any.
    Natural,
    /// Any coin is as likely as any other: the worst case.
    Uniform,
}

/// A block, and what its consumer would have worked out.
#[derive(Debug)]
pub struct Built {
    /// The block. Its header is not solved.
    pub block: Block<Vec<u8>>,
    /// The ids that the driver says its transactions have.
    pub txids: Vec<Txid>,
    /// What a validator would say of it.
    pub sums: Sums,
}

impl Built {
    /// Puts the block into a ledger, in the three steps.
    ///
    /// # Panics
    /// When the ledger does not know a coin that the driver knows, or fails.
    pub fn connect(&self, ledger: &mut Ledger) {
        let resolved = ledger.resolve(&self.block, &self.txids, false);
        let resolved = resolved.expect("the log is readable").expect("a known parent");
        assert!(resolved.prevouts.iter().all(Option::is_some), "the ledger lost a coin");
        ledger.extend(&self.block, &self.txids, &resolved, self.sums).expect("the window has room");
        ledger.commit(&self.block.hash()).expect("the disk takes it");
    }
}

/// A branch of the driver's chain. A clone of it is a fork.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Its last block.
    pub tip: BlockHash,
    /// That block's height.
    pub height: u32,
    work: Work,
    /// The first coin of each block, and how many coins it made.
    blocks: Vec<(u32, u32)>,
    /// A bit for each coin: whether it is unspent.
    unspent: Vec<u64>,
    /// How many are.
    pub coins: u32,
}

impl Branch {
    /// A branch that stands on a block and knows none of its coins.
    #[must_use]
    pub const fn new(block: &BlockInfo) -> Self {
        Self {
            tip: block.hash,
            height: block.height,
            work: block.chain_work,
            blocks: Vec::new(),
            unspent: Vec::new(),
            coins: 0,
        }
    }

    fn is_unspent(&self, coin: u32) -> bool {
        self.unspent.get(coin as usize / 64).is_some_and(|word| word >> (coin % 64) & 1 == 1)
    }

    fn toggle(&mut self, coin: u32) {
        let word = coin as usize / 64;
        self.unspent.resize(self.unspent.len().max(word + 1), 0);
        self.unspent[word] ^= 1 << (coin % 64);
    }

    /// An unspent coin by the law of ages.
    fn pick(&self, rng: &mut Rng, ages: Ages) -> u32 {
        let all = self.blocks.len() as u64;
        let reach = match (ages, rng.below(100)) {
            (Ages::Natural, 0..80) => DAY.min(all),
            (Ages::Natural, 80..95) => MONTH.min(all),
            _ => all,
        };
        // A stretch of blocks can have few coins left; then any coin does.
        for reach in std::iter::repeat_n(reach, 200).chain(std::iter::repeat_n(all, 1_000_000)) {
            let (first, count) = self.blocks[index(all - 1 - rng.below(reach))];
            let coin = first + u32::try_from(rng.below(count.into())).expect("below a u32");
            if self.is_unspent(coin) {
                return coin;
            }
        }
        panic!("the branch has no coins left");
    }

    /// An outpoint that is unspent at the branch's tip, among those that its last `reach` blocks made.
    ///
    /// # Panics
    /// When there is none.
    pub fn outpoint(&self, rng: &mut Rng, reach: usize) -> OutPoint {
        let from = self.blocks.len().saturating_sub(reach);
        for _ in 0..1_000_000 {
            let (first, count) =
                self.blocks[from + index(rng.below((self.blocks.len() - from) as u64))];
            let coin = first + u32::try_from(rng.below(count.into())).expect("below a u32");
            if self.is_unspent(coin) {
                return outpoint(coin);
            }
        }
        panic!("the blocks have no coins left");
    }
}

/// Makes blocks. The same seed and the same calls give the same blocks.
#[derive(Debug)]
pub struct Driver {
    /// The numbers that are drawn.
    pub rng: Rng,
    /// How old the coins are that its blocks spend.
    pub ages: Ages,
    next_coin: u32,
    next_block: u32,
}

impl Driver {
    /// A driver that has made nothing.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { rng: Rng(seed), ages: Ages::Natural, next_coin: 0, next_block: 0 }
    }

    /// Makes a block that adds 11,433 coins and spends none of an earlier one: each transaction spends
    /// the first output of the one before.
    pub fn fill(&mut self, branch: &mut Branch) -> Built {
        let coinbase = OutPoint { txid: coinbase_txid(self.next_block), vout: 0 };
        let first = transaction(self.next_coin).0;
        let txs = FILLING / 7 * 3;
        let prevouts: Vec<OutPoint> = std::iter::once(coinbase)
            .chain((0..txs - 1).map(|tx| OutPoint { txid: txid(first + u64::from(tx)), vout: 0 }))
            .collect();
        let chained: Vec<u32> = (0..txs - 1).map(|tx| first_coin(first + u64::from(tx))).collect();
        let made = self.next_coin..self.next_coin + FILLING;
        let built = self.build(branch, OP_TRUE, &prevouts, 1);
        made.for_each(|coin| branch.toggle(coin));
        chained.iter().for_each(|&coin| branch.toggle(coin));
        branch.coins += FILLING - (txs - 1);
        built
    }

    /// Makes an ordinary block: 3,000 transactions of two inputs.
    ///
    /// # Panics
    /// When the branch has fewer coins than the block spends.
    pub fn block(&mut self, branch: &mut Branch) -> Built {
        let (made, mut spent_value) = (self.next_coin..self.next_coin + MADE, 0);
        let mut prevouts = Vec::new();
        for _ in 0..SPENT {
            let coin = branch.pick(&mut self.rng, self.ages);
            branch.toggle(coin);
            spent_value += value(coin);
            prevouts.push(outpoint(coin));
        }
        let mut built = self.build(branch, OP_RETURN, &prevouts, 2);
        made.for_each(|coin| branch.toggle(coin));
        branch.coins += MADE - SPENT;
        built.sums.subsidy -= spent_value;
        built
    }

    /// Makes a block without transactions.
    pub fn empty(&mut self, branch: &mut Branch) -> Built {
        self.build(branch, OP_RETURN, &[], 1)
    }

    /// Makes a block of transactions that spend `inputs` outputs each, and goes on to it. What it
    /// mints is the sum of its outputs.
    fn build(
        &mut self,
        branch: &mut Branch,
        lock: u8,
        prevouts: &[OutPoint],
        inputs: usize,
    ) -> Built {
        let first = self.next_coin;
        let mut txids = vec![coinbase_txid(self.next_block)];
        let null = OutPoint { txid: Txid::ZERO, vout: u32::MAX };
        let mut txs = vec![encode(&[null], &[(0, vec![lock])])];
        let mut minted = 0;
        for spends in prevouts.chunks(inputs) {
            let (number, _) = transaction(self.next_coin);
            txids.push(txid(number));
            let count = if number % 3 == 2 { 3 } else { 2 };
            let coins = self.next_coin..self.next_coin + count;
            minted += coins.clone().map(value).sum::<i64>();
            txs.push(encode(
                spends,
                &coins.map(|coin| (value(coin), script(coin))).collect::<Vec<_>>(),
            ));
            self.next_coin += count;
        }
        let header = Header {
            version: 4,
            prev_block: branch.tip,
            merkle_root: MerkleRoot::ZERO,
            time: self.next_block,
            bits: BITS,
            nonce: 0,
        };
        self.next_block += 1;
        let block = Block::parse(encode_block(&header, &txs)).expect("it is a block");
        branch.tip = block.hash();
        branch.height += 1;
        branch.work = branch.work + Target::from_compact(BITS).expect("a target").work();
        if first < self.next_coin {
            branch.blocks.push((first, self.next_coin - first));
        }
        Built { block, txids, sums: Sums { chain_work: branch.work, fees: 0, subsidy: minted } }
    }
}

/// A transaction without witness.
#[must_use]
pub fn encode(prevouts: &[OutPoint], outputs: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    push_compact_size(&mut bytes, prevouts.len());
    for OutPoint { txid, vout } in prevouts {
        bytes.extend_from_slice(&txid.0);
        bytes.extend_from_slice(&vout.to_le_bytes());
        bytes.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff]);
    }
    push_compact_size(&mut bytes, outputs.len());
    for (value, script) in outputs {
        bytes.extend_from_slice(&value.to_le_bytes());
        push_compact_size(&mut bytes, script.len());
        bytes.extend_from_slice(script);
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// The number of the transaction that makes a coin, and the output's index.
fn transaction(coin: u32) -> (u64, u32) {
    let (group, rest) = (u64::from(coin / 7), coin % 7);
    match rest {
        0..2 => (3 * group, rest),
        2..4 => (3 * group + 1, rest - 2),
        _ => (3 * group + 2, rest - 4),
    }
}

fn first_coin(tx: u64) -> u32 {
    u32::try_from(tx / 3 * 7 + tx % 3 * 2).expect("coins are counted in 32 bits")
}

/// The outpoint of a coin.
#[must_use]
pub fn outpoint(coin: u32) -> OutPoint {
    let (tx, vout) = transaction(coin);
    OutPoint { txid: txid(tx), vout }
}

fn txid(tx: u64) -> Txid {
    let mut rng = Rng(tx.wrapping_mul(0xd134_2543_de82_ef95));
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.next().to_le_bytes()));
    Txid(bytes)
}

fn coinbase_txid(block: u32) -> Txid {
    txid(1 << 63 | u64::from(block))
}

/// In satoshi; of any length when it is packed.
#[must_use]
pub fn value(coin: u32) -> i64 {
    546 + i64::from(coin) * 7_919 % 50_000_000
}

/// An output's script: 28 bytes on average, at most 34.
#[must_use]
pub fn script(coin: u32) -> Vec<u8> {
    let len = [22, 25, 34, 22, 34, 25, 34][coin as usize % 7];
    let start: &[u8] = match len {
        22 => &[0, 20],
        25 => &[0x76, 0xa9, 20],
        _ => &[0x51, 32],
    };
    let mut script = start.to_vec();
    script.extend(txid(u64::from(coin) | 1 << 62).0.iter().cycle().take(len - start.len()));
    if len == 25 {
        script[23..].copy_from_slice(&[0x88, 0xac]);
    }
    script
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not zero.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("64 bits")
}
