//! The drives in a guest's configuration on Proxmox, and the storages that they are on. Whether a
//! storage is online shows only at a start.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sections::section;
use crate::deadline::with_timeout;

/// Timeout for finding the files of the drives: a network storage may hang.
const FIND_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of drives to check.
const DRIVES_MAX: usize = 64;

/// The settings that a start would apply: the first section of the configuration `text`, changed by
/// the staged settings (`[PENDING]`), without snapshots.
pub(crate) fn effective(text: &str) -> Vec<(&str, &str)> {
    let section = |wanted: &'static str| {
        let mut name = "";
        text.lines().filter_map(move |line| {
            if line.starts_with('[') {
                name = line.trim();
            }
            let (key, value) = line.split_once(": ").filter(|_| name == wanted)?;
            (!key.starts_with('#')).then_some((key, value.trim()))
        })
    };
    let staged: Vec<(&str, &str)> = section("[PENDING]").collect();
    let removed = staged.iter().find(|(key, _)| *key == "delete");
    let is_removed = |key: &str| {
        removed.is_some_and(|(_, keys)| {
            keys.split(',')
                .any(|other| other.trim_start_matches('!') == key)
        })
    };
    let is_replaced = |key: &str| staged.iter().any(|(other, _)| *other == key);
    let kept = section("").filter(|(key, _)| !is_removed(key) && !is_replaced(key));
    let new = staged.iter().filter(|(key, _)| *key != "delete").copied();
    kept.chain(new).collect()
}

/// The drives of a configuration that are on a storage: the storage's name, and the volume in it.
pub(crate) fn drives<'a>(config: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    config
        .iter()
        .filter_map(|setting| drive(*setting))
        .collect()
}

/// Storage and volume in a setting such as `scsi0: local-lvm:vm-102-disk-0,size=32G`.
fn drive<'a>((key, value): (&str, &'a str)) -> Option<(&'a str, &'a str)> {
    let bus = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let buses = ["ide", "sata", "scsi", "virtio", "efidisk", "tpmstate"];
    let volume = value.split(',').next()?.trim();
    let (storage, volume) = volume
        .strip_prefix("file=")
        .unwrap_or(volume)
        .split_once(':')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_drive = key != bus && buses.contains(&bus) && storage.chars().all(is_name);
    is_drive.then_some((storage, volume))
}

/// Checks that `file`, which contains `definitions`, makes `storage` available on `node`.
///
/// # Errors
/// Why it does not, with the remedy.
pub(crate) fn check_storage(
    definitions: &str,
    file: &str,
    storage: &str,
    node: &str,
) -> Result<(), String> {
    let Some(settings) = section(definitions, |_, id| id == storage) else {
        // This one needs no definition.
        return match storage {
            "local" => Ok(()),
            _ => Err(format!(
                "its configuration names the storage {storage}, which {file} does not define; define \
                 it, or remove that drive from the configuration"
            )),
        };
    };
    let value = |key| settings.iter().find(|(name, _)| *name == key);
    if value("disable").is_some_and(|(_, value)| *value != "0") {
        return Err(format!(
            "its storage {storage} is disabled; run `pvesm set {storage} --disable 0` on the host"
        ));
    }
    match value("nodes") {
        Some((_, nodes)) if !nodes.split([',', ' ', ';']).any(|name| name == node) => Err(format!(
            "its storage {storage} is not for node {node}, only for {nodes}; correct `nodes` in {file}"
        )),
        _ => Ok(()),
    }
}

/// The first file of the drives that certainly does not exist: an image that was deleted while QEMU
/// has it open, an ISO that was removed.
pub(crate) fn missing_file(
    drives: &[(&str, &str)],
    definitions: &str,
    timeout: Duration,
) -> Option<PathBuf> {
    let files = drives
        .iter()
        .filter_map(|drive| volume_file(*drive, definitions));
    let files: Vec<VolumeFile> = files.take(DRIVES_MAX).collect();
    // On a network storage that hangs, even checking whether it is mounted does.
    let find = move || Ok(files.into_iter().find(VolumeFile::is_missing));
    let found = with_timeout(timeout.min(FIND_TIMEOUT), "the drives", find);
    found.ok().flatten().map(|volume| volume.path)
}

