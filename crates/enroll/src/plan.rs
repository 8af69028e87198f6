//! What is to be changed on a machine: a pure function of what was found and what is wanted.

use std::fmt;

use super::error::{EnrollError, Result};
use super::facts::{Facts, Sudoers};
use super::line;
use super::order::{Gate, GuestId};
use breakglass_model::Side;

/// One change, as a sentence without its subject: "make the account …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a key in this file.
    MakeKey(String),
    /// Make this account.
    MakeAccount(String),
    /// Write this sudo rule.
    Grant(String),
    /// Add this line to `authorized_keys`.
    AddLine(String),
    /// Replace a line of `authorized_keys`.
    ReplaceLine {
        /// The line as it is.
        was: String,
        /// The line as it will be.
        line: String,
    },
    /// Remove this line from `authorized_keys`.
    DropLine(String),
    /// Install the gate.
    SendGate {
        /// Of the new file; lower-case hex.
        sha256: String,
        /// Of the installed file, if there is one.
        was: Option<String>,
    },
    /// Write the gate's policy for this guest.
    WritePolicy(GuestId),
    /// Pin the machine's host keys.
    Pin {
        /// The name under which they are pinned.
        name: String,
        /// The known-hosts file.
        file: String,
    },
    /// Log in to guest and gate with the new key.
    Prove,
    /// Put the new key in the place of this one.
    Promote(String),
    /// Remove the sudo rule.
    RemoveSudoers,
    /// Remove the gate.
    RemoveGate,
    /// Remove the gate's policy.
    RemovePolicy,
    /// Delete this private key.
    DeleteKey(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::MakeKey(path) => write!(f, "make an Ed25519 key in {path}"),
            Change::MakeAccount(user) => {
                write!(
                    f,
                    "make the account {user}, with a home, a shell and no password"
                )
            }
            Change::Grant(rule) => {
                write!(
                    f,
                    "write /etc/sudoers.d/breakglass, once visudo has checked it: {rule}"
                )
            }
            Change::AddLine(line) => write!(f, "add to authorized_keys: {line}"),
            Change::ReplaceLine { was, line } => {
                write!(f, "replace in authorized_keys: {was} by: {line}")
            }
            Change::DropLine(line) => write!(f, "remove from authorized_keys: {line}"),
            Change::SendGate { sha256, was: None } => {
                write!(f, "install {} with SHA-256 {sha256}", line::GATE)
            }
            Change::SendGate {
                sha256,
                was: Some(was),
            } => {
                write!(f, "replace {} with SHA-256 {was} by {sha256}", line::GATE)
            }
            Change::WritePolicy(guest) => write!(
                f,
                "write /etc/breakglass/gate.toml: driver = \"{}\", guest = {}",
                guest.driver(),
                guest.in_policy()
            ),
            Change::Pin { name, file } => {
                write!(f, "pin the host keys that it holds as {name} in {file}")
            }
            Change::Prove => f.write_str("prove the new key by a login to guest and gate"),
            Change::Promote(path) => write!(f, "put the new key into the place of {path}"),
            Change::RemoveSudoers => f.write_str("remove /etc/sudoers.d/breakglass"),
            Change::RemoveGate => write!(f, "remove {}", line::GATE),
            Change::RemovePolicy => f.write_str("remove /etc/breakglass/gate.toml"),
            Change::DeleteKey(path) => write!(f, "delete the private key {path}"),
        }
    }
}

/// What a machine is to be like.
#[derive(Debug, Clone)]
pub(crate) struct Want<'a> {
    pub side: Side,
    pub user: &'a str,
    /// The key's one line.
    pub line: &'a str,
    /// Whether the lines of the key before have to go.
    pub drop: bool,
    /// The gate to be there; none: the one that is there will do.
    pub gate: Option<&'a Gate>,
    /// The guest of a policy, where there is none yet.
    pub guest: Option<&'a GuestId>,
}

/// The rule of sudoers.
pub(crate) fn rule(user: &str) -> String {
    format!("{user} ALL=(ALL) NOPASSWD: ALL")
}

