//! 1,000 attached clients while about 50 events a second are written: delay, loss, memory.
//!
//! The writer is the power path itself: a `status` to a host that refuses connections records
//! two events, and 25 of them are requested each second.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::server::{Deployment, Server};
use crate::stats;

const CLIENTS: usize = 1000;
const SECONDS: u64 = 10;
const VERBS_PER_SECOND: u64 = 25;

/// The frames that one client received.
#[derive(Default)]
struct Seen {
    delays: Vec<f64>,
    events: u64,
    last: u64,
    gaps: u64,
}

pub(crate) fn run() {
    let deployment = Deployment::without_target();
    let server = Server::start(&deployment);
    let answer = server.ask("POST", "/api/incidents", r#"{"target":"devvm"}"#);
    let incident = answer
        .split('"')
        .find(|part| part.len() == 36)
        .unwrap()
        .to_owned();
    let before = server.rss_mib();

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (seen, peak) = runtime.block_on(measure(&server, &incident, &deployment.authorization()));

    let mut delays: Vec<f64> = seen
        .iter()
        .flat_map(|client| client.delays.iter().copied())
        .collect();
    let most = seen.iter().map(|client| client.last).max().unwrap();
    let lost: u64 = seen
        .iter()
        .map(|client| client.gaps + (most - client.last))
        .sum();
    let p50 = stats::percentile(&mut delays, 0.5);
    let p99 = stats::percentile(&mut delays, 0.99);
    let name = format!(
        "{CLIENTS} clients, {:.0} events/s",
        seen[0].events as f64 / SECONDS as f64
    );
    let ours = format!(
        "p50 {p50:.0} ms, p99 {p99:.0} ms, lost {lost}, RSS {peak:.0} MiB (idle {before:.0})"
    );
    stats::print(&name, &ours, "–", None, "lost 0");
}

async fn measure(server: &Server, incident: &str, auth: &str) -> (Vec<Seen>, f64) {
    let stop = tokio_util::sync::CancellationToken::new();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(follow(
            server.address,
            incident.to_owned(),
            auth.to_owned(),
            stop.clone(),
        ));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut tick = tokio::time::interval(Duration::from_millis(1000 / VERBS_PER_SECOND));
    let mut writer = TcpStream::connect(server.address).await.unwrap();
    let mut peak = 0.0_f64;
    for _ in 0..SECONDS * VERBS_PER_SECOND {
        tick.tick().await;
        let request = format!(
            "POST /api/targets/devvm/verbs/status HTTP/1.1\r\nhost: {}\r\n{auth}content-length: 0\r\n\r\n",
            server.address
        );
        writer.write_all(request.as_bytes()).await.unwrap();
        drain(&mut writer);
        peak = peak.max(server.rss_mib());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    (clients.join_all().await, peak)
}

/// Discards the server's answers so far.
fn drain(socket: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while socket.try_read(&mut buffer).is_ok_and(|count| count > 0) {}
}

async fn follow(
    address: SocketAddr,
    incident: String,
    auth: String,
    stop: tokio_util::sync::CancellationToken,
) -> Seen {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET /api/incidents/{incident}/events HTTP/1.1\r\nhost: {address}\r\n{auth}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(socket).lines();
    let mut seen = Seen::default();
    loop {
        let line = tokio::select! {
            () = stop.cancelled() => return seen,
            line = lines.next_line() => line,
        };
        let Ok(Some(line)) = line else { return seen };
        note(&mut seen, &line);
    }
}

fn note(seen: &mut Seen, line: &str) {
    if let Some(id) = line
        .strip_prefix("id: ")
        .and_then(|id| id.parse::<u64>().ok())
    {
        seen.gaps += id - seen.last - 1;
        seen.last = id;
        return;
    }
    let Some((_, rest)) = line.split_once("\"at\":\"") else {
        return;
    };
    let at: jiff::Timestamp = rest.split('"').next().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    seen.events += 1;
    seen.delays
        .push((stats::millis(now) - at.as_millisecond() as f64).max(0.0));
}
