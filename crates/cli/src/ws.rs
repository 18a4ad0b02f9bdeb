//! `loopwork ws`: lines of stdin as messages, messages as lines of stdout, to a server or, with
//! `-l`, as one.
//!
//! Rules of this file:
//! * stdin is read no further while the server is slow, and the server no further while stdout
//!   is: nothing grows.
//! * The end of stdin is answered first: a Ping goes out behind the last message, and with its
//!   Pong are here the answers of a server that answers in order. Then comes the Close. What a
//!   server answers later, before its own Close, is shown too; `-w` waits longer.
//! * What stdout gets is the messages and nothing else, unless a terminal shows it.
//! * With `-l` there is one client at a time. stdin waits for it, and what is left of stdin when it
//!   goes is for the next one; the end of stdin is the end of it all.

mod echo;

pub(crate) use echo::{Nothing, echo, echo_server};

use crate::common::{self, Fail, Outcome, parsed, talk, text};
use crate::idn;
use crate::stdio::{CHUNK, Input, Output};
use crate::tls;
use clap::{Arg, ArgAction, ArgMatches, Command};
use loopwork::http::core::{Request, Response};
use loopwork::http::redirect::Chain;
use loopwork::http::{BadUrl, Url};
use loopwork::http::{Http, Offer};
use loopwork::tls::Tls;
use loopwork::ws::core::handshake::{self, BadAnswer};
use loopwork::ws::{
    App, CloseCode, Conn, End, Failure, Handshake, Message, Open, Socket, Terms, Ws, redirect,
};
use loopwork::{Env, Flow, Id, Instant, Loop, Os, tcp};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

/// A line of stdin, in bytes: a message stands in memory as a whole.
const LINE_MAX: usize = 16 * 1024 * 1024;
/// How long the Pong before the Close is waited for: servers that never answer Pings exist.
const PONG_WAIT: Duration = Duration::from_secs(5);
/// What the Ping before the Close carries.
const LAST: &[u8] = b"last";
/// How long the server's Close, and the end of the stream behind it, are waited for.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  loopwork ws ws://127.0.0.1:9000/chat              talk, line by line
  echo hi | loopwork ws ws://127.0.0.1:9000/        one message, and the answers to it
  loopwork ws -x '{\"op\":\"list\"}' -w 2 ws://127.0.0.1:9000/api
  loopwork ws -b ws://127.0.0.1:9000/ < file        bytes, as binary messages
  loopwork ws -l 9000                               be the server, for one client at a time

At the end of stdin the connection is closed in order; what the other side answers until then is
shown. With -l stdin waits for a client, and its end is the end of the server.
";

pub(crate) fn command() -> Command {
    let value = |name, short, value, help| {
        let arg = Arg::new(name).short(short).long(name).value_name(value).help(help);
        arg.allow_hyphen_values(true)
    };
    Command::new("ws")
        .about("Talk to a WebSocket server, or be one: lines out, lines in")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("url")
                .value_name("URL")
                .help("ws://HOST[:PORT]/PATH or wss://…")
                .required_unless_present("listen"),
        )
        .arg(
            Arg::new("listen")
                .short('l')
                .long("listen")
                .value_name("ADDR")
                .help("Be the server: IP:PORT, or PORT on loopback; port 0 takes a free one")
                .conflicts_with_all(["url", "header", "origin"]),
        )
        .arg(
            value("header", 'H', "LINE", "A header of the handshake, as 'Name: value'; repeatable")
                .action(ArgAction::Append),
        )
        .arg(value("origin", 'o', "ORIGIN", "The Origin header"))
        .arg(
            value("subprotocol", 's', "NAME", "A subprotocol to ask for, or to have; repeatable")
                .action(ArgAction::Append),
        )
        .arg(value("execute", 'x', "TEXT", "Send this message instead of stdin, then close"))
        .arg(
            value("wait", 'w', "SECS", "Stay so long after the last message before closing")
                .value_parser(common::seconds),
        )
        .arg(
            Arg::new("binary")
                .short('b')
                .long("binary")
                .help("Send stdin as binary messages as it comes, and write messages as they are")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("location")
                .short('L')
                .long("location")
                .help("Follow redirects, 20 at most; -H's credentials stay with the first origin")
                .action(ArgAction::SetTrue)
                .conflicts_with("listen"),
        )
        .args(tls::client_args())
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    match text(matches, "listen") {
        Some(at) => serve(matches, common::listen_address(at, 0)?),
        None => connect(matches),
    }
}

