//! The cell as a sandbox: whether one can be made here, and what the agent reads in it.

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

/// The account of an agent that has none of its own and a server that is root. Beyond every range that
/// systems give accounts from, so that no file and no process is its; inside, it has a name.
const OWN_ACCOUNT: Account = Account {
    uid: 1_901_000_000,
    gid: 1_901_000_000,
};
/// How long making a sandbox may take.
const TRIAL_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks whether it was made.
const TRIAL_LOOK: Duration = Duration::from_millis(5);
/// The namespaces of a sandbox, and what shows that they can be used.
const TRIAL: [&str; 14] = [
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

/// How sandboxes are made here.
#[derive(Debug, Clone)]
pub struct Found {
    pub(crate) bwrap: PathBuf,
    /// Whose the agent's processes and files are, where the server is root and makes the sandbox.
    pub account: Option<Account>,
    /// The account that makes it, where the server is not root and the agent has one of its own.
    pub maker: Option<Account>,
}

impl Found {
    /// Tries whether a sandbox can be made, whose account is `account`, or one of its own where the server is
    /// root.
    ///
    /// # Errors
    /// A clause: why none can, and what to do.
    pub fn look(account: Option<Account>) -> Result<Found, String> {
        let bwrap = find_program("bwrap")
            .ok_or("the program bwrap is missing; install the package bubblewrap")?;
        let (account, maker) = match geteuid().is_root() {
            true => (Some(account.unwrap_or(OWN_ACCOUNT)), None),
            false => (None, account),
        };
        let found = Found {
            bwrap,
            account,
            maker,
        };
        let bwrap = &found.bwrap;
        match found.try_one() {
            Ok(()) => Ok(found),
            Err(why) => Err(format!(
                "{} can't make one ({why}); allow user namespaces for the server's account, or run the agent \
                 in a container of its own (agent.runner)",
                bwrap.display()
            )),
        }
    }

    /// The sandbox of a cell that is `shown` inside; what is `readable` can be read in it too.
    ///
    /// # Errors
    /// When this program's own file is not known.
    pub fn sandbox(&self, shown: PathBuf, readable: Vec<PathBuf>) -> io::Result<Sandbox> {
        Ok(Sandbox {
            bwrap: self.bwrap.clone(),
            program: std::env::current_exe()?,
            cell: shown,
            account: self.account,
            readable,
        })
    }

    /// Makes a sandbox with every namespace that the agent's has, and shuts this program into it.
    fn try_one(&self) -> Result<(), String> {
        let mut command = Command::new(&self.bwrap);
        if self.account.is_none() {
            command.arg("--unshare-user");
        }
        command.args(TRIAL).current_dir("/");
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
            // With capabilities that it inherits, bwrap makes none.
            without_privileges(&mut command, self.maker);
        }
        let child = command.stderr(Stdio::piped()).spawn();
        await_end(child.map_err(|error| error.to_string())?)
    }

    /// Writes what names the agent's account, and where names are looked up, into `shown`.
    ///
    /// # Errors
    /// What the file system says.
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

fn await_end(mut child: Child) -> Result<(), String> {
    let deadline = Instant::now() + TRIAL_LIMIT;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(_)) => return Err(words(child)),
            Ok(None) => thread::sleep(TRIAL_LOOK),
            Err(error) => return Err(error.to_string()),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("it took longer than {} s", TRIAL_LIMIT.as_secs()))
}

fn words(child: Child) -> String {
    let said = child.wait_with_output().map(|output| output.stderr);
    let said = said.unwrap_or_default();
    let text = String::from_utf8_lossy(&said);
    let line = text.lines().next().unwrap_or("it says nothing");
    breakglass_model::visible(line).chars().take(200).collect()
}
