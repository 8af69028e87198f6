//! Events can't change the structure of a report, and the report has the facts.

use std::sync::{Arc, OnceLock};

use breakglass_bastion::Rules;
use breakglass_control::LAST_MEASURED;
use breakglass_log::IncidentSummary;
use breakglass_model::{
    Actor, CommandMode, CommandStream, Decision, Diagnosis, Event, EventBody, Level, OutputStream,
    Time, TurnOutcome, Verb, VerbOutcome, Verdict,
};
use proptest::prelude::*;
use pulldown_cmark::{Event as Piece, HeadingLevel, Options, Parser, Tag, TagEnd};
use uuid::Uuid;

use super::Report;

/// A mark in every hostile text and in none of our own.
const MARK: &str = "ZQ";

/// Texts that Markdown would interpret.
const ATTACKS: [&str; 22] = [
    "\n# forged\n",
    "\n## Summary\n",
    "|",
    "\\|",
    "\\",
    "`",
    "``",
    "```\n",
    "~~~\n",
    "\n\n---\n",
    "\n===\n",
    "[a](http://b)",
    "![a](http://b)",
    "<script>",
    "<!--",
    "**b**",
    "_b_",
    "\r\n# f",
    "\u{2028}# f",
    "\n| a | b |\n| --- | --- |\n",
    "\n> q\n",
    "\t",
];

fn rules() -> Option<Arc<Rules>> {
    static RULES: OnceLock<Arc<Rules>> = OnceLock::new();
    let rules = RULES.get_or_init(|| Arc::new(Rules::built_in().unwrap()));
    Some(Arc::clone(rules))
}

fn hostile() -> impl Strategy<Value = String> {
    let attack = prop::sample::select(ATTACKS.to_vec()).prop_map(str::to_owned);
    let piece = prop_oneof![
        attack,
        "\\PC{0,6}",
        "forensics: (in )?[a-z/`|]{0,9}( on the host)?"
    ];
    let pieces = prop::collection::vec(piece, 0..6);
    (pieces, 0usize..3).prop_map(|(pieces, place)| {
        let mut pieces = pieces;
        pieces.insert(place.min(pieces.len()), MARK.to_owned());
        pieces.concat()
    })
}

fn id() -> impl Strategy<Value = Uuid> {
    (0u128..4).prop_map(Uuid::from_u128)
}

fn verb() -> impl Strategy<Value = Verb> {
    prop::sample::select(Verb::ALL.to_vec())
}

fn verbs() -> impl Strategy<Value = EventBody> {
    (id(), hostile(), verb(), hostile(), any::<bool>(), 0u8..3).prop_map(
        |(operation, target, verb, line, picture, kind)| match kind {
            0 => EventBody::VerbStarted {
                operation,
                target,
                verb,
            },
            1 => EventBody::VerbOutput {
                operation,
                stream: OutputStream::Stdout,
                line: if picture {
                    format!("forensics: {line}: 7 bytes: {verb}")
                } else {
                    format!("forensics: in {line} on the host")
                },
            },
            _ => EventBody::VerbFinished {
                operation,
                target,
                verb,
                outcome: VerbOutcome::Failed,
                verdict: picture.then(|| Verdict::Locked(line.clone())),
                exit_code: None,
                message: line,
                duration_ms: 70_000,
                omitted_lines: 0,
                picture,
            },
        },
    )
}

fn commands() -> impl Strategy<Value = EventBody> {
    (id(), hostile(), hostile(), hostile(), any::<bool>(), 0u8..3).prop_map(
        |(command, host, text, call, exec, kind)| match kind {
            0 => EventBody::CommandStarted {
                command,
                turn: 1,
                tool_call: Some(call),
                host,
                mode: if exec {
                    CommandMode::Exec
                } else {
                    CommandMode::Subsystem
                },
                text,
            },
            1 => EventBody::CommandOutput {
                command,
                stream: CommandStream::Stdout,
                text,
                raw: None,
            },
            _ => EventBody::CommandFinished {
                command,
                exit_code: None,
                signal: Some(text),
                duration_ms: 1,
                omitted_bytes: 0,
                message: Some(host),
            },
        },
    )
}

