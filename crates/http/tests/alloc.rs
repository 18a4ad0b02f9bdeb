//! Steady state allocates nothing: a counting allocator watches the turns of a loop that serves
//! requests of a warm connection. The hello of the examples, since that is what is copied.

#![allow(unsafe_code)]

#[path = "../examples/hello.rs"]
#[allow(dead_code, unreachable_pub)]
mod hello;

use loopwork_http::Http;
use loopwork_http::tcp::listen;
use loopwork_http::tcp::reactor::{Loop, Os};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

struct Counting;

std::thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and is not the one that is watched.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates (the
// counter is a thread local without a destructor) nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, and so of the same call below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` through this allocator, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `ptr` came from `System` through this allocator, with this layout.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sends a message a few times and awaits as many bytes as answer it; how often the turns
/// allocated.
fn rounds(lp: &mut Loop<Os>, peer: &mut TcpStream, message: &[u8], answer: usize) -> usize {
    let mut buffer = vec![0; 1 << 20];
    let before = COUNT.get();
    for _ in 0..50 {
        let (mut sent, mut got) = (0, 0);
        let until = Instant::now() + Duration::from_secs(20);
        while got < answer {
            assert!(Instant::now() < until, "{got} of {answer} bytes");
            match peer.write(&message[sent..]) {
                Ok(n) => sent += n,
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
            lp.turn(Some(Duration::ZERO)).unwrap();
            match peer.read(&mut buffer) {
                Ok(n) => got += n,
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!((sent, got), (message.len(), answer));
    }
    COUNT.get() - before
}

fn length(head: &str, body: usize) -> usize {
    head.len() + "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len() + body
}

#[test]
fn a_warm_connection_allocates_nothing() {
    let mut lp = Loop::new(Os::new().unwrap());
    let (_, at) = listen(&mut lp, "127.0.0.1:0".parse().unwrap(), Http::new(hello::Hello)).unwrap();
    let mut peer = TcpStream::connect(at).unwrap();
    peer.set_nonblocking(true).unwrap();
    let get = "GET /a?b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n";
    let hello = length(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\n",
        13,
    );
    let many = get.repeat(16);
    let body = "b".repeat(50_000);
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n{body}");
    let echo = length("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n", 50_000);
    let big = "b".repeat(3_000_000);
    let large = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n{big}");
    let echoed = length("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", 3_000_000);
    let cases = [
        ("GET", get.as_bytes(), hello),
        ("GET × 16", many.as_bytes(), hello * 16),
        ("POST", post.as_bytes(), echo),
        ("POST of 3 MB", large.as_bytes(), echoed),
    ];
    for (what, message, answer) in cases {
        rounds(&mut lp, &mut peer, message, answer);
        let allocations = rounds(&mut lp, &mut peer, message, answer);
        // A buffer above what is kept goes back when its connection falls idle: one for each
        // direction of a whole request, and none for its pieces.
        let most = if message.len() > 1 << 20 { 100 } else { 0 };
        assert!(allocations <= most, "{what}: {allocations} in 50 requests");
    }
}
