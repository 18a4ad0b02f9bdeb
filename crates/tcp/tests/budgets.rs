//! What one connection may take of a turn, how long things are waited for, and what becomes of
//! who comes too late: counted in a world that is set by hand, with its own time.

mod support;
#[path = "support/toy.rs"]
mod toy;

use loopwork_reactor::{Fd, Handle, Id, Instant, Loop, READ_MAX, Ready, StreamOption, World};
use loopwork_tcp::{
    ACCEPTS_PER_TURN, CARRY_MAX, Close, Drain, HIGH_WATER, Host, Io, READS_PER_TURN,
};
use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use support::{On, Play, Seat, dial_to, finish, open, play};
use toy::Toy;

type At = (Loop<Toy>, Handle<Host<Play>>);
/// A timer's tick is a microsecond and some.
const TICK: Duration = Duration::from_micros(2);
const LISTENER: Fd = Fd(0);

/// A host that listens; its connections end when the peer does, and when it is shut down.
fn listens(mut act: impl FnMut(&mut Seat, &mut Io<'_>, On<'_>) -> usize + 'static) -> At {
    let (mut lp, host) = play(Toy::new(), move |seat, io, on| {
        if matches!(on, On::End | On::Shutdown) {
            io.end();
        }
        act(seat, io, on)
    });
    open(&mut lp, host);
    (lp, host)
}

/// A host with one connection, whose socket is `Fd(1)`.
fn one(act: impl FnMut(&mut Seat, &mut Io<'_>, On<'_>) -> usize + 'static) -> (At, Id) {
    let (mut lp, host) = listens(act);
    lp.world.waiting = 1;
    lp.world.tell(LISTENER);
    step(&mut lp);
    let id = lp.get(host).ids().next().expect("it was accepted");
    ((lp, host), id)
}

/// A turn that waits for nothing.
fn step(lp: &mut Loop<Toy>) {
    lp.turn(Some(Duration::ZERO)).expect("a turn");
}

/// Turns until the world's clock shows that time.
fn until(lp: &mut Loop<Toy>, at: Instant) {
    for turn in 0.. {
        if lp.world.now() >= at {
            break;
        }
        assert!(turn < 1000, "no time passes");
        let left = at.since(lp.world.now());
        lp.turn(Some(left)).expect("a turn");
    }
    step(lp);
}

/// The peers take everything and end.
fn leave((mut lp, host): At) {
    (lp.world.room, lp.world.hose, lp.world.ended) = (usize::MAX, 0, true);
    loopwork_tcp::shutdown(&mut lp.env, host);
    lp.world.tell_all();
    step(&mut lp);
    lp.world.tell_all();
    finish(&mut lp, host);
}

/// Longer and longer pauses, up to the last; and short ones again once somebody was accepted.
#[test]
fn who_cannot_accept_tries_again_after_pauses_that_grow_to_half_a_second() {
    let (mut lp, host) = listens(|_, _, _| 0);
    let pauses = [10, 20, 40, 80, 160, 320, 500, 500, 500].map(Duration::from_millis);
    for _ in 0..2 {
        lp.world.accepts = [ErrorKind::OutOfMemory; 9].into();
        (lp.world.waiting, lp.world.tried) = (1, Vec::new());
        lp.world.tell(LISTENER);
        for _ in 0..100 {
            lp.turn(Some(Duration::from_millis(50))).unwrap();
        }
        // The last one finds nobody.
        let tried = lp.world.tried.clone();
        assert_eq!(tried.len(), pauses.len() + 2);
        for (n, pause) in pauses.iter().enumerate() {
            let took = tried[n + 1].since(tried[n]);
            assert!((*pause..*pause + TICK).contains(&took), "the pause {n}: {took:?}");
        }
        assert_eq!(tried[10], tried[9]);
    }
    assert_eq!(lp.get(host).protocol.accept_errors.len(), 18);
    leave((lp, host));
}

