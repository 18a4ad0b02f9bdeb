//! The `Date` of responses, formatted once a second.
//!
//! Rule: the time is an argument; nothing here asks a clock.

use httpdate::HttpDate;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// `IMF-fixdate = day-name "," SP date1 SP time-of-day SP GMT` (RFC 9110 §5.6.7): 29 bytes.
const LENGTH: usize = 29;

pub(crate) struct Date {
    second: u64,
    text: [u8; LENGTH],
}

impl Default for Date {
    fn default() -> Self {
        Date { second: u64::MAX, text: [b' '; LENGTH] }
    }
}

impl Date {
    #[inline]
    pub(crate) fn get(&mut self, now: Duration) -> &[u8] {
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            // A year beyond 9999 does not fit; such a date stays blank, which no one will see.
            let _ = write!(&mut self.text[..], "{}", HttpDate::from(UNIX_EPOCH + now));
        }
        &self.text
    }
}
