use std::time::Duration;

/// How long and how much: every wait and every buffer of the gate ends at one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A command that only asks (`qm status`, `qm config`, a question to the monitor).
    pub ask: Duration,
    /// One `stop` of the driver. Proxmox needs 140 s at worst to get from `quit` to SIGKILL.
    pub stop: Duration,
    /// One `start` of the driver. Proxmox allows 30 s, or a second for each GiB of memory.
    pub start: Duration,
    /// How long the evidence may take to show what a command said it had done.
    pub settle: Duration,
    /// Pause between two looks while waiting for that.
    pub poll: Duration,
    /// Between the two samples of the guest's disk counters, which tell a stall from a pause.
    pub sample_gap: Duration,
    /// Forensics bundles kept; the oldest go first.
    pub keep_bundles: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            ask: Duration::from_secs(10),
            stop: Duration::from_secs(160),
            start: Duration::from_secs(120),
            settle: Duration::from_secs(20),
            poll: Duration::from_millis(200),
            sample_gap: Duration::from_secs(2),
            keep_bundles: 100,
        }
    }
}
