//! The classes of bytes as words of bits, 64 bytes a word, made with AVX2 or SSE4.2; and a scalar
//! twin of them, for all other processors.
//!
//! Rules:
//!
//! * this is the only file of the crate with `unsafe`, and each block says why it holds;
//! * a lane type is the proof that the processor has its instructions: nothing makes one before
//!   the processor was asked;
//! * [`Scalar`] says the same of every byte, and the tests hold all of them to the class table;
//! * what is generic over lanes is inlined into one function for each, and is not in a closure:
//!   only what is inlined is compiled for its instructions.

#![allow(unsafe_code)]

use super::Limits;
use super::scan::{CLASS, CONTROLS, TARGETS, TOKENS, target, work};

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
pub(super) const BLOCK: usize = 64;
/// Bytes that are loaded at once.
const HALF: usize = 32;

/// What is done with lanes, whichever they are.
/// The bytes and the limits are apart from it, so that all of them come in registers.
pub(super) trait Task<'a> {
    /// What comes of it.
    type Output;

    /// Does it. To be inlined with all that looks at bytes in it.
    fn run<L: Lanes>(self, lanes: L, bytes: &'a [u8], limits: &Limits) -> Self::Output;
}

/// Does a task with the widest lanes that this processor has. The task is compiled once for each,
/// as a whole: what it looks at can stay in registers.
#[inline(always)]
pub(super) fn run<'a, T: Task<'a>>(bytes: &'a [u8], limits: &Limits, task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    match x86::level() {
        // SAFETY: `level` found the features that the function is compiled for.
        x86::AVX2 => unsafe { x86::run_avx2(bytes, limits, task) },
        // SAFETY: as above.
        x86::SSE42 => unsafe { x86::run_sse42(bytes, limits, task) },
        x86::NEITHER => run_scalar(bytes, limits, task),
        _ => run_first(bytes, limits, task),
    }
    #[cfg(not(target_arch = "x86_64"))]
    run_scalar(bytes, limits, task)
}

/// The same before the processor was asked: apart, so that later calls do not prepare for it.
#[cfg(target_arch = "x86_64")]
#[cold]
#[inline(never)]
fn run_first<'a, T: Task<'a>>(bytes: &'a [u8], limits: &Limits, task: T) -> T::Output {
    x86::detect();
    run(bytes, limits, task)
}

#[inline(never)]
fn run_scalar<'a, T: Task<'a>>(bytes: &'a [u8], limits: &Limits, task: T) -> T::Output {
    task.run(Scalar, bytes, limits)
}

/// How many of the bytes from `from` to `end` are in the set, up to the first that is not. `None`
/// if they are not looked at at once: more than 32, or `end` is not behind 32.
#[inline(always)]
pub(super) fn run_of<L: Lanes>(
    lanes: L,
    bytes: &[u8],
    from: usize,
    end: usize,
    set: &Set,
) -> Option<usize> {
    let front = bytes.get(..end)?.last_chunk::<HALF>()?;
    let skip = HALF.checked_sub(end - from)?;
    // The bit behind the last one ends a run that nothing else does.
    let outside = u64::from(lanes.outside(lanes.load(front), set)) | 1 << HALF;
    Some((outside >> skip).trailing_zeros() as usize)
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
pub(super) trait Lanes: Copy {
    /// 32 bytes where the processor wants them.
    type Loaded: Copy;

    /// Takes 32 bytes.
    fn load(self, bytes: &[u8; 32]) -> Self::Loaded;

    /// Which of them are not in the set: bit 0 is the first byte's.
    fn outside(self, bytes: Self::Loaded, set: &Set) -> u32;
}

/// The words of a block. Bit `n` stands for byte `base + n`, and is set in all of them if that is
/// behind the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Not `tchar`.
    pub(super) names: u64,
    /// Not allowed in a value.
    pub(super) ends: u64,
    /// Not allowed in a request target.
    pub(super) targets: u64,
}

