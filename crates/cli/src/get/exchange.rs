//! One request and its response, carried by the loop while whoever asked waits.
//!
//! Rules of this file:
//! * The body goes through, it is not kept: a slow output slows the server, and a slow server the
//!   upload.
//! * It decides nothing: it stops at the response's head until it is told where the body goes.
//! * It ends once: well, or with the [`Trouble`] that was met.

use super::data::Upload;
use super::decoding::Decoding;
use super::head::{Head, field_line};
use super::progress::Meter;
use super::transfer::tell;
use super::watch::Watch;
use crate::common::talk;
use crate::stdio::{Input, Output};
use crate::tls;
use loopwork::http::client::{Client, Failure, Peer, Ticket, Tunnel};
use loopwork::http::core::encode::{self, Connection, RequestHead};
use loopwork::http::core::{Body, Invalid};
use loopwork::http::inflate::Undecodable;
use loopwork::reactor::{Cx, Driver, Key, Ready};
use loopwork::tcp::{Family, prefer};
use loopwork::{Address, Env, Flow, Id, Instant, Mailbox, World};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// One write of the request's body.
const CHUNK: usize = 64 * 1024;
/// Of a body that nobody wants so much is read to keep the connection; a longer one costs more.
const DROP_MAX: u64 = 64 * 1024;

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) enum Place {
    At(Vec<Address>),
    Named(String, u16),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: String,
    pub(super) connection: Connection,
    pub(super) headers: Vec<(String, String)>,
    pub(super) upload: Upload,
    pub(super) body: Body,
    pub(super) place: Place,
    /// Who the server has to prove to be, by TLS.
    pub(super) name: Option<Arc<str>>,
    /// By which tunnel.
    pub(super) through: Option<Arc<Tunnel>>,
}

impl Ask {
    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: &self.target,
            host: &self.host,
            body: self.body,
            connection: self.connection,
        }
    }

    /// The head as it is sent; empty when it cannot be.
    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let headers = self.headers.iter().map(|(n, v)| (n, v));
        // Whether it can be sent the client says.
        let _ = encode::request_head(&mut text, &self.head(), headers);
        text
    }

    /// How long the head is.
    pub(super) fn size(&self) -> u64 {
        self.text().len() as u64
    }
}

/// Why there is no complete response.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The name has no address.
    Name(io::Error),
    /// What was asked for cannot be sent.
    Invalid(Invalid),
    /// The last address that was tried, and why not.
    Connect(Address, ErrorKind),
    /// No secure connection: curl's code and the words.
    Tls(u8, String),
    /// The client's word.
    Failed(Failure),
    /// Not in time; connected or not.
    Late { connected: bool },
    /// The output takes nothing any more.
    Write(ErrorKind),
    /// What is to be sent cannot be read to its end.
    Read,
    /// The body is longer than was allowed.
    Large,
    /// It cannot be decoded.
    Coding(Undecodable),
}

/// Where a response's body goes.
pub(super) enum Into {
    /// Nowhere yet: the head is to be looked at first.
    Hold,
    /// Nowhere: so many bytes so far.
    Drop(u64),
    To(Output),
}

/// What the resolver found for which request, until it is looked at.
pub(super) type Found = Option<(u64, io::Result<Vec<SocketAddr>>)>;

enum Source {
    None,
    Bytes(Rc<Vec<u8>>, usize),
    /// From a file or stdin; with how much is left of it if that is known.
    Input(Input, Option<u64>),
}

