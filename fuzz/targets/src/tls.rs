//! The target of TLS: what any peer may send instead of a handshake, to either end.
//!
//! Rule: nobody who has no keys gets through. So what is inside never opens, and hears only that
//! the connection is over, once; and however the bytes are cut, the run comes to rest.

use loopwork_sim::{Faults, Sim, run_to_rest};
use loopwork_tcp::reactor::{Address, Env, Id, Loop};
use loopwork_tcp::{Close, Io, Protocol, add, dial, listen};
use loopwork_tls::config::{self, Identity, Trust};
use loopwork_tls::rustls::pki_types::ServerName;
use loopwork_tls::rustls::{ClientConfig, ServerConfig};
use loopwork_tls::{Conn, Tls};
use std::sync::{Arc, LazyLock};

/// Turns after which a run is called stuck: some bytes, some deadlines.
const TURNS: u64 = 20_000;

/// What is inside.
#[derive(Default)]
struct Inside {
    closed: usize,
}

impl Protocol for Inside {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_open(&mut self, _: &mut (), _: &mut Io<'_>) {
        panic!("a handshake without keys");
    }
    fn on_data(&mut self, _: &mut (), _: &mut Io<'_>, _: &mut [u8]) -> usize {
        panic!("data without a handshake");
    }
    fn on_close(&mut self, _: (), _: Id, _: &mut Env, _: Close) {
        self.closed += 1;
    }
}

/// Says these bytes, in two pieces, and hears what it is told.
struct Peer(Vec<u8>);

impl Protocol for Peer {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_open(&mut self, _: &mut (), io: &mut Io<'_>) {
        let half = self.0.len() / 2;
        let _ = io.write(&self.0[..half]);
        let id = io.id;
        io.env.after(std::time::Duration::from_millis(1), move |env| env.wake(id));
    }
    fn on_wake(&mut self, _: &mut (), io: &mut Io<'_>) {
        let half = self.0.len() / 2;
        let _ = io.write(&self.0[half..]);
    }
    fn on_data(&mut self, _: &mut (), _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.len()
    }
}

/// A server's and a client's configuration, and their identity: made once, since that takes long.
static CONFIGS: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
    let (identity, _): (Identity, String) =
        config::self_signed(&["localhost".to_owned()]).expect("an identity");
    let server = config::server(vec![identity]).expect("a server");
    (server, config::client(&Trust::Roots(Vec::new()), None).expect("a client"))
});

/// Bytes to a server; and to a client, as if they were a server's.
pub fn tls_bytes(data: &[u8]) {
    let at = ([127, 0, 0, 1], 443).into();
    let (server, client) = &*CONFIGS;
    let rest = |lp: &mut Loop<Sim>| run_to_rest(lp, TURNS).expect("it comes to rest");

    let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
    let (host, to) =
        listen(&mut lp, at, Tls::server(Inside::default(), server.clone())).expect("a port");
    let peer = add(&mut lp, |_| Peer(data.to_vec()));
    dial(&mut lp.env, peer, to, ());
    rest(&mut lp);
    assert_eq!(lp.get(host).protocol.inner.closed, 1);

    let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
    let (_, to) = listen(&mut lp, at, Peer(data.to_vec())).expect("a port");
    let host = add(&mut lp, |_| Tls::client(Inside::default()));
    let name = ServerName::try_from("localhost").expect("a name");
    let Ok(conn) = Conn::client(client, name, ()) else { panic!("a session") };
    dial(&mut lp.env, host, to, conn);
    rest(&mut lp);
    assert_eq!(lp.get(host).protocol.inner.closed, 1);
}
