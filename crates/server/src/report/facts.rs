//! What an incident's events say, collected in lists that never outgrow a report.

use std::collections::HashSet;
use std::sync::Arc;

use breakglass_bastion::{Judgement, Rules};
use breakglass_control::LAST_MEASURED;
use breakglass_model::{
    Actor, Autonomy, CommandMode, Decision, Diagnosis, Event, EventBody, Level, OperationId, Time,
    TurnNumber, TurnOutcome, Verb, VerbOutcome,
};
use uuid::Uuid;

/// The first entries, and how many more there were.
#[derive(Debug)]
pub(super) struct Listed<T> {
    pub(super) shown: Vec<T>,
    pub(super) all: u64,
}

/// Most entries of one list.
const MOST: usize = 500;
/// Most pieces of evidence that are named for one capture.
const MOST_EVIDENCE: usize = 60;
/// Most bytes that are kept of one text.
const MOST_TEXT: usize = 512;

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed {
            shown: Vec::new(),
            all: 0,
        }
    }
}

impl<T> Listed<T> {
    fn add(&mut self, entry: T) {
        self.all += 1;
        if self.shown.len() < MOST {
            self.shown.push(entry);
        }
    }

    /// The newest entry that is meant.
    fn find(&mut self, is: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.shown.iter_mut().rev().find(|entry| is(entry))
    }
}

/// One run of a verb.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) operation: OperationId,
    pub(super) at: Time,
    pub(super) who: String,
    pub(super) verb: Verb,
    /// How it ended; none while it runs.
    pub(super) end: Option<RunEnd>,
}

#[derive(Debug, Clone)]
pub(super) struct RunEnd {
    pub(super) at: Time,
    pub(super) verb: Verb,
    pub(super) outcome: VerbOutcome,
    pub(super) verdict: Option<String>,
    pub(super) message: String,
    pub(super) took_ms: u64,
    /// Whether the screen of before is kept.
    pub(super) picture: bool,
}

/// One command of the agent, as the bastion saw it.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) command: Uuid,
    pub(super) at: Time,
    pub(super) turn: TurnNumber,
    pub(super) tool_call: Option<String>,
    pub(super) host: String,
    pub(super) text: String,
    /// Whether it is not known to only read, on the guest.
    pub(super) changes: bool,
    /// How it ended, in our words and those of the host; none while it runs.
    pub(super) end: Option<CommandEnd>,
}

#[derive(Debug)]
pub(super) struct CommandEnd {
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<String>,
    pub(super) took_ms: u64,
    /// Why it did not end by itself, or did not even run.
    pub(super) message: Option<String>,
}

/// A finding, or a check that did not come out well.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) at: Time,
    /// The rule, or the check's name.
    pub(super) signature: String,
    pub(super) summary: String,
    pub(super) recommend: Option<Verb>,
}

#[derive(Debug)]
pub(super) struct Check {
    pub(super) at: Time,
    pub(super) check: Diagnosis,
    pub(super) level: Level,
    pub(super) summary: String,
}

/// A question of the agent's and its answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) approval: String,
    pub(super) at: Time,
    pub(super) place: String,
    pub(super) command: String,
    /// How, by whom, and what the agent was told.
    pub(super) answer: Option<(Decision, String, Option<String>)>,
}

/// What one run of the gate kept of the machine as it was.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) operation: OperationId,
    /// The directory on the host, where it could be kept there.
    pub(super) place: Option<String>,
    /// Each piece of evidence by name, and whether it could be had.
    pub(super) evidence: Vec<(String, bool)>,
}

/// The agent's part, counted over all of it.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) turns: u64,
    /// By [`TurnOutcome`], in its order.
    pub(super) ended: [u64; 5],
    pub(super) cost_usd: f64,
    pub(super) failed_commands: u64,
    /// Commands that are not known to only read, on the guest.
    pub(super) changing_commands: u64,
    /// The last change of what it may do.
    pub(super) autonomy: Option<Autonomy>,
    pub(super) cut_off: bool,
}

