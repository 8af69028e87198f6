//! What the gate refuses, and that a refusal runs nothing.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use breakglass_gate::{
    Action, Asked, Context, Driver, Evidence, Failure, Keep, Limits, Policy, Probe, Qemu, Silent,
    serve,
};
use proptest::prelude::*;
use support::{Host, Said};

const CORPUS: [&str; 38] = [
    "",
    " ",
    "status ",
    " status",
    "status\n",
    "\nstatus",
    "status\r\n",
    "status\nid",
    "Status",
    "STATUS",
    "statu",
    "statuss",
    "status; id",
    "status;id",
    "status && id",
    "status | sh",
    "status `id`",
    "status $(id)",
    "status $IFS",
    "status 102",
    "status 103",
    "stop 102",
    "stop --skiplock",
    "stop --skiplock 1",
    "status --json --json",
    "status  --json",
    "status --JSON",
    "--json",
    "status\t--json",
    "ѕtatus",
    "status\u{200b}",
    "ｓｔａｔｕｓ",
    "vital",
    "unlock",
    "destroy",
    "cycle\u{202e}",
    "status'",
    "../status",
];

#[test]
fn nothing_outside_the_table_is_run_and_each_refusal_says_what_is_allowed() {
    let host = Host::running();
    for line in CORPUS {
        let (code, out, err) = host.send(line);
        assert_eq!((code, out.as_str()), (2, ""), "{line:?}");
        assert!(
            err.starts_with("refused: ") && err.contains("allowed: status, forensics"),
            "{err}"
        );
        assert_eq!(err.lines().count(), 1, "{line:?} forged a line: {err}");
    }
    assert_eq!(host.calls(), [""; 0]);
    assert_eq!(host.journal().lines().count(), CORPUS.len());
}

#[test]
fn a_missing_request_and_one_that_is_not_text_are_refused() {
    let host = Host::running();
    let missing = host
        .gate("")
        .env_remove("SSH_ORIGINAL_COMMAND")
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
    for bytes in [b"status\xff".as_slice(), b"\xc0\xaf", b"\xff\xfe"] {
        let line = OsStr::from_bytes(bytes);
        let output = host
            .gate("")
            .env("SSH_ORIGINAL_COMMAND", line)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{bytes:?}");
    }
    assert_eq!(host.calls(), [""; 0]);
}

#[test]
fn an_endless_request_leaves_a_short_journal_line() {
    let host = Host::running();
    let (code, _, err) = host.send(&"status ".repeat(18_000));
    assert_eq!(code, 2);
    assert!(err.len() < 500 && host.journal().len() < 500);
}

#[test]
fn a_journal_line_holds_its_two_quoted_fields_and_none_that_the_request_made_up() {
    let host = Host::running();
    assert_eq!(host.send("x\" accepted outcome=\"running").0, 2);
    let journal = host.journal().replace(r#"\""#, "");
    assert_eq!(journal.matches('"').count(), 4, "{journal}");
}

#[test]
fn a_policy_that_others_can_write_or_that_is_missing_allows_nothing() {
    let host = Host::running();
    let policy = host.path("gate.toml");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o664)).unwrap();
    let (code, _, err) = host.send("status");
    assert!(code == 2 && err.contains("chmod go-w"), "{err}");
    fs::remove_file(&policy).unwrap();
    let (code, _, err) = host.send("status");
    assert!(code == 2 && err.contains("can't be read"), "{err}");
    assert_eq!(host.calls(), [""; 0]);
}

#[test]
fn all_errors_of_a_policy_come_at_once_with_file_line_key_and_remedy() {
    let host = Host::stopped();
    let text =
        "driver = \"xen\"\nguest = 007\nshell = \"/bin/sh\"\nqm = \"qm\"\nqm\nstop_seconds = -1\n";
    fs::write(host.path("gate.toml"), text).unwrap();
    let (code, _, err) = host.send("status");
    assert_eq!(code, 2);
    for part in [
        "line 1: `driver`: the drivers are \"qm\" and \"virsh\"",
        "line 2: `guest`: write a \"string\" or a number",
        "line 3: `shell`: no such key",
        "line 4: `qm`: write an absolute path",
        "line 5: `qm`: given before",
        "line 6: `stop_seconds`: write a number of at most",
        "refused: the gate has no valid policy",
    ] {
        assert!(err.contains(part), "{part} is not in {err}");
    }
}

#[test]
fn an_argument_of_the_command_line_that_is_not_known_is_refused() {
    let host = Host::running();
    let output = host
        .gate("status")
        .arg("--guest")
        .arg("103")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(host.calls(), [""; 0]);
}

/// Panics when anything is asked of it.
struct Untouchable;

impl Driver for Untouchable {
    fn find(&mut self) -> Qemu {
        unreachable!()
    }
    fn ask(
        &mut self,
        _: &str,
        _: serde_json::Value,
        _: Duration,
    ) -> Result<serde_json::Value, String> {
        unreachable!()
    }
    fn settings(&mut self, _: &mut Evidence, _: Duration) {
        unreachable!()
    }
    fn act(&mut self, _: Action, _: Duration) -> Result<String, Failure> {
        unreachable!()
    }
    fn screen(&mut self, _: Duration) -> Result<Vec<u8>, String> {
        unreachable!()
    }
    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        unreachable!()
    }
}

fn refuse(line: &str) -> (u8, Vec<String>) {
    let mut said = Said::default();
    let context = Context {
        guest: "102",
        asked: Asked {
            source: "192.0.2.7",
            request: line,
        },
        forensics_dir: "/nonexistent".as_ref(),
        journal: &Silent,
        keep: &Keep::default(),
        limits: &Limits::default(),
    };
    (serve(&context, &mut Untouchable, &mut said), said.0)
}

#[test]
fn ten_megabytes_are_refused_with_one_short_line() {
    let (code, said) = refuse(&"cycle".repeat(2 << 20));
    assert_eq!(code, 2);
    assert!(said.len() == 1 && said[0].len() < 300);
}

proptest! {
    #[test]
    fn any_text_that_is_not_an_entry_is_refused_without_touching_the_driver(line in ".*") {
        prop_assume!(breakglass_verbs::Request::parse(&line).is_none());
        let (code, said) = refuse(&line);
        prop_assert_eq!(code, 2);
        prop_assert_eq!(said.len(), 1);
    }

    #[test]
    fn a_policy_of_any_text_never_panics(text in "(?s).*") {
        let _ = Policy::parse(&text, "gate.toml");
    }
}

#[test]
fn the_earlier_name_of_the_cluster_file_system_is_read_and_a_path_that_has_none_says_the_new_one() {
    let parse = |line: &str| Policy::parse(&format!("driver = \"qm\"\nguest = 102\n{line}\n"), "p");
    let dir = |line: &str| parse(line).unwrap().paths.pve_dir;
    assert_eq!(dir("").to_str(), Some("/etc/pve"));
    let earlier = dir("ha_resources = \"/mnt/pve/ha/resources.cfg\"");
    assert_eq!(earlier.to_str(), Some("/mnt/pve"));
    for wrong in ["\"/etc/other.cfg\"", "\"pve/ha/resources.cfg\"", "7"] {
        let error = parse(&format!("ha_resources = {wrong}")).unwrap_err();
        assert!(
            error.0[0].contains("write `pve_dir = \"/etc/pve\"`"),
            "{error:?}"
        );
    }
    let both = "pve_dir = \"/etc/pve\"\nha_resources = \"/etc/pve/ha/resources.cfg\"";
    assert!(parse(both).unwrap_err().0[0].contains("remove it"));
}
