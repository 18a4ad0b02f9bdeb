//! Settings of streams: each is set by its name here, and read back from the kernel.

use loopwork_reactor::{
    Address, ConnectOptions, Fd, Id, KeepAlive, ListenOptions, Os, Ready, StreamOption, Streams,
    World,
};
use socket2::Socket;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn id(birth: u64) -> Id {
    Id { birth, slot: birth as u32, driver: 0 }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn local(at: &str) -> Address {
    Address::Ip(at.parse().expect("an address"))
}

/// Says that this test is left out, and why: to the terminal itself, since what a test prints is
/// shown only when it fails.
fn skipped(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "{}: skipped, {why}", thread.name().unwrap_or("a test"));
}

/// Not every machine has it.
fn has_ipv6() -> bool {
    let able = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !able {
        skipped("no IPv6 here");
    }
    able
}

/// Until something of this id is ready.
fn wait(os: &mut Os, id: Id) {
    let (until, mut ready) = (os.now().after(PATIENCE), Vec::<Ready>::new());
    while !ready.iter().any(|r| r.id == id) {
        assert!(os.now() < until, "nothing is ready");
        os.poll(Some(until), &mut ready).expect("a poll");
    }
}

/// A listener, and both ends of a connection to it: dialed, accepted.
struct Pair {
    os: Os,
    listener: Fd,
    client: Fd,
    server: Fd,
}

fn pair(at: &Address, listening: &ListenOptions, dialing: &ConnectOptions) -> Pair {
    let mut os = Os::new().expect("a poll");
    let (listener, at) = os.listen(at, listening, id(1)).expect("a place");
    let client = os.connect_with(&at, None, dialing, id(2)).expect("a dial");
    wait(&mut os, id(2));
    os.connected(client).expect("it stands");
    let server = loop {
        match os.accept(listener, id(3)) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => wait(&mut os, id(1)),
            other => break other.expect("a connection").0,
        }
    };
    Pair { os, listener, client, server }
}

impl Pair {
    fn plain(at: &str) -> Pair {
        pair(&local(at), &ListenOptions::default(), &ConnectOptions::default())
    }

    /// The kernel's side of it, by a duplicate.
    fn see(&self, fd: Fd) -> Socket {
        let descriptor = self.os.descriptor(fd).expect("it is open");
        descriptor.try_clone_to_owned().expect("a duplicate").into()
    }

    /// Sets it on the dialed end, which is then looked at.
    fn set(&mut self, option: StreamOption) -> Socket {
        self.os.set(self.client, option).expect("it can be set");
        self.see(self.client)
    }
}

/// One of each that is inherited, or may be set before.
fn all() -> Vec<StreamOption> {
    let times = KeepAlive { idle: secs(77), interval: Some(secs(7)), count: Some(3) };
    vec![
        StreamOption::NoDelay(false),
        StreamOption::KeepAlive(Some(times)),
        StreamOption::ReceiveBuffer(20_000),
        StreamOption::SendBuffer(30_000),
        StreamOption::Tos(0x68),
        StreamOption::NotSentLowWater(12_345),
        StreamOption::UserTimeout(Some(Duration::from_millis(4321))),
        StreamOption::ResetOnClose(true),
    ]
}

fn check_all(socket: Socket) {
    assert!(!socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), secs(77));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), secs(7));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 20_000);
    assert_eq!(socket.send_buffer_size().unwrap(), 2 * 30_000);
    assert_eq!(socket.tos_v4().unwrap(), 0x68);
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 12_345);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(4321)));
    assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
}

