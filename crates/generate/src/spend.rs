use caesure_hash::{hash160, sha256};
use caesure_script::opcode::*;
use caesure_script::{
    Leaf, TAPSCRIPT_LEAF_VERSION, TxContext, legacy_sighash, push_int, push_slice, sigop_count,
    tap_branch_hash, tap_leaf_hash, tap_tweak_hash,
};
use caesure_wire::{OutPoint, OutputView, Transaction, Tx};
use secp256k1::{Keypair, Message, Parity, Scalar, ecdsa, schnorr};

use crate::rng::Rng;

/// How many keys there are; a coin's key is an index, and a script of three keys takes the next two.
pub(crate) const KEY_COUNT: usize = 64;

/// The relative lock in each key's script tree, in blocks.
pub(crate) const TREE_SEQUENCE: u32 = 2;

/// Where the script that locks a coin stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrap {
    Bare,
    P2sh,
    P2wpkh,
    P2shP2wpkh,
    P2wsh,
    P2shP2wsh,
    /// By key, with and without a script tree.
    TaprootKey,
    TaprootScript,
    /// No script: anyone can spend it.
    Anchor,
}

impl Wrap {
    /// Whether the items that unlock it stand in the script.
    const fn is_legacy(self) -> bool {
        matches!(self, Self::Bare | Self::P2sh)
    }
}

/// What a script demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// Nothing at all.
    True,
    Pk,
    Pkh,
    /// Two of three keys.
    Multisig,
    /// One key after a lock time.
    Cltv,
    /// One key after a relative lock time.
    Csv,
}

/// What the script of an output is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lock {
    pub(crate) wrap: Wrap,
    pub(crate) template: Template,
    pub(crate) key: usize,
    /// The lock time or sequence number that CLTV or CSV demands.
    pub(crate) demand: u32,
}

impl Lock {
    /// Weight and cost in signature operations that an input never exceeds.
    const fn max_input_cost(self) -> (usize, usize) {
        match (self.template, self.wrap.is_legacy()) {
            (Template::True, _) => (170, 0),
            (_, true) => (1_650, 12),
            (_, false) => (600, 3),
        }
    }
}

/// An output that can be spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coin {
    pub(crate) outpoint: OutPoint,
    pub(crate) value: i64,
    pub(crate) height: u32,
    pub(crate) lock: Lock,
}

/// A transaction with all but its signatures, and the coins that it spends.
pub(crate) struct Draft {
    pub(crate) tx: Transaction,
    pub(crate) coins: Vec<Coin>,
    /// The locks of the first outputs; what follows them cannot be spent.
    pub(crate) locks: Vec<Lock>,
    pub(crate) fee: i64,
    pub(crate) seed: u64,
    /// Whether every second hash type is drawn from all of them, not every sixteenth.
    pub(crate) is_varied: bool,
}

impl Draft {
    /// The weight and the cost in signature operations that it will not exceed once signed.
    pub(crate) fn max_cost(&self) -> (usize, usize) {
        let inputs = self.coins.iter().map(|coin| coin.lock.max_input_cost());
        let outputs = self.tx.outputs.iter().map(|output| {
            let script = &output.script_pubkey;
            (4 * (9 + script.len()), 4 * sigop_count(script, false))
        });
        inputs.chain(outputs).fold((80, 0), |sum, cost| (sum.0 + cost.0, sum.1 + cost.1))
    }
}

