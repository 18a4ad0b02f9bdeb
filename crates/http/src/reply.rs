//! The response on its way out.
//!
//! Rules of this file:
//! * Only a [`Reply`] makes an [`Answer`], so no request is forgotten.
//! * The framing is chosen here, from what the application says and what the client understands:
//!   a body cannot be longer than its length, and a shorter one ends the connection.
//! * What the application gives as headers is checked before a byte of it is written.

use crate::core::encode::{self, Connection, ResponseHead};
use crate::core::{Body, Invalid};
use crate::desk::{Desk, Due, Whole};
use crate::front::{Fronts, Head};
use crate::server::Peer;
use loopwork_tcp::reactor::{Env, Id, Trace};
use loopwork_tcp::{Close, Flow, Io, Out, Wishes};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What is read of a file for one chunk.
const CHUNK: usize = 16 * 1024;

/// An unread request body up to here is read and dropped, so that the connection lives on; a
/// longer one costs more than a new connection would.
pub(crate) const DRAIN_MAX: u64 = 64 * 1024;

/// What `on_request` gives back: the answer is out, or an exchange remembers what is still owed.
#[must_use = "a request needs an answer"]
pub struct Answer<X>(pub(crate) Option<X>);

impl<X> Answer<X> {
    /// The same answer, with something else to be remembered of it: for an application around
    /// another.
    pub fn map<Y>(self, remember: impl FnOnce(X) -> Y) -> Answer<Y> {
        Answer(self.0.map(remember))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Head,
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

/// How the response of one exchange is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) phase: Phase,
    /// The answer to HEAD: a head alone.
    pub(crate) head_only: bool,
    /// The client speaks HTTP/1.0: no chunks.
    pub(crate) old: bool,
    /// This is the connection's last response.
    pub(crate) close: bool,
    /// The client waits for `100 Continue`.
    pub(crate) expect: bool,
    /// The answer comes over a desk.
    pub(crate) due: bool,
    /// Of the head that was written; 0 before.
    pub(crate) status: u16,
    /// Which request of its connection this answers.
    pub(crate) number: u32,
    /// Bytes of the body that were written, without what frames them.
    pub(crate) written: u64,
}

impl Sending {
    pub(crate) const IDLE: Sending = Sending {
        phase: Phase::Head,
        head_only: false,
        old: false,
        close: false,
        expect: false,
        due: false,
        status: 0,
        number: 0,
        written: 0,
    };

    /// Nothing was sent, and nothing is out of the ordinary.
    #[inline]
    fn is_plain(&self) -> bool {
        self.phase == Phase::Head && !(self.head_only | self.old | self.close | self.expect)
    }

    /// The response is complete, and its connection may have another.
    #[inline]
    pub(crate) fn stays(&self) -> bool {
        self.phase == Phase::Done && !(self.close | self.due)
    }
}

/// The body of a response: append only.
pub struct Sink<'a> {
    pub(crate) out: Out<'a>,
    pub(crate) sending: &'a mut Sending,
    pub(crate) wish: &'a mut Wishes,
    fronts: &'a mut Fronts,
}

