//! Both ends over real sockets: bytes, ends, what is agreed on, and who is refused.

mod support;

use loopwork_tls::config::{self, Clients, Trust};
use loopwork_tls::rustls::ProtocolVersion::TLSv1_3;
use loopwork_tls::rustls::{ClientConfig, ClientConnection, ServerConfig};
use loopwork_tls::tcp::reactor::{Loop, Os};
use loopwork_tls::tcp::{Close, add, dial, listen};
use loopwork_tls::{HANDSHAKES_PER_TURN, Tls};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;

struct Bench {
    lp: Loop<Os>,
    server: Server,
    client: Client,
    at: SocketAddr,
}

impl Bench {
    fn new(config: Arc<ServerConfig>, total: usize) -> Bench {
        let mut lp = Loop::new(Os::new().unwrap());
        let inside = Tls::server(Echo::default(), config);
        let (server, at) = listen(&mut lp, ([127, 0, 0, 1], 0).into(), inside).unwrap();
        let asker = Asker { total, ..Asker::default() };
        let client = add(&mut lp, |_| Tls::client(asker));
        Bench { lp, server, client, at }
    }

    /// Connections to this name, all at once, until they are over.
    fn ask(&mut self, config: &Arc<ClientConfig>, name: &str, count: usize) {
        let before = self.asker().closed.len();
        for _ in 0..count {
            dial(&mut self.lp.env, self.client, self.at, conn(config, name));
        }
        let (client, server) = (self.client, self.server);
        until(&mut self.lp, |lp| {
            lp.get(client).protocol.inner.closed.len() == before + count
                && lp.get(server).protocol.inner.closed.len() == before + count
        });
    }

    fn asker(&mut self) -> &mut Asker {
        &mut self.lp.get(self.client).protocol.inner
    }

    fn echo(&mut self) -> &mut Echo {
        &mut self.lp.get(self.server).protocol.inner
    }

    /// What a client's failure is called.
    fn why(&mut self) -> String {
        self.asker().why.pop().expect("a reason")
    }

    /// A peer without TLS.
    fn raw(&mut self) -> TcpStream {
        let peer = TcpStream::connect(self.at).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        peer
    }
}

#[test]
fn bytes_come_back_and_ends_are_clean() {
    let ca = Authority::new("ours");
    for total in [0, 1, 1000, 100_000, 3_000_000] {
        let mut bench = Bench::new(ca.server(), total);
        bench.ask(&ca.client(), "localhost", 3);
        assert_eq!(bench.asker().done, 3);
        assert_eq!(bench.asker().closed, [Close::Finished; 3]);
        assert_eq!(bench.echo().closed, [Close::Finished; 3]);
        assert!(bench.asker().why.is_empty() && bench.echo().why.is_empty());
    }
}

#[test]
fn a_paused_inside_loses_nothing() {
    let ca = Authority::new("ours");
    let mut bench = Bench::new(ca.server(), 300_000);
    bench.echo().pauses = true;
    bench.ask(&ca.client(), "localhost", 2);
    assert_eq!(bench.asker().done, 2);
}

#[test]
fn what_is_agreed_on_is_told_and_sessions_are_resumed() {
    let ca = Authority::new("ours");
    let mut bench = Bench::new(ca.server(), 10);
    let config = ca.client();
    bench.ask(&config, "localhost", 1);
    bench.ask(&config, "localhost", 1);
    let resumed: Vec<bool> = bench.asker().agreed.iter().map(|a| a.resumed).collect();
    assert_eq!(resumed, [false, true]);
    let resumed: Vec<bool> = bench.echo().agreed.iter().map(|a| a.resumed).collect();
    assert_eq!(resumed, [false, true]);
    let agreed = &bench.asker().agreed[0];
    assert_eq!(agreed.version, Some(TLSv1_3));
    assert_eq!(agreed.alpn.as_deref(), Some(config::HTTP));
    assert_eq!(agreed.certificates.len(), 1);
    assert!(agreed.cipher.is_some());
}

