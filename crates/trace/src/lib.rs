//! Recordings: every answer that a loop gets from its world, in a file, and back.
//!
//! A [`Tape`] is a world around a world. It lets every call through, or writes each answer down,
//! or has no world at all and gives the answers that were written down: then the protocols run as
//! they did, byte for byte, as often as one likes and up to any turn.
//!
//! ```
//! use loopwork_reactor::{Loop, Os};
//! use loopwork_trace::{Head, Recording, Replay, Tape};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("loopwork-doc-{}", std::process::id()));
//! let recording = Recording::create(&path, &Head::of_this_process())?;
//! let mut lp = Loop::new(Tape::record(Os::new()?, recording));
//! lp.run()?;
//! drop(lp);
//!
//! let mut lp = Loop::<Tape<Os>>::new(Tape::replay(Replay::open(&path)?));
//! lp.run()?;
//! # std::fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! Rules of this crate:
//! * What is recorded is the world's answer, never what the program makes of it: bytes that were
//!   written are not kept, but their checksum is, to see that the replay writes the same.
//! * A recording never disturbs who is recorded: a full disk ends it, and is told when asked.
//! * Whatever a file says, reading it ends with an answer or a reason. No panic, no memory beyond
//!   a block's.

mod datagrams;
mod file;
mod mail;
mod record;
mod replay;
mod ring;
mod streams;
mod tape;
mod wire;

pub use file::{BLOCK_MAX, Head, Refused, VERSION};
pub use record::{BLOCK, FLUSH_EVERY, Recorder, Recording};
pub use replay::{Replay, Stop};
pub use ring::{EVENTS, Event, Ring, RingReader, WORDS, ring};
pub use tape::Tape;
pub use wire::Call;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
