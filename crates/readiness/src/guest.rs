//! Checks of the guest: it is reachable, accepts the key, runs commands, has sudo, and its clock is correct.

use breakglass_control::ssh::{CommandOutput, Framed, Probe, Script, SshError};
use breakglass_control::{SshOptions, Target};

use super::check::{Check, State};
use super::clock::{ReportedTime, TimeQuery};
use super::connection::{self, STEPS};

/// Names of the checks that need a login.
const AFTER_LOGIN: [&str; 3] = ["shell", "sudo", "clock"];

/// Prints the login shell, which also proves that a command runs.
const SHELL: Script = Script::new("echo \"$SHELL\"");
/// Root needs no sudo, which may not be installed on its machine.
const SUDO: Script = Script::new("[ \"$(id -u)\" = 0 ] || sudo -n true");
const DATE: Script = Script::new("date \"+%s %N\"");
/// Shells whose syntax differs from POSIX.
const NON_POSIX_SHELLS: [&str; 3] = ["csh", "tcsh", "fish"];

/// The names of all checks of the guest.
pub(crate) fn names(target: &Target) -> Vec<String> {
    let all = STEPS.iter().chain(&AFTER_LOGIN);
    all.map(|check| name(target, check)).collect()
}

pub(crate) async fn checks(target: &Target, options: &SshOptions) -> Vec<Check> {
    let machine = format!("{}.guest", target.name);
    let (mut checks, login) = connection::log_in(&machine, &target.guest, options).await;
    match login {
        Ok(probe) => {
            let shell = shell(target, probe.framed(SHELL).await);
            let runs = shell.state != State::Red;
            let first = shell.name.clone();
            checks.push(shell);
            if runs {
                let (sudo, clock) = tokio::join!(sudo(target, &probe), clock(target, &probe));
                checks.extend([sudo, clock]);
            } else {
                let rest = AFTER_LOGIN.iter().skip(1);
                checks.extend(rest.map(|check| Check::untried(name(target, check), &first)));
            }
        }
        Err(first) => {
            checks.extend(AFTER_LOGIN.map(|check| Check::untried(name(target, check), &first)));
        }
    }
    checks
}

fn name(target: &Target, check: &str) -> String {
    format!("{}.guest.{check}", target.name)
}

/// Checks that the account's login shell runs a command and prints nothing else.
fn shell(target: &Target, tried: Result<(Framed, CommandOutput), SshError>) -> Check {
    let (name, user) = (name(target, "shell"), &target.guest.user);
    let (framed, answer) = match tried {
        Ok(tried) => tried,
        Err(error) => {
            let remedy =
                format!("log in as {user} by hand, and find out what its login shell waits for");
            return Check::red(name, format!("{error}."), remedy);
        }
    };
    if answer.denied {
        let remedy =
            format!("on the guest: check ForceCommand in the output of sshd -T -C user={user}");
        return Check::red(name, "sshd runs no command for this account.", remedy);
    }
    let Some(0) = framed.code() else {
        let evidence = format!(
            "A command does not run: {}.",
            framed.failure_reason(answer.code)
        );
        return Check::red(name, evidence, command_remedy(target, &framed, answer.code));
    };
    let path = framed.stdout().front().map_or("", String::as_str);
    let base = path.rsplit('/').next().unwrap_or_default();
    if let Some(line) = framed.noise().first() {
        let evidence = format!("A login prints text before the output of a command: {line:?}.");
        let remedy = format!(
            "on the guest, let {user}'s shell print only on a terminal: in its .bashrc, .zshenv, .cshrc or \
             config.fish, before the first line that prints; it breaks scp and rsync too"
        );
        return Check::amber(name, evidence, remedy);
    }
    if NON_POSIX_SHELLS.contains(&base) {
        let evidence = format!(
            "Commands run in {path}. Checks work, but the agent writes commands for a POSIX shell, and {base} \
             interprets some of them differently."
        );
        return Check::amber(name, evidence, login_shell(user));
    }
    Check::green(name, format!("Commands run in {path}."))
}

/// The remedy if no command runs, derived from the output that came instead.
fn command_remedy(target: &Target, framed: &Framed, code: Option<u32>) -> String {
    let user = &target.guest.user;
    let output = framed.noise().join("\n");
    let restricted = output.contains("restricted");
    // nologin and false run nothing and exit with 1. With success, something else was run.
    if restricted || code == Some(1) {
        let cause = if restricted {
            "the login shell is restricted"
        } else {
            "the login shell runs nothing, like nologin"
        };
        return format!("{cause}; {}", login_shell(user));
    }
    format!(
        "something else ran instead: on the guest, remove command=\"…\" from the key's line in \
         {user}'s authorized_keys and ForceCommand from sshd_config, or: {}",
        login_shell(user)
    )
}

fn login_shell(user: &str) -> String {
    format!("on the guest: usermod -s /bin/sh {user}")
}

async fn sudo(target: &Target, probe: &Probe) -> Check {
    let name = name(target, "sudo");
    let user = &target.guest.user;
    let evidence = match probe.framed(SUDO).await {
        Ok((framed, _)) if framed.code() == Some(0) => {
            return Check::green(
                name,
                format!("{user} is root, or can become root without a password."),
            );
        }
        Ok((framed, answer)) => {
            let reason = framed.stderr().back().cloned();
            let reason = reason.unwrap_or_else(|| framed.failure_reason(answer.code));
            format!("{user} cannot become root: {reason}.")
        }
        Err(error) => format!("{error}."),
    };
    let remedy = format!(
        "on the guest: echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/breakglass && chmod 440 \
         /etc/sudoers.d/breakglass && visudo -c"
    );
    Check::red(name, evidence, remedy)
}

async fn clock(target: &Target, probe: &Probe) -> Check {
    let name = name(target, "clock");
    let query = TimeQuery::now();
    let time = match probe.framed(DATE).await {
        Ok((framed, _)) => framed
            .stdout()
            .front()
            .and_then(|line| ReportedTime::from_date(line)),
        Err(_) => None,
    };
    match time {
        Some(time) => query.compare(name, "guest", time),
        None => Check::amber(
            name,
            "The guest does not report its time.",
            "try on the guest: date '+%s %N'",
        ),
    }
}

/// The last line of a command's output.
pub(crate) fn last_line(text: &str) -> &str {
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("(no output)")
}
