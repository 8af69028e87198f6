//! The agent's cell: what it is given to reach guest and host with, and nothing more.
//!
//! ```text
//! <data_dir>/cell/          0700; 0711 where the agent has an account of its own
//!   bin/ssh bin/scp …       shims: the stock client, always with the configuration below
//!   ssh_config known_hosts  everything goes to the bastion, which is known by its key
//!   home/ work/             the CLI's home and working directory: its account's, and private
//!   lock                    held by the server whose cell it is
//!   sign-in.seen            the sign-in that was copied last
//! ```
//! OpenSSH reads its configuration from the account's home, not from `$HOME`; hence the shims.
//! What the agent only reads is the server's own; what lies in its home the server touches with the
//! agent's rights alone.

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
use crate::sandbox::{self, Found};
use crate::ssh::client_config;

/// By what programs know a proxy.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
/// Where the CLI keeps its sign-in, in its own directory.
const SIGN_IN: &str = ".credentials.json";

/// The paths of a cell that stands.
#[derive(Debug, Clone)]
pub struct Cell {
    root: PathBuf,
    /// Whose the CLI's own directories are, where that is not the server's account.
    account: Option<Account>,
    /// How its sandbox is made; none for a cell that is only confined.
    found: Option<Found>,
}

impl Cell {
    /// Lays the claude CLI's cell out under `config.data_dir`, anew each time; `bastion` is the line by which
    /// the bastion's key is known.
    ///
    /// # Errors
    /// When a directory or file of it can't be written.
    pub fn build(config: &Config, bastion: &str, kind: &Kind) -> io::Result<Cell> {
        let cell = Cell::build_at(config, "cell", bastion, kind)?;
        if let Some(source) = &config.agent.credentials_dir {
            cell.sign_in(source);
        }
        Ok(cell)
    }

    /// The same for the agent of `[[agents]]` that is called `name`.
    ///
    /// # Errors
    /// Like [`Cell::build`].
    pub fn build_for(name: &str, config: &Config, bastion: &str, kind: &Kind) -> io::Result<Cell> {
        Cell::build_at(config, &format!("cell-{name}"), bastion, kind)
    }

    fn build_at(config: &Config, directory: &str, bastion: &str, kind: &Kind) -> io::Result<Cell> {
        let found = kind.sandbox().cloned();
        let cell = Cell::lay_out(config.data_dir.join(directory), config.agent.user, found)?;
        cell.write_ssh_files(bastion)?;
        Ok(cell)
    }

