//! `--slo`: what a page may take, for whoever watches over it.

use super::load::Story;
use super::phases::{Phases, millis};
use crate::common::Fail;

/// What can be limited, and when it is over, of the document or of all.
const NAMES: [&str; 5] = ["name", "connect", "tls", "first", "total"];

/// Limits in milliseconds, as `total=500,connect=100` says them.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Limits(Vec<(&'static str, f64)>);

impl Limits {
    /// # Errors
    /// Which part is no limit, and why.
    pub(super) fn parse(text: &str) -> Result<Limits, Fail> {
        let limit = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = NAMES.into_iter().find(|known| *known == name.trim());
            let value = value.trim().parse::<f64>().ok().filter(|ms| ms.is_finite() && *ms >= 0.0);
            name.zip(value).ok_or_else(|| {
                let names = NAMES.join(", ");
                Fail::usage(format!("--slo: {part:?} is no limit; NAME=MS is one, of {names}"))
            })
        };
        text.split(',').map(limit).collect::<Result<_, _>>().map(Limits)
    }

    /// What took longer than it may, in words.
    pub(super) fn missed(&self, story: &Story, phases: &[Phases]) -> Option<String> {
        let (began, ended) = story.span();
        let document = story.document();
        let p = story.resources.iter().zip(phases).find(|(r, _)| std::ptr::eq(*r, document))?.1;
        let missed: Vec<String> = self
            .0
            .iter()
            .filter_map(|&(name, most)| {
                let took = match name {
                    "name" => millis(p.start, p.named),
                    "connect" => p.connected.map_or(0.0, |at| millis(p.named, at)),
                    "tls" => p.secured.zip(p.connected).map_or(0.0, |(to, from)| millis(from, to)),
                    "first" => millis(began, p.heard),
                    _ => millis(began, ended),
                };
                (took > most).then(|| format!("{name} took {took:.1} ms, {most} are allowed"))
            })
            .collect();
        (!missed.is_empty()).then(|| missed.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named() {
        let limits = Limits::parse("total=500, connect=0.5").unwrap();
        assert_eq!(limits, Limits(vec![("total", 500.0), ("connect", 0.5)]));
        for wrong in ["", "total", "total=", "total=x", "total=-1", "all=1", "total=1,", "tls=inf"]
        {
            assert!(Limits::parse(wrong).is_err(), "{wrong}");
        }
    }
}
