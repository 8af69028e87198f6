//! From SSH to QEMU, with nothing simulated but the hardware: sshd, gate, virsh, libvirtd, QEMU and
//! a guest that has every kind of trouble.

use std::fs;

use breakglass_rig::lab::{Answer, LabHost, Libvirt, Machine, PanicDevice, Proxmox, until};
use serde_json::Value;

/// A verb that reached its goal and left a guest that runs.
fn succeeded(answer: &Answer) {
    let end = (answer.code, answer.verdict());
    assert_eq!(
        end,
        (0, "running".to_owned()),
        "{}\n{}",
        answer.text(),
        answer.err
    );
}

fn vitals(host: &LabHost<Libvirt>) -> Value {
    let answer = host.send("vitals");
    assert_eq!(answer.code, 0, "{}{}", answer.text(), answer.err);
    serde_json::from_str(answer.text().lines().next().unwrap()).unwrap()
}

/// One sample: the run state, and whether disk and processor are idle. On an overloaded machine the
/// guest may not have run during a sample.
#[derive(Debug, PartialEq)]
struct Signs {
    runs: bool,
    writes_stand: bool,
    rests: bool,
}

fn signs(host: &LabHost<Libvirt>) -> Option<Signs> {
    let vitals = vitals(host);
    let number = |path: &str| vitals.pointer(path).and_then(Value::as_f64);
    Some(Signs {
        runs: vitals["run_state"] == "running",
        writes_stand: number("/disk/writes_per_s")? == 0.0,
        rests: number("/cpu_percent")? < 20.0,
    })
}

/// Waits for a sample of a guest that runs and writes nothing, whose processor is idle or busy.
fn stands_still(host: &LabHost<Libvirt>, rests: bool) {
    let wanted = Signs {
        runs: true,
        writes_stand: true,
        rests,
    };
    until("the signs show it", || {
        signs(host).as_ref() == Some(&wanted)
    });
}

/// Waits for a sample of a guest that writes.
fn writes(host: &LabHost<Libvirt>) {
    until("the guest writes", || {
        signs(host).is_some_and(|signs| !signs.writes_stand)
    });
}

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 1_000
}

#[test]
fn real_vm_a_panic_shows_in_vitals_and_picture_and_a_cycle_cures_it() {
    let host = LabHost::running();
    let healthy = host.send("screenshot");
    assert!(is_png(&healthy.out), "{}", healthy.err);
    writes(&host);

    host.guest.panic();
    stands_still(&host, false);
    let picture = host.send("screenshot");
    assert!(is_png(&picture.out) && picture.out != healthy.out);
    assert_eq!(host.send("status").verdict(), "running");

    let before = host.guest.qemu();
    succeeded(&host.send("cycle"));
    assert_ne!(host.guest.qemu(), before);
    host.guest.login().wait();
    writes(&host);
    let bundle = fs::read_dir(host.forensics()).unwrap().next().unwrap();
    let serial = fs::read_to_string(bundle.unwrap().path().join("serial.txt")).unwrap();
    assert!(serial.contains("Kernel panic"), "{serial}");
}

#[test]
fn real_vm_a_frozen_disk_is_distinguished_from_a_panic_and_fixed_by_a_cycle() {
    let host = LabHost::running();
    host.guest.freeze_disk();
    stands_still(&host, true);
    succeeded(&host.send("cycle"));
    host.guest.login().wait();
    writes(&host);
}

#[test]
fn real_vm_a_qemu_stopped_by_a_signal_has_a_dead_monitor_and_a_cycle_replaces_it() {
    let host = LabHost::running();
    host.guest.stop_qemu();
    let status = host.send("status");
    assert_eq!(
        (status.code, status.verdict().as_str()),
        (0, "monitor-dead")
    );
    let reset = host.send("reset");
    assert_eq!((reset.code, reset.verdict().as_str()), (1, "monitor-dead"));
    succeeded(&host.send("cycle"));
    host.guest.login().wait();
}

