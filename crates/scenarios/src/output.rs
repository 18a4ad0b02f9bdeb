//! Output in all the forms that a stream takes it: copied, shared, of the program's own, given
//! away, and from a file.
//!
//! Rules of this file:
//! * Whatever the form, what arrives is [`pattern`]: who reads cannot tell how it was written.
//! * The file is a real one, made once for each thread, and gone from its folder when it is open.
//!   Nobody writes to it again, so a run depends on nothing that it could change.

use crate::ledger::{Book, insert};
use crate::stage::{pattern, piece, random};
use loopwork::Flow;
use loopwork::tcp::Io;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Streams whose bytes are in files.
pub(crate) const STREAMS: u32 = 8;
/// Bytes of each; what is behind is written plainly.
const LENGTH: usize = crate::plan::BYTES as usize;
/// What files have of them that are too short.
pub(crate) const SHORT: usize = 20_000;
/// Pieces of a file are longer than others, so that one takes several windows.
const FILE_MAX: u32 = 40_000;

/// The bytes of all streams, one behind the other.
fn whole() -> &'static [u8] {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    let at = |n: u32| (0..LENGTH).map(move |at| pattern(n, at));
    WHOLE.get_or_init(|| (0..STREAMS).flat_map(at).collect())
}

/// A file with these bytes that no folder has any more.
fn scratch(bytes: &[u8]) -> Arc<File> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("loopwork-scenarios-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let mut file = made.expect("a scratch file");
    std::fs::remove_file(&path).expect("it is ours");
    file.write_all(bytes).expect("room for it");
    Arc::new(file)
}

/// The files of a thread.
#[derive(Clone)]
pub(crate) struct Files {
    /// All streams, each of [`LENGTH`] bytes.
    long: Arc<File>,
    /// Of each stream [`SHORT`] bytes.
    short: Vec<Arc<File>>,
}

thread_local! {
    static FILES: Files = {
        let short = whole().chunks_exact(LENGTH).map(|stream| scratch(&stream[..SHORT]));
        Files { long: scratch(whole()), short: short.collect() }
    };
}

impl Files {
    /// Those of this thread.
    pub(crate) fn get() -> Files {
        FILES.with(Files::clone)
    }

    /// Nobody else than the thread holds them any more.
    pub(crate) fn are_free() -> bool {
        let free = |file: &Arc<File>| Arc::strong_count(file) == 1;
        FILES.with(|of| free(&of.long) && of.short.iter().all(free))
    }

    /// Writes the next piece of stream `n`, of `left` bytes at most, in any form; how long it was.
    pub(crate) fn write(
        &self,
        book: &Book,
        io: &mut Io<'_>,
        (n, at, left): (u32, usize, usize),
    ) -> (usize, Flow) {
        let form = random(io.env, 5);
        let most = if form == 4 { FILE_MAX } else { 9000 };
        let len = (1 + random(io.env, most) as usize).min(left);
        let bytes = piece(n, at, len);
        let from = n as usize * LENGTH + at;
        let kept = at + len <= LENGTH;
        let flow = match form {
            1 => insert(book, io, &bytes, |io| io.write_shared(&bytes.clone().into())),
            2 => insert(book, io, &bytes, |io| io.write_owned(bytes.clone())),
            3 if kept => insert(book, io, &bytes, |io| io.write_static(&whole()[from..][..len])),
            4 if kept => {
                let mut range = from as u64..(from + len) as u64;
                let flow = insert(book, io, &bytes, |io| io.write_file(&self.long, &mut range));
                assert!(range.is_empty(), "a plain connection takes all of it");
                flow.expect("nothing is read here")
            }
            _ => io.write(&bytes),
        };
        (len, flow)
    }

    /// Writes a range of stream `n`, from `at` on, that goes beyond its file's end: how many bytes
    /// of it there are.
    pub(crate) fn write_short(&self, book: &Book, io: &mut Io<'_>, n: u32, at: usize) -> usize {
        let file = &self.short[n as usize];
        let bytes = &whole()[n as usize * LENGTH..][at..SHORT];
        let mut range = at as u64..SHORT as u64 + 1 + u64::from(random(io.env, FILE_MAX));
        let flow = insert(book, io, bytes, |io| io.write_file(file, &mut range));
        let _ = flow.expect("nothing is read here");
        bytes.len()
    }
}

/// Writes bytes that somebody else has, in one of the forms that need no file.
pub(crate) fn give_back(book: &Book, io: &mut Io<'_>, bytes: &[u8]) {
    let _ = match random(io.env, 6) {
        0 => insert(book, io, bytes, |io| io.write_shared(&Arc::from(bytes))),
        1 => insert(book, io, bytes, |io| io.write_owned(bytes.to_vec())),
        _ => io.write(bytes),
    };
}
