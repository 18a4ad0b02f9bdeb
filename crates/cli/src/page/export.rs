//! The story for other programs: as a HAR, which the developer tools of browsers open, as a trace,
//! which Perfetto and `chrome://tracing` open, and as JSON, which has all that is drawn.

use super::ladder::Rung;
use super::load::{Resource, Story};
use super::phases::{Phases, millis};
use crate::common::quote;
use loopwork::http::core::Version;
use loopwork::{Id, Instant};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(&mut out, text);
    out
}

/// Names and values, as HAR has them.
fn pairs<'a>(all: impl Iterator<Item = (&'a str, String)>) -> String {
    let pair = |(name, value): (&str, String)| {
        format!("{{\"name\":{},\"value\":{}}}", quoted(name), quoted(&value))
    };
    format!("[{}]", all.map(pair).collect::<Vec<_>>().join(","))
}

/// RFC 3339, of UTC, with milliseconds.
fn date(at: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // Sun, 06 Nov 1994 08:49:37 GMT
    let text = httpdate::fmt_http_date(at);
    let month = MONTHS.find(&text[8..11]).unwrap_or(0) / 3 + 1;
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_millis();
    format!("{}-{month:02}-{}T{}.{millis:03}Z", &text[12..16], &text[5..7], &text[17..25])
}

/// HAR 1.2. `wall` is what a clock on the wall said when the page was begun.
pub(super) fn har(story: &Story, phases: &[Phases], wall: SystemTime) -> String {
    let (began, ended) = story.span();
    let at = |at: Instant| date(wall + at.since(began));
    let mut ids: Vec<Id> = Vec::new();
    let entries: Vec<String> = story
        .resources
        .iter()
        .zip(phases)
        .map(|(r, p)| {
            let number = r.connection.map(|id| match ids.iter().position(|known| *known == id) {
                Some(n) => n + 1,
                None => {
                    ids.push(id);
                    ids.len()
                }
            });
            entry(r, p, &at(p.start), number)
        })
        .collect();
    let (url, load) = (quoted(&story.resources[0].url.to_string()), millis(began, ended));
    format!(
        "{{\"log\":{{\"version\":\"1.2\",\"creator\":{{\"name\":\"loopwork\",\"version\":\"{}\"}},\
         \"pages\":[{{\"startedDateTime\":\"{}\",\"id\":\"page\",\"title\":{url},\
         \"pageTimings\":{{\"onContentLoad\":-1,\"onLoad\":{load:.3}}}}}],\
         \"entries\":[\n{}\n]}}}}\n",
        env!("CARGO_PKG_VERSION"),
        at(began),
        entries.join(",\n")
    )
}

fn entry(r: &Resource, p: &Phases, started: &str, connection: Option<usize>) -> String {
    let (query, head) = (r.url.target.split_once('?').map_or("", |(_, query)| query), &r.head);
    let query = query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name, value.to_owned())
    });
    let version = match head.as_ref().map(|head| head.version) {
        Some(Version::Http10) => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let lines = head.iter().flat_map(|head| head.headers.0.iter());
    let lines = lines.map(|(n, v)| (n.as_str(), String::from_utf8_lossy(v).into_owned()));
    let of = |name| head.as_ref().and_then(|head| head.headers.text(name)).unwrap_or_default();
    let reason = head.as_ref().map_or(String::new(), |h| String::from_utf8_lossy(&h.reason).into());
    let asked = r.asking.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let mut text = format!(
        "{{\"pageref\":\"page\",\"startedDateTime\":\"{started}\",\"time\":{:.3},\
         \"request\":{{\"method\":\"GET\",\"url\":{},\"httpVersion\":\"HTTP/1.1\",\"cookies\":[],\
         \"headers\":{},\"queryString\":{},\"headersSize\":{},\"bodySize\":0}},",
        millis(p.start, p.end),
        quoted(&r.url.to_string()),
        pairs(asked),
        pairs(query),
        if p.request > 0 { p.request.to_string() } else { "-1".to_owned() },
    );
    let _ = write!(
        text,
        "\"response\":{{\"status\":{},\"statusText\":{},\"httpVersion\":\"{version}\",\
         \"cookies\":[],\"headers\":{},\"content\":{{\"size\":{},\"mimeType\":{}}},\
         \"redirectURL\":{},\"headersSize\":-1,\"bodySize\":-1}},\"cache\":{{}},\"timings\":{}",
        r.status,
        quoted(&reason),
        pairs(lines),
        r.bytes,
        quoted(of("content-type")),
        quoted(of("location")),
        timings(p),
    );
    if let Some(number) = connection {
        let _ = write!(text, ",\"connection\":\"{number}\"");
    }
    if let Some(why) = &r.failure {
        let _ = write!(text, ",\"_error\":{}", quoted(&why.words));
    }
    text.push('}');
    text
}

