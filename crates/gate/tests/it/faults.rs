//! Whatever the hypervisor does wrong, a verb ends in time, with a true verdict.

use std::time::{Duration, Instant};

use crate::support::{Host, Transcript};
use breakglass_gate::{
    Action, ClientRequest, Context, Driver, Evidence, Failure, Limits, NoHostLog, Probe, Process,
    Qemu, Retention, WayBack, serve,
};
use breakglass_verbs::{Verb, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

/// How one call to the hypervisor goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Makes the change, and reports a failure.
    Liar,
    /// Changes nothing, and reports success.
    Idle,
    /// Changes nothing, and reports a failure.
    Fails,
    /// Changes nothing, and uses the whole timeout.
    Hangs,
    /// Has a transient failure the first time.
    Transient,
}

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::{Fails, Hangs, Idle, Liar, None, Transient};
    prop::sample::select(vec![None, None, None, Liar, Idle, Fails, Hangs, Transient])
}

/// A guest on a hypervisor with the given faults.
#[derive(Debug, Clone)]
struct World {
    alive: Option<u32>,
    starts: u32,
    is_deaf: bool,
    /// Ignores SIGTERM.
    is_stubborn: bool,
    /// Hangs in the kernel: no signal ends it.
    is_stuck: bool,
    is_paused: bool,
    stop: Fault,
    start: Fault,
    reset: Fault,
    /// A second process was started beside a running one.
    is_torn: bool,
    /// Whether anything proves that the guest could be started again.
    has_way_back: bool,
    changes: Vec<Action>,
    signals: u32,
}

impl World {
    fn change(&mut self, action: Action) {
        match action {
            Action::Start => {
                self.is_torn |= self.alive.is_some();
                self.starts += 1;
                self.alive = Some(100 + self.starts);
                (self.is_deaf, self.is_paused) = (false, false);
            }
            Action::Stop if !self.is_stuck => self.alive = None,
            Action::Resume | Action::Wake => self.is_paused = false,
            Action::Stop | Action::Reset | Action::Unlock => {}
        }
    }

    fn truth(&self) -> &'static str {
        match self.alive {
            None => "stopped",
            Some(_) if self.is_deaf && self.is_stuck => "unkillable (D state)",
            Some(_) if self.is_deaf => "monitor-dead",
            Some(_) if self.is_paused => "unknown (QEMU is up, the guest is paused)",
            Some(_) => "running",
        }
    }
}

impl Driver for World {
    fn find_qemu(&mut self) -> Qemu {
        let state = if self.is_stuck { 'D' } else { 'S' };
        self.alive.map_or(Qemu::Absent, |pid| {
            Qemu::Alive(Process {
                pid,
                started: pid.into(),
                state,
            })
        })
    }

    fn query_monitor(&mut self, command: &str, _: Value, limit: Duration) -> Result<Value, String> {
        if self.is_deaf {
            std::thread::sleep(limit.min(Duration::from_millis(2)));
            return Err("no answer".to_owned());
        }
        let state = if self.is_paused { "paused" } else { "running" };
        match command {
            "query-status" => Ok(json!({ "status": state })),
            _ => Ok(json!([])),
        }
    }

    fn add_hypervisor_evidence(&mut self, evidence: &mut Evidence, _: Duration) {
        if self.has_way_back {
            evidence.way_back = WayBack::Proven("the test provides one".to_owned());
        }
    }

    fn perform(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        self.changes.push(action);
        let slot = match action {
            Action::Start => &mut self.start,
            Action::Stop => &mut self.stop,
            Action::Reset | Action::Resume | Action::Wake | Action::Unlock => &mut self.reset,
        };
        let fault = *slot;
        if fault == Fault::Transient {
            *slot = Fault::None;
        }
        if action == Action::Start && self.alive.is_some() {
            return Err("already running".to_owned().into());
        }
        if matches!(fault, Fault::None | Fault::Liar) {
            self.change(action);
        }
        match fault {
            Fault::None | Fault::Idle => Ok(String::new()),
            Fault::Hangs => {
                std::thread::sleep(limit);
                Err("no end".to_owned().into())
            }
            Fault::Liar | Fault::Fails => Err("failed".to_owned().into()),
            Fault::Transient => Err(Failure {
                transient: true,
                ..Failure::from("once more".to_owned())
            }),
        }
    }

