//! Replay of 100,000 events of 300 bytes, against nginx serving the same bytes from a file.

use std::process::{Child, Command, Stdio};

use breakglass_log::{Log, Options};
use breakglass_model::{Actor, EventBody, IncidentId};

use crate::raw;
use crate::server::{Deployment, RECORD_FILE, Server, free_port};
use crate::stats;

const EVENTS: u64 = 100_000;
/// Makes an event of 300 bytes, as JSON.
const EVENT_TEXT: usize = 133;
const ROUNDS: usize = 15;

pub(crate) fn run() {
    let deployment = Deployment::without_target();
    let incident = fill(&deployment);
    let server = Server::start(&deployment);
    let path = format!("/api/incidents/{incident}/events");
    let auth = deployment.authorization();

    let replay = || {
        let mut socket = raw::get(server.address, &path, &auth);
        raw::read_until(&mut socket, b"event: caught-up")
    };
    let bytes = replay();
    let file = deployment.dir().join("replay.bin");
    std::fs::write(&file, vec![b'x'; bytes]).unwrap();
    let nginx = Nginx::start(deployment.dir());
    let fetch = || {
        let mut socket = raw::get(nginx.address, "/replay.bin", "connection: close\r\n");
        raw::read_exact(&mut socket, bytes);
    };
    let ours = || {
        stats::time(|| {
            replay();
        })
    };
    let (ours, theirs) = stats::paired(ROUNDS, ours, || stats::time(fetch));
    let rate = |millis: f64| bytes as f64 / millis / 1e6;
    stats::print(
        &format!(
            "replay of {EVENTS} events, {} bytes each on the wire",
            bytes as u64 / EVENTS
        ),
        &format!("{:.2} GB/s", rate(ours)),
        &format!("nginx, the same bytes: {:.2} GB/s", rate(theirs)),
        Some(theirs / ours),
        "≥ 1 GB/s, ≥ 0.6×",
    );
}

/// Writes the log before the server opens it.
fn fill(deployment: &Deployment) -> IncidentId {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = Log::open(Options::at(deployment.data_dir().join(RECORD_FILE)));
        let incident = log
            .open_incident("devvm", Actor::System, false)
            .await
            .unwrap();
        let text = "x".repeat(EVENT_TEXT);
        for _ in 0..EVENTS / 500 {
            let appends = (0..500).map(|_| {
                let body = EventBody::Text {
                    turn: 1,
                    text: text.clone(),
                };
                let log = log.clone();
                tokio::spawn(async move { log.append(incident, Actor::Agent, body).await })
            });
            for append in appends.collect::<Vec<_>>() {
                append.await.unwrap().unwrap();
            }
        }
        log.shutdown();
        incident
    })
}

struct Nginx {
    child: Child,
    address: std::net::SocketAddr,
}

impl Nginx {
    fn start(dir: &std::path::Path) -> Nginx {
        let address = free_port();
        let config = dir.join("nginx.conf");
        let text = format!(
            "daemon off; master_process off; worker_processes 1; user root; pid {dir}/nginx.pid; error_log {dir}/nginx.log;\n\
             events {{}}\nhttp {{ access_log off; sendfile on; tcp_nopush on; server {{ listen {address}; root {dir}; }} }}\n",
            dir = dir.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed: apt-get install nginx-light");
        crate::server::wait_for(address);
        Nginx { child, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