/// The file of a volume whose storage is a directory.
struct VolumeFile {
    path: PathBuf,
    /// The storage's directory.
    base: PathBuf,
    /// Whether a start mounts the storage first.
    is_mounted_by_start: bool,
}

impl VolumeFile {
    fn is_missing(&self) -> bool {
        let device = |path: &Path| fs::metadata(path).ok().map(|meta| meta.dev());
        let missing = |path: &Path| {
            fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        let is_mounted = || device(&self.base) != self.base.parent().and_then(device);
        self.base.is_dir() && (!self.is_mounted_by_start || is_mounted()) && missing(&self.path)
    }
}

/// The file of a volume; none if its storage is not a directory.
fn volume_file((storage, volume): (&str, &str), definitions: &str) -> Option<VolumeFile> {
    let of = |kind| section(definitions, |found, id| found == kind && id == storage);
    let (settings, is_mounted_by_start) = match of("dir") {
        Some(settings) => (settings, false),
        None => (of("nfs").or_else(|| of("cifs"))?, true),
    };
    let value = |key| settings.iter().find(|(name, _)| *name == key).map(|s| s.1);
    let default = || Path::new("/mnt/pve").join(storage);
    let base = value("path").map_or_else(default, PathBuf::from);
    // A start creates the cloud-init drive.
    let is_known = value("content-dirs").is_none() && !volume.contains("-cloudinit");
    let (first, name) = volume.split_once('/').filter(|_| is_known)?;
    let dir = match first {
        "iso" => base.join("template/iso"),
        id if id.bytes().all(|byte| byte.is_ascii_digit()) => base.join("images").join(id),
        _ => return None,
    };
    Some(VolumeFile {
        path: dir.join(name),
        base,
        is_mounted_by_start,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_those_on_a_storage_including_staged_ones() {
        let config = "args: -drive file=x:y\nscsi0: local-lvm:vm-102-disk-0,size=32G\n\
                      scsihw: virtio-scsi-pci\nide2: nas:iso/debian.iso,media=cdrom\n\
                      ide0: none,media=cdrom\nvirtio1: file=lab:vm-102-disk-1\n\
                      sata0: /dev/disk/by-id/a:b\nnet0: virtio=BC:24:11:00:00:01,bridge=vmbr0\n\
                      unused0: gone:vm-102-disk-7\nsata3: old:x\n\n\
                      [PENDING]\ndelete: sata3,cores\nide2: none,media=cdrom\nscsi1: new:x\n\n\
                      [before]\nscsi0: past:vm-102-disk-0\n";
        let expected = [
            ("local-lvm", "vm-102-disk-0"),
            ("lab", "vm-102-disk-1"),
            ("new", "x"),
        ];
        assert_eq!(drives(&effective(config)), expected);
    }

    #[test]
    fn only_a_file_that_certainly_does_not_exist_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let iso = dir.path().join("template/iso");
        fs::create_dir_all(&iso).unwrap();
        fs::write(iso.join("debian.iso"), "").unwrap();
        let definitions = format!(
            "dir: local\n\tpath {0}\n\nnfs: nas\n\tpath {0}\n\nlvm: lab\n\tvgname pve\n\n\
             dir: off\n\tpath {0}/nothing\n",
            dir.path().display()
        );
        let limit = Duration::from_secs(30);
        let find = |storage, volume| missing_file(&[(storage, volume)], &definitions, limit);
        assert_eq!(find("local", "iso/debian.iso"), None);
        let gone = iso.join("gone.iso");
        assert_eq!(find("local", "iso/gone.iso"), Some(gone));
        let image = dir.path().join("images/102/vm-102-disk-0.raw");
        assert_eq!(find("local", "102/vm-102-disk-0.raw"), Some(image));
        assert_eq!(find("local", "102/vm-102-cloudinit.qcow2"), None);
        // Not mounted, not a directory, does not exist, unknown.
        for storage in ["nas", "lab", "off", "other"] {
            assert_eq!(find(storage, "iso/gone.iso"), None, "{storage}");
        }
    }
}