fn questions() -> impl Strategy<Value = EventBody> {
    (0u8..3, hostile(), hostile(), hostile(), any::<bool>()).prop_map(
        |(approval, place, command, touches, asks)| {
            let approval = approval.to_string();
            if asks {
                EventBody::ApprovalRequested {
                    approval,
                    turn: 1,
                    tool_call: None,
                    place,
                    command,
                    touches,
                    expires_at: None,
                }
            } else {
                EventBody::ApprovalDecided {
                    approval,
                    decision: Decision::Deny,
                    note: Some(touches),
                }
            }
        },
    )
}

fn evidence() -> impl Strategy<Value = EventBody> {
    let check = prop::sample::select(Diagnosis::ALL.to_vec());
    let words = (hostile(), hostile(), hostile());
    (check, words, verb(), any::<bool>()).prop_map(|(check, words, verb, is)| {
        let (signature, summary, evidence) = words;
        if is {
            EventBody::CheckFinished {
                check,
                level: Level::Warning,
                summary,
                evidence,
            }
        } else {
            EventBody::Finding {
                check: None,
                signature,
                summary,
                evidence: vec![evidence],
                recommend: Some(verb),
            }
        }
    })
}

fn words() -> impl Strategy<Value = EventBody> {
    (0u8..10, hostile(), hostile()).prop_map(|(kind, text, other)| match kind {
        0 => EventBody::Prompt { turn: 1, text },
        1 => EventBody::Text { turn: 1, text },
        2 => EventBody::TurnStarted {
            agent: None,
            turn: 1,
            model: text,
            session: Uuid::nil(),
        },
        3 => EventBody::ToolStarted {
            turn: 1,
            tool_call: other.clone(),
            tool: text,
            summary: other,
            input: serde_json::Value::Null,
        },
        4 => EventBody::ToolFinished {
            turn: 1,
            tool_call: other,
            is_error: true,
            output: text,
            omitted_bytes: 0,
        },
        5 => EventBody::TurnEnded {
            turn: 1,
            outcome: TurnOutcome::Failed,
            reason: Some(text),
            duration_ms: 5,
            cost_usd: Some(0.5),
        },
        6 => EventBody::HostKeyChanged {
            host: text,
            pinned: other.clone(),
            shown: other,
        },
        7 => EventBody::Notice {
            level: Level::Error,
            code: "record_degraded".to_owned(),
            message: text,
        },
        8 => EventBody::IncidentOpened {
            target: text,
            drill: false,
        },
        _ => EventBody::IncidentClosed {},
    })
}

fn event() -> impl Strategy<Value = Event> {
    let body = prop_oneof![verbs(), commands(), questions(), evidence(), words()];
    (body, hostile()).prop_map(|(body, name)| Event {
        seq: 1,
        at: time("03:00:00"),
        actor: Actor::Operator(name),
        body,
        hash: "ab".repeat(32),
    })
}

fn time(of_day: &str) -> Time {
    format!("2026-11-25T{of_day}.000Z").parse().unwrap()
}

fn incident(target: &str) -> IncidentSummary {
    IncidentSummary {
        incident: Uuid::nil(),
        target: target.to_owned(),
        drill: true,
        opened_at: time("02:00:00"),
        closed_at: Some(time("03:02:00")),
        head: 9,
        last_at: time("03:02:00"),
        running_turn: None,
        imported_at: None,
    }
}

fn written(target: &str, degraded: Option<&str>, events: &[Event]) -> String {
    let mut report = Report::new(incident(target), degraded.map(str::to_owned), rules());
    events.iter().for_each(|event| report.add(event));
    report.finish()
}