/// Of HAR: -1 is what did not happen, and TLS is a part of connecting, too.
fn timings(p: &Phases) -> String {
    let or = |at: Option<f64>| at.map_or("-1".to_owned(), |ms| format!("{ms:.3}"));
    let stood = p.secured.or(p.connected);
    let ssl = p.secured.zip(p.connected).map(|(to, from)| millis(from, to));
    format!(
        "{{\"blocked\":{:.3},\"dns\":{:.3},\"connect\":{},\"ssl\":{},\"send\":{:.3},\
         \"wait\":{:.3},\"receive\":{:.3}}}",
        millis(stood.unwrap_or(p.named), p.begun),
        millis(p.start, p.named),
        or(stood.map(|to| millis(p.named, to))),
        or(ssl),
        millis(p.begun, p.sent),
        millis(p.sent, p.heard),
        millis(p.heard, p.end),
    )
}

/// All that is drawn: times are in milliseconds since the beginning, `null` what did not happen.
pub(super) fn json(story: &Story, phases: &[Phases], rungs: &[Rung]) -> String {
    let (began, ended) = story.span();
    let at = |at: Instant| format!("{:.3}", millis(began, at));
    let null = || "null".to_owned();
    let resource = |(r, p): (&Resource, &Phases)| {
        let initiator = r.initiator.map_or_else(null, |n| n.to_string());
        let failure = r.failure.as_ref().map_or_else(null, |why| quoted(&why.words));
        format!(
            "{{\"url\":{},\"initiator\":{initiator},\"status\":{},\"bytes\":{},\"start\":{},\
             \"named\":{},\"connected\":{},\"secured\":{},\"begun\":{},\"sent\":{},\
             \"heard\":{},\"end\":{},\"failure\":{failure}}}",
            quoted(&r.url.to_string()),
            r.status,
            r.bytes,
            at(p.start),
            at(p.named),
            p.connected.map_or_else(null, at),
            p.secured.map_or_else(null, at),
            at(p.begun),
            at(p.sent),
            at(p.heard),
            at(p.end),
        )
    };
    let rung = |rung: &Rung| {
        let lane = |lane| format!("{lane:?}").to_lowercase();
        let (from, to, label) = (lane(rung.from), lane(rung.to), quoted(&rung.label));
        let (at, wire) = (at(rung.at), rung.wire);
        format!(
            "{{\"at\":{at},\"from\":\"{from}\",\"to\":\"{to}\",\"what\":{label},\
             \"wire_seen\":{wire}}}"
        )
    };
    let resources: Vec<String> = story.resources.iter().zip(phases).map(resource).collect();
    let rungs: Vec<String> = rungs.iter().map(rung).collect();
    format!(
        "{{\"schema_version\":1,\"total\":{},\"left_out\":{},\"resources\":[\n{}\n],\
         \"ladder\":[\n{}\n]}}\n",
        at(ended),
        story.left_out,
        resources.join(",\n"),
        rungs.join(",\n")
    )
}

/// The JSON of Chrome's tracing: a track for each connection, with a slice for each phase.
pub(super) fn trace(story: &Story, phases: &[Phases]) -> String {
    let began = story.span().0;
    let micros = |d: Duration| d.as_nanos() as f64 / 1e3;
    let mut events = vec![
        "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\
         \"args\":{\"name\":\"loopwork get --page\"}}"
            .to_owned(),
    ];
    for (n, (r, p)) in story.resources.iter().zip(phases).enumerate() {
        let mut slice = |name: &str, from: Instant, to: Instant| {
            events.push(format!(
                "{{\"name\":{},\"cat\":\"page\",\"ph\":\"X\",\"ts\":{:.3},\"dur\":{:.3},\"pid\":1,\
                 \"tid\":{}}}",
                quoted(name),
                micros(from.since(began)),
                micros(to.since(from)),
                n + 1,
            ));
        };
        slice(&r.url.to_string(), p.start, p.end);
        let stood = p.secured.or(p.connected);
        for (name, from, to) in [
            ("name", p.start, p.named),
            ("connect", p.named, p.connected.unwrap_or(p.named)),
            ("TLS", p.connected.unwrap_or(p.named), stood.unwrap_or(p.named)),
            ("waits for a connection", stood.unwrap_or(p.named), p.begun),
            ("request", p.begun, p.sent),
            ("waits for the answer", p.sent, p.heard),
            ("answer", p.heard, p.end),
        ] {
            if to > from {
                slice(name, from, to);
            }
        }
    }
    format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", events.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_rfc_3339() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(date(at(784_111_777_042)), "1994-11-06T08:49:37.042Z");
        assert_eq!(date(at(0)), "1970-01-01T00:00:00.000Z");
    }
}
