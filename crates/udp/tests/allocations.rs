//! In steady state an echoed datagram allocates nothing, in a lone one and in a batch.
#![allow(unsafe_code)]

mod common;

use common::{local, peer};
use loopwork_reactor::{Loop, Os};
use loopwork_udp::{self as udp, Io, Protocol, Sent};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Counts what this thread asks for.
struct Counter;

// SAFETY: every call goes to the system's allocator as it came; the counter is a plain cell of
// this thread, with neither destructor nor lazy start, so that it allocates nothing itself.
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promises are passed on; `at` came from the same allocator.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counter = Counter;

#[derive(Default)]
struct Echo {
    seen: usize,
}

impl Protocol for Echo {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        self.seen += 1;
        io.set_deadline(Some(io.env.now.after(common::PATIENCE)));
        assert_eq!(io.send(from, bytes), Sent::Queued);
    }
}

#[test]
fn an_echo_allocates_nothing() {
    const ROUNDS: usize = 200;
    let mut lp = Loop::new(Os::new().unwrap());
    let (h, at) = udp::bind(&mut lp, local(), Echo::default()).unwrap();
    let other = peer();
    let mut room = [0; 2000];
    let mut seen = 0;
    for burst in [1, 70] {
        let mut before = 0;
        for round in 0..ROUNDS {
            if round == ROUNDS / 10 {
                before = COUNT.get();
            }
            for _ in 0..burst {
                other.send_to(&[7; 100], at).unwrap();
            }
            seen += burst;
            common::until(&mut lp, |lp| lp.get(h).protocol.seen == seen);
            for _ in 0..burst {
                assert_eq!(other.recv_from(&mut room).unwrap().0, 100);
            }
        }
        assert_eq!(COUNT.get() - before, 0, "in bursts of {burst}");
    }
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(COUNT.get() - before, 1, "the counter counts");
}
