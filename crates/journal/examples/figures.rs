//! Append and replay rates of this machine: `cargo run --release -p breakglass-journal --example figures`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement, not the product"
)]

use std::time::Instant;

use breakglass_journal::{Actor, EventBody, IncidentId, Journal, Level, Options, verify};
use futures_util::StreamExt;

const EVENTS: usize = 100_000;

fn event() -> EventBody {
    EventBody::Notice {
        level: Level::Info,
        code: "figure".to_owned(),
        message: "x".repeat(190),
    }
}

async fn append(journal: &Journal, incident: IncidentId, writers: usize, events: usize) -> f64 {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let journal = journal.clone();
        tasks.spawn(async move {
            for _ in 0..events / writers {
                journal
                    .append(incident, Actor::System, event())
                    .await
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
    events as f64 / start.elapsed().as_secs_f64()
}

async fn replay(journal: &Journal, incident: IncidentId) -> (usize, f64) {
    let start = Instant::now();
    let mut attachment = journal.attach(incident, 0).unwrap();
    let mut bytes = 0;
    while let Some(chunk) = attachment.next().await {
        bytes += chunk.len();
        if chunk.starts_with(b"event: caught-up") {
            break;
        }
    }
    (bytes, start.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let start = Instant::now();
    let journal = Journal::open(Options::at(&path));
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let incident = journal
        .open_incident("devvm", Actor::System, true)
        .await
        .unwrap();
    println!(
        "append, 1 writer: {:.0}/s",
        append(&journal, incident, 1, 5_000).await
    );
    println!(
        "append, 64 writers: {:.0}/s",
        append(&journal, incident, 64, EVENTS).await
    );
    for _ in 0..5 {
        let (bytes, seconds) = replay(&journal, incident).await;
        println!(
            "replay: {bytes} bytes in {:.1} ms, {:.2} GB/s",
            seconds * 1e3,
            bytes as f64 / seconds / 1e9
        );
    }
    journal.shutdown();
    let start = Instant::now();
    assert!(verify(&path).unwrap().is_sound());
    println!("verify: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}
