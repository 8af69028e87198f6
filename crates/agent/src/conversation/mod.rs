//! One incident's conversation with the agent: a task that owns the CLI process and takes
//! commands one by one.
//!
//! ```text
//!            warm, prompt                prompt              turn over
//!  (no task) ───────────► starting ──► idle ──────► turn ───────────────► idle
//!                            │          │             │
//!                            └──────────┴─────────────┴──► ended: no process, no task
//!                           cannot start   idle too long,   the CLI died or was killed
//!                                          slot wanted, shutdown
//! ```
//!
//! The task lives as long as its process. What outlives both is in the log: the next prompt reads
//! the turn's number and the session from there, so it makes no difference whether the CLI died,
//! was idle too long, or the whole server was restarted.

mod alarm;
mod history;
mod process;
mod questions;
mod recorder;
mod running;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use breakglass_log::Log;
use breakglass_model::{Actor, EventBody, IncidentId, Level, TurnNumber};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::PromptError;
use crate::cell::Session;
use crate::crew::Crew;
use crate::wire;
use breakglass_model::gateway::AgentGateway;
use history::History;
use process::{Process, StartError};
use recorder::Recorder;
use running::{Over, Running};
use summary::Summary;

/// How long after an interrupt the CLI is killed.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// What a conversation is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start the process.
    Warm,
    /// Begin a turn.
    Prompt(Ask),
    /// End the running turn; the answer comes when its end is recorded, and says whether one ran.
    Stop(Actor, oneshot::Sender<bool>),
}

/// A prompt.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) actor: Actor,
    pub(crate) text: String,
    pub(crate) asked: Asked,
    /// None for a prompt that nobody waits for.
    pub(crate) reply: Option<oneshot::Sender<Result<TurnNumber, PromptError>>>,
}

/// Which agent is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its name; none for the one that had the incident's last turn, or else the first.
    pub agent: Option<String>,
    /// One of its names of models; none for its usual one.
    pub model: Option<String>,
}

impl Ask {
    fn answer(&mut self, answer: Result<TurnNumber, PromptError>) {
        match (self.reply.take(), answer) {
            (Some(reply), answer) => drop(reply.send(answer)),
            (None, Err(error)) => tracing::warn!(%error, "an agent could not go on for another"),
            (None, Ok(_)) => {}
        }
    }
}

/// What every conversation shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) crew: Crew,
    pub(crate) journal: Log,
    pub(crate) warden: Arc<dyn AgentGateway>,
    pub(crate) shutdown: CancellationToken,
}

/// Whether a turn runs, and since when that is so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activity {
    pub(crate) busy: bool,
    pub(crate) since: Instant,
}

impl Activity {
    pub(crate) fn now(busy: bool) -> Activity {
        Activity {
            busy,
            since: Instant::now(),
        }
    }
}

/// One incident's conversation.
pub(crate) struct Conversation {
    pub(crate) incident: IncidentId,
    pub(crate) shared: Shared,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Cancelled when the slot is wanted; obeyed between turns only.
    pub(crate) retire: CancellationToken,
    pub(crate) activity: watch::Sender<Activity>,
    /// Held until the process is gone.
    pub(crate) slot: OwnedSemaphorePermit,
}

impl Conversation {
    /// Works until there is no process any more.
    pub(crate) async fn run(mut self) {
        let mut process = None;
        loop {
            let busy = false;
            self.activity.send_replace(Activity {
                busy,
                since: Instant::now(),
            });
            let Some(command) = self.idle(&mut process).await else {
                break;
            };
            process = match command {
                Command::Warm => self.warm(process).await,
                Command::Prompt(ask) => self.prompt(process, ask).await,
                Command::Stop(_, reply) => {
                    let _ = reply.send(false);
                    process
                }
            };
            if process.is_none() {
                break;
            }
        }
        if let Some(process) = process {
            process.end().await;
        }
        drop(self.slot);
    }

    /// Waits between turns for a command; none if the conversation is to end.
    async fn idle(&mut self, process: &mut Option<Process>) -> Option<Command> {
        let too_long = tokio::time::sleep(self.shared.crew.first().options.idle_limit);
        tokio::select! {
            () = self.shared.shutdown.cancelled() => None,
            () = self.retire.cancelled() => None,
            () = too_long => None,
            () = death(process) => None,
            command = self.commands.recv() => command,
        }
    }

    async fn warm(&mut self, process: Option<Process>) -> Option<Process> {
        if process.is_some() {
            return process;
        }
        match self.ready(None, &Asked::default()).await {
            Ok((process, _)) => Some(process),
            Err(error) => {
                tracing::warn!(incident = %self.incident, %error, "the agent could not be warmed");
                None
            }
        }
    }

    /// Runs a turn, and another one by the agent that is to go on where its model could not be reached.
    async fn prompt(&mut self, process: Option<Process>, mut ask: Ask) -> Option<Process> {
        let (process, over) = self.one_turn(process, &mut ask).await;
        let name = over?
            .fallback
            .filter(|_| !self.shared.shutdown.is_cancelled());
        let Some(name) = name else {
            return process;
        };
        self.tell_fallback(&name).await;
        let mut again = Ask {
            actor: Actor::System,
            text: ask.text,
            asked: Asked {
                agent: Some(name),
                model: None,
            },
            reply: None,
        };
        self.one_turn(process, &mut again).await.0
    }