/// The driver of one exchange after the other.
pub(super) struct Talk {
    pub(super) id: Id,
    client: Client,
    mailbox: Mailbox,
    watch: Watch,
    found: Key<Found>,
    pub(super) family: Family,
    /// What is sent is told on stderr.
    pub(super) verbose: bool,
    /// Bodies are decoded; and what decodes this one.
    pub(super) compressed: bool,
    decoding: Option<Decoding>,
    /// Counts requests, so that no name is taken for another one's.
    number: u64,
    ask: Option<Ask>,
    ticket: Option<Ticket>,
    source: Source,
    /// All of it was handed over.
    uploaded: bool,
    /// What was taken from the input before a connection stood: the next address gets it again.
    unsure: Vec<u8>,
    addresses: VecDeque<Address>,
    pub(super) into: Into,
    /// Where the request went last.
    pub(super) remote: Option<Address>,
    pub(super) interim: Vec<Head>,
    pub(super) head: Option<Head>,
    pub(super) trailers: Vec<u8>,
    pub(super) end: Option<Result<(), Trouble>>,
    pub(super) resolved: Option<Instant>,
    pub(super) size_download: u64,
    pub(super) size_upload: u64,
    pub(super) size_max: Option<u64>,
    pub(super) connect_timeout: Option<Duration>,
    /// Until when all has to be over, and until when a connection has to stand.
    pub(super) deadlines: [Option<Instant>; 2],
    pub(super) meter: Option<Meter>,
}

impl Talk {
    pub(super) fn new(client: Client, mailbox: Mailbox, watch: Watch, found: Key<Found>) -> Talk {
        Talk {
            id: Id::NOBODY,
            client,
            mailbox,
            watch,
            found,
            family: Family::Any,
            verbose: false,
            compressed: false,
            decoding: None,
            ask: None,
            ticket: None,
            source: Source::None,
            uploaded: false,
            unsure: Vec::new(),
            number: 0,
            addresses: VecDeque::new(),
            into: Into::Hold,
            remote: None,
            interim: Vec::new(),
            head: None,
            trailers: Vec::new(),
            end: None,
            resolved: None,
            size_download: 0,
            size_upload: 0,
            size_max: None,
            connect_timeout: None,
            deadlines: [None; 2],
            meter: None,
        }
    }

    /// Begins an exchange; the one before is over.
    pub(super) fn begin(&mut self, env: &mut Env, now: Instant, ask: Ask) {
        self.let_go(env);
        self.watch.begin();
        (self.head, self.end, self.into) = (None, None, Into::Hold);
        (self.size_download, self.size_upload, self.resolved) = (0, 0, None);
        self.interim.clear();
        self.trailers.clear();
        self.number += 1;
        self.deadlines[1] = self.connect_timeout.map(|time| now.after(time));
        if let Some(at) = self.deadlines[1] {
            self.until(env, at);
        }
        // It may be late already.
        env.wake(self.id);
        self.source = match source(&ask.upload, &self.mailbox) {
            Ok(source) => source,
            Err(_) => return self.finish(env, Err(Trouble::Read)),
        };
        if let Source::Input(input, _) = &self.source {
            input.attach(self.id);
        }
        match &ask.place {
            Place::At(list) => {
                self.addresses = list.clone().into();
                self.ask = Some(ask);
                self.next(env);
            }
            Place::Named(host, port) => {
                let (key, id, number) = (self.found, self.id, self.number);
                loopwork::lookup(env, host, *port, move |env, list| {
                    *env.shared.get(key) = Some((number, list));
                    env.wake(id);
                });
                self.ask = Some(ask);
            }
        }
    }

    /// Wakes it then, at the latest.
    pub(super) fn until(&mut self, env: &mut Env, at: Instant) {
        let id = self.id;
        // Behind the instant itself, never before it.
        env.after(at.since(env.now), move |env| env.wake(id));
    }

    pub(super) fn let_go(&mut self, env: &mut Env) {
        self.source = Source::None;
        self.unsure.clear();
        if let Some(ticket) = self.ticket.take() {
            self.client.release(env, ticket);
        }
    }

    pub(super) fn finish(&mut self, env: &mut Env, how: Result<(), Trouble>) {
        self.end.get_or_insert(how);
        self.let_go(env);
    }

    /// Where the body goes, from here on.
    pub(super) fn take(&mut self, env: &mut Env, into: Into) {
        if let Into::To(output) = &into {
            output.attach(self.id);
        }
        self.into = into;
        env.wake(self.id);
    }

