//! Options of hosts and dials: what a listener and a dial are told reaches the sockets, and what
//! cannot be had fails them.

mod support;

use loopwork_reactor::{Address, ConnectOptions, ListenOptions, Os, StreamOption};
use loopwork_tcp::{Close, Dial, dial, listen_at, socket};
use std::io::ErrorKind;
use std::net::TcpStream;
use support::{PATIENCE, echo, finish, more, play, server, turn_until, until_closed};

/// A duplicate of a connection's socket.
fn see(
    lp: &mut loopwork_reactor::Loop<Os>,
    host: loopwork_reactor::Handle<loopwork_tcp::Host<support::Play>>,
    id: loopwork_reactor::Id,
) -> TcpStream {
    let fd = socket(lp, host, id).expect("it stands");
    lp.world.descriptor(fd).unwrap().try_clone_to_owned().unwrap().into()
}

#[test]
fn a_dial_is_set_up_as_it_says() {
    let (mut lp, host, at) = server(echo);
    let dialer = more(&mut lp, echo);
    let mut how = ConnectOptions::default();
    how.settings = vec![StreamOption::NoDelay(false)];
    for how in [how, ConnectOptions::default()] {
        let nodelay = how.settings.is_empty();
        let conn = lp.get(dialer).protocol.seat();
        let dial = Dial { to: at.into(), from: None, timeout: PATIENCE, conn };
        dial.send_with(&mut lp.env, dialer, how);
        turn_until(&mut lp, |lp| lp.get(dialer).len() == 1);
        let id = lp.get(dialer).ids().next().unwrap();
        assert_eq!(see(&mut lp, dialer, id).nodelay().unwrap(), nodelay);
        loopwork_tcp::shutdown(&mut lp.env, dialer);
        turn_until(&mut lp, |lp| lp.get(dialer).is_empty());
        assert_eq!(socket(&mut lp, dialer, id), None, "it is gone");
    }
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}

#[test]
fn a_dial_that_cannot_be_set_up_fails() {
    let at = Address::Unix(format!("\0loopwork-tcp-options-{}", std::process::id()).into());
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    listen_at(&mut lp, host, &at, &ListenOptions::default()).unwrap();
    let dialer = more(&mut lp, echo);
    let mut how = ConnectOptions::default();
    how.settings = vec![StreamOption::NoDelay(false)];
    let conn = lp.get(dialer).protocol.seat();
    let failing = Dial { to: at.clone(), from: None, timeout: PATIENCE, conn };
    failing.send_with(&mut lp.env, dialer, how);
    until_closed(&mut lp, dialer, 1);
    assert_eq!(lp.get(dialer).protocol.closed, [(0, Close::Dial(ErrorKind::Unsupported))]);
    let conn = lp.get(dialer).protocol.seat();
    dial(&mut lp.env, dialer, at, conn);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    loopwork_tcp::shutdown(&mut lp.env, dialer);
    until_closed(&mut lp, dialer, 2);
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}
