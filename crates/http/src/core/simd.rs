//! The classes of bytes as words of bits, 64 bytes a word, made with AVX2 or SSE4.2; and a scalar
//! twin of them, for all other processors.
//!
//! Rules:
//!
//! * this is the only file of the crate with `unsafe`, and each block says why it holds;
//! * a lane type is the proof that the processor has its instructions: nothing makes one before
//!   the processor was asked;
//! * [`Scalar`] says the same of every byte, and the tests hold all of them to the class table;
//! * what is generic over lanes is inlined into one function for each: only what is inlined is
//!   compiled for its instructions.

#![allow(unsafe_code)]

use super::scan::{CLASS, CONTROLS, TARGETS, TOKENS, is_value, work};

/// A set of bytes for the lanes.
#[derive(Clone, Copy)]
pub(crate) struct Set {
    /// Byte `b` below 128 is in the set if `rows[b & 15]` has bit `b >> 4`. No other byte is.
    rows: [u8; 16],
    /// The same set as a bit of the class table.
    class: u8,
}

impl Set {
    /// The bytes of a class; at compile time, which fails if one of them is not ASCII.
    pub(crate) const fn of(class: u8) -> Self {
        let (mut rows, mut b) = ([0; 16], 0);
        while b < 256 {
            if CLASS[b] & class != 0 {
                assert!(b < 128, "a set is of ASCII bytes");
                rows[b & 15] |= 1 << (b >> 4);
            }
            b += 1;
        }
        Self { rows, class }
    }
}

/// Bit `n` of the row for the high half `n` of a byte; bytes that are not ASCII have none.
const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

/// Bytes of a block: those of one word.
pub(crate) const BLOCK: usize = 64;
/// Bytes that are loaded at once.
const HALF: usize = 32;
/// Blocks that are classified at a time. The more, the fewer calls; but what stands behind a head
/// is classified in vain, so not too many.
pub(crate) const BLOCKS: usize = 4;

/// The classes of some blocks. Bit `n` of word `i` stands for byte `64 * i + n`, and is set if
/// the byte is not of the class, or is behind the last one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Not `tchar`.
    pub(crate) names: [u64; BLOCKS],
    /// Not allowed in a value.
    pub(crate) values: [u64; BLOCKS],
    /// Not allowed in a request target. Only where it was asked for.
    pub(crate) targets: [u64; BLOCKS],
}

/// Classifies the blocks of `bytes` from `base` on, a multiple of [`BLOCK`]; for request targets
/// too if `T`. Words behind that of the last byte, or of the end, are not written.
#[inline(always)]
pub(crate) fn classify<const T: bool>(bytes: &[u8], base: usize, words: &mut Words) {
    #[cfg(target_arch = "x86_64")]
    match x86::level() {
        // SAFETY: `level` found the features that the function is compiled for.
        x86::AVX2 => unsafe { x86::with_avx2::<T>(bytes, base, words) },
        // SAFETY: as above.
        x86::SSE42 => unsafe { x86::with_sse42::<T>(bytes, base, words) },
        _ => with_scalar::<T>(bytes, base, words),
    }
    #[cfg(not(target_arch = "x86_64"))]
    with_scalar::<T>(bytes, base, words);
}

#[inline(never)]
fn with_scalar<const T: bool>(bytes: &[u8], base: usize, words: &mut Words) {
    with::<_, T>(Scalar, bytes, base, words);
}

/// Are all bytes from `from` to `end` in the set? `None` if they are not of a number that is
/// looked at at once: more than 32, or none of which 32 stand before `end`.
#[inline]
pub(crate) fn all_in(bytes: &[u8], from: usize, end: usize, set: &Set) -> Option<bool> {
    let front = bytes.get(..end)?.last_chunk::<HALF>()?;
    let skip = HALF.checked_sub(end - from)?;
    #[cfg(target_arch = "x86_64")]
    let outside = match x86::level() {
        // SAFETY: `level` found the features that the function is compiled for.
        x86::AVX2 => unsafe { x86::outside_avx2(front, set) },
        // SAFETY: as above.
        x86::SSE42 => unsafe { x86::outside_sse42(front, set) },
        _ => Scalar.outside(*front, set),
    };
    #[cfg(not(target_arch = "x86_64"))]
    let outside = Scalar.outside(*front, set);
    Some(u64::from(outside) >> skip == 0)
}

