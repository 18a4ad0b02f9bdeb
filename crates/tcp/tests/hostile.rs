//! Hostile situations that need a simulated world: events of a connection that is over and whose
//! slot has a new owner, a clock that jumps, a peer that drips, a crowd that dies.

mod support;

use loopwork_reactor::{Address, Env, Handle, Id, Instant, Trace, Tracer};
use loopwork_sim::{Faults, Sim, percent};
use loopwork_tcp::{Close, Dial, Host, Io, Protocol, add, shutdown};
use std::any::Any;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;
use support::{On, PATIENCE, dial_to, echo, finish, more, open, play, turn_until, until_closed};

const SECOND: Duration = Duration::from_secs(1);

/// Gives each connection up at its first bytes, and dials the next at once: it takes the slot
/// before the world tells the last of its former owner.
struct Hasty {
    own: Option<Handle<Host<Hasty>>>,
    to: Address,
    left: u32,
    ids: Vec<Id>,
    closed: Vec<(Id, Close)>,
}

impl Hasty {
    fn dial(&mut self, env: &mut Env) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let dial = Dial { to: self.to.clone(), from: None, timeout: PATIENCE, conn: 0 };
            dial.send(env, self.own.expect("set by the test"));
        }
    }
}

impl Protocol for Hasty {
    /// How many bytes have come.
    type Conn = usize;
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<usize> {
        None
    }
    fn on_open(&mut self, got: &mut usize, io: &mut Io<'_>) {
        assert_eq!(*got, 0);
        self.ids.push(io.id);
        let _ = io.write(b"hello");
    }
    fn on_data(&mut self, got: &mut usize, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        *got += bytes.len();
        io.abort(Close::Aborted);
        bytes.len()
    }
    fn on_close(&mut self, got: usize, id: Id, env: &mut Env, why: Close) {
        assert!(got > 0, "it had its bytes before it ended: {why}");
        self.closed.push((id, why));
        self.dial(env);
    }
}

#[test]
fn hostile_04_events_of_a_slots_former_owner_touch_nobody() {
    const DIALS: u32 = 300;
    let faults = Faults { stale: percent(100), ..Faults::none() };
    let (mut lp, host) = play(Sim::with_faults(4, faults), echo);
    let to = open(&mut lp, host).into();
    let (ids, closed) = (Vec::new(), Vec::new());
    let hasty = add(&mut lp, |_| Hasty { own: None, to, left: DIALS, ids, closed });
    lp.get(hasty).protocol.own = Some(hasty);
    for _ in 0..3 {
        let to = lp.get(hasty).protocol.to.clone();
        lp.get(hasty).protocol.left -= 1;
        Dial { to, from: None, timeout: PATIENCE, conn: 0 }.send(&mut lp.env, hasty);
    }
    turn_until(&mut lp, |lp| lp.get(hasty).protocol.closed.len() == DIALS as usize);
    let told = &lp.get(hasty).protocol;
    let own: Vec<_> = told.closed.iter().map(|(id, _)| *id).collect();
    assert!(told.closed.iter().all(|(_, why)| *why == Close::Aborted));
    let mut births: Vec<_> = own.iter().map(|id| id.birth).collect();
    births.sort_unstable();
    births.dedup();
    assert_eq!((births.len(), told.ids.len()), (DIALS as usize, DIALS as usize), "each its own");
    assert!(own.iter().all(|id| id.slot < 8), "the slots were used again");
    let stale = lp.world.stats().stale;
    assert!(stale >= u64::from(DIALS) / 2, "{stale} stale events were told");
    finish(&mut lp, host);
}

#[test]
fn hostile_08_a_jump_of_the_clock_rings_each_timer_once_and_in_order() {
    let (mut lp, host) = play(Sim::with_faults(8, Faults::none()), |seat, io, on| match on {
        On::Open => {
            let after = SECOND * (5 - seat.n as u32 % 5);
            io.set_deadline(Some(io.env.now.after(after)));
            0
        }
        On::Timeout => {
            seat.number += 1;
            0
        }
        _ => echo(seat, io, on),
    });
    let at = open(&mut lp, host);
    let dialer = more(&mut lp, echo);
    (0..5).for_each(|_| dial_to(&mut lp, dialer, at, PATIENCE));
    turn_until(&mut lp, |lp| lp.get(host).len() == 5 && lp.get(dialer).len() == 5);
    let rung: Rc<RefCell<Vec<(char, Instant)>>> = Rc::default();
    let ring = |what| {
        let rung = rung.clone();
        move |env: &mut Env| rung.borrow_mut().push((what, env.now))
    };
    let beat = ring('b');
    lp.env.every(SECOND, move |env| {
        beat(env);
        ControlFlow::Continue(())
    });
    lp.env.after(SECOND * 1800, ring('l'));
    lp.env.after(SECOND * 60, ring('e'));
    let begun = lp.world.time();
    lp.world.jump(SECOND * 3600 + SECOND / 2);
    lp.turn(Some(Duration::ZERO)).unwrap();
    let what: String = rung.borrow().iter().map(|(what, _)| *what).collect();
    assert_eq!(what, "bel", "each once, the earliest first, and no beat is made up for");
    let play = &lp.get(host).protocol;
    let late: Vec<_> = play.log.iter().filter(|(_, what)| *what == "timeout").collect();
    assert_eq!(late.len(), 5, "the connections' too: {late:?}");
    assert!(late.iter().map(|(n, _)| n).eq(&[4, 3, 2, 1, 0]), "{late:?}");
    // The beat goes on where it would have been.
    turn_until(&mut lp, |_| rung.borrow().len() == 4);
    let next = rung.borrow()[3].1.since(begun);
    assert!(next >= SECOND * 3601 - SECOND / 10 && next < SECOND * 3602, "{next:?}");
}

