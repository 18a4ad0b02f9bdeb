//! The netcat matrix: 24 checks that no byte and no end is lost.
//!
//! Two roles × four endings × three ways that the data goes. `nc` is a real process; its peer is
//! a socket of ours that follows a script. Data is 1 MiB, more than a pipe or a socket holds, and
//! an end follows directly behind it, so that both are in flight together.
//!
//! * *stdin first*: stdin gives its data and ends; the peer says nothing until it sees that end,
//!   thinks, then sends its data and closes. The peer must see all of it, an end, and no reset;
//!   `nc` goes on until the peer ends.
//! * *peer first*: the peer sends its data and ends its side; when all of it is on stdout and some
//!   time has passed, stdin gives its data and ends. `nc` must still run in between; the peer must
//!   see all of it, and then an end.
//! * *both*: both give their data and end, without waiting for each other. Both directions must
//!   have all of it, and an end.
//! * *neither*: both give their data, neither ends; `nc` was given `-w`. It must end by itself,
//!   not too early, with all of it in both directions, and an end that is no reset.
//!
//! In each, all that the peer sent must be on stdout, and the exit code must be 0.
//!
//! | data | who has some |
//! |---|---|
//! | up | stdin alone |
//! | down | the peer alone |
//! | both | both |
//!
//! Each is run four times: over TCP and over Unix sockets, without `-N` and with it, which must
//! make no difference. `tests/peers/nc-matrix` runs the same checks on other netcats.

use crate::harness::*;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

const DATA: usize = 1 << 20;
/// How long one side lets the other wait: more than the half second after which some netcats have
/// waited enough.
const THINKS: Duration = Duration::from_millis(700);
/// What `-w` is given where nobody ends: longer than a busy machine keeps a thread waiting.
const IDLE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Ending {
    Stdin,
    Peer,
    Both,
    Neither,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Data {
    Up,
    Down,
    Both,
}

#[derive(Clone, Copy, Debug)]
struct Check {
    role: Role,
    ending: Ending,
    data: Data,
}

fn all() -> Vec<Check> {
    let mut all = Vec::new();
    for role in [Role::Client, Role::Server] {
        for ending in [Ending::Stdin, Ending::Peer, Ending::Both, Ending::Neither] {
            for data in [Data::Up, Data::Down, Data::Both] {
                all.push(Check { role, ending, data });
            }
        }
    }
    assert_eq!(all.len(), 24);
    all
}

/// The other end, over TCP or a Unix socket.
enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    fn tcp(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_write_timeout(Some(WAIT)).unwrap();
        Peer::Tcp(stream)
    }

    fn unix(stream: UnixStream) -> Peer {
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_write_timeout(Some(WAIT)).unwrap();
        Peer::Unix(stream)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Peer::Tcp(stream) => stream.write_all(bytes),
            Peer::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// All that comes until an end; a reset is an error.
    fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Peer::Tcp(stream) => stream.read_to_end(&mut bytes)?,
            Peer::Unix(stream) => stream.read_to_end(&mut bytes)?,
        };
        Ok(bytes)
    }

    fn end(&self) -> io::Result<()> {
        match self {
            Peer::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Peer::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn again(&self) -> Peer {
        match self {
            Peer::Tcp(stream) => Peer::Tcp(stream.try_clone().unwrap()),
            Peer::Unix(stream) => Peer::Unix(stream.try_clone().unwrap()),
        }
    }
}

/// `nc` and its peer, connected.
fn pair(check: Check, unix: bool, more: &[&str]) -> (Run, Peer) {
    let idle = IDLE.as_secs().to_string();
    let mut args = vec!["nc"];
    args.extend(more);
    if check.ending == Ending::Neither {
        args.extend(["-w", &idle]);
    }
    let folder = Folder::new();
    let path = folder.path().join("s");
    let text = path.to_str().unwrap();
    match (check.role, unix) {
        (Role::Client, false) => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            args.extend(["127.0.0.1", &port]);
            let nc = start(&args);
            (nc, Peer::tcp(listener.accept().unwrap().0))
        }
        (Role::Server, false) => {
            args.extend(["-l", "0"]);
            let nc = start(&args);
            let at = address(&nc.err.line_with("listening on"), "tcp");
            (nc, Peer::tcp(connect(at)))
        }
        (Role::Client, true) => {
            let listener = UnixListener::bind(&path).unwrap();
            args.extend(["-U", text]);
            let nc = start(&args);
            (nc, Peer::unix(listener.accept().unwrap().0))
        }
        (Role::Server, true) => {
            args.extend(["-lU", text]);
            let nc = start(&args);
            nc.err.line_with("listening on");
            (nc, Peer::unix(UnixStream::connect(&path).unwrap()))
        }
    }
}

