//! The reactor in the real world: threads, signals, a source of the user's own, the clock.
//! Every wait is bounded.

use loopwork_reactor::signal::{self, SIGUSR1, SIGUSR2};
use loopwork_reactor::{
    Cx, Driver, Env, Fd, Handle, Id, Instant, Loop, Mail, Mailbox, Os, Ready, World, mio,
};
use mio::unix::pipe;
use std::any::Any;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant as Clock};

const PATIENCE: Duration = Duration::from_secs(20);

fn os() -> Loop<Os> {
    Loop::new(Os::new().expect("a poll"))
}

/// Turns until `done`, or fails when patience ends.
fn turn_until(lp: &mut Loop<Os>, mut done: impl FnMut(&mut Loop<Os>) -> bool) {
    let begun = Clock::now();
    while !done(lp) {
        assert!(begun.elapsed() < PATIENCE, "it did not happen");
        lp.turn(Some(Duration::from_millis(100))).expect("a turn");
    }
}

/// Counts what reaches it.
#[derive(Default)]
struct Counter {
    wakes: Vec<u64>,
    posts: u64,
}

impl<W: World> Driver<W> for Counter {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}
    fn on_wake(&mut self, _: &mut Cx<'_, W>, id: Id) {
        let slot = id.slot as usize;
        self.wakes.resize(self.wakes.len().max(slot + 1), 0);
        self.wakes[slot] += 1;
    }
    fn on_post(&mut self, _: &mut Cx<'_, W>, mail: Box<dyn Any>) {
        self.posts += *mail.downcast::<u64>().expect("numbers are posted here");
    }
}

#[test]
fn hostile_12_wakes_of_four_threads_are_coalesced_and_none_is_lost() {
    const THREADS: u32 = 4;
    const EACH: u64 = 100_000;
    let mut lp = os();
    let counter = lp.add(|_| Counter::default());
    let mailbox = lp.mailbox().unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|slot| {
            let mailbox = mailbox.clone();
            let id = Id { birth: 7, slot, driver: counter.driver };
            thread::spawn(move || {
                for n in 0..EACH {
                    mailbox.wake(id);
                    if n % 1000 == 999 {
                        mailbox.post(counter.driver, Box::new(1u64));
                    }
                }
            })
        })
        .collect();
    // A post is never merged with another: when all have come, so have the wakes before them.
    let posts = u64::from(THREADS) * EACH / 1000;
    let mut turns = 0u64;
    turn_until(&mut lp, |lp| {
        turns += 1;
        lp.get(counter).posts == posts
    });
    threads.into_iter().for_each(|t| t.join().unwrap());
    let wakes = &lp.get(counter).wakes;
    assert!(wakes.iter().all(|&n| (1..=turns).contains(&n)), "{wakes:?} in {turns} turns");
    assert!(turns < u64::from(THREADS) * EACH, "coalesced");
}

/// However many letters, one ring: until they are taken.
#[test]
fn hostile_12_a_mailbox_rings_once_for_all_that_waits() {
    let rings = Arc::new(AtomicU64::new(0));
    let count = rings.clone();
    let mailbox = Mailbox::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let id = Id { birth: 7, slot: 0, driver: 0 };
    for round in 1..=3 {
        for n in 0..1000_u64 {
            mailbox.wake(id);
            mailbox.post(0, Box::new(n));
        }
        assert_eq!(rings.load(Ordering::Relaxed), round);
        let mut letters = Vec::new();
        mailbox.take(&mut letters);
        assert_eq!(letters.len(), 2000, "and none is lost");
    }
}

/// The race that a flag could lose: a wake between the flag's fall and the taking.
#[test]
fn hostile_12_each_wake_is_answered_when_it_is_the_last() {
    let mut lp = os();
    let counter = lp.add(|_| Counter::default());
    let mailbox = lp.mailbox().unwrap();
    let id = Id { birth: 7, slot: 0, driver: counter.driver };
    let (go, wait) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || wait.iter().for_each(|()| mailbox.wake(id)));
    for n in 1..=20_000 {
        go.send(()).unwrap();
        turn_until(&mut lp, |lp| lp.get(counter).wakes.first() == Some(&n));
    }
    drop(go);
    thread.join().unwrap();
}

