//! Checks of the forced command on the host: tries what a thief of the key would try, all of which must be refused.

use breakglass_control::ssh::{CommandOutput, Probe, SshError};
use breakglass_control::{SshOptions, Target};

use super::check::Check;
use super::connection::public_key;
use super::guest::last_line;
use super::host;

/// Names of the checks: a shell, another command, a terminal, port forwarding in both directions, and a guest that is
/// not the gate's.
pub(crate) const NAMES: [&str; 5] = [
    "no_shell",
    "no_command",
    "no_terminal",
    "no_forwarding",
    "no_other_guest",
];

/// A harmless command; a shell that runs it prints `breakglass-42`.
const HARMLESS_COMMAND: &str = "echo breakglass-$((6*7))";
/// A verb with a guest's number. A gate refuses it, because its guest is fixed.
const OTHER_GUEST_VERB: &str = "status 999999";

/// Runs all attempts over `probe`.
pub(crate) async fn checks(target: &Target, probe: &Probe, options: &SshOptions) -> [Check; 5] {
    let input = format!("{HARMLESS_COMMAND}\nexit\n");
    let (shell, command, terminal, forwards, listens, guest) = tokio::join!(
        probe.shell(&input),
        probe.run(HARMLESS_COMMAND),
        probe.terminal(),
        probe.forwards(),
        probe.listens(),
        probe.run(OTHER_GUEST_VERB),
    );
    let remedy = remedy(target, options);
    let ports = forwards.and_then(|forwards| Ok(forwards || listens?));
    let [no_shell, no_command, no_terminal, no_forwarding, no_guest] =
        NAMES.map(|check| host::name(target, check));
    [
        refused_by_gate(no_shell, "A shell", shell, &remedy),
        refused_by_gate(no_command, "Another command", command, &remedy),
        refused_by_sshd(no_terminal, "A terminal", terminal, &remedy),
        refused_by_sshd(no_forwarding, "Forwarding of ports", ports, &remedy),
        refused_by_gate(no_guest, "Another guest", guest, &remedy),
    ]
}

/// Green if the gate refused the attempt with its message, or sshd did not start it.
fn refused_by_gate(
    name: String,
    what: &str,
    tried: Result<CommandOutput, SshError>,
    remedy: &str,
) -> Check {
    let answer = match tried {
        Ok(answer) => answer,
        Err(error) => return not_refused(name, what, &error, remedy),
    };
    if answer.denied {
        return Check::green(name, format!("{what} is refused by sshd."));
    }
    if answer.code == Some(2)
        && let Some(refusal) = answer
            .stderr
            .lines()
            .find(|line| line.starts_with("refused: "))
    {
        return Check::green(name, format!("{what} is refused by the gate: {refusal}"));
    }
    let output = if answer.stdout.is_empty() {
        &answer.stderr
    } else {
        &answer.stdout
    };
    let line = last_line(output);
    let evidence = format!("{what} is not refused; the host printed: {line}.");
    Check::red(name, evidence, remedy)
}

fn refused_by_sshd(
    name: String,
    what: &str,
    granted: Result<bool, SshError>,
    remedy: &str,
) -> Check {
    match granted {
        Ok(false) => Check::green(name, format!("{what} is refused by sshd.")),
        Ok(true) => Check::red(name, format!("{what} is granted to the key."), remedy),
        Err(error) => not_refused(name, what, &error, remedy),
    }
}

/// Red: an attempt that was not refused in time may have been granted.
fn not_refused(name: String, what: &str, error: &SshError, remedy: &str) -> Check {
    Check::red(name, format!("{what} was not refused: {error}."), remedy)
}

fn remedy(target: &Target, options: &SshOptions) -> String {
    format!(
        "in {}'s authorized_keys on {}, make this the only line of the key: {} {}",
        target.host.user,
        target.host.host,
        host::FORCED_COMMAND_OPTIONS,
        public_key(options)
    )
}
