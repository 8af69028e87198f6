//! The agent's cell: the directories, SSH files and environment with which it reaches guest and host, and nothing else.
//!
//! ```text
//! <data_dir>/cell/          0700; 0711 if the agent has its own account
//!   bin/ssh bin/scp …       shims: the stock client, always with the configuration below
//!   ssh_config known_hosts  every connection goes to the bastion, whose host key is pinned
//!   home/ work/             the CLI's home and working directory, private to its account
//!   lock                    locked by the server that uses the cell
//!   sign-in.seen            the last sign-in that was copied
//! ```
//! OpenSSH reads its configuration from the account's home, not from `$HOME`; hence the shims. Files that the agent
//! only reads belong to the server. The server accesses files in the agent's home only with the agent's rights.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use breakglass_agent::{
    Account, AgentOptions, CellAccess, Confinement, SshFiles, act_as, write_login, write_ssh_files,
};
use secrecy::{ExposeSecret as _, SecretString};

use breakglass_config::Config;

use crate::kind::Kind;
use crate::sandbox::{self, SandboxSetup};
use crate::ssh::client_config;

/// The variables in which programs look for a proxy.
const PROXY_VARIABLES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
/// Name of the CLI's sign-in file in its directory.
const SIGN_IN_FILE: &str = ".credentials.json";

/// A cell that has been created.
#[derive(Debug, Clone)]
pub struct Cell {
    root: PathBuf,
    /// The owner of the CLI's directories, if it is not the server's account.
    account: Option<Account>,
    /// The setup of its sandbox; `None` for a cell with confinement.
    sandbox: Option<SandboxSetup>,
}

impl Cell {
    /// Creates the claude CLI's cell in `config.data_dir`; existing SSH files are rewritten. `bastion` is the known-hosts
    /// line of the bastion.
    ///
    /// # Errors
    /// If one of its directories or files cannot be written.
    pub fn build(config: &Config, bastion: &str, kind: &Kind) -> io::Result<Cell> {
        let cell = Cell::build_at(config, "cell", bastion, kind)?;
        if let Some(source) = &config.agent.credentials_dir {
            cell.sign_in(source);
        }
        Ok(cell)
    }

    /// Creates the cell of the agent `name` of `[[agents]]`.
    ///
    /// # Errors
    /// Like [`Cell::build`].
    pub fn build_for(name: &str, config: &Config, bastion: &str, kind: &Kind) -> io::Result<Cell> {
        Cell::build_at(config, &format!("cell-{name}"), bastion, kind)
    }

    fn build_at(config: &Config, directory: &str, bastion: &str, kind: &Kind) -> io::Result<Cell> {
        let sandbox = kind.sandbox().cloned();
        let cell = Cell::create(config.data_dir.join(directory), config.agent.user, sandbox)?;
        cell.write_ssh_files(bastion)?;
        Ok(cell)
    }

    /// Creates the directories in `root`, with `account` as the owner of home and work, and the shims.
    ///
    /// # Errors
    /// If a directory or file cannot be written, or the account cannot reach it.
    pub fn create(
        root: PathBuf,
        account: Option<Account>,
        sandbox: Option<SandboxSetup>,
    ) -> io::Result<Cell> {
        let account = match &sandbox {
            Some(setup) => setup.account.or(setup.maker),
            None => account,
        };
        let cell = Cell {
            root,
            account,
            sandbox,
        };
        for dir in [
            &cell.root,
            &cell.readable_dir(),
            &cell.readable_dir().join("bin"),
            &cell.own_dir(),
        ] {
            private_dir(dir)?;
        }
        if account.is_some() && !cell.is_created_by_root() {
            set_mode(&cell.root, 0o711)?;
            set_mode(&cell.own_dir(), 0o711)?;
        }
        if account.is_some() || cell.sandbox.is_some() {
            set_mode(&cell.readable_dir().join("bin"), 0o755)?;
        }
        if let Some(setup) = &cell.sandbox {
            set_mode(&cell.readable_dir(), 0o755)?;
            setup.write_settings(&cell.readable_dir())?;
        }
        for dir in [cell.home(), cell.work()] {
            private_dir(&dir)?;
            cell.give(&dir)?;
        }
        for program in ["ssh", "scp", "sftp"] {
            if let Some(real) = find_program(program) {
                cell.write_shim(program, &real)?;
            }
        }
        if !cell.is_created_by_root() {
            cell.check_reachable()?;
        }
        Ok(cell)
    }

    /// Writes the configuration of the CLI's SSH client. `bastion` is the known-hosts line of the bastion.
    ///
    /// # Errors
    /// Errors of the file system.
    fn write_ssh_files(&self, bastion: &str) -> io::Result<()> {
        let program = std::env::current_exe()?;
        let (cell, program) = if self.sandbox.is_some() {
            (Path::new(sandbox::CELL), Path::new(sandbox::PROGRAM))
        } else {
            (self.root.as_path(), program.as_path())
        };
        let files = SshFiles {
            cell,
            program,
            config: &client_config(),
            known_hosts: bastion,
        };
        write_ssh_files(&self.readable_dir(), files)
    }

