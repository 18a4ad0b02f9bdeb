//! What a note costs: into the ring, and where nobody watches.

use criterion::{Criterion, criterion_group, criterion_main};
use loopwork_reactor::{Id, Instant, Loop, Trace, Tracer};
use loopwork_sim::Sim;
use loopwork_trace::{EVENTS, ring};
use std::hint::black_box;

fn notes(c: &mut Criterion) {
    let id = Id { birth: 7, slot: 3, driver: 1 };
    let (mut to, _reader) = ring(EVENTS);
    let mut at = 0;
    c.bench_function("trace/ring_event", |b| {
        b.iter(|| {
            at += 1;
            to.note(black_box(Instant(at)), black_box(id), black_box(Trace::Read(64)));
        });
    });
    let mut lp = Loop::new(Sim::new(1));
    c.bench_function("trace/note_off", |b| {
        b.iter(|| lp.env.note_bytes(black_box(&id), Trace::Read, black_box(64)));
    });
    lp.trace(Some(Box::new(ring(EVENTS).0)));
    c.bench_function("trace/note_on", |b| {
        b.iter(|| lp.env.note_bytes(black_box(&id), Trace::Read, black_box(64)));
    });
}

criterion_group!(benches, notes);
criterion_main!(benches);
