//! Ends what a command left running on the guest, and looks whether it is gone.
//!
//! Every command carries a mark in its environment, [`VARIABLE`], which its children inherit, also
//! through `sudo`, which keeps variables of that prefix. What carries the mark, and whatever shares a
//! session with a marked leader, is asked to end and then killed, over a second channel: OpenSSH
//! refuses signals on a channel in several cases, and a signal reaches one process only.

use std::time::Duration;

use breakglass_control::ssh::Script;
use breakglass_control::ssh::Upstream;
use russh::ChannelMsg;
use tokio::time::timeout;
use uuid::Uuid;

/// The prefix makes Debian's sshd take it and sudo keep it.
pub(crate) const VARIABLE: &str = "LC_BREAKGLASS";

/// The script's own name, as processes on the guest show it.
pub const SCRIPT_NAME: &str = "breakglass-end";

/// Longest time for all of it; the script itself waits about three seconds at most.
const LIMIT: Duration = Duration::from_secs(10);
/// Its answer is two short lines.
const ANSWER: usize = 4096;

/// Becomes root where that needs no password, and hands the ids on to the script, its first argument.
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

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Processes that were there and are gone.
    pub(crate) ended: u32,
    /// Processes that are still there.
    pub(crate) left: u32,
}

/// The command that runs the script for `commands`, in words that every login shell reads alike.
fn order(commands: &[Uuid]) -> String {
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

/// Ends `commands` on the guest. The error says why nothing is known.
pub(crate) async fn end(upstream: &Upstream, commands: &[Uuid]) -> Result<Found, String> {
    let asking = async {
        let mut session = upstream
            .open_first()
            .await
            .map_err(|error| error.to_string())?;
        let sent = session.channel.exec(true, order(commands)).await;
        sent.map_err(|error| error.to_string())?;
        let mut said = Vec::new();
        while let Some(message) = session.channel.wait().await {
            if let ChannelMsg::Data { data } = message {
                let room = ANSWER - said.len().min(ANSWER);
                said.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        parse(&String::from_utf8_lossy(&said))
            .ok_or_else(|| "the guest did not say what it found".to_owned())
    };
    let late = || format!("the guest gave no answer within {} s", LIMIT.as_secs());
    timeout(LIMIT, asking).await.map_err(|_| late())?
}

fn parse(said: &str) -> Option<Found> {
    // A profile may have printed before it.
    let number = |word: &str| {
        let mut lines = said.lines().rev();
        lines.find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
    };
    Some(Found {
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
    fn the_script_ends_what_carries_the_mark_and_its_session_and_nothing_else() {
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
        // Itself what is killed in the end: a child would outlive the test and hold on to its output.
        let mut kept = start(other, "exec sleep 60");
        let mut ready = [0; 5];
        marked
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        let output = Command::new("sh").args(["-c", &order(&[mine])]).output();
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
    fn every_login_shell_hands_the_script_on_and_its_end_is_found() {
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
            let output = command.args(["-c", &order(&[id])]).output().unwrap();
            let ended = marked.try_wait().unwrap();
            if ended.is_none() {
                marked.kill().unwrap();
                marked.wait().unwrap();
            }
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(
                parse(&said),
                Some(Found { ended: 1, left: 0 }),
                "{shell}: {said}"
            );
            assert!(ended.is_some(), "{shell}");
        }
    }

    #[test]
    fn what_a_profile_prints_is_not_what_was_found() {
        let said = "left 3 messages\nended well\nended 2\nleft 1\n";
        assert_eq!(parse(said), Some(Found { ended: 2, left: 1 }));
        assert_eq!(parse("left 3 messages\n"), None);
    }

    #[test]
    fn nothing_to_end_is_an_answer_too() {
        let output = Command::new("sh")
            .args(["-c", &order(&[Uuid::now_v7()])])
            .output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(parse(&said), Some(Found { ended: 0, left: 0 }), "{said}");
    }
}
