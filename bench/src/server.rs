//! A release build of the server with its own configuration, stopped on drop.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The log's file name in the data directory.
pub(crate) const RECORD_FILE: &str = "record.db";

/// The API token of a benchmark.
const TOKEN: &str = "bench-token-0123456789-0123456789-0123456789-abcdef";

/// Directory, key, token and configuration.
pub(crate) struct Deployment {
    dir: TempDir,
    target: String,
    agent: String,
}

impl Deployment {
    /// Configures a target that does not exist.
    pub(crate) fn without_target() -> Deployment {
        Deployment::new(
            "guest = { host = \"127.0.0.1\", port = 9, user = \"nobody\" }\nhost = { host = \"127.0.0.1\", port = 9, user = \"nobody\" }",
        )
    }

    /// Configures `target`, the body of a `[[targets]]` table without its name.
    pub(crate) fn new(target: &str) -> Deployment {
        let deployment = Deployment {
            dir: TempDir::new().unwrap(),
            target: target.to_owned(),
            agent: "enabled = false\n".to_owned(),
        };
        std::fs::write(deployment.dir().join("token"), TOKEN).unwrap();
        let keygen = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(deployment.key_file())
            .status();
        assert!(keygen.expect("ssh-keygen is installed").success());
        deployment
    }

    /// Uses another target from the next start on.
    pub(crate) fn point_at(&mut self, target: &str) {
        target.clone_into(&mut self.target);
    }

    /// Uses an agent from the next start on; `settings` is the body of its table.
    pub(crate) fn set_agent(&mut self, settings: &str) {
        settings.clone_into(&mut self.agent);
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        let path = self.dir().join("data");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir().join("key")
    }

    /// Header line that signs a request in.
    pub(crate) fn authorization(&self) -> String {
        format!("authorization: Bearer {TOKEN}\r\n")
    }

    fn write_config(&self, listen: SocketAddr) -> PathBuf {
        let dir = self.dir().display();
        let path = self.dir().join("config.toml");
        let text = format!(
            "listen = \"{listen}\"\ndata_dir = \"{data}\"\n\
             [auth]\ntoken_file = \"{dir}/token\"\n\
             [ssh]\nkey_file = \"{dir}/key\"\nhost_keys = \"trust-first\"\n\
             [agent]\n{agent}\
             [limits]\nconnections = 64000\n\
             [[targets]]\nname = \"devvm\"\n{target}\n",
            data = self.data_dir().display(),
            target = self.target,
            agent = self.agent,
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A running `breakglass serve`.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) authorization: String,
}

impl Server {
    /// Returns when the server has answered `/health`.
    pub(crate) fn start(deployment: &Deployment) -> Server {
        let address = free_port();
        let config = deployment.write_config(address);
        let child = Command::new(binary("breakglass"))
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("target/release/breakglass is built");
        let server = Server {
            child,
            address,
            authorization: deployment.authorization(),
        };
        wait_for(address);
        server
    }

    /// Resident memory of the process.
    pub(crate) fn rss_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1024.0
    }

    /// Memory of all descendants, with shared pages counted proportionally.
    pub(crate) fn children_mib(&self) -> f64 {
        let mut family = vec![self.child.id()];
        let mut sum = 0.0;
        while let Some(parent) = family.pop() {
            let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = std::fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                family.extend(
                    children
                        .split_whitespace()
                        .map(|id| id.parse::<u32>().unwrap()),
                );
            }
            if parent != self.child.id() {
                sum += pss_kib(parent) / 1024.0;
            }
        }
        sum
    }

    /// The body of a GET, without content coding.
    pub(crate) fn get_text(&self, path: &str) -> String {
        let answer = self.ask("GET", path, "");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }

    /// The body of a request, which must succeed.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let answer = self.exchange(method, path, body, "");
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.starts_with("HTTP/1.1 2"), "{method} {path}: {text}");
        text
    }

    /// Bytes of the body of `path` as sent to a browser.
    pub(crate) fn encoded_length(&self, path: &str) -> usize {
        let answer = self.exchange("GET", path, "", "accept-encoding: br, gzip\r\n");
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
        answer.len() - end - 4
    }

    fn exchange(&self, method: &str, path: &str, body: &str, headers: &str) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_nodelay(true).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{}{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.authorization,
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pss_kib(process: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
    let rollup = rollup.unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// A release binary beside this one.
pub(crate) fn binary(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().with_file_name(name)
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Returns when a server there speaks HTTP.
pub(crate) fn wait_for(address: SocketAddr) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        if let Ok(mut socket) = TcpStream::connect(address) {
            let _ = write!(
                socket,
                "GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
            );
            let mut first = [0; 4];
            if socket.read_exact(&mut first).is_ok() {
                return;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("nothing answers on {address}");
}
