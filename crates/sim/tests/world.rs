//! The clock, the poll, randomness, signals and mail of the simulated world; ids that outlive
//! their sockets; and a real loop on top.

mod support;

use loopwork_reactor::{Cx, Driver, Id, Instant, ListenOptions, Loop, Mail, Ready, Streams, World};
use loopwork_sim::{
    Choice, Decider, Faults, FromBytes, IDLE_POLLS, POLL_COST, Sim, TraceHash, percent, run_to_rest,
};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;
use support::*;

#[test]
fn time_is_never_zero_never_stands_and_never_goes_back() {
    let mut sim = Sim::new(1);
    let mut last = Instant(0);
    for n in 0..1000 {
        let now = sim.now();
        assert!(now > last);
        last = sim.now();
        assert!(last > now, "no two stamps are equal, without a poll between them too");
        let until = if n % 2 == 0 { Instant(0) } else { now.after(Duration::from_millis(n)) };
        sim.poll(Some(until), &mut Vec::new()).unwrap();
    }
}

#[test]
fn a_poll_jumps_to_its_time_and_not_beyond() {
    let mut sim = Sim::with_faults(1, Faults::none());
    let until = sim.now().after(Duration::from_secs(86_400 * 365));
    let wall = std::time::Instant::now();
    let mut ready = Vec::new();
    sim.poll(Some(until), &mut ready).unwrap();
    assert_eq!((sim.time(), ready.len()), (until, 0));
    assert!(wall.elapsed() < Duration::from_secs(5), "a year passes in no time");
    // A time that is past: not at all.
    sim.poll(Some(Instant(0)), &mut ready).unwrap();
    assert_eq!(sim.time(), Instant(until.0 + POLL_COST));
}

#[test]
fn a_poll_stops_at_the_first_event() {
    let mut sim = Sim::with_faults(1, Faults::none());
    let client = sim.connect(&tcp(9), None, id(2)).unwrap();
    let (begin, mut ready) = (sim.time(), Vec::new());
    sim.poll(Some(begin.after(Duration::from_secs(9))), &mut ready).unwrap();
    assert!(told(&ready, id(2)).is_some());
    assert_eq!(sim.time().since(begin), Duration::from_micros(100), "there and back");
    sim.close(client);
}

#[test]
fn rough_polls_return_early_and_never_late() {
    let mut sim = Sim::with_faults(1, Faults { early: percent(50), ..Faults::rough() });
    let (mut early, wait) = (0, Duration::from_millis(1));
    for _ in 0..200 {
        let until = sim.now().after(wait);
        sim.poll(Some(until), &mut Vec::new()).unwrap();
        assert!(sim.time() <= until);
        early += u32::from(sim.time() < until);
    }
    assert!((50..150).contains(&early), "{early}");
}

#[test]
fn a_process_that_lags_finds_more_at_once_and_is_not_late() {
    let lag_time = Duration::from_secs(1)..=Duration::from_secs(1);
    let mut sim = Sim::with_faults(1, Faults { lag: percent(100), lag_time, ..Faults::none() });
    sim.connect(&tcp(9), None, id(2)).unwrap();
    sim.poll(None, &mut Vec::new()).unwrap();
    assert!(sim.time() >= Instant(1_000_000_000));
    let until = sim.now().after(Duration::from_millis(10));
    let (client, mut ready) = (sim.connect(&tcp(9), None, id(3)).unwrap(), Vec::new());
    sim.poll(Some(until), &mut ready).unwrap();
    assert_eq!(sim.time(), until, "it is late for the event, not for its own time");
    assert!(told(&ready, id(3)).is_some());
    sim.close(client);
}

#[test]
fn a_world_at_rest_says_so_and_then_fails() {
    for faults in [Faults::none(), Faults::rough()] {
        let mut sim = Sim::with_faults(1, faults);
        let mut ready = Vec::new();
        assert!(!sim.idle());
        for _ in 0..IDLE_POLLS {
            sim.poll(None, &mut ready).unwrap();
            assert!(sim.idle() && ready.is_empty());
        }
        assert_eq!(kind(sim.poll(None, &mut ready)), ErrorKind::Deadlock);
        assert_eq!(kind(sim.poll(Some(Instant::NEVER), &mut ready)), ErrorKind::Deadlock);
        sim.poll(Some(Instant(0)), &mut ready).unwrap();
        assert!(!sim.idle());
    }
}

#[test]
fn a_loop_waits_an_hour_in_no_time() {
    let mut lp = Loop::new(Sim::new(1));
    lp.env.after(Duration::from_secs(3600), |_| ());
    let wall = std::time::Instant::now();
    lp.run().unwrap();
    assert!(wall.elapsed() < Duration::from_secs(5));
    assert!(lp.world.time() > Instant(3_600_000_000_000));
}