#[test]
fn a_thread_stops_the_loop() {
    let mut lp = os();
    lp.env.calls.hold();
    let mailbox = lp.mailbox().unwrap();
    let begun = Clock::now();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        mailbox.send(Mail::Stop);
        mailbox
    });
    lp.run().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert!(lp.env.calls.stopping());
    drop(lp);
    thread.join().unwrap().stop();
}

#[derive(Default)]
struct Seen(Vec<(char, i32)>);

/// Signals are the process's: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn signals_are_told_in_the_loop_to_every_watch() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let mut lp = os();
    let see = |name| move |env: &mut Env, n: i32| env.shared.one::<Seen>().0.push((name, n));
    signal::watch(&mut lp, &[SIGUSR1], see('a')).unwrap();
    signal::watch(&mut lp, &[SIGUSR2, SIGUSR1], see('b')).unwrap();
    assert!(!lp.env.calls.alive(), "a watch keeps no loop running");
    signal_hook::low_level::raise(SIGUSR1).unwrap();
    turn_until(&mut lp, |lp| lp.env.shared.one::<Seen>().0.len() >= 2);
    let mut seen = std::mem::take(&mut lp.env.shared.one::<Seen>().0);
    seen.sort_unstable();
    assert_eq!(seen, [('a', SIGUSR1), ('b', SIGUSR1)]);

    // From another process's hand, while the poll waits; both numbers at once.
    let pid = std::process::id().to_string();
    let thread = thread::spawn(move || {
        for name in ["-USR1", "-USR2"] {
            let kill = std::process::Command::new("kill").args([name, &pid]).status();
            assert!(kill.unwrap().success());
        }
    });
    turn_until(&mut lp, |lp| lp.env.shared.one::<Seen>().0.len() >= 3);
    thread.join().unwrap();
    let mut seen = std::mem::take(&mut lp.env.shared.one::<Seen>().0);
    seen.sort_unstable();
    assert_eq!(seen, [('a', SIGUSR1), ('b', SIGUSR1), ('b', SIGUSR2)]);
    lp.turn(Some(Duration::from_millis(5))).unwrap();
    assert_eq!(lp.env.shared.one::<Seen>().0, []);
}

#[test]
fn a_loop_that_is_gone_is_told_no_signals() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let mut lp = os();
    signal::watch(&mut lp, &[SIGUSR1], |_, _| panic!("gone")).unwrap();
    drop(lp);
    signal_hook::low_level::raise(SIGUSR1).unwrap();
}

#[test]
fn signals_that_nobody_can_catch_are_errors() {
    for signal in [9, 19, 11, 4, 8, 0, -1, 1000] {
        let mut lp = os();
        let watch = signal::watch(&mut lp, &[SIGUSR2, signal], |_, _| {});
        assert!(watch.is_err(), "{signal}");
    }
}

/// A pipe's reading end as a source of its own.
struct Pipe {
    id: Id,
    fd: Option<Fd>,
    from: pipe::Receiver,
    got: Vec<u8>,
    ended: bool,
}

