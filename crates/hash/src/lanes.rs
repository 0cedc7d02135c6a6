//! The ways to compress a block of several messages at once, and the choice among them.

#[cfg(target_arch = "x86_64")]
mod x86;

/// The state before the first block: the first bits of the fractions of the primes' square roots.
/// Spec: FIPS 180-4.
#[rustfmt::skip]
pub(crate) const START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// Compresses a block in each of `N` lanes, that is messages side by side. Word `i` of a lane's state
/// is `state[i][lane]`.
pub(crate) type Compress<const N: usize> = fn(&mut [[u32; N]; 8], &[&[u8; 64]; N]);

/// What is to be hashed: as much of it as wanted can be done with each number of lanes.
pub(crate) trait Work {
    /// Goes on while at least `least` lanes are in use.
    fn run<const N: usize>(&mut self, compress: Compress<N>, least: usize);
}

/// The backends beside the portable one that are used, each for what is too little for those before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backends {
    pub(crate) avx512: Option<Compress<16>>,
    pub(crate) avx2: Option<Compress<8>>,
    pub(crate) sha: Option<Compress<2>>,
}

impl Backends {
    /// Those that the CPU has and the system allows.
    pub(crate) fn available() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self { avx512: x86::avx512(), avx2: x86::avx2(), sha: x86::sha() };
        #[cfg(not(target_arch = "x86_64"))]
        Self { avx512: None, avx2: None, sha: None }
    }

    /// Those worth using: AVX2 is slower than the SHA extensions.
    pub(crate) fn best() -> Self {
        let all = Self::available();
        let has_better = all.avx512.is_some() || all.sha.is_some();
        Self { avx2: all.avx2.filter(|_| !has_better), ..all }
    }

    /// Does all of the work.
    pub(crate) fn run(self, work: &mut impl Work) {
        if let Some(compress) = self.avx512 {
            // Sixteen lanes take the time of six or seven blocks by the SHA extensions.
            work.run(compress, if self.sha.is_some() { 8 } else { 2 });
        }
        if let Some(compress) = self.avx2 {
            work.run(compress, 2);
        }
        if let Some(compress) = self.sha {
            work.run(compress, 2);
        }
        work.run(portable, 1);
    }
}

/// Names what [`sha256d_many`](crate::sha256d_many) and [`merkle_root`](crate::merkle_root) run on,
/// for a log. Core: `SHA256AutoDetect`.
#[must_use]
pub fn sha256_backend() -> &'static str {
    match Backends::best() {
        Backends { avx512: Some(_), sha: Some(_), .. } => "AVX-512, 16 lanes; SHA-NI, 2 lanes",
        Backends { avx512: Some(_), .. } => "AVX-512, 16 lanes",
        Backends { sha: Some(_), .. } => "SHA-NI, 2 lanes",
        Backends { avx2: Some(_), .. } => "AVX2, 8 lanes",
        _ => "portable, 1 lane",
    }
}

/// One lane, by `sha2`, which has its own use of CPU instructions.
fn portable(state: &mut [[u32; 1]; 8], [block]: &[&[u8; 64]; 1]) {
    let mut words = state.map(|[word]| word);
    sha2::block_api::compress256(&mut words, core::slice::from_ref(*block));
    *state = words.map(|word| [word]);
}

/// The hash that a lane's state is after the last block.
pub(crate) fn digest<const N: usize>(state: &[[u32; N]; 8], lane: usize) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, row) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = row[lane].to_be_bytes();
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Backends {
        /// Each backend of this CPU alone, the portable one alone, and those that are used.
        pub(crate) fn each() -> alloc::vec::Vec<(&'static str, Self)> {
            let none = Self { avx512: None, avx2: None, sha: None };
            let all = Self::available();
            let alone = [
                ("AVX-512", Self { avx512: all.avx512, ..none }, all.avx512.is_some()),
                ("AVX2", Self { avx2: all.avx2, ..none }, all.avx2.is_some()),
                ("SHA-NI", Self { sha: all.sha, ..none }, all.sha.is_some()),
            ];
            let mut each = alloc::vec![("portable", none), ("best", Self::best()), ("all", all)];
            for (name, backends, is_there) in alone {
                if is_there {
                    each.push((name, backends));
                } else {
                    std::println!("{name}: left out, the CPU lacks it");
                }
            }
            each
        }
    }
}
