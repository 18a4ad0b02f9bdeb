//! The loading of a page: its document, and what that embeds, each fetched once.
//!
//! Rules of this file:
//! * It knows no world: what it is told comes by the loop, so that it runs in a simulated one.
//! * What a text embeds is asked for in the order in which it is named, as soon as that came.
//! * What fails, fails alone, and is told: the page goes on.

use super::{css, html};
use crate::get::{self, codes};
use loopwork::fetch::{Asking, Done, Error, Head, SCHEMES, Taker};
use loopwork::http::Url;
use loopwork::http::inflate::Caps;
use loopwork::http::redirect::Refused;
use loopwork::reactor::Key;
use loopwork::{Agent, Env, Fetch, Flow, Id, Instant};
use std::time::Duration;

/// What one page may embed: more than all but the strangest do.
const RESOURCES_MAX: usize = 500;
/// How much of a text is kept to be read: no browser's user waits for more.
const TEXT_MAX: usize = 8 << 20;
/// How long one resource may be: a film is not watched here.
const BYTES_MAX: u64 = 64 << 20;
/// How long one may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What is read when it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Document,
    /// A style sheet, and whether what it imports is fetched: one level down.
    Style(bool),
    Other,
}

/// One resource.
#[derive(Debug)]
pub(super) struct Resource {
    /// Where it was asked for.
    pub(super) url: Url,
    /// Who named it: a place in the list.
    pub(super) initiator: Option<usize>,
    /// Where it redirects to: a place in the list.
    pub(super) leads: Option<usize>,
    /// When it was wanted, and asked for.
    pub(super) start: Instant,
    pub(super) asked: Option<Instant>,
    /// When the head of its answer was there, and when all of it was.
    pub(super) first: Option<Instant>,
    pub(super) end: Option<Instant>,
    /// The connection that it came by.
    pub(super) connection: Option<Id>,
    /// The lines that it was asked for with, and the head of the answer.
    pub(super) asking: Vec<(String, String)>,
    pub(super) head: Option<Head>,
    pub(super) status: u16,
    /// Of the body, decoded.
    pub(super) bytes: u64,
    pub(super) failure: Option<Broken>,
}

/// Why a resource did not come.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    /// curl's exit code for it.
    pub(super) code: u8,
    pub(super) words: String,
}

/// curl's exit code; `begun`: the answer's head was there.
fn code(why: &Error, begun: bool) -> u8 {
    match why {
        Error::Name { .. } => codes::NAME,
        Error::Redirect { why: Refused::TooMany(_), .. } => codes::REDIRECTS,
        Error::Url(_) | Error::Scheme(_) | Error::Redirect { .. } => codes::PROTOCOL,
        Error::TimedOut => codes::TIME,
        Error::Exchange { why, .. } => get::code(*why, begun),
        Error::TooLong(_) => codes::LARGE,
        Error::Coding(_) => codes::CODING,
        _ => codes::CONNECT,
    }
}

impl Resource {
    fn came(&mut self, now: Instant, head: Head) {
        (self.first, self.status, self.connection) = (Some(now), head.status, head.connection);
        self.head = Some(head);
    }
}

/// A page, as far as it came.
#[derive(Default, Debug)]
pub(super) struct Story {
    pub(super) resources: Vec<Resource>,
    /// Which URLs were named, before any redirects.
    named: Vec<String>,
    /// What was named beyond the most.
    pub(super) left_out: usize,
    under_way: usize,
}

impl Story {
    /// What the page itself is, at the end of its redirects.
    pub(super) fn document(&self) -> &Resource {
        let mut at = 0;
        while let Some(next) = self.resources[at].leads {
            at = next;
        }
        &self.resources[at]
    }

    /// When it began, and when the last of it was there.
    pub(super) fn span(&self) -> (Instant, Instant) {
        let began = self.resources[0].start;
        (began, self.resources.iter().filter_map(|r| r.end).max().unwrap_or(began))
    }

    /// What answers came by; some are named more than once.
    pub(super) fn connections(&self) -> impl Iterator<Item = Id> {
        self.resources.iter().filter_map(|r| r.connection)
    }

    fn add(&mut self, url: Url, initiator: Option<usize>, start: Instant) -> usize {
        self.resources.push(Resource {
            url,
            initiator,
            leads: None,
            start,
            asked: None,
            first: None,
            end: None,
            connection: None,
            asking: Vec::new(),
            head: None,
            status: 0,
            bytes: 0,
            failure: None,
        });
        self.resources.len() - 1
    }
}

/// A load: the name of a story in the loop.
#[derive(Clone, Copy)]
pub(super) struct Load {
    agent: Agent,
    story: Key<Story>,
}

