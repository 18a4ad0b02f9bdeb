//! Output that is not copied: shared bytes, and ranges of files, between the bytes of the buffer.
//!
//! Rules of this file:
//! * In the buffer's place of an insert stands one byte that is never sent: the buffer is empty
//!   only when nothing is left to send, and positions in it order everything.
//! * An insert counts for as much as the peer still has to take of it, a file too. So a writer is
//!   told `Full` behind it, and whoever sends many files holds one or two open, not all.
//! * A file that is open costs a descriptor: it counts for [`FILE_COST`] more.

use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

/// Shorter ones are copied: the bookkeeping of an insert, and the vector behind it, cost a few
/// hundred instructions, as much as a copy of so many bytes.
pub(crate) const INSERT_MIN: usize = 4 * 1024;
/// Slices of one write: the buffer's own bytes and the inserts take turns. With 16 inserts one
/// write is 64 KiB at least, the high-water mark.
pub(crate) const SLICES: usize = 33;
/// What an open file counts for above its length: a peer that asks for many empty ones and takes
/// none fills its output with 16 descriptors.
const FILE_COST: u64 = 4 * 1024;
/// An emptied list with room for more goes back to the allocator.
const IDLE_MAX: usize = 64;
/// What stands in the buffer.
const PLACE: u8 = 0;

/// What is inserted.
pub(crate) enum What {
    Shared(Arc<[u8]>),
    Static(&'static [u8]),
    Owned(Vec<u8>),
    File(Arc<File>),
}

struct Insert {
    /// Where its byte stands in the buffer.
    at: usize,
    /// What is left of it: of a file, offsets in the file.
    from: u64,
    to: u64,
    what: What,
}

impl Insert {
    /// What is left of it, if that lies in memory.
    fn rest(&self) -> Option<&[u8]> {
        let bytes = match &self.what {
            What::Shared(bytes) => bytes,
            What::Static(bytes) => *bytes,
            What::Owned(bytes) => &bytes[..],
            What::File(_) => return None,
        };
        Some(&bytes[self.from as usize..])
    }
}

/// The inserts of one connection's output, in the order of sending.
#[derive(Default)]
pub(crate) struct Inserts {
    queue: VecDeque<Insert>,
    /// What all of them count for.
    weight: u64,
}

impl Inserts {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What they count for beside their bytes in the buffer.
    #[inline]
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Bytes in memory, behind all that is in the buffer. There is one at least.
    pub(crate) fn push(&mut self, buf: &mut Vec<u8>, what: What, len: usize) {
        self.insert(buf, what, 0, len as u64);
    }

    /// A range of a file, behind all that is in the buffer. It is not empty.
    pub(crate) fn push_file(&mut self, buf: &mut Vec<u8>, file: Arc<File>, from: u64, to: u64) {
        self.weight = self.weight.saturating_add(FILE_COST);
        self.insert(buf, What::File(file), from, to);
    }

    fn insert(&mut self, buf: &mut Vec<u8>, what: What, from: u64, to: u64) {
        debug_assert!(from < to);
        self.queue.push_back(Insert { at: buf.len(), from, to, what });
        self.weight = self.weight.saturating_add(to - from);
        buf.push(PLACE);
    }

    /// The file that goes next, with the range that is left of it, if the buffer was sent up to
    /// there.
    pub(crate) fn file(&self, sent: usize) -> Option<(&File, u64, u64)> {
        let first = self.queue.front().filter(|first| first.at == sent)?;
        match &first.what {
            What::File(file) => Some((file, first.from, first.to)),
            _ => None,
        }
    }

    /// The slices that go next, up to a file or as many as fit; how many they are.
    pub(crate) fn slices<'a>(
        &'a self,
        buf: &'a [u8],
        sent: usize,
        into: &mut [IoSlice<'a>; SLICES],
    ) -> usize {
        let (mut count, mut at) = (0, sent);
        let mut add = |bytes: &'a [u8]| {
            if !bytes.is_empty() {
                into[count] = IoSlice::new(bytes);
                count += 1;
            }
            count + 2 > SLICES
        };
        for insert in &self.queue {
            let over = add(&buf[at..insert.at]);
            let Some(bytes) = insert.rest().filter(|_| !over) else { return count };
            if add(bytes) {
                return count;
            }
            at = insert.at + 1;
        }
        add(&buf[at..]);
        count
    }

    /// The kernel took so many bytes of what goes next; `sent` is how far the buffer is. Whether
    /// it stopped within a slice, or a file's range.
    pub(crate) fn advance(&mut self, buf: &[u8], sent: &mut usize, mut n: u64) -> bool {
        while let Some(first) = self.queue.front_mut() {
            let plain = (first.at - *sent) as u64;
            if n < plain {
                *sent += n as usize;
                return n > 0;
            }
            n -= plain;
            *sent = first.at;
            let step = n.min(first.to - first.from);
            first.from += step;
            self.weight = self.weight.saturating_sub(step);
            if first.from < first.to {
                return step > 0;
            }
            n -= step;
            *sent += 1;
            self.pop();
            if n == 0 {
                return false;
            }
        }
        *sent += n as usize;
        n > 0 && *sent < buf.len()
    }

