//! One incident with the real claude CLI and a scripted model.
// Each test file uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use breakglass_agent::{AgentOptions, Agents, PromptTarget, TargetNames};
use breakglass_log::{Attachment, Log, Options};
use breakglass_model::gateway::{AgentGateway, NoGateway};
use breakglass_model::{Actor, Event, EventBody, Frame, IncidentId, TurnOutcome};
use breakglass_rig::claude::claude;
use breakglass_rig::model::{ModelServer, Reply};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::timeout;

/// Maximum time for anything that a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The login of the model's API; it must never be in a prompt.
pub const API_KEY: &str = "sk-ant-a-secret-of-the-tests";

pub struct Scene {
    pub model: ModelServer,
    pub log: Log,
    pub agents: Agents,
    pub incident: IncidentId,
    pub options: AgentOptions,
    gateway: Arc<dyn AgentGateway>,
    home: TempDir,
}

pub fn ana() -> Actor {
    Actor::Operator("ana".to_owned())
}

/// A target with these names.
pub fn names(guest: &str, host: &str) -> TargetNames {
    let (guest, host) = (guest.to_owned(), host.to_owned());
    TargetNames { guest, host }
}

impl Scene {
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Scene {
        Scene::with(replies, |_| {}).await
    }

    pub async fn with(
        replies: impl IntoIterator<Item = Reply>,
        change: impl FnOnce(&mut AgentOptions),
    ) -> Scene {
        Scene::with_gateway(replies, Arc::new(NoGateway), change).await
    }

    /// With a gateway of one's own.
    pub async fn with_gateway(
        replies: impl IntoIterator<Item = Reply>,
        gateway: Arc<dyn AgentGateway>,
        change: impl FnOnce(&mut AgentOptions),
    ) -> Scene {
        let model = ModelServer::start(replies).await;
        model.forbid(API_KEY);
        let home = tempfile::tempdir().unwrap();
        let mut options = AgentOptions::new(claude(), home.path().join("cell"));
        options.env = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("ANTHROPIC_BASE_URL".to_owned(), model.url()),
            ("ANTHROPIC_API_KEY".to_owned(), API_KEY.to_owned()),
        ];
        options.max_api_retries = 1;
        options.targets = vec![names("devvm", "pve")];
        change(&mut options);
        let log = Log::open(Options::in_memory());
        let incident = log.open_incident("devvm", ana(), false).await.unwrap();
        let agents = Agents::new(options.clone(), log.clone(), Arc::clone(&gateway));
        Scene {
            gateway,
            model,
            log,
            agents,
            incident,
            options,
            home,
        }
    }

    /// The same cell and log under a new server.
    pub async fn restart(&mut self) {
        self.agents.shutdown().await;
        self.agents = Agents::new(
            self.options.clone(),
            self.log.clone(),
            Arc::clone(&self.gateway),
        );
    }

    /// A path that nothing else uses.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub async fn prompt(&self, text: &str) -> u32 {
        self.agents
            .prompt(
                self.incident,
                ana(),
                text.to_owned(),
                PromptTarget::default(),
            )
            .await
            .unwrap()
    }

    /// Prompts, waits for the end of the turn, and returns the turn's events.
    pub async fn run_turn(&self, text: &str) -> Vec<EventBody> {
        let mut watch = self.watch().await;
        self.prompt(text).await;
        watch.until_end().await
    }

    /// Another incident.
    pub async fn open(&self, target: &str) -> IncidentId {
        let opened = self.log.open_incident(target, ana(), false).await;
        opened.unwrap()
    }

    /// Watches the incident from now on.
    pub async fn watch(&self) -> Watch {
        self.watch_in(self.incident).await
    }

    /// Watches another incident from now on.
    pub async fn watch_in(&self, incident: IncidentId) -> Watch {
        let found = self.log.incident(incident).await.unwrap().unwrap();
        let attachment = self.log.attach(incident, found.head).unwrap();
        Watch {
            attachment,
            buffer: String::new(),
        }
    }

    /// The CLI processes of this scene's cell.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = marked(&self.options.home);
        found.retain(|id| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            // The CLI, or the bridge to another agent.
            line.contains("--permission-prompt-tool") || line.contains("--max-retries")
        });
        // A child between fork and exec looks like its parent.
        let all = found.clone();
        found.retain(|id| parent(*id).is_none_or(|parent| !all.contains(&parent)));
        found
    }
}