#[test]
fn real_vm_a_hung_libvirtd_is_not_taken_for_a_dead_guest_and_nothing_is_stopped() {
    let host = LabHost::running();
    let qemu = host.guest.qemu().unwrap();
    host.guest.stop_daemon();
    let cycle = host.send("cycle");
    assert_eq!(cycle.code, 1);
    assert!(
        cycle
            .verdict()
            .starts_with("unknown (libvirtd does not answer"),
        "{}",
        cycle.verdict()
    );
    assert!(
        cycle
            .verdict()
            .contains(&format!("QEMU process {qemu} is there"))
    );
    assert_eq!(host.guest.qemu(), Some(qemu));
    host.guest.login().wait();
    host.guest.continue_daemon();
    succeeded(&host.send("status"));
}

/// A host whose guest ran before something was done to its way back.
fn is_not_cycled(host: &LabHost<Libvirt>, words: &str) {
    let qemu = host.guest.qemu();
    let cycle = host.send("cycle");
    let end = (cycle.code, cycle.verdict());
    assert_eq!(
        end,
        (1, "running".to_owned()),
        "{}{}",
        cycle.text(),
        cycle.err
    );
    assert!(cycle.err.contains(words), "{}", cycle.err);
    assert_eq!(host.guest.qemu(), qemu);
    host.guest.login().wait();
}

#[test]
fn real_vm_transient_domain_is_not_cycled_and_its_definition_is_kept_before_a_stop() {
    let host = LabHost::running();
    // What has no definition beside that of the running domain is transient.
    host.guest.virsh(&["undefine", "victim"]).unwrap();
    is_not_cycled(&host, "the domain is transient");
    let stop = host.send("stop");
    assert_eq!((stop.code, stop.verdict()), (0, "stopped".to_owned()));
    assert!(
        stop.text()
            .contains("can't be started again: the domain is transient")
    );
    let kept = fs::read_dir(host.forensics()).unwrap().flatten();
    let kept = kept.map(|bundle| bundle.path().join("virsh-dumpxml.txt"));
    let xml = kept.map(|file| fs::read_to_string(file).unwrap()).next();
    assert!(xml.unwrap().contains("<name>victim</name>"));
}

#[test]
fn real_vm_a_domain_whose_disk_was_deleted_is_not_cycled() {
    let host = LabHost::running();
    fs::remove_file(host.guest.dir().join("disk.img")).unwrap();
    is_not_cycled(&host, "disk.img, which does not exist");
}

#[test]
fn real_vm_a_domain_that_a_reset_would_end_is_not_reset() {
    let guest = Libvirt::stopped();
    let xml = guest.virsh(&["dumpxml", "victim"]).unwrap();
    let file = guest.dir().join("ends.xml");
    fs::write(
        &file,
        xml.replace("<on_reboot>restart<", "<on_reboot>destroy<"),
    )
    .unwrap();
    guest.virsh(&["define", file.to_str().unwrap()]).unwrap();
    guest.start();
    let host = LabHost::over(guest);
    let qemu = host.guest.qemu();
    let reset = host.send("reset");
    let end = (reset.code, reset.verdict());
    assert_eq!(end, (1, "running".to_owned()), "{}", reset.err);
    assert!(
        reset.err.contains("a reset would end QEMU"),
        "{}",
        reset.err
    );
    assert_eq!(host.guest.qemu(), qemu);
    succeeded(&host.send("cycle"));
}

#[test]
fn real_vm_on_proxmox_without_a_quorum_the_guest_runs_on() {
    let host = LabHost::over(Proxmox::running());
    let (qemu, members) = (
        host.guest.qemu(),
        host.guest.dir().join("qm-state/pve/.members"),
    );
    fs::write(&members, breakglass_rig::pve::members(false)).unwrap();
    let cycle = host.send("cycle");
    assert_eq!((cycle.code, cycle.verdict()), (1, "running".to_owned()));
    assert!(cycle.err.contains("has no quorum"), "{}", cycle.err);
    assert_eq!(host.guest.qemu(), qemu);
    host.guest.login().wait();
    fs::write(&members, breakglass_rig::pve::members(true)).unwrap();
    succeeded(&host.send("cycle"));
}

