//! The task of one conversation: what it does between turns, and how a turn begins.

use breakglass_model::{Actor, EventBody, IncidentId, Level, TurnNumber};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::history::History;
use super::process::{Process, StartError};
use super::recorder::Recorder;
use super::running_turn::{RunningTurn, TurnFinish};
use super::summary::Summary;
use super::types::{Activity, Command, PromptRequest, PromptTarget, Shared};
use crate::PromptError;
use crate::plan::CliSession;
use crate::roster::RosterEntry;
use crate::wire;

/// One incident's conversation.
pub(crate) struct Conversation {
    pub(crate) incident: IncidentId,
    pub(crate) shared: Shared,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Cancelled when another conversation needs the slot. Takes effect only between turns.
    pub(crate) retire: CancellationToken,
    pub(crate) activity: watch::Sender<Activity>,
    /// Held until the process is gone.
    pub(crate) slot: OwnedSemaphorePermit,
}

impl Conversation {
    /// Runs until the conversation has no process any more.
    pub(crate) async fn run(mut self) {
        let mut process = None;
        loop {
            self.activity.send_replace(Activity::now(false));
            let Some(command) = self.next_command(&mut process).await else {
                break;
            };
            process = match command {
                Command::Warm => self.warm(process).await,
                Command::Prompt(request) => self.prompt(process, request).await,
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
    async fn next_command(&mut self, process: &mut Option<Process>) -> Option<Command> {
        let idle_limit = self.shared.roster.first().options.idle_limit;
        tokio::select! {
            () = self.shared.shutdown.cancelled() => None,
            () = self.retire.cancelled() => None,
            () = tokio::time::sleep(idle_limit) => None,
            () = until_dead(process) => None,
            command = self.commands.recv() => command,
        }
    }

    async fn warm(&mut self, process: Option<Process>) -> Option<Process> {
        if process.is_some() {
            return process;
        }
        match self.ready(None, &PromptTarget::default()).await {
            Ok((process, _)) => Some(process),
            Err(error) => {
                tracing::warn!(incident = %self.incident, %error, "the agent could not be warmed");
                None
            }
        }
    }

    /// Runs a turn, and then one by the fallback agent if the model could not be reached.
    async fn prompt(
        &mut self,
        process: Option<Process>,
        mut request: PromptRequest,
    ) -> Option<Process> {
        let (process, finish) = self.run_turn(process, &mut request).await;
        let fallback = finish?.fallback;
        let Some(name) = fallback.filter(|_| !self.shared.shutdown.is_cancelled()) else {
            return process;
        };
        let message = format!(
            "The model of the agent that was asked can't be reached, so {name} continues with the same \
             question."
        );
        self.notify("agent_fallback", message).await;
        let mut request = PromptRequest {
            actor: Actor::System,
            text: request.text,
            target: PromptTarget {
                agent: Some(name),
                model: None,
            },
            reply: None,
        };
        self.run_turn(process, &mut request).await.0
    }

    async fn run_turn(
        &mut self,
        process: Option<Process>,
        request: &mut PromptRequest,
    ) -> (Option<Process>, Option<TurnFinish>) {
        self.activity.send_replace(Activity::now(true));
        let (mut process, history) = match self.ready(process, &request.target).await {
            Ok(ready) => ready,
            Err(error) => {
                request.reply(Err(error));
                return (None, None);
            }
        };
        let turn = history.turn + 1;
        if let Err(error) = self.record_start(&process, turn, request).await {
            request.reply(Err(error));
            return (Some(process), None);
        }
        request.reply(Ok(turn));
        process.access.turn_began(turn);
        let text = if history.is_new_to(&process.agent, &self.shared.roster) {
            self.summary().await.before(&request.text)
        } else {
            request.text.clone()
        };
        // If this fails the CLI is gone, and the turn notices the end of its output.
        let _ = process.child.send(&wire::prompt(&text)).await;
        let recorder = self.recorder();
        let turn = RunningTurn::new(turn, process, &self.shared, recorder, &self.activity);
        let (process, finish) = turn.run(&mut self.commands).await;
        (process, Some(finish))
    }

    /// The turns before the one that has just begun.
    async fn summary(&self) -> Summary {
        let summary = self.recorder().summary().await;
        summary.unwrap_or_else(|error| {
            tracing::warn!(%error, "the agent gets no summary of another agent's turns");
            Summary::default()
        })
    }

    async fn record_start(
        &self,
        process: &Process,
        turn: TurnNumber,
        request: &PromptRequest,
    ) -> Result<(), PromptError> {
        let recorder = self.recorder();
        let prompt = EventBody::Prompt {
            turn,
            text: request.text.clone(),
        };
        recorder.append(request.actor.clone(), prompt).await?;
        let has_several = self.shared.roster.has_several();
        let started = EventBody::TurnStarted {
            turn,
            agent: has_several.then(|| process.agent.clone()),
            model: process.model.clone(),
            session: process.session.id(),
        };
        recorder.append(Actor::Agent, started).await?;
        Ok(())
    }

    fn recorder(&self) -> Recorder {
        Recorder::new(self.shared.log.clone(), self.incident)
    }

    /// A process for `target`: the given one if it fits, otherwise a new one that resumes the agent's session of
    /// this incident.
    async fn ready(
        &mut self,
        process: Option<Process>,
        target: &PromptTarget,
    ) -> Result<(Process, History), PromptError> {
        let history = self.recorder().history().await?;
        let roster = self.shared.roster.clone();
        let named = target.agent.as_deref().or(history.agent.as_deref());
        let entry = roster.get_or_first(named);
        let options = &entry.options;
        let model = target.model.as_deref().unwrap_or(&options.model);
        if let Some(mut process) = process {
            let is_usable = process.agent == options.name && !process.is_dead().await;
            if is_usable && (process.model == model || process.set_model(model).await) {
                return Ok((process, history));
            }
            process.end().await;
        }
        let session = history
            .session_of(&options.name, &roster)
            .map_or_else(|| CliSession::New(Uuid::new_v4()), CliSession::Resume);
        let process = match self.start(entry, &history, session, model).await? {
            Err(StartError::NoSession) => {
                let message = "The agent's session of this incident no longer exists, so the agent \
                               starts anew: it does not remember its earlier turns.";
                self.notify("agent_session_lost", message.to_owned()).await;
                let session = CliSession::New(Uuid::new_v4());
                self.start(entry, &history, session, model).await?
            }
            started => started,
        };
        match process {
            Ok(process) => Ok((process, history)),
            Err(StartError::Failed(reason)) => Err(PromptError::Unavailable(reason)),
            Err(StartError::NoSession) => Err(PromptError::Unavailable(format!(
                "{} does not start a new session. Run `breakglass doctor`.",
                options.kind.display_name()
            ))),
        }
    }

    async fn start(
        &self,
        entry: &RosterEntry,
        history: &History,
        session: CliSession,
        model: &str,
    ) -> Result<Result<Process, StartError>, PromptError> {
        let target = &history.target;
        let names = entry
            .options
            .names(target)
            .ok_or_else(|| PromptError::UnknownTarget(target.clone()))?;
        Ok(Process::start(&self.shared, entry, self.incident, names, session, model).await)
    }

    async fn notify(&self, code: &str, message: String) {
        let notice = EventBody::Notice {
            level: Level::Warning,
            code: code.to_owned(),
            message,
        };
        let _ = self.recorder().append(Actor::System, notice).await;
    }
}

async fn until_dead(process: &mut Option<Process>) {
    match process {
        Some(process) => process.until_dead().await,
        None => std::future::pending().await,
    }
}
