//! One URL after the other: its requests, its redirects, its tries, its files.
//!
//! Rules of this file:
//! * It runs outside of the loop, which carries one exchange at a time, and turns it while it
//!   waits: signals and deadlines are served meanwhile.
//! * All URLs share one client, so that a connection is kept from one to the next.

use super::cookies::Jar;
use super::data::Upload;
use super::exchange::{Ask, Into, Place, Talk, Trouble};
use super::failure::{Circumstances, unwritten};
use super::head::Head;
use super::progress::Meter;
use super::report::Report;
use super::request::Hop;
use super::timing::draw;
use super::wanted::{Job, Sink, Wanted};
use super::watch::Watch;
use super::{codes, sink};
use crate::common::{self, Fail, Outcome, talk};
use crate::stdio::Output;
use loopwork::http::client::{Client, Config};
use loopwork::tcp::{self, Host};
use loopwork::tls::agreed;
use loopwork::tls::rustls::{CipherSuite, ProtocolVersion};
use loopwork::{Handle, Id, Instant, Loop, Mailbox, Os, Secure, World, signal};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Without `-m` a server may take as long as it likes, as with curl; a day is as long.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// The exit code after a signal is this and the signal's number, as shells have it: 130 after ^C.
const SIGNALLED: i32 = 128;
/// An upload that is shorter is gone before anybody could read how far it is.
const METER_MIN: u64 = 64 * 1024;
/// How long a connection is kept for the next URL: as curl does. A server that ends it before
/// that is noticed.
const KEEP: Duration = Duration::from_secs(118);
/// curl's limits of a response's head. There is one response at a time, so that room is no
/// reason for less.
const HEAD_MAX: u32 = 300 * 1024;
const HEADERS_MAX: u32 = 5000;
/// The longest wait between two tries, as curl has it.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(600);

/// Does all of it; the outcome is that of the last URL.
pub(super) fn all(wanted: Wanted) -> Outcome {
    let mut session = Session::new(wanted)?;
    let mut outcome = Ok(());
    let jobs = std::mem::take(&mut session.wanted.jobs);
    let quiet = session.wanted.silent && !session.wanted.show_error;
    for (number, job) in jobs.iter().enumerate() {
        if let Err(Fail { text, .. }) = &outcome
            && !text.is_empty()
            && !quiet
        {
            talk(&format!("loopwork get: {text}"));
        }
        outcome = session.job(number, job);
        let stop = session.wanted.fail_early || session.stdout.failed().is_some();
        if outcome.is_err() && stop {
            break;
        }
    }
    session.close(outcome)
}

/// What all URLs of one command line share.
struct Session {
    lp: Loop<Os>,
    client: Client,
    /// Its connections by TLS.
    secure: Handle<Host<Secure>>,
    talk: Handle<Talk>,
    watch: Watch,
    mailbox: Mailbox,
    stdout: Output,
    /// `-D`.
    dump: Option<Output>,
    jar: Option<Jar>,
    wanted: Wanted,
}

/// What a transfer has by the way.
struct Under {
    hop: Hop,
    report: Report,
    began: Instant,
    /// Heads to be shown, until there is a place for them.
    shown: Vec<u8>,
    file: Option<Output>,
}

impl Session {
    fn new(wanted: Wanted) -> Result<Session, Fail> {
        let mut lp = Loop::new(Os::new()?);
        // At once, so that no bar is drawn any more; the shell goes on on a line of its own.
        signal::watch(&mut lp, &[signal::SIGINT, signal::SIGTERM], |_, number| {
            if std::io::stderr().is_terminal() {
                talk("");
            }
            std::process::exit(SIGNALLED + number);
        })?;
        let mut config = Config::default();
        (config.timeout, config.keep, config.head) = (PATIENCE, KEEP, None);
        (config.limits.head_bytes, config.limits.headers) = (HEAD_MAX, HEADERS_MAX);
        let client = Client::with_config(&mut lp, config);
        let tls = wanted.tls.clone();
        let secure = loopwork::secure(&mut lp, client, move || tls.config());
        let (mailbox, birth, watch) = (lp.mailbox()?, lp.env.calls.birth(), Watch::default());
        lp.trace(Some(Box::new(watch.clone())));
        let found = lp.env.shared.add(None);
        let mut exchange = Talk::new(client, mailbox.clone(), watch.clone(), found);
        exchange.size_max = wanted.max_size;
        exchange.family = wanted.route.family();
        exchange.verbose = wanted.verbose;
        exchange.compressed = wanted.compressed;
        exchange.connect_timeout = wanted.connect_timeout;
        let talk = lp.add(|me| {
            exchange.id = Id { birth, slot: 0, driver: me.driver };
            exchange
        });
        let stdout = Output::stdout(mailbox.clone())?;
        let dump = match wanted.dump.as_deref() {
            None => None,
            Some("-") => Some(stdout.clone()),
            Some(path) => {
                let file = std::fs::File::create(path).map_err(|error| {
                    let why = common::reason(&error);
                    Fail::new(codes::WRITE, format!("cannot write {path}: {why}; check -D"))
                })?;
                Some(Output::new(mailbox.clone(), file)?)
            }
        };
        let mut session =
            Session { lp, client, secure, talk, watch, mailbox, stdout, dump, jar: None, wanted };
        session.read_cookies();
        Ok(session)
    }

