//! Collects the facts of a report from an incident's events, in bounded lists.
//!
//! The summary and the tables are written from these facts; the timeline is written from the events.

use std::collections::HashSet;
use std::sync::Arc;

use breakglass_bastion::{Judgement, Rules};
use breakglass_control::LAST_MEASURED;
use breakglass_model::{
    Actor, Autonomy, CommandMode, Decision, Diagnosis, Event, EventBody, Level, OperationId, Time,
    TurnNumber, TurnOutcome, Verb, VerbOutcome,
};
use uuid::Uuid;

/// The first entries of a list, and the number of all.
#[derive(Debug)]
pub(super) struct Listed<T> {
    pub(super) shown: Vec<T>,
    pub(super) all: u64,
}

/// Maximum number of entries in one list.
const MAX_ENTRIES: usize = 500;
/// Maximum number of evidence names for one capture of forensics.
const MAX_EVIDENCE: usize = 60;
/// Maximum length of one text, in bytes.
const TEXT_MAX_BYTES: usize = 512;

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
        if self.shown.len() < MAX_ENTRIES {
            self.shown.push(entry);
        }
    }

    /// The newest entry that matches.
    fn find(&mut self, matches: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.shown.iter_mut().rev().find(|entry| matches(entry))
    }
}

/// One run of a verb.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) operation: OperationId,
    pub(super) at: Time,
    pub(super) who: String,
    pub(super) verb: Verb,
    /// `None` while it runs.
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
    /// Whether a screenshot from before the verb is stored.
    pub(super) picture: bool,
}

/// One command of the agent, as the bastion recorded it.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) command: Uuid,
    pub(super) at: Time,
    pub(super) turn: TurnNumber,
    pub(super) tool_call: Option<String>,
    pub(super) host: String,
    pub(super) text: String,
    /// Whether it may have changed the guest: it is not known to be read-only.
    pub(super) changes: bool,
    /// `None` while it runs.
    pub(super) end: Option<CommandEnd>,
}

#[derive(Debug)]
pub(super) struct CommandEnd {
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<String>,
    pub(super) took_ms: u64,
    /// The reason why it was ended or did not run.
    pub(super) message: Option<String>,
}

/// A finding about the guest.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) at: Time,
    /// The rule that made the finding.
    pub(super) signature: String,
    pub(super) summary: String,
    pub(super) recommend: Option<Verb>,
}

/// The result of one check of the guest.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) at: Time,
    pub(super) check: Diagnosis,
    pub(super) level: Level,
    pub(super) summary: String,
}

/// A question of the agent and its answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) approval: String,
    pub(super) at: Time,
    pub(super) place: String,
    pub(super) command: String,
    pub(super) answer: Option<Answer>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) decision: Decision,
    pub(super) who: String,
    /// The operator's note for the agent.
    pub(super) note: Option<String>,
}

/// The forensics of one run of the gate.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) operation: OperationId,
    /// The directory on the host; `None` if it could not be written there.
    pub(super) directory: Option<String>,
    pub(super) evidence: Vec<Evidence>,
}

/// One piece of evidence.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) name: String,
    /// Whether it could be captured.
    pub(super) captured: bool,
}

/// Totals of the agent's work.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) turns: u64,
    /// Completed turns by [`TurnOutcome`], in its order.
    pub(super) turns_by_outcome: [u64; 5],
    pub(super) cost_usd: f64,
    pub(super) failed_commands: u64,
    /// Commands that may have changed the guest.
    pub(super) changing_commands: u64,
    /// The autonomy that was set last.
    pub(super) autonomy: Option<Autonomy>,
    pub(super) cut_off: bool,
}

/// The facts for the summary and the tables.
#[derive(Default)]
pub(super) struct Facts {
    target: String,
    rules: Option<Arc<Rules>>,
    /// The participants, in the order of their first events.
    pub(super) actors: Listed<String>,
    known: HashSet<Actor>,
    pub(super) runs: Listed<Run>,
    pub(super) commands: Listed<Command>,
    pub(super) findings: Listed<Finding>,
    pub(super) checks: Listed<Check>,
    pub(super) questions: Listed<Question>,
    pub(super) bundles: Listed<Bundle>,
    pub(super) agent: Agent,
    /// The end of the last verb, even of one that is not in the list.
    pub(super) last_run: Option<RunEnd>,
    /// The machine's state when the incident was closed.
    pub(super) last_measured: Option<Note>,
    /// Notices that the log was degraded or restored.
    pub(super) gaps: Listed<Note>,
    /// Who closed the incident.
    pub(super) closed_by: Option<String>,
    /// The hash of the newest event.
    pub(super) head_hash: String,
}

