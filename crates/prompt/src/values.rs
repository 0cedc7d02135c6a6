use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use caesure_consensus::Coin;
use caesure_ledger::World;
use caesure_wire::{Block, BlockHash, OutPoint, Tx, TxView, Txid};
use rhai::{Dynamic, INT};

use crate::context::{Charge, Context, Res, fail, lock, told};

/// The hash of a block or a transaction, in internal order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) [u8; 32]);

impl Name {
    pub(crate) fn to_hex(self) -> String {
        BlockHash(self.0).to_string()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", BlockHash(self.0))
    }
}

/// Bytes: a script, a stack item, a serialization.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    pub(crate) bytes: Arc<[u8]>,
    _charge: Arc<Charge>,
}

/// A stored block, parsed.
#[derive(Clone)]
pub(crate) struct BlockValue(pub(crate) Arc<Body>);

pub(crate) struct Body {
    pub(crate) block: Block<Vec<u8>>,
    pub(crate) hash: BlockHash,
    pub(crate) height: u32,
    spent: OnceLock<(Option<Vec<Vec<Coin>>>, Charge)>,
    _charge: Charge,
}

/// A transaction: of a block, or by itself.
#[derive(Clone)]
pub(crate) enum TxValue {
    Of(BlockValue, usize),
    Own(Arc<(Tx<Vec<u8>>, Charge)>),
}

/// An input of a transaction.
#[derive(Clone)]
pub(crate) struct InputValue(pub(crate) TxValue, pub(crate) usize);

/// An output of a transaction.
#[derive(Clone)]
pub(crate) struct OutputValue(pub(crate) TxValue, pub(crate) usize);

/// Where an output is: the transaction and the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) OutPoint);

/// An unspent output, or one that was.
#[derive(Clone, Debug)]
pub(crate) struct CoinValue {
    pub(crate) place: OutPoint,
    pub(crate) coin: Arc<(Coin, Charge)>,
}

/// The set at a block.
#[derive(Clone)]
pub(crate) struct WorldValue(pub(crate) World);

/// The block database, as the original called it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Db;

/// What is at each height, and before each block, by an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    NumBlock,
    Prev,
}

/// Blocks of a branch, from one height to before another.
#[derive(Clone)]
pub(crate) struct Range {
    pub(crate) tip: BlockHash,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Hashes that were looked up together, and the height of the first.
    chunk: Arc<Mutex<(u32, Vec<BlockHash>)>>,
}

/// Several values that are made when they are looked at.
#[derive(Clone)]
pub(crate) struct List {
    pub(crate) context: Arc<Context>,
    pub(crate) items: Items,
}

#[derive(Clone)]
pub(crate) enum Items {
    Txs(BlockValue),
    Inputs(TxValue),
    Outputs(TxValue),
    Names(Arc<[Name]>),
    Coins(Arc<[CoinValue]>),
    Blocks(Range),
}

/// How many hashes are looked up together.
const CHUNK: u32 = 2016;

impl Context {
    /// Keeps bytes as a value.
    pub(crate) fn bytes(&self, bytes: impl Into<Arc<[u8]>>) -> Res<Bytes> {
        let bytes = bytes.into();
        let charge = Arc::new(self.charge(bytes.len())?);
        Ok(Bytes { bytes, _charge: charge })
    }

    pub(crate) fn coin(&self, place: OutPoint, coin: Coin) -> Res<CoinValue> {
        let charge = self.charge(size_of::<CoinValue>() + coin.script_pubkey.len())?;
        Ok(CoinValue { place, coin: Arc::new((coin, charge)) })
    }

    /// Reads a stored block as bytes.
    pub(crate) fn read(&self, hash: &BlockHash) -> Res<Vec<u8>> {
        match self.source.read_block(hash).map_err(told)? {
            Some(bytes) => Ok(bytes),
            None => {
                fail(format!("the body of block {hash} is not stored: not yet fetched, or pruned"))
            }
        }
    }

    /// Reads a stored block.
    pub(crate) fn block(&self, hash: BlockHash, height: u32) -> Res<BlockValue> {
        let bytes = self.read(&hash)?;
        // Where its parts begin is remembered in about a quarter of its size.
        let charge = self.charge(bytes.len() + bytes.len() / 4)?;
        self.work(1)?;
        let block = Block::parse(bytes).map_err(told)?;
        let (spent, _charge) = (OnceLock::new(), charge);
        Ok(BlockValue(Arc::new(Body { block, hash, height, spent, _charge })))
    }

    /// Reads a transaction by itself.
    pub(crate) fn tx(&self, bytes: Vec<u8>) -> Res<TxValue> {
        let charge = self.charge(bytes.len() * 2)?;
        let tx = Tx::parse(bytes).map_err(told)?;
        Ok(TxValue::Own(Arc::new((tx, charge))))
    }

