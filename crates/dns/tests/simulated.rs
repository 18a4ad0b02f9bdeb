//! The resolver against name servers of every kind in the simulated world, seed by seed: each
//! question is answered once, with the truth or an error, in time; nothing stays open.

use loopwork_dns::{Answer, Config, Data, Error, Hosts, Kind, Name, Resolver};
use loopwork_sim::{Faults, Sim, TraceHash, check, percent};
use loopwork_tcp as tcp;
use loopwork_tcp::reactor::{Address, Env, Handle, Id, Instant, Loop};
use loopwork_udp::{self as udp, Io};
use simple_dns::rdata::{A, CNAME, RData, SOA};
use simple_dns::{CLASS, Name as Wire, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a server does with a question; all of them know `HERE` for each name but `no.example`.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Manner {
    Honest,
    Silent,
    Fails,
    Refuses,
    Nonsense,
    /// Over UDP it says that it did not fit.
    Truncates,
    /// Every answer is preceded by forged ones: of another id, case, name.
    Spoofed,
    /// Does not know EDNS.
    Old,
    /// The name stands for itself, by way of another.
    Circle,
    /// It leaves the rest of each chain to who asks.
    Steps,
}

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// What forgers say.
const FORGED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);

struct Server {
    manner: Manner,
    asked: u32,
    ttl: u32,
}

fn alias<'a>(from: &Wire<'a>, to: &'static str) -> ResourceRecord<'a> {
    let to = RData::CNAME(CNAME(Wire::new(to).unwrap()));
    ResourceRecord::new(from.clone(), CLASS::IN, 60, to)
}

fn address<'a>(of: &Wire<'a>, ttl: u32, ip: Ipv4Addr) -> ResourceRecord<'a> {
    ResourceRecord::new(of.clone(), CLASS::IN, ttl, RData::A(A { address: ip.into() }))
}

impl Server {
    fn answers(&mut self, question: &[u8], stream: bool) -> Vec<Vec<u8>> {
        self.asked += 1;
        let asked = Packet::parse(question).expect("a question is a message");
        assert!(!asked.has_flags(PacketFlag::RESPONSE) && asked.questions.len() == 1);
        let mut reply = Packet::new_reply(asked.id());
        reply.questions = asked.questions.clone();
        let name = asked.questions[0].qname.clone();
        let text = name.to_string().to_ascii_lowercase();
        if text == "no.example" {
            *reply.rcode_mut() = RCODE::NameError;
            let (mname, rname) = (name.clone(), name.clone());
            let soa = SOA { mname, rname, serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 };
            let soa = ResourceRecord::new(name.clone(), CLASS::IN, 60, RData::SOA(soa));
            reply.name_servers.push(soa);
        } else if asked.questions[0].qtype == QTYPE::TYPE(TYPE::A) {
            match self.manner {
                Manner::Circle => {
                    reply.answers.push(alias(&name, "b.example"));
                    reply.answers.push(alias(&Wire::new("b.example").unwrap(), "a.example"));
                }
                Manner::Steps if text == "a.example" => {
                    reply.answers.push(alias(&name, "b.example"));
                }
                _ => reply.answers.push(address(&name, self.ttl, HERE)),
            }
        }
        let bytes = |packet: &Packet<'_>| packet.build_bytes_vec_compressed().unwrap();
        match self.manner {
            Manner::Silent => return Vec::new(),
            Manner::Fails => *reply.rcode_mut() = RCODE::ServerFailure,
            Manner::Refuses => *reply.rcode_mut() = RCODE::Refused,
            Manner::Nonsense => {
                let mut cut = bytes(&reply);
                cut.push(0);
                return vec![cut];
            }
            Manner::Truncates if !stream => {
                reply.answers.clear();
                reply.set_flags(PacketFlag::TRUNCATION);
            }
            Manner::Old if asked.opt().is_some() => {
                reply = Packet::new_reply(asked.id());
                *reply.rcode_mut() = RCODE::FormatError;
            }
            Manner::Spoofed => return [forged(&asked), vec![bytes(&reply)]].concat(),
            _ => {}
        }
        vec![bytes(&reply)]
    }
}