fn run_check(check: Check, unix: bool, more: &[&str]) -> io::Result<()> {
    let some = |is: bool, seed| noise(if is { DATA } else { 0 }, seed);
    let up = some(check.data != Data::Down, 21);
    let down = some(check.data != Data::Up, 22);
    let (mut nc, mut peer) = pair(check, unix, more);
    let began = Instant::now();
    match check.ending {
        Ending::Stdin => {
            nc.feed(up.clone(), true);
            same(&peer.rest()?, &up);
            std::thread::sleep(THINKS);
            assert!(nc.is_running(), "the peer has not ended");
            peer.write(&down)?;
            drop(peer);
        }
        Ending::Peer => {
            peer.write(&down)?;
            peer.end()?;
            same(&nc.out.bytes(down.len()), &down);
            std::thread::sleep(THINKS);
            assert!(nc.is_running(), "stdin has not ended");
            nc.feed(up.clone(), true);
            same(&peer.rest()?, &up);
        }
        Ending::Both => {
            nc.feed(up.clone(), true);
            peer.write(&down)?;
            peer.end()?;
            same(&peer.rest()?, &up);
        }
        Ending::Neither => {
            let (mut writer, bytes) = (peer.again(), down.clone());
            let writing = std::thread::spawn(move || writer.write(&bytes));
            // Held open until `nc` has ended.
            let mut stdin = nc.stdin.take().unwrap();
            let bytes = up.clone();
            let feeding = std::thread::spawn(move || stdin.write_all(&bytes).map(|()| stdin));
            same(&peer.rest()?, &up);
            writing.join().unwrap()?;
            let _held = feeding.join().unwrap()?;
            assert!(began.elapsed() >= IDLE, "too early: {:?}", began.elapsed());
            return over(nc, &down);
        }
    }
    over(nc, &down)
}

fn over(nc: Run, down: &[u8]) -> io::Result<()> {
    let ended = nc.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    same(&ended.out, down);
    Ok(())
}

/// All 24; who fails is named.
fn matrix(unix: bool, more: &'static [&'static str]) {
    let one = move |check| {
        let seen = std::panic::catch_unwind(|| run_check(check, unix, more));
        match seen {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{check:?}: {error}")),
            // The panic has said what it was.
            Err(_) => Some(format!("{check:?}: see above")),
        }
    };
    // They mostly wait for time to pass, which can be done side by side.
    let running: Vec<_> = all()
        .chunks(3)
        .map(|checks| checks.to_vec())
        .map(|checks| {
            std::thread::spawn(move || checks.into_iter().filter_map(one).collect::<Vec<_>>())
        })
        .collect();
    let failed: Vec<String> =
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(failed.is_empty(), "{} of 24 failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn all_24_over_tcp() {
    matrix(false, &[]);
}

#[test]
fn all_24_over_tcp_with_n() {
    matrix(false, &["-N"]);
}

#[test]
fn all_24_over_unix_sockets() {
    matrix(true, &[]);
}

#[test]
fn all_24_over_unix_sockets_with_n() {
    matrix(true, &["-N"]);
}
