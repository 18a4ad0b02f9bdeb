//! The targets of static files: paths and ranges.

use loopwork_files::core::{Part, RANGES_MAX, is_hidden, path, ranges, url};
use std::os::unix::ffi::OsStrExt;
use std::path::Component;

/// The path of a request, as text.
pub fn path_resolve(data: &[u8]) {
    let Ok(target) = std::str::from_utf8(data) else { return };
    for hidden in [false, true] {
        let Ok(name) = path(target, hidden) else { continue };
        assert!(name.path.is_relative());
        for part in name.path.components() {
            let Component::Normal(part) = part else { panic!("{part:?}") };
            assert!(hidden || !is_hidden(part));
            assert!(!part.as_bytes().iter().any(|b| b"\0/\\".contains(b)));
        }
        let again = path(&url(&name.path), hidden).expect("its own URL");
        assert_eq!(again.path, name.path);
    }
}

/// The value of a `Range` header, for files of several lengths.
pub fn range_header(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for len in [0, 1, 10, 1000, u64::MAX] {
        let part = ranges(text, len);
        let list = match &part {
            Part::Bytes(first, last) => vec![(*first, *last)],
            Part::Several(list) => list.clone(),
            Part::Whole | Part::Outside => continue,
        };
        assert!(list.len() <= RANGES_MAX);
        assert!(list.iter().all(|(first, last)| first <= last && *last < len));
        let mut sorted = list.clone();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0].1 < pair[1].0), "no byte twice");
        let specs: Vec<_> = list.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        assert_eq!(ranges(&format!("bytes={}", specs.join(",")), len), part);
    }
}
