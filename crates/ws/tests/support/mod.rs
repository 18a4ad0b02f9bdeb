//! What the tests of WebSockets on streams share: an application whose acts are a closure, a
//! server in a thread of its own, and a peer of raw bytes that waits a bounded time.
#![allow(dead_code, reason = "each test file uses its part")]

use loopwork_ws::core::frame::{self, Opcode};
use loopwork_ws::http::core::Request;
use loopwork_ws::http::{self, Answer, Http, Offer, Reply};
use loopwork_ws::tcp::listen;
use loopwork_ws::tcp::reactor::{Env, Id, Loop, Mailbox, Os};
use loopwork_ws::{App, End, Failure, Handshake, Message, Socket, Ws};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The request of RFC 6455 §1.3.
pub(crate) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
/// The answer to it.
pub(crate) const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A callback.
pub(crate) enum On<'a> {
    Open,
    Message(Message<'a>),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Drain,
    Wake,
}

/// An end that outlives the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) clean: bool,
    pub(crate) failure: Option<Failure>,
    pub(crate) opened: bool,
}

pub(crate) type Act = Box<dyn FnMut(&mut Socket<'_>, On<'_>)>;
pub(crate) type Ask = fn(&Request<'_>, &mut Handshake<'_>) -> Offer<Seat>;

/// The state of one WebSocket: it checks the order of its callbacks.
#[derive(Default)]
pub(crate) struct Seat {
    id: Option<Id>,
}

/// Acts as the test says.
pub(crate) struct Play {
    pub(crate) act: Act,
    pub(crate) ask: Ask,
    ends: Sender<Ended>,
}

impl Play {
    pub(crate) fn new(act: impl FnMut(&mut Socket<'_>, On<'_>) + 'static) -> (Self, Ends) {
        let (ends, receiver) = channel();
        let ask: Ask = |_, _| Offer::Accept(Seat::default());
        (Play { act: Box::new(act), ask, ends }, Ends(receiver))
    }

    fn call(&mut self, seat: &mut Seat, socket: &mut Socket<'_>, on: On<'_>) {
        assert_eq!(seat.id, Some(socket.id), "open comes first, and one connection is one id");
        (self.act)(socket, on);
    }
}

impl App for Play {
    type Conn = Seat;

    fn wants(&mut self, request: &Request<'_>) -> bool {
        request.path() != "/plain"
    }

    fn on_request(&mut self, request: &Request<'_>, hand: &mut Handshake<'_>) -> Offer<Seat> {
        (self.ask)(request, hand)
    }

    fn on_open(&mut self, seat: &mut Seat, socket: &mut Socket<'_>) {
        assert_eq!(seat.id.replace(socket.id), None, "opened once");
        self.call(seat, socket, On::Open);
    }

    fn on_message(&mut self, seat: &mut Seat, socket: &mut Socket<'_>, message: Message<'_>) {
        self.call(seat, socket, On::Message(message));
    }

    fn on_ping(&mut self, seat: &mut Seat, socket: &mut Socket<'_>, payload: &[u8]) {
        self.call(seat, socket, On::Ping(payload));
    }

    fn on_pong(&mut self, seat: &mut Seat, socket: &mut Socket<'_>, payload: &[u8]) {
        self.call(seat, socket, On::Pong(payload));
    }

    fn on_drain(&mut self, seat: &mut Seat, socket: &mut Socket<'_>) {
        self.call(seat, socket, On::Drain);
    }

    fn on_wake(&mut self, seat: &mut Seat, socket: &mut Socket<'_>) {
        self.call(seat, socket, On::Wake);
    }

    fn on_close(&mut self, seat: Seat, id: Id, _: &mut Env, end: &End<'_>) {
        assert!(seat.id.is_none_or(|opened| opened == id));
        let (reason, opened) = (end.reason.to_owned(), seat.id.is_some());
        let (code, clean, failure) = (end.code.get(), end.clean, end.failure);
        // A test that looks at no ends has dropped the receiver.
        let _ = self.ends.send(Ended { code, reason, clean, failure, opened });
    }
}

