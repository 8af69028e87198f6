//! Pins the host keys of a machine, which were read on the machine itself, in the known-hosts file.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::error::{Result, file};
use super::key_line::PublicHalf;

/// The key types that the SSH client supports; with others it would refuse the file.
const SUPPORTED_KEY_TYPES: [&str; 4] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
];

/// The keys that can be pinned.
pub(crate) fn usable(keys: &[PublicHalf]) -> Vec<PublicHalf> {
    let known = |key: &&PublicHalf| SUPPORTED_KEY_TYPES.contains(&key.kind.as_str());
    keys.iter().filter(known).cloned().collect()
}

/// The text with exactly these keys for `name`. Lines of other names, lists and hashes stay unchanged.
pub(crate) fn pinned(text: &str, name: &str, keys: &[PublicHalf]) -> String {
    let mut missing: Vec<&PublicHalf> = keys.iter().collect();
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut words = line.splitn(2, [' ', '\t']);
        if words.next() != Some(name) {
            kept.push_str(line);
            continue;
        }
        let key = words.next().and_then(PublicHalf::parse);
        if let Some(at) = missing
            .iter()
            .position(|wanted| Some(*wanted) == key.as_ref())
        {
            missing.remove(at);
            kept.push_str(line);
        }
    }
    for key in missing {
        if !kept.is_empty() && !kept.ends_with('\n') {
            kept.push('\n');
        }
        kept.push_str(&format!("{name} {} {}\n", key.kind, key.blob));
    }
    kept
}

/// The file's text; empty if the file does not exist.
pub(crate) fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(file(path, "read")),
    }
}

/// Replaces the file's content atomically. Its owner and mode are kept; a new file is readable only for its owner.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let failed = file(path, "written");
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(&failed)?;
    // A symbolic link is kept; the file that it leads to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().unwrap_or(dir);
    let write = || {
        let mut new = tempfile::NamedTempFile::new_in(dir)?;
        new.write_all(text.as_bytes())?;
        copy_permissions(new.as_file(), &path)?;
        new.as_file().sync_all()?;
        new.persist(&path).map_err(|error| error.error)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(&failed)
}

/// Gives a new file the owner and mode of the file at `path`, which it will replace.
pub(crate) fn copy_permissions(new: &fs::File, path: &Path) -> io::Result<()> {
    let Ok(old) = fs::metadata(path) else {
        return Ok(());
    };
    let current = new.metadata()?;
    if (current.uid(), current.gid()) != (old.uid(), old.gid()) {
        std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(tail: &str) -> PublicHalf {
        PublicHalf::parse(&format!("ssh-ed25519 AAAA{tail}")).unwrap()
    }

    const NAME: &str = "[192.0.2.1]:2222";

    proptest! {
        #[test]
        fn other_lines_stay_and_a_second_run_changes_nothing(
            lines in proptest::collection::vec(
                prop_oneof![
                    "[ -~]{0,60}",
                    Just("192.0.2.1 ssh-ed25519 AAAAother".to_owned()),
                    Just(format!("{NAME} ssh-ed25519 AAAAstale")),
                    Just(format!("{NAME} ssh-ed25519 AAAAone")),
                    Just(format!("a,{NAME} ssh-ed25519 AAAAstale")),
                ],
                0..8,
            ),
            ended: bool,
        ) {
            let mut text = lines.join("\n");
            if ended && !text.is_empty() {
                text.push('\n');
            }
            let keys = [key("one"), key("two")];
            let once = pinned(&text, NAME, &keys);
            prop_assert_eq!(&pinned(&once, NAME, &keys), &once);
            let of = |text: &str, ours: bool| -> Vec<String> {
                let lines = text.lines().filter(|line| line.starts_with(&format!("{NAME} ")) == ours);
                lines.map(str::to_owned).filter(|line| !line.is_empty()).collect()
            };
            prop_assert_eq!(of(&once, false), of(&text, false));
            let mut ours = of(&once, true);
            ours.sort_unstable();
            prop_assert_eq!(ours, [format!("{NAME} ssh-ed25519 AAAAone"), format!("{NAME} ssh-ed25519 AAAAtwo")]);
        }
    }

    #[test]
    fn replaced_file_keeps_its_mode_and_new_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/known_hosts");
        replace(&path, "one\n").unwrap();
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, "two\n").unwrap();
        assert_eq!(
            (mode(), fs::read_to_string(&path).unwrap().as_str()),
            (0o644, "two\n")
        );
    }
}
