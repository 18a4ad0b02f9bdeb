//! The waterfall: a line for each resource, on one scale of time.
//!
//! Rule: what came from elsewhere is shown without its control characters.

use super::load::{Resource, Story};
use loopwork::Instant;
use std::fmt::Write as _;

/// Columns of name, status, size and time; the bars have the rest.
const TEXT: usize = 52;
const NAME: usize = 24;
/// A bar that is narrower tells nothing.
const BARS_MIN: usize = 16;

/// Draws it, at most so many columns wide.
pub(super) fn draw(story: &Story, columns: usize) -> String {
    let (width, began) = (columns.saturating_sub(TEXT).max(BARS_MIN), story.document().start);
    let ends = story.resources.iter().filter_map(|r| r.end).map(|end| millis(began, end));
    let total = ends.fold(0.0, f64::max);
    let mut text = String::new();
    for resource in &story.resources {
        line(&mut text, resource, began, total.max(1e-6), width);
    }
    let bytes: u64 = story.resources.iter().map(|r| r.bytes).sum();
    let failed = story.resources.iter().filter(|r| r.failure.is_some()).count();
    let count = story.resources.len();
    let _ = write!(text, "{count} resources, {bytes} bytes, {total:.1} ms; {failed} failed");
    if story.left_out > 0 {
        let _ = write!(text, ", {} more were not asked for", story.left_out);
    }
    text.push_str("\n░ waits for the answer, █ it comes\n");
    text
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.since(from).as_secs_f64() * 1e3
}

fn line(text: &mut String, r: &Resource, began: Instant, total: f64, width: usize) {
    let shown = if r.initiator.is_some() { &r.url.target } else { &r.url.to_string() };
    let shown: Vec<char> = shown.chars().filter(|c| !c.is_control()).collect();
    // The end of a path tells more than its beginning.
    let name: String = match shown.len() > NAME {
        true => std::iter::once('…').chain(shown[shown.len() - NAME + 1..].to_vec()).collect(),
        false => shown.into_iter().collect(),
    };
    let end = r.end.unwrap_or(r.start);
    let status = if r.failure.is_some() { "fail".to_string() } else { r.status.to_string() };
    let took = millis(r.start, end);
    let _ = write!(text, "{name:<NAME$} {status:>4} {:>9} {took:>8.1}ms ", r.bytes);
    let column = |at: Instant| ((millis(began, at) / total * width as f64) as usize).min(width - 1);
    let (from, first, last) = (column(r.start), column(r.first.unwrap_or(end)), column(end));
    let bar = |mark: &str, n: usize| mark.repeat(n);
    let _ = writeln!(
        text,
        "{}{}{}",
        " ".repeat(from),
        bar("░", first - from),
        bar("█", last - first + 1)
    );
    if let Some(why) = &r.failure {
        let _ = writeln!(text, "  {}", why.chars().filter(|c| !c.is_control()).collect::<String>());
    }
}