    /// `-b FILE`, and `-c`: either switches the jar on. As curl, a file that is not there is empty.
    fn read_cookies(&mut self) {
        let files = self.wanted.cookies.iter().filter(|text| !text.contains('='));
        let Some(first) = self.wanted.jobs.first() else { return };
        let now = self.lp.env.unix_time().as_secs();
        for path in files {
            let text = std::fs::read(path).unwrap_or_default();
            let jar = self.jar.get_or_insert_default();
            jar.read(&String::from_utf8_lossy(&text), &first.target.url, now);
        }
        if self.wanted.jar.is_some() {
            self.jar.get_or_insert_default();
        }
    }

    /// Writes what is still to be written.
    fn close(mut self, mut outcome: Outcome) -> Outcome {
        let outputs = [Some(self.stdout.clone()), self.dump.take()];
        for output in outputs.into_iter().flatten() {
            outcome = outcome.and(flushed(&mut self.lp, &output));
        }
        if let (Some(jar), Some(path)) = (&self.jar, &self.wanted.jar) {
            let written = match path.as_str() {
                "-" => std::io::stdout().lock().write_all(jar.text().as_bytes()),
                path => std::fs::write(path, jar.text()),
            };
            if let Err(error) = written {
                // As with curl the transfer was well all the same.
                talk(&format!("loopwork get: cannot write {path}: {}", common::reason(&error)));
            }
        }
        outcome
    }

    /// One URL, tried as often as is wanted.
    fn job(&mut self, number: usize, job: &Job) -> Outcome {
        let (first, retry) = (self.lp.world.now(), self.wanted.retry);
        let mut pause = Duration::from_secs(1);
        for left in (0..=retry.times).rev() {
            let (report, outcome) = self.one_try(number, job);
            let now = self.lp.world.now();
            let wait = retry.delay.unwrap_or(pause).max(asked_wait(&report));
            let in_time = retry.max_time.is_none_or(|most| now.since(first) + wait < most);
            let again = left > 0 && in_time && job.upload != Upload::Stdin;
            if again && self.transient(&report, &outcome) {
                let why = match &outcome {
                    Ok(()) => format!("the server answered {}", status(&report)),
                    Err(fail) => fail.text.clone(),
                };
                if !self.wanted.silent {
                    let seconds = wait.as_secs_f64();
                    talk(&format!("{why}; again in {seconds} s, {left} left"));
                }
                self.sleep(wait)?;
                pause = (pause * 2).min(RETRY_WAIT_MAX);
                continue;
            }
            if self.wanted.timing {
                let bars = std::io::stderr().is_terminal();
                let _ = std::io::stderr().write_all(draw(&report.times, bars).as_bytes());
                if !report.link.is_empty() {
                    talk(&report.link);
                }
            }
            if let Some(format) = &self.wanted.write_out {
                let said = report.format(format);
                let _ = self.stdout.push(said.stdout.as_bytes());
                let _ = std::io::stderr().write_all(said.stderr.as_bytes());
            }
            return outcome;
        }
        Ok(())
    }

    /// Whether another try may help: curl's list.
    fn transient(&self, report: &Report, outcome: &Outcome) -> bool {
        let retry = self.wanted.retry;
        let code = outcome.as_ref().err().map_or(0, |fail| fail.code);
        match code {
            0 | codes::STATUS => matches!(status(report), 408 | 429 | 500 | 502..=504),
            codes::TIME | codes::NAME | codes::PROXY => true,
            codes::CONNECT => retry.refused || retry.all,
            codes::WRITE => false,
            _ => retry.all,
        }
    }

