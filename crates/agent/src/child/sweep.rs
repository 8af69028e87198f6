//! Kills processes by a mark in their environment.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that marks the processes of a cell.
pub(crate) const MARK: &str = "BREAKGLASS_CELL";

/// Maximum number of searches: a process that forks during one is found in the next.
const ROUNDS_MAX: usize = 20;
const ROUND_DELAY: Duration = Duration::from_millis(5);

/// The beginning of the marks of all processes of a cell.
pub(crate) fn mark_prefix(cell: &str) -> String {
    format!("{MARK}={cell}#")
}

/// Kills every process whose environment has an entry that begins with `mark`, except `keep`. Returns when none
/// is left, or after [`ROUNDS_MAX`].
pub(super) fn sweep(mark: &str, keep: Option<i32>) {
    for _ in 0..ROUNDS_MAX {
        let found: Vec<i32> = processes()
            .filter(|id| Some(*id) != keep && has_mark(*id, mark))
            .collect();
        if found.is_empty() {
            return;
        }
        found.into_iter().for_each(|id| kill(id, mark));
        thread::sleep(ROUND_DELAY);
    }
    tracing::warn!(
        mark,
        "processes of an agent that has ended are still running"
    );
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// False if the environment is not readable: of a process that is gone, a zombie, or another user's.
fn has_mark(id: i32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{id}/environ")) else {
        return false;
    };
    environment
        .split(|byte| *byte == 0)
        .any(|entry| entry.starts_with(mark.as_bytes()))
}

/// Checks the mark again with the process held by a descriptor: the number may meanwhile belong to another
/// process.
fn kill(id: i32, mark: &str) {
    let Some(pid) = Pid::from_raw(id) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if has_mark(id, mark) {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_sweep_kills_only_processes_with_the_mark() {
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
