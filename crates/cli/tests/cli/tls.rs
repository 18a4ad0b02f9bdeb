//! TLS in each command: with a certificate made on the spot, with one from files, and with none
//! that is good enough.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::SocketAddr;

/// A server of these files, by TLS.
fn site(flags: &[&str]) -> (Folder, Run, SocketAddr) {
    let folder = Folder::new();
    folder.write("a.txt", b"hello\n");
    folder.write("big", &noise(3_000_000, 1));
    let mut args = vec!["serve", folder.text(), "-p", "0", "--ws-echo", "/echo"];
    args.extend(flags);
    let server = start(&args);
    let at = server.listening("https");
    (folder, server, at)
}

/// PEM files of a certificate for localhost that is its own signer.
fn identity(folder: &Folder) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let cert = folder.write("cert.pem", made.cert.pem().as_bytes());
    let key = folder.write("key.pem", made.signing_key.serialize_pem().as_bytes());
    [cert, key].map(|path| path.to_str().unwrap().to_string())
}

#[test]
fn files_come_by_https_and_strangers_are_not_believed() {
    let (folder, _server, at) = site(&["--tls-self-signed"]);
    let url = |path| format!("https://{at}/{path}");
    assert_eq!(run(&["get", "-k", &url("a.txt")], b"").text(), "hello\n");
    same(
        &run(&["get", "-ks", &url("big")], b"").out,
        &std::fs::read(folder.path().join("big")).unwrap(),
    );
    run(&["get", &url("a.txt")], b"").failed(60, "nobody who is trusted");
    run(&["bench", "-n", "1", "-c", "1", &url("a.txt")], b"").failed(1, "no answer came");
    let ended = run(&["bench", "-k", "-n", "50", "-c", "2", "--json", &url("a.txt")], b"");
    assert!(ended.text().contains("\"requests\":50"), "{ended:?}");
    // Without TLS to a port that speaks it.
    let ended = run(&["get", &format!("http://{at}/")], b"");
    assert!(ended.text().contains("ask it by https"), "{ended:?}");
}

#[test]
fn a_certificate_from_files_is_believed_by_who_has_its_signer() {
    let own = Folder::new();
    let [cert, key] = identity(&own);
    let (_folder, _server, at) = site(&["--tls-cert", &cert, "--tls-key", &key]);
    let (pin, url) = (format!("localhost:{}:{}", at.port(), at.ip()), |path: &str| {
        format!("https://localhost:{}/{path}", at.port())
    });
    let get = ["get", "--cacert", &cert, "--resolve", &pin];
    let ask = |more: &[&str]| run(&[&get[..], more].concat(), b"");
    assert_eq!(ask(&[&url("a.txt")]).text(), "hello\n");
    let ended = ask(&["--timing", "-o", "/dev/null", &url("a.txt")]);
    assert!(ended.err.contains("\ntls  ") && ended.err.contains("; TLSv1.3, TLS13_"), "{ended:?}");
    let times = ask(&[
        "-so",
        "/dev/null",
        "-w",
        "%{time_connect} %{time_appconnect} %{time_starttransfer}",
        &url("a.txt"),
    ]);
    let times = times.text();
    let times: Vec<f64> = times.split(' ').map(|time| time.parse().unwrap()).collect();
    assert!(times.is_sorted() && times[1] > times[0], "{times:?}");
    // The name has to be that of the certificate.
    ask(&[&format!("https://{at}/a.txt")]).failed(60, "is for another name");
    let talk = ["ws", "--cacert", &cert, &format!("wss://localhost:{}/echo", at.port())];
    assert_eq!(run(&talk, b"hi\nyou\n").text(), "hi\nyou\n");
    run(&["ws", &format!("wss://localhost:{}/echo", at.port())], b"hi\n").failed(1, "trusted here");
    run(&["get", "--cacert", &key, &url("")], b"").failed(77, "no certificate in it");
    run(&["get", "--cert", &cert, &url("")], b"").failed(58, "no private key in it");
}

#[test]
fn what_cannot_be_shown_is_told_at_the_start() {
    let own = Folder::new();
    let [cert, key] = identity(&own);
    let ended = run(&["serve", own.text(), "--tls-cert", &cert], b"");
    assert!(ended.code == Some(2) && ended.err.contains("--tls-key"), "{ended:?}");
    run(&["serve", own.text(), "-p", "0", "--tls-cert", &key, "--tls-key", &key], b"")
        .failed(1, "key.pem: there is no certificate in it");
    run(&["echo", "udp", "--tls-self-signed"], b"").failed(2, "no TLS over udp");
}