/// The headings in order, without code spans.
fn headings(report: &str) -> Vec<(HeadingLevel, String)> {
    let mut found = Vec::new();
    let mut open: Option<(HeadingLevel, String)> = None;
    for piece in Parser::new_ext(report, Options::all()) {
        match piece {
            Piece::Start(Tag::Heading { level, .. }) => open = Some((level, String::new())),
            Piece::End(TagEnd::Heading(_)) => found.extend(open.take()),
            Piece::Text(text) => {
                if let Some((_, words)) = &mut open {
                    words.push_str(&text);
                }
            }
            _ => {}
        }
    }
    found
}

/// The first element that is not a heading, paragraph, table, list or code, or the first hostile text
/// outside of code.
fn foreign(report: &str) -> Option<String> {
    let mut in_code = false;
    for piece in Parser::new_ext(report, Options::all()) {
        match &piece {
            Piece::Start(Tag::CodeBlock(_)) => in_code = true,
            Piece::End(TagEnd::CodeBlock) => in_code = false,
            Piece::Text(text) if !in_code && text.contains(MARK) => return Some(text.to_string()),
            Piece::Start(
                Tag::Heading { .. }
                | Tag::Paragraph
                | Tag::Table(_)
                | Tag::TableHead
                | Tag::TableRow
                | Tag::TableCell
                | Tag::List(_)
                | Tag::Item,
            )
            | Piece::End(_)
            | Piece::Text(_)
            | Piece::Code(_)
            | Piece::SoftBreak => {}
            other => return Some(format!("{other:?}")),
        }
    }
    None
}

