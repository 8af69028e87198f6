//! When the store does not do its duty: verbs go on, and it is said.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::common::{Frames, notice, opened};
use breakglass_log::{Log, LogError, Options};
use breakglass_model::{Actor, Decision, EventBody, IncidentId};
use rusqlite::Connection;

fn lines() -> (breakglass_log::LineSink, mpsc::Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    (
        Box::new(move |line| drop(sender.send(String::from_utf8(line.to_vec()).unwrap()))),
        lines,
    )
}

async fn last_code(log: &Log, incident: IncidentId) -> String {
    let events = log.events(incident, 0, 1000).await.unwrap();
    match &events.last().unwrap().body {
        EventBody::Notice { code, .. } => code.clone(),
        other => other.kind().to_owned(),
    }
}

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until_sound(log: &Log) {
    let mut state = log.watch_degraded();
    let sound = state.wait_for(Option::is_none);
    tokio::time::timeout(PATIENCE, sound)
        .await
        .expect("sound in time")
        .unwrap();
}

#[tokio::test]
async fn an_unusable_file_is_left_alone_and_the_log_goes_on_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let cases: [Vec<u8>; 2] = [b"this is no database, and never was one".repeat(50), {
        let other = directory.path().join("other.db");
        Connection::open(&other)
            .unwrap()
            .execute_batch("PRAGMA application_id = 7; CREATE TABLE t (a)")
            .unwrap();
        std::fs::read(other).unwrap()
    }];
    for content in cases {
        std::fs::write(&path, &content).unwrap();
        let log = Log::open(Options::at(&path));
        let reason = log.degraded().unwrap();
        assert!(reason.contains("journal.db cannot be used"), "{reason}");
        let incident = opened(&log).await;
        assert_eq!(last_code(&log, incident).await, "record_degraded");
        let mut frames = Frames::new(log.attach(incident, 0).unwrap());
        assert_eq!(
            frames.until(|frame| frame.event == "caught-up").await.len(),
            3
        );
        log.shutdown();
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn a_directory_in_the_files_place_degrades_too() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(directory.path()));
    assert!(log.degraded().is_some());
    opened(&log).await;
}

#[tokio::test]
async fn a_failing_store_delays_no_caller_and_reports_its_recovery() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let (sink, lost) = lines();
    let log = Log::open(Options {
        on_unrecorded: Some(sink),
        ..Options::at(&path)
    });
    let incident = opened(&log).await;
    let mut frames = Frames::new(log.attach(incident, 0).unwrap());
    frames.until(|frame| frame.event == "caught-up").await;

    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    log.record(incident, Actor::System, notice("first")).await;
    assert!(log.degraded().is_some());
    let at_once = Instant::now();
    for n in 0..100 {
        log.record(incident, Actor::System, notice(format!("later {n}")))
            .await;
    }
    // Each alone would wait for the lock as long as the first.
    assert!(
        at_once.elapsed() < Duration::from_secs(10),
        "{:?}",
        at_once.elapsed()
    );
    assert!(
        lost.recv_timeout(PATIENCE)
            .unwrap()
            .contains(r#""message":"first""#)
    );
    frames
        .until(|frame| frame.event == "unrecorded" && frame.data.contains("later 99"))
        .await;
    let mut late = Frames::new(log.attach(incident, 0).unwrap());
    late.until(|frame| frame.event == "caught-up").await;
    late.until(|frame| frame.event == "unrecorded" && frame.data.contains("record_degraded"))
        .await;
    let refused = log
        .append(incident, Actor::Agent, notice("agent"))
        .await
        .unwrap_err();
    assert!(matches!(refused, LogError::Unwritable { .. }), "{refused}");

    drop(lock);
    until_sound(&log).await;
    let restored = frames
        .until(|frame| frame.id.is_some())
        .await
        .pop()
        .unwrap();
    assert!(
        restored.data.contains("record_restored") && restored.data.contains("101 events"),
        "{}",
        restored.data
    );
    log.append(incident, Actor::Agent, notice("again"))
        .await
        .unwrap();
    log.shutdown();
    assert!(breakglass_log::verify(&path).unwrap().is_sound());
}

fn decided(approval: &str) -> EventBody {
    EventBody::ApprovalDecided {
        approval: approval.to_owned(),
        decision: Decision::Allow,
        note: None,
    }
}

#[tokio::test]
async fn a_completion_is_reported_once_whether_it_is_recorded_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let (sink, reported) = mpsc::channel();
    let log = Log::open(Options {
        on_completion: Some(Box::new(move |end| drop(sink.send(end.clone())))),
        on_unrecorded: Some(lines().0),
        ..Options::at(&path)
    });
    let incident = opened(&log).await;
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    for end in ["late", "unrecorded"] {
        log.record(incident, Actor::System, decided(end)).await;
    }
    drop(lock);
    until_sound(&log).await;
    log.append(incident, Actor::System, decided("recorded"))
        .await
        .unwrap();
    log.shutdown();
    let ends: Vec<EventBody> = reported.try_iter().collect();
    assert_eq!(ends, ["late", "unrecorded", "recorded"].map(decided));
}

#[tokio::test]
async fn a_full_store_refuses_appends_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let (sink, lost) = lines();
    let log = Log::open(Options {
        on_unrecorded: Some(sink),
        max_bytes: 1 << 20,
        ..Options::at(&path)
    });
    let ballast = opened(&log).await;
    let refused = loop {
        if let Err(error) = log
            .append(ballast, Actor::System, notice("x".repeat(50_000)))
            .await
        {
            break error.to_string();
        }
    };
    assert!(refused.contains("full"), "{refused}");
    log.record(ballast, Actor::System, notice("x".repeat(50_000)))
        .await;
    assert!(lost.recv_timeout(PATIENCE).unwrap().contains("full"));
    let room = Connection::open(&path).unwrap();
    room.busy_timeout(PATIENCE).unwrap();
    room.execute_batch("DELETE FROM event; UPDATE incident SET head = 0")
        .unwrap();
    until_sound(&log).await;
    opened(&log).await;
}

#[tokio::test]
async fn every_durable_event_is_shipped_as_one_line_that_names_its_incident() {
    let (sink, shipped) = lines();
    let log = Log::open(Options {
        on_event: Some(sink),
        ..Options::in_memory()
    });
    let incident = opened(&log).await;
    log.append(incident, Actor::System, notice("two\nlines"))
        .await
        .unwrap();
    for seq in 1..=2 {
        let line = shipped.recv_timeout(PATIENCE).unwrap();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&json["incident"], &json["seq"]),
            (&incident.to_string().into(), &seq.into())
        );
        assert_eq!(json["hash"].as_str().unwrap().len(), 64);
    }
}

#[tokio::test]
#[allow(
    clippy::await_holding_lock,
    reason = "the lock is what stalls the sink"
)]
async fn a_sink_that_stalls_does_not_stall_the_log() {
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let sink_gate = Arc::clone(&gate);
    let sink: breakglass_log::LineSink = Box::new(move |_| drop(sink_gate.lock()));
    let log = Log::open(Options {
        on_event: Some(sink),
        ..Options::in_memory()
    });
    let incident = opened(&log).await;
    crate::common::append(&log, incident, 1000).await;
    drop(held);
}
