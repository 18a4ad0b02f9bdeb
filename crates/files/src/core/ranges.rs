//! Which bytes of a file a `Range` header asks for (RFC 9110 §14).
//!
//! Rules of this file:
//! * What cannot be understood is ignored, and the whole is sent: always right, at times slow.
//! * What is sent is never more than the file, whatever is asked for: ranges that overlap, and
//!   more of them than [`RANGES_MAX`], are answered with the whole (§14.2 allows it).

/// Ranges of one request that are served. A reader of a PDF or of an archive asks for a few; a
/// thousand ranges of one byte would cost a thousand heads.
pub const RANGES_MAX: usize = 16;

/// What of a file is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it.
    Whole,
    /// From the first byte to the last, both included.
    Bytes(u64, u64),
    /// Two at least of these, in the order in which they were asked for; none overlaps another.
    Several(Vec<(u64, u64)>),
    /// Nothing of the file is in any range that was asked for: 416.
    Outside,
}

/// `ranges-specifier = range-unit "=" range-set`, `range-set = 1#range-spec` (§14.1.1): the value
/// of a `Range` header for a file of `len` bytes. A range beyond the end is left out.
#[must_use]
pub fn ranges(text: &str, len: u64) -> Part {
    understood(text, len).unwrap_or(Part::Whole)
}

fn understood(text: &str, len: u64) -> Option<Part> {
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (mut asked, mut list) = (0, Vec::new());
    // RFC 9110 §5.6.1.2: empty elements of a list are passed over, a few of them.
    for spec in set.split(',').map(|s| s.trim_matches([' ', '\t'])) {
        asked += 1;
        if asked > 2 * RANGES_MAX {
            return None;
        }
        if !spec.is_empty() {
            list.push(range(spec, len)?);
        }
    }
    let asked = list.len();
    let mut list: Vec<_> = list.into_iter().flatten().collect();
    match list[..] {
        _ if asked == 0 || asked > RANGES_MAX => None,
        [] => Some(Part::Outside),
        [(first, last)] => Some(Part::Bytes(first, last)),
        _ => {
            let in_order = list.clone();
            list.sort_unstable();
            let apart = list.windows(2).all(|pair| pair[0].1 < pair[1].0);
            apart.then_some(Part::Several(in_order))
        }
    }
}

