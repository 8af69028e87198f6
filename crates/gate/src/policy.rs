//! The policy file: everything that the operator decides and the client can't. Flat lines of
//! `key = value`, a small strict subset of TOML.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::deadline::with_timeout;
use crate::file;

/// The policy file, unless the line in authorized_keys has `--policy FILE`.
pub(crate) const DEFAULT_PATH: &str = "/etc/breakglass/gate.toml";
const FILE_MAX_BYTES: u64 = 64 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Defines a struct of values that the policy file sets by their names, each with its default.
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
    /// Absolute paths on the host.
    Paths of PathBuf {
        /// Proxmox's tool.
        qm = "/usr/sbin/qm",
        /// libvirt's tool.
        virsh = "/usr/bin/virsh",
        /// Where Proxmox keeps `ID.pid` and the monitor's socket `ID.qmp`.
        run_dir = "/var/run/qemu-server",
        /// The control group with one `ID.scope` for each guest.
        cgroup_dir = "/sys/fs/cgroup/qemu.slice",
        /// Proxmox's cluster file system.
        pve_dir = "/etc/pve",
        /// Where libvirt keeps `DOMAIN.pid`, and its files of running domains.
        libvirt_run_dir = "/run/libvirt/qemu",
        /// Where libvirt keeps the definitions of its domains.
        libvirt_config_dir = "/etc/libvirt/qemu",
        /// Where libvirt keeps the output of its QEMU processes.
        libvirt_log_dir = "/var/log/libvirt/qemu",
        /// Where Proxmox's tools lock a guest, by one file `lock-ID.conf` each.
        lock_dir = "/var/lock/qemu-server",
        /// Proxmox's list of tasks.
        tasks = "/var/log/pve/tasks/active",
        /// The output of the guest's serial console, if QEMU is configured to log it.
        serial_log = "/var/log/breakglass-serial.log",
        /// Where forensics are kept.
        forensics_dir = "/var/lib/breakglass/forensics",
        /// The gate's log.
        journal_file = "/var/log/breakglass-gate.log",
        /// The socket of the host's syslog.
        syslog = "/dev/log",
        /// Where the lock and the last run are kept, in one directory for each guest.
        gate_dir = "/run/breakglass-gate",
    }
}

keys! {
    /// Timeouts, which bound every wait of the gate. In the policy file each name ends in `_seconds`.
    Limits of Duration {
        /// A query (`qm pending`, a command to the monitor), and a reset.
        ask = Duration::from_secs(10),
        /// The clean stop, before the gate ends QEMU itself. Proxmox needs 80 s for one whose
        /// monitor is dead.
        stop = Duration::from_secs(100),
        /// The wait after SIGTERM, before SIGKILL, and after that.
        terminate = Duration::from_secs(10),
        /// One start. Proxmox allows 30 s, or a second for each GiB of memory.
        start = Duration::from_secs(120),
        /// The wait for evidence of a change that a command has reported.
        settle = Duration::from_secs(20),
        /// All probes of one capture of forensics together.
        forensics = Duration::from_secs(60),
        /// The pause between two samples of the guest's disk counters, which show a stall.
        sample_gap = Duration::from_secs(2),
    }
}

keys! {
    /// How many forensics are kept; the oldest bundles are removed first. In the policy file each name
    /// begins with `keep_`.
    Retention of u64 {
        /// Number of bundles.
        bundles = 100_u64,
        /// Total size of the bundles, in MiB.
        mib = 512_u64,
    }
}

/// The tool that controls the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriverKind {
    /// Proxmox VE, through `qm`.
    #[default]
    Qm,
    /// libvirt, through `virsh`.
    Virsh,
}

/// The guest, its driver, and the gate's paths and timeouts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The driver.
    pub driver: DriverKind,
    /// The hypervisor's id of the only guest.
    pub guest: String,
    /// The connection URI of libvirt.
    pub connection: String,
    /// Paths on the host.
    pub paths: Paths,
    /// Timeouts.
    pub limits: Limits,
    /// How many forensics are kept.
    pub retention: Retention,
}

/// All errors of a policy file, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(pub Vec<String>);

impl Policy {
    /// Reads the policy from `path`. Only its owner may be able to write it: root, or the user that the
    /// gate runs as.
    ///
    /// # Errors
    /// All errors, each with the file, the line and a remedy.
    pub fn load(path: &Path) -> Result<Policy, PolicyError> {
        let name = path.display().to_string();
        let text = read(path).map_err(|why| PolicyError(vec![format!("{name} {why}")]))?;
        Policy::parse(&text, &name)
    }