#[test]
fn a_certificate_that_is_not_good_enough_is_refused_with_its_reason() {
    let (ca, other) = (Authority::new("ours"), Authority::new("theirs"));
    let good = (2020, 4000);
    for (identity, name, words) in [
        (ca.sign("localhost", (2000, 2001)), "localhost", "has expired"),
        (ca.sign("localhost", (3000, 3001)), "localhost", "is not valid yet"),
        (ca.sign("elsewhere", good), "localhost", "is for another name"),
        (other.sign("localhost", good), "localhost", "signed by nobody who is trusted"),
        (ca.sign("localhost", good), "127.0.0.1", "is for another name"),
    ] {
        let mut bench = Bench::new(config::server(vec![identity]).unwrap(), 10);
        bench.ask(&ca.client(), name, 1);
        let why = bench.why();
        assert!(why.contains(words), "{why}");
        assert_eq!((bench.asker().done, bench.echo().opened), (0, 0));
        assert_eq!(bench.asker().closed, [Close::Layer]);
        assert_eq!(bench.echo().closed, [Close::Layer]);
        assert!(bench.echo().why[0].starts_with("the peer gave up"), "{:?}", bench.echo().why);
        let anybody = config::client_without_checks(None).unwrap();
        bench.ask(&anybody, name, 1);
        assert_eq!(bench.asker().done, 1, "who does not look does not see it");
    }
}

#[test]
fn the_name_that_is_asked_for_chooses_the_identity() {
    let ca = Authority::new("ours");
    let identities = ["one.test", "two.test"].map(|name| ca.sign(name, (2020, 4000)));
    let mut bench = Bench::new(config::server(identities.to_vec()).unwrap(), 10);
    for (name, done) in [("two.test", 1), ("one.test", 2), ("three.test", 2)] {
        bench.ask(&ca.client(), name, 1);
        assert_eq!(bench.asker().done, done, "{name}");
    }
    assert!(bench.why().contains("another name"));
}

#[test]
fn clients_are_known_by_their_certificates() {
    let (ca, other) = (Authority::new("ours"), Authority::new("theirs"));
    let own = || vec![ca.sign("localhost", (2020, 4000))];
    let trust = Trust::Roots(vec![ca.root()]);
    let known = config::client(&trust, Some(ca.sign("me.test", (2020, 4000)))).unwrap();
    let strange = config::client(&trust, Some(other.sign("me.test", (2020, 4000)))).unwrap();
    let only = Clients::KnownOnly(vec![ca.root()]);
    let mut bench = Bench::new(config::server_for(own(), &only, &[config::HTTP]).unwrap(), 10);
    bench.ask(&known, "localhost", 1);
    assert_eq!((bench.asker().done, bench.echo().agreed[0].certificates.len()), (1, 1));
    bench.ask(&ca.client(), "localhost", 1);
    assert!(bench.why().contains("it wants a certificate of ours"));
    bench.ask(&strange, "localhost", 1);
    assert!(bench.why().contains("it does not accept our certificate"));
    assert_eq!(bench.asker().done, 1);
    let some = Clients::Known(vec![ca.root()]);
    let mut bench = Bench::new(config::server_for(own(), &some, &[]).unwrap(), 10);
    bench.ask(&ca.client(), "localhost", 1);
    bench.ask(&known, "localhost", 1);
    assert_eq!(bench.asker().done, 2);
    let shown: Vec<usize> = bench.echo().agreed.iter().map(|a| a.certificates.len()).collect();
    assert_eq!(shown, [0, 1]);
}

#[test]
fn hostile_68_http_without_tls_is_told_so() {
    let mut bench = Bench::new(Authority::new("ours").server(), 0);
    let mut peer = bench.raw();
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let server = bench.server;
    until(&mut bench.lp, |lp| lp.get(server).protocol.inner.closed.len() == 1);
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{said}");
    assert_eq!(bench.echo().why, ["the peer speaks HTTP without TLS"]);
}

#[test]
fn hostile_68_garbage_gets_an_alert_and_an_end() {
    let long = [&[0x16, 3, 1, 0xff, 0xff][..], &[0; 3000]].concat();
    for garbage in [&b"\x00\x01\x02garbage"[..], b"\x17\x03\x03\x00\x05hello", b"\x80\x2e", &long] {
        let mut bench = Bench::new(Authority::new("ours").server(), 0);
        let mut peer = bench.raw();
        peer.write_all(garbage).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let server = bench.server;
        until(&mut bench.lp, |lp| lp.get(server).protocol.inner.closed.len() == 1);
        let mut said = Vec::new();
        let _ = peer.read_to_end(&mut said);
        // An alert is a record of type 21; who only hung up gets none.
        assert!(said.is_empty() || said[0] == 21, "{said:?}");
        assert_eq!(bench.echo().closed, [Close::Layer]);
        assert_eq!(bench.echo().opened, 0);
    }
}

