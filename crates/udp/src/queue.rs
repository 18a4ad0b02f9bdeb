//! What waits to be sent: one run of bytes, and one entry for each datagram in it.
//!
//! Rules of this file:
//! * Both vectors are used again and again: no allocation for a datagram in steady state.
//! * Memory is bounded: what has left is given up as soon as it is half of the bytes or of the
//!   entries, so there are at most twice the limit of either.
//! * Datagrams that come one behind the other stay so, in one run of bytes: those of one length to
//!   one peer can leave as one message (`UDP_SEGMENT`).
//! * An empty queue takes any one datagram, so that no limit can forbid sending altogether.

use loopwork_reactor::{BATCH, Datagram, Source};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// No datagram is this long: a longer one is cut to it before it is queued, and refused by the
/// kernel all the same, so that a mistake costs no gigabyte.
const TOO_LONG: usize = 65_536;
/// A queue's bytes are addressed by 32 bits, with room for twice the limit.
const BYTES_LIMIT: usize = 1 << 30;

/// What became of a datagram.
#[must_use = "a dropped datagram is gone: try again in `on_drain`, or say that you do not mind"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is queued, and leaves with its batch. Whether it arrives, nobody knows.
    Queued,
    /// It is gone: the queue is full ([`on_drain`](crate::Protocol::on_drain) says when it is
    /// empty), or the socket is associated with another peer.
    Dropped,
}

/// Entries that leave from one place, by their numbers since the queue was last empty.
struct Run {
    from: usize,
    to: usize,
    source: Source,
}

/// One more entry leaves from there.
fn push(runs: &mut VecDeque<Run>, number: usize, source: Source) {
    match runs.back_mut() {
        Some(run) if run.to == number && run.source == source => run.to += 1,
        _ => runs.push_back(Run { from: number, to: number + 1, source }),
    }
}

/// The queue of one socket.
pub(crate) struct Queue {
    bytes: Vec<u8>,
    batch: Vec<Datagram>,
    /// Entries at the front of `batch` that have left.
    gone: usize,
    /// Entries that leave from a place of the sender's choice: runs, in order. Beside the entries,
    /// so that they cost nothing where there are none.
    sources: VecDeque<Run>,
    /// The number of the first that waits.
    first: usize,
    /// Something did not fit since the queue was last empty: a drain is owed.
    full: bool,
    max_bytes: usize,
    max_datagrams: usize,
}

impl Queue {
    pub(crate) fn new(max_bytes: usize, max_datagrams: usize) -> Queue {
        Queue {
            bytes: Vec::new(),
            batch: Vec::new(),
            gone: 0,
            sources: VecDeque::new(),
            first: 0,
            full: false,
            max_bytes: max_bytes.min(BYTES_LIMIT),
            max_datagrams,
        }
    }

    /// Appends one datagram, the parts one behind the other.
    #[inline]
    pub(crate) fn put(&mut self, peer: SocketAddr, parts: &[&[u8]]) -> Sent {
        let mut len = parts.iter().fold(0_usize, |n, p| n.saturating_add(p.len())).min(TOO_LONG);
        let over = self.datagrams() >= self.max_datagrams || self.bytes() + len > self.max_bytes;
        if over && !self.is_empty() {
            self.full = true;
            return Sent::Dropped;
        }
        let start = self.bytes.len() as u32;
        self.batch.push(Datagram { peer, start, len: len as u32, truncated: false });
        for part in parts {
            let part = &part[..part.len().min(len)];
            self.bytes.extend_from_slice(part);
            len -= part.len();
        }
        Sent::Queued
    }

    /// [`put`](Self::put), to leave from there.
    pub(crate) fn put_from(&mut self, from: Source, peer: SocketAddr, parts: &[&[u8]]) -> Sent {
        let number = self.first + self.datagrams();
        let sent = self.put(peer, parts);
        if sent == Sent::Queued {
            push(&mut self.sources, number, from);
        }
        sent
    }

    /// The next to send, the bytes that they point into, and from where they leave, all of them.
    /// Empty: nothing waits.
    #[inline]
    pub(crate) fn head(&self) -> (&[Datagram], &[u8], Option<Source>) {
        let waiting = &self.batch[self.gone..];
        match self.sources.front() {
            None => (waiting, &self.bytes, None),
            Some(run) if run.from > self.first => {
                (&waiting[..run.from - self.first], &self.bytes, None)
            }
            Some(run) => (&waiting[..run.to - self.first], &self.bytes, Some(run.source)),
        }
    }