/// The number of tables, and of all their rows without heads.
fn tables(report: &str) -> (usize, usize) {
    let pieces: Vec<_> = Parser::new_ext(report, Options::all()).collect();
    let count = |wanted: fn(&Piece<'_>) -> bool| pieces.iter().filter(|it| wanted(it)).count();
    (
        count(|piece| matches!(piece, Piece::Start(Tag::Table(_)))),
        count(|piece| matches!(piece, Piece::Start(Tag::TableRow))),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn events_cannot_change_the_structure(
        target in hostile(),
        degraded in prop::option::of(hostile()),
        events in prop::collection::vec(event(), 0..14),
    ) {
        let report = written(&target, degraded.as_deref(), &events);
        prop_assert_eq!(foreign(&report), None, "{}", report);
        let found = headings(&report);
        let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
        prop_assert_eq!(names, [
            "Incident on  (DRILL)", "Summary", "What was found", "What was done", "Verbs",
            "Commands", "Checks and findings", "Approvals", "Forensics", "Timeline",
        ], "{}", report);
        let rows = |is: fn(&EventBody) -> bool| events.iter().filter(|it| is(&it.body)).count();
        let runs = rows(|body| matches!(body, EventBody::VerbStarted { .. }));
        let commands = rows(|body| matches!(body, EventBody::CommandStarted { .. }));
        let asked = rows(|body| matches!(body, EventBody::ApprovalRequested { .. }));
        let found = rows(|body| matches!(body, EventBody::CheckFinished { .. } | EventBody::Finding { .. }));
        let (seen, all_rows) = tables(&report);
        let bundles = all_rows - 12 - runs - commands - asked - found;
        prop_assert!(bundles <= 4, "{}", report);
        let kept = [runs, commands, asked, found, bundles];
        prop_assert_eq!(seen, 1 + kept.iter().filter(|rows| **rows > 0).count());
    }
}

fn at(of_day: &str, actor: Actor, body: EventBody) -> Event {
    Event {
        seq: 1,
        at: time(of_day),
        actor,
        body,
        hash: "ab".repeat(32),
    }
}

fn ann() -> Actor {
    Actor::Operator("ann".to_owned())
}

/// A cycle with forensics, as the gate prints them.
fn cycle(operation: Uuid) -> Vec<Event> {
    let (target, verb) = ("devvm".to_owned(), Verb::Cycle);
    let started = EventBody::VerbStarted {
        operation,
        target: target.clone(),
        verb,
    };
    let lines = [
        "forensics: query-status: 42 bytes: {",
        "forensics: qemu-backtrace: 40 bytes: missing: /usr/bin/gdb is not installed",
        "forensics: in /var/lib/breakglass/forensics/20261125T020100Z-cycle on the host",
        "verdict: running",
    ];
    let output = lines.map(|line| {
        let line = line.to_owned();
        let stream = OutputStream::Stdout;
        at(
            "02:01:01",
            Actor::System,
            EventBody::VerbOutput {
                operation,
                stream,
                line,
            },
        )
    });
    let finished = EventBody::VerbFinished {
        operation,
        target,
        verb,
        outcome: VerbOutcome::Done,
        verdict: Some(Verdict::Running),
        exit_code: Some(0),
        message: "cycle done; the guest: running.".to_owned(),
        duration_ms: 12_300,
        omitted_lines: 0,
        picture: true,
    };
    let mut events = vec![at("02:01:00", ann(), started)];
    events.extend(output);
    events.push(at("02:01:12", Actor::System, finished));
    events
}

#[test]
fn summary_has_actors_verdicts_and_the_final_state() {
    let operation = Uuid::from_u128(7);
    let mut events = cycle(operation);
    let command = Uuid::from_u128(8);
    events.extend([
        at(
            "02:02:00",
            Actor::Agent,
            EventBody::TurnStarted {
                agent: None,
                turn: 1,
                model: "sonnet".to_owned(),
                session: command,
            },
        ),
        at(
            "02:02:01",
            Actor::Agent,
            EventBody::CommandStarted {
                command,
                turn: 1,
                tool_call: Some("toolu_1".to_owned()),
                host: "devvm".to_owned(),
                mode: CommandMode::Exec,
                text: "df -h | tail -1".to_owned(),
            },
        ),
        at(
            "02:02:02",
            Actor::System,
            EventBody::CommandFinished {
                command,
                exit_code: Some(1),
                signal: None,
                duration_ms: 900,
                omitted_bytes: 0,
                message: None,
            },
        ),
        at(
            "02:02:03",
            Actor::Agent,
            EventBody::TurnEnded {
                turn: 1,
                outcome: TurnOutcome::Done,
                reason: None,
                duration_ms: 3000,
                cost_usd: Some(0.0123),
            },
        ),
        at("02:03:00", ann(), EventBody::IncidentClosed {}),
    ]);
    let report = written("devvm", None, &events);
    for line in [
        "| lasted | 1 h 2 min |",
        "| participants | `operator:ann`, `system`, `agent` |",
        "| machine state | `cycle` done, `running`, at `02:01:12`: `cycle done; the guest: running.` |",
        "| agent | 1 turn (1 done), 1 command (1 failed), 0.0123 USD |",
        "| approvals | none |",
        "1. `02:01:00` `cycle` by `operator:ann`: done, `running`",
        "| `02:01:00` | `cycle` | `operator:ann` | done | `running` | 12.3 s | `00000000-0000-0000-0000-000000000007` |",
        "| `02:02:01` | `devvm` | `df -h ¦ tail -1` | 1 | 0.9 s | turn 1, `toolu_1` |",
        "| `cycle` | `00000000-0000-0000-0000-000000000007` | `/var/lib/breakglass/forensics/20261125T020100Z-cycle` | `query-status` | `qemu-backtrace` |",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert!(report.contains("| log | complete: 9 events, last hash `abab"));
    let degraded = written("devvm", Some("the disk is full"), &events);
    assert!(degraded.contains("| log | DEGRADED now: `the disk is full`; 9 events"));
}

/// The events of one command of the agent on the guest.
fn ran(at_second: u8, text: &str, (exit_code, message): (i32, Option<&str>)) -> [Event; 2] {
    let command = Uuid::from_u128(u128::from(at_second) + 100);
    let time = |minute| format!("02:{minute:02}:{at_second:02}");
    let started = EventBody::CommandStarted {
        command,
        turn: 1,
        tool_call: Some("toolu_1".to_owned()),
        host: "devvm".to_owned(),
        mode: CommandMode::Exec,
        text: text.to_owned(),
    };
    let finished = EventBody::CommandFinished {
        command,
        exit_code: Some(exit_code),
        signal: None,
        duration_ms: 900,
        omitted_bytes: 0,
        message: message.map(str::to_owned),
    };
    [
        at(&time(2), Actor::Agent, started),
        at(&time(3), Actor::System, finished),
    ]
}

fn asked_and_allowed(command: &str) -> [Event; 2] {
    let asked = EventBody::ApprovalRequested {
        approval: "q".to_owned(),
        turn: 1,
        tool_call: Some("toolu_1".to_owned()),
        place: "devvm".to_owned(),
        command: command.to_owned(),
        touches: "The guest.".to_owned(),
        expires_at: Some(time("02:04:05")),
    };
    let decided = EventBody::ApprovalDecided {
        approval: "q".to_owned(),
        decision: Decision::Allow,
        note: None,
    };
    [
        at("02:02:50", Actor::Agent, asked),
        at("02:02:55", ann(), decided),
    ]
}

#[test]
fn list_of_actions_has_changing_commands_with_approver_and_result() {
    let mut events = ran(10, "df -h", (0, None)).to_vec();
    events.extend(ran(20, "rm -rf /var/cache/x", (1, None)));
    events.extend(ran(30, "reboot", (126, Some("the operator denied it"))));
    events.extend(ran(40, "systemctl restart nginx", (0, None)));
    events.extend(asked_and_allowed("systemctl restart nginx"));
    events.extend(cycle(Uuid::from_u128(7)));
    let report = written("devvm", None, &events);
    let done = report.split("### What was done").nth(1).unwrap();
    let done = done.split("\n## ").next().unwrap().trim();
    assert_eq!(
        done,
        "1. `02:01:00` `cycle` by `operator:ann`: done, `running`\n\
         2. `02:02:20` `rm -rf /var/cache/x` on `devvm` by the agent: exit code 1\n\
         3. `02:02:30` `reboot` on `devvm` by the agent: exit code 126, `the operator denied it`\n\
         4. `02:02:40` `systemctl restart nginx` on `devvm` by the agent, allowed by `operator:ann`: exit code 0"
    );
    assert!(report.contains("| done | 1 verb, 3 changing commands of the agent |"));
    assert!(
        report.contains("void at `02:04:05` without an answer"),
        "{report}"
    );
}

#[test]
fn machine_state_is_the_last_measurement_rather_than_the_last_verb() {
    let measured = "Last measured before the incident was closed: SSH no answer for 40 s (at 02:04:00); \
                    machine stopped (at 02:04:02).";
    let notice = |actor| {
        let body = EventBody::Notice {
            level: Level::Info,
            code: LAST_MEASURED.to_owned(),
            message: measured.to_owned(),
        };
        at("02:04:03", actor, body)
    };
    let mut events = cycle(Uuid::from_u128(7));
    events.push(notice(Actor::System));
    let ended = format!("| machine state | `02:04:03`: `{measured}` |");
    let report = written("devvm", None, &events);
    assert!(report.contains(&ended), "{report}");
    events.pop();
    events.push(notice(Actor::Agent));
    assert!(!written("devvm", None, &events).contains(&ended));
}

#[test]
fn report_of_endless_output_is_bounded_and_counts_omissions() {
    let output = |n: usize| EventBody::Text {
        turn: 1,
        text: format!("{n} {}", "x".repeat(50_000)),
    };
    let mut report = Report::new(incident("devvm"), None, rules());
    for n in 0..2_000 {
        report.add(&at("02:00:00", Actor::Agent, output(n)));
    }
    for n in 0..2_000 {
        for event in cycle(Uuid::from_u128(n)) {
            report.add(&event);
        }
    }
    let text = report.finish();
    assert!(text.len() < 6 << 20, "{} bytes", text.len());
    assert!(text.contains("| done | 2000 verbs |"));
    assert!(text.contains("1500 more are only in the log."));
    assert!(text.contains("more events are only in the log."));
}
