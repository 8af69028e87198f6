use std::time::Duration;

use breakglass_model::{OutputStream, VerbOutcome};
use breakglass_verbs::{Verb, Verdict};

use super::*;
use crate::measurement;
use crate::target::Endpoint;

const SLOW: Duration = Duration::from_secs(1);

fn at(second: i64) -> Time {
    let start: Time = "2025-11-24T16:00:00.000Z".parse().unwrap();
    start
        .checked_add(jiff::SignedDuration::from_secs(second))
        .unwrap()
}

fn silent() -> Result<Option<u32>, SshError> {
    let endpoint = Endpoint {
        host: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
    };
    Err(SshError::Unreachable {
        endpoint,
        cause: "No route to host".into(),
        refused: false,
        greeted: false,
    })
}

fn not_probed() -> Vital {
    VitalsState::new("devvm").read().ssh
}

#[test]
fn answering_guest_is_good_or_slow_by_its_response_time() {
    let answer = Ok(Some(0));
    let quick = guest_vital(&not_probed(), &answer, Duration::from_millis(12), at(0));
    assert_eq!(
        (quick.state, quick.text.as_str()),
        (VitalState::Good, "answers in 12 ms")
    );
    let slow = guest_vital(&quick, &answer, Duration::from_millis(2500), at(1));
    assert_eq!(
        (slow.state, slow.text.as_str()),
        (VitalState::Slow, "slow: answers in 2500 ms")
    );
}

#[test]
fn silence_is_counted_from_the_first_probe_without_answer() {
    let took = Duration::from_secs(1);
    let first = guest_vital(&not_probed(), &silent(), took, at(10));
    assert_eq!(first.text, "no answer (No route to host)");
    let later = guest_vital(&first, &silent(), took, at(13));
    assert_eq!(later.text, "no answer for 3 s (No route to host)");
    assert_eq!(later.since, first.since);
    assert_ne!(later.seen, first.seen);
    let back = guest_vital(&later, &Ok(Some(0)), Duration::ZERO, at(16));
    assert_eq!(back.since, back.seen);
}

#[test]
fn missing_answer_is_reported_before_the_timeout() {
    let waiting = guest_wait(&not_probed(), at(2));
    assert_eq!(
        (waiting.state, waiting.text.as_str()),
        (VitalState::Slow, "no answer for 2 s yet")
    );
    let dead = guest_vital(&waiting, &silent(), SLOW, at(5));
    assert_eq!(guest_wait(&dead, at(7)), dead);
}

#[test]
fn refused_key_is_not_silence() {
    let endpoint = Endpoint {
        host: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
    };
    let vital = guest_vital(
        &not_probed(),
        &Err(SshError::KeyRefused { endpoint }),
        SLOW,
        at(0),
    );
    assert_eq!(
        (vital.state, vital.text.as_str()),
        (VitalState::Unknown, "refuses the key")
    );
}