    /// The first `n` of the batch have left; says how many bytes they were.
    pub(crate) fn pop(&mut self, n: usize) -> usize {
        let left = &self.batch[self.gone..][..n];
        let len = left.iter().map(|d| d.len as usize).sum();
        self.gone += n;
        self.first += n;
        while self.sources.pop_front_if(|run| run.to <= self.first).is_some() {}
        self.tidy();
        len
    }

    /// Gives up the front when it is all, or half of the bytes or entries.
    fn tidy(&mut self) {
        let front = self.front();
        if self.is_empty() {
            self.batch.clear();
            self.bytes.clear();
            self.sources.clear();
            (self.gone, self.first) = (0, 0);
        } else if front * 2 >= self.bytes.len() || self.gone * 2 >= self.batch.len() {
            self.bytes.drain(..front);
            self.batch.drain(..self.gone);
            self.gone = 0;
            self.batch.iter_mut().for_each(|d| d.start -= front as u32);
        }
    }

    /// Forgets what is not for this peer.
    pub(crate) fn keep(&mut self, peer: SocketAddr) {
        let Queue { bytes, batch, gone, sources, first, .. } = self;
        batch.drain(..std::mem::take(gone));
        let runs = std::mem::take(sources);
        let (mut old, mut run, mut kept, mut end) = (*first, 0, 0, 0);
        batch.retain_mut(|d| {
            while runs.get(run).is_some_and(|run| run.to <= old) {
                run += 1;
            }
            let source = runs.get(run).filter(|run| run.from <= old).map(|run| run.source);
            old += 1;
            if !same(d.peer, peer) {
                return false;
            }
            // Whoever stays moves up, and so does its source.
            if let Some(source) = source {
                push(sources, kept, source);
            }
            kept += 1;
            bytes.copy_within(d.start as usize..(d.start + d.len) as usize, end);
            d.start = end as u32;
            end += d.len as usize;
            true
        });
        bytes.truncate(end);
        self.first = 0;
        self.tidy();
    }

    /// Forgets everything, the owed drain too.
    pub(crate) fn clear(&mut self) {
        self.gone = self.batch.len();
        self.full = false;
        self.tidy();
    }

    /// A drain is owed: something was dropped, and now there is room for it. Asking pays.
    pub(crate) fn drained(&mut self) -> bool {
        self.owes_drain() && std::mem::take(&mut self.full)
    }

    pub(crate) fn owes_drain(&self) -> bool {
        self.full && self.is_empty()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.gone == self.batch.len()
    }

    /// It is worth a system call: a whole batch waits, or half of the bytes that may.
    pub(crate) fn is_ripe(&self) -> bool {
        self.datagrams() >= BATCH || self.bytes() * 2 >= self.max_bytes
    }

    /// Datagrams that wait.
    #[inline]
    pub(crate) fn datagrams(&self) -> usize {
        self.batch.len() - self.gone
    }

    /// Bytes that wait.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() - self.front()
    }

    /// Where the first waiting datagram begins.
    #[inline]
    fn front(&self) -> usize {
        self.batch.get(self.gone).map_or(self.bytes.len(), |d| d.start as usize)
    }
}