fn connect(matches: &ArgMatches) -> Outcome {
    let given = idn::url(text(matches, "url").unwrap_or_default());
    let mut url = Url::parse(&given, &["ws", "wss"]).map_err(|bad| {
        Fail::usage(match bad {
            BadUrl::Scheme(scheme) => format!("{scheme} is no WebSocket; take a ws:// URL"),
            BadUrl::Malformed(why) => format!("that is no URL: {why}"),
        })
    })?;
    let mut lp = Loop::new(Os::new()?);
    common::end_at_once(&mut lp, |_| {})?;
    let chain = matches.get_flag("location").then(Chain::default);
    let server = Server { chain, url: url.clone(), next: None };
    let mut talker = Talker::new(matches, Peer::Server(Box::new(server)), &mut lp)?;
    let output = talker.output.clone();
    loop {
        talker = converse(matches, &url, talker, &mut lp)?;
        match talker.redirected() {
            Some(next) => url = next,
            None => break,
        }
    }
    finish(&mut lp, &output)?;
    talker.outcome
}

/// Has the conversation with whom this URL names.
fn converse(
    matches: &ArgMatches,
    url: &Url,
    talker: Talker,
    lp: &mut Loop<Os>,
) -> Result<Talker, Fail> {
    let addresses = loopwork::resolve(&url.host, url.port).map_err(|error| {
        let why = common::reason(&error);
        Fail::failed(format!("cannot find {}: {why}; check the name", url.host))
    })?;
    let wanted = Wanted::of(matches, url, talker.chain())?;
    let headers: Vec<_> = wanted.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let protocols: Vec<_> = wanted.protocols.iter().map(String::as_str).collect();
    let open = Open {
        host: &wanted.host,
        target: &wanted.target,
        protocols: &protocols,
        headers: &headers,
        // Who has it compresses, and who has it not says so.
        deflate: Some(Terms::default()),
    };
    let conn = Conn::client(&mut lp.env, &open, ()).map_err(|why| {
        Fail::usage(format!("the handshake cannot be sent: {why}; check -H, -o and -s"))
    })?;
    let mut client = Ws::new(talker);
    client.config.close = CLOSE_WAIT;
    if url.scheme == "ws" {
        let host = tcp::add(lp, |_| client);
        tcp::dial_any(&mut lp.env, host, addresses, conn);
        lp.run()?;
        return Ok(lp.get(host).protocol.app.take());
    }
    let host = tcp::add(lp, |_| Tls::client(client));
    let conn = tls::Wanted::of(matches)?.dialing(&url.host)?.conn(conn)?;
    tcp::dial_any(&mut lp.env, host, addresses, conn);
    lp.run()?;
    let mut talker = lp.get(host).protocol.inner.app.take();
    if let (Err(fail), Some((_, why))) =
        (&mut talker.outcome, tls::why(&mut lp.env, &url.authority()))
    {
        *fail = Fail::failed(why);
    }
    Ok(talker)
}

fn serve(matches: &ArgMatches, at: SocketAddr) -> Outcome {
    let mut lp = Loop::new(Os::new()?);
    common::end_at_once(&mut lp, |_| {})?;
    let many = matches.get_many::<String>("subprotocol").into_iter().flatten();
    let protocols: Vec<String> = many.cloned().collect();
    if let Some(bad) = protocols.iter().find(|name| !handshake::is_token(name)) {
        return Err(Fail::usage(format!("{bad:?} is no name of a subprotocol; check -s")));
    }
    let talker = Talker::new(matches, Peer::Client { protocols, held: false }, &mut lp)?;
    let output = talker.output.clone();
    let mut server = Ws::new(talker);
    (server.config.close, server.config.deflate) = (CLOSE_WAIT, Some(Terms::default()));
    let listening = loopwork::tcp::listen(&mut lp, at, Http::with_upgrade(Nothing, server));
    let (host, at) = listening.map_err(|error| common::cannot_listen(at, &error))?;
    // stdout is for messages.
    talk(&format!("listening on ws://{at}"));
    lp.run()?;
    finish(&mut lp, &output)?;
    std::mem::replace(&mut lp.get(host).protocol.next.app.outcome, Ok(()))
}

