//! Arguments: words, and flags that have a value.

use std::io;

/// The arguments of one command.
pub(crate) struct Args<'a>(&'a [&'a str]);

impl<'a> Args<'a> {
    /// All of these are flags, each with its value.
    ///
    /// # Errors
    /// A flag that the command does not know, or one without its value.
    pub(crate) fn of(words: &'a [&'a str], known: &[&str]) -> io::Result<Args<'a>> {
        for pair in words.chunks(2) {
            match pair {
                [flag, _] if known.contains(flag) => {}
                [flag] if known.contains(flag) => {
                    return Err(io::Error::other(format!("{flag} needs a value")));
                }
                _ => {
                    let text = format!("{} is unknown; there are {}", pair[0], known.join(" "));
                    return Err(io::Error::other(text));
                }
            }
        }
        Ok(Args(words))
    }

    /// The value of a flag, if it was given.
    pub(crate) fn text(&self, flag: &str) -> Option<&'a str> {
        self.0.chunks(2).find(|pair| pair[0] == flag).map(|pair| pair[1])
    }

    /// The value of a flag as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, flag: &str, default: T) -> io::Result<T> {
        let Some(text) = self.text(flag) else { return Ok(default) };
        let wrong = |_| io::Error::other(format!("{flag} {text}: a number is needed"));
        text.parse().map_err(wrong)
    }

    /// Whether a list of names, if it was given at all, has this one.
    pub(crate) fn lists(&self, flag: &str, name: &str) -> bool {
        self.text(flag).is_none_or(|names| names.split(',').any(|n| n == name))
    }
}
