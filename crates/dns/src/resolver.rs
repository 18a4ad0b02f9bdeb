//! The resolver: which question is asked of whom, and when it is given up.
//!
//! Rules of this file:
//! * A question goes to one server after the other, and round again, `attempts` times; each may
//!   take `timeout`. So it ends after `servers * attempts * timeout` at the latest, for each name
//!   of a chain that the servers leave to us.
//! * An answer that says something (records, "no such name", "no such record") ends it; whatever
//!   else comes is a reason to ask the next server (SERVFAIL, REFUSED, nonsense, silence).
//! * State is looked at and let go before anyone is called: who is called may ask again.

use crate::cache::Cache;
use crate::config::Watched;
use crate::follow::follow;
use crate::lookup::Pair;
use crate::message::{Code, Data, Kind, Message, Record};
use crate::name::Name;
use crate::transport::{self, End, Port, Streams as Conns};
use crate::{Answer, Config, Error, Hosts};
use loopwork_tcp as tcp;
use loopwork_tcp::reactor::{Datagrams, Env, Handle, Instant, Key, Loop, Streams};
use loopwork_udp::{self as udp, BindOptions};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Questions on their way at once, each with a socket of its own. As many descriptors; a page has
/// some dozen hosts, of two questions each.
pub const SOCKETS: usize = 32;
/// Different questions that wait or are on their way, at most.
pub const QUESTIONS_MAX: usize = 4096;

type Then = Box<dyn FnOnce(&mut Env, Result<Answer, Error>)>;

/// One question to one server.
pub(crate) struct Way {
    task: usize,
    seat: usize,
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) edns: bool,
    pub(crate) server: SocketAddr,
    since: Instant,
    pub(crate) until: Instant,
}

/// One question, for all who asked it.
struct Task {
    key: (Name, Kind),
    /// The end of the chain, so far.
    asking: Name,
    chain: Vec<Record>,
    /// Servers that were asked for `asking`.
    tries: u32,
    /// Which one was the first.
    first: usize,
    edns: bool,
    /// The next try is over TCP.
    tcp: bool,
    waiting: Vec<Then>,
}

/// What a loop's resolver knows.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) hosts: Hosts,
    pub(crate) cache: Cache,
    tasks: Slab<Task>,
    running: HashMap<(Name, Kind), usize>,
    /// Tasks that wait for a socket.
    queue: VecDeque<usize>,
    /// Seats of those on their way that are empty.
    free: Vec<usize>,
    /// What a socket is being opened for.
    pub(crate) assigned: Vec<Option<Way>>,
    ports: Vec<Handle<udp::Host<Port>>>,
    conns: Option<Handle<tcp::Host<Conns>>>,
    turns: usize,
    pub(crate) pairs: Slab<Pair>,
    files: Option<Files>,
}

/// The machine's two files, and when they are looked at again.
struct Files {
    resolv_conf: Watched,
    hosts: Watched,
    next: Instant,
}

/// So often it is looked whether the machine's files have changed, at most: two system calls.
const LOOK: Duration = Duration::from_secs(1);

/// Who is to be told what, once the state is let go.
#[must_use]
pub(crate) struct Told(Option<(Vec<Then>, Result<Answer, Error>)>);

impl Told {
    pub(crate) fn run(self, env: &mut Env) {
        let Some((waiting, said)) = self.0 else { return };
        for then in waiting {
            then(env, said.clone());
        }
    }
}

/// A handle to ask with: copy it to whoever does.
#[derive(Clone, Copy)]
pub struct Resolver {
    pub(crate) state: Key<State>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// Adds a resolver to a loop. It opens sockets only while it asks.
    pub fn new<W: Datagrams + Streams>(lp: &mut Loop<W>, config: Config, hosts: Hosts) -> Resolver {
        let state = lp.env.shared.add(State {
            config,
            hosts,
            cache: Cache::default(),
            tasks: Slab::new(),
            running: HashMap::new(),
            queue: VecDeque::new(),
            free: (0..SOCKETS).rev().collect(),
            assigned: (0..SOCKETS).map(|_| None).collect(),
            ports: Vec::new(),
            conns: None,
            turns: 0,
            pairs: Slab::new(),
            files: None,
        });
        let port = |seat| udp::add(lp, udp::Options::default(), Port::new(state, seat));
        let ports = (0..SOCKETS).map(port).collect();
        let conns = tcp::add(lp, |_| Conns { state });
        let all = lp.env.shared.get(state);
        (all.ports, all.conns) = (ports, Some(conns));
        Resolver { state }
    }

