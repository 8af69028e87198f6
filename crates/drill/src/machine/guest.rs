//! What runs inside the guest: disk, processes, units and journal as one state.
//!
//! Units own processes, processes hold memory, starting needs room on the disk: so a repair works
//! when, and only when, it takes the cause away.

use std::time::Duration;

use super::clock::Moment;
use super::disk::Disk;
use super::journal::Journal;
use super::memory::Memory;
use super::process::{Process, Processes};
use super::unit::{Failure, Unit, UnitFile, UnitState};

/// The guest's inside.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) disk: Disk,
    pub(crate) processes: Processes,
    pub(crate) units: Vec<Unit>,
    pub(crate) journal: Journal,
    /// When the running kernel took over.
    pub(crate) booted: Moment,
}

/// A unit did not start; systemd has the reason in its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartFailed;

impl Guest {
    /// A guest that has booted at `booted` from `disk`, with every service of `files` started.
    pub(crate) fn boot(
        disk: Disk,
        files: Vec<UnitFile>,
        journal: Journal,
        booted: Moment,
    ) -> Guest {
        let units = files
            .into_iter()
            .map(|file| Unit {
                file,
                state: UnitState::Inactive { since: booted },
            })
            .collect();
        let mut guest = Guest {
            disk,
            processes: Processes::booted(booted),
            units,
            journal,
            booted,
        };
        guest.journal.boot(booted);
        guest.empty_tmp();
        for line in BOOT_LINES {
            guest.journal.kernel(booted, 6, line);
        }
        guest.start_all(booted.plus(Duration::from_secs(2)));
        guest
    }

    /// The same guest after a fresh boot: memory and processes are new, the disk is as it was.
    pub(crate) fn rebooted(&mut self, booted: Moment) {
        let files = self.units.drain(..).map(|unit| unit.file).collect();
        let disk = self.disk.clone();
        let journal = std::mem::take(&mut self.journal);
        *self = Guest::boot(disk, files, journal, booted);
    }

    fn start_all(&mut self, at: Moment) {
        for index in 0..self.units.len() {
            // A service that can't start at boot is failed, and the journal says why.
            let _ = self.start(index, at);
        }
    }

    fn empty_tmp(&mut self) {
        let names: Vec<String> = self
            .disk
            .children("/tmp")
            .iter()
            .map(|(n, _)| format!("/tmp/{n}"))
            .collect();
        for name in names {
            let _ = self.disk.remove(&name, "root");
        }
    }

    /// The index of the unit called `name`, with or without `.service`.
    pub(crate) fn unit(&self, name: &str) -> Option<usize> {
        let name = name.trim_end_matches(".service");
        self.units.iter().position(|unit| unit.identifier() == name)
    }

    pub(crate) fn is_active(&self, name: &str) -> bool {
        self.unit(name)
            .is_some_and(|index| self.units[index].is_active())
    }

    /// Starts a unit, if what it needs is there.
    pub(crate) fn start(&mut self, index: usize, now: Moment) -> Result<(), StartFailed> {
        if self.units[index].is_active() {
            return Ok(());
        }
        let file = self.units[index].file.clone();
        self.journal.systemd(
            now,
            file.name,
            6,
            &format!("Starting {} - {}...", file.name, file.description),
        );
        let pid = self.processes.spawn(
            file.command,
            file.user,
            Some(file.name),
            now,
            file.footprint,
        );
        if let Some(process) = self.processes.get_mut(pid) {
            process.cpu = file.cpu;
        }
        self.units[index].state = UnitState::Active { pid, since: now };
        if file.needs_disk > self.disk.free() {
            self.refuse_for_disk(index, pid, now);
        }
        self.settle(now);
        if !self.units[index].is_active() {
            return Err(StartFailed);
        }
        self.journal.systemd(
            now,
            file.name,
            6,
            &format!("Started {} - {}.", file.name, file.description),
        );
        Ok(())
    }

