//! In steady state a message allocates nothing: counted by the allocator of this test binary,
//! which therefore holds one test.
#![allow(unsafe_code)]

#[path = "support/toy.rs"]
mod toy;

use loopwork_reactor::{Address, Env, Fd, Id, Loop, Os};
use loopwork_tcp::{Io, Protocol, listen};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use toy::Toy;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on unchanged.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on unchanged.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on unchanged.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Echoes whole messages of eight bytes, so that cut ones pass through the carry; each moves a
/// deadline and wakes its own connection.
struct Echo;

impl Protocol for Echo {
    type Conn = u64;
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<u64> {
        Some(0)
    }
    fn on_data(&mut self, count: &mut u64, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let whole = bytes.len() / 8 * 8;
        let _ = io.write(&bytes[..whole]);
        *count += 1;
        io.set_deadline(Some(io.env.now.after(Duration::from_secs(60))));
        io.env.wake(io.id);
        whole
    }
}

/// Answers every message with the same bytes, behind a head of four: of its own, and shared.
struct Give(Arc<[u8]>);

impl Protocol for Give {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(b"head");
        let _ = io.write_shared(&self.0);
        bytes.len()
    }
}

/// Answers each message with so many bytes.
struct Big(usize);

impl Protocol for Big {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
        let _ = io.write(&ZEROS[..self.0]);
        bytes.len()
    }
}

