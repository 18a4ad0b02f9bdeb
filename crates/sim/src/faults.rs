//! What can go wrong, how often, and how far: one struct of options.
//!
//! Rules of this file:
//! * Every field says what a program sees of it. `0` switches a rate off.
//! * [`Faults::rough`] holds what a healthy network and kernel do: a correct program loses no byte
//!   of a stream. [`Faults::hostile`] adds what ends connections, [`Faults::dark`] what ends them
//!   without a word.

use crate::datagram::DATAGRAM_MAX;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How often something happens: so many times in a million chances.
pub type Rate = u32;

/// The rate of what always happens.
pub const ALWAYS: Rate = 1_000_000;

/// A rate in percent.
#[must_use]
pub const fn percent(n: u32) -> Rate {
    n * (ALWAYS / 100)
}

/// The behaviour of the simulated network and kernel.
///
/// Build one from a preset: `Faults { loss: percent(5), ..Faults::none() }`.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How long a segment, a datagram, a SYN, a reset is on its way. Streams keep their order.
    pub latency: RangeInclusive<Duration>,
    /// The receive window of a connection, in bytes: what has come in and was not read, and what
    /// is on its way, are never more together.
    pub window: RangeInclusive<usize>,
    /// One write travels as two segments.
    pub split: Rate,
    /// A read gives less than there is; a readiness follows.
    pub cut_read: Rate,
    /// A write takes less than there is room for; a readiness follows. Of a batch of datagrams:
    /// fewer than could go.
    pub cut_write: Rate,
    /// A read says `WouldBlock` with bytes there; a readiness follows.
    pub block_read: Rate,
    /// A write or send says `WouldBlock` with room there; a readiness follows.
    pub block_write: Rate,
    /// A poll tells a readiness that is none.
    pub spurious: Rate,
    /// A poll tells what is ready in random order.
    pub shuffle: Rate,
    /// A socket's readiness is told twice in one poll, readable and writable apart: whoever closes
    /// at the first gets a stale second.
    pub twice: Rate,
    /// A closed socket's id is told once more by the next poll, as ready for everything.
    pub stale: Rate,
    /// A poll returns before its time with nothing.
    pub early: Rate,
    /// The process does not run for a while, so that a poll finds more at once.
    pub lag: Rate,
    /// How long it does not run.
    pub lag_time: RangeInclusive<Duration>,
    /// A part of a stream, or a SYN, is lost and sent again: after 200 ms and a second, then after
    /// twice as long each time.
    pub drop: Rate,
    /// Nothing gets through for a while, in one direction or in both, for each segment: decided
    /// when one is sent. Resets are lost in it, streams go on behind it.
    pub partition: Rate,
    /// How long nothing gets through.
    pub partition_time: RangeInclusive<Duration>,
    /// A connection's ends lose each other for ever, for each segment, and nobody is told: who
    /// sends times out after 15 minutes, who waits only by a deadline or by keep-alive probes.
    pub vanish: Rate,
    /// A write says `OutOfMemory`; no readiness follows.
    pub no_memory: Rate,
    /// The ports that the kernel chooses from. A client that finds none for its peer is told
    /// `AddrNotAvailable`.
    pub ports: RangeInclusive<u16>,
    /// A connection is reset, for each segment that is written: both ends are told.
    pub reset: Rate,
    /// A reset takes along what had arrived and was not read yet (BSD does; Linux keeps it).
    pub lose_input: Rate,
    /// An accept says `ConnectionAborted`: the connection died while it waited.
    pub abort: Rate,
    /// Accepting and connecting say `EMFILE`; a connection that waits goes on waiting. (Listening
    /// and binding do so beyond [`Faults::descriptors`] alone: a test's setup does not fail by
    /// chance.)
    pub no_descriptor: Rate,
    /// An accept says `ENFILE`, `ENOBUFS`, `ENOMEM` or `EINTR`, and the connection goes on waiting,
    /// without a readiness to come; or `EPROTO`, and it is gone. (The real world asks again when
    /// it was interrupted, and tells `EPROTO` as `ConnectionAborted`: here is more than it does.)
    pub accept_error: Rate,
    /// Sockets that may be open at once; beyond, `EMFILE`.
    pub descriptors: usize,
    /// A datagram is lost.
    pub loss: Rate,
    /// A datagram comes twice.
    pub duplicate: Rate,
    /// A datagram is held back, so that later ones overtake it.
    pub reorder: Rate,
    /// How long it is held back.
    pub reorder_time: RangeInclusive<Duration>,
    /// A receive gives fewer datagrams than there are; a readiness follows.
    pub cut_receive: Rate,
    /// A send of a datagram says `ENOBUFS`, and that datagram is dropped.
    pub no_buffers: Rate,
    /// The longest datagram that can be sent, in bytes; beyond, `EMSGSIZE`: what one packet holds
    /// where nothing may be cut into fragments.
    pub datagram_max: usize,
    /// Bytes of datagrams that wait to be received, each with
    /// [`DATAGRAM_OVERHEAD`](crate::DATAGRAM_OVERHEAD); more are dropped.
    pub datagram_queue: usize,
}