    /// Adds one that goes by the machine's own files, and reads them again when they have changed,
    /// as a network comes and goes. What is read is short, and the disk's cache has it: the loop
    /// waits for it.
    pub fn system<W: Datagrams + Streams>(lp: &mut Loop<W>) -> Resolver {
        Resolver::of_files(lp, "/etc/resolv.conf", "/etc/hosts")
    }

    /// [`system`](Self::system) with other files of these forms.
    pub fn of_files<W: Datagrams + Streams>(
        lp: &mut Loop<W>,
        resolv_conf: impl Into<PathBuf>,
        hosts: impl Into<PathBuf>,
    ) -> Resolver {
        let names = Resolver::new(lp, Config::default(), Hosts::default());
        let (resolv_conf, hosts) = (Watched::new(resolv_conf.into()), Watched::new(hosts.into()));
        let files = Files { resolv_conf, hosts, next: lp.env.now };
        lp.env.shared.get(names.state).files = Some(files);
        names.look(&mut lp.env);
        names
    }

    /// Reads the files again if it is time, and they have changed.
    pub(crate) fn look(&self, env: &mut Env) {
        let now = env.now;
        let state = env.shared.get(self.state);
        let Some(files) = state.files.as_mut().filter(|files| files.next <= now) else { return };
        files.next = now.after(LOOK);
        if let Some(text) = files.resolv_conf.changed() {
            state.config = Config::parse(&text);
            state.cache.clear();
        }
        if let Some(text) = files.hosts.changed() {
            state.hosts = Hosts::parse(&text);
        }
    }

    /// From now on these are asked, in this way: Node's `dns.setServers`. Forgets the cache, and
    /// looks at the machine's files no more.
    pub fn set_config(&self, env: &mut Env, config: Config) {
        let state = env.shared.get(self.state);
        (state.config, state.files) = (config, None);
        state.cache.clear();
    }

    /// From now on the machine itself knows these names, and its files are looked at no more.
    pub fn set_hosts(&self, env: &mut Env, hosts: Hosts) {
        let state = env.shared.get(self.state);
        (state.hosts, state.files) = (hosts, None);
    }

    /// Whom it asks, and how: Node's `dns.getServers`.
    pub fn config<'e>(&self, env: &'e mut Env) -> &'e Config {
        &env.shared.get(self.state).config
    }

    /// Asks for the records of a name, as it is: no list of domains is tried, and the machine's
    /// own names are not looked at. `then` is called in a later phase or turn.
    pub fn ask(
        &self,
        env: &mut Env,
        name: &Name,
        kind: Kind,
        then: impl FnOnce(&mut Env, Result<Answer, Error>) + 'static,
    ) {
        let (now, key) = (env.now, (name.clone(), kind));
        let state = env.shared.get(self.state);
        if let Some(said) = state.cache.get(&key, now) {
            return env.defer(move |env| then(env, said));
        }
        if name.is_localhost() {
            let said = localhost(name, kind);
            return env.defer(move |env| then(env, said));
        }
        if let Some(task) = state.running.get(&key) {
            return state.tasks[*task].waiting.push(Box::new(then));
        }
        let bad = match () {
            () if state.tasks.len() >= QUESTIONS_MAX => Some(Error::Busy),
            () if state.config.servers.is_empty() => {
                Some(Error::Unreachable(std::io::ErrorKind::AddrNotAvailable))
            }
            () => None,
        };
        if let Some(bad) = bad {
            return env.defer(move |env| then(env, Err(bad)));
        }
        let first = if state.config.rotate { state.turns } else { 0 };
        state.turns = state.turns.wrapping_add(1);
        let tcp = state.config.tcp;
        let waiting: Vec<Then> = vec![Box::new(then)];
        let asking = name.clone();
        let (chain, tries, edns) = (Vec::new(), 0, true);
        let task = Task { key: key.clone(), asking, chain, tries, first, edns, tcp, waiting };
        let task = state.tasks.insert(task);
        state.running.insert(key, task);
        state.queue.push_back(task);
        State::start(self.state, env);
    }
}

