//! The agent's cell: what it is given to reach guest and host with, and nothing more.
//!
//! ```text
//! <data_dir>/cell/          0700
//!   bin/ssh bin/scp         shims: the stock client, always with the configuration below
//!   ssh_config              two names, guest and host; no key file, no forwarding
//!   home/ work/             the CLI's home and working directory
//!   agent.sock              signs with the one key; the key itself never leaves the server
//!   sign-in.seen            the sign-in that was copied last
//! ```
//! OpenSSH reads its configuration from the account's home, not from `$HOME`; hence the shims.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use breakglass_control::{HostKeyPolicy, Target};

use crate::config::Config;

/// Where the CLI keeps its sign-in, in its own directory.
const SIGN_IN: &str = ".credentials.json";

/// The paths of a cell that stands.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    root: PathBuf,
}

impl Cell {
    /// Lays the cell out under `config.data_dir`, anew each time.
    ///
    /// # Errors
    /// When a directory or file of it can't be written.
    pub(crate) fn build(config: &Config) -> io::Result<Cell> {
        let cell = Cell {
            root: config.data_dir.join("cell"),
        };
        for dir in ["", "bin", "home", "work", "tmp"] {
            private_dir(&cell.root.join(dir))?;
        }
        fs::write(cell.ssh_config(), ssh_config(&cell, config))?;
        for program in ["ssh", "scp"] {
            if let Some(real) = find_program(program) {
                cell.write_shim(program, &real)?;
            }
        }
        if let Some(source) = &config.agent.credentials_dir {
            cell.sign_in(&source.join(SIGN_IN));
        }
        Ok(cell)
    }

    /// Gives the CLI the sign-in at `source`, unless it has that one: it renews its own copy from
    /// time to time, and what it was renewed from may be void then. Without a sign-in the agent
    /// says so itself, and power works on.
    fn sign_in(&self, source: &Path) {
        if let Err(error) = self.copy_sign_in(source) {
            let source = source.display();
            tracing::error!(%error, %source, "the agent's sign-in can't be copied into its cell");
        }
    }

    fn copy_sign_in(&self, source: &Path) -> io::Result<()> {
        let offered = fs::read(source)?;
        let (seen, own) = (self.root.join("sign-in.seen"), self.home().join(".claude"));
        private_dir(&own)?;
        let own = own.join(SIGN_IN);
        if own.exists() && fs::read(&seen).is_ok_and(|seen| seen == offered) {
            return Ok(());
        }
        write_private(&own, &offered)?;
        write_private(&seen, &offered)
    }

    /// The CLI's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Where the CLI works.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The socket that signs.
    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.root.join("agent.sock")
    }

    /// The whole environment that the CLI gets, besides what its configuration adds.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            self.root.join("bin").display()
        );
        let tmp = self.root.join("tmp");
        [
            ("HOME", self.home().display().to_string()),
            ("PATH", path),
            ("TMPDIR", tmp.display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn ssh_config(&self) -> PathBuf {
        self.root.join("ssh_config")
    }

    fn write_shim(&self, program: &str, real: &Path) -> io::Result<()> {
        let shim = self.root.join("bin").join(program);
        let config = self.ssh_config();
        let text = format!(
            "#!/bin/sh\nexec '{}' -F '{}' \"$@\"\n",
            real.display(),
            config.display()
        );
        fs::write(&shim, text)?;
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o700))
    }
}

/// A reader sees the old file or the new one, and nobody but its owner sees either.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    // One that an earlier end left behind might have another mode.
    let _ = fs::remove_file(&fresh);
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    fs::rename(&fresh, path)
}

fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// The first `program` on the server's own PATH.
fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn ssh_config(cell: &Cell, config: &Config) -> String {
    let mut text = String::new();
    for target in &config.targets {
        text.push_str(&host_blocks(target));
    }
    let strict = match config.ssh.host_keys {
        HostKeyPolicy::Pin => "yes",
        HostKeyPolicy::TrustFirst => "accept-new",
        HostKeyPolicy::AcceptAny => "no",
    };
    text.push_str(&format!(
        "Host *\n  IdentityAgent \"{}\"\n  IdentityFile none\n  UserKnownHostsFile \"{}\"\n  \
         GlobalKnownHostsFile none\n  StrictHostKeyChecking {strict}\n  BatchMode yes\n  \
         ConnectTimeout 10\n  ServerAliveInterval 5\n  ServerAliveCountMax 3\n  ForwardAgent no\n  \
         ForwardX11 no\n  LogLevel ERROR\n",
        cell.agent_socket().display(),
        config.ssh.known_hosts.display(),
    ));
    text
}

fn host_blocks(target: &Target) -> String {
    let block = |alias: &str, endpoint: &breakglass_control::Endpoint| {
        format!(
            "Host {alias}\n  HostName {}\n  Port {}\n  User {}\n",
            endpoint.host, endpoint.port, endpoint.user
        )
    };
    block(&target.name, &target.guest) + &block(&target.host_name, &target.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(root: &Path) -> Cell {
        let root = root.to_owned();
        Cell { root }
    }

    fn own(cell: &Cell) -> PathBuf {
        cell.home().join(".claude").join(SIGN_IN)
    }

    #[test]
    fn the_sign_in_is_copied_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join(SIGN_IN);
        fs::write(&source, "first").unwrap();
        let cell = cell(&dir.path().join("cell"));
        cell.sign_in(&source);
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), "first");
        let mode = fs::metadata(own(&cell)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_sign_in_that_the_cli_renewed_stays_until_another_is_offered() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join(SIGN_IN);
        fs::write(&source, "first").unwrap();
        let cell = cell(&dir.path().join("cell"));
        cell.sign_in(&source);
        fs::write(own(&cell), "renewed").unwrap();
        // Mounted anew, as by a restart in a cluster: newer by its time, and the same.
        fs::write(&source, "first").unwrap();
        cell.sign_in(&source);
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), "renewed");
        fs::write(&source, "second").unwrap();
        cell.sign_in(&source);
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), "second");
        fs::remove_file(own(&cell)).unwrap();
        cell.sign_in(&source);
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), "second");
    }

    #[test]
    fn a_missing_sign_in_leaves_the_clis_own_alone() {
        let dir = tempfile::tempdir().unwrap();
        let cell = cell(dir.path());
        fs::create_dir_all(own(&cell).parent().unwrap()).unwrap();
        fs::write(own(&cell), "own").unwrap();
        cell.sign_in(&dir.path().join("nowhere"));
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), "own");
    }
}
