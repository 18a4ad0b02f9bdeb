//! `loopwork get`: one URL, as curl would.
//!
//! Rules of this file:
//! * The body goes through, it is not kept: a slow stdout slows the server.
//! * What came in time is written before a failure is told.
//! * Who is redirected to another origin takes no credentials along, and only HTTP is followed.

mod arguments;
mod report;

use crate::common::{self, Fail, Outcome, talk};
use crate::stdio::Output;
use arguments::{Sink, Wanted};
use clap::{ArgMatches, Command};
use loopwork::http::Url;
use loopwork::http::client::{Client, Config, Failure, Ticket};
use loopwork::http::core::encode::{self, Connection, RequestHead};
use loopwork::http::core::{Body, Response, Version};
use loopwork::reactor::{Cx, Driver, Ready};
use loopwork::{Env, Flow, Id, Instant, Loop, Mailbox, Os, World};
use report::Report;
use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// The schemes that are spoken.
const SCHEMES: &[&str] = &["http"];
/// Redirects that are followed: as many as browsers do.
const REDIRECTS_MAX: u32 = 20;
/// Of the body of a redirect so much is read to keep the connection; a longer one costs more.
const DROP_MAX: u64 = 64 * 1024;
/// Without `-m` a server may take as long as it likes, as with curl; a day is as long.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// One write of the request's body.
const CHUNK: usize = 64 * 1024;

/// curl's exit codes.
mod codes {
    pub(super) const PROTOCOL: u8 = 1;
    pub(super) const URL: u8 = 3;
    pub(super) const NAME: u8 = 6;
    pub(super) const CONNECT: u8 = 7;
    pub(super) const ANSWER: u8 = 8;
    pub(super) const PARTIAL: u8 = 18;
    pub(super) const STATUS: u8 = 22;
    pub(super) const WRITE: u8 = 23;
    pub(super) const READ: u8 = 26;
    pub(super) const TIME: u8 = 28;
    pub(super) const REDIRECTS: u8 = 47;
    pub(super) const EMPTY: u8 = 52;
    pub(super) const RECEIVE: u8 = 56;
}

pub(crate) fn command() -> Command {
    arguments::command()
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    let outcome = Wanted::of(matches).and_then(transfer);
    outcome.map_err(|fail| match matches.get_flag("silent") {
        true => Fail::new(fail.code, ""),
        false => fail,
    })
}

fn transfer(wanted: Wanted) -> Outcome {
    let mut lp = Loop::new(Os::new()?);
    common::end_at_once(&mut lp, |_| {})?;
    let mut config = Config::default();
    config.timeout = PATIENCE;
    let client = Client::with_config(&mut lp, config);
    let (mailbox, birth, began) = (lp.mailbox()?, lp.env.calls.birth(), lp.world.now());
    let output = match wanted.sink {
        Sink::Stdout => Some(Output::stdout(mailbox.clone())?),
        Sink::File(_) => None,
    };
    let write_out = wanted.write_out.clone();
    let fetch = lp.add(|me| Fetch {
        id: Id { birth, slot: 0, driver: me.driver },
        client,
        mailbox,
        output,
        method: wanted.first_method(),
        with_body: wanted.body.is_some(),
        url: wanted.url.clone(),
        deadline: None,
        wanted,
        addresses: VecDeque::new(),
        ticket: None,
        sent: 0,
        stage: Stage::Head,
        report: Report::default(),
        began,
        outcome: None,
    });
    lp.with(fetch, |fetch, cx| fetch.begin(cx.env));
    lp.run()?;
    let now = lp.world.now();
    let output = lp.get(fetch).output.clone();
    if let Some(output) = &output {
        common::until(&mut lp, |wait| output.flushed(wait))?;
    }
    let fetch = lp.get(fetch);
    let mut outcome = fetch.outcome.take().unwrap_or(Ok(()));
    if let Some(kind) = output.and_then(|output| output.failed()) {
        outcome = outcome.and(Err(unwritten(kind)));
    }
    fetch.report.time_total = now.since(began);
    fetch.report.exit = outcome.as_ref().err().map_or(0, |fail| fail.code);
    if let Some(format) = write_out {
        let text = fetch.report.format(&format);
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        outcome = outcome.and(written.map_err(|error| unwritten(error.kind())));
    }
    outcome
}

