//! What the tests of the client share: a driver that asks, whose jobs are slots, in any world.
#![allow(dead_code, reason = "each test file uses its part")]

use loopwork_http::client::{Client, Failure, Ticket};
use loopwork_http::core::Body;
use loopwork_http::core::encode::{Connection, RequestHead};
use loopwork_http::tcp::reactor::{Address, Cx, Driver, Env, Handle, Id, Loop, Os, Ready, World};
use loopwork_http::tcp::{Flow, reactor::Streams};
use std::time::{Duration, Instant};

/// One request, and what came of it.
#[derive(Default)]
pub(crate) struct Job {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The body that is sent; `None` sends none.
    pub(crate) upload: Option<Vec<u8>>,
    pub(crate) chunked: bool,
    /// Offers to change the protocol; the upload is for the next one.
    pub(crate) upgrade: bool,
    /// Pulls nothing while this is set.
    pub(crate) deaf: bool,
    /// Lets go when so many bytes of the answer have come.
    pub(crate) release_at: Option<usize>,
    pub(crate) sent: usize,
    pub(crate) finished: bool,
    pub(crate) ticket: Option<Ticket>,
    /// Statuses of interim responses.
    pub(crate) interim: Vec<u16>,
    pub(crate) tunnel: bool,
    pub(crate) status: u16,
    pub(crate) head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) outcome: Option<Result<(), Option<Failure>>>,
}

impl Job {
    pub(crate) fn get(target: &str) -> Job {
        Job { method: "GET", target: target.to_owned(), ..Job::default() }
    }

    pub(crate) fn put(target: &str, body: Vec<u8>, chunked: bool) -> Job {
        Job { method: "PUT", upload: Some(body), chunked, ..Job::get(target) }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.head.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = all.next().map(|(_, v)| v.as_str());
        assert!(all.next().is_none(), "two headers {name}");
        first
    }

    pub(crate) fn text(&self) -> (u16, &str) {
        assert_eq!(self.outcome, Some(Ok(())), "{} {}", self.method, self.target);
        (self.status, std::str::from_utf8(&self.body).unwrap())
    }

    pub(crate) fn failure(&self) -> Failure {
        self.outcome.unwrap().unwrap_err().unwrap()
    }
}

pub(crate) struct Asker {
    pub(crate) client: Client,
    pub(crate) jobs: Vec<Job>,
    driver: u16,
}

impl Asker {
    fn begin(&mut self, env: &mut Env, to: &Address, mut job: Job) {
        let body = match &job.upload {
            None => Body::None,
            Some(_) if job.upgrade || job.method == "CONNECT" => Body::None,
            Some(_) if job.chunked => Body::Chunked,
            Some(bytes) => Body::Length(bytes.len() as u64),
        };
        let (method, target) = (job.method, &job.target[..]);
        let connection = if job.upgrade { Connection::Upgrade } else { Connection::Implicit };
        let head = RequestHead { method, target, host: "a", body, connection };
        let id = Id { birth: 1, slot: self.jobs.len() as u32, driver: self.driver };
        let headers = job.headers.iter().map(|(n, v)| (n, v));
        job.ticket = Some(self.client.request(env, to.clone(), id, &head, headers).unwrap());
        self.jobs.push(job);
        env.wake(id);
    }

    /// Sends what goes, takes what came.
    fn step(&mut self, env: &mut Env, slot: usize) {
        let job = &mut self.jobs[slot];
        let (Some(t), None) = (job.ticket, job.outcome) else { return };
        if let Some(bytes) = &job.upload {
            while job.sent < bytes.len() && self.client.flow(env, t) == Flow::Open {
                let piece = &bytes[job.sent..bytes.len().min(job.sent + 10_000)];
                job.sent += piece.len();
                let _ = self.client.write(env, t, piece);
            }
            if job.sent == bytes.len() && !std::mem::replace(&mut job.finished, true) {
                self.client.finish(env, t);
            }
        }
        let x = self.client.exchange(&mut env.shared, t).expect("not released yet");
        x.interim(|response| job.interim.push(response.status));
        if job.status == 0
            && let Some(response) = x.response()
        {
            job.status = response.status;
            let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
            job.head = response.headers.iter().map(|(n, v)| (n.to_owned(), text(v))).collect();
            job.tunnel = x.is_tunnel();
        }
        if !job.deaf {
            x.pull(&mut env.calls, Flow::Open, |bytes| job.body.extend_from_slice(bytes));
        }
        job.outcome = match x.failure() {
            Some(why) => Some(Err(Some(why))),
            None if x.done() => Some(Ok(())),
            None if job.release_at.is_some_and(|n| job.body.len() >= n) => Some(Err(None)),
            None => None,
        };
        if job.outcome.is_some() {
            self.client.release(env, t);
            assert!(self.client.exchange(&mut env.shared, t).is_none());
        }
    }
}

impl<W: World> Driver<W> for Asker {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}
    fn on_wake(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        self.step(cx.env, id.slot as usize);
    }
}

/// Adds an asker to a loop.
pub(crate) fn add<W: Streams>(lp: &mut Loop<W>, client: Client) -> Handle<Asker> {
    lp.add(|handle: Handle<Asker>| Asker { client, jobs: Vec::new(), driver: handle.driver })
}

/// Begins a job; its number.
pub(crate) fn ask<W: World>(
    lp: &mut Loop<W>,
    asker: Handle<Asker>,
    to: &Address,
    job: Job,
) -> usize {
    lp.with(asker, |asker, cx| {
        asker.begin(cx.env, to, job);
        asker.jobs.len() - 1
    })
}

/// Looks at a job again.
pub(crate) fn poke<W: World>(lp: &mut Loop<W>, asker: Handle<Asker>, job: usize) {
    lp.with(asker, |asker, cx| asker.step(cx.env, job));
}

/// Turns until `ready`.
pub(crate) fn until(lp: &mut Loop<Os>, what: &str, mut ready: impl FnMut(&mut Loop<Os>) -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !ready(lp) {
        assert!(Instant::now() < until, "{what}");
        lp.turn(Some(Duration::from_millis(5))).unwrap();
    }
}

/// Turns until all jobs are over.
pub(crate) fn finish(lp: &mut Loop<Os>, asker: Handle<Asker>) {
    until(lp, "all jobs", |lp| lp.get(asker).jobs.iter().all(|job| job.outcome.is_some()));
}