/// The same host and port. An IPv6 address has a flow and a scope besides, which whoever names a
/// peer often leaves out.
pub(crate) fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip() == b.ip() && a.port() == b.port()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn source(interface: u32) -> Source {
        Source { ip: [127, 0, 0, 1].into(), interface }
    }

    /// What the queue holds, as a plain list.
    fn list(queue: &Queue) -> Vec<(u16, Vec<u8>)> {
        let waiting = &queue.batch[queue.gone..];
        let piece = |d: &Datagram| queue.bytes[d.start as usize..][..d.len as usize].to_vec();
        waiting.iter().map(|d| (d.peer.port(), piece(d))).collect()
    }

    #[test]
    fn parts_are_one_datagram() {
        let mut queue = Queue::new(100, 10);
        assert_eq!(queue.put(peer(1), &[b"ab", b"", b"c"]), Sent::Queued);
        assert_eq!(queue.put(peer(2), &[]), Sent::Queued);
        assert_eq!(list(&queue), [(1, b"abc".to_vec()), (2, Vec::new())]);
        assert_eq!((queue.bytes(), queue.datagrams()), (3, 2));
    }

    #[test]
    fn both_limits_drop_and_owe_one_drain() {
        let mut queue = Queue::new(10, 3);
        assert_eq!(queue.put(peer(1), &[&[0; 8]]), Sent::Queued);
        assert_eq!(queue.put(peer(1), &[&[0; 3]]), Sent::Dropped);
        assert!(!queue.drained(), "not empty yet");
        assert_eq!(queue.pop(1), 8);
        assert!(queue.drained());
        assert!(!queue.drained(), "paid once");
        for _ in 0..3 {
            assert_eq!(queue.put(peer(1), &[b""]), Sent::Queued);
        }
        assert_eq!(queue.put(peer(1), &[b""]), Sent::Dropped);
    }

    #[test]
    fn an_empty_queue_takes_one_of_any_size_but_cuts_what_no_datagram_can_be() {
        let mut queue = Queue::new(0, 0);
        assert_eq!(queue.put(peer(1), &[&[1; 60_000], &[2; 60_000], &[3; 9]]), Sent::Queued);
        assert_eq!(queue.bytes(), TOO_LONG);
        assert_eq!(queue.put(peer(1), &[b""]), Sent::Dropped);
    }

    #[test]
    fn keep_forgets_the_others() {
        let mut queue = Queue::new(100, 10);
        for port in [1, 2, 1, 3, 2] {
            assert_eq!(queue.put(peer(port), &[&[port as u8]]), Sent::Queued);
        }
        queue.pop(1);
        queue.keep(peer(2));
        assert_eq!(list(&queue), [(2, vec![2]), (2, vec![2])]);
        queue.keep(peer(9));
        assert!(queue.is_empty());
    }

    proptest! {
        /// Against a plain queue of owned datagrams; and memory stays within twice the limit.
        #[test]
        fn agrees_with_a_plain_queue(ops in prop::collection::vec((0_u8..6, 0_usize..40), 1..400)) {
            const LIMIT: usize = 100;
            let mut queue = Queue::new(LIMIT, 8);
            let mut plain: VecDeque<(u16, Vec<u8>, Option<u32>)> = VecDeque::new();
            for (i, (op, n)) in ops.into_iter().enumerate() {
                if op == 5 && n == 0 {
                    let port = i as u16 % 3;
                    queue.keep(peer(port));
                    plain.retain(|(to, ..)| *to == port);
                } else if op == 0 {
                    let n = n.min(queue.head().0.len());
                    let source = queue.head().2.map(|s| s.interface);
                    prop_assert!(plain.iter().take(n).all(|(_, _, from)| *from == source));
                    let len: usize = plain.drain(..n).map(|(_, b, _)| b.len()).sum();
                    prop_assert_eq!(queue.pop(n), len);
                } else {
                    let (port, bytes) = (i as u16 % 3, vec![i as u8; n]);
                    let waiting: usize = plain.iter().map(|(_, b, _)| b.len()).sum();
                    let fits = plain.is_empty() || plain.len() < 8 && waiting + n <= LIMIT;
                    let (a, b) = bytes.split_at(n / 2);
                    let from = (op > 3).then_some(n as u32 & 1);
                    let sent = match from {
                        Some(interface) => queue.put_from(source(interface), peer(port), &[a, b]),
                        None => queue.put(peer(port), &[a, b]),
                    };
                    prop_assert_eq!(sent == Sent::Queued, fits);
                    if fits {
                        plain.push_back((port, bytes, from));
                    }
                }
                let (head, _, from) = queue.head();
                prop_assert_eq!(head.is_empty(), plain.is_empty());
                let run = plain.iter().take_while(|p| p.2 == from.map(|s| s.interface)).count();
                prop_assert_eq!(head.len(), run, "as many as leave from there");
                let waiting: Vec<_> = plain.iter().map(|(to, b, _)| (*to, b.clone())).collect();
                prop_assert_eq!(&list(&queue), &waiting);
                prop_assert!(queue.bytes.len() <= 2 * LIMIT);
                prop_assert!(queue.batch.len() <= 2 * 8);
            }
        }
    }
}
