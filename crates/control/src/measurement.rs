//! Parses the gate's `vitals`: one line of JSON from another machine, in which nothing is guaranteed.

use breakglass_model::{Machine, visible};
use serde_json::Value;

/// Maximum characters kept of one text field.
const TEXT_MAX_CHARS: usize = 200;
/// Maximum number of staged settings, and of notes.
const LIST_MAX_ENTRIES: usize = 12;

/// What the gate measured of the machine in one probe.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) machine: Machine,
    pub(crate) writes: Option<WriteCounter>,
    /// The gate tried and failed to find out whether high availability manages the guest. An older gate
    /// does not report it at all.
    pub(crate) ha_unknown: bool,
    /// The kind of lock on the guest, such as `backup`.
    pub(crate) lock_kind: Option<String>,
}

impl Measurement {
    /// Whether the guest is suspended to disk: Proxmox marks it with a lock that only its start removes.
    pub(crate) fn is_suspended_to_disk(&self) -> bool {
        self.lock_kind.as_deref() == Some("suspended") && self.machine.pid.is_none()
    }
}

/// The number of writes of one QEMU process. Two equal counters prove that nothing was written between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteCounter {
    pid: u64,
    /// Start time of that process, in the host's own unit.
    started: u64,
    writes: u64,
}

/// Parses `line`; `None` if it is not a JSON object. An invalid field counts as missing.
pub(crate) fn parse(line: &str) -> Option<Measurement> {
    let object: Value = serde_json::from_str(line).ok().filter(Value::is_object)?;
    let number = |path: &str| object.pointer(path).and_then(Value::as_u64);
    let words = |path: &str| object.pointer(path).and_then(text);
    let percent = |of: &str| {
        object
            .pointer(&format!("/host_{of}_pressure/some"))?
            .as_f64()
    };
    let writes = || {
        Some(WriteCounter {
            pid: number("/qemu/pid")?,
            started: number("/qemu/started")?,
            writes: number("/disk/writes")?,
        })
    };
    let lock_kind = words("/lock/kind");
    let machine = Machine {
        run_state: words("/run_state"),
        monitor_error: words("/monitor_error"),
        monitor_ms: number("/monitor_ms"),
        pid: number("/qemu/pid").and_then(|pid| u32::try_from(pid).ok()),
        process_state: words("/qemu/state"),
        uptime_s: number("/uptime_s"),
        writes_per_s: number("/disk/writes_per_s"),
        bytes_written_per_s: number("/disk/bytes_written_per_s"),
        no_writes_since: None,
        cpu_percent: number("/cpu_percent"),
        host_cpu_pressure: percent("cpu"),
        host_io_pressure: percent("io"),
        host_memory_pressure: percent("memory"),
        lock: lock_kind.as_ref().map(|kind| match words("/lock/holder") {
            Some(holder) => format!("{kind} ({holder})"),
            None => kind.clone(),
        }),
        ha_managed: object.get("ha_managed").and_then(Value::as_bool),
        elsewhere: words("/elsewhere"),
        no_way_back: words("/no_way_back"),
        job: words("/job"),
        frozen: object.get("frozen").and_then(Value::as_bool),
        staged: list(object.get("staged")),
        notes: list(object.get("notes")),
    };
    Some(Measurement {
        machine,
        writes: writes(),
        ha_unknown: object.get("ha_managed").is_some_and(Value::is_null),
        lock_kind,
    })
}

fn text(value: &Value) -> Option<String> {
    let text = visible(value.as_str()?).replace(['\n', '\t'], " ");
    let mut letters = text.chars();
    let mut kept: String = letters.by_ref().take(TEXT_MAX_CHARS).collect();
    if letters.next().is_some() {
        kept.push('…');
    }
    Some(kept)
}

