//! Every conclusion that there is, with the row of the runbook that belongs to it.

/// What was concluded. A closed set: page, log and runbook have no other.
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

/// A row of the runbook's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The name on the wire.
    pub(crate) name: &'static str,
    /// How long the signs must have lasted, in seconds. 0 where a check finds it: it looks once, and
    /// recommends no verb.
    pub(crate) lasts: u64,
    /// What is seen of the guest and its machine.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the runbook, which a test compares")
    )]
    pub(crate) seen: &'static str,
    /// What it is: a sentence without its end.
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

    /// What it is and what to do, as one sentence.
    pub(crate) fn sentence(self) -> String {
        let Row { is, todo, .. } = self.row();
        format!("{is}: {todo}.").replace('`', "")
    }

    /// Its row.
    #[rustfmt::skip] // One row each.
    pub(crate) fn row(self) -> Row {
        let row = |name, lasts, seen, is, todo| Row { name, lasts, seen, is, todo };
        match self {
            Signature::NotHere => row("not-here", 10,
                "machine `unknown (not on this host; on NODE)`",
                "The guest is not on this host any more",
                "name the host that has it in the target's `host`, with its own gate; no verb here reaches the guest"),
            Signature::AddressTaken => row("address-taken", 15,
                "SSH answers, machine `stopped`",
                "The host says that the guest is off, and yet SSH answers at its address: another machine has that address, or the gate's policy names another guest",
                "compare both before `start`; two machines with one address harm each other"),
            Signature::GuestFrozen => row("guest-frozen", 20,
                "machine: file systems frozen",
                "The guest's file systems are frozen, as a backup does for its snapshot, and nothing can be written",
                "thaw them on the host: `qm guest cmd ID fsfreeze-thaw`, or with libvirt `virsh domfsthaw NAME`; nothing has to be ended"),
            Signature::Busy => row("busy", 15,
                "SSH silent, machine `locked (…)`, or a task or migration works on it",
                "The guest is busy: the host works on it, and its monitor may be silent meanwhile",
                "wait, or end that task on the host; a lock that no task holds any more is removed there with `qm unlock ID`"),
            Signature::VmStopped => row("vm-stopped", 15,
                "SSH silent, machine `stopped`",
                "The machine is off",
                "`start` brings it back"),
            Signature::GuestPanicked => row("guest-panicked", 10,
                "SSH silent, run state `guest-panicked`",
                "QEMU says that the guest's kernel has panicked",
                "the screen shows why; `cycle` boots it afresh, forensics are taken first"),
            Signature::QemuIoError => row("qemu-io-error", 10,
                "SSH silent, run state `io-error`",
                "QEMU stopped the guest because its storage gives errors",
                "free space on the host, or bring its storage back, then `start`: the guest goes on where it stood"),
            Signature::QemuInternalError => row("qemu-internal-error", 10,
                "SSH silent, run state `internal-error` or `watchdog`",
                "QEMU stopped the guest and can't go on with it",
                "`cycle` boots it afresh, forensics are taken first"),
            Signature::VmPaused => row("vm-paused", 20,
                "SSH silent, run state `paused` or `debug`",
                "The guest is paused: a person, a backup or a tool on the host stopped its processors",
                "find out who; `start` lets it go on where it stood"),
            Signature::VmSuspended => row("vm-suspended", 20,
                "SSH silent, run state `suspended`, or machine `locked (suspended)` without a process",
                "The guest sleeps, in memory or on its disk",
                "`start` wakes it"),
            Signature::VmShutDown => row("vm-shutdown", 20,
                "SSH silent, run state `shutdown`",
                "The guest has shut itself down and its QEMU process is still there",
                "`cycle` boots it afresh; nothing is lost"),
            Signature::VmPrelaunch => row("vm-prelaunch", 20,
                "SSH silent, run state `prelaunch`",
                "QEMU is up and has not begun to run the guest",
                "`start` lets it begin; if it does not, look at what started it on the host"),
            Signature::Unkillable => row("unkillable", 15,
                "SSH silent, machine `unkillable (D state)`",
                "QEMU waits in the host's kernel for storage, and no signal ends that",
                "bring the host's storage back, or reboot the host"),
            Signature::MonitorDead => row("monitor-dead", 15,
                "SSH silent, machine `monitor-dead`",
                "QEMU runs, but its monitor is dead",
                "`cycle`; `reset` can't help"),
            Signature::GuestSpins => row("guest-spins", 20,
                "SSH silent, machine `running`, 0 writes, processor busy",
                "The kernel spins, as after a panic, and does not wait for a disk",
                "the screen shows why; `cycle` boots it afresh, `reset` helps too"),
            Signature::IoStall => row("io-stall", 20,
                "SSH silent, machine `running`, 0 writes for a minute, processor rests or is not told",
                "An I/O stall; where the processor is not told, a panic looks the same: the screen tells",
                "`cycle`; `reset` keeps the wedged QEMU and will not help"),
            Signature::SshRefused => row("ssh-refused", 20,
                "SSH refuses connections or hangs up, machine `running`",
                "The guest's kernel lives, and its sshd is down, overloaded, or not started yet",
                "look at the screen, and start sshd at the guest's console; `cycle` is the last resort"),
            Signature::GuestSilent => row("guest-silent", 20,
                "SSH silent, machine `running`, some writes or not told",
                "The machine runs, but its SSH is silent: the guest is wedged or its network is gone",
                "the screen tells which: with a login prompt it is the network; else `cycle`, forensics are taken first"),
            Signature::DiskFull => row("disk-full", 0,
                "check `disk`",
                "A file system is full",
                "free space there before anything is restarted; no verb cures it"),
            Signature::RemoteSilent => row("remote-silent", 0,
                "check `disk`",
                "A remote file system does not answer, and whatever touches it hangs",
                "look at the machine that serves it, and at the network between; no verb cures it"),
            Signature::OomKill => row("oom-kill", 0,
                "check `kernel`",
                "The kernel ran out of memory and killed processes",
                "find what ate it and restart what was killed"),
            Signature::HungTask => row("hung-task", 0,
                "check `kernel`",
                "Tasks hung in the kernel, mostly waiting for a disk or a remote file system that did not answer",
                "the check `disk` tells whether one still does not; then look at the host's storage"),
            Signature::IoError => row("io-error", 0,
                "check `kernel`",
                "The disk gives errors",
                "save what matters first, and look at the host's storage"),
            Signature::ReadOnly => row("read-only", 0,
                "check `kernel`",
                "A file system went read-only after an error",
                "look at the disk before it is remounted"),
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
    fn the_runbook_has_the_row_of_every_finding() {
        let runbook = include_str!("../../../../docs/runbook.md");
        let indented = |line: &str| format!("   {line}\n");
        let wanted: String = table().lines().map(indented).collect();
        assert!(
            runbook.contains(&wanted),
            "docs/runbook.md lacks this table:\n{wanted}"
        );
    }

    #[test]
    fn every_finding_is_listed_once_under_a_name_of_its_own() {
        for (index, signature) in Signature::ALL.iter().enumerate() {
            assert_eq!(*signature as usize, index);
            let same = |other: &&Signature| other.as_str() == signature.as_str();
            assert_eq!(Signature::ALL.iter().filter(same).count(), 1);
        }
        assert_eq!(Signature::ReadOnly as usize + 1, Signature::ALL.len());
    }
}
