//! The contract of the gate over every hypervisor: one suite, run against each subject.
//!
//! A subject is a host with one guest behind the gate. It needs only std and serde_json, so that
//! every crate can include it: implement [`Subject`], then `contract!(TheSubject);`.

#![allow(dead_code, missing_docs, unreachable_pub)]

use serde_json::Value;

/// The response to one request.
pub struct Answer {
    /// The gate's exit code.
    pub code: i32,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: String,
}

impl Answer {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.out);
        text.lines().map(str::to_owned).collect()
    }

    fn ends(&self) -> String {
        let last = self.lines().pop().unwrap_or_default();
        format!("{} {last}", self.code)
    }

    fn text(&self) -> String {
        format!("{}\n{}", self.lines().join("\n"), self.err)
    }
}

/// A host with one guest behind the gate; dropping it ends both.
pub trait Subject {
    /// A host whose guest runs, with a monitor that answers.
    fn running() -> Self;
    /// A host whose guest is off.
    fn stopped() -> Self;
    /// Sends one line like a client, and waits for the end.
    fn send(&self, line: &str) -> Answer;
    /// An identifier of the guest's QEMU process, determined without the gate. None if there is no
    /// process.
    fn process(&self) -> Option<u64>;
}

pub fn status_reports_the_state_and_changes_nothing<S: Subject>() {
    for (subject, verdict) in [(S::running(), "running"), (S::stopped(), "stopped")] {
        let before = subject.process();
        assert_eq!(before.is_some(), verdict == "running");
        let answer = subject.send("status");
        assert_eq!(
            answer.ends(),
            format!("0 verdict: {verdict}"),
            "{}",
            answer.text()
        );
        assert_eq!(subject.process(), before);
    }
}

pub fn start_starts_a_stopped_guest_and_leaves_a_running_one_alone<S: Subject>() {
    let subject = S::stopped();
    let answer = subject.send("start");
    assert_eq!(answer.ends(), "0 verdict: running", "{}", answer.text());
    let process = subject.process();
    assert!(process.is_some());
    let again = subject.send("start");
    assert_eq!(again.ends(), "0 verdict: running", "{}", again.text());
    assert_eq!(subject.process(), process);
}

pub fn stop_ends_the_process_and_succeeds_without_one<S: Subject>() {
    let subject = S::running();
    for _ in 0..2 {
        let answer = subject.send("stop");
        assert_eq!(answer.ends(), "0 verdict: stopped", "{}", answer.text());
        assert_eq!(subject.process(), None);
    }
}

pub fn reset_keeps_the_process_and_needs_one<S: Subject>() {
    let subject = S::running();
    let before = subject.process();
    let answer = subject.send("reset");
    assert_eq!(answer.ends(), "0 verdict: running", "{}", answer.text());
    assert_eq!(subject.process(), before);
    assert_eq!(S::stopped().send("reset").ends(), "1 verdict: stopped");
}

pub fn cycle_replaces_the_process_and_starts_a_guest_that_was_off<S: Subject>() {
    for subject in [S::running(), S::stopped()] {
        let before = subject.process();
        let answer = subject.send("cycle");
        assert_eq!(answer.ends(), "0 verdict: running", "{}", answer.text());
        assert!(subject.process().is_some());
        assert_ne!(subject.process(), before);
        for step in [
            "stop: clean stop, for at most",
            "start: a fresh QEMU process, for at most",
        ] {
            assert!(answer.text().contains(step), "{step}: {}", answer.text());
        }
    }
}

pub fn forensics_sample_the_disks_twice_and_change_nothing<S: Subject>() {
    let subject = S::running();
    let before = subject.process();
    let answer = subject.send("forensics");
    assert_eq!(answer.ends(), "0 verdict: running", "{}", answer.text());
    for probe in [
        "query-status",
        "query-blockstats",
        "query-blockstats-later",
        "screen",
    ] {
        let prefix = format!("forensics: {probe}: ");
        let line = answer
            .lines()
            .into_iter()
            .find(|line| line.starts_with(&prefix));
        assert!(
            line.is_some_and(|line| !line.contains("missing")),
            "{probe}: {}",
            answer.text()
        );
    }
    assert_eq!(subject.process(), before);
}

