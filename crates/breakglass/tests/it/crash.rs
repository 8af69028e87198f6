//! `kill -9` during a turn: no acknowledged event is lost, no process survives, and the
//! next start records what happened.

use std::time::{Duration, Instant};

use crate::common::{Drill, audit, wait_until};

/// Number of kills, each at another point of the turn.
const ROUNDS: u64 = 50;

/// Reads events until the server dies. Returns the highest acknowledged number.
fn last_seq_before_death(events: crate::common::Events) -> u64 {
    events.filter_map(|frame| frame.id).last().unwrap_or(0)
}

/// Running processes whose parent was the killed server.
fn agents_alive(marker: &str) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("environ")).ok())
        .map(|environ| String::from_utf8_lossy(&environ).into_owned())
        .filter(|environ| environ.contains(marker))
        .collect()
}

#[test]
fn server_killed_at_any_point_of_a_turn_loses_no_acknowledged_event() {
    let dir = tempfile::tempdir().unwrap();
    let marker = format!("HOME={}", dir.path().join("cell/home").display());
    let mut incident = String::new();
    let mut acknowledged = 0;
    for round in 0..=ROUNDS {
        let drill = Drill::in_dir(dir.path());
        let client = drill.sign_in();
        if round == 0 {
            incident = client.incident();
        }
        let replayed: Vec<_> = client
            .events(&incident, 0)
            .take_while(|frame| frame.event != "caught-up")
            .collect();
        let ids: Vec<u64> = replayed.iter().filter_map(|frame| frame.id).collect();
        assert_eq!(
            ids,
            (1..=ids.len() as u64).collect::<Vec<_>>(),
            "round {round}"
        );
        assert!(
            ids.len() as u64 >= acknowledged,
            "round {round}: {acknowledged} were seen"
        );
        let started = replayed
            .iter()
            .filter(|frame| frame.event == "turn_started")
            .count();
        let ended = replayed
            .iter()
            .filter(|frame| frame.event == "turn_ended")
            .count();
        assert_eq!(started, ended, "round {round}: a turn was left open");

        let stream = client.events(&incident, ids.len() as u64);
        let answer = client.prompt(&incident, "triage");
        assert_eq!(answer.status, 202, "round {round}: {answer:?}");
        let deadline = Instant::now() + Duration::from_millis(round * 23 % 900);
        while Instant::now() < deadline {
            std::thread::park_timeout(deadline - Instant::now());
        }
        drill.kill();
        acknowledged = last_seq_before_death(stream).max(ids.len() as u64);
        wait_until("the agent dies with its server", || {
            agents_alive(&marker).is_empty().then_some(())
        });
        let (code, text) = audit(dir.path());
        assert_eq!(code, Some(0), "round {round}: {text}");
    }
}
