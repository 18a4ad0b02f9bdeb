//! Small files kept in memory, so that one that is asked for again costs a look and no opening.
//!
//! Rules of this file:
//! * What is kept is bounded, in all and for each file.
//! * What is sent is what the file system has now: each file is looked at, by its path, in every
//!   turn in which it is asked for. It is the same by device, number, length and both times.
//!   Requests of one turn share a look, since a turn is one instant: a look costs less than the
//!   answer's write, so that no longer time, in which old content would be sent, is worth it.
//! * What a look cannot tell (a folder that was moved out of the root, with a link in its place; a
//!   file that is changed through a mapping) is found out soon: what is kept is good for
//!   [`GOOD`], and is then found and read as if it were new.
//! * What was changed a moment ago is not kept: it could be changed again without another time.
//! * Content and head are of one file: they are replaced together.

use crate::answers::Facts;
use crate::core::Coding;
use crate::find::{self, Opened};
use loopwork_http::tcp::reactor::Instant;
use std::collections::{HashMap, VecDeque};
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the longest file that is kept. From here on the kernel sends it from where it lies,
/// and the opening is the smaller part of the work.
pub(crate) const FILE_MAX: u64 = 64 * 1024;
/// Bytes that are kept in all, unless told otherwise: the pages of a usual site.
pub(crate) const BYTES: usize = 16 * 1024 * 1024;
/// How long what is kept is good at most. One opening in two seconds costs nothing.
const GOOD: Duration = Duration::from_secs(2);
/// What an entry, or a form in it, counts for above its content and its paths: headers, tables.
const COST: usize = 1024;
/// How long a file has to be as it is before it is kept. File systems tell times apart that are
/// some milliseconds from each other, a few only seconds.
const SETTLED: Duration = Duration::from_secs(2);
/// As [`SETTLED`], of the time that nobody can set, for a file whose other time was set back. The
/// kernel tells it in steps of ten milliseconds at most.
const SETTLED_CHANGE: Duration = Duration::from_millis(100);
/// Forms of a file: as it is, and in each coding.
const FORMS: usize = Coding::ALL.len() + 1;

/// By what a file is known to be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(m: &Metadata) -> Stamp {
        Stamp {
            file: (m.dev(), m.ino()),
            len: m.len(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        }
    }

    /// `today`: how long after the beginning of 1970 it is.
    fn is_settled(&self, today: Duration) -> bool {
        let old = |(seconds, fraction): (i64, i64), enough: Duration| {
            let (seconds, fraction) = (u64::try_from(seconds), u32::try_from(fraction));
            let at = seconds.ok().zip(fraction.ok()).map(|(s, n)| Duration::new(s, n));
            at.and_then(|at| today.checked_sub(at)).is_some_and(|age| age >= enough)
        };
        old(self.modified, SETTLED) && old(self.changed, SETTLED_CHANGE)
    }
}

/// A form of a file that is kept.
pub(crate) struct Kept {
    pub(crate) facts: Facts,
    pub(crate) bytes: Arc<[u8]>,
    stamp: Stamp,
}

/// What is kept for one path of a request.
struct Entry {
    /// Where the file is looked at: links on the way are followed.
    path: PathBuf,
    /// Where it really is, if that is elsewhere: its forms are beside it.
    real: Option<PathBuf>,
    /// The file as it is, of which the others are forms.
    plain: Stamp,
    forms: [Option<Kept>; FORMS],
    /// When all of this was found.
    found: Instant,
    /// The turn in which the file was looked at.
    looked: Instant,
    /// It was asked for since its turn to go came last.
    used: bool,
}

impl Entry {
    /// What it counts for.
    fn weight(&self, name: &str) -> usize {
        let content: usize = self.forms.iter().flatten().map(|f| f.bytes.len() + COST).sum();
        let real = self.real.as_ref().map_or(0, |real| real.as_os_str().len());
        // The name is there twice.
        COST + 2 * name.len() + self.path.as_os_str().len() + real + content
    }

