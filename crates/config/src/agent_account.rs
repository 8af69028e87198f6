//! `agent.user`: the account that the CLI runs as, and the capabilities that the server needs for it.

use std::fs;

use breakglass_agent::Account;
use rustix::process::getuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::error::Problems;
use super::reader::{SectionReader, Setting};

/// Capabilities that the server needs to start and end a process with another account.
const REQUIRED_CAPABILITIES: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::KILL, "CAP_KILL"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
];

/// This process and the accounts of this machine.
struct Environment {
    /// The server's uid.
    uid: u32,
    /// The server's effective capabilities.
    capabilities: CapabilitySet,
    /// The text of `/etc/passwd`.
    accounts: String,
}

impl Environment {
    fn current() -> Environment {
        Environment {
            uid: getuid().as_raw(),
            capabilities: capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective),
            accounts: fs::read_to_string("/etc/passwd").unwrap_or_default(),
        }
    }
}

/// A problem and its remedy.
type Refusal = (String, String);

/// Reads `user`, and refuses an account that the server cannot use.
pub(crate) fn user(section: &mut SectionReader<'_>) -> Option<Account> {
    let Setting { value, origin, key } = section.text("user")?;
    match account(&value, &Environment::current()) {
        Ok(account) => Some(account),
        Err((problem, remedy)) => {
            section.problems().error(&origin, &key, problem, remedy);
            None
        }
    }
}

/// Reports every secret that `account` can read.
pub(crate) fn refuse_readable_secrets(account: Account, problems: &mut Problems) {
    let open: Vec<_> = problems
        .secrets
        .iter()
        .filter(|(_, _, path)| fs::metadata(path).is_ok_and(|file| account.may_read(&file)))
        .cloned()
        .collect();
    for (origin, key, path) in open {
        let path = path.display();
        let problem = format!("{path} can be read by agent.user");
        let remedy =
            format!("make it readable only for the server: chown root {path} && chmod 0400 {path}");
        problems.error(&origin, &key, problem, remedy);
    }
}

/// Reads an account from an option of the command line.
///
/// # Errors
/// The problem and its remedy, as one sentence.
pub fn parse_user(text: &str) -> Result<Account, String> {
    account(text, &Environment::current())
        .map_err(|(problem, remedy)| format!("{problem}; {remedy}"))
}

fn account(text: &str, environment: &Environment) -> Result<Account, Refusal> {
    let account = find_account(text, &environment.accounts)?;
    let refuse = |problem: String, remedy: &str| Err((problem, remedy.to_owned()));
    if account.uid == 0 || account.uid == environment.uid {
        let owner = if account.uid == 0 {
            "root"
        } else {
            "the server's own account"
        };
        let remedy =
            "name an account that nothing else uses: useradd --system --no-create-home NAME";
        return refuse(format!("{text:?} is {owner}"), remedy);
    }
    let missing = REQUIRED_CAPABILITIES
        .iter()
        .filter(|(capability, _)| !environment.capabilities.contains(*capability));
    let missing: Vec<&str> = missing.map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        let problem = format!(
            "this server cannot start a process as {text:?}: it lacks {}",
            missing.join(", ")
        );
        let remedy = "run the server as root, give it these capabilities, remove user, or use \
                      agent.runner";
        return refuse(problem, remedy);
    }
    Ok(account)
}

/// Parses `NAME`, `UID` or `UID:GID`. The account needs an entry, because ssh refuses to run without one.
fn find_account(text: &str, accounts: &str) -> Result<Account, Refusal> {
    let remedy = "write a name, a uid, or uid:gid of an account that exists; make one with: useradd \
                  --system --no-create-home NAME";
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(user, group)| (user, Some(group)));
    let entry = accounts
        .lines()
        .filter_map(entry)
        .find(|entry| entry.name == user || entry.uid.to_string() == user);
    let Some(entry) = entry else {
        let problem = format!("there is no account {user:?} in /etc/passwd, which ssh requires");
        return Err((problem, remedy.to_owned()));
    };
    let gid = match group.map(str::parse) {
        Some(Ok(gid)) if gid != u32::MAX => gid,
        Some(_) => {
            let problem = format!("{text:?} does not contain a numeric group");
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

    fn environment(uid: u32, capabilities: CapabilitySet) -> Environment {
        let accounts = ACCOUNTS.to_owned();
        Environment {
            uid,
            capabilities,
            accounts,
        }
    }

    #[test]
    fn account_is_read_from_name_uid_or_uid_and_gid() {
        let environment = environment(0, CapabilitySet::all());
        for (text, uid, gid) in [
            ("agent", 997, 995),
            ("997", 997, 995),
            ("agent:7", 997, 7),
            ("997:7", 997, 7),
        ] {
            assert_eq!(
                account(text, &environment).unwrap(),
                Account { uid, gid },
                "{text}"
            );
        }
    }

    #[test]
    fn account_of_root_or_server_or_unknown_account_is_refused() {
        let environment = environment(1000, CapabilitySet::all());
        for (text, part) in [
            ("root", "is root"),
            ("0:5", "is root"),
            ("srv", "is the server's own account"),
            ("1000", "is the server's own account"),
            ("nobody-here", "no account"),
            ("4242", "no account"),
            ("-1", "no account"),
            ("agent:staff", "numeric group"),
            ("4294967295", "no account"),
        ] {
            let (problem, _) = account(text, &environment).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn missing_capabilities_are_named_in_the_error() {
        let some = CapabilitySet::SETUID | CapabilitySet::CHOWN;
        let (problem, remedy) = account("agent", &environment(1000, some)).unwrap_err();
        assert!(problem.contains("lacks CAP_KILL, CAP_SETGID"), "{problem}");
        assert!(remedy.contains("as root"), "{remedy}");
    }
}
