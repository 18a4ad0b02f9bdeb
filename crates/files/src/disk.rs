//! Whether a file's name and bytes are in memory, and how they come there without the loop's
//! waiting.
//!
//! Rules of this file:
//! * The loop's thread only asks; what has to be read is read by a thread that may block.
//! * Who asks is not told *no* wrongly for long: what was read is sent without being asked again.
//! * A question is cheap beside what it is about: one for each [`STRIDE`]. So a gap between two of
//!   them, which somebody else's reading has left, is not seen, and costs the loop its reading.

use loopwork_http::tcp::reactor::{Env, Id};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of which one is asked for: what a disk reads in a few milliseconds.
pub(crate) const STRIDE: u64 = 1024 * 1024;
/// What is handed over at once of a file in memory, at most: a peer that takes a minute for it
/// finds the last of it still there, since what was looked at a minute ago is not what goes first.
pub(crate) const WINDOW: u64 = 16 * STRIDE;
/// What one job reads: large enough that a thread's wake is nothing beside it, and small enough
/// that the first bytes leave soon.
const PIECE: u64 = 2 * STRIDE;
/// One read of a job.
const BUFFER: usize = 128 * 1024;
/// Who is woken when a job has ended, of those for whom there was none.
const WOKEN: usize = 8;

/// The disk, or what a test puts in its place.
pub(crate) struct Disk {
    /// Whether the byte at this offset is in memory.
    pub(crate) has: fn(&File, u64) -> bool,
    /// Reads a range, and waits until it is there.
    pub(crate) read: fn(&File, Range<u64>),
    /// Whether what a path leads to is in memory, if it leads anywhere.
    pub(crate) knows: fn(&Path) -> bool,
    /// Looks at paths, and waits until that is done.
    pub(crate) look: fn(&[PathBuf]),
}

/// The one that there is.
pub(crate) static DISK: Disk = Disk { has, read, knows, look };

/// Who waits for a job of the loop's, which has them in common.
#[derive(Default)]
struct Jobs {
    under_way: usize,
    waiting: VecDeque<Id>,
}

impl Disk {
    /// So much of the range, from its beginning, seems to be in memory, up to a [`WINDOW`].
    pub(crate) fn hot(&self, file: &File, range: &Range<u64>) -> u64 {
        let most = range.end.min(range.start.saturating_add(WINDOW));
        let mut at = range.start;
        while at < most && (self.has)(file, at) {
            at = most.min(at.saturating_add(STRIDE));
        }
        at
    }

    /// Begins to read a range in a thread that may block, as much as one job reads. `id` is woken
    /// when that is there, or when there may be room for the job.
    pub(crate) fn fetch(
        &'static self,
        env: &mut Env,
        id: Id,
        file: &Arc<File>,
        range: &Range<u64>,
    ) -> Fetch {
        let part = range.start..range.end.min(range.start.saturating_add(PIECE));
        let (read, file, wanted) = (self.read, file.clone(), part.clone());
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        let asked = env.blocking(
            move || read(&file, wanted),
            move |env, _| {
                flag.store(true, Ordering::Relaxed);
                ended(env, id);
            },
        );
        let jobs = env.shared.one::<Jobs>();
        if asked.is_ok() {
            jobs.under_way += 1;
            return Fetch::Begun(part, done);
        }
        if jobs.under_way == 0 {
            // The threads have other things to do, and nobody would tell us when they have not.
            return Fetch::Never(part);
        }
        jobs.waiting.push_back(id);
        Fetch::Later
    }
}

/// What becomes of a wish to read.
pub(crate) enum Fetch {
    /// This is being read; it has been when the flag is up.
    Begun(Range<u64>, Arc<AtomicBool>),
    /// It is to be wished again when woken.
    Later,
    /// Nobody reads this.
    Never(Range<u64>),
}

