#![expect(
    unsafe_code,
    reason = "the CPU may lack what is compiled for; this module is the crate's only such place"
)]

use core::arch::x86_64::*;

use super::Compress;

cpufeatures::new!(has_avx512, "avx512f", "avx512bw");
cpufeatures::new!(has_avx2, "avx2");
cpufeatures::new!(has_sha, "sha", "sse4.1");

/// Sixteen lanes with AVX-512, where the CPU has it and the system keeps its registers.
pub(super) fn avx512() -> Option<Compress<16>> {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn compress_avx512(state: &mut [[u32; 16]; 8], blocks: &[&[u8; 64]; 16]) {
        // SAFETY: the operations need no more than this function.
        unsafe { compress::<16, __m512i>(state, blocks) }
    }
    // SAFETY: it is only given out where the CPU has what it needs.
    let function: Compress<16> = |state, blocks| unsafe { compress_avx512(state, blocks) };
    has_avx512::get().then_some(function)
}

/// Eight lanes with AVX2.
pub(super) fn avx2() -> Option<Compress<8>> {
    #[target_feature(enable = "avx2")]
    fn compress_avx2(state: &mut [[u32; 8]; 8], blocks: &[&[u8; 64]; 8]) {
        // SAFETY: the operations need no more than this function.
        unsafe { compress::<8, __m256i>(state, blocks) }
    }
    // SAFETY: it is only given out where the CPU has what it needs.
    let function: Compress<8> = |state, blocks| unsafe { compress_avx2(state, blocks) };
    has_avx2::get().then_some(function)
}

/// Two lanes with the SHA extensions, one working while the other waits.
pub(super) fn sha() -> Option<Compress<2>> {
    // SAFETY: it is only given out where the CPU has what it needs.
    let function: Compress<2> = |state, blocks| unsafe { compress_sha(state, blocks) };
    has_sha::get().then_some(function)
}

/// The same word of `N` messages, and the operations on it.
///
/// # Safety
/// An implementer is as long as `N` words, all of whose bits are free. A method is safe to call where
/// the CPU has the features that the implementer is for.
unsafe trait Words<const N: usize>: Copy {
    unsafe fn splat(word: u32) -> Self;
    /// Reverses the bytes of each word.
    unsafe fn swap(self) -> Self;
    /// Takes a word of each in turn: of their first halves, then of their second.
    unsafe fn zip(self, other: Self) -> [Self; 2];
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn rotate(self, bits: i32) -> Self;
    unsafe fn shift(self, bits: i32) -> Self;
    unsafe fn xor(self, b: Self, c: Self) -> Self;
    unsafe fn choose(self, one: Self, zero: Self) -> Self;
    unsafe fn majority(self, b: Self, c: Self) -> Self;
}

