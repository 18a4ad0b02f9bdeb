//! What it says of itself.

use crate::harness::run;

#[test]
fn the_version() {
    let ended = run(&["--version"], b"");
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.text(), concat!("loopwork ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_lists_the_commands() {
    let ended = run(&["--help"], b"");
    assert_eq!(ended.code, Some(0));
    for part in ["serve", "echo", "nc", "get", "ws", "Examples:", "Exit codes:"] {
        assert!(ended.text().contains(part), "{part} is missing in\n{}", ended.text());
    }
}

#[test]
fn each_command_teaches_by_examples() {
    for (command, parts) in [
        ("serve", &["[DIR]", "--port", "--bind", "--ws-echo", "--shutdown-timeout"][..]),
        ("echo", &["tcp", "udp", "http", "ws", "--greet", "--shutdown-timeout"]),
        ("nc", &["-l", "-k", "-u", "-U", "-z", "-w", "-v"]),
        ("get", &["-X", "-H", "-d", "-o", "-O", "-I", "-i", "-v", "-L", "-f", "-s", "-w"]),
        ("ws", &["-H", "-o", "-s", "-x", "-w", "-b"]),
    ] {
        let ended = run(&[command, "--help"], b"");
        assert_eq!(ended.code, Some(0), "{command}");
        let text = ended.text();
        let example = format!("\n  loopwork {command} ");
        assert!(text.matches(&example).count() >= 2, "{command} has too few examples:\n{text}");
        for part in parts {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(text.ends_with('\n'), "{command}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{command} is too wide");
    }
}

#[test]
fn wrong_usage_is_2() {
    for line in [
        &[][..],
        &["nothing"],
        &["serve", "--port", "70000"],
        &["serve", "--no-such-flag"],
        &["serve", "--shutdown-timeout", "-1"],
        &["echo"],
        &["echo", "smtp"],
        &["nc"],
        &["nc", "host"],
        &["nc", "-k", "host", "1"],
        &["get"],
        &["ws"],
        &["ws", "http://127.0.0.1/"],
        &["ws", "http://127.0.0.1/"],
    ] {
        let ended = run(line, b"");
        assert_eq!(ended.code, Some(2), "{line:?}: {ended:?}");
        assert!(!ended.err.is_empty() && ended.out.is_empty(), "{line:?}: {ended:?}");
    }
}

#[test]
fn completions_know_the_commands_and_shells_take_them() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell], b"");
        let text = ended.text();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(text.contains("doctor") && text.contains("shutdown-timeout"), "{shell}: {text}");
    }
    // The one shell that is on every machine of ours.
    let script = run(&["completions", "bash"], b"").text()
        + "\nCOMP_WORDS=(loopwork doc); COMP_CWORD=1; _loopwork loopwork doc loopwork\n\
           echo \"${COMPREPLY[@]}\"\n";
    let Ok(out) = std::process::Command::new("bash").args(["-c", &script]).output() else { return };
    assert_eq!(String::from_utf8_lossy(&out.stdout), "doctor\n", "{out:?}");
    assert_eq!(run(&["completions", "cmd"], b"").code, Some(2));
}

#[test]
fn the_doctor_looks_at_this_machine() {
    let ended = run(&["doctor"], b"");
    let text = ended.text();
    let poor = text.lines().filter(|line| line.starts_with("poor ")).count();
    assert_eq!(ended.code, Some(i32::from(poor > 0)), "{ended:?}");
    for name in ["descriptors", "listen queue", "ports", "kernel"] {
        assert!(text.contains(name), "{text}");
    }
    let json = run(&["doctor", "--json"], b"").text();
    assert!(json.starts_with("{\"schema_version\":1,\"checks\":[") && json.ends_with("]}\n"));
    assert_eq!(json.matches("\"state\":\"poor\"").count(), poor);
}
