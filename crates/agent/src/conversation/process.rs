//! A running CLI that is ready for prompts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::IncidentId;
use breakglass_model::gateway::ConversationHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::types::Shared;
use crate::TargetNames;
use crate::child::Exit;
use crate::plan::{CliSession, Plan};
use crate::roster::RosterEntry;
use crate::sandbox::Connected;
use crate::start::{Child, start};
use crate::wire::{self, Line};

/// Maximum time for the CLI to get ready; it usually takes about a second of a free core.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum time for a response to a request between turns.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time for the CLI to exit once its standard input is closed.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The response to a tool use between turns.
const NO_TURN: &str =
    "No turn is running, and the agent acts in a turn only. Wait for the operator.";

#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    /// Its access to guest and host, which closes when the process is gone.
    pub(super) access: Arc<dyn ConversationHandle>,
    pub(super) session: CliSession,
    /// The agent's name.
    pub(super) agent: String,
    pub(super) model: String,
    /// Cost of its turns so far, in US dollars.
    pub(super) cost: f64,
    requests: u32,
    /// The agent's name at the beginning of a sentence.
    display_name: String,
}

/// Why a process could not be started.
#[derive(Debug)]
pub(super) enum StartError {
    /// The session to resume does not exist.
    NoSession,
    /// A sentence.
    Failed(String),
}

impl Process {
    /// Starts the CLI and waits until it is ready, or the server shuts down.
    pub(super) async fn start(
        shared: &Shared,
        entry: &RosterEntry,
        incident: IncidentId,
        names: &TargetNames,
        session: CliSession,
        model: &str,
    ) -> Result<Process, StartError> {
        let options = &entry.options;
        let opened = shared.gateway.open(incident, &names.guest, &options.name);
        let access: Arc<dyn ConversationHandle> = opened.await.map_err(StartError::Failed)?.into();
        let plan = Plan {
            names: names.clone(),
            conversation: incident.to_string(),
            session,
            model: model.to_owned(),
            env: access.environment(),
            credential: access.runner_credential(),
        };
        let receiver = Arc::clone(&access);
        let connected: Connected =
            Arc::new(move |destination, stream| receiver.connected(destination, stream));
        let started = start(options, &entry.spawner, Some(&plan), connected).await;
        let child = started.map_err(StartError::Failed)?.child;
        match child.process_tree() {
            Ok(Some(tree)) => access.admit(Box::new(move |peer| {
                tree.check_peer(peer).map_err(|process| process.to_string())
            })),
            Ok(None) => {}
            // It ended at once, and the handshake reports how.
            Err(error) => tracing::warn!(%error, "the agent's process can't be examined"),
        }
        let mut process = Process {
            child,
            access,
            session,
            agent: options.name.clone(),
            model: plan.model,
            cost: 0.0,
            requests: 0,
            display_name: options.kind.display_name(),
        };
        let ready = tokio::select! {
            ready = process.handshake() => ready,
            () = shared.shutdown.cancelled() => {
                process.child.kill().await;
                return Err(StartError::Failed("The server is shutting down.".to_owned()));
            }
        };
        match ready {
            Ok(()) => Ok(process),
            Err(error) => Err(process.start_failed(&error).await),
        }
    }

    async fn handshake(&mut self) -> io::Result<()> {
        let request = self.next_request();
        self.child.send(&wire::initialize(&request)).await?;
        match timeout(READY_TIMEOUT, self.response(&request)).await {
            Ok(response) => response?.map_err(io::Error::other),
            Err(_) => Err(io::Error::other(format!(
                "not ready after {} s",
                READY_TIMEOUT.as_secs()
            ))),
        }
    }

    async fn start_failed(self, error: &io::Error) -> StartError {
        let is_resumed = matches!(self.session, CliSession::Resume(_));
        let exit = self.child.end(EXIT_GRACE).await;
        if is_resumed && exit.last_words.contains("No conversation found") {
            return StartError::NoSession;
        }
        StartError::Failed(format!(
            "{} ended before it was ready ({}). Run `breakglass doctor`, or the CLI by hand.",
            self.display_name,
            exit.describe(&error.to_string())
        ))
    }

    /// Changes the model of the next prompts; returns whether the CLI accepted it.
    pub(super) async fn set_model(&mut self, model: &str) -> bool {
        let request = self.next_request();
        let line = wire::set_model(&request, model);
        if self.child.send(&line).await.is_err() {
            return false;
        }
        let response = timeout(RESPONSE_TIMEOUT, self.response(&request)).await;
        let is_accepted = matches!(response, Ok(Ok(Ok(()))));
        if is_accepted {
            model.clone_into(&mut self.model);
        }
        is_accepted
    }

    /// Reads up to the response to `request`; the inner error is the CLI's.
    async fn response(&mut self, request: &str) -> io::Result<Result<(), String>> {
        while let Some(line) = self.child.next().await? {
            match wire::read(&line).0 {
                Line::ControlResponse { request: id, error } if &*id == request => {
                    return Ok(error.map_or(Ok(()), |error| Err(error.to_string())));
                }
                _ => {}
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Asks the CLI to end the running turn, which it does with a turn result.
    pub(super) async fn interrupt(&mut self) -> io::Result<()> {
        let request = self.next_request();
        self.child.send(&wire::interrupt(&request)).await
    }

    /// Lets the process exit, and kills it if it does not.
    pub(super) async fn end(self) -> Exit {
        self.child.end(EXIT_GRACE).await
    }

    /// Whether the process has died since it was last used.
    pub(super) async fn is_dead(&mut self) -> bool {
        let soon = Instant::now() + Duration::from_millis(1);
        timeout_at(soon, self.until_dead()).await.is_ok()
    }

    /// Returns when the process has died. Its output between turns belongs to no turn. Requests are denied, so
    /// that the CLI does not wait for a response when the next prompt comes.
    pub(super) async fn until_dead(&mut self) {
        while let Ok(Some(line)) = self.child.next().await {
            let response = match wire::read(&line).0 {
                Line::ControlRequest {
                    request,
                    tool_use: Some(_),
                } => wire::deny(&request, NO_TURN),
                Line::ControlRequest { request, .. } => wire::refuse(&request),
                Line::TurnResult(result) => {
                    self.cost = result.total_cost_usd.unwrap_or(self.cost);
                    continue;
                }
                _ => continue,
            };
            // If this fails, the next read finds the process dead.
            let _ = self.child.send(&response).await;
        }
    }

    fn next_request(&mut self) -> String {
        self.requests += 1;
        format!("breakglass-{}", self.requests)
    }
}
