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

/// Bytes of `Date: ` and its line end beside the date.
const DATE_LINE: usize = 6 + IMF_FIXDATE + 2;

/// Bytes of a head besides its front and what the application adds: the body's line and the
/// connection's, with the numbers at their longest.
const REST: usize = 96;

/// What is kept of the application's headers: more are written anew each time.
const LINES_MAX: usize = 1024;

/// Status line and date of one status, and the headers that its last response had.
#[derive(Default)]
struct Front {
    /// 0: none was made this second.
    status: u16,
    /// Bytes of status line and date; the headers are behind them.
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

    /// Appends a final response's head.
    ///
    /// # Errors
    /// What the application gave and cannot be sent; what was appended is to be taken back then.
    #[inline]
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
        out.reserve(front.lines.len() + REST);
        let before = out.len();
        let (mut at, mut count, mut dated) = (front.fixed, 0, false);
        let mut headers = headers.into_iter();
        while let Some((name, value)) = headers.next() {
            if let Some(behind) = front.kept(at, count, name.as_ref(), value.as_ref()) {
                (at, count) = (behind, count + 1);
                continue;
            }
            front.cut(at, count);
            out.extend_from_slice(&front.lines);
            at = 0;
            let mut keep = true;
            dated = front.anew(out, name.as_ref(), value.as_ref(), &mut keep)?;
            for (name, value) in headers {
                dated |= front.anew(out, name.as_ref(), value.as_ref(), &mut keep)?;
            }
            break;
        }
        if at == front.end
            && head.connection == encode::Connection::Implicit
            && let Body::Length(length) = head.body
        {
            // As a rule: all is as it was.
            if front.length != Some(length) {
                front.cut(at, count);
                length_and_end(&mut front.lines, length);
                front.length = Some(length);
            }
            out.extend_from_slice(&front.lines);
            return Ok(());
        }
        out.extend_from_slice(&front.lines[..at]);
        if dated {
            // A proxy passes on when the answer was made; one Date is enough (RFC 9110 §6.6.1).
            let behind = before + front.fixed;
            out.drain(behind - DATE_LINE..behind);
        }
        match (head.body, head.connection) {
            (Body::Length(length), encode::Connection::Implicit) => length_and_end(out, length),
            (body, connection) => {
                encode::body_header(out, body);
                encode::connection_header(out, connection);
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// The end of most heads: the body's length, and the empty line.
#[inline]
fn length_and_end(out: &mut Vec<u8>, mut length: u64) {
    const NAME: &[u8; 16] = b"Content-Length: ";
    const END: &[u8; 4] = b"\r\n\r\n";
    // As many digits as u64::MAX has. Written from behind.
    let mut text = [0; NAME.len() + 20 + END.len()];
    let mut at = text.len() - END.len();
    text[at..].copy_from_slice(END);
    loop {
        at -= 1;
        text[at] = b'0' + (length % 10) as u8;
        length /= 10;
        if length == 0 {
            break;
        }
    }
    at -= NAME.len();
    text[at..at + NAME.len()].copy_from_slice(NAME);
    out.extend_from_slice(&text[at..]);
}

impl Front {
    #[cold]
    fn make(&mut self, status: u16, date: &[u8]) -> Result<(), Invalid> {
        self.status = 0;
        self.cut(0, 0);
        encode::status_line(&mut self.lines, status, None)?;
        for part in [b"Date: ", date, b"\r\n"] {
            self.lines.extend_from_slice(part);
        }
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
    #[inline]
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

    /// Checks and appends a header, and keeps it, if those before it are; says whether it is a
    /// `Date`.
    fn anew(
        &mut self,
        out: &mut Vec<u8>,
        name: &[u8],
        value: &[u8],
        keep: &mut bool,
    ) -> Result<bool, Invalid> {
        if encode::is_framing_header(name, false) {
            return Err(Invalid::FramingHeader);
        }
        let before = out.len();
        encode::header(out, name, value)?;
        let line = &out[before..];
        // What takes the date's place is looked at each time, and so is all that follows it.
        let dated = name.eq_ignore_ascii_case(b"date");
        *keep &= !dated && self.lines.len() + line.len() <= self.fixed + LINES_MAX;
        if *keep {
            self.lines.extend_from_slice(line);
            self.spans.push((name.len(), value.len()));
            self.end = self.lines.len();
        }
        Ok(dated)
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
        let long = "x".repeat(700);
        for _ in 0..3 {
            let mut out = Vec::new();
            let headers = ["A", "B", "C", "D"].map(|name| (name, &long[..]));
            fronts.head(&mut out, &head, headers).unwrap();
            assert_eq!(out.iter().filter(|b| **b == b'x').count(), 4 * 700);
        }
        let front = &fronts.made[200 % KEPT];
        assert!(front.end <= front.fixed + LINES_MAX && front.spans.len() == 1);
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
                let head = Head { status, body, connection };
                let got = fronts.head(&mut ours, &head, headers.iter().map(|(n, v)| (n, v)));
                let date = Some(DATE);
                let head = ResponseHead { status, reason: None, body, connection, date };
                let said = response_head(&mut oracle, &head, headers.iter().map(|(n, v)| (n, v)));
                prop_assert_eq!(got, said);
                if got.is_ok() {
                    let text = |bytes| String::from_utf8_lossy(bytes).to_string();
                    prop_assert_eq!(text(&ours[..]), text(&oracle[..]));
                }
            }
        }
    }
}
