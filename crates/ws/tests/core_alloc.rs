//! What receiving and sending allocate: nothing in steady state, and for a message at most twice
//! its payload, however it is fragmented.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use loopwork_ws::core::{CloseCode, Limits, Message, Opcode, Receiver, Role, Violation};
use loopwork_ws::core::{close, frame as wire};

/// Counts what the current thread allocates (tests run side by side).
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static MOVED: Cell<usize> = const { Cell::new(0) };
}

fn count(grown: isize) {
    // A thread that ends has no counters any more.
    let _ = BYTES.try_with(|bytes| {
        bytes.set(bytes.get() + grown);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(bytes.get())));
    });
    if grown > 0 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    }
}

// SAFETY: every call goes to `System` unchanged; counting does not allocate, because the counters
// are initialised at compile time and have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those of `System::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are those of `System::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        let _ = MOVED.try_with(|moved| moved.set(moved.get() + layout.size()));
        // SAFETY: the caller's promises are those of `System::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` did: calls that grew memory, the most bytes over the start, bytes moved.
fn measure(work: impl FnOnce()) -> (usize, usize, usize) {
    let start = BYTES.get();
    PEAK.set(start);
    CALLS.set(0);
    MOVED.set(0);
    work();
    (CALLS.get(), (PEAK.get() - start) as usize, MOVED.get())
}

/// A frame from a client: the first byte and the payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let opcode = Opcode::from_bits(first & 15).expect("an opcode");
    let (mut out, key) = (Vec::new(), [9, 8, 7, 6]);
    wire::encode_header(&mut out, first >= 0x80, opcode, false, payload.len() as u64, Some(key));
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    out
}

/// Takes all messages out of one read of the loop; gives how many, and the bytes not used.
fn read(
    receiver: &mut Receiver,
    bytes: &mut [u8],
    limits: &Limits,
) -> Result<(usize, usize), Violation> {
    let (mut used, mut messages) = (0, 0);
    loop {
        let (n, message) = receiver.next(&mut bytes[used..], limits)?;
        used += n;
        if message.is_none() {
            return Ok((messages, bytes.len() - used));
        }
        messages += 1;
    }
}

#[test]
fn the_counter_counts() {
    let (calls, peak, _) = measure(|| drop(vec![1_u8; 1000]));
    assert_eq!((calls, peak), (1, 1000));
}

#[test]
fn small_messages_allocate_nothing() {
    let traffic: Vec<u8> = [
        frame(0x81, "text \u{20AC}".as_bytes()),
        frame(0x82, &[7; 3000]),
        frame(0x89, b"ping"),
        frame(0x8A, b""),
    ]
    .concat();
    let mut bytes = traffic.clone();
    let mut receiver = Receiver::new(Role::Server);
    let (calls, peak, _) = measure(|| {
        for _ in 0..1000 {
            bytes.copy_from_slice(&traffic);
            assert_eq!(read(&mut receiver, &mut bytes, &Limits::default()), Ok((4, 0)));
        }
    });
    assert_eq!((calls, peak), (0, 0));
}

#[test]
fn small_cut_and_fragmented_messages_allocate_once() {
    let traffic: Vec<u8> = [
        frame(0x01, b"a text "),
        frame(0x89, b"a ping"),
        frame(0x80, b"in two"),
        frame(0x82, &[7; 900]),
    ]
    .concat();
    let mut bytes = traffic.clone();
    let mut receiver = Receiver::new(Role::Server);
    let mut round = || {
        bytes.copy_from_slice(&traffic);
        let (mut at, mut messages) = (0, 0);
        // Every read ends 13 bytes on, in the middle of whatever is there.
        for end in (13..).step_by(13) {
            let end = end.min(bytes.len());
            let limits = Limits::default();
            let (n, left) = read(&mut receiver, &mut bytes[at..end], &limits).expect("valid");
            messages += n;
            at = end - left;
            if end == bytes.len() {
                break;
            }
        }
        assert_eq!(messages, 3);
    };
    round();
    let (calls, ..) = measure(|| (0..100).for_each(|_| round()));
    assert_eq!(calls, 0);
}

