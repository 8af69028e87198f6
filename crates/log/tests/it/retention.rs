//! Retention removes old incidents, keeps open ones, and delays no caller.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::{Killed, append, child, fill, notice, opened};
use breakglass_log::{Log, Options, RemovalReason, Retention, VerifyReport, verify};
use breakglass_model::{Actor, EventBody, IncidentId, Verb, VerbOutcome};
use proptest::prelude::*;
use rusqlite::Connection;
use uuid::Uuid;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

async fn close(log: &Log, incident: IncidentId) {
    log.append(incident, Actor::System, EventBody::IncidentClosed {})
        .await
        .unwrap();
}

async fn closed(log: &Log, events: usize) -> IncidentId {
    let incident = opened(log).await;
    fill(log, incident, events, "event").await;
    close(log, incident).await;
    incident
}

fn count(path: &Path, sql: &str) -> i64 {
    Connection::open(path)
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

/// Waits until retention has nothing left to do that concerns `incident`.
async fn until_gone(log: &Log, path: &Path, incident: IncidentId) {
    let gone = async {
        while log.tombstone(incident).await.unwrap().is_none()
            || count(path, "SELECT count(*) FROM purge") > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), gone)
        .await
        .expect("gone within 90 s");
}

fn sound(path: &Path) -> VerifyReport {
    let report = verify(path).unwrap();
    assert!(report.is_sound(), "{report:?}");
    report
}

fn keep(path: &Path, keep_days: u32, keep_incidents: u32) -> Log {
    let keep = Retention {
        keep_days,
        keep_incidents,
    };
    Log::open(Options {
        keep,
        ..Options::at(path)
    })
}

#[tokio::test]
async fn the_oldest_closed_incidents_go_whole_and_leave_their_last_hash() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let log = keep(&path, 0, 2);
    let still_open = opened(&log).await;
    let first = closed(&log, 700).await;
    let head_hash = log.events(first, 701, 10).await.unwrap()[0].hash.clone();
    let second = closed(&log, 3).await;
    let third = closed(&log, 3).await;
    until_gone(&log, &path, first).await;
    let gone = log.tombstone(first).await.unwrap().unwrap();
    assert_eq!((gone.events, &gone.head_hash), (702, &head_hash));
    assert_eq!(
        (gone.target.as_str(), gone.reason),
        ("devvm", RemovalReason::Count)
    );
    assert!(log.incident(first).await.unwrap().is_none());
    let refused = log.events(first, 0, 10).await.unwrap_err().to_string();
    assert!(refused.contains("is not in the log"), "{refused}");
    let refused = log.append(first, Actor::System, notice("late")).await;
    assert!(refused.is_err());
    let report = sound(&path);
    let left: Vec<IncidentId> = report.incidents.iter().map(|one| one.incident).collect();
    assert_eq!(left, [still_open, second, third]);
    assert_eq!(report.removed, [gone]);
    assert_eq!(
        count(&path, "SELECT count(*) FROM event WHERE place >> 32 = 2"),
        0
    );
}

#[tokio::test]
async fn an_incident_goes_when_it_was_closed_for_too_long() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let log = keep(&path, 30, 0);
    let old = closed(&log, 3).await;
    let young = closed(&log, 3).await;
    log.run_retention();
    assert!(log.tombstone(old).await.unwrap().is_none());
    let then = jiff::Timestamp::now().as_millisecond() - 31 * DAY_MS;
    let then = jiff::Timestamp::from_millisecond(then).unwrap().to_string();
    let other = Connection::open(&path).unwrap();
    other
        .execute(
            "UPDATE incident SET closed_at = ?1 WHERE number = 1",
            [&then],
        )
        .unwrap();
    log.run_retention();
    until_gone(&log, &path, old).await;
    assert_eq!(
        log.tombstone(old).await.unwrap().unwrap().reason,
        RemovalReason::Age
    );
    assert!(log.incident(young).await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_that_nears_its_bound_lets_the_oldest_closed_go_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let log = Log::open(Options {
        max_bytes: 4 << 20,
        ..Options::at(&path)
    });
    let open = opened(&log).await;
    let mut old = Vec::new();
    for _ in 0..3 {
        let incident = opened(&log).await;
        for _ in 0..20 {
            let body = notice("x".repeat(40_000));
            log.append(incident, Actor::System, body).await.unwrap();
        }
        close(&log, incident).await;
        old.push(incident);
    }
    // Three times what fits, without one refusal: what is closed makes room as it goes.
    for n in 0..60 {
        let body = notice(format!("{n}{}", "y".repeat(40_000)));
        log.append(open, Actor::System, body).await.unwrap();
    }
    assert_eq!(log.degraded(), None);
    let first = log.tombstone(old[0]).await.unwrap().unwrap();
    assert_eq!(first.reason, RemovalReason::Size);
    assert_eq!(log.incident(open).await.unwrap().unwrap().head, 61);
    // Where nothing is closed any more, it is as it was: appends fail as on a full disk.
    let refused = loop {
        let body = notice("z".repeat(40_000));
        if let Err(error) = log.append(open, Actor::System, body).await {
            break error.to_string();
        }
    };
    assert!(refused.contains("full"), "{refused}");
    for incident in old {
        assert!(log.tombstone(incident).await.unwrap().is_some());
    }
    log.shutdown();
    sound(&path);
}

