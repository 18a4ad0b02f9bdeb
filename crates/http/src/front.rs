//! The head of a response, kept as it was made: its status and date, and the application's headers.
//!
//! Rules of this file:
//! * The time is the loop's; nothing here asks a clock. A date is good to the end of its second.
//! * A server says the same again and again: what is byte for byte as it was the last time, for
//!   this status, was checked then, and is copied; what is not is checked and written anew.

use crate::core::encode;
use crate::core::{Body, Invalid};
use httpdate::HttpDate;
use loopwork_tcp::reactor::{Env, Instant};
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// Lines of so many statuses are kept. An application has a handful; two that share a place only
/// make each other's lines anew.
const KEPT: usize = 8;

/// `IMF-fixdate = day-name "," SP date1 SP time-of-day SP GMT` (RFC 9110 §5.6.7): 29 bytes.
const IMF_FIXDATE: usize = 29;

/// So many bytes of the application's headers are kept, or none: a content security policy and
/// some more fit, and a server keeps 32 KiB at most.
const LINES_MAX: usize = 4096;

/// The last head of one status.
#[derive(Default)]
struct Front {
    /// 0: none was made this second.
    status: u16,
    /// Where the date's line begins, and the application's headers.
    date: usize,
    fixed: usize,
    /// Where the headers end; the body's length and the head's end are behind them.
    end: usize,
    /// The length that stands there, if one does.
    length: Option<u64>,
    lines: Vec<u8>,
    /// How long name and value of each header are.
    spans: Vec<(usize, usize)>,
}

/// The fronts of a server's responses.
pub(crate) struct Fronts {
    /// Until then the date is right.
    until: Instant,
    date: [u8; IMF_FIXDATE],
    made: [Front; KEPT],
}

impl Default for Fronts {
    fn default() -> Self {
        let (until, date) = (Instant::default(), [b' '; IMF_FIXDATE]);
        Fronts { until, date, made: Default::default() }
    }
}

impl Fronts {
    /// To be called before a head is written, with the time of the turn.
    #[inline]
    pub(crate) fn tick(&mut self, env: &Env) {
        if env.now >= self.until {
            self.renew(env.unix_time(), env.now);
        }
    }

    #[cold]
    fn renew(&mut self, time: Duration, now: Instant) {
        let left =
            Duration::from_secs(1).saturating_sub(Duration::from_nanos(time.subsec_nanos().into()));
        self.until = now.after(left);
        // A year beyond 9999 does not fit; such a date stays as it was, which no one will see.
        let _ = write!(&mut self.date[..], "{}", HttpDate::from(UNIX_EPOCH + time));
        for front in &mut self.made {
            front.status = 0;
        }
    }

    /// Appends the head of a whole response with so much content, on a connection that stays open,
    /// if all but the length is as it was the last time; says whether it did.
    #[inline]
    pub(crate) fn again(
        &mut self,
        out: &mut Vec<u8>,
        status: u16,
        headers: &[(&str, &str)],
        length: usize,
    ) -> bool {
        let front = &mut self.made[usize::from(status) % KEPT];
        if front.status != status || !front.are(headers) {
            return false;
        }
        if front.length != Some(length as u64) {
            front.measure(length as u64);
        }
        out.extend_from_slice(&front.lines);
        true
    }

    /// Appends a final response's head.
    ///
    /// # Errors
    /// What the application gave and cannot be sent; what was appended is to be taken back then.
    pub(crate) fn head<I, N, V>(
        &mut self,
        out: &mut Vec<u8>,
        head: &Head,
        headers: I,
    ) -> Result<(), Invalid>
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let front = &mut self.made[usize::from(head.status) % KEPT];
        if front.status != head.status {
            front.make(head.status, &self.date)?;
        }
        let (mut at, mut count) = (front.fixed, 0);
        let mut headers = headers.into_iter();
        let other = loop {
            let Some((name, value)) = headers.next() else { break None };
            match front.kept(at, count, name.as_ref(), value.as_ref()) {
                Some(behind) => (at, count) = (behind, count + 1),
                None => break Some((name, value)),
            }
        };
        let before = out.len();
        out.extend_from_slice(&front.lines[..at]);
        if let Some(other) = other {
            front.cut(at, count);
            front.others(out, before, std::iter::once(other).chain(headers))?;
        }
        encode::head_end(out, head.body, head.connection);
        Ok(())
    }
}

impl Front {
    #[cold]
    fn make(&mut self, status: u16, date: &[u8]) -> Result<(), Invalid> {
        self.status = 0;
        self.cut(0, 0);
        self.date = encode::front(&mut self.lines, status, None, Some(date))?.start;
        self.fixed = self.lines.len();
        self.end = self.fixed;
        self.status = status;
        Ok(())
    }

