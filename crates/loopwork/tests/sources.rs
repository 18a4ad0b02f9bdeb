//! What keeps a loop running can be listed.

use loopwork::reactor::signal;
use loopwork::tcp::{self, Io, Protocol};
use loopwork::{Env, Id, Loop, Os, udp};
use std::net::SocketAddr;
use std::time::Duration;

struct Quiet;

impl Protocol for Quiet {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &tcp::reactor::Address) -> Option<()> {
        Some(())
    }
    fn on_data(&mut self, _: &mut (), _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.len()
    }
}

impl udp::Protocol for Quiet {
    fn on_datagram(&mut self, _: &mut udp::Io<'_>, _: SocketAddr, _: &mut [u8]) {}
}

#[test]
fn all_that_is_open_is_listed_until_it_is_closed() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut lp = Loop::new(Os::new().unwrap());
    assert!(lp.sources().is_empty());
    let (host, at) = tcp::listen(&mut lp, any, Quiet).unwrap();
    let (socket, _) = udp::bind(&mut lp, any, Quiet).unwrap();
    signal::watch(&mut lp, &[signal::SIGUSR2], |_, _| ()).unwrap();
    let call = lp.env.after(Duration::from_secs(60), |_| panic!("cancelled below"));
    tcp::dial(&mut lp.env, host, at, ());
    let what = |lp: &Loop<Os>| lp.sources().into_iter().map(|(_, what)| what).collect::<Vec<_>>();
    for _ in 0..2000 {
        if what(&lp).iter().filter(|what| **what == "connection").count() == 2 {
            break;
        }
        lp.turn(Some(Duration::from_millis(5))).unwrap();
    }
    let all = ["listener", "connection", "connection", "socket", "signals", "call"];
    assert_eq!(what(&lp), all);
    let (id, _) = lp.sources()[1];
    assert!(lp.get(host).conn(id).is_some(), "by the id that its driver knows");
    lp.env.calls.cancel(call);
    udp::close(&mut lp, socket);
    tcp::shutdown(&mut lp.env, host);
    lp.run().unwrap();
    assert_eq!(what(&lp), ["signals"]);
}
