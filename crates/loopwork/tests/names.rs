//! Dials by names, with a resolver of the loop's own.

use loopwork::dns::{Config, Hosts, Resolver};
use loopwork::tcp::{Family, Io};
use loopwork::{Address, Close, Env, Id, Loop, Os, connect_by, tcp};
use std::io::ErrorKind;

/// Says a word to whoever connects, and notes what it hears and how it ends.
#[derive(Default)]
struct Word {
    heard: Vec<u8>,
    ends: Vec<Close>,
}

impl tcp::Protocol for Word {
    /// Whether it was accepted.
    type Conn = bool;
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<bool> {
        Some(true)
    }
    fn on_open(&mut self, accepted: &mut bool, io: &mut Io<'_>) {
        if *accepted {
            let _ = io.write(b"hello");
            io.end();
        }
    }
    fn on_data(&mut self, _: &mut bool, _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        self.heard.extend_from_slice(bytes);
        bytes.len()
    }
    fn on_close(&mut self, accepted: bool, _: Id, env: &mut Env, why: Close) {
        if !accepted {
            self.ends.push(why);
            env.calls.stop();
        }
    }
}

/// The first address is dead: nobody listens there. The second one answers.
#[test]
fn a_name_is_dialed_at_its_addresses() {
    let mut lp = Loop::new(Os::new().unwrap());
    let (host, at) = tcp::listen(&mut lp, "127.0.0.1:0".parse().unwrap(), Word::default()).unwrap();
    let hosts = Hosts::parse("127.9.9.9 own.example\n127.0.0.1 own.example");
    let names = Resolver::new(&mut lp, Config::default(), hosts);
    connect_by(&mut lp.env, names, host, "own.example", at.port(), Family::Any, false);
    lp.run().unwrap();
    assert_eq!(lp.get(host).protocol.heard, b"hello");
    assert_eq!(lp.get(host).protocol.ends, [Close::Finished]);
}

#[test]
fn a_name_that_cannot_be_is_told_by_the_end() {
    let mut lp = Loop::new(Os::new().unwrap());
    let host = tcp::add(&mut lp, |_| Word::default());
    let names = Resolver::new(&mut lp, Config::default(), Hosts::default());
    connect_by(&mut lp.env, names, host, "a..b", 80, Family::Any, false);
    lp.run().unwrap();
    assert_eq!(lp.get(host).protocol.ends, [Close::Dial(ErrorKind::InvalidInput)]);
}