impl Words {
    /// Behind the last byte.
    pub(super) const NONE: Self = Self { names: u64::MAX, ends: u64::MAX, targets: u64::MAX };

    /// The words of the block of `bytes` from `base` on.
    #[inline(always)]
    pub(super) fn at<L: Lanes>(lanes: L, bytes: &[u8], base: usize) -> Self {
        let Some(rest) = bytes.get(base..) else { return Self::NONE };
        if let Some(block) = rest.first_chunk() {
            work::add(BLOCK);
            return Self::of(&Block::whole(lanes, block));
        }
        work::add(rest.len());
        if rest.is_empty() { Self::NONE } else { Self::of(&Block::last(lanes, bytes, rest)) }
    }

    #[inline(always)]
    fn of<L: Lanes>(block: &Block<L>) -> Self {
        let (names, targets) = (block.outside(&TOKENS), block.outside(&TARGETS));
        Self { names, ends: block.inside(&CONTROLS), targets }
    }
}

/// The words of the first block of some bytes.
pub(super) struct First<'a> {
    bytes: &'a [u8],
    words: Words,
}

impl<'a> First<'a> {
    #[inline(always)]
    pub(super) fn new<L: Lanes>(lanes: L, bytes: &'a [u8]) -> Self {
        Self { bytes, words: Words::at(lanes, bytes, 0) }
    }

    #[inline(always)]
    pub(super) fn words(&self) -> Words {
        self.words
    }

    /// The run of target bytes at `at`, up to the first byte that is none.
    #[inline(always)]
    pub(super) fn target(&self, at: usize) -> &'a str {
        let hits = self.words.targets >> (at % BLOCK);
        if at >= BLOCK || hits == 0 {
            return long_target(self.bytes, at);
        }
        let end = at + hits.trailing_zeros() as usize;
        let Some(run) = self.bytes.get(at..end) else { return "" };
        // SAFETY: the bits of all bytes from `at` to `end` are zeros in the word of what is not
        // in the set of target bytes, which were made of these bytes; so they are in the set,
        // all of which is ASCII or `Set::of` does not compile, and ASCII is UTF-8.
        unsafe { core::str::from_utf8_unchecked(run) }
    }
}

/// A target that ends behind the first block: few do.
#[cold]
#[inline(never)]
fn long_target(bytes: &[u8], at: usize) -> &str {
    let rest = bytes.get(at..).unwrap_or_default();
    ascii(rest.get(..target(rest)).unwrap_or_default())
}

/// The first block from `base` on in which a value ends, and its words.
#[inline(always)]
pub(super) fn next_end<L: Lanes>(lanes: L, bytes: &[u8], mut base: usize) -> (usize, Words) {
    while let Some(block) = bytes.get(base..).and_then(|rest| rest.first_chunk()) {
        work::add(BLOCK);
        let words = Words::of(&Block::whole(lanes, block));
        if words.ends != 0 {
            return (base, words);
        }
        base += BLOCK;
    }
    (base, Words::at(lanes, bytes, base))
}

/// A block, loaded.
#[derive(Clone, Copy)]
struct Block<L: Lanes> {
    lanes: L,
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
    fn whole(lanes: L, block: &[u8; BLOCK]) -> Self {
        let (low, high) = block.split_at(HALF);
        let (low, high) = (half(lanes, low.first_chunk()), half(lanes, high.first_chunk()));
        Self { lanes, low, high, apart: HALF as u32, before: 0, behind: 0 }
    }

