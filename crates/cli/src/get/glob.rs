//! `{a,b}` and `[1-9]` in a URL: one text that stands for several.
//!
//! Rules of this file:
//! * The last pattern counts fastest, as digits do.
//! * An IPv6 address in brackets is none: it has a colon before its bracket closes.
//! * What stands for more than [`MOST`] URLs is refused: so many are a slip of the hand,
//!   and each is kept until its turn comes.

use super::codes;
use crate::common::Fail;

/// URLs that one text may stand for.
const MOST: usize = 100_000;

/// One URL of those that a text stands for, and what each of its patterns stood for in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Globbed {
    pub(super) url: String,
    pub(super) parts: Vec<String>,
}

impl Globbed {
    /// The name of a file, with `#1` replaced by what the first pattern stands for.
    pub(super) fn name(&self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('#') {
            out.push_str(&rest[..at]);
            let tail = &rest[at + 1..];
            let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let number = tail[..end].parse::<usize>().unwrap_or(0);
            match number.checked_sub(1).and_then(|n| self.parts.get(n)) {
                Some(part) => out.push_str(part),
                None => out.push_str(&rest[at..at + 1 + end]),
            }
            rest = &tail[end..];
        }
        out.push_str(rest);
        out
    }
}

enum Piece {
    Text(String),
    Choice(Vec<String>),
}

/// All URLs that the text stands for; with `off` it stands for itself.
pub(super) fn expand(text: &str, off: bool) -> Result<Vec<Globbed>, Fail> {
    let pieces = if off { vec![Piece::Text(text.to_string())] } else { pieces(text)? };
    let mut list = vec![Globbed { url: String::new(), parts: Vec::new() }];
    for piece in pieces {
        match piece {
            Piece::Text(text) => list.iter_mut().for_each(|g| g.url.push_str(&text)),
            Piece::Choice(choices) => {
                if list.len() * choices.len() > MOST {
                    return Err(bad("it stands for more than 100,000 URLs"));
                }
                let longer = |g: &Globbed, choice: &String| {
                    let parts = g.parts.iter().chain([choice]).cloned().collect();
                    Globbed { url: format!("{}{choice}", g.url), parts }
                };
                list = list.iter().flat_map(|g| choices.iter().map(|c| longer(g, c))).collect();
            }
        }
    }
    Ok(list)
}

fn bad(why: &str) -> Fail {
    Fail::new(codes::URL, format!("that URL is no pattern: {why}; -g takes it as it is"))
}

fn pieces(text: &str) -> Result<Vec<Piece>, Fail> {
    let (mut list, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        match c {
            '\\' if tail.starts_with(['{', '}', '[', ']']) => {
                plain.push_str(&tail[..1]);
                rest = &tail[1..];
            }
            '}' | ']' => return Err(bad(&format!("an unmatched {c}"))),
            '{' | '[' => {
                let close = if c == '{' { '}' } else { ']' };
                let end = tail.find(close).ok_or_else(|| bad(&format!("{c} is not closed")))?;
                let inside = &tail[..end];
                if c == '[' && inside.parse::<std::net::Ipv6Addr>().is_ok() {
                    plain.push_str(&rest[..end + 2]);
                } else {
                    list.push(Piece::Text(std::mem::take(&mut plain)));
                    list.push(Piece::Choice(if c == '{' { set(inside)? } else { range(inside)? }));
                }
                rest = &tail[end + 1..];
            }
            c => {
                plain.push(c);
                rest = tail;
            }
        }
    }
    list.push(Piece::Text(plain));
    Ok(list)
}

fn set(text: &str) -> Result<Vec<String>, Fail> {
    match text {
        "" => Err(bad("{} is empty")),
        text if text.contains(['{', '[']) => Err(bad("patterns do not nest")),
        text => Ok(text.split(',').map(str::to_string).collect()),
    }
}

/// `FROM-TO[:STEP]`, numbers or single letters.
fn range(text: &str) -> Result<Vec<String>, Fail> {
    let wrong = || bad("a range is [1-9], [01-10], [a-z] or [1-9:2]");
    let (span, step) = match text.split_once(':') {
        Some((span, step)) => (span, step.parse::<usize>().ok().filter(|s| *s > 0)),
        None => (text, Some(1)),
    };
    let (from, to) = span.split_once('-').ok_or_else(wrong)?;
    let step = step.ok_or_else(wrong)?;
    let letter = |t: &str| t.chars().next().filter(|c| t.len() == 1 && c.is_ascii_alphabetic());
    if let (Some(from), Some(to)) = (letter(from), letter(to)) {
        return match from <= to {
            true => Ok((from..=to).step_by(step).map(String::from).collect()),
            false => Err(wrong()),
        };
    }
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return Err(wrong());
    }
    let (low, high) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(low), Ok(high)) if low <= high => (low, high),
        _ => return Err(wrong()),
    };
    if (high - low) / step as u64 >= MOST as u64 {
        return Err(bad("it stands for more than 100,000 URLs"));
    }
    // A zero in front means: as many digits as these.
    let width = if from.starts_with('0') { from.len() } else { 0 };
    Ok((low..=high).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_stand_for_several() {
        for (text, urls) in [
            ("http://a/", &["http://a/"][..]),
            ("h/{a,b}", &["h/a", "h/b"]),
            ("h/[1-3]", &["h/1", "h/2", "h/3"]),
            ("h/[08-10]", &["h/08", "h/09", "h/10"]),
            ("h/[a-e:2]", &["h/a", "h/c", "h/e"]),
            ("h/{a,b}/[1-2]", &["h/a/1", "h/a/2", "h/b/1", "h/b/2"]),
            ("http://[::1]/{x}", &["http://[::1]/x"]),
            ("h/\\{x\\}", &["h/{x}"]),
            ("h/{a,}", &["h/a", "h/"]),
        ] {
            let found = expand(text, false).unwrap();
            assert_eq!(found.iter().map(|g| g.url.as_str()).collect::<Vec<_>>(), urls, "{text}");
        }
        assert_eq!(expand("h/{a,b}", true).unwrap()[0].url, "h/{a,b}");
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "h/{",
            "h/}",
            "h/[",
            "h/]",
            "h/[1-",
            "h/[x]",
            "h/[9-1]",
            "h/{}",
            "h/[1-9:0]",
            "[b-a]",
            "h/[0-99999999]",
            "h/{a{b}}",
            "h/[1-18446744073709551616]",
            "[1-2000][1-2000]",
        ] {
            assert_eq!(expand(text, false).map_err(|fail| fail.code), Err(3), "{text}");
        }
    }

    proptest! {
        /// Whatever is typed is taken or refused; what is no pattern stands for itself.
        #[test]
        fn anything_may_be_typed(
            text in "[a-c0-3é\\\\{}\\[\\],:#-]{0,24}",
            name in "[#0-9x]{0,8}",
        ) {
            if let Ok(list) = expand(&text, false) {
                prop_assert!(!list.is_empty() && list.len() <= MOST);
                let _ = list[0].name(&name);
                if !text.contains(['{', '[', '\\']) {
                    prop_assert_eq!(&list[0].url, &text);
                }
            }
            prop_assert_eq!(&expand(&text, true).unwrap()[0].url, &text);
        }
    }

    #[test]
    fn names_of_files() {
        let all = expand("h/{a,b}/[1-2]", false).unwrap();
        assert_eq!(all[1].name("x#1_#2#3#.txt"), "xa_2#3#.txt");
    }
}
