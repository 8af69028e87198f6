//! Append and replay rates of this machine: `cargo run --release -p breakglass-log --example figures`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement, not the product"
)]

use std::time::Instant;

use breakglass_log::{Log, Options, verify};
use breakglass_model::{Actor, EventBody, IncidentId, Level};
use futures_util::StreamExt;

const EVENTS: usize = 100_000;

fn event() -> EventBody {
    EventBody::Notice {
        level: Level::Info,
        code: "figure".to_owned(),
        message: "x".repeat(190),
    }
}

async fn append(log: &Log, incident: IncidentId, writers: usize, events: usize) -> f64 {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let log = log.clone();
        tasks.spawn(async move {
            for _ in 0..events / writers {
                log.append(incident, Actor::System, event()).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    events as f64 / start.elapsed().as_secs_f64()
}

async fn replay(log: &Log, incident: IncidentId) -> (usize, f64) {
    let start = Instant::now();
    let mut attachment = log.attach(incident, 0).unwrap();
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
    let log = Log::open(Options::at(&path));
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let incident = log
        .open_incident("devvm", Actor::System, true)
        .await
        .unwrap();
    println!(
        "append, 1 writer: {:.0}/s",
        append(&log, incident, 1, 5_000).await
    );
    println!(
        "append, 64 writers: {:.0}/s",
        append(&log, incident, 64, EVENTS).await
    );
    for _ in 0..5 {
        let (bytes, seconds) = replay(&log, incident).await;
        println!(
            "replay: {bytes} bytes in {:.1} ms, {:.2} GB/s",
            seconds * 1e3,
            bytes as f64 / seconds / 1e9
        );
    }
    log.shutdown();
    let start = Instant::now();
    assert!(verify(&path).unwrap().is_sound());
    println!("verify: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}