/// Waits until stdout has everything.
fn finish(lp: &mut Loop<Os>, output: &Output) -> Outcome {
    common::until(lp, |wait| output.flushed(wait))?;
    crate::nc::unwritten(output)
}

/// What the handshake says.
struct Wanted {
    host: String,
    target: String,
    headers: Vec<(String, String)>,
    protocols: Vec<String>,
}

impl Wanted {
    fn of(matches: &ArgMatches, url: &Url, chain: Option<&Chain>) -> Result<Wanted, Fail> {
        let many = |name| matches.get_many::<String>(name).into_iter().flatten();
        let mut wanted = Wanted {
            host: url.authority(),
            target: url.target.clone(),
            headers: Vec::new(),
            protocols: many("subprotocol").cloned().collect(),
        };
        for line in many("header") {
            let Some((name, value)) = line.split_once(':') else {
                return Err(Fail::usage(format!("{line:?} is no header: 'Name: value' is one")));
            };
            if chain.is_some_and(|chain| !chain.sends(name)) {
                continue;
            }
            match name.eq_ignore_ascii_case("host") {
                true => wanted.host = value.trim().to_string(),
                false => wanted.headers.push((name.to_string(), value.trim().to_string())),
            }
        }
        if let Some(origin) = text(matches, "origin") {
            wanted.headers.push(("Origin".to_string(), origin.to_string()));
        }
        let given = wanted.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("authorization"));
        if let (Some(login), false) = (&url.login, given) {
            wanted.headers.push(("Authorization".to_string(), login.basic()));
        }
        Ok(wanted)
    }
}

/// How far the sending is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// stdin goes on.
    Sending,
    /// It has ended; the Ping goes out then.
    Waiting(Instant),
    /// The Ping is out; the Close follows its Pong, or goes out then.
    Pinged(Instant),
    /// stdin cannot be sent.
    Failed,
}

/// Who is on the other side.
enum Peer {
    Server(Box<Server>),
    /// Clients, one at a time: the subprotocols that we have, and whether one is there.
    Client {
        protocols: Vec<String>,
        held: bool,
    },
}

/// The server that was asked.
struct Server {
    /// The redirects so far, where they are followed.
    chain: Option<Chain>,
    url: Url,
    /// Where it sends us.
    next: Option<Url>,
}

/// One side of a conversation.
struct Talker {
    /// `None` when there is a message on the command line instead.
    input: Option<Input>,
    output: Output,
    first: Option<String>,
    binary: bool,
    pretty: bool,
    wait: Duration,
    peer: Peer,
    /// A line whose end has not come in yet.
    line: Vec<u8>,
    stage: Stage,
    outcome: Outcome,
}

impl Talker {
    fn new(matches: &ArgMatches, peer: Peer, lp: &mut Loop<Os>) -> Result<Talker, Fail> {
        let first = text(matches, "execute").map(str::to_string);
        let input = match first {
            Some(_) => None,
            None => Some(Input::stdin(lp.mailbox()?, CHUNK)?),
        };
        Ok(Talker {
            input,
            output: Output::stdout(lp.mailbox()?)?,
            first,
            binary: matches.get_flag("binary"),
            pretty: std::io::stdout().is_terminal(),
            wait: parsed(matches, "wait").unwrap_or_default(),
            peer,
            line: Vec::new(),
            stage: Stage::Sending,
            outcome: Ok(()),
        })
    }

