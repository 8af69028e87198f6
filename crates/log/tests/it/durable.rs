//! What survives: restarts, `kill -9`, and what an audit finds.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::{append, notice, opened};
use breakglass_log::{Log, Options, Recovered, verify};
use breakglass_model::{Actor, CommandMode, Decision, EventBody, TurnOutcome, Verb, VerbOutcome};
use rusqlite::Connection;
use uuid::Uuid;

fn log_file(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("data/journal.db")
}

#[tokio::test]
async fn events_and_lists_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(log_file(&directory)));
    assert_eq!(log.degraded(), None);
    let incident = opened(&log).await;
    append(&log, incident, 3).await;
    log.shutdown();
    let log = Log::open(Options::at(log_file(&directory)));
    append(&log, incident, 1).await;
    let events = log.events(incident, 1, 2).await.unwrap();
    assert_eq!(
        events.iter().map(|event| event.seq).collect::<Vec<_>>(),
        [2, 3]
    );
    let listed = log.incidents().await.unwrap();
    assert_eq!(
        (listed[0].incident, listed[0].head, listed.len()),
        (incident, 5, 1)
    );
    assert_eq!(
        log.open_incident_for("devvm").await.unwrap(),
        Some(incident)
    );
    assert_eq!(log.open_incident_for("other").await.unwrap(), None);
    assert!(verify(&log_file(&directory)).unwrap().is_sound());
}

#[tokio::test]
async fn what_ran_when_the_process_died_is_ended_as_interrupted_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(log_file(&directory)));
    let incident = opened(&log).await;
    let operation = Uuid::new_v4();
    let (target, verb) = ("devvm".to_owned(), Verb::Cycle);
    let started = EventBody::VerbStarted {
        operation,
        target,
        verb,
    };
    log.append(incident, Actor::System, started).await.unwrap();
    let turn = EventBody::TurnStarted {
        agent: None,
        turn: 1,
        model: "sonnet".to_owned(),
        session: operation,
    };
    log.append(incident, Actor::Agent, turn).await.unwrap();
    assert_eq!(
        log.incident(incident).await.unwrap().unwrap().running_turn,
        Some(1)
    );
    log.shutdown();

    let log = Log::open(Options::at(log_file(&directory)));
    assert_eq!(
        log.recover().await.unwrap(),
        Recovered { turns: 1, verbs: 1 }
    );
    assert_eq!(log.recover().await.unwrap(), Recovered::default());
    let events = log.events(incident, 3, 10).await.unwrap();
    assert!(
        matches!(&events[0].body, EventBody::VerbFinished { operation: of, outcome: VerbOutcome::Interrupted, .. } if *of == operation)
    );
    assert!(matches!(
        &events[1].body,
        EventBody::TurnEnded {
            turn: 1,
            outcome: TurnOutcome::Interrupted,
            ..
        }
    ));
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn what_a_dead_turn_left_open_is_ended_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(log_file(&directory)));
    let incident = log
        .open_incident("devvm", Actor::System, false)
        .await
        .unwrap();
    let command = uuid::Uuid::now_v7();
    let bodies = [
        EventBody::TurnStarted {
            agent: None,
            turn: 1,
            model: "sonnet".to_owned(),
            session: command,
        },
        EventBody::CommandStarted {
            command,
            turn: 1,
            tool_call: None,
            host: "devvm".to_owned(),
            mode: CommandMode::Exec,
            text: "reboot".to_owned(),
        },
        EventBody::ApprovalRequested {
            approval: "q1".to_owned(),
            turn: 1,
            tool_call: None,
            place: "devvm".to_owned(),
            command: "reboot".to_owned(),
            touches: "The guest.".to_owned(),
            expires_at: None,
        },
    ];
    for body in bodies {
        log.append(incident, Actor::Agent, body).await.unwrap();
    }
    log.shutdown();

    let log = Log::open(Options::at(log_file(&directory)));
    log.recover().await.unwrap();
    let events = log.events(incident, 4, 10).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.body.kind()).collect();
    assert_eq!(
        kinds,
        ["command_finished", "approval_decided", "turn_ended"]
    );
    let void = Decision::Void;
    assert!(
        matches!(&events[1].body, EventBody::ApprovalDecided { decision, .. } if *decision == void)
    );
}

