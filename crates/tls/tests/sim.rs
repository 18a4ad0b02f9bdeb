//! Both ends in the simulated world, seed by seed: all bytes come back, or the connection is
//! reported to have failed; and a peer's cut is never taken for its end. What rustls says differs
//! from run to run, since its library draws its own randomness, so a run is compared with another
//! above TLS: by what the protocols inside are told.

mod support;

use loopwork_sim::{Faults, Sim};
use loopwork_tls::rustls::{ClientConfig, ServerConfig};
use loopwork_tls::tcp::reactor::{Address, Env, Id, Loop};
use loopwork_tls::tcp::{Close, Io, Protocol, add, dial, listen, unlisten};
use loopwork_tls::{Conn, Tls};
use std::sync::Arc;
use support::*;

const CLIENTS: usize = 4;

/// One run: how many clients got everything back, and how the server's connections ended.
fn run(
    seed: u64,
    faults: Faults,
    (server, client): (&Arc<ServerConfig>, &Arc<ClientConfig>),
) -> (usize, Vec<Close>) {
    let mut lp = Loop::new(Sim::with_faults(seed, faults));
    let echo = Echo { pauses: seed.is_multiple_of(2), ..Echo::default() };
    let inside = Tls::server(echo, server.clone());
    let (host, at) = listen(&mut lp, ([127, 0, 0, 1], 443).into(), inside).unwrap();
    let total = [0, 1, 20_000, 200_000][seed as usize % 4];
    let asker = Asker { total, ..Asker::default() };
    let asks = add(&mut lp, |_| Tls::client(asker));
    for _ in 0..CLIENTS {
        dial(&mut lp.env, asks, at, conn(client, "localhost"));
    }
    let mut turns = 0;
    while lp.get(asks).protocol.inner.closed.len() < CLIENTS {
        lp.turn(None).unwrap();
        turns += 1;
        assert!(turns < 200_000, "seed {seed}: it hangs");
    }
    unlisten(&mut lp.env, host);
    while lp.env.calls.alive() {
        lp.turn(None).unwrap();
        turns += 1;
        assert!(turns < 300_000, "seed {seed}: the server hangs");
    }
    let closed = lp.get(host).protocol.inner.closed.clone();
    (lp.get(asks).protocol.inner.done, closed)
}

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let ca = Authority::new("ours");
    (ca.server(), ca.client())
}

#[test]
fn hostile_71_every_cut_of_the_stream_goes_on() {
    let (server, client) = configs();
    for seed in 0..40 {
        let (done, closed) = run(seed, Faults::rough(), (&server, &client));
        assert_eq!(done, CLIENTS, "seed {seed}: {closed:?}");
        assert_eq!(closed, [Close::Finished; CLIENTS], "seed {seed}");
    }
}

#[test]
fn on_a_hostile_network_nothing_is_taken_for_what_it_is_not() {
    let (server, client) = configs();
    let (mut done, mut all) = (0, 0);
    for seed in 0..100 {
        let (whole, closed) = run(seed, Faults::hostile(), (&server, &client));
        done += whole;
        all += CLIENTS;
        assert!(closed.len() <= CLIENTS);
    }
    assert!(done > all / 4, "{done} of {all}");
}

/// What a protocol was told of one connection: that it stood, each byte, ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Told {
    opened: usize,
    bytes: Vec<u8>,
    /// How many bytes there were at the peer's end.
    ended: Vec<usize>,
    closed: String,
}

/// Notes what the protocol inside it is told.
#[derive(Default)]
struct Witness<P> {
    inner: P,
    told: Vec<Told>,
}

impl<P: Protocol> Protocol for Witness<P> {
    type Conn = (Told, P::Conn);

    fn on_accept(&mut self, env: &mut Env, id: Id, peer: &Address) -> Option<Self::Conn> {
        Some((Told::default(), self.inner.on_accept(env, id, peer)?))
    }

