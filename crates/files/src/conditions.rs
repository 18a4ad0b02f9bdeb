//! What a client has already, and what part it wants: conditional requests (RFC 9110 §13) and
//! ranges (§14).
//!
//! Rules of this file:
//! * It is pure: headers and a file's validators in, a decision out.
//! * The order of the conditions is §13.2.2's, and stands in [`Version::judge`] alone.

use crate::core::{Part, ranges};
use loopwork_http::core::Headers;
use std::time::{Duration, SystemTime};

/// What a response says of a file's version.
#[derive(Clone)]
pub(crate) struct Version {
    /// `entity-tag = DQUOTE *etagc DQUOTE`: a strong one, without a comma.
    pub(crate) tag: String,
    /// In whole seconds.
    pub(crate) modified: Option<SystemTime>,
    /// There may be compressed forms beside it, with tags of their own and perhaps the same date.
    pub(crate) varies: bool,
}

/// How a request for a file is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// With this of it: 200, 206 or 416.
    Send(Part),
    /// The client has it: 304.
    Known,
    /// It is not the version that the client means: 412.
    Other,
}

impl Version {
    /// §13.2.2 for GET and HEAD: what the version has to be, then what is known, then the range.
    /// `now` is the time of day.
    pub(crate) fn judge(
        &self,
        headers: &Headers<'_>,
        get: bool,
        len: u64,
        now: SystemTime,
    ) -> Verdict {
        // §13.2.2 steps 1 and 2.
        let meant = match headers.contains("If-Match") {
            true => self.is_listed(headers, "If-Match", false),
            false => self.is_unmodified(headers),
        };
        if !meant {
            return Verdict::Other;
        }
        // Steps 3 and 4.
        let known = match headers.contains("If-None-Match") {
            true => self.is_listed(headers, "If-None-Match", true),
            false => self.is_not_modified(headers),
        };
        if known {
            return Verdict::Known;
        }
        // Step 5. §14.2: a range means something with GET alone.
        Verdict::Send(if get { self.part(headers, len, now) } else { Part::Whole })
    }

    /// `If-Match = "*" / #entity-tag`, and `If-None-Match` (§13.1.1, §13.1.2). The first compares
    /// strongly, so that no weak tag matches, the other weakly. A comma in another's tag makes
    /// pieces of it here, of which none is ours, since a tag has quotes only around it.
    fn is_listed(&self, headers: &Headers<'_>, name: &str, weakly: bool) -> bool {
        headers.list(name).any(|tag| {
            let strong = tag.strip_prefix(b"W/").filter(|_| weakly).unwrap_or(tag);
            tag == b"*" || strong == self.tag.as_bytes()
        })
    }

    /// `If-Unmodified-Since = HTTP-date` (§13.1.4), ignored where it is no date or we have none.
    fn is_unmodified(&self, headers: &Headers<'_>) -> bool {
        let since = date(headers, "If-Unmodified-Since");
        since.zip(self.modified).is_none_or(|(since, modified)| modified <= since)
    }

    /// `If-Modified-Since = HTTP-date` (§13.1.3), ignored likewise.
    fn is_not_modified(&self, headers: &Headers<'_>) -> bool {
        let since = date(headers, "If-Modified-Since");
        since.zip(self.modified).is_some_and(|(since, modified)| modified <= since)
    }

    /// The part that a GET asks for; the whole unless `If-Range` names this version.
    fn part(&self, headers: &Headers<'_>, len: u64, now: SystemTime) -> Part {
        let range = one(headers, "Range").filter(|_| self.is_in_if_range(headers, now));
        range.map_or(Part::Whole, |range| ranges(range, len))
    }