/// Answers of one who guesses: each is wrong in one thing.
fn forged(asked: &Packet<'_>) -> Vec<Vec<u8>> {
    let question = asked.questions[0].clone();
    let lie = |id: u16, name: &str, kind: QTYPE, response: bool| {
        let mut reply = if response { Packet::new_reply(id) } else { Packet::new_query(id) };
        let mut question = question.clone();
        (question.qname, question.qtype) = (Wire::new(name).unwrap().into_owned(), kind);
        reply.answers.push(address(&question.qname, 3600, FORGED).into_owned());
        reply.questions.push(question.into_owned());
        reply.build_bytes_vec_compressed().unwrap()
    };
    let name = question.qname.to_string();
    let flip =
        |c: char| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let other: String = name.chars().map(flip).collect();
    let (id, kind) = (asked.id(), question.qtype);
    vec![
        lie(id ^ 1, &name, kind, true),
        lie(id, &other, kind, true),
        lie(id, "other.example", kind, true),
        lie(id, &name, QTYPE::TYPE(TYPE::TXT), true),
        lie(id, &name, kind, false),
        b"\x00".to_vec(),
    ]
}

impl udp::Protocol for Server {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        for answer in self.answers(bytes, false) {
            let _ = io.send(from, &answer);
        }
    }
}

impl tcp::Protocol for Server {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_data(&mut self, _: &mut (), io: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return 0 };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some(question) = rest.get(..length) else { return 0 };
        for answer in self.answers(question, true) {
            let _ = io.write(&(answer.len() as u16).to_be_bytes());
            let _ = io.write(&answer);
        }
        2 + length
    }
}

/// A world with name servers in it.
struct Stage {
    lp: Loop<Sim>,
    names: Resolver,
    servers: Vec<Handle<udp::Host<Server>>>,
    streams: Vec<Handle<tcp::Host<Server>>>,
}

/// What was told, and when.
#[derive(Default)]
struct Heard(Vec<(Result<Answer, Error>, Instant)>);

const TIMEOUT: Duration = Duration::from_secs(2);

impl Stage {
    fn new(seed: u64, faults: Faults, manners: &[Manner]) -> Stage {
        let mut lp = Loop::new(Sim::with_faults(seed, faults));
        lp.trace(Some(Box::new(TraceHash::new())));
        let (mut servers, mut streams, mut at) = (Vec::new(), Vec::new(), Vec::new());
        for manner in manners {
            let server = || Server { manner: *manner, asked: 0, ttl: 60 };
            let any = "127.0.0.1:0".parse().unwrap();
            let (stream, here) = tcp::listen(&mut lp, any, server()).unwrap();
            let (server, here) = udp::bind(&mut lp, here, server()).unwrap();
            servers.push(server);
            streams.push(stream);
            at.push(here);
        }
        let config = Config { servers: at, timeout: TIMEOUT, ..Config::default() };
        let names = Resolver::new(&mut lp, config, Hosts::parse("192.0.2.9 own.example"));
        Stage { lp, names, servers, streams }
    }

    fn ask(&mut self, name: &str) {
        self.names.ask(&mut self.lp.env, &Name::new(name).unwrap(), Kind::A, |env, said| {
            let now = env.now;
            env.shared.one::<Heard>().0.push((said, now));
        });
    }

    /// Turns until so many were told.
    fn hear(&mut self, count: usize) -> Vec<(Result<Answer, Error>, Instant)> {
        for _ in 0..1_000_000 {
            if self.lp.env.shared.one::<Heard>().0.len() >= count {
                break;
            }
            self.lp.turn(None).unwrap();
        }
        let heard = std::mem::take(&mut self.lp.env.shared.one::<Heard>().0);
        assert_eq!(heard.len(), count);
        heard
    }

    fn asked(&mut self, server: usize) -> [u32; 2] {
        let over_tcp = self.lp.get(self.streams[server]).protocol.asked;
        [self.lp.get(self.servers[server]).protocol.asked, over_tcp]
    }

