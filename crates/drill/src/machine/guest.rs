//! What runs inside the guest: disk, processes, units and journal as one state.
//!
//! Units own processes, processes use memory, a start needs space on the disk. So a repair works
//! if and only if it removes the cause.

use std::mem::take;
use std::time::Duration;

use super::clock::Moment;
use super::disk::Disk;
use super::journal::Journal;
use super::memory::Memory;
use super::process::{Process, Processes};
use super::unit::{Failure, Unit, UnitFile, UnitState};

#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) disk: Disk,
    pub(crate) processes: Processes,
    pub(crate) units: Vec<Unit>,
    pub(crate) journal: Journal,
    /// When the running kernel booted.
    pub(crate) booted: Moment,
}

/// A unit did not start; the journal contains the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartFailed;

impl Guest {
    /// A guest that booted at `booted` from `disk`, with every service of `files` started.
    pub(crate) fn boot(
        disk: Disk,
        files: Vec<UnitFile>,
        journal: Journal,
        booted: Moment,
    ) -> Guest {
        let units = files.into_iter().map(|file| Unit {
            file,
            state: UnitState::Inactive,
            since: booted,
            main_pid: 0,
        });
        let mut guest = Guest {
            disk,
            processes: Processes::booted(booted),
            units: units.collect(),
            journal,
            booted,
        };
        guest.journal.boot(booted);
        guest.empty_tmp();
        for line in BOOT_LINES {
            guest.journal.kernel(booted, 6, line);
        }
        for index in 0..guest.units.len() {
            // A service that can't start at boot is failed, and the journal contains the reason.
            let _ = guest.start(index, booted.plus(Duration::from_secs(2)));
        }
        guest
    }

    /// Boots again: new memory and processes, the same disk.
    pub(crate) fn reboot(&mut self, booted: Moment) {
        let files = self.units.drain(..).map(|unit| unit.file).collect();
        let journal = take(&mut self.journal);
        *self = Guest::boot(self.disk.clone(), files, journal, booted);
    }

    fn empty_tmp(&mut self) {
        let children = self.disk.children("/tmp").into_iter();
        let paths: Vec<String> = children.map(|(name, _)| format!("/tmp/{name}")).collect();
        for path in paths {
            let _ = self.disk.remove(&path, "root");
        }
    }

    /// The index of the unit called `name`, with or without `.service`.
    pub(crate) fn unit(&self, name: &str) -> Option<usize> {
        let name = name.trim_end_matches(".service");
        self.units.iter().position(|unit| unit.identifier() == name)
    }

    pub(crate) fn is_active(&self, name: &str) -> bool {
        let index = self.unit(name);
        index.is_some_and(|index| self.units[index].is_active())
    }

    /// Starts a unit unless it is active.
    pub(crate) fn start(&mut self, index: usize, now: Moment) -> Result<(), StartFailed> {
        if self.units[index].is_active() {
            return Ok(());
        }
        let file = self.units[index].file.clone();
        let title = format!("{} - {}", file.name, file.description);
        self.journal
            .systemd(now, &file.name, 6, format!("Starting {title}..."));
        let pid = self.processes.spawn(Process {
            pid: 0,
            ppid: 1,
            user: file.user,
            command: file.command,
            unit: Some(file.name.clone()),
            started: now,
            cpu: file.cpu,
            memory: file.memory,
        });
        self.units[index].main_pid = pid;
        self.set_state(index, UnitState::Active, now);
        if file.needs_disk << 20 > self.disk.free() {
            self.fail_for_disk(index, now);
        }
        self.settle(now);
        if !self.units[index].is_active() {
            return Err(StartFailed);
        }
        self.journal
            .systemd(now, &file.name, 6, format!("Started {title}."));
        Ok(())
    }

    fn fail_for_disk(&mut self, index: usize, now: Moment) {
        let unit = &self.units[index];
        let (name, id, pid) = (&unit.file.name, unit.identifier(), unit.main_pid);
        let message =
            format!("FATAL: can't write /var/lib/{id}/{id}.lock: No space left on device");
        self.journal.service(now, name, pid, message);
        self.processes.remove(pid);
        self.fail(index, Failure::ExitCode, now);
    }

