//! All possible findings, each with its row of the runbook.

/// The kind of a finding. A closed set: page, log and runbook know no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    NotHere,
    AddressTaken,
    GuestFrozen,
    Busy,
    VmStopped,
    GuestPanicked,
    QemuIoError,
    QemuInternalError,
    VmPaused,
    VmSuspended,
    VmShutDown,
    VmPrelaunch,
    Unkillable,
    MonitorDead,
    GuestSpins,
    IoStall,
    SshRefused,
    GuestSilent,
    DiskFull,
    RemoteSilent,
    OomKill,
    HungTask,
    IoError,
    ReadOnly,
}

/// A row of the runbook's table of findings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The name on the wire.
    pub(crate) name: &'static str,
    /// How long the signs must have lasted, in seconds; 0 for a finding of a diagnosis, which runs once and
    /// recommends no verb.
    pub(crate) lasts: u64,
    /// The signs of guest and machine.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the runbook, which a test compares")
    )]
    pub(crate) seen: &'static str,
    /// What it is: a sentence without its full stop.
    pub(crate) is: &'static str,
    /// What to do: likewise.
    pub(crate) todo: &'static str,
}

impl Signature {
    #[cfg(test)]
    pub(crate) const ALL: [Signature; 24] = [
        Signature::NotHere,
        Signature::AddressTaken,
        Signature::GuestFrozen,
        Signature::Busy,
        Signature::VmStopped,
        Signature::GuestPanicked,
        Signature::QemuIoError,
        Signature::QemuInternalError,
        Signature::VmPaused,
        Signature::VmSuspended,
        Signature::VmShutDown,
        Signature::VmPrelaunch,
        Signature::Unkillable,
        Signature::MonitorDead,
        Signature::GuestSpins,
        Signature::IoStall,
        Signature::SshRefused,
        Signature::GuestSilent,
        Signature::DiskFull,
        Signature::RemoteSilent,
        Signature::OomKill,
        Signature::HungTask,
        Signature::IoError,
        Signature::ReadOnly,
    ];

