//! Reads the gate's `vitals`: one line of JSON from another machine, of which nothing is certain.

use breakglass_model::{Machine, visible};
use serde_json::Value;

/// Longest text that is kept of one field, in characters.
const TEXT: usize = 200;
/// Most staged settings, and most notes, that are kept.
const ENTRIES: usize = 12;

/// What one look at the machine gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Look {
    pub(crate) machine: Machine,
    pub(crate) counter: Option<Counter>,
    /// The gate could not tell whether high availability manages the guest. A gate that does not know
    /// the question is silent about it.
    pub(crate) ha_unknown: bool,
}

/// How much one QEMU process has written. Two that are equal prove that nothing was written between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counter {
    pid: u64,
    /// When that process began, in the host's own count.
    started: u64,
    writes: u64,
}

/// What `line` says; none where it is no JSON object. A field that is not what it should be is
/// missing.
pub(crate) fn read(line: &str) -> Option<Look> {
    let said: Value = serde_json::from_str(line).ok().filter(Value::is_object)?;
    let number = |path: &str| said.pointer(path).and_then(Value::as_u64);
    let words = |path: &str| said.pointer(path).and_then(text);
    let percent = |of: &str| said.pointer(&format!("/host_{of}_pressure/some"))?.as_f64();
    let counter = || {
        Some(Counter {
            pid: number("/qemu/pid")?,
            started: number("/qemu/started")?,
            writes: number("/disk/writes")?,
        })
    };
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
        lock: words("/lock/kind").map(|kind| match words("/lock/holder") {
            Some(holder) => format!("{kind} ({holder})"),
            None => kind,
        }),
        ha_managed: said.get("ha_managed").and_then(Value::as_bool),
        elsewhere: words("/elsewhere"),
        no_way_back: words("/no_way_back"),
        job: words("/job"),
        frozen: said.get("frozen").and_then(Value::as_bool),
        staged: list(said.get("staged")),
        notes: list(said.get("notes")),
    };
    Some(Look {
        machine,
        counter: counter(),
        ha_unknown: said.get("ha_managed").is_some_and(Value::is_null),
    })
}

fn text(value: &Value) -> Option<String> {
    let words = visible(value.as_str()?).replace(['\n', '\t'], " ");
    let mut letters = words.chars();
    let mut kept: String = letters.by_ref().take(TEXT).collect();
    if letters.next().is_some() {
        kept.push('…');
    }
    Some(kept)
}

fn list(value: Option<&Value>) -> Vec<String> {
    let entries = value.and_then(Value::as_array);
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    let mut kept: Vec<String> = entries.iter().take(ENTRIES).filter_map(text).collect();
    if entries.len() > ENTRIES {
        kept.push(format!("… ({} more)", entries.len() - ENTRIES));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gate_measured_is_read_field_by_field() {
        let look = read(
            r#"{"run_state":"running","monitor_error":null,"monitor_ms":3,"uptime_s":7200,"cpu_percent":97,
            "qemu":{"pid":4711,"started":99,"state":"S"},
            "lock":{"kind":"backup","holder":"task 12"},"ha_managed":false,"notes":[],
            "staged":["memory: 8192"],"host_cpu_pressure":null,
            "host_io_pressure":{"some":1.5,"full":0.5},"host_memory_pressure":{"some":0.0},
            "disk":{"writes_per_s":7,"bytes_written_per_s":4096,"reads_per_s":1,
                    "bytes_read_per_s":512,"sampled_ms":1000,"writes":4242},
            "verdict":"locked (backup)","something_new":[1]}"#,
        );
        let Look {
            machine, counter, ..
        } = look.unwrap();
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
        assert_eq!(counter.unwrap().writes, 4242);
    }

    #[test]
    fn a_field_of_another_kind_is_missing_and_costs_no_other() {
        let look = read(
            r#"{"run_state":7,"monitor_ms":"soon","qemu":[],"uptime_s":-1,"disk":{"writes_per_s":0},
            "host_io_pressure":{"some":"much"},"staged":"all","ha_managed":true}"#,
        );
        let Look {
            machine,
            counter,
            ha_unknown,
        } = look.unwrap();
        assert!(!ha_unknown);
        let rest = Machine {
            writes_per_s: Some(0),
            ha_managed: Some(true),
            ..Machine::default()
        };
        assert_eq!(machine, rest);
        assert_eq!(counter, None);
        for other in ["", "verdict: running", "[]", "7", "{\"run_state\":"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn what_forbids_a_verb_is_read_and_null_is_not_the_same_as_unsaid() {
        let look = read(
            r#"{"elsewhere":"pve2","no_way_back":"There is no quorum.","frozen":true,
            "job":"vzdump of root@pam, process 4711, since 03:00","ha_managed":null}"#,
        );
        let Look {
            machine,
            ha_unknown,
            ..
        } = look.unwrap();
        assert_eq!(machine.elsewhere.as_deref(), Some("pve2"));
        assert_eq!(machine.no_way_back.as_deref(), Some("There is no quorum."));
        assert!(machine.job.unwrap().starts_with("vzdump"));
        assert_eq!((machine.frozen, machine.ha_managed), (Some(true), None));
        assert!(ha_unknown);
        let nulls = r#"{"elsewhere":null,"no_way_back":null,"frozen":null,"job":null}"#;
        assert_eq!(read(nulls), Some(Look::default()));
    }

    #[test]
    fn hostile_text_becomes_visible_and_has_bounds() {
        let said = serde_json::json!({
            "run_state": "run\u{1b}[2J\u{202e}ning\nverdict: running",
            "monitor_error": "x".repeat(5_000),
            "staged": vec!["a: b"; 40],
        });
        let Look { machine, .. } = read(&said.to_string()).unwrap();
        let state = machine.run_state.unwrap();
        assert!(!state.contains(['\u{1b}', '\u{202e}', '\n']), "{state:?}");
        assert_eq!(machine.monitor_error.unwrap().chars().count(), TEXT + 1);
        assert_eq!(machine.staged.len(), ENTRIES + 1);
        assert_eq!(machine.staged.last().unwrap(), "… (28 more)");
    }
}