impl Sink<'_> {
    /// Whether a head was written.
    #[must_use]
    pub fn started(&self) -> bool {
        self.sending.phase != Phase::Head
    }

    /// Whether the response is complete.
    #[must_use]
    pub fn done(&self) -> bool {
        self.sending.phase == Phase::Done
    }

    /// Whether more should be written. [`Flow::Full`]: wait for `on_more`.
    pub fn flow(&self) -> Flow {
        self.out.flow()
    }

    /// Writes the head. With [`Body::Length`] the response is complete when so many bytes were
    /// written, with [`Body::Chunked`] at [`Sink::finish`]; a client of HTTP/1.0 is sent chunked
    /// bodies without chunks, ended by the close. [`Body::None`] is an empty body, but in the
    /// answer to HEAD and in a 304, which have none: there it says nothing of a length.
    ///
    /// # Errors
    /// What cannot be sent: a status outside of 200 to 999, a header name or value with bytes
    /// that it may not have, a framing header, a body in a 204. Nothing was written then.
    ///
    /// # Panics
    /// When there was a head already.
    pub fn head<I, N, V>(&mut self, status: u16, headers: I, body: Body) -> Result<(), Invalid>
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let sending = &mut *self.sending;
        assert!(sending.phase == Phase::Head, "one head per response");
        if status < 200 {
            return Err(Invalid::Status);
        }
        // RFC 9110 §10.1.1: a final status of refusal makes the client keep its body, or not;
        // the connection cannot be used on. Otherwise the body is wanted, and asked for.
        let ask = sending.expect && status < 400;
        let close = sending.close || (sending.expect && !ask);
        sending.head_only |= matches!(status, 204 | 304);
        let body = match body {
            Body::Chunked if sending.old => Body::UntilClose,
            Body::None if !sending.head_only => Body::Length(0),
            body => body,
        };
        if status == 204 && body != Body::None {
            return Err(Invalid::Body);
        }
        let connection = match (close || body == Body::UntilClose, sending.old) {
            (true, _) => Connection::Close,
            (false, true) => Connection::KeepAlive,
            (false, false) => Connection::Implicit,
        };
        let out = self.out.buffer();
        let before = out.len();
        if ask {
            out.extend_from_slice(encode::CONTINUE);
        }
        let head = Head { status, body, connection };
        if let Err(why) = self.fronts.head(out, &head, headers) {
            out.truncate(before);
            return Err(why);
        }
        sending.expect = false;
        sending.status = status;
        sending.close = close || body == Body::UntilClose;
        sending.phase = match body {
            _ if sending.head_only => Phase::Done,
            Body::None | Body::Length(0) => Phase::Done,
            Body::Length(n) => Phase::Length(n),
            Body::Chunked => Phase::Chunked,
            Body::UntilClose => Phase::UntilClose,
        };
        Ok(())
    }

    /// See [`Reply::again`].
    #[inline(always)]
    fn again(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
        let out = self.out.buffer();
        let content = !matches!(status, 204 | 304) && self.sending.is_plain();
        if !content || !self.fronts.again(out, status, headers, body.len()) {
            return false;
        }
        out.extend_from_slice(body);
        self.sending.phase = Phase::Done;
        (self.sending.status, self.sending.written) = (status, body.len() as u64);
        true
    }

    /// Appends to the body. With a length, the response is complete when so many bytes were
    /// written; bytes beyond it are not written, and the connection is given up, since the
    /// application and its head disagree. In the answer to HEAD the bytes are dropped.
    ///
    /// # Panics
    /// Before the head.
    pub fn write(&mut self, bytes: &[u8]) -> Flow {
        let len = bytes.len() as u64;
        match self.sending.phase {
            Phase::Head => panic!("a body before its head"),
            Phase::Done if bytes.is_empty() || self.sending.head_only => return self.out.flow(),
            Phase::Chunked => encode::chunk(self.out.buffer(), bytes),
            Phase::UntilClose => self.out.buffer().extend_from_slice(bytes),
            Phase::Length(left) if len <= left => {
                self.out.buffer().extend_from_slice(bytes);
                self.went_on(left, len);
            }
            Phase::Done | Phase::Length(_) => {
                give_up(self.wish);
                return self.out.flow();
            }
        }
        self.sending.written += len;
        self.out.flow()
    }

    /// As [`write`](Self::write), of bytes that others hold too: where they are many they are not
    /// copied ([`Out::write_shared`]).
    ///
    /// # Panics
    /// Before the head.
    pub fn write_shared(&mut self, bytes: &Arc<[u8]>) -> Flow {
        let len = bytes.len() as u64;
        match self.sending.phase {
            Phase::UntilClose => {}
            Phase::Length(left) if len <= left => self.went_on(left, len),
            _ => return self.write(bytes),
        }
        self.sending.written += len;
        self.out.write_shared(bytes)
    }

    /// Appends a range of a file, and moves the range's start behind what was taken; what was not
    /// is for `on_more`. With a length, or until the close, the kernel sends it from where it lies
    /// ([`Out::write_file`], which says what becomes of a file that is too short); chunks are read
    /// here. For the answer to HEAD, and for a range that is longer than what is left of the
    /// length, see [`write`](Self::write): then all of it counts as taken.
    ///
    /// # Errors
    /// Where it is read here: what the system says; `UnexpectedEof` when the file is too short.
    /// The body cannot be completed then.
    ///
    /// # Panics
    /// Before the head.
    pub fn write_file(&mut self, file: &Arc<File>, range: &mut Range<u64>) -> io::Result<Flow> {
        let len = range.end.saturating_sub(range.start);
        match self.sending.phase {
            Phase::Head => panic!("a body before its head"),
            Phase::Done if len == 0 || self.sending.head_only => range.start = range.end,
            Phase::UntilClose => {
                let flow = self.out.write_file(file, range)?;
                self.sending.written += len - range.end.saturating_sub(range.start);
                return Ok(flow);
            }
            Phase::Length(left) if len <= left => {
                let flow = self.out.write_file(file, range)?;
                let taken = len - range.end.saturating_sub(range.start);
                self.sending.written += taken;
                self.went_on(left, taken);
                return Ok(flow);
            }
            Phase::Done | Phase::Length(_) => {
                range.start = range.end;
                give_up(self.wish);
            }
            Phase::Chunked => {
                let mut part = [0; CHUNK];
                while !range.is_empty() && self.out.flow() == Flow::Open {
                    let room = CHUNK.min(usize::try_from(range.end - range.start).unwrap_or(CHUNK));
                    match file.read_at(&mut part[..room], range.start) {
                        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                        Ok(n) => {
                            encode::chunk(self.out.buffer(), &part[..n]);
                            range.start += n as u64;
                            self.sending.written += n as u64;
                        }
                        Err(e) if e.kind() == ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
            }
        }
        Ok(self.out.flow())
    }

    /// So much of a body's rest was written.
    fn went_on(&mut self, left: u64, n: u64) {
        self.sending.phase = if left == n { Phase::Done } else { Phase::Length(left - n) };
    }

    /// Ends a body whose length was not said; of one with a length that is not reached, the
    /// connection is given up, so that the client does not take a part for the whole.
    ///
    /// # Panics
    /// Before the head.
    pub fn finish(&mut self) {
        // Without trailers there is nothing that could be refused.
        let _ = self.finish_with(encode::NO_HEADERS);
    }

    /// As [`finish`](Self::finish), with trailers behind the chunks. They are dropped where there
    /// are no chunks: a client of HTTP/1.0, or a body with a length.
    ///
    /// # Errors
    /// A trailer that may not be one (RFC 9110 §6.5.1); nothing was written then.
    ///
    /// # Panics
    /// Before the head.
    pub fn finish_with<I, N, V>(&mut self, trailers: I) -> Result<(), Invalid>
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        match self.sending.phase {
            Phase::Head => panic!("the end of a body before its head"),
            Phase::Chunked => encode::last_chunk(self.out.buffer(), trailers)?,
            // The phase stays: it was not answered.
            Phase::Length(_) => {
                give_up(self.wish);
                return Ok(());
            }
            Phase::UntilClose | Phase::Done => {}
        }
        self.sending.phase = Phase::Done;
        Ok(())
    }
}

