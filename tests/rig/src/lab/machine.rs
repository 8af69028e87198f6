//! Common to every machine of the lab: a login, a process, and faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::login::Login;

/// A virtual machine with its faults. All are real: only the hardware is simulated.
pub trait Machine {
    /// The login.
    fn login(&self) -> &Login;

    /// The directory that only this machine's QEMU has in its arguments.
    fn dir(&self) -> &Path;

    /// The output of the guest on its serial console.
    fn serial_log(&self) -> PathBuf;

    /// Blocks every write of the guest's disk; its monitor still answers.
    fn freeze_disk(&self);

    /// Undoes [`Machine::freeze_disk`].
    fn thaw_disk(&self);

    /// Stops the guest's processor, like an operator's `suspend`.
    fn pause(&self);

    /// The QEMU process, if there is one.
    ///
    /// # Panics
    /// When there are two: then one disk has two writers.
    fn qemu(&self) -> Option<u32> {
        let found = qemus(self.dir());
        assert!(found.len() <= 1, "QEMU runs more than once: {found:?}");
        found.first().copied()
    }

    /// Waits until a boot has reached the guest's disk; returns whether it hangs there, as it does if the
    /// disk is frozen.
    ///
    /// # Panics
    /// When no boot reaches it.
    fn boot_hangs(&self) -> bool {
        until("a boot comes to the disk", || {
            let text = fs::read(self.serial_log()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            text.rfind("victim: mounts") > text.rfind("victim: up")
        });
        !self.login().greets()
    }

    /// Panics the guest's kernel, and waits until it has.
    ///
    /// # Panics
    /// When it does not.
    fn panic(&self) {
        let count = || {
            let text = fs::read(self.serial_log()).unwrap_or_default();
            String::from_utf8_lossy(&text)
                .matches("Kernel panic")
                .count()
        };
        let before = count();
        // In the background, so that the login ends before the guest does; otherwise its result would
        // never arrive.
        let crash = "(sleep 0.2; echo c >/proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &";
        let said = self.login().try_run(crash);
        until(&format!("the guest's kernel panics ({said:?})"), || {
            count() > before
        });
    }

    /// Ends the guest agent.
    ///
    /// # Panics
    /// When the guest can't be asked to.
    fn kill_agent(&self) {
        let _ = self.login().run("kill -9 $(cat /run/qga.pid)").unwrap();
    }

    /// Stops the QEMU process by a signal: it no longer answers.
    ///
    /// # Panics
    /// When there is none.
    fn stop_qemu(&self) {
        let pid = self.qemu().unwrap();
        signal(pid, Signal::STOP);
        until("QEMU is stopped", || state(pid) == Some('T'));
    }

    /// Undoes [`Machine::stop_qemu`].
    ///
    /// # Panics
    /// When there is none.
    fn continue_qemu(&self) {
        signal(self.qemu().unwrap(), Signal::CONT);
    }

    /// Kills the QEMU process, as the kernel does when memory is short, and waits for its end.
    ///
    /// # Panics
    /// When there is none, or it does not end.
    fn kill_qemu(&self) {
        signal(self.qemu().unwrap(), Signal::KILL);
        until("QEMU ends", || self.qemu().is_none());
    }
}

/// A machine for which the gate has a driver.
pub trait Hypervisor: Machine {
    /// The lines of the gate's policy for this machine.
    fn policy(&self) -> String;
}

/// Waits until `done`.
///
/// # Panics
/// After three minutes.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !done() {
        assert!(
            Instant::now() < deadline,
            "three minutes have passed before {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills every QEMU of the machine in `dir`, and waits for their end.
pub(super) fn kill_all(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut left = qemus(dir);
    while !left.is_empty() && Instant::now() < deadline {
        left.into_iter().for_each(|pid| signal(pid, Signal::KILL));
        thread::sleep(Duration::from_millis(20));
        left = qemus(dir);
    }
}

/// Sends `which` to `pid`, if it exists.
pub(super) fn signal(pid: u32, which: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, which);
    }
}

/// Whether process `pid` exists and is not a zombie.
#[must_use]
pub fn alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The state of process `pid`, as the letter of `/proc/PID/stat`.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Every living QEMU that has a file of `dir` among its arguments.
fn qemus(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().unwrap();
    let is_ours = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.starts_with("/usr/bin/qemu-system-") && line.contains(dir)
    };
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_ours(*pid) && alive(*pid))
        .collect()
}