/// The first byte at `at` or behind it that is not allowed in a value, or the number of bytes.
pub(crate) fn control(bytes: &[u8], at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    let found = match x86::level() {
        // SAFETY: `level` found the features that the function is compiled for.
        x86::AVX2 => unsafe { x86::control_avx2(bytes, at) },
        // SAFETY: as above.
        x86::SSE42 => unsafe { x86::control_sse42(bytes, at) },
        _ => search(Scalar, bytes, at),
    };
    #[cfg(not(target_arch = "x86_64"))]
    let found = search(Scalar, bytes, at);
    found
}

/// See [`control`].
#[inline(always)]
fn search<L: Lanes>(lanes: L, bytes: &[u8], mut at: usize) -> usize {
    let start = at;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        let block = Block::load(lanes, block);
        let hits = !block.outside(lanes, &CONTROLS);
        if hits != 0 {
            work::add(at - start);
            return at + hits.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    work::add(bytes.len() - start);
    at + rest.iter().position(|&b| !is_value(b)).unwrap_or(rest.len())
}

/// The text of bytes that were found to be ASCII; empty if they are not.
#[inline]
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    if !bytes.is_ascii() {
        return "";
    }
    // SAFETY: it was just seen that all bytes are ASCII, and ASCII is UTF-8.
    unsafe { core::str::from_utf8_unchecked(bytes) }
}

/// How to look at 32 bytes at once.
trait Lanes: Copy {
    /// 32 bytes where the processor wants them.
    type Loaded: Copy;

    /// Takes 32 bytes.
    fn load(self, bytes: &[u8; 32]) -> Self::Loaded;

    /// Which of them are not in the set: bit 0 is the first byte's.
    fn outside(self, bytes: Self::Loaded, set: &Set) -> u32;
}

/// See [`classify`].
#[inline(always)]
fn with<L: Lanes, const T: bool>(lanes: L, bytes: &[u8], base: usize, words: &mut Words) {
    let mut rest = bytes.get(base..).unwrap_or_default();
    work::add(rest.len().min(BLOCK * BLOCKS));
    for i in 0..BLOCKS {
        let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() else {
            // No walk comes to a word behind this one.
            if rest.is_empty() {
                words.end(i);
            } else {
                words.put::<_, T>(i, lanes, &Block::last(lanes, bytes, rest));
            }
            return;
        };
        words.put::<_, T>(i, lanes, &Block::load(lanes, block));
        rest = behind;
    }
}

/// A block, loaded.
struct Block<L: Lanes> {
    low: L::Loaded,
    high: L::Loaded,
    /// How far behind the start of the low half the high one begins.
    apart: u32,
    /// Bytes that were loaded and stand before the block.
    before: u32,
    /// Set bits for what is behind the last byte.
    behind: u64,
}

impl<L: Lanes> Block<L> {
    #[inline(always)]
    fn load(lanes: L, block: &[u8; BLOCK]) -> Self {
        let (low, high) = block.split_at(HALF);
        let (low, high) = (half(lanes, low.first_chunk()), half(lanes, high.first_chunk()));
        Self { low, high, apart: HALF as u32, before: 0, behind: 0 }
    }

    /// The `rest` of `bytes`, which is not empty and shorter than a block. Nothing is copied if
    /// `bytes` are enough for the loads: those end where `bytes` end.
    #[inline(always)]
    fn last(lanes: L, bytes: &[u8], rest: &[u8]) -> Self {
        let behind = u64::MAX << rest.len();
        if let Some(block) = bytes.last_chunk::<BLOCK>() {
            let before = (BLOCK - rest.len()) as u32;
            return Self { before, behind, ..Self::load(lanes, block) };
        }
        if let (Some(low), Some(high)) = (rest.first_chunk(), rest.last_chunk()) {
            let (low, high) = (lanes.load(low), lanes.load(high));
            return Self { low, high, apart: (rest.len() - HALF) as u32, before: 0, behind };
        }
        let mut padded = [0; BLOCK];
        padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self { behind, ..Self::load(lanes, &padded) }
    }