/// The gate's result.
fn reported(verdict: &str) -> VerbResult {
    VerbResult {
        outcome: VerbOutcome::Done,
        verdict: Verdict::parse(verdict),
        exit_code: Some(0),
        message: String::new(),
        duration_ms: 1,
        error: None,
        is_unknown_verb: false,
    }
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Probes both every 5 s for half a minute: a silent guest whose gate reports `verdict`.
async fn probe_for_long(vitals: &VitalsState, verdict: &str) {
    for _ in 0..7 {
        vitals.record_guest(&silent(), SLOW);
        vitals.record_host(measurement::parse("{}"), &reported(verdict));
        pass(5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn finding_is_recorded_once_per_episode_and_incident() {
    let vitals = VitalsState::new("devvm");
    let [first, second] = [1, 2].map(|number| Some(IncidentId::from_u128(number)));
    probe_for_long(&vitals, "stopped").await;
    assert!(vitals.update_finding(None, None).is_none());
    assert!(vitals.update_finding(first, None).is_some());
    assert!(vitals.update_finding(first, None).is_none());
    assert!(vitals.read().finding.is_some());
    assert!(vitals.update_finding(second, None).is_some());
    // For a while nothing is known, which does not end the finding.
    pass(60).await;
    assert!(vitals.update_finding(second, None).is_none());
    assert_eq!(vitals.read().finding, None);
    probe_for_long(&vitals, "stopped").await;
    assert!(vitals.update_finding(second, None).is_none());
    assert!(vitals.read().finding.is_some());
    vitals.record_host(measurement::parse("{}"), &reported("running"));
    assert!(vitals.update_finding(second, None).is_none());
    assert_eq!(vitals.read().finding, None);
    probe_for_long(&vitals, "stopped").await;
    assert!(vitals.update_finding(second, None).is_some());
}

#[tokio::test(start_paused = true)]
async fn one_probe_is_not_enough_for_a_finding() {
    let vitals = VitalsState::new("devvm");
    vitals.record_guest(&silent(), SLOW);
    vitals.record_host(measurement::parse("{}"), &reported("monitor-dead"));
    pass(30).await;
    assert_eq!(vitals.finding(None), None);
    vitals.record_guest(&silent(), SLOW);
    assert_eq!(vitals.finding(None), None);
    vitals.record_host(measurement::parse("{}"), &reported("monitor-dead"));
    assert_eq!(vitals.finding(None).unwrap().recommend, Some(Verb::Cycle));
    vitals.record_guest(&Ok(Some(0)), SLOW);
    assert_eq!(vitals.finding(None), None);
}

#[tokio::test(start_paused = true)]
async fn unanswering_host_is_reported_as_waiting_and_then_as_unknown() {
    let vitals = VitalsState::new("devvm");
    probe_for_long(&vitals, "running").await;
    vitals.record_host_wait(Duration::from_secs(3));
    let vm = vitals.read().vm;
    assert_eq!(vm.state, VitalState::Slow);
    assert_eq!(vm.text, "no answer from the host for 3 s yet");
    assert!(vitals.finding(None).is_some());
    vitals.record_host_wait(Duration::from_secs(9));
    assert_eq!(vitals.read().vm.state, VitalState::Unknown);
    assert_eq!(vitals.read().machine, None);
    // The host's earlier report does not explain the guest's silence now.
    vitals.record_guest(&silent(), SLOW);
    assert_eq!(vitals.finding(None), None);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_slow_host_does_not_reset_its_sign() {
    let vitals = VitalsState::new("devvm");
    for _ in 0..7 {
        vitals.record_guest(&silent(), SLOW);
        vitals.record_host_wait(Duration::from_secs(3));
        vitals.record_host(measurement::parse("{}"), &reported("stopped"));
        pass(5).await;
    }
    assert_eq!(
        vitals.finding(None).unwrap().signature,
        Signature::VmStopped
    );
}

#[test]
fn any_answer_at_the_ssh_port_is_not_silence() {
    let endpoint = Endpoint {
        host: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
    };
    let protocol = SshError::Protocol {
        endpoint: endpoint.clone(),
        cause: "it does not run commands for this account".into(),
    };
    let refused = SshError::Unreachable {
        endpoint: endpoint.clone(),
        cause: "Connection refused".into(),
        refused: true,
        greeted: false,
    };
    let rows = [
        (Ok(Some(0)), GuestSign::Answers, VitalState::Good),
        (Ok(Some(1)), GuestSign::AnswersOddly, VitalState::Slow),
        (Err(protocol), GuestSign::AnswersOddly, VitalState::Slow),
        (
            Err(SshError::KeyRefused { endpoint }),
            GuestSign::AnswersOddly,
            VitalState::Unknown,
        ),
        (Err(refused), GuestSign::Refuses, VitalState::Dead),
        (silent(), GuestSign::Silent, VitalState::Dead),
    ];
    for (answer, guest, state) in rows {
        let vitals = VitalsState::new("devvm");
        assert_eq!(
            vitals.record_guest(&answer, Duration::ZERO),
            guest,
            "{answer:?}"
        );
        assert_eq!(vitals.read().ssh.state, state, "{answer:?}");
    }
}

#[test]
fn other_output_beside_the_gate_is_noted_and_ignored() {
    let mut output = GateOutput::default();
    for line in [
        "Welcome to pve1",
        "{\"run_state\":\"running\"}",
        "verdict: running",
    ] {
        output.push(OutputStream::Stdout, line);
    }
    output.push(OutputStream::Stderr, "a warning");
    let machine = output.into_measurement().unwrap().machine;
    assert_eq!(machine.run_state.as_deref(), Some("running"));
    let note = "something on the host prints before or after the gate: Welcome to pve1";
    assert_eq!(machine.notes, [note]);
}

#[tokio::test(start_paused = true)]
async fn older_gate_is_asked_again_after_two_minutes() {
    let vitals = VitalsState::new("devvm");
    assert!(vitals.gate_knows_vitals());
    vitals.set_gate_is_old(true);
    assert!(!vitals.gate_knows_vitals());
    pass(121).await;
    assert!(vitals.gate_knows_vitals());
}

#[test]
fn time_without_writes_starts_at_the_first_probe_and_ends_with_a_write() {
    let vitals = VitalsState::new("devvm");
    let measure = |second, pid: u32, writes: Option<u64>| {
        let qemu = serde_json::json!({ "pid": pid, "started": 7, "state": "S" });
        let said = serde_json::json!({ "qemu": qemu, "disk": { "writes": writes } });
        let mut state = vitals.0.lock();
        state.record_measurement(
            measurement::parse(&said.to_string()),
            at(second),
            Instant::now(),
        );
        state.vitals.machine.clone().unwrap().no_writes_since
    };
    assert_eq!(measure(0, 1, Some(40)), None);
    assert_eq!(measure(10, 1, Some(41)), None);
    assert_eq!(measure(20, 1, Some(41)), Some(at(10)));
    // One probe without a counter: the counters before and after it are still equal.
    assert_eq!(measure(30, 1, None), None);
    assert_eq!(measure(40, 1, Some(41)), Some(at(10)));
    // Another process has a counter of its own.
    assert_eq!(measure(50, 2, Some(41)), None);
    assert_eq!(measure(60, 2, Some(42)), None);
    vitals
        .0
        .lock()
        .record_measurement(None, at(70), Instant::now());
    assert_eq!(vitals.read().machine, None);
}

#[test]
fn processor_time_is_averaged_over_the_probes_without_writes() {
    let vitals = VitalsState::new("devvm");
    let measure = |second, writes: u64, percent: Option<u64>| {
        let qemu = serde_json::json!({ "pid": 1, "started": 7, "state": "S" });
        let said = serde_json::json!({
            "qemu": qemu, "disk": { "writes": writes }, "cpu_percent": percent,
        });
        let mut state = vitals.0.lock();
        state.record_measurement(
            measurement::parse(&said.to_string()),
            at(second),
            Instant::now(),
        );
        state.vitals.machine.clone().unwrap().cpu_percent
    };
    // Measurements from before the last write do not count.
    assert_eq!(measure(0, 40, Some(90)), Some(90));
    assert_eq!(measure(10, 40, Some(2)), Some(2));
    assert_eq!(measure(20, 40, Some(40)), Some(21));
    assert_eq!(measure(30, 40, None), Some(21));
    assert_eq!(measure(40, 41, None), None);
    assert_eq!(measure(50, 41, None), None);
    assert_eq!(measure(60, 41, Some(u64::MAX)), Some(u64::MAX));
    assert_eq!(measure(70, 41, Some(u64::MAX)), Some(u64::MAX / 2));
}

#[test]
fn changed_key_is_recorded_once_with_a_remedy_and_again_when_it_changes_again() {
    let vitals = VitalsState::new("devvm");
    let changed = |shown: &str| {
        let endpoint = Endpoint {
            host: "192.0.2.1".into(),
            port: 22,
            user: "root".into(),
        };
        SshError::HostKeyChanged {
            endpoint,
            pinned: "SHA256:a".into(),
            shown: shown.into(),
            file: "/data/known_hosts".into(),
            line: 3,
        }
    };
    let incident = Some(IncidentId::from_u128(1));
    let news = |side, error: Option<&SshError>| vitals.key_news(side, incident, error);
    let events = news(Side::Guest, Some(&changed("SHA256:b")));
    let Some(EventBody::Notice { message, .. }) = events.last() else {
        panic!("{events:?}")
    };
    assert!(message.contains("line 3 of /data/known_hosts"), "{message}");
    assert!(news(Side::Guest, Some(&changed("SHA256:b"))).is_empty());
    let silent = silent().unwrap_err();
    assert!(news(Side::Guest, Some(&silent)).is_empty());
    assert!(news(Side::Guest, Some(&changed("SHA256:b"))).is_empty());
    assert_eq!(news(Side::Host, Some(&changed("SHA256:b"))).len(), 2);
    assert_eq!(news(Side::Guest, Some(&changed("SHA256:c"))).len(), 2);
    assert!(news(Side::Guest, None).is_empty());
    assert_eq!(news(Side::Guest, Some(&changed("SHA256:c"))).len(), 2);
}

#[test]
fn summary_exists_only_after_the_first_probe() {
    let vitals = VitalsState::new("devvm");
    assert_eq!(vitals.summary(), None);
    vitals.record_guest(&Ok(Some(0)), Duration::from_millis(12));
    let summary = vitals.summary().unwrap();
    assert!(summary.starts_with("SSH answers in 12 ms"), "{summary}");
}
