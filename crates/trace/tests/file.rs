//! Recordings of the real world, and what becomes of files that are not as they were written.

use loopwork_reactor::{Address, Env, Id, Loop, Os, World};
use loopwork_sim::TraceHash;
use loopwork_tcp::{self as tcp, Close, Io, Protocol};
use loopwork_trace::{Head, Recording, Refused, Replay, Stop, Tape, VERSION};
use loopwork_udp as udp;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A file in memory, which outlives its recording, and may have an end.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>, Option<usize>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap();
        if self.1.is_some_and(|most| all.len() + bytes.len() > most) {
            return Err(ErrorKind::StorageFull.into());
        }
        all.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn recording(&self) -> Recording {
        let (program, arguments) = ("test".to_string(), vec!["a".to_string(), "é".to_string()]);
        Recording::new(self.clone(), &Head { program, arguments }).unwrap()
    }
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// Says what it hears, to its end.
struct Echo;
impl Protocol for Echo {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_data(&mut self, (): &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        bytes.len()
    }
}

/// Sends so many bytes, and hears them again.
struct Client {
    bytes: usize,
    got: usize,
    closed: usize,
}
impl Protocol for Client {
    type Conn = ();
    fn on_open(&mut self, (): &mut (), io: &mut Io<'_>) {
        let mut bytes = vec![0; self.bytes];
        io.env.random(&mut bytes);
        let _ = io.write(&bytes);
        io.end();
    }
    fn on_data(&mut self, (): &mut (), _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        self.got += bytes.len();
        bytes.len()
    }
    fn on_close(&mut self, (): (), _: Id, _: &mut Env, _: Close) {
        self.closed += 1;
    }
}

/// Streams there and back; the notes of the loop as a number, and what came back.
fn streams(world: Tape<Os>, bytes: usize) -> (Loop<Tape<Os>>, u64, usize) {
    let mut lp = Loop::new(world);
    lp.trace(Some(Box::new(TraceHash::new())));
    let at = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut got = 0;
    if let Ok((server, at)) = tcp::listen(&mut lp, at, Echo) {
        let client = tcp::add(&mut lp, |_| Client { bytes, got: 0, closed: 0 });
        for _ in 0..3 {
            tcp::dial(&mut lp.env, client, at, ());
        }
        while lp.get(client).protocol.closed < 3 && lp.turn(None).is_ok() {}
        tcp::shutdown(&mut lp.env, server);
        let _ = lp.run();
        got = lp.get(client).protocol.got;
    }
    let hash = TraceHash::take(&mut lp).map_or(0, |hash| hash.value());
    (lp, hash, got)
}

/// A recording of such a run.
fn recorded(bytes: usize) -> (Vec<u8>, u64) {
    let kept = Kept::default();
    let (lp, hash, got) = streams(Tape::record(Os::new().unwrap(), kept.recording()), bytes);
    assert_eq!(got, 3 * bytes);
    drop(lp);
    (kept.bytes(), hash)
}

#[test]
fn streams_of_the_real_world_replay() {
    let (file, hash) = recorded(300_000);
    let replay = Replay::of_bytes(file).unwrap();
    assert_eq!(replay.head().arguments, ["a", "é"]);
    let (mut lp, again, got) = streams(Tape::replay(replay), 300_000);
    let replay = lp.world.replaying().unwrap();
    assert!(replay.finished(), "{:?}", replay.stopped());
    assert_eq!((got, again), (900_000, hash));
}

/// Asks, and is answered; then it is over.
#[derive(Default)]
struct Talk {
    to: Option<SocketAddr>,
    heard: Vec<u8>,
}
impl udp::Protocol for Talk {
    fn on_open(&mut self, io: &mut udp::Io<'_>) {
        if let Some(to) = self.to {
            let mut bytes = [0; 16];
            io.env.random(&mut bytes);
            let _ = io.send(to, &bytes);
        }
    }
    fn on_datagram(&mut self, io: &mut udp::Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        self.heard.extend_from_slice(bytes);
        if self.to.is_none() {
            let _ = io.send(from, bytes);
        }
        io.close();
    }
}

fn datagrams(world: Tape<Os>) -> (Loop<Tape<Os>>, u64, Vec<u8>) {
    let mut lp = Loop::new(world);
    lp.trace(Some(Box::new(TraceHash::new())));
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let (_, to) = udp::bind(&mut lp, here, Talk::default()).unwrap();
    let (asks, _) = udp::bind(&mut lp, here, Talk { to: Some(to), ..Talk::default() }).unwrap();
    let _ = lp.run();
    let heard = std::mem::take(&mut lp.get(asks).protocol.heard);
    let hash = TraceHash::take(&mut lp).map_or(0, |hash| hash.value());
    (lp, hash, heard)
}

#[test]
fn datagrams_of_the_real_world_replay() {
    let kept = Kept::default();
    let (lp, hash, heard) = datagrams(Tape::record(Os::new().unwrap(), kept.recording()));
    drop(lp);
    assert_eq!(heard.len(), 16);
    let (mut lp, again, same) = datagrams(Tape::replay(Replay::of_bytes(kept.bytes()).unwrap()));
    assert!(lp.world.replaying().unwrap().finished());
    assert_eq!((again, same), (hash, heard));
}

