//! Steady state allocates nothing: a counting allocator watches a warm parser, decoder and
//! encoder. One test only in this file, because it counts for the whole process.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use loopwork_http::core::encode::{self, ResponseHead};
use loopwork_http::core::*;

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

const REQUEST: &[u8] = b"POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
    Accept: text/html\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n\
    5;x=\"y\"\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\n";
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n";

/// One request, read in pieces of this size as it grows, and its answer.
fn serve(fields: &mut Fields, out: &mut Vec<u8>, piece: usize) -> Result<u64, Malformed> {
    let (limits, mut seen) = (Limits::default(), Progress::new());
    let mut end = 0;
    let used = loop {
        end = (end + piece).min(REQUEST.len());
        if let Some((request, used)) = parse_request(&REQUEST[..end], &mut seen, fields, &limits)? {
            assert_eq!(request.framing()?.body, Body::Chunked);
            assert!(request.headers.has_token("connection", "keep-alive"));
            assert_eq!((request.path(), request.headers.get("Cookie")), ("/a", Some(&b"a=b"[..])));
            break used;
        }
    };
    let (mut body, mut at, mut len) = (Decoder::new(Body::Chunked, &limits)?, used, 0);
    loop {
        match body.next(&REQUEST[at..end], &limits)? {
            Step::Data { skip, len: data } => {
                body.consume(data);
                at += skip + data;
                len += data as u64;
            }
            Step::More { skip } => {
                at += skip;
                end = (end + piece).min(REQUEST.len());
            }
            Step::End { trailers, .. } => {
                let section = &REQUEST[at + trailers.start..at + trailers.end];
                assert_eq!(parse_trailers(section, fields, &limits)?.len(), 1);
                break;
            }
        }
    }
    out.clear();
    let head = ResponseHead { date: Some(b"now"), ..ResponseHead::new(200, Body::Chunked) };
    encode::response_head(out, &head, [("Content-Type", "text/plain")]).unwrap();
    encode::chunk(out, b"hello");
    encode::last_chunk(out, [("X-Sum", "1")]).unwrap();
    assert!(parse_request(REFUSED, &mut seen, fields, &limits).is_err());
    Ok(len)
}

#[test]
fn a_warm_parser_allocates_nothing() {
    let (mut fields, mut out) = (Fields::new(), Vec::new());
    let cold = COUNT.get();
    assert_eq!(serve(&mut fields, &mut out, REQUEST.len()), Ok(5));
    assert!(COUNT.get() > cold, "the counter counts");
    let warm = COUNT.get();
    for piece in [1, 2, 7, 64, REQUEST.len()] {
        assert_eq!(serve(&mut fields, &mut out, piece), Ok(5));
    }
    assert_eq!(COUNT.get(), warm);
}
