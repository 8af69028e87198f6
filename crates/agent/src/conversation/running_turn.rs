//! A running turn: passes everything that happens to [`Turn`], and carries out its effects.

use std::sync::Arc;

use breakglass_model::gateway::{ConversationHandle, ToolRuling};
use breakglass_model::{Actor, EventBody, TurnNumber, TurnOutcome};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::process::Process;
use super::questions::Questions;
use super::recorder::{RecordError, Recorder};
use super::timers::{Timer, Timers};
use super::types::{Activity, Command, Shared};
use crate::refusal::Refusal;
use crate::roster::RosterEntry;
use crate::turn::{Effect, Input, Turn};
use crate::wire::{self, Line};
use crate::{AgentKind, PromptError};

/// Why the turn of an agent that is cut off ends.
const CUT_OFF: &str = "The operator cut the agent off, and with it its model's API, so its turn was ended. Lift \
     the cut-off to ask it again.";

pub(super) struct RunningTurn<'a> {
    number: TurnNumber,
    turn: Turn,
    /// None once it is killed.
    process: Option<Process>,
    timers: Timers,
    shared: &'a Shared,
    /// The turn's agent.
    entry: &'a RosterEntry,
    recorder: Recorder,
    activity: &'a watch::Sender<Activity>,
    stop_replies: Vec<oneshot::Sender<bool>>,
    access: Arc<dyn ConversationHandle>,
    questions: Questions,
    unread_lines: u64,
}

/// What follows a turn.
pub(super) struct TurnFinish {
    /// The agent that takes over, because this one's model could not be reached.
    pub(super) fallback: Option<String>,
}

/// What the turn waited for.
enum Wakeup {
    Line(Vec<Effect>),
    Ruled(String, ToolRuling),
    Dead,
    Command(Command),
    Timer(Timer),
    ModelCutOff,
    Shutdown,
}