#[test]
fn real_vm_stale_files_of_a_dead_qemu_are_not_a_guest() {
    let mut host = LabHost::running();
    host.guest.kill_daemon();
    host.guest.kill_qemu();
    assert!(
        host.guest.pid_file().exists(),
        "the stale file has been removed"
    );
    assert_eq!(host.send("status").verdict(), "stopped");
    // The process id belongs to another process now.
    fs::write(host.guest.pid_file(), std::process::id().to_string()).unwrap();
    assert_eq!(host.send("status").verdict(), "stopped");
    host.guest.restart_daemon();
    succeeded(&host.send("start"));
    host.guest.login().wait();
}

#[test]
fn real_vm_verbs_work_without_the_guest_agent() {
    let host = LabHost::running();
    host.guest.kill_agent();
    succeeded(&host.send("status"));
    succeeded(&host.send("reset"));
    host.guest.login().wait();
    host.guest.kill_agent();
    succeeded(&host.send("cycle"));
    host.guest.login().wait();
}

#[test]
fn real_vm_paused_guest_runs_after_a_reset_although_virsh_leaves_it_paused() {
    let host = LabHost::running();
    host.guest.pause();
    let status = host.send("status");
    assert_eq!(
        status.verdict(),
        "unknown (QEMU is up, the guest is paused)"
    );
    succeeded(&host.send("reset"));
    host.guest.login().wait();
    host.guest.pause();
    succeeded(&host.send("start"));
    host.guest.login().wait();
}

#[test]
fn real_vm_guest_that_reported_its_panic_is_not_running_and_a_reset_helps() {
    let host = LabHost::over(Libvirt::defined(PanicDevice::Present));
    succeeded(&host.send("start"));
    host.guest.login().wait();
    host.guest.panic();
    assert_eq!(
        host.send("status").verdict(),
        "unknown (QEMU is up, the guest is guest-panicked)"
    );
    succeeded(&host.send("reset"));
    host.guest.login().wait();
}

#[test]
fn real_vm_same_verb_attaches_to_a_cycle_and_other_changes_are_refused() {
    let host = LabHost::over(Proxmox::running());
    host.guest.set("held-stop", "");
    let first = host.client("cycle").spawn().unwrap();
    until("the cycle begins", || host.run_file().starts_with("cycle "));
    let refused = host.send("reset");
    assert_eq!(refused.code, 2, "{}", refused.text());
    assert!(
        refused.err.contains("cycle has been running since"),
        "{}",
        refused.err
    );
    let second = host.client("cycle").spawn().unwrap();
    until("the second one attaches", || {
        host.host_log().contains("attached since=")
    });
    host.guest.unset("held-stop");
    let attached = second.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&attached.stdout);
    assert!(attached.status.success(), "{text}");
    assert!(text.contains("attached to cycle"), "{text}");
    assert!(first.wait_with_output().unwrap().status.success());
    host.guest.login().wait();
}

#[test]
fn real_vm_lock_on_proxmox_is_the_verdict_and_the_guest_is_left_alone() {
    let host = LabHost::over(Proxmox::running());
    let qemu = host.guest.qemu();
    host.guest.set("lock", "backup");
    for verb in ["cycle", "reset", "stop"] {
        let answer = host.send(verb);
        assert_eq!(
            (answer.code, answer.verdict().as_str()),
            (1, "locked (backup)")
        );
    }
    assert_eq!(host.guest.qemu(), qemu);
    host.guest.login().wait();
    host.guest.unset("lock");
    succeeded(&host.send("cycle"));
    host.guest.login().wait();
}

#[test]
fn real_vm_cycle_on_proxmox_cures_a_panic_a_stopped_qemu_and_stale_files() {
    let host = LabHost::over(Proxmox::running());
    host.guest.panic();
    assert_eq!(host.send("status").verdict(), "running");
    assert!(is_png(&host.send("screenshot").out));
    succeeded(&host.send("cycle"));
    host.guest.login().wait();

    host.guest.stop_qemu();
    assert_eq!(host.send("status").verdict(), "monitor-dead");
    succeeded(&host.send("cycle"));
    host.guest.login().wait();

    host.guest.kill_qemu();
    assert!(
        host.guest.run_dir().join("102.pid").exists(),
        "the stale file has been removed"
    );
    assert!(
        host.guest.run_dir().join("102.qmp").exists(),
        "the stale file has been removed"
    );
    assert_eq!(host.send("status").verdict(), "stopped");
    succeeded(&host.send("cycle"));
    host.guest.login().wait();
}