/// A job has ended; whether it could read, the sending will find out.
fn ended(env: &mut Env, id: Id) {
    let jobs = env.shared.one::<Jobs>();
    jobs.under_way -= 1;
    // Some may be gone by now; so the last job tells all that are left.
    let some = if jobs.under_way == 0 { jobs.waiting.len() } else { WOKEN };
    let next: Vec<Id> = jobs.waiting.drain(..some.min(jobs.waiting.len())).collect();
    env.wake(id);
    next.into_iter().for_each(|id| env.wake(id));
}

/// A read of one byte that does not wait. A file system that cannot tell has it not, but for those
/// that are memory themselves.
#[cfg(target_os = "linux")]
fn has(file: &File, at: u64) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut byte = [0];
    let mut into = [std::io::IoSliceMut::new(&mut byte)];
    match preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT) {
        Ok(_) => true,
        Err(Errno::OPNOTSUPP) => {
            rustix::fs::fstatfs(file).is_ok_and(|about| about.f_type as u64 == TMPFS)
        }
        Err(_) => false,
    }
}

/// No other system can tell.
#[cfg(not(target_os = "linux"))]
fn has(_: &File, _: u64) -> bool {
    false
}

/// `TMPFS_MAGIC` of `linux/magic.h`.
#[cfg(target_os = "linux")]
const TMPFS: u64 = 0x0102_1994;

/// Names it without opening it, if that needs no disk. An older system cannot tell, and is asked
/// as if it had it: a thread for each request costs more than it saves.
#[cfg(target_os = "linux")]
fn knows(path: &Path) -> bool {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let (how, cached) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::CACHED);
    openat2(CWD, path, how, Mode::empty(), cached).err() != Some(rustix::io::Errno::AGAIN)
}

#[cfg(not(target_os = "linux"))]
fn knows(_: &Path) -> bool {
    true
}

fn look(paths: &[PathBuf]) {
    for path in paths {
        let _ = path.metadata();
    }
}

fn read(file: &File, range: Range<u64>) {
    let mut buffer = vec![0; BUFFER];
    let mut at = range.start;
    while at < range.end {
        let room = BUFFER.min(usize::try_from(range.end - at).unwrap_or(BUFFER));
        match file.read_at(&mut buffer[..room], at) {
            Ok(n) if n > 0 => at += n as u64,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            // It cannot be read or has become shorter, which ends the sending too.
            _ => return,
        }
    }
    will_need(file, range.end);
}