    /// The bytes that are not in the set.
    #[inline(always)]
    fn outside(&self, lanes: L, set: &Set) -> u64 {
        let low = u64::from(lanes.outside(self.low, set));
        let high = u64::from(lanes.outside(self.high, set));
        (low | high << self.apart) >> self.before
    }
}

#[inline(always)]
fn half<L: Lanes>(lanes: L, bytes: Option<&[u8; HALF]>) -> L::Loaded {
    lanes.load(bytes.unwrap_or(&[0; HALF]))
}

impl Words {
    /// All classes end before this block.
    #[inline(always)]
    fn end(&mut self, i: usize) {
        (self.names[i], self.values[i], self.targets[i]) = (u64::MAX, u64::MAX, u64::MAX);
    }

    #[inline(always)]
    fn put<L: Lanes, const T: bool>(&mut self, i: usize, lanes: L, block: &Block<L>) {
        self.names[i] = block.outside(lanes, &TOKENS) | block.behind;
        self.values[i] = !block.outside(lanes, &CONTROLS) | block.behind;
        if T {
            self.targets[i] = block.outside(lanes, &TARGETS) | block.behind;
        }
    }
}

/// One byte after the other, by the class table.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Lanes for Scalar {
    type Loaded = [u8; 32];

    #[inline(always)]
    fn load(self, bytes: &[u8; 32]) -> [u8; 32] {
        *bytes
    }

    #[inline(always)]
    fn outside(self, bytes: [u8; 32], set: &Set) -> u32 {
        let bit = |b: u8| u32::from(CLASS[usize::from(b)] & set.class == 0);
        bytes.iter().rev().fold(0, |bits, &b| bits << 1 | bit(b))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BITS, Lanes, Set, Words};
    use core::arch::x86_64::*;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// What this processor has; 0 until somebody asked.
    static LEVEL: AtomicU8 = AtomicU8::new(0);
    const NEITHER: u8 = 1;
    pub(super) const SSE42: u8 = 2;
    pub(super) const AVX2: u8 = 3;

    #[inline(always)]
    pub(super) fn level() -> u8 {
        match LEVEL.load(Ordering::Relaxed) {
            0 => detect(),
            level => level,
        }
    }

    #[cold]
    fn detect() -> u8 {
        let level = if has_avx2() {
            AVX2
        } else if has_sse42() {
            SSE42
        } else {
            NEITHER
        };
        // Relaxed: whoever comes in between finds out the same by itself.
        LEVEL.store(level, Ordering::Relaxed);
        level
    }

    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
    }

    pub(super) fn has_sse42() -> bool {
        is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("ssse3")
    }

    /// # Safety
    ///
    /// The processor has AVX2, BMI1 and BMI2.
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    pub(super) unsafe fn with_avx2<const T: bool>(bytes: &[u8], base: usize, words: &mut Words) {
        super::with::<_, T>(Avx2(()), bytes, base, words);
    }

    /// # Safety
    ///
    /// The processor has AVX2, BMI1 and BMI2.
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    pub(super) unsafe fn control_avx2(bytes: &[u8], at: usize) -> usize {
        super::search(Avx2(()), bytes, at)
    }

    /// # Safety
    ///
    /// The processor has SSSE3 and SSE4.2.
    #[target_feature(enable = "sse4.2,ssse3")]
    pub(super) unsafe fn control_sse42(bytes: &[u8], at: usize) -> usize {
        super::search(Sse42(()), bytes, at)
    }

    /// # Safety
    ///
    /// The processor has SSSE3 and SSE4.2.
    #[target_feature(enable = "sse4.2,ssse3")]
    pub(super) unsafe fn with_sse42<const T: bool>(bytes: &[u8], base: usize, words: &mut Words) {
        super::with::<_, T>(Sse42(()), bytes, base, words);
    }

    /// # Safety
    ///
    /// The processor has AVX2, BMI1 and BMI2.
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    pub(super) unsafe fn outside_avx2(bytes: &[u8; 32], set: &Set) -> u32 {
        Avx2(()).outside(Avx2(()).load(bytes), set)
    }

    /// # Safety
    ///
    /// The processor has SSSE3 and SSE4.2.
    #[target_feature(enable = "sse4.2,ssse3")]
    pub(super) unsafe fn outside_sse42(bytes: &[u8; 32], set: &Set) -> u32 {
        Sse42(()).outside(Sse42(()).load(bytes), set)
    }

    /// The processor has AVX2.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    impl Lanes for Avx2 {
        type Loaded = __m256i;

        #[inline(always)]
        fn load(self, bytes: &[u8; 32]) -> __m256i {
            // SAFETY: `self` exists only where AVX2 was found; the 32 bytes may be read, and the
            // load asks for no alignment.
            unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
        }

        #[inline(always)]
        fn outside(self, bytes: __m256i, set: &Set) -> u32 {
            // SAFETY: `self` exists only where AVX2 was found; the tables are of 16 bytes, and
            // the loads ask for no alignment.
            unsafe {
                let rows = _mm256_broadcastsi128_si256(_mm_loadu_si128(set.rows.as_ptr().cast()));
                let bits = _mm256_broadcastsi128_si256(_mm_loadu_si128(BITS.as_ptr().cast()));
                let high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
                let row = _mm256_shuffle_epi8(rows, bytes);
                let bit = _mm256_shuffle_epi8(bits, high);
                let found = _mm256_and_si256(row, bit);
                let not = _mm256_cmpeq_epi8(found, _mm256_setzero_si256());
                _mm256_movemask_epi8(not) as u32
            }
        }
    }

    /// The processor has SSSE3 and SSE4.2.
    #[derive(Clone, Copy)]
    pub(super) struct Sse42(());

    impl Sse42 {
        #[inline(always)]
        fn half(self, bytes: __m128i, set: &Set) -> u32 {
            // SAFETY: `self` exists only where SSSE3 was found; the tables are of 16 bytes, and
            // the loads ask for no alignment.
            unsafe {
                let rows = _mm_loadu_si128(set.rows.as_ptr().cast());
                let bits = _mm_loadu_si128(BITS.as_ptr().cast());
                let high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
                let row = _mm_shuffle_epi8(rows, bytes);
                let found = _mm_and_si128(row, _mm_shuffle_epi8(bits, high));
                _mm_movemask_epi8(_mm_cmpeq_epi8(found, _mm_setzero_si128())) as u32
            }
        }
    }

    impl Lanes for Sse42 {
        type Loaded = (__m128i, __m128i);

        #[inline(always)]
        fn load(self, bytes: &[u8; 32]) -> (__m128i, __m128i) {
            let (low, high) = bytes.split_at(16);
            // SAFETY: each half has 16 bytes that may be read, and the load asks for no
            // alignment.
            unsafe { (_mm_loadu_si128(low.as_ptr().cast()), _mm_loadu_si128(high.as_ptr().cast())) }
        }

        #[inline(always)]
        fn outside(self, (low, high): (__m128i, __m128i), set: &Set) -> u32 {
            self.half(low, set) | self.half(high, set) << 16
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::HOSTS;
    use super::*;
    use proptest::prelude::*;

    /// What each lane type of this machine makes of the blocks from `base` on.
    fn all_lanes<const T: bool>(bytes: &[u8], base: usize) -> Vec<(&'static str, Words)> {
        let mut all = Vec::new();
        let mut add = |name, fill: &dyn Fn(&mut Words)| {
            let mut words = Words::default();
            fill(&mut words);
            all.push((name, words));
        };
        add("chosen", &|words| classify::<T>(bytes, base, words));
        add("scalar", &|words| with_scalar::<T>(bytes, base, words));
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx2() {
                // SAFETY: the features were just found.
                add("avx2", &|words| unsafe { x86::with_avx2::<T>(bytes, base, words) });
            }
            if x86::has_sse42() {
                // SAFETY: the features were just found.
                add("sse4.2", &|words| unsafe { x86::with_sse42::<T>(bytes, base, words) });
            }
        }
        all
    }

    /// The same by the class table, a byte at a time.
    fn plain<const T: bool>(bytes: &[u8], base: usize) -> Words {
        let mut words = Words::default();
        let blocks = (bytes.len() - base) / BLOCK + 1;
        for at in base..base + BLOCK * blocks.min(BLOCKS) {
            let (i, bit) = ((at - base) / BLOCK, 1 << (at % BLOCK));
            let outside = |set: &Set| {
                let inside = bytes.get(at).is_some_and(|b| CLASS[usize::from(*b)] & set.class != 0);
                if inside { 0 } else { bit }
            };
            words.names[i] |= outside(&TOKENS);
            words.values[i] |= if at < bytes.len() { bit & !outside(&CONTROLS) } else { bit };
            let is_end = base + i * BLOCK == bytes.len();
            words.targets[i] |= if T || is_end { outside(&TARGETS) } else { 0 };
        }
        words
    }

    fn agree(bytes: &[u8], base: usize) {
        let expected = plain::<true>(bytes, base);
        for (name, words) in all_lanes::<true>(bytes, base) {
            assert_eq!(words, expected, "{name} of {} from {base}", bytes.escape_ascii());
        }
        let expected = plain::<false>(bytes, base);
        for (name, words) in all_lanes::<false>(bytes, base) {
            assert_eq!(words, expected, "{name} of {} from {base}", bytes.escape_ascii());
        }
    }

    #[test]
    fn lanes_agree_on_every_byte_at_every_place() {
        for b in 0..=255 {
            for at in 0..70 {
                let mut bytes = [b'a'; 70];
                bytes[at] = b;
                agree(&bytes, 0);
            }
        }
        for len in 0..=3 * BLOCK * BLOCKS {
            let bytes = [b'a'].repeat(len);
            (0..=len).step_by(BLOCK).for_each(|base| agree(&bytes, base));
        }
    }

    #[test]
    fn a_control_is_found_wherever_it_is() {
        for len in 0..200 {
            for at in (0..len).chain([usize::MAX]) {
                let mut bytes = [b'\t'].repeat(len);
                bytes.get_mut(at).into_iter().for_each(|b| *b = b'\r');
                for from in (0..len).step_by(7).filter(|from| *from <= at) {
                    assert_eq!(control(&bytes, from), at.min(len), "{at} of {len} from {from}");
                    assert_eq!(search(Scalar, &bytes, from), at.min(len));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn lanes_agree(bytes in prop::collection::vec(any::<u8>(), 0..600), base in 0..9usize) {
            let base = base * BLOCK;
            if base <= bytes.len() {
                agree(&bytes, base);
            }
        }

        #[test]
        fn a_short_run_is_what_it_is_byte_by_byte(
            mut bytes in prop::collection::vec(prop::sample::select(b"az09.-_".to_vec()), 0..90),
            other in (any::<prop::sample::Index>(), any::<u8>()),
            ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            bytes.push(b'a');
            let place = other.0.index(bytes.len());
            bytes[place] = other.1;
            let (a, b) = (ends.0.index(bytes.len()), ends.1.index(bytes.len()));
            let (from, end) = (a.min(b), a.max(b));
            let naive = bytes[from..end].iter().all(|b| CLASS[usize::from(*b)] & HOSTS.class != 0);
            let looked = end >= HALF && end - from <= HALF;
            prop_assert_eq!(all_in(&bytes, from, end, &HOSTS), looked.then_some(naive));
        }

        #[test]
        fn text_is_that_of_ascii_only(bytes in prop::collection::vec(any::<u8>(), 0..9)) {
            let expected = if bytes.is_ascii() { &bytes[..] } else { b"" };
            prop_assert_eq!(ascii(&bytes).as_bytes(), expected);
        }
    }
}
