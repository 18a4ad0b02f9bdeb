//! The notes of a loop, as they come, written as text, as lines of JSON, or as a trace that
//! Perfetto and Chrome open.
//!
//! Rules of this file:
//! * Whoever closed where it goes wants no more of it; the run goes on to its outcome.
//! * A line of JSON is one note. A trace is complete when the writer is dropped.

use crate::common::quote;
use loopwork::Id;
use loopwork::reactor::{Instant, Trace, Tracer};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

/// How notes are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// An object for each note (`t` in nanoseconds).
    Jsonl,
    /// The Trace Event Format: an instant for each turn, a span for each connection, with its
    /// reads and writes as instants.
    Chrome,
}

/// Writes notes.
pub(crate) struct Notes {
    out: BufWriter<Box<dyn Write>>,
    form: Form,
    turn: u64,
    /// What is before this turn is left out.
    from: u64,
    /// Spans that have begun, by their births.
    open: BTreeMap<u64, Id>,
    last: Instant,
    first: bool,
}

impl Notes {
    pub(crate) fn new(to: Box<dyn Write>, form: Form) -> Notes {
        let (out, open, last) = (BufWriter::new(to), BTreeMap::new(), Instant(0));
        let mut notes = Notes { out, form, turn: 0, from: 0, open, last, first: true };
        if form == Form::Chrome {
            notes.text("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
        }
        notes
    }

    /// For people, on stdout, from a turn on, when so many turns are over.
    pub(crate) fn text_from(from: u64, turn: u64) -> Notes {
        let mut notes = Notes::new(Box::new(io::stdout()), Form::Text);
        (notes.from, notes.turn) = (from, turn);
        notes
    }

    fn text(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
    }

    fn line(&mut self, at: Instant, id: Id, word: &str, n: Option<u32>) {
        let mut line = String::new();
        let _ = match (word, n) {
            ("turn", Some(n)) => {
                let ms = at.0 as f64 / 1e6;
                writeln!(line, "turn {}  {ms:.3} ms  {n} ready", self.turn)
            }
            (word, Some(n)) => writeln!(line, "    {id}  {word} {n}"),
            (word, None) => writeln!(line, "    {id}  {word}"),
        };
        self.text(&line);
    }

    fn json(&mut self, at: Instant, id: Id, word: &str, n: Option<u32>) {
        let mut line = format!("{{\"t\":{},\"turn\":{}", at.0, self.turn);
        if id != Id::NOBODY {
            let Id { driver, slot, birth } = id;
            let _ = write!(line, ",\"driver\":{driver},\"slot\":{slot},\"birth\":{birth}");
        }
        line.push_str(",\"what\":");
        quote(&mut line, word);
        if let Some(n) = n {
            let _ = write!(line, ",\"n\":{n}");
        }
        line.push_str("}\n");
        self.text(&line);
    }

    /// One event; `rest` is what it has beside its name, kind, time and track.
    fn event(&mut self, at: Instant, id: Id, word: &str, kind: char, rest: &str) {
        let mut text = String::from(if self.first { "\n" } else { ",\n" });
        self.first = false;
        text.push_str("{\"name\":");
        quote(&mut text, word);
        // Microseconds, with the nanoseconds behind the point.
        let (us, ns, track) = (at.0 / 1000, at.0 % 1000, id.driver);
        let _ = write!(text, ",\"ph\":\"{kind}\",\"ts\":{us}.{ns:03},\"pid\":1,\"tid\":{track}");
        text.push_str(rest);
        text.push('}');
        self.text(&text);
    }

    fn chrome(&mut self, at: Instant, id: Id, word: &str, n: Option<u32>) {
        self.last = at;
        let span = format!(",\"cat\":\"connection\",\"id\":{}", id.birth);
        match word {
            "open" => {
                self.open.insert(id.birth, id);
                return self.event(at, id, "connection", 'b', &span);
            }
            "close" if self.open.remove(&id.birth).is_some() => {
                return self.event(at, id, "connection", 'e', &span);
            }
            _ => {}
        }
        let (slot, birth) = (id.slot, id.birth);
        let mut rest = format!(",\"s\":\"t\",\"args\":{{\"turn\":{}", self.turn);
        if id != Id::NOBODY {
            let _ = write!(rest, ",\"slot\":{slot},\"birth\":{birth}");
        }
        if let Some(n) = n {
            let _ = write!(rest, ",\"n\":{n}");
        }
        rest.push('}');
        self.event(at, id, word, 'i', &rest);
    }
}

impl Tracer for Notes {
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        let word = format!("{what:?}").to_lowercase();
        let word = word.split('(').next().unwrap_or_default();
        let (word, n) = match what {
            Trace::Turn(n) => {
                self.turn += 1;
                (word, Some(n))
            }
            Trace::Read(n) | Trace::Used(n) | Trace::Wrote(n) | Trace::Clear(n) => (word, Some(n)),
            Trace::Say(said) => (said, None),
            _ => (word, None),
        };
        if self.turn < self.from {
            return;
        }
        match self.form {
            Form::Text => self.line(at, id, word, n),
            Form::Jsonl => self.json(at, id, word, n),
            Form::Chrome => self.chrome(at, id, word, n),
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        if self.form == Form::Chrome {
            // What is open in the end ends there, or a viewer would not draw it.
            for (birth, id) in std::mem::take(&mut self.open) {
                let span = format!(",\"cat\":\"connection\",\"id\":{birth}");
                self.event(self.last, id, "connection", 'e', &span);
            }
            self.text("\n]}\n");
        }
        let _ = self.out.flush();
    }
}