#[test]
fn hostile_68_a_slow_handshake_has_its_deadline() {
    let mut bench = Bench::new(Authority::new("ours").server(), 0);
    let server = bench.server;
    bench.lp.get(server).protocol.handshake = Duration::from_millis(200);
    let (_silent, mut drip) = (bench.raw(), bench.raw());
    drip.write_all(&[0x16, 3, 1, 0x3f, 0xff]).unwrap();
    let began = Instant::now();
    until(&mut bench.lp, |lp| {
        let _ = drip.write_all(&[1]);
        std::thread::sleep(Duration::from_millis(1));
        lp.get(server).protocol.inner.closed.len() == 2
    });
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(bench.echo().closed, [Close::TimedOut; 2]);
    assert_eq!(bench.echo().why, ["the handshake took too long"; 2]);
}

#[test]
fn many_at_once_stand_in_line_and_all_are_served() {
    let ca = Authority::new("ours");
    let mut bench = Bench::new(ca.server(), 100);
    let count = 6 * HANDSHAKES_PER_TURN;
    bench.ask(&ca.client(), "localhost", count);
    assert_eq!(bench.asker().done, count);
}

#[test]
fn a_configuration_that_cannot_work_names_the_file() {
    let dir = std::env::temp_dir().join(format!("loopwork-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let [first, second] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let (wrong, empty) = (dir.join("wrong.pem"), dir.join("empty.pem"));
    std::fs::write(&cert, first.cert.pem()).unwrap();
    std::fs::write(&key, first.signing_key.serialize_pem()).unwrap();
    std::fs::write(&wrong, second.signing_key.serialize_pem()).unwrap();
    std::fs::write(&empty, "").unwrap();
    assert!(config::identity(&cert, &key).is_ok());
    for (cert, key, file, words) in [
        (&cert, &wrong, "wrong.pem", "not the key"),
        (&empty, &key, "empty.pem", "no certificate in it"),
        (&cert, &empty, "empty.pem", "no private key in it"),
        (&cert, &cert, "cert.pem", "no private key in it"),
        (&cert, &dir.join("none.pem"), "none.pem", "No such file"),
    ] {
        let why = config::identity(cert, key).unwrap_err().to_string();
        assert!(why.contains(file) && why.contains(words), "{why}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A client of TLS that is not ours, over a plain socket.
fn stranger(at: SocketAddr, config: &Arc<ClientConfig>) -> (ClientConnection, TcpStream) {
    let name = "localhost".try_into().unwrap();
    let mut session = ClientConnection::new(config.clone(), name).unwrap();
    let mut socket = TcpStream::connect(at).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    (session, socket)
}

#[test]
fn hostile_69_a_stream_that_just_stops_was_cut_off() {
    let ca = Authority::new("ours");
    let mut bench = Bench::new(ca.server(), 0);
    let (at, config, server) = (bench.at, ca.client(), bench.server);
    let peer = std::thread::spawn(move || {
        for says_so in [true, false] {
            let (mut session, mut socket) = stranger(at, &config);
            session.writer().write_all(b"some").unwrap();
            if says_so {
                session.send_close_notify();
            }
            while session.wants_write() {
                session.write_tls(&mut socket).unwrap();
            }
            socket.shutdown(Shutdown::Write).unwrap();
            let _ = socket.read_to_end(&mut Vec::new());
        }
    });
    until(&mut bench.lp, |lp| lp.get(server).protocol.inner.closed.len() == 2);
    peer.join().unwrap();
    assert_eq!(bench.echo().closed, [Close::Finished, Close::Truncated]);
    assert!(bench.echo().why[0].starts_with("the stream was cut off"), "{:?}", bench.echo().why);
}

#[test]
fn hostile_71_half_an_end_leaves_the_other_half_open() {
    let ca = Authority::new("ours");
    let mut bench = Bench::new(ca.server(), 0);
    bench.echo().pauses = true;
    let (at, config, server) = (bench.at, ca.client(), bench.server);
    let peer = std::thread::spawn(move || {
        let (mut session, mut socket) = stranger(at, &config);
        session.writer().write_all(&[7; 40_000]).unwrap();
        session.send_close_notify();
        let mut got = Vec::new();
        rustls_read(&mut session, &mut socket, &mut got);
        got
    });
    until(&mut bench.lp, |lp| lp.get(server).protocol.inner.closed.len() == 1);
    assert_eq!(peer.join().unwrap(), [7; 40_000]);
    assert_eq!(bench.echo().closed, [Close::Finished]);
}

/// Everything up to the peer's end.
fn rustls_read(session: &mut ClientConnection, socket: &mut TcpStream, got: &mut Vec<u8>) {
    while session.wants_write() {
        session.write_tls(socket).unwrap();
    }
    loop {
        match session.reader().read_to_end(got) {
            Ok(_) => return,
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(why) => panic!("{why}"),
        }
        assert!(session.read_tls(socket).unwrap() > 0, "an end without close_notify");
        session.process_new_packets().unwrap();
    }
}
