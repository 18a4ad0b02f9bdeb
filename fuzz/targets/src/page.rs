//! The target of `get --page`: URLs in HTML and in style sheets.

#[path = "../../../crates/cli/src/page/css.rs"]
mod css;
#[path = "../../../crates/cli/src/page/html.rs"]
mod html;

use html::Found;

/// Cuts of a long page.
const CUTS: usize = 32;

/// A page, which is read as it streams: what is found in a beginning of it must be the beginning of
/// what is found in all. And the same bytes as a style sheet.
pub fn page_html(data: &[u8]) {
    let all = html::found(data);
    let step = (data.len() / CUTS).max(1);
    for cut in (0..data.len()).step_by(step) {
        let some = html::found(&data[..cut]);
        assert!(all.starts_with(&some), "{cut}: {some:?} and {all:?}");
    }
    let urls = all.iter().map(|found| match found {
        Found::Base(url) | Found::Style(url) | Found::Other(url) => url,
    });
    // What is no UTF-8 becomes three bytes each.
    assert!(urls.clone().all(|url| !url.is_empty() && url.len() <= 3 * data.len()), "{all:?}");
    let text = String::from_utf8_lossy(data);
    let found = css::found(&text);
    let length: usize = found.iter().map(|found| found.url.len()).sum();
    assert!(length <= text.len(), "{length} bytes of URLs in {} of text", text.len());
    assert!(found.iter().all(|found| !found.url.is_empty()), "{found:?}");
    // A comment in front of it changes nothing, nor does a rule.
    for front in ["/* url(a) ' */", "a{b:c}", "'url(a)' "] {
        assert_eq!(css::found(&format!("{front}{text}")), found);
    }
}
