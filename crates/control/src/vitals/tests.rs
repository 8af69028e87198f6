use super::*;
use crate::target::Endpoint;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_764_000_000 + second).unwrap()
}

fn silent() -> Result<Exit, SshError> {
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

fn unseen() -> Vital {
    Board::new("devvm").read().ssh
}

#[test]
fn a_guest_that_answers_is_good_or_slow_by_how_long_it_takes() {
    let answer = Ok(Exit::Code(0));
    let quick = guest_vital(&unseen(), &answer, Duration::from_millis(12), at(0));
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
fn silence_is_counted_from_its_first_sample() {
    let took = Duration::from_secs(1);
    let first = guest_vital(&unseen(), &silent(), took, at(10));
    assert_eq!(first.text, "no answer (No route to host)");
    let later = guest_vital(&first, &silent(), took, at(13));
    assert_eq!(later.text, "no answer for 3 s (No route to host)");
    assert_eq!(later.since, first.since);
    assert_ne!(later.seen, first.seen);
    let back = guest_vital(&later, &Ok(Exit::Code(0)), Duration::ZERO, at(16));
    assert_eq!(back.since, back.seen);
}

#[test]
fn a_guest_that_keeps_us_waiting_is_missed_before_the_wait_is_over() {
    let waiting = still_waiting(&unseen(), at(2));
    assert_eq!(
        (waiting.state, waiting.text.as_str()),
        (VitalState::Slow, "no answer for 2 s yet")
    );
    let dead = guest_vital(&waiting, &silent(), SLOW, at(5));
    assert_eq!(still_waiting(&dead, at(7)), dead);
}

#[test]
fn a_refused_key_is_no_silence() {
    let endpoint = Endpoint {
        host: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
    };
    let vital = guest_vital(
        &unseen(),
        &Err(SshError::KeyRefused { endpoint }),
        SLOW,
        at(0),
    );
    assert_eq!(
        (vital.state, vital.text.as_str()),
        (VitalState::Unknown, "refuses the key")
    );
}

/// A conclusion of the gate, as `conduct` makes it.
fn told(verdict: &str) -> Conclusion {
    Conclusion {
        outcome: VerbOutcome::Done,
        verdict: Some(verdict.to_owned()),
        exit_code: Some(0),
        message: String::new(),
        duration_ms: 1,
        error: None,
        is_unknown_word: false,
    }
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Looks at both every 5 s for half a minute: a silent guest whose gate says `verdict`.
async fn look_for_long(board: &Board, verdict: &str) {
    for _ in 0..7 {
        board.see_guest(&silent(), SLOW);
        board.see_host(machine::read("{}"), &told(verdict));
        pass(5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_told_once_per_episode_and_incident() {
    let board = Board::new("devvm");
    let [first, second] = [1, 2].map(|number| Some(IncidentId::from_u128(number)));
    look_for_long(&board, "stopped").await;
    assert!(board.conclude(None, None).is_none());
    assert!(board.conclude(first, None).is_some());
    assert!(board.conclude(first, None).is_none());
    assert!(board.read().finding.is_some());
    assert!(board.conclude(second, None).is_some());
    // For a while nothing is known, and nothing is over.
    pass(60).await;
    assert!(board.conclude(second, None).is_none());
    assert_eq!(board.read().finding, None);
    look_for_long(&board, "stopped").await;
    assert!(board.conclude(second, None).is_none());
    assert!(board.read().finding.is_some());
    board.see_host(machine::read("{}"), &told("running"));
    assert!(board.conclude(second, None).is_none());
    assert_eq!(board.read().finding, None);
    look_for_long(&board, "stopped").await;
    assert!(board.conclude(second, None).is_some());
}

#[tokio::test(start_paused = true)]
async fn one_look_is_no_finding_however_old_it_is_said_to_be() {
    let board = Board::new("devvm");
    board.see_guest(&silent(), SLOW);
    board.see_host(machine::read("{}"), &told("monitor-dead"));
    pass(30).await;
    assert_eq!(board.finding(None), None);
    board.see_guest(&silent(), SLOW);
    assert_eq!(board.finding(None), None);
    board.see_host(machine::read("{}"), &told("monitor-dead"));
    assert_eq!(board.finding(None).unwrap().recommend, Some(Verb::Cycle));
    board.see_guest(&Ok(Exit::Code(0)), SLOW);
    assert_eq!(board.finding(None), None);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_said_to_be_silent_and_then_unknown() {
    let board = Board::new("devvm");
    look_for_long(&board, "running").await;
    board.miss_host(Duration::from_secs(3));
    let vm = board.read().vm;
    assert_eq!(vm.state, VitalState::Slow);
    assert_eq!(vm.text, "no answer from the host for 3 s yet");
    assert!(board.finding(None).is_some());
    board.miss_host(Duration::from_secs(9));
    assert_eq!(board.read().vm.state, VitalState::Unknown);
    assert_eq!(board.read().machine, None);
    // The guest is silent now, and what the host said before is no sign of now.
    board.see_guest(&silent(), SLOW);
    assert_eq!(board.finding(None), None);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_slow_host_is_no_sign_of_its_own() {
    let board = Board::new("devvm");
    for _ in 0..7 {
        board.see_guest(&silent(), SLOW);
        board.miss_host(Duration::from_secs(3));
        board.see_host(machine::read("{}"), &told("stopped"));
        pass(5).await;
    }
    assert_eq!(board.finding(None).unwrap().signature, Signature::VmStopped);
}

#[test]
fn whatever_answers_where_ssh_should_is_no_silence() {
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
        (Ok(Exit::Code(0)), Guest::Answers, VitalState::Good),
        (Ok(Exit::Code(1)), Guest::Strange, VitalState::Slow),
        (Err(protocol), Guest::Strange, VitalState::Slow),
        (
            Err(SshError::KeyRefused { endpoint }),
            Guest::Strange,
            VitalState::Unknown,
        ),
        (Err(refused), Guest::Refused, VitalState::Dead),
        (silent(), Guest::Silent, VitalState::Dead),
    ];
    for (answer, guest, state) in rows {
        let board = Board::new("devvm");
        assert_eq!(
            board.see_guest(&answer, Duration::ZERO),
            guest,
            "{answer:?}"
        );
        assert_eq!(board.read().ssh.state, state, "{answer:?}");
    }
}

#[test]
fn what_prints_beside_the_gate_is_noted_and_costs_nothing() {
    let mut heard = Heard::default();
    for line in [
        "Welcome to pve1",
        "{\"run_state\":\"running\"}",
        "verdict: running",
    ] {
        heard.hear(OutputStream::Stdout, line);
    }
    heard.hear(OutputStream::Stderr, "a warning");
    let machine = heard.look().unwrap().machine;
    assert_eq!(machine.run_state.as_deref(), Some("running"));
    let note = "something on the host prints before or after the gate: Welcome to pve1";
    assert_eq!(machine.notes, [note]);
}

#[tokio::test(start_paused = true)]
async fn an_older_gate_is_asked_again_after_a_while() {
    let board = Board::new("devvm");
    assert!(board.gate_is_new());
    board.lock().gate_is_old = Some(Instant::now());
    assert!(!board.gate_is_new());
    pass(121).await;
    assert!(board.gate_is_new());
}

#[test]
fn nothing_written_counts_from_the_first_look_that_saw_it_and_ends_with_a_write() {
    let board = Board::new("devvm");
    let look = |second, pid: u32, writes: Option<u64>| {
        let qemu = serde_json::json!({ "pid": pid, "started": 7, "state": "S" });
        let said = serde_json::json!({ "qemu": qemu, "disk": { "writes": writes } });
        let mut posted = board.lock();
        posted.look_at_machine(machine::read(&said.to_string()), at(second), Instant::now());
        posted.vitals.machine.clone().unwrap().no_writes_since
    };
    assert_eq!(look(0, 1, Some(40)), None);
    assert_eq!(look(10, 1, Some(41)), None);
    assert_eq!(look(20, 1, Some(41)), Some(clock::written(at(10))));
    // Not told once: what was counted before and after is the same all the same.
    assert_eq!(look(30, 1, None), None);
    assert_eq!(look(40, 1, Some(41)), Some(clock::written(at(10))));
    // Another process counts anew.
    assert_eq!(look(50, 2, Some(41)), None);
    assert_eq!(look(60, 2, Some(42)), None);
    board.lock().look_at_machine(None, at(70), Instant::now());
    assert_eq!(board.read().machine, None);
}

#[test]
fn processor_time_is_averaged_over_the_looks_that_saw_nothing_written() {
    let board = Board::new("devvm");
    let look = |second, writes: u64, percent: Option<u64>| {
        let qemu = serde_json::json!({ "pid": 1, "started": 7, "state": "S" });
        let said = serde_json::json!({
            "qemu": qemu, "disk": { "writes": writes }, "cpu_percent": percent,
        });
        let mut posted = board.lock();
        posted.look_at_machine(machine::read(&said.to_string()), at(second), Instant::now());
        posted.vitals.machine.clone().unwrap().cpu_percent
    };
    // What was seen while it still wrote does not count.
    assert_eq!(look(0, 40, Some(90)), Some(90));
    assert_eq!(look(10, 40, Some(2)), Some(2));
    assert_eq!(look(20, 40, Some(40)), Some(21));
    assert_eq!(look(30, 40, None), Some(21));
    assert_eq!(look(40, 41, None), None);
    assert_eq!(look(50, 41, None), None);
    assert_eq!(look(60, 41, Some(u64::MAX)), Some(u64::MAX));
    assert_eq!(look(70, 41, Some(u64::MAX)), Some(u64::MAX / 2));
}

#[test]
fn a_changed_key_is_told_once_with_what_to_do_and_again_when_it_changes_again() {
    let board = Board::new("devvm");
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
    let tell = |watcher, error: Option<&SshError>| board.judge_key(watcher, incident, error);
    let news = tell(Watcher::Guest, Some(&changed("SHA256:b")));
    let Some(EventBody::Notice { message, .. }) = news.last() else {
        panic!("{news:?}")
    };
    assert!(message.contains("line 3 of /data/known_hosts"), "{message}");
    assert!(tell(Watcher::Guest, Some(&changed("SHA256:b"))).is_empty());
    let silent = silent().unwrap_err();
    assert!(tell(Watcher::Guest, Some(&silent)).is_empty());
    assert!(tell(Watcher::Guest, Some(&changed("SHA256:b"))).is_empty());
    assert_eq!(tell(Watcher::Machine, Some(&changed("SHA256:b"))).len(), 2);
    assert_eq!(tell(Watcher::Guest, Some(&changed("SHA256:c"))).len(), 2);
    assert!(tell(Watcher::Guest, None).is_empty());
    assert_eq!(tell(Watcher::Guest, Some(&changed("SHA256:c"))).len(), 2);
}
