//! One fetch at work: from its URL over addresses and redirects to its end.
//!
//! Rules of this file:
//! * [`Run::step`] looks at what is so, and does what can be done: it may be called at any time.
//! * `Some(end)` is the end, wherever it is found; [`Run::end`] alone cleans up.
//! * A body is streamed: of an upload at most the client's pipe is kept besides, until the
//!   connection is known to stand; of a download nothing.

use super::agent::{Agent, Wished};
use super::names::{Found, Place};
use super::{Asking, Content, Done, Error, Fetch, Fetching, Head, Lines, Settings, Taker};
use crate::http::Url;
use crate::http::client::{Client, Failure, Peer, Ticket, Tunnel};
use crate::http::core::Body;
use crate::http::core::Invalid;
use crate::http::core::encode::{Connection, RequestHead};
use crate::http::inflate::{self, Inflate};
use crate::http::redirect::{Chain, Next};
use crate::reactor::CallKey;
use crate::tcp::{self, ADDRESSES_MAX};
use crate::{Address, Env, Flow, Id, Instant};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Of the body of a redirect so much is read to keep the connection; a longer one costs more.
const DROP_MAX: u64 = 64 * 1024;
/// One write of a body that is there as a whole: the client keeps little more of it.
const CHUNK: usize = 64 * 1024;
/// Chunks that are decoded in a turn, so that others have theirs.
const SHARE: usize = 16;

/// How it ended, if it has.
type End = Option<Result<Done, Error>>;

/// The end of who has had enough.
const CANCELLED: End = Some(Err(Error::Cancelled));

/// Where a request stands.
enum Stage {
    /// It is not sent yet: its name is looked up.
    Name,
    /// The answer's head is awaited.
    Head,
    /// Its body is handed over.
    Body,
    /// It redirects: its body is dropped, so many bytes so far.
    Redirect(Box<Next>, u64),
}

/// A fetch.
pub(super) struct Run {
    agent: Agent,
    id: Id,
    taker: Box<dyn Taker>,
    settings: Rc<Settings>,
    fetch: Fetch,
    /// What is asked for now, and how.
    url: Option<Url>,
    method: String,
    with_body: bool,
    chain: Chain,
    follows: bool,
    /// Whose addresses these are: the server's, or the proxy's.
    place: Place,
    /// There is more than one.
    several: bool,
    addresses: VecDeque<Address>,
    to: Option<Address>,
    exchange: Option<(Client, Ticket)>,
    stage: Stage,
    sent: Sent,
    /// The taker is full.
    full: bool,
    /// Bytes of the body that were handed over.
    taken: u64,
    /// What decodes it.
    inflate: Option<Inflate>,
    deadline: Option<(Instant, CallKey)>,
}

/// What was sent of the body.
#[derive(Default)]
struct Sent {
    /// Of bytes, how many.
    bytes: usize,
    /// Of a stream, what a connection may not have taken: it is sent again to the next address.
    /// `None` when one has.
    kept: Option<Vec<u8>>,
    /// The client was full: when it no longer is, a connection stands.
    full: bool,
    /// The stream has ended.
    ended: bool,
}

impl Run {
    pub(super) fn new(
        agent: Agent,
        id: Id,
        mut fetch: Fetch,
        taker: Box<dyn Taker>,
        mut settings: Rc<Settings>,
    ) -> Run {
        if let Some(proxies) = fetch.proxies.take() {
            Rc::make_mut(&mut settings).proxies = proxies;
        }
        Run {
            agent,
            id,
            taker,
            settings,
            url: None,
            method: fetch.method.clone(),
            with_body: fetch.body != Content::None,
            chain: Chain::new(fetch.follow.clone().unwrap_or_default()),
            follows: fetch.follow.is_some(),
            place: Place::default(),
            several: false,
            addresses: VecDeque::new(),
            to: None,
            exchange: None,
            stage: Stage::Name,
            sent: Sent { kept: Some(Vec::new()), ..Sent::default() },
            full: false,
            taken: 0,
            inflate: None,
            deadline: None,
            fetch,
        }
    }