    /// Its name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        self.row().name
    }

    /// What it is and what to do, in one sentence.
    pub(crate) fn sentence(self) -> String {
        let Row { is, todo, .. } = self.row();
        format!("{is}: {todo}.").replace('`', "")
    }

    /// Its row of the runbook.
    #[rustfmt::skip] // One row each.
    pub(crate) fn row(self) -> Row {
        let row = |name, lasts, seen, is, todo| Row { name, lasts, seen, is, todo };
        match self {
            Signature::NotHere => row("not-here", 10,
                "machine `unknown (not on this host; on NODE)`",
                "The guest is not on this host any more",
                "set the target's `host` to the host that has it now, with a gate of its own; no verb here reaches the guest"),
            Signature::AddressTaken => row("address-taken", 15,
                "SSH answers, machine `stopped`",
                "The host reports the guest as off, but SSH answers at its address: another machine has that address, or the gate's policy names another guest",
                "check both before `start`; two machines with the same address disturb each other"),
            Signature::GuestFrozen => row("guest-frozen", 20,
                "machine: file systems frozen",
                "The guest's file systems are frozen, as by a backup for its snapshot, and nothing can be written",
                "thaw them on the host: `qm guest cmd ID fsfreeze-thaw`, or with libvirt `virsh domfsthaw NAME`; nothing needs to be stopped"),
            Signature::Busy => row("busy", 15,
                "SSH silent, machine `locked (…)`, or a task or migration works on it",
                "The guest is busy: the host is working on it, and its monitor may not answer meanwhile",
                "wait, or stop that task on the host; remove a lock without a task there with `qm unlock ID`"),
            Signature::VmStopped => row("vm-stopped", 15,
                "SSH silent, machine `stopped`",
                "The machine is off",
                "`start` brings it back"),
            Signature::GuestPanicked => row("guest-panicked", 10,
                "SSH silent, run state `guest-panicked`",
                "QEMU reports that the guest's kernel has panicked",
                "the screen shows why; `cycle` boots it again, after forensics"),
            Signature::QemuIoError => row("qemu-io-error", 10,
                "SSH silent, run state `io-error`",
                "QEMU stopped the guest because of errors of its storage",
                "free space on the host or restore its storage, then `start`: the guest continues where it stopped"),
            Signature::QemuInternalError => row("qemu-internal-error", 10,
                "SSH silent, run state `internal-error` or `watchdog`",
                "QEMU stopped the guest and can't continue it",
                "`cycle` boots it again, after forensics"),
            Signature::VmPaused => row("vm-paused", 20,
                "SSH silent, run state `paused` or `debug`",
                "The guest is paused: a person, a backup or a tool on the host stopped its processors",
                "find out who did; `start` continues it where it stopped"),
            Signature::VmSuspended => row("vm-suspended", 20,
                "SSH silent, run state `suspended`, or machine `locked (suspended)` without a process",
                "The guest is suspended, to memory or to disk",
                "`start` resumes it"),
            Signature::VmShutDown => row("vm-shutdown", 20,
                "SSH silent, run state `shutdown`",
                "The guest has shut down, but its QEMU process still exists",
                "`cycle` boots it again; nothing is lost"),
            Signature::VmPrelaunch => row("vm-prelaunch", 20,
                "SSH silent, run state `prelaunch`",
                "QEMU is up but has not started the guest",
                "`start` starts it; if that does not help, find out on the host what created it"),
            Signature::Unkillable => row("unkillable", 15,
                "SSH silent, machine `unkillable (D state)`",
                "QEMU is waiting for storage inside the host's kernel, and no signal ends that",
                "restore the host's storage, or reboot the host"),
            Signature::MonitorDead => row("monitor-dead", 15,
                "SSH silent, machine `monitor-dead`",
                "QEMU runs, but its monitor is dead",
                "`cycle`; `reset` can't help"),
            Signature::GuestSpins => row("guest-spins", 20,
                "SSH silent, machine `running`, 0 writes, processor busy",
                "The kernel spins, as after a panic, and does not wait for a disk",
                "the screen shows why; `cycle` boots it again, `reset` helps too"),
            Signature::IoStall => row("io-stall", 20,
                "SSH silent, machine `running`, 0 writes for a minute, processor idle or unknown",
                "An I/O stall; if the processor time is unknown, a panic looks the same: check the screen",
                "`cycle`; `reset` keeps the same QEMU process and will not help"),
            Signature::SshRefused => row("ssh-refused", 20,
                "SSH refuses connections or hangs up, machine `running`",
                "The guest's kernel is running, but its sshd is down, overloaded, or not started yet",
                "check the screen, and start sshd at the guest's console; `cycle` is the last resort"),
            Signature::GuestSilent => row("guest-silent", 20,
                "SSH silent, machine `running`, some writes or unknown",
                "The machine is running, but its SSH is silent: the guest hangs or its network is down",
                "the screen shows which: with a login prompt it is the network; otherwise `cycle`, after forensics"),
            Signature::DiskFull => row("disk-full", 0,
                "diagnosis `disk`",
                "A file system is full",
                "free space there before restarting anything; no verb helps"),
            Signature::RemoteSilent => row("remote-silent", 0,
                "diagnosis `disk`",
                "A remote file system does not answer, and every program that uses it hangs",
                "check the machine that serves it, and the network between; no verb helps"),
            Signature::OomKill => row("oom-kill", 0,
                "diagnosis `kernel`",
                "The kernel ran out of memory and killed processes",
                "find out what used the memory, and restart what was killed"),
            Signature::HungTask => row("hung-task", 0,
                "diagnosis `kernel`",
                "Tasks hang in the kernel, usually because a disk or a remote file system does not answer",
                "the diagnosis `disk` shows whether one still does not; then check the host's storage"),
            Signature::IoError => row("io-error", 0,
                "diagnosis `kernel`",
                "The disk reports errors",
                "save important data first, then check the host's storage"),
            Signature::ReadOnly => row("read-only", 0,
                "diagnosis `kernel`",
                "A file system became read-only after an error",
                "check the disk before remounting it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// The runbook's table.
    fn table() -> String {
        let head = "| finding | seen | it is | do |\n| --- | --- | --- | --- |\n".to_owned();
        Signature::ALL.iter().fold(head, |mut table, signature| {
            let Row {
                name,
                seen,
                is,
                todo,
                ..
            } = signature.row();
            let _ = writeln!(table, "| `{name}` | {seen} | {is} | {todo} |");
            table
        })
    }

    #[test]
    fn runbook_has_the_row_of_every_finding() {
        let runbook = include_str!("../../../../docs/runbook.md");
        let indented = |line: &str| format!("   {line}\n");
        let wanted: String = table().lines().map(indented).collect();
        assert!(
            runbook.contains(&wanted),
            "docs/runbook.md lacks this table:\n{wanted}"
        );
    }

    #[test]
    fn every_finding_is_listed_once_under_a_unique_name() {
        for (index, signature) in Signature::ALL.iter().enumerate() {
            assert_eq!(*signature as usize, index);
            let same = |other: &&Signature| other.as_str() == signature.as_str();
            assert_eq!(Signature::ALL.iter().filter(same).count(), 1);
        }
        assert_eq!(Signature::ReadOnly as usize + 1, Signature::ALL.len());
    }
}
