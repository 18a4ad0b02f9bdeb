//! Output that is not copied: whatever the mix and however it is cut, the peer sees what plain
//! writes would have sent.

mod support;

use loopwork_reactor::{Handle, Loop, Os};
use loopwork_sim::{Faults, Sim, TraceHash, cargo_test, check as check_seeds};
use loopwork_tcp::{Close, Flow, HIGH_WATER, Host, Io, Wishes, unlisten};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::{
    At, On, Play, Seat, check, dial_to, fill, finish, idle, more, open, peer, play, read_all,
    server, turn_until, until_closed,
};

/// Bytes of the program's own: the pattern from 0 on.
static FIXED: [u8; 9000] = {
    let mut bytes = [0; 9000];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = (i as u64 ^ (i as u64 >> 8).wrapping_mul(3)) as u8;
        i += 1;
    }
    bytes
};

/// A file with the pattern in it that is gone from its folder when the test looks at it.
fn file(name: &str, len: u64) -> Arc<File> {
    let name = format!("loopwork-inserts-{}-{name}", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(name);
    let mut bytes = vec![0; len as usize];
    fill(0, &mut bytes);
    File::create(&path).and_then(|mut f| f.write_all(&bytes)).expect("a scratch file");
    let file = File::open(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is ours");
    Arc::new(file)
}

fn random(io: &mut Io<'_>, below: u64) -> u64 {
    let mut bytes = [0; 8];
    io.env.random(&mut bytes);
    u64::from_le_bytes(bytes) % below
}

const FILE_LEN: u64 = 300_000;

/// Writes something of some kind, and notes in `seat.got` what it is in plain bytes.
fn write_some(seat: &mut Seat, io: &mut Io<'_>, file: &Arc<File>) -> Flow {
    let bits = random(io, 16);
    let len = random(io, 1 << bits);
    let mut bytes = vec![0; len as usize];
    fill(random(io, 1 << 20), &mut bytes);
    let before = seat.got.len();
    let flow = match random(io, 6) {
        0 => {
            let from = random(io, FILE_LEN - len);
            fill(from, &mut bytes);
            let mut range = from..from + len;
            let flow = io.write_file(file, &mut range).expect("nothing is read here");
            assert!(range.is_empty());
            flow
        }
        1 => {
            bytes = FIXED[..bytes.len().min(FIXED.len())].to_vec();
            io.write_static(&FIXED[..bytes.len()])
        }
        2 => io.write_owned(bytes.clone()),
        3 | 4 => io.write_shared(&Arc::from(&bytes[..])),
        _ => io.write(&bytes),
    };
    seat.got.extend_from_slice(&bytes);
    let left = seat.got.len() - before;
    assert!(left <= HIGH_WATER || flow == Flow::Full);
    flow
}

/// Sends `seat.size` mixed pieces, and stops when it is told to.
fn mixer(seat: &mut Seat, io: &mut Io<'_>, on: On<'_>, file: &Arc<File>) -> usize {
    match on {
        On::Open => seat.size = random(io, 40),
        On::Drain => assert!(io.out.buffer().is_empty(), "drained means empty"),
        On::Data(bytes) => return bytes.len(),
        On::End => return 0,
        _ => panic!("nobody asked"),
    }
    while seat.number < seat.size {
        seat.number += 1;
        if write_some(seat, io, file) == Flow::Full {
            return 0;
        }
    }
    io.end();
    0
}

/// Keeps all that comes.
fn keeper(seat: &mut Seat, io: &mut Io<'_>, on: On<'_>) -> usize {
    match on {
        On::Data(bytes) => {
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        On::End => {
            io.end();
            0
        }
        _ => 0,
    }
}

/// Two mixers and their clients; what each side closed with, and the run's hash.
fn run(seed: u64, faults: Faults, file: &Arc<File>) -> (Vec<(Seat, Close)>, u64) {
    let file = file.clone();
    let act = move |seat: &mut Seat, io: &mut Io<'_>, on: On<'_>| mixer(seat, io, on, &file);
    let (mut lp, host): At<Sim> = play(Sim::with_faults(seed, faults), act);
    lp.trace(Some(Box::new(TraceHash::new())));
    let clients = more(&mut lp, keeper);
    let at = open(&mut lp, host);
    for _ in 0..2 {
        dial_to(&mut lp, clients, at, Duration::from_secs(120));
    }
    let mut turns = 0;
    let mut turn = |lp: &mut Loop<Sim>| {
        turns += 1;
        assert!(turns < 100_000, "stuck");
        lp.turn(None).expect("a turn");
    };
    while lp.get(clients).protocol.closed.len() < 2 {
        turn(&mut lp);
    }
    unlisten(&mut lp.env, host);
    while lp.env.calls.alive() {
        turn(&mut lp);
    }
    assert_eq!(lp.world.open(), 0, "no socket is left open");
    let hash = TraceHash::take(&mut lp).expect("it was set").value() ^ lp.world.hash();
    let mut ends = Vec::new();
    for host in [host, clients] {
        let play = &mut lp.get(host).protocol;
        ends.extend(play.seats.drain(..).zip(play.closed.drain(..).map(|(_, why)| why)));
    }
    (ends, hash)
}

#[test]
fn rough_any_mix_arrives_as_if_it_were_written_plainly() {
    let replay = cargo_test(
        "loopwork-tcp --test inserts",
        "rough_any_mix_arrives_as_if_it_were_written_plainly",
    );
    let file = file("rough", FILE_LEN);
    check_seeds(150, replay, |seed| {
        let (ends, hash) = run(seed, Faults::rough(), &file);
        assert!(ends.iter().all(|(_, why)| *why == Close::Finished));
        let mut sent: Vec<_> = ends[..2].iter().map(|(seat, _)| &seat.got).collect();
        let mut came: Vec<_> = ends[2..].iter().map(|(seat, _)| &seat.got).collect();
        sent.sort();
        came.sort();
        assert!(sent == came, "byte for byte");
        hash
    });
}

#[test]
fn hostile_what_arrives_of_a_mix_is_a_prefix() {
    let replay =
        cargo_test("loopwork-tcp --test inserts", "hostile_what_arrives_of_a_mix_is_a_prefix");
    let file = file("hostile", FILE_LEN);
    check_seeds(150, replay, |seed| {
        let (ends, hash) = run(seed, Faults::hostile(), &file);
        let (came, sent): (Vec<_>, Vec<_>) = ends.iter().partition(|(s, _)| s.number == 0);
        for (seat, why) in came.iter().filter(|(seat, _)| !seat.got.is_empty()) {
            let whole = |of: &[u8]| *why != Close::Finished || of.len() == seat.got.len();
            let from = sent.iter().find(|(s, _)| s.got.starts_with(&seat.got) && whole(&s.got));
            assert!(from.is_some(), "{} bytes of nobody's, {why}", seat.got.len());
        }
        hash
    });
}

/// A server that sends a file's range and ends, then `on_open` and at each drain.
fn sends(file: Arc<File>, range: Range<u64>) -> At<Os> {
    let (lp, host, _) = server(move |_, io, on| match on {
        On::Open => {
            let _ = io.write(b"head");
            let flow = io.write_file(&file, &mut range.clone()).expect("nothing is read here");
            assert_eq!(flow == Flow::Full, range.end - range.start > HIGH_WATER as u64);
            let _ = io.write(b"tail");
            io.end();
            0
        }
        On::Data(bytes) => bytes.len(),
        _ => 0,
    });
    (lp, host)
}

#[test]
fn a_file_goes_to_a_slow_reader_in_parts() {
    const LEN: u64 = 24 * 1024 * 1024;
    let (mut lp, host) = sends(file("slow", LEN + 9), 5..LEN);
    let at = open(&mut lp, host);
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    assert_eq!(lp.get(host).len(), 1, "the kernel's buffers are not so large");
    let reader = std::thread::spawn(move || {
        let mut first = [0; 1000];
        stream.read_exact(&mut first).expect("it comes");
        [first.to_vec(), read_all(stream)].concat()
    });
    until_closed(&mut lp, host, 1);
    let got = reader.join().expect("no panic");
    assert_eq!(got.len() as u64, LEN - 5 + 8);
    assert!(got.starts_with(b"head") && got.ends_with(b"tail"));
    check(5, &got[4..got.len() - 4]);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    finish(&mut lp, host);
}

#[test]
fn a_file_that_sendfile_cannot_send_is_read() {
    // Made up as it is read, and longer than one page.
    let file = Arc::new(File::open("/proc/self/maps").expect("the kernel has it"));
    let (mut lp, host) = sends(file, 0..100);
    let at = open(&mut lp, host);
    let stream = peer(at);
    let reader = std::thread::spawn(move || read_all(stream));
    until_closed(&mut lp, host, 1);
    assert_eq!(reader.join().expect("no panic").len(), 108);
    finish(&mut lp, host);
}

fn too_short(mut lp: Loop<Os>, host: Handle<Host<Play>>) {
    let at = open(&mut lp, host);
    let mut stream = peer(at);
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Aborted)]);
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got);
    assert!(end.is_err() && !got.ends_with(b"tail"), "a reset: it was promised more");
    finish(&mut lp, host);
}