    /// Parses a policy. `name` is the file's name, for the errors.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn parse(text: &str, name: &str) -> Result<Policy, PolicyError> {
        let mut policy = Policy::default();
        let mut seen = Vec::new();
        let mut errors = Vec::new();
        "qemu:///system".clone_into(&mut policy.connection);
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let key = key.trim();
            let result = if seen.contains(&key) {
                Err("given before; keep one of the two".to_owned())
            } else {
                policy.set(key, value.trim())
            };
            if let Err(why) = result {
                errors.push(format!("{name}, line {}: `{key}`: {why}", index + 1));
            }
            seen.push(key);
        }
        if seen.contains(&"ha_resources") && seen.contains(&"pve_dir") {
            errors.push(format!(
                "{name}: `pve_dir` replaces the earlier key `ha_resources`; remove `ha_resources`"
            ));
        }
        for (key, remedy) in [("driver", "\"qm\""), ("guest", "102")] {
            if !seen.contains(&key) {
                errors.push(format!(
                    "{name}: `{key}` is missing; add a line `{key} = {remedy}`"
                ));
            }
        }
        if policy.driver == DriverKind::Qm && policy.guest.contains(|c: char| !c.is_ascii_digit()) {
            errors.push(format!(
                "{name}: with driver \"qm\", `guest` must be a number"
            ));
        }
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(PolicyError(errors))
        }
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        // A string in double quotes or a number, as in JSON; a comment may follow.
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let value = values.next().and_then(Result::ok).unwrap_or_default();
        let rest = text.get(values.byte_offset()..).unwrap_or_default().trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            return Err("write a \"string\" or a number, and nothing after it".to_owned());
        }
        let word = value.as_str();
        let number = value.as_u64();
        let path = word
            .filter(|path| path.starts_with('/'))
            .ok_or("write an absolute path in quotes");
        let amount = number
            .filter(|n| *n <= 100_000)
            .ok_or("write a number of at most 100000");
        let seconds = key.strip_suffix("_seconds");
        let keep = key.strip_prefix("keep_");
        match (key, word) {
            ("driver", Some("qm")) => self.driver = DriverKind::Qm,
            ("driver", Some("virsh")) => self.driver = DriverKind::Virsh,
            ("driver", _) => return Err("the drivers are \"qm\" and \"virsh\"".to_owned()),
            ("guest", _) => self.guest = guest(word, number)?,
            ("connection", Some(uri)) if uri.starts_with("qemu") => {
                uri.clone_into(&mut self.connection);
            }
            ("connection", _) => {
                return Err("write one like \"qemu:///system\" in quotes".to_owned());
            }
            // The key of earlier gates, which read no other file of the cluster.
            ("ha_resources", _) => self.paths.pve_dir = pve_dir(word)?,
            _ => {
                if let Some(slot) = self.paths.slot(key) {
                    *slot = path?.into();
                } else if let Some(slot) = seconds.and_then(|key| self.limits.slot(key)) {
                    *slot = Duration::from_secs(amount?);
                } else if let Some(slot) = keep.and_then(|key| self.retention.slot(key)) {
                    *slot = amount?;
                } else {
                    return Err("no such key; docs/gate.md lists them".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Derives `pve_dir` from the path of `ha/resources.cfg`.
fn pve_dir(word: Option<&str>) -> Result<PathBuf, String> {
    let dir = word.and_then(|path| path.strip_suffix("/ha/resources.cfg"));
    dir.filter(|dir| dir.starts_with('/')).map(PathBuf::from).ok_or_else(|| {
        "this key is now `pve_dir`, the directory of several files; write `pve_dir = \"/etc/pve\"` \
         instead"
            .to_owned()
    })
}

/// A number from 100, as Proxmox numbers its guests, or the name of a domain that no tool could
/// mistake for an option.
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
    with_timeout(READ_TIMEOUT, "the policy", move || {
        let remedy = "install it as in docs/gate.md";
        let unreadable = |error| format!("can't be read: {error}; {remedy}");
        let mut file = file::open(&path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let own = rustix::process::geteuid().as_raw();
        if meta.len() > FILE_MAX_BYTES {
            return Err(format!("is larger than {FILE_MAX_BYTES} bytes; {remedy}"));
        }
        if meta.uid() != 0 && meta.uid() != own {
            return Err(format!(
                "belongs to uid {}; run `chown root` on it",
                meta.uid()
            ));
        }
        if meta.mode() & 0o022 != 0 {
            return Err("is writable by others; run `chmod go-w` on it".to_owned());
        }
        let mut text = String::new();
        let read = file.by_ref().take(FILE_MAX_BYTES).read_to_string(&mut text);
        read.map(|_| text).map_err(unreadable)
    })
}