/// The text of a notice and its time.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) at: Time,
    pub(super) text: String,
}

impl Facts {
    pub(super) fn new(target: &str, rules: Option<Arc<Rules>>) -> Facts {
        Facts {
            target: target.to_owned(),
            rules,
            ..Facts::default()
        }
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.head_hash.clone_from(&event.hash);
        // An actor beyond the bound is not remembered and therefore counted again for each event.
        if self.known.len() < MAX_ENTRIES && self.known.insert(event.actor.clone()) {
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

    /// Collects the gate's lines about forensics: the names of the evidence and the directory.
    fn evidence(&mut self, operation: OperationId, line: &str) {
        let Some(words) = line.strip_prefix("forensics: ") else {
            return;
        };
        let directory = words
            .strip_prefix("in ")
            .and_then(|rest| rest.strip_suffix(" on the host"));
        let piece = words.split_once(": ");
        if directory.is_none() && piece.is_none_or(|(_, rest)| !rest.contains(" bytes: ")) {
            return;
        }
        if self
            .bundles
            .find(|bundle| bundle.operation == operation)
            .is_none()
        {
            self.bundles.add(Bundle {
                operation,
                directory: None,
                evidence: Vec::new(),
            });
        }
        let Some(bundle) = self.bundles.find(|bundle| bundle.operation == operation) else {
            return;
        };
        match (directory, piece) {
            (Some(directory), _) => bundle.directory = Some(kept(directory)),
            (None, Some((name, rest))) if bundle.evidence.len() < MAX_EVIDENCE => {
                bundle.evidence.push(Evidence {
                    name: kept(name),
                    captured: !rest.contains(" bytes: missing: "),
                });
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

    /// Whether a command may have changed the guest. On the host the agent can only run verbs, which
    /// have events of their own.
    fn changes(&self, host: &str, mode: CommandMode, text: &str) -> bool {
        let is_read_only = mode == CommandMode::Exec
            && self
                .rules
                .as_ref()
                .is_some_and(|rules| matches!(rules.judge(text.as_bytes()), Judgement::Reads(_)));
        host == self.target && !is_read_only
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
                let answer = Answer {
                    decision: *decision,
                    who: event.actor.to_string(),
                    note: note.as_deref().map(kept),
                };
                if let Some(asked) = self.questions.find(|asked| asked.approval == *approval) {
                    asked.answer = Some(answer);
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
                self.agent.turns_by_outcome[index_of(*outcome)] += 1;
                self.agent.cost_usd += cost_usd.unwrap_or(0.0);
            }
            EventBody::AutonomyChanged { autonomy } => self.agent.autonomy = Some(*autonomy),
            EventBody::CutOffChanged { cut_off } => self.agent.cut_off = *cut_off,
            EventBody::Notice { code, message, .. }
                if code == "record_degraded" || code == "record_restored" =>
            {
                self.gaps.add(note(event, message));
            }
            EventBody::Notice { code, message, .. }
                if code == LAST_MEASURED && event.actor == Actor::System =>
            {
                self.last_measured = Some(note(event, message));
            }
            EventBody::IncidentClosed {} => self.closed_by = Some(event.actor.to_string()),
            _ => {}
        }
    }
}

fn note(event: &Event, message: &str) -> Note {
    Note {
        at: event.at,
        text: kept(message),
    }
}

const fn index_of(outcome: TurnOutcome) -> usize {
    match outcome {
        TurnOutcome::Done => 0,
        TurnOutcome::Failed => 1,
        TurnOutcome::Stopped => 2,
        TurnOutcome::TimedOut => 3,
        TurnOutcome::Interrupted => 4,
    }
}

/// The text of a command. A shell has none, and a subsystem's text is its name.
fn shown(mode: CommandMode, text: &str) -> String {
    match mode {
        CommandMode::Exec => kept(text),
        CommandMode::Shell => "(a shell)".to_owned(),
        CommandMode::Subsystem => format!("(the subsystem {})", kept(text)),
    }
}

/// The start of `text`, at most as much as a list keeps.
fn kept(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX_BYTES)].to_owned()
}
