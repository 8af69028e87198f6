//! The turn that runs: feeds [`Turn`] with what happens and does what it says.

use std::sync::Arc;

use breakglass_model::{Actor, EventBody, TurnNumber, TurnOutcome};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::alarm::{Alarm, Alarms};
use super::process::Process;
use super::questions::Questions;
use super::recorder::{RecordError, Recorder};
use super::{Activity, Command, Shared};
use crate::crew::Member;
use crate::refusal::Refusal;
use crate::turn::{Effect, Input, Turn};
use crate::wire::{self, Line};
use crate::{Kind, PromptError};
use breakglass_model::gateway::{ConversationHandle, ToolRuling};

pub(super) struct Running<'a> {
    number: TurnNumber,
    turn: Turn,
    /// None once it is killed.
    process: Option<Process>,
    alarms: Alarms,
    shared: &'a Shared,
    /// The agent that has the turn.
    agent: String,
    recorder: Recorder,
    activity: &'a watch::Sender<Activity>,
    stops: Vec<oneshot::Sender<bool>>,
    post: Arc<dyn ConversationHandle>,
    questions: Questions,
    unread: u64,
}

/// How a turn was left.
pub(super) struct Over {
    /// The agent that goes on by itself, since this one's model could not be reached.
    pub(super) fallback: Option<String>,
}

fn member<'a>(shared: &'a Shared, name: &str) -> &'a Member {
    let crew = &shared.crew;
    crew.named(name).unwrap_or_else(|| crew.first())
}

/// What ended a wait.
enum Event {
    Effects(Vec<Effect>),
    Ruled(String, ToolRuling),
    Dead,
    Command(Command),
    Due(Alarm),
    WithoutModel,
    Shutdown,
}

/// Why a turn of an agent that is cut off ends.
const CUT_OFF: &str = "The operator has cut the agent off, from its model's API too, so its turn was ended. Lift the cut-off \
     to ask it again.";

