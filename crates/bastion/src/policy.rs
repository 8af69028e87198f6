//! Decides whether the agent may run an action: a pure function of its autonomy and the action.

use breakglass_model::Autonomy;
use breakglass_verbs::Verb;

use crate::rules::{Judgement, Rules, hands_over};

/// Something that the agent wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// A verb of the host's gate.
    Verb(Verb),
    /// A command on the guest.
    Command(&'a [u8]),
    /// A command on the guest with a terminal: there even a program that only reads can start a pager, and the
    /// pager can run other programs.
    OnTerminal,
    /// An interactive shell on the guest.
    Shell,
    /// A subsystem of the guest's SSH server, such as `sftp`.
    Subsystem(&'a str),
    /// A command in the agent's own cell.
    Cell(&'a str),
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Allowed.
    Allow,
    /// Ask the operator; the sentence describes what it touches.
    Ask(String),
    /// Denied; the sentence is the reason.
    Deny(String),
}

/// Decides on `action`.
pub(crate) fn rule(autonomy: Autonomy, action: Action<'_>, rules: &Rules) -> Ruling {
    if autonomy == Autonomy::Autonomous {
        return Ruling::Allow;
    }
    let Some(touches) = touches(action, rules) else {
        return Ruling::Allow;
    };
    match autonomy {
        Autonomy::ReadOnly => Ruling::Deny(format!(
            "the agent may only read in this incident, and this does more: {touches}"
        )),
        Autonomy::Autonomous | Autonomy::ApproveMutations => Ruling::Ask(touches),
    }
}

/// What an action touches beyond reading, as a sentence; `None` if it only reads.
fn touches(action: Action<'_>, rules: &Rules) -> Option<String> {
    match action {
        Action::Verb(verb) if verb.is_mutating() => Some(format!(
            "{verb}, for the guest's machine. {}",
            verb.describe()
        )),
        Action::Verb(_) => None,
        Action::Command(command) => match rules.judge(command) {
            Judgement::Reads(_) => None,
            Judgement::Changes(why) => Some(format!(
                "The guest, with all permissions of its account. Not known to only read: {why}"
            )),
        },
        Action::OnTerminal => Some(
            "The guest, with all permissions of its account: on a terminal a program may start a \
             pager, which can run anything."
                .to_owned(),
        ),
        Action::Shell => Some(
            "The guest: a shell, which runs everything that is typed into it until it is closed."
                .to_owned(),
        ),
        Action::Subsystem(name) => Some(format!(
            "The guest, through its subsystem {name}: it can read, write and remove files there until \
             it is closed."
        )),
        Action::Cell(command) => cell(command, rules),
    }
}

/// What a command in the agent's own cell touches. A command that is only passed on to the bastion is judged
/// there, after expansion.
fn cell(command: &str, rules: &Rules) -> Option<String> {
    let handed = hands_over(command);
    let judged = rules.judge(command.as_bytes());
    let why = match (handed, judged) {
        (Ok(()), _) | (_, Judgement::Reads(_)) => return None,
        (Err(why), _) if command.contains("ssh") => why,
        (_, Judgement::Changes(why)) => why,
    };
    Some(format!(
        "The agent's own cell, which contains no key; commands that it sends to guest or host are asked about \
         separately. Not known to be harmless: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::built_in().unwrap()
    }

    #[test]
    fn ruling_follows_from_autonomy_and_action() {
        use Autonomy::{ApproveMutations, Autonomous, ReadOnly};
        let rules = rules();
        let (reads, changes) = (
            Action::Command(b"df -h"),
            Action::Command(b"rm -rf /var/cache"),
        );
        let rows = [
            (Autonomous, Action::Verb(Verb::Cycle), "allow"),
            (Autonomous, changes, "allow"),
            (Autonomous, Action::Shell, "allow"),
            (ApproveMutations, Action::Verb(Verb::Status), "allow"),
            (ApproveMutations, Action::Verb(Verb::Cycle), "ask"),
            (ApproveMutations, reads, "allow"),
            (ApproveMutations, changes, "ask"),
            (ApproveMutations, Action::Shell, "ask"),
            (ApproveMutations, Action::OnTerminal, "ask"),
            (ApproveMutations, Action::Subsystem("sftp"), "ask"),
            (ReadOnly, Action::Verb(Verb::Forensics), "allow"),
            (ReadOnly, Action::Verb(Verb::Start), "deny"),
            (ReadOnly, reads, "allow"),
            (ReadOnly, changes, "deny"),
            (ReadOnly, Action::Shell, "deny"),
            (ReadOnly, Action::Subsystem("sftp"), "deny"),
        ];
        for (autonomy, action, expected) in rows {
            let word = match rule(autonomy, action, &rules) {
                Ruling::Allow => "allow",
                Ruling::Ask(_) => "ask",
                Ruling::Deny(_) => "deny",
            };
            assert_eq!(word, expected, "{autonomy} {action:?}");
        }
    }

    #[test]
    fn cell_command_is_allowed_if_it_only_reads_or_is_passed_on() {
        use Autonomy::{ApproveMutations, ReadOnly};
        let rules = rules();
        for (command, asks) in [
            ("ssh devvm 'rm -rf / && echo $HOME'", false),
            ("ls -l", false),
            ("ssh devvm \"it's\"; touch q; echo \"it's\"", true),
            ("ssh -E log devvm uptime", true),
            ("rm x", true),
        ] {
            let cell = Action::Cell(command);
            let asked = matches!(rule(ApproveMutations, cell, &rules), Ruling::Ask(_));
            let denied = matches!(rule(ReadOnly, cell, &rules), Ruling::Deny(_));
            assert_eq!((asked, denied), (asks, asks), "{command}");
        }
    }
}