    fn is_same(&mut self, now: Instant) -> bool {
        if self.looked != now {
            if now.since(self.found) > GOOD || look(&self.path).ok() != Some(self.plain) {
                return false;
            }
            self.looked = now;
        }
        true
    }

    /// Which form is sent to who takes these codings, if it is kept.
    fn choose(&self, codings: &[Coding]) -> Option<usize> {
        for coding in codings {
            let real = self.real.as_ref().unwrap_or(&self.path);
            match look(&find::in_form(real, *coding)) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                // It was not made of this file, see [`find::beside`].
                Ok(stamp) if stamp.modified < self.plain.modified => {}
                Ok(stamp) => {
                    let n = place(Some(*coding));
                    let same = self.forms[n].as_ref().is_some_and(|kept| kept.stamp == stamp);
                    return same.then_some(n);
                }
                Err(_) => return None,
            }
        }
        Some(place(None))
    }
}

fn look(path: &Path) -> io::Result<Stamp> {
    path.metadata().map(|m| Stamp::of(&m))
}

/// Where a form is among [`Entry::forms`].
fn place(coding: Option<Coding>) -> usize {
    let among = |coding| Coding::ALL.iter().position(|c| *c == coding);
    coding.and_then(among).map_or(0, |n| n + 1)
}

/// A file that was found, and which form of it is to be sent.
pub(crate) struct Found<'a> {
    /// The path of the request.
    pub(crate) name: &'a str,
    /// Where the file will be looked at.
    pub(crate) path: PathBuf,
    /// The file itself.
    pub(crate) plain: &'a Opened,
    /// What is to be sent: the file or a form that lies beside it.
    pub(crate) form: &'a Opened,
    pub(crate) coding: Option<Coding>,
}

/// Files by the path of the request.
pub(crate) struct Cache {
    max: usize,
    held: usize,
    files: HashMap<Box<str>, Entry>,
    /// Who goes next: the names of `files`, each once.
    queue: VecDeque<Box<str>>,
}

impl Cache {
    pub(crate) fn new(max: usize) -> Cache {
        Cache { max, held: 0, files: HashMap::new(), queue: VecDeque::new() }
    }

    /// What is kept for this request, if it is the same by now; `codings`: what the client takes,
    /// the best first.
    #[inline]
    pub(crate) fn get(&mut self, name: &str, codings: &[Coding], now: Instant) -> Option<&Kept> {
        let entry = self.files.get_mut(name)?;
        if !entry.is_same(now) {
            return None;
        }
        let n = entry.choose(codings)?;
        entry.used = true;
        entry.forms[n].as_ref()
    }

    /// Reads a file that is worth keeping, and keeps it; `today` is how long after the beginning
    /// of 1970 it is. `None`: it is to be sent as it is.
    pub(crate) fn keep(
        &mut self,
        found: Found<'_>,
        facts: &Facts,
        (now, today): (Instant, Duration),
    ) -> Option<Arc<[u8]>> {
        let Found { name, path, plain, form, coding } = found;
        let (stamp, plain_stamp) = (Stamp::of(&form.metadata), Stamp::of(&plain.metadata));
        let settled = stamp.is_settled(today) && plain_stamp.is_settled(today);
        if stamp.len > FILE_MAX || !settled || self.max == 0 {
            return None;
        }
        let mut bytes = vec![0; stamp.len as usize];
        form.file.read_exact_at(&mut bytes, 0).ok()?;
        // It may have been changed meanwhile; and by its path it may be another.
        if Stamp::of(&form.file.metadata().ok()?) != stamp || look(&path).ok()? != plain_stamp {
            return None;
        }
        let bytes: Arc<[u8]> = bytes.into();
        let kept = Kept { facts: facts.clone(), bytes: bytes.clone(), stamp };
        let real = (plain.real != path).then(|| plain.real.clone());
        let mut entry = match self.take(name) {
            Some(old) if old.plain == plain_stamp && now.since(old.found) <= GOOD => old,
            _ => Entry {
                path: PathBuf::new(),
                real: None,
                plain: plain_stamp,
                forms: [const { None }; FORMS],
                found: now,
                looked: now,
                used: false,
            },
        };
        (entry.path, entry.real, entry.looked) = (path, real, now);
        entry.forms[place(coding)] = Some(kept);
        self.held += entry.weight(name);
        self.files.insert(name.into(), entry);
        self.shrink();
        Some(bytes)
    }

