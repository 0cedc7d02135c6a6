//! The data that the measurements run on.

use caesure_generate::{Options, generate};
use caesure_wire::Block;

/// Makes a chain without forks, the same for the same options, block 0 first.
///
/// # Panics
/// When the options cannot be met.
#[must_use]
pub fn chain(options: &Options) -> Vec<Block<Vec<u8>>> {
    let mut blocks = Vec::new();
    generate(options, &mut |bytes| {
        blocks.push(Block::parse(bytes.to_vec()).expect("a generated block decodes"));
        Ok(())
    })
    .expect("the options can be met");
    blocks
}