#[test]
fn a_deadlocked_loop_ends_with_an_error() {
    let mut lp = Loop::new(Sim::new(1));
    lp.env.calls.hold();
    assert_eq!(kind(lp.run()), ErrorKind::Deadlock);
}

#[test]
fn a_loop_runs_to_rest_and_not_for_ever() {
    fn again(env: &mut loopwork_reactor::Env) {
        env.after(Duration::from_secs(1), again);
    }
    let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
    lp.env.calls.hold();
    lp.env.after(Duration::from_secs(9), |_| ());
    run_to_rest(&mut lp, 100).unwrap();
    assert!(lp.world.idle() && lp.world.time() > Instant(9_000_000_000));
    again(&mut lp.env);
    assert_eq!(kind(run_to_rest(&mut lp, 100)), ErrorKind::TimedOut);
}

#[test]
fn randomness_is_the_seeds() {
    let draw = |seed| {
        let mut into = [0; 37];
        Sim::new(seed).random(&mut into);
        into
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert!(draw(1).iter().filter(|b| **b == 0).count() < 5);
}

#[test]
fn signals_come_to_who_watches_them_one_of_a_kind() {
    let mut sim = Sim::with_faults(1, Faults::none());
    assert_eq!(kind(sim.watch_signals(&[9], id(1))), ErrorKind::InvalidInput);
    sim.watch_signals(&[15, 2], id(1)).unwrap();
    sim.watch_signals(&[15], id(2)).unwrap();
    assert!(!sim.signal(1), "nobody watches");
    assert!(sim.signal(2) && sim.signal(15) && sim.signal(15));
    let mut ready = Vec::new();
    sim.poll(None, &mut ready).unwrap();
    assert!(told(&ready, id(1)).unwrap().readable && told(&ready, id(2)).unwrap().readable);
    assert_eq!(ready.len(), 2);
    assert_eq!([(); 3].map(|()| sim.next_signal(id(1))), [Some(2), Some(15), None]);
    assert_eq!([(); 2].map(|()| sim.next_signal(id(2))), [Some(15), None]);
    assert_eq!(settle(&mut sim), [], "told once");
    sim.signal(15);
    assert_eq!(settle(&mut sim).len(), 2);
}

#[test]
fn mail_is_told_once_and_comes_in_order() {
    let mut sim = Sim::with_faults(1, Faults::none());
    let door = sim.mailbox().unwrap();
    let other = sim.mailbox().unwrap();
    door.wake(id(1));
    other.stop();
    door.wake(id(2));
    let mut ready = Vec::new();
    sim.poll(None, &mut ready).unwrap();
    assert_eq!(ready.iter().map(|r| r.id).collect::<Vec<_>>(), [Id::MAIL]);
    let mut mail = Vec::new();
    sim.mail(&mut mail);
    let names = mail.iter().map(|m| match m {
        Mail::Wake(id) => id.birth,
        Mail::Stop => 100,
        Mail::Post(..) => 200,
    });
    assert_eq!(names.collect::<Vec<_>>(), [1, 100, 2]);
    assert_eq!(settle(&mut sim), []);
    door.stop();
    assert_eq!(settle(&mut sim).len(), 1, "and again when it is filled anew");
}

#[test]
fn mail_may_come_from_another_thread() {
    let mut sim = Sim::new(1);
    let door = sim.mailbox().unwrap();
    std::thread::spawn(move || door.stop()).join().unwrap();
    assert!(told(&settle(&mut sim), Id::MAIL).is_some());
}

#[test]
fn a_number_is_used_again_and_its_late_events_miss() {
    let mut sim = Sim::with_faults(1, Faults::none());
    let p = pair(&mut sim);
    sim.write(p.client, b"for the old owner").unwrap();
    sim.close(p.server);
    let (heir, _) = sim.listen(&tcp(0), &ListenOptions::default(), id(9)).unwrap();
    assert_eq!(heir, p.server, "the number is used again at once");
    let ready = settle(&mut sim);
    assert_eq!(told(&ready, id(9)), None);
    assert_eq!(told(&ready, id(3)), None);
    assert!(told(&ready, id(2)).unwrap().gone, "the late bytes were answered");
}

#[test]
fn stale_readiness_comes_when_asked_for() {
    let mut sim = Sim::with_faults(1, Faults { stale: percent(100), ..Faults::none() });
    let p = pair(&mut sim);
    sim.close(p.client);
    let now = told(&poll(&mut sim), id(2)).unwrap();
    assert!(now.readable && now.writable && now.closed && now.gone);
    assert_eq!(sim.stats().stale, 1);
    assert_eq!(told(&settle(&mut sim), id(2)), None);
}

#[test]
fn one_readiness_comes_as_two_when_asked_for() {
    let mut sim = Sim::with_faults(1, Faults { twice: percent(100), ..Faults::none() });
    let p = pair(&mut sim);
    sim.write(p.client, b"x").unwrap();
    sim.shutdown(p.client).unwrap();
    let ready = poll(&mut sim);
    let of: Vec<&Ready> = ready.iter().filter(|r| r.id == id(3)).collect();
    assert_eq!(of.len(), 2);
    assert!(of.iter().all(|r| r.readable != r.writable));
    assert!(of.iter().all(|r| r.closed == r.readable), "the end is told with the input");
}

/// Answers as `FromBytes` does, and keeps what was asked.
struct Asked(FromBytes, Rc<RefCell<Vec<Choice>>>);

impl Decider for Asked {
    fn pick(&mut self, what: Choice, sides: u64) -> u64 {
        self.1.borrow_mut().push(what);
        self.0.pick(what, sides)
    }
}

#[test]
fn a_decider_that_has_run_dry_is_a_tame_world() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let dry = Asked(FromBytes::default(), asked.clone());
    let mut sim = Sim::with_decider(dry, Faults::hostile());
    let p = pair(&mut sim);
    assert_eq!(sim.write(p.client, &[1; 30_000]).unwrap(), 30_000);
    settle(&mut sim);
    assert_eq!(drain(&mut sim, p.server).0.len(), 30_000);
    assert_eq!(sim.stats().resets + sim.stats().spurious + sim.stats().cut_reads, 0);
    let asked = asked.borrow();
    for choice in [Choice::Latency, Choice::CutWrite, Choice::Reset, Choice::CutRead] {
        assert!(asked.contains(&choice), "{choice:?}");
    }
}