    /// It is over. The taker hears of it when nothing of the fetch is left.
    pub(super) fn end(mut self: Box<Self>, env: &mut Env, end: Result<Done, Error>) {
        self.let_go(env);
        if let Some((_, call)) = self.deadline {
            env.calls.cancel(call);
        }
        self.taker.on_end(env, end);
    }

    fn let_go(&mut self, env: &mut Env) {
        if let Some((client, ticket)) = self.exchange.take() {
            client.release(env, ticket);
        }
    }

    /// Something has come, or may go.
    pub(super) fn step(&mut self, env: &mut Env, wished: Wished) -> End {
        if wished.cancelled {
            return CANCELLED;
        }
        if self.deadline.is_some_and(|(at, _)| env.now >= at) {
            return Some(Err(Error::TimedOut));
        }
        self.full &= !wished.resumed;
        if self.url.is_none() {
            return self.begin(env);
        }
        self.go_on(env)
    }

    /// Whether its taker has had enough: looked at before it is called again.
    fn cancelled(&self, env: &mut Env) -> bool {
        self.agent.cancelled(env, self.id)
    }

    fn begin(&mut self, env: &mut Env) -> End {
        if let Some(time) = self.fetch.timeout {
            let id = self.id;
            // The instant of the wake itself: counted from any other it could wake too early.
            self.deadline = Some((env.now.after(time), env.after(time, move |env| env.wake(id))));
        }
        match self.fetch.url.clone() {
            Err(bad) => Some(Err(Error::Url(bad))),
            // A tunnel is no page.
            Ok(_) if self.method == "CONNECT" => Some(Err(Error::Request(Invalid::Method))),
            Ok(url) => self.seek(env, url),
        }
    }

    /// Looks for the addresses of whoever is to be asked: the server, or the proxy.
    fn seek(&mut self, env: &mut Env, url: Url) -> End {
        self.stage = Stage::Name;
        if let Err(error) = self.agent.client(&url, &self.settings) {
            return Some(Err(error));
        }
        let next = self.settings.proxies.of(&url).unwrap_or(&url);
        self.place = (next.host.clone(), next.port);
        self.url = Some(url);
        let (host, port) = &self.place;
        if let Some(addresses) = self.settings.pinned(host, *port) {
            let addresses = addresses.to_vec();
            return self.ask_first(env, addresses, "it is pinned to nothing");
        }
        self.agent.look_up(env, self.place.clone(), self.id);
        None
    }

    /// The name has been looked up.
    pub(super) fn found(&mut self, env: &mut Env, wished: Wished, found: &Found) -> End {
        if wished.cancelled {
            return CANCELLED;
        }
        let end = match found {
            Err(why) => Some(Err(Error::Name { host: self.place.0.clone(), why: why.clone() })),
            Ok(list) => {
                let list = tcp::prefer(list.clone(), self.settings.family);
                let addresses = in_turns(list).into_iter().map(Address::from).collect();
                self.ask_first(env, addresses, "it has no address of the wanted family")
            }
        };
        end.or_else(|| self.step(env, wished))
    }

    fn ask_first(&mut self, env: &mut Env, mut addresses: Vec<Address>, why: &str) -> End {
        self.agent.names(env).order(&self.place, &mut addresses);
        self.several = addresses.len() > 1;
        self.addresses = addresses.into();
        let (host, why) = (self.place.0.clone(), why.to_string());
        self.ask(env, || Error::Name { host, why })
    }

    /// Remembers who answers, where there is a choice.
    fn note(&self, env: &mut Env, answers: bool) {
        if let (Some(to), true) = (&self.to, self.several) {
            self.agent.names(env).note(&self.place, to, answers);
        }
    }

