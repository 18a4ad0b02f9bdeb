//! The time of day: looked at now and then, and in between it runs with the monotonic clock.

use loopwork_reactor::{Fd, Id, Instant, Loop, Mail, Mailbox, Ready, World};
use std::io::{self, ErrorKind};
use std::time::Duration;

/// A world with two clocks that are set by hand.
struct Clocks {
    now: Instant,
    day: Duration,
    looks: usize,
}

impl World for Clocks {
    fn now(&mut self) -> Instant {
        self.now
    }
    fn unix_time(&mut self) -> Duration {
        self.looks += 1;
        self.day
    }
    fn poll(&mut self, _: Option<Instant>, _: &mut Vec<Ready>) -> io::Result<()> {
        Ok(())
    }
    fn random(&mut self, into: &mut [u8]) {
        into.fill(4);
    }
    fn close(&mut self, _: Fd) {}
    fn watch_signals(&mut self, _: &[i32], _: Id) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn next_signal(&mut self, _: Id) -> Option<i32> {
        None
    }
    fn mailbox(&mut self) -> io::Result<Mailbox> {
        Err(ErrorKind::Unsupported.into())
    }
    fn mail(&mut self, _: &mut Vec<Mail>) {}
}

const START: Instant = Instant(5_000_000_000);
const DAY: Duration = Duration::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// A turn so long after the beginning; the time of day in it, and how often that was looked at.
fn turn(lp: &mut Loop<Clocks>, after: Duration) -> (Duration, usize) {
    lp.world.now = START.after(after);
    lp.turn(Some(Duration::ZERO)).expect("a turn");
    (lp.env.unix_time(), lp.world.looks)
}

#[test]
fn a_correction_of_the_clock_shows_within_a_second_and_each_second_has_one_look() {
    let millis = Duration::from_millis;
    let mut lp = Loop::new(Clocks { now: START, day: DAY, looks: 0 });
    assert_eq!(turn(&mut lp, millis(0)), (DAY, 1));
    // Somebody sets it, an hour ahead: for a second nobody sees that.
    lp.world.day = DAY + HOUR;
    assert_eq!(turn(&mut lp, millis(400)), (DAY + millis(400), 1));
    assert_eq!(turn(&mut lp, millis(999)), (DAY + millis(999), 1));
    assert_eq!(turn(&mut lp, millis(1000)), (DAY + HOUR, 2));
    // From there on it runs again, until the next look; back is a correction, too.
    lp.world.day = DAY;
    assert_eq!(turn(&mut lp, millis(1500)), (DAY + HOUR + millis(500), 2));
    assert_eq!(turn(&mut lp, millis(1999)), (DAY + HOUR + millis(999), 2));
    assert_eq!(turn(&mut lp, millis(2001)), (DAY, 3));
    assert_eq!(turn(&mut lp, millis(3000)), (DAY + millis(999), 3));
    assert_eq!(turn(&mut lp, millis(3001)), (DAY, 4));
}