/// `int-range = first-pos "-" [ last-pos ]`, `suffix-range = "-" suffix-length` (§14.1.1). `None`
/// is no range, `Some(None)` one beyond the end.
fn range(spec: &str, len: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = spec.split_once('-')?;
    let end = len.checked_sub(1);
    if first.is_empty() {
        let want = number(last)?;
        return Some(end.filter(|_| want > 0).map(|end| (len.saturating_sub(want), end)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    // §14.1.1: a last position below the first makes the range invalid.
    (first <= last).then(|| end.filter(|end| first <= *end).map(|end| (first, last.min(end))))
}

/// `1*DIGIT`; what is too large for a file is as large as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn single_ranges() {
        for (range, wanted) in [
            ("bytes=0-0", Part::Bytes(0, 0)),
            ("bytes=0-", Part::Bytes(0, 9)),
            ("Bytes=3-5", Part::Bytes(3, 5)),
            ("bytes= 3-5", Part::Bytes(3, 5)),
            ("bytes=,3-5, ,", Part::Bytes(3, 5)),
            ("bytes=3-99999999999999999999999", Part::Bytes(3, 9)),
            ("bytes=-3", Part::Bytes(7, 9)),
            ("bytes=-30", Part::Bytes(0, 9)),
            ("bytes=-99999999999999999999999", Part::Bytes(0, 9)),
            ("bytes=10-", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=5-3", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=,", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=1 -2", Part::Whole),
            ("bytes=1-2-3", Part::Whole),
            ("bytes=1", Part::Whole),
            ("bytes =1-2", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(ranges(range, 10), wanted, "{range}");
        }
        assert_eq!(ranges("bytes=0-", 0), Part::Outside);
        assert_eq!(ranges("bytes=-1", 0), Part::Outside);
    }

    #[test]
    fn several_ranges() {
        for (range, wanted) in [
            ("bytes=0-0,2-3", Part::Several(vec![(0, 0), (2, 3)])),
            ("bytes=8-, 0-1 ,\t4-4", Part::Several(vec![(8, 9), (0, 1), (4, 4)])),
            ("bytes=0-0,-1", Part::Several(vec![(0, 0), (9, 9)])),
            ("bytes=0-1,2-3", Part::Several(vec![(0, 1), (2, 3)])),
            ("bytes=0-0,10-11", Part::Bytes(0, 0)),
            ("bytes=10-11,-0", Part::Outside),
            // One that overlaps, one that is none: the whole.
            ("bytes=0-2,2-3", Part::Whole),
            ("bytes=4-5,-6", Part::Whole),
            ("bytes=0-0,0-0", Part::Whole),
            ("bytes=0-0,x", Part::Whole),
            ("bytes=0-0,5-3", Part::Whole),
        ] {
            assert_eq!(ranges(range, 10), wanted, "{range}");
        }
    }

    #[test]
    fn too_many_ranges_are_the_whole() {
        let many = |n: u64| -> String {
            let specs: Vec<_> = (0..n).map(|i| format!("{}-{}", 2 * i, 2 * i)).collect();
            format!("bytes={}", specs.join(","))
        };
        let max = RANGES_MAX as u64;
        assert!(matches!(ranges(&many(max), 1000), Part::Several(l) if l.len() == RANGES_MAX));
        assert_eq!(ranges(&many(max + 1), 1000), Part::Whole);
        assert_eq!(ranges(&many(max + 1), 1), Part::Whole, "those beyond the end count too");
        assert_eq!(ranges(&format!("bytes={}0-0", ",".repeat(1 << 16)), 1000), Part::Whole);
    }

    /// A range as it is meant.
    #[derive(Clone, Debug)]
    enum Spec {
        From(u64),
        FromTo(u64, u64),
        Suffix(u64),
    }

    impl Spec {
        fn text(&self) -> String {
            match self {
                Spec::From(a) => format!("{a}-"),
                Spec::FromTo(a, b) => format!("{a}-{b}"),
                Spec::Suffix(n) => format!("-{n}"),
            }
        }

        /// Whether it asks for this byte.
        fn has(&self, at: u64, len: u64) -> bool {
            match *self {
                Spec::From(a) => at >= a,
                Spec::FromTo(a, b) => at >= a && at <= b,
                Spec::Suffix(n) => at + n >= len,
            }
        }
    }

    /// What is to be sent, found out byte by byte.
    fn oracle(specs: &[Spec], len: u64) -> Part {
        let bad = |s: &Spec| matches!(s, Spec::FromTo(a, b) if b < a);
        if specs.is_empty() || specs.len() > RANGES_MAX || specs.iter().any(bad) {
            return Part::Whole;
        }
        let bytes = |s: &Spec| (0..len).filter(|at| s.has(*at, len)).collect::<Vec<_>>();
        let found: Vec<_> = specs.iter().map(bytes).filter(|b| !b.is_empty()).collect();
        let mut all: Vec<_> = found.iter().flatten().collect();
        let before = all.len();
        all.sort();
        all.dedup();
        let ends: Vec<_> = found.iter().map(|b| (b[0], b[b.len() - 1])).collect();
        match ends[..] {
            [] => Part::Outside,
            [(first, last)] => Part::Bytes(first, last),
            _ if all.len() < before => Part::Whole,
            _ => Part::Several(ends),
        }
    }

    fn spec() -> impl Strategy<Value = Spec> {
        prop_oneof![
            (0_u64..60).prop_map(Spec::From),
            (0_u64..60, 0_u64..8).prop_map(|(a, n)| Spec::FromTo(a, a + n)),
            (0_u64..60, 0_u64..60).prop_map(|(a, b)| Spec::FromTo(a, b)),
            (0_u64..8).prop_map(Spec::Suffix),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn as_byte_by_byte(
            specs in prop::collection::vec(spec(), 0..20),
            between in prop::collection::vec("[ \t]{0,2}", 20),
            len in 0_u64..60,
        ) {
            let parts: Vec<_> = specs.iter().zip(&between)
                .map(|(spec, space)| format!("{space}{}{space}", spec.text())).collect();
            let text = format!("bytes={}", parts.join(","));
            prop_assert_eq!(ranges(&text, len), oracle(&specs, len), "{}", text);
        }

        /// Whatever the text is, what is sent lies in the file, and no byte is sent twice.
        #[test]
        fn parts_lie_in_the_file(range in "bytes=[0-9, -]{0,12}", len in 0_u64..200) {
            let list = match ranges(&range, len) {
                Part::Bytes(first, last) => vec![(first, last)],
                Part::Several(list) => list,
                Part::Whole | Part::Outside => vec![],
            };
            prop_assert!(list.iter().all(|(first, last)| first <= last && *last < len));
            prop_assert!(list.iter().map(|(first, last)| last - first + 1).sum::<u64>() <= len);
        }
    }
}
