//! What is sent: method, target and headers of each request of a transfer.
//!
//! Rules of this file:
//! * A header of the command line takes the place of ours.
//! * Who is redirected to another origin takes no credentials along (RFC 9110 §15.4).

use super::cookies::Jar;
use super::data::Upload;
use super::exchange::Ask;
use super::target::{Target, basic};
use super::wanted::{Job, Wanted};
use loopwork::http::core::Body;
use loopwork::http::inflate::ACCEPT;

/// A body that is longer, or of which nobody knows how long it will be, waits for `100 Continue`:
/// curl's limit. One that is refused would be sent in vain.
const EXPECT_MIN: u64 = 1 << 20;

/// One request of a transfer, and what it began with.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    first: Target,
    pub(super) target: Target,
    /// What the body and `-I` make of it; `-X` names another.
    implied: &'static str,
    pub(super) upload: Upload,
    /// Where the body goes on in its file.
    pub(super) from: u64,
    pub(super) referer: Option<String>,
    /// The server does not want to be asked before a body.
    pub(super) unexpecting: bool,
}

impl Hop {
    pub(super) fn first(wanted: &Wanted, job: &Job, from: u64) -> Hop {
        let implied = match (&job.upload, wanted.head_only) {
            (_, true) => "HEAD",
            (Upload::None, _) => "GET",
            (Upload::Bytes(_), _) => "POST",
            (Upload::File(..) | Upload::Stdin, _) => "PUT",
        };
        Hop {
            first: job.target.clone(),
            target: job.target.clone(),
            implied,
            upload: job.upload.clone(),
            from,
            referer: wanted.referer.clone().filter(|text| !text.is_empty()),
            unexpecting: false,
        }
    }

    /// Goes where a redirect of this status leads.
    pub(super) fn follow(&mut self, wanted: &Wanted, status: u16, to: Target) {
        if wanted.referer_auto {
            self.referer = Some(self.target.url.to_string());
        }
        self.target = to;
        let keeps = |at: usize| self.implied == "POST" && wanted.keep_post[at];
        // RFC 9110 §15.4: a POST becomes a GET, as everybody does it, but for 307 and 308.
        let becomes_get = match status {
            301 => self.implied == "POST" && !keeps(0),
            302 => self.implied == "POST" && !keeps(1),
            303 => self.implied != "HEAD" && !keeps(2),
            _ => false,
        };
        if becomes_get {
            (self.implied, self.upload) = ("GET", Upload::None);
        }
    }

    pub(super) fn method<'w>(&self, wanted: &'w Wanted) -> &'w str {
        wanted.method.as_deref().unwrap_or(self.implied)
    }

    /// Whether credentials for the first request are for this one, too.
    fn home(&self, wanted: &Wanted) -> bool {
        wanted.trusted || self.target.url.same_origin(&self.first.url)
    }

    /// The request itself.
    pub(super) fn ask(&self, wanted: &Wanted, jar: Option<&Jar>, now: u64) -> Ask {
        let url = &self.target.url;
        let tunnel = wanted.route.tunnel(url);
        let proxied = tunnel.is_none() && wanted.route.proxy(url).is_some();
        let own = wanted.request_target.clone();
        // RFC 9112 §3.2.2: a proxy is asked for the whole URL.
        let target = own.unwrap_or(if proxied { url.to_string() } else { url.target.clone() });
        let same = url.same_origin(&self.first.url);
        let host = wanted.host.clone().filter(|_| same).unwrap_or_else(|| url.authority());
        let body = match &self.upload {
            Upload::None => Body::None,
            Upload::Stdin => Body::Chunked,
            _ if wanted.chunked => Body::Chunked,
            Upload::Bytes(bytes) => Body::Length(bytes.len() as u64),
            Upload::File(_, len) => Body::Length(*len),
        };
        Ask {
            method: self.method(wanted).to_string(),
            target,
            host,
            connection: wanted.connection,
            headers: self.headers(wanted, jar, now),
            upload: self.upload.clone(),
            body,
            place: wanted.route.place(url),
            name: (url.scheme == "https").then(|| url.host.as_str().into()),
            through: tunnel,
        }
    }

    fn headers(&self, wanted: &Wanted, jar: Option<&Jar>, now: u64) -> Vec<(String, String)> {
        let home = self.home(wanted);
        let named = |name: &str| {
            let same = |given: &String| given.eq_ignore_ascii_case(name);
            wanted.without.iter().any(same) || wanted.headers.iter().any(|(given, _)| same(given))
        };
        let ours = self.ours(wanted, home, jar, now).into_iter();
        let mut list: Vec<(String, String)> = ours
            .filter_map(|(name, value)| value.map(|value| (name.to_string(), value)))
            .filter(|(name, _)| !named(name))
            .collect();
        let secret = |name: &str| {
            let secrets = ["Authorization", "Cookie", "Proxy-Authorization"];
            secrets.iter().any(|s| name.eq_ignore_ascii_case(s))
        };
        let body = self.upload != Upload::None || self.implied != "GET" || self.untouched();
        for (name, value) in &wanted.headers {
            let about_body = name.to_ascii_lowercase().starts_with("content-");
            if (home || !secret(name)) && (body || !about_body) {
                list.push((name.clone(), value.clone()));
            }
        }
        list
    }

    /// No redirect has been followed yet.
    fn untouched(&self) -> bool {
        self.target == self.first
    }

    /// Headers that are not asked for one by one.
    fn ours(
        &self,
        wanted: &Wanted,
        home: bool,
        jar: Option<&Jar>,
        now: u64,
    ) -> [(&'static str, Option<String>); 10] {
        let url = &self.target.url;
        let agent = wanted.agent.clone();
        let agent = agent.unwrap_or(concat!("loopwork/", env!("CARGO_PKG_VERSION")).to_string());
        let own = self.target.user.as_deref();
        let user = own.or(self.first.user.as_deref().filter(|_| home)).map(basic);
        let authorization = user.or(wanted.authorization.clone().filter(|_| home));
        let mut cookies: Vec<String> =
            jar.and_then(|jar| jar.header(url, now)).into_iter().collect();
        let given = wanted.cookies.iter().filter(|text| home && text.contains('='));
        cookies.extend(given.cloned());
        let range = match self.from {
            0 => wanted.range.clone(),
            from => Some(format!("{from}-")),
        };
        let types = match (&self.upload, wanted.json) {
            (Upload::Bytes(_), true) => Some("application/json"),
            (Upload::Bytes(_), false) => Some("application/x-www-form-urlencoded"),
            _ => None,
        };
        let long = self.upload.len().is_none_or(|len| len > EXPECT_MIN);
        let waits = self.upload != Upload::None && long;
        let proxy = wanted.route.proxy(url).filter(|_| url.scheme != "https");
        let proxy = proxy.and_then(|proxy| proxy.authorization.clone());
        [
            ("Proxy-Authorization", proxy),
            ("Authorization", authorization),
            ("Range", range.map(|range| format!("bytes={range}"))),
            ("User-Agent", Some(agent).filter(|agent| !agent.is_empty())),
            ("Accept", Some(if wanted.json { "application/json" } else { "*/*" }.to_string())),
            ("Accept-Encoding", wanted.compressed.then(|| ACCEPT.to_string())),
            ("Referer", self.referer.clone()),
            ("Cookie", (!cookies.is_empty()).then(|| cookies.join("; "))),
            ("Content-Type", types.map(str::to_string)),
            ("Expect", (waits && !self.unexpecting).then(|| "100-continue".to_string())),
        ]
    }
}
