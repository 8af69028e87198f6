//! That the forced command holds: everything that a thief of the key would try is tried, and has to be
//! refused.

use breakglass_control::ssh::{CommandOutput, Probe, SshError};
use breakglass_control::{SshOptions, Target};

use super::check::Check;
use super::guest::last_line;
use super::host;
use super::reach::public_key;

/// A shell, another command, a terminal, ports either way, and a guest that is not the gate's.
pub(crate) const NAMES: [&str; 5] = [
    "no_shell",
    "no_command",
    "no_terminal",
    "no_forwarding",
    "no_other_guest",
];

/// Harmless wherever it runs; a shell that runs it says `breakglass-42`.
const COMMAND: &str = "echo breakglass-$((6*7))";
/// A verb with a guest's number, which a gate does not take: its guest is fixed.
const OTHER_GUEST: &str = "status 999999";

/// Tries all of it over `probe`.
pub(crate) async fn checks(target: &Target, probe: &Probe, options: &SshOptions) -> [Check; 5] {
    let typed = format!("{COMMAND}\nexit\n");
    let (shell, command, terminal, forwards, listens, guest) = tokio::join!(
        probe.shell(&typed),
        probe.run(COMMAND),
        probe.terminal(),
        probe.forwards(),
        probe.listens(),
        probe.run(OTHER_GUEST),
    );
    let remedy = remedy(target, options);
    let ports = forwards.and_then(|forwards| Ok(forwards || listens?));
    let [no_shell, no_command, no_terminal, no_forwarding, no_guest] =
        NAMES.map(|check| host::name(target, check));
    [
        by_the_gate(no_shell, "A shell", shell, &remedy),
        by_the_gate(no_command, "Another command", command, &remedy),
        by_sshd(no_terminal, "A terminal", terminal, &remedy),
        by_sshd(no_forwarding, "Forwarding of ports", ports, &remedy),
        by_the_gate(no_guest, "Another guest", guest, &remedy),
    ]
}

/// Refused in the gate's words, or not begun at all.
fn by_the_gate(
    name: String,
    what: &str,
    tried: Result<CommandOutput, SshError>,
    remedy: &str,
) -> Check {
    let answer = match tried {
        Ok(answer) => answer,
        Err(error) => return not_known(name, what, &error, remedy),
    };
    if answer.denied {
        return Check::green(name, format!("{what} is refused by sshd."));
    }
    if answer.code == Some(2)
        && let Some(said) = answer
            .stderr
            .lines()
            .find(|line| line.starts_with("refused: "))
    {
        return Check::green(name, format!("{what} is refused by the gate: {said}"));
    }
    let said = match (answer.stdout.as_str(), answer.stderr.as_str()) {
        ("", said) | (said, _) => last_line(said),
    };
    let evidence = format!("{what} is not refused; the host said: {said}.");
    Check::red(name, evidence, remedy)
}

fn by_sshd(name: String, what: &str, granted: Result<bool, SshError>, remedy: &str) -> Check {
    match granted {
        Ok(false) => Check::green(name, format!("{what} is refused by sshd.")),
        Ok(true) => Check::red(name, format!("{what} is granted to the key."), remedy),
        Err(error) => not_known(name, what, &error, remedy),
    }
}

/// What was not refused in time may have been granted.
fn not_known(name: String, what: &str, error: &SshError, remedy: &str) -> Check {
    Check::red(name, format!("{what} was not refused: {error}."), remedy)
}

fn remedy(target: &Target, options: &SshOptions) -> String {
    format!(
        "in {}'s authorized_keys on {}, let the key's only line be: {} {}",
        target.host.user,
        target.host.host,
        host::HELD,
        public_key(options)
    )
}
