//! The waterfall: a line for each resource, on one scale of time.
//!
//! Rule: what came from elsewhere is shown without its control characters.

use super::load::{Resource, Story};
use super::phases::{Phases, millis};
use loopwork::Instant;
use std::fmt::Write as _;

/// Columns of name, status, size and time; the bars have the rest.
const TEXT: usize = 52;
const NAME: usize = 24;
/// A bar that is narrower tells nothing.
const BARS_MIN: usize = 16;

/// Draws it, at most so many columns wide.
pub(super) fn draw(story: &Story, phases: &[Phases], columns: usize) -> String {
    let width = columns.saturating_sub(TEXT).max(BARS_MIN);
    let (began, ended) = story.span();
    let total = millis(began, ended);
    let mut text = String::new();
    for (resource, phases) in story.resources.iter().zip(phases) {
        line(&mut text, resource, phases, (began, total.max(1e-6)), width);
    }
    let bytes: u64 = story.resources.iter().map(|r| r.bytes).sum();
    let failed = story.resources.iter().filter(|r| r.failure.is_some()).count();
    let count = story.resources.len();
    let _ = write!(text, "{count} resources, {bytes} bytes, {total:.1} ms; {failed} failed");
    if story.left_out > 0 {
        let _ = write!(text, ", {} more were not asked for", story.left_out);
    }
    text.push_str(
        "\n▒ name, connection, TLS  · no connection is free  ░ no answer yet  █ it comes\n",
    );
    text
}

/// What a resource is called: the first by all of its URL.
pub(super) fn name(r: &Resource) -> String {
    let shown = if r.initiator.is_some() { &r.url.target } else { &r.url.to_string() };
    shown.chars().filter(|c| !c.is_control()).collect()
}

/// At most so many characters. The end of a path tells more than its beginning.
pub(super) fn cut(name: &str, most: usize) -> String {
    let count = name.chars().count();
    match count > most {
        true => std::iter::once('…').chain(name.chars().skip(count - most + 1)).collect(),
        false => name.to_string(),
    }
}

fn line(text: &mut String, r: &Resource, p: &Phases, scale: (Instant, f64), width: usize) {
    let status = if r.failure.is_some() { "fail".to_string() } else { r.status.to_string() };
    let (name, took) = (cut(&name(r), NAME), millis(p.start, p.end));
    let _ = write!(text, "{name:<NAME$} {status:>4} {:>9} {took:>8.1}ms ", r.bytes);
    let column = |at| ((millis(scale.0, at) / scale.1 * width as f64) as usize).min(width - 1);
    let mut at = column(p.start);
    text.push_str(&" ".repeat(at));
    for (over, mark) in p.marks() {
        let to = column(over).max(at);
        text.extend(std::iter::repeat_n(mark, to - at));
        at = to;
    }
    // The moment of the end is to be seen, however short it all was.
    text.push_str("█\n");
    if let Some(why) = &r.failure {
        let _ = writeln!(
            text,
            "  {}",
            why.words.chars().filter(|c| !c.is_control()).collect::<String>()
        );
    }
}