/// Says its last words, 200,000 bytes, when it is woken.
fn last_words(_: &mut Seat, io: &mut Io<'_>, on: On<'_>) -> usize {
    if let On::Wake = on {
        let _ = io.write(&[7; 200_000]);
        io.end_and_drain(Drain::default());
    }
    0
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn last_words_have_half_a_minute_for_each_byte_that_is_taken() {
    // A peer that takes nothing at all.
    let ((mut lp, host), id) = one(last_words);
    lp.world.room = 0;
    lp.env.wake(id);
    let begun = lp.world.now();
    until(&mut lp, begun.after(SECOND * 30 - TICK));
    assert_eq!(lp.get(host).len(), 1, "it still has a moment");
    until(&mut lp, begun.after(SECOND * 30 + TICK));
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::TimedOut)]);
    leave((lp, host));

    // One that takes a byte now and then, and stops.
    let ((mut lp, host), id) = one(last_words);
    lp.world.room = 0;
    lp.env.wake(id);
    step(&mut lp);
    let begun = lp.world.now();
    for n in 1..=5 {
        until(&mut lp, begun.after(SECOND * 29 * n));
        lp.world.room = 1;
        lp.world.tell(Fd(1));
        step(&mut lp);
    }
    assert_eq!(lp.world.wrote, [1; 5]);
    // The last byte came at 145, within the half minute that ends at 150.
    until(&mut lp, begun.after(SECOND * 180 - TICK));
    assert_eq!(lp.get(host).len(), 1, "it still has a moment");
    until(&mut lp, begun.after(SECOND * 180 + TICK * 6));
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::TimedOut)]);
    assert_eq!(lp.world.closed, [(Fd(1), true)], "by a reset");
    leave((lp, host));
}

#[test]
fn behind_last_words_the_peers_end_has_five_seconds_and_as_many_bytes_as_they_bring() {
    let ((mut lp, host), id) = one(last_words);
    lp.env.wake(id);
    step(&mut lp);
    let begun = lp.world.now();
    until(&mut lp, begun.after(SECOND * 5 - TICK));
    assert_eq!(lp.get(host).len(), 1, "it still has a moment");
    until(&mut lp, begun.after(SECOND * 5 + TICK));
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    leave((lp, host));

    const BYTES: usize = 64 << 20;
    let ((mut lp, host), id) = one(last_words);
    lp.env.wake(id);
    step(&mut lp);
    lp.world.hose = BYTES;
    lp.world.tell(Fd(1));
    for _ in 0..BYTES / READ_MAX {
        step(&mut lp);
    }
    assert_eq!((lp.get(host).len(), lp.world.hose), (1, 0), "as many as may be");
    lp.world.hose = 1;
    lp.world.tell(Fd(1));
    step(&mut lp);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    leave((lp, host));
}

/// A setting that was wished for a connection that has ended since is not for the one that has
/// its seat now.
#[test]
fn a_late_setting_touches_nobody() {
    let ((mut lp, host), first) = one(|seat, io, on| match on {
        On::Data(bytes) => {
            io.set(StreamOption::NoDelay(false));
            if seat.n == 0 {
                io.abort(Close::Aborted);
            }
            bytes.len()
        }
        _ => 0,
    });
    // In one turn the first is given up, and its seat taken by the next; settings come last.
    (lp.world.hose, lp.world.waiting) = (5, 1);
    lp.world.tell(Fd(1));
    lp.world.tell(LISTENER);
    step(&mut lp);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Aborted)]);
    let second = lp.get(host).ids().next().unwrap();
    assert_eq!((second.slot, lp.get(host).len()), (first.slot, 1), "the same seat");
    assert!(lp.world.sets.is_empty(), "{:?}", lp.world.sets);
    // Its own reaches it.
    lp.world.hose = 5;
    lp.world.tell(Fd(2));
    step(&mut lp);
    assert_eq!(lp.world.sets, [Fd(2)]);
    leave((lp, host));
}