    /// `If-Range = entity-tag / HTTP-date` (§13.1.5), compared strongly: no weak tag matches, and
    /// no date that other forms may have too, or whose second is not over, in which the file could
    /// still change (§8.8.2.2).
    fn is_in_if_range(&self, headers: &Headers<'_>, now: SystemTime) -> bool {
        if !headers.contains("If-Range") {
            return true;
        }
        match (one(headers, "If-Range"), self.modified) {
            (Some(tag), _) if tag.starts_with(['"', 'W']) && tag.ends_with('"') => tag == self.tag,
            (Some(_), Some(modified)) => {
                let over = now.duration_since(modified).is_ok_and(|d| d >= Duration::from_secs(1));
                !self.varies && over && date(headers, "If-Range") == Some(modified)
            }
            _ => false,
        }
    }
}

/// The value of a header that has one line, which is text.
fn one<'a>(headers: &Headers<'a>, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name);
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    std::str::from_utf8(line).ok()
}

/// `HTTP-date = IMF-fixdate / obs-date` (§5.6.7).
fn date(headers: &Headers<'_>, name: &str) -> Option<SystemTime> {
    one(headers, name).and_then(|text| httpdate::parse_http_date(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use httpdate::fmt_http_date;
    use loopwork_http::core::{Fields, Limits, Progress, parse_request};
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    const TAG: &str = "\"5.0-a\"";
    const LEN: u64 = 10;

    fn second(n: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(n)
    }

    /// What a file that was changed in second 1000 is answered with, in second `now`.
    fn judged(lines: &[String], get: bool, now: u64) -> Verdict {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", lines.concat());
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        let limits = Limits::default();
        let parsed = parse_request(text.as_bytes(), &mut seen, &mut fields, &limits);
        let (request, _) = parsed.expect("a request").expect("a whole one");
        let version = Version { tag: TAG.into(), modified: Some(second(1000)), varies: false };
        version.judge(&request.headers, get, LEN, second(now))
    }

    fn line(name: &str, value: &str) -> String {
        format!("{name}: {value}\r\n")
    }

    fn says(lines: &[(&str, &str)]) -> Verdict {
        let lines: Vec<_> = lines.iter().map(|(name, value)| line(name, value)).collect();
        judged(&lines, true, 5000)
    }

    const WHOLE: Verdict = Verdict::Send(Part::Whole);
    const SOME: Verdict = Verdict::Send(Part::Bytes(2, 4));

    #[test]
    fn tags() {
        for (name, value, wanted) in [
            ("If-Match", TAG, WHOLE),
            ("If-Match", "*", WHOLE),
            ("If-Match", "\"a\", \"5.0-a\"", WHOLE),
            ("If-Match", "W/\"5.0-a\"", Verdict::Other),
            ("If-Match", "\"a\"", Verdict::Other),
            ("If-Match", "5.0-a", Verdict::Other),
            ("If-Match", "", Verdict::Other),
            ("If-None-Match", TAG, Verdict::Known),
            ("If-None-Match", "*", Verdict::Known),
            ("If-None-Match", "W/\"5.0-a\"", Verdict::Known),
            ("If-None-Match", "\"x,y\", W/\"5.0-a\"", Verdict::Known),
            ("If-None-Match", "\"a\"", WHOLE),
            ("If-None-Match", "w/\"5.0-a\"", WHOLE),
        ] {
            assert_eq!(says(&[(name, value)]), wanted, "{name}: {value}");
        }
    }

    #[test]
    fn dates() {
        let (old, same, new) =
            (fmt_http_date(second(999)), fmt_http_date(second(1000)), fmt_http_date(second(1001)));
        for (name, value, wanted) in [
            ("If-Unmodified-Since", old.as_str(), Verdict::Other),
            ("If-Unmodified-Since", &same, WHOLE),
            ("If-Unmodified-Since", &new, WHOLE),
            ("If-Unmodified-Since", "yesterday", WHOLE),
            ("If-Modified-Since", &old, WHOLE),
            ("If-Modified-Since", &same, Verdict::Known),
            ("If-Modified-Since", "Thursday, 01-Jan-70 00:16:40 GMT", Verdict::Known),
            ("If-Modified-Since", "Thu Jan  1 00:16:40 1970", Verdict::Known),
            ("If-Modified-Since", &new, Verdict::Known),
            ("If-Modified-Since", "0", WHOLE),
        ] {
            assert_eq!(says(&[(name, value)]), wanted, "{name}: {value}");
        }
        // Of two lines neither is believed.
        let twice = [("If-Modified-Since", same.as_str()), ("If-Modified-Since", &same)];
        assert_eq!(says(&twice), WHOLE);
    }

    #[test]
    fn ranges_of_the_version_that_is_meant() {
        let range = ("Range", "bytes=2-4");
        let (same, new) = (fmt_http_date(second(1000)), fmt_http_date(second(1001)));
        assert_eq!(says(&[range]), SOME);
        for (value, wanted) in [
            (TAG, SOME),
            ("W/\"5.0-a\"", WHOLE),
            ("\"a\"", WHOLE),
            ("*", WHOLE),
            ("", WHOLE),
            (same.as_str(), SOME),
            // Exactly this date, not a later one.
            (&new, WHOLE),
        ] {
            assert_eq!(says(&[range, ("If-Range", value)]), wanted, "{value}");
        }
        let lines = [line("Range", "bytes=2-4"), line("If-Range", &same)];
        assert_eq!(judged(&lines, true, 1000), WHOLE, "it may still change");
        assert_eq!(judged(&lines, true, 1001), SOME);
        assert_eq!(judged(&lines, true, 0), WHOLE, "a file of the future");
        assert_eq!(judged(&lines[..1], false, 5000), WHOLE, "HEAD has no ranges");
        assert_eq!(says(&[range, range]), WHOLE);
    }

    /// How a header with tags relates to the file's version.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Tags {
        None,
        Any,
        Same,
        Weak,
        Other,
    }

    /// The steps of §13.2.2, one after the other, as they stand there.
    fn oracle(
        tags: [Tags; 2],
        dates: [Option<u64>; 2],
        ranged: Option<bool>,
        get: bool,
    ) -> Verdict {
        let [must, none] = tags;
        let [unmodified, modified] = dates;
        if must != Tags::None && !matches!(must, Tags::Any | Tags::Same) {
            return Verdict::Other;
        }
        if must == Tags::None && unmodified.is_some_and(|date| 1000 > date) {
            return Verdict::Other;
        }
        if matches!(none, Tags::Any | Tags::Same | Tags::Weak) {
            return Verdict::Known;
        }
        if none == Tags::None && modified.is_some_and(|date| 1000 <= date) {
            return Verdict::Known;
        }
        if get && ranged == Some(true) { SOME } else { WHOLE }
    }

    fn any_tags() -> impl Strategy<Value = Tags> {
        use Tags::{Any, None, Other, Same, Weak};
        prop::sample::select(vec![None, None, Any, Same, Weak, Other])
    }

    proptest! {
        #[test]
        fn the_precedence_is_the_rfcs(
            tags in [any_tags(), any_tags()],
            dates in [prop::option::of(998_u64..1003), prop::option::of(998_u64..1003)],
            ranged in prop::option::of(any::<bool>()),
            get in any::<bool>(),
            turn in 0_usize..5,
        ) {
            let mut lines = Vec::new();
            for (name, tag) in ["If-Match", "If-None-Match"].into_iter().zip(tags) {
                lines.extend(match tag {
                    Tags::None => None,
                    Tags::Any => Some(line(name, "*")),
                    Tags::Same => Some(line(name, "\"q\", \"5.0-a\"")),
                    Tags::Weak => Some(line(name, "W/\"5.0-a\"")),
                    Tags::Other => Some(line(name, "\"q\",W/\"r\"")),
                });
            }
            for (name, at) in ["If-Unmodified-Since", "If-Modified-Since"].into_iter().zip(dates) {
                lines.extend(at.map(|at| line(name, &fmt_http_date(second(at)))));
            }
            if let Some(same) = ranged {
                lines.push(line("Range", "bytes=2-4"));
                lines.push(line("If-Range", if same { TAG } else { "\"q\"" }));
            }
            let turn = turn % lines.len().max(1);
            lines.rotate_left(turn);
            prop_assert_eq!(judged(&lines, get, 5000), oracle(tags, dates, ranged, get));
        }
    }
}
