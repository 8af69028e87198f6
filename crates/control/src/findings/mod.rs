//! What the evidence says, by rule: no model, no guessing.

use std::time::Duration;

use breakglass_journal::{EventBody, SignsFinding, Vital, VitalState, Vitals, clock};
use breakglass_verbs::Verb;
use jiff::Timestamp;

/// How long a guest must have been silent before its silence means something.
const SILENCE: u64 = 20;
/// How long the disks must have stood still before a silent guest counts as stalled: an idle one
/// writes now and then.
const STALL: u64 = 60;
/// The same where the guest's processor is busy meanwhile, which no idle guest's is: a boot may not
/// write for a while.
const SPIN: u64 = 30;
/// A guest that takes less of a processor than this, in percent, rests. Waiting for a disk takes
/// next to nothing, answering who tries to log in a little.
const RESTS: u64 = 20;
/// One that takes this much is busy. A panicked Linux spins on one processor, of which a host that
/// is short of them does not give all.
const BUSY: u64 = 40;
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
    let mut evidence = vec![
        format!("guest SSH: {}", vitals.ssh.text),
        format!("VM: {}", vitals.vm.text),
    ];
    let disk = Disk::of(vitals, now);
    evidence.extend(disk.evidence());
    let processor = Processor::of(vitals);
    evidence.extend(processor.evidence());
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
        _ if has_panicked(vitals) => Some(Finding {
            signature: "guest-panicked",
            summary: "QEMU says that the guest's kernel has panicked; the screen shows why. Cycle \
                      boots it afresh; forensics are taken first."
                .to_owned(),
            evidence,
            recommend: Some(Verb::Cycle),
        }),
        VitalState::Good if silent && let Some((signature, summary)) = still(disk, processor) => {
            Some(Finding {
                signature,
                summary,
                evidence,
                recommend: Some(Verb::Cycle),
            })
        }
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

/// What it means that a silent guest whose monitor answers writes nothing: signature and summary.
///
/// A panicked kernel and a stalled disk both write nothing. The panicked one spins; a guest that
/// waits for its disk rests. Where neither is seen neither is claimed.
fn still(disk: Disk, processor: Processor) -> Option<(&'static str, String)> {
    match (disk, processor) {
        (Disk::Still(seconds @ SPIN..), Processor::Takes(percent @ BUSY..)) => Some((
            "guest-spins",
            format!(
                "Disk writes 0 for {} and the processor is busy ({percent} %), while SSH is \
                 silent: the kernel spins, as after a panic, and does not wait for a disk. The \
                 screen shows why. Cycle boots it afresh.",
                span(seconds)
            ),
        )),
        (Disk::Still(seconds @ STALL..), Processor::Takes(percent @ ..RESTS)) => Some((
            "io-stall",
            format!(
                "Disk writes 0 for {} and the processor rests ({percent} %), while the monitor \
                 answers and SSH is silent: an I/O stall; after a panic the processor would be \
                 busy. Cycle; reset will not help.",
                span(seconds)
            ),
        )),
        (Disk::Still(seconds @ STALL..), _) => Some((
            "io-stall",
            format!(
                "Disk writes 0 for {} while the monitor answers and the guest does not answer SSH: \
                 an I/O stall, unless the screen shows a panic. Cycle; reset will not help.",
                span(seconds)
            ),
        )),
        _ => None,
    }
}

/// QEMU's own word, where the guest has the device that tells it.
fn has_panicked(vitals: &Vitals) -> bool {
    let machine = vitals.machine.as_ref();
    machine.and_then(|machine| machine.run_state.as_deref()) == Some("guest-panicked")
}

/// What the guest's disks do, by what the gate measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// It can't be told.
    Unknown,
    /// They write this many times a second.
    Writes(u64),
    /// Nothing has been written for this many seconds.
    Still(u64),
}

impl Disk {
    fn of(vitals: &Vitals, now: Timestamp) -> Disk {
        let Some(machine) = &vitals.machine else {
            return Disk::Unknown;
        };
        match (&machine.no_writes_since, machine.writes_per_s) {
            (Some(since), _) => Disk::Still(clock::seconds_between(since, now)),
            (None, Some(rate)) => Disk::Writes(rate),
            (None, None) => Disk::Unknown,
        }
    }

    fn evidence(self) -> Option<String> {
        match self {
            Disk::Unknown => None,
            Disk::Writes(rate) => Some(format!("disk writes: {rate} per second")),
            Disk::Still(seconds) => Some(format!("disk writes: 0 for {}", span(seconds))),
        }
    }
}

/// What the guest's processors do, by what the gate measured of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processor {
    /// It can't be told.
    Unknown,
    /// They take this much time, in percent of one.
    Takes(u64),
}

impl Processor {
    fn of(vitals: &Vitals) -> Processor {
        let machine = vitals.machine.as_ref();
        let percent = machine.and_then(|machine| machine.cpu_percent);
        percent.map_or(Processor::Unknown, Processor::Takes)
    }