/// Who always has something to say, to a peer that always takes it.
#[test]
fn who_fills_its_output_at_each_drain_has_as_many_rounds_as_one_that_is_read_has_reads() {
    let ((mut lp, host), id) = one(|seat, io, on| {
        if let On::Wake | On::Drain = on
            && seat.number <= 3 * READS_PER_TURN as u64
        {
            seat.number += 1;
            let _ = io.write(&[7; HIGH_WATER + 1]);
        }
        0
    });
    lp.env.wake(id);
    for turn in 1..=3 {
        step(&mut lp);
        let drains = lp.get(host).conn(id).unwrap().number as usize - 1;
        assert_eq!(drains, turn * READS_PER_TURN);
        assert_eq!(lp.world.wrote, vec![HIGH_WATER + 1; turn * READS_PER_TURN]);
    }
    step(&mut lp);
    leave((lp, host));
}

/// A file moves as much in one turn as reading does, in calls of 256 KiB.
#[test]
fn a_file_that_is_taken_as_fast_as_it_is_sent_is_sent_by_the_turn() {
    const CALL: u64 = 256 * 1024;
    const CALLS: usize = READS_PER_TURN * READ_MAX / CALL as usize;
    let file = Arc::new(File::open("/dev/null").expect("it is everywhere"));
    let ((mut lp, host), id) = one(move |_, io, on| {
        if let On::Wake = on {
            let all = &mut (0..CALL * CALLS as u64 * 3 + 7);
            let _ = io.write_file(&file, all).expect("it is not read here");
        }
        0
    });
    lp.env.wake(id);
    for turn in 1..=3 {
        step(&mut lp);
        assert_eq!(lp.world.files, vec![CALL; turn * CALLS]);
    }
    step(&mut lp);
    assert_eq!(lp.world.files[3 * CALLS..], [7]);
    assert_eq!(lp.get(host).protocol.calls(0), ["open", "wake", "drain"]);
    leave((lp, host));
}

/// How long the buffer is, as a callback sees it, with so much written at first, and so much
/// taken then.
fn after(written: usize, taken: usize) -> usize {
    let ((mut lp, host), id) = one(move |seat, io, on| {
        match on {
            On::Wake if seat.number == 0 => _ = io.write(&vec![7; written]),
            On::Wake => seat.size = io.out.buffer().len() as u64,
            _ => {}
        }
        seat.number += 1;
        0
    });
    lp.get(host).conn(id).unwrap().number = 0;
    lp.world.room = taken;
    lp.env.wake(id);
    step(&mut lp);
    lp.env.wake(id);
    step(&mut lp);
    let seen = lp.get(host).conn(id).unwrap().size as usize;
    leave((lp, host));
    seen
}

/// What was sent gives up its room when that is worth a move, and not before: half of the buffer,
/// and more than the high-water mark. Moved earlier, each byte would be moved again and again;
/// never, and a buffer that is never empty would grow without end.
#[test]
fn what_was_sent_gives_up_its_room_when_it_is_more_than_what_is_left() {
    const MIB: usize = 1 << 20;
    assert_eq!(after(MIB, 1), MIB);
    assert_eq!(after(MIB, MIB / 2), MIB, "as much as is left");
    assert_eq!(after(MIB, MIB / 2 + 1), MIB / 2 - 1);
    assert_eq!(after(2 * HIGH_WATER - 9, HIGH_WATER), 2 * HIGH_WATER - 9, "a small one");
    assert_eq!(after(2 * HIGH_WATER - 9, HIGH_WATER + 1), HIGH_WATER - 10);
    assert_eq!(after(MIB, MIB), 0);
}

