//! The policy file: what the operator, not the client, decides. Flat lines of `key = value`, a
//! small strict part of TOML.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::child::within;
use crate::file;

/// Where the policy is looked for, unless the authorized_keys line says `--policy FILE`.
pub(crate) const DEFAULT_PATH: &str = "/etc/breakglass/gate.toml";
/// A policy is a dozen lines; more is not one.
const LARGEST: u64 = 64 * 1024;
/// Longest wait for it.
const READ: Duration = Duration::from_secs(5);

/// A struct of values that the policy file may set by their names, each with its default.
macro_rules! keys {
    ($(#[$about:meta])* $name:ident of $type:ty { $($(#[$doc:meta])* $key:ident = $default:expr,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $key: $type,)* }

        impl Default for $name {
            fn default() -> $name {
                $name { $($key: $default.into(),)* }
            }
        }

        impl $name {
            fn slot(&mut self, key: &str) -> Option<&mut $type> {
                $(if key == stringify!($key) { return Some(&mut self.$key); })*
                None
            }
        }
    };
}

keys! {
    /// Where things are on the host; all absolute.
    Paths of PathBuf {
        /// Proxmox's tool.
        qm = "/usr/sbin/qm",
        /// libvirt's tool.
        virsh = "/usr/bin/virsh",
        /// Where Proxmox keeps `ID.pid` and the monitor's socket `ID.qmp`.
        run_dir = "/var/run/qemu-server",
        /// The control group that holds one `ID.scope` for each guest.
        cgroup_dir = "/sys/fs/cgroup/qemu.slice",
        /// Proxmox's cluster file system.
        pve_dir = "/etc/pve",
        /// Where libvirt keeps `DOMAIN.pid`, and what it knows of a running domain.
        libvirt_run_dir = "/run/libvirt/qemu",
        /// Where libvirt keeps the definitions of its domains.
        libvirt_config_dir = "/etc/libvirt/qemu",
        /// Where libvirt keeps what its QEMUs print.
        libvirt_log_dir = "/var/log/libvirt/qemu",
        /// Where Proxmox's tools lock each other out, by one file `lock-ID.conf` for each guest.
        lock_dir = "/var/lock/qemu-server",
        /// Proxmox's list of tasks.
        tasks = "/var/log/pve/tasks/active",
        /// What the guest's serial console printed, where QEMU is told to log it.
        serial_log = "/var/log/breakglass-serial.log",
        /// Where forensics are kept.
        forensics_dir = "/var/lib/breakglass/forensics",
        /// Where decisions are written down.
        journal_file = "/var/log/breakglass-gate.log",
        /// The socket of the host's syslog.
        syslog = "/dev/log",
        /// Where the run of a mutating verb is kept, in one directory for each guest.
        gate_dir = "/run/breakglass-gate",
    }
}

keys! {
    /// How long: every wait of the gate ends at one of these. In the policy file each name carries
    /// `_seconds`.
    Limits of Duration {
        /// A command that only asks (`qm pending`, a question to the monitor), and a reset.
        ask = Duration::from_secs(10),
        /// The clean stop, before the gate ends QEMU itself. Proxmox needs 80 s for one whose
        /// monitor is dead.
        stop = Duration::from_secs(100),
        /// A QEMU that was sent SIGTERM, before it is sent SIGKILL.
        terminate = Duration::from_secs(10),
        /// One start. Proxmox allows 30 s, or a second for each GiB of memory.
        start = Duration::from_secs(120),
        /// How long the evidence may take to show what a command said it had done.
        settle = Duration::from_secs(20),
        /// All forensics before a mutating verb together.
        forensics = Duration::from_secs(60),
        /// Between the two samples of the guest's disk counters, which tell a stall from a pause.
        sample_gap = Duration::from_secs(2),
    }
}

keys! {
    /// How much forensics is kept; the oldest bundles go first. In the policy file each name begins
    /// with `keep_`.
    Keep of u64 {
        /// Bundles.
        bundles = 100_u64,
        /// Their size together, in MiB.
        mib = 512_u64,
    }
}

/// Which hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Proxmox VE, through `qm`.
    #[default]
    Qm,
    /// libvirt, through `virsh`.
    Virsh,
}

/// Which guest, by which driver, where the gate keeps what it writes, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Which hypervisor.
    pub kind: Kind,
    /// The only guest, by the hypervisor's id.
    pub guest: String,
    /// The libvirt that it runs under, as a connection URI.
    pub connection: String,
    /// Where things are on the host.
    pub paths: Paths,
    /// How long the gate waits.
    pub limits: Limits,
    /// How much forensics is kept.
    pub keep: Keep,
}

/// Everything that is wrong with a policy file, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(pub Vec<String>);

impl Policy {
    /// Reads the policy from `path`, which nobody but its owner may be able to write: root, or the
    /// user that the gate runs as.
    ///
    /// # Errors
    /// Everything that is wrong, each sentence with the file, the line and a remedy.
    pub fn load(path: &Path) -> Result<Policy, PolicyError> {
        let name = path.display().to_string();
        let text = read(path).map_err(|why| PolicyError(vec![format!("{name} {why}")]))?;
        Policy::parse(&text, &name)
    }

