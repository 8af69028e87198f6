//! An incident is exported as one verifiable file, and imported into another log whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::common::{Killed, append, child, fill, notice, opened};
use breakglass_log::{
    ExportError, Imported, Log, Options, Retention, export_from, import, verify, verify_export,
};
use breakglass_model::{Actor, EventBody, IncidentId};
use futures_util::StreamExt;
use proptest::prelude::*;
use rusqlite::Connection;

/// Two records and a file between them.
struct Scene {
    directory: tempfile::TempDir,
    log: Log,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(Options::at(directory.path().join("ours.db")));
        Scene { directory, log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn incident(&self, events: usize, closed: bool) -> IncidentId {
        let incident = opened(&self.log).await;
        if events > 100 {
            fill(&self.log, incident, events, "event").await;
        } else {
            append(&self.log, incident, events).await;
        }
        if closed {
            let end = EventBody::IncidentClosed {};
            self.log.append(incident, Actor::System, end).await.unwrap();
        }
        incident
    }

    /// The incident's export as the server sends it, in `export.jsonl`.
    async fn exported(&self, incident: IncidentId) -> PathBuf {
        let mut export = self.log.export(incident).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(block) = export.next().await {
            bytes.extend_from_slice(&block.unwrap());
        }
        let file = self.path("export.jsonl");
        std::fs::write(&file, bytes).unwrap();
        file
    }

    fn import(&self, file: &Path) -> Result<Imported, ExportError> {
        import(file, &self.path("theirs.db"))
    }
}

fn written(record: &Path, incident: IncidentId) -> Vec<u8> {
    let mut out = Vec::new();
    export_from(record, incident, &mut out).unwrap();
    out
}

#[tokio::test]
async fn an_export_is_proved_imported_and_exported_again_byte_for_byte() {
    for closed in [true, false] {
        let scene = Scene::new();
        let incident = scene.incident(2_000, closed).await;
        let file = scene.exported(incident).await;
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(written(&scene.path("ours.db"), incident), bytes);
        let proved = verify_export(&file).unwrap();
        assert_eq!((proved.incident, proved.fault.clone()), (incident, None));
        assert_eq!(proved.events, 2_001 + u64::from(closed));
        let imported = scene.import(&file).unwrap();
        assert!(imported.new);
        assert_eq!(imported.head_hash, proved.head_hash);
        let theirs = scene.path("theirs.db");
        assert_eq!(written(&theirs, incident), bytes);
        assert!(verify(&theirs).unwrap().is_sound());
        let again = scene.import(&file).unwrap();
        assert_eq!(
            again,
            Imported {
                new: false,
                ..imported
            }
        );
    }
}

#[tokio::test]
async fn an_imported_incident_is_closed_and_can_be_read() {
    let scene = Scene::new();
    let incident = scene.incident(3, false).await;
    scene.import(&scene.exported(incident).await).unwrap();
    let theirs = Log::open(Options::at(scene.path("theirs.db")));
    let summary = theirs.incident(incident).await.unwrap().unwrap();
    assert!(summary.closed_at.is_some() && summary.imported_at.is_some());
    assert!(theirs.open_incidents("devvm").await.unwrap().is_empty());
    assert_eq!(
        theirs.events(incident, 0, 10).await.unwrap(),
        scene.log.events(incident, 0, 10).await.unwrap()
    );
    let refused = theirs
        .append(incident, Actor::System, notice("late"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("is closed"), "{refused}");
}

/// Changes the file's lines and gives what importing it says; nothing is written then.
async fn refused_after(change: impl Fn(&mut Vec<String>)) -> String {
    let scene = Scene::new();
    let incident = scene.incident(5, true).await;
    let file = scene.exported(incident).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    change(&mut lines);
    std::fs::write(&file, lines.concat()).unwrap();
    let refused = scene.import(&file).unwrap_err().to_string();
    assert!(!scene.path("theirs.db").exists(), "{refused}");
    if let Ok(proved) = verify_export(&file) {
        assert!(proved.fault.is_some(), "{proved:?}");
    }
    refused
}

type Change = fn(&mut Vec<String>);

#[tokio::test]
async fn a_tampered_export_is_refused_and_the_event_is_named() {
    let cases: [(Change, &str); 12] = [
        (
            |lines| lines[3] = lines[3].replace("event 1", "event 7"),
            "at event 3",
        ),
        (|lines| lines.truncate(5), "at event 5: the log was cut"),
        (|lines| drop(lines.remove(2)), "at event 2"),
        (|lines| lines.swap(2, 3), "at event 2"),
        (|lines| lines.push(lines[7].clone()), "at event 8"),
        (|lines| lines[6].push('\n'), "at event 7"),
        (
            |lines| lines[2] = lines[2].replace("\"}", "\" }"),
            "at event 2: event 2 does not end in its hash",
        ),
        (
            |lines| lines[7] = lines[7].trim_end().to_owned(),
            "at event 7: event 7 can't be read",
        ),
        (
            |lines| lines[0] = lines[0].replace("\"target\":\"devvm\"", "\"target\":\"other\""),
            "at event 1: the incident's header names another target",
        ),
        (
            |lines| lines[0] = lines[0].replace("\"events\":7", "\"events\":6"),
            "the log goes on to 7",
        ),
        (
            |lines| lines[0] = lines[0].replace("export\":1", "export\":2"),
            "export format 2",
        ),
        (|lines| drop(lines.remove(0)), "no export of an incident"),
    ];
    for (change, words) in cases {
        let refused = refused_after(change).await;
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let foreign = |lines: &mut Vec<String>| {
        let (front, rest) = lines[0].split_once("\"incident\":\"").unwrap();
        let other = IncidentId::from_u128(7);
        lines[0] = format!("{front}\"incident\":\"{other}\"{}", &rest[37..]);
    };
    let refused = refused_after(foreign).await;
    assert!(refused.contains("at event 1"), "{refused}");
}

/// An export, made once.
fn sample() -> &'static [u8] {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let scene = Scene::new();
            let incident = scene.incident(4, true).await;
            std::fs::read(scene.exported(incident).await).unwrap()
        })
    })
}

