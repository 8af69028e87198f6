//! One running CLI that has shaken hands.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::IncidentId;
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use crate::cell::Session;
use crate::child::{Child, Exit};
use crate::crew::Member;
use crate::options::TargetNames;
use crate::sandbox::Connected;
use crate::start::{Plan, start};
use crate::wire::{self, Line};
use breakglass_model::gateway::ConversationHandle;

/// How long the CLI may take to get ready; about a second of a free core is usual.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to answer a request between turns.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to end once its standard input is closed.
const GRACE: Duration = Duration::from_secs(2);
/// What the agent is told where it wants to act between turns.
const NO_TURN: &str =
    "No turn is running, and the agent acts in a turn only. Wait for the operator.";

/// A CLI process that takes prompts.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    /// Its way to guest and host, closed when the process is gone.
    pub(super) post: Arc<dyn ConversationHandle>,
    pub(super) session: Session,
    /// The agent's name.
    pub(super) agent: String,
    pub(super) model: String,
    /// What its turns have cost so far, in US dollars.
    pub(super) cost: f64,
    requests: u32,
    /// The agent at the beginning of a sentence.
    called: String,
}

/// Why a process could not be started.
#[derive(Debug)]
pub(super) enum StartError {
    /// The session to be resumed is not there.
    NoSession,
    /// A sentence.
    Failed(String),
}

impl Process {
    /// Starts the CLI and waits until it is ready, or the server ends.
    pub(super) async fn start(
        shared: &Shared,
        (incident, names, member): (IncidentId, &TargetNames, &Member),
        session: Session,
        model: &str,
    ) -> Result<Process, StartError> {
        let agent = &member.options.name;
        let opened = shared.warden.open(incident, &names.guest, agent).await;
        let post: Arc<dyn ConversationHandle> = opened.map_err(StartError::Failed)?.into();
        let plan = Plan {
            names: names.clone(),
            conversation: incident.to_string(),
            session,
            model: model.to_owned(),
            env: post.environment(),
            pass: post.runner_credential(),
        };
        let arriving = Arc::clone(&post);
        let connected: Connected = Arc::new(move |way, stream| arriving.connected(way, stream));
        let started = start(&member.options, &member.launcher, Some(&plan), connected).await;
        let child = started.map_err(StartError::Failed)?.child;
        match child.family() {
            Ok(Some(family)) => post.admit(Box::new(move |peer| {
                family.admits(peer).map_err(|stranger| stranger.to_string())
            })),
            Ok(None) => {}
            // It ended at once, and the handshake says how.
            Err(error) => tracing::warn!(%error, "the agent's process can't be looked at"),
        }
        let model = plan.model;
        let mut process = Process {
            child,
            post,
            session,
            agent: member.options.name.clone(),
            model,
            cost: 0.0,
            requests: 0,
            called: member.options.kind.called(),
        };
        let shaken = tokio::select! {
            shaken = process.handshake() => shaken,
            () = shared.shutdown.cancelled() => {
                process.child.kill().await;
                return Err(StartError::Failed("The server is shutting down.".to_owned()));
            }
        };
        match shaken {
            Ok(()) => Ok(process),
            Err(error) => Err(process.failed_start(&error).await),
        }
    }

    async fn handshake(&mut self) -> io::Result<()> {
        let request = self.next_request();
        self.child.send(&wire::initialize(&request)).await?;
        match timeout(READY_LIMIT, self.answer(&request)).await {
            Ok(answer) => answer?.map_err(io::Error::other),
            Err(_) => Err(io::Error::other(format!(
                "not ready after {} s",
                READY_LIMIT.as_secs()
            ))),
        }
    }

    async fn failed_start(self, error: &io::Error) -> StartError {
        let resumed = matches!(self.session, Session::Resume(_));
        let exit = self.child.end(GRACE).await;
        if resumed && exit.last_words.contains("No conversation found") {
            return StartError::NoSession;
        }
        StartError::Failed(format!(
            "{} ended before it was ready ({}). Run `breakglass doctor`, or the CLI by hand.",
            self.called,
            exit.describe(&error.to_string())
        ))
    }

    /// Switches the model of the next prompts; false if the CLI would not.
    pub(super) async fn set_model(&mut self, model: &str) -> bool {
        let request = self.next_request();
        if self
            .child
            .send(&wire::set_model(&request, model))
            .await
            .is_err()
        {
            return false;
        }
        let answer = timeout(ANSWER_LIMIT, self.answer(&request)).await;
        let switched = matches!(answer, Ok(Ok(Ok(()))));
        if switched {
            model.clone_into(&mut self.model);
        }
        switched
    }

    /// Reads up to the answer to `request`: done, or the CLI's reason for not doing it.
    async fn answer(&mut self, request: &str) -> io::Result<Result<(), String>> {
        while let Some(line) = self.child.next().await? {
            match wire::read(&line).0 {
                Line::Answer { request: id, error } if &*id == request => {
                    return Ok(error.map_or(Ok(()), |error| Err(error.to_string())));
                }
                _ => {}
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Asks for the running turn to be ended; its `result` is the answer.
    pub(super) async fn interrupt(&mut self) -> io::Result<()> {
        let request = self.next_request();
        self.child.send(&wire::interrupt(&request)).await
    }

    /// Ends the process politely, and by force where that does not help.
    pub(super) async fn end(self) -> Exit {
        self.child.end(GRACE).await
    }

    /// Whether the process has died since it was last used.
    pub(super) async fn is_dead(&mut self) -> bool {
        let soon = Instant::now() + Duration::from_millis(1);
        timeout_at(soon, self.death()).await.is_ok()
    }

    /// Returns when the process has died. What it says between turns concerns no turn; what it asks
    /// is denied, so that it does not wait for an answer when the next prompt comes.
    pub(super) async fn death(&mut self) {
        while let Ok(Some(line)) = self.child.next().await {
            let denied = match wire::read(&line).0 {
                Line::Ask {
                    request,
                    question: Some(_),
                } => wire::deny(&request, NO_TURN),
                Line::Ask { request, .. } => wire::refuse(&request),
                Line::Ended(ending) => {
                    self.cost = ending.total_cost_usd.unwrap_or(self.cost);
                    continue;
                }
                _ => continue,
            };
            // Where this fails the process is about to be found dead.
            let _ = self.child.send(&denied).await;
        }
    }

    fn next_request(&mut self) -> String {
        self.requests += 1;
        format!("breakglass-{}", self.requests)
    }
}