    fn evidence(self) -> Option<String> {
        match self {
            Processor::Unknown => None,
            Processor::Takes(percent) => Some(format!("processor time: {percent} % of one")),
        }
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use breakglass_journal::Machine;
    use proptest::prelude::*;

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
            machine: None,
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

    /// A guest whose disks have written nothing for `still` seconds, or write at this `rate`.
    fn measured(ssh: VitalState, vm: VitalState, still: Option<i64>, rate: Option<u64>) -> Vitals {
        let since = |ago| clock::written(now() - jiff::SignedDuration::from_secs(ago));
        let machine = Machine {
            no_writes_since: still.map(since),
            writes_per_s: rate,
            ..Machine::default()
        };
        Vitals {
            machine: Some(Box::new(machine)),
            ..vitals(ssh, vm, "running", 300)
        }
    }

    #[test]
    fn a_stall_is_claimed_only_where_nothing_was_written_for_a_minute_and_ssh_is_silent() {
        use VitalState::{Dead, Good, Unknown};
        let rows = [
            (Dead, Good, Some(60), Some(0), Some("io-stall")),
            (Dead, Good, Some(59), Some(0), Some("guest-silent")),
            // Idle at this moment only.
            (Dead, Good, None, Some(0), Some("guest-silent")),
            (Dead, Good, None, Some(12), Some("guest-silent")),
            (Dead, Good, None, None, Some("guest-silent")),
            (Good, Good, Some(600), Some(0), None),
            // The monitor does not say that the guest runs.
            (Dead, Unknown, Some(600), Some(0), None),
        ];
        for (ssh, vm, still, rate, expected) in rows {
            let found = of_vitals(&measured(ssh, vm, still, rate), None, now());
            let found = found.map(|finding| finding.signature);
            assert_eq!(found, expected, "{ssh:?} {vm:?} {still:?} {rate:?}");
        }
    }

    #[test]
    fn a_panic_and_a_stall_are_told_apart_by_the_processor_and_neither_is_guessed() {
        let rows = [
            (Some(2), 60, "io-stall", "the processor rests (2 %)"),
            (Some(2), 59, "guest-silent", ""),
            (Some(98), 30, "guest-spins", "the processor is busy (98 %)"),
            (Some(98), 29, "guest-silent", ""),
            (Some(30), 60, "io-stall", "unless the screen shows a panic"),
            (None, 60, "io-stall", "unless the screen shows a panic"),
        ];
        for (percent, still, signature, words) in rows {
            let found = of_vitals(&taking(percent, still), None, now()).unwrap();
            assert_eq!(found.signature, signature, "{percent:?} {still}");
            assert!(found.summary.contains(words), "{}", found.summary);
        }
        let found = of_vitals(&taking(Some(98), 60), None, now()).unwrap();
        let seen = "processor time: 98 % of one".to_owned();
        assert!(found.evidence.contains(&seen), "{:?}", found.evidence);
    }

    fn taking(percent: Option<u64>, still: i64) -> Vitals {
        let mut vitals = measured(VitalState::Dead, VitalState::Good, Some(still), Some(0));
        vitals.machine.as_mut().unwrap().cpu_percent = percent;
        vitals
    }

    proptest! {
        #[test]
        fn what_is_claimed_was_seen(
            percent in proptest::option::of(0u64..200), still in 0i64..300,
        ) {
            let found = of_vitals(&taking(percent, still), None, now()).unwrap();
            let spins = found.signature == "guest-spins";
            let rests = found.summary.contains("the processor rests");
            prop_assert!(!spins || (percent >= Some(BUSY) && still >= 30));
            prop_assert!(!rests || (percent.is_some() && percent < Some(RESTS) && still >= 60));
            // Whatever the processor does, somebody is told, and told what helps both.
            prop_assert_eq!(found.recommend, Some(Verb::Cycle));
        }
    }

    #[test]
    fn a_stall_says_for_how_long_and_that_reset_will_not_help() {
        let stalled = measured(VitalState::Dead, VitalState::Good, Some(190), Some(0));
        let found = of_vitals(&stalled, None, now()).unwrap();
        assert!(
            found
                .summary
                .starts_with("Disk writes 0 for 3 min while the monitor answers"),
            "{}",
            found.summary
        );
        assert!(found.summary.contains("Cycle; reset will not help."));
        assert!(
            found
                .evidence
                .contains(&"disk writes: 0 for 3 min".to_owned())
        );
        assert_eq!(found.recommend, Some(Verb::Cycle));
    }

    #[test]
    fn a_guest_that_writes_and_is_silent_shows_what_it_writes() {
        let busy = measured(VitalState::Dead, VitalState::Good, None, Some(12));
        let found = of_vitals(&busy, None, now()).unwrap();
        assert!(
            found
                .evidence
                .contains(&"disk writes: 12 per second".to_owned())
        );
    }

    #[test]
    fn a_panic_that_qemu_tells_of_is_called_one_and_no_stall() {
        let mut panicked = measured(VitalState::Dead, VitalState::Unknown, Some(600), Some(0));
        panicked.machine.as_mut().unwrap().run_state = Some("guest-panicked".to_owned());
        let found = of_vitals(&panicked, None, now()).unwrap();
        assert_eq!(found.signature, "guest-panicked");
        assert_eq!(found.recommend, Some(Verb::Cycle));
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
