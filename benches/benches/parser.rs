//! The HTTP parser beside others, on the same heads in the same run; and what others do not have:
//! heads that drip, framing, chunks.
//!
//! Rules:
//! * A bench checks what it measured: a wrong result is a panic, not a good time.
//! * Each parser gets the table that it is given in use: ours is the caller's and kept, that of
//!   httparse lies on the stack, made anew for each head or left uninitialised.
//! * Ours does more with a head, in the same time: it holds the target to its form and characters,
//!   wants one `Host` and holds it to its grammar, finds what frames the body, refuses a bare LF
//!   and what is longer than its limits, and goes on where it stopped when a head comes in pieces.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use loopwork_benches::{BROWSER, TECHEMPOWER};
use loopwork_http::core::{
    Body, Decoder, Fields, Limits, Progress, Step, parse_request, parse_response,
};
use std::hint::black_box;
use std::mem::MaybeUninit;

#[cfg(target_arch = "x86_64")]
#[path = "parser/pico.rs"]
mod pico;

/// 40 bytes.
const MINIMAL: &[u8] = b"GET / HTTP/1.1\r\nHost: www.example.eu\r\n\r\n";

/// The head of a page.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Mon, 23 Nov 2026 05:00:00 GMT\r\n\
    Server: example/1.27.2\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 18742\r\n\
    Connection: keep-alive\r\n\
    Last-Modified: Sun, 22 Nov 2026 21:14:07 GMT\r\n\
    ETag: \"6740f0ff-4936\"\r\n\
    Cache-Control: public, max-age=300, stale-while-revalidate=60\r\n\
    Vary: Accept-Encoding, Accept-Language\r\n\
    Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
    Set-Cookie: session=3b1f0c3d9e8a4f7c; Path=/; Max-Age=86400; HttpOnly; Secure\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Accept-Ranges: bytes\r\n\r\n";

/// A request with about 4 KB of cookies.
fn cookies() -> Vec<u8> {
    let cookie = "session=0123456789abcdef0123456789; ".repeat(110);
    format!("GET / HTTP/1.1\r\nHost: www.example.com\r\nCookie: {cookie}a=b\r\n\r\n").into_bytes()
}

fn requests(c: &mut Criterion) {
    let (limits, cookies) = (Limits::default(), cookies());
    let inputs: [(_, &[u8], _); 4] = [
        ("minimal", MINIMAL, 1),
        ("techempower", TECHEMPOWER, 4),
        ("browser", BROWSER, 15),
        ("cookies", &cookies, 2),
    ];
    for (name, bytes, headers) in inputs {
        let mut group = c.benchmark_group(format!("parser/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let whole = (bytes.len(), headers);
        group.bench_function("loopwork", |b| {
            let (mut seen, mut fields) = (Progress::new(), Fields::new());
            b.iter(|| {
                let parsed = parse_request(black_box(bytes), &mut seen, &mut fields, &limits);
                let Ok(Some((request, used))) = &parsed else { panic!("not whole: {parsed:?}") };
                assert_eq!((*used, black_box(request).headers.len()), whole);
            });
        });
        group.bench_function("httparse", |b| {
            b.iter(|| {
                let mut table = [httparse::EMPTY_HEADER; 32];
                let mut request = httparse::Request::new(&mut table);
                let used = request.parse(black_box(bytes)).expect("good").unwrap();
                assert_eq!((used, black_box(&request).headers.len()), whole);
            });
        });
        group.bench_function("httparse-uninit", |b| {
            b.iter(|| {
                let mut table = [const { MaybeUninit::uninit() }; 32];
                let mut request = httparse::Request::new(&mut []);
                let parsed = request.parse_with_uninit_headers(black_box(bytes), &mut table);
                let used = parsed.expect("good").unwrap();
                assert_eq!((used, black_box(&request).headers.len()), whole);
            });
        });
        #[cfg(target_arch = "x86_64")]
        group.bench_function("pico", |b| {
            b.iter(|| {
                assert_eq!(pico::request(black_box(bytes)), (whole.0 as i32, whole.1));
            });
        });
        group.finish();
    }
}

fn responses(c: &mut Criterion) {
    let (limits, whole) = (Limits::default(), (RESPONSE.len(), 13));
    let mut group = c.benchmark_group("parser/response");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("loopwork", |b| {
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        b.iter(|| {
            let parsed = parse_response(black_box(RESPONSE), &mut seen, &mut fields, &limits);
            let Ok(Some((response, used))) = &parsed else { panic!("not whole: {parsed:?}") };
            assert_eq!((*used, black_box(response).headers.len()), whole);
        });
    });
    group.bench_function("httparse", |b| {
        b.iter(|| {
            let mut table = [httparse::EMPTY_HEADER; 32];
            let mut response = httparse::Response::new(&mut table);
            let used = response.parse(black_box(RESPONSE)).expect("good").unwrap();
            assert_eq!((used, black_box(&response).headers.len()), whole);
        });
    });
    #[cfg(target_arch = "x86_64")]
    group.bench_function("pico", |b| {
        b.iter(|| {
            assert_eq!(pico::response(black_box(RESPONSE)), (whole.0 as i32, whole.1));
        });
    });
    group.finish();
}

/// The browser's request with all of its framing, and a byte at a time.
fn browser(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("parser/whole");
    group.throughput(Throughput::Bytes(BROWSER.len() as u64));
    group.bench_function("framing", |b| {
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        b.iter(|| {
            let parsed = parse_request(black_box(BROWSER), &mut seen, &mut fields, &limits);
            let (request, _) = parsed.expect("good").expect("whole");
            let framing = request.framing().expect("good");
            assert!(framing.keep_alive && framing.body == Body::None);
        });
    });
    group.bench_function("byte-by-byte", |b| {
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        b.iter(|| {
            for end in 1..BROWSER.len() {
                let bytes = black_box(&BROWSER[..end]);
                let parsed = parse_request(bytes, &mut seen, &mut fields, &limits);
                assert!(parsed.expect("good").is_none());
            }
            let parsed = parse_request(black_box(BROWSER), &mut seen, &mut fields, &limits);
            assert_eq!(parsed.expect("good").expect("whole").1, BROWSER.len());
        });
    });
    group.finish();
}

/// Chunks, of which nothing is copied.
fn chunks(c: &mut Criterion) {
    const COUNT: usize = 1000;
    let limits = Limits::default();
    let mut group = c.benchmark_group("parser/chunks");
    group.throughput(Throughput::Elements(COUNT as u64));
    for size in [16, 1024] {
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        let bytes = (chunk.repeat(COUNT) + "0\r\n\r\n").into_bytes();
        group.bench_function(size.to_string(), |b| {
            let new = || Decoder::new(Body::Chunked, &limits).expect("a decoder");
            let decode = |mut body: Decoder| {
                let (mut at, mut len) = (0, 0);
                while let Step::Data { skip, len: data } =
                    body.next(black_box(&bytes[at..]), &limits).expect("good")
                {
                    body.consume(data);
                    (at, len) = (at + skip + data, len + data);
                }
                assert!(body.is_end() && len == COUNT * size);
            };
            b.iter_batched(new, decode, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, requests, responses, browser, chunks);
criterion_main!(benches);
