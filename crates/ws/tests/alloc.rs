//! What a message costs in memory: nothing, in either role. And the size of what idles.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait

mod support;

use loopwork_ws::http::Http;
use loopwork_ws::tcp::reactor::{Loop, Os};
use loopwork_ws::tcp::{add, listen};
use loopwork_ws::{Open, Ws, dial};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use support::*;

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LARGE: Cell<usize> = const { Cell::new(0) };
}

/// Of so many bytes a call is counted among the large ones, too.
const FROM: usize = (256 << 10) + 1;

fn count(size: usize) {
    // A thread that ends has no counter any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    let _ = LARGE.try_with(|calls| calls.set(calls.get() + usize::from(size >= FROM)));
}

// SAFETY: every call goes to `System` unchanged; counting does not allocate, because the counter
// is initialised at compile time and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those of `System::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those of `System::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promises are those of `System::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Server and clients in one loop, each message answered by the other side, for ever; the
/// allocations of so many messages, and the large ones among them.
fn ping_pong(size: usize, clients: usize, messages: usize) -> (usize, usize) {
    let rounds = Rc::new(Cell::new(0usize));
    let (server, _server_ends) = Play::new(echo);
    let counted = rounds.clone();
    let bytes = vec![7; size];
    let (player, _ends) = Play::new(move |socket, on| match on {
        On::Open => drop(socket.send_binary(&bytes)),
        on => {
            counted.set(counted.get() + 1);
            echo(socket, on);
        }
    });
    let mut lp = Loop::new(Os::new().unwrap());
    let here = "127.0.0.1:0".parse().unwrap();
    let (_, at) = listen(&mut lp, here, Http::with_upgrade(Site, Ws::new(server))).unwrap();
    let ws = add(&mut lp, |_| Ws::new(player));
    let open = Open { host: "localhost", target: "/", protocols: &[], headers: &[], deflate: None };
    for _ in 0..clients {
        dial(&mut lp.env, ws, at, &open, Seat::default()).unwrap();
    }
    let mut until = |n: usize| {
        while rounds.get() < n {
            lp.turn(Some(Duration::from_secs(5))).unwrap();
        }
    };
    until(messages / 10);
    let before = (CALLS.get(), LARGE.get());
    until(messages / 10 + messages);
    (CALLS.get() - before.0, LARGE.get() - before.1)
}

#[test]
fn messages_allocate_nothing() {
    for (size, clients) in [(0, 1), (64, 1), (64, 20), (1000, 5)] {
        let (all, _) = ping_pong(size, clients, 20_000);
        assert_eq!(all, 0, "messages of {size} bytes, {clients} clients");
    }
}

/// What they are gathered in and sent from goes round, within `Pool::LARGE`.
#[test]
fn large_messages_share_their_buffers() {
    let (_, large) = ping_pong(1 << 20, 3, 200);
    assert_eq!(large, 0);
}

#[test]
fn an_idle_websocket_is_small() {
    println!("state of a WebSocket: {} bytes", Ws::<Play>::STATE);
    println!("its seat in the host: {} bytes", loopwork_ws::tcp::Host::<Ws<Play>>::SEAT);
    let behind_http = loopwork_ws::tcp::Host::<Http<Site, Ws<Play>>>::SEAT;
    println!("its seat behind HTTP: {behind_http} bytes");
    const { assert!(Ws::<Play>::STATE <= 56) };
}
