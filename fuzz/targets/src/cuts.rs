//! Ways to cut bytes into pieces, derived from the bytes themselves.
//!
//! Rule: the cuts of an input are the same in every run, and a byte more or less moves them all.

/// The lengths of the pieces, one after the other; at least 1 each.
pub(crate) struct Cuts {
    state: u64,
    most: u64,
}

impl Cuts {
    /// Pieces of at most `most` bytes.
    pub(crate) fn of(data: &[u8], most: u64) -> Cuts {
        // FNV-1a.
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Cuts { state: data.iter().fold(0xcbf2_9ce4_8422_2325, fold), most }
    }

    /// Each input is run once for each of these: byte by byte, in small pieces, in large ones.
    pub(crate) fn ways(data: &[u8]) -> [Cuts; 3] {
        [Cuts::of(data, 1), Cuts::of(data, 8), Cuts::of(data, (data.len() as u64).max(1))]
    }

    pub(crate) fn next(&mut self) -> usize {
        // splitmix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        1 + ((z ^ (z >> 31)) % self.most) as usize
    }

    /// The ends of the pieces of `len` bytes, the last of them `len`.
    pub(crate) fn ends(mut self, len: usize) -> impl Iterator<Item = usize> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let more = at < len;
            at = len.min(at + self.next());
            more.then_some(at)
        })
    }
}
