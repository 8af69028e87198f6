//! A record of an earlier format is brought up to this one, and loses nothing.

use std::path::Path;

use crate::common::{append, opened};
use breakglass_log::{Log, Options, export_from, verify};
use breakglass_model::IncidentId;
use rusqlite::Connection;

/// The tables of the first format, and nothing of a later one.
const FIRST: &str = include_str!("../data/format-1.sql");

/// A record as the first format's program left it, with the events of a journal of today.
async fn first_format(path: &Path) -> IncidentId {
    let today = path.with_extension("today");
    let log = Log::open(Options::at(&today));
    let incident = opened(&log).await;
    append(&log, incident, 5).await;
    log.shutdown();
    let old = Connection::open(path).unwrap();
    old.execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = wal")
        .unwrap();
    old.execute_batch(FIRST).unwrap();
    let copy = format!(
        "ATTACH '{}' AS today;
         INSERT INTO incident SELECT number, id, target, drill, opened_at, closed_at, head, head_hash, last_at, turn, turn_at FROM today.incident;
         INSERT INTO event SELECT * FROM today.event",
        today.display()
    );
    old.execute_batch(&copy).unwrap();
    incident
}

#[tokio::test]
async fn a_record_of_the_first_format_is_audited_exported_and_brought_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let incident = first_format(&path).await;
    // Looking at it changes nothing.
    assert!(verify(&path).unwrap().is_sound());
    let mut before = Vec::new();
    export_from(&path, incident, &mut before).unwrap();
    let format = || -> i64 {
        let connection = Connection::open(&path).unwrap();
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    assert_eq!(format(), 1);
    let log = Log::open(Options::at(&path));
    assert_eq!(log.degraded(), None);
    let mut after = Vec::new();
    export_from(&path, incident, &mut after).unwrap();
    assert_eq!(before, after);
    append(&log, incident, 2).await;
    assert_eq!(log.tombstone(incident).await.unwrap(), None);
    assert_eq!(format(), 2);
    let report = verify(&path).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.incidents[0].events, 8);
}

#[tokio::test]
async fn a_record_of_the_first_format_that_is_full_is_brought_up_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let incident = first_format(&path).await;
    let log = Log::open(Options {
        max_bytes: 1,
        ..Options::at(&path)
    });
    assert_eq!(log.degraded(), None);
    assert_eq!(log.events(incident, 0, 10).await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_record_of_a_later_format_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    first_format(&path).await;
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA user_version = 3").unwrap();
    let reason = Log::open(Options::at(&path)).degraded().unwrap();
    assert!(reason.contains("format 3"), "{reason}");
    let refused = verify(&path).unwrap_err().to_string();
    assert!(refused.contains("format 3"), "{refused}");
}