    fn on_open(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        c.0.opened += 1;
        self.inner.on_open(&mut c.1, io);
    }

    fn on_data(&mut self, c: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        assert!(c.0.opened == 1 && c.0.ended.is_empty(), "data out of its place");
        let used = self.inner.on_data(&mut c.1, io, bytes);
        c.0.bytes.extend_from_slice(&bytes[..used]);
        used
    }

    fn on_drain(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        self.inner.on_drain(&mut c.1, io);
    }

    fn on_end(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        c.0.ended.push(c.0.bytes.len());
        self.inner.on_end(&mut c.1, io);
    }

    fn on_wake(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        self.inner.on_wake(&mut c.1, io);
    }

    fn on_close(&mut self, mut c: Self::Conn, id: Id, env: &mut Env, why: Close) {
        c.0.closed = format!("{why:?}");
        self.told.push(c.0);
        self.inner.on_close(c.1, id, env, why);
    }
}

/// What both protocols are told of all connections, by TLS or without it.
fn told(seed: u64, configs: Option<&(Arc<ServerConfig>, Arc<ClientConfig>)>) -> [Vec<Told>; 2] {
    let mut lp = Loop::new(Sim::with_faults(seed, Faults::rough()));
    let pauses = seed.is_multiple_of(2);
    let echo = Witness { inner: Echo { pauses, ..Echo::default() }, told: Vec::new() };
    let total = [0, 1, 20_000, 200_000][seed as usize % 4];
    let asker = Witness { inner: Asker { total, ..Asker::default() }, told: Vec::new() };
    let at = ([127, 0, 0, 1], 443).into();
    let fresh = || (Told::default(), Asked::default());
    let mut turns = 0;
    let mut turn = |lp: &mut Loop<Sim>| {
        lp.turn(None).unwrap();
        turns += 1;
        assert!(turns < 300_000, "seed {seed}: it hangs");
    };
    // The same twice, since these are two types.
    let mut both = match configs {
        Some((server, client)) => {
            let (host, at) = listen(&mut lp, at, Tls::server(echo, server.clone())).unwrap();
            let asks = add(&mut lp, |_| Tls::client(asker));
            for _ in 0..CLIENTS {
                let name = "localhost".try_into().unwrap();
                let conn = Conn::client(client, name, fresh()).unwrap();
                dial(&mut lp.env, asks, at, conn);
            }
            while lp.get(asks).protocol.inner.told.len() < CLIENTS {
                turn(&mut lp);
            }
            unlisten(&mut lp.env, host);
            while lp.env.calls.alive() {
                turn(&mut lp);
            }
            [lp.get(host).protocol.inner.told.clone(), lp.get(asks).protocol.inner.told.clone()]
        }
        None => {
            let (host, at) = listen(&mut lp, at, echo).unwrap();
            let asks = add(&mut lp, |_| asker);
            for _ in 0..CLIENTS {
                dial(&mut lp.env, asks, at, fresh());
            }
            while lp.get(asks).protocol.told.len() < CLIENTS {
                turn(&mut lp);
            }
            unlisten(&mut lp.env, host);
            while lp.env.calls.alive() {
                turn(&mut lp);
            }
            [lp.get(host).protocol.told.clone(), lp.get(asks).protocol.told.clone()]
        }
    };
    both.iter_mut().for_each(|told| told.sort_unstable());
    both
}

#[test]
fn above_tls_all_is_as_it_is_again_and_as_it_is_without_tls() {
    let configs = configs();
    for seed in 0..40 {
        let by_tls = told(seed, Some(&configs));
        assert!(by_tls.iter().all(|told| told.len() == CLIENTS), "seed {seed}");
        assert!(by_tls == told(seed, Some(&configs)), "seed {seed}: not the same again");
        let plain = told(seed, None);
        assert!(by_tls == plain, "seed {seed}: TLS is to be seen");
        assert!(by_tls[1].iter().all(|told| told.opened == 1 && told.ended.len() == 1));
    }
}
