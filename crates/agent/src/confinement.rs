//! The confinement of an agent that has no sandbox: Landlock rules for the thread that starts the CLI, which
//! all its children inherit, whatever their account.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

/// The newest Landlock version whose rights are known here; an older kernel applies those that it has.
const LANDLOCK_ABI: ABI = ABI::V6;
/// The accessible part of `/dev`, which also holds the disks; these devices may be written.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];
/// Read-only: a shared writable mapping of it is memory that belongs to no process.
const DEV_ZERO: &str = "/dev/zero";

/// What the CLI may do with files besides reading and executing what its account can. A kernel without Landlock
/// does not enforce it; the server logs that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Files and directories that it can't read, nor anything in them.
    pub private: Vec<PathBuf>,
    /// Exceptions in private directories, which it can read.
    pub readable: Vec<PathBuf>,
    /// Directories that it may change, besides devices.
    pub writable: Vec<PathBuf>,
}

/// Confines the calling thread for good. It reads and executes what is not private, changes what is writable,
/// and sends signals only within the confinement. `/proc` is not writable: root's kernel settings need no
/// capability. File names stay visible. Returns false if the kernel has no Landlock.
///
/// # Errors
/// The kernel's error.
pub(crate) fn confine_thread(confinement: &Confinement) -> io::Result<bool> {
    let private: Vec<PathBuf> = confinement
        .private
        .iter()
        // A missing path can't be read; whatever replaces it later is in a directory that is split.
        .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()))
        .chain(confinement.private.iter().cloned())
        .chain([PathBuf::from("/dev")])
        .collect();
    restrict(&private, confinement).map_err(io::Error::other)
}

fn restrict(private: &[PathBuf], confinement: &Confinement) -> Result<bool, RulesetError> {
    let everything = AccessFs::from_all(LANDLOCK_ABI);
    let mut rules = Ruleset::default()
        .handle_access(everything)?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    rules = allow(rules, Path::new("/"), AccessFs::ReadDir.into())?;
    rules = allow_around(rules, Path::new("/"), private)?;
    let readable = confinement.readable.iter().map(PathBuf::as_path);
    for path in readable.chain([Path::new(DEV_ZERO)]) {
        rules = allow(rules, path, AccessFs::from_read(LANDLOCK_ABI))?;
    }
    let writable = confinement.writable.iter().map(PathBuf::as_path);
    for path in writable.chain(DEVICES.iter().map(Path::new)) {
        rules = allow(rules, path, everything)?;
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Rules that isolate one child from all others with such rules, whatever their accounts: neither can trace the
/// other, read its memory or environment, take a descriptor from it or send it a signal. Beyond that they only
/// forbid making devices, which no child may anyway. None if the kernel has no Landlock.
pub(crate) fn isolation_rules() -> Option<OwnedFd> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::MakeBlock)
        .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK_ABI)))
        .and_then(Ruleset::create);
    rules.ok().and_then(Option::from)
}

/// Allows reading and executing everything below `dir` that is not private. A directory that contains something
/// private is split into its entries.
fn allow_around(
    mut rules: RulesetCreated,
    dir: &Path,
    private: &[PathBuf],
) -> Result<RulesetCreated, RulesetError> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if private.contains(&path) || path.is_symlink() {
            // A link needs no rule: its target's rule counts.
            continue;
        }
        rules = if private.iter().any(|private| private.starts_with(&path)) {
            allow_around(rules, &path, private)?
        } else {
            allow(rules, &path, AccessFs::from_read(LANDLOCK_ABI))?
        };
    }
    Ok(rules)
}

/// Does nothing for a path that can't be opened at all.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(LANDLOCK_ABI)
    };
    rules.add_rule(PathBeneath::new(opened, access))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Whether a confined thread can read and write each of `paths`.
    fn access_within(confinement: &Confinement, paths: &[PathBuf]) -> Vec<(bool, bool)> {
        thread::scope(|scope| {
            let confined = scope.spawn(|| {
                assert!(
                    confine_thread(confinement).unwrap(),
                    "this kernel has no Landlock: use one of 5.13 or newer, with lsm=landlock"
                );
                let access = |path: &PathBuf| {
                    let writable = fs::OpenOptions::new().append(true).open(path).is_ok();
                    (fs::read(path).is_ok(), writable)
                };
                paths.iter().map(access).collect()
            });
            confined.join().unwrap()
        })
    }

    #[test]
    fn private_files_are_not_read_and_only_writable_directories_are_changed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["data/cell/home", "secrets/..1", "other"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let files = [
            "data/record",
            "secrets/..1/token",
            "other/file",
            "data/cell/home/own",
            "data/cell/ssh_config",
        ];
        for name in files {
            fs::write(at(name), name).unwrap();
        }
        // As Kubernetes mounts a secret.
        std::os::unix::fs::symlink("..1/token", at("secrets/token")).unwrap();
        let confinement = Confinement {
            private: vec![at("data"), at("secrets/token"), at("not/there")],
            readable: vec![at("data/cell")],
            writable: vec![at("data/cell/home")],
        };
        let mut paths = files.map(at).to_vec();
        paths.push(at("secrets/token"));
        paths.extend(["/etc/passwd", "/dev/null"].map(PathBuf::from));
        let seen = access_within(&confinement, &paths);
        assert_eq!(
            seen,
            [
                (false, false),
                (false, false),
                (true, false),
                (true, true),
                (true, false),
                (false, false),
                (true, false),
                (true, true),
            ]
        );
    }
}
