//! The gate on a real virtual machine: its verdict compared with the hypervisor's own tool, and a cycle up to
//! an SSH login compared with the two equivalent commands.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use breakglass_rig::gate::gate_binary;
use breakglass_rig::lab::{Hypervisor, LabHost, Machine, Proxmox};

use crate::stats;

const ROUNDS: usize = 30;
const CYCLES: usize = 3;

pub(crate) fn run() {
    let program = gate_binary();
    status_on_libvirt(&program);
    status_on_proxmox(&program);
    cycle(&program);
    size(&program);
}

fn status_on_libvirt(program: &Path) {
    let host = LabHost::running();
    let ours = || stats::time(|| gate(program, &host, "status"));
    let theirs = || stats::time(|| drop(host.guest.virsh(&["domstate", "victim"]).unwrap()));
    let (ours, theirs) = stats::paired(ROUNDS, ours, theirs);
    print(
        "gate: `status` with its verdict, libvirt",
        ours,
        "`virsh domstate`",
        theirs,
        "≤ 1.15×",
    );
}

fn status_on_proxmox(program: &Path) {
    let host = LabHost::over(Proxmox::running());
    let ours = || stats::time(|| gate(program, &host, "status"));
    let theirs = || stats::time(|| assert!(host.guest.qm(&["status", "102"]).status.success()));
    let (ours, theirs) = stats::paired(ROUNDS, ours, theirs);
    print(
        "gate: `status` with its verdict, `qm` stand-in",
        ours,
        "`qm status`",
        theirs,
        "≤ 1.15×",
    );
}

/// Both on the same panicked guest, the usual reason for a cycle.
fn cycle(program: &Path) {
    let host = LabHost::running();
    let fresh = |act: &dyn Fn()| {
        host.guest.panic();
        stats::time(|| {
            act();
            host.guest.login().wait();
        })
    };
    let ours = || fresh(&|| gate(program, &host, "cycle"));
    let by_hand = || {
        fresh(&|| {
            for verb in ["destroy", "start"] {
                host.guest.virsh(&[verb, "victim"]).unwrap();
            }
        })
    };
    let (ours, theirs) = stats::paired(CYCLES, ours, by_hand);
    print(
        "gate: `cycle` of a panicked guest to SSH login",
        ours,
        "`virsh destroy && virsh start`",
        theirs,
        "≤ 1.1×",
    );
}

fn size(program: &Path) {
    let bytes = fs::metadata(program).unwrap().len();
    let size = format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20));
    stats::print("gate: size of the binary", &size, "–", None, "≤ 2 MiB");
}

fn gate<H: Hypervisor>(program: &Path, host: &LabHost<H>, verb: &str) {
    let output = Command::new(program)
        .arg("--policy")
        .arg(host.policy())
        .env_clear()
        .env("SSH_ORIGINAL_COMMAND", verb)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(words.ends_with("verdict: running\n"), "{words}");
}

fn print(name: &str, ours: f64, against: &str, theirs: f64, goal: &str) {
    let against = format!("{against}: {theirs:.0} ms");
    stats::print(
        name,
        &format!("{ours:.0} ms"),
        &against,
        Some(ours / theirs),
        goal,
    );
}