    fn signal(&mut self, _: Process, force: bool) -> Result<(), String> {
        self.signals += 1;
        if !self.is_stuck && (force || !self.is_stubborn) {
            self.alive = None;
        }
        Ok(())
    }

    fn screenshot(&mut self, _: Duration) -> Result<Vec<u8>, String> {
        Err("no console".to_owned())
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        Vec::new()
    }

    fn read_host_file(&mut self, _: &str, _: Duration) -> Result<String, String> {
        Err("no host".to_owned())
    }

    fn host_probes(&mut self, _: Option<Process>) -> Vec<(&'static str, Probe)> {
        Vec::new()
    }
}

fn world() -> impl Strategy<Value = World> {
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.7),
    );
    (flags, fault(), fault(), fault()).prop_map(
        |((is_on, is_deaf, is_stubborn, is_paused, is_stuck, has_way_back), stop, start, reset)| {
            World {
                alive: is_on.then_some(7),
                starts: 0,
                is_deaf,
                is_stubborn,
                is_stuck,
                is_paused,
                stop,
                start,
                reset,
                is_torn: false,
                has_way_back,
                changes: Vec::new(),
                signals: 0,
            }
        },
    )
}

fn limits() -> Limits {
    let short = Duration::from_millis(8);
    Limits {
        ask: short,
        stop: short,
        terminate: short,
        start: short,
        settle: short,
        forensics: 4 * short,
        sample_gap: Duration::ZERO,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_verb_ends_in_time_with_a_true_verdict_and_at_most_one_process(
        world in world(), verb in prop::sample::select(Verb::ALL.to_vec()),
    ) {
        let (mut after, mut transcript, began) = (world.clone(), Transcript::default(), Instant::now());
        let context = Context {
            guest: "102",
            client: ClientRequest { source: "192.0.2.7", line: verb.as_str() },
            forensics_dir: "/nonexistent/forensics".as_ref(),
            retention: &Retention::default(),
            host_log: &NoHostLog,
            limits: &limits(),
        };
        let exit = serve(&context, &mut after, &mut transcript);
        let story = transcript.0.join("\n");
        // All limits together are a tenth of a second; the rest allows for an overloaded machine.
        prop_assert!(began.elapsed() < Duration::from_secs(30), "{:?}: {story}", began.elapsed());
        prop_assert!(!after.is_torn, "{story}");
        if !world.has_way_back {
            prop_assert_eq!(after.signals, 0, "{}", story);
            if verb == Verb::Cycle {
                prop_assert!(after.changes.is_empty() && exit == 1, "{story}");
                prop_assert_eq!(after.alive, world.alive, "{}", story);
            }
        }
        if verb == Verb::Screenshot {
            return Ok(());
        }
        let last = transcript.0.last().and_then(|line| line.strip_prefix("verdict: ")).unwrap();
        prop_assert!(Verdict::parse(last).is_some());
        prop_assert_eq!(last, after.truth(), "{}", story);
        let (runs, was) = (after.truth() == "running", world.alive);
        let is_done = match verb {
            Verb::Start => runs,
            Verb::Stop => after.alive.is_none(),
            Verb::Cycle => runs && after.alive != was,
            Verb::Reset => exit == 1 || (runs && after.alive == was),
            _ => true,
        };
        prop_assert!(is_done || exit == 1, "{verb} exits with {exit}: {story}");
        if verb != Verb::Stop && was.is_some() && after.alive.is_none() {
            prop_assert!(story.contains("WAS RUNNING AND IS NOW OFF"), "{story}");
        }
        if !verb.is_mutating() {
            prop_assert_eq!((after.alive, after.starts), (was, 0));
        }
    }
}

/// A world in which it is unknown whether the guest has a process.
struct Blind(World);

impl Driver for Blind {
    fn find_qemu(&mut self) -> Qemu {
        Qemu::Unknown("the pid file can't be read".to_owned())
    }

    fn query_monitor(
        &mut self,
        command: &str,
        words: Value,
        limit: Duration,
    ) -> Result<Value, String> {
        self.0.query_monitor(command, words, limit)
    }

    fn add_hypervisor_evidence(&mut self, evidence: &mut Evidence, limit: Duration) {
        self.0.add_hypervisor_evidence(evidence, limit);
    }

    fn perform(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        self.0.perform(action, limit)
    }

    fn screenshot(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        self.0.screenshot(limit)
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        Vec::new()
    }
}

#[test]
fn guest_whose_process_is_unknown_is_neither_cycled_nor_started() {
    for verb in ["start", "cycle"] {
        let mut world = Blind(World {
            alive: Some(7),
            starts: 0,
            is_deaf: false,
            is_stubborn: false,
            is_stuck: false,
            is_paused: false,
            stop: Fault::None,
            start: Fault::None,
            reset: Fault::None,
            is_torn: false,
            has_way_back: true,
            changes: Vec::new(),
            signals: 0,
        });
        let (exit, story) = serve_verb(verb, &mut world);
        assert_eq!((exit, world.0.alive), (1, Some(7)), "{story}");
        assert_eq!(world.0.changes, [], "{story}");
        assert!(story.contains("a second one on its disks"), "{story}");
    }
}

/// The gate's exit code and output for `verb`.
fn serve_verb(verb: &str, driver: &mut dyn Driver) -> (u8, String) {
    let mut transcript = Transcript::default();
    let context = Context {
        guest: "102",
        client: ClientRequest {
            source: "192.0.2.7",
            line: verb,
        },
        forensics_dir: "/nonexistent/forensics".as_ref(),
        retention: &Retention::default(),
        host_log: &NoHostLog,
        limits: &limits(),
    };
    let exit = serve(&context, driver, &mut transcript);
    (exit, transcript.0.join("\n"))
}

/// Breaks each of the gate's children in one way, on a host of its own; the verb still ends in time with a
/// true verdict. Side by side, since most of the time is spent waiting for limits.
fn verb_ends_despite(knob: &str) {
    std::thread::scope(|scope| {
        for child in ["pending", "status", "stop", "start", "reset"] {
            scope.spawn(move || verb_ends_despite_child(child, knob));
        }
    });
}

fn verb_ends_despite_child(child: &str, knob: &str) {
    let (host, fault) = (Host::running(), format!("{knob}-{child}"));
    let before = host.pid();
    // Short for the child that never ends, generous for the others.
    let limit = |own: &[&str], short| if own.contains(&child) { short } else { 30 };
    host.write_policy(&format!(
        "ask_seconds = {}\nstop_seconds = {}\nstart_seconds = {}\nforensics_seconds = 3\n",
        limit(&["pending", "status", "reset"], 3),
        limit(&["stop"], 1),
        limit(&["start"], 2),
    ));
    host.set(&fault, "it is broken");
    let verb = if child == "reset" { "reset" } else { "cycle" };
    let began = Instant::now();
    let (code, out, err) = host.send(verb);
    let story = format!("{verb} with {fault}: {out}{err}");
    assert!(began.elapsed() < Duration::from_secs(60), "{story}");
    let lives = host.is_alive();
    let verdict = if lives {
        "verdict: running"
    } else {
        "verdict: stopped"
    };
    assert_eq!(out.lines().last(), Some(verdict), "{story}");
    // If qm can't show the configuration, the gate does not rely on it for a start; if it can't
    // stop the guest, the gate sends signals.
    let is_done = matches!(child, "status" | "stop");
    assert_eq!((code == 0, lives), (is_done, child != "start"), "{story}");
    assert_eq!(
        err.contains("WAS RUNNING AND IS NOW OFF"),
        !lives,
        "{story}"
    );
    if child == "pending" {
        assert_eq!(host.pid(), before, "{story}");
        assert!(err.contains("nothing was changed"), "{story}");
    }
}

#[test]
fn verb_ends_although_a_child_hangs() {
    verb_ends_despite("hang");
}

#[test]
fn verb_ends_although_a_child_floods() {
    verb_ends_despite("flood");
}

#[test]
fn verb_ends_although_a_child_fails() {
    verb_ends_despite("fail");
}