    /// Keeps the first of the headers, which end there.
    fn cut(&mut self, end: usize, count: usize) {
        self.lines.truncate(end);
        self.spans.truncate(count);
        (self.end, self.length) = (end, None);
    }

    /// Is this the header that was there the last time? Then where the one behind it begins.
    #[inline(always)]
    fn kept(&self, at: usize, count: usize, name: &[u8], value: &[u8]) -> Option<usize> {
        if *self.spans.get(count)? != (name.len(), value.len()) {
            return None;
        }
        let value_at = at + name.len() + 2;
        let value_end = value_at + value.len();
        let same = self.lines.get(at..at + name.len())? == name
            && self.lines.get(value_at..value_end)? == value;
        same.then_some(value_end + 2)
    }

    /// Are these the headers that were there the last time?
    #[inline(always)]
    fn are(&self, headers: &[(&str, &str)]) -> bool {
        let mut at = self.fixed;
        for (count, (name, value)) in headers.iter().enumerate() {
            match self.kept(at, count, name.as_bytes(), value.as_bytes()) {
                Some(behind) => at = behind,
                None => return false,
            }
        }
        at == self.end
    }

    /// Keeps the end of a head with this length behind the headers.
    #[inline(never)]
    fn measure(&mut self, length: u64) {
        self.lines.truncate(self.end);
        encode::head_end(&mut self.lines, Body::Length(length), encode::Connection::Implicit);
        self.length = Some(length);
    }

    /// Checks and appends the headers that are not kept, to a head that begins at `before`, and
    /// keeps them.
    fn others<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        out: &mut Vec<u8>,
        before: usize,
        headers: impl Iterator<Item = (N, V)>,
    ) -> Result<(), Invalid> {
        let (from, count) = (out.len(), self.spans.len());
        let spans = &mut self.spans;
        let headers = headers
            .inspect(|(name, value)| spans.push((name.as_ref().len(), value.as_ref().len())));
        let date = before + self.date..before + self.fixed;
        let done = encode::response_headers(out, date, headers);
        // What takes the date's place is looked at each time.
        let lines = out.get(from..).unwrap_or_default();
        if done == Ok(false) && self.lines.len() + lines.len() <= self.fixed + LINES_MAX {
            self.lines.extend_from_slice(lines);
            self.end = self.lines.len();
        } else {
            self.spans.truncate(count);
        }
        done.map(drop)
    }
}

