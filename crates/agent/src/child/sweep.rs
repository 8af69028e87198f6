//! Finds processes by a mark in their environment and kills them.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that forks while it is looked for is found in the next round.
const ROUNDS: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Kills every process whose environment has an entry that begins with `mark`, but not `keep`;
/// returns when none is left, or after a bounded number of rounds.
pub(super) fn sweep(mark: &str, keep: Option<i32>) {
    for _ in 0..ROUNDS {
        let found: Vec<i32> = processes()
            .filter(|id| Some(*id) != keep && marked(*id, mark))
            .collect();
        if found.is_empty() {
            return;
        }
        found.into_iter().for_each(|id| kill(id, mark));
        thread::sleep(PAUSE);
    }
    tracing::warn!(mark, "processes of an ended agent are still there");
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process that is gone, a zombie, or another user's has no readable environment.
fn marked(id: i32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{id}/environ")) else {
        return false;
    };
    environment
        .split(|byte| *byte == 0)
        .any(|entry| entry.starts_with(mark.as_bytes()))
}

/// The mark is looked at again once the process is held by a file descriptor, so that a number
/// that was given to another process meanwhile kills nobody.
fn kill(id: i32, mark: &str) {
    let Some(pid) = Pid::from_raw(id) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if marked(id, mark) {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_sweep_kills_what_carries_the_mark_and_nothing_else() {
        let mark = format!("BREAKGLASS_TEST={}", uuid::Uuid::new_v4());
        let value = mark.split_once('=').unwrap().1;
        let start = |value: &str| {
            Command::new("sleep")
                .arg("60")
                .env("BREAKGLASS_TEST", value)
                .spawn()
                .unwrap()
        };
        let (mut marked, mut kept, mut other) = (start(value), start(value), start("another"));
        sweep(&mark, i32::try_from(kept.id()).ok());
        assert!(!marked.wait().unwrap().success());
        for child in [&mut kept, &mut other] {
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