/// The peer is always a little behind, so that the output never empties.
#[test]
fn an_output_that_never_empties_does_not_grow() {
    const STEP: usize = 10_000;
    let shared: Arc<[u8]> = (0..STEP as u64).map(support::pattern).collect();
    let ((mut lp, host), id) = one(move |seat, io, on| {
        if let On::Wake = on {
            let _ = if seat.number % 5 == 4 {
                io.write_shared(&shared)
            } else {
                let mut bytes = [0; STEP];
                support::fill(0, &mut bytes);
                io.write(&bytes)
            };
            seat.number += 1;
            seat.size = seat.size.max(io.out.buffer().len() as u64);
        }
        0
    });
    lp.world.out = Some(Vec::new());
    // Two steps ahead of the peer, and once in a while a long way.
    for n in 0..400 {
        lp.world.room = if n < 2 || n % 50 > 40 { 1 } else { STEP };
        if n % 50 == 49 {
            lp.world.room = 9 * STEP - 8;
        }
        lp.env.wake(id);
        lp.world.tell(Fd(1));
        step(&mut lp);
    }
    let seat = lp.get(host).conn(id).unwrap();
    let longest = seat.size as usize;
    assert_eq!(seat.number, 400);
    assert!(longest > HIGH_WATER && longest < 4 * HIGH_WATER, "{longest}");
    lp.world.room = usize::MAX;
    lp.world.tell(Fd(1));
    step(&mut lp);
    step(&mut lp);
    let out = lp.world.out.take().unwrap();
    assert_eq!(out.len(), 400 * STEP);
    out.chunks(STEP).for_each(|part| support::check(0, part));
    leave((lp, host));
}

/// The timer takes the place of a readiness that never comes: not sooner, not later, and not
/// behind a deadline that is later.
#[test]
fn a_write_without_memory_is_tried_again_each_ten_milliseconds() {
    let pause = Duration::from_millis(10);
    for deadline in [None, Some(SECOND)] {
        let ((mut lp, host), id) = one(move |_, io, on| {
            if let On::Wake = on {
                let _ = io.write(b"now");
                io.set_deadline(deadline.map(|after| io.env.now.after(after)));
            }
            0
        });
        lp.world.starved = 5;
        lp.env.wake(id);
        step(&mut lp);
        let begun = lp.world.now();
        until(&mut lp, begun.after(SECOND / 2));
        assert_eq!((lp.world.wrote.as_slice(), lp.world.writes.len()), (&[3][..], 6));
        for pair in lp.world.writes.windows(2) {
            let took = pair[1].since(pair[0]);
            assert!((pause..pause + TICK).contains(&took), "{took:?}");
        }
        assert_eq!(lp.get(host).protocol.calls(0), ["open", "wake"], "and no deadline was told");
        leave((lp, host));
    }
}

/// Gives so many bytes to the one connection, in a turn.
fn feed(lp: &mut Loop<Toy>, bytes: usize) {
    lp.world.hose = bytes;
    lp.world.tell(Fd(1));
    step(lp);
    assert_eq!(lp.world.hose, 0, "all of it was read");
}

/// Who cannot answer because its output is full may leave what it was shown, however much.
#[test]
fn who_is_full_may_leave_more_than_who_wants_more() {
    let ((mut lp, host), _) = one(|seat, io, on| match on {
        On::Data(bytes) => {
            seat.number = bytes.len() as u64;
            if bytes.len() > CARRY_MAX && seat.size == 0 {
                seat.size = 1;
                let _ = io.write(&[7; HIGH_WATER + 1]);
            }
            0
        }
        On::Drain => {
            seat.size = 2;
            io.pause();
            0
        }
        _ => 0,
    });
    lp.world.room = 0;
    feed(&mut lp, 1000);
    feed(&mut lp, READ_MAX);
    let id = lp.get(host).ids().next().expect("it is not accused of a long message");
    let seat = lp.get(host).conn(id).unwrap();
    assert_eq!((seat.number, seat.size), (1000 + READ_MAX as u64, 1));
    // Drained, and paused by then: it is not shown again, and still not accused.
    seat.number = 0;
    lp.world.room = usize::MAX;
    lp.world.tell(Fd(1));
    step(&mut lp);
    let seat = lp.get(host).conn(id).expect("it stands");
    assert_eq!((seat.number, seat.size), (0, 2), "a pause holds behind a drain");
    // Whoever is given up behind a pause is no less over.
    lp.world.next.push(Ready { id, readable: true, writable: true, closed: true, gone: true });
    step(&mut lp);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Reset)]);
    leave((lp, host));
}

