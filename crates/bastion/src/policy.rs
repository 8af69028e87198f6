//! What the agent may do: decided purely, from how much it may do without asking and what it wants.

use breakglass_model::Autonomy;
use breakglass_verbs::Verb;

use crate::rules::{Judgement, Rules, hands_over};

/// What the agent wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// A verb of the host's gate.
    Verb(Verb),
    /// A command on the guest.
    Command(&'a [u8]),
    /// A command on the guest with a terminal, on which programs that only read start a pager, from
    /// which others can be run.
    OnTerminal,
    /// A shell on the guest: everything that is typed into it.
    Shell,
    /// A subsystem of the guest's SSH server, such as `sftp`.
    Subsystem(&'a str),
    /// A command in the agent's own cell.
    Cell(&'a str),
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Do it.
    Allow,
    /// Ask the operator; the sentence says what it touches.
    Ask(String),
    /// Don't; the sentence says why.
    Deny(String),
}

/// Decides on `wish`.
pub(crate) fn rule(autonomy: Autonomy, wish: Wish<'_>, rules: &Rules) -> Ruling {
    if autonomy == Autonomy::Autonomous {
        return Ruling::Allow;
    }
    let touches = match touches(wish, rules) {
        None => return Ruling::Allow,
        Some(touches) => touches,
    };
    match autonomy {
        Autonomy::ReadOnly => Ruling::Deny(format!(
            "the agent may only read in this incident, and this is more: {touches}"
        )),
        Autonomy::Autonomous | Autonomy::ApproveMutations => Ruling::Ask(touches),
    }
}

/// What a wish touches beyond reading, as a sentence; none if it only reads.
fn touches(wish: Wish<'_>, rules: &Rules) -> Option<String> {
    match wish {
        Wish::Verb(verb) if verb.is_mutating() => Some(format!(
            "{verb}, for the guest's machine. {}",
            verb.describe()
        )),
        Wish::Verb(_) => None,
        Wish::Command(command) => match rules.judge(command) {
            Judgement::Reads(_) => None,
            Judgement::Changes(why) => Some(format!(
                "The guest, with all that its account may do there. Not known to only read: {why}"
            )),
        },
        Wish::OnTerminal => Some(
            "The guest, with all that its account may do there: on a terminal a program may start a \
             pager, from which anything can be run."
                .to_owned(),
        ),
        Wish::Shell => Some(
            "The guest: a shell, so everything that is typed into it, as long as it is open."
                .to_owned(),
        ),
        Wish::Subsystem(name) => Some(format!(
            "The guest, by its subsystem {name}: files there can be read, written and removed, as \
             long as it is open."
        )),
        Wish::Cell(command) => cell(command, rules),
    }
}

/// What a command in the agent's own cell touches. One that hands a command over to the bastion is judged
/// where that arrives, expanded.
fn cell(command: &str, rules: &Rules) -> Option<String> {
    let handed = hands_over(command);
    let judged = rules.judge(command.as_bytes());
    let why = match (handed, judged) {
        (Ok(()), _) | (_, Judgement::Reads(_)) => return None,
        (Err(why), _) if command.contains("ssh") => why,
        (_, Judgement::Changes(why)) => why,
    };
    Some(format!(
        "The agent's own cell, which holds no key; what it sends to guest or host is asked about on its \
         own. Not known to be harmless: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::built_in().unwrap()
    }

    #[test]
    fn autonomy_verb_and_command_make_the_ruling() {
        use Autonomy::{ApproveMutations, Autonomous, ReadOnly};
        let rules = rules();
        let (reads, changes) = (Wish::Command(b"df -h"), Wish::Command(b"rm -rf /var/cache"));
        let rows = [
            (Autonomous, Wish::Verb(Verb::Cycle), "allow"),
            (Autonomous, changes, "allow"),
            (Autonomous, Wish::Shell, "allow"),
            (ApproveMutations, Wish::Verb(Verb::Status), "allow"),
            (ApproveMutations, Wish::Verb(Verb::Cycle), "ask"),
            (ApproveMutations, reads, "allow"),
            (ApproveMutations, changes, "ask"),
            (ApproveMutations, Wish::Shell, "ask"),
            (ApproveMutations, Wish::OnTerminal, "ask"),
            (ApproveMutations, Wish::Subsystem("sftp"), "ask"),
            (ReadOnly, Wish::Verb(Verb::Forensics), "allow"),
            (ReadOnly, Wish::Verb(Verb::Start), "deny"),
            (ReadOnly, reads, "allow"),
            (ReadOnly, changes, "deny"),
            (ReadOnly, Wish::Shell, "deny"),
            (ReadOnly, Wish::Subsystem("sftp"), "deny"),
        ];
        for (autonomy, wish, expected) in rows {
            let word = match rule(autonomy, wish, &rules) {
                Ruling::Allow => "allow",
                Ruling::Ask(_) => "ask",
                Ruling::Deny(_) => "deny",
            };
            assert_eq!(word, expected, "{autonomy} {wish:?}");
        }
    }

    #[test]
    fn the_cells_shell_hands_a_command_over_or_reads_and_is_asked_about_all_else() {
        use Autonomy::{ApproveMutations, ReadOnly};
        let rules = rules();
        for (command, asks) in [
            ("ssh devvm 'rm -rf / && echo $HOME'", false),
            ("ls -l", false),
            ("ssh devvm \"it's\"; touch q; echo \"it's\"", true),
            ("ssh -E log devvm uptime", true),
            ("rm x", true),
        ] {
            let cell = Wish::Cell(command);
            let asked = matches!(rule(ApproveMutations, cell, &rules), Ruling::Ask(_));
            let denied = matches!(rule(ReadOnly, cell, &rules), Ruling::Deny(_));
            assert_eq!((asked, denied), (asks, asks), "{command}");
        }
    }
}