    /// Closes all, and says what happened as a number.
    fn end(mut self) -> u64 {
        for server in self.servers {
            udp::close(&mut self.lp, server);
        }
        for server in self.streams {
            tcp::shutdown(&mut self.lp.env, server);
        }
        self.lp.run().unwrap();
        assert_eq!((self.lp.world.open(), self.lp.env.calls.timers.len()), (0, 0));
        let trace = TraceHash::take(&mut self.lp).expect("it was set");
        self.lp.world.hash() ^ trace.value().rotate_left(1)
    }
}

fn addresses(said: &Result<Answer, Error>) -> Result<Vec<Data>, Error> {
    said.clone().map(|answer| answer.records.into_iter().map(|r| r.data).collect())
}

fn calm(manners: &[Manner]) -> Stage {
    Stage::new(1, Faults::none(), manners)
}

fn one(manners: &[Manner]) -> (Result<Vec<Data>, Error>, Vec<[u32; 2]>) {
    let mut stage = calm(manners);
    stage.ask("a.example");
    let said = addresses(&stage.hear(1)[0].0);
    let asked = (0..manners.len()).map(|n| stage.asked(n)).collect();
    stage.end();
    (said, asked)
}

#[test]
fn hostile_78_each_kind_of_server() {
    let here = || Ok(vec![Data::A(HERE)]);
    use Manner::{Circle, Fails, Honest, Nonsense, Old, Refuses, Silent, Steps, Truncates};
    assert_eq!(one(&[Honest]), (here(), vec![[1, 0]]));
    assert_eq!(one(&[Silent, Honest]), (here(), vec![[1, 0], [1, 0]]));
    assert_eq!(one(&[Fails, Honest]), (here(), vec![[1, 0], [1, 0]]));
    assert_eq!(one(&[Refuses, Honest]), (here(), vec![[1, 0], [1, 0]]));
    assert_eq!(one(&[Nonsense, Honest]), (here(), vec![[1, 0], [1, 0]]));
    assert_eq!(one(&[Truncates]), (here(), vec![[1, 1]]));
    assert_eq!(one(&[Old]), (here(), vec![[2, 0]]));
    assert_eq!(one(&[Steps]), (here(), vec![[2, 0]]));
    assert_eq!(one(&[Circle]), (Err(Error::Chain), vec![[1, 0]]));
    assert_eq!(one(&[Fails]), (Err(Error::Server(loopwork_dns::Code::ServFail)), vec![[2, 0]]));
    assert_eq!(one(&[Nonsense]), (Err(Error::Malformed), vec![[2, 0]]));
    assert_eq!(one(&[Silent, Silent]), (Err(Error::Timeout), vec![[2, 0], [2, 0]]));
}

#[test]
fn hostile_72_forged_answers_are_ignored() {
    assert_eq!(one(&[Manner::Spoofed]), (Ok(vec![Data::A(HERE)]), vec![[1, 0]]));
}

#[test]
fn hostile_78_the_total_wait_is_servers_times_attempts_times_the_timeout() {
    let mut stage = calm(&[Manner::Silent, Manner::Silent]);
    let begin = stage.lp.env.now;
    stage.ask("a.example");
    let (said, at) = stage.hear(1).remove(0);
    assert_eq!(said, Err(Error::Timeout));
    let waited = at.since(begin);
    assert!(
        waited >= TIMEOUT * 4 && waited < TIMEOUT * 4 + Duration::from_millis(20),
        "{waited:?}"
    );
    stage.end();
}