    /// The outputs that a transaction spends: those of a block on the chain from what the ledger
    /// keeps, those of another from the world that the line reads.
    pub(crate) fn spent(&self, tx: &TxValue) -> Res<Vec<Option<Coin>>> {
        let outpoints: Vec<OutPoint> = tx.view().inputs().map(|input| input.prevout).collect();
        self.work(outpoints.len() as u64)?;
        let TxValue::Of(BlockValue(body), index) = tx else {
            return self.world().get_many(&outpoints).map_err(told);
        };
        if *index == 0 {
            return Ok(vec![None; outpoints.len()]);
        }
        if body.spent.get().is_none() {
            let spent = self.source.worlds().spent_lists(&body.block, body.height).map_err(told)?;
            let coins = spent.iter().flatten().flatten();
            let bytes = coins.map(|coin| size_of::<Coin>() + coin.script_pubkey.len()).sum();
            // Another may have been quicker.
            let _ = body.spent.set((spent, self.charge(bytes)?));
        }
        let spent = body.spent.get().and_then(|(spent, _)| spent.as_ref());
        match spent.and_then(|lists| lists.get(*index)) {
            Some(coins) => Ok(coins.iter().cloned().map(Some).collect()),
            None => fail(format!(
                "what block {} spent is not known: it was not connected here",
                body.hash
            )),
        }
    }
}

impl TxValue {
    pub(crate) fn view(&self) -> TxView<'_> {
        match self {
            Self::Of(block, index) => block.0.block.tx(*index),
            Self::Own(tx) => tx.0.view(),
        }
    }

    pub(crate) fn txid(&self) -> Txid {
        self.view().txid()
    }
}

impl Range {
    pub(crate) fn new(tip: BlockHash, from: u32, to: u32) -> Self {
        Self { tip, from, to: to.max(from), chunk: Arc::default() }
    }

    /// The hash of the block at a height of the range.
    pub(crate) fn hash(&self, context: &Context, height: u32) -> Res<BlockHash> {
        let mut chunk = lock(&self.chunk);
        let place = |chunk: &(u32, Vec<BlockHash>)| {
            let at = usize::try_from(height.checked_sub(chunk.0)?).ok()?;
            chunk.1.get(at).copied()
        };
        if let Some(hash) = place(&chunk) {
            return Ok(hash);
        }
        let (tip, end) = (self.tip, self.to.min(height.saturating_add(CHUNK)));
        let hashes = context.look(move |tree| {
            let mut at = tree.ancestor(tree.find(&tip)?, end.checked_sub(1)?);
            let mut hashes = Vec::new();
            while let Some(id) = at.filter(|id| height <= tree.height(*id)) {
                hashes.push(tree.hash(id));
                at = tree.parent(id);
            }
            hashes.reverse();
            Some(hashes)
        })?;
        *chunk = (height, hashes.unwrap_or_default());
        place(&chunk).ok_or_else(|| told(format!("there is no block at height {height}")))
    }
}

impl List {
    pub(crate) fn len(&self) -> usize {
        match &self.items {
            Items::Txs(block) => block.0.block.tx_count(),
            Items::Inputs(tx) => tx.view().input_count(),
            Items::Outputs(tx) => tx.view().output_count(),
            Items::Names(names) => names.len(),
            Items::Coins(coins) => coins.len(),
            Items::Blocks(range) => (range.to - range.from) as usize,
        }
    }

    pub(crate) fn item(&self, at: usize) -> Res<Dynamic> {
        Ok(match &self.items {
            Items::Txs(block) => Dynamic::from(TxValue::Of(block.clone(), at)),
            Items::Inputs(tx) => Dynamic::from(InputValue(tx.clone(), at)),
            Items::Outputs(tx) => Dynamic::from(OutputValue(tx.clone(), at)),
            Items::Names(names) => Dynamic::from(names[at]),
            Items::Coins(coins) => Dynamic::from(coins[at].clone()),
            Items::Blocks(range) => {
                let height = range.from + u32::try_from(at).map_err(told)?;
                let hash = range.hash(&self.context, height)?;
                Dynamic::from(self.context.block(hash, height)?)
            }
        })
    }

    /// The item at an index; from the end if that is negative.
    pub(crate) fn at(&self, index: INT) -> Res<Dynamic> {
        self.item(index_of(index, self.len())?)
    }
}

/// An index into so many items; from the end if it is negative.
pub(crate) fn index_of(index: INT, len: usize) -> Res<usize> {
    let all = INT::try_from(len).map_err(told)?;
    let at = if index < 0 { index + all } else { index };
    let at = usize::try_from(at).ok().filter(|at| *at < len);
    at.ok_or_else(|| told(format!("there is no item {index} among {len}")))
}

impl IntoIterator for List {
    type Item = Res<Dynamic>;
    type IntoIter = Box<dyn Iterator<Item = Res<Dynamic>>>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new((0..self.len()).map(move |at| self.item(at)))
    }
}

/// The block that a value belongs to.
pub(crate) fn block_of(value: &Dynamic) -> Option<BlockHash> {
    let block = value.read_lock::<BlockValue>().map(|block| block.0.hash);
    block.or_else(|| value.read_lock::<WorldValue>().map(|world| world.0.info().hash))
}

/// A number for the prompt; amounts and counts fit.
pub(crate) fn int(number: impl TryInto<INT>) -> INT {
    number.try_into().unwrap_or(INT::MAX)
}