impl Faults {
    /// A perfect network: 50 µs on the way, always; nothing cut, lost or out of order.
    #[must_use]
    pub const fn none() -> Faults {
        const LATENCY: Duration = Duration::from_micros(50);
        const ZERO: RangeInclusive<Duration> = Duration::ZERO..=Duration::ZERO;
        Faults {
            latency: LATENCY..=LATENCY,
            // What a TCP header can say without scaling (RFC 9293, 3.1), and small enough that a
            // test of backpressure is short.
            window: 65_536..=65_536,
            split: 0,
            cut_read: 0,
            cut_write: 0,
            block_read: 0,
            block_write: 0,
            spurious: 0,
            shuffle: 0,
            twice: 0,
            stale: 0,
            early: 0,
            lag: 0,
            lag_time: ZERO,
            drop: 0,
            partition: 0,
            partition_time: ZERO,
            vanish: 0,
            no_memory: 0,
            // Linux's `net.ipv4.ip_local_port_range`.
            ports: 32_768..=60_999,
            reset: 0,
            lose_input: 0,
            abort: 0,
            no_descriptor: 0,
            accept_error: 0,
            // As many as a Linux system gives a process that asks for all (`ulimit -Hn`).
            descriptors: 524_288,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            reorder_time: ZERO,
            cut_receive: 0,
            no_buffers: 0,
            datagram_max: DATAGRAM_MAX,
            // Linux's `net.core.rmem_default`.
            datagram_queue: 212_992,
        }
    }

    /// Everything that a correct program survives without losing a byte of a stream. Datagrams
    /// are lost, doubled and overtaken.
    #[must_use]
    pub const fn rough() -> Faults {
        Faults {
            latency: Duration::from_micros(10)..=Duration::from_millis(2),
            // Small enough that a message takes several windows, not thousands of them.
            window: 64..=32_768,
            split: percent(20),
            cut_read: percent(25),
            cut_write: percent(25),
            block_read: percent(5),
            block_write: percent(5),
            spurious: percent(5),
            shuffle: percent(50),
            twice: percent(10),
            stale: percent(25),
            early: percent(2),
            lag: percent(10),
            lag_time: Duration::ZERO..=Duration::from_millis(4),
            no_memory: percent(1),
            loss: percent(5),
            duplicate: percent(2),
            reorder: percent(10),
            reorder_time: Duration::ZERO..=Duration::from_millis(10),
            cut_receive: percent(10),
            ..Faults::none()
        }
    }

    /// [`Faults::rough`], and parts of streams are lost and sent again, which is slow; connections
    /// are reset, die before they are accepted, and find no descriptor or memory; datagrams find
    /// no buffers.
    #[must_use]
    pub const fn hostile() -> Faults {
        Faults {
            drop: percent(1),
            reset: percent(1),
            lose_input: percent(50),
            abort: percent(5),
            no_descriptor: percent(5),
            accept_error: percent(5),
            no_buffers: percent(1),
            ..Faults::rough()
        }
    }

    /// [`Faults::hostile`], and at times nothing gets through, or a peer is gone without a word:
    /// what only a deadline ends. A program that waits without one waits for ever.
    #[must_use]
    pub const fn dark() -> Faults {
        Faults {
            partition: percent(1) / 10,
            partition_time: Duration::from_millis(1)..=Duration::from_secs(30),
            vanish: percent(1) / 5,
            ..Faults::hostile()
        }
    }
}