    /// Makes its directories below `root`, which `account` is to live in, and its shims.
    ///
    /// # Errors
    /// When a directory or file of it can't be written, or not be reached by the account.
    pub fn lay_out(
        root: PathBuf,
        account: Option<Account>,
        found: Option<Found>,
    ) -> io::Result<Cell> {
        let account = match &found {
            Some(found) => found.account.or(found.maker),
            None => account,
        };
        let cell = Cell {
            root,
            account,
            found,
        };
        for dir in [
            &cell.root,
            &cell.shown(),
            &cell.shown().join("bin"),
            &cell.own(),
        ] {
            private_dir(dir)?;
        }
        if account.is_some() && !cell.is_roots() {
            set_mode(&cell.root, 0o711)?;
            set_mode(&cell.own(), 0o711)?;
        }
        if account.is_some() || cell.found.is_some() {
            set_mode(&cell.shown().join("bin"), 0o755)?;
        }
        if let Some(found) = &cell.found {
            set_mode(&cell.shown(), 0o755)?;
            found.write_settings(&cell.shown())?;
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
        if !cell.is_roots() {
            cell.is_reachable()?;
        }
        Ok(cell)
    }

    /// Writes how the CLI's SSH client reaches guest and host, who are known by the line `bastion`.
    ///
    /// # Errors
    /// What the file system says.
    fn write_ssh_files(&self, bastion: &str) -> io::Result<()> {
        let program = std::env::current_exe()?;
        let (cell, program) = match &self.found {
            Some(_) => (Path::new(sandbox::CELL), Path::new(sandbox::PROGRAM)),
            None => (self.root.as_path(), program.as_path()),
        };
        let files = SshFiles {
            cell,
            program,
            config: &client_config(),
            known_hosts: bastion,
        };
        write_ssh_files(&self.shown(), files)
    }

    /// Root makes its sandbox, so that its account need not get there from outside.
    fn is_roots(&self) -> bool {
        self.found
            .as_ref()
            .is_some_and(|found| found.account.is_some())
    }

    /// Makes `dir` the CLI's own. What another account has left there stays as it is, since it
    /// might be more than a cell.
    fn give(&self, dir: &Path) -> io::Result<()> {
        let owner = fs::symlink_metadata(dir)?.uid();
        let wanted = self.account.map_or_else(
            || rustix::process::geteuid().as_raw(),
            |account| account.uid,
        );
        if owner == wanted {
            return Ok(());
        }
        if fs::read_dir(dir)?.next().is_some() {
            let dir = dir.display();
            return Err(io::Error::other(format!(
                "{dir} belongs to uid {owner} and not to uid {wanted}, who is to live there: chown \
                 -R {wanted} {dir}, or remove it"
            )));
        }
        match self.account {
            Some(account) => account.own(dir, 0o700),
            None => std::os::unix::fs::lchown(dir, Some(wanted), None),
        }
    }

    fn is_reachable(&self) -> io::Result<()> {
        let (home, work) = (self.home(), self.work());
        act_as(self.account, || {
            fs::read_dir(&home)?;
            fs::read_dir(&work).map(drop)
        })
        .map_err(|error| {
            let uid = self.account.map_or(0, |account| account.uid);
            io::Error::other(format!(
                "uid {uid}, who is to live in it, can't get there: {error}; every directory above \
                 has to be open to it (chmod o+x)"
            ))
        })
    }

    /// The CLI changes nothing but what is its own, and reads nothing that is the server's: neither
    /// what is `private` nor what is beside the cell.
    fn confinement(&self, private: &[PathBuf]) -> Confinement {
        let beside = self.root.parent().map(Path::to_owned);
        Confinement {
            private: private.iter().cloned().chain(beside).collect(),
            readable: vec![self.root.clone()],
            writable: vec![self.home(), self.work()],
        }
    }

    /// How a CLI is started that lives here, and that is to read none of the `private` files.
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
        match &self.found {
            // A sandbox can't be made by a confined thread.
            Some(found) => {
                options.account = found.maker;
                options.sandbox = Some(found.sandbox(self.shown(), Vec::new())?);
            }
            None => {
                options.account = self.account;
                options.confinement = Some(self.confinement(private));
            }
        }
        options.env = self.environment();
        // What the CLI needs to reach its model: the one secret that is the agent's own.
        let key = api_key.map(|key| ("ANTHROPIC_API_KEY", key.expose_secret()));
        let url = base_url.map(|url| ("ANTHROPIC_BASE_URL", url));
        let model = key.into_iter().chain(url);
        let model = model.map(|(name, value)| (name.to_owned(), value.to_owned()));
        options.env.extend(model);
        Ok(options)
    }

    /// Gives the CLI the sign-in in `source`, unless it has that one: it renews its own copy from
    /// time to time, and what it was renewed from may be void then. Without a sign-in the agent
    /// says so itself, and power works on.
    pub fn sign_in(&self, source: &Path) {
        let source = source.join(SIGN_IN);
        if let Err(error) = self.copy_sign_in(&source) {
            let source = source.display();
            tracing::error!(%error, %source, "the agent's sign-in can't be copied into its cell");
        }
    }