    /// Sends the request to the next address.
    fn next(&mut self, env: &mut Env) {
        let (Some(ask), Some(to)) = (&self.ask, self.addresses.pop_front()) else {
            return self.finish(env, Err(Trouble::Name(ErrorKind::NotFound.into())));
        };
        self.resolved.get_or_insert(env.now);
        if self.verbose {
            talk(&format!("* to {to}"));
            tell('>', &ask.text());
        }
        self.remote = Some(to.clone());
        let headers = ask.headers.iter().map(|(n, v)| (n, v));
        let to = Peer { at: to, name: ask.name.clone(), through: ask.through.clone() };
        match self.client.request(env, to, self.id, &ask.head(), headers) {
            Ok(ticket) => {
                self.ticket = Some(ticket);
                (self.uploaded, self.size_upload) = (false, self.unsure.len() as u64);
                if let Source::Bytes(_, at) = &mut self.source {
                    *at = 0;
                }
                if !self.unsure.is_empty() {
                    let _ = self.client.write(env, ticket, &self.unsure);
                }
                self.upload(env, ticket);
            }
            Err(why) => self.finish(env, Err(Trouble::Invalid(why))),
        }
    }

    /// Sends what there is, as far as it is taken.
    fn upload(&mut self, env: &mut Env, ticket: Ticket) {
        while !self.uploaded {
            if self.client.flow(env, ticket) == Flow::Full {
                return;
            }
            match &mut self.source {
                Source::None => return,
                Source::Bytes(bytes, at) => {
                    let end = bytes.len().min(*at + CHUNK);
                    let _ = self.client.write(env, ticket, &bytes[*at..end]);
                    self.size_upload += (end - *at) as u64;
                    *at = end;
                    if end < bytes.len() {
                        continue;
                    }
                }
                Source::Input(input, left) => match input.take() {
                    Some(chunk) => {
                        let seen = self.watch.seen();
                        match seen.opened.or(seen.sent) {
                            None => self.unsure.extend_from_slice(&chunk),
                            Some(_) => self.unsure.clear(),
                        }
                        let _ = self.client.write(env, ticket, &chunk);
                        self.size_upload += chunk.len() as u64;
                        if let Some(left) = left {
                            *left = left.saturating_sub(chunk.len() as u64);
                        }
                        continue;
                    }
                    None if !input.finished() => return,
                    // It was longer when its length was announced.
                    None if left.is_some_and(|left| left > 0) => {
                        return self.finish(env, Err(Trouble::Read));
                    }
                    None => {}
                },
            }
            self.uploaded = true;
            return self.client.finish(env, ticket);
        }
    }

    /// Woken: something has come, may go, or is late.
    fn step(&mut self, env: &mut Env) {
        if self.end.is_some() || self.ask.is_none() {
            return;
        }
        if let Some((number, found)) = env.shared.get(self.found).take()
            && number == self.number
        {
            match found.map(|list| prefer(list, self.family)) {
                Ok(list) => self.addresses = list.into_iter().map(Address::from).collect(),
                Err(error) => return self.finish(env, Err(Trouble::Name(error))),
            }
            self.next(env);
        }
        let seen = self.watch.seen();
        let connected = seen.opened.or(seen.sent).is_some();
        let [all, connect] = self.deadlines.map(|at| at.is_some_and(|at| env.now >= at));
        if all || (connect && !connected) {
            return self.finish(env, Err(Trouble::Late { connected }));
        }
        if let Into::To(output) = &self.into
            && let Some(kind) = output.failed()
        {
            return self.finish(env, Err(Trouble::Write(kind)));
        }
        if let Some(ticket) = self.ticket {
            self.upload(env, ticket);
            if let Some(meter) = &self.meter {
                meter.at(self.size_upload + self.size_download);
            }
        }
        if let (Some(ticket), None) = (self.ticket, &self.head) {
            self.look(env, ticket);
        }
        if let (Some(ticket), Some(_)) = (self.ticket, &self.head) {
            self.body(env, ticket);
        }
    }

