//! The agent: what fetches share, and the fetches that are under way.
//!
//! Rules of this file:
//! * A fetch that works is out of the list, so that its taker may call the agent; what it is
//!   wished meanwhile stays in the list, and is looked at when it is back.
//! * A fetch holds the loop, connected or not: it has an end to tell.

use super::names::Names;
use super::run::Run;
use super::{Error, Fetch, Proxies, Taker};
use crate::dns::Resolver;
use crate::http::Url;
use crate::http::client::Client;
use crate::reactor::{Cx, Driver, Key, Ready, Streams};
use crate::tcp::Family;
use crate::{Address, Env, Id, Loop, World};
use slab::Slab;
use std::rc::Rc;

/// What all fetches of an agent have in common.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Which addresses of a name are tried, and which first: any, as the resolver sorted them.
    pub family: Family,
    /// Who asks for others: nobody.
    pub proxies: Proxies,
    /// What `User-Agent` says where a fetch has none: `loopwork/` and the version.
    pub user_agent: Option<String>,
    /// Who finds the addresses of names: the system's resolver, in a thread, which knows all that
    /// the machine is set up for. A [`Resolver`] of this loop needs no thread, keeps what it has
    /// found, and runs in a simulated world.
    pub resolver: Option<Resolver>,
    pins: Vec<(String, u16, Vec<Address>)>,
    /// `https` is spoken.
    secure: bool,
}

impl Settings {
    /// From now on these are the addresses of a host at a port, and no resolver is asked: as
    /// curl's `--resolve`. One may be a Unix socket. They are tried in their order, but
    /// that whoever answered last comes first.
    pub fn pin<A: Into<Address>>(
        &mut self,
        host: &str,
        port: u16,
        addresses: impl IntoIterator<Item = A>,
    ) {
        let (host, addresses) = (host.to_ascii_lowercase(), addresses.into_iter().map(Into::into));
        self.pins.retain(|(name, at, _)| (name, *at) != (&host, port));
        self.pins.push((host, port, addresses.collect()));
    }

    /// The addresses that were said to be a host's.
    pub(super) fn pinned(&self, host: &str, port: u16) -> Option<&[Address]> {
        let pin = self.pins.iter().find(|(name, at, _)| name == host && *at == port);
        pin.map(|(_, _, addresses)| &addresses[..])
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            family: Family::Any,
            proxies: Proxies::none(),
            user_agent: Some(concat!("loopwork/", env!("CARGO_PKG_VERSION")).to_string()),
            resolver: None,
            pins: Vec::new(),
            secure: false,
        }
    }
}

/// A handle to fetch with: copy it to whoever does. Its connections are kept and used again.
#[derive(Clone, Copy)]
pub struct Agent {
    state: Key<State>,
    /// Who speaks `http`.
    http: Client,
    driver: u16,
}

/// The name of a fetch; of one that is over it means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetching(pub(super) Id);

/// What an agent knows.
struct State {
    settings: Rc<Settings>,
    seats: Slab<Seat>,
    names: Names,
}

/// A fetch, and what it is wished while it works.
struct Seat {
    birth: u64,
    run: Option<Box<Run>>,
    resumed: bool,
    cancelled: bool,
}

/// What a fetch finds when it gets to work.
#[derive(Clone, Copy)]
pub(super) struct Wished {
    pub(super) resumed: bool,
    pub(super) cancelled: bool,
}

/// The driver: fetches are woken by their exchanges.
struct Wakes {
    agent: Option<Agent>,
}

impl Agent {
    /// Adds an agent to a loop, with a client of its own.
    pub fn new<W: Streams>(lp: &mut Loop<W>) -> Agent {
        let client = Client::new(lp);
        Agent::with(lp, client, Settings::default())
    }

    /// Adds an agent that asks with this client, whose limits and deadlines hold.
    pub fn with<W: Streams>(lp: &mut Loop<W>, client: Client, settings: Settings) -> Agent {
        let (settings, seats, names) = (Rc::new(settings), Slab::new(), Names::default());
        let state = lp.env.shared.add(State { settings, seats, names });
        let wakes = lp.add(|_| Wakes { agent: None });
        let agent = Agent { state, http: client, driver: wakes.driver };
        lp.get(wakes).agent = Some(agent);
        agent
    }

