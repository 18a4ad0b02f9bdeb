//! The loop inside a foreign one, which has its own poll and asks three things of ours: the
//! descriptor, the next deadline, and a turn that waits for nothing.

use loopwork_reactor::{Cx, Driver, Loop, Os, Ready, World, mio};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::any::Any;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

struct Posts(u32);

impl<W: World> Driver<W> for Posts {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}
    fn on_post(&mut self, cx: &mut Cx<'_, W>, _: Box<dyn Any>) {
        self.0 += 1;
        cx.env.calls.release();
    }
}

#[test]
fn a_loop_runs_inside_anothers_poll() {
    let mut lp = Loop::new(Os::new().unwrap());
    assert_eq!(lp.world.as_fd().as_raw_fd(), lp.world.as_raw_fd());
    let mut foreign = Poll::new().unwrap();
    let ours = lp.world.as_raw_fd();
    foreign.registry().register(&mut SourceFd(&ours), Token(7), Interest::READABLE).unwrap();
    let posts = lp.add(|_| Posts(0));
    // Kept alive for the letter; two calls come by the deadline, which the foreign poll keeps.
    lp.env.calls.hold();
    lp.env.after(Duration::from_millis(3), |env| {
        *env.shared.one::<u32>() += 1;
        env.after(Duration::from_millis(3), |env| *env.shared.one::<u32>() += 1);
    });
    let mailbox = lp.mailbox().unwrap();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        mailbox.post(posts.driver, Box::new(()));
    });
    let (begun, mut events, mut turns, mut told) = (Instant::now(), Events::with_capacity(4), 0, 0);
    while lp.env.calls.alive() {
        assert!(begun.elapsed() < PATIENCE, "it did not happen");
        let now = lp.world.now();
        foreign.poll(&mut events, lp.next_deadline().map(|at| at.since(now))).unwrap();
        told += events.iter().filter(|e| e.token() == Token(7) && e.is_readable()).count();
        lp.turn(Some(Duration::ZERO)).unwrap();
        turns += 1;
    }
    thread.join().unwrap();
    assert_eq!((lp.get(posts).0, *lp.env.shared.one::<u32>()), (1, 2));
    assert!(told >= 1, "the letter came by the descriptor");
    assert!(turns < 10, "{turns} turns: it span");
}