#[test]
fn no_fault_asks_for_nothing_but_ports_and_randomness() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let mut sim = Sim::with_decider(Asked(FromBytes::default(), asked.clone()), Faults::none());
    let p = pair(&mut sim);
    sim.write(p.client, b"x").unwrap();
    sim.close(p.server);
    settle(&mut sim);
    assert!(asked.borrow().iter().all(|choice| *choice == Choice::Port));
}

/// A driver that dials itself, sends, and counts what it is told.
#[derive(Default)]
struct Dialer {
    readies: u32,
}

impl Driver<Sim> for Dialer {
    fn on_ready(&mut self, cx: &mut Cx<'_, Sim>, ready: Ready) {
        self.readies += 1;
        cx.env.note(ready.id, loopwork_reactor::Trace::Ready);
    }
}

fn traced(seed: u64) -> (u64, u64, u32) {
    let mut lp = Loop::new(Sim::new(seed));
    lp.trace(Some(Box::new(TraceHash::with_tail(10))));
    let dialer = lp.add(|_| Dialer::default());
    let (_, at) = lp.world.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    for n in 2..20 {
        lp.world.connect(&at, None, id(n)).unwrap();
    }
    while !lp.world.idle() {
        lp.turn(None).unwrap();
    }
    let readies = lp.get(dialer).readies;
    let hash = TraceHash::take(&mut lp).unwrap();
    assert_eq!(hash.tail().count(), 10);
    assert!(TraceHash::take(&mut lp).is_none());
    (hash.value(), hash.count(), readies)
}

#[test]
fn a_loop_in_it_runs_the_same_twice_by_its_trace() {
    let (hash, count, readies) = traced(7);
    assert_eq!(traced(7), (hash, count, readies));
    assert!(readies >= 19 && count > u64::from(readies));
    assert_ne!(traced(8).0, hash);
}

#[test]
fn a_jump_of_the_clock_makes_due_what_lies_in_between_and_no_more() {
    let mut lp = Loop::new(Sim::with_faults(7, Faults::none()));
    let rung = Rc::new(RefCell::new(Vec::new()));
    for hours in [3, 1, 2] {
        let rung = rung.clone();
        let after = Duration::from_secs(hours * 3600);
        lp.env.after(after, move |_| rung.borrow_mut().push(hours));
    }
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*rung.borrow(), [], "nothing is due yet");
    let before = (lp.world.time(), lp.world.hash());
    lp.world.jump(Duration::from_secs(2 * 3600 + 60));
    assert!(lp.world.time().since(before.0).as_secs() == 2 * 3600 + 60);
    assert_ne!(lp.world.hash(), before.1, "a jump is part of the run");
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*rung.borrow(), [1, 2], "the earlier one first");
    lp.run().unwrap();
    assert_eq!(*rung.borrow(), [1, 2, 3]);
}
