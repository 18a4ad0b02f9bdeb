//! `--timing`: where the time of a transfer went, as httpstat draws it.
//!
//! Rule: it goes to stderr, and what is no terminal gets the numbers alone.

use super::report::Times;
use std::fmt::Write as _;
use std::time::Duration;

/// Columns of the longest bar: beside name and numbers it fits a terminal of 80.
const WIDTH: usize = 39;

/// One line for each phase: its name, how long it took, when it was over; and its bar.
pub(super) fn draw(times: &Times, bars: bool) -> String {
    let mut ends = vec![
        ("name", times.name),
        ("connect", times.connect),
        ("tls", times.secure.unwrap_or_default()),
        ("request sent", times.asked),
        ("first byte", times.first),
        ("done", times.total),
    ];
    ends.retain(|(name, _)| *name != "tls" || times.secure.is_some());
    if !times.redirect.is_zero() {
        ends.insert(0, ("redirects", times.redirect));
    }
    let (mut text, mut before) = (String::new(), Duration::ZERO);
    for (name, end) in ends {
        // A phase that did not happen took no time.
        let end = end.clamp(before, times.total.max(before));
        let [took, over] = [end - before, end].map(|time| time.as_secs_f64() * 1e3);
        let _ = write!(text, "{name:<12} {took:>9.3} ms  {over:>9.3} ms");
        if bars {
            let column = |at: Duration| {
                let part = at.as_secs_f64() / times.total.as_secs_f64().max(1e-9);
                ((part * WIDTH as f64).round() as usize).min(WIDTH)
            };
            let (from, to) = (column(before), column(end));
            let bar = if from == to { "▏".to_string() } else { "█".repeat(to - from) };
            // What takes nothing at the very end is still to be seen.
            let _ = write!(text, "  {}{bar}", " ".repeat(from.min(WIDTH - 1)));
        }
        text.push('\n');
        before = end;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        let ms = Duration::from_millis;
        let (redirect, name, connect, asked) = (ms(0), ms(10), ms(30), ms(30));
        let (sent, first, total) = (ms(30), ms(80), ms(100));
        Times { redirect, name, connect, secure: None, sent, asked, first, total }
    }

    #[test]
    fn numbers_alone() {
        let wanted = "\
name            10.000 ms     10.000 ms
connect         20.000 ms     30.000 ms
request sent     0.000 ms     30.000 ms
first byte      50.000 ms     80.000 ms
done            20.000 ms    100.000 ms
";
        assert_eq!(draw(&times(), false), wanted);
    }

    #[test]
    fn tls_is_a_phase_where_there_is_some() {
        let secure = Some(Duration::from_millis(30));
        let text = draw(&Times { secure, ..times() }, false);
        assert_eq!(text.lines().nth(2), Some("tls              0.000 ms     30.000 ms"));
    }

    #[test]
    fn bars_follow_each_other() {
        let text = draw(&times(), true);
        let bars: Vec<&str> = text.lines().map(|line| &line[41..]).collect();
        let bar = |from: usize, to: usize| " ".repeat(from) + &"█".repeat(to - from);
        let wanted = [bar(0, 4), bar(4, 12), " ".repeat(12) + "▏", bar(12, 31), bar(31, 39)];
        assert_eq!(bars, wanted);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_did_not_happen_takes_no_time() {
        let nothing = draw(&Times::default(), true);
        assert_eq!(nothing.lines().count(), 5);
        let redirect = Duration::from_millis(50);
        let text = draw(&Times { redirect, ..times() }, false);
        assert!(text.starts_with("redirects       50.000 ms     50.000 ms\n"), "{text}");
    }
}
