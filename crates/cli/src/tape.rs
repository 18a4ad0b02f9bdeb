//! Where the loop of a command stands: in the world, in the world with a recording, or in a
//! recording alone.
//!
//! Rules of this file:
//! * What a command does is the same in all three: it opens its loop here, and runs it here.
//! * A recording that fails is told in the end, and fails the command then.

use crate::common::{self, Fail, Outcome, reason, talk};
use crate::notes::{Form, Notes};
use clap::{Arg, ArgMatches, value_parser};
use loopwork::trace::{Head, Recording, Replay, Stop, Tape};
use loopwork::{Loop, Os};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

/// The world of a command.
pub(crate) type Outside = Tape<Os>;

/// What a recording says it was made by.
pub(crate) const PROGRAM: &str = concat!("loopwork ", env!("CARGO_PKG_VERSION"));

/// What the loop of a command is to stand in.
pub(crate) enum Wanted {
    Live,
    /// Recorded to this file, as these arguments.
    Record(PathBuf, Vec<String>),
    Replay(Shown),
}

/// What of a recording is shown.
pub(crate) struct Shown {
    pub(crate) path: PathBuf,
    /// The last turn.
    pub(crate) to: u64,
    /// The first whose notes are shown.
    pub(crate) from: u64,
    /// Asks after each shown turn.
    pub(crate) step: bool,
    /// Notes go to a file in this form, and not to stdout.
    pub(crate) export: Option<(PathBuf, Form)>,
    /// The turn that the user wants to go back to, by another replay from the beginning.
    pub(crate) back: Cell<Option<u64>>,
}

/// `--record FILE`.
pub(crate) fn arg() -> Arg {
    Arg::new("record")
        .long("record")
        .value_name("FILE")
        .help("Record what the loop is answered; for loopwork trace replay FILE")
        .value_parser(value_parser!(PathBuf))
}

fn cannot_write(path: &Path, error: &io::Error) -> Fail {
    let (path, why) = (path.display(), reason(error));
    Fail::failed(format!("cannot write {path}: {why}; name a file that can be written"))
}

/// Opens a recording to be read.
pub(crate) fn replay(path: &Path) -> Result<Replay, Fail> {
    let shown = path.display();
    Replay::open(path).map_err(|why| Fail::failed(format!("cannot replay {shown}: {why}")))
}

/// Begins a recording.
pub(crate) fn record(path: &Path, arguments: &[String]) -> Result<Recording, Fail> {
    let head = Head { program: PROGRAM.into(), arguments: arguments.to_vec() };
    Recording::create(path, &head).map_err(|error| cannot_write(path, &error))
}

impl Wanted {
    /// TLS draws its own randomness.
    pub(crate) fn without_tls(&self, matches: &ArgMatches) -> Outcome {
        let tls = matches.get_flag("tls-self-signed") || matches.contains_id("tls-cert");
        match self {
            Wanted::Record(..) if tls => Err(Fail::usage(
                "TLS draws its own randomness, so that a recording beneath it does not replay; \
                 record without the --tls flags",
            )),
            _ => Ok(()),
        }
    }

    /// A world has one loop, and a recording has one world.
    pub(crate) fn one_loop(&self, threads: usize) -> Outcome {
        match self {
            Wanted::Record(..) if threads > 1 => {
                let text = "a recording is of one loop; record with --threads 1";
                Err(Fail::usage(text))
            }
            _ => Ok(()),
        }
    }
}

impl Shown {
    /// Who is told of the notes.
    pub(crate) fn notes(&self) -> Result<Notes, Fail> {
        let Some((path, form)) = &self.export else { return Ok(Notes::text_from(self.from, 0)) };
        let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Notes::new(Box::new(file), *form))
    }
}

/// The loop of a command.
pub(crate) fn open(wanted: &Wanted) -> Result<Loop<Outside>, Fail> {
    Ok(match wanted {
        Wanted::Live => Loop::new(Tape::Live(Os::new()?)),
        Wanted::Record(path, arguments) => {
            Loop::new(Tape::record(Os::new()?, record(path, arguments)?))
        }
        Wanted::Replay(shown) => {
            let mut lp = Loop::new(Tape::replay(replay(&shown.path)?.to_turn(shown.to)));
            lp.trace(Some(Box::new(shown.notes()?)));
            lp
        }
    })
}

/// Runs it to its end.
pub(crate) fn run(lp: &mut Loop<Outside>, wanted: &Wanted) -> Outcome {
    if let Wanted::Replay(shown) = wanted {
        return replayed(lp, shown);
    }
    lp.run()?;
    if let Some(recording) = lp.world.recording() {
        recording.flush();
        if let Some(why) = recording.failed() {
            let (bytes, why) = (recording.bytes(), reason(why));
            let text = format!("the recording ended early, at byte {bytes}: {why}; make room");
            return Err(Fail::failed(text));
        }
    }
    Ok(())
}

fn replayed(lp: &mut Loop<Outside>, shown: &Shown) -> Outcome {
    while !lp.env.calls.stopping() && lp.env.calls.alive() && lp.turn(None).is_ok() {
        let turn = lp.world.replaying().map_or(0, |replay| replay.turn());
        if shown.step && turn >= shown.from {
            // What is dropped has written all it was told.
            lp.trace(Some(Box::new(Notes::text_from(shown.from, turn))));
            match asked(turn) {
                Asked::Next => {}
                Asked::Quit => return Ok(()),
                Asked::Turn(wanted) if wanted > turn => {
                    lp.trace(Some(Box::new(Notes::text_from(wanted, turn))));
                    while lp.world.replaying().is_some_and(|r| r.turn() + 1 < wanted)
                        && lp.turn(None).is_ok()
                    {}
                }
                Asked::Turn(wanted) => {
                    shown.back.set(Some(wanted));
                    return Ok(());
                }
            }
        }
    }
    lp.trace(None);
    lp.world.replaying().map_or(Ok(()), told)
}

/// How a replay has ended.
fn told(replay: &mut Replay) -> Outcome {
    replay.finished();
    let (turns, calls) = (replay.turn(), replay.calls());
    let outcome = match replay.stopped() {
        Some(why) => why.to_string(),
        None => "the program is over, and its recording is not".to_string(),
    };
    let text = format!("replayed {turns} turns, {calls} answers: {outcome}");
    match replay.stopped() {
        Some(Stop::End | Stop::Turn | Stop::Cut(_)) => {
            talk(&text);
            Ok(())
        }
        _ => Err(Fail::failed(text)),
    }
}

enum Asked {
    Next,
    Turn(u64),
    Quit,
}

/// What is wanted next.
fn asked(turn: u64) -> Asked {
    loop {
        common::talk(&format!("turn {turn}: Enter next, b back, a number that turn, q quit"));
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        match (read, line.trim()) {
            (Ok(0) | Err(_), _) | (_, "q") => return Asked::Quit,
            (_, "") => return Asked::Next,
            (_, "b") => return Asked::Turn(turn.saturating_sub(1).max(1)),
            (_, number) => match number.parse() {
                Ok(number) if number > 0 => return Asked::Turn(number),
                _ => {}
            },
        }
    }
}