/// What comes next may be read while this is sent.
#[cfg(target_os = "linux")]
fn will_need(file: &File, from: u64) {
    use rustix::fs::{Advice, fadvise};
    let _ = fadvise(file, from, std::num::NonZeroU64::new(PIECE), Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn will_need(_: &File, _: u64) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Files;
    use loopwork_http::Http;
    use loopwork_http::tcp::listen;
    use loopwork_http::tcp::reactor::{Loop, Mailbox, Os};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::{Condvar, Mutex, PoisonError, mpsc};
    use std::thread::JoinHandle;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);
    /// Two jobs' reading, and some of a third.
    const LEN: u64 = 2 * PIECE + 12_345;

    fn content() -> Vec<u8> {
        (0..LEN).map(|n| (n % 251) as u8).collect()
    }

    /// A server of a folder with the files `a` and `b`, on a disk that is given, in a thread of
    /// the name `loop`.
    struct Site {
        at: SocketAddr,
        folder: PathBuf,
        mailbox: Mailbox,
        thread: Option<JoinHandle<()>>,
    }

    impl Site {
        fn new(name: &str, disk: &'static Disk) -> Site {
            let folder = format!("loopwork-disk-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            for name in ["a", "b"] {
                std::fs::write(folder.join(name), content()).unwrap();
            }
            let (tell, told) = mpsc::channel();
            let root = folder.clone();
            let body = move || {
                let mut lp = Loop::new(Os::new().unwrap());
                let mut files = Files::new(root).unwrap();
                files.disk = disk;
                let any = "127.0.0.1:0".parse().unwrap();
                let (_, at) = listen(&mut lp, any, Http::new(files)).unwrap();
                tell.send((at, lp.mailbox().unwrap())).unwrap();
                lp.run().unwrap();
            };
            let thread = std::thread::Builder::new().name("loop".into()).spawn(body).unwrap();
            let (at, mailbox) = told.recv_timeout(PATIENCE).unwrap();
            Site { at, folder, mailbox, thread: Some(thread) }
        }

        fn ask(&self, path: &str, range: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.at).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let text =
                format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{range}\r\n");
            stream.write_all(text.as_bytes()).unwrap();
            stream
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            self.mailbox.stop();
            let ended = self.thread.take().map(JoinHandle::join);
            let _ = std::fs::remove_dir_all(&self.folder);
            assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))));
        }
    }

    fn body(mut stream: TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let head = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        all.split_off(head)
    }

    fn on_loop() -> bool {
        std::thread::current().name() == Some("loop")
    }

    #[test]
    fn what_is_not_in_memory_is_read_elsewhere_piece_by_piece() {
        static READ: Mutex<Vec<Range<u64>>> = Mutex::new(Vec::new());
        fn has(_: &File, _: u64) -> bool {
            assert!(on_loop());
            false
        }
        fn read(_: &File, range: Range<u64>) {
            assert!(!on_loop());
            READ.lock().unwrap().push(range);
        }
        static COLD: Disk = Disk { has, read, knows, look };
        let site = Site::new("cold", &COLD);
        assert!(body(site.ask("/a", "")) == content());
        let pieces = [0..PIECE, PIECE..2 * PIECE, 2 * PIECE..LEN];
        assert_eq!(std::mem::take(&mut *READ.lock().unwrap()), pieces);
        assert_eq!(body(site.ask("/a", "Range: bytes=5-9\r\n")), content()[5..10]);
        assert_eq!(*READ.lock().unwrap(), vec![5..10; 1]);
        // Several ranges, the later before the earlier.
        READ.lock().unwrap().clear();
        let parts = body(site.ask("/a", "Range: bytes=3000-3999,7-8,-3\r\n"));
        assert_eq!(*READ.lock().unwrap(), [3000..4000, 7..9, LEN - 3..LEN]);
        let has = |part: &[u8]| parts.windows(part.len()).any(|w| w == part);
        assert!(has(&content()[3000..4000]) && has(&content()[LEN as usize - 3..]));
    }

    #[test]
    fn the_loop_does_not_wait_for_the_disk() {
        static SLOW: Mutex<bool> = Mutex::new(true);
        static FAST: Condvar = Condvar::new();
        fn has(file: &File, _: u64) -> bool {
            // `a` is cold, and `b` is not.
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
            std::fs::read_link(path).is_ok_and(|path| path.ends_with("b"))
        }
        fn read(_: &File, _: Range<u64>) {
            let slow = SLOW.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = FAST.wait_timeout_while(slow, PATIENCE, |slow| *slow).unwrap();
        }
        static HALF: Disk = Disk { has, read, knows, look };
        let site = Site::new("slow", &HALF);
        let waits = site.ask("/a", "");
        for _ in 0..3 {
            assert!(body(site.ask("/b", "")) == content());
        }
        // Its head is out, and nothing else: the disk has not read.
        *SLOW.lock().unwrap() = false;
        FAST.notify_all();
        assert!(body(waits) == content());
    }

    #[test]
    fn a_name_that_is_not_in_memory_is_looked_up_elsewhere() {
        static SLOW: Mutex<bool> = Mutex::new(true);
        static FAST: Condvar = Condvar::new();
        static LOOKED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
        fn knows(path: &Path) -> bool {
            assert!(on_loop());
            path.ends_with("b")
        }
        fn look(paths: &[PathBuf]) {
            assert!(!on_loop());
            let slow = SLOW.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = FAST.wait_timeout_while(slow, PATIENCE, |slow| *slow).unwrap();
            LOOKED.lock().unwrap().extend_from_slice(paths);
        }
        static FAR: Disk = Disk { has, read, knows, look };
        let site = Site::new("far", &FAR);
        let waits = site.ask("/a", "Range: bytes=5-9\r\n");
        for _ in 0..3 {
            assert!(body(site.ask("/b", "")) == content());
        }
        *SLOW.lock().unwrap() = false;
        FAST.notify_all();
        assert_eq!(body(waits), content()[5..10]);
        assert!(body(site.ask("/nothing", "")).starts_with(b"<!"), "a page that says so");
        assert_eq!(
            body(site.ask("/", "Accept: text/html\r\n")).len(),
            body(site.ask("/x", "")).len()
        );
        let names = ["a", "nothing", "index.html", "x"];
        let looked = std::mem::take(&mut *LOOKED.lock().unwrap());
        assert_eq!(looked.len(), names.len());
        assert!(looked.iter().zip(names).all(|(path, name)| path.ends_with(name)), "{looked:?}");
    }

    #[test]
    fn more_wishes_than_jobs() {
        static READS: Mutex<usize> = Mutex::new(0);
        fn has(_: &File, _: u64) -> bool {
            false
        }
        fn read(_: &File, _: Range<u64>) {
            *READS.lock().unwrap() += 1;
        }
        static COLD: Disk = Disk { has, read, knows, look };
        let mut lp = Loop::new(Os::new().unwrap());
        let file = Arc::new(File::open("/dev/null").unwrap());
        let ids: Vec<Id> = (0..2_000).map(|birth| Id { birth, slot: 0, driver: 0 }).collect();
        let mut begun = 0;
        for id in ids {
            match COLD.fetch(&mut lp.env, id, &file, &(0..1)) {
                Fetch::Begun(part, done) => {
                    assert!(part == (0..1) && !done.load(Ordering::Relaxed));
                    begun += 1;
                }
                Fetch::Later => {}
                Fetch::Never(_) => panic!("some are under way"),
            }
        }
        assert_eq!(lp.env.shared.one::<Jobs>().waiting.len(), 2_000 - begun);
        lp.run().unwrap();
        let jobs = lp.env.shared.one::<Jobs>();
        assert_eq!((jobs.under_way, jobs.waiting.len()), (0, 0), "all were told");
        assert_eq!(*READS.lock().unwrap(), begun);
    }

    #[test]
    fn a_window_ends_where_the_memory_does() {
        fn has(_: &File, at: u64) -> bool {
            !(20 * STRIDE..30 * STRIDE).contains(&at)
        }
        static GAP: Disk = Disk { has, read, knows, look };
        let file = File::open("/dev/null").unwrap();
        for (range, end) in [
            (0..5, 5),
            (0..100 * STRIDE, WINDOW),
            (10 * STRIDE..100 * STRIDE, 20 * STRIDE),
            (10 * STRIDE + 7..100 * STRIDE, 20 * STRIDE + 7),
            (20 * STRIDE..100 * STRIDE, 20 * STRIDE),
            (30 * STRIDE..u64::MAX, 46 * STRIDE),
            (u64::MAX - 1..u64::MAX, u64::MAX),
        ] {
            assert_eq!(GAP.hot(&file, &range), end, "{range:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_real_file_that_was_forgotten_is_read() {
        let path = std::env::temp_dir().join(format!("loopwork-forgotten-{}", std::process::id()));
        std::fs::write(&path, content()).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        std::fs::remove_file(&path).unwrap();
        // What was just written is there, if the file system can tell.
        let tells = has(&file, 0);
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        // One in memory forgets nothing.
        if tells && !has(&file, 0) {
            // A machine without memory may push out what was just read: not again and again.
            let there = (0..100).any(|_| {
                read(&file, 0..LEN);
                DISK.hot(&file, &(0..LEN)) == LEN
            });
            assert!(there);
        }
        read(&file, LEN..2 * LEN);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_in_memory_has_all() {
        let path = format!("/dev/shm/loopwork-disk-{}", std::process::id());
        // Some systems have none, or none for us.
        let Ok(()) = std::fs::write(&path, content()) else { return };
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let about = rustix::fs::fstatfs(&file).unwrap();
        assert!(about.f_type as u64 != TMPFS || DISK.hot(&file, &(0..LEN)) == LEN);
    }
}
