//! The first two lines of a response: its status and its date, made once a second.
//!
//! Rules of this file:
//! * The time is the loop's; nothing here asks a clock.
//! * A line that was made is good for a second, so that a head begins with one copy.

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

/// Status line and date, of one status.
#[derive(Default)]
struct Front {
    /// 0: none was made this second.
    status: u16,
    lines: Vec<u8>,
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

    /// The lines of a status.
    #[inline]
    fn get(&mut self, status: u16) -> Result<&[u8], Invalid> {
        let front = &mut self.made[usize::from(status) % KEPT];
        if front.status != status {
            front.make(status, &self.date)?;
        }
        Ok(&front.lines)
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
        let front = self.get(head.status)?;
        out.reserve(front.len() + REST);
        out.extend_from_slice(front);
        let behind = out.len();
        let mut dated = false;
        for (name, value) in headers {
            let name = name.as_ref();
            if encode::is_framing_header(name, false) {
                return Err(Invalid::FramingHeader);
            }
            dated |= name.len() == 4 && name.eq_ignore_ascii_case(b"date");
            encode::header(out, name, value)?;
        }
        encode::body_header(out, head.body);
        encode::connection_header(out, head.connection);
        out.extend_from_slice(b"\r\n");
        if dated {
            // A proxy passes on when the answer was made; one Date is enough (RFC 9110 §6.6.1).
            out.drain(behind - DATE_LINE..behind);
        }
        Ok(())
    }
}

impl Front {
    #[cold]
    fn make(&mut self, status: u16, date: &[u8]) -> Result<(), Invalid> {
        self.lines.clear();
        self.status = 0;
        encode::status_line(&mut self.lines, status, None)?;
        for part in [b"Date: ", date, b"\r\n"] {
            self.lines.extend_from_slice(part);
        }
        self.status = status;
        Ok(())
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
        let line =
            |fronts: &mut Fronts| String::from_utf8_lossy(fronts.get(200).unwrap()).to_string();
        assert!(line(&mut fronts).ends_with("00:16:40 GMT\r\n"));
        fronts.renew(Duration::from_secs(1001), Instant::default());
        assert!(line(&mut fronts).ends_with("00:16:41 GMT\r\n"));
    }

    fn body() -> impl Strategy<Value = Body> {
        prop_oneof![
            Just(Body::None),
            Just(Body::Chunked),
            Just(Body::UntilClose),
            any::<u64>().prop_map(Body::Length),
        ]
    }

    fn connection() -> impl Strategy<Value = Connection> {
        prop_oneof![
            Just(Connection::Implicit),
            Just(Connection::KeepAlive),
            Just(Connection::Close),
        ]
    }

    proptest! {
        /// The encoder of the core, which writes a head piece by piece, says the same.
        #[test]
        fn heads_are_those_of_the_encoder(
            statuses in prop::collection::vec(prop_oneof![200u16..206, 200u16..1010], 1..6),
            body in body(),
            connection in connection(),
            headers in prop::collection::vec(
                ("([dD]ate|[a-zA-Z-]{1,20}|Connection|a b|)", "([a-z \t]{0,40}|a\r\nb|\u{7f})"),
                0..4,
            ),
        ) {
            let mut fronts = at_1000();
            for status in statuses {
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