#[test]
fn a_file_shorter_than_was_promised_ends_in_a_reset() {
    let (lp, host) = sends(file("short", 5000), 0..5001);
    too_short(lp, host);
    let (lp, host) = sends(file("beyond", 10), u64::MAX - 10..u64::MAX);
    too_short(lp, host);
}

#[test]
fn a_file_that_cannot_be_read_ends_in_a_reset() {
    let folder = File::open(std::env::temp_dir()).expect("a folder is opened like a file");
    let (lp, host) = sends(Arc::new(folder), 0..10);
    too_short(lp, host);
}

#[test]
fn what_follows_a_file_drains_and_goes_on() {
    const FILES: u64 = 20;
    let file = file("many", 100_000);
    let (mut lp, host, at) = server(move |seat, io, on| match on {
        On::Open | On::Drain => {
            if seat.number == FILES {
                io.end();
                return 0;
            }
            seat.number += 1;
            let flow = io.write_file(&file, &mut (0..100_000)).expect("nothing is read here");
            assert_eq!(flow, Flow::Full, "a file counts as its length");
            0
        }
        On::Data(bytes) => bytes.len(),
        _ => 0,
    });
    let stream = peer(at);
    let reader = std::thread::spawn(move || read_all(stream));
    until_closed(&mut lp, host, 1);
    let got = reader.join().expect("no panic");
    assert_eq!(got.len() as u64, FILES * 100_000);
    got.chunks(100_000).for_each(|one| check(0, one));
    let calls = lp.get(host).protocol.calls(0);
    let drains = calls.iter().filter(|call| **call == "drain").count();
    assert_eq!(drains as u64, FILES, "one for each file");
    finish(&mut lp, host);
}

