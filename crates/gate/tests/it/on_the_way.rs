//! A way back that is lost during a verb: between a stop and its signals, between a stop and its start;
//! and guests on other nodes.

use std::fs;

use crate::support::Host;
use breakglass_rig::pve;
use serde_json::Value;

/// Short timeouts for events that never happen.
const SHORT: &str =
    "ask_seconds = 2\nforensics_seconds = 2\nsettle_seconds = 2\nterminate_seconds = 5\n";

#[test]
fn no_signals_are_sent_if_the_quorum_is_lost_during_a_failed_stop() {
    for verb in ["cycle", "stop"] {
        let host = Host::running();
        let before = host.pid();
        host.set("fail-stop", "it is broken");
        // The quorum is lost before the clean stop has failed.
        let members = host.pve(".members");
        let lose = format!(
            "#!/bin/sh\ncase $1 in stop) sed -i 's/\"quorate\": 1/\"quorate\": 0/' {} ;; esac\nexec {} \"$@\"\n",
            members.display(),
            host.path("qm").display()
        );
        let tool = host.program("losing-qm", &lose);
        host.write_policy(&format!("{SHORT}qm = \"{}\"\n", tool.display()));
        let (code, out, err) = host.send(verb);
        assert_eq!(code, 1, "{out}{err}");
        assert!(host.is_alive() && host.pid() == before, "{out}{err}");
        assert!(err.contains("was not ended by signals"), "{out}{err}");
        assert!(err.contains("has no quorum"), "{out}{err}");
        assert!(!out.contains("SIGTERM"), "{out}");
    }
}

#[test]
fn start_that_fails_after_a_stop_is_repeated_until_it_succeeds() {
    let host = Host::running();
    let lose = format!(
        "#!/bin/sh\nsed -i 's/\"quorate\": 1/\"quorate\": 0/' {0}\n\
         ( sleep 2; sed -i 's/\"quorate\": 0/\"quorate\": 1/' {0} ) 9>&- </dev/null >/dev/null 2>&1 &\n",
        host.pve(".members").display()
    );
    host.program("qm-state/after-stop", &lose);
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(host.is_alive());
    assert!(
        out.contains("start: failed (qm start: cluster not ready - no quorum?"),
        "{out}"
    );
    assert!(out.contains("once more in 1 s"), "{out}");
}

#[test]
fn lock_that_appears_between_stop_and_start_is_waited_for() {
    let host = Host::running();
    let lock = host.state().join("lock");
    let hook = format!(
        "#!/bin/sh\necho migrate >{0}\n( sleep 2; rm {0} ) 9>&- </dev/null >/dev/null 2>&1 &\n",
        lock.display()
    );
    host.program("qm-state/after-stop", &hook);
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        host.is_alive() && out.contains("VM is locked (migrate)"),
        "{out}"
    );
}

#[test]
fn start_that_never_succeeds_ends_in_time_and_its_cause_is_reported() {
    let host = Host::running();
    host.write_policy("start_seconds = 4\n");
    host.set("fail-start", "hookscript error for 102 on pre-start");
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, out.lines().last()), (1, Some("verdict: stopped")));
    let tries = host
        .changes()
        .iter()
        .filter(|call| *call == "start 102")
        .count();
    assert!((2..=5).contains(&tries), "{tries}: {out}");
    assert!(err.contains("hookscript error"), "{err}");
    assert!(
        err.contains("GUEST 102 WAS RUNNING AND IS NOW OFF"),
        "{err}"
    );
}

#[test]
fn start_of_a_guest_that_was_off_is_not_repeated() {
    let host = Host::stopped();
    host.set("fail-start", "no quorum");
    let (code, out, _) = host.send("start");
    assert_eq!((code, out.lines().last()), (1, Some("verdict: stopped")));
    assert_eq!(host.changes(), ["start 102"]);
}

