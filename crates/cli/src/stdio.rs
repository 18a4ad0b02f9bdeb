//! stdin and stdout as ends of a connection.
//!
//! The kernel's poll cannot watch files, and a terminal or pipe may not be made non-blocking
//! behind the back of whoever shares it. So a thread reads and a thread writes, and the loop is
//! woken by its mailbox.
//!
//! Rules of this file:
//! * Memory is bounded in both directions: the reader stops when its chunks are not taken, and
//!   the loop is told `Full` when the writer is slow.
//! * A lock is held for as long as moving a buffer takes, never while anyone reads or writes.
//! * Whoever is attached is woken when there is something new to look at; it asks, and is told.

use loopwork::tcp::HIGH_WATER;
use loopwork::{Flow, Id, Mailbox};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One read of stdin: what a pipe holds on Linux.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Chunks that are read ahead: one under way, one to follow, and some slack for small ones.
const AHEAD: usize = 4;

struct Shared<S> {
    state: Mutex<S>,
    changed: Condvar,
    mailbox: Mailbox,
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes from a file, read by a thread.
#[derive(Clone)]
pub(crate) struct Input(Arc<Shared<Reading>>);

struct Reading {
    chunks: VecDeque<Vec<u8>>,
    ended: bool,
    attached: Id,
}

impl Input {
    /// Reads stdin in chunks of this size.
    pub(crate) fn stdin(mailbox: Mailbox, chunk: usize) -> io::Result<Input> {
        Input::new(mailbox, chunk, io::stdin())
    }

    /// Reads anything that blocks.
    pub(crate) fn new(
        mailbox: Mailbox,
        chunk: usize,
        from: impl Read + Send + 'static,
    ) -> io::Result<Input> {
        let state = Reading { chunks: VecDeque::new(), ended: false, attached: Id::NOBODY };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), mailbox });
        let input = Input(shared.clone());
        let thread = std::thread::Builder::new().name("stdin".into());
        thread.spawn(move || read(&shared, chunk, from))?;
        Ok(input)
    }

    /// This connection is woken from now on.
    pub(crate) fn attach(&self, id: Id) {
        self.0.lock().attached = id;
    }

    /// The next chunk that lies ready.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        let chunk = self.0.lock().chunks.pop_front();
        if chunk.is_some() {
            self.0.changed.notify_one();
        }
        chunk
    }

    /// Nothing is left, and nothing will come.
    pub(crate) fn finished(&self) -> bool {
        let state = self.0.lock();
        state.ended && state.chunks.is_empty()
    }
}

fn read(shared: &Shared<Reading>, chunk: usize, mut from: impl Read) {
    loop {
        let mut bytes = vec![0; chunk];
        let n = match from.read(&mut bytes) {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            // A terminal that went away, a descriptor that was closed: nothing more comes.
            Err(_) => 0,
        };
        bytes.truncate(n);
        bytes.shrink_to_fit();
        let mut state = shared.lock();
        while state.chunks.len() >= AHEAD {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match n {
            0 => state.ended = true,
            _ => state.chunks.push_back(bytes),
        }
        shared.mailbox.wake(state.attached);
        if n == 0 {
            return;
        }
    }
}

/// Bytes to a file, written by a thread.
#[derive(Clone)]
pub(crate) struct Output(Arc<Shared<Writing>>);

struct Writing {
    waiting: Vec<u8>,
    busy: bool,
    full: bool,
    ended: bool,
    failed: Option<ErrorKind>,
    attached: Id,
}

impl Output {
    /// Writes to stdout.
    pub(crate) fn stdout(mailbox: Mailbox) -> io::Result<Output> {
        Output::new(mailbox, io::stdout())
    }

    /// Writes to anything that blocks.
    pub(crate) fn new(mailbox: Mailbox, to: impl Write + Send + 'static) -> io::Result<Output> {
        let state = Writing {
            waiting: Vec::new(),
            busy: false,
            full: false,
            ended: false,
            failed: None,
            attached: Id::NOBODY,
        };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), mailbox });
        let output = Output(shared.clone());
        let thread = std::thread::Builder::new().name("stdout".into());
        thread.spawn(move || write(&shared, to))?;
        Ok(output)
    }

    /// This connection is woken from now on: when there is room again, or writing has failed.
    pub(crate) fn attach(&self, id: Id) {
        self.0.lock().attached = id;
    }

    /// Appends bytes. `Full`: they are kept, and nothing more should come until there is room.
    pub(crate) fn push(&self, bytes: &[u8]) -> Flow {
        let mut state = self.0.lock();
        if state.failed.is_none() {
            state.waiting.extend_from_slice(bytes);
            state.full |= state.waiting.len() > HIGH_WATER;
            self.0.changed.notify_all();
        }
        if state.full { Flow::Full } else { Flow::Open }
    }

    /// Whether more should be pushed.
    pub(crate) fn flow(&self) -> Flow {
        if self.0.lock().full { Flow::Full } else { Flow::Open }
    }

    /// Writing has failed, and why: what was pushed since is lost.
    pub(crate) fn failed(&self) -> Option<ErrorKind> {
        self.0.lock().failed
    }

    /// Everything is written, or cannot be; waits so long for it at most.
    pub(crate) fn flushed(&self, wait: Duration) -> bool {
        let mut state = self.0.lock();
        state.ended = true;
        self.0.changed.notify_all();
        let open = |s: &mut Writing| s.failed.is_none() && (s.busy || !s.waiting.is_empty());
        let result = self.0.changed.wait_timeout_while(state, wait, open);
        let (mut state, _) = result.unwrap_or_else(PoisonError::into_inner);
        !open(&mut state)
    }
}

fn write(shared: &Shared<Writing>, mut to: impl Write) {
    let mut bytes = Vec::new();
    loop {
        let mut state = shared.lock();
        while state.waiting.is_empty() && !state.ended {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.waiting.is_empty() {
            return;
        }
        std::mem::swap(&mut state.waiting, &mut bytes);
        state.busy = true;
        if std::mem::take(&mut state.full) {
            shared.mailbox.wake(state.attached);
        }
        drop(state);
        let result = to.write_all(&bytes).and_then(|()| to.flush());
        bytes.clear();
        let mut state = shared.lock();
        state.busy = false;
        if let Err(error) = result {
            (state.failed, state.full) = (Some(error.kind()), false);
            state.waiting.clear();
            shared.mailbox.wake(state.attached);
        }
        shared.changed.notify_all();
        if state.failed.is_some() {
            return;
        }
    }
}