#[tokio::test]
async fn the_pictures_of_a_removed_incident_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let (sender, forgotten) = mpsc::channel();
    let keep = Retention {
        keep_days: 0,
        keep_incidents: 1,
    };
    let log = Log::open(Options {
        keep,
        on_forgotten: Some(Box::new(move |operation| sender.send(operation).unwrap())),
        ..Options::at(&path)
    });
    let first = opened(&log).await;
    let pictured = Uuid::now_v7();
    for (operation, picture) in [(pictured, true), (Uuid::now_v7(), false)] {
        let finished = EventBody::VerbFinished {
            operation,
            target: "devvm".to_owned(),
            verb: Verb::Cycle,
            outcome: VerbOutcome::Done,
            verdict: None,
            exit_code: Some(0),
            message: "done".to_owned(),
            duration_ms: 1,
            omitted_lines: 0,
            picture,
        };
        log.append(first, Actor::System, finished).await.unwrap();
    }
    close(&log, first).await;
    closed(&log, 1).await;
    until_gone(&log, &path, first).await;
    assert_eq!(forgotten.try_iter().collect::<Vec<_>>(), [pictured]);
}

#[tokio::test]
async fn an_append_never_waits_for_a_removal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let log = Log::open(Options::at(&path));
    let long = opened(&log).await;
    fill(&log, long, 20_000, &"x".repeat(2_000)).await;
    close(&log, long).await;
    let open = opened(&log).await;
    closed(&log, 1).await;
    log.shutdown();
    let log = keep(&path, 0, 1);
    let mut waits = Vec::new();
    let purging = "SELECT count(*) FROM purge";
    while log.tombstone(long).await.unwrap().is_none() || count(&path, purging) > 0 {
        let asked = Instant::now();
        append(&log, open, 1).await;
        waits.push(asked.elapsed());
    }
    waits.sort_unstable();
    let (during, half) = (waits.len(), waits[waits.len() / 2]);
    println!("{during} appends during the removal, half of them in {half:?}");
    // 40 MB take seconds as one transaction, and one append would wait for it. One step of it is a
    // few milliseconds; a machine that others use may hold up any one append, not most of them.
    assert!(during > 10, "only {during} appends fell into the removal");
    assert!(half < Duration::from_millis(400), "{half:?}");
    until_gone(&log, &path, long).await;
    sound(&path);
}

const CHILD: &str = "LOG_RETENTION_CHILD";

/// The part of the next test that is killed; on its own it has nothing to do.
#[tokio::test]
async fn a_child_removes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let log = keep(Path::new(&path), 0, 1);
    loop {
        closed(&log, 300).await;
        println!("\nclosed");
    }
}

#[test]
fn kill_9_during_a_removal_leaves_a_sound_record_in_thirty_rounds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    for round in 0..30 {
        let mut running: Killed = child(
            "retention::a_child_removes_until_it_is_killed",
            CHILD,
            &path,
        );
        running.lines("closed", round % 4 + 2);
        std::thread::sleep(Duration::from_micros(round as u64 * 3_701 % 20_000));
        drop(running);
        let report = sound(&path);
        let removed: Vec<IncidentId> = report.removed.iter().map(|one| one.incident).collect();
        let left = report.incidents.iter().map(|one| one.incident);
        assert!(
            left.clone().all(|one| !removed.contains(&one)),
            "round {round}"
        );
    }
}

#[tokio::test]
async fn an_audit_tells_a_removal_by_hand_from_one_by_retention() {
    for (change, words) in [
        (
            "DELETE FROM tombstone WHERE entry = 1",
            "tombstone 1 is not what was recorded",
        ),
        (
            "DELETE FROM tombstone WHERE entry = 2",
            "tombstones 2 to 2 were removed",
        ),
        (
            "UPDATE tombstone SET json = replace(json, '\"events\":', '\"events\":1') WHERE entry = 2",
            "tombstone 2 is not what was recorded",
        ),
        (
            "DELETE FROM incident WHERE number = 3",
            "incidents 3 to 3 were removed",
        ),
        (
            "INSERT INTO event SELECT (1 << 32) + 1, json, hash FROM event LIMIT 1",
            "1 events belong to no incident",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.db");
        let log = keep(&path, 0, 1);
        closed(&log, 1).await;
        let second = closed(&log, 1).await;
        closed(&log, 1).await;
        until_gone(&log, &path, second).await;
        log.shutdown();
        assert_eq!(sound(&path).removed.len(), 2);
        Connection::open(&path)
            .unwrap()
            .execute_batch(change)
            .unwrap();
        let report = verify(&path).unwrap();
        assert!(!report.is_sound(), "not found: {change}");
        let found = report.faults.join("; ");
        assert!(found.contains(words), "{change}: {found}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_open_incident_is_ever_removed(
        shapes in prop::collection::vec((any::<bool>(), 0usize..20), 1..12),
        keep_incidents in 1u32..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("journal.db");
            let log = keep(&path, 0, keep_incidents);
            let (mut open, mut shut) = (Vec::new(), Vec::new());
            for (stays_open, events) in shapes {
                let incident = opened(&log).await;
                append(&log, incident, events).await;
                if stays_open {
                    open.push((incident, events as u64 + 1));
                } else {
                    close(&log, incident).await;
                    shut.push(incident);
                }
            }
            let too_many = shut.len().saturating_sub(keep_incidents as usize);
            for gone in &shut[..too_many] {
                until_gone(&log, &path, *gone).await;
            }
            for (incident, events) in open {
                let there = log.incident(incident).await.unwrap().expect("it is open");
                assert_eq!(there.head, events);
            }
            for kept in &shut[too_many..] {
                assert!(log.incident(*kept).await.unwrap().is_some());
            }
            log.shutdown();
            sound(&path);
        });
    }
}
