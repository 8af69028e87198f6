use super::clock::Moment;

/// A process in the guest.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    pub(crate) user: String,
    pub(crate) command: String,
    /// The unit that systemd accounts it to.
    pub(crate) unit: Option<&'static str>,
    pub(crate) started: Moment,
    /// Tenths of a percent of one processor.
    pub(crate) cpu: u32,
    pub(crate) memory: Footprint,
}

/// How much memory a process holds as time goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    /// Bytes at its start.
    pub(crate) base: u64,
    /// Bytes a second that it never gives back.
    pub(crate) leak: u64,
    /// Bytes at most.
    pub(crate) cap: u64,
    /// Spared by the kernel's OOM killer (`OOMScoreAdjust=-1000`).
    pub(crate) spared: bool,
}

impl Footprint {
    /// So many mebibytes, for ever.
    pub(crate) const fn steady(mebibytes: u64) -> Footprint {
        let base = mebibytes << 20;
        Footprint {
            base,
            leak: 0,
            cap: base,
            spared: false,
        }
    }
}

impl Process {
    /// Bytes resident at `now`.
    pub(crate) fn resident(&self, now: Moment) -> u64 {
        let leaked = self
            .memory
            .leak
            .saturating_mul(now.since(self.started).as_secs());
        self.memory.base.saturating_add(leaked).min(self.memory.cap)
    }

    /// The name as the kernel knows it: the program's last path component, 15 bytes at most.
    pub(crate) fn name(&self) -> &str {
        let program = self.command.split(' ').next().unwrap_or_default();
        let name = program
            .trim_end_matches(':')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        super::content::cut(name, 15)
    }
}

/// The process table.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    list: Vec<Process>,
    next_pid: u32,
}

impl Processes {
    /// A table as the kernel leaves it to init: nothing else runs.
    pub(crate) fn booted(now: Moment) -> Processes {
        let mut table = Processes {
            list: Vec::new(),
            next_pid: 1,
        };
        table.spawn("/sbin/init", "root", None, now, Footprint::steady(12));
        table.spawn("[kthreadd]", "root", None, now, Footprint::steady(0));
        table.spawn(
            "[kworker/0:1-events]",
            "root",
            None,
            now,
            Footprint::steady(0),
        );
        table.spawn("[jbd2/vda1-8]", "root", None, now, Footprint::steady(0));
        table.next_pid = 317;
        table
    }

    pub(crate) fn spawn(
        &mut self,
        command: &str,
        user: &str,
        unit: Option<&'static str>,
        now: Moment,
        memory: Footprint,
    ) -> u32 {
        let pid = self.next_pid;
        self.next_pid += if pid < 10 { 1 } else { 7 };
        let ppid = match pid {
            1 | 2 => 0,
            _ if command.starts_with('[') => 2,
            _ => 1,
        };
        self.list.push(Process {
            pid,
            ppid,
            user: user.to_owned(),
            command: command.to_owned(),
            unit,
            started: now,
            cpu: 0,
            memory,
        });
        pid
    }

    pub(crate) fn all(&self) -> &[Process] {
        &self.list
    }

    pub(crate) fn get(&self, pid: u32) -> Option<&Process> {
        self.list.iter().find(|process| process.pid == pid)
    }

    pub(crate) fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.list.iter_mut().find(|process| process.pid == pid)
    }

    pub(crate) fn remove(&mut self, pid: u32) -> Option<Process> {
        let at = self.list.iter().position(|process| process.pid == pid)?;
        Some(self.list.remove(at))
    }

    /// Bytes that all of them hold.
    pub(crate) fn resident(&self, now: Moment) -> u64 {
        self.list.iter().map(|process| process.resident(now)).sum()
    }

    /// Whom the kernel kills when memory runs out: the largest that is not spared.
    pub(crate) fn victim(&self, now: Moment) -> Option<u32> {
        let killable = self.list.iter().filter(|p| p.pid > 4 && !p.memory.spared);
        killable
            .max_by_key(|process| process.resident(now))
            .map(|process| process.pid)
    }
}
