//! A server on a free port that ends with the test, and a client that sends exactly the given request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::map_request;
use breakglass_control::{Control, Endpoint, HostKeyPolicy, Pictures, SshOptions, Target};
use breakglass_log::{Log, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Auth, Peer};
use crate::http::{AppState, ListenLimits, Services, router, serve};
use crate::metrics::CompletionCounters;
use breakglass_config::ApiToken;
use breakglass_config::{
    AgentConfig, AuthConfig, Config, LimitsConfig, NotifyConfig, RecordConfig, SshConfig,
};

pub(super) const TOKEN: &str = "Aq3xK9mZ7vB2nC5hJ8kL1pO4iU6yT0rE";
/// The address of direct clients: one of the server's own.
pub(super) const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// The address of clients that come through the trusted proxy.
pub(super) const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
/// The address of the trusted proxy, as the server sees it.
const EDGE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Server {
    pub(super) state: AppState,
    pub(super) address: SocketAddr,
    /// The address of the target's SSH server, where nothing answers.
    pub(super) dialled: TcpListener,
    pub(super) cancel: CancellationToken,
    watching: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.watching.cancel();
        self.state.log.shutdown();
    }
}

impl Server {
    pub(super) async fn start() -> Server {
        Server::with(ListenLimits::default(), LimitsConfig::default()).await
    }

    /// Starts with a control that is shutting down: it probes no vital signs, so only the test's
    /// requests can connect to the target, and it refuses every permit.
    pub(super) async fn start_without_watchers() -> Server {
        let ended = CancellationToken::new();
        ended.cancel();
        let (listen, limits) = (ListenLimits::default(), LimitsConfig::default());
        Server::assemble(listen, limits, &ended).await
    }

    pub(super) async fn with(listen: ListenLimits, limits: LimitsConfig) -> Server {
        Server::assemble(listen, limits, &CancellationToken::new()).await
    }

    async fn assemble(
        listen: ListenLimits,
        limits: LimitsConfig,
        watching: &CancellationToken,
    ) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let dialled = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = dialled.local_addr().unwrap().port();
        let config = config(dir.path(), port, limits);
        let cancel = CancellationToken::new();
        let auth = Auth::new(&config.auth, &config.allowed_hosts, &[]).unwrap();
        let completions = CompletionCounters::default();
        let log = Log::open(Options {
            on_completion: Some(completions.sink()),
            ..Options::in_memory()
        });
        let control = control(&config, &log, watching);
        let services = Services {
            log,
            control,
            bastion: None,
            agents: Err(breakglass_cell::NoAgent::SwitchedOff),
            auth,
            completions,
        };
        let key = "SHA256:test".to_owned();
        let state = AppState::new(&config, services, false, key, cancel.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(
            listener,
            router(state.clone()).layer(map_request(through_the_edge)),
            listen,
            state.listener_counters.clone(),
            cancel.clone(),
        ));
        Server {
            state,
            address,
            dialled,
            cancel,
            watching: watching.clone(),
            task,
            _dir: dir,
        }
    }

    pub(super) async fn connect(&self, from: IpAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        timeout(DEADLINE, socket.connect(self.address))
            .await
            .unwrap()
            .unwrap()
    }

    /// Sends a request with these headers, plus `Connection`, and `Host` and `Content-Length` unless
    /// given.
    pub(super) async fn send(&self, request: &Request<'_>) -> Answer {
        let mut stream = self.connect(request.from).await;
        let bytes = request.bytes(&self.address.to_string());
        // A server that refuses early may close the connection before it has read everything.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert!(read.is_ok() || !answer.is_empty(), "no answer: {read:?}");
        Answer::parse(&answer)
    }

    /// Sends a request with the API token.
    pub(super) async fn as_token(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.send(&Request {
            headers: &headers,
            body,
            ..Request::new(method, path)
        })
        .await
    }

    pub(super) async fn open_incident(&self) -> breakglass_model::IncidentId {
        let opened = self
            .as_token("POST", "/api/incidents", r#"{"target":"devvm"}"#)
            .await;
        assert_eq!(opened.status, 201, "{}", opened.body);
        opened.json()["incident"].as_str().unwrap().parse().unwrap()
    }
}

/// All connections come from this machine's own addresses, which are never a proxy's. For those from
/// [`PROXY`] the router sees the address of a remote peer.
async fn through_the_edge(mut request: axum::extract::Request) -> axum::extract::Request {
    let peer: Peer = *request.extensions().get().unwrap();
    if peer.ip() == PROXY {
        let remote = Peer::remote(SocketAddr::new(EDGE, 5));
        request.extensions_mut().insert(remote);
    }
    request
}

fn config(dir: &std::path::Path, ssh_port: u16, limits: LimitsConfig) -> Config {
    let endpoint = |user: &str| Endpoint {
        host: "127.0.0.1".to_owned(),
        port: ssh_port,
        user: user.to_owned(),
    };
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics_listen: None,
        data_dir: dir.to_owned(),
        allowed_hosts: vec!["rescue.example.org".to_owned()],
        auth: AuthConfig {
            trusted_proxies: vec![
                "192.0.2.80/32".parse().unwrap(),
                "127.0.0.1/32".parse().unwrap(),
            ],
            user_header: "x-authentik-username".parse().unwrap(),
            token: Some(ApiToken::new(TOKEN).unwrap()),
            token_identity: "operator".to_owned(),
            secure_cookie: false,
        },
        ssh: SshConfig {
            key_file: dir.join("key"),
            host_keys: HostKeyPolicy::Pin,
            known_hosts: dir.join("known_hosts"),
            connect_timeout: Duration::from_secs(5),
            keepalive: Duration::from_secs(5),
        },
        agents: Vec::new(),
        agent: AgentConfig {
            enabled: false,
            ..AgentConfig::default()
        },
        limits,
        record: RecordConfig::default(),
        notify: NotifyConfig::default(),
        targets: vec![Target::new("devvm", endpoint("guest"), endpoint("root"))],
        drill_max_age_days: 0,
        private: Vec::new(),
        secrets: Vec::new(),
    }
}

fn control(config: &Config, log: &Log, cancel: &CancellationToken) -> Control {
    let key = Arc::new(breakglass_control::ssh::generate_key().unwrap());
    let options = SshOptions::new(key, &config.ssh.known_hosts);
    let tracker = TaskTracker::new();
    let (control, _agent_port) = Control::new(
        config.targets.clone(),
        options,
        log.clone(),
        Pictures::under(config.data_dir.join("pictures")),
        cancel.clone(),
        tracker,
    );
    control
}

pub(super) struct Request<'r> {
    pub(super) from: IpAddr,
    pub(super) method: &'r str,
    pub(super) path: &'r str,
    pub(super) headers: &'r [(&'r str, &'r str)],
    pub(super) body: &'r str,
}

impl<'r> Request<'r> {
    pub(super) fn new(method: &'r str, path: &'r str) -> Request<'r> {
        Request {
            from: LOCAL,
            method,
            path,
            headers: &[],
            body: "",
        }
    }

    pub(super) fn bytes(&self, host: &str) -> Vec<u8> {
        let given = |name: &str| self.headers.iter().any(|(known, _)| *known == name);
        let mut text = format!(
            "{} {} HTTP/1.1\r\nconnection: close\r\n",
            self.method, self.path
        );
        if !given("host") {
            text.push_str(&format!("host: {host}\r\n"));
        }
        if !given("content-length") && self.method != "GET" {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        for (name, value) in self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{text}\r\n{}", self.body).into_bytes()
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Answer {
            status,
            headers: lines.map(header).collect(),
            body: body.to_owned(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}
