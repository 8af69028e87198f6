//! The guest: reached, entered, able to run commands, with leave to repair, and with the right time.

use breakglass_control::ssh::{CommandOutput, Framed, Probe, Script, SshError};
use breakglass_control::{SshOptions, Target};

use super::check::{Check, State};
use super::clock::{Asked, Told};
use super::reach::{self, LINKS};

/// What is tried once the guest is entered.
const WITHIN: [&str; 3] = ["shell", "sudo", "clock"];

/// Tells the login shell, and that a command runs.
const SHELL: Script = Script::new("echo \"$SHELL\"");
/// Root needs no sudo, and its machine may have none.
const SUDO: Script = Script::new("[ \"$(id -u)\" = 0 ] || sudo -n true");
const DATE: Script = Script::new("date \"+%s %N\"");
/// Shells that read a command otherwise than POSIX says.
const OTHERWISE: [&str; 3] = ["csh", "tcsh", "fish"];

/// The names of all checks of the guest.
pub(crate) fn names(target: &Target) -> Vec<String> {
    let all = LINKS.iter().chain(&WITHIN);
    all.map(|check| name(target, check)).collect()
}

pub(crate) async fn checks(target: &Target, options: &SshOptions) -> Vec<Check> {
    let machine = format!("{}.guest", target.name);
    let (mut checks, entered) = reach::enter(&machine, &target.guest, options).await;
    match entered {
        Ok(probe) => {
            let shell = shell(target, probe.framed(SHELL).await);
            let runs = shell.state != State::Red;
            let first = shell.name.clone();
            checks.push(shell);
            if runs {
                let (sudo, clock) = tokio::join!(sudo(target, &probe), clock(target, &probe));
                checks.extend([sudo, clock]);
            } else {
                let rest = WITHIN.iter().skip(1);
                checks.extend(rest.map(|check| Check::untried(name(target, check), &first)));
            }
        }
        Err(first) => {
            checks.extend(WITHIN.map(|check| Check::untried(name(target, check), &first)));
        }
    }
    checks
}

fn name(target: &Target, check: &str) -> String {
    format!("{}.guest.{check}", target.name)
}

/// That the account's login shell runs a command, and prints nothing beside it.
fn shell(target: &Target, tried: Result<(Framed, CommandOutput), SshError>) -> Check {
    let (name, user) = (name(target, "shell"), &target.guest.user);
    let (framed, answer) = match tried {
        Ok(tried) => tried,
        Err(error) => {
            let remedy =
                format!("log in as {user} by hand, and see what its login shell waits for");
            return Check::red(name, format!("{error}."), remedy);
        }
    };
    if answer.denied {
        let remedy = format!("on the guest: see what sshd -T -C user={user} says of ForceCommand");
        return Check::red(name, "sshd runs no command for this account.", remedy);
    }
    let Some(0) = framed.code() else {
        let evidence = format!(
            "A command does not run: {}.",
            framed.failure_reason(answer.code)
        );
        return Check::red(name, evidence, cure(target, &framed, answer.code));
    };
    let path = framed.stdout().front().map_or("", String::as_str);
    let base = path.rsplit('/').next().unwrap_or_default();
    if let Some(said) = framed.noise().first() {
        let evidence = format!("A login prints before the command does: {said:?}.");
        let remedy = format!(
            "on the guest, let {user}'s shell print for a terminal only: in its .bashrc, .zshenv, .cshrc or \
             config.fish, before the first line that prints; scp and rsync break from it as well"
        );
        return Check::amber(name, evidence, remedy);
    }
    if OTHERWISE.contains(&base) {
        let evidence = format!(
            "Commands run through {path}. Checks work; the agent writes for a POSIX shell, and {base} \
             reads some of that otherwise."
        );
        return Check::amber(name, evidence, login_shell(user));
    }
    Check::green(name, format!("Commands run through {path}."))
}

/// What to do where no command runs, by what came in its place.
fn cure(target: &Target, framed: &Framed, code: Option<u32>) -> String {
    let user = &target.guest.user;
    let said = framed.noise().join("\n");
    let restricted = said.contains("restricted");
    // nologin and false run nothing and fail with 1; what succeeds has run something else.
    if restricted || code == Some(1) {
        let what = match restricted {
            true => "it is a restricted shell",
            false => "it is one that runs nothing, as nologin",
        };
        return format!("{what}; {}", login_shell(user));
    }
    format!(
        "something else ran in its place: on the guest, take command=\"…\" out of the key's line in \
         {user}'s authorized_keys and ForceCommand out of sshd_config, or: {}",
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
                format!("{user} is root, or becomes root without a password."),
            );
        }
        Ok((framed, answer)) => {
            let said = framed.stderr().back().cloned();
            let said = said.unwrap_or_else(|| framed.failure_reason(answer.code));
            format!("{user} does not become root: {said}.")
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
    let asked = Asked::now();
    let told = match probe.framed(DATE).await {
        Ok((framed, _)) => framed.stdout().front().and_then(|said| Told::by_date(said)),
        Err(_) => None,
    };
    match told {
        Some(told) => asked.compare(name, "guest", told),
        None => Check::amber(
            name,
            "The guest does not tell its time.",
            "try on it: date '+%s %N'",
        ),
    }
}

/// What a command said last.
pub(crate) fn last_line(text: &str) -> &str {
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing")
}
