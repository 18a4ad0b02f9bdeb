//! An application that is watched: its requests are counted and logged, and two paths tell how it
//! is.
//!
//! Rules of this file:
//! * The application inside does not notice: what it says goes out as it is.
//! * Each request is counted once, when it is done with, whoever answered it.
//! * Requests that become WebSockets are not seen here: they are no exchanges.

use super::counters::Counters;
use super::log::{Line, Log};
use loopwork::http::core::{Headers, Malformed, Method, Request};
use loopwork::http::{Answer, App, Late, Reply};
use loopwork::tcp::Close;
use loopwork::{Env, Id, Instant};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What is told, besides the application.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) counters: Arc<Counters>,
    pub(super) log: Option<Log>,
    /// `/metrics` is told.
    pub(super) metrics: bool,
    /// `/health` is told.
    pub(super) health: bool,
}

/// An application, and who watches it.
pub(super) struct Watched<A> {
    pub(super) app: A,
    pub(super) watch: Watch,
}

/// One request, as it is counted.
struct Seen {
    line: Option<Line>,
    began: Instant,
    status: u16,
    bytes: u64,
}

/// Notes what was answered up to now.
fn look(seen: &mut Option<Seen>, reply: &Reply<'_>) {
    if let Some(seen) = seen {
        (seen.status, seen.bytes) = (reply.status().unwrap_or(0), reply.written());
    }
}

impl Watch {
    fn done(&self, seen: Seen, now: Instant, cut: bool) {
        let took = now.since(seen.began);
        self.counters.end(seen.status, seen.bytes, took, cut);
        if let (Some(log), Some(line)) = (&self.log, seen.line) {
            // What nginx writes for a client that went before it was answered.
            let status = if seen.status == 0 { 499 } else { seen.status };
            if !log.write(line, status, seen.bytes, took, cut) {
                self.counters.unlogged.fetch_add(1, Relaxed);
            }
        }
    }

    /// Answers on the paths that are told here; `None` on all others.
    fn tell<X>(&self, request: &Request<'_>, reply: Reply<'_>) -> Option<Answer<X>> {
        if !matches!(request.method, Method::Get | Method::Head) {
            return None;
        }
        let plain = "text/plain; charset=utf-8";
        let (kind, text) = match request.path() {
            "/metrics" if self.metrics => {
                ("text/plain; version=0.0.4; charset=utf-8", self.counters.text())
            }
            "/health" if self.health => (plain, "ok\n".to_string()),
            _ => return None,
        };
        let headers = [("Content-Type", kind), ("Cache-Control", "no-store")];
        Some(reply.send(200, &headers, text.as_bytes()))
    }
}

/// What is remembered of a request: the application's, and ours.
pub(super) struct Kept<X> {
    x: X,
    /// Always there.
    seen: Option<Seen>,
}

impl<A: App> App for Watched<A> {
    type Exchange = Kept<A::Exchange>;

    fn on_request(
        &mut self,
        request: &Request<'_>,
        mut reply: Reply<'_>,
    ) -> Answer<Self::Exchange> {
        let watch = &self.watch;
        watch.counters.begin();
        let line = watch.log.as_ref().map(|log| log.note(request, reply.peer(), reply.env));
        let began = reply.env.now;
        let mut seen = Some(Seen { line, began, status: 0, bytes: 0 });
        let answer = match watch.tell(request, reply.reborrow()) {
            Some(answer) => answer,
            None => self.app.on_request(request, reply.reborrow()),
        };
        look(&mut seen, &reply);
        // What is not answered later is done with.
        let answer = answer.map(|x| Kept { x, seen: seen.take() });
        if let Some(seen) = seen {
            watch.done(seen, began, false);
        }
        answer
    }

    fn on_body(&mut self, kept: &mut Self::Exchange, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        let used = self.app.on_body(&mut kept.x, reply, bytes);
        look(&mut kept.seen, reply);
        used
    }

    fn on_body_end(
        &mut self,
        kept: &mut Self::Exchange,
        reply: &mut Reply<'_>,
        trailers: &Headers<'_>,
    ) {
        self.app.on_body_end(&mut kept.x, reply, trailers);
        look(&mut kept.seen, reply);
    }

    fn on_more(&mut self, kept: &mut Self::Exchange, reply: &mut Reply<'_>) {
        self.app.on_more(&mut kept.x, reply);
        look(&mut kept.seen, reply);
    }

    fn on_done(&mut self, kept: Self::Exchange, env: &mut Env, cut: Option<Close>) {
        self.app.on_done(kept.x, env, cut);
        if let Some(seen) = kept.seen {
            self.watch.done(seen, env.now, cut.is_some());
        }
    }

    fn on_malformed(&mut self, env: &mut Env, id: Id, why: Malformed) {
        self.watch.counters.malformed.fetch_add(1, Relaxed);
        self.app.on_malformed(env, id, why);
    }

    fn on_late(&mut self, env: &mut Env, id: Id, with: Late) {
        self.watch.counters.late.fetch_add(1, Relaxed);
        self.app.on_late(env, id, with);
    }

    fn understands(&self, method: Method<'_>) -> bool {
        self.app.understands(method)
    }
}
