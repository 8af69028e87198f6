//! Time from the process's start to its first answer, and its idle memory.

use std::time::{Duration, Instant};

use crate::server::{Deployment, Server};
use crate::stats;

pub(crate) fn run() {
    let deployment = Deployment::without_target();
    let mut starts: Vec<f64> = (0..10)
        .map(|_| {
            let started = Instant::now();
            let server = Server::start(&deployment);
            let elapsed = stats::millis(started.elapsed());
            drop(server);
            elapsed
        })
        .collect();
    let start = stats::median(&mut starts);
    stats::print(
        "process start to first answer",
        &format!("{start:.1} ms"),
        "–",
        None,
        "≤ 20 ms",
    );

    let server = Server::start(&deployment);
    std::thread::sleep(Duration::from_secs(3));
    let rss = server.rss_mib();
    stats::print(
        "idle RSS, without the CLI",
        &format!("{rss:.1} MiB"),
        "–",
        None,
        "≤ 12 MB",
    );
}