    /// Stops a unit if it is active.
    pub(crate) fn stop(&mut self, index: usize, now: Moment) {
        if self.units[index].is_active() {
            self.kill(self.units[index].main_pid, false, now);
        }
    }

    /// Clears the failed state of a unit.
    pub(crate) fn reset_failed(&mut self, index: usize, now: Moment) {
        if self.units[index].is_failed() {
            self.set_state(index, UnitState::Inactive, now);
        }
    }

    fn set_state(&mut self, index: usize, state: UnitState, now: Moment) {
        let unit = &mut self.units[index];
        (unit.state, unit.since) = (state, now);
    }

    /// Ends the process `pid`; its unit fails if the process is killed `by_force`, else it stops.
    pub(crate) fn kill(&mut self, pid: u32, by_force: bool, now: Moment) {
        let unit = self.processes.remove(pid).and_then(|process| process.unit);
        let Some(index) = unit.and_then(|name| self.unit(&name)) else {
            return;
        };
        if by_force {
            self.fail(index, Failure::Signal, now);
            return;
        }
        let file = &self.units[index].file;
        let message = format!("Stopped {} - {}.", file.name, file.description);
        self.journal.systemd(now, &file.name, 6, message);
        self.set_state(index, UnitState::Inactive, now);
    }

    fn fail(&mut self, index: usize, failure: Failure, now: Moment) {
        self.set_state(index, UnitState::Failed(failure), now);
        let name = &self.units[index].file.name;
        let exit = format!("{name}: Main process exited, {}", failure.exit());
        let result = format!("{name}: Failed with result '{}'.", failure.result());
        self.journal.systemd(now, name, 5, exit);
        self.journal.systemd(now, name, 4, result);
    }

    /// Lets the OOM killer act while memory is exhausted.
    pub(crate) fn settle(&mut self, now: Moment) {
        while Memory::is_exhausted(self.processes.resident(now)) {
            let victim = self.processes.victim(now);
            let Some(process) = victim.and_then(|pid| self.processes.remove(pid)) else {
                return;
            };
            self.log_oom_kill(&process, now);
        }
    }

    fn log_oom_kill(&mut self, process: &Process, now: Moment) {
        let (pid, name, kib) = (process.pid, process.name(), process.resident(now) >> 10);
        let unit = process.unit.as_deref().unwrap_or("init.scope");
        self.journal.kernel(now, 4, format!("{name} invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0"));
        self.journal.kernel(now, 6, format!("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/system.slice/{unit},task={name},pid={pid},uid=998"));
        self.journal.kernel(now, 3, format!("Out of memory: Killed process {pid} ({name}) total-vm:{}kB, anon-rss:{kib}kB, file-rss:0kB, shmem-rss:0kB, UID:998 pgtables:1240kB oom_score_adj:0", kib + 210_000));
        if let Some(index) = self.unit(unit) {
            let message =
                format!("{unit}: A process of this unit has been killed by the OOM killer.");
            self.journal.systemd(now, unit, 5, message);
            self.fail(index, Failure::OomKill, now);
        }
    }

    pub(crate) fn memory(&self, now: Moment) -> Memory {
        Memory::with_resident(self.processes.resident(now))
    }

    /// The load average in hundredths: running processes and those that wait for memory.
    pub(crate) fn load(&self, now: Moment) -> u32 {
        let busy: u32 = self.processes.all().iter().map(|process| process.cpu).sum();
        6 + busy / 10 + self.memory(now).pressure() * 11
    }
}

const BOOT_LINES: [&str; 6] = [
    "Linux version 6.1.0-28-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1",
    "Command line: BOOT_IMAGE=/boot/vmlinuz-6.1.0-28-cloud-amd64 root=/dev/vda1 ro console=tty0 console=ttyS0,115200",
    "Memory: 4007340K/4193784K available (14342K kernel code, 2331K rwdata, 9072K rodata)",
    "virtio_blk virtio1: [vda] 83886080 512-byte logical blocks (42.9 GB/40.0 GiB)",
    "EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none.",
    "Adding 1048572k swap on /swapfile.  Priority:-2 extents:1 across:1048572k",
];
