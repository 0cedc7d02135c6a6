use caesure_script::is_unspendable;
use caesure_wire::OutputView;
use smallvec::SmallVec;

/// Satoshi in a bitcoin.
pub const COIN: i64 = 100_000_000;

/// The most satoshi that a value or a sum may be. Core: `MAX_MONEY`.
pub const MAX_MONEY: i64 = 21_000_000 * COIN;

/// An output that can be spent, with where it came from. Core: `Coin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The amount in satoshi.
    pub value: i64,
    /// The height of the block that made it.
    pub height: u32,
    /// Whether a coinbase made it.
    pub is_coinbase: bool,
    /// The script that locks it; the usual ones fit in without an allocation.
    pub script_pubkey: SmallVec<[u8; 36]>,
}

impl Coin {
    /// Makes the coin of an output; none when it is provably unspendable, since such outputs are in
    /// no set. Core: `CCoinsViewCache::AddCoin`.
    #[must_use]
    pub fn from_output(output: &OutputView<'_>, height: u32, is_coinbase: bool) -> Option<Self> {
        let OutputView { value, script_pubkey } = *output;
        let is_spendable = !is_unspendable(script_pubkey);
        is_spendable.then(|| Self {
            value,
            height,
            is_coinbase,
            script_pubkey: SmallVec::from_slice(script_pubkey),
        })
    }

    /// Returns the output alone.
    #[must_use]
    pub fn output(&self) -> OutputView<'_> {
        OutputView { value: self.value, script_pubkey: &self.script_pubkey }
    }
}

/// Returns whether an amount is from zero to [`MAX_MONEY`]. Core: `MoneyRange`.
#[must_use]
pub const fn is_money(value: i64) -> bool {
    0 <= value && value <= MAX_MONEY
}
