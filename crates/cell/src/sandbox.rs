//! The setup of sandboxes on this machine: whether one can be made, with which account, and the files inside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use breakglass_agent::sandbox::{HOME, Sandbox};
use breakglass_agent::{Account, without_privileges};
use rustix::process::{getegid, geteuid};

pub(crate) use breakglass_agent::sandbox::{CELL, MODEL_PROXY, PROGRAM};

use crate::home::{find_program, set_mode};

/// The agent's account if none is configured and the server is root. The uid is outside all ranges that systems use, so
/// that no other file or process has it. Inside the sandbox it has a name.
const DEFAULT_ACCOUNT: Account = Account {
    uid: 1_901_000_000,
    gid: 1_901_000_000,
};
/// Timeout of the creation of a test sandbox.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between checks whether the test sandbox has ended.
const TRIAL_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Arguments of bwrap for a test sandbox with all namespaces of a real one.
const TRIAL_ARGUMENTS: [&str; 14] = [
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
];

/// How sandboxes are created on this machine.
#[derive(Debug, Clone)]
pub struct SandboxSetup {
    pub(crate) bwrap: PathBuf,
    /// The agent's account inside, if the server is root and creates the sandbox.
    pub account: Option<Account>,
    /// The account that creates the sandbox, if the server is not root and the agent has its own account.
    pub maker: Option<Account>,
}

impl SandboxSetup {
    /// Creates a test sandbox for `account`; if that is `None` and the server is root, for a reserved account.
    ///
    /// # Errors
    /// Why no sandbox can be made and what to do, as a clause.
    pub fn detect(account: Option<Account>) -> Result<SandboxSetup, String> {
        let bwrap = find_program("bwrap")
            .ok_or("the program bwrap is missing; install the package bubblewrap")?;
        let (account, maker) = if geteuid().is_root() {
            (Some(account.unwrap_or(DEFAULT_ACCOUNT)), None)
        } else {
            (None, account)
        };
        let setup = SandboxSetup {
            bwrap,
            account,
            maker,
        };
        let bwrap = &setup.bwrap;
        match setup.run_trial() {
            Ok(()) => Ok(setup),
            Err(why) => Err(format!(
                "{} cannot make one ({why}); allow user namespaces for the server's account, or run the agent \
                 in a separate container (agent.runner)",
                bwrap.display()
            )),
        }
    }

    /// The sandbox of a cell. `shown` is the directory with the cell's files; `readable` paths can be read too.
    ///
    /// # Errors
    /// If the path of this program is unknown.
    pub fn sandbox(&self, shown: PathBuf, readable: Vec<PathBuf>) -> io::Result<Sandbox> {
        Ok(Sandbox {
            bwrap: self.bwrap.clone(),
            program: std::env::current_exe()?,
            cell: shown,
            account: self.account,
            readable,
        })
    }

    /// Starts this program in a sandbox with all namespaces of the agent's, and waits for its end.
    fn run_trial(&self) -> Result<(), String> {
        let mut command = Command::new(&self.bwrap);
        if self.account.is_none() {
            command.arg("--unshare-user");
        }
        command.args(TRIAL_ARGUMENTS).current_dir("/");
        if self.account.is_some() {
            command.args(["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]);
        }
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        command
            .arg("--")
            .arg(program)
            .args(["cell-init", "--trial"]);
        if let Some(Account { uid, gid }) = self.account {
            command.args(["--uid", &uid.to_string(), "--gid", &gid.to_string()]);
        }
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if self.account.is_none() {
            // bwrap refuses to run with inherited capabilities.
            without_privileges(&mut command, self.maker);
        }
        let child = command.stderr(Stdio::piped()).spawn();
        wait_for_success(child.map_err(|error| error.to_string())?)
    }

    /// Writes the sandbox's passwd, group, hosts and nsswitch.conf into `shown`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write_settings(&self, shown: &Path) -> io::Result<()> {
        let (uid, gid) = match self.account.or(self.maker) {
            Some(Account { uid, gid }) => (uid, gid),
            None => (geteuid().as_raw(), getegid().as_raw()),
        };
        let passwd = format!("agent:x:{uid}:{gid}:agent:{HOME}:/bin/bash\n");
        let group = format!("agent:x:{gid}:\n");
        for (name, text) in [
            ("passwd", passwd.as_str()),
            ("group", &group),
            ("hosts", "127.0.0.1 localhost cell\n::1 localhost\n"),
            (
                "nsswitch.conf",
                "passwd: files\ngroup: files\nhosts: files\n",
            ),
        ] {
            let path = shown.join(name);
            fs::write(&path, text)?;
            set_mode(&path, 0o644)?;
        }
        Ok(())
    }
}

fn wait_for_success(mut child: Child) -> Result<(), String> {
    let deadline = Instant::now() + TRIAL_TIMEOUT;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(_)) => return Err(first_error_line(child)),
            Ok(None) => thread::sleep(TRIAL_POLL_INTERVAL),
            Err(error) => return Err(error.to_string()),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("it took longer than {} s", TRIAL_TIMEOUT.as_secs()))
}

fn first_error_line(child: Child) -> String {
    let stderr = child.wait_with_output().map(|output| output.stderr);
    let stderr = stderr.unwrap_or_default();
    let text = String::from_utf8_lossy(&stderr);
    let line = text.lines().next().unwrap_or("no error message");
    breakglass_model::visible(line).chars().take(200).collect()
}
