//! The guest: reached, entered, with leave to repair, and with the right time.

use breakglass_control::ssh::Probe;
use breakglass_control::{SshOptions, Target};

use super::check::Check;
use super::clock::{Asked, Told};
use super::reach::{self, LINKS};

/// What is tried once the guest is entered.
const WITHIN: [&str; 2] = ["sudo", "clock"];

/// The names of all checks of the guest.
pub(super) fn names(target: &Target) -> Vec<String> {
    let all = LINKS.iter().chain(&WITHIN);
    all.map(|check| name(target, check)).collect()
}

pub(super) async fn checks(target: &Target, options: &SshOptions) -> Vec<Check> {
    let machine = format!("{}.guest", target.name);
    let (mut checks, entered) = reach::enter(&machine, &target.guest, options).await;
    match entered {
        Ok(probe) => {
            let (sudo, clock) = tokio::join!(sudo(target, &probe), clock(target, &probe));
            checks.extend([sudo, clock]);
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

async fn sudo(target: &Target, probe: &Probe) -> Check {
    let name = name(target, "sudo");
    let user = &target.guest.user;
    // Root needs none, and its machine may have none.
    let evidence = match probe.run("[ \"$(id -u)\" = 0 ] || sudo -n true").await {
        Ok(answer) if answer.code == Some(0) => {
            return Check::green(
                name,
                format!("{user} is root, or becomes root without a password."),
            );
        }
        Ok(answer) => format!(
            "{user} does not become root: {}.",
            last_line(&answer.stderr)
        ),
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
    let told = match probe.run("date '+%s %N'").await {
        Ok(answer) => Told::by_date(&answer.stdout),
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
pub(super) fn last_line(text: &str) -> &str {
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing")
}