#[test]
fn echoes_speak_tls() {
    for (protocol, scheme) in [("http", "https"), ("ws", "wss"), ("tcp", "tls")] {
        let server = start(&["echo", protocol, "--tls-self-signed"]);
        let at = server.listening(scheme);
        match protocol {
            "http" => {
                let url = format!("https://{at}/");
                assert_eq!(run(&["get", "-k", "-d", "hi", &url], b"").text(), "hi");
            }
            "ws" => {
                let url = format!("wss://{at}/");
                assert_eq!(run(&["ws", "-k", &url], b"hi\n").text(), "hi\n");
            }
            _ => {
                // An alert, and the end.
                let mut peer = connect(at);
                peer.write_all(b"\x01\x02\x03").unwrap();
                let mut said = Vec::new();
                let _ = peer.read_to_end(&mut said);
                assert!(said.is_empty() || said[0] == 21, "{said:?}");
            }
        }
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_with_it() {
    let server = start(&["echo", "http"]);
    let at = server.listening("http");
    run(&["get", "-k", &format!("https://{at}/")], b"").failed(35, "what came is not TLS");
    // It is no proxy, either.
    run(&["get", "-k", "-x", &at.to_string(), &format!("https://{at}/")], b"").failed(56, "501");
    // What the environment wants is for others than this machine itself.
    for (host, code) in [("elsewhere.invalid", 7), ("localhost", 35)] {
        let url = format!("https://{host}:{}/", at.port());
        let mut get = command(&["get", "-k", &url]);
        let ended = Run::of(get.env("all_proxy", "http://127.0.0.1:9")).ended();
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
}

#[test]
fn keys_are_logged_when_asked_and_are_the_same_at_both_ends() {
    let own = Folder::new();
    own.write("a.txt", b"hello\n");
    let [ours, theirs] = ["ours", "theirs"].map(|name| own.path().join(name));
    let args = ["serve", own.text(), "-p", "0", "--tls-self-signed"];
    let server = Run::of(command(&args).env("SSLKEYLOGFILE", &ours));
    let url = format!("https://{}/a.txt", server.listening("https"));
    let get = |path: &str| {
        let mut run = Run::of(command(&["get", "-k", &url]).env("SSLKEYLOGFILE", path));
        run.feed(Vec::new(), true);
        let ended = run.ended();
        assert_eq!((ended.code, ended.text().as_str(), &*ended.err), (Some(0), "hello\n", ""));
    };
    get(theirs.to_str().unwrap());
    let [ours, theirs] = [ours, theirs].map(|path| std::fs::read_to_string(path).unwrap());
    let secrets = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert!(ours.contains("SERVER_TRAFFIC_SECRET_0 "), "{ours}");
    assert_eq!(secrets(&ours), secrets(&theirs));
    // An empty name is none.
    get("");
}

/// A proxy for one connection, that answers so; where it is, and the head that it is sent.
fn proxy(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        client.write_all(answer.as_bytes()).unwrap();
        if answer.contains(" 200 ") {
            let target = head.split(' ').nth(1).unwrap();
            let mut server = std::net::TcpStream::connect(target).unwrap();
            let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let down = std::thread::spawn(move || drop(std::io::copy(&mut from, &mut back)));
            let _ = std::io::copy(&mut client, &mut server);
            let _ = server.shutdown(std::net::Shutdown::Write);
            down.join().unwrap();
        }
        head
    });
    (at, thread)
}

#[test]
fn https_goes_through_a_proxy_by_a_tunnel() {
    let (folder, _server, at) = site(&["--tls-self-signed"]);
    let big = std::fs::read(folder.path().join("big")).unwrap();
    let url = format!("https://{at}/big");
    let (by, head) = proxy("HTTP/1.1 200 Go on\r\n\r\n");
    let ended = run(&["get", "-ks", "-x", &by.to_string(), "-U", "me:secret", &url], b"");
    same(&ended.out, &big);
    let wanted = format!(
        "CONNECT {at} HTTP/1.1\r\nHost: {at}\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    );
    assert_eq!(head.join().unwrap(), wanted);
    // The kernel is asked about it as about any other.
    let (by, head) = proxy("HTTP/1.1 200 Go on\r\n\r\n");
    let ended =
        run(&["get", "-k", "--timing", "-o", "/dev/null", "-x", &by.to_string(), &url], b"");
    assert!(ended.err.contains("\nround trip ") && ended.err.contains("; TLSv1.3"), "{ended:?}");
    head.join().unwrap();
    // As curl: 56, and the proxy's word is not taken for the server's.
    let (by, head) = proxy("HTTP/1.1 407 Who\r\nContent-Length: 4\r\n\r\nwho?");
    run(&["get", "-k", "-x", &by.to_string(), &url], b"").failed(56, "it answered 407");
    head.join().unwrap();
    // The environment's, but not for this machine itself.
    let mut own = command(&["get", "-ks", &url]);
    let mut run = Run::of(own.env("https_proxy", "http://127.0.0.1:1"));
    run.feed(Vec::new(), true);
    same(&run.ended().out, &big);
}
