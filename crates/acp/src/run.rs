//! Reading and writing: the bridge between its two sides.

use std::env;
use std::io;
use std::path::Path;
use std::time::Duration;

use breakglass_agent::wire::{Lines, RawLine};
use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, Stdin, Stdout};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::arguments::Arguments;
use crate::bridge::{Bridge, Effect, Plan, Session};
use crate::open::no_conversation;
use crate::sessions::Sessions;
use crate::short_lines::ShortLines;
use crate::{agent, rpc};

/// How long the agent may take to get ready; the server waits a little longer.
const OPEN_LIMIT: Duration = Duration::from_secs(25);
/// How long the server may take to read a line.
const SERVER_LIMIT: Duration = Duration::from_secs(60);
/// Messages that the agent has not read yet.
const QUEUE: usize = 256;
/// How long what it wrote last into its log may take to come.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long the agent may take to end when nobody wants anything of it any more; the server waits longer.
const GRACE: Duration = Duration::from_secs(1);
/// How long the kernel may take to end a killed process.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// Starts the agent and stands between it and the server until one of them is gone.
///
/// # Errors
/// A sentence for standard error.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let plan = plan(arguments)?;
    let name = arguments.session_id.or(arguments.resume);
    let sessions = Sessions::of(Path::new(&env::var_os("HOME").unwrap_or_default()));
    // One thread, so that the agent is started by the one that lives as long as the bridge.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| format!("The bridge to the agent could not start: {error}."))?;
    let result = runtime.block_on(async {
        let program = Path::new(&arguments.command[0]).display().to_string();
        let child =
            agent::start(&arguments.command).map_err(|error| not_started(&program, &error))?;
        let keep = |agents: &str| {
            // A full disk ends no incident: the session can't be resumed then, which is told when it is tried.
            let kept = name.map_or(Ok(()), |name| sessions.keep(name, agents));
            if let Err(error) = kept {
                pass_on(&format!(
                    "The agent's session can't be noted in its home: {error}."
                ));
            }
        };
        Streams::of(child)?.carry(plan, &program, &keep).await
    });
    // A read of standard input that nobody waits for any more.
    runtime.shutdown_background();
    result
}

fn plan(arguments: &Arguments) -> Result<Plan, String> {
    let instructions = match &arguments.instructions {
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            format!(
                "The agent's instructions {} can't be read: {error}.",
                path.display()
            )
        })?,
        None => String::new(),
    };
    let home = env::var_os("HOME").unwrap_or_default();
    let session = match arguments.resume {
        Some(name) => {
            let found = Sessions::of(Path::new(&home)).find(name);
            Session::Resume(found.ok_or_else(|| no_conversation(&name.to_string()))?)
        }
        None if arguments.version => Session::None,
        None => Session::New,
    };
    let directory = env::current_dir()
        .map_err(|error| format!("The agent's working directory can't be used: {error}."))?;
    let name = arguments
        .session_id
        .or(arguments.resume)
        .unwrap_or_default();
    let set = env::vars_os().filter(|(_, value)| !value.is_empty());
    Ok(Plan {
        session,
        name: name.to_string(),
        model: arguments.model.clone(),
        instructions: without_front_matter(&instructions).trim().to_owned(),
        directory: directory.to_string_lossy().into_owned(),
        max_retries: arguments.max_retries,
        variables: set
            .filter_map(|(name, _)| name.into_string().ok())
            .collect(),
    })
}

/// What stands between two lines of dashes at the top is for the claude CLI alone.
fn without_front_matter(text: &str) -> &str {
    let rest = text
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"));
    rest.map_or(text, |(_, text)| text)
}

fn not_started(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("The agent is missing: there is no {program}. Install it.")
        }
        io::ErrorKind::PermissionDenied => {
            format!("The agent {program} may not be executed. Make it executable.")
        }
        _ => format!("The agent {program} could not be started: {error}."),
    }
}

/// Both sides.
struct Streams {
    child: Child,
    answers: Lines<ShortLines<ChildStdout>>,
    log: Lines<ChildStderr>,
    log_ended: bool,
    orders: Lines<Stdin>,
    server: Stdout,
    agent: mpsc::Sender<Value>,
    _writer: JoinHandle<()>,
}

/// What came.
enum Came {
    Effects(Vec<Effect>),
    /// The server wants nothing more.
    ServerGone,
    AgentGone,
    TooLong,
    TooSlow,
}

