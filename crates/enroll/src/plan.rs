//! The changes to make on a machine: pure functions of its state and of the desired state.

use std::fmt;

use super::error::{EnrollError, Result};
use super::facts::{Facts, Sudoers};
use super::key_line;
use super::request::{Gate, GuestId};
use breakglass_model::Side;

/// One change; displayed as an imperative: "create the account …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Create a key in this file.
    MakeKey(String),
    /// Create this account.
    MakeAccount(String),
    /// Write this sudo rule.
    Grant(String),
    /// Add this line to `authorized_keys`.
    AddLine(String),
    /// Replace a line of `authorized_keys`.
    ReplaceLine {
        /// The existing line.
        was: String,
        /// The new line.
        line: String,
    },
    /// Remove this line from `authorized_keys`.
    DropLine(String),
    /// Install the gate.
    SendGate {
        /// The SHA-256 of the new file, in lower-case hex.
        sha256: String,
        /// The SHA-256 of the installed file, if there is one.
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
    /// Test logins to guest and gate with the new key.
    Prove,
    /// Replace this key with the new one.
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
            Change::MakeKey(path) => write!(f, "create an Ed25519 key in {path}"),
            Change::MakeAccount(user) => {
                write!(
                    f,
                    "create the account {user}, with a home, a shell and no password"
                )
            }
            Change::Grant(rule) => {
                write!(
                    f,
                    "write /etc/sudoers.d/breakglass, after a check by visudo: {rule}"
                )
            }
            Change::AddLine(line) => write!(f, "add to authorized_keys: {line}"),
            Change::ReplaceLine { was, line } => {
                write!(f, "replace in authorized_keys: {was} by: {line}")
            }
            Change::DropLine(line) => write!(f, "remove from authorized_keys: {line}"),
            Change::SendGate { sha256, was: None } => {
                write!(f, "install {} with SHA-256 {sha256}", key_line::GATE_PATH)
            }
            Change::SendGate {
                sha256,
                was: Some(was),
            } => {
                write!(
                    f,
                    "replace {} with SHA-256 {was} by {sha256}",
                    key_line::GATE_PATH
                )
            }
            Change::WritePolicy(guest) => write!(
                f,
                "write /etc/breakglass/gate.toml: driver = \"{}\", guest = {}",
                guest.driver(),
                guest.in_policy()
            ),
            Change::Pin { name, file } => {
                write!(f, "pin its host keys as {name} in {file}")
            }
            Change::Prove => f.write_str("test the new key by a login to guest and gate"),
            Change::Promote(path) => write!(f, "replace {path} with the new key"),
            Change::RemoveSudoers => f.write_str("remove /etc/sudoers.d/breakglass"),
            Change::RemoveGate => write!(f, "remove {}", key_line::GATE_PATH),
            Change::RemovePolicy => f.write_str("remove /etc/breakglass/gate.toml"),
            Change::DeleteKey(path) => write!(f, "delete the private key {path}"),
        }
    }
}

/// The desired state of a machine.
#[derive(Debug, Clone)]
pub(crate) struct DesiredState<'a> {
    pub side: Side,
    pub user: &'a str,
    /// The only line of the key.
    pub line: &'a str,
    /// Whether to remove the lines of previous keys.
    pub drop: bool,
    /// The gate to install; `None`: an installed gate stays.
    pub gate: Option<&'a Gate>,
    /// The guest for a policy, if there is none yet.
    pub guest: Option<&'a GuestId>,
}

/// The sudo rule.
pub(crate) fn rule(user: &str) -> String {
    format!("{user} ALL=(ALL) NOPASSWD: ALL")
}

