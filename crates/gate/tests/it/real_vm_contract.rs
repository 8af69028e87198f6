//! The contract of the gate over a real QEMU, under libvirt and under the stand-in for `qm`.

use crate::promises::{self as contract, Answer, Subject};
use breakglass_rig::lab::{Hypervisor, LabHost, Libvirt, Machine, Proxmox};

// The contract holds as soon as QEMU has started: the guest may still be booting.
impl Subject for LabHost<Libvirt> {
    fn running() -> Self {
        let guest = Libvirt::stopped();
        guest.virsh(&["start", "victim"]).unwrap();
        LabHost::over(guest)
    }

    fn stopped() -> Self {
        LabHost::over(Libvirt::stopped())
    }

    fn send(&self, line: &str) -> Answer {
        asked(self, line)
    }

    fn process(&self) -> Option<u64> {
        self.guest.qemu().map(u64::from)
    }
}

impl Subject for LabHost<Proxmox> {
    fn running() -> Self {
        let guest = Proxmox::stopped();
        assert!(guest.qm(&["start", "102"]).status.success());
        LabHost::over(guest)
    }

    fn stopped() -> Self {
        LabHost::over(Proxmox::stopped())
    }

    fn send(&self, line: &str) -> Answer {
        asked(self, line)
    }

    fn process(&self) -> Option<u64> {
        self.guest.qemu().map(u64::from)
    }
}

fn asked<H: Hypervisor>(host: &LabHost<H>, line: &str) -> Answer {
    let answer = host.send(line);
    Answer {
        code: answer.code,
        out: answer.out,
        err: answer.err,
    }
}

mod real_vm_libvirt {
    use super::*;
    contract!(LabHost<Libvirt>);
}

mod real_vm_qm {
    use super::*;
    contract!(LabHost<Proxmox>);
}