#[test]
fn the_same_question_is_asked_once_and_kept_as_long_as_it_holds() {
    let mut stage = calm(&[Manner::Honest]);
    for _ in 0..10 {
        stage.ask("a.example");
        stage.ask("A.Example");
    }
    assert!(stage.hear(20).iter().all(|(said, _)| said.is_ok()));
    assert_eq!(stage.asked(0), [1, 0]);
    stage.ask("a.example");
    let kept = stage.hear(1).remove(0).0.unwrap();
    assert!(kept.cached && kept.records[0].ttl <= 60);
    stage.ask("no.example");
    stage.ask("no.example");
    let heard = stage.hear(2);
    assert!(heard.iter().all(|(said, _)| *said == Err(Error::NoSuchName)));
    stage.ask("no.example");
    assert_eq!(stage.hear(1)[0].0, Err(Error::NoSuchName));
    assert_eq!(stage.asked(0), [2, 0]);
    stage.lp.world.jump(Duration::from_secs(61));
    stage.lp.turn(Some(Duration::ZERO)).unwrap();
    stage.ask("a.example");
    assert!(!stage.hear(1).remove(0).0.unwrap().cached);
    assert_eq!(stage.asked(0), [3, 0]);
    stage.end();
}

#[test]
fn hostile_74_what_holds_no_time_is_asked_again() {
    let mut stage = calm(&[Manner::Honest]);
    let server = stage.servers[0];
    stage.lp.get(server).protocol.ttl = 0;
    for count in 1..=3 {
        stage.ask("a.example");
        assert!(stage.hear(1)[0].0.is_ok());
        assert_eq!(stage.asked(0), [count, 0]);
    }
    stage.end();
}

#[test]
fn localhost_and_own_names_and_addresses_never_leave_the_machine() {
    let mut stage = calm(&[Manner::Honest]);
    let names = stage.names;
    let hosts = ["localhost", "x.LocalHost.", "own.example", "192.0.2.77", "a..b", "bücher"];
    for host in hosts {
        names.lookup(&mut stage.lp.env, host, move |env, found| {
            let list: &mut Vec<(&str, Result<Vec<IpAddr>, Error>)> = env.shared.one();
            list.push((host, found));
        });
    }
    for _ in 0..5 {
        stage.lp.turn(Some(Duration::ZERO)).unwrap();
    }
    let told: Vec<(&str, Result<Vec<IpAddr>, Error>)> = std::mem::take(stage.lp.env.shared.one());
    assert_eq!(told.len(), hosts.len());
    for (host, found) in told {
        match host {
            "own.example" => assert_eq!(found, Ok(vec!["192.0.2.9".parse().unwrap()])),
            "192.0.2.77" => assert_eq!(found, Ok(vec!["192.0.2.77".parse().unwrap()])),
            "a..b" | "bücher" => assert!(matches!(found, Err(Error::BadName(_))), "{found:?}"),
            _ => assert!(found.unwrap().iter().all(IpAddr::is_loopback), "{host}"),
        }
    }
    stage.ask("localhost");
    let here = Ok(vec![Data::A(Ipv4Addr::LOCALHOST)]);
    assert_eq!(addresses(&stage.hear(1)[0].0), here);
    assert_eq!(stage.asked(0), [0, 0]);
    stage.end();
}

/// Forty names, of servers of which one is honest, over a network that loses, doubles and turns
/// around: every question is answered once, and what is told is the truth.
fn rough(seed: u64) -> u64 {
    use Manner::{Fails, Honest, Nonsense, Old, Silent, Spoofed, Truncates};
    let other = [Silent, Fails, Nonsense, Truncates, Old, Spoofed][(seed % 6) as usize];
    let faults = Faults { loss: percent(20), ..Faults::rough() };
    let mut stage = Stage::new(seed, faults, &[other, Honest]);
    for n in 0..40 {
        stage.ask(&format!("n{n}.example"));
    }
    let heard = stage.hear(40);
    let (mut well, mut lost) = (0, 0);
    for (said, _) in &heard {
        match addresses(said) {
            Ok(list) => {
                assert_eq!(list, [Data::A(HERE)]);
                well += 1;
            }
            Err(_) => lost += 1,
        }
    }
    assert!(well > lost, "{well} answered, {lost} not");
    stage.end()
}

#[test]
fn hostile_72_under_loss_and_doubles_what_is_told_is_the_truth() {
    const TEST: &str = "hostile_72_under_loss_and_doubles_what_is_told_is_the_truth";
    check(300, loopwork_sim::cargo_test("loopwork-dns", TEST), rough);
}
