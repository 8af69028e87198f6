//! Who the CLI runs as, and what that needs.

use std::fs;

use breakglass_agent::Account;
use rustix::process::getuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::error::Report;
use super::section::{Found, Section};

/// What a server needs to start a process as somebody else, and to look after it.
const NEEDED: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::KILL, "CAP_KILL"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
];

/// What is known of this process and this machine.
struct Here {
    /// The server's own account.
    uid: u32,
    /// What it may do.
    capabilities: CapabilitySet,
    /// The text of `/etc/passwd`.
    accounts: String,
}

impl Here {
    fn look() -> Here {
        Here {
            uid: getuid().as_raw(),
            capabilities: capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective),
            accounts: fs::read_to_string("/etc/passwd").unwrap_or_default(),
        }
    }
}

/// A problem and its remedy.
type Refusal = (String, String);

/// Reads `user`, and refuses it where the server could not carry it out.
pub(crate) fn user(section: &mut Section<'_>) -> Option<Account> {
    let Found { value, origin, key } = section.text("user")?;
    match account(&value, &Here::look()) {
        Ok(account) => Some(account),
        Err((problem, remedy)) => {
            section.report().error(&origin, &key, problem, remedy);
            None
        }
    }
}

/// Refuses every secret that the account could read: it would be a wall with a door in it.
pub(crate) fn keep_out(account: Account, report: &mut Report) {
    let open: Vec<_> = report
        .secrets
        .iter()
        .filter(|(_, _, path)| fs::metadata(path).is_ok_and(|file| account.may_read(&file)))
        .cloned()
        .collect();
    for (origin, key, path) in open {
        let path = path.display();
        let problem = format!("{path} can be read by agent.user");
        let remedy = format!("make it the server's alone: chown root {path} && chmod 0400 {path}");
        report.error(&origin, &key, problem, remedy);
    }
}

/// Reads an account for a command that is no configuration.
///
/// # Errors
/// A sentence.
pub fn parse_user(text: &str) -> Result<Account, String> {
    account(text, &Here::look()).map_err(|(problem, remedy)| format!("{problem}; {remedy}"))
}

fn account(text: &str, here: &Here) -> Result<Account, Refusal> {
    let account = named(text, &here.accounts)?;
    let refuse = |problem: String, remedy: &str| Err((problem, remedy.to_owned()));
    if account.uid == 0 || account.uid == here.uid {
        let whose = if account.uid == 0 {
            "root"
        } else {
            "the server itself"
        };
        let remedy =
            "name an account that is nobody else's: useradd --system --no-create-home NAME";
        return refuse(format!("{text:?} is {whose}"), remedy);
    }
    let missing = NEEDED
        .iter()
        .filter(|(capability, _)| !here.capabilities.contains(*capability));
    let missing: Vec<&str> = missing.map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        let problem = format!(
            "this server may not start anything as {text:?}: it lacks {}",
            missing.join(", ")
        );
        let remedy = "run the server as root, give it these capabilities, leave user out, or use \
                      agent.runner";
        return refuse(problem, remedy);
    }
    Ok(account)
}

/// `NAME`, `UID` or `UID:GID`. It has to have an entry: without one ssh refuses to run.
fn named(text: &str, accounts: &str) -> Result<Account, Refusal> {
    let remedy = "write a name, a uid, or uid:gid of an account that exists; make one with: useradd \
                  --system --no-create-home NAME";
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let entry = accounts
        .lines()
        .filter_map(entry)
        .find(|entry| entry.name == user || entry.uid.to_string() == user);
    let Some(entry) = entry else {
        let problem = format!("there is no account {user:?} in /etc/passwd, which ssh wants");
        return Err((problem, remedy.to_owned()));
    };
    let gid = match group.map(str::parse) {
        Some(Ok(gid)) if gid != u32::MAX => gid,
        Some(_) => {
            let problem = format!("{text:?} names no group by its number");
            return Err((problem, remedy.to_owned()));
        }
        None => entry.gid,
    };
    let uid = entry.uid;
    Ok(Account { uid, gid })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let _password = fields.next()?;
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Entry { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\nagent:x:997:995::/:/bin/false\n\
                            broken line\nsrv:x:1000:1000::/:/bin/sh\n";

    fn here(uid: u32, capabilities: CapabilitySet) -> Here {
        let accounts = ACCOUNTS.to_owned();
        Here {
            uid,
            capabilities,
            accounts,
        }
    }

    #[test]
    fn an_account_is_a_name_a_number_or_two() {
        let here = here(0, CapabilitySet::all());
        for (text, uid, gid) in [
            ("agent", 997, 995),
            ("997", 997, 995),
            ("agent:7", 997, 7),
            ("997:7", 997, 7),
        ] {
            assert_eq!(
                account(text, &here).unwrap(),
                Account { uid, gid },
                "{text}"
            );
        }
    }

    #[test]
    fn an_account_that_is_no_wall_or_does_not_exist_is_refused() {
        let here = here(1000, CapabilitySet::all());
        for (text, part) in [
            ("root", "is root"),
            ("0:5", "is root"),
            ("srv", "is the server itself"),
            ("1000", "is the server itself"),
            ("nobody-here", "no account"),
            ("4242", "no account"),
            ("-1", "no account"),
            ("agent:staff", "no group"),
            ("4294967295", "no account"),
        ] {
            let (problem, _) = account(text, &here).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn a_server_that_may_not_become_another_is_told_what_it_lacks() {
        let some = CapabilitySet::SETUID | CapabilitySet::CHOWN;
        let (problem, remedy) = account("agent", &here(1000, some)).unwrap_err();
        assert!(problem.contains("lacks CAP_KILL, CAP_SETGID"), "{problem}");
        assert!(remedy.contains("as root"), "{remedy}");
    }
}