/// Implements [`Words`], each method compiled for CPU features, by intrinsics that are safe with them.
macro_rules! words {
    ($vector:ty, $lanes:literal, $features:literal,
     $($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {
        // SAFETY: a register is as long as its lanes, and has no invalid bits.
        unsafe impl Words<$lanes> for $vector {$(
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn $name($($arg: $type),*) -> $result {
                $body
            }
        )*}
    };
}

words! { __m512i, 16, "avx512f,avx512bw",
    splat(word: u32) -> Self = _mm512_set1_epi32(word.cast_signed());
    swap(self: Self) -> Self =
        _mm512_shuffle_epi8(self, _mm512_broadcast_i32x4(_mm_set_epi64x(SWAP[1], SWAP[0])));
    zip(self: Self, b: Self) -> [Self; 2] = {
        let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
        [_mm512_permutex2var_epi32(self, first, b), _mm512_permutex2var_epi32(self, second, b)]
    };
    add(self: Self, b: Self) -> Self = _mm512_add_epi32(self, b);
    rotate(self: Self, bits: i32) -> Self = _mm512_rorv_epi32(self, _mm512_set1_epi32(bits));
    shift(self: Self, bits: i32) -> Self = _mm512_srlv_epi32(self, _mm512_set1_epi32(bits));
    xor(self: Self, b: Self, c: Self) -> Self = _mm512_ternarylogic_epi32::<0x96>(self, b, c);
    choose(self: Self, one: Self, zero: Self) -> Self =
        _mm512_ternarylogic_epi32::<0xca>(self, one, zero);
    majority(self: Self, b: Self, c: Self) -> Self = _mm512_ternarylogic_epi32::<0xe8>(self, b, c);
}

words! { __m256i, 8, "avx2",
    splat(word: u32) -> Self = _mm256_set1_epi32(word.cast_signed());
    swap(self: Self) -> Self =
        _mm256_shuffle_epi8(self, _mm256_broadcastsi128_si256(_mm_set_epi64x(SWAP[1], SWAP[0])));
    zip(self: Self, b: Self) -> [Self; 2] = {
        let (low, high) = (_mm256_unpacklo_epi32(self, b), _mm256_unpackhi_epi32(self, b));
        [_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high)]
    };
    add(self: Self, b: Self) -> Self = _mm256_add_epi32(self, b);
    rotate(self: Self, bits: i32) -> Self = _mm256_or_si256(
        _mm256_srl_epi32(self, _mm_cvtsi32_si128(bits)),
        _mm256_sll_epi32(self, _mm_cvtsi32_si128(32 - bits)),
    );
    shift(self: Self, bits: i32) -> Self = _mm256_srl_epi32(self, _mm_cvtsi32_si128(bits));
    xor(self: Self, b: Self, c: Self) -> Self = _mm256_xor_si256(_mm256_xor_si256(self, b), c);
    choose(self: Self, one: Self, zero: Self) -> Self =
        _mm256_xor_si256(_mm256_and_si256(self, _mm256_xor_si256(one, zero)), zero);
    majority(self: Self, b: Self, c: Self) -> Self =
        _mm256_or_si256(_mm256_and_si256(self, b), _mm256_and_si256(_mm256_or_si256(self, b), c));
}

/// The bytes of four words, each word reversed, as two halves of a register.
const SWAP: [i64; 2] = [0x0405_0607_0001_0203, 0x0c0d_0e0f_0809_0a0b];

/// Compresses a block in each lane.
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
unsafe fn compress<const N: usize, V: Words<N>>(
    state: &mut [[u32; N]; 8],
    blocks: &[&[u8; 64]; N],
) {
    // SAFETY: passed on; `V` is as long as a row of the state, and part of a block.
    unsafe {
        let mut s = state.each_ref().map(|row| row.as_ptr().cast::<V>().read_unaligned());
        let start = s;
        let mut w: [V; 16] = core::array::from_fn(|i| {
            blocks[i % N].as_ptr().cast::<V>().add(i / N).read_unaligned().swap()
        });
        for square in w.chunks_exact_mut(N) {
            for _ in 0..N.ilog2() {
                let rows: [V; N] = core::array::from_fn(|i| square[i]);
                for i in 0..N / 2 {
                    [square[2 * i], square[2 * i + 1]] = rows[i].zip(rows[i + N / 2]);
                }
            }
        }
        let mut sums: [V; 16] = core::array::from_fn(|i| w[i].add(V::splat(K[0][i])));
        for k in &K[1..] {
            sixteen_rounds(&mut s, &mut sums, &mut w, Some(k));
        }
        sixteen_rounds(&mut s, &mut sums, &mut w, None);
        for (row, (s, start)) in state.iter_mut().zip(s.into_iter().zip(start)) {
            row.as_mut_ptr().cast::<V>().write_unaligned(s.add(start));
        }
    }
}

/// Does sixteen rounds with `sums`, the words of the message and the constants added; with the next
/// constants, prepares the next sums.
///
/// Written so that the compiler unrolls all sixteen, for it keeps `w` in registers then, and so that
/// no sum is begun in the iteration that needs it: the compiler would add up in a slower order.
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
unsafe fn sixteen_rounds<const N: usize, V: Words<N>>(
    state: &mut [V; 8],
    sums: &mut [V; 16],
    w: &mut [V; 16],
    next: Option<&[u32; 16]>,
) {
    // SAFETY: passed on.
    unsafe {
        four_rounds::<N, V, 0>(state, sums, w, next);
        four_rounds::<N, V, 4>(state, sums, w, next);
        four_rounds::<N, V, 8>(state, sums, w, next);
        four_rounds::<N, V, 12>(state, sums, w, next);
    }
}

/// A quarter of [`sixteen_rounds`], from `FIRST` on.
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
unsafe fn four_rounds<const N: usize, V: Words<N>, const FIRST: usize>(
    state: &mut [V; 8],
    sums: &mut [V; 16],
    w: &mut [V; 16],
    next: Option<&[u32; 16]>,
) {
    for i in FIRST..FIRST + 4 {
        // SAFETY: passed on.
        unsafe {
            let [a, b, c, d, e, f, g, h] = *state;
            let big_e = e.rotate(6).xor(e.rotate(11), e.rotate(25));
            let big_a = a.rotate(2).xor(a.rotate(13), a.rotate(22));
            let t = h.add(sums[i]).add(e.choose(f, g)).add(big_e);
            *state = [t.add(big_a.add(a.majority(b, c))), a, b, c, d.add(t), e, f, g];
            if let Some(k) = next {
                let (x, y) = (w[(i + 1) % 16], w[(i + 14) % 16]);
                let small_x = x.rotate(7).xor(x.rotate(18), x.shift(3));
                let small_y = y.rotate(17).xor(y.rotate(19), y.shift(10));
                w[i] = w[i].add(small_x).add(w[(i + 9) % 16].add(small_y));
                sums[i] = w[i].add(V::splat(k[i]));
            }
        }
    }
}

/// Compresses two blocks, turn by turn.
#[target_feature(enable = "sha,sse4.1")]
fn compress_sha(state: &mut [[u32; 2]; 8], blocks: &[&[u8; 64]; 2]) {
    let zero = _mm_setzero_si128();
    let (mut abef, mut cdgh, mut w) = ([zero; 2], [zero; 2], [[zero; 4]; 2]);
    // The instructions want a, b, e and f of one message in one register, the last lowest.
    for lane in 0..2 {
        let word = |i: usize| state[i][lane].cast_signed();
        abef[lane] = _mm_set_epi32(word(0), word(1), word(4), word(5));
        cdgh[lane] = _mm_set_epi32(word(2), word(3), word(6), word(7));
        for (w, quarter) in w[lane].iter_mut().zip(blocks[lane].as_chunks::<16>().0) {
            // SAFETY: a quarter is as long as the register.
            let quarter = unsafe { _mm_loadu_si128(quarter.as_ptr().cast()) };
            *w = _mm_shuffle_epi8(quarter, _mm_set_epi64x(SWAP[1], SWAP[0]));
        }
    }
    let start = [abef, cdgh];
    for (i, k) in K.iter().enumerate() {
        for (j, k) in k.as_chunks::<4>().0.iter().enumerate() {
            // SAFETY: four words are as long as the register.
            let k = unsafe { _mm_loadu_si128(k.as_ptr().cast()) };
            for lane in 0..2 {
                let w = &mut w[lane];
                if 0 < i {
                    let shifted = _mm_alignr_epi8::<4>(w[(j + 3) % 4], w[(j + 2) % 4]);
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[j], w[(j + 1) % 4]), shifted);
                    w[j] = _mm_sha256msg2_epu32(sum, w[(j + 3) % 4]);
                }
                let sum = _mm_add_epi32(w[j], k);
                cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
                let sum = _mm_shuffle_epi32::<0x0e>(sum);
                abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], sum);
            }
        }
    }
    for lane in 0..2 {
        for (half, rows) in [[0, 1, 4, 5], [2, 3, 6, 7]].into_iter().enumerate() {
            let sum = _mm_add_epi32([abef, cdgh][half][lane], start[half][lane]);
            let mut words = [0; 4];
            // SAFETY: four words are as long as the register.
            unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), sum) };
            for (row, word) in rows.into_iter().rev().zip(words) {
                state[row][lane] = word;
            }
        }
    }
}

/// The round constants: the first bits of the fractions of the primes' cube roots. Spec: FIPS 180-4.
#[rustfmt::skip]
const K: [[u32; 16]; 4] = [
    [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    ],
    [
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    ],
    [
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    ],
    [
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ],
];