    /// Whether root creates its sandbox. Then the agent's account need not reach the cell from outside.
    fn is_created_by_root(&self) -> bool {
        self.sandbox
            .as_ref()
            .is_some_and(|setup| setup.account.is_some())
    }

    /// Changes the owner of `dir` to the CLI's account. Fails if another account owns files there, because they may not
    /// belong to a cell.
    fn give(&self, dir: &Path) -> io::Result<()> {
        let owner = fs::symlink_metadata(dir)?.uid();
        let expected = self.account.map_or_else(
            || rustix::process::geteuid().as_raw(),
            |account| account.uid,
        );
        if owner == expected {
            return Ok(());
        }
        if fs::read_dir(dir)?.next().is_some() {
            let dir = dir.display();
            return Err(io::Error::other(format!(
                "{dir} belongs to uid {owner}, but the agent has uid {expected}: chown -R {expected} {dir}, \
                 or remove it"
            )));
        }
        match self.account {
            Some(account) => account.own(dir, 0o700),
            None => std::os::unix::fs::lchown(dir, Some(expected), None),
        }
    }

    fn check_reachable(&self) -> io::Result<()> {
        let home = self.home();
        let work = self.work();
        act_as(self.account, || {
            fs::read_dir(&home)?;
            fs::read_dir(&work).map(drop)
        })
        .map_err(|error| {
            let uid = self.account.map_or(0, |account| account.uid);
            io::Error::other(format!(
                "the agent's uid {uid} cannot reach it: {error}; make every directory above \
                 traversable for it (chmod o+x)"
            ))
        })
    }

    /// The confinement of the CLI: it changes only its own directories, and reads neither `private` files nor files next
    /// to the cell.
    fn confinement(&self, private: &[PathBuf]) -> Confinement {
        let beside = self.root.parent().map(Path::to_owned);
        Confinement {
            private: private.iter().cloned().chain(beside).collect(),
            readable: vec![self.root.clone()],
            writable: vec![self.home(), self.work()],
        }
    }

    /// The options of a CLI in this cell, which must not read the `private` files.
    ///
    /// # Errors
    /// If the path of this program is unknown.
    pub fn options(
        &self,
        command: PathBuf,
        private: &[PathBuf],
        api_key: Option<&SecretString>,
        base_url: Option<&str>,
    ) -> io::Result<AgentOptions> {
        let mut options = AgentOptions::new(command, self.home());
        options.work_dir = self.work();
        options.lock = self.root.join("lock");
        match &self.sandbox {
            // Landlock rules of the starting thread would prevent the creation of the sandbox.
            Some(setup) => {
                options.account = setup.maker;
                options.sandbox = Some(setup.sandbox(self.readable_dir(), Vec::new())?);
            }
            None => {
                options.account = self.account;
                options.confinement = Some(self.confinement(private));
            }
        }
        options.env = self.environment();
        // Access to the model: the only secret that the agent has.
        let key = api_key.map(|key| ("ANTHROPIC_API_KEY", key.expose_secret()));
        let url = base_url.map(|url| ("ANTHROPIC_BASE_URL", url));
        let model = key.into_iter().chain(url);
        let model = model.map(|(name, value)| (name.to_owned(), value.to_owned()));
        options.env.extend(model);
        Ok(options)
    }

    /// Copies the sign-in in `source` into the cell, unless that one was copied before: the CLI renews its own copy, and
    /// the original may be invalid afterwards. If that fails, the agent reports the missing sign-in, and power works.
    pub fn sign_in(&self, source: &Path) {
        let source = source.join(SIGN_IN_FILE);
        if let Err(error) = self.copy_sign_in(&source) {
            let source = source.display();
            tracing::error!(%error, %source, "the agent's sign-in cannot be copied into its cell");
        }
    }

    fn copy_sign_in(&self, source: &Path) -> io::Result<()> {
        let offered = fs::read(source)?;
        let seen = self.root.join("sign-in.seen");
        let has_it = fs::read(&seen).is_ok_and(|seen| seen == offered);
        let access = match &self.sandbox {
            Some(setup) => CellAccess {
                rights: setup.maker,
                owner: setup.account,
            },
            None => CellAccess {
                rights: self.account,
                owner: None,
            },
        };
        write_login(&self.home(), access, &offered, !has_it)?;
        write_private(&seen, &offered)
    }