#[tokio::test]
async fn a_key_is_remembered_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(log_file(&directory)));
    assert_eq!(log.remember("key", "first").await.unwrap(), None);
    log.shutdown();
    let log = Log::open(Options::at(log_file(&directory)));
    assert_eq!(
        log.remember("key", "second").await.unwrap().as_deref(),
        Some("first")
    );
    assert_eq!(log.remember("other", "third").await.unwrap(), None);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(log_file(&directory)));
    log.remember("key", "first").await.unwrap();
    let day = 24 * 60 * 60 * 1000 + 1;
    let sql = format!("UPDATE remembered SET at_ms = at_ms - {day}");
    Connection::open(log_file(&directory))
        .unwrap()
        .execute(&sql, [])
        .unwrap();
    assert_eq!(log.remember("key", "second").await.unwrap(), None);
}

/// Writes a log of two incidents, changes it, and gives the audit's words.
async fn audit_after(change: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(log_file(&directory)));
    for _ in 0..2 {
        let incident = opened(&log).await;
        append(&log, incident, 4).await;
    }
    log.shutdown();
    Connection::open(log_file(&directory))
        .unwrap()
        .execute_batch(change)
        .unwrap();
    let report = verify(&log_file(&directory)).unwrap();
    assert!(!report.is_sound(), "not found: {change}");
    serde_json::to_string(&report).unwrap()
}

#[tokio::test]
async fn an_audit_finds_every_kind_of_change_and_names_it() {
    const FIRST: i64 = 1 << 32;
    let cases = [
        (
            format!(
                "UPDATE event SET json = replace(json, 'event 1', 'event 7') WHERE place = {}",
                FIRST + 3
            ),
            "event 3 is not what was recorded",
        ),
        (
            format!("DELETE FROM event WHERE place = {}", FIRST + 2),
            "event 2 is missing",
        ),
        (
            format!("DELETE FROM event WHERE place = {}", FIRST + 5),
            "the log was cut: it ends at 4",
        ),
        (
            format!(
                "DELETE FROM event WHERE place = {}; UPDATE incident SET head = 4 WHERE number = 1",
                FIRST + 5
            ),
            "the row's hash is not",
        ),
        (
            format!(
                "INSERT INTO event SELECT place + 1, json, hash FROM event WHERE place = {}",
                FIRST + 5
            ),
            "event 6 is not what was recorded",
        ),
        (
            "UPDATE incident SET target = 'other' WHERE number = 2".to_owned(),
            "names another target",
        ),
        (
            "DELETE FROM incident WHERE number = 1".to_owned(),
            "incidents 1 to 1 were removed",
        ),
        (
            format!(
                "DELETE FROM incident WHERE number = 2; DELETE FROM event WHERE place > {}",
                2 * FIRST
            ),
            "incidents 2 to 2 were removed",
        ),
    ];
    for (change, words) in cases {
        let found = audit_after(&change).await;
        assert!(found.contains(words), "{change}: {found}");
    }
}

#[tokio::test]
async fn an_audit_of_no_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = verify(&directory.path().join("none.db"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("none.db cannot be examined"), "{error}");
}

const CHILD: &str = "LOG_TEST_CHILD";

/// The part of the next test that is killed; on its own it has nothing to do.
#[tokio::test]
async fn a_child_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let log = Log::open(Options::at(&path));
    let incident = match log.open_incident_for("devvm").await.unwrap() {
        Some(incident) => incident,
        None => opened(&log).await,
    };
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let log = log.clone();
        writers.spawn(async move {
            loop {
                let seq = log
                    .append(incident, Actor::System, notice(format!("w{writer}")))
                    .await
                    .unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nacknowledged {seq}")
                    .and_then(|()| out.flush())
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the child until it has acknowledged `count` events, kills it, and gives the highest.
fn append_and_kill(path: &Path, count: usize) -> u64 {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "durable::a_child_appends_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut highest = 0;
    let mut note = |line: std::io::Result<String>| {
        let seq = line
            .unwrap()
            .strip_prefix("acknowledged ")
            .and_then(|seq| seq.parse::<u64>().ok());
        highest = highest.max(seq.unwrap_or(0));
        seq.is_some()
    };
    let mut seen = 0;
    while seen < count {
        seen += usize::from(note(lines.next().expect("the child goes on")));
    }
    drop(child);
    // What was still in the pipe was acknowledged too.
    lines.for_each(|line| {
        note(line);
    });
    highest
}

#[test]
fn kill_9_loses_no_acknowledged_event_in_fifty_rounds() {
    let directory = tempfile::tempdir().unwrap();
    let path = log_file(&directory);
    for round in 0..50 {
        let acknowledged = append_and_kill(&path, round * 7 % 23 + 1);
        let report = verify(&path).unwrap();
        assert!(report.is_sound(), "round {round}: {report:?}");
        assert_eq!(report.incidents.len(), 1);
        assert!(
            report.incidents[0].events >= acknowledged,
            "round {round}: {acknowledged} was acknowledged, {report:?}"
        );
    }
}