/// The keys of all coins, the same for every seed.
pub(crate) struct Keys {
    keys: Vec<Keypair>,
    /// Each key tweaked to commit to no script, and to its tree of scripts.
    plain: Vec<Keypair>,
    trees: Vec<Keypair>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let key = |index: usize| {
            let secret = sha256(format!("caesure generate key {index}").as_bytes());
            Keypair::from_secret_bytes(secret).expect("a hash below the order")
        };
        let keys: Vec<_> = (0..KEY_COUNT).map(key).collect();
        let plain = keys.iter().map(|key| tweak(key, None)).collect();
        let mut keys = Self { keys, plain, trees: Vec::new() };
        let trees =
            (0..KEY_COUNT).map(|key| tweak(&keys.keys[key], Some(keys.tree(key, Template::Pk).1)));
        keys.trees = trees.collect();
        keys
    }

    fn key(&self, index: usize) -> &Keypair {
        &self.keys[index % KEY_COUNT]
    }

    /// The key that signs a key path: half of the outputs have scripts too.
    fn key_path(&self, index: usize) -> &Keypair {
        if index.is_multiple_of(2) { &self.plain[index] } else { &self.trees[index] }
    }

    /// A public key in the form that stands in a script. Where nothing forbids it, odd ones are not
    /// compressed.
    fn public(&self, wrap: Wrap, index: usize) -> Vec<u8> {
        let public = self.key(index).public_key();
        match wrap {
            Wrap::TaprootScript => x_only(self.key(index)).to_vec(),
            _ if wrap.is_legacy() && index % 2 == 1 => public.serialize_uncompressed().to_vec(),
            _ => public.serialize().to_vec(),
        }
    }

    /// The script that runs in the end.
    fn script(&self, lock: Lock) -> Vec<u8> {
        let key = |step| push(&self.public(lock.wrap, lock.key + step));
        let after = |opcode| {
            let mut script = Vec::new();
            push_int(&mut script, lock.demand.into());
            [&script[..], &[opcode, OP_DROP], &key(0), &[OP_CHECKSIG]].concat()
        };
        match lock.template {
            Template::True => vec![OP_TRUE],
            Template::Pk => [&key(0)[..], &[OP_CHECKSIG]].concat(),
            Template::Pkh => {
                let hash = hash160(&self.public(lock.wrap, lock.key));
                let (start, end) = ([OP_DUP, OP_HASH160, 20], [OP_EQUALVERIFY, OP_CHECKSIG]);
                [&start[..], &hash, &end].concat()
            }
            Template::Multisig if lock.wrap == Wrap::TaprootScript => {
                let (add, end) = ([OP_CHECKSIGADD], [OP_CHECKSIGADD, OP_2, OP_NUMEQUAL]);
                [&key(0)[..], &[OP_CHECKSIG], &key(1), &add, &key(2), &end].concat()
            }
            Template::Multisig => {
                let end = [OP_3, OP_CHECKMULTISIG];
                [&[OP_2][..], &key(0), &key(1), &key(2), &end].concat()
            }
            Template::Cltv => after(OP_CHECKLOCKTIMEVERIFY),
            Template::Csv => after(OP_CHECKSEQUENCEVERIFY),
        }
    }

    /// The script itself, or the witness program that stands for it.
    fn redeem_script(&self, lock: Lock) -> Vec<u8> {
        let program = |version, program: &[u8]| [&[version], &push(program)[..]].concat();
        match lock.wrap {
            Wrap::Bare | Wrap::P2sh => self.script(lock),
            Wrap::P2wpkh | Wrap::P2shP2wpkh => {
                program(OP_0, &hash160(&self.public(lock.wrap, lock.key)))
            }
            Wrap::P2wsh | Wrap::P2shP2wsh => program(OP_0, &sha256(&self.script(lock))),
            Wrap::TaprootKey => program(OP_1, &x_only(self.key_path(lock.key))),
            Wrap::TaprootScript => program(OP_1, &x_only(&self.trees[lock.key])),
            Wrap::Anchor => program(OP_1, &[0x4e, 0x73]),
        }
    }

    /// The script of an output.
    pub(crate) fn script_pubkey(&self, lock: Lock) -> Vec<u8> {
        let redeem_script = self.redeem_script(lock);
        match lock.wrap {
            Wrap::P2sh | Wrap::P2shP2wpkh | Wrap::P2shP2wsh => {
                [&[OP_HASH160, 20][..], &hash160(&redeem_script), &[OP_EQUAL]].concat()
            }
            _ => redeem_script,
        }
    }

    /// A key's tree ((pk, multisig), csv): what proves a leaf, and the root.
    fn tree(&self, key: usize, template: Template) -> (Vec<[u8; 32]>, [u8; 32]) {
        let wrap = Wrap::TaprootScript;
        let lock = |template| Lock { wrap, template, key, demand: TREE_SEQUENCE };
        let leaf = |template| tap_leaf_hash(TAPSCRIPT_LEAF_VERSION, &self.script(lock(template)));
        let [pk, multisig, csv] = [Template::Pk, Template::Multisig, Template::Csv].map(leaf);
        let pair = tap_branch_hash(pk, multisig);
        let path = match template {
            Template::Pk => vec![multisig, csv],
            Template::Multisig => vec![pk, csv],
            _ => vec![pair],
        };
        (path, tap_branch_hash(pair, csv))
    }

    fn control_block(&self, lock: Lock) -> Vec<u8> {
        let is_odd = self.trees[lock.key].x_only_public_key().1 == Parity::Odd;
        let first = TAPSCRIPT_LEAF_VERSION | u8::from(is_odd);
        let (path, _) = self.tree(lock.key, lock.template);
        [&[first], &x_only(self.key(lock.key))[..], path.as_flattened()].concat()
    }
}

fn x_only(key: &Keypair) -> [u8; 32] {
    key.x_only_public_key().0.to_byte_array()
}

/// The key of a taproot output. Spec: BIP-0341.
fn tweak(internal: &Keypair, root: Option<[u8; 32]>) -> Keypair {
    let tweak = Scalar::from_be_bytes(tap_tweak_hash(x_only(internal), root));
    let tweak = tweak.expect("a hash below the order");
    internal.add_xonly_tweak(&tweak).expect("a hash that is no negated key")
}

/// A script that pushes `data`.
pub(crate) fn push(data: &[u8]) -> Vec<u8> {
    let mut script = Vec::new();
    push_slice(&mut script, data);
    script
}

