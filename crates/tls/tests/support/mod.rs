//! Certificates, and two protocols that are put inside: one echoes, one asks.
#![allow(dead_code)] // each test file uses its part

use loopwork_tls::config::{self, Identity};
use loopwork_tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use loopwork_tls::rustls::{ClientConfig, ServerConfig};
use loopwork_tls::tcp::reactor::{Address, Env, Handle, Id, Loop, World};
use loopwork_tls::tcp::{Close, Flow, Host, Io, Protocol};
use loopwork_tls::{Agreed, Conn, Tls, agreed, failure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// An identity with this name that is valid in these years.
    pub(crate) fn sign(&self, name: &str, years: (i32, i32)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let made = params.signed_by(&key, &self.0).unwrap();
        let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        config::identity_of(vec![made.der().clone()], secret).unwrap()
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        config::server(vec![self.sign("localhost", (2020, 4000))]).unwrap()
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        config::client(&config::Trust::Roots(vec![self.root()]), None).unwrap()
    }
}

/// Gives back what it gets; ends when the peer has.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) closed: Vec<Close>,
    pub(crate) why: Vec<String>,
    pub(crate) opened: usize,
    pub(crate) agreed: Vec<Agreed>,
    /// Pauses for a while behind each show.
    pub(crate) pauses: bool,
}

impl Protocol for Echo {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_open(&mut self, _: &mut (), io: &mut Io<'_>) {
        self.opened += 1;
        self.agreed.extend(agreed(io.env, io.id).cloned());
    }

    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        if self.pauses {
            io.pause();
            let id = io.id;
            io.env.after(Duration::from_millis(3), move |env| env.wake(id));
        }
        bytes.len()
    }

    fn on_wake(&mut self, _: &mut (), io: &mut Io<'_>) {
        io.resume();
    }

    fn on_close(&mut self, _: (), id: Id, env: &mut Env, why: Close) {
        self.closed.push(why);
        self.why.extend(failure(env, id).map(ToString::to_string));
    }
}

/// The byte at this place.
pub(crate) fn byte(at: usize) -> u8 {
    (at * 7 + at / 253) as u8
}

/// Sends so many bytes, and wants them back.
#[derive(Default)]
pub(crate) struct Asker {
    pub(crate) total: usize,
    pub(crate) done: usize,
    pub(crate) closed: Vec<Close>,
    pub(crate) why: Vec<String>,
    pub(crate) agreed: Vec<Agreed>,
}

#[derive(Default, Debug)]
pub(crate) struct Asked {
    pub(crate) sent: usize,
    pub(crate) got: usize,
}

impl Asker {
    fn more(&self, asked: &mut Asked, io: &mut Io<'_>) {
        let mut piece = Vec::new();
        while asked.sent < self.total && io.flow() == Flow::Open {
            let end = self.total.min(asked.sent + 5000);
            piece.clear();
            piece.extend((asked.sent..end).map(byte));
            let _ = io.write(&piece);
            asked.sent = end;
        }
        if asked.sent == self.total {
            io.end();
        }
    }
}

impl Protocol for Asker {
    type Conn = Asked;

    fn on_open(&mut self, asked: &mut Asked, io: &mut Io<'_>) {
        self.agreed.extend(agreed(io.env, io.id).cloned());
        io.read_when_full(true);
        self.more(asked, io);
    }

    fn on_data(&mut self, asked: &mut Asked, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        for (n, b) in bytes.iter().enumerate() {
            assert!(*b == byte(asked.got + n), "byte {}", asked.got + n);
        }
        asked.got += bytes.len();
        self.more(asked, io);
        bytes.len()
    }

    fn on_drain(&mut self, asked: &mut Asked, io: &mut Io<'_>) {
        self.more(asked, io);
    }

    fn on_close(&mut self, asked: Asked, id: Id, env: &mut Env, why: Close) {
        let all = asked.got == self.total;
        assert!(all || why != Close::Finished, "a clean end, and only {asked:?}");
        self.done += usize::from(all);
        self.closed.push(why);
        self.why.extend(failure(env, id).map(ToString::to_string));
    }
}

pub(crate) type Server = Handle<Host<Tls<Echo>>>;
pub(crate) type Client = Handle<Host<Tls<Asker>>>;

/// A new connection of the client.
pub(crate) fn conn(config: &Arc<ClientConfig>, name: &str) -> Conn<Asked> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    Conn::client(config, name, Asked::default()).unwrap()
}

/// Turns until something holds.
pub(crate) fn until<W: World>(lp: &mut Loop<W>, mut done: impl FnMut(&mut Loop<W>) -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !done(lp) {
        assert!(Instant::now() < limit, "it takes too long");
        lp.turn(Some(Duration::from_millis(10))).unwrap();
    }
}