/// What a final response's head says besides the application's headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) connection: encode::Connection,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::encode::{Connection, ResponseHead, response_head};
    use proptest::prelude::*;

    const DATE: &[u8] = b"Thu, 01 Jan 1970 00:16:40 GMT";

    fn at_1000() -> Fronts {
        let mut fronts = Fronts::default();
        fronts.renew(Duration::from_millis(1_000_250), Instant::default());
        fronts
    }

    #[test]
    fn a_date_is_good_to_the_end_of_its_second() {
        let fronts = at_1000();
        assert_eq!(fronts.date, DATE);
        assert_eq!(fronts.until.since(Instant::default()), Duration::from_millis(750));
    }

    #[test]
    fn another_second_makes_the_lines_anew() {
        let mut fronts = at_1000();
        let connection = Connection::Implicit;
        let head = Head { status: 200, body: Body::None, connection };
        for (second, date) in [(1000, "00:16:40"), (1001, "00:16:41")] {
            fronts.renew(Duration::from_secs(second), Instant::default());
            for _ in 0..2 {
                let mut out = Vec::new();
                fronts.head(&mut out, &head, [("A", "b")]).unwrap();
                let end = format!("Date: Thu, 01 Jan 1970 {date} GMT\r\nA: b\r\n\r\n");
                assert_eq!(out, ("HTTP/1.1 200 OK\r\n".to_owned() + &end).as_bytes());
            }
        }
    }

    fn body() -> impl Strategy<Value = Body> {
        prop_oneof![
            Just(Body::None),
            Just(Body::Chunked),
            Just(Body::UntilClose),
            any::<u64>().prop_map(Body::Length),
            (0u64..2).prop_map(Body::Length),
        ]
    }

    fn connection() -> impl Strategy<Value = Connection> {
        prop_oneof![
            Just(Connection::Implicit),
            Just(Connection::KeepAlive),
            Just(Connection::Close),
        ]
    }

    #[test]
    fn what_was_checked_is_not_taken_for_what_only_looks_so() {
        let mut fronts = at_1000();
        let connection = Connection::Implicit;
        let head = Head { status: 200, body: Body::None, connection };
        fronts.head(&mut Vec::new(), &head, [("A", "b"), ("C", "d")]).unwrap();
        // The same bytes, cut otherwise.
        for wrong in [("A", "b\r\nC: d"), ("A: b\r\nC", "d"), ("A:", "b")] {
            assert!(fronts.head(&mut Vec::new(), &head, [wrong]).is_err(), "{wrong:?}");
            fronts.head(&mut Vec::new(), &head, [("A", "b"), ("C", "d")]).unwrap();
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut fronts = at_1000();
        let connection = Connection::Implicit;
        let head = Head { status: 200, body: Body::None, connection };
        let long = "x".repeat(1500);
        for headers in [&["A", "B"][..], &["A", "B", "C", "D"], &["D"]] {
            for _ in 0..3 {
                let mut out = Vec::new();
                fronts.head(&mut out, &head, headers.iter().map(|name| (name, &long))).unwrap();
                let written = out.iter().filter(|b| **b == b'x').count();
                assert_eq!(written, headers.len() * long.len());
                let front = &fronts.made[200 % KEPT];
                assert!(front.end <= front.fixed + LINES_MAX && front.end == front.lines.len());
                assert_eq!(front.spans.len(), if headers.len() == 4 { 2 } else { headers.len() });
            }
        }
    }

    #[test]
    fn a_whole_head_is_copied_if_it_is_as_it_was() {
        let mut fronts = at_1000();
        let (a, b) = (("A", "b"), ("C", "d"));
        let head = Head { status: 200, body: Body::Length(2), connection: Connection::Implicit };
        let mut first = Vec::new();
        fronts.head(&mut first, &head, [a, b]).unwrap();
        let mut again = |status, headers: &[(&str, &str)], length| {
            let mut out = Vec::new();
            fronts.again(&mut out, status, headers, length).then_some(out)
        };
        assert_eq!(again(200, &[a, b], 2).as_ref(), Some(&first));
        let longer = again(200, &[a, b], 1234).unwrap();
        let longer = String::from_utf8(longer).unwrap();
        assert_eq!(longer.replace("1234", "2").as_bytes(), first);
        assert_eq!(again(200, &[a, b], 2).as_ref(), Some(&first));
        for other in [&[][..], &[a], &[b, a], &[a, b, b], &[a, ("C", "e")], &[a, ("c", "d")]] {
            assert_eq!(again(200, other, 2), None, "{other:?}");
        }
        // 208 has the place of 200.
        assert_eq!(again(208, &[a, b], 2), None);
        fronts.renew(Duration::from_secs(1001), Instant::default());
        assert!(!fronts.again(&mut Vec::new(), 200, &[a, b], 2));
    }

    proptest! {
        /// The encoder of the core, which writes a head piece by piece, says the same.
        #[test]
        fn heads_are_those_of_the_encoder(
            heads in prop::collection::vec(
                (
                    prop_oneof![200u16..203, 200u16..1010],
                    body(),
                    connection(),
                    // Few enough that heads begin alike.
                    prop::collection::vec(
                        ("[dD]ate|[a-c]|Connection|a b|", "[a-c]|[a-z \t]{0,9}|\r\n|\u{7f}"),
                        0..4,
                    ),
                ),
                1..20,
            ),
        ) {
            let mut fronts = at_1000();
            for (status, body, connection, headers) in heads {
                // The server says it itself where the end of the body is that of the connection.
                let until = body == Body::UntilClose;
                let connection = if until { Connection::Close } else { connection };
                if status == 204 && body != Body::None {
                    continue;
                }
                let (mut ours, mut oracle) = (b"before".to_vec(), b"before".to_vec());
                let mut copy = b"before".to_vec();
                let list: Vec<_> = headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
                let copied = match (body, connection) {
                    (Body::Length(n), Connection::Implicit) => {
                        fronts.again(&mut copy, status, &list, n as usize)
                    }
                    _ => false,
                };
                let head = Head { status, body, connection };
                let got = fronts.head(&mut ours, &head, headers.iter().map(|(n, v)| (n, v)));
                let date = Some(DATE);
                let head = ResponseHead { status, reason: None, body, connection, date };
                let said = response_head(&mut oracle, &head, headers.iter().map(|(n, v)| (n, v)));
                prop_assert_eq!(got, said);
                prop_assert!(!copied || copy == oracle);
                if got.is_ok() {
                    let text = |bytes| String::from_utf8_lossy(bytes).to_string();
                    prop_assert_eq!(text(&ours[..]), text(&oracle[..]));
                }
            }
        }
    }
}
