//! What the host's gate measures of a guest's machine, beyond its verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A machine as it was at the last look. What could not be told is missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(default)]
#[ts(export, optional_fields)]
pub struct Machine {
    /// In QEMU's own word: `running`, `paused`, `io-error`, `guest-panicked`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_state: Option<String>,
    /// Why QEMU's monitor did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor_error: Option<String>,
    /// How long the monitor took to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub monitor_ms: Option<u64>,
    /// The QEMU process's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The QEMU process's state, one letter as in `ps`: `D` can't be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_state: Option<String>,
    /// How long the QEMU process has been running.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub uptime_s: Option<u64>,
    /// Write operations per second of all the guest's disks, just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub writes_per_s: Option<u64>,
    /// Bytes per second that they wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub bytes_written_per_s: Option<u64>,
    /// Since when no disk has completed a single write; RFC 3339. Missing where one did between the
    /// last two looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_writes_since: Option<String>,
    /// Processor time that the QEMU process takes, in percent of one processor: on average over the
    /// looks since `no_writes_since`, and where that is missing, at the last look.
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
    /// What forbids changes, and who holds it: `backup (task 4711)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// Whether high availability manages the guest, so that a start or a stop is a request; missing where
    /// it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ha_managed: Option<bool>,
    /// The host that has the guest, where it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
    /// Why the guest could not be started again, if it were ended: a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_way_back: Option<String>,
    /// What works on the guest: `vzdump of root@pam, process 4711, since …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Whether its file systems are frozen, as a backup does for its snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
    /// Configuration that a cycle would apply, one `key: value` each.
    pub staged: Vec<String>,
    /// What the gate could not ask, and why.
    pub notes: Vec<String>,
}
