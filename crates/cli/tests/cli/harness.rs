//! Programs that are started, listened to with a bound, and ended.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// Says that this test is left out, and why: to the terminal itself, since what a test prints is
/// shown only when it fails.
pub(crate) fn skipped(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "{}: skipped, {why}", thread.name().unwrap_or("a test"));
}

/// Bytes so far, and whether no more come.
type Sofar = (Vec<u8>, bool);

/// Bytes that a thread collects from a pipe.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<(Mutex<Sofar>, Condvar)>);

impl Heard {
    fn listen(mut from: impl Read + Send + 'static) -> Heard {
        let heard = Heard::default();
        let Heard(inner) = heard.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            loop {
                let n = from.read(&mut bytes).unwrap_or(0);
                let mut state = inner.0.lock().unwrap();
                state.0.extend_from_slice(&bytes[..n]);
                state.1 |= n == 0;
                inner.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        heard
    }

    /// Waits until what was heard satisfies `done`, or ends.
    fn until(&self, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let state = self.0.0.lock().unwrap();
        let go_on = |s: &mut Sofar| !s.1 && !done(&s.0);
        let (state, time) = self.0.1.wait_timeout_while(state, WAIT, go_on).unwrap();
        let text = String::from_utf8_lossy(&state.0);
        assert!(!time.timed_out(), "waited in vain; heard {:?}", &text[..text.len().min(2000)]);
        state.0.clone()
    }

    pub(crate) fn line_with(&self, part: &str) -> String {
        let find = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.find(|line| line.contains(part)).map(|line| line.trim_end().to_string())
        };
        let bytes = self.until(|bytes| find(bytes).is_some());
        find(&bytes)
            .unwrap_or_else(|| panic!("no {part:?} in {:?}", String::from_utf8_lossy(&bytes)))
    }

    pub(crate) fn bytes(&self, n: usize) -> Vec<u8> {
        self.until(|bytes| bytes.len() >= n)
    }
}

/// Where nobody listens: the system gives this port to nobody who asks for a free one.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

/// A running `loopwork`.
pub(crate) struct Run {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) out: Heard,
    pub(crate) err: Heard,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// That code, and one line for a failure.
    pub(crate) fn failed(&self, code: i32, part: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "one line: {self:?}");
        assert!(self.err.contains(part), "{part:?} is missing: {self:?}");
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopwork"));
    command.args(args);
    command
}

/// Starts it, with stdin as a pipe.
pub(crate) fn start(args: &[&str]) -> Run {
    Run::of(&mut command(args))
}

/// Runs it to its end, with this stdin.
pub(crate) fn run(args: &[&str], stdin: &[u8]) -> Ended {
    let mut run = start(args);
    run.feed(stdin.to_vec(), true);
    run.ended()
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Run {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        let out = Heard::listen(child.stdout.take().unwrap());
        let err = Heard::listen(child.stderr.take().unwrap());
        Run { stdin: child.stdin.take(), child, out, err }
    }

    /// Writes to stdin in a thread of its own; closes it behind that, or keeps it.
    pub(crate) fn feed(&mut self, bytes: Vec<u8>, close: bool) {
        let mut stdin = self.stdin.take().expect("stdin is open");
        if close {
            // Who does not read it all may end before.
            std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        } else {
            stdin.write_all(&bytes).expect("stdin");
            self.stdin = Some(stdin);
        }
    }

    /// The address behind `listening on SCHEME://`, from stdout.
    pub(crate) fn listening(&self, scheme: &str) -> SocketAddr {
        address(&self.out.line_with("listening on"), scheme)
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill");
        assert!(sent.success());
    }

    pub(crate) fn ended(mut self) -> Ended {
        let limit = Instant::now() + WAIT;
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < limit, "it does not end; stderr: {:?}", self.err.0.0.lock());
            std::thread::sleep(Duration::from_millis(2));
        };
        let out = self.out.until(|_| false);
        let err = String::from_utf8_lossy(&self.err.until(|_| false)).into_owned();
        Ended { code, out, err }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Ended already, most of the time.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn address(line: &str, scheme: &str) -> SocketAddr {
    let front = format!("listening on {scheme}://");
    let at = line.strip_prefix(&front).unwrap_or_else(|| panic!("{line:?} is not {front}..."));
    at.parse().unwrap_or_else(|_| panic!("{at:?} is no address"))
}

pub(crate) fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&at, WAIT).expect("a connection");
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.set_write_timeout(Some(WAIT)).unwrap();
    stream
}

/// All that comes until the peer's end.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the peer's end");
    bytes
}

/// Sends everything, ends our side, hears everything.
pub(crate) fn exchange(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(at);
    let mut writer = stream.try_clone().unwrap();
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let heard = rest(&mut stream);
    writing.join().unwrap();
    heard
}

/// A request without a body, answered by a whole response: its head as text, and its body.
pub(crate) fn ask(at: SocketAddr, line: &str, headers: &[&str]) -> (String, Vec<u8>) {
    let mut text = format!("{line} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n");
    headers.iter().for_each(|header| text.push_str(&format!("{header}\r\n")));
    text.push_str("\r\n");
    let heard = exchange(at, text.as_bytes());
    let end = heard.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&heard[..end]).into_owned(), heard[end..].to_vec())
}

/// A server of canned answers: one connection each, in order; what it heard of each one.
pub(crate) fn canned(answers: Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serve = move || {
        let mut heard = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(WAIT)).unwrap();
            let mut head = Vec::new();
            let mut bytes = [0; 65536];
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut bytes) {
                    Ok(n) if n > 0 => head.extend_from_slice(&bytes[..n]),
                    _ => break,
                }
            }
            heard.push(String::from_utf8_lossy(&head).into_owned());
            // It may hang up before it has heard all.
            let _ = stream.write_all(&answer);
        }
        heard
    };
    (at, std::thread::spawn(serve))
}

/// A folder of its own, gone with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("loopwork-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path.canonicalize().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes without a pattern that a lost or doubled piece could hide in.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&next());
    }
    bytes.truncate(len);
    bytes
}

/// Compares without printing megabytes.
#[track_caller]
pub(crate) fn same(found: &[u8], wanted: &[u8]) {
    let differs = found.iter().zip(wanted).position(|(a, b)| a != b);
    assert!(differs.is_none(), "differs at byte {differs:?}");
    assert_eq!(found.len(), wanted.len(), "the length differs");
}
