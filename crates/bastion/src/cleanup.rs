//! Ends the processes that a command left on the guest, and checks that they are gone.
//!
//! Every command has a mark in its environment, [`VARIABLE`], which its children inherit, also
//! through `sudo`, which keeps variables with that prefix. Marked processes, and those in the
//! session of a marked leader, get SIGTERM and then SIGKILL, over a second channel: OpenSSH
//! refuses signals on a channel in several cases, and a signal reaches one process only.

use std::ops::ControlFlow;
use std::time::Duration;

use breakglass_control::ssh::channel::read_output;
use breakglass_control::ssh::{Script, Upstream};
use breakglass_model::OutputStream;
use tokio::time::timeout;
use uuid::Uuid;

/// With this prefix Debian's sshd accepts it and sudo keeps it.
pub(crate) const VARIABLE: &str = "LC_BREAKGLASS";

/// The script's process name on the guest.
pub const SCRIPT_NAME: &str = "breakglass-end";

/// Timeout; the script itself waits about three seconds at most.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum output to read; the result is two short lines.
const OUTPUT_MAX_BYTES: usize = 4096;

/// Becomes root if that needs no password, and passes the ids on to the script, its first argument.
const AS_ROOT: Script = Script::new(
    "s=$1; shift; if [ \"$(id -u)\" = 0 ]; then exec sh -c \"$s\" \"$0\" \"$@\"; fi; \
     if sudo -n true 2>/dev/null; then exec sudo -n sh -c \"$s\" \"$0\" \"$@\"; fi; \
     exec sh -c \"$s\" \"$0\" \"$@\"",
);

/// Prints `ended N`, `left N`.
const SCRIPT: Script = Script::new(
    "field() { { read -r s <\"/proc/$1/stat\"; } 2>/dev/null || return 1; \
     s=${s##*) }; set -- $s; sid=$4; [ \"$1\" = Z ] && return 1; return 0; }; \
     marked() { grep -Fl $pattern /proc/[0-9]*/environ 2>/dev/null; }; \
     find_all() { all=; \
     for f in $(marked); do p=${f#/proc/}; p=${p%/environ}; \
     [ \"$p\" = $$ ] && continue; all=\"$all $p\"; \
     field \"$p\" && [ \"$sid\" = \"$p\" ] || continue; \
     case \"$leaders\" in *\" $p \"*) ;; *) leaders=\"$leaders$p \" ;; esac; done; \
     [ \"$leaders\" = \" \" ] && return; \
     for d in /proc/[0-9]*; do p=${d#/proc/}; field \"$p\" || continue; \
     case \"$leaders\" in *\" $sid \"*) case \"$all \" in *\" $p \"*) ;; *) all=\"$all $p\" ;; esac ;; esac; \
     done; }; \
     pattern= leaders=\" \"; \
     for id; do pattern=\"$pattern -e LC_BREAKGLASS=$id\"; done; \
     find_all; set -- $all; ended=$#; \
     for signal in TERM KILL; do \
     [ -n \"$all\" ] && kill -s $signal $all 2>/dev/null; i=0; \
     while [ -n \"$all\" ] && [ $i -lt 12 ]; do sleep 0.1; find_all; i=$((i + 1)); done; done; \
     set -- $all; echo \"ended $((ended - $#))\"; echo \"left $#\"",
);

/// The result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanupResult {
    /// Number of processes that were ended.
    pub(crate) ended: u32,
    /// Number of processes that could not be ended.
    pub(crate) left: u32,
}

/// The command line that runs the script for `commands`; every login shell reads it alike.
fn command_line(commands: &[Uuid]) -> String {
    let ids: Vec<String> = commands.iter().map(|id| id.simple().to_string()).collect();
    let (outer, inner) = (AS_ROOT.as_str(), SCRIPT.as_str());
    format!(
        "exec sh -c '{outer}' {SCRIPT_NAME} '{inner}' {}",
        ids.join(" ")
    )
}

/// The value of [`VARIABLE`] for `command`.
pub(crate) fn mark(command: Uuid) -> String {
    command.simple().to_string()
}

