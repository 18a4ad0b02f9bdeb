//! Answers that still hold, and the "no" of a zone too.
//!
//! Rules of this file:
//! * An answer holds as long as its shortest record; TTL 0 is for the one who asked, and is not
//!   kept (RFC 1035, 3.2.1).
//! * A "no" holds as long as the zone says in its SOA, and is not kept where it says nothing
//!   (RFC 2308, 5). A failure of servers is not kept.
//! * The number of entries is bounded; the one that ends first makes room.

use crate::message::Kind;
use crate::name::Name;
use crate::{Answer, Error};
use loopwork_tcp::reactor::Instant;
use std::collections::HashMap;
use std::time::Duration;

/// Names and kinds that are kept. A busy crawler's working set, and a megabyte or two.
pub const ENTRIES_MAX: usize = 4096;
/// RFC 2308, 5: a "no" is sensibly kept for one to three hours, and no longer.
const NO_MAX: u32 = 3 * 3600;

struct Entry {
    until: Instant,
    said: Result<Answer, Error>,
}

#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<(Name, Kind), Entry>,
}

impl Cache {
    /// What is known, with the time that it still holds.
    pub(crate) fn get(
        &mut self,
        key: &(Name, Kind),
        now: Instant,
    ) -> Option<Result<Answer, Error>> {
        let entry = self.entries.get(key)?;
        if entry.until <= now {
            self.entries.remove(key);
            return None;
        }
        let left = u32::try_from(entry.until.since(now).as_secs()).unwrap_or(u32::MAX);
        let mut said = entry.said.clone();
        if let Ok(answer) = &mut said {
            answer.cached = true;
            let records = answer.records.iter_mut().chain(&mut answer.chain);
            records.for_each(|record| record.ttl = record.ttl.min(left));
        }
        Some(said)
    }

    pub(crate) fn put(
        &mut self,
        key: (Name, Kind),
        now: Instant,
        said: Result<Answer, Error>,
        no: u32,
    ) {
        let ttl = match &said {
            Ok(answer) => answer.records.iter().chain(&answer.chain).map(|r| r.ttl).min(),
            Err(Error::NoSuchName | Error::NoData) => Some(no.min(NO_MAX)),
            Err(_) => None,
        };
        let Some(ttl) = ttl.filter(|ttl| *ttl > 0) else { return };
        if self.entries.len() >= ENTRIES_MAX {
            self.make_room(now);
        }
        let until = now.after(Duration::from_secs(ttl.into()));
        self.entries.insert(key, Entry { until, said });
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.until > now);
        if self.entries.len() >= ENTRIES_MAX {
            // By time, then by name: the same in every run of a seed.
            let first =
                self.entries.iter().min_by(|(a, x), (b, y)| (x.until, a).cmp(&(y.until, b)));
            if let Some(key) = first.map(|(key, _)| key.clone()) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Data, Record};

    fn key(n: usize) -> (Name, Kind) {
        (Name::new(&format!("n{n}.example")).unwrap(), Kind::A)
    }

    fn answer(ttl: u32) -> Result<Answer, Error> {
        let data = Data::A([192, 0, 2, 1].into());
        let records = vec![Record { name: key(0).0, ttl, data }];
        Ok(Answer { records, ..Answer::default() })
    }

    fn at(secs: u64) -> Instant {
        Instant(secs * 1_000_000_000)
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says() {
        let mut cache = Cache::default();
        cache.put(key(1), at(100), answer(60), 0);
        let got = cache.get(&key(1), at(130)).unwrap().unwrap();
        assert_eq!((got.records[0].ttl, got.cached), (30, true));
        assert!(cache.get(&key(1), at(160)).is_none());
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn hostile_74_ttl_0_is_not_kept_nor_a_failure_nor_a_no_without_a_time() {
        let mut cache = Cache::default();
        cache.put(key(1), at(0), answer(0), 0);
        cache.put(key(2), at(0), Err(Error::Timeout), 60);
        cache.put(key(3), at(0), Err(Error::NoSuchName), 0);
        assert!(cache.entries.is_empty());
        cache.put(key(4), at(0), Err(Error::NoData), u32::MAX);
        assert_eq!(cache.get(&key(4), at(10_799)), Some(Err(Error::NoData)));
        assert_eq!(cache.get(&key(4), at(10_800)), None);
    }

    #[test]
    fn it_is_bounded_and_what_ends_first_makes_room() {
        let mut cache = Cache::default();
        for n in 0..ENTRIES_MAX + 10 {
            cache.put(key(n), at(0), answer(10 + n as u32), 0);
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        assert!(cache.get(&key(9), at(1)).is_none() && cache.get(&key(10), at(1)).is_some());
    }
}