/// Every process with the mark of the cell at `home`.
pub fn marked(home: &Path) -> Vec<i32> {
    let mark = format!("BREAKGLASS_CELL={}#", home.display());
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry.starts_with(mark.as_bytes()))
        })
        .collect()
}

/// The parent of a running process.
fn parent(id: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// The events and frames that an attached client sees.
pub struct Watch {
    attachment: Attachment,
    buffer: String,
}

pub enum Seen {
    Event(EventBody),
    Frame(Frame),
}

impl Watch {
    /// Reads up to the first event or frame that is `wanted`; returns all of them.
    pub async fn until(&mut self, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let mut all = Vec::new();
        loop {
            let seen = timeout(DEADLINE, self.next()).await;
            let seen = seen
                .expect("it did not happen in time")
                .expect("the stream ended");
            let found = wanted(&seen);
            all.push(seen);
            if found {
                return all;
            }
        }
    }

    /// Reads up to an event of this kind; returns all events.
    pub async fn until_kind(&mut self, kind: &str) -> Vec<EventBody> {
        let wanted = |seen: &Seen| matches!(seen, Seen::Event(body) if body.kind() == kind);
        let all = self.until(wanted).await;
        all.into_iter()
            .filter_map(|seen| match seen {
                Seen::Event(body) => Some(body),
                Seen::Frame(_) => None,
            })
            .collect()
    }

    pub async fn until_end(&mut self) -> Vec<EventBody> {
        self.until_kind("turn_ended").await
    }

    async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let seen = parse(block);
                self.buffer = rest.to_owned();
                if seen.is_some() {
                    return seen;
                }
                continue;
            }
            let bytes = self.attachment.next().await?;
            self.buffer.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

fn parse(block: &str) -> Option<Seen> {
    let data = block.lines().find_map(|line| line.strip_prefix("data: "))?;
    if block.lines().any(|line| line.starts_with("id: ")) {
        let event: Event = serde_json::from_str(data).unwrap();
        return Some(Seen::Event(event.body));
    }
    serde_json::from_str(data).ok().map(Seen::Frame)
}

/// How the turn ended, and why.
pub fn outcome_of(events: &[EventBody]) -> (TurnOutcome, String) {
    match events.last() {
        Some(EventBody::TurnEnded {
            outcome, reason, ..
        }) => (*outcome, reason.clone().unwrap_or_default()),
        other => panic!("not the end of a turn: {other:?}"),
    }
}

/// The texts of a turn.
pub fn texts(events: &[EventBody]) -> Vec<&str> {
    let texts = events.iter().filter_map(|body| match body {
        EventBody::Text { text, .. } => Some(text.trim()),
        _ => None,
    });
    texts.collect()
}

/// The notices of a turn: code and message.
pub fn notices(events: &[EventBody]) -> Vec<(&str, &str)> {
    let notices = events.iter().filter_map(|body| match body {
        EventBody::Notice { code, message, .. } => Some((code.as_str(), message.as_str())),
        _ => None,
    });
    notices.collect()
}

/// Session and model of the turn's start.
pub fn started(events: &[EventBody]) -> (uuid::Uuid, &str) {
    let started = events.iter().find_map(|body| match body {
        EventBody::TurnStarted { session, model, .. } => Some((*session, model.as_str())),
        _ => None,
    });
    started.expect("the turn has started")
}

/// Waits until the CLI has written `word` into its transcript, from which it resumes.
pub async fn transcript_holds(scene: &Scene, word: &str) {
    let projects = scene.options.home.join(".claude/projects");
    until("the transcript is written", || {
        any_file_holds(&projects, word)
    })
    .await;
}

fn any_file_holds(dir: &Path, word: &str) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            any_file_holds(&path, word)
        } else {
            std::fs::read_to_string(&path).is_ok_and(|text| text.contains(word))
        }
    })
}

/// Waits for the file to which a tool writes its process id.
pub async fn pid_in(path: &Path) -> i32 {
    let read = async {
        loop {
            match std::fs::read_to_string(path)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            {
                Some(id) => return id,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(DEADLINE, read).await.expect("the tool has started")
}

/// Waits until `reached`.
pub async fn until(what: &str, reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, waiting).await.expect(what);
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub fn send_signal(id: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