    /// The talker, and one in its place that has nothing to say.
    fn take(&mut self) -> Talker {
        let peer = Peer::Client { protocols: Vec::new(), held: true };
        let spent = Talker {
            input: None,
            output: self.output.clone(),
            first: None,
            peer,
            line: Vec::new(),
            outcome: Ok(()),
            ..*self
        };
        std::mem::replace(self, spent)
    }

    fn chain(&self) -> Option<&Chain> {
        match &self.peer {
            Peer::Server(server) => server.chain.as_ref(),
            Peer::Client { .. } => None,
        }
    }

    /// Where the server sends us, for the next try.
    fn redirected(&mut self) -> Option<Url> {
        let Peer::Server(server) = &mut self.peer else { return None };
        let next = server.next.take()?;
        server.url.clone_from(&next);
        self.outcome = Ok(());
        Some(next)
    }

    /// Sends what stdin has, and goes on receiving if stdout has room.
    fn pump(&mut self, socket: &mut Socket<'_>) {
        if self.output.failed().is_some() {
            return socket.abort();
        }
        if self.output.flow() == Flow::Open {
            socket.resume();
        }
        self.go_on(socket);
        while self.stage == Stage::Sending && socket.flow() == Flow::Open {
            let Some(input) = &self.input else { return self.end(socket) };
            let Some(chunk) = input.take() else {
                if input.finished() {
                    self.last_line(socket);
                    self.end(socket);
                }
                return;
            };
            match self.binary {
                true => drop(socket.send_binary(&chunk)),
                false => self.lines(socket, &chunk),
            }
        }
    }

    fn lines(&mut self, socket: &mut Socket<'_>, chunk: &[u8]) {
        for part in chunk.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LINE_MAX {
                self.fail(socket, "a line of stdin is longer than 16 MiB; say -b");
            }
            if self.stage != Stage::Sending {
                return;
            }
            if self.line.ends_with(b"\n") {
                self.line.pop();
                self.send_line(socket);
            }
        }
    }

    fn last_line(&mut self, socket: &mut Socket<'_>) {
        if !self.line.is_empty() {
            self.send_line(socket);
        }
    }

    fn send_line(&mut self, socket: &mut Socket<'_>) {
        let line = std::mem::take(&mut self.line);
        match std::str::from_utf8(&line) {
            Ok(text) => drop(socket.send_text(text)),
            Err(_) => self.fail(socket, "stdin is not UTF-8 text; say -b to send bytes"),
        }
        self.line = line;
        self.line.clear();
    }

    fn fail(&mut self, socket: &mut Socket<'_>, why: &str) {
        self.stage = Stage::Failed;
        self.outcome = Err(Fail::failed(why));
        socket.close(CloseCode::NORMAL, "");
    }

    /// Nothing more will be sent: what is still to come has its time.
    fn end(&mut self, socket: &mut Socket<'_>) {
        if self.stage == Stage::Sending {
            self.stage = Stage::Waiting(later(socket, self.wait));
            self.go_on(socket);
        }
    }

    /// On the way to the Close: the wait that was asked for, the Ping, its Pong or its time.
    fn go_on(&mut self, socket: &mut Socket<'_>) {
        match self.stage {
            Stage::Waiting(until) if socket.env.now >= until => {
                let _ = socket.ping(LAST);
                self.stage = Stage::Pinged(later(socket, PONG_WAIT));
            }
            Stage::Pinged(until) if socket.env.now >= until => {
                socket.close(CloseCode::NORMAL, "");
            }
            _ => {}
        }
    }
}

/// Wakes this connection later, unless it is gone by then; says when.
fn later(socket: &mut Socket<'_>, wait: Duration) -> Instant {
    let id = socket.id;
    let call = socket.env.after(wait, move |env| env.wake(id));
    socket.env.calls.unref(call);
    socket.env.now.after(wait)
}

impl App for Talker {
    type Conn = ();

    fn on_request(&mut self, _: &Request<'_>, handshake: &mut Handshake<'_>) -> Offer<()> {
        match &mut self.peer {
            Peer::Server(_) => Offer::Pass,
            Peer::Client { held: true, .. } => Offer::Refuse(503, &[], "somebody else is here"),
            Peer::Client { protocols, held } => {
                let names: Vec<&str> = protocols.iter().map(String::as_str).collect();
                handshake.protocol(&names);
                *held = true;
                Offer::Accept(())
            }
        }
    }