impl Faults {
    /// Whether connections may break, or not come about: where they may not, a correct program
    /// loses no byte of a stream.
    #[must_use]
    pub fn breaks(&self) -> bool {
        let at_accept = self.abort > 0 || self.accept_error > 0;
        self.reset > 0 || at_accept || self.no_descriptor > 0 || self.vanish > 0
    }

    /// Every rate by its name, to change or switch off one: `faults.rates()` of a run that fails,
    /// one after the other to `0`, leaves those that it needs.
    pub fn rates(&mut self) -> [(&'static str, &mut Rate); 25] {
        // Every field is named, so that a new one cannot be forgotten here.
        let Faults {
            latency: _,
            window: _,
            split,
            cut_read,
            cut_write,
            block_read,
            block_write,
            spurious,
            shuffle,
            twice,
            stale,
            early,
            lag,
            lag_time: _,
            drop,
            partition,
            partition_time: _,
            vanish,
            no_memory,
            ports: _,
            reset,
            lose_input,
            abort,
            no_descriptor,
            accept_error,
            descriptors: _,
            loss,
            duplicate,
            reorder,
            reorder_time: _,
            cut_receive,
            no_buffers,
            datagram_max: _,
            datagram_queue: _,
        } = self;
        [
            ("split", split),
            ("cut_read", cut_read),
            ("cut_write", cut_write),
            ("block_read", block_read),
            ("block_write", block_write),
            ("spurious", spurious),
            ("shuffle", shuffle),
            ("twice", twice),
            ("stale", stale),
            ("early", early),
            ("lag", lag),
            ("drop", drop),
            ("partition", partition),
            ("vanish", vanish),
            ("no_memory", no_memory),
            ("reset", reset),
            ("lose_input", lose_input),
            ("abort", abort),
            ("no_descriptor", no_descriptor),
            ("accept_error", accept_error),
            ("loss", loss),
            ("duplicate", duplicate),
            ("reorder", reorder),
            ("cut_receive", cut_receive),
            ("no_buffers", no_buffers),
        ]
    }
}

/// [`Faults::rough`].
impl Default for Faults {
    fn default() -> Self {
        Faults::rough()
    }
}

/// What has happened so far: to see that a test met what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Polls that were answered.
    pub polls: u64,
    /// Readinesses told that were none.
    pub spurious: u64,
    /// Readinesses told of closed sockets.
    pub stale: u64,
    /// Reads and receives that were cut short or blocked by a fault.
    pub cut_reads: u64,
    /// Writes and sends that were cut short or blocked by a fault.
    pub cut_writes: u64,
    /// Connections reset by a fault.
    pub resets: u64,
    /// Accepts that failed by a fault.
    pub accept_errors: u64,
    /// Parts of streams, and SYNs, that were lost and sent again.
    pub dropped_segments: u64,
    /// Partitions that began by a fault.
    pub partitions: u64,
    /// Connections whose ends have lost each other.
    pub vanished: u64,
    /// Ends of connections that the kernel has given up.
    pub timeouts: u64,
    /// Writes for which there was no memory.
    pub starved: u64,
    /// SYNs that found the accept queue full.
    pub syn_drops: u64,
    /// Calls on sockets that were closed: a driver's mistake, always.
    pub strays: u64,
    /// Datagrams that the program sent.
    pub sent: u64,
    /// Datagrams that it could not send: too long, or without buffers. Each was told.
    pub refused: u64,
    /// Datagrams lost by a fault.
    pub lost: u64,
    /// Datagrams doubled by a fault.
    pub duplicated: u64,
    /// Datagrams held back by a fault.
    pub reordered: u64,
    /// Datagrams dropped because a receive queue, or the network, was full.
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rate_has_one_name_of_its_own() {
        let mut faults = Faults::none();
        for (n, (_, rate)) in faults.rates().into_iter().enumerate() {
            *rate = n as Rate + 1;
        }
        // Printed, each stands under its own name: none is another's.
        let text = format!("{faults:?}");
        for (name, rate) in faults.rates() {
            assert!(text.contains(&format!(" {name}: {rate},")), "{name} in {text}");
        }
    }

    #[test]
    fn without_its_rates_a_rough_world_is_smooth() {
        let mut faults = Faults::dark();
        faults.rates().into_iter().for_each(|(_, rate)| *rate = 0);
        assert!(faults.rates().iter().all(|(_, rate)| **rate == 0));
        assert_eq!((faults.loss, faults.reset, faults.stale), (0, 0, 0));
    }
}
