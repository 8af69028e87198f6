//! Refusals, which run nothing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use crate::support::{Host, Transcript};
use breakglass_gate::{
    Action, ClientRequest, Context, Driver, Evidence, Failure, Limits, NoHostLog, Policy, Probe,
    Qemu, Retention, serve,
};
use proptest::prelude::*;

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
fn nothing_outside_the_table_is_run_and_each_refusal_lists_what_is_allowed() {
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
    assert_eq!(host.host_log().lines().count(), CORPUS.len());
}

#[test]
fn missing_request_and_invalid_utf8_are_refused() {
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
fn endless_request_leaves_a_short_log_line() {
    let host = Host::running();
    let (code, _, err) = host.send(&"status ".repeat(18_000));
    assert_eq!(code, 2);
    assert!(err.len() < 500 && host.host_log().len() < 500);
}

#[test]
fn request_cannot_forge_a_field_of_a_log_line() {
    let host = Host::running();
    assert_eq!(host.send("x\" accepted outcome=\"running").0, 2);
    let log = host.host_log().replace(r#"\""#, "");
    assert_eq!(log.matches('"').count(), 4, "{log}");
}

#[test]
fn missing_or_world_writable_policy_allows_nothing() {
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
fn all_errors_of_a_policy_are_reported_together_with_line_and_remedy() {
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
fn unknown_option_of_the_gate_is_refused() {
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

/// Panics on every call.
struct Untouchable;

impl Driver for Untouchable {
    fn find_qemu(&mut self) -> Qemu {
        unreachable!()
    }
    fn query_monitor(
        &mut self,
        _: &str,
        _: serde_json::Value,
        _: Duration,
    ) -> Result<serde_json::Value, String> {
        unreachable!()
    }
    fn add_hypervisor_evidence(&mut self, _: &mut Evidence, _: Duration) {
        unreachable!()
    }
    fn perform(&mut self, _: Action, _: Duration) -> Result<String, Failure> {
        unreachable!()
    }
    fn screenshot(&mut self, _: Duration) -> Result<Vec<u8>, String> {
        unreachable!()
    }
    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        unreachable!()
    }
}

fn refuse(line: &str) -> (u8, Vec<String>) {
    let mut transcript = Transcript::default();
    let context = Context {
        guest: "102",
        client: ClientRequest {
            source: "192.0.2.7",
            line,
        },
        forensics_dir: "/nonexistent".as_ref(),
        host_log: &NoHostLog,
        retention: &Retention::default(),
        limits: &Limits::default(),
    };
    (
        serve(&context, &mut Untouchable, &mut transcript),
        transcript.0,
    )
}

#[test]
fn ten_megabytes_are_refused_with_one_short_line() {
    let (code, transcript) = refuse(&"cycle".repeat(2 << 20));
    assert_eq!(code, 2);
    assert!(transcript.len() == 1 && transcript[0].len() < 300);
}

proptest! {
    #[test]
    fn text_outside_the_table_is_refused_without_using_the_driver(line in ".*") {
        prop_assume!(breakglass_verbs::Request::parse(&line).is_none());
        let (code, transcript) = refuse(&line);
        prop_assert_eq!(code, 2);
        prop_assert_eq!(transcript.len(), 1);
    }

    #[test]
    fn policy_parser_never_panics(text in "(?s).*") {
        let _ = Policy::parse(&text, "gate.toml");
    }
}

#[test]
fn earlier_key_ha_resources_is_accepted_or_refused_with_the_new_key() {
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
    assert!(parse(both).unwrap_err().0[0].contains("remove `ha_resources`"));
}