    /// Sends the request to the next address; if there is none, that is the end.
    fn ask(&mut self, env: &mut Env, none: impl FnOnce() -> Error) -> End {
        let (Some(url), Some(to)) = (self.url.clone(), self.addresses.pop_front()) else {
            return Some(Err(none()));
        };
        if self.cancelled(env) {
            return CANCELLED;
        }
        let client = match self.agent.client(&url, &self.settings) {
            Ok(client) => client,
            Err(error) => return Some(Err(error)),
        };
        let (method, headers) = (self.method.clone(), self.headers(&url));
        let own = self.fetch.host.clone().filter(|_| self.chain.sends("Host"));
        let (host, target) = (own.unwrap_or_else(|| url.authority()), self.target(&url));
        let close = self.fetch.close;
        let connection = if close { Connection::Close } else { Connection::Implicit };
        let body = self.framing();
        let head = RequestHead { method: &method, target: &target, host: &host, body, connection };
        let asking =
            Asking { fetching: Fetching(self.id), url: &url, to: &to, head, headers: &headers };
        self.taker.on_asking(env, &asking);
        let lines = headers.iter().map(|(name, value)| (name, value));
        let name = (url.scheme == "https").then(|| url.host.as_str().into());
        let through = self.tunnel(&url);
        let peer = Peer { at: to.clone(), name, through };
        match client.request(env, peer, self.id, &head, lines) {
            Err(why) => return Some(Err(Error::Request(why))),
            Ok(ticket) => self.exchange = Some((client, ticket)),
        }
        (self.to, self.stage) = (Some(to), Stage::Head);
        self.send_again(env);
        self.upload(env);
        None
    }

    /// The proxy that is asked itself; of one that leads to a server by a tunnel the request knows
    /// nothing.
    fn proxy(&self, url: &Url) -> Option<&Url> {
        self.settings.proxies.of(url).filter(|_| url.scheme != "https")
    }

    fn tunnel(&self, url: &Url) -> Option<Arc<Tunnel>> {
        let proxy = self.settings.proxies.of(url).filter(|_| url.scheme == "https")?;
        let authorization = proxy.login.as_ref().map(|login| login.basic());
        Some(Tunnel::to(url, authorization))
    }

    /// A proxy is told the whole URL (RFC 9112 §3.2.2).
    fn target(&self, url: &Url) -> String {
        match self.proxy(url) {
            Some(_) => url.to_string(),
            None => url.target.clone(),
        }
    }

    fn framing(&self) -> Body {
        match &self.fetch.body {
            Content::Bytes(bytes) if self.with_body => Body::Length(bytes.len() as u64),
            Content::Stream(Some(length)) if self.with_body => Body::Length(*length),
            Content::Stream(None) if self.with_body => Body::Chunked,
            // RFC 9110 §8.6: where a body is expected, its absence is said.
            _ if matches!(&*self.method, "POST" | "PUT" | "PATCH") => Body::Length(0),
            _ => Body::None,
        }
    }

    fn headers(&self, url: &Url) -> Vec<(String, String)> {
        let given = self.fetch.headers.iter().filter(|(name, _)| self.chain.sends(name));
        let mut list: Vec<(String, String)> = given.cloned().collect();
        let ours = [
            ("User-Agent", self.settings.user_agent.clone()),
            ("Accept-Encoding", self.fetch.inflate.map(|_| inflate::ACCEPT.to_string())),
            ("Authorization", url.login.as_ref().map(|login| login.basic())),
            ("Proxy-Authorization", self.proxy(url).and_then(|p| Some(p.login.as_ref()?.basic()))),
        ];
        for (name, value) in ours {
            let named = list.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
            if let (Some(value), false) = (value, named) {
                list.push((name.to_string(), value));
            }
        }
        list
    }

    /// What the address before did not take, of a stream; bytes begin again.
    fn send_again(&mut self, env: &mut Env) {
        (self.sent.bytes, self.sent.full) = (0, false);
        let (Some((client, ticket)), true) = (self.exchange, self.with_body) else { return };
        if let Some(kept) = self.sent.kept.as_ref().filter(|kept| !kept.is_empty()) {
            self.sent.full = client.write(env, ticket, kept) == Flow::Full;
        }
        if self.sent.ended {
            client.finish(env, ticket);
        }
    }

    fn upload(&mut self, env: &mut Env) {
        let (Some((client, ticket)), true) = (self.exchange, self.with_body) else { return };
        let sent = &mut self.sent;
        match &self.fetch.body {
            Content::None => {}
            Content::Bytes(bytes) => {
                while sent.bytes < bytes.len() && client.flow(env, ticket) == Flow::Open {
                    let end = bytes.len().min(sent.bytes + CHUNK);
                    let _ = client.write(env, ticket, &bytes[sent.bytes..end]);
                    sent.bytes = end;
                }
            }
            Content::Stream(_) => {
                if sent.ended || client.flow(env, ticket) == Flow::Full {
                    return;
                }
                if sent.full {
                    sent.kept = None;
                }
                self.taker.on_upload(&mut Upload { env, client, ticket, sent });
            }
        }
    }