    /// Looks for the response's head.
    fn look(&mut self, env: &mut Env, ticket: Ticket) {
        let Some(x) = self.client.exchange(&mut env.shared, ticket) else { return };
        x.interim(|response| self.interim.push(Head::of(&response)));
        self.head = x.response().map(|response| Head::of(&response));
        self.decoding = self.head.as_ref().filter(|_| self.compressed).and_then(Decoding::of);
        let (None, Some(why)) = (&self.head, x.failure()) else { return };
        match (why, self.remote.clone()) {
            (Failure::Connect(_), _) if !self.addresses.is_empty() => {
                if let Some(ticket) = self.ticket.take() {
                    self.client.release(env, ticket);
                }
                self.next(env);
            }
            (Failure::Connect(kind), Some(to)) => {
                self.finish(env, Err(Trouble::Connect(to, kind)));
            }
            (Failure::Layer, Some(to)) => {
                let why = tls::why(env, &to.to_string());
                let (code, text) = why.unwrap_or((super::codes::TLS, Failure::Layer.to_string()));
                self.finish(env, Err(Trouble::Tls(code, text)));
            }
            (why, _) => self.finish(env, Err(Trouble::Failed(why))),
        }
    }

    fn body(&mut self, env: &mut Env, ticket: Ticket) {
        let Some(x) = self.client.exchange(&mut env.shared, ticket) else { return };
        let mut decoded = Ok(());
        let (size, max) = (&mut self.size_download, self.size_max.unwrap_or(u64::MAX));
        let flow = match &mut self.into {
            Into::Hold => return,
            Into::Drop(dropped) => {
                x.pull(&mut env.calls, Flow::Open, |bytes| *dropped += bytes.len() as u64);
                if *dropped > DROP_MAX {
                    return self.finish(env, Ok(()));
                }
                Flow::Open
            }
            Into::To(output) => {
                let decoding = &mut self.decoding;
                let more = decoding.as_ref().is_some_and(Decoding::more);
                x.pull(&mut env.calls, if more { Flow::Full } else { output.flow() }, |bytes| {
                    *size += bytes.len() as u64;
                    match decoding {
                        _ if *size > max => {}
                        Some(decoding) => decoded = decoding.push(bytes),
                        None => _ = output.push(bytes),
                    }
                });
                if let Some(decoding) = decoding {
                    decoded = decoded.and_then(|()| decoding.write(output));
                }
                output.flow()
            }
        };
        if *size > max {
            return self.finish(env, Err(Trouble::Large));
        }
        if let Err(why) = decoded {
            return self.finish(env, Err(Trouble::Coding(why)));
        }
        if let Some(meter) = &self.meter {
            meter.at(self.size_download);
        }
        if self.decoding.as_ref().is_some_and(Decoding::more) {
            return;
        }
        if x.done() {
            let end = self.decoding.as_ref().map_or(Ok(()), Decoding::end);
            let trailers = x.trailers();
            for (name, value) in trailers.into_iter().flatten() {
                field_line(&mut self.trailers, name, value);
            }
            self.finish(env, end.map_err(Trouble::Coding));
        } else if let (Some(why), Flow::Open) = (x.failure(), flow) {
            self.finish(env, Err(Trouble::Failed(why)));
        }
    }
}

fn source(upload: &Upload, mailbox: &Mailbox) -> io::Result<Source> {
    Ok(match upload {
        Upload::None => Source::None,
        Upload::Bytes(bytes) => Source::Bytes(bytes.clone(), 0),
        Upload::File(path, len) => {
            // What is appended meanwhile was not announced.
            let file = File::open(path)?.take(*len);
            Source::Input(Input::new(mailbox.clone(), CHUNK, file)?, Some(*len))
        }
        Upload::Stdin => Source::Input(Input::stdin(mailbox.clone(), CHUNK)?, None),
    })
}

impl<W: World> Driver<W> for Talk {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}

    fn on_wake(&mut self, cx: &mut Cx<'_, W>, _: Id) {
        self.step(cx.env);
    }
}