fn holds(bytes: &[u8]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.jsonl");
    std::fs::write(&file, bytes).unwrap();
    verify_export(&file).is_ok_and(|proved| proved.fault.is_none())
}

proptest! {
    #[test]
    fn any_flipped_bit_of_an_export_is_found(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = sample().to_vec();
        prop_assert!(holds(&bytes));
        let header = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let version = header - format!("{}\"}}", env!("CARGO_PKG_VERSION")).len();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // The version of the program that wrote it is said and not proved.
        prop_assume!(!(version..header).contains(&at));
        prop_assert!(!holds(&bytes), "byte {} of {}", at, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_bytes_are_read_as_an_export_without_panic(head in any::<bool>(), bytes: Vec<u8>) {
        let line = sample().split_inclusive(|byte| *byte == b'\n').next().unwrap();
        let front = if head { line } else { &[] };
        prop_assert!(!holds(&[front, &bytes].concat()));
    }
}

#[tokio::test]
async fn an_incident_that_is_there_with_other_events_is_left_alone() {
    let scene = Scene::new();
    let incident = scene.incident(3, false).await;
    let file = scene.exported(incident).await;
    let end = EventBody::IncidentClosed {};
    scene
        .log
        .append(incident, Actor::System, end)
        .await
        .unwrap();
    scene.log.shutdown();
    let ours = scene.path("ours.db");
    let before = written(&ours, incident);
    let Scene { directory, log } = scene;
    drop(log);
    until_alone(&ours);
    let refused = import(&file, &ours).unwrap_err().to_string();
    assert!(refused.contains("it has 5 events"), "{refused}");
    assert_eq!(written(&ours, incident), before);
    drop(directory);
}

/// The journal's reading thread ends a moment after its last owner.
fn until_alone(record: &Path) {
    let alone = || {
        let connection = Connection::open(record).unwrap();
        connection
            .execute_batch("PRAGMA locking_mode = exclusive; BEGIN IMMEDIATE; ROLLBACK")
            .is_ok()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !alone() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn a_record_that_a_server_has_open_takes_no_import() {
    let scene = Scene::new();
    let incident = scene.incident(3, true).await;
    let file = scene.exported(incident).await;
    let theirs = Log::open(Options::at(scene.path("theirs.db")));
    let refused = scene.import(&file).unwrap_err().to_string();
    assert!(refused.contains("has it open"), "{refused}");
    assert_eq!(theirs.degraded(), None);
    assert_eq!(theirs.incident(incident).await.unwrap(), None);
    opened(&theirs).await;
}

#[tokio::test]
async fn what_retention_removed_comes_back_from_its_export_alone() {
    let scene = Scene::new();
    let incident = scene.incident(3, true).await;
    let file = scene.exported(incident).await;
    let theirs = scene.path("theirs.db");
    scene.import(&file).unwrap();
    let keep = Retention {
        keep_days: 0,
        keep_incidents: 1,
    };
    let log = Log::open(Options {
        keep,
        ..Options::at(&theirs)
    });
    let newer = opened(&log).await;
    let end = EventBody::IncidentClosed {};
    log.append(newer, Actor::System, end).await.unwrap();
    while log.tombstone(incident).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    log.shutdown();
    drop(log);
    until_alone(&theirs);
    let mut cut = std::fs::read_to_string(&file).unwrap();
    let other = scene.path("other.jsonl");
    // The same incident, exported before its last event: a chain that holds, and another content.
    cut.truncate(cut.trim_end().rfind('\n').unwrap() + 1);
    let last = cut.trim_end().rsplit_once("\"hash\":\"").unwrap().1[..64].to_owned();
    let (header, events) = cut.split_once('\n').unwrap();
    let (front, _) = header.split_once("\"events\":").unwrap();
    let header = format!("{front}\"events\":4,\"head_hash\":\"{last}\",\"breakglass\":\"0\"}}");
    std::fs::write(&other, format!("{header}\n{events}")).unwrap();
    assert_eq!(verify_export(&other).unwrap().fault, None);
    let refused = scene.import(&other).unwrap_err().to_string();
    assert!(
        refused.contains("retention removed one with 5 events"),
        "{refused}"
    );
    assert!(scene.import(&file).unwrap().new);
    let report = verify(&theirs).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.incidents.len(), report.removed.len()), (2, 1));
}

#[tokio::test]
async fn an_export_of_what_is_not_there_says_so() {
    let scene = Scene::new();
    let unknown = IncidentId::from_u128(1);
    let refused = scene.log.export(unknown).await.unwrap_err().to_string();
    assert!(refused.contains("is not in the log"), "{refused}");
    let refused = export_from(&scene.path("ours.db"), unknown, &mut Vec::new()).unwrap_err();
    assert!(
        refused.to_string().contains("is not in the log"),
        "{refused}"
    );
    let refused = verify_export(&scene.path("none.jsonl")).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("none.jsonl cannot be examined")
    );
}

const CHILD: &str = "LOG_IMPORT_CHILD";

/// The part of the next test that is killed; on its own it has nothing to do.
#[test]
fn a_child_imports_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let directory = Path::new(&directory);
    println!("\nbegins");
    import(
        &directory.join("export.jsonl"),
        &directory.join("theirs.db"),
    )
    .unwrap();
}

#[tokio::test]
async fn kill_9_during_an_import_leaves_all_of_it_or_nothing() {
    let scene = Scene::new();
    let incident = scene.incident(4_000, true).await;
    let file = scene.exported(incident).await;
    let theirs = scene.path("theirs.db");
    for round in 0..25 {
        let directory = scene.directory.path();
        let mut running: Killed = child(
            "export::a_child_imports_until_it_is_killed",
            CHILD,
            directory,
        );
        running.lines("begins", 1);
        std::thread::sleep(Duration::from_millis(round * 9));
        drop(running);
        if !theirs.exists() {
            continue;
        }
        let report = match verify(&theirs) {
            Ok(report) => report,
            // It died before the file was a record; the next import makes it one.
            Err(error) => {
                assert!(
                    error.to_string().contains("no such table"),
                    "round {round}: {error}"
                );
                continue;
            }
        };
        assert!(report.is_sound(), "round {round}: {report:?}");
        let whole = report.incidents.iter().all(|one| one.events == 4_002);
        assert!(whole, "round {round}: {report:?}");
    }
    scene.import(&file).unwrap();
    assert_eq!(written(&theirs, incident), std::fs::read(&file).unwrap());
}