/// Ends `commands` on the guest. The error is the reason why the result is unknown.
pub(crate) async fn end(upstream: &Upstream, commands: &[Uuid]) -> Result<CleanupResult, String> {
    let running = async {
        let session = upstream
            .open_first()
            .await
            .map_err(|error| error.to_string())?;
        let (mut reading, writing) = session.channel.split();
        let sent = writing.exec(true, command_line(commands)).await;
        sent.map_err(|error| error.to_string())?;
        let mut output = Vec::new();
        read_output(&mut reading, |stream, bytes| {
            if stream == OutputStream::Stdout {
                let room = OUTPUT_MAX_BYTES.saturating_sub(output.len());
                output.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            ControlFlow::Continue(())
        })
        .await;
        parse(&String::from_utf8_lossy(&output))
            .ok_or_else(|| "the guest reported no result".to_owned())
    };
    timeout(CLEANUP_TIMEOUT, running).await.map_err(|_| {
        let seconds = CLEANUP_TIMEOUT.as_secs();
        format!("the guest gave no answer within {seconds} s")
    })?
}

fn parse(output: &str) -> Option<CleanupResult> {
    // A profile may have printed before it.
    let number = |word: &str| {
        let mut lines = output.lines().rev();
        lines.find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
    };
    Some(CleanupResult {
        ended: number("ended ")?,
        left: number("left ")?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn script_ends_marked_processes_and_their_session_and_nothing_else() {
        let (mine, other) = (Uuid::now_v7(), Uuid::now_v7());
        let start = |id: Uuid, script: &str| {
            Command::new("setsid")
                .args(["-w", "sh", "-c", script])
                .env(VARIABLE, mark(id))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .expect("setsid is missing: apt-get install util-linux")
        };
        // One of its children has no mark, one does not obey SIGTERM.
        let script = "env -i sleep 60 & (trap '' TERM; echo ready; sleep 60) & wait";
        let mut marked = start(mine, script);
        // Without a shell around it: a child would outlive the test and keep its output open.
        let mut kept = start(other, "exec sleep 60");
        let mut ready = [0; 5];
        marked
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        let output = Command::new("sh")
            .args(["-c", &command_line(&[mine])])
            .output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        let found = parse(&said).unwrap_or_else(|| panic!("{said}"));
        assert!(found.ended >= 3 && found.left == 0, "{said}");
        assert!(!marked.wait().unwrap().success());
        assert!(kept.try_wait().unwrap().is_none());
        kept.kill().unwrap();
        kept.wait().unwrap();
    }

    /// As sshd runs a command: through the account's login shell.
    #[test]
    fn every_login_shell_passes_the_script_on_unchanged() {
        let shells = [
            "sh", "dash", "bash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "busybox",
        ];
        for shell in shells {
            let id = Uuid::now_v7();
            let mut marked = Command::new("sleep")
                .arg("60")
                .env(VARIABLE, mark(id))
                .spawn()
                .unwrap();
            let mut command = Command::new(shell);
            // A busybox is a shell by its first word.
            command.args((shell == "busybox").then_some("ash"));
            let output = command.args(["-c", &command_line(&[id])]).output().unwrap();
            let ended = marked.try_wait().unwrap();
            if ended.is_none() {
                marked.kill().unwrap();
                marked.wait().unwrap();
            }
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(
                parse(&said),
                Some(CleanupResult { ended: 1, left: 0 }),
                "{shell}: {said}"
            );
            assert!(ended.is_some(), "{shell}");
        }
    }

    #[test]
    fn output_of_a_profile_is_not_the_result() {
        let said = "left 3 messages\nended well\nended 2\nleft 1\n";
        assert_eq!(parse(said), Some(CleanupResult { ended: 2, left: 1 }));
        assert_eq!(parse("left 3 messages\n"), None);
    }

    #[test]
    fn result_is_reported_without_any_process_to_end() {
        let output = Command::new("sh")
            .args(["-c", &command_line(&[Uuid::now_v7()])])
            .output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(
            parse(&said),
            Some(CleanupResult { ended: 0, left: 0 }),
            "{said}"
        );
    }
}