/// What a thread gives comes back in the turn in which it came then.
#[test]
fn jobs_replay_by_being_run_again() {
    fn jobs(world: Tape<Os>) -> (Loop<Tape<Os>>, Vec<(u64, u64)>) {
        let mut lp = Loop::new(world);
        for n in 0..8u64 {
            let job = move || {
                std::thread::sleep(Duration::from_millis(8 - n));
                n
            };
            let then = |env: &mut Env, n: Result<u64, _>| {
                let now = env.now.0;
                env.shared.one::<Vec<(u64, u64)>>().push((n.unwrap_or(99), now));
            };
            lp.env.blocking(job, then).unwrap();
        }
        lp.run().unwrap();
        let order = std::mem::take(lp.env.shared.one::<Vec<(u64, u64)>>());
        (lp, order)
    }
    let kept = Kept::default();
    let (lp, order) = jobs(Tape::record(Os::new().unwrap(), kept.recording()));
    drop(lp);
    let (mut lp, again) = jobs(Tape::replay(Replay::of_bytes(kept.bytes()).unwrap()));
    assert!(lp.world.replaying().unwrap().finished());
    assert_eq!((again.len(), &again), (8, &order));
}

#[test]
fn what_a_thread_posts_is_told_to_be_missing() {
    let kept = Kept::default();
    let mut lp = Loop::new(Tape::record(Os::new().unwrap(), kept.recording()));
    let mailbox = lp.mailbox().unwrap();
    mailbox.post(7, Box::new("anything"));
    lp.turn(Some(Duration::ZERO)).unwrap();
    drop(lp);
    let mut lp = Loop::<Tape<Os>>::new(Tape::replay(Replay::of_bytes(kept.bytes()).unwrap()));
    lp.mailbox().unwrap();
    let _ = lp.turn(Some(Duration::ZERO));
    assert!(matches!(lp.world.replaying().unwrap().stopped(), Some(Stop::Post(7))));
}

#[test]
fn a_replay_stops_at_the_turn_that_is_wanted() {
    let (file, _) = recorded(300_000);
    for last in [0, 1, 3] {
        let replay = Replay::of_bytes(file.clone()).unwrap().to_turn(last);
        let (mut lp, ..) = streams(Tape::replay(replay), 300_000);
        let replay = lp.world.replaying().unwrap();
        assert!(matches!(replay.stopped(), Some(Stop::Turn)), "{:?}", replay.stopped());
        assert_eq!(replay.turn(), last);
    }
}

/// Where the first block behind the head is: a block is its length, its checksum, and itself.
fn first(file: &[u8]) -> std::ops::Range<usize> {
    let end =
        |at: usize| at + 8 + u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    end(12)..end(end(12))
}

#[test]
fn a_file_that_is_cut_replays_up_to_its_last_whole_block() {
    let (file, _) = recorded(20_000);
    let first = first(&file);
    for cut in (0..file.len()).step_by(97) {
        match Replay::of_bytes(Vec::from(&file[..cut])) {
            Err(Refused::NoRecording) => assert!(cut < 12, "{cut}"),
            Err(Refused::Damaged(12)) => assert!(cut < first.start, "{cut}"),
            // Nothing of it is whole but its head.
            Err(Refused::Damaged(at)) => {
                assert!(at as usize == first.start && first.contains(&cut), "{cut}: {at}");
            }
            Err(why) => panic!("{cut}: {why}"),
            Ok(replay) => {
                assert!(cut >= first.end, "{cut}");
                let (mut lp, ..) = streams(Tape::replay(replay), 20_000);
                let why = lp.world.replaying().unwrap().stopped();
                assert!(matches!(why, Some(Stop::Cut(_))), "{cut}: {why:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_damaged_is_refused_there() {
    let (file, _) = recorded(2_000);
    let first = first(&file);
    for at in 0..file.len() {
        let mut file = file.clone();
        file[at] ^= 1 << (at % 8);
        match Replay::of_bytes(file) {
            Err(Refused::NoRecording) => assert!(at < 8, "{at}"),
            Err(Refused::Version(_)) => assert!((8..12).contains(&at), "{at}"),
            Err(Refused::Damaged(12)) => assert!((12..first.start).contains(&at), "{at}"),
            Err(Refused::Damaged(block)) => {
                assert!(block as usize == first.start && first.contains(&at), "{at}: {block}");
            }
            Err(why) => panic!("{at}: {why}"),
            Ok(replay) => {
                assert!(at >= first.end, "{at}");
                let (mut lp, ..) = streams(Tape::replay(replay), 2_000);
                let why = lp.world.replaying().unwrap().stopped();
                // A length that grew asks for more than there is.
                let told = matches!(why, Some(Stop::Refused(_) | Stop::Cut(_)));
                assert!(told, "{at}: {why:?}");
            }
        }
    }
}

#[test]
fn another_version_and_another_file_are_told() {
    let (mut file, _) = recorded(1);
    file[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let why = Replay::of_bytes(file).err().unwrap().to_string();
    assert!(why.contains("replay it with the program that recorded it"), "{why}");
    let why = Replay::of_bytes(&b"\x7fELF and so on"[..]).err().unwrap();
    assert!(matches!(why, Refused::NoRecording), "{why}");
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_loop() {
    let kept = Kept(Arc::default(), Some(100_000));
    let (mut lp, _, got) = streams(Tape::record(Os::new().unwrap(), kept.recording()), 300_000);
    assert_eq!(got, 900_000);
    let why = lp.world.recording().unwrap().failed().map(io::Error::kind);
    assert_eq!(why, Some(ErrorKind::StorageFull));
    assert!(lp.world.now().0 > 0);
    drop(lp);
    let replay = Replay::of_bytes(kept.bytes()).unwrap();
    let (mut lp, ..) = streams(Tape::replay(replay), 300_000);
    assert!(matches!(lp.world.replaying().unwrap().stopped(), Some(Stop::Cut(_))));
}

#[test]
fn a_recording_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("loopwork-mode-{}", std::process::id()));
    drop(Recording::create(&path, &Head::default()).unwrap());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(mode & 0o777, 0o600);
}
