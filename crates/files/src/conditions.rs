//! What a client has already, and what part it wants: conditional requests and ranges
//! (RFC 9110 §13, §14).
//!
//! Rules of this file:
//! * It is pure: headers and a file's validators in, a decision out.
//! * What cannot be understood is ignored, and the whole is sent: always right, at times slow.
//! * One range at most is served: of several the whole is, so that no thousand ranges of one byte
//!   cost a thousand times the head.

use loopwork_http::core::Headers;
use std::time::SystemTime;

/// What a response says of a file's version.
pub(crate) struct Version {
    /// `entity-tag = DQUOTE *etagc DQUOTE`: a strong one.
    pub(crate) tag: String,
    /// In whole seconds.
    pub(crate) modified: Option<SystemTime>,
}

/// What of the file is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Whole,
    /// From the first byte to the last, both included.
    Bytes(u64, u64),
    /// Nothing of the file is in the range that was asked for: 416.
    Outside,
}

impl Version {
    /// The client has this version: 304. `If-None-Match` decides alone where it is there
    /// (§13.1.3); its comparison is the weak one (§13.1.2).
    pub(crate) fn is_known(&self, headers: &Headers<'_>) -> bool {
        if headers.contains("If-None-Match") {
            return headers.list("If-None-Match").any(|tag| {
                let strong = tag.strip_prefix(b"W/").unwrap_or(tag);
                tag == b"*" || strong == self.tag.as_bytes()
            });
        }
        let since = headers.get_str("If-Modified-Since");
        let since = since.and_then(|text| httpdate::parse_http_date(text).ok());
        since.zip(self.modified).is_some_and(|(since, modified)| modified <= since)
    }

    /// The part that a GET asks for. With `If-Range` only of the version that it names (§13.1.5).
    pub(crate) fn part(&self, headers: &Headers<'_>, len: u64) -> Part {
        let mut lines = headers.get_all("Range");
        let (Some(range), None) = (lines.next(), lines.next()) else { return Part::Whole };
        let same = match headers.get_str("If-Range") {
            None => !headers.contains("If-Range"),
            Some(tag) if tag.starts_with('"') => tag == self.tag,
            Some(date) => {
                let date = httpdate::parse_http_date(date).ok();
                date.is_some() && date == self.modified
            }
        };
        let range = std::str::from_utf8(range).ok().filter(|_| same);
        range.and_then(|range| part(range, len)).unwrap_or(Part::Whole)
    }
}

/// `ranges-specifier = range-unit "=" range-set`, `int-range = first-pos "-" [ last-pos ]`,
/// `suffix-range = "-" suffix-length` (§14.1.1).
fn part(range: &str, len: u64) -> Option<Part> {
    let (unit, set) = range.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let end = len.checked_sub(1);
    match (first, last) {
        ("", last) => {
            let want = number(last)?;
            let Some(end) = end.filter(|_| want > 0) else { return Some(Part::Outside) };
            Some(Part::Bytes(len.saturating_sub(want), end))
        }
        (first, last) => {
            let first = number(first)?;
            let last = if last.is_empty() { u64::MAX } else { number(last)? };
            if last < first {
                return None;
            }
            match end.filter(|end| first <= *end) {
                None => Some(Part::Outside),
                Some(end) => Some(Part::Bytes(first, last.min(end))),
            }
        }
    }
}

/// `1*DIGIT`; what is too large for a file is as large as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        for (range, wanted) in [
            ("bytes=0-0", Some(Part::Bytes(0, 0))),
            ("bytes=0-", Some(Part::Bytes(0, 9))),
            ("Bytes=3-5", Some(Part::Bytes(3, 5))),
            ("bytes= 3-5", Some(Part::Bytes(3, 5))),
            ("bytes=3-99999999999999999999999", Some(Part::Bytes(3, 9))),
            ("bytes=-3", Some(Part::Bytes(7, 9))),
            ("bytes=-30", Some(Part::Bytes(0, 9))),
            ("bytes=10-", Some(Part::Outside)),
            ("bytes=99999999999999999999999-", Some(Part::Outside)),
            ("bytes=-0", Some(Part::Outside)),
            ("bytes=5-3", None),
            ("bytes=0-0,2-3", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=1", None),
            ("lines=1-2", None),
            ("", None),
        ] {
            assert_eq!(part(range, 10), wanted, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Some(Part::Outside));
        assert_eq!(part("bytes=-1", 0), Some(Part::Outside));
    }

    proptest! {
        /// Whatever is asked for, what is sent lies in the file.
        #[test]
        fn parts_lie_in_the_file(range in "bytes=[0-9]{0,3}-[0-9]{0,3}", len in 0_u64..200) {
            if let Some(Part::Bytes(first, last)) = part(&range, len) {
                prop_assert!(first <= last && last < len);
            }
        }
    }
}