    fn sleep(&mut self, wait: Duration) -> Result<(), Fail> {
        let until = self.lp.world.now().after(wait);
        self.lp.with(self.talk, |talk, cx| talk.until(cx.env, until));
        while self.lp.world.now() < until {
            self.lp.turn(None)?;
        }
        Ok(())
    }

    fn one_try(&mut self, number: usize, job: &Job) -> (Report, Outcome) {
        let began = self.lp.world.now();
        let deadline = self.wanted.max_time.map(|limit| began.after(limit));
        self.lp.with(self.talk, |talk, cx| {
            talk.deadlines = [deadline, None];
            deadline.into_iter().for_each(|at| talk.until(cx.env, at));
        });
        let from = sink::resumed(&self.wanted, &job.sink);
        let report = Report { given: job.given.clone(), number, ..Report::default() };
        let hop = Hop::first(&self.wanted, job, from);
        let mut under = Under { hop, report, began, shown: Vec::new(), file: None };
        let connects = self.watch.seen().connects;
        let mut outcome = self.transfer(job, &mut under);
        let exchange = self.lp.get(self.talk);
        exchange.meter = None;
        if let Some(file) = &under.file {
            outcome = outcome.and(flushed(&mut self.lp, file));
        }
        if let Some(kind) = self.stdout.failed() {
            outcome = outcome.and(Err(unwritten(kind)));
        }
        self.lp.with(self.talk, |talk, cx| talk.let_go(cx.env));
        let report = &mut under.report;
        report.connects = self.watch.seen().connects - connects;
        report.times.total = self.lp.world.now().since(began);
        if let Err(fail) = &outcome {
            (report.exit, report.error) = (fail.code, fail.text.clone());
        }
        (under.report, outcome)
    }

    /// Its requests, up to the one whose body is kept.
    fn transfer(&mut self, job: &Job, under: &mut Under) -> Outcome {
        loop {
            let began = self.lp.world.now();
            under.report.times.redirect = match under.report.redirects {
                0 => Duration::ZERO,
                _ => began.since(under.began),
            };
            let now = self.lp.env.unix_time().as_secs();
            let ask = under.hop.ask(&self.wanted, self.jar.as_ref(), now);
            let place = ask.place.clone();
            let head = self.head(job, ask, under);
            self.note(under);
            let head = match head? {
                Ok(head) => head,
                Err(trouble) => return Err(self.fail(trouble, Some(&place), under)),
            };
            under.report.head = Some(head.clone());
            if self.wanted.verbose && !under.report.link.is_empty() {
                talk(&format!("* {}", under.report.link));
            }
            self.show(&head, job, under);
            if let Some(jar) = &mut self.jar {
                let set = head.all("Set-Cookie");
                set.for_each(|set| jar.set(set, &under.hop.target.url, now));
            }
            let again = under.hop.upload.is_repeatable();
            if head.status == 417 && !under.hop.unexpecting && again {
                under.hop.unexpecting = true;
            } else if !self.redirected(&head, under)? {
                return self.body(job, &head, under);
            }
            self.take(Into::Drop(0))?;
        }
    }

    /// Sends a request, and waits for its response's head.
    fn head(
        &mut self,
        job: &Job,
        ask: Ask,
        under: &mut Under,
    ) -> Result<Result<Head, Trouble>, Fail> {
        let report = &mut under.report;
        report.url = under.hop.target.url.to_string();
        report.method.clone_from(&ask.method);
        report.referer = under.hop.referer.clone().unwrap_or_default();
        report.size_request += ask.size();
        let (now, length) = (self.lp.world.now(), ask.upload.len());
        let length = length.filter(|length| *length >= METER_MIN);
        self.lp.get(self.talk).meter = length.and_then(|length| self.meter(Some(length), job));
        self.lp.with(self.talk, |talk, cx| talk.begin(cx.env, now, ask));
        self.wait(|talk| talk.head.is_some() || talk.end.is_some())?;
        let exchange = self.lp.get(self.talk);
        Ok(match (&exchange.head, exchange.end.take()) {
            (Some(head), _) => Ok(head.clone()),
            (None, Some(Err(trouble))) => Err(trouble),
            // It ends well only behind a head.
            (None, _) => Err(Trouble::Read),
        })
    }

