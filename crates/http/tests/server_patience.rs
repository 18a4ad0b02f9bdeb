//! An answer that waits for its reader is not idle, however short the time between two requests
//! is set: in a simulated world, whose buffers are small.

use loopwork_http::core::Request;
use loopwork_http::tcp::reactor::{Env, Id, Loop};
use loopwork_http::tcp::{self, Close, Io, Protocol, listen};
use loopwork_http::{Answer, App, Http, Reply};
use loopwork_sim::{Faults, Sim, run_to_rest};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const LENGTH: usize = 20_000;

struct Site;

impl App for Site {
    type Exchange = ();
    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(200, &[], &[b'x'; LENGTH])
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Asks, reads nothing, asks again: and reads after a second.
struct Slow(Rc<RefCell<Vec<u8>>>);

impl Protocol for Slow {
    type Conn = bool;
    fn on_open(&mut self, _: &mut bool, io: &mut Io<'_>) {
        let _ = io.write(GET);
        io.pause();
        let id = io.id;
        for ms in [20, 1000] {
            io.env.after(Duration::from_millis(ms), move |env| env.wake(id));
        }
    }
    fn on_wake(&mut self, again: &mut bool, io: &mut Io<'_>) {
        match std::mem::replace(again, true) {
            false => _ = io.write(GET),
            true => io.resume(),
        }
    }
    fn on_data(&mut self, _: &mut bool, _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        self.0.borrow_mut().extend_from_slice(bytes);
        bytes.len()
    }
    fn on_close(&mut self, _: bool, _: Id, _: &mut Env, why: Close) {
        assert_eq!(why, Close::Finished);
    }
}

#[test]
fn an_answer_that_waits_is_not_idle() {
    let faults = Faults { window: 64..=64, ..Faults::none() };
    let mut lp = Loop::new(Sim::with_faults(1, faults));
    let mut site = Http::new(Site);
    site.config.keep_alive = Duration::from_millis(50);
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    let (server, _) = listen(&mut lp, at, site).unwrap();
    tcp::hold(&mut lp, server, false);
    let got = Rc::<RefCell<Vec<u8>>>::default();
    let slow = tcp::add(&mut lp, |_| Slow(got.clone()));
    tcp::dial(&mut lp.env, slow, at, false);
    run_to_rest(&mut lp, 1_000_000).unwrap();
    let got = got.borrow();
    let body = got.iter().filter(|byte| **byte == b'x').count();
    assert_eq!(body, 2 * LENGTH, "of {} bytes", got.len());
}