fn give_up(wish: &mut Wishes) {
    wish.abort(Close::Aborted);
}

/// What answers one request. `body` and `env` are fields, to be borrowed apart.
pub struct Reply<'a> {
    /// The connection, for whoever wakes it: then comes `on_more`.
    pub id: Id,
    /// Where the body goes.
    pub body: Sink<'a>,
    /// The rest of what a callback may reach.
    pub env: &'a mut Env,
    /// How much of the request's body is still to come, if that was said.
    remaining: Option<u64>,
    peer: &'a Peer,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(
        io: Io<'a>,
        sending: &'a mut Sending,
        fronts: &'a mut Fronts,
        remaining: Option<u64>,
        peer: &'a Peer,
    ) -> Self {
        fronts.tick(io.env);
        let body = Sink { out: io.out, sending, wish: io.wish, fronts };
        Reply { id: io.id, body, env: io.env, remaining, peer }
    }

    /// The same reply, for a while: for an application around another, which looks at what the
    /// other has [answered](Self::status).
    pub fn reborrow(&mut self) -> Reply<'_> {
        let Sink { out, sending, wish, fronts } = &mut self.body;
        let body = Sink { out: out.reborrow(), sending, wish, fronts };
        let (remaining, peer) = (self.remaining, self.peer);
        Reply { id: self.id, body, env: self.env, remaining, peer }
    }

    /// The status of the head that was written, if one was; of interim ones nothing is said.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        Some(self.body.sending.status).filter(|status| *status != 0)
    }

    /// Bytes of the body that were written up to now, without what frames them.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.body.sending.written
    }

    /// Answers at once, with a body that is there; see [`Reply::answer`].
    #[inline]
    pub fn send<X>(mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer<X> {
        if !self.again(status, headers, body) {
            self.send_anew(status, headers, body);
        }
        Answer(None)
    }

    /// By value, so that a reply which is [sent again](Self::again) need not lie in memory.
    #[inline(never)]
    fn send_anew(mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        self.answer_anew(status, headers, body);
    }

    /// The whole response, from any callback. In the answer to HEAD, and in a 204 or 304, the
    /// body is not sent. Where more of the request's body is to come than is worth reading, this
    /// is the connection's last response.
    ///
    /// A header that cannot be sent (a line end in it, say) is answered with 500 in its place,
    /// and told to the tracer; [`Reply::head`] says it as an error.
    ///
    /// # Panics
    /// When there was a head already.
    pub fn answer(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        if !self.again(status, headers, body) {
            self.answer_anew(status, headers, body);
        }
    }

    /// As a rule there is nothing to choose, and all but the body is as it was the last time; says
    /// whether it was so, and was answered.
    #[inline]
    fn again(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
        self.uploaded() && self.body.again(status, headers, body)
    }

    fn answer_anew(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let sink = &mut self.body;
        // Nobody will read what is still to come: a client that waits for 100 gets this instead,
        // and a long body costs more than the connection.
        let short = self.remaining.is_some_and(|n| n <= DRAIN_MAX) && !sink.sending.expect;
        sink.sending.close |= !short;
        sink.sending.expect = false;
        let length = match status {
            204 | 304 => Body::None,
            _ => Body::Length(body.len() as u64),
        };
        if sink.head(status, headers.iter().copied(), length).is_ok() {
            if !sink.sending.head_only {
                sink.out.buffer().extend_from_slice(body);
                sink.sending.written = body.len() as u64;
            }
            sink.sending.phase = Phase::Done;
            return;
        }
        let say = Trace::Say("the application gave an invalid head");
        self.env.note(self.id, say);
        if sink.head(500, encode::NO_HEADERS, Body::Length(0)).is_err() {
            give_up(sink.wish);
        }
    }

    /// How many bytes of the request's body are still to come, which in `on_request` is all of
    /// them; `None`: the client does not say, it sends chunks.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// Answers later: `exchange` is kept, and given back to the callbacks of this request.
    pub fn later<X>(self, exchange: X) -> Answer<X> {
        Answer(Some(exchange))
    }

    /// The answer comes over a desk.
    pub(crate) fn owe(&mut self) -> Due {
        self.body.sending.due = true;
        Due { id: self.id, number: self.body.sending.number }
    }

    /// What has come over the desk for this request, while nothing else was answered.
    pub(crate) fn came(&self, desk: &Desk) -> Option<Whole> {
        let sending = &self.body.sending;
        let awaited = sending.due && sending.phase == Phase::Head;
        let due = Due { id: self.id, number: sending.number };
        if awaited { desk.take(due) } else { None }
    }

    /// Answers with what has come.
    #[cold]
    pub(crate) fn hand_out(&mut self, whole: &Whole) {
        let headers: Vec<_> = whole.headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        self.answer(whole.status, &headers, &whole.body);
    }

    /// As [`Sink::head`], of [`Reply::body`].
    ///
    /// # Errors
    /// See there.
    ///
    /// # Panics
    /// See there.
    pub fn head<I, N, V>(&mut self, status: u16, headers: I, body: Body) -> Result<(), Invalid>
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        self.body.head(status, headers, body)
    }

    /// Sends an interim response (102, 103) before the head (RFC 9110 §15.2). A client of
    /// HTTP/1.0 is sent none.
    ///
    /// # Errors
    /// A status that is not interim (101 is an upgrade's, not this one's), a bad header.
    ///
    /// # Panics
    /// When there was a head already.
    pub fn interim(&mut self, status: u16, headers: &[(&str, &str)]) -> Result<(), Invalid> {
        assert!(
            self.body.sending.phase == Phase::Head,
            "an interim response comes before the head"
        );
        if !matches!(status, 100 | 102..=199) {
            return Err(Invalid::Status);
        }
        if self.body.sending.old {
            return Ok(());
        }
        self.body.sending.expect &= status != 100;
        let head = ResponseHead::new(status, Body::None);
        encode::response_head(self.body.out.buffer(), &head, headers.iter().copied())
    }

    /// Who asks: the connection's other end, or whom a trusted proxy speaks for
    /// ([`Config::proxies`](crate::Config::proxies)). `None`: it came by a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer.map(SocketAddr::from)
    }

    /// The request's body has come in whole.
    #[must_use]
    pub fn uploaded(&self) -> bool {
        self.remaining == Some(0)
    }

    /// This is the connection's last response: before the head it is said so, behind it the
    /// connection ends all the same.
    pub fn close(&mut self) {
        self.body.sending.close = true;
    }

    /// Shows no more of the request's body until [`Reply::resume`].
    pub fn pause(&mut self) {
        if !self.uploaded() {
            self.body.wish.pause();
        }
    }

    /// Shows the request's body again. Requests behind it wait for the answer in any case.
    pub fn resume(&mut self) {
        if self.uploaded() {
            return;
        }
        self.body.wish.resume();
        if std::mem::take(&mut self.body.sending.expect) {
            // Now the body is wanted: the client may send it.
            self.body.out.buffer().extend_from_slice(encode::CONTINUE);
        }
    }

    /// The answer cannot be completed: the connection goes, and the client knows that it has not
    /// got all.
    pub fn abort(&mut self) {
        give_up(self.body.wish);
    }
}
