//! Attaching: replay and tail are one sequence, for every interleaving.

use crate::common::{Frames, append, ids, notice, opened};
use breakglass_log::{Log, LogError, Options};
use breakglass_model::{Actor, EventBody, Frame};
use proptest::prelude::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn resuming_at_any_event_during_appends_gives_each_event_exactly_once(before in 0usize..40, during in 1usize..40) {
        runtime().block_on(async move {
            let log = Log::open(Options::in_memory());
            let incident = opened(&log).await;
            append(&log, incident, before).await;
            let end = (1 + before + during) as u64;
            let writer = tokio::spawn({
                let log = log.clone();
                async move { append(&log, incident, during).await }
            });
            let mut readers = tokio::task::JoinSet::new();
            for cut in 0..end {
                let log = log.clone();
                readers.spawn(async move {
                    tokio::task::yield_now().await;
                    // No reader can have seen an event before it happened.
                    while log.incident(incident).await.unwrap().unwrap().head < cut {
                        tokio::task::yield_now().await;
                    }
                    let mut frames = Frames::new(log.attach(incident, cut).unwrap());
                    let seen = frames.until(|frame| frame.id == Some(end)).await;
                    assert_eq!(ids(&seen), (cut + 1..=end).collect::<Vec<_>>(), "resumed after {cut}");
                });
            }
            writer.await.unwrap();
            while let Some(reader) = readers.join_next().await {
                reader.unwrap();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_each_get_every_event_once() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let mut frames = Frames::new(log.attach(incident, 0).unwrap());
        readers.spawn(async move { ids(&frames.until(|frame| frame.id == Some(101)).await) });
    }
    assert_eq!(log.readers(incident), 1000);
    append(&log, incident, 100).await;
    while let Some(seen) = readers.join_next().await {
        assert_eq!(seen.unwrap(), (1..=101).collect::<Vec<_>>());
    }
    assert_eq!(log.readers(incident), 0);
}

#[tokio::test]
async fn a_reader_that_lags_is_cut_off_and_resumes_by_its_last_id() {
    let log = Log::open(Options {
        ring_frames: 8,
        ..Options::in_memory()
    });
    let incident = opened(&log).await;
    let mut slow = Frames::new(log.attach(incident, 0).unwrap());
    slow.until(|frame| frame.event == "caught-up").await;
    append(&log, incident, 20).await;
    assert_eq!(slow.next().await, None);
    let mut again = Frames::new(log.attach(incident, 1).unwrap());
    assert_eq!(
        ids(&again.until(|frame| frame.event == "caught-up").await),
        (2..=21).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_replay_that_the_ring_overtakes_goes_on_from_the_store() {
    let log = Log::open(Options {
        ring_frames: 8,
        ..Options::in_memory()
    });
    let incident = opened(&log).await;
    let mut slow = Frames::new(log.attach(incident, 0).unwrap());
    append(&log, incident, 50).await;
    assert_eq!(
        ids(&slow.until(|frame| frame.event == "caught-up").await),
        (1..=51).collect::<Vec<_>>()
    );
}

fn delta(text: &str) -> Frame {
    Frame::TextDelta {
        turn: 1,
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn who_joins_in_the_middle_of_a_block_gets_what_it_holds_so_far() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    log.publish(incident, delta("The disk "));
    log.publish(incident, delta("is full"));
    let mut frames = Frames::new(log.attach(incident, 0).unwrap());
    let seen = frames.until(|frame| frame.event == "text_snapshot").await;
    let events: Vec<&str> = seen.iter().map(|frame| frame.event.as_str()).collect();
    assert_eq!(events, ["incident_opened", "caught-up", "text_snapshot"]);
    assert!(seen[2].data.contains("The disk is full"));
    log.publish(incident, delta("."));
    assert_eq!(frames.next().await.unwrap().event, "text_delta");
    let whole = EventBody::Text {
        turn: 1,
        text: "The disk is full.".to_owned(),
    };
    log.append(incident, Actor::Agent, whole).await.unwrap();
    assert_eq!(frames.next().await.unwrap().event, "text");
    let mut late = Frames::new(log.attach(incident, 0).unwrap());
    late.until(|frame| frame.event == "caught-up").await;
    append(&log, incident, 1).await;
    assert_eq!(
        late.next().await.unwrap().event,
        "notice",
        "no snapshot after the durable text"
    );
}

#[tokio::test]
async fn a_stream_ends_after_the_incidents_last_event() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    let mut attached = Frames::new(log.attach(incident, 0).unwrap());
    attached.until(|frame| frame.event == "caught-up").await;
    log.append(incident, Actor::System, EventBody::IncidentClosed {})
        .await
        .unwrap();
    assert_eq!(attached.next().await.unwrap().event, "incident_closed");
    assert_eq!(attached.next().await, None);
    let mut later = Frames::new(log.attach(incident, 0).unwrap());
    assert_eq!(ids(&later.until(|_| false).await), [1, 2]);
    let refused = log
        .append(incident, Actor::System, notice("late"))
        .await
        .unwrap_err();
    assert_eq!(refused, LogError::Closed { incident });
}

#[tokio::test]
async fn shutdown_leaves_one_whole_file_behind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("record.db");
    let log = Log::open(Options::at(&file));
    let opened = log.open_incident("devvm", Actor::System, false).await;
    opened.unwrap();
    log.shutdown();
    let copy = directory.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    assert_eq!(breakglass_log::verify(&copy).unwrap().incidents.len(), 1);
}

#[tokio::test]
async fn shutdown_writes_the_queue_and_ends_every_stream() {
    let log = Log::open(Options::in_memory());
    let incident = opened(&log).await;
    let mut frames = Frames::new(log.attach(incident, 0).unwrap());
    frames.until(|frame| frame.event == "caught-up").await;
    log.shutdown();
    assert_eq!(frames.next().await, None);
    assert_eq!(
        Frames::new(log.attach(incident, 1).unwrap())
            .until(|_| false)
            .await
            .len(),
        1
    );
    assert_eq!(
        log.append(incident, Actor::System, notice("late")).await,
        Err(LogError::Stopped)
    );
}

#[tokio::test]
async fn an_unknown_incident_has_no_stream() {
    let log = Log::open(Options::in_memory());
    let incident = breakglass_model::IncidentId::nil();
    assert_eq!(
        log.attach(incident, 0).unwrap_err(),
        LogError::NotFound { incident }
    );
    assert_eq!(
        log.append(incident, Actor::System, notice("x")).await,
        Err(LogError::NotFound { incident })
    );
}
