//! The real binary, driven as a person or a script would: started, asked over HTTP, ended by Drop.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code: a panic is the report"
)]

pub mod attempts;
pub mod escapes;
pub mod receiver;
pub mod scene;
pub mod serve;
pub mod site;

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::{Agent, Body, BodyReader, RequestBuilder, http::Response};

/// Longest wait before a test fails with the condition it waited for.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The binary under test.
pub fn breakglass() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass"));
    command
        .env_remove("BREAKGLASS_CONFIG")
        .env_remove("BREAKGLASS_SERVER");
    command
}

/// Runs a command. Returns its exit code and all output.
pub fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = breakglass().args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Audits the log below `dir`.
pub fn audit(dir: &Path) -> (Option<i32>, String) {
    run(&["audit", "verify", "--data-dir", dir.to_str().unwrap()])
}

/// A process of a test, ended by Drop.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running drill.
pub struct Drill {
    child: Child,
    pub base: String,
    code: String,
    /// The files that a killed drill leaves behind.
    _left: Option<TempDir>,
}

impl Drill {
    pub fn start(args: &[&str]) -> Drill {
        let mut command = breakglass();
        command.arg("drill").args(args);
        Drill::spawn(command)
    }

    /// A drill with these variables in its environment.
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Drill {
        let mut command = breakglass();
        command
            .arg("drill")
            .args(args)
            .envs(environment.iter().copied());
        Drill::spawn(command)
    }

    /// A drill under the limits that `prelude` sets in the shell that becomes it.
    pub fn start_by_shell(prelude: &str, data_dir: &Path) -> Drill {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                &format!("{prelude} exec \"$0\" drill --data-dir \"$1\""),
            ])
            .arg(env!("CARGO_BIN_EXE_breakglass"))
            .arg(data_dir);
        Drill::spawn(command)
    }

    /// The drill that `command` starts.
    pub fn spawn(mut command: Command) -> Drill {
        let placed = command.get_envs().any(|(name, _)| name == "TMPDIR");
        let left = (!placed).then(|| tempfile::tempdir().unwrap());
        if let Some(dir) = &left {
            // The drill may run as another account.
            let all = std::fs::Permissions::from_mode(0o1777);
            std::fs::set_permissions(dir.path(), all).unwrap();
            command.env("TMPDIR", dir.path());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().unwrap();
        let (found, url) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((base, code)) = line.trim().split_once("/#sign-in=") {
                    let _ = found.send((base.to_owned(), code.to_owned()));
                }
            }
        });
        let (base, code) = url
            .recv_timeout(LIMIT)
            .expect("the drill prints its sign-in link");
        Drill {
            child,
            base,
            code,
            _left: left,
        }
    }

    pub fn in_dir(dir: &Path) -> Drill {
        Drill::start(&["--data-dir", dir.to_str().unwrap()])
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signs in with the one-time code.
    pub fn sign_in(&self) -> Client {
        let mut client = Client::anonymous(&self.base);
        let answer = client.post("/api/login", &json!({ "token": self.code }));
        assert_eq!(answer.status, 204, "{answer:?}");
        client.cookie = answer.cookie;
        client
    }

    /// Sends SIGKILL and reaps the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and returns the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        wait_until("the drill ends on SIGTERM", || {
            self.child.try_wait().unwrap()
        })
        .code()
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Polls `probe` until it returns a value. Panics with `what` at the timeout.
pub fn wait_until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            started.elapsed() < LIMIT,
            "waited {LIMIT:?} in vain: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub cookie: Option<String>,
}

/// An HTTP client like a browser.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    pub base: String,
    pub cookie: Option<String>,
    pub bearer: Option<String>,
}

impl Client {
    pub fn anonymous(base: &str) -> Client {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_recv_response(Some(LIMIT))
            .build()
            .into();
        Client {
            agent,
            base: base.to_owned(),
            cookie: None,
            bearer: None,
        }
    }

