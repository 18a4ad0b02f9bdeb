//! The URLs in a style sheet (CSS Syntax Level 3, as far as URLs go).
//!
//! Rules of this file:
//! * Comments and strings hide what looks like a URL; an escape stands for the next character.
//! * Of `@font-face` the first source alone counts: a browser takes the first format it can read.

/// A URL in a style sheet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) url: String,
    /// It is a style sheet itself: `@import`.
    pub(super) import: bool,
}

/// All of them, in their order.
pub(super) fn found(text: &str) -> Vec<Found> {
    let mut scan = Scan { rest: text, ..Scan::default() };
    while scan.step() {}
    scan.list
}

#[derive(Default)]
struct Scan<'a> {
    rest: &'a str,
    list: Vec<Found>,
    /// Behind `@import`, until its semicolon.
    import: bool,
    /// In a `@font-face`, and whether it has its source.
    font: bool,
    sourced: bool,
}

impl Scan<'_> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if let Some(rest) = self.rest.strip_prefix("/*") {
            self.rest = rest.find("*/").map_or("", |at| &rest[at + 2..]);
        } else if matches!(first, '"' | '\'') {
            let url = self.string(first);
            if self.import {
                self.push(url);
            }
        } else if self.word("@import") {
            self.import = true;
        } else if self.word("@font-face") {
            (self.font, self.sourced) = (true, false);
        } else if self.word("url(") {
            let url = self.url();
            self.push(url);
        } else {
            self.import &= first != ';';
            self.font &= first != '}';
            self.skip(first);
        }
        true
    }

    /// A name is passed as a whole: `curl(` is no `url(`.
    fn skip(&mut self, first: char) {
        let named = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        let len = match first {
            '\\' => 1 + self.rest[1..].chars().next().map_or(0, char::len_utf8),
            c if named(c) => self.rest.find(|c| !named(c)).unwrap_or(self.rest.len()),
            c => c.len_utf8(),
        };
        self.rest = &self.rest[len..];
    }

    fn word(&mut self, word: &str) -> bool {
        let is = self.rest.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
        if is {
            self.rest = &self.rest[word.len()..];
        }
        is
    }

    /// What stands between quotes.
    fn string(&mut self, quote: char) -> String {
        self.rest = &self.rest[1..];
        self.until(|c| c == quote)
    }

    /// Takes what comes before a character, and that one; escapes are undone.
    fn until(&mut self, end: impl Fn(char) -> bool) -> String {
        let (mut text, mut chars) = (String::new(), self.rest.chars());
        while let Some(c) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().filter(|c| *c != '\n')),
                c if end(c) => break,
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        text
    }

    /// What stands between the parentheses of `url()`.
    fn url(&mut self) -> String {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let url = self.string(quote);
                self.until(|c| c == ')');
                url
            }
            _ => self.until(|c| c == ')').trim_end().to_string(),
        }
    }

    fn push(&mut self, url: String) {
        let wanted = !(self.font && self.sourced);
        self.sourced |= self.font;
        // A fragment alone names a part of the document.
        if wanted && !url.is_empty() && !url.starts_with('#') {
            self.list.push(Found { url, import: self.import });
        }
        self.import = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_of_style_sheets() {
        for (text, wanted) in [
            ("a{background:url(a.png)}", &["a.png"][..]),
            ("a{background:URL( 'a b.png' ) , url(\"c)d\")}", &["a b.png", "c)d"]),
            ("@import 'x.css' screen; b{content:'url(no)'}", &["@x.css"]),
            ("@import url(x.css);@import url('y.css');url(z)", &["@x.css", "@y.css", "z"]),
            ("/* url(a) */ b{} /* open url(b)", &[]),
            ("curl(a) my-url(b)", &[]),
            ("url(a\\)b)", &["a)b"]),
            ("url()url(#x)", &[]),
            ("@font-face{src:url(a.woff2) format('woff2'),url(a.woff)}url(b)", &["a.woff2", "b"]),
            ("url(é", &["é"]),
        ] {
            let list: Vec<String> = found(text)
                .into_iter()
                .map(|f| if f.import { format!("@{}", f.url) } else { f.url })
                .collect();
            assert_eq!(list, wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(
            text in "(url\\(|@import|@font-face|/\\*|\\*/|[\"'\\\\;{}) é]|x)*",
        ) {
            for found in found(&text) {
                prop_assert!(!found.url.is_empty());
            }
        }
    }
}
