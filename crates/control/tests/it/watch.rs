//! What the watchers show of a host that hangs, or that prints beside its gate.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Bench, operator, until};
use breakglass_model::{VitalState, Vitals};
use breakglass_rig::gate::GateHost;

/// A host whose key runs `script`, in which `$gate` is the gate, from the first login on.
fn before_the_gate(key: &str, script: &str) -> GateHost {
    let host = GateHost::running(key);
    let path = host.state("before");
    let text = format!(
        "#!/bin/sh\ngate='{}'\ncd '{}'\n{script}\n",
        host.command(),
        path.parent().unwrap().display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!("command=\"{}\",restrict {key}\n", path.display());
    host.sshd.authorize(&line);
    host
}

async fn shows(bench: &Bench, what: &str, wanted: impl Fn(&Vitals) -> bool) -> Vitals {
    until(what, || bench.control.vitals("devvm").filter(&wanted)).await
}

#[tokio::test]
async fn hanging_host_is_shown_as_waiting_and_then_as_unknown() {
    let bench =
        Bench::with(|key| before_the_gate(key, "[ -e hangs ] && exec sleep 60\nexec $gate"));
    let incident = bench.log.open_incident("devvm", operator(), false);
    incident.await.unwrap();
    let runs = |vitals: &Vitals| vitals.vm.text == "running";
    shows(&bench, "it runs", runs).await;
    bench.host.set("hangs", "");
    let waits = shows(&bench, "it is waited for", |vitals| {
        vitals.vm.state == VitalState::Slow
    })
    .await;
    assert_eq!(waits.vm.text, "no answer from the host for 3 s yet");
    let unknown = |vitals: &Vitals| vitals.vm.state == VitalState::Unknown;
    let unknown = shows(&bench, "nothing is claimed", unknown).await;
    assert_eq!(unknown.vm.text, "no answer from the host for 9 s yet");
    assert_eq!((unknown.machine, unknown.finding), (None, None));
    bench.host.unset("hangs");
    shows(&bench, "it runs again", runs).await;
}

#[tokio::test]
async fn other_output_beside_the_gate_is_noted_and_does_not_mean_an_older_gate() {
    let bench = Bench::with(|key| before_the_gate(key, "echo Welcome to pve1\nexec $gate"));
    let measured = |vitals: &Vitals| vitals.machine.is_some();
    let seen = shows(&bench, "it is measured", measured).await;
    assert_eq!(seen.vm.text, "running");
    let notes = seen.machine.unwrap().notes.join("\n");
    assert!(
        notes.contains("prints before or after the gate: Welcome to pve1"),
        "{notes}"
    );
}

#[tokio::test]
async fn shell_in_place_of_the_gate_is_reported_with_its_output() {
    let bench = Bench::with(|key| before_the_gate(key, "sh -c \"$SSH_ORIGINAL_COMMAND\""));
    let unknown = |vitals: &Vitals| vitals.vm.text != "not probed yet";
    let seen = shows(&bench, "it was looked at", unknown).await;
    assert_eq!(seen.vm.state, VitalState::Unknown);
    assert!(
        seen.vm.text.contains("vitals: not found"),
        "{}",
        seen.vm.text
    );
    assert!(seen.vm.text.contains("forced command"), "{}", seen.vm.text);
}