    /// The `rest` of `bytes`, which is not empty and shorter than a block. Nothing is copied if
    /// `bytes` are enough for the loads: those end where `bytes` end.
    #[inline(always)]
    fn last(lanes: L, bytes: &[u8], rest: &[u8]) -> Self {
        let behind = u64::MAX << rest.len();
        if let Some(block) = bytes.last_chunk::<BLOCK>() {
            let before = (BLOCK - rest.len()) as u32;
            return Self { before, behind, ..Self::whole(lanes, block) };
        }
        if let (Some(low), Some(high)) = (rest.first_chunk(), rest.last_chunk()) {
            let (low, high) = (lanes.load(low), lanes.load(high));
            return Self { lanes, low, high, apart: (rest.len() - HALF) as u32, before: 0, behind };
        }
        Self { behind, ..Self::whole(lanes, &padded(rest)) }
    }

    /// The bytes that are not in the set, and what is behind the last byte.
    #[inline(always)]
    fn outside(&self, set: &Set) -> u64 {
        self.bits(set) | self.behind
    }

    /// The bytes that are in the set, and what is behind the last byte.
    #[inline(always)]
    fn inside(&self, set: &Set) -> u64 {
        !self.bits(set) | self.behind
    }

    #[inline(always)]
    fn bits(&self, set: &Set) -> u64 {
        let low = u64::from(self.lanes.outside(self.low, set));
        let high = u64::from(self.lanes.outside(self.high, set));
        (low | high << self.apart) >> self.before
    }
}

#[inline(always)]
fn half<L: Lanes>(lanes: L, bytes: Option<&[u8; HALF]>) -> L::Loaded {
    lanes.load(bytes.unwrap_or(&[0; HALF]))
}

