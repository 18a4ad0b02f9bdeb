//! A run as a page: figures, plots and a table, in one file that asks nobody for anything.
//!
//! Rule: what comes from outside, the URL, is escaped; the rest is numbers and our own words.

use super::tally::{PERCENTILES, Run, label, time};
use crate::common::escaped;
use std::fmt::Write as _;

/// Of a plot, in the units of its own drawing.
const WIDE: f64 = 640.0;
const HIGH: f64 = 220.0;
/// Bars of the histogram.
const BARS: usize = 64;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#667;--line:#0969da;--grid:#8883}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9aa4b2;--line:#58a6ff}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);max-width:44rem;\
margin:2rem auto;padding:0 1rem}\
h1{font-size:1.3rem;overflow-wrap:anywhere}h2{font-size:1rem;margin:2rem 0 .5rem}\
svg{width:100%;height:auto}svg text{fill:var(--dim);font-size:12px}\
.grid{stroke:var(--grid)}.line{fill:none;stroke:var(--line);stroke-width:2}.bar{fill:var(--line)}\
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:right}\
th:first-child,td:first-child{text-align:left}.dim{color:var(--dim)}";

/// The page.
pub(super) fn page(run: &Run<'_>) -> String {
    let (url, tally) = (escaped(run.url), run.tally);
    let all = tally.requests();
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{url}</title>\
         <style>{STYLE}</style><h1>{url}</h1><p>{all} answers in {:.1} s: <b>{:.1} a second</b>, \
         on {} connections",
        run.time.as_secs_f64(),
        run.per_second(all),
        run.connections,
    );
    if run.depth > 1 {
        let _ = write!(out, ", {} {}s at once on each", run.depth, run.unit);
    }
    if let Some(rate) = run.rate {
        let _ = write!(out, ", {rate} a second asked for");
    }
    out.push_str(".</p>");
    if tally.late.is_some() {
        let _ = write!(
            out,
            "<p class=\"dim\">A latency counts from when its {} was due, so that what a stall \
             of the server made everybody wait is in it (no coordinated omission).</p>",
            run.unit
        );
    }
    for warning in run.warnings {
        let _ = write!(out, "<p><b>Warning:</b> {}</p>", escaped(warning));
    }
    spectrum(&mut out, run);
    bars(&mut out, run);
    seconds(&mut out, run);
    table(&mut out, run);
    out.push_str("</html>\n");
    out
}

/// Begins a plot, with what it shows for who does not see it.
fn plot(out: &mut String, title: &str) {
    let _ = write!(
        out,
        "<h2>{title}</h2><svg viewBox=\"-70 -14 {} {}\" role=\"img\" aria-label=\"{title}\">",
        WIDE + 90.0,
        HIGH + 44.0
    );
}

/// Lines across, with what they stand for.
fn grid(out: &mut String, most: f64, show: impl Fn(f64) -> String) {
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let y = HIGH * (1.0 - part);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"0\" x2=\"{WIDE}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"-8\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            y + 4.0,
            show(most * part)
        );
    }
}

/// What a place on the lower edge stands for.
fn below(out: &mut String, x: f64, anchor: &str, text: &str) {
    let y = HIGH + 20.0;
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>");
}

/// Latency by percentile; across, each step is ten times as rare.
fn spectrum(out: &mut String, run: &Run<'_>) {
    plot(out, "Latency by percentile");
    let all = &run.tally.latency;
    let most = all.max().max(1) as f64;
    grid(out, most, time);
    // As far as there are answers to tell.
    let decades = (all.len().max(10) as f64).log10().ceil().max(1.0);
    out.push_str("<polyline class=\"line\" points=\"");
    for step in 0..=200 {
        let depth = decades * f64::from(step) / 200.0;
        let percentile = 100.0 * (1.0 - 10f64.powf(-depth));
        let y = HIGH * (1.0 - all.value_at_percentile(percentile) as f64 / most);
        let _ = write!(out, "{:.1},{y:.1} ", WIDE * f64::from(step) / 200.0);
    }
    out.push_str("\"/>");
    for decade in 0..=decades as i32 {
        let x = WIDE * f64::from(decade) / decades;
        let text = match decade {
            0 => "0 %".to_string(),
            1 => "90 %".to_string(),
            n => format!("{:.*} %", (n - 2) as usize, 100.0 - 10f64.powi(2 - n)),
        };
        below(out, x, "middle", &text);
    }
    out.push_str("</svg>");
}

/// How many answers took how long, up to the 99th percentile: beyond, nothing would be seen.
fn bars(out: &mut String, run: &Run<'_>) {
    plot(out, "Answers by latency, up to the 99th percentile");
    let all = &run.tally.latency;
    let (least, most) = (all.min(), all.value_at_percentile(99.0));
    let width = (most.saturating_sub(least) / BARS as u64).max(1);
    let counts: Vec<u64> = (0..BARS as u64)
        .map(|n| all.count_between(least + n * width, least + (n + 1) * width - 1))
        .collect();
    let top = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    grid(out, top, |count| format!("{count:.0}"));
    for (n, count) in counts.iter().enumerate() {
        let (wide, high) = (WIDE / BARS as f64, HIGH * *count as f64 / top);
        let _ = write!(
            out,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high:.1}\"/>",
            wide * n as f64,
            HIGH - high,
            wide - 1.0
        );
    }
    for (x, at) in [(0.0, least), (WIDE, least + width * BARS as u64)] {
        below(out, x, "middle", &time(at as f64));
    }
    out.push_str("</svg>");
}

/// Answers in each second.
fn seconds(out: &mut String, run: &Run<'_>) {
    let counts = &run.tally.seconds;
    // The last one is seldom whole.
    let whole = counts.len().min(run.time.as_secs() as usize);
    if whole < 2 {
        return;
    }
    plot(out, "Answers in each second");
    let top = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    grid(out, top, |count| format!("{count:.0}"));
    out.push_str("<polyline class=\"line\" points=\"");
    for (n, count) in counts[..whole].iter().enumerate() {
        let x = WIDE * n as f64 / (whole - 1) as f64;
        let _ = write!(out, "{x:.1},{:.1} ", HIGH * (1.0 - *count as f64 / top));
    }
    out.push_str("\"/>");
    below(out, 0.0, "start", "1 s");
    below(out, WIDE, "end", &format!("{whole} s"));
    out.push_str("</svg>");
}

/// The same figures, to be read.
fn table(out: &mut String, run: &Run<'_>) {
    let tally = run.tally;
    out.push_str("<h2>Figures</h2><table><tr><th>Percentile<th>Latency");
    if tally.late.is_some() {
        out.push_str("<th>From when it was sent");
    }
    for p in PERCENTILES {
        let value = time(tally.latency.value_at_percentile(p) as f64);
        let _ = write!(out, "<tr><td>{}<td>{value}", label(p));
        if let Some(late) = &tally.late {
            let _ = write!(out, "<td>{}", time(late.value_at_percentile(p) as f64));
        }
    }
    out.push_str("</table><table><tr><th>Answers<th>Count");
    for (status, count) in tally.statuses() {
        let _ = write!(out, "<tr><td>{status}<td>{count}");
    }
    for (kind, count) in tally.errors.kinds().into_iter().filter(|(_, count)| *count > 0) {
        let _ = write!(out, "<tr><td>error: {kind}<td>{count}");
    }
    out.push_str("</table>");
}
