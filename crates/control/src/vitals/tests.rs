use jiff::SignedDuration;

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
        cause: "Connection refused".into(),
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
    assert_eq!(first.text, "no answer (Connection refused)");
    let later = guest_vital(&first, &silent(), took, at(13));
    assert_eq!(later.text, "no answer for 3 s (Connection refused)");
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

#[test]
fn a_finding_is_told_once_per_episode_and_incident() {
    let board = Board::new("devvm");
    let set = |text: &str, state| {
        let mut posted = board.lock();
        posted.vitals.vm.text = text.into();
        posted.vitals.vm.state = state;
        posted.vitals.vm.since = clock::written(Timestamp::now() - SignedDuration::from_mins(1));
    };
    let [first, second] = [1, 2].map(|number| Some(IncidentId::from_u128(number)));
    set("stopped", VitalState::Dead);
    assert!(board.conclude(None, None).is_none());
    assert!(board.conclude(first, None).is_some());
    assert!(board.conclude(first, None).is_none());
    assert!(board.read().finding.is_some());
    assert!(board.conclude(second, None).is_some());
    set("running", VitalState::Good);
    assert!(board.conclude(second, None).is_none());
    assert_eq!(board.read().finding, None);
    set("stopped", VitalState::Dead);
    assert!(board.conclude(second, None).is_some());
}

#[test]
fn nothing_written_counts_from_the_first_look_that_saw_it_and_ends_with_a_write() {
    let board = Board::new("devvm");
    let look = |second, pid: u32, writes: Option<u64>| {
        let qemu = serde_json::json!({ "pid": pid, "started": 7, "state": "S" });
        let said = serde_json::json!({ "qemu": qemu, "disk": { "writes": writes } });
        let mut posted = board.lock();
        posted.look_at_machine(machine::read(&said.to_string()), at(second));
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
    board.lock().look_at_machine(None, at(70));
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
        posted.look_at_machine(machine::read(&said.to_string()), at(second));
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