    /// What is so of fetches that begin from now on.
    pub fn settings<'e>(&self, env: &'e mut Env) -> &'e mut Settings {
        Rc::make_mut(&mut env.shared.get(self.state).settings)
    }

    /// Goes on with a fetch whose taker was [full](crate::Flow::Full), or has more to send.
    pub fn resume(&self, env: &mut Env, fetching: Fetching) {
        if let Some(seat) = self.seat(env, fetching.0) {
            seat.resumed = true;
            env.wake(fetching.0);
        }
    }

    /// Ends a fetch: [`Taker::on_end`] comes with [`Error::Cancelled`], in this turn or the next,
    /// and nothing before it. Its connection is given up unless the answer was complete.
    pub fn cancel(&self, env: &mut Env, fetching: Fetching) {
        if let Some(seat) = self.seat(env, fetching.0) {
            seat.cancelled = true;
            env.wake(fetching.0);
        }
    }

    /// From now on `https` is spoken, too, with those that `make`'s configuration believes: see
    /// [`secure`](crate::secure), which gives the same; through proxies by tunnels.
    #[cfg(feature = "tls")]
    pub fn secure<W: Streams>(
        &self,
        lp: &mut Loop<W>,
        make: impl Fn() -> Result<
            std::sync::Arc<crate::tls::rustls::ClientConfig>,
            crate::tls::config::Refused,
        > + 'static,
    ) -> crate::Handle<crate::tcp::Host<crate::Secure>> {
        let host = crate::secure(lp, self.http, make);
        self.settings(&mut lp.env).secure = true;
        host
    }

    /// Who speaks this scheme, and whom it is to lead to at this address.
    pub(super) fn client(&self, url: &Url, settings: &Settings) -> Result<Client, Error> {
        match &*url.scheme {
            "http" => Ok(self.http),
            "https" if settings.secure => Ok(self.http),
            scheme => Err(Error::Scheme(scheme.to_string())),
        }
    }

    pub(super) fn resolver(&self, env: &mut Env) -> Option<Resolver> {
        env.shared.get(self.state).settings.resolver
    }

    pub(super) fn names<'e>(&self, env: &'e mut Env) -> &'e mut Names {
        &mut env.shared.get(self.state).names
    }

    pub(super) fn begin(&self, env: &mut Env, fetch: Fetch, taker: Box<dyn Taker>) -> Fetching {
        let birth = env.calls.birth();
        let state = env.shared.get(self.state);
        let slot = state.seats.vacant_key() as u32;
        let id = Id { birth, slot, driver: self.driver };
        let run = Box::new(Run::new(*self, id, fetch, taker, state.settings.clone()));
        state.seats.insert(Seat { birth, run: Some(run), resumed: false, cancelled: false });
        env.calls.hold();
        env.wake(id);
        Fetching(id)
    }

    fn seat<'e>(&self, env: &'e mut Env, id: Id) -> Option<&'e mut Seat> {
        let seats = &mut env.shared.get(self.state).seats;
        seats.get_mut(id.slot as usize).filter(|seat| seat.birth == id.birth)
    }

    /// Whether nothing more is to be told to this fetch but its end.
    pub(super) fn cancelled(&self, env: &mut Env, id: Id) -> bool {
        self.seat(env, id).is_none_or(|seat| seat.cancelled)
    }

    /// Lets a fetch work, if it is not over. It cannot be at work already: only the loop calls.
    pub(super) fn work(
        &self,
        env: &mut Env,
        id: Id,
        f: impl FnOnce(&mut Run, &mut Env, Wished) -> Option<Result<super::Done, Error>>,
    ) {
        let Some(seat) = self.seat(env, id) else { return };
        let wished =
            Wished { resumed: std::mem::take(&mut seat.resumed), cancelled: seat.cancelled };
        let Some(mut run) = seat.run.take() else { return };
        match f(&mut run, env, wished) {
            None => {
                if let Some(seat) = self.seat(env, id) {
                    seat.run = Some(run);
                }
            }
            Some(end) => {
                env.shared.get(self.state).seats.remove(id.slot as usize);
                run.end(env, end);
                env.calls.release();
            }
        }
    }
}

impl<W: World> Driver<W> for Wakes {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}

    fn on_wake(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if let Some(agent) = self.agent {
            agent.work(cx.env, id, Run::step);
        }
    }
}
