//! Fetching from `main`: calls that return when there is something, over a loop of their own.
//!
//! Rules of this file:
//! * Not for callbacks of a loop, which they would hold up: there it is [`Fetch::begin`].
//! * What is not read is not fetched: between two reads the loop stands still, and at most a pipe
//!   and what the kernel keeps have come.

use super::{
    Agent, Asking, Content, Done, Error, Fetch, Fetching, Head, LIMIT, Page, Taker, Upload,
};
use crate::reactor::Key;
use crate::{Env, Flow, Loop, Os};
use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};

/// One read of what is sent.
const CHUNK: usize = 64 * 1024;

/// Fetches a URL, follows redirects, and returns the whole answer, of any status. Blocks until it
/// is there. Without a scheme a URL is one of `http`. The body may be of [`LIMIT`] bytes.
///
/// ```
/// # use std::{io::{Read, Write}, net::TcpListener, thread};
/// # let server = TcpListener::bind("127.0.0.1:0")?;
/// # let at = server.local_addr()?;
/// # thread::spawn(move || {
/// #     let (mut stream, _) = server.accept().unwrap();
/// #     stream.read(&mut [0; 4096]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// # });
/// let page = loopwork::http_get(&format!("http://{at}/"))?;
/// assert!(page.head.ok());
/// assert_eq!(page.text(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// There is no answer, or no whole one.
pub fn http_get(url: &str) -> Result<Page, Error> {
    Fetch::get(url).wait()
}

/// What came, and was not read yet.
#[derive(Default)]
struct Inbox {
    head: Option<Head>,
    bytes: Vec<u8>,
    end: Option<Result<Done, Error>>,
}

/// Puts into the inbox what comes, and sends what a reader has.
struct Post<R> {
    inbox: Key<Inbox>,
    agent: Agent,
    fetching: Option<Fetching>,
    source: R,
    /// The source failed.
    failed: Option<io::Error>,
}

/// An answer whose body is read as it comes. Dropped, it gives up what was not read.
///
/// ```
/// # use std::{io::{Read, Write}, net::TcpListener, thread};
/// # let server = TcpListener::bind("127.0.0.1:0")?;
/// # let at = server.local_addr()?;
/// # thread::spawn(move || {
/// #     let (mut stream, _) = server.accept().unwrap();
/// #     stream.read(&mut [0; 4096]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// # });
/// use loopwork::Fetch;
/// let mut answer = Fetch::get(&format!("http://{at}/")).header("Accept", "text/plain").open()?;
/// let (mut file, status) = (Vec::new(), answer.head.status);
/// std::io::copy(&mut answer, &mut file)?;
/// assert_eq!((status, &file[..]), (200, &b"hello"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Download {
    /// The answer's head.
    pub head: Head,
    lp: Loop<Os>,
    agent: Agent,
    fetching: Fetching,
    inbox: Key<Inbox>,
    bytes: Vec<u8>,
    read: usize,
    done: Option<Done>,
    failed: bool,
}

impl Fetch {
    /// Blocks until the whole answer is there, of any status.
    ///
    /// # Errors
    /// There is none, or no whole one; a longer body than its [limit](Fetch::limit) is
    /// [`Error::TooLong`].
    pub fn wait(mut self) -> Result<Page, Error> {
        self.limit.get_or_insert(LIMIT);
        self.open()?.whole()
    }

    /// Blocks until the head of the answer is there; its body can be [read](Read).
    ///
    /// # Errors
    /// There is none.
    pub fn open(self) -> Result<Download, Error> {
        self.start(io::empty())
    }

    /// As [`open`](Fetch::open), and the body is what `source` has, read as it is sent: of the
    /// length that [`stream`](Fetch::stream) says, else in chunks.
    ///
    /// # Errors
    /// There is no answer; [`Error::Source`] if the source cannot be read.
    pub fn send(mut self, source: impl Read + 'static) -> Result<Download, Error> {
        if !matches!(self.body, Content::Stream(_)) {
            self.body = Content::Stream(None);
        }
        self.start(source)
    }