/// A buffer that has emptied is kept if it is no larger than 256 KiB, and given back otherwise.
fn only_large_buffers_are_given_back() {
    const IDLE_MAX: usize = 256 * 1024;
    const COUNT: usize = 50;
    let mut lp = Loop::new(Toy::new());
    let at = "127.0.0.1:0".parse().expect("an address");
    let (host, _) = listen(&mut lp, at, Big(0)).expect("a port");
    lp.world.waiting = 1;
    lp.world.tell(Fd(0));
    lp.turn(Some(Duration::ZERO)).expect("a turn");
    // What the world notes is not to count.
    lp.world.wrote.reserve(10 * COUNT);
    lp.world.writes.reserve(10 * COUNT);
    lp.world.reads.reserve(10 * COUNT);
    let mut allocations = |size| {
        lp.get(host).protocol.0 = size;
        let mut before = 0;
        for n in 0..=COUNT {
            lp.world.hose = 4;
            lp.world.tell(Fd(1));
            lp.turn(Some(Duration::ZERO)).expect("a turn");
            if n == 0 {
                before = ALLOCATIONS.load(Ordering::Relaxed);
            }
        }
        assert_eq!(lp.world.wrote.last(), Some(&size), "the world took it at once");
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    // The pool, to which they are given, has a list of some.
    let each = COUNT as u64..=COUNT as u64 + 5;
    assert!(each.contains(&allocations(IDLE_MAX + 1)), "a new one each time");
    assert!(each.contains(&allocations(1 << 20)), "a new one each time");
    assert_eq!(allocations(IDLE_MAX), 0, "it is kept");
    assert_eq!(allocations(8), 0);
}

/// Of the buffers of those that had something in them as many are kept as the loop passes around.
fn spare_buffers_have_an_end() {
    const SPARE: usize = 64;
    const CROWD: usize = 4 * SPARE;
    let mut lp = Loop::new(Toy::new());
    let at = "127.0.0.1:0".parse().expect("an address");
    let (host, _) = listen(&mut lp, at, Big(10)).expect("a port");
    lp.world.waiting = CROWD;
    lp.world.tell(Fd(0));
    while lp.get(host).len() < CROWD {
        lp.turn(Some(Duration::ZERO)).expect("a turn");
    }
    (lp.world.wrote, lp.world.writes) = (Vec::with_capacity(9999), Vec::with_capacity(9999));
    lp.world.reads = Vec::with_capacity(9999);
    // So many have an answer that waits, and then all of it goes.
    let mut allocations = |count: usize| {
        let mut before = 0;
        for n in 0..4 {
            if n == 3 {
                before = ALLOCATIONS.load(Ordering::Relaxed);
            }
            lp.world.room = 0;
            for told in 1..=count {
                lp.world.tell(Fd(told as u32));
                lp.world.hose = 4;
                lp.turn(Some(Duration::ZERO)).expect("a turn");
            }
            lp.world.room = usize::MAX;
            lp.world.tell_all();
            lp.turn(Some(Duration::ZERO)).expect("a turn");
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    let crowd = allocations(CROWD);
    assert!(crowd >= (CROWD - SPARE) as u64, "{crowd} for those beyond the spare ones");
    assert_eq!(allocations(SPARE), 0, "so many are kept");
}

/// Shared output: each message is answered by the shared bytes.
fn shared_rounds(lp: &mut Loop<Os>, peer: &mut TcpStream, count: usize, back: &mut [u8]) {
    for _ in 0..count {
        peer.write_all(b"?").expect("it goes out");
        let mut got = 0;
        while got < back.len() {
            lp.turn(Some(Duration::ZERO)).expect("a turn");
            got += peer.read(&mut back[got..]).unwrap_or(0);
        }
        assert!(back.starts_with(b"head"));
    }
}

fn rounds(lp: &mut Loop<Os>, peers: &mut [TcpStream], count: usize, message: &[u8]) {
    let mut back = vec![0; message.len()];
    for _ in 0..count {
        for (n, peer) in peers.iter_mut().enumerate() {
            // The peers are out of step: some messages are cut in the middle.
            let (first, rest) = message.split_at(if n % 2 == 0 { 3 } else { message.len() });
            peer.write_all(first).expect("it goes out");
            lp.turn(Some(Duration::ZERO)).expect("a turn");
            peer.write_all(rest).expect("it goes out");
        }
        for peer in peers.iter_mut() {
            let mut got = 0;
            while got < back.len() {
                lp.turn(Some(Duration::ZERO)).expect("a turn");
                got += peer.read(&mut back[got..]).unwrap_or(0);
            }
            assert_eq!(back, message);
        }
    }
}

#[test]
fn an_echoed_message_allocates_nothing() {
    let mut lp = Loop::new(Os::new().expect("a poll"));
    let at = "127.0.0.1:0".parse().expect("an address");
    let (host, at) = listen(&mut lp, at, Echo).expect("a port");
    let mut peers: Vec<_> = (0..9)
        .map(|_| {
            let peer = TcpStream::connect(at).expect("the listener is there");
            peer.set_nonblocking(true).expect("a setting");
            peer.set_nodelay(true).expect("a setting");
            peer
        })
        .collect();
    for size in [8, 64, 4096] {
        let message: Vec<u8> = (0..size).map(|n| n as u8).collect();
        rounds(&mut lp, &mut peers, 20, &message);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        rounds(&mut lp, &mut peers, 200, &message);
        // One is the buffer of `rounds`.
        let count = ALLOCATIONS.load(Ordering::Relaxed) - before - 1;
        assert_eq!(count, 0, "for 1800 messages of {size} bytes");
    }
    assert_eq!(lp.get(host).len(), 9);

    let shared: Arc<[u8]> = vec![7; 200_000].into();
    let at = "127.0.0.1:0".parse().expect("an address");
    let (_, at) = listen(&mut lp, at, Give(shared)).expect("a port");
    let mut peer = TcpStream::connect(at).expect("the listener is there");
    peer.set_nonblocking(true).expect("a setting");
    let mut back = vec![0; 200_004];
    shared_rounds(&mut lp, &mut peer, 20, &mut back);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    shared_rounds(&mut lp, &mut peer, 100, &mut back);
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(count, 0, "for 100 shared messages");
    only_large_buffers_are_given_back();
    spare_buffers_have_an_end();
}