    /// The policy that `text` says; `name` is the file's, for the errors.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn parse(text: &str, name: &str) -> Result<Policy, PolicyError> {
        let (mut policy, mut seen, mut errors) = (Policy::default(), Vec::new(), Vec::new());
        "qemu:///system".clone_into(&mut policy.connection);
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let result = match key.trim() {
                key if seen.contains(&key) => Err("given before; keep one of the two".to_owned()),
                key => policy.set(key, value.trim()),
            };
            let told = |why| format!("{name}, line {}: `{}`: {why}", index + 1, key.trim());
            errors.extend(result.err().map(told));
            seen.push(key.trim());
        }
        if ["ha_resources", "pve_dir"]
            .iter()
            .all(|key| seen.contains(key))
        {
            errors.push(format!(
                "{name}: `ha_resources` is an earlier name of what `pve_dir` says; remove it"
            ));
        }
        for (key, remedy) in [("driver", "\"qm\""), ("guest", "102")] {
            if !seen.contains(&key) {
                errors.push(format!(
                    "{name}: `{key}` is missing; add a line `{key} = {remedy}`"
                ));
            }
        }
        if policy.kind == Kind::Qm && policy.guest.contains(|c: char| !c.is_ascii_digit()) {
            errors.push(format!(
                "{name}: driver \"qm\" wants its `guest` as a number"
            ));
        }
        match errors.is_empty() {
            true => Ok(policy),
            false => Err(PolicyError(errors)),
        }
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        // A string in double quotes or a number, as JSON has them too; a comment may follow.
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let value = values.next().and_then(Result::ok).unwrap_or_default();
        let rest = text.get(values.byte_offset()..).unwrap_or_default().trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            return Err("write a \"string\" or a number, and nothing after it".to_owned());
        }
        let (word, number) = (value.as_str(), value.as_u64());
        let path = word
            .filter(|path| path.starts_with('/'))
            .ok_or("write an absolute path in quotes");
        let amount = number
            .filter(|n| *n <= 100_000)
            .ok_or("write a number of at most 100000");
        let (seconds, keep) = (key.strip_suffix("_seconds"), key.strip_prefix("keep_"));
        match (key, word) {
            ("driver", Some("qm")) => self.kind = Kind::Qm,
            ("driver", Some("virsh")) => self.kind = Kind::Virsh,
            ("driver", _) => return Err("the drivers are \"qm\" and \"virsh\"".to_owned()),
            ("guest", _) => self.guest = guest(word, number)?,
            ("connection", Some(uri)) if uri.starts_with("qemu") => {
                uri.clone_into(&mut self.connection);
            }
            ("connection", _) => {
                return Err("write one like \"qemu:///system\" in quotes".to_owned());
            }
            // The key of gates that read no other file of the cluster.
            ("ha_resources", _) => self.paths.pve_dir = beneath_ha(word)?,
            _ => {
                if let Some(slot) = self.paths.slot(key) {
                    *slot = path?.into();
                } else if let Some(slot) = seconds.and_then(|key| self.limits.slot(key)) {
                    *slot = Duration::from_secs(amount?);
                } else if let Some(slot) = keep.and_then(|key| self.keep.slot(key)) {
                    *slot = amount?;
                } else {
                    return Err("no such key; docs/gate.md lists them".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// The directory that holds `ha/resources.cfg`, from the path of that file.
fn beneath_ha(word: Option<&str>) -> Result<PathBuf, String> {
    let dir = word.and_then(|path| path.strip_suffix("/ha/resources.cfg"));
    dir.filter(|dir| dir.starts_with('/')).map(PathBuf::from).ok_or_else(|| {
        "this key is now `pve_dir`, and more files are read there; write `pve_dir = \"/etc/pve\"` in \
         its place"
            .to_owned()
    })
}

/// A number from 100, as Proxmox counts its guests, or the name of a domain that no tool could take
/// for an option.
fn guest(word: Option<&str>, number: Option<u64>) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match (word, number) {
        (Some(name), _) if name.chars().all(fits) && name.starts_with(char::is_alphanumeric) => {
            Ok(name.to_owned())
        }
        (_, Some(id)) if id >= 100 => Ok(id.to_string()),
        _ => Err("write a number from 100, or a name of letters, digits, `-`, `_`, `.`".to_owned()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let path = path.to_owned();
    within(READ, "the policy", move || {
        let remedy = "install it as in docs/gate.md";
        let unread = |error| format!("can't be read: {error}; {remedy}");
        let mut file = file::open(&path).map_err(unread)?;
        let meta = file.metadata().map_err(unread)?;
        let own = rustix::process::geteuid().as_raw();
        if meta.len() > LARGEST {
            return Err(format!("is larger than {LARGEST} bytes; {remedy}"));
        }
        if meta.uid() != 0 && meta.uid() != own {
            return Err(format!(
                "belongs to uid {}; run `chown root` on it",
                meta.uid()
            ));
        }
        if meta.mode() & 0o022 != 0 {
            return Err("can be written by others; run `chmod go-w` on it".to_owned());
        }
        let mut text = String::new();
        let read = file.by_ref().take(LARGEST).read_to_string(&mut text);
        read.map(|_| text).map_err(unread)
    })
}