/// Who gives up when it drains is shown nothing more.
#[test]
fn who_gives_up_in_a_drain_is_not_shown_what_was_left() {
    let ((mut lp, host), _) = one(|_, io, on| {
        match on {
            On::Data(_) => _ = io.write(&[7; HIGH_WATER + 1]),
            On::Drain => io.abort(Close::Aborted),
            _ => {}
        }
        0
    });
    feed(&mut lp, 1000);
    assert_eq!(lp.get(host).protocol.calls(0), ["open", "data", "drain"]);
    assert_eq!(lp.get(host).protocol.log.len(), 3);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Aborted)]);
    leave((lp, host));
}

/// A message that drips is not copied for each drop: what is kept stays where it lies, and what is
/// shorter moves.
#[test]
fn of_what_is_kept_and_what_is_new_the_shorter_is_copied() {
    const DROPS: u64 = 1000;
    let ((mut lp, host), id) = one(|seat, _, on| match on {
        On::Data(bytes) => {
            // The first lies in the loop's own buffer.
            seat.number += u64::from(seat.number == 0) * bytes.as_ptr() as u64;
            seat.size += u64::from(bytes.as_ptr() as u64 == seat.number);
            seat.got.push(bytes.len() as u8);
            0
        }
        _ => 0,
    });
    (0..DROPS).for_each(|_| feed(&mut lp, 1));
    let seat = lp.get(host).conn(id).unwrap();
    assert_eq!(seat.got.len() as u64, DROPS);
    assert!(seat.got.iter().zip(1_u64..).all(|(len, n)| *len == n as u8), "all of it each time");
    assert_eq!(seat.size, 2, "one byte, and one behind one");
    feed(&mut lp, DROPS as usize - 1);
    assert_eq!(lp.get(host).conn(id).unwrap().size, 2);
    feed(&mut lp, 2 * DROPS as usize - 1);
    assert_eq!(lp.get(host).conn(id).unwrap().size, 3, "the kept are not more than the new");
    leave((lp, host));
}

/// Who asks again and again to be shown what is left has rounds, too, and goes on in the next
/// turn.
#[test]
fn who_is_shown_what_is_left_again_and_again_is_shown_it_by_the_turn() {
    const BYTES: usize = 100;
    let ((mut lp, host), id) = one(|seat, io, on| match on {
        On::Data(bytes) => {
            seat.number += 1;
            assert_eq!(bytes.len(), BYTES + 1 - seat.number as usize);
            io.pause();
            io.resume();
            1
        }
        _ => 0,
    });
    feed(&mut lp, BYTES);
    for turn in 1..=3 {
        let shown = lp.get(host).conn(id).unwrap().number as usize;
        assert_eq!(shown, 1 + turn * READS_PER_TURN);
        step(&mut lp);
    }
    (0..BYTES / READS_PER_TURN).for_each(|_| step(&mut lp));
    assert_eq!(lp.get(host).conn(id).unwrap().number as usize, BYTES);
    leave((lp, host));
}

/// A write that fails says that the peer is gone. Who does not read learns it at once, without an
/// event; who reads is shown first what came before.
#[test]
fn who_does_not_read_is_over_with_the_write_that_failed() {
    for paused in [true, false] {
        let ((mut lp, host), id) = one(move |seat, io, on| match on {
            On::Wake => {
                if paused {
                    io.pause();
                }
                let _ = io.write(b"anyone?");
                0
            }
            On::Data(bytes) => {
                seat.number += bytes.len() as u64;
                bytes.len()
            }
            _ => 0,
        });
        (lp.world.broken, lp.world.ended, lp.world.hose) = (true, true, 2 * READ_MAX);
        lp.env.wake(id);
        step(&mut lp);
        assert_eq!(lp.get(host).len(), usize::from(!paused));
        step(&mut lp);
        assert_eq!(lp.get(host).protocol.closed, [(0, Close::Reset)]);
        assert!(!lp.get(host).protocol.calls(0).contains(&"end"), "a reset is no end");
        let seen = lp.get(host).protocol.seats[0].number as usize;
        assert_eq!(seen, if paused { 0 } else { 2 * READ_MAX });
        leave((lp, host));
    }
}