    fn go_on(&mut self, env: &mut Env) -> End {
        self.upload(env);
        if self.cancelled(env) {
            return CANCELLED;
        }
        let (client, ticket) = self.exchange?;
        if let Stage::Head = self.stage {
            let url = self.url.as_ref()?;
            let x = client.exchange(&mut env.shared, ticket)?;
            let mut interim = Vec::new();
            let connection = x.connection();
            x.interim(|response| interim.push(Head::of(url, &response, connection)));
            let head = x.response().map(|response| Head::of(url, &response, connection));
            let failure = x.failure();
            for head in &interim {
                self.taker.on_interim(env, head);
                if self.cancelled(env) {
                    return CANCELLED;
                }
            }
            match (head, failure) {
                (Some(head), _) => {
                    if let Some(end) = self.head(env, head) {
                        return Some(end);
                    }
                }
                (None, Some(why)) => return self.failed(env, why),
                (None, None) => return None,
            }
        }
        match self.stage {
            Stage::Redirect(..) => self.drop_body(env, client, ticket),
            _ => self.body(env, client, ticket),
        }
    }

    /// The answer's head is here.
    fn head(&mut self, env: &mut Env, head: Head) -> End {
        self.sent.kept = None;
        self.note(env, true);
        let location = head.headers.get("Location").filter(|_| self.follows);
        match self.chain.next(&head.url, &self.method, head.status, location) {
            Err(why) => Some(Err(Error::Redirect { from: Box::new(head.url), why })),
            Ok(Some(next)) => {
                let again = self.with_body && next.with_body;
                if again && matches!(self.fetch.body, Content::Stream(_)) {
                    return Some(Err(Error::Replay));
                }
                self.taker.on_redirect(env, &head, &next.url);
                self.stage = Stage::Redirect(Box::new(next), 0);
                None
            }
            Ok(None) => {
                let fields = head.headers.all("Content-Encoding");
                let coding = self.fetch.inflate.map(|caps| Inflate::new(fields, caps));
                self.taker.on_head(env, head);
                self.stage = Stage::Body;
                let (client, ticket) = self.exchange?;
                let body = client.exchange(&mut env.shared, ticket)?.body();
                if !matches!(body, Some(Body::None | Body::Length(0))) {
                    match coding.unwrap_or(Ok(None)) {
                        Ok(inflate) => self.inflate = inflate,
                        Err(why) => return Some(Err(Error::Coding(why))),
                    }
                }
                match (body, self.fetch.limit) {
                    (Some(Body::Length(n)), Some(limit)) if n > limit && self.inflate.is_none() => {
                        Some(Err(Error::TooLong(limit)))
                    }
                    _ => None,
                }
            }
        }
    }

    fn body(&mut self, env: &mut Env, client: Client, ticket: Ticket) -> End {
        if self.cancelled(env) {
            return CANCELLED;
        }
        if !self.full {
            let mut bytes = env.pool.take();
            if !self.more() {
                let x = client.exchange(&mut env.shared, ticket)?;
                x.pull(&mut env.calls, Flow::Open, |some| bytes.extend_from_slice(some));
            }
            let end = match self.inflate.take() {
                None => self.give(env, &bytes),
                Some(mut inflate) => {
                    inflate.push(&bytes);
                    let end = self.decode(env, &mut inflate);
                    self.inflate = Some(inflate);
                    end
                }
            };
            env.pool.give(bytes);
            if end.is_some() {
                return end;
            }
        }
        if self.more() {
            return None;
        }
        let x = client.exchange(&mut env.shared, ticket)?;
        if x.done() {
            let trailers = x.trailers().map(|t| Lines::of(&t)).unwrap_or_default();
            let whole = self.inflate.as_ref().map_or(Ok(()), Inflate::end);
            let redirects = self.chain.followed();
            return Some(whole.map(|()| Done { trailers, redirects }).map_err(Error::Coding));
        }
        let why = x.failure().filter(|_| !self.full)?;
        self.failed(env, why)
    }

