//! Whatever the hypervisor does wrong, a verb ends in time and tells the truth.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use breakglass_gate::{
    Action, Asked, Context, Driver, Evidence, Failure, Keep, Limits, Probe, Process, Qemu, Silent,
    WayBack, serve,
};
use breakglass_verbs::{Verb, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Host, Said};

/// How one call to the hypervisor goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Does it, and says that it failed.
    Liar,
    /// Does not, and says that it did.
    Idle,
    /// Does not, and says so.
    Fails,
    /// Does not, and takes all the time there is.
    Hangs,
    /// Fails the first time in a way that is known to pass.
    Passing,
}

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::{Fails, Hangs, Idle, Liar, None, Passing};
    prop::sample::select(vec![None, None, None, Liar, Idle, Fails, Hangs, Passing])
}

/// A guest on a hypervisor that goes wrong as told.
#[derive(Debug, Clone)]
struct World {
    alive: Option<u32>,
    starts: u32,
    is_deaf: bool,
    /// Ignores SIGTERM.
    is_stubborn: bool,
    /// Sits in the kernel: no signal ends it.
    is_stuck: bool,
    is_paused: bool,
    stop: Fault,
    start: Fault,
    reset: Fault,
    /// A second process was started beside a living one.
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
    fn find(&mut self) -> Qemu {
        let state = if self.is_stuck { 'D' } else { 'S' };
        self.alive.map_or(Qemu::Absent, |pid| {
            Qemu::Alive(Process {
                pid,
                started: pid.into(),
                state,
            })
        })
    }

    fn ask(&mut self, command: &str, _: Value, limit: Duration) -> Result<Value, String> {
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

    fn settings(&mut self, seen: &mut Evidence, _: Duration) {
        if self.has_way_back {
            seen.way_back = WayBack::Seen("the world has one".to_owned());
        }
    }

    fn act(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        self.changes.push(action);
        let slot = match action {
            Action::Start => &mut self.start,
            Action::Stop => &mut self.stop,
            Action::Reset | Action::Resume | Action::Wake | Action::Unlock => &mut self.reset,
        };
        let fault = *slot;
        if fault == Fault::Passing {
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
            Fault::Passing => Err(Failure {
                passing: true,
                ..Failure::from("once more".to_owned())
            }),
        }
    }

    fn signal(&mut self, _: Process, hard: bool) -> Result<(), String> {
        self.signals += 1;
        if !self.is_stuck && (hard || !self.is_stubborn) {
            self.alive = None;
        }
        Ok(())
    }

    fn screen(&mut self, _: Duration) -> Result<Vec<u8>, String> {
        Err("no console".to_owned())
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        Vec::new()
    }

    fn host(&mut self, _: &str, _: Duration) -> Result<String, String> {
        Err("no host".to_owned())
    }

    fn probes_of_host(&mut self, _: Option<Process>) -> Vec<(&'static str, Probe)> {
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
    fn every_verb_ends_in_time_with_a_true_verdict_and_never_two_processes(
        world in world(), verb in prop::sample::select(Verb::ALL.to_vec()),
    ) {
        let (mut after, mut said, began) = (world.clone(), Said::default(), Instant::now());
        let context = Context {
            guest: "102",
            asked: Asked { source: "192.0.2.7", request: verb.as_str() },
            forensics_dir: "/nonexistent/forensics".as_ref(),
            keep: &Keep::default(),
            journal: &Silent,
            limits: &limits(),
        };
        let exit = serve(&context, &mut after, &mut said);
        let story = said.0.join("\n");
        // All limits together are a tenth of a second; the rest is for a machine that others use.
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
        let last = said.0.last().and_then(|line| line.strip_prefix("verdict: ")).unwrap();
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

/// A world in which nothing tells whether the guest has a process.
struct Blind(World);

impl Driver for Blind {
    fn find(&mut self) -> Qemu {
        Qemu::Unseen("the pid file can't be read".to_owned())
    }

    fn ask(&mut self, command: &str, words: Value, limit: Duration) -> Result<Value, String> {
        self.0.ask(command, words, limit)
    }

    fn settings(&mut self, seen: &mut Evidence, limit: Duration) {
        self.0.settings(seen, limit);
    }

    fn act(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        self.0.act(action, limit)
    }

    fn screen(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        self.0.screen(limit)
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        Vec::new()
    }
}

#[test]
fn a_guest_whose_process_cannot_be_told_is_neither_cycled_nor_started() {
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
        let (exit, story) = told(verb, &mut world);
        assert_eq!((exit, world.0.alive), (1, Some(7)), "{story}");
        assert_eq!(world.0.changes, [], "{story}");
        assert!(story.contains("a second one on its disks"), "{story}");
    }
}

/// Exit code and words of the gate for `verb`.
fn told(verb: &str, driver: &mut dyn Driver) -> (u8, String) {
    let mut said = Said::default();
    let context = Context {
        guest: "102",
        asked: Asked {
            source: "192.0.2.7",
            request: verb,
        },
        forensics_dir: "/nonexistent/forensics".as_ref(),
        keep: &Keep::default(),
        journal: &Silent,
        limits: &limits(),
    };
    let exit = serve(&context, driver, &mut said);
    (exit, said.0.join("\n"))
}

/// One of the gate's children goes wrong in one way; the verb still ends in time and is right.
fn suffer(knob: &str) {
    for child in ["pending", "status", "stop", "start", "reset"] {
        let (host, fault) = (Host::running(), format!("{knob}-{child}"));
        let before = host.pid();
        // Short for the child that never comes back, long for those that have to.
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
        let lives = host.lives();
        let verdict = if lives {
            "verdict: running"
        } else {
            "verdict: stopped"
        };
        assert_eq!(out.lines().last(), Some(verdict), "{story}");
        // A qm that can't show the configuration is not trusted with a start; one that can't stop the
        // guest is done without.
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
}

#[test]
fn a_child_that_hangs_is_outlived() {
    suffer("hang");
}

#[test]
fn a_child_that_floods_is_outlived() {
    suffer("flood");
}

#[test]
fn a_child_that_fails_is_outlived() {
    suffer("fail");
}
