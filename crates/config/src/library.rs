//! `agent.library`: the folder of runbooks that the agent reads. It must be readable for the agent, and must
//! not overlap with anything that is hidden from it.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use breakglass_agent::{Account, act_as};
use breakglass_model::visible;

use super::error::Problems;
use super::reader::{SectionReader, Setting};
use super::types::AgentConfig;

/// The problem and its remedy.
type Refusal = (String, String);

/// Directories with devices, processes and kernel settings, which are never a library.
const SYSTEM_DIRS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Reads `library`. [`check_noted`] checks it, once all secrets are known.
pub(crate) fn library(section: &mut SectionReader<'_>) -> Option<PathBuf> {
    let Setting { value, origin, key } = section.path_value("library")?;
    section.problems().library = Some((origin, key, value.clone()));
    Some(value)
}

/// Reports a library that the agent cannot read, or that overlaps with hidden files.
pub(crate) fn check_noted(
    agent: Option<&AgentConfig>,
    data_dir: &Path,
    source: Option<PathBuf>,
    problems: &mut Problems,
) {
    let Some((origin, key, library)) = problems.library.take() else {
        return;
    };
    if agent.is_some_and(|agent| agent.runner.is_some()) {
        return;
    }
    let secrets = problems.secrets.iter().map(|(_, _, path)| path.clone());
    let sign_in = agent.and_then(|agent| agent.credentials_dir.clone());
    let hidden: Vec<PathBuf> = secrets
        .chain(sign_in)
        .chain(source)
        .chain([data_dir.to_owned()])
        .collect();
    let user = agent.and_then(|agent| agent.user);
    if let Err((problem, remedy)) = check_library(&library, user, &hidden) {
        problems.error(&origin, &key, problem, remedy);
    }
}

/// Checks that `user` (or this process's account) can read the folder `library`, and that it neither contains
/// nor lies in one of the `hidden` files and directories.
///
/// # Errors
/// The problem and its remedy.
pub fn check_library(
    library: &Path,
    user: Option<Account>,
    hidden: &[PathBuf],
) -> Result<(), Refusal> {
    let shown = library.display();
    let refuse = |problem: String, remedy: &str| Err((problem, remedy.to_owned()));
    if !library.is_absolute() || !is_plain(library) {
        let remedy = "write its absolute path, as in \"/etc/breakglass/library\"";
        return refuse(
            format!("{shown:?} is not an absolute path of visible characters"),
            remedy,
        );
    }
    let read = || {
        fs::read_dir(library)?;
        // Permission to list the names is not enough: the files must be reachable too.
        fs::metadata(library.join(".")).map(drop)
    };
    if let Err(error) = act_as(user, read) {
        let account = user.map_or_else(String::new, |user| format!(" by uid {}", user.uid));
        let remedy = "create the folder, and make it and every directory above it readable for the \
                      agent's account (chmod o+rx)";
        return refuse(format!("{shown} can't be read{account}: {error}"), remedy);
    }
    let own = resolved(library);
    let system = SYSTEM_DIRS.map(PathBuf::from);
    let how = hidden.iter().chain(&system).find_map(|path| {
        let how = overlap(&own, path)?;
        Some(format!("{shown} {how} {}", path.display()))
    });
    let Some(how) = how else {
        return Ok(());
    };
    let remedy = "keep the runbooks in a separate folder";
    refuse(format!("{how}, which the agent must not read"), remedy)
}

/// How the folder `library` and a hidden path overlap, as a verb; `None` if they do not.
fn overlap(library: &Path, hidden: &Path) -> Option<&'static str> {
    let paths = both_paths(hidden);
    if paths.iter().any(|path| library.starts_with(path)) {
        return Some("lies in");
    }
    let contains = paths.iter().any(|path| path.starts_with(library));
    contains.then_some("contains")
}

/// Whether the path can be quoted in the agent's instructions.
fn is_plain(path: &Path) -> bool {
    let text = path.to_str();
    text.is_some_and(|text| !text.contains(['`', '\n', '\t']) && visible(text) == text)
}

/// The file that a path leads to, and the path itself with only its directory resolved.
fn both_paths(path: &Path) -> Vec<PathBuf> {
    let named = path.parent().zip(path.file_name());
    let named = named.map(|(parent, name)| resolved(parent).join(name));
    [resolved(path)].into_iter().chain(named).collect()
}

/// The path without symbolic links; it need not exist.
fn resolved(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or_else(|_| {
        let named = path.parent().zip(path.file_name());
        named.map_or_else(
            || path.clone(),
            |(parent, name)| resolved(parent).join(name),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn library_must_be_an_absolute_readable_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("library"), dir.path().join("file"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "x").unwrap();
        assert_eq!(check_library(&folder, None, &[]), Ok(()));
        let odd = dir.path().join("a`b");
        fs::create_dir(&odd).unwrap();
        for (path, part) in [
            (Path::new("library"), "not an absolute path"),
            (&odd, "not an absolute path"),
            (&dir.path().join("missing"), "can't be read: No such file"),
            (&file, "can't be read: Not a directory"),
        ] {
            let (problem, remedy) = check_library(path, None, &[]).unwrap_err();
            assert!(problem.contains(part), "{problem}");
            assert!(!remedy.is_empty());
        }
    }

    #[test]
    fn library_may_not_overlap_with_hidden_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["etc/library", "data/runbooks", "vault/..1"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("vault/..1/key"), "k").unwrap();
        fs::write(at("etc/config.toml"), "c").unwrap();
        // As Kubernetes mounts a secret, and through a symbolic link to it.
        symlink("..1/key", at("vault/key")).unwrap();
        symlink(at("vault"), at("elsewhere")).unwrap();
        symlink(at("vault/key"), at("etc/library/key")).unwrap();
        let hidden = [
            at("data"),
            at("vault/key"),
            at("etc/config.toml"),
            at("later/data"),
        ];
        assert_eq!(check_library(&at("etc/library"), None, &hidden), Ok(()));
        let named = [at("etc/library/key")];
        assert!(check_library(&at("etc/library"), None, &named).is_err());
        for name in [
            "",
            "data",
            "data/runbooks",
            "vault",
            "vault/..1",
            "elsewhere",
            "etc",
        ] {
            let refused = check_library(&at(name), None, &hidden);
            let (problem, _) = refused.expect_err(name);
            let how = if name.starts_with("data") {
                " lies in "
            } else {
                " contains "
            };
            assert!(problem.contains(how), "{problem}");
        }
        for system in ["/", "/dev", "/dev/pts", "/proc/self", "/sys"] {
            assert!(
                check_library(Path::new(system), None, &[]).is_err(),
                "{system}"
            );
        }
    }
}