    /// Removes the content of the CLI's directories, with the CLI's rights.
    pub fn clear(&self) {
        let own = [self.home(), self.work()];
        let cleared = act_as(self.account, || {
            // The directories themselves are in a directory of the server and are removed with it.
            own.iter().for_each(|dir| drop(fs::remove_dir_all(dir)));
            Ok(())
        });
        if let Err(error) = cleared {
            tracing::debug!(%error, "a cell could not be cleared");
        }
    }

    /// The cell's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory with the files that the CLI only reads.
    fn readable_dir(&self) -> PathBuf {
        if self.sandbox.is_some() {
            self.root.join("shown")
        } else {
            self.root.clone()
        }
    }

    /// The directory with the CLI's home and working directory.
    fn own_dir(&self) -> PathBuf {
        if self.sandbox.is_some() {
            self.root.join("own")
        } else {
            self.root.clone()
        }
    }

    fn home(&self) -> PathBuf {
        self.own_dir().join("home")
    }

    fn work(&self) -> PathBuf {
        self.own_dir().join("work")
    }

    /// The CLI's environment, in addition to the variables that the agent's crate sets.
    fn environment(&self) -> Vec<(String, String)> {
        let root = self.root_inside();
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            root.join("bin").display()
        );
        let mut all = vec![
            ("PATH", path),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
            // The rules for commands without a question parse them as this shell does.
            ("CLAUDE_CODE_SHELL", "/bin/bash".to_owned()),
        ];
        if self.sandbox.is_some() {
            let proxy = format!("http://{}", sandbox::MODEL_PROXY);
            all.extend(PROXY_VARIABLES.map(|name| (name, proxy.clone())));
        }
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// The cell's path as the CLI sees it.
    fn root_inside(&self) -> PathBuf {
        if self.sandbox.is_some() {
            PathBuf::from(sandbox::CELL)
        } else {
            self.root.clone()
        }
    }

    fn write_shim(&self, program: &str, real: &Path) -> io::Result<()> {
        let shim = self.readable_dir().join("bin").join(program);
        let root = self.root_inside();
        let text = format!(
            "#!/bin/sh\nexec '{}' -F '{}' \"$@\"\n",
            real.display(),
            root.join("ssh_config").display()
        );
        fs::write(&shim, text)?;
        set_mode(&shim, 0o755)
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Replaces a file atomically; only its owner can read it.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    // A file that an interrupted run left behind may have another mode.
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
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(root: &Path) -> Cell {
        let cell = Cell {
            root: root.to_owned(),
            account: None,
            sandbox: None,
        };
        fs::create_dir_all(cell.home()).unwrap();
        cell
    }

    fn copied_sign_in(cell: &Cell) -> PathBuf {
        cell.home().join(".claude").join(SIGN_IN_FILE)
    }

    /// A sign-in that is identified by `word`.
    fn sign_in(word: &str) -> String {
        format!("{{\"word\":\"{word}\"}}")
    }

    #[test]
    fn sign_in_is_copied_and_readable_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join(SIGN_IN_FILE);
        fs::write(&source, sign_in("first")).unwrap();
        let cell = cell(&dir.path().join("cell"));
        cell.sign_in(dir.path());
        assert_eq!(
            fs::read_to_string(copied_sign_in(&cell)).unwrap(),
            sign_in("first")
        );
        let mode = fs::metadata(copied_sign_in(&cell))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn renewed_sign_in_stays_until_another_is_provided() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join(SIGN_IN_FILE);
        fs::write(&source, sign_in("first")).unwrap();
        let cell = cell(&dir.path().join("cell"));
        cell.sign_in(dir.path());
        fs::write(copied_sign_in(&cell), sign_in("renewed")).unwrap();
        // Mounted again, as by a restart in Kubernetes: a newer file with the same content.
        fs::write(&source, sign_in("first")).unwrap();
        cell.sign_in(dir.path());
        assert_eq!(
            fs::read_to_string(copied_sign_in(&cell)).unwrap(),
            sign_in("renewed")
        );
        fs::write(&source, sign_in("second")).unwrap();
        cell.sign_in(dir.path());
        assert_eq!(
            fs::read_to_string(copied_sign_in(&cell)).unwrap(),
            sign_in("second")
        );
        fs::remove_file(copied_sign_in(&cell)).unwrap();
        cell.sign_in(dir.path());
        assert_eq!(
            fs::read_to_string(copied_sign_in(&cell)).unwrap(),
            sign_in("second")
        );
    }

    #[test]
    fn missing_sign_in_does_not_change_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        let cell = cell(dir.path());
        fs::create_dir_all(copied_sign_in(&cell).parent().unwrap()).unwrap();
        fs::write(copied_sign_in(&cell), "own").unwrap();
        cell.sign_in(&dir.path().join("nowhere"));
        assert_eq!(fs::read_to_string(copied_sign_in(&cell)).unwrap(), "own");
    }
}