    /// Notes what is known of the request under way.
    fn note(&mut self, under: &mut Under) {
        let (seen, exchange) = (self.watch.seen(), self.lp.get(self.talk));
        let since = |at: Option<Instant>| at.map(|at| at.since(under.began));
        let report = &mut under.report;
        report.remote.clone_from(&exchange.remote);
        let times = &mut report.times;
        times.name = since(exchange.resolved).unwrap_or(times.name);
        times.connect = since(seen.opened).unwrap_or(times.name);
        times.secure = since(seen.secure);
        times.sent = since(seen.first).unwrap_or(times.secure.unwrap_or(times.connect));
        times.asked = since(seen.sent).unwrap_or(times.sent);
        times.first = since(seen.heard).unwrap_or(times.first);
        if let Some(id) = seen.id.filter(|_| self.wanted.timing || self.wanted.verbose) {
            report.link = self.link(id).unwrap_or(std::mem::take(&mut report.link));
        }
    }

    /// What the kernel and TLS know of a connection, as long as it stands.
    fn link(&mut self, id: Id) -> Option<String> {
        let plain = self.client.host(&mut self.lp.env)?;
        let info = match id.driver == plain.driver {
            true => tcp::info(&mut self.lp, plain, id),
            false => tcp::info(&mut self.lp, self.secure, id),
        };
        let info = info.ok()?;
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let mut text = format!(
            "round trip {:.3} ms ± {:.3}, {} retransmitted",
            millis(info.round_trip),
            millis(info.round_trip_deviation),
            info.retransmissions,
        );
        if let Some(agreed) = agreed(&mut self.lp.env, id) {
            let version = agreed.version.unwrap_or(ProtocolVersion::Unknown(0));
            let alpn = agreed.alpn.as_deref().map(String::from_utf8_lossy);
            text.push_str(&format!(
                "; {}, {:?}, {}",
                format!("{version:?}").replace('_', "."),
                agreed.cipher.map_or(CipherSuite::Unknown(0), |cipher| cipher.suite()),
                alpn.as_deref().unwrap_or("no ALPN"),
            ));
            text.push_str(if agreed.resumed { ", resumed" } else { "" });
        }
        Some(text)
    }

    /// Shows a head, and those that came before it, wherever they are wanted.
    fn show(&mut self, head: &Head, job: &Job, under: &mut Under) {
        let interim = std::mem::take(&mut self.lp.get(self.talk).interim);
        for head in interim.iter().chain([head]) {
            under.report.size_header += head.text.len() as u64;
            if self.wanted.verbose {
                tell('<', &head.text);
            }
            self.show_text(&head.text, job, under);
        }
    }

    fn show_text(&self, text: &[u8], job: &Job, under: &mut Under) {
        if let Some(dump) = &self.dump {
            let _ = dump.push(text);
        }
        match (&under.file, &job.sink) {
            _ if !self.wanted.show_head => {}
            (Some(output), _) => drop(output.push(text)),
            (None, Sink::Stdout) => drop(self.stdout.push(text)),
            (None, _) => under.shown.extend_from_slice(text),
        }
    }

    /// Whether the head leads to another request, which is what comes next then.
    fn redirected(&mut self, head: &Head, under: &mut Under) -> Result<bool, Fail> {
        let location = head.get("Location").filter(|to| head.redirects() && !to.is_empty());
        let Some(location) = location else { return Ok(false) };
        let target = under.hop.target.join(location);
        if !self.wanted.follow {
            let url = target.map_or(location.to_string(), |target| target.url.to_string());
            under.report.redirect_url = url;
            return Ok(false);
        }
        if let Some(most) = self.wanted.max_redirects.filter(|n| under.report.redirects >= *n) {
            let text = format!("more than {most} redirects; --max-redirs allows more");
            return Err(Fail::new(codes::REDIRECTS, text));
        }
        under.report.redirects += 1;
        let target = target.map_err(|fail| {
            Fail::new(fail.code, format!("redirected to {location:?}: {}", fail.text))
        })?;
        under.hop.follow(&self.wanted, head.status, target);
        if under.hop.upload == Upload::Stdin {
            let text = "the redirect asks for stdin a second time; say -T FILE";
            return Err(Fail::new(codes::REWIND, text));
        }
        Ok(true)
    }