    fn pop(&mut self) {
        if let Some(Insert { what: What::File(_), .. }) = self.queue.pop_front() {
            self.weight = self.weight.saturating_sub(FILE_COST);
        }
        if self.queue.is_empty() {
            self.clear();
        }
    }

    /// The buffer has lost so many bytes at its front, all of them sent.
    pub(crate) fn shift(&mut self, n: usize) {
        for insert in &mut self.queue {
            insert.at -= n;
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.weight = 0;
        if self.queue.capacity() > IDLE_MAX {
            self.queue = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A buffer with inserts, and the same as plain bytes.
    fn mix(parts: &[(u8, usize)]) -> (Vec<u8>, Inserts, Vec<u8>) {
        let (mut buf, mut inserts, mut whole) = (Vec::new(), Inserts::default(), Vec::new());
        for (n, (kind, len)) in parts.iter().enumerate() {
            let bytes: Vec<u8> = (0..*len).map(|i| (i * 7 + n) as u8).collect();
            whole.extend_from_slice(&bytes);
            match (kind, len) {
                (0, _) | (_, 0) => buf.extend_from_slice(&bytes),
                (1, _) => inserts.push(&mut buf, What::Shared(bytes.into()), *len),
                (2, _) => inserts.push(&mut buf, What::Static(bytes.leak()), *len),
                _ => inserts.push(&mut buf, What::Owned(bytes), *len),
            }
        }
        (buf, inserts, whole)
    }

    /// Sends it in steps of these sizes, again and again from the first: what was sent.
    fn send(buf: &[u8], inserts: &mut Inserts, steps: &[usize]) -> Vec<u8> {
        let (mut sent, mut got, mut steps) = (0, Vec::new(), steps.iter().cycle());
        while sent < buf.len() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = inserts.slices(buf, sent, &mut slices);
            assert!(count > 0 && slices[..count].iter().all(|s| !s.is_empty()));
            let there: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            let n = there.len().min(*steps.next().expect("a cycle"));
            let mut ends = slices[..count].iter().scan(0, |end, s| {
                *end += s.len();
                Some(*end)
            });
            let between = n == 0 || ends.any(|end| end == n);
            got.extend_from_slice(&there[..n]);
            assert_eq!(inserts.advance(buf, &mut sent, n as u64), !between);
        }
        assert!(inserts.is_empty() && inserts.weight() == 0);
        got
    }

    #[test]
    fn every_cut_of_a_mix() {
        let parts = [(0, 3), (1, 4), (2, 1), (0, 1), (3, 5), (1, 2), (0, 2)];
        for first in 1..18 {
            for second in 1..18 {
                let (buf, mut inserts, whole) = mix(&parts);
                assert_eq!(send(&buf, &mut inserts, &[first, second]), whole);
            }
        }
    }

    #[test]
    fn more_inserts_than_slices() {
        let parts = [(1, 2), (0, 1), (2, 1), (3, 1)].repeat(SLICES);
        let (buf, mut inserts, whole) = mix(&parts);
        assert_eq!(send(&buf, &mut inserts, &[usize::MAX]), whole);
        assert!(inserts.queue.capacity() <= IDLE_MAX, "an idle list is small");
    }

    #[test]
    fn a_file_parts_the_slices_and_counts() {
        let file = Arc::new(File::open("/dev/null").expect("it is everywhere"));
        let (mut buf, mut inserts, mut sent) = (b"head".to_vec(), Inserts::default(), 0);
        inserts.push_file(&mut buf, file.clone(), 10, 30);
        buf.extend_from_slice(b"tail");
        assert_eq!(inserts.weight(), 20 + FILE_COST);
        let mut slices = [IoSlice::new(&[]); SLICES];
        assert_eq!(inserts.slices(&buf, sent, &mut slices), 1);
        assert_eq!(&*slices[0], b"head");
        assert!(inserts.file(sent).is_none());
        assert!(!inserts.advance(&buf, &mut sent, 4));
        assert!(matches!(inserts.file(sent), Some((_, 10, 30))));
        assert!(inserts.advance(&buf, &mut sent, 15));
        assert!(matches!(inserts.file(sent), Some((_, 25, 30))));
        buf.drain(..sent);
        inserts.shift(sent);
        sent = 0;
        assert!(!inserts.advance(&buf, &mut sent, 5));
        assert!(inserts.is_empty() && inserts.weight() == 0 && Arc::strong_count(&file) == 1);
        assert_eq!(&buf[sent..], b"tail");
    }

    proptest! {
        #[test]
        fn any_mix_in_any_steps(
            parts in prop::collection::vec((0_u8..4, 0_usize..9), 1..80),
            steps in prop::collection::vec(1_usize..40, 1..8),
        ) {
            let (buf, mut inserts, whole) = mix(&parts);
            prop_assert_eq!(send(&buf, &mut inserts, &steps), whole);
        }
    }
}