#[test]
fn settings_of_an_open_stream_are_read_back() {
    let mut p = Pair::plain("127.0.0.1:0");
    assert!(p.see(p.client).tcp_nodelay().unwrap(), "on unless told");
    for option in all() {
        p.os.set(p.client, option).unwrap();
    }
    check_all(p.see(p.client));
    assert!(p.set(StreamOption::NoDelay(true)).tcp_nodelay().unwrap());
    assert!(!p.set(StreamOption::KeepAlive(None)).keepalive().unwrap());
    assert_eq!(p.set(StreamOption::UserTimeout(None)).tcp_user_timeout().unwrap(), None);
    assert_eq!(p.set(StreamOption::ResetOnClose(false)).linger().unwrap(), None);
    assert!(p.set(StreamOption::QuickAck(true)).tcp_quickack().unwrap());
    assert!(!p.set(StreamOption::QuickAck(false)).tcp_quickack().unwrap());
    let busy = p.see(p.client).busy_poll().unwrap();
    assert_eq!(p.set(StreamOption::BusyPoll(busy)).busy_poll().unwrap(), busy);
}

#[test]
fn a_keepalive_of_which_only_the_idle_time_is_said_leaves_the_rest_to_the_system() {
    let mut p = Pair::plain("127.0.0.1:0");
    let before = p.see(p.server).tcp_keepalive_retries().unwrap();
    let socket = p.set(StreamOption::KeepAlive(Some(secs(9).into())));
    assert_eq!(socket.tcp_keepalive_time().unwrap(), secs(9));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), before);
}

#[test]
fn what_a_listener_is_told_holds_for_those_that_it_accepts() {
    let mut how = ListenOptions::default();
    how.settings = all();
    let p = pair(&local("127.0.0.1:0"), &how, &ConnectOptions::default());
    check_all(p.see(p.server));
    assert!(p.see(p.client).tcp_nodelay().unwrap(), "the other end is its own");
    how = ListenOptions::default();
    how.keepalive = Some(KeepAlive { idle: secs(5), interval: Some(secs(2)), count: Some(4) });
    let p = pair(&local("127.0.0.1:0"), &how, &ConnectOptions::default());
    let socket = p.see(p.server);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), secs(2));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
}

#[test]
fn what_a_listener_is_asked_for_is_read_back() {
    if !has_ipv6() {
        return;
    }
    for (ipv6_only, reuse_port) in [(false, false), (true, true)] {
        let mut how = ListenOptions::default();
        (how.ipv6_only, how.reuse_port) = (ipv6_only, reuse_port);
        let p = pair(&local("[::]:0"), &how, &ConnectOptions::default());
        let socket = p.see(p.listener);
        assert_eq!(socket.only_v6().unwrap(), ipv6_only);
        assert_eq!(socket.reuse_port().unwrap(), reuse_port);
        assert!(socket.reuse_address().unwrap() && socket.is_listener().unwrap());
        assert!(socket.nonblocking().unwrap() && p.see(p.server).nonblocking().unwrap());
    }
}

#[test]
fn a_dialed_socket_is_set_up_before_it_connects() {
    let mut how = ConnectOptions::default();
    how.settings = all();
    let p = pair(&local("127.0.0.1:0"), &ListenOptions::default(), &how);
    check_all(p.see(p.client));
    assert!(p.see(p.server).tcp_nodelay().unwrap());
}

#[test]
fn the_traffic_class_of_ipv6_is_set_for_both_families() {
    if !has_ipv6() {
        return;
    }
    let mut p = Pair::plain("[::1]:0");
    let socket = p.set(StreamOption::Tos(0xb8));
    assert_eq!((socket.tclass_v6().unwrap(), socket.tos_v4().unwrap()), (0xb8, 0xb8));
    let four = p.see(p.server).tclass_v6().unwrap();
    assert_eq!(four, 0, "of one end alone");
}

#[test]
fn a_connection_may_be_bound_to_a_device() {
    let (mut listening, mut dialing) = (ListenOptions::default(), ConnectOptions::default());
    (listening.device, dialing.device) = (Some("lo".into()), Some("lo".into()));
    let mut os = Os::new().unwrap();
    let able = os.listen(&local("127.0.0.1:0"), &listening, id(9));
    if able.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied) {
        return skipped("a device takes a privilege before Linux 5.7");
    }
    let p = pair(&local("127.0.0.1:0"), &listening, &dialing);
    assert_eq!(p.see(p.listener).device().unwrap().as_deref(), Some(&b"lo"[..]));
    assert_eq!(p.see(p.client).device().unwrap().as_deref(), Some(&b"lo"[..]));
    dialing.device = Some("no-such-device".into());
    assert!(os.connect_with(&local("127.0.0.1:9"), None, &dialing, id(1)).is_err());
}