impl State {
    /// Sends out what waits, as far as there are sockets.
    pub(crate) fn start(key: Key<State>, env: &mut Env) {
        loop {
            let now = env.now;
            let state = env.shared.get(key);
            let (Some(task), Some(seat)) = (state.queue.front().copied(), state.free.pop()) else {
                return;
            };
            state.queue.pop_front();
            let way = state.way(task, seat, now);
            match state.conns.filter(|_| state.tasks[task].tcp) {
                Some(conns) => transport::dial(env, conns, way),
                None => {
                    let (from, port) = (from(way.server.ip()), state.ports[seat]);
                    state.assigned[seat] = Some(way);
                    // Answers are short, and one comes at a time.
                    let mut how = BindOptions::default();
                    how.gro = false;
                    udp::post_open(env, port, from, how);
                }
            }
        }
    }

    fn way(&self, task: usize, seat: usize, now: Instant) -> Way {
        let of = &self.tasks[task];
        let servers = &self.config.servers;
        let at = of.first.wrapping_add(of.tries as usize) % servers.len().max(1);
        let none = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        let server = servers.get(at).copied().unwrap_or(none);
        let (name, kind) = (of.asking.clone(), of.key.1);
        let until = now.after(self.config.timeout);
        Way { task, seat, name, kind, edns: of.edns, server, since: now, until }
    }

    /// A question to a server has ended.
    pub(crate) fn ended(&mut self, way: Way, end: End, tcp: bool) -> Told {
        self.free.push(way.seat);
        let why = match end {
            End::Answer(message) => match self.answered(&way, message, tcp) {
                Ok(told) => return told,
                Err(why) => why,
            },
            End::Malformed => Error::Malformed,
            End::Timeout => Error::Timeout,
            End::Failed(kind) => Error::Unreachable(kind),
        };
        let rounds = self.config.servers.len() as u32 * self.config.attempts;
        let task = &mut self.tasks[way.task];
        task.tries += 1;
        if task.tries >= rounds {
            return self.finish(way.task, Err(why));
        }
        task.tcp = self.config.tcp;
        self.queue.push_back(way.task);
        Told(None)
    }

    /// A server has answered; an error is a reason to ask the next one.
    fn answered(&mut self, way: &Way, message: Message, tcp: bool) -> Result<Told, Error> {
        let task = &mut self.tasks[way.task];
        if message.truncated && !tcp {
            // RFC 7766, 5: the same question, of the same server, over TCP.
            task.tcp = true;
            self.queue.push_front(way.task);
            return Ok(Told(None));
        }
        match message.code {
            Code::NoError | Code::NxDomain => {}
            // RFC 6891, 7: it may be too old for the extension.
            Code::FormErr if task.edns => {
                task.edns = false;
                self.queue.push_front(way.task);
                return Ok(Told(None));
            }
            code => return Err(Error::Server(code)),
        }
        let before = task.chain.len();
        let found = follow(&message.records, way.kind, &mut task.asking, &mut task.chain);
        let said = match found {
            Err(why) => Err(why),
            Ok(records) if !records.is_empty() => {
                let chain = std::mem::take(&mut task.chain);
                let server = Some(way.server);
                Ok(Answer { records, chain, server, tcp, cached: false })
            }
            Ok(_) if message.code == Code::NxDomain => Err(Error::NoSuchName),
            // It leaves the rest of the chain to us.
            Ok(_) if task.chain.len() > before && message.negative_ttl.is_none() => {
                task.tries = 0;
                task.tcp = self.config.tcp;
                self.queue.push_back(way.task);
                return Ok(Told(None));
            }
            Ok(_) => Err(Error::NoData),
        };
        let key = task.key.clone();
        // It holds from when it was asked for: the way here takes time, too.
        self.cache.put(key, way.since, said.clone(), message.negative_ttl.unwrap_or(0));
        Ok(self.finish(way.task, said))
    }

    fn finish(&mut self, task: usize, said: Result<Answer, Error>) -> Told {
        let task = self.tasks.remove(task);
        self.running.remove(&task.key);
        Told(Some((task.waiting, said)))
    }
}

/// RFC 6761, 6.3: it is this machine, and no server is asked, whatever is wanted of it.
fn localhost(name: &Name, kind: Kind) -> Result<Answer, Error> {
    let data = match kind {
        Kind::A => Data::A(Ipv4Addr::LOCALHOST),
        Kind::Aaaa => Data::Aaaa(Ipv6Addr::LOCALHOST),
        _ => return Err(Error::NoData),
    };
    let records = vec![Record { name: name.clone(), ttl: 0, data }];
    Ok(Answer { records, ..Answer::default() })
}

/// Where a question to this server leaves from: a port that the kernel draws.
fn from(server: IpAddr) -> SocketAddr {
    let ip: IpAddr = match server {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    (ip, 0).into()
}
