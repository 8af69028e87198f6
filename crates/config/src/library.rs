//! The folder of runbooks that the agent reads.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use breakglass_agent::{Account, act_as};
use breakglass_model::visible;

use super::error::Report;
use super::section::{Found, Section};
use super::types::AgentConfig;

/// A problem and its remedy.
type Refusal = (String, String);

/// What is never a folder of runbooks: disks, processes and the kernel's settings are there.
const SYSTEM: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Reads `library`; it is checked by [`keep_apart`], once every secret is known.
pub(crate) fn library(section: &mut Section<'_>) -> Option<PathBuf> {
    let Found { value, origin, key } = section.path_value("library")?;
    section.report().library = Some((origin, key, value.clone()));
    Some(value)
}

/// Refuses a library that the agent can't read, or by which it would read what is kept from it.
pub(crate) fn keep_apart(
    agent: Option<&AgentConfig>,
    data_dir: &Path,
    source: Option<PathBuf>,
    report: &mut Report,
) {
    let Some((origin, key, library)) = report.library.take() else {
        return;
    };
    if agent.is_some_and(|agent| agent.runner.is_some()) {
        return;
    }
    let secrets = report.secrets.iter().map(|(_, _, path)| path.clone());
    let sign_in = agent.and_then(|agent| agent.credentials_dir.clone());
    let kept: Vec<PathBuf> = secrets
        .chain(sign_in)
        .chain(source)
        .chain([data_dir.to_owned()])
        .collect();
    let user = agent.and_then(|agent| agent.user);
    if let Err((problem, remedy)) = check_library(&library, user, &kept) {
        report.error(&origin, &key, problem, remedy);
    }
}

/// Whether `library` is a folder that `user` (or this process's account) reads, and that has nothing to
/// do with what is `kept` from it: files, and directories with all that is in them.
///
/// # Errors
/// A problem and its remedy.
pub fn check_library(
    library: &Path,
    user: Option<Account>,
    kept: &[PathBuf],
) -> Result<(), Refusal> {
    let shown = library.display();
    let refuse = |problem: String, remedy: &str| Err((problem, remedy.to_owned()));
    if !library.is_absolute() || !is_plain(library) {
        let remedy = "write its whole path, as in \"/etc/breakglass/library\"";
        return refuse(
            format!("{shown:?} is no absolute path that can be shown"),
            remedy,
        );
    }
    let look = || {
        fs::read_dir(library)?;
        // Names alone are of no use: what is in it has to be reached.
        fs::metadata(library.join(".")).map(drop)
    };
    if let Err(error) = act_as(user, look) {
        let who = user.map_or_else(String::new, |user| format!(" by uid {}", user.uid));
        let remedy = "create the folder, and open it and every directory above it to the agent's \
                      account (chmod o+rx)";
        return refuse(format!("{shown} can't be read{who}: {error}"), remedy);
    }
    let own = real(library);
    let system = SYSTEM.map(PathBuf::from);
    let how = kept.iter().chain(&system).find_map(|path| {
        let how = between(&own, path)?;
        Some(format!("{shown} {how} {}", path.display()))
    });
    let Some(how) = how else {
        return Ok(());
    };
    let remedy = "keep the runbooks in a folder of their own, apart from it";
    refuse(
        format!("{how}, which the agent is not to read by it"),
        remedy,
    )
}

/// How the folder `own` and a kept path meet, as a verb; none where they don't.
fn between(own: &Path, kept: &Path) -> Option<&'static str> {
    let places = places(kept);
    if places.iter().any(|it| own.starts_with(it)) {
        return Some("lies in");
    }
    let holds = places.iter().any(|it| it.starts_with(own));
    holds.then_some("holds")
}

/// Whether the agent's instructions can name it.
fn is_plain(path: &Path) -> bool {
    let text = path.to_str();
    text.is_some_and(|text| !text.contains(['`', '\n', '\t']) && visible(text) == text)
}

/// Where a path leads, and where its own name stands.
fn places(path: &Path) -> Vec<PathBuf> {
    let named = path.parent().zip(path.file_name());
    let named = named.map(|(parent, name)| real(parent).join(name));
    [real(path)].into_iter().chain(named).collect()
}

/// The path without links, also of what is not there yet.
fn real(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or_else(|_| {
        let named = path.parent().zip(path.file_name());
        named.map_or_else(|| path.clone(), |(parent, name)| real(parent).join(name))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_library_is_an_absolute_folder_that_can_be_read_and_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("library"), dir.path().join("file"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "x").unwrap();
        assert_eq!(check_library(&folder, None, &[]), Ok(()));
        let odd = dir.path().join("a`b");
        fs::create_dir(&odd).unwrap();
        for (path, part) in [
            (Path::new("library"), "no absolute path"),
            (&odd, "no absolute path"),
            (&dir.path().join("missing"), "can't be read: No such file"),
            (&file, "can't be read: Not a directory"),
        ] {
            let (problem, remedy) = check_library(path, None, &[]).unwrap_err();
            assert!(problem.contains(part), "{problem}");
            assert!(!remedy.is_empty());
        }
    }

    #[test]
    fn a_library_holds_nothing_that_is_kept_and_lies_in_nothing_that_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["etc/library", "data/runbooks", "vault/..1"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("vault/..1/key"), "k").unwrap();
        fs::write(at("etc/config.toml"), "c").unwrap();
        // As a cluster mounts it, and by a name that leads there.
        symlink("..1/key", at("vault/key")).unwrap();
        symlink(at("vault"), at("elsewhere")).unwrap();
        symlink(at("vault/key"), at("etc/library/key")).unwrap();
        let kept = [
            at("data"),
            at("vault/key"),
            at("etc/config.toml"),
            at("later/data"),
        ];
        assert_eq!(check_library(&at("etc/library"), None, &kept), Ok(()));
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
            let refused = check_library(&at(name), None, &kept);
            let (problem, _) = refused.expect_err(name);
            let how = if name.starts_with("data") {
                " lies in "
            } else {
                " holds "
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
