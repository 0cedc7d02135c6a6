use alloc::vec::Vec;

use caesure_hash::{Sha256, sha256, sha256d};
use caesure_wire::{OutputView, TxView, push_compact_size};

use crate::Instructions;
use crate::opcode::OP_CODESEPARATOR;

/// Taproot's default: as [`SIGHASH_ALL`], without a byte in the signature.
pub const SIGHASH_DEFAULT: u8 = 0;
/// Signs every output.
pub const SIGHASH_ALL: u8 = 1;
/// Signs no output.
pub const SIGHASH_NONE: u8 = 2;
/// Signs the output at the input's place.
pub const SIGHASH_SINGLE: u8 = 3;
/// Signs no other input; a bit beside the others.
pub const SIGHASH_ANYONECANPAY: u8 = 0x80;

/// A transaction and what it spends, with the hashes that its signatures share computed once.
///
/// It is `Sync`: the inputs can be verified on several threads. Core: `PrecomputedTransactionData`.
#[derive(Clone, Debug)]
pub struct TxContext<'a> {
    pub(crate) tx: TxView<'a>,
    pub(crate) spent: &'a [OutputView<'a>],
    /// None when no input has a witness: then signatures rarely ask for them.
    shared: Option<SharedHashes>,
    /// None when no input looks like a taproot spend.
    taproot: Option<TaprootHashes>,
}

/// Single SHA-256 hashes, as BIP-0341 wants them; BIP-0143 hashes them once more.
#[derive(Clone, Copy, Debug)]
struct SharedHashes {
    prevouts: [u8; 32],
    sequences: [u8; 32],
    outputs: [u8; 32],
}

#[derive(Clone, Debug)]
struct TaprootHashes {
    amounts: [u8; 32],
    scripts: [u8; 32],
    /// The state after the tag and the epoch.
    start: Sha256,
}

/// The place in a tapscript that a signature commits to. Spec: BIP-0342.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The hash of leaf version and script: [`tap_leaf_hash`](crate::tap_leaf_hash).
    pub hash: [u8; 32],
    /// How many instructions stand before the last `OP_CODESEPARATOR` that ran; `u32::MAX` for none.
    pub code_separator: u32,
}

impl<'a> TxContext<'a> {
    /// Prepares a transaction. `spent` has the output that each input spends.
    ///
    /// # Panics
    /// When there is not one spent output for each input.
    #[must_use]
    pub fn new(tx: TxView<'a>, spent: &'a [OutputView<'a>]) -> Self {
        assert_eq!(tx.input_count(), spent.len(), "one spent output for each input");
        let looks_taproot = |index: usize| {
            let script = spent[index].script_pubkey;
            script.len() == 34 && script[0] == 0x51 && tx.witness(index).len() != 0
        };
        let has_taproot = tx.has_witness() && (0..spent.len()).any(looks_taproot);
        Self {
            tx,
            spent,
            shared: tx.has_witness().then(|| SharedHashes::new(tx)),
            taproot: has_taproot.then(|| TaprootHashes::new(spent)),
        }
    }

    /// Returns the transaction.
    #[must_use]
    pub const fn tx(&self) -> TxView<'a> {
        self.tx
    }