/// Nobody reads any more, or there is no room. The first is no news to whoever closed the pipe.
fn unwritten(kind: ErrorKind) -> Fail {
    match kind {
        ErrorKind::BrokenPipe => Fail::new(codes::WRITE, ""),
        kind => Fail::new(codes::WRITE, format!("cannot write the body: {kind}")),
    }
}

/// Where a request stands.
enum Stage {
    /// The response's head is awaited.
    Head,
    /// Its body is written.
    Body,
    /// It redirects: its body is dropped, so many bytes so far.
    Redirect(Box<Url>, u64),
}

/// One run: a request, and those that its redirects lead to.
struct Fetch {
    id: Id,
    client: Client,
    wanted: Wanted,
    mailbox: Mailbox,
    /// `None` until a file is to be written.
    output: Option<Output>,
    url: Url,
    method: String,
    with_body: bool,
    addresses: VecDeque<SocketAddr>,
    ticket: Option<Ticket>,
    /// How much of the request's body is sent.
    sent: usize,
    stage: Stage,
    deadline: Option<Instant>,
    report: Report,
    began: Instant,
    outcome: Option<Outcome>,
}

impl Wanted {
    fn first_method(&self) -> String {
        let implied = match (self.head_only, &self.body) {
            (true, _) => "HEAD",
            (_, Some(_)) => "POST",
            _ => "GET",
        };
        self.method.clone().unwrap_or_else(|| implied.to_string())
    }
}

/// What is taken from a response's head.
struct Head {
    status: u16,
    text: Vec<u8>,
    location: Option<String>,
    content_type: String,
}

impl Head {
    fn of(response: &Response<'_>) -> Head {
        let minor = if response.version == Version::Http11 { 1 } else { 0 };
        let mut text = format!("HTTP/1.{minor} {:03} ", response.status).into_bytes();
        text.extend_from_slice(response.reason);
        text.extend_from_slice(b"\r\n");
        for (name, value) in response.headers {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        let header = |name| response.headers.get(name).map(String::from_utf8_lossy);
        Head {
            status: response.status,
            text,
            location: header("Location").map(|value| value.into_owned()),
            content_type: header("Content-Type").unwrap_or_default().into_owned(),
        }
    }
}

impl Fetch {
    fn begin(&mut self, env: &mut Env) {
        // What is still to be written holds the loop, connection or not.
        env.calls.hold();
        if let Some(time) = self.wanted.max_time {
            let id = self.id;
            // The instant of the wake itself: counted from any other it could wake too early, once.
            self.deadline = Some(env.now.after(time));
            env.after(time, move |env| env.wake(id));
        }
        if let Some(output) = &self.output {
            output.attach(self.id);
        }
        self.resolve(env);
    }

    fn finish(&mut self, env: &mut Env, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
        self.let_go(env);
        env.calls.stop();
    }

    fn fail(&mut self, env: &mut Env, code: u8, text: impl Into<String>) {
        self.finish(env, Err(Fail::new(code, text)));
    }

    fn let_go(&mut self, env: &mut Env) {
        if let Some(ticket) = self.ticket.take() {
            self.client.release(env, ticket);
        }
    }

    fn resolve(&mut self, env: &mut Env) {
        match loopwork::resolve(&self.url.host, self.url.port) {
            Ok(list) => {
                self.addresses = list.into();
                self.ask(env);
            }
            Err(error) => {
                let why = common::reason(&error);
                let text = format!("cannot find {}: {why}; check the name", self.url.host);
                self.fail(env, codes::NAME, text);
            }
        }
    }

    /// Sends the request to the next address.
    fn ask(&mut self, env: &mut Env) {
        let Some(to) = self.addresses.pop_front() else { return };
        let body = match &self.wanted.body {
            Some(body) if self.with_body => Body::Length(body.len() as u64),
            _ => Body::None,
        };
        let (method, target) = (self.method.clone(), self.url.target.clone());
        let host = self.host();
        let close = self.wanted.close;
        let connection = if close { Connection::Close } else { Connection::Implicit };
        let head = RequestHead { method: &method, target: &target, host: &host, body, connection };
        let headers = self.headers();
        if self.wanted.verbose {
            talk(&format!("* to {to}"));
            let mut text = Vec::new();
            if encode::request_head(&mut text, &head, headers.iter().cloned()).is_ok() {
                tell('>', &text);
            }
        }
        (self.sent, self.stage) = (0, Stage::Head);
        (self.report.url, self.report.method) = (self.url.to_string(), method.clone());
        self.report.remote = to.to_string();
        match self.client.request(env, to, self.id, &head, headers) {
            Ok(ticket) => {
                self.ticket = Some(ticket);
                self.upload(env);
            }
            Err(why) => {
                let text = format!("the request cannot be sent: {why}; check -X and -H");
                self.fail(env, 2, text);
            }
        }
    }