/// Readiness that comes while a listener goes on by itself does not make it take more each turn.
#[test]
fn a_listener_goes_on_once_a_turn_however_often_it_is_told() {
    let (mut lp, host) = listens(|_, _, _| 0);
    lp.world.waiting = 20 * ACCEPTS_PER_TURN;
    let mut seen = 0;
    for turn in 0..10 {
        lp.world.tell(LISTENER);
        step(&mut lp);
        let now = lp.get(host).len() - seen;
        seen += now;
        // Those of its readiness, and from the second turn on those that it had asked for.
        let budget = ACCEPTS_PER_TURN * if turn == 0 { 1 } else { 2 };
        assert!(now >= ACCEPTS_PER_TURN && now <= budget, "{now} in turn {turn}");
    }
    for _ in 0..20 {
        step(&mut lp);
    }
    assert_eq!(lp.get(host).len(), 20 * ACCEPTS_PER_TURN);
    leave((lp, host));
}

/// Only behind a pause is what was left shown again.
#[test]
fn who_resumes_without_a_pause_is_not_shown_the_same_again() {
    let ((mut lp, host), id) = one(|seat, io, on| {
        match on {
            On::Data(_) => seat.number += 1,
            On::Wake => io.resume(),
            _ => {}
        }
        0
    });
    feed(&mut lp, 1000);
    lp.env.wake(id);
    step(&mut lp);
    assert_eq!(lp.get(host).conn(id).unwrap().number, 1);
    leave((lp, host));
}

/// Last words resume by themselves: what comes is read, and dropped, and so is the peer's end.
#[test]
fn last_words_of_who_paused_wait_for_the_peers_end_all_the_same() {
    let ((mut lp, host), id) = one(|seat, io, on| match on {
        On::Open => {
            io.pause();
            0
        }
        On::Data(_) => panic!("what comes behind last words is not shown"),
        on => last_words(seat, io, on),
    });
    lp.env.wake(id);
    step(&mut lp);
    feed(&mut lp, 1000);
    assert_eq!(lp.get(host).len(), 1);
    lp.world.ended = true;
    lp.world.tell(Fd(1));
    step(&mut lp);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    leave((lp, host));
}

/// The limits of a drain are those that it began with: asked for again, it has no more time.
#[test]
fn last_words_are_said_once() {
    let ((mut lp, host), id) = one(|_, io, on| {
        if let On::Wake = on {
            io.end_and_drain(Drain::default());
        }
        0
    });
    lp.env.wake(id);
    step(&mut lp);
    let begun = lp.world.now();
    until(&mut lp, begun.after(SECOND * 4));
    lp.env.wake(id);
    step(&mut lp);
    until(&mut lp, begun.after(SECOND * 5 + TICK));
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    leave((lp, host));
}

/// What was kept and is dropped counts as what comes afterwards does.
#[test]
fn what_was_left_counts_among_what_is_dropped() {
    for (more, over) in [(500, false), (501, true)] {
        let ((mut lp, host), id) = one(|_, io, on| {
            if let On::Wake = on {
                io.end_and_drain(Drain { bytes: 1500, ..Drain::default() });
            }
            0
        });
        feed(&mut lp, 1000);
        lp.env.wake(id);
        step(&mut lp);
        feed(&mut lp, more);
        assert_eq!(lp.get(host).protocol.closed.len(), usize::from(over), "{more}");
        leave((lp, host));
    }
}

/// Nothing has begun yet: whoever wakes a connection before it stands wakes nobody.
#[test]
fn a_wake_while_dialing_is_not_told() {
    let (mut lp, dialer) = play(Toy::new(), |_, io, on| {
        if let On::Shutdown = on {
            io.end();
        }
        0
    });
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    dial_to(&mut lp, dialer, to, SECOND);
    step(&mut lp);
    let id = lp.get(dialer).ids().next().expect("it is under way");
    lp.env.wake(id);
    step(&mut lp);
    step(&mut lp);
    assert!(lp.get(dialer).protocol.calls(0).is_empty());
    lp.world.stands = true;
    lp.world.tell(Fd(0));
    step(&mut lp);
    lp.env.wake(id);
    step(&mut lp);
    assert_eq!(lp.get(dialer).protocol.calls(0), ["open", "wake"]);
    leave((lp, dialer));
}
