//! The resolver with real sockets against a small name server of the standard library's: over UDP
//! it says that nothing fits, so every question is asked over TCP, too.

use loopwork_dns::{Answer, Config, Data, Error, Hosts, Kind, Resolver};
use loopwork_tcp::reactor::{Loop, Os};
use simple_dns::rdata::{AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, ResourceRecord, TYPE};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

/// `www.example` has an address of IPv6; no other name has anything.
fn answer(question: &[u8], fits: bool) -> Vec<u8> {
    let asked = Packet::parse(question).expect("a question");
    let mut reply = Packet::new_reply(asked.id());
    reply.questions = asked.questions.clone();
    let name = asked.questions[0].qname.clone();
    let known = name.to_string().eq_ignore_ascii_case("www.example");
    let wanted = asked.questions[0].qtype == QTYPE::TYPE(TYPE::AAAA);
    match (known, wanted) {
        _ if !fits => reply.set_flags(PacketFlag::TRUNCATION),
        (true, true) => {
            let data = RData::AAAA(AAAA { address: Ipv6Addr::LOCALHOST.into() });
            reply.answers.push(ResourceRecord::new(name, CLASS::IN, 60, data));
        }
        (true, false) => {}
        (false, _) => *reply.rcode_mut() = simple_dns::RCODE::NameError,
    }
    reply.build_bytes_vec().expect("an answer")
}

/// Serves until the process ends.
fn server() -> io::Result<SocketAddr> {
    let streams = TcpListener::bind("127.0.0.1:0")?;
    let at = streams.local_addr()?;
    let datagrams = UdpSocket::bind(at)?;
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((len, from)) = datagrams.recv_from(&mut bytes) {
            let _ = datagrams.send_to(&answer(&bytes[..len], false), from);
        }
    });
    std::thread::spawn(move || {
        for stream in streams.incoming().flatten() {
            let _ = one(stream);
        }
    });
    Ok(at)
}

fn one(mut stream: std::net::TcpStream) -> io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question)?;
    let answer = answer(&question, true);
    // In pieces: a message is whole when its length says so.
    stream.write_all(&(answer.len() as u16).to_be_bytes()[..1])?;
    stream.write_all(&(answer.len() as u16).to_be_bytes()[1..])?;
    let (front, back) = answer.split_at(answer.len() / 2);
    stream.write_all(front)?;
    std::thread::sleep(Duration::from_millis(5));
    stream.write_all(back)
}

#[derive(Default)]
struct Told {
    found: Vec<Result<Vec<IpAddr>, Error>>,
    said: Vec<Result<Answer, Error>>,
}

#[test]
fn a_real_server_is_asked_over_udp_then_tcp() {
    let config = Config { servers: vec![server().unwrap()], ..Config::default() };
    let mut lp = Loop::new(Os::new().unwrap());
    let names = Resolver::new(&mut lp, config, Hosts::default());
    for host in ["www.example", "no.example"] {
        names.lookup(&mut lp.env, host, |env, found| env.shared.one::<Told>().found.push(found));
    }
    names.resolve(&mut lp.env, "WWW.example.", Kind::Aaaa, |env, said| {
        env.shared.one::<Told>().said.push(said);
    });
    lp.run().unwrap();
    let told = std::mem::take(lp.env.shared.one::<Told>());
    assert_eq!(told.found.len(), 2);
    assert!(told.found.contains(&Ok(vec![Ipv6Addr::LOCALHOST.into()])));
    assert!(told.found.contains(&Err(Error::NoSuchName)));
    let said = told.said[0].as_ref().unwrap();
    assert!(said.tcp && said.records[0].data == Data::Aaaa(Ipv6Addr::LOCALHOST), "{said:?}");
}

/// Nobody is there: the kernel says so, and nothing waits for a deadline.
#[test]
fn a_port_where_nobody_is_fails_at_once() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let timeout = Duration::from_secs(30);
    let config = Config { servers: vec![free], timeout, ..Config::default() };
    let mut lp = Loop::new(Os::new().unwrap());
    let names = Resolver::new(&mut lp, config, Hosts::default());
    let begin = std::time::Instant::now();
    names.lookup(&mut lp.env, "www.example", |env, found| {
        env.shared.one::<Told>().found.push(found);
    });
    lp.run().unwrap();
    let found = lp.env.shared.one::<Told>().found.remove(0);
    assert_eq!(found, Err(Error::Unreachable(io::ErrorKind::ConnectionRefused)));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// What the files say holds until they are others, and then what the others say.
#[test]
fn files_that_change_are_read_again() {
    let folder = std::env::temp_dir().join(format!("loopwork-dns-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (hosts, conf) = (folder.join("hosts"), folder.join("resolv.conf"));
    std::fs::write(&hosts, "192.0.2.1 own.example").unwrap();
    std::fs::write(&conf, "nameserver 192.0.2.53").unwrap();
    let mut lp = Loop::new(Os::new().unwrap());
    let names = Resolver::of_files(&mut lp, &conf, &hosts);
    assert_eq!(names.config(&mut lp.env).servers, ["192.0.2.53:53".parse().unwrap()]);
    let ask = move |env: &mut loopwork_tcp::reactor::Env| {
        names.lookup(env, "own.example", |env, found| env.shared.one::<Told>().found.push(found));
    };
    ask(&mut lp.env);
    lp.run().unwrap();
    std::fs::write(&hosts, "192.0.2.22 own.example").unwrap();
    std::fs::write(&conf, "nameserver 192.0.2.153").unwrap();
    ask(&mut lp.env);
    lp.env.after(Duration::from_millis(1100), ask);
    lp.run().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let found = std::mem::take(&mut lp.env.shared.one::<Told>().found);
    let is = |ip: &str| Ok(vec![ip.parse::<IpAddr>().unwrap()]);
    assert_eq!(found, [is("192.0.2.1"), is("192.0.2.1"), is("192.0.2.22")]);
    assert_eq!(names.config(&mut lp.env).servers, ["192.0.2.153:53".parse().unwrap()]);
}

/// A forger who knows everything but the port: what he sends from his own is not looked at.
#[test]
fn hostile_72_an_answer_from_another_port_is_ignored() {
    let (server, forger) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
    let (server, forger) = (server.unwrap(), forger.unwrap());
    let servers = vec![server.local_addr().unwrap()];
    let work = std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        let (len, from) = server.recv_from(&mut bytes).unwrap();
        let mut lie = Packet::parse(&bytes[..len]).unwrap().into_reply();
        *lie.rcode_mut() = simple_dns::RCODE::NameError;
        *lie.opt_mut() = None;
        forger.send_to(&lie.build_bytes_vec().unwrap(), from).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        server.send_to(&answer(&bytes[..len], true), from).unwrap();
    });
    let mut lp = Loop::new(Os::new().unwrap());
    let config = Config { servers, ..Config::default() };
    let names = Resolver::new(&mut lp, config, Hosts::default());
    names.resolve(&mut lp.env, "www.example.", Kind::Aaaa, |env, said| {
        env.shared.one::<Told>().said.push(said);
    });
    lp.run().unwrap();
    work.join().unwrap();
    assert!(lp.env.shared.one::<Told>().said[0].is_ok());
}