    /// The value of the header that stands for the token.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.bearer.as_deref().expect("a token"))
    }

    pub fn get(&self, path: &str) -> Answer {
        answer(
            self.identified(self.agent.get(format!("{}{path}", self.base)))
                .call()
                .unwrap(),
        )
    }

    /// A response that is not JSON: status, `Content-Type`, `Cache-Control` and body.
    pub fn bytes(&self, path: &str) -> (u16, [String; 2], Vec<u8>) {
        let request = self.agent.get(format!("{}{path}", self.base));
        let mut response = self.identified(request).call().unwrap();
        let headers = ["content-type", "cache-control"].map(|name| {
            let value = response.headers().get(name);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        });
        let status = response.status().as_u16();
        (status, headers, response.body_mut().read_to_vec().unwrap())
    }

    /// `Some` when anything answers.
    pub fn try_get(&self, path: &str) -> Option<()> {
        self.agent
            .get(format!("{}{path}", self.base))
            .call()
            .ok()
            .map(drop)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("origin", &self.base);
        answer(self.identified(request).send_json(body).unwrap())
    }

    pub fn post_with_key(&self, path: &str, body: &Value, key: &str) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request
            .header("origin", &self.base)
            .header("idempotency-key", key);
        answer(self.identified(request).send_json(body).unwrap())
    }

    fn identified<B>(&self, mut request: RequestBuilder<B>) -> RequestBuilder<B> {
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(token) = &self.bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request
    }

    /// Runs a verb to its end.
    pub fn verb(&self, verb: &str) -> Answer {
        self.post(
            &format!("/api/targets/devvm/verbs/{verb}?wait=true"),
            &json!({}),
        )
    }

    /// Prompts the agent.
    pub fn prompt(&self, incident: &str, text: &str) -> Answer {
        let path = format!("/api/incidents/{incident}/prompts");
        self.post(&path, &json!({ "text": text }))
    }

    /// Prompts the agent successfully. Returns all events of the incident.
    pub fn ask(&self, incident: &str, text: &str) -> Events {
        let events = self.events(incident, 0);
        let answer = self.prompt(incident, text);
        assert_eq!(answer.status, 202, "{answer:?}");
        events
    }

    /// Lets the agent of an incident act without asking.
    pub fn let_act(&self, incident: &str) {
        let path = format!("/api/incidents/{incident}/autonomy");
        let answer = self.post(&path, &json!({ "autonomy": "autonomous" }));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Answers the agent's question.
    pub fn decide(&self, incident: &str, question: &Sse, body: &Value) -> u16 {
        let approval = question.data["approval"].as_str().unwrap();
        let path = format!("/api/incidents/{incident}/approvals/{approval}");
        self.post(&path, body).status
    }

    /// The newest incident.
    pub fn incident(&self) -> String {
        let all = self.get("/api/incidents").body;
        all[0]["incident"].as_str().expect("an incident").to_owned()
    }

    /// Attaches to an incident after `seq`.
    pub fn events(&self, incident: &str, after: u64) -> Events {
        let request = self
            .agent
            .get(format!("{}/api/incidents/{incident}/events", self.base))
            .header("last-event-id", after.to_string());
        let response = self.identified(request).call().unwrap();
        assert_eq!(response.status(), 200);
        Events {
            lines: BufReader::new(response.into_body().into_reader()).lines(),
        }
    }
}

fn answer(mut response: Response<Body>) -> Answer {
    let cookie = response
        .headers()
        .get("set-cookie")
        .and_then(|value| value.to_str().ok()?.split(';').next().map(str::to_owned));
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        body,
        cookie,
    }
}

/// One SSE frame.
#[derive(Debug, Clone)]
pub struct Sse {
    pub id: Option<u64>,
    pub event: String,
    pub data: Value,
}

/// An attached stream; ends when the server ends it or dies.
pub struct Events {
    lines: Lines<BufReader<BodyReader<'static>>>,
}

impl Iterator for Events {
    type Item = Sse;

    fn next(&mut self) -> Option<Sse> {
        let mut frame = Sse {
            id: None,
            event: String::new(),
            data: Value::Null,
        };
        loop {
            let line = self.lines.next()?.ok()?;
            match line.split_once(": ") {
                Some(("id", id)) => frame.id = id.parse().ok(),
                Some(("event", event)) => event.clone_into(&mut frame.event),
                Some(("data", data)) => frame.data = serde_json::from_str(data).ok()?,
                None if line.is_empty() && !frame.event.is_empty() => return Some(frame),
                _ => {}
            }
        }
    }
}

impl Events {
    /// The next frame of `kind`, skipping others; panics when the stream ends first.
    pub fn until(&mut self, kind: &str) -> Sse {
        self.find(|frame| frame.event == kind)
            .unwrap_or_else(|| panic!("the stream ended before {kind}"))
    }
}
