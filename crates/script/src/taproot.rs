use caesure_hash::Sha256;

use crate::sighash::update_sized;

/// The leaf version of tapscript. Spec: BIP-0342.
pub const TAPSCRIPT_LEAF_VERSION: u8 = 0xc0;

/// Computes the hash of a leaf: version and script. Spec: BIP-0341.
#[must_use]
pub fn tap_leaf_hash(version: u8, script: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::tagged("TapLeaf").chain(&[version]);
    update_sized(&mut hash, script);
    hash.finish()
}

/// Computes the hash of a branch over two nodes, the lesser first. Spec: BIP-0341.
#[must_use]
pub fn tap_branch_hash(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    Sha256::tagged("TapBranch").chain(&low).chain(&high).finish()
}

/// Computes the tweak of an internal key and the root of its script tree, if it has one.
/// Spec: BIP-0341.
#[must_use]
pub fn tap_tweak_hash(internal_key: [u8; 32], root: Option<[u8; 32]>) -> [u8; 32] {
    let hash = Sha256::tagged("TapTweak").chain(&internal_key);
    hash.chain(root.as_ref().map_or(&[][..], |root| root)).finish()
}