/// Signs every input and returns how many signatures that took.
pub(crate) fn sign(keys: &Keys, draft: &mut Draft) -> u64 {
    // Witnesses in the making tell the context which hashes will be wanted.
    for (input, coin) in draft.tx.inputs.iter_mut().zip(&draft.coins) {
        input.witness = vec![Vec::new(); usize::from(!coin.lock.wrap.is_legacy())];
    }
    let unsigned = Tx::parse(draft.tx.encode()).expect("a draft is a transaction");
    let scripts: Vec<_> = draft.coins.iter().map(|coin| keys.script_pubkey(coin.lock)).collect();
    let spent: Vec<_> = (draft.coins.iter().zip(&scripts))
        .map(|(coin, script)| OutputView { value: coin.value, script_pubkey: script })
        .collect();
    let context = TxContext::new(unsigned.view(), &spent);
    let rng = Rng(draft.seed);
    let mut signer = Signer { keys, context, rng, is_varied: draft.is_varied, count: 0 };
    for (index, (input, coin)) in draft.tx.inputs.iter_mut().zip(&draft.coins).enumerate() {
        (input.script_sig, input.witness) = signer.unlock(index, coin.lock);
    }
    signer.count
}

struct Signer<'a> {
    keys: &'a Keys,
    context: TxContext<'a>,
    rng: Rng,
    is_varied: bool,
    count: u64,
}

impl Signer<'_> {
    /// The script and the witness of an input.
    fn unlock(&mut self, index: usize, lock: Lock) -> (Vec<u8>, Vec<Vec<u8>>) {
        let script = self.keys.script(lock);
        let mut items = self.satisfy(index, lock, &script);
        match lock.wrap {
            Wrap::P2sh | Wrap::P2wsh | Wrap::P2shP2wsh => items.push(script),
            Wrap::TaprootScript => items.extend([script, self.keys.control_block(lock)]),
            _ => {}
        }
        match lock.wrap {
            Wrap::Bare | Wrap::P2sh => {
                (items.iter().flat_map(|item| push(item)).collect(), Vec::new())
            }
            Wrap::P2shP2wpkh | Wrap::P2shP2wsh => (push(&self.keys.redeem_script(lock)), items),
            _ => (Vec::new(), items),
        }
    }

    /// The items that the script takes from the stack.
    fn satisfy(&mut self, index: usize, lock: Lock, script: &[u8]) -> Vec<Vec<u8>> {
        let keys = self.keys;
        let mut sign = |key| self.signature(index, lock.wrap, key, script);
        match (lock.wrap, lock.template) {
            (Wrap::Anchor, _) | (_, Template::True) => Vec::new(),
            (Wrap::TaprootKey, _) => vec![sign(keys.key_path(lock.key))],
            (_, Template::Pkh) => {
                vec![sign(keys.key(lock.key)), keys.public(lock.wrap, lock.key)]
            }
            (wrap, Template::Multisig) => {
                let missing = lock.key % 3;
                let sign_or_not = |step| match step == missing {
                    true => Vec::new(),
                    false => sign(keys.key(lock.key + step)),
                };
                let mut items: Vec<_> = (0..3).rev().map(sign_or_not).collect();
                if wrap != Wrap::TaprootScript {
                    // OP_CHECKMULTISIG takes them the other way round, after an item too many.
                    items.reverse();
                    items[..=missing].rotate_right(1);
                }
                items
            }
            _ => vec![sign(keys.key(lock.key))],
        }
    }

    /// A signature and, unless it is taproot's default, its hash type.
    fn signature(&mut self, index: usize, wrap: Wrap, key: &Keypair, script: &[u8]) -> Vec<u8> {
        let is_taproot = matches!(wrap, Wrap::TaprootKey | Wrap::TaprootScript);
        let mut sighash_type = u8::from(!is_taproot);
        if self.rng.one_in(if self.is_varied { 2 } else { 16 }) {
            sighash_type = *self.rng.pick(&[0x01, 0x02, 0x03, 0x81, 0x82, 0x83]);
        }
        if is_taproot && sighash_type & 3 == 3 && self.context.tx().output_count() <= index {
            // There is no output beside this input that SINGLE could sign.
            sighash_type = 0;
        }
        self.count += 1;
        let mut bytes = if is_taproot {
            let hash = tap_leaf_hash(TAPSCRIPT_LEAF_VERSION, script);
            let leaf = Leaf { hash, code_separator: u32::MAX };
            let leaf = (wrap == Wrap::TaprootScript).then_some(leaf);
            let hash = self.context.taproot_sighash(index, sighash_type, None, leaf);
            let hash = hash.expect("the type is known, and the output is there");
            schnorr::sign_no_aux_rand(&hash, key).to_byte_array().to_vec()
        } else {
            let hash = if wrap.is_legacy() {
                legacy_sighash(self.context.tx(), index, script, sighash_type.into())
            } else {
                self.context.segwit_v0_sighash(index, script, sighash_type.into())
            };
            ecdsa::sign(Message::from_digest(hash), &key.secret_key()).serialize_der().to_vec()
        };
        if sighash_type != 0 {
            bytes.push(sighash_type);
        }
        bytes
    }
}
