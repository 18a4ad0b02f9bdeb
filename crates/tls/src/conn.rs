//! One connection's session, and what was agreed on in it.
//!
//! Rules of this file:
//! * What rustls has to say goes to where the output is, as soon as it has it.
//! * Plaintext is taken out of rustls as soon as it is there: what waits, waits outside.

use loopwork_tcp::Wishes;
use loopwork_tcp::reactor::{Id, Instant};
use rustls::pki_types::CertificateDer;
use rustls::{Connection, Error, HandshakeKind, ProtocolVersion, SupportedCipherSuite};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::time::Duration;

/// Plaintext of a record while the path is young: with what a record adds it fits a segment of a
/// usual path, so that the first bytes can be read when the first segment is there.
const SMALL: usize = 1_360;
/// So much goes out in small records: the ten segments of a path's first flight (RFC 6928).
const YOUNG: usize = 10 * SMALL;
/// Plaintext of any other record (RFC 8446 §5.1).
const LARGE: usize = 16 * 1024;
/// After so long without output a path is young again, as the kernel sees it.
const REST: Duration = Duration::from_secs(1);

/// What was agreed on with a peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Agreed {
    /// TLS 1.2 or 1.3.
    pub version: Option<ProtocolVersion>,
    /// What encrypts.
    pub cipher: Option<SupportedCipherSuite>,
    /// The protocol inside, if one was agreed on (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// Of a server: the name that it was asked for (RFC 6066 §3).
    pub name: Option<String>,
    /// The peer's certificates, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// An earlier session was gone on with.
    pub resumed: bool,
}

/// Of one loop, by connection.
#[derive(Default)]
pub(crate) struct Sessions(pub(crate) BTreeMap<Id, Agreed>);

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Handshake,
    Open,
    /// TLS gave up, or said its last: what still comes is dropped.
    Over,
}

/// A connection: the session, and the state of the protocol inside.
pub struct Conn<C> {
    pub(crate) session: Box<Connection>,
    /// What the inside wishes.
    pub(crate) wish: Wishes,
    /// Plaintext that was shown and not used.
    pub(crate) carry: Vec<u8>,
    /// Until when the handshake has to be done.
    pub(crate) until: Instant,
    pub(crate) stage: Stage,
    /// It has had its turn, and need not stand in line again.
    pub(crate) admitted: bool,
    /// Our `close_notify` is out.
    pub(crate) ended: bool,
    /// The peer's came.
    pub(crate) peer_ended: bool,
    /// It came, and the inside has yet to be told.
    pub(crate) end_due: bool,
    /// Output since the path was last young.
    sent: usize,
    sent_at: Instant,
    pub(crate) inner: C,
}

impl<C> Conn<C> {
    pub(crate) fn new(mut session: Connection, inner: C) -> Self {
        // The output's own mark holds, which counts the plaintext that is not encrypted yet, too.
        session.set_buffer_limit(None);
        Conn {
            session: Box::new(session),
            wish: Wishes::default(),
            carry: Vec::new(),
            until: Instant::default(),
            stage: Stage::Handshake,
            admitted: false,
            ended: false,
            peer_ended: false,
            end_due: false,
            sent: 0,
            sent_at: Instant::default(),
            inner,
        }
    }

    /// Encrypts `plain` behind what is in `out`, in records that suit the path.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>, now: Instant) -> io::Result<()> {
        if now.since(self.sent_at) >= REST {
            self.sent = 0;
        }
        self.sent_at = now;
        let small = YOUNG.saturating_sub(self.sent).min(plain.len());
        self.sent = self.sent.saturating_add(plain.len());
        let (first, rest) = plain.split_at(small);
        for record in first.chunks(SMALL).chain(rest.chunks(LARGE)) {
            self.session.writer().write_all(record)?;
        }
        self.flush(out);
        Ok(())
    }

    /// What rustls has to say goes behind what is in `out`.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        while self.session.wants_write() && self.session.write_tls(out).is_ok() {}
    }

    /// Takes up some of `bytes`, which then begin behind that; plaintext goes behind `plain`.
    /// Whether the peer has ended.
    pub(crate) fn take(&mut self, bytes: &mut &[u8], plain: &mut Vec<u8>) -> Result<bool, Error> {
        // It refuses only while plaintext is left in it.
        let _ = self.session.read_tls(bytes);
        let state = self.session.process_new_packets()?;
        let mut reader = self.session.reader();
        while let Ok(some) = reader.fill_buf()
            && !some.is_empty()
        {
            plain.extend_from_slice(some);
            let n = some.len();
            reader.consume(n);
        }
        Ok(state.peer_has_closed())
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(*self.session, Connection::Server(_))
    }

    pub(crate) fn agreed(&self) -> Agreed {
        let certificates = self.session.peer_certificates().unwrap_or_default();
        let name = match &*self.session {
            Connection::Server(session) => session.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        Agreed {
            version: self.session.protocol_version(),
            cipher: self.session.negotiated_cipher_suite(),
            alpn: self.session.alpn_protocol().map(<[u8]>::to_vec),
            name,
            certificates: certificates.iter().map(|c| c.clone().into_owned()).collect(),
            resumed: self.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}