#[test]
fn on_a_layer_inside_everything_is_copied_and_a_file_read_as_there_is_room() {
    const LEN: u64 = 200_000;
    let (file, shared) = (file("layer", LEN), Arc::<[u8]>::from(&FIXED[..]));
    let (mut lp, host, at) = server(move |_, io, on| {
        let On::Open = on else { return 0 };
        let (mut buf, mut wish) = (Vec::new(), Wishes::default());
        let mut inner = io.layer(&mut buf, &mut wish);
        let _ = inner.write_shared(&shared);
        let _ = inner.write_static(&FIXED);
        let _ = inner.write_owned(FIXED.to_vec());
        assert!(*inner.out.buffer() == FIXED.repeat(3));
        assert_eq!(Arc::strong_count(&shared), 1);
        inner.out.buffer().clear();
        let (mut left, mut whole) = (7..LEN, Vec::new());
        while !left.is_empty() {
            let before = left.start;
            let flow = inner.write_file(&file, &mut left).expect("it is all there");
            assert!(flow == Flow::Full || left.is_empty(), "it takes what there is room for");
            assert!(left.start - before < 2 * HIGH_WATER as u64 && left.start > before);
            let at = left.start;
            assert!(inner.write_file(&file, &mut left).is_ok() && left.start == at);
            whole.append(inner.out.buffer());
        }
        assert_eq!(whole.len() as u64, LEN - 7);
        check(7, &whole);
        let end = inner.write_file(&file, &mut (LEN - 1..LEN + 1)).expect_err("too short");
        assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof);
        io.end();
        0
    });
    drop(peer(at));
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}