/// Fewer bytes than are loaded at once, where there is room for the load.
#[inline(never)]
fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    block
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
    use super::super::Limits;
    use super::{BITS, Lanes, Set, Task};
    use core::arch::x86_64::*;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// What this processor has; 0 until somebody asked.
    static LEVEL: AtomicU8 = AtomicU8::new(0);
    pub(super) const NEITHER: u8 = 1;
    pub(super) const SSE42: u8 = 2;
    pub(super) const AVX2: u8 = 3;

    #[inline(always)]
    pub(super) fn level() -> u8 {
        LEVEL.load(Ordering::Relaxed)
    }

    /// Asks the processor: after that, the level is not 0.
    #[cold]
    pub(super) fn detect() {
        let level = if has_avx2() {
            AVX2
        } else if has_sse42() {
            SSE42
        } else {
            NEITHER
        };
        // Relaxed: whoever comes in between finds out the same by itself.
        LEVEL.store(level, Ordering::Relaxed);
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
    pub(super) unsafe fn run_avx2<'a, T: Task<'a>>(
        bytes: &'a [u8],
        limits: &Limits,
        task: T,
    ) -> T::Output {
        task.run(Avx2(()), bytes, limits)
    }

    /// # Safety
    ///
    /// The processor has SSSE3 and SSE4.2.
    #[target_feature(enable = "sse4.2,ssse3")]
    pub(super) unsafe fn run_sse42<'a, T: Task<'a>>(
        bytes: &'a [u8],
        limits: &Limits,
        task: T,
    ) -> T::Output {
        task.run(Sse42(()), bytes, limits)
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

    /// What is seen of the block at `base`, and of a run of bytes.
    #[derive(Clone, Copy)]
    struct Look<'a> {
        bytes: &'a [u8],
        base: usize,
        run: (usize, usize),
    }

    /// The words, the next end of a value, and how much of the run is of a host's bytes.
    type Seen = (Words, (usize, Words), Option<usize>);

    impl<'a> Task<'a> for Look<'_> {
        type Output = Seen;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L, bytes: &'a [u8], _: &Limits) -> Seen {
            let words = Words::at(lanes, bytes, self.base);
            let next = next_end(lanes, bytes, self.base);
            (words, next, run_of(lanes, bytes, self.run.0, self.run.1, &HOSTS))
        }
    }

    /// What each lane type of this machine sees.
    fn all_lanes(look: Look<'_>) -> Vec<(&'static str, Seen)> {
        let (bytes, limits) = (look.bytes, &Limits::default());
        let mut all =
            vec![("chosen", run(bytes, limits, look)), ("scalar", run_scalar(bytes, limits, look))];
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx2() {
                // SAFETY: the features were just found.
                all.push(("avx2", unsafe { x86::run_avx2(bytes, limits, look) }));
            }
            if x86::has_sse42() {
                // SAFETY: the features were just found.
                all.push(("sse4.2", unsafe { x86::run_sse42(bytes, limits, look) }));
            }
        }
        all
    }

    fn is_in(set: &Set, b: u8) -> bool {
        CLASS[usize::from(b)] & set.class != 0
    }

    /// The words by the class table, a byte at a time.
    fn plain_words(bytes: &[u8], base: usize) -> Words {
        let mut words = Words { names: 0, ends: 0, targets: 0 };
        for at in 0..BLOCK {
            let b = bytes.get(base + at);
            let bit = |is_set: bool| u64::from(b.is_none() || is_set) << at;
            words.names |= bit(b.is_some_and(|b| !is_in(&TOKENS, *b)));
            words.ends |= bit(b.is_some_and(|b| is_in(&CONTROLS, *b)));
            words.targets |= bit(b.is_some_and(|b| !is_in(&TARGETS, *b)));
        }
        words
    }

    fn plain(look: Look<'_>) -> Seen {
        let words = |base| plain_words(look.bytes, base);
        let next = (look.base..).step_by(BLOCK).find(|base| words(*base).ends != 0).unwrap();
        let (from, end) = look.run;
        let looked = end >= HALF && end - from <= HALF;
        let name = || look.bytes[from..end].iter().take_while(|b| is_in(&HOSTS, **b)).count();
        (words(look.base), (next, words(next)), looked.then(name))
    }

    fn agree(bytes: &[u8], base: usize, run: (usize, usize)) {
        let look = Look { bytes, base, run };
        for (name, seen) in all_lanes(look) {
            assert_eq!(seen, plain(look), "{name} of {} from {base}", bytes.escape_ascii());
        }
    }

    #[test]
    fn lanes_agree_on_every_byte_at_every_place() {
        for b in 0..=255 {
            for at in 0..70 {
                let mut bytes = [b'a'; 70];
                bytes[at] = b;
                agree(&bytes, 0, (at.saturating_sub(20), at + 1));
            }
        }
        for len in 0..=3 * BLOCK {
            let bytes = [b'a'].repeat(len);
            (0..=len).step_by(BLOCK).for_each(|base| agree(&bytes, base, (0, len)));
        }
    }

    proptest! {
        #[test]
        fn lanes_agree(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            base in 0..5usize,
            ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let (a, b) = (ends.0.index(bytes.len()), ends.1.index(bytes.len()));
            agree(&bytes, base * BLOCK, (a.min(b), a.max(b)));
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
            agree(&bytes, 0, (a.min(b), a.max(b)));
        }

        #[test]
        fn a_target_is_what_it_is_byte_by_byte(
            mut bytes in prop::collection::vec(prop::sample::select(b"/a?%=z".to_vec()), 1..150),
            other in (any::<prop::sample::Index>(), any::<u8>()),
            at in any::<prop::sample::Index>(),
        ) {
            let (place, at) = (other.0.index(bytes.len()), at.index(bytes.len()));
            bytes[place] = other.1;
            let end = bytes[at..].iter().position(|b| !is_in(&TARGETS, *b));
            let end = end.map_or(bytes.len(), |end| at + end);
            let first = First { bytes: &bytes, words: plain_words(&bytes, 0) };
            prop_assert_eq!(first.target(at).as_bytes(), &bytes[at..end]);
        }

        #[test]
        fn text_is_that_of_ascii_only(bytes in prop::collection::vec(any::<u8>(), 0..9)) {
            let expected = if bytes.is_ascii() { &bytes[..] } else { b"" };
            prop_assert_eq!(ascii(&bytes).as_bytes(), expected);
        }
    }
}