impl Load {
    /// Begins to load a page.
    pub(super) fn begin(env: &mut Env, agent: Agent, url: &Url) -> Load {
        let load = Load { agent, story: env.shared.add(Story::default()) };
        load.want(env, url, Kind::Document, None);
        load
    }

    pub(super) fn is_over(self, env: &mut Env) -> bool {
        self.story(env).under_way == 0
    }

    pub(super) fn story(self, env: &mut Env) -> &mut Story {
        env.shared.get(self.story)
    }

    fn want(self, env: &mut Env, url: &Url, kind: Kind, initiator: Option<usize>) {
        let (start, text) = (env.now, url.to_string());
        let story = self.story(env);
        if story.named.contains(&text) {
            return;
        }
        if story.resources.len() >= RESOURCES_MAX {
            story.left_out += 1;
            return;
        }
        story.named.push(text.clone());
        let at = story.add(url.clone(), initiator, start);
        story.under_way += 1;
        let taker =
            Taking { load: self, at, kind, base: None, text: Vec::new(), read: 0, known: 0 };
        let fetch = Fetch::get(&text).inflate(Caps::default()).limit(BYTES_MAX).timeout(TIME_MAX);
        fetch.begin(env, self.agent, taker);
    }
}

/// What takes one resource.
struct Taking {
    load: Load,
    at: usize,
    kind: Kind,
    /// What `<base>` says.
    base: Option<Url>,
    /// What is read, how much of it was, and how much was found in that.
    text: Vec<u8>,
    read: usize,
    known: usize,
}

impl Taking {
    fn resource<'e>(&self, env: &'e mut Env) -> &'e mut Resource {
        &mut self.load.story(env).resources[self.at]
    }

    fn embeds(&self, env: &mut Env, reference: &str, kind: Kind) {
        let own = self.resource(env).url.clone();
        // What is none of ours, `data:` above all, is nothing to be fetched.
        if let Ok(mut url) = self.base.as_ref().unwrap_or(&own).join(reference, SCHEMES) {
            url.login = url.login.filter(|_| (&url.host, url.port) == (&own.host, own.port));
            self.load.want(env, &url, kind, Some(self.at));
        }
    }

    fn read(&mut self, env: &mut Env) {
        self.read = self.text.len();
        match self.kind {
            Kind::Other => {}
            Kind::Document => {
                let list = html::found(&self.text);
                for found in &list[self.known.min(list.len())..] {
                    match found {
                        html::Found::Style(url) => self.embeds(env, url, Kind::Style(true)),
                        html::Found::Other(url) => self.embeds(env, url, Kind::Other),
                        html::Found::Base(url) if self.base.is_none() => {
                            self.base = self.resource(env).url.join(url, SCHEMES).ok();
                        }
                        html::Found::Base(_) => {}
                    }
                }
                self.known = list.len();
            }
            Kind::Style(imports) => {
                for found in css::found(&String::from_utf8_lossy(&self.text)) {
                    match found.import {
                        false => self.embeds(env, &found.url, Kind::Other),
                        true if imports => self.embeds(env, &found.url, Kind::Style(false)),
                        true => {}
                    }
                }
            }
        }
    }
}

impl Taker for Taking {
    fn on_asking(&mut self, env: &mut Env, asking: &Asking<'_>) {
        let now = env.now;
        let resource = self.resource(env);
        resource.asked.get_or_insert(now);
        resource.asking = asking.headers.to_vec();
    }

    fn on_redirect(&mut self, env: &mut Env, head: &Head, to: &Url) {
        let now = env.now;
        let resource = self.resource(env);
        resource.came(now, head.clone());
        resource.end = Some(now);
        let (story, before) = (self.load.story(env), self.at);
        self.at = story.add(to.clone(), Some(before), now);
        story.resources[before].leads = Some(self.at);
    }

    fn on_head(&mut self, env: &mut Env, head: Head) {
        let now = env.now;
        let text = head.headers.text("content-type").unwrap_or("text/html");
        if self.kind == Kind::Document && !text.to_ascii_lowercase().contains("html") {
            self.kind = Kind::Other;
        }
        self.resource(env).came(now, head);
    }