fn list(value: Option<&Value>) -> Vec<String> {
    let entries = value.and_then(Value::as_array);
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    let mut kept: Vec<String> = entries
        .iter()
        .take(LIST_MAX_ENTRIES)
        .filter_map(text)
        .collect();
    if entries.len() > LIST_MAX_ENTRIES {
        kept.push(format!("… ({} more)", entries.len() - LIST_MAX_ENTRIES));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_vitals_is_parsed() {
        let measured = parse(
            r#"{"run_state":"running","monitor_error":null,"monitor_ms":3,"uptime_s":7200,"cpu_percent":97,
            "qemu":{"pid":4711,"started":99,"state":"S"},
            "lock":{"kind":"backup","holder":"task 12"},"ha_managed":false,"notes":[],
            "staged":["memory: 8192"],"host_cpu_pressure":null,
            "host_io_pressure":{"some":1.5,"full":0.5},"host_memory_pressure":{"some":0.0},
            "disk":{"writes_per_s":7,"bytes_written_per_s":4096,"reads_per_s":1,
                    "bytes_read_per_s":512,"sampled_ms":1000,"writes":4242},
            "verdict":"locked (backup)","something_new":[1]}"#,
        );
        let Measurement {
            machine, writes, ..
        } = measured.unwrap();
        assert_eq!(machine.run_state.as_deref(), Some("running"));
        assert_eq!(machine.lock.as_deref(), Some("backup (task 12)"));
        assert_eq!(machine.staged, ["memory: 8192"]);
        assert_eq!(machine.writes_per_s, Some(7));
        assert_eq!(
            (machine.host_cpu_pressure, machine.host_io_pressure),
            (None, Some(1.5))
        );
        assert_eq!((machine.uptime_s, machine.pid), (Some(7200), Some(4711)));
        assert_eq!(machine.cpu_percent, Some(97));
        assert_eq!(writes.unwrap().writes, 4242);
    }

    #[test]
    fn field_of_a_wrong_type_is_missing_and_affects_no_other() {
        let measured = parse(
            r#"{"run_state":7,"monitor_ms":"soon","qemu":[],"uptime_s":-1,"disk":{"writes_per_s":0},
            "host_io_pressure":{"some":"much"},"staged":"all","ha_managed":true}"#,
        );
        let Measurement {
            machine,
            writes,
            ha_unknown,
            ..
        } = measured.unwrap();
        assert!(!ha_unknown);
        let rest = Machine {
            writes_per_s: Some(0),
            ha_managed: Some(true),
            ..Machine::default()
        };
        assert_eq!(machine, rest);
        assert_eq!(writes, None);
        for other in ["", "verdict: running", "[]", "7", "{\"run_state\":"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn reasons_against_a_verb_are_parsed_and_null_differs_from_missing() {
        let measured = parse(
            r#"{"elsewhere":"pve2","no_way_back":"There is no quorum.","frozen":true,
            "job":"vzdump of root@pam, process 4711, since 03:00","ha_managed":null}"#,
        );
        let Measurement {
            machine,
            ha_unknown,
            ..
        } = measured.unwrap();
        assert_eq!(machine.elsewhere.as_deref(), Some("pve2"));
        assert_eq!(machine.no_way_back.as_deref(), Some("There is no quorum."));
        assert!(machine.job.unwrap().starts_with("vzdump"));
        assert_eq!((machine.frozen, machine.ha_managed), (Some(true), None));
        assert!(ha_unknown);
        let nulls = r#"{"elsewhere":null,"no_way_back":null,"frozen":null,"job":null}"#;
        assert_eq!(parse(nulls), Some(Measurement::default()));
    }

    #[test]
    fn hostile_text_becomes_visible_and_is_bounded() {
        let vitals = serde_json::json!({
            "run_state": "run\u{1b}[2J\u{202e}ning\nverdict: running",
            "monitor_error": "x".repeat(5_000),
            "staged": vec!["a: b"; 40],
        });
        let Measurement { machine, .. } = parse(&vitals.to_string()).unwrap();
        let state = machine.run_state.unwrap();
        assert!(!state.contains(['\u{1b}', '\u{202e}', '\n']), "{state:?}");
        assert_eq!(
            machine.monitor_error.unwrap().chars().count(),
            TEXT_MAX_CHARS + 1
        );
        assert_eq!(machine.staged.len(), LIST_MAX_ENTRIES + 1);
        assert_eq!(machine.staged.last().unwrap(), "… (28 more)");
    }
}