    fn refuse_for_disk(&mut self, index: usize, pid: u32, now: Moment) {
        let unit = &self.units[index];
        let (name, word) = (unit.file.name, unit.identifier());
        let message =
            format!("FATAL: can't write /var/lib/{word}/{word}.lock: No space left on device");
        self.journal.service(now, name, pid, &message);
        self.processes.remove(pid);
        self.fail(index, pid, Failure::ExitCode, now);
    }

    /// Stops a unit; one that does not run stays as it is, but is no longer failed.
    pub(crate) fn stop(&mut self, index: usize, now: Moment) {
        let unit = &mut self.units[index];
        let (name, description) = (unit.file.name, unit.file.description);
        if let UnitState::Active { pid, .. } = unit.state {
            self.processes.remove(pid);
            self.journal
                .systemd(now, name, 6, &format!("Stopped {name} - {description}."));
            self.units[index].state = UnitState::Inactive { since: now };
        }
    }

    /// Forgets that a unit failed.
    pub(crate) fn reset_failed(&mut self, index: usize, now: Moment) {
        if self.units[index].is_failed() {
            self.units[index].state = UnitState::Inactive { since: now };
        }
    }

    /// Ends the process `pid`, by force or politely, and tells its unit.
    pub(crate) fn kill(&mut self, pid: u32, by_force: bool, now: Moment) -> Option<Process> {
        let process = self.processes.remove(pid)?;
        if let Some(index) = process.unit.and_then(|name| self.unit(name)) {
            if by_force {
                self.fail(index, pid, Failure::Signal, now);
            } else {
                let (name, description) = (
                    self.units[index].file.name,
                    self.units[index].file.description,
                );
                self.units[index].state = UnitState::Inactive { since: now };
                self.journal
                    .systemd(now, name, 6, &format!("Stopped {name} - {description}."));
            }
        }
        Some(process)
    }

    fn fail(&mut self, index: usize, pid: u32, why: Failure, now: Moment) {
        let name = self.units[index].file.name;
        self.units[index].state = UnitState::Failed {
            pid,
            since: now,
            why,
        };
        let exit = why.exit();
        self.journal.systemd(
            now,
            name,
            5,
            &format!("{name}: Main process exited, {exit}"),
        );
        self.journal.systemd(
            now,
            name,
            4,
            &format!("{name}: Failed with result '{}'.", why.result()),
        );
    }

    /// Lets the kernel do what time has made due: kill while memory is exhausted.
    pub(crate) fn settle(&mut self, now: Moment) {
        while Memory::exhausted(self.processes.resident(now)) {
            let Some(pid) = self.processes.victim(now) else {
                return;
            };
            self.kill_for_memory(pid, now);
        }
    }

    fn kill_for_memory(&mut self, pid: u32, now: Moment) {
        let Some(process) = self.processes.remove(pid) else {
            return;
        };
        let (name, kib) = (process.name().to_owned(), process.resident(now) >> 10);
        let unit = process.unit.unwrap_or("init.scope");
        self.journal.kernel(now, 4, &format!("{name} invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0"));
        self.journal.kernel(now, 6, &format!("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/system.slice/{unit},task={name},pid={pid},uid=998"));
        self.journal.kernel(now, 3, &format!("Out of memory: Killed process {pid} ({name}) total-vm:{}kB, anon-rss:{kib}kB, file-rss:0kB, shmem-rss:0kB, UID:998 pgtables:1240kB oom_score_adj:0", kib + 210_000));
        if let Some(index) = process.unit.and_then(|name| self.unit(name)) {
            self.journal.systemd(
                now,
                unit,
                5,
                &format!("{unit}: A process of this unit has been killed by the OOM killer."),
            );
            self.fail(index, pid, Failure::OomKill, now);
        }
    }

    pub(crate) fn memory(&self, now: Moment) -> Memory {
        Memory::account(self.processes.resident(now))
    }

    /// Load average in hundredths: what runs, and what waits for memory.
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