    fn start(self, source: impl Read + 'static) -> Result<Download, Error> {
        let os = Os::new().map_err(Error::Loop)?;
        let mut lp = Loop::new(os);
        let agent = Agent::new(&mut lp);
        #[cfg(feature = "tls")]
        agent.secure(&mut lp, || {
            use crate::tls::config::{Trust, client};
            client(&Trust::Machine, None)
        });
        let inbox = lp.env.shared.add(Inbox::default());
        let post = Post { inbox, agent, fetching: None, source, failed: None };
        let fetching = self.begin(&mut lp.env, agent, post);
        loop {
            let Inbox { head, end, .. } = lp.env.shared.get(inbox);
            if let Some(head) = head.take() {
                let (bytes, read, done, failed) = (Vec::new(), 0, None, false);
                return Ok(Download {
                    head,
                    lp,
                    agent,
                    fetching,
                    inbox,
                    bytes,
                    read,
                    done,
                    failed,
                });
            }
            if let Some(Err(error)) = end.take() {
                return Err(error);
            }
            lp.turn(None).map_err(Error::Loop)?;
        }
    }
}

impl Download {
    /// What has come of the body, at least a byte; nothing at its end.
    ///
    /// # Errors
    /// The rest will not come. Said once; then it is the end.
    pub fn fill(&mut self) -> Result<&[u8], Error> {
        while self.read == self.bytes.len() && self.done.is_none() && !self.failed {
            let inbox = self.lp.env.shared.get(self.inbox);
            if !inbox.bytes.is_empty() {
                self.bytes.clear();
                self.read = 0;
                std::mem::swap(&mut self.bytes, &mut inbox.bytes);
                break;
            }
            match inbox.end.take() {
                Some(Ok(done)) => self.done = Some(done),
                Some(Err(error)) => {
                    self.failed = true;
                    return Err(error);
                }
                None => {
                    self.agent.resume(&mut self.lp.env, self.fetching);
                    self.lp.turn(None).map_err(Error::Loop)?;
                }
            }
        }
        Ok(&self.bytes[self.read..])
    }

    /// The rest of the answer.
    ///
    /// # Errors
    /// As [`fill`](Download::fill).
    pub fn whole(mut self) -> Result<Page, Error> {
        let mut body = Vec::new();
        loop {
            let bytes = self.fill()?;
            if bytes.is_empty() {
                break;
            }
            let n = bytes.len();
            body.extend_from_slice(bytes);
            self.consume(n);
        }
        let done = self.done.ok_or(Error::Cancelled)?;
        Ok(Page::new(self.head, body, done))
    }
}

impl BufRead for Download {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill().map_err(io::Error::other)
    }

    fn consume(&mut self, n: usize) {
        self.read = self.bytes.len().min(self.read + n);
    }
}

impl Read for Download {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let n = bytes.read(into)?;
        self.consume(n);
        Ok(n)
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("head", &self.head).finish_non_exhaustive()
    }
}

impl<R: Read + 'static> Taker for Post<R> {
    fn on_asking(&mut self, _: &mut Env, asking: &Asking<'_>) {
        self.fetching = Some(asking.fetching);
    }

    fn on_upload(&mut self, up: &mut Upload<'_>) {
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.source.read(&mut chunk) {
                Ok(0) => return up.finish(),
                Ok(n) if up.write(&chunk[..n]) == Flow::Full => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    if let Some(fetching) = self.fetching {
                        self.agent.cancel(up.env, fetching);
                    }
                    return;
                }
            }
        }
    }

    fn on_head(&mut self, env: &mut Env, head: Head) {
        env.shared.get(self.inbox).head = Some(head);
    }

    fn on_body(&mut self, env: &mut Env, bytes: &[u8]) -> Flow {
        env.shared.get(self.inbox).bytes.extend_from_slice(bytes);
        Flow::Full
    }

    fn on_end(self: Box<Self>, env: &mut Env, end: Result<Done, Error>) {
        let failed = self.failed;
        let end = end.map_err(|error| failed.map_or(error, Error::Source));
        env.shared.get(self.inbox).end = Some(end);
    }
}