    fn on_body(&mut self, env: &mut Env, bytes: &[u8]) -> Flow {
        self.resource(env).bytes += bytes.len() as u64;
        if self.kind != Kind::Other {
            let room = TEXT_MAX.saturating_sub(self.text.len());
            self.text.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
        // Read again when it has grown by half: all readings together cost three times the last.
        if self.kind == Kind::Document && self.text.len() > self.read + self.read / 2 {
            self.read(env);
        }
        Flow::Open
    }

    fn on_end(mut self: Box<Self>, env: &mut Env, end: Result<Done, Error>) {
        self.read(env);
        let now = env.now;
        let resource = self.resource(env);
        resource.end = Some(now);
        let begun = resource.first.is_some();
        resource.failure =
            end.err().map(|why| Broken { code: code(&why, begun), words: why.to_string() });
        self.load.story(env).under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::super::phases;
    use super::*;
    use loopwork::http::core::Request;
    use loopwork::http::{Answer, App, Http, Reply};
    use loopwork::sim::{Faults, Sim, TraceHash, cargo_test, check};
    use loopwork::tls::{Tls, config};
    use loopwork::{Loop, tcp};
    use std::net::SocketAddr;

    /// Turns after which a run is called stuck.
    const TURNS: usize = 200_000;

    struct Site;

    impl App for Site {
        type Exchange = ();

        fn on_request(&mut self, r: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
            let (kind, body): (_, &[u8]) = match r.path() {
                "/" => return reply.send(302, &[("Location", "/page/")], b""),
                "/page/" => (
                    "text/html",
                    b"<base href=/x/><link rel=stylesheet href=a.css><img src=a><img src=/b>\
                      <img src=http://127.0.0.1:1/nobody><img src=data:,><img src=a>",
                ),
                "/x/a.css" => ("text/css", b"@import 'b.css';a{background:url(c)}"),
                "/x/b.css" => ("text/css", b"@import 'deep.css';a{background:url(../d)}"),
                _ => ("image/png", &[7; 5000]),
            };
            reply.send(200, &[("Content-Type", kind)], body)
        }
    }

    /// Loads the page, and looks at what came of it.
    fn load(lp: &mut Loop<Sim>, agent: Agent, url: &str) -> Load {
        let load = Load::begin(&mut lp.env, agent, &Url::parse(url, SCHEMES).unwrap());
        for turn in 0.. {
            if load.is_over(&mut lp.env) {
                break;
            }
            assert!(turn < TURNS, "stuck: {:?}", load.story(&mut lp.env));
            lp.turn(Some(Duration::from_millis(1))).unwrap();
        }
        let story = load.story(&mut lp.env);
        let mut targets = Vec::new();
        for r in &story.resources {
            assert_eq!(r.failure.is_some(), r.url.port == 1, "{r:?}");
            assert!(r.end >= r.first && r.initiator < Some(story.resources.len()), "{r:?}");
            targets.push(r.url.target.as_str());
        }
        targets.sort_unstable();
        let wanted = ["/", "/b", "/d", "/nobody", "/page/", "/x/a", "/x/a.css", "/x/b.css", "/x/c"];
        assert_eq!(targets, wanted);
        let (first, document) = (&story.resources[0], story.document());
        assert_eq!((first.status, document.status), (302, 200));
        assert_eq!((&*first.url.target, &*document.url.target), ("/", "/page/"));
        load
    }

    #[test]
    fn a_page_over_lossy_links_is_the_same_again() {
        let test = "page::load::tests::a_page_over_lossy_links_is_the_same_again";
        check(100, cargo_test("loopwork-cli --bin loopwork", test), |seed| {
            let mut lp = Loop::new(Sim::with_faults(seed, Faults::rough()));
            lp.trace(Some(Box::new(TraceHash::new())));
            let at: SocketAddr = "127.0.0.1:80".parse().unwrap();
            tcp::listen(&mut lp, at, Http::new(Site)).unwrap();
            let agent = Agent::new(&mut lp);
            load(&mut lp, agent, "127.0.0.1");
            TraceHash::take(&mut lp).unwrap().value() ^ lp.world.hash().rotate_left(1)
        });
    }

    /// What rustls says differs from run to run, since its library draws its own randomness; what
    /// comes of it does not.
    #[test]
    fn a_page_by_tls_over_lossy_links_is_the_same_page() {
        let (identity, _) = config::self_signed(&["127.0.0.1".to_owned()]).unwrap();
        let server = config::server(vec![identity]).unwrap();
        for seed in 0..20 {
            let mut lp = Loop::new(Sim::with_faults(seed, Faults::rough()));
            lp.trace(Some(Box::new(Journal::default())));
            let at: SocketAddr = "127.0.0.1:443".parse().unwrap();
            tcp::listen(&mut lp, at, Tls::server(Http::new(Site), server.clone())).unwrap();
            let agent = Agent::new(&mut lp);
            agent.secure(&mut lp, || config::client_without_checks(None));
            let load = load(&mut lp, agent, "https://127.0.0.1");
            let journal = Journal::take(&mut lp);
            let story = load.story(&mut lp.env);
            let all = phases::of(story, &journal);
            assert!(all[0].secured > all[0].connected, "seed {seed}: {:?}", all[0]);
            for (r, p) in story.resources.iter().zip(&all) {
                let ends = [p.start, p.named, p.begun, p.sent, p.heard, p.end];
                assert!(ends.is_sorted(), "seed {seed}: {p:?}");
                assert!(r.failure.is_some() || p.request > 0, "seed {seed}: {r:?} {p:?}");
            }
        }
    }
}
