//! How far a transfer is, on a terminal.
//!
//! Rules of this file:
//! * It is drawn on stderr alone, when that is a terminal and the body does not go to one.
//! * It has no colours, so that there is nothing to switch off.

use crate::common::talk;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// A line that says how far it is.
#[derive(Debug)]
pub(super) struct Meter(ProgressBar);

impl Meter {
    /// For so many bytes, if that is known. `None`: there is nobody to show it to.
    pub(super) fn new(total: Option<u64>, to_stdout: bool, plain: bool) -> Option<Meter> {
        if total == Some(0)
            || !std::io::stderr().is_terminal()
            || (to_stdout && std::io::stdout().is_terminal())
        {
            return None;
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let known = "{percent:>3}% [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let template = match (plain, total) {
            (true, _) => "{wide_bar} {percent:>3}%",
            (false, Some(_)) => known,
            (false, None) => "{spinner} {bytes} {bytes_per_sec} {elapsed}",
        };
        // The templates are sound: the test below holds them to it.
        let style = ProgressStyle::with_template(template).ok()?;
        bar.set_style(style.progress_chars(if plain { "##-" } else { "=> " }));
        Some(Meter(bar))
    }

    pub(super) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Meter {
    /// The last state stays to be read, and what follows begins on a line of its own.
    fn drop(&mut self) {
        self.0.abandon();
        talk("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_sound() {
        for text in [
            "{percent:>3}% [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            "{wide_bar} {percent:>3}%",
            "{spinner} {bytes} {bytes_per_sec} {elapsed}",
        ] {
            assert!(ProgressStyle::with_template(text).is_ok(), "{text}");
        }
    }
}