/// The changes to make; empty if the machine is in the desired state.
pub(crate) fn plan(facts: &Facts, desired: &DesiredState<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    match desired.side {
        Side::Guest => {
            if !facts.account {
                changes.push(Change::MakeAccount(desired.user.to_owned()));
            }
            if !facts.root && facts.sudoers == Sudoers::Absent {
                changes.push(Change::Grant(rule(desired.user)));
            }
        }
        Side::Host => {
            if let (None, Some(guest)) = (&facts.policy, desired.guest) {
                changes.push(Change::WritePolicy(guest.clone()));
            }
            if let Some(gate) = desired
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
    changes.extend(line_change(&facts.lines, desired.line));
    if desired.drop {
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

/// The changes that remove the key.
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

/// What remains after the removal of the key, and how to remove it by hand.
pub(crate) fn leftovers(side: Side, user: &str, facts: &Facts) -> Vec<String> {
    let mut remaining = Vec::new();
    match side {
        Side::Guest => {
            if facts.account && !facts.root {
                remaining.push(format!(
                    "kept: the account {user} with its home (userdel -r {user})"
                ));
            }
            if facts.sudoers != Sudoers::Absent {
                let why = if facts.sudoers == Sudoers::Ours {
                    "another key opens the account"
                } else {
                    "its content is not what enrolment writes"
                };
                remaining.push(format!("kept: /etc/sudoers.d/breakglass, because {why}"));
            }
        }
        Side::Host if facts.gated > 0 => {
            let others = facts.gated;
            remaining.push(format!(
                "kept: the gate and its policy, because {others} other keys of {user} run the gate"
            ));
        }
        Side::Host => remaining.push(
            "kept: the gate's data and log (/var/lib/breakglass, /var/log/breakglass-gate.log)"
                .to_owned(),
        ),
    }
    remaining
}

/// Checks that enrolment can continue: the machine has no other setup, and nothing is missing.
pub(crate) fn check_preconditions(
    machine: &str,
    facts: &Facts,
    desired: &DesiredState<'_>,
) -> Result<()> {
    if desired.side == Side::Guest {
        return Ok(());
    }
    if !facts.account {
        let user = desired.user;
        let message = format!("{machine} has no account {user}; correct the target's host.user");
        return Err(EnrollError::Usage(message));
    }
    let policies = facts.lines.iter().chain(&facts.old);
    if let Some(policy) = policies
        .filter_map(|line| key_line::read(Side::Host, line).policy)
        .next()
    {
        return Err(EnrollError::Refused(format!(
            "{machine}: the key's line there runs the gate with {policy}, a manual setup (docs/gate.md); \
             enrolment supports only /etc/breakglass/gate.toml"
        )));
    }
    match (&facts.policy, desired.guest) {
        (None, None) => Err(EnrollError::Usage(format!(
            "{machine} has no /etc/breakglass/gate.toml yet; name the gate's guest, as in \
             --guest-id 102 (with --driver virsh: the domain's name)"
        ))),
        (Some(found), Some(guest)) if *found != guest.id() => Err(EnrollError::Refused(format!(
            "{machine}: its policy names guest {found}, not {}; change /etc/breakglass/gate.toml there \
             if that is wrong, or omit --guest-id",
            guest.id()
        ))),
        _ if facts.gate.is_none() && desired.gate.is_none() => Err(EnrollError::Usage(format!(
            "{machine} has no gate yet; build one (scripts/gate.sh prints its path) and pass --gate FILE"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(side: Side) -> DesiredState<'static> {
        DesiredState {
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
    fn desired_state_needs_no_changes() {
        for side in [Side::Guest, Side::Host] {
            assert_eq!(plan(&found(), &desired(side)), []);
            assert!(check_preconditions("devvm.host", &found(), &desired(side)).is_ok());
        }
    }

    #[test]
    fn empty_guest_needs_all_changes_and_root_no_sudo() {
        let changes = plan(&Facts::default(), &desired(Side::Guest));
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
            plan(&root, &desired(Side::Guest)),
            [Change::AddLine("LINE".to_owned())]
        );
    }

    #[test]
    fn policy_for_another_guest_is_refused_and_existing_policy_stays() {
        let guest: GuestId = GuestId::new("qm", "103").unwrap();
        let asked = DesiredState {
            guest: Some(&guest),
            ..desired(Side::Host)
        };
        let error = check_preconditions("devvm.host", &found(), &asked).unwrap_err();
        assert!(matches!(error, EnrollError::Refused(_)), "{error}");
        assert_eq!(plan(&found(), &asked), []);
        let none = Facts {
            policy: None,
            ..found()
        };
        assert!(check_preconditions("devvm.host", &none, &desired(Side::Host)).is_err());
        assert_eq!(plan(&none, &asked), [Change::WritePolicy(guest.clone())]);
    }

    #[test]
    fn two_lines_become_one_and_old_lines_are_removed_on_request() {
        let mut facts = found();
        facts.lines.push("ANOTHER".to_owned());
        facts.old.push("OLD".to_owned());
        let changes = plan(&facts, &desired(Side::Guest));
        assert!(
            matches!(changes.as_slice(), [Change::ReplaceLine { .. }]),
            "{changes:?}"
        );
        let changes = plan(
            &facts,
            &DesiredState {
                drop: true,
                ..desired(Side::Guest)
            },
        );
        assert_eq!(changes.last(), Some(&Change::DropLine("OLD".to_owned())));
    }

    #[test]
    fn removal_keeps_what_other_keys_use() {
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