    async fn one_turn(
        &mut self,
        process: Option<Process>,
        ask: &mut Ask,
    ) -> (Option<Process>, Option<Over>) {
        self.activity.send_replace(Activity {
            busy: true,
            since: Instant::now(),
        });
        let (mut process, history) = match self.ready(process, &ask.asked).await {
            Ok(ready) => ready,
            Err(error) => {
                ask.answer(Err(error));
                return (None, None);
            }
        };
        let turn = history.turn + 1;
        if let Err(error) = self.record_start(&process, turn, ask).await {
            ask.answer(Err(error));
            return (Some(process), None);
        }
        ask.answer(Ok(turn));
        process.post.turn_began(turn);
        let text = match history.is_new_to(&process.agent, &self.shared.crew) {
            true => self.summary().await.before(&ask.text),
            false => ask.text.clone(),
        };
        // If this fails the CLI is gone, and its end of file says so in the turn.
        let _ = process.child.send(&wire::prompt(&text)).await;
        let recorder = self.recorder();
        let running = Running::new(turn, process, &self.shared, recorder, &self.activity);
        let (process, over) = running.run(&mut self.commands).await;
        (process, Some(over))
    }

    /// The turns before the one that has just begun.
    async fn summary(&self) -> Summary {
        let summary = self.recorder().summary().await;
        summary.unwrap_or_else(|error| {
            tracing::warn!(%error, "an agent is not told what another one did");
            Summary::default()
        })
    }

    async fn record_start(
        &self,
        process: &Process,
        turn: TurnNumber,
        ask: &Ask,
    ) -> Result<(), PromptError> {
        let recorder = self.recorder();
        let prompt = EventBody::Prompt {
            turn,
            text: ask.text.clone(),
        };
        recorder.append(ask.actor.clone(), prompt).await?;
        let several = self.shared.crew.is_several();
        let started = EventBody::TurnStarted {
            turn,
            agent: several.then(|| process.agent.clone()),
            model: process.model.clone(),
            session: process.session.id(),
        };
        recorder.append(Actor::Agent, started).await?;
        Ok(())
    }

    fn recorder(&self) -> Recorder {
        Recorder::new(self.shared.journal.clone(), self.incident)
    }

    /// A process of the agent that is asked: the warm one if it can, else a new one that resumes that
    /// agent's session of the incident.
    async fn ready(
        &mut self,
        process: Option<Process>,
        asked: &Asked,
    ) -> Result<(Process, History), PromptError> {
        let history = self.recorder().history().await?;
        let crew = self.shared.crew.clone();
        let named = asked.agent.as_deref().or(history.agent.as_deref());
        let member = named.and_then(|name| crew.named(name));
        let member = member.unwrap_or_else(|| crew.first());
        let options = &member.options;
        let model = asked.model.as_deref().unwrap_or(&options.model);
        if let Some(mut process) = process {
            let fits = process.agent == options.name && !process.is_dead().await;
            if fits && (process.model == model || process.set_model(model).await) {
                return Ok((process, history));
            }
            process.end().await;
        }
        let names = options
            .names(&history.target)
            .ok_or_else(|| PromptError::UnknownTarget(history.target.clone()))?;
        let of = (self.incident, names, member);
        let session = history
            .session_of(&options.name, &crew)
            .map_or_else(|| Session::New(Uuid::new_v4()), Session::Resume);
        let shared = &self.shared;
        let process = match Process::start(shared, of, session, model).await {
            Err(StartError::NoSession) => {
                self.tell_lost_session().await;
                Process::start(shared, of, Session::New(Uuid::new_v4()), model).await
            }
            started => started,
        };
        match process {
            Ok(process) => Ok((process, history)),
            Err(StartError::Failed(why)) => Err(PromptError::Unavailable(why)),
            Err(StartError::NoSession) => Err(PromptError::Unavailable(format!(
                "{} does not start a new session. Run `breakglass doctor`.",
                options.kind.called()
            ))),
        }
    }

    async fn tell_fallback(&self, name: &str) {
        let notice = EventBody::Notice {
            level: Level::Warning,
            code: "agent_fallback".to_owned(),
            message: format!(
                "The model of the agent that was asked can't be reached, so {name} goes on with the same \
                 question."
            ),
        };
        let _ = self.recorder().append(Actor::System, notice).await;
    }

    async fn tell_lost_session(&self) {
        let notice = EventBody::Notice {
            level: Level::Warning,
            code: "agent_session_lost".to_owned(),
            message: "The agent's session of this incident is not there any more, so the agent \
                      starts anew: it does not remember its earlier turns."
                .to_owned(),
        };
        let _ = self.recorder().append(Actor::System, notice).await;
    }
}

/// Returns when the process has died.
async fn death(process: &mut Option<Process>) {
    match process {
        Some(process) => process.death().await,
        None => std::future::pending().await,
    }
}
