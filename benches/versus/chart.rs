//! The rows as a picture: SVG by hand, light or dark as the reader has it.
//!
//! Rule: nothing is told by colour alone; each bar has its name and its number.

use crate::idle::Memory;
use crate::report::{Row, size};
use std::fmt::Write;

/// One group of bars has this width; two stand side by side.
const COLUMN: f64 = 470.0;
const MARGIN: f64 = 24.0;
/// Where the bars begin within a group: the names stand before.
const NAMES: f64 = 74.0;
/// The longest bar; its number stands behind.
const BAR: f64 = 250.0;
const LINE: f64 = 20.0;
/// Beyond so many times the first, a bar is cut, so that the others can be told apart.
const CUT: f64 = 6.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 18px; font-weight: 600 }
.group { font-weight: 600 }
.note { fill: #59636e }
.page { fill: #ffffff }
.line { stroke: #d1d9e0 }
.raw { fill: #8c959f } .loopwork { fill: #0969da } .mio { fill: #1a7f37 }
.tokio { fill: #9a6700 } .node { fill: #bc4c00 } .other { fill: #6639ba }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 } .page { fill: #0d1117 } .line { stroke: #3d444d }
.raw { fill: #768390 } .loopwork { fill: #4493f8 } .mio { fill: #3fb950 }
.tokio { fill: #d29922 } .node { fill: #f0883e } .other { fill: #ab7df8 }
}";

struct Bar {
    name: &'static str,
    /// In units of the first.
    ratio: f64,
    label: String,
}

struct Group {
    title: String,
    bars: Vec<Bar>,
}

/// The processor time of each load, and the memory, each as a multiple of the first server's.
pub(crate) fn draw(title: &str, rows: &[Row], memory: &[Memory]) -> String {
    let groups = groups(rows, memory);
    let height = |group: &Group| LINE * (group.bars.len() as f64 + 2.2);
    let pairs: Vec<f64> =
        groups.chunks(2).map(|pair| pair.iter().map(height).fold(0.0, f64::max)).collect();
    let top = 76.0;
    let (width, tall) = (2.0 * COLUMN + MARGIN, top + pairs.iter().sum::<f64>() + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {tall:.0}\" \
         width=\"{width}\" height=\"{tall:.0}\" role=\"img\">\n<title>{0}</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"34\">{0}</text>\n\
         <text class=\"note\" x=\"{MARGIN}\" y=\"56\">Server processor time for each message, \
         as a multiple of the raw epoll server's (the line): shorter is better</text>\n",
        escape(title)
    );
    let mut y = top;
    for (pair, tall) in groups.chunks(2).zip(pairs) {
        for (i, group) in pair.iter().enumerate() {
            let _ = write!(svg, "{}", one(group, MARGIN + i as f64 * COLUMN, y));
        }
        y += tall;
    }
    svg + "</svg>\n"
}

fn groups(rows: &[Row], memory: &[Memory]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let connections = if row.conns == 1 { "connection" } else { "connections" };
        let title = match row.load {
            "connect" => "connect, one message, close".to_string(),
            load => format!("{load}, {}, {} {connections}", size(row.bytes), row.conns),
        };
        if groups.last().is_none_or(|group| group.title != title) {
            groups.push(Group { title, bars: Vec::new() });
        }
        let (Some(measured), Some(group)) = (&row.measured, groups.last_mut()) else { continue };
        let (cpu, ratio) = (measured.cpu(), measured.cpu() / row.base.cpu());
        let label = match cpu {
            ns if ns >= 10_000.0 => format!("{ratio:.2} × · {:.1} µs", ns / 1000.0),
            ns => format!("{ratio:.2} × · {ns:.0} ns"),
        };
        group.bars.push(Bar { name: row.server, ratio, label });
    }
    if let Some(most) = memory.iter().map(|m| m.idle).max_by(f64::total_cmp) {
        let title = format!("user memory of an idle connection, {} of them", memory[0].conns);
        let bar = |m: &Memory| {
            let ratio = m.idle / most * CUT;
            Bar { name: m.server, ratio, label: format!("{:.0} B", m.idle) }
        };
        groups.push(Group { title, bars: memory.iter().map(bar).collect() });
    }
    groups
}

fn one(group: &Group, x: f64, y: f64) -> String {
    let mut svg = format!(
        "<text class=\"group\" x=\"{x}\" y=\"{:.0}\">{}</text>\n",
        y + 14.0,
        escape(&group.title)
    );
    let (from, lined) = (x + NAMES, !group.title.starts_with("user memory"));
    for (i, bar) in group.bars.iter().enumerate() {
        let at = y + LINE * (i as f64 + 1.2);
        let length = (bar.ratio.clamp(0.0, CUT) / CUT * BAR).max(1.0);
        let cut = if bar.ratio > CUT { "› " } else { "" };
        let class = match bar.name {
            "raw" | "loopwork" | "mio" | "tokio" | "node" => bar.name,
            _ => "other",
        };
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{:.0}\">{}</text><rect class=\"{class}\" x=\"{from}\" \
             y=\"{:.0}\" width=\"{length:.1}\" height=\"14\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{cut}{}</text>",
            at + 12.0,
            bar.name,
            at,
            from + if lined { length.max(BAR / CUT) } else { length } + 6.0,
            at + 12.0,
            escape(&bar.label)
        );
    }
    let (line, end) = (from + BAR / CUT, y + LINE * (group.bars.len() as f64 + 1.2));
    if lined {
        let _ = writeln!(
            svg,
            "<line class=\"line\" x1=\"{line:.1}\" x2=\"{line:.1}\" y1=\"{:.0}\" y2=\"{end:.0}\"/>",
            y + LINE
        );
    }
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
