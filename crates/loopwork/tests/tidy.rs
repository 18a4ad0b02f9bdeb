//! The rules of the house that a machine can check. Each test names the rule that it holds.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// All files below `dir` whose name ends so, build output left out.
fn files(dir: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the workspace").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, "target" | "node_modules" | ".git" | "corpus" | "artifacts") {
                files(&path, ending, into);
            }
        } else if name.ends_with(ending) {
            into.push(path);
        }
    }
}

/// The Rust files of the workspace: path from the root, and text.
fn sources() -> Vec<(String, String)> {
    let (root, mut paths) = (root(), Vec::new());
    files(&root, ".rs", &mut paths);
    assert!(paths.len() > 30, "the walk found only {} files", paths.len());
    let read = |p: PathBuf| {
        let text = fs::read_to_string(&p).expect("a source file");
        (p.strip_prefix(&root).expect("below the root").display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

/// A file that is part of what users run, not of its tests.
fn is_product(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/src/")
}

/// A file's lines before its unit tests.
fn without_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]")
}

/// A line without what is said in comments.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn no_line_is_longer_than_100_columns() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        for (n, line) in text.lines().enumerate() {
            if line.chars().count() > 100 {
                broken.push(format!("{path}:{}", n + 1));
            }
        }
    }
    none("at most 100 columns", broken);
}

#[test]
fn no_source_file_is_longer_than_600_lines_without_its_tests() {
    let mut broken = Vec::new();
    for (path, text) in sources().iter().filter(|(p, _)| is_product(p)) {
        let lines = without_tests(text).count();
        if lines > 600 {
            broken.push(format!("{path}: {lines}"));
        }
    }
    none("at most 600 lines", broken);
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let words: Vec<&str> = trimmed.split_whitespace().take(4).collect();
            let Some(at) = words.iter().position(|w| *w == "fn") else { continue };
            if trimmed.starts_with("//") || words[..at].iter().any(|w| w.contains('"')) {
                continue;
            }
            // rustfmt closes a function in the column where it began.
            let indent = &line[..line.len() - trimmed.len()];
            let end = format!("{indent}}}");
            let bodiless = |l: &str| l.ends_with("{}") || l.ends_with(';');
            let signature = |l: &str| l == *line || l.starts_with(&format!("{indent})"));
            let over = |l: &&str| **l == end || signature(l) && bodiless(l);
            let length = lines[start..].iter().position(over).map_or(0, |n| n + 1);
            if length > 70 {
                broken.push(format!("{path}:{}: {length} lines", start + 1));
            }
        }
    }
    none("at most 70 lines", broken);
}

#[test]
fn only_os_names_mio_sockets_and_the_clock() {
    const NAMES: [&str; 9] = [
        "mio::",
        "socket2::",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::net::UdpSocket",
        "std::os::unix::net",
        "Instant::now",
        "SystemTime::now",
        "getrandom::",
    ];
    let mut broken = Vec::new();
    for (path, text) in sources().iter().filter(|(p, _)| is_product(p)) {
        if path.starts_with("crates/reactor/src/os/") {
            continue;
        }
        for (n, line) in without_tests(text) {
            if let Some(name) = NAMES.iter().find(|name| code(line).contains(**name)) {
                broken.push(format!("{path}:{n}: {name}"));
            }
        }
    }
    none("the world is behind the World", broken);
}

#[test]
fn cores_know_nothing_of_the_loop() {
    const NAMES: [&str; 5] =
        ["loopwork_reactor", "loopwork_tcp", "loopwork_http", "crate::server", "std::io"];
    let mut broken = Vec::new();
    for (path, text) in sources().iter().filter(|(p, _)| p.contains("/src/core/")) {
        for (n, line) in without_tests(text) {
            if let Some(name) = NAMES.iter().find(|name| code(line).contains(**name)) {
                broken.push(format!("{path}:{n}: {name}"));
            }
        }
    }
    none("no I/O and no loop in a core", broken);
}

#[test]
fn unsafe_stands_only_where_it_may_and_says_why() {
    const MAY: [&str; 8] = [
        "crates/http/src/core/simd.rs",
        "crates/reactor/src/mmsg.rs",
        "crates/reactor/src/os/alarm.rs",
        "crates/reactor/src/os/raw.rs",
        "benches/benches/parser/pico.rs",
        "benches/llhttp/lib.rs",
        "benches/versus/sys.rs",
        "benches/versus/udp_sys.rs",
    ];
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let test = path.contains("/tests/") || path.ends_with("tests.rs");
        if path.ends_with("loopwork/tests/tidy.rs") {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            // A dash makes it another word: a policy for pages has an `unsafe-inline`.
            let between = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
            if !code(line).split(between).any(|word| word == "unsafe") {
                continue;
            }
            if !test && !MAY.contains(&path.as_str()) {
                broken.push(format!("{path}:{}: unsafe here", n + 1));
            }
            let reasons = &lines[n.saturating_sub(8)..n];
            if code(line).contains("unsafe {") && !reasons.iter().any(|l| l.contains("SAFETY:")) {
                broken.push(format!("{path}:{}: unsafe without its reason", n + 1));
            }
        }
    }
    none("unsafe is confined", broken);
}

#[test]
fn nothing_is_left_to_be_done() {
    // In two parts, so that this file does not find itself.
    let marks = [["to", "do!("], ["unimple", "mented!("], ["#[ig", "nore"], ["FIX", "ME"]];
    let mut broken = Vec::new();
    for (path, text) in sources() {
        for (n, line) in text.lines().enumerate() {
            if marks.iter().any(|m| line.contains(&m.concat())) {
                broken.push(format!("{path}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none("no stub, no ignored test", broken);
}

/// What each crate may depend on, of this workspace. A layer never reaches around the one below.
const LAYERS: [(&str, &[&str]); 13] = [
    ("reactor", &[]),
    ("sim", &["reactor"]),
    ("trace", &["reactor"]),
    ("tcp", &["reactor"]),
    ("udp", &["reactor"]),
    ("tls", &["tcp"]),
    ("dns", &["tcp", "udp"]),
    ("http", &["tcp"]),
    ("ws", &["http"]),
    ("files", &["http"]),
    ("loopwork", &["reactor", "tcp", "udp", "http", "ws", "files", "sim", "trace", "tls", "dns"]),
    ("scenarios", &["loopwork"]),
    ("cli", &["loopwork", "scenarios", "tls"]),
];

#[test]
fn layers_depend_on_those_below_them_alone() {
    let mut broken = Vec::new();
    for (name, allowed) in LAYERS {
        let path = root().join("crates").join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(path).expect("a manifest");
        let section = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
        for line in section.lines().skip(1).take_while(|l| !l.starts_with('[')) {
            let dependency = line.split(['=', ' ', '.']).next().unwrap_or_default();
            let ours = dependency
                .strip_prefix("loopwork-")
                .or_else(|| (dependency == "loopwork").then_some("loopwork"));
            if let Some(ours) = ours.filter(|ours| !allowed.contains(ours)) {
                broken.push(format!("{name} depends on {ours}"));
            }
        }
    }
    none("the layers of ARCHITECTURE.md", broken);
    let crates = fs::read_dir(root().join("crates")).expect("the crates").flatten();
    for entry in crates {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            LAYERS.iter().any(|(known, _)| *known == name),
            "{name} has no place in the layers"
        );
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            broken.push(path);
        }
    }
    none("each file opens with what it is for", broken);
}