/// Everything that the summary and the tables say.
#[derive(Default)]
pub(super) struct Facts {
    target: String,
    rules: Option<Arc<Rules>>,
    /// Who took part, in the order of their first events.
    pub(super) actors: Listed<String>,
    known: HashSet<Actor>,
    pub(super) runs: Listed<Run>,
    pub(super) commands: Listed<Command>,
    pub(super) findings: Listed<Finding>,
    pub(super) checks: Listed<Check>,
    pub(super) questions: Listed<Question>,
    pub(super) bundles: Listed<Bundle>,
    pub(super) agent: Agent,
    /// The end of the last verb, also of one that is beyond the list.
    pub(super) last_run: Option<RunEnd>,
    /// How the machine was when the incident was closed, and when that was noted.
    pub(super) measured: Option<(Time, String)>,
    /// When the record was not written, as it said itself afterwards.
    pub(super) gaps: Listed<(Time, String)>,
    /// Who closed it.
    pub(super) closed_by: Option<String>,
    /// The newest event's hash.
    pub(super) head_hash: String,
}

impl Facts {
    pub(super) fn of(target: &str, rules: Option<Arc<Rules>>) -> Facts {
        Facts {
            target: target.to_owned(),
            rules,
            ..Facts::default()
        }
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.head_hash.clone_from(&event.hash);
        // Whoever is beyond the bound is not remembered, and so is counted again each time.
        if self.known.len() < MOST && self.known.insert(event.actor.clone()) {
            self.actors.add(event.actor.to_string());
        }
        match &event.body {
            EventBody::VerbStarted { .. }
            | EventBody::VerbOutput { .. }
            | EventBody::VerbFinished { .. } => self.verb(event),
            EventBody::CommandStarted { .. } | EventBody::CommandFinished { .. } => {
                self.command(event);
            }
            EventBody::ApprovalRequested { .. } | EventBody::ApprovalDecided { .. } => {
                self.question(event);
            }
            EventBody::CheckFinished { .. } | EventBody::Finding { .. } => self.finding(event),
            _ => self.rest(event),
        }
    }

    fn verb(&mut self, event: &Event) {
        match &event.body {
            EventBody::VerbStarted {
                operation, verb, ..
            } => self.runs.add(Run {
                operation: *operation,
                at: event.at,
                who: event.actor.to_string(),
                verb: *verb,
                end: None,
            }),
            EventBody::VerbOutput {
                operation, line, ..
            } => self.evidence(*operation, line),
            EventBody::VerbFinished {
                operation,
                verb,
                outcome,
                verdict,
                message,
                duration_ms,
                picture,
                ..
            } => {
                let end = RunEnd {
                    at: event.at,
                    verb: *verb,
                    outcome: *outcome,
                    verdict: verdict.as_ref().map(|it| kept(&it.to_string())),
                    message: kept(message),
                    took_ms: *duration_ms,
                    picture: *picture,
                };
                self.last_run = Some(end.clone());
                if let Some(run) = self.runs.find(|run| run.operation == *operation) {
                    run.end = Some(end);
                }
            }
            _ => {}
        }
    }

    /// Notes what the gate says of its forensics: the name of each piece, and where they are.
    fn evidence(&mut self, operation: OperationId, line: &str) {
        let Some(words) = line.strip_prefix("forensics: ") else {
            return;
        };
        let place = words
            .strip_prefix("in ")
            .and_then(|rest| rest.strip_suffix(" on the host"));
        let piece = words.split_once(": ");
        if place.is_none() && piece.is_none_or(|(_, rest)| !rest.contains(" bytes: ")) {
            return;
        }
        if self
            .bundles
            .find(|bundle| bundle.operation == operation)
            .is_none()
        {
            self.bundles.add(Bundle {
                operation,
                place: None,
                evidence: Vec::new(),
            });
        }
        let Some(bundle) = self.bundles.find(|bundle| bundle.operation == operation) else {
            return;
        };
        match (place, piece) {
            (Some(place), _) => bundle.place = Some(kept(place)),
            (None, Some((name, rest))) if bundle.evidence.len() < MOST_EVIDENCE => {
                let is_there = !rest.contains(" bytes: missing: ");
                bundle.evidence.push((kept(name), is_there));
            }
            _ => {}
        }
    }

