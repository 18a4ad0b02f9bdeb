//! What programs ask a resolver: the addresses of a host, the records of a name as a user writes
//! it, the names of an address.
//!
//! Rules of this file:
//! * An address that is written out is itself; then come the machine's own names, then servers.
//! * RFC 6761, 6.3: `localhost` and what is below it are loopback, and leave the machine never.
//! * A name that servers do not have is looked for in the next domain of the list; a failure ends
//!   the search, since another name's answer might be the wrong one.

use crate::message::{Data, Kind};
use crate::name::Name;
use crate::resolver::Resolver;
use crate::{Answer, Error};
use loopwork_tcp::reactor::Env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::IntoIter;

/// What came of either family.
pub(crate) type Half = Result<Vec<IpAddr>, Error>;

/// Two questions, of which the later answer is told what both said: IPv6, then IPv4.
pub(crate) struct Pair {
    first: Option<Half>,
    then: Halves,
}

/// Who is told what came of both families.
type Halves = Box<dyn FnOnce(&mut Env, Half, Half)>;
/// Who is told the addresses of a host.
type Whole = Box<dyn FnOnce(&mut Env, Half)>;

impl Resolver {
    /// The addresses of a host, those of IPv6 first: Node's `dns.lookup` with `all`. `then` is
    /// called in a later phase or turn.
    pub fn lookup(
        &self,
        env: &mut Env,
        host: &str,
        then: impl FnOnce(&mut Env, Result<Vec<IpAddr>, Error>) + 'static,
    ) {
        self.look(env);
        match self.known(env, host) {
            Ok(Ok(known)) => env.defer(move |env| then(env, Ok(known))),
            Ok(Err(names)) => self.both(env, names.into_iter(), Error::NoSuchName, Box::new(then)),
            Err(why) => env.defer(move |env| then(env, Err(why))),
        }
    }

    /// What the machine knows by itself, or the names to ask for.
    fn known(&self, env: &mut Env, host: &str) -> Result<Result<Vec<IpAddr>, Vec<Name>>, Error> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Ok(vec![ip]));
        }
        let name = Name::new(host)?;
        if name.as_str().is_empty() {
            return Err(Error::NoSuchName);
        }
        let state = env.shared.get(self.state);
        let own = state.hosts.addresses(&name);
        if name.is_localhost() {
            let own: Vec<IpAddr> = own.iter().copied().filter(IpAddr::is_loopback).collect();
            let both = || vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
            return Ok(Ok(if own.is_empty() { both() } else { own }));
        }
        if !own.is_empty() {
            return Ok(Ok(own.to_vec()));
        }
        Ok(Err(state.config.candidates(&name, host.ends_with('.'))))
    }

    /// Asks for both families of the next name; `worst` is what the names before it said.
    fn both(self, env: &mut Env, mut names: IntoIter<Name>, worst: Error, then: Whole) {
        let Some(name) = names.next() else { return env.defer(move |env| then(env, Err(worst))) };
        self.pair(env, &name, move |env, six, four| {
            let why = match (six, four) {
                (Ok(six), Ok(four)) => return then(env, Ok([six, four].concat())),
                (Ok(some), Err(_)) | (Err(_), Ok(some)) => return then(env, Ok(some)),
                (Err(Error::NoSuchName), Err(Error::NoSuchName)) => worst,
                (Err(no), Err(why)) | (Err(why), Err(no)) if is_no(no) => why,
                (Err(why), Err(_)) => why,
            };
            match is_no(why) {
                true => self.both(env, names, why, then),
                false => then(env, Err(why)),
            }
        });
    }

    /// Asks for both families at once.
    fn pair(self, env: &mut Env, name: &Name, then: impl FnOnce(&mut Env, Half, Half) + 'static) {
        let pair = Pair { first: None, then: Box::new(then) };
        let seat = env.shared.get(self.state).pairs.insert(pair);
        for kind in [Kind::Aaaa, Kind::A] {
            self.ask(env, name, kind, move |env, said| {
                let half = said.map(|answer| answer.records.iter().filter_map(address).collect());
                let pairs = &mut env.shared.get(self.state).pairs;
                let Some(first) = pairs[seat].first.take() else {
                    pairs[seat].first = Some(half);
                    return;
                };
                let pair = pairs.remove(seat);
                let (six, four) = match kind {
                    Kind::A => (first, half),
                    _ => (half, first),
                };
                (pair.then)(env, six, four);
            });
        }
    }

    /// The records of a name as a user writes it, below the domains that are searched, too: Node's
    /// `dns.resolve`. `then` is called in a later phase or turn.
    pub fn resolve(
        &self,
        env: &mut Env,
        text: &str,
        kind: Kind,
        then: impl FnOnce(&mut Env, Result<Answer, Error>) + 'static,
    ) {
        self.look(env);
        match Name::new(text) {
            Ok(name) => {
                let names = self.config(env).candidates(&name, text.ends_with('.'));
                self.search(env, names.into_iter(), kind, Error::NoSuchName, Box::new(then));
            }
            Err(why) => env.defer(move |env| then(env, Err(why.into()))),
        }
    }

    /// `worst` is what the names before said.
    fn search(
        self,
        env: &mut Env,
        mut names: IntoIter<Name>,
        kind: Kind,
        worst: Error,
        then: Next,
    ) {
        let Some(name) = names.next() else { return env.defer(move |env| then(env, Err(worst))) };
        self.ask(env, &name, kind, move |env, said| match said {
            Err(Error::NoSuchName) => self.search(env, names, kind, worst, then),
            Err(Error::NoData) => self.search(env, names, kind, Error::NoData, then),
            said => then(env, said),
        });
    }

    /// The names of an address: Node's `dns.reverse`. The machine's own file is not looked at.
    pub fn reverse(
        &self,
        env: &mut Env,
        ip: IpAddr,
        then: impl FnOnce(&mut Env, Result<Vec<Name>, Error>) + 'static,
    ) {
        self.ask(env, &Name::reverse(ip), Kind::Ptr, move |env, said| {
            let names = said.map(|answer| {
                let name = |record: crate::Record| match record.data {
                    Data::Ptr(name) => Some(name),
                    _ => None,
                };
                answer.records.into_iter().filter_map(name).collect()
            });
            then(env, names);
        });
    }
}

/// Who is told, boxed: a search that goes on would else be a type within a type without end.
type Next = Box<dyn FnOnce(&mut Env, Result<Answer, Error>)>;

/// The servers know, and say no.
fn is_no(why: Error) -> bool {
    matches!(why, Error::NoSuchName | Error::NoData)
}

fn address(record: &crate::Record) -> Option<IpAddr> {
    match record.data {
        Data::A(ip) => Some(ip.into()),
        Data::Aaaa(ip) => Some(ip.into()),
        _ => None,
    }
}
