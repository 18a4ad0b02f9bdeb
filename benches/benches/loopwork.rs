//! Criterion benches of each layer, from a turn to an answered request.
//!
//! Rules:
//! * A bench checks what it measured: a wrong result is a panic, not a good time.
//! * Ids are stable, so that a baseline of last year still compares.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loopwork_benches::{BROWSER, Echo, Hello, MINIMAL, TECHEMPOWER, WsEcho, start};
use loopwork_http::Http;
use loopwork_http::core::{Fields, Limits, Progress, parse_request};
use loopwork_reactor::{Cx, Driver, Id, Loop, Os, Ready};
use loopwork_ws::Ws;
use loopwork_ws::core::{frame, mask, message};
use std::hint::black_box;
use std::io::{Read, Write};

/// Counts its wakes.
struct Count(u64);

impl Driver<Os> for Count {
    fn on_ready(&mut self, _: &mut Cx<'_, Os>, _: Ready) {}
    fn on_wake(&mut self, _: &mut Cx<'_, Os>, _: Id) {
        self.0 += 1;
    }
}

fn turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    group.bench_function("wake", |b| {
        let mut lp = Loop::new(Os::new().expect("a poll"));
        let handle = lp.add(|_| Count(0));
        let (id, mut turns) = (Id { birth: 1, slot: 0, driver: handle.driver }, 0);
        b.iter(|| {
            lp.env.wake(id);
            lp.turn(None).expect("a turn");
            turns += 1;
        });
        assert_eq!(lp.get(handle).0, turns);
    });
    group.finish();
}

fn head(c: &mut Criterion) {
    let mut group = c.benchmark_group("http/head");
    let limits = Limits::default();
    for (name, bytes, headers) in
        [("minimal", MINIMAL, 1), ("techempower", TECHEMPOWER, 4), ("browser", BROWSER, 15)]
    {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            let (mut seen, mut fields) = (Progress::new(), Fields::new());
            b.iter(|| {
                let parsed = parse_request(black_box(bytes), &mut seen, &mut fields, &limits);
                let (request, n) = parsed.expect("well-formed").expect("whole");
                assert_eq!((n, request.headers.len()), (bytes.len(), headers));
            });
        });
    }
    group.finish();
}

fn ws(c: &mut Criterion) {
    let mut group = c.benchmark_group("ws/mask");
    for size in [64, 1024, 65_536] {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let mut payload = vec![7; size];
            b.iter(|| mask::apply(black_box([1, 2, 3, 4]), &mut payload));
            assert!(payload.chunks(4).all(|c| [c[0] ^ 1, c[1] ^ 2] == [7, 7] || c == [7; 4]));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("ws/frame");
    for size in [20, 1024, 65_536] {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, frame::Opcode::Binary, &vec![7; size], Some([1, 2, 3, 4]));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let limits = message::Limits::default();
            let mut receiver = message::Receiver::new(frame::Role::Server);
            let mut buffer = bytes.clone();
            b.iter(|| {
                buffer.copy_from_slice(&bytes);
                let (used, message) = receiver.next(&mut buffer, &limits).expect("well-formed");
                assert_eq!(used, bytes.len());
                let Some(message::Message::Binary(payload)) = message else { panic!("a message") };
                assert_eq!((payload.len(), payload[0], payload[size - 1]), (size, 7, 7));
            });
        });
    }
    group.finish();
}

/// One message or request over a real socket and back, the loop and its client in one thread.
fn round_trips(c: &mut Criterion) {
    let mut group = c.benchmark_group("tcp/echo");
    for size in [64, 65_536] {
        let (mut lp, mut client) = start(Echo);
        let (message, mut answer) = (vec![7; size], vec![0; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                client.write_all(&message).expect("a write");
                let mut got = 0;
                while got < size {
                    lp.turn(None).expect("a turn");
                    got += client.read(&mut answer[got..]).expect("a read");
                }
                assert_eq!(answer, message);
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("http/hello");
    for pipelined in [1, 16] {
        let (mut lp, mut client) = start(Http::new(Hello));
        let requests = TECHEMPOWER.repeat(pipelined);
        let mut answers = [0; 16 * 1024];
        group.throughput(Throughput::Elements(pipelined as u64));
        group.bench_function(BenchmarkId::from_parameter(pipelined), |b| {
            b.iter(|| {
                client.write_all(&requests).expect("a write");
                lp.turn(None).expect("a turn");
                let n = client.read(&mut answers).expect("a read");
                let answers = &answers[..n];
                assert!(answers.starts_with(b"HTTP/1.1 200 OK\r\n"));
                let bodies = answers.windows(13).filter(|w| w == b"Hello, World!").count();
                assert_eq!(bodies, pipelined);
            });
        });
    }
    group.finish();
}

/// WebSocket messages over a real socket and back, one and sixteen at a time.
fn ws_echo(c: &mut Criterion) {
    const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut group = c.benchmark_group("ws/echo");
    for together in [1, 16] {
        let (mut lp, mut client) = start(Http::with_upgrade(Hello, Ws::new(WsEcho)));
        let mut buffer = vec![0; 4096];
        client.write_all(HANDSHAKE).expect("a write");
        lp.turn(None).expect("a turn");
        let n = client.read(&mut buffer).expect("a read");
        assert!(buffer[..n].starts_with(b"HTTP/1.1 101 "));
        let (mut masked, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..together {
            let (text, key) = (frame::Opcode::Text, Some([1, 2, 3, 4]));
            frame::encode(&mut masked, text, b"twenty bytes of text", key);
            frame::encode(&mut plain, text, b"twenty bytes of text", None);
        }
        group.throughput(Throughput::Elements(together as u64));
        group.bench_function(BenchmarkId::from_parameter(together), |b| {
            b.iter(|| {
                client.write_all(&masked).expect("a write");
                lp.turn(None).expect("a turn");
                let n = client.read(&mut buffer).expect("a read");
                assert_eq!(buffer[..n], plain);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, turn, head, ws, round_trips, ws_echo);
criterion_main!(benches);
