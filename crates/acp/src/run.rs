//! Starts the agent, and reads and writes for the bridge until one side is gone.

use std::env;
use std::io;
use std::path::Path;
use std::time::Duration;

use breakglass_agent::wire::{Lines, MAX_LINE_BYTES, RawLine};
use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, Stdin, Stdout};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::arguments::Arguments;
use crate::bridge::{Bridge, Effect};
use crate::plan::{Plan, Session};
use crate::sessions::Sessions;
use crate::setup::no_conversation;
use crate::{agent, rpc};

/// Maximum time for the agent to get ready; the server waits a little longer.
const READY_TIMEOUT: Duration = Duration::from_secs(55);
/// Maximum time for the server to read a line.
const SERVER_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of messages that the agent has not read.
const MESSAGE_QUEUE: usize = 256;
/// Maximum time for the last lines of the agent's log to arrive.
const LAST_LOG_TIMEOUT: Duration = Duration::from_millis(300);
/// Maximum time for the agent to exit by itself; the server waits longer.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// Maximum time for the kernel to end a killed process.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the agent and connects it to the server until one of them is gone.
///
/// # Errors
/// A sentence for standard error.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let plan = plan(arguments)?;
    // One thread, because the agent dies with the thread that starts it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| format!("The bridge to the agent could not start: {error}."))?;
    let result = runtime.block_on(async {
        let program = Path::new(&arguments.command[0]).display().to_string();
        let child =
            agent::start(&arguments.command).map_err(|error| not_started(&program, &error))?;
        let store_session = |id: &str| store_session(arguments, id);
        Streams::new(child)?
            .relay(plan, &program, &store_session)
            .await
    });
    // A read of standard input may still be running.
    runtime.shutdown_background();
    result
}

fn session_name(arguments: &Arguments) -> Option<uuid::Uuid> {
    arguments.session_id.or(arguments.resume)
}

fn sessions() -> Sessions {
    Sessions::of(Path::new(&env::var_os("HOME").unwrap_or_default()))
}

/// An error must not end the incident: resuming the session later fails, and is reported then.
fn store_session(arguments: &Arguments, id: &str) {
    let stored = session_name(arguments).map_or(Ok(()), |name| sessions().store(name, id));
    if let Err(error) = stored {
        print_log(&format!(
            "The agent's session can't be stored in its home: {error}."
        ));
    }
}

fn plan(arguments: &Arguments) -> Result<Plan, String> {
    let instructions = match &arguments.instructions {
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            format!("The agent's instructions {path} can't be read: {error}.")
        })?,
        None => String::new(),
    };
    let session = match arguments.resume {
        Some(name) => {
            let found = sessions().find(name);
            Session::Resume(found.ok_or_else(|| no_conversation(&name.to_string()))?)
        }
        None if arguments.version => Session::None,
        None => Session::New,
    };
    let directory = env::current_dir()
        .map_err(|error| format!("The agent's working directory can't be used: {error}."))?;
    let variables = env::vars_os().filter(|(_, value)| !value.is_empty());
    Ok(Plan {
        session,
        name: session_name(arguments).unwrap_or_default().to_string(),
        model: arguments.model.clone(),
        instructions: without_front_matter(&instructions).trim().to_owned(),
        directory: directory.to_string_lossy().into_owned(),
        max_retries: arguments.max_retries,
        variables: variables
            .filter_map(|(name, _)| name.into_string().ok())
            .collect(),
    })
}

/// Removes the front matter, which is only for the claude CLI.
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

/// The streams of both sides.
struct Streams {
    child: Child,
    agent_output: Lines<ChildStdout>,
    agent_log: Lines<ChildStderr>,
    is_log_over: bool,
    server_input: Lines<Stdin>,
    server_output: Stdout,
    agent_input: mpsc::Sender<Value>,
    _writer: JoinHandle<()>,
}

/// What the bridge waited for.
enum Wakeup {
    Effects(Vec<Effect>),
    /// The server has closed its side.
    ServerGone,
    AgentGone,
    LineTooLong,
    NotReady,
}

