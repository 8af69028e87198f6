//! The machines of the lab behave as the tests with a real guest assume.

use std::fs;

use breakglass_rig::lab::{Guest, Libvirt, Machine, alive};

/// Every fault that exists on any hypervisor.
fn every_fault_is_real(machine: &impl Machine) {
    let qemu = machine.qemu().unwrap();
    machine.kill_agent();
    let left = machine.login().run("pidof qemu-ga || true").unwrap();
    assert_eq!(left.trim(), "", "the guest agent is still there");

    machine.freeze_disk();
    let write = "echo x >/mnt/data/x; timeout 2 fsync /mnt/data/x && echo written || echo stuck";
    let frozen = machine.login().try_run(write);
    assert_ne!(frozen.as_deref().map(str::trim), Ok("written"));
    machine.thaw_disk();

    machine.stop_qemu();
    assert!(
        !machine.login().greets(),
        "a stopped QEMU lets its guest answer"
    );
    machine.continue_qemu();
    machine.login().wait();

    machine.panic();
    assert!(!machine.login().greets(), "a panicked guest answers");
    assert_eq!(machine.qemu(), Some(qemu), "a panic does not end QEMU");
    machine.kill_qemu();
}

#[test]
fn the_plain_guest_boots_and_every_fault_is_real() {
    let guest = Guest::running();
    let run = guest.run_dir();
    let pid: u32 = fs::read_to_string(run.join("102.pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(guest.qemu(), Some(pid));
    every_fault_is_real(&guest);
    assert!(
        run.join("102.qmp").exists(),
        "a killed QEMU leaves its files"
    );
}

#[test]
fn the_libvirt_guest_boots_and_every_fault_is_real() {
    let guest = Libvirt::running();
    assert_eq!(
        guest.virsh(&["domstate", "victim"]).unwrap().trim(),
        "running"
    );
    every_fault_is_real(&guest);
}

#[test]
fn a_guest_outlives_its_libvirtd_but_not_its_owner() {
    let mut guest = Libvirt::running();
    let qemu = guest.qemu().unwrap();
    guest.kill_daemon();
    assert!(guest.virsh(&["domstate", "victim"]).is_err());
    guest.login().wait();
    guest.restart_daemon();
    assert_eq!(
        guest.virsh(&["domstate", "victim"]).unwrap().trim(),
        "running"
    );
    assert_eq!(guest.qemu(), Some(qemu));
    drop(guest);
    assert!(!alive(qemu));
}