impl Streams {
    fn of(mut child: Child) -> Result<Streams, String> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err("The agent has no pipes.".to_owned());
        };
        let (agent, messages) = mpsc::channel(QUEUE);
        Ok(Streams {
            child,
            answers: Lines::new(ShortLines::of(stdout)),
            log: Lines::new(stderr),
            log_ended: false,
            orders: Lines::new(tokio::io::stdin()),
            server: tokio::io::stdout(),
            agent,
            _writer: tokio::spawn(write(stdin, messages)),
        })
    }

    async fn carry(mut self, plan: Plan, program: &str, keep: &dyn Fn(&str)) -> Result<(), String> {
        let mut until = None;
        let only_version = plan.session == Session::None;
        let (mut bridge, mut effects) = Bridge::new(plan);
        loop {
            if let Some(end) = self.apply(effects, keep).await? {
                self.end().await;
                return end;
            }
            until = match bridge.is_open() {
                true => None,
                false => until.or(Some(Instant::now() + OPEN_LIMIT)),
            };
            effects = match self.wait(&mut bridge, until, only_version).await {
                Came::Effects(effects) => effects,
                Came::ServerGone => {
                    self.let_go().await;
                    return Ok(());
                }
                Came::AgentGone => return Err(self.gone(program).await),
                Came::TooLong => {
                    self.end().await;
                    return Err(
                        "The agent wrote a line of more than 8 MiB, and was ended.".to_owned()
                    );
                }
                Came::TooSlow => {
                    self.end().await;
                    let limit = OPEN_LIMIT.as_secs();
                    return Err(format!(
                        "The agent {program} was not ready after {limit} s."
                    ));
                }
            };
        }
    }

    async fn wait(
        &mut self,
        bridge: &mut Bridge,
        until: Option<Instant>,
        only_version: bool,
    ) -> Came {
        let too_slow = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            line = self.orders.next(), if !only_version => match line {
                Ok(Some(RawLine::Whole(line))) => Came::Effects(bridge.from_server(line)),
                Ok(Some(RawLine::TooLong(_))) => Came::Effects(Vec::new()),
                Ok(None) | Err(_) => Came::ServerGone,
            },
            line = self.answers.next() => match line {
                Ok(Some(RawLine::Whole(line))) => Came::Effects(bridge.from_agent(line)),
                Ok(Some(RawLine::TooLong(_))) => Came::TooLong,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Came::TooLong,
                Ok(None) | Err(_) => Came::AgentGone,
            },
            line = self.log.next(), if !self.log_ended => match line {
                Ok(Some(RawLine::Whole(line))) => Came::Effects(logged(bridge, line)),
                Ok(Some(RawLine::TooLong(_))) => Came::Effects(Vec::new()),
                Ok(None) | Err(_) => {
                    self.log_ended = true;
                    Came::Effects(Vec::new())
                }
            },
            () = too_slow => Came::TooSlow,
        }
    }

    /// Does it; gives how the bridge ends, if it does.
    async fn apply(
        &mut self,
        effects: Vec<Effect>,
        keep: &dyn Fn(&str),
    ) -> Result<Option<Result<(), String>>, String> {
        for effect in effects {
            match effect {
                Effect::Say(lines) => self.say(&lines).await?,
                Effect::Send(message) => self.agent.try_send(message).map_err(|_| {
                    "The agent does not read what it is sent, and was ended.".to_owned()
                })?,
                Effect::Keep(session) => keep(&session),
                Effect::End(end) => return Ok(Some(end)),
            }
        }
        Ok(None)
    }

    async fn say(&mut self, lines: &str) -> Result<(), String> {
        let writing = async {
            self.server.write_all(lines.as_bytes()).await?;
            self.server.flush().await
        };
        let written = timeout(SERVER_LIMIT, writing).await;
        let written = written.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        written.map_err(|error| format!("The server does not read what the agent says: {error}."))
    }

    /// Why the agent is gone; its last words stand on standard error already.
    async fn gone(mut self, program: &str) -> String {
        let log = async {
            while let Ok(Some(line)) = self.log.next().await {
                if let RawLine::Whole(line) = line {
                    pass_on(&String::from_utf8_lossy(line));
                }
            }
        };
        let _ = timeout(LAST_WORDS, log).await;
        let _ = self.child.start_kill();
        match timeout(REAP_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) => format!("The agent {program} ended ({status})."),
            _ => format!("The agent {program} ended."),
        }
    }

    /// Lets the agent end by itself, which it may take for a good time to write down its session.
    async fn let_go(self) {
        let Streams {
            mut child, agent, ..
        } = self;
        // The writer ends with the queue, and closes the agent's standard input.
        drop(agent);
        let _ = timeout(GRACE, child.wait()).await;
        let _ = child.start_kill();
        let _ = timeout(REAP_LIMIT, child.wait()).await;
    }

    async fn end(&mut self) {
        let _ = self.child.start_kill();
        let _ = timeout(REAP_LIMIT, self.child.wait()).await;
    }
}

/// Its own log, as far as it is text, is the bridge's: the server keeps the last lines of it.
fn logged(bridge: &mut Bridge, line: &[u8]) -> Vec<Effect> {
    let line = String::from_utf8_lossy(line);
    pass_on(&line);
    bridge.from_log(&line)
}

fn pass_on(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stderr(), "{}", rpc::short(line));
}

/// Writes to the agent. Ends when it reads no more; then the queue fills, which is noticed.
async fn write(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Value>) {
    while let Some(message) = messages.recv().await {
        let line = format!("{message}\n");
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