    fn copy_sign_in(&self, source: &Path) -> io::Result<()> {
        let offered = fs::read(source)?;
        let seen = self.root.join("sign-in.seen");
        let has_it = fs::read(&seen).is_ok_and(|seen| seen == offered);
        let access = match &self.found {
            Some(found) => CellAccess {
                rights: found.maker,
                owner: found.account,
            },
            None => CellAccess {
                rights: self.account,
                owner: None,
            },
        };
        write_login(&self.home(), access, &offered, !has_it)?;
        write_private(&seen, &offered)
    }

    /// Empties the CLI's own directories, with the CLI's rights.
    pub fn clear(&self) {
        let own = [self.home(), self.work()];
        let cleared = act_as(self.account, || {
            // The directories themselves are in the server's, and go with that.
            own.iter().for_each(|dir| drop(fs::remove_dir_all(dir)));
            Ok(())
        });
        if let Err(error) = cleared {
            tracing::debug!(%error, "a cell was not emptied");
        }
    }

    /// Where it stands.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the CLI is shown and only reads.
    fn shown(&self) -> PathBuf {
        match self.found {
            Some(_) => self.root.join("shown"),
            None => self.root.clone(),
        }
    }

    /// What is its own.
    fn own(&self) -> PathBuf {
        match self.found {
            Some(_) => self.root.join("own"),
            None => self.root.clone(),
        }
    }

    fn home(&self) -> PathBuf {
        self.own().join("home")
    }

    fn work(&self) -> PathBuf {
        self.own().join("work")
    }

    /// The environment that the CLI gets, besides what its crate sets itself.
    fn environment(&self) -> Vec<(String, String)> {
        let root = match self.found {
            Some(_) => PathBuf::from(sandbox::CELL),
            None => self.root.clone(),
        };
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            root.join("bin").display()
        );
        let mut all = vec![
            ("PATH", path),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
            // What decides without asking reads a command as this shell does.
            ("CLAUDE_CODE_SHELL", "/bin/bash".to_owned()),
        ];
        if self.found.is_some() {
            let proxy = format!("http://{}", sandbox::MODEL_PROXY);
            all.extend(PROXIES.map(|name| (name, proxy.clone())));
        }
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn write_shim(&self, program: &str, real: &Path) -> io::Result<()> {
        let shim = self.shown().join("bin").join(program);
        let root = match self.found {
            Some(_) => Path::new(sandbox::CELL),
            None => self.root.as_path(),
        };
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
            found: None,
        };
        fs::create_dir_all(cell.home()).unwrap();
        cell
    }

    fn own(cell: &Cell) -> PathBuf {
        cell.home().join(".claude").join(SIGN_IN)
    }

    /// One that a word sets apart from others.
    fn sign_in(word: &str) -> String {
        format!("{{\"word\":\"{word}\"}}")
    }

    #[test]
    fn the_sign_in_is_copied_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join(SIGN_IN);
        fs::write(&source, sign_in("first")).unwrap();
        let cell = cell(&dir.path().join("cell"));
        cell.sign_in(dir.path());
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), sign_in("first"));
        let mode = fs::metadata(own(&cell)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_sign_in_that_the_cli_renewed_stays_until_another_is_offered() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join(SIGN_IN);
        fs::write(&source, sign_in("first")).unwrap();
        let cell = cell(&dir.path().join("cell"));
        cell.sign_in(dir.path());
        fs::write(own(&cell), sign_in("renewed")).unwrap();
        // Mounted anew, as by a restart in a cluster: newer by its time, and the same.
        fs::write(&source, sign_in("first")).unwrap();
        cell.sign_in(dir.path());
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), sign_in("renewed"));
        fs::write(&source, sign_in("second")).unwrap();
        cell.sign_in(dir.path());
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), sign_in("second"));
        fs::remove_file(own(&cell)).unwrap();
        cell.sign_in(dir.path());
        assert_eq!(fs::read_to_string(own(&cell)).unwrap(), sign_in("second"));
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
