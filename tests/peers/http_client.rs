//! Our client, as the shell has it: what servers that others wrote are asked, and what they say.
//!
//! `http-client ADDRESS REQUEST…` asks in turn, over connections that are kept, and prints a line
//! for each: the interim statuses, the status, the body, and `+` with the trailers. A request is
//! `METHOD TARGET [OPTION…]` in one argument. Options: `Name:value` is a header; `length=N` and
//! `chunks=N` send a body of so many bytes; `say=TEXT` sends this, behind an upgrade or to
//! `CONNECT` through the tunnel; `upgrade`; `show=NAME` prints a header of the answer;
//! `times=N` asks so often and prints only the last; `wait=MS` waits before it asks.
//!
//! A body is compared with what it should be on its way: it is never kept.

mod lines;

use lines::{BLOCK, LINES, ZEROS, same};
use loopwork_http::client::{Client, Failure, Ticket};
use loopwork_http::core::Body;
use loopwork_http::core::encode::{Connection, RequestHead};
use loopwork_http::tcp::reactor::{Address, Cx, Driver, Env, Handle, Id, Loop, Os, Ready, World};
use loopwork_tcp::Flow;
use std::fmt::Write;
use std::time::Duration;

/// A body up to here is printed.
const SHORT: usize = 200;

/// A request, as it was wished.
#[derive(Default, Clone)]
struct Wish {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    /// So long is the body; `true`: in chunks.
    body: Option<(u64, bool)>,
    say: Option<String>,
    upgrade: bool,
    show: Vec<String>,
    times: u32,
    wait: Duration,
}

impl Wish {
    fn parse(text: &str) -> Result<Wish, Box<dyn std::error::Error>> {
        let mut words = text.split(' ');
        let mut next = || words.next().map(str::to_owned).ok_or("METHOD TARGET [OPTION…]");
        let mut wish = Wish { method: next()?, target: next()?, times: 1, ..Wish::default() };
        for word in words {
            match word.split_once(['=', ':']) {
                Some(("length", n)) => wish.body = Some((n.parse()?, false)),
                Some(("chunks", n)) => wish.body = Some((n.parse()?, true)),
                Some(("say", text)) => wish.say = Some(text.to_owned()),
                Some(("show", name)) => wish.show.push(name.to_owned()),
                Some(("times", n)) => wish.times = n.parse()?,
                Some(("wait", ms)) => wish.wait = Duration::from_millis(ms.parse()?),
                Some((name, value)) => wish.headers.push((name.to_owned(), value.to_owned())),
                None if word == "upgrade" => wish.upgrade = true,
                None => return Err(format!("no such option: {word}").into()),
            }
        }
        Ok(wish)
    }
}

/// What has come of a request.
#[derive(Default)]
struct Seen {
    statuses: String,
    head: bool,
    shown: String,
    first: Vec<u8>,
    bytes: u64,
    /// They are lines, and zeros, up to here.
    kinds: [bool; 2],
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        for (kind, block) in self.kinds.iter_mut().zip([&LINES, &ZEROS]) {
            *kind = *kind && same(block, self.bytes, bytes);
        }
        let short = SHORT.saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(&bytes[..short]);
        self.bytes += bytes.len() as u64;
    }

    fn print(&self, wish: &Wish, end: Result<&str, Failure>) {
        let body = match self.kinds {
            _ if self.bytes <= SHORT as u64 => self.first.escape_ascii().to_string(),
            [true, _] => format!("{} bytes of lines", self.bytes),
            [_, true] => format!("{} zeros", self.bytes),
            _ => format!("{} other bytes", self.bytes),
        };
        let (statuses, shown) = (self.statuses.trim_start(), &self.shown);
        let times = if wish.times > 1 { format!("{} times ", wish.times) } else { String::new() };
        let end = end.map_or_else(|why| format!(" failed: {why}"), str::to_owned);
        let line = format!("{times}{statuses}{shown} {body}");
        println!("{}", format!("{}{end}", line.trim_end()).trim_start());
    }
}

struct Asker {
    client: Client,
    to: Address,
    driver: u16,
    host: String,
    wishes: std::vec::IntoIter<Wish>,
    now: Option<(Wish, Ticket)>,
    seen: Seen,
    asked: u32,
    sent: u64,
    said: bool,
}

impl Asker {
    fn id(&self) -> Id {
        Id { birth: 1, slot: 0, driver: self.driver }
    }

