//! What a peer can make us hold: one that sends and never reads.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait

mod support;

use loopwork_tls::Tls;
use loopwork_tls::rustls::ClientConnection;
use loopwork_tls::tcp::listen;
use loopwork_tls::tcp::reactor::{Loop, Os};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use support::*;

/// Counts the bytes that are allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), SeqCst);
        // SAFETY: the caller's promises are those of `System::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller's promises are those of `System::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_slow_reader_holds_less_than_a_megabyte() {
    let ca = Authority::new("ours");
    let mut lp = Loop::new(Os::new().unwrap());
    let inside = Tls::server(Echo::default(), ca.server());
    let (server, at) = listen(&mut lp, ([127, 0, 0, 1], 0).into(), inside).unwrap();
    let mut socket = TcpStream::connect(at).unwrap();
    socket.set_nonblocking(true).unwrap();
    let name = "localhost".try_into().unwrap();
    let mut session = ClientConnection::new(ca.client(), name).unwrap();
    let mut turn = |session: &mut ClientConnection, socket: &mut TcpStream| {
        let mut sent = 0;
        while session.wants_write()
            && let Ok(n) = session.write_tls(socket)
        {
            sent += n;
        }
        lp.turn(Some(Duration::from_millis(2))).unwrap();
        (sent, lp.get(server).protocol.inner.opened)
    };
    while turn(&mut session, &mut socket).1 == 0 {
        if session.read_tls(&mut socket).is_ok() {
            session.process_new_packets().unwrap();
        }
    }
    // It sends, and never reads: the echo fills up, and then nothing is taken any more.
    let (before, mut sent, mut stuck) = (LIVE.load(SeqCst), 0, 0);
    while stuck < 50 {
        if !session.wants_write() {
            session.writer().write_all(&[7; 16_000]).unwrap();
        }
        let (n, _) = turn(&mut session, &mut socket);
        (sent, stuck) = (sent + n, if n == 0 { stuck + 1 } else { 0 });
    }
    let held = LIVE.load(SeqCst).saturating_sub(before);
    assert!(sent > 1 << 20, "the kernel's buffers alone take more than {sent}");
    assert!(held < 1 << 20, "{held} bytes are held, of {sent}");
}
