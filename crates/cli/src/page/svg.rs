//! The waterfall and the ladder as one picture, for light and dark.
//!
//! Rule: what came from elsewhere is escaped, and everything else is a number or ours.

use super::ladder::{Lane, Rung};
use super::load::Story;
use super::phases::{Phases, millis};
use super::waterfall::{cut, name};
use crate::common::escaped;
use std::fmt::Write as _;

/// Pixels: of the picture, of a line, of the names on the left, and of the margins.
const WIDTH: f64 = 960.0;
const LINE: f64 = 20.0;
const NAMES: f64 = 330.0;
const MARGIN: f64 = 16.0;
/// Where the lanes of the ladder are.
const LANES: [f64; 3] = [120.0, 500.0, 900.0];

const STYLE: &str = "\
svg{background:#fff;font:12px ui-monospace,monospace}text{fill:#222}.dim{fill:#777}\
.lane{stroke:#bbb}.seen{stroke:#2563a8}.inferred{stroke:#2563a8;stroke-dasharray:4 4}\
.head{fill:#2563a8}.setup{fill:#d9922e}.line{fill:#ccc}.wait{fill:#8fb8de}.body{fill:#2563a8}\
.fail{fill:#c0392b}\
@media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#ddd}.dim{fill:#888}\
.lane{stroke:#555}.line{fill:#444}.wait{fill:#35557a}.body,.head{fill:#6ca8e8}\
.seen,.inferred{stroke:#6ca8e8}}";

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, class: &str, what: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
        escaped(what)
    );
}

/// Draws both.
pub(super) fn draw(story: &Story, phases: &[Phases], rungs: &[Rung]) -> String {
    let rows = story.resources.len() + 3;
    let ladder = MARGIN + rows as f64 * LINE;
    let lines = rungs.len() + 3;
    let height = ladder + lines as f64 * LINE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(&format!("The load of {}", story.resources[0].url))
    );
    waterfall(&mut out, story, phases);
    climb(&mut out, rungs, ladder);
    out.push_str("</svg>\n");
    out
}

fn waterfall(out: &mut String, story: &Story, phases: &[Phases]) {
    let (began, ended) = story.span();
    let (total, room) = (millis(began, ended).max(1e-6), WIDTH - NAMES - 2.0 * MARGIN - 90.0);
    let column = |at| MARGIN + NAMES + millis(began, at) / total * room;
    for (n, (r, p)) in story.resources.iter().zip(phases).enumerate() {
        let y = MARGIN + n as f64 * LINE;
        text(out, (MARGIN, y + 13.0), "start", "", &cut(&name(r), 36));
        let (status, class) = match &r.failure {
            Some(_) => ("fail".to_owned(), "fail"),
            None => (r.status.to_string(), "dim"),
        };
        text(out, (MARGIN + NAMES - 10.0, y + 13.0), "end", class, &status);
        let mut from = column(p.start);
        for ((over, _), class) in p.marks().into_iter().zip(["setup", "line", "wait", "body"]) {
            let to = column(over).max(from);
            // The end is to be seen, however short it was.
            let width = if class == "body" { (to - from).max(1.5) } else { to - from };
            if width > 0.0 {
                let _ = writeln!(
                    out,
                    "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                     height=\"{:.1}\"/>",
                    y + 3.0,
                    LINE - 6.0
                );
            }
            from = to;
        }
        let took = format!("{:.1} ms", millis(p.start, p.end));
        text(out, (from + 6.0, y + 13.0), "start", "dim", &took);
    }
    let mut x = MARGIN;
    let y = MARGIN + (story.resources.len() as f64 + 0.5) * LINE;
    for (class, what) in [
        ("setup", "name, connection, TLS"),
        ("line", "no connection is free"),
        ("wait", "no answer yet"),
        ("body", "it comes"),
    ] {
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\"/>",
            y + 3.0
        );
        text(out, (x + 18.0, y + 13.0), "start", "dim", what);
        x += 60.0 + what.len() as f64 * 7.3;
    }
}

fn climb(out: &mut String, rungs: &[Rung], top: f64) {
    let Some(first) = rungs.first() else { return };
    let end = top + (rungs.len() as f64 + 1.5) * LINE;
    for (x, name) in LANES.into_iter().zip(["client", "kernel", "server"]) {
        text(out, (x, top + 10.0), "middle", "", name);
        let _ = writeln!(
            out,
            "<line class=\"lane\" x1=\"{x}\" x2=\"{x}\" y1=\"{:.1}\" y2=\"{end:.1}\"/>",
            top + 16.0
        );
    }
    for (n, rung) in rungs.iter().enumerate() {
        let y = top + (n as f64 + 2.0) * LINE;
        let time = format!("{:.1} ms", millis(first.at, rung.at));
        text(out, (LANES[0] - 12.0, y + 4.0), "end", "dim", &time);
        if rung.from == rung.to {
            text(out, (LANES[1] + 8.0, y + 4.0), "start", "dim", &rung.label);
            continue;
        }
        let left = rung.from.min(rung.to);
        for lane in [Lane::Client, Lane::Kernel] {
            if let Some(seen) = rung.seen(lane) {
                let class = if seen { "seen" } else { "inferred" };
                let (from, to) = (LANES[lane as usize], LANES[lane as usize + 1]);
                let _ = writeln!(
                    out,
                    "<line class=\"{class}\" x1=\"{from}\" x2=\"{to}\" y1=\"{y}\" y2=\"{y}\"/>"
                );
            }
        }
        let (tip, back) = (LANES[rung.to as usize], if rung.to > rung.from { -8.0 } else { 8.0 });
        let _ = writeln!(out, "<path class=\"head\" d=\"M{tip} {y}l{back} -4v8z\"/>");
        let middle = (LANES[left as usize] + LANES[left as usize + 1]) / 2.0;
        text(out, (middle, y - 4.0), "middle", "", &cut(&rung.label, 44));
    }
    let y = end + LINE * 0.8;
    text(out, (MARGIN, y), "start", "dim", "whole: seen; dashed: inferred from it");
}