#[test]
fn a_unix_socket_has_the_buffers_sizes_and_nothing_of_tcp() {
    let at = Address::Unix(format!("\0loopwork-options-{}", std::process::id()).into());
    let mut p = pair(&at, &ListenOptions::default(), &ConnectOptions::default());
    assert_eq!(p.set(StreamOption::SendBuffer(30_000)).send_buffer_size().unwrap(), 60_000);
    assert_eq!(p.set(StreamOption::ReceiveBuffer(30_000)).recv_buffer_size().unwrap(), 60_000);
    for option in all().into_iter().chain([StreamOption::QuickAck(true)]) {
        let done = p.os.set(p.client, option).map_err(|e| e.kind());
        let buffer = matches!(option, StreamOption::SendBuffer(_) | StreamOption::ReceiveBuffer(_));
        assert_eq!(done, if buffer { Ok(()) } else { Err(ErrorKind::Unsupported) }, "{option:?}");
    }
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loopwork-options-{}-{name}", std::process::id()))
}

#[test]
fn the_permissions_of_a_unix_path_are_those_that_were_asked_for() {
    for mode in [0o600, 0o666, 0o222] {
        let file = path(&format!("mode-{mode:o}"));
        let mut how = ListenOptions::default();
        how.unix_mode = Some(mode);
        let mut os = Os::new().unwrap();
        let (fd, _) = os.listen(&Address::Unix(file.clone()), &how, id(1)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode);
        os.close(fd);
        assert!(!file.exists());
    }
}

#[test]
fn a_unix_path_that_is_to_stay_stays() {
    let file = path("stays");
    let at = Address::Unix(file.clone());
    let mut how = ListenOptions::default();
    how.unlink = false;
    let mut os = Os::new().unwrap();
    let (fd, _) = os.listen(&at, &how, id(1)).unwrap();
    os.close(fd);
    assert!(file.exists());
    // A stale path is not taken over: it may be somebody's.
    how.unlink = true;
    let again = os.listen(&at, &how, id(1)).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AddrInUse);
    assert!(file.exists(), "who failed has made nothing, and removes nothing");
    fs::remove_file(&file).unwrap();
    os.listen(&at, &how, id(1)).unwrap();
    drop(os);
    assert!(!file.exists());
}

#[test]
fn a_unix_path_that_another_has_taken_is_left_alone() {
    let file = path("taken");
    let mut os = Os::new().unwrap();
    let (fd, _) =
        os.listen(&Address::Unix(file.clone()), &ListenOptions::default(), id(1)).unwrap();
    // As a successor does that takes over without a gap: bound beside, and moved into place.
    let beside = path("taken-beside");
    let heir = UnixListener::bind(&beside).unwrap();
    fs::rename(&beside, &file).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    os.close(fd);
    assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
    drop(heir);
    fs::remove_file(&file).unwrap();
}

#[test]
fn what_cannot_be_set_fails_the_listener_and_leaves_nothing() {
    let file = path("fails");
    let mut how = ListenOptions::default();
    how.settings = vec![StreamOption::NoDelay(true)];
    let mut os = Os::new().unwrap();
    let failed = os.listen(&Address::Unix(file.clone()), &how, id(1)).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unsupported);
    assert!(!file.exists());
    how.settings = vec![StreamOption::KeepAlive(Some(secs(1_000_000).into()))];
    assert!(os.listen(&local("127.0.0.1:0"), &how, id(1)).is_err(), "the kernel's limit");
}

#[test]
fn names_that_are_no_sockets_have_no_descriptor() {
    let mut p = Pair::plain("127.0.0.1:0");
    p.os.close(p.client);
    assert_eq!(p.os.descriptor(p.client).unwrap_err().kind(), ErrorKind::InvalidInput);
}