/// A deadline is a time, and not a silence: what drips does not move it.
#[test]
fn hostile_19_a_drip_does_not_move_the_deadline() {
    let (mut lp, host) = play(Sim::with_faults(19, Faults::none()), |seat, io, on| match on {
        On::Open => {
            seat.number = io.env.now.after(SECOND * 10).0;
            io.set_deadline(Some(Instant(seat.number)));
            0
        }
        On::Data(bytes) => {
            assert_eq!(io.deadline(), Some(Instant(seat.number)));
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        On::Timeout => {
            let late = io.env.now.since(Instant(seat.number));
            assert!(io.env.now.0 >= seat.number && late < SECOND / 10, "{late:?}");
            io.abort(Close::TimedOut);
            0
        }
        _ => 0,
    });
    let at = open(&mut lp, host);
    // One byte each second, for ever.
    let dripping = more(&mut lp, |_, io, on| {
        if let On::Open | On::Wake = on {
            let _ = io.write(b".");
            let id = io.id;
            io.env.after(SECOND, move |env| env.wake(id));
        }
        0
    });
    dial_to(&mut lp, dripping, at, PATIENCE);
    until_closed(&mut lp, host, 1);
    until_closed(&mut lp, dripping, 1);
    let play = &lp.get(host).protocol;
    assert_eq!(play.closed, [(0, Close::TimedOut)]);
    let got = play.seats[0].got.len();
    assert!((9..=11).contains(&got), "{got} bytes in ten seconds");
    finish(&mut lp, host);
}

/// Notes what happens to connections, by kind.
#[derive(Default)]
struct Steps(usize);

impl Tracer for Steps {
    fn note(&mut self, _: Instant, _: Id, what: Trace) {
        // A turn is nobody's, and how many there are is the network's.
        self.0 += usize::from(!matches!(what, Trace::Turn(_)));
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What a crowd of that size costs from its death on, in steps.
fn death_of(crowd: usize) -> usize {
    let (mut lp, host) = play(Sim::with_faults(80, Faults::none()), echo);
    let at = open(&mut lp, host);
    let dialer = more(&mut lp, echo);
    (0..crowd).for_each(|_| dial_to(&mut lp, dialer, at, PATIENCE));
    turn_until(&mut lp, |lp| {
        lp.get(host).len() == crowd && lp.get(dialer).protocol.log.len() == crowd
    });
    lp.trace(Some(Box::new(Steps::default())));
    let ids: Vec<_> = lp.get(dialer).ids().collect();
    shutdown(&mut lp.env, dialer);
    until_closed(&mut lp, host, crowd);
    until_closed(&mut lp, dialer, crowd);
    assert_eq!(lp.get(host).protocol.closed.len(), crowd);
    assert!(ids.iter().all(|id| lp.get(dialer).conn(*id).is_none()));
    let steps = lp.trace(None).expect("it was set").into_any().downcast::<Steps>();
    // Those who come next take the slots of the dead.
    dial_to(&mut lp, dialer, at, PATIENCE);
    turn_until(&mut lp, |lp| lp.get(dialer).len() == 1 && lp.get(host).len() == 1);
    assert!(lp.get(dialer).ids().all(|id| (id.slot as usize) < 2 * crowd));
    shutdown(&mut lp.env, dialer);
    until_closed(&mut lp, dialer, crowd + 1);
    finish(&mut lp, host);
    finish(&mut lp, dialer);
    steps.expect("a tracer of this type").0
}

#[test]
fn hostile_80_a_crowd_that_dies_at_once_costs_each_as_much_as_in_a_small_one() {
    let (few, many) = (death_of(300), death_of(3000));
    assert!(few >= 2 * 300 && many <= 11 * few, "{few} steps of 300, {many} of 3000");
}