#[test]
fn stop_without_a_way_back_warns_first() {
    let host = Host::running();
    fs::write(host.pve(".members"), pve::members(false)).unwrap();
    let (code, out, err) = host.send("stop");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: stopped")),
        "{out}{err}"
    );
    let at = |words: &str| out.find(words).unwrap_or_else(|| panic!("{words}: {out}"));
    assert!(
        at("afterwards the guest can't be started again") < at("stop: clean stop"),
        "{out}"
    );
}

#[test]
fn failed_stop_without_a_way_back_sends_no_signals() {
    let host = Host::running();
    host.write_policy(SHORT);
    fs::remove_file(host.pve(".members")).unwrap();
    let before = host.pid();
    let (code, out, err) = host.send("stop");
    assert_eq!(
        (code, out.lines().last()),
        (1, Some("verdict: running")),
        "{out}{err}"
    );
    assert!(host.is_alive() && host.pid() == before);
    assert!(err.contains("was not ended by signals"), "{err}");
    assert!(
        err.contains("ipcc_send_rec[1] failed: Connection refused"),
        "{err}"
    );
}

#[test]
fn reset_needs_no_way_back() {
    let host = Host::running();
    let before = host.pid();
    fs::write(host.pve(".members"), pve::members(false)).unwrap();
    let (code, out, err) = host.send("reset");
    assert_eq!((code, host.pid()), (0, before), "{out}{err}");
}

#[test]
fn reset_that_would_end_qemu_is_refused() {
    let host = Host::stopped();
    fs::write(host.pve("qemu-server/102.conf"), "name: web01\nreboot: 0\n").unwrap();
    assert!(host.qm(&["start", "102"]).status.success());
    fs::remove_file(host.state().join("calls")).unwrap();
    let (code, out, err) = host.send("reset");
    assert_eq!(
        (code, out.lines().last()),
        (1, Some("verdict: running")),
        "{out}{err}"
    );
    assert_eq!(host.changes(), [""; 0]);
    assert!(
        err.contains("a reset would end QEMU") && err.contains("send cycle"),
        "{err}"
    );
}

#[test]
fn guest_on_another_node_is_reported_there_and_not_as_stopped() {
    let host = Host::stopped();
    fs::write(host.pve(".vmlist"), pve::vmlist("pve2", "qemu")).unwrap();
    fs::remove_file(host.pve("qemu-server/102.conf")).unwrap();
    let verdict = "verdict: unknown (not on this host; on pve2)";
    for (verb, expected) in [
        ("status", 0),
        ("start", 1),
        ("stop", 1),
        ("reset", 1),
        ("cycle", 1),
    ] {
        let (code, out, err) = host.send(verb);
        assert_eq!(
            (code, out.lines().last()),
            (expected, Some(verdict)),
            "{verb}: {out}{err}"
        );
        assert_eq!(
            err.contains(&format!("send {verb} to pve2")),
            expected == 1,
            "{err}"
        );
    }
    assert_eq!(host.changes(), [""; 0]);
    host.send("screenshot");
    assert!(
        !host.host_log().contains("\"stopped\""),
        "{}",
        host.host_log()
    );
    let (_, out, _) = host.send("status --json");
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(last["elsewhere"], "pve2", "{last}");
    assert!(
        last["no_way_back"]
            .as_str()
            .unwrap()
            .contains("is on node pve2"),
        "{last}"
    );
}

#[test]
fn guest_without_a_configuration_is_not_reported_as_stopped() {
    let host = Host::stopped();
    let list = pve::vmlist("pve", "qemu").replace("\"102\"", "\"103\"");
    fs::write(host.pve(".vmlist"), list).unwrap();
    fs::remove_file(host.pve("qemu-server/102.conf")).unwrap();
    let (_, out, _) = host.send("status");
    let verdict = "verdict: unknown (not on this host; its configuration is gone)";
    assert_eq!(out.lines().last(), Some(verdict), "{out}");
}

#[test]
fn full_disk_does_not_leave_the_guest_off() {
    let host = Host::running();
    let before = host.pid();
    for dir in ["runs", "forensics", "journal"] {
        // As on a full disk: nothing can be made there.
        fs::write(host.path(dir), "in the way").unwrap();
    }
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(host.is_alive() && host.pid() != before);
}