    /// What came has not been decoded to its end.
    fn more(&self) -> bool {
        self.inflate.as_ref().is_some_and(Inflate::more)
    }

    /// Hands over a part of the body.
    fn give(&mut self, env: &mut Env, bytes: &[u8]) -> End {
        self.taken += bytes.len() as u64;
        match self.fetch.limit {
            Some(limit) if self.taken > limit => return Some(Err(Error::TooLong(limit))),
            _ if bytes.is_empty() => return None,
            _ => self.full = self.taker.on_body(env, bytes) == Flow::Full,
        }
        if self.cancelled(env) { CANCELLED } else { None }
    }

    /// Hands over what can be decoded of what came: of much only a turn's share.
    fn decode(&mut self, env: &mut Env, inflate: &mut Inflate) -> End {
        let mut piece = env.pool.take();
        piece.resize(CHUNK, 0);
        let (mut end, mut left) = (None, SHARE);
        while left > 0 && inflate.more() && !self.full && end.is_none() {
            left -= 1;
            end = match inflate.pull(&mut piece) {
                Ok(n) => self.give(env, &piece[..n]),
                Err(why) => Some(Err(Error::Coding(why))),
            };
        }
        env.pool.give(piece);
        if left == 0 && !self.full {
            env.wake(self.id);
        }
        end
    }

    fn drop_body(&mut self, env: &mut Env, client: Client, ticket: Ticket) -> End {
        let Stage::Redirect(next, dropped) = &mut self.stage else { return None };
        let x = client.exchange(&mut env.shared, ticket)?;
        x.pull(&mut env.calls, Flow::Open, |bytes| *dropped += bytes.len() as u64);
        if !(x.done() || x.failure().is_some() || *dropped > DROP_MAX) {
            return None;
        }
        self.method.clone_from(&next.method);
        self.with_body &= next.with_body;
        let url = next.url.clone();
        self.let_go(env);
        self.seek(env, url)
    }

    /// The exchange has failed: the next address may be better, if none was connected to.
    fn failed(&mut self, env: &mut Env, why: Failure) -> End {
        let to = self.to.clone()?;
        let Failure::Connect(kind) = why else {
            return Some(Err(Error::Exchange { with: to, why }));
        };
        self.let_go(env);
        self.note(env, false);
        if !(self.addresses.is_empty() || self.cancelled(env)) {
            self.taker.on_unreachable(env, &to, kind);
        }
        self.ask(env, || Error::Connect { to, kind })
    }
}

/// RFC 8305 §4: the families take turns, beginning with the first address's.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (of_first, of_other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|at| at.is_ipv6() == first);
    let longest = of_first.len().max(of_other.len());
    let pair = |n| [of_first.get(n), of_other.get(n)].into_iter().flatten().copied();
    (0..longest).flat_map(pair).take(ADDRESSES_MAX).collect()
}

/// A body on its way out; see [`Taker::on_upload`].
pub struct Upload<'a> {
    /// What a callback may reach.
    pub env: &'a mut Env,
    client: Client,
    ticket: Ticket,
    sent: &'a mut Sent,
}

impl Upload<'_> {
    /// Appends to the body. [`Flow::Full`]: it is kept, and no more should follow until there is
    /// room again. Behind [`finish`](Upload::finish) nothing is taken.
    pub fn write(&mut self, bytes: &[u8]) -> Flow {
        if self.sent.ended {
            return Flow::Full;
        }
        if let Some(kept) = &mut self.sent.kept {
            kept.extend_from_slice(bytes);
        }
        let flow = self.client.write(self.env, self.ticket, bytes);
        self.sent.full |= flow == Flow::Full;
        flow
    }

    /// The body is whole.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.sent.ended, true) {
            self.client.finish(self.env, self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let list = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|at| at.parse().unwrap()).collect()
        };
        assert_eq!(
            in_turns(list("[::1]:1 [::2]:1 [::3]:1 127.0.0.1:1")),
            list("[::1]:1 127.0.0.1:1 [::2]:1 [::3]:1")
        );
        assert_eq!(
            in_turns(list("127.0.0.1:1 127.0.0.2:1 [::1]:1")),
            list("127.0.0.1:1 [::1]:1 127.0.0.2:1")
        );
        assert!(in_turns(Vec::new()).is_empty());
    }
}
