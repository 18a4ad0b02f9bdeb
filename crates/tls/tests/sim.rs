//! Both ends in the simulated world, seed by seed: all bytes come back, or the connection is
//! reported to have failed; and a peer's cut is never taken for its end. What rustls says differs
//! from run to run, since its library draws its own randomness, so a run is not compared with
//! another beneath TLS.

mod support;

use loopwork_sim::{Faults, Sim};
use loopwork_tls::Tls;
use loopwork_tls::rustls::{ClientConfig, ServerConfig};
use loopwork_tls::tcp::reactor::Loop;
use loopwork_tls::tcp::{Close, add, dial, listen, unlisten};
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