impl<'a> RunningTurn<'a> {
    pub(super) fn new(
        number: TurnNumber,
        process: Process,
        shared: &'a Shared,
        recorder: Recorder,
        activity: &'a watch::Sender<Activity>,
    ) -> RunningTurn<'a> {
        let entry = shared.roster.get_or_first(Some(&process.agent));
        let options = &entry.options;
        RunningTurn {
            number,
            turn: Turn::new(number, process.cost)
                .with_login_remedy(&options.login_remedy)
                .with_agent(options.kind.display_name()),
            access: Arc::clone(&process.access),
            questions: Questions::default(),
            process: Some(process),
            timers: Timers::new(Instant::now(), options.turn_limit, options.silence_limit),
            shared,
            entry,
            recorder,
            activity,
            stop_replies: Vec::new(),
            unread_lines: 0,
        }
    }

    /// Runs the turn to its end; returns the process if it is still usable.
    pub(super) async fn run(
        mut self,
        commands: &mut mpsc::Receiver<Command>,
    ) -> (Option<Process>, TurnFinish) {
        while self.turn.outcome().is_none() {
            let mut delivered = None;
            let effects = match self.wait(commands).await {
                Wakeup::Line(effects) => effects,
                Wakeup::Ruled(request, ruling) => {
                    delivered = ruling.delivered;
                    let permission = ruling.permission;
                    self.step(Input::Ruled {
                        request,
                        permission,
                    })
                }
                Wakeup::Dead => self.died().await,
                Wakeup::Command(command) => self.command(command),
                Wakeup::Timer(timer) => self.expired(timer).await,
                Wakeup::ModelCutOff => self.kill(CUT_OFF).await,
                Wakeup::Shutdown => self.kill("The server was shut down.").await,
            };
            if self.turn.outcome().is_some() {
                // Before the end is recorded: a reader of that event may need this process's slot.
                self.activity.send_replace(Activity::now(false));
            }
            if let Err(error) = self.apply(effects).await {
                self.end_unrecorded(&error).await;
                break;
            }
            if let Some(delivered) = delivered {
                let _ = delivered.send(());
            }
        }
        self.finish().await
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Effect> {
        self.turn.step(input, self.timers.elapsed())
    }

    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>) -> Wakeup {
        let Some(process) = &mut self.process else {
            return Wakeup::Dead;
        };
        let (due, timer) = self.timers.next(self.turn.is_tool_running());
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Wakeup::Shutdown,
            Some(command) = commands.recv() => Wakeup::Command(command),
            () = sleep_until(due) => Wakeup::Timer(timer),
            () = self.access.cut_off_from_model() => Wakeup::ModelCutOff,
            (request, ruling) = self.questions.next() => Wakeup::Ruled(request, ruling),
            line = process.child.next() => {
                let Ok(Some(line)) = line else { return Wakeup::Dead };
                let (line, is_read) = wire::read(&line);
                self.timers.line_received(Instant::now(), &line);
                self.unread_lines += u64::from(!is_read);
                if let Line::TurnResult(result) = &line {
                    process.cost = result.total_cost_usd.unwrap_or(process.cost);
                }
                Wakeup::Line(self.turn.step(Input::Line(line), self.timers.elapsed()))
            }
        }
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Warm => Vec::new(),
            Command::Prompt(mut request) => {
                request.reply(Err(PromptError::TurnRunning(self.number)));
                Vec::new()
            }
            Command::Stop(actor, reply) => {
                self.stop_replies.push(reply);
                self.step(Input::Stop(actor))
            }
        }
    }

    async fn expired(&mut self, timer: Timer) -> Vec<Effect> {
        let options = &self.entry.options;
        match timer {
            Timer::TurnLimit => self.step(Input::TimeLimit(options.turn_limit)),
            Timer::SilenceWarning => {
                self.timers.silence_warned();
                let limit = options.silence_limit;
                self.step(Input::Silent {
                    so_far: limit / 2,
                    limit,
                })
            }
            Timer::SilenceLimit => {
                self.kill("The agent printed nothing for too long and was ended.")
                    .await
            }
            Timer::InterruptGrace => {
                self.kill("The agent did not end the turn and was killed.")
                    .await
            }
        }
    }

    async fn died(&mut self) -> Vec<Effect> {
        let status = match self.process.take() {
            Some(process) => process.child.kill().await.describe("status unknown"),
            None => "status unknown".to_owned(),
        };
        let agent = self.entry.options.kind.display_name();
        self.step(Input::Gone(format!(
            "{agent} died during the turn ({status}). The next prompt resumes its session."
        )))
    }

    async fn kill(&mut self, reason: &str) -> Vec<Effect> {
        if let Some(process) = self.process.take() {
            process.child.kill().await;
        }
        self.step(Input::Gone(format!(
            "{reason} The next prompt resumes its session."
        )))
    }

    async fn apply(&mut self, effects: Vec<Effect>) -> Result<(), RecordError> {
        self.access.tools_run(&self.turn.running_calls());
        for effect in effects {
            match effect {
                Effect::Record(actor, body) => {
                    if let EventBody::TurnEnded { outcome, .. } = &body {
                        self.close(*outcome).await;
                    }
                    self.note_login(&body);
                    self.recorder.append(actor, body).await?;
                }
                Effect::Show(frame) => self.recorder.show(frame),
                Effect::Send(line) => {
                    if let Some(process) = &mut self.process {
                        // If the CLI does not read, the next wait finds it dead or silent.
                        let _ = process.child.send(&line).await;
                    }
                }
                Effect::Judge { request, question } => {
                    self.questions.ask(&*self.access, request, question);
                }
                Effect::Withdraw(request) => self.questions.withdraw(&request),
                Effect::Interrupt => {
                    self.access.turn_is_ending();
                    self.timers.interrupted(Instant::now());
                    if let Some(process) = &mut self.process {
                        let _ = process.interrupt().await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Before the end of the turn is recorded: no question stays open, no command keeps running.
    async fn close(&mut self, outcome: TurnOutcome) {
        let is_cut_short = !matches!(outcome, TurnOutcome::Done | TurnOutcome::Failed);
        self.questions.withdraw_all();
        self.access.turn_ended(is_cut_short).await;
        self.questions.settled().await;
    }

    /// The agent never works unrecorded: it is killed at once, and its end is recorded if possible.
    async fn end_unrecorded(&mut self, error: &RecordError) {
        if let Some(process) = self.process.take() {
            process.child.kill().await;
        }
        self.close(TurnOutcome::Interrupted).await;
        let body = EventBody::TurnEnded {
            turn: self.number,
            outcome: TurnOutcome::Interrupted,
            reason: Some(format!(
                "The agent was ended because its actions could not be recorded: {error}. Power \
                 works without it."
            )),
            duration_ms: u64::try_from(self.timers.elapsed().as_millis()).unwrap_or(u64::MAX),
            cost_usd: None,
        };
        self.recorder.record(Actor::System, body).await;
    }

    /// A stopped turn leaves nothing running; `stop` returns only after that.
    async fn finish(self) -> (Option<Process>, TurnFinish) {
        if self.unread_lines > 0 {
            tracing::info!(
                turn = self.number,
                lines = self.unread_lines,
                "lines of the CLI were skipped"
            );
        }
        let options = &self.entry.options;
        let is_cut_short = matches!(
            self.turn.outcome(),
            Some(TurnOutcome::Stopped | TurnOutcome::TimedOut)
        );
        let mut process = self.process;
        if is_cut_short && let Some(stopped) = process.take() {
            process = kill_leftovers(stopped, &options.kind).await;
        }
        for reply in self.stop_replies {
            let _ = reply.send(true);
        }
        let fallback = options.fallback.clone();
        let fallback = fallback.filter(|_| self.turn.is_unreachable());
        (process, TurnFinish { fallback })
    }

    fn note_login(&self, body: &EventBody) {
        match body {
            EventBody::Notice { code, message, .. } if Refusal::is_code(code) => {
                self.entry.login.set_refused(message);
            }
            EventBody::TurnEnded {
                outcome: TurnOutcome::Done,
                ..
            } => self.entry.login.set_accepted(),
            _ => {}
        }
    }
}

/// Kills the leftovers of a turn that was cut short; returns the process if it can take another prompt. The
/// processes of an agent behind a bridge can't be distinguished from the agent itself, so that is killed too: the next
/// prompt resumes its session.
async fn kill_leftovers(process: Process, kind: &AgentKind) -> Option<Process> {
    match kind {
        AgentKind::Claude => {
            process.child.kill_descendants().await;
            Some(process)
        }
        AgentKind::Acp(_) => {
            process.child.kill().await;
            None
        }
    }
}