    fn host(&self) -> String {
        match &self.wanted.host {
            Some(host) if self.url.same_origin(&self.wanted.url) => host.clone(),
            _ => self.url.authority(),
        }
    }

    fn headers(&self) -> Vec<(String, String)> {
        let ours = [
            ("User-Agent", concat!("loopwork/", env!("CARGO_PKG_VERSION"))),
            ("Accept", "*/*"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let wanted = &self.wanted;
        let home = self.url.same_origin(&wanted.url);
        let secret = |name: &str| {
            ["Authorization", "Cookie", "Proxy-Authorization"]
                .iter()
                .any(|s| name.eq_ignore_ascii_case(s))
        };
        let named = |name: &str| {
            let same = |given: &String| given.eq_ignore_ascii_case(name);
            wanted.without.iter().any(same) || wanted.headers.iter().any(|(given, _)| same(given))
        };
        let body = |name: &str| name.eq_ignore_ascii_case("Content-Type");
        let mut list = Vec::new();
        for (name, value) in ours {
            if !named(name) && (self.with_body || !body(name)) {
                list.push((name.to_string(), value.to_string()));
            }
        }
        let dropped = wanted.body.is_some() && !self.with_body;
        for (name, value) in &wanted.headers {
            if (home || !secret(name)) && !(dropped && body(name)) {
                list.push((name.clone(), value.clone()));
            }
        }
        list
    }

    fn upload(&mut self, env: &mut Env) {
        let (Some(ticket), Some(body)) = (self.ticket, &self.wanted.body) else { return };
        if !self.with_body {
            return;
        }
        while self.sent < body.len() && self.client.flow(env, ticket) == Flow::Open {
            let end = body.len().min(self.sent + CHUNK);
            let _ = self.client.write(env, ticket, &body[self.sent..end]);
            self.sent = end;
        }
        self.report.size_upload = self.sent as u64;
    }

    /// Woken: something has come, or may go.
    fn step(&mut self, env: &mut Env) {
        if self.outcome.is_some() {
            return;
        }
        if let Some(kind) = self.output.as_ref().and_then(Output::failed) {
            return self.finish(env, Err(unwritten(kind)));
        }
        if self.deadline.is_some_and(|deadline| env.now >= deadline) {
            let text = format!("not done within {} s", seconds(self.wanted.max_time));
            return self.fail(env, codes::TIME, text);
        }
        self.upload(env);
        let Some(ticket) = self.ticket else { return };
        if let Stage::Head = self.stage {
            let Some(x) = self.client.exchange(&mut env.shared, ticket) else { return };
            let (head, failure) = (x.response().map(|r| Head::of(&r)), x.failure());
            match (head, failure) {
                (Some(head), _) => self.head(env, &head),
                (None, Some(why)) => return self.failed(env, why),
                (None, None) => return,
            }
        }
        if self.outcome.is_none() {
            self.body(env, ticket);
        }
    }

    /// The response's head is here.
    fn head(&mut self, env: &mut Env, head: &Head) {
        self.report.status = head.status;
        self.report.content_type.clone_from(&head.content_type);
        self.report.time_first = env.now.since(self.began);
        if self.wanted.verbose {
            tell('<', &head.text);
        }
        let redirects = matches!(head.status, 301 | 302 | 303 | 307 | 308);
        if let Some(location) = head.location.as_deref().filter(|_| self.wanted.follow && redirects)
        {
            return self.redirect(env, head, location);
        }
        if self.wanted.fail && head.status >= 400 {
            return self.fail(env, codes::STATUS, format!("the server answered {}", head.status));
        }
        if let Sink::File(path) = &self.wanted.sink
            && self.output.is_none()
        {
            let made = std::fs::File::create(path)
                .and_then(|file| Output::new(self.mailbox.clone(), file));
            match made {
                Ok(output) => {
                    output.attach(self.id);
                    self.output = Some(output);
                }
                Err(error) => {
                    let why = common::reason(&error);
                    return self.fail(env, codes::WRITE, format!("cannot write {path}: {why}"));
                }
            }
        }
        self.show(head);
        self.stage = Stage::Body;
    }

    fn show(&self, head: &Head) {
        if let (true, Some(output)) = (self.wanted.show_head, &self.output) {
            let _ = output.push(&head.text);
        }
    }

    fn redirect(&mut self, env: &mut Env, head: &Head, location: &str) {
        self.show(head);
        if self.report.redirects == REDIRECTS_MAX {
            let text = format!("more than {REDIRECTS_MAX} redirects");
            return self.fail(env, codes::REDIRECTS, text);
        }
        self.report.redirects += 1;
        match self.url.join(location, SCHEMES) {
            Err(bad) => {
                let fail = arguments::bad_url(bad);
                let text = format!("redirected to {location:?}: {}", fail.text);
                self.fail(env, fail.code, text);
            }
            Ok(url) => {
                // RFC 9110 §15.4: a POST becomes a GET, as everybody does it, but for 307 and 308.
                let becomes_get = match head.status {
                    303 => self.method != "HEAD",
                    301 | 302 => self.with_body || self.method == "POST",
                    _ => false,
                };
                if becomes_get {
                    self.with_body = false;
                    if self.wanted.method.is_none() {
                        self.method = "GET".to_string();
                    }
                }
                self.stage = Stage::Redirect(Box::new(url), 0);
            }
        }
    }

    fn body(&mut self, env: &mut Env, ticket: Ticket) {
        let Some(x) = self.client.exchange(&mut env.shared, ticket) else { return };
        match &mut self.stage {
            Stage::Head => {}
            Stage::Body => {
                let Some(output) = &self.output else { return };
                let size = &mut self.report.size_download;
                x.pull(&mut env.calls, output.flow(), |bytes| {
                    *size += bytes.len() as u64;
                    let _ = output.push(bytes);
                });
                if x.done() {
                    self.finish(env, Ok(()));
                } else if let (Some(why), Flow::Open) = (x.failure(), output.flow()) {
                    self.failed(env, why);
                }
            }
            Stage::Redirect(url, dropped) => {
                x.pull(&mut env.calls, Flow::Open, |bytes| *dropped += bytes.len() as u64);
                if x.done() || x.failure().is_some() || *dropped > DROP_MAX {
                    self.url = (**url).clone();
                    self.let_go(env);
                    self.resolve(env);
                }
            }
        }
    }

    fn failed(&mut self, env: &mut Env, why: Failure) {
        if let (Failure::Connect(kind), false) = (why, self.addresses.is_empty()) {
            if self.wanted.verbose {
                talk(&format!("* {}: {kind}", self.report.remote));
            }
            self.let_go(env);
            return self.ask(env);
        }
        let begun = matches!(self.stage, Stage::Body);
        let code = match why {
            Failure::Connect(ErrorKind::TimedOut) | Failure::TimedOut => codes::TIME,
            Failure::Connect(_) => codes::CONNECT,
            Failure::Closed if begun => codes::PARTIAL,
            Failure::Closed => codes::EMPTY,
            Failure::Malformed(_) if begun => codes::RECEIVE,
            _ => codes::ANSWER,
        };
        let remote = &self.report.remote;
        let text = match why {
            Failure::Connect(kind) => {
                format!("cannot connect to {remote}: {kind}{}", crate::nc::advice(kind))
            }
            Failure::Closed if begun => {
                let n = self.report.size_download;
                format!("{remote} ended the connection after {n} bytes; there is more to come")
            }
            Failure::Closed => format!("{remote} ended the connection without an answer"),
            why => format!("{remote}: {why}"),
        };
        self.fail(env, code, text);
    }
}

fn seconds(time: Option<Duration>) -> f64 {
    time.unwrap_or_default().as_secs_f64()
}

/// A head on stderr, each line marked by who says it.
fn tell(mark: char, head: &[u8]) {
    for line in String::from_utf8_lossy(head).lines() {
        talk(&format!("{mark} {line}"));
    }
}

impl<W: World> Driver<W> for Fetch {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}

    fn on_wake(&mut self, cx: &mut Cx<'_, W>, _: Id) {
        self.step(cx.env);
    }
}
