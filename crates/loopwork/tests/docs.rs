//! The maps in `docs/` name tests and files. Here they are looked up, so that a map cannot go on
//! about a test that was renamed or taken away.
//!
//! What is looked at: the last cell of each row of a table whose last heading is *test*. There a
//! name in backticks is a file (`turn.rs`, `crates/sim/tests`) or a function; one that ends with
//! an ellipsis stands for all that begin so.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// All paths below `dir`, from `root`, build output left out; and the names of all functions.
fn walk(root: &Path, dir: &Path, paths: &mut Vec<String>, functions: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a folder of the workspace").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if matches!(&*name, "target" | "node_modules" | ".git" | "corpus" | "artifacts") {
            continue;
        }
        paths.push(path.strip_prefix(root).expect("below the root").display().to_string());
        if path.is_dir() {
            walk(root, &path, paths, functions);
        } else if name.ends_with(".rs") {
            functions.extend(declared(&fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// A character of a name.
fn of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The names behind `fn`.
fn declared(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let from = line.trim_start();
        let from = from.split_once("fn ").filter(|(before, _)| !before.contains("//"))?.1;
        Some(from.chars().take_while(|c| of_name(*c)).collect())
    };
    text.lines().filter_map(name).collect()
}

/// What stands in backticks in the cells for tests, with the number of its line.
fn named(text: &str) -> Vec<(usize, String)> {
    let (mut list, mut in_tests) = (Vec::new(), false);
    for (at, line) in text.lines().enumerate() {
        let Some(row) = line.trim().strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            in_tests = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or("").trim();
        if last == "test" {
            in_tests = true;
        } else if in_tests {
            let names = last.split('`').skip(1).step_by(2);
            list.extend(names.map(|name| (at + 1, name.to_string())));
        }
    }
    list
}

/// Whether there is such a file or function.
fn exists(name: &str, paths: &[String], functions: &[String]) -> bool {
    if name.contains('/') || name.ends_with(".rs") {
        let ending = format!("/{name}");
        return paths.iter().any(|path| path == name || path.ends_with(&ending));
    }
    match name.strip_suffix('…') {
        Some(begin) => functions.iter().any(|f| f.starts_with(begin)),
        None => functions.iter().any(|f| f == name),
    }
}

/// A name of a test or a file, and not an excerpt of code.
fn is_name(name: &str) -> bool {
    let plain = name.trim_end_matches('…');
    let file = plain.contains('/') || plain.ends_with(".rs");
    let path = |c: char| of_name(c) || matches!(c, '/' | '.' | '-');
    file && plain.chars().all(path)
        || plain.chars().all(|c| of_name(c) && !c.is_ascii_uppercase()) && plain.contains('_')
}

/// The maps: each `docs/node-map*.md`, and `docs/hostile.md`.
fn maps() -> Vec<(String, String)> {
    let mut list = Vec::new();
    for entry in fs::read_dir(root().join("docs")).expect("docs").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("node-map") || name == "hostile.md" {
            list.push((name, fs::read_to_string(entry.path()).expect("a page")));
        }
    }
    list
}

#[test]
fn what_the_maps_name_is_there() {
    let (root, mut paths, mut functions) = (root(), Vec::new(), Vec::new());
    walk(&root, &root, &mut paths, &mut functions);
    let (mut looked_up, mut missing) = (0, Vec::new());
    for (page, text) in maps() {
        for (line, name) in named(&text).into_iter().filter(|(_, name)| is_name(name)) {
            looked_up += 1;
            if !exists(&name, &paths, &functions) {
                missing.push(format!("docs/{page}:{line}: {name}"));
            }
        }
    }
    assert!(looked_up > 100, "only {looked_up} names were found");
    assert!(missing.is_empty(), "not in the tree:\n{}", missing.join("\n"));
}

#[test]
fn every_hostile_test_is_in_the_list() {
    let (root, mut paths, mut functions) = (root(), Vec::new(), Vec::new());
    walk(&root, &root, &mut paths, &mut functions);
    let page = fs::read_to_string(root.join("docs/hostile.md")).expect("docs/hostile.md");
    let listed: Vec<String> = named(&page).into_iter().map(|(_, name)| name).collect();
    let is_listed = |f: &String| {
        listed.iter().any(|l| l == f || l.strip_suffix('…').is_some_and(|b| f.starts_with(b)))
    };
    let hostile = |f: &&String| f.starts_with("hostile_") && f.as_bytes()[8].is_ascii_digit();
    let missing: Vec<_> = functions.iter().filter(hostile).filter(|f| !is_listed(f)).collect();
    assert!(missing.is_empty(), "tests that docs/hostile.md does not list: {missing:?}");
}

#[test]
fn a_name_that_is_nowhere_is_noticed() {
    let page =
        "| a | test |\n|---|---|\n| x | `turn.rs` `no_such_thing`, `begin_…` |\n\n`else_where`";
    let names = [(3, "turn.rs"), (3, "no_such_thing"), (3, "begin_…")];
    assert_eq!(named(page), names.map(|(line, name)| (line, name.to_string())));
    let functions = declared("    fn begin_here() {}\n// fn no_such_thing() {}\npub fn a<T>() {}");
    assert_eq!(functions, ["begin_here", "a"]);
    let paths = ["crates/reactor/src/turn.rs".to_string()];
    assert!(exists("turn.rs", &paths, &functions) && exists("begin_…", &paths, &functions));
    assert!(!exists("urn.rs", &paths, &functions) && !exists("no_such_thing", &paths, &functions));
}
