//! Where high availability decides, a start and a stop are requests: they are waited for, and a guest
//! is never left with the request to be off.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;

use serde_json::Value;
use support::{Host, wait_for};

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
fn a_cycle_waits_for_high_availability_and_the_wait_is_shown() {
    let host = managed("started");
    let before = host.pid();
    host.set("ha-delay", "6");
    let (code, out, err) = host.send("cycle");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}{err}"
    );
    assert!(host.lives() && host.pid() != before);
    assert!(out.contains("stop: Requesting HA stop for VM 102"), "{out}");
    assert!(
        out.contains("waiting for high availability, 5 s of 100 s: qemu: process"),
        "{out}"
    );
    assert_eq!(requested(&host), "started");
    assert!(!out.contains("SIGTERM"), "{out}");
}

#[test]
fn a_stop_is_done_when_the_guest_is_seen_to_be_off_and_its_request_stays() {
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
fn a_start_is_done_when_the_guest_is_seen_to_run() {
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
fn a_guest_that_runs_and_is_requested_to_be_off_is_asked_to_be_on_by_a_start() {
    let host = managed("stopped");
    let (code, out, err) = host.send("start");
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(requested(&host), "started");
    assert_eq!(host.changes(), ["start 102"]);
}

#[test]
fn a_cycle_whose_stop_is_not_carried_out_asks_for_the_start_all_the_same() {
    let host = managed("started");
    host.write_policy("stop_seconds = 2\nstart_seconds = 2\nsettle_seconds = 1\n");
    host.set("ha-idle", "");
    let before = host.pid();
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, out.lines().last()), (1, REQUESTED), "{out}{err}");
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
    assert_eq!(requested(&host), "started");
    assert!(host.lives() && host.pid() == before);
    assert!(!out.contains("SIGTERM"), "{out}");
}

#[test]
fn a_stop_that_comes_after_its_deadline_does_not_leave_the_guest_off() {
    let host = managed("started");
    host.write_policy("stop_seconds = 1\nstart_seconds = 20\n");
    host.set("ha-delay", "3");
    let (code, out, err) = host.send("cycle");
    // Here the request to stop is overtaken by that to start; the guest runs on, or anew.
    wait_for(|| host.lives());
    assert_eq!(requested(&host), "started", "{code} {out}{err}");
}

#[test]
fn a_stop_that_is_not_carried_out_says_that_it_is_requested() {
    let host = managed("started");
    host.write_policy("stop_seconds = 1\n");
    host.set("ha-idle", "");
    let (code, out, err) = host.send("stop");
    assert_eq!((code, out.lines().last()), (1, REQUESTED), "{out}{err}");
    assert!(err.contains("it decides, and the request stays"), "{err}");
    assert_eq!(requested(&host), "stopped");
}

#[test]
fn a_stop_request_that_fails_or_hangs_is_followed_by_one_to_start() {
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
        assert!(host.lives() && !out.contains("SIGTERM"), "{out}");
    }
}

#[test]
fn a_guest_in_state_ignored_is_not_managed() {
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
fn another_guest_of_high_availability_is_not_this_one() {
    let host = Host::running();
    let text = "vm: 1020\n\tstate started\n\nct: 102\n\tstate started\n";
    fs::write(host.pve("ha/resources.cfg"), text).unwrap();
    let (_, out, _) = host.send("vitals");
    assert!(out.contains("\"ha_managed\":false"), "{out}");
}

#[test]
fn resources_that_cannot_be_read_are_not_known_and_end_nothing_by_signals() {
    let host = Host::running();
    host.write_policy("stop_seconds = 1\nsettle_seconds = 1\n");
    fs::create_dir(host.pve("ha/resources.cfg")).unwrap();
    let (_, out, _) = host.send("vitals");
    let vitals: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(vitals["ha_managed"], Value::Null);
    let (_, out, _) = host.send("status");
    assert!(out.contains("ha: can't be told: "), "{out}");
    let before = host.pid();
    for verb in ["cycle", "stop"] {
        host.set("fail-stop", "it is broken");
        let (code, out, err) = host.send(verb);
        assert_eq!(code, 1, "{out}{err}");
        assert!(
            err.contains("can't be told whether high availability manages"),
            "{err}"
        );
        assert!(
            host.lives() && host.pid() == before && !out.contains("SIGTERM"),
            "{out}"
        );
    }
    assert_eq!(host.changes(), ["stop 102"]);
}

#[test]
fn resources_that_are_no_list_are_not_known() {
    let host = Host::running();
    fs::write(host.pve("ha/resources.cfg"), "\0\0\0\0").unwrap();
    let (_, out, _) = host.send("vitals");
    assert!(out.contains("\"ha_managed\":null"), "{out}");
}

#[test]
fn a_cycle_without_a_way_back_requests_nothing_of_high_availability() {
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
