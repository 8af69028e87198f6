//! The policy file: what the operator, not the client, decides. Flat lines of `key = value`, a
//! small strict part of TOML.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::text;

/// Where the policy is looked for, unless the authorized_keys line says `--policy FILE`.
pub(crate) const DEFAULT_PATH: &str = "/etc/breakglass/gate.toml";
/// A policy is a dozen lines; more is not one.
const LARGEST: u64 = 64 * 1024;

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
        /// The file that lists what high availability manages.
        ha_resources = "/etc/pve/ha/resources.cfg",
        /// Where libvirt keeps `DOMAIN.pid`, and what it knows of a running domain.
        libvirt_run_dir = "/run/libvirt/qemu",
        /// Where libvirt keeps the definitions of its domains.
        libvirt_config_dir = "/etc/libvirt/qemu",
        /// Where libvirt keeps what its QEMUs print.
        libvirt_log_dir = "/var/log/libvirt/qemu",
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

/// How much forensics is kept; the oldest bundles go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bundles.
    pub bundles: u64,
    /// Their size together, in MiB.
    pub mib: u64,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep {
            bundles: 100,
            mib: 512,
        }
    }
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
            let result = match line.split_once('=') {
                _ if line.is_empty() || line.starts_with('#') => continue,
                None => Err("not `key = value`; write one, or begin the line with `#`".to_owned()),
                Some((key, _)) if seen.contains(&key.trim()) => Err(format!(
                    "`{}` was given before; keep one of the two",
                    key.trim()
                )),
                Some((key, value)) => {
                    seen.push(key.trim());
                    let value = Value::parse(value.trim());
                    let set = value.and_then(|value| policy.set(key.trim(), &value));
                    set.map_err(|why| format!("`{}`: {why}", key.trim()))
                }
            };
            errors.extend(
                result
                    .err()
                    .map(|why| format!("{name}, line {}: {why}", index + 1)),
            );
        }
        let numeric = policy.guest.bytes().all(|byte| byte.is_ascii_digit());
        if policy.kind == Kind::Qm && !policy.guest.is_empty() && !numeric {
            errors.push(format!(
                "{name}: `guest`: write a number from 100 for driver \"qm\""
            ));
        }
        for (key, remedy) in [("driver", "\"qm\""), ("guest", "102")] {
            if !seen.contains(&key) {
                errors.push(format!(
                    "{name}: `{key}` is missing; add a line `{key} = {remedy}`"
                ));
            }
        }
        match errors.is_empty() {
            true => Ok(policy),
            false => Err(PolicyError(errors)),
        }
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let limit = key
            .strip_suffix("_seconds")
            .and_then(|key| self.limits.slot(key));
        match (key, self.paths.slot(key), limit) {
            ("driver", ..) => self.kind = value.kind()?,
            ("guest", ..) => self.guest = value.guest()?,
            ("connection", ..) => self.connection = value.uri()?,
            ("keep_bundles", ..) => self.keep.bundles = value.number(1, 10_000)?,
            ("keep_mib", ..) => self.keep.mib = value.number(1, 1_000_000)?,
            (_, Some(path), _) => *path = value.path()?,
            (_, _, Some(limit)) => *limit = Duration::from_secs(value.number(0, 3_600)?),
            _ => return Err("no such key; docs/gate.md lists them".to_owned()),
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, String> {
    let remedy = "install it as in docs/gate.md";
    let unread = |error| format!("can't be read: {error}; {remedy}");
    let mut file = File::open(path).map_err(unread)?;
    let meta = file.metadata().map_err(unread)?;
    let own = rustix::process::geteuid().as_raw();
    if !meta.is_file() || meta.len() > LARGEST {
        return Err(format!(
            "is not a file of at most {LARGEST} bytes; {remedy}"
        ));
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
}

enum Value {
    Text(String),
    Number(u64),
}

impl Value {
    /// A string in double quotes without escapes, or digits; a comment may follow.
    fn parse(text: &str) -> Result<Value, String> {
        let (value, rest) = match text.strip_prefix('"') {
            Some(inner) => {
                let split = inner
                    .split_once('"')
                    .ok_or("the closing quote is missing")?;
                if split.0.contains(|c: char| c == '\\' || c.is_control()) {
                    return Err("no backslash and no control character, please".to_owned());
                }
                (Value::Text(split.0.to_owned()), split.1)
            }
            None => {
                let word = text.split([' ', '\t', '#']).next().unwrap_or_default();
                let number = word
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| word.parse().ok());
                let number = number.flatten().ok_or("write a \"string\" or a number")?;
                (
                    Value::Number(number),
                    text.get(word.len()..).unwrap_or_default(),
                )
            }
        };
        match rest.trim() {
            rest if rest.is_empty() || rest.starts_with('#') => Ok(value),
            rest => Err(format!(
                "remove `{}` after the value",
                text::ascii(rest, 40)
            )),
        }
    }

    fn kind(&self) -> Result<Kind, String> {
        match self {
            Value::Text(name) if name == "qm" => Ok(Kind::Qm),
            Value::Text(name) if name == "virsh" => Ok(Kind::Virsh),
            _ => Err("the drivers are \"qm\" and \"virsh\"".to_owned()),
        }
    }

    /// A number from 100, as Proxmox counts its guests, or the name of a domain that no tool could
    /// take for an option.
    fn guest(&self) -> Result<String, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match self {
            Value::Text(name)
                if name.chars().all(fits) && name.starts_with(char::is_alphanumeric) =>
            {
                Ok(name.clone())
            }
            Value::Number(id) if *id >= 100 => Ok(id.to_string()),
            _ => Err(
                "write a number from 100, or a name of letters, digits, `-`, `_`, `.`".to_owned(),
            ),
        }
    }

    /// Something that `virsh` takes for a connection, and not for an option or a second word.
    fn uri(&self) -> Result<String, String> {
        match self {
            Value::Text(uri) if uri.starts_with("qemu") && !uri.contains(' ') => Ok(uri.clone()),
            _ => Err("write a connection URI in quotes, such as \"qemu:///system\"".to_owned()),
        }
    }

    fn path(&self) -> Result<PathBuf, String> {
        match self {
            Value::Text(path) if path.starts_with('/') => Ok(path.into()),
            _ => Err("write an absolute path in quotes".to_owned()),
        }
    }

    fn number(&self, least: u64, most: u64) -> Result<u64, String> {
        match self {
            Value::Number(number) if (least..=most).contains(number) => Ok(*number),
            _ => Err(format!("write a number from {least} to {most}")),
        }
    }
}