    /// The body that is kept, or why it is not.
    fn body(&mut self, job: &Job, head: &Head, under: &mut Under) -> Outcome {
        let wanted = &self.wanted;
        let from = under.hop.from;
        let nothing_left = from > 0 && head.status == 416;
        if wanted.fail && head.status >= 400 && !nothing_left {
            return Err(refused(head));
        }
        if from > 0 && (200..300).contains(&head.status) && head.status != 206 {
            let text = format!("the server sends all, not from byte {from}; leave -C out");
            return Err(Fail::new(codes::RANGE, text));
        }
        let length = head.get("Content-Length").and_then(|text| text.parse::<u64>().ok());
        let length = length.filter(|_| !wanted.head_only);
        if let (Some(length), Some(most)) = (length, wanted.max_size)
            && length > most
        {
            let text = format!("{length} bytes are more than {most}; see --max-filesize");
            return Err(Fail::new(codes::LARGE, text));
        }
        if nothing_left {
            return self.take(Into::Drop(0));
        }
        let output = match sink::open(wanted, &job.sink, head)? {
            None => self.stdout.clone(),
            Some((path, file)) => {
                under.report.file = path.display().to_string();
                let output = Output::new(self.mailbox.clone(), file)?;
                let _ = output.push(&under.shown);
                under.file = Some(output.clone());
                output
            }
        };
        let meter = self.meter(length, job);
        self.lp.get(self.talk).meter = meter;
        let taken = self.take(Into::To(output));
        self.note(under);
        let exchange = self.lp.get(self.talk);
        under.report.size_download = exchange.size_download;
        under.report.size_upload = exchange.size_upload;
        let (trailers, end) = (std::mem::take(&mut exchange.trailers), exchange.end.take());
        self.show_text(&trailers, job, under);
        taken?;
        match end {
            Some(Err(trouble)) => Err(self.fail(trouble, None, under)),
            _ if self.wanted.fail_with_body && head.status >= 400 => Err(refused(head)),
            _ => Ok(()),
        }
    }

    /// For so many bytes, if anybody is to see how far they are.
    fn meter(&self, length: Option<u64>, job: &Job) -> Option<Meter> {
        let Wanted { silent, no_progress, bar, .. } = self.wanted;
        if silent || no_progress {
            return None;
        }
        Meter::new(length, job.sink == Sink::Stdout, bar)
    }

    /// Says where the body goes, and waits for its end.
    fn take(&mut self, into: Into) -> Outcome {
        self.lp.with(self.talk, |talk, cx| talk.take(cx.env, into));
        self.wait(|talk| talk.end.is_some())
    }

    fn wait(&mut self, done: impl Fn(&Talk) -> bool) -> Result<(), Fail> {
        while !done(self.lp.get(self.talk)) {
            self.lp.turn(None)?;
        }
        Ok(())
    }

    fn fail(&mut self, trouble: Trouble, place: Option<&Place>, under: &Under) -> Fail {
        let exchange = self.lp.get(self.talk);
        let (begun, received) = (exchange.head.is_some(), exchange.size_download);
        let remote = under.report.remote.as_ref();
        let circumstances = Circumstances {
            place,
            proxied: self.wanted.route.proxy(&under.hop.target.url).is_some(),
            remote: remote.map(ToString::to_string).unwrap_or_default(),
            begun,
            received,
            max_time: self.wanted.max_time,
            connect_timeout: self.wanted.connect_timeout,
            max_size: self.wanted.max_size,
        };
        circumstances.fail(trouble)
    }
}

fn refused(head: &Head) -> Fail {
    Fail::new(codes::STATUS, format!("the server answered {}; see its heads with -i", head.status))
}

fn status(report: &Report) -> u16 {
    report.head.as_ref().map_or(0, |head| head.status)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3), within the longest wait.
fn asked_wait(report: &Report) -> Duration {
    let head = report.head.as_ref();
    let seconds = head.and_then(|head| head.get("Retry-After")).and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(RETRY_WAIT_MAX)
}

/// Waits until all of it is written.
fn flushed(lp: &mut Loop<Os>, output: &Output) -> Outcome {
    common::until(lp, |wait| output.flushed(wait))?;
    output.failed().map_or(Ok(()), |kind| Err(unwritten(kind)))
}

/// A head on stderr, each line marked by who says it.
pub(super) fn tell(mark: char, head: &[u8]) {
    for line in String::from_utf8_lossy(head).lines() {
        talk(&format!("{mark} {line}"));
    }
}