pub fn every_mutating_verb_is_preceded_by_forensics<S: Subject>() {
    for verb in ["stop", "reset", "cycle"] {
        let answer = S::running().send(verb);
        let lines = answer.lines();
        let at = |start: &str| lines.iter().position(|line| line.starts_with(start));
        let (evidence, change) = (
            at("forensics: in "),
            at(&format!("{}: ", verb.replace("cycle", "stop"))),
        );
        assert!(
            evidence.is_some() && evidence < change,
            "{verb}: {}",
            answer.text()
        );
    }
}

pub fn vitals_print_one_object_and_the_verdict<S: Subject>() {
    for (subject, verdict) in [(S::running(), "running"), (S::stopped(), "stopped")] {
        let answer = subject.send("vitals");
        let vitals: Value = serde_json::from_str(&answer.lines()[0]).unwrap();
        assert_eq!(answer.ends(), format!("0 verdict: {verdict}"));
        assert_eq!(vitals["verdict"], verdict);
        let runs = verdict == "running";
        assert_eq!(vitals["run_state"] == "running", runs, "{vitals}");
        assert_eq!(vitals["qemu"]["pid"].is_u64(), runs, "{vitals}");
        for number in [
            "/monitor_ms",
            "/uptime_s",
            "/disk/writes_per_s",
            "/disk/bytes_written_per_s",
        ] {
            assert_eq!(
                vitals.pointer(number).is_some_and(Value::is_u64),
                runs,
                "{number}: {vitals}"
            );
        }
        for (key, kind) in [
            ("staged", vitals["staged"].is_array()),
            ("ha_managed", vitals["ha_managed"].is_boolean()),
            ("time", vitals["time"].is_string()),
            ("job", vitals["job"].is_null()),
            ("frozen", vitals["frozen"].is_null()),
        ] {
            assert!(kind, "{key}: {vitals}");
        }
    }
}

pub fn screenshot_is_a_png_and_a_stopped_guest_has_none<S: Subject>() {
    let answer = S::running().send("screenshot");
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.out.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(answer.out.ends_with(b"IEND\xae\x42\x60\x82") && answer.out.len() <= 4 << 20);
    let none = S::stopped().send("screenshot");
    assert_eq!((none.code, none.out.len()), (1, 0));
    assert!(none.err.starts_with("no picture: "), "{}", none.err);
}

pub fn suffix_json_makes_the_last_line_an_object<S: Subject>() {
    let subject = S::running();
    for (verb, verdict) in [
        ("status", "running"),
        ("stop", "stopped"),
        ("start", "running"),
    ] {
        let answer = subject.send(&format!("{verb} --json"));
        let last: Value = serde_json::from_str(&answer.lines().pop().unwrap()).unwrap();
        for (key, value) in [("verb", verb), ("verdict", verdict)] {
            assert_eq!(last[key], value, "{last}");
        }
        assert_eq!(last["exit"], 0, "{last}");
        // Only a status contains the evidence.
        assert_eq!(last["run_state"] == "running", verb == "status", "{last}");
        for key in [
            "run_state",
            "qemu",
            "lock",
            "job",
            "frozen",
            "held",
            "notes",
        ] {
            assert_eq!(last.get(key).is_some(), verb == "status", "{key}: {last}");
        }
    }
}

pub fn request_outside_the_table_is_refused_and_changes_nothing<S: Subject>() {
    let subject = S::running();
    let before = subject.process();
    for line in ["", "cycle 102", "cycle;id", " cycle", "destroy", "--json"] {
        let answer = subject.send(line);
        assert_eq!((answer.code, answer.out.len()), (2, 0), "{line:?}");
        assert!(answer.err.starts_with("refused: ") && answer.err.contains("allowed: status"));
    }
    assert_eq!(subject.process(), before);
}

/// Makes each part of the contract a test of the subject.
macro_rules! contract {
    ($subject:ty) => {
        contract!($subject:
            status_reports_the_state_and_changes_nothing,
            start_starts_a_stopped_guest_and_leaves_a_running_one_alone,
            stop_ends_the_process_and_succeeds_without_one,
            reset_keeps_the_process_and_needs_one,
            cycle_replaces_the_process_and_starts_a_guest_that_was_off,
            forensics_sample_the_disks_twice_and_change_nothing,
            every_mutating_verb_is_preceded_by_forensics,
            vitals_print_one_object_and_the_verdict,
            screenshot_is_a_png_and_a_stopped_guest_has_none,
            suffix_json_makes_the_last_line_an_object,
            request_outside_the_table_is_refused_and_changes_nothing,
        );
    };
    ($subject:ty: $($test:ident,)*) => {
        $(
            #[test]
            fn $test() {
                contract::$test::<$subject>();
            }
        )*
    };
}
