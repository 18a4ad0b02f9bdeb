//! The URLs that a page embeds, as a browser of 1280 pixels and one pixel a dot would take them.
//!
//! Rules of this file:
//! * What is found in the beginning of a page is the beginning of what is found in all of it: so a
//!   page is read as it streams, by reading what is there again.
//! * Scripts are not run: what they would load is not found.

use super::css;
use html5gum::emitters::default::{DefaultEmitter, StartTag, Token};
use html5gum::{HtmlString, Tokenizer};

/// The width of the window, in pixels.
const WINDOW: f64 = 1280.0;

/// What a page names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// What the URLs behind it start from.
    Base(String),
    Style(String),
    /// Anything else that is fetched.
    Other(String),
}

/// All of it, in its order.
pub(super) fn found(page: &[u8]) -> Vec<Found> {
    let mut emitter = DefaultEmitter::<()>::default();
    emitter.naively_switch_states(true);
    let mut scan = Scan::default();
    for Ok(token) in Tokenizer::new_with_emitter(page, emitter) {
        match token {
            Token::StartTag(tag) => scan.start(&tag),
            Token::EndTag(tag) => scan.end(&tag.name),
            Token::String(text) => scan.style.iter_mut().for_each(|s| s.extend(text.iter())),
            _ => {}
        }
    }
    scan.list
}

#[derive(Default)]
struct Scan {
    list: Vec<Found>,
    /// The text of a `<style>`.
    style: Option<Vec<u8>>,
    /// In a `<picture>`, and whether it has its picture.
    picture: Option<bool>,
}

fn value(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value: &HtmlString = tag.attributes.get(name.as_bytes())?;
    let text = String::from_utf8_lossy(value).trim().to_string();
    (!text.is_empty()).then_some(text)
}

impl Scan {
    fn start(&mut self, tag: &StartTag<()>) {
        let other = |name| value(tag, name).map(Found::Other);
        let picture = || value(tag, "srcset").and_then(|set| candidate(&set)).map(Found::Other);
        match &tag.name[..] {
            b"base" => self.list.extend(value(tag, "href").map(Found::Base)),
            b"style" => self.style = Some(Vec::new()),
            b"picture" => self.picture = Some(false),
            b"img" if self.picture != Some(true) => {
                self.list.extend(picture().or_else(|| other("src")));
            }
            b"source" if self.picture == Some(false) && value(tag, "media").is_none() => {
                let found = picture();
                self.picture = Some(found.is_some());
                self.list.extend(found);
            }
            b"source" if self.picture.is_none() => self.list.extend(other("src")),
            b"script" | b"audio" | b"track" | b"embed" => self.list.extend(other("src")),
            b"video" => self.list.extend(other("src").into_iter().chain(other("poster"))),
            b"link" => self.link(tag),
            _ => {}
        }
        let style = value(tag, "style").unwrap_or_default();
        self.list.extend(css::found(&style).into_iter().map(|f| Found::Other(f.url)));
    }

    fn link(&mut self, tag: &StartTag<()>) {
        let Some(url) = value(tag, "href") else { return };
        let rel = value(tag, "rel").unwrap_or_default().to_ascii_lowercase();
        let is = |word: &str| rel.split_ascii_whitespace().any(|w| w == word);
        if is("stylesheet") && !is("alternate") {
            self.list.push(Found::Style(url));
        } else if is("icon") || is("preload") || is("modulepreload") {
            self.list.push(Found::Other(url));
        }
    }

    fn end(&mut self, name: &[u8]) {
        match name {
            b"picture" => self.picture = None,
            b"style" => {
                let text = self.style.take().unwrap_or_default();
                let kind = |f: css::Found| match f.import {
                    true => Found::Style(f.url),
                    false => Found::Other(f.url),
                };
                let list = css::found(&String::from_utf8_lossy(&text));
                self.list.extend(list.into_iter().map(kind));
            }
            _ => {}
        }
    }
}

/// The image of a `srcset` that fits: the smallest that is no smaller than it is shown, else the
/// largest. A width is that of the image; without `sizes` it is shown as wide as the window.
fn candidate(set: &str) -> Option<String> {
    let (mut best, mut rest): (Option<(f64, &str)>, _) = (None, set);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            return best.map(|(_, url)| url.to_string());
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (mut url, behind) = rest.split_at(end);
        let mut said = "";
        rest = behind;
        // A comma at the end of the URL ends the candidate; it is no part of it.
        match url.ends_with(',') {
            true => url = url.trim_end_matches(','),
            false => (said, rest) = behind.split_once(',').unwrap_or((behind, "")),
        }
        let said = said.trim();
        let number = |unit| said.strip_suffix(unit).and_then(|n: &str| n.parse::<f64>().ok());
        let density = number('x').or_else(|| number('w').map(|w| w / WINDOW)).unwrap_or(1.0);
        let better = best.is_none_or(|(old, _)| match old >= 1.0 {
            true => density >= 1.0 && density < old,
            false => density > old,
        });
        if better {
            best = Some((density, url));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(page: &str) -> Vec<String> {
        let name = |found| match found {
            Found::Base(url) => format!("base {url}"),
            Found::Style(url) => format!("css {url}"),
            Found::Other(url) => url,
        };
        found(page.as_bytes()).into_iter().map(name).collect()
    }

    #[test]
    fn what_a_page_embeds() {
        for (page, wanted) in [
            ("<img src=a.png><IMG SRC=' b.png '>", &["a.png", "b.png"][..]),
            ("<base href=/x/><link rel=stylesheet href=a.css>", &["base /x/", "css a.css"]),
            ("<link rel='shortcut icon' href=i><link rel=next href=n>", &["i"]),
            ("<link rel='alternate stylesheet' href=a.css>", &[]),
            ("<script>'<img src=no>'</script><script src=a.js></script>", &["a.js"]),
            ("<!-- <img src=no> --><img src=a?b&amp;c>", &["a?b&c"]),
            ("<style>@import 'a.css';b{background:url(c)}</style>", &["css a.css", "c"]),
            ("<p style='background:url(a)'>", &["a"]),
            ("<video src=v poster=p></video><audio><source src=s></audio>", &["v", "p", "s"]),
            ("<picture><source srcset=a><img src=b></picture><img src=c>", &["a", "c"]),
            ("<picture><source media=print srcset=a><img src=b></picture>", &["b"]),
            ("<img srcset='a 2x, b, c 3x' src=d>", &["b"]),
            ("<img srcset='a 640w, b 1920w, c 1280w'>", &["c"]),
            ("<img srcset='a 320w, b 640w' src=d>", &["b"]),
            ("<img srcset='a,b 1x, c'>", &["a,b"]),
            ("<textarea><img src=no></textarea><img src=", &[]),
        ] {
            assert_eq!(names(page), wanted, "{page}");
        }
    }

    proptest! {
        #[test]
        fn a_beginning_has_the_beginning(
            page in "(<img src=|<base href=|<style>|</style>|<script>|</script>|<!--|-->|<picture>|\
                     </picture>|<source srcset='|<link rel=stylesheet href=|url\\(|\
                     [a>'\" ),;/é&]){0,40}",
            cut in any::<prop::sample::Index>(),
        ) {
            let (page, whole) = (page.as_bytes(), found(page.as_bytes()));
            let part = found(&page[..cut.index(page.len() + 1)]);
            prop_assert_eq!(&whole[..part.len()], &part[..]);
        }
    }
}
