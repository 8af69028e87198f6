//! A reader of the whole log: woken by what is appended, told of what could not be.

use crate::common::opened;
use breakglass_log::{Log, Options};
use breakglass_model::{Actor, EventBody, TurnOutcome, clock};

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

#[tokio::test]
async fn a_selection_gives_the_wanted_kinds_and_says_how_far_it_looked() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    for turn in 1..=3 {
        for body in [text(turn), ended(turn)] {
            log.append(incident, Actor::Agent, body).await.unwrap();
        }
    }
    let all = log.select(incident, 0, &["turn_ended"]).await.unwrap();
    let seqs: Vec<u64> = all.events.iter().map(|event| event.seq).collect();
    assert_eq!((seqs, all.last), (vec![3, 5, 7], 7));
    let rest = log.select(incident, 5, &["turn_ended"]).await.unwrap();
    assert_eq!((rest.events.len(), rest.last), (1, 7));
    let none = log.select(incident, 7, &["turn_ended"]).await.unwrap();
    assert_eq!((none.events.len(), none.last), (0, 7));
}

#[tokio::test]
async fn a_selection_of_a_long_log_comes_in_pieces() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    let appends = (0..5000).map(|_| log.append(incident, Actor::Agent, text(1)));
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let first = log.select(incident, 0, &["turn_ended"]).await.unwrap();
    assert_eq!(first.last, 4096);
    let second = log
        .select(incident, first.last, &["turn_ended"])
        .await
        .unwrap();
    assert_eq!(second.last, 5001);
}

#[tokio::test]
async fn what_is_appended_wakes_and_the_active_incidents_are_told() {
    let log = Log::open(Options::in_memory());
    let mut appended = log.watch_appended();
    let before = clock::now();
    let incident = opened(&log).await;
    appended.changed().await.unwrap();
    let active = log.incidents_active_since(&before).await.unwrap();
    assert_eq!((active[0].incident, active[0].head), (incident, 1));
    let later = log.incidents_active_since("2999-01-01T00:00:00.000Z");
    assert!(later.await.unwrap().is_empty());
}

#[tokio::test]
async fn what_could_not_be_recorded_reaches_who_follows() {
    let log = Log::open(Options::in_memory());
    let mut unrecorded = log.watch_unrecorded();
    let unknown = uuid::Uuid::now_v7();
    log.record(unknown, Actor::System, text(1)).await;
    let told = unrecorded.recv().await.unwrap();
    assert_eq!((told.incident, told.body), (unknown, text(1)));
}
