use crate::Sha256;

/// Computes the double SHA-256 of many messages at once, faster than one after the other.
///
/// `message` gives the parts of each, which are hashed as if they were joined; `hashes` takes as many
/// results as there are messages.
pub fn sha256d_many<'a>(hashes: &mut [[u8; 32]], message: impl Fn(usize) -> [&'a [u8]; 3]) {
    for (index, hash) in hashes.iter_mut().enumerate() {
        let [first, second, third] = message(index);
        *hash = Sha256::new().chain(first).chain(second).chain(third).finish_double();
    }
}