/// The ends of connections, in their order.
pub(crate) struct Ends(Receiver<Ended>);

impl Ends {
    #[track_caller]
    pub(crate) fn next(&self) -> Ended {
        self.0.recv_timeout(PATIENCE).expect("a connection ends")
    }

    pub(crate) fn none(&self) -> bool {
        self.0.try_recv().is_err()
    }
}

/// What echoes.
pub(crate) fn echo(socket: &mut Socket<'_>, on: On<'_>) {
    if let On::Message(message) = on {
        let _ = socket.send(&message);
    }
}

/// The HTTP application behind: whatever it is asked, it answers `site`.
pub(crate) struct Site;

impl http::App for Site {
    type Exchange = ();
    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(200, &[], b"site")
    }
}

/// A server in a thread of its own.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    pub(crate) ends: Ends,
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
}

/// Serves what `make` makes, in the thread where it runs.
pub(crate) fn serve(make: impl FnOnce() -> (Ws<Play>, Ends) + Send + 'static) -> Server {
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        let (ws, ends) = make();
        let mut lp = Loop::new(Os::new().unwrap());
        let here = "127.0.0.1:0".parse().unwrap();
        let (_, at) = listen(&mut lp, here, Http::with_upgrade(Site, ws)).unwrap();
        tell.send((at, lp.mailbox().unwrap(), ends)).unwrap();
        lp.run().unwrap();
    });
    let (at, mailbox, ends) = told.recv_timeout(PATIENCE).unwrap();
    Server { at, ends, mailbox, thread: Some(thread) }
}

/// A server that echoes.
pub(crate) fn echo_server() -> Server {
    serve(|| {
        let (play, ends) = Play::new(echo);
        (Ws::new(play), ends)
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.mailbox.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|e| e.is_ok()), "the server");
    }
}

/// A peer of raw bytes.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    held: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream, held: Vec::new() }
    }

    pub(crate) fn connect(at: SocketAddr) -> Peer {
        Peer::new(TcpStream::connect(at).unwrap())
    }

    /// A client behind its handshake.
    pub(crate) fn upgraded(at: SocketAddr) -> Peer {
        let mut peer = Peer::connect(at);
        peer.send(REQUEST.as_bytes());
        assert_eq!(peer.head(), ANSWER);
        peer
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// A masked frame.
    pub(crate) fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.send(&masked(opcode, payload));
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let n = self.stream.read(&mut buffer).expect("bytes or an end in time");
        self.held.extend_from_slice(&buffer[..n]);
        n > 0
    }

    /// A head, to the empty line.
    #[track_caller]
    pub(crate) fn head(&mut self) -> String {
        let end = loop {
            match self.held.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.more(), "an end inside a head"),
            }
        };
        String::from_utf8(self.held.drain(..end).collect()).unwrap()
    }

    #[track_caller]
    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        while self.held.len() < n {
            assert!(self.more(), "an end after {} of {n} bytes", self.held.len());
        }
        self.held.drain(..n).collect()
    }

    /// A frame of either role: its first byte, whether it was masked, and its payload.
    #[track_caller]
    pub(crate) fn next(&mut self) -> (u8, bool, Vec<u8>) {
        let head = self.bytes(2);
        let len = match head[1] & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.bytes(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.bytes(8).try_into().unwrap()) as usize,
            len => usize::from(len),
        };
        let masked = head[1] & 0x80 != 0;
        let key = if masked { self.bytes(4) } else { vec![0; 4] };
        let mut payload = self.bytes(len);
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        (head[0], masked, payload)
    }

    /// All that comes until the peer ends its side.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.held)
    }
}

/// A masked frame.
pub(crate) fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, opcode, payload, Some([0x37, 0xfa, 0x21, 0x3d]));
    bytes
}

/// The Close frame of a server.
pub(crate) fn close_bytes(code: u16, reason: &str) -> Vec<u8> {
    let mut bytes = vec![0x88, 2 + reason.len() as u8];
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(reason.as_bytes());
    bytes
}
