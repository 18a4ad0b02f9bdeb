//! Bodies of any length whose every byte is known, so that none has to be kept to be compared.

/// What bodies are made of, again and again: what `yes abcdefghijklmno` prints.
const LINE: &[u8; 16] = b"abcdefghijklmno\n";
/// As much as is compared or written at a time.
pub(crate) const BLOCK: usize = 64 * 1024;
/// A block that begins anywhere in a line is in here.
pub(crate) static LINES: [u8; BLOCK + LINE.len()] = lines();
/// What a file is read as where nothing was written.
pub(crate) static ZEROS: [u8; BLOCK + LINE.len()] = [0; BLOCK + LINE.len()];

const fn lines() -> [u8; BLOCK + LINE.len()] {
    let mut all = [0; BLOCK + LINE.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = LINE[i % LINE.len()];
        i += 1;
    }
    all
}

/// Whether `bytes`, which begin `at` bytes behind the beginning, are those of `block`.
pub(crate) fn same(block: &[u8], at: u64, bytes: &[u8]) -> bool {
    let mut at = (at % LINE.len() as u64) as usize;
    bytes.chunks(BLOCK).all(|part| {
        let equal = part == &block[at..at + part.len()];
        at = (at + part.len()) % LINE.len();
        equal
    })
}