    fn command(&mut self, event: &Event) {
        match &event.body {
            EventBody::CommandStarted {
                command,
                turn,
                tool_call,
                host,
                mode,
                text,
            } => {
                let changes = self.changes(host, *mode, text);
                self.agent.changing_commands += u64::from(changes);
                self.commands.add(Command {
                    command: *command,
                    at: event.at,
                    turn: *turn,
                    tool_call: tool_call.as_deref().map(kept),
                    host: kept(host),
                    text: shown(*mode, text),
                    changes,
                    end: None,
                });
            }
            EventBody::CommandFinished {
                command,
                exit_code,
                signal,
                duration_ms,
                message,
                ..
            } => {
                self.agent.failed_commands += u64::from(*exit_code != Some(0));
                if let Some(known) = self.commands.find(|known| known.command == *command) {
                    known.end = Some(CommandEnd {
                        exit_code: *exit_code,
                        signal: signal.as_deref().map(kept),
                        took_ms: *duration_ms,
                        message: message.as_deref().map(kept),
                    });
                }
            }
            _ => {}
        }
    }

    /// Whether a command may have changed the guest. On the host there are verbs alone, which are told
    /// as such.
    fn changes(&self, host: &str, mode: CommandMode, text: &str) -> bool {
        let reads = |rules: &Arc<Rules>| {
            let judgement = rules.judge(text.as_bytes());
            mode == CommandMode::Exec && matches!(judgement, Judgement::Reads(_))
        };
        host == self.target && !self.rules.as_ref().is_some_and(reads)
    }

    fn question(&mut self, event: &Event) {
        match &event.body {
            EventBody::ApprovalRequested {
                approval,
                place,
                command,
                ..
            } => self.questions.add(Question {
                approval: approval.clone(),
                at: event.at,
                place: kept(place),
                command: kept(command),
                answer: None,
            }),
            EventBody::ApprovalDecided {
                approval,
                decision,
                note,
            } => {
                let who = event.actor.to_string();
                if let Some(asked) = self.questions.find(|asked| asked.approval == *approval) {
                    asked.answer = Some((*decision, who, note.as_deref().map(kept)));
                }
            }
            _ => {}
        }
    }

    fn finding(&mut self, event: &Event) {
        match &event.body {
            EventBody::CheckFinished {
                check,
                level,
                summary,
                ..
            } => self.checks.add(Check {
                at: event.at,
                check: *check,
                level: *level,
                summary: kept(summary),
            }),
            EventBody::Finding {
                signature,
                summary,
                recommend,
                ..
            } => self.findings.add(Finding {
                at: event.at,
                signature: kept(signature),
                summary: kept(summary),
                recommend: *recommend,
            }),
            _ => {}
        }
    }

    fn rest(&mut self, event: &Event) {
        match &event.body {
            EventBody::TurnStarted { .. } => self.agent.turns += 1,
            EventBody::TurnEnded {
                outcome, cost_usd, ..
            } => {
                self.agent.ended[place_of(*outcome)] += 1;
                self.agent.cost_usd += cost_usd.unwrap_or(0.0);
            }
            EventBody::AutonomyChanged { autonomy } => self.agent.autonomy = Some(*autonomy),
            EventBody::CutOffChanged { cut_off } => self.agent.cut_off = *cut_off,
            EventBody::Notice { code, message, .. }
                if code == "record_degraded" || code == "record_restored" =>
            {
                self.gaps.add((event.at, kept(message)));
            }
            EventBody::Notice { code, message, .. }
                if code == LAST_MEASURED && event.actor == Actor::System =>
            {
                self.measured = Some((event.at, kept(message)));
            }
            EventBody::IncidentClosed {} => self.closed_by = Some(event.actor.to_string()),
            _ => {}
        }
    }
}

const fn place_of(outcome: TurnOutcome) -> usize {
    match outcome {
        TurnOutcome::Done => 0,
        TurnOutcome::Failed => 1,
        TurnOutcome::Stopped => 2,
        TurnOutcome::TimedOut => 3,
        TurnOutcome::Interrupted => 4,
    }
}

/// What was asked for: a shell has no text, and a subsystem's is its name.
fn shown(mode: CommandMode, text: &str) -> String {
    match mode {
        CommandMode::Exec => kept(text),
        CommandMode::Shell => "(a shell)".to_owned(),
        CommandMode::Subsystem => format!("(the subsystem {})", kept(text)),
    }
}

/// As much of `text` as a table or a list may show.
fn kept(text: &str) -> String {
    text[..text.floor_char_boundary(MOST_TEXT)].to_owned()
}
