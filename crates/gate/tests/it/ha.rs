//! If high availability decides, start and stop are requests. The gate waits for them, and never leaves
//! a request to be off behind.

use std::fs;

use crate::support::{Host, wait_for};
use serde_json::Value;

const REQUESTED: Option<&str> = Some("verdict: ha-managed (requested; HA decides)");

/// A running guest that high availability is requested to keep in `state`.
fn managed(state: &str) -> Host {
    let host = Host::running();
    host.manage(state);
    host
}

fn requested(host: &Host) -> String {
    let text = fs::read_to_string(host.pve("ha/resources.cfg")).unwrap();
    let (_, own) = text.split_once("vm: 102\n").unwrap();
    let state = own.split_once("state ").unwrap().1;
    state.split('\n').next().unwrap().to_owned()
}

#[test]
fn cycle_waits_for_high_availability_and_reports_the_wait() {
    let host = managed("started");
    let before = host.pid();
    host.set("ha-delay", "6");
    let (code, out, err) = host.send("cycle");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}{err}"
    );
    assert!(host.is_alive() && host.pid() != before);
    assert!(out.contains("stop: Requesting HA stop for VM 102"), "{out}");
    assert!(
        out.contains("waiting for high availability, 5 s of 100 s: qemu: process"),
        "{out}"
    );
    assert_eq!(requested(&host), "started");
    assert!(!out.contains("SIGTERM"), "{out}");
}

#[test]
fn stop_succeeds_once_the_guest_is_off_and_the_request_stays() {
    let host = managed("started");
    let (code, out, err) = host.send("stop");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: stopped")),
        "{out}{err}"
    );
    assert_eq!(requested(&host), "stopped");
}

#[test]
fn start_succeeds_once_the_guest_runs() {
    for state in ["stopped", "disabled"] {
        let host = Host::stopped();
        host.manage(state);
        let (code, out, err) = host.send("start");
        assert_eq!(
            (code, out.lines().last()),
            (0, Some("verdict: running")),
            "{out}{err}"
        );
        assert_eq!(requested(&host), "started");
    }
}

#[test]
fn start_of_a_running_guest_that_is_requested_to_be_off_requests_it_to_be_on() {
    let host = managed("stopped");
    let (code, out, err) = host.send("start");
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(requested(&host), "started");
    assert_eq!(host.changes(), ["start 102"]);
}

#[test]
fn cycle_whose_stop_is_not_carried_out_requests_the_start_anyway() {
    let host = managed("started");
    host.write_policy("stop_seconds = 2\nstart_seconds = 2\nsettle_seconds = 1\n");
    host.set("ha-idle", "");
    let before = host.pid();
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, out.lines().last()), (1, REQUESTED), "{out}{err}");
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
    assert_eq!(requested(&host), "started");
    assert!(host.is_alive() && host.pid() == before);
    assert!(!out.contains("SIGTERM"), "{out}");
}

#[test]
fn stop_that_is_carried_out_late_does_not_leave_the_guest_off() {
    let host = managed("started");
    host.write_policy("stop_seconds = 1\nstart_seconds = 20\n");
    host.set("ha-delay", "3");
    let (code, out, err) = host.send("cycle");
    // The start request replaces the stop request; the guest keeps running or is started again.
    wait_for(|| host.is_alive());
    assert_eq!(requested(&host), "started", "{code} {out}{err}");
}

#[test]
fn stop_that_is_not_carried_out_is_reported_as_requested() {
    let host = managed("started");
    host.write_policy("stop_seconds = 1\n");
    host.set("ha-idle", "");
    let (code, out, err) = host.send("stop");
    assert_eq!((code, out.lines().last()), (1, REQUESTED), "{out}{err}");
    assert!(err.contains("it decides, and the request stays"), "{err}");
    assert_eq!(requested(&host), "stopped");
}

#[test]
fn stop_request_that_fails_or_hangs_is_followed_by_a_start_request() {
    for knob in ["fail-stop", "hang-stop"] {
        let host = managed("started");
        host.write_policy("stop_seconds = 1\nsettle_seconds = 1\n");
        host.set(knob, "it is broken");
        let (code, out, err) = host.send("cycle");
        assert_eq!(
            (code, out.lines().last()),
            (1, Some("verdict: running")),
            "{out}{err}"
        );
        assert_eq!(host.changes(), ["stop 102", "start 102"]);
        assert!(host.is_alive() && !out.contains("SIGTERM"), "{out}");
    }
}

#[test]
fn guest_in_state_ignored_is_not_managed() {
    let host = managed("ignored");
    let before = host.pid();
    let (_, out, _) = host.send("vitals");
    assert!(out.contains("\"ha_managed\":false"), "{out}");
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        host.pid() != before && !out.contains("Requesting HA"),
        "{out}"
    );
}

#[test]
fn other_managed_guests_do_not_count() {
    let host = Host::running();
    let text = "vm: 1020\n\tstate started\n\nct: 102\n\tstate started\n";
    fs::write(host.pve("ha/resources.cfg"), text).unwrap();
    let (_, out, _) = host.send("vitals");
    assert!(out.contains("\"ha_managed\":false"), "{out}");
}

#[test]
fn unreadable_resources_are_unknown_and_nothing_is_ended_by_signals() {
    let host = Host::running();
    host.write_policy("stop_seconds = 1\nsettle_seconds = 1\n");
    fs::create_dir(host.pve("ha/resources.cfg")).unwrap();
    let (_, out, _) = host.send("vitals");
    let vitals: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(vitals["ha_managed"], Value::Null);
    let (_, out, _) = host.send("status");
    assert!(out.contains("ha: unknown: "), "{out}");
    let before = host.pid();
    for verb in ["cycle", "stop"] {
        host.set("fail-stop", "it is broken");
        let (code, out, err) = host.send(verb);
        assert_eq!(code, 1, "{out}{err}");
        assert!(
            err.contains("unknown whether high availability manages"),
            "{err}"
        );
        assert!(
            host.is_alive() && host.pid() == before && !out.contains("SIGTERM"),
            "{out}"
        );
    }
    assert_eq!(host.changes(), ["stop 102"]);
}

#[test]
fn malformed_resources_are_unknown() {
    let host = Host::running();
    fs::write(host.pve("ha/resources.cfg"), "\0\0\0\0").unwrap();
    let (_, out, _) = host.send("vitals");
    assert!(out.contains("\"ha_managed\":null"), "{out}");
}

#[test]
fn cycle_without_a_way_back_requests_nothing() {
    let host = managed("started");
    fs::write(host.pve(".members"), breakglass_rig::pve::members(false)).unwrap();
    let (code, out, err) = host.send("cycle");
    assert_eq!(
        (code, out.lines().last()),
        (1, Some("verdict: running")),
        "{out}{err}"
    );
    assert_eq!(host.changes(), [""; 0]);
    assert_eq!(requested(&host), "started");
}