/// What is to be changed; nothing where all is as wanted.
pub(crate) fn plan(facts: &Facts, want: &Want<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    match want.side {
        Side::Guest => {
            if !facts.account {
                changes.push(Change::MakeAccount(want.user.to_owned()));
            }
            if !facts.root && facts.sudoers == Sudoers::Absent {
                changes.push(Change::Grant(rule(want.user)));
            }
        }
        Side::Host => {
            if let (None, Some(guest)) = (&facts.policy, want.guest) {
                changes.push(Change::WritePolicy(guest.clone()));
            }
            if let Some(gate) = want
                .gate
                .filter(|gate| facts.gate.as_ref() != Some(&gate.sha256))
            {
                changes.push(Change::SendGate {
                    sha256: gate.sha256.clone(),
                    was: facts.gate.clone(),
                });
            }
        }
    }
    changes.extend(line_change(&facts.lines, want.line));
    if want.drop {
        changes.extend(facts.old.iter().cloned().map(Change::DropLine));
    }
    changes
}

fn line_change(lines: &[String], wanted: &str) -> Option<Change> {
    match lines {
        [] => Some(Change::AddLine(wanted.to_owned())),
        [one] if one == wanted => None,
        lines => Some(Change::ReplaceLine {
            was: lines.join(" and "),
            line: wanted.to_owned(),
        }),
    }
}

/// What goes when the key goes.
pub(crate) fn removal(side: Side, facts: &Facts) -> Vec<Change> {
    let lines = facts.lines.iter().chain(&facts.old).cloned();
    let mut changes: Vec<_> = lines.map(Change::DropLine).collect();
    match side {
        Side::Guest if facts.others == 0 && facts.sudoers == Sudoers::Ours => {
            changes.push(Change::RemoveSudoers);
        }
        Side::Host if facts.account && facts.gated == 0 => {
            changes.extend(facts.gate.as_ref().map(|_| Change::RemoveGate));
            changes.extend(facts.policy.as_ref().map(|_| Change::RemovePolicy));
        }
        _ => {}
    }
    changes
}

/// What stays when the key goes, and how to remove it by hand.
pub(crate) fn left(side: Side, user: &str, facts: &Facts) -> Vec<String> {
    let mut left = Vec::new();
    match side {
        Side::Guest => {
            if facts.account && !facts.root {
                left.push(format!(
                    "left: the account {user} with its home (userdel -r {user})"
                ));
            }
            if facts.sudoers != Sudoers::Absent {
                let why = match facts.sudoers == Sudoers::Ours {
                    true => "another key opens the account",
                    false => "it is not as enroll wrote it",
                };
                left.push(format!("left: /etc/sudoers.d/breakglass, since {why}"));
            }
        }
        Side::Host if facts.gated > 0 => {
            let others = facts.gated;
            left.push(format!(
                "left: the gate and its policy, since {others} more of {user}'s keys lead to it"
            ));
        }
        Side::Host => left.push(
            "left: what the gate recorded (/var/lib/breakglass, /var/log/breakglass-gate.log)"
                .to_owned(),
        ),
    }
    left
}