    /// Returns the spent outputs, one for each input.
    #[must_use]
    pub const fn spent(&self) -> &'a [OutputView<'a>] {
        self.spent
    }

    /// Computes the hash that a signature in a witness of version 0 commits to. Spec: BIP-0143.
    ///
    /// # Panics
    /// When there is no such input.
    #[must_use]
    pub fn segwit_v0_sighash(
        &self,
        index: usize,
        script_code: &[u8],
        sighash_type: u32,
    ) -> [u8; 32] {
        finish(Some(self.segwit_v0_midstate(index, script_code, sighash_type)), sighash_type)
    }

    pub(crate) fn segwit_v0_midstate(
        &self,
        index: usize,
        code: &[u8],
        sighash_type: u32,
    ) -> Sha256 {
        let (selected, anyone_can_pay) = selection(sighash_type);
        let shared = self.shared.unwrap_or_else(|| SharedHashes::new(self.tx));
        let input = self.tx.input(index);
        let has_all = selected == SIGHASH_ALL;
        let once_more = |is_wanted, hash: &[u8; 32]| if is_wanted { sha256(hash) } else { [0; 32] };
        let prevouts = once_more(!anyone_can_pay, &shared.prevouts);
        let sequences = once_more(!anyone_can_pay && has_all, &shared.sequences);
        let outputs = match selected {
            SIGHASH_SINGLE if index < self.tx.output_count() => {
                sha256d(self.tx.output_bytes(index))
            }
            _ => once_more(has_all, &shared.outputs),
        };
        let mut hash = Sha256::new().chain(&self.tx.version().to_le_bytes());
        hash = hash.chain(&prevouts).chain(&sequences).chain(&input.prevout.to_bytes());
        update_sized(&mut hash, code);
        hash = hash.chain(&self.spent[index].value.to_le_bytes());
        hash = hash.chain(&input.sequence.to_le_bytes()).chain(&outputs);
        hash.chain(&self.tx.lock_time().to_le_bytes())
    }

    /// Computes the hash that a Schnorr signature commits to: of a key spend without a `leaf`, of a
    /// tapscript with one. `annex` is the witness's last item with its first byte, 0x50. None when
    /// the type is not one of 0 to 3 and 0x81 to 0x83, or is for one output and there is none.
    /// Spec: BIP-0341, BIP-0342.
    ///
    /// # Panics
    /// When there is no such input.
    #[must_use]
    pub fn taproot_sighash(
        &self,
        index: usize,
        sighash_type: u8,
        annex: Option<&[u8]>,
        leaf: Option<Leaf>,
    ) -> Option<[u8; 32]> {
        self.taproot_sighash_with(index, sighash_type, annex.map(annex_hash), leaf, &mut None)
    }

    /// The same, with the hashes of the annex and of a single output kept by the caller, since many
    /// signatures of an input may want them and each can be long.
    pub(crate) fn taproot_sighash_with(
        &self,
        index: usize,
        sighash_type: u8,
        annex_hash: Option<[u8; 32]>,
        leaf: Option<Leaf>,
        output_hash: &mut Option<[u8; 32]>,
    ) -> Option<[u8; 32]> {
        if !matches!(sighash_type, 0..=3 | 0x81..=0x83) {
            return None;
        }
        let (selected, anyone_can_pay) = selection(sighash_type.into());
        let tx = self.tx;
        let input = tx.input(index);
        let single = match selected {
            SIGHASH_SINGLE if tx.output_count() <= index => return None,
            SIGHASH_SINGLE => {
                Some(*output_hash.get_or_insert_with(|| sha256(tx.output_bytes(index))))
            }
            _ => None,
        };
        let shared = self.shared.unwrap_or_else(|| SharedHashes::new(tx));
        let taproot = self.taproot.clone().unwrap_or_else(|| TaprootHashes::new(self.spent));
        let mut hash = taproot.start.chain(&[sighash_type]);
        hash = hash.chain(&tx.version().to_le_bytes()).chain(&tx.lock_time().to_le_bytes());
        if !anyone_can_pay {
            hash = hash.chain(&shared.prevouts).chain(&taproot.amounts);
            hash = hash.chain(&taproot.scripts).chain(&shared.sequences);
        }
        if selected == SIGHASH_ALL {
            hash.update(&shared.outputs);
        }
        hash.update(&[u8::from(leaf.is_some()) << 1 | u8::from(annex_hash.is_some())]);
        if anyone_can_pay {
            let spent = self.spent[index];
            hash = hash.chain(&input.prevout.to_bytes()).chain(&spent.value.to_le_bytes());
            update_sized(&mut hash, spent.script_pubkey);
            hash.update(&input.sequence.to_le_bytes());
        } else {
            let index = u32::try_from(index).expect("a transaction has under 2^32 inputs");
            hash.update(&index.to_le_bytes());
        }
        for part in [annex_hash, single].iter().flatten() {
            hash.update(part);
        }
        if let Some(Leaf { hash: leaf, code_separator }) = leaf {
            hash = hash.chain(&leaf).chain(&[0]).chain(&code_separator.to_le_bytes());
        }
        Some(hash.finish())
    }
}

impl SharedHashes {
    fn new(tx: TxView<'_>) -> Self {
        Self {
            prevouts: hash_all(tx.inputs().map(|input| input.prevout.to_bytes())),
            sequences: hash_all(tx.inputs().map(|input| input.sequence.to_le_bytes())),
            outputs: hash_all((0..tx.output_count()).map(|index| tx.output_bytes(index))),
        }
    }
}