#[test]
fn hostile_56_declared_length_reserves_nothing() {
    let mut bytes = b"\x82\xFF\x00\x00\x00\x00\x00\xFF\xFF\xFFabcd".to_vec();
    let mut receiver = Receiver::new(Role::Server);
    let limits = Limits::default();
    let (_, peak, _) = measure(|| {
        assert_eq!(read(&mut receiver, &mut bytes, &limits), Ok((0, 0)));
        for _ in 0..1000 {
            assert_eq!(read(&mut receiver, &mut [0], &limits), Ok((0, 0)));
        }
    });
    assert!(peak <= 2 * 1000 + 512, "{peak} bytes");
}

/// A message in a million fragments of `part` each.
fn million(part: &[u8]) {
    const FRAGMENTS: usize = 1_000_000;
    let limits = Limits { frames: u32::MAX, ..Limits::default() };
    let mut receiver = Receiver::new(Role::Server);
    let mut first = frame(0x02, part);
    let more = frame(0x00, part);
    let mut last = frame(0x80, b"end");
    let mut bytes = more.repeat(1000);
    let clean = bytes.clone();
    let payload = FRAGMENTS * part.len();
    let (_, peak, moved) = measure(|| {
        assert_eq!(read(&mut receiver, &mut first, &limits), Ok((0, 0)));
        for _ in 0..FRAGMENTS / 1000 {
            bytes.copy_from_slice(&clean);
            assert_eq!(read(&mut receiver, &mut bytes, &limits), Ok((0, 0)));
        }
        let all = payload + part.len() + 3;
        let message = receiver.next(&mut last, &limits).expect("valid").1;
        assert!(matches!(message, Some(Message::Binary(bytes)) if bytes.len() == all));
        assert_eq!(receiver.next(&mut [], &limits), Ok((0, None)));
    });
    assert!(peak <= 2 * payload + 512, "{peak} bytes for {payload}");
    assert!(moved <= 2 * payload + 512, "{moved} bytes moved for {payload}");
    assert_eq!(receiver.memory() == 0, !part.is_empty(), "only a small buffer is kept");
}

#[test]
fn hostile_57_million_fragments_cost_their_payload() {
    million(b"");
    million(b"x");
}

#[test]
fn hostile_57_million_empty_fragments_are_refused_by_default() {
    let limits = Limits::default();
    let mut receiver = Receiver::new(Role::Server);
    let clean = frame(0x00, b"").repeat(1000);
    let mut bytes = frame(0x01, b"");
    let (_, peak, _) = measure(|| {
        assert_eq!(read(&mut receiver, &mut bytes, &limits), Ok((0, 0)));
        for _ in 0..131 {
            assert_eq!(read(&mut receiver, &mut clean.clone(), &limits), Ok((0, 0)));
        }
        let end = read(&mut receiver, &mut clean.clone(), &limits);
        assert_eq!(end, Err(Violation::TooManyFrames));
    });
    assert!(peak <= 7000 + 512, "{peak} bytes"); // one clone of `clean` at a time
    assert_eq!(receiver.memory(), 0);
}

#[test]
fn large_message_in_many_reads_costs_at_most_twice() {
    for first in [0x81, 0x82] {
        let mut bytes = frame(first, &vec![b'x'; 5 << 20]);
        let mut receiver = Receiver::new(Role::Server);
        let (_, peak, moved) = measure(|| {
            let mut messages = 0;
            for part in bytes.chunks_mut(64 << 10) {
                messages += read(&mut receiver, part, &Limits::default()).expect("valid").0;
            }
            assert_eq!(messages, 1);
        });
        assert!(peak <= (5 << 20) + 512, "{peak} bytes"); // the last frame says how much it is
        assert!(moved <= 10 << 20, "{moved} bytes moved");
        assert_eq!(receiver.memory(), 0);
    }
}

#[test]
fn encoding_into_a_warm_buffer_allocates_nothing() {
    let mut out = Vec::with_capacity(4096);
    let (calls, ..) = measure(|| {
        for _ in 0..100 {
            out.clear();
            wire::encode(&mut out, Opcode::Text, &[b'x'; 1000], Some([1, 2, 3, 4]));
            wire::encode(&mut out, Opcode::Pong, b"pong", None);
            close::encode(&mut out, CloseCode::NORMAL, "bye", Some([1, 2, 3, 4]));
        }
    });
    assert_eq!(calls, 0);
}