impl<'a> Running<'a> {
    pub(super) fn new(
        number: TurnNumber,
        process: Process,
        shared: &'a Shared,
        recorder: Recorder,
        activity: &'a watch::Sender<Activity>,
    ) -> Running<'a> {
        let agent = process.agent.clone();
        let options = &member(shared, &agent).options;
        Running {
            number,
            turn: Turn::new(number, process.cost)
                .with_sign_in(&options.sign_in)
                .with_agent(options.kind.called()),
            post: Arc::clone(&process.post),
            questions: Questions::default(),
            process: Some(process),
            alarms: Alarms::new(Instant::now(), options.turn_limit, options.silence_limit),
            shared,
            agent,
            recorder,
            activity,
            stops: Vec::new(),
            unread: 0,
        }
    }

    /// Runs the turn to its end; gives the process back if it lives.
    pub(super) async fn run(
        mut self,
        commands: &mut mpsc::Receiver<Command>,
    ) -> (Option<Process>, Over) {
        while self.turn.outcome().is_none() {
            let mut taken = None;
            let effects = match self.wait(commands).await {
                Event::Effects(effects) => effects,
                Event::Ruled(request, ruling) => {
                    taken = ruling.delivered;
                    let leave = ruling.permission;
                    let input = Input::Ruled { request, leave };
                    self.turn.step(input, self.alarms.elapsed())
                }
                Event::Dead => self.died().await,
                Event::Command(command) => self.command(command),
                Event::Due(alarm) => self.due(alarm).await,
                Event::WithoutModel => self.kill(CUT_OFF).await,
                Event::Shutdown => self.kill("The server was shut down.").await,
            };
            if self.turn.outcome().is_some() {
                // Before the end is recorded: who reads of it may want this process's slot.
                self.activity.send_replace(Activity::now(false));
            }
            if let Err(error) = self.apply(effects).await {
                self.end_unrecorded(&error).await;
                break;
            }
            if let Some(taken) = taken {
                let _decider_left = taken.send(());
            }
        }
        self.wind_up().await
    }

    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>) -> Event {
        let Some(process) = &mut self.process else {
            return Event::Dead;
        };
        let (due, alarm) = self.alarms.next(self.turn.tool_runs());
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Event::Shutdown,
            Some(command) = commands.recv() => Event::Command(command),
            () = sleep_until(due) => Event::Due(alarm),
            () = self.post.cut_off_from_model() => Event::WithoutModel,
            (request, ruling) = self.questions.next() => Event::Ruled(request, ruling),
            line = process.child.next() => {
                let Ok(Some(line)) = line else { return Event::Dead };
                let (line, read) = wire::read(&line);
                let now = Instant::now();
                self.alarms.heard(now);
                self.alarms.announced(now, &line);
                self.unread += u64::from(!read);
                if let Line::Ended(ending) = &line {
                    process.cost = ending.total_cost_usd.unwrap_or(process.cost);
                }
                Event::Effects(self.turn.step(Input::Line(line), self.alarms.elapsed()))
            }
        }
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Warm => Vec::new(),
            Command::Prompt(mut ask) => {
                ask.answer(Err(PromptError::TurnRunning(self.number)));
                Vec::new()
            }
            Command::Stop(actor, reply) => {
                self.stops.push(reply);
                self.turn.step(Input::Stop(actor), self.alarms.elapsed())
            }
        }
    }

    async fn due(&mut self, alarm: Alarm) -> Vec<Effect> {
        let options = &member(self.shared, &self.agent).options;
        let elapsed = self.alarms.elapsed();
        match alarm {
            Alarm::TimeLimit => self
                .turn
                .step(Input::TimeLimit(options.turn_limit), elapsed),
            Alarm::Silent => {
                self.alarms.told_silent();
                let limit = options.silence_limit;
                self.turn.step(
                    Input::Silent {
                        so_far: limit / 2,
                        limit,
                    },
                    elapsed,
                )
            }
            Alarm::SilenceLimit => {
                self.kill("The agent said nothing for too long and was ended.")
                    .await
            }
            Alarm::Kill => {
                self.kill("The agent did not end the turn and was killed.")
                    .await
            }
        }
    }

    async fn died(&mut self) -> Vec<Effect> {
        let how = match self.process.take() {
            Some(process) => process.child.kill().await.describe("status unknown"),
            None => "status unknown".to_owned(),
        };
        let reason = format!(
            "{} died in mid-turn ({how}). The next prompt resumes its session.",
            member(self.shared, &self.agent).options.kind.called()
        );
        self.turn.step(Input::Gone(reason), self.alarms.elapsed())
    }

    async fn kill(&mut self, why: &str) -> Vec<Effect> {
        if let Some(process) = self.process.take() {
            process.child.kill().await;
        }
        let reason = format!("{why} The next prompt resumes its session.");
        self.turn.step(Input::Gone(reason), self.alarms.elapsed())
    }

    async fn apply(&mut self, effects: Vec<Effect>) -> Result<(), RecordError> {
        self.post.tools_run(&self.turn.running_calls());
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
                        // A CLI that does not read is found dead or silent by the next wait.
                        let _ = process.child.send(&line).await;
                    }
                }
                Effect::Judge { request, question } => {
                    self.questions.ask(&*self.post, request, question);
                }
                Effect::Withdraw(request) => self.questions.withdraw(&request),
                Effect::Interrupt => {
                    self.post.turn_is_ending();
                    self.alarms.asked_to_end(Instant::now());
                    if let Some(process) = &mut self.process {
                        let _ = process.interrupt().await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Nothing of the turn goes on once its end is recorded: no question, no command.
    async fn close(&mut self, outcome: TurnOutcome) {
        let cut = !matches!(outcome, TurnOutcome::Done | TurnOutcome::Failed);
        self.questions.withdraw_all();
        self.post.turn_ended(cut).await;
        self.questions.settled().await;
    }

    /// The agent is never trusted unrecorded: it is ended at once, and its end is made known as
    /// well as can be.
    async fn end_unrecorded(&mut self, error: &RecordError) {
        if let Some(process) = self.process.take() {
            process.child.kill().await;
        }
        self.close(TurnOutcome::Interrupted).await;
        let body = EventBody::TurnEnded {
            turn: self.number,
            outcome: TurnOutcome::Interrupted,
            reason: Some(format!(
                "The agent was ended because the log does not record what it does: {error}. Power \
                 works without it."
            )),
            duration_ms: u64::try_from(self.alarms.elapsed().as_millis()).unwrap_or(u64::MAX),
            cost_usd: None,
        };
        self.recorder.record(Actor::System, body).await;
    }

    /// A stopped turn leaves nothing running; only then does the one who stopped it hear so.
    async fn wind_up(self) -> (Option<Process>, Over) {
        if self.unread > 0 {
            tracing::info!(
                turn = self.number,
                lines = self.unread,
                "lines of the CLI were skipped"
            );
        }
        let cut = matches!(
            self.turn.outcome(),
            Some(TurnOutcome::Stopped | TurnOutcome::TimedOut)
        );
        let mut process = self.process;
        if cut && let Some(stopped) = process.take() {
            process = settle(stopped, &member(self.shared, &self.agent).options.kind).await;
        }
        for stop in self.stops {
            let _ = stop.send(true);
        }
        let fallback = &member(self.shared, &self.agent).options.fallback;
        let fallback = fallback.clone().filter(|_| self.turn.is_unreachable());
        (process, Over { fallback })
    }

    fn note_login(&self, body: &EventBody) {
        let login = &member(self.shared, &self.agent).login;
        match body {
            EventBody::Notice { code, message, .. } if Refusal::is_code(code) => {
                login.refused(message);
            }
            EventBody::TurnEnded {
                outcome: TurnOutcome::Done,
                ..
            } => login.works(),
            _ => {}
        }
    }
}

/// Ends all that a cut turn may have left; gives the process back if it takes another prompt. What an
/// agent behind a bridge has started can't be told from the agent itself, so that goes too: the next
/// prompt resumes its session.
async fn settle(process: Process, kind: &Kind) -> Option<Process> {
    match kind {
        Kind::Claude => {
            process.child.kill_descendants().await;
            Some(process)
        }
        Kind::Acp(_) => {
            process.child.kill().await;
            None
        }
    }
}