    /// The next one, after its wait.
    fn next(&mut self, env: &mut Env) {
        let Some(wish) = self.wishes.next() else { return };
        self.asked = 0;
        if wish.wait.is_zero() {
            return self.ask(env, wish);
        }
        let (id, wait) = (self.id(), wish.wait);
        let waiting = Wish { wait: Duration::ZERO, ..wish };
        let rest: Vec<Wish> = std::iter::once(waiting).chain(self.wishes.by_ref()).collect();
        self.wishes = rest.into_iter();
        env.after(wait, move |env| env.wake(id));
    }

    fn ask(&mut self, env: &mut Env, wish: Wish) {
        self.seen = Seen { kinds: [true; 2], ..Seen::default() };
        (self.sent, self.said) = (0, false);
        self.asked += 1;
        let body = match wish.body {
            None => Body::None,
            Some((_, true)) => Body::Chunked,
            Some((n, false)) => Body::Length(n),
        };
        let connection = if wish.upgrade { Connection::Upgrade } else { Connection::Implicit };
        let (method, target) = (&wish.method[..], &wish.target[..]);
        let head = RequestHead { method, target, host: &self.host, body, connection };
        let headers = wish.headers.iter().map(|(name, value)| (name, value));
        match self.client.request(env, self.to.clone(), self.id(), &head, headers) {
            Ok(ticket) => {
                self.now = Some((wish, ticket));
                env.wake(self.id());
            }
            Err(why) => {
                println!("cannot be sent: {why}");
                self.next(env);
            }
        }
    }

    fn send(&mut self, env: &mut Env, wish: &Wish, t: Ticket, tunnel: bool) {
        if let Some((length, _)) = wish.body {
            while self.sent < length && self.client.flow(env, t) == Flow::Open {
                let n = (length - self.sent).min(BLOCK as u64);
                self.sent += n;
                let _ = self.client.write(env, t, &LINES[..n as usize]);
            }
            if self.sent == length && !std::mem::replace(&mut self.said, true) {
                self.client.finish(env, t);
            }
        }
        if let (Some(text), true, false) = (&wish.say, tunnel, self.said) {
            self.said = true;
            let _ = self.client.write(env, t, text.as_bytes());
        }
        // Not before it has come back: a proxy takes the end of one side for that of both.
        if wish.say.as_ref().is_some_and(|text| text.len() as u64 == self.seen.bytes) {
            self.client.finish(env, t);
        }
    }

    /// Sends what goes, takes what came.
    fn step(&mut self, env: &mut Env) {
        let Some((wish, t)) = self.now.take() else { return self.next(env) };
        let Some(x) = self.client.exchange(&mut env.shared, t) else { return };
        let seen = &mut self.seen;
        x.interim(|response| write!(seen.statuses, " {}", response.status).unwrap_or_default());
        if !seen.head
            && let Some(response) = x.response()
        {
            seen.head = true;
            let _ = write!(seen.statuses, " {}", response.status);
            for name in &wish.show {
                let value = response.headers.get_str(name).unwrap_or("-");
                let _ = write!(seen.shown, " {name}={value}");
            }
        }
        x.pull(&mut env.calls, Flow::Open, |bytes| seen.take(bytes));
        let mut trailers = String::new();
        for (name, value) in x.trailers().iter().flat_map(|all| all.iter()) {
            let _ = write!(trailers, " + {name}: {}", value.escape_ascii());
        }
        let (tunnel, failure, done) = (x.is_tunnel(), x.failure(), x.done());
        if failure.is_none() && !done {
            self.send(env, &wish, t, tunnel);
            self.now = Some((wish, t));
            return;
        }
        self.client.release(env, t);
        if failure.is_none() && self.asked < wish.times {
            return self.ask(env, wish);
        }
        self.seen.print(&wish, failure.map_or(Ok(&trailers[..]), Err));
        self.next(env);
    }
}

impl<W: World> Driver<W> for Asker {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}

    fn on_wake(&mut self, cx: &mut Cx<'_, W>, _: Id) {
        self.step(cx.env);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let host = args.next().ok_or("http-client ADDRESS REQUEST…")?;
    let to = Address::Ip(host.parse()?);
    let wishes: Vec<Wish> = args.map(|text| Wish::parse(&text)).collect::<Result<_, _>>()?;
    let mut lp = Loop::new(Os::new()?);
    let client = Client::new(&mut lp);
    let asker = lp.add(|me: Handle<Asker>| Asker {
        client,
        to,
        driver: me.driver,
        host,
        wishes: wishes.into_iter(),
        now: None,
        seen: Seen::default(),
        asked: 0,
        sent: 0,
        said: false,
    });
    lp.with(asker, |asker, cx| asker.next(cx.env));
    lp.run()?;
    // The most memory that this process has had, in KiB.
    if std::env::var_os("PEAK").is_some() {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        println!("peak {}", peak.unwrap_or("unknown").trim());
    }
    Ok(())
}