impl TaprootHashes {
    fn new(spent: &[OutputView<'_>]) -> Self {
        let amounts = hash_all(spent.iter().map(|output| output.value.to_le_bytes()));
        let mut scripts = Sha256::new();
        spent.iter().for_each(|output| update_sized(&mut scripts, output.script_pubkey));
        let start = Sha256::tagged("TapSighash").chain(&[0]);
        Self { amounts, scripts: scripts.finish(), start }
    }
}

fn hash_all(parts: impl Iterator<Item: AsRef<[u8]>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.for_each(|part| hash.update(part.as_ref()));
    hash.finish()
}

/// Computes the hash that a signature outside witnesses commits to. `script_code` is the running
/// script from its last `OP_CODESEPARATOR` on, without the signature. For one output that is not
/// there, the hash is the number one, little-endian. Core: `SignatureHash`, `SigVersion::BASE`.
///
/// # Panics
/// When there is no such input.
#[must_use]
pub fn legacy_sighash(
    tx: TxView<'_>,
    index: usize,
    script_code: &[u8],
    sighash_type: u32,
) -> [u8; 32] {
    finish(legacy_midstate(tx, index, script_code, sighash_type), sighash_type)
}

/// Appends the hash type. Without a state, a signature is for a missing output and signs the number
/// one.
pub(crate) fn finish(midstate: Option<Sha256>, sighash_type: u32) -> [u8; 32] {
    let mut one = [0; 32];
    one[0] = 1;
    midstate.map_or(one, |start| start.chain(&sighash_type.to_le_bytes()).finish_double())
}

pub(crate) fn legacy_midstate(
    tx: TxView<'_>,
    index: usize,
    script_code: &[u8],
    sighash_type: u32,
) -> Option<Sha256> {
    let (selected, anyone_can_pay) = selection(sighash_type);
    let outputs = match selected {
        SIGHASH_NONE => 0,
        SIGHASH_SINGLE if tx.output_count() <= index => return None,
        SIGHASH_SINGLE => index + 1,
        _ => tx.output_count(),
    };
    let mut hash = Sha256::new().chain(&tx.version().to_le_bytes());
    let inputs = if anyone_can_pay { index..index + 1 } else { 0..tx.input_count() };
    update_compact_size(&mut hash, inputs.len());
    for place in inputs {
        let input = tx.input(place);
        let is_signed = place == index;
        hash.update(&input.prevout.to_bytes());
        if is_signed {
            update_script_code(&mut hash, script_code);
        } else {
            hash.update(&[0]);
        }
        let is_kept = is_signed || selected == SIGHASH_ALL;
        hash.update(&if is_kept { input.sequence } else { 0 }.to_le_bytes());
    }
    update_compact_size(&mut hash, outputs);
    for place in 0..outputs {
        // A blanked output: value -1, empty script.
        let is_blank = selected == SIGHASH_SINGLE && place != index;
        let blank = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
        hash.update(if is_blank { blank } else { tx.output_bytes(place) });
    }
    Some(hash.chain(&tx.lock_time().to_le_bytes()))
}

/// Hashes a script without its code separators. What follows a push that runs past the end is
/// announced in the length and left out, as Core does it: such a script fails later anyway.
fn update_script_code(hash: &mut Sha256, script: &[u8]) {
    let mut instructions = Instructions::new(script);
    let whole = instructions.by_ref().flatten();
    let separators = whole.filter(|item| item.opcode == OP_CODESEPARATOR);
    let separators: Vec<usize> = separators.map(|item| item.position).collect();
    update_compact_size(hash, script.len() - separators.len());
    let mut start = 0;
    for separator in separators {
        hash.update(&script[start..separator]);
        start = separator + 1;
    }
    hash.update(&script[start..instructions.position()]);
}

fn update_compact_size(hash: &mut Sha256, size: usize) {
    let mut bytes = Vec::with_capacity(9);
    push_compact_size(&mut bytes, size);
    hash.update(&bytes);
}

pub(crate) fn update_sized(hash: &mut Sha256, bytes: &[u8]) {
    update_compact_size(hash, bytes.len());
    hash.update(bytes);
}

/// The hash of an annex with its length. Spec: BIP-0341.
pub(crate) fn annex_hash(annex: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    update_sized(&mut hash, annex);
    hash.finish()
}

/// What a hash type selects: ALL, NONE or SINGLE of the outputs, and whether it is ANYONECANPAY. All
/// but the low five bits and 0x80 mean nothing.
pub(crate) fn selection(sighash_type: u32) -> (u8, bool) {
    let outputs = match sighash_type & 0x1f {
        2 => SIGHASH_NONE,
        3 => SIGHASH_SINGLE,
        _ => SIGHASH_ALL,
    };
    (outputs, sighash_type & u32::from(SIGHASH_ANYONECANPAY) != 0)
}