    /// Takes out what is kept for a path; it has its place in the queue afterwards, if it was new
    /// too.
    fn take(&mut self, name: &str) -> Option<Entry> {
        let Some(old) = self.files.remove(name) else {
            self.queue.push_back(name.into());
            return None;
        };
        self.held -= old.weight(name);
        Some(old)
    }

    /// Who has not been asked for since its last turn goes, until the rest is within the bound.
    fn shrink(&mut self) {
        while self.held > self.max {
            let Some(name) = self.queue.pop_front() else { return };
            let used = self.files.get_mut(&name).is_some_and(|e| std::mem::take(&mut e.used));
            if used {
                self.queue.push_back(name);
            } else if let Some(entry) = self.files.remove(&name) {
                self.held -= entry.weight(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    const NOW: Instant = Instant(1_000_000_000);

    /// A folder, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("loopwork-cache-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Folder(path.canonicalize().unwrap())
        }

        /// Writes a file of so many bytes that is so many seconds old.
        fn write(&self, name: &str, len: usize, age: u64) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, vec![b'x'; len]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            path
        }

        fn open(&self, name: &str) -> Opened {
            match find::find(&self.0, Path::new(name), false) {
                Ok(find::Found::File(opened)) => opened,
                _ => panic!("{name} is not there"),
            }
        }

        /// Keeps a form as of a second from now; says whether it is kept.
        fn keep_form(
            &self,
            cache: &mut Cache,
            name: &str,
            coding: Option<Coding>,
            at: Instant,
        ) -> bool {
            let (plain, path) = (self.open(name), self.0.join(name));
            let form = format!("{name}{}", coding.map_or("", Coding::suffix));
            let form = self.open(&form);
            let facts = Facts::new(&form.metadata, &plain.real, coding, false);
            let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let now = (at, today + Duration::from_secs(1));
            let found = Found { name, path, plain: &plain, form: &form, coding };
            let kept = cache.keep(found, &facts, now);
            assert!(kept.as_ref().is_none_or(|b| b.len() as u64 == form.metadata.len()));
            kept.is_some()
        }

        fn keep(&self, cache: &mut Cache, name: &str, len: usize, age: u64) -> bool {
            self.write(name, len, age);
            self.keep_form(cache, name, None, NOW)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// What is held is what the files that are kept count for, and within the bound.
    fn sound(cache: &Cache) {
        let held = cache.files.iter().map(|(name, entry)| entry.weight(name)).sum();
        assert_eq!(cache.held, held);
        assert!(cache.held <= cache.max && cache.queue.len() == cache.files.len());
        assert!(cache.queue.iter().all(|name| cache.files.contains_key(name)));
    }

    fn has(cache: &mut Cache, name: &str, at: Instant) -> bool {
        cache.get(name, &[], at).is_some()
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let folder = Folder::new("bounded");
        let mut cache = Cache::new(20 * (2 * COST + 1000 + 12 + folder.0.as_os_str().len()));
        assert!(folder.keep(&mut cache, "hot", 1000, 60));
        for n in 0..200 {
            assert!(folder.keep(&mut cache, &format!("{n:03}"), 1000, 60));
            sound(&cache);
            assert!(has(&mut cache, "hot", NOW), "{n}");
        }
        assert_eq!(cache.files.len(), 20);
        assert!(has(&mut cache, "199", NOW) && !has(&mut cache, "000", NOW));
        // The same name again, shorter and longer.
        for len in [10, 5000, 0, 1000] {
            assert!(folder.keep(&mut cache, "199", len, 60));
            sound(&cache);
        }
        // One that alone is more than the bound.
        let mut cache = Cache::new(4000);
        folder.keep(&mut cache, "a", 5000, 60);
        sound(&cache);
        assert!(cache.files.is_empty());
    }

    #[test]
    fn large_and_fresh_files_are_not_kept() {
        let folder = Folder::new("large");
        let mut cache = Cache::new(BYTES);
        assert!(folder.keep(&mut cache, "a", FILE_MAX as usize, 60));
        assert!(!folder.keep(&mut cache, "b", FILE_MAX as usize + 1, 60));
        assert!(!folder.keep(&mut cache, "c", 1, 0));
        assert!(!folder.keep(&mut Cache::new(0), "a", 1, 60));
        sound(&cache);
    }

    #[test]
    fn settled_is_long_since_changed() {
        let stamp = |modified, changed| Stamp { file: (0, 0), len: 0, modified, changed };
        let settled = |m, c| stamp(m, c).is_settled(Duration::new(100, 500_000_000));
        assert!(settled((98, 500_000_000), (100, 400_000_000)));
        assert!(!settled((98, 500_000_001), (100, 400_000_000)));
        assert!(!settled((98, 500_000_000), (100, 400_000_001)));
        // Of tomorrow, and of before 1970.
        assert!(!settled((101, 0), (0, 0)) && !settled((0, 0), (101, 0)));
        assert!(!settled((-1, 0), (0, 0)));
    }

    #[test]
    fn one_look_a_turn_and_good_for_a_while() {
        let folder = Folder::new("look");
        let mut cache = Cache::new(BYTES);
        assert!(folder.keep(&mut cache, "a", 3, 60));
        let later = NOW.after(Duration::from_millis(1));
        std::fs::write(folder.0.join("a"), "new").unwrap();
        assert!(has(&mut cache, "a", NOW), "a turn is one instant");
        assert!(!has(&mut cache, "a", later), "another time of the file");
        assert!(!has(&mut cache, "a", later));
        assert!(folder.keep(&mut cache, "a", 3, 60));
        assert!(has(&mut cache, "a", later) && has(&mut cache, "a", NOW.after(GOOD)));
        let over = NOW.after(GOOD + Duration::from_nanos(1));
        assert!(!has(&mut cache, "a", over));
        assert!(folder.keep_form(&mut cache, "a", None, over));
        assert!(has(&mut cache, "a", over.after(GOOD)));
        std::fs::remove_file(folder.0.join("a")).unwrap();
        assert!(!has(&mut cache, "a", over.after(Duration::from_millis(1))));
        sound(&cache);
    }

    #[test]
    fn forms_are_kept_beside_their_file() {
        let folder = Folder::new("forms");
        let mut cache = Cache::new(BYTES);
        let (gzip, both) = (&[Coding::Gzip][..], &[Coding::Brotli, Coding::Gzip][..]);
        let length = |cache: &mut Cache, codings, ms| {
            let at = NOW.after(Duration::from_millis(ms));
            cache.get("a", codings, at).map(|kept| kept.bytes.len())
        };
        folder.keep(&mut cache, "a", 10, 60);
        assert_eq!([gzip, both, &[]].map(|c| length(&mut cache, c, 0)), [Some(10); 3]);
        // One that has come is not kept yet; then it is.
        folder.write("a.gz", 5, 60);
        assert_eq!([gzip, both].map(|c| length(&mut cache, c, 1)), [None; 2]);
        assert!(folder.keep_form(&mut cache, "a", Some(Coding::Gzip), NOW));
        assert_eq!([gzip, both].map(|c| length(&mut cache, c, 2)), [Some(5); 2]);
        assert_eq!(length(&mut cache, &[], 2), Some(10));
        folder.write("a.br", 4, 60);
        assert_eq!([gzip, both].map(|c| length(&mut cache, c, 3)), [Some(5), None]);
        // One that is older than the file was not made of it.
        folder.write("a.br", 4, 90);
        assert_eq!([gzip, both].map(|c| length(&mut cache, c, 3)), [Some(5); 2]);
        std::fs::remove_file(folder.0.join("a.gz")).unwrap();
        assert_eq!([gzip, both].map(|c| length(&mut cache, c, 4)), [Some(10); 2]);
        sound(&cache);
    }
}
