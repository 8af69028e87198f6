//! The agent's cell: what it is given to reach guest and host with, and nothing more.
//!
//! ```text
//! <data_dir>/cell/          0700
//!   bin/ssh bin/scp         shims: the stock client, always with the configuration below
//!   ssh_config              two names, guest and host; no key file, no forwarding
//!   home/ work/             the CLI's home and working directory
//!   agent.sock              signs with the one key; the key itself never leaves the server
//! ```
//! OpenSSH reads its configuration from the account's home, not from `$HOME`; hence the shims.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use breakglass_control::{HostKeyPolicy, Target};

use crate::config::Config;

/// The paths of a cell that stands.
#[derive(Debug, Clone)]
pub struct Cell {
    root: PathBuf,
}

impl Cell {
    /// Lays the cell out under `config.data_dir`, anew each time.
    ///
    /// # Errors
    /// When a directory or file of it can't be written.
    pub fn build(config: &Config) -> io::Result<Cell> {
        let cell = Cell { root: config.data_dir.join("cell") };
        for dir in ["", "bin", "home", "work", "tmp"] {
            private_dir(&cell.root.join(dir))?;
        }
        fs::write(cell.ssh_config(), ssh_config(&cell, config))?;
        for program in ["ssh", "scp"] {
            if let Some(real) = find_program(program) {
                cell.write_shim(program, &real)?;
            }
        }
        Ok(cell)
    }

    /// The CLI's home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Where the CLI works.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The socket that signs.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.root.join("agent.sock")
    }

    /// The whole environment that the CLI gets, besides what its configuration adds.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.root.join("bin").display());
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
        let text = format!("#!/bin/sh\nexec '{}' -F '{}' \"$@\"\n", real.display(), config.display());
        fs::write(&shim, text)?;
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o700))
    }
}

fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The first `program` on the server's own PATH.
fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
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
