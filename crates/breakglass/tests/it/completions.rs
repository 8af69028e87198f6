//! Shell completions and man pages of the real binary.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::breakglass;

fn said(words: &[&str]) -> String {
    let output = breakglass().args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a tool that the machine must have.
fn tool(name: &str, package: &str, arguments: &[&str]) -> Output {
    Command::new(name)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}; apt-get install {package}"))
}

/// Bash's completions after these words.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    let drive = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
        _breakglass breakglass "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let script = script.to_str().unwrap();
    let arguments = [&["-c", drive, "bash", script, "breakglass"], words].concat();
    let output = tool("bash", "bash", &arguments);
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_verbs_and_flags() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("breakglass");
    std::fs::write(&script, said(&["completions", "bash"])).unwrap();
    let checked = tool("bash", "bash", &["-n", script.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
    let first = offered(&script, &[""]);
    for verb in [
        "status",
        "forensics",
        "vitals",
        "start",
        "stop",
        "reset",
        "cycle",
    ] {
        assert!(first.contains(&verb.to_owned()), "{verb}: {first:?}");
    }
    assert!(
        !first.iter().any(|word| word.starts_with("drill-")),
        "{first:?}"
    );
    assert_eq!(offered(&script, &["cy"]), ["cycle"]);
    assert_eq!(offered(&script, &["sta"]), ["status", "start"]);
    assert_eq!(offered(&script, &["incidents", "exp"]), ["export"]);
    assert_eq!(offered(&script, &["audit", "verify", "--fi"]), ["--file"]);
    assert_eq!(offered(&script, &["cycle", "--dir"]), ["--direct"]);
    assert_eq!(offered(&script, &["drill", "--agent", "cl"]), ["claude"]);
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        assert!(
            script.contains("cycle") && script.contains("direct"),
            "{shell}"
        );
        assert!(!script.contains("drill-agent"), "{shell}");
    }
}

#[test]
fn every_command_has_a_man_page_without_groff_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("man1");
    assert!(said(&["man", "--dir", place.to_str().unwrap()]).is_empty());
    let mut pages: Vec<String> = std::fs::read_dir(&place)
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort_unstable();
    for name in ["", "-cycle", "-incidents-export", "-audit-verify", "-man"] {
        assert!(pages.contains(&format!("breakglass{name}.1")), "{pages:?}");
    }
    for page in &pages {
        let page = place.join(page);
        let page = page.to_str().unwrap();
        let output = tool("groff", "groff-base", &["-man", "-Tutf8", "-ww", page]);
        assert!(output.status.success(), "{page}: {output:?}");
        let warned = String::from_utf8_lossy(&output.stderr);
        assert!(warned.is_empty(), "{page}: {warned}");
        let source = std::fs::read_to_string(page).unwrap();
        for section in ["NAME", "SYNOPSIS", "EXIT STATUS"] {
            let there = [format!(".SH {section}\n"), format!(".SH \"{section}\"\n")];
            assert!(
                there.iter().any(|it| source.contains(it)),
                "{page}: {section}"
            );
        }
    }
    let page = std::fs::read_to_string(place.join("breakglass-cycle.1")).unwrap();
    assert!(
        page.contains("breakglass cycle \\-\\-direct \\-\\-config breakglass.toml"),
        "{page}"
    );
}

#[test]
fn one_man_page_goes_to_standard_output() {
    let page = said(&["man"]);
    assert!(
        page.contains(".TH breakglass 1") && page.contains("breakglass\\-incidents"),
        "{page}"
    );
}

#[test]
fn help_of_a_command_has_examples_and_exit_codes() {
    let help = said(&["incidents", "export", "--help"]);
    for words in [
        "Examples:",
        "breakglass audit verify --file",
        "Exit codes:",
        "--output",
    ] {
        assert!(help.contains(words), "{words}\n{help}");
    }
}
