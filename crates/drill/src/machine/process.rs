//! The guest's process table, and the memory of each process over time.

use serde::Deserialize;

use super::clock::Moment;

/// A process in the guest.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    pub(crate) user: String,
    pub(crate) command: String,
    /// The service that it belongs to.
    pub(crate) unit: Option<String>,
    pub(crate) started: Moment,
    /// Tenths of a percent of one processor.
    pub(crate) cpu: u32,
    pub(crate) memory: Footprint,
}

/// The memory of a process over time.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Footprint {
    /// At the start of the process.
    pub(crate) mebibytes: u64,
    /// Leaked per second.
    #[serde(default)]
    pub(crate) leak_mebibytes: u64,
    /// The leak ends here.
    #[serde(default)]
    pub(crate) leak_max_mebibytes: u64,
    /// Whether the OOM killer ignores the process (`OOMScoreAdjust=-1000`).
    #[serde(default)]
    pub(crate) spared: bool,
}

impl Process {
    /// Bytes resident at `now`.
    pub(crate) fn resident(&self, now: Moment) -> u64 {
        let memory = &self.memory;
        let leaked = memory
            .leak_mebibytes
            .saturating_mul(now.since(self.started).as_secs());
        (memory.mebibytes + leaked.min(memory.leak_max_mebibytes)) << 20
    }

    /// The name that the kernel knows: the last component of the program's path, at most 15 bytes.
    pub(crate) fn name(&self) -> &str {
        let program = self.command.split(' ').next().unwrap_or_default();
        let path = program.trim_end_matches(':');
        super::content::cut(path.rsplit('/').next().unwrap_or_default(), 15)
    }

    pub(crate) fn is_kernel_thread(&self) -> bool {
        self.command.starts_with('[')
    }
}

/// The process table.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    list: Vec<Process>,
    next_pid: u32,
}

impl Processes {
    /// Init and the kernel's threads.
    pub(crate) fn booted(now: Moment) -> Processes {
        let kernel = [
            (1, 0, "/sbin/init", 12),
            (2, 0, "[kthreadd]", 0),
            (3, 2, "[kworker/0:1-events]", 0),
            (4, 2, "[jbd2/vda1-8]", 0),
        ];
        let list = kernel.map(|(pid, ppid, command, mebibytes)| Process {
            pid,
            ppid,
            user: "root".to_owned(),
            command: command.to_owned(),
            unit: None,
            started: now,
            cpu: 0,
            memory: Footprint {
                mebibytes,
                ..Footprint::default()
            },
        });
        Processes {
            list: list.into(),
            next_pid: 317,
        }
    }

    /// Adds `process` with the next free PID, which it returns.
    pub(crate) fn spawn(&mut self, process: Process) -> u32 {
        let pid = self.next_pid;
        self.next_pid += 7;
        self.list.push(Process { pid, ..process });
        pid
    }

    pub(crate) fn all(&self) -> &[Process] {
        &self.list
    }

    pub(crate) fn get(&self, pid: u32) -> Option<&Process> {
        self.list.iter().find(|process| process.pid == pid)
    }

    pub(crate) fn remove(&mut self, pid: u32) -> Option<Process> {
        let at = self.list.iter().position(|process| process.pid == pid)?;
        Some(self.list.remove(at))
    }

    /// Resident bytes of all processes.
    pub(crate) fn resident(&self, now: Moment) -> u64 {
        self.list.iter().map(|process| process.resident(now)).sum()
    }

    /// The process that the OOM killer chooses: the largest that is not spared.
    pub(crate) fn victim(&self, now: Moment) -> Option<u32> {
        let killable = self
            .list
            .iter()
            .filter(|process| process.pid > 4 && !process.memory.spared);
        let victim = killable.max_by_key(|process| process.resident(now));
        victim.map(|process| process.pid)
    }
}