impl Streams {
    fn new(mut child: Child) -> Result<Streams, String> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err("The agent has no pipes.".to_owned());
        };
        let (agent_input, messages) = mpsc::channel(MESSAGE_QUEUE);
        Ok(Streams {
            child,
            agent_output: Lines::rejecting_long_lines(stdout),
            agent_log: Lines::new(stderr),
            is_log_over: false,
            server_input: Lines::new(tokio::io::stdin()),
            server_output: tokio::io::stdout(),
            agent_input,
            _writer: tokio::spawn(write(stdin, messages)),
        })
    }

    async fn relay(
        mut self,
        plan: Plan,
        program: &str,
        store_session: &dyn Fn(&str),
    ) -> Result<(), String> {
        let mut deadline = None;
        let only_version = plan.session == Session::None;
        let (mut bridge, mut effects) = Bridge::new(plan);
        loop {
            if let Some(end) = self.apply(effects, store_session).await? {
                self.kill().await;
                return end;
            }
            deadline = if bridge.is_open() {
                None
            } else {
                // A login may be tried again later, which takes time too.
                deadline.or(Some(Instant::now() + READY_TIMEOUT))
            };
            effects = match self.wait(&mut bridge, deadline, only_version).await {
                Wakeup::Effects(effects) => effects,
                Wakeup::ServerGone => {
                    self.let_exit().await;
                    return Ok(());
                }
                Wakeup::AgentGone => return Err(self.agent_gone(program).await),
                Wakeup::LineTooLong => {
                    self.kill().await;
                    return Err(format!(
                        "The agent was ended because it wrote a line of more than {} MiB.",
                        MAX_LINE_BYTES >> 20
                    ));
                }
                Wakeup::NotReady => {
                    self.kill().await;
                    let limit = READY_TIMEOUT.as_secs();
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
        deadline: Option<Instant>,
        only_version: bool,
    ) -> Wakeup {
        let not_ready = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            line = self.server_input.next(), if !only_version => match line {
                Ok(Some(RawLine::Whole(line))) => Wakeup::Effects(bridge.from_server(line)),
                Ok(Some(RawLine::TooLong(_))) => Wakeup::Effects(Vec::new()),
                Ok(None) | Err(_) => Wakeup::ServerGone,
            },
            line = self.agent_output.next() => match line {
                Ok(Some(RawLine::Whole(line))) => Wakeup::Effects(bridge.from_agent(line)),
                Ok(Some(RawLine::TooLong(_))) => Wakeup::LineTooLong,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Wakeup::LineTooLong,
                Ok(None) | Err(_) => Wakeup::AgentGone,
            },
            line = self.agent_log.next(), if !self.is_log_over => match line {
                Ok(Some(RawLine::Whole(line))) => Wakeup::Effects(log_line(bridge, line)),
                Ok(Some(RawLine::TooLong(_))) => Wakeup::Effects(Vec::new()),
                Ok(None) | Err(_) => {
                    self.is_log_over = true;
                    Wakeup::Effects(Vec::new())
                }
            },
            () = not_ready => Wakeup::NotReady,
        }
    }

    /// Carries out the effects; returns how the bridge ends, if it does.
    async fn apply(
        &mut self,
        effects: Vec<Effect>,
        store_session: &dyn Fn(&str),
    ) -> Result<Option<Result<(), String>>, String> {
        for effect in effects {
            match effect {
                Effect::Print(lines) => self.print(&lines).await?,
                Effect::Send(message) => self.agent_input.try_send(message).map_err(|_| {
                    "The agent was ended because it does not read its input.".to_owned()
                })?,
                Effect::StoreSession(id) => store_session(&id),
                Effect::End(end) => return Ok(Some(end)),
            }
        }
        Ok(None)
    }

    async fn print(&mut self, lines: &str) -> Result<(), String> {
        let writing = async {
            self.server_output.write_all(lines.as_bytes()).await?;
            self.server_output.flush().await
        };
        let written = timeout(SERVER_READ_TIMEOUT, writing).await;
        let written = written.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        written.map_err(|error| format!("The server does not read the agent's output: {error}."))
    }

    /// Why the agent is gone. Prints the rest of its log first.
    async fn agent_gone(mut self, program: &str) -> String {
        let log = async {
            while let Ok(Some(line)) = self.agent_log.next().await {
                if let RawLine::Whole(line) = line {
                    print_log(&String::from_utf8_lossy(line));
                }
            }
        };
        let _ = timeout(LAST_LOG_TIMEOUT, log).await;
        let _ = self.child.start_kill();
        match timeout(REAP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) => format!("The agent {program} ended ({status})."),
            _ => format!("The agent {program} ended."),
        }
    }

    /// Gives the agent time to store its session, and kills it if it does not exit.
    async fn let_exit(self) {
        let Streams {
            mut child,
            agent_input,
            ..
        } = self;
        // The writer ends with the queue, and closes the agent's standard input.
        drop(agent_input);
        let _ = timeout(EXIT_GRACE, child.wait()).await;
        let _ = child.start_kill();
        let _ = timeout(REAP_TIMEOUT, child.wait()).await;
    }

    async fn kill(&mut self) {
        let _ = self.child.start_kill();
        let _ = timeout(REAP_TIMEOUT, self.child.wait()).await;
    }
}

/// The agent's log becomes the bridge's: the server keeps its last lines.
fn log_line(bridge: &mut Bridge, line: &[u8]) -> Vec<Effect> {
    let line = String::from_utf8_lossy(line);
    print_log(&line);
    bridge.from_log(&line)
}

fn print_log(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stderr(), "{}", rpc::short(line));
}

/// Writes to the agent until it reads no more. Then the queue fills, which ends the bridge.
async fn write(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Value>) {
    while let Some(message) = messages.recv().await {
        let line = format!("{message}\n");
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