impl Driver<Os> for Pipe {
    fn on_ready(&mut self, cx: &mut Cx<'_, Os>, ready: Ready) {
        if ready.id != self.id || self.fd.is_none() {
            return;
        }
        loop {
            match self.from.read(cx.buffer) {
                Ok(0) => break self.ended = true,
                Ok(n) => self.got.extend_from_slice(&cx.buffer[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => panic!("{e}"),
            }
        }
        if self.ended {
            let fd = self.fd.take().expect("it is watched");
            cx.world.unwatch(&mut self.from, fd).expect("it was watched");
            cx.env.calls.release();
        }
    }
}

fn pipe_source(lp: &mut Loop<Os>) -> (Handle<Pipe>, pipe::Sender) {
    let (to, from) = pipe::new().unwrap();
    let birth = lp.env.calls.birth();
    let handle = lp.add(|handle: Handle<Pipe>| {
        let id = Id { birth, slot: 0, driver: handle.driver };
        Pipe { id, fd: None, from, got: Vec::new(), ended: false }
    });
    lp.with(handle, |source, cx| {
        let fd = cx.world.watch(&mut source.from, source.id, mio::Interest::READABLE);
        source.fd = Some(fd.unwrap());
        cx.env.calls.hold();
    });
    (handle, to)
}

#[test]
fn a_source_of_mios_joins_the_loop_and_leaves_it() {
    let mut lp = os();
    let (handle, mut to) = pipe_source(&mut lp);
    lp.turn(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(lp.get(handle).got, b"");
    to.write_all(b"one ").unwrap();
    turn_until(&mut lp, |lp| lp.get(handle).got == b"one ");
    to.write_all(b"two").unwrap();
    drop(to);
    lp.run().unwrap();
    assert_eq!(lp.get(handle).got, b"one two");
    assert!(lp.get(handle).ended && lp.get(handle).fd.is_none());
    // The slot is free for the next, whose events are its own.
    let (second, mut to) = pipe_source(&mut lp);
    to.write_all(b"three").unwrap();
    drop(to);
    lp.run().unwrap();
    assert_eq!(lp.get(second).got, b"three");
    assert_eq!(lp.get(handle).got, b"one two");
}

#[test]
fn a_turn_waits_as_long_as_it_is_told_and_no_longer() {
    let mut lp = os();
    let begun = Clock::now();
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(begun.elapsed() < PATIENCE);
    let begun = Clock::now();
    lp.turn(Some(Duration::from_millis(40))).unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(40) && took < PATIENCE, "{took:?}");
    // A far deadline is no shorter a wait than that, and no longer one.
    lp.env.calls.timers.arm(Instant::NEVER, Id::NOBODY);
    let begun = Clock::now();
    lp.turn(Some(Duration::from_millis(40))).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(40));
}

#[test]
fn hostile_10_a_wait_without_end_is_waited_for() {
    let mut lp = os();
    lp.env.after(Duration::MAX, |_| panic!("the end of time"));
    lp.env.after(Duration::from_secs(40 * 86_400), |_| panic!("more than 2^31 milliseconds"));
    let (begun, mut turns) = (Clock::now(), 0);
    let mailbox = lp.mailbox().unwrap();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        mailbox.stop();
    });
    while !lp.env.calls.stopping() && begun.elapsed() < PATIENCE {
        lp.turn(None).unwrap();
        turns += 1;
    }
    thread.join().unwrap();
    assert!(turns <= 3, "{turns} turns: it span");
}

#[test]
fn calls_come_in_time_and_in_order() {
    let mut lp = os();
    let start = lp.env.now;
    for ms in [30u64, 10, 20, 0] {
        lp.env.after(Duration::from_millis(ms), move |env| {
            let late = env.now.since(start);
            assert!(late >= Duration::from_millis(ms), "{ms} ms came after {late:?}");
            env.shared.one::<Vec<u64>>().push(ms);
        });
    }
    lp.run().unwrap();
    assert_eq!(*lp.env.shared.one::<Vec<u64>>(), [0, 10, 20, 30]);
    assert!(lp.world.now().since(start) < PATIENCE);
}

#[test]
fn what_is_asked_from_outside_counts_from_now_not_from_the_last_turn() {
    let mut lp = os();
    let driver = lp.add(|_| Counter::default());
    thread::sleep(Duration::from_millis(20));
    let before = lp.world.now();
    assert!(lp.env.now < before, "nobody has looked at the clock since");
    assert!(lp.with(driver, |_, cx| cx.env.now) >= before);
}

#[test]
fn the_clock_never_says_zero_and_never_goes_back() {
    let mut os = Os::new().unwrap();
    let mut last = Instant(0);
    for _ in 0..10_000 {
        let now = os.now();
        assert!(now >= last && now > Instant(0));
        last = now;
    }
}