    fn on_answer(
        &mut self,
        (): &mut (),
        _: &mut Env,
        answer: &Response<'_>,
        _: Result<Option<&str>, BadAnswer>,
    ) {
        let Peer::Server(server) = &mut self.peer else { return };
        let Some(chain) = &mut server.chain else { return };
        match redirect(chain, &server.url, answer) {
            Ok(next) => server.next = next,
            Err(why) => self.outcome = Err(Fail::failed(why.to_string())),
        }
    }

    fn on_open(&mut self, (): &mut (), socket: &mut Socket<'_>) {
        if self.pretty {
            talk("connected; ^D closes in order, ^C at once");
        }
        // The directions are apart: what comes in goes to stdout, and causes no output here.
        socket.read_when_full(true);
        self.output.attach(socket.id);
        if let Some(input) = &self.input {
            input.attach(socket.id);
        }
        if let Some(first) = self.first.take() {
            match self.binary {
                true => drop(socket.send_binary(first.as_bytes())),
                false => drop(socket.send_text(&first)),
            }
        }
        self.pump(socket);
    }

    fn on_message(&mut self, (): &mut (), socket: &mut Socket<'_>, message: Message<'_>) {
        if self.pretty {
            let _ = self.output.push(b"< ");
        }
        let mut flow = match message {
            Message::Text(text) => self.output.push(text.as_bytes()),
            Message::Binary(bytes) => self.output.push(bytes),
        };
        if !self.binary {
            flow = self.output.push(b"\n");
        }
        if flow == Flow::Full {
            socket.pause();
        }
    }

    fn on_pong(&mut self, (): &mut (), socket: &mut Socket<'_>, payload: &[u8]) {
        if matches!(self.stage, Stage::Pinged(_)) && payload == LAST {
            socket.close(CloseCode::NORMAL, "");
        }
    }

    fn on_drain(&mut self, (): &mut (), socket: &mut Socket<'_>) {
        self.pump(socket);
    }

    fn on_wake(&mut self, (): &mut (), socket: &mut Socket<'_>) {
        self.pump(socket);
    }

    fn on_close(&mut self, (): (), _: Id, env: &mut Env, end: &End<'_>) {
        let told = outcome(&self.peer, end);
        if let Peer::Client { held, .. } = &mut self.peer {
            *held = false;
            if self.stage == Stage::Sending && self.output.failed().is_none() {
                // stdin goes on, with the next one.
                match told {
                    Err(why) => talk(&why.text),
                    Ok(()) if self.pretty => talk("disconnected; the next one may come"),
                    Ok(()) => {}
                }
                return;
            }
            env.calls.stop();
        }
        if self.outcome.is_ok() {
            self.outcome = told;
        }
    }
}

/// What the end of a WebSocket means for who ran the command.
fn outcome(peer: &Peer, end: &End<'_>) -> Outcome {
    let (place, who) = match peer {
        Peer::Server(server) => (server.url.authority(), "server"),
        Peer::Client { .. } => ("it".to_owned(), "client"),
    };
    let why = match end.failure {
        Some(Failure::Connect(kind)) => {
            format!("cannot connect to {place}: {kind}{}", crate::nc::advice(kind))
        }
        Some(Failure::Answer(BadAnswer::Status(status @ 300..400))) => {
            format!("the server answered {status}, a redirect; -L follows it")
        }
        Some(Failure::Answer(why)) => format!("{why}; is there a WebSocket?"),
        Some(why) => format!("the connection failed: {why}"),
        None if matches!(end.code, CloseCode::NORMAL | CloseCode::GOING_AWAY) => return Ok(()),
        None if end.code == CloseCode::NO_STATUS => return Ok(()),
        None => format!("the {who} closed with {} {}", end.code.get(), end.reason),
    };
    Err(Fail::failed(why.trim_end()))
}
