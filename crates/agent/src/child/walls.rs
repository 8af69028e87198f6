//! Landlock: what the thread that starts the CLI, and so all that it starts, may do with files,
//! whatever account it has.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use crate::options::Walls;

/// The newest form whose rights are known here; of an older kernel's, what there is of them.
const ABI_KNOWN: ABI = ABI::V6;
/// What is left of `/dev`, where root's agent would find the disks; each may be written.
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

/// To be read alone: what maps it to share and to write has memory that belongs to no process.
const ZEROES: &str = "/dev/zero";

/// Shuts the calling thread in for good: it reads and runs what is not private, changes what is
/// writable, and sends signals to what is in the same walls alone. Nothing of `/proc` is writable:
/// root's settings of the kernel need no capability. Names of files stay visible. False where the kernel has no Landlock.
///
/// # Errors
/// What the kernel says.
pub(crate) fn shut_in(walls: &Walls) -> io::Result<bool> {
    let private: Vec<PathBuf> = walls
        .private
        .iter()
        // What is not there can't be read; what replaces it later lies in a directory that is split.
        .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()))
        .chain(walls.private.iter().cloned())
        .chain([PathBuf::from("/dev")])
        .collect();
    restrict(&private, walls).map_err(io::Error::other)
}

fn restrict(private: &[PathBuf], walls: &Walls) -> Result<bool, RulesetError> {
    let everything = AccessFs::from_all(ABI_KNOWN);
    let mut rules = Ruleset::default()
        .handle_access(everything)?
        .scope(Scope::from_all(ABI_KNOWN))?
        .create()?;
    rules = allow(rules, Path::new("/"), AccessFs::ReadDir.into())?;
    rules = allow_around(rules, Path::new("/"), private)?;
    let readable = walls.readable.iter().map(PathBuf::as_path);
    for path in readable.chain([Path::new(ZEROES)]) {
        rules = allow(rules, path, AccessFs::from_read(ABI_KNOWN))?;
    }
    let devices = DEVICES.iter().map(Path::new);
    for path in walls.writable.iter().map(PathBuf::as_path).chain(devices) {
        rules = allow(rules, path, everything)?;
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Rules that keep one child apart from all others that were started with rules of their own, whatever
/// account they have: neither traces the other, reads its memory or environment, takes a descriptor of it
/// or sends it a signal. Nothing else is forbidden by them, besides making devices, which needs a
/// capability that no child has. None where the kernel has no Landlock.
pub(super) fn apart() -> Option<OwnedFd> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::MakeBlock)
        .and_then(|rules| rules.scope(Scope::from_all(ABI_KNOWN)))
        .and_then(Ruleset::create);
    rules.ok().and_then(Option::from)
}

/// Lets everything below `dir` be read and run, but not what is private: a directory above that is
/// split into what lies in it.
fn allow_around(
    mut rules: RulesetCreated,
    dir: &Path,
    private: &[PathBuf],
) -> Result<RulesetCreated, RulesetError> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if private.contains(&path) || path.is_symlink() {
            // A link needs no rule: where it leads to is what counts.
            continue;
        }
        rules = if private.iter().any(|private| private.starts_with(&path)) {
            allow_around(rules, &path, private)?
        } else {
            allow(rules, &path, AccessFs::from_read(ABI_KNOWN))?
        };
    }
    Ok(rules)
}

/// What can't be opened at all needs no rule.
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
        access & AccessFs::from_file(ABI_KNOWN)
    };
    rules.add_rule(PathBeneath::new(opened, access))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What a thread in these walls gets from each of `paths`: to read, and to write.
    fn within(walls: &Walls, paths: &[PathBuf]) -> Vec<(bool, bool)> {
        thread::scope(|scope| {
            let shut_in = scope.spawn(|| {
                assert!(
                    shut_in(walls).unwrap(),
                    "this kernel has no Landlock: use one of 5.13 or newer, with lsm=landlock"
                );
                let look = |path: &PathBuf| {
                    let written = fs::OpenOptions::new().append(true).open(path).is_ok();
                    (fs::read(path).is_ok(), written)
                };
                paths.iter().map(look).collect()
            });
            shut_in.join().unwrap()
        })
    }

    #[test]
    fn what_is_private_is_not_read_and_only_what_is_writable_is_changed() {
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
        // As a cluster mounts it.
        std::os::unix::fs::symlink("..1/token", at("secrets/token")).unwrap();
        let walls = Walls {
            private: vec![at("data"), at("secrets/token"), at("not/there")],
            readable: vec![at("data/cell")],
            writable: vec![at("data/cell/home")],
        };
        let mut paths = files.map(at).to_vec();
        paths.push(at("secrets/token"));
        paths.extend(["/etc/passwd", "/dev/null"].map(PathBuf::from));
        let seen = within(&walls, &paths);
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
