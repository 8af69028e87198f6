//! What the host's gate measures of a guest's machine, besides its verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::time::Time;

/// A machine at the last probe. What could not be measured is missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(default)]
#[ts(export, optional_fields)]
pub struct Machine {
    /// QEMU's run state: `running`, `paused`, `io-error`, `guest-panicked`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_state: Option<String>,
    /// Why QEMU's monitor did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor_error: Option<String>,
    /// How long the monitor took to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub monitor_ms: Option<u64>,
    /// The QEMU process's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The QEMU process's state, one letter as in `ps`: `D` can't be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_state: Option<String>,
    /// How long the QEMU process has been running.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub uptime_s: Option<u64>,
    /// Current write operations per second on all the guest's disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub writes_per_s: Option<u64>,
    /// Bytes per second written to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub bytes_written_per_s: Option<u64>,
    /// Since when no disk has completed a write. Missing if one did between the last two probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_writes_since: Option<Time>,
    /// Processor time of the QEMU process, in percent of one processor: the average since `no_writes_since`, or of
    /// the last probe if that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub cpu_percent: Option<u64>,
    /// The share of the last ten seconds, in percent, in which something on the host waited for a
    /// processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_cpu_pressure: Option<f64>,
    /// The same for its disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_io_pressure: Option<f64>,
    /// The same for its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_memory_pressure: Option<f64>,
    /// The lock that forbids changes, and its holder: `backup (task 4711)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// Whether high availability manages the guest, so that start and stop are only requests; missing if
    /// unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ha_managed: Option<bool>,
    /// The host that runs the guest, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
    /// Why the guest could not be started again after a stop: a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_way_back: Option<String>,
    /// The job that is working on the guest: `vzdump of root@pam, process 4711, since …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Whether its file systems are frozen, as a backup does for its snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
    /// Configuration that a cycle would apply, one `key: value` each.
    pub staged: Vec<String>,
    /// What the gate could not find out, and why.
    pub notes: Vec<String>,
}
