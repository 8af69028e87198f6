//! A reader of the whole log: appended events wake it, and unrecorded events reach it.

use crate::common::opened;
use breakglass_log::{EventCursor, Log, Options};
use breakglass_model::{Actor, EventBody, Time, TurnOutcome};

fn text(turn: u32) -> EventBody {
    EventBody::Text {
        turn,
        text: "looking".into(),
    }
}

fn ended(turn: u32) -> EventBody {
    EventBody::TurnEnded {
        turn,
        outcome: TurnOutcome::Done,
        reason: None,
        duration_ms: 1,
        cost_usd: None,
    }
}

async fn read(mut events: EventCursor) -> (Vec<u64>, u64) {
    let mut seqs = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        seqs.push(event.seq);
    }
    (seqs, events.position())
}

#[tokio::test]
async fn a_cursor_gives_the_wanted_kinds_and_its_position() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    for turn in 1..=3 {
        for body in [text(turn), ended(turn)] {
            log.append(incident, Actor::Agent, body).await.unwrap();
        }
    }
    let from = |after| log.read(incident, after).only(&["turn_ended"]);
    assert_eq!(read(from(0)).await, (vec![3, 5, 7], 7));
    assert_eq!(read(from(5)).await, (vec![7], 7));
    assert_eq!(read(from(7)).await, (vec![], 7));
    assert_eq!(read(log.read(incident, 5)).await, (vec![6, 7], 7));
}

#[tokio::test]
async fn a_cursor_reads_a_long_log_page_by_page_and_continues_with_new_events() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    let appends = (0..5000).map(|_| log.append(incident, Actor::Agent, text(1)));
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let mut events = log.read(incident, 0).only(&["turn_ended"]);
    assert_eq!(events.next().await.unwrap(), None);
    assert_eq!(events.position(), 5001);
    let all = read(log.read(incident, 0)).await;
    assert_eq!(all, ((1..=5001).collect(), 5001));
    log.append(incident, Actor::Agent, ended(1)).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().seq, 5002);
}

#[tokio::test]
async fn an_append_wakes_the_reader_and_active_incidents_are_listed() {
    let log = Log::open(Options::in_memory());
    let mut appended = log.watch_appended();
    let before = Time::now();
    let incident = opened(&log).await;
    appended.changed().await.unwrap();
    let active = log.incidents_active_since(before).await.unwrap();
    assert_eq!((active[0].incident, active[0].head), (incident, 1));
    let later = log.incidents_active_since("2999-01-01T00:00:00.000Z".parse().unwrap());
    assert!(later.await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unrecorded_event_reaches_the_reader() {
    let log = Log::open(Options::in_memory());
    let mut unrecorded = log.watch_unrecorded();
    let unknown = uuid::Uuid::now_v7();
    log.record(unknown, Actor::System, text(1)).await;
    let event = unrecorded.recv().await.unwrap();
    assert_eq!((event.incident, event.body), (unknown, text(1)));
}