/// What forbids going on: a machine that is set up for something else, or a part that is missing.
pub(crate) fn object(machine: &str, facts: &Facts, want: &Want<'_>) -> Result<()> {
    if want.side == Side::Guest {
        return Ok(());
    }
    if !facts.account {
        let user = want.user;
        let said = format!("{machine} has no account {user}; correct the target's host.user");
        return Err(EnrollError::Usage(said));
    }
    let policies = facts.lines.iter().chain(&facts.old);
    if let Some(policy) = policies
        .filter_map(|line| line::read(Side::Host, line).policy)
        .next()
    {
        return Err(EnrollError::Refused(format!(
            "{machine}: the key's line there calls the gate with {policy}, which is set up by hand; \
             docs/gate.md says how, and enroll keeps to /etc/breakglass/gate.toml"
        )));
    }
    match (&facts.policy, want.guest) {
        (None, None) => Err(EnrollError::Usage(format!(
            "{machine} has no /etc/breakglass/gate.toml yet; say which guest the gate is for, as in \
             --guest-id 102 (with --driver virsh: the domain's name)"
        ))),
        (Some(found), Some(guest)) if *found != guest.id() => Err(EnrollError::Refused(format!(
            "{machine}: its policy names guest {found}, not {}; change /etc/breakglass/gate.toml there \
             if that is wrong, or leave --guest-id out",
            guest.id()
        ))),
        _ if facts.gate.is_none() && want.gate.is_none() => Err(EnrollError::Usage(format!(
            "{machine} has no gate yet; build one (scripts/gate.sh prints its path) and say --gate FILE"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(side: Side) -> Want<'static> {
        Want {
            side,
            user: "breakglass",
            line: "LINE",
            drop: false,
            gate: None,
            guest: None,
        }
    }

    fn found() -> Facts {
        Facts {
            account: true,
            lines: vec!["LINE".to_owned()],
            sudoers: Sudoers::Ours,
            gate: Some("aa".to_owned()),
            policy: Some("102".to_owned()),
            ..Facts::default()
        }
    }

    #[test]
    fn nothing_is_changed_where_all_is_as_wanted() {
        for side in [Side::Guest, Side::Host] {
            assert_eq!(plan(&found(), &want(side)), []);
            assert!(object("devvm.host", &found(), &want(side)).is_ok());
        }
    }

    #[test]
    fn everything_is_made_on_an_empty_guest_and_root_needs_no_sudo() {
        let changes = plan(&Facts::default(), &want(Side::Guest));
        assert!(
            matches!(
                changes.as_slice(),
                [Change::MakeAccount(_), Change::Grant(_), Change::AddLine(_)]
            ),
            "{changes:?}"
        );
        let root = Facts {
            account: true,
            root: true,
            ..Facts::default()
        };
        assert_eq!(
            plan(&root, &want(Side::Guest)),
            [Change::AddLine("LINE".to_owned())]
        );
    }

    #[test]
    fn a_policy_for_another_guest_is_refused_and_one_that_is_there_stays() {
        let guest: GuestId = GuestId::new("qm", "103").unwrap();
        let asked = Want {
            guest: Some(&guest),
            ..want(Side::Host)
        };
        let error = object("devvm.host", &found(), &asked).unwrap_err();
        assert!(matches!(error, EnrollError::Refused(_)), "{error}");
        assert_eq!(plan(&found(), &asked), []);
        let none = Facts {
            policy: None,
            ..found()
        };
        assert!(object("devvm.host", &none, &want(Side::Host)).is_err());
        assert_eq!(plan(&none, &asked), [Change::WritePolicy(guest.clone())]);
    }

    #[test]
    fn two_lines_of_the_key_become_one_and_old_ones_go_only_when_told() {
        let mut facts = found();
        facts.lines.push("ANOTHER".to_owned());
        facts.old.push("OLD".to_owned());
        let changes = plan(&facts, &want(Side::Guest));
        assert!(
            matches!(changes.as_slice(), [Change::ReplaceLine { .. }]),
            "{changes:?}"
        );
        let changes = plan(
            &facts,
            &Want {
                drop: true,
                ..want(Side::Guest)
            },
        );
        assert_eq!(changes.last(), Some(&Change::DropLine("OLD".to_owned())));
    }

    #[test]
    fn what_others_use_stays_when_the_key_goes() {
        let used = Facts {
            others: 1,
            gated: 1,
            ..found()
        };
        let line = Change::DropLine("LINE".to_owned());
        for side in [Side::Guest, Side::Host] {
            assert_eq!(removal(side, &used), std::slice::from_ref(&line));
        }
        assert_eq!(
            removal(Side::Guest, &found()),
            [line.clone(), Change::RemoveSudoers]
        );
        let all = [line, Change::RemoveGate, Change::RemovePolicy];
        assert_eq!(removal(Side::Host, &found()), all);
    }
}
