//! What the evidence says, by rule: no model, no guessing.

use std::time::Duration;

use breakglass_journal::{EventBody, SignsFinding, Vital, VitalState, Vitals, clock};
use breakglass_verbs::Verb;
use jiff::Timestamp;

/// How long a guest must have been silent before its silence means something.
const SILENCE: u64 = 20;
/// How long a machine must have been off: a cycle passes through it.
const OFF: u64 = 15;
/// How long a guest is given to come up after a mutating verb.
const BOOT: Duration = Duration::from_secs(90);

/// One conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The rule's name.
    pub(crate) signature: &'static str,
    pub(crate) summary: String,
    pub(crate) evidence: Vec<String>,
    pub(crate) recommend: Option<Verb>,
}

impl Finding {
    /// As an event; `check` is the one that found it, none where the vital signs say it.
    pub(crate) fn body(self, check: Option<&str>) -> EventBody {
        EventBody::Finding {
            check: check.map(str::to_owned),
            signature: self.signature.to_owned(),
            summary: self.summary,
            evidence: self.evidence,
            recommend: self.recommend.map(|verb| verb.to_string()),
        }
    }

    /// As part of the vital signs that say it.
    pub(crate) fn of_signs(self) -> SignsFinding {
        SignsFinding {
            signature: self.signature.to_owned(),
            summary: self.summary,
            evidence: self.evidence,
            recommend: self.recommend.map(|verb| verb.to_string()),
        }
    }
}

/// What the vital signs say together. `since_change`: how long ago a mutating verb ended.
pub(crate) fn of_vitals(
    vitals: &Vitals,
    since_change: Option<Duration>,
    now: Timestamp,
) -> Option<Finding> {
    if since_change.is_some_and(|ago| ago < BOOT) {
        return None;
    }
    let evidence = vec![
        format!("guest SSH: {}", vitals.ssh.text),
        format!("VM: {}", vitals.vm.text),
    ];
    let dead_for = |vital: &Vital, seconds| {
        vital.state == VitalState::Dead && clock::seconds_between(&vital.since, now) >= seconds
    };
    let silent = dead_for(&vitals.ssh, SILENCE);
    let off = dead_for(&vitals.vm, OFF);
    match vitals.vm.state {
        VitalState::Dead if off && vitals.vm.text == "stopped" => Some(Finding {
            signature: "vm-stopped",
            summary: "The machine is off: start brings it back.".to_owned(),
            evidence,
            recommend: Some(Verb::Start),
        }),
        VitalState::Good if silent => Some(Finding {
            signature: "guest-silent",
            summary: "The machine runs, but its SSH is silent: the guest is wedged or its network \
                      is gone. Cycle gives it a fresh QEMU process; forensics are taken first."
                .to_owned(),
            evidence,
            recommend: Some(Verb::Cycle),
        }),
        VitalState::Slow if vitals.vm.text.starts_with("monitor-dead") => Some(Finding {
            signature: "monitor-dead",
            summary: "QEMU runs, but its monitor is dead: reset can't help, cycle can.".to_owned(),
            evidence,
            recommend: Some(Verb::Cycle),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(ssh: VitalState, vm: VitalState, vm_text: &str, ago: i64) -> Vitals {
        let since = clock::written(now() - jiff::SignedDuration::from_secs(ago));
        let vital = |state, text: &str| Vital {
            state,
            text: text.into(),
            since: since.clone(),
            seen: since.clone(),
        };
        Vitals {
            target: "devvm".into(),
            ssh: vital(ssh, "no answer"),
            vm: vital(vm, vm_text),
            finding: None,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_764_000_000).unwrap()
    }

    #[test]
    fn each_rule_fires_on_its_own_evidence_and_on_nothing_less() {
        use VitalState::{Dead, Good, Slow, Unknown};
        let rows = [
            (
                Dead,
                Good,
                "running",
                30,
                Some(("guest-silent", Verb::Cycle)),
            ),
            (Dead, Good, "running", 10, None),
            (Good, Good, "running", 30, None),
            (Dead, Unknown, "host unreachable", 30, None),
            (Dead, Dead, "stopped", 20, Some(("vm-stopped", Verb::Start))),
            (Dead, Dead, "stopped", 5, None),
            (Dead, Dead, "unkillable (D state)", 30, None),
            (
                Dead,
                Slow,
                "monitor-dead",
                30,
                Some(("monitor-dead", Verb::Cycle)),
            ),
            (Dead, Slow, "locked (backup)", 30, None),
        ];
        for (ssh, vm, text, ago, expected) in rows {
            let found = of_vitals(&vitals(ssh, vm, text, ago), None, now());
            let found = found.map(|finding| (finding.signature, finding.recommend.unwrap()));
            assert_eq!(found, expected, "{ssh:?} {vm:?} {text} {ago}");
        }
    }

    #[test]
    fn a_guest_that_was_just_cycled_is_given_time_to_come_up() {
        let silent = vitals(VitalState::Dead, VitalState::Good, "running", 60);
        assert_eq!(
            of_vitals(&silent, Some(Duration::from_secs(30)), now()),
            None
        );
        assert!(of_vitals(&silent, Some(Duration::from_secs(120)), now()).is_some());
    }
}
